//! Masks, channels, blocks and scores against reference values: the authors' functions, and independent programs in f64.
//!
//! The values are in `tests/golden/structured-lottery-tickets`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/structured-lottery-tickets`, where a missing file skips its test.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::Module;
use core_tensor::ops::{self, Conv2dConfig};
use core_tensor::params::ParamStore;
use pruning::scores::{GraspForm, activation_l1, activation_l2, activation_taylor, grasp, magnitude, snip, synflow};
use pruning::{
    Block, BlockRule, BlockSparseConv2d, ChannelCriterion, CompileOptions, Mask, Masks, Network, NetworkBuilder, Parts,
    Refill, Regroup, compile, iterative_round, union,
};
use reproduction::Golden;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

const CPU: Device = Device::Cpu;

fn golden() -> Golden {
    Golden::of("structured-lottery-tickets", env!("CARGO_MANIFEST_DIR"))
}

type File = BTreeMap<String, Tensor>;

fn file(name: &str) -> Option<File> {
    let bytes = golden().read(name)?;
    Some(candle_core::safetensors::load_buffer(&bytes, &CPU).expect("valid safetensors").into_iter().collect())
}

fn meta() -> Option<serde_json::Value> {
    Some(serde_json::from_slice(&golden().read("meta.json")?).expect("JSON"))
}

/// The first parts of names, up to a slash.
fn heads(file: &File) -> BTreeSet<String> {
    file.keys().filter_map(|name| name.split_once('/')).map(|(head, _)| head.to_owned()).collect()
}

/// Names behind a prefix that end so, without both.
fn between(file: &File, start: &str, end: &str) -> Vec<String> {
    file.keys().filter_map(|name| name.strip_prefix(start)?.strip_suffix(end)).map(str::to_owned).collect()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).and_then(|t| t.flatten_all()).and_then(|t| t.to_vec1()).expect("numbers")
}

fn mask(tensor: &Tensor) -> Mask {
    Mask::from_tensor(tensor).expect("a mask")
}

#[test]
fn at_least_one_reference_file_is_there() {
    golden().assert_not_empty();
}

#[test]
fn rounds_of_iterative_pruning_are_exact() {
    let (Some(file), Some(meta)) = (file("imp_masks.safetensors"), meta()) else { return };
    let rate = meta["imp"]["rate"].as_f64().expect("a rate");
    let remaining: Vec<u64> = serde_json::from_value(meta["imp_remaining"].clone()).expect("counts");
    let mut current: Option<Masks> = None;
    for (round, &remaining) in remaining.iter().enumerate() {
        let names = between(&file, &format!("round{round}/"), "/mask");
        assert!(!names.is_empty(), "round {round}");
        let of = |name: &String, what: &str| &file[&format!("round{round}/{name}/{what}")];
        let scores = names
            .iter()
            .map(|name| (name.clone(), values(of(name, "trained_weight")).into_iter().map(f64::abs).collect()))
            .collect();
        let full = || names.iter().map(|name| (name.clone(), Mask::full(of(name, "mask").dims()))).collect();
        let before = current.take().unwrap_or_else(full);
        let after = iterative_round(&scores, &before, rate, false).expect("masks");
        for name in &names {
            assert_eq!(after.get(name), Some(&mask(of(name, "mask"))), "round {round}, {name}");
        }
        assert_eq!(after.count() as u64, remaining);
        assert_eq!(after.minus(&before).expect("masks").count(), 0, "nothing comes back");
        current = Some(after);
    }
}

#[test]
fn refilled_channels_are_exact() {
    let (Some(file), Some(meta)) = (file("refill.safetensors"), meta()) else { return };
    for case in heads(&file) {
        let (criterion, extra) = case.split_once("_rate").expect("a criterion and a rate");
        let criterion = if criterion == "remain" { ChannelCriterion::Remain } else { ChannelCriterion::Magnitude };
        let refill = Refill { criterion, extra: extra.parse().expect("a rate") };
        for layer in between(&file, &format!("{case}/"), "/mask") {
            let of = |what: &str| &file[&format!("{case}/{layer}/{what}")];
            let found = refill.apply(&mask(of("mask")), &values(of("trained_weight"))).expect("a mask");
            assert_eq!(found, mask(of("refilled")), "{case}/{layer}");
            let kept = found.row_counts().iter().filter(|&&count| count > 0).count();
            assert_eq!(Some(kept as u64), meta["refill"][format!("{case}/{layer}")]["kept"].as_u64());
        }
    }
}

#[derive(Deserialize)]
struct StoredBlock {
    rows: Vec<usize>,
    cols: Vec<usize>,
}

