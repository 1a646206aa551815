//! Low-rank gradients.

use super::allreduce::{Allreduce, mean};
use super::contract::{Hook, HookState, Statistics};
use crate::communicator::Communicator;
use crate::error::same_length;
use crate::key::Key;
use crate::{Error, Result, scan};
use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use std::time::Instant;

/// Names in the state of [`PowerSgd`].
const RESIDUAL: &str = "residual";
const FACTOR: &str = "factor";

/// PowerSGD (Vogels et al., NeurIPS 2019): the gradient, as a matrix `M` `[rows, columns]`, is sent as two thin factors `P = M Q` and `Q = Mᵀ P`. Each is averaged over ranks, `P` is made
/// orthonormal before `Q` is computed, and `Q` is kept for the next step. Error feedback is built in.
///
/// A column of `Q` that vanishes would stay so for ever, since `M · 0 = 0`: after a gradient of zeros, or one of a lower rank. Such a column (its norm is at most 10⁻⁶ of the mean over ranks of `‖M‖`) is drawn
/// again, from the key and thus equally on all ranks. A scalar (shape `[]`) is sent as it is.
#[derive(Debug, Clone)]
pub struct PowerSgd {
    rows: usize,
    columns: usize,
    rank: usize,
    is_scalar: bool,
    error: Vec<f32>,
    q: Vec<f32>,
}

/// Columns of `Q` up to this fraction of the gradient's norm are drawn again.
const VANISHED: f64 = 1e-6;

impl PowerSgd {
    /// For a tensor of this shape: the first dimension is the rows, all others together are the columns.
    ///
    /// # Errors
    ///
    /// When the rank is zero, or a dimension is.
    pub fn new(shape: &[usize], rank: usize) -> Result<Self> {
        let rows = shape.first().copied().unwrap_or(1);
        let columns = shape.iter().skip(1).try_fold(1usize, |product, &size| product.checked_mul(size));
        let columns = columns.filter(|columns| rows.checked_mul(*columns).is_some()).unwrap_or(0);
        if rank == 0 || rows == 0 || columns == 0 {
            return Err(Error::config("PowerSGD", format!("rank {rank} for a tensor of shape {shape:?}")));
        }
        let (rank, is_scalar) = (rank.min(rows).min(columns), shape.is_empty());
        Ok(Self { rows, columns, rank, is_scalar, error: Vec::new(), q: Vec::new() })
    }

    /// Draws the columns of `Q` again that are at most this long, and makes the others about as long as 1 by a power of two, so that no product of two small numbers vanishes.
    fn renew(&mut self, at_most: f64, rng: &mut ChaCha8Rng) {
        let rank = self.rank;
        for column in 0..rank {
            let values = self.q.iter_mut().skip(column).step_by(rank);
            let norm = values.map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            let values = self.q.iter_mut().skip(column).step_by(rank);
            if norm <= at_most || norm == 0. {
                values.for_each(|value| *value = rng.random_range(-1f32..1.));
            } else {
                let scale = (-norm.log2().floor()).exp2();
                values.for_each(|value| *value = (f64::from(*value) * scale) as f32);
            }
        }
    }
}

