//! DSTAGNN against reference values: the authors' program, run in f64 without dropout.
//!
//! The values stand in `tests/golden/dstagnn`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/dstagnn`, where a missing file skips its test.
//! Sizes, widths and steps are those of the files. What the files do not hold:
//!
//! | file | setting | value here |
//! |---|---|---|
//! | `stad_los60.safetensors` | which speeds: the first sensors of `los-loop`, the first 60 % of its whole days of 288 steps | as said |
//! | `model_small`, `trajectory.json` | δ of the Huber loss | 1, PyTorch's default |
//! | `parameter_counts.json` | order, filters and widths of the attention | those of the set that lists its parameters, else the paper's defaults |
//! | `windows.safetensors` | which channels | the first ones |

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::{Mode, backward, ops};
use reproduction::Golden;
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use timeseries::dstagnn::{
    ChebyshevBasis, ChebyshevProduct, Dstagnn, DstagnnConfig, GraphConfig, Scaling, SensorGraph, Series, Similarity,
    SimilarityConfig, Windows, aware_graphs, dstagnn, errors_by_horizon, transport,
};

#[path = "dstagnn_golden/parameters.rs"]
mod parameters;

fn golden() -> Golden {
    Golden::of("dstagnn", env!("CARGO_MANIFEST_DIR"))
}

/// The bytes of one file; none, said aloud, where it is not there.
fn read(name: &str) -> Option<Vec<u8>> {
    golden().read(name)
}

fn tensors(name: &str) -> Option<HashMap<String, Tensor>> {
    Some(candle_core::safetensors::load_buffer(&read(name)?, &Device::Cpu).unwrap())
}

fn json(name: &str) -> Option<Value> {
    Some(serde_json::from_slice(&read(name)?).unwrap())
}

fn f64s(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_near(what: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (at, (a, b)) in actual.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what}[{at}]: {a} instead of {b}");
    }
}

#[test]
fn at_least_one_reference_file_is_there() {
    golden().assert_not_empty();
}

#[test]
fn the_distance_and_its_graphs_equal_the_reference() {
    let Some(file) = tensors("stad.safetensors") else { return };
    let flow = &file["flow"];
    let (days, period, nodes) = flow.dims3().unwrap();
    let series = f64s(flow);
    assert_eq!(series.len(), days * period * nodes);
    let expected = f64s(&file["similarity"]);
    // `pair01_p`: two sensors, one digit each
    let pairs: Vec<&str> = file.keys().filter_map(|name| name.strip_prefix("pair")?.strip_suffix("_p")).collect();
    assert!(!pairs.is_empty(), "no pair in stad.safetensors");
    for pair in pairs {
        let get = |part: &str| f64s(&file[&format!("pair{pair}_{part}")]);
        let solved = transport(&get("p"), &get("q"), &get("cost")).unwrap();
        let (i, j): (usize, usize) = (pair[..1].parse().unwrap(), pair[1..].parse().unwrap());
        assert_near(pair, &[1. - solved.cost], &[expected[i * nodes + j]], 1e-9);
    }
    let similarity = Similarity::from_series(&series, nodes, SimilarityConfig { period }).unwrap();
    assert_near("similarity", similarity.values(), &expected, 1e-9);
    let top = file["top"].to_vec1::<i64>().unwrap()[0];
    let config = GraphConfig { sparsity: top as f64 / nodes as f64, ..GraphConfig::default() };
    let (aware, relevance) = aware_graphs(&similarity, config).unwrap();
    assert_eq!(aware.values, f64s(&file["stag"]));
    assert_near("strg", &relevance.values, &f64s(&file["strg"]), 1e-9);
}

#[test]
fn the_distance_on_real_speeds_equals_the_reference() {
    let Some(file) = tensors("stad_los60.safetensors") else { return };
    let Some(data) = std::env::var_os("DATA_DIR") else {
        println!("skipped: DATA_DIR is not set");
        return;
    };
    let path = PathBuf::from(data).join("los-loop/los_speed.csv");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {} is not there", path.display());
        return;
    };
    let nodes = file["similarity"].dims()[0];
    let rows: Vec<Vec<f64>> =
        text.lines().skip(1).map(|line| line.split(',').take(nodes).map(|x| x.parse().unwrap()).collect()).collect();
    let config = SimilarityConfig::default();
    let steps = rows.len() * 6 / 10 / config.period * config.period;
    let series = rows[..steps].concat();
    let similarity = Similarity::from_series(&series, nodes, config).unwrap();
    assert_near("similarity", similarity.values(), &f64s(&file["similarity"]), 1e-8);
}

