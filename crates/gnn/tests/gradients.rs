//! Gradients of every convolution and pool against central finite differences in f64.

use candle_core::{DType, Device, Tensor};
use core_tensor::gradcheck::gradcheck;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use gnn::conv::{ConvolutionKind, graph_conv};
use gnn::pool::{PoolKind, SagScore};
use gnn::sep::{CodingTree, TreeConfig};
use gnn::{Adjacency, Batch, Graph, Hierarchy};

const CPU: Device = Device::Cpu;

/// Two graphs, one with a self-loop, an isolated node and two components.
fn batch() -> Batch {
    let graphs = [
        Graph::from_edges(5, &[(0, 1), (1, 2), (2, 0), (2, 3), (3, 4)]).expect("valid input"),
        Graph::from_edges(6, &[(0, 0), (0, 1), (1, 2), (3, 4)]).expect("valid input"),
    ];
    let hierarchies: Vec<Hierarchy> = graphs
        .iter()
        .map(|graph| {
            let tree = CodingTree::build(graph, TreeConfig::new(2)).expect("valid input");
            tree.hierarchy(graph, 1).expect("valid input")
        })
        .collect();
    Hierarchy::batch(&hierarchies.iter().collect::<Vec<_>>(), DType::F64, &CPU).expect("valid input")
}

fn features(rows: usize, columns: usize) -> Tensor {
    Rng::new(7).normal(0.0, 1.0, (rows, columns), DType::F64, &CPU).expect("valid input")
}

fn as_core(error: gnn::Error) -> core_tensor::Error {
    core_tensor::Error::from(candle_core::Error::from(error))
}

#[test]
fn convolutions_have_the_gradients_of_finite_differences_in_features_and_weights() {
    let batch = batch();
    let adjacency = batch.adjacency();
    let x = features(adjacency.num_nodes(), 3);
    let weights = (features(adjacency.num_entries(), 1).squeeze(1).unwrap().sqr().unwrap() + 0.5).unwrap();
    let kinds = [
        ConvolutionKind::Gcn,
        ConvolutionKind::Gin,
        ConvolutionKind::GinWeighted,
        ConvolutionKind::Sage,
        ConvolutionKind::Cheb,
    ];
    for (inputs, outputs) in [(3, 2), (3, 5)] {
        let store = ParamStore::new(5, DType::F64, &CPU);
        let mut layers: Vec<_> = kinds
            .iter()
            .map(|kind| kind.build(inputs, outputs, store.var_builder().pp(format!("{kind:?}"))).unwrap())
            .collect();
        layers.push(Box::new(graph_conv(inputs, outputs, store.var_builder().pp("graph_conv")).unwrap()));
        for layer in &layers {
            gradcheck(|inputs| layer.forward(&inputs[0], adjacency).map_err(as_core), std::slice::from_ref(&x))
                .unwrap_or_else(|error| panic!("{layer:?} in x: {error}"));
            let weighted = |inputs: &[Tensor]| {
                let adjacency: Adjacency = adjacency.with_weights(inputs[1].clone()).map_err(as_core)?;
                layer.forward(&inputs[0], &adjacency).map_err(as_core)
            };
            gradcheck(weighted, &[x.clone(), weights.clone()])
                .unwrap_or_else(|error| panic!("{layer:?} in x and edge weights: {error}"));
        }
    }
}

#[test]
fn pools_have_the_gradients_of_finite_differences_through_reduce_connect_and_lift() {
    let batch = batch();
    let x = features(batch.num_nodes(), 3);
    let pools = [
        PoolKind::Precomputed,
        PoolKind::TopK { ratio: 0.5 },
        PoolKind::Sag { ratio: 0.5, score: SagScore::GraphConv },
        PoolKind::Asap { ratio: 0.5 },
        PoolKind::DiffPool { num_clusters: 2 },
        PoolKind::MinCut { num_clusters: 3 },
    ];
    for kind in pools {
        let store = ParamStore::new(2, DType::F64, &CPU);
        let pool = kind.build(3, store.var_builder().pp("pool")).unwrap();
        let conv = ConvolutionKind::Gcn.build(3, 2, store.var_builder().pp("conv")).unwrap();
        let through = |inputs: &[Tensor]| -> gnn::Result<Tensor> {
            let pooled = pool.pool(&inputs[0], &batch)?;
            let coarse = conv.forward(&pooled.x, pooled.batch.adjacency())?;
            let lifted = pooled.selection.lift(&coarse)?.flatten_all()?;
            match pooled.auxiliary_loss()? {
                Some(loss) => Ok(Tensor::cat(&[&lifted, &loss.reshape(1)?], 0)?),
                None => Ok(lifted),
            }
        };
        gradcheck(|inputs| through(inputs).map_err(as_core), std::slice::from_ref(&x))
            .unwrap_or_else(|error| panic!("{kind:?}: {error}"));
    }
}
