//! Solvers of a certificate's optimisation problem, behind one trait.

mod attack;
mod automatic;
mod bound;
mod branch;
mod enumerate;
#[cfg(feature = "highs")]
mod highs;
#[cfg(any(feature = "highs", feature = "microlp"))]
mod integer_program;
#[cfg(feature = "microlp")]
mod microlp;
mod node;
mod solver;

pub use super::limits::Limits;
pub use automatic::Automatic;
pub use branch::BranchAndBound;
pub use enumerate::Enumeration;
#[cfg(feature = "highs")]
pub use highs::Highs;
#[cfg(feature = "microlp")]
pub use microlp::MicroLp;
pub use solver::{Solution, Solver};

pub(crate) use attack::search as search_attack;
pub(crate) use solver::found;
