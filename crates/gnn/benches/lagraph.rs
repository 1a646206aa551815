//! What must be fast in LaGraph: a training step for nodes, an epoch for graphs, and the contrast of GRACE beside it. `cargo xtask bench lagraph [--peers]`.
//!
//! Uses Cora and NCI1 where `DATA_DIR` holds them, and otherwise generated graphs, under names that say so. Parameters, data, one view and our loss of it are written to `target/bench/lagraph-*.safetensors`,
//! from which the peer trains the same model. Name a part of a measurement to run only those that contain it; with `--peak-memory` beside it, three steps are run and the process's peak resident set is
//! printed: `cargo bench -p gnn --bench lagraph -- --peak-memory synthetic`.
//!
//! Beside each time stands its floor: how long the dense products of a step take alone.

mod shared;

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use datasets::{Store, StoreConfig, planetoid, synthetic, tu};
use gnn::lagraph::{
    LaGraph, LaGraphConfig, MaskedView, OfficialTraining, Target, adjacency_of, dig_self_loops, lagraph,
};
use gnn::self_supervised::grace;
use gnn::{Batch, Features, Graph, Mode};
use std::collections::BTreeMap;
use std::hint::black_box;

use shared::{Bench, Result, Tensors, export, integers, number};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH_SIZE: usize = 128;
const CORA: &str = "LaGraph step, Cora, hidden 512";
const SYNTHETIC: &str = "LaGraph step, synthetic 18,000 x 6,805";
const NCI1: &str = "LaGraph epoch, NCI1, batch 128";
const GRACE: &str = "GRACE loss forward and backward, N = 2,708, d = 128";
const LARGE_GRACE: &str = "GRACE loss forward and backward, N = 20,000, d = 128";

fn main() -> Result {
    shared::start(all)
}

fn all(bench: &Bench) -> Result {
    let store = Store::new(StoreConfig { is_offline: true, ..StoreConfig::default() })?;
    if bench.wants(CORA) {
        let (set, is_generated) = match planetoid::load(&store, "planetoid-cora") {
            Ok(set) if set.features.is_some() => (Nodes::from_set(set)?, false),
            other => {
                let reason =
                    other.err().map_or_else(|| "a file without features".to_owned(), |error| error.to_string());
                println!("generated in the place of Cora: {reason}");
                (Nodes::random(2708, 5278, 1433, 18), true)
            }
        };
        step(bench, "cora", CORA, &[", dense X", ", sparse X"], 5, &set, is_generated)?;
    }
    if bench.wants(SYNTHETIC) {
        let set = Nodes::random(18_000, 81_000, 6805, 61);
        step(bench, "synthetic", SYNTHETIC, &[""], 2, &set, true)?;
    }
    if bench.wants(NCI1) {
        let (set, is_generated) = match tu::load(&store, "tu-nci1") {
            Ok((set, _)) => (set, false),
            Err(error) => {
                println!("generated in the place of NCI1: {error}");
                (synthetic::community_graphs().0, true)
            }
        };
        epoch(bench, &set, is_generated)?;
    }
    if bench.wants(GRACE) {
        contrast(bench, GRACE, 2708)?;
    }
    if bench.shows_peak && bench.wants(LARGE_GRACE) {
        contrast(bench, LARGE_GRACE, 20_000)?;
    }
    Ok(())
}

/// The name of a measurement whose data may have been generated.
fn honest(name: &str, is_generated: bool) -> String {
    match is_generated {
        true => name.replace("Cora", "generated like Cora").replace("NCI1", "generated like NCI1"),
        false => name.to_owned(),
    }
}

