//! Certificates of one ensemble over budgets, as numbers that are stored.

use adversarial::bagging::{Certificate, CertifyConfig, Scope, Structure, Votes, certify_curve, samplewise};
use experiment::Result;
use serde::{Deserialize, Serialize};

/// One budget: counts of certified predictions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) budget: usize,
    pub(crate) samplewise_robust: u64,
    pub(crate) samplewise_correct: u64,
    pub(crate) robust: u64,
    pub(crate) correct: u64,
    /// How far `robust` may be from the optimum.
    pub(crate) gap: u64,
    pub(crate) seconds: f64,
}

impl Point {
    /// By how much the collective certificate exceeds the sample-wise one, in the scope where that is less.
    pub(crate) fn excess(&self) -> f64 {
        let all = self.robust as f64 - self.samplewise_robust as f64;
        all.min(self.correct as f64 - self.samplewise_correct as f64)
    }
}

/// Sample-wise counts by the radii of hash bagging with `num_blocks`; with `None` by the sharper test.
pub(crate) fn curve(
    votes: &Votes,
    labels: &[u16],
    structure: &Structure,
    budgets: &[usize],
    options: &CertifyConfig<'_>,
) -> Result<Vec<Point>> {
    let robust = certify_curve(votes, structure, budgets, &Scope::all(), options)?;
    let correct = certify_curve(votes, structure, budgets, &Scope::correct(labels), options)?;
    let predictions = votes.ensemble_predictions();
    let radii = structure.num_blocks().map(|blocks| samplewise::radii(votes, blocks)).transpose()?;
    let point = |(robust, correct): (&Certificate, &Certificate)| {
        let certified: Vec<bool> = match &radii {
            Some(radii) => radii.iter().map(|&radius| radius >= robust.budget).collect(),
            None => robust.per_sample.clone(),
        };
        let right = (0..certified.len()).filter(|&at| certified[at] && predictions[at] == labels[at]).count();
        Point {
            budget: robust.budget,
            samplewise_robust: certified.iter().filter(|&&certified| certified).count() as u64,
            samplewise_correct: right as u64,
            robust: robust.certified(),
            correct: correct.certified(),
            gap: robust.gap(),
            seconds: robust.seconds + correct.seconds,
        }
    };
    Ok(robust.iter().zip(&correct).map(point).collect())
}
