//! Base learners: what trains a sub-classifier.

mod logistic;
mod naive_bayes;
#[cfg(feature = "networks")]
mod network;
mod standardized;
mod svm;

pub use logistic::LogisticRegression;
pub use naive_bayes::GaussianNaiveBayes;
#[cfg(feature = "networks")]
pub use network::NetworkInNetwork;
pub use standardized::Standardized;
pub use svm::{Gamma, KernelSvm};

use super::training::{Constant, Examples};

/// The classes among some samples, ascending.
fn classes(examples: &Examples, members: &[u32]) -> Vec<u16> {
    let mut classes: Vec<u16> = members.iter().map(|&member| examples.labels()[member as usize]).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// What is learned from samples of one class only.
fn constant(examples: &Examples, classes: &[u16]) -> Option<Box<Constant>> {
    match classes {
        [class] => Some(Box::new(Constant { class: *class, width: examples.width() })),
        _ => None,
    }
}
