//! Good attacks: greedy growth with exchanges.

use super::super::bits;
use super::super::limits::{Limits, Watch};
use super::super::problem::Problem;
use super::super::structure::Kind;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// What an attacker chooses from: each choice controls a set of sub-classifiers and counts in one group, and each group has a budget.
pub(crate) struct Choices {
    /// `[choices, words]`
    pub(crate) sets: Vec<u64>,
    pub(crate) groups: Vec<usize>,
    pub(crate) budgets: Vec<usize>,
    pub(crate) words: usize,
}

impl Choices {
    pub(crate) fn new(problem: &Problem) -> Self {
        let num_sub_classifiers = problem.num_sub_classifiers();
        let words = problem.words;
        match problem.structure.kind() {
            Kind::Blocks(blocks) => {
                let mut all = Self { sets: Vec::new(), groups: Vec::new(), budgets: Vec::new(), words };
                for (group, block) in blocks.iter().enumerate() {
                    all.budgets.push(problem.budget.min(block.len()));
                    for &sub_classifier in block {
                        all.sets.extend(bits::from_elements(num_sub_classifiers, [sub_classifier]));
                        all.groups.push(group);
                    }
                }
                all
            }
            Kind::Memberships(sets) => Self {
                sets: sets.concat(),
                groups: vec![0; sets.len()],
                budgets: vec![problem.budget.min(sets.len())],
                words,
            },
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(crate) fn set(&self, choice: usize) -> &[u64] {
        &self.sets[choice * self.words..][..self.words]
    }

    fn union(&self, chosen: &[usize]) -> Vec<u64> {
        let mut union = vec![0; self.words];
        for &choice in chosen {
            union.iter_mut().zip(self.set(choice)).for_each(|(union, set)| *union |= set);
        }
        union
    }
}

/// Weight changed so far first, then how near the columns are that are not changed yet.
fn merit(problem: &Problem, controlled: &[u64]) -> (u64, f64) {
    struct Pass<'a>(&'a Problem, &'a [u64]);
    impl pulp::WithSimd for Pass<'_> {
        type Output = (u64, f64);
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) -> (u64, f64) {
            let Pass(problem, controlled) = self;
            let size = bits::count(controlled);
            let (mut changed, mut near) = (0, 0.);
            for column in &problem.columns {
                let mut share = 0f64;
                for row in column.rows.clone() {
                    let (predicted, class) = problem.voters(row);
                    let won = size + bits::count_and(controlled, predicted) - bits::count_and(controlled, class);
                    share = share.max(f64::from(won) / f64::from(problem.gaps[row]));
                }
                changed += if share >= 1. { column.weight } else { 0 };
                // a column nearly changed is worth more than two half changed
                near += column.weight as f64 * share.min(1.).powi(3);
            }
            (changed, near)
        }
    }
    pulp::Arch::new().dispatch(Pass(problem, controlled))
}

fn better(a: (u64, f64), b: (u64, f64)) -> bool {
    a.0 > b.0 || (a.0 == b.0 && a.1 > b.1)
}

/// An attack within the budget: controlled sub-classifiers as bits. Deterministic unless the time runs out.
pub(crate) fn search(problem: &Problem, limits: &Limits<'_>) -> Vec<u64> {
    let watch = Watch::start(limits);
    let choices = Choices::new(problem);
    let mut best = vec![0; problem.words];
    let mut best_weight = problem.changed_by(&best);
    let mut keep = |controlled: Vec<u64>| {
        let weight = problem.changed_by(&controlled);
        if weight > best_weight {
            (best, best_weight) = (controlled, weight);
        }
    };
    if let Some(start) = limits.start
        && let Some(controlled) = allowed(problem, &choices, start)
    {
        keep(controlled);
    }
    // about a tenth of a second of evaluations, shared by at most this many starts
    let mut effort = 3e8 / (1 + problem.gaps.len() * problem.words) as f64;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    for start in 0..6 {
        if start > 0 && (effort <= 0. || watch.is_over()) {
            break;
        }
        keep(climb(problem, &choices, (start > 0).then_some(&mut rng), &mut effort, &watch));
    }
    best
}

