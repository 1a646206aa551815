//! Masks, selections, channels, blocks and partitions: properties, ties, hostile input.

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use proptest::prelude::*;
use pruning::partition::hypergraph;
use pruning::scores::{grasp, magnitude, norm_scale, random, snip, wanda};
use pruning::{
    Error, Granularity, Mask, Masks, Parts, Refill, Regroup, Schedule, Scope, Scores, Selection, iterative_round,
    one_shot, select,
};

const CPU: Device = Device::Cpu;

fn scores(layers: &[(&str, Vec<f64>)]) -> Scores {
    layers.iter().map(|(name, scores)| ((*name).to_owned(), scores.clone())).collect()
}

fn full(layers: &[(&str, &[usize])]) -> Masks {
    Masks::full(layers.iter().map(|&(name, shape)| (name, shape)))
}

fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut rng = Rng::new(seed);
    (0..count).map(|_| rng.unit()).collect()
}

#[test]
fn densities_follow_the_schedule() {
    let masks = full(&[("a", &[40, 25]), ("b", &[30, 10, 3, 3])]);
    let of = scores(&[("a", numbers(1000, 1)), ("b", numbers(2700, 2))]);
    let mut current = masks.clone();
    let schedule = Schedule::Geometric { rate: 0.2 };
    for round in 1..=10 {
        let next = iterative_round(&of, &current, 0.2, false).expect("masks");
        assert_eq!(next.minus(&current).expect("masks").count(), 0, "nested");
        let expected = schedule.density(round).expect("a density");
        assert!((next.density() - expected).abs() < 1e-3, "{round}");
        current = next;
    }
    let cubic = Schedule::Polynomial { density: 0.1, rounds: 4 };
    assert_eq!(
        (cubic.density(0).expect("1"), cubic.density(4).expect("0.1"), cubic.density(9).expect("0.1")),
        (1.0, 0.1, 0.1)
    );
    assert_eq!(Schedule::OneShot { density: 0.3 }.density(1).expect("0.3"), 0.3);
    for schedule in [
        Schedule::Geometric { rate: 1.0 },
        Schedule::Geometric { rate: -0.1 },
        Schedule::OneShot { density: f64::NAN },
        Schedule::Polynomial { density: 0.1, rounds: 0 },
    ] {
        assert!(schedule.density(1).is_err(), "{schedule:?}");
    }
}

#[test]
fn ties_go_by_layer_then_by_entry() {
    let masks = full(&[("a", &[2, 2]), ("b", &[2, 2])]);
    let of = scores(&[("a", vec![1.0, 1.0, 2.0, 1.0]), ("b", vec![1.0, 2.0, 1.0, 2.0])]);
    // three of eight: 2.4 would round to 2
    let found = iterative_round(&of, &masks, 0.375, false).expect("masks");
    assert_eq!(found.get("a").expect("a").kept(), [0, 0, 1, 0]);
    assert_eq!(found.get("b").expect("b").kept(), [1; 4]);
    // halves go to even: 0.5 · 5 = 2.5
    let five = full(&[("a", &[5, 1])]);
    let of = scores(&[("a", vec![1.0, 2.0, 3.0, 4.0, 5.0])]);
    assert_eq!(iterative_round(&of, &five, 0.5, false).expect("masks").count(), 3);
    // one-shot takes one entry fewer, and none of the threshold's equals
    assert_eq!(one_shot(&of, &five, 0.4).expect("masks").get("a").expect("a").kept(), [0, 1, 1, 1, 1]);
    let equal = scores(&[("a", vec![1.0; 5])]);
    assert_eq!(one_shot(&equal, &five, 0.8).expect("masks").count(), 5);
    // equally important channels are kept from the first
    let mask = Mask::new(&[3, 2], vec![1, 0, 1, 0, 1, 0]).expect("a mask");
    let refilled = Refill::default().apply(&mask, &[1.0; 6]).expect("a mask");
    assert_eq!(refilled.kept(), [1, 1, 1, 1, 0, 0]);
}

