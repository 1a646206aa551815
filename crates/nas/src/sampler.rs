//! Which architectures are trained, step after step.

use crate::space::{Architecture, SearchSpace};
use crate::{Error, Result};
use core_tensor::random::Rng;

/// SPOS: each step's architecture uniform, independent of all others (Guo et al., ECCV 2020).
#[derive(Debug, Clone)]
pub struct Uniform {
    space: SearchSpace,
    rng: Rng,
}

impl Uniform {
    /// Draws from a seed.
    pub fn new(space: &SearchSpace, seed: u64) -> Self {
        Self { space: space.clone(), rng: Rng::new(seed).fork("uniform") }
    }
}

impl Iterator for Uniform {
    type Item = Result<Architecture>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.space.sample(&mut self.rng))
    }
}

/// FairNAS: each step a permutation of every layer's candidates, which makes as many architectures as a layer has candidates; together they use each operator once (Chu et al., ICCV 2021). Their gradients are summed for one update. A new permutation every step.
#[derive(Debug, Clone)]
pub struct Fair {
    candidates: Vec<usize>,
    rng: Rng,
}

impl Fair {
    /// Draws from a seed.
    ///
    /// # Errors
    /// Layers with different numbers of candidates, which no set of architectures uses once each, or constraints, which permutations do not know.
    pub fn new(space: &SearchSpace, seed: u64) -> Result<Self> {
        let candidates: Vec<usize> = (0..space.num_layers()).map(|layer| space.candidates(layer).len()).collect();
        if candidates.windows(2).any(|pair| pair[0] != pair[1]) {
            let reason = format!("layers have {candidates:?} candidates, expected the same number in each");
            return Err(Error::invalid("Fair::new", reason));
        }
        if space.has_constraints() {
            return Err(Error::invalid("Fair::new", "the space has constraints, which permutations may miss"));
        }
        Ok(Self { candidates, rng: Rng::new(seed).fork("fair") })
    }
}

impl Iterator for Fair {
    type Item = Vec<Architecture>;

    fn next(&mut self) -> Option<Self::Item> {
        let orders: Vec<Vec<u32>> = self.candidates.iter().map(|&count| self.rng.permutation(count)).collect();
        let child = |at: usize| Architecture(orders.iter().map(|order| order[at] as usize).collect());
        Some((0..self.candidates[0]).map(child).collect())
    }
}

/// MAGIC-T: each step's architecture differs from the one before in one layer, drawn uniformly, and has there another operator, drawn uniformly.
///
/// The chain is symmetric and reaches everything, so in the long run every architecture is trained equally often; it mixes in about `L log L` steps, and states that are near in time depend on each other. With two candidates in each layer it has period 2: at even steps it is
/// in one half of the space, its time average is uniform all the same. Where constraints refuse a change, the chain stays for that step, which keeps it symmetric.
#[derive(Debug, Clone)]
pub struct Gradual {
    space: SearchSpace,
    /// Layers with a choice.
    layers: Vec<usize>,
    current: Option<Architecture>,
    rng: Rng,
}

impl Gradual {
    /// A chain that begins with a uniform architecture.
    ///
    /// # Errors
    /// A space without a choice.
    pub fn new(space: &SearchSpace, seed: u64) -> Result<Self> {
        let layers: Vec<usize> = (0..space.num_layers()).filter(|&layer| space.candidates(layer).len() > 1).collect();
        if layers.is_empty() {
            return Err(Error::invalid("Gradual::new", "no layer has more than one candidate"));
        }
        Ok(Self { space: space.clone(), layers, current: None, rng: Rng::new(seed).fork("gradual") })
    }

    /// A chain that goes on from an architecture, which is not given again.
    ///
    /// # Errors
    /// As [`new`](Self::new), and an architecture that is not in the space.
    pub fn from(space: &SearchSpace, architecture: Architecture, seed: u64) -> Result<Self> {
        space.check(&architecture)?;
        Ok(Self { current: Some(architecture), ..Self::new(space, seed)? })
    }

    /// The architecture with another operator in a layer: number `draw` among those that it does not have now.
    pub fn changed(architecture: &Architecture, layer: usize, draw: usize) -> Architecture {
        let mut next = architecture.clone();
        if let Some(operator) = next.0.get_mut(layer) {
            *operator = if draw < *operator { draw } else { draw + 1 };
        }
        next
    }
}

impl Iterator for Gradual {
    type Item = Result<Architecture>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match &self.current {
            None => match self.space.sample(&mut self.rng) {
                Ok(first) => first,
                Err(error) => return Some(Err(error)),
            },
            Some(current) => {
                let layer = self.layers[self.rng.below(self.layers.len())];
                let draw = self.rng.below(self.space.candidates(layer).len() - 1);
                let next = Self::changed(current, layer, draw);
                if self.space.allows(&next) { next } else { current.clone() }
            }
        };
        self.current = Some(next.clone());
        Some(Ok(next))
    }
}
