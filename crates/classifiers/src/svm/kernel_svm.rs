//! Support vector machines whose kernel matrix does not have to fit into memory.

use super::cached::{CachedRows, columns, radial};
use super::kernel::Gamma;
use super::pairs::pairs;
use super::solver::{Limits, Solution, solve};
use crate::error::{check_above_zero, check_counts, check_not_negative};
use crate::linear::largest;
use crate::rows::two_or_more;
use crate::{Error, Result};

/// A soft-margin support vector machine with the kernel exp(-γ |x - y|²), one for each pair of classes, which then vote: the machine of [`super::Svc`], in single precision and with the rows of the kernel that fit into 256 MiB, for any number of rows.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct KernelSvm {
    /// C. Default: 1.
    pub c: f64,
    /// γ. Default: [`Gamma::Scale`].
    pub gamma: Gamma,
    /// The largest violation of the optimality conditions that is left. Default: 10⁻³.
    pub tolerance: f64,
    /// Pairs of multipliers that are changed at most, for each pair of classes. Default: 10⁷.
    pub max_iterations: usize,
}

impl Default for KernelSvm {
    fn default() -> Self {
        Self { c: 1., gamma: Gamma::Scale, tolerance: 1e-3, max_iterations: 10_000_000 }
    }
}

const OPERATION: &str = "KernelSvm";

/// A trained machine in single precision.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FittedKernelSvm {
    width: usize,
    gamma: f64,
    classes: Vec<u32>,
    machines: Vec<Machine>,
}

/// A decision between two classes: the first of the pair where the sum is positive.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
struct Machine {
    /// `[width, support vectors]`, so that distances are sums of vectors
    vectors: Vec<f32>,
    coefficients: Vec<f32>,
    bias: f64,
}

impl KernelSvm {
    /// Whether the settings make sense, which [`KernelSvm::fit_rows`] asks first.
    ///
    /// # Errors
    /// [`Error::Value`] for one that does not.
    pub fn check(&self) -> Result<()> {
        check_above_zero(OPERATION, &[("c", self.c), ("tolerance", self.tolerance)])?;
        match self.gamma {
            Gamma::Value(gamma) => check_not_negative(OPERATION, &[("gamma", gamma)]),
            Gamma::Scale => Ok(()),
        }
    }

    /// Trains on rows of `width` features and their labels.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is a label for each row and each row has this width; [`Error::Empty`] without rows or features; [`Error::OneClass`]; [`Error::Value`] for a feature that is not finite and for settings that make no sense; [`Error::NotConverged`] where
    /// `max_iterations` are not enough.
    pub fn fit_rows(&self, width: usize, rows: &[&[f32]], labels: &[u32]) -> Result<FittedKernelSvm> {
        self.check()?;
        check_rows(OPERATION, width, rows)?;
        if labels.len() != rows.len() {
            return Err(Error::Length {
                operation: OPERATION,
                what: "labels",
                got: labels.len(),
                expected: rows.len(),
            });
        }
        let (classes, targets) = two_or_more(OPERATION, labels)?;
        let gamma = match self.gamma {
            Gamma::Value(gamma) => gamma,
            Gamma::Scale => scale(width, rows),
        };
        let mut machines = Vec::new();
        for (first, second) in pairs(classes.len()) {
            let own = || (0..rows.len()).filter(|&at| targets[at] == first || targets[at] == second);
            let points: Vec<&[f32]> = own().map(|at| rows[at]).collect();
            let signs: Vec<f64> = own().map(|at| if targets[at] == first { 1. } else { -1. }).collect();
            let limits = Limits { c: self.c, tolerance: self.tolerance, max_iterations: self.max_iterations };
            let mut kernel = CachedRows::new(&points, width, gamma);
            let solution = solve(&mut kernel, &signs, &limits, Solution::start(&signs));
            if solution.violation >= self.tolerance {
                let Solution { iterations, violation, .. } = solution;
                return Err(Error::NotConverged {
                    operation: OPERATION,
                    iterations,
                    violation,
                    tolerance: self.tolerance,
                });
            }
            let support: Vec<usize> = (0..points.len()).filter(|&at| solution.alpha[at] > 0.).collect();
            let vectors: Vec<&[f32]> = support.iter().map(|&at| points[at]).collect();
            machines.push(Machine {
                vectors: columns(&vectors, width, vectors.len()),
                coefficients: support.iter().map(|&at| (solution.alpha[at] * signs[at]) as f32).collect(),
                bias: solution.bias(&signs, self.c),
            });
        }
        Ok(FittedKernelSvm { width, gamma, classes, machines })
    }
}

fn check_rows(operation: &'static str, width: usize, rows: &[&[f32]]) -> Result<()> {
    check_counts(operation, &[("features", width), ("rows", rows.len())])?;
    for (at, row) in rows.iter().enumerate() {
        if row.len() != width {
            return Err(Error::Length { operation, what: "features in a row", got: row.len(), expected: width });
        }
        if let Some(column) = row.iter().position(|value| !value.is_finite()) {
            let what = format!("feature {column} of row {at}");
            return Err(Error::value(operation, what, row[column].into(), "a finite number"));
        }
    }
    Ok(())
}

/// 1 / (width · variance); 1 if the features are all equal.
fn scale(width: usize, rows: &[&[f32]]) -> f64 {
    let entries = || rows.iter().copied().flatten().map(|&x| f64::from(x));
    let count = (rows.len() * width) as f64;
    let mean = entries().sum::<f64>() / count;
    let variance = entries().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    if variance > 0. { 1. / (width as f64 * variance) } else { 1. }
}

impl FittedKernelSvm {
    /// The class of each row of `features`, `[rows, width]`: the one that most pairs vote for, the smaller class on ties.
    ///
    /// # Errors
    /// [`Error::Length`] unless the features are whole rows.
    pub fn predict(&self, features: &[f32]) -> Result<Vec<u32>> {
        if !features.len().is_multiple_of(self.width) {
            let (got, expected) = (features.len() % self.width, self.width);
            return Err(Error::Length {
                operation: "FittedKernelSvm",
                what: "features in the last row",
                got,
                expected,
            });
        }
        let most = self.machines.iter().map(|machine| machine.coefficients.len()).max().unwrap_or_default();
        let mut values = vec![0.; most];
        let mut wins = vec![0.; self.classes.len()];
        let class = |row: &[f32]| {
            wins.fill(0.);
            for (machine, (first, second)) in self.machines.iter().zip(pairs(self.classes.len())) {
                let values = &mut values[..machine.coefficients.len()];
                if !values.is_empty() {
                    radial(row, &machine.vectors, self.gamma, values);
                }
                let sum: f64 =
                    values.iter().zip(&machine.coefficients).map(|(&k, &a)| f64::from(k) * f64::from(a)).sum();
                wins[if sum + machine.bias > 0. { first } else { second }] += 1.;
            }
            self.classes[largest(&wins)]
        };
        Ok(features.chunks_exact(self.width).map(class).collect())
    }
}