#[test]
fn a_layer_keeps_its_best_entry_where_asked() {
    let masks = full(&[("a", &[2, 2]), ("b", &[50, 2])]);
    let of = scores(&[("a", vec![0.1, 0.2, 0.05, 0.15]), ("b", numbers(100, 3).iter().map(|x| x + 1.0).collect())]);
    let gone = iterative_round(&of, &masks, 0.5, false).expect("masks");
    assert_eq!(gone.get("a").expect("a").count(), 0);
    let kept = iterative_round(&of, &masks, 0.5, true).expect("masks");
    assert_eq!(kept.get("a").expect("a").kept(), [0, 1, 0, 0]);
    assert_eq!(kept.count(), gone.count());
}

#[test]
fn selections_keep_what_they_say() {
    let masks = full(&[("a", &[6, 10]), ("b", &[4, 7])]);
    let of = scores(&[("a", numbers(60, 1)), ("b", numbers(28, 2))]);
    let with = |density, selection| select(&of, &masks, density, selection, false).expect("masks");
    assert_eq!(with(0.25, Selection::Global).count(), 22);
    let by_layer = with(0.5, Selection::Layer);
    assert_eq!((by_layer.get("a").expect("a").count(), by_layer.get("b").expect("b").count()), (30, 14));
    assert_eq!(with(0.3, Selection::Row).get("a").expect("a").row_counts(), [3; 6]);
    // M does not divide the width: the last group keeps at most N
    let structured = with(1.0, Selection::NOfM { n: 2, m: 4 });
    assert_eq!(structured.get("a").expect("a").row_counts(), [6; 6]);
    assert_eq!(structured.get("b").expect("b").row_counts(), [4; 4]);
    let blocks = with(0.5, Selection::Blocks { rows: 2, columns: 5 });
    let a = blocks.get("a").expect("a");
    assert!(a.kept().chunks(10).zip(a.kept().chunks(10).skip(1)).step_by(2).all(|(one, next)| one == next));
    assert!(blocks.density() <= 0.5);
    assert_eq!(with(1.0, Selection::Global).count(), 88);
    assert_eq!(with(0.0, Selection::Global).count(), 0);
    for (density, selection) in [
        (1.1, Selection::Global),
        (f64::NAN, Selection::Layer),
        (0.5, Selection::NOfM { n: 3, m: 2 }),
        (0.5, Selection::NOfM { n: 0, m: 0 }),
        (0.5, Selection::Blocks { rows: 0, columns: 2 }),
    ] {
        assert!(select(&of, &masks, density, selection, false).is_err(), "{density} {selection:?}");
    }
}

