//! Graphs with planted communities.

use super::Graph;
use super::random::SplitMix64;
use crate::error::{Error, Result};
use crate::tu::{Folds, GraphSet, LabelledGraph};

/// A graph and the community that each node was planted in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommunityGraph {
    /// The graph.
    pub graph: Graph,
    /// Community of each node.
    pub communities: Vec<u32>,
}

/// A stochastic block model: nodes are numbered block by block; each pair of one block is joined with probability `inside`,
/// each other pair with probability `between`, independently. Costs a random number per pair.
///
/// # Errors
/// [`Error::InvalidConfig`] when a probability is not in `[0, 1]` or there are more than `u32::MAX` nodes.
pub fn stochastic_block_model(block_sizes: &[usize], inside: f64, between: f64, seed: u64) -> Result<CommunityGraph> {
    for (argument, probability) in [("inside", inside), ("between", between)] {
        check_probability(argument, probability)?;
    }
    let num_nodes = block_sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size)).unwrap_or(usize::MAX);
    check_node_count("block_sizes", num_nodes)?;
    let communities: Vec<u32> =
        (0u32..).zip(block_sizes).flat_map(|(block, &size)| std::iter::repeat_n(block, size)).collect();
    let joined = |u: usize, v: usize| if communities[u] == communities[v] { inside } else { between };
    let graph = random_graph(num_nodes, joined, &mut SplitMix64::new(seed));
    Ok(CommunityGraph { graph, communities })
}

/// A hierarchy of communities: `branching^height` leaf communities of `leaf_size` nodes. Two nodes whose communities meet `d`
/// levels up are joined with probability `inside · decay^d`. The known hierarchy makes it a test of hierarchical clustering.
///
/// # Errors
/// [`Error::InvalidConfig`] when `inside` or `decay` is not in `[0, 1]`, a size is 0, or there are more than `u32::MAX` nodes.
pub fn planted_tree(
    branching: usize,
    height: u32,
    leaf_size: usize,
    inside: f64,
    decay: f64,
    seed: u64,
) -> Result<CommunityGraph> {
    check_probability("inside", inside)?;
    check_probability("decay", decay)?;
    if branching == 0 || leaf_size == 0 {
        return Err(Error::invalid_config("branching", "branching and leaf size must be at least 1"));
    }
    let num_nodes =
        branching.checked_pow(height).and_then(|leaves| leaves.checked_mul(leaf_size)).unwrap_or(usize::MAX);
    check_node_count("height", num_nodes)?;
    let communities: Vec<u32> = (0..num_nodes).map(|node| (node / leaf_size) as u32).collect();
    let joined = |u: usize, v: usize| {
        let (mut a, mut b) = (u / leaf_size, v / leaf_size);
        let mut probability = inside;
        while a != b {
            (a, b) = (a / branching, b / branching);
            probability *= decay;
        }
        probability
    };
    let graph = random_graph(num_nodes, joined, &mut SplitMix64::new(seed));
    Ok(CommunityGraph { graph, communities })
}

/// 240 small graphs of two classes with equal expected degree: class 1 has four communities each, class 0 has none. The
/// degree is the only feature, so only the structure tells the classes apart. Ten folds of 24 graphs.
///
/// One SplitMix64 stream from state 7. Graph `i` has class `i mod 2`, `n = 24 + 4⌊5 f⌋` nodes and communities of `b = n/4`
/// successive nodes; each pair `u < v`, in lexicographic order, is joined with probability 0.8 within and 0.02 between
/// communities (class 1) or `(0.8 (b - 1) + 0.02 (n - b)) / (n - 1)` (class 0); the path `0, 1, …, n - 1` is added. Fold `f`
/// tests the graphs with `⌊i/2⌋ mod 10 = f`.
pub fn community_graphs() -> (GraphSet, Folds) {
    const NUM_GRAPHS: usize = 240;
    const NUM_FOLDS: usize = 10;
    let mut random = SplitMix64::new(7);
    let mut graphs = Vec::with_capacity(NUM_GRAPHS);
    for index in 0..NUM_GRAPHS {
        let num_nodes = 24 + 4 * (5.0 * random.next_f64()).floor() as usize;
        let block = num_nodes / 4;
        let (nodes, size) = (num_nodes as f64, block as f64);
        let uniform = (0.8 * (size - 1.0) + 0.02 * (nodes - size)) / (nodes - 1.0);
        let has_communities = index % 2 == 1;
        let joined = |u: usize, v: usize| match has_communities {
            false => uniform,
            true if u / block == v / block => 0.8,
            true => 0.02,
        };
        let mut edges = random_graph(num_nodes, joined, &mut random).edges;
        edges.extend((1..num_nodes as u32).map(|node| (node - 1, node)));
        edges.sort_unstable();
        edges.dedup();
        graphs.push(LabelledGraph {
            num_nodes,
            edges,
            node_tags: vec![0; num_nodes],
            label: u32::from(has_communities),
        });
    }
    let test =
        (0..NUM_FOLDS).map(|fold| (0..NUM_GRAPHS).filter(|graph| graph / 2 % NUM_FOLDS == fold).collect()).collect();
    let set = GraphSet {
        name: "Synthetic communities".into(),
        graphs,
        num_classes: 2,
        class_values: vec![0, 1],
        tag_values: vec![0],
        num_self_loops: 0,
    };
    (set, Folds { test, num_graphs: NUM_GRAPHS })
}

