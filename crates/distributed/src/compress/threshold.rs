//! Thresholds that are given or follow from a few statistics.

use super::special;
use super::top_k::largest;
use crate::compressor::Compressor;
use crate::key::Key;
use crate::ratio::{check_ratio, target};
use crate::{Encoded, Error, Result, scan};

/// All elements that reach a threshold.
fn sparse_at_least(operation: &'static str, values: &[f32], threshold: f32) -> Result<Encoded> {
    Ok(Encoded::gather(values, scan::at_least(operation, values, threshold)?))
}

/// All elements that reach a threshold, or the `k` largest when none does.
fn at_least_or_largest(operation: &'static str, values: &[f32], threshold: f32, k: usize) -> Result<Encoded> {
    let mut indices = scan::at_least(operation, values, threshold)?;
    if indices.is_empty() {
        indices = largest(values, k)?;
    }
    Ok(Encoded::gather(values, indices))
}

/// Sends all elements of at least this magnitude, or the largest one when none reaches it.
#[derive(Debug, Clone, Copy)]
pub struct Threshold {
    threshold: f32,
}

impl Threshold {
    /// With this magnitude.
    ///
    /// # Errors
    ///
    /// When the threshold is negative or not finite.
    pub fn new(threshold: f32) -> Result<Self> {
        if threshold.is_finite() && threshold >= 0. {
            Ok(Self { threshold })
        } else {
            Err(Error::config("threshold", format!("{threshold} is not finite and at least 0")))
        }
    }
}

impl Compressor for Threshold {
    fn name(&self) -> &'static str {
        "threshold"
    }

    fn compress(&mut self, values: &[f32], _: &Key) -> Result<Encoded> {
        let largest = scan::max_magnitude("threshold", values)?;
        sparse_at_least("threshold", values, self.threshold.min(largest))
    }
}

/// GaussianK-SGD (Shi et al. 2019): the threshold is `mean + z · deviation` of the magnitudes, where `z` is the normal quantile of the ratio. While the number of elements above it differs from
/// `⌊n r⌋` by more than a third, the threshold is halved or raised by half, at most twice. When none is above it then, the `⌊n r⌋` largest are sent.
#[derive(Debug, Clone, Copy)]
pub struct GaussianK {
    ratio: f64,
}

impl GaussianK {
    /// At this ratio.
    ///
    /// # Errors
    ///
    /// When the ratio is not above 0 and at most 1.
    pub fn new(ratio: f64) -> Result<Self> {
        check_ratio("ratio", ratio)?;
        Ok(Self { ratio })
    }
}

/// Mean and standard deviation (`n − 1`) of the magnitudes.
fn moments(values: &[f32]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = scan::sum(values, |value| value) / n;
    let variance = scan::sum(values, |value| (value - mean) * (value - mean)) / (n - 1.).max(1.);
    (mean, variance.sqrt())
}

impl Compressor for GaussianK {
    fn name(&self) -> &'static str {
        "gaussian-k"
    }

    fn compress(&mut self, values: &[f32], _: &Key) -> Result<Encoded> {
        scan::max_magnitude("gaussian_k", values)?;
        let k = target(values.len(), self.ratio) as f64;
        let (mean, deviation) = moments(values);
        let mut threshold = (mean - special::normal_quantile(self.ratio / 2.) * deviation) as f32;
        // the third count is taken as it is
        for _ in 0..2 {
            let count = scan::count_at_least(values, threshold) as f64;
            if count < 2. * k / 3. {
                threshold *= 0.5;
            } else if count > 4. * k / 3. {
                threshold *= 1.5;
            } else {
                break;
            }
        }
        at_least_or_largest("gaussian_k", values, threshold, k as usize)
    }

    fn set_ratio(&mut self, ratio: f64) -> Result<()> {
        *self = Self::new(ratio)?;
        Ok(())
    }
}

/// RedSync (Fang et al. 2019): a binary search for `ρ` in the threshold `mean + ρ (max − mean)`, until between `k` and `2k` elements reach it or the interval of `ρ` is at most 0.2 wide. When none reaches it then, the `k`
/// largest are sent.
#[derive(Debug, Clone, Copy)]
pub struct RedSync {
    ratio: f64,
}

impl RedSync {
    /// At this ratio.
    ///
    /// # Errors
    ///
    /// When the ratio is not above 0 and at most 1.
    pub fn new(ratio: f64) -> Result<Self> {
        check_ratio("ratio", ratio)?;
        Ok(Self { ratio })
    }
}

impl Compressor for RedSync {
    fn name(&self) -> &'static str {
        "red-sync"
    }

    fn compress(&mut self, values: &[f32], _: &Key) -> Result<Encoded> {
        let largest = f64::from(scan::max_magnitude("red_sync", values)?);
        let k = target(values.len(), self.ratio) as f64;
        let (mean, _) = moments(values);
        let (mut low, mut high, mut threshold) = (0., 1., mean);
        while high - low > 0.2 {
            let share = low + (high - low) / 2.;
            threshold = mean + share * (largest - mean);
            let count = scan::count_at_least(values, threshold as f32) as f64;
            if k < count && count < 2. * k {
                break;
            } else if count < k / 2. {
                high = share;
            } else {
                low = share;
            }
        }
        at_least_or_largest("red_sync", values, threshold as f32, k as usize)
    }

    fn set_ratio(&mut self, ratio: f64) -> Result<()> {
        *self = Self::new(ratio)?;
        Ok(())
    }
}
