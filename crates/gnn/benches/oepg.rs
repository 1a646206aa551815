//! What must be fast in the reconstruction after OEPG: clusters as virtual neighbours, a training epoch, and the conflict of labels. `cargo xtask bench oepg [--peers]`.
//!
//! Uses Cora where `DATA_DIR` holds it, and otherwise a generated graph, under a name that says so. Parameters, data, clusters, both views of the first epoch and our losses are written to
//! `target/bench/oepg-*.safetensors`, from which the peer does the same. Name a part of a measurement to run only those that contain it; with `--peak-memory` beside it, three repetitions are run and
//! the process's peak resident set is printed: `cargo bench -p gnn --bench oepg -- --peak-memory ego`.
//!
//! Beside a time stands its floor where there is one: how long the dense products take alone.

mod shared;

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::ops;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use datasets::{Store, StoreConfig, planetoid};
use gnn::augment::{drop_edges, mask_features};
use gnn::imbalance::{PageRankConfig, totoro};
use gnn::oepg::{
    ClusterConfig, EgoAttentionConfig, EgoDescriptor, HierarchicalClusters, Oepg, OepgConfig, OmniNorm, ego_attention,
};
use gnn::{Features, Graph};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

use shared::{Bench, Result, Tensors, export, integers, number, print, print_peak};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EGO: &str = "ego layer, N = 100,000, D = 128, G = 42";
const EPOCH: &str = "OEPG epoch, Cora";
/// The second form in which the peer computes the ego layer; ours is printed under both.
const FORMS: [&str; 2] = ["", ", matrix form"];

fn main() -> Result {
    shared::start(all)
}

fn all(bench: &Bench) -> Result {
    if bench.wants(EGO) {
        ego_layer(bench, 100_000)?;
    }
    if bench.wants(EPOCH) {
        epoch(bench)?;
    }
    for (n, name, suffixes) in [
        (5_000, "Totoro, 5,000 nodes, 10 classes", &["", ", power iteration"][..]),
        (20_000, "Totoro, 20,000 nodes, 10 classes", &[", power iteration"][..]),
    ] {
        if bench.wants(name) {
            conflict(bench, n, name, suffixes)?;
        }
    }
    Ok(())
}

fn keep_parameters(tensors: &mut Tensors, store: &ParamStore) -> Result {
    for (name, value) in store.snapshot()? {
        tensors.insert(format!("init.{name}"), value.copy()?);
    }
    Ok(())
}

/// Centroids, variances, and the cluster of each instance, of each level.
fn keep_clusters(tensors: &mut Tensors, clusters: &HierarchicalClusters) -> Result {
    for (at, level) in clusters.levels().iter().enumerate() {
        for (name, values) in [("mu", &level.centroids), ("v", &level.variances)] {
            let shape = (values.len() / clusters.width(), clusters.width());
            let values = Tensor::from_slice(values, shape, &Device::Cpu)?.to_dtype(DType::F32)?;
            tensors.insert(format!("clusters.{at}.{name}"), values);
        }
        tensors.insert(format!("clusters.{at}.of_instances"), integers(clusters.assignments(at)?)?);
    }
    Ok(())
}

/// The products of an ego layer for `n` instances of width `d`, with `keys` and both orders of `clusters`: of a forward pass, and of gradients by everything but the clusters.
fn ego_products(n: usize, d: usize, keys: usize, clusters: usize) -> Vec<(usize, [usize; 3])> {
    vec![
        // queries, and what the keys' map makes of them
        (1, [n, d, keys]),
        (1, [n, keys, d]),
        (1, [d, n, keys]),
        (2, [n, keys, d]),
        (2, [n, d, keys]),
        (2, [d, n, keys]),
        // scores and weighted sums
        (10, [n, d, clusters]),
        (10, [n, clusters, d]),
        // values
        (4, [n, d, d]),
        (2, [d, n, d]),
    ]
}

