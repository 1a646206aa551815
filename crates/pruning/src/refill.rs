//! Refill: whole channels in the place of scattered weights.

use crate::mask::Mask;
use crate::select::round_half_even;
use crate::{Error, Result};
use core_tensor::rounding::floor_to_count;

/// By what a channel (output) is important.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ChannelCriterion {
    /// The number of its weights that the ticket keeps; the official default.
    Remain,
    /// Σ |w| of those; real-valued and without data, our default.
    Magnitude,
}

/// Refill, and Refill+ where `extra` is above 0.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Refill {
    /// By what a channel is important.
    pub criterion: ChannelCriterion,
    /// The share of the channels that would go which is kept all the same; 0 for Refill, 0.1 for our Refill+ (the paper's value is not known to us).
    pub extra: f64,
}

impl Default for Refill {
    fn default() -> Self {
        Self { criterion: ChannelCriterion::Magnitude, extra: 0.0 }
    }
}

/// The importance of each channel of a layer with this mask and these trained weights.
///
/// # Errors
/// Another number of weights than the mask has entries, or weights that are not finite.
pub fn channel_importance(mask: &Mask, weights: &[f64], criterion: ChannelCriterion) -> Result<Vec<f64>> {
    const OPERATION: &str = "channel_importance";
    if weights.len() != mask.len() {
        return Err(Error::length(OPERATION, "weights", weights.len(), mask.len()));
    }
    if let Some(at) = weights.iter().position(|weight| !weight.is_finite()) {
        return Err(Error::value(OPERATION, format!("weight {at}"), weights[at], "a finite number"));
    }
    let columns = mask.columns();
    let of_row = |row: usize| (&mask.kept()[row * columns..][..columns], &weights[row * columns..][..columns]);
    Ok((0..mask.rows())
        .map(of_row)
        .map(|(kept, weights)| match criterion {
            ChannelCriterion::Remain => kept.iter().map(|&kept| f64::from(kept)).sum(),
            ChannelCriterion::Magnitude => {
                kept.iter().zip(weights).map(|(&kept, weight)| f64::from(kept) * weight.abs()).sum()
            }
        })
        .collect())
}

impl Refill {
    /// The mask of whole channels for a layer: with `n` the number of kept weights in units of channels and `ñ = ⌊n + (O − n) · extra⌋`, the `min(O, ñ + 1)` most important channels are kept whole,
    /// equal ones from the first, and all others deleted. That is what the official selection gives where no two channels are equally important; there it leaves scattered weights of the others.
    ///
    /// # Errors
    /// An `extra` outside [0, 1], and those of [`channel_importance`].
    pub fn apply(&self, mask: &Mask, weights: &[f64]) -> Result<Mask> {
        self.by_importance(mask, &channel_importance(mask, weights, self.criterion)?)
    }

    /// The share `density` of a layer's channels, rounded and at least one, kept whole: those with the largest sum of scores, such as magnitudes; equal ones from the first.
    ///
    /// # Errors
    /// A density outside [0, 1], another number of scores than the shape has entries, or scores that are not finite.
    pub fn at_density(&self, shape: &[usize], scores: &[f64], density: f64) -> Result<Mask> {
        if !(0.0..=1.0).contains(&density) {
            return Err(Error::value("Refill::at_density", "density", density, "in [0, 1]"));
        }
        let full = Mask::full(shape);
        let importance = channel_importance(&full, scores, ChannelCriterion::Magnitude)?;
        let kept = round_half_even(density * full.rows() as f64).max(1);
        Self::most_important(&full, &importance, kept)
    }

    /// The same with importances of any origin, such as [`activation_l1`](crate::scores::activation_l1).
    ///
    /// # Errors
    /// An `extra` outside [0, 1], another number of importances than channels, or one that is not finite.
    pub fn by_importance(&self, mask: &Mask, importance: &[f64]) -> Result<Mask> {
        const OPERATION: &str = "Refill";
        if !(0.0..=1.0).contains(&self.extra) {
            return Err(Error::value(OPERATION, "extra", self.extra, "in [0, 1]"));
        }
        let (channels, columns) = (mask.rows(), mask.columns());
        if importance.len() != channels {
            return Err(Error::length(OPERATION, "importances", importance.len(), channels));
        }
        if let Some(at) = importance.iter().position(|value| !value.is_finite()) {
            return Err(Error::value(OPERATION, format!("importance {at}"), importance[at], "a finite number"));
        }
        if mask.is_empty() {
            return Ok(mask.clone());
        }
        let dense = mask.count() as f64 / columns as f64;
        let kept = floor_to_count(dense + (channels as f64 - dense) * self.extra);
        Self::most_important(mask, importance, kept + 1)
    }

    /// The mask that keeps so many channels whole.
    fn most_important(mask: &Mask, importance: &[f64], kept: usize) -> Result<Mask> {
        let (channels, columns) = (mask.rows(), mask.columns());
        let mut order: Vec<usize> = (0..channels).collect();
        order.sort_by(|&a, &b| importance[b].total_cmp(&importance[a]).then(a.cmp(&b)));
        let mut refilled = vec![0; mask.len()];
        for &channel in &order[..channels.min(kept)] {
            refilled[channel * columns..(channel + 1) * columns].fill(1);
        }
        Mask::new(mask.shape(), refilled)
    }
}
