//! Steps of super-net training.

use crate::alignment::{AlignmentConfig, alignment};
use crate::space::Architecture;
use crate::supernet::{Output, SuperNet};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use core_tensor::Mode;
use core_tensor::optim::{Optimizer, Sgd, SgdConfig, clip_grad_norm};

type LossFn<'a> = dyn Fn(&Output) -> Result<Tensor> + 'a;

/// What a step did.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Mean task loss of the architectures.
    pub loss: f64,
    /// Mean penalty of the alignment, weighted; 0 without.
    pub penalty: f64,
}

/// The settings of [`train_step`].
#[derive(Debug, Clone, Copy)]
pub struct StepOptions<'a> {
    /// Number of the step, for errors.
    pub step: u64,
    /// The norm that gradients are clipped to, over those of the step's path.
    pub clip: Option<f64>,
    /// The anchor and how children are drawn to it. The anchor runs in the same mode and without dropout of its own.
    pub alignment: Option<(&'a Architecture, AlignmentConfig)>,
}

impl StepOptions<'_> {
    /// Plain training.
    pub fn new(step: u64) -> Self {
        Self { step, clip: None, alignment: None }
    }
}

/// One update from the summed gradients of some architectures on one batch: one architecture for SPOS and MAGIC-T, the children of [`Fair`](crate::Fair) for FairNAS. The optimiser visits what they reached and nothing else.
///
/// # Errors
/// No architectures, [`Error::NotFinite`] with step, path and operator, or architectures that are not in the space.
pub fn train_step(
    net: &SuperNet,
    optimizer: &mut dyn Optimizer,
    x: &Tensor,
    architectures: &[Architecture],
    loss: &LossFn<'_>,
    options: &StepOptions<'_>,
) -> Result<Step> {
    const OPERATION: &str = "train_step";
    if architectures.is_empty() {
        return Err(Error::invalid(OPERATION, "no architectures"));
    }
    let anchor = match &options.alignment {
        Some((anchor, _)) => {
            let output = net.forward(x, anchor, &mut Mode::recalibrate().without_updates())?;
            Some(output.hidden.iter().map(Tensor::detach).collect::<Vec<_>>())
        }
        None => None,
    };
    let mut total: Option<Tensor> = None;
    let (mut losses, mut penalties) = (0.0, 0.0);
    for architecture in architectures {
        let output = net.forward(x, architecture, &mut Mode::recalibrate())?;
        let mut own = loss(&output)?;
        losses += finite(net, &own, &output, architecture, options.step)?;
        if let (Some(anchor), Some((_, config))) = (&anchor, &options.alignment) {
            let aligned = alignment(&output.hidden, anchor, config)?;
            penalties += number(&aligned.penalty)?;
            own = core_tensor::ops::add(&own, &aligned.penalty)?;
        }
        total = Some(match total {
            Some(total) => core_tensor::ops::add(&total, &own)?,
            None => own,
        });
    }
    if let Some(total) = total {
        let mut gradients = core_tensor::backward(&total)?;
        if let Some(limit) = options.clip {
            clip_grad_norm(optimizer.parameters(), &mut gradients, limit)?;
        }
        optimizer.step(&gradients)?;
    }
    let count = architectures.len() as f64;
    Ok(Step { loss: losses / count, penalty: penalties / count })
}

/// SUMNAS (Reptile-like): from the same weights each architecture takes some steps of SGD on the batch, and the weights move by the mean displacement times `rate`. Only the operators of the paths and the ends move.
///
/// # Errors
/// As [`train_step`], and no inner steps.
pub fn reptile_step(
    net: &SuperNet,
    x: &Tensor,
    architectures: &[Architecture],
    loss: &LossFn<'_>,
    (inner, rate): (&ReptileConfig, f64),
    step: u64,
) -> Result<Step> {
    if architectures.is_empty() || inner.steps == 0 {
        return Err(Error::invalid("reptile_step", "no architectures or no inner steps"));
    }
    let trainable = net.store().trainable();
    let start: Vec<Tensor> =
        trainable.iter().map(|(_, var)| Ok(var.as_detached_tensor().copy()?)).collect::<Result<_>>()?;
    let mut moved: Vec<Option<Tensor>> = vec![None; start.len()];
    let mut losses = 0.0;
    for architecture in architectures {
        let config = SgdConfig { learning_rate: inner.learning_rate, momentum: inner.momentum, ..SgdConfig::default() };
        let mut optimizer = Sgd::new(trainable.clone(), config)?;
        for at in 0..inner.steps {
            let found =
                train_step(net, &mut optimizer, x, std::slice::from_ref(architecture), loss, &StepOptions::new(step))?;
            losses += if at == 0 { found.loss } else { 0.0 };
        }
        for (((_, var), start), moved) in trainable.iter().zip(&start).zip(&mut moved) {
            let own = (var.as_detached_tensor() - start)?;
            *moved = Some(match moved.take() {
                Some(sum) => (sum + own)?,
                None => own,
            });
            var.set(start)?;
        }
    }
    let scale = rate / architectures.len() as f64;
    for (((_, var), start), moved) in trainable.iter().zip(&start).zip(moved) {
        if let Some(moved) = moved {
            var.set(&(start + (moved * scale)?)?)?;
        }
    }
    Ok(Step { loss: losses / architectures.len() as f64, penalty: 0.0 })
}

