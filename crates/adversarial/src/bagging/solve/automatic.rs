//! The choice between our own solvers.

use super::super::limits::Limits;
use super::super::problem::Problem;
use super::branch::BranchAndBound;
use super::enumerate::{self, Enumeration};
use super::solver::{Solution, Solver};
use crate::Result;

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
