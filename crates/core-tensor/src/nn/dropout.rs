//! The dropout layer.

use crate::random::{self, Rng};
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::ModuleT;
use std::sync::{Mutex, MutexGuard};

/// Inverted dropout as a layer that owns its generator, see [`random::dropout`]. In evaluation it does nothing.
#[derive(Debug)]
pub struct Dropout {
    probability: f64,
    rng: Mutex<Rng>,
}

impl Dropout {
    /// Drops each element with probability `probability`. Fork `rng` by a name, so that layers are independent.
    ///
    /// # Errors
    ///
    /// When the probability is not in `[0, 1)`.
    pub fn new(probability: f64, rng: Rng) -> Result<Self> {
        if (0. ..1.).contains(&probability) {
            return Ok(Self { probability, rng: Mutex::new(rng) });
        }
        Err(Error::Value { operation: "Dropout", what: "probability", got: probability, expected: "in [0, 1)" })
    }

    /// A copy of the generator where it stands, for a checkpoint.
    pub fn rng(&self) -> Rng {
        self.lock().clone()
    }

    /// Continues with another generator, from a checkpoint.
    pub fn set_rng(&self, rng: Rng) {
        *self.lock() = rng;
    }

    fn lock(&self) -> MutexGuard<'_, Rng> {
        // Every state of a generator is a valid one.
        self.rng.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl ModuleT for Dropout {
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        if !train {
            return Ok(x.clone());
        }
        Ok(random::dropout(x, self.probability, &mut self.lock())?)
    }
}