#[derive(Deserialize)]
struct Case {
    t1: f64,
    row_block: usize,
    min_rows: usize,
    parts: usize,
    clusters: Vec<Vec<usize>>,
    corrected_blocks: Vec<StoredBlock>,
    hyperedge_cut: usize,
    connectivity_minus_1: usize,
}

#[test]
fn blocks_are_exact_for_all_rules() {
    let (Some(file), Some(meta)) = (file("regroup.safetensors"), meta()) else { return };
    let cases: BTreeMap<String, Case> = serde_json::from_value(meta["regroup"].clone()).expect("cases");
    for (name, case) in cases {
        let of = |what: &str| &file[&format!("{name}/{what}")];
        let layer = mask(of("mask"));
        let parts: Vec<u32> = values(of("partition")).into_iter().map(|part| part as u32).collect();
        let base = Regroup {
            density_threshold: case.t1,
            row_block: case.row_block,
            min_rows: case.min_rows,
            parts: Parts::Fixed(case.parts),
            ..Regroup::default()
        };
        let exact = base.apply_partition(&layer, &parts).expect("blocks");
        assert_eq!(exact.clusters, case.clusters, "{name}");
        assert_eq!(exact.blocks.len(), case.corrected_blocks.len(), "{name}");
        for (found, expected) in exact.blocks.iter().zip(&case.corrected_blocks) {
            assert_eq!(found.rows, expected.rows, "{name}");
            let sorted = |columns: &[usize]| columns.iter().copied().collect::<BTreeSet<_>>();
            assert_eq!(sorted(&found.columns), sorted(&expected.cols), "{name}");
        }
        assert_eq!(union(&layer, &exact.blocks).expect("a mask"), mask(of("corrected_mask")), "{name}");
        if !exact.has_blocks() {
            assert_eq!(exact.mask, layer, "the scattered mask stays");
        }
        for (rule, what) in [
            (BlockRule::OfficialTraining, "official_train_mask"),
            (BlockRule::OfficialInference, "official_inference_block_mask"),
        ] {
            let found = Regroup { rule, ..base }.apply_partition(&layer, &parts).expect("blocks");
            assert_eq!(found.mask, mask(of(what)), "{name}: {rule:?}");
        }
        // what the given partition cuts, and what ours does
        let columns = layer.columns();
        let counts = layer.row_counts();
        let (mut cut, mut connectivity) = (0, 0);
        for column in 0..columns {
            let touched: BTreeSet<u32> = (0..layer.rows())
                .filter(|&row| counts[row] > 0 && layer.kept()[row * columns + column] == 1)
                .map(|row| parts[row])
                .collect();
            cut += usize::from(touched.len() > 1);
            connectivity += touched.len().saturating_sub(1);
        }
        assert_eq!((cut, connectivity), (case.hyperedge_cut, case.connectivity_minus_1), "{name}");
        let own = base.apply(&layer).expect("blocks");
        if exact.has_blocks() {
            assert!(own.has_blocks(), "{name}");
        }
    }
}

/// Rows that keep the same columns are a block.
fn blocks_of(mask: &Mask) -> Vec<Block> {
    let mut rows: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for (row, kept) in mask.kept().chunks_exact(mask.columns()).enumerate() {
        let columns = (0..mask.columns()).filter(|&column| kept[column] == 1).collect();
        rows.entry(columns).or_default().push(row);
    }
    rows.into_iter().filter(|(columns, _)| !columns.is_empty()).map(|(columns, rows)| Block { rows, columns }).collect()
}

#[test]
fn convolutions_in_blocks_are_masked_ones() {
    let Some(file) = file("block_conv.safetensors") else { return };
    let blocks = blocks_of(&mask(&file["mask"]));
    for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-4)] {
        let of = |name: &str| file[name].to_dtype(dtype).expect("numbers");
        for name in file.keys().filter(|name| name.starts_with("output_stride")) {
            let stride = name.trim_start_matches("output_stride").parse().expect("a stride");
            let config = Conv2dConfig { padding: (1, 1), stride: (stride, stride), ..Conv2dConfig::default() };
            let layer = BlockSparseConv2d::from_dense(&of("weight"), None, &blocks, config).expect("a layer");
            let found = layer.forward(&of("input")).expect("an output");
            let (all, stored) = (found.dims()[1], file[name].dims()[1]);
            let step = (all / stored) as u32;
            let every = Tensor::from_iter((0..stored as u32).map(|channel| channel * step), &CPU).expect("channels");
            let found = values(&found.index_select(&every, 1).expect("channels"));
            let expected = values(&file[name]);
            assert_eq!(found.len(), expected.len());
            let largest = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(largest <= tolerance, "{name} in {dtype:?}: {largest:e}");
        }
    }
}

