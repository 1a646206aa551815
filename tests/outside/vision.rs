//! Trains, saves, reloads.

use candle_core::{DType, Device, Tensor};
use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
use core_tensor::{Mode, ops, params::ParamStore, random::Rng};
use vision::{ImageNetwork, ResNetConfig, resnet};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = ResNetConfig { stem_width: 8, widths: vec![8, 8, 8, 8], ..ResNetConfig::resnet18(4).cifar() };
    let build = |seed: u64| -> Result<_, Box<dyn std::error::Error>> {
        let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
        let network = resnet(&config, store.var_builder())?;
        Ok((store, network))
    };
    let (store, network) = build(0)?;
    let x = Rng::new(1).normal(0., 1., (8, 3, 16, 16), DType::F32, &Device::Cpu)?;
    let labels = Tensor::new(&[0u32, 1, 2, 3, 0, 1, 2, 3], &Device::Cpu)?;
    let mut optimizer = Sgd::new(store.trainable(), SgdConfig { learning_rate: 0.1, ..Default::default() })?;
    for _ in 0..3 {
        let logits = network.forward(&x, &mut Mode::recalibrate())?;
        optimizer.backward_step(&ops::cross_entropy(&logits, &labels)?)?;
    }
    store.save("vision.safetensors")?;
    let (again, other) = build(9)?;
    again.load("vision.safetensors")?;
    let of = |network: &dyn ImageNetwork| -> Result<_, Box<dyn std::error::Error>> {
        Ok(network.forward(&x, &mut Mode::evaluate())?.to_vec2::<f32>()?)
    };
    assert_eq!(of(&network)?, of(&other)?);
    Ok(())
}
