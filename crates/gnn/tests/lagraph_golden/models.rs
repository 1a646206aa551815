//! Both losses of the official modules: outputs, gradients, one step of Adam, embeddings after it, and ten losses in a row.

use super::files;
use super::tensors::{Golden, assert_close};
use candle_core::{DType, Device, Tensor};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use gnn::conv::ConvolutionKind;
use gnn::encoder::Readout;
use gnn::lagraph::{DecoderKind, LaGraph, LaGraphConfig, MaskedView, OutputActivation, Target, lagraph};
use gnn::self_supervised::{EncoderActivation, NormStatistics};
use gnn::{Adjacency, Batch, Features, Mode};

/// Tolerances of values, of what follows a step or depends on biases that the files hold in f32 only, and of ten losses in a row. Adam's first step has the sign of the gradient alone, so that in
/// f32 a gradient that is nearly 0 may take it the other way.
#[derive(Clone, Copy)]
struct Tolerance {
    values: f64,
    narrow: f64,
    trajectory: f64,
}

const PRECISIONS: [(DType, Tolerance); 2] = [
    (DType::F64, Tolerance { values: 1e-9, narrow: 1e-7, trajectory: 1e-7 }),
    (DType::F32, Tolerance { values: 2e-4, narrow: 5e-3, trajectory: 5e-3 }),
];

/// Our name of a parameter of the files; none for the batch norm of the decoder's last layer, which is never used.
fn ours(name: &str, decoder_layers: usize) -> Option<String> {
    if name.starts_with(&format!("decoder.bns.{}", decoder_layers - 1)) {
        return None;
    }
    Some(name.replace(".fc.", ".lin."))
}

struct Case {
    golden: Golden,
    config: LaGraphConfig,
    batch: Vec<u32>,
    dtype: DType,
}

impl Case {
    fn new(name: &str, dtype: DType) -> Option<Self> {
        let golden = files::tensors(name)?;
        let inputs = golden.get("in.x").dims()[1];
        let layers = golden.metadata("enly").parse().expect("layers");
        let decoder_layers = golden.metadata("dely").parse().expect("layers");
        let decoder = if golden.metadata("decoder") == "mlp" { DecoderKind::Mlp } else { DecoderKind::Gnn };
        let has_weight_decay = golden.has("cfg.alpha_lr_wd");
        let numbers = if has_weight_decay { "cfg.alpha_lr_wd" } else { "cfg.alpha_lr" };
        let numbers: Vec<f64> = golden.get(numbers).to_vec1().expect("numbers");
        let is_node_level = golden.names("").contains(&"in.adj_norm".to_owned());
        let config = if is_node_level {
            let has_prelu = golden.metadata("conv") == "gcn";
            let activation = if has_prelu { EncoderActivation::Prelu } else { EncoderActivation::Relu };
            LaGraphConfig { activation, batch_norm: NormStatistics::Batch, ..LaGraphConfig::nodes(inputs) }
        } else {
            let readout = if golden.metadata("pool") == "mean" { Readout::Mean } else { Readout::Sum };
            let reconstruction = golden.metadata("loss").parse().expect("a loss");
            LaGraphConfig { readout, reconstruction, ..LaGraphConfig::graphs(inputs) }
        };
        assert_eq!(config.encoder == ConvolutionKind::Gcn, is_node_level);
        let hidden = golden.get("out.h").dims()[1];
        let config = LaGraphConfig {
            layers,
            hidden,
            decoder,
            decoder_layers,
            alpha: numbers[0],
            output_activation: OutputActivation::Relu,
            ..config
        };
        let batch = match is_node_level {
            true => vec![0; golden.get("in.x").dims()[0]],
            false => golden.indices("in.batch"),
        };
        Some(Self { golden, config, batch, dtype })
    }

    fn model(&self) -> (ParamStore, LaGraph) {
        let store = ParamStore::new(0, self.dtype, &Device::Cpu);
        let model = lagraph(self.config.clone(), store.var_builder()).expect("a model");
        let mut count = 0;
        for name in self.golden.names("init.") {
            let Some(ours) = ours(&name, self.config.decoder_layers) else { continue };
            let values = self.golden.float(&format!("init.{name}"), self.dtype);
            store.set(&ours, &values).unwrap_or_else(|error| panic!("{name}: {error}"));
            count += 1;
        }
        assert_eq!(count, store.vars().len(), "every parameter has a value");
        (store, model)
    }

    fn graph(&self) -> Batch {
        let (sources, targets) = self.golden.edges("in.edge_index");
        let adjacency = Adjacency::from_edge_index(self.batch.len(), &sources, &targets, self.dtype, &Device::Cpu);
        let graphs = self.batch.iter().max().map_or(0, |&last| last as usize + 1);
        Batch::new(adjacency.expect("edges"), &self.batch, graphs).expect("a batch")
    }

