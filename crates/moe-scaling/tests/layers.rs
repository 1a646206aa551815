//! Routers, dispatch, the routed layer and the model: what holds for every input, gradients, and what is refused.

#![cfg(feature = "layers")]
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::Init;
use core_tensor::gradcheck::gradcheck;
use core_tensor::ops::{self, ExpertActivation};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use moe_scaling::Mode;
use moe_scaling::dispatch::{Capacity, Dispatch, Priority};
use moe_scaling::layer::{RoutedFeedForward, RoutedFeedForwardConfig};
use moe_scaling::model::{RoutedTransformer, RouterConfig, TrainConfig, TransformerConfig, evaluate, train};
use moe_scaling::router::{
    Base, BaseConfig, Hash, HashConfig, Noise, PolicyGate, Reinforce, ReinforceConfig, Router, SBase, SBaseConfig,
    Sinkhorn, Tokens, TopK, TopKConfig, balance_loss, balanced_assignment, sample_actions, sinkhorn, z_loss,
};
use proptest::prelude::*;

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

fn routers(d_model: usize, experts: usize, k: usize, store: &ParamStore) -> Vec<Box<dyn Router>> {
    let vb = || store.var_builder();
    let mut all: Vec<Box<dyn Router>> = vec![
        Box::new(
            TopK::new(d_model, experts, TopKConfig { k, z_weight: 0.001, ..TopKConfig::default() }, vb()).unwrap(),
        ),
        Box::new(SBase::new(d_model, experts, SBaseConfig { k, ..SBaseConfig::default() }, vb()).unwrap()),
    ];
    if k == 1 {
        all.push(Box::new(Reinforce::new(d_model, experts, ReinforceConfig::default(), vb()).unwrap()));
        all.push(Box::new(Hash::new(experts, &HashConfig::Modulo).unwrap()));
        all.push(Box::new(Base::new(d_model, experts, BaseConfig::default(), vb()).unwrap()));
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
    RoutedFeedForward::new(config, router, store.var_builder()).unwrap()
}

fn ids(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    Tensor::from_vec((0..count as u32).map(|i| i * 7 % 31).collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
}

#[test]
fn a_routed_layer_is_the_sum_of_its_experts() {
    for (k, activation) in [(1, ExpertActivation::Relu), (2, ExpertActivation::Gelu), (3, ExpertActivation::SwiGlu)] {
        let store = store();
        for router in routers(8, 4, k, &store) {
            let name = format!("{router:?}");
            let x = normal(&[5, 3, 8], 1);
            let flat = x.reshape((15, 8)).unwrap();
            let layer = layer(router, &store, |config| config.activation = activation);
            let assignment = {
                let ids: Vec<u32> = ids(&[15]).to_vec1().unwrap();
                let tokens = Tokens { x: &flat, ids: Some(&ids) };
                layer.router().route(&tokens, &mut Mode::evaluate()).unwrap()
            };
            let routed = layer.forward(&x, Some(&ids(&[5, 3])), &mut Mode::evaluate()).unwrap();
            assert_eq!(routed.experts, assignment.experts);
            let gates = assignment.gates.map_or_else(|| vec![1.; 15 * k], |gates| values(&gates));
            let [w1, w2] = ["experts.w1", "experts.w2"]
                .map(|name| store.vars().into_iter().find(|(found, _)| found == name).unwrap().1.as_tensor().clone());
            let mut expected = Vec::new();
            for token in 0..15 {
                let row = flat.narrow(0, token, 1).unwrap();
                let mut sum = Tensor::zeros((1, 8), DType::F64, &Device::Cpu).unwrap();
                for choice in 0..k {
                    let expert = assignment.experts[token * k + choice] as usize;
                    let a = ops::linear(&row, &w1.get(expert).unwrap(), None).unwrap();
                    let a = match activation {
                        ExpertActivation::Relu => a.relu().unwrap(),
                        ExpertActivation::Gelu => a.gelu_erf().unwrap(),
                        _ => {
                            let (gate, up) = (a.narrow(1, 0, 12).unwrap(), a.narrow(1, 12, 12).unwrap());
                            (gate.silu().unwrap() * up).unwrap()
                        }
                    };
                    let y = ops::linear(&a, &w2.get(expert).unwrap(), None).unwrap();
                    sum = (sum + (y * gates[token * k + choice]).unwrap()).unwrap();
                }
                expected.push(sum);
            }
            let expected = Tensor::cat(&expected, 0).unwrap().reshape((5, 3, 8)).unwrap();
            assert!(distance(&routed.y, &expected) < 1e-12, "{name}");
        }
    }
}

#[test]
fn gradients_of_the_whole_layer() {
    for k in [1, 2] {
        let store = store();
        for router in routers(8, 4, k, &store) {
            let name = format!("{router:?}");
            // dropping too: its choice is constant around these numbers
            let layer = layer(router, &store, |config| config.capacity = Capacity::of(1.));
            let x = (normal(&[10, 8], 5) * 3.).unwrap();
            let run = |x: &[Tensor]| {
                let routed =
                    layer.forward(&x[0], Some(&ids(&[10])), &mut Mode::evaluate()).map_err(candle_core::Error::wrap)?;
                Ok(routed.y)
            };
            gradcheck(run, &[x]).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    gradcheck(|x| Ok(z_loss(&x[0]).map_err(candle_core::Error::wrap)?), &[normal(&[5, 3], 1)]).unwrap();
    gradcheck(|x| Ok(balance_loss(&x[0], &[0, 2, 1, 1], 1).map_err(candle_core::Error::wrap)?), &[normal(&[4, 3], 1)])
        .unwrap();
}

#[test]
fn one_expert_is_a_dense_layer_to_the_bit() {
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let router = TopK::new(8, 1, TopKConfig::default(), store.var_builder()).unwrap();
    let layer = layer(Box::new(router), &store, |_| {});
    let x = Rng::new(4).normal(0., 1., (300, 8), DType::F32, &Device::Cpu).unwrap();
    let y = layer.forward(&x, None, &mut Mode::evaluate()).unwrap().y;
    let one = |name: &str| store.vars().into_iter().find(|(found, _)| found == name).unwrap().1.get(0).unwrap();
    // row by row the same products in the same order: compare with a group of all rows
    let groups = ops::RowGroups::new(vec![0, 300], (0..300).collect(), 300).unwrap();
    let dense = ops::grouped_feed_forward(
        &x,
        &one("experts.w1").unsqueeze(0).unwrap(),
        &one("experts.w2").unsqueeze(0).unwrap(),
        &groups,
        ExpertActivation::Gelu,
    );
    assert_eq!(values(&y), values(&dense.unwrap()));
    let plain =
        ops::linear(&ops::gelu(&ops::linear(&x, &one("experts.w1"), None).unwrap()).unwrap(), &one("experts.w2"), None);
    assert!(distance(&y, &plain.unwrap()) < 1e-5);
}

#[test]
fn at_evaluation_a_token_does_not_see_its_batch() {
    let store = store();
    for router in routers(8, 4, 1, &store) {
        let name = format!("{router:?}");
        let layer = layer(router, &store, |_| {});
        let x = normal(&[20, 8], 8);
        let all = layer.forward(&x, Some(&ids(&[20])), &mut Mode::evaluate()).unwrap();
        for token in [0, 7, 19] {
            let alone = x.narrow(0, token, 1).unwrap();
            let id = ids(&[20]).narrow(0, token, 1).unwrap();
            let alone = layer.forward(&alone, Some(&id), &mut Mode::evaluate()).unwrap();
            assert!(distance(&alone.y, &all.y.narrow(0, token, 1).unwrap()) < 1e-12, "{name}");
        }
        assert!(all.auxiliary_loss.is_none() && all.policy.is_none());
    }
}

#[test]
fn the_same_seed_gives_the_same_routing_on_any_number_of_threads() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let store = store();
            let mut found = Vec::new();
            for router in routers(8, 4, 1, &store) {
                let layer = layer(router, &store, |_| {});
                let x = Var::from_tensor(&normal(&[500, 8], 8)).unwrap();
                let out = layer.forward(&x, Some(&ids(&[500])), &mut Mode::train(&mut Rng::new(1))).unwrap();
                let grads = core_tensor::backward(&out.y.sqr().unwrap().sum_all().unwrap()).unwrap();
                found.push((out.experts, values(&out.y), values(grads.get(&x).unwrap())));
            }
            found
        })
    };
    let one = run(1);
    assert!(one == run(2) && one == run(3));
}

