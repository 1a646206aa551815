//! What holds for every compressor and every gradient, and what hostile gradients and bytes do.

#![allow(clippy::unwrap_used)]

use distributed::compress::{DgcConfig, Distribution, SidCo, SidCoConfig, TopK, TopKMethod, top_k};
use distributed::dragonn::{DragonnConfig, SampleLayout, expected_sent, hash_select, sample_positions};
use distributed::encoded::{decode_naive, decode_sparse};
use distributed::memory::{Memory, MemoryConfig};
use distributed::wire::{WireFormat, from_bytes, to_bytes};
use distributed::{Compression, Compressor, Encoded, Error, Key};
use proptest::prelude::*;

fn all(ratio: f64) -> Vec<Compression> {
    vec![
        Compression::None,
        Compression::Dragonn(DragonnConfig::with_ratio(ratio)),
        Compression::TopK(ratio),
        Compression::RandomK(ratio),
        Compression::Threshold(0.5),
        Compression::Dgc(DgcConfig::with_ratio(ratio)),
        Compression::SidCo(SidCoConfig { ratio, ..SidCoConfig::default() }),
        Compression::SidCo(SidCoConfig {
            ratio,
            distribution: Distribution::GeneralizedPareto,
            stages: 3,
            ..SidCoConfig::default()
        }),
        Compression::SidCo(SidCoConfig {
            ratio,
            distribution: Distribution::GammaThenPareto,
            stages: 2,
            ..SidCoConfig::default()
        }),
        Compression::SidCo(SidCoConfig {
            ratio,
            distribution: Distribution::GammaThenParetoExact,
            ..SidCoConfig::default()
        }),
        Compression::GaussianK(ratio),
        Compression::RedSync(ratio),
        Compression::Qsgd(64),
        Compression::SignScale,
        Compression::HalfPrecision,
    ]
}

