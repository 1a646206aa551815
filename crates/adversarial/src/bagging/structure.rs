//! Which sub-trainsets an attacker touches by changing training samples.

use super::bits;
use crate::error::{check_positive, check_sub_classifiers};
use crate::{Error, Result};
use std::collections::HashMap;

/// Which sets of sub-classifiers an attacker controls with a budget of r.
///
/// A sub-classifier whose sub-trainset is touched is controlled: it may vote anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    num_sub_classifiers: usize,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Hash bagging: up to r sub-classifiers of each block.
    Blocks(Vec<Vec<usize>>),
    /// Any bagging: the union of up to r of these sets, none of which holds another.
    Memberships(Vec<Vec<u64>>),
}

impl Structure {
    /// Hash bagging: a training sample lies in at most one sub-trainset of each block, so that r changed samples touch up to r sub-trainsets of each.
    ///
    /// # Errors
    /// [`Error::Empty`] without sub-classifiers or with an empty block; [`Error::OutOfRange`], [`Error::InvalidData`] unless every one of `0..num_sub_classifiers` is in exactly one
    /// block.
    pub fn hash(num_sub_classifiers: usize, blocks: &[Vec<usize>]) -> Result<Self> {
        const OPERATION: &str = "Structure::hash";
        let invalid = |reason: String| Error::InvalidData { operation: OPERATION, what: "blocks", reason };
        check_positive(OPERATION, &[("sub-classifiers", num_sub_classifiers)])?;
        check_sub_classifiers(OPERATION, num_sub_classifiers)?;
        let mut seen = vec![false; num_sub_classifiers];
        for (at, block) in blocks.iter().enumerate() {
            check_positive(OPERATION, &[("sub-classifiers of a block", block.len())])?;
            for &sub_classifier in block {
                let Some(seen) = seen.get_mut(sub_classifier) else {
                    let what = format!("sub-classifier in block {at}");
                    return Err(Error::out_of_range(OPERATION, what, sub_classifier as u64, num_sub_classifiers));
                };
                if std::mem::replace(seen, true) {
                    return Err(invalid(format!("duplicate sub-classifier {sub_classifier}")));
                }
            }
        }
        match seen.iter().position(|seen| !seen) {
            Some(absent) => Err(invalid(format!("sub-classifier {absent} is in none"))),
            None => Ok(Self { num_sub_classifiers, kind: Kind::Blocks(blocks.to_vec()) }),
        }
    }

    /// Hash bagging with `num_buckets` (Ĝ) sub-trainsets to a block and fewer in the last one: ⌈G / Ĝ⌉ blocks.
    ///
    /// # Errors
    /// [`Error::Empty`] if either number is 0, [`Error::InvalidConfig`] for more than 2²⁴ sub-classifiers.
    pub fn hash_buckets(num_sub_classifiers: usize, num_buckets: usize) -> Result<Self> {
        check_positive("Structure::hash_buckets", &[("buckets", num_buckets)])?;
        check_sub_classifiers("Structure::hash_buckets", num_sub_classifiers)?;
        let all: Vec<usize> = (0..num_sub_classifiers).collect();
        let blocks: Vec<Vec<usize>> = all.chunks(num_buckets).map(<[usize]>::to_vec).collect();
        Self::hash(num_sub_classifiers, &blocks)
    }

    /// Any bagging, from the training samples in each sub-trainset (an index may occur several times): r changed samples touch every sub-trainset that holds one.
    ///
    /// Only distinct and maximal memberships are kept. Cost: their number squared.
    ///
    /// # Errors
    /// [`Error::Empty`] without sub-trainsets.
    pub fn general<S: AsRef<[u32]>>(sub_trainsets: &[S]) -> Result<Self> {
        let num_sub_classifiers = sub_trainsets.len();
        check_positive("Structure::general", &[("sub-trainsets", num_sub_classifiers)])?;
        let mut memberships: HashMap<u32, Vec<u64>> = HashMap::new();
        for (sub_trainset, members) in sub_trainsets.iter().enumerate() {
            for &member in members.as_ref() {
                let set = memberships.entry(member).or_insert_with(|| vec![0; bits::words(num_sub_classifiers)]);
                bits::insert(set, sub_trainset);
            }
        }
        let mut sets: Vec<Vec<u64>> = memberships.into_values().collect();
        sets.sort_unstable_by(|a, b| bits::count(b).cmp(&bits::count(a)).then_with(|| ascending(a, b)));
        sets.dedup();
        let mut maximal: Vec<Vec<u64>> = Vec::new();
        for set in sets {
            let is_within = |larger: &Vec<u64>| larger.iter().zip(&set).all(|(larger, small)| small & !larger == 0);
            if !maximal.iter().any(is_within) {
                maximal.push(set);
            }
        }
        maximal.sort_unstable_by(|a, b| ascending(a, b));
        Ok(Self { num_sub_classifiers, kind: Kind::Memberships(maximal) })
    }

