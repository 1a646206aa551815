//! Wrong labels, from predicted probabilities (confident learning) and from neighbours.
//!
//! [`confident_joint`] counts which labels stand for which classes, [`label_issues`] lists the examples, [`label_scores`] ranks them all. Probabilities should be out of sample: [`looks_in_sample`] says when they do not
//! look so. From features alone, by a graph of neighbours: [`neighbour_agreement`], [`duplicates`] and [`typicality`]. [`data_report`] says all of it in one value.

mod joint;
mod neighbourhood;
mod prune;
mod report;
mod scores;

pub use joint::{ConfidentJoint, confident_joint};
pub use neighbourhood::{duplicates, neighbour_agreement, typicality};
pub use prune::{Prune, label_issues};
pub use report::{ClassRow, DataReport, DataReportConfig, FeatureReport, data_report};
pub use scores::{Score, average_precision, label_scores, ranking};

use crate::{Error, Probabilities, Result};

/// Whether the labels are the most probable classes of at least 99 % of the examples: then the model that predicted them has probably been trained on these very labels, and finds few wrong ones.
///
/// # Errors
///
/// No example, other lengths, labels outside the classes.
pub fn looks_in_sample<P: Copy + Into<f64>>(probabilities: Probabilities<'_, P>, labels: &[u32]) -> Result<bool> {
    check("looks_in_sample", &probabilities, labels)?;
    let equal = (0..).zip(labels).filter(|(row, label)| probabilities.most_probable(*row) == **label as usize).count();
    Ok(equal as f64 >= 0.99 * labels.len() as f64)
}

fn check<P: Copy + Into<f64>>(
    operation: &'static str,
    probabilities: &Probabilities<'_, P>,
    labels: &[u32],
) -> Result<()> {
    if labels.is_empty() {
        return Err(Error::Empty { operation, what: "labels" });
    }
    if probabilities.len() != labels.len() {
        return Err(Error::length(operation, "rows of probabilities", probabilities.len(), labels.len()));
    }
    let bound = probabilities.num_classes();
    match labels.iter().position(|&label| label as usize >= bound) {
        Some(position) => {
            let index = labels[position].into();
            Err(Error::OutOfRange { operation, what: "label", position, index, bound })
        }
        None => Ok(()),
    }
}
