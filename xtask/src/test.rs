//! `cargo xtask test`: the tests of everything or of some crates, and a list of what skipped itself.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Error, Result};
use crate::{exit, nearest, process, workspace};

/// Run the tests: all of them, or those of the crates that are named
///
/// Tests that need real data or reference values look in $DATA_DIR and $GOLDEN_DIR, and print that they skipped where
/// these are not set; what skipped is listed at the end. One thread for each of candle's pools, unless
/// $CANDLE_NUM_THREADS or $RAYON_NUM_THREADS say otherwise: tests already run side by side. In the profile `checked`: optimised, with checks of overflow and debug assertions.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask test\n  cargo xtask test gnn core-tensor\n  \
                        DATA_DIR=/data cargo xtask test gnn -- coding_tree")]
pub(crate) struct Test {
    /// Crates to test [default: the whole workspace]
    crates: Vec<String>,
    /// Arguments for the test programs, such as a filter or --nocapture
    #[arg(last = true)]
    extra: Vec<String>,
    /// Runs at smoke scale that tests need not make again
    #[arg(skip)]
    smoke_runs: Option<PathBuf>,
}

impl Test {
    /// The tests of the whole workspace. `smoke_runs` is a folder of finished runs of this code.
    pub(crate) fn everything(smoke_runs: Option<PathBuf>) -> Self {
        Self { crates: Vec::new(), extra: Vec::new(), smoke_runs }
    }
}

/// Runs the tests; returns 0 or 1.
///
/// # Errors
/// For an unknown crate, or when cargo does not start.
pub(crate) fn run(arguments: &Test) -> Result<u8> {
    let metadata = workspace::metadata()?;
    let mut command = workspace::cargo();
    // A failure must not keep the other test programs from running.
    command.args(["test", "--profile", "checked", "--no-fail-fast"]);
    if arguments.crates.is_empty() {
        command.arg("--workspace");
    }
    for name in &arguments.crates {
        if !metadata.packages.iter().any(|package| package.name == *name) {
            let known = metadata.packages.iter().map(|package| package.name.as_str());
            return Err(Error::UnknownPackage { name: name.clone(), nearest: nearest::suggestion(name, known) });
        }
        command.args(["--package", name]);
    }
    command.arg("--").arg("--show-output").args(&arguments.extra);
    if std::io::stdout().is_terminal() {
        command.args(["--color", "always"]);
    }
    for name in ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"] {
        if std::env::var_os(name).is_none() {
            command.env(name, "1");
        }
    }
    match &arguments.smoke_runs {
        Some(folder) => command.env("SMOKE_RUNS", folder),
        None => command.env_remove("SMOKE_RUNS"),
    };
    let missing: Vec<String> = ["DATA_DIR", "GOLDEN_DIR"].into_iter().filter_map(missing_folder).collect();
    for line in &missing {
        complain!("note: {line}");
    }

    let mut output = TestOutput::default();
    let code = process::run_reading(&mut command, |line| {
        if let Some(line) = output.visible(line) {
            relay!(line);
        }
    })?;
    if !output.skipped.is_empty() {
        say!("\nTests that passed, but said that they skipped something:");
        for line in &output.skipped {
            say!("  {line}");
        }
    }
    say!("\nTotal: {} passed, {} failed, {} ignored", output.passed, output.failed, output.ignored);
    for line in &missing {
        say!("note: {line}");
    }
    Ok(if code == 0 { exit::OK } else { exit::ERROR })
}

/// What to say of a variable that should name a folder and does not.
fn missing_folder(variable: &str) -> Option<String> {
    let purpose =
        if variable == "DATA_DIR" { "tests on real data" } else { "tests against the large reference values" };
    match std::env::var_os(variable) {
        None => Some(format!("{variable} is not set: {purpose} skip themselves")),
        Some(folder) if !Path::new(&folder).is_dir() => {
            Some(format!("{variable} names no folder ({}): {purpose} skip or fail", folder.display()))
        }
        Some(_) => None,
    }
}

/// Reads what test programs print under `--show-output`: hides the output of the tests that passed, but keeps what they
/// say of skipping, which would otherwise be lost.
#[derive(Default)]
struct TestOutput {
    is_in_successes: bool,
    test: String,
    skipped: Vec<String>,
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl TestOutput {
    /// The line, if it is to be shown.
    fn visible<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        if line == "successes:" {
            self.is_in_successes = true;
        } else if line == "failures:" || line.starts_with("test result:") {
            self.is_in_successes = false;
        }
        if !self.is_in_successes {
            self.count(line);
            return Some(line);
        }
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            name.clone_into(&mut self.test);
        } else if line.to_lowercase().contains("skipp") && !line.starts_with("    ") {
            self.skipped.push(format!("{}: {}", self.test, line.trim()));
        }
        None
    }

    fn count(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result:") else { return };
        let words: Vec<&str> = counts.split([' ', ';']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<usize>() else { continue };
            match pair[1] {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 3 tests
test a ... ok
test b ... ok

successes:

---- a stdout ----
noise
skipped: DATA_DIR is not set


successes:
    a
    skipping_is_a_test_name

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";

    #[test]
    fn what_a_passing_test_says_of_skipping_is_kept() {
        let mut output = TestOutput::default();
        let visible: Vec<&str> = OUTPUT.lines().filter_map(|line| output.visible(line)).collect();
        assert_eq!(output.skipped, ["a: skipped: DATA_DIR is not set"]);
        assert_eq!(visible.len(), 5, "{visible:?}");
    }

    #[test]
    fn the_counts_of_all_programs_are_added() {
        let mut output = TestOutput::default();
        for line in OUTPUT.lines().chain(OUTPUT.lines()) {
            output.visible(line);
        }
        assert_eq!((output.passed, output.failed, output.ignored), (4, 0, 2));
    }
}
