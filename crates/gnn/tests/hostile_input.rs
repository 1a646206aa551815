//! Wrong input gives typed errors; odd but valid input works.

use candle_core::{DType, Device, Tensor};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use gnn::classifier::{GraphClassifierConfig, graph_classifier};
use gnn::conv::{Convolution, gcn_conv, gin_conv};
use gnn::encoder::{GraphEncoderConfig, graph_encoder};
use gnn::pool::{Pool, PoolKind, PrecomputedPool, SagScore, top_k_pool};
use gnn::sep::{CodingTree, Components, SepNConfig, TreeConfig, VolumeOffset, sep_n};
use gnn::{Adjacency, Batch, Error, Features, Graph, Hierarchy, Mode};

const CPU: Device = Device::Cpu;

fn all_pools() -> Vec<PoolKind> {
    vec![
        PoolKind::Precomputed,
        PoolKind::TopK { ratio: 0.5 },
        PoolKind::Sag { ratio: 0.5, score: SagScore::Gcn },
        PoolKind::Asap { ratio: 0.5 },
        PoolKind::DiffPool { num_clusters: 2 },
        PoolKind::MinCut { num_clusters: 2 },
    ]
}

fn hierarchy(graph: &Graph) -> Hierarchy {
    let tree = CodingTree::build(graph, TreeConfig::new(3)).expect("a valid graph");
    tree.hierarchy(graph, 2).expect("a valid graph")
}

#[test]
fn an_edge_to_a_missing_node_is_an_error() {
    let error = Graph::from_edges(3, &[(0, 1), (1, 3)]).unwrap_err();
    assert!(matches!(error, Error::OutOfRange { what: "edges", position: 1, index: 3, bound: 3, .. }), "{error}");
}

#[test]
fn weights_that_are_no_positive_numbers_are_errors() {
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = Graph::from_weighted_edges(2, &[(0, 1, weight)]).unwrap_err();
        assert!(matches!(error, Error::Value { what: "weights", position: 0, .. }), "{error}");
    }
}

#[test]
fn weights_of_one_edge_that_add_up_to_infinity_are_an_error() {
    let edges = [(0, 1, f64::MAX), (1, 0, f64::MAX)];
    assert!(matches!(Graph::from_weighted_edges(2, &edges), Err(Error::NotFinite { .. })));
    let graph = Graph::from_weighted_edges(4, &[(0, 2, f64::MAX), (1, 3, f64::MAX)]).unwrap();
    let sides = [vec![0, 0, 1, 1]];
    assert!(matches!(Hierarchy::from_assignments(&graph, &sides, true), Err(Error::NotFinite { .. })));
    assert!(Hierarchy::from_assignments(&graph, &sides, false).is_ok());
}

#[test]
fn assignments_that_do_not_fit_are_errors() {
    let graph = Graph::from_edges(3, &[(0, 1), (1, 2)]).unwrap();
    let cases: [&[Vec<u32>]; 8] = [
        &[vec![]],
        &[vec![0, 0]],
        &[vec![0, 0, 0, 0]],
        &[vec![0, 2, 0]],
        &[vec![1, 1, 1]],
        &[vec![0, u32::MAX, 1]],
        &[vec![0, 1, 1], vec![0]],
        &[vec![0, 0, 1], vec![0, 0, 0]],
    ];
    for assignments in cases {
        let error = Hierarchy::from_assignments(&graph, assignments, false).unwrap_err();
        assert!(matches!(error, Error::InvalidData { .. }), "{assignments:?}: {error}");
    }
    let empty = Graph::from_edges(0, &[]).unwrap();
    assert!(matches!(Hierarchy::from_assignments(&empty, &[], false), Err(Error::EmptyGraph { .. })));
    assert_eq!(Hierarchy::from_assignments(&graph, &[], false).unwrap().num_levels(), 0);
}

#[test]
fn hierarchies_of_different_heights_do_not_share_a_batch() {
    let graph = Graph::from_edges(3, &[(0, 1), (1, 2)]).unwrap();
    let low = Hierarchy::from_assignments(&graph, &[vec![0, 0, 1]], false).unwrap();
    let high = Hierarchy::from_assignments(&graph, &[vec![0, 0, 1], vec![0, 0]], false).unwrap();
    assert!(matches!(Hierarchy::batch(&[&low, &high], DType::F32, &CPU), Err(Error::InvalidData { .. })));
}

