//! All attacks, one by one.

use super::super::bits;
use super::super::problem::{Column, Problem};
use super::attack::{self, Choices};
use super::{Limits, Solution, Solver, Watch, found};
use crate::{Error, Result};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Looks at every attack that uses its whole budget, from the heaviest column on, and leaves an attack as soon as it cannot become the best.
///
/// Exact. Cost: attacks × columns at most, in parallel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Enumeration {
    /// More attacks are an error. Default: 10⁸.
    pub limit: f64,
}

impl Default for Enumeration {
    fn default() -> Self {
        Self { limit: 1e8 }
    }
}

/// How many attacks there are: a product of binomial coefficients.
pub(super) fn attacks(problem: &Problem) -> f64 {
    let choices = Choices::new(problem);
    let sizes = (0..choices.budgets.len()).map(|group| choices.groups.iter().filter(|&&g| g == group).count());
    sizes.zip(&choices.budgets).map(|(size, &budget)| binomial(size, budget)).product()
}

fn binomial(n: usize, k: usize) -> f64 {
    (0..k.min(n - k)).map(|i| (n - i) as f64 / (i + 1) as f64).product()
}

impl Solver for Enumeration {
    fn name(&self) -> &'static str {
        "enumeration"
    }

    fn solve(&self, problem: &Problem, limits: &Limits<'_>) -> Result<Solution> {
        let size = attacks(problem);
        if size > self.limit {
            return Err(Error::TooLarge { solver: self.name(), size, limit: self.limit });
        }
        let watch = Watch::start(limits);
        let choices = Choices::new(problem);
        let mut sorted = problem.columns.clone();
        sorted.sort_by_key(|column| std::cmp::Reverse(column.weight));
        let all = problem.attackable();
        let start = attack::search(problem, limits);
        let best = AtomicU64::new(problem.changed_by(&start));
        let is_over = AtomicBool::new(false);
        let walk = Walk { problem, choices: &choices, sorted: &sorted, all, best: &best, is_over: &is_over, watch };
        // tasks: the first two choices of an attack
        let mut tasks = Vec::new();
        walk.expand(&Attack::new(&choices), &mut |first| walk.expand(&first, &mut |second| tasks.push(second)));
        let parts: Vec<(u64, Vec<u64>, u64)> = tasks.into_par_iter().map(|task| walk.finish(task)).collect();
        let (mut lower, mut attack) = found(problem, &start);
        let mut nodes = 0;
        for (weight, controlled, count) in parts {
            nodes += count;
            if weight > lower {
                (lower, attack) = found(problem, &controlled);
            }
        }
        let upper = if is_over.into_inner() { all } else { lower };
        Ok(Solution { upper, lower, attack, nodes })
    }
}

/// A part of an attack.
#[derive(Clone)]
struct Attack {
    controlled: Vec<u64>,
    left: Vec<usize>,
    next: usize,
}

impl Attack {
    fn new(choices: &Choices) -> Self {
        Self { controlled: vec![0; choices.words], left: choices.budgets.clone(), next: 0 }
    }

    fn is_whole(&self) -> bool {
        self.left.iter().all(|&left| left == 0)
    }
}

struct Walk<'a> {
    problem: &'a Problem,
    choices: &'a Choices,
    sorted: &'a [Column],
    all: u64,
    best: &'a AtomicU64,
    is_over: &'a AtomicBool,
    watch: Watch<'a>,
}

impl Walk<'_> {
    /// Every attack with one more choice; a whole attack is passed on as it is. Choices are taken in ascending order, so that each attack comes once.
    fn expand(&self, attack: &Attack, visit: &mut dyn FnMut(Attack)) {
        if attack.is_whole() {
            return visit(attack.clone());
        }
        // the first group with budget left; a group's choices stand together
        let group = attack.left.iter().position(|&left| left > 0).unwrap_or_default();
        for choice in attack.next..self.choices.len() {
            match self.choices.groups[choice].cmp(&group) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Greater => break,
                std::cmp::Ordering::Equal => {}
            }
            let mut with = attack.clone();
            with.controlled.iter_mut().zip(self.choices.set(choice)).for_each(|(all, set)| *all |= set);
            with.left[group] -= 1;
            with.next = choice + 1;
            visit(with);
        }
    }

    /// The best of all attacks that begin so, if it is better than what is known.
    fn finish(&self, attack: Attack) -> (u64, Vec<u64>, u64) {
        let mut best = (0, Vec::new(), 0);
        self.descend(&attack, &mut best);
        best
    }

    fn descend(&self, attack: &Attack, best: &mut (u64, Vec<u64>, u64)) {
        if self.is_over.load(Ordering::Relaxed) {
            return;
        }
        if !attack.is_whole() {
            return self.expand(attack, &mut |next| self.descend(&next, best));
        }
        best.2 += 1;
        if best.2.is_multiple_of(1024) && self.watch.is_over() {
            self.is_over.store(true, Ordering::Relaxed);
        }
        let known = self.best.load(Ordering::Relaxed);
        if let Some(weight) = self.weight_above(&attack.controlled, known) {
            self.best.fetch_max(weight, Ordering::Relaxed);
            (best.0, best.1) = (weight, attack.controlled.clone());
        }
    }

    /// The weight of an attack if it is above `known`.
    fn weight_above(&self, controlled: &[u64], known: u64) -> Option<u64> {
        struct Pass<'a, 'b>(&'a Walk<'b>, &'a [u64], u64);
        impl pulp::WithSimd for Pass<'_, '_> {
            type Output = Option<u64>;
            #[inline(always)]
            fn with_simd<S: pulp::Simd>(self, _: S) -> Option<u64> {
                let Pass(walk, controlled, known) = self;
                let size = bits::count(controlled);
                let mut possible = walk.all;
                for column in walk.sorted {
                    if !walk.problem.is_changed(column, controlled, size) {
                        possible -= column.weight;
                        if possible <= known {
                            return None;
                        }
                    }
                }
                (possible > known).then_some(possible)
            }
        }
        pulp::Arch::new().dispatch(Pass(self, controlled, known))
    }
}
