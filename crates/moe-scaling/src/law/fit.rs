//! Fitting a law to points.

use super::config::{FitConfig, Loss, Starts};
use super::form::{Coefficient, Form};
use super::formula::Law;
use super::levenberg::minimise;
use super::points::{self, Point};
use super::projection::{Dependent, Projection};
use super::residuals::{Samples, free_coefficients, local, log10_loss_with_gradient};
use super::saturation::Saturation;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

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
    /// Coefficients that ended at a bound: the points do not determine them.
    pub at_bound: Vec<Coefficient>,
    /// Whether the search converged.
    pub is_converged: bool,
}

/// Fits a form to points by least squares on `log10 L` (the paper's Eq. 1).
///
/// The saturating form is fitted by *variable projection*: given `E_start` and `E_max` the other coefficients solve a linear least-squares
/// problem, so only these two are searched, by Levenberg–Marquardt from the local minima of a grid. In all six coefficients the objective has a flat,
/// curved valley in which quasi-Newton methods stop early (half of the random starts of the authors' notebook end at 50 times the minimum); in these
/// two it is smooth. With Huber's loss, an irreducible loss, or bounds on linear coefficients, Levenberg–Marquardt on all coefficients refines
/// each result.
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
    let mut projection = Projection::new(samples, form, &config.fixed);
    let mut candidates = if form == Form::Saturating {
        searched(&mut projection, config)?
    } else {
        let (law, cost) = projection.solve(None).map_err(|dependent| undetermined(&dependent, samples))?;
        vec![(law, cost, true)]
    };
    if !config.is_linear(form) {
        candidates = candidates.into_iter().filter_map(|(law, ..)| refined(samples, law, &free, config)).collect();
    }
    let best = candidates.into_iter().min_by(|p, q| p.1.total_cmp(&q.1));
    let Some((law, _, is_converged)) = best else {
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
    let at_bound = free.iter().copied().filter(is_at_bound).collect();
    let rmsle = mse_log10.sqrt() * std::f64::consts::LN_10;
    Ok(Fit { law, points: samples.len(), mse_log10, rmsle, at_bound, is_converged })
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

/// The smallest distance between the exponents of `E_start` and `E_max`.
const GAP: f64 = 0.01;

/// The local minima over `E_start` and `E_max`: law, cost, and whether the search converged.
fn searched(projection: &mut Projection<'_>, config: &FitConfig) -> Result<Vec<(Law, f64, bool)>> {
    let ranges = [Coefficient::Log2Start, Coefficient::Log2Max].map(|which| match config.fixed_value(which) {
        Some(value) => (value, value),
        None => config.bounds_of(which),
    });
    let free: Vec<usize> = (0..2).filter(|&k| ranges[k].0 < ranges[k].1).collect();
    let clamp = |[start, max]: [f64; 2]| {
        let start = start.clamp(ranges[0].0, ranges[0].1);
        [start, max.clamp(ranges[1].0, ranges[1].1).max((start + GAP).min(ranges[1].1))]
    };
    let mut starts: Vec<[f64; 2]> = match &config.starts {
        Starts::Given(starts) => starts.iter().map(|&start| clamp(start)).collect(),
        Starts::Grid { start, max, keep } => grid_minima(projection, ranges, *start, *max, *keep),
    };
    starts.dedup();
    let mut failure = None;
    let mut found = Vec::new();
    for start in starts {
        let saturation = |position: &[f64; 2]| Saturation { log2_start: position[0], log2_max: position[1] };
        match projection.solve(Some(saturation(&start))) {
            Ok((law, cost)) if free.is_empty() => found.push((law, cost, true)),
            Ok(_) => {
                let full = |reduced: &[f64]| {
                    let mut position = start;
                    free.iter().zip(reduced).for_each(|(&k, &value)| position[k] = value);
                    position
                };
                let initial: Vec<f64> = free.iter().map(|&k| start[k]).collect();
                let bounds: Vec<_> = free.iter().map(|&k| ranges[k]).collect();
                let result = minimise(&initial, &bounds, 200, |reduced| {
                    projection.local(saturation(&full(reduced)), &free).map(|(_, local)| local)
                });
                if let Some((reduced, _, is_converged)) = result
                    && let Ok((law, cost)) = projection.solve(Some(saturation(&full(&reduced))))
                {
                    found.push((law, cost, is_converged));
                }
            }
            Err(dependent) => failure = Some(dependent),
        }
    }
    match (found.is_empty(), failure) {
        (true, Some(dependent)) => {
            let term = dependent.0;
            Err(Error::Undetermined {
                reason: format!("the coefficient {term:?} is undetermined; vary both size and experts"),
            })
        }
        (true, None) => Err(Error::Undetermined { reason: "no start lies within the bounds".into() }),
        _ => Ok(found),
    }
}

/// The grid points that are not above any neighbour, best first.
fn grid_minima(
    projection: &mut Projection<'_>,
    ranges: [(f64, f64); 2],
    rows: usize,
    columns: usize,
    keep: usize,
) -> Vec<[f64; 2]> {
    let node = |range: (f64, f64), at: usize, of: usize| {
        if of < 2 { (range.0 + range.1) / 2. } else { range.0 + (range.1 - range.0) * at as f64 / (of - 1) as f64 }
    };
    // wide bounds are cut: nothing changes beyond 2^14 experts
    let start_range = (ranges[0].0, ranges[0].1.min(ranges[0].0.max(7.)));
    let rows = if start_range.0 == start_range.1 { 1 } else { rows };
    let columns = if ranges[1].0 == ranges[1].1 { 1 } else { columns };
    let mut positions = Vec::with_capacity(rows * columns);
    let mut costs = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        let start = node(start_range, row, rows);
        let low = ranges[1].0.max(start + 0.5).min(ranges[1].1);
        let max_range = (low, ranges[1].1.min(low.max(14.)));
        for column in 0..columns {
            let position = [start, node(max_range, column, columns)];
            let saturation = Saturation { log2_start: position[0], log2_max: position[1] };
            positions.push(position);
            costs.push(projection.solve(Some(saturation)).map_or(f64::INFINITY, |(_, cost)| cost));
        }
    }
    let mut minima: Vec<usize> = (0..positions.len())
        .filter(|&at| {
            let (row, column) = (at / columns, at % columns);
            let near = |center: usize, of: usize| center.saturating_sub(1)..(center + 2).min(of);
            costs[at].is_finite()
                && near(row, rows).all(|r| near(column, columns).all(|c| costs[at] <= costs[r * columns + c]))
        })
        .collect();
    if minima.is_empty() {
        // every grid point failed; the search from one of them reports why
        minima.push(0);
    }
    minima.sort_by(|&p, &q| costs[p].total_cmp(&costs[q]));
    minima.into_iter().take(keep).map(|at| positions[at]).collect()
}

