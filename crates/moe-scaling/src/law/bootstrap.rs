//! The uncertainty of a fit: bootstrap, leave-one-out errors, and the comparison of two routers.

use super::config::{FitConfig, Starts};
use super::fit::fit_samples;
use super::form::Form;
use super::formula::Law;
use super::points::{self, Point};
use super::residuals::Samples;
use crate::{Error, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub lower: f64,
    /// The upper end.
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
    if !(0. < level && level < 1.) {
        return Err(Error::Value { operation: "interval", what: "level", got: level, expected: "in (0, 1)" });
    }
    values.retain(|value| !value.is_nan());
    values.sort_by(f64::total_cmp);
    if values.is_empty() {
        return Err(Error::Undetermined { reason: "no resample has the requested quantity".into() });
    }
    let at = |share: f64| {
        let position = share * (values.len() - 1) as f64;
        let (below, part) = (position.floor() as usize, position.fract());
        let (low, high) = (values[below], values[(below + 1).min(values.len() - 1)]);
        if part == 0. || low == high { low } else { low + part * (high - low) }
    };
    Ok(Interval { lower: at((1. - level) / 2.), upper: at((1. + level) / 2.) })
}

/// The bootstrap over points: fits `resamples` samples of as many points, drawn with replacement, in parallel. The result depends on the seed, not on
/// the number of threads. Each resample is searched from all starting points of `config`.
///
/// # Errors
///
/// As for [`super::fit()`], and when no resample can be fitted.
pub fn bootstrap(points: &[Point], form: Form, config: &FitConfig, resamples: usize, seed: u64) -> Result<Bootstrap> {
    points::check(points)?;
    config.check(form)?;
    let samples = Samples::new(points);
    fit_samples(&samples, form, config)?;
    let laws: Vec<Option<Law>> = (0..resamples as u64)
        .into_par_iter()
        .map(|resample| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(resample);
            let mut counts = vec![0u32; samples.len()];
            for _ in 0..samples.len() {
                counts[rng.random_range(0..samples.len())] += 1;
            }
            let weights: Vec<f64> = counts.iter().zip(&samples.weight).map(|(&n, w)| f64::from(n) * w).collect();
            fit_samples(&samples.with_weights(&weights), form, config).ok().map(|fit| fit.law)
        })
        .collect();
    let laws: Vec<Law> = laws.into_iter().flatten().collect();
    if laws.is_empty() {
        return Err(Error::Undetermined { reason: format!("none of {resamples} resamples could be fitted") });
    }
    Ok(Bootstrap { failed: resamples - laws.len(), laws })
}

/// Leave-one-out errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaveOneOut {
    /// Predicted minus measured `ln L` of each point; NaN for a point of weight 0, and for a point without which the law is undetermined.
    pub errors: Vec<f64>,
    /// Root mean square of the errors that are not NaN.
    pub rmsle: f64,
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
    // one point moves the optimum little, so the optimum of all points is the best start
    let near = match (&config.starts, whole.law.saturation) {
        (Starts::Grid { .. }, Some(saturation)) => {
            FitConfig { starts: Starts::Given(vec![[saturation.log2_start, saturation.log2_max]]), ..config.clone() }
        }
        _ => config.clone(),
    };
    let errors: Vec<f64> = (0..points.len())
        .into_par_iter()
        .map(|left_out| {
            let point = points[left_out];
            if point.weight == 0. {
                return f64::NAN;
            }
            let mut others = points.to_vec();
            others[left_out].weight = 0.;
            let fit = fit_samples(&Samples::new(&others), form, &near);
            fit.map_or(f64::NAN, |fit| fit.law.predict(point.size, point.experts).ln() - point.loss.ln())
        })
        .collect();
    let known: Vec<f64> = errors.iter().copied().filter(|error| !error.is_nan()).collect();
    if known.is_empty() {
        return Err(Error::TooFewPoints { got: whole.points, expected: whole.points + 1 });
    }
    let rmsle = (known.iter().map(|error| error * error).sum::<f64>() / known.len() as f64).sqrt();
    Ok(LeaveOneOut { errors, rmsle })
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
/// As for [`bootstrap()`].
pub fn compare(
    [first, second]: [&[Point]; 2],
    form: Form,
    config: &FitConfig,
    at: &[(f64, f64)],
    resamples: usize,
    level: f64,
    seed: u64,
) -> Result<Vec<Comparison>> {
    points::check(first)?;
    points::check(second)?;
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
