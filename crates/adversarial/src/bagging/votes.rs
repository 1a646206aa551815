//! Votes of an ensemble on a set of test samples.

use crate::error::check_positive;
use crate::{Error, Result};

/// What each of G sub-classifiers predicts for each of N test samples.
///
/// The ensemble predicts the class with the most votes, the smaller class on ties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Votes {
    num_classes: usize,
    num_samples: usize,
    /// `[num_sub_classifiers, num_samples]`
    votes: Vec<u16>,
}

impl Votes {
    /// Votes `[num_sub_classifiers, num_samples]`, one sub-classifier after the other.
    ///
    /// # Errors
    /// [`Error::Empty`] without sub-classifiers, samples or classes; [`Error::Length`] if the votes are not a multiple of the sub-classifiers;
    /// [`Error::OutOfRange`] for a vote that is no class; [`Error::InvalidConfig`] for more than 65,536 classes.
    pub fn new(num_classes: usize, num_sub_classifiers: usize, votes: Vec<u16>) -> Result<Self> {
        const OPERATION: &str = "Votes::new";
        check_positive(
            OPERATION,
            &[("classes", num_classes), ("sub-classifiers", num_sub_classifiers), ("votes", votes.len())],
        )?;
        if num_classes > 1 << 16 {
            return Err(Error::config(OPERATION, "num_classes", format!("is {num_classes}, expected at most 65536")));
        }
        let num_samples = votes.len() / num_sub_classifiers;
        if num_samples * num_sub_classifiers != votes.len() || num_samples == 0 {
            let what = format!("votes of {num_sub_classifiers} sub-classifiers");
            return Err(Error::length(OPERATION, what, votes.len(), num_samples.max(1) * num_sub_classifiers));
        }
        if let Some(at) = votes.iter().position(|&vote| usize::from(vote) >= num_classes) {
            let what = format!("vote of sub-classifier {} on sample {}", at / num_samples, at % num_samples);
            return Err(Error::out_of_range(OPERATION, what, votes[at].into(), num_classes));
        }
        Ok(Self { num_classes, num_samples, votes })
    }

    /// Votes with a row for each sub-classifier.
    ///
    /// # Errors
    /// As [`Votes::new`]; [`Error::Length`] for rows of unequal lengths.
    pub fn from_rows<R: AsRef<[u16]>>(num_classes: usize, rows: &[R]) -> Result<Self> {
        const OPERATION: &str = "Votes::from_rows";
        let Some(first) = rows.first() else {
            return Err(Error::Empty { operation: OPERATION, what: "sub-classifiers" });
        };
        let num_samples = first.as_ref().len();
        let mut votes = Vec::with_capacity(rows.len() * num_samples);
        for (sub_classifier, row) in rows.iter().enumerate() {
            let row = row.as_ref();
            if row.len() != num_samples {
                let what = format!("votes of sub-classifier {sub_classifier}");
                return Err(Error::length(OPERATION, what, row.len(), num_samples));
            }
            votes.extend_from_slice(row);
        }
        Self::new(num_classes, rows.len(), votes)
    }

    /// The number of classes, C.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// The number of test samples, N.
    pub fn num_samples(&self) -> usize {
        self.num_samples
    }

    /// The number of sub-classifiers, G.
    pub fn num_sub_classifiers(&self) -> usize {
        self.votes.len() / self.num_samples
    }

    /// The votes of one sub-classifier, `[num_samples]`; empty if there is no such sub-classifier.
    pub fn of(&self, sub_classifier: usize) -> &[u16] {
        let start = sub_classifier.saturating_mul(self.num_samples);
        self.votes.get(start..start.saturating_add(self.num_samples)).unwrap_or_default()
    }

    /// Writes the votes on samples `first..first + count` side by side, `[count, num_sub_classifiers]`.
    pub(crate) fn transpose(&self, first: usize, count: usize, side_by_side: &mut Vec<u16>) {
        let num_sub_classifiers = self.num_sub_classifiers();
        side_by_side.clear();
        side_by_side.resize(count * num_sub_classifiers, 0);
        for sub_classifier in 0..num_sub_classifiers {
            let votes = &self.of(sub_classifier)[first..first + count];
            for (row, &vote) in side_by_side.chunks_exact_mut(num_sub_classifiers).zip(votes) {
                row[sub_classifier] = vote;
            }
        }
    }

    /// Calls `visit` with each sample's votes, `[num_sub_classifiers]`.
    pub(crate) fn visit(&self, mut visit: impl FnMut(usize, &[u16])) {
        let mut side_by_side = Vec::new();
        for first in (0..self.num_samples).step_by(BLOCK) {
            let count = BLOCK.min(self.num_samples - first);
            self.transpose(first, count, &mut side_by_side);
            for (offset, votes) in side_by_side.chunks_exact(self.num_sub_classifiers()).enumerate() {
                visit(first + offset, votes);
            }
        }
    }

