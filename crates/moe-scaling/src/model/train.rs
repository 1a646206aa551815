//! Training and evaluation on a text.

use super::RoutedTransformer;
use crate::layer::RoutingStatistics;
use crate::{Error, Mode, Result};
use candle_core::{Device, Tensor};
use core_tensor::checkpoint::Checkpoint;
use core_tensor::optim::{AdamConfig, AdamW, Optimizer, clip_grad_norm};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::schedule::Schedule;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How a model is trained. The paper does not say how it trained; these are our choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// Optimiser steps.
    pub steps: u64,
    /// Sequences in a step; 16.
    pub batch: usize,
    /// Tokens of a sequence; 128.
    pub length: usize,
    /// AdamW's step size at its peak, after a linear warm-up over 1 % of the steps and before a cosine to a tenth; `3e-3 · √(64/d)`.
    pub learning_rate: f64,
    /// AdamW's decay of matrices; 0.1. Scales and offsets do not decay.
    pub weight_decay: f64,
    /// Gradients of a larger norm are scaled down; 1.
    pub clip_norm: f64,
    /// Seed of the batches and of the routers' randomness.
    pub seed: u64,
    /// The held-out loss is measured every so many steps, and at the end; 250.
    pub evaluate_every: u64,
    /// On so many batches of the held-out text, always the same; 64.
    pub evaluation_batches: usize,
    /// Where checkpoints are written every `evaluate_every` steps, and where training continues from; none.
    pub checkpoints: Option<PathBuf>,
}

impl TrainConfig {
    /// The defaults for a model of this width.
    pub fn new(d_model: usize, steps: u64) -> Self {
        Self {
            steps,
            batch: 16,
            length: 128,
            learning_rate: 3e-3 * (64. / d_model.max(1) as f64).sqrt(),
            weight_decay: 0.1,
            clip_norm: 1.,
            seed: 0,
            evaluate_every: 250,
            evaluation_batches: 64,
            checkpoints: None,
        }
    }
}

/// The held-out loss after some steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EvalPoint {
    /// Steps taken.
    pub step: u64,
    /// Held-out cross-entropy, nats per token.
    pub loss: f64,
}

/// What training gives back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// The held-out losses.
    pub evaluations: Vec<EvalPoint>,
    /// The mean training cross-entropy of the last tenth of the steps.
    pub final_training_loss: f64,
    /// For each routed layer, the largest load over the mean, averaged over the last tenth of the steps.
    pub max_over_mean: Vec<f64>,
    /// For each routed layer, the fraction of dropped choices, averaged likewise.
    pub dropped: Vec<f64>,
}

impl TrainReport {
    /// The last held-out loss.
    pub fn loss(&self) -> f64 {
        self.evaluations.last().map_or(f64::NAN, |point| point.loss)
    }
}

/// What a checkpoint holds besides parameters, optimisers and generators.
#[derive(Serialize, Deserialize)]
struct Progress {
    evaluations: Vec<EvalPoint>,
    tail: Tail,
}

/// Sums over the last tenth of the steps.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Tail {
    steps: u64,
    loss: f64,
    max_over_mean: Vec<f64>,
    dropped: Vec<f64>,
}

impl Tail {
    fn add(&mut self, loss: f64, statistics: &[RoutingStatistics]) {
        self.steps += 1;
        self.loss += loss;
        self.max_over_mean.resize(statistics.len(), 0.);
        self.dropped.resize(statistics.len(), 0.);
        for ((max, dropped), layer) in self.max_over_mean.iter_mut().zip(&mut self.dropped).zip(statistics) {
            *max += layer.max_over_mean();
            *dropped += layer.dropped_fraction();
        }
    }

    fn mean(&self, sums: &[f64]) -> Vec<f64> {
        sums.iter().map(|sum| sum / self.steps.max(1) as f64).collect()
    }
}

