//! Sorting by expert, capacity and dropping.

use crate::{layer, normal, store};
use moe_scaling::Mode;
use moe_scaling::dispatch::{Capacity, Dispatch, Priority};
use moe_scaling::router::{TopKConfig, top_k};
use proptest::prelude::*;

#[test]
fn priority_by_gate_keeps_the_largest_gates() {
    let experts = [0, 0, 0, 1];
    let gates = [0.2, 0.9, 0.5, 0.1];
    let in_order = Dispatch::new(&experts, 1, 2, Some(1), None).unwrap();
    assert_eq!(in_order.places.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false, true]);
    let by_gate = Dispatch::new(&experts, 1, 2, Some(1), Some(&gates)).unwrap();
    assert_eq!(by_gate.places.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false, true]);
    assert_eq!((by_gate.dropped, by_gate.counts), (2, vec![1, 1]));

    let store = store();
    let router = top_k(8, 2, TopKConfig::default(), store.var_builder()).unwrap();
    let limited = layer(Box::new(router), &store, |config| {
        config.capacity = Capacity { priority: Priority::Gate, ..Capacity::of(0.5) };
    });
    let out = limited.forward(&normal(&[40, 8], 2), None, &mut Mode::evaluate()).unwrap();
    assert!(out.statistics.counts.iter().all(|&count| count <= 10) && out.statistics.dropped >= 20);
    assert!(out.statistics.max_over_mean() <= 2. && out.statistics.dropped_fraction() >= 0.5);
}

proptest! {
    #[test]
    fn dispatch_keeps_every_choice_or_counts_it(choices in prop::collection::vec(0u32..5, 0..60), k in 1usize..4, limit in prop::option::of(0usize..12)) {
        let choices = &choices[..choices.len() / k * k];
        let dispatch = Dispatch::new(choices, k, 5, limit, None).unwrap();
        let kept = dispatch.places.iter().flatten().count();
        prop_assert_eq!(kept + dispatch.dropped, choices.len());
        prop_assert_eq!(kept, dispatch.groups.num_places());
        prop_assert_eq!(dispatch.counts.iter().sum::<usize>(), kept);
        for (at, place) in dispatch.places.iter().enumerate() {
            let Some(place) = *place else { continue };
            prop_assert_eq!(dispatch.groups.rows()[place as usize] as usize, at / k);
            let expert = choices[at] as usize;
            let slot = place.checked_sub(dispatch.groups.offsets()[expert]).unwrap() as usize;
            prop_assert!(slot < dispatch.counts[expert]);
        }
    }
}

#[test]
fn wrong_choices_are_errors() {
    assert!(Dispatch::new(&[0, 4], 1, 4, None, None).is_err());
    assert!(Dispatch::new(&[0, 1, 2], 2, 4, None, None).is_err());
    assert!(Dispatch::new(&[0], 0, 4, None, None).is_err());
    assert!(Dispatch::new(&[0, 1], 1, 4, None, Some(&[0.1])).is_err());
    // 21 and more gates, for which sorting without a total order panicked
    let mut gates: Vec<f64> = (0..64).map(|i| f64::from(i * 37 % 64)).collect();
    gates[34..].iter_mut().step_by(3).for_each(|gate| *gate = f64::NAN);
    let error = Dispatch::new(&[0; 64], 2, 1, Some(3), Some(&gates)).unwrap_err().to_string();
    assert!(error.contains("a gate of token 17"), "{error}");
}

#[test]
fn gates_of_any_size_are_in_order() {
    let gates = [f64::NEG_INFINITY, -0., 0., 1., f64::INFINITY, -1e300];
    let by_gate = |limit| Dispatch::new(&[0; 6], 1, 1, Some(limit), Some(&gates)).unwrap();
    let kept = |limit| by_gate(limit).places.iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!(kept(2), [false, false, false, true, true, false]);
    // zeros of both signs are equal: the first one is kept
    assert_eq!(kept(3), [false, true, false, true, true, false]);
}

#[test]
fn the_capacity_is_that_of_exact_arithmetic() {
    for (factor, k, tokens, experts, expected) in
        [(1.1, 1, 100, 10, 11), (1.25, 2, 64, 8, 20), (1.2, 1, 5, 3, 2), (0.55, 1, 100, 1, 55), (1., 3, 7, 7, 3)]
    {
        let limit = Capacity::of(factor).tokens_per_expert(tokens, k, experts, true).unwrap();
        assert_eq!(limit, Some(expected), "{factor} · {k} · {tokens} / {experts}");
    }
    for factor in [0., -1., f64::NAN, f64::INFINITY] {
        assert!(Capacity::of(factor).tokens_per_expert(10, 1, 2, false).is_err());
    }
    assert_eq!(Capacity::of(1e300).tokens_per_expert(10, 1, 2, true).unwrap(), Some(usize::MAX));
}
