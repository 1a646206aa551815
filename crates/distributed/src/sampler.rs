//! Which samples a rank trains on.

use crate::key::mix;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// What becomes of the samples that are left when their number is no multiple of the number of ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remainder {
    /// The first samples of the epoch's order are taken again, so that no sample is left out; as in PyTorch. The default.
    #[default]
    Pad,
    /// The last samples of the epoch's order are left out; others in each epoch.
    Drop,
}

/// Each rank's part of a seeded permutation of the samples, another one in each epoch. All parts have the same length, so that all ranks make the same number of steps. Rank `r` of `N` has the positions
/// `r, r + N, r + 2 N, …` of the permutation, so that the samples of step `i` do not depend on the number of ranks when the batches of all ranks together are of one size.
///
/// ```
/// use distributed::sampler::{DistributedSampler, Remainder};
/// let of = |rank| DistributedSampler::new(10, rank, 4, 7, Remainder::Pad);
/// let (first, last) = (of(0)?.epoch(0), of(3)?.epoch(0));
/// assert_eq!((first.len(), last.len()), (3, 3));
/// assert_ne!(first, of(0)?.epoch(1));
/// # Ok::<(), distributed::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DistributedSampler {
    samples: usize,
    rank: usize,
    ranks: usize,
    seed: u64,
    remainder: Remainder,
}

impl DistributedSampler {
    /// The part of `rank` of `ranks` in this many samples. The seed must be equal on all ranks.
    ///
    /// # Errors
    ///
    /// When `rank` is not below `ranks`, or there are no samples for some rank: none at all, or with [`Remainder::Drop`] fewer than ranks.
    pub fn new(samples: usize, rank: usize, ranks: usize, seed: u64, remainder: Remainder) -> Result<Self> {
        if rank >= ranks {
            return Err(Error::OutOfRange { operation: "DistributedSampler", what: "rank", index: rank, bound: ranks });
        }
        let sampler = Self { samples, rank, ranks, seed, remainder };
        if sampler.len() == 0 {
            let reason = format!("{samples} samples for {ranks} ranks leave none for each ({remainder:?})");
            return Err(Error::config("samples", reason));
        }
        Ok(sampler)
    }

    /// The number of samples of each rank in an epoch: `⌈samples / ranks⌉`, or `⌊samples / ranks⌋` with [`Remainder::Drop`].
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        match self.remainder {
            Remainder::Pad => self.samples.div_ceil(self.ranks),
            Remainder::Drop => self.samples / self.ranks,
        }
    }

    /// The samples of this rank in an epoch, in the order of training.
    pub fn epoch(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.samples).collect();
        let seed = mix(mix(self.seed) ^ mix(epoch ^ 0x5a4d_504c_4552));
        // Fisher and Yates; the bias of multiply and shift is below 2^-64 times the number of samples
        for at in (1..order.len()).rev() {
            let draw = u128::from(mix(seed.wrapping_add(mix(at as u64)))) * (at as u128 + 1);
            order.swap(at, (draw >> 64) as usize);
        }
        (0..self.len()).map(|step| order[(step * self.ranks + self.rank) % self.samples]).collect()
    }
}
