//! The reconstruction after OEPG and the imbalance tools: gradients, properties, named cases, hostile input.

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::gradcheck::gradcheck;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use gnn::conv::{Convolution, gcn_conv, gin_conv, sage_conv};
use gnn::imbalance::{PageRankConfig, ReNodeConfig, StepImbalance, renode_weights, totoro};
use gnn::oepg::{
    ClusterConfig, DescriptorKind, DescriptorOrders, EgoAttentionConfig, EgoBase, EgoConvConfig, EgoDescriptor,
    HierarchicalClusters, Oepg, OepgConfig, OmniNorm, ego_attention, ego_conv,
};
use gnn::{Adjacency, Features, Graph};
use proptest::prelude::*;
use std::ops::ControlFlow;

const CPU: Device = Device::Cpu;

fn normal(seed: u64, shape: impl Into<candle_core::Shape>) -> Tensor {
    Rng::new(seed).normal(0.0, 1.0, shape, DType::F64, &CPU).expect("numbers")
}

fn largest(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let difference = (a - b).and_then(|d| d.abs()?.flatten_all()?.max(0)?.to_dtype(DType::F64)?.to_scalar::<f64>());
    difference.expect("a difference")
}

fn random_graph(n: usize, edges: usize, seed: u64) -> Graph {
    let mut rng = Rng::new(seed);
    let edges: Vec<(u32, u32)> = (0..edges).map(|_| (rng.below(n) as u32, rng.below(n) as u32)).collect();
    Graph::from_edges(n, &edges).expect("a graph")
}

fn clusters(z: &Tensor, sizes: &[usize]) -> HierarchicalClusters {
    let config = ClusterConfig { sizes: sizes.to_vec(), ..ClusterConfig::default() };
    HierarchicalClusters::fit(z, &config, &mut Rng::new(0)).expect("clusters")
}

fn attention(descriptor: EgoDescriptor, norm: OmniNorm, levels: usize) -> EgoAttentionConfig {
    EgoAttentionConfig { descriptors: 4, values: 3, keys: 2, levels, descriptor, norm }
}

const KINDS: [DescriptorKind; 2] = [DescriptorKind::Fisher, DescriptorKind::Raw];
const ORDERS: [DescriptorOrders; 3] = [DescriptorOrders::Both, DescriptorOrders::First, DescriptorOrders::Second];
const NORMS: [OmniNorm; 4] = [OmniNorm::Joint, OmniNorm::PerLevel, OmniNorm::Uniform, OmniNorm::TopM(3)];

/// The formulas as they stand, with all descriptors in memory.
fn explicit(
    z: &Tensor,
    x: &Tensor,
    w: &[Tensor; 5],
    found: &HierarchicalClusters,
    config: &EgoAttentionConfig,
) -> Tensor {
    let run = || -> candle_core::Result<Tensor> {
        let (n, width) = z.dims2()?;
        let q = x.matmul(&w[2])?;
        let (mut scores, mut values) = (Vec::new(), Vec::new());
        for (at, level) in found.levels().iter().enumerate() {
            let count = level.masses.len();
            let rows = |values: &[f64]| Tensor::from_slice(values, (1, count, width), &CPU);
            let difference = z.unsqueeze(1)?.broadcast_sub(&rows(&level.centroids)?)?;
            let variance = rows(&level.variances)?;
            let is_fisher = config.descriptor.kind == DescriptorKind::Fisher;
            let first = if is_fisher { difference.broadcast_div(&variance.sqrt()?)? } else { difference.clone() };
            let second = match is_fisher {
                true => ((difference.sqr()?.broadcast_div(&variance)? - 1.0)? / 2f64.sqrt())?,
                false => difference.sqr()?,
            };
            for (order, phi) in [first, second].into_iter().enumerate() {
                let is_out = match config.descriptor.orders {
                    DescriptorOrders::Both => false,
                    DescriptorOrders::First => order == 1,
                    DescriptorOrders::Second => order == 0,
                };
                if is_out {
                    continue;
                }
                let value = phi.broadcast_matmul(&w[order].unsqueeze(0)?)?;
                let key = value.broadcast_matmul(&w[3].unsqueeze(0)?)?;
                let key = key.broadcast_add(&w[4].narrow(0, at, 1)?.unsqueeze(0)?)?;
                let score = (key.broadcast_mul(&q.unsqueeze(1)?)?.sum(2)? / (q.dims()[1] as f64).sqrt())?;
                scores.push((at, score));
                values.push(value);
            }
        }
        let all = Tensor::cat(&scores.iter().map(|(_, score)| score.clone()).collect::<Vec<_>>(), 1)?;
        let granules = all.dims()[1];
        let weights = match config.norm {
            OmniNorm::Joint => candle_nn::ops::softmax(&all, 1)?,
            OmniNorm::Uniform => (all.ones_like()? / granules as f64)?,
            OmniNorm::PerLevel => {
                let mut parts = Vec::new();
                for level in 0..found.levels().len() {
                    let own: Vec<Tensor> =
                        scores.iter().filter(|(at, _)| *at == level).map(|(_, score)| score.clone()).collect();
                    parts.push((candle_nn::ops::softmax(&Tensor::cat(&own, 1)?, 1)? / found.levels().len() as f64)?);
                }
                Tensor::cat(&parts, 1)?
            }
            OmniNorm::TopM(count) => {
                let rows = all.detach().to_vec2::<f64>()?;
                let mut mask = Vec::new();
                for row in &rows {
                    let mut order: Vec<usize> = (0..granules).collect();
                    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
                    let mut keeps = vec![f64::NEG_INFINITY; granules];
                    order[..count.min(granules)].iter().for_each(|&at| keeps[at] = 0.0);
                    mask.extend(keeps);
                }
                candle_nn::ops::softmax(&(all + Tensor::from_vec(mask, (n, granules), &CPU)?)?, 1)?
            }
        };
        Tensor::cat(&values, 1)?.broadcast_mul(&weights.unsqueeze(2)?)?.sum(1)
    };
    run().expect("the explicit form")
}

