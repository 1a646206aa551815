//! Support vector machines with a radial kernel.

use super::super::training::{BaseLearner, BoxError, Examples, SubClassifier, check_width};
use super::classes::{classes, constant};
use crate::Error;

/// γ of the kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gamma {
    /// 1 / (width · variance of all entries of the sub-trainset's features); scikit-learn's `scale`.
    Scale,
    /// This value.
    Value(f64),
}

/// A soft-margin support vector machine with the kernel exp(-γ |x - y|²), one for each pair of classes, which then vote.
///
/// ```text
/// min_α  ½ αᵀ Q α - Σ α        0 ≤ α ≤ C,  yᵀ α = 0,  Q_ij = y_i y_j k(x_i, x_j)
/// ```
///
/// by sequential minimal optimisation, second-order choice of pairs (Fan, Chen, Lin, 2005).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelSvm {
    /// C. Default: 1.
    pub c: f64,
    /// γ. Default: [`Gamma::Scale`].
    pub gamma: Gamma,
    /// The largest violation of the optimality conditions that is left. Default: 10⁻³.
    pub tolerance: f64,
    /// Pairs of multipliers that are changed at most. Default: 10⁷.
    pub max_iterations: usize,
}

impl Default for KernelSvm {
    fn default() -> Self {
        Self { c: 1., gamma: Gamma::Scale, tolerance: 1e-3, max_iterations: 10_000_000 }
    }
}

struct Fitted {
    width: usize,
    gamma: f64,
    num_classes: usize,
    machines: Vec<Machine>,
}

/// A decision between two classes: `first` where the sum is positive.
struct Machine {
    first: u16,
    second: u16,
    /// `[width, support vectors]`, so that distances are sums of vectors
    vectors: Vec<f32>,
    coefficients: Vec<f32>,
    bias: f64,
}

/// exp(-γ d) for squared distances in place; 1e-7 relative, in vectors.
struct Exponentials<'a>(&'a mut [f32], f32);

impl pulp::WithSimd for Exponentials<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self(values, gamma) = self;
        for value in values {
            *value = exp_negative(-gamma * *value);
        }
    }
}

/// e^x for x ≤ 0: 2^n times a polynomial in the rest.
#[inline(always)]
fn exp_negative(x: f32) -> f32 {
    let x = x.max(-87.);
    let whole = (x * std::f32::consts::LOG2_E - 0.5) as i32;
    // ln 2 in two parts, the first with few bits, so that its product is exact
    let rest = x - whole as f32 * 0.693_359_4 + whole as f32 * 2.121_944_4e-4;
    // Taylor's series to the seventh power: |rest| ≤ ln 2 / 2
    let polynomial = 1.
        + rest * (1. + rest * (0.5 + rest * (1. / 6. + rest * (1. / 24. + rest * (1. / 120. + rest * (1. / 720.))))));
    f32::from_bits(((whole + 127) as u32) << 23) * polynomial
}

/// Squared distances of a point to the columns of `columns`, `[width, count]`.
struct Distances<'a>(&'a [f32], &'a [f32], &'a mut [f32]);

impl pulp::WithSimd for Distances<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self(point, columns, distances) = self;
        distances.fill(0.);
        for (&coordinate, column) in point.iter().zip(columns.chunks_exact(distances.len())) {
            for (distance, &other) in distances.iter_mut().zip(column) {
                let difference = coordinate - other;
                *distance += difference * difference;
            }
        }
    }
}

fn kernel(point: &[f32], columns: &[f32], gamma: f64, values: &mut [f32]) {
    let arch = pulp::Arch::new();
    arch.dispatch(Distances(point, columns, values));
    arch.dispatch(Exponentials(values, gamma as f32));
}

/// The kernel's rows, computed when they are first asked for and kept while they fit.
struct Kernel<'a> {
    rows: Vec<Option<Box<[f32]>>>,
    points: Vec<&'a [f32]>,
    columns: Vec<f32>,
    gamma: f64,
    /// How many more rows are kept.
    room: usize,
}

/// Bytes of kept rows.
const CACHE: usize = 256 << 20;