/// A graph whose nodes have sparse features.
struct Nodes {
    num_nodes: usize,
    edges: Vec<(u32, u32)>,
    num_columns: usize,
    offsets: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Nodes {
    fn from_set(set: planetoid::NodeSet) -> Result<Self> {
        let (num_nodes, edges) = (set.num_nodes, set.edges);
        let x = set.features.ok_or("a file without features")?;
        let (offsets, columns, values) = (x.indptr, x.indices, x.values);
        Ok(Self { num_nodes, edges, num_columns: x.num_columns, offsets, columns, values })
    }

    /// Uniform edges, and `in_row` ones in each row of the features.
    fn random(num_nodes: usize, num_edges: usize, num_columns: usize, in_row: usize) -> Self {
        let mut rng = Rng::new(num_nodes as u64);
        let mut end = || rng.below(num_nodes) as u32;
        let edges = (0..num_edges).map(|_| (end(), end())).filter(|(u, v)| u != v).collect();
        let mut columns = Vec::with_capacity(num_nodes * in_row);
        for _ in 0..num_nodes {
            let mut row = rng.sample_without_replacement(num_columns, in_row);
            row.sort_unstable();
            columns.extend(row);
        }
        let offsets = (0..=num_nodes).map(|row| row * in_row).collect();
        let values = vec![1.0; columns.len()];
        Self { num_nodes, edges, num_columns, offsets, columns, values }
    }
}

/// A model, its optimiser, and what the peer needs of it.
struct Trained {
    model: LaGraph,
    optimizer: Adam,
    tensors: Tensors,
    rng: Rng,
}

impl Trained {
    fn new(set: &str, inputs: usize, is_generated: bool) -> Result<Self> {
        let (config, training) = (LaGraphConfig::official(set, inputs)?, OfficialTraining::of(set)?);
        let store = ParamStore::new(0, DType::F32, &Device::Cpu);
        let mut tensors = BTreeMap::new();
        for (name, value) in [
            ("alpha", config.alpha),
            ("ratio", config.masking.ratio),
            ("std", config.masking.std),
            ("learning_rate", training.learning_rate),
            ("is_generated", f64::from(u8::from(is_generated))),
        ] {
            tensors.insert(format!("config.{name}"), number(value)?);
        }
        let model = lagraph(config, store.var_builder())?;
        for (name, value) in store.snapshot()? {
            tensors.insert(format!("init.{name}"), value.copy()?);
        }
        let config = AdamConfig { learning_rate: training.learning_rate, ..AdamConfig::default() };
        let optimizer = Adam::new(store.trainable(), config)?;
        Ok(Self { model, optimizer, tensors, rng: Rng::new(1) })
    }

    fn view(&mut self, target: &Target, sizes: &[usize]) -> Result<MaskedView> {
        Ok(self.model.config().masking.draw(target.features(), sizes, &mut self.rng)?)
    }

    /// Keeps a view, and the loss with it before any step; the statistics of batch norms do not enter it.
    fn keep_view(&mut self, batch: &Batch, target: &Target, sizes: &[usize]) -> Result {
        let view = self.view(target, sizes)?;
        let loss = self.model.loss(batch, target, &view, &Mode::recalibrate().without_updates())?;
        let loss: f32 = loss.total.to_scalar()?;
        let dense = match &view.features {
            Features::Replaced { values, .. } => values.clone(),
            Features::Dense(x) => x.index_select(&Tensor::new(&view.nodes[..], &Device::Cpu)?, 0)?,
            Features::Sparse { .. } => return Err("a view without replaced rows".into()),
        };
        self.tensors.insert("view.nodes".into(), integers(view.nodes)?);
        self.tensors.insert("view.values".into(), dense.copy()?);
        self.tensors.insert("loss".into(), number(f64::from(loss))?);
        Ok(())
    }

