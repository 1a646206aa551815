//! Which training samples go into which sub-trainset.

use super::structure::Structure;
use crate::error::{check_positive, check_sub_classifiers};
use crate::{Error, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A training sample as its hash sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The bytes of the features, without the label.
    pub content: &'a [u8],
    /// The label.
    pub label: u16,
}

/// Hash bagging's sub-trainsets: m = ⌈G / Ĝ⌉ hash functions, each with Ĝ buckets.
///
/// For hash function t a sample goes to sub-trainset `t Ĝ + H(content, t) mod Ĝ`, if there are that many. Where it goes depends on its own content alone, so that
/// adding or removing samples moves no other.
#[derive(Debug, Clone, Copy)]
pub struct HashPartitioner {
    num_sub_classifiers: usize,
    num_buckets: usize,
    hash: fn(&[u8], usize) -> u64,
    hashes_label: bool,
}

impl HashPartitioner {
    /// G sub-trainsets, Ĝ = `num_buckets` to a hash function: each holds about one part in Ĝ of the training samples. The hash is FNV-1a with 64 bits of the features, followed by `#` and the
    /// decimal number of the hash function.
    ///
    /// # Errors
    /// [`Error::Empty`] if either number is 0, [`Error::InvalidConfig`] for more than 2²⁴ sub-classifiers.
    pub fn new(num_sub_classifiers: usize, num_buckets: usize) -> Result<Self> {
        check_positive("HashPartitioner::new", &[("sub-classifiers", num_sub_classifiers), ("buckets", num_buckets)])?;
        check_sub_classifiers("HashPartitioner::new", num_sub_classifiers)?;
        Ok(Self { num_sub_classifiers, num_buckets, hash: fnv_1a, hashes_label: false })
    }

    /// Another hash of the content and the number of the hash function. The certificate does not need a cryptographic one: it assumes already that an attacker chooses the buckets.
    #[must_use]
    pub fn with_hash(self, hash: fn(&[u8], usize) -> u64) -> Self {
        Self { hash, ..self }
    }

    /// Whether the label belongs to the content: two bytes, little endian, after the features. Default: it does not, so that a flipped label stays where it was and costs 1 instead of 2.
    #[must_use]
    pub fn with_label(self, hashes_label: bool) -> Self {
        Self { hashes_label, ..self }
    }

    /// What the certificate needs to know.
    ///
    /// # Errors
    /// None for a partitioner that exists.
    pub fn structure(&self) -> Result<Structure> {
        Structure::hash_buckets(self.num_sub_classifiers, self.num_buckets)
    }

    /// The sub-trainsets of one sample, at most one for each hash function.
    pub fn assign(&self, record: &Record<'_>) -> Vec<usize> {
        let with_label: Vec<u8>;
        let content = if self.hashes_label {
            with_label = [record.content, &record.label.to_le_bytes()].concat();
            &with_label
        } else {
            record.content
        };
        (0..self.num_sub_classifiers.div_ceil(self.num_buckets))
            .map(|t| t * self.num_buckets + ((self.hash)(content, t) % self.num_buckets as u64) as usize)
            .filter(|&sub_trainset| sub_trainset < self.num_sub_classifiers)
            .collect()
    }

    /// The sub-trainsets of all samples. Members are in the order of label and content, so that training depends on the set alone and not on where a sample stood.
    pub fn partition(&self, records: &[Record<'_>]) -> SubTrainsets {
        let mut members = vec![Vec::new(); self.num_sub_classifiers];
        let mut order: Vec<u32> = (0..records.len() as u32).collect();
        let key = |&at: &u32| {
            let record = &records[at as usize];
            (record.label, record.content)
        };
        order.sort_by(|a, b| key(a).cmp(&key(b)));
        for at in order {
            for sub_trainset in self.assign(&records[at as usize]) {
                members[sub_trainset].push(at);
            }
        }
        SubTrainsets { members }
    }
}

/// FNV-1a with 64 bits of the content, followed by `#` and the decimal number of the hash function.
pub fn fnv_1a(content: &[u8], function: usize) -> u64 {
    let name = format!("#{function}");
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    content.iter().chain(name.as_bytes()).fold(0xcbf2_9ce4_8422_2325, step)
}

/// Indices of training samples in each sub-trainset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubTrainsets {
    /// `[num_sub_classifiers]` lists.
    pub members: Vec<Vec<u32>>,
}