/// Draws one number per pair `u < v`, in lexicographic order, and joins the pair if it is below the pair's probability.
fn random_graph(num_nodes: usize, probability: impl Fn(usize, usize) -> f64, random: &mut SplitMix64) -> Graph {
    let mut edges = Vec::new();
    for u in 0..num_nodes {
        for v in u + 1..num_nodes {
            if random.next_f64() < probability(u, v) {
                edges.push((u as u32, v as u32));
            }
        }
    }
    Graph { num_nodes, edges }
}

fn check_probability(argument: &'static str, probability: f64) -> Result<()> {
    match (0.0..=1.0).contains(&probability) {
        true => Ok(()),
        false => Err(Error::invalid_config(argument, format!("{probability}, expected 0 to 1"))),
    }
}

fn check_node_count(argument: &'static str, num_nodes: usize) -> Result<()> {
    match u32::try_from(num_nodes) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::invalid_config(argument, format!("{num_nodes} nodes, expected at most {}", u32::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_community_graphs_pass_the_checks_of_their_recipe() {
        let (set, folds) = community_graphs();
        assert_eq!(set.graphs.iter().map(|graph| graph.num_nodes).sum::<usize>(), 7648);
        let edges_of = |class| -> usize {
            set.graphs.iter().filter(|graph| graph.label == class).map(|graph| graph.edges.len()).sum()
        };
        assert_eq!((edges_of(0), edges_of(1)), (14892, 13217));
        assert_eq!(set.graphs[0].num_nodes, 28);
        assert_eq!(set.graphs[0].edges[..5], [(0, 1), (0, 8), (0, 10), (0, 21), (0, 26)]);
        assert_eq!((set.graphs[1].num_nodes, set.graphs[1].edges.len()), (24, 55));
        assert!(folds.test.iter().all(|fold| fold.len() == 24));
        assert_eq!(folds.split(0).unwrap().train.len(), 192);
    }

    #[test]
    fn certain_probabilities_give_cliques_and_nothing_between() {
        let model = stochastic_block_model(&[3, 2], 1.0, 0.0, 5).unwrap();
        assert_eq!(model.graph.edges, [(0, 1), (0, 2), (1, 2), (3, 4)]);
        assert_eq!(model.communities, [0, 0, 0, 1, 1]);
    }

    #[test]
    fn a_planted_tree_joins_close_communities_more_often_than_far_ones() {
        let tree = planted_tree(2, 2, 20, 0.8, 0.2, 3).unwrap();
        assert_eq!(tree.graph.num_nodes, 80);
        let mut counts = [0; 3];
        for &(u, v) in &tree.graph.edges {
            let (a, b) = (tree.communities[u as usize], tree.communities[v as usize]);
            counts[if a == b {
                0
            } else if a / 2 == b / 2 {
                1
            } else {
                2
            }] += 1;
        }
        // Expected 608, 128 and 51: the gaps are more than ten standard deviations.
        assert!(counts[0] > 500 && (80..200).contains(&counts[1]) && (20..80).contains(&counts[2]), "{counts:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_graph_and_another_seed_another() {
        let graph = |seed| stochastic_block_model(&[20, 20], 0.5, 0.1, seed).unwrap();
        assert_eq!(graph(1), graph(1));
        assert_ne!(graph(1), graph(2));
    }

    #[test]
    fn impossible_arguments_are_refused() {
        assert!(stochastic_block_model(&[2], f64::NAN, 0.0, 0).is_err());
        assert!(stochastic_block_model(&[usize::MAX, 2], 0.5, 0.0, 0).is_err());
        assert!(planted_tree(10, 60, 1, 0.5, 0.5, 0).is_err());
        assert!(planted_tree(0, 1, 1, 0.5, 0.5, 0).is_err());
    }
}