#[test]
fn a_graph_without_nodes_has_no_tree_and_no_batch() {
    let empty = Graph::from_edges(0, &[]).unwrap();
    assert!(matches!(CodingTree::build(&empty, TreeConfig::new(2)), Err(Error::EmptyGraph { .. })));
    assert!(matches!(Batch::single(&empty, DType::F32, &CPU), Err(Error::EmptyGraph { .. })));
    assert!(matches!(Batch::from_graphs(&[], DType::F32, &CPU), Err(Error::EmptyGraph { .. })));
    assert!(matches!(Hierarchy::batch(&[], DType::F32, &CPU), Err(Error::EmptyGraph { .. })));
}

#[test]
fn one_node_gives_a_chain() {
    for config in [TreeConfig::new(4), TreeConfig::for_node_classification(3)] {
        let tree = CodingTree::build(&Graph::from_edges(1, &[]).unwrap(), config).unwrap();
        assert_eq!(tree.layer_sizes(), [1, 1, 1, 1, 1]);
        assert_eq!((tree.entropy(), tree.one_dimensional_entropy()), (0.0, 0.0));
    }
}

#[test]
fn isolated_nodes_only_and_self_loops_only_work() {
    for edges in [vec![], vec![(0, 0), (1, 1), (2, 2)]] {
        let graph = Graph::from_edges(3, &edges).unwrap();
        for offset in [VolumeOffset::Zero, VolumeOffset::One] {
            for components in [Components::Split, Components::Join] {
                let config = TreeConfig::new(3).with_volume_offset(offset).with_components(components);
                let tree = CodingTree::build(&graph, config).unwrap();
                assert_eq!(tree.entropy(), 0.0);
                assert_eq!(tree.layer_graph(&graph, 1, false).unwrap().num_edges(), 0);
            }
        }
    }
}

#[test]
fn heights_of_zero_and_beyond_reason_are_errors() {
    let graph = Graph::from_edges(2, &[(0, 1)]).unwrap();
    for height in [0, 65] {
        assert!(matches!(CodingTree::build(&graph, TreeConfig::new(height)), Err(Error::InvalidConfig { .. })));
    }
}

#[test]
fn trees_that_are_none_are_errors() {
    let graph = Graph::from_edges(2, &[(0, 1)]).unwrap();
    let layers: [&[Vec<u32>]; 5] =
        [&[], &[vec![0]], &[vec![0, 1]], &[vec![0, 5], vec![0, 0]], &[vec![0, 0], vec![0, 0]]];
    for layers in layers {
        assert!(matches!(CodingTree::from_layers(&graph, layers), Err(Error::InvalidData { .. })), "{layers:?}");
    }
    let pointers: [&[Option<u32>]; 6] = [
        &[],
        &[Some(2), Some(2)],
        &[Some(2), Some(2), None, None],
        &[Some(2), Some(9), None],
        &[Some(0), Some(2), None],
        &[Some(2), Some(2), Some(3), Some(2), None],
    ];
    for pointers in pointers {
        assert!(
            matches!(CodingTree::from_parent_pointers(&graph, pointers), Err(Error::InvalidData { .. })),
            "{pointers:?}"
        );
    }
}

#[test]
fn layers_and_graphs_that_do_not_fit_a_tree_are_errors() {
    let graph = Graph::from_edges(3, &[(0, 1), (1, 2)]).unwrap();
    let other = Graph::from_edges(4, &[(0, 1)]).unwrap();
    let tree = CodingTree::build(&graph, TreeConfig::new(2)).unwrap();
    assert!(tree.labels(3).is_err() && tree.parents(2).is_err() && tree.layer_graph(&graph, 3, false).is_err());
    assert!(matches!(tree.layer_graph(&other, 1, false), Err(Error::InvalidData { .. })));
    assert!(tree.hierarchy(&other, 1).is_err());
    assert!(tree.hierarchy(&graph, 5).is_err());
}

