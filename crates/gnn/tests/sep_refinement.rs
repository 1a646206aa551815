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

fn reach_the_planted_entropy(num_nodes: usize, degrees: &[usize], heights: &[usize]) {
    for &degree in degrees {
        let (graph, blocks) = block_model(num_nodes, degree, 7);
        let planted = planted(&graph, &blocks).entropy();
        for criterion in [MergeCriterion::Dissolve, MergeCriterion::InsertParent] {
            for &height in heights {
                let config = TreeConfig::new(height).with_criterion(criterion);
                let greedy = CodingTree::build(&graph, config).expect("a tree");
                let refined = greedy.refine(&graph, &Refinement::default()).expect("a tree");
                let (before, after, sizes) = (greedy.entropy(), refined.entropy(), refined.layer_sizes());
                println!(
                    "degree {degree}, {criterion:?}, height {height}: planted {planted:.4}, greedy {before:.4}, refined {after:.4}, {sizes:?}"
                );
                assert!(after <= 1.01 * planted && after < before);
            }
        }
    }
}

#[test]
fn trees_of_a_thousand_vertices_reach_the_planted_entropy() {
    reach_the_planted_entropy(1_000, &[6, 10, 20, 40], &[2, 3]);
}

#[test]
fn trees_of_twenty_thousand_vertices_reach_the_planted_entropy() {
    reach_the_planted_entropy(20_000, &[10], &[2]);
}

fn graphs() -> impl Strategy<Value = Graph> {
    (1usize..40).prop_flat_map(|num_nodes| {
        let edge = (0..num_nodes as u32, 0..num_nodes as u32, prop_oneof![3 => Just(1.0), 1 => 0.1f64..9.0]);
        prop::collection::vec(edge, 0..90)
            .prop_map(move |edges| Graph::from_weighted_edges(num_nodes, &edges).expect("valid edges"))
    })
}

fn configs() -> impl Strategy<Value = TreeConfig> {
    (
        1usize..6,
        prop_oneof![Just(TreeMode::Official), Just(TreeMode::SingleShot)],
        prop_oneof![Just(VolumeOffset::Zero), Just(VolumeOffset::One)],
        prop_oneof![Just(Components::Split), Just(Components::Join)],
        prop_oneof![Just(MergeCriterion::Dissolve), Just(MergeCriterion::InsertParent)],
    )
        .prop_map(|(height, mode, volume_offset, components, criterion)| {
            TreeConfig::new(height)
                .with_mode(mode)
                .with_volume_offset(volume_offset)
                .with_components(components)
                .with_criterion(criterion)
        })
}

/// Whether moving one vertex to another parent of the lowest layer, or to one of its own anywhere, gives a lower entropy.
fn best_move_of_a_vertex(graph: &Graph, tree: &CodingTree) -> f64 {
    let mut best = tree.entropy();
    let layers = tree.assignments();
    for vertex in 0..graph.num_nodes() {
        let mut places: Vec<Vec<Vec<u32>>> = Vec::new();
        for parent in 0..tree.layer_sizes()[1] as u32 {
            let mut moved = layers.to_vec();
            moved[0][vertex] = parent;
            places.push(moved);
        }
        for top in 2..=tree.height() {
            for ancestor in 0..tree.layer_sizes()[top] as u32 {
                let mut moved = layers.to_vec();
                moved[0][vertex] = moved[1].len() as u32;
                for layer in 1..top {
                    let above = if layer + 1 == top { ancestor } else { moved[layer + 1].len() as u32 };
                    moved[layer].push(above);
                }
                places.push(moved);
            }
        }
        for mut moved in places {
            drop_empty(&mut moved);
            best = best.min(CodingTree::from_layers(graph, &moved).expect("a tree").entropy());
        }
    }
    best
}

