//! Two classes by messages between items and annotators (Karger, Oh and Shah, "Iterative Learning for Reliable Crowdsourcing Systems", NeurIPS 2011).

use super::em;
use super::{Annotations, Consensus};
use crate::{Error, Result};
use core_tensor::random::Rng;
use rand_distr::{Distribution, StandardNormal};

/// The settings of [`kos`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KosConfig {
    /// How often all messages are sent; 10.
    pub iterations: usize,
    /// The seed of the first messages, which are drawn from a normal distribution with mean 1 and variance 1; 0.
    pub seed: u64,
}

impl Default for KosConfig {
    fn default() -> Self {
        Self { iterations: 10, seed: 0 }
    }
}

/// What [`kos`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Kos {
    /// The class of each item, with probability 1, or a half for both where the messages cancel.
    pub consensus: Consensus,
    /// For each item the sum of the weighted labels, positive for class 1, relative to the sum of the weights' magnitudes.
    pub margins: Vec<f64>,
    /// For each annotator the mean of the weights of the labels, relative to their root mean square over all annotations: below 0 for those who mislead.
    pub weights: Vec<f64>,
}

/// Labels of two classes as ±1: the message of an item to an annotator is the sum of the other annotators' labels by their messages, that of an annotator to an item the sum over the other items of the label times the item's
/// message. Messages are scaled after each round, which changes no sign, so that they stay finite.
///
/// # Errors
///
/// No annotation, other than two classes, no iteration.
pub fn kos(annotations: &Annotations, config: &KosConfig) -> Result<Kos> {
    const OP: &str = "kos";
    em::not_empty(OP, annotations)?;
    if annotations.num_classes() != 2 {
        return Err(Error::config(OP, "the number of classes", annotations.num_classes(), "2"));
    }
    if config.iterations == 0 {
        return Err(Error::config(OP, "iterations", 0, "at least 1"));
    }
    let all = annotations.all();
    let sign = |label: u32| if label == 1 { 1. } else { -1. };
    let mut rng = Rng::new(config.seed);
    let mut first = || -> f64 {
        let normal: f64 = StandardNormal.sample(&mut rng);
        1. + normal
    };
    let mut from_annotators: Vec<f64> = all.iter().map(|_| first()).collect();
    let mut from_items = vec![0.; all.len()];
    let mut by_annotator = vec![0.; annotations.num_annotators()];
    for _ in 0..config.iterations {
        let mut start = 0;
        for item in 0..annotations.num_items() {
            let range = start..start + annotations.of_item(item).len();
            start = range.end;
            let sum: f64 = range.clone().map(|at| sign(all[at].label) * from_annotators[at]).sum();
            for at in range {
                from_items[at] = sum - sign(all[at].label) * from_annotators[at];
            }
        }
        by_annotator.fill(0.);
        for (annotation, message) in all.iter().zip(&from_items) {
            by_annotator[annotation.annotator as usize] += sign(annotation.label) * message;
        }
        for ((annotation, message), out) in all.iter().zip(&from_items).zip(&mut from_annotators) {
            *out = by_annotator[annotation.annotator as usize] - sign(annotation.label) * message;
        }
        let square = from_annotators.iter().map(|message| message * message).sum::<f64>() / all.len() as f64;
        let scale = if square > 0. { 1. / square.sqrt() } else { 1. };
        from_annotators.iter_mut().for_each(|message| *message *= scale);
    }
    let mut margins = Vec::with_capacity(annotations.num_items());
    let mut posteriors = vec![0.; 2 * annotations.num_items()];
    let mut start = 0;
    for (item, row) in posteriors.chunks_exact_mut(2).enumerate() {
        let range = start..start + annotations.of_item(item).len();
        start = range.end;
        let sum: f64 = range.clone().map(|at| sign(all[at].label) * from_annotators[at]).sum();
        let size: f64 = range.clone().map(|at| from_annotators[at].abs()).sum();
        margins.push(if size > 0. { sum / size } else { 0. });
        if !range.is_empty() {
            row[1] = if sum > 0. {
                1.
            } else if sum < 0. {
                0.
            } else {
                0.5
            };
            row[0] = 1. - row[1];
        }
    }
    let mut sums = vec![(0., 0usize); annotations.num_annotators()];
    for (annotation, message) in all.iter().zip(&from_annotators) {
        let (sum, count) = &mut sums[annotation.annotator as usize];
        (*sum, *count) = (*sum + message, *count + 1);
    }
    let weights = sums.into_iter().map(|(sum, count)| sum / count.max(1) as f64).collect();
    Ok(Kos { consensus: Consensus::new(2, posteriors), margins, weights })
}
