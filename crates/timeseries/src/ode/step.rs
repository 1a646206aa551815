//! One step of a method.

use super::combine::{Term, combine};
use super::field::{At, VectorField};
use super::tableau::Tableau;
use crate::Result;
use core_tensor::kernel::Real;

/// A field with everything that does not change during a solve.
pub(crate) struct System<'a, T, F: ?Sized> {
    pub(crate) field: &'a F,
    pub(crate) parameters: &'a [T],
    pub(crate) context: &'a [T],
    pub(crate) shapes: &'a [Vec<usize>],
    pub(crate) context_shape: &'a [usize],
    /// Lengths of the parts whose norms are taken apart.
    pub(crate) parts: &'a [usize],
    /// The number of the sample, where it is solved by itself.
    pub(crate) sample: Option<usize>,
    /// Rows of the batch in the first part: where samples are named.
    pub(crate) rows: usize,
}

impl<T: Real, F: VectorField<T> + ?Sized> System<'_, T, F> {
    #[inline(always)]
    pub(crate) fn at<'b>(&'b self, t: f64, y: &'b [T]) -> At<'b, T> {
        let Self { parameters, context, shapes, context_shape, .. } = *self;
        At { t, y, parameters, context, shapes, context_shape }
    }

    #[inline(always)]
    pub(crate) fn eval(&self, t: f64, y: &[T], dy: &mut [T]) -> Result<()> {
        self.field.eval(self.at(t, y), dy)
    }
}

/// Where and how a step was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mark {
    pub(crate) t: f64,
    /// Its length, with its sign.
    pub(crate) h: f64,
    /// Where the field is evaluated at its ends: beside `t` and `t + h` at a jump.
    pub(crate) begin: f64,
    pub(crate) end: f64,
    /// Whether the first slope was evaluated anew: at the start, and after jumps.
    pub(crate) is_fresh: bool,
}

impl Mark {
    /// The time of a stage.
    #[inline]
    pub(crate) fn time(&self, node: f64) -> f64 {
        if node == 0. {
            self.begin
        } else if node == 1. {
            self.end
        } else {
            self.t + node * self.h
        }
    }
}

/// A method's coefficients without its zeros.
pub(crate) struct Stepper<T> {
    rows: Vec<Vec<Term<T>>>,
    nodes: Vec<f64>,
    weights: Vec<Term<T>>,
    errors: Vec<Term<T>>,
}

fn nonzero<T: Real>(coefficients: &[f64]) -> Vec<Term<T>> {
    coefficients.iter().enumerate().filter(|(_, c)| **c != 0.).map(|(j, c)| (j, T::of(*c))).collect()
}

impl<T: Real> Stepper<T> {
    pub(crate) fn new(method: &Tableau) -> Self {
        Self {
            rows: method.rows().iter().map(|row| nonzero(row)).collect(),
            nodes: method.nodes().to_vec(),
            weights: nonzero(method.weights()),
            errors: method.error_weights().map(nonzero).unwrap_or_default(),
        }
    }

    pub(crate) fn num_stages(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn node(&self, stage: usize) -> f64 {
        self.nodes[stage]
    }

    /// The state at a stage.
    #[inline]
    pub(crate) fn stage(&self, stage: usize, h: f64, y: &[T], k: &[T], out: &mut [T]) {
        combine(y, T::of(h), k, &self.rows[stage], out);
    }

    /// The state after the step.
    #[inline]
    pub(crate) fn result(&self, h: f64, y: &[T], k: &[T], out: &mut [T]) {
        combine(y, T::of(h), k, &self.weights, out);
    }

    /// The weights of the error's estimate.
    pub(crate) fn errors(&self) -> &[Term<T>] {
        &self.errors
    }

    /// All stages after the first, whose slope stands in `k`, and the state after the step, in `y1`; `stage` is memory.
    pub(crate) fn run<F: VectorField<T> + ?Sized>(
        &self,
        system: &System<'_, T, F>,
        mark: &Mark,
        y: &[T],
        k: &mut [T],
        [stage, y1]: [&mut [T]; 2],
    ) -> Result<()> {
        let n = y.len();
        for at in 1..self.num_stages() {
            self.stage(at, mark.h, y, k, stage);
            system.eval(mark.time(self.nodes[at]), stage, &mut k[at * n..(at + 1) * n])?;
        }
        self.result(mark.h, y, k, y1);
        Ok(())
    }

    /// How the state after a step, and stages after a given one, depend on a slope: `(stage or s for the result, coefficient)`.
    pub(crate) fn uses(&self, slope: usize) -> Vec<Term<T>> {
        let mut uses = Vec::new();
        for (stage, row) in self.rows.iter().enumerate() {
            uses.extend(row.iter().filter(|(j, _)| *j == slope).map(|&(_, c)| (stage, c)));
        }
        uses.extend(self.weights.iter().filter(|(j, _)| *j == slope).map(|&(_, c)| (self.num_stages(), c)));
        uses
    }
}

/// The state inside of a step, by weights of a polynomial.
pub(crate) fn inside<T: Real>(weights: &[f64], h: f64, y: &[T], k: &[T], out: &mut [T]) {
    combine(y, T::of(h), k, &nonzero(weights), out);
}
