//! What must be fast: a training step of DSTAGNN and the construction of its graph. `cargo xtask bench dstagnn [--peers]`.
//!
//! `BENCH_DEVICE=cuda:0` puts the steps on a GPU, here and in the peer.

use candle_core::{DType, Device};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Mode, ops};
use reproduction::bench;
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;
use timeseries::dstagnn::{
    ChebyshevBasis, ChebyshevProduct, DstagnnConfig, GraphConfig, SensorGraph, Similarity, SimilarityConfig,
    aware_graphs, dstagnn,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn measure(device: &Device, name: &str, mut operation: impl FnMut() -> Outcome) -> Outcome {
    bench::measure(name, 0.06, || {
        operation()?;
        Ok(device.synchronize()?)
    })
}

/// Sensors whose daily profiles are shifted against each other, with days of different volume and noise; the peer has the same formula.
fn flow(days: usize, period: usize, nodes: usize) -> Vec<f64> {
    let mut rng = Rng::new(0).fork("flow");
    let volumes: Vec<f64> = (0..days * nodes).map(|_| 0.7 + 0.6 * rng.unit()).collect();
    let mut out = Vec::with_capacity(days * period * nodes);
    for step in 0..days * period {
        for node in 0..nodes {
            let phase = (step % period) as f64 / period as f64 + 0.3 * node as f64 / nodes as f64;
            let wave = 100. + 80. * (std::f64::consts::TAU * phase).sin();
            out.push((volumes[step / period * nodes + node] * wave + 10. * rng.unit()).max(0.));
        }
    }
    out
}

fn step(device: &Device, nodes: usize, batch: usize, config: DstagnnConfig, sparsity: f64) -> Outcome {
    let similarity = Similarity::from_series(&flow(4, 48, nodes), nodes, SimilarityConfig { period: 48 })?;
    let (aware, relevance) = aware_graphs(&similarity, GraphConfig { sparsity, ..GraphConfig::default() })?;
    let basis = ChebyshevBasis::new(&aware, 3, ChebyshevProduct::Elementwise)?;
    let store = ParamStore::new(0, DType::F32, device);
    let model = dstagnn(config, &basis, &relevance.binary(), store.var_builder())?;
    let mut adam = Adam::new(store.trainable(), AdamConfig { learning_rate: 1e-4, ..AdamConfig::default() })?;
    let mut rng = Rng::new(1);
    let x = rng.normal(0., 1., (batch, nodes, 1, 12), DType::F32, &Device::Cpu)?.to_device(device)?;
    let target = rng.uniform(0., 300., (batch, nodes, 12), DType::F32, &Device::Cpu)?.to_device(device)?;
    let mut dropout = Rng::new(2);
    measure(device, &format!("training step/N = {nodes}, batch {batch}"), || {
        let y = model.forward(&x, &mut Mode::train(&mut dropout))?;
        adam.backward_step(&ops::huber(&y, &target, 1.)?)?;
        Ok(())
    })
}

/// One step at N = 883 for a look at the memory: `MEMORY=1 cargo bench --bench dstagnn`.
fn memory() -> Outcome {
    let nodes = 883;
    let edges: Vec<(usize, usize)> = (0..nodes).flat_map(|i| (1..9).map(move |j| (i, (i + 7 * j) % nodes))).collect();
    let graph = SensorGraph::from_edges(nodes, &edges)?;
    let basis = ChebyshevBasis::new(&graph, 3, ChebyshevProduct::Elementwise)?;
    println!("largest eigenvalue {}", basis.lambda_max);
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let config = DstagnnConfig { temporal_heads: 4, ..DstagnnConfig::new(nodes) };
    let model = dstagnn(config, &basis, &graph, store.var_builder())?;
    let mut adam = Adam::new(store.trainable(), AdamConfig::default())?;
    let x = Rng::new(1).normal(0., 1., (12, nodes, 1, 12), DType::F32, &Device::Cpu)?;
    let mut dropout = Rng::new(2);
    for _ in 0..2 {
        let start = Instant::now();
        let y = model.forward(&x, &mut Mode::train(&mut dropout))?;
        adam.backward_step(&ops::huber(&y, &y.zeros_like()?, 1.)?)?;
        println!("N = {nodes}, batch 12: {:.1} s a step", start.elapsed().as_secs_f64());
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
    Ok(())
}

fn run() -> Outcome {
    if std::env::var_os("MEMORY").is_some() {
        return memory();
    }
    let small = DstagnnConfig { num_blocks: 2, filters: 16, embedding: 64, head_width: 16, ..DstagnnConfig::new(60) };
    let device = core_tensor::device::parse(&std::env::var("BENCH_DEVICE").unwrap_or_else(|_| "cpu".into()))?;
    step(&device, 60, 32, small, 0.05)?;
    step(&device, 170, 16, DstagnnConfig::new(170), 0.01)?;
    for (nodes, days) in [(60, 4), (60, 35)] {
        let series = flow(days, 288, nodes);
        measure(&Device::Cpu, &format!("similarity/{nodes} sensors, {days} days"), || {
            black_box(Similarity::from_series(&series, nodes, SimilarityConfig::default())?);
            Ok(())
        })?;
    }
    Ok(())
}

fn main() -> Outcome {
    core_tensor::memory::configure();
    core_tensor::threads::configure(bench::threads()?)?;
    core_tensor::threads::install(run)
}
