//! placeholder
mod eigenvalues;
mod graph;
mod similarity;
mod transport;
pub use graph::{Adjacency, ChebyshevBasis, ChebyshevProduct, GraphConfig, SelfLoop, aware_graphs};
pub use similarity::{Similarity, SimilarityConfig};
pub use transport::{Transport, transport};
