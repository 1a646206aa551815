//! Super-nets by several methods, and architectures alone.

use crate::language::{Batch, Language, TOKENS};
use candle_core::{DType, Device, Tensor};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use experiment::{Result, TrialContext};
use nas::nas_interference::{MaskedLanguageConfig, masked_accuracy, masked_loss};
use nas::operator::{NormPlace, SequenceConfig};
use nas::{
    AlignmentConfig, Anchor, AnchorPolicy, AnchorScore, Architecture, Fair, Gradual, Output, ReptileConfig,
    StepOptions, SuperNet, Uniform, reptile_step, score_all, train_step,
};
use serde::{Deserialize, Serialize};

const BATCH: usize = 32;
const RATE: f64 = 2e-3;
const WARM_UP: usize = 50;

/// How a super-net is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Method {
    Spos,
    MagicT,
    MagicA,
    MagicAt,
    /// SPOS with 4/3 of the steps, which is what MAGIC-A costs where a backward pass costs two forward ones.
    SposLonger,
    FairNas,
    SumNas,
    /// MAGIC-A with an anchor whose hidden states are those of the first values: nothing to be drawn to.
    UntrainedAnchor,
    /// The architectures of a gradual chain in random order: the same children, no gradual steps.
    ShuffledChain,
    /// MAGIC-A with 0.5 on the sum in a pre-norm network: it collapses.
    Collapsing,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spos => "SPOS",
            Self::MagicT => "MAGIC-T",
            Self::MagicA => "MAGIC-A",
            Self::MagicAt => "MAGIC-AT",
            Self::SposLonger => "SPOS, 4/3 of the steps",
            Self::FairNas => "FairNAS",
            Self::SumNas => "SUMNAS",
            Self::UntrainedAnchor => "MAGIC-A, untrained anchor",
            Self::ShuffledChain => "MAGIC-T's children in random order",
            Self::Collapsing => "MAGIC-A, 0.5 on the sum, pre-norm",
        }
    }
}

/// The space, in one of the two places of norms.
pub(crate) fn config(is_pre_norm: bool) -> MaskedLanguageConfig {
    let tiny = MaskedLanguageConfig::tiny();
    let norm = if is_pre_norm { NormPlace::Pre } else { NormPlace::Post };
    MaskedLanguageConfig { sizes: SequenceConfig { norm, ..tiny.sizes }, ..tiny }
}

pub(crate) fn loss_of(batch: &Batch) -> impl Fn(&Output) -> nas::Result<Tensor> + '_ {
    |output: &Output| masked_loss(&output.prediction, &batch.targets, &batch.mask)
}

/// A rate that rises for 50 steps and falls linearly to a tenth.
pub(crate) fn rate(step: usize, steps: usize) -> f64 {
    let rising = ((step + 1) as f64 / WARM_UP as f64).min(1.0);
    let done = step.saturating_sub(WARM_UP) as f64 / steps.saturating_sub(WARM_UP).max(1) as f64;
    RATE * rising * (1.0 - 0.9 * done)
}

/// The architectures of each step.
pub(crate) fn paths(method: Method, net: &SuperNet, steps: usize, seed: u64) -> Result<Vec<Vec<Architecture>>> {
    let space = net.space();
    let single = |all: nas::Result<Vec<Architecture>>| -> Result<Vec<Vec<Architecture>>> {
        Ok(all?.into_iter().map(|architecture| vec![architecture]).collect())
    };
    match method {
        Method::MagicT | Method::MagicAt => single(Gradual::new(space, seed)?.take(steps).collect()),
        Method::ShuffledChain => {
            let mut all: Vec<Architecture> = Gradual::new(space, seed)?.take(steps).collect::<nas::Result<_>>()?;
            Rng::new(seed).fork("order").shuffle(&mut all);
            single(Ok(all))
        }
        // three children with a gradient each, for SUMNAS two steps of each
        Method::FairNas => Ok(Fair::new(space, seed)?.take(steps / 3).collect()),
        Method::SumNas => Ok(Fair::new(space, seed)?.take(steps / 6).collect()),
        Method::SposLonger => single(Uniform::new(space, seed).take(steps * 4 / 3).collect()),
        _ => single(Uniform::new(space, seed).take(steps).collect()),
    }
}

/// A trained super-net, the architectures of its last steps, and how often its anchor was replaced.
pub(crate) struct Trained {
    pub(crate) net: SuperNet,
    pub(crate) last: Vec<Architecture>,
    pub(crate) replaced: u64,
}

pub(crate) fn train(
    method: Method,
    language: &Language,
    (steps, seed): (usize, u64),
    trial: &TrialContext,
) -> Result<Trained> {
    train_watched(method, language, (steps, seed), trial, |_, _, _| Ok(()))
}