#[test]
fn hostile_masks_and_scores_are_errors() {
    assert!(Mask::new(&[2, 2], vec![0, 1, 2, 0]).is_err());
    assert!(Mask::new(&[2, 2], vec![0, 1]).is_err());
    let masks = full(&[("layer.weight", &[2, 2])]);
    let wrong = scores(&[("layer.weigth", vec![1.0; 4])]);
    let error = iterative_round(&wrong, &masks, 0.2, false).expect_err("refused");
    assert!(
        matches!(&error, Error::UnknownParameter { nearest: Some(nearest), .. } if nearest == "layer.weigth"),
        "{error}"
    );
    for bad in [vec![1.0; 3], vec![1.0, f64::NAN, 1.0, 1.0], vec![f64::INFINITY; 4]] {
        assert!(iterative_round(&scores(&[("layer.weight", bad)]), &masks, 0.2, false).is_err());
    }
    let fine = scores(&[("layer.weight", vec![1.0; 4])]);
    for rate in [-0.1, 1.0, f64::NAN] {
        assert!(iterative_round(&fine, &masks, rate, false).is_err());
        assert!(one_shot(&fine, &masks, rate).is_err());
    }
    assert!(masks.and(&full(&[("other", &[2, 2])])).is_err());
    assert!(masks.and(&full(&[("layer.weight", &[4])])).is_err());
    let mask = Mask::full(&[3, 2]);
    for extra in [-0.1, 1.1, f64::NAN] {
        assert!(Refill { extra, ..Refill::default() }.apply(&mask, &[1.0; 6]).is_err());
    }
    assert!(Refill::default().apply(&mask, &[1.0; 5]).is_err());
    assert!(Refill::default().apply(&mask, &[f64::NAN; 6]).is_err());
    assert!(Refill::default().by_importance(&mask, &[1.0; 2]).is_err());
    for regroup in [
        Regroup { density_threshold: 0.0, ..Regroup::default() },
        Regroup { density_threshold: f64::NAN, ..Regroup::default() },
        Regroup { row_block: 0, ..Regroup::default() },
        Regroup { parts: Parts::Fixed(0), ..Regroup::default() },
        Regroup { granularity: Granularity::Channel { kernel: 0 }, ..Regroup::default() },
        Regroup { imbalance: -1.0, ..Regroup::default() },
    ] {
        assert!(regroup.apply(&Mask::full(&[64, 18])).is_err(), "{regroup:?}");
    }
    assert!(Regroup::default().apply_partition(&mask, &[0, 1]).is_err());
    // fewer rows than parts, no entry at all, one row
    for odd in [Mask::full(&[3, 9]), Mask::empty(&[64, 9]), Mask::full(&[1, 9]), Mask::full(&[0, 9])] {
        let found = Regroup::default().apply(&odd).expect("a mask");
        assert!(!found.has_blocks() && found.mask == odd);
    }
}

#[test]
fn partitions_refuse_what_cannot_be() {
    for (vertices, parts, imbalance) in [(3, 4, 0.1), (3, 0, 0.1), (0, 1, 0.1), (4, 2, -0.1), (4, 2, f64::NAN)] {
        assert!(hypergraph(vertices, &[], parts, imbalance, 0).is_err(), "{vertices} {parts} {imbalance}");
    }
    assert!(hypergraph(3, &[vec![0, 7]], 2, 0.1, 0).is_err());
    let one = hypergraph(4, &[vec![0, 1, 2, 3]], 1, 0.1, 0).expect("a partition");
    assert_eq!((one.parts, one.cut, one.connectivity), (vec![0; 4], 0, 0));
    // every vertex alone, edges of one vertex and doubled vertices
    let all = hypergraph(3, &[vec![0, 1, 2], vec![1], vec![2, 2]], 3, 0.0, 0).expect("a partition");
    assert_eq!((all.cut, all.connectivity), (1, 2));
}

/// A mask whose rows belong to groups that share columns, and the cost of these groups.
fn planted(seed: u64) -> (usize, Vec<Vec<u32>>, usize, Vec<u32>) {
    let (rows, columns, groups, inside, outside, share) = (128, 288, 4, 0.45, 0.03, 0.3);
    let mut rng = Rng::new(seed);
    let order = rng.permutation(rows);
    let mut group_of = vec![0u32; rows];
    order.iter().enumerate().for_each(|(at, &row)| group_of[row as usize] = (at % groups) as u32);
    let own: Vec<Vec<u32>> =
        (0..groups).map(|_| rng.sample_without_replacement(columns, (columns as f64 * share) as usize)).collect();
    let mut edges = vec![Vec::new(); columns];
    for row in 0..rows {
        for (column, edge) in edges.iter_mut().enumerate() {
            let is_own = own[group_of[row] as usize].contains(&(column as u32));
            if rng.unit() < if is_own { inside } else { outside } {
                edge.push(row as u32);
            }
        }
    }
    let cost = edges
        .iter()
        .map(|edge: &Vec<u32>| {
            let touched: std::collections::BTreeSet<u32> = edge.iter().map(|&row| group_of[row as usize]).collect();
            touched.len().saturating_sub(1)
        })
        .sum();
    (rows, edges, cost, group_of)
}

