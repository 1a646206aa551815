//! The secret of an encoding.

use crate::{Error, Result};
use core_tensor::random::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 secret bytes, from which the first weights and the orders of pixels follow. Neither `Debug` nor any report shows them; they are overwritten when the key is dropped.
///
/// A key in a configuration file is not secret, and neither is one that is made of a seed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.fingerprint())
    }
}

impl Key {
    /// From the operating system's generator.
    ///
    /// # Errors
    /// When it has none.
    pub fn generate() -> Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| Error::InvalidData {
            operation: "Key::generate",
            what: "the operating system's random numbers",
            reason: error.to_string(),
        })?;
        Ok(Self(bytes))
    }

    /// From 64 hexadecimal digits; white space around them is left out.
    ///
    /// # Errors
    /// Another number of digits, or a character that is none. The message does not repeat the text.
    pub fn from_hex(text: &str) -> Result<Self> {
        let digits = text.trim().as_bytes();
        if digits.len() != 64 {
            return Err(Error::length("Key::from_hex", "characters of a key", digits.len(), 64));
        }
        let digit = |at: usize| match (digits[at] as char).to_digit(16) {
            Some(digit) => Ok(digit as u8),
            None => Err(Error::config("Key::from_hex", "the key", format!("has no hexadecimal digit at place {at}"))),
        };
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = 16 * digit(2 * at)? + digit(2 * at + 1)?;
        }
        Ok(Self(bytes))
    }

    /// The key as 64 hexadecimal digits, to be stored where nobody else reads.
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// A key that follows from a number: for experiments, in which nothing is secret.
    pub fn of_seed(seed: u64) -> Self {
        let mut bytes = [0; 32];
        Rng::new(seed).fork("key").fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Eight digits that tell keys apart and give nothing away.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"fingerprint");
        hash.update(self.0);
        hex(&hash.finalize()[..4])
    }

    /// An independent stream for a purpose.
    pub(crate) fn stream(&self, purpose: &str) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(self.digest(purpose.as_bytes()))
    }

    /// A hash that only who has the key can compute.
    pub(crate) fn digest(&self, data: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(data);
        hash.finalize().into()
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The numbers `0..n` in random order.
pub(crate) fn permutation(n: usize, stream: &mut ChaCha8Rng) -> Vec<u32> {
    let mut values: Vec<u32> = (0..n as u32).collect();
    for last in (1..n).rev() {
        let drawn = (u128::from(stream.next_u64()) * (last as u128 + 1)) >> 64;
        values.swap(last, drawn as usize);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_never_shown() {
        let key = Key::of_seed(3);
        assert_eq!(Key::from_hex(&format!(" {}\n", key.to_hex())).unwrap(), key);
        assert!(!format!("{key:?}").contains(&key.to_hex()[..16]));
        assert_ne!(Key::generate().unwrap(), Key::generate().unwrap());
        assert_ne!(key.stream("init").next_u64(), key.stream("grid").next_u64());
        for wrong in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"é".repeat(32)] {
            let message = Key::from_hex(wrong).unwrap_err().to_string();
            // what was wrong, and not the text itself
            assert!(message.contains("digit at place 0") || message.contains("expected 64"), "{message}");
            assert!(wrong.len() < 10 || !message.contains(&wrong[..10]), "{message}");
        }
        let mut order = permutation(1000, &mut key.stream("grid"));
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<u32>>());
    }
}
