//! Selection by a hash of the index.

use super::hash::murmur3;
use crate::{Error, Result};

const EMPTY: u32 = u32::MAX;

/// The candidates that remain in a table of slots after each has written its index to slot `murmur3(index, seed) mod num_slots`, in the order of slots. Where several candidates collide, the
/// last one survives: the largest index, if candidates ascend.
///
/// ```
/// let sent = distributed::dragonn::hash_select(&[0, 7, 9, 1000], 16, 43)?;
/// assert!(sent.len() <= 4);
/// # Ok::<(), distributed::Error>(())
/// ```
///
/// # Errors
///
/// When `num_slots` is 0 or above 2³² - 1.
pub fn hash_select(candidates: &[u32], num_slots: usize, seed: u32) -> Result<Vec<u32>> {
    let slots = match u32::try_from(num_slots) {
        Ok(slots) if slots > 0 => slots,
        _ => return Err(Error::config("num_slots", format!("{num_slots} is not within 1 and 2^32 - 1"))),
    };
    let mut table = vec![EMPTY; num_slots];
    for &candidate in candidates {
        table[(murmur3(candidate, seed) % slots) as usize] = candidate;
    }
    table.retain(|&index| index != EMPTY);
    Ok(table)
}

/// The expected number of elements sent, `m (1 − (1 − 1/m)^c)` for `c` candidates and `m` slots.
pub fn expected_sent(candidates: usize, num_slots: usize) -> f64 {
    let m = num_slots as f64;
    if num_slots == 0 {
        return 0.;
    }
    -m * (candidates as f64 * (-1. / m).ln_1p()).exp_m1()
}
