//! A hierarchy of blocks: do clusters of learned features find it better than clusters of the features themselves?

use candle_core::{DType, Device, Tensor};
use core_tensor::metrics::{adjusted_rand_index, normalized_mutual_information};
use core_tensor::random::Rng;
use experiment::{Context, Measured, Outcome, Plot, Result, Table, Trial, TrialContext};
use gnn::oepg::{ClusterConfig, HierarchicalClusters, Oepg, OepgConfig};
use gnn::{Features, Graph};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

const SUPER: usize = 4;
const BLOCKS: usize = 3;
const SIZE: usize = 50;
const WIDTH: usize = 16;
const SEEDS: u64 = 3;
const DATA: &str = "hierarchical block model";

/// Agreement with the blocks and with the super-blocks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    raw: [f64; 2],
    learned: [f64; 2],
    information: [f64; 2],
    /// Mean attention of the nodes of each block, `[blocks][granules]`.
    attention: Vec<Vec<f64>>,
}

pub(crate) fn run(context: &mut Context) -> Result<Outcome<Found>> {
    let device = reproduction::device(context)?;
    let trials = (0..SEEDS).map(|seed| Trial::new(format!("seed-{seed}"), seed)).collect();
    context.trials("blocks", trials, |_: &u64, trial| train(trial, &device))
}

fn train(trial: &TrialContext, device: &Device) -> Result<Found> {
    let rng = Rng::new(trial.seed());
    let nodes = SUPER * BLOCKS * SIZE;
    let mut of_edges = rng.fork("edges");
    let mut edges = Vec::new();
    for u in 0..nodes {
        for v in u + 1..nodes {
            let chance = if u / SIZE == v / SIZE {
                0.12
            } else if u / (SIZE * BLOCKS) == v / (SIZE * BLOCKS) {
                0.03
            } else {
                0.004
            };
            if of_edges.unit() < chance {
                edges.push((u as u32, v as u32));
            }
        }
    }
    let graph = Graph::from_edges(nodes, &edges)?;
    let fine: Vec<u32> = (0..nodes).map(|node| (node / SIZE) as u32).collect();
    let coarse: Vec<u32> = (0..nodes).map(|node| (node / (SIZE * BLOCKS)) as u32).collect();
    let spread = |name: &str, rows: usize, std: f64| rng.fork(name).normal(0.0, std, (rows, WIDTH), DType::F32, device);
    let of = |rows: Tensor, of_node: &[u32]| rows.index_select(&Tensor::new(of_node, device)?, 0);
    let x = (of(spread("super", SUPER, 1.0)?, &coarse)? + of(spread("block", SUPER * BLOCKS, 0.5)?, &fine)?)?;
    let x = (x + spread("noise", nodes, 1.5)?)?;
    let features = Features::dense(x.clone())?;
    let clusters = ClusterConfig { sizes: vec![SUPER * BLOCKS, SUPER], ..ClusterConfig::default() };
    let agreement = |clusters: &HierarchicalClusters| -> Result<[f64; 2]> {
        let (first, second) = (clusters.assignments(0)?, clusters.assignments(1)?);
        Ok([adjusted_rand_index(&fine, &first)?, adjusted_rand_index(&coarse, &second)?])
    };
    let raw = agreement(&HierarchicalClusters::fit(&x, &clusters, &mut rng.fork("raw"))?)?;
    let config = OepgConfig { clusters, hidden: 64, ..OepgConfig::new(WIDTH) };
    let mut model = Oepg::new(config, trial.seed(), DType::F32, device)?;
    model.fit(&graph, &features, trial.seed(), |report, _| {
        trial.epoch(report.epoch, 60, &format!("contrast {:.3}", report.local));
        Ok(if trial.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    trial.check_cancelled()?;
    let clusters = model.clusters().ok_or("no clusters after the warm-up")?;
    let information = [
        normalized_mutual_information(&fine, &clusters.assignments(0)?)?,
        normalized_mutual_information(&coarse, &clusters.assignments(1)?)?,
    ];
    let weights = model.attention(&graph, &features)?.ok_or("no clusters")?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let mut attention = vec![vec![0.0; weights[0].len()]; SUPER * BLOCKS];
    for (row, &block) in weights.iter().zip(&fine) {
        attention[block as usize].iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight / SIZE as f64);
    }
    Ok(Found { raw, learned: agreement(clusters)?, information, attention })
}

pub(crate) fn report(context: &mut Context, results: Outcome<Found>) -> Result<()> {
    let found = results.all()?;
    for (id, at) in [("fine-clusters", 0), ("coarse-clusters", 1)] {
        let gains: Vec<f64> = found.iter().map(|found| found.learned[at] - found.raw[at]).collect();
        let mean = |of: fn(&Found) -> [f64; 2]| found.iter().map(|f| of(f)[at]).sum::<f64>() / found.len() as f64;
        let note = Some(format!("{:.3} against {:.3}", mean(|f| f.learned), mean(|f| f.raw)));
        context.claim(id, Measured { is_synthetic: true, note, ..Measured::mean_of(&gains, DATA) })?;
    }
    let mut table = Table::new([
        "seed",
        "blocks: k-means of features",
        "learned",
        "mutual information",
        "super-blocks: k-means of features",
        "learned",
        "mutual information",
    ]);
    for (seed, f) in found.iter().enumerate() {
        let numbers = [f.raw[0], f.learned[0], f.information[0], f.raw[1], f.learned[1], f.information[1]];
        let cells = numbers.iter().map(|number| format!("{number:.3}"));
        table.rows.push(std::iter::once(seed.to_string()).chain(cells).collect());
    }
    context.table("Hierarchy of blocks: adjusted Rand index and normalised mutual information", table);
    let attention = &found[0].attention;
    let columns = (0..attention[0].len()).map(|granule| granule.to_string()).collect();
    let rows = (0..attention.len()).map(|block| format!("block {block}")).collect();
    let plot = Plot::heat_map("Which clusters a block attends to", columns, rows, attention.clone());
    context.plot(
        "attention",
        plot.description(
            "Mean attention weights of the nodes of each block, by granule: level, order, cluster. Seed 0.",
        ),
    )?;
    Ok(())
}
