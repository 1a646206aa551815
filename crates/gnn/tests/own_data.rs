//! The programs for own data: `cluster`, `embed`, `imbalance`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{Device, Tensor};
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

fn keeps_what_is_there(program: &str, folder: &Path, run: (&[&str], &str), names: &[&str]) {
    reproduction::assert_keeps_results(&reproduction::example(program).unwrap(), folder, run, names);
}

/// A NumPy array of f64, `[rows, width]`.
fn write_npy(path: &Path, values: &[f64], width: usize) {
    let values = Tensor::from_slice(values, (values.len() / width, width), &Device::Cpu).unwrap();
    values.write_npy(path).unwrap();
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
    let names =
        ["embeddings.npy", "untrained.npy", "model.safetensors", "report.json", "map.svg", "map.csv", "index.html"];
    let names = [&names[..], &["probe.csv", "epochs.csv", "objective.svg", "objective.csv"]].concat();
    keeps_what_is_there("embed", at, (&with(&["--labels", "labels.csv"]), "embeddings"), &names);
    let embeddings = gnn::probe::read_npy(at.join("embeddings/embeddings.npy")).unwrap();
    assert_eq!(embeddings.dims(), [60, 8]);
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(at.join("embeddings/report.json")).unwrap()).unwrap();
    assert_eq!(report["epochs"].as_array().unwrap().len(), 3);
    for objective in ["grace", "bgrl", "dgi", "gae", "vgae"] {
        let output =
            run("embed", at, &[&with(&["--out", "other", "--force"])[..], &["--objective", objective]].concat())
                .unwrap();
        assert!(output.status.success(), "{objective}: {}", text(&output.stderr));
    }
    // the same features and edges as arrays
    let x: Vec<f64> = (0..60)
        .flat_map(|node| {
            let ring = node / 20;
            [f64::from((node * 7 + ring) % 5), f64::from(node % 3) * 0.5 - f64::from(ring)]
        })
        .collect();
    let ends: Vec<f64> = (0..60).flat_map(|node| [node, node / 20 * 20 + (node + 1) % 20]).map(f64::from).collect();
    write_npy(&at.join("features.npy"), &x, 2);
    write_npy(&at.join("edges.npy"), &ends, 2);
    let arrays = ["nodes", "--edges", "edges.npy", "--features", "features.npy", "--hidden", "8", "--epochs", "3"];
    let output = run("embed", at, &[&arrays[..], &["--out", "arrays"]].concat()).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let read = |out: &str| std::fs::read(at.join(out).join("embeddings.npy")).unwrap();
    assert_eq!(read("arrays"), read("embeddings"));
    let fails = |arguments: &[&str], what: &str| fails_naming(&run("embed", at, arguments).unwrap(), what);
    fails(&with(&["--out", "level", "--objective", "graph-cl"]), "level");
    fails(&["nodes", "--edges", "features.csv", "--features", "features.csv"], "features.csv: row");
    std::fs::write(at.join("bare.csv"), "0,1\n1,2\n").unwrap();
    fails(&["nodes", "--edges", "bare.csv", "--features", "features.csv"], "expected a header");
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
fn features_of_different_scales_are_named_and_standardised() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_nodes(at);
    let (mut wide, mut narrow) = ("age,income\n".to_owned(), "age,income\n".to_owned());
    for node in 0..60 {
        let (age, income) = (f64::from(node % 7) - 3.0, f64::from((node * 11) % 13) - 6.0);
        writeln!(wide, "{age},{}", 50_000.0 + 4_000.0 * income).unwrap();
        writeln!(narrow, "{age},{income}").unwrap();
    }
    std::fs::write(at.join("wide.csv"), wide).unwrap();
    std::fs::write(at.join("narrow.csv"), narrow).unwrap();
    let embed = |features: &str, more: &[&str]| {
        let base = ["nodes", "--edges", "edges.csv", "--hidden", "8", "--epochs", "3", "--features", features];
        let output = run("embed", at, &[&base[..], more].concat())?;
        assert!(output.status.success(), "{}", text(&output.stderr));
        Some(text(&output.stdout))
    };
    let Some(said) = embed("wide.csv", &["--out", "a"]) else { return };
    let remark = "the features are not standardised: column `income` goes from 26000 to 74000";
    assert!(said.contains(remark) && said.contains("next: run it again with --standardize"), "{said}");
    assert!(!embed("narrow.csv", &["--out", "b"]).unwrap().contains("not standardised"));
    // the scale of a column has no part in the result any more
    let said = embed("wide.csv", &["--standardize", "--out", "c"]).unwrap();
    assert!(!said.contains("not standardised") && said.contains("2 columns of features are standardised"), "{said}");
    embed("narrow.csv", &["--standardize", "--out", "d"]).unwrap();
    let read = |out: &str| {
        let read = gnn::probe::read_npy(at.join(out).join("embeddings.npy")).unwrap();
        read.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert!(read("c").iter().zip(read("d")).all(|(a, b)| (a - b).abs() < 1e-4));
    let scaling = std::fs::read_to_string(at.join("c/scaling.csv")).unwrap();
    assert!(scaling.lines().nth(2).unwrap().starts_with("income,"), "{scaling}");
}

