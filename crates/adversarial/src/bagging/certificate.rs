//! Certificates: what no attack of a budget changes, and the best attack found.

use super::bits;
use super::limits::Watch;
use super::problem::{Problem, Scope};
use super::samplewise;
use super::solve::{self, Automatic, Limits, Solution, Solver};
use super::structure::Structure;
use super::votes::Votes;
use crate::Result;
use rayon::prelude::*;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How a certificate is computed.
#[derive(Clone, Copy)]
pub struct CertifyConfig<'a> {
    /// What solves the problem, or each group of it. Default: [`Automatic`].
    pub solver: &'a dyn Solver,
    /// When it stops early; the time is for one budget, reading the votes included. Where not even that is done in time, the certificate is the trivial one: everything may change. Default:
    /// never.
    pub limits: Limits<'a>,
    /// Solves groups of that many attackable samples, in their order, and adds their bounds: a looser bound from smaller problems. Default: `None`, the whole.
    pub group_size: Option<usize>,
}

impl std::fmt::Debug for CertifyConfig<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertifyConfig").field("group_size", &self.group_size).finish_non_exhaustive()
    }
}

impl Default for CertifyConfig<'_> {
    fn default() -> Self {
        Self { solver: &Automatic, limits: Limits::default(), group_size: None }
    }
}

/// A collective certificate: no attack of this budget changes more than `max_changed_upper` of the considered predictions at once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Certificate {
    /// r: sub-trainsets that the attacker touches in each block, or training samples for general bagging.
    pub budget: usize,
    /// The weight of all samples in the scope.
    pub considered: u64,
    /// M_ATK from above: **the certificate**. A relaxation's bound, rounded down, if the solver was stopped.
    pub max_changed_upper: u64,
    /// What the best attack found changes: M_ATK from below.
    pub best_attack_lower: u64,
    /// The sub-classifiers that this attack controls.
    pub attack: Vec<usize>,
    /// The weight of the samples that are certified one by one, by the sharper test of [`samplewise::attackable`].
    pub certified_samplewise: u64,
    /// For each sample, whether no attack of this budget changes it at all.
    #[serde(skip)]
    pub per_sample: Vec<bool>,
    /// Distinct patterns of votes that some attack reaches.
    pub columns: usize,
    /// Name of the solver.
    pub solver: &'static str,
    /// Attacks or nodes that it looked at.
    pub nodes: u64,
    /// Time for this budget.
    pub seconds: f64,
}

impl Certificate {
    /// The weight of the predictions that keep for certain: collective robustness N - M_ATK, or certified accuracy in the scope of right predictions.
    pub fn certified(&self) -> u64 {
        self.considered - self.max_changed_upper
    }

    /// How far the certificate may be from what an attack can do; 0 if it is exact.
    pub fn gap(&self) -> u64 {
        self.max_changed_upper - self.best_attack_lower
    }

    /// Whether the certificate is exact.
    pub fn is_optimal(&self) -> bool {
        self.gap() == 0
    }
}

