//! Generated data: small, seeded, the same bits everywhere. They stand in for real sets in tests and at smoke scale, and a
//! report must call them synthetic.

mod communities;
mod digits;
mod lattices;
mod random;
mod social;
mod topics;

pub use communities::{CommunityGraph, community_graphs, planted_tree, stochastic_block_model};
pub use digits::{DigitConfig, digits};
pub use lattices::{PlacedGraph, grid, ring};
pub use social::{KARATE_CLUB_FACTIONS, karate_club};
pub use topics::{TopicsConfig, topics};

use serde::{Deserialize, Serialize};

/// An undirected graph without attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// Number of nodes.
    pub num_nodes: usize,
    /// Edges `(u, v)`, `u < v`, each once, ascending.
    pub edges: Vec<(u32, u32)>,
}
