//! What an archive may hold.

/// The most bytes that one file may decompress to: 2 GiB.
pub(super) const MAX_BYTES: u64 = 2 << 30;

/// What an archive may hold at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Members, folders included. Default: 200,000.
    pub num_members: usize,
    /// Decompressed bytes in all, the members' names included. Default: 2 GiB.
    pub num_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { num_members: 200_000, num_bytes: MAX_BYTES }
    }
}
