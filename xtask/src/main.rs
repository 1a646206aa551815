//! `cargo xtask`: finds, builds and runs the reproductions of the papers, fetches their data, collects their reports, and
//! runs tests, benchmarks and the steps of continuous integration.
//!
//! One file for each command. Nothing here depends on a paper's crate: those are started as processes, so that this
//! program builds in seconds.

#[macro_use]
mod terminal;

mod api;
mod bench;
mod ci;
mod data;
mod data_sets;
mod dependencies;
mod doctor;
mod download;
mod error;
mod exit;
mod index_page;
mod list;
mod miri;
mod nearest;
mod papers;
mod process;
mod readme_table;
mod report;
mod reproduce;
mod reproduction;
mod test;
mod text_table;
mod type_check;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Reproduce the papers, and everything around it
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = exit::HELP, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the papers: their crates, how far each is, and the claims that are reproduced
    List,
    Reproduce(reproduce::Reproduce),
    Download(download::Download),
    Data(data::Data),
    Report(report::ReportCommand),
    Test(test::Test),
    Bench(bench::Bench),
    Ci(ci::Ci),
    Api(api::Api),
    /// Say what this machine has and lacks for building, running on GPUs, and MPI; exit code 1 when the default build lacks
    /// something
    Doctor,
}

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    process::wait_for_programs_on_interrupt();
    let outcome = match &command_line.command {
        Command::List => list::run().map(|()| exit::OK),
        Command::Reproduce(arguments) => reproduce::run(arguments),
        Command::Download(arguments) => download::run(arguments),
        Command::Data(arguments) => data::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Test(arguments) => test::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Ci(arguments) => ci::run(arguments),
        Command::Api(arguments) => api::run(arguments),
        Command::Doctor => Ok(doctor::run()),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
