//! Which samples a rank trains on.

#![allow(clippy::unwrap_used)]

use distributed::sampler::{DistributedSampler, Remainder};
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn ranks_share_every_epoch_in_equal_parts(samples in 1usize..300, ranks in 1usize..9, seed in any::<u64>(), epoch in 0u64..1000) {
        for remainder in [Remainder::Pad, Remainder::Drop] {
            let parts: Result<Vec<_>, _> =
                (0..ranks).map(|rank| DistributedSampler::new(samples, rank, ranks, seed, remainder)).collect();
            let Ok(parts) = parts else {
                prop_assert!(remainder == Remainder::Drop && samples < ranks);
                continue;
            };
            let mut times: BTreeMap<usize, usize> = BTreeMap::new();
            for part in &parts {
                let own = part.epoch(epoch);
                prop_assert_eq!(own.len(), part.len());
                own.iter().for_each(|&sample| *times.entry(sample).or_default() += 1);
            }
            prop_assert!(times.keys().all(|&sample| sample < samples));
            let len = parts[0].len();
            match remainder {
                // no sample is left out, and as few as possible are taken again
                Remainder::Pad => {
                    prop_assert_eq!(len, samples.div_ceil(ranks));
                    prop_assert_eq!(times.len(), samples);
                    prop_assert!(samples < ranks || times.values().all(|&count| count <= 2));
                }
                Remainder::Drop => {
                    prop_assert_eq!(len, samples / ranks);
                    prop_assert!(times.values().all(|&count| count == 1));
                }
            }
        }
    }
}

#[test]
fn epochs_seeds_and_positions_differ_and_repeat_exactly() {
    let of = |seed| DistributedSampler::new(1000, 0, 1, seed, Remainder::Pad).unwrap();
    assert_eq!(of(1).epoch(3), of(1).epoch(3));
    assert_ne!(of(1).epoch(3), of(1).epoch(4));
    assert_ne!(of(1).epoch(3), of(2).epoch(3));
    // the same permutation, dealt to more ranks
    let whole = of(1).epoch(0);
    let halves = [0, 1].map(|rank| DistributedSampler::new(1000, rank, 2, 1, Remainder::Pad).unwrap().epoch(0));
    let dealt: Vec<usize> = (0..1000).map(|at| halves[at % 2][at / 2]).collect();
    assert_eq!(whole, dealt);
    // every sample comes first about equally often: 4000 draws of 10, five standard deviations of the count of one are 95
    let mut first = [0usize; 10];
    for epoch in 0..4000 {
        first[DistributedSampler::new(10, 0, 1, 9, Remainder::Pad).unwrap().epoch(epoch)[0]] += 1;
    }
    assert!(first.iter().all(|count| count.abs_diff(400) < 95), "{first:?}");
}

#[test]
fn parts_of_nothing_are_errors() {
    for (samples, rank, ranks, remainder) in [
        (0, 0, 1, Remainder::Pad),
        (10, 2, 2, Remainder::Pad),
        (10, 0, 0, Remainder::Pad),
        (3, 0, 4, Remainder::Drop),
        (10, usize::MAX, 4, Remainder::Pad),
    ] {
        assert!(DistributedSampler::new(samples, rank, ranks, 0, remainder).is_err(), "{samples} {rank} {ranks}");
    }
}
