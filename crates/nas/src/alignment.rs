//! MAGIC-A: the hidden states of a child are drawn to those of an anchor.

use crate::space::Architecture;
use crate::{Error, Result};
use candle_core::{D, Tensor};
use core_tensor::ops;

/// How the layers' distances become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
}

/// The settings of [`alignment`]. There is no default: the weight decides between no effect and collapse.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AlignmentConfig {
    /// λ.
    pub weight: f64,
    /// Over layers.
    pub reduction: Reduction,
    /// Whether hidden states are brought to length √width before they are compared, so that shrinking them does not help.
    pub is_normalized: bool,
}

impl AlignmentConfig {
    /// λ = 0.5 on the sum: believed to be the paper's, not re-read in its text. In pre-norm networks from scratch it can collapse all children to one output.
    pub fn recalled() -> Self {
        Self { weight: 0.5, reduction: Reduction::Sum, is_normalized: false }
    }

    /// λ = 0.05 on the mean: with which the measurements of this reproduction were made.
    pub fn measured() -> Self {
        Self { weight: 0.05, reduction: Reduction::Mean, is_normalized: false }
    }
}

/// What [`alignment`] gives.
#[derive(Debug, Clone)]
pub struct Aligned {
    /// The mean squared difference of each layer, without the weight.
    pub per_layer: Vec<Tensor>,
    /// λ times their sum or mean, to add to the loss.
    pub penalty: Tensor,
}

/// `λ Σ_l MSE(h_l, stopgrad h_l*)` over layers (or their mean), the MSE over batch, positions and width. Nothing reaches the anchor.
///
/// # Errors
/// Other numbers of layers or shapes, no layers, or a weight that is negative or not finite.
pub fn alignment(hidden: &[Tensor], anchor: &[Tensor], config: &AlignmentConfig) -> Result<Aligned> {
    const OPERATION: &str = "alignment";
    if !(config.weight >= 0.0 && config.weight.is_finite()) {
        return Err(Error::value(OPERATION, "the weight", config.weight, "0 or more"));
    }
    if hidden.len() != anchor.len() || hidden.is_empty() {
        let reason = format!("{} layers and an anchor with {}", hidden.len(), anchor.len());
        return Err(Error::invalid(OPERATION, reason));
    }
    let shown = |x: &Tensor| -> Result<Tensor> { if config.is_normalized { normalized(x) } else { Ok(x.clone()) } };
    let of = |(h, a): (&Tensor, &Tensor)| Ok(ops::mse(&shown(h)?, &shown(&a.detach())?.detach())?);
    let per_layer: Vec<Tensor> = hidden.iter().zip(anchor).map(of).collect::<Result<_>>()?;
    let mut sum = per_layer[0].clone();
    for layer in &per_layer[1..] {
        sum = ops::add(&sum, layer)?;
    }
    let scale = match config.reduction {
        Reduction::Sum => config.weight,
        Reduction::Mean => config.weight / per_layer.len() as f64,
    };
    Ok(Aligned { penalty: ops::affine(&sum, scale, 0.0)?, per_layer })
}

/// `√width · x / ‖x‖` along the last dimension; zeros stay zeros.
fn normalized(x: &Tensor) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    let last = x.dims().len() - 1;
    let square = ops::mean_keepdim(&ops::sqr(x)?, &[last])?;
    let size = ops::sqrt(&ops::affine(&square, 1.0, 1e-12)?)?;
    debug_assert!(width > 0, "an empty last dimension");
    Ok(ops::div(x, &size)?)
}

/// How good a child is on the batch that decides about the anchor.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AnchorScore {
    /// Its accuracy: more is better.
    pub accuracy: f64,
    /// Its loss, which decides between equal accuracies: less is better.
    pub loss: f64,
}

impl AnchorScore {
    fn is_better(&self, other: &Self) -> bool {
        self.accuracy > other.accuracy || (self.accuracy == other.accuracy && self.loss < other.loss)
    }
}

/// How the anchor is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum AnchorPolicy {
    /// The first architecture that is trained, for good.
    First,
    /// After so many steps of plain training the best of the next so many architectures, and no alignment before.
    BestOf {
        /// Steps of plain training.
        warm_up: u64,
        /// How many architectures compete.
        candidates: usize,
    },
    /// As [`BestOf`](Self::BestOf), and every so many steps the child of that step takes its place where it is better, both scored with the weights of that moment.
    Replaced {
        /// Steps of plain training.
        warm_up: u64,
        /// How many architectures compete at first.
        candidates: usize,
        /// Steps between challenges.
        every: u64,
    },
}

/// The anchor during a training.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Anchor {
    policy: AnchorPolicy,
    current: Option<Architecture>,
    waiting: Vec<Architecture>,
    replaced: u64,
}

impl Anchor {
    /// None yet.
    ///
    /// # Errors
    /// No candidates, or a challenge every 0 steps.
    pub fn new(policy: AnchorPolicy) -> Result<Self> {
        let is_possible = match policy {
            AnchorPolicy::First => true,
            AnchorPolicy::BestOf { candidates, .. } => candidates > 0,
            AnchorPolicy::Replaced { candidates, every, .. } => candidates > 0 && every > 0,
        };
        if !is_possible {
            return Err(Error::invalid("Anchor::new", format!("{policy:?} has a number that is 0")));
        }
        Ok(Self { policy, current: None, waiting: Vec::new(), replaced: 0 })
    }

    /// The anchor to align with, if there is one yet.
    pub fn current(&self) -> Option<&Architecture> {
        self.current.as_ref()
    }

    /// How often it was replaced.
    pub fn num_replaced(&self) -> u64 {
        self.replaced
    }

    /// Is told of the architecture of each step, from step 0, before it is trained; `score` evaluates one on the fixed validation batch, which no reported score may use.
    ///
    /// # Errors
    /// Those of `score`.
    pub fn observe(
        &mut self,
        step: u64,
        architecture: &Architecture,
        mut score: impl FnMut(&Architecture) -> Result<AnchorScore>,
    ) -> Result<()> {
        let (warm_up, candidates, every) = match self.policy {
            AnchorPolicy::First => {
                self.current.get_or_insert_with(|| architecture.clone());
                return Ok(());
            }
            AnchorPolicy::BestOf { warm_up, candidates } => (warm_up, candidates, None),
            AnchorPolicy::Replaced { warm_up, candidates, every } => (warm_up, candidates, Some(every)),
        };
        if step < warm_up {
            return Ok(());
        }
        let Some(current) = &self.current else {
            self.waiting.push(architecture.clone());
            if self.waiting.len() >= candidates {
                let mut best: Option<(AnchorScore, Architecture)> = None;
                for candidate in std::mem::take(&mut self.waiting) {
                    let own = score(&candidate)?;
                    if best.as_ref().is_none_or(|(best, _)| own.is_better(best)) {
                        best = Some((own, candidate));
                    }
                }
                self.current = best.map(|(_, architecture)| architecture);
            }
            return Ok(());
        };
        let is_challenge = every.is_some_and(|every| step.is_multiple_of(every)) && current != architecture;
        if is_challenge && score(architecture)?.is_better(&score(current)?) {
            self.current = Some(architecture.clone());
            self.replaced += 1;
        }
        Ok(())
    }
}