#[test]
fn planted_groups_are_found() {
    for seed in 0..5 {
        let (rows, edges, cost, _) = planted(seed);
        let found = hypergraph(rows, &edges, 4, 0.1, seed).expect("a partition");
        assert!(found.connectivity as f64 <= 1.05 * cost as f64, "seed {seed}: {} of {cost}", found.connectivity);
        let sizes: Vec<usize> = (0..4).map(|part| found.parts.iter().filter(|&&of| of == part).count()).collect();
        assert!(sizes.iter().all(|&size| size <= 35), "{sizes:?}");
        assert_eq!(found, hypergraph(rows, &edges, 4, 0.1, seed).expect("a partition"));
    }
}

#[test]
fn masks_are_stored_applied_and_combined() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("masks.safetensors");
    let mut masks = full(&[("b.weight", &[2, 3])]);
    masks.insert("a.weight", Mask::new(&[2, 2], vec![1, 0, 0, 1]).expect("a mask"));
    masks.save(&path).expect("saved");
    assert_eq!(Masks::load(&path).expect("read"), masks);
    let bytes = std::fs::read(&path).expect("bytes");
    for cut in [0, 5, bytes.len() - 1] {
        assert!(Masks::parse(&bytes[..cut]).is_err());
    }
    // u8 other than 0 and 1, and another type
    let mut wrong = bytes.clone();
    let last = wrong.len() - 1;
    wrong[last] = 7;
    assert!(Masks::parse(&wrong).is_err());
    let floats = folder.path().join("floats.safetensors");
    let one = std::collections::HashMap::from([("x", Tensor::ones(3, DType::F32, &CPU).expect("ones"))]);
    candle_core::safetensors::save(&one, &floats).expect("saved");
    assert!(Masks::load(&floats).is_err());
    assert!(Masks::load(folder.path().join("none")).is_err());

    let store = ParamStore::new(0, DType::F32, &CPU);
    store.get_with("a.weight", (2, 2), candle_nn::Init::Const(3.0)).expect("a parameter");
    assert!(masks.apply(&store).is_err(), "b.weight is not there");
    store.get_with("b.weight", (2, 3), candle_nn::Init::Const(f64::NAN)).expect("a parameter");
    let both = masks.minus(&full(&[("b.weight", &[2, 3]), ("a.weight", &[2, 2])])).expect("masks");
    assert_eq!(both.count(), 0);
    masks.apply(&store).expect("applied");
    both.apply(&store).expect("applied, NaN too");
    assert!(store.vars().iter().all(|(_, var)| {
        var.flatten_all().and_then(|v| v.to_vec1::<f32>()).expect("numbers").iter().all(|&value| value == 0.0)
    }));
    assert_eq!(masks.or(&both).expect("masks"), masks);
    assert_eq!(masks.for_trainer().expect("masks").num_kept().expect("a count"), masks.count());
    let map = candle_nn::VarMap::new();
    map.data().lock().expect("a lock").extend(store.vars());
    masks.apply_to_var_map(&map).expect("applied");
}

