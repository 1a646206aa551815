//! What compression keeps between steps, and its form in a checkpoint.

use super::buckets::Bucket;
use crate::hook::HookState;
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use core_tensor::checkpoint::{Checkpoint, Section};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What [`DataParallel`](super::DataParallel) keeps on one rank between steps, apart from parameters and optimiser. Each rank has its own.
///
/// Serde's form holds everything but the tensors, which belong into a file of tensors beside it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DataParallelState {
    /// The number of steps so far.
    pub step: u64,
    /// The number of ranks.
    pub world_size: usize,
    /// The adaptive numbers of each bucket's hook, by the name of the bucket.
    pub numbers: BTreeMap<String, Vec<f64>>,
    /// Residuals, momenta and the like, f32 on the CPU, named `<list>/<bucket>`: `residual/head.weight`.
    #[serde(skip)]
    pub tensors: BTreeMap<String, Tensor>,
}

impl DataParallelState {
    pub(super) fn new(step: u64, world_size: usize, buckets: &[Bucket], hooks: Vec<HookState>) -> Result<Self> {
        let (mut numbers, mut tensors) = (BTreeMap::new(), BTreeMap::new());
        for (bucket, hook) in buckets.iter().zip(hooks) {
            for (list, values) in hook.lists {
                let len = values.len();
                tensors.insert(format!("{list}/{}", bucket.name), Tensor::from_vec(values, len, &Device::Cpu)?);
            }
            numbers.insert(bucket.name.clone(), hook.numbers);
        }
        Ok(Self { step, world_size, numbers, tensors })
    }

    /// The states of the hooks of these buckets.
    pub(super) fn hook_states(&self, buckets: &[Bucket], world_size: usize) -> Result<Vec<HookState>> {
        if self.world_size != world_size {
            let reason = format!("it was written by {} ranks, this group has {world_size}", self.world_size);
            return Err(Error::state(reason));
        }
        let mut lists: BTreeMap<&str, BTreeMap<String, Vec<f32>>> = BTreeMap::new();
        for (name, tensor) in &self.tensors {
            let known = name.split_once('/').filter(|(_, bucket)| self.numbers.contains_key(*bucket));
            let Some((list, bucket)) = known else {
                return Err(Error::state(format!("`{name}` is not `<list>/<bucket>` of a bucket with numbers")));
            };
            lists.entry(bucket).or_default().insert(list.to_owned(), tensor.to_vec1()?);
        }
        let mut states = Vec::new();
        for bucket in buckets {
            let Some(numbers) = self.numbers.get(&bucket.name) else {
                return Err(Error::state(format!("it has no bucket `{}`", bucket.name)));
            };
            let lists = lists.remove(bucket.name.as_str()).unwrap_or_default();
            let longest = lists.values().map(Vec::len).max();
            if longest.is_some_and(|longest| longest != bucket.len) {
                let reason =
                    format!("`{}` has {} elements, expected {}", bucket.name, longest.unwrap_or(0), bucket.len);
                return Err(Error::state(reason));
            }
            states.push(HookState { lists, numbers: numbers.clone() });
        }
        match lists.into_keys().next() {
            Some(name) => Err(Error::state(format!("it has lists of `{name}`, which has no bucket of its own here"))),
            None => Ok(states),
        }
    }

    /// The checkpoint of one rank.
    pub(super) fn into_checkpoint(self) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint::new(self.step);
        checkpoint.sections.insert(SECTION.to_owned(), self.section()?);
        Ok(checkpoint)
    }

    pub(super) fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        Self::from_section(checkpoint.section(SECTION)?)
    }

    /// This state as a section of a checkpoint, for those who write one file for each rank themselves.
    ///
    /// # Errors
    ///
    /// When the numbers cannot be stored.
    pub fn section(&self) -> Result<Section> {
        Ok(Section::new(self.tensors.clone(), self)?)
    }

    /// The state in a section that [`DataParallelState::section`] made.
    ///
    /// # Errors
    ///
    /// When it is of another kind.
    pub fn from_section(section: &Section) -> Result<Self> {
        Ok(Self { tensors: section.tensors.clone(), ..section.values(SECTION)? })
    }
}

const SECTION: &str = "data-parallel";
