//! Products of rows with few columns of weights, in vectors of whatever width the processor has; on one kind of processor the order of a sum is always the same.

use pulp::{Arch, Simd, WithSimd};

struct Dot<'a>(&'a [f64], &'a [f64]);

impl WithSimd for Dot<'_> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let ((a, a_rest), (b, b_rest)) = (S::as_simd_f64s(self.0), S::as_simd_f64s(self.1));
        let mut sums = [simd.splat_f64s(0.); 4];
        let ((a4, a1), (b4, b1)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
        for (a, b) in a4.iter().zip(b4) {
            for at in 0..4 {
                sums[at] = simd.mul_add_f64s(a[at], b[at], sums[at]);
            }
        }
        for (a, b) in a1.iter().zip(b1) {
            sums[0] = simd.mul_add_f64s(*a, *b, sums[0]);
        }
        let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
        let sum = simd.add_f64s(simd.add_f64s(sums[0], sums[1]), simd.add_f64s(sums[2], sums[3]));
        simd.reduce_sum_f64s(sum) + rest
    }
}

/// Σ a b
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    Arch::new().dispatch(Dot(a, b))
}

struct AddScaled<'a>(&'a mut [f64], f64, &'a [f64]);

impl WithSimd for AddScaled<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ((to, to_rest), (from, from_rest)) = (S::as_mut_simd_f64s(self.0), S::as_simd_f64s(self.2));
        let factor = simd.splat_f64s(self.1);
        for (to, from) in to.iter_mut().zip(from) {
            *to = simd.mul_add_f64s(*from, factor, *to);
        }
        for (to, from) in to_rest.iter_mut().zip(from_rest) {
            *to = from.mul_add(self.1, *to);
        }
    }
}

/// to += factor · from
pub(crate) fn add_scaled(to: &mut [f64], factor: f64, from: &[f64]) {
    Arch::new().dispatch(AddScaled(to, factor, from));
}

/// Rows in memory one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Dense<'a> {
    values: &'a [f64],
    pub(crate) width: usize,
}

/// Numbers of a part of rows that stays in the second-level cache.
const PART: usize = 32_768;

impl<'a> Dense<'a> {
    pub(crate) fn of(matrix: &'a crate::Matrix) -> Self {
        Self { values: matrix.values(), width: matrix.width() }
    }

    fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Parts of whole rows that can be read twice from the cache.
    pub(crate) fn parts(self) -> impl Iterator<Item = Self> {
        let rows = (PART / self.width).next_multiple_of(4).max(4);
        self.values.chunks(rows * self.width).map(move |values| Self { values, width: self.width })
    }

    #[inline(always)]
    fn row(&self, at: usize) -> &'a [f64] {
        &self.values[at * self.width..(at + 1) * self.width]
    }
}

struct Outputs<'a> {
    x: Dense<'a>,
    weights: &'a [f64],
    out: &'a mut [f64],
}

impl Outputs<'_> {
    /// Scalar products of R rows with C weight vectors.
    #[inline(always)]
    fn block<const R: usize, const C: usize, S: Simd>(&mut self, simd: S, row: usize, output: usize) {
        let (width, stride) = (self.x.width, self.x.width + 1);
        let outputs = self.weights.len() / stride;
        let rows: [_; R] = std::array::from_fn(|at| S::as_simd_f64s(self.x.row(row + at)));
        let weights: [_; C] =
            std::array::from_fn(|at| S::as_simd_f64s(&self.weights[(output + at) * stride..][..width]));
        let count = rows[0].0.len();
        let (row_vectors, weight_vectors) = (rows.map(|row| &row.0[..count]), weights.map(|row| &row.0[..count]));
        let mut sums = [[simd.splat_f64s(0.); C]; R];
        for at in 0..count {
            for r in 0..R {
                for c in 0..C {
                    sums[r][c] = simd.mul_add_f64s(row_vectors[r][at], weight_vectors[c][at], sums[r][c]);
                }
            }
        }
        for r in 0..R {
            for c in 0..C {
                let rest: f64 = rows[r].1.iter().zip(weights[c].1).map(|(a, b)| a * b).sum();
                let bias = self.weights[(output + c) * stride + width];
                self.out[(row + r) * outputs + output + c] = simd.reduce_sum_f64s(sums[r][c]) + rest + bias;
            }
        }
    }

    #[inline(always)]
    fn rows<const R: usize, S: Simd>(&mut self, simd: S, row: usize) {
        let outputs = self.weights.len() / (self.x.width + 1);
        for output in (0..outputs).step_by(4) {
            match outputs - output {
                1 => self.block::<R, 1, S>(simd, row, output),
                2 => self.block::<R, 2, S>(simd, row, output),
                3 => self.block::<R, 3, S>(simd, row, output),
                _ => self.block::<R, 4, S>(simd, row, output),
            }
        }
    }
}

impl WithSimd for Outputs<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let count = self.x.len();
        (0..count / 4).for_each(|block| self.rows::<4, S>(simd, 4 * block));
        (count / 4 * 4..count).for_each(|row| self.rows::<1, S>(simd, row));
    }
}

/// `out[i, c] = w_c · x_i + b_c`, `[rows, outputs]`, with weights `[outputs, width + 1]` whose last column is the bias.
pub(crate) fn outputs(x: Dense<'_>, weights: &[f64], out: &mut [f64]) {
    Arch::new().dispatch(Outputs { x, weights, out });
}

