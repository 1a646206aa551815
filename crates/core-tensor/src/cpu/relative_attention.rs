//! Causal attention with relative positions, a head at a time.

use crate::kernel::{Gradients, Kernel, Matrix, Real, dot, for_slices, for_slices2, gemm_strided, multiversion, sum1};

pub(crate) struct RelativeAttention {
    pub(crate) length: usize,
    pub(crate) heads: usize,
    pub(crate) size: usize,
}

multiversion! {
    /// Probabilities of a row of scores whose part by distance is in `relative`.
    fn softmax_row<T>(scale: T, relative: &[T], row: &mut [T]) {
        let mut lanes = [T::NEG_INFINITY; 16];
        let (mut rows, mut relatives) = (row.chunks_exact_mut(16), relative.chunks_exact(16));
        for (row, relative) in (&mut rows).zip(&mut relatives) {
            for ((lane, v), &r) in lanes.iter_mut().zip(row).zip(relative) {
                *v = (*v + r) * scale;
                *lane = (*v).larger(*lane);
            }
        }
        for ((lane, v), &r) in lanes.iter_mut().zip(rows.into_remainder()).zip(relatives.remainder()) {
            *v = (*v + r) * scale;
            *lane = (*v).larger(*lane);
        }
        let largest = lanes.into_iter().fold(T::NEG_INFINITY, |m, v| v.larger(m));
        for v in row.iter_mut() {
            *v = Real::exp(*v - largest);
        }
        let factor = T::ONE / sum1(row, |v| v);
        for v in row {
            *v = (*v * factor).or_zero();
        }
    }
}

multiversion! {
    fn score_gradient<T>(scale: T, p: &[T], y: &[T], grad: &[T], dp: &mut [T]) {
        let level = dot(y, grad);
        for (dp, &p) in dp.iter_mut().zip(p) {
            *dp = (p * (*dp - level) * scale).or_zero();
        }
    }
}

/// Buffers of one task.
struct Scratch<T> {
    p: Vec<T>,
    relative: Vec<T>,
    reversed: Vec<T>,
    out: Vec<T>,
}

impl RelativeAttention {
    fn width(&self) -> usize {
        self.heads * self.size
    }

    fn scratch<T: Real>(&self) -> Scratch<T> {
        let (square, flat) = (self.length * self.length, self.length * self.size);
        let zeros = |len| vec![T::ZERO; len];
        Scratch { p: zeros(square), relative: zeros(square), reversed: zeros(flat), out: zeros(flat) }
    }

    /// A head's queries (0), keys (1) or values (2) in a sequence's `qkv`.
    fn part<'a, T>(&self, qkv: &'a [T], which: usize, head: usize) -> Matrix<'a, T> {
        let start = which * self.width() + head * self.size;
        Matrix::strided(&qkv[start..], self.length, self.size, 3 * self.width())
    }

    /// The probabilities of one head of one sequence; zero above the diagonal.
    fn probabilities<T: Real>(&self, qkv: &[T], relative: &[T], head: usize, scratch: &mut Scratch<T>) {
        let (length, size) = (self.length, self.size);
        for (row, reversed) in scratch.reversed.chunks_exact_mut(size).enumerate() {
            let start = (length - 1 - row) * self.width() + head * size;
            reversed.copy_from_slice(&relative[start..start + size]);
        }
        let q = self.part(qkv, 0, head);
        gemm_strided(q, self.part(qkv, 1, head).t(), &mut scratch.p, length, false, false);
        let reversed = Matrix::new(&scratch.reversed, length, size).t();
        gemm_strided(q, reversed, &mut scratch.relative, length, false, false);
        let scale = T::of(1. / (size as f64).sqrt());
        let rows = scratch.p.chunks_exact_mut(length).zip(scratch.relative.chunks_exact(length));
        for (at, (row, relative)) in rows.enumerate() {
            // distance i − j is in column length − 1 − (i − j)
            softmax_row(scale, &relative[length - 1 - at..], &mut row[..=at]);
            row[at + 1..].fill(T::ZERO);
        }
    }

    fn work(&self) -> usize {
        self.heads * self.length * self.length * (3 * self.size + 16)
    }
}

