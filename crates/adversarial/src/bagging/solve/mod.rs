//! Solvers of a certificate's optimisation problem, behind one trait.

mod attack;
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

pub use branch::BranchAndBound;
pub use enumerate::Enumeration;
#[cfg(feature = "highs")]
pub use highs::Highs;
#[cfg(feature = "microlp")]
pub use microlp::MicroLp;

pub(crate) use attack::search as search_attack;

use super::bits;
use super::problem::Problem;
use crate::Result;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// When a solver stops before it has an optimum, and what it may start from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits<'a> {
    /// Time. Default: none.
    pub time: Option<Duration>,
    /// Stops when bound and attack are this close. Default: 0, at the optimum.
    pub target_gap: u64,
    /// Stops soon after this becomes true. Default: none.
    pub cancel: Option<&'a AtomicBool>,
    /// Sub-classifiers of a known attack, which the solver does not fall behind; ignored if the budget does not allow them. Default: none.
    pub start: Option<&'a [usize]>,
}

/// What a solver found out: the optimum lies in `lower..=upper`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Solution {
    /// No attack changes more. A certificate stands on this number alone.
    pub upper: u64,
    /// What `attack` changes.
    pub lower: u64,
    /// Sub-classifiers that the best attack found controls, ascending.
    pub attack: Vec<usize>,
    /// Attacks or nodes that were looked at; 0 where a foreign solver does not say.
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
    /// [`Error::TooLarge`](crate::Error::TooLarge) from solvers that have no partial answer; [`Error::Solver`](crate::Error::Solver) if a foreign solver fails.
    fn solve(&self, problem: &Problem, limits: &Limits<'_>) -> Result<Solution>;
}

/// Enumeration where there are few attacks, branch and bound otherwise. What a certificate takes unless told otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub struct Automatic;

impl Solver for Automatic {
    fn name(&self) -> &'static str {
        "automatic"
    }

    fn solve(&self, problem: &Problem, limits: &Limits<'_>) -> Result<Solution> {
        let enumeration = Enumeration::default();
        let attacks = enumerate::attacks(problem);
        let work = attacks * (1 + problem.gaps.len()) as f64;
        // about 2·10⁹ rows of attacks a second; a limit must be far away, since a stopped enumeration has no good bound
        let seconds = limits.time.map_or(f64::INFINITY, |time| time.as_secs_f64());
        match attacks <= enumeration.limit && work <= 2e10 && work <= 5e8 * seconds {
            true => enumeration.solve(problem, limits),
            false => BranchAndBound.solve(problem, limits),
        }
    }
}

/// A started clock with the limits.
pub(crate) struct Watch<'a> {
    start: Instant,
    time: Option<Duration>,
    cancel: Option<&'a AtomicBool>,
}

impl<'a> Watch<'a> {
    pub(crate) fn start(limits: &Limits<'a>) -> Self {
        Self { start: Instant::now(), time: limits.time, cancel: limits.cancel }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
            || self.time.is_some_and(|time| self.start.elapsed() >= time)
    }

    /// What is left of the time.
    #[cfg(any(feature = "highs", feature = "microlp"))]
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.time.map(|time| time.saturating_sub(self.start.elapsed()))
    }
}

/// What is true of a set of controlled sub-classifiers: its weight and its elements.
pub(crate) fn found(problem: &Problem, controlled: &[u64]) -> (u64, Vec<usize>) {
    (problem.changed_by(controlled), bits::elements(controlled).collect())
}
