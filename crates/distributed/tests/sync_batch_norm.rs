//! Batch normalisation by the statistics of all ranks equals the one of the whole batch.

#![cfg(feature = "trainer")]
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::nn::{BatchNormConfig, batch_norm2d};
use core_tensor::{Mode, params::ParamStore, random::Rng};
use distributed::{Communicator, DataParallel, DataParallelConfig, Launch, Result, launch, sync_batch_norm};
use std::sync::Arc;

const CHANNELS: usize = 3;

/// Rows of each rank; their numbers differ.
const ROWS: [usize; 3] = [4, 1, 3];

fn input() -> Tensor {
    let rows = ROWS.iter().sum::<usize>();
    let x = Rng::new(3).normal(0., 2., (rows, CHANNELS, 2, 5), DType::F64, &Device::Cpu).unwrap();
    // far from zero, where sums of squares alone would cancel
    (x + 1e4).unwrap()
}

/// A fixed factor for each element, so that the gradient of each differs.
fn factors() -> Tensor {
    Rng::new(4).normal(0., 1., input().dims(), DType::F64, &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn outputs_gradients_and_running_statistics_are_those_of_the_whole_batch() {
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let whole = batch_norm2d(CHANNELS, BatchNormConfig::default(), store.var_builder()).unwrap();
    let x = Var::from_tensor(&input()).unwrap();
    let y = whole.forward(&x, &Mode::recalibrate()).unwrap();
    let grads = y.mul(&factors()).unwrap().sum_all().unwrap().backward().unwrap();
    let parameter = |store: &ParamStore, name: &str| {
        store.trainable().into_iter().find(|(own, _)| own == name).map(|(_, var)| var).unwrap()
    };
    let gradients = |name: &str| numbers(grads.get(&parameter(&store, name)).unwrap());
    let wanted = (numbers(&y), numbers(grads.get(&x).unwrap()), gradients("weight"), gradients("bias"));

    let parts = launch(Launch::threads(3), |ranks: Arc<dyn Communicator>| -> Result<_> {
        let start: usize = ROWS[..ranks.rank()].iter().sum();
        let rows = ROWS[ranks.rank()];
        let store = ParamStore::new(0, DType::F64, &Device::Cpu);
        let layer = sync_batch_norm(CHANNELS, BatchNormConfig::default(), ranks.clone(), store.var_builder())?;
        let config = DataParallelConfig { overlap: false, ..DataParallelConfig::default() };
        let mut average = DataParallel::new(&store, ranks.clone(), config)?;
        let x = Var::from_tensor(&input().narrow(0, start, rows)?)?;
        let y = layer.forward(&x, &Mode::recalibrate())?;
        // a sum over all ranks is their number times the mean
        let loss = (y.mul(&factors().narrow(0, start, rows)?)?.sum_all()? * ranks.world_size() as f64)?;
        let grads = average.backward(&loss)?;
        let of = |name: &str| numbers(grads.get(&parameter(&store, name)).unwrap());
        let own = (numbers(&y), numbers(&(grads.get(&x).unwrap() / ranks.world_size() as f64)?));
        let running = (numbers(layer.running_mean()), numbers(layer.running_var()));
        // evaluation moves nothing and asks no one
        if ranks.rank() == 0 {
            layer.forward(&x, &Mode::evaluate())?;
        }
        Ok((own, of("weight"), of("bias"), running))
    })
    .unwrap();
    let near = |a: &[f64], b: &[f64], what: &str| {
        assert_eq!(a.len(), b.len(), "{what}");
        // f64 with values of 1e4 and gradients of a few tens
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-8 * (1. + b.abs())), "{what}: {a:?} {b:?}");
    };
    near(&parts.iter().flat_map(|part| part.0.0.clone()).collect::<Vec<_>>(), &wanted.0, "outputs");
    near(&parts.iter().flat_map(|part| part.0.1.clone()).collect::<Vec<_>>(), &wanted.1, "gradients of inputs");
    for part in &parts {
        near(&part.1, &wanted.2, "gradients of the weight");
        near(&part.2, &wanted.3, "gradients of the bias");
        near(&part.3.0, &numbers(whole.running_mean()), "running mean");
        near(&part.3.1, &numbers(whole.running_var()), "running variance");
        assert_eq!((&part.1, &part.2, &part.3), (&parts[0].1, &parts[0].2, &parts[0].3), "the same bits on every rank");
    }
}

#[test]
fn inputs_and_settings_that_do_not_fit_are_errors() {
    let alone: Arc<dyn Communicator> = Arc::new(distributed::communicator::Alone);
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    for config in [
        BatchNormConfig { momentum: 1.5, ..Default::default() },
        BatchNormConfig { momentum: f64::NAN, ..Default::default() },
        BatchNormConfig { eps: 0., ..Default::default() },
    ] {
        assert!(sync_batch_norm(2, config, alone.clone(), store.var_builder().pp("wrong")).is_err(), "{config:?}");
    }
    let layer = sync_batch_norm(2, BatchNormConfig::default(), alone, store.var_builder()).unwrap();
    for shape in [&[2][..], &[4, 3], &[1, 2]] {
        let x = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        assert!(layer.forward(&x, &Mode::recalibrate()).is_err(), "{shape:?}");
    }
}
