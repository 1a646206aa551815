#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod admm;
mod block_sparse;
mod compile;
mod error;
mod mask;
mod masked;
pub mod network;
pub mod partition;
mod plain_file;
mod refill;
mod regroup;
mod scope;
pub mod scores;
mod select;
mod slimming;
mod tickets;

pub use admm::{Admm, AdmmStructure};
pub use block_sparse::{BlockSparseConv2d, BlockSparseLinear, block_sparse_conv2d, block_sparse_linear};
pub use compile::{CompileOptions, Compiled, Form, LayerPlan, LayerReport, Plan, Report, compile, machine};
pub use error::{Error, Result};
pub use mask::{Mask, Masks};
pub use masked::MaskedOptimizer;
pub use network::{Model, Network, NetworkBuilder};
pub use refill::{ChannelCriterion, Refill, channel_importance};
pub use regroup::{Block, BlockRule, Granularity, Parts, Regroup, Regrouped, union};
pub use scope::Scope;
pub use select::{Schedule, Scores, Selection, iterative_round, one_shot, select};
pub use slimming::Slimming;
pub use tickets::{PostProcess, Rewind, Round, Structure, Ticket, TicketOptions, Tickets};
