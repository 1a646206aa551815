//! From chosen experts to groups of tokens: sorting, capacity, and what is dropped.

use crate::{Error, Result};
use core_tensor::ops::RowGroups;
use serde::{Deserialize, Serialize};

/// How many tokens an expert takes at most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// In training, `⌈factor · k · T / E⌉` tokens for each expert; `None` (the default) drops nothing.
    pub factor: Option<f64>,
    /// The same in evaluation; `None` by default.
    pub evaluation_factor: Option<f64>,
    /// At least this many in any case; 0 by default.
    pub minimum: usize,
    /// Who gets the places of a full expert.
    pub priority: Priority,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { factor: None, evaluation_factor: None, minimum: 0, priority: Priority::TokenOrder }
    }
}

/// The order in which tokens take the places of an expert. First choices come before second ones in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// As the tokens stand in the batch.
    #[default]
    TokenOrder,
    /// The largest gate first (batch prioritised routing, Riquelme et al. 2021).
    Gate,
}

impl Capacity {
    /// The same factor in training and evaluation.
    pub fn of(factor: f64) -> Self {
        Self { factor: Some(factor), evaluation_factor: Some(factor), ..Self::default() }
    }

    /// The number of places of an expert; `None` without a limit.
    ///
    /// # Errors
    ///
    /// When the factor is not a finite number above 0.
    pub fn places(&self, tokens: usize, k: usize, experts: usize, is_training: bool) -> Result<Option<usize>> {
        let Some(factor) = (if is_training { self.factor } else { self.evaluation_factor }) else { return Ok(None) };
        if !(factor.is_finite() && factor > 0.) {
            return Err(Error::options("capacity factor", format!("{factor} is not a finite number above 0")));
        }
        let share = factor * k as f64 * tokens as f64 / experts.max(1) as f64;
        Ok(Some((share.ceil() as usize).max(self.minimum)))
    }
}

/// Which token goes where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// The tokens of each expert.
    pub groups: RowGroups,
    /// For each token and choice its place among the rows of all experts; `None` where it was dropped.
    pub places: Vec<Option<u32>>,
    /// How many tokens each expert got.
    pub counts: Vec<usize>,
    /// How many choices were dropped.
    pub dropped: usize,
}

impl Dispatch {
    /// Sorts the `T · k` choices (token by token, first choices first) by expert, keeping at most `places` for each; a counting sort.
    ///
    /// `gates`, of the same length, decides with [`Priority::Gate`] who stays; without it, or with a NaN, the order of the tokens does.
    ///
    /// # Errors
    ///
    /// When an expert is not below `num_experts`, or the number of choices is not a multiple of `k ≥ 1`.
    pub fn new(
        choices: &[u32],
        k: usize,
        num_experts: usize,
        places: Option<usize>,
        gates: Option<&[f64]>,
    ) -> Result<Self> {
        if k == 0 || !choices.len().is_multiple_of(k) {
            return Err(Error::options("k", format!("{} choices are not {k} for each token", choices.len())));
        }
        if let Some(&expert) = choices.iter().find(|&&expert| expert as usize >= num_experts) {
            return Err(Error::OutOfRange {
                operation: "dispatch",
                what: "expert",
                index: u64::from(expert),
                len: num_experts,
            });
        }
        if gates.is_some_and(|gates| gates.len() != choices.len()) {
            return Err(Error::options("gates", "there must be one for each choice"));
        }
        let tokens = choices.len() / k;
        let limit = places.unwrap_or(usize::MAX);
        let mut counts = vec![0usize; num_experts];
        let mut slots: Vec<Option<u32>> = vec![None; choices.len()];
        let mut order: Vec<usize> = (0..tokens).collect();
        for choice in 0..k {
            if let Some(gates) = gates {
                order.sort_by(|&p, &q| {
                    gates[q * k + choice].partial_cmp(&gates[p * k + choice]).unwrap_or(p.cmp(&q)).then(p.cmp(&q))
                });
            }
            for &token in &order {
                let at = token * k + choice;
                let count = &mut counts[choices[at] as usize];
                if *count < limit {
                    slots[at] = Some(*count as u32);
                    *count += 1;
                }
            }
        }
        let mut offsets = Vec::with_capacity(num_experts + 1);
        offsets.push(0u32);
        let mut end = 0u32;
        for &count in &counts {
            end += count as u32;
            offsets.push(end);
        }
        let mut rows = vec![0u32; end as usize];
        let mut dropped = 0;
        for (at, slot) in slots.iter_mut().enumerate() {
            match slot {
                Some(slot) => {
                    *slot += offsets[choices[at] as usize];
                    rows[*slot as usize] = (at / k) as u32;
                }
                None => dropped += 1,
            }
        }
        let groups = RowGroups::new(offsets, rows, tokens)?;
        Ok(Self { groups, places: slots, counts, dropped })
    }

    /// The position of a kept choice inside its expert's places.
    pub fn slot(&self, choice: usize, expert: u32) -> Option<u32> {
        let place = (*self.places.get(choice)?)?;
        place.checked_sub(*self.groups.offsets().get(expert as usize)?)
    }
}