    /// The prediction of the ensemble for each sample: the class with the most votes, the smaller one on ties.
    pub fn ensemble_predictions(&self) -> Vec<u16> {
        let mut predictions = Vec::with_capacity(self.num_samples);
        let mut tally = Tally::new(self.num_classes);
        self.visit(|_, votes| predictions.push(tally.read(votes) as u16));
        predictions
    }

    /// How many predictions of the ensemble are right.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is a label for each sample, [`Error::OutOfRange`] for a label that is no class.
    pub fn num_correct(&self, labels: &[u16]) -> Result<usize> {
        self.check_labels("Votes::num_correct", labels)?;
        Ok(self.ensemble_predictions().iter().zip(labels).filter(|(prediction, label)| prediction == label).count())
    }

    pub(crate) fn check_labels(&self, operation: &'static str, labels: &[u16]) -> Result<()> {
        if labels.len() != self.num_samples {
            return Err(Error::length(operation, "labels", labels.len(), self.num_samples));
        }
        match labels.iter().position(|&label| usize::from(label) >= self.num_classes) {
            Some(at) => Err(Error::out_of_range(operation, format!("label {at}"), labels[at].into(), self.num_classes)),
            None => Ok(()),
        }
    }
}

/// Samples that are transposed together.
pub(crate) const BLOCK: usize = 256;

/// Votes for each class, counted anew for one sample after the other. The work for a sample grows with its votes and not with the classes.
pub(crate) struct Tally {
    /// `[classes]`
    pub(crate) counts: Vec<u32>,
    /// The classes with votes, ascending.
    pub(crate) present: Vec<u16>,
}

impl Tally {
    pub(crate) fn new(num_classes: usize) -> Self {
        Self { counts: vec![0; num_classes], present: Vec::new() }
    }

    /// Counts the votes and gives the class with the most of them, the smaller one on ties.
    pub(crate) fn read(&mut self, votes: &[u16]) -> usize {
        for class in self.present.drain(..) {
            self.counts[usize::from(class)] = 0;
        }
        for &vote in votes {
            let count = &mut self.counts[usize::from(vote)];
            if *count == 0 {
                self.present.push(vote);
            }
            *count += 1;
        }
        self.present.sort_unstable();
        let mut best = self.present.first().map_or(0, |&class| usize::from(class));
        for &class in &self.present {
            if self.counts[usize::from(class)] > self.counts[best] {
                best = usize::from(class);
            }
        }
        best
    }

    /// The smallest class without a vote.
    pub(crate) fn first_absent(&self) -> Option<usize> {
        let absent = self.present.iter().enumerate().position(|(at, &class)| at != usize::from(class));
        Some(absent.unwrap_or(self.present.len())).filter(|&class| class < self.counts.len())
    }
}

/// The vote units that `class` must win on the prediction to overtake it; at least 1.
pub(crate) fn gap(counts: &[u32], prediction: usize, class: usize) -> u32 {
    counts[prediction] - counts[class] + u32::from(prediction < class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_smaller_class() {
        let votes = Votes::from_rows(3, &[[2u16, 1, 0], [1, 2, 2]]).unwrap();
        assert_eq!(votes.ensemble_predictions(), [1, 1, 0]);
        assert_eq!(votes.num_correct(&[1, 0, 0]).unwrap(), 2);
        assert_eq!(gap(&[0, 1, 1], 1, 2), 1);
        assert_eq!(gap(&[0, 1, 1], 1, 0), 1);
    }

    #[test]
    fn wrong_votes_are_named() {
        let empty: [[u16; 1]; 0] = [];
        assert!(matches!(Votes::from_rows(2, &empty), Err(Error::Empty { .. })));
        assert!(matches!(Votes::from_rows(2, &[[0u16; 0]]), Err(Error::Empty { what: "votes", .. })));
        assert!(matches!(Votes::new(0, 1, vec![0]), Err(Error::Empty { what: "classes", .. })));
        assert!(matches!(Votes::new(2, 0, vec![0]), Err(Error::Empty { what: "sub-classifiers", .. })));
        let rows: [&[u16]; 2] = [&[0, 1], &[1]];
        let error = Votes::from_rows(2, &rows).unwrap_err();
        assert_eq!(error.to_string(), "Votes::from_rows: got 1 votes of sub-classifier 1, expected 2");
        let error = Votes::from_rows(2, &[[0u16, 1], [1, 2]]).unwrap_err();
        assert_eq!(error.to_string(), "Votes::new: vote of sub-classifier 1 on sample 1 is 2, which is not below 2");
        assert!(matches!(Votes::new(2, 2, vec![0, 1, 1]), Err(Error::Length { .. })));
        let votes = Votes::from_rows(2, &[[0u16, 1]]).unwrap();
        assert!(votes.num_correct(&[0]).is_err() && votes.num_correct(&[0, 2]).is_err());
    }
}