fn drop_empty(layers: &mut [Vec<u32>]) {
    for layer in 0..layers.len() - 1 {
        let mut kept = Vec::new();
        let mut number = vec![None; layers[layer + 1].len()];
        for i in 0..layers[layer].len() {
            let old = layers[layer][i] as usize;
            let new = *number[old].get_or_insert_with(|| {
                kept.push(layers[layer + 1][old]);
                kept.len() as u32 - 1
            });
            layers[layer][i] = new;
        }
        layers[layer + 1] = kept;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn refinement_never_raises_the_entropy_and_keeps_the_height(graph in graphs(), config in configs(), seed in 0u64..50) {
        let greedy = CodingTree::build(&graph, config).unwrap();
        let refinement = Refinement::new(seed);
        let refined = CodingTree::build(&graph, config.with_refinement(refinement)).unwrap();
        prop_assert!(refined.entropy() <= greedy.entropy());
        prop_assert_eq!(refined.height(), greedy.height());
        prop_assert_eq!(refined.trace(), greedy.trace());
        prop_assert_eq!(&refined, &greedy.refine(&graph, &refinement).unwrap());
        let again = refined.refine(&graph, &refinement).unwrap();
        prop_assert!(again.entropy() <= refined.entropy());
    }

    #[test]
    fn no_move_of_a_vertex_lowers_a_refined_entropy(graph in graphs(), height in 2usize..5, seed in 0u64..50) {
        let config = TreeConfig::new(height).with_refinement(Refinement::new(seed));
        let tree = CodingTree::build(&graph, config).unwrap();
        let best = best_move_of_a_vertex(&graph, &tree);
        // what a round may leave, and rounding
        prop_assert!(best >= tree.entropy() - 1e-8, "{} against {}", best, tree.entropy());
    }

    #[test]
    fn the_best_layer_has_the_least_two_dimensional_entropy(graph in graphs(), config in configs()) {
        let tree = CodingTree::build(&graph, config).unwrap();
        let mut least = f64::INFINITY;
        for layer in 0..=tree.height() {
            let labels = tree.labels(layer).unwrap();
            let count = tree.layer_sizes()[layer];
            let flat = CodingTree::from_layers(&graph, &[labels, vec![0; count]]).unwrap();
            let entropy = tree.two_dimensional_entropy(layer).unwrap();
            prop_assert!((entropy - flat.entropy()).abs() < 1e-12);
            least = least.min(entropy);
        }
        prop_assert!(tree.two_dimensional_entropy(tree.best_layer()).unwrap() <= least + 1e-11);
    }
}

#[test]
fn most_optima_over_all_partitions_of_small_graphs_are_reached() {
    let mut rng = Rng::new(11);
    let mut num_reached = 0;
    for case in 0..60 {
        let n = 7;
        let edges: Vec<(u32, u32)> = (0..10).map(|_| (rng.below(n) as u32, rng.below(n) as u32)).collect();
        let graph = Graph::from_edges(n, &edges).unwrap();
        let mut least = f64::INFINITY;
        let mut labels = vec![0u32; n];
        // restricted growth strings: every partition once
        loop {
            let count = labels.iter().max().map_or(0, |&last| last as usize + 1);
            let tree = CodingTree::from_layers(&graph, &[labels.clone(), vec![0; count]]).unwrap();
            least = least.min(tree.entropy());
            let next = (1..n).rev().find(|&i| labels[i] <= labels[..i].iter().copied().max().unwrap_or(0));
            let Some(i) = next else { break };
            labels[i] += 1;
            labels[i + 1..].fill(0);
        }
        let config = TreeConfig::new(2).with_components(Components::Join);
        let best = (0..4)
            .map(|seed| CodingTree::build(&graph, config.with_refinement(Refinement::new(seed))).unwrap().entropy())
            .fold(f64::INFINITY, f64::min);
        assert!(best >= least - 1e-12 && best <= 1.1 * least + 1e-12, "case {case}: {best} against {least}");
        num_reached += usize::from(best <= least + 1e-12);
    }
    println!("{num_reached} of 60 reached");
    assert!(num_reached >= 50, "{num_reached} of 60");
}

#[test]
fn split_and_join_minimise_different_entropies() {
    // a triangle, an edge, two isolated vertices
    let graph = Graph::from_edges(7, &[(0, 1), (1, 2), (2, 0), (3, 4)]).unwrap();
    let build = |components, criterion| {
        CodingTree::build(&graph, TreeConfig::new(2).with_components(components).with_criterion(criterion)).unwrap()
    };
    let optimum = 0.75 * 3f64.log2() + 0.25;
    for criterion in [MergeCriterion::Dissolve, MergeCriterion::InsertParent] {
        for components in [Components::Split, Components::Join] {
            let tree = build(components, criterion);
            println!("{components:?} {criterion:?}: {:.4} {:?}", tree.entropy(), tree.labels(1).unwrap());
        }
    }
    let split = build(Components::Split, MergeCriterion::Dissolve);
    assert!((split.entropy() - 2.0).abs() < 1e-12);
    let join = build(Components::Join, MergeCriterion::InsertParent);
    assert!((join.entropy() - optimum).abs() < 1e-12 && (optimum - 1.4387).abs() < 1e-4);
    for components in [Components::Split, Components::Join] {
        for criterion in [MergeCriterion::Dissolve, MergeCriterion::InsertParent] {
            let refined = build(components, criterion).refine(&graph, &Refinement::default()).unwrap();
            assert!((refined.entropy() - optimum).abs() < 1e-12, "{components:?}, {criterion:?}");
        }
    }
    assert_eq!(cluster(&graph).unwrap(), [0, 0, 0, 1, 1, 2, 3]);
}

#[test]
fn clusters_of_block_models_are_the_blocks() {
    let (graph, blocks) = block_model(1_000, 20, 3);
    assert_eq!(cluster(&graph).unwrap(), blocks);
    let edgeless = Graph::from_edges(3, &[(1, 1)]).unwrap();
    assert_eq!(cluster(&edgeless).unwrap(), [0, 1, 2]);
    assert!(cluster(&Graph::from_edges(0, &[]).unwrap()).is_err());
}

#[test]
fn equal_seeds_give_equal_trees_and_settings_are_checked() {
    let (graph, _) = block_model(500, 6, 1);
    let config = TreeConfig::new(3);
    let build = |seed| CodingTree::build(&graph, config.with_refinement(Refinement::new(seed))).unwrap();
    assert_eq!(build(4), build(4));
    assert!((5..10).any(|seed| build(seed) != build(4)));
    let none = Refinement { max_rounds: 0, ..Refinement::default() };
    assert!(CodingTree::build(&graph, config.with_refinement(none)).is_err());
    let tree = CodingTree::build(&graph, config).unwrap();
    assert!(tree.refine(&graph, &none).is_err());
    assert!(tree.refine(&Graph::from_edges(3, &[]).unwrap(), &Refinement::default()).is_err());
    // settings from before there was a refinement
    let old = r#"{"height":2,"mode":"Official","volume_offset":"Zero","components":"Split","criterion":"Dissolve","quantise_bits":null}"#;
    assert_eq!(serde_json::from_str::<TreeConfig>(old).unwrap(), TreeConfig::new(2));
}
