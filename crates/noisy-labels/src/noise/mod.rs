//! Wrong labels, drawn: for experiments whose truth is known.
//!
//! Every function takes the clean labels and a generator, and gives the noisy ones. Two conventions of "symmetric noise of rate r" are about, and both are here by name: [`symmetric_change`] makes a share `r` of the labels
//! wrong, [`symmetric_replacement`] replaces a share `r` by any class, also the right one, so that `r (c − 1) / c` are wrong.

mod annotators;
mod classes;
mod instances;
mod transition;

pub use annotators::{Behaviour, annotate};
pub use classes::{asymmetric, pairs, symmetric_change, symmetric_replacement};
pub use instances::{
    InstanceNoiseConfig, instance_dependent, instance_probabilities, similarity_related, truncated_rates,
};
pub use transition::{NoiseRate, anchor_transition, counted_transition, dual_transition, noise_rate};

use crate::{Error, Result};

fn check_labels(operation: &'static str, labels: &[u32], classes: usize) -> Result<()> {
    if classes == 0 {
        return Err(Error::Empty { operation, what: "classes" });
    }
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(position) => {
            let index = labels[position].into();
            Err(Error::OutOfRange { operation, what: "label", position, index, bound: classes })
        }
        None => Ok(()),
    }
}

fn check_rate(operation: &'static str, what: &'static str, rate: f64) -> Result<()> {
    match (0. ..=1.).contains(&rate) {
        true => Ok(()),
        false => Err(Error::config(operation, what, rate, "from 0 to 1")),
    }
}
