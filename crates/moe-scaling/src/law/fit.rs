//! Fitting a law to points.

use super::bootstrap::{Bootstrap, Interval, bootstrap, leave_one_out};
use super::levenberg::minimise;
use super::projection::{Dependent, Projection};
use super::residuals::{Samples, free_coefficients, local};
use super::{Coefficient, Form, Law, Point, Saturation, points};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// What is minimised over the errors of `log10 L`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Their squares, as in the paper.
    Squared,
    /// Squares up to `delta`, straight lines beyond: outliers pull with a constant force.
    Huber {
        /// In natural-log units: 0.01 is about one per cent of the loss.
        delta: f64,
    },
}

/// Where the search for `E_start` and `E_max` begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Starts {
    /// All local minima of a grid, at most `keep` of them.
    Grid {
        /// Nodes along `log2 E_start`.
        start: usize,
        /// Nodes along `log2 E_max`.
        max: usize,
        /// How many local minima are followed.
        keep: usize,
    },
    /// These pairs `[log2 E_start, log2 E_max]`, moved into the bounds.
    Given(Vec<[f64; 2]>),
}

/// How a law is fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FitOptions {
    /// Default: squared errors.
    pub loss: Loss,
    /// Default: a grid of 12 by 14, of which 6 minima are followed.
    pub starts: Starts,
    /// Coefficients that keep a value. Default: none.
    pub fixed: Vec<(Coefficient, f64)>,
    /// Ranges of coefficients. Default: `log2 E_start` and `log2 E_max` in `[0, 20]`; the first stays below the second in any case.
    pub bounds: Vec<(Coefficient, (f64, f64))>,
    /// Whether a loss that no model gets below is fitted too. Default: no, as in the paper.
    pub fits_irreducible: bool,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            loss: Loss::Squared,
            starts: Starts::Grid { start: 12, max: 14, keep: 6 },
            fixed: Vec::new(),
            bounds: vec![(Coefficient::Log2Start, (0., 20.)), (Coefficient::Log2Max, (0., 20.))],
            fits_irreducible: false,
        }
    }
}

impl FitOptions {
    /// For points in compute `F` and parameter utilisation `B`, where the transform's start may lie below 1: `log2 B_start` in `[−10, 20]`.
    pub fn flops_and_utilisation() -> Self {
        let bounds = vec![(Coefficient::Log2Start, (-10., 20.)), (Coefficient::Log2Max, (-10., 20.))];
        Self { bounds, ..Self::default() }
    }

    fn bounds_of(&self, which: Coefficient) -> (f64, f64) {
        let unbounded = match which {
            Coefficient::Irreducible => (0., f64::INFINITY),
            Coefficient::Log2Start | Coefficient::Log2Max => (-20., 40.),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        };
        self.bounds.iter().rev().find(|(name, _)| *name == which).map_or(unbounded, |(_, range)| *range)
    }

    fn fixed_value(&self, which: Coefficient) -> Option<f64> {
        self.fixed.iter().find(|(name, _)| *name == which).map(|(_, value)| *value)
    }

