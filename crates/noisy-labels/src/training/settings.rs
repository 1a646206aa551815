//! What a training is given, and what it gives.

use candle_core::DType;
use candle_nn::VarBuilder;
use core_tensor::params::ParamStore;
use core_tensor::train::Classifier;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Builds a network with parameters from a store: called once for each network that a method needs. Augmentation belongs in the network, where [`Mode`](core_tensor::Mode) says whether it is training.
pub type Build<'a> = &'a dyn Fn(VarBuilder<'static>) -> core_tensor::Result<Box<dyn Classifier>>;

/// The settings of [`train`](super::train).
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingConfig {
    /// Passes over the inputs; 10.
    pub epochs: usize,
    /// Inputs of a step; 128.
    pub batch_size: usize,
    /// The step size of Adam; 0.001.
    pub learning_rate: f64,
    /// Early stopping: this share of the inputs is kept apart, training ends when the share of *its given labels* that are predicted falls for the first time, and the parameters of the first epoch that was as good as the best are taken. `None`: the last epoch is taken.
    pub validation: Option<f64>,
    /// The seed of parameters, order and noise; 0.
    pub seed: u64,
    /// The type of the parameters, and of the inputs; f32.
    pub dtype: DType,
    /// Where a checkpoint is written after each epoch. If there is one of the same training, it goes on from there and ends with the same result. `None`.
    pub checkpoint: Option<PathBuf>,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 128,
            learning_rate: 1e-3,
            validation: None,
            seed: 0,
            dtype: DType::F32,
            checkpoint: None,
        }
    }
}

/// An epoch of [`train`](super::train).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Its number, from 1.
    pub epoch: usize,
    /// The mean loss of its steps.
    pub loss: f64,
    /// The share of the given labels of the validation inputs that are predicted.
    pub validation: Option<f64>,
    /// How many labels of training inputs are other than given.
    pub replaced: usize,
}

/// What [`train`](super::train) gives.
pub struct Trained {
    /// The network; of two the first.
    pub network: Box<dyn Classifier>,
    /// Its parameters.
    pub store: ParamStore,
    /// All epochs.
    pub history: Vec<EpochRecord>,
    /// The labels as the method left them: the given ones, unless it replaces labels.
    pub labels: Vec<u32>,
    /// The share of wrong labels that was given or estimated, for methods that need it.
    pub noise_rate: Option<f64>,
    /// The transition matrix `[true, given]` that was given or estimated, for methods that need it.
    pub transition: Option<Vec<f64>>,
}

impl std::fmt::Debug for Trained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Trained");
        shown.field("history", &self.history).field("noise_rate", &self.noise_rate);
        shown.field("transition", &self.transition).finish_non_exhaustive()
    }
}
