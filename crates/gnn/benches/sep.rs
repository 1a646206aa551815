//! What must be fast in SEP: building coding trees, and a training epoch. `cargo xtask bench sep [--peers]`.
//!
//! Uses MUTAG, IMDB-BINARY, Cora and Pubmed where `DATA_DIR` holds them, and generated graphs in any case. With `BENCH_JSON` set the IMDB-BINARY batches are
//! also written to `target/bench/sep-imdb-binary.json`, from which the peer trains the same model on the same clusters.

use candle_core::{DType, Device, Tensor};
use core_tensor::ops;
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use datasets::{Store, StoreConfig, planetoid, synthetic, tu};
use gnn::classifier::{GraphClassifier, GraphClassifierConfig, graph_classifier};
use gnn::conv::ConvolutionKind;
use gnn::encoder::GraphEncoderConfig;
use gnn::pool::PoolKind;
use gnn::sep::{CodingTree, TreeConfig};
use gnn::{Graph, Hierarchy, Mode};
use reproduction::bench;
use std::collections::BTreeSet;
use std::error::Error;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const BATCH_SIZE: usize = 128;
const HIDDEN: usize = 64;

fn measure(name: &str, operation: impl FnMut() -> Result) -> Result {
    bench::measure(name, 0.06, operation)
}

fn main() -> Result {
    core_tensor::memory::configure();
    core_tensor::threads::configure(bench::threads()?)?;
    let store = Store::new(StoreConfig { is_offline: true, ..StoreConfig::default() })?;
    trees(&store)?;
    let (set, name) = match tu::load(&store, "tu-imdb-binary") {
        Ok((set, _)) => (set, "IMDB-BINARY"),
        Err(error) => {
            println!("skipped: IMDB-BINARY: {error}");
            (synthetic::community_graphs().0, "communities")
        }
    };
    epochs(&set, name)
}

fn random_graph(num_nodes: usize, num_edges: usize) -> Result<Graph> {
    let mut rng = Rng::new(num_edges as u64);
    let mut end = || rng.below(num_nodes) as u32;
    let edges: Vec<(u32, u32)> = (0..num_edges).map(|_| (end(), end())).filter(|(u, v)| u != v).collect();
    Ok(Graph::from_edges(num_nodes, &edges)?)
}

fn trees(store: &Store) -> Result {
    let grid = synthetic::grid(30, 30)?.graph;
    let grid = Graph::from_edges(grid.num_nodes, &grid.edges)?;
    measure("coding tree, 30x30 grid, k=3", || Ok(CodingTree::build(&grid, TreeConfig::new(3)).map(drop)?))?;
    for (set, name, num_blocks) in [("planetoid-cora", "Cora", 2), ("planetoid-pubmed", "Pubmed", 2)] {
        match planetoid::load(store, set) {
            Ok(nodes) => {
                let graph = Graph::from_edges(nodes.num_nodes, &nodes.edges)?;
                let options = TreeConfig::for_node_classification(num_blocks);
                measure(&format!("coding tree, {name}, k=3"), || Ok(CodingTree::build(&graph, options).map(drop)?))?;
            }
            Err(error) => println!("skipped: {name}: {error}"),
        }
    }
    for (set, name) in [("tu-mutag", "MUTAG"), ("tu-nci1", "NCI1")] {
        match tu::load(store, set) {
            Ok((set, _)) => {
                let graphs = to_graphs(&set)?;
                let all = || Ok(CodingTree::build_many(&graphs, TreeConfig::new(3)).map(drop)?);
                measure(&format!("coding trees, all of {name}, k=3"), all)?;
            }
            Err(error) => println!("skipped: {name}: {error}"),
        }
    }
    if std::env::var_os("BENCH_JSON").is_none() {
        for num_edges in [1_000, 10_000, 100_000, 500_000] {
            let graph = random_graph(num_edges / 5, num_edges)?;
            let name = format!("coding tree, random, {num_edges} edges, k=3");
            measure(&name, || Ok(CodingTree::build(&graph, TreeConfig::new(3)).map(drop)?))?;
        }
    }
    Ok(())
}