/// Heavy tails, zeros, ties, tiny and huge values.
fn gradients() -> impl Strategy<Value = Vec<f32>> {
    let element = prop_oneof![
        8 => (-1f32..1.).prop_map(|x| x * x * x),
        2 => Just(0f32),
        1 => Just(0.25f32),
        1 => Just(-0.25f32),
        1 => -1e6f32..1e6,
        1 => Just(f32::MIN_POSITIVE / 8.),
    ];
    prop::collection::vec(element, 0..3000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_sent_is_part_of_the_gradient_and_survives_the_wire(values in gradients(), ratio in 0.001f64..1., step in 0u64..9) {
        for compression in all(ratio) {
            let mut compressor = compression.build().unwrap();
            let key = Key { step, ..Key::default() };
            let encoded = compressor.compress(&values, &key).unwrap();
            prop_assert_eq!(encoded.len(), values.len(), "{:?}", compression);
            if let Encoded::Sparse { indices, values: sent, .. } = &encoded {
                let mut seen = indices.clone();
                seen.sort_unstable();
                seen.dedup();
                prop_assert_eq!(seen.len(), indices.len(), "{:?} sends an element twice", compression);
                prop_assert!(indices.iter().zip(sent).all(|(&at, &value)| values[at as usize] == value));
            }
            // the same key gives the same bits, from a new compressor too
            prop_assert_eq!(&compression.build().unwrap().compress(&values, &key).unwrap(), &encoded);
            for half_values in [false, true] {
                for index_differences in [false, true] {
                    let format = WireFormat { half_values, index_differences };
                    let mut sent = encoded.clone();
                    if half_values {
                        sent.round_to_half();
                    }
                    let back = from_bytes(&to_bytes(&sent, format).unwrap()).unwrap();
                    prop_assert_eq!(back.to_dense().unwrap(), sent.to_dense().unwrap());
                    prop_assert_eq!(back.num_sent(), sent.num_sent());
                }
            }
        }
    }

    #[test]
    fn both_ways_to_find_the_largest_agree_with_a_sort(values in gradients(), share in 0f64..1.2) {
        let k = (values.len() as f64 * share) as usize;
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.sort_by(|&a, &b| values[b as usize].abs().total_cmp(&values[a as usize].abs()).then(a.cmp(&b)));
        order.truncate(k);
        order.sort_unstable();
        prop_assert_eq!(&top_k(&values, k, TopKMethod::Quickselect).unwrap(), &order);
        prop_assert_eq!(&top_k(&values, k, TopKMethod::Filtered).unwrap(), &order);
    }

    #[test]
    fn the_residual_conserves_every_gradient(steps in prop::collection::vec(prop::collection::vec(-1f32..1., 200), 1..8), ratio in 0.005f64..0.5) {
        for compression in all(ratio) {
            let mut compressor = compression.build().unwrap();
            let mut memory = Memory::residual();
            let mut sent = vec![0f64; 200];
            let mut total = vec![0f64; 200];
            for (step, gradient) in steps.iter().enumerate() {
                let key = Key { step: step as u64, ..Key::default() };
                let encoded = compressor.compress(memory.compensate(gradient).unwrap(), &key).unwrap();
                memory.update(&encoded, compressor.as_ref()).unwrap();
                sent.iter_mut().zip(encoded.to_dense().unwrap()).for_each(|(sum, v)| *sum += f64::from(v));
                total.iter_mut().zip(gradient).for_each(|(sum, v)| *sum += f64::from(*v));
            }
            let kept = memory.state()["residual"].to_vec();
            for ((sent, total), kept) in sent.iter().zip(&total).zip(&kept) {
                // QSGD's values reach the norm of 200 elements, about 8, each of up to 8 steps rounds at 2^-24 of that
                prop_assert!((sent + f64::from(*kept) - total).abs() < 2e-5, "{:?}", compression);
            }
        }
    }

    #[test]
    fn sparse_decoding_equals_naive_decoding(lists in prop::collection::vec(prop::collection::btree_map(0u32..300, -1f32..1., 0..80), 1..6)) {
        let gradients: Vec<Encoded> = lists.iter().map(|list| {
            Encoded::Sparse { len: 300, indices: list.keys().copied().collect(), values: list.values().copied().collect() }
        }).collect();
        let scale = 1. / gradients.len() as f32;
        let (mut sparse, mut naive) = (vec![9f32; 300], vec![9f32; 300]);
        decode_sparse(&gradients, scale, &mut sparse).unwrap();
        decode_naive(&gradients, scale, &mut naive).unwrap();
        prop_assert!(sparse.iter().zip(&naive).all(|(a, b)| (a - b).abs() <= 1e-6));
    }

    #[test]
    fn damaged_bytes_are_refused(values in prop::collection::vec(-1f32..1., 1..300), at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
        for compression in all(0.1) {
            let encoded = compression.build().unwrap().compress(&values, &Key::default()).unwrap();
            let bytes = to_bytes(&encoded, WireFormat { half_values: false, index_differences: true }).unwrap();
            let mut flipped = bytes.clone();
            flipped[at.index(bytes.len())] ^= 1 << bit;
            prop_assert!(from_bytes(&flipped).is_err());
            prop_assert!(from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
            let mut longer = bytes.clone();
            longer.push(0);
            prop_assert!(from_bytes(&longer).is_err());
        }
    }

    #[test]
    fn hashed_selection_keeps_one_candidate_for_each_occupied_slot(candidates in prop::collection::btree_set(any::<u32>(), 0..500), slots in 1usize..2000, seed in any::<u32>()) {
        let candidates: Vec<u32> = candidates.into_iter().filter(|&i| i < u32::MAX).collect();
        let sent = hash_select(&candidates, slots, seed).unwrap();
        let slot = |i: u32| distributed::dragonn::murmur3(i, seed) % slots as u32;
        let occupied: std::collections::BTreeMap<u32, u32> = candidates.iter().map(|&i| (slot(i), i)).collect();
        prop_assert_eq!(sent, occupied.into_values().collect::<Vec<_>>());
    }
}

#[test]
fn expected_ratios_are_those_of_the_settings() {
    for compression in all(0.25) {
        let wanted = match compression {
            Compression::None => 0.5,
            Compression::HalfPrecision => 0.25,
            Compression::Qsgd(_) => 0.125,
            Compression::SignScale => 1. / 64.,
            Compression::Threshold(_) => 0.01,
            _ => 0.25,
        };
        assert_eq!(compression.expected_ratio(), wanted, "{compression:?}");
    }
}

#[test]
fn streams_of_one_key_differ_by_name_and_by_rank() {
    let key = Key { seed: 3, step: 5, tensor: Key::tensor_id("head.weight"), rank: 2 };
    let other = Key { rank: 1, ..key };
    assert_eq!(key.shared_seed("positions"), other.shared_seed("positions"));
    let seeds = [
        key.shared_seed("positions"),
        key.shared_seed("rounding"),
        key.rank_seed("positions"),
        key.rank_seed("rounding"),
        other.rank_seed("positions"),
        Key { step: 6, ..key }.rank_seed("positions"),
        Key { seed: 4, ..key }.rank_seed("positions"),
        Key { tensor: Key::tensor_id("head.bias"), ..key }.rank_seed("positions"),
    ];
    let distinct: std::collections::BTreeSet<u64> = seeds.into_iter().collect();
    assert_eq!(distinct.len(), seeds.len());
}

#[test]
fn a_gradient_that_is_not_finite_is_an_error_that_says_where() {
    for compression in all(0.01) {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            // longer than any threshold for small gradients
            let mut values: Vec<f32> = (0..200_000).map(|i| ((i * 7919 % 1000) as f32 - 500.) * 1e-3).collect();
            // RandomK does not draw this element
            let at = 123_456;
            values[at] = bad;
            let error = compression.build().unwrap().compress(&values, &Key::default()).unwrap_err();
            assert!(matches!(error, Error::NotFinite { position, .. } if position == at), "{compression:?}: {error}");
        }
    }
    let mut memory = Memory::residual();
    memory.compensate(&[1., 2.]).unwrap();
    assert!(memory.compensate(&[1., f32::NAN]).is_err() && memory.compensate(&[1.]).is_err());
}

#[test]
fn empty_zero_and_single_element_gradients_work() {
    for compression in all(0.01) {
        for values in [vec![], vec![0f32; 5000], vec![3f32], vec![0f32]] {
            let mut compressor = compression.build().unwrap();
            let encoded = compressor.compress(&values, &Key::default()).unwrap();
            let decoded = encoded.to_dense().unwrap();
            if values.iter().all(|&value| value == 0.) {
                assert_eq!(decoded, values, "{compression:?}");
            } else {
                assert_eq!(decoded, values, "{compression:?}: the only element is sent");
            }
        }
    }
}

/// Gradients whose magnitudes have no tail, where quantiles of fitted distributions lie above all of them.
fn gradients_without_a_tail() -> Vec<(&'static str, Vec<f32>)> {
    vec![
        ("one", vec![-3.]),
        ("equal", vec![0.1; 5000]),
        ("equal, long", (0..200_000).map(|i| if i % 3 == 0 { -0.7f32 } else { 0.7 }).collect()),
        ("two", vec![2., -2.]),
        ("uniform", (1..=5000).map(|i| i as f32 * 1e-3).collect()),
        ("equal or zero", (0..3000).map(|i| (i % 2) as f32 * 1e-3).collect()),
        ("one of many", (0..3000).map(|i| f32::from(u8::from(i == 7)) * 1e-20).collect()),
    ]
}

#[test]
fn something_is_sent_of_every_gradient_and_not_more_than_all_that_counts() {
    for ratio in [0.001, 0.01, 0.1, 0.25, 1.] {
        for (name, values) in gradients_without_a_tail() {
            for compression in all(ratio) {
                if matches!(compression, Compression::RandomK(_)) {
                    // what it draws may be zero
                    continue;
                }
                let mut compressor = compression.build().unwrap();
                for step in 0..12 {
                    let key = Key { step, ..Key::default() };
                    let decoded = compressor.compress(&values, &key).unwrap().to_dense().unwrap();
                    let is_any = decoded.iter().any(|&value| value != 0.);
                    let is_tiny = values.iter().all(|value| value.abs() < 1e-10);
                    // half precision knows no 1e-20, and 64 levels round it away in some draws
                    let may_be_none = is_tiny && matches!(compression, Compression::HalfPrecision);
                    assert!(is_any || may_be_none, "{compression:?} sends nothing of {name} in step {step}");
                }
            }
        }
    }
    // the exact numbers where all are equal: ⌊n r⌋, from the first one on
    for distribution in [Distribution::Exponential, Distribution::GeneralizedPareto] {
        let config = SidCoConfig { ratio: 0.001, distribution, ..SidCoConfig::default() };
        let encoded = SidCo::new(config).unwrap().compress(&vec![0.5; 5000], &Key::default()).unwrap();
        let wanted = Encoded::Sparse { len: 5000, indices: vec![0, 1, 2, 3, 4], values: vec![0.5; 5] };
        assert_eq!(encoded, wanted, "{distribution:?}");
    }
}

#[test]
fn a_constant_gradient_keeps_the_residual_bounded() {
    for (name, gradient) in gradients_without_a_tail() {
        for compression in all(0.01) {
            // unbiased, so that it needs no residual, and for more than levels² elements its error is larger than the gradient
            if matches!(compression, Compression::Qsgd(_)) && gradient.len() > 4096 {
                continue;
            }
            let ratio = 0.01f64;
            let mut compressor = compression.build().unwrap();
            let mut memory = Memory::residual();
            let size = |values: &[f32]| values.iter().map(|value| f64::from(value.abs())).sum::<f64>();
            let mut largest = 0f64;
            let steps = if gradient.len() > 10_000 { 150 } else { 600 };
            for step in 0..steps {
                let encoded = compressor
                    .compress(memory.compensate(&gradient).unwrap(), &Key { step, ..Key::default() })
                    .unwrap();
                memory.update(&encoded, compressor.as_ref()).unwrap();
                largest = largest.max(size(memory.state()["residual"]));
            }
            // each element waits for about n / k steps; DRAGONN and RandomK leave some waiting several times as long
            let bound = 8. * size(&gradient) / ratio.min(1.);
            let is_small = gradient.iter().all(|value| value.abs() < 1e-10);
            assert!(largest < bound || is_small, "{compression:?} of {name}: {largest}, expected below {bound}");
        }
    }
}

#[test]
fn the_number_of_largest_elements_is_that_of_exact_arithmetic() {
    for (len, ratio, wanted) in
        [(25, 0.28, 7), (100, 0.55, 55), (100, 0.07, 7), (3, 0.1, 1), (10, 0.11, 2), (1000, 1e-9, 1)]
    {
        let values: Vec<f32> = (1..=len).map(|i| i as f32).collect();
        let sent = TopK::new(ratio).unwrap().compress(&values, &Key::default()).unwrap().num_sent();
        assert_eq!(sent, wanted, "{ratio} of {len}");
    }
    // ⌊n r⌋
    let values: Vec<f32> = (1..=100).map(|i| i as f32).collect();
    for compression in [Compression::RandomK(0.29), Compression::Dgc(DgcConfig::with_ratio(0.29))] {
        let sent = compression.build().unwrap().compress(&values, &Key::default()).unwrap().num_sent();
        assert_eq!(sent, 29, "{compression:?}");
    }
}

#[test]
fn quantised_gradients_of_any_size_decode_to_what_they_were() {
    for scale in [1e30f32, 1., 1e-30, 3e-37, 1e-37, 1e-38, 1e-40, 1e-44] {
        for levels in [1u8, 64, 127] {
            // three zeros among larger elements, two of them equal: norm = 3 scale
            let values = [2. * scale, 0., -scale, 0., 2. * scale, 0.];
            let mut qsgd = Compression::Qsgd(levels).build().unwrap();
            for step in 0..20 {
                let decoded = qsgd.compress(&values, &Key { step, ..Key::default() }).unwrap().to_dense().unwrap();
                let norm = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
                for (value, decoded) in values.iter().zip(decoded) {
                    assert!(*value != 0. || decoded == 0., "{scale:e}, {levels} levels: 0 becomes {decoded:e}");
                    // one level, and the spacing of subnormal numbers
                    let step = norm / f64::from(levels) * 1.000_01 + 3e-45;
                    assert!((f64::from(*value) - f64::from(decoded)).abs() <= step, "{scale:e}: {value:e} {decoded:e}");
                }
            }
        }
    }
}

#[test]
fn settings_outside_their_range_are_errors() {
    for ratio in [0., -1., 1.5, f64::NAN, f64::INFINITY] {
        for compression in [
            Compression::Dragonn(DragonnConfig::with_ratio(ratio)),
            Compression::TopK(ratio),
            Compression::RandomK(ratio),
            Compression::Dgc(DgcConfig::with_ratio(ratio)),
            Compression::SidCo(SidCoConfig { ratio, ..SidCoConfig::default() }),
            Compression::GaussianK(ratio),
            Compression::RedSync(ratio),
        ] {
            assert!(matches!(compression.build(), Err(Error::InvalidConfig { .. })), "{compression:?}");
        }
        assert!(TopK::new(0.1).unwrap().set_ratio(ratio).is_err());
    }
    for compression in
        [Compression::Qsgd(0), Compression::Qsgd(128), Compression::Threshold(-1.), Compression::Threshold(f32::NAN)]
    {
        assert!(compression.build().is_err(), "{compression:?}");
    }
    assert!(Compression::Dragonn(DragonnConfig { slots_factor: 0., ..DragonnConfig::default() }).build().is_err());
    assert!(hash_select(&[1], 0, 0).is_err());
    for config in [
        MemoryConfig::Momentum { momentum: 1. },
        MemoryConfig::Residual { decay: 2., weight: 1. },
        MemoryConfig::Dgc { momentum: f32::NAN },
    ] {
        assert!(Memory::new(config).is_err(), "{config:?}");
    }
}

#[test]
fn the_loss_by_collisions_is_as_derived() {
    // 20 seeds of 10,000 candidates in 40,000 slots: the mean's standard deviation is below 0.001
    let candidates: Vec<u32> = sample_positions(1 << 30, 10_000, SampleLayout::Uniform, 1).into_iter().collect();
    let mut distinct = candidates;
    distinct.sort_unstable();
    distinct.dedup();
    let c = distinct.len();
    let mean =
        (0..20).map(|seed| hash_select(&distinct, 40_000, seed).unwrap().len() as f64).sum::<f64>() / (20 * c) as f64;
    assert!((mean - expected_sent(c, 40_000) / c as f64).abs() < 0.003, "{mean}");
    assert!((expected_sent(10_000, 40_000) / 10_000. - 4. * (1. - (-0.25f64).exp())).abs() < 1e-4);
    assert_eq!(expected_sent(5, 0), 0.);
}

#[test]
fn quantised_gradients_are_unbiased() {
    let values: Vec<f32> = (0..50).map(|i| ((i * 37 % 50) as f32 - 25.) / 25.).collect();
    let mut mean = vec![0f64; 50];
    const DRAWS: u32 = 4000;
    let mut qsgd = Compression::Qsgd(4).build().unwrap();
    for step in 0..DRAWS {
        let decoded =
            qsgd.compress(&values, &Key { step: u64::from(step), ..Key::default() }).unwrap().to_dense().unwrap();
        mean.iter_mut().zip(decoded).for_each(|(mean, value)| *mean += f64::from(value) / f64::from(DRAWS));
    }
    // a step is norm / 4, about 1; its deviation at most half of it, over 4000 draws 0.008; five of those
    assert!(mean.iter().zip(&values).all(|(mean, value)| (mean - f64::from(*value)).abs() < 0.04));
}

#[test]
fn stages_adapt_and_their_state_continues() {
    // uniform magnitudes: an exponential's quantile lies beyond all of them, so nothing is selected and stages are added
    let values: Vec<f32> = (1..=10_000).map(|i| i as f32 * 1e-4).collect();
    let config = SidCoConfig { ratio: 0.001, ..SidCoConfig::default() };
    let mut sidco = SidCo::new(config).unwrap();
    for _ in 0..7 {
        sidco.compress(&values, &Key::default()).unwrap();
    }
    assert!(sidco.stages() > 1);
    let mut resumed = SidCo::new(config).unwrap();
    resumed.load_state(&sidco.state()).unwrap();
    for _ in 0..9 {
        assert_eq!(
            sidco.compress(&values, &Key::default()).unwrap(),
            resumed.compress(&values, &Key::default()).unwrap()
        );
        assert_eq!(sidco.stages(), resumed.stages());
    }
    assert!(resumed.load_state(&[1.]).is_err());
}

#[test]
fn threads_do_not_change_a_compressed_gradient() {
    let values: Vec<f32> =
        (0..1_500_000u32).map(|i| (i.wrapping_mul(2_654_435_761) as f32 / 4e9 - 0.5).powi(3)).collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            all(0.001)
                .iter()
                .map(|c| c.build().unwrap().compress(&values, &Key::default()).unwrap())
                .collect::<Vec<_>>()
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}
