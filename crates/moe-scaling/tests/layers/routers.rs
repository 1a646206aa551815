//! What single routers do.

use crate::{normal, store, values};
use candle_core::{DType, Device, Tensor, Var};
use core_tensor::random::Rng;
use moe_scaling::Mode;
use moe_scaling::router::{
    HashConfig, Noise, PolicyGate, ReinforceConfig, Router, SBaseConfig, Tokens, TopKConfig, balance_loss, base, hash,
    reinforce, s_base, sample_actions, top_k, z_loss,
};

#[test]
fn noise_is_for_training_only() {
    for noise in [Noise::Jitter(0.5), Noise::Normal(5.)] {
        let store = store();
        let router = top_k(8, 4, TopKConfig { noise, ..TopKConfig::default() }, store.var_builder()).unwrap();
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
    let router = top_k(8, 5, config, store.var_builder()).unwrap();
    let x = normal(&[9, 8], 8);
    let gates = router.route(&Tokens { x: &x, ids: None }, &mut Mode::evaluate()).unwrap().gates.unwrap();
    assert!(values(&gates.sum(1).unwrap()).iter().all(|sum| (sum - 1.).abs() < 1e-12));
}

#[test]
fn a_policy_learns_which_expert_is_rewarded() {
    // one expert is right for each kind of token; the reward says so, nothing else
    let store = store();
    let config = ReinforceConfig { balance_weight: 0., ..ReinforceConfig::default() };
    let router = reinforce(8, 4, config, store.var_builder()).unwrap();
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
fn hash_tables_spread_tokens() {
    let frequencies = vec![100, 1, 1, 1, 50, 50, 0, 0];
    let balanced = hash(2, &HashConfig::Balanced { frequencies: frequencies.clone() }).unwrap();
    let mut loads = [0; 2];
    frequencies.iter().zip(0..).for_each(|(&count, id)| loads[balanced.expert(id).unwrap() as usize] += count);
    assert!(loads[0].abs_diff(loads[1]) <= 1, "{loads:?}");
    assert!(balanced.expert(8).is_err());
    let random = hash(4, &HashConfig::Random { vocabulary: 100, seed: 1 }).unwrap();
    let again = hash(4, &HashConfig::Random { vocabulary: 100, seed: 1 }).unwrap();
    assert!((0..100).all(|id| random.expert(id).unwrap() == again.expert(id).unwrap()));
    assert_eq!(hash(4, &HashConfig::Modulo).unwrap().expert(7).unwrap(), 3);
}

#[test]
fn wrong_settings_of_a_router_are_errors() {
    let store = store();
    let vb = || store.var_builder();
    for k in [0, 5] {
        assert!(top_k(8, 4, TopKConfig { k, ..TopKConfig::default() }, vb()).is_err());
        assert!(s_base(8, 4, SBaseConfig { k, ..SBaseConfig::default() }, vb()).is_err());
    }
    assert!(reinforce(4, 4, ReinforceConfig::default(), vb().pp("narrow")).is_err());
    assert!(hash(0, &HashConfig::Modulo).is_err());
    assert!(hash(4, &HashConfig::Random { vocabulary: usize::MAX, seed: 0 }).is_err());
    assert!(base(8, 0, vb()).is_err());
}

#[test]
fn wrong_choices_are_errors() {
    let x = normal(&[6, 8], 1);
    assert!(balance_loss(&x, &[9; 6], 1).is_err() && balance_loss(&x, &[0; 5], 1).is_err());
    assert!(sample_actions(&[0.5, 0.5], 2, &[0.1, 0.2]).is_err() && sample_actions(&[], 0, &[]).is_err());
    // sums that rounding keeps below the uniform number end at the last expert
    assert_eq!(sample_actions(&[0.3, 0.3, 0.3], 3, &[0.95]).unwrap(), [2]);
    // but never at one of probability zero
    assert_eq!(sample_actions(&[0.5, 0.4999999, 0.], 3, &[0.99999995]).unwrap(), [1]);
    assert_eq!(sample_actions(&[0., 1.], 2, &[0.]).unwrap(), [1]);
    assert_eq!(sample_actions(&[0., 0., 1., 0.], 4, &[1.]).unwrap(), [2]);
    assert_eq!(sample_actions(&[0.5, 0., 0.5], 3, &[0.5]).unwrap(), [0]);
    for (probabilities, uniform) in
        [([0., 0.], 0.5), ([f64::NAN, 1.], 0.5), ([-1., 2.], 0.5), ([0.5, 0.5], f64::NAN), ([0.5, 0.5], 1.5)]
    {
        assert!(sample_actions(&probabilities, 2, &[uniform]).is_err(), "{probabilities:?}");
    }
}

#[test]
fn masked_experts_make_no_nan() {
    let masked = Tensor::new(&[[f64::NEG_INFINITY, 0., 1.]], &Device::Cpu).unwrap();
    let loss = |logits: &Tensor| z_loss(logits).unwrap().to_scalar::<f64>().unwrap();
    // logsumexp(0, 1)² = 1.3132616875²
    assert!((loss(&masked) - 1.724656260).abs() < 1e-8, "{}", loss(&masked));
    let single = masked.to_dtype(DType::F32).unwrap();
    assert!((z_loss(&single).unwrap().to_scalar::<f32>().unwrap() - 1.7246563).abs() < 1e-6);
    for row in [[1., f64::NEG_INFINITY, 0.], [0., 1., f64::NEG_INFINITY]] {
        assert!((loss(&Tensor::new(&[row], &Device::Cpu).unwrap()) - loss(&masked)).abs() < 1e-12);
    }
    // two rows: the mean
    let rows = Tensor::cat(&[&masked, &masked.zeros_like().unwrap()], 0).unwrap();
    assert!((loss(&rows) - (1.724656260 + 3f64.ln().powi(2)) / 2.).abs() < 1e-8);
    let variable = Var::from_tensor(&masked).unwrap();
    let gradients = z_loss(variable.as_tensor()).unwrap().backward().unwrap();
    let gradient = values(gradients.get(&variable).unwrap());
    // 2 logsumexp · softmax
    let expected = [0., 2. * 1.3132616875 * 0.2689414214, 2. * 1.3132616875 * 0.7310585786];
    assert!(gradient.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-8), "{gradient:?}");

    // RL-R with an expert whose logit is −∞: 1e200 · −1e200 overflows
    let store = store();
    let config = ReinforceConfig { gate: PolicyGate::Probability, ..ReinforceConfig::default() };
    let router = reinforce(8, 3, config, store.var_builder()).unwrap();
    let weight = store.vars().into_iter().find(|(name, _)| name == "router").unwrap().1;
    let mut numbers = vec![0.; 24];
    numbers[0] = -1e200;
    numbers[8] = 1e-200;
    weight.set(&Tensor::from_vec(numbers, (3, 8), &Device::Cpu).unwrap()).unwrap();
    let x = Tensor::from_vec(vec![1e200; 32], (4, 8), &Device::Cpu).unwrap();
    let found = router.route(&Tokens { x: &x, ids: None }, &mut Mode::train(&mut Rng::new(1))).unwrap();
    assert!(found.experts.iter().all(|&expert| expert != 0));
    let auxiliary = values(&found.auxiliary_loss.unwrap().flatten_all().unwrap());
    assert!(auxiliary[0].is_finite(), "{auxiliary:?}");
}

#[test]
fn settings_that_are_no_numbers_are_errors() {
    let store = store();
    for config in [
        TopKConfig { noise: Noise::Jitter(f64::NAN), ..TopKConfig::default() },
        TopKConfig { noise: Noise::Normal(-1.), ..TopKConfig::default() },
        TopKConfig { noise: Noise::Normal(f64::INFINITY), ..TopKConfig::default() },
        TopKConfig { z_weight: f64::NAN, ..TopKConfig::default() },
        TopKConfig { balance_weight: f64::INFINITY, ..TopKConfig::default() },
    ] {
        assert!(top_k(8, 4, config, store.var_builder()).is_err(), "{config:?}");
    }
}
