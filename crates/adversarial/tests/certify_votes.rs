//! The program that certifies a user's own votes, run as a user runs it.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn run(program: &Path, folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program).current_dir(folder).args(arguments).output().unwrap()
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

#[test]
fn votes_and_blocks_become_a_table_json_and_a_plot() {
    let Some(program) = reproduction::example("certify_votes") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "votes.csv", "0,1,1,0\n0,1,0,0\n0,1,1,0\n0,1,1,1\n");
    write(folder, "turned.csv", "0,0,0,0\n1,1,1,1\n1,0,1,1\n0,0,0,1\n");
    write(folder, "labels.csv", "0\n1\n1\n1\n");
    write(folder, "blocks.csv", "0,0,1,1\n");
    let done = run(&program, folder, &["votes.csv", "--labels", "labels.csv", "--budgets", "1-2", "--out", "a"]);
    assert!(done.status.success(), "{done:?}");
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(
        text.contains("4 sub-classifiers, 4 samples, 2 classes") && text.contains("3 predictions are right (75.00 %)"),
        "{text}"
    );
    let result: Value = serde_json::from_slice(&std::fs::read(folder.join("a/certificates.json")).unwrap()).unwrap();
    // three votes of four against one: one controlled sub-classifier makes a tie, which goes to class 0
    assert_eq!(result["robustness"][0]["max_changed_upper"], 1);
    assert_eq!(result["robustness"][1]["max_changed_upper"], 3);
    assert!(std::fs::read_to_string(folder.join("a/certificates.svg")).unwrap().starts_with("<svg"));
    // the same from samples in rows
    let turned = run(&program, folder, &["turned.csv", "--samples-in-rows", "--budgets", "1,2", "--out", "b"]);
    assert!(turned.status.success(), "{turned:?}");
    let again: Value = serde_json::from_slice(&std::fs::read(folder.join("b/certificates.json")).unwrap()).unwrap();
    for at in 0..2 {
        assert_eq!(result["robustness"][at]["attack"], again["robustness"][at]["attack"]);
    }
    // two hash functions: a budget of 1 touches one sub-classifier of each, which outvotes three samples of four
    let blocks = run(&program, folder, &["votes.csv", "--blocks", "blocks.csv", "--budgets", "1", "--out", "c"]);
    assert!(blocks.status.success(), "{blocks:?}");
    let result: Value = serde_json::from_slice(&std::fs::read(folder.join("c/certificates.json")).unwrap()).unwrap();
    assert_eq!(result["robustness"][0]["max_changed_upper"], 3);
    // training samples 0 and 1 lie in three sub-trainsets
    write(folder, "members.csv", "0,1\n0,1\n0\n2\n");
    let any = run(&program, folder, &["votes.csv", "--memberships", "members.csv", "--budgets", "1", "--out", "d"]);
    let text = String::from_utf8(any.stdout).unwrap();
    assert!(any.status.success() && text.contains("a budget of 1 controls more than half"), "{text}");
}

#[test]
fn votes_as_a_numpy_array_are_read() {
    let Some(program) = reproduction::example("certify_votes") else { return };
    let folder = tempfile::tempdir().unwrap();
    let header = "{'descr': '<i8', 'fortran_order': False, 'shape': (3, 2), }";
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let padded = format!("{header:<width$}\n", width = 128 - 11);
    bytes.extend((padded.len() as u16).to_le_bytes());
    bytes.extend(padded.as_bytes());
    bytes.extend([0i64, 2, 1, 2, 0, 2].iter().flat_map(|vote| vote.to_le_bytes()));
    std::fs::write(folder.path().join("votes.npy"), bytes).unwrap();
    let done = run(&program, folder.path(), &["votes.npy"]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(
        done.status.success() && text.contains("3 sub-classifiers, 2 samples, 3 classes"),
        "{text} {:?}",
        done.stderr
    );
}

#[test]
fn wrong_files_are_named_with_line_and_column() {
    let Some(program) = reproduction::example("certify_votes") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "good.csv", "0,1\n0,1\n");
    write(folder, "empty.csv", "");
    write(folder, "unequal.csv", "0,1\n0\n");
    write(folder, "text.csv", "0,1\n0,x\n");
    write(folder, "negative.csv", "0,-1\n");
    write(folder, "short.csv", "0\n");
    write(folder, "junk.npy", "not an array");
    let cases: [(&[&str], &str); 11] = [
        (&["absent.csv"], "absent.csv"),
        (&["empty.csv"], "empty.csv is empty"),
        (&["unequal.csv"], "unequal.csv: Votes::from_rows: got 1 votes of sub-classifier 1, expected 2"),
        (&["unequal.csv", "--samples-in-rows"], "row 2 has 1 votes, expected 2"),
        (&["text.csv"], "line 2, column 2 is \"x\", expected a whole number"),
        (&["negative.csv"], "line 1, column 2 is -1, expected 0 to 65535"),
        (&["good.csv", "--classes", "1"], "vote of sub-classifier 0 on sample 1 is 1, which is not below 1"),
        (&["good.csv", "--budgets", "3"], "--budgets 3: above the 2 sub-classifiers"),
        (&["good.csv", "--budgets", "a-b"], "--budgets a-b: expected a number"),
        (&["good.csv", "--blocks", "short.csv"], "short.csv: 1 numbers for 2 sub-classifiers"),
        (&["junk.npy"], "NPY"),
    ];
    for (arguments, wanted) in cases {
        let done = run(&program, folder, arguments);
        let text = String::from_utf8(done.stderr).unwrap();
        assert!(
            !done.status.success() && text.to_lowercase().contains(&wanted.to_lowercase()),
            "{arguments:?}: {text}"
        );
        assert!(!text.contains("panicked"), "{text}");
    }
}
