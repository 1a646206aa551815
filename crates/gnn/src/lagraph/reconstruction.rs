//! The last layer of a decoder, its ReLU and the squared error against features, in tiles of rows.

use crate::{Features, Result};
use candle_core::{DType, Module, Tensor};
use core_tensor::kernel::{Gradients, Kernel, Matrix, Real, apply, for_slices2, gemm, multiversion, product};
use core_tensor::nn::Linear;
use core_tensor::ops;
use core_tensor::sparse::SparsePattern;
use std::sync::{Arc, OnceLock};

/// Features as what is to be predicted, prepared once.
#[derive(Debug, Clone)]
pub struct Target {
    features: Features,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    dense: OnceLock<Tensor>,
    classes: OnceLock<Tensor>,
    rows: OnceLock<SparseRows>,
}

/// Entries in compressed rows, in f64.
#[derive(Debug)]
struct SparseRows {
    offsets: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f64>,
}

impl Target {
    /// The features that are to be predicted.
    pub fn new(features: &Features) -> Self {
        Self { features: features.clone(), shared: Arc::default() }
    }

    /// The features.
    pub fn features(&self) -> &Features {
        &self.features
    }

    pub(super) fn dense(&self) -> Result<Tensor> {
        if let Some(known) = self.shared.dense.get() {
            return Ok(known.clone());
        }
        let dense = self.features.to_dense()?.detach();
        Ok(self.shared.dense.get_or_init(|| dense).clone())
    }

    /// The place of the largest feature of each node, the first of equal ones.
    pub(super) fn classes(&self) -> Result<&Tensor> {
        if let Some(known) = self.shared.classes.get() {
            return Ok(known);
        }
        let x = self.dense()?;
        let width = x.dims()[1].max(1);
        let values: Vec<f64> = x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        let first_largest = |row: &[f64]| {
            let mut best = 0;
            for (at, &value) in row.iter().enumerate() {
                if value > row[best] {
                    best = at;
                }
            }
            best as u32
        };
        let classes: Vec<u32> = values.chunks_exact(width).map(first_largest).collect();
        let classes = Tensor::from_vec(classes, x.dims()[0], x.device())?;
        Ok(self.shared.classes.get_or_init(|| classes))
    }

    fn rows(&self, pattern: &SparsePattern, values: &Tensor) -> Result<()> {
        if self.shared.rows.get().is_some() {
            return Ok(());
        }
        let of_entries: Vec<f64> = values.detach().to_dtype(DType::F64)?.to_vec1()?;
        let mut rows = SparseRows { offsets: vec![0], columns: Vec::new(), values: Vec::new() };
        for row in 0..pattern.num_rows() {
            let entries = pattern.row_entries(row).unwrap_or_default();
            let columns = pattern.row_cols(row).unwrap_or_default();
            let mut merged: Vec<(u32, f64)> =
                columns.iter().zip(entries).map(|(&column, &entry)| (column, of_entries[entry as usize])).collect();
            merged.sort_by_key(|entry| entry.0);
            for (column, value) in merged {
                // entries that are listed twice add up
                let start = rows.offsets[row];
                match (rows.columns.len() > start, rows.columns.last(), rows.values.last_mut()) {
                    (true, Some(&last), Some(sum)) if last == column => *sum += value,
                    _ => {
                        rows.columns.push(column);
                        rows.values.push(value);
                    }
                }
            }
            rows.offsets.push(rows.columns.len());
        }
        let _ = self.shared.rows.set(rows);
        Ok(())
    }
}

/// `mean (act(x Wᵀ + b) − target)²` over all `n · f` entries.
///
/// On the CPU with sparse features no `[n, f]` tensor exists: tiles of rows are predicted, compared and turned into gradients while they are in the cache.
pub(super) fn reconstruct(x: &Tensor, layer: &Linear, target: &Target, has_relu: bool) -> Result<Tensor> {
    if let (Features::Sparse { pattern, values }, true, Some(bias)) =
        (&target.features, x.device().is_cpu(), layer.bias())
    {
        target.rows(pattern, values)?;
        let (inputs, outputs) = (x.dims()[1], pattern.num_cols());
        if x.dims()[0] > 0 && outputs > 0 {
            let needs_gradients = x.track_op() || layer.weight().track_op() || bias.track_op();
            let shared = target.shared.clone();
            let kernel = TiledError { shared, inputs, outputs, has_relu, needs_gradients, kept: OnceLock::new() };
            return Ok(apply(kernel, &[x, layer.weight(), bias], ())?);
        }
    }
    let y = layer.forward(x)?;
    let y = if has_relu { ops::relu(&y)? } else { y };
    Ok(ops::mse(&y, &target.dense()?)?)
}

/// The error of a linear layer against sparse rows.
struct TiledError {
    shared: Arc<Shared>,
    inputs: usize,
    outputs: usize,
    has_relu: bool,
    needs_gradients: bool,
    /// Gradients of the arguments for a gradient of 1, in f64 or f32 as they come.
    kept: OnceLock<Box<dyn std::any::Any + Send + Sync>>,
}

