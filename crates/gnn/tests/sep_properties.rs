//! What holds for every graph.

use gnn::Graph;
use gnn::sep::{CodingTree, Components, MergeCriterion, TreeCache, TreeConfig, TreeMode, VolumeOffset};
use proptest::prelude::*;

/// Sums of at most a few hundred f64 terms of order 1.
const ROUNDING: f64 = 1e-9;

fn graphs() -> impl Strategy<Value = Graph> {
    (1usize..40).prop_flat_map(|num_nodes| {
        let edge = (0..num_nodes as u32, 0..num_nodes as u32, prop_oneof![3 => Just(1.0), 1 => 0.1f64..9.0]);
        prop::collection::vec(edge, 0..90)
            .prop_map(move |edges| Graph::from_weighted_edges(num_nodes, &edges).expect("valid edges"))
    })
}

fn config() -> impl Strategy<Value = TreeConfig> {
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

/// The entropy from its definition, with volumes and cuts counted from the labels of the vertices.
fn entropy_by_definition(graph: &Graph, tree: &CodingTree) -> f64 {
    let volume_of = |labels: &[u32], label: u32| -> f64 {
        (0..graph.num_nodes()).filter(|&v| labels[v] == label).map(|v| graph.degree(v)).sum()
    };
    let cut_of = |labels: &[u32], label: u32| -> f64 {
        let crosses = |(u, v, _): &(u32, u32, f64)| (labels[*u as usize] == label) != (labels[*v as usize] == label);
        graph.edges().filter(crosses).map(|edge| edge.2).sum()
    };
    let total: f64 = (0..graph.num_nodes()).map(|v| graph.degree(v)).sum();
    let mut entropy = 0.0;
    for layer in 0..tree.height() {
        let labels = tree.labels(layer).expect("a layer");
        let above = tree.labels(layer + 1).expect("a layer");
        for (node, &parent) in tree.parents(layer).expect("a layer").iter().enumerate() {
            let cut = cut_of(&labels, node as u32);
            if cut > 0.0 {
                entropy -= cut / total * (volume_of(&labels, node as u32) / volume_of(&above, parent)).log2();
            }
        }
    }
    entropy
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_layer_partitions_the_vertices_and_the_last_is_the_root(graph in graphs(), config in config()) {
        let tree = CodingTree::build(&graph, config).unwrap();
        prop_assert!(tree.height() <= config.height.max(1));
        if config.mode == TreeMode::Official {
            prop_assert_eq!(tree.height(), config.height);
        }
        let sizes = tree.layer_sizes();
        prop_assert_eq!(sizes[0], graph.num_nodes());
        prop_assert_eq!(sizes[tree.height()], 1);
        for (layer, &size) in sizes.iter().enumerate() {
            let labels = tree.labels(layer).unwrap();
            let mut next = 0;
            for &label in &labels {
                prop_assert!(label <= next, "labels are numbered by first appearance");
                next = next.max(label + 1);
            }
            prop_assert_eq!(next as usize, size);
        }
    }

    #[test]
    fn entropy_equals_its_definition(graph in graphs(), config in config()) {
        let tree = CodingTree::build(&graph, config).unwrap();
        let expected = entropy_by_definition(&graph, &tree);
        let actual = tree.entropy_with_offset(VolumeOffset::Zero);
        prop_assert!((actual - expected).abs() <= ROUNDING, "{} against {}", actual, expected);
    }

    #[test]
    fn an_inserted_level_never_raises_entropy(graph in graphs(), height in 1usize..6) {
        let entropies: Vec<f64> = (1..=height)
            .map(|k| CodingTree::build(&graph, TreeConfig::new(k).with_components(Components::Join)).unwrap())
            .map(|tree| tree.entropy())
            .collect();
        for pair in entropies.windows(2) {
            prop_assert!(pair[1] <= pair[0] + ROUNDING, "{:?}", entropies);
        }
    }

    #[test]
    fn proposed_levels_never_have_a_negative_gain(graph in graphs(), height in 2usize..7) {
        let tree = CodingTree::build(&graph, TreeConfig::new(height).with_components(Components::Join)).unwrap();
        for step in tree.trace() {
            prop_assert!(step.leaf_up_delta >= -ROUNDING && step.root_down_delta >= -ROUNDING, "{:?}", step);
        }
    }

    #[test]
    fn a_tree_is_never_worse_than_the_flat_one(graph in graphs(), config in config()) {
        let tree = CodingTree::build(&graph, config).unwrap();
        let entropy = tree.entropy_with_offset(VolumeOffset::Zero);
        prop_assert!(entropy <= tree.one_dimensional_entropy() + ROUNDING);
        prop_assert!(entropy >= -ROUNDING);
    }

    #[test]
    fn the_same_layers_given_by_hand_have_the_same_entropy(graph in graphs(), config in config()) {
        let tree = CodingTree::build(&graph, config).unwrap();
        let copy = CodingTree::from_layers(&graph, tree.assignments()).unwrap();
        prop_assert_eq!(copy.assignments(), tree.assignments());
        let difference = copy.entropy() - tree.entropy_with_offset(VolumeOffset::Zero);
        prop_assert!(difference.abs() <= ROUNDING);
    }

    #[test]
    fn a_tree_survives_serialisation(graph in graphs(), config in config()) {
        let tree = CodingTree::build(&graph, config).unwrap();
        let text = serde_json::to_string(&tree).unwrap();
        prop_assert_eq!(serde_json::from_str::<CodingTree>(&text).unwrap(), tree);
    }

    #[test]
    fn many_graphs_in_parallel_give_the_trees_of_one_after_the_other(
        graphs in prop::collection::vec(graphs(), 0..40), config in config()
    ) {
        let together = CodingTree::build_many(&graphs, config).unwrap();
        for (graph, tree) in graphs.iter().zip(&together) {
            prop_assert_eq!(&CodingTree::build(graph, config).unwrap(), tree);
        }
    }
}

#[test]
fn a_large_graph_gives_the_same_tree_on_one_and_two_threads() {
    // above the size from which the subproblems of a level are solved in parallel
    let n = 10_000u32;
    let edges: Vec<(u32, u32)> =
        (0..n).flat_map(|v| [(v, (v + 1) % n), (v, (v * 7 + 3) % n)]).filter(|(u, v)| u != v).collect();
    let graph = Graph::from_edges(n as usize, &edges).unwrap();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| CodingTree::build(&graph, TreeConfig::new(4)).unwrap())
    };
    assert_eq!(on(1), on(2));
}

