//! How far annotators agree.

use super::Annotations;
use crate::{Error, Result};

/// Agreement of annotators on the items with several annotations.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// The share of pairs of annotations of one item with the same label.
    pub observed: f64,
    /// Krippendorff's `α` for nominal labels: 1 for perfect agreement, 0 for chance. Not a number when all labels are equal.
    pub krippendorff: f64,
    /// Items with several annotations.
    pub num_items: usize,
}

/// Observed agreement and Krippendorff's `α = 1 − D_o / D_e` ("Computing Krippendorff's Alpha-Reliability", 2011): each item weighs as many pairs as it has annotations, and disagreement by chance comes from the labels of
/// these items.
///
/// # Errors
///
/// No item with several annotations.
pub fn agreement(annotations: &Annotations) -> Result<Agreement> {
    let classes = annotations.num_classes();
    let (mut equal, mut pairs) = (0f64, 0f64);
    let (mut coincidences, mut totals, mut num_items) = (0f64, vec![0f64; classes], 0);
    let mut counts = vec![0f64; classes];
    for item in 0..annotations.num_items() {
        let given = annotations.of_item(item);
        if given.len() < 2 {
            continue;
        }
        num_items += 1;
        counts.fill(0.);
        given.iter().for_each(|annotation| counts[annotation.label as usize] += 1.);
        let size = given.len() as f64;
        let same: f64 = counts.iter().map(|count| count * (count - 1.)).sum();
        equal += same;
        pairs += size * (size - 1.);
        coincidences += same / (size - 1.);
        totals.iter_mut().zip(&counts).for_each(|(total, count)| *total += count);
    }
    if num_items == 0 {
        return Err(Error::Empty { operation: "agreement", what: "items with several annotations" });
    }
    let n: f64 = totals.iter().sum();
    let by_chance: f64 = totals.iter().map(|total| total * (total - 1.)).sum::<f64>() / (n - 1.);
    Ok(Agreement { observed: equal / pairs, krippendorff: 1. - (n - coincidences) / (n - by_chance), num_items })
}
