//! Annotators that err, drawn.

use super::{check_labels, check_rate, instances::draw};
use crate::annotators::{Annotation, Annotations};
use crate::{Error, Result};
use core_tensor::random::Rng;

/// What an annotator says.
#[derive(Debug, Clone, PartialEq)]
pub enum Behaviour {
    /// The true class with this probability, else any other class.
    Accurate(f64),
    /// Any class, whatever the item is.
    Spammer,
    /// Always this class.
    Constant(u32),
    /// `[true, given]`: a label from the row of the true class.
    Confusion(Vec<f64>),
}

/// Annotations of items with these classes: each item is given to `per_item` annotators, drawn without repetition.
///
/// # Errors
///
/// Labels outside the classes, no annotator or fewer than `per_item`, probabilities outside `[0, 1]`, rows that do not sum to 1.
pub fn annotate(
    truth: &[u32],
    classes: usize,
    annotators: &[Behaviour],
    per_item: usize,
    rng: &mut Rng,
) -> Result<Annotations> {
    const OP: &str = "annotate";
    check_labels(OP, truth, classes)?;
    if per_item == 0 || per_item > annotators.len() {
        return Err(Error::config(OP, "per_item", per_item, "at least 1 and at most the number of annotators"));
    }
    for (position, behaviour) in annotators.iter().enumerate() {
        match behaviour {
            Behaviour::Accurate(p) => check_rate(OP, "an annotator's accuracy", *p)?,
            Behaviour::Spammer => {}
            Behaviour::Constant(class) => check_labels(OP, &[*class], classes)?,
            Behaviour::Confusion(matrix) => {
                if matrix.len() != classes * classes {
                    return Err(Error::length(OP, "probabilities of an annotator", matrix.len(), classes * classes));
                }
                for row in matrix.chunks_exact(classes) {
                    let sum: f64 = row.iter().sum();
                    let is_distribution = row.iter().all(|p| *p >= 0.) && (sum - 1.).abs() < 1e-6;
                    if !is_distribution {
                        let (what, expected) = ("the sum of a row of annotator", "1, of numbers that are not negative");
                        return Err(Error::Value { operation: OP, what, position, got: sum, expected });
                    }
                }
            }
        }
    }
    let mut all = Vec::with_capacity(truth.len() * per_item);
    for (item, &class) in (0..).zip(truth) {
        for annotator in rng.sample_without_replacement(annotators.len(), per_item) {
            let label = match &annotators[annotator as usize] {
                Behaviour::Accurate(p) if rng.unit() < *p || classes < 2 => class,
                Behaviour::Accurate(_) => {
                    let other = rng.below(classes - 1) as u32;
                    if other < class { other } else { other + 1 }
                }
                Behaviour::Spammer => rng.below(classes) as u32,
                Behaviour::Constant(label) => *label,
                Behaviour::Confusion(matrix) => draw(&matrix[class as usize * classes..][..classes], rng),
            };
            all.push(Annotation { item, annotator, label });
        }
    }
    Annotations::new(truth.len(), annotators.len(), classes, all)
}