/// The collective certificate of one budget.
///
/// # Errors
/// [`Error::Budget`](crate::Error::Budget) for a budget above G; [`Error::Length`](crate::Error::Length), [`Error::OutOfRange`](crate::Error::OutOfRange) if votes, structure and scope
/// do not fit each other; what the solver reports.
pub fn certify(
    votes: &Votes,
    structure: &Structure,
    budget: usize,
    scope: &Scope<'_>,
    config: &CertifyConfig<'_>,
) -> Result<Certificate> {
    let start = Instant::now();
    let watch = Watch::start(&config.limits);
    let problem = Problem::within(votes, structure, budget, scope, &watch)?;
    let attackable = match problem {
        Some(_) => samplewise::attackable_within(votes, structure, budget, scope, &watch)?,
        None => None,
    };
    let (Some(problem), Some(attackable)) = (problem, attackable) else {
        return Ok(trivial(votes, budget, scope, config.solver.name(), start));
    };
    let config = &CertifyConfig { limits: Limits { time: watch.remaining(), ..config.limits }, ..*config };
    let solution = match config.group_size {
        None => config.solver.solve(&problem, &config.limits)?,
        Some(size) => in_groups(&problem, &Problem::in_groups(votes, structure, budget, scope, size)?, config)?,
    };
    Ok(Certificate {
        budget,
        considered: problem.considered(),
        max_changed_upper: solution.upper.min(problem.attackable()),
        best_attack_lower: solution.lower,
        attack: solution.attack,
        certified_samplewise: problem.considered() - problem.attackable(),
        per_sample: attackable.into_iter().map(|attackable| !attackable).collect(),
        columns: problem.num_columns(),
        solver: config.solver.name(),
        nodes: solution.nodes,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// What is known before the votes are read: every prediction in the scope may change.
fn trivial(votes: &Votes, budget: usize, scope: &Scope<'_>, solver: &'static str, start: Instant) -> Certificate {
    let predictions = votes.ensemble_predictions();
    let weights = predictions.iter().enumerate().map(|(at, &prediction)| scope.weight(at, usize::from(prediction)));
    let considered = weights.sum();
    Certificate {
        budget,
        considered,
        max_changed_upper: considered,
        best_attack_lower: 0,
        attack: Vec::new(),
        certified_samplewise: 0,
        per_sample: vec![false; votes.num_samples()],
        columns: 0,
        solver,
        nodes: 0,
        seconds: start.elapsed().as_secs_f64(),
    }
}

/// The sum of the groups' bounds, each with an equal share of what is left of the time, and an attack on the whole.
fn in_groups(whole: &Problem, groups: &[Problem], config: &CertifyConfig<'_>) -> Result<Solution> {
    let attack = solve::search_attack(whole, &config.limits);
    let (lower, attack) = solve::found(whole, &attack);
    // groups run side by side, so that their times add up to the time times the threads
    let share =
        |time: Duration| time.mul_f64((rayon::current_num_threads() as f64 / groups.len().max(1) as f64).min(1.));
    let limits = Limits { time: config.limits.time.map(share), start: Some(&attack), ..config.limits };
    let solutions: Vec<Solution> =
        groups.par_iter().map(|group| config.solver.solve(group, &limits)).collect::<Result<_>>()?;
    let upper = solutions.iter().map(|solution| solution.upper).sum();
    let nodes = solutions.iter().map(|solution| solution.nodes).sum();
    Ok(Solution { upper, lower, attack, nodes })
}

/// Certificates of several budgets, ascending. Each starts from the attack before it, and a bound of a larger budget holds for the smaller ones.
///
/// # Errors
/// As [`certify`]; [`Error::InvalidConfig`](crate::Error::InvalidConfig) if the budgets do not ascend.
pub fn certify_curve(
    votes: &Votes,
    structure: &Structure,
    budgets: &[usize],
    scope: &Scope<'_>,
    config: &CertifyConfig<'_>,
) -> Result<Vec<Certificate>> {
    certify_curve_watched(votes, structure, budgets, scope, config, &mut |_| {})
}

/// [`certify_curve`], for showing progress: `watch` sees each certificate when it is found. Bounds may become smaller with larger budgets.
///
/// # Errors
/// As [`certify_curve`].
pub fn certify_curve_watched(
    votes: &Votes,
    structure: &Structure,
    budgets: &[usize],
    scope: &Scope<'_>,
    config: &CertifyConfig<'_>,
    watch: &mut dyn FnMut(&Certificate),
) -> Result<Vec<Certificate>> {
    if budgets.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(crate::Error::config("certify_curve", "budgets", "do not ascend"));
    }
    let mut curve: Vec<Certificate> = Vec::with_capacity(budgets.len());
    for &budget in budgets {
        let attack = curve.last().map(|before| before.attack.clone());
        let limits = Limits { start: attack.as_deref().or(config.limits.start), ..config.limits };
        let found = certify(votes, structure, budget, scope, &CertifyConfig { limits, ..*config })?;
        watch(&found);
        curve.push(found);
    }
    for at in (1..curve.len()).rev() {
        curve[at - 1].max_changed_upper = curve[at - 1].max_changed_upper.min(curve[at].max_changed_upper);
    }
    Ok(curve)
}

/// Which predictions change when these sub-classifiers are controlled by an attacker who wants to change as many as possible.
///
/// # Errors
/// [`Error::OutOfRange`](crate::Error::OutOfRange) for a sub-classifier that is not there.
pub fn changed_by(votes: &Votes, controlled: &[usize]) -> Result<Vec<bool>> {
    let num_sub_classifiers = votes.num_sub_classifiers();
    if let Some(&wrong) = controlled.iter().find(|&&sub_classifier| sub_classifier >= num_sub_classifiers) {
        return Err(crate::Error::out_of_range("changed_by", "a sub-classifier", wrong as u64, num_sub_classifiers));
    }
    let controlled = bits::from_elements(num_sub_classifiers, controlled.iter().copied());
    let reach = [(controlled.clone(), bits::count(&controlled) as usize)];
    let mut reader = super::problem::Reader::new(votes.num_classes(), num_sub_classifiers);
    let mut changed = Vec::with_capacity(votes.num_samples());
    votes.visit(|_, votes| {
        reader.read(votes);
        changed.push(reader.is_attackable(&reach, None));
    });
    Ok(changed)
}
