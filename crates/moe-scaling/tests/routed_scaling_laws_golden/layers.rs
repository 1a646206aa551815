//! `router_layer_*.safetensors`: one routed layer with every router.

use crate::files;
use crate::tensors::{Tensors, distance};
use approx::assert_relative_eq;
use candle_core::{DType, Device, Tensor, Var};
use core_tensor::ops;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use moe_scaling::Mode;
use moe_scaling::dispatch::{Capacity, Dispatch};
use moe_scaling::layer::{Routed, RoutedFeedForward, RoutedFeedForwardConfig, routed_feed_forward};
use moe_scaling::router::{
    HashConfig, ReinforceConfig, Router, SBaseConfig, SinkhornConfig, Tokens, balance_loss, hash, reinforce, s_base,
    sample_actions, sinkhorn,
};

/// Sums of a few hundred products in f64, in another order.
const TOLERANCE: f64 = 1e-10;

fn each_file(test: impl Fn(&str, &Tensors)) {
    let names = files::names("router_layer_", ".safetensors");
    if names.is_empty() {
        println!("skipped: no router_layer_*.safetensors");
    }
    for name in names {
        if let Some(golden) = Tensors::read(&name) {
            test(&name, &golden);
        }
    }
}

/// Experts and width of the file.
fn sizes(golden: &Tensors) -> (usize, usize, usize) {
    let dims = golden.get("w1").dims().to_vec();
    (dims[0], dims[1], dims[2])
}

fn store(golden: &Tensors, names: &[(&str, &str)]) -> ParamStore {
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    for (ours, theirs) in names {
        let values = golden.get(theirs);
        store.get_with(ours, values.shape(), candle_nn::Init::Const(0.)).unwrap();
        store.set(ours, values).unwrap();
    }
    store
}

fn s_base_layer(golden: &Tensors, capacity: Option<f64>) -> (RoutedFeedForward, ParamStore) {
    let (experts, hidden, width) = sizes(golden);
    let store = store(golden, &[("router", "router_weight"), ("experts.w1", "w1"), ("experts.w2", "w2")]);
    let k = golden.get("sbase.selected").dims()[1];
    let router = s_base(width, experts, SBaseConfig { k, ..SBaseConfig::default() }, store.var_builder()).unwrap();
    let mut config = RoutedFeedForwardConfig::new(width, hidden);
    config.capacity = Capacity { factor: capacity, ..Capacity::default() };
    (routed_feed_forward(config, Box::new(router), store.var_builder()).unwrap(), store)
}

fn run(layer: &RoutedFeedForward, x: &Tensor, mode: &mut Mode<'_>) -> Routed {
    layer.forward(x, None, mode).unwrap()
}

/// The capacity factor that gives the limit in the file.
fn factor(golden: &Tensors) -> f64 {
    let (limit, tokens) = (golden.scalar("sbase.capacity"), golden.get("x").dims()[0]);
    let k = golden.get("sbase.selected").dims()[1];
    limit * sizes(golden).0 as f64 / (tokens * k) as f64
}

#[test]
fn sinkhorn_stops_where_the_reference_does() {
    each_file(|_, golden| {
        let (logits, experts) = (golden.numbers("logits"), sizes(golden).0);
        let plan = sinkhorn(&logits, experts, SinkhornConfig::default()).unwrap();
        assert_eq!(plan.errors.len() as f64, golden.scalar("sinkhorn.iterations"));
        let pairs = [
            (&plan.errors, "sinkhorn.marginal_error"),
            (&plan.experts, "sinkhorn.potential_f"),
            (&plan.tokens, "sinkhorn.potential_g"),
        ];
        for (ours, name) in pairs {
            let theirs = golden.numbers(name);
            assert_eq!(ours.len(), theirs.len());
            for (a, b) in ours.iter().zip(theirs) {
                assert_relative_eq!(*a, b, epsilon = TOLERANCE);
            }
        }
        let check = |plan: &moe_scaling::router::SinkhornPlan, name: &str| {
            for (at, theirs) in golden.numbers(name).iter().enumerate() {
                let (token, expert) = (at / experts, at % experts);
                let ours = (logits[at] + plan.experts[expert] + plan.tokens[token]).exp();
                assert_relative_eq!(ours, *theirs, epsilon = TOLERANCE);
            }
        };
        check(&plan, "sinkhorn.plan");
        let converged =
            sinkhorn(&logits, experts, SinkhornConfig { tolerance: 1e-12, max_iterations: 100_000, temperature: 1. })
                .unwrap();
        check(&converged, "sinkhorn.converged_plan");
        let mean = converged.experts.iter().sum::<f64>() / experts as f64;
        for (ours, theirs) in converged.experts.iter().zip(golden.numbers("sinkhorn.converged_f_centred")) {
            assert_relative_eq!(ours - mean, theirs, epsilon = TOLERANCE);
        }
    });
}

