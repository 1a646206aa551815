//! The programs for own data, run as a user runs them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// A NumPy array of f64, `[rows, width]`, or of one dimension for a width of 0.
fn write_npy(path: &Path, values: &[f64], width: usize) {
    let shape = match width {
        0 => format!("({},)", values.len()),
        width => format!("({}, {width})", values.len() / width),
    };
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}");
    header += &" ".repeat(63 - (10 + header.len()) % 64);
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
}

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
    let names = ["index.html", "consensus.csv", "annotators.csv", "report.json", "reliability.svg", "reliability.csv"];
    reproduction::assert_keeps_results(&program, folder, (&[&["said.csv"], &columns[..]].concat(), "a"), &names);
}

#[test]
fn wrong_tables_are_errors_that_say_what_is_wrong() {
    let Some(program) = reproduction::example("annotators") else { return };
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("item,annotator\n1,2\n", "no column `label`, there are: item, annotator"),
        ("item,annotator,label\n", "no row behind the header"),
        ("item,annotator,label\n1,2,\n", "there are no annotations"),
        ("item,annotator,label\n1,2\n", "line 2"),
        ("item,annotator,label\na,b,0\na,b,1\n", "rows 0 and 1: annotator `b` gave item `a` the labels `0` and `1`"),
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

#[test]
fn gaps_are_no_answers_and_contradictions_are_named() {
    let Some(program) = reproduction::example("annotators") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let whole = "item,annotator,label\n1,ann,x\n1,bob,x\n2,ann,y\n2,bob,y\n";
    std::fs::write(folder.join("whole.csv"), whole).unwrap();
    std::fs::write(folder.join("gaps.csv"), format!("{whole}2,cy,\n1,,y\n,ann,y\n")).unwrap();
    for name in ["whole", "gaps"] {
        let done = run(&program, folder, &[&format!("{name}.csv"), "--out", name]);
        assert!(done.status.success(), "{done:?}");
        assert_eq!(String::from_utf8(done.stdout).unwrap().contains("3 rows without"), name == "gaps");
    }
    for file in ["consensus.csv", "annotators.csv"] {
        let read = |name: &str| std::fs::read(folder.join(name).join(file)).unwrap();
        assert_eq!(read("whole"), read("gaps"), "{file}");
    }
    std::fs::write(folder.join("bad.csv"), format!("{whole}2,ann,x\n")).unwrap();
    let done = run(&program, folder, &["bad.csv", "--out", "bad"]);
    let printed = String::from_utf8(done.stderr).unwrap();
    assert!(printed.contains("rows 2 and 4: annotator `ann` gave item `2` the labels `y` and `x`"), "{printed}");
}

#[test]
fn a_classifier_is_weighed_in() {
    let Some(program) = reproduction::example("annotators") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Two disagree everywhere; the classifier decides, and its rows are in another order.
    let (mut said, mut p) = ("item,annotator,label\n".to_owned(), "cat,item,dog\n".to_owned());
    for item in 0..20 {
        let label = ["cat", "dog"][item % 2];
        said += &format!("{item},ann,{label}\n{item},bob,{}\n", if item < 3 { "dog" } else { label });
        let sure = if item % 2 == 0 { (0.95, 0.05) } else { (0.05, 0.95) };
        p.insert_str("cat,item,dog\n".len(), &format!("{},{item},{}\n", sure.0, sure.1));
    }
    std::fs::write(folder.join("said.csv"), said).unwrap();
    std::fs::write(folder.join("p.csv"), &p).unwrap();
    let done = run(&program, folder, &["said.csv", "--probabilities", "p.csv", "--out", "a"]);
    assert!(done.status.success(), "{done:?}");
    let consensus = std::fs::read_to_string(folder.join("a/consensus.csv")).unwrap();
    let head: Vec<&str> = consensus.lines().next().unwrap().split(',').collect();
    let at = head.iter().position(|name| *name == "crowdlab").unwrap();
    for line in consensus.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let expected = ["cat", "dog"][cells[0].parse::<usize>().unwrap() % 2];
        assert_eq!(cells[at], expected, "{line}");
    }
    for (text, wanted) in [
        ("cat,item\n0.5,1\n", "dog"),
        ("cat,item,dog\n0.5,1,x\n", "missing"),
        (&p.replacen("0.95,0,", "x,0,", 1), "finite number"),
        (&p.replace(",5,", ",4,"), "twice"),
    ] {
        std::fs::write(folder.join("p.csv"), text).unwrap();
        let done = run(&program, folder, &["said.csv", "--probabilities", "p.csv", "--out", "b"]);
        assert!(!done.status.success());
        assert!(String::from_utf8(done.stderr).unwrap().contains(wanted), "{text}");
    }
}