#[test]
fn noise_is_for_training_only() {
    for noise in [Noise::Jitter(0.5), Noise::Selection(5.)] {
        let store = store();
        let router = TopK::new(8, 4, TopKConfig { noise, ..TopKConfig::default() }, store.var_builder()).unwrap();
        let x = normal(&[50, 8], 8);
        let route = |mode: &mut Mode<'_>| router.route(&Tokens { x: &x, ids: None }, mode).unwrap().experts;
        assert_eq!(route(&mut Mode::evaluate()), route(&mut Mode::evaluate()));
        assert_eq!(route(&mut Mode::train(&mut Rng::new(1))), route(&mut Mode::train(&mut Rng::new(1))));
        assert_ne!(route(&mut Mode::train(&mut Rng::new(1))), route(&mut Mode::evaluate()));
    }
}

#[test]
fn normalised_gates_add_up_to_one() {
    let store = store();
    let config = TopKConfig { k: 3, normalize_gates: true, ..TopKConfig::default() };
    let router = TopK::new(8, 5, config, store.var_builder()).unwrap();
    let x = normal(&[9, 8], 8);
    let gates = router.route(&Tokens { x: &x, ids: None }, &mut Mode::evaluate()).unwrap().gates.unwrap();
    assert!(values(&gates.sum(1).unwrap()).iter().all(|sum| (sum - 1.).abs() < 1e-12));
}

