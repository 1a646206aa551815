//! Fitting a law to points.

use super::config::{FitConfig, Loss};
use super::form::{Coefficient, Form};
use super::formula::Law;
use super::levenberg::{Found, minimise};
use super::points::{self, Point};
use super::projection::Dependent;
use super::residuals::{Samples, free_coefficients, local, log10_loss_with_gradient};
use super::saturation::Saturation;
use super::search::{Candidate, Profile, search, starts, unbounded};
use super::stop::NotConverged;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::LN_10;

/// A fitted law and its errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The law with its fitted coefficients.
    pub law: Law,
    /// The number of points with a weight above 0.
    pub points: usize,
    /// Weighted mean of the squared errors of `log10 L`, whatever the objective was.
    pub mse_log10: f64,
    /// Root mean square error of `ln L`, `√mse_log10 · ln 10`: about the relative error of the loss.
    pub rmsle: f64,
    /// What was minimised: `Σ w ρ(r)` over the errors `r` of `ln L` with `ρ(r) = r²/2`, or for Huber's loss `δ (|r| − δ/2)` where `|r| > δ`.
    #[serde(default)]
    pub cost: f64,
    /// Coefficients that ended at a bound: the points do not determine them.
    pub at_bound: Vec<Coefficient>,
    /// Whether the search converged.
    pub is_converged: bool,
    /// Why it did not.
    #[serde(default)]
    pub not_converged: Option<NotConverged>,
    /// Whether `Ê` of all points differs by less than 10 %: `E_start` and `E_max` have run into each other, `a`, `b`, `c`, `d` are large and cancel, and
    /// the law says nothing about saturation. [`Form::Bilinear`] or other points are needed.
    #[serde(default)]
    pub is_degenerate: bool,
}

/// Fits a form to points by least squares on `log10 L` (the paper's Eq. 1), or by Huber's loss.
///
/// The saturating form is fitted by *variable projection*: given `E_start` and `E_max` the other coefficients solve a linear least-squares
/// problem (with Huber's loss a convex one, by Newton's method), so only these two are searched, by Levenberg–Marquardt from the local minima of a grid. In
/// all six coefficients the objective has a flat, curved valley in which quasi-Newton methods stop early (half of the random starts of the authors' notebook
/// end at 50 times the minimum); in these two it is smooth. With an irreducible loss, or bounds on linear coefficients, Levenberg–Marquardt on all
/// coefficients refines each result.
///
/// The cost is never above that of the best law at any start of [`Starts::Given`](super::Starts), nor above the fit of a simpler form. The bilinear form is the
/// limit `E_start = 1`, `E_max = ∞`; where it is better than all within the bounds, it is returned with `log2_max = ∞` (an upper bound of `log2 E_max` of 20
/// or more is taken for no bound). [`Fit::at_bound`], [`Fit::not_converged`] and [`Fit::is_degenerate`] say when a law should not be trusted.
///
/// With outliers, use Huber's loss with `delta` near the noise of the good points, and look at [`residuals()`](super::residuals()):
///
/// ```
/// # use moe_scaling::law::*;
/// # fn main() -> moe_scaling::Result<()> {
/// # let truth = Law::saturating(-0.083, -0.118, 0.01, 1.11, 2., 240.);
/// # let mut points: Vec<Point> = [1.5e7, 5.5e7, 3.7e8, 1.3e9]
/// #     .into_iter().flat_map(|n| [1., 4., 16., 64., 256.].map(|e| Point::new(n, e, truth.predict(n, e)))).collect();
/// points[19].loss *= 2.; // a run that diverged
/// let config = FitConfig { loss: Loss::Huber { delta: 1e-3 }, ..FitConfig::default() };
/// let fit = fit(&points, Form::Saturating, &config)?;
/// assert!(fit.is_converged && !fit.is_degenerate);
/// assert!((fit.law.predict(1e10, 256.) / truth.predict(1e10, 256.) - 1.).abs() < 0.01);
/// let outliers: Vec<usize> = residuals(&fit.law, &points).iter().filter(|r| r.is_outlier).map(|r| r.index).collect();
/// assert!(outliers.contains(&19));
/// # Ok(())
/// # }
/// ```
///
/// ```
/// use moe_scaling::law::{FitConfig, Form, Law, Point, fit};
/// # fn main() -> moe_scaling::Result<()> {
/// let truth = Law::saturating(-0.083, -0.118, 0.01, 1.11, 2., 240.);
/// let points: Vec<Point> = [1.5e7, 5.5e7, 3.7e8, 1.3e9]
///     .into_iter()
///     .flat_map(|n| [1., 4., 16., 64., 256.].map(|e| Point::new(n, e, truth.predict(n, e))))
///     .collect();
/// let fit = fit(&points, Form::Saturating, &FitConfig::default())?;
/// assert!(fit.rmsle < 1e-6);
/// assert!((fit.law.predict(1e9, 128.) / truth.predict(1e9, 128.) - 1.).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When a number of a point is not finite, a size or loss is not positive, or `E < 1`; when there are fewer points than coefficients, or the points do
/// not determine them (for example because all have one size); when a setting is wrong.
pub fn fit(points: &[Point], form: Form, config: &FitConfig) -> Result<Fit> {
    points::check(points)?;
    config.check(form)?;
    fit_samples(&Samples::new(points), form, config)
}

