//! Which labels are wrong.

use super::joint::{ConfidentJoint, likely};
use super::scores::ranked;
use super::{Score, check, label_scores};
use crate::{Error, Probabilities, Result};

/// How wrong labels are picked. The first three take as many as the joint distribution says there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Of each label, those with the lowest probability of it.
    ByClass,
    /// Of each pair of label and true class, those with the largest lead of the class over the label.
    ByNoiseRate,
    /// Those that both pick.
    Both,
    /// Those that count for another class than their label in the confident joint.
    Confident,
    /// Those whose most probable class is not their label.
    PredictedNotGiven,
}

/// The examples whose labels are probably wrong, from the most to the least suspect by the probability of the given label: as many as the list is long.
///
/// # Errors
///
/// No example, other lengths, labels outside the classes, the joint of another number of classes or examples.
pub fn label_issues<P: Copy + Into<f64>>(
    probabilities: Probabilities<'_, P>,
    labels: &[u32],
    joint: &ConfidentJoint,
    prune: Prune,
) -> Result<Vec<u32>> {
    const OP: &str = "label_issues";
    check(OP, &probabilities, labels)?;
    let classes = probabilities.num_classes();
    let counted: u64 = joint.given.iter().sum();
    if joint.num_classes() != classes {
        return Err(Error::length(OP, "classes of the joint", joint.num_classes(), classes));
    }
    if counted != labels.len() as u64 {
        return Err(Error::length(OP, "examples of the joint", counted as usize, labels.len()));
    }
    let scores = label_scores(probabilities, labels, Score::SelfConfidence)?;
    let wrong = match prune {
        Prune::ByClass => by_class(joint, labels, &scores),
        Prune::ByNoiseRate => by_noise_rate(probabilities, joint, labels),
        Prune::Both => {
            let by_rate = by_noise_rate(probabilities, joint, labels);
            by_class(joint, labels, &scores).into_iter().zip(by_rate).map(|(a, b)| a && b).collect()
        }
        Prune::Confident => {
            let is_wrong = |(row, &label): (&[P], &u32)| {
                likely(row, &joint.thresholds).is_some_and(|class| class != label as usize)
            };
            probabilities.rows().zip(labels).map(is_wrong).collect()
        }
        Prune::PredictedNotGiven => {
            (0..).zip(labels).map(|(row, &label)| probabilities.most_probable(row) != label as usize).collect()
        }
    };
    Ok(ranked(&scores, (0..).zip(&wrong).filter(|(_, wrong)| **wrong).map(|(at, _)| at)))
}

/// Marks the `count` examples with the lowest scores of some.
fn mark_lowest(examples: &mut [(f64, u32)], count: usize, wrong: &mut [bool]) {
    if count == 0 {
        return;
    }
    let count = count.min(examples.len());
    let order = |a: &(f64, u32), b: &(f64, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if count < examples.len() {
        examples.select_nth_unstable_by(count, order);
    }
    examples[..count].iter().for_each(|&(_, at)| wrong[at as usize] = true);
}

/// The number of examples that a share of all stands for.
fn number(share: f64, all: usize) -> usize {
    (share * all as f64).round() as usize
}

fn by_class(joint: &ConfidentJoint, labels: &[u32], scores: &[f64]) -> Vec<bool> {
    let (classes, shares) = (joint.num_classes(), joint.joint());
    let mut wrong = vec![false; labels.len()];
    for (label, row) in shares.chunks_exact(classes).enumerate() {
        let share: f64 = row.iter().enumerate().filter(|(class, _)| *class != label).map(|(_, p)| p).sum();
        let mut examples: Vec<(f64, u32)> = (0..)
            .zip(labels)
            .filter(|(_, given)| **given as usize == label)
            .map(|(at, _)| (scores[at as usize], at))
            .collect();
        // One of each label is kept.
        let count = number(share, labels.len()).min(examples.len().saturating_sub(1));
        mark_lowest(&mut examples, count, &mut wrong);
    }
    wrong
}

fn by_noise_rate<P: Copy + Into<f64>>(
    probabilities: Probabilities<'_, P>,
    joint: &ConfidentJoint,
    labels: &[u32],
) -> Vec<bool> {
    let (classes, shares) = (joint.num_classes(), joint.joint());
    let mut wrong = vec![false; labels.len()];
    for label in 0..classes {
        let of_label: Vec<u32> =
            (0..).zip(labels).filter(|(_, given)| **given as usize == label).map(|(at, _)| at).collect();
        // Side by side, since all classes look at them.
        let rows: Vec<P> = of_label.iter().flat_map(|&at| probabilities.row(at as usize)).copied().collect();
        for class in (0..classes).filter(|&class| class != label) {
            let count = number(shares[label * classes + class], labels.len());
            if count == 0 {
                continue;
            }
            let lead = |row: &[P]| row[label].into() - row[class].into();
            let mut examples: Vec<(f64, u32)> =
                rows.chunks_exact(classes).zip(&of_label).map(|(row, &at)| (lead(row), at)).collect();
            mark_lowest(&mut examples, count, &mut wrong);
        }
    }
    wrong
}
