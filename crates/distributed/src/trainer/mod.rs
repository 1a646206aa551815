//! Data-parallel training of Candle models.
//!
//! Every rank holds the whole model and a part of each batch. [`DataParallel::backward`] takes the place of `loss.backward()` and returns gradients that are the mean over ranks, with the
//! same bits on every rank; what follows (clipping, any optimiser, schedules) stays as it is.
//!
//! Parameters are grouped into buckets from the last to the first, since their gradients are found in that order: those that the
//! [selection](crate::selection) compresses have a bucket of their own, the others share buckets of [`DataParallelConfig::bucket_bytes`] that are summed as they are. Buckets are
//! compressed and exchanged by a thread of their own while the backward pass goes on, as far as the operations of core-tensor report gradients
//! ([`core_tensor::backward_observed`]); gradients that only Candle's tape knows follow at its end.

mod buckets;
mod gradient_hook;
mod gradients;
mod state;
mod worker;

use crate::compress::{Compression, Key};
use crate::hook::{Hook, Statistics};
use crate::memory::MemoryConfig;
use crate::selection::TensorSelection;
use crate::wire::WireFormat;
use crate::{Communicator, Error, Result};
use buckets::Bucket;
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use core_tensor::params::Parameters;
use gradients::Sending;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use worker::Worker;

/// The options of [`DataParallel`]. All ranks must have the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataParallelConfig {
    /// How selected tensors are compressed; not at all by default.
    pub compression: Compression,
    /// Error feedback of compressed tensors; the full residual by default.
    pub memory: MemoryConfig,
    /// Which tensors are compressed; those of more than 2²⁰ elements by default.
    pub selection: TensorSelection,
    /// So many first steps sum everything as it is; 200, the default of the authors' program.
    pub dense_steps: u64,
    /// From these steps on (ascending) these ratios, until then the compression's own; empty by default. DGC's warm-up is `[(0, 0.25), (e, 0.0625), (2 e, 0.015625), (3 e, 0.004), (4 e, 0.001)]` for
    /// epochs of `e` steps.
    pub ratios: Vec<(u64, f64)>,
    /// How compressed gradients are written.
    pub wire: WireFormat,
    /// Small tensors are summed together in buckets of about this size; 25 MiB, as in PyTorch.
    pub bucket_bytes: usize,
    /// Exchange while the backward pass goes on. The model must then find the gradient of each parameter in the same way in every step (PyTorch calls it a static graph); a step in which
    /// it does not ends with [`Error::DynamicGraph`]. True.
    pub overlap: bool,
    /// Everything random in compression follows from it, step and tensor.
    pub seed: u64,
}

impl Default for DataParallelConfig {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            memory: MemoryConfig::default(),
            selection: TensorSelection::default(),
            dense_steps: 200,
            ratios: Vec::new(),
            wire: WireFormat::default(),
            bucket_bytes: 25 << 20,
            overlap: true,
            seed: 0,
        }
    }
}

/// Averages the gradients of a model over ranks.
pub struct DataParallel {
    vars: Vec<(String, Var)>,
    config: DataParallelConfig,
    buckets: Rc<Vec<Bucket>>,
    worker: Worker,
    communicator: Arc<dyn Communicator>,
    step: u64,
    /// Sums of gradients of [`DataParallel::accumulate`], by parameter.
    accumulated: Vec<Option<Tensor>>,
    /// Which parameters get their whole gradient from one report of the backward pass; known after the first step.
    early: Option<Vec<bool>>,
    statistics: Vec<(String, Statistics)>,
    /// The exchange of a backward pass that a [`Trainer`](core_tensor::train::Trainer) runs.
    pending: Option<Rc<RefCell<Sending>>>,
}

impl std::fmt::Debug for DataParallel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataParallel")
            .field("parameters", &self.vars.len())
            .field("buckets", &self.buckets.len())
            .field("step", &self.step)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Makes the hook of a compressed tensor from its name and shape.
pub type MakeHook<'a> = &'a dyn Fn(&str, &[usize]) -> Result<Box<dyn Hook>>;

