//! Elements at random positions.

use crate::compressor::Compressor;
use crate::encoded::shared_positions;
use crate::key::Key;
use crate::ratio::{check_ratio, target};
use crate::{Encoded, Error, Result, scan};

/// `max(1, ⌊n r⌋)` elements at random positions without replacement, which change with each step and are the same on all ranks: only values travel, and an allreduce sums them.
#[derive(Debug, Clone, Copy)]
pub struct RandomK {
    ratio: f64,
    is_unbiased: bool,
}

impl RandomK {
    /// Sends values as they are; for use with error feedback.
    ///
    /// # Errors
    ///
    /// When the ratio is not above 0 and at most 1.
    pub fn new(ratio: f64) -> Result<Self> {
        check_ratio("ratio", ratio)?;
        Ok(Self { ratio, is_unbiased: false })
    }

    /// Sends values times `n / k`, whose expected value is the gradient; for use without error feedback.
    ///
    /// # Errors
    ///
    /// As [`RandomK::new`].
    pub fn unbiased(ratio: f64) -> Result<Self> {
        Ok(Self { is_unbiased: true, ..Self::new(ratio)? })
    }
}

impl Compressor for RandomK {
    fn name(&self) -> &'static str {
        "random-k"
    }

    fn compress(&mut self, values: &[f32], key: &Key) -> Result<Encoded> {
        let (seed, k) = (key.shared_seed("random-k positions"), target(values.len(), self.ratio));
        let scale = if self.is_unbiased { values.len() as f32 / k.max(1) as f32 } else { 1. };
        // what is not drawn would stay in the residual unseen
        scan::max_magnitude("random_k", values)?;
        let positions = shared_positions(seed, values.len(), k)?;
        let sent: Vec<f32> = positions.iter().map(|&at| scale * values[at as usize]).collect();
        if let Some(at) = sent.iter().position(|value| !value.is_finite()) {
            // the element times n / k
            let position = positions[at] as usize;
            return Err(Error::NotFinite { operation: "random_k", position, got: sent[at] });
        }
        Ok(Encoded::Shared { len: values.len(), seed, values: sent })
    }

    fn set_ratio(&mut self, ratio: f64) -> Result<()> {
        check_ratio("ratio", ratio)?;
        self.ratio = ratio;
        Ok(())
    }
}
