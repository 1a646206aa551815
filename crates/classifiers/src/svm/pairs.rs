//! One machine for each pair of classes.

use super::matrix::DenseMatrix;
use super::passes::{Dot, dispatch};
use super::solver::{Limits, Solution, solve};
use crate::element::Element;
use crate::linear::largest;
use crate::{Error, Result};
use std::ops::Range;

/// Training rows, class by class.
pub(crate) struct ByClass {
    /// The rows, those of the first class first, each class in its order.
    pub(crate) rows: Vec<usize>,
    /// Where each class lies among them.
    pub(crate) ranges: Vec<Range<usize>>,
}

impl ByClass {
    /// `targets` says the position of the class of every row, also of those that are not in `rows`.
    pub(crate) fn new(rows: &[usize], targets: &[usize], num_classes: usize) -> Self {
        let mut sorted = Vec::with_capacity(rows.len());
        let mut ranges = Vec::with_capacity(num_classes);
        for class in 0..num_classes {
            let start = sorted.len();
            sorted.extend(rows.iter().copied().filter(|&row| targets[row] == class));
            ranges.push(start..sorted.len());
        }
        Self { rows: sorted, ranges }
    }
}

/// All pairs of classes in libsvm's order: 0 and 1, 0 and 2, …, 1 and 2, …
pub(crate) fn pairs(num_classes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..num_classes).flat_map(move |first| (first + 1..num_classes).map(move |second| (first, second)))
}

/// A decision between two classes: the first where `Σ coefficient · kernel + bias` is positive.
pub(crate) struct Machine {
    pub(crate) first: Range<usize>,
    pub(crate) second: Range<usize>,
    /// y α of the first class's rows, then of the second's.
    pub(crate) coefficients: Vec<f64>,
    pub(crate) bias: f64,
    pub(crate) iterations: usize,
}

impl Machine {
    /// The sum for a row of the kernel between a point and all training rows.
    pub(crate) fn decide<T: Element>(&self, kernel: &[T]) -> f64 {
        let (first, second) = self.coefficients.split_at(self.first.len());
        let dot = |range: &Range<usize>, coefficients| dispatch(Dot(&kernel[range.clone()], coefficients));
        dot(&self.first, first) + dot(&self.second, second) + self.bias
    }
}

/// Trains the machines of all pairs for each C, which ascend, and hands each to `visit` with the number of C and of the pair. `kernel` is that of the rows class by class. Each C starts where the one before ended.
pub(crate) fn train_pairs<T: Element>(
    operation: &'static str,
    kernel: &mut DenseMatrix<T>,
    ranges: &[Range<usize>],
    ascending: &[f64],
    limits: Limits,
    mut visit: impl FnMut(usize, usize, Machine),
) -> Result<()> {
    for (pair, (first, second)) in pairs(ranges.len()).enumerate() {
        let (first, second) = (ranges[first].clone(), ranges[second].clone());
        let mut part = (ranges.len() > 2).then(|| {
            let rows: Vec<usize> = first.clone().chain(second.clone()).collect();
            kernel.part(&rows)
        });
        let matrix = part.as_mut().unwrap_or(kernel);
        let signs: Vec<f64> =
            std::iter::repeat_n(1., first.len()).chain(std::iter::repeat_n(-1., second.len())).collect();
        let mut solution = Solution::start(&signs);
        for (at, &c) in ascending.iter().enumerate() {
            if at > 0 {
                solution = solution.stretched(&signs, ascending[at - 1], c);
            }
            let limits = Limits { c, ..limits };
            let before = solution.iterations;
            solution = solve(matrix, &signs, &limits, solution);
            let iterations = solution.iterations - before;
            let Limits { tolerance, .. } = limits;
            if solution.violation >= tolerance {
                return Err(Error::NotConverged { operation, iterations, violation: solution.violation, tolerance });
            }
            let coefficients = solution.alpha.iter().zip(&signs).map(|(alpha, sign)| alpha * sign).collect();
            let bias = solution.bias(&signs, c);
            visit(at, pair, Machine { first: first.clone(), second: second.clone(), coefficients, bias, iterations });
        }
    }
    Ok(())
}

/// The class with the most votes of pairs' decisions, the first of equal ones.
pub(crate) fn vote(decisions: &[f64], num_classes: usize) -> usize {
    let mut wins = vec![0.; num_classes];
    for ((first, second), &decision) in pairs(num_classes).zip(decisions) {
        wins[if decision > 0. { first } else { second }] += 1.;
    }
    largest(&wins)
}
