//! The search over `E_start` and `E_max`: the local minima of a grid, or given starts, each followed to its minimum.

use super::config::{FitConfig, Loss, Starts};
use super::form::{Coefficient, Form};
use super::formula::Law;
use super::huber::Huber;
use super::levenberg::{Local, minimise};
use super::projection::{Dependent, Projection};
use super::residuals::Samples;
use super::saturation::Saturation;
use super::stop::NotConverged;
use crate::{Error, Result};

/// The smallest distance between the exponents of `E_start` and `E_max` of a start.
const GAP: f64 = 0.01;

/// The smallest range of `log10 Ê` over the points at which the coefficients can be told apart: they are as large as its inverse.
const LEAST_SPREAD: f64 = 1e-6;

/// A law, its cost, and why its search did not converge.
pub(super) type Candidate = (Law, f64, Option<NotConverged>);

/// The cost of the best law for a given saturation, in which the other coefficients are free.
pub(super) enum Profile<'a> {
    Squared(Box<Projection<'a>>),
    Huber(Box<Huber<'a>>),
}

impl<'a> Profile<'a> {
    pub(super) fn new(samples: &'a Samples, form: Form, config: &FitConfig) -> Self {
        let projection = Projection::new(samples, form, &config.fixed);
        match config.loss {
            Loss::Squared => Self::Squared(Box::new(projection)),
            Loss::Huber { delta } => Self::Huber(Box::new(Huber::new(projection, delta / std::f64::consts::LN_10))),
        }
    }

    pub(super) fn solve(&mut self, saturation: Option<Saturation>) -> std::result::Result<(Law, f64), Dependent> {
        match self {
            Self::Squared(projection) => projection.solve(saturation),
            Self::Huber(huber) => huber.solve(saturation),
        }
    }

    fn local(&mut self, saturation: Saturation, free: &[usize], limit: f64) -> Option<Local> {
        match self {
            Self::Squared(projection) => projection.local(saturation, free).map(|(_, local)| local),
            Self::Huber(huber) => huber.local(saturation, free, limit),
        }
    }
}

fn saturation(position: &[f64; 2]) -> Saturation {
    Saturation { log2_start: position[0], log2_max: position[1] }
}

/// The ranges of both exponents; a fixed one is a range of one value.
fn ranges(config: &FitConfig) -> [(f64, f64); 2] {
    [Coefficient::Log2Start, Coefficient::Log2Max].map(|which| match config.fixed_value(which) {
        Some(value) => (value, value),
        None => config.bounds_of(which),
    })
}

/// The bilinear form as a limit of the saturating one: `E_start = 1` and `E_max = ∞`. None where the settings exclude it; an upper bound of 20 or more is
/// taken for no bound.
pub(super) fn unbounded(config: &FitConfig) -> Option<Saturation> {
    let [start, max] = ranges(config);
    let is_allowed = start.0 <= 0. && 0. <= start.1 && max.1 >= 20.;
    is_allowed.then_some(Saturation { log2_start: 0., log2_max: f64::INFINITY })
}

/// The starting points within the bounds.
pub(super) fn starts(profile: &mut Profile<'_>, config: &FitConfig) -> Vec<[f64; 2]> {
    let ranges = ranges(config);
    let clamp = |[start, max]: [f64; 2]| {
        let start = start.clamp(ranges[0].0, ranges[0].1);
        [start, max.clamp(ranges[1].0, ranges[1].1).max((start + GAP).min(ranges[1].1))]
    };
    let mut starts: Vec<[f64; 2]> = match &config.starts {
        Starts::Given(starts) => starts.iter().map(|&start| clamp(start)).collect(),
        Starts::Grid { start, max, keep } => grid_minima(profile, ranges, *start, *max, *keep),
    };
    starts.dedup();
    starts
}

/// How far around the best minimum of a robust cost, in both exponents, its neighbours are looked for, and in how many steps to each side.
const NEAR: (f64, i32) = (0.75, 4);

/// The minima over `E_start` and `E_max` to which the starts lead. A robust cost has shallow minima side by side, so the best one's neighbourhood is searched too.
pub(super) fn search(
    profile: &mut Profile<'_>,
    samples: &Samples,
    starts: &[[f64; 2]],
    config: &FitConfig,
) -> Result<Vec<Candidate>> {
    let mut found = descend(profile, samples, starts, config)?;
    let ranges = ranges(config);
    if !matches!(profile, Profile::Huber(_)) || ranges.iter().all(|(low, high)| low >= high) {
        return Ok(found);
    }
    for _ in 0..3 {
        let best = found.iter().min_by(|p, q| p.1.total_cmp(&q.1));
        let Some((Law { saturation: Some(shape), .. }, cost, _)) = best.copied() else { break };
        let neighbours = neighbours(profile, shape, ranges);
        let further = descend(profile, samples, &neighbours, config).unwrap_or_default();
        let is_better = further.iter().any(|(_, there, _)| *there < cost * (1. - 1e-9));
        found.extend(further);
        if !is_better {
            break;
        }
    }
    Ok(found)
}

/// The minima of a fine grid around a shape, without the shape itself: at most four, the best first.
fn neighbours(
    profile: &mut Profile<'_>,
    shape: Saturation,
    [start_range, max_range]: [(f64, f64); 2],
) -> Vec<[f64; 2]> {
    let (distance, steps) = NEAR;
    let side = 2 * steps + 1;
    let mut nodes = Vec::with_capacity((side * side) as usize);
    for row in -steps..=steps {
        for column in -steps..=steps {
            let moved = |from: f64, step: i32, (low, high): (f64, f64)| {
                (from + distance * f64::from(step) / f64::from(steps)).clamp(low, high)
            };
            let position = [moved(shape.log2_start, row, start_range), moved(shape.log2_max, column, max_range)];
            let cost = match profile.solve(Some(saturation(&position))) {
                Ok((_, cost)) if position[1] - position[0] >= GAP => cost,
                _ => f64::INFINITY,
            };
            nodes.push((position, cost));
        }
    }
    let cost = |row: i32, column: i32| match (0..side).contains(&row) && (0..side).contains(&column) {
        true => nodes[(row * side + column) as usize].1,
        false => f64::INFINITY,
    };
    let mut minima: Vec<([f64; 2], f64)> = (0..side * side)
        .map(|at| (at / side, at % side))
        .filter(|&(row, column)| {
            let here = cost(row, column);
            let around = (-1..=1).flat_map(|i| (-1..=1).map(move |j| (i, j))).filter(|&step| step != (0, 0));
            (row, column) != (steps, steps)
                && here.is_finite()
                && around.map(|(i, j)| cost(row + i, column + j)).all(|there| here <= there)
        })
        .map(|(row, column)| nodes[(row * side + column) as usize])
        .collect();
    minima.sort_by(|p, q| p.1.total_cmp(&q.1));
    minima.truncate(4);
    minima.into_iter().map(|(position, _)| position).collect()
}

/// Each start followed to its minimum.
fn descend(
    profile: &mut Profile<'_>,
    samples: &Samples,
    starts: &[[f64; 2]],
    config: &FitConfig,
) -> Result<Vec<Candidate>> {
    let ranges = ranges(config);
    let free: Vec<usize> = (0..2).filter(|&k| ranges[k].0 < ranges[k].1).collect();
    let mut failure = None;
    let mut found = Vec::new();
    for &start in starts {
        match profile.solve(Some(saturation(&start))) {
            Ok((law, cost)) if free.is_empty() => found.push((law, cost, None)),
            Ok((law, cost)) => {
                let full = |reduced: &[f64]| {
                    let mut position = start;
                    free.iter().zip(reduced).for_each(|(&k, &value)| position[k] = value);
                    position
                };
                let initial: Vec<f64> = free.iter().map(|&k| start[k]).collect();
                let bounds: Vec<_> = free.iter().map(|&k| ranges[k]).collect();
                let result = minimise(&initial, &bounds, 200, |reduced, limit| {
                    let here = saturation(&full(reduced));
                    if samples.spread(here) < LEAST_SPREAD { None } else { profile.local(here, &free, limit) }
                });
                let end = result.and_then(|end| {
                    let (law, cost) = profile.solve(Some(saturation(&full(&end.position)))).ok()?;
                    Some((law, cost, end.stopped))
                });
                // rounding errors must not make it worse than its start
                found.push(match end {
                    Some(end) if end.1 <= cost => end,
                    _ => (law, cost, Some(NotConverged::Stalled)),
                });
            }
            Err(dependent) => failure = Some(dependent),
        }
    }
    if free.len() == 2 {
        let best = found.iter().map(|(_, cost, _)| *cost).fold(f64::INFINITY, f64::min);
        for candidate in &mut found {
            let Some(shape) = candidate.0.saturation else { continue };
            let is_in_valley = candidate.2.is_some() || samples.spread(shape) < NARROW;
            if is_in_valley
                && candidate.1 <= best * (1. + HOPELESS)
                && let Some(further) = along_reach(profile, samples, shape, ranges)
                && (further.1 < candidate.1 * (1. - 1e-9) || candidate.2.is_some() && further.1 <= candidate.1)
            {
                *candidate = further;
            }
        }
    }
    match (found.is_empty(), failure) {
        (true, Some(Dependent(term))) => Err(Error::Undetermined {
            reason: format!("the coefficient {term:?} is undetermined; vary both size and experts"),
        }),
        (true, None) => Err(Error::Undetermined { reason: "no start lies within the bounds".into() }),
        _ => Ok(found),
    }
}

/// The range of `log10 Ê` over the points below which the valley of the cost is searched along its axis.
const NARROW: f64 = 0.3;

/// The part by which a search along the valley does not lower the cost: a minimum so far above the best is left alone.
const HOPELESS: f64 = 0.2;

/// The search from a shape in `log2 E_start` and `log2 R` with the reach `R = 1/(1/E_start − 1/E_max)`. Where `E_start` and `E_max` are near each other the cost
/// depends on `R` almost alone, which in the exponents of both is a narrow, curved valley.
fn along_reach(
    profile: &mut Profile<'_>,
    samples: &Samples,
    from: Saturation,
    [start_range, max_range]: [(f64, f64); 2],
) -> Option<Candidate> {
    // the distance of the exponents, without cancellation
    let gap = |start: f64, reach: f64| -(-(start - reach).exp2()).ln_1p() / std::f64::consts::LN_2;
    let shape = |position: &[f64]| {
        let (log2_start, log2_max) = (position[0], position[0] + gap(position[0], position[1]));
        let is_within = position[1] > position[0] && (max_range.0..=max_range.1).contains(&log2_max);
        is_within.then_some(Saturation { log2_start, log2_max })
    };
    let reach = from.log2_start - (1. - (from.log2_start - from.log2_max).exp2()).log2();
    let end = minimise(
        &[from.log2_start, reach],
        &[start_range, (start_range.0, start_range.0.max(80.))],
        500,
        |position, limit| {
            let here = shape(position).filter(|&here| samples.spread(here) >= LEAST_SPREAD)?;
            let mut local = profile.local(here, &[0, 1], limit)?;
            // the chain rule: rows are the derivatives of both exponents by start and reach
            let jacobian =
                [[1., 0.], [(here.log2_max - here.log2_start).exp2(), -(here.log2_max - position[1]).exp2()]];
            let (gradient, curvature) = (local.gradient, local.curvature);
            for i in 0..2 {
                local.gradient[i] = (0..2).map(|k| jacobian[k][i] * gradient[k]).sum();
                for j in 0..2 {
                    let entries = (0..4).map(|kl| (kl / 2, kl % 2));
                    local.curvature[i][j] =
                        entries.map(|(k, l)| jacobian[k][i] * curvature[k][l] * jacobian[l][j]).sum();
                }
            }
            Some(local)
        },
    )?;
    let here = shape(&end.position)?;
    let (law, cost) = profile.solve(Some(here)).ok()?;
    let is_collapsed = samples.spread(here) < 1e-3;
    Some((law, cost, end.stopped.map(|why| if is_collapsed { NotConverged::Collapsed } else { why })))
}

/// The grid points that are not above any neighbour, best first.
fn grid_minima(
    profile: &mut Profile<'_>,
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
            positions.push(position);
            costs.push(profile.solve(Some(saturation(&position))).map_or(f64::INFINITY, |(_, cost)| cost));
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