#[test]
fn s_base_outputs_and_gradients() {
    each_file(|name, golden| {
        let x = Var::from_tensor(golden.get("x")).unwrap();
        let (dropless, _) = s_base_layer(golden, None);
        let out = run(&dropless, &x, &mut Mode::train(&mut Rng::new(0)));
        assert_eq!(out.experts, golden.u32s("sbase.selected"), "{name}");
        assert!(distance(&out.y, golden.get("sbase.output_no_drop")) < TOLERANCE);
        assert_eq!(out.statistics.dropped, 0);

        let (layer, store) = s_base_layer(golden, Some(factor(golden)));
        let out = run(&layer, &x, &mut Mode::train(&mut Rng::new(0)));
        assert!(distance(&out.y, golden.get("sbase.output")) < TOLERANCE);
        let keep = golden.integers("sbase.keep");
        assert_eq!(out.statistics.dropped, keep.iter().filter(|&&keep| keep == 0).count());
        let loss = (&out.y * golden.get("cotangent")).unwrap().sum_all().unwrap();
        for grads in [core_tensor::gradcheck::backward_both(&loss).unwrap(), core_tensor::backward(&loss).unwrap()] {
            assert!(distance(grads.get(&x).unwrap(), golden.get("sbase.grad_x")) < TOLERANCE);
            for (ours, theirs) in
                [("router", "sbase.grad_router"), ("experts.w1", "sbase.grad_w1"), ("experts.w2", "sbase.grad_w2")]
            {
                let (_, var) = store.vars().into_iter().find(|(name, _)| name == ours).unwrap();
                assert!(distance(grads.get(&var).unwrap(), golden.get(theirs)) < TOLERANCE, "{name} {theirs}");
            }
        }
    });
}

#[test]
fn places_are_given_in_order() {
    each_file(|_, golden| {
        let experts = golden.u32s("sbase.selected");
        let k = golden.get("sbase.selected").dims()[1];
        let limit = golden.scalar("sbase.capacity") as usize;
        let config = Capacity::of(factor(golden));
        assert_eq!(config.tokens_per_expert(experts.len() / k, k, sizes(golden).0, true).unwrap(), Some(limit));
        let dispatch = Dispatch::new(&experts, k, sizes(golden).0, Some(limit), None).unwrap();
        let slots = golden.integers("sbase.slot");
        for (at, &expert) in experts.iter().enumerate() {
            let first = dispatch.groups.offsets()[expert as usize];
            assert_eq!(dispatch.places[at].map_or(-1, |place| i64::from(place - first)), slots[at]);
        }
        let keep = golden.integers("greedy.keep");
        let dispatch = Dispatch::new(&golden.u32s("greedy.selected"), k, sizes(golden).0, Some(limit), None).unwrap();
        for (place, keep) in dispatch.places.iter().zip(keep) {
            assert_eq!(place.is_some(), keep == 1);
        }
    });
}

#[test]
fn greedy_choice_and_balance_loss() {
    each_file(|_, golden| {
        let (layer, store) = s_base_layer(golden, None);
        let out = run(&layer, golden.get("x"), &mut Mode::evaluate());
        assert_eq!(out.experts, golden.u32s("greedy.selected"));
        assert!(distance(&out.y, golden.get("greedy.output_no_drop")) < TOLERANCE);

        let (_, router) = store.vars().into_iter().find(|(name, _)| name == "router").unwrap();
        let logits = ops::linear(golden.get("x"), &router, None).unwrap();
        let k = golden.get("greedy.selected").dims()[1];
        // the reference counts the greedy first choices
        let loss = balance_loss(&ops::softmax(&logits).unwrap(), &out.experts, k).unwrap();
        assert_relative_eq!(loss.to_scalar::<f64>().unwrap(), golden.scalar("balance_loss"), epsilon = TOLERANCE);
        let grads = core_tensor::gradcheck::backward_both(&loss).unwrap();
        assert!(distance(grads.get(&router).unwrap(), golden.get("balance_loss_grad_router")) < TOLERANCE);
    });
}

