//! Error feedback: what a compressor does not send is kept for later steps.

use crate::compressor::Compressor;
use crate::encoded::shared_positions;
use crate::error::same_length;
use crate::{Encoded, Error, Result, scan};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The memory of a tensor with gradient `g` and compressor `C`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryConfig {
    /// No memory: `C(g)` is sent, the rest is lost.
    None,
    /// `a = decay · e + weight · g`; `C(a)` is sent and `e ← a − C(a)`. With both factors 1, nothing is ever lost (Stich et al. 2018). The default.
    Residual {
        /// Factor of the residual, from 0 to 1; 1.
        decay: f32,
        /// Factor of the gradient, above 0; 1.
        weight: f32,
    },
    /// `u ← momentum · u + g`; `C(u)` is sent, and `u ← 0` at the positions sent. It replaces the optimiser's momentum: use SGD without momentum.
    Momentum {
        /// From 0 to below 1; usually 0.9.
        momentum: f32,
    },
    /// Momentum correction (Deep Gradient Compression, Lin et al. 2018, section 3.1) with factor masking (section 3.2): `u ← momentum · u + g`, `v ← v + u`; `C(v)` is sent, and `u, v ← 0` at the positions sent. Use SGD without momentum.
    Dgc {
        /// From 0 to below 1; usually 0.9.
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

/// 0 in the place of a subnormal number: what decays is cut off before it costs some processors a hundred cycles for each operation.
#[inline]
fn or_zero(x: f32) -> f32 {
    if x.is_subnormal() { 0. } else { x }
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
            return Err(Error::config("memory", format!("{config:?} is outside its range")));
        }
        Ok(Self { config, kept: Vec::new(), velocity: Vec::new() })
    }

    /// An empty memory that keeps the whole residual.
    pub fn residual() -> Self {
        Self { config: MemoryConfig::default(), kept: Vec::new(), velocity: Vec::new() }
    }

    /// An empty memory with DGC's momentum correction.
    ///
    /// # Errors
    ///
    /// When the momentum is not from 0 to below 1.
    pub fn dgc(momentum: f32) -> Result<Self> {
        Self::new(MemoryConfig::Dgc { momentum })
    }

    /// What to compress: the gradient plus what is left of earlier ones. Call [`Memory::update`] with its compressed form before the next gradient.
    ///
    /// # Errors
    ///
    /// When the gradient has another length than the first one, or is not finite; the memory is unchanged then.
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
                self.kept.iter_mut().zip(gradient).for_each(|(e, g)| *e = or_zero(decay * *e + weight * or_zero(*g)));
            }
            MemoryConfig::Momentum { momentum } => {
                self.kept.iter_mut().zip(gradient).for_each(|(u, g)| *u = or_zero(momentum * *u + or_zero(*g)));
            }
            MemoryConfig::Dgc { momentum } => {
                for ((v, u), g) in self.kept.iter_mut().zip(&mut self.velocity).zip(gradient) {
                    *u = or_zero(momentum * *u + or_zero(*g));
                    *v += *u;
                }
            }
        }
        Ok(&self.kept)
    }

    /// Subtracts what is sent, as its compressor decodes it.
    ///
    /// # Errors
    ///
    /// When it has another length than the gradient, cannot be decoded, or a momentum memory has to be cleared at the positions sent but the form is neither [`Encoded::Sparse`] nor
    /// [`Encoded::Shared`].
    pub fn update(&mut self, sent: &Encoded, compressor: &dyn Compressor) -> Result<()> {
        if !matches!(self.config, MemoryConfig::None) {
            same_length("error feedback", "the gradient sent", sent.len(), self.kept.len())?;
        }
        match self.config {
            MemoryConfig::None => Ok(()),
            MemoryConfig::Residual { .. } => compressor.decode(sent, -1., &mut self.kept),
            MemoryConfig::Momentum { .. } | MemoryConfig::Dgc { .. } => {
                let drawn;
                let indices = match sent {
                    Encoded::Sparse { indices, .. } => indices,
                    Encoded::Shared { len, seed, values } => {
                        drawn = shared_positions(*seed, *len, values.len())?;
                        &drawn
                    }
                    _ => {
                        let reason =
                            format!("momentum needs a compressor that sends indices, not {}", compressor.name());
                        return Err(Error::config("memory", reason));
                    }
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

    /// What is kept, by name: `residual`, `momentum` (`u`), or for DGC `momentum` (`u`) and `accumulated` (`v`). Nothing before the first gradient.
    pub fn state(&self) -> BTreeMap<&'static str, &[f32]> {
        let lists = [&self.kept, &self.velocity].into_iter().map(Vec::as_slice);
        self.names().iter().copied().zip(lists).filter(|(_, list)| !list.is_empty()).collect()
    }

    /// Restores a state of [`Memory::state`].
    ///
    /// # Errors
    ///
    /// When it is the state of another kind of memory.
    pub fn load_state(&mut self, state: &BTreeMap<String, Vec<f32>>) -> Result<()> {
        let names = self.names();
        let lists: Option<Vec<&Vec<f32>>> = names.iter().map(|name| state.get(*name)).collect();
        match lists {
            _ if state.is_empty() => (self.kept, self.velocity) = (Vec::new(), Vec::new()),
            Some(lists) if lists.len() == state.len() && lists.iter().all(|list| list.len() == lists[0].len()) => {
                let mut lists = lists.into_iter().cloned();
                self.kept = lists.next().unwrap_or_default();
                self.velocity = lists.next().unwrap_or_default();
            }
            _ => {
                let found: Vec<String> =
                    state.iter().map(|(name, list)| format!("`{name}` of {} elements", list.len())).collect();
                return Err(Error::state(format!("it has {}, expected {names:?} of one length", found.join(", "))));
            }
        }
        Ok(())
    }

    /// Names of `kept` and `velocity`.
    fn names(&self) -> &'static [&'static str] {
        match self.config {
            MemoryConfig::None => &[],
            MemoryConfig::Residual { .. } => &["residual"],
            MemoryConfig::Momentum { .. } => &["momentum"],
            MemoryConfig::Dgc { .. } => &["accumulated", "momentum"],
        }
    }
}