    pub(crate) fn check(&self, form: Form) -> Result<()> {
        if let Loss::Huber { delta } = self.loss
            && !(delta.is_finite() && delta > 0.)
        {
            return Err(Error::options("Huber's delta", format!("{delta} is not a finite number above 0")));
        }
        let is_of_form = |which: Coefficient| {
            form.terms().contains(&which)
                || which == Coefficient::Irreducible
                || (form == Form::Saturating && which >= Coefficient::Log2Start)
        };
        for &(which, value) in &self.fixed {
            if !is_of_form(which) {
                return Err(Error::options("a fixed coefficient", format!("{form:?} has no {which:?}")));
            }
            if !value.is_finite() || (which == Coefficient::Irreducible && value < 0.) {
                return Err(Error::options("a fixed coefficient", format!("{which:?} cannot be {value}")));
            }
        }
        for &(which, (low, high)) in &self.bounds {
            if low.is_nan() || high.is_nan() || low > high {
                return Err(Error::options("a bound", format!("{which:?} in [{low}, {high}] is empty")));
            }
        }
        if let Starts::Grid { start, max, keep } = self.starts
            && (start == 0 || max == 0 || keep == 0)
        {
            return Err(Error::options(
                "the grid of starts",
                "a grid needs at least one node and one minimum to follow",
            ));
        }
        match &self.starts {
            Starts::Given(starts) if starts.is_empty() => Err(Error::options("the starts", "there is none")),
            Starts::Given(starts) if starts.iter().flatten().any(|s| !s.is_finite()) => {
                Err(Error::options("the starts", "one of them is not finite"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the coefficients besides the shape are a linear problem.
    fn is_linear(&self, form: Form) -> bool {
        let is_bounded = |&term: &Coefficient| self.bounds.iter().any(|(name, _)| *name == term);
        let irreducible = self.fixed_value(Coefficient::Irreducible).unwrap_or(0.);
        self.loss == Loss::Squared
            && !self.fits_irreducible
            && irreducible == 0.
            && !form.terms().iter().any(is_bounded)
    }
}

/// A fitted law and how well it fits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The coefficients.
    pub law: Law,
    /// How many points had a weight.
    pub points: usize,
    /// Weighted mean of the squared errors of `log10 L`, whatever was minimised.
    pub mse_log10: f64,
    /// Root mean square of the errors of `ln L`: `√mse · ln 10`, about the relative error of the loss.
    pub rmsle: f64,
    /// Coefficients that ended at one of their bounds: the points do not determine them.
    pub at_bound: Vec<Coefficient>,
    /// Whether the search came to rest.
    pub is_converged: bool,
}

/// Fits a form to points, by least squares on `log10 L`.
///
/// The saturating form is solved by *variable projection*: for given `E_start` and `E_max` the other coefficients follow from linear least
/// squares, and the two are searched by Levenberg–Marquardt from every local minimum of a grid. The objective's flat, curved valley, in which
/// quasi-Newton methods on all six coefficients stop early or go astray (half of the random starts of the paper's notebook end 50 times above
/// the optimum), is a smooth bowl in these two. With a Huber loss, an irreducible loss, or bounds on linear coefficients, the result is
/// refined by Levenberg–Marquardt on all coefficients from each of those minima.
///
/// ```
/// use moe_scaling::law::{FitOptions, Form, Law, Point, fit};
/// # fn main() -> moe_scaling::Result<()> {
/// let truth = Law::saturating(-0.083, -0.118, 0.01, 1.11, 2., 240.);
/// let points: Vec<Point> = [1.5e7, 5.5e7, 3.7e8, 1.3e9]
///     .into_iter()
///     .flat_map(|n| [1., 4., 16., 64., 256.].map(|e| Point::new(n, e, truth.predict(n, e))))
///     .collect();
/// let fit = fit(&points, Form::Saturating, &FitOptions::default())?;
/// assert!(fit.rmsle < 1e-6);
/// assert!((fit.law.predict(1e9, 128.) / truth.predict(1e9, 128.) - 1.).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When a point's numbers are not finite, a size or loss is not positive, or `E < 1`; when there are fewer points than coefficients, or they do
/// not determine them (all of one size, say); when options contradict each other.
pub fn fit(points: &[Point], form: Form, options: &FitOptions) -> Result<Fit> {
    points::check(points)?;
    options.check(form)?;
    fit_samples(&Samples::new(points), form, options)
}

pub(crate) fn fit_samples(samples: &Samples, form: Form, options: &FitOptions) -> Result<Fit> {
    let free = free_coefficients(form, &options.fixed, options.fits_irreducible);
    let needed = free.len().max(1);
    if samples.len() < needed {
        return Err(Error::TooFewPoints { points: samples.len(), needed });
    }
    let mut projection = Projection::new(samples, form, &options.fixed);
    let mut candidates = if form == Form::Saturating {
        searched(&mut projection, options)?
    } else {
        let (law, cost) = projection.solve(None).map_err(|dependent| undetermined(&dependent, samples))?;
        vec![(law, cost, true)]
    };
    if !options.is_linear(form) {
        candidates = candidates.into_iter().filter_map(|(law, ..)| refined(samples, law, &free, options)).collect();
    }
    let best = candidates.into_iter().min_by(|p, q| p.1.total_cmp(&q.1));
    let Some((law, _, is_converged)) = best else {
        return Err(Error::Undetermined { reason: "the search found no finite value".into() });
    };
    let levels = samples.levels(law.saturation);
    let squares = (0..samples.len()).map(|at| {
        let (value, _) = super::residuals::log10_loss_with_gradient(&law, samples.x[at], levels[samples.level[at]]);
        samples.weight[at] * (value - samples.y[at]).powi(2)
    });
    let mse_log10 = squares.sum::<f64>() / samples.total_weight();
    let is_at_bound = |&which: &Coefficient| {
        let (low, high) = options.bounds_of(which);
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
        "{sizes} different sizes and {experts} different numbers of experts leave the coefficient {:?} open",
        dependent.0
    );
    Error::Undetermined { reason }
}

/// The smallest distance between the exponents of `E_start` and `E_max`.
const GAP: f64 = 0.01;

/// The local minima over `E_start` and `E_max`.
fn searched(projection: &mut Projection<'_>, options: &FitOptions) -> Result<Vec<(Law, f64, bool)>> {
    let ranges = [Coefficient::Log2Start, Coefficient::Log2Max].map(|which| match options.fixed_value(which) {
        Some(value) => (value, value),
        None => options.bounds_of(which),
    });
    let free: Vec<usize> = (0..2).filter(|&k| ranges[k].0 < ranges[k].1).collect();
    let clamp = |[start, max]: [f64; 2]| {
        let start = start.clamp(ranges[0].0, ranges[0].1);
        [start, max.clamp(ranges[1].0, ranges[1].1).max((start + GAP).min(ranges[1].1))]
    };
    let mut starts: Vec<[f64; 2]> = match &options.starts {
        Starts::Given(starts) => starts.iter().map(|&start| clamp(start)).collect(),
        Starts::Grid { start, max, keep } => grid_minima(projection, ranges, *start, *max, *keep),
    };
    starts.dedup();
    let mut failure = None;
    let mut found = Vec::new();
    for start in starts {
        let saturation = |place: &[f64; 2]| Saturation { log2_start: place[0], log2_max: place[1] };
        match projection.solve(Some(saturation(&start))) {
            Ok((law, cost)) if free.is_empty() => found.push((law, cost, true)),
            Ok(_) => {
                let full = |reduced: &[f64]| {
                    let mut place = start;
                    free.iter().zip(reduced).for_each(|(&k, &value)| place[k] = value);
                    place
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
                reason: format!("they leave the coefficient {term:?} open; vary both size and experts"),
            })
        }
        (true, None) => Err(Error::Undetermined { reason: "no start lies within the bounds".into() }),
        _ => Ok(found),
    }
}

/// The nodes of a grid that are not above any of their neighbours, best first.
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
    // the useful part of wide bounds: beyond 2^14 experts nothing changes
    let start_range = (ranges[0].0, ranges[0].1.min(ranges[0].0.max(7.)));
    let rows = if start_range.0 == start_range.1 { 1 } else { rows };
    let columns = if ranges[1].0 == ranges[1].1 { 1 } else { columns };
    let mut places = Vec::with_capacity(rows * columns);
    let mut costs = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        let start = node(start_range, row, rows);
        let low = ranges[1].0.max(start + 0.5).min(ranges[1].1);
        let max_range = (low, ranges[1].1.min(low.max(14.)));
        for column in 0..columns {
            let place = [start, node(max_range, column, columns)];
            let saturation = Saturation { log2_start: place[0], log2_max: place[1] };
            places.push(place);
            costs.push(projection.solve(Some(saturation)).map_or(f64::INFINITY, |(_, cost)| cost));
        }
    }
    let mut minima: Vec<usize> = (0..places.len())
        .filter(|&at| {
            let (row, column) = (at / columns, at % columns);
            let near = |center: usize, of: usize| center.saturating_sub(1)..(center + 2).min(of);
            costs[at].is_finite()
                && near(row, rows).all(|r| near(column, columns).all(|c| costs[at] <= costs[r * columns + c]))
        })
        .collect();
    if minima.is_empty() {
        // every node failed: one of them, so that the search can say why
        minima.push(0);
    }
    minima.sort_by(|&p, &q| costs[p].total_cmp(&costs[q]));
    minima.into_iter().take(keep).map(|at| places[at]).collect()
}

/// Levenberg–Marquardt on every free coefficient.
fn refined(samples: &Samples, start: Law, free: &[Coefficient], options: &FitOptions) -> Option<(Law, f64, bool)> {
    let huber = match options.loss {
        Loss::Squared => None,
        Loss::Huber { delta } => Some(delta / std::f64::consts::LN_10),
    };
    let lowest = samples.loss.iter().copied().fold(f64::INFINITY, f64::min);
    let mut start = start;
    start.irreducible = options.fixed_value(Coefficient::Irreducible).unwrap_or(0.);
    let bounds: Vec<_> = free
        .iter()
        .map(|&which| match (which, options.bounds_of(which)) {
            (Coefficient::Irreducible, (low, high)) => (low.max(0.), high.min(lowest)),
            (_, range) => range,
        })
        .collect();
    let with = |place: &[f64]| {
        let mut law = start;
        free.iter().zip(place).for_each(|(&which, &value)| law.set(which, value));
        law
    };
    // An irreducible loss bends the valley: several levels of it are tried, each from the linear fit to what remains.
    let levels: &[f64] = if options.fits_irreducible { &[0., 0.3, 0.6, 0.85] } else { &[0.] };
    let mut best: Option<(Law, f64, bool)> = None;
    for level in levels {
        let mut law = start;
        if options.fits_irreducible || law.irreducible > 0. {
            if options.fits_irreducible {
                law.irreducible = level * lowest;
            }
            let mut remaining = samples.clone();
            for (y, loss) in remaining.y.iter_mut().zip(&samples.loss) {
                *y = (loss - law.irreducible).max(1e-6 * loss).log10();
            }
            let solved = Projection::new(&remaining, law.form, &options.fixed).solve(law.saturation).ok();
            if let Some((solved, _)) = solved {
                law = Law { irreducible: law.irreducible, ..solved };
            }
        }
        let initial: Vec<f64> = free.iter().map(|&which| law.coefficient(which).unwrap_or(0.)).collect();
        let found = minimise(&initial, &bounds, 1000, |place| local(samples, &with(place), free, huber));
        if let Some((place, cost, is_converged)) = found
            && best.as_ref().is_none_or(|(_, known, _)| cost < *known)
        {
            best = Some((with(&place), cost, is_converged));
        }
    }
    best
}

/// A fit with its uncertainty, ready to be written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// The fit to all points.
    pub fit: Fit,
    /// Root mean square of the errors of `ln L`, each point predicted from all others.
    pub leave_one_out_rmsle: f64,
    /// Resamples that could be fitted; the intervals rest on these.
    pub resamples: usize,
    /// Percentile intervals of the free coefficients.
    pub intervals: Vec<(Coefficient, Interval)>,
    /// The size from which on routing no longer helps, with its interval over the resamples that have one.
    pub cutoff: Option<(f64, Interval)>,
}

/// [`fit()`], [`leave_one_out()`] and [`bootstrap()`] in one, with intervals of the given level (0.95).
///
/// # Errors
///
/// As for [`fit()`], and when no resample can be fitted.
pub fn analyse(
    points: &[Point],
    form: Form,
    options: &FitOptions,
    resamples: usize,
    level: f64,
    seed: u64,
) -> Result<Analysis> {
    let fit = fit(points, form, options)?;
    let leave_one_out_rmsle = leave_one_out(points, form, options)?.rmsle;
    let samples: Bootstrap = bootstrap(points, form, options, resamples, seed)?;
    let free = free_coefficients(form, &options.fixed, options.fits_irreducible);
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
