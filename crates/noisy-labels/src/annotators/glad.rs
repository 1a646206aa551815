//! Able annotators and difficult items (Whitehill, Ruvolo, Wu, Bergsma and Movellan, "Whose Vote Should Count More", NeurIPS 2009).

use super::em::{self, Model, Progress, Stopping};
use super::{Annotations, Consensus};
use crate::{Error, Result};
use rayon::prelude::*;

/// The settings of [`glad`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GladConfig {
    /// When the fit ends.
    pub stopping: Stopping,
    /// The standard deviation of the normal priors of abilities and of the logarithms of ease, both around 1; 1.
    pub prior_deviation: f64,
    /// Steps of Newton's method for each parameter in an iteration; 3.
    pub newton_steps: usize,
}

impl Default for GladConfig {
    fn default() -> Self {
        Self { stopping: Stopping::default(), prior_deviation: 1., newton_steps: 3 }
    }
}

/// What [`glad`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Glad {
    /// The probabilities of each item's classes.
    pub consensus: Consensus,
    /// `α` of each annotator: 0 guesses, below 0 misleads; 1 for those without annotations.
    pub abilities: Vec<f64>,
    /// `β > 0` of each item: near 0 nobody knows it; e for those without annotations.
    pub ease: Vec<f64>,
    /// How the fit went.
    pub progress: Progress,
}

/// Fits by expectation and maximisation, from the shares of the votes on: a label is right with the probability `σ(α β)` for the ability `α` of the annotator and the ease `β` of the item, and otherwise any of the other
/// classes. Classes are equally probable beforehand. The maximisation takes Newton steps for one parameter at a time, halved until they improve it, so that the penalised likelihood never falls.
///
/// # Errors
///
/// No annotation, and settings out of range.
pub fn glad(annotations: &Annotations, config: &GladConfig) -> Result<Glad> {
    const OP: &str = "glad";
    config.stopping.check(OP)?;
    let is_positive = config.prior_deviation.is_finite() && config.prior_deviation > 0.;
    if !is_positive {
        return Err(Error::config(OP, "prior_deviation", config.prior_deviation, "finite and above 0"));
    }
    if config.newton_steps == 0 {
        return Err(Error::config(OP, "newton_steps", 0, "at least 1"));
    }
    em::not_empty(OP, annotations)?;
    let classes = annotations.num_classes();
    let mut model = Abilities {
        log_prior: vec![-(classes as f64).ln(); classes],
        precision: 1. / (config.prior_deviation * config.prior_deviation),
        newton_steps: config.newton_steps,
        abilities: vec![1.; annotations.num_annotators()],
        log_ease: vec![1.; annotations.num_items()],
    };
    let (consensus, progress) = em::fit(&mut model, annotations, &config.stopping);
    let ease = model.log_ease.iter().map(|log| log.exp()).collect();
    Ok(Glad { consensus, abilities: model.abilities, ease, progress })
}

struct Abilities {
    log_prior: Vec<f64>,
    precision: f64,
    newton_steps: usize,
    abilities: Vec<f64>,
    log_ease: Vec<f64>,
}

/// `log σ(x)`.
fn log_sigmoid(x: f64) -> f64 {
    x.min(0.) - (-x.abs()).exp().ln_1p()
}

fn sigmoid(x: f64) -> f64 {
    1. / (1. + (-x).exp())
}

/// The logarithm of the largest ease: beyond it a sigmoid is a step.
const LARGEST_LOG: f64 = 20.;

impl Abilities {
    /// `−½ (value − 1)² / σ²`.
    fn log_normal(&self, value: f64) -> f64 {
        -0.5 * self.precision * (value - 1.) * (value - 1.)
    }

    /// A better value: Newton steps where the function is concave, else steps uphill, halved until they improve it. `at` gives the value, the slope and the curvature.
    fn climb(&self, mut value: f64, limit: f64, at: impl Fn(f64) -> [f64; 3]) -> f64 {
        for _ in 0..self.newton_steps {
            let [height, slope, curvature] = at(value);
            let mut step = if curvature < 0. { -slope / curvature } else { slope.signum() };
            let mut is_better = false;
            for _ in 0..20 {
                let next = (value + step).clamp(-limit, limit);
                if at(next)[0] > height {
                    value = next;
                    is_better = true;
                    break;
                }
                step *= 0.5;
            }
            if !is_better {
                break;
            }
        }
        value
    }
}

impl Model for Abilities {
    fn log_prior(&self) -> &[f64] {
        &self.log_prior
    }

    #[inline]
    fn add_evidence(&self, item: usize, annotator: usize, label: usize, scores: &mut [f64]) {
        let strength = self.abilities[annotator] * self.log_ease[item].exp();
        let right = log_sigmoid(strength);
        let wrong = log_sigmoid(-strength) - ((scores.len().max(2) - 1) as f64).ln();
        scores.iter_mut().for_each(|score| *score += wrong);
        scores[label] += right - wrong;
    }

    fn log_penalty(&self) -> f64 {
        self.abilities.iter().chain(&self.log_ease).map(|&value| self.log_normal(value)).sum()
    }

    fn maximise(&mut self, annotations: &Annotations, posteriors: &[f64]) {
        let classes = self.log_prior.len();
        let is_right = |item: u32, label: u32| posteriors[item as usize * classes + label as usize];
        let this = &*self;
        let abilities: Vec<f64> = (0..this.abilities.len())
            .into_par_iter()
            .map(|annotator| {
                let given: Vec<(f64, f64)> = annotations
                    .of_annotator(annotator)
                    .map(|a| (is_right(a.item, a.label), this.log_ease[a.item as usize].exp()))
                    .collect();
                this.climb(this.abilities[annotator], f64::MAX, |ability| {
                    let mut sums = [this.log_normal(ability), -this.precision * (ability - 1.), -this.precision];
                    for &(right, ease) in &given {
                        let (x, p) = (ability * ease, sigmoid(ability * ease));
                        sums[0] += right * log_sigmoid(x) + (1. - right) * log_sigmoid(-x);
                        sums[1] += ease * (right - p);
                        sums[2] -= ease * ease * p * (1. - p);
                    }
                    sums
                })
            })
            .collect();
        self.abilities = abilities;
        let this = &*self;
        let log_ease: Vec<f64> = (0..this.log_ease.len())
            .into_par_iter()
            .map(|item| {
                let given = annotations.of_item(item);
                this.climb(this.log_ease[item], LARGEST_LOG, |log| {
                    let ease = log.exp();
                    let mut sums = [this.log_normal(log), -this.precision * (log - 1.), -this.precision];
                    for annotation in given {
                        let ability = this.abilities[annotation.annotator as usize];
                        let (right, x) = (is_right(annotation.item, annotation.label), ability * ease);
                        let p = sigmoid(x);
                        sums[0] += right * log_sigmoid(x) + (1. - right) * log_sigmoid(-x);
                        sums[1] += x * (right - p);
                        sums[2] += x * (right - p) - x * x * p * (1. - p);
                    }
                    sums
                })
            })
            .collect();
        self.log_ease = log_ease;
    }
}