#[test]
fn scores_of_a_network_are_found_by_scope() {
    let store = ParamStore::new(0, DType::F64, &CPU);
    let vb = store.var_builder();
    core_tensor::nn::linear(3, 4, vb.pp("hidden")).expect("a layer");
    core_tensor::nn::linear(4, 2, vb.pp("head")).expect("a layer");
    let chosen = Scope { exclude: vec!["head.*".into()], ..Scope::matching("*.weight") }.select(&store).expect("one");
    assert_eq!(chosen.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["hidden.weight"]);
    assert!(Scope::convolutions().select(&store).is_err());
    assert_eq!(random(&chosen, 1), random(&chosen, 1));
    assert_ne!(random(&chosen, 1), random(&chosen, 2));
    // a quadratic: the Hessian is known
    let x = Var::from_tensor(&Tensor::new(&[[1.0f64, -2.0], [0.5, 3.0]], &CPU).expect("x")).expect("x");
    let parameters = vec![("x".to_owned(), x.clone())];
    let loss = || Ok(core_tensor::ops::sum_all(&core_tensor::ops::sqr(&x)?)?);
    let signed = grasp(&parameters, loss, pruning::scores::GraspForm::Signed).expect("scores");
    // g = 2x, H = 2, so w H g = 4 x²
    for (score, x) in signed["x"].iter().zip([1.0f64, -2.0, 0.5, 3.0]) {
        assert!((score + 4.0 * x * x).abs() < 1e-8, "{score}");
    }
    let flat = || Ok(core_tensor::ops::affine(&core_tensor::ops::sum_all(&x)?, 0.0, 1.0)?);
    assert!(
        grasp(&parameters, flat, pruning::scores::GraspForm::Absolute).expect("scores")["x"].iter().all(|s| *s == 0.0)
    );
    let infinite = || Ok(core_tensor::ops::affine(&core_tensor::ops::sum_all(&x)?, f64::INFINITY, 0.0)?);
    assert!(snip(&parameters, infinite).is_err());
    let nan = vec![("n".to_owned(), Var::from_tensor(&Tensor::new(&[f64::NAN], &CPU).expect("n")).expect("n"))];
    assert!(magnitude(&nan).is_err());
    let weight = Tensor::new(&[[1.0f64, -1.0], [2.0, 0.5]], &CPU).expect("a weight");
    let inputs = Tensor::new(&[[3.0f64, 0.0], [4.0, 1.0]], &CPU).expect("inputs");
    assert_eq!(wanda(&weight, &inputs).expect("scores"), [5.0, 1.0, 10.0, 0.5]);
    assert!(wanda(&weight, &Tensor::zeros((2, 3), DType::F64, &CPU).expect("inputs")).is_err());
    assert_eq!(norm_scale(&Tensor::new(&[1.0f64, -2.0], &CPU).expect("γ")).expect("scores"), [1.0, 2.0]);
}

