//! LaGraph, the other objectives, augmentations, probes: gradients, properties, named cases from public reports, hostile input.

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::gradcheck::gradcheck;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::sparse::Segments;
use gnn::augment::{
    Augmentation, drop_edges, drop_nodes, mask_entries, mask_features, random_walk_subgraph, select_rows,
};
use gnn::conv::ConvolutionKind;
use gnn::encoder::Readout;
use gnn::lagraph::{DecoderKind, LaGraphConfig, MaskMode, Masking, OutputActivation, Reconstruction, Target, lagraph};
use gnn::probe::{self, NodeProbe, Selection};
use gnn::self_supervised::{
    Collapse, EncoderConfig, FitOptions, Level, NormStatistics, Objective, SelfSupervised, Shuffle, Unlabelled, grace,
    info_graph, jensen_shannon_views, nt_xent, nt_xent_symmetric,
};
use gnn::{Adjacency, Batch, Error, Features, Graph, Mode};
use proptest::prelude::*;
use std::ops::ControlFlow;

const CPU: Device = Device::Cpu;

fn normal(seed: u64, shape: impl Into<candle_core::Shape>) -> Tensor {
    Rng::new(seed).normal(0.0, 1.0, shape, DType::F64, &CPU).expect("numbers")
}

fn ring(n: u32) -> Graph {
    Graph::from_edges(n as usize, &(0..n).map(|v| (v, (v + 1) % n)).collect::<Vec<_>>()).expect("a ring")
}

fn random_graph(n: usize, edges: usize, seed: u64) -> Graph {
    let mut rng = Rng::new(seed);
    let edges: Vec<(u32, u32)> = (0..edges).map(|_| (rng.below(n) as u32, rng.below(n) as u32)).collect();
    Graph::from_edges(n, &edges).expect("a graph")
}

fn largest(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let difference = (a - b).and_then(|d| d.abs()?.flatten_all()?.max(0)?.to_dtype(DType::F64)?.to_scalar::<f64>());
    difference.expect("a difference")
}

/// Compressed rows of the entries that are not 0.
fn sparse(x: &Tensor) -> Features {
    let rows: Vec<Vec<f64>> = x.to_dtype(DType::F64).and_then(|x| x.to_vec2()).expect("rows");
    let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
    for row in &rows {
        for (column, &value) in row.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            columns.push(column as u32);
            values.push(value as f32);
        }
        offsets.push(columns.len());
    }
    Features::from_csr(x.dims()[1], &offsets, &columns, &values, x.dtype(), &CPU).expect("features")
}

/// Features of which two thirds are 0 and the others whole numbers.
fn bag(n: usize, width: usize, seed: u64) -> Tensor {
    let mut rng = Rng::new(seed);
    let values: Vec<f64> = (0..n * width).map(|_| (rng.below(9) as f64 - 5.0).max(0.0)).collect();
    Tensor::from_vec(values, (n, width), &CPU).expect("features")
}

fn small(level: Level) -> LaGraphConfig {
    let base = match level {
        Level::Node => LaGraphConfig::nodes(5),
        Level::Graph => LaGraphConfig::graphs(5),
    };
    LaGraphConfig { hidden: 4, layers: 2, decoder_layers: 2, ..base }
}

#[test]
fn gradients_of_both_losses_are_right() {
    let graph = random_graph(9, 14, 1);
    let batch = {
        let adjacency = Adjacency::from_graph(&graph, DType::F64, &CPU).expect("an adjacency");
        Batch::new(adjacency, &[0, 0, 0, 0, 1, 1, 1, 1, 1], 2).expect("a batch")
    };
    for level in [Level::Node, Level::Graph] {
        for (decoder, encoder, reconstruction, output_activation) in [
            (DecoderKind::Mlp, ConvolutionKind::Gcn, Reconstruction::MeanSquared, OutputActivation::Relu),
            (DecoderKind::Mlp, ConvolutionKind::Gin, Reconstruction::MeanSquared, OutputActivation::None),
            (DecoderKind::Gnn, ConvolutionKind::Gin, Reconstruction::CrossEntropy, OutputActivation::None),
            (DecoderKind::Gnn, ConvolutionKind::Sage, Reconstruction::MeanSquared, OutputActivation::None),
        ] {
            let config = LaGraphConfig { decoder, encoder, reconstruction, output_activation, ..small(level) };
            let store = ParamStore::new(3, DType::F64, &CPU);
            let model = lagraph(config.clone(), store.var_builder()).expect("a model");
            let x = bag(9, 5, 2);
            for features in [Features::dense(x.clone()).expect("features"), sparse(&x)] {
                let view = config.masking;
                let view = Masking { ratio: 0.5, ..view }.draw(&features, &[4, 5], &mut Rng::new(4)).expect("a view");
                assert_eq!(view.nodes.len(), 4);
                let target = Target::new(&features);
                let still = Mode::recalibrate().without_updates();
                // finite differences of some parameters
                let vars: Vec<(String, Var)> = store.vars();
                let loss = || model.loss(&batch, &target, &view, &still).expect("a loss").total;
                let gradients = core_tensor::gradcheck::backward_both(&loss()).expect("gradients");
                let value = || loss().to_scalar::<f64>().expect("a number");
                for (name, var) in vars.iter().filter(|(name, _)| !name.contains("running")) {
                    let gradient = match gradients.get(var) {
                        Some(gradient) => gradient.flatten_all().and_then(|g| g.to_vec1::<f64>()).expect("numbers"),
                        None => vec![0.0; var.elem_count()],
                    };
                    let start = var.as_detached_tensor().copy().expect("a copy");
                    let flat: Vec<f64> = start.flatten_all().and_then(|v| v.to_vec1()).expect("numbers");
                    let at = flat.len() / 2;
                    let step = 1e-6;
                    let moved = |sign: f64| {
                        let mut values = flat.clone();
                        values[at] += sign * step;
                        var.set(&Tensor::from_vec(values, var.shape(), &CPU).expect("values")).expect("set");
                        value()
                    };
                    let numeric = (moved(1.0) - moved(-1.0)) / (2.0 * step);
                    var.set(&start).expect("set");
                    let (found, scale) = (gradient[at], gradient[at].abs().max(1.0));
                    assert!((found - numeric).abs() < 2e-6 * scale, "{level:?} {name}: {found} {numeric}");
                }
            }
        }
    }
}