fn to_graphs(set: &tu::GraphSet) -> Result<Vec<Graph>> {
    Ok(set.graphs.iter().map(|graph| Graph::from_edges(graph.num_nodes, &graph.edges)).collect::<gnn::Result<_>>()?)
}

/// One pass over the set in batches of 128, batches put together anew each time.
fn epochs(set: &tu::GraphSet, name: &str) -> Result {
    let graphs = to_graphs(set)?;
    let trees = CodingTree::build_many(&graphs, TreeConfig::new(3))?;
    let hierarchies = std::iter::zip(&graphs, &trees)
        .map(|(graph, tree)| tree.hierarchy(graph, 2))
        .collect::<gnn::Result<Vec<_>>>()?;
    let (features, width) = degree_features(set);
    if std::env::var_os("BENCH_JSON").is_some() {
        export(set, &trees)?;
    }
    let models =
        [("SEP-G", ConvolutionKind::Gcn, vec![PoolKind::Precomputed; 2]), ("GIN", ConvolutionKind::Gin, vec![])];
    for (model_name, convolution, pools) in models {
        let store = ParamStore::new(0, DType::F32, &Device::Cpu);
        let encoder = GraphEncoderConfig { hidden: HIDDEN, convolution, ..GraphEncoderConfig::new(width, pools) };
        let config = GraphClassifierConfig { encoder, classes: set.num_classes, dropout: 0.0 };
        let model = graph_classifier(config, store.var_builder())?;
        let mut optimizer = Adam::new(store.trainable(), AdamConfig { learning_rate: 5e-4, ..AdamConfig::default() })?;
        measure(&format!("{model_name} epoch, {name}, batch {BATCH_SIZE}"), || {
            epoch(set, &hierarchies, &features, width, &model, &mut optimizer)
        })?;
    }
    Ok(())
}

fn epoch(
    set: &tu::GraphSet,
    hierarchies: &[Hierarchy],
    features: &[Vec<f32>],
    width: usize,
    model: &GraphClassifier,
    optimizer: &mut Adam,
) -> Result {
    let mut rng = Rng::new(0);
    for start in (0..set.graphs.len()).step_by(BATCH_SIZE) {
        let chosen = start..set.graphs.len().min(start + BATCH_SIZE);
        let parts: Vec<&Hierarchy> = hierarchies[chosen.clone()].iter().collect();
        let batch = Hierarchy::batch(&parts, DType::F32, &Device::Cpu)?;
        let rows: Vec<f32> = features[chosen.clone()].concat();
        let x = Tensor::from_vec(rows, (batch.num_nodes(), width), &Device::Cpu)?;
        let labels: Vec<u32> = set.graphs[chosen].iter().map(|graph| graph.label).collect();
        let out = model.forward(&x, &batch, &mut Mode::train(&mut rng))?;
        let loss = ops::cross_entropy(&out.logits, &Tensor::new(labels, &Device::Cpu)?)?;
        optimizer.backward_step(&loss)?;
    }
    Ok(())
}

/// One-hot degrees.
fn degree_features(set: &tu::GraphSet) -> (Vec<Vec<f32>>, usize) {
    let degrees: Vec<Vec<u32>> = set.graphs.iter().map(tu::LabelledGraph::degrees).collect();
    let values: Vec<u32> = degrees.iter().flatten().copied().collect::<BTreeSet<u32>>().into_iter().collect();
    let one_hot = |degrees: &Vec<u32>| {
        let mut rows = vec![0f32; degrees.len() * values.len()];
        for (node, degree) in degrees.iter().enumerate() {
            rows[node * values.len() + values.partition_point(|value| value < degree)] = 1.0;
        }
        rows
    };
    (degrees.iter().map(one_hot).collect(), values.len())
}

fn export(set: &tu::GraphSet, trees: &[CodingTree]) -> Result {
    let graphs: Vec<serde_json::Value> = std::iter::zip(&set.graphs, trees)
        .map(|(graph, tree)| {
            serde_json::json!({
                "num_nodes": graph.num_nodes,
                "edges": graph.edges,
                "label": graph.label,
                "parents": tree.assignments(),
            })
        })
        .collect();
    let folder = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target").into(), std::path::PathBuf::from)
        .join("bench");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("sep-imdb-binary.json"), serde_json::to_vec(&graphs)?)?;
    Ok(())
}