/// As [`train`]; `watch` is told the number of steps that are done, the net, and the architectures of all of them.
pub(crate) fn train_watched(
    method: Method,
    language: &Language,
    (steps, seed): (usize, u64),
    trial: &TrialContext,
    mut watch: impl FnMut(usize, &SuperNet, &[Vec<Architecture>]) -> Result<()>,
) -> Result<Trained> {
    let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
    let mut data = Rng::new(seed).fork("batches");
    let example = language.batch(2, &mut Rng::new(0))?;
    let net = config(method == Method::Collapsing).blueprint()?.build(&store, &example.ids)?;
    let paths = paths(method, &net, steps, seed)?;
    let adam = AdamConfig { learning_rate: RATE, ..AdamConfig::default() };
    let mut optimizer = Adam::new(store.trainable(), adam)?;
    let (alignment, policy) = match method {
        Method::MagicA | Method::MagicAt => {
            let policy = AnchorPolicy::Replaced { warm_up: steps as u64 / 10, candidates: 8, every: 50 };
            (Some(AlignmentConfig::measured()), policy)
        }
        Method::UntrainedAnchor => (Some(AlignmentConfig::measured()), AnchorPolicy::First),
        // from scratch, and the first child for good
        Method::Collapsing => (Some(AlignmentConfig::recalled()), AnchorPolicy::First),
        _ => (None, AnchorPolicy::First),
    };
    let mut anchor = Anchor::new(policy)?;
    // no score that is reported uses it
    let validation = language.batch(256, &mut Rng::new(seed).fork("validation"))?;
    let untrained = match method {
        Method::UntrainedAnchor => {
            let other = ParamStore::new(seed + 1, DType::F32, &Device::Cpu);
            Some(config(false).blueprint()?.build(&other, &example.ids)?)
        }
        _ => None,
    };
    for (step, architectures) in paths.iter().enumerate() {
        if step % 200 == 0 {
            trial.check_cancelled()?;
        }
        let batch = language.batch(BATCH, &mut data)?;
        let loss = loss_of(&batch);
        optimizer.set_learning_rate(rate(step, paths.len()));
        if method == Method::SumNas {
            let of_step = optimizer.learning_rate() / RATE;
            reptile_step(&net, &batch.ids, architectures, &loss, (&ReptileConfig::default(), of_step), step as u64)?;
            continue;
        }
        if let (Some(config), Some(other)) = (alignment, &untrained) {
            aligned_with(&net, other, &mut optimizer, (&batch, architectures, config), step)?;
            continue;
        }
        if alignment.is_some() {
            anchor.observe(step as u64, &architectures[0], |architecture| {
                let score = |logits: &Tensor| {
                    let loss = masked_loss(logits, &validation.targets, &validation.mask)?.to_scalar::<f32>()?;
                    let accuracy = masked_accuracy(logits, &validation.targets, &validation.mask)?;
                    Ok(AnchorScore { accuracy, loss: f64::from(loss) })
                };
                Ok(score_all(&net, &validation.ids, std::slice::from_ref(architecture), score)?[0])
            })?;
        }
        let aligned = alignment.and_then(|config| anchor.current().map(|anchor| (anchor, config)));
        let options = StepOptions { step: step as u64, clip: Some(1.0), alignment: aligned };
        train_step(&net, &mut optimizer, &batch.ids, architectures, &loss, &options)?;
        watch(step + 1, &net, &paths[..=step])?;
    }
    let last = paths.into_iter().rev().take(60).flatten().collect();
    Ok(Trained { net, last, replaced: anchor.num_replaced() })
}

/// A step that draws hidden states to those of another network, which never trains.
fn aligned_with(
    net: &SuperNet,
    other: &SuperNet,
    optimizer: &mut Adam,
    (batch, architectures, config): (&Batch, &[Architecture], AlignmentConfig),
    step: usize,
) -> Result<()> {
    let mode = || core_tensor::Mode::evaluate();
    let first = Architecture(vec![0; net.space().num_layers()]);
    let anchor = other.forward(&batch.ids, &first, &mut mode())?;
    let output = net.forward(&batch.ids, &architectures[0], &mut mode())?;
    let aligned = nas::alignment(&output.hidden, &anchor.hidden, &config)?;
    let loss = core_tensor::ops::add(&loss_of(batch)(&output)?, &aligned.penalty)?;
    let mut gradients = core_tensor::backward(&loss)?;
    core_tensor::optim::clip_grad_norm(optimizer.parameters(), &mut gradients, 1.0)?;
    optimizer.step(&gradients)?;
    if step == 0 && !loss.to_scalar::<f32>()?.is_finite() {
        return Err("the first loss is not finite".into());
    }
    Ok(())
}

/// Losses of architectures on a batch, with the weights of a super-net.
pub(crate) fn losses(net: &SuperNet, batch: &Batch, architectures: &[Architecture]) -> Result<Vec<f64>> {
    let score = |logits: &Tensor| Ok(f64::from(masked_loss(logits, &batch.targets, &batch.mask)?.to_scalar::<f32>()?));
    Ok(score_all(net, &batch.ids, architectures, score)?)
}

/// The loss of an architecture that is trained alone.
pub(crate) fn alone(
    architecture: &Architecture,
    language: &Language,
    test: &Batch,
    (steps, seed): (usize, u64),
    trial: &TrialContext,
) -> Result<f64> {
    let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
    let example = language.batch(2, &mut Rng::new(0))?;
    let net = config(false).blueprint()?.build(&store, &example.ids)?;
    let mut data = Rng::new(seed).fork("batches");
    let mut optimizer = Adam::new(store.trainable(), AdamConfig { learning_rate: RATE, ..AdamConfig::default() })?;
    for step in 0..steps {
        if step % 200 == 0 {
            trial.check_cancelled()?;
        }
        let batch = language.batch(BATCH, &mut data)?;
        optimizer.set_learning_rate(rate(step, steps));
        let options = StepOptions { step: step as u64, clip: Some(1.0), alignment: None };
        train_step(&net, &mut optimizer, &batch.ids, std::slice::from_ref(architecture), &loss_of(&batch), &options)?;
    }
    Ok(losses(&net, test, std::slice::from_ref(architecture))?[0])
}

/// The loss of guessing.
pub(crate) fn guessing() -> f64 {
    (TOKENS as f64).ln()
}
