//! Graphs, batches and the ways into them.

use candle_core::{DType, Device, Tensor};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use gnn::classifier::{GraphClassifierConfig, graph_classifier};
use gnn::encoder::GraphEncoderConfig;
use gnn::pool::{PoolKind, SagScore};
use gnn::sep::{CodingTree, TreeConfig};
use gnn::{Adjacency, Batch, Graph, Hierarchy, Mode};
use petgraph::graph::{DiGraph, UnGraph};
use proptest::prelude::*;

#[test]
fn repeated_edges_count_once_and_repeated_weights_add() {
    let plain = Graph::from_edges(3, &[(0, 1), (1, 0), (1, 2), (1, 2)]).unwrap();
    assert_eq!(plain.edges().collect::<Vec<_>>(), [(0, 1, 1.0), (1, 2, 1.0)]);
    let weighted = Graph::from_weighted_edges(3, &[(0, 1, 0.5), (1, 0, 0.25), (2, 2, 4.0)]).unwrap();
    assert_eq!(weighted.edges().collect::<Vec<_>>(), [(0, 1, 0.75), (2, 2, 4.0)]);
    assert_eq!((weighted.num_edges(), weighted.num_entries()), (2, 3));
    assert_eq!((weighted.degree(0), weighted.degree(2)), (0.75, 0.0));
}

#[test]
fn nothing_is_minus_zero() {
    // an isolated node, an edgeless graph, one cluster that is all there is
    let graph = Graph::from_edges(3, &[(0, 1)]).unwrap();
    assert!(graph.degree(2).is_sign_positive() && graph.degree(9).is_sign_positive());
    for graph in [Graph::from_edges(3, &[(2, 2)]).unwrap(), Graph::from_edges(1, &[]).unwrap(), graph] {
        for height in 1..4 {
            let tree = CodingTree::build(&graph, TreeConfig::new(height)).unwrap();
            let two = (0..=height).map(|layer| tree.two_dimensional_entropy(layer).unwrap());
            for entropy in [tree.entropy(), tree.one_dimensional_entropy(), tree.volume()].into_iter().chain(two) {
                assert!(entropy.is_sign_positive(), "{graph:?}: {entropy}");
            }
            for step in tree.trace() {
                let deltas = [step.leaf_up_delta, step.root_down_delta];
                assert!(deltas.iter().all(|delta| *delta != 0.0 || delta.is_sign_positive()), "{step:?}");
            }
        }
    }
}

#[test]
fn petgraph_graphs_come_over_with_nodes_edges_and_weights() {
    let undirected = UnGraph::<(), f64>::from_edges([(0, 1, 2.0), (1, 2, 3.0)]);
    let weighted = Graph::from_petgraph_weighted(&undirected, |weight| *weight).unwrap();
    assert_eq!(weighted.edges().collect::<Vec<_>>(), [(0, 1, 2.0), (1, 2, 3.0)]);
    let mut directed = DiGraph::<&str, ()>::new();
    let nodes: Vec<_> = ["a", "b", "alone"].into_iter().map(|name| directed.add_node(name)).collect();
    directed.add_edge(nodes[1], nodes[0], ());
    let graph = Graph::from_petgraph(&directed).unwrap();
    assert_eq!((graph.num_nodes(), graph.num_edges()), (3, 1));
    assert!(graph.neighbors(2).is_empty());
    assert!(Graph::from_petgraph_weighted(&undirected, |_| -1.0).is_err());
}

#[test]
fn components_subgraphs_and_quotients_are_those_of_a_drawing() {
    let graph = Graph::from_edges(6, &[(0, 1), (1, 2), (3, 4), (5, 5)]).unwrap();
    assert_eq!(graph.components(), (vec![0, 0, 0, 1, 1, 2], 3));
    let part = graph.induced_subgraph(&[2, 1, 5]).unwrap();
    assert_eq!(part.edges().collect::<Vec<_>>(), [(0, 1, 1.0), (2, 2, 1.0)]);
    assert!(graph.induced_subgraph(&[1, 1]).is_err() && graph.induced_subgraph(&[6]).is_err());
    let square = Graph::from_edges(4, &[(0, 1), (1, 2), (2, 3), (3, 0)]).unwrap();
    let weighted = square.quotient(&[0, 0, 1, 1], 2, true).unwrap();
    assert_eq!(weighted.edges().collect::<Vec<_>>(), [(0, 1, 2.0)]);
    assert!(!square.quotient(&[0, 0, 1, 1], 2, false).unwrap().is_weighted());
    assert!(square.quotient(&[0, 0, 1], 2, true).is_err() && square.quotient(&[0, 0, 1, 2], 2, true).is_err());
}

