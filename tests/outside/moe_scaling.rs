//! Trains, saves, reloads.

use candle_core::{DType, Device};
use core_tensor::optim::{AdamConfig, AdamW, Optimizer};
use core_tensor::{ops, params::ParamStore, random::Rng};
use moe_scaling::Mode;
use moe_scaling::layer::{RoutedFeedForward, RoutedFeedForwardConfig, routed_feed_forward};
use moe_scaling::router::{TopKConfig, top_k};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let build = |seed: u64| -> Result<_, Box<dyn std::error::Error>> {
        let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
        let router = top_k(8, 4, TopKConfig { k: 2, ..TopKConfig::default() }, store.var_builder())?;
        let config = RoutedFeedForwardConfig::new(8, 16);
        let layer = routed_feed_forward(config, Box::new(router), store.var_builder())?;
        Ok((store, layer))
    };
    let (store, layer) = build(0)?;
    let mut rng = Rng::new(1);
    let x = rng.normal(0., 1., (2, 16, 8), DType::F32, &Device::Cpu)?;
    let target = x.sin()?;
    let mut optimizer = AdamW::new(store.trainable(), AdamConfig::default())?;
    for _ in 0..5 {
        let routed = layer.forward(&x, None, &mut Mode::train(&mut rng))?;
        optimizer.backward_step(&ops::mse(&routed.y, &target)?)?;
    }
    store.save("moe.safetensors")?;
    let (again, other) = build(9)?;
    again.load("moe.safetensors")?;
    let of = |layer: &RoutedFeedForward| -> Result<Vec<f32>, Box<dyn std::error::Error>> {
        Ok(layer.forward(&x, None, &mut Mode::evaluate())?.y.flatten_all()?.to_vec1()?)
    };
    assert_eq!(of(&layer)?, of(&other)?);
    Ok(())
}
