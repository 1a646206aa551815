//! GAT, GATv2 and GIN against the formulas in NumPy: float64, edge by edge, with parameters and inputs `sin(a · i + b)` over the flat position `i`.

use candle_core::{DType, Device, Tensor};
use core_tensor::gradcheck::gradcheck;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use gnn::conv::{Convolution, ConvolutionKind, GatConfig, GatConv, gat_conv, gin_conv};
use gnn::encoder::{GraphEncoderConfig, graph_encoder};
use gnn::pool::PoolKind;
use gnn::{Adjacency, Batch, Error, Graph, Mode};

const CPU: Device = Device::Cpu;

fn sines(shape: &[usize], a: f64, b: f64) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|i| (a * i as f64 + b).sin()).collect();
    Tensor::from_vec(values, shape, &CPU).expect("a tensor")
}

fn assert_close(name: &str, actual: &Tensor, expected: &[f64]) {
    let actual: Vec<f64> = actual.flatten_all().and_then(|x| x.to_vec1()).expect("values");
    assert_eq!(actual.len(), expected.len(), "{name}");
    for (a, b) in actual.iter().zip(expected) {
        // sums of a dozen terms of order 1
        assert!((a - b).abs() <= 1e-13, "{name}: {actual:?} against {expected:?}");
    }
}

/// Eight messages between four nodes, one of them a loop; no message comes into node 3.
fn adjacency() -> Adjacency {
    let (sources, targets) = ([1, 0, 2, 1, 0, 2, 2, 3], [0, 1, 1, 2, 2, 0, 2, 1]);
    Adjacency::from_edge_index(4, &sources, &targets, DType::F64, &CPU).expect("edges")
}

fn layer(config: GatConfig) -> GatConv {
    let store = ParamStore::new(0, DType::F64, &CPU);
    let layer = gat_conv(config, store.var_builder()).expect("a layer");
    let constants = |name: &str| match (config.is_dynamic, name) {
        (_, "bias") => (1.0, 1.3),
        (_, "lin_edge.weight") => (0.9, 0.2),
        (_, "lin.weight" | "lin_l.weight") => (0.3, 0.5),
        (_, "att_src" | "att") => (0.4, 1.0),
        (_, "att_dst") => (0.6, 0.2),
        (_, "att_edge") => (0.8, 0.4),
        (_, "lin_l.bias") => (0.2, 0.7),
        (_, "lin_r.weight") => (0.35, 0.9),
        (_, "lin_r.bias") => (0.25, 0.1),
        other => panic!("unknown parameter {other:?}"),
    };
    for (name, var) in store.vars() {
        let (a, b) = constants(&name);
        store.set(&name, &sines(var.dims(), a, b)).expect("a parameter");
    }
    layer
}

