//! Hash routing: the expert is a function of the token's id.

use super::assignment::{Assignment, Router, Tokens};
use super::logits::check_choice;
use crate::{Error, Mode, Result};
use core_tensor::random::Rng;
use serde::{Deserialize, Serialize};

/// The table of [`Hash`](struct@Hash): the expert of each id.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashConfig {
    /// `id mod E`, for any id.
    #[default]
    Modulo,
    /// A random expert for each id below `vocabulary`.
    Random {
        /// The number of ids.
        vocabulary: usize,
        /// Seed of the table.
        seed: u64,
    },
    /// Ids in descending order of frequency, each to the expert with the fewest occurrences so far.
    Balanced {
        /// The number of occurrences of each id in the training data.
        frequencies: Vec<u64>,
    },
}

/// Hash routing (Roller et al. 2021): the expert depends on the token's id only. It has no parameters, and its gate is 1.
#[derive(Debug, Clone)]
pub struct Hash {
    num_experts: usize,
    table: Option<Vec<u32>>,
}

/// A [`Hash`](struct@Hash) router.
///
/// # Errors
///
/// When there is no expert, or a vocabulary has more than 2³² ids.
pub fn hash(num_experts: usize, config: &HashConfig) -> Result<Hash> {
    check_choice(num_experts, 1)?;
    let ids = match config {
        HashConfig::Random { vocabulary, .. } => *vocabulary,
        _ => 0,
    };
    if ids as u64 > 1 << 32 {
        return Err(Error::config("vocabulary", format!("{ids} is more than the 2^32 different ids")));
    }
    let table = match config {
        HashConfig::Modulo => None,
        HashConfig::Random { vocabulary, seed } => {
            let mut rng = Rng::new(*seed);
            Some((0..*vocabulary).map(|_| rng.below(num_experts) as u32).collect())
        }
        HashConfig::Balanced { frequencies } => {
            let mut order: Vec<usize> = (0..frequencies.len()).collect();
            order.sort_by_key(|&id| (std::cmp::Reverse(frequencies[id]), id));
            let mut table = vec![0u32; frequencies.len()];
            // ties are broken by the number of ids, which spreads ids that do not occur
            let mut loads = vec![(0u64, 0u64); num_experts];
            for id in order {
                let least = (0..num_experts).min_by_key(|&expert| (loads[expert], expert)).unwrap_or(0);
                loads[least].0 += frequencies[id];
                loads[least].1 += 1;
                table[id] = least as u32;
            }
            Some(table)
        }
    };
    Ok(Hash { num_experts, table })
}

impl Hash {
    /// The expert of an id.
    ///
    /// # Errors
    ///
    /// When the id is not in the table.
    pub fn expert(&self, id: u32) -> Result<u32> {
        match &self.table {
            None => Ok(id % self.num_experts as u32),
            Some(table) => {
                let (index, bound) = (u64::from(id), table.len());
                let error = Error::OutOfRange { operation: "hash", what: "token id", index, bound };
                table.get(id as usize).copied().ok_or(error)
            }
        }
    }
}

impl Router for Hash {
    fn num_experts(&self) -> usize {
        self.num_experts
    }

    fn route(&self, tokens: &Tokens<'_>, _mode: &mut Mode<'_>) -> Result<Assignment> {
        let count = tokens.x.dim(0)?;
        let Some(ids) = tokens.ids.filter(|ids| ids.len() == count) else {
            let got = tokens.ids.map_or(0, <[u32]>::len);
            return Err(Error::length("hash", "ids", got, format!("one for each of {count} tokens")));
        };
        let experts = ids.iter().map(|&id| self.expert(id)).collect::<Result<_>>()?;
        Ok(Assignment { experts, k: 1, gates: None, auxiliary_loss: None, policy: None })
    }
}
