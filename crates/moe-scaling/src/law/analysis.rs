//! A fit together with its uncertainty.

use super::bootstrap::{Bootstrap, Interval, bootstrap, check_level, check_resamples, leave_one_out};
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
    /// The number of resamples that could not be fitted because too few different points were drawn.
    #[serde(default)]
    pub failed: usize,
    /// The number of resamples whose search did not converge.
    #[serde(default)]
    pub not_converged: usize,
    /// The number of resamples with a degenerate law ([`Fit::is_degenerate`]).
    #[serde(default)]
    pub degenerate: usize,
    /// The indices of the points without which the search did not converge.
    #[serde(default)]
    pub not_converged_without: Vec<usize>,
    /// Percentile intervals of the free coefficients.
    pub intervals: Vec<(Coefficient, Interval)>,
    /// [`Law::cutoff`] with its interval over the resamples that have one; `None` if the law or all resamples have none.
    pub cutoff: Option<(f64, Interval)>,
}

/// [`fit()`], [`leave_one_out()`] and [`bootstrap()`] in one call, with percentile intervals of the given level, such as 0.95.
///
/// # Errors
///
/// As for [`fit()`], when `resamples` is 0 or above 10 million, when no resample can be fitted, and when `level` is not in `(0, 1)`.
pub fn analyse(
    points: &[Point],
    form: Form,
    config: &FitConfig,
    resamples: usize,
    level: f64,
    seed: u64,
) -> Result<Analysis> {
    check_level(level)?;
    check_resamples("analyse", resamples)?;
    let fit = fit(points, form, config)?;
    let left_out = leave_one_out(points, form, config)?;
    let samples: Bootstrap = bootstrap(points, form, config, resamples, seed)?;
    let free = free_coefficients(form, &config.fixed, config.fits_irreducible);
    let intervals = free
        .into_iter()
        .map(|which| Ok((which, samples.interval(level, |law| law.coefficient(which))?)))
        .collect::<Result<_>>()?;
    let cutoff = fit.law.cutoff().and_then(|size| Some((size, samples.interval(level, Law::cutoff).ok()?)));
    Ok(Analysis {
        fit,
        leave_one_out_rmsle: left_out.rmsle,
        resamples: samples.laws.len(),
        failed: samples.failed,
        not_converged: samples.not_converged,
        degenerate: samples.degenerate,
        not_converged_without: left_out.not_converged,
        intervals,
        cutoff,
    })
}
