//! The exit codes of xtask and of the papers' programs. Scripts rely on them.

/// All went well; of a reproduction: every tested claim is reproduced.
pub const OK: u8 = 0;
/// An error, or a check that failed.
pub const ERROR: u8 = 1;
/// The command line is wrong, or names something unknown.
pub const USAGE: u8 = 2;
/// The reproduction finished, and some tested claim is not reproduced.
pub const NOT_REPRODUCED: u8 = 3;
/// This shard is done, and results of other shards are missing.
pub const OTHER_SHARDS_MISSING: u8 = 4;
/// The paper is not implemented yet. Only xtask ends with it.
pub const NOT_IMPLEMENTED: u8 = 5;
/// Interrupted, as shells number it; `--resume` continues.
pub const INTERRUPTED: u8 = 130;
