//! Numbers that an allreduce sums.

use super::frame::Kind;
use bytemuck::Pod;
use std::ops::AddAssign;

/// A float, and how its little-endian bytes are added and copied.
pub(super) trait Element: Pod + Default + AddAssign + Send {
    /// The kinds of its messages.
    const SCATTER: Kind;
    const COLLECT: Kind;

    fn read(bytes: &[u8]) -> impl Iterator<Item = Self>;

    /// Adds the floats in these bytes to `sum`.
    fn add(sum: &mut [Self], bytes: &[u8]) {
        sum.iter_mut().zip(Self::read(bytes)).for_each(|(sum, value)| *sum += value);
    }

    fn copy(into: &mut [Self], bytes: &[u8]) {
        into.iter_mut().zip(Self::read(bytes)).for_each(|(into, value)| *into = value);
    }
}

impl Element for f32 {
    const SCATTER: Kind = Kind::Scatter;
    const COLLECT: Kind = Kind::Collect;

    fn read(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes.as_chunks::<4>().0.iter().map(|chunk| Self::from_le_bytes(*chunk))
    }
}

impl Element for f64 {
    const SCATTER: Kind = Kind::ScatterF64;
    const COLLECT: Kind = Kind::CollectF64;

    fn read(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes.as_chunks::<8>().0.iter().map(|chunk| Self::from_le_bytes(*chunk))
    }
}
