//! Prediction intervals without assumptions on the forecaster.

use core_tensor::rounding::ceil_to_count;

use crate::{Error, Result};

/// Intervals around forecasts by split conformal prediction (Papadopoulos et al. 2002; Lei et al., JASA 2018), one width for each sensor and each step of the horizon:
///
/// ```text
/// [ŷ − q, ŷ + q]      q: the k-th smallest of n absolute errors |y − ŷ|,  k = ⌈(n + 1) · coverage⌉
/// ```
///
/// The errors must come from windows that neither training (choice of the best state included) nor testing uses: the calibration part of
/// [`Windows::split_with_calibration`](super::Windows::split_with_calibration). If those windows and a new one can be exchanged, the new target lies in its interval with a probability of at least
/// `coverage`, and of at most `coverage + 1/(n + 1)` without ties, whatever the network. Neighbouring windows of a series depend on each other and series drift, so that the promise holds
/// approximately: look at [`Self::coverage_of`] on test windows.
#[derive(Debug, Clone, PartialEq)]
pub struct ConformalIntervals {
    coverage: f64,
    horizon: usize,
    /// q, `[nodes][horizon]`.
    half_widths: Vec<f64>,
}

const OP: &str = "conformal intervals";

impl ConformalIntervals {
    /// Calibrates on forecasts and targets `[windows][nodes][horizon]`; targets that are missing (NaN) do not count.
    ///
    /// Where `(n + 1) · coverage` is above n, no finite interval has that coverage: the half-width is infinite. [`Self::least_windows`] says how many errors are needed.
    ///
    /// # Errors
    /// A coverage that is not between 0 and 1, lists of different lengths or that are not whole windows, no window.
    pub fn calibrate(
        prediction: &[f64],
        target: &[f64],
        (num_nodes, horizon): (usize, usize),
        coverage: f64,
    ) -> Result<Self> {
        check_coverage(coverage)?;
        let window = check_lengths(prediction, target, num_nodes, horizon)?;
        let half_width = |at: usize| {
            let errors = prediction.iter().zip(target).skip(at).step_by(window);
            let mut errors: Vec<f64> =
                errors.filter(|(_, y)| !y.is_nan()).map(|(prediction, y)| (prediction - y).abs()).collect();
            // a forecast that is not a number is as wrong as can be
            errors.iter_mut().for_each(|error| *error = if error.is_nan() { f64::INFINITY } else { *error });
            errors.sort_unstable_by(f64::total_cmp);
            let rank = ceil_to_count(coverage * (errors.len() + 1) as f64).max(1);
            errors.get(rank - 1).copied().unwrap_or(f64::INFINITY)
        };
        Ok(Self { coverage, horizon, half_widths: (0..window).map(half_width).collect() })
    }

    /// The fewest calibration windows with a target that give finite intervals: the least n with `⌈(n + 1) · coverage⌉ ≤ n`; 9 for 0.9.
    ///
    /// # Errors
    /// A coverage that is not between 0 and 1, or so close to 1 that 10⁹ windows do not do.
    pub fn least_windows(coverage: f64) -> Result<usize> {
        check_coverage(coverage)?;
        let near = (coverage / (1. - coverage)).floor();
        if near > 1e9 {
            return Err(Error::value(OP, "the coverage", coverage, "one that 10^9 windows can show"));
        }
        let first = (near as usize).saturating_sub(2).max(1);
        let is_enough = |&n: &usize| ceil_to_count(coverage * (n + 1) as f64) <= n;
        Ok((first..).find(is_enough).unwrap_or(usize::MAX))
    }

    /// The coverage that was asked for.
    pub fn coverage(&self) -> f64 {
        self.coverage
    }

    /// q, half the width of the intervals: `[nodes][horizon]`; infinite where there were too few targets.
    pub fn half_widths(&self) -> &[f64] {
        &self.half_widths
    }

    /// The ends of the intervals around forecasts `[…][nodes][horizon]`: lower and upper, in the same order.
    ///
    /// # Errors
    /// A length that is not whole windows.
    pub fn around(&self, prediction: &[f64]) -> Result<(Vec<f64>, Vec<f64>)> {
        self.check(prediction)?;
        let each = || prediction.iter().zip(self.half_widths.iter().cycle());
        Ok((each().map(|(y, q)| y - q).collect(), each().map(|(y, q)| y + q).collect()))
    }

    /// The share of targets `[windows][nodes][horizon]` that lie in the intervals around their forecasts; NaN without any target.
    ///
    /// # Errors
    /// Lists of different lengths, or that are not whole windows.
    pub fn coverage_of(&self, prediction: &[f64], target: &[f64]) -> Result<f64> {
        let shares = self.covered(prediction, target)?;
        let (inside, all) = shares.iter().fold((0, 0), |(inside, all), &(i, n)| (inside + i, all + n));
        Ok(inside as f64 / all as f64)
    }

    /// [`Self::coverage_of`] for each sensor.
    ///
    /// # Errors
    /// As for [`Self::coverage_of`].
    pub fn coverage_by_sensor(&self, prediction: &[f64], target: &[f64]) -> Result<Vec<f64>> {
        Ok(self.covered(prediction, target)?.iter().map(|&(inside, all)| inside as f64 / all as f64).collect())
    }

    /// For each sensor how many targets are inside, and how many there are.
    fn covered(&self, prediction: &[f64], target: &[f64]) -> Result<Vec<(usize, usize)>> {
        self.check(prediction)?;
        check_lengths(prediction, target, self.half_widths.len() / self.horizon, self.horizon)?;
        let mut counts = vec![(0, 0); self.half_widths.len() / self.horizon];
        for (at, (prediction, y)) in prediction.iter().zip(target).enumerate().filter(|(_, (_, y))| !y.is_nan()) {
            let at = at % self.half_widths.len();
            let (inside, all) = &mut counts[at / self.horizon];
            *inside += usize::from((prediction - y).abs() <= self.half_widths[at]);
            *all += 1;
        }
        Ok(counts)
    }

    fn check(&self, prediction: &[f64]) -> Result<()> {
        let window = self.half_widths.len();
        if prediction.is_empty() || !prediction.len().is_multiple_of(window) {
            let (got, expected) = (prediction.len(), prediction.len().div_ceil(window).max(1) * window);
            return Err(Error::Length { operation: OP, what: "the prediction, in whole windows,", got, expected });
        }
        Ok(())
    }
}

fn check_coverage(coverage: f64) -> Result<()> {
    match coverage > 0. && coverage < 1. {
        true => Ok(()),
        false => Err(Error::value(OP, "the coverage", coverage, "between 0 and 1, both excluded")),
    }
}

/// The elements of a window.
fn check_lengths(prediction: &[f64], target: &[f64], num_nodes: usize, horizon: usize) -> Result<usize> {
    if prediction.len() != target.len() {
        let (got, expected) = (prediction.len(), target.len());
        return Err(Error::Length { operation: OP, what: "the prediction", got, expected });
    }
    match num_nodes.checked_mul(horizon) {
        Some(window) if window > 0 && !target.is_empty() && target.len().is_multiple_of(window) => Ok(window),
        _ => {
            let expected = format!("a multiple of {num_nodes} sensors times {horizon} steps, and at least one window");
            Err(Error::count(OP, "the number of targets", target.len(), expected))
        }
    }
}
