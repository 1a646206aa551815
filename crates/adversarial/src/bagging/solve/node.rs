//! A node of the search: some sub-classifiers are controlled, some may still become so, the others never will.

use super::super::bits;
use super::super::problem::{Problem, most_units};
use super::super::structure::Kind;
use super::attack::Choices;

/// What is decided so far.
#[derive(Clone)]
pub(super) struct Node {
    /// Bits of the controlled sub-classifiers.
    pub(super) controlled: Vec<u64>,
    /// Choices left to each group.
    pub(super) left: Vec<usize>,
    /// Choices that are still open.
    pub(super) candidates: Vec<u32>,
    /// Columns that are neither changed for certain nor out of reach, from here on down.
    pub(super) open: Vec<u32>,
    /// The weight of columns that are changed whatever follows.
    pub(super) changed: u64,
    /// `[sub-classifiers]`: how much of each the bound's maximum controlled, a start for the next bound.
    pub(super) share: Vec<f64>,
}

/// What may still become controlled in one group.
pub(super) struct Reach {
    /// Bits of the undecided sub-classifiers.
    pub(super) undecided: Vec<u64>,
    /// How many of them at most.
    pub(super) most: u32,
    /// How many of them at least.
    pub(super) least: u32,
}

/// Rows of open columns with their lines: `sum of units × slope - offset` is at least 1 where the row is satisfied, and at least 0 everywhere.
#[derive(Default)]
pub(super) struct Lines {
    /// The first row of each open column, and the end.
    pub(super) starts: Vec<u32>,
    pub(super) rows: Vec<u32>,
    pub(super) slopes: Vec<f64>,
    /// One for each open column.
    pub(super) offsets: Vec<f64>,
}

impl Node {
    pub(super) fn root(problem: &Problem, choices: &Choices) -> Self {
        Self {
            controlled: vec![0; problem.words],
            left: choices.budgets.clone(),
            candidates: (0..choices.len() as u32).collect(),
            open: (0..problem.columns.len() as u32).collect(),
            changed: 0,
            share: Vec::new(),
        }
    }

    pub(super) fn with(&self, choices: &Choices, choice: u32) -> Self {
        let mut node = self.clone();
        node.leave(choice);
        node.controlled.iter_mut().zip(choices.set(choice as usize)).for_each(|(all, set)| *all |= set);
        node.left[choices.groups[choice as usize]] -= 1;
        node
    }

    /// Decides against a choice.
    pub(super) fn leave(&mut self, choice: u32) {
        self.candidates.retain(|&candidate| candidate != choice);
    }

    /// What is undecided, group by group.
    pub(super) fn reach(&self, problem: &Problem, choices: &Choices) -> Vec<Reach> {
        let mut reach: Vec<Reach> =
            self.left.iter().map(|_| Reach { undecided: vec![0; problem.words], most: 0, least: 0 }).collect();
        for &candidate in &self.candidates {
            let group = choices.groups[candidate as usize];
            if self.left[group] > 0 {
                let sets = choices.set(candidate as usize).iter().zip(&self.controlled);
                reach[group].undecided.iter_mut().zip(sets).for_each(|(all, (set, known))| *all |= set & !known);
            }
        }
        for (group, reach) in reach.iter_mut().enumerate() {
            let count = bits::count(&reach.undecided);
            match problem.structure.kind() {
                // the whole budget is used, which never harms the attacker
                Kind::Blocks(_) => {
                    reach.most = count.min(self.left[group] as u32);
                    reach.least = reach.most;
                }
                Kind::Memberships(_) => {
                    let new = |&candidate: &u32| {
                        let set = choices.set(candidate as usize);
                        set.iter().zip(&self.controlled).map(|(set, known)| (set & !known).count_ones()).sum::<u32>()
                    };
                    let mut sizes: Vec<u32> = self.candidates.iter().map(new).collect();
                    sizes.sort_unstable_by(|a, b| b.cmp(a));
                    reach.most = count.min(sizes.iter().take(self.left[group]).sum());
                }
            }
        }
        reach
    }

    /// Moves open columns that are decided out of the list and gives the lines of the others.
    pub(super) fn update(&mut self, problem: &Problem, reach: &[Reach], lines: &mut Lines) {
        struct Pass<'a>(&'a mut Node, &'a Problem, &'a [Reach], &'a mut Lines);
        impl pulp::WithSimd for Pass<'_> {
            type Output = ();
            #[inline(always)]
            fn with_simd<S: pulp::Simd>(self, _: S) {
                let Pass(node, problem, reach, lines) = self;
                update(node, problem, reach, lines);
            }
        }
        pulp::Arch::new().dispatch(Pass(self, problem, reach, lines));
    }
}

#[inline(always)]
fn update(node: &mut Node, problem: &Problem, reach: &[Reach], lines: &mut Lines) {
    lines.starts.clear();
    lines.rows.clear();
    lines.slopes.clear();
    lines.offsets.clear();
    let size = bits::count(&node.controlled);
    let mut kept = 0;
    for at in 0..node.open.len() {
        let column = &problem.columns[node.open[at] as usize];
        let first = lines.rows.len();
        let mut is_changed = false;
        let mut offset = f64::INFINITY;
        for row in column.rows.clone() {
            let (predicted, class) = problem.voters(row);
            let won = size + bits::count_and(&node.controlled, predicted) - bits::count_and(&node.controlled, class);
            let gap = problem.gaps[row];
            if won >= gap {
                is_changed = true;
                break;
            }
            let need = gap - won;
            let (mut most, mut least) = (0, 0);
            for reach in reach {
                most += most_units(&reach.undecided, reach.most, predicted, class);
                least += least_units(&reach.undecided, reach.least, predicted, class);
            }
            if least >= need {
                is_changed = true;
                break;
            }
            if most >= need {
                let slope = 1. / f64::from(need - least);
                lines.rows.push(row as u32);
                lines.slopes.push(slope);
                offset = offset.min(slope * f64::from(least));
            }
        }
        if is_changed {
            node.changed += column.weight;
            lines.rows.truncate(first);
            lines.slopes.truncate(first);
        } else if lines.rows.len() > first {
            lines.starts.push(first as u32);
            lines.offsets.push(offset);
            node.open[kept] = node.open[at];
            kept += 1;
        }
    }
    lines.starts.push(lines.rows.len() as u32);
    node.open.truncate(kept);
}

/// The sum of the `count` smallest units over a set.
#[inline(always)]
fn least_units(set: &[u64], count: u32, predicted: &[u64], class: &[u64]) -> u32 {
    if count == 0 {
        return 0;
    }
    let (mut zeros, mut ones) = (0, 0);
    for ((set, predicted), class) in set.iter().zip(predicted).zip(class) {
        zeros += (set & class).count_ones();
        ones += (set & !predicted & !class).count_ones();
    }
    let rest = count.saturating_sub(zeros);
    let ones = ones.min(rest);
    ones + 2 * (rest - ones)
}
