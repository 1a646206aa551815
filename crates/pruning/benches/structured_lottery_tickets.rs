//! What must be fast: compiled networks, block-sparse layers, partitions, masked steps. `cargo xtask bench structured-lottery-tickets [--peers]`.
//!
//! Networks are ResNet-18 and MobileNet for 32 × 32 with seeded weights, every pruned layer at the density that stands in the name. The peer is the dense network in PyTorch and ONNX Runtime: masks alone make neither faster. Behind
//! rows of ours alone stands the ratio to our dense form, and the floor: the multiplications that are left over the measured peak of fused multiplications.

use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use core_tensor::Mode;
use core_tensor::ops;
use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use pruning::partition::hypergraph;
use pruning::{
    BlockSparseLinear, CompileOptions, Compiled, Mask, MaskedOptimizer, Masks, Network, Parts, Refill, Regroup, Scope,
    compile, scores,
};
use reproduction::bench;
use std::hint::black_box;
use std::time::Instant;
use vision::{MobileNetConfig, ResNetConfig};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The peer's variants of a network.
const NETWORKS: [&str; 4] = ["PyTorch", "PyTorch channels last", "PyTorch frozen", "ONNX Runtime"];

fn main() -> Result {
    core_tensor::memory::configure();
    core_tensor::threads::configure(bench::threads()?)?;
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wants = |name: &str| filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    core_tensor::threads::install(|| -> Result {
        if wants("ResNet-18") {
            resnet()?;
        }
        if wants("MobileNet") {
            mobilenet()?;
        }
        if wants("kept") {
            kept()?;
        }
        if wants("linear") {
            linear()?;
        }
        if wants("partition") {
            partition()?;
        }
        if wants("step") {
            step()?;
        }
        Ok(())
    })
}

/// The shortest of five calls after one that does not count.
fn shortest(operation: &mut dyn FnMut() -> Result) -> Result<f64> {
    let mut best = f64::INFINITY;
    for round in 0..6 {
        let start = Instant::now();
        operation()?;
        if round > 0 {
            best = best.min(start.elapsed().as_secs_f64());
        }
    }
    Ok(best)
}

fn is_for_people() -> bool {
    std::env::var_os("BENCH_JSON").is_none()
}

