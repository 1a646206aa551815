//! The program for own data, `search_operators`, run as a user runs it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor};
use core_tensor::random::Rng;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(folder: &Path, arguments: &[&str]) -> Option<Output> {
    let program = reproduction::example("search_operators")?;
    Some(Command::new(program).current_dir(folder).args(arguments).output().unwrap())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn fails_naming(output: &Output, what: &str) {
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.starts_with("error: ") && said.contains(what) && !said.contains("panicked"), "{what}: {said}");
}

fn archive(path: &Path, x: &Tensor, y: Vec<i64>) {
    let y = Tensor::new(y, &Device::Cpu).unwrap();
    Tensor::write_npz(&[("x", x.clone()), ("y", y)], path).unwrap();
}

/// Noise, with a bright line along a row or a column: two classes that convolutions tell apart and means do not.
fn lines(n: usize) -> (Tensor, Vec<i64>) {
    let mut rng = Rng::new(3);
    let mut values = Vec::new();
    let labels: Vec<i64> = (0..n).map(|at| (at % 2) as i64).collect();
    for label in &labels {
        let line = rng.below(8);
        for at in 0..64 {
            let along = if *label == 0 { at / 8 } else { at % 8 };
            values.push(rng.unit() as f32 + if along == line { 1.0 } else { 0.0 });
        }
    }
    (Tensor::from_vec(values, (n, 8, 8), &Device::Cpu).unwrap(), labels)
}