impl<'a> Kernel<'a> {
    fn new(examples: &'a Examples, members: &[u32], gamma: f64) -> Self {
        let points: Vec<&[f32]> = members.iter().map(|&member| examples.row(member as usize)).collect();
        let columns = columns(&points, examples.width());
        let room = CACHE / (4 * points.len());
        Self { rows: vec![None; points.len()], points, columns, gamma, room }
    }

    fn compute(&self, row: usize) -> Box<[f32]> {
        let mut values = vec![0.; self.points.len()];
        kernel(self.points[row], &self.columns, self.gamma, &mut values);
        values.into()
    }

    /// The row, out of the cache or into `spare`.
    fn row<'b>(&'b mut self, row: usize, spare: &'b mut Box<[f32]>) -> &'b [f32] {
        if self.rows[row].is_none() {
            let values = self.compute(row);
            if self.room == 0 {
                *spare = values;
                return spare;
            }
            self.room -= 1;
            self.rows[row] = Some(values);
        }
        self.rows[row].as_deref().unwrap_or(spare)
    }
}

fn columns(points: &[&[f32]], width: usize) -> Vec<f32> {
    (0..width).flat_map(|at| points.iter().map(move |point| point[at])).collect()
}

/// Multipliers and the bias of one two-class problem; `signs` are 1 and -1.
fn solve(kernel: &mut Kernel<'_>, signs: &[f64], svm: &KernelSvm) -> (Vec<f64>, f64) {
    let (n, c) = (signs.len(), svm.c);
    let mut alpha = vec![0f64; n];
    // gradient of the objective
    let mut gradient = vec![-1f64; n];
    let (mut spare_i, mut spare_j) = (Box::default(), Box::default());
    let rises = |alpha: f64, sign: f64| if sign > 0. { alpha < c } else { alpha > 0. };
    let falls = |alpha: f64, sign: f64| if sign > 0. { alpha > 0. } else { alpha < c };
    for _ in 0..svm.max_iterations {
        let (mut i, mut largest) = (usize::MAX, f64::NEG_INFINITY);
        for t in 0..n {
            let value = -signs[t] * gradient[t];
            if rises(alpha[t], signs[t]) && value > largest {
                (i, largest) = (t, value);
            }
        }
        if i == usize::MAX {
            break;
        }
        let row_i = kernel.row(i, &mut spare_i).to_vec();
        let (mut j, mut smallest, mut best) = (usize::MAX, f64::INFINITY, 0.);
        for t in 0..n {
            if !falls(alpha[t], signs[t]) {
                continue;
            }
            let value = -signs[t] * gradient[t];
            smallest = smallest.min(value);
            let difference = largest - value;
            if difference > 0. {
                // the kernel is 1 on the diagonal
                let curvature = (2. - 2. * f64::from(row_i[t])).max(1e-12);
                let gain = difference * difference / curvature;
                if gain > best {
                    (j, best) = (t, gain);
                }
            }
        }
        if j == usize::MAX || largest - smallest < svm.tolerance {
            break;
        }
        let row_j = kernel.row(j, &mut spare_j);
        let curvature = (2. - 2. * f64::from(row_i[j])).max(1e-12);
        let difference = -signs[i] * gradient[i] + signs[j] * gradient[j];
        let mut step = difference / curvature;
        // alpha_i moves by sign_i step, alpha_j by -sign_j step, both within 0..=C
        let most_i = if signs[i] > 0. { c - alpha[i] } else { alpha[i] };
        let most_j = if signs[j] > 0. { alpha[j] } else { c - alpha[j] };
        step = step.min(most_i).min(most_j);
        let settle = |value: f64| {
            if value < 1e-14 * c {
                0.
            } else if value > c * (1. - 1e-14) {
                c
            } else {
                value
            }
        };
        alpha[i] = settle(alpha[i] + signs[i] * step);
        alpha[j] = settle(alpha[j] - signs[j] * step);
        for t in 0..n {
            gradient[t] += signs[t] * step * (f64::from(row_i[t]) - f64::from(row_j[t]));
        }
    }
    // the bias: the mean over free multipliers, or the middle of what the others allow
    let (mut sum, mut count, mut low, mut high) = (0., 0usize, f64::NEG_INFINITY, f64::INFINITY);
    for t in 0..n {
        let value = -signs[t] * gradient[t];
        if alpha[t] > 0. && alpha[t] < c {
            sum += value;
            count += 1;
        } else if rises(alpha[t], signs[t]) {
            low = low.max(value);
        } else {
            high = high.min(value);
        }
    }
    let bias = if count > 0 { sum / count as f64 } else { 0.5 * (low + high) };
    (alpha, if bias.is_finite() { bias } else { 0. })
}