/// Trains on `text` and measures on `held_out`, both token ids (bytes, say). `each_step(step, training loss)` is called after every step and may end the run by
/// an error. With `checkpoints` in the configuration an interrupted run continues with the same bits.
///
/// # Errors
///
/// When a text is shorter than a sequence and its target, an id lies outside of the vocabulary, a setting is out of range, the loss becomes NaN, or files cannot
/// be written.
pub fn train(
    model: &RoutedTransformer,
    store: &ParamStore,
    text: &[u8],
    held_out: &[u8],
    config: &TrainConfig,
    mut each_step: impl FnMut(u64, f64) -> Result<()>,
) -> Result<TrainReport> {
    check(text, "text", config)?;
    check(held_out, "held-out text", config)?;
    if config.steps == 0 || config.evaluate_every == 0 {
        return Err(Error::options("training", "steps and evaluate_every must be above 0"));
    }
    let adam = AdamConfig {
        learning_rate: config.learning_rate,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: config.weight_decay,
    };
    let all = store.trainable();
    let (matrices, vectors): (Vec<_>, Vec<_>) = all.iter().cloned().partition(|(_, var)| var.rank() > 1);
    let mut decayed = AdamW::new(matrices, adam)?;
    let mut plain = AdamW::new(vectors, AdamConfig { weight_decay: 0., ..adam })?;
    let warmup = (config.steps / 100).max(1);
    let cosine = Schedule::Cosine { steps: config.steps - warmup.min(config.steps), minimum: 0.1 };
    let schedule = Schedule::Warmup { steps: warmup, then: Box::new(cosine) };
    let mut batches = Rng::new(config.seed).fork("batches");
    let mut routing = Rng::new(config.seed).fork("routing");
    let mut progress = Progress { evaluations: Vec::new(), tail: Tail::default() };
    let mut first = 0;
    // one checkpoint file for each optimiser: they are steps of two folders
    let folders = config.checkpoints.as_ref().map(|folder| [folder.join("matrices"), folder.join("vectors")]);
    if let Some([one, other]) = &folders
        && let (Some(a), Some(b)) = (Checkpoint::load_latest(one)?, Checkpoint::load_latest(other)?)
    {
        let step = a.step.min(b.step);
        let a = if a.step == step { a } else { Checkpoint::load(one, step)? };
        let b = if b.step == step { b } else { Checkpoint::load(other, step)? };
        store.restore(&a.parameters)?;
        a.optimizer.iter().try_for_each(|state| decayed.load_state(state))?;
        b.optimizer.iter().try_for_each(|state| plain.load_state(state))?;
        let rng = |name: &str| a.rngs.get(name).cloned();
        let broken = || Error::options("the checkpoint", "it is not one of this training");
        batches = rng("batches").ok_or_else(broken)?;
        routing = rng("routing").ok_or_else(broken)?;
        progress = serde_json::from_value(a.extra.clone()).map_err(|_| broken())?;
        first = step;
    }
    for step in first..config.steps {
        let (inputs, targets) = batch(text, config, || batches.below(text.len() - config.length), store.device())?;
        let output = model.forward(&inputs, &mut Mode::train(&mut routing))?;
        let (cross_entropy, total) = output.loss(&targets)?;
        let mut grads = core_tensor::backward(&total)?;
        clip_grad_norm(&all, &mut grads, config.clip_norm)?;
        let rate = config.learning_rate * schedule.factor(step);
        decayed.set_learning_rate(rate);
        plain.set_learning_rate(rate);
        decayed.step(&grads)?;
        plain.step(&grads)?;
        let loss = cross_entropy.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
        if !loss.is_finite() {
            let place = format!("step {step}");
            return Err(Error::Value { place, column: "the training loss", value: loss, expected: "a finite number" });
        }
        if step >= config.steps - config.steps.div_ceil(10) {
            progress.tail.add(loss, &output.statistics);
        }
        each_step(step + 1, loss)?;
        let done = step + 1;
        if done % config.evaluate_every == 0 || done == config.steps {
            let loss = evaluate(model, store.device(), held_out, config)?;
            progress.evaluations.push(EvalPoint { step: done, loss });
            if let Some([one, other]) = &folders {
                let mut b = Checkpoint::new(done);
                b.optimizer = Some(plain.state()?);
                b.save(other)?;
                let mut a = Checkpoint::new(done);
                a.parameters = store.snapshot()?;
                a.optimizer = Some(decayed.state()?);
                a.rngs.insert("batches".into(), batches.clone());
                a.rngs.insert("routing".into(), routing.clone());
                a.extra = serde_json::to_value(&progress).unwrap_or_default();
                a.save(one)?;
            }
        }
    }
    let tail = &progress.tail;
    Ok(TrainReport {
        final_training_loss: tail.loss / tail.steps.max(1) as f64,
        max_over_mean: tail.mean(&tail.max_over_mean),
        dropped: tail.mean(&tail.dropped),
        evaluations: progress.evaluations,
    })
}

/// The cross-entropy in nats per token on `evaluation_batches` batches of evenly spaced pieces of `text`.
///
/// # Errors
///
/// As for [`train`].
pub fn evaluate(model: &RoutedTransformer, device: &Device, text: &[u8], config: &TrainConfig) -> Result<f64> {
    check(text, "text", config)?;
    let pieces = config.batch * config.evaluation_batches;
    let last = text.len() - config.length - 1;
    let mut piece = 0;
    let mut sum = 0.;
    for _ in 0..config.evaluation_batches {
        let next = || {
            piece += 1;
            (piece - 1) * last / pieces.max(2).saturating_sub(1)
        };
        let (inputs, targets) = batch(text, config, next, device)?;
        let output = model.forward(&inputs, &mut Mode::evaluate())?;
        let (cross_entropy, _) = output.loss(&targets)?;
        sum += cross_entropy.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
    }
    Ok(sum / config.evaluation_batches as f64)
}

fn check(text: &[u8], what: &'static str, config: &TrainConfig) -> Result<()> {
    if config.batch == 0 || config.length == 0 || config.evaluation_batches == 0 {
        return Err(Error::options("training", "batch, length and evaluation_batches must be above 0"));
    }
    if text.len() < config.length + 1 {
        let reason = format!("{} tokens are not enough for sequences of {} and a target", text.len(), config.length);
        return Err(Error::options(what, reason));
    }
    Ok(())
}

/// Inputs and targets `[batch, length]` of pieces that begin where `start` says.
fn batch(
    text: &[u8],
    config: &TrainConfig,
    mut start: impl FnMut() -> usize,
    device: &Device,
) -> Result<(Tensor, Tensor)> {
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..config.batch {
        let start = start();
        let piece = &text[start..start + config.length + 1];
        inputs.extend(piece[..config.length].iter().map(|&id| u32::from(id)));
        targets.extend(piece[1..].iter().map(|&id| u32::from(id)));
    }
    let shape = (config.batch, config.length);
    Ok((Tensor::from_vec(inputs, shape, device)?, Tensor::from_vec(targets, shape, device)?))
}
