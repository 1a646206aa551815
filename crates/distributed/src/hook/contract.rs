//! What a hook is.

use crate::communicator::Communicator;
use crate::key::Key;
use crate::ratio::check_ratio;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Averages one bucket of gradients over all ranks. Each bucket has a hook of its own.
pub trait Hook: Send {
    /// A short name. Ranks whose hooks have different names refuse to train together.
    fn name(&self) -> &'static str;

    /// Replaces the gradients of this rank by the mean over ranks, or its approximation, with the same bits on every rank.
    ///
    /// # Errors
    ///
    /// When a gradient is not finite, or communication fails.
    fn reduce(&mut self, gradients: &mut [f32], key: &Key, communicator: &dyn Communicator) -> Result<Statistics>;

    /// [`Hook::reduce`] for gradients in double precision. By default they are rounded to single precision first, and again after.
    ///
    /// # Errors
    ///
    /// As [`Hook::reduce`].
    fn reduce_f64(&mut self, gradients: &mut [f64], key: &Key, communicator: &dyn Communicator) -> Result<Statistics> {
        let mut rounded: Vec<f32> = gradients.iter().map(|&gradient| gradient as f32).collect();
        let statistics = self.reduce(&mut rounded, key, communicator)?;
        gradients.iter_mut().zip(rounded).for_each(|(gradient, mean)| *gradient = f64::from(mean));
        Ok(statistics)
    }

    /// Changes the fraction of the elements to send. Hooks without such a fraction ignore it.
    ///
    /// # Errors
    ///
    /// When it is not above 0 and at most 1.
    fn set_ratio(&mut self, ratio: f64) -> Result<()> {
        check_ratio("ratio", ratio)
    }

    /// What a checkpoint has to hold.
    fn state(&self) -> HookState {
        HookState::default()
    }

    /// Restores a state of [`Hook::state`].
    ///
    /// # Errors
    ///
    /// When it belongs to another hook.
    fn load_state(&mut self, state: &HookState) -> Result<()> {
        if *state == HookState::default() { Ok(()) } else { Err(Error::state(format!("{} has no state", self.name()))) }
    }
}

/// The state of a hook.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HookState {
    /// Residuals, momenta and the like by name, without `/` in names. The longest has the length of the bucket.
    pub lists: BTreeMap<String, Vec<f32>>,
    /// Numbers that adapt from step to step.
    pub numbers: Vec<f64>,
}

/// What this rank did with a bucket in one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Elements in the bucket.
    pub elements: usize,
    /// Elements that the compressor considered for sending.
    pub candidates: usize,
    /// Elements sent.
    pub sent: usize,
    /// Bytes of the compressed form, or of the dense one.
    pub bytes: usize,
    /// Seconds of error feedback and compression.
    pub encode_seconds: f64,
    /// Seconds of communication, including waiting for slower ranks.
    pub communicate_seconds: f64,
    /// Seconds of decoding.
    pub decode_seconds: f64,
}

impl Statistics {
    /// Candidates that were not sent, such as those that lost a collision of DRAGONN's hash.
    pub fn lost(&self) -> usize {
        self.candidates.saturating_sub(self.sent)
    }
}

impl std::ops::AddAssign for Statistics {
    fn add_assign(&mut self, other: Self) {
        self.elements += other.elements;
        self.candidates += other.candidates;
        self.sent += other.sent;
        self.bytes += other.bytes;
        self.encode_seconds += other.encode_seconds;
        self.communicate_seconds += other.communicate_seconds;
        self.decode_seconds += other.decode_seconds;
    }
}
