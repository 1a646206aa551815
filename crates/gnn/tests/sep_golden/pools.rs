//! TopK, SAG, ASAP, DiffPool and MinCut against PyTorch Geometric.

use super::tensors::{Golden, TOLERANCE_F32, TOLERANCE_F64, assert_close};
use candle_core::{DType, Device, Tensor, Var};
use core_tensor::params::ParamStore;
use gnn::pool::{Pool, Pooled, SagScore, Selection, asap_pool, dense, sag_pool, top_k_pool};
use gnn::{Adjacency, Batch};
use std::collections::BTreeMap;

type DensePool<'a> = &'a dyn Fn(&Tensor) -> dense::DensePooled;

const PRECISIONS: [(DType, f64); 2] = [(DType::F64, TOLERANCE_F64), (DType::F32, TOLERANCE_F32)];

fn sum_of_sines(x: &Tensor) -> Tensor {
    x.sin().and_then(|sines| sines.sum_all()).expect("a sum")
}

fn batch(golden: &Golden, dtype: DType) -> Batch {
    let graphs = golden.indices("batch");
    let (sources, targets) = golden.edges("edge_index");
    let adjacency = Adjacency::from_edge_index(graphs.len(), &sources, &targets, dtype, &Device::Cpu);
    Batch::new(adjacency.expect("edges"), &graphs, 2).expect("a batch")
}

fn edge_set(sources: &[u32], targets: &[u32], weights: Option<Vec<f64>>) -> BTreeMap<(u32, u32), f64> {
    let weights = weights.unwrap_or_else(|| vec![1.0; sources.len()]);
    let mut set = BTreeMap::new();
    for ((&source, &target), weight) in sources.iter().zip(targets).zip(weights) {
        *set.entry((source, target)).or_insert(0.0) += weight;
    }
    set
}

fn weights(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).and_then(|tensor| tensor.to_vec1()).expect("weights")
}

/// Share of nodes kept in the reference values.
const RATIO: f64 = 0.5;

type BuildPool<'a> = &'a dyn Fn(f64, &ParamStore) -> Box<dyn Pool>;

/// What a pool that ranks all nodes keeps of each graph if it keeps the lowest.
fn keep_lowest(ranking: &dyn Pool, x: &Tensor, batch: &Batch) -> Pooled {
    let Selection::Kept(mut kept) = ranking.select(x, batch).expect("a ranking") else {
        panic!("the pool keeps nodes")
    };
    let of_node = batch.graphs().ids();
    let mut wanted: Vec<usize> =
        batch.graphs().counts().iter().map(|&count| (RATIO * f64::from(count)).ceil() as usize).collect();
    let mut positions = Vec::new();
    for (position, &node) in kept.nodes.iter().enumerate().rev() {
        let wanted = &mut wanted[of_node[node as usize] as usize];
        if *wanted > 0 {
            *wanted -= 1;
            positions.push(position as u32);
        }
    }
    // graph by graph; stable, so that the lowest of each comes first
    positions.sort_by_key(|&position| of_node[kept.nodes[position as usize] as usize]);
    kept.gate = core_tensor::sparse::gather(&kept.gate, &positions).expect("gates");
    kept.nodes = positions.iter().map(|&position| kept.nodes[position as usize]).collect();
    let selection = Selection::Kept(kept);
    let (x, batch) = (selection.reduce(x).expect("features"), selection.connect(batch).expect("a batch"));
    Pooled { x, batch, selection }
}