fn ego_layer(bench: &Bench, n: usize) -> Result {
    let (d, keys, sizes) = (128, 32, vec![14, 7]);
    let mut rng = Rng::new(3);
    let mut normal =
        || -> Result<Var> { Ok(Var::from_tensor(&rng.normal(0.0, 1.0, (n, d), DType::F32, &Device::Cpu)?)?) };
    let (z, x) = (normal()?, normal()?);
    let count = sizes.iter().sum();
    let clusters = ClusterConfig { sizes, ..ClusterConfig::default() };
    let clusters = HierarchicalClusters::fit(&z, &clusters, &mut Rng::new(4))?;
    let config = EgoAttentionConfig {
        descriptors: d,
        values: d,
        keys,
        levels: 2,
        descriptor: EgoDescriptor::default(),
        norm: OmniNorm::Joint,
    };
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let layer = ego_attention(config, store.var_builder().pp("ego"))?;
    let run = || -> Result<f32> {
        let sum = layer.forward(&z, &x, &clusters)?;
        let loss = ops::affine(&ops::sum_all(&ops::sqr(&sum)?)?, 1.0 / (n * d) as f64, 0.0)?;
        black_box(core_tensor::backward(&loss)?);
        Ok(loss.to_scalar()?)
    };
    if !bench.shows_peak {
        let mut tensors = BTreeMap::new();
        keep_parameters(&mut tensors, &store)?;
        keep_clusters(&mut tensors, &clusters)?;
        tensors.insert("z".into(), z.as_detached_tensor());
        tensors.insert("x".into(), x.as_detached_tensor());
        tensors.insert("loss".into(), number(f64::from(run()?))?);
        export("oepg", "ego", &tensors)?;
    }
    bench.measure(EGO, &FORMS, 3, &ego_products(n, d, keys, count), || run().map(|loss| _ = black_box(loss)))
}

/// Cora, or a graph of its size, and whether it is the latter.
fn cora() -> Result<(Graph, Features, [Tensor; 3], bool)> {
    let store = Store::new(StoreConfig { is_offline: true, ..StoreConfig::default() })?;
    let mut is_generated = false;
    let (graph, columns, offsets, indices, values) = match planetoid::load(&store, "planetoid-cora") {
        Ok(planetoid::NodeSet { num_nodes, edges, features: Some(x), .. }) => {
            (Graph::from_edges(num_nodes, &edges)?, x.num_columns, x.indptr, x.indices, x.values)
        }
        other => {
            let reason = other.err().map_or_else(|| "a file without features".to_owned(), |error| error.to_string());
            println!("generated in the place of Cora: {reason}");
            is_generated = true;
            let (n, in_row, columns) = (2708, 18, 1433);
            let mut rng = Rng::new(6);
            let indices: Vec<u32> = (0..n).flat_map(|_| rng.sample_without_replacement(columns, in_row)).collect();
            let values = vec![1.0; indices.len()];
            let offsets = (0..=n).map(|row| row * in_row).collect();
            (random_graph(n, 5278, &mut rng)?, columns, offsets, indices, values)
        }
    };
    let features = Features::from_csr(columns, &offsets, &indices, &values, DType::F32, &Device::Cpu)?;
    let shape = integers([graph.num_nodes() as u32, columns as u32])?;
    let arrays = [integers(offsets.into_iter().map(|offset| offset as u32))?, integers(indices)?, shape];
    Ok((graph, features, arrays, is_generated))
}

fn random_graph(n: usize, num_edges: usize, rng: &mut Rng) -> Result<Graph> {
    let mut end = || rng.below(n) as u32;
    let edges: Vec<(u32, u32)> = (0..num_edges).map(|_| (end(), end())).filter(|(u, v)| u != v).collect();
    Ok(Graph::from_edges(n, &edges)?)
}

fn keep_edges(tensors: &mut Tensors, name: &str, graph: &Graph) -> Result {
    let (sources, targets): (Vec<u32>, Vec<u32>) = graph.edges().map(|(u, v, _)| (u, v)).unzip();
    tensors.insert(format!("{name}.sources"), integers(sources)?);
    tensors.insert(format!("{name}.targets"), integers(targets)?);
    Ok(())
}

