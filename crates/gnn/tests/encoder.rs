//! Graph encoders, alone and as a part of a classifier.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use gnn::classifier::{GraphClassifierConfig, graph_classifier};
use gnn::conv::ConvolutionKind;
use gnn::encoder::{GraphEncoderConfig, Readout, graph_encoder};
use gnn::pool::{PoolKind, SagScore};
use gnn::{Batch, Graph, Hierarchy};

const CPU: Device = Device::Cpu;

/// A path of six nodes in pairs and halves, a star, and a single node.
fn batch() -> Batch {
    let path = Graph::from_edges(6, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]).expect("valid input");
    let star = Graph::from_edges(4, &[(0, 1), (0, 2), (0, 3)]).expect("valid input");
    let single = Graph::from_edges(1, &[]).expect("valid input");
    let parts = [
        Hierarchy::from_assignments(&path, &[vec![0, 0, 1, 1, 2, 2], vec![0, 1, 1]], false).expect("valid input"),
        Hierarchy::from_assignments(&star, &[vec![0, 0, 1, 1], vec![0, 0]], false).expect("valid input"),
        Hierarchy::from_assignments(&single, &[vec![0], vec![0]], false).expect("valid input"),
    ];
    Hierarchy::batch(&parts.iter().collect::<Vec<_>>(), DType::F64, &CPU).expect("valid input")
}

fn features(batch: &Batch, width: usize) -> Tensor {
    Rng::new(1).normal(0.0, 1.0, (batch.num_nodes(), width), DType::F64, &CPU).expect("valid input")
}

fn rows(x: &Tensor) -> Vec<Vec<f64>> {
    x.to_vec2().expect("valid input")
}

#[test]
fn without_pools_the_embeddings_of_nodes_add_up_to_those_of_graphs() {
    let batch = batch();
    let x = features(&batch, 5);
    for (convolution, has_input_readout) in [(ConvolutionKind::Gcn, false), (ConvolutionKind::Gin, true)] {
        let config =
            GraphEncoderConfig { hidden: 4, convolution, has_input_readout, ..GraphEncoderConfig::new(5, vec![]) };
        let width = config.width();
        let store = ParamStore::new(3, DType::F64, &CPU);
        let encoding = graph_encoder(config, store.var_builder()).unwrap().forward(&x, &batch).unwrap();
        let nodes = encoding.nodes().unwrap();
        assert_eq!(nodes.dims(), [batch.num_nodes(), width]);
        assert_eq!(rows(&batch.graphs().sum(&nodes).unwrap()), rows(&encoding.graphs), "{convolution:?}");
    }
}

#[test]
fn nodes_of_one_cluster_share_the_embedding_of_its_level() {
    let batch = batch();
    let x = features(&batch, 3);
    let config = GraphEncoderConfig { hidden: 4, ..GraphEncoderConfig::new(3, vec![PoolKind::Precomputed; 2]) };
    let store = ParamStore::new(3, DType::F64, &CPU);
    let encoding = graph_encoder(config, store.var_builder()).unwrap().forward(&x, &batch).unwrap();
    assert_eq!(encoding.graphs.dims(), [3, 12]);
    let nodes = rows(&encoding.nodes().unwrap());
    // pairs (0, 1), (2, 3), (4, 5) at the first level, {0, 1} and {2, 3, 4, 5} above it
    assert_eq!(nodes[2], nodes[3]);
    assert_ne!(nodes[3][..4], nodes[4][..4]);
    assert_eq!(nodes[3][4..], nodes[4][4..]);
    assert_ne!(nodes[1][4..], nodes[2][4..]);
}

