//! Scaled dot-product attention, a block of queries at a time.

use crate::kernel::{
    FEW_LANES, Gradients, Kernel, Matrix, Parts, Real, dot, for_lanes, for_slices, for_tasks, gemm_strided, joined,
    multiversion, sum1, written,
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
    pub(crate) places: Places,
    pub(crate) scale: f64,
    pub(crate) is_causal: bool,
    pub(crate) mask: Option<Vec<f64>>,
    /// The largest score of each query, and the logarithm of the sum of its powers relative to that.
    pub(crate) log_sums: OnceLock<Vec<[f64; 2]>>,
}

/// What a query that sees no key keeps: its powers are 0.
const NOTHING: [f64; 2] = [f64::INFINITY, 0.];

multiversion! {
    /// Turns a row of products into probabilities; the largest score and the sum of the powers relative to it.
    fn new_probabilities<T>(row: &mut [T], scale: T, largest: &mut T, sum: &mut T) {
        let mut lanes = [T::NEG_INFINITY; FEW_LANES];
        for_lanes(row, T::NAN, |_, x| {
            for (lane, x) in lanes.iter_mut().zip(x) {
                *lane = (x * scale).larger(*lane);
            }
        });
        *largest = joined(lanes, |a, b| a.larger(b));
        let shift = if *largest == T::NEG_INFINITY { T::ZERO } else { *largest };
        for v in row.iter_mut() {
            *v = Real::exp(v.mul_add(scale, -shift));
        }
        *sum = sum1(row, |v| v);
        let factor = if *sum > T::ZERO || Real::is_nan(*sum) { T::ONE / *sum } else { T::ZERO };
        for v in row {
            *v = (*v * factor).or_zero();
        }
    }
}

multiversion! {
    /// The same with known sums.
    fn known_probabilities<T>(row: &mut [T], scale: T, largest: T, log_sum: T) {
        for v in row {
            *v = Real::exp(v.mul_add(scale, -largest) - log_sum);
        }
    }
}

multiversion! {
    /// `dS = P ∘ (dP − Σ dO ∘ O) · scale` in place of `dP`.
    fn score_gradient<T>(p: &[T], out: &[T], grad: &[T], scale: T, dp: &mut [T]) {
        let level = dot(out, grad);
        for (dp, &p) in dp.iter_mut().zip(p) {
            *dp = (p * (*dp - level) * scale).or_zero();
        }
    }
}

/// How the heads lie in the arguments and in the result.
#[derive(Clone, Copy)]
pub(crate) enum Places {
    /// Queries, keys and values are three arguments, `[heads, length, depth]` each.
    Apart,
    /// One argument `[batch, length, 3, heads, depth]`; the result is `[batch, length, heads, depth]`.
    Packed { heads: usize },
}

/// Elements, and how far apart rows lie in them.
type Rows<'a, T> = (&'a mut [T], usize);

impl Places {
    /// How many heads lie among each other.
    fn together(self) -> usize {
        match self {
            Self::Apart => 1,
            Self::Packed { heads } => heads,
        }
    }

    /// Where the result of a head begins among those that lie together, and how far apart its rows are.
    fn result(self, width: usize, part: usize) -> (usize, usize) {
        (part * width, self.together() * width)
    }

