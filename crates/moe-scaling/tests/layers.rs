//! Routers, dispatch, the routed layer and the model: what holds for every input, gradients, and what is refused.

#![cfg(feature = "layers")]
#![allow(clippy::unwrap_used)]

#[path = "layers/balance.rs"]
mod balance;
#[path = "layers/dispatch.rs"]
mod dispatch;
#[path = "layers/model.rs"]
mod model;
#[path = "layers/routed_layer.rs"]
mod routed_layer;
#[path = "layers/routers.rs"]
mod routers;

use candle_core::{DType, Device, Tensor};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use moe_scaling::layer::{RoutedFeedForward, RoutedFeedForwardConfig, routed_feed_forward};
use moe_scaling::router::{
    HashConfig, ReinforceConfig, Router, SBaseConfig, TopKConfig, base, hash, reinforce, s_base, top_k,
};

fn normal(shape: &[usize], seed: u64) -> Tensor {
    Rng::new(seed).normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap()
}

fn values(t: &Tensor) -> Vec<f64> {
    t.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    values(a).iter().zip(values(b)).map(|(a, b)| (a - b).abs()).fold(0., f64::max)
}

fn store() -> ParamStore {
    ParamStore::new(3, DType::F64, &Device::Cpu)
}

fn all_routers(d_model: usize, experts: usize, k: usize, store: &ParamStore) -> Vec<Box<dyn Router>> {
    let vb = || store.var_builder();
    let mut all: Vec<Box<dyn Router>> = vec![
        Box::new(top_k(d_model, experts, TopKConfig { k, z_weight: 0.001, ..TopKConfig::default() }, vb()).unwrap()),
        Box::new(s_base(d_model, experts, SBaseConfig { k, ..SBaseConfig::default() }, vb()).unwrap()),
    ];
    if k == 1 {
        all.push(Box::new(reinforce(d_model, experts, ReinforceConfig::default(), vb()).unwrap()));
        all.push(Box::new(hash(experts, &HashConfig::Modulo).unwrap()));
        all.push(Box::new(base(d_model, experts, vb()).unwrap()));
    }
    all
}

fn layer(
    router: Box<dyn Router>,
    store: &ParamStore,
    change: impl Fn(&mut RoutedFeedForwardConfig),
) -> RoutedFeedForward {
    let mut config =
        RoutedFeedForwardConfig { init_std: 0.3, output_init_std: 0.3, ..RoutedFeedForwardConfig::new(8, 12) };
    change(&mut config);
    routed_feed_forward(config, router, store.var_builder()).unwrap()
}

fn ids(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    Tensor::from_vec((0..count as u32).map(|i| i * 7 % 31).collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
}
