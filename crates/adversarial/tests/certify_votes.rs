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

fn json(folder: &Path, out: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join(out).join("certificates.json")).unwrap()).unwrap()
}

#[test]
fn names_headers_and_probabilities_are_votes_too() {
    let Some(program) = reproduction::example("certify_votes") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let good = "0,1,2,0\n0,1,2,0\n0,1,1,2\n";
    write(folder, "numbers.csv", good);
    write(folder, "headed.csv", &format!("a,b,c,d\n{good}"));
    write(folder, "pandas.csv", ",0,1,2,3\n0,0,1,2,0\n1,0,1,2,0\n2,0,1,1,2\n");
    write(folder, "floats.csv", &good.replace("0,1", "0.0,1.0").replace("2", "2.0"));
    write(folder, "names.csv", "ant,bee,cow,ant\nant,bee,cow,ant\nant,bee,bee,cow\n");
    write(folder, "named.csv", "s1,s2,s3,s4\nant,bee,cow,ant\nant,bee,cow,ant\nant,bee,bee,cow\n");
    let one = |class: usize| ["0.8,0.1,0.1", "0.2,0.7,0.1", "0.25,0.25,0.5"][class];
    let rows = [[0, 1, 2, 0], [0, 1, 2, 0], [0, 1, 1, 2]].map(|row| row.map(one).join(","));
    write(folder, "probabilities.csv", &rows.join("\n"));
    write(folder, "labels.csv", "label\n0\n1\n2\n2\n");
    write(folder, "named_labels.csv", "class\nant\nbee\ncow\ncow\n");
    let run_on = |votes: &str, labels: &str, more: &[&str]| {
        let arguments = [&[votes, "--labels", labels, "--budgets", "1-2", "--out", "out", "--force"], more].concat();
        let done = run(&program, folder, &arguments);
        let text = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success(), "{votes}: {text} {}", String::from_utf8_lossy(&done.stderr));
        assert!(
            text.contains("3 sub-classifiers, 4 samples, 3 classes") && text.contains("3 predictions are right"),
            "{text}"
        );
        let found = json(folder, "out");
        (
            found["robustness"][0]["max_changed_upper"].clone(),
            found["accuracy"][1]["attack"].clone(),
            found["class_names"].clone(),
        )
    };
    let expected = run_on("numbers.csv", "labels.csv", &[]);
    for votes in ["headed.csv", "pandas.csv", "floats.csv", "probabilities.csv"] {
        assert_eq!(run_on(votes, "labels.csv", &[]), expected, "{votes}");
    }
    assert_eq!(run_on("headed.csv", "labels.csv", &["--header", "yes"]), expected);
    for votes in ["names.csv", "named.csv"] {
        let (upper, attack, names) = run_on(votes, "named_labels.csv", &[]);
        assert_eq!((upper, attack), (expected.0.clone(), expected.1.clone()), "{votes}");
        assert_eq!(names, serde_json::json!(["ant", "bee", "cow"]));
    }
    // numbers for votes, names for labels
    run_on("numbers.csv", "named_labels.csv", &["--class-names", "ant,bee,cow"]);
    // a class that comes first wins ties: with the order turned another class does
    let (_, _, names) = run_on("names.csv", "named_labels.csv", &["--class-names", "cow,bee,ant"]);
    assert_eq!(names, serde_json::json!(["cow", "bee", "ant"]));

    write(folder, "half.csv", "0.5,0.7\n0.2,0.1\n");
    write(folder, "hot.csv", "1.0,0.0\n0.0,1.0\n");
    write(folder, "sum.csv", "0.5,0.5,0.9,0.9\n");
    write(folder, "hole.csv", "0,1\n0,\n");
    for (arguments, wanted) in [
        (&["half.csv"][..], "add up to 1.2, expected 1 (for two classes give both)"),
        (&["hot.csv"], "may be classes or probabilities"),
        (&["sum.csv", "--classes", "2"], "line 1: the probabilities of sample 1 add up to 1.8"),
        (&["hole.csv"], "line 2, column 2 is empty"),
        (&["names.csv", "--class-names", "ant,bee"], "row 1, column 3 is \"cow\", which is not among the 2 classes"),
        (&["names.csv", "--class-names", "ant,ant"], "\"ant\" comes twice"),
        (&["names.csv", "--labels", "labels.csv"], "numbers in one file and names in the other"),
    ] {
        let done = run(&program, folder, arguments);
        let text = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success() && text.contains(wanted), "{arguments:?}: {text}");
    }
    assert!(run(&program, folder, &["hot.csv", "--probabilities"]).status.success());
}

