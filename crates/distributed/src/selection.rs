//! Which tensors are worth compressing.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which tensors are compressed; the others are summed as they are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TensorSelection {
    /// Those of more than so many elements; the authors' program has 2²⁰ by default, its commands 204800 for DRAGONN.
    MinElements(usize),
    /// Those whose compressed exchange is faster.
    CostModel(CostModel),
}

impl Default for TensorSelection {
    fn default() -> Self {
        Self::MinElements(1 << 20)
    }
}

impl TensorSelection {
    /// Whether a tensor of `len` elements, of which about `sent` would be sent by each of `ranks`, is compressed.
    pub fn is_compressed(&self, len: usize, sent: f64, ranks: usize) -> bool {
        match self {
            Self::MinElements(threshold) => len > *threshold,
            Self::CostModel(model) => model.compressed_seconds(len, sent, ranks) < model.dense_seconds(len, ranks),
        }
    }
}

/// The time of an exchange by the α–β model: a message of `b` bytes takes `α + b / β`. A derived criterion, not the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CostModel {
    /// α, seconds for each message.
    pub latency: f64,
    /// β, bytes per second.
    pub bandwidth: f64,
    /// Seconds to compress one element, measured.
    pub encode_per_element: f64,
    /// Seconds to add one received entry, measured.
    pub decode_per_entry: f64,
    /// Seconds to clear or write one element of the result, measured.
    pub write_per_element: f64,
}

impl CostModel {
    /// # Errors
    ///
    /// When a number is negative or not finite, or the bandwidth is zero.
    pub fn check(&self) -> Result<()> {
        let all =
            [self.latency, self.bandwidth, self.encode_per_element, self.decode_per_entry, self.write_per_element];
        if all.iter().all(|value| value.is_finite() && *value >= 0.) && self.bandwidth > 0. {
            Ok(())
        } else {
            Err(Error::options("cost model", format!("{self:?} has a negative or infinite number, or no bandwidth")))
        }
    }

    /// A ring allreduce of `bytes`: `2 (N − 1) (α + bytes / (N β))`.
    pub fn allreduce_seconds(&self, bytes: f64, ranks: usize) -> f64 {
        let n = ranks as f64;
        2. * (n - 1.) * (self.latency + bytes / (n * self.bandwidth))
    }

    /// A ring allgather of `bytes` from each rank: `(N − 1) (α + bytes / β)`.
    pub fn allgather_seconds(&self, bytes: f64, ranks: usize) -> f64 {
        (ranks as f64 - 1.) * (self.latency + bytes / self.bandwidth)
    }

    /// Exchange of `len` floats.
    pub fn dense_seconds(&self, len: usize, ranks: usize) -> f64 {
        self.allreduce_seconds(4. * len as f64, ranks)
    }

    /// Compression, exchange of `sent` indices and values from each rank, and sparse decoding.
    pub fn compressed_seconds(&self, len: usize, sent: f64, ranks: usize) -> f64 {
        let n = len as f64;
        self.encode_per_element * n
            + self.allgather_seconds(8. * sent, ranks)
            + self.decode_per_entry * sent * ranks as f64
            + self.write_per_element * n
    }
}
