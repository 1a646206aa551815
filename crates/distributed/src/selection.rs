//! Which tensors are compressed.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which tensors are compressed. The others are summed uncompressed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TensorSelection {
    /// Tensors of more than this many elements. The authors' program has 2²⁰ as default and 204800 in its commands for DRAGONN.
    MinElements(usize),
    /// Tensors whose compressed exchange is faster by this model.
    CostModel(CostModel),
}

impl Default for TensorSelection {
    fn default() -> Self {
        Self::MinElements(1 << 20)
    }
}

impl TensorSelection {
    /// Whether a tensor of `len` elements is compressed, when each of `ranks` would send about `sent` of them.
    pub fn is_compressed(&self, len: usize, sent: f64, ranks: usize) -> bool {
        match self {
            Self::MinElements(threshold) => len > *threshold,
            Self::CostModel(model) => model.compressed_seconds(len, sent, ranks) < model.dense_seconds(len, ranks),
        }
    }
}

/// The time of an exchange by the α–β model, in which a message of `b` bytes takes `α + b / β`. This criterion is ours, not the paper's.
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
    /// Checks the numbers.
    ///
    /// # Errors
    ///
    /// When a number is negative or not finite, or the bandwidth is zero.
    pub fn check(&self) -> Result<()> {
        let all =
            [self.latency, self.bandwidth, self.encode_per_element, self.decode_per_entry, self.write_per_element];
        if all.iter().all(|value| value.is_finite() && *value >= 0.) && self.bandwidth > 0. {
            Ok(())
        } else {
            Err(Error::config(
                "cost model",
                format!("{self:?} has a number that is negative or not finite, or a bandwidth of 0"),
            ))
        }
    }

    /// Seconds of a ring allreduce of `bytes`: `2 (N − 1) (α + bytes / (N β))`.
    pub fn allreduce_seconds(&self, bytes: f64, ranks: usize) -> f64 {
        let n = ranks as f64;
        2. * (n - 1.) * (self.latency + bytes / (n * self.bandwidth))
    }

    /// Seconds of a ring allgather of `bytes` from each rank: `(N − 1) (α + bytes / β)`.
    pub fn allgather_seconds(&self, bytes: f64, ranks: usize) -> f64 {
        (ranks as f64 - 1.) * (self.latency + bytes / self.bandwidth)
    }

    /// Seconds of the uncompressed exchange of `len` floats.
    pub fn dense_seconds(&self, len: usize, ranks: usize) -> f64 {
        self.allreduce_seconds(4. * len as f64, ranks)
    }

    /// Seconds of compression, exchange of `sent` indices and values from each rank, and sparse decoding.
    pub fn compressed_seconds(&self, len: usize, sent: f64, ranks: usize) -> f64 {
        let n = len as f64;
        self.encode_per_element * n
            + self.allgather_seconds(8. * sent, ranks)
            + self.decode_per_entry * sent * ranks as f64
            + self.write_per_element * n
    }
}
