//! Totoro, ReNode's weights and step counts.

use super::golden;
use core_tensor::random::Rng;
use gnn::Graph;
use gnn::imbalance::{PageRankConfig, ReNodeConfig, StepImbalance, renode_weights, totoro};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Case {
    #[serde(rename = "N")]
    nodes: usize,
    y: Vec<u32>,
    edges: Vec<(u32, u32)>,
    train_by_class: Vec<Vec<u32>>,
    restart: f64,
    #[serde(rename = "Pi_row0")]
    first_row: Vec<f64>,
    #[serde(rename = "Pi_trace")]
    trace: f64,
    gpr: Vec<Vec<f64>>,
    totoro_train: BTreeMap<u32, f64>,
    totoro_mean: f64,
    renode_weight_train: BTreeMap<u32, f64>,
}

#[test]
fn conflict_and_weights_are_the_reference_ones() {
    for name in golden().names("totoro_", ".json") {
        let Some(bytes) = golden().read(&name) else { continue };
        let case: Case = serde_json::from_slice(&bytes).expect("a case");
        let graph = Graph::from_edges(case.nodes, &case.edges).expect("a graph");
        let labelled: Vec<u32> = case.train_by_class.concat();
        let classes: Vec<u32> = labelled.iter().map(|&node| case.y[node as usize]).collect();
        let config = PageRankConfig { restart: case.restart, tolerance: 1e-13, ..PageRankConfig::default() };
        let found = totoro(&graph, &labelled, &classes, config).expect("conflict");
        for (class, influence) in found.influence.iter().enumerate() {
            for (node, &value) in influence.iter().enumerate() {
                assert!((value - case.gpr[node][class]).abs() < 1e-9, "{name}: P[{node}][{class}]");
            }
        }
        let weights = renode_weights(&found.conflict, ReNodeConfig::default()).expect("weights");
        for ((node, &conflict), &weight) in labelled.iter().zip(&found.conflict).zip(&weights) {
            let expected = case.totoro_train[node];
            assert!((conflict - expected).abs() < 1e-9, "{name}: T[{node}] = {conflict}, expected {expected}");
            // f32 inside the official function
            assert!((weight - case.renode_weight_train[node]).abs() < 1e-5, "{name}: weight of {node}");
        }
        assert!((found.mean - case.totoro_mean).abs() < 1e-9);
        // rows of Π: the influence of one labelled node alone
        let mut trace = 0.0;
        for node in 0..case.nodes as u32 {
            let row = totoro(&graph, &[node], &[0], config).expect("a row").influence.swap_remove(0);
            trace += row[node as usize];
            if node == 0 {
                assert!(row.iter().zip(&case.first_row).all(|(a, b)| (a - b).abs() < 1e-9), "{name}: the first row");
            }
        }
        assert!((trace - case.trace).abs() < 1e-8);
    }
}

#[derive(Deserialize)]
struct Counts {
    #[serde(rename = "N")]
    nodes: usize,
    classes: usize,
    labeling_ratio: f64,
    imb_ratio: f64,
    head_list_given: Vec<u32>,
    train_per_class: Vec<usize>,
}

#[test]
fn step_counts_are_the_reference_ones() {
    let Some(bytes) = golden().read("step_imbalance_counts.json") else { return };
    let cases: Vec<Counts> = serde_json::from_slice(&bytes).expect("cases");
    assert!(!cases.is_empty());
    for case in cases {
        let step =
            StepImbalance { heads: case.head_list_given, ..StepImbalance::new(case.labeling_ratio, case.imb_ratio) };
        assert_eq!(step.counts(case.nodes, case.classes).expect("counts"), case.train_per_class);
        let labels: Vec<u32> = (0..case.nodes).map(|node| (node % case.classes) as u32).collect();
        let sampled = step.sample(&labels, case.classes, &mut Rng::new(0));
        if case.train_per_class.contains(&0) {
            assert!(sampled.is_err(), "an empty training set");
            continue;
        }
        let sampled = sampled.expect("a split");
        for (class, &count) in case.train_per_class.iter().enumerate() {
            let of_class = |set: &[u32]| set.iter().filter(|&&node| labels[node as usize] as usize == class).count();
            assert_eq!((of_class(&sampled.train), of_class(&sampled.validation)), (count, step.validation));
        }
        let total = sampled.train.len() + sampled.validation.len() + sampled.test.len();
        assert_eq!(total, case.nodes);
    }
}