    /// The number of sub-classifiers, G.
    pub fn num_sub_classifiers(&self) -> usize {
        self.num_sub_classifiers
    }

    /// m, the number of blocks of hash bagging; `None` for general bagging.
    pub fn num_blocks(&self) -> Option<usize> {
        match &self.kind {
            Kind::Blocks(blocks) => Some(blocks.len()),
            Kind::Memberships(_) => None,
        }
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Sets of sub-classifiers and, for each, how many of its elements an attacker controls at most.
    pub(crate) fn reach(&self, budget: usize) -> Vec<(Vec<u64>, usize)> {
        match &self.kind {
            Kind::Blocks(blocks) => blocks
                .iter()
                .map(|block| {
                    (bits::from_elements(self.num_sub_classifiers, block.iter().copied()), budget.min(block.len()))
                })
                .collect(),
            Kind::Memberships(sets) => {
                let mut sizes: Vec<u32> = sets.iter().map(|set| bits::count(set)).collect();
                sizes.sort_unstable_by(|a, b| b.cmp(a));
                let most: u32 = sizes.iter().take(budget).sum();
                let all = bits::from_elements(self.num_sub_classifiers, 0..self.num_sub_classifiers);
                vec![(all, (most as usize).min(self.num_sub_classifiers))]
            }
        }
    }

    /// # Errors
    /// [`Error::Budget`] for more than G.
    pub(crate) fn check_budget(&self, budget: usize) -> Result<()> {
        match budget > self.num_sub_classifiers {
            true => Err(Error::Budget { budget, num_sub_classifiers: self.num_sub_classifiers }),
            false => Ok(()),
        }
    }
}

/// The order of bit vectors as numbers.
pub(crate) fn ascending(a: &[u64], b: &[u64]) -> std::cmp::Ordering {
    a.iter().rev().cmp(b.iter().rev())
}

/// What the attacker does to the training samples; [`PoisonBudget::radius`] is the r of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoisonBudget {
    /// Samples that are added.
    pub insertions: usize,
    /// Samples that are removed.
    pub deletions: usize,
    /// Samples that are changed.
    pub modifications: usize,
    /// Whether changes leave alone what is hashed, as flipped labels do if the hash reads features only. Default: false.
    pub keeps_hashed_content: bool,
}

impl PoisonBudget {
    /// Sub-trainsets that are touched in each block of hash bagging: one for an insertion or a deletion; two for a modification, which may move the sample, or one
    /// if it keeps what is hashed.
    pub fn radius(&self) -> usize {
        let per_modification = if self.keeps_hashed_content { 1 } else { 2 };
        let modifications = self.modifications.saturating_mul(per_modification);
        self.insertions.saturating_add(self.deletions).saturating_add(modifications)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_must_hold_each_sub_classifier_once() {
        assert!(matches!(Structure::hash(0, &[]), Err(Error::Empty { .. })));
        assert!(matches!(Structure::hash(1, &[vec![0], vec![]]), Err(Error::Empty { .. })));
        assert!(matches!(Structure::hash(2, &[vec![0, 2]]), Err(Error::OutOfRange { .. })));
        assert!(matches!(Structure::hash(2, &[vec![0, 1], vec![0]]), Err(Error::InvalidData { .. })));
        assert!(matches!(Structure::hash(2, &[vec![0]]), Err(Error::InvalidData { .. })));
        assert!(matches!(Structure::hash_buckets(2, 0), Err(Error::Empty { .. })));
        assert!(matches!(Structure::hash_buckets(usize::MAX, 1), Err(Error::InvalidConfig { .. })));
        assert!(matches!(Structure::hash(usize::MAX, &[vec![0]]), Err(Error::InvalidConfig { .. })));
        assert_eq!(Structure::hash_buckets(5, 2).unwrap().num_blocks(), Some(3));
    }

    #[test]
    fn only_maximal_memberships_are_kept() {
        // sample 1 lies in 0 and 1, sample 2 in 0, sample 3 in 1 and 2, sample 9 nowhere else than 3 does
        let structure = Structure::general(&[vec![1u32, 2, 2], vec![1, 3, 9], vec![3, 9]]).unwrap();
        assert_eq!(structure.kind(), &Kind::Memberships(vec![vec![0b011], vec![0b110]]));
        assert_eq!(structure.reach(1)[0].1, 2);
        assert_eq!(structure.reach(2)[0].1, 3);
    }

    #[test]
    fn modifications_cost_two_unless_the_hash_does_not_see_them() {
        let budget = PoisonBudget { insertions: 1, deletions: 2, modifications: 3, keeps_hashed_content: false };
        assert_eq!(budget.radius(), 9);
        assert_eq!(PoisonBudget { keeps_hashed_content: true, ..budget }.radius(), 6);
    }
}
