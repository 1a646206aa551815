//! The routed transformer and its training.

use crate::{ids, values};
use candle_core::{DType, Device};
use candle_nn::Init;
use core_tensor::params::ParamStore;
use core_tensor::train::Cancellation;
use moe_scaling::Mode;
use moe_scaling::architecture::RouterKind;
use moe_scaling::model::{
    RoutedTransformer, RouterConfig, TrainConfig, TransformerConfig, evaluate, routed_transformer, train,
};
use moe_scaling::router::{HashConfig, PolicyGate, ReinforceConfig, SBaseConfig, TopKConfig};
use std::sync::atomic::Ordering;

#[test]
fn wrong_settings_and_ids_are_errors() {
    let good = TransformerConfig::bytes(16, 2, 2, 4, 2, RouterConfig::TopK(TopKConfig::default()));
    let build = |change: &dyn Fn(&mut TransformerConfig)| {
        let mut config = good.clone();
        change(&mut config);
        let store = crate::store();
        routed_transformer(config, store.var_builder())
    };
    assert!(build(&|c| c.architecture.d_model = 15).is_err());
    assert!(build(&|c| c.architecture.heads = 0).is_err());
    assert!(build(&|c| c.vocabulary = 0).is_err());
    assert!(build(&|c| c.experts = 0).is_err());
    let model = build(&|_| {}).unwrap();
    for bad in [
        ids(&[4]),
        ids(&[1, 129]),
        ids(&[2, 0]),
        (ids(&[1, 4]) + 250.).unwrap(),
        ids(&[1, 4]).to_dtype(DType::I64).unwrap(),
    ] {
        assert!(model.forward(&bad, &mut Mode::evaluate()).is_err(), "{bad:?}");
    }
    let out = model.forward(&ids(&[2, 4]), &mut Mode::evaluate()).unwrap();
    assert!(out.loss(&ids(&[2, 3])).is_err());
}

#[test]
fn parameters_are_those_that_the_architecture_counts() {
    for (router, experts) in [
        (RouterConfig::SBase(SBaseConfig::default()), 4),
        (RouterConfig::Reinforce(ReinforceConfig { gate: PolicyGate::Probability, ..ReinforceConfig::default() }), 4),
        (RouterConfig::Hash(HashConfig::Modulo), 4),
        (RouterConfig::SBase(SBaseConfig::default()), 1),
    ] {
        let config = TransformerConfig::bytes(32, 4, 2, 8, experts, router);
        let store = crate::store();
        routed_transformer(config.clone(), store.var_builder()).unwrap();
        let outside = 256 * 32 + 2 * 32;
        let kind = if experts > 1 { config.router.kind() } else { RouterKind::Free };
        let expected = config.architecture.total_parameters(experts, kind).unwrap();
        assert_eq!(store.num_parameters() as u64 - outside, expected, "{config:?}");
    }
}

/// A text with something to learn.
fn text(len: usize) -> Vec<u8> {
    b"the routed layer sends each token to an expert; ".iter().copied().cycle().take(len).collect()
}

fn small(seed: u64, router: RouterConfig) -> (RoutedTransformer, ParamStore) {
    let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
    let config = TransformerConfig::bytes(16, 2, 2, 8, 3, router);
    (routed_transformer(config, store.var_builder()).unwrap(), store)
}

fn short(steps: u64) -> TrainConfig {
    TrainConfig { batch: 4, length: 24, evaluate_every: 10, evaluation_batches: 2, ..TrainConfig::new(16, steps) }
}

