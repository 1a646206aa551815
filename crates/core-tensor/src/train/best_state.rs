//! The best parameters so far, and when to stop looking for better ones.

use crate::checkpoint::{Checkpoint, Section};
use crate::params::ParamStore;
use crate::schedule::Better;
use crate::{Error, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Keeps the parameters of the best metric. A metric that is NaN is never the best; of equal ones the first counts.
///
/// ```
/// # use candle_core::{DType, Device};
/// # use core_tensor::{nn, params::ParamStore};
/// use core_tensor::schedule::Better;
/// use core_tensor::train::BestState;
/// # let store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// # nn::linear(3, 2, store.var_builder())?;
/// let mut best = BestState::new(Better::Larger).patience(2);
/// for accuracy in [0.5, 0.7, 0.6, 0.7, 0.4] {
///     best.observe(accuracy, &store)?; // after each epoch
///     if best.is_exhausted() {
///         break;
///     }
/// }
/// best.restore(&store)?;
/// assert_eq!((best.metric(), best.best_at()), (Some(0.7), Some(1)));
/// # Ok::<(), core_tensor::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BestState {
    numbers: Numbers,
    parameters: BTreeMap<String, Tensor>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Numbers {
    better: Better,
    patience: Option<u64>,
    /// The best metric and the observation that it was, from 0.
    best: Option<(f64, u64)>,
    observations: u64,
}

impl BestState {
    /// Nothing seen yet; never [exhausted](Self::is_exhausted).
    pub fn new(better: Better) -> Self {
        Self { numbers: Numbers { better, patience: None, best: None, observations: 0 }, parameters: BTreeMap::new() }
    }

    /// Exhausted once more than `patience` observations in a row were not the best.
    pub fn patience(mut self, patience: u64) -> Self {
        self.numbers.patience = Some(patience);
        self
    }

    /// Takes note of a metric of the current parameters, of which a copy is kept when it is the best so far. Returns whether it is.
    ///
    /// # Errors
    /// When memory runs out on a device.
    pub fn observe(&mut self, metric: f64, store: &ParamStore) -> Result<bool> {
        let is_best = match (self.numbers.best, self.numbers.better) {
            (None, _) => !metric.is_nan(),
            (Some((best, _)), Better::Smaller) => metric < best,
            (Some((best, _)), Better::Larger) => metric > best,
        };
        if is_best {
            self.parameters = store.snapshot()?;
            self.numbers.best = Some((metric, self.numbers.observations));
        }
        self.numbers.observations += 1;
        Ok(is_best)
    }

    /// Whether [patience](Self::patience) has run out.
    pub fn is_exhausted(&self) -> bool {
        let since_best = match self.numbers.best {
            Some((_, at)) => self.numbers.observations - at - 1,
            None => self.numbers.observations,
        };
        self.numbers.patience.is_some_and(|patience| since_best > patience)
    }

    /// The best metric.
    pub fn metric(&self) -> Option<f64> {
        self.numbers.best.map(|(metric, _)| metric)
    }

    /// Which observation was the best, from 0.
    pub fn best_at(&self) -> Option<u64> {
        self.numbers.best.map(|(_, at)| at)
    }

    /// How many observations there were.
    pub fn num_observations(&self) -> u64 {
        self.numbers.observations
    }

    /// Gives the store the parameters of the best metric; without one it stays as it is.
    ///
    /// # Errors
    /// When the store has other parameters than the one that was observed.
    pub fn restore(&self, store: &ParamStore) -> Result<()> {
        if self.numbers.best.is_some() { store.restore(&self.parameters) } else { Ok(()) }
    }

    /// Adds this to a checkpoint, as its section `best`.
    ///
    /// # Errors
    /// When the numbers cannot be stored.
    pub fn save(&self, checkpoint: &mut Checkpoint) -> Result<()> {
        let section = Section::new(self.parameters.clone(), &self.numbers)?;
        checkpoint.sections.insert(SECTION.to_string(), section);
        Ok(())
    }

    /// Takes up where the `best` of a checkpoint stands; the patience is that of `self`.
    ///
    /// # Errors
    /// When the checkpoint has none, or one that looks for the other end.
    pub fn resume(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let section = checkpoint.section(SECTION)?;
        let numbers: Numbers = section.values(SECTION)?;
        if numbers.better != self.numbers.better {
            let reason =
                format!("the checkpoint looks for {:?}, this run for {:?}", numbers.better, self.numbers.better);
            return Err(Error::InvalidConfig { what: "better", reason });
        }
        self.numbers = Numbers { patience: self.numbers.patience, ..numbers };
        self.parameters = section.tensors.clone();
        Ok(())
    }
}

const SECTION: &str = "best";
