//! TRAM's heads: gradients, what the stop of the gradient stops, and wrong arguments.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::Module;
use core_tensor::gradcheck::gradcheck;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{backward, nn, ops};
use noisy_labels::Error;
use noisy_labels::tram::{HetConfig, HetNoise, PiTower, PiTowerConfig, het_head, pi_tower, two_head_loss};

fn normal(seed: u64, shape: (usize, usize)) -> Tensor {
    Rng::new(seed).normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap()
}

fn core(error: Error) -> core_tensor::Error {
    match error {
        Error::Core(error) => error,
        other => candle_core::Error::Msg(other.to_string()).into(),
    }
}

fn tower(store: &ParamStore, has_residual: bool) -> PiTower {
    let config = PiTowerConfig { features: 5, information: 3, width: 4, classes: 3, has_residual };
    pi_tower(config, store.var_builder().pp("pi")).unwrap()
}

#[test]
fn gradients_are_right() {
    for has_residual in [false, true] {
        let tower = tower(&ParamStore::new(1, DType::F64, &Device::Cpu), has_residual);
        let inputs = [normal(2, (6, 5)), normal(3, (6, 3))];
        gradcheck(|x| ops::tanh(&tower.forward(&x[0], &x[1]).map_err(core)?), &inputs).unwrap();
    }
    for rank in [0, 2] {
        let config = HetConfig { inputs: 4, classes: 3, rank, temperature: 1.3 };
        let store = ParamStore::new(4, DType::F64, &Device::Cpu);
        let head = het_head(config, store.var_builder()).unwrap();
        let h = normal(5, (3, 4));
        let noise = head.draw(3, 20, &h, &mut Rng::new(6)).unwrap();
        gradcheck(|x| head.log_probabilities(&x[0], &noise).map_err(core), std::slice::from_ref(&h)).unwrap();
        let p = head.log_probabilities(&h, &noise).unwrap().exp().unwrap().sum(1).unwrap();
        assert!(p.to_vec1::<f64>().unwrap().iter().all(|sum| (sum - 1.).abs() < 1e-6));
    }
    let loss = |x: &[Tensor]| Ok(two_head_loss(&x[0], &x[1], &[0, 1, 1, 0], &[2, 1, 0, 0], 0.6).map_err(core)?.loss);
    gradcheck(loss, &[normal(7, (4, 3)), normal(8, (2, 3))]).unwrap();
}

#[test]
fn the_head_without_information_sends_no_gradient_into_the_features() {
    let store = ParamStore::new(9, DType::F64, &Device::Cpu);
    let backbone = nn::linear(4, 5, store.var_builder().pp("backbone")).unwrap();
    let plain = nn::linear(5, 3, store.var_builder().pp("plain")).unwrap();
    let tower = tower(&store, true);
    let (x, information) = (normal(10, (3, 4)), normal(11, (4, 3)));
    // Images once, features repeated: the second example has two annotations.
    let (examples, labels) = ([0u32, 1, 1, 2], [0, 1, 2, 0]);
    let features = ops::relu(&backbone.forward(&x).unwrap()).unwrap();
    let rows = ops::index_select(&features, &Tensor::new(&examples, &Device::Cpu).unwrap(), 0).unwrap();
    let with = tower.forward(&rows, &information).unwrap();
    let without = plain.forward(&features.detach()).unwrap();
    let found = two_head_loss(&with, &without, &examples, &labels, 1.).unwrap();
    assert!(core_tensor::tape::foreign(&found.loss).is_empty());
    let of_plain = backward(&found.without_information).unwrap();
    let of_tower = backward(&found.with_information).unwrap();
    let both = backward(&found.loss).unwrap();
    let norm = |x: Option<&Tensor>| x.map_or(0., |x| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap());
    for (name, var) in store.vars() {
        let (a, b) = (norm(of_plain.get(&var)), norm(of_tower.get(&var)));
        assert_eq!(a > 0., name.starts_with("plain"), "{name}");
        assert_eq!(b > 0., !name.starts_with("plain"), "{name}");
        assert!((norm(both.get(&var)) - a - b).abs() < 1e-12, "{name}");
    }
    // Its logits do not depend on the information at all: they are made without it.
    assert_eq!(without.dims(), [3, 3]);
}

