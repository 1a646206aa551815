//! Error feedback: what a compressor leaves is kept for later steps.

use crate::error::same_length;
use crate::{Encoded, Error, Result, scan};
use serde::{Deserialize, Serialize};

/// Which memory a tensor has. `g` is its gradient, `C` the compressor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryConfig {
    /// None: `C(g)` is sent, the rest forgotten.
    None,
    /// `a = decay · e + weight · g`; `C(a)` is sent and `e ← a − C(a)`: with both 1 nothing is ever lost (Stich et al. 2018). The default.
    Residual {
        /// Of the residual; 1.
        decay: f32,
        /// Of the gradient; 1.
        weight: f32,
    },
    /// `u ← momentum · u + g`; `C(u)` is sent and `u ← 0` where it was. Takes the place of the optimiser's momentum: use plain SGD.
    Momentum {
        /// 0.9.
        momentum: f32,
    },
    /// Momentum correction with factor masking (DGC): `u ← momentum · u + g`, `v ← v + u`; `C(v)` is sent and `u, v ← 0` where it was. Use plain SGD.
    Dgc {
        /// 0.9.
        momentum: f32,
    },
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self::Residual { decay: 1., weight: 1. }
    }
}

/// The memory of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    config: MemoryConfig,
    /// `e`, `u`, or `v`; empty before the first gradient.
    kept: Vec<f32>,
    /// `u` of [`MemoryConfig::Dgc`].
    velocity: Vec<f32>,
}

impl Memory {
    /// An empty memory.
    ///
    /// # Errors
    ///
    /// When a factor is negative or not finite, or a momentum is not below 1.
    pub fn new(config: MemoryConfig) -> Result<Self> {
        let is_sound = match config {
            MemoryConfig::None => true,
            MemoryConfig::Residual { decay, weight } => {
                (0. ..=1.).contains(&decay) && weight.is_finite() && weight > 0.
            }
            MemoryConfig::Momentum { momentum } | MemoryConfig::Dgc { momentum } => (0. ..1.).contains(&momentum),
        };
        if !is_sound {
            return Err(Error::options("memory", format!("{config:?} is outside its range")));
        }
        Ok(Self { config, kept: Vec::new(), velocity: Vec::new() })
    }

    /// Full error feedback.
    pub fn residual() -> Self {
        Self { config: MemoryConfig::default(), kept: Vec::new(), velocity: Vec::new() }
    }

    /// DGC's momentum correction.
    ///
    /// # Errors
    ///
    /// When the momentum is not from 0 to below 1.
    pub fn dgc(momentum: f32) -> Result<Self> {
        Self::new(MemoryConfig::Dgc { momentum })
    }

    /// What is to be compressed: the gradient with what is left of earlier ones. Call [`Memory::update`] with its short form before the next gradient.
    ///
    /// # Errors
    ///
    /// When the gradient has another length than the first one, or is not finite (the memory is as before then).
    pub fn compensate<'a>(&'a mut self, gradient: &'a [f32]) -> Result<&'a [f32]> {
        if matches!(self.config, MemoryConfig::None) {
            return Ok(gradient);
        }
        scan::max_magnitude("error feedback", gradient)?;
        if self.kept.is_empty() {
            self.kept = vec![0.; gradient.len()];
            if matches!(self.config, MemoryConfig::Dgc { .. }) {
                self.velocity = vec![0.; gradient.len()];
            }
        }
        same_length("error feedback", "the gradient", gradient.len(), self.kept.len())?;
        match self.config {
            MemoryConfig::None => {}
            MemoryConfig::Residual { decay, weight } => {
                self.kept.iter_mut().zip(gradient).for_each(|(e, g)| *e = decay * *e + weight * g);
            }
            MemoryConfig::Momentum { momentum } => {
                self.kept.iter_mut().zip(gradient).for_each(|(u, g)| *u = momentum * *u + g);
            }
            MemoryConfig::Dgc { momentum } => {
                for ((v, u), g) in self.kept.iter_mut().zip(&mut self.velocity).zip(gradient) {
                    *u = momentum * *u + g;
                    *v += *u;
                }
            }
        }
        Ok(&self.kept)
    }

    /// Takes away what is sent.
    ///
    /// # Errors
    ///
    /// When it has another length than the gradient, or is no sparse form where the memory is cleared at the sent positions.
    pub fn update(&mut self, sent: &Encoded) -> Result<()> {
        match self.config {
            MemoryConfig::None => Ok(()),
            MemoryConfig::Residual { .. } => sent.add_to(-1., &mut self.kept),
            MemoryConfig::Momentum { .. } | MemoryConfig::Dgc { .. } => {
                same_length("error feedback", "the sent gradient", sent.len(), self.kept.len())?;
                let drawn;
                let indices = match sent {
                    Encoded::Sparse { indices, .. } => indices,
                    Encoded::Shared { len, seed, values } => {
                        drawn = crate::compress::shared_positions(*seed, *len, values.len())?;
                        &drawn
                    }
                    _ => return Err(Error::options("memory", "momentum memories need a sparse compressor")),
                };
                for &index in indices {
                    self.kept[index as usize] = 0.;
                    if let Some(u) = self.velocity.get_mut(index as usize) {
                        *u = 0.;
                    }
                }
                Ok(())
            }
        }
    }

    /// What is kept: one list, two (`v`, then `u`) for DGC; none before the first gradient.
    pub fn state(&self) -> Vec<&[f32]> {
        [&self.kept, &self.velocity].into_iter().filter(|list| !list.is_empty()).map(Vec::as_slice).collect()
    }

    /// Takes up a state of [`Memory::state`].
    ///
    /// # Errors
    ///
    /// When it is the state of another kind of memory.
    pub fn load_state(&mut self, state: &[Vec<f32>]) -> Result<()> {
        let wanted = match self.config {
            MemoryConfig::None => 0,
            MemoryConfig::Dgc { .. } => 2,
            _ => 1,
        };
        if !state.is_empty() && (state.len() != wanted || state.iter().any(|list| list.len() != state[0].len())) {
            return Err(Error::State(format!("{} lists for {:?}", state.len(), self.config)));
        }
        let mut lists = state.iter().cloned();
        self.kept = lists.next().unwrap_or_default();
        self.velocity = lists.next().unwrap_or_default();
        Ok(())
    }
}