#[test]
fn chebyshev_bases_equal_the_reference() {
    let Some(file) = tensors("graph.safetensors") else { return };
    let mut cases: Vec<&str> = file.keys().map(|name| name.split('.').next().unwrap()).collect();
    cases.sort_unstable();
    cases.dedup();
    assert!(!cases.is_empty());
    for case in cases {
        let get = |name: &str| f64s(&file[&format!("{case}.{name}")]);
        let graph = SensorGraph::new(get("adj")).unwrap();
        for (name, product) in [("elementwise", ChebyshevProduct::Elementwise), ("matmul", ChebyshevProduct::Matrix)] {
            let prefix = format!("{case}.cheb_{name}.");
            let order = file.keys().filter(|key| key.starts_with(&prefix)).count();
            let basis = ChebyshevBasis::new(&graph, order, product).unwrap();
            assert_near(case, &[basis.lambda_max], &get("lambda_max"), 1e-9);
            assert_near(case, &basis.terms[1], &get("scaled_laplacian"), 1e-9);
            for (k, term) in basis.terms.iter().enumerate() {
                assert_near(&format!("{prefix}{k}"), term, &get(&format!("cheb_{name}.{k}")), 1e-9);
            }
        }
    }
}

fn close(what: &str, dtype: DType, actual: &Tensor, expected: &Tensor) {
    // sums of some hundred terms in another order; in f32 relative to the largest value, since sums cancel
    let (relative, absolute) = match (dtype, what.starts_with("grad.")) {
        (DType::F64, _) => (1e-9, 1e-10),
        (_, false) => (2e-4, 1e-7),
        (_, true) => (2e-3, 1e-7),
    };
    assert_eq!(actual.dims(), expected.dims(), "{what}");
    let (actual, expected) = (f64s(actual), f64s(expected));
    let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
    for (at, (a, b)) in actual.iter().zip(&expected).enumerate() {
        let scale = if dtype == DType::F64 { b.abs() } else { largest };
        assert!((a - b).abs() <= relative * scale + absolute, "{what}[{at}] in {dtype:?}: {a} instead of {b}");
    }
}

/// The numbers between `before` and `after` in the names of tensors, ascending.
fn widths(file: &HashMap<String, Tensor>, before: &str, after: &str) -> Vec<usize> {
    let number = |name: &String| name.strip_prefix(before)?.strip_suffix(after)?.parse().ok();
    let mut widths: Vec<usize> = file.keys().filter_map(number).collect();
    widths.sort_unstable();
    assert!(!widths.is_empty(), "no {before}…{after}");
    widths
}

fn whole(value: &Value, name: &str) -> usize {
    value[name].as_u64().unwrap() as usize
}

fn small(file: &HashMap<String, Tensor>, meta: &Value, dtype: DType) -> (ParamStore, Dstagnn) {
    let config = &meta["config"];
    let config = DstagnnConfig {
        num_nodes: whole(config, "N"),
        input_steps: whole(config, "T"),
        horizon: whole(config, "H"),
        input_channels: file["input"].dims()[2],
        num_blocks: whole(config, "nb_block"),
        filters: whole(config, "F"),
        temporal_heads: whole(config, "n_heads"),
        head_width: whole(config, "d_k"),
        embedding: whole(config, "d_model"),
        ..DstagnnConfig::new(0)
    };
    let order = whole(&meta["config"], "K");
    let basis = ChebyshevBasis::from_terms((0..order).map(|k| f64s(&file[&format!("cheb.{k}")])).collect()).unwrap();
    // the reference rounds its basis through f32
    let own =
        ChebyshevBasis::new(&SensorGraph::new(f64s(&file["stag"])).unwrap(), order, ChebyshevProduct::Elementwise)
            .unwrap();
    for (own, given) in own.terms.iter().zip(&basis.terms) {
        assert_near("basis", own, given, 1e-6);
    }
    let relevance = SensorGraph::new(f64s(&file["strg_mask"])).unwrap();
    let store = ParamStore::new(0, dtype, &Device::Cpu);
    let model = dstagnn(config, &basis, &relevance, store.var_builder()).unwrap();
    let parameters: Vec<_> = file.iter().filter_map(|(name, x)| Some((name.strip_prefix("param.")?, x))).collect();
    assert_eq!(parameters.len(), store.vars().len());
    for (name, value) in parameters {
        store.set(name, &value.to_dtype(dtype).unwrap()).unwrap();
    }
    (store, model)
}

