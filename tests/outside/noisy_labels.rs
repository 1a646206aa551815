//! Trains, saves, reloads.

use candle_core::{DType, Device, Module, Tensor};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::{nn, ops, params::ParamStore, random::Rng};
use noisy_labels::neighbours::Points;
use noisy_labels::{Probabilities, issues};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let build = |seed: u64| -> Result<_, Box<dyn std::error::Error>> {
        let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
        let layer = nn::linear(4, 2, store.var_builder())?;
        Ok((store, layer))
    };
    let (store, layer) = build(0)?;
    let x = Rng::new(1).normal(0., 1., (40, 4), DType::F32, &Device::Cpu)?;
    let labels: Vec<u32> = x.narrow(1, 0, 1)?.flatten_all()?.gt(0f32)?.to_dtype(DType::U32)?.to_vec1()?;
    let targets = Tensor::new(labels.as_slice(), &Device::Cpu)?;
    let mut optimizer = Adam::new(&store, AdamConfig { learning_rate: 0.1, ..AdamConfig::default() })?;
    for _ in 0..30 {
        optimizer.backward_step(&ops::cross_entropy(&layer.forward(&x)?, &targets)?)?;
    }
    store.save("labels.safetensors")?;
    let (again, other) = build(9)?;
    again.load("labels.safetensors")?;
    let found = |layer: &nn::Linear| -> Result<(Vec<f32>, usize), Box<dyn std::error::Error>> {
        let p: Vec<f32> = ops::softmax(&layer.forward(&x)?)?.flatten_all()?.to_vec1()?;
        let features: Vec<f32> = x.flatten_all()?.to_vec1()?;
        let points = Points::new(&features, 4)?;
        let report = issues::data_report(Probabilities::new(&p, 2)?, &labels, Some(points), &Default::default())?;
        let count = report.issues.len();
        Ok((p, count))
    };
    assert_eq!(found(&layer)?, found(&other)?);
    Ok(())
}
