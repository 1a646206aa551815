//! The loops of the dense operations: functions of slices, and the [kernels](crate::kernel::Kernel) made of them.
//!
//! `ops` checks arguments, chooses between a kernel and a composition of Candle's operations, and puts results together; files here have the names of theirs.

pub(crate) mod conv;