#[test]
fn nothing_masked_is_no_difference_and_no_nan() {
    let graph = ring(7);
    for level in [Level::Node, Level::Graph] {
        for ratio in [0.0, 0.1] {
            // 0.1 of 7 nodes is none
            let config = LaGraphConfig { masking: Masking { ratio, ..small(level).masking }, ..small(level) };
            let store = ParamStore::new(0, DType::F64, &CPU);
            let model = lagraph(config.clone(), store.var_builder()).expect("a model");
            let batch = Batch::single(&graph, DType::F64, &CPU).expect("a batch");
            let features = Features::dense(bag(7, 5, 1)).expect("features");
            let view = config.masking.draw(&features, &[7], &mut Rng::new(0)).expect("a view");
            assert!(view.nodes.is_empty());
            let still = Mode::recalibrate().without_updates();
            let loss = model.loss(&batch, &Target::new(&features), &view, &still).expect("a loss");
            assert_eq!(loss.invariance.to_scalar::<f64>().expect("a number"), 0.0);
            let whole = core_tensor::gradcheck::backward_both(&loss.total).expect("gradients");
            let alone = core_tensor::gradcheck::backward_both(&loss.reconstruction).expect("gradients");
            for (name, var) in store.vars() {
                if let Some(gradient) = whole.get(&var) {
                    let expected = alone.get(&var).unwrap_or_else(|| panic!("{name}"));
                    assert!(largest(gradient, expected) < 1e-12, "{name}");
                }
            }
        }
    }
}

#[test]
fn masks_have_their_counts_and_leave_the_rest_alone() {
    let x = bag(50, 6, 1);
    for features in [Features::dense(x.clone()).expect("features"), sparse(&x)] {
        for (mode, ratio) in [(MaskMode::Rows, 0.29), (MaskMode::OneHot, 0.1), (MaskMode::Rows, 1.0)] {
            let view = Masking { mode, ratio, std: 0.7 }.draw(&features, &[30, 20], &mut Rng::new(5)).expect("a view");
            let count = |n: usize| ((ratio * n as f64) + 1e-9).floor() as usize;
            assert_eq!(view.nodes.iter().filter(|&&node| node < 30).count(), count(30));
            assert_eq!(view.nodes.iter().filter(|&&node| node >= 30).count(), count(20));
            let dense = view.features.to_dense().expect("features");
            for node in 0..50u32 {
                let (ours, theirs) = (dense.get(node as usize).expect("a row"), x.get(node as usize).expect("a row"));
                if !view.nodes.contains(&node) {
                    assert_eq!(ours.to_vec1::<f64>().expect("a row"), theirs.to_vec1::<f64>().expect("a row"));
                } else if mode == MaskMode::OneHot {
                    let row = ours.to_vec1::<f64>().expect("a row");
                    assert_eq!(row.iter().sum::<f64>(), 1.0);
                    assert!(row.iter().all(|value| [0.0, 1.0].contains(value)));
                }
            }
        }
        let all = Masking { mode: MaskMode::Entries, ratio: 0.4, std: 1.0 };
        let view = all.draw(&features, &[50], &mut Rng::new(5)).expect("a view").features.to_dense().expect("features");
        let changed = (view - &x).and_then(|d| d.ne(0.0)?.to_dtype(DType::F64)?.mean_all()?.to_scalar::<f64>());
        assert!((changed.expect("a share") - 0.4).abs() < 0.1);
    }
}

#[test]
fn hostile_masks_are_errors() {
    let features = Features::dense(bag(5, 3, 1)).expect("features");
    for (ratio, std) in [(-0.1, 0.5), (1.1, 0.5), (f64::NAN, 0.5), (0.5, -1.0), (0.5, f64::NAN)] {
        for mode in [MaskMode::Rows, MaskMode::Entries, MaskMode::OneHot] {
            let error = Masking { mode, ratio, std }.draw(&features, &[5], &mut Rng::new(0)).expect_err("refused");
            assert!(error.to_string().contains("masking"), "{error}");
        }
    }
    let masking = LaGraphConfig::nodes(3).masking;
    assert!(masking.draw(&features, &[4], &mut Rng::new(0)).is_err());
    let error = "ce2".parse::<Reconstruction>().expect_err("refused");
    assert!(error.to_string().contains("Kullback-Leibler"), "{error}");
    assert!(LaGraphConfig::official("tu-unknown", 3).is_err());
}