impl Hook for PowerSgd {
    fn name(&self) -> &'static str {
        "power-sgd"
    }

    fn reduce(&mut self, gradients: &mut [f32], key: &Key, communicator: &dyn Communicator) -> Result<Statistics> {
        if self.is_scalar {
            return Allreduce.reduce(gradients, key, communicator);
        }
        let (rows, columns, rank) = (self.rows, self.columns, self.rank);
        same_length("PowerSGD", "the gradient", gradients.len(), rows * columns)?;
        let start = Instant::now();
        scan::max_magnitude("PowerSGD", gradients)?;
        if self.error.is_empty() {
            self.error = vec![0.; gradients.len()];
            // the same first Q on every rank
            let mut rng = ChaCha8Rng::seed_from_u64(key.shared_seed("power-sgd start"));
            self.q = (0..columns * rank).map(|_| rng.random_range(-1f32..1.)).collect();
        }
        self.error.iter_mut().zip(gradients.iter()).for_each(|(error, gradient)| *error += gradient);
        let matrix = &mut self.error;
        let mut p = vec![0f32; rows * rank];
        for (row, p) in matrix.chunks_exact(columns).zip(p.chunks_exact_mut(rank)) {
            for (value, q) in row.iter().zip(self.q.chunks_exact(rank)) {
                p.iter_mut().zip(q).for_each(|(p, q)| *p += value * q);
            }
        }
        // travels with P, so that all ranks find the same columns too short
        p.push(scan::sum(matrix, |value| value * value).sqrt() as f32);
        let mut encode = start.elapsed().as_secs_f64();
        let start = Instant::now();
        mean(&mut p, communicator)?;
        let mut communicate = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let norm = f64::from(p.pop().unwrap_or(0.));
        orthonormalize(&mut p, rank);
        self.q.fill(0.);
        for (row, p) in matrix.chunks_exact(columns).zip(p.chunks_exact(rank)) {
            for (value, q) in row.iter().zip(self.q.chunks_exact_mut(rank)) {
                q.iter_mut().zip(p).for_each(|(q, p)| *q += value * p);
            }
        }
        encode += start.elapsed().as_secs_f64();
        let start = Instant::now();
        mean(&mut self.q, communicator)?;
        communicate += start.elapsed().as_secs_f64();
        let start = Instant::now();
        for ((out, p), error) in
            gradients.chunks_exact_mut(columns).zip(p.chunks_exact(rank)).zip(matrix.chunks_exact_mut(columns))
        {
            for ((out, q), error) in out.iter_mut().zip(self.q.chunks_exact(rank)).zip(error) {
                *out = p.iter().zip(q).map(|(p, q)| p * q).sum();
                *error -= *out;
            }
        }
        self.renew(VANISHED * norm, &mut ChaCha8Rng::seed_from_u64(key.shared_seed("power-sgd renewal")));
        let sent = (rows + columns) * rank;
        Ok(Statistics {
            elements: gradients.len(),
            candidates: sent,
            sent,
            bytes: (sent + 1) * 4,
            encode_seconds: encode,
            communicate_seconds: communicate,
            decode_seconds: start.elapsed().as_secs_f64(),
        })
    }

    fn state(&self) -> HookState {
        let lists = [(RESIDUAL, &self.error), (FACTOR, &self.q)].into_iter().filter(|(_, list)| !list.is_empty());
        let lists = lists.map(|(name, list)| (name.to_owned(), list.clone())).collect();
        HookState { lists, numbers: Vec::new() }
    }

    fn load_state(&mut self, state: &HookState) -> Result<()> {
        match (state.lists.get(RESIDUAL), state.lists.get(FACTOR)) {
            (None, None) if state.lists.is_empty() => (self.error, self.q) = (Vec::new(), Vec::new()),
            (Some(error), Some(q))
                if state.lists.len() == 2
                    && error.len() == self.rows * self.columns
                    && q.len() == self.columns * self.rank =>
            {
                (self.error, self.q) = (error.clone(), q.clone());
            }
            _ => return Err(Error::state("PowerSGD has other factors, or factors of other sizes")),
        }
        Ok(())
    }
}

/// Gram–Schmidt on the columns of a matrix `[…, rank]`, in f64; a column that depends on earlier ones becomes zero.
fn orthonormalize(matrix: &mut [f32], rank: usize) {
    for column in 0..rank {
        let norm =
            |matrix: &[f32]| matrix.chunks_exact(rank).map(|row| f64::from(row[column]).powi(2)).sum::<f64>().sqrt();
        let before = norm(matrix);
        for earlier in 0..column {
            let dot: f64 = matrix.chunks_exact(rank).map(|row| f64::from(row[column]) * f64::from(row[earlier])).sum();
            matrix.chunks_exact_mut(rank).for_each(|row| row[column] -= (dot * f64::from(row[earlier])) as f32);
        }
        let after = norm(matrix);
        let scale = if after > 1e-5 * before { 1. / after } else { 0. };
        matrix.chunks_exact_mut(rank).for_each(|row| row[column] = (f64::from(row[column]) * scale) as f32);
    }
}
