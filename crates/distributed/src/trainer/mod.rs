//! Data-parallel training of Candle models.
//!
//! Every rank holds the whole model and a part of each batch. [`DataParallel::backward`] replaces `loss.backward()` and returns the mean of the gradients over ranks, with the same bits on every
//! rank. Clipping, optimiser and schedules stay the same.
//!
//! Parameters are grouped into buckets from the last to the first, the order in which their gradients are computed. Tensors that the [selection](crate::selection) compresses have a bucket of their own,
//! the others share buckets of [`DataParallelConfig::bucket_bytes`] that are summed uncompressed. A separate thread compresses and exchanges buckets during the backward pass, as far as operations of
//! core-tensor report gradients ([`core_tensor::backward_observed`]); gradients that only Candle's tape computes follow at its end.

mod agreement;
mod buckets;
mod checkpoint;
mod config;
mod elements;
mod gradient_hook;
mod gradients;
mod state;
mod worker;

pub use config::{DataParallelConfig, MakeHook};
pub use state::DataParallelState;

use crate::communicator::Communicator;
use crate::hook::{Compressed, Hook, Statistics};
use crate::memory::Memory;
use crate::{Compression, Error, Key, Result};
use buckets::Bucket;
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use core_tensor::params::Parameters;
use gradients::Sending;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use worker::Worker;

/// Averages the gradients of a model over ranks.
pub struct DataParallel {
    vars: Vec<(String, Var)>,
    config: DataParallelConfig,
    buckets: Rc<Vec<Bucket>>,
    worker: Worker,
    communicator: Arc<dyn Communicator>,
    step: u64,
    /// Sums of the gradients of [`DataParallel::accumulate`], by parameter.
    accumulated: Vec<Option<Tensor>>,
    /// Which parameters get their whole gradient in one report of the backward pass; known after the first step.
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

impl DataParallel {
    /// For these parameters, such as those of [`ParamStore::trainable`](core_tensor::params::ParamStore::trainable). All ranks get the values of rank 0.
    ///
    /// # Errors
    ///
    /// When a rank's parameters or settings differ from those of rank 0, a setting is outside its range, or communication fails.
    pub fn new(
        parameters: impl Into<Parameters>,
        communicator: Arc<dyn Communicator>,
        config: DataParallelConfig,
    ) -> Result<Self> {
        let make = |_: &str, _: &[usize]| -> Result<Box<dyn Hook>> {
            Ok(Box::new(Compressed::new(config.compression.build()?, Memory::new(config.memory)?, config.wire)))
        };
        let hook: Option<MakeHook<'_>> = (config.compression != Compression::None).then_some(&make);
        Self::build(parameters.into(), communicator, config.clone(), hook)
    }

    /// With a hook of your own for each selected tensor instead of `config.compression`: [`PowerSgd`](crate::hook::PowerSgd), or [`Compressed`] with a compressor of your own.
    ///
    /// # Errors
    ///
    /// As [`DataParallel::new`]; when `make` fails; when a hook's name differs between ranks.
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
        let (buckets, hooks) = buckets::plan(&vars, &config, communicator.world_size(), make)?;
        agreement::check(&vars, &config, &buckets, &hooks, communicator.as_ref())?;
        agreement::broadcast_values(&vars, communicator.as_ref())?;
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

    /// This rank's communicator, for example to sum losses. Every rank must call the same operations in the same order, and none during [`DataParallel::backward`].
    pub fn communicator(&self) -> &Arc<dyn Communicator> {
        &self.communicator
    }

    /// The number of steps so far: calls of [`DataParallel::backward`] and [`DataParallel::average`].
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Adds the gradients of `loss` to those of the next [`DataParallel::backward`] without an exchange, for batches that do not fit into memory at once. Divide each loss by the number of parts
    /// yourself.
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

    /// The gradients of `loss`, averaged over ranks. A parameter that no rank's loss reached has no gradient, as without ranks, so that optimisers leave it and its
    /// moments alone; one that some rank's loss reached has a gradient on all ranks.
    ///
    /// # Errors
    ///
    /// When a gradient is not finite, the model changed (see [`DataParallelConfig::overlap`]), or communication fails. After an error of communication, every later call fails too.
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
            return Err(Error::thread("the backward pass has not released its observer"));
        };
        let mut sending = sending.into_inner();
        match sending.check(&self.vars, grads, self.early.as_deref()) {
            Ok(early) => {
                self.early.get_or_insert(early);
            }
            Err(error) => {
                // drains replies in flight; then tells the others not to wait for the rest
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

    /// Averages gradients that you computed yourself, plus those accumulated, over ranks.
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

    /// What this rank did with each bucket in the last step: compressed tensors by their names, the others as `bucket <number>`.
    pub fn statistics(&self) -> &[(String, Statistics)] {
        &self.statistics
    }

    /// The sum of a number over all ranks, such as a loss or a count of correct predictions.
    ///
    /// # Errors
    ///
    /// When communication fails.
    pub fn sum(&self, value: f64) -> Result<f64> {
        let gathered = self.communicator.allgather_within(&value.to_le_bytes(), 8)?;
        let read = |bytes: &Vec<u8>| bytes.as_slice().try_into().map(f64::from_le_bytes).unwrap_or(f64::NAN);
        Ok(gathered.iter().map(read).sum())
    }

    /// What compression keeps on this rank between steps, for a checkpoint of your own; [`DataParallel::save`] writes it to a file.
    ///
    /// # Errors
    ///
    /// When the communication thread has ended.
    pub fn state(&self) -> Result<DataParallelState> {
        DataParallelState::new(self.step, self.communicator.world_size(), &self.buckets, self.worker.state()?)
    }

    /// Restores a state of [`DataParallel::state`]. Every rank must restore a state of the same step.
    ///
    /// # Errors
    ///
    /// [`Error::State`] when it belongs to other parameters, settings or another number of ranks.
    pub fn load_state(&mut self, state: &DataParallelState) -> Result<()> {
        self.worker.load_state(state.hook_states(&self.buckets, self.communicator.world_size())?)?;
        self.step = state.step;
        Ok(())
    }
}
