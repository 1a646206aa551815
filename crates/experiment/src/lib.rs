#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod atomic_file;
mod command_line;
mod context;
mod error;
mod interruption;
mod lifeline;
mod page;
mod paper;
mod plot;
mod progress;
mod regular_file;
mod report_files;
mod run;
mod run_details;
mod run_directory;
pub mod statistics;
mod stored_value;
mod terminal;
mod trial;
mod trial_group;
mod trial_store;
mod verdict;

pub use context::{Context, Table};
pub use error::{BoxError, Error, Result};
pub use page::Page;
pub use paper::{Claim, Judge, Paper, Published};
pub use plot::{Axis, Bars, Node, Plot, Samples, Series, Tile};
pub use report::{Scale, Verdict};
pub use run::main;
pub use trial::{Outcome, Trial, TrialContext};
pub use verdict::Measured;