#[test]
fn nodes_may_have_other_numbers() {
    let (n, mut rng) = (12, Rng::new(3));
    let graph = random_graph(n, 20, 2);
    let x = bag(n, 5, 3);
    let order = rng.permutation(n);
    let mut place = vec![0u32; n];
    order.iter().enumerate().for_each(|(at, &node)| place[node as usize] = at as u32);
    let moved: Vec<(u32, u32)> = graph.edges().map(|(u, v, _)| (place[u as usize], place[v as usize])).collect();
    let moved = Graph::from_edges(n, &moved).expect("a graph");
    let index = Tensor::new(order.clone(), &CPU).expect("an index");
    let there = x.index_select(&index, 0).expect("rows");
    for convolution in [ConvolutionKind::Gcn, ConvolutionKind::Gin, ConvolutionKind::Sage] {
        for statistics in [NormStatistics::Batch, NormStatistics::Running] {
            let config = EncoderConfig { hidden: 4, convolution, statistics, ..EncoderConfig::nodes(5) };
            let model = SelfSupervised::new(config, 1, DType::F64, &CPU).expect("a model");
            let of = |graph: &Graph, x: &Tensor| {
                let data = Unlabelled::nodes(graph, Features::dense(x.clone()).expect("features")).expect("data");
                model.embed(&data).expect("embeddings")
            };
            let here = of(&graph, &x).index_select(&index, 0).expect("rows");
            assert!(largest(&here, &of(&moved, &there)) < 1e-10);
        }
    }
    let config = EncoderConfig { hidden: 4, ..EncoderConfig::graphs(5) };
    let model = SelfSupervised::new(config, 1, DType::F64, &CPU).expect("a model");
    let of = |graph: &Graph, x: &Tensor| {
        model
            .embed(&Unlabelled::graphs(std::slice::from_ref(graph), vec![x.clone()]).expect("data"))
            .expect("embeddings")
    };
    assert!(largest(&of(&graph, &x), &of(&moved, &there)) < 1e-10);
}

#[test]
fn without_its_weight_the_second_view_does_not_count() {
    let config = LaGraphConfig { alpha: 0.0, ..small(Level::Node) };
    let store = ParamStore::new(0, DType::F64, &CPU);
    let model = lagraph(config, store.var_builder()).expect("a model");
    let (batch, features) =
        (Batch::single(&ring(6), DType::F64, &CPU).expect("a batch"), Features::dense(bag(6, 5, 1)).expect("features"));
    let still = Mode::recalibrate().without_updates();
    let loss = |seed: u64| {
        let masking = Masking { mode: MaskMode::Rows, ratio: 0.5, std: 3.0 };
        let view = masking.draw(&features, &[6], &mut Rng::new(seed)).expect("a view");
        let loss = model.loss(&batch, &Target::new(&features), &view, &still).expect("a loss");
        loss.total.to_scalar::<f64>().expect("a number")
    };
    assert_eq!(loss(1), loss(2));
}

#[test]
fn contrastive_losses_have_right_gradients() {
    let (u, v) = (normal(1, (5, 4)), normal(2, (5, 4)));
    gradcheck(|x| Ok(nt_xent(&x[0], &x[1], 0.5).map_err(candle_core::Error::from)?), &[u.clone(), v.clone()]).unwrap();
    gradcheck(|x| Ok(nt_xent_symmetric(&x[0], &x[1], 0.2).map_err(candle_core::Error::from)?), &[u.clone(), v.clone()])
        .unwrap();
    gradcheck(|x| Ok(grace(&x[0], &x[1], 0.5).map_err(candle_core::Error::from)?), &[u.clone(), v.clone()]).unwrap();
    gradcheck(|x| Ok(jensen_shannon_views(&x[0], &x[1]).map_err(candle_core::Error::from)?), &[u.clone(), v]).unwrap();
    let segments = Segments::new(&[0, 0, 1, 2, 2, 4, 4], 5).expect("segments");
    let nodes = normal(3, (7, 4));
    gradcheck(|x| Ok(info_graph(&x[0], &x[1], &segments).map_err(candle_core::Error::from)?), &[u, nodes]).unwrap();
}

/// The whole similarity matrix at once.
fn grace_at_once(u: &Tensor, v: &Tensor, temperature: f64) -> candle_core::Result<Tensor> {
    let unit = |x: &Tensor| x.broadcast_div(&x.sqr()?.sum_keepdim(1)?.sqrt()?);
    let (u, v) = (unit(u)?, unit(v)?);
    let n = u.dims()[0];
    let off = Tensor::eye(n, u.dtype(), &CPU)?.affine(-1.0, 1.0)?;
    let one = |a: &Tensor, b: &Tensor| -> candle_core::Result<Tensor> {
        let across = (a.matmul(&b.t()?)? / temperature)?;
        let own = ((a.matmul(&a.t()?)? / temperature)?.exp()? * &off)?;
        let positive = (across.clone() * Tensor::eye(n, u.dtype(), &CPU)?)?.sum(1)?;
        ((own.sum(1)? + across.exp()?.sum(1)?)?.log()? - positive)?.mean_all()
    };
    (one(&u, &v)? + one(&v, &u)?)? * 0.5
}

