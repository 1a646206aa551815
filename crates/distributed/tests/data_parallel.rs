//! The program `data_parallel`: what the first rank writes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output, Stdio};

fn run(folder: &std::path::Path, is_heard: bool, more: &[&str]) -> Option<Output> {
    let mut command = Command::new(reproduction::example("data_parallel")?);
    let small = ["--threads", "2", "--hidden", "8", "--steps", "7", "--out", "run"];
    let command = command.current_dir(folder).args(small).args(more).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    if !is_heard {
        drop(child.stdout.take());
    }
    Some(child.wait_with_output().unwrap())
}

#[test]
fn the_first_rank_writes_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let Some(output) = run(folder.path(), true, &[]) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("rank 0 of 2: loss") && said.contains("rank 1 of 2: loss"), "{said}");
    assert_eq!(said.matches("written to run: index.html").count(), 1, "{said}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join("run").join(name)).unwrap();
    assert!(read("index.html").contains("<svg") && read("loss.svg").contains("</svg>"));
    assert_eq!(read("loss.csv").lines().count(), 8);
    let found: serde_json::Value = serde_json::from_str(&read("run.json")).unwrap();
    assert!(said.contains(found["parameters"].as_str().unwrap()) && found["ranks"] == 2);

    // what is there stays unless it may go; nobody has to read what is printed
    let page = folder.path().join("run/index.html");
    std::fs::write(&page, "kept").unwrap();
    let refused = run(folder.path(), true, &["--timeout", "5"]).unwrap();
    assert!(!refused.status.success());
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("--force") && !error.contains("panicked"), "{error}");
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "kept");
    let unheard = run(folder.path(), false, &["--force"]).unwrap();
    assert!(unheard.status.success(), "{}", String::from_utf8_lossy(&unheard.stderr));
    assert!(read("index.html").contains("<svg"));
}
