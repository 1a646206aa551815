//! From scores to masks: how many entries go, and over what they compete.

use crate::mask::{Mask, Masks, unknown};
use crate::{Error, Result};
use core_tensor::rounding::floor_to_count;
use std::collections::BTreeMap;

/// Scores of the entries of parameters, by name, in row-major order: the smallest are pruned first.
pub type Scores = BTreeMap<String, Vec<f64>>;

/// Over what scores compete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Selection {
    /// Over all layers together.
    Global,
    /// Within each layer.
    Layer,
    /// Within each row (output) of each layer.
    Row,
    /// Of every `m` neighbours in a row `n` are kept, whatever the share that is asked for; the last group of a row may be shorter and keeps at most `n`.
    NOfM {
        /// Kept of each group.
        n: usize,
        /// Size of a group.
        m: usize,
    },
    /// Blocks of this many rows and columns stay or go together, by the sum of their scores, over all layers together; blocks at the edges may be smaller and compete by their mean.
    Blocks {
        /// Rows of a block.
        rows: usize,
        /// Columns of a block.
        columns: usize,
    },
}

/// How the kept share falls from round to round.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Schedule {
    /// Each round removes this share of what is left; 0.2 in the paper.
    Geometric {
        /// ρ.
        rate: f64,
    },
    /// The first round leaves this density.
    OneShot {
        /// What is left.
        density: f64,
    },
    /// `density + (1 − density) (1 − k/rounds)³` after round `k` (Zhu and Gupta 2017).
    Polynomial {
        /// What is left at the end.
        density: f64,
        /// After how many rounds.
        rounds: usize,
    },
}

impl Schedule {
    /// The density after round `round` (0: nothing was pruned yet).
    ///
    /// # Errors
    /// A rate or density outside [0, 1), or no rounds.
    pub fn density(&self, round: usize) -> Result<f64> {
        const OPERATION: &str = "Schedule::density";
        let check = |what: &str, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(Error::value(OPERATION, what, value, "in [0, 1]")),
        };
        match *self {
            Self::Geometric { rate } => {
                check_rate(OPERATION, rate)?;
                Ok((1.0 - rate).powi(i32::try_from(round).unwrap_or(i32::MAX)))
            }
            Self::OneShot { density } => {
                check("density", density)?;
                Ok(if round == 0 { 1.0 } else { density })
            }
            Self::Polynomial { density, rounds } => {
                check("density", density)?;
                if rounds == 0 {
                    return Err(Error::value(OPERATION, "rounds", 0.0, "at least 1"));
                }
                let left = 1.0 - (round as f64 / rounds as f64).min(1.0);
                Ok(density + (1.0 - density) * left.powi(3))
            }
        }
    }
}

fn check_rate(operation: &'static str, rate: f64) -> Result<()> {
    if (0.0..1.0).contains(&rate) {
        return Ok(());
    }
    Err(Error::value(operation, "rate", rate, "in [0, 1)"))
}

fn check_scores(operation: &'static str, scores: &Scores, masks: &Masks) -> Result<()> {
    for (name, mask) in masks.iter() {
        let Some(of_layer) = scores.get(name) else { return Err(unknown(operation, name, scores.keys())) };
        if of_layer.len() != mask.len() {
            return Err(Error::length(operation, format!("the scores of `{name}`"), of_layer.len(), mask.len()));
        }
        if let Some(at) = of_layer.iter().position(|score| !score.is_finite()) {
            let what = format!("score {at} of `{name}`");
            return Err(Error::value(operation, what, of_layer[at], "a finite number"));
        }
    }
    Ok(())
}

/// Rounds half to even, as Python does.
pub(crate) fn round_half_even(x: f64) -> usize {
    let below = x.floor();
    let rest = x - below;
    let up = rest > 0.5 || (rest == 0.5 && below % 2.0 == 1.0);
    below as usize + usize::from(up)
}