#[test]
fn the_matrix_form_is_the_explicit_one_with_its_gradients() {
    // far from the origin, and more rows than a tile has
    for (n, shift) in [(7, 0.0), (7, 50.0), (300, 3.0)] {
        let z = (normal(1, (n, 4)) + shift).expect("a sum");
        let x = normal(2, (n, 3));
        let found = clusters(&z, &[5, 2]);
        for kind in KINDS {
            for orders in ORDERS {
                for norm in NORMS {
                    let config = attention(EgoDescriptor { kind, orders }, norm, 2);
                    let store = ParamStore::new(3, DType::F64, &CPU);
                    let layer = ego_attention(config, store.var_builder()).expect("a layer");
                    store.set("r", &normal(4, (2, 2))).expect("set");
                    let vars: std::collections::BTreeMap<_, _> = store.vars().into_iter().collect();
                    let weights = ["w1", "w2", "wq", "wk", "r"].map(|name| vars[name].as_tensor().clone());
                    let (vz, vx) = (Var::from_tensor(&z).expect("z"), Var::from_tensor(&x).expect("x"));
                    let ours = layer.forward(&vz, &vx, &found).expect("a sum");
                    let theirs = explicit(&vz, &vx, &weights, &found, &config);
                    let case = format!("{n} {shift} {kind:?} {orders:?} {norm:?}");
                    let scale = theirs.abs().and_then(|t| t.max_all()?.to_scalar::<f64>()).expect("a number").max(1.0);
                    assert!(largest(&ours, &theirs) < 1e-9 * scale, "{case}");
                    let of_rows = layer.weights(&z, &x, &found).and_then(|w| Ok(w.sum(1)?)).expect("weights");
                    assert!(largest(&of_rows, &of_rows.ones_like().expect("ones")) < 1e-12, "{case}");
                    let mask = normal(5, (n, 3));
                    let loss = |sum: &Tensor| (sum * &mask).and_then(|s| s.sum_all()).expect("a number");
                    let (a, b) = (
                        core_tensor::gradcheck::backward_both(&loss(&ours)).expect("gradients"),
                        loss(&theirs).backward().expect("gradients"),
                    );
                    for (name, var) in vars.iter().map(|(n, v)| (n.as_str(), v)).chain([("z", &vz), ("x", &vx)]) {
                        let zeros = var.zeros_like().expect("zeros");
                        let (ours, theirs) = (a.get(var).unwrap_or(&zeros), b.get(var).unwrap_or(&zeros));
                        let scale = theirs.abs().and_then(|t| t.max_all()?.to_scalar::<f64>()).expect("a number");
                        assert!(largest(ours, theirs) < 1e-8 * scale.max(1.0), "{case}: {name}");
                    }
                }
            }
        }
    }
}

