//! Variable projection: for fixed `E_start` and `E_max` the other coefficients solve a linear least-squares problem, so the search has two
//! dimensions (Golub and Pereyra, 1973; with Kaufman's Jacobian, 1975).

use super::form::{Coefficient, Form};
use super::formula::Law;
use super::levenberg::{Local, MAX};
use super::residuals::{Samples, regressor};
use super::saturation::Saturation;

/// The largest number of terms of a form.
pub(super) const TERMS: usize = 6;

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
    /// The order in which the columns were made orthogonal, and their coefficients in each other.
    order: Vec<usize>,
    triangle: [[f64; TERMS]; TERMS],
}

/// For each number of experts `log10 Ê` and its derivatives with respect to the exponents of `E_start` and `E_max`.
pub(super) type Levels = Vec<(f64, [f64; 2])>;

/// What a linear fit leaves besides its law.
pub(super) struct Decomposed {
    pub(super) levels: Levels,
    /// The coefficients of the columns of [`Projection::basis`].
    pub(super) right: [f64; TERMS],
}

/// A linear fit without a unique solution: the term that is a combination of the others.
pub(super) struct Dependent(pub(super) Coefficient);

impl<'a> Projection<'a> {
    pub(super) fn new(samples: &'a Samples, form: Form, fixed: &[(Coefficient, f64)]) -> Self {
        let is_fixed = |term: &Coefficient| fixed.iter().any(|(name, _)| name == term);
        let terms: Vec<_> = form.terms().iter().copied().filter(|term| !is_fixed(term)).collect();
        let n = samples.len();
        // the constant comes first, which centres the other columns
        let mut order: Vec<usize> = (0..terms.len()).collect();
        order.sort_by_key(|&k| terms[k] != Coefficient::D);
        Self {
            order,
            triangle: [[0.; TERMS]; TERMS],
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

    /// The orthonormal columns of the weighted terms, one for each entry of a vector that [`Self::law_of`] takes.
    pub(super) fn basis(&self) -> impl Iterator<Item = &[f64]> {
        self.order.iter().map(|&k| self.columns[k].as_slice())
    }

    /// The weighted part of `y` that the last linear fit leaves.
    pub(super) fn residual(&self) -> &[f64] {
        &self.residual
    }

    pub(super) fn root_weights(&self) -> &[f64] {
        &self.root_weights
    }

    pub(super) fn samples(&self) -> &'a Samples {
        self.samples
    }

    /// The law whose weighted values are `right` in the basis of the last linear fit.
    pub(super) fn law_of(&self, saturation: Option<Saturation>, right: &[f64; TERMS]) -> Law {
        let mut law = Law { saturation, ..Law::zero(self.form) };
        for &(name, value) in &self.fixed {
            law.set(name, value);
        }
        let count = self.terms.len();
        let mut solution = [0.; TERMS];
        for step in (0..count).rev() {
            let known: f64 = (step + 1..count).map(|k| self.triangle[step][k] * solution[k]).sum();
            solution[step] = (right[step] - known) / self.triangle[step][step];
            law.set(self.terms[self.order[step]], solution[step]);
        }
        law
    }

    /// The values of a law in the basis of the last linear fit: the inverse of [`Self::law_of`].
    pub(super) fn right_of(&self, law: &Law) -> [f64; TERMS] {
        let value = |step: usize| law.coefficient(self.terms[self.order[step]]).unwrap_or(0.);
        let mut right = [0.; TERMS];
        for (row, right) in right.iter_mut().enumerate().take(self.terms.len()) {
            *right = (row..self.terms.len()).map(|step| self.triangle[row][step] * value(step)).sum();
        }
        right
    }

    /// The linear fit: its law, half its weighted sum of squares, the levels of the experts, and its coefficients in the basis.
    pub(super) fn decompose(&mut self, saturation: Option<Saturation>) -> Result<(Law, f64, Decomposed), Dependent> {
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
        self.triangle = [[0.; TERMS]; TERMS];
        let mut right = [0.; TERMS];
        for (step, &k) in self.order.iter().enumerate() {
            let original = dot(&self.columns[k], &self.columns[k]).sqrt();
            for _ in 0..2 {
                for (before, &j) in self.order[..step].iter().enumerate() {
                    let (column, earlier) = two(&mut self.columns, k, j);
                    let share = dot(column, earlier);
                    self.triangle[before][step] += share;
                    subtract(column, share, earlier);
                }
            }
            let norm = dot(&self.columns[k], &self.columns[k]).sqrt();
            if norm.is_nan() || norm <= 1e-11 * original {
                return Err(Dependent(self.terms[k]));
            }
            self.triangle[step][step] = norm;
            self.columns[k].iter_mut().for_each(|v| *v /= norm);
            right[step] = dot(&self.columns[k], &self.residual);
            subtract(&mut self.residual, right[step], &self.columns[k]);
        }
        let law = self.law_of(saturation, &right);
        Ok((law, dot(&self.residual, &self.residual) / 2., Decomposed { levels, right }))
    }

    /// Half the sum of squares as a function of the saturation, with derivatives with respect to the exponents of `E_start` (0) and `E_max` (1) in `free`.
    pub(super) fn local(&mut self, saturation: Saturation, free: &[usize]) -> Option<(Law, Local)> {
        let (law, cost, Decomposed { levels, .. }) = self.decompose(Some(saturation)).ok()?;
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
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
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