/// Labels of which a part is wrong, predictions that learned some of that, and features that know better.
fn untrusted(count: usize) -> (Vec<u32>, Vec<u32>, Vec<f64>, Vec<f64>) {
    let (mut truth, mut given, mut p, mut features) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for at in 0..count as u32 {
        let class = at % 3;
        let (is_wrong, is_misled) = (at % 7 < 2, at % 7 < 1);
        let label = if is_wrong { (class + 1) % 3 } else { class };
        let said = if is_misled { label } else { class };
        truth.push(class);
        given.push(label);
        p.extend((0..3).map(|k| {
            if k == said {
                if is_misled { 0.6 } else { 0.9 }
            } else if is_misled {
                0.2
            } else {
                0.05
            }
        }));
        let angle = f64::from(class) * 2.1 + f64::from(at % 11) * 0.02;
        features.extend([angle.cos(), angle.sin(), f64::from(at % 5) * 0.01]);
    }
    (truth, given, p, features)
}

#[test]
fn labels_are_corrected_from_files() {
    let Some(program) = reproduction::example("correct_labels") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (truth, given, p, features) = untrusted(840);
    let table: String = given.iter().map(|label| format!("{label}\n")).collect();
    std::fs::write(folder.join("labels.csv"), format!("label\n{table}")).unwrap();
    write_npy(&folder.join("p.npy"), &p, 3);
    write_npy(&folder.join("x.npy"), &features, 3);
    let files = ["--labels", "labels.csv", "--probabilities", "p.npy"];
    // With few examples and no number of passes there are enough of them; with too few passes the program says so.
    let done = run(&program, folder, &[&files[..], &["--features", "x.npy", "--epochs", "2", "--out", "few"]].concat());
    assert!(String::from_utf8(done.stdout).unwrap().contains("warning: 14 steps are few"));
    let with_passes = vec!["--features", "x.npy", "--epochs", "60"];
    for (out, more) in [("npc", with_passes), ("default", vec!["--features", "x.npy"]), ("joint", vec![])] {
        let done = run(&program, folder, &[&files[..], &["--out", out], &more].concat());
        assert!(done.status.success(), "{done:?}");
        let text = std::fs::read_to_string(folder.join(out).join("corrected.csv")).unwrap();
        assert_eq!(text.lines().next().unwrap(), "index,given,corrected,confidence,p_given,rank");
        let rows: Vec<Vec<f64>> =
            text.lines().skip(1).map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect()).collect();
        assert_eq!(rows.len(), 840);
        let right =
            |column: usize| rows.iter().zip(&truth).filter(|(row, class)| row[column] == f64::from(**class)).count();
        assert!(right(2) > right(1) + 100, "{out}: {} {}", right(1), right(2));
        // Ranks are a permutation that follows the probability of the given label.
        let mut by_rank: Vec<&Vec<f64>> = rows.iter().collect();
        by_rank.sort_by(|a, b| a[5].total_cmp(&b[5]));
        assert!(by_rank.iter().enumerate().all(|(at, row)| row[5] == at as f64 + 1.));
        assert!(by_rank.windows(2).all(|pair| pair[0][4] <= pair[1][4] + 1e-6));
        let report: Value =
            serde_json::from_slice(&std::fs::read(folder.join(out).join("report.json")).unwrap()).unwrap();
        let changed = rows.iter().filter(|row| row[1] != row[2]).count();
        assert_eq!(report["changed"].as_u64(), Some(changed as u64));
        assert_eq!(report["issues"].as_u64(), Some(report["data"]["issues"].as_array().unwrap().len() as u64));
        for figure in ["joint.svg", "p_given.svg"] {
            assert!(std::fs::read_to_string(folder.join(out).join(figure)).unwrap().contains("<svg"));
        }
    }
    // Names, and labels as an array.
    let names: String = given.iter().map(|label| format!("{}\n", ["a", "b", "c"][*label as usize])).collect();
    std::fs::write(folder.join("named.csv"), format!("said\n{names}")).unwrap();
    let named =
        ["--labels", "named.csv", "--column", "said", "--classes", "a,b,c", "--probabilities", "p.npy", "--out", "n"];
    assert!(run(&program, folder, &named).status.success());
    write_npy(&folder.join("labels.npy"), &given.iter().map(|&label| f64::from(label)).collect::<Vec<_>>(), 0);
    let array = ["--labels", "labels.npy", "--probabilities", "p.npy", "--out", "m"];
    assert!(run(&program, folder, &array).status.success());
    let read = |name: &str| std::fs::read(folder.join(name).join("corrected.csv")).unwrap();
    assert_eq!(read("m"), read("joint"));
    let names = ["joint.svg", "joint.csv", "p_given.svg", "p_given.csv", "classes.csv", "corrected.csv", "report.json"];
    reproduction::assert_keeps_results(&program, folder, (&array[..4], "m"), &[&names[..], &["index.html"]].concat());
    // Probabilities as a table, whose header names the classes.
    let rows: String = p.chunks(3).map(|row| format!("{},{},{}\n", row[0], row[1], row[2])).collect();
    std::fs::write(folder.join("p.csv"), format!("a,b,c\n{rows}")).unwrap();
    let table = ["--labels", "named.csv", "--column", "said", "--probabilities", "p.csv", "--out", "t"];
    let done = run(&program, folder, &table);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(read("t"), read("n"));
    // Predictions that repeat the labels are said to be in sample.
    let same: Vec<f64> = given.iter().flat_map(|&label| (0..3).map(move |k| f64::from(u8::from(k == label)))).collect();
    write_npy(&folder.join("same.npy"), &same, 3);
    let done = run(&program, folder, &["--labels", "labels.csv", "--probabilities", "same.npy", "--out", "s"]);
    assert!(String::from_utf8(done.stdout).unwrap().contains("has probably been trained on these labels"));
    // What does not fit is an error that names the file.
    write_npy(&folder.join("short.npy"), &p[3..], 3);
    write_npy(&folder.join("wild.npy"), &p.iter().map(|p| 2. * p).collect::<Vec<_>>(), 3);
    write_npy(&folder.join("nan.npy"), &vec![f64::NAN; 2520], 3);
    std::fs::write(folder.join("letters.csv"), "label\nx\n").unwrap();
    std::fs::write(folder.join("nothing.csv"), "").unwrap();
    for (labels, p, x, wanted) in [
        ("labels.csv", "short.npy", "x.npy", "labels.csv"),
        ("labels.csv", "wild.npy", "x.npy", "wild.npy"),
        ("labels.csv", "p.npy", "nan.npy", "nan.npy"),
        ("labels.csv", "p.npy", "short.npy", "short.npy"),
        ("letters.csv", "p.npy", "x.npy", "letters.csv"),
        ("nothing.csv", "p.npy", "x.npy", "nothing.csv"),
        ("absent.csv", "p.npy", "x.npy", "absent.csv"),
        ("labels.csv", "labels.csv", "x.npy", "labels.csv"),
    ] {
        let done = run(&program, folder, &["--labels", labels, "--probabilities", p, "--features", x, "--out", "bad"]);
        let printed = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success() && printed.contains(wanted), "{labels} {p} {x}: {printed}");
        assert!(!printed.contains("panicked"), "{printed}");
    }
}

