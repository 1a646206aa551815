//! A training that was interrupted.

use super::settings::EpochRecord;
use crate::{Error, Result};
use core_tensor::checkpoint::{Checkpoint, Section};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::{BestState, Trainer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// What a training knows beside networks and optimisers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// What was trained, and how: a checkpoint of anything else is refused.
    pub(super) what: String,
    /// Epochs that are done.
    pub(super) epoch: usize,
    pub(super) labels: Vec<u32>,
    /// Predictions of the epoch before.
    pub(super) earlier: Option<Vec<u32>>,
    /// Soft labels.
    pub(super) soft: Option<Vec<f64>>,
    /// The memory of early learning.
    pub(super) targets: Option<Vec<f64>>,
    pub(super) noise_rate: Option<f64>,
    pub(super) transition: Option<Vec<f64>>,
    pub(super) history: Vec<EpochRecord>,
    pub(super) order: Rng,
    pub(super) noise: Rng,
    pub(super) pairs: Rng,
}

const SECTION: &str = "noisy-labels";

/// Writes both networks; the first last, so that it never knows of an epoch that the second does not.
pub(super) fn save(
    folder: &Path,
    state: &State,
    first: (&Trainer, &ParamStore),
    second: Option<(&Trainer, &ParamStore)>,
    best: Option<&BestState>,
) -> Result<()> {
    if let Some((trainer, store)) = second {
        trainer.checkpoint(store)?.save(folder.join("second"))?;
    }
    let mut checkpoint = first.0.checkpoint(first.1)?;
    checkpoint.sections.insert(SECTION.to_owned(), Section::new(BTreeMap::new(), state)?);
    if let Some(best) = best {
        best.save(&mut checkpoint)?;
    }
    Ok(checkpoint.save(folder.join("first"))?)
}

/// The latest checkpoint of this very training, if there is one.
pub(super) fn latest(folder: &Path, what: &str) -> Result<Option<(Checkpoint, State)>> {
    let Some(checkpoint) = Checkpoint::load_latest(folder.join("first"))? else { return Ok(None) };
    let state: State = checkpoint.section(SECTION)?.values(SECTION)?;
    if state.what != what {
        let reason = format!("{} holds a checkpoint of another training: {}", folder.display(), state.what);
        return Err(Error::InvalidData { operation: "train", what: "the checkpoint", reason });
    }
    Ok(Some((checkpoint, state)))
}