#[test]
fn contrast_in_blocks_is_contrast_at_once() {
    let (u, v) = (normal(1, (500, 16)), normal(2, (500, 16)));
    let (found, whole) = (grace(&u, &v, 0.4).expect("a loss"), grace_at_once(&u, &v, 0.4).expect("a loss"));
    assert!(largest(&found, &whole) < 1e-9);
}

#[test]
fn contrast_of_many_rows_stays_small() {
    // a matrix of similarities would take 1.6 GB, and four of them are needed at once
    let var = |seed: u64| {
        let x = Rng::new(seed).normal(0.0, 1.0, (6000, 32), DType::F32, &CPU).expect("rows");
        Var::from_tensor(&x).expect("a variable")
    };
    let (u, v) = (var(1), var(2));
    let before = resident();
    let loss = grace(&u, &v, 0.5).expect("a loss");
    let gradients = core_tensor::backward(&loss).expect("gradients");
    assert!(gradients.get(&u).is_some());
    if let (Some(before), Some(after)) = (before, resident()) {
        assert!(after.saturating_sub(before) < 300 << 20, "{before} {after}");
    }
}

/// The most bytes of memory that this process has had.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

#[test]
fn contrast_of_one_row_is_an_error_that_names_the_batch() {
    let one = normal(1, (1, 4));
    for error in [
        nt_xent(&one, &one, 0.5).expect_err("refused"),
        grace(&one, &one, 0.5).expect_err("refused"),
        jensen_shannon_views(&one, &one).expect_err("refused"),
    ] {
        assert!(error.to_string().contains("batch of 1"), "{error}");
    }
    let (two, other) = (normal(1, (2, 4)), normal(1, (3, 4)));
    assert!(nt_xent(&two, &other, 0.5).is_err());
    for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(grace(&two, &two, temperature).is_err());
    }
    // rows of zeros have no direction, and no NaN
    let zeros = Tensor::zeros((3, 4), DType::F64, &CPU).expect("zeros");
    assert!(grace(&zeros, &zeros, 0.5).and_then(|l| Ok(l.to_scalar::<f64>()?)).expect("a loss").is_finite());
}

fn graphs() -> (Vec<Graph>, Vec<Tensor>) {
    let graphs: Vec<Graph> =
        (4..16).map(|n| if n % 2 == 0 { ring(n) } else { random_graph(n as usize, 9, 5) }).collect();
    let features = graphs.iter().enumerate().map(|(at, graph)| bag(graph.num_nodes(), 3, at as u64)).collect();
    (graphs, features)
}

fn objectives(level: Level, config: &EncoderConfig) -> Vec<Objective> {
    match level {
        Level::Graph => {
            let own = LaGraphConfig { hidden: config.hidden, ..LaGraphConfig::graphs(config.inputs) };
            vec![Objective::LaGraph(own), Objective::graph_cl(), Objective::InfoGraph]
        }
        Level::Node => {
            let own = LaGraphConfig { hidden: config.hidden, ..LaGraphConfig::nodes(config.inputs) };
            vec![
                Objective::LaGraph(own),
                Objective::grace(),
                Objective::Dgi,
                Objective::bgrl(),
                Objective::Gae,
                Objective::Vgae,
            ]
        }
    }
}

#[test]
fn every_objective_trains_and_follows_its_seed() {
    let (graphs, features) = graphs();
    let many = Unlabelled::graphs(&graphs, features).expect("data");
    let x = bag(30, 3, 1);
    let whole = Unlabelled::nodes(&random_graph(30, 60, 1), sparse(&x)).expect("data");
    for (level, data) in [(Level::Graph, &many), (Level::Node, &whole)] {
        let base = if level == Level::Graph { EncoderConfig::graphs(3) } else { EncoderConfig::nodes(3) };
        let config = EncoderConfig { hidden: 8, ..base };
        for objective in objectives(level, &config) {
            let run = |seed: u64| {
                let mut model = SelfSupervised::new(config.clone(), 1, DType::F64, &CPU).expect("a model");
                let before = model.embed(data).expect("embeddings");
                let options = FitOptions { epochs: 3, batch_size: 5, seed, ..FitOptions::default() };
                let summary =
                    model.fit(data, &objective, &options, |_, _| Ok(ControlFlow::Continue(()))).expect("a training");
                assert!(summary.epochs.iter().all(|epoch| epoch.loss.is_finite() && epoch.collapse.is_some()));
                assert!((1..=3).contains(&summary.best_epoch));
                let after = model.embed(data).expect("embeddings");
                assert!(largest(&before, &after) > 1e-6, "{} trains nothing", objective.name());
                after
            };
            assert_eq!(largest(&run(4), &run(4)), 0.0, "{}", objective.name());
            assert!(largest(&run(4), &run(5)) > 0.0, "{} ignores its seed", objective.name());
        }
    }
}

