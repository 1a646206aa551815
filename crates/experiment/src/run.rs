//! From the command line to the exit code.

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{CommandFactory, FromArgMatches};
use report::{Arguments, Shard, exit};

use crate::atomic_file;
use crate::command_line::{self, CommandLine, data_dir};
use crate::context::{Content, Context};
use crate::error::{BoxError, Error, Result};
use crate::interruption::Interruption;
use crate::lifeline;
use crate::paper::Paper;
use crate::progress::{Progress, duration_words};
use crate::report_files::FullReport;
use crate::run_details::RunDetails;
use crate::run_directory::{Entry, RunDirectory};
use crate::terminal::tell;

/// How a run ended, when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Reproduced,
    NotReproduced,
    ShardDone,
    Interrupted,
}

/// Reproduces `paper` as the command line says: parses it, runs `run`, writes the report.
///
/// Meant to be the whole of an example's `main`. Results go to `<out>/<slug>/<scale>/`. Exit codes: 0 every tested claim
/// is reproduced; 1 error; 2 wrong arguments; 3 some tested claim is not reproduced; 4 this shard is done and trials of
/// others are missing; 130 interrupted, `--resume` continues.
pub fn main(paper: &'static Paper, run: impl FnOnce(&mut Context) -> Result<()>) -> ExitCode {
    let command = CommandLine::command().name(paper.slug).about(format!("Reproduces: {}", paper.title));
    let parsed = command.try_get_matches().and_then(|matches| CommandLine::from_arg_matches(&matches));
    let CommandLine { arguments, lifeline } = match parsed {
        Ok(command_line) => command_line,
        Err(error) => error.exit(),
    };
    // Before the run's folder is touched: the xtask that started this program may have ended while cargo built it.
    if lifeline && let Err(error) = lifeline::hold(std::io::stdin()) {
        tell(&format!("warning: this run will not end with xtask: {error}"));
    }
    let shard = match arguments.shard.map(|choice| choice.resolve()).transpose() {
        Ok(shard) => shard,
        Err(error) => {
            tell(&format!("error: {error}"));
            return ExitCode::from(exit::USAGE);
        }
    };
    match reproduce(paper, arguments, shard, run) {
        Ok(Ending::Reproduced) => ExitCode::SUCCESS,
        Ok(Ending::NotReproduced) => ExitCode::from(exit::NOT_REPRODUCED),
        Ok(Ending::ShardDone) => ExitCode::from(exit::OTHER_SHARDS_MISSING),
        Ok(Ending::Interrupted) => ExitCode::from(exit::INTERRUPTED),
        Err(error) => {
            print_error(&error);
            ExitCode::from(exit::ERROR)
        }
    }
}

fn reproduce(
    paper: &'static Paper,
    arguments: Arguments,
    shard: Option<Shard>,
    run: impl FnOnce(&mut Context) -> Result<()>,
) -> Result<Ending> {
    let started = Instant::now();
    paper.check()?;
    let details = RunDetails::collect(paper.slug, command_line::words(), &arguments);
    let entry = Entry {
        shard,
        resume: arguments.resume,
        seed: arguments.seed,
        is_synthetic: arguments.synthetic,
        commit: details.commit_words(),
    };
    let directory = RunDirectory::enter(&report::run_directory(arguments.out(), paper.slug, arguments.scale), &entry)?;
    write_details(&directory, &details, shard)?;
    let interruption = Interruption::listen();
    let mut context = Context {
        paper,
        data_dir: data_dir(&arguments),
        arguments,
        shard,
        commit: details.commit_words(),
        directory,
        interruption,
        progress: Progress::new(),
        content: Content::default(),
    };
    let outcome = run(&mut context);
    let elapsed = context.directory.earlier.saturating_add(started.elapsed());
    finish(&context, &details, outcome, elapsed)
}

/// Writes the report, or says why there is none.
fn finish(context: &Context, details: &RunDetails, outcome: Result<()>, elapsed: Duration) -> Result<Ending> {
    let is_interrupted = context.interruption.is_requested();
    let lacks_results = match outcome {
        Ok(()) => !context.is_complete(),
        Err(error) if lacks_results(&error) && (is_interrupted || context.shard.is_some()) => true,
        // An interrupted trial may fail in its own way: a broken pipe, a loop left half way.
        Err(error) if is_interrupted => {
            print_error(&error);
            true
        }
        Err(error) => return Err(error),
    };
    let report = FullReport::new(context, details, !lacks_results, elapsed);
    context.directory.alone(|| report.write())?;
    report.print();
    let all = context.content.trials.len();
    let missing = context.content.trials.iter().filter(|trial| trial.seconds.is_none()).count();
    let path = context.directory().join("report.html");
    tell(&format!("report: {} ({})", path.display(), duration_words(elapsed)));
    if lacks_results && is_interrupted {
        tell(&format!("interrupted: {missing} of {all} trials are missing; --resume continues from here"));
        return Ok(Ending::Interrupted);
    }
    if lacks_results {
        tell(&format!("this shard is done: {missing} of {all} trials of other shards are missing"));
        return Ok(Ending::ShardDone);
    }
    Ok(if report.is_refuted() { Ending::NotReproduced } else { Ending::Reproduced })
}

fn lacks_results(error: &BoxError) -> bool {
    matches!(error.downcast_ref::<Error>(), Some(Error::Incomplete { .. } | Error::Interrupted))
}

/// Writes `run.json`, and for a shard a file of its own too, so that no machine's details are lost.
fn write_details(directory: &RunDirectory, details: &RunDetails, shard: Option<Shard>) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(details)
        .map_err(|error| Error::Stored { what: "run.json".into(), reason: error.to_string() })?;
    let names =
        [Some("run.json".to_owned()), shard.map(|shard| format!("run-{}-of-{}.json", shard.index + 1, shard.count))];
    for name in names.into_iter().flatten() {
        atomic_file::write(&directory.path().join(name), text.as_bytes())?;
    }
    fs::create_dir_all(directory.path().join("trials")).map_err(crate::error::file_error("create", directory.path()))
}

/// The error and what caused it. An error that repeats its cause's words is printed once.
fn print_error(error: &BoxError) {
    let mut printed = error.to_string();
    tell(&format!("error: {printed}"));
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !printed.contains(&text) {
            tell(&format!("  because: {text}"));
        }
        printed = text;
        cause = error.source();
    }
}
