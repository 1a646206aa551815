//! Random positions.

use super::{Compressor, Key, check_ratio, target};
use crate::{Encoded, Error, Result, scan};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// `count` different positions below `len`, ascending; the same on every rank with this seed.
///
/// # Errors
///
/// When there are fewer than `count`, or more than 2³² - 1.
pub fn shared_positions(seed: u64, len: usize, count: usize) -> Result<Vec<u32>> {
    if count > len || u32::try_from(len).is_err() {
        return Err(Error::options("positions", format!("{count} of {len}")));
    }
    let mut positions: Vec<u32> = rand::seq::index::sample(&mut ChaCha8Rng::seed_from_u64(seed), len, count)
        .into_iter()
        .map(|at| at as u32)
        .collect();
    positions.sort_unstable();
    Ok(positions)
}

/// `max(1, ⌊n r⌋)` elements at random positions without replacement, drawn anew in each step and equally on all ranks: only values travel, and they may be summed by an allreduce.
#[derive(Debug, Clone, Copy)]
pub struct RandomK {
    ratio: f64,
    is_unbiased: bool,
}

impl RandomK {
    /// Values as they are, for use with error feedback.
    ///
    /// # Errors
    ///
    /// When the ratio is not above 0 and at most 1.
    pub fn new(ratio: f64) -> Result<Self> {
        check_ratio("ratio", ratio)?;
        Ok(Self { ratio, is_unbiased: false })
    }

    /// Values times `n / k`, so that their mean is the gradient; for use without error feedback.
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
        let (seed, k) = (key.shared_seed(2), target(values.len(), self.ratio));
        let scale = if self.is_unbiased { values.len() as f32 / k.max(1) as f32 } else { 1. };
        let positions = shared_positions(seed, values.len(), k)?;
        let sent: Vec<f32> = positions.iter().map(|&at| scale * values[at as usize]).collect();
        if sent.iter().any(|value| !value.is_finite()) {
            return Err(scan::first_not_finite("random_k", values));
        }
        Ok(Encoded::Shared { len: values.len(), seed, values: sent })
    }

    fn set_ratio(&mut self, ratio: f64) -> Result<()> {
        check_ratio("ratio", ratio)?;
        self.ratio = ratio;
        Ok(())
    }
}
