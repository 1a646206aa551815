//! Compressors, memories and decoding against reference values: of the authors' program on a CPU with its kernel replaced by a sequential one, of SIDCo's program, and of
//! independent implementations.
//!
//! The values stand in `tests/golden/dragonn`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/dragonn`, where a missing file skips its test. Sizes, counts and
//! the momentum are those of the files.

#![allow(clippy::unwrap_used)]

use distributed::compress::{
    Dgc, DgcConfig, Distribution, GaussianK, RedSync, SidCo, SidCoConfig, TopK, stage_thresholds,
};
use distributed::dragonn::{authors, expected_sent, hash_select, murmur3, sample_threshold_at};
use distributed::encoded::{decode_naive, decode_sparse};
use distributed::memory::{Memory, MemoryConfig};
use distributed::{Compressor, Encoded, Key, wire};
use reproduction::Golden;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

fn golden() -> Golden {
    Golden::of("dragonn", env!("CARGO_MANIFEST_DIR"))
}

/// The bytes of one file; none, said aloud, where it is not there.
fn read(name: &str) -> Option<Vec<u8>> {
    golden().read(name)
}

fn json(name: &str) -> Option<Value> {
    Some(serde_json::from_slice(&read(name)?).unwrap())
}

fn f32s(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let view = file.tensor(name).unwrap();
    assert_eq!(view.dtype(), Dtype::F32, "{name}");
    view.data().chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
}

fn f64s(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let view = file.tensor(name).unwrap();
    assert_eq!(view.dtype(), Dtype::F64, "{name}");
    view.data().chunks_exact(8).map(|c| f64::from_le_bytes(c.try_into().unwrap())).collect()
}

fn i64s(file: &SafeTensors<'_>, name: &str) -> Vec<i64> {
    let view = file.tensor(name).unwrap();
    assert_eq!(view.dtype(), Dtype::I64, "{name}");
    view.data().chunks_exact(8).map(|c| i64::from_le_bytes(c.try_into().unwrap())).collect()
}

fn indices(file: &SafeTensors<'_>, name: &str) -> Vec<u32> {
    i64s(file, name).into_iter().map(|index| u32::try_from(index).unwrap()).collect()
}

