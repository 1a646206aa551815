//! The uncertainty of a fit: bootstrap, leave-one-out errors, and the comparison of two routers.

use super::config::{FitConfig, Loss, Starts};
use super::fit::fit_samples;
use super::form::Form;
use super::formula::Law;
use super::points::{self, Point};
use super::residuals::Samples;
use super::saturation::null_is_infinite;
use crate::{Error, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A confidence interval. An end can be infinite, which JSON has as `null`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    #[serde(deserialize_with = "null_is_infinite")]
    pub lower: f64,
    /// The upper end.
    #[serde(deserialize_with = "null_is_infinite")]
    pub upper: f64,
}

impl Interval {
    /// Whether `lower ≤ value ≤ upper`.
    pub fn contains(&self, value: f64) -> bool {
        self.lower <= value && value <= self.upper
    }
}

/// Laws fitted to resampled points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// One law for each resample that determines one, in a fixed order.
    pub laws: Vec<Law>,
    /// The number of resamples that do not determine a law because too few different points were drawn.
    pub failed: usize,
    /// The number of `laws` whose search did not converge ([`Fit::not_converged`](super::Fit)).
    #[serde(default)]
    pub not_converged: usize,
    /// The number of `laws` that are degenerate ([`Fit::is_degenerate`](super::Fit)).
    #[serde(default)]
    pub degenerate: usize,
}

impl Bootstrap {
    /// The percentile interval of a quantity of the laws. Resamples whose quantity is `None` or NaN are left out; infinite values count.
    ///
    /// ```
    /// # use moe_scaling::law::*;
    /// # fn main() -> moe_scaling::Result<()> {
    /// # let law = Law::saturating(-0.083, -0.118, 0.01, 1.11, 2., 240.);
    /// # let points: Vec<Point> = [1.5e7, 5.5e7, 3.7e8].into_iter()
    /// #     .flat_map(|n| [1., 4., 16., 64., 256.].map(|e| Point::new(n, e, law.predict(n, e)))).collect();
    /// let laws = bootstrap(&points, Form::Bilinear, &FitConfig::default(), 200, 0)?;
    /// let loss_of_a_larger_model = laws.interval(0.95, |law| Some(law.predict(1e10, 64.)))?;
    /// assert!(loss_of_a_larger_model.lower < loss_of_a_larger_model.upper);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When `level` is not in `(0, 1)`, or no resample has the quantity.
    pub fn interval(&self, level: f64, quantity: impl Fn(&Law) -> Option<f64>) -> Result<Interval> {
        percentiles(self.laws.iter().filter_map(quantity).collect(), level)
    }
}

fn percentiles(mut values: Vec<f64>, level: f64) -> Result<Interval> {
    check_level(level)?;
    values.retain(|value| !value.is_nan());
    values.sort_by(f64::total_cmp);
    if values.is_empty() {
        return Err(Error::Undetermined { reason: "no resample has the requested quantity".into() });
    }
    let at = |share: f64| core_tensor::metrics::quantile(&values, share);
    Ok(Interval { lower: at((1. - level) / 2.), upper: at((1. + level) / 2.) })
}

/// The largest number of resamples: more take days and gigabytes.
const MAX_RESAMPLES: usize = 10_000_000;

pub(super) fn check_resamples(operation: &'static str, resamples: usize) -> Result<()> {
    if (1..=MAX_RESAMPLES).contains(&resamples) {
        return Ok(());
    }
    Err(Error::Value {
        operation,
        what: "number of resamples",
        got: resamples as f64,
        expected: "from 1 to 10 million",
    })
}

pub(super) fn check_level(level: f64) -> Result<()> {
    if 0. < level && level < 1. {
        return Ok(());
    }
    Err(Error::Value { operation: "interval", what: "level", got: level, expected: "in (0, 1)" })
}