#[test]
fn a_training_step_is_on_our_tape() {
    for level in [Level::Node, Level::Graph] {
        for decoder in [DecoderKind::Mlp, DecoderKind::Gnn] {
            let config = LaGraphConfig { decoder, ..small(level) };
            let store = ParamStore::new(0, DType::F64, &CPU);
            let model = lagraph(config.clone(), store.var_builder()).expect("a model");
            let batch = Batch::single(&ring(8), DType::F64, &CPU).expect("a batch");
            let features = sparse(&bag(8, 5, 1));
            let view =
                Masking { ratio: 0.5, ..config.masking }.draw(&features, &[8], &mut Rng::new(0)).expect("a view");
            let loss = model.loss(&batch, &Target::new(&features), &view, &Mode::recalibrate()).expect("a loss");
            let foreign = core_tensor::tape::foreign(&loss.total);
            assert!(foreign.is_empty(), "{level:?} {decoder:?}: {foreign:?}");
        }
    }
    let vars = [1, 2].map(|seed| Var::from_tensor(&normal(seed, (6, 4))).expect("a variable"));
    for loss in [grace(&vars[0], &vars[1], 0.5), jensen_shannon_views(&vars[0], &vars[1])] {
        assert!(core_tensor::tape::foreign(&loss.expect("a loss")).is_empty());
    }
}

#[test]
fn objectives_one_after_the_other_have_heads_of_their_own() {
    let data =
        Unlabelled::nodes(&random_graph(20, 40, 1), Features::dense(bag(20, 3, 1)).expect("features")).expect("data");
    let config = EncoderConfig { hidden: 6, ..EncoderConfig::nodes(3) };
    let mut model = SelfSupervised::new(config, 1, DType::F64, &CPU).expect("a model");
    let options = FitOptions { epochs: 2, ..FitOptions::default() };
    let mut fit = |objective: Objective| {
        model.fit(&data, &objective, &options, |_, _| Ok(ControlFlow::Continue(()))).expect("a training");
        model.store().snapshot().expect("a snapshot")
    };
    let first = fit(Objective::grace());
    let second = fit(Objective::bgrl());
    for (name, value) in &first {
        let is_head = name.starts_with("head.");
        assert_eq!(largest(value, &second[name]) == 0.0, is_head, "{name}");
    }
    assert!(second.len() > first.len());
}

#[test]
fn embeddings_are_in_the_order_of_the_input_and_change_nothing() {
    let (graphs, features) = graphs();
    let data = Unlabelled::graphs(&graphs, features.clone()).expect("data");
    let config = EncoderConfig { hidden: 8, ..EncoderConfig::graphs(3) };
    let mut model = SelfSupervised::new(config.clone(), 1, DType::F64, &CPU).expect("a model");
    let objective = objectives(Level::Graph, &config).swap_remove(0);
    for shuffle in [Shuffle::EachEpoch, Shuffle::Once] {
        let options = FitOptions { epochs: 2, batch_size: 5, shuffle, ..FitOptions::default() };
        model.fit(&data, &objective, &options, |_, _| Ok(ControlFlow::Continue(()))).expect("a training");
        let all = model.embed(&data).expect("embeddings");
        for (at, (graph, x)) in graphs.iter().zip(&features).enumerate() {
            let one = Unlabelled::graphs(std::slice::from_ref(graph), vec![x.clone()]).expect("data");
            let alone = model.embed(&one).expect("an embedding");
            assert!(largest(&alone, &all.narrow(0, at, 1).expect("a row")) < 1e-10);
        }
    }
    // statistics of the batch for embeddings: nothing moves either
    for statistics in [NormStatistics::Batch, NormStatistics::Running] {
        let config = EncoderConfig { hidden: 8, statistics, ..EncoderConfig::nodes(3) };
        let model = SelfSupervised::new(config, 1, DType::F64, &CPU).expect("a model");
        let data = Unlabelled::nodes(&ring(9), Features::dense(bag(9, 3, 2)).expect("features")).expect("data");
        let before = model.store().snapshot().expect("a snapshot");
        let first = model.embed(&data).expect("embeddings");
        assert_eq!(largest(&first, &model.embed(&data).expect("embeddings")), 0.0);
        for (name, value) in model.store().snapshot().expect("a snapshot") {
            assert_eq!(largest(&value, &before[&name]), 0.0, "{name}");
        }
    }
}

#[test]
fn a_saved_model_is_read_again_and_one_of_another_width_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    let data = Unlabelled::nodes(&ring(9), Features::dense(bag(9, 3, 2)).expect("features")).expect("data");
    let config = EncoderConfig { hidden: 8, ..EncoderConfig::nodes(3) };
    let mut model = SelfSupervised::new(config.clone(), 1, DType::F64, &CPU).expect("a model");
    let options = FitOptions { epochs: 2, ..FitOptions::default() };
    model.fit(&data, &Objective::grace(), &options, |_, _| Ok(ControlFlow::Continue(()))).expect("a training");
    model.save(&path).expect("saved");
    let mut other = SelfSupervised::new(config.clone(), 7, DType::F64, &CPU).expect("a model");
    other.load(&path).expect("read");
    assert_eq!(largest(&model.embed(&data).expect("e"), &other.embed(&data).expect("e")), 0.0);
    let wide = EncoderConfig { hidden: 9, ..config };
    let mut wide = SelfSupervised::new(wide, 7, DType::F64, &CPU).expect("a model");
    assert!(wide.load(&path).is_err());
    assert!(wide.load(folder.path().join("none")).is_err());
}

