//! DRAGONN: hashed selection of large gradient elements.
//!
//! Zhuang Wang, Zhaozhuo Xu, Xinyu Wu, Anshumali Shrivastava, T. S. Eugene Ng: "DRAGONN: Distributed Randomized Approximate Gradients of Neural Networks", ICML 2022, PMLR 162.
//!
//! Workers that exchange only the largest elements of a gradient save communication, but finding exactly those elements can cost more than it saves. DRAGONN takes a threshold from a sample of
//! 1 %. Every element above it writes its index into a small table, at the slot given by a hash of the index, and what remains in the table is sent: no sort, no count, no compaction. Where two
//! elements collide, one of them waits for a later step, in which another seed separates them; error feedback keeps it until then.
//!
//! Notation: `n` elements, ratio `r`, `k = max(1, ⌊n r⌋)`, threshold `τ`, `c` candidates (elements with `|g_i| ≥ τ`), `m = f k` slots, slots factor `f` = 4,
//! `h_σ(i)` MurmurHash3 (x86, 32 bit) of the index with seed `σ`.
//!
//! | step | item |
//! |---|---|
//! | threshold from a sample | [`sampled_threshold`], [`sample_threshold_at`] |
//! | `slots[h_σ(i) mod m] = i` | [`hash_select`], [`murmur3`] |
//! | the expected number of elements sent, `m (1 − (1 − 1/m)^c)` | [`expected_sent`] |
//! | all of it as a compressor | [`Dragonn`] |
//! | sparse decoding | [`decode_sparse`](crate::encoded::decode_sparse) |
//! | which tensors are worth it | [`TensorSelection`](crate::selection::TensorSelection) |
//!
//! We do not repeat what we take for errors of the authors' program: index 0 is sent like any other (theirs marks an empty slot with it), values of several workers at one index are added (theirs
//! overwrites), and the sum is divided by the number of workers. The seed follows from step and tensor instead of a count of calls, so that a resumed run has the same bits.

#[doc(hidden)]
pub mod authors;
mod compressor;
mod hash;
mod sample;
mod select;

pub use compressor::{Dragonn, DragonnConfig};
pub use hash::murmur3;
pub use sample::{SampleLayout, sample_positions, sample_threshold_at, sampled_threshold};
pub(crate) use sample::{largest_kth, sample_rank};
pub use select::{expected_sent, hash_select};
