//! Running other programs: shown before they start, ended with this process (also when it is killed), their exit codes kept.
//!
//! Each program gets a process group of its own, with what it starts in turn. So Ctrl-C on the terminal reaches this process
//! alone, as `kill` does, and is handed on once: a paper's program ends at the second signal without saving. Standard input
//! is closed for them, since a group in the background that reads from the terminal is stopped.

use std::io::{BufRead, BufReader, PipeWriter, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::{exit, job_control};

/// The process groups of the programs that run.
static GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Hands Ctrl-C and signals to terminate on to the programs that run: each must be allowed to save what it has, and its exit
/// code must be waited for. Without any, they end this process. Call it before any thread is started.
pub(crate) fn hand_signals_on() {
    job_control::hand_stops_on(&GROUPS);
    let outcome = ctrlc::set_handler(|| {
        INTERRUPTED.store(true, Ordering::SeqCst);
        let groups = lock();
        if groups.is_empty() {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
        groups.iter().for_each(|&group| job_control::terminate(group));
    });
    if let Err(error) = outcome {
        complain!("warning: Ctrl-C ends this process at once, without waiting for what it runs: {error}");
    }
}

/// Whether this process was told to end while another program ran.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// A thread that panicked while it held the lock left a whole list behind.
fn lock() -> MutexGuard<'static, Vec<u32>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A program that runs; it is told of signals until this value is dropped.
struct Running {
    child: Child,
    name: String,
    guard: Option<Guard>,
}

/// A shell that ends a process group when this process ends without having dropped this value, as SIGKILL does.
struct Guard(Child);

impl Guard {
    /// `None` where there is no such shell.
    fn of(group: u32) -> Option<Self> {
        if !cfg!(unix) {
            return None;
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", "read line || kill -s TERM -- \"-$1\"", "sh", &group.to_string()]);
        job_control::in_own_group(&mut shell);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(Self).ok()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The line tells the shell that all is well. It fails when the shell has ended already.
        let _ = self.0.stdin.take().map(|mut line| line.write_all(b"\n"));
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts a program that a [`Guard`] watches.
    fn start(command: &mut Command) -> Result<Self> {
        let mut running = Self::start_unwatched(command)?;
        running.guard = Guard::of(running.child.id());
        Ok(running)
    }

    /// Starts a program.
    fn start_unwatched(command: &mut Command) -> Result<Self> {
        job_control::in_own_group(command);
        let name = program(command);
        // Held while it starts: a signal comes before, and it does not start, or after, and it is told.
        let mut groups = lock();
        if is_interrupted() {
            return Err(Error::Interrupted);
        }
        let child = command.spawn().map_err(|source| Error::Start { program: name.clone(), source })?;
        groups.push(child.id());
        Ok(Self { child, name, guard: None })
    }

    fn failed(&self) -> impl Fn(std::io::Error) -> Error + use<> {
        let program = self.name.clone();
        move |source| Error::Start { program: program.clone(), source }
    }

    fn wait(mut self) -> Result<ExitStatus> {
        self.child.wait().map_err(self.failed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.guard.take());
        let group = self.child.id();
        lock().retain(|&other| other != group);
    }
}

/// Prints the command, runs it with this process's output and returns its exit code (128 + signal when one ended it).
///
/// # Errors
/// [`Error::Start`] when it cannot be started; [`Error::Interrupted`] when this process was told to end before.
pub(crate) fn run(command: &mut Command) -> Result<i32> {
    complain!("$ {}", shown(command));
    Ok(exit_code(Running::start(command.stdin(Stdio::null()))?.wait()?))
}

/// As [`run`], with a line to the program as its standard input: it sees the end of the line when this process ends in any
/// way. For programs that know [`report::LIFELINE`].
///
/// # Errors
/// As [`run`].
pub(crate) fn run_with_lifeline(command: &mut Command) -> Result<i32> {
    complain!("$ {}", shown(command));
    let (line, _our_end) = lifeline(command)?;
    let running = Running::start_unwatched(command.stdin(line))?;
    Ok(exit_code(running.wait()?))
}

fn lifeline(command: &Command) -> Result<(std::io::PipeReader, PipeWriter)> {
    std::io::pipe().map_err(|source| Error::Start { program: program(command), source })
}

/// As [`run`], but hands each line of standard output to `read`.
///
/// # Errors
/// As [`run`], and when the output cannot be read.
pub(crate) fn run_reading(command: &mut Command, read: impl FnMut(&str)) -> Result<i32> {
    complain!("$ {}", shown(command));
    let mut running = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let stdout = running.child.stdout.take();
    read_lines(stdout, read).map_err(running.failed())?;
    Ok(exit_code(running.wait()?))
}

/// As [`run_reading`], but of standard error.
///
/// # Errors
/// As [`run_reading`].
pub(crate) fn run_reading_errors(command: &mut Command, read: impl FnMut(&str)) -> Result<i32> {
    complain!("$ {}", shown(command));
    let mut running = Running::start(command.stdin(Stdio::null()).stderr(Stdio::piped()))?;
    let stderr = running.child.stderr.take();
    read_lines(stderr, read).map_err(running.failed())?;
    Ok(exit_code(running.wait()?))
}

fn read_lines(stream: Option<impl Read>, mut read: impl FnMut(&str)) -> std::io::Result<()> {
    let Some(stream) = stream else { return Ok(()) };
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        read(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        line.clear();
    }
    Ok(())
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
    let mut running = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    // Both at once: a program that fills one while nobody reads it stands still.
    let streams = (running.child.stdout.take(), running.child.stderr.take());
    std::thread::scope(|scope| {
        let errors = scope.spawn(|| streams.1.map_or(Ok(0), |mut stream| stream.read_to_end(&mut stderr)));
        let read = streams.0.map_or(Ok(0), |mut stream| stream.read_to_end(&mut stdout));
        // A thread that only reads does not panic.
        read.and(errors.join().unwrap_or(Ok(0)))
    })
    .map_err(running.failed())?;
    let output = std::process::Output { status: running.wait()?, stdout, stderr };
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
    fn both_streams_of_a_program_are_read_and_its_errors_are_in_the_message() {
        let script = "i=0; while [ $i -lt 3000 ]; do echo out$i; echo error$i >&2; i=$((i+1)); done";
        let said = output(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(said.lines().count(), 3000);
        let error = output(Command::new("sh").args(["-c", "echo the reason >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("the reason"), "{error}");
        let mut lines = Vec::new();
        let code = run_reading_errors(Command::new("sh").args(["-c", "echo a >&2; exit 4"]), |line| {
            lines.push(line.to_owned());
        });
        assert_eq!((code.unwrap(), lines), (4, vec!["a".to_owned()]));
    }

    #[cfg(unix)]
    #[test]
    fn a_program_has_a_group_of_its_own_and_nothing_to_read() {
        let script = "kill -s 0 -- -$$ || exit 9; read line && exit 8; exit 7";
        assert_eq!(run(Command::new("sh").args(["-c", script])).unwrap(), 7);
    }

    #[cfg(unix)]
    #[test]
    fn a_program_ends_with_a_process_that_is_killed() {
        let mut command = Command::new("sleep");
        job_control::in_own_group(command.arg("60"));
        let mut child = command.spawn().unwrap();
        let mut guard = Guard::of(child.id()).unwrap();
        // what the system does when the holder of the pipe is killed
        drop(guard.0.stdin.take());
        assert_eq!(exit_code(child.wait().unwrap()), 128 + 15);

        let mut command = Command::new("sleep");
        job_control::in_own_group(command.arg("0.5"));
        let mut child = command.spawn().unwrap();
        drop(Guard::of(child.id()).unwrap());
        assert_eq!(exit_code(child.wait().unwrap()), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_lifeline_is_open_while_the_program_runs() {
        // `cat` would end by itself, with 0, at the end of the line.
        assert_eq!(run_with_lifeline(Command::new("timeout").args(["0.3", "cat"])).unwrap(), 124);
    }

    #[test]
    fn a_program_that_does_not_exist_is_an_error() {
        let error = output(&mut Command::new("no-such-program-anywhere")).unwrap_err();
        assert!(matches!(error, Error::Start { .. }), "{error}");
    }
}
