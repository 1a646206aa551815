//! The certificate as a mixed-integer linear programme, for solvers of such programmes.
//!
//! ```text
//! max  Σ n_i Y_i
//!      Σ_g w_row[g] X_g ≥ gap_row Z_row           each row
//!      Y_i ≤ Σ_rows Z_row                         each column with several rows; Y is Z where there is one
//!      Σ_{g in block} X_g ≤ r                     each block of hash bagging
//!      X_g ≤ Σ_{sets with g} P,  Σ P ≤ r          general bagging
//! ```

use super::super::bits;
use super::super::problem::Problem;
use super::super::structure::Kind;

/// A sparse row `coefficients · variables ≤ bound`.
pub(super) struct Constraint {
    pub(super) terms: Vec<(usize, f64)>,
    pub(super) bound: f64,
}

/// All variables are in [0, 1].
pub(super) struct Programme {
    /// Objective coefficient of each variable; the first G variables are X.
    pub(super) objective: Vec<f64>,
    pub(super) is_integer: Vec<bool>,
    pub(super) constraints: Vec<Constraint>,
}

impl Programme {
    pub(super) fn new(problem: &Problem) -> Self {
        let num_sub_classifiers = problem.num_sub_classifiers();
        let mut programme = Self { objective: Vec::new(), is_integer: Vec::new(), constraints: Vec::new() };
        for _ in 0..num_sub_classifiers {
            programme.variable(0., true);
        }
        for column in &problem.columns {
            let weight = column.weight as f64;
            let is_alone = column.rows.len() == 1;
            let satisfied: Vec<usize> = column
                .rows
                .clone()
                .map(|row| {
                    let satisfied = programme.variable(if is_alone { weight } else { 0. }, true);
                    let units = (0..num_sub_classifiers).map(|g| (g, -f64::from(problem.unit(row, g))));
                    let mut terms: Vec<(usize, f64)> = units.filter(|&(_, unit)| unit != 0.).collect();
                    terms.push((satisfied, f64::from(problem.gaps[row])));
                    programme.constraints.push(Constraint { terms, bound: 0. });
                    satisfied
                })
                .collect();
            if !is_alone {
                let changed = programme.variable(weight, false);
                let mut terms: Vec<(usize, f64)> = satisfied.into_iter().map(|z| (z, -1.)).collect();
                terms.push((changed, 1.));
                programme.constraints.push(Constraint { terms, bound: 0. });
            }
        }
        match problem.structure.kind() {
            Kind::Blocks(blocks) => {
                for block in blocks {
                    let terms = block.iter().map(|&g| (g, 1.)).collect();
                    programme.constraints.push(Constraint { terms, bound: problem.budget as f64 });
                }
            }
            Kind::Memberships(sets) => {
                let first = programme.objective.len();
                for _ in sets {
                    programme.variable(0., true);
                }
                let poisoned = || (first..first + sets.len()).zip(sets);
                for g in 0..num_sub_classifiers {
                    let mut terms: Vec<(usize, f64)> =
                        poisoned().filter(|(_, set)| bits::contains(set, g)).map(|(p, _)| (p, -1.)).collect();
                    terms.push((g, 1.));
                    programme.constraints.push(Constraint { terms, bound: 0. });
                }
                let terms = poisoned().map(|(p, _)| (p, 1.)).collect();
                programme.constraints.push(Constraint { terms, bound: problem.budget as f64 });
            }
        }
        programme
    }

    fn variable(&mut self, objective: f64, is_integer: bool) -> usize {
        self.objective.push(objective);
        self.is_integer.push(is_integer);
        self.objective.len() - 1
    }
}

/// A solver's bound as whole weight: rounded down, since the optimum is whole, after what its tolerances may have taken away.
pub(super) fn whole_bound(bound: f64, attackable: u64) -> u64 {
    if bound.is_finite() {
        ((bound + 1e-6 * bound.abs().max(1.)).max(0.).floor() as u64).min(attackable)
    } else {
        attackable
    }
}