#[test]
fn hash_routing() {
    each_file(|_, golden| {
        let (experts, hidden, width) = sizes(golden);
        let store = store(golden, &[("experts.w1", "w1"), ("experts.w2", "w2")]);
        let router = hash(experts, &HashConfig::Modulo).unwrap();
        let config = RoutedFeedForwardConfig::new(width, hidden);
        let layer = routed_feed_forward(config, Box::new(router), store.var_builder()).unwrap();
        let ids = golden.get("hash.token_ids").to_dtype(DType::U32).unwrap();
        let out = layer.forward(golden.get("x"), Some(&ids), &mut Mode::evaluate()).unwrap();
        assert_eq!(out.experts, golden.u32s("hash.selected"));
        assert!(distance(&out.y, golden.get("hash.output")) < TOLERANCE);
    });
}

#[test]
fn reinforce_losses_and_gradients() {
    each_file(|_, golden| {
        let logits = Var::from_tensor(golden.get("rl.logits")).unwrap();
        let (tokens, experts) = logits.dims2().unwrap();
        // The router's matrix is the identity, so that its input stands for the logits.
        let config = ReinforceConfig { detach_input: false, ..ReinforceConfig::default() };
        let names = ParamStore::new(0, DType::F64, &Device::Cpu);
        let identity = Tensor::eye(experts, DType::F64, &Device::Cpu).unwrap();
        let wide = experts.max(8);
        let padded = identity.pad_with_zeros(1, 0, wide - experts).unwrap();
        names.get_with("router", (experts, wide), candle_nn::Init::Const(0.)).unwrap();
        names.set("router", &padded).unwrap();
        let router = reinforce(wide, experts, config, names.var_builder()).unwrap();
        let x = logits.pad_with_zeros(1, 0, wide - experts).unwrap();
        let tokens_in = Tokens { x: &x, ids: None };
        let assignment = router.route_with(&tokens_in, &golden.numbers("rl.uniform")).unwrap();
        assert_eq!(assignment.experts, golden.u32s("rl.actions"));
        let value = Var::from_tensor(golden.get("rl.value")).unwrap();
        let policy = moe_scaling::router::Policy { value: value.as_tensor().clone(), ..assignment.policy.unwrap() };
        let reward = golden.get("rl.reward");
        let only = |policy_weight: f64, value_weight: f64| {
            let policy = moe_scaling::router::Policy { policy_weight, value_weight, ..policy.clone() };
            policy.loss(reward).unwrap().to_scalar::<f64>().unwrap()
        };
        assert_relative_eq!(only(1., 0.), golden.scalar("rl.policy_loss"), epsilon = TOLERANCE);
        assert_relative_eq!(only(0., 1.), golden.scalar("rl.value_loss_huber"), epsilon = TOLERANCE);
        let probabilities = ops::softmax(&logits).unwrap();
        let favourites = probabilities.argmax(1).unwrap().to_vec1::<u32>().unwrap();
        let balance = balance_loss(&probabilities, &favourites, 1).unwrap().to_scalar::<f64>().unwrap();
        assert_relative_eq!(balance, golden.scalar("rl.balance_loss"), epsilon = TOLERANCE);
        let total = (policy.loss(reward).unwrap() + assignment.auxiliary_loss.unwrap()).unwrap();
        assert_relative_eq!(total.to_scalar::<f64>().unwrap(), golden.scalar("rl.total"), epsilon = TOLERANCE);
        let grads = core_tensor::gradcheck::backward_both(&total).unwrap();
        assert!(distance(grads.get(&logits).unwrap(), golden.get("rl.grad_logits")) < TOLERANCE);
        assert!(distance(grads.get(&value).unwrap(), golden.get("rl.grad_value")) < TOLERANCE);
        assert_eq!(tokens, assignment.experts.len());
        let sampled = sample_actions(
            &probabilities.flatten_all().unwrap().to_vec1::<f64>().unwrap(),
            experts,
            &golden.numbers("rl.uniform"),
        );
        assert_eq!(sampled.unwrap(), golden.u32s("rl.actions"));
        assert_eq!(router.num_experts(), experts);

        let (hidden, width) = golden.get("value_net.w1").dims2().unwrap();
        assert_eq!(hidden, width / 8);
        let names = [("value.w1", "value_net.w1"), ("value.w2", "value_net.w2")];
        let values = store(golden, &names);
        let router = reinforce(width, 2, ReinforceConfig::default(), values.var_builder()).unwrap();
        let out = router.value(golden.get("value_net.x")).unwrap();
        assert!(distance(&out, golden.get("value_net.out")) < TOLERANCE);
    });
}
