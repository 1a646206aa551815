//! The integer programme by `good_lp` with `microlp`, a simplex method with branch and bound in pure Rust.

use super::super::bits;
use super::super::limits::{Limits, Watch};
use super::super::problem::Problem;
use super::attack;
use super::integer_program::{Programme, whole_bound};
use super::solver::{Solution, Solver, found};
use crate::{Error, Result};
use good_lp::solvers::SolutionStatus;
use good_lp::{Expression, Solution as _, SolverModel, WithTimeLimit, constraint, variable, variables};

/// The integer programme by [`good_lp`] and its `microlp`. Slow next to the crate's own solvers; a second opinion.
#[derive(Debug, Clone, Copy, Default)]
pub struct MicroLp;

impl Solver for MicroLp {
    fn name(&self) -> &'static str {
        "microlp"
    }

    fn solve(&self, problem: &Problem, limits: &Limits<'_>) -> Result<Solution> {
        let watch = Watch::start(limits);
        let start = attack::search(problem, limits);
        let (mut lower, mut attack) = found(problem, &start);
        let attackable = problem.attackable();
        if lower == attackable {
            return Ok(Solution { upper: attackable, lower, attack, nodes: 0 });
        }
        let programme = Programme::new(problem);
        let mut model = variables!();
        let all: Vec<good_lp::Variable> = programme
            .is_integer
            .iter()
            .map(|&is_integer| {
                let range = variable().clamp(0, 1);
                model.add(if is_integer { range.integer() } else { range })
            })
            .collect();
        let sum = |terms: &mut dyn Iterator<Item = (usize, f64)>| {
            terms.fold(Expression::from(0.), |sum, (at, factor)| sum + factor * all[at])
        };
        let objective = sum(&mut programme.objective.iter().copied().enumerate().filter(|&(_, weight)| weight != 0.));
        let mut model = model.maximise(objective).using(good_lp::microlp);
        for row in &programme.constraints {
            model.add_constraint(constraint!(sum(&mut row.terms.iter().copied()) <= row.bound));
        }
        if let Some(time) = watch.remaining() {
            // thirty years are as good as none, and the solver makes a duration of the seconds
            model = model.with_time_limit(time.as_secs_f64().min(1e9));
        }
        let solution = match model.solve() {
            Ok(solution) => solution,
            // no attack before the time was over: what is known stands
            Err(good_lp::ResolutionError::Other(_)) if watch.is_over() => {
                return Ok(Solution { upper: attackable, lower, attack, nodes: 0 });
            }
            Err(error) => return Err(Error::Solver { solver: self.name(), reason: error.to_string() }),
        };
        let controlled = (0..problem.num_sub_classifiers()).filter(|&g| solution.value(all[g]) > 0.5);
        let controlled = bits::from_elements(problem.num_sub_classifiers(), controlled);
        if problem.changed_by(&controlled) > lower {
            (lower, attack) = found(problem, &controlled);
        }
        let is_optimal = matches!(solution.status(), SolutionStatus::Optimal);
        let inner = solution.into_inner();
        let upper = match is_optimal {
            true => whole_bound(inner.objective(), attackable),
            // gap = |bound - objective| / |objective|
            false => inner.gap().map_or(attackable, |gap| {
                whole_bound(inner.objective() + gap * inner.objective().abs().max(1e-10), attackable)
            }),
        };
        Ok(Solution { upper: upper.max(lower), lower, attack, nodes: 0 })
    }
}