/// Epochs after the one that makes the clusters: both views, the three losses, gradients, Adam, and the encoder that follows.
fn epoch(bench: &Bench) -> Result {
    const SEED: u64 = 1;
    let (graph, features, [offsets, columns, shape], is_generated) = cora()?;
    let name = if is_generated { EPOCH.replace("Cora", "generated like Cora") } else { EPOCH.to_owned() };
    let inputs = features.num_columns();
    let config = |epochs: usize| OepgConfig { epochs, warmup: 0, update_every: 1_000_000, ..OepgConfig::new(inputs) };
    if !bench.shows_peak {
        let mut model = Oepg::new(config(1), 0, DType::F32, &Device::Cpu)?;
        let mut tensors = BTreeMap::new();
        keep_parameters(&mut tensors, model.store())?;
        let losses = model.fit(&graph, &features, SEED, |_, _| Ok(ControlFlow::Continue(())))?;
        let (Some(losses), Some(clusters)) = (losses.first(), model.clusters()) else {
            return Err("an epoch without losses or clusters".into());
        };
        keep_clusters(&mut tensors, clusters)?;
        for (name, value) in [("local", losses.local), ("cluster", losses.cluster), ("ego", losses.ego)] {
            tensors.insert(format!("loss.{name}"), number(value)?);
        }
        // drawn as the training draws them
        let mut rng = Rng::new(SEED).fork("views");
        for at in 0..2 {
            let Features::Sparse { values, .. } = mask_features(&features, config(1).features[at], &mut rng)? else {
                return Err("sparse features that became dense".into());
            };
            tensors.insert(format!("view.{at}.values"), values);
            keep_edges(&mut tensors, &format!("view.{at}"), &drop_edges(&graph, config(1).edges[at], &mut rng)?)?;
        }
        keep_edges(&mut tensors, "edges", &graph)?;
        let Features::Sparse { values, .. } = &features else { return Err("dense features".into()) };
        let of_x = [("offsets", offsets), ("columns", columns), ("values", values.clone()), ("shape", shape)];
        tensors.extend(of_x.into_iter().map(|(name, tensor)| (format!("x.{name}"), tensor)));
        tensors.insert("config.is_generated".into(), number(f64::from(u8::from(is_generated)))?);
        export("oepg", "cora", &tensors)?;
    }
    let mut model = Oepg::new(config(12), 0, DType::F32, &Device::Cpu)?;
    let (mut best, mut last) = (f64::INFINITY, None::<Instant>);
    model.fit(&graph, &features, SEED, |report, _| {
        // the second is a warm-up, too
        if let (Some(last), true) = (last, report.epoch > 2) {
            best = best.min(last.elapsed().as_secs_f64());
        }
        last = Some(Instant::now());
        Ok(ControlFlow::Continue(()))
    })?;
    if bench.shows_peak {
        print_peak(&name);
        return Ok(());
    }
    let (n, d) = (graph.num_nodes(), model.config().hidden);
    let mut products = ego_products(n, d, model.config().keys, model.config().clusters.sizes.iter().sum());
    // second layer and both maps of the projection, each with its gradients; predictor
    products.extend([(7, [n, d, d]), (4, [d, n, d])]);
    products.iter_mut().for_each(|product| product.0 *= 2);
    // one matrix of similarities and its gradients by both views
    products.extend([(1, [n, d, n]), (2, [n, n, d])]);
    print(&name, &FORMS, best, &products)
}

fn conflict(bench: &Bench, n: usize, name: &str, suffixes: &[&str]) -> Result {
    let (num_classes, in_class) = (10, 20);
    let mut rng = Rng::new(n as u64);
    let graph = random_graph(n, 5 * n, &mut rng)?;
    let labelled = rng.sample_without_replacement(n, num_classes * in_class);
    let classes: Vec<u32> = (0..labelled.len()).map(|at| (at / in_class) as u32).collect();
    let run = || totoro(&graph, &labelled, &classes, PageRankConfig::default());
    if !bench.shows_peak {
        let mut tensors = BTreeMap::new();
        keep_edges(&mut tensors, "edges", &graph)?;
        tensors.insert("labelled".into(), integers(labelled.iter().copied())?);
        tensors.insert("classes".into(), integers(classes.iter().copied())?);
        let found = run()?.conflict;
        let count = found.len();
        tensors.insert("conflict".into(), Tensor::from_vec(found, count, &Device::Cpu)?);
        export("oepg", &format!("totoro-{n}"), &tensors)?;
    }
    bench.measure(name, suffixes, 5, &[], || Ok(run().map(|found| drop(black_box(found)))?))
}
