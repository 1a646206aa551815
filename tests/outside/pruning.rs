//! Trains, saves, reloads.

use candle_core::{DType, Device, Tensor};
use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
use core_tensor::{Mode, ops, params::ParamStore, random::Rng};
use pruning::Network;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::small_cnn([1, 14, 14], 4)?;
    let (store, again) = (ParamStore::new(0, DType::F32, &Device::Cpu), ParamStore::new(9, DType::F32, &Device::Cpu));
    let (model, other) = (network.build(store.var_builder())?, network.build(again.var_builder())?);
    let x = Rng::new(1).normal(0., 1., (16, 1, 14, 14), DType::F32, &Device::Cpu)?;
    let labels = Tensor::new((0..16u32).map(|at| at % 4).collect::<Vec<_>>(), &Device::Cpu)?;
    let mut optimizer = Sgd::new(store.trainable(), SgdConfig { learning_rate: 0.05, ..SgdConfig::default() })?;
    for _ in 0..3 {
        optimizer.backward_step(&ops::cross_entropy(&model.forward(&x, &mut Mode::recalibrate())?, &labels)?)?;
    }
    store.save("pruning.safetensors")?;
    again.load("pruning.safetensors")?;
    let of = |model: &pruning::Model| -> Result<_, Box<dyn std::error::Error>> {
        Ok(model.forward(&x, &mut Mode::evaluate())?.to_vec2::<f32>()?)
    };
    assert_eq!(of(&model)?, of(&other)?);
    Ok(())
}
