//! Parts of training loops. The loop itself is yours.
//!
//! | part | what it does |
//! |---|---|
//! | [`Trainer`] | one step: backward, [hooks](GradientHook) on the gradients (masks, clipping, averaging over ranks), [schedule](crate::schedule), optimiser |
//! | [`minibatches`], [`ragged_minibatches`] | the items of an epoch in a seeded order, cut into batches |
//! | [`BestState`] | the best metric so far and the parameters that gave it; when to stop |
//! | [`Cancellation`] | one way to end every loop early |
//! | [`Trainer::checkpoint`] | parameters, optimiser, schedule and random streams in one [`Checkpoint`](crate::checkpoint::Checkpoint) |
//! | [`Classifier`], [`input_gradient`] | what attacks and evaluations need of a model: logits, and gradients by inputs alone |
//!
//! A whole loop from these parts, with early stopping and a checkpoint after each epoch:
//!
//! ```
//! use candle_core::{DType, Device, Module, Tensor};
//! use core_tensor::checkpoint::Checkpoint;
//! use core_tensor::optim::{AdamConfig, AdamW};
//! use core_tensor::params::ParamStore;
//! use core_tensor::random::Rng;
//! use core_tensor::schedule::{Better, Schedule};
//! use core_tensor::train::{BestState, Cancellation, Rest, Trainer, minibatches};
//! use core_tensor::{nn, ops};
//!
//! fn fit(x: &Tensor, y: &Tensor, folder: &std::path::Path, cancellation: &Cancellation) -> core_tensor::Result<f64> {
//!     let store = ParamStore::new(0, DType::F32, &Device::Cpu);
//!     let model = nn::linear(x.dim(1)?, 2, store.var_builder().pp("head"))?;
//!     let adam = AdamW::new(&store, AdamConfig { learning_rate: 0.05, ..Default::default() })?;
//!     let mut trainer = Trainer::new(adam).schedule(Schedule::Cosine { steps: 60, minimum: 0. }).clip_norm(1.)?;
//!     let mut order = Rng::new(0).fork("order");
//!     let mut best = BestState::new(Better::Smaller).patience(5);
//!     if let Some(checkpoint) = Checkpoint::load_latest(folder)? {
//!         trainer.resume(&store, &checkpoint)?;
//!         best.resume(&checkpoint)?;
//!         order = checkpoint.rng("order")?;
//!     }
//!     while trainer.num_epochs() < 20 && !best.is_exhausted() {
//!         for batch in &minibatches(x.dim(0)?, 16, Rest::Keep, &mut order)? {
//!             cancellation.check()?;
//!             let rows = Tensor::new(batch, x.device())?;
//!             let loss = ops::cross_entropy(&model.forward(&x.index_select(&rows, 0)?)?, &y.index_select(&rows, 0)?)?;
//!             trainer.step(&loss)?;
//!         }
//!         trainer.end_epoch();
//!         let loss = ops::cross_entropy(&model.forward(x)?.detach(), y)?.to_scalar::<f32>()?;
//!         best.observe(f64::from(loss), &store)?;
//!         let mut checkpoint = trainer.checkpoint(&store)?;
//!         checkpoint.rngs.insert("order".to_string(), order.clone());
//!         best.save(&mut checkpoint)?;
//!         checkpoint.save(folder)?;
//!     }
//!     best.restore(&store)?;
//!     Ok(best.metric().unwrap_or(f64::NAN))
//! }
//!
//! let x = Rng::new(1).normal(0., 1., (48, 3), DType::F32, &Device::Cpu)?;
//! let y = x.narrow(1, 0, 1)?.flatten_all()?.gt(0f32)?.to_dtype(DType::U32)?;
//! let folder = tempfile::tempdir()?;
//! assert!(fit(&x, &y, folder.path(), &Cancellation::never())? < 0.4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod best_state;
mod cancellation;
mod classifier;
mod gradient_hook;
mod minibatches;
mod trainer;

pub use best_state::BestState;
pub use cancellation::Cancellation;
pub(crate) use classifier::is_frozen;
pub use classifier::{Classifier, input_gradient};
pub use gradient_hook::{GradientHook, Gradients, Observer};
pub use minibatches::{Minibatches, Rest, minibatches, ragged_minibatches};
pub use trainer::{Step, Trainer};