#[test]
fn pruned_entries_stay_zero_under_momentum_and_decay() {
    use candle_nn::Module;
    use core_tensor::nn;
    use core_tensor::optim::{Adam, AdamConfig, AdamW, Optimizer, Sgd, SgdConfig};
    fn run(make: impl Fn(core_tensor::params::Parameters) -> Box<dyn Optimizer>) {
        struct Boxed(Box<dyn Optimizer>);
        impl Optimizer for Boxed {
            fn parameters(&self) -> &core_tensor::params::Parameters {
                self.0.parameters()
            }
            fn step(&mut self, grads: &candle_core::backprop::GradStore) -> core_tensor::Result<()> {
                self.0.step(grads)
            }
            fn learning_rate(&self) -> f64 {
                self.0.learning_rate()
            }
            fn set_learning_rate(&mut self, learning_rate: f64) {
                self.0.set_learning_rate(learning_rate);
            }
            fn state(&self) -> core_tensor::Result<core_tensor::optim::OptimizerState> {
                self.0.state()
            }
            fn load_state(&mut self, state: &core_tensor::optim::OptimizerState) -> core_tensor::Result<()> {
                self.0.load_state(state)
            }
        }
        let store = ParamStore::new(0, DType::F64, &CPU);
        let layer = nn::linear(6, 5, store.var_builder()).expect("a layer");
        let prunable = Scope::matching("weight").select(&store).expect("a weight");
        let x = Rng::new(1).normal(0.0, 1.0, (7, 6), DType::F64, &CPU).expect("x");
        let loss = || {
            core_tensor::ops::sum_all(&core_tensor::ops::sqr(&layer.forward(&x).expect("y")).expect("y"))
                .expect("a loss")
        };
        let all = full(&[("weight", &[5, 6])]);
        let mut optimizer =
            pruning::MaskedOptimizer::new(Boxed(make(store.trainable())), all.clone()).expect("an optimiser");
        for _ in 0..5 {
            optimizer.backward_step(&loss()).expect("a step");
        }
        let masks = iterative_round(&magnitude(&prunable).expect("scores"), &all, 0.5, true).expect("masks");
        optimizer.set_masks(masks.clone()).expect("masks");
        let zeros = || {
            let weights: Vec<f64> = layer.weight().flatten_all().and_then(|w| w.to_vec1()).expect("weights");
            let kept = masks.get("weight").expect("a mask").kept();
            weights.iter().zip(kept).filter(|(_, kept)| **kept == 0).all(|(weight, _)| *weight == 0.0)
        };
        let saved = optimizer.state().expect("a state");
        for step in 0..100 {
            if step % 2 == 0 {
                optimizer.backward_step(&loss()).expect("a step");
            } else {
                optimizer.step(&core_tensor::backward(&loss()).expect("gradients")).expect("a step");
            }
            assert!(zeros(), "step {step}");
        }
        // a checkpoint without its masks is refused, one with them goes on
        let mut bare = saved.clone();
        bare.tensors.retain(|name, _| !name.starts_with("mask."));
        assert!(optimizer.load_state(&bare).is_err());
        optimizer.load_state(&saved).expect("loaded");
        assert!(zeros() && *optimizer.masks() == masks);
        assert!(optimizer.set_masks(full(&[("other", &[5, 6])])).is_err());
        assert!(optimizer.set_masks(full(&[("weight", &[6, 5])])).is_err());
    }
    let sgd = SgdConfig { learning_rate: 0.01, momentum: 0.9, weight_decay: 0.1, ..SgdConfig::default() };
    run(|p| Box::new(Sgd::new(p, sgd).expect("an optimiser")));
    let adam = AdamConfig { learning_rate: 0.01, weight_decay: 0.1, ..AdamConfig::default() };
    run(|p| Box::new(Adam::new(p, adam).expect("an optimiser")));
    run(|p| Box::new(AdamW::new(p, adam).expect("an optimiser")));
}

