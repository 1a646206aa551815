//! Noise that depends on the class alone.

use super::{check_labels, check_rate};
use crate::{Error, Result};
use core_tensor::random::Rng;

/// Changes each label with the probability `rate`, to any of the other classes alike: `rate` is the share of wrong labels.
///
/// # Errors
///
/// Labels outside the classes, a rate outside `[0, 1]`, fewer than two classes.
pub fn symmetric_change(labels: &[u32], classes: usize, rate: f64, rng: &mut Rng) -> Result<Vec<u32>> {
    const OP: &str = "symmetric_change";
    check_labels(OP, labels, classes)?;
    check_rate(OP, "rate", rate)?;
    if classes < 2 {
        return Err(Error::config(OP, "classes", classes, "at least 2"));
    }
    let change = |&label: &u32| {
        if rng.unit() >= rate {
            return label;
        }
        let other = rng.below(classes - 1) as u32;
        if other < label { other } else { other + 1 }
    };
    Ok(labels.iter().map(change).collect())
}

/// Replaces each label with the probability `rate` by any class alike, also the one it was: a share `rate · (classes − 1) / classes` becomes wrong.
///
/// # Errors
///
/// Labels outside the classes, a rate outside `[0, 1]`.
pub fn symmetric_replacement(labels: &[u32], classes: usize, rate: f64, rng: &mut Rng) -> Result<Vec<u32>> {
    const OP: &str = "symmetric_replacement";
    check_labels(OP, labels, classes)?;
    check_rate(OP, "rate", rate)?;
    let replace = |&label: &u32| if rng.unit() < rate { rng.below(classes) as u32 } else { label };
    Ok(labels.iter().map(replace).collect())
}

/// Replaces each label with the probability `rate` by what `table` has for it; classes that stand for themselves stay, so that fewer than `rate` become wrong.
///
/// # Errors
///
/// Labels or entries of the table outside the classes, which are as many as the table is long, and a rate outside `[0, 1]`.
pub fn asymmetric(labels: &[u32], table: &[u32], rate: f64, rng: &mut Rng) -> Result<Vec<u32>> {
    const OP: &str = "asymmetric";
    check_labels(OP, labels, table.len())?;
    check_labels(OP, table, table.len())?;
    check_rate(OP, "rate", rate)?;
    Ok(labels.iter().map(|&label| if rng.unit() < rate { table[label as usize] } else { label }).collect())
}

/// [`asymmetric`] noise to the next class, from the last to the first.
///
/// # Errors
///
/// As for [`asymmetric`].
pub fn pairs(labels: &[u32], classes: usize, rate: f64, rng: &mut Rng) -> Result<Vec<u32>> {
    let table: Vec<u32> = (0..classes).map(|class| ((class + 1) % classes) as u32).collect();
    asymmetric(labels, &table, rate, rng)
}
