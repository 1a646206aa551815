//! Contrast between two views: the positive pair of each row against all other rows, in blocks.

use crate::{Error, Result};
use candle_core::Tensor;
use core_tensor::kernel::{Gradients, Kernel, Matrix, Real, apply, for_slices2, gemm, multiversion, product};
use core_tensor::ops;
use std::sync::OnceLock;

/// Which pairs of rows stand in the denominator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Negatives {
    /// The other view's rows but the positive one: GraphCL.
    OtherView,
    /// The other view's rows, the positive one too, and the own view's other rows: GRACE.
    BothViews,
}

/// NT-Xent as GraphCL has it, in one direction: with `s_ij = cos(u_i, v_j) / τ`
///
/// ```text
/// L = mean_i −log( e^{s_ii} / Σ_{j≠i} e^{s_ij} )
/// ```
///
/// of two views `u`, `v`, `[batch, d]`. The positive pair is not in the denominator, so the loss can be negative. Memory is linear in the batch.
///
/// # Errors
/// Fewer than two rows (the denominator is empty, the loss infinite), views of different shapes, a temperature that is not positive.
///
/// You, Chen, Sui, Chen, Wang, Shen, *Graph Contrastive Learning with Augmentations*, NeurIPS 2020.
pub fn nt_xent(u: &Tensor, v: &Tensor, temperature: f64) -> Result<Tensor> {
    let (u, v) = views("nt_xent", u, v, temperature)?;
    contrast(&u, &v, temperature, Negatives::OtherView)
}

/// The mean of [`nt_xent`] in both directions.
///
/// # Errors
/// As [`nt_xent`].
pub fn nt_xent_symmetric(u: &Tensor, v: &Tensor, temperature: f64) -> Result<Tensor> {
    let (u, v) = views("nt_xent", u, v, temperature)?;
    let sum = ops::add(
        &contrast(&u, &v, temperature, Negatives::OtherView)?,
        &contrast(&v, &u, temperature, Negatives::OtherView)?,
    )?;
    Ok(ops::affine(&sum, 0.5, 0.0)?)
}

/// GRACE's loss: with `s(a, b) = cos(a, b) / τ`
///
/// ```text
/// l(u_i) = −log( e^{s(u_i, v_i)} / (Σ_{j≠i} e^{s(u_i, u_j)} + Σ_j e^{s(u_i, v_j)}) ),   L = mean_i ½ (l(u_i) + l(v_i))
/// ```
///
/// of two views `[n, d]`. Rows are compared in blocks, value and gradient in one pass: memory is linear in `n`, where a similarity matrix would take `4 n²` bytes several times.
///
/// # Errors
/// Fewer than two rows, views of different shapes, a temperature that is not positive.
///
/// Zhu, Xu, Yu, Liu, Wu, Wang, *Deep Graph Contrastive Representation Learning*, 2020.
pub fn grace(u: &Tensor, v: &Tensor, temperature: f64) -> Result<Tensor> {
    let (u, v) = views("grace", u, v, temperature)?;
    let sum = ops::add(
        &contrast(&u, &v, temperature, Negatives::BothViews)?,
        &contrast(&v, &u, temperature, Negatives::BothViews)?,
    )?;
    Ok(ops::affine(&sum, 0.5, 0.0)?)
}

fn views(operation: &'static str, u: &Tensor, v: &Tensor, temperature: f64) -> Result<(Tensor, Tensor)> {
    if !(temperature.is_finite() && temperature > 0.0) {
        let (got, expected) = (temperature.to_string(), "a finite number above 0");
        return Err(Error::InvalidConfig { what: "temperature", got, expected });
    }
    if u.rank() != 2 || u.dims() != v.dims() {
        let (got, expected) = (v.dims().to_vec(), format!("[rows, width] of both views; the first has {:?}", u.dims()));
        return Err(Error::Shape { operation, what: "the second view", got, expected });
    }
    if u.dims()[0] < 2 {
        let rows = u.dims()[0];
        let reason = format!("a batch of {rows}: with fewer than 2 there is nothing to contrast with");
        return Err(Error::invalid_data(operation, reason));
    }
    Ok((normalize_rows(u)?, normalize_rows(v)?))
}

/// Rows of length 1; rows of zeros stay as they are.
pub(crate) fn normalize_rows(x: &Tensor) -> Result<Tensor> {
    let squares = ops::sum_keepdim(&ops::sqr(x)?, &[1])?;
    let is_positive = squares.gt(0.0)?;
    let safe = ops::where_cond(&is_positive, &squares, &squares.ones_like()?)?;
    Ok(ops::div(x, &ops::sqrt(&safe)?)?)
}

fn contrast(u: &Tensor, v: &Tensor, temperature: f64, negatives: Negatives) -> Result<Tensor> {
    if u.device().is_cpu() {
        let width = u.dims()[1];
        let needs_gradients = u.track_op() || v.track_op();
        let kernel = Contrast { width, temperature, negatives, needs_gradients, kept: OnceLock::new() };
        return Ok(apply(kernel, &[u, v], ())?);
    }
    let n = u.dims()[0];
    let identity = Tensor::eye(n, u.dtype(), u.device())?;
    let without_diagonal = identity.affine(-1.0, 1.0)?;
    let scaled = (u / temperature)?;
    let across = scaled.matmul(&v.t()?)?;
    let positive = (&across * &identity)?.sum(1)?;
    let powers = across.exp()?;
    let denominator = match negatives {
        Negatives::OtherView => (powers * without_diagonal)?.sum(1)?,
        Negatives::BothViews => {
            let own = scaled.matmul(&u.t()?)?.exp()?;
            (powers.sum(1)? + (own * without_diagonal)?.sum(1)?)?
        }
    };
    Ok((denominator.log()? - positive)?.mean_all()?)
}

