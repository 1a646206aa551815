//! Branch and bound over which choices the attacker takes.

use super::super::limits::{Limits, Watch};
use super::super::problem::Problem;
use super::super::structure::Kind;
use super::attack::{self, Choices};
use super::bound::{self, Units};
use super::node::{Lines, Node};
use super::solver::{Solution, Solver, found};
use crate::Result;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Branch and bound without linear programming: a node is bounded by the columns that it can still reach and by a maximum of lines; in parallel.
///
/// Exact without limits. When it stops early, its bound holds for everything that it did not look at. Which of several best attacks it reports may differ from run to run; bounds of finished runs do not.
#[derive(Debug, Clone, Copy, Default)]
pub struct BranchAndBound;

const ROOT_STEPS: usize = 150;
const STEPS: usize = 4;
/// Nodes above this depth are handed to other threads.
const PARALLEL_DEPTH: usize = 12;

struct Search<'a> {
    problem: &'a Problem,
    choices: Choices,
    units: Units,
    watch: Watch<'a>,
    target_gap: u64,
    /// The weight of the best attack.
    best: AtomicU64,
    attack: Mutex<(u64, Vec<u64>)>,
    /// The largest bound of what was left out.
    left_out: AtomicU64,
    is_over: AtomicBool,
    nodes: AtomicU64,
}

impl Solver for BranchAndBound {
    fn name(&self) -> &'static str {
        "branch and bound"
    }

    fn solve(&self, problem: &Problem, limits: &Limits<'_>) -> Result<Solution> {
        let watch = Watch::start(limits);
        let start = attack::search(problem, limits);
        let weight = problem.changed_by(&start);
        let units = Units::new(problem, &watch);
        let search = Search {
            problem,
            choices: Choices::new(problem),
            units,
            watch,
            target_gap: limits.target_gap,
            best: AtomicU64::new(weight),
            attack: Mutex::new((weight, start)),
            left_out: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            nodes: AtomicU64::new(0),
        };
        search.visit(Node::root(problem, &search.choices), ROOT_STEPS, 0, problem.attackable());
        let (lower, attack) = match search.attack.into_inner() {
            Ok((_, controlled)) => found(problem, &controlled),
            Err(poisoned) => found(problem, &poisoned.into_inner().1),
        };
        let upper = lower.max(search.left_out.into_inner()).min(problem.attackable());
        Ok(Solution { upper, lower, attack, nodes: search.nodes.into_inner() })
    }
}

impl Search<'_> {
    /// `ceiling`: the bound of the node above. Taking a choice is a call, leaving it the next round of the loop, so that calls are as deep as an attack is large.
    fn visit(&self, mut node: Node, mut steps: usize, mut depth: usize, mut ceiling: u64) {
        let mut lines = Lines::default();
        loop {
            let Some((bound, choice)) = self.evaluate(&mut node, &mut lines, steps, ceiling) else { return };
            let with = node.with(&self.choices, choice);
            node.leave(choice);
            depth += 1;
            if depth <= PARALLEL_DEPTH {
                rayon::join(|| self.visit(with, STEPS, depth, bound), || self.visit(node, STEPS, depth, bound));
                return;
            }
            self.visit(with, STEPS, depth, bound);
            (steps, ceiling) = (STEPS, bound);
        }
    }

    /// The bound of a node and the choice to branch on; `None` if there is nothing better below it, or no time to look.
    fn evaluate(&self, node: &mut Node, lines: &mut Lines, steps: usize, ceiling: u64) -> Option<(u64, u32)> {
        let problem = self.problem;
        let reach = node.reach(problem, &self.choices);
        node.update(problem, &reach, lines);
        let is_over = self.is_over.load(Ordering::Relaxed);
        let enough = self.best.load(Ordering::Relaxed) + self.target_gap;
        let count = self.nodes.fetch_add(1, Ordering::Relaxed);
        // once the time is over, what is left is bounded by what it reaches
        let steps = if is_over { 0 } else { steps };
        let mut bound =
            bound::bound(problem, &self.choices, &self.units, (&mut *node, lines), steps, enough, &self.watch);
        bound.value = bound.value.min(ceiling);
        if bound.value <= self.best.load(Ordering::Relaxed) {
            return None;
        }
        if bound.value <= enough || is_over {
            self.left_out.fetch_max(bound.value, Ordering::Relaxed);
            return None;
        }
        self.try_attack(node, &bound.ranking);
        if bound.value <= self.best.load(Ordering::Relaxed) {
            return None;
        }
        if (count.is_multiple_of(16) || node.open.len() > 4096) && self.watch.is_over() {
            self.is_over.store(true, Ordering::Relaxed);
            self.left_out.fetch_max(bound.value, Ordering::Relaxed);
            return None;
        }
        Some((bound.value, self.branching_choice(node, &bound.ranking)?))
    }

    /// The best-ranked choice of a group in which there is something to choose.
    fn branching_choice(&self, node: &Node, ranking: &[u32]) -> Option<u32> {
        let mut sizes = vec![0; node.left.len()];
        for &candidate in &node.candidates {
            sizes[self.choices.groups[candidate as usize]] += 1;
        }
        let uses_all = matches!(self.problem.structure.kind(), Kind::Blocks(_));
        let is_free = |&&choice: &&u32| {
            let group = self.choices.groups[choice as usize];
            node.left[group] > 0 && (sizes[group] > node.left[group] || !uses_all)
        };
        ranking.iter().find(is_free).copied()
    }

    /// Keeps the attack that takes the best-ranked choices if it is the best so far.
    fn try_attack(&self, node: &Node, ranking: &[u32]) {
        let mut left = node.left.clone();
        let mut controlled = node.controlled.clone();
        for &candidate in ranking {
            let left = &mut left[self.choices.groups[candidate as usize]];
            if *left > 0 {
                *left -= 1;
                controlled.iter_mut().zip(self.choices.set(candidate as usize)).for_each(|(all, set)| *all |= set);
            }
        }
        let weight = self.problem.changed_by(&controlled);
        if weight > self.best.load(Ordering::Relaxed) {
            self.best.fetch_max(weight, Ordering::Relaxed);
            if let Ok(mut attack) = self.attack.lock()
                && weight > attack.0
            {
                *attack = (weight, controlled);
            }
        }
    }
}
