//! The bound of the latent error for linear reconstructions, by drawing; and the time of a step.

use candle_core::{DType, Device};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use experiment::{Context, Measured, Outcome, Result, Trial, TrialContext};
use gnn::lagraph::{LaGraphConfig, Target, lagraph};
use gnn::{Batch, Features, Graph, Mode};
use serde::{Deserialize, Serialize};
use std::time::Instant;

const DRAWS: usize = 10_000;
const NODES: usize = 6;
const WIDTH: usize = 3;

pub(crate) struct Runs {
    bounds: Outcome<f64>,
    times: Outcome<Times>,
}

/// The shortest of some steps at n and at 4 n nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Times {
    seconds: [f64; 2],
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let trials = (0..10).map(|case| Trial::new(format!("linear-{case}"), case)).collect();
    let bounds = context.trials("bound", trials, |_: &usize, trial| excess(trial))?;
    let device = reproduction::device(context)?;
    let times = context.trials("times", vec![Trial::new("step", ())], |(), trial| times(trial, &device))?;
    Ok(Runs { bounds, times })
}

/// `X ↦ A X B`, a linear reconstruction that mixes nodes and features.
struct Linear {
    nodes: Vec<f64>,
    features: Vec<f64>,
}

impl Linear {
    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let mut mixed = [0.0; NODES * WIDTH];
        for row in 0..NODES {
            for other in 0..NODES {
                for column in 0..WIDTH {
                    mixed[row * WIDTH + column] += self.nodes[row * NODES + other] * x[other * WIDTH + column];
                }
            }
        }
        let mut out = vec![0.0; NODES * WIDTH];
        for row in 0..NODES {
            for column in 0..WIDTH {
                let of_row = &mixed[row * WIDTH..(row + 1) * WIDTH];
                out[row * WIDTH + column] =
                    (0..WIDTH).map(|other| of_row[other] * self.features[other * WIDTH + column]).sum();
            }
        }
        out
    }
}

fn squared(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// Left side minus right side of the bound, in standard errors of the left side's mean.
fn excess(trial: &TrialContext) -> Result<f64> {
    let mut rng = Rng::new(trial.seed());
    let mut normal = |count: usize| -> core_tensor::Result<Vec<f64>> {
        Ok(rng.normal(0.0, 1.0, count, DType::F64, &Device::Cpu)?.to_vec1::<f64>()?)
    };
    let scale = |values: Vec<f64>, factor: f64| values.into_iter().map(|value| value * factor).collect();
    let linear = Linear { nodes: scale(normal(NODES * NODES)?, 0.6), features: scale(normal(WIDTH * WIDTH)?, 0.7) };
    let latent = normal(NODES * WIDTH)?;
    let mut differences = Vec::with_capacity(DRAWS);
    let mut changes = [0.0; NODES];
    let mut noises = [0.0; NODES];
    for _ in 0..DRAWS {
        let noise = normal(NODES * WIDTH)?;
        let x: Vec<f64> = latent.iter().zip(&noise).map(|(y, noise)| y + noise).collect();
        let reconstruction = linear.apply(&x);
        differences.push(squared(&reconstruction, &latent) + squared(&x, &latent) - squared(&reconstruction, &x));
        for node in 0..NODES {
            let at = node * WIDTH..(node + 1) * WIDTH;
            let mut view = x.clone();
            view[at.clone()].copy_from_slice(&normal(WIDTH)?);
            changes[node] += squared(&reconstruction[at.clone()], &linear.apply(&view)[at.clone()]) / DRAWS as f64;
            noises[node] += squared(&x[at.clone()], &latent[at]) / DRAWS as f64;
        }
    }
    let right: f64 = changes.iter().zip(&noises).map(|(change, noise)| 2.0 * noise.sqrt() * change.sqrt()).sum();
    let mean = differences.iter().sum::<f64>() / DRAWS as f64;
    let variance = differences.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (DRAWS - 1) as f64;
    Ok((mean - right) / (variance / DRAWS as f64).sqrt())
}

fn times(trial: &TrialContext, device: &Device) -> Result<Times> {
    let mut shortest = [0.0; 2];
    for (shortest, nodes) in shortest.iter_mut().zip([8000, 32_000]) {
        let mut rng = Rng::new(trial.seed());
        let edges: Vec<(u32, u32)> = (0..4 * nodes)
            .map(|_| (rng.below(nodes) as u32, rng.below(nodes) as u32))
            .filter(|(u, v)| u != v)
            .collect();
        let graph = Graph::from_edges(nodes, &edges)?;
        let features = Features::dense(rng.normal(0.0, 1.0, (nodes, 32), DType::F32, device)?)?;
        let config = LaGraphConfig { hidden: 64, ..LaGraphConfig::nodes(32) };
        let store = ParamStore::new(0, DType::F32, device);
        let model = lagraph(config.clone(), store.var_builder())?;
        let mut optimizer = Adam::new(store.trainable(), AdamConfig::default())?;
        let (batch, target) = (Batch::single(&graph, DType::F32, device)?, Target::new(&features));
        let mut seconds = Vec::new();
        for _ in 0..7 {
            trial.check_cancelled()?;
            let start = Instant::now();
            let view = config.masking.draw(&features, &[nodes], &mut rng)?;
            optimizer.backward_step(&model.loss(&batch, &target, &view, &Mode::recalibrate())?.total)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        *shortest = seconds.into_iter().fold(f64::INFINITY, f64::min);
    }
    Ok(Times { seconds: shortest })
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    let bounds = runs.bounds.all()?;
    let largest = bounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let data = "linear maps of Gaussian noise";
    let measured = Measured { value: largest, is_synthetic: true, ..Measured::mean_of(&bounds, data) };
    context.claim("bound", measured)?;
    let times = &runs.times.all()?[0];
    let ratio = times.seconds[1] / times.seconds[0];
    let note = Some(format!("{:.1} and {:.1} ms a step", 1e3 * times.seconds[0], 1e3 * times.seconds[1]));
    let measured =
        Measured { is_synthetic: true, note, ..Measured::mean_of(&[ratio], "random graphs of mean degree 8") };
    context.claim("step-time", measured.timed())?;
    Ok(())
}