#[test]
fn the_network_equals_the_reference() {
    let (Some(file), Some(meta)) = (tensors("model_small.safetensors"), json("model_small.json")) else { return };
    for dtype in [DType::F64, DType::F32] {
        let (store, model) = small(&file, &meta, dtype);
        let (output, blocks) = model.forward_activations(&file["input"].to_dtype(dtype).unwrap()).unwrap();
        for (l, block) in blocks.iter().enumerate() {
            let expect = |name: &str, actual: Tensor| {
                let name = format!("act.block{l}.{name}");
                close(&name, dtype, &actual, &file[&name]);
            };
            expect("temporal_scores", block.temporal_scores.permute((0, 4, 1, 2, 3)).unwrap());
            expect("temporal_attention_out", block.temporal_attention.permute((0, 3, 2, 1)).unwrap());
            expect("spatial_embedding_out", block.spatial_embedding.clone());
            expect("spatial_scores", block.spatial_scores.transpose(2, 3).unwrap());
            expect("graph_conv_out", block.graph_convolution.transpose(2, 3).unwrap());
            // the units stand one after the other along the time axis, narrow kernels first
            let mut first = 0;
            for width in widths(&file, &format!("act.block{l}.gtu"), "_out") {
                let steps = meta["config"]["T"].as_u64().unwrap() as usize + 1 - width;
                let unit = block.gated_units.narrow(3, first, steps).unwrap().transpose(1, 2).unwrap();
                expect(&format!("gtu{width}_out"), unit);
                first += steps;
            }
            assert_eq!(first, block.gated_units.dims()[3], "steps of the gated units");
            // the reference's is after its activation in both blocks
            let time = block.time_linear.transpose(1, 2).unwrap();
            let expected = &file[&format!("act.block{l}.time_fc_out")];
            let negative = f64s(expected).iter().any(|x| *x < 0.);
            expect("time_fc_out", if negative { time } else { time.relu().unwrap() });
            expect("out", block.out.transpose(2, 3).unwrap());
        }
        close("output", dtype, &output, &file["output"]);
        let loss = ops::huber(&output, &file["target"].to_dtype(dtype).unwrap(), 1.).unwrap();
        close("loss", dtype, &loss.reshape(1).unwrap(), &file["loss"]);
        let grads = backward(&loss).unwrap();
        let unused: Vec<&str> =
            meta["unused_parameters"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
        for (name, var) in store.trainable() {
            match grads.get(&var) {
                Some(grad) => close(&format!("grad.{name}"), dtype, grad, &file[&format!("grad.{name}")]),
                None => assert!(unused.contains(&name.as_str()), "{name}"),
            }
        }
    }
}

#[test]
fn the_steps_of_adam_equal_the_reference() {
    let (Some(file), Some(meta)) = (tensors("model_small.safetensors"), json("model_small.json")) else { return };
    let Some(trajectory) = json("trajectory.json") else { return };
    let (store, model) = small(&file, &meta, DType::F64);
    // "Adam lr=1e-3 betas=(0.9,0.999) eps=1e-8, …"
    let optimizer = trajectory["optimizer"].as_str().unwrap();
    let setting = |name: &str| {
        let rest = optimizer.split_once(name).unwrap_or_else(|| panic!("no {name} in {optimizer:?}")).1;
        let end = rest.find([',', ' ', ')']).unwrap_or(rest.len());
        (rest[..end].parse::<f64>().unwrap(), &rest[end..])
    };
    let (learning_rate, eps) = (setting("lr=").0, setting("eps=").0);
    let (beta1, rest) = setting("betas=(");
    let beta2 = rest[1..].split(')').next().unwrap().trim().parse().unwrap();
    let config = AdamConfig { learning_rate, beta1, beta2, eps, ..AdamConfig::default() };
    let mut adam = Adam::new(store.trainable(), config).unwrap();
    let losses = trajectory["loss_before_step_0_to_20"].as_array().unwrap();
    let mut output = Vec::new();
    for (step, expected) in losses.iter().enumerate() {
        let y = model.forward(&file["input"], &mut Mode::evaluate()).unwrap();
        let loss = ops::huber(&y, &file["target"], 1.).unwrap();
        let (actual, expected) = (loss.to_scalar::<f64>().unwrap(), expected.as_f64().unwrap());
        assert!((actual / expected - 1.).abs() < 1e-6, "step {step}: {actual} instead of {expected}");
        output = f64s(&y);
        adam.backward_step(&loss).unwrap();
    }
    let (_, last) = trajectory.as_object().unwrap().iter().find(|(name, _)| name.contains("output")).unwrap();
    for (actual, expected) in output.iter().zip(last.as_array().unwrap()) {
        let expected = expected.as_f64().unwrap();
        assert!((actual - expected).abs() <= 1e-6 * expected.abs().max(1e-3), "{actual} instead of {expected}");
    }
}

#[test]
fn windows_and_their_normalisation_equal_the_reference() {
    let Some(file) = tensors("windows.safetensors") else { return };
    let data = &file["data"];
    let (_, nodes, channels) = data.dims3().unwrap();
    let &[_, _, kept, input_steps] = file["train.x"].dims() else {
        panic!("train.x is [windows, nodes, channels, steps]")
    };
    let horizon = file["train.target"].dims()[2];
    let values = f64s(data).chunks(channels).flat_map(|channels| channels[..kept].to_vec()).collect();
    let series = Series::new(values, nodes, kept).unwrap();
    let windows = Windows::new(&series, input_steps, horizon).unwrap();
    let split = windows.split();
    let scaler = windows.scaler(split[0].clone(), Scaling::PerChannel).unwrap();
    assert_near("mean", &scaler.mean, &f64s(&file["mean"]), 1e-12 * scaler.mean[0].abs());
    assert_near("std", &scaler.deviation, &f64s(&file["std"]), 1e-12 * scaler.deviation[0]);
    for (name, starts) in ["train", "val", "test"].into_iter().zip(split) {
        let starts: Vec<usize> = starts.collect();
        let expected: Vec<usize> =
            f64s(&file[&format!("{name}.timestamp")]).iter().map(|&start| start as usize).collect();
        assert_eq!(starts, expected);
        let batch = windows.batch(&starts, &scaler, DType::F64, &Device::Cpu).unwrap();
        assert_near(name, &f64s(&batch.x), &f64s(&file[&format!("{name}.x")]), 1e-12);
        assert_eq!(f64s(&batch.target), f64s(&file[&format!("{name}.target")]));
        assert!(batch.mask.is_none());
    }
}

#[test]
fn errors_of_forecasts_equal_the_reference() {
    let Some(file) = json("metrics.json") else { return };
    fn flat(value: &Value, out: &mut Vec<f64>) {
        match value.as_array() {
            Some(values) => values.iter().for_each(|value| flat(value, out)),
            None => out.push(value.as_f64().unwrap()),
        }
    }
    let numbers = |name: &str| {
        let mut out = Vec::new();
        flat(&file[name], &mut out);
        out
    };
    let (prediction, target) = (numbers("prediction"), numbers("target"));
    let horizons = file["per_horizon"].as_array().unwrap();
    let (all, each) = errors_by_horizon(&prediction, &target, horizons.len()).unwrap();
    for (errors, expected) in each.iter().chain([&all]).zip(horizons.iter().chain([&file["overall"]])) {
        for (actual, name) in [(errors.mae, "mae"), (errors.rmse, "rmse"), (errors.mape, "mape_percent")] {
            // the reference computes in f32
            assert!((actual / expected[name].as_f64().unwrap() - 1.).abs() < 1e-5, "{name}: {actual}");
        }
    }
    let tensor = |values: &[f64], factor: f64| {
        let values: Vec<f64> = values.iter().map(|x| x * factor).collect();
        Tensor::from_vec(values, prediction.len(), &Device::Cpu).unwrap()
    };
    let loss = |factor: f64| {
        let loss = ops::huber(&tensor(&prediction, factor), &tensor(&target, factor), 1.).unwrap();
        loss.to_scalar::<f64>().unwrap()
    };
    let scaled = &file["smooth_l1_scaled_inputs"];
    assert!((loss(1.) / file["smooth_l1"].as_f64().unwrap() - 1.).abs() < 1e-12);
    assert!((loss(scaled["scale"].as_f64().unwrap()) / scaled["value"].as_f64().unwrap() - 1.).abs() < 1e-12);
}

#[test]
fn the_largest_eigenvalue_of_the_published_graph_is_found() {
    let Some(data) = std::env::var_os("DATA_DIR") else {
        println!("skipped: DATA_DIR is not set");
        return;
    };
    let path = PathBuf::from(data).join("pems-graphs/PEMS04_stag_published.csv.gz");
    let Ok(bytes) = datasets::archive::read(&path) else {
        println!("skipped: {} is not there", path.display());
        return;
    };
    let options = datasets::table::TableConfig { has_header: false, ..Default::default() };
    let graph = SensorGraph::new(datasets::table::parse_numeric(&bytes, &options).unwrap().values).unwrap();
    assert_eq!(graph.num_nodes, 307);
    let basis = ChebyshevBasis::new(&graph, 3, ChebyshevProduct::Elementwise).unwrap();
    // the reference's solver starts from a random vector and agrees with itself to about 1e-10
    assert_near("lambda_max", &[basis.lambda_max], &[3.868974972778469], 1e-9);
}
