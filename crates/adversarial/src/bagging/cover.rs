//! From controlled sub-classifiers back to the training samples that an attacker changes.

use super::bits;
use crate::{Error, Result};
use std::collections::HashMap;

/// Steps of the exact search, after which only what was found greedily counts.
const MOST_STEPS: u64 = 2_000_000;

/// Up to `budget` training samples whose sub-trainsets hold all of `attack`: what the attacker changes to control these sub-classifiers under any bagging
/// ([`Structure::general`](super::Structure::general) of the same `sub_trainsets`). Ascending, as few as the search finds; `None` if it finds none within the budget. For an attack of a
/// [`Certificate`](super::Certificate) of that budget there is one, which only a search that is too long misses.
///
/// Of samples that lie in the same sub-trainsets the one with the smallest number is named.
///
/// # Errors
/// [`Error::OutOfRange`] for a sub-classifier without a sub-trainset.
pub fn poisoned_samples<S: AsRef<[u32]>>(
    sub_trainsets: &[S],
    attack: &[usize],
    budget: usize,
) -> Result<Option<Vec<u32>>> {
    if let Some(&wrong) = attack.iter().find(|&&sub_classifier| sub_classifier >= sub_trainsets.len()) {
        let what = "a sub-classifier of the attack";
        return Err(Error::out_of_range("poisoned_samples", what, wrong as u64, sub_trainsets.len()));
    }
    let wanted = bits::from_elements(sub_trainsets.len(), attack.iter().copied());
    let mut memberships: HashMap<u32, Vec<u64>> = HashMap::new();
    for sub_classifier in bits::elements(&wanted) {
        for &sample in sub_trainsets[sub_classifier].as_ref() {
            let set = memberships.entry(sample).or_insert_with(|| vec![0; bits::words(sub_trainsets.len())]);
            bits::insert(set, sub_classifier);
        }
    }
    // the largest first, then by content and number: the order decides which of several covers is named
    let mut sets: Vec<(Vec<u64>, u32)> = memberships.into_iter().map(|(sample, set)| (set, sample)).collect();
    sets.sort_unstable_by(|a, b| bits::count(&b.0).cmp(&bits::count(&a.0)).then_with(|| a.cmp(b)));
    sets.dedup_by(|later, first| later.0 == first.0);
    let mut search = Search { sets: &sets, steps: 0 };
    let Some(greedy) = search.greedily(&wanted) else { return Ok(None) };
    for size in 0..greedy.len().min(budget.saturating_add(1)) {
        let mut chosen = Vec::new();
        match search.exactly(&wanted, size, &mut chosen) {
            Some(true) => return Ok(Some(ascending(chosen))),
            Some(false) => {}
            None => break,
        }
    }
    Ok(Some(greedy).filter(|greedy| greedy.len() <= budget).map(ascending))
}

fn ascending(mut samples: Vec<u32>) -> Vec<u32> {
    samples.sort_unstable();
    samples
}

struct Search<'a> {
    sets: &'a [(Vec<u64>, u32)],
    steps: u64,
}

fn without(missing: &[u64], set: &[u64]) -> Vec<u64> {
    missing.iter().zip(set).map(|(missing, set)| missing & !set).collect()
}

impl Search<'_> {
    /// Samples by what each adds; `None` if some sub-trainset has none.
    fn greedily(&self, wanted: &[u64]) -> Option<Vec<u32>> {
        let (mut missing, mut chosen) = (wanted.to_vec(), Vec::new());
        while bits::count(&missing) > 0 {
            let mut best: Option<(u32, usize)> = None;
            for (at, (set, _)) in self.sets.iter().enumerate() {
                let gain = bits::count_and(set, &missing);
                if gain > best.map_or(0, |(most, _)| most) {
                    best = Some((gain, at));
                }
            }
            let (set, sample) = &self.sets[best?.1];
            missing = without(&missing, set);
            chosen.push(*sample);
        }
        Some(chosen)
    }

    /// Whether `size` sets hold all that is missing; `None` if that takes too long.
    fn exactly(&mut self, missing: &[u64], size: usize, chosen: &mut Vec<u32>) -> Option<bool> {
        let Some(first) = bits::elements(missing).next() else { return Some(true) };
        let largest = self.sets.first().map_or(0, |(set, _)| bits::count(set) as usize);
        if size.saturating_mul(largest) < bits::count(missing) as usize {
            return Some(false);
        }
        let sets = self.sets;
        for (set, sample) in sets {
            self.steps += 1;
            if self.steps > MOST_STEPS {
                return None;
            }
            if !bits::contains(set, first) {
                continue;
            }
            chosen.push(*sample);
            match self.exactly(&without(missing, set), size - 1, chosen) {
                Some(false) => {}
                decided => return decided,
            }
            chosen.pop();
        }
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_samples_cover_an_attack() {
        // greedy takes sample 7 for four sub-trainsets, and then needs two more; 1 and 2 do alone
        let sets: [&[u32]; 6] = [&[1, 7], &[1, 7], &[2, 7], &[2, 7], &[1, 8], &[2, 9]];
        for budget in [2, 3, usize::MAX] {
            assert_eq!(poisoned_samples(&sets, &[0, 1, 2, 3, 4, 5], budget).unwrap(), Some(vec![1, 2]));
        }
        assert_eq!(poisoned_samples(&sets, &[0, 1, 2, 3, 4, 5], 1).unwrap(), None);
        assert_eq!(poisoned_samples(&sets, &[4], 1).unwrap(), Some(vec![1]));
        assert_eq!(poisoned_samples(&sets, &[], 0).unwrap(), Some(vec![]));
        assert_eq!(poisoned_samples::<&[u32]>(&[&[], &[3]], &[0, 1], 2).unwrap(), None);
        assert!(poisoned_samples(&sets, &[6], usize::MAX).is_err());
    }
}