#[test]
fn communities_of_named_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // two cliques of four that one edge joins, and a pair apart
    let names = ["ann", "bob", "cy", "dee", "eve", "flo", "gus", "hal", "ida", "jo"];
    let (mut pairs, mut text_edges) = (Vec::new(), "from,to,calls\n".to_owned());
    for start in [0, 4] {
        pairs.extend((start..start + 4).flat_map(|a| (a + 1..start + 4).map(move |b| (a, b))));
    }
    pairs.extend([(3, 4), (8, 9)]);
    for &(a, b) in &pairs {
        writeln!(text_edges, "{},{},{}", names[a], names[b], if (a, b) == (3, 4) { 1 } else { 5 }).unwrap();
    }
    std::fs::write(at.join("edges.csv"), text_edges).unwrap();
    let Some(output) = run("cluster", at, &["edges.csv", "--weight", "calls", "--nested", "3"]) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("10 nodes, 14 edges weighted by calls, 2 connected parts"), "{said}");
    assert!(said.contains("3 communities; "), "{said}");
    let table = std::fs::read_to_string(at.join("communities/communities.csv")).unwrap();
    let of: Vec<&str> = table.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_eq!(of, ["0", "0", "0", "0", "1", "1", "1", "1", "2", "2"]);
    assert!(table.lines().nth(1).unwrap().starts_with("ann,0,15"), "{table}");
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(at.join("communities/report.json")).unwrap()).unwrap();
    assert_eq!(report["communities"], 3);
    assert_eq!(report["share_saved_by_shuffled_edges"].as_array().unwrap().len(), 9);
    assert!(said.contains("next: join communities.csv"), "{said}");
    assert!(report["bits"].as_f64() < report["bits_without_communities"].as_f64());
    let files = ["communities.csv", "sizes.csv", "histogram.svg", "histogram.csv", "between.svg", "between.csv"];
    let files = [&files[..], &["nested.csv", "report.json", "index.html"]].concat();
    let arguments = ["edges.csv", "--weight", "calls", "--nested", "3"];
    keeps_what_is_there("cluster", at, (&arguments, "communities"), &files);
    // numbers of nodes, in an array
    let ends: Vec<f64> = pairs.iter().flat_map(|&(a, b)| [a as f64, b as f64]).collect();
    write_npy(&at.join("edges.npy"), &ends, 2);
    let output = run("cluster", at, &["edges.npy", "--out", "arrays"]).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = std::fs::read_to_string(at.join("arrays/communities.csv")).unwrap();
    assert!(table.lines().nth(10).unwrap().starts_with("9,2,1"), "{table}");
    // a ring of three cannot be shuffled into anything else, so its communities say nothing
    std::fs::write(at.join("ring.csv"), "a,b\n0,1\n1,2\n2,0\n").unwrap();
    let output = run("cluster", at, &["ring.csv", "--out", "ring"]).unwrap();
    assert!(text(&output.stdout).contains("next: shuffled edges save as much"), "{}", text(&output.stdout));
    for (edges, what) in [
        ("from,to\n", "no row"),
        ("from\n1\n", "two columns"),
        ("0,1\n1,2\n", "expected a header"),
        ("from,to\nann,\n", "row 0"),
        ("from,to,calls\nann,bob,0\n", "above 0"),
        ("from,to\nann,bob\n", "no column `calls`"),
    ] {
        std::fs::write(at.join("wrong.csv"), edges).unwrap();
        let output = run("cluster", at, &["wrong.csv", "--weight", "calls", "--out", "wrong"]).unwrap();
        fails_naming(&output, "wrong.csv");
        fails_naming(&output, what);
        assert!(!at.join("wrong").exists());
    }
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
        let output = run("embed", at, &[&base[..], &["--objective", objective, "--force"]].concat()).unwrap();
        assert!(output.status.success(), "{objective}: {}", text(&output.stderr));
    }
    std::fs::write(at.join("cut.txt"), "2\n3 0\n0 1 1\n").unwrap();
    fails_naming(&run("embed", at, &["graphs", "--graphs", "cut.txt"]).unwrap(), "cut.txt");
}