#[test]
fn symmetric_propagation_equals_its_dense_formula() {
    let graph = Graph::from_weighted_edges(4, &[(0, 1, 2.0), (1, 2, 0.5), (3, 3, 3.0)]).unwrap();
    let adjacency = Adjacency::from_graph(&graph, DType::F64, &Device::Cpu).unwrap();
    let x = Tensor::eye(4, DType::F64, &Device::Cpu).unwrap();
    let actual = adjacency.propagate_symmetric(&x).unwrap().to_vec2::<f64>().unwrap();
    // A with a loop of 1 where there is none
    let a = [[1.0, 2.0, 0.0, 0.0], [2.0, 1.0, 0.5, 0.0], [0.0, 0.5, 1.0, 0.0], [0.0, 0.0, 0.0, 3.0]];
    let degree: Vec<f64> = a.iter().map(|row| row.iter().sum()).collect();
    for i in 0..4 {
        for j in 0..4 {
            let expected = a[i][j] / f64::sqrt(degree[i] * degree[j]);
            assert!((actual[i][j] - expected).abs() < 1e-15, "{i}, {j}: {} against {expected}", actual[i][j]);
        }
    }
}

#[test]
fn a_weighted_batch_propagates_as_each_graph_alone() {
    let weighted = Graph::from_weighted_edges(4, &[(0, 1, 2.0), (1, 2, 0.5), (3, 3, 3.0)]).unwrap();
    let plain = Graph::from_edges(3, &[(0, 1), (1, 2)]).unwrap();
    let batch = Batch::from_graphs(&[&weighted, &plain], DType::F64, &Device::Cpu).unwrap();
    let x = Rng::new(0).normal(0.0, 1.0, (7, 2), DType::F64, &Device::Cpu).unwrap();
    let together = batch.adjacency().propagate_symmetric(&x).unwrap().to_vec2::<f64>().unwrap();
    let mut alone = Vec::new();
    for (graph, start) in [(&weighted, 0), (&plain, 4)] {
        let x = x.narrow(0, start, graph.num_nodes()).unwrap();
        let adjacency = Adjacency::from_graph(graph, DType::F64, &Device::Cpu).unwrap();
        alone.extend(adjacency.propagate_symmetric(&x).unwrap().to_vec2::<f64>().unwrap());
    }
    for (a, b) in together.iter().flatten().zip(alone.iter().flatten()) {
        // one normalises on the host, the other in tensors
        assert!((a - b).abs() < 1e-15, "{together:?} against {alone:?}");
    }
    let sums = batch.adjacency().sum_neighbors(&x).unwrap().to_vec2::<f64>().unwrap();
    let x = x.to_vec2::<f64>().unwrap();
    assert_eq!((sums[0][0], sums[4][1]), (2.0 * x[1][0], x[5][1]));
}

#[test]
fn a_hierarchy_from_assignments_has_the_quotients_as_levels() {
    let graph =
        Graph::from_weighted_edges(5, &[(0, 1, 1.0), (1, 2, 2.0), (2, 3, 4.0), (3, 4, 8.0), (4, 0, 16.0)]).unwrap();
    let assignments = [vec![0, 0, 1, 1, 2], vec![0, 1, 1]];
    let hierarchy = Hierarchy::from_assignments(&graph, &assignments, true).unwrap();
    assert_eq!((hierarchy.num_nodes(), hierarchy.num_levels()), (5, 2));
    let batch = Hierarchy::batch(&[&hierarchy, &hierarchy], DType::F64, &Device::Cpu).unwrap();
    let pairs = batch.coarser().unwrap();
    assert_eq!(pairs.clusters.ids(), [0, 0, 1, 1, 2, 3, 3, 4, 4, 5]);
    let adjacency = pairs.batch.adjacency();
    // 0-1 by edge 1-2, 0-2 by edge 4-0, 1-2 by edge 3-4; then once more for the second graph
    assert_eq!(adjacency.sources(), [1, 2, 0, 2, 0, 1, 4, 5, 3, 5, 3, 4]);
    let weights = adjacency.weights().unwrap().to_vec1::<f64>().unwrap();
    assert_eq!(weights[..6], [2.0, 16.0, 2.0, 8.0, 16.0, 8.0]);
    let top = &pairs.batch.coarser().unwrap().batch;
    assert_eq!(top.adjacency().weights().unwrap().to_vec1::<f64>().unwrap(), [18.0; 4]);
    assert_eq!(top.graphs().ids(), [0, 0, 1, 1]);
    let unweighted = Hierarchy::from_assignments(&graph, &assignments, false).unwrap();
    let batch = Hierarchy::batch(&[&unweighted], DType::F64, &Device::Cpu).unwrap();
    assert!(batch.adjacency().weights().is_some() && batch.coarser().unwrap().batch.adjacency().weights().is_none());
}