    /// A view is drawn, both views are encoded, one is decoded; gradients; Adam.
    fn step(&mut self, batch: &Batch, target: &Target, sizes: &[usize]) -> Result {
        let view = self.view(target, sizes)?;
        let loss = self.model.loss(batch, target, &view, &Mode::recalibrate())?;
        Ok(self.optimizer.backward_step(&loss.total)?)
    }
}

/// A step of the node level with the official settings of Cora.
fn step(
    bench: &Bench,
    file: &str,
    name: &str,
    suffixes: &[&str],
    repetitions: usize,
    set: &Nodes,
    is_generated: bool,
) -> Result {
    let (n, f) = (set.num_nodes, set.num_columns);
    let graph = Graph::from_edges(n, &set.edges)?;
    let features = Features::from_csr(f, &set.offsets, &set.columns, &set.values, DType::F32, &Device::Cpu)?;
    let batch = Batch::single(&graph, DType::F32, &Device::Cpu)?;
    let target = Target::new(&features);
    let mut trained = Trained::new("planetoid-cora", f, is_generated)?;
    if !bench.shows_peak {
        trained.keep_view(&batch, &target, &[n])?;
        let (sources, targets): (Vec<u32>, Vec<u32>) = graph.edges().map(|(u, v, _)| (u, v)).unzip();
        trained.tensors.insert("edges.sources".into(), integers(sources)?);
        trained.tensors.insert("edges.targets".into(), integers(targets)?);
        trained.tensors.insert("x.offsets".into(), integers(set.offsets.iter().map(|&offset| offset as u32))?);
        trained.tensors.insert("x.columns".into(), integers(set.columns.iter().copied())?);
        let values = Tensor::from_slice(&set.values, set.values.len(), &Device::Cpu)?;
        trained.tensors.insert("x.values".into(), values);
        trained.tensors.insert("x.shape".into(), integers([n as u32, f as u32])?);
        export("lagraph", file, &trained.tensors)?;
    }
    trained.tensors.clear();
    let d = trained.model.config().hidden;
    let masked = (trained.model.config().masking.ratio * n as f64) as usize;
    // the decoder; the second layer for both views; the first one for the rows of noise
    let products = [
        (1, [n, d, f]),
        (1, [n, f, d]),
        (1, [f, n, d]),
        (4, [n, d, d]),
        (2, [d, n, d]),
        (1, [masked, f, d]),
        (1, [f, masked, d]),
    ];
    let name = honest(name, is_generated);
    bench.measure(&name, suffixes, repetitions, &products, || trained.step(&batch, &target, &[n]))
}

/// Some graphs side by side.
struct Part {
    batch: Batch,
    target: Target,
    sizes: Vec<usize>,
}

/// One pass over the graphs in batches that stay the same, as the official order is drawn once.
fn epoch(bench: &Bench, set: &tu::GraphSet, is_generated: bool) -> Result {
    let width = if set.tag_values.len() > 1 { set.tag_values.len() } else { 37 };
    let mut trained = Trained::new("tu-nci1", width, is_generated)?;
    let order = Rng::new(0).permutation(set.graphs.len());
    let mut parts = Vec::new();
    for (at, chosen) in order.chunks(BATCH_SIZE).enumerate() {
        let (mut edges, mut graph_of_node, mut tags, mut sizes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (place, &item) in chosen.iter().enumerate() {
            let graph = &set.graphs[item as usize];
            let both: Vec<(u32, u32)> = graph.edges.iter().flat_map(|&(u, v)| [(u, v), (v, u)]).collect();
            let first = graph_of_node.len() as u32;
            edges.extend(dig_self_loops(&both).into_iter().map(|(u, v)| (u + first, v + first)));
            match set.tag_values.len() {
                0 | 1 => tags.extend(graph.degrees().into_iter().map(|degree| degree.min(width as u32 - 1))),
                _ => tags.extend_from_slice(&graph.node_tags),
            }
            graph_of_node.extend(std::iter::repeat_n(place as u32, graph.num_nodes));
            sizes.push(graph.num_nodes);
        }
        let mut rows = vec![0f32; tags.len() * width];
        rows.chunks_exact_mut(width).zip(&tags).for_each(|(row, &tag)| row[tag as usize] = 1.0);
        let x = Tensor::from_vec(rows, (tags.len(), width), &Device::Cpu)?;
        let adjacency = adjacency_of(tags.len(), &edges, DType::F32, &Device::Cpu)?;
        let batch = Batch::new(adjacency, &graph_of_node, sizes.len())?;
        let part = Part { batch, target: Target::new(&Features::dense(x)?), sizes };
        if !bench.shows_peak {
            let (sources, targets): (Vec<u32>, Vec<u32>) = edges.into_iter().unzip();
            let of_part = [("sources", sources), ("targets", targets), ("graphs", graph_of_node), ("tags", tags)];
            for (name, values) in of_part {
                trained.tensors.insert(format!("batch.{at}.{name}"), integers(values)?);
            }
            if at == 0 {
                trained.keep_view(&part.batch, &part.target, &part.sizes)?;
            }
        }
        parts.push(part);
    }
    if !bench.shows_peak {
        trained.tensors.insert("num_batches".into(), integers([parts.len() as u32])?);
        export("lagraph", "nci1", &trained.tensors)?;
    }
    trained.tensors.clear();
    let (n, d) = (parts.iter().map(|part| part.batch.num_nodes()).sum(), trained.model.config().hidden);
    // first layers of both views; five more in each encoder, two in the decoder
    let products = [(2, [n, width, d]), (3, [width, n, d]), (22, [n, d, d]), (11, [d, n, d]), (2, [n, d, width])];
    bench.measure(&honest(NCI1, is_generated), &[""], 5, &products, || {
        parts.iter().try_for_each(|part| trained.step(&part.batch, &part.target, &part.sizes))
    })
}

fn contrast(bench: &Bench, name: &str, n: usize) -> Result {
    let (d, mut rng) = (128, Rng::new(5));
    let mut normal =
        || -> Result<Var> { Ok(Var::from_tensor(&rng.normal(0.0, 1.0, (n, d), DType::F32, &Device::Cpu)?)?) };
    let (u, v) = (normal()?, normal()?);
    let temperature = 0.4;
    let run = || -> Result<f32> {
        let loss = grace(&u, &v, temperature)?;
        black_box(core_tensor::backward(&loss)?);
        Ok(loss.to_scalar()?)
    };
    if !bench.shows_peak {
        let mut tensors = BTreeMap::new();
        for (name, view) in [("u", &u), ("v", &v)] {
            tensors.insert(name.to_owned(), view.as_detached_tensor());
        }
        tensors.insert("temperature".into(), number(temperature)?);
        tensors.insert("loss".into(), number(f64::from(run()?))?);
        export("lagraph", "grace", &tensors)?;
    }
    // three matrices of similarities, and two products of each for the gradients
    let products = [(3, [n, d, n]), (6, [n, n, d])];
    bench.measure(name, &[""], 5, &products, || run().map(|loss| _ = black_box(loss)))
}
