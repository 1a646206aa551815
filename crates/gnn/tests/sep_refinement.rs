//! Refinement of coding trees: never worse, equal for equal seeds, and down to the entropy of planted communities.

use core_tensor::random::Rng;
use gnn::Graph;
use gnn::sep::{CodingTree, Components, MergeCriterion, Refinement, TreeConfig, TreeMode, VolumeOffset, cluster};
use proptest::prelude::*;

/// Blocks of 50 vertices, 80 % of the edges inside blocks; also the blocks.
fn block_model(num_nodes: usize, mean_degree: usize, seed: u64) -> (Graph, Vec<u32>) {
    const BLOCK: usize = 50;
    let mut rng = Rng::new(seed);
    let mut edges = Vec::new();
    for _ in 0..num_nodes * mean_degree / 2 {
        let u = rng.below(num_nodes);
        let is_inside = rng.unit() < 0.8;
        let v = loop {
            let v = if is_inside { u / BLOCK * BLOCK + rng.below(BLOCK) } else { rng.below(num_nodes) };
            if v != u && (is_inside || v / BLOCK != u / BLOCK) {
                break v;
            }
        };
        edges.push((u as u32, v as u32));
    }
    let blocks = (0..num_nodes).map(|node| (node / BLOCK) as u32).collect();
    (Graph::from_edges(num_nodes, &edges).expect("valid edges"), blocks)
}

fn planted(graph: &Graph, blocks: &[u32]) -> CodingTree {
    let num_blocks = blocks.iter().max().map_or(0, |&last| last as usize + 1);
    CodingTree::from_layers(graph, &[blocks.to_vec(), vec![0; num_blocks]]).expect("a tree")
}

fn reach_the_planted_entropy(num_nodes: usize, degrees: &[usize]) {
    for &degree in degrees {
        let (graph, blocks) = block_model(num_nodes, degree, 7);
        let planted = planted(&graph, &blocks).entropy();
        for criterion in [MergeCriterion::Dissolve, MergeCriterion::InsertParent] {
            for components in [Components::Split, Components::Join] {
                for height in [2, 3] {
                    let config = TreeConfig::new(height).with_criterion(criterion).with_components(components);
                    let greedy = CodingTree::build(&graph, config).unwrap();
                    let start = std::time::Instant::now();
                    let refined = greedy.refine(&graph, &Refinement::default()).unwrap();
                    println!(
                        "n {num_nodes} degree {degree} {criterion:?} {components:?} height {height}: planted {planted:.4}, greedy {:.4}, refined {:.4} in {:?} clusters, {:.2} s",
                        greedy.entropy(),
                        refined.entropy(),
                        refined.layer_sizes(),
                        start.elapsed().as_secs_f64()
                    );
                    assert!(refined.entropy() <= 1.01 * planted);
                }
            }
        }
    }
}

#[test]
fn trees_of_a_thousand_vertices_reach_the_planted_entropy() {
    reach_the_planted_entropy(1_000, &[6, 10, 20, 40]);
}

#[test]
fn trees_of_twenty_thousand_vertices_reach_the_planted_entropy() {
    reach_the_planted_entropy(20_000, &[10, 20]);
}