    /// The features, the masked view and the target; `is_sparse` as compressed rows.
    fn views(&self, is_sparse: bool) -> (Target, MaskedView) {
        let golden = &self.golden;
        let dense = golden.float("in.x", self.dtype);
        let features = if is_sparse { sparse(&dense) } else { Features::dense(dense).expect("features") };
        let view = if golden.has("in.x_masked") { "in.x_masked" } else { "in.x_aug" };
        let mask: Vec<f64> = golden.get("in.mask").to_vec1().expect("a mask");
        let nodes: Vec<u32> = (0..mask.len() as u32).filter(|&node| mask[node as usize] != 0.0).collect();
        let of_view = golden.float(view, self.dtype);
        let rows = Tensor::new(nodes.clone(), &Device::Cpu).expect("rows");
        let values = if nodes.is_empty() { None } else { Some(of_view.index_select(&rows, 0).expect("rows")) };
        let view = match values {
            Some(values) => features.replace_rows(&nodes, &values).expect("a view"),
            None => features.clone(),
        };
        (Target::new(&features), MaskedView { features: view, nodes })
    }

    fn tolerance(&self, tolerance: Tolerance) -> f64 {
        if self.dtype == DType::F32 {
            return tolerance.narrow;
        }
        let has_narrow = self
            .golden
            .names("init.")
            .iter()
            .any(|name| self.golden.get(&format!("init.{name}")).dtype() == DType::F32);
        if has_narrow { tolerance.narrow } else { tolerance.values }
    }

    fn check(&self, is_sparse: bool, tolerance: Tolerance) {
        let golden = &self.golden;
        let values = tolerance.values;
        let (store, model) = self.model();
        let (batch, (target, view)) = (self.graph(), self.views(is_sparse));
        let still = Mode { noise: None, uses_batch_statistics: true, updates_statistics: false };
        if golden.has("in.adj_norm") {
            let identity = Tensor::eye(self.batch.len(), self.dtype, &Device::Cpu).expect("an identity");
            let normalised = batch.adjacency().propagate_symmetric(&identity).expect("a product");
            assert_close("adj_norm", &normalised, golden.get("in.adj_norm"), values);
        }
        for (name, features) in [("h", target.features()), ("h_masked", &view.features), ("h_aug", &view.features)] {
            if golden.has(&format!("out.{name}")) {
                let layers = model.encoder().layers(features, batch.adjacency(), &still).expect("layers");
                let last = layers.last().expect("a layer");
                assert_close(name, last, golden.get(&format!("out.{name}")), values);
                let of_graphs = if name == "h" { "out.g" } else { "out.g_aug" };
                if golden.has(of_graphs) {
                    let z = model.encoder().read_out(&layers, batch.graphs()).expect("readouts");
                    assert_close(of_graphs, &z, golden.get(of_graphs), values);
                }
                if name == "h" {
                    let decoded = model.decode(last, batch.adjacency(), &still).expect("features");
                    assert_close("dec", &decoded, golden.get("out.dec"), values);
                }
            }
        }
        let train = Mode::recalibrate();
        let loss = model.loss(&batch, &target, &view, &train).expect("a loss");
        assert_close("loss", &loss.total, golden.get("out.loss"), values);
        assert_close("loss_rec", &loss.reconstruction, golden.get("out.loss_rec"), values);
        assert_close("loss_inv", &loss.invariance, golden.get("out.loss_inv"), values);
        self.check_gradients(&loss.total, &store, tolerance);

        let name = if golden.has("cfg.alpha_lr_wd") { "cfg.alpha_lr_wd" } else { "cfg.alpha_lr" };
        let numbers: Vec<f64> = golden.get(name).to_vec1().expect("numbers");
        let weight_decay = numbers.get(2).copied().unwrap_or(0.0);
        let config = AdamConfig { learning_rate: numbers[1], weight_decay, ..AdamConfig::default() };
        let mut optimizer = Adam::new(store.trainable(), config).expect("an optimiser");
        optimizer.backward_step(&loss.total).expect("a step");
        let narrow = self.tolerance(tolerance);
        let vars: std::collections::BTreeMap<_, _> = store.vars().into_iter().collect();
        for name in golden.names("after1.") {
            let Some(ours) = ours(&name, self.config.decoder_layers) else { continue };
            let expected = golden.get(&format!("after1.{name}"));
            // a step of Adam turns a gradient of 1e-17 that should be 0 into one of full size
            if is_negligible(golden, &name) {
                continue;
            }
            assert_close(&format!("after1.{name}"), vars[&ours].as_tensor(), expected, narrow);
        }
        for (name, statistics) in [("out.g_eval_after1", false), ("out.embed_trainmode_after1", true)] {
            if golden.has(name) {
                assert_eq!(self.config.batch_norm == NormStatistics::Batch, statistics);
                let before = store.snapshot().expect("a snapshot");
                let embedded = model.embed(target.features(), &batch).expect("embeddings");
                assert_close(name, &embedded, golden.get(name), narrow);
                for (name, value) in store.snapshot().expect("a snapshot") {
                    assert_close(&name, &value, &before[&name], 0.0);
                }
            }
        }
        let (store, model) = self.model();
        let mut optimizer = Adam::new(store.trainable(), config).expect("an optimiser");
        let expected: Vec<f64> = golden.get("out.loss_trajectory10").to_vec1().expect("losses");
        for (step, expected) in expected.into_iter().enumerate() {
            let loss = model.loss(&batch, &target, &view, &train).expect("a loss").total;
            let found: f64 = loss.to_dtype(DType::F64).and_then(|loss| loss.to_scalar()).expect("a number");
            let allowed = tolerance.trajectory * expected.abs().max(1.0);
            assert!((found - expected).abs() <= allowed, "step {step}: {found}, expected {expected}");
            optimizer.backward_step(&loss).expect("a step");
        }
    }