impl DataParallel {
    /// For these parameters, such as those of [`ParamStore::trainable`](core_tensor::params::ParamStore::trainable). All ranks get the values of rank 0.
    ///
    /// # Errors
    ///
    /// When ranks have other parameters or options than rank 0, an option is outside its range, or communication fails.
    pub fn new(
        parameters: impl Into<Parameters>,
        communicator: Arc<dyn Communicator>,
        config: DataParallelConfig,
    ) -> Result<Self> {
        let make = |_: &str, _: &[usize]| -> Result<Box<dyn Hook>> {
            let memory = crate::memory::Memory::new(config.memory)?;
            Ok(Box::new(crate::hook::Compressed::new(config.compression.build()?, memory, config.wire)))
        };
        let hook: Option<MakeHook<'_>> = (config.compression != Compression::None).then_some(&make);
        Self::build(parameters.into(), communicator, config.clone(), hook)
    }

    /// With a hook of your own for each selected tensor, such as [`PowerSgd`](crate::hook::PowerSgd), instead of `config.compression`.
    ///
    /// # Errors
    ///
    /// As [`DataParallel::new`], and those of `make`.
    pub fn with_hooks(
        parameters: impl Into<Parameters>,
        communicator: Arc<dyn Communicator>,
        config: DataParallelConfig,
        make: MakeHook<'_>,
    ) -> Result<Self> {
        Self::build(parameters.into(), communicator, config, Some(make))
    }

    fn build(
        parameters: Parameters,
        communicator: Arc<dyn Communicator>,
        config: DataParallelConfig,
        make: Option<MakeHook<'_>>,
    ) -> Result<Self> {
        let vars: Vec<(String, Var)> = parameters.into_iter().collect();
        buckets::check(&vars, &config)?;
        state::agree(&vars, &config, communicator.as_ref())?;
        state::broadcast_values(&vars, communicator.as_ref())?;
        let ranks = communicator.world_size();
        let (buckets, hooks) = buckets::plan(&vars, &config, ranks, make)?;
        let worker = Worker::start(hooks, communicator.clone())?;
        let statistics = buckets.iter().map(|bucket| (bucket.name.clone(), Statistics::default())).collect();
        let accumulated = vec![None; vars.len()];
        let buckets = Rc::new(buckets);
        Ok(Self {
            vars,
            config,
            buckets,
            worker,
            communicator,
            step: 0,
            accumulated,
            early: None,
            statistics,
            pending: None,
        })
    }

    /// This rank's communicator, for sums of losses and the like. Every rank must call the same operations in the same order, and none during [`DataParallel::backward`].
    pub fn communicator(&self) -> &Arc<dyn Communicator> {
        &self.communicator
    }

    /// How many steps are done: calls of [`DataParallel::backward`] and [`DataParallel::average`].
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Adds the gradients of `loss` to those of the next [`DataParallel::backward`], without any exchange: for batches that do not fit at once. Divide losses by the number of parts yourself.
    ///
    /// # Errors
    ///
    /// When an operation on the tape has no gradient.
    pub fn accumulate(&mut self, loss: &Tensor) -> Result<()> {
        let grads = core_tensor::backward(loss)?;
        for ((_, var), sum) in self.vars.iter().zip(&mut self.accumulated) {
            if let Some(gradient) = grads.get(var) {
                *sum = Some(match sum.take() {
                    Some(sum) => (sum + gradient)?,
                    None => gradient.clone(),
                });
            }
        }
        Ok(())
    }

    /// The gradients of `loss`, averaged over ranks; parameters that take no part in it on any rank have a gradient of zeros.
    ///
    /// # Errors
    ///
    /// When a gradient is not finite, the model changed (see [`DataParallelConfig::overlap`]), or communication fails; after an error of communication the trainer is of no
    /// use any more.
    pub fn backward(&mut self, loss: &Tensor) -> Result<GradStore> {
        if !self.config.overlap {
            let grads = core_tensor::backward(loss)?;
            return self.average(grads);
        }
        let observer = self.start()?;
        match core_tensor::backward_observed(loss, observer) {
            Ok(mut grads) => {
                self.complete(&mut grads)?;
                Ok(grads)
            }
            Err(error) => {
                let error = Error::from(error);
                self.give_up(&error);
                Err(error)
            }
        }
    }

