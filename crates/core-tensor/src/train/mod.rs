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
//! A whole loop from these parts, with early stopping and a checkpoint after each epoch, is in the [crate's front page](crate#a-training-loop-from-the-parts).

mod best_state;
mod cancellation;
mod classifier;
mod gradient_hook;
mod minibatches;
mod trainer;

pub use best_state::BestState;
pub use cancellation::Cancellation;
pub use classifier::{Classifier, input_gradient};
pub use gradient_hook::{GradientHook, Gradients, Observer};
pub use minibatches::{Minibatches, Rest, minibatches, ragged_minibatches};
pub use trainer::{Step, Trainer};