#[test]
fn block_sparse_layers_are_masked_ones() {
    use candle_nn::Module;
    use pruning::{Block, BlockSparseLinear, block_sparse_linear};
    let mut rng = Rng::new(2);
    let weight = rng.normal(0.0, 1.0, (64, 30), DType::F64, &CPU).expect("a weight");
    let bias = rng.normal(0.0, 1.0, 64, DType::F64, &CPU).expect("a bias");
    let values: Vec<f64> = weight.flatten_all().and_then(|w| w.to_vec1()).expect("weights");
    let of = scores(&[("w", values.iter().map(|w| w.abs()).collect())]);
    let masks = iterative_round(&of, &full(&[("w", &[64, 30])]), 0.6, true).expect("masks");
    let regroup = Regroup { parts: Parts::PerRows(32), density_threshold: 4.0, ..Regroup::default() };
    let found = regroup.apply(masks.get("w").expect("a mask")).expect("blocks");
    assert!(found.has_blocks());
    let layer = BlockSparseLinear::from_dense(&weight, Some(&bias), &found.blocks).expect("a layer");
    assert_eq!(layer.mask().expect("a mask"), found.mask);
    assert!((layer.density() - found.mask.density()).abs() < 1e-12);
    let mask = found.mask.to_tensor().and_then(|m| Ok(m.to_dtype(DType::F64)?)).expect("a mask");
    let masked = (&weight * mask).expect("a weight");
    for n in [1, 15, 48, 100] {
        let x = rng.normal(0.0, 1.0, (n, 30), DType::F64, &CPU).expect("x");
        let expected = core_tensor::ops::linear(&x, &masked, Some(&bias)).expect("y");
        let y = layer.forward(&x).expect("y");
        let difference = (y - expected).and_then(|d| d.abs()?.max_all()?.to_scalar::<f64>()).expect("a number");
        assert!(difference < 1e-12);
    }
    let store = ParamStore::new(0, DType::F32, &CPU);
    let trained = block_sparse_linear(30, 64, &found.blocks, store.var_builder()).expect("a layer");
    assert_eq!(trained.values().elem_count(), found.mask.count());
    for blocks in [
        vec![Block { rows: vec![64], columns: vec![0] }],
        vec![Block { rows: vec![0], columns: vec![30] }],
        vec![Block { rows: vec![0], columns: vec![0] }, Block { rows: vec![0], columns: vec![1] }],
    ] {
        assert!(BlockSparseLinear::from_dense(&weight, None, &blocks).is_err());
    }
    assert!(BlockSparseLinear::from_dense(&weight, Some(&weight), &found.blocks).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn refilled_layers_have_whole_channels(channels in 1usize..20, columns in 1usize..12, density in 0.0f64..=1.0, extra in 0.0f64..=1.0, seed in any::<u64>()) {
        let mut rng = Rng::new(seed);
        let kept: Vec<u8> = (0..channels * columns).map(|_| u8::from(rng.unit() < density)).collect();
        let mask = Mask::new(&[channels, columns], kept).expect("a mask");
        let refill = Refill { extra, ..Refill::default() };
        let found = refill.apply(&mask, &numbers(channels * columns, seed)).expect("a mask");
        prop_assert!(found.row_counts().iter().all(|&count| count == 0 || count == columns));
        let dense = mask.count() as f64 / columns as f64;
        let expected = ((dense + (channels as f64 - dense) * extra + 1e-9).floor() as usize + 1).min(channels);
        prop_assert_eq!(found.count(), expected * columns);
    }

    #[test]
    fn blocks_are_disjoint_and_wide_enough(rows in 20usize..90, columns in 4usize..40, density in 0.1f64..0.9, parts in 1usize..5, seed in any::<u64>()) {
        let mut rng = Rng::new(seed);
        let kept: Vec<u8> = (0..rows * columns).map(|_| u8::from(rng.unit() < density)).collect();
        let mask = Mask::new(&[rows, columns], kept).expect("a mask");
        for granularity in [Granularity::Column, Granularity::Channel { kernel: 3 }] {
            let regroup = Regroup { parts: Parts::Fixed(parts), min_rows: 4, granularity, ..Regroup::default() };
            let found = regroup.apply(&mask).expect("blocks");
            let mut seen = vec![false; rows];
            for block in &found.blocks {
                for &row in &block.rows {
                    prop_assert!(!seen[row]);
                    seen[row] = true;
                    let outside = (0..columns)
                        .filter(|column| mask.kept()[row * columns + column] == 1 && !block.columns.contains(column))
                        .count();
                    prop_assert!(block.columns.len() as f64 > 1.5 * outside as f64);
                }
            }
            if found.has_blocks() {
                let total: usize = found.blocks.iter().map(|block| block.rows.len() * block.columns.len()).sum();
                prop_assert_eq!(found.mask.count(), total);
            } else {
                prop_assert_eq!(&found.mask, &mask);
            }
        }
    }

    #[test]
    fn partitions_are_balanced_and_their_cost_is_true(vertices in 2usize..40, parts in 1usize..6, edges in 0usize..30, seed in any::<u64>()) {
        let parts = parts.min(vertices);
        let mut rng = Rng::new(seed);
        let edges: Vec<Vec<u32>> = (0..edges)
            .map(|_| {
                let size = rng.below(vertices) + 1;
                rng.sample_without_replacement(vertices, size)
            })
            .collect();
        let found = hypergraph(vertices, &edges, parts, 0.1, seed).expect("a partition");
        let most = vertices.div_ceil(parts).max((vertices.div_ceil(parts) as f64 * 1.1) as usize);
        for part in 0..parts as u32 {
            let size = found.parts.iter().filter(|&&of| of == part).count();
            prop_assert!(size >= 1 && size <= most, "{} of at most {}", size, most);
        }
        let touched = |edge: &Vec<u32>| {
            edge.iter().map(|&vertex| found.parts[vertex as usize]).collect::<std::collections::BTreeSet<_>>().len()
        };
        prop_assert_eq!(found.connectivity, edges.iter().map(|edge| touched(edge) - 1).sum::<usize>());
        prop_assert_eq!(found.cut, edges.iter().filter(|edge| touched(edge) > 1).count());
    }
}

#[test]
fn block_sparse_convolutions_are_masked_ones() {
    use candle_nn::Module;
    use core_tensor::ops::{Conv2dConfig, conv2d};
    use pruning::{Block, BlockSparseConv2d, block_sparse_conv2d};
    let mut rng = Rng::new(3);
    let mut draw = |shape: &[usize]| rng.normal(0.0, 1.0, shape, DType::F64, &CPU).expect("numbers");
    let (weight, bias) = (draw(&[40, 5, 3, 3]), draw(&[40]));
    let values: Vec<f64> = weight.flatten_all().and_then(|w| w.to_vec1()).expect("weights");
    let of = scores(&[("w", values.iter().map(|w| w.abs()).collect())]);
    let masks = iterative_round(&of, &full(&[("w", &[40, 5, 3, 3])]), 0.5, true).expect("masks");
    let regroup = Regroup { parts: Parts::Fixed(2), density_threshold: 4.0, ..Regroup::default() };
    let found = regroup.apply(masks.get("w").expect("a mask")).expect("blocks");
    assert!(found.has_blocks());
    let mask = found.mask.to_tensor().and_then(|m| Ok(m.to_dtype(DType::F64)?)).expect("a mask");
    let masked = (&weight * mask).expect("a weight");
    for stride in [1, 2] {
        let config = Conv2dConfig { padding: (1, 1), stride: (stride, stride), ..Conv2dConfig::default() };
        let layer = BlockSparseConv2d::from_dense(&weight, Some(&bias), &found.blocks, config).expect("a layer");
        assert!((layer.density() - found.mask.density()).abs() < 1e-12);
        let back = (layer.to_dense().expect("a weight") - &masked).and_then(|d| d.abs()?.max_all()?.to_scalar::<f64>());
        assert_eq!(back.expect("a number"), 0.0);
        for n in [1, 15, 16, 17] {
            let x = draw(&[n, 5, 7, 5]);
            let expected = conv2d(&x, &masked, Some(&bias), &config).expect("y");
            let y = layer.forward(&x).expect("y");
            let difference = (y - expected).and_then(|d| d.abs()?.max_all()?.to_scalar::<f64>()).expect("a number");
            assert!(difference < 1e-9, "{difference:e}");
        }
    }
    let store = ParamStore::new(0, DType::F32, &CPU);
    let config = Conv2dConfig::default();
    let trained = block_sparse_conv2d(5, 40, (3, 3), &found.blocks, config, store.var_builder()).expect("a layer");
    assert_eq!(trained.values().elem_count(), found.mask.count());
    let grouped = Conv2dConfig { groups: 5, ..config };
    assert!(block_sparse_conv2d(5, 40, (3, 3), &found.blocks, grouped, store.var_builder()).is_err());
    assert!(block_sparse_conv2d(5, 40, (0, 3), &[], config, store.var_builder()).is_err());
    assert!(block_sparse_conv2d(usize::MAX, 1, (3, 3), &[], config, store.var_builder()).is_err());
    let outside = [Block { rows: vec![0], columns: vec![45] }];
    assert!(BlockSparseConv2d::from_dense(&weight, None, &outside, config).is_err());
    assert!(BlockSparseConv2d::from_dense(&bias, None, &found.blocks, config).is_err());
    assert!(BlockSparseConv2d::from_dense(&weight, Some(&weight), &found.blocks, config).is_err());
}
