//! Running other programs: shown before they start, their exit codes kept.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::exit;

static RUNNING: AtomicUsize = AtomicUsize::new(0);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C end this process only when no other program runs. While one does, the terminal sends it the signal too:
/// it must be allowed to save what it has, and its exit code must be waited for.
pub(crate) fn wait_for_programs_on_interrupt() {
    let outcome = ctrlc::set_handler(|| {
        INTERRUPTED.store(true, Ordering::SeqCst);
        if RUNNING.load(Ordering::SeqCst) == 0 {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
    });
    if let Err(error) = outcome {
        complain!("warning: Ctrl-C ends this process at once, without waiting for what it runs: {error}");
    }
}

/// Whether Ctrl-C was pressed while another program ran.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Prints the command, runs it with this process's streams and returns its exit code (128 + signal when one ended it).
///
/// # Errors
/// [`Error::Start`] when it cannot be started.
pub(crate) fn run(command: &mut Command) -> Result<i32> {
    complain!("$ {}", shown(command));
    let _running = Running::new();
    let name = program(command);
    Ok(exit_code(command.status().map_err(|source| Error::Start { program: name, source })?))
}

/// As [`run`], but hands each line of standard output to `read`.
///
/// # Errors
/// As [`run`], and when the output cannot be read.
pub(crate) fn run_reading(command: &mut Command, mut read: impl FnMut(&str)) -> Result<i32> {
    complain!("$ {}", shown(command));
    let _running = Running::new();
    let name = program(command);
    let failed = |source| Error::Start { program: name.clone(), source };
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).map_err(failed)? > 0 {
            read(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
            line.clear();
        }
    }
    Ok(exit_code(child.wait().map_err(failed)?))
}

/// While one of these lives, Ctrl-C is left to the program that runs.
struct Running;

impl Running {
    fn new() -> Self {
        RUNNING.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| killed_by(status))
}

#[cfg(unix)]
fn killed_by(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    128 + status.signal().unwrap_or(0)
}

#[cfg(not(unix))]
fn killed_by(_: ExitStatus) -> i32 {
    i32::from(exit::ERROR)
}

/// Runs a command silently and returns what it printed on standard output.
///
/// # Errors
/// When it cannot be started or fails; its standard error is part of the message.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|source| Error::Start { program: program(command), source })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Program { program: shown(command), detail: format!(": {}", said.trim()) });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as one would type it, without its folder and environment.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(program(command)).chain(command.get_args().map(|word| {
        let word = word.to_string_lossy();
        if word.is_empty() || word.contains([' ', '"', '\'', '*', '$']) {
            format!("'{word}'")
        } else {
            word.into_owned()
        }
    }));
    words.collect::<Vec<_>>().join(" ")
}

fn program(command: &Command) -> String {
    let path = std::path::Path::new(command.get_program());
    path.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["run", "--", "a b"]);
        assert_eq!(shown(&command), "cargo run -- 'a b'");
    }

    #[test]
    fn a_program_that_does_not_exist_is_an_error() {
        let error = output(&mut Command::new("no-such-program-anywhere")).unwrap_err();
        assert!(matches!(error, Error::Start { .. }), "{error}");
    }
}
