//! Levenberg–Marquardt for a few bounded parameters.

use super::form::Coefficient;

/// The largest number of parameters of a fit.
pub(super) const MAX: usize = Coefficient::COUNT;

/// Half a sum of squares at one position, its gradient, and the Gauss–Newton matrix.
pub(super) struct Local {
    pub(super) cost: f64,
    pub(super) gradient: [f64; MAX],
    pub(super) curvature: [[f64; MAX]; MAX],
}

/// Minimises from `start` within `bounds`. `local` returns `None` where the objective is undefined. Returns the position, its cost, and whether the
/// search converged.
///
/// A parameter at a bound that a step would cross is fixed for that step. The damping is Marquardt's, in the scale of each parameter.
pub(super) fn minimise(
    start: &[f64],
    bounds: &[(f64, f64)],
    max_iterations: usize,
    mut local: impl FnMut(&[f64]) -> Option<Local>,
) -> Option<(Vec<f64>, f64, bool)> {
    let n = start.len();
    let mut position: Vec<f64> = start.iter().zip(bounds).map(|(&p, &(low, high))| p.clamp(low, high)).collect();
    let mut here = local(&position).filter(|here| here.cost.is_finite())?;
    let mut damping = 1e-3;
    for _ in 0..max_iterations {
        let is_free: Vec<bool> = (0..n)
            .map(|k| {
                let (low, high) = bounds[k];
                !((position[k] <= low && here.gradient[k] > 0.) || (position[k] >= high && here.gradient[k] < 0.))
            })
            .collect();
        let Some(step) = damped_step(&here, &is_free, damping) else {
            damping *= 10.;
            if damping > 1e12 {
                return Some((position, here.cost, false));
            }
            continue;
        };
        let next: Vec<f64> =
            position.iter().zip(&step).zip(bounds).map(|((p, s), &(low, high))| (p + s).clamp(low, high)).collect();
        let moved = next.iter().zip(&position).map(|(a, b)| (a - b).abs() / (1. + b.abs())).fold(0., f64::max);
        match local(&next) {
            Some(there) if there.cost <= here.cost => {
                let gain = here.cost - there.cost;
                let is_done = gain <= 1e-15 * here.cost && moved < 1e-7;
                (position, here) = (next, there);
                damping = (damping * 0.2).max(1e-12);
                if is_done || here.cost == 0. {
                    return Some((position, here.cost, true));
                }
            }
            _ => {
                // no smaller value can be told apart from rounding errors: this is the minimum
                if moved < 1e-12 {
                    return Some((position, here.cost, true));
                }
                damping *= 5.;
                if damping > 1e12 {
                    return Some((position, here.cost, true));
                }
            }
        }
    }
    Some((position, here.cost, false))
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