fn check(golden: &Golden, name: &str, dtype: DType, tolerance: f64, build: BuildPool<'_>) {
    let store = ParamStore::new(0, dtype, &Device::Cpu);
    let pool = build(RATIO, &store);
    // PyTorch Geometric's ASAP ranks by fitness times the sign of this scalar, which is no part of the method
    let unused: &[&str] = if name == "asap" { &["select.weight"] } else { &[] };
    let is_reversed = unused.iter().any(|unused| {
        let scalar = golden.get(&format!("{name}.w.{unused}")).flatten_all().expect("a scalar");
        weights(&scalar)[0] < 0.0
    });
    golden.fill(&store, &format!("{name}.w."), unused);
    let batch = batch(golden, dtype);
    let x = Var::from_tensor(&golden.float("x", dtype)).expect("features");
    let Pooled { x: x_out, batch: coarse, selection } = if is_reversed {
        keep_lowest(&*build(1.0, &store), &x, &batch)
    } else {
        pool.pool(&x, &batch).expect("a pooled batch")
    };
    let Selection::Kept(kept) = selection else { panic!("{name} keeps nodes") };
    assert_eq!(kept.nodes, golden.indices(&format!("{name}.perm")), "{name}");
    assert_eq!(coarse.graphs().ids(), golden.indices(&format!("{name}.batch_out")), "{name}");
    if name != "asap" {
        assert_close(name, &kept.gate, golden.get(&format!("{name}.score")), tolerance);
    }
    assert_close(name, &x_out, golden.get(&format!("{name}.x_out")), tolerance);

    let (sources, targets) = golden.edges(&format!("{name}.edge_index_out"));
    let expected_weights = (name == "asap").then(|| weights(golden.get("asap.edge_weight_out")));
    let expected = edge_set(&sources, &targets, expected_weights);
    let adjacency = coarse.adjacency();
    let actual = edge_set(adjacency.sources(), adjacency.targets(), adjacency.weights().map(weights));
    assert!(actual.keys().eq(expected.keys()), "{name}: {:?} against {:?}", actual.len(), expected.len());
    for (edge, weight) in &expected {
        assert!((actual[edge] - weight).abs() <= tolerance, "{name} {edge:?}: {} against {weight}", actual[edge]);
    }

    let loss = sum_of_sines(&x_out);
    golden.check_gradients(&loss, &store, &format!("{name}.grad."), tolerance);
    let gradients = loss.backward().expect("gradients");
    let gradient = gradients.get(&x).expect("a gradient of x");
    assert_close(name, gradient, golden.get(&format!("{name}.grad_x")), tolerance);
}

#[test]
fn node_dropping_pools_keep_the_reference_nodes_features_edges_and_gradients() {
    let Some(golden) = Golden::read("pools.safetensors") else { return };
    for (dtype, tolerance) in PRECISIONS {
        let features = golden.get("x").dims()[1];
        let case = |name: &str, build: BuildPool<'_>| check(&golden, name, dtype, tolerance, build);
        case("topk", &|ratio, store| Box::new(top_k_pool(features, ratio, store.var_builder()).expect("a pool")));
        case("sag", &|ratio, store| {
            Box::new(sag_pool(features, ratio, SagScore::GraphConv, store.var_builder()).expect("a pool"))
        });
        case("sag_gcn", &|ratio, store| {
            Box::new(sag_pool(features, ratio, SagScore::Gcn, store.var_builder()).expect("a pool"))
        });
        case("asap", &|ratio, store| Box::new(asap_pool(features, ratio, store.var_builder()).expect("a pool")));
    }
}

#[test]
fn dense_pools_compute_the_reference_features_adjacencies_losses_and_gradients() {
    let Some(golden) = Golden::read("pools.safetensors") else { return };
    for (dtype, tolerance) in PRECISIONS {
        let x = golden.float("dense.x", dtype);
        let adjacency = golden.float("dense.adj", dtype);
        let mask = golden.float("dense.mask", dtype);
        let pools: [(&str, DensePool<'_>); 2] = [
            ("diffpool", &|s| dense::diff_pool(Some(&x), &adjacency, s, &mask).expect("a pooled batch")),
            ("mincut", &|s| dense::min_cut_pool(Some(&x), &adjacency, s, &mask).expect("a pooled batch")),
        ];
        for (name, pool) in pools {
            let logits = Var::from_tensor(&golden.float("dense.s_logits", dtype)).expect("logits");
            let pooled = pool(&logits);
            let x_out = pooled.x.expect("features");
            assert_close(name, &x_out, golden.get(&format!("{name}.x_out")), tolerance);
            assert_close(name, &pooled.adjacency, golden.get(&format!("{name}.adj_out")), tolerance);
            let [(_, first), (_, second)] = pooled.losses;
            assert_close(name, &first, golden.get(&format!("{name}.loss1")), tolerance);
            assert_close(name, &second, golden.get(&format!("{name}.loss2")), tolerance);
            let loss = (first + second).and_then(|sum| sum + sum_of_sines(&x_out));
            let loss = loss.and_then(|sum| sum + sum_of_sines(&pooled.adjacency)).expect("a loss");
            let gradients = loss.backward().expect("gradients");
            let gradient = gradients.get(&logits).expect("a gradient");
            assert_close(name, gradient, golden.get(&format!("{name}.grad_s")), tolerance);
        }
    }
}
