//! What neighbours in the classifier's features say of the true labels: step 2.

use crate::annotators::most_probable;
use crate::neighbours::{Metric, Points, nearest};
use crate::{Error, Probabilities, Result};
use core_tensor::kernel::Real;

/// Examples that stand for their predicted classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct References {
    /// The numbers of the examples.
    pub examples: Vec<u32>,
    /// The class of each.
    pub classes: Vec<u32>,
}

/// Of each batch of `batch_size` examples, in the order `order`, and of each class that is predicted there, the example with the largest probability of it; of several the last. By batch and then by class.
///
/// # Errors
///
/// No example in a batch, numbers of examples that do not exist.
pub fn references<P: Copy + Into<f64>>(
    probabilities: Probabilities<'_, P>,
    order: &[u32],
    batch_size: usize,
) -> Result<References> {
    const OP: &str = "references";
    if batch_size == 0 {
        return Err(Error::config(OP, "batch_size", 0, "at least 1"));
    }
    let bound = probabilities.len();
    if let Some(position) = order.iter().position(|&example| example as usize >= bound) {
        let index = order[position].into();
        return Err(Error::OutOfRange { operation: OP, what: "the example", position, index, bound });
    }
    let mut found = References { examples: Vec::new(), classes: Vec::new() };
    let mut best: Vec<Option<(f64, u32)>> = vec![None; probabilities.num_classes()];
    for batch in order.chunks(batch_size) {
        best.fill(None);
        for &example in batch {
            let class = probabilities.most_probable(example as usize);
            let p: f64 = probabilities.row(example as usize)[class].into();
            if best[class].is_none_or(|(known, _)| p >= known) {
                best[class] = Some((p, example));
            }
        }
        for (class, best) in (0..).zip(&best) {
            if let Some((_, example)) = best {
                found.examples.push(*example);
                found.classes.push(class);
            }
        }
    }
    Ok(found)
}

/// `[examples, classes]`: the share of each class among the `k` nearest references of each example, weighed by the inverse of the Euclidean distance; if there are references at distance 0, only they vote.
///
/// # Errors
///
/// References or classes that do not exist, and those of [`nearest`].
pub fn neighbour_votes<T: Real>(
    features: Points<'_, T>,
    references: &References,
    classes: usize,
    k: usize,
) -> Result<Vec<f64>> {
    check_references("neighbour_votes", features, references, classes)?;
    votes(features, references, features, classes, k)
}

/// [`neighbour_votes`] of other points, `queries`, as of a test set: what the neighbours alone say, without an auto-encoder.
///
/// # Errors
///
/// As there, and another number of features.
pub fn neighbour_votes_of<T: Real>(
    queries: Points<'_, T>,
    features: Points<'_, T>,
    references: &References,
    classes: usize,
    k: usize,
) -> Result<Vec<f64>> {
    check_references("neighbour_votes_of", features, references, classes)?;
    votes(features, references, queries, classes, k)
}

fn check_references<T: Real>(
    operation: &'static str,
    features: Points<'_, T>,
    references: &References,
    classes: usize,
) -> Result<()> {
    if references.examples.len() != references.classes.len() {
        return Err(Error::length(
            operation,
            "classes of references",
            references.classes.len(),
            references.examples.len(),
        ));
    }
    let numbers = [
        ("the reference", &references.examples, features.len()),
        ("the class of reference", &references.classes, classes),
    ];
    for (what, numbers, bound) in numbers {
        if let Some(position) = numbers.iter().position(|&number| number as usize >= bound) {
            let index = numbers[position].into();
            return Err(Error::OutOfRange { operation, what, position, index, bound });
        }
    }
    Ok(())
}

fn votes<T: Real>(
    features: Points<'_, T>,
    references: &References,
    queries: Points<'_, T>,
    classes: usize,
    k: usize,
) -> Result<Vec<f64>> {
    let rows: Vec<T> =
        references.examples.iter().flat_map(|&example| features.row(example as usize)).copied().collect();
    let found = nearest(Points::new(&rows, features.width())?, queries, k, Metric::Euclidean)?;
    let mut votes = vec![0.; queries.len() * classes];
    for (example, votes) in votes.chunks_exact_mut(classes).enumerate() {
        // Relative to the nearest, so that no inverse overflows.
        let least = found.of(example).next().map_or(0., |(_, distance)| distance);
        for (reference, distance) in found.of(example) {
            let weight = match least > 0. {
                true => least / distance,
                false => f64::from(u8::from(distance == 0.)),
            };
            votes[references.classes[reference as usize] as usize] += weight;
        }
        let total: f64 = votes.iter().sum();
        votes.iter_mut().for_each(|vote| *vote /= total);
    }
    Ok(votes)
}

/// `[examples, classes]`: the prior's parameters `1 + 1/c + ρ` for the class that most neighbours have, the smallest of several, and `1 + 1/c` for the others. The paper's main runs take `ρ` = 5.
///
/// # Errors
///
/// As for [`prior_of_votes`].
pub fn prior_of_classes(votes: &[f64], classes: usize, strength: f64) -> Result<Vec<f64>> {
    check("prior_of_classes", votes, classes, strength)?;
    let mut prior = vec![1. + 1. / classes as f64; votes.len()];
    for (votes, prior) in votes.chunks_exact(classes).zip(prior.chunks_exact_mut(classes)) {
        if let Some(class) = most_probable(votes) {
            prior[class as usize] += strength;
        }
    }
    Ok(prior)
}

/// `[examples, classes]`: the prior's parameters `1 + 1/c + ρ v` for the shares `v` of the `top` classes with the most votes, the smaller of equal ones, and `1 + 1/c` for the others.
///
/// # Errors
///
/// No classes, a number of votes that is not a multiple of them, a strength that is negative or not finite.
pub fn prior_of_votes(votes: &[f64], classes: usize, strength: f64, top: usize) -> Result<Vec<f64>> {
    check("prior_of_votes", votes, classes, strength)?;
    let mut prior = vec![1. + 1. / classes as f64; votes.len()];
    let mut order: Vec<usize> = Vec::with_capacity(classes);
    for (votes, prior) in votes.chunks_exact(classes).zip(prior.chunks_exact_mut(classes)) {
        order.clear();
        order.extend(0..classes);
        order.sort_by(|&a, &b| votes[b].total_cmp(&votes[a]).then(a.cmp(&b)));
        for &class in order.iter().take(top) {
            prior[class] += strength * votes[class];
        }
    }
    Ok(prior)
}

fn check(operation: &'static str, votes: &[f64], classes: usize, strength: f64) -> Result<()> {
    if classes == 0 {
        return Err(Error::Empty { operation, what: "classes" });
    }
    if !votes.len().is_multiple_of(classes) {
        return Err(Error::length(operation, "votes", votes.len(), format!("a multiple of {classes} classes")));
    }
    let is_strength = strength.is_finite() && strength >= 0.;
    if is_strength { Ok(()) } else { Err(Error::config(operation, "strength", strength, "finite and not negative")) }
}