/// One round of iterative pruning: of the entries that are kept, those of all layers together, the `round(rate · kept)` with the smallest scores go (halves to even). Equal scores go in the order of
/// layers, then of entries. With `keeps_channels`, a layer keeps its last output at least: its best entry stays.
///
/// # Errors
/// A rate outside [0, 1), scores that are missing, of another length or not finite.
pub fn iterative_round(scores: &Scores, masks: &Masks, rate: f64, keeps_channels: bool) -> Result<Masks> {
    const OPERATION: &str = "iterative_round";
    check_rate(OPERATION, rate)?;
    check_scores(OPERATION, scores, masks)?;
    let count = round_half_even(rate * masks.count() as f64);
    Ok(remove(scores, masks, count, keeps_channels))
}

/// Removes the `count` smallest of what is kept.
fn remove(scores: &Scores, masks: &Masks, count: usize, keeps_channels: bool) -> Masks {
    let mut candidates: Vec<(f64, usize, usize)> = Vec::with_capacity(masks.count());
    let mut guarded = Vec::new();
    for (layer, (name, mask)) in masks.iter().enumerate() {
        let of_layer = &scores[name];
        let kept = || mask.kept().iter().enumerate().filter(|(_, kept)| **kept == 1).map(|(at, _)| at);
        // the entry that would go last
        let best = kept().fold(None, |best: Option<usize>, at| match best {
            Some(best) if of_layer[best] > of_layer[at] => Some(best),
            _ => Some(at),
        });
        guarded.push(if keeps_channels { best } else { None });
        candidates.extend(kept().map(|at| (of_layer[at], layer, at)));
    }
    let order =
        |a: &(f64, usize, usize), b: &(f64, usize, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2));
    candidates.retain(|&(_, layer, at)| guarded[layer] != Some(at));
    let count = count.min(candidates.len());
    if count > 0 && count < candidates.len() {
        candidates.select_nth_unstable_by(count - 1, order);
    }
    let mut kept: Vec<Vec<u8>> = masks.iter().map(|(_, mask)| mask.kept().to_vec()).collect();
    for &(_, layer, at) in &candidates[..count] {
        kept[layer][at] = 0;
    }
    let layers = masks.iter().zip(kept);
    layers
        .map(|((name, mask), kept)| (name.to_owned(), Mask::new(mask.shape(), kept).unwrap_or_else(|_| mask.clone())))
        .collect()
}

/// One-shot magnitude pruning as the official program has it (OMP): what has a score below the ⌊total · rate⌋-th smallest of all layers together goes, which is one entry fewer than a round of
/// [`iterative_round`] takes, and fewer still where scores are equal.
///
/// # Errors
/// As [`iterative_round`].
pub fn one_shot(scores: &Scores, masks: &Masks, rate: f64) -> Result<Masks> {
    const OPERATION: &str = "one_shot";
    check_rate(OPERATION, rate)?;
    check_scores(OPERATION, scores, masks)?;
    let mut all: Vec<f64> = masks.iter().flat_map(|(name, _)| scores[name].iter().copied()).collect();
    let place = floor_to_count(all.len() as f64 * rate);
    if place == 0 {
        return Ok(masks.clone());
    }
    let threshold = *all.select_nth_unstable_by(place - 1, f64::total_cmp).1;
    let masks = masks.iter().map(|(name, mask)| {
        let kept = mask.kept().iter().zip(&scores[name]).map(|(&kept, &score)| kept & u8::from(score >= threshold));
        Ok((name.to_owned(), Mask::new(mask.shape(), kept.collect())?))
    });
    masks.collect()
}