struct Contrast {
    width: usize,
    temperature: f64,
    negatives: Negatives,
    needs_gradients: bool,
    /// Gradients of both views for a gradient of 1.
    kept: OnceLock<Box<dyn std::any::Any + Send + Sync>>,
}

/// Similarities that exist at a time.
const BLOCK: usize = 4 * 1024 * 1024;

multiversion! {
    /// Adds the powers of a row of similarities to `sum[0]`; `skip` is left out (none beyond the row).
    fn powers<T>(row: &mut [T], scale: T, skip: usize, sum: &mut [f64]) {
        // cosines are at most 1, so that e^{(s − 1)/τ} cannot overflow
        for value in row.iter_mut() {
            *value = Real::exp((*value - T::ONE) * scale);
        }
        if let Some(value) = row.get_mut(skip) {
            *value = T::ZERO;
        }
        let mut lanes = [T::ZERO; 16];
        let (blocks, rest) = row.as_chunks::<16>();
        for block in blocks {
            for (lane, &value) in lanes.iter_mut().zip(block) {
                *lane += value;
            }
        }
        for (lane, &value) in lanes.iter_mut().zip(rest) {
            *lane += value;
        }
        for lane in lanes {
            sum[0] += lane.to_f64();
        }
    }
}

multiversion! {
    fn multiply<T>(row: &mut [T], factor: T) {
        for value in row {
            *value *= factor;
        }
    }
}

impl Contrast {
    /// Replaces similarities by powers, and adds them up; `skips_own` leaves out the row's own place.
    fn powers<T: Real>(&self, similarities: &mut [T], n: usize, first: usize, skips_own: bool, sums: &mut [f64]) {
        let scale = T::of(1.0 / self.temperature);
        for_slices2((similarities, n), (sums, 1), 16 * n, &|at, rows, sums| {
            for (row, (values, sum)) in rows.chunks_exact_mut(n).zip(sums.chunks_exact_mut(1)).enumerate() {
                let skip = if skips_own { first + at + row } else { usize::MAX };
                powers(values, scale, skip, sum);
            }
        });
    }

    fn run<T: Real>(&self, u: &[T], v: &[T]) -> (f64, [Vec<T>; 2]) {
        let d = self.width;
        let n = u.len() / d;
        let block = (BLOCK / n).clamp(1, n);
        let (all_u, all_v) = (Matrix::new(u, n, d), Matrix::new(v, n, d));
        let len = if self.needs_gradients { u.len() } else { 0 };
        let (mut of_u, mut of_v) = (vec![T::ZERO; len], vec![T::ZERO; len]);
        let per_row = T::of(1.0 / (self.temperature * n as f64));
        let mut total = 0.0;
        for first in (0..n).step_by(block) {
            let count = block.min(n - first);
            let part = first * d..(first + count) * d;
            let rows = Matrix::new(&u[part.clone()], count, d);
            let mut sums = vec![0f64; count];
            let mut across = product(rows, all_v.t());
            let positives: Vec<f64> = (0..count).map(|row| across[row * n + first + row].to_f64()).collect();
            let is_grace = self.negatives == Negatives::BothViews;
            self.powers(&mut across, n, first, !is_grace, &mut sums);
            let mut own = Vec::new();
            if is_grace {
                own = product(rows, all_u.t());
                self.powers(&mut own, n, first, true, &mut sums);
            }
            for (&sum, &positive) in sums.iter().zip(&positives) {
                total += sum.ln() + (1.0 - positive) / self.temperature;
            }
            if !self.needs_gradients {
                continue;
            }
            // ∂L/∂s_ij = (power / sum − [i = j, across]) / n, times 1/τ for the cosine
            for powers in [&mut across, &mut own] {
                if powers.is_empty() {
                    continue;
                }
                for_slices2((powers, n), (&mut sums, 1), n, &|_, rows, sums| {
                    for (row, sum) in rows.chunks_exact_mut(n).zip(sums) {
                        multiply(row, T::of(per_row.to_f64() / *sum));
                    }
                });
            }
            for row in 0..count {
                across[row * n + first + row] -= per_row;
            }
            let errors = Matrix::new(&across, count, n);
            gemm(errors, all_v, &mut of_u[part.clone()], true);
            gemm(errors.t(), rows, &mut of_v, true);
            if is_grace {
                let errors = Matrix::new(&own, count, n);
                gemm(errors, all_u, &mut of_u[part], true);
                gemm(errors.t(), rows, &mut of_u, true);
            }
        }
        (total / n as f64, [of_u, of_v])
    }
}

impl Kernel for Contrast {
    const NAME: &'static str = "contrast";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        if self.width == 0 {
            candle_core::bail!("{}: rows without columns", Self::NAME);
        }
        let (loss, gradients) = self.run(x[0], x[1]);
        if self.needs_gradients {
            let _ = self.kept.set(Box::new(gradients));
        }
        Ok(vec![T::of(loss)])
    }

    fn backward<T: Real>(
        &self,
        _: &[&[T]],
        _: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let kept = self.kept.get().and_then(|kept| kept.downcast_ref::<[Vec<T>; 2]>());
        let Some(kept) = kept else { candle_core::bail!("{}: gradients were not kept", Self::NAME) };
        let scaled = |gradient: &Vec<T>| -> Vec<T> { gradient.iter().map(|&g| g * grad[0]).collect() };
        Ok([needs[0].then(|| scaled(&kept[0])), needs[1].then(|| scaled(&kept[1])), None])
    }
}
