//! The classes that a sub-trainset knows.

use super::super::training::{Constant, Examples};

/// The classes among some samples, ascending.
pub(super) fn classes(examples: &Examples, members: &[u32]) -> Vec<u16> {
    let mut classes: Vec<u16> = members.iter().map(|&member| examples.labels()[member as usize]).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// What is learned from samples of one class only.
pub(super) fn constant(examples: &Examples, classes: &[u16]) -> Option<Box<Constant>> {
    match classes {
        [class] => Some(Box::new(Constant { class: *class, width: examples.width() })),
        _ => None,
    }
}

/// Predictions of `classifiers` as votes: its classes are those of the examples, which are `u16`.
pub(super) fn predictions(classes: Vec<u32>) -> Vec<u16> {
    classes.into_iter().map(|class| class as u16).collect()
}