#[test]
fn priority_by_gate_keeps_the_surest_tokens() {
    let experts = [0, 0, 0, 1];
    let gates = [0.2, 0.9, 0.5, 0.1];
    let in_order = Dispatch::new(&experts, 1, 2, Some(1), None).unwrap();
    assert_eq!(in_order.places.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false, true]);
    let by_gate = Dispatch::new(&experts, 1, 2, Some(1), Some(&gates)).unwrap();
    assert_eq!(by_gate.places.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false, true]);
    assert_eq!((by_gate.dropped, by_gate.counts), (2, vec![1, 1]));

    let store = store();
    let router = TopK::new(8, 2, TopKConfig::default(), store.var_builder()).unwrap();
    let limited = layer(Box::new(router), &store, |config| {
        config.capacity = Capacity { priority: Priority::Gate, ..Capacity::of(0.5) };
    });
    let out = limited.forward(&normal(&[40, 8], 2), None, &mut Mode::evaluate()).unwrap();
    assert!(out.statistics.counts.iter().all(|&count| count <= 10) && out.statistics.dropped >= 20);
    assert!(out.statistics.max_over_mean() <= 2. && out.statistics.dropped_fraction() >= 0.5);
}

#[test]
fn a_policy_learns_which_expert_is_rewarded() {
    // one expert is right for each kind of token; the reward says so, nothing else
    let store = store();
    let config = ReinforceConfig { balance_weight: 0., ..ReinforceConfig::default() };
    let router = Reinforce::new(8, 4, config, store.var_builder()).unwrap();
    let kinds: Vec<u32> = (0..64).map(|i| i % 4).collect();
    let mut rows = vec![0f64; 64 * 8];
    kinds.iter().enumerate().for_each(|(token, &kind)| rows[token * 8 + kind as usize] = 2.);
    let x = Tensor::from_vec(rows, (64, 8), &Device::Cpu).unwrap();
    use core_tensor::optim::{Adam, AdamConfig, Optimizer};
    let mut optimizer =
        Adam::new(store.trainable(), AdamConfig { learning_rate: 0.02, ..AdamConfig::default() }).unwrap();
    let mut rng = Rng::new(0);
    let right = |experts: &[u32]| experts.iter().zip(&kinds).filter(|(a, b)| a == b).count();
    for _ in 0..300 {
        let tokens = Tokens { x: &x, ids: None };
        let assignment = router.route(&tokens, &mut Mode::train(&mut rng)).unwrap();
        let rewards: Vec<f64> =
            assignment.experts.iter().zip(&kinds).map(|(a, b)| f64::from(u8::from(a == b))).collect();
        let rewards = Tensor::from_vec(rewards, 64, &Device::Cpu).unwrap();
        let mut loss = assignment.policy.unwrap().loss(&rewards).unwrap();
        if let Some(auxiliary) = assignment.auxiliary_loss {
            loss = (loss + auxiliary).unwrap();
        }
        optimizer.backward_step(&loss).unwrap();
    }
    let found = router.route(&Tokens { x: &x, ids: None }, &mut Mode::evaluate()).unwrap();
    assert_eq!(right(&found.experts), 64);
}

