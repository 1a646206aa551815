//! What must be fast: steps of small and larger super-nets, scores with shared beginnings, Kendall's τ. `cargo xtask bench nas-interference [--peers]`.
//!
//! Beside steps stands their floor: the operations of their products at the rate of one large product, measured here, and the bytes that must move, at the rate of a large copy (what stays in a cache is faster). `cargo bench -p nas --bench nas_interference candidates` alone prints the
//! memory of 300 candidates a layer.

use candle_core::{DType, Device, Tensor};
use core_tensor::metrics::kendall_tau;
use core_tensor::ops;
use core_tensor::optim::{Adam, AdamConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use nas::nas_interference::{MaskedLanguageConfig, masked_loss};
use nas::operator::SequenceConfig;
use nas::{AlignmentConfig, Architecture, Output, StepOptions, SuperNet, Uniform, score_all, train_step};
use reproduction::bench;
use std::hint::black_box;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result {
    core_tensor::memory::configure();
    core_tensor::threads::configure(bench::threads()?)?;
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wants = |name: &str| filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    core_tensor::threads::install(|| -> Result {
        if wants("tiny") {
            steps("tiny", &MaskedLanguageConfig::tiny(), 32)?;
        }
        if wants("large") {
            let large = MaskedLanguageConfig {
                length: 128,
                layers: 6,
                vocabulary: 1000,
                sizes: SequenceConfig::new(256, 4),
                ..MaskedLanguageConfig::tiny()
            };
            steps("L = 6, d = 256, T = 128", &large, 16)?;
        }
        if wants("candidates") {
            candidates(filter.as_deref() == Some("candidates") && is_for_people())?;
        }
        if wants("scores") {
            scores()?;
        }
        if wants("tau") {
            let mut rng = Rng::new(0);
            // ties in both
            let mut list = || (0..15_625).map(|_| (rng.unit() * 2000.0).floor()).collect::<Vec<f64>>();
            let (x, y) = (list(), list());
            bench::measure("Kendall's tau of 15,625 pairs with ties", 0.06, || {
                black_box(kendall_tau(&x, &y)?);
                Ok(())
            })?;
        }
        Ok(())
    })
}

struct Data {
    ids: Tensor,
    targets: Tensor,
    mask: Tensor,
}

fn data(config: &MaskedLanguageConfig, batch: usize) -> Result<Data> {
    let mut rng = Rng::new(1);
    let count = batch * config.length;
    let targets: Vec<u32> = (0..count).map(|_| rng.below(config.vocabulary) as u32).collect();
    let mask: Vec<u8> = (0..count).map(|at| u8::from(at % 5 == 0)).collect();
    let hidden = |(&target, &mask): (&u32, &u8)| if mask == 1 { config.vocabulary as u32 } else { target };
    let ids: Vec<u32> = targets.iter().zip(&mask).map(hidden).collect();
    let shape = (batch, config.length);
    Ok(Data {
        ids: Tensor::from_vec(ids, shape, &Device::Cpu)?,
        targets: Tensor::from_vec(targets, shape, &Device::Cpu)?,
        mask: Tensor::from_vec(mask, shape, &Device::Cpu)?,
    })
}

fn built(config: &MaskedLanguageConfig, data: &Data) -> Result<(SuperNet, Adam)> {
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let net = config.blueprint()?.build(&store, &data.ids)?;
    let optimizer = Adam::new(store.trainable(), AdamConfig { learning_rate: 2e-3, ..AdamConfig::default() })?;
    Ok((net, optimizer))
}

/// SPOS and MAGIC-A over the same architectures: operator (step + layer) mod 3 in each layer.
fn steps(name: &str, config: &MaskedLanguageConfig, batch: usize) -> Result {
    let data = data(config, batch)?;
    let path = |step: usize| Architecture((0..config.layers).map(|layer| (step + layer) % 3).collect());
    let loss = |output: &Output| masked_loss(&output.prediction, &data.targets, &data.mask);
    for is_aligned in [false, true] {
        let (net, mut optimizer) = built(config, &data)?;
        let anchor = path(0);
        let (mut step, mut best) = (0, f64::INFINITY);
        let method = if is_aligned { "MAGIC-A" } else { "SPOS" };
        bench::measure(&format!("{name}, {method} step"), 0.3, || {
            let start = Instant::now();
            let alignment = is_aligned.then_some((&anchor, AlignmentConfig::measured()));
            let options = StepOptions { step, clip: Some(1.0), alignment };
            train_step(&net, &mut optimizer, &data.ids, &[path(step as usize)], &loss, &options)?;
            step += 1;
            best = best.min(start.elapsed().as_secs_f64());
            Ok(())
        })?;
        if is_for_people() {
            floor(&net, config, batch, &[path(0), path(1), path(2)], is_aligned)?.print(best)?;
        }
    }
    Ok(())
}

/// What a step cannot do without.
struct Floor {
    operations: f64,
    bytes: f64,
}

/// The mean over some paths: two operations for each multiplication forward, by the input and by the weights, and forward once more for an anchor; weights read forward and backward, gradients written, Adam's four reads and three writes, hidden states between layers written, read twice,
/// their gradients written and read.
fn floor(
    net: &SuperNet,
    config: &MaskedLanguageConfig,
    batch: usize,
    paths: &[Architecture],
    is_aligned: bool,
) -> Result<Floor> {
    let trainable = net.store().trainable();
    let ends: usize =
        trainable.iter().filter(|(name, _)| !name.starts_with("layer.")).map(|(_, var)| var.elem_count()).sum();
    let (mut multiplications, mut weights) = (0.0, ends as f64);
    for path in paths {
        multiplications += net.multiplications(path)? as f64 / paths.len() as f64;
        weights += net.num_parameters(path)? as f64 / paths.len() as f64;
    }
    let states = ((config.layers + 1) * batch * config.length * config.sizes.width) as f64;
    let (passes, of_weights, of_states) = if is_aligned { (4.0, 11.0, 7.0) } else { (3.0, 10.0, 5.0) };
    Ok(Floor {
        operations: 2.0 * passes * batch as f64 * multiplications,
        bytes: 4.0 * (of_weights * weights + of_states * states),
    })
}

impl Floor {
    fn print(&self, seconds: f64) -> Result {
        let a = Tensor::ones((1024, 1024), DType::F32, &Device::Cpu)?;
        let rate = 2.0 * 1024f64.powi(3) / shortest(|| ops::matmul(&a, &a))?;
        let large = Tensor::ones(1 << 25, DType::F32, &Device::Cpu)?;
        let bandwidth = 2.0 * 4.0 * f64::from(1 << 25) / shortest(|| Ok(large.copy()?))?;
        let (of_operations, of_bytes) = (self.operations / rate, self.bytes / bandwidth);
        println!(
            "  floor: {:.1} MFLOP at {:.0} GFLOP/s, {:.3} ms; {:.2} MB at {:.1} GB/s, {:.3} ms; our share of the larger one: {:.0} %",
            self.operations * 1e-6,
            rate * 1e-9,
            1e3 * of_operations,
            self.bytes * 1e-6,
            bandwidth * 1e-9,
            1e3 * of_bytes,
            100.0 * of_operations.max(of_bytes) / seconds,
        );
        Ok(())
    }
}

/// The shortest of some runs, in seconds.
fn shortest(mut operation: impl FnMut() -> core_tensor::Result<Tensor>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..8 {
        let start = Instant::now();
        black_box(operation()?);
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn is_for_people() -> bool {
    std::env::var_os("BENCH_JSON").is_none()
}

/// MB of a line of Linux's account of this process; 0 elsewhere.
fn resident(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(0.0) * 1024e-6
}

/// A step costs the same however many candidates are off its path.
fn candidates(shows_memory: bool) -> Result {
    for count in [3, 300] {
        let config = MaskedLanguageConfig::tiny();
        let names: Vec<String> = (0..count).map(|at| format!("feed_forward_{at}")).collect();
        let (own, sizes) = (config.clone(), config.sizes);
        let blueprint = nas::Blueprint::new(
            nas::SearchSpace::new(vec![names; config.layers])?,
            move |vb| own.ends(vb),
            move |_, _, vb| nas::operator::sequence_operator("feed_forward", &sizes, vb),
        );
        let data = data(&config, 32)?;
        let store = ParamStore::new(0, DType::F32, &Device::Cpu);
        let net = blueprint.build(&store, &data.ids)?;
        let mut optimizer = Adam::new(store.trainable(), AdamConfig::default())?;
        let loss = |output: &Output| masked_loss(&output.prediction, &data.targets, &data.mask);
        let mut paths = Uniform::new(net.space(), 1);
        let mut step = 0;
        bench::measure(&format!("tiny step of feed-forwards, {count} candidates a layer"), 0.3, || {
            let path = paths.next().ok_or("a path")??;
            let options = StepOptions { step, clip: Some(1.0), alignment: None };
            train_step(&net, &mut optimizer, &data.ids, &[path], &loss, &options)?;
            step += 1;
            Ok(())
        })?;
        if shows_memory {
            println!(
                "  {step} steps; {:.1} MB of parameters, twice as much of moments where every operator was visited; resident {:.0} MB, peak of the process {:.0} MB",
                4e-6 * store.num_parameters() as f64,
                resident("VmRSS"),
                resident("VmHWM"),
            );
        }
    }
    Ok(())
}

fn scores() -> Result {
    let config = MaskedLanguageConfig::tiny();
    let data = data(&config, 2048)?;
    let (net, _) = built(&config, &data)?;
    let all: Vec<Architecture> = net.space().all().collect();
    let loss = |logits: &Tensor| -> nas::Result<f32> {
        Ok(masked_loss(logits, &data.targets, &data.mask)?.to_scalar::<f32>()?)
    };
    bench::measure("scores of 243 children on 2,048 sequences, shared beginnings", 0.0, || {
        black_box(score_all(&net, &data.ids, &all, loss)?);
        Ok(())
    })?;
    bench::measure("scores of 243 children on 2,048 sequences, one by one", 0.0, || {
        for architecture in &all {
            black_box(score_all(&net, &data.ids, std::slice::from_ref(architecture), loss)?);
        }
        Ok(())
    })?;
    Ok(())
}
