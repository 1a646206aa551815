//! Models that stand in for a model: for its gradient, for its randomness, for the model as a whole.

use super::attack::Attack;
use super::classifier::{Classifier, through_tape};
use super::loss::{Loss, predicted};
use super::outcome::{Outcome, Row};
use super::samples::Samples;
use super::search::{check_logits, clean_logits, logits_of};
use super::threat::ThreatModel;
use crate::error::check_positive;
use crate::{Error, Result};
use candle_core::Tensor;

type Function<'a> = Box<dyn Fn(&Tensor) -> Result<Tensor> + 'a>;

/// A transform before a classifier whose gradient is useless or missing, with a differentiable one for the way back (Athalye et al., 2018): logits are head(transform(x)), and the gradient is
/// J_backward(x)ᵀ · ∂loss/∂transform(x).
///
/// `backward` must have outputs of the shape of the transform's. The identity, where shapes allow it, is `|x| Ok(x.clone())`.
pub struct Bpda<'a> {
    transform: Function<'a>,
    head: Function<'a>,
    backward: Function<'a>,
}

impl std::fmt::Debug for Bpda<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bpda").finish_non_exhaustive()
    }
}

impl<'a> Bpda<'a> {
    /// `head(transform(x))` forwards, `backward` for the gradient of the transform.
    pub fn new(
        transform: impl Fn(&Tensor) -> Result<Tensor> + 'a,
        head: impl Fn(&Tensor) -> Result<Tensor> + 'a,
        backward: impl Fn(&Tensor) -> Result<Tensor> + 'a,
    ) -> Self {
        Self { transform: Box::new(transform), head: Box::new(head), backward: Box::new(backward) }
    }
}

impl Classifier for Bpda<'_> {
    fn logits(&self, x: &Tensor) -> Result<Tensor> {
        (self.head)(&(self.transform)(x)?)
    }

    fn input_gradient(&self, x: &Tensor, of_logits: &mut dyn FnMut(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let transformed = (self.transform)(x)?.detach();
        let gradient = through_tape(&transformed, &self.head, of_logits)?;
        through_tape(x, &self.backward, &mut |_| Ok(gradient.clone()))
    }
}

/// A model that answers differently each time, judged by the mean of its logits over several answers; so is its gradient (expectation over transformations, Athalye et al., 2018).
pub struct Expectation<'a> {
    model: &'a dyn Classifier,
    samples: usize,
}

impl std::fmt::Debug for Expectation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expectation").field("samples", &self.samples).finish_non_exhaustive()
    }
}

impl<'a> Expectation<'a> {
    /// The mean of `samples` answers.
    ///
    /// # Errors
    /// No answers.
    pub fn new(model: &'a dyn Classifier, samples: usize) -> Result<Self> {
        check_positive("Expectation::new", &[("samples", samples)])?;
        Ok(Self { model, samples })
    }

    fn mean(&self, mut one: impl FnMut() -> Result<Tensor>) -> Result<Tensor> {
        let mut sum = one()?;
        for _ in 1..self.samples {
            sum = (sum + one()?)?;
        }
        Ok((sum / self.samples as f64)?)
    }
}

impl Classifier for Expectation<'_> {
    fn logits(&self, x: &Tensor) -> Result<Tensor> {
        self.mean(|| Ok(self.model.logits(x)?.detach()))
    }

    /// The gradient with respect to the mean logits goes to each answer.
    fn input_gradient(&self, x: &Tensor, of_logits: &mut dyn FnMut(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let weights = of_logits(&self.logits(x)?)?;
        self.mean(|| self.model.input_gradient(x, &mut |_| Ok(weights.clone())))
    }

    fn fingerprint(&self) -> Result<Option<u64>> {
        self.model.fingerprint()
    }
}

/// An attack on another model whose last points are handed to the one that is attacked: what an attacker can do who cannot ask. One query for each sample.
pub struct Transfer<'a, A> {
    model: &'a dyn Classifier,
    attack: A,
}

impl<A: std::fmt::Debug> std::fmt::Debug for Transfer<'_, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transfer").field("attack", &self.attack).finish_non_exhaustive()
    }
}

impl<'a, A: Attack> Transfer<'a, A> {
    /// `attack` runs on `model`. Let a gradient attack go to the end of each search ([`to_the_end`](super::GradientAttack::to_the_end)), or it stops where it barely fools the other model.
    pub fn new(model: &'a dyn Classifier, attack: A) -> Self {
        Self { model, attack }
    }
}

impl<A: Attack> Attack for Transfer<'_, A> {
    fn name(&self) -> String {
        format!("transferred {}", self.attack.name())
    }

    fn run_on(
        &self,
        classifier: &dyn Classifier,
        samples: &Samples,
        threat: &ThreatModel,
        seed: u64,
    ) -> Result<Outcome> {
        const ROWS: usize = 128;
        let found = self.attack.run_on(self.model, samples, threat, seed)?;
        let clean = clean_logits(classifier, samples, ROWS)?;
        let crafted = Samples::new(&found.last, &samples.labels)?;
        if crafted.size() != samples.size() {
            return Err(Error::length("Transfer", "elements of an input", crafted.size(), samples.size()));
        }
        let mut rows = Vec::with_capacity(samples.len());
        let mut scratch = vec![0.; clean[0].len()];
        for first in (0..samples.len()).step_by(ROWS) {
            let range = first..samples.len().min(first + ROWS);
            let points = range.clone().map(|sample| crafted.row(sample));
            for (sample, logits) in range.zip(logits_of(classifier, samples, points)?) {
                check_logits(&logits, scratch.len(), sample)?;
                let label = samples.labels[sample] as usize;
                let mut row = Row::new(samples.row(sample), predicted(&clean[sample]) != label);
                if !row.is_adversarial {
                    let loss = Loss::CrossEntropy.value(&logits, label, None, &mut scratch);
                    row.take(crafted.row(sample), loss, predicted(&logits) != label, true);
                }
                rows.push(row);
            }
        }
        Outcome::new(
            samples,
            rows,
            clean.iter().zip(&samples.labels).map(|(z, &y)| predicted(z) != y as usize).collect(),
        )
    }
}
