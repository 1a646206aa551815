//! Seeded randomness. All random numbers of this workspace come from an [`Rng`] on the host, so that a seed gives the same numbers on every device. Candle's
//! generator for the CPU cannot be seeded.

mod dropout;
mod tensors;

pub(crate) use dropout::check_probability;
pub use dropout::dropout;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A seeded random number generator (ChaCha with 8 rounds). It implements [`rand::RngCore`], for use with `rand` and `rand_distr`, and [`serde`]'s traits, which
/// store its exact position in the stream.
///
/// ```
/// use core_tensor::random::Rng;
/// let mut rng = Rng::new(7);
/// let mut augmentation = rng.fork("augmentation");
/// assert_eq!(rng.permutation(5), Rng::new(7).permutation(5));
/// assert_ne!(augmentation.permutation(50), rng.permutation(50));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    stream: ChaCha8Rng,
}

impl Rng {
    /// A generator with the given seed.
    pub fn new(seed: u64) -> Self {
        Self { stream: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// An independent generator for `name`. It depends only on the seed of `self` and on `name`, not on how much was drawn from `self`, and `self` does not
    /// advance: `rng.fork("fold 3").fork("init")` is always the same stream.
    pub fn fork(&self, name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.stream.get_seed());
        hash.update(name.as_bytes());
        Self { stream: ChaCha8Rng::from_seed(hash.finalize().into()) }
    }

    /// A uniform number in `[0, 1)` with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// A uniform integer in `0..bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // Lemire's multiplication method; the loop rejects the few values that would bias the result
        let bound = bound as u64;
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        if (product as u64) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u64) < threshold {
                product = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as usize
    }

    /// Shuffles the elements; every order is equally likely.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }

    /// The numbers `0..n` in random order. `n` is cut to `u32::MAX` if it is larger.
    pub fn permutation(&mut self, n: usize) -> Vec<u32> {
        let mut values: Vec<u32> = (0..u32::try_from(n).unwrap_or(u32::MAX)).collect();
        self.shuffle(&mut values);
        values
    }

    /// `k` distinct numbers of `0..n` in random order; all of them if `k` is larger than `n`. The cost is linear in `n`.
    pub fn sample_without_replacement(&mut self, n: usize, k: usize) -> Vec<u32> {
        let mut values: Vec<u32> = (0..u32::try_from(n).unwrap_or(u32::MAX)).collect();
        let k = k.min(values.len());
        for first in 0..k {
            let other = first + self.below(values.len() - first);
            values.swap(first, other);
        }
        values.truncate(k);
        values
    }
}

impl RngCore for Rng {
    fn next_u32(&mut self) -> u32 {
        self.stream.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.stream.next_u64()
    }

    fn fill_bytes(&mut self, dst: &mut [u8]) {
        self.stream.fill_bytes(dst);
    }
}

/// The state in a form that every serde format supports: 128-bit positions are stored as the index of a block of sixteen words and the word in it.
#[derive(Serialize, Deserialize)]
struct State {
    seed: [u8; 32],
    stream: u64,
    block: u64,
    word: u8,
}

impl Serialize for Rng {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let position = self.stream.get_word_pos();
        State {
            seed: self.stream.get_seed(),
            stream: self.stream.get_stream(),
            block: (position >> 4) as u64,
            word: (position & 15) as u8,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rng {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let state = State::deserialize(deserializer)?;
        let mut stream = ChaCha8Rng::from_seed(state.seed);
        stream.set_stream(state.stream);
        stream.set_word_pos(u128::from(state.block) << 4 | u128::from(state.word & 15));
        Ok(Self { stream })
    }
}
