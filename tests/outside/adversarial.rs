//! Trains, saves, reloads; the reloaded classifier is attacked as the first one was.

use adversarial::attacks::{Classifier, Norm, ThreatModel};
use candle_core::{DType, Device, Module, Tensor};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::{nn, ops, params::ParamStore, random::Rng};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let build = |seed: u64| -> Result<_, Box<dyn std::error::Error>> {
        let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
        let layer = nn::linear(64, 3, store.var_builder())?;
        Ok((store, layer))
    };
    let (store, layer) = build(0)?;
    let x = Rng::new(1).uniform(0., 1., (30, 1, 8, 8), DType::F32, &Device::Cpu)?;
    let labels: Vec<u32> = (0..30).map(|at| at % 3).collect();
    let targets = Tensor::new(labels.as_slice(), &Device::Cpu)?;
    let mut optimizer = Adam::new(&store, AdamConfig::default())?;
    for _ in 0..5 {
        optimizer.backward_step(&ops::cross_entropy(&layer.forward(&x.flatten_from(1)?)?, &targets)?)?;
    }
    store.save("adversarial.safetensors")?;
    let (again, other) = build(9)?;
    again.load("adversarial.safetensors")?;
    let attack = |layer: &nn::Linear| -> Result<Vec<f32>, Box<dyn std::error::Error>> {
        let model = |x: &Tensor| layer.forward(&x.flatten_from(1)?);
        let suite = adversarial::attacks::Suite::of_size(Norm::Linf, 5, 20, adversarial::attacks::Loss::Margin);
        let report = suite.run(&model, &x, &labels, &ThreatModel::linf(0.03), 0)?;
        assert!(report.robust_accuracy.value <= report.clean_accuracy.value);
        Ok(Classifier::logits(&model, &x)?.flatten_all()?.to_vec1()?)
    };
    assert_eq!(attack(&layer)?, attack(&other)?);
    Ok(())
}
