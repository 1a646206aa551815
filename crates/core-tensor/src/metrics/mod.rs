//! Metrics of predictions, on plain slices.

mod bootstrap;
mod classification;
mod clustering;
mod rank;
mod regression;

pub use bootstrap::{Interval, bootstrap_interval, mean, quantile, student_interval};
pub use classification::{accuracy, expected_calibration_error, macro_f1, micro_f1, micro_f1_multilabel, weighted_f1};
pub use clustering::{adjusted_rand_index, normalized_mutual_information};
pub use rank::{kendall_tau, pearson, spearman};
pub use regression::{mae, mape, rmse};

use crate::{Error, Result};

/// Both lists must have the same length, which must not be 0.
fn check_lengths(operation: &'static str, what: &'static str, got: usize, expected: usize) -> Result<()> {
    if expected == 0 {
        return Err(Error::Value { operation, what: "the number of values", got: 0., expected: "at least 1" });
    }
    if got == expected { Ok(()) } else { Err(Error::Length { operation, what, got, expected }) }
}
