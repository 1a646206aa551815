//! Nothing finished is lost: a reproduction that is killed at any moment resumes and ends with the same report.
//!
//! The reproduction is that of `sep` at smoke scale, started as the program that `cargo xtask reproduce` starts.

#![forbid(unsafe_code)]
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use integration_tests::{example, root};

/// How often the program is killed before it may finish.
const KILLS: u32 = 6;

/// The built reproduction, or nothing while it is not written yet.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let source = root().join("crates").join("gnn").join("examples").join("sep.rs");
    let program = PROGRAM.get_or_init(|| source.is_file().then(|| example("gnn", "sep")));
    if program.is_none() {
        println!("skipped: {} does not exist yet", source.display());
    }
    program.as_deref()
}

fn command(program: &Path, out: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--scale", "smoke", "--seed", "7", "--offline", "--out"]).arg(out).current_dir(root());
    command.env("RAYON_NUM_THREADS", "1").env("CANDLE_NUM_THREADS", "1").env_remove("DATA_DIR");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Finished with a report: every tested claim reproduced (0) or not (3).
fn assert_finished(code: Option<i32>) {
    assert!(matches!(code, Some(0 | 3)), "the reproduction ended with {code:?}");
}

/// The report without the line that says how long the run took: everything else must not differ.
fn report(out: &Path) -> String {
    let path = out.join("sep").join("smoke").join("report.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let is_time = |line: &&str| line.trim_start().starts_with("\"seconds\":");
    assert_eq!(text.lines().filter(is_time).count(), 1, "one line of report.json has the seconds");
    text.lines().filter(|line| !is_time(line)).map(|line| format!("{line}\n")).collect()
}

/// The report of a run that nothing disturbed, and how long it took.
fn undisturbed(program: &Path) -> &'static (String, Duration) {
    static REPORT: OnceLock<(String, Duration)> = OnceLock::new();
    REPORT.get_or_init(|| {
        let out = tempfile::tempdir().expect("a temporary folder can be made");
        let start = Instant::now();
        assert_finished(command(program, out.path()).status().expect("the program starts").code());
        (report(out.path()), start.elapsed())
    })
}

#[test]
fn two_runs_with_one_seed_give_the_same_report() {
    let Some(program) = program() else { return };
    let out = tempfile::tempdir().unwrap();
    assert_finished(command(program, out.path()).status().unwrap().code());
    assert_eq!(report(out.path()), undisturbed(program).0);
}

#[test]
fn a_run_that_is_killed_and_resumed_ends_with_the_report_of_an_undisturbed_one() {
    let Some(program) = program() else { return };
    let (expected, duration) = undisturbed(program);
    let out = tempfile::tempdir().unwrap();
    let mut state = u64::from(std::process::id());
    for kill in 0..KILLS {
        // Any moment will do, and another one each time; the printed delays tell which ones a failure had.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let delay = duration.mul_f64((state >> 33) as f64 / f64::from(1_u32 << 31) / f64::from(KILLS));
        println!("kill {kill} after {delay:?}");
        let mut child = command(program, out.path()).arg("--resume").spawn().unwrap();
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_finished(command(program, out.path()).arg("--resume").status().unwrap().code());
    assert_eq!(&report(out.path()), expected);
}
