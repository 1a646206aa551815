//! What a model says of the items, and how certain it is.

use super::Annotations;

/// A distribution over the classes for each item.
#[derive(Debug, Clone, PartialEq)]
pub struct Consensus {
    num_classes: usize,
    posteriors: Vec<f64>,
}

impl Consensus {
    /// From rows of `num_classes` numbers that sum to 1; rows of items without annotations are zero.
    pub(crate) fn new(num_classes: usize, posteriors: Vec<f64>) -> Self {
        Self { num_classes, posteriors }
    }

    /// How many items there are.
    pub fn num_items(&self) -> usize {
        self.posteriors.len() / self.num_classes
    }

    /// How many classes there are.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// `[items, classes]`: the probability of each class; zero in the rows of items without annotations.
    pub fn posteriors(&self) -> &[f64] {
        &self.posteriors
    }

    /// The probabilities of an item's classes; empty for a number beyond the items.
    pub fn of_item(&self, item: usize) -> &[f64] {
        self.posteriors.chunks_exact(self.num_classes).nth(item).unwrap_or(&[])
    }

    /// The most probable class of each item, the smallest of several (the posterior shows the tie); `None` for items without annotations.
    pub fn labels(&self) -> Vec<Option<u32>> {
        self.posteriors.chunks_exact(self.num_classes).map(most_probable).collect()
    }

    /// The probability of [`Consensus::labels`], 0 for items without annotations.
    pub fn confidences(&self) -> Vec<f64> {
        self.posteriors.chunks_exact(self.num_classes).map(|row| row.iter().copied().fold(0., f64::max)).collect()
    }
}

/// The place of the largest number, the smallest of several; `None` if all are 0.
pub(crate) fn most_probable(row: &[f64]) -> Option<u32> {
    let mut best = (None, 0.);
    for (class, &p) in (0..).zip(row) {
        if p > best.1 {
            best = (Some(class), p);
        }
    }
    best.0
}

/// The share of each class among the annotations of an item: ties are visible, and [`Consensus::labels`] takes the smallest class.
///
/// ```
/// use noisy_labels::annotators::{Annotations, majority_vote};
///
/// let given = [(0, 0, 1), (0, 1, 1), (0, 2, 0), (1, 0, 0), (1, 1, 1)];
/// let votes = majority_vote(&Annotations::named(2, given)?.annotations);
/// assert_eq!(votes.labels(), [Some(1), Some(0)]);
/// assert_eq!(votes.of_item(1), [0.5, 0.5]);
/// # Ok::<(), noisy_labels::Error>(())
/// ```
pub fn majority_vote(annotations: &Annotations) -> Consensus {
    let num_classes = annotations.num_classes();
    let mut posteriors = vec![0.; annotations.num_items() * num_classes];
    for (item, row) in posteriors.chunks_exact_mut(num_classes).enumerate() {
        let given = annotations.of_item(item);
        for annotation in given {
            row[annotation.label as usize] += 1.;
        }
        row.iter_mut().for_each(|share| *share /= given.len().max(1) as f64);
    }
    Consensus::new(num_classes, posteriors)
}
