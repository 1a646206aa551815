//! Scaled dot-product attention, a block of queries at a time.

use crate::kernel::{
    Gradients, Kernel, Matrix, Parts, Real, exp_all, for_slices, gemm_strided, multiversion, sum1, sum2,
};
use std::sync::OnceLock;

#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    pub(crate) depth: usize,
    pub(crate) width: usize,
}

/// Queries whose scores exist together.
const BLOCK: usize = 64;

pub(crate) struct Attention {
    pub(crate) sizes: Sizes,
    pub(crate) scale: f64,
    pub(crate) is_causal: bool,
    pub(crate) mask: Option<Vec<f64>>,
    /// The largest score of each query, and the logarithm of the sum of its powers relative to that.
    pub(crate) log_sums: OnceLock<Vec<[f64; 2]>>,
}

/// What a query that sees no key keeps: its powers are 0.
const NOTHING: [f64; 2] = [f64::INFINITY, 0.];

multiversion! {
    /// Scales a row of scores and subtracts its largest, which goes to `largest`.
    fn shift_row<T>(row: &mut [T], scale: T, largest: &mut T) {
        let mut lanes = [T::NEG_INFINITY; 16];
        let mut chunks = row.chunks_exact_mut(16);
        for chunk in &mut chunks {
            for (lane, v) in lanes.iter_mut().zip(chunk) {
                *v *= scale;
                *lane = (*v).larger(*lane);
            }
        }
        for (lane, v) in lanes.iter_mut().zip(chunks.into_remainder()) {
            *v *= scale;
            *lane = (*v).larger(*lane);
        }
        *largest = lanes.into_iter().fold(T::NEG_INFINITY, |m, v| v.larger(m));
        let shift = if *largest == T::NEG_INFINITY { T::ZERO } else { *largest };
        for v in row {
            *v -= shift;
        }
    }
}

multiversion! {
    fn normalise_row<T>(row: &mut [T], sum: &mut T) {
        *sum = sum1(row, |v| v);
        let factor = if *sum > T::ZERO || Real::is_nan(*sum) { T::ONE / *sum } else { T::ZERO };
        for v in row {
            *v *= factor;
        }
    }
}

multiversion! {
    /// `dS = P ∘ (dP − Σ dO ∘ O) · scale` in place of `dP`.
    fn score_gradient<T>(p: &[T], out: &[T], grad: &[T], scale: T, dp: &mut [T]) {
        let level = sum2(out, grad, |o, g| o * g);
        for (dp, &p) in dp.iter_mut().zip(p) {
            *dp = p * (*dp - level) * scale;
        }
    }
}

multiversion! {
    fn scale_and_subtract<T>(row: &mut [T], scale: T, largest: T, log_sum: T) {
        for v in row {
            *v = (*v * scale - largest) - log_sum;
        }
    }
}

impl Attention {
    /// How many keys query `query` sees.
    fn seen(&self, query: usize) -> usize {
        let Sizes { queries, keys, .. } = self.sizes;
        if self.is_causal { (query + 1 + keys).saturating_sub(queries).min(keys) } else { keys }
    }

    /// The factor that is still to be applied to a row of products: with a mask, this applies it and adds the mask.
    fn masked<T: Real>(&self, query: usize, row: &mut [T]) -> T {
        let scale = T::of(self.scale);
        let Some(mask) = &self.mask else { return scale };
        let mask = &mask[query * self.sizes.keys..];
        row.iter_mut().zip(mask).for_each(|(v, &m)| *v = *v * scale + T::of(m));
        T::ONE
    }

    /// The probabilities of some queries of one head from `q kᵀ`, with the stored sums or, forward, with new ones.
    fn probabilities<T: Real>(
        &self,
        q: &[T],
        k: &[T],
        rows: std::ops::Range<usize>,
        scores: &mut Vec<T>,
        log_sums: LogSums<'_>,
    ) {
        let Sizes { keys, depth, .. } = self.sizes;
        let seen = self.seen(rows.end - 1);
        scores.clear();
        scores.resize(rows.len() * keys, T::ZERO);
        if seen == 0 {
            if let LogSums::New(sums) = log_sums {
                sums.fill(NOTHING);
            }
            return;
        }
        let left = Matrix::new(&q[rows.start * depth..], rows.len(), depth);
        let right = Matrix::new(k, seen, depth).t();
        gemm_strided(left, right, scores, keys, false, false);
        match log_sums {
            LogSums::New(sums) => {
                let mut largest = vec![T::ZERO; rows.len()];
                for ((query, row), largest) in rows.clone().zip(scores.chunks_exact_mut(keys)).zip(&mut largest) {
                    let seen = self.seen(query);
                    let scale = self.masked(query, &mut row[..seen]);
                    shift_row(&mut row[..seen], scale, largest);
                    exp_all(&mut row[..seen]);
                    row[seen..].fill(T::ZERO);
                }
                for ((row, largest), log_sum) in scores.chunks_exact_mut(keys).zip(largest).zip(sums) {
                    let mut sum = T::ZERO;
                    normalise_row(row, &mut sum);
                    let is_visible = sum > T::ZERO || Real::is_nan(sum);
                    *log_sum = if is_visible { [largest.to_f64(), Real::ln(sum).to_f64()] } else { NOTHING };
                }
            }
            LogSums::Known(sums) => {
                for ((query, row), &[largest, log_sum]) in rows.zip(scores.chunks_exact_mut(keys)).zip(sums) {
                    let seen = self.seen(query);
                    let scale = self.masked(query, &mut row[..seen]);
                    scale_and_subtract(&mut row[..seen], scale, T::of(largest), T::of(log_sum));
                    exp_all(&mut row[..seen]);
                    row[seen..].fill(T::ZERO);
                }
            }
        }
    }
}

