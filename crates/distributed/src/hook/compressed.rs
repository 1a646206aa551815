//! The mean of compressed gradients.

use super::contract::{Hook, HookState, Statistics};
use crate::communicator::Communicator;
use crate::compressor::Compressor;
use crate::error::same_length;
use crate::key::Key;
use crate::memory::Memory;
use crate::wire::{self, Limits, WireFormat};
use crate::{Encoded, Result, scan};
use std::time::Instant;

/// The mean of compressed gradients: error feedback, compression, exchange, decoding.
pub struct Compressed {
    compressor: Box<dyn Compressor>,
    memory: Memory,
    format: WireFormat,
}

impl std::fmt::Debug for Compressed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressed")
            .field("compressor", &self.compressor.name())
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
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
        let gathered = communicator.allgather_within(&bytes, longest(gradients.len()))?;
        statistics.communicate_seconds = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let limits = Limits { max_elements: gradients.len() };
        let all = gathered.iter().map(|bytes| wire::from_bytes_within(bytes, limits)).collect::<Result<Vec<_>>>()?;
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

/// The most bytes that another rank may send for a gradient of this length: 1 KiB and 16 bytes for each element, twice what an index and a value take.
fn longest(len: usize) -> usize {
    len.saturating_mul(16).saturating_add(1 << 10)
}
