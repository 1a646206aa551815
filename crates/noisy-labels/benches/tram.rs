//! What must be fast around TRAM: `cargo xtask bench tram [--peers]`.
//!
//! Rows have the names of `xtask/peers/tram.py`; data are random, which does not change the work.

use candle_core::{DType, Device, Tensor};
use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Mode, ops};
use noisy_labels::tram::{PiTowerConfig, TramConfig, pi_tower, tram, two_head_loss};
use reproduction::bench;
use std::hint::black_box;
use vision::{ImageNetwork, WideResNetConfig, WideResNetForm, wide_resnet};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

const CLASSES: usize = 10;
/// Ids of CIFAR-10N and a time.
const INFORMATION: usize = 748;

/// Rows with one place each.
fn one_hot(rows: usize, seed: u64) -> candle_core::Result<Tensor> {
    let mut rng = Rng::new(seed);
    let mut values = vec![0f32; rows * INFORMATION];
    values.chunks_exact_mut(INFORMATION).for_each(|row| row[rng.below(INFORMATION)] = 1.);
    Tensor::from_vec(values, (rows, INFORMATION), &Device::Cpu)
}

fn training() -> Outcome {
    let device = Device::Cpu;
    let batch = 32;
    let images = Rng::new(0).normal(0., 1., (batch, 3, 32, 32), DType::F32, &device)?;
    let labels: Vec<u32> = (0..batch as u32).map(|at| at % CLASSES as u32).collect();
    let examples: Vec<u32> = (0..batch as u32).collect();
    let targets = Tensor::new(labels.as_slice(), &device)?;
    let information = one_hot(batch, 1)?;
    let config = WideResNetConfig { form: WideResNetForm::TensorFlow, ..WideResNetConfig::new(16, 4, CLASSES) };
    let core = |error: vision::Error| core_tensor::Error::from(candle_core::Error::from(error));
    let sgd = |store: &ParamStore| {
        let settings = SgdConfig { learning_rate: 0.1, momentum: 0.9, is_nesterov: true, ..Default::default() };
        Sgd::new(store, settings)
    };
    let mut noise = Rng::new(2);

    let store = ParamStore::new(0, DType::F32, &device);
    let network = wide_resnet(&config, store.var_builder())?;
    let mut optimizer = sgd(&store)?;
    bench::measure("no-pi step wrn-16-4 b=32", 0.06, || {
        let logits = network.forward(&images, &mut Mode::train(&mut noise))?;
        optimizer.backward_step(&ops::cross_entropy(&logits, &targets)?)?;
        Ok(())
    })?;

    let store = ParamStore::new(0, DType::F32, &device);
    let network = wide_resnet(&config, store.var_builder().pp("backbone"))?;
    let backbone = |x: &Tensor, mode: &mut Mode<'_>| network.features(x, mode).map_err(core);
    let model = tram(backbone, TramConfig::new(256, INFORMATION, CLASSES), store.var_builder())?;
    let mut optimizer = sgd(&store)?;
    bench::measure("tram step wrn-16-4 b=32 A=1", 0.06, || {
        let mut mode = Mode::train(&mut noise);
        let features = model.features(&images, &mut mode)?;
        let with = model.informed_logits(&features, &information, &mut mode)?;
        let without = model.plain_logits(&features.detach(), &mut mode)?;
        optimizer.backward_step(&two_head_loss(&with, &without, &examples, &labels, 1.)?.loss)?;
        Ok(())
    })
}

fn marginalisation() -> Outcome {
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let config =
        PiTowerConfig { features: 640, information: INFORMATION, width: 128, classes: CLASSES, has_residual: false };
    let tower = pi_tower(config, store.var_builder())?;
    let features = Rng::new(3).normal(0., 1., (128, 640), DType::F32, &Device::Cpu)?;
    let drawn = one_hot(1000, 4)?;
    bench::measure("full marginalisation, every drawn row", 0.06, || {
        black_box(tower.marginal(&features, &drawn, None)?);
        Ok(())
    })?;
    // What `PiEncoder::sample` gives: ids that are drawn repeat, and each stands once, with its count.
    let mut counts = vec![0f64; INFORMATION];
    for row in drawn.to_vec2::<f32>()? {
        counts[row.iter().position(|x| *x > 0.).unwrap_or(0)] += 1.;
    }
    let found: Vec<usize> = (0..INFORMATION).filter(|at| counts[*at] > 0.).collect();
    let mut values = vec![0f32; found.len() * INFORMATION];
    values.chunks_exact_mut(INFORMATION).zip(&found).for_each(|(row, at)| row[*at] = 1.);
    let distinct = Tensor::from_vec(values, (found.len(), INFORMATION), &Device::Cpu)?;
    let weights: Vec<f64> = found.iter().map(|at| counts[*at]).collect();
    bench::measure("full marginalisation b=128 S=1000 F=640 T=128", 0.06, || {
        black_box(tower.marginal(&features, &distinct, Some(&weights))?);
        Ok(())
    })
}

fn main() -> Outcome {
    core_tensor::memory::configure();
    core_tensor::threads::configure(bench::threads()?)?;
    core_tensor::threads::install(|| {
        training()?;
        marginalisation()
    })
}
