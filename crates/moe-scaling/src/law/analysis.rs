//! A fit together with its uncertainty.

use super::bootstrap::{Bootstrap, Interval, bootstrap, leave_one_out};
use super::config::FitConfig;
use super::fit::{Fit, fit};
use super::form::{Coefficient, Form};
use super::formula::Law;
use super::points::Point;
use super::residuals::free_coefficients;
use crate::Result;
use serde::{Deserialize, Serialize};

/// A fit with its uncertainty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// The fit to all points.
    pub fit: Fit,
    /// Root mean square error of `ln L`, each point predicted by a fit to all others.
    pub leave_one_out_rmsle: f64,
    /// The number of resamples that could be fitted, on which the intervals are based.
    pub resamples: usize,
    /// Percentile intervals of the free coefficients.
    pub intervals: Vec<(Coefficient, Interval)>,
    /// [`Law::cutoff`] with its interval over the resamples that have one.
    pub cutoff: Option<(f64, Interval)>,
}

/// [`fit()`], [`leave_one_out()`] and [`bootstrap()`] in one call, with percentile intervals of the given level, such as 0.95.
///
/// # Errors
///
/// As for [`fit()`], and when no resample can be fitted or `level` is not in `(0, 1)`.
pub fn analyse(
    points: &[Point],
    form: Form,
    config: &FitConfig,
    resamples: usize,
    level: f64,
    seed: u64,
) -> Result<Analysis> {
    let fit = fit(points, form, config)?;
    let leave_one_out_rmsle = leave_one_out(points, form, config)?.rmsle;
    let samples: Bootstrap = bootstrap(points, form, config, resamples, seed)?;
    let free = free_coefficients(form, &config.fixed, config.fits_irreducible);
    let intervals = free
        .into_iter()
        .map(|which| Ok((which, samples.interval(level, |law| law.coefficient(which))?)))
        .collect::<Result<_>>()?;
    let cutoff = match fit.law.cutoff() {
        Some(size) => Some((size, samples.interval(level, Law::cutoff)?)),
        None => None,
    };
    Ok(Analysis { fit, leave_one_out_rmsle, resamples: samples.laws.len(), intervals, cutoff })
}
