//! Measured losses.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The loss of one trained model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The dense parameter count `N`, or the compute `F` in any unit.
    pub size: f64,
    /// The number of experts `E`, or the parameter utilisation `B` relative to a dense model; 1 for a dense model.
    pub experts: f64,
    /// Cross-entropy, in nats per token.
    pub loss: f64,
    /// The weight in the fit; 1 by default, 0 leaves the point out.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.
}

impl Point {
    /// A point of weight 1.
    pub fn new(size: f64, experts: f64, loss: f64) -> Self {
        Self { size, experts, loss, weight: 1. }
    }

    /// The first quantity that is out of range, if any: its name, its value, and what is accepted.
    pub(super) fn fault(&self) -> Option<(&'static str, f64, &'static str)> {
        let positive = |value: f64| value.is_finite() && value > 0.;
        if !positive(self.size) {
            Some(("size", self.size, "a finite number above 0"))
        } else if !(self.experts.is_finite() && self.experts >= 1.) {
            Some(("experts", self.experts, "a finite number of at least 1"))
        } else if !positive(self.loss) {
            Some(("loss", self.loss, "a finite number above 0"))
        } else if !(self.weight.is_finite() && self.weight >= 0.) {
            Some(("weight", self.weight, "a finite number of at least 0"))
        } else {
            None
        }
    }
}

/// A law can be fitted to these numbers.
pub(super) fn check(points: &[Point]) -> Result<()> {
    for (position, point) in points.iter().enumerate() {
        if let Some((what, got, expected)) = point.fault() {
            let got = got.to_string();
            return Err(Error::InvalidData { operation: "fit", item: "point", position, what, got, expected });
        }
    }
    Ok(())
}
