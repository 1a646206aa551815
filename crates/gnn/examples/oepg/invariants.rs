//! What must hold whatever the data.

use candle_core::{DType, Device, Tensor};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use experiment::{Context, Measured, Outcome, Result, Trial, TrialContext};
use gnn::conv::{Convolution, gcn_conv};
use gnn::imbalance::{PageRankConfig, totoro};
use gnn::oepg::{
    ClusterConfig, DescriptorKind, DescriptorOrders, EgoAttention, EgoAttentionConfig, EgoBase, EgoDescriptor,
    HierarchicalClusters, OmniNorm, ego_attention,
};
use gnn::{Adjacency, Graph};
use serde::{Deserialize, Serialize};

const NODES: usize = 60;
const WIDTH: usize = 5;
const IDS: [&str; 8] =
    ["weights", "plain", "cluster-order", "node-order", "rescaling", "translation", "centroids", "totoro"];

/// The largest differences, in the order of the ids.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    differences: Vec<f64>,
}

pub(crate) fn run(context: &mut Context) -> Result<Outcome<Found>> {
    let trials = (0..3).map(|case| Trial::new(format!("case-{case}"), case)).collect();
    context.trials("invariants", trials, |_: &u64, trial| measure(trial))
}

fn largest(a: &Tensor, b: &Tensor) -> Result<f64> {
    Ok((a - b)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>()?)
}

fn permuted(x: &Tensor, order: &[u32]) -> Result<Tensor> {
    Ok(x.index_select(&Tensor::new(order, &Device::Cpu)?, 0)?)
}

fn attention(kind: DescriptorKind, store: &ParamStore) -> Result<EgoAttention> {
    let descriptor = EgoDescriptor { kind, orders: DescriptorOrders::Both };
    let config =
        EgoAttentionConfig { descriptors: WIDTH, values: WIDTH, keys: 4, levels: 2, descriptor, norm: OmniNorm::Joint };
    Ok(ego_attention(config, store.var_builder())?)
}

fn measure(trial: &TrialContext) -> Result<Found> {
    let cpu = Device::Cpu;
    let mut rng = Rng::new(trial.seed());
    let z = rng.normal(0.0, 1.0, (NODES, WIDTH), DType::F64, &cpu)?;
    let x = rng.normal(0.0, 1.0, (NODES, WIDTH), DType::F64, &cpu)?;
    let config = ClusterConfig { sizes: vec![6, 3], iterations: 100, variance_floor: 0.0 };
    let first = vec![
        rng.sample_without_replacement(NODES, config.sizes[0]),
        rng.sample_without_replacement(config.sizes[0], config.sizes[1]),
    ];
    let clusters = HierarchicalClusters::fit_from(&z, &config, &first)?;
    let store = ParamStore::new(trial.seed(), DType::F64, &cpu);
    let layer = attention(DescriptorKind::Fisher, &store)?;
    let sum = layer.forward(&z, &x, &clusters)?;
    let weights = layer.weights(&z, &x, &clusters)?.sum(1)?;
    let mut differences = vec![largest(&weights, &weights.ones_like()?)?];

    let edges: Vec<(u32, u32)> = (0..3 * NODES).map(|_| (rng.below(NODES) as u32, rng.below(NODES) as u32)).collect();
    let graph = Graph::from_edges(NODES, &edges)?;
    let adjacency = Adjacency::from_graph(&graph, DType::F64, &cpu)?;
    let conv = gcn_conv(WIDTH, WIDTH, store.var_builder().pp("conv"))?;
    let plain = conv.forward(&x, &adjacency)?;
    differences.push(largest(&conv.forward_ego(&x, &sum, 0.0, &adjacency)?, &plain)?);

    let other: Vec<Vec<u32>> = first.iter().map(|first| first.iter().rev().copied().collect()).collect();
    // the second level names clusters of the first, which have other numbers now
    let renamed: Vec<u32> = other[1].iter().map(|&at| config.sizes[0] as u32 - 1 - at).collect();
    let reordered = HierarchicalClusters::fit_from(&z, &config, &[other[0].clone(), renamed])?;
    differences.push(largest(&layer.forward(&z, &x, &reordered)?, &sum)?);

    let order = rng.permutation(NODES);
    let mut place = vec![0u32; NODES];
    order.iter().enumerate().for_each(|(at, &node)| place[node as usize] = at as u32);
    let moved: Vec<(u32, u32)> = edges.iter().map(|&(u, v)| (place[u as usize], place[v as usize])).collect();
    let moved = Adjacency::from_graph(&Graph::from_edges(NODES, &moved)?, DType::F64, &cpu)?;
    let there = conv.forward_ego(
        &permuted(&x, &order)?,
        &layer.forward(&permuted(&z, &order)?, &permuted(&x, &order)?, &clusters)?,
        0.3,
        &moved,
    )?;
    differences.push(largest(&there, &permuted(&conv.forward_ego(&x, &sum, 0.3, &adjacency)?, &order)?)?);

    // descriptors in other units, from clusters that were found in these units
    let units: Vec<f64> = (0..WIDTH).map(|at| 0.5 + at as f64).collect();
    let scaled = z.broadcast_mul(&Tensor::new(units, &cpu)?)?;
    let far = clusters_like(&scaled, &clusters, &config)?;
    differences.push(largest(&layer.forward(&scaled, &x, &far)?, &sum)?);

    let raw = attention(DescriptorKind::Raw, &ParamStore::new(trial.seed(), DType::F64, &cpu))?;
    let shift: Vec<f64> = (0..WIDTH).map(|at| 3.0 - at as f64).collect();
    let shifted = z.broadcast_add(&Tensor::new(shift, &cpu)?)?;
    let there = raw.forward(&shifted, &x, &clusters_like(&shifted, &clusters, &config)?)?;
    differences.push(largest(&there, &raw.forward(&z, &x, &clusters)?)?);

    let mut worst: f64 = 0.0;
    let (below, above) = (&clusters.levels()[0], &clusters.levels()[1]);
    for (cluster, centroid) in above.centroids.chunks_exact(WIDTH).enumerate() {
        let mut sums = [0.0; WIDTH];
        let mut mass = 0.0;
        for (child, of_child) in below.centroids.chunks_exact(WIDTH).enumerate() {
            if above.parent_of[child] as usize == cluster {
                mass += below.masses[child];
                sums.iter_mut().zip(of_child).for_each(|(sum, value)| *sum += below.masses[child] * value);
            }
        }
        if mass > 0.0 {
            for (sum, value) in sums.iter().zip(centroid) {
                worst = worst.max((sum / mass - value).abs());
            }
        }
    }
    differences.push(worst);

    // two rings, one of each class
    let ring = |start: u32| (0..10).map(move |at| (start + at, start + (at + 1) % 10));
    let rings = Graph::from_edges(20, &ring(0).chain(ring(10)).collect::<Vec<_>>())?;
    let found = totoro(&rings, &[0, 3, 12, 17], &[0, 0, 1, 1], PageRankConfig::default())?;
    differences.push(found.conflict.iter().fold(0.0, |most: f64, value| most.max(value.abs())));
    Ok(Found { differences })
}