#[test]
fn labels_have_no_part_in_what_is_selected_by_default() {
    let x = bag(60, 3, 1);
    let data = Unlabelled::nodes(&random_graph(60, 120, 1), Features::dense(x).expect("features")).expect("data");
    let run = |scrambled: bool| {
        let config = EncoderConfig { hidden: 8, ..EncoderConfig::nodes(3) };
        let mut model = SelfSupervised::new(config, 1, DType::F64, &CPU).expect("a model");
        let splits: Vec<_> = (0..2)
            .map(|seed| probe::classifiers::splits::transductive_split(seed, 60, 0.5, 0.25).expect("a split"))
            .collect();
        let mut labels: Vec<u32> = (0..60).map(|node| node % 3).collect();
        if scrambled {
            // test labels alone
            for split in &splits {
                split.test.iter().for_each(|&row| labels[row] = (labels[row] + 1) % 3);
            }
        }
        let mut scores = Vec::new();
        let options = FitOptions { epochs: 4, measures_collapse: false, ..FitOptions::default() };
        model
            .fit(&data, &Objective::grace(), &options, |report, model| {
                let found = probe::nodes(&model.embed(&data)?, &labels, 3, &splits[..1], NodeProbe::linear())?;
                let mean = probe::mean(&found);
                scores.push(probe::EpochScore {
                    epoch: report.epoch,
                    loss: report.loss,
                    validation: mean.validation,
                    test: mean.test,
                });
                Ok(ControlFlow::Continue(()))
            })
            .expect("a training");
        let epochs = [Selection::LastEpoch, Selection::SelfSupervisedLoss]
            .map(|selection| probe::select(&scores, selection).expect("an epoch").epoch);
        (model.embed(&data).expect("embeddings"), epochs)
    };
    let ((a, first), (b, second)) = (run(false), run(true));
    assert_eq!(largest(&a, &b), 0.0);
    assert_eq!(first, second);
    let scores = [probe::EpochScore { epoch: 3, loss: 1.0, validation: f64::NAN, test: 0.5 }];
    assert!(probe::select(&scores, Selection::Validation).is_err());
    assert!(probe::select(&[], Selection::LastEpoch).is_err());
    let oracle = probe::select(&scores, Selection::TestOracle).expect("an epoch");
    assert!(oracle.to_string().contains("selected on test data"));
}

#[test]
fn probes_refuse_what_is_no_embedding() {
    let labels: Vec<u32> = (0..40).map(|row| row % 2).collect();
    let mut values = vec![0.5f64; 40 * 3];
    values[7] = f64::NAN;
    let x = Tensor::from_vec(values, (40, 3), &CPU).expect("rows");
    assert!(matches!(probe::graphs(&x, &labels, 10), Err(Error::NotFinite { position: 7, .. })));
    let good = normal(1, (40, 3));
    assert!(probe::graphs(&good, &labels[..39], 10).is_err());
    let mut rare = labels.clone();
    rare[0] = 9;
    let error = probe::graphs(&good, &rare, 10).expect_err("refused").to_string();
    assert!(error.contains('9') && error.contains("10"), "{error}");
    let split = probe::classifiers::splits::Split { train: vec![0, 1, 99], validation: vec![], test: vec![2] };
    assert!(probe::nodes(&good, &labels, 2, &[split], NodeProbe::lagraph()).is_err());
    // the unit of the features does not count: the machine's width follows their variance
    let of = |x: &Tensor| {
        probe::graphs(x, &labels, 5)
            .expect("folds")
            .folds
            .iter()
            .flat_map(|f| f.predictions.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&good), of(&(&good * 8.0).expect("scaled")));
    assert!(probe::pca(&good, 4).is_err());
    assert_eq!(probe::pca(&good, 2).expect("components").dims(), [40, 2]);
}

#[test]
fn collapse_is_measured() {
    let line =
        Tensor::from_vec((0..20).map(f64::from).flat_map(|t| [t, 2.0 * t, -t]).collect::<Vec<_>>(), (20, 3), &CPU);
    let found = Collapse::of(&line.expect("rows")).expect("a measure");
    assert!((found.effective_rank - 1.0).abs() < 1e-9 && found.per_dimension_std[1] > found.per_dimension_std[0]);
    let point = Collapse::of(&Tensor::ones((5, 3), DType::F32, &CPU).expect("rows")).expect("a measure");
    assert_eq!((point.effective_rank, point.mean_std()), (0.0, 0.0));
    let round = Collapse::of(&Tensor::eye(4, DType::F64, &CPU).expect("rows")).expect("a measure");
    assert!((round.effective_rank - 3.0).abs() < 1e-9, "{}", round.effective_rank);
    assert!(Collapse::of(&Tensor::zeros((0, 3), DType::F64, &CPU).expect("rows")).is_err());
    let wide = normal(3, (4, 30));
    assert!(Collapse::of(&wide).expect("a measure").effective_rank <= 3.0 + 1e-9);
}