/// Keeps `density` of the entries (of all, those that a mask has pruned already among them), the largest scores first, over what `selection` says.
///
/// # Errors
/// A density outside [0, 1], scores as in [`iterative_round`], groups or blocks of size 0, more kept of a group than it has.
pub fn select(
    scores: &Scores,
    masks: &Masks,
    density: f64,
    selection: Selection,
    keeps_channels: bool,
) -> Result<Masks> {
    const OPERATION: &str = "select";
    if !(0.0..=1.0).contains(&density) {
        return Err(Error::value(OPERATION, "density", density, "in [0, 1]"));
    }
    check_scores(OPERATION, scores, masks)?;
    let goal = |entries: usize| round_half_even(density * entries as f64);
    match selection {
        Selection::Global => {
            let count = masks.count().saturating_sub(goal(masks.num_entries()));
            Ok(remove(scores, masks, count, keeps_channels))
        }
        Selection::Layer => {
            let layers = masks.iter().map(|(name, mask)| {
                let one: Masks = std::iter::once((name.to_owned(), mask.clone())).collect();
                let count = mask.count().saturating_sub(goal(mask.len()));
                let left = remove(scores, &one, count, keeps_channels);
                (name.to_owned(), left.get(name).cloned().unwrap_or_else(|| mask.clone()))
            });
            Ok(layers.collect())
        }
        Selection::Row => by_groups(scores, masks, |_, columns| columns, goal),
        Selection::NOfM { n, m } => {
            if m == 0 || n > m {
                return Err(Error::value(OPERATION, "n of m", n as f64, "at most m, which is at least 1"));
            }
            by_groups(scores, masks, |_, _| m, |size| n.min(size))
        }
        Selection::Blocks { rows, columns } => {
            if rows == 0 || columns == 0 {
                return Err(Error::value(OPERATION, "the extent of a block", 0.0, "at least 1"));
            }
            blocks(scores, masks, goal(masks.num_entries()), rows, columns)
        }
    }
}

/// Keeps the best of each group of neighbours in a row.
fn by_groups(
    scores: &Scores,
    masks: &Masks,
    size: impl Fn(&str, usize) -> usize,
    goal: impl Fn(usize) -> usize,
) -> Result<Masks> {
    let layers = masks.iter().map(|(name, mask)| {
        let columns = mask.columns().max(1);
        let mut kept = mask.kept().to_vec();
        for (row, kept) in kept.chunks_mut(columns).enumerate() {
            let of_row = &scores[name][row * columns..row * columns + kept.len()];
            for (kept, of_group) in kept.chunks_mut(size(name, columns)).zip(of_row.chunks(size(name, columns))) {
                let mut order: Vec<usize> = (0..kept.len()).filter(|&at| kept[at] == 1).collect();
                order.sort_by(|&a, &b| of_group[b].total_cmp(&of_group[a]).then(b.cmp(&a)));
                order.iter().skip(goal(kept.len())).for_each(|&at| kept[at] = 0);
            }
        }
        Ok((name.to_owned(), Mask::new(mask.shape(), kept)?))
    });
    layers.collect()
}

fn blocks(scores: &Scores, masks: &Masks, goal: usize, rows: usize, columns: usize) -> Result<Masks> {
    // mean score, layer, first row, first column
    let mut all = Vec::new();
    for (layer, (name, mask)) in masks.iter().enumerate() {
        let width = mask.columns();
        for row in (0..mask.rows()).step_by(rows) {
            for column in (0..width).step_by(columns) {
                let (mut sum, mut entries) = (0.0, 0);
                for r in row..(row + rows).min(mask.rows()) {
                    for c in column..(column + columns).min(width) {
                        sum += scores[name][r * width + c] * f64::from(mask.kept()[r * width + c]);
                        entries += 1;
                    }
                }
                all.push((sum / f64::from(entries.max(1)), layer, row, column, entries as usize));
            }
        }
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
    let mut kept: Vec<Vec<u8>> = masks.iter().map(|(_, mask)| vec![0; mask.len()]).collect();
    let layers: Vec<(&str, &Mask)> = masks.iter().collect();
    let mut count = 0;
    for (_, layer, row, column, entries) in all {
        if count + entries > goal {
            continue;
        }
        count += entries;
        let mask = layers[layer].1;
        for r in row..(row + rows).min(mask.rows()) {
            for c in column..(column + columns).min(mask.columns()) {
                let at = r * mask.columns() + c;
                kept[layer][at] = mask.kept()[at];
            }
        }
    }
    let masks =
        layers.iter().zip(kept).map(|((name, mask), kept)| Ok(((*name).to_owned(), Mask::new(mask.shape(), kept)?)));
    masks.collect()
}