#[test]
fn a_constant_draw_is_the_softmax_itself() {
    let config = HetConfig { inputs: 2, classes: 3, rank: 1, temperature: 2. };
    let head = het_head(config, ParamStore::new(12, DType::F64, &Device::Cpu).var_builder()).unwrap();
    let h = normal(13, (4, 2));
    let zeros = |width| Tensor::zeros((4, 5, width), DType::F64, &Device::Cpu).unwrap();
    let noise = HetNoise { diagonal: zeros(3), factors: Some(zeros(1)) };
    let store = ParamStore::new(12, DType::F64, &Device::Cpu);
    let mean = nn::linear(2, 3, store.var_builder().pp("loc")).unwrap();
    let expected = ops::log_softmax(&ops::affine(&mean.forward(&h).unwrap(), 0.5, 0.).unwrap()).unwrap();
    let found = head.log_probabilities(&h, &noise).unwrap();
    let difference = (found - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
    assert!(difference < 1e-12);
    // A probability below the least has that logarithm, and no gradient.
    let h = Var::from_tensor(&normal(14, (1, 2)).affine(1e3, 0.).unwrap()).unwrap();
    let noise = head.draw(1, 3, &h, &mut Rng::new(1)).unwrap();
    let logs = head.log_probabilities(&h, &noise).unwrap();
    let least = logs.min_all().unwrap().to_scalar::<f64>().unwrap();
    assert!(least >= 1e-7f64.ln() - 1e-12);
    let grads = backward(&ops::sum_all(&logs).unwrap()).unwrap();
    assert!(grads.get(&h).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().is_finite());
}

#[test]
fn wrong_arguments_are_errors() {
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let tower = tower(&store, false);
    let (features, information) = (normal(1, (2, 5)), normal(2, (2, 3)));
    assert!(matches!(tower.forward(&information, &information), Err(Error::Shape { .. })));
    assert!(tower.forward(&features, &normal(2, (3, 3))).is_err());
    assert!(matches!(tower.marginal(&features, &normal(2, (2, 4)), None), Err(Error::Shape { .. })));
    let none = Tensor::zeros((0, 3), DType::F64, &Device::Cpu).unwrap();
    assert!(matches!(tower.marginal(&features, &none, None), Err(Error::Empty { .. })));
    assert!(matches!(tower.marginal(&features, &information, Some(&[1.])), Err(Error::Length { .. })));
    for weights in [[-1., 1.], [f64::NAN, 1.], [f64::INFINITY, 1.], [0., 0.]] {
        assert!(tower.marginal(&features, &information, Some(&weights)).is_err(), "{weights:?}");
    }
    let nobody = Tensor::zeros((0, 5), DType::F64, &Device::Cpu).unwrap();
    assert_eq!(tower.marginal(&nobody, &information, None).unwrap().dims(), [0, 3]);
    let sizes = PiTowerConfig { features: 0, information: 1, width: 1, classes: 1, has_residual: true };
    assert!(matches!(pi_tower(sizes, store.var_builder().pp("none")), Err(Error::InvalidConfig { .. })));
    for temperature in [0., -1., f64::NAN] {
        let config = HetConfig { inputs: 1, classes: 2, rank: 0, temperature };
        assert!(het_head(config, store.var_builder().pp("het")).is_err());
    }
    let config = HetConfig { inputs: 4, classes: 3, rank: 2, temperature: 1. };
    let head = het_head(config, store.var_builder().pp("het")).unwrap();
    let h = normal(3, (2, 4));
    assert!(head.draw(2, 0, &h, &mut Rng::new(0)).is_err());
    let noise = head.draw(3, 4, &h, &mut Rng::new(0)).unwrap();
    assert!(matches!(head.log_probabilities(&h, &noise), Err(Error::Shape { .. })));
    let noise = HetNoise { factors: None, ..head.draw(2, 4, &h, &mut Rng::new(0)).unwrap() };
    assert!(matches!(head.log_probabilities(&h, &noise), Err(Error::Empty { .. })));
    let logits = normal(4, (2, 3));
    assert!(two_head_loss(&logits, &logits, &[0, 1], &[0, 3], 1.).is_err());
    assert!(two_head_loss(&logits, &logits, &[0, 2], &[0, 0], 1.).is_err());
    assert!(two_head_loss(&logits, &logits, &[0], &[0, 0], 1.).is_err());
    assert!(two_head_loss(&logits, &normal(4, (2, 2)), &[0, 1], &[0, 0], 1.).is_err());
    assert!(two_head_loss(&logits, &logits, &[0, 1], &[0, 0], f64::NAN).is_err());
    let nothing = Tensor::zeros((0, 3), DType::F64, &Device::Cpu).unwrap();
    assert!(matches!(two_head_loss(&nothing, &logits, &[], &[], 1.), Err(Error::Empty { .. })));
}
