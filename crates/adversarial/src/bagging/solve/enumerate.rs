//! All attacks, one by one.
//!
//! Attacks are visited depth first. Each level keeps the vote units won so far for all rows side by side, so that one more controlled sub-classifier is one addition of vectors and a whole attack one comparison.

use super::super::bits;
use super::super::limits::{Limits, Watch};
use super::super::problem::Problem;
use super::attack::{self, Choices};
use super::solver::{Solution, Solver, found};
use crate::{Error, Result};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Looks at every attack that uses its whole budget.
///
/// Exact. Cost: attacks × rows, in vectors of 16-bit numbers, in parallel. Stopped early it only knows that no attack changes more than what can be changed one at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Enumeration {
    /// More attacks are an error. Default: 10⁹.
    pub limit: f64,
}

impl Default for Enumeration {
    fn default() -> Self {
        Self { limit: 1e9 }
    }
}

/// More sub-classifiers × rows than this are not laid out side by side, nor more sub-classifiers than 16 bits can count the units of.
const LARGEST: usize = 1 << 29;

/// How many attacks there are: a product of binomial coefficients; infinitely many where enumeration has no room.
pub(super) fn attacks(problem: &Problem) -> f64 {
    let num_sub_classifiers = problem.num_sub_classifiers();
    if num_sub_classifiers > 1 << 14 || num_sub_classifiers.saturating_mul(problem.gaps.len()) > LARGEST {
        return f64::INFINITY;
    }
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
        let got = attacks(problem);
        if got > self.limit {
            return Err(Error::TooLarge { solver: self.name(), got, limit: self.limit });
        }
        let watch = Watch::start(limits);
        let start = attack::search(problem, limits);
        let (mut lower, mut attack) = found(problem, &start);
        if lower == problem.attackable() {
            return Ok(Solution { upper: lower, lower, attack, nodes: 0 });
        }
        let choices = Choices::new(problem);
        let best = AtomicU64::new(lower);
        let is_over = AtomicBool::new(false);
        let table = Table::new(problem);
        let walk = Walk { choices: &choices, table: &table, best: &best, is_over: &is_over, watch };
        // tasks: the first two choices of an attack
        let mut tasks = Vec::new();
        walk.expand(&Attack::new(&choices), &mut |first| walk.expand(&first, &mut |second| tasks.push(second)));
        let parts: Vec<Found> = tasks.into_par_iter().map(|task| walk.finish(&task)).collect();
        let mut nodes = 0;
        for part in parts {
            nodes += part.attacks;
            if part.weight > lower {
                (lower, attack) = found(problem, &part.controlled);
            }
        }
        let upper = if is_over.into_inner() { problem.attackable() } else { lower };
        Ok(Solution { upper, lower, attack, nodes })
    }
}

/// Columns that are looked at together before the sum is compared with the best.
const BLOCK: usize = 1024;

/// All columns in vectors: those with the most rows first, so that the columns with a second row, a third … are a prefix.
struct Table {
    weights: Vec<u64>,
    /// The weight of all columns from each block on.
    rest: Vec<u64>,
    /// Ends of the rows of each rank in the vectors below: first rows of all columns, second rows of the first columns …
    ends: Vec<usize>,
    /// `gap` of each row; at most 2 G, which 16 bits hold for all that can be enumerated.
    gaps: Vec<u16>,
    /// `[sub-classifiers, rows]`
    units: Vec<u16>,
}

impl Table {
    fn new(problem: &Problem) -> Self {
        let mut columns: Vec<_> = problem.columns.iter().collect();
        columns.sort_by_key(|column| std::cmp::Reverse((column.rows.len(), column.weight)));
        let weights: Vec<u64> = columns.iter().map(|column| column.weight).collect();
        let mut rest: Vec<u64> = weights.chunks(BLOCK).map(|block| block.iter().sum()).collect();
        (1..rest.len()).rev().for_each(|at| rest[at - 1] += rest[at]);
        rest.push(0);
        let most = columns.first().map_or(0, |column| column.rows.len());
        let (mut rows, mut ends) = (Vec::new(), Vec::new());
        for rank in 0..most {
            rows.extend(
                columns.iter().take_while(|column| column.rows.len() > rank).map(|column| column.rows.start + rank),
            );
            ends.push(rows.len());
        }
        let gaps = rows.iter().map(|&row| u16::try_from(problem.gaps[row]).unwrap_or(u16::MAX)).collect();
        let units = (0..problem.num_sub_classifiers())
            .flat_map(|g| rows.iter().map(move |&row| problem.unit(row, g) as u16))
            .collect();
        Self { weights, rest, ends, gaps, units }
    }

    fn num_rows(&self) -> usize {
        self.gaps.len()
    }

    fn units(&self, sub_classifier: usize) -> &[u16] {
        &self.units[sub_classifier * self.num_rows()..][..self.num_rows()]
    }
}

/// One more controlled sub-classifier.
struct Add<'a>(&'a [u16], &'a [u16], &'a mut [u16]);

impl pulp::WithSimd for Add<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        for ((sum, &won), &unit) in self.2.iter_mut().zip(self.0).zip(self.1) {
            *sum = won + unit;
        }
    }
}

