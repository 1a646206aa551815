//! Does the invariance term keep noise out? A block model whose latent features are known.

use candle_core::{DType, Device, Tensor};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use experiment::{Axis, Plot, Series};
use experiment::{Context, Measured, Outcome, Result, Trial, TrialContext};
use gnn::lagraph::{LaGraphConfig, OutputActivation, Target, lagraph};
use gnn::{Batch, Features, Graph, Mode};
use serde::{Deserialize, Serialize};

const BLOCKS: usize = 4;
const SIZE: usize = 150;
const WIDTH: usize = 32;
const STEPS: usize = 300;
const EVERY: usize = 25;
const ALPHAS: [f64; 2] = [2.0, 0.0];
const DATA: &str = "stochastic block model";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    steps: Vec<usize>,
    latent: Vec<f64>,
    reconstruction: Vec<f64>,
    /// Of the features themselves.
    noise: f64,
}

pub(crate) fn run(context: &mut Context) -> Result<Outcome<Found>> {
    let device = reproduction::device(context)?;
    // both on the same data
    let seed = context.seed_of("denoising");
    let trials = ALPHAS.iter().map(|&alpha| Trial::new(format!("alpha-{alpha}"), alpha)).collect();
    context.trials("denoising", trials, |alpha: &f64, trial| train(*alpha, seed, trial, &device))
}

fn train(alpha: f64, seed: u64, trial: &TrialContext, device: &Device) -> Result<Found> {
    let rng = Rng::new(seed);
    let nodes = BLOCKS * SIZE;
    let mut of_edges = rng.fork("edges");
    let mut edges = Vec::new();
    for u in 0..nodes {
        for v in u + 1..nodes {
            let chance = if u / SIZE == v / SIZE { 0.03 } else { 0.004 };
            if of_edges.unit() < chance {
                edges.push((u as u32, v as u32));
            }
        }
    }
    let graph = Graph::from_edges(nodes, &edges)?;
    let means = rng.fork("means").uniform(0.0, 2.0, (BLOCKS, WIDTH), DType::F32, device)?;
    let blocks: Vec<u32> = (0..nodes).map(|node| (node / SIZE) as u32).collect();
    let latent = means.index_select(&Tensor::new(blocks, device)?, 0)?;
    let x = (&latent + rng.fork("noise").normal(0.0, 1.0, (nodes, WIDTH), DType::F32, device)?)?;
    let mean_squared =
        |a: &Tensor| -> Result<f64> { Ok(f64::from((a - &latent)?.sqr()?.mean_all()?.to_scalar::<f32>()?)) };
    let noise = mean_squared(&x)?;
    let features = Features::dense(x.clone())?;
    let config =
        LaGraphConfig { hidden: 128, alpha, output_activation: OutputActivation::Relu, ..LaGraphConfig::nodes(WIDTH) };
    let store = ParamStore::new(seed, DType::F32, device);
    let model = lagraph(config.clone(), store.var_builder())?;
    let mut optimizer = Adam::new(store.trainable(), AdamConfig::default())?;
    let (batch, target) = (Batch::single(&graph, DType::F32, device)?, Target::new(&features));
    let mut masks = rng.fork("masks");
    let mut found = Found { steps: Vec::new(), latent: Vec::new(), reconstruction: Vec::new(), noise };
    for step in 0..=STEPS {
        if step % EVERY == 0 {
            let still = Mode::recalibrate().without_updates();
            let layers = model.encoder().layers(&features, batch.adjacency(), &still)?;
            let h = layers.last().ok_or("an encoder without layers")?;
            let decoded = model.decode(h, batch.adjacency(), &still)?.detach();
            found.steps.push(step);
            found.latent.push(mean_squared(&decoded)?);
            found.reconstruction.push(f64::from((decoded - &x)?.sqr()?.mean_all()?.to_scalar::<f32>()?));
            trial.check_cancelled()?;
        }
        let view = config.masking.draw(&features, &[nodes], &mut masks)?;
        optimizer.backward_step(&model.loss(&batch, &target, &view, &Mode::recalibrate())?.total)?;
    }
    Ok(found)
}

pub(crate) fn report(context: &mut Context, results: Outcome<Found>) -> Result<()> {
    let found = results.all()?;
    let last = |found: &Found| *found.latent.last().unwrap_or(&f64::NAN);
    let synthetic = |value: f64| Measured { is_synthetic: true, ..Measured::mean_of(&[value], DATA) };
    let note = Some(format!(
        "mean squared error against the latent features; the features themselves have {:.3}, the untrained model {:.3}",
        found[0].noise, found[0].latent[0]
    ));
    context.claim("denoising", Measured { note, ..synthetic(last(&found[0])) })?;
    context.claim("denoising-invariance", synthetic(last(&found[0]) / last(&found[1])))?;
    let steps = |found: &Found| found.steps.iter().map(|&step| step as f64).collect::<Vec<_>>();
    let mut series = Vec::new();
    for (found, alpha) in found.iter().zip(ALPHAS) {
        series.push(Series::new(format!("latent, alpha = {alpha}"), steps(found), found.latent.clone()));
        series.push(Series::new(
            format!("reconstruction, alpha = {alpha}"),
            steps(found),
            found.reconstruction.clone(),
        ));
    }
    let plot = Plot::lines(
        "Latent error while the reconstruction learns",
        Axis::linear("step"),
        Axis::linear("mean squared error"),
        series,
    );
    context.plot(
        "denoising",
        plot.description("Without the invariance term the reconstruction error falls on while the latent error stays: noise is memorised."),
    )?;
    Ok(())
}