    fn arguments<'a, T>(self, sizes: &Sizes, x: &[&'a [T]], head: usize) -> [Matrix<'a, T>; 3] {
        let Sizes { queries, keys, depth, width } = *sizes;
        match self {
            Self::Apart => [
                Matrix::new(&x[0][head * queries * depth..], queries, depth),
                Matrix::new(&x[1][head * keys * depth..], keys, depth),
                Matrix::new(&x[2][head * keys * width..], keys, width),
            ],
            Self::Packed { heads } => [0, 1, 2].map(|which| {
                let start = head / heads * keys * 3 * heads * depth + (which * heads + head % heads) * depth;
                Matrix::strided(&x[0][start..], keys, depth, 3 * heads * depth)
            }),
        }
    }

    /// The place of the gradient of a head's queries (0), keys (1) or values (2).
    ///
    /// # Safety
    ///
    /// No two of those of heads that lie together, and of their queries, keys and values, may be in use at a time.
    unsafe fn gradient<'a, T>(self, sizes: &Sizes, all: &'a [Parts<'_, T>], head: usize, which: usize) -> Rows<'a, T> {
        let Sizes { queries, keys, depth, width } = *sizes;
        // SAFETY: the caller's promise.
        let part = |at: usize, start: usize, len: usize| unsafe { all[at].slice(start, len) };
        match self {
            Self::Apart => {
                let (rows, width) = ([queries, keys, keys][which], [depth, depth, width][which]);
                (part(which, head * rows * width, rows * width), width)
            }
            Self::Packed { heads } => {
                let stride = 3 * heads * depth;
                let start = head / heads * keys * stride + (which * heads + head % heads) * depth;
                (part(0, start, (keys - 1) * stride + depth), stride)
            }
        }
    }
}

/// Ranges of queries that are treated together.
fn blocks(queries: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..queries).step_by(BLOCK).map(move |start| start..(start + BLOCK).min(queries))
}

impl Attention {
    /// How many heads there are in all.
    fn heads<T>(&self, x: &[&[T]]) -> usize {
        let Sizes { queries, keys, depth, width } = self.sizes;
        match self.places {
            Places::Packed { .. } => (x[0].len() / 3).checked_div(queries * depth).unwrap_or(0),
            Places::Apart if depth > 0 => x[0].len() / (queries * depth).max(1),
            Places::Apart => x[2].len() / (keys * width).max(1),
        }
    }

