//! Dispatch: tokens sorted by expert, with a capacity above which they are dropped.

use crate::{Error, Result};
use core_tensor::ops::RowGroups;
use core_tensor::rounding::ceil_to_count;
use serde::{Deserialize, Serialize};

/// The largest number of tokens per expert.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Capacity factor in training: each expert takes at most `⌈factor · k · T / E⌉` tokens. `None`, the default, is no limit.
    pub factor: Option<f64>,
    /// Capacity factor in evaluation; `None` by default.
    pub evaluation_factor: Option<f64>,
    /// A lower bound of the limit; 0 by default.
    pub minimum: usize,
    /// Which tokens a full expert keeps; the first ones by default.
    pub priority: Priority,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { factor: None, evaluation_factor: None, minimum: 0, priority: Priority::TokenOrder }
    }
}

/// The order in which an expert accepts tokens. First choices always come before second choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// The order in the batch.
    #[default]
    TokenOrder,
    /// Descending gates (batch prioritised routing, Riquelme et al. 2021).
    Gate,
}

impl Capacity {
    /// The same factor in training and evaluation.
    pub fn of(factor: f64) -> Self {
        Self { factor: Some(factor), evaluation_factor: Some(factor), ..Self::default() }
    }

    /// The largest number of tokens of an expert, `max(minimum, ⌈factor · k · tokens / experts⌉)`; `None` without a limit. The product is exact up to rounding:
    /// a factor of 1.1 gives 11 places for 100 tokens and 10 experts, not 12.
    ///
    /// # Errors
    ///
    /// When the factor is not a finite number above 0.
    pub fn tokens_per_expert(
        &self,
        tokens: usize,
        k: usize,
        experts: usize,
        is_training: bool,
    ) -> Result<Option<usize>> {
        let Some(factor) = (if is_training { self.factor } else { self.evaluation_factor }) else { return Ok(None) };
        if !(factor.is_finite() && factor > 0.) {
            return Err(Error::config("capacity factor", format!("{factor} is not a finite number above 0")));
        }
        let share = factor * k as f64 * tokens as f64 / experts.max(1) as f64;
        Ok(Some(ceil_to_count(share).max(self.minimum)))
    }
}

/// The rows of each expert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// The tokens of each expert, as groups of rows.
    pub groups: RowGroups,
    /// For each choice its position among the rows of all experts; `None` if it was dropped.
    pub places: Vec<Option<u32>>,
    /// The number of tokens of each expert.
    pub counts: Vec<usize>,
    /// The number of dropped choices.
    pub dropped: usize,
}

impl Dispatch {
    /// Sorts the `T · k` choices (token by token, first choices first) by expert with a counting sort, and keeps at most `limit` per expert.
    ///
    /// With `gates`, of the same length, the largest gates are kept ([`Priority::Gate`]), of equal ones the first; without, the order of the tokens decides.
    ///
    /// # Errors
    ///
    /// When an expert is not below `num_experts`, `k` is 0, the number of choices is not a multiple of `k`, `gates` has another length, or a gate is NaN; the
    /// error names its token.
    pub fn new(
        choices: &[u32],
        k: usize,
        num_experts: usize,
        limit: Option<usize>,
        gates: Option<&[f64]>,
    ) -> Result<Self> {
        if k == 0 || !choices.len().is_multiple_of(k) {
            return Err(Error::length(
                "dispatch",
                "choices",
                choices.len(),
                format!("a multiple of k = {k}, which is above 0"),
            ));
        }
        if let Some(&expert) = choices.iter().find(|&&expert| expert as usize >= num_experts) {
            return Err(Error::OutOfRange {
                operation: "dispatch",
                what: "expert",
                index: u64::from(expert),
                bound: num_experts,
            });
        }
        if gates.is_some_and(|gates| gates.len() != choices.len()) {
            let got = gates.map_or(0, <[f64]>::len);
            return Err(Error::length("dispatch", "gates", got, format!("one for each of {} choices", choices.len())));
        }
        if let Some(at) = gates.and_then(|gates| gates.iter().position(|gate| gate.is_nan())) {
            let position = (at / k) as u64;
            return Err(Error::NotFinite { operation: "dispatch", what: "a gate of token", position, got: f64::NAN });
        }
        let tokens = choices.len() / k;
        let limit = limit.unwrap_or(usize::MAX);
        let mut counts = vec![0usize; num_experts];
        let mut places: Vec<Option<u32>> = vec![None; choices.len()];
        let mut order: Vec<usize> = (0..tokens).collect();
        for choice in 0..k {
            if let Some(gates) = gates {
                // adding zero makes both zeros equal
                let gate = |token: usize| gates[token * k + choice] + 0.;
                order.sort_by(|&p, &q| gate(q).total_cmp(&gate(p)).then(p.cmp(&q)));
            }
            for &token in &order {
                let at = token * k + choice;
                let count = &mut counts[choices[at] as usize];
                if *count < limit {
                    places[at] = Some(*count as u32);
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
        for (at, place) in places.iter_mut().enumerate() {
            match place {
                Some(place) => {
                    *place += offsets[choices[at] as usize];
                    rows[*place as usize] = (at / k) as u32;
                }
                None => dropped += 1,
            }
        }
        let groups = RowGroups::new(offsets, rows, tokens)?;
        Ok(Self { groups, places, counts, dropped })
    }
}