#[test]
fn features_with_nan_or_infinity_or_bad_offsets_are_errors() {
    for value in [f32::NAN, f32::INFINITY] {
        let x = Tensor::new(&[[0f32, 1.0], [value, 0.0]], &CPU).unwrap();
        let error = Features::dense(x).unwrap_err();
        assert!(matches!(error, Error::NotFinite { position: 2, .. }), "{error}");
        let error = Features::from_csr(2, &[0, 1], &[0], &[value], DType::F32, &CPU).unwrap_err();
        assert!(matches!(error, Error::NotFinite { position: 0, .. }), "{error}");
    }
    for (offsets, indices) in
        [(vec![0, 2], vec![0u32]), (vec![1, 1], vec![0]), (vec![0, 1, 0], vec![0]), (vec![], vec![])]
    {
        let values = vec![1.0; indices.len()];
        assert!(Features::from_csr(2, &offsets, &indices, &values, DType::F32, &CPU).is_err(), "{offsets:?}");
    }
    assert!(Features::from_csr(2, &[0, 1], &[7], &[1.0], DType::F32, &CPU).is_err());
}

#[test]
fn nan_scores_are_an_error_of_node_dropping_pools() {
    let graph = Graph::from_edges(3, &[(0, 1), (1, 2)]).unwrap();
    let batch = Batch::single(&graph, DType::F32, &CPU).unwrap();
    let x = Tensor::new(&[[0f32], [f32::NAN], [1.0]], &CPU).unwrap();
    let store = ParamStore::new(0, DType::F32, &CPU);
    let error = top_k_pool(1, 0.5, store.var_builder()).unwrap().pool(&x, &batch).unwrap_err();
    assert!(matches!(error, Error::NotFinite { position: 1, .. }), "{error}");
}

#[test]
fn features_of_the_wrong_shape_are_errors() {
    let graph = Graph::from_edges(3, &[(0, 1), (1, 2)]).unwrap();
    let batch = Hierarchy::batch(&[&hierarchy(&graph)], DType::F32, &CPU).unwrap();
    let store = ParamStore::new(0, DType::F32, &CPU);
    let wrong_rows = Tensor::zeros((2, 4), DType::F32, &CPU).unwrap();
    let wrong_width = Tensor::zeros((3, 5), DType::F32, &CPU).unwrap();
    let gcn = gcn_conv(4, 2, store.var_builder().pp("gcn")).unwrap();
    let gin = gin_conv(4, 2, store.var_builder().pp("gin")).unwrap();
    let config = GraphClassifierConfig::sep_g(4, 2);
    let classifier = graph_classifier(config, store.var_builder().pp("classifier")).unwrap();
    let sep_n = sep_n(SepNConfig::new(4, 2), store.var_builder().pp("sep_n")).unwrap();
    for x in [wrong_rows, wrong_width] {
        assert!(gcn.forward(&x, batch.adjacency()).is_err());
        assert!(gin.forward(&x, batch.adjacency()).is_err());
        assert!(classifier.forward(&x, &batch, &mut Mode::evaluate()).is_err());
        assert!(sep_n.forward(&Features::dense(x).unwrap(), &batch, &mut Mode::evaluate()).is_err());
    }
}

#[test]
fn settings_out_of_range_are_errors() {
    let store = ParamStore::new(0, DType::F32, &CPU);
    for ratio in [0.0, -0.5, 1.5, f64::NAN] {
        assert!(matches!(top_k_pool(3, ratio, store.var_builder()), Err(Error::InvalidConfig { .. })), "{ratio}");
    }
    assert!(PoolKind::DiffPool { num_clusters: 0 }.build(3, store.var_builder()).is_err());
    for dropout in [-0.1, 1.0, f64::NAN] {
        let config = GraphClassifierConfig { dropout, ..GraphClassifierConfig::sep_g(3, 2) };
        assert!(graph_classifier(config, store.var_builder()).is_err(), "{dropout}");
    }
    let encoder = GraphEncoderConfig::new(3, vec![PoolKind::Precomputed; 4]);
    assert!(matches!(graph_encoder(encoder, store.var_builder()), Err(Error::InvalidConfig { .. })));
    let encoder = GraphEncoderConfig { num_convolutions: 0, ..GraphEncoderConfig::new(3, vec![]) };
    assert!(matches!(graph_encoder(encoder, store.var_builder()), Err(Error::InvalidConfig { .. })));
    assert!(sep_n(SepNConfig { num_blocks: 0, ..SepNConfig::new(3, 2) }, store.var_builder()).is_err());
}

