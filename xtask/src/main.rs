//! `cargo xtask`: finds, builds and runs the reproductions of the papers, fetches their data, collects their reports, and
//! runs tests, benchmarks and the steps of continuous integration.
//!
//! One file for each command. Nothing here depends on a paper's crate: those are started as processes, so that this
//! program builds in seconds.

#![forbid(unsafe_code)]

#[macro_use]
mod terminal;

mod api;
mod bench;
mod ci;
mod data;
mod data_sets;
mod dependencies;
mod docs;
mod doctor;
mod download;
mod error;
mod exit;
mod index_page;
mod job_control;
mod list;
mod miri;
mod nearest;
mod packages;
mod paper_pages;
mod papers;
mod process;
mod readme_table;
mod report;
mod reproduce;
mod reproduction;
mod test;
mod text_table;
mod type_check;
mod words;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::type_check::Outcome;

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
    /// Build the documentation of the libraries (target/doc) and, where mdBook is installed, the book of docs/ (target/book)
    Docs,
    /// Say what this machine has and lacks for building, running on GPUs, and MPI; exit code 1 when the default build lacks
    /// something
    Doctor,
}

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    process::hand_signals_on();
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
        Command::Docs => docs::run().map(|outcome| Outcome::code(&outcome)),
        Command::Doctor => Ok(doctor::run()),
    };
    let code = outcome.unwrap_or_else(|error| {
        complain!("error: {error}");
        error.exit_code()
    });
    // Whatever a program that was told to end has made of it.
    let is_cut_short = code != exit::OK && process::is_interrupted();
    ExitCode::from(if is_cut_short { exit::INTERRUPTED } else { code })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    const EXTREMES: [&str; 22] = [
        "0",
        "1",
        "2",
        "2147483648",
        "4294967295",
        "4294967296",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "-1",
        "-9223372036854775808",
        "NaN",
        "inf",
        "-inf",
        "1e300",
        "-0.0",
        "0.1",
        "",
        "x",
        "1/18446744073709551615",
        "18446744073709551615/18446744073709551615",
        "cuda:18446744073709551615",
    ];

    /// Every option of every command that takes a value, with extremes: an error, or arguments that can be handed on.
    #[test]
    fn no_number_on_the_command_line_panics() {
        let mut options = Vec::new();
        collect(&CommandLine::command(), &[], &mut options);
        assert!(options.len() >= 12, "{options:?}");
        for (words, option) in options {
            for value in EXTREMES {
                let words = words.iter().cloned().chain([format!("--{option}={value}")]);
                let parsed = CommandLine::try_parse_from(["cargo xtask".to_owned()].into_iter().chain(words));
                match parsed.map(|command_line| command_line.command) {
                    Ok(Command::Reproduce(arguments)) => reproduce::check_extremes(&arguments.arguments),
                    Ok(_) => {}
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
            }
        }
    }

    /// The words that lead to a command, with something for each of its arguments that must be there, and its options.
    fn collect(command: &clap::Command, words: &[String], options: &mut Vec<(Vec<String>, String)>) {
        let required = command.get_positionals().filter(|argument| argument.is_required_set());
        let words: Vec<String> = words.iter().cloned().chain(required.map(|_| "sep".to_owned())).collect();
        for argument in command.get_arguments().filter(|argument| argument.get_action().takes_values()) {
            options.extend(argument.get_long().map(|option| (words.clone(), option.to_owned())));
        }
        for command in command.get_subcommands() {
            let words: Vec<String> = words.iter().cloned().chain([command.get_name().to_owned()]).collect();
            collect(command, &words, options);
        }
    }

    #[test]
    fn more_threads_and_rounds_than_any_machine_has_use_for_are_refused() {
        for (option, largest) in [("--threads", 4096), ("--rounds", 10_000)] {
            let parse = |number: u64| CommandLine::try_parse_from(["x", "bench", option, &number.to_string()]);
            assert!(parse(largest).is_ok() && parse(largest + 1).is_err() && parse(0).is_err(), "{option}");
        }
    }
}