    /// Starts the exchange of a backward pass; what is returned wants the gradients as they are found.
    fn start(&mut self) -> Result<impl FnMut(&Tensor, &Tensor) + 'static> {
        let sending = Rc::new(RefCell::new(self.sending()?));
        self.pending = Some(sending.clone());
        Ok(move |variable: &Tensor, gradient: &Tensor| sending.borrow_mut().observe(variable, gradient))
    }

    /// Ends the exchange of a backward pass that went well: the gradients become their means.
    fn complete(&mut self, grads: &mut GradStore) -> Result<()> {
        let Some(pending) = self.pending.take() else {
            // nothing was observed, so that nothing has left yet
            let mut sending = self.sending()?;
            sending.finish(Some(grads), &self.vars)?;
            self.end(sending);
            return Ok(());
        };
        let Ok(sending) = Rc::try_unwrap(pending) else {
            return Err(Error::Thread("the observer of the backward pass is still there".to_owned()));
        };
        let mut sending = sending.into_inner();
        match sending.check(&self.vars, grads, self.early.as_deref()) {
            Ok(early) => {
                self.early.get_or_insert(early);
            }
            Err(error) => {
                // what has left comes back first; then the others must not wait for the rest
                let _ = sending.finish(None, &self.vars);
                self.communicator.abort(&error.to_string());
                return Err(error);
            }
        }
        sending.finish(Some(grads), &self.vars)?;
        self.end(sending);
        Ok(())
    }

    /// Ends the exchange of a backward pass that failed.
    fn give_up(&mut self, error: &dyn std::fmt::Display) {
        if let Some(Ok(sending)) = self.pending.take().map(Rc::try_unwrap) {
            let _ = sending.into_inner().finish(None, &self.vars);
        }
        self.communicator.abort(&error.to_string());
    }

    /// Averages gradients that you computed yourself, and those accumulated, over ranks.
    ///
    /// # Errors
    ///
    /// As [`DataParallel::backward`].
    pub fn average(&mut self, mut grads: GradStore) -> Result<GradStore> {
        self.complete(&mut grads)?;
        Ok(grads)
    }

    fn sending(&mut self) -> Result<Sending> {
        let is_dense = self.step < self.config.dense_steps;
        let ratio = self.config.ratios.iter().rev().find(|(step, _)| *step <= self.step).map(|(_, ratio)| *ratio);
        let key = Key { seed: self.config.seed, step: self.step, tensor: 0, rank: self.communicator.rank() as u64 };
        let accumulated = self.accumulated.iter_mut().map(Option::take).collect();
        let round = worker::Round { key, is_dense, ratio };
        Ok(Sending::new(
            self.buckets.clone(),
            self.worker.handle()?,
            round,
            &self.vars,
            accumulated,
            self.early.as_deref(),
        ))
    }

    fn end(&mut self, sending: Sending) {
        self.step += 1;
        for ((_, total), statistics) in self.statistics.iter_mut().zip(sending.into_statistics()) {
            *total = statistics;
        }
    }

    /// What happened to each bucket in the last step, on this rank: compressed tensors by their names, the others as `bucket <number>`.
    pub fn statistics(&self) -> &[(String, Statistics)] {
        &self.statistics
    }

    /// The sum of a number over all ranks, such as of losses or of correct predictions.
    ///
    /// # Errors
    ///
    /// When communication fails.
    pub fn sum(&self, value: f64) -> Result<f64> {
        let gathered = self.communicator.allgather(&value.to_le_bytes())?;
        let read = |bytes: &Vec<u8>| bytes.as_slice().try_into().map(f64::from_le_bytes).unwrap_or(f64::NAN);
        Ok(gathered.iter().map(read).sum())
    }
}
