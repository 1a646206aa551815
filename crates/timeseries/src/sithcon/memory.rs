//! The memory as a layer: whole sequences, or their last step only.

use super::filters::{LogTimeConfig, LogTimeFilters};
use super::operations::{self, Reading};
use super::sequences::Sequences;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use std::sync::{Arc, Mutex};

/// A bank of filters over time (iSITH or SITH): `f̃_i(t) = dt · Σ_j h_i((j+1) dt) f(t − j)`, scaled to unit area, zeros before the start.
///
/// Nothing is learned; gradients reach the input. In f32, taps below 2⁻⁶⁶ of the largest of the bank count as 0, so that no product meets a subnormal number. A NaN or an infinity in the input reaches the later steps of its sequence within the buffer, and nothing else.
/// The cost of a sequence of T steps is n T min(T, J)/2 multiplications per feature, as a matrix product.
#[derive(Debug, Clone)]
pub struct LogTimeMemory {
    filters: Arc<LogTimeFilters>,
    /// The first lags, as far as they have been needed so far.
    taps: Arc<Mutex<Option<Tensor>>>,
}

/// At which steps a memory is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Every,
    Last,
}

impl LogTimeMemory {
    /// The memory of a configuration.
    ///
    /// # Errors
    /// As for [`LogTimeFilters::new`].
    pub fn new(config: LogTimeConfig) -> Result<Self> {
        Ok(Self::from_filters(LogTimeFilters::new(config)?))
    }

    /// The memory with these filters.
    pub fn from_filters(filters: LogTimeFilters) -> Self {
        Self { filters: Arc::new(filters), taps: Arc::default() }
    }

    /// The filters.
    pub fn filters(&self) -> &LogTimeFilters {
        &self.filters
    }

    /// The memory at every step: `[rows, features, taus]` for the rows of `x`.
    ///
    /// # Errors
    /// A dtype that is neither f32 nor f64.
    pub fn forward_sequences(&self, x: &Sequences) -> Result<Tensor> {
        Ok(operations::memory(x.values(), self.reading(x, At::Every)?)?)
    }

    /// The memory at the last step of each sequence: `[sequences, features, taus]`.
    ///
    /// # Errors
    /// As for [`Self::forward_sequences`].
    pub fn forward_last(&self, x: &Sequences) -> Result<Tensor> {
        Ok(operations::memory(x.values(), self.reading(x, At::Last)?)?)
    }

    pub(crate) fn reading(&self, x: &Sequences, at: At) -> Result<Reading> {
        let mut rows = Vec::new();
        for sequence in 0..x.len() {
            let range = x.rows(sequence);
            let first = if at == At::Every { range.start } else { range.end - 1 };
            rows.extend((first..range.end).map(|row| (row as u32, range.start as u32)));
        }
        let num_lags = self.filters.num_lags();
        let taps = self.taps(x.longest().min(num_lags), x.values().dtype(), x.values().device())?;
        Ok(Reading { rows, num_lags, taps })
    }

    fn taps(&self, lags: usize, dtype: DType, device: &Device) -> Result<Tensor> {
        if !matches!(dtype, DType::F32 | DType::F64) {
            let (op, what, expected) = ("log-time memory", "x", "f32 or f64");
            return Err(core_tensor::Error::DType { operation: op, what, got: dtype, expected }.into());
        }
        let mut cache = self.taps.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(taps) = &*cache
            && taps.dims()[0] >= lags
            && taps.dtype() == dtype
            && taps.device().same_device(device)
        {
            return Ok(taps.clone());
        }
        // some in reserve, so that slowly growing sequences do not compute them each time
        let reserve = lags.next_power_of_two().min(self.filters.num_lags());
        let mut taps = self.filters.taps(reserve);
        if dtype == DType::F32 {
            cut_tails(&mut taps);
        }
        let taps = Tensor::from_vec(taps, (reserve, self.filters.taus().len()), &Device::Cpu)?;
        let taps = taps.to_dtype(dtype)?.to_device(device)?;
        *cache = Some(taps.clone());
        Ok(taps)
    }
}

/// Sets taps below 2⁻⁶⁶ (1.4e-20) of the largest to 0: in f32 they are lost in any sum with others, and most would be subnormal, which costs some processors a hundred cycles for each product.
fn cut_tails(taps: &mut [f64]) {
    const SHARE: f64 = 1. / (1u128 << 66) as f64;
    let least = taps.iter().fold(0f64, |largest, &tap| largest.max(tap)) * SHARE;
    taps.iter_mut().filter(|tap| **tap < least).for_each(|tap| *tap = 0.);
}

impl Module for LogTimeMemory {
    /// `[batch, features, time]` to `[batch, taus, features, time]`.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let sequences = Sequences::from_batch(x)?;
        let y = self.forward_sequences(&sequences)?;
        let (batch, features, time) =
            x.dims3().map_err(|_| Error::shape("log-time memory", "x", x, "[batch, features, time]"))?;
        y.reshape((batch, time, features, self.filters.taus().len()))?.permute((0, 3, 2, 1))?.contiguous()
    }
}
