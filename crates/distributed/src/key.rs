//! What a compression's random numbers follow from.

use serde::{Deserialize, Serialize};

/// Identifies one compression: its random numbers follow from the key alone, so that a resumed run has the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Key {
    /// The seed of the run.
    pub seed: u64,
    /// The optimiser's step.
    pub step: u64,
    /// The tensor, from [`Key::tensor_id`].
    pub tensor: u64,
    /// The sending rank.
    pub rank: u64,
}

impl Key {
    /// The number of a tensor's name, the same on every rank.
    pub fn tensor_id(name: &str) -> u64 {
        fnv_1a(name)
    }

    /// The seed of a random stream that all ranks share. A compressor that needs several independent streams gives each a name; use your compressor's name as the prefix:
    /// `"my-compressor positions"`.
    ///
    /// ```
    /// use distributed::Key;
    /// let key = Key { seed: 1, step: 7, tensor: Key::tensor_id("head.weight"), rank: 3 };
    /// let other = Key { rank: 0, ..key };
    /// assert_eq!(key.shared_seed("positions"), other.shared_seed("positions"));
    /// assert_ne!(key.shared_seed("positions"), key.shared_seed("rounding"));
    /// assert_ne!(key.rank_seed("positions"), other.rank_seed("positions"));
    /// ```
    pub fn shared_seed(&self, stream: &str) -> u64 {
        [self.step, self.tensor, fnv_1a(stream)].into_iter().fold(mix(self.seed), |state, part| mix(state ^ mix(part)))
    }

    /// The seed of a random stream of this rank alone.
    pub fn rank_seed(&self, stream: &str) -> u64 {
        mix(self.shared_seed(stream) ^ mix(!self.rank))
    }
}

fn fnv_1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// One step of SplitMix64.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
