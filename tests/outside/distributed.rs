//! Trains on two ranks, saves, reloads.

use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
use core_tensor::{nn, ops, params::ParamStore, random::Rng};
use distributed::{Communicator, DataParallel, DataParallelConfig, Launch, launch};
use std::sync::Arc;

fn train(ranks: Arc<dyn Communicator>) -> distributed::Result<bool> {
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let layer = nn::linear(16, 3, store.var_builder())?;
    let mut optimizer = Sgd::new(store.trainable(), SgdConfig { learning_rate: 0.1, ..Default::default() })?;
    let mut model = DataParallel::new(store.trainable(), ranks.clone(), DataParallelConfig::default())?;
    let mut rng = Rng::new(1).fork(&format!("rank {}", ranks.rank()));
    let x = rng.normal(0., 1., (12, 16), DType::F32, &Device::Cpu)?;
    let labels = Tensor::new((0..12u32).map(|at| at % 3).collect::<Vec<_>>(), &Device::Cpu)?;
    for _ in 0..5 {
        let gradients = model.backward(&ops::cross_entropy(&layer.forward(&x)?, &labels)?)?;
        optimizer.step(&gradients)?;
    }
    let path = format!("distributed-{}.safetensors", ranks.rank());
    store.save(&path)?;
    let again = ParamStore::new(9, DType::F32, &Device::Cpu);
    let other = nn::linear(16, 3, again.var_builder())?;
    again.load(&path)?;
    Ok(layer.forward(&x)?.to_vec2::<f32>()? == other.forward(&x)?.to_vec2::<f32>()?)
}

fn main() -> distributed::Result<()> {
    assert_eq!(launch(Launch::threads(2), train)?, [true, true]);
    Ok(())
}