/// The weight of an attack if it is above what is known: units won before the last sub-classifier, and its own.
struct Finish<'a> {
    table: &'a Table,
    won: &'a [u16],
    units: &'a [u16],
    known: u64,
}

impl pulp::WithSimd for Finish<'_> {
    type Output = Option<u64>;
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Option<u64> {
        let Self { table, won, units, known } = self;
        let mut sum = 0;
        let mut is_changed = [0u16; BLOCK];
        for (at, weights) in table.weights.chunks(BLOCK).enumerate() {
            if sum + table.rest[at] <= known {
                return None;
            }
            let first = at * BLOCK;
            let is_changed = &mut is_changed[..weights.len()];
            let rows = first..first + weights.len();
            let gaps = table.gaps[rows.clone()].iter();
            for (((changed, &won), &unit), &gap) in
                is_changed.iter_mut().zip(&won[rows.clone()]).zip(&units[rows]).zip(gaps)
            {
                *changed = u16::from(won + unit >= gap);
            }
            for rank in table.ends.windows(2) {
                // a rank's rows are those of the first columns
                let count = (rank[1] - rank[0]).saturating_sub(first).min(weights.len());
                let rows = rank[0] + first.min(rank[1] - rank[0])..rank[0] + first.min(rank[1] - rank[0]) + count;
                let gaps = table.gaps[rows.clone()].iter();
                for (((changed, &won), &unit), &gap) in
                    is_changed.iter_mut().zip(&won[rows.clone()]).zip(&units[rows]).zip(gaps)
                {
                    *changed |= u16::from(won + unit >= gap);
                }
            }
            let mut block = 0;
            for (&weight, &changed) in weights.iter().zip(&*is_changed) {
                block += weight & u64::from(changed).wrapping_neg();
            }
            sum += block;
        }
        (sum > known).then_some(sum)
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

    fn num_left(&self) -> usize {
        self.left.iter().sum()
    }
}

/// What a task found.
#[derive(Default)]
struct Found {
    weight: u64,
    controlled: Vec<u64>,
    attacks: u64,
}

struct Walk<'a> {
    choices: &'a Choices,
    table: &'a Table,
    best: &'a AtomicU64,
    is_over: &'a AtomicBool,
    watch: Watch<'a>,
}

impl Walk<'_> {
    /// Every attack with one more choice; a whole attack is passed on as it is. Choices are taken in ascending order, so that each attack comes once.
    fn expand(&self, attack: &Attack, visit: &mut dyn FnMut(Attack)) {
        if attack.num_left() == 0 {
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
    fn finish(&self, attack: &Attack) -> Found {
        let rows = self.table.num_rows();
        let mut won = vec![vec![0; rows]; attack.num_left() + 2];
        let mut best = Found::default();
        for g in bits::elements(&attack.controlled) {
            let (base, sum) = two(&mut won, 0);
            pulp::Arch::new().dispatch(Add(base, self.table.units(g), sum));
            won.swap(0, 1);
        }
        self.descend(attack, &mut won, 0, &mut best);
        best
    }

    /// `won[level]` holds the units that `attack` wins.
    fn descend(&self, attack: &Attack, won: &mut [Vec<u16>], level: usize, best: &mut Found) {
        let zeros = &self.table.units(0)[..0];
        if attack.num_left() == 0 {
            return self.compare(attack, &won[level], zeros, best);
        }
        let is_last = attack.num_left() == 1;
        self.expand(attack, &mut |next| {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let new: Vec<u64> = next.controlled.iter().zip(&attack.controlled).map(|(next, old)| next & !old).collect();
            let mut new = bits::elements(&new).peekable();
            let mut from = level;
            while let Some(g) = new.next() {
                if is_last && new.peek().is_none() {
                    return self.compare(&next, &won[from], self.table.units(g), best);
                }
                if from == level {
                    let (base, sum) = two(won, level);
                    pulp::Arch::new().dispatch(Add(base, self.table.units(g), sum));
                    from = level + 1;
                } else {
                    won[from].iter_mut().zip(self.table.units(g)).for_each(|(won, unit)| *won += unit);
                }
            }
            if from == level {
                // nothing new: the choice lies within the others
                let (base, sum) = two(won, level);
                sum.copy_from_slice(base);
            }
            self.descend(&next, won, level + 1, best);
        });
    }

    /// Compares a whole attack with the best. `units` is empty if they are in `won` already.
    fn compare(&self, attack: &Attack, won: &[u16], units: &[u16], best: &mut Found) {
        best.attacks += 1;
        if best.attacks.is_multiple_of(256) && self.watch.is_over() {
            self.is_over.store(true, Ordering::Relaxed);
        }
        let none;
        let units = if units.is_empty() {
            none = vec![0; won.len()];
            &none
        } else {
            units
        };
        let known = self.best.load(Ordering::Relaxed);
        let pass = Finish { table: self.table, won, units, known };
        if let Some(weight) = pulp::Arch::new().dispatch(pass) {
            self.best.fetch_max(weight, Ordering::Relaxed);
            (best.weight, best.controlled) = (weight, attack.controlled.clone());
        }
    }
}

/// A level and the one above it.
fn two(won: &mut [Vec<u16>], level: usize) -> (&[u16], &mut [u16]) {
    let (low, high) = won.split_at_mut(level + 1);
    (&low[level], &mut high[0])
}
