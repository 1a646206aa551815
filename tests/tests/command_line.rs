//! xtask as scripts and people meet it: names, help, messages and exit codes.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Output;

use integration_tests::{root, run, stdout, xtask};

fn both_streams(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs xtask and asserts the exit code; returns everything it printed.
fn ended_with(code: i32, arguments: &[&str]) -> String {
    let output = run(xtask().args(arguments));
    let said = both_streams(&output);
    assert_eq!(output.status.code(), Some(code), "xtask {arguments:?}: {said}");
    said
}

/// The slugs of `xtask list` whose row says `status`, with their crates.
fn papers(status: &str) -> Vec<(String, String)> {
    let text = stdout(xtask().arg("list"));
    let rows = text.lines().skip(2).take_while(|line| !line.is_empty());
    let words = rows.map(|row| row.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect::<Vec<_>>());
    words.filter(|cells| cells[2] == status).map(|cells| (cells[0].to_owned(), cells[1].to_owned())).collect()
}

#[test]
fn list_names_fifteen_papers() {
    assert_eq!(papers("implemented").len() + papers("not yet").len(), 15);
}

#[test]
fn a_paper_is_implemented_exactly_when_its_example_exists() {
    let example = |slug: &str, package: &str| {
        root().join("crates").join(package).join("examples").join(format!("{}.rs", slug.replace('-', "_")))
    };
    for (slug, package) in papers("implemented") {
        assert!(example(&slug, &package).is_file(), "{slug}");
    }
    for (slug, package) in papers("not yet") {
        assert!(!example(&slug, &package).exists(), "{slug}");
    }
}

#[test]
fn every_command_explains_itself() {
    let help = ended_with(0, &["--help"]);
    for command in ["list", "reproduce", "download", "data", "report", "test", "bench", "ci", "docs", "doctor"] {
        assert!(help.contains(&format!("\n  {command} ")), "--help does not list {command}");
        assert!(ended_with(0, &[command, "--help"]).contains("Usage:"), "{command}");
    }
}

#[test]
fn the_help_documents_every_exit_code() {
    let help = ended_with(0, &["--help"]);
    for code in ["0 ", "1 ", "2 ", "3 ", "4 ", "5 ", "130"] {
        assert!(help.contains(&format!("\n  {code} ")), "exit code {code} is not in --help");
    }
}

#[test]
fn without_a_command_the_help_is_shown_and_the_exit_code_is_2() {
    assert!(ended_with(2, &[]).contains("reproduce"));
}

#[test]
fn an_unknown_paper_is_answered_with_the_nearest_names() {
    let said = ended_with(2, &["reproduce", "dragon"]);
    assert!(said.contains("no paper is called `dragon`") && said.contains("`dragonn`"), "{said}");
}

#[test]
fn an_unknown_data_set_is_answered_with_the_nearest_names() {
    assert!(ended_with(2, &["download", "tu-mutak"]).contains("tu-mutag"));
    assert!(ended_with(2, &["data", "verify", "tu-mutak"]).contains("tu-mutag"));
}

#[test]
fn an_unknown_crate_or_benchmark_is_answered_with_the_nearest_names() {
    assert!(ended_with(2, &["test", "gmn"]).contains("gnn"));
    assert!(ended_with(2, &["bench", "no-such-benchmark"]).contains("no-such-benchmark"));
}

#[test]
fn a_paper_that_is_not_implemented_says_so_and_ends_with_5() {
    for (slug, package) in papers("not yet") {
        let said = ended_with(5, &["reproduce", &slug]);
        assert!(said.contains("not implemented yet") && said.contains(&format!("crates/{package}/examples")), "{said}");
    }
}

#[test]
fn a_wrong_option_ends_with_2() {
    assert!(ended_with(2, &["reproduce", "sep", "--device", "tpu"]).contains("cuda:N"));
    ended_with(2, &["reproduce", "sep", "--scale", "huge"]);
    ended_with(2, &["reproduce", "sep", "--no-such-option"]);
    ended_with(2, &["ci", "no-such-step"]);
}

#[test]
fn a_damaged_data_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tu-mutag")).unwrap();
    std::fs::write(folder.path().join("tu-mutag").join("MUTAG.txt"), "damaged").unwrap();
    let said = ended_with(1, &["data", "verify", "tu-mutag", "--data-dir", folder.path().to_str().unwrap()]);
    assert!(said.contains("WRONG") && said.contains("MUTAG.txt"), "{said}");
}

#[test]
fn what_a_data_sets_licence_is_can_be_asked() {
    let said = ended_with(0, &["data", "list", "fsdd"]);
    assert!(said.contains("licence:  CC BY-SA 4.0") && said.contains("citation:"), "{said}");
}

#[test]
fn doctor_is_content_where_these_tests_were_built() {
    let said = ended_with(0, &["doctor"]);
    assert!(said.contains("rustc") && said.contains("C compiler") && said.contains("cores"), "{said}");
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    let mut child = xtask().args(["data", "list"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

const REPORT: &str = r#"{"schema":1,"paper":"sep","scale":"smoke","seconds":2.5,"commit":"COMMIT","complete":COMPLETE,
 "claims":[{"id":"entropy","statement":"a < b","published":null,"measured":0.25,"spread":null,"trials":1,
            "data":"generated graphs","is_synthetic":true,"verdict":"reproduced"}]}"#;

fn write_report(out: &Path, commit: &str, is_complete: bool) {
    let folder = out.join("sep").join("smoke");
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    let text = REPORT.replace("COMMIT", commit).replace("COMPLETE", &is_complete.to_string());
    std::fs::write(folder.join("report.json"), text).expect("the temporary folder is writable");
}

#[test]
fn the_page_of_all_runs_needs_no_network_and_calls_synthetic_data_synthetic() {
    let out = tempfile::tempdir().unwrap();
    write_report(out.path(), "1234", true);
    ended_with(0, &["report", "--out", out.path().to_str().unwrap()]);
    let page = std::fs::read_to_string(out.path().join("index.html")).unwrap();
    let marks = [">synthetic data</span>", "generated graphs <span class=\"synthetic\">(synthetic)</span>"];
    assert!(page.contains("smoke: 1 reproduced") && marks.iter().all(|mark| page.contains(mark)), "{page}");
    assert!(page.contains("a &lt; b") && page.contains("viewport") && page.contains("prefers-color-scheme"), "{page}");
    // one script, which the policy names by its hash
    assert!(page.matches("<script").count() == 1 && page.contains("script-src 'sha256-"), "{page}");
    assert!(!page.contains("src=\"http") && !page.contains("stylesheet") && !page.contains("@import"), "{page}");
    assert!(out.path().join("index.md").is_file());
}

#[test]
fn a_run_of_changed_files_or_with_missing_trials_is_not_recorded() {
    for (commit, is_complete, reason) in [("1234-dirty", true, "clean commit"), ("1234", false, "trials are missing")] {
        let out = tempfile::tempdir().unwrap();
        write_report(out.path(), commit, is_complete);
        let said = ended_with(1, &["report", "--record", "--out", out.path().to_str().unwrap()]);
        assert!(said.contains("not recorded") && said.contains(reason), "{said}");
    }
}

#[test]
fn a_report_of_another_version_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("sep").join("smoke");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("report.json"), r#"{"schema":99}"#).unwrap();
    assert!(ended_with(1, &["report", "--out", out.path().to_str().unwrap()]).contains("schema is 99"));
}