#[test]
fn ego_convolutions_have_right_gradients_and_are_plain_without_weight() {
    let graph = random_graph(6, 9, 1);
    let adjacency = Adjacency::from_graph(&graph, DType::F64, &CPU).expect("an adjacency");
    let (x, ego) = (normal(1, (6, 3)), normal(2, (6, 3)));
    let store = ParamStore::new(0, DType::F64, &CPU);
    let bases: [Box<dyn EgoBase>; 3] = [
        Box::new(gcn_conv(3, 2, store.var_builder().pp("gcn")).expect("a layer")),
        Box::new(gin_conv(3, 2, store.var_builder().pp("gin")).expect("a layer")),
        Box::new(sage_conv(3, 2, store.var_builder().pp("sage")).expect("a layer")),
    ];
    for base in &bases {
        let plain = base.forward(&x, &adjacency).expect("features");
        let none = base.forward_ego(&x, &ego, 0.0, &adjacency).expect("features");
        assert!(largest(&none, &plain) < 1e-12);
        let with = |t: &[Tensor]| -> core_tensor::Result<Tensor> {
            Ok(base.forward_ego(&t[0], &t[1], 0.7, &adjacency).map_err(candle_core::Error::from)?)
        };
        gradcheck(with, &[x.clone(), ego.clone()]).expect("right gradients");
    }
    // a node without neighbours
    let lonely = Graph::from_edges(2, &[]).expect("a graph");
    let lonely = Adjacency::from_graph(&lonely, DType::F64, &CPU).expect("an adjacency");
    for base in &bases {
        let out = base.forward_ego(&normal(1, (2, 3)), &normal(2, (2, 3)), 0.3, &lonely).expect("features");
        assert!(out.flatten_all().and_then(|o| o.to_vec1::<f64>()).expect("numbers").iter().all(|v| v.is_finite()));
    }
}

#[test]
fn a_layer_with_clusters_inside_is_a_convolution() {
    let graph = random_graph(20, 40, 1);
    let adjacency = Adjacency::from_graph(&graph, DType::F64, &CPU).expect("an adjacency");
    let x = normal(1, (20, 4));
    let store = ParamStore::new(0, DType::F64, &CPU);
    let config = EgoConvConfig {
        attention: EgoAttentionConfig { values: 4, ..attention(EgoDescriptor::default(), OmniNorm::Joint, 2) },
        lambda: 0.3,
        ego_norm: true,
        query_norm: true,
    };
    let base = gcn_conv(4, 3, store.var_builder().pp("base")).expect("a layer");
    let layer = ego_conv(base.clone(), config, store.var_builder()).expect("a layer");
    let plain = base.forward(&x, &adjacency).expect("features");
    assert_eq!(largest(&layer.forward(&x, &adjacency).expect("features"), &plain), 0.0);
    let layer = layer.with_clusters(clusters(&normal(5, (30, 4)), &[5, 2]));
    let with = layer.forward(&x, &adjacency).expect("features");
    assert!(largest(&with, &plain) > 1e-3);
    // sums are normalised, so that their size does not count; in a supervised step all parameters learn
    let loss = with.sqr().and_then(|s| s.sum_all()).expect("a number");
    let gradients = core_tensor::backward(&loss).expect("gradients");
    for (name, var) in store.vars() {
        assert!(gradients.get(&var).is_some(), "{name} has no gradient");
    }
    assert!(core_tensor::tape::foreign(&with).is_empty());
    for lambda in [-1.0, f64::NAN, f64::INFINITY] {
        let store = ParamStore::new(0, DType::F64, &CPU);
        let base = gcn_conv(4, 3, store.var_builder().pp("base")).expect("a layer");
        assert!(ego_conv(base, EgoConvConfig { lambda, ..config }, store.var_builder()).is_err());
    }
    let wrong = clusters(&normal(5, (30, 3)), &[5, 2]);
    assert!(layer.attention().forward(&x, &x, &wrong).is_err());
    let wrong = clusters(&normal(5, (30, 4)), &[5]);
    assert!(layer.attention().forward(&x, &x, &wrong).is_err());
}

