//! How the gradients of a bucket are averaged over ranks, after PyTorch's communication hooks.

use crate::communicator::Communicator;
use crate::compressor::Compressor;
use crate::error::same_length;
use crate::key::Key;
use crate::memory::Memory;
use crate::ratio::check_ratio;
use crate::wire::{self, WireFormat};
use crate::{Encoded, Error, Result, scan};
use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;

/// Averages one bucket of gradients over all ranks. Each bucket has a hook of its own.
pub trait Hook: Send {
    /// A short name. Ranks whose hooks have different names refuse to train together.
    fn name(&self) -> &'static str;

    /// Replaces the gradients of this rank by the mean over ranks, or its approximation, with the same bits on every rank.
    ///
    /// # Errors
    ///
    /// When a gradient is not finite, or communication fails.
    fn reduce(&mut self, gradients: &mut [f32], key: &Key, communicator: &dyn Communicator) -> Result<Statistics>;

    /// Changes the fraction of the elements to send. Hooks without such a fraction ignore it.
    ///
    /// # Errors
    ///
    /// When it is not above 0 and at most 1.
    fn set_ratio(&mut self, ratio: f64) -> Result<()> {
        check_ratio("ratio", ratio)
    }

    /// What a checkpoint has to hold.
    fn state(&self) -> HookState {
        HookState::default()
    }

    /// Restores a state of [`Hook::state`].
    ///
    /// # Errors
    ///
    /// When it belongs to another hook.
    fn load_state(&mut self, state: &HookState) -> Result<()> {
        if *state == HookState::default() { Ok(()) } else { Err(Error::state(format!("{} has no state", self.name()))) }
    }
}

/// The state of a hook.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HookState {
    /// Residuals, momenta and the like by name, without `/` in names. The longest has the length of the bucket.
    pub lists: BTreeMap<String, Vec<f32>>,
    /// Numbers that adapt from step to step.
    pub numbers: Vec<f64>,
}

/// What this rank did with a bucket in one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Elements in the bucket.
    pub elements: usize,
    /// Elements that the compressor considered for sending.
    pub candidates: usize,
    /// Elements sent.
    pub sent: usize,
    /// Bytes of the compressed form, or of the dense one.
    pub bytes: usize,
    /// Seconds of error feedback and compression.
    pub encode_seconds: f64,
    /// Seconds of communication, including waiting for slower ranks.
    pub communicate_seconds: f64,
    /// Seconds of decoding.
    pub decode_seconds: f64,
}

impl Statistics {
    /// Candidates that were not sent, such as those that lost a collision of DRAGONN's hash.
    pub fn lost(&self) -> usize {
        self.candidates.saturating_sub(self.sent)
    }
}

impl std::ops::AddAssign for Statistics {
    fn add_assign(&mut self, other: Self) {
        self.elements += other.elements;
        self.candidates += other.candidates;
        self.sent += other.sent;
        self.bytes += other.bytes;
        self.encode_seconds += other.encode_seconds;
        self.communicate_seconds += other.communicate_seconds;
        self.decode_seconds += other.decode_seconds;
    }
}

/// The exact mean of uncompressed gradients.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allreduce;

impl Hook for Allreduce {
    fn name(&self) -> &'static str {
        "allreduce"
    }

    fn reduce(&mut self, gradients: &mut [f32], _: &Key, communicator: &dyn Communicator) -> Result<Statistics> {
        let start = Instant::now();
        mean(gradients, communicator)?;
        Ok(Statistics {
            elements: gradients.len(),
            candidates: gradients.len(),
            sent: gradients.len(),
            bytes: gradients.len() * 4,
            communicate_seconds: start.elapsed().as_secs_f64(),
            ..Statistics::default()
        })
    }
}

fn mean(values: &mut [f32], communicator: &dyn Communicator) -> Result<()> {
    communicator.allreduce_sum(values)?;
    let scale = 1. / communicator.world_size() as f32;
    values.iter_mut().for_each(|value| *value *= scale);
    Ok(())
}

/// The mean of compressed gradients: error feedback, compression, exchange, decoding.
pub struct Compressed {
    compressor: Box<dyn Compressor>,
    memory: Memory,
    format: WireFormat,
}

impl Compressed {
    /// A compressor, built-in or your own, with a memory and the bytes to send. Momentum memories need a compressor that sends indices.
    pub fn new(compressor: Box<dyn Compressor>, memory: Memory, format: WireFormat) -> Self {
        Self { compressor, memory, format }
    }
}

