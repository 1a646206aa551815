//! Head classes with many labels and tail classes with few.

use crate::loader::Split;
use crate::{Error, Result};
use core_tensor::random::Rng;
use core_tensor::rounding::floor_to_count;

/// Step imbalance: head classes have `ratio` times as many labelled nodes as tail classes.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StepImbalance {
    /// The share of all nodes that is labelled.
    pub label_ratio: f64,
    /// Labels of a head class for each of a tail class.
    pub ratio: f64,
    /// The head classes; empty: the first ⌊classes / 2⌋.
    pub heads: Vec<u32>,
    /// Validation nodes of each class; 30.
    pub validation: usize,
}

impl StepImbalance {
    /// The first half of the classes as heads, 30 validation nodes of each class.
    pub fn new(label_ratio: f64, ratio: f64) -> Self {
        Self { label_ratio, ratio, heads: Vec::new(), validation: 30 }
    }

    /// Labelled nodes of each class: `base = ⌊nodes · label_ratio / (tails + heads · ratio)⌋` of a tail class, `⌊base · ratio⌋` of a head class. `base` may be 0.
    ///
    /// # Errors
    /// Shares or ratios out of range, or head classes that do not exist or are named twice.
    ///
    /// ```
    /// use gnn::imbalance::StepImbalance;
    /// assert_eq!(StepImbalance::new(0.05, 10.0).counts(2708, 7)?, [30, 30, 30, 3, 3, 3, 3]);
    /// # Ok::<(), gnn::Error>(())
    /// ```
    pub fn counts(&self, nodes: usize, classes: usize) -> Result<Vec<usize>> {
        if !(0.0..=1.0).contains(&self.label_ratio) {
            let (got, expected) = (self.label_ratio.to_string(), "a share in [0, 1]");
            return Err(Error::InvalidConfig { what: "label_ratio", got, expected });
        }
        if !(self.ratio.is_finite() && self.ratio >= 1.0) {
            let (got, expected) = (self.ratio.to_string(), "a finite number of 1 or more");
            return Err(Error::InvalidConfig { what: "ratio of the imbalance", got, expected });
        }
        let mut is_head = vec![false; classes];
        if self.heads.is_empty() {
            is_head[..classes / 2].fill(true);
        }
        for (position, &head) in self.heads.iter().enumerate() {
            match is_head.get_mut(head as usize) {
                Some(is_head) if !*is_head => *is_head = true,
                Some(_) => {
                    return Err(Error::invalid_data("StepImbalance::counts", format!("class {head} is a head twice")));
                }
                None => {
                    let (operation, what) = ("StepImbalance::counts", "heads");
                    let (index, bound) = (u64::from(head), classes);
                    return Err(Error::OutOfRange { operation, what, position, index, bound });
                }
            }
        }
        let heads = is_head.iter().filter(|&&is_head| is_head).count();
        let shares = (classes - heads) as f64 + heads as f64 * self.ratio;
        let base = if classes == 0 { 0 } else { floor_to_count(nodes as f64 * self.label_ratio / shares) };
        let of_head = floor_to_count(base as f64 * self.ratio);
        Ok(is_head.into_iter().map(|is_head| if is_head { of_head } else { base }).collect())
    }

    /// Draws a split: labelled nodes by [`StepImbalance::counts`], validation nodes of each class, and the rest for the test.
    ///
    /// # Errors
    /// As [`StepImbalance::counts`]; a class that is not below `classes`; a training set in which a class has no node (`base` is 0), which the public program returns without a word; a class with fewer
    /// nodes than training and validation take.
    pub fn sample(&self, labels: &[u32], classes: usize, rng: &mut Rng) -> Result<Split> {
        const OPERATION: &str = "StepImbalance::sample";
        let counts = self.counts(labels.len(), classes)?;
        if let Some(position) = labels.iter().position(|&label| label as usize >= classes) {
            let (index, bound) = (u64::from(labels[position]), classes);
            return Err(Error::OutOfRange { operation: OPERATION, what: "labels", position, index, bound });
        }
        if let Some(class) = counts.iter().position(|&count| count == 0) {
            let reason = format!(
                "class {class} would have no labelled node: {} of {} nodes at {}:1 leave less than one for a tail class",
                self.label_ratio,
                labels.len(),
                self.ratio
            );
            return Err(Error::invalid_data(OPERATION, reason));
        }
        let (mut train, mut validation, mut test) = (Vec::new(), Vec::new(), Vec::new());
        let order = rng.permutation(labels.len());
        for (class, &count) in counts.iter().enumerate() {
            let members: Vec<u32> =
                order.iter().copied().filter(|&node| labels[node as usize] as usize == class).collect();
            let taken = count + self.validation;
            if members.len() < taken {
                let reason = format!("class {class} has {} nodes, and {taken} are to be drawn", members.len());
                return Err(Error::invalid_data(OPERATION, reason));
            }
            train.extend_from_slice(&members[..count]);
            validation.extend_from_slice(&members[count..taken]);
            test.extend_from_slice(&members[taken..]);
        }
        for set in [&mut train, &mut validation, &mut test] {
            set.sort_unstable();
        }
        Ok(Split { train, validation, test })
    }
}
