//! The routed layer with every router.

use crate::{all_routers, distance, ids, layer, normal, store, values};
use candle_core::{DType, Device, Tensor, Var};
use core_tensor::gradcheck::gradcheck;
use core_tensor::ops;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use moe_scaling::Mode;
use moe_scaling::dispatch::Capacity;
use moe_scaling::layer::ExpertActivation;
use moe_scaling::router::{HashConfig, Tokens, TopKConfig, balance_loss, hash, top_k, z_loss};

#[test]
fn a_routed_layer_is_the_sum_of_its_experts() {
    for (k, activation) in [(1, ExpertActivation::Relu), (2, ExpertActivation::Gelu), (3, ExpertActivation::SwiGlu)] {
        let store = store();
        for router in all_routers(8, 4, k, &store) {
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
        for router in all_routers(8, 4, k, &store) {
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
    let router = top_k(8, 1, TopKConfig::default(), store.var_builder()).unwrap();
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
    for router in all_routers(8, 4, 1, &store) {
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
            for router in all_routers(8, 4, 1, &store) {
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
fn wrong_input_of_a_layer_is_an_error() {
    let store = store();
    let x = normal(&[6, 8], 1);
    for router in all_routers(8, 4, 1, &store) {
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
        let router = hash(4, &HashConfig::Modulo).unwrap();
        let layer = layer(Box::new(router), &store, |config| config.capacity = Capacity::of(factor));
        assert!(layer.forward(&x, Some(&ids(&[6])), &mut Mode::evaluate()).is_err());
    }
}