/// Elements of a tile of predictions: few enough to be nothing beside the features of a large graph, and so many rows that packing the weights for each tile's products costs little.
const TILE: usize = 2 * 1024 * 1024;

multiversion! {
    /// Turns a row of predictions before bias and activation into the derivative of the squared error, `2 (act(y) − t) act'(y)` times `scale / 2`, and writes the sum of squares to `sum[0]`.
    fn errors<T>(y: &mut [T], bias: &[T], has_relu: bool, scale: T, columns: &[u32], targets: &[f64], sum: &mut [f64]) {
        // what the loop below takes for errors against zero is put right at the entries
        let mut corrected = 0f64;
        for (&column, &target) in columns.iter().zip(targets) {
            let raw = y[column as usize] + bias[column as usize];
            let value = if has_relu && raw <= T::ZERO { T::ZERO } else { raw }.to_f64();
            corrected += (value - target).powi(2) - value * value;
        }
        let mut lanes = [T::ZERO; 16];
        let mut blocks = y.chunks_exact_mut(16);
        let mut biases = bias.chunks_exact(16);
        for (y, bias) in (&mut blocks).zip(&mut biases) {
            for ((y, &bias), lane) in y.iter_mut().zip(bias).zip(&mut lanes) {
                let raw = *y + bias;
                let value = if has_relu && raw <= T::ZERO { T::ZERO } else { raw };
                *lane += value * value;
                *y = value * scale;
            }
        }
        for ((y, &bias), lane) in blocks.into_remainder().iter_mut().zip(biases.remainder()).zip(&mut lanes) {
            let raw = *y + bias;
            let value = if has_relu && raw <= T::ZERO { T::ZERO } else { raw };
            *lane += value * value;
            *y = value * scale;
        }
        for (&column, &target) in columns.iter().zip(targets) {
            let value = &mut y[column as usize];
            // a prediction that the ReLU cut has no derivative
            if !has_relu || *value > T::ZERO {
                *value -= T::of(target) * scale;
            }
        }
        sum[0] = corrected + lanes.iter().map(|lane| lane.to_f64()).sum::<f64>();
    }
}

impl Kernel for TiledError {
    const NAME: &'static str = "reconstruction error";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let Some(rows) = self.shared.rows.get() else { candle_core::bail!("{}: no target", Self::NAME) };
        let (h, weight, bias) = (x[0], x[1], x[2]);
        let (d, f) = (self.inputs, self.outputs);
        let n = h.len() / d;
        let scale = T::of(2.0 / (n as f64 * f as f64));
        let tile = (TILE / f).clamp(1, n);
        let weights = Matrix::new(weight, f, d);
        let mut of_h = vec![T::ZERO; if self.needs_gradients { h.len() } else { 0 }];
        let mut of_weight = vec![T::ZERO; if self.needs_gradients { weight.len() } else { 0 }];
        let mut of_bias = vec![0f64; if self.needs_gradients { f } else { 0 }];
        let mut total = 0f64;
        for first in (0..n).step_by(tile) {
            let count = tile.min(n - first);
            let hidden = Matrix::new(&h[first * d..(first + count) * d], count, d);
            let mut y = product(hidden, weights.t());
            let mut sums = vec![0f64; count];
            // a sum for each row, so that where tasks are cut changes nothing
            for_slices2((&mut y, f), (&mut sums, 1), 4 * f, &|at, y, sums| {
                for (row, (y, sum)) in y.chunks_exact_mut(f).zip(sums.chunks_exact_mut(1)).enumerate() {
                    let entries = rows.offsets[first + at + row]..rows.offsets[first + at + row + 1];
                    let (columns, targets) = (&rows.columns[entries.clone()], &rows.values[entries]);
                    errors(y, bias, self.has_relu, scale, columns, targets, sum);
                }
            });
            total += sums.iter().sum::<f64>();
            if self.needs_gradients {
                let errors = Matrix::new(&y, count, f);
                gemm(errors, weights, &mut of_h[first * d..(first + count) * d], false);
                gemm(errors.t(), hidden, &mut of_weight, first > 0);
                for row in y.chunks_exact(f) {
                    of_bias.iter_mut().zip(row).for_each(|(sum, &error)| *sum += error.to_f64());
                }
            }
        }
        if self.needs_gradients {
            let of_bias: Vec<T> = of_bias.into_iter().map(T::of).collect();
            let _ = self.kept.set(Box::new([of_h, of_weight, of_bias]));
        }
        Ok(vec![T::of(total / (n as f64 * f as f64))])
    }

    fn backward<T: Real>(
        &self,
        _: &[&[T]],
        _: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let kept = self.kept.get().and_then(|kept| kept.downcast_ref::<[Vec<T>; 3]>());
        let Some(kept) = kept else { candle_core::bail!("{}: gradients were not kept", Self::NAME) };
        let scaled = |gradient: &Vec<T>| -> Vec<T> {
            if grad[0] == T::ONE { gradient.clone() } else { gradient.iter().map(|&g| g * grad[0]).collect() }
        };
        Ok(std::array::from_fn(|at| needs[at].then(|| scaled(&kept[at]))))
    }
}
