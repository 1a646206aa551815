//! How a model is run: what of it behaves as in training.

use crate::random::{Rng, dropout};
use candle_core::Tensor;

/// How a model is run, in three parts that are chosen one by one.
///
/// | | noise (dropout) | normalises by | running statistics |
/// |---|---|---|---|
/// | [`Mode::train`] | yes | the batch | move |
/// | [`Mode::evaluate`] | no | running statistics | stay |
/// | recalibration of batch norms: [`Mode::recalibrate`] | no | the batch | move |
/// | a teacher or a target of an attack in training mode: `Mode::train(&mut rng).without_updates()` | yes | the batch | stay |
/// | Monte Carlo dropout: `Mode::evaluate().with_noise(&mut rng)` | yes | running statistics | stay |
///
/// ```
/// use core_tensor::{Mode, random::Rng};
/// let mut rng = Rng::new(0);
/// let mode = Mode::train(&mut rng).without_updates();
/// assert!(mode.has_noise() && mode.uses_batch_statistics && !mode.updates_statistics);
/// ```
#[derive(Debug)]
pub struct Mode<'a> {
    /// Where dropout masks and other noise of training come from; without it there is none.
    pub noise: Option<&'a mut Rng>,
    /// Whether batch norms normalise by the statistics of the batch instead of the running ones.
    pub uses_batch_statistics: bool,
    /// Whether batch norms move their running statistics towards those of the batch.
    pub updates_statistics: bool,
}

impl<'a> Mode<'a> {
    /// Training: noise, statistics of the batch, and running statistics that follow them.
    pub fn train(rng: &'a mut Rng) -> Self {
        Self { noise: Some(rng), uses_batch_statistics: true, updates_statistics: true }
    }

    /// Evaluation: no noise, running statistics, and nothing changes.
    pub fn evaluate() -> Self {
        Self { noise: None, uses_batch_statistics: false, updates_statistics: false }
    }

    /// Statistics of the batch, and running statistics that follow them, without noise: what brings the statistics of batch norms up to date after weights were changed.
    pub fn recalibrate() -> Self {
        Self { noise: None, uses_batch_statistics: true, updates_statistics: true }
    }

    /// The same mode in which running statistics stay as they are.
    pub fn without_updates(self) -> Self {
        Self { updates_statistics: false, ..self }
    }

    /// The same mode without dropout and other noise.
    pub fn without_noise(self) -> Self {
        Self { noise: None, ..self }
    }

    /// The same mode with dropout and other noise.
    pub fn with_noise(self, rng: &'a mut Rng) -> Self {
        Self { noise: Some(rng), ..self }
    }

    /// Whether dropout and other noise are on.
    pub fn has_noise(&self) -> bool {
        self.noise.is_some()
    }

    /// The same mode for a part of a model, while this one is borrowed.
    pub fn reborrow(&mut self) -> Mode<'_> {
        let Self { noise, uses_batch_statistics, updates_statistics } = self;
        Mode {
            noise: noise.as_deref_mut(),
            uses_batch_statistics: *uses_batch_statistics,
            updates_statistics: *updates_statistics,
        }
    }

    /// Inverted dropout of probability `p` where noise is on, else `x` itself.
    ///
    /// # Errors
    /// A `p` outside `[0, 1)`, with or without noise.
    pub fn dropout(&mut self, x: &Tensor, p: f64) -> crate::Result<Tensor> {
        crate::random::check_probability(p)?;
        match &mut self.noise {
            Some(rng) if p != 0.0 => dropout(x, p, rng),
            _ => Ok(x.clone()),
        }
    }
}