fn variables(file: &File, dtype: DType) -> BTreeMap<String, Var> {
    let of = |name: &String| {
        let values = file[&format!("param/{name}")].to_dtype(dtype).expect("numbers");
        (name.clone(), Var::from_tensor(&values).expect("a variable"))
    };
    between(file, "param/", "").iter().map(of).collect()
}

fn close(name: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    let scale = expected.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    assert_eq!(found.len(), expected.len(), "{name}");
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * scale, "{name}[{at}] = {a}, expected {b} (scale {scale})");
    }
}

fn number(tensor: &Tensor) -> Tensor {
    tensor.to_dtype(DType::U32).expect("labels")
}

#[test]
fn channel_scores_of_activations_are_the_reference_ones() {
    let Some(file) = file("channel_scores.safetensors") else { return };
    for (dtype, tolerance) in [(DType::F64, 1e-9), (DType::F32, 1e-4)] {
        let of = |name: &str| file[name].to_dtype(dtype).expect("numbers");
        let config = Conv2dConfig { padding: (1, 1), ..Conv2dConfig::default() };
        let a = ops::conv2d(&of("input"), &of("conv_weight"), None, &config).expect("activations");
        let a = Var::from_tensor(&a).expect("a variable");
        let pooled = ops::global_avg_pool(&ops::relu(&a).expect("a")).expect("a");
        let logits = ops::linear(&pooled.flatten_from(1).expect("rows"), &of("head_weight"), None).expect("logits");
        let loss = ops::cross_entropy(&logits, &number(&file["labels"])).expect("a loss");
        close("loss", &values(&loss), &values(&file["loss"]), tolerance);
        let gradients = core_tensor::backward(&loss).expect("gradients");
        let gradient = gradients.get(&a).expect("a gradient");
        close("l1", &activation_l1(&a).expect("scores"), &values(&file["score_l1"]), tolerance);
        close("l2", &activation_l2(&a).expect("scores"), &values(&file["score_l2"]), tolerance);
        let taylor = activation_taylor(&a, gradient).expect("scores");
        close("taylor", &taylor, &values(&file["score_taylor"]), tolerance);
    }
}

#[test]
fn scores_before_training_are_the_reference_ones() {
    let Some(file) = file("baseline_scores.safetensors") else { return };
    let vars = variables(&file, DType::F64);
    let all: Vec<(String, Var)> = vars.iter().map(|(name, var)| (name.clone(), var.clone())).collect();
    let prunable: Vec<(String, Var)> = between(&file, "snip/", "")
        .into_iter()
        .map(|name| (name.clone(), vars[&format!("{name}.weight")].clone()))
        .collect();
    assert!(!prunable.is_empty());
    let forward = |x: &Tensor| -> pruning::Result<Tensor> {
        let config = Conv2dConfig { padding: (1, 1), ..Conv2dConfig::default() };
        let mut x = x.clone();
        // in the order of the network, which is not that of the names
        for name in ["conv1", "a", "b"] {
            x = ops::relu(&ops::conv2d(&x, &vars[&format!("{name}.weight")], None, &config)?)?;
        }
        let pooled = ops::global_avg_pool(&x)?.flatten_from(1)?;
        Ok(ops::linear(&pooled, &vars["fc.weight"], Some(&vars["fc.bias"]))?)
    };
    let input = file["input"].to_dtype(DType::F64).expect("numbers");
    let labels = number(&file["labels"]);
    let loss = |divisor: f64| {
        let logits = ops::affine(&forward(&input)?, 1.0 / divisor, 0.0)?;
        Ok(ops::cross_entropy(&logits, &labels)?)
    };
    let before: Vec<Vec<f64>> = all.iter().map(|(_, var)| values(var)).collect();
    let found = [
        ("snip", snip(&prunable, || loss(1.0))),
        ("grasp_signed", grasp(&prunable, || loss(200.0), GraspForm::Signed)),
        ("synflow", {
            let shape: Vec<usize> = [&[1], &input.dims()[1..]].concat();
            let ones = Tensor::ones(shape, DType::F64, &CPU).expect("ones");
            synflow(&all, &prunable, || Ok(ops::sum_all(&forward(&ones)?)?))
        }),
    ];
    for (name, scores) in found {
        let scores = scores.expect("scores");
        for (layer, _) in &prunable {
            let expected = values(&file[&format!("{name}/{layer}")]);
            // the file holds w · (H g); the smallest of −w · (H g) go
            let own = &scores[layer];
            let own: Vec<f64> =
                if name == "grasp_signed" { own.iter().map(|score| -score).collect() } else { own.clone() };
            close(&format!("{name}/{layer}"), &own, &expected, 1e-8);
        }
    }
    let after: Vec<Vec<f64>> = all.iter().map(|(_, var)| values(var)).collect();
    assert_eq!(before, after, "the parameters are as they were");
    let weights = magnitude(&prunable).expect("scores");
    assert!(weights.values().flatten().all(|score| *score >= 0.0));
}