    /// The steps of so many heads.
    fn work(&self, heads: usize) -> usize {
        let Sizes { queries, keys, depth, width } = self.sizes;
        heads * queries * keys * (depth + width + 16)
    }

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
        q: Matrix<'_, T>,
        k: Matrix<'_, T>,
        rows: std::ops::Range<usize>,
        scores: &mut Vec<T>,
        log_sums: LogSums<'_>,
    ) {
        let keys = self.sizes.keys;
        let seen = self.seen(rows.end - 1);
        scores.resize(rows.len() * keys, T::ZERO);
        if seen == 0 {
            scores.fill(T::ZERO);
            if let LogSums::New(sums) = log_sums {
                sums.fill(NOTHING);
            }
            return;
        }
        gemm_strided(q.rows(rows.clone()), k.rows(0..seen).t(), scores, keys, false, false);
        match log_sums {
            LogSums::New(sums) => {
                for ((query, row), log_sum) in rows.zip(scores.chunks_exact_mut(keys)).zip(sums) {
                    let seen = self.seen(query);
                    let scale = self.masked(query, &mut row[..seen]);
                    let (mut largest, mut sum) = (T::ZERO, T::ZERO);
                    new_probabilities(&mut row[..seen], scale, &mut largest, &mut sum);
                    row[seen..].fill(T::ZERO);
                    let is_visible = sum > T::ZERO || Real::is_nan(sum);
                    *log_sum = if is_visible { [largest.to_f64(), sum.to_f64().ln()] } else { NOTHING };
                }
            }
            LogSums::Known(sums) => {
                for ((query, row), &[largest, log_sum]) in rows.zip(scores.chunks_exact_mut(keys)).zip(sums) {
                    let seen = self.seen(query);
                    let scale = self.masked(query, &mut row[..seen]);
                    known_probabilities(&mut row[..seen], scale, T::of(largest), T::of(log_sum));
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
        let Sizes { queries, keys, width, .. } = self.sizes;
        let heads = self.heads(x);
        let len = heads * queries * width;
        let mut log_sums = vec![NOTHING; heads * queries];
        let sums = Parts::new(&mut log_sums);
        let (unit, together) = (self.places.together() * queries * width, self.places.together());
        let attend = |out: &mut [T]| {
            for_slices(out, unit, self.work(together), &|first, out| {
                let mut scores = Vec::new();
                for (at, out) in out.chunks_exact_mut(unit).enumerate() {
                    for part in 0..together {
                        let head = (first + at) * together + part;
                        let [q, k, v] = self.places.arguments(&self.sizes, x, head);
                        let (start, stride) = self.places.result(width, part);
                        for rows in blocks(queries) {
                            // SAFETY: each head and block of queries is treated by one task, once.
                            let sums = unsafe { sums.slice(head * queries + rows.start, rows.len()) };
                            self.probabilities(q, k, rows.clone(), &mut scores, LogSums::New(sums));
                            let seen = self.seen(rows.end - 1);
                            let p = Matrix::strided(&scores, rows.len(), seen, keys);
                            let out = &mut out[start + rows.start * stride..];
                            gemm_strided(p, v.rows(0..seen), out, stride, false, false);
                        }
                    }
                }
            });
        };
        // SAFETY: products that are not added write every element and read none; those over no keys write zeros.
        let out = if keys > 0 && len > 0 { unsafe { written(len, attend) } } else { vec![T::ZERO; len] };
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
        let mut gradients = [0, 1, 2].map(|at| x.get(at).map(|x| vec![T::ZERO; x.len()]));
        if depth == 0 || keys == 0 || y.is_empty() {
            return Ok(gradients);
        }
        let (heads, together) = (self.heads(x), self.places.together());
        {
            let parts: Vec<Parts<'_, T>> = gradients.iter_mut().flatten().map(|all| Parts::new(all)).collect();
            for_tasks(heads / together, 3 * self.work(together), &|task| {
                let (mut scores, mut dp) = (Vec::new(), Vec::new());
                for part in 0..together {
                    let head = task * together + part;
                    let [q, k, v] = self.places.arguments(&self.sizes, x, head);
                    // SAFETY: heads that lie together are treated by one task, which uses one place for the length of one product.
                    let place = |which: usize| unsafe { self.places.gradient(&self.sizes, &parts, head, which) };
                    let (start, stride) = self.places.result(width, part);
                    let start = task * together * queries * width + start;
                    let row_of = |row: usize| start + row * stride..start + row * stride + width;
                    for rows in blocks(queries) {
                        let sums = &log_sums[head * queries + rows.start..head * queries + rows.end];
                        self.probabilities(q, k, rows.clone(), &mut scores, LogSums::Known(sums));
                        let seen = self.seen(rows.end - 1);
                        if seen == 0 {
                            continue;
                        }
                        let p = Matrix::strided(&scores, rows.len(), seen, keys);
                        let out_grad = Matrix::strided(&grad[row_of(rows.start).start..], rows.len(), width, stride);
                        let (to_v, v_stride) = place(2);
                        gemm_strided(p.t(), out_grad, to_v, v_stride, true, false);
                        dp.resize(rows.len() * keys, T::ZERO);
                        gemm_strided(out_grad, v.rows(0..seen).t(), &mut dp, keys, false, false);
                        let lines = scores.chunks_exact(keys).zip(dp.chunks_exact_mut(keys));
                        for (row, (p, dp)) in rows.clone().zip(lines) {
                            let (y, grad) = (&y[row_of(row)], &grad[row_of(row)]);
                            score_gradient(&p[..seen], y, grad, T::of(self.scale), &mut dp[..seen]);
                        }
                        let ds = Matrix::strided(&dp, rows.len(), seen, keys);
                        let (to_q, q_stride) = place(0);
                        let to_q = &mut to_q[rows.start * q_stride..];
                        gemm_strided(ds, k.rows(0..seen), to_q, q_stride, false, false);
                        let (to_k, k_stride) = place(1);
                        gemm_strided(ds.t(), q.rows(rows), to_k, k_stride, true, false);
                    }
                }
            });
        }
        Ok(gradients)
    }
}
