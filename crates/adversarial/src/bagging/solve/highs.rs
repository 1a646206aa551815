//! The integer programme by HiGHS.

use super::super::bits;
use super::super::limits::{Limits, Watch};
use super::super::problem::Problem;
use super::attack;
use super::integer_program::{Programme, whole_bound};
use super::solver::{Solution, Solver, found};
use crate::{Error, Result};
use highs::{HighsModelStatus, RowProblem, Sense};

/// The integer programme by [HiGHS](https://highs.dev). Stopped early it answers with its dual bound. One thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct Highs;

impl Solver for Highs {
    fn name(&self) -> &'static str {
        "highs"
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
        let mut rows = RowProblem::default();
        let columns: Vec<highs::Col> = programme
            .objective
            .iter()
            .zip(&programme.is_integer)
            .map(
                |(&weight, &is_integer)| {
                    if is_integer { rows.add_integer_column(weight, 0..=1) } else { rows.add_column(weight, 0..=1) }
                },
            )
            .collect();
        for row in &programme.constraints {
            rows.add_row(..=row.bound, row.terms.iter().map(|&(at, factor)| (columns[at], factor)));
        }
        let failed = |reason: String| Error::Solver { solver: "highs", reason };
        let mut model = rows.try_optimise(Sense::Maximise).map_err(|status| failed(format!("{status:?}")))?;
        model.make_quiet();
        let mut options = vec![("mip_rel_gap", 0.), ("mip_abs_gap", 1. - 1e-6)];
        if let Some(time) = watch.remaining() {
            options.push(("time_limit", time.as_secs_f64().min(1e9)));
        }
        for (option, value) in options {
            model.try_set_option(option, value).map_err(|status| failed(format!("{option}: {status:?}")))?;
        }
        model.try_set_option("threads", 1).map_err(|status| failed(format!("threads: {status:?}")))?;
        let solved = model.try_solve().map_err(|status| failed(format!("{status:?}")))?;
        match solved.status() {
            HighsModelStatus::Optimal | HighsModelStatus::ReachedTimeLimit | HighsModelStatus::ReachedInterrupt => {}
            status => return Err(failed(format!("{status:?}"))),
        }
        let solution = solved.get_solution();
        if let Some(x) = solution.columns().get(..problem.num_sub_classifiers()) {
            let controlled = x.iter().enumerate().filter(|&(_, &value)| value > 0.5).map(|(g, _)| g);
            let controlled = bits::from_elements(problem.num_sub_classifiers(), controlled);
            // without an incumbent the columns are no attack within the budget
            let is_attack = solved.objective_value().is_finite() && solved.mip_gap().is_finite();
            if is_attack && problem.changed_by(&controlled) > lower {
                (lower, attack) = found(problem, &controlled);
            }
        }
        let bound = solved.double_info_value(c"mip_dual_bound").map_err(|status| failed(format!("{status:?}")))?;
        let upper = whole_bound(bound, attackable).max(lower);
        let nodes = solved.int_info_value(c"mip_node_count").map_or(0, |count| count.max(0) as u64);
        Ok(Solution { upper, lower, attack, nodes })
    }
}