fn pools() -> impl Strategy<Value = Vec<PoolKind>> {
    let pool = prop_oneof![
        Just(PoolKind::Precomputed),
        Just(PoolKind::TopK { ratio: 0.6 }),
        Just(PoolKind::Sag { ratio: 0.6, score: SagScore::GraphConv }),
        Just(PoolKind::Asap { ratio: 0.6 }),
    ];
    pool.prop_map(|pool| vec![pool; 2])
}

fn graph() -> impl Strategy<Value = Graph> {
    (1usize..12).prop_flat_map(|n| {
        let edge = (0..n as u32, 0..n as u32);
        prop::collection::vec(edge, 0..25).prop_map(move |edges| Graph::from_edges(n, &edges).expect("valid edges"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_hierarchy_of_a_tree_has_the_graphs_of_its_layers(graph in graph(), height in 1usize..5) {
        let tree = CodingTree::build(&graph, TreeConfig::new(height)).unwrap();
        let hierarchy = tree.hierarchy(&graph, height).unwrap();
        let mut batch = Hierarchy::batch(&[&hierarchy], DType::F64, &Device::Cpu).unwrap();
        for layer in 0..height {
            let coarsening = batch.coarser().unwrap().clone();
            prop_assert_eq!(coarsening.clusters.ids(), tree.parents(layer).unwrap());
            let expected = tree.layer_graph(&graph, layer + 1, false).unwrap();
            let expected = Adjacency::from_graph(&expected, DType::F64, &Device::Cpu).unwrap();
            let adjacency = coarsening.batch.adjacency();
            prop_assert_eq!(adjacency.sources(), expected.sources());
            prop_assert_eq!(adjacency.targets(), expected.targets());
            batch = coarsening.batch;
        }
        prop_assert!(batch.coarser().is_none());
    }

    #[test]
    fn a_batch_gives_each_graph_what_it_gets_alone(
        graphs in prop::collection::vec(graph(), 1..6), pools in pools(), seed in 0u64..1000
    ) {
        let hierarchies: Vec<Hierarchy> = graphs
            .iter()
            .map(|graph| CodingTree::build(graph, TreeConfig::new(3)).unwrap().hierarchy(graph, 2).unwrap())
            .collect();
        let store = ParamStore::new(seed, DType::F64, &Device::Cpu);
        let encoder = GraphEncoderConfig { hidden: 6, ..GraphEncoderConfig::new(3, pools) };
        let config = GraphClassifierConfig::new(encoder, 2);
        let model = graph_classifier(config, store.var_builder()).unwrap();
        let mut rng = Rng::new(seed);
        let run = |parts: &[&Hierarchy], x: &Tensor| {
            let batch = Hierarchy::batch(parts, DType::F64, &Device::Cpu).unwrap();
            model.forward(x, &batch, &mut Mode::evaluate()).unwrap().logits.to_vec2::<f64>().unwrap()
        };
        let features: Vec<Tensor> = graphs
            .iter()
            .map(|graph| rng.normal(0.0, 1.0, (graph.num_nodes(), 3), DType::F64, &Device::Cpu).unwrap())
            .collect();
        let together = run(&hierarchies.iter().collect::<Vec<_>>(), &Tensor::cat(&features, 0).unwrap());
        for ((hierarchy, x), expected) in hierarchies.iter().zip(&features).zip(together) {
            let alone = run(&[hierarchy], x);
            for (a, b) in alone[0].iter().zip(&expected) {
                // the sizes of matrix products differ, and with them the order of their sums
                prop_assert!((a - b).abs() <= 1e-9 * (1.0 + b.abs()), "{alone:?} against {expected:?}");
            }
        }
    }
}
