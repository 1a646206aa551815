//! Hash routing: the expert is a function of the token's id.

use super::{Assignment, Router, Tokens, check_choice};
use crate::{Error, Mode, Result};
use core_tensor::random::Rng;
use serde::{Deserialize, Serialize};

/// How ids are spread over experts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashConfig {
    /// `id mod E`, for any id.
    #[default]
    Modulo,
    /// A random expert for each id below `vocabulary`.
    Random {
        /// Number of ids.
        vocabulary: usize,
        /// Seed of the table.
        seed: u64,
    },
    /// The most frequent id to the expert with the least work so far, by the number of occurrences of each id.
    Balanced {
        /// Occurrences of each id, in the training data.
        frequencies: Vec<u64>,
    },
}

/// A router without parameters and with gate 1. It needs the ids of the tokens.
#[derive(Debug, Clone)]
pub struct Hash {
    num_experts: usize,
    table: Option<Vec<u32>>,
}

impl Hash {
    /// A router over `num_experts` experts.
    ///
    /// # Errors
    ///
    /// When there is no expert.
    pub fn new(num_experts: usize, config: &HashConfig) -> Result<Self> {
        check_choice(num_experts, 1)?;
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
                // ties by the number of ids, so that unseen ids are spread too
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
        Ok(Self { num_experts, table })
    }

    /// The expert of an id.
    ///
    /// # Errors
    ///
    /// When the table does not hold the id.
    pub fn expert(&self, id: u32) -> Result<u32> {
        match &self.table {
            None => Ok(id % self.num_experts as u32),
            Some(table) => {
                let (index, len) = (u64::from(id), table.len());
                let error = Error::OutOfRange { operation: "hash router", what: "token id", index, len };
                table.get(id as usize).copied().ok_or(error)
            }
        }
    }
}

impl Router for Hash {
    fn num_experts(&self) -> usize {
        self.num_experts
    }

    fn experts_per_token(&self) -> usize {
        1
    }

    fn route(&self, tokens: &Tokens<'_>, _mode: &mut Mode<'_>) -> Result<Assignment> {
        let count = tokens.x.dim(0)?;
        let Some(ids) = tokens.ids.filter(|ids| ids.len() == count) else {
            let given = tokens.ids.map_or("none".to_owned(), |ids| ids.len().to_string());
            return Err(Error::options("the ids of a hash router", format!("{given} for {count} tokens")));
        };
        let experts = ids.iter().map(|&id| self.expert(id)).collect::<Result<_>>()?;
        Ok(Assignment { experts, k: 1, gates: None, auxiliary_loss: None, policy: None })
    }
}
