//! A tape of our own beside Candle's: what the operations of this crate record, so that [`crate::backward`] can walk it without zeros, copies and additions.
//!
//! Each result of a recorded operation has a node, found by the result's id. The node belongs to the custom operation that Candle's graph holds, and so lives as long as the result. Who calls
//! `loss.backward()` takes Candle's pass over the same graph and needs none of this.

mod gradient;
mod registry;
mod views;
mod walk;

pub(crate) use gradient::Gradient;
pub(crate) use registry::{Found, Plain1, Plain2, Rule, apply1, apply2, apply3};
pub use walk::{Foreign, foreign};
pub(crate) use walk::{Outcome, walk};