#[test]
fn every_router_trains_a_model() {
    for router in [
        RouterConfig::SBase(SBaseConfig::default()),
        RouterConfig::Reinforce(ReinforceConfig::default()),
        RouterConfig::Hash(HashConfig::Modulo),
        RouterConfig::TopK(TopKConfig { z_weight: 0.001, ..TopKConfig::default() }),
        RouterConfig::Base,
    ] {
        let (model, store) = small(0, router.clone());
        let before = evaluate(&model, &text(2000), &short(40)).unwrap();
        let mut steps = 0;
        let report = train(&model, &store, &text(4000), &text(2000), &short(40), &Cancellation::never(), |_, _| {
            steps += 1;
        });
        let report = report.unwrap();
        assert!(report.loss() < before - 1.5, "{router:?}: {before} to {}", report.loss());
        assert_eq!((steps, report.evaluations.len(), report.max_over_mean.len()), (40, 4, 1));
    }
}

#[test]
fn an_interrupted_training_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig { checkpoints: Some(folder.path().into()), ..short(30) };
    let router = || RouterConfig::Reinforce(ReinforceConfig::default());
    let (model, store) = small(0, router());
    let whole = train(&model, &store, &text(4000), &text(2000), &short(30), &Cancellation::never(), |_, _| {}).unwrap();
    let (broken, broken_store) = small(0, router());
    let (cancellation, flag) = Cancellation::by_flag();
    let stop = |step: u64, _| flag.store(step == 17, Ordering::Relaxed);
    let error = train(&broken, &broken_store, &text(4000), &text(2000), &config, &cancellation, stop).unwrap_err();
    assert!(matches!(error, moe_scaling::Error::Core(core_tensor::Error::Cancelled)), "{error}");
    let (resumed, resumed_store) = small(9, router());
    let mut first = 0;
    let report =
        train(&resumed, &resumed_store, &text(4000), &text(2000), &config, &Cancellation::never(), |step, _| {
            first = if first == 0 { step } else { first };
        });
    assert_eq!((report.unwrap(), first), (whole, 11));
    for ((name, one), (_, other)) in store.vars().iter().zip(resumed_store.vars()) {
        assert_eq!(values(one), values(&other), "{name}");
    }
}

#[test]
fn training_refuses_what_cannot_work() {
    let (model, store) = small(0, RouterConfig::Hash(HashConfig::Modulo));
    let never = Cancellation::never();
    let run = |text: &[u8], config: &TrainConfig| train(&model, &store, text, text, config, &never, |_, _| {}).is_err();
    assert!(run(&text(24), &short(2)) && run(&[], &short(2)));
    assert!(!run(&text(25), &short(1)));
    assert!(run(&text(100), &TrainConfig { batch: 0, ..short(2) }));
    assert!(run(&text(100), &TrainConfig { length: 0, ..short(2) }));
    assert!(run(&text(100), &TrainConfig { steps: 0, ..short(2) }));
    assert!(run(&text(100), &TrainConfig { evaluate_every: 0, ..short(2) }));
    assert!(run(&text(100), &TrainConfig { learning_rate: f64::NAN, ..short(2) }));
    assert!(run(&text(400), &TrainConfig { length: 200, ..short(2) }));
    let _ = store.get_with("unused", 3, Init::Const(0.));
}

/// No operation of Candle's own is in a training step, so that it is walked as a whole; but for the entropy of REINFORCE.
#[test]
fn a_training_step_is_on_our_tape() {
    for (router, of_candle) in [
        (RouterConfig::SBase(SBaseConfig::default()), false),
        (RouterConfig::Hash(HashConfig::Modulo), false),
        (RouterConfig::TopK(TopKConfig::default()), false),
        (RouterConfig::Base, false),
        (RouterConfig::Reinforce(ReinforceConfig::default()), true),
    ] {
        let (model, _) = small(0, router.clone());
        let mut rng = core_tensor::random::Rng::new(3);
        let out = model.forward(&ids(&[2, 8]), &mut Mode::train(&mut rng)).unwrap();
        let (_, loss) = out.loss(&ids(&[2, 8])).unwrap();
        let foreign = core_tensor::tape::foreign(&loss);
        assert_eq!(!foreign.is_empty(), of_candle, "{router:?}: {foreign:?}");
        core_tensor::gradcheck::backward_both(&loss).unwrap();
    }
}