#[test]
fn embed_graphs_of_two_tables() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // rings and stars of four to eight nodes
    let (mut nodes, mut edges, mut first) = ("graph,label,x,y\n".to_owned(), "from,to\n".to_owned(), 0);
    for graph in 0..24 {
        let (n, is_ring) = (4 + graph % 5, graph % 2 == 0);
        for v in 0..n {
            writeln!(nodes, "g{graph},{},{v},{}", if is_ring { "ring" } else { "star" }, v % 2).unwrap();
            match (is_ring, v) {
                (true, _) => writeln!(edges, "{},{}", first + v, first + (v + 1) % n).unwrap(),
                (false, 0) => {}
                (false, _) => writeln!(edges, "{first},{}", first + v).unwrap(),
            }
        }
        first += n;
    }
    std::fs::write(at.join("nodes.csv"), &nodes).unwrap();
    std::fs::write(at.join("edges.csv"), &edges).unwrap();
    let base = ["graphs", "--nodes", "nodes.csv", "--edges", "edges.csv", "--epochs", "2", "--standardize"];
    let Some(output) = run("embed", at, &base) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(
        said.contains("24 graphs of 142 nodes, 2 features, 2 classes") && said.contains("sums of features"),
        "{said}"
    );
    let embeddings = gnn::probe::read_npy(at.join("embeddings/embeddings.npy")).unwrap();
    assert_eq!(embeddings.dims()[0], 24);
    let graphs = std::fs::read_to_string(at.join("embeddings/graphs.csv")).unwrap();
    assert_eq!(graphs.lines().nth(2), Some("1,g1,5,4"));
    // without labels there is no probe
    let bare: String = nodes
        .lines()
        .map(|line| {
            line.split(',').enumerate().filter(|(at, _)| *at != 1).map(|(_, cell)| cell).collect::<Vec<_>>().join(",")
                + "\n"
        })
        .collect();
    std::fs::write(at.join("bare.csv"), bare).unwrap();
    let output = run("embed", at, &["graphs", "--nodes", "bare.csv", "--edges", "edges.csv", "--out", "bare"]).unwrap();
    assert!(output.status.success() && !text(&output.stdout).contains("probe_on"), "{}", text(&output.stderr));
    let fails = |what: &str| {
        let output = run("embed", at, &[&base[..], &["--out", "wrong"]].concat()).unwrap();
        fails_naming(&output, what);
    };
    std::fs::write(at.join("edges.csv"), "from,to\n0,4\n").unwrap();
    fails("edges.csv: row 0: the nodes 0 and 4 are of different graphs");
    std::fs::write(at.join("edges.csv"), "from,to\n0,142\n").unwrap();
    fails("edges.csv: row 0: 0 or 142 is no node");
    std::fs::write(at.join("nodes.csv"), nodes.replacen("g0,ring,1", "g0,star,1", 1)).unwrap();
    std::fs::write(at.join("edges.csv"), edges).unwrap();
    fails("nodes.csv: row 1: graph `g0` has two labels");
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
    let table = std::fs::read_to_string(at.join("imbalance/imbalance.csv")).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "node,label,totoro,weight");
    assert_eq!(lines.len(), 6);
    // no ring knows another's label
    assert!(lines[1..].iter().all(|line| line.contains(",0.000000000,")), "{table}");
    let files = ["imbalance.csv", "classes.csv", "totoro.svg", "totoro.csv", "report.json", "index.html"];
    keeps_what_is_there("imbalance", at, (&[&base[..], &["--train", "train.csv"]].concat(), "imbalance"), &files);
    let whole = run("imbalance", at, &[&base[..], &["--out", "whole"]].concat()).unwrap();
    assert!(text(&whole.stdout).contains("60 labelled nodes of 3 classes"));
    std::fs::write(at.join("far.csv"), "node\n99\n").unwrap();
    fails_naming(&run("imbalance", at, &[&base[..], &["--train", "far.csv"]].concat()).unwrap(), "far.csv: row 0");
    fails_naming(
        &run("imbalance", at, &[&base[..], &["--restart", "0", "--out", "never"]].concat()).unwrap(),
        "restart",
    );
}
