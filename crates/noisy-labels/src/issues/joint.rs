//! The confident joint: which classes are given in place of which (Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021).

use super::check;
use crate::{Probabilities, Result};

/// How often each class was given where another one is likely.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfidentJoint {
    /// How many classes there are.
    num_classes: usize,
    /// For each class the mean probability that examples labelled with it have for it; infinite for a class that no example is labelled with, so that no example counts for it.
    pub thresholds: Vec<f64>,
    /// `[given, likely]`: examples by given label and by the most probable of the classes whose threshold they reach; those that reach none are left out.
    pub counts: Vec<u64>,
    /// Examples with each label.
    pub given: Vec<u64>,
}

/// The confident joint of given labels and predicted probabilities, which should come from models that have not seen the labels of the examples that they predict (cross-validation).
///
/// # Errors
///
/// No example, other lengths, labels outside the classes.
///
/// ```
/// use noisy_labels::{Probabilities, issues::confident_joint};
///
/// let p = [0.9, 0.1, 0.8, 0.2, 0.2, 0.8, 0.1, 0.9];
/// let joint = confident_joint(Probabilities::new(&p, 2)?, &[0, 0, 0, 1])?;
/// assert_eq!(joint.counts, [2, 0, 0, 1]); // the third has 0.8, below the 0.9 of class 1
/// # Ok::<(), noisy_labels::Error>(())
/// ```
pub fn confident_joint<P: Copy + Into<f64>>(
    probabilities: Probabilities<'_, P>,
    labels: &[u32],
) -> Result<ConfidentJoint> {
    check("confident_joint", &probabilities, labels)?;
    let num_classes = probabilities.num_classes();
    let (mut sums, mut given) = (vec![0f64; num_classes], vec![0u64; num_classes]);
    for (row, &label) in probabilities.rows().zip(labels) {
        sums[label as usize] += row[label as usize].into();
        given[label as usize] += 1;
    }
    let threshold = |(sum, &count): (f64, &u64)| if count == 0 { f64::INFINITY } else { sum / count as f64 };
    let thresholds: Vec<f64> = sums.into_iter().zip(&given).map(threshold).collect();
    let mut counts = vec![0; num_classes * num_classes];
    for (row, &label) in probabilities.rows().zip(labels) {
        if let Some(likely) = likely(row, &thresholds) {
            counts[label as usize * num_classes + likely] += 1;
        }
    }
    Ok(ConfidentJoint { num_classes, thresholds, counts, given })
}

/// The most probable class whose threshold is reached, the smallest of several. A mean is rounded, so that a hair is allowed for.
pub(super) fn likely<P: Copy + Into<f64>>(row: &[P], thresholds: &[f64]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (class, (&p, &threshold)) in row.iter().zip(thresholds).enumerate() {
        let p: f64 = p.into();
        if p >= threshold - 1e-12 && best.is_none_or(|(_, best)| p > best) {
            best = Some((class, p));
        }
    }
    best.map(|(class, _)| class)
}

impl ConfidentJoint {
    /// How many classes there are.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// `[given, true]`: the estimated joint distribution. Each row of the counts is brought to the share of its label; a label for which no example counts is taken as right.
    pub fn joint(&self) -> Vec<f64> {
        let total: u64 = self.given.iter().sum();
        let mut joint = vec![0.; self.counts.len()];
        let rows = joint.chunks_exact_mut(self.num_classes).zip(self.counts.chunks_exact(self.num_classes));
        for (class, ((row, counts), &given)) in rows.zip(&self.given).enumerate() {
            let share = given as f64 / total as f64;
            let sum: u64 = counts.iter().sum();
            if sum == 0 {
                row[class] = share;
                continue;
            }
            row.iter_mut().zip(counts).for_each(|(p, &count)| *p = count as f64 / sum as f64 * share);
        }
        joint
    }

    /// The estimated share of wrong labels.
    pub fn noise_rate(&self) -> f64 {
        let joint = self.joint();
        1. - (0..self.num_classes).map(|class| joint[class * self.num_classes + class]).sum::<f64>()
    }

    /// `[true, given]`: the estimated probability of each label given the class, `T`. Rows of classes that the joint says do not occur are those of the identity.
    pub fn transition(&self) -> Vec<f64> {
        let (joint, classes) = (self.joint(), self.num_classes);
        let mut transition = vec![0.; joint.len()];
        for (class, row) in transition.chunks_exact_mut(classes).enumerate() {
            let total: f64 = (0..classes).map(|given| joint[given * classes + class]).sum();
            for (given, p) in row.iter_mut().enumerate() {
                *p = match total > 0. {
                    true => joint[given * classes + class] / total,
                    false => f64::from(u8::from(given == class)),
                };
            }
        }
        transition
    }
}
