//! Starts the example `toy` as a process of its own, and reads what it leaves behind.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// The example's program: `cargo test` builds it beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the test knows its own path");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in <profile>/deps");
    let program = profile.join("examples").join(format!("toy{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is missing: `cargo build -p experiment --example toy`", program.display());
    program
}

/// The toy with results below `out`. Launcher variables of the surroundings must not reach it.
pub(crate) fn toy(out: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.arg("--out").arg(out).args(arguments).env_remove("DATA_DIR");
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["SLURM_", "OMPI_", "PMI_", "TOY_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the toy to its end.
pub(crate) fn run(out: &Path, arguments: &[&str]) -> Output {
    toy(out, arguments).output().expect("the toy starts")
}

/// Starts the toy with epochs of the given length.
pub(crate) fn start(out: &Path, arguments: &[&str], milliseconds: u64) -> Child {
    let mut command = toy(out, arguments);
    command.env("TOY_MILLISECONDS", milliseconds.to_string()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("the toy starts")
}

pub(crate) fn exit_code(output: &Output) -> i32 {
    output.status.code().expect("the toy ended by itself")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn folder(out: &Path) -> PathBuf {
    out.join("toy/smoke")
}

/// `report.json` as text, without the two lines that may differ.
pub(crate) fn report_text(out: &Path) -> String {
    let text = fs::read_to_string(folder(out).join("report.json")).expect("the report is there");
    let may_differ = |line: &&str| line.starts_with("  \"seconds\"") || line.starts_with("  \"commit\"");
    text.lines().filter(|line| !may_differ(line)).collect::<Vec<_>>().join("\n")
}

pub(crate) fn report(out: &Path) -> Value {
    let text = fs::read_to_string(folder(out).join("report.json")).expect("the report is there");
    serde_json::from_str(&text).expect("the report is JSON")
}

/// All that must not depend on how a result came about: the report, the plots and their numbers.
pub(crate) fn results(out: &Path) -> BTreeMap<String, String> {
    let mut results = BTreeMap::from([("report.json".to_owned(), report_text(out))]);
    for entry in fs::read_dir(folder(out).join("plots")).expect("there are plots") {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_name().expect("files have names").to_string_lossy().into_owned();
        results.insert(name, fs::read_to_string(&path).expect("plots are text"));
    }
    results
}

/// Every stored trial of the toy's first group.
pub(crate) fn trial_files(out: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder(out).join("trials/folds")) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.sort();
    files
}
