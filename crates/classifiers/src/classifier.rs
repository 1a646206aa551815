//! What all classifiers have in common.

use crate::rows::accuracy;
use crate::splits::Split;
use crate::{Error, Result, Rows};
use rayon::prelude::*;

/// What learns from labelled rows: settings, which stay as they are.
pub trait Classifier: Sync {
    /// What is learned.
    type Fitted: Fitted;

    /// Learns from rows and their labels.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is a label for each row; [`Error::Value`] for settings that make no sense; [`Error::OneClass`] for labels of one class, where that is not enough. Each classifier says what else.
    fn fit(&self, x: Rows<'_>, labels: &[u32]) -> Result<Self::Fitted>;
}

/// What was learned.
pub trait Fitted {
    /// The class of each row.
    ///
    /// # Errors
    /// [`Error::Length`] for rows of another width than those that were learned from.
    fn predict(&self, x: Rows<'_>) -> Result<Vec<u32>>;
}

/// How much of a split is predicted rightly.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct SplitAccuracy {
    /// On the validation rows, by which one may select; NaN where there are none.
    pub validation: f64,
    /// On the test rows; NaN where there are none.
    pub test: f64,
}

/// Trains on the training rows of each split and measures on its other rows. Splits run side by side in rayon's pool.
///
/// # Errors
/// [`Error::Length`] unless there is a label for each row; [`Error::Fold`], which names the split, for what goes wrong in one, such as a row that is not there.
pub fn accuracies<C: Classifier>(
    classifier: &C,
    x: Rows<'_>,
    labels: &[u32],
    splits: &[Split],
) -> Result<Vec<SplitAccuracy>> {
    x.check_labels("accuracies", labels)?;
    let of = |rows: &[usize]| rows.iter().filter_map(|&row| labels.get(row).copied()).collect::<Vec<_>>();
    let one = |split: &Split| -> Result<SplitAccuracy> {
        let fitted = classifier.fit(x.select(&split.train)?.rows(), &of(&split.train))?;
        let measure = |rows: &[usize]| match rows {
            [] => Ok(f64::NAN),
            rows => Ok(accuracy(&fitted.predict(x.select(rows)?.rows())?, &of(rows))),
        };
        Ok(SplitAccuracy { validation: measure(&split.validation)?, test: measure(&split.test)? })
    };
    let named = |(at, split)| one(split).map_err(Error::fold(format!("split {at}")));
    splits.par_iter().enumerate().map(named).collect()
}
