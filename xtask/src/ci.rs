//! `cargo xtask ci`: the steps of continuous integration, each of which runs here as it runs there.

use std::path::PathBuf;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Instant;

use clap::{Args, ValueEnum};

use crate::error::{Error, Result, file};
use crate::reproduce;
use crate::reproduction::out_folder;
use crate::test::{self, Test};
use crate::type_check::{self, Outcome};
use crate::{api, dependencies, docs, exit, miri, packages, process, report, text_table, workspace};

/// Run the steps of continuous integration: one, several, or all
#[derive(Debug, Args)]
pub(crate) struct Ci {
    /// Steps to run [default: all, in this order]
    #[arg(value_enum)]
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// cargo fmt --check
    Format,
    /// clippy without warnings
    Lints,
    /// rustdoc without warnings; the book of docs/ where mdBook is installed
    Docs,
    /// Dependencies and unsafe code as ARCHITECTURE.md promises them
    Hygiene,
    /// Licences, bans and sources of dependencies, where cargo-deny is installed
    Licences,
    /// Published vulnerabilities of dependencies, where cargo-deny is installed; never fails
    Advisories,
    /// No dependency that nobody uses, where cargo-shear or cargo-machete is installed
    Unused,
    /// All test programs and examples, in one build, for the steps below
    Build,
    /// Every implemented paper at smoke scale; fails for a claim that is not reproduced unless the committed report says so
    Reproduce,
    /// cargo xtask test
    Test,
    /// Projects outside of the workspace use the libraries as they are packed
    Packages,
    /// Kernels, parsers and the wire format under Miri, where it is installed
    Miri,
    /// The committed lists of public items are true, where a nightly toolchain is installed
    Api,
    /// The README's table agrees with the committed reports
    Report,
    /// The `cuda` and `nccl` features type-check, without a CUDA toolkit
    Cuda,
    /// The `metal` features type-check, where the target aarch64-apple-darwin is installed
    Metal,
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// `smoke_runs`: what the step `reproduce` has left, if it was one of the steps.
    fn run(self, smoke_runs: Option<PathBuf>) -> Result<Outcome> {
        match self {
            Self::Format => cargo(&["fmt", "--all", "--check"]),
            Self::Lints => cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
            Self::Docs => docs::run(),
            // in the profile of the step `test`, which uses what is built here
            Self::Hygiene => {
                cargo(&["test", "--profile", "checked", "--package", "integration-tests", "--test", "hygiene"])
            }
            Self::Licences => dependencies::licences(),
            Self::Advisories => dependencies::advisories(),
            Self::Unused => dependencies::unused(),
            Self::Build => cargo(&["test", "--profile", "checked", "--workspace", "--no-run"]),
            Self::Test => Ok(Outcome::of(test::run(&Test::everything(smoke_runs))?)),
            Self::Packages => packages::run(),
            Self::Miri => miri::run(),
            Self::Api => api::check(),
            Self::Reproduce => reproduce::compared_with_recorded(&reproduce::smoke()),
            Self::Report => Ok(Outcome::of(report::check()?)),
            Self::Cuda => type_check::cuda(),
            Self::Metal => type_check::metal(),
        }
    }
}

/// Runs the steps, all of them even when one fails, and returns 0 or 1.
///
/// # Errors
/// [`Error::Interrupted`] after Ctrl-C.
pub(crate) fn run(arguments: &Ci) -> Result<u8> {
    let steps = if arguments.steps.is_empty() { Step::value_variants() } else { &arguments.steps };
    let mut rows = Vec::new();
    let mut code = exit::OK;
    let mut beside: Option<Beside> = None;
    let mut smoke_runs = None;
    for step in steps {
        // Miri interprets on one core, and papers and tests leave one idle more often than not.
        if *step == Step::Reproduce && steps.contains(&Step::Miri) {
            beside = Beside::start(Step::Miri).inspect_err(|error| complain!("note: {error}")).ok();
        }
        say!("\n==> {}", step.name());
        let start = Instant::now();
        let ended = match beside.take_if(|beside: &mut Beside| beside.step == *step) {
            Some(beside) => beside.finish(),
            None => step.run(smoke_runs.clone()),
        };
        let outcome = ended.unwrap_or_else(|error| {
            complain!("error: {error}");
            Outcome::Failed
        });
        if process::is_interrupted() {
            return Err(Error::Interrupted);
        }
        let (word, seconds) = (outcome.word(), start.elapsed().as_secs_f64());
        say!("<== {}: {word}, {seconds:.1} s", step.name());
        if outcome == Outcome::Failed {
            code = exit::ERROR;
        } else if *step == Step::Reproduce {
            smoke_runs = Some(out_folder(None));
        }
        rows.push(vec![step.name(), format!("{seconds:.1} s"), word]);
    }
    say!("\n{}", text_table::render(&["step", "time", "outcome"], &rows));
    Ok(code)
}

/// A step that runs beside others, in an xtask of its own that writes to a file.
struct Beside {
    step: Step,
    log: PathBuf,
    ended: JoinHandle<Result<i32>>,
}

impl Beside {
    fn start(step: Step) -> Result<Self> {
        let log = workspace::metadata()?.target_directory.join(format!("ci-{}.log", step.name()));
        let output = std::fs::File::create(&log).map_err(file("create", &log))?;
        let errors = output.try_clone().map_err(file("write", &log))?;
        let program = std::env::current_exe().map_err(file("find", "xtask"))?;
        let name = step.name();
        let run = move || process::run(Command::new(program).args(["ci", &name]).stdout(output).stderr(errors));
        Ok(Self { step, log, ended: std::thread::spawn(run) })
    }

    /// Waits, shows what it said, and returns how it ended.
    fn finish(self) -> Result<Outcome> {
        let code = self.ended.join().unwrap_or(Ok(i32::from(exit::ERROR)))?;
        let said = std::fs::read_to_string(&self.log).map_err(file("read", &self.log))?;
        relay!(said.trim_end());
        let start = format!("<== {}: ", self.step.name());
        let word = said.lines().rev().find_map(|line| line.strip_prefix(&start));
        let word = word.and_then(|rest| rest.rsplit_once(',')).map_or("", |(word, _)| word);
        Ok(match word.split_once(": ") {
            _ if code != 0 => Outcome::Failed,
            Some(("noted", what)) => Outcome::Noted(what.to_owned()),
            Some(("skipped", reason)) => Outcome::Skipped(reason.to_owned()),
            _ => Outcome::Passed,
        })
    }
}

fn cargo(arguments: &[&str]) -> Result<Outcome> {
    succeeded(workspace::cargo().args(arguments))
}

fn succeeded(command: &mut Command) -> Result<Outcome> {
    Ok(if process::run(command)? == 0 { Outcome::Passed } else { Outcome::Failed })
}