impl Hook for Compressed {
    fn name(&self) -> &'static str {
        self.compressor.name()
    }

    fn reduce(&mut self, gradients: &mut [f32], key: &Key, communicator: &dyn Communicator) -> Result<Statistics> {
        let start = Instant::now();
        let compensated = self.memory.compensate(gradients)?;
        let mut encoded = self.compressor.compress(compensated, key)?;
        same_length("compress", "the encoded gradient", encoded.len(), gradients.len())?;
        if self.format.half_values {
            encoded.round_to_half();
        }
        self.memory.update(&encoded, self.compressor.as_ref())?;
        let mut statistics = Statistics {
            elements: gradients.len(),
            candidates: self.compressor.candidates().unwrap_or(encoded.num_sent()),
            sent: encoded.num_sent(),
            ..Statistics::default()
        };
        let scale = 1. / communicator.world_size() as f32;
        if let Encoded::Shared { values, .. } = &mut encoded {
            // positions are the same on all ranks, so values can be summed without decoding
            statistics.encode_seconds = start.elapsed().as_secs_f64();
            let start = Instant::now();
            statistics.bytes = values.len() * 4;
            communicator.allreduce_sum(values)?;
            statistics.communicate_seconds = start.elapsed().as_secs_f64();
            let start = Instant::now();
            gradients.fill(0.);
            self.compressor.decode(&encoded, scale, gradients)?;
            statistics.decode_seconds = start.elapsed().as_secs_f64();
            return Ok(statistics);
        }
        let bytes = wire::to_bytes(&encoded, self.format)?;
        statistics.bytes = bytes.len();
        statistics.encode_seconds = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let gathered = communicator.allgather(&bytes)?;
        statistics.communicate_seconds = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let all = gathered.iter().map(|bytes| wire::from_bytes(bytes)).collect::<Result<Vec<_>>>()?;
        scan::clear(gradients);
        for encoded in &all {
            same_length("decode", "the gradient of another rank", encoded.len(), gradients.len())?;
            self.compressor.decode(encoded, scale, gradients)?;
        }
        statistics.decode_seconds = start.elapsed().as_secs_f64();
        Ok(statistics)
    }

    fn set_ratio(&mut self, ratio: f64) -> Result<()> {
        self.compressor.set_ratio(ratio)
    }

    fn state(&self) -> HookState {
        HookState {
            lists: self.memory.state().into_iter().map(|(name, list)| (name.to_owned(), list.to_vec())).collect(),
            numbers: self.compressor.state(),
        }
    }

    fn load_state(&mut self, state: &HookState) -> Result<()> {
        self.memory.load_state(&state.lists)?;
        self.compressor.load_state(&state.numbers)
    }
}

/// Names in the state of [`PowerSgd`].
const RESIDUAL: &str = "residual";
const FACTOR: &str = "factor";

/// PowerSGD (Vogels et al., NeurIPS 2019): the gradient, as a matrix `M` `[rows, columns]`, is sent as two thin factors `P = M Q` and `Q = Mᵀ P`. Each is averaged over ranks, `P` is made
/// orthonormal before `Q` is computed, and `Q` is kept for the next step. Error feedback is built in.
#[derive(Debug, Clone)]
pub struct PowerSgd {
    rows: usize,
    columns: usize,
    rank: usize,
    error: Vec<f32>,
    q: Vec<f32>,
}

impl PowerSgd {
    /// For a tensor of this shape: the first dimension is the rows, all others together are the columns.
    ///
    /// # Errors
    ///
    /// When the rank is zero, or the shape is empty.
    pub fn new(shape: &[usize], rank: usize) -> Result<Self> {
        let rows = shape.first().copied().unwrap_or(0);
        let columns: usize = shape.iter().skip(1).product();
        if rank == 0 || rows == 0 || columns == 0 {
            return Err(Error::config("PowerSGD", format!("rank {rank} for a tensor of shape {shape:?}")));
        }
        Ok(Self { rows, columns, rank: rank.min(rows).min(columns), error: Vec::new(), q: Vec::new() })
    }
}

impl Hook for PowerSgd {
    fn name(&self) -> &'static str {
        "power-sgd"
    }

    fn reduce(&mut self, gradients: &mut [f32], key: &Key, communicator: &dyn Communicator) -> Result<Statistics> {
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
        let mut encode = start.elapsed().as_secs_f64();
        let start = Instant::now();
        mean(&mut p, communicator)?;
        let mut communicate = start.elapsed().as_secs_f64();
        let start = Instant::now();
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
        let sent = (rows + columns) * rank;
        Ok(Statistics {
            elements: gradients.len(),
            candidates: sent,
            sent,
            bytes: sent * 4,
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
