//! How few changed training samples control more than half of the votes.

use super::bits;
use super::limits::{Limits, Watch};
use super::structure::{Kind, Structure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The smallest budget that controls more than half of the sub-classifiers, and with them every prediction: the certified robustness there is 0, whatever was learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TolerableBudget {
    /// No smaller budget controls more than half.
    pub lower: usize,
    /// This budget does; equal to `lower` unless the search was cut short.
    pub upper: usize,
    /// What taking the largest gain each time needs; at least `upper`.
    pub greedy: usize,
}

/// The upper bound of the tolerable poison budget:
///
/// ```text
/// r̄ = min |Π|  with  #{g : S_g ∩ Π ≠ ∅} > G / 2        Π: training samples
/// ```
///
/// `None` if no budget controls more than half, as with empty sub-trainsets. For general bagging a partial set cover, solved exactly unless more than `max_nodes` nodes are needed.
pub fn tolerable_budget(structure: &Structure, max_nodes: u64) -> Option<TolerableBudget> {
    search(structure, max_nodes, &Watch::never())
}

/// [`tolerable_budget`] that also stops when the limits say so: then `lower` may be below `upper`, as where the nodes run out.
pub fn tolerable_budget_within(structure: &Structure, max_nodes: u64, limits: &Limits<'_>) -> Option<TolerableBudget> {
    search(structure, max_nodes, &Watch::start(limits))
}

fn search(structure: &Structure, max_nodes: u64, watch: &Watch<'_>) -> Option<TolerableBudget> {
    let wanted = structure.num_sub_classifiers() / 2 + 1;
    match structure.kind() {
        Kind::Blocks(blocks) => {
            let controls =
                |budget: &usize| blocks.iter().map(|block| block.len().min(*budget)).sum::<usize>() >= wanted;
            let exact = (1..=structure.num_sub_classifiers()).find(controls)?;
            Some(TolerableBudget { lower: exact, upper: exact, greedy: exact })
        }
        Kind::Memberships(sets) => {
            let greedy = greedy(sets, wanted as u32)?;
            let upper = by_chance(sets, wanted as u32, greedy, watch);
            let mut search = Search { sets, wanted: wanted as u32, nodes: 0, max_nodes, watch };
            for budget in 1..upper {
                let covered = vec![0; bits::words(structure.num_sub_classifiers())];
                let all: Vec<usize> = (0..sets.len()).collect();
                match search.covers(&covered, &all, budget) {
                    Some(true) => return Some(TolerableBudget { lower: budget, upper: budget, greedy }),
                    Some(false) => {}
                    None => return Some(TolerableBudget { lower: budget, upper, greedy }),
                }
            }
            Some(TolerableBudget { lower: upper, upper, greedy })
        }
    }
}

fn gain(set: &[u64], covered: &[u64]) -> u32 {
    set.iter().zip(covered).map(|(set, covered)| (set & !covered).count_ones()).sum()
}

fn cover(covered: &[u64], set: &[u64]) -> Vec<u64> {
    covered.iter().zip(set).map(|(covered, set)| covered | set).collect()
}

/// How many sets greedy covering takes: the largest gain, the first in ascending order of bit vectors on ties.
fn greedy(sets: &[Vec<u64>], wanted: u32) -> Option<usize> {
    let mut covered = vec![0; sets.first()?.len()];
    let mut count = 0;
    while bits::count(&covered) < wanted {
        let (mut best, mut most) = (None, 0);
        for set in sets {
            let gain = gain(set, &covered);
            if gain > most {
                (best, most) = (Some(set), gain);
            }
        }
        covered = cover(&covered, best?);
        count += 1;
    }
    Some(count)
}

/// The fewest sets of many greedy covers that break ties by chance and sometimes take the second largest gain; at most `known`.
fn by_chance(sets: &[Vec<u64>], wanted: u32, known: usize, watch: &Watch<'_>) -> usize {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut best = known;
    for _ in 0..300 {
        if watch.is_over() {
            break;
        }
        let mut covered = vec![0; sets[0].len()];
        for count in 1..best {
            let slack = u32::from(rng.random_bool(0.3));
            let most = sets.iter().map(|set| gain(set, &covered)).max().unwrap_or_default();
            let good: Vec<&Vec<u64>> = sets.iter().filter(|set| gain(set, &covered) + slack >= most.max(1)).collect();
            let Some(set) = good.get(rng.random_range(0..good.len().max(1))) else { break };
            covered = cover(&covered, set);
            if bits::count(&covered) >= wanted {
                best = count;
                break;
            }
        }
    }
    best
}

struct Search<'a> {
    sets: &'a [Vec<u64>],
    wanted: u32,
    nodes: u64,
    max_nodes: u64,
    watch: &'a Watch<'a>,
}

impl Search<'_> {
    /// Whether `budget` more of these sets cover enough; `None` if that takes too long.
    fn covers(&mut self, covered: &[u64], candidates: &[usize], budget: usize) -> Option<bool> {
        self.nodes += 1;
        if self.nodes > self.max_nodes || self.watch.is_over() {
            return None;
        }
        let missing = self.wanted.saturating_sub(bits::count(covered));
        if missing == 0 {
            return Some(true);
        }
        let mut gains: Vec<(u32, usize)> = candidates
            .iter()
            .map(|&candidate| (gain(&self.sets[candidate], covered), candidate))
            .filter(|&(gain, _)| gain > 0)
            .collect();
        gains.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let order: Vec<usize> = gains.iter().map(|&(_, candidate)| candidate).collect();
        for first in 0..gains.len() {
            // with the largest gains that are left, even if they did not overlap
            let most: u32 = gains[first..].iter().take(budget).map(|(gain, _)| gain).sum();
            if most < missing {
                return Some(false);
            }
            if budget == 1 {
                return Some(true);
            }
            let covered = cover(covered, &self.sets[order[first]]);
            match self.covers(&covered, &order[first + 1..], budget - 1) {
                Some(false) => {}
                decided => return decided,
            }
        }
        Some(false)
    }
}
