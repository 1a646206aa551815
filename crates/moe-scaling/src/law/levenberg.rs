//! Levenberg–Marquardt for a few bounded parameters.

use super::form::Coefficient;
use super::stop::NotConverged;

/// The largest number of parameters of a fit.
pub(super) const MAX: usize = Coefficient::COUNT;

/// Half a sum of squares at one position, its gradient, and the Gauss–Newton matrix.
pub(super) struct Local {
    pub(super) cost: f64,
    pub(super) gradient: [f64; MAX],
    pub(super) curvature: [[f64; MAX]; MAX],
}

/// Where a search ended.
pub(super) struct Found {
    pub(super) position: Vec<f64>,
    pub(super) cost: f64,
    /// `None` if it converged.
    pub(super) stopped: Option<NotConverged>,
}

/// Minimises from `start` within `bounds`. `local` returns `None` where the objective is undefined, and may do so where it is above the second argument; the result is
/// `None` if it does at the start.
///
/// A parameter at a bound that a step would cross is fixed for that step. The damping is Marquardt's, in the scale of each parameter.
pub(super) fn minimise(
    start: &[f64],
    bounds: &[(f64, f64)],
    max_iterations: usize,
    mut local: impl FnMut(&[f64], f64) -> Option<Local>,
) -> Option<Found> {
    let mut position: Vec<f64> = start.iter().zip(bounds).map(|(&p, &(low, high))| p.clamp(low, high)).collect();
    let mut here = local(&position, f64::INFINITY).filter(|here| here.cost.is_finite())?;
    let mut damping = 1e-3;
    for _ in 0..max_iterations {
        let is_free = free(&position, bounds, &here);
        let Some(step) = damped_step(&here, &is_free, damping) else {
            damping *= 10.;
            if damping > 1e12 {
                return Some(ended(position, bounds, here));
            }
            continue;
        };
        let next: Vec<f64> =
            position.iter().zip(&step).zip(bounds).map(|((p, s), &(low, high))| (p + s).clamp(low, high)).collect();
        let moved = next.iter().zip(&position).map(|(a, b)| (a - b).abs() / (1. + b.abs())).fold(0., f64::max);
        match local(&next, here.cost) {
            Some(there) if there.cost <= here.cost => {
                let gain = here.cost - there.cost;
                let is_done = gain <= 1e-15 * here.cost && moved < 1e-7;
                (position, here) = (next, there);
                damping = (damping * 0.2).max(1e-12);
                if is_done || here.cost == 0. {
                    return Some(ended(position, bounds, here));
                }
            }
            _ => {
                // no smaller value can be told apart from rounding errors
                if moved < 1e-12 {
                    return Some(ended(position, bounds, here));
                }
                damping *= 5.;
                if damping > 1e12 {
                    return Some(ended(position, bounds, here));
                }
            }
        }
    }
    let stopped = ended(position, bounds, here);
    Some(Found { stopped: stopped.stopped.map(|_| NotConverged::IterationLimit), ..stopped })
}

/// The parameters that are not held by a bound.
fn free(position: &[f64], bounds: &[(f64, f64)], here: &Local) -> Vec<bool> {
    let is_free = |k: usize| {
        let (low, high) = bounds[k];
        !((position[k] <= low && here.gradient[k] > 0.) || (position[k] >= high && here.gradient[k] < 0.))
    };
    (0..position.len()).map(is_free).collect()
}

/// Errors of `log10 L` below 1e-10 are rounding.
const NO_COST: f64 = 1e-20;

/// It is a minimum if no single parameter promises to lower the cost noticeably.
fn ended(position: Vec<f64>, bounds: &[(f64, f64)], here: Local) -> Found {
    let promised = (0..position.len())
        .zip(free(&position, bounds, &here))
        .filter(|&(k, is_free)| is_free && here.gradient[k] != 0.)
        .map(|(k, _)| here.gradient[k].powi(2) / here.curvature[k][k])
        .fold(0., f64::max);
    let is_minimum = here.cost <= NO_COST || promised <= 1e-8 * here.cost;
    Found { position, cost: here.cost, stopped: (!is_minimum).then_some(NotConverged::Stalled) }
}

/// `−(H + damping · diag H)⁻¹ g` over the free parameters, zero for the others.
fn damped_step(here: &Local, is_free: &[bool], damping: f64) -> Option<Vec<f64>> {
    let free: Vec<usize> = (0..is_free.len()).filter(|&k| is_free[k]).collect();
    let mut matrix = [[0.; MAX]; MAX];
    let mut right = [0.; MAX];
    // scaled so that the diagonal is 1
    let scale: Vec<f64> = free.iter().map(|&k| here.curvature[k][k].sqrt().max(f64::MIN_POSITIVE.sqrt())).collect();
    for (row, &i) in free.iter().enumerate() {
        right[row] = -here.gradient[i] / scale[row];
        for (col, &j) in free.iter().enumerate().take(row + 1) {
            matrix[row][col] = here.curvature[i][j] / (scale[row] * scale[col]);
        }
        matrix[row][row] = 1. + damping;
    }
    // Cholesky
    for row in 0..free.len() {
        for col in 0..=row {
            let dot: f64 = (0..col).map(|k| matrix[row][k] * matrix[col][k]).sum();
            let value = matrix[row][col] - dot;
            if row == col {
                if value.is_nan() || value <= 0. {
                    return None;
                }
                matrix[row][row] = value.sqrt();
            } else {
                matrix[row][col] = value / matrix[col][col];
            }
        }
        let dot: f64 = (0..row).map(|k| matrix[row][k] * right[k]).sum();
        right[row] = (right[row] - dot) / matrix[row][row];
    }
    for row in (0..free.len()).rev() {
        let dot: f64 = (row + 1..free.len()).map(|k| matrix[k][row] * right[k]).sum();
        right[row] = (right[row] - dot) / matrix[row][row];
    }
    let mut step = vec![0.; is_free.len()];
    for (at, &k) in free.iter().enumerate() {
        step[k] = right[at] / scale[at];
    }
    step.iter().all(|s| s.is_finite()).then_some(step)
}