/// Levenberg–Marquardt on all free coefficients: law, cost, and whether it converged.
fn refined(samples: &Samples, start: Law, free: &[Coefficient], config: &FitConfig) -> Option<(Law, f64, bool)> {
    let huber = match config.loss {
        Loss::Squared => None,
        Loss::Huber { delta } => Some(delta / std::f64::consts::LN_10),
    };
    let lowest = samples.loss.iter().copied().fold(f64::INFINITY, f64::min);
    let mut start = start;
    start.irreducible = config.fixed_value(Coefficient::Irreducible).unwrap_or(0.);
    let bounds: Vec<_> = free
        .iter()
        .map(|&which| match (which, config.bounds_of(which)) {
            (Coefficient::Irreducible, (low, high)) => (low.max(0.), high.min(lowest)),
            (_, range) => range,
        })
        .collect();
    let with = |position: &[f64]| {
        let mut law = start;
        free.iter().zip(position).for_each(|(&which, &value)| law.set(which, value));
        law
    };
    // The objective has several minima in the irreducible loss, so several values of it are tried, each with a linear fit to the rest.
    let levels: &[f64] = if config.fits_irreducible { &[0., 0.3, 0.6, 0.85] } else { &[0.] };
    let mut best: Option<(Law, f64, bool)> = None;
    for level in levels {
        let mut law = start;
        if config.fits_irreducible || law.irreducible > 0. {
            if config.fits_irreducible {
                law.irreducible = level * lowest;
            }
            let mut remaining = samples.clone();
            for (y, loss) in remaining.y.iter_mut().zip(&samples.loss) {
                *y = (loss - law.irreducible).max(1e-6 * loss).log10();
            }
            let solved = Projection::new(&remaining, law.form, &config.fixed).solve(law.saturation).ok();
            if let Some((solved, _)) = solved {
                law = Law { irreducible: law.irreducible, ..solved };
            }
        }
        let initial: Vec<f64> = free.iter().map(|&which| law.coefficient(which).unwrap_or(0.)).collect();
        let found = minimise(&initial, &bounds, 1000, |position| local(samples, &with(position), free, huber));
        if let Some((position, cost, is_converged)) = found
            && best.as_ref().is_none_or(|(_, known, _)| cost < *known)
        {
            best = Some((with(&position), cost, is_converged));
        }
    }
    best
}
