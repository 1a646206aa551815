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
}
