//! The settings of data-parallel training.

use crate::hook::Hook;
use crate::memory::MemoryConfig;
use crate::selection::TensorSelection;
use crate::wire::WireFormat;
use crate::{Compression, Result};
use serde::{Deserialize, Serialize};

/// The settings of [`DataParallel`](super::DataParallel), which must be equal on all ranks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataParallelConfig {
    /// How selected tensors are compressed; by default they are not.
    pub compression: Compression,
    /// Error feedback of compressed tensors; by default the whole residual is kept.
    pub memory: MemoryConfig,
    /// Which tensors are compressed; by default those of more than 2²⁰ elements.
    pub selection: TensorSelection,
    /// The first steps, in which nothing is compressed; 200, the default of the authors' program.
    pub dense_steps: u64,
    /// Pairs of step (ascending) and ratio: the ratio applies from that step on, the compression's own ratio before the first pair. Empty by default. DGC's warm-up is
    /// `[(0, 0.25), (e, 0.0625), (2 e, 0.015625), (3 e, 0.004), (4 e, 0.001)]` for epochs of `e` steps.
    pub ratios: Vec<(u64, f64)>,
    /// How sparse gradients are written as bytes.
    pub wire: WireFormat,
    /// Tensors that are not compressed are summed together in buckets of about this many bytes; 25 MiB, as in PyTorch.
    pub bucket_bytes: usize,
    /// Whether gradients are exchanged during the backward pass; true. On the CPU a model may change from step to step, since a gradient is reported when it is complete. On other devices the model must
    /// compute the gradient of each parameter in the same way in every step (a static graph in PyTorch); a step in which it does not ends with [`Error::DynamicGraph`](crate::Error::DynamicGraph).
    pub overlap: bool,
    /// The seed of all random numbers of compression; 0.
    pub seed: u64,
}

impl Default for DataParallelConfig {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            memory: MemoryConfig::default(),
            selection: TensorSelection::default(),
            dense_steps: 200,
            ratios: Vec::new(),
            wire: WireFormat::default(),
            bucket_bytes: 25 << 20,
            overlap: true,
            seed: 0,
        }
    }
}

/// Makes the hook of a selected tensor from its name and shape.
pub type MakeHook<'a> = &'a dyn Fn(&str, &[usize]) -> Result<Box<dyn Hook>>;