/// The bootstrap over points: fits `resamples` samples of as many points, drawn with replacement, in parallel. The result depends on the seed, not on
/// the number of threads. Each resample is searched from all starting points of `config`.
///
/// # Errors
///
/// As for [`super::fit()`], when `resamples` is 0 or above 10 million, and when no resample can be fitted.
pub fn bootstrap(points: &[Point], form: Form, config: &FitConfig, resamples: usize, seed: u64) -> Result<Bootstrap> {
    check_resamples("bootstrap", resamples)?;
    points::check(points)?;
    config.check(form)?;
    let samples = Samples::new(points);
    fit_samples(&samples, form, config)?;
    let fits: Vec<Option<(Law, bool, bool)>> = (0..resamples as u64)
        .into_par_iter()
        .map(|resample| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(resample);
            let mut counts = vec![0u32; samples.len()];
            for _ in 0..samples.len() {
                counts[rng.random_range(0..samples.len())] += 1;
            }
            let weights: Vec<f64> = counts.iter().zip(&samples.weight).map(|(&n, w)| f64::from(n) * w).collect();
            let fit = fit_samples(&samples.with_weights(&weights), form, config).ok()?;
            Some((fit.law, fit.is_converged, fit.is_degenerate))
        })
        .collect();
    let fits: Vec<(Law, bool, bool)> = fits.into_iter().flatten().collect();
    if fits.is_empty() {
        return Err(Error::Undetermined { reason: format!("none of {resamples} resamples could be fitted") });
    }
    Ok(Bootstrap {
        failed: resamples - fits.len(),
        not_converged: fits.iter().filter(|(_, is_converged, _)| !is_converged).count(),
        degenerate: fits.iter().filter(|(.., is_degenerate)| *is_degenerate).count(),
        laws: fits.into_iter().map(|(law, ..)| law).collect(),
    })
}

/// Leave-one-out errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaveOneOut {
    /// Predicted minus measured `ln L` of each point; NaN for a point of weight 0, and for a point without which the law is undetermined.
    pub errors: Vec<f64>,
    /// Root mean square of the errors that are not NaN.
    pub rmsle: f64,
    /// The indices of the points without which the search did not converge.
    #[serde(default)]
    pub not_converged: Vec<usize>,
}

/// Predicts each point by a fit to all others, in parallel.
///
/// # Errors
///
/// As for [`super::fit()`], and when the law is undetermined without any one of the points.
pub fn leave_one_out(points: &[Point], form: Form, config: &FitConfig) -> Result<LeaveOneOut> {
    points::check(points)?;
    config.check(form)?;
    let whole = fit_samples(&Samples::new(points), form, config)?;
    // one point moves the optimum of squared errors little, so the optimum of all points is the best start; robust costs have more minima
    let near = match (&config.starts, whole.law.saturation) {
        (Starts::Grid { .. }, Some(saturation)) if config.loss == Loss::Squared && !whole.is_degenerate => {
            FitConfig { starts: Starts::Given(vec![[saturation.log2_start, saturation.log2_max]]), ..config.clone() }
        }
        _ => config.clone(),
    };
    let found: Vec<(f64, bool)> = (0..points.len())
        .into_par_iter()
        .map(|left_out| {
            let point = points[left_out];
            if point.weight == 0. {
                return (f64::NAN, true);
            }
            let mut others = points.to_vec();
            others[left_out].weight = 0.;
            fit_samples(&Samples::new(&others), form, &near).map_or((f64::NAN, true), |fit| {
                (fit.law.predict(point.size, point.experts).ln() - point.loss.ln(), fit.is_converged)
            })
        })
        .collect();
    let errors: Vec<f64> = found.iter().map(|(error, _)| *error).collect();
    let not_converged =
        found.iter().enumerate().filter(|(_, (_, is_converged))| !is_converged).map(|(at, _)| at).collect();
    let known: Vec<f64> = errors.iter().copied().filter(|error| !error.is_nan()).collect();
    if known.is_empty() {
        return Err(Error::TooFewPoints { got: whole.points, expected: whole.points + 1 });
    }
    let rmsle = (known.iter().map(|error| error * error).sum::<f64>() / known.len() as f64).sqrt();
    Ok(LeaveOneOut { errors, rmsle, not_converged })
}