#[test]
fn odd_graphs_train_or_say_why_not() {
    let run = |graphs: &[Graph], objective: &Objective, config: &EncoderConfig| {
        let features = graphs.iter().map(|graph| Tensor::ones((graph.num_nodes(), 2), DType::F64, &CPU));
        let data = Unlabelled::graphs(graphs, features.collect::<Result<_, _>>().expect("features"))?;
        let mut model = SelfSupervised::new(config.clone(), 0, DType::F64, &CPU)?;
        let options = FitOptions { epochs: 2, ..FitOptions::default() };
        model.fit(&data, objective, &options, |_, _| Ok(ControlFlow::Continue(())))?;
        model.embed(&data)
    };
    let config = EncoderConfig { hidden: 4, ..EncoderConfig::graphs(2) };
    let bare = |n: usize| Graph::from_edges(n, &[]).expect("a graph");
    // no edges, isolated nodes, one node, constant features
    let odd = [bare(5), bare(1), ring(3), Graph::from_edges(4, &[(0, 1)]).expect("a graph")];
    for objective in objectives(Level::Graph, &config) {
        let embeddings = run(&odd, &objective, &config).expect("embeddings");
        let values: Vec<f64> = embeddings.flatten_all().and_then(|e| e.to_vec1()).expect("numbers");
        assert!(values.iter().all(|value| value.is_finite()), "{}", objective.name());
    }
    assert!(run(&[bare(0)], &objectives(Level::Graph, &config)[0], &config).is_err());
    assert!(run(&[], &objectives(Level::Graph, &config)[0], &config).is_err());
    let error = run(&[bare(1)], &objectives(Level::Graph, &config)[0], &config).expect_err("refused");
    assert!(error.to_string().contains("two nodes"), "{error}");
    let error = run(&[ring(3)], &Objective::graph_cl(), &config).expect_err("refused");
    assert!(error.to_string().contains("batch of 1"), "{error}");
    // levels and widths that do not fit
    let data = Unlabelled::nodes(&ring(5), Features::dense(bag(5, 2, 1)).expect("features")).expect("data");
    let model = SelfSupervised::new(config, 0, DType::F64, &CPU).expect("a model");
    assert!(model.embed(&data).is_err());
    let nodes = EncoderConfig { hidden: 4, ..EncoderConfig::nodes(3) };
    let mut model = SelfSupervised::new(nodes, 0, DType::F64, &CPU).expect("a model");
    assert!(model.embed(&data).expect_err("refused").to_string().contains("features of a node"));
    let options = FitOptions::default();
    assert!(model.fit(&data, &Objective::InfoGraph, &options, |_, _| Ok(ControlFlow::Continue(()))).is_err());
    assert!(Unlabelled::nodes(&ring(5), Features::dense(bag(4, 2, 1)).expect("features")).is_err());
    let nan = Tensor::from_vec(vec![f64::NAN; 10], (5, 2), &CPU).expect("features");
    assert!(Unlabelled::nodes(&ring(5), Features::Dense(nan)).is_err());
    let lonely = Unlabelled::nodes(&bare(5), Features::dense(bag(5, 3, 1)).expect("features")).expect("data");
    let error =
        model.fit(&lonely, &Objective::Gae, &options, |_, _| Ok(ControlFlow::Continue(()))).expect_err("refused");
    assert!(error.to_string().contains("without edges"), "{error}");
}

#[test]
fn negative_features_behind_a_relu_are_warned_of() {
    let x = normal(1, (6, 3));
    let data = Unlabelled::nodes(&ring(6), Features::dense(x).expect("features")).expect("data");
    for (output_activation, warnings) in [(OutputActivation::Relu, 1), (OutputActivation::None, 0)] {
        let config = LaGraphConfig { hidden: 4, output_activation, ..LaGraphConfig::nodes(3) };
        let mut model = SelfSupervised::new(config.encoder_config(), 0, DType::F64, &CPU).expect("a model");
        let options = FitOptions { epochs: 1, ..FitOptions::default() };
        let objective = Objective::LaGraph(config);
        let summary = model.fit(&data, &objective, &options, |_, _| Ok(ControlFlow::Continue(()))).expect("a training");
        assert_eq!(summary.warnings.len(), warnings);
    }
}

