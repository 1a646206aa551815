//! What a solver is, and what it finds.

use super::super::bits;
use super::super::limits::Limits;
use super::super::problem::Problem;
use crate::Result;

/// What a solver found out: the optimum lies in `lower..=upper`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Solution {
    /// No attack changes more. A certificate stands on this number alone.
    pub upper: u64,
    /// What `attack` changes.
    pub lower: u64,
    /// Sub-classifiers that the best attack found controls, ascending.
    pub attack: Vec<usize>,
    /// Attacks or nodes that were looked at; 0 where a external solver does not say.
    pub nodes: u64,
}

impl Solution {
    /// Whether bound and attack meet.
    pub fn is_optimal(&self) -> bool {
        self.upper == self.lower
    }
}

/// Something that bounds the weight that an attack changes.
pub trait Solver: Sync {
    /// The name in reports.
    fn name(&self) -> &'static str;

    /// Solves a problem to the optimum, or as far as the limits allow.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) from solvers that have no partial answer; [`Error::Solver`](crate::Error::Solver) if a external solver fails.
    fn solve(&self, problem: &Problem, limits: &Limits<'_>) -> Result<Solution>;
}

/// What is true of a set of controlled sub-classifiers: its weight and its elements.
pub(crate) fn found(problem: &Problem, controlled: &[u64]) -> (u64, Vec<usize>) {
    (problem.changed_by(controlled), bits::elements(controlled).collect())
}
