//! The programs for own data: `embed`, `imbalance`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};

fn run(program: &str, folder: &Path, arguments: &[&str]) -> Option<Output> {
    let program = reproduction::example(program)?;
    Some(Command::new(program).current_dir(folder).args(arguments).output().unwrap())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn fails_naming(output: &Output, what: &str) {
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.starts_with("error: ") && said.contains(what) && !said.contains("panicked"), "{said}");
}

/// Three rings of twenty nodes with a chord each, their features and labels.
fn write_nodes(at: &Path) {
    let (mut edges, mut features, mut labels) = ("a,b\n".to_owned(), "x,y\n".to_owned(), "node,label\n".to_owned());
    for node in 0..60 {
        let ring = node / 20;
        writeln!(edges, "{node},{}", ring * 20 + (node + 1) % 20).unwrap();
        writeln!(features, "{},{}", (node * 7 + ring) % 5, f64::from(node % 3) * 0.5 - f64::from(ring)).unwrap();
        writeln!(labels, "{node},{}", ["red", "green", "blue"][ring as usize]).unwrap();
    }
    for (name, text) in [("edges.csv", edges), ("features.csv", features), ("labels.csv", labels)] {
        std::fs::write(at.join(name), text).unwrap();
    }
}

#[test]
fn embed_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_nodes(at);
    let base = ["nodes", "--edges", "edges.csv", "--features", "features.csv"];
    let with = |more: &[&'static str]| [&base[..], &["--hidden", "8", "--epochs", "3"], more].concat();
    let Some(output) = run("embed", at, &with(&["--labels", "labels.csv"])) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("untrained encoder"));
    for name in ["embeddings.npy", "untrained.npy", "model.safetensors", "report.json", "map.svg"] {
        assert!(at.join("embeddings").join(name).is_file(), "{name}");
    }
    let embeddings = gnn::probe::read_npy(at.join("embeddings/embeddings.npy")).unwrap();
    assert_eq!(embeddings.dims(), [60, 8]);
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(at.join("embeddings/report.json")).unwrap()).unwrap();
    assert_eq!(report["epochs"].as_array().unwrap().len(), 3);
    for objective in ["grace", "bgrl", "dgi", "gae", "vgae"] {
        let output = run("embed", at, &[&with(&["--out", "other"])[..], &["--objective", objective]].concat()).unwrap();
        assert!(output.status.success(), "{objective}: {}", text(&output.stderr));
    }
    let fails = |arguments: &[&str], what: &str| fails_naming(&run("embed", at, arguments).unwrap(), what);
    fails(&with(&["--objective", "graph-cl"]), "level");
    fails(&["nodes", "--edges", "features.csv", "--features", "features.csv"], "features.csv, line");
    fails(&["nodes", "--edges", "edges.csv", "--features", "labels.csv"], "labels.csv");
    fails(&["nodes", "--edges", "none.csv", "--features", "features.csv"], "none.csv");
    std::fs::write(at.join("short.csv"), "x\n1\n2\n").unwrap();
    fails(&["nodes", "--edges", "edges.csv", "--features", "short.csv"], "2 nodes");
    std::fs::write(at.join("few.csv"), "node,label\n0,a\n1,b\n").unwrap();
    fails(&with(&["--labels", "few.csv"]), "at least 10");
    std::fs::write(at.join("twice.csv"), "node,label\n0,a\n0,b\n").unwrap();
    fails(&with(&["--labels", "twice.csv"]), "two labels");
    fails(&with(&["--labels", "edges.csv"]), "no column `node`");
}

#[test]
fn embed_graphs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut graphs = "24\n".to_owned();
    for graph in 0..24 {
        let n = 4 + graph % 5;
        writeln!(graphs, "{n} {}", graph % 2).unwrap();
        for v in 0..n {
            if graph % 2 == 0 {
                writeln!(graphs, "0 2 {} {}", (v + n - 1) % n, (v + 1) % n).unwrap();
            } else if v == 0 {
                let others: Vec<String> = (1..n).map(|v| v.to_string()).collect();
                writeln!(graphs, "1 {} {}", n - 1, others.join(" ")).unwrap();
            } else {
                writeln!(graphs, "0 1 0").unwrap();
            }
        }
    }
    std::fs::write(at.join("mine.txt"), graphs).unwrap();
    let base = ["graphs", "--graphs", "mine.txt", "--epochs", "2"];
    let Some(output) = run("embed", at, &base) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("sums of features"));
    for objective in ["graph-cl", "info-graph"] {
        let output = run("embed", at, &[&base[..], &["--objective", objective]].concat()).unwrap();
        assert!(output.status.success(), "{objective}: {}", text(&output.stderr));
    }
    std::fs::write(at.join("cut.txt"), "2\n3 0\n0 1 1\n").unwrap();
    fails_naming(&run("embed", at, &["graphs", "--graphs", "cut.txt"]).unwrap(), "cut.txt");
}

#[test]
fn imbalance() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_nodes(at);
    std::fs::write(at.join("train.csv"), "node\n0\n5\n21\n22\n43\n").unwrap();
    let base = ["--edges", "edges.csv", "--labels", "labels.csv"];
    let Some(output) = run("imbalance", at, &[&base[..], &["--train", "train.csv"]].concat()) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = std::fs::read_to_string(at.join("imbalance.csv")).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "node,label,totoro,weight");
    assert_eq!(lines.len(), 6);
    // no ring knows another's label
    assert!(lines[1..].iter().all(|line| line.contains(",0.000000000,")), "{table}");
    let whole = run("imbalance", at, &base).unwrap();
    assert!(text(&whole.stdout).contains("60 labelled nodes of 3 classes"));
    std::fs::write(at.join("far.csv"), "node\n99\n").unwrap();
    fails_naming(&run("imbalance", at, &[&base[..], &["--train", "far.csv"]].concat()).unwrap(), "far.csv, line 2");
    fails_naming(&run("imbalance", at, &[&base[..], &["--restart", "0"]].concat()).unwrap(), "restart");
}
