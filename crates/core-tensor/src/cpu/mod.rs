//! The loops of the dense operations: functions of slices, and the [kernels](crate::kernel::Kernel) made of them.
//!
//! `ops` checks arguments, chooses between a kernel and a composition of Candle's operations, and puts results together; files here have the names of theirs.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod batch_norm;
pub(crate) mod bias;
pub(crate) mod broadcast;
pub(crate) mod channel_affine;
pub(crate) mod conv;
pub(crate) mod grouped;
pub(crate) mod indexing;
pub(crate) mod joining;
pub(crate) mod linear;
pub(crate) mod loss;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod pair_loss;
pub(crate) mod pointwise;
pub(crate) mod pool;
pub(crate) mod prelu;
pub(crate) mod recurrent;
pub(crate) mod reduce;
pub(crate) mod relative_attention;
pub(crate) mod replace_rows;
pub(crate) mod row_blocks;
pub(crate) mod softmax;
pub(crate) mod weighted_rows;