impl BaseLearner for KernelSvm {
    fn fit(&self, examples: &Examples, members: &[u32], _: u64) -> Result<Box<dyn SubClassifier>, BoxError> {
        const OPERATION: &str = "KernelSvm";
        for (what, value) in [("c", self.c), ("tolerance", self.tolerance)] {
            if !(value.is_finite() && value > 0.) {
                return Err(Box::new(Error::value(OPERATION, what, value, "above 0")));
            }
        }
        let present = classes(examples, members);
        if let Some(constant) = constant(examples, &present) {
            return Ok(constant);
        }
        let gamma = match self.gamma {
            Gamma::Value(gamma) if gamma.is_finite() && gamma >= 0. => gamma,
            Gamma::Value(value) => {
                return Err(Box::new(Error::value(OPERATION, "gamma", value, "a finite number of 0 or more")));
            }
            Gamma::Scale => scale(examples, members),
        };
        let mut machines = Vec::new();
        for (at, &first) in present.iter().enumerate() {
            for &second in &present[at + 1..] {
                let label = |&member: &u32| examples.labels()[member as usize];
                let own: Vec<u32> =
                    members.iter().copied().filter(|member| [first, second].contains(&label(member))).collect();
                let signs: Vec<f64> = own.iter().map(|member| if label(member) == first { 1. } else { -1. }).collect();
                let mut kernel = Kernel::new(examples, &own, gamma);
                let (alpha, bias) = solve(&mut kernel, &signs, self);
                let support: Vec<usize> = (0..own.len()).filter(|&t| alpha[t] > 0.).collect();
                let points: Vec<&[f32]> = support.iter().map(|&t| kernel.points[t]).collect();
                machines.push(Machine {
                    first,
                    second,
                    vectors: columns(&points, examples.width()),
                    coefficients: support.iter().map(|&t| (alpha[t] * signs[t]) as f32).collect(),
                    bias,
                });
            }
        }
        Ok(Box::new(Fitted { width: examples.width(), gamma, num_classes: examples.num_classes(), machines }))
    }
}

/// 1 / (width · variance); 1 if the features are all equal.
fn scale(examples: &Examples, members: &[u32]) -> f64 {
    let entries = || members.iter().flat_map(|&member| examples.row(member as usize)).map(|&x| f64::from(x));
    let count = (members.len() * examples.width()) as f64;
    let mean = entries().sum::<f64>() / count;
    let variance = entries().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    if variance > 0. { 1. / (examples.width() as f64 * variance) } else { 1. }
}

impl SubClassifier for Fitted {
    fn predict(&self, features: &[f32]) -> Result<Vec<u16>, BoxError> {
        check_width(features, self.width)?;
        let largest = self.machines.iter().map(|machine| machine.coefficients.len()).max().unwrap_or_default();
        let mut values = vec![0.; largest];
        let mut wins = vec![0u32; self.num_classes];
        let class = |row: &[f32]| {
            wins.fill(0);
            for machine in &self.machines {
                let values = &mut values[..machine.coefficients.len()];
                if !values.is_empty() {
                    kernel(row, &machine.vectors, self.gamma, values);
                }
                let sum: f64 =
                    values.iter().zip(&machine.coefficients).map(|(&k, &a)| f64::from(k) * f64::from(a)).sum();
                let winner = if sum + machine.bias > 0. { machine.first } else { machine.second };
                wins[usize::from(winner)] += 1;
            }
            super::super::votes::winner(&wins) as u16
        };
        Ok(features.chunks_exact(self.width).map(class).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_single_precision() {
        for i in 0..=4000 {
            let x = -f64::from(i) / 50.;
            let (found, wanted) = (f64::from(exp_negative(x as f32)), f64::from(x as f32).exp());
            assert!((found - wanted).abs() <= 3e-7 * wanted, "{x}: {found} {wanted}");
        }
        assert_eq!(exp_negative(0.), 1.);
        assert!(exp_negative(-1e9) < 2e-38);
    }
}