/// The comparison of two routers at one size and number of experts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// `ln L₁ − ln L₂` predicted by the fits to all points: negative where the first router is better.
    pub log_ratio: f64,
    /// The interval of `log_ratio` over the resamples.
    pub interval: Interval,
    /// The fraction of resamples in which the first router has the lower loss.
    pub first_wins: f64,
}

/// Compares the predictions of two routers' laws at each `(size, experts)` in `at`.
///
/// The resamples are paired: points of equal size and number of experts are drawn together from both sets, because what two models of one size have in
/// common (shared dense points above all) is no evidence of a difference.
///
/// # Errors
///
/// As for [`bootstrap()`], and when `level` is not in `(0, 1)` or a size or number of experts in `at` is out of range.
pub fn compare(
    [first, second]: [&[Point]; 2],
    form: Form,
    config: &FitConfig,
    at: &[(f64, f64)],
    resamples: usize,
    level: f64,
    seed: u64,
) -> Result<Vec<Comparison>> {
    check_resamples("compare", resamples)?;
    check_level(level)?;
    points::check(first)?;
    points::check(second)?;
    if let Some(&(_, experts)) = at.iter().find(|(_, experts)| !(experts.is_finite() && *experts >= 1.)) {
        let expected = "a finite number of at least 1";
        return Err(Error::Value { operation: "compare", what: "number of experts", got: experts, expected });
    }
    if let Some(&(size, _)) = at.iter().find(|(size, _)| !(size.is_finite() && *size > 0.)) {
        return Err(Error::Value {
            operation: "compare",
            what: "size",
            got: size,
            expected: "a finite number above 0",
        });
    }
    config.check(form)?;
    let sets = [Samples::new(first), Samples::new(second)];
    let [best_first, best_second] =
        [fit_samples(&sets[0], form, config)?.law, fit_samples(&sets[1], form, config)?.law];
    let mut cells: Vec<(u64, u64)> = Vec::new();
    let cells_of: Vec<Vec<usize>> = sets
        .iter()
        .map(|set| {
            (0..set.len())
                .map(|at| {
                    let cell = (set.x[at].to_bits(), set.experts[set.level[at]].to_bits());
                    cells.iter().position(|known| *known == cell).unwrap_or_else(|| {
                        cells.push(cell);
                        cells.len() - 1
                    })
                })
                .collect()
        })
        .collect();
    let pairs: Vec<Option<[Law; 2]>> = (0..resamples as u64)
        .into_par_iter()
        .map(|resample| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(resample);
            let mut counts = vec![0u32; cells.len()];
            for _ in 0..cells.len() {
                counts[rng.random_range(0..cells.len())] += 1;
            }
            let mut laws = sets.iter().zip(&cells_of).map(|(set, cells)| {
                let weights: Vec<f64> =
                    cells.iter().zip(&set.weight).map(|(&cell, w)| f64::from(counts[cell]) * w).collect();
                fit_samples(&set.with_weights(&weights), form, config).ok().map(|fit| fit.law)
            });
            Some([laws.next()??, laws.next()??])
        })
        .collect();
    let pairs: Vec<[Law; 2]> = pairs.into_iter().flatten().collect();
    at.iter()
        .map(|&(size, experts)| {
            let ratio = |first: &Law, second: &Law| {
                (first.log10_loss(size, experts) - second.log10_loss(size, experts)) * std::f64::consts::LN_10
            };
            let ratios: Vec<f64> = pairs.iter().map(|[first, second]| ratio(first, second)).collect();
            let wins = ratios.iter().filter(|ratio| **ratio < 0.).count();
            Ok(Comparison {
                log_ratio: ratio(&best_first, &best_second),
                first_wins: wins as f64 / ratios.len().max(1) as f64,
                interval: percentiles(ratios, level)?,
            })
        })
        .collect()
}