pub(super) fn fit_samples(samples: &Samples, form: Form, config: &FitConfig) -> Result<Fit> {
    let free = free_coefficients(form, &config.fixed, config.fits_irreducible);
    let expected = free.len().max(1);
    if samples.len() < expected {
        return Err(Error::TooFewPoints { got: samples.len(), expected });
    }
    let mut candidates = candidates(samples, form, config, &free)?;
    candidates.retain(|(_, cost, _)| cost.is_finite());
    let best = candidates.into_iter().min_by(|p, q| p.1.total_cmp(&q.1));
    let Some((law, cost, not_converged)) = best else {
        return Err(Error::Undetermined { reason: "the search found no finite objective".into() });
    };
    let levels = samples.levels(law.saturation);
    let squares = (0..samples.len()).map(|at| {
        let (value, _) = log10_loss_with_gradient(&law, samples.x[at], levels[samples.level[at]]);
        samples.weight[at] * (value - samples.y[at]).powi(2)
    });
    let mse_log10 = squares.sum::<f64>() / samples.total_weight();
    let is_at_bound = |&which: &Coefficient| {
        let (low, high) = config.bounds_of(which);
        law.coefficient(which).is_some_and(|value| value <= low || value >= high)
    };
    Ok(Fit {
        points: samples.len(),
        mse_log10,
        rmsle: mse_log10.sqrt() * LN_10,
        cost: cost * LN_10 * LN_10,
        at_bound: free.iter().copied().filter(is_at_bound).collect(),
        is_converged: not_converged.is_none(),
        not_converged,
        is_degenerate: law.saturation.is_some_and(|saturation| samples.spread(saturation) < DEGENERATE),
        law,
    })
}

/// The range of `log10 Ê` over the points, 10 %, below which a law is degenerate.
const DEGENERATE: f64 = 0.0414;

/// The minima that the searches found, and those of the nested forms.
fn candidates(samples: &Samples, form: Form, config: &FitConfig, free: &[Coefficient]) -> Result<Vec<Candidate>> {
    let mut profile = Profile::new(samples, form, config);
    if form != Form::Saturating {
        let (law, cost) = profile.solve(None).map_err(|dependent| undetermined(&dependent, samples))?;
        return Ok(if config.is_projected(form) {
            vec![(law, cost, None)]
        } else {
            refined(samples, law, free, config).into_iter().chain(nested(samples, form, None, free, config)).collect()
        });
    }
    let starts = starts(&mut profile, config);
    let mut found = search(&mut profile, samples, &starts, config)?;
    if config.is_projected(form) {
        let best = found.iter().map(|(_, cost, _)| *cost).fold(f64::INFINITY, f64::min);
        let nested = unbounded(config).and_then(|limit| profile.solve(Some(limit)).ok());
        // a limit at infinity must be better by more than rounding errors
        found.extend(nested.filter(|(_, cost)| *cost < best * (1. - 1e-9)).map(|(law, cost)| (law, cost, None)));
        return Ok(found);
    }
    // from where the simpler problem has its minima, and from the starts themselves
    let mut positions: Vec<Law> = found.into_iter().map(|(law, ..)| law).collect();
    for [log2_start, log2_max] in starts {
        positions.extend(profile.solve(Some(Saturation { log2_start, log2_max })).ok().map(|(law, _)| law));
    }
    let others = without_shape(free);
    let mut refinements = Vec::new();
    for law in positions {
        // first with the shape held, so that no start is above the best law of its own shape
        let law = refined(samples, law, &others, config).map_or(law, |(law, ..)| law);
        refinements.extend(refined(samples, law, free, config));
    }
    refinements.extend(unbounded(config).and_then(|limit| nested(samples, form, Some(limit), free, config)));
    Ok(refinements)
}