#[test]
fn every_pool_gives_embeddings_of_all_nodes() {
    let batch = batch();
    let x = features(&batch, 3);
    let pools = [
        PoolKind::TopK { ratio: 0.5 },
        PoolKind::Sag { ratio: 0.5, score: SagScore::GraphConv },
        PoolKind::Asap { ratio: 0.5 },
        PoolKind::DiffPool { num_clusters: 2 },
        PoolKind::MinCut { num_clusters: 2 },
    ];
    for pool in pools {
        let config = GraphEncoderConfig {
            hidden: 4,
            readout: Readout::Mean,
            has_input_readout: true,
            ..GraphEncoderConfig::new(3, vec![pool; 2])
        };
        let store = ParamStore::new(3, DType::F64, &CPU);
        let encoding = graph_encoder(config, store.var_builder()).unwrap().forward(&x, &batch).unwrap();
        assert_eq!(encoding.graphs.dims(), [3, 15], "{pool:?}");
        assert_eq!(encoding.nodes().unwrap().dims(), [11, 15], "{pool:?}");
        let has_loss = matches!(pool, PoolKind::DiffPool { .. } | PoolKind::MinCut { .. });
        assert_eq!(encoding.auxiliary_loss.is_some(), has_loss, "{pool:?}");
    }
}

#[test]
fn a_classifier_names_its_encoder_as_an_encoder_alone() {
    let batch = batch();
    let x = features(&batch, 3);
    let config = GraphClassifierConfig::sep_g(3, 2);
    let (alone, whole) = (ParamStore::new(8, DType::F64, &CPU), ParamStore::new(8, DType::F64, &CPU));
    let encoder = graph_encoder(config.encoder.clone(), alone.var_builder()).unwrap();
    let classifier = graph_classifier(config, whole.var_builder()).unwrap();
    let whole = whole.snapshot().unwrap();
    let parameters = alone.snapshot().unwrap();
    assert!(parameters.keys().all(|name| whole.contains_key(name)), "{:?}", parameters.keys());
    let head: Vec<&String> = whole.keys().filter(|name| !parameters.contains_key(*name)).collect();
    assert!(head.len() == 6 && head.iter().all(|name| name.starts_with("classifier.")), "{head:?}");
    // a parameter's first values follow from the seed and its name
    let embedding = encoder.forward(&x, &batch).unwrap().graphs;
    assert_eq!(rows(&classifier.encoder().forward(&x, &batch).unwrap().graphs), rows(&embedding));
}

/// No operation of Candle's own is in a training step, so that it is walked as a whole. DiffPool and MinCut pool with dense products of Candle.
#[test]
fn a_training_step_is_on_our_tape() {
    let batch = batch();
    let x = features(&batch, 3);
    let convolutions = [
        ConvolutionKind::Gcn,
        ConvolutionKind::Gin,
        ConvolutionKind::Sage,
        ConvolutionKind::Cheb,
        ConvolutionKind::Gat { heads: 2 },
        ConvolutionKind::GatV2 { heads: 2 },
    ];
    let pools = [
        PoolKind::Precomputed,
        PoolKind::TopK { ratio: 0.5 },
        PoolKind::Sag { ratio: 0.5, score: SagScore::GraphConv },
        PoolKind::Asap { ratio: 0.5 },
    ];
    let all = convolutions
        .iter()
        .map(|&c| (c, PoolKind::Precomputed))
        .chain(pools.iter().map(|&p| (ConvolutionKind::Gcn, p)));
    for (convolution, pool) in all {
        let mut config = GraphClassifierConfig::sep_g(3, 2);
        config.encoder = GraphEncoderConfig { hidden: 4, convolution, ..GraphEncoderConfig::new(3, vec![pool; 2]) };
        let store = ParamStore::new(8, DType::F64, &CPU);
        let classifier = graph_classifier(config, store.var_builder()).unwrap();
        let mut rng = Rng::new(2);
        let logits = classifier.forward(&x, &batch, &mut gnn::Mode::train(&mut rng)).unwrap().logits;
        let labels = Tensor::new(&[0u32, 1, 0], &CPU).unwrap();
        let loss = core_tensor::ops::cross_entropy(&logits, &labels).unwrap();
        assert_eq!(core_tensor::tape::foreign(&loss), [], "{convolution:?} {pool:?}");
        core_tensor::gradcheck::backward_both(&loss).unwrap();
    }
}