#[test]
fn headers_are_no_classes_and_errors_name_the_file() {
    let Some(program) = reproduction::example("certify_votes") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // columns counted by pandas; a class that no sub-classifier votes for below a header
    write(folder, "counted.csv", "0,1,2,3\n0,1,1,0\n0,1,0,0\n0,1,1,1\n");
    write(folder, "names.csv", "ant,bee,ant\nant,bee,bee\n");
    write(folder, "labels.csv", "class\nant\nbee\ndog\n");
    write(folder, "more.csv", "0\n1\n1\n0\n1\n");
    write(folder, "large.csv", "0\n7\n1\n0\n");
    write(folder, "members.csv", "0\n1\n");
    let done = run(&program, folder, &["counted.csv", "--out", "a"]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success() && text.contains("3 sub-classifiers, 4 samples, 2 classes"), "{text}");
    let done = run(&program, folder, &["names.csv", "--labels", "labels.csv", "--out", "b"]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success() && text.contains("2 sub-classifiers, 3 samples, 3 classes"), "{text}");
    for (arguments, file) in [
        (&["counted.csv", "--labels", "more.csv"][..], "more.csv"),
        (&["counted.csv", "--labels", "large.csv", "--classes", "2"], "large.csv"),
        (&["counted.csv", "--memberships", "members.csv"], "members.csv"),
    ] {
        let done = run(&program, folder, &[arguments, &["--out", "c"]].concat());
        let text = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success() && text.contains(file), "{arguments:?}: {text}");
    }
    // nothing is replaced unless asked
    let page = std::fs::read(folder.join("a/index.html")).unwrap();
    let again = run(&program, folder, &["counted.csv", "--out", "a", "--budgets", "1"]);
    assert!(!again.status.success() && String::from_utf8(again.stderr).unwrap().contains("--force"));
    assert_eq!(std::fs::read(folder.join("a/index.html")).unwrap(), page);
    for name in ["certificates.csv", "certificates.json", "certificates.svg", "samples.csv"] {
        assert!(folder.join("a").join(name).is_file(), "{name}");
    }
}

#[test]
fn attacks_on_any_bagging_name_training_samples() {
    let Some(program) = reproduction::example("certify_votes") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "votes.csv", "0,1\n0,1\n0,1\n1,0\n");
    // one sample in the first two sub-trainsets, others in one each
    write(folder, "members.csv", "40,7\n40\n9\n8\n");
    let done = run(&program, folder, &["votes.csv", "--memberships", "members.csv", "--budgets", "1", "--out", "out"]);
    assert!(done.status.success(), "{done:?}");
    let found = json(folder, "out");
    assert_eq!(found["robustness"][0]["attack"], serde_json::json!([0, 1]));
    assert_eq!(found["robustness"][0]["training_samples"], serde_json::json!([40]));
}

#[test]
fn extreme_numbers_are_errors_or_harmless() {
    let Some(program) = reproduction::example("certify_votes") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "votes.csv", "0,1,1,0\n0,1,0,0\n0,1,1,0\n0,1,1,1\n");
    let extremes = [
        "0",
        "1",
        "-1",
        "1e20",
        "1e300",
        "NaN",
        "inf",
        "18446744073709551610",
        "18446744073709551615",
        "18446744073709551616",
    ];
    for option in ["--seconds", "--classes", "--budgets"] {
        for value in extremes {
            let done = run(&program, folder, &["votes.csv", "--out", "out", "--force", option, value]);
            let error = String::from_utf8(done.stderr).unwrap();
            assert!(
                matches!(done.status.code(), Some(0..=2)) && !error.contains("panicked"),
                "{option} {value}: {error}"
            );
            if !matches!(value, "0" | "1") {
                // the largest durations are times that never come
                assert!(
                    !done.status.success() || value == "18446744073709551610" && option == "--seconds",
                    "{option} {value}"
                );
            }
        }
    }
    let range = run(&program, folder, &["votes.csv", "--out", "out", "--force", "--budgets", "1-18446744073709551615"]);
    assert!(range.status.success());
}

#[test]
fn the_time_limit_holds_with_the_most_classes() {
    let Some(program) = reproduction::example("certify_votes") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // 12 sub-classifiers, 1500 samples, classes all over the range
    let vote = |g: u32, n: u32| if (g + n).is_multiple_of(3) { (n * 7919 + g * 31) % 65_536 } else { n * 43 % 65_536 };
    let rows: Vec<String> =
        (0..12).map(|g| (0..1500).map(|n| vote(g, n).to_string()).collect::<Vec<_>>().join(",")).collect();
    write(folder, "votes.csv", &rows.join("\n"));
    let start = std::time::Instant::now();
    let limits = ["--classes", "65536", "--seconds", "0.1", "--budgets", "1-6"];
    let done = run(&program, folder, &[&["votes.csv"], &limits[..]].concat());
    assert!(done.status.success(), "{done:?}");
    // six certificates of 0.1 s, and reading: ten times that for a busy machine
    assert!(start.elapsed() < std::time::Duration::from_secs(7), "{:?}", start.elapsed());
}