/// The residual network of the file: a stem, blocks `layer1`, …, of which those with a shortcut of their own have stride 2, the mean over the positions, `fc`.
fn residual_network(file: &File) -> pruning::Result<Network> {
    let outputs = |name: &str| file[&format!("param/{name}.weight")].dims()[0];
    let image = file["input"].dims();
    let mut net = NetworkBuilder::new(image[1], image[2], image[3]);
    let normalized = |net: &mut NetworkBuilder, x, names: [&str; 2], stride: usize| {
        let weight = &file[&format!("param/{}.weight", names[0])];
        let (kernel, padding) = (weight.dims()[2], weight.dims()[2] / 2);
        let config = Conv2dConfig { padding: (padding, padding), stride: (stride, stride), ..Conv2dConfig::default() };
        let x = net.conv2d_no_bias(names[0], x, outputs(names[0]), (kernel, kernel), config)?;
        net.batch_norm(names[1], x)
    };
    let x = net.input();
    let x = normalized(&mut net, x, ["conv1", "bn1"], 1)?;
    let mut x = net.relu(x)?;
    for stage in 1.. {
        let name = |of: &str| format!("layer{stage}.{of}");
        if !file.contains_key(&format!("param/{}.weight", name("conv1"))) {
            break;
        }
        let has_shortcut = file.contains_key(&format!("param/{}.weight", name("downsample.0")));
        let stride = if has_shortcut { 2 } else { 1 };
        let y = normalized(&mut net, x, [&name("conv1"), &name("bn1")], stride)?;
        let y = net.relu(y)?;
        let y = normalized(&mut net, y, [&name("conv2"), &name("bn2")], 1)?;
        if has_shortcut {
            x = normalized(&mut net, x, [&name("downsample.0"), &name("downsample.1")], stride)?;
        }
        x = net.add(y, x)?;
        x = net.relu(x)?;
    }
    let x = net.global_average_pool(x)?;
    let x = net.linear("fc", x, outputs("fc"))?;
    net.finish(x)
}

#[test]
fn compaction_is_exact_with_and_without_masked_norms() {
    let Some(file) = file("compaction.safetensors") else { return };
    for (dtype, tolerance) in [(DType::F64, 1e-9), (DType::F32, 1e-4)] {
        let network = residual_network(&file).expect("a network");
        let store = ParamStore::new(0, dtype, &CPU);
        network.build(store.var_builder()).expect("layers");
        for name in between(&file, "param/", "") {
            let values = file[&format!("param/{name}")].to_dtype(dtype).expect("numbers");
            store.set(&name, &values).expect("a parameter");
        }
        let mut masks = Masks::default();
        for name in between(&file, "keep/", "") {
            let kept = values(&file[&format!("keep/{name}")]);
            let name = format!("{name}.weight");
            let weight = &file[&format!("param/{name}")];
            let columns = weight.elem_count() / kept.len();
            let entries = kept.iter().flat_map(|&kept| std::iter::repeat_n(kept as u8, columns)).collect();
            masks.insert(name, Mask::new(weight.dims(), entries).expect("a mask"));
        }
        assert!(!masks.is_empty());
        let with_norms = network.with_norms(&masks).expect("masks");
        let once = file["input"].to_dtype(dtype).expect("images");
        // a few images, and so many that they are computed side by side
        let images = [once.clone(), Tensor::cat(&[&once; 7], 0).expect("images")];
        for (masks, expected) in [(&masks, "logits_bn_untouched"), (&with_norms, "logits_bn_masked")] {
            let compiled = compile(&network, &store, masks, &CompileOptions { repeats: 0, ..Default::default() });
            let compiled = compiled.expect("a compiled network");
            let removed = |layer: &pruning::LayerReport| layer.outputs.1 < layer.outputs.0;
            assert!(compiled.report().layers.iter().any(removed), "channels go");
            let expected = values(&file[expected]);
            for images in &images {
                let found = values(&compiled.forward(images).expect("logits"));
                for found in found.chunks(expected.len()) {
                    close("logits", found, &expected, tolerance);
                }
            }
        }
    }
}