#[test]
fn a_cached_tree_equals_a_fresh_one_and_a_damaged_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let cache = TreeCache::new(folder.path().join("trees"));
    let graph = Graph::from_edges(6, &[(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5), (2, 3)]).unwrap();
    let fresh = CodingTree::build(&graph, TreeConfig::new(3)).unwrap();
    assert_eq!(cache.get_or_build(&graph, TreeConfig::new(3)).unwrap(), fresh);
    assert_eq!(cache.get_or_build(&graph, TreeConfig::new(3)).unwrap(), fresh);
    let files: Vec<_> = std::fs::read_dir(folder.path().join("trees")).unwrap().collect();
    assert_eq!(files.len(), 1);
    let path = files.into_iter().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert_eq!(cache.get_or_build(&graph, TreeConfig::new(3)).unwrap(), fresh);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn filling_a_lopsided_tree_keeps_its_entropy() {
    let graph = Graph::from_edges(4, &[(0, 1), (1, 2), (2, 3), (0, 2)]).unwrap();
    // root 6 over {3, 5}, 5 over {2, 4}, 4 over {0, 1}
    let parents = [Some(4), Some(4), Some(5), Some(6), Some(5), Some(6), None];
    let tree = CodingTree::from_parent_pointers(&graph, &parents).unwrap();
    assert_eq!(tree.layer_sizes(), [4, 3, 2, 1]);
    // by hand: degrees 2, 2, 3, 1 of volume 8
    let term = |g: f64, v: f64, above: f64| -g / 8.0 * (v / above).log2();
    let expected =
        term(2., 2., 4.) + term(2., 2., 4.) + term(2., 4., 7.) + term(3., 3., 7.) + term(1., 7., 8.) + term(1., 1., 8.);
    assert!((tree.entropy() - expected).abs() < 1e-12);
}

#[test]
fn inserting_parents_finds_cliques_joined_by_an_edge() {
    for size in 3..9u32 {
        let clique = |first: u32| (0..size).flat_map(move |i| (i + 1..size).map(move |j| (first + i, first + j)));
        let edges: Vec<_> = clique(0).chain(clique(size)).chain([(size - 1, size)]).collect();
        let graph = Graph::from_edges(2 * size as usize, &edges).unwrap();
        let config = TreeConfig::new(2).with_criterion(MergeCriterion::InsertParent);
        let labels = CodingTree::build(&graph, config).unwrap().labels(1).unwrap();
        let expected: Vec<u32> = (0..2 * size).map(|node| node / size).collect();
        assert_eq!(labels, expected, "cliques of {size}");
    }
}