#[test]
fn a_cold_sinkhorn_balances_the_choice_itself() {
    let logits: Vec<f64> =
        values(&normal(&[512, 8], 3)).iter().enumerate().map(|(i, v)| 0.1 * v + 0.2 * (i % 8) as f64).collect();
    let max_load = |temperature: f64| {
        let config = Sinkhorn { temperature, max_iterations: 2000, ..Sinkhorn::default() };
        let plan = sinkhorn(&logits, 8, config).unwrap();
        let mut counts = [0usize; 8];
        for row in logits.chunks_exact(8) {
            let score = |e: usize| row[e] + plan.experts[e];
            counts[(0..8).max_by(|&p, &q| score(p).total_cmp(&score(q))).unwrap()] += 1;
        }
        *counts.iter().max().unwrap()
    };
    assert!(max_load(0.01) <= 80 && max_load(0.01) <= max_load(1.), "{} and {}", max_load(0.01), max_load(1.));
}

/// The best balanced assignment by trying all.
fn brute_force(scores: &[f64], experts: usize) -> f64 {
    let tokens = scores.len() / experts;
    let limit = tokens.div_ceil(experts);
    let mut best = f64::NEG_INFINITY;
    for code in 0..experts.pow(tokens as u32) {
        let (mut rest, mut loads, mut sum) = (code, vec![0; experts], 0.);
        for token in 0..tokens {
            let expert = rest % experts;
            rest /= experts;
            loads[expert] += 1;
            sum += scores[token * experts + expert];
        }
        if loads.iter().all(|&load| load <= limit) {
            best = best.max(sum);
        }
    }
    best
}

proptest! {
    #[test]
    fn balanced_assignments_are_the_best(experts in 1usize..4, rows in prop::collection::vec(prop::collection::vec(-3.0..3f64, 3), 0..7)) {
        let scores: Vec<f64> = rows.iter().flat_map(|row| row[..experts].to_vec()).collect();
        let found = balanced_assignment(&scores, experts).unwrap();
        let mut loads = vec![0; experts];
        found.iter().for_each(|&expert| loads[expert as usize] += 1);
        prop_assert!(loads.iter().all(|&load| load <= rows.len().div_ceil(experts)));
        let sum: f64 = found.iter().enumerate().map(|(token, &expert)| scores[token * experts + expert as usize]).sum();
        prop_assert!((sum - brute_force(&scores, experts)).abs() < 1e-9);
    }

    #[test]
    fn dispatch_keeps_every_choice_or_counts_it(choices in prop::collection::vec(0u32..5, 0..60), k in 1usize..4, places in prop::option::of(0usize..12)) {
        let choices = &choices[..choices.len() / k * k];
        let dispatch = Dispatch::new(choices, k, 5, places, None).unwrap();
        let kept = dispatch.places.iter().flatten().count();
        prop_assert_eq!(kept + dispatch.dropped, choices.len());
        prop_assert_eq!(kept, dispatch.groups.num_places());
        prop_assert_eq!(dispatch.counts.iter().sum::<usize>(), kept);
        for (at, place) in dispatch.places.iter().enumerate() {
            let Some(place) = *place else { continue };
            prop_assert_eq!(dispatch.groups.rows()[place as usize] as usize, at / k);
            let slot = dispatch.slot(at, choices[at]).unwrap() as usize;
            prop_assert!(slot < dispatch.counts[choices[at] as usize]);
        }
    }

    #[test]
    fn plans_are_balanced(rows in 1usize..20, experts in 1usize..6, scale in 0.01..50f64, seed in 0u64..1000) {
        let logits: Vec<f64> = values(&normal(&[rows, experts], seed)).iter().map(|v| v * scale).collect();
        let plan = sinkhorn(&logits, experts, Sinkhorn { max_iterations: 500, ..Sinkhorn::default() }).unwrap();
        for expert in 0..experts {
            let mass: f64 = (0..rows).map(|t| (logits[t * experts + expert] + plan.experts[expert] + plan.tokens[t]).exp()).sum();
            prop_assert!((mass * experts as f64 - 1.).abs() < 1e-9);
        }
    }
}