/// The same clusters of other features: an iteration from their assignments, by the members of each.
fn clusters_like(z: &Tensor, clusters: &HierarchicalClusters, config: &ClusterConfig) -> Result<HierarchicalClusters> {
    // k-means in these units may assign otherwise; statistics of the old assignments are what is wanted
    let values: Vec<f64> = z.flatten_all()?.to_vec1()?;
    let mut like = serde_json::to_value(clusters)?;
    for level in 0..config.sizes.len() {
        let assignment = clusters.assignments(level)?;
        let size = config.sizes[level];
        let mut counts = vec![0.0; size];
        let (mut means, mut variances) = (vec![0.0; size * WIDTH], vec![0.0; size * WIDTH]);
        assignment.iter().for_each(|&cluster| counts[cluster as usize] += 1.0);
        for (row, &cluster) in values.chunks_exact(WIDTH).zip(&assignment) {
            for (at, value) in row.iter().enumerate() {
                means[cluster as usize * WIDTH + at] += value / counts[cluster as usize];
            }
        }
        for (row, &cluster) in values.chunks_exact(WIDTH).zip(&assignment) {
            for (at, value) in row.iter().enumerate() {
                let place = cluster as usize * WIDTH + at;
                variances[place] += (value - means[place]).powi(2) / counts[cluster as usize];
            }
        }
        like["levels"][level]["centroids"] = serde_json::to_value(means)?;
        let floored: Vec<f64> = variances.into_iter().map(|variance| variance.max(1e-12)).collect();
        like["levels"][level]["variances"] = serde_json::to_value(floored)?;
    }
    Ok(serde_json::from_value(like)?)
}

pub(crate) fn report(context: &mut Context, results: Outcome<Found>) -> Result<()> {
    let found = results.all()?;
    for (at, id) in IDS.into_iter().enumerate() {
        let values: Vec<f64> = found.iter().map(|found| found.differences[at]).collect();
        let worst = values.iter().copied().fold(0.0, f64::max);
        let measured = Measured::mean_of(&values, "random features and graphs");
        context.claim(id, Measured { value: worst, is_synthetic: true, ..measured })?;
    }
    Ok(())
}