fn gather(values: &[f32], indices: &[u32]) -> Vec<f32> {
    indices.iter().map(|&index| values[index as usize]).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn whole(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

#[test]
fn at_least_one_reference_file_is_there() {
    golden().assert_not_empty();
}

#[test]
fn hashes_are_equal() {
    let Some(rows) = json("murmur3.json") else { return };
    let rows = rows["rows"].as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        let [key, seed, hash] = [0, 1, 2].map(|at| u32::try_from(row[at].as_u64().unwrap()).unwrap());
        assert_eq!(murmur3(key, seed), hash, "key {key}, seed {seed}");
    }
}

#[test]
fn the_sampled_threshold_and_the_hashed_selection_are_equal() {
    let (Some(bytes), Some(meta)) = (read("hash_select.safetensors"), json("meta.json")) else { return };
    let (file, meta) = (SafeTensors::deserialize(&bytes).unwrap(), &meta["hash_select"]);
    let gradient = f32s(&file, "gradient");
    let threshold = sample_threshold_at(&gradient, &indices(&file, "sample_index"), number(&meta["ratio"])).unwrap();
    assert_eq!(threshold, f32s(&file, "threshold")[0]);
    let (slots, seed) = (whole(&meta["num_slots"]), whole(&meta["murmur_seed"]) as u32);

    let candidates = indices(&file, "candidate_index");
    let found: Vec<u32> = (0..gradient.len() as u32).filter(|&i| gradient[i as usize].abs() >= threshold).collect();
    assert_eq!(found, candidates);
    let places: Vec<i64> = candidates.iter().map(|&i| i64::from(murmur3(i, seed) % slots as u32)).collect();
    assert_eq!(places, i64s(&file, "candidate_slot"));

    let selected = hash_select(&candidates, slots, seed).unwrap();
    assert_eq!(selected, indices(&file, "selected_index"));
    assert_eq!(gather(&gradient, &selected), f32s(&file, "selected_value"));
    let buffer = i64s(&file, "slot_buffer_last_wins");
    let occupied: Vec<u32> = buffer.iter().filter(|&&i| i >= 0).map(|&i| i as u32).collect();
    assert_eq!(selected, occupied);
    assert_eq!(selected.len(), whole(&meta["num_selected"]));
    // a formula in both: rounding alone
    assert!((expected_sent(candidates.len(), slots) - number(&meta["expected_selected"])).abs() < 1e-6);

    let official = authors::hash_select(&candidates, slots as u32, authors::seed(whole(&meta["seed_counter"]) as u64));
    assert_eq!(official, indices(&file, "official_selected_index"));
    assert_eq!(gather(&gradient, &official), f32s(&file, "official_selected_value"));
}

#[test]
fn deep_gradient_compression_is_equal() {
    let (Some(bytes), Some(meta)) = (read("dgc.safetensors"), json("meta.json")) else { return };
    let (file, meta) = (SafeTensors::deserialize(&bytes).unwrap(), &meta["dgc"]);
    let gradient = f32s(&file, "gradient");
    let mut dgc = Dgc::new(DgcConfig::with_ratio(number(&meta["ratio"]))).unwrap();
    let encoded = dgc.compress_from(&gradient, whole(&meta["sample_start"])).unwrap();
    let Encoded::Sparse { indices: selected, values, .. } = encoded else { panic!("dgc is sparse") };
    let history = meta["threshold_history"].as_array().unwrap();
    assert_eq!(dgc.history().len(), history.len());
    for ((threshold, count), row) in dgc.history().iter().zip(history) {
        // the reference multiplies in f64 and rounds once
        assert!((f64::from(*threshold) / number(&row[0]) - 1.).abs() < 1e-6, "{threshold} {row}");
        assert_eq!(*count, whole(&row[1]));
    }
    assert_eq!(selected, indices(&file, "selected_index"));
    assert_eq!(values, gather(&gradient, &selected));
    assert_eq!(dgc.candidates(), Some(i64s(&file, "above_threshold_index").len()));
}

/// `exponential/stages=2/ratio=0.01` and the like.
fn setting(name: &str) -> (&str, usize, f64) {
    let mut parts = name.split('/');
    let kind = parts.next().unwrap();
    let mut stages = 1;
    let mut ratio = f64::NAN;
    for part in parts {
        match part.split_once('=').unwrap() {
            ("stages", value) => stages = value.parse().unwrap(),
            ("ratio", value) => ratio = value.parse().unwrap(),
            other => panic!("{other:?}"),
        }
    }
    (kind, stages, ratio)
}

fn distribution(kind: &str) -> Distribution {
    match kind {
        "exponential" => Distribution::Exponential,
        "generalized_pareto" => Distribution::GeneralizedPareto,
        "gamma_then_pareto" => Distribution::GammaThenPareto,
        "gamma_then_pareto_exact" => Distribution::GammaThenParetoExact,
        other => panic!("{other}"),
    }
}

/// The part of dgc's gradient that the estimators were run on: `dgc.safetensors: gradient[0:60000]`.
fn estimator_input(file: &SafeTensors<'_>, description: &str) -> Vec<f32> {
    let range = description.split(['[', ']']).nth(1).unwrap();
    let (start, end) = range.split_once(':').unwrap();
    f32s(file, "gradient")[start.parse().unwrap()..end.parse().unwrap()].to_vec()
}

#[test]
fn stage_thresholds_are_equal_in_f64() {
    let (Some(bytes), Some(meta)) = (read("dgc.safetensors"), json("meta.json")) else { return };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let estimators = &meta["threshold_estimators"];
    let values = estimator_input(&file, estimators["input"].as_str().unwrap());
    let norm = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    let magnitudes: Vec<f64> = values.iter().map(|&v| f64::from(v.abs()) / norm).collect();
    for (name, wanted) in meta["sidco_float64"].as_object().unwrap() {
        let (kind, stages, ratio) = setting(name);
        let first = number(&estimators["first_ratio"]);
        let found = stage_thresholds(&magnitudes, distribution(kind), first, stages, ratio);
        let thresholds = wanted["stage_thresholds_on_l2_normalised"].as_array().unwrap();
        assert_eq!(found.thresholds.len(), thresholds.len(), "{name}");
        // the inverse of the incomplete gamma function and the logarithms' mean have less exact digits than sums
        let tolerance = if kind.starts_with("gamma") { 1e-7 } else { 1e-9 };
        for (threshold, wanted) in found.thresholds.iter().zip(thresholds) {
            assert!((threshold / number(wanted) - 1.).abs() < tolerance, "{name}: {threshold} {wanted}");
        }
        assert_eq!(found.selected, whole(&wanted["num_selected"]), "{name}");
    }
}

#[test]
fn threshold_estimators_select_as_many() {
    let (Some(bytes), Some(meta)) = (read("dgc.safetensors"), json("meta.json")) else { return };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let estimators = &meta["threshold_estimators"];
    let values = estimator_input(&file, estimators["input"].as_str().unwrap());
    for (name, wanted) in estimators["results"].as_object().unwrap() {
        let (kind, stages, ratio) = setting(name);
        let mut compressor: Box<dyn Compressor> = match kind {
            "gaussian_ksgd" => Box::new(GaussianK::new(ratio).unwrap()),
            "redsync" => Box::new(RedSync::new(ratio).unwrap()),
            "topk" => Box::new(TopK::new(ratio).unwrap()),
            kind => {
                let config = SidCoConfig { ratio, distribution: distribution(kind), stages, ..SidCoConfig::default() };
                Box::new(SidCo::new(config).unwrap())
            }
        };
        let encoded = compressor.compress(&values, &Key::default()).unwrap();
        let Encoded::Sparse { indices, values: sent, .. } = &encoded else { panic!("{name} is sparse") };
        let count = whole(&wanted["num_selected"]) as f64;
        // the reference works in f32, whose threshold may stand on the other side of some elements
        let slack = (0.002 * count).max(2.);
        assert!((encoded.num_sent() as f64 - count).abs() <= slack, "{name}: {} {count}", encoded.num_sent());
        if kind == "topk" {
            assert_eq!(encoded.num_sent() as f64, count);
            assert_eq!(indices.iter().map(|&i| u64::from(i)).sum::<u64>(), wanted["index_sum"].as_u64().unwrap());
            let smallest = sent.iter().fold(f32::INFINITY, |least, value| least.min(value.abs()));
            assert_eq!(f64::from(smallest), number(&wanted["min_abs"]));
        }
    }
}

/// The momentum `m` of the reference, from `state_1 = m · state_0 + gradient_1` where nothing was sent in either step; to four digits, since f32 holds seven.
fn momentum(file: &SafeTensors<'_>, len: usize) -> f32 {
    let (gradients, states) = (f32s(file, "gradients"), f32s(file, "momentum_state"));
    let kept = (0..len).filter(|&at| states[at] != 0. && states[len + at] != 0.);
    let at = kept.max_by(|&a, &b| states[a].abs().total_cmp(&states[b].abs())).expect("an element that was kept twice");
    ((states[len + at] - gradients[len + at]) / states[at] * 1e4).round() / 1e4
}

#[test]
fn memories_are_equal() {
    let Some(bytes) = read("memory.safetensors") else { return };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let shape = file.tensor("gradients").unwrap().shape().to_vec();
    let gradients = f32s(&file, "gradients");
    let momentum = momentum(&file, shape[1]);
    let cases = [
        ("residual", MemoryConfig::default()),
        ("momentum", MemoryConfig::Momentum { momentum }),
        ("momentum_masked", MemoryConfig::Dgc { momentum }),
        ("dgc_paper", MemoryConfig::Dgc { momentum }),
    ];
    for (name, config) in cases {
        let mut memory = Memory::new(config).unwrap();
        let (sent, states) = (f32s(&file, &format!("{name}_sent")), f32s(&file, &format!("{name}_state")));
        // ⌈ratio · len⌉ elements are as many as were sent
        let count = sent[..shape[1]].iter().filter(|&&value| value != 0.).count();
        let mut top = TopK::new((count as f64 - 0.5) / shape[1] as f64).unwrap();
        let per_step = states.len() / shape[0];
        for (step, gradient) in gradients.chunks(shape[1]).enumerate() {
            let encoded = top.compress(memory.compensate(gradient).unwrap(), &Key::default()).unwrap();
            memory.update(&encoded, &top).unwrap();
            close(&encoded.to_dense().unwrap(), &sent[step * shape[1]..][..shape[1]], name);
            // the reference holds u (`momentum`) first, then v (`accumulated`)
            let state: Vec<f32> = memory.state().values().rev().copied().flatten().copied().collect();
            close(&state, &states[step * per_step..][..per_step], name);
        }
    }
}

/// Sums of five f32 gradients in another order of operations.
fn close(found: &[f32], wanted: &[f32], name: &str) {
    assert_eq!(found.len(), wanted.len(), "{name}");
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert!((found - wanted).abs() <= 1e-6, "{name} at {at}: {found} {wanted}");
    }
}