fn without_shape(free: &[Coefficient]) -> Vec<Coefficient> {
    free.iter().copied().filter(|which| !matches!(which, Coefficient::Log2Start | Coefficient::Log2Max)).collect()
}

/// The form with its shape held, from its simplest case to itself: each fit starts from the one before, so that none is above it.
fn nested(
    samples: &Samples,
    form: Form,
    shape: Option<Saturation>,
    free: &[Coefficient],
    config: &FitConfig,
) -> Option<Candidate> {
    use Form::{Bilinear, Dense, Quadratic, QuadraticInExperts, Separable};
    let free = without_shape(free);
    let mut best: Option<Candidate> = None;
    for simpler in [Dense, Separable, Bilinear, QuadraticInExperts, Quadratic] {
        let is_in = |which: &Coefficient| *which == Coefficient::Irreducible || simpler.terms().contains(which);
        let absent: Vec<Coefficient> = free.iter().copied().filter(|which| !is_in(which)).collect();
        let can_be_zero = |which: &Coefficient| {
            let (low, high) = config.bounds_of(*which);
            low <= 0. && 0. <= high
        };
        if !simpler.terms().iter().all(|term| form.terms().contains(term)) || !absent.iter().all(can_be_zero) {
            continue;
        }
        let mut config = config.clone();
        config.fixed.extend(absent.iter().map(|&which| (which, 0.)));
        let present: Vec<Coefficient> = free.iter().copied().filter(is_in).collect();
        let solved = Profile::new(samples, form, &config).solve(shape).ok().map(|(law, _)| law);
        for start in solved.into_iter().chain(best.map(|(law, ..)| law)) {
            best =
                best.into_iter().chain(refined(samples, start, &present, &config)).min_by(|p, q| p.1.total_cmp(&q.1));
        }
    }
    best
}

fn undetermined(dependent: &Dependent, samples: &Samples) -> Error {
    let mut sizes = samples.x.clone();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let (sizes, experts) = (sizes.len(), samples.experts.len());
    let reason = format!(
        "{sizes} different sizes and {experts} different numbers of experts leave the coefficient {:?} undetermined",
        dependent.0
    );
    Error::Undetermined { reason }
}

/// Levenberg–Marquardt on the coefficients `free` from a law and, with an irreducible loss, from several values of it.
fn refined(samples: &Samples, mut start: Law, free: &[Coefficient], config: &FitConfig) -> Option<Candidate> {
    let huber = match config.loss {
        Loss::Squared => None,
        Loss::Huber { delta } => Some(delta / LN_10),
    };
    let lowest = samples.loss.iter().copied().fold(f64::INFINITY, f64::min);
    if let Some(value) = config.fixed_value(Coefficient::Irreducible) {
        start.irreducible = value;
    }
    let bounds: Vec<_> = free
        .iter()
        .map(|&which| match (which, config.bounds_of(which)) {
            (Coefficient::Irreducible, (low, high)) => (low.max(0.), high.min(lowest).max(low).max(0.)),
            (_, range) => range,
        })
        .collect();
    let with = |position: &[f64]| {
        let mut law = start;
        free.iter().zip(position).for_each(|(&which, &value)| law.set(which, value));
        law
    };
    // The objective has several minima in the irreducible loss, so several values of it are tried, each with a linear fit to the rest.
    let mut levels = Vec::new();
    if config.fits_irreducible {
        levels.extend([0., 0.3, 0.6, 0.85].map(|share| share * lowest));
    } else if start.irreducible > 0. {
        levels.push(start.irreducible);
    }
    let at_level = |irreducible: f64| {
        let mut remaining = samples.clone();
        for (y, loss) in remaining.y.iter_mut().zip(&samples.loss) {
            *y = (loss - irreducible).max(1e-6 * loss).log10();
        }
        let solved = Profile::new(&remaining, start.form, config).solve(start.saturation).ok();
        solved.map(|(solved, _)| Law { irreducible, ..solved })
    };
    let mut best: Option<Candidate> = None;
    for law in std::iter::once(start).chain(levels.into_iter().filter_map(at_level)) {
        let initial: Vec<f64> = free.iter().map(|&which| law.coefficient(which).unwrap_or(0.)).collect();
        let found = minimise(&initial, &bounds, 1000, |position, _| local(samples, &with(position), free, huber));
        if let Some(Found { position, cost, stopped }) = found
            && best.as_ref().is_none_or(|(_, known, _)| cost < *known)
        {
            best = Some((with(&position), cost, stopped));
        }
    }
    best
}
