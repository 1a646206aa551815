//! How the gradients of a bucket are averaged over ranks, after PyTorch's communication hooks.

mod allreduce;
mod compressed;
mod contract;
mod power_sgd;

pub use allreduce::Allreduce;
pub use compressed::Compressed;
pub use contract::{Hook, HookState, Statistics};
pub use power_sgd::PowerSgd;
