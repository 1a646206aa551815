//! What the authors' program does differently, for tests against its output. Not for training: each item says why.

use super::hash::murmur3;
use crate::{Encoded, Result};

/// The seed of the hash: 43 plus the number of calls so far for all tensors, which restarts at 100,000.
pub fn seed(calls: u64) -> u32 {
    43 + (calls % 100_000) as u32
}

/// Hashed selection that marks an empty slot by 0, so that element 0 is never sent.
pub fn hash_select(candidates: &[u32], num_slots: u32, seed: u32) -> Vec<u32> {
    let mut table = vec![0; num_slots as usize];
    for &candidate in candidates {
        if let Some(slot) = murmur3(candidate, seed).checked_rem(num_slots) {
            table[slot as usize] = candidate;
        }
    }
    table.retain(|&index| index != 0);
    table
}

/// Sparse decoding in which the last worker wins where several share an index, without division by their number.
///
/// # Errors
///
/// When a gradient does not fit into `out`.
pub fn decode(gradients: &[Encoded], out: &mut [f32]) -> Result<()> {
    out.fill(0.);
    for gradient in gradients {
        if let Encoded::Sparse { indices, values, .. } = gradient {
            for (&index, &value) in indices.iter().zip(values) {
                let len = out.len();
                *out.get_mut(index as usize).ok_or_else(|| crate::encoded::out_of_range(index, len))? = value;
            }
        } else {
            gradient.add_to(1., out)?;
        }
    }
    Ok(())
}
