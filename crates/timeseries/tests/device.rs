//! The networks on a GPU beside the same on the CPU, where the feature `cuda` or `metal` is on and such a device is there.

#![cfg(any(feature = "cuda", feature = "metal"))]
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Module, Tensor};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Mode, backward, device, ops};
use timeseries::Result;
use timeseries::dstagnn::{
    AstgcnConfig, ChebyshevBasis, ChebyshevProduct, DstagnnConfig, SensorGraph, astgcn, dstagnn,
};
use timeseries::recurrent::{LstmConfig, lstm_reader};
use timeseries::sithcon::{LogTimeConfig, Sequences, SithConConfig, SithConLayerConfig, morse, sithcon};
use timeseries::tcn::{TcnConfig, tcn};

fn gpu() -> Option<Device> {
    let name = if cfg!(feature = "cuda") { "cuda:0" } else { "metal:0" };
    device::parse(name).inspect_err(|error| println!("skipped: {error}")).ok()
}

fn numbers(x: &Tensor) -> Vec<f64> {
    x.to_device(&Device::Cpu).unwrap().to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference from `exact`, relative to its size.
fn error(x: &Tensor, exact: &Tensor) -> f64 {
    let (x, exact) = (numbers(x), numbers(exact));
    assert_eq!(x.len(), exact.len());
    let scale = exact.iter().fold(1e-12f64, |scale, v| scale.max(v.abs()));
    // A NaN must not pass.
    x.iter().zip(&exact).map(|(a, b)| (a - b).abs() / scale).fold(0., |m, d| if d > m || d.is_nan() { d } else { m })
}

struct Run {
    output: Tensor,
    gradients: Vec<(String, Option<Tensor>)>,
}

/// The outputs and the gradients of all parameters of the same network on the CPU and the GPU: equal in f64 (on CUDA; Metal has none), and in f32 of an error like the CPU's.
fn compare(network: impl Fn(&ParamStore) -> Result<Tensor>) {
    let Some(gpu) = gpu() else { return };
    let first = ParamStore::new(0, DType::F32, &Device::Cpu);
    network(&first).unwrap();
    let weights = first.snapshot().unwrap();
    let run = |dtype: DType, device: &Device| {
        let store = ParamStore::new(0, dtype, device);
        // The first pass creates the parameters.
        network(&store).unwrap();
        let convert =
            |(name, x): (&String, &Tensor)| (name.clone(), x.to_dtype(dtype).unwrap().to_device(device).unwrap());
        store.restore(&weights.iter().map(convert).collect()).unwrap();
        let output = network(&store).unwrap();
        let target = Rng::new(9).normal(0., 1., output.shape(), DType::F32, &Device::Cpu).unwrap();
        let target = target.to_dtype(dtype).unwrap().to_device(device).unwrap();
        let grads = backward(&ops::mse(&output, &target).unwrap()).unwrap();
        let gradients = store.trainable().into_iter().map(|(name, var)| (name, grads.get(&var).cloned())).collect();
        Run { output, gradients }
    };
    let (exact, cpu) = (run(DType::F64, &Device::Cpu), run(DType::F32, &Device::Cpu));
    let errors = |run: &Run| -> Vec<(String, f64)> {
        let mut errors = vec![("the output".to_string(), error(&run.output, &exact.output))];
        assert_eq!(run.gradients.len(), exact.gradients.len());
        for ((name, x), (same, exact)) in run.gradients.iter().zip(&exact.gradients) {
            assert_eq!(name, same);
            match (x, exact) {
                (Some(x), Some(exact)) => errors.push((name.clone(), error(x, exact))),
                (None, None) => {}
                _ => panic!("{name} has a gradient on one device only"),
            }
        }
        errors
    };
    // A parameter's own error is chance; the largest tells how well the network is conditioned. On an H200 ASTGCN, whose sigmoids saturate, came to 14 times that. Wrong formulas are found in f64.
    let own = errors(&cpu).into_iter().fold(0., |m: f64, (_, e)| m.max(e));
    for (dtype, allowed) in [(DType::F64, 1e-9), (DType::F32, 1e-5 + 30. * own)] {
        if dtype == DType::F64 && gpu.is_metal() {
            continue;
        }
        let found = run(dtype, &gpu);
        assert!(!found.output.device().is_cpu());
        let found = errors(&found);
        assert!(found.len() > 3, "{} results", found.len());
        for (what, error) in found {
            assert!(error <= allowed, "{what}: {error:e} in {dtype:?}, allowed is {allowed:e}");
        }
    }
}

fn ring(nodes: usize) -> SensorGraph {
    let edges: Vec<_> = (0..nodes).flat_map(|i| [(i, (i + 1) % nodes), (i, (i + 5) % nodes)]).collect();
    SensorGraph::from_edges(nodes, &edges).unwrap()
}

#[test]
fn dstagnn_is_the_same() {
    let graph = ring(20);
    let basis = ChebyshevBasis::new(&graph, 3, ChebyshevProduct::Elementwise).unwrap();
    let config = DstagnnConfig { num_blocks: 2, filters: 16, embedding: 24, head_width: 8, ..DstagnnConfig::new(20) };
    compare(|store| {
        let model = dstagnn(config.clone(), &basis, &graph, store.var_builder())?;
        let x = Rng::new(1).normal(0., 1., (5, 20, 1, 12), DType::F32, &Device::Cpu)?;
        let x = x.to_dtype(store.dtype())?.to_device(store.device())?;
        model.forward(&x, &mut Mode::evaluate())
    });
}

#[test]
fn astgcn_is_the_same() {
    let basis = ChebyshevBasis::new(&ring(20), 3, ChebyshevProduct::Matrix).unwrap();
    compare(|store| {
        let model = astgcn(AstgcnConfig::default(), &basis, store.var_builder())?;
        let x = Rng::new(1).normal(0., 1., (5, 20, 1, 12), DType::F32, &Device::Cpu)?;
        let x = x.to_dtype(store.dtype())?.to_device(store.device())?;
        Ok(model.forward(&x)?)
    });
}

/// Eight Morse symbols of unequal lengths.
fn symbols(store: &ParamStore) -> Sequences {
    let signals: Vec<_> = morse::alphabet(4).unwrap().into_iter().take(8).collect();
    let lengths: Vec<usize> = signals.iter().map(Vec::len).collect();
    let rows = signals.concat();
    let count = rows.len();
    let rows = Tensor::from_vec(rows, (count, 1), store.device()).unwrap().to_dtype(store.dtype()).unwrap();
    Sequences::new(rows, &lengths).unwrap()
}

#[test]
fn sithcon_is_the_same() {
    let memory = LogTimeConfig { tau_max: 500., num_taus: 120, ..LogTimeConfig::default() };
    let layer = SithConLayerConfig { channels: 12, kernel_width: 9, memory, ..SithConLayerConfig::default() };
    let config = SithConConfig { layers: vec![layer; 2], ..SithConConfig::morse_decoder() };
    compare(|store| sithcon(1, 10, &config, store.var_builder())?.forward(&symbols(store), &mut Mode::evaluate()));
    compare(|store| {
        sithcon(1, 10, &config, store.var_builder())?.forward_steps(&symbols(store), &mut Mode::evaluate())
    });
}

#[test]
fn the_baselines_are_the_same() {
    let config = TcnConfig { channels: vec![12, 12], kernel: 9 };
    compare(|store| tcn(1, 10, &config, store.var_builder())?.forward_sequences(&symbols(store)));
    let config = LstmConfig { hidden: 16, ..LstmConfig::default() };
    compare(|store| lstm_reader(1, 10, config, store.var_builder())?.forward_sequences(&symbols(store)));
}