#[test]
fn training_ends_when_the_observer_says_so_or_fails() {
    let data = Unlabelled::nodes(&ring(6), Features::dense(bag(6, 3, 1)).expect("features")).expect("data");
    let config = EncoderConfig { hidden: 4, ..EncoderConfig::nodes(3) };
    let mut model = SelfSupervised::new(config, 0, DType::F64, &CPU).expect("a model");
    let options = FitOptions { epochs: 9, ..FitOptions::default() };
    let stop = model.fit(&data, &Objective::Dgi, &options, |report, _| {
        Ok(if report.epoch == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    assert_eq!(stop.expect("a training").epochs.len(), 2);
    let fails = model.fit(&data, &Objective::Dgi, &options, |_, _| {
        Err(Error::InvalidConfig { what: "observer", got: "x".into(), expected: "y" })
    });
    assert!(fails.is_err());
    let wild = FitOptions { learning_rate: 1e300, epochs: 5, ..options };
    let error = model.fit(&data, &Objective::grace(), &wild, |_, _| Ok(ControlFlow::Continue(())));
    assert!(error.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn views_keep_a_node_and_stay_inside(n in 1usize..30, edges in 0usize..60, ratio in 0.0f64..=1.0, seed in any::<u64>()) {
        let graph = random_graph(n, edges, seed);
        let features = Features::dense(bag(n, 3, seed)).expect("features");
        let mut rng = Rng::new(seed);
        for augmentation in [
            Augmentation::Identity,
            Augmentation::DropNodes(ratio),
            Augmentation::DropEdges(ratio),
            Augmentation::MaskFeatures(ratio),
            Augmentation::MaskEntries(ratio),
            Augmentation::Subgraph(ratio),
        ] {
            let (view, nodes, x) = augmentation.apply(&graph, &features, &mut rng).expect("a view");
            prop_assert!(!nodes.is_empty());
            prop_assert_eq!(view.num_nodes(), nodes.len());
            prop_assert_eq!(x.num_nodes(), nodes.len());
            prop_assert!(nodes.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(view.num_edges() <= graph.num_edges());
        }
        prop_assert_eq!(drop_nodes(&graph, 1.0, &mut rng).expect("a node").len(), 1);
        prop_assert_eq!(drop_edges(&graph, 1.0, &mut rng).expect("a graph").num_edges(), 0);
        prop_assert_eq!(drop_edges(&graph, 0.0, &mut rng).expect("a graph"), graph.clone());
        prop_assert_eq!(random_walk_subgraph(&graph, 1.0, &mut rng).expect("nodes").len(), n);
    }

    #[test]
    fn sparse_features_are_dense_ones_in_every_operation(n in 1usize..12, width in 1usize..8, seed in any::<u64>()) {
        let x = bag(n, width, seed);
        let few = sparse(&x);
        prop_assert_eq!(largest(&few.to_dense().expect("features"), &x), 0.0);
        let order = Rng::new(seed).permutation(n);
        let index = Tensor::new(order.clone(), &CPU).expect("an index");
        let picked = select_rows(&few, &order).and_then(|f| f.to_dense()).expect("rows");
        prop_assert_eq!(largest(&picked, &x.index_select(&index, 0).expect("rows")), 0.0);
        let same = |f: &dyn Fn(&Features, &mut Rng) -> gnn::Result<Features>| {
            let dense = Features::dense(x.clone()).expect("features");
            let of = |features: &Features| f(features, &mut Rng::new(seed)).and_then(|f| f.to_dense()).expect("features");
            largest(&of(&few), &of(&dense))
        };
        prop_assert_eq!(same(&|f, rng| mask_features(f, 0.5, rng)), 0.0);
        let rows: Vec<u32> = order[..n / 2].to_vec();
        let noise = normal(seed, (rows.len(), width));
        prop_assert_eq!(same(&|f, _| f.replace_rows(&rows, &noise)), 0.0);
        let none = mask_entries(&few, 1.0, &mut Rng::new(seed)).and_then(|f| f.to_dense()).expect("features");
        prop_assert_eq!(largest(&none, &x.zeros_like().expect("zeros")), 0.0);
    }
}

#[test]
fn hostile_views_are_errors() {
    let (graph, features) = (ring(5), Features::dense(bag(5, 3, 1)).expect("features"));
    let mut rng = Rng::new(0);
    for ratio in [-0.1, 1.1, f64::NAN] {
        assert!(drop_nodes(&graph, ratio, &mut rng).is_err());
        assert!(drop_edges(&graph, ratio, &mut rng).is_err());
        assert!(mask_features(&features, ratio, &mut rng).is_err());
        assert!(mask_entries(&features, ratio, &mut rng).is_err());
        assert!(random_walk_subgraph(&graph, ratio, &mut rng).is_err());
    }
    let none = Graph::from_edges(0, &[]).expect("a graph");
    assert!(drop_nodes(&none, 0.5, &mut rng).is_err() && random_walk_subgraph(&none, 0.5, &mut rng).is_err());
    assert!(Augmentation::Identity.apply(&ring(4), &features, &mut rng).is_err());
    assert!(select_rows(&features, &[5]).is_err());
    assert!(features.replace_rows(&[1, 1], &normal(1, (2, 3))).is_err());
    assert!(sparse(&bag(5, 3, 1)).replace_rows(&[9], &normal(1, (1, 3))).is_err());
    let readout = EncoderConfig { readout: Readout::Mean, layers: 0, ..EncoderConfig::graphs(3) };
    assert!(SelfSupervised::new(readout, 0, DType::F32, &CPU).is_err());
}

#[test]
fn probes_of_nodes_name_the_split_and_the_row() {
    use gnn::probe::classifiers::splits::Split;
    use gnn::probe::{NodeProbe, mean, nodes};
    let x = Tensor::from_vec((0..12).map(|at| at as f32).collect::<Vec<_>>(), (6, 2), &Device::Cpu).unwrap();
    let labels = [0u32, 1, 0, 1, 2, 7];
    let split =
        |train: &[usize], test: &[usize]| Split { train: train.to_vec(), validation: vec![], test: test.to_vec() };
    for probe in [NodeProbe::linear(), NodeProbe::lagraph()] {
        let error = |splits: &[Split]| nodes(&x, &labels, 2, splits, probe).unwrap_err().to_string();
        assert!(error(&[]).contains("no splits"));
        assert!(error(&[split(&[0, 1], &[])]).contains("split 0 has no test rows"));
        let good = split(&[0, 1], &[2, 3]);
        assert!(error(&[good.clone(), split(&[0, 1], &[6])]).contains("split 1 names row 6 of 6"));
        assert!(error(&[split(&[0, 1, 4], &[2])]).contains("row 4, whose label is 2, not below 2"));
        assert!(error(&[split(&[0, 1], &[5])]).contains("row 5"));
        assert!(error(&[split(&[0, 2], &[1])]).contains("two classes or more"));
        // rows that no split names may have any label
        assert!(nodes(&x, &labels, 2, &[good], probe).is_ok());
    }
    assert!(mean(&[]).test.is_nan());
    let none = gnn::self_supervised::Unlabelled::graphs(&[], vec![]).unwrap_err().to_string();
    assert!(none.contains("no graphs"), "{none}");
}
