//! Training and evaluation on text.

use super::transformer::RoutedTransformer;
use crate::layer::RoutingStatistics;
use crate::{Error, Mode, Result};
use candle_core::{Device, Tensor};
use core_tensor::checkpoint::{Checkpoint, Section};
use core_tensor::optim::{AdamConfig, AdamW, ParamGroup};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::schedule::Schedule;
use core_tensor::train::{Cancellation, Trainer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The section of a checkpoint with what [`train`] has measured so far.
const SECTION: &str = "routed-transformer";

/// The settings of [`train`]. The paper does not give its settings; the defaults are our choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// The number of optimiser steps.
    pub steps: u64,
    /// Sequences per step; 16.
    pub batch: usize,
    /// Tokens per sequence; 128.
    pub length: usize,
    /// Peak learning rate of AdamW, reached by a linear warm-up over 1 % of the steps and followed by a cosine decay to a tenth; `3e-3 · √(64/d)`.
    pub learning_rate: f64,
    /// Weight decay of AdamW for matrices; 0.1. Scales and offsets are not decayed.
    pub weight_decay: f64,
    /// Gradients are clipped to this norm; 1.
    pub clip_norm: f64,
    /// Seed of the batches and of the routers' noise; 0.
    pub seed: u64,
    /// The number of steps between measurements of the held-out loss, which is also measured at the end; 250.
    pub evaluate_every: u64,
    /// The number of batches of the held-out text, the same each time; 64.
    pub evaluation_batches: usize,
    /// The folder where checkpoints are written every `evaluate_every` steps and from which training resumes; none.
    pub checkpoints: Option<PathBuf>,
}

impl TrainConfig {
    /// The default settings for a model of this width.
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

/// The held-out loss after a number of steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EvaluationPoint {
    /// The number of steps taken.
    pub step: u64,
    /// Held-out cross-entropy, in nats per token.
    pub loss: f64,
}

/// The results of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// The held-out losses, in the order of the steps.
    pub evaluations: Vec<EvaluationPoint>,
    /// The mean training cross-entropy over the last tenth of the steps, in nats per token.
    pub final_training_loss: f64,
    /// For each routed layer, [`RoutingStatistics::max_over_mean`] averaged over the last tenth of the steps.
    pub max_over_mean: Vec<f64>,
    /// For each routed layer, [`RoutingStatistics::dropped_fraction`] averaged over the last tenth of the steps.
    pub dropped: Vec<f64>,
}

impl TrainReport {
    /// The last held-out loss; NaN if none was measured.
    pub fn loss(&self) -> f64 {
        self.evaluations.last().map_or(f64::NAN, |point| point.loss)
    }
}

/// The part of a checkpoint besides parameters, optimisers and generators.
#[derive(Serialize, Deserialize)]
struct Progress {
    evaluations: Vec<EvaluationPoint>,
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

/// Trains on `text` and measures the loss on `held_out`; both are token ids, such as bytes. `each_step(step, training_loss)` is called after every step. With
/// `checkpoints`, a run that was interrupted resumes and ends with the same bits.
///
/// # Errors
///
/// When a text is not longer than a sequence, an id is outside the vocabulary, a setting is out of range, the loss is not finite, a checkpoint is of another
/// run, or a file cannot be read or written; [`core_tensor::Error::Cancelled`] when `cancellation` asks for it.
pub fn train(
    model: &RoutedTransformer,
    store: &ParamStore,
    text: &[u8],
    held_out: &[u8],
    config: &TrainConfig,
    cancellation: &Cancellation,
    mut each_step: impl FnMut(u64, f64),
) -> Result<TrainReport> {
    check(text, "text", config)?;
    check(held_out, "held_out", config)?;
    if config.steps == 0 || config.evaluate_every == 0 {
        return Err(Error::config("TrainConfig", "steps and evaluate_every must be above 0"));
    }
    let adam = AdamConfig {
        learning_rate: config.learning_rate,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: config.weight_decay,
    };
    let vectors = ParamGroup::vectors(AdamConfig { weight_decay: 0., ..adam });
    let warmup = (config.steps / 100).max(1);
    let cosine = Schedule::Cosine { steps: config.steps - warmup.min(config.steps), minimum: 0.1 };
    let mut trainer = Trainer::new(AdamW::with_groups(store, adam, &[vectors])?)
        .schedule(Schedule::Warmup { steps: warmup, then: Box::new(cosine) })
        .clip_norm(config.clip_norm)?;
    let mut batches = Rng::new(config.seed).fork("batches");
    let mut routing = Rng::new(config.seed).fork("routing");
    let mut progress = Progress { evaluations: Vec::new(), tail: Tail::default() };
    if let Some(folder) = &config.checkpoints
        && let Some(checkpoint) = Checkpoint::load_latest(folder)?
    {
        trainer.resume(store, &checkpoint)?;
        (batches, routing) = (checkpoint.rng("batches")?, checkpoint.rng("routing")?);
        progress = checkpoint.section(SECTION)?.values(SECTION)?;
    }
    while trainer.num_steps() < config.steps {
        cancellation.check()?;
        let (inputs, targets) = batch(text, config, || batches.below(text.len() - config.length), store.device())?;
        let output = model.forward(&inputs, &mut Mode::train(&mut routing))?;
        let (cross_entropy, total) = output.loss(&targets)?;
        let step = trainer.step(&total)?.number;
        let loss = cross_entropy.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
        if !loss.is_finite() {
            return Err(Error::NotFinite { operation: "train", what: "the loss of step", position: step, got: loss });
        }
        if step >= config.steps - config.steps.div_ceil(10) {
            progress.tail.add(loss, &output.statistics);
        }
        let done = trainer.num_steps();
        each_step(done, loss);
        if done % config.evaluate_every == 0 || done == config.steps {
            let loss = evaluate(model, held_out, config)?;
            progress.evaluations.push(EvaluationPoint { step: done, loss });
            if let Some(folder) = &config.checkpoints {
                let mut checkpoint = trainer.checkpoint(store)?;
                checkpoint.rngs.insert("batches".into(), batches.clone());
                checkpoint.rngs.insert("routing".into(), routing.clone());
                checkpoint.sections.insert(SECTION.into(), Section::new(BTreeMap::new(), &progress)?);
                checkpoint.save(folder)?;
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

/// The cross-entropy in nats per token on `evaluation_batches` batches of evenly spaced sequences of `text`.
///
/// # Errors
///
/// When the text is not longer than a sequence, an id is outside the vocabulary, or a setting is 0.
pub fn evaluate(model: &RoutedTransformer, text: &[u8], config: &TrainConfig) -> Result<f64> {
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
        let (inputs, targets) = batch(text, config, next, model.device())?;
        let output = model.forward(&inputs, &mut Mode::evaluate())?;
        let (cross_entropy, _) = output.loss(&targets)?;
        sum += cross_entropy.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
    }
    Ok(sum / config.evaluation_batches as f64)
}

fn check(text: &[u8], what: &'static str, config: &TrainConfig) -> Result<()> {
    if config.batch == 0 || config.length == 0 || config.evaluation_batches == 0 {
        return Err(Error::config("TrainConfig", "batch, length and evaluation_batches must be above 0"));
    }
    if text.len() < config.length + 1 {
        let expected = format!("at least {}: a sequence and its last target", config.length + 1);
        return Err(Error::length("train", what, text.len(), expected));
    }
    Ok(())
}

/// Inputs and targets, `[batch, length]`, of sequences whose offsets `start` returns.
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
