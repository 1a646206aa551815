//! What models that are fitted by expectation and maximisation share.

use super::{Annotations, Consensus, majority_vote};
use crate::{Error, Result};
use rayon::prelude::*;

/// When a fit ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stopping {
    /// The largest number of iterations; 100.
    pub max_iterations: usize,
    /// The fit ends when an iteration changes the penalised log-likelihood by less than this for each annotation; 1e-7.
    pub tolerance: f64,
}

impl Default for Stopping {
    fn default() -> Self {
        Self { max_iterations: 100, tolerance: 1e-7 }
    }
}

impl Stopping {
    pub(super) fn check(&self, operation: &'static str) -> Result<()> {
        if self.max_iterations == 0 {
            return Err(Error::config(operation, "max_iterations", 0, "at least 1"));
        }
        if self.tolerance.is_nan() || self.tolerance < 0. {
            return Err(Error::config(operation, "tolerance", self.tolerance, "a number that is not negative"));
        }
        Ok(())
    }
}

/// How a fit went.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The log-likelihood of the annotations plus the logarithm of the prior of the parameters, up to a constant, before each iteration and at the end. It never falls.
    pub log_likelihoods: Vec<f64>,
    /// Whether the last iteration changed less than [`Stopping::tolerance`] asks for.
    pub has_converged: bool,
}

/// A model of how annotators err.
pub(super) trait Model: Sync {
    /// The logarithm of the prior probability of each class.
    fn log_prior(&self) -> &[f64];

    /// Adds to each class the logarithm of the probability of what an annotator says of an item of that class.
    fn add_evidence(&self, item: usize, annotator: usize, label: usize, scores: &mut [f64]);

    /// The logarithm of the prior of the parameters, up to a constant.
    fn log_penalty(&self) -> f64;

    /// Better parameters for these posteriors.
    fn maximise(&mut self, annotations: &Annotations, posteriors: &[f64]);
}

/// The classes' probabilities of each item, and the log-likelihood. Rows of items without annotations become 0.
pub(super) fn expect<M: Model>(model: &M, annotations: &Annotations, posteriors: &mut [f64]) -> f64 {
    let num_classes = annotations.num_classes();
    const ITEMS: usize = 1024;
    // Sums of blocks of items in their order, so that the bits do not depend on threads.
    let blocks: Vec<f64> = posteriors
        .par_chunks_mut(ITEMS * num_classes)
        .enumerate()
        .map(|(block, rows)| {
            let mut sum = 0.;
            for (item, row) in (block * ITEMS..).zip(rows.chunks_exact_mut(num_classes)) {
                let given = annotations.of_item(item);
                if given.is_empty() {
                    row.fill(0.);
                    continue;
                }
                row.copy_from_slice(model.log_prior());
                for annotation in given {
                    model.add_evidence(item, annotation.annotator as usize, annotation.label as usize, row);
                }
                sum += normalise_logarithms(row);
                to_grid(row);
            }
            sum
        })
        .collect();
    blocks.iter().sum()
}

/// Rounds probabilities to multiples of 2⁻⁴⁰. Thousands of them are then summed without rounding, in whatever order, so that data which are alike under other numbers of classes, items or annotators stay alike: from a tie, rounding would lead
/// away in a direction that depends on these numbers.
fn to_grid(row: &mut [f64]) {
    // The spacing of numbers around it is 2⁻⁴⁰.
    const SHIFT: f64 = 6144.;
    row.iter_mut().for_each(|p| *p = (*p + SHIFT) - SHIFT);
}

/// Turns logarithms into probabilities; the logarithm of their sum.
pub(super) fn normalise_logarithms(row: &mut [f64]) -> f64 {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.;
    for value in row.iter_mut() {
        *value = (*value - largest).exp();
        sum += *value;
    }
    row.iter_mut().for_each(|value| *value /= sum);
    largest + sum.ln()
}

/// Alternates both steps, starting from the shares of the votes.
pub(super) fn fit<M: Model>(model: &mut M, annotations: &Annotations, stopping: &Stopping) -> (Consensus, Progress) {
    let votes = majority_vote(annotations);
    fit_from(model, annotations, stopping, votes.posteriors().to_vec())
}

/// Alternates both steps, starting from these posteriors.
pub(super) fn fit_from<M: Model>(
    model: &mut M,
    annotations: &Annotations,
    stopping: &Stopping,
    mut posteriors: Vec<f64>,
) -> (Consensus, Progress) {
    let mut progress = Progress { log_likelihoods: Vec::new(), has_converged: false };
    to_grid(&mut posteriors);
    model.maximise(annotations, &posteriors);
    for iteration in 0..=stopping.max_iterations {
        let likelihood = expect(model, annotations, &mut posteriors) + model.log_penalty();
        if let Some(before) = progress.log_likelihoods.last() {
            progress.has_converged = likelihood - before < stopping.tolerance * annotations.len() as f64;
        }
        progress.log_likelihoods.push(likelihood);
        if progress.has_converged || iteration == stopping.max_iterations {
            break;
        }
        model.maximise(annotations, &posteriors);
    }
    (Consensus::new(annotations.num_classes(), posteriors), progress)
}

/// An error if there is nothing to fit.
pub(super) fn not_empty(operation: &'static str, annotations: &Annotations) -> Result<()> {
    if annotations.is_empty() { Err(Error::Empty { operation, what: "annotations" }) } else { Ok(()) }
}
