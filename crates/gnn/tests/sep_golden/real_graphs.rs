//! Coding trees of the real data sets, where `DATA_DIR` holds them.

use super::files;
use datasets::{Store, StoreConfig, planetoid, tu};
use gnn::Graph;
use gnn::sep::{CodingTree, Refinement, TreeConfig};
use serde_json::Value;

fn store() -> Option<Store> {
    if std::env::var_os("DATA_DIR").is_none() {
        println!("skipped: DATA_DIR is not set");
        return None;
    }
    Some(Store::new(StoreConfig { is_offline: true, ..StoreConfig::default() }).expect("a store"))
}

fn expected(case: &Value, key: &str) -> Vec<f64> {
    case[key].as_array().expect("a list").iter().map(|value| value.as_f64().expect("a number")).collect()
}

#[test]
fn trees_of_citation_networks_have_the_reference_labels_and_entropies() {
    let (Some(store), Some(golden)) = (store(), files::tensors("planetoid_trees.safetensors")) else { return };
    let Some(summary) = files::read("planetoid_trees.json") else { return };
    let summary: Value = serde_json::from_slice(&summary).expect("valid JSON");
    for (name, case) in summary.as_object().expect("cases") {
        let (set, height) = name.split_once(".k").expect("a name <set>.k<height>");
        let height: usize = height.parse().expect("a height");
        let nodes = match planetoid::load(&store, &format!("planetoid-{set}")) {
            Ok(nodes) => nodes,
            Err(error) => {
                println!("skipped: {name}: {error}");
                continue;
            }
        };
        let graph = Graph::from_edges(nodes.num_nodes, &nodes.edges).expect("a graph");
        let tree = CodingTree::build(&graph, TreeConfig::for_node_classification(height - 1)).expect("a tree");
        let sizes: Vec<f64> = tree.layer_sizes().into_iter().map(|size| size as f64).collect();
        assert_eq!(sizes, expected(case, "layer_sizes"), "{name}");
        for layer in 1..height {
            let labels = golden.get(&format!("{name}.layer{layer}")).to_vec1::<u32>().expect("labels");
            assert_eq!(tree.labels(layer).expect("a layer"), labels, "{name} layer {layer}");
        }
        let entropy = case["entropy"].as_f64().expect("an entropy");
        // sums of some 20,000 terms in another order
        assert!((tree.entropy() - entropy).abs() <= 1e-9, "{name}: {} against {entropy}", tree.entropy());
    }
}

#[test]
fn trees_of_graph_collections_have_the_reference_sizes_and_entropies() {
    let (Some(store), Some(golden)) = (store(), files::read("tu_tree_stats.json")) else { return };
    let golden: Value = serde_json::from_slice(&golden).expect("valid JSON");
    for (name, case) in golden.as_object().expect("data sets") {
        let set = format!("tu-{}", name.to_lowercase());
        let graphs = match tu::load(&store, &set) {
            Ok((graphs, _)) => graphs,
            Err(error) => {
                println!("skipped: {set}: {error}");
                continue;
            }
        };
        let height = case["k"].as_u64().expect("k") as usize;
        let graphs: Vec<Graph> = graphs
            .graphs
            .iter()
            .map(|graph| Graph::from_edges(graph.num_nodes, &graph.edges).expect("a graph"))
            .collect();
        let trees = CodingTree::build_many(&graphs, TreeConfig::new(height)).expect("trees");
        let layers = (1..).take_while(|layer| case[format!("n{layer}")].is_array());
        for layer in layers {
            let sizes: Vec<f64> = trees.iter().map(|tree| tree.layer_sizes()[layer] as f64).collect();
            assert_eq!(sizes, expected(case, &format!("n{layer}")), "{name}");
        }
        for (tree, entropy) in trees.iter().zip(expected(case, "entropy")) {
            assert!((tree.entropy() - entropy).abs() <= 1e-8, "{name}: {} against {entropy}", tree.entropy());
        }
    }
}

#[test]
fn refined_trees_of_citation_networks_are_no_worse() {
    let Some(store) = store() else { return };
    for set in ["cora", "pubmed"] {
        let nodes = match planetoid::load(&store, &format!("planetoid-{set}")) {
            Ok(nodes) => nodes,
            Err(error) => {
                println!("skipped: {set}: {error}");
                continue;
            }
        };
        let graph = Graph::from_edges(nodes.num_nodes, &nodes.edges).expect("a graph");
        for config in [TreeConfig::new(2), TreeConfig::for_node_classification(2)] {
            let greedy = CodingTree::build(&graph, config).expect("a tree");
            let refined = greedy.refine(&graph, &Refinement::default()).expect("a tree");
            let (before, after) = (greedy.entropy(), refined.entropy());
            println!("{set} height {}: {before:.4} before, {after:.4} refined", config.height);
            assert!(after < before, "{set}");
        }
    }
}
