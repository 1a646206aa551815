//! Signals to xtask alone, and its end by one that cannot be caught: the paper's program ends with it, and `--resume` goes on.
//!
//! xtask starts `cargo`; here a script takes that place, which starts the toy paper of `experiment` with the same arguments.

#![cfg(unix)]
#![forbid(unsafe_code)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use integration_tests::{example, xtask};

/// A script for `$CARGO`: what stands behind `--` goes to the toy.
fn stand_in(folder: &Path, toy: &Path) -> PathBuf {
    let path = folder.join("cargo");
    let script = format!("#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec '{}' \"$@\"\n", toy.display());
    std::fs::write(&path, script).expect("the temporary folder is writable");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("a script can be made executable");
    path
}

fn start(folder: &Path, toy: &Path) -> Child {
    let mut command = xtask();
    command.args(["reproduce", "sep", "--offline", "--jobs=1", "--out"]).arg(folder.join("out"));
    command.env("CARGO", stand_in(folder, toy)).env("TOY_MILLISECONDS", "100");
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("xtask starts")
}

fn trials(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("out/toy/smoke/trials/folds")).map_or(0, Iterator::count)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, name: &str) {
    let command = format!("kill -s {name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &command]).status().is_ok_and(|status| status.success()));
}

/// The toy alone, as the next run in the same folder.
fn resume(folder: &Path, toy: &Path) -> std::process::Output {
    let mut command = Command::new(toy);
    command.args(["--offline", "--resume", "--out"]).arg(folder.join("out")).env_remove("DATA_DIR");
    command.output().expect("the toy starts")
}

fn is_complete(folder: &Path) -> Option<bool> {
    let text = std::fs::read_to_string(folder.join("out/toy/smoke/report.json")).ok()?;
    Some(text.contains("\"complete\": true"))
}

#[test]
fn a_signal_to_xtask_alone_ends_the_program_which_saves_what_it_has() {
    let toy = example("experiment", "toy");
    for name in ["TERM", "INT", "HUP"] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = start(folder.path(), &toy);
        wait_until("a trial is finished", || trials(folder.path()) > 0);
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{name}");
        // xtask waited for the program, whose report is there: it was asked once, and not ended at once.
        assert_eq!(is_complete(folder.path()), Some(false), "{name}");
        let resumed = resume(folder.path(), &toy);
        assert_eq!(resumed.status.code(), Some(0), "{}", String::from_utf8_lossy(&resumed.stderr));
        assert!(!String::from_utf8_lossy(&resumed.stderr).contains("folds: 12 trials, 0 done before"));
    }
}

#[test]
fn a_killed_xtask_leaves_no_program_that_keeps_the_next_one_out() {
    let toy = example("experiment", "toy");
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(folder.path(), &toy);
    wait_until("a trial is finished", || trials(folder.path()) > 0);
    child.kill().unwrap();
    child.wait().unwrap();
    // The program sees the end of its line within moments; a machine under load may need longer.
    wait_until("the folder is free", || match resume(folder.path(), &toy) {
        output if output.status.code() == Some(0) => true,
        output => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("in use"), "{said}");
            false
        }
    });
    assert_eq!(is_complete(folder.path()), Some(true));
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let toy = example("experiment", "toy");
    let folder = tempfile::tempdir().unwrap();
    let mut command = xtask();
    command.args(["reproduce", "sep", "--offline", "--out"]).arg(folder.path().join("out"));
    // An epoch of a minute does not look at the first signal.
    command.env("CARGO", stand_in(folder.path(), &toy)).env("TOY_MILLISECONDS", "60000");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("a trial starts", || folder.path().join("out/toy/smoke/checkpoints/folds").exists());
    signal(&child, "TERM");
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "the first signal must wait for the trial");
    signal(&child, "TERM");
    wait_until("xtask ends", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
