//! The front end of the programs for one's own data: arguments, files in, a folder with one page out, lines that cannot steer a terminal, progress with the time that is left.
//!
//! ```no_run
//! use experiment::{Axis, Plot, Result, Series};
//! use reproduction::front::{self, Output, Progress, Results};
//!
//! /// Count what a table holds
//! #[derive(Debug, clap::Parser)]
//! #[command(mut_arg("out", |out| out.default_value("counted")))]
//! struct Arguments {
//!     /// A table: .csv with a header, .npy or .npz
//!     table: std::path::PathBuf,
//!     #[command(flatten)]
//!     output: Output,
//! }
//!
//! fn run(arguments: &Arguments) -> Result<()> {
//!     let table = front::Columns::read(&arguments.table)?;
//!     let mut results = Results::prepare("What a table holds", &arguments.output)?;
//!     let mut progress = Progress::new("counting", "columns", table.names().len());
//!     let mut sums = Vec::new();
//!     for name in table.names() {
//!         sums.push(table.numbers(&name)?.into_iter().flatten().sum::<f64>());
//!         progress.step();
//!     }
//!     results.say(&format!("{} columns", sums.len()));
//!     let x = (0..sums.len()).map(|at| at as f64).collect();
//!     let plot = Plot::lines("Sums", Axis::linear("column"), Axis::linear("sum"), vec![Series::new("sum", x, sums.clone())]);
//!     results.figure("sums", &plot, "The sum of each column.")?;
//!     results.json("sums", "the sums", &sums)?;
//!     results.finish("look at sums.svg")
//! }
//!
//! fn main() -> std::process::ExitCode { front::main(run) }
//! ```

mod arrays;
mod columns;
mod files;
mod lines;
mod progress;
mod results;

pub use arrays::{Numbers, array, classes, images, named_array};
pub use columns::{Columns, numbered};
pub use files::{Output, read, write};
pub use lines::{plain, say, tell};
pub use progress::Progress;
pub use results::{Results, cell, quoted};

use std::fmt::Display;
use std::process::ExitCode;

/// Reads the command line and runs the program; an error is one line on standard error and exit code 1.
///
/// Freed memory stays with the process, see [`core_tensor::memory::configure`].
pub fn main<A: clap::Parser, E: Display>(run: impl FnOnce(&A) -> Result<(), E>) -> ExitCode {
    let arguments = A::parse();
    core_tensor::memory::configure();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
