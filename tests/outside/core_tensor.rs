//! Trains, saves, reloads.

use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::{nn, ops, params::ParamStore, random::Rng};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let build = |seed: u64| -> core_tensor::Result<(ParamStore, nn::Linear)> {
        let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
        let layer = nn::linear(6, 3, store.var_builder().pp("head"))?;
        Ok((store, layer))
    };
    let (store, layer) = build(0)?;
    let x = Rng::new(1).normal(0., 1., (32, 6), DType::F32, &Device::Cpu)?;
    let labels = Tensor::new((0..32u32).map(|at| at % 3).collect::<Vec<_>>(), &Device::Cpu)?;
    let mut optimizer = Adam::new(&store, AdamConfig::default())?;
    for _ in 0..5 {
        optimizer.backward_step(&ops::cross_entropy(&layer.forward(&x)?, &labels)?)?;
    }
    store.save("core.safetensors")?;
    let (again, other) = build(9)?;
    again.load("core.safetensors")?;
    assert_eq!(layer.forward(&x)?.to_vec2::<f32>()?, other.forward(&x)?.to_vec2::<f32>()?);
    Ok(())
}