enum LogSums<'a> {
    New(&'a mut [[f64; 2]]),
    Known(&'a [[f64; 2]]),
}

impl Kernel for Attention {
    const NAME: &'static str = "attention";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let Sizes { queries, keys, depth, width } = self.sizes;
        let heads = if depth > 0 { x[0].len() / (queries * depth).max(1) } else { x[2].len() / (keys * width).max(1) };
        let mut out = vec![T::ZERO; heads * queries * width];
        let mut log_sums = vec![NOTHING; heads * queries];
        if keys > 0 && !out.is_empty() {
            let sums = Parts::new(&mut log_sums);
            let (q_len, k_len, v_len) = (queries * depth, keys * depth, keys * width);
            let work = queries * keys * (depth + width + 16);
            for_slices(&mut out, queries * width, work, &|first, out| {
                let mut scores = Vec::new();
                for (at, out) in out.chunks_exact_mut(queries * width).enumerate() {
                    let head = first + at;
                    let (q, k) = (&x[0][head * q_len..(head + 1) * q_len], &x[1][head * k_len..(head + 1) * k_len]);
                    let v = &x[2][head * v_len..(head + 1) * v_len];
                    for start in (0..queries).step_by(BLOCK) {
                        let rows = start..(start + BLOCK).min(queries);
                        // SAFETY: each head and block of queries is treated by one task, once.
                        let sums = unsafe { sums.slice(head * queries + start, rows.len()) };
                        self.probabilities(q, k, rows.clone(), &mut scores, LogSums::New(sums));
                        let seen = self.seen(rows.end - 1);
                        let p = Matrix::strided(&scores, rows.len(), seen, keys);
                        let out = &mut out[rows.start * width..rows.end * width];
                        gemm_strided(p, Matrix::new(v, seen, width), out, width, false, false);
                    }
                }
            });
        }
        let _ = self.log_sums.set(log_sums);
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        y: &[T],
        grad: &[T],
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let Some(log_sums) = self.log_sums.get() else {
            return Err(candle_core::Error::BackwardNotSupported { op: Self::NAME });
        };
        let Sizes { queries, keys, depth, width } = self.sizes;
        let mut grad_q = vec![T::ZERO; x[0].len()];
        let (mut grad_k, mut grad_v) = (vec![T::ZERO; x[1].len()], vec![T::ZERO; x[2].len()]);
        if depth == 0 || keys == 0 || y.is_empty() {
            return Ok([Some(grad_q), Some(grad_k), Some(grad_v)]);
        }
        let (q_len, k_len, v_len, y_len) = (queries * depth, keys * depth, keys * width, queries * width);
        let (parts_k, parts_v) = (Parts::new(&mut grad_k), Parts::new(&mut grad_v));
        let work = 3 * queries * keys * (depth + width + 16);
        for_slices(&mut grad_q, q_len, work, &|first, grad_q| {
            let (mut scores, mut dp) = (Vec::new(), Vec::new());
            for (at, grad_q) in grad_q.chunks_exact_mut(q_len).enumerate() {
                let head = first + at;
                let (q, k) = (&x[0][head * q_len..(head + 1) * q_len], &x[1][head * k_len..(head + 1) * k_len]);
                let v = &x[2][head * v_len..(head + 1) * v_len];
                let (y, grad) = (&y[head * y_len..(head + 1) * y_len], &grad[head * y_len..(head + 1) * y_len]);
                // SAFETY: each head is treated by one task, and its parts of both gradients belong to it alone.
                let (grad_k, grad_v) =
                    unsafe { (parts_k.slice(head * k_len, k_len), parts_v.slice(head * v_len, v_len)) };
                for start in (0..queries).step_by(BLOCK) {
                    let rows = start..(start + BLOCK).min(queries);
                    let sums = &log_sums[head * queries + start..head * queries + rows.end];
                    self.probabilities(q, k, rows.clone(), &mut scores, LogSums::Known(sums));
                    let seen = self.seen(rows.end - 1);
                    if seen == 0 {
                        continue;
                    }
                    let p = Matrix::strided(&scores, rows.len(), seen, keys);
                    let out_grad = Matrix::new(&grad[rows.start * width..], rows.len(), width);
                    gemm_strided(p.t(), out_grad, grad_v, width, true, false);
                    dp.resize(rows.len() * keys, T::ZERO);
                    gemm_strided(out_grad, Matrix::new(v, seen, width).t(), &mut dp, keys, false, false);
                    let lines = scores.chunks_exact(keys).zip(dp.chunks_exact_mut(keys));
                    for (row, (p, dp)) in rows.clone().zip(lines) {
                        let range = row * width..(row + 1) * width;
                        score_gradient(&p[..seen], &y[range.clone()], &grad[range], T::of(self.scale), &mut dp[..seen]);
                    }
                    let ds = Matrix::strided(&dp, rows.len(), seen, keys);
                    let grad_q = &mut grad_q[rows.start * depth..rows.end * depth];
                    gemm_strided(ds, Matrix::new(k, seen, depth), grad_q, depth, false, false);
                    let q = Matrix::new(&q[rows.start * depth..], rows.len(), depth);
                    gemm_strided(ds.t(), q, grad_k, depth, true, false);
                }
            }
        });
        Ok([Some(grad_q), Some(grad_k), Some(grad_v)])
    }
}
