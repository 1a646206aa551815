//! How much each label is to be believed.

use super::check;
use crate::{Probabilities, Result};

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
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    order.sort_by(|&a, &b| scores[a as usize].total_cmp(&scores[b as usize]).then(a.cmp(&b)));
    order
}
