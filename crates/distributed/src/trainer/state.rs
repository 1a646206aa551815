//! Agreement of ranks, and checkpoints.

use super::{DataParallel, DataParallelConfig};
use crate::hook::HookState;
use crate::{Communicator, Error, Result};
use candle_core::{DType, Device, Tensor, Var};
use core_tensor::checkpoint::Checkpoint;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// An error that names the first rank whose parameters or options differ from those of rank 0.
pub(super) fn agree(
    vars: &[(String, Var)],
    config: &DataParallelConfig,
    communicator: &dyn Communicator,
) -> Result<()> {
    let mut text = format!("options {config:?}\n");
    for (name, var) in vars {
        text += &format!("parameter {name} {:?} {:?}\n", var.dims(), var.dtype());
    }
    let all = communicator.allgather(text.as_bytes())?;
    let Some(first) = all.first() else { return Ok(()) };
    let Some((rank, theirs)) = all.iter().enumerate().find(|(_, theirs)| *theirs != first) else { return Ok(()) };
    let line = |bytes: &[u8], at: usize| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.lines().nth(at).map_or_else(|| "has no more parameters".to_owned(), |line| format!("has {line}"))
    };
    let lines = String::from_utf8_lossy(first).lines().count().max(String::from_utf8_lossy(theirs).lines().count());
    let at = (0..lines).find(|&at| line(first, at) != line(theirs, at)).unwrap_or(0);
    let ours = all.get(communicator.rank()).map_or_else(String::new, |own| line(own, at));
    let (rank, theirs) = if communicator.rank() == rank { (0, line(first, at)) } else { (rank, line(theirs, at)) };
    Err(Error::Mismatch { operation: "data-parallel training", rank, theirs, ours })
}

/// Gives all ranks the values of rank 0.
pub(super) fn broadcast_values(vars: &[(String, Var)], communicator: &dyn Communicator) -> Result<()> {
    if communicator.world_size() == 1 {
        return Ok(());
    }
    for (name, var) in vars {
        // f64 holds every float type exactly
        let values = var.flatten_all()?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let mut bytes = if communicator.rank() == 0 { bytemuck::cast_slice(&values).to_vec() } else { Vec::new() };
        communicator.broadcast(&mut bytes, 0)?;
        if communicator.rank() != 0 {
            let received: Vec<f64> = bytes
                .chunks_exact(8)
                .map(|c| f64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]))
                .collect();
            crate::error::same_length("broadcast", "a parameter", received.len(), values.len())?;
            let values = Tensor::from_vec(received, var.dims(), &Device::Cpu)?.to_dtype(var.dtype())?;
            var.set(&values.to_device(var.device())?)
                .map_err(|error| Error::State(format!("parameter `{name}` cannot be set: {error}")))?;
        }
    }
    Ok(())
}

impl DataParallel {
    fn folder(&self, folder: &Path) -> PathBuf {
        folder.join(format!("rank-{}", self.communicator.rank()))
    }

    /// Writes what compression keeps (residuals, momenta, adaptive numbers, the step) on this rank into `folder/rank-<n>`, beside your checkpoint of parameters and optimiser, which one rank alone need write.
    /// Every rank must call it; it returns when all have written.
    ///
    /// # Errors
    ///
    /// When a file cannot be written, or communication fails.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let mut checkpoint = Checkpoint::new(self.step);
        let mut numbers = BTreeMap::new();
        for (bucket, state) in self.buckets.iter().zip(self.worker.state()?) {
            for (at, list) in state.lists.into_iter().enumerate() {
                let len = list.len();
                checkpoint
                    .parameters
                    .insert(format!("{}#{at}", bucket.name), Tensor::from_vec(list, len, &Device::Cpu)?);
            }
            numbers.insert(bucket.name.clone(), state.numbers);
        }
        checkpoint.extra = serde_json::json!({ "numbers": numbers, "ranks": self.communicator.world_size() });
        let saved = checkpoint.save(self.folder(folder.as_ref()));
        if let Err(error) = &saved {
            self.communicator.abort(&error.to_string());
        }
        saved?;
        self.communicator.barrier()
    }

    /// Continues from [`DataParallel::save`] at the newest step that every rank has; returns it, or `None` when some rank has none. Load parameters and optimiser of the same step beside it.
    ///
    /// # Errors
    ///
    /// When a checkpoint is damaged or belongs to other parameters, options or another number of ranks, or communication fails.
    pub fn load(&mut self, folder: impl AsRef<Path>) -> Result<Option<u64>> {
        let folder = self.folder(folder.as_ref());
        let newest = Checkpoint::load_latest(&folder)?;
        let own = newest.as_ref().map_or(u64::MAX, |checkpoint| checkpoint.step);
        let all = self.communicator.allgather(&own.to_le_bytes())?;
        let read = |bytes: &Vec<u8>| bytes.as_slice().try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
        if all.iter().any(|bytes| read(bytes) == u64::MAX) {
            return Ok(None);
        }
        let step = all.iter().map(read).min().unwrap_or(0);
        let checkpoint = match newest {
            Some(checkpoint) if checkpoint.step == step => checkpoint,
            _ => Checkpoint::load(&folder, step)?,
        };
        let ranks = checkpoint.extra["ranks"].as_u64();
        if ranks != Some(self.communicator.world_size() as u64) {
            let now = self.communicator.world_size();
            return Err(Error::State(format!("it was written by {} ranks, these are {now}", ranks.unwrap_or(0))));
        }
        let mut states = Vec::new();
        let mut known = 0;
        for bucket in self.buckets.iter() {
            let mut lists = Vec::new();
            while let Some(list) = checkpoint.parameters.get(&format!("{}#{}", bucket.name, lists.len())) {
                lists.push(list.to_vec1::<f32>()?);
            }
            known += lists.len();
            if lists.first().is_some_and(|list| list.len() != bucket.len) {
                return Err(Error::State(format!("`{}` has another length", bucket.name)));
            }
            let numbers: Vec<f64> = match checkpoint.extra["numbers"].get(&bucket.name) {
                Some(numbers) => serde_json::from_value(numbers.clone())
                    .map_err(|error| Error::State(format!("the numbers of `{}`: {error}", bucket.name)))?,
                None => return Err(Error::State(format!("it knows no bucket `{}`", bucket.name))),
            };
            states.push(HookState { lists, numbers });
        }
        if known != checkpoint.parameters.len() {
            return Err(Error::State("it has lists of tensors that are not compressed here".to_owned()));
        }
        self.worker.load_state(states)?;
        self.step = step;
        Ok(Some(step))
    }
}
