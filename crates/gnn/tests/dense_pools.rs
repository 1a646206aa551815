//! Dense pools where a norm is zero: values and gradients stay finite and are those of the subgradient 0.

use candle_core::{DType, Device, Tensor};
use core_tensor::params::ParamStore;
use gnn::pool::{PoolKind, SagScore};
use gnn::{Adjacency, Batch, Graph};

const CPU: Device = Device::Cpu;

/// The pool's own losses, and all gradients of their sum.
fn losses_and_gradients(kind: PoolKind, batch: &Batch, x: &Tensor) -> (Vec<f64>, Vec<f64>) {
    let store = ParamStore::new(1, DType::F64, &CPU);
    let pool = kind.build(x.dims()[1], store.var_builder()).expect("a pool");
    let pooled = pool.pool(x, batch).expect("a pooled batch");
    let gnn::pool::Selection::Dense(dense) = &pooled.selection else { panic!("{kind:?} is dense") };
    let losses = dense.losses.iter().map(|(_, loss)| loss.to_scalar::<f64>().expect("a number")).collect();
    let loss = pooled.auxiliary_loss().expect("a loss").expect("a loss");
    let gradients = core_tensor::gradcheck::backward_both(&loss).expect("gradients");
    let values = store.vars().into_iter().filter_map(|(_, var)| gradients.get(&var).cloned());
    let values = values.flat_map(|gradient| gradient.flatten_all().and_then(|g| g.to_vec1::<f64>()).expect("values"));
    (losses, values.collect())
}

fn features(rows: usize) -> Tensor {
    Tensor::arange(0.0, 2.0 * rows as f64, &CPU).and_then(|x| x.sin()?.reshape((rows, 2))).expect("features")
}

#[test]
fn one_cluster_has_losses_and_gradients_of_zero() {
    let looped_pair = Graph::from_edges(2, &[(0, 0), (0, 1), (1, 1)]).unwrap();
    let path = Graph::from_edges(3, &[(0, 1), (1, 2)]).unwrap();
    let pair = Batch::single(&looped_pair, DType::F64, &CPU).unwrap();
    let (losses, gradients) = losses_and_gradients(PoolKind::DiffPool { num_clusters: 1 }, &pair, &features(2));
    // A = S Sᵀ = 1, and log(1 + 1e-15) is all of the entropy
    assert!(losses[0] == 0.0 && losses[1].abs() < 1e-14, "{losses:?}");
    assert!(!gradients.is_empty() && gradients.iter().all(|&gradient| gradient == 0.0), "{gradients:?}");
    for graph in [&looped_pair, &path] {
        let batch = Batch::single(graph, DType::F64, &CPU).unwrap();
        let x = features(graph.num_nodes());
        let (losses, gradients) = losses_and_gradients(PoolKind::MinCut { num_clusters: 1 }, &batch, &x);
        assert!((losses[0] + 1.0).abs() < 1e-15 && losses[1] == 0.0, "{losses:?}");
        assert!(!gradients.is_empty() && gradients.iter().all(|&gradient| gradient.abs() < 1e-15), "{gradients:?}");
    }
}

#[test]
fn a_graph_without_nodes_adds_nothing() {
    let (sources, targets) = ([0, 1, 1, 2], [1, 0, 2, 1]);
    let adjacency = Adjacency::from_edge_index(3, &sources, &targets, DType::F64, &CPU).unwrap();
    let alone = Batch::new(adjacency.clone(), &[0, 0, 0], 1).unwrap();
    let with_empty = Batch::new(adjacency, &[0, 0, 0], 2).unwrap();
    for kind in [
        PoolKind::MinCut { num_clusters: 2 },
        PoolKind::MinCut { num_clusters: 1 },
        PoolKind::DiffPool { num_clusters: 2 },
    ] {
        let (single, _) = losses_and_gradients(kind, &alone, &features(3));
        let (both, gradients) = losses_and_gradients(kind, &with_empty, &features(3));
        assert!(gradients.iter().all(|gradient| gradient.is_finite()), "{kind:?}: {gradients:?}");
        assert!(both.iter().all(|loss| loss.is_finite()), "{kind:?}: {both:?}");
        if matches!(kind, PoolKind::MinCut { .. }) {
            for (a, b) in single.iter().zip(&both) {
                assert!((a / 2.0 - b).abs() < 1e-15, "{kind:?}: the mean over two graphs, {single:?} and {both:?}");
            }
        }
    }
}

#[test]
fn directions_of_zero_score_zero() {
    let batch = Batch::single(&Graph::from_edges(3, &[(0, 1), (1, 2)]).unwrap(), DType::F64, &CPU).unwrap();
    for kind in [PoolKind::TopK { ratio: 0.5 }, PoolKind::Sag { ratio: 0.5, score: SagScore::GraphConv }] {
        let store = ParamStore::new(1, DType::F64, &CPU);
        let pool = kind.build(2, store.var_builder()).unwrap();
        let shape = if matches!(kind, PoolKind::TopK { .. }) { (1, 2) } else { (1, 1) };
        store.set("select.weight", &Tensor::zeros(shape, DType::F64, &CPU).unwrap()).unwrap();
        let pooled = pool.pool(&features(3), &batch).unwrap();
        assert_eq!(pooled.x.to_vec2::<f64>().unwrap(), [[0.0; 2]; 2], "{kind:?}");
        let gradients = pooled.x.sum_all().unwrap().backward().unwrap();
        for (name, var) in store.vars() {
            let gradient = gradients.get(&var).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            assert!(gradient.iter().all(|value| value.is_finite()), "{kind:?} {name}: {gradient:?}");
        }
    }
}

#[test]
fn a_ratio_keeps_the_count_of_decimal_arithmetic() {
    for (ratio, nodes, kept) in [(0.28, 25, 7), (0.55, 100, 55), (0.5, 3, 2), (0.001, 5, 1), (1.0, 4, 4)] {
        let graph = Graph::from_edges(nodes, &[]).unwrap();
        let batch = Batch::single(&graph, DType::F64, &CPU).unwrap();
        let score = SagScore::Gcn;
        for kind in [PoolKind::TopK { ratio }, PoolKind::Sag { ratio, score }, PoolKind::Asap { ratio }] {
            let store = ParamStore::new(1, DType::F64, &CPU);
            let pooled = kind.build(2, store.var_builder()).unwrap().pool(&features(nodes), &batch).unwrap();
            assert_eq!(pooled.batch.num_nodes(), kept, "{kind:?} of {nodes}");
        }
    }
}