fn print(name: &str, suffixes: &[&str], seconds: f64) -> Result {
    if is_for_people() {
        bench::print(name, bench::threads()?, seconds);
        return Ok(());
    }
    for suffix in suffixes {
        bench::print(&format!("{name}/{suffix}"), bench::threads()?, seconds);
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Structure {
    Channels,
    Blocks,
}

fn masks(store: &ParamStore, structure: Structure, density: f64) -> Result<Masks> {
    let prunable = Scope::convolutions().select(store)?;
    let magnitudes = scores::magnitude(&prunable)?;
    let mut masks = Masks::default();
    for (name, var) in &prunable {
        let (shape, scores) = (var.dims(), &magnitudes[name]);
        // kernels of one channel each have nothing to share
        if shape[1..].iter().product::<usize>() < 16 {
            continue;
        }
        let mask = match structure {
            Structure::Channels => Refill::default().at_density(shape, scores, density)?,
            Structure::Blocks => {
                let regroup = Regroup { parts: Parts::PerRows(32), imbalance: 0.0, ..Regroup::default() };
                regroup.at_density(shape, scores, density)?.mask
            }
        };
        masks.insert(name.clone(), mask);
    }
    Ok(masks)
}

fn resnet() -> Result {
    let network = Network::resnet(&ResNetConfig::resnet18(10).cifar(), (32, 32))?;
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    network.build(store.var_builder())?;
    let cases = [
        ("dense", None),
        ("blocks at 0.42", Some((Structure::Blocks, 0.42))),
        ("blocks at 0.26", Some((Structure::Blocks, 0.26))),
        ("blocks at 0.20", Some((Structure::Blocks, 0.20))),
        ("channels at 0.42", Some((Structure::Channels, 0.42))),
        ("channels at 0.26", Some((Structure::Channels, 0.26))),
    ];
    let peak = peak()?;
    let mut dense = [0.0; 2];
    for (name, pruned) in cases {
        let masks = match pruned {
            Some((structure, density)) => network.with_norms(&masks(&store, structure, density)?)?,
            None => Masks::default(),
        };
        let compiled = compile(&network, &store, &masks, &CompileOptions::default())?;
        for (at, batch) in [64, 1].into_iter().enumerate() {
            let seconds = time(&compiled, [3, 32, 32], batch)?;
            print(&format!("ResNet-18, {name}, {batch} images"), &NETWORKS, seconds)?;
            if pruned.is_none() {
                dense[at] = seconds;
            }
            if is_for_people() {
                let flop = 2e-9 * batch as f64 * compiled.report().multiplications().1 as f64;
                println!(
                    "  {:.3} of our dense; floor {:.2} GFLOP at {peak:.0} a second: {:.2} ms; peak memory {:.0} MB, {:.2} MB of weights",
                    seconds / dense[at],
                    flop,
                    1e3 * flop / peak,
                    resident("VmHWM") / 1e6,
                    compiled.report().bytes.1 as f64 / 1e6
                );
            }
        }
    }
    Ok(())
}

/// MB of a line of Linux's account of this process; 0 elsewhere.
fn resident(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
}

fn time(compiled: &Compiled, [channels, height, width]: [usize; 3], batch: usize) -> Result<f64> {
    let x = Rng::new(1).normal(0.0, 1.0, (batch, channels, height, width), DType::F32, &Device::Cpu)?;
    shortest(&mut || {
        black_box(compiled.forward(&x)?);
        Ok(())
    })
}

/// Billions of operations a second in a large product: what this machine's cores reach.
fn peak() -> Result<f64> {
    let mut rng = Rng::new(0);
    let [a, b] = [0, 1].map(|_| rng.normal(0.0, 1.0, (1024, 1024), DType::F32, &Device::Cpu));
    let (a, b) = (a?, b?);
    let seconds = shortest(&mut || {
        black_box(ops::matmul(&a, &b)?);
        Ok(())
    })?;
    Ok(2.0 * 1024f64.powi(3) / seconds * 1e-9)
}

/// The pointwise layers of MobileNet, for which nothing like Winograd's form exists, by their own times.
fn mobilenet() -> Result {
    let network = Network::mobilenet(&MobileNetConfig::mobilenet(1.0, 10)?.cifar(), (32, 32))?;
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    network.build(store.var_builder())?;
    for density in [0.42, 0.26] {
        let masks = masks(&store, Structure::Blocks, density)?;
        let compiled = compile(&network, &store, &masks, &CompileOptions { repeats: 9, plan: None })?;
        let pointwise = compiled.report().layers.iter().filter(|layer| layer.name.ends_with("conv2"));
        let (dense, own) = pointwise.fold((0.0, 0.0), |(dense, own), layer| {
            (dense + layer.dense_seconds.unwrap_or(f64::NAN), own + layer.seconds.unwrap_or(f64::NAN))
        });
        if is_for_people() {
            bench::print(&format!("MobileNet, pointwise layers, blocks at {density}, 16 images"), 1, own);
            println!("  {:.2} times as fast as dense, which take {:.2} ms", dense / own, 1e3 * dense);
        }
    }
    Ok(())
}

/// 17 to 80 kept channels over the next multiple of sixteen, for which there are no remainders: the time of a convolution from and to so many, where it should not be above 1.1 times.
fn kept() -> Result {
    const TURNS: usize = 12;
    if !is_for_people() {
        return Ok(());
    }
    for (kernel, side) in [(3, 32), (3, 8), (1, 16)] {
        let mut layers = Vec::new();
        for channels in 17..=80 {
            layers.push((channels, of_channels(channels, kernel, side)?));
        }
        for batch in [64, 1] {
            let x = Rng::new(1).normal(0.0, 1.0, (batch, 3, side, side), DType::F32, &Device::Cpu)?;
            let mut best = vec![f64::INFINITY; layers.len()];
            for turn in 0..=TURNS * 8 / batch.min(8) {
                for ((_, compiled), best) in layers.iter().zip(&mut best) {
                    let start = Instant::now();
                    black_box(compiled.forward(&x)?);
                    if turn > 0 {
                        *best = best.min(start.elapsed().as_secs_f64());
                    }
                }
            }
            let ratio = |channels: usize| best[channels - 17] / best[channels.next_multiple_of(16) - 17];
            let rest = || (17..80usize).filter(|channels| !channels.is_multiple_of(16));
            let worst = rest().max_by(|&a, &b| ratio(a).total_cmp(&ratio(b))).unwrap_or(17);
            let above = rest().filter(|&channels| ratio(channels) > 1.1).count();
            let shown: Vec<String> =
                (17..=80).step_by(8).map(|channels| format!("{channels} {:.2}", ratio(channels))).collect();
            let name = format!("{worst} kept channels, {kernel} x {kernel} at {side} x {side}, {batch} images");
            bench::print(&name, bench::threads()?, best[worst - 17]);
            println!(
                "  {:.3} of the next multiple of 16, the worst of 17 to 79; {above} above 1.1; {}",
                ratio(worst),
                shown.join(", ")
            );
        }
    }
    Ok(())
}

/// A network of two convolutions from and to so many channels, pruned from 80.
fn of_channels(channels: usize, kernel: usize, side: usize) -> Result<Compiled> {
    let padding = kernel / 2;
    let config = ops::Conv2dConfig { padding: (padding, padding), ..ops::Conv2dConfig::default() };
    let mut net = pruning::NetworkBuilder::new(3, side, side);
    let mut x = net.input();
    for name in ["conv1", "conv2", "conv3"] {
        let size = if name == "conv1" { (1, 1) } else { (kernel, kernel) };
        let config = if name == "conv1" { ops::Conv2dConfig::default() } else { config };
        x = net.conv2d_no_bias(name, x, 80, size, config)?;
        x = net.relu(x)?;
    }
    let x = net.global_average_pool(x)?;
    let x = net.linear("fc", x, 10)?;
    let network = net.finish(x)?;
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    network.build(store.var_builder())?;
    let mut masks = Masks::default();
    for (name, var) in Scope::matching("conv*").select(&store)? {
        let columns = var.elem_count() / 80;
        let kept = (0..80 * columns).map(|at| u8::from(at / columns < channels)).collect();
        masks.insert(name, Mask::new(var.dims(), kept)?);
    }
    let compiled = compile(&network, &store, &masks, &CompileOptions { repeats: 7, plan: None })?;
    Ok(compiled)
}

fn linear() -> Result {
    let mut rng = Rng::new(2);
    let x = rng.normal(0.0, 1.0, (512, 768), DType::F32, &Device::Cpu)?;
    let weight = rng.normal(0.0, 1.0, (3072, 768), DType::F32, &Device::Cpu)?;
    let dense = shortest(&mut || {
        black_box(ops::linear(&x, &weight, None)?);
        Ok(())
    })?;
    print("linear 512 x 768 to 3072, dense", &["PyTorch"], dense)?;
    let values: Vec<f64> = weight.abs()?.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
    for density in [0.5, 0.25, 0.1] {
        let regroup = Regroup { parts: Parts::PerRows(64), row_block: 64, imbalance: 0.0, ..Regroup::default() };
        let found = regroup.at_density(weight.dims(), &values, density)?;
        let layer = BlockSparseLinear::from_dense(&weight, None, &found.blocks)?;
        let seconds = shortest(&mut || {
            black_box(layer.forward(&x)?);
            Ok(())
        })?;
        print(&format!("linear 512 x 768 to 3072, blocks at {density}"), &["PyTorch"], seconds)?;
        if is_for_people() {
            println!("  density {:.3}: {:.2} times as fast as ours dense", found.mask.density(), dense / seconds);
        }
    }
    Ok(())
}

fn partition() -> Result {
    let mut rng = Rng::new(3);
    let edges: Vec<Vec<u32>> = (0..4608).map(|_| (0..512).filter(|_| rng.unit() < 0.26).collect()).collect();
    let mut found = (0, 0);
    let seconds = shortest(&mut || {
        let partition = hypergraph(512, &edges, 16, 0.1, 0)?;
        found = (partition.cut, partition.connectivity);
        Ok(())
    })?;
    if is_for_people() {
        bench::print("partition of 512 x 4608 at 0.26 into 16", bench::threads()?, seconds);
        println!("  cut {}, sum of (parts - 1) {}", found.0, found.1);
    }
    Ok(())
}

/// A training step with masks over one without.
fn step() -> Result {
    let network = Network::resnet(&ResNetConfig::resnet18(10).cifar(), (32, 32))?;
    let labels = Tensor::from_vec((0..32u32).map(|at| at % 10).collect(), 32, &Device::Cpu)?;
    let x = Rng::new(1).normal(0.0, 1.0, (32, 3, 32, 32), DType::F32, &Device::Cpu)?;
    let config = SgdConfig { learning_rate: 0.01, momentum: 0.9, ..SgdConfig::default() };
    let mut models = Vec::new();
    for is_masked in [false, true] {
        let store = ParamStore::new(0, DType::F32, &Device::Cpu);
        let model = network.build(store.var_builder())?;
        let masks = if is_masked { masks(&store, Structure::Channels, 0.5)? } else { Masks::default() };
        models.push((model, MaskedOptimizer::new(Sgd::new(store.trainable(), config)?, masks)?));
    }
    let mut best = [f64::INFINITY; 2];
    let mut rng = Rng::new(0);
    for round in 0..6 {
        for ((model, optimizer), best) in models.iter_mut().zip(&mut best) {
            let start = Instant::now();
            let loss = ops::cross_entropy(&model.forward(&x, &mut Mode::train(&mut rng))?, &labels)?;
            optimizer.backward_step(&loss)?;
            if round > 0 {
                *best = best.min(start.elapsed().as_secs_f64());
            }
        }
    }
    if is_for_people() {
        bench::print("step of ResNet-18, 32 images, without masks", bench::threads()?, best[0]);
        bench::print("step of ResNet-18, 32 images, masked", bench::threads()?, best[1]);
        println!("  {:.3} times a step without masks", best[1] / best[0]);
    }
    Ok(())
}
