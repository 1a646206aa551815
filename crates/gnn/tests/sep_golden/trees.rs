//! Coding trees: labels equal, entropies within 1e-9.

use super::files;
use gnn::Graph;
use gnn::sep::{CodingTree, Components, InsertionEnd, TreeConfig, TreeMode, VolumeOffset};
use serde_json::Value;

/// The reference entropies are sums of a few thousand f64 terms of order 1, in another order than ours.
const ENTROPY_TOLERANCE: f64 = 1e-9;
/// Deltas are differences of such sums, divided by the number of nodes.
const TRACE_TOLERANCE: f64 = 1e-11;

fn numbers(value: &Value) -> Vec<u32> {
    value.as_array().expect("a list").iter().map(|entry| entry.as_u64().expect("an index") as u32).collect()
}

fn lists(value: &Value) -> Vec<Vec<u32>> {
    value.as_array().expect("a list of lists").iter().map(numbers).collect()
}

fn graph(description: &Value) -> (Graph, bool) {
    let num_nodes = description["n"].as_u64().expect("n") as usize;
    let rows = description["edges"].as_array().expect("edges");
    let end = |row: &Value, i: usize| row[i].as_u64().expect("an end") as u32;
    if rows.iter().any(|row| row.as_array().is_some_and(|row| row.len() == 3)) {
        let edges: Vec<_> =
            rows.iter().map(|row| (end(row, 0), end(row, 1), row[2].as_f64().expect("a weight"))).collect();
        let is_exact = edges.iter().all(|edge| edge.2.fract() == 0.0);
        (Graph::from_weighted_edges(num_nodes, &edges).expect("a valid graph"), is_exact)
    } else {
        let edges: Vec<_> = rows.iter().map(|row| (end(row, 0), end(row, 1))).collect();
        (Graph::from_edges(num_nodes, &edges).expect("a valid graph"), true)
    }
}

fn sizes(tree: &CodingTree) -> Vec<u32> {
    tree.layer_sizes().into_iter().map(|size| size as u32).collect()
}

fn labels(tree: &CodingTree) -> Vec<Vec<u32>> {
    (1..=tree.height()).map(|layer| tree.labels(layer).expect("a layer")).collect()
}

fn assert_entropy(name: &str, actual: f64, expected: &Value) {
    let expected = expected.as_f64().expect("an entropy");
    assert!((actual - expected).abs() <= ENTROPY_TOLERANCE, "{name}: entropy {actual}, expected {expected}");
}

fn assert_trace(name: &str, tree: &CodingTree, expected: &Value) {
    let Some(rows) = expected.as_array() else { return };
    assert_eq!(tree.trace().len(), rows.len(), "{name}: number of insertions");
    for (step, row) in tree.trace().iter().zip(rows) {
        let end = if row[2] == "L" { InsertionEnd::Leaves } else { InsertionEnd::Root };
        assert_eq!(step.end, end, "{name}: {step:?} against {row}");
        for (actual, expected) in [(step.leaf_up_delta, &row[0]), (step.root_down_delta, &row[1])] {
            let expected = expected.as_f64().expect("a delta");
            assert!((actual - expected).abs() <= TRACE_TOLERANCE, "{name}: {step:?} against {row}");
        }
    }
}

/// The largest height that a configuration accepts; no tree of the reference is as high.
const LARGEST_HEIGHT: usize = 64;

fn variant_config(variant: &str, height: usize) -> TreeConfig {
    match variant {
        "plain" => TreeConfig::new(height),
        "plus1" => TreeConfig::new(height).with_volume_offset(VolumeOffset::One).with_components(Components::Join),
        other => panic!("unknown variant {other}"),
    }
}

#[test]
fn official_trees_have_the_reference_labels_and_entropies() {
    let Some(bytes) = files::read("coding_trees.json") else { return };
    let golden: Value = serde_json::from_slice(&bytes).expect("valid JSON");
    let mut num_cases = 0;
    for case in golden["cases"].as_array().expect("cases") {
        let graph_name = case["name"].as_str().expect("a name");
        let variant = case["variant"].as_str().expect("a variant");
        let height = case["k"].as_u64().expect("k") as usize;
        let name = format!("{graph_name} {variant} k={height}");
        let (graph, is_exact) = graph(&golden["graphs"][graph_name]);
        let tree = CodingTree::build(&graph, variant_config(variant, height)).expect("a tree");
        assert_entropy(&name, tree.entropy(), &case["entropy"]);
        assert_entropy(&name, tree.one_dimensional_entropy(), &golden["graphs"][graph_name]["h1"]);
        if is_exact {
            // with real weights the order of summation decides ties in the last bit
            assert_eq!(sizes(&tree), numbers(&case["layer_sizes"]), "{name}");
            assert_eq!(labels(&tree), lists(&case["labels"]), "{name}");
            assert_trace(&name, &tree, &case["trace"]);
        }

        let rounded = variant_config(variant, height).with_quantise_bits(40);
        let tree = CodingTree::build(&graph, rounded).expect("a tree");
        let expected = if case["quantised"] == "same" { case } else { &case["quantised"] };
        assert_entropy(&format!("{name} rounded"), tree.entropy(), &expected["entropy"]);
        if is_exact {
            assert_eq!(labels(&tree), lists(&expected["labels"]), "{name} rounded");
        }
        num_cases += 1;
    }
    assert!(num_cases > 0, "no cases in coding_trees.json");
}

#[test]
fn single_shot_trees_have_the_reference_labels_and_entropies() {
    let Some(bytes) = files::read("coding_trees_v1.json") else { return };
    let golden: Value = serde_json::from_slice(&bytes).expect("valid JSON");
    let cases = golden.as_array().expect("a list");
    for case in cases {
        let described = cases
            .iter()
            .find(|other| other["graph"] == case["graph"] && other["edges"].is_array())
            .expect("one case of each graph lists its edges");
        let (graph, is_exact) = graph(described);
        // null: no bound but that of the library
        let height = case["k"].as_u64().map_or(LARGEST_HEIGHT, |k| k as usize);
        let name = format!("{} k={}", case["graph"], case["k"]);
        let config = TreeConfig::new(height).with_mode(TreeMode::SingleShot);
        let tree = CodingTree::build(&graph, config).expect("a tree");
        assert_entropy(&name, tree.entropy(), &case["entropy"]);
        if is_exact {
            assert_eq!(tree.height() as u64, case["height"].as_u64().expect("height"), "{name}");
            assert_eq!(sizes(&tree), numbers(&case["layer_sizes"]), "{name}");
            if case["labels"].is_array() {
                assert_eq!(labels(&tree), lists(&case["labels"]), "{name}");
            }
        }
    }
}