#[test]
fn gradients_of_several_workers_add_up() {
    let (Some(bytes), Some(meta)) = (read("aggregate.safetensors"), json("meta.json")) else { return };
    let (file, meta) = (SafeTensors::deserialize(&bytes).unwrap(), &meta["aggregate"]);
    let (workers, len, slots) = (whole(&meta["workers"]), whole(&meta["n"]), whole(&meta["slots"]));
    // "43 + worker"
    let first_seed: u32 = meta["murmur_seed"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap();
    let mut gradients = Vec::new();
    for worker in 0..workers {
        let name = |part: &str| format!("worker{worker}_{part}");
        let gradient = f32s(&file, &name("gradient"));
        let threshold = f32s(&file, &name("threshold"))[0];
        let candidates: Vec<u32> = (0..len as u32).filter(|&i| gradient[i as usize].abs() >= threshold).collect();
        let selected = hash_select(&candidates, slots, first_seed + worker as u32).unwrap();
        assert_eq!(selected, indices(&file, &name("index")));
        let values = gather(&gradient, &selected);
        assert_eq!(values, f32s(&file, &name("value")));
        let encoded = Encoded::Sparse { len, indices: selected, values };
        let bytes = wire::to_bytes(&encoded, wire::WireFormat::default()).unwrap();
        assert_eq!(wire::from_bytes(&bytes).unwrap(), encoded);
        gradients.push(encoded);
    }
    for (name, scale) in [("sum", 1.), ("mean", 1. / workers as f32)] {
        let wanted: Vec<f32> = f64s(&file, name).into_iter().map(|value| value as f32).collect();
        let (mut sparse, mut naive) = (vec![1f32; len], vec![2f32; len]);
        decode_sparse(&gradients, scale, &mut sparse).unwrap();
        decode_naive(&gradients, scale, &mut naive).unwrap();
        close(&sparse, &wanted, name);
        close(&naive, &wanted, name);
    }
    let mut overwritten = vec![0f32; len];
    authors::decode(&gradients, &mut overwritten).unwrap();
    let sum = f64s(&file, "sum");
    let differing = overwritten.iter().zip(&sum).filter(|(a, b)| (f64::from(**a) - **b).abs() > 1e-6).count();
    assert_eq!(differing, whole(&meta["duplicate_indices"]), "overwriting differs where workers share an index");
}
