//! Solves on slices.

use super::field::VectorField;
use super::integrate::{interpolant, run, run_each};
use super::options::{Save, Solve};
use super::solution::Solution;
use super::step::System;
use super::trace::Keep;
use crate::{Error, Result};
use core_tensor::kernel::Real;

const OPERATION: &str = "ode::solve";

/// Solves `dy/dt = f(t, y)` from `y0` over an interval, forwards or backwards in time, on slices of f32 or f64.
///
/// # Errors
///
/// Settings out of range, an empty state, steps for each sample (see [`solve_each`]), and a solve that fails: [`Error::Ode`], which names the time and carries what was saved.
pub fn solve<T: Real, F: VectorField<T> + ?Sized>(
    field: &F,
    y0: &[T],
    interval: (f64, f64),
    options: &Solve,
) -> Result<Solution<T>> {
    options.check(interval)?;
    if options.control.is_per_sample() {
        let reason = "need samples: use `solve_each`".to_owned();
        return Err(Error::InvalidData { operation: OPERATION, what: "steps of each sample", reason });
    }
    one(field, y0, interval, options, None)
}

/// [`solve`] for many states of `width` components, one after the other in `y0`, each by itself with its own steps, on threads. A solution does not depend on the others.
///
/// # Errors
///
/// As [`solve`], and when `y0` is not a whole number of states; the failure of the first sample that fails.
pub fn solve_each<T: Real, F: VectorField<T> + Sync + ?Sized>(
    field: &F,
    y0: &[T],
    width: usize,
    interval: (f64, f64),
    options: &Solve,
) -> Result<Vec<Solution<T>>> {
    options.check(interval)?;
    if width == 0 || y0.is_empty() || !y0.len().is_multiple_of(width) {
        return Err(Error::Length { operation: "ode::solve_each", what: "y0", got: y0.len(), expected: width });
    }
    run_each(y0.len() / width, |sample| {
        one(field, &y0[sample * width..(sample + 1) * width], interval, options, Some(sample))
    })
}

fn one<T: Real, F: VectorField<T> + ?Sized>(
    field: &F,
    y0: &[T],
    interval: (f64, f64),
    options: &Solve,
    sample: Option<usize>,
) -> Result<Solution<T>> {
    if y0.is_empty() {
        return Err(Error::Length { operation: OPERATION, what: "the state", got: 0, expected: 1 });
    }
    let shapes = [vec![y0.len()]];
    let parts = [y0.len()];
    let system = System {
        field,
        parameters: &[],
        context: &[],
        shapes: &shapes,
        context_shape: &[],
        parts: &parts,
        sample,
        rows: 1,
    };
    let is_dense = matches!(options.save, Save::Dense);
    let run = run(&system, y0, interval, options, if is_dense { Keep::All } else { Keep::Nothing })?;
    Ok(Solution::new(run, is_dense.then(|| interpolant(options))))
}