/// The inner steps of [`reptile_step`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReptileConfig {
    /// Steps from the same weights, 2.
    pub steps: usize,
    /// Their learning rate, 0.05.
    pub learning_rate: f64,
    /// Their momentum, 0.9.
    pub momentum: f64,
}

impl Default for ReptileConfig {
    fn default() -> Self {
        Self { steps: 2, learning_rate: 0.05, momentum: 0.9 }
    }
}

/// Gradients of several architectures on one batch, each projected onto the normal plane of those that it conflicts with, in turn, and summed (Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020). Architectures that do not share an operator do not
/// conflict there: products are taken over shared parameters alone.
///
/// # Errors
/// As [`train_step`].
pub fn projected_step(
    net: &SuperNet,
    optimizer: &mut dyn Optimizer,
    x: &Tensor,
    architectures: &[Architecture],
    loss: &LossFn<'_>,
    options: &StepOptions<'_>,
) -> Result<Step> {
    if architectures.is_empty() {
        return Err(Error::invalid("projected_step", "no architectures"));
    }
    let parameters = optimizer.parameters().clone();
    let mut all: Vec<Vec<Option<Tensor>>> = Vec::new();
    let mut losses = 0.0;
    for architecture in architectures {
        let output = net.forward(x, architecture, &mut Mode::recalibrate())?;
        let own = loss(&output)?;
        losses += finite(net, &own, &output, architecture, options.step)?;
        let gradients = core_tensor::backward(&own)?;
        all.push(parameters.iter().map(|(_, var)| gradients.get(var).cloned()).collect());
    }
    let product = |a: &[Option<Tensor>], b: &[Option<Tensor>]| -> Result<(f64, f64)> {
        let (mut dot, mut square) = (0.0, 0.0);
        for (a, b) in a.iter().zip(b) {
            let (Some(a), Some(b)) = (a, b) else { continue };
            dot += number(&(a * b)?.sum_all()?)?;
            square += number(&b.sqr()?.sum_all()?)?;
        }
        Ok((dot, square))
    };
    let mut sum: Vec<Option<Tensor>> = vec![None; parameters.len()];
    for (at, own) in all.iter().enumerate() {
        let mut projected = own.clone();
        for other in all.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, other)| other) {
            let (dot, square) = product(&projected, other)?;
            if dot >= 0.0 || square <= 0.0 {
                continue;
            }
            for (own, other) in projected.iter_mut().zip(other) {
                if let (Some(gradient), Some(other)) = (own.as_ref(), other) {
                    *own = Some((gradient - (other * (dot / square))?)?);
                }
            }
        }
        for (sum, own) in sum.iter_mut().zip(projected) {
            *sum = match (sum.take(), own) {
                (Some(a), Some(b)) => Some((a + b)?),
                (a, b) => a.or(b),
            };
        }
    }
    let none = candle_core::Var::zeros((), DType::F32, &candle_core::Device::Cpu)?;
    let mut gradients = core_tensor::backward(&none)?;
    for ((_, var), gradient) in parameters.iter().zip(sum) {
        if let Some(gradient) = gradient {
            gradients.insert(var, gradient);
        }
    }
    if let Some(limit) = options.clip {
        clip_grad_norm(&parameters, &mut gradients, limit)?;
    }
    optimizer.step(&gradients)?;
    Ok(Step { loss: losses / architectures.len() as f64, penalty: 0.0 })
}

fn number(x: &Tensor) -> Result<f64> {
    Ok(x.detach().to_dtype(DType::F64)?.to_scalar::<f64>()?)
}

/// The loss as a number, or which operator spoilt it.
fn finite(net: &SuperNet, loss: &Tensor, output: &Output, architecture: &Architecture, step: u64) -> Result<f64> {
    let loss = number(loss)?;
    if loss.is_finite() {
        return Ok(loss);
    }
    let mut operator = None;
    for (layer, hidden) in output.hidden.iter().enumerate() {
        let sum = number(&hidden.detach().to_dtype(DType::F64)?.abs()?.sum_all()?)?;
        if !sum.is_finite() {
            operator = Some(format!("layer {layer}, `{}`", net.space().name(architecture, layer)));
            break;
        }
    }
    Err(Error::NotFinite { step, path: architecture.to_string(), loss, operator })
}
