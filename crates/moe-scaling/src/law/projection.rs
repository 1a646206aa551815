//! Variable projection: for fixed `E_start` and `E_max` the other coefficients solve a linear least-squares problem, so the search has two
//! dimensions (Golub and Pereyra, 1973; with Kaufman's Jacobian, 1975).

use super::form::{Coefficient, Form};
use super::formula::Law;
use super::levenberg::{Local, MAX};
use super::residuals::{Samples, regressor};
use super::saturation::Saturation;

/// The largest number of terms of a form.
const TERMS: usize = 6;

/// A linear fit by orthogonal columns. Its buffers are reused.
pub(super) struct Projection<'a> {
    samples: &'a Samples,
    terms: Vec<Coefficient>,
    root_weights: Vec<f64>,
    /// The fixed linear coefficients, whose part of `y` is subtracted.
    fixed: Vec<(Coefficient, f64)>,
    form: Form,
    columns: Vec<Vec<f64>>,
    residual: Vec<f64>,
    shape_columns: [Vec<f64>; 2],
}

/// For each number of experts `log10 Ê` and its derivatives with respect to the exponents of `E_start` and `E_max`.
type Levels = Vec<(f64, [f64; 2])>;

/// A linear fit without a unique solution: the term that is a combination of the others.
pub(super) struct Dependent(pub(super) Coefficient);

impl<'a> Projection<'a> {
    pub(super) fn new(samples: &'a Samples, form: Form, fixed: &[(Coefficient, f64)]) -> Self {
        let is_fixed = |term: &Coefficient| fixed.iter().any(|(name, _)| name == term);
        let terms: Vec<_> = form.terms().iter().copied().filter(|term| !is_fixed(term)).collect();
        let n = samples.len();
        Self {
            root_weights: samples.weight.iter().map(|weight| weight.sqrt()).collect(),
            fixed: fixed.iter().copied().filter(|(name, _)| form.terms().contains(name)).collect(),
            form,
            columns: vec![vec![0.; n]; terms.len()],
            residual: vec![0.; n],
            shape_columns: [vec![0.; n], vec![0.; n]],
            samples,
            terms,
        }
    }

    /// The best law for a given saturation, and half the weighted sum of its squared errors.
    pub(super) fn solve(&mut self, saturation: Option<Saturation>) -> Result<(Law, f64), Dependent> {
        let (law, cost, _) = self.decompose(saturation)?;
        Ok((law, cost))
    }

    fn decompose(&mut self, saturation: Option<Saturation>) -> Result<(Law, f64, Levels), Dependent> {
        let samples = self.samples;
        let levels = samples.levels(saturation);
        for (at, residual) in self.residual.iter_mut().enumerate() {
            let (x, z) = (samples.x[at], levels[samples.level[at]].0);
            let known: f64 = self.fixed.iter().map(|&(term, value)| value * regressor(term, x, z)).sum();
            *residual = self.root_weights[at] * (samples.y[at] - known);
            for (column, &term) in self.columns.iter_mut().zip(&self.terms) {
                column[at] = self.root_weights[at] * regressor(term, x, z);
            }
        }
        // Gram–Schmidt, applied twice, is as accurate as Householder reflections
        let count = self.terms.len();
        let mut triangle = [[0.; TERMS]; TERMS];
        let mut right = [0.; TERMS];
        // the constant comes first, which centres the other columns
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|&k| self.terms[k] != Coefficient::D);
        for (step, &k) in order.iter().enumerate() {
            let original = dot(&self.columns[k], &self.columns[k]).sqrt();
            for _ in 0..2 {
                for (before, &j) in order[..step].iter().enumerate() {
                    let (column, earlier) = two(&mut self.columns, k, j);
                    let share = dot(column, earlier);
                    triangle[before][step] += share;
                    subtract(column, share, earlier);
                }
            }
            let norm = dot(&self.columns[k], &self.columns[k]).sqrt();
            if norm.is_nan() || norm <= 1e-11 * original {
                return Err(Dependent(self.terms[k]));
            }
            triangle[step][step] = norm;
            self.columns[k].iter_mut().for_each(|v| *v /= norm);
            right[step] = dot(&self.columns[k], &self.residual);
            subtract(&mut self.residual, right[step], &self.columns[k]);
        }
        let mut law = Law { saturation, ..Law::zero(self.form) };
        for &(name, value) in &self.fixed {
            law.set(name, value);
        }
        let mut solution = [0.; TERMS];
        for step in (0..count).rev() {
            let known: f64 = (step + 1..count).map(|k| triangle[step][k] * solution[k]).sum();
            solution[step] = (right[step] - known) / triangle[step][step];
            law.set(self.terms[order[step]], solution[step]);
        }
        Ok((law, dot(&self.residual, &self.residual) / 2., levels))
    }

    /// Half the sum of squares as a function of the saturation, with derivatives with respect to the exponents of `E_start` (0) and `E_max` (1) in `free`.
    pub(super) fn local(&mut self, saturation: Saturation, free: &[usize]) -> Option<(Law, Local)> {
        let (law, cost, levels) = self.decompose(Some(saturation)).ok()?;
        let mut local = Local { cost, gradient: [0.; MAX], curvature: [[0.; MAX]; MAX] };
        for &which in free {
            let column = &mut self.shape_columns[which];
            for (at, value) in column.iter_mut().enumerate() {
                let (x, (z, by_shape)) = (self.samples.x[at], levels[self.samples.level[at]]);
                *value = -self.root_weights[at] * (law.b + law.c * x + 2. * law.f * z) * by_shape[which];
            }
            for orthogonal in &self.columns {
                let share = dot(column, orthogonal);
                subtract(column, share, orthogonal);
            }
        }
        for (i, &p) in free.iter().enumerate() {
            local.gradient[i] = dot(&self.shape_columns[p], &self.residual);
            for (j, &q) in free.iter().enumerate() {
                local.curvature[i][j] = dot(&self.shape_columns[p], &self.shape_columns[q]);
            }
        }
        (local.cost.is_finite() && local.gradient.iter().all(|g| g.is_finite())).then_some((law, local))
    }
}

fn two(columns: &mut [Vec<f64>], k: usize, j: usize) -> (&mut [f64], &[f64]) {
    if j < k {
        let (left, right) = columns.split_at_mut(k);
        (&mut right[0], &left[j])
    } else {
        let (left, right) = columns.split_at_mut(j);
        (&mut left[k], &right[0])
    }
}

/// In four partial sums, which the compiler keeps in a vector register.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.; 4];
    let (mut aa, mut bb) = (a.chunks_exact(4), b.chunks_exact(4));
    for (a, b) in (&mut aa).zip(&mut bb) {
        for k in 0..4 {
            sums[k] += a[k] * b[k];
        }
    }
    let rest: f64 = aa.remainder().iter().zip(bb.remainder()).map(|(a, b)| a * b).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

fn subtract(from: &mut [f64], factor: f64, what: &[f64]) {
    for (from, what) in from.iter_mut().zip(what) {
        *from -= factor * what;
    }
}