#[test]
fn a_table_of_annotators_trains_tram() {
    let Some(program) = reproduction::example("train_tram") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut text = "x,y,who,said,seconds,truth\n".to_owned();
    for item in 0..300u32 {
        let class = item % 2;
        let side = if class == 0 { 1. } else { -1. };
        let (x, y) = (side + f64::from(item % 17) * 0.05, f64::from(item % 13) * 0.1);
        let names = ["no", "yes"];
        text += &format!("{x},{y},ann,{},{},{}\n", names[class as usize], 5 + item % 3, names[class as usize]);
        // One who always says yes, in a hurry; the time is sometimes not known. Of half of the items, so that most labels are right.
        if item % 4 > 1 {
            continue;
        }
        let seconds = if item % 8 == 0 { String::new() } else { "1".to_owned() };
        text += &format!("{x},{y},bob,yes,{seconds},{}\n", names[class as usize]);
    }
    std::fs::write(folder.join("table.csv"), &text).unwrap();
    let columns = ["table.csv", "--label", "said", "--annotator", "who", "--pi", "seconds", "--truth", "truth"];
    let done = run(&program, folder, &[&columns[..], &["--epochs", "40", "--out", "a"]].concat());
    assert!(done.status.success(), "{done:?}");
    let printed = String::from_utf8(done.stdout).unwrap();
    assert!(printed.contains("450 annotations of") && printed.contains("TRAM, zeros"), "{printed}");
    let report: Value = serde_json::from_slice(&std::fs::read(folder.join("a/report.json")).unwrap()).unwrap();
    assert!(report["methods"]["TRAM"]["accuracy"].as_f64().unwrap() > 0.9, "{report}");
    let annotators = std::fs::read_to_string(folder.join("a/annotators.csv")).unwrap();
    assert!(annotators.lines().nth(1).unwrap().starts_with("bob,"), "{annotators}");
    for name in ["model.safetensors", "model.json", "annotations.csv"] {
        assert!(folder.join("a").join(name).exists(), "{name}");
    }
    let names =
        ["comparison.csv", "accuracy.svg", "accuracy.csv", "noise.svg", "noise.csv", "report.json", "index.html"];
    let names = [&names[..], &["model.safetensors", "model.json", "annotations.csv", "annotators.csv"]].concat();
    reproduction::assert_keeps_results(&program, folder, (&[&columns[..], &["--epochs", "40"]].concat(), "a"), &names);
    let again = run(&program, folder, &[&columns[..], &["--epochs", "40", "--out", "b"]].concat());
    assert!(again.status.success());
    for name in ["model.safetensors", "report.json", "annotators.csv", "annotations.csv"] {
        assert_eq!(
            std::fs::read(folder.join("a").join(name)).unwrap(),
            std::fs::read(folder.join("b").join(name)).unwrap()
        );
    }
    for (change, wanted) in [
        (text.replacen("1.05,", "abc,", 1), "abc"),
        (text.replacen(",ann,no,", ",ann,,", 1), "said"),
        (text.replacen(",5,no", ",inf,no", 1), "seconds"),
        ("x,y,who,said,seconds,truth\n".to_owned(), "row"),
        (text.lines().take(2).collect::<Vec<_>>().join("\n"), "class"),
    ] {
        std::fs::write(folder.join("table.csv"), change).unwrap();
        let done = run(&program, folder, &[&columns[..], &["--out", "c"]].concat());
        let printed = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success() && printed.contains(wanted), "{wanted}: {printed}");
        assert!(!printed.contains("panicked"), "{printed}");
    }
}