impl SubTrainsets {
    /// The structure of general bagging with these memberships. For [`HashPartitioner`] take its own structure: these memberships say nothing of inserted samples.
    ///
    /// # Errors
    /// As [`Structure::general`].
    pub fn general_structure(&self) -> Result<Structure> {
        Structure::general(&self.members)
    }
}

/// Vanilla bagging's sub-trainsets: `size` (K) indices each, drawn uniformly from `0..num_training`, with or without replacement.
///
/// # Errors
/// [`Error::Empty`] without sub-classifiers, samples or size; [`Error::InvalidConfig`] for a size above the number of samples without replacement, 2³² samples or more,
/// and more than 2³⁶ draws.
pub fn vanilla_sub_trainsets(
    num_sub_classifiers: usize,
    size: usize,
    num_training: usize,
    with_replacement: bool,
    seed: u64,
) -> Result<SubTrainsets> {
    const OPERATION: &str = "vanilla_sub_trainsets";
    check_positive(
        OPERATION,
        &[("sub-classifiers", num_sub_classifiers), ("samples of a sub-trainset", size), ("samples", num_training)],
    )?;
    if !with_replacement && size > num_training {
        let reason = format!("is {size}, expected at most {num_training} without replacement");
        return Err(Error::config(OPERATION, "size", reason));
    }
    if num_training > u32::MAX as usize {
        let reason = format!("is {num_training}, expected at most {}: members are 32-bit numbers", u32::MAX);
        return Err(Error::config(OPERATION, "num_training", reason));
    }
    if num_sub_classifiers.checked_mul(size).is_none_or(|draws| draws > 1 << 36) {
        let reason = format!("is {size}: {num_sub_classifiers} sub-trainsets of it are more draws than 2^36");
        return Err(Error::config(OPERATION, "size", reason));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let members = (0..num_sub_classifiers).map(|_| match with_replacement {
        true => (0..size).map(|_| rng.random_range(0..num_training as u32)).collect(),
        false => rand::seq::index::sample(&mut rng, num_training, size).into_iter().map(|at| at as u32).collect(),
    });
    Ok(SubTrainsets { members: members.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_is_the_published_function() {
        // from the reference vectors of FNV-1a: "" and "a"
        let raw = |bytes: &[u8]| {
            bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
        };
        assert_eq!((raw(b""), raw(b"a")), (0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c));
        assert_eq!(fnv_1a(b"a", 12), raw(b"a#12"));
    }

    #[test]
    fn inserting_a_sample_moves_no_other() {
        let contents: Vec<[u8; 4]> = (0..200u32).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let records: Vec<Record<'_>> =
            contents.iter().enumerate().map(|(i, c)| Record { content: c, label: (i % 3) as u16 }).collect();
        let partitioner = HashPartitioner::new(10, 4).unwrap();
        let (few, all) = (partitioner.partition(&records[1..]), partitioner.partition(&records));
        for (few, all) in few.members.iter().zip(&all.members) {
            let without: Vec<u32> = all.iter().filter(|&&at| at != 0).map(|at| at - 1).collect();
            assert_eq!(few, &without);
        }
        // two whole blocks hold every sample once, the third about half of them
        let size = |range: std::ops::Range<usize>| all.members[range].iter().map(Vec::len).sum::<usize>();
        assert_eq!((size(0..4), size(4..8)), (200, 200));
        assert!((60..140).contains(&size(8..10)));
        assert_ne!(all.members[0], all.members[4], "hash functions differ");
    }

    #[test]
    fn draws_follow_the_seed() {
        let draw = |seed| vanilla_sub_trainsets(3, 50, 100, true, seed).unwrap();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let mut once = vanilla_sub_trainsets(1, 100, 100, false, 0).unwrap().members.remove(0);
        once.sort_unstable();
        assert_eq!(once, (0..100).collect::<Vec<u32>>());
        assert!(vanilla_sub_trainsets(1, 101, 100, false, 0).is_err());
        for (sets, size, samples) in [(1, 1, 1 << 32), (1, 1, usize::MAX), (1, usize::MAX, 9), (usize::MAX, 2, 9)] {
            assert!(vanilla_sub_trainsets(sets, size, samples, true, 0).is_err(), "{sets} {size} {samples}");
        }
        assert!(HashPartitioner::new(usize::MAX, 3).is_err() && HashPartitioner::new(3, usize::MAX).is_ok());
    }
}
