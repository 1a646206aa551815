//! How much each label is to be believed.

use super::check;
use crate::{Error, Probabilities, Result};
use rayon::prelude::*;

/// A score of labels; lower ones are more suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Score {
    /// The probability of the given label, `p_y`.
    SelfConfidence,
    /// `½ (1 + p_y − max_{j≠y} p_j)`, from 0 to 1.
    NormalisedMargin,
    /// `log(1 + r) / r` with `r` the entropy of the probabilities, in units of its largest value, over `p_y`: the form of the library cleanlab, from 0 to 1. For what is confidently something else it falls less than the others.
    ConfidenceWeightedEntropy,
}

/// The score of every label.
///
/// # Errors
///
/// No example, other lengths, labels outside the classes.
pub fn label_scores<P: Copy + Into<f64>>(
    probabilities: Probabilities<'_, P>,
    labels: &[u32],
    score: Score,
) -> Result<Vec<f64>> {
    check("label_scores", &probabilities, labels)?;
    Ok(probabilities.rows().zip(labels).map(|(row, &label)| of_label(row, label as usize, score)).collect())
}

fn of_label<P: Copy + Into<f64>>(row: &[P], label: usize, score: Score) -> f64 {
    let given: f64 = row[label].into();
    match score {
        Score::SelfConfidence => given,
        Score::NormalisedMargin => 0.5 * (1. + given - largest_other(row, label)),
        Score::ConfidenceWeightedEntropy => {
            let entropy: f64 = row.iter().map(|&p| p.into()).filter(|p: &f64| *p > 0.).map(|p| -p * p.ln()).sum();
            let share = entropy / (row.len().max(2) as f64).ln() / given.max(1e-6);
            if share > 0. { share.ln_1p() / share } else { 1. }
        }
    }
}

/// The largest probability of the other classes, 0 if there is none.
fn largest_other<P: Copy + Into<f64>>(row: &[P], label: usize) -> f64 {
    let others = row.iter().enumerate().filter(|(class, _)| *class != label);
    others.map(|(_, &p)| p.into()).fold(0., f64::max)
}

/// The examples from the most to the least suspect; the smallest number first among equals.
pub fn ranking(scores: &[f64]) -> Vec<u32> {
    ranked(scores, 0..scores.len() as u32)
}

/// Some examples by their scores and then by their numbers.
pub(super) fn ranked(scores: &[f64], examples: impl Iterator<Item = u32>) -> Vec<u32> {
    // The order of `total_cmp` as whole numbers, beside the examples: nothing is looked up while sorting.
    let key = |at: u32| {
        let bits = scores[at as usize].to_bits() as i64;
        (bits ^ (((bits >> 63) as u64) >> 1) as i64, at)
    };
    let mut order: Vec<(i64, u32)> = examples.map(key).collect();
    match order.len() > 1 << 16 {
        true => order.par_sort_unstable(),
        false => order.sort_unstable(),
    }
    order.into_iter().map(|(_, at)| at).collect()
}

/// The average precision of a ranking: the mean, over wrong labels, of the share of wrong ones among those at least as suspect. Lower scores are more suspect; equal ones count as one step. 1 for a perfect ranking, about the share of wrong labels for a random
/// one.
///
/// # Errors
///
/// No wrong label, lengths that differ, scores that are not numbers.
///
/// ```
/// use noisy_labels::issues::average_precision;
///
/// assert_eq!(average_precision(&[0.1, 0.9, 0.2], &[true, false, true])?, 1.);
/// assert_eq!(average_precision(&[0.5, 0.5], &[true, false])?, 0.5);
/// # Ok::<(), noisy_labels::Error>(())
/// ```
pub fn average_precision(scores: &[f64], is_wrong: &[bool]) -> Result<f64> {
    const OP: &str = "average_precision";
    if scores.len() != is_wrong.len() {
        return Err(Error::length(OP, "marks of wrong labels", is_wrong.len(), scores.len()));
    }
    if let Some(position) = scores.iter().position(|score| score.is_nan()) {
        return Err(Error::Value { operation: OP, what: "the score", position, got: f64::NAN, expected: "a number" });
    }
    let total = is_wrong.iter().filter(|wrong| **wrong).count();
    if total == 0 {
        return Err(Error::Empty { operation: OP, what: "wrong labels" });
    }
    let order = ranking(scores);
    let (mut seen, mut found, mut sum) = (0usize, 0usize, 0f64);
    for group in order.chunk_by(|&a, &b| scores[a as usize] == scores[b as usize]) {
        let wrong = group.iter().filter(|&&example| is_wrong[example as usize]).count();
        (seen, found) = (seen + group.len(), found + wrong);
        sum += wrong as f64 * found as f64 / seen as f64;
    }
    Ok(sum / total as f64)
}