#[test]
fn dropping_a_share_that_is_none_is_an_error_in_training() {
    let x = Tensor::zeros((2, 2), DType::F32, &CPU).unwrap();
    for p in [-0.1, 1.0, f64::NAN] {
        let mut rng = Rng::new(0);
        assert!(Mode::train(&mut rng).dropout(&x, p).is_err(), "{p}");
    }
}

#[test]
fn a_precomputed_pool_without_a_coarser_level_is_an_error() {
    let graph = Graph::from_edges(3, &[(0, 1), (1, 2)]).unwrap();
    let batch = Batch::single(&graph, DType::F32, &CPU).unwrap();
    let x = Tensor::zeros((3, 1), DType::F32, &CPU).unwrap();
    assert!(matches!(PrecomputedPool.pool(&x, &batch), Err(Error::InvalidData { .. })));
}

#[test]
fn batches_that_do_not_fit_are_errors() {
    let adjacency = Adjacency::from_edge_index(3, &[0], &[1], DType::F32, &CPU).unwrap();
    assert!(Batch::new(adjacency.clone(), &[0, 0], 1).is_err());
    assert!(Batch::new(adjacency.clone(), &[0, 0, 1], 1).is_err());
    assert!(adjacency.with_weights(Tensor::ones(2, DType::F32, &CPU).unwrap()).is_err());
    assert!(Adjacency::from_edge_index(3, &[0], &[3], DType::F32, &CPU).is_err());
    assert!(Adjacency::from_edge_index(3, &[0, 1], &[1], DType::F32, &CPU).is_err());
}

#[test]
fn every_pool_trains_on_a_single_node_an_isolated_node_and_several_components() {
    let graphs = [
        Graph::from_edges(1, &[]).unwrap(),
        Graph::from_edges(2, &[]).unwrap(),
        Graph::from_edges(7, &[(0, 1), (1, 2), (3, 4)]).unwrap(),
        Graph::from_edges(4, &[(0, 0), (0, 1), (1, 2), (2, 3)]).unwrap(),
    ];
    let hierarchies: Vec<Hierarchy> = graphs.iter().map(hierarchy).collect();
    let parts: Vec<&Hierarchy> = hierarchies.iter().collect();
    let batch = Hierarchy::batch(&parts, DType::F64, &CPU).unwrap();
    let mut rng = Rng::new(3);
    let x = rng.normal(0.0, 1.0, (batch.num_nodes(), 5), DType::F64, &CPU).unwrap();
    let y = Tensor::new(&[0u32, 1, 0, 1], &CPU).unwrap();
    for pool in all_pools() {
        let store = ParamStore::new(1, DType::F64, &CPU);
        let encoder = GraphEncoderConfig::new(5, vec![pool; 2]);
        let config = GraphClassifierConfig { dropout: 0.2, ..GraphClassifierConfig::new(encoder, 2) };
        let model = graph_classifier(config, store.var_builder()).unwrap();
        let out = model.forward(&x, &batch, &mut Mode::train(&mut rng)).unwrap();
        assert_eq!(out.logits.dims(), [4, 2], "{pool:?}");
        let mut loss = core_tensor::ops::cross_entropy(&out.logits, &y).unwrap();
        if let Some(auxiliary) = out.auxiliary_loss {
            loss = (loss + auxiliary).unwrap();
        }
        let gradients = core_tensor::gradcheck::backward_both(&loss).unwrap();
        for (name, var) in store.trainable() {
            let Some(gradient) = gradients.get(&var) else { continue };
            let values: Vec<f64> = gradient.flatten_all().unwrap().to_vec1().unwrap();
            assert!(values.iter().all(|value| value.is_finite()), "{pool:?}: {name} {values:?}");
        }
    }
}