struct Gradient<'a> {
    x: Dense<'a>,
    errors: &'a [f64],
    gradient: &'a mut [f64],
}

/// Columns of the gradient that stay in the first-level cache while rows pass.
const COLUMNS: usize = 512;

impl Gradient<'_> {
    /// Adds what R rows contribute to a block of columns of one output.
    #[inline(always)]
    fn block<const R: usize, S: Simd>(&mut self, simd: S, row: usize, output: usize, columns: (usize, usize)) {
        let stride = self.x.width + 1;
        let outputs = self.gradient.len() / stride;
        let errors: [f64; R] = std::array::from_fn(|r| self.errors[(row + r) * outputs + output]);
        let rows: [_; R] = std::array::from_fn(|r| S::as_simd_f64s(&self.x.row(row + r)[columns.0..columns.1]));
        let start = output * stride;
        let (sums, rest) = S::as_mut_simd_f64s(&mut self.gradient[start + columns.0..start + columns.1]);
        let vectors = rows.map(|row| &row.0[..sums.len()]);
        let factors = errors.map(|error| simd.splat_f64s(error));
        for (at, sum) in sums.iter_mut().enumerate() {
            let mut own = *sum;
            for r in 0..R {
                own = simd.mul_add_f64s(vectors[r][at], factors[r], own);
            }
            *sum = own;
        }
        for (at, sum) in rest.iter_mut().enumerate() {
            for (row, error) in rows.iter().zip(&errors) {
                *sum = row.1[at].mul_add(*error, *sum);
            }
        }
    }

    #[inline(always)]
    fn rows<const R: usize, S: Simd>(&mut self, simd: S, row: usize, columns: (usize, usize)) {
        let outputs = self.gradient.len() / (self.x.width + 1);
        (0..outputs).for_each(|output| self.block::<R, S>(simd, row, output, columns));
    }
}

impl WithSimd for Gradient<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (width, count) = (self.x.width, self.x.len());
        for start in (0..width).step_by(COLUMNS) {
            let columns = (start, (start + COLUMNS).min(width));
            (0..count / 8).for_each(|block| self.rows::<8, S>(simd, 8 * block, columns));
            (count / 8 * 8..count).for_each(|row| self.rows::<1, S>(simd, row, columns));
        }
        let outputs = self.gradient.len() / (width + 1);
        for errors in self.errors.chunks_exact(outputs) {
            for (error, gradient) in errors.iter().zip(self.gradient.chunks_exact_mut(width + 1)) {
                gradient[width] += error;
            }
        }
    }
}

/// Adds `Σ_i errors[i, c] · (x_i, 1)` to `gradient`, `[outputs, width + 1]`.
pub(crate) fn add_gradient(x: Dense<'_>, errors: &[f64], gradient: &mut [f64]) {
    Arch::new().dispatch(Gradient { x, errors, gradient });
}

/// Calls `errors` for parts of the rows with their outputs, `[rows, outputs]`, which it turns into errors and says what the part adds to the value; the gradient is `Σ_i errors[i, c] · (x_i, 1)`. Each part is read from memory once.
pub(crate) fn value_and_gradient(
    x: Dense<'_>,
    weights: &[f64],
    gradient: &mut [f64],
    scratch: &mut Vec<f64>,
    mut errors: impl FnMut(usize, &mut [f64]) -> f64,
) -> f64 {
    let num_outputs = weights.len() / (x.width + 1);
    gradient.fill(0.);
    let (mut value, mut first) = (0., 0);
    for part in x.parts() {
        scratch.resize(part.len() * num_outputs, 0.);
        outputs(part, weights, scratch);
        value += errors(first, scratch);
        add_gradient(part, scratch, gradient);
        first += part.len();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_plain_loops() {
        for (rows, width, outputs_) in [(1, 1, 1), (5, 9, 2), (11, 37, 7), (9, 530, 5), (40, 1945, 3)] {
            let number = |at: usize| ((at * 37 + 11) % 29) as f64 / 7. - 2.;
            let values: Vec<f64> = (0..rows * width).map(number).collect();
            let weights: Vec<f64> = (0..outputs_ * (width + 1)).map(|at| number(at + 5)).collect();
            let x = Dense { values: &values, width };
            let mut out = vec![0.; rows * outputs_];
            outputs(x, &weights, &mut out);
            let mut gradient = vec![1.; weights.len()];
            add_gradient(x, &out, &mut gradient);
            let mut wanted = vec![1.; weights.len()];
            for (i, row) in values.chunks_exact(width).enumerate() {
                for (c, weights) in weights.chunks_exact(width + 1).enumerate() {
                    let sum = weights[width] + row.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>();
                    assert!((out[i * outputs_ + c] - sum).abs() < 1e-10);
                    for (k, x) in row.iter().chain(&[1.]).enumerate() {
                        wanted[c * (width + 1) + k] += out[i * outputs_ + c] * x;
                    }
                }
            }
            for (found, wanted) in gradient.iter().zip(&wanted) {
                assert!((found - wanted).abs() < 1e-9 * (1. + wanted.abs()), "{found} {wanted}");
            }
            let plain: f64 = values.iter().map(|x| x * x).sum();
            assert!((dot(&values, &values) - plain).abs() < 1e-10 * (1. + plain));
        }
    }
}