/// The bits of a known attack, if the budget allows it.
fn allowed(problem: &Problem, choices: &Choices, start: &[usize]) -> Option<Vec<u64>> {
    if start.iter().any(|&sub_classifier| sub_classifier >= problem.num_sub_classifiers()) {
        return None;
    }
    let controlled = bits::from_elements(problem.num_sub_classifiers(), start.iter().copied());
    match problem.structure.kind() {
        Kind::Blocks(blocks) => {
            let within = |(block, &budget): (&Vec<usize>, &usize)| {
                block.iter().filter(|&&sub_classifier| bits::contains(&controlled, sub_classifier)).count() <= budget
            };
            blocks.iter().zip(&choices.budgets).all(within).then_some(controlled)
        }
        // a union of that many sets: found by taking what adds most of it
        Kind::Memberships(_) => {
            let mut missing = controlled.clone();
            for _ in 0..choices.budgets[0] {
                let within =
                    |&choice: &usize| choices.set(choice).iter().zip(&controlled).all(|(set, all)| set & !all == 0);
                let best = (0..choices.len()).filter(within).max_by_key(|&c| bits::count_and(choices.set(c), &missing));
                let Some(best) = best else { break };
                missing.iter_mut().zip(choices.set(best)).for_each(|(missing, set)| *missing &= !set);
            }
            (bits::count(&missing) == 0).then_some(controlled)
        }
    }
}

fn climb(
    problem: &Problem,
    choices: &Choices,
    rng: Option<&mut ChaCha8Rng>,
    effort: &mut f64,
    watch: &Watch<'_>,
) -> Vec<u64> {
    let mut left = choices.budgets.clone();
    let mut chosen: Vec<usize> = Vec::new();
    let mut controlled = vec![0; problem.words];
    let mut order: Vec<usize> = (0..choices.len()).collect();
    if let Some(rng) = rng {
        // half of the attack by chance, the rest greedily
        order.shuffle(rng);
        for &choice in &order {
            let group = choices.groups[choice];
            if left[group] > choices.budgets[group] / 2 {
                left[group] -= 1;
                chosen.push(choice);
            }
        }
        controlled = choices.union(&chosen);
    }
    // of very many choices, as general bagging has, only the largest are looked at
    let total: usize = choices.budgets.iter().sum();
    let room = (*effort / (2 * total + 1) as f64).max(64.) as usize;
    if order.len() > room {
        order.sort_by_key(|&choice| std::cmp::Reverse(bits::count(choices.set(choice))));
        order.truncate(room);
    }
    let with = |controlled: &[u64], choice: usize| -> Vec<u64> {
        controlled.iter().zip(choices.set(choice)).map(|(a, b)| a | b).collect()
    };
    loop {
        let mut best: Option<(usize, (u64, f64))> = None;
        for &choice in &order {
            if left[choices.groups[choice]] == 0 || chosen.contains(&choice) {
                continue;
            }
            let value = merit(problem, &with(&controlled, choice));
            *effort -= 1.;
            if best.is_none_or(|(_, most)| better(value, most)) {
                best = Some((choice, value));
            }
        }
        let Some((choice, _)) = best else { break };
        left[choices.groups[choice]] -= 1;
        chosen.push(choice);
        controlled = with(&controlled, choice);
        if watch.is_over() {
            break;
        }
    }
    // exchanges of one choice for another of its group while they help
    let mut value = merit(problem, &controlled);
    let mut has_improved = true;
    while has_improved && *effort > 0. && !watch.is_over() {
        has_improved = false;
        for at in 0..chosen.len() {
            let out = chosen[at];
            let mut rest = chosen.clone();
            rest.swap_remove(at);
            let base = choices.union(&rest);
            for &choice in &order {
                if choices.groups[choice] != choices.groups[out] || chosen.contains(&choice) {
                    continue;
                }
                let candidate = with(&base, choice);
                let new = merit(problem, &candidate);
                *effort -= 1.;
                if better(new, value) {
                    (value, controlled, has_improved) = (new, candidate, true);
                    chosen[at] = choice;
                }
            }
            if *effort <= 0. || watch.is_over() {
                break;
            }
        }
    }
    controlled
}