    fn check_gradients(&self, loss: &Tensor, store: &ParamStore, tolerance: Tolerance) {
        let gradients = core_tensor::gradcheck::backward_both(loss).expect("gradients");
        let vars: std::collections::BTreeMap<_, _> = store.vars().into_iter().collect();
        let names = self.golden.names("grad.");
        assert!(!names.is_empty(), "no gradients");
        for name in names {
            let expected = self.golden.get(&format!("grad.{name}"));
            match ours(&name, self.config.decoder_layers) {
                Some(ours) => {
                    let gradient = gradients.get(&vars[&ours]).unwrap_or_else(|| panic!("{name} has no gradient"));
                    let allowed =
                        if expected.dtype() == DType::F32 { 1e-7f64.max(tolerance.values) } else { tolerance.values };
                    assert_close(&format!("grad.{name}"), gradient, expected, allowed);
                }
                None => {
                    let largest = expected.abs().and_then(|e| e.flatten_all()).and_then(|e| e.max(0));
                    let largest = largest.and_then(|e| e.to_dtype(DType::F64)).and_then(|e| e.to_scalar::<f64>());
                    assert_eq!(largest.expect("a number"), 0.0, "{name} is used");
                }
            }
        }
    }
}

/// Whether the reference gradient of a parameter has an element that is nothing but rounding: a bias in front of a batch norm, for instance.
fn is_negligible(golden: &Golden, name: &str) -> bool {
    let name = format!("grad.{name}");
    golden.has(&name) && {
        let gradient = golden.get(&name).to_dtype(DType::F64).and_then(|g| g.flatten_all());
        let gradient: Vec<f64> = gradient.and_then(|g| g.to_vec1()).expect("numbers");
        gradient.iter().any(|g| *g != 0.0 && g.abs() < 1e-9)
    }
}

fn sparse(x: &Tensor) -> Features {
    let rows: Vec<Vec<f64>> = x.to_dtype(DType::F64).and_then(|x| x.to_vec2()).expect("rows");
    let (mut at, mut values) = ((Vec::new(), Vec::new()), Vec::new());
    for (row, entries) in rows.iter().enumerate() {
        for (column, &value) in entries.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            at.0.push(row as u32);
            at.1.push(column as u32);
            values.push(value);
        }
    }
    let pattern = core_tensor::sparse::SparsePattern::from_edges(rows.len(), x.dims()[1], &at.0, &at.1);
    let count = values.len();
    let values = Tensor::from_vec(values, count, &Device::Cpu).and_then(|v| v.to_dtype(x.dtype()));
    Features::Sparse { pattern: pattern.expect("a pattern"), values: values.expect("values") }
}

fn check(start: &str) {
    for name in files::golden().names(start, ".safetensors") {
        for (dtype, tolerance) in PRECISIONS {
            for is_sparse in [false, true] {
                if let Some(case) = Case::new(&name, dtype) {
                    println!("{name} {dtype:?} {is_sparse}");
                    case.check(is_sparse, tolerance);
                }
            }
        }
    }
}

#[test]
fn the_loss_of_graphs_is_the_official_one() {
    check("graph_");
}

#[test]
fn the_loss_of_nodes_is_the_official_one() {
    check("node_");
}