#[test]
fn equal_points_have_finite_clusters() {
    // 50 equal rows and seven clusters
    let rows = normal(1, (1, 3)).broadcast_as((50, 3)).and_then(|r| r.contiguous()).expect("rows");
    let found = clusters(&rows, &[7, 3]);
    for level in found.levels() {
        assert!(level.centroids.iter().chain(&level.variances).all(|value| value.is_finite()));
        assert!(level.variances.iter().all(|&variance| variance > 0.0));
        assert!((level.masses.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
    assert!(found.levels()[0].masses.contains(&0.0), "most are empty");
    let again = found.warm_update(&normal(2, (50, 3)), 5).expect("clusters");
    let mixed = found.mix(&again, 0.9).expect("clusters");
    assert!(mixed.levels().iter().all(|level| level.centroids.iter().all(|value| value.is_finite())));
    // ties go to the first
    assert!(found.assign(&rows).expect("clusters")[0].iter().all(|&cluster| cluster == 0));
}

#[test]
fn hostile_clusters_are_errors() {
    let z = normal(1, (10, 3));
    let fit = |z: &Tensor, sizes: &[usize]| {
        let config = ClusterConfig { sizes: sizes.to_vec(), ..ClusterConfig::default() };
        HierarchicalClusters::fit(z, &config, &mut Rng::new(0))
    };
    for sizes in [&[11][..], &[1], &[5, 5], &[3, 5], &[], &[0], &[5, 1]] {
        let error = fit(&z, sizes).expect_err("refused").to_string();
        assert!(error.contains("clusters") || error.contains("sizes"), "{sizes:?}: {error}");
    }
    let nan = Tensor::from_vec(vec![f64::NAN; 30], (10, 3), &CPU).expect("rows");
    assert!(fit(&nan, &[3]).is_err());
    assert!(fit(&Tensor::zeros((0, 3), DType::F64, &CPU).expect("rows"), &[3]).is_err());
    let found = fit(&z, &[4, 2]).expect("clusters");
    assert!(found.assign(&normal(1, (3, 4))).is_err());
    assert!(found.warm_update(&normal(1, (3, 3)), 1).is_err(), "fewer points than clusters");
    assert!(found.mix(&fit(&z, &[4]).expect("clusters"), 0.5).is_err());
    for momentum in [-0.1, 1.1, f64::NAN] {
        assert!(found.mix(&found, momentum).is_err());
    }
    assert!(found.assignments(2).is_err());
    let config = ClusterConfig { sizes: vec![3], ..ClusterConfig::default() };
    for first in [vec![], vec![vec![0, 1]], vec![vec![0, 1, 99]]] {
        assert!(HierarchicalClusters::fit_from(&z, &config, &first).is_err());
    }
    assert_eq!(found.assign(&z).expect("clusters")[0], found.assignments(0).expect("clusters"));
}

fn blocks() -> (Graph, Features) {
    let mut rng = Rng::new(7);
    let mut edges = Vec::new();
    for u in 0..60u32 {
        for v in u + 1..60 {
            if rng.unit() < if u / 20 == v / 20 { 0.3 } else { 0.02 } {
                edges.push((u, v));
            }
        }
    }
    let x = Tensor::eye(60, DType::F32, &CPU).expect("features");
    (Graph::from_edges(60, &edges).expect("a graph"), Features::dense(x).expect("features"))
}

fn quick(width: usize) -> OepgConfig {
    let clusters = ClusterConfig { sizes: vec![6, 3], ..ClusterConfig::default() };
    OepgConfig { hidden: 8, keys: 4, epochs: 12, warmup: 2, update_every: 3, clusters, ..OepgConfig::new(width) }
}

#[test]
fn training_is_reproducible_and_saved_with_its_clusters() {
    let (graph, features) = blocks();
    let run = |seed: u64| {
        let mut model = Oepg::new(quick(60), 1, DType::F32, &CPU).expect("a model");
        let reports = model.fit(&graph, &features, seed, |_, _| Ok(ControlFlow::Continue(()))).expect("a training");
        assert_eq!(reports.len(), 12);
        assert!(reports[0].cluster == 0.0 && reports[11].cluster > 0.0 && reports[11].ego > 0.0);
        model
    };
    let (a, b, other) = (run(1), run(1), run(2));
    let of = |model: &Oepg| model.embed(&graph, &features).expect("embeddings");
    assert_eq!(largest(&of(&a), &of(&b)), 0.0);
    assert!(largest(&of(&a), &of(&other)) > 0.0);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    a.save(&path).expect("saved");
    let mut read = Oepg::new(quick(60), 9, DType::F32, &CPU).expect("a model");
    read.load(&path).expect("read");
    assert_eq!(largest(&of(&a), &of(&read)), 0.0);
    let mut wide = Oepg::new(OepgConfig { hidden: 9, ..quick(60) }, 9, DType::F32, &CPU).expect("a model");
    assert!(wide.load(&path).is_err());
    let beside = folder.path().join("model.safetensors.clusters.json");
    std::fs::write(&beside, "{\"width\":8}").expect("written");
    assert!(read.load(&path).is_err());
    // unseen nodes
    let (more, x) = (random_graph(9, 12, 3), normal(1, (9, 60)).to_dtype(DType::F32).expect("features"));
    let features = Features::dense(x).expect("features");
    assert_eq!(a.embed(&more, &features).expect("embeddings").dims(), [9, 8]);
    let weights = a.attention(&more, &features).expect("weights").expect("clusters");
    assert_eq!(weights.dims(), [9, 18]);
}

#[test]
fn every_ablation_trains() {
    let (graph, features) = blocks();
    let base = quick(60);
    let configs = [
        OepgConfig { lambda: 0.0, beta: 0.0, gamma: 0.0, ..base.clone() },
        OepgConfig { lambda: 0.0, beta: 0.1, gamma: 0.0, ..base.clone() },
        OepgConfig { lambda: 0.0, beta: 0.0, gamma: 0.1, ..base.clone() },
        OepgConfig { ego_norm: false, ..base.clone() },
        OepgConfig { norm: OmniNorm::TopM(4), ..base.clone() },
        OepgConfig { norm: OmniNorm::Uniform, cluster_momentum: None, encoder_momentum: 0.0, ..base.clone() },
    ];
    for config in configs {
        let has_clusters = config.uses_clusters();
        let mut model = Oepg::new(config, 1, DType::F32, &CPU).expect("a model");
        model.fit(&graph, &features, 1, |_, _| Ok(ControlFlow::Continue(()))).expect("a training");
        assert_eq!(model.clusters().is_some(), has_clusters);
    }
    let wrong = [
        OepgConfig { lambda: -1.0, ..base.clone() },
        OepgConfig { temperature: 0.0, ..base.clone() },
        OepgConfig { edges: [0.2, 1.4], ..base.clone() },
        OepgConfig { encoder_momentum: f64::NAN, ..base.clone() },
        OepgConfig { update_every: 0, ..base.clone() },
        OepgConfig { hidden: 0, ..base.clone() },
    ];
    for config in wrong {
        assert!(Oepg::new(config, 1, DType::F32, &CPU).is_err());
    }
    let mut many = Oepg::new(
        OepgConfig { clusters: ClusterConfig { sizes: vec![100, 3], ..ClusterConfig::default() }, ..base },
        1,
        DType::F32,
        &CPU,
    )
    .expect("a model");
    assert!(many.fit(&graph, &features, 1, |_, _| Ok(ControlFlow::Continue(()))).is_err(), "more clusters than nodes");
}

/// Π by a dense inverse.
fn dense(graph: &Graph, restart: f64) -> nalgebra::DMatrix<f64> {
    let n = graph.num_nodes();
    let mut a = nalgebra::DMatrix::zeros(n, n);
    for u in 0..n {
        for (v, weight) in graph.weighted_neighbors(u) {
            a[(u, v as usize)] = weight;
        }
        if a[(u, u)] == 0.0 {
            a[(u, u)] = 1.0;
        }
    }
    let degrees: Vec<f64> = (0..n).map(|u| a.row(u).sum()).collect();
    let walk = nalgebra::DMatrix::from_fn(n, n, |u, v| a[(u, v)] / (degrees[u] * degrees[v]).sqrt());
    let system = nalgebra::DMatrix::identity(n, n) - walk * (1.0 - restart);
    system.try_inverse().expect("positive definite") * restart
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn conflict_by_conjugate_gradients_is_that_of_the_dense_inverse(n in 5usize..60, edges in 0usize..150, classes in 1u32..4, seed in any::<u64>()) {
        let graph = random_graph(n, edges, seed);
        let labelled: Vec<u32> = Rng::new(seed).permutation(n)[..n / 2 + 1].to_vec();
        let of: Vec<u32> = (0..labelled.len() as u32).map(|at| at % classes.min(labelled.len() as u32)).collect();
        let found = totoro(&graph, &labelled, &of, PageRankConfig::default()).expect("conflict");
        let pi = dense(&graph, 0.15);
        for (at, &node) in labelled.iter().enumerate() {
            let mut expected = 0.0;
            for u in 0..n {
                let others: f64 = (0..found.influence.len()).filter(|&class| class as u32 != of[at]).map(|class| {
                    let members: Vec<usize> = (0..of.len()).filter(|&m| of[m] as usize == class).collect();
                    members.iter().map(|&m| pi[(labelled[m] as usize, u)]).sum::<f64>() / members.len() as f64
                }).sum();
                expected += pi[(node as usize, u)] * others;
            }
            prop_assert!((found.conflict[at] - expected).abs() < 1e-8, "{} {}", found.conflict[at], expected);
        }
    }

    #[test]
    fn relabelled_clusters_of_a_level_give_the_same_sum(seed in any::<u64>()) {
        let (z, x) = (normal(seed, (25, 4)), normal(seed ^ 1, (25, 3)));
        let config = ClusterConfig { sizes: vec![5, 2], iterations: 50, ..ClusterConfig::default() };
        let first = vec![vec![0, 3, 6, 9, 12], vec![1, 3]];
        let a = HierarchicalClusters::fit_from(&z, &config, &first).expect("clusters");
        let turned = vec![vec![12, 9, 6, 3, 0], vec![1, 3]];
        let b = HierarchicalClusters::fit_from(&z, &config, &turned).expect("clusters");
        let layer = ego_attention(attention(EgoDescriptor::default(), OmniNorm::Joint, 2), ParamStore::new(0, DType::F64, &CPU).var_builder()).expect("a layer");
        let of = |clusters: &HierarchicalClusters| layer.forward(&z, &x, clusters).expect("a sum");
        // of the second level, clusters 1 and 3 of the first are 3 and 1 of the second numbering
        prop_assert!(largest(&of(&a), &of(&b)) < 1e-9);
    }
}

#[test]
fn hostile_imbalance_is_an_error() {
    let graph = random_graph(10, 20, 1);
    let config = PageRankConfig::default();
    for (labelled, classes) in [
        (vec![], vec![]),
        (vec![0, 1], vec![0]),
        (vec![0, 99], vec![0, 1]),
        (vec![0, 0], vec![0, 1]),
        (vec![0, 1], vec![0, 2]),
        (vec![0, 1], vec![0, u32::MAX - 1]),
    ] {
        assert!(totoro(&graph, &labelled, &classes, config).is_err(), "{labelled:?} {classes:?}");
    }
    for restart in [0.0, -0.1, 1.5, f64::NAN] {
        assert!(totoro(&graph, &[0, 1], &[0, 1], PageRankConfig { restart, ..config }).is_err());
    }
    let one = totoro(&graph, &[0, 1], &[0, 1], PageRankConfig { restart: 1.0, ..config }).expect("conflict");
    assert_eq!(one.conflict, [0.0, 0.0]);
    let few = PageRankConfig { max_iterations: 1, ..config };
    assert!(totoro(&graph, &[0, 1], &[0, 1], few).is_err());
    assert!(renode_weights(&[], ReNodeConfig::default()).is_err());
    assert!(renode_weights(&[0.1, f64::NAN], ReNodeConfig::default()).is_err());
    assert_eq!(renode_weights(&[0.1], ReNodeConfig::default()).expect("a weight"), [1.5]);
    let labels: Vec<u32> = (0..200).map(|node| node % 4).collect();
    let error = StepImbalance::new(0.01, 10.0).sample(&labels, 4, &mut Rng::new(0)).expect_err("refused");
    assert!(error.to_string().contains("no labelled node"), "{error}");
    for (share, ratio) in [(-0.1, 2.0), (f64::NAN, 2.0), (0.5, 0.5), (0.5, f64::INFINITY)] {
        assert!(StepImbalance::new(share, ratio).counts(100, 4).is_err());
    }
    assert!(StepImbalance { heads: vec![7], ..StepImbalance::new(0.5, 2.0) }.counts(100, 4).is_err());
    assert!(StepImbalance { heads: vec![1, 1], ..StepImbalance::new(0.5, 2.0) }.counts(100, 4).is_err());
    assert!(StepImbalance::new(0.9, 2.0).sample(&labels, 4, &mut Rng::new(0)).is_err(), "too few for validation");
    assert!(StepImbalance::new(0.1, 2.0).sample(&labels, 3, &mut Rng::new(0)).is_err(), "a label that is no class");
}

#[test]
fn totoro_of_a_large_graph_needs_no_dense_matrix() {
    let n = 20_000;
    let graph = random_graph(n, 5 * n, 1);
    let labelled: Vec<u32> = (0..200).collect();
    let classes: Vec<u32> = labelled.iter().map(|node| node % 10).collect();
    let found = totoro(&graph, &labelled, &classes, PageRankConfig::default()).expect("conflict");
    assert!(found.mean > 0.0 && found.conflict.iter().all(|value| value.is_finite()));
}