/// `(is_dynamic, has edge features, has self-loops and heads side by side, output)`.
type Case = (bool, bool, bool, &'static [f64]);

#[rustfmt::skip]
const CASES: [Case; 8] = [
    (false, false, true, &[2.260873173152904, 2.3223192108744586, 0.028486891349610383, -0.9074201362661383, 2.329756682924866, 2.3854741367697585, 0.2777161743879901, -1.1473819279832371, 1.858181187893226, 1.8596507590213227, -0.059470958099132415, -0.9339402960746717, 2.4322744104762237, 2.491424434152189, 0.5438510211610417, -1.7896461348467194]),
    (false, false, false, &[0.9936423206016246, 1.1319221873746823, 1.8207843751658304, 1.3230134347275593, 1.4600070546772672, 1.2937908059364132, 0.963558185417193, 0.7457052121767203]),
    (false, true, true, &[2.121779712323621, 2.206521278028879, -0.27350545559554745, -0.8584853106835731, 2.3570525778943465, 2.4167109814392056, 0.053741578047243915, -1.1036457545325984, 1.496573082600237, 1.4783532439280984, 0.14922503003780432, -1.118566352888484, 2.4322744104762237, 2.491424434152189, 0.5438510211610417, -1.7896461348467194]),
    (false, true, false, &[0.7854386675245443, 1.2581839469186633, 1.7016681959298625, 1.4373060152547068, 1.381050695828102, 0.9286920541430287, 0.963558185417193, 0.7457052121767203]),
    (true, false, true, &[2.92124545565587, 3.1274303287591327, 1.05808266369046, -0.10150544883716817, 2.994470793023086, 3.1962359132304585, 1.1689235344494253, -0.1838237425660444, 2.5369077894674397, 2.6803385376029922, 1.0949345371055152, -0.00526582250443608, 3.0764920977139147, 3.274751343779672, 1.435058381222477, -0.8260879494295265]),
    (true, false, false, &[1.8533641837751944, 2.064391991068687, 2.5995730385870965, 2.2111588544108836, 2.376573103066698, 2.1684719320123653, 0.963558185417193, 0.7457052121767203]),
    (true, true, true, &[2.703726209330219, 2.9449816664301403, 0.5986815617908029, 0.010181685955644282, 3.0129392592248956, 3.2130568426370045, 0.9413644177285942, -0.015743679952197165, 2.125470396639508, 2.248236324986124, 1.097448567735768, -0.23688156680662853, 3.0764920977139147, 3.274751343779672, 1.435058381222477, -0.8260879494295265]),
    (true, true, false, &[1.4583973764224756, 2.202992732380888, 2.4015627852479215, 2.3722068529740836, 2.2225211233283897, 1.674553851031733, 0.963558185417193, 0.7457052121767203]),
];

#[test]
fn attention_has_the_values_of_its_formula() {
    let adjacency = adjacency();
    let (x, edges) = (sines(&[4, 3], 0.7, 0.1), sines(&[8, 2], 0.5, 0.3));
    for (is_dynamic, has_edges, has_self_loops, expected) in CASES {
        let config = GatConfig {
            heads: 2,
            is_dynamic,
            edge_features: if has_edges { 2 } else { 0 },
            has_self_loops,
            is_concatenated: has_self_loops,
            ..GatConfig::new(3, 2)
        };
        let name = format!("{config:?}");
        let edges = has_edges.then_some(&edges);
        let out = layer(config).forward_with(&x, &adjacency, edges, &mut Mode::evaluate()).unwrap();
        assert_close(&name, &out, expected);
    }
}

#[test]
fn attention_has_the_gradients_of_finite_differences() {
    let adjacency = adjacency();
    let (x, edges) = (sines(&[4, 3], 0.7, 0.1), sines(&[8, 2], 0.5, 0.3));
    for is_dynamic in [false, true] {
        let layer = layer(GatConfig { heads: 2, is_dynamic, edge_features: 2, ..GatConfig::new(3, 2) });
        let run = |inputs: &[Tensor]| {
            layer
                .forward_with(&inputs[0], &adjacency, Some(&inputs[1]), &mut Mode::evaluate())
                .map_err(|error| core_tensor::Error::from(candle_core::Error::from(error)))
        };
        gradcheck(run, &[x.clone(), edges.clone()]).unwrap_or_else(|error| panic!("{layer:?}: {error}"));
    }
}

#[test]
fn attention_without_messages_is_the_bias_and_edge_features_must_fit() {
    let empty = Adjacency::from_edge_index(4, &[], &[], DType::F64, &CPU).unwrap();
    let x = sines(&[4, 3], 0.7, 0.1);
    let alone = layer(GatConfig { has_self_loops: false, ..GatConfig::new(3, 2) });
    let bias: Vec<f64> = sines(&[2], 1.0, 1.3).to_vec1().unwrap();
    assert_eq!(alone.forward(&x, &empty).unwrap().to_vec2::<f64>().unwrap(), vec![bias; 4]);
    let edged = layer(GatConfig { edge_features: 2, ..GatConfig::new(3, 2) });
    let no_edges = Tensor::zeros((0, 2), DType::F64, &CPU).unwrap();
    // the loops have zeros as features
    assert!(edged.forward_with(&x, &empty, Some(&no_edges), &mut Mode::evaluate()).is_ok());

    let adjacency = adjacency();
    let wrong = sines(&[8, 3], 0.7, 0.1);
    assert!(edged.forward(&x, &adjacency).unwrap_err().to_string().contains("forward_with"));
    for (layer, edges) in [(&edged, &wrong), (&edged, &no_edges), (&alone, &wrong)] {
        assert!(layer.forward_with(&x, &adjacency, Some(edges), &mut Mode::evaluate()).is_err());
    }
    let mut rng = Rng::new(0);
    let config = GatConfig { attention_dropout: 0.5, ..GatConfig::new(3, 2) };
    let dropped = layer(config).forward_with(&x, &adjacency, None, &mut Mode::train(&mut rng)).unwrap();
    let whole = layer(config).forward(&x, &adjacency).unwrap();
    assert_ne!(dropped.to_vec2::<f64>().unwrap(), whole.to_vec2::<f64>().unwrap());
    for config in [
        GatConfig { heads: 0, ..GatConfig::new(3, 2) },
        GatConfig { attention_dropout: 1.0, ..GatConfig::new(3, 2) },
        GatConfig { negative_slope: f64::NAN, ..GatConfig::new(3, 2) },
        GatConfig::new(3, 0),
    ] {
        let store = ParamStore::new(0, DType::F64, &CPU);
        assert!(matches!(gat_conv(config, store.var_builder()), Err(Error::InvalidConfig { .. })), "{config:?}");
    }
    let store = ParamStore::new(0, DType::F64, &CPU);
    assert!(ConvolutionKind::Gat { heads: 3 }.build(3, 8, store.var_builder()).is_err());
    assert!(ConvolutionKind::GatV2 { heads: 4 }.build(3, 8, store.var_builder()).is_ok());
}

#[test]
fn features_of_edges_go_to_both_directions() {
    let graph = Graph::from_edges(3, &[(0, 1), (1, 2), (2, 2)]).unwrap();
    let adjacency = Adjacency::from_graph(&graph, DType::F64, &CPU).unwrap();
    let features = Tensor::new(&[[10.0], [20.0], [30.0]], &CPU).unwrap();
    let edges = [(2, 1), (2, 2), (0, 1)];
    let of_messages = adjacency.edge_features(&edges, &features).unwrap().flatten_all().unwrap();
    // messages by target: 1 → 0; 0 → 1, 2 → 1; 1 → 2, 2 → 2
    assert_eq!(of_messages.to_vec1::<f64>().unwrap(), [30.0, 30.0, 10.0, 10.0, 20.0]);
    assert!(adjacency.edge_features(&edges[..2], &features).is_err());
    let two = features.narrow(0, 0, 2).unwrap();
    assert!(adjacency.edge_features(&edges[..2], &two).unwrap_err().to_string().contains("no such edge"));
    assert!(adjacency.edge_features(&[(0, 1), (1, 0), (1, 2)], &features).is_err());
}

/// The path 0 - 1 - 2 with weights 2 and 0.5, features of two columns.
#[test]
fn gin_leaves_edge_weights_aside_unless_asked() {
    let graph = Graph::from_weighted_edges(3, &[(0, 1, 2.0), (1, 2, 0.5)]).unwrap();
    let adjacency = Adjacency::from_graph(&graph, DType::F64, &CPU).unwrap();
    let store = ParamStore::new(0, DType::F64, &CPU);
    let layer = gin_conv(2, 2, store.var_builder()).unwrap();
    for (name, a, b) in
        [("nn.0.weight", 0.9, 0.4), ("nn.0.bias", 0.3, 0.1), ("nn.2.weight", 0.5, 1.1), ("nn.2.bias", 0.7, 0.2)]
    {
        let shape: &[usize] = if name.ends_with("bias") { &[2] } else { &[2, 2] };
        store.set(name, &sines(shape, a, b)).unwrap();
    }
    let x = Tensor::new(&[[1.0, -2.0], [0.5, 3.0], [-1.0, 4.0]], &CPU).unwrap();
    let plain = [
        3.3099932155899032,
        3.05283292800419,
        5.755961376395624,
        5.7126517200524445,
        6.401343378688265,
        6.66609583312286,
    ];
    assert_close("GIN", &layer.forward(&x, &adjacency).unwrap(), &plain);
    let weighted = [
        6.588474531469745,
        5.9888602294246605,
        3.887595293700123,
        3.429298210957902,
        4.762102720748345,
        5.198082182412626,
    ];
    assert_close("weighted GIN", &layer.with_edge_weights().forward(&x, &adjacency).unwrap(), &weighted);
}

#[test]
fn gin_behind_a_dense_pool_sees_the_pooled_weights() {
    let graphs = [Graph::from_edges(4, &[(0, 1), (1, 2), (2, 3)]).unwrap(), Graph::from_edges(3, &[(0, 1)]).unwrap()];
    let batch = Batch::from_graphs(&graphs.iter().collect::<Vec<_>>(), DType::F64, &CPU).unwrap();
    let x = sines(&[7, 3], 0.7, 0.1);
    let embed = |convolution| {
        let pools = vec![PoolKind::DiffPool { num_clusters: 2 }];
        let config = GraphEncoderConfig { hidden: 4, convolution, ..GraphEncoderConfig::new(3, pools) };
        let store = ParamStore::new(1, DType::F64, &CPU);
        graph_encoder(config, store.var_builder()).unwrap().forward(&x, &batch).unwrap().graphs.to_vec2::<f64>()
    };
    assert_eq!(embed(ConvolutionKind::Gin).unwrap(), embed(ConvolutionKind::GinWeighted).unwrap());
}

/// Each convolution and pool names itself where features do not fit, not an operation inside it.
#[test]
fn errors_name_the_layer() {
    let graph = Graph::from_edges(3, &[(0, 1), (1, 2)]).unwrap();
    let batch = Batch::single(&graph, DType::F32, &CPU).unwrap();
    let other = Batch::single(&graph, DType::F64, &CPU).unwrap();
    let x = Tensor::ones((3, 4), DType::F32, &CPU).unwrap();
    let x64 = x.to_dtype(DType::F64).unwrap();
    let narrow = x.narrow(1, 0, 3).unwrap();
    let few = x.narrow(0, 0, 2).unwrap();
    let store = ParamStore::new(0, DType::F32, &CPU);
    let kinds = [
        (ConvolutionKind::Gcn, "GcnConv"),
        (ConvolutionKind::Gin, "GinConv"),
        (ConvolutionKind::Sage, "SageConv"),
        (ConvolutionKind::Cheb, "ChebConv"),
        (ConvolutionKind::Gat { heads: 2 }, "GatConv"),
    ];
    for (kind, name) in kinds {
        let layer = kind.build(4, 4, store.var_builder().pp(name)).unwrap();
        assert!(layer.forward(&x, batch.adjacency()).is_ok());
        for (x, batch, is_kind) in
            [(&x64, &batch, true), (&x, &other, true), (&narrow, &batch, false), (&few, &batch, false)]
        {
            for result in [layer.forward(x, batch.adjacency()), layer.forward_relu(x, batch.adjacency())] {
                let error = result.unwrap_err();
                assert!(error.to_string().starts_with(name), "{error}");
                assert_eq!(matches!(error, Error::DType { .. }), is_kind, "{error}");
            }
        }
    }
    let pools = [
        (PoolKind::TopK { ratio: 0.5 }, "TopKPool"),
        (PoolKind::Sag { ratio: 0.5, score: gnn::pool::SagScore::Gcn }, "SagPool"),
        (PoolKind::Asap { ratio: 0.5 }, "AsapPool"),
        (PoolKind::DiffPool { num_clusters: 2 }, "DiffPool"),
        (PoolKind::MinCut { num_clusters: 2 }, "MinCutPool"),
    ];
    for (kind, name) in pools {
        let pool = kind.build(4, store.var_builder().pp(name)).unwrap();
        assert!(pool.pool(&x, &batch).is_ok());
        for (x, batch) in [(&x64, &batch), (&x, &other), (&narrow, &batch), (&few, &batch)] {
            let error = pool.pool(x, batch).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
    let config = gnn::classifier::GraphClassifierConfig::new(GraphEncoderConfig::new(4, vec![]), 2);
    let model = gnn::classifier::graph_classifier(config, store.var_builder().pp("model")).unwrap();
    for (x, batch) in [(&x64, &batch), (&x, &other), (&narrow, &batch)] {
        let error = model.forward(x, batch, &mut Mode::evaluate()).unwrap_err();
        assert!(error.to_string().starts_with("GraphClassifier::forward"), "{error}");
    }
    let sep_u = gnn::sep::sep_u(4, 8, PoolKind::TopK { ratio: 0.5 }, store.var_builder().pp("sep_u")).unwrap();
    let error = sep_u.forward(&x64, &batch, &mut Mode::evaluate()).unwrap_err();
    assert!(error.to_string().starts_with("SepU::forward"), "{error}");
    let sep_n = gnn::sep::sep_n(gnn::sep::SepNConfig::new(4, 2), store.var_builder().pp("sep_n")).unwrap();
    let error = sep_n.forward(&gnn::Features::dense(x64).unwrap(), &batch, &mut Mode::evaluate()).unwrap_err();
    assert!(error.to_string().starts_with("SepN::forward"), "{error}");
}