impl Kernel for RelativeAttention {
    const NAME: &'static str = "relative_attention";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let (length, size, width) = (self.length, self.size, self.width());
        let mut out = vec![T::ZERO; x[0].len() / 3];
        for_slices(&mut out, length * width, self.work(), &|first, out| {
            let mut scratch = self.scratch();
            for (at, out) in out.chunks_exact_mut(length * width).enumerate() {
                let qkv = &x[0][(first + at) * length * 3 * width..][..length * 3 * width];
                for head in 0..self.heads {
                    self.probabilities(qkv, x[1], head, &mut scratch);
                    let p = Matrix::new(&scratch.p, length, length);
                    gemm_strided(p, self.part(qkv, 2, head), &mut out[head * size..], width, false, false);
                }
            }
        });
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        y: &[T],
        grad: &[T],
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let (length, size, width) = (self.length, self.size, self.width());
        let len = length * width;
        let batch = x[0].len() / (3 * len);
        let mut by_qkv = vec![T::ZERO; x[0].len()];
        // each sequence's own, added up in order afterwards
        let mut by_relative = vec![T::ZERO; batch * len];
        let (sides, work) = ((&mut by_qkv[..], 3 * len), 3 * self.work());
        for_slices2(sides, (&mut by_relative, len), work, &|first, by_qkv, by_relative| {
            let mut scratch = self.scratch();
            let mut dp = vec![T::ZERO; length * length];
            let sequences = by_qkv.chunks_exact_mut(3 * len).zip(by_relative.chunks_exact_mut(len));
            for (at, (by_qkv, by_relative)) in sequences.enumerate() {
                let sequence = first + at;
                let qkv = &x[0][sequence * 3 * len..(sequence + 1) * 3 * len];
                let (y, grad) = (&y[sequence * len..][..len], &grad[sequence * len..][..len]);
                for head in 0..self.heads {
                    self.probabilities(qkv, x[1], head, &mut scratch);
                    let p = Matrix::new(&scratch.p, length, length);
                    let out_grad = Matrix::strided(&grad[head * size..], length, size, width);
                    let column = |which: usize| which * width + head * size;
                    gemm_strided(p.t(), out_grad, &mut by_qkv[column(2)..], 3 * width, false, false);
                    gemm_strided(out_grad, self.part(qkv, 2, head).t(), &mut dp, length, false, false);
                    let scale = T::of(1. / (size as f64).sqrt());
                    scratch.relative.fill(T::ZERO);
                    for row in 0..length {
                        let range = row * width + head * size..row * width + (head + 1) * size;
                        let line = &mut dp[row * length..(row + 1) * length];
                        let p = &scratch.p[row * length..=row * length + row];
                        score_gradient(scale, p, &y[range.clone()], &grad[range], &mut line[..=row]);
                        line[row + 1..].fill(T::ZERO);
                        scratch.relative[(row + 1) * length - 1 - row..(row + 1) * length]
                            .copy_from_slice(&line[..=row]);
                    }
                    let ds = Matrix::new(&dp, length, length);
                    let by_distance = Matrix::new(&scratch.relative, length, length);
                    let (q, k) = (self.part(qkv, 0, head), self.part(qkv, 1, head));
                    let by_q = &mut by_qkv[column(0)..];
                    gemm_strided(ds, k, by_q, 3 * width, false, false);
                    let reversed = Matrix::new(&scratch.reversed, length, size);
                    gemm_strided(by_distance, reversed, by_q, 3 * width, true, false);
                    gemm_strided(ds.t(), q, &mut by_qkv[column(1)..], 3 * width, false, false);
                    gemm_strided(by_distance.t(), q, &mut scratch.out, size, false, false);
                    for (row, out) in scratch.out.chunks_exact(size).enumerate() {
                        let start = (length - 1 - row) * width + head * size;
                        by_relative[start..start + size].copy_from_slice(out);
                    }
                }
            }
        });
        let mut sum = by_relative[..len].to_vec();
        for other in by_relative[len..].chunks_exact(len) {
            sum.iter_mut().zip(other).for_each(|(sum, &v)| *sum += v);
        }
        Ok([Some(by_qkv), Some(sum), None])
    }
}
