//! Folds of cross-validation.

use crate::error::check_counts;
use crate::{Error, Result};

/// Stratified folds without shuffling, by the rule of scikit-learn's `StratifiedKFold(shuffle=False)`, sample for sample.
///
/// With classes numbered in the order of their first appearance and labels sorted, fold f gets as many members of a class as there are among the sorted labels f, f + k, f + 2k, …; within a class, samples go to folds in
/// their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StratifiedFolds {
    /// The number of folds, k.
    pub folds: usize,
    /// Whether a class may have fewer members than there are folds. Default: no.
    ///
    /// With it, some folds have no member of the class. A class with one member is then absent from the training set of the fold that tests it: no classifier can predict it there, and that sample counts as wrong.
    pub allow_rare: bool,
}

/// One fold: what it is trained on and what it is tested on, both ascending.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fold {
    /// Rows to train on.
    pub train: Vec<usize>,
    /// Rows to test on.
    pub test: Vec<usize>,
}

impl StratifiedFolds {
    /// So many folds, each class in each of them.
    pub fn new(folds: usize) -> Self {
        Self { folds, allow_rare: false }
    }

    /// The fold in which each label is tested.
    ///
    /// # Errors
    /// [`Error::Empty`] without labels; [`Error::Value`] for fewer than two folds; [`Error::RareClass`] for a class with fewer members than folds, which with `allow_rare` is an error only where every class is so.
    pub fn assign(&self, labels: &[u32]) -> Result<Vec<usize>> {
        const OPERATION: &str = "StratifiedFolds";
        let Self { folds, allow_rare } = *self;
        check_counts(OPERATION, &[("labels", labels.len())])?;
        if folds < 2 {
            return Err(Error::value(OPERATION, "the number of folds", folds as f64, "2 or more"));
        }
        let (classes, codes) = by_appearance(labels);
        let mut counts = vec![0usize; classes.len()];
        codes.iter().for_each(|&code| counts[code] += 1);
        let rare = counts.iter().position(|&count| count < folds);
        let is_possible = allow_rare && counts.iter().any(|&count| count >= folds);
        if let (Some(at), false) = (rare, is_possible) {
            return Err(Error::RareClass { operation: OPERATION, class: classes[at], count: counts[at], folds });
        }
        // of the sorted labels, those of a class lie from `start` on, and fold f has every k-th from f on
        let mut start = 0;
        let mut queues = Vec::with_capacity(classes.len());
        for &count in &counts {
            let below = |end: usize, fold: usize| (end + folds - 1 - fold) / folds;
            let of_fold = |fold: usize| below(start + count, fold) - below(start, fold);
            queues.push(
                (0..folds).flat_map(|fold| std::iter::repeat_n(fold, of_fold(fold))).collect::<Vec<_>>().into_iter(),
            );
            start += count;
        }
        Ok(codes.iter().map(|&code| queues[code].next().unwrap_or_default()).collect())
    }

    /// The folds.
    ///
    /// # Errors
    /// Those of [`StratifiedFolds::assign`].
    pub fn split(&self, labels: &[u32]) -> Result<Vec<Fold>> {
        let assigned = self.assign(labels)?;
        let fold = |fold: usize| {
            let (test, train) = (0..labels.len()).partition(|&at| assigned[at] == fold);
            Fold { train, test }
        };
        Ok((0..self.folds).map(fold).collect())
    }
}

/// Stratified folds in which each class has a member at least; see [`StratifiedFolds`].
///
/// # Errors
/// Those of [`StratifiedFolds::assign`].
pub fn stratified_folds(labels: &[u32], folds: usize) -> Result<Vec<Fold>> {
    StratifiedFolds::new(folds).split(labels)
}

/// The classes in the order in which they first appear, and the position of each label among them.
fn by_appearance(labels: &[u32]) -> (Vec<u32>, Vec<usize>) {
    let sorted = crate::rows::classes(labels);
    let mut numbers = vec![usize::MAX; sorted.len()];
    let mut classes = Vec::with_capacity(sorted.len());
    let codes = labels.iter().map(|label| {
        let at = sorted.binary_search(label).unwrap_or_default();
        if numbers[at] == usize::MAX {
            numbers[at] = classes.len();
            classes.push(*label);
        }
        numbers[at]
    });
    let codes = codes.collect();
    (classes, codes)
}