#[test]
fn images_are_searched_from_archive_to_weights() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (x, labels) = lines(160);
    archive(&at.join("lines.npz"), &x, labels);
    std::fs::write(
        at.join("truth.csv"),
        "# better=higher\narchitecture,seed,value\n0-0-0,0,0.9\n0-0-0,1,0.92\n2-2-2,0,0.5\n2-2-2,1,0.52\n1-1-1,0,0.8\n1-1-1,1,0.81\n",
    )
    .unwrap();
    let base = ["lines.npz", "--layers", "3", "--operators", "conv3,sep5,identity", "--width", "8", "--batch", "32"];
    let small =
        ["--epochs", "6", "--child-epochs", "4", "--population", "6", "--generations", "2", "--probe-rows", "32"];
    let with = |more: &[&'static str]| [&base[..], &small, more].concat();
    let all = ["--sampler", "gradual", "--max-parameters", "2000", "--truth", "truth.csv", "--alone", "3"];
    let Some(planned) = run(at, &with(&["--dry-run", "--out", "planned"])) else { return };
    assert!(planned.status.success(), "{}", text(&planned.stderr));
    assert!(text(&planned.stdout).contains("in all about") && !at.join("planned").exists());

    let output = run(at, &with(&all)).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    for expected in ["27 children", "this will", "best child, trained alone", "random child", "next:"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let out = at.join("search");
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let page = read("index.html");
    for name in [
        "distance",
        "conflict",
        "heat-map",
        "finals",
        "forced-input",
        "forced-output",
        "search",
        "front",
        "ranking",
        "ranking-alone",
    ] {
        let svg = read(&format!("{name}.svg"));
        assert!(svg.contains("<svg"), "{name}");
    }
    assert!(page.matches("<svg").count() == 10 && page.contains("mean loss"));
    assert!(read("truth.csv").lines().count() == 8);
    assert!(read("ranking.csv").lines().count() == 4);
    let report: serde_json::Value = serde_json::from_str(&read("report.json")).unwrap();
    assert_eq!(report["ranking"].as_array().unwrap().len(), 2);
    assert_eq!(report["interference"]["distances"].as_array().unwrap().len(), 2);
    assert_eq!(report["ranking"][0]["ceiling"], 1.0);
    // no child above the limit is scored, and none twice
    let search = read("search.csv");
    let mut seen = std::collections::HashSet::new();
    for line in search.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        assert!(
            cells[4].parse::<u64>().unwrap() <= 2000 && seen.insert((cells[0].to_owned(), cells[2].to_owned())),
            "{line}"
        );
    }
    // the winner's weights are those of its layers alone
    for name in ["best.safetensors", "retrained.safetensors"] {
        let weights = candle_core::safetensors::load(out.join(name), &Device::Cpu).unwrap();
        let operators: Vec<&str> =
            report["best"]["operators"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        for key in weights.keys().filter(|key| key.starts_with("layer.")) {
            let parts: Vec<&str> = key.split('.').collect();
            assert_eq!(operators[parts[1].parse::<usize>().unwrap()], parts[2], "{name}");
        }
        assert!(
            weights.contains_key("head.weight") && weights.contains_key("stem_norm.running_mean"),
            "{:?}",
            weights.keys()
        );
    }

    // nobody reads what is printed
    let mut command = Command::new(reproduction::example("search_operators").unwrap());
    let command = command.current_dir(at).args(with(&["--out", "unheard"])).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let unheard = child.wait_with_output().unwrap();
    assert!(unheard.status.success() && at.join("unheard/index.html").is_file(), "{}", text(&unheard.stderr));

    // nothing is overwritten unasked; asked, the same seed gives the same numbers
    fails_naming(&run(at, &with(&all)).unwrap(), "--force");
    let again = run(at, &with(&[&all[..], &["--force"]].concat())).unwrap();
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert_eq!(read("search.csv"), search);

    let fails = |more: &[&'static str], what: &str| {
        fails_naming(&run(at, &[&["lines.npz", "--out", "wrong"], more].concat()).unwrap(), what);
    };
    fails(&["--operators", "conv3,atention"], "`atention` is unknown");
    fails(&["--operators", "conv3"], "two or more");
    fails(&["--operators", "identity,max"], "nothing to share");
    fails(&["--max-parameters", "10"], "the smallest child has");
    fails(&["--max-multiplications", "1"], "multiplications");
    fails(&["--layers", "1"], "--layers 1");
    fails(&["--alone", "1"], "--alone 1");
    fails(&["--kind", "table"], "[n, columns]");
    fails(&["--truth", "none.csv"], "none.csv");
    fails(&["--validation", "0.6", "--test", "0.6"], "rows");
    std::fs::write(at.join("foreign.csv"), "architecture,value\n0-0-0,1\n0-0-7,2\n").unwrap();
    fails(&["--truth", "foreign.csv", "--layers", "3"], "foreign.csv");
    assert!(!at.join("wrong").exists());
}

#[test]
fn tables_and_sequences_are_searched_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let x = Rng::new(1).normal(0., 1., (120, 5), DType::F32, &Device::Cpu).unwrap();
    let y = x.argmax(1).unwrap().to_vec1::<u32>().unwrap().into_iter().map(i64::from).collect::<Vec<_>>();
    archive(&at.join("table.npz"), &x, y.clone());
    archive(&at.join("steps.npz"), &x.reshape((120, 5, 1)).unwrap(), y);
    let small = [
        "--layers",
        "2",
        "--width",
        "8",
        "--epochs",
        "2",
        "--child-epochs",
        "2",
        "--population",
        "3",
        "--generations",
        "2",
    ];
    let rows: Vec<Vec<f32>> = x.to_vec2().unwrap();
    let cells = |row: &Vec<f32>| row.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
    let lines =
        rows.iter().zip(["a", "b", "c", "d", "e"].repeat(24)).map(|(row, class)| cells(row) + "," + class + "\n");
    std::fs::write(at.join("text.csv"), "p,q,r,s,t,label\n".to_owned() + &lines.collect::<String>()).unwrap();
    for (file, more) in [
        ("text.csv", &["--operators", "feed_forward,identity"][..]),
        ("table.npz", &["--operators", "attention,feed_forward"][..]),
        ("steps.npz", &["--kind", "sequences", "--sampler", "fair"][..]),
    ] {
        let Some(output) = run(at, &[&[file, "--out", file.rsplit_once('.').unwrap().0], &small[..], more].concat())
        else {
            return;
        };
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("--alone 12"));
        assert!(at.join(file.rsplit_once('.').unwrap().0).join("index.html").is_file());
    }
}

#[test]
fn bad_archives_are_errors_that_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (x, labels) = lines(12);
    let check = |x: &Tensor, y: Vec<i64>, what: &str| {
        archive(&at.join("bad.npz"), x, y);
        if let Some(output) = run(at, &["bad.npz"]) {
            fails_naming(&output, what);
            fails_naming(&output, "bad.npz");
        }
    };
    check(&x.flatten_all().unwrap(), labels.clone(), "has shape [768]");
    check(&x, labels[1..].to_vec(), "a class for each input");
    check(&x, vec![-1; 12], "expected a class from 0");
    check(&x, vec![1; 12], "expected two or more");
    check(&(&x / 0.0).unwrap(), labels.clone(), "expected finite numbers");
    check(&x.narrow(0, 0, 6).unwrap(), labels[..6].to_vec(), "at least 8, 2 and 2");
    std::fs::write(at.join("bad.npz"), b"PK\x03\x04").unwrap();
    if let Some(output) = run(at, &["bad.npz"]) {
        fails_naming(&output, "bad.npz");
    }
    Tensor::write_npz(&[("pixels", x)], at.join("bad.npz")).unwrap();
    if let Some(output) = run(at, &["bad.npz"]) {
        fails_naming(&output, "pixels");
    }
}
