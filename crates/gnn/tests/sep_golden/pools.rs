//! TopK, SAG, ASAP, DiffPool and MinCut against PyTorch Geometric. Sizes are those of the tensors; the pools' ratio, which the file does not hold, is one that
//! keeps as many nodes of each graph as the reference did.

use super::files;
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
    let num_graphs = graphs.iter().max().map_or(0, |&last| last as usize + 1);
    Batch::new(adjacency.expect("edges"), &graphs, num_graphs).expect("a batch")
}

/// A ratio with `⌈ratio · n⌉ = kept` in every graph: the middle of those that have it, where no rounding can tip a count over.
fn ratio(golden: &Golden, name: &str) -> f64 {
    let count = |graphs: &[u32], graph: u32| graphs.iter().filter(|&&other| other == graph).count() as f64;
    let (all, kept) = (golden.indices("batch"), golden.indices(&format!("{name}.batch_out")));
    let bounds = |graph: &u32| {
        let (nodes, kept) = (count(&all, *graph), count(&kept, *graph));
        ((kept - 1.) / nodes, kept / nodes)
    };
    let (low, high) =
        all.iter().map(bounds).fold((0., 1.), |(low, high): (f64, f64), (a, b)| (low.max(a), high.min(b)));
    assert!(low < high, "{name}: no ratio keeps these counts");
    (low + high) / 2.
}

/// Whether the reference kept ASAP's least fit clusters. PyTorch Geometric's ASAP ranks fitness times the sign of `select.weight`, which is no part of the method.
/// With all of `gnn_score` negated, ours ranks in that order; its gate is then one minus the reference's.
fn is_reversed(golden: &Golden, name: &str) -> bool {
    name == "asap"
        && golden
            .float("asap.w.select.weight", DType::F64)
            .sum_all()
            .and_then(|sum| sum.to_scalar::<f64>())
            .expect("a weight")
            < 0.
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

fn check(golden: &Golden, name: &str, dtype: DType, tolerance: f64, build: impl Fn(&ParamStore) -> Box<dyn Pool>) {
    let store = ParamStore::new(0, dtype, &Device::Cpu);
    let pool = build(&store);
    let is_reversed = is_reversed(golden, name);
    let unused: &[&str] = if name == "asap" { &["select.weight"] } else { &[] };
    golden.fill(&store, &format!("{name}.w."), unused);
    if is_reversed {
        for (name, var) in store.vars().into_iter().filter(|(name, _)| name.starts_with("gnn_score.")) {
            store.set(&name, &var.neg().expect("a negated parameter")).expect("a parameter");
        }
    }
    let batch = batch(golden, dtype);
    let x = Var::from_tensor(&golden.float("x", dtype)).expect("features");
    let Pooled { x: x_out, batch: coarse, selection } = pool.pool(&x, &batch).expect("a pooled batch");
    let Selection::Kept(kept) = selection else { panic!("{name} keeps nodes") };
    assert_eq!(kept.nodes, golden.indices(&format!("{name}.perm")), "{name}");
    assert_eq!(coarse.graphs().ids(), golden.indices(&format!("{name}.batch_out")), "{name}");
    if name != "asap" {
        assert_close(name, &kept.gate, golden.get(&format!("{name}.score")), tolerance);
    }
    let x_out = match is_reversed {
        // c (1 − φ) becomes c φ
        true => kept.gate.affine(-1., 1.).and_then(|gate| gate.div(&kept.gate)?.unsqueeze(1)?.broadcast_mul(&x_out)),
        false => Ok(x_out),
    };
    let x_out = x_out.expect("gated features");
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
    if is_reversed {
        let gradients = core_tensor::gradcheck::backward_both(&loss).expect("gradients");
        for (parameter, var) in store.vars() {
            let sign = if parameter.starts_with("gnn_score.") { -1. } else { 1. };
            let gradient = gradients.get(&var).expect("a gradient").affine(sign, 0.).expect("a gradient");
            assert_close(&parameter, &gradient, golden.get(&format!("{name}.grad.{parameter}")), tolerance);
        }
    } else {
        golden.check_gradients(&loss, &store, &format!("{name}.grad."), tolerance);
    }
    let gradients = core_tensor::gradcheck::backward_both(&loss).expect("gradients");
    let gradient = gradients.get(&x).expect("a gradient of x");
    assert_close(name, gradient, golden.get(&format!("{name}.grad_x")), tolerance);
}

#[test]
fn node_dropping_pools_keep_the_reference_nodes_features_edges_and_gradients() {
    let Some(golden) = files::tensors("pools.safetensors") else { return };
    for (dtype, tolerance) in PRECISIONS {
        let features = golden.get("x").dims()[1];
        let case = |name: &str, build: &dyn Fn(&ParamStore) -> Box<dyn Pool>| {
            check(&golden, name, dtype, tolerance, build);
        };
        case("topk", &|store| {
            Box::new(top_k_pool(features, ratio(&golden, "topk"), store.var_builder()).expect("a pool"))
        });
        case("sag", &|store| {
            Box::new(
                sag_pool(features, ratio(&golden, "sag"), SagScore::GraphConv, store.var_builder()).expect("a pool"),
            )
        });
        case("sag_gcn", &|store| {
            Box::new(sag_pool(features, ratio(&golden, "sag_gcn"), SagScore::Gcn, store.var_builder()).expect("a pool"))
        });
        case("asap", &|store| {
            Box::new(asap_pool(features, ratio(&golden, "asap"), store.var_builder()).expect("a pool"))
        });
    }
}

#[test]
fn dense_pools_compute_the_reference_features_adjacencies_losses_and_gradients() {
    let Some(golden) = files::tensors("pools.safetensors") else { return };
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
            let gradients = core_tensor::gradcheck::backward_both(&loss).expect("gradients");
            let gradient = gradients.get(&logits).expect("a gradient");
            assert_close(name, gradient, golden.get(&format!("{name}.grad_s")), tolerance);
        }
    }
}
