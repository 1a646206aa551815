//! Losses for noisy labels, as functions of logits: what training loops put in the place of cross-entropy.
//!
//! | function | method | source |
//! |---|---|---|
//! | [`label_smoothing`] | smoothed targets | Szegedy et al. 2016 |
//! | [`symmetric_cross_entropy`] | cross-entropy both ways | Wang et al. 2019 |
//! | [`generalised_cross_entropy`] | `(1 − p_y^q) / q` | Zhang and Sabuncu 2018 |
//! | [`EarlyLearning`] | early-learning regularisation, with a memory for each example | Liu et al. 2020 |
//! | [`forward_correction`], [`backward_correction`] | a known or estimated transition matrix | Patrini et al. 2017 |
//! | [`importance_weights`] | reweighting by a transition matrix | Liu and Tao 2016 |
//! | [`small_losses`], [`co_teaching`] | each of two networks learns what the other one finds easy | Han et al. 2018 |
//! | [`jocor`] | one loss that makes two networks agree | Wei et al. 2020 |
//! | [`joint_optimisation`] | soft labels that are learned | Tanaka et al. 2018 |
//! | [`total_variation`] | predictions that lie far apart | Zhang, Niu and Sugiyama 2021 |
//! | [`likelihood_ratio_labels`], [`retroactive_loss`] | labels that the network finds unlikely are replaced | Zheng et al. 2020 |
//!
//! [`crate::training`] has the loops around them. Smoothing, SCE in its form with a sum, forward correction, reweighting, co-teaching, JoCoR, joint optimisation, total variation and the labels by likelihood ratio are compared with values of NPC's
//! program. It holds no GCE, no early-learning regularisation and no backward correction: these follow the definitions above and are compared with a program of our own in NumPy (`xtask/peers/noisy-labels-reference.py`).

mod correction;
mod robust;
mod two_networks;

pub use correction::{
    backward_correction, forward_correction, importance_weights, likelihood_ratio_labels, retroactive_loss,
};
pub use robust::{
    EarlyLearning, EarlyLearningConfig, generalised_cross_entropy, joint_optimisation, label_smoothing,
    symmetric_cross_entropy, total_variation,
};
pub use two_networks::{CoTeaching, co_teaching, jocor, small_losses};

use crate::{Error, Result};
use candle_core::Tensor;

/// Rows and classes of logits with as many labels.
fn check(operation: &'static str, logits: &Tensor, labels: &[u32]) -> Result<(usize, usize)> {
    let &[rows, classes] = logits.dims() else {
        return Err(Error::shape(operation, "logits", logits, "[examples, classes]"));
    };
    if rows == 0 || classes == 0 {
        return Err(Error::Empty { operation, what: "examples or classes" });
    }
    if labels.len() != rows {
        return Err(Error::length(operation, "labels", labels.len(), rows));
    }
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(position) => {
            let index = labels[position].into();
            Err(Error::OutOfRange { operation, what: "the label", position, index, bound: classes })
        }
        None => Ok((rows, classes)),
    }
}

/// One-hot rows like the logits.
fn one_hot(labels: &[u32], classes: usize, like: &Tensor) -> Result<Tensor> {
    let mut rows = vec![0f64; labels.len() * classes];
    for (row, &label) in rows.chunks_exact_mut(classes).zip(labels) {
        row[label as usize] = 1.;
    }
    Ok(Tensor::from_vec(rows, (labels.len(), classes), like.device())?.to_dtype(like.dtype())?)
}

/// The larger of each element and a number, below which there is no gradient.
fn at_least(x: &Tensor, least: f64) -> Result<Tensor> {
    let is_enough = x.detach().ge(least)?;
    let number = (x.detach().zeros_like()? + least)?;
    Ok(core_tensor::ops::where_cond(&is_enough, x, &number)?)
}
