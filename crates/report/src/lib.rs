#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod arguments;
mod error;
pub mod exit;
mod instant;
mod numbers;
mod report_json;
mod run_directory;
mod scale;
mod shard;
pub mod text;

pub use arguments::{Arguments, LIFELINE};
pub use error::Error;
pub use instant::rfc_3339;
pub use numbers::{number, short_number, significant};
pub use report_json::{ClaimResult, Outcome, Report, SCHEMA, Tally, Verdict};
pub use run_directory::{DEFAULT_OUT, REPORT_FILE, run_directory};
pub use scale::Scale;
pub use shard::{Shard, ShardChoice};
