//! Checkpoints of a group of ranks.

use super::{DataParallel, DataParallelState};
use crate::{Error, Result};
use core_tensor::checkpoint::Checkpoint;
use std::path::{Path, PathBuf};

/// No step: a rank has no checkpoint.
const NONE: u64 = u64::MAX;

impl DataParallel {
    fn folder(&self, folder: &Path) -> PathBuf {
        folder.join(format!("rank-{}", self.communicator().rank()))
    }

    /// Writes [`DataParallel::state`] of this rank into `folder/rank-<n>`, beside your checkpoint of parameters and optimiser, which only one rank need write. Every rank must call it; it returns when
    /// all have written. [`DataParallel::save_checkpoint`] writes both.
    ///
    /// # Errors
    ///
    /// When a file cannot be written, or communication fails.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let saved = self.state()?.into_checkpoint().and_then(|state| Ok(state.save(self.folder(folder.as_ref()))?));
        self.together(saved)?;
        self.communicator().barrier()
    }

    /// Continues from [`DataParallel::save`] at the newest step that all ranks have, and returns that step; `None` when a rank has none. Load parameters and optimiser of the same step yourself.
    ///
    /// # Errors
    ///
    /// When a checkpoint is damaged or belongs to other parameters, settings or another number of ranks, or communication fails.
    pub fn load(&mut self, folder: impl AsRef<Path>) -> Result<Option<u64>> {
        let own = self.folder(folder.as_ref());
        let newest = Checkpoint::load_latest(&own)?;
        let Some(step) = self.common_step(newest.as_ref().map_or(NONE, |checkpoint| checkpoint.step))? else {
            return Ok(None);
        };
        let checkpoint = of_step(newest, &own, step)?;
        self.load_state(&DataParallelState::from_checkpoint(&checkpoint)?)?;
        Ok(Some(step))
    }

    /// Writes a whole run in one call, which every rank must make: rank 0 writes what all ranks have in common (parameters, optimiser, sections and extra of `checkpoint`) into `folder/shared`, and each rank
    /// writes what is its own (what compression keeps, and the random streams of `checkpoint`) into `folder/rank-<n>`. It returns when all have written.
    ///
    /// ```
    /// # use candle_core::{DType, Device, Module, Tensor};
    /// # use core_tensor::{checkpoint::Checkpoint, nn, optim::{Optimizer, Sgd, SgdConfig}, params::ParamStore, random::Rng};
    /// # use distributed::{Communicator, DataParallel, DataParallelConfig, Launch, Result, launch};
    /// # use std::sync::Arc;
    /// # let folder = tempfile::tempdir().expect("a folder for the example");
    /// # let folder = folder.path();
    /// let train = |ranks: Arc<dyn Communicator>, steps: u64| -> Result<Vec<f32>> {
    ///     let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    ///     let layer = nn::linear(3, 1, store.var_builder())?;
    ///     let mut optimizer = Sgd::new(&store, SgdConfig { momentum: 0.9, ..Default::default() })?;
    ///     let mut model = DataParallel::new(&store, ranks.clone(), DataParallelConfig::default())?;
    ///     let mut rng = Rng::new(1).fork(&format!("rank {}", ranks.rank()));
    ///     if let Some(then) = model.load_checkpoint(folder)? {
    ///         store.restore(&then.parameters)?;
    ///         then.optimizer.iter().try_for_each(|state| optimizer.load_state(state))?;
    ///         rng = then.rng("batches")?;
    ///     }
    ///     while model.step() < steps {
    ///         let x = rng.normal(0., 1., (4, 3), DType::F32, &Device::Cpu)?;
    ///         optimizer.step(&model.backward(&layer.forward(&x)?.sqr()?.mean_all()?)?)?;
    ///         if model.step() % 5 == 0 {
    ///             let mut now = Checkpoint::new(model.step());
    ///             now.parameters = store.snapshot()?;
    ///             now.optimizer = Some(optimizer.state()?);
    ///             now.rngs.insert("batches".to_owned(), rng.clone());
    ///             model.save_checkpoint(folder, now)?;
    ///         }
    ///     }
    ///     Ok(layer.weight().flatten_all()?.to_vec1()?)
    /// };
    /// let whole = launch(Launch::threads(2), |ranks| train(ranks, 10))?;
    /// // once more from the step 10 that is there, which is nothing to do
    /// assert_eq!(launch(Launch::threads(2), |ranks| train(ranks, 10))?, whole);
    /// # Ok::<(), distributed::Error>(())
    /// ```
    ///
    /// The folder must be on a file system that all ranks share.
    ///
    /// # Errors
    ///
    /// [`Error::State`] when the step of `checkpoint` is not [`DataParallel::step`], or it has a section of the name `data-parallel`; when a file cannot be written, or communication fails.
    pub fn save_checkpoint(&self, folder: impl AsRef<Path>, mut checkpoint: Checkpoint) -> Result<()> {
        let folder = folder.as_ref();
        let rngs = std::mem::take(&mut checkpoint.rngs);
        let write = || -> Result<()> {
            if checkpoint.step != self.step() {
                let reason =
                    format!("the checkpoint is of step {}, the training of step {}", checkpoint.step, self.step());
                return Err(Error::state(reason));
            }
            let mut own = self.state()?.into_checkpoint()?;
            own.rngs = rngs;
            if self.communicator().rank() == 0 {
                checkpoint.save(shared(folder))?;
            }
            Ok(own.save(self.folder(folder))?)
        };
        let written = write();
        self.together(written)?;
        self.communicator().barrier()
    }

    /// Continues from [`DataParallel::save_checkpoint`] at the newest step that all ranks have; `None` when a rank has none. What compression keeps is restored; restore parameters, optimiser and random
    /// streams from the checkpoint that is returned, on every rank.
    ///
    /// # Errors
    ///
    /// As [`DataParallel::load`].
    pub fn load_checkpoint(&mut self, folder: impl AsRef<Path>) -> Result<Option<Checkpoint>> {
        let folder = folder.as_ref();
        let (own, common) = (self.folder(folder), shared(folder));
        let newest = |folder: &Path| Checkpoint::load_latest(folder);
        let loaded = newest(&own).and_then(|own| Ok((own, newest(&common)?))).map_err(Error::from);
        let (newest_own, newest_common) = self.together(loaded)?;
        let step = |checkpoint: &Option<Checkpoint>| checkpoint.as_ref().map_or(NONE, |checkpoint| checkpoint.step);
        let (a, b) = (step(&newest_own), step(&newest_common));
        let Some(step) = self.common_step(if a == NONE || b == NONE { NONE } else { a.min(b) })? else {
            return Ok(None);
        };
        let loaded = of_step(newest_own, &own, step).and_then(|own| {
            let state = DataParallelState::from_checkpoint(&own)?;
            Ok((own, state, of_step(newest_common, &common, step)?))
        });
        let (own, state, mut checkpoint) = self.together(loaded)?;
        let restored = self.load_state(&state);
        self.together(restored)?;
        checkpoint.rngs = own.rngs;
        Ok(Some(checkpoint))
    }

    /// Tells the others when this rank fails.
    fn together<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| self.communicator().abort(&error.to_string()))
    }

    /// The newest step that all ranks have, from the newest of this one.
    fn common_step(&self, own: u64) -> Result<Option<u64>> {
        let all = self.communicator().allgather_within(&own.to_le_bytes(), 8)?;
        let read = |bytes: &Vec<u8>| bytes.as_slice().try_into().map(u64::from_le_bytes).unwrap_or(NONE);
        if all.iter().any(|bytes| read(bytes) == NONE) {
            return Ok(None);
        }
        Ok(all.iter().map(read).min())
    }
}

/// Where rank 0 writes what all ranks have in common.
fn shared(folder: &Path) -> PathBuf {
    folder.join("shared")
}

/// The checkpoint of this step, which may be the newest.
fn of_step(newest: Option<Checkpoint>, folder: &Path, step: u64) -> Result<Checkpoint> {
    match newest {
        Some(checkpoint) if checkpoint.step == step => Ok(checkpoint),
        _ => Ok(Checkpoint::load(folder, step)?),
    }
}
