//! Generated graphs of three kinds, which their degrees alone tell apart badly.

use candle_core::{DType, Device};
use core_tensor::random::Rng;
use experiment::{Context, Measured, Outcome, Result, Table, Trial, TrialContext};
use gnn::Graph;
use gnn::lagraph::{LaGraphConfig, MaskMode, Masking, OutputActivation, degree_features};
use gnn::probe;
use gnn::self_supervised::{FitOptions, Objective, SelfSupervised, Shuffle, Unlabelled};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

const GRAPHS: usize = 300;
const EPOCHS: usize = 20;
const SEEDS: u64 = 3;
const DATA: &str = "random, small-world and two-block graphs";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    raw: f64,
    untrained: f64,
    trained: f64,
    losses: Vec<f64>,
}

fn graph(kind: usize, rng: &mut Rng) -> Result<Graph> {
    let n = 20 + rng.below(21);
    let mut edges = Vec::new();
    let per_node = |degree: f64| degree / (n - 1) as f64;
    match kind {
        0 | 2 => {
            for u in 0..n {
                for v in u + 1..n {
                    let is_inside = (u < n / 2) == (v < n / 2);
                    let chance = match (kind, is_inside) {
                        (0, _) => per_node(4.0),
                        (_, true) => per_node(7.0),
                        _ => per_node(1.0),
                    };
                    if rng.unit() < chance {
                        edges.push((u as u32, v as u32));
                    }
                }
            }
        }
        _ => {
            // a ring with two neighbours on each side, of which some go elsewhere
            for u in 0..n {
                for step in 1..=2 {
                    let mut v = (u + step) % n;
                    if rng.unit() < 0.1 {
                        v = rng.below(n);
                    }
                    if u != v {
                        edges.push((u as u32, v as u32));
                    }
                }
            }
        }
    }
    Ok(Graph::from_edges(n, &edges)?)
}

pub(crate) fn run(context: &mut Context) -> Result<Outcome<Found>> {
    let device = reproduction::device(context)?;
    let trials = (0..SEEDS).map(|seed| Trial::new(format!("seed-{seed}"), seed)).collect();
    context.trials("shapes", trials, |_: &u64, trial| train(trial, &device))
}

fn train(trial: &TrialContext, device: &Device) -> Result<Found> {
    let mut rng = Rng::new(trial.seed()).fork("graphs");
    let order = rng.permutation(GRAPHS);
    let graphs: Vec<Graph> = order.iter().map(|&at| graph(at as usize % 3, &mut rng)).collect::<Result<_>>()?;
    let labels: Vec<u32> = order.iter().map(|&at| at % 3).collect();
    let features = graphs.iter().map(|graph| {
        let messages: Vec<(u32, u32)> = (0..graph.num_nodes() as u32)
            .flat_map(|u| graph.neighbors(u as usize).iter().map(move |&v| (u, v)))
            .collect();
        degree_features(graph.num_nodes(), &messages, 16, DType::F32, device)
    });
    let data = Unlabelled::graphs(&graphs, features.collect::<gnn::Result<Vec<_>>>()?)?;
    let config = LaGraphConfig {
        masking: Masking { mode: MaskMode::Rows, ratio: 0.1, std: 0.5 },
        output_activation: OutputActivation::Relu,
        ..LaGraphConfig::graphs(data.width())
    };
    let mut model = SelfSupervised::new(config.encoder_config(), trial.seed(), DType::F32, device)?;
    let accuracy = |embeddings: &candle_core::Tensor| -> Result<f64> {
        Ok(100.0 * probe::graphs(embeddings, &labels, 10)?.accuracy())
    };
    let (raw, untrained) = (accuracy(&data.raw()?)?, accuracy(&model.embed(&data)?)?);
    let options = FitOptions {
        epochs: EPOCHS,
        seed: trial.seed(),
        shuffle: Shuffle::Once,
        measures_collapse: false,
        ..FitOptions::default()
    };
    let summary = model.fit(&data, &Objective::LaGraph(config), &options, |report, _| {
        trial.epoch(report.epoch, EPOCHS, &format!("loss {:.2}", report.loss));
        Ok(if trial.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    trial.check_cancelled()?;
    let losses = summary.epochs.iter().map(|epoch| epoch.loss).collect();
    Ok(Found { raw, untrained, trained: accuracy(&model.embed(&data)?)?, losses })
}

pub(crate) fn report(context: &mut Context, results: Outcome<Found>) -> Result<()> {
    let found = results.all()?;
    let gains: Vec<f64> = found.iter().map(|found| found.trained - found.untrained).collect();
    let falls: Vec<f64> =
        found.iter().map(|found| 100.0 * (1.0 - found.losses[found.losses.len() - 1] / found.losses[0])).collect();
    let measured = |values: &[f64]| Measured { is_synthetic: true, ..Measured::mean_of(values, DATA) };
    context.claim("shapes-gain", measured(&gains))?;
    let least = falls.iter().copied().fold(f64::INFINITY, f64::min);
    context.claim("shapes-loss", Measured { value: least, ..measured(&falls) })?;
    let mut table = Table::new(["seed", "raw %", "untrained %", "epoch 20 %", "loss, first epoch", "last"]);
    for (seed, found) in found.iter().enumerate() {
        let losses = [found.losses[0], found.losses[found.losses.len() - 1]];
        let numbers = [found.raw, found.untrained, found.trained, losses[0], losses[1]];
        let cells = numbers.iter().map(|number| format!("{number:.1}"));
        table.rows.push(std::iter::once(seed.to_string()).chain(cells).collect());
    }
    context.table("Generated graphs", table);
    Ok(())
}
