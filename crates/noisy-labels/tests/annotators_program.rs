//! The program that finds out what a user's annotators agree on, run as a user runs it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn run(program: &Path, folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program).current_dir(folder).args(arguments).output().unwrap()
}

#[test]
fn a_table_of_annotations_becomes_a_consensus() {
    let Some(program) = reproduction::example("annotators") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut text = "picture,who,said\n".to_owned();
    for item in 0..40 {
        let truth = ["cat", "dog"][item % 2];
        for who in ["ann", "bob", "cy \"the\" third", "spam"] {
            let said = if who == "spam" { "dog" } else { truth };
            text += &format!("p{item},\"{}\",{said}\n", who.replace('"', "\"\""));
        }
    }
    std::fs::write(folder.join("said.csv"), &text).unwrap();
    let columns = ["--item", "picture", "--annotator", "who", "--label", "said"];
    let done = run(&program, folder, &[&["said.csv", "--out", "a"], &columns[..]].concat());
    assert!(done.status.success(), "{done:?}");
    let printed = String::from_utf8(done.stdout).unwrap();
    assert!(printed.contains("40 items, 4 annotators, 160 annotations, 2 classes"), "{printed}");
    let report: Value = serde_json::from_slice(&std::fs::read(folder.join("a/report.json")).unwrap()).unwrap();
    assert_eq!(report["classes"], serde_json::json!(["cat", "dog"]));
    assert_eq!(report["models"].as_array().unwrap().len(), 6);
    let consensus = std::fs::read_to_string(folder.join("a/consensus.csv")).unwrap();
    assert_eq!(consensus.lines().count(), 41);
    assert!(consensus.lines().any(|line| line.starts_with("p3,4,dog,1.000000,dog,")), "{consensus}");
    let annotators = std::fs::read_to_string(folder.join("a/annotators.csv")).unwrap();
    let spam: Vec<f64> = annotators
        .lines()
        .find(|line| line.starts_with("spam,"))
        .unwrap()
        .split(',')
        .skip(2)
        .map(|n| n.parse().unwrap())
        .collect();
    assert!(spam[0] < 0.6, "{annotators}");
    // The order of the rows changes nothing.
    let mut lines: Vec<&str> = text.lines().collect();
    lines[1..].reverse();
    std::fs::write(folder.join("turned.csv"), lines.join("\n")).unwrap();
    assert!(run(&program, folder, &[&["turned.csv", "--out", "b"], &columns[..]].concat()).status.success());
    for name in ["consensus.csv", "annotators.csv", "report.json"] {
        assert_eq!(
            std::fs::read(folder.join("a").join(name)).unwrap(),
            std::fs::read(folder.join("b").join(name)).unwrap()
        );
    }
}

#[test]
fn wrong_tables_are_errors_that_say_what_is_wrong() {
    let Some(program) = reproduction::example("annotators") else { return };
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("item,annotator\n1,2\n", "no column `label`, there are: item, annotator"),
        ("item,annotator,label\n", "there are no annotations"),
        ("item,annotator,label\n1,2\n", "line 2"),
        ("item,annotator,label\na,b,0\na,b,1\n", "annotator 0 gave item 0 the labels 0 and 1"),
        ("", "CSV"),
    ];
    for (text, expected) in cases {
        std::fs::write(folder.path().join("said.csv"), text).unwrap();
        let done = run(&program, folder.path(), &["said.csv"]);
        let error = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success() && error.contains(expected), "{text:?}: {error}");
    }
    let done = run(&program, folder.path(), &["absent.csv"]);
    assert!(!done.status.success() && String::from_utf8(done.stderr).unwrap().contains("absent.csv"));
}