#[test]
fn hash_tables_spread_tokens() {
    let frequencies = vec![100, 1, 1, 1, 50, 50, 0, 0];
    let balanced = Hash::new(2, &HashConfig::Balanced { frequencies: frequencies.clone() }).unwrap();
    let mut loads = [0; 2];
    frequencies.iter().zip(0..).for_each(|(&count, id)| loads[balanced.expert(id).unwrap() as usize] += count);
    assert!(loads[0].abs_diff(loads[1]) <= 1, "{loads:?}");
    assert!(balanced.expert(8).is_err());
    let random = Hash::new(4, &HashConfig::Random { vocabulary: 100, seed: 1 }).unwrap();
    let again = Hash::new(4, &HashConfig::Random { vocabulary: 100, seed: 1 }).unwrap();
    assert!((0..100).all(|id| random.expert(id).unwrap() == again.expert(id).unwrap()));
    assert_eq!(Hash::new(4, &HashConfig::Modulo).unwrap().expert(7).unwrap(), 3);
}

#[test]
fn wrong_input_is_an_error() {
    let store = store();
    let vb = || store.var_builder();
    for k in [0, 5] {
        assert!(TopK::new(8, 4, TopKConfig { k, ..TopKConfig::default() }, vb()).is_err());
        assert!(SBase::new(8, 4, SBaseConfig { k, ..SBaseConfig::default() }, vb()).is_err());
    }
    assert!(Reinforce::new(4, 4, ReinforceConfig::default(), vb().pp("narrow")).is_err());
    assert!(Hash::new(0, &HashConfig::Modulo).is_err());
    assert!(Base::new(8, 0, BaseConfig::default(), vb()).is_err());

    let x = normal(&[6, 8], 1);
    for router in routers(8, 4, 1, &store) {
        let layer = layer(router, &store, |_| {});
        let run = |x: &Tensor, ids: Option<&Tensor>| layer.forward(x, ids, &mut Mode::evaluate()).is_err();
        assert!(run(&x.narrow(1, 0, 7).unwrap(), Some(&ids(&[6]))));
        assert!(run(&x, Some(&ids(&[5]))));
        assert!(run(&x, None) == format!("{:?}", layer.router()).starts_with("Hash"));
        // no tokens, no trouble
        let empty = Tensor::zeros((0, 8), DType::F64, &Device::Cpu).unwrap();
        for mode in [&mut Mode::evaluate(), &mut Mode::train(&mut Rng::new(0))] {
            let out = layer.forward(&empty, Some(&ids(&[0])), mode).unwrap();
            assert_eq!((out.y.dims(), out.statistics.choices), (&[0, 8][..], 0));
        }
        if !format!("{:?}", layer.router()).starts_with("Hash") {
            let poisoned = (&x * f64::NAN).unwrap();
            for mode in [&mut Mode::evaluate(), &mut Mode::train(&mut Rng::new(0))] {
                let error = layer.forward(&poisoned, None, mode).unwrap_err().to_string();
                assert!(error.contains("token 0"), "{error}");
            }
        }
    }
    for factor in [0., -1., f64::NAN, f64::INFINITY] {
        let router = Hash::new(4, &HashConfig::Modulo).unwrap();
        let layer = layer(Box::new(router), &store, |config| config.capacity = Capacity::of(factor));
        assert!(layer.forward(&x, Some(&ids(&[6])), &mut Mode::evaluate()).is_err());
    }
    assert!(Dispatch::new(&[0, 4], 1, 4, None, None).is_err());
    assert!(Dispatch::new(&[0, 1, 2], 2, 4, None, None).is_err());
    assert!(Dispatch::new(&[0], 0, 4, None, None).is_err());
    assert!(Dispatch::new(&[0, 1], 1, 4, None, Some(&[0.1])).is_err());
    assert!(balance_loss(&x, &[9; 6], 1).is_err() && balance_loss(&x, &[0; 5], 1).is_err());
    assert!(sample_actions(&[0.5, 0.5], 2, &[0.1, 0.2]).is_err() && sample_actions(&[], 0, &[]).is_err());
    // sums that rounding keeps below the uniform number end at the last expert
    assert_eq!(sample_actions(&[0.3, 0.3, 0.3], 3, &[0.95]).unwrap(), [2]);
    assert!(sinkhorn(&[1., 2., 3.], 2, Sinkhorn::default()).is_err());
    assert!(sinkhorn(&[1., f64::INFINITY], 2, Sinkhorn::default()).is_err());
    assert!(sinkhorn(&[1., 2.], 2, Sinkhorn { temperature: 0., ..Sinkhorn::default() }).is_err());
    assert!(sinkhorn(&[1., 2.], 2, Sinkhorn { max_iterations: 0, ..Sinkhorn::default() }).is_err());
    assert!(balanced_assignment(&[1., f64::NAN], 2).is_err() && balanced_assignment(&[1.], 0).is_err());
    assert!(sinkhorn(&[], 3, Sinkhorn::default()).unwrap().errors.is_empty());

    let good = TransformerConfig::bytes(16, 2, 2, 4, 2, RouterConfig::TopK(TopKConfig::default()));
    let build = |change: &dyn Fn(&mut TransformerConfig)| {
        let mut config = good.clone();
        change(&mut config);
        let store = self::store();
        RoutedTransformer::new(config, store.var_builder())
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
fn parameters_are_those_of_the_bookkeeping() {
    for (router, experts) in [
        (RouterConfig::SBase(SBaseConfig::default()), 4),
        (RouterConfig::RlR(ReinforceConfig { gate: PolicyGate::Probability, ..ReinforceConfig::default() }), 4),
        (RouterConfig::Hash(HashConfig::Modulo), 4),
        (RouterConfig::SBase(SBaseConfig::default()), 1),
    ] {
        let config = TransformerConfig::bytes(32, 4, 2, 8, experts, router);
        let store = store();
        RoutedTransformer::new(config.clone(), store.var_builder()).unwrap();
        let outside = 256 * 32 + 2 * 32;
        let kind = if experts > 1 { config.router.kind() } else { moe_scaling::architecture::RouterKind::Free };
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
    (RoutedTransformer::new(config, store.var_builder()).unwrap(), store)
}

fn short(steps: u64) -> TrainConfig {
    TrainConfig { batch: 4, length: 24, evaluate_every: 10, evaluation_batches: 2, ..TrainConfig::new(16, steps) }
}

#[test]
fn every_router_trains_a_model() {
    for router in [
        RouterConfig::SBase(SBaseConfig::default()),
        RouterConfig::RlR(ReinforceConfig::default()),
        RouterConfig::Hash(HashConfig::Modulo),
        RouterConfig::TopK(TopKConfig { z_weight: 0.001, ..TopKConfig::default() }),
        RouterConfig::Base(BaseConfig::default()),
    ] {
        let (model, store) = small(0, router.clone());
        let before = evaluate(&model, &Device::Cpu, &text(2000), &short(40)).unwrap();
        let mut steps = 0;
        let report = train(&model, &store, &text(4000), &text(2000), &short(40), |_, _| {
            steps += 1;
            Ok(())
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
    let router = || RouterConfig::RlR(ReinforceConfig::default());
    let (model, store) = small(0, router());
    let whole = train(&model, &store, &text(4000), &text(2000), &short(30), |_, _| Ok(())).unwrap();
    let (broken, broken_store) = small(0, router());
    let stop = |step: u64, _| {
        if step == 17 { Err(moe_scaling::Error::from(candle_core::Error::msg("stop"))) } else { Ok(()) }
    };
    assert!(train(&broken, &broken_store, &text(4000), &text(2000), &config, stop).is_err());
    let (resumed, resumed_store) = small(9, router());
    let mut first = 0;
    let report = train(&resumed, &resumed_store, &text(4000), &text(2000), &config, |step, _| {
        first = if first == 0 { step } else { first };
        Ok(())
    });
    assert_eq!((report.unwrap(), first), (whole, 11));
    for ((name, one), (_, other)) in store.vars().iter().zip(resumed_store.vars()) {
        assert_eq!(values(one), values(&other), "{name}");
    }
}

#[test]
fn training_refuses_what_cannot_work() {
    let (model, store) = small(0, RouterConfig::Hash(HashConfig::Modulo));
    let run = |text: &[u8], config: &TrainConfig| train(&model, &store, text, text, config, |_, _| Ok(())).is_err();
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
