//! Spaces of architectures: a choice of one operator in each layer.

use crate::{Error, Result};
use core_tensor::random::Rng;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A choice of one operator in each layer, by its number among the layer's candidates. Printed as `2-0-1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Architecture(pub Vec<usize>);

impl Architecture {
    /// In how many layers two architectures differ; layers that only one has count.
    pub fn distance(&self, other: &Self) -> usize {
        let (a, b) = (&self.0, &other.0);
        a.iter().zip(b).filter(|(a, b)| a != b).count() + a.len().abs_diff(b.len())
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, operator) in self.0.iter().enumerate() {
            write!(f, "{}{operator}", if at == 0 { "" } else { "-" })?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Architecture {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let of = |part: &str| {
            let wrong = || Error::invalid("Architecture", format!("`{text}` is not of the form 2-0-1"));
            part.trim().parse().map_err(|_| wrong())
        };
        text.split('-').map(of).collect::<Result<_>>().map(Self)
    }
}

type Predicate = Arc<dyn Fn(&Architecture) -> bool + Send + Sync>;

/// Layers with candidates, and constraints.
#[derive(Clone)]
pub struct SearchSpace {
    layers: Vec<Vec<String>>,
    constraints: Vec<(String, Predicate)>,
}

impl fmt::Debug for SearchSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let constraints: Vec<&String> = self.constraints.iter().map(|(name, _)| name).collect();
        f.debug_struct("SearchSpace").field("layers", &self.layers).field("constraints", &constraints).finish()
    }
}

/// How many draws may miss the constraints before sampling gives up.
const DRAWS: usize = 100_000;

impl SearchSpace {
    /// A space from the names of each layer's candidates.
    ///
    /// # Errors
    /// No layers, a layer without candidates, or one with a name twice.
    pub fn new(layers: Vec<Vec<String>>) -> Result<Self> {
        const OPERATION: &str = "SearchSpace::new";
        if layers.is_empty() {
            return Err(Error::invalid(OPERATION, "no layers"));
        }
        for (at, layer) in layers.iter().enumerate() {
            if layer.is_empty() {
                return Err(Error::invalid(OPERATION, format!("layer {at} has no candidates")));
            }
            let twice = layer.iter().enumerate().find(|(at, name)| layer[..*at].contains(name));
            if let Some((_, name)) = twice {
                return Err(Error::invalid(OPERATION, format!("layer {at} has `{name}` twice")));
            }
        }
        Ok(Self { layers, constraints: Vec::new() })
    }

    /// The same candidates in each of some layers.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn uniform(layers: usize, candidates: &[&str]) -> Result<Self> {
        Self::new(vec![candidates.iter().map(|&name| name.to_owned()).collect(); layers])
    }

    /// The same space without the architectures that a predicate refuses.
    #[must_use]
    pub fn constrained(
        mut self,
        name: impl Into<String>,
        allows: impl Fn(&Architecture) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.constraints.push((name.into(), Arc::new(allows)));
        self
    }

    /// Number of layers.
    pub fn num_layers(&self) -> usize {
        self.layers.len()
    }

    /// The names of a layer's candidates.
    ///
    /// # Panics
    /// Where there is no such layer.
    pub fn candidates(&self, layer: usize) -> &[String] {
        &self.layers[layer]
    }

    /// The name of an architecture's operator in a layer.
    ///
    /// # Panics
    /// Where there is no such layer or operator.
    pub fn name(&self, architecture: &Architecture, layer: usize) -> &str {
        &self.layers[layer][architecture.0[layer]]
    }

    /// Architectures, those that constraints refuse among them; `None` beyond 2¹²⁸.
    pub fn count(&self) -> Option<u128> {
        self.layers.iter().try_fold(1u128, |count, layer| count.checked_mul(layer.len() as u128))
    }

    /// The decimal logarithm of the count, which no space overflows.
    pub fn log10_count(&self) -> f64 {
        self.layers.iter().map(|layer| (layer.len() as f64).log10()).sum()
    }

    /// Whether an architecture has an operator of each layer and meets the constraints.
    ///
    /// # Errors
    /// [`Error::Foreign`] with what is wrong.
    pub fn check(&self, architecture: &Architecture) -> Result<()> {
        const OPERATION: &str = "SearchSpace::check";
        let foreign = |reason: String| {
            let architecture = architecture.to_string();
            Err(Error::Foreign { operation: OPERATION, architecture, reason })
        };
        if architecture.0.len() != self.layers.len() {
            return foreign(format!("{} layers, expected {}", architecture.0.len(), self.layers.len()));
        }
        for (layer, (&operator, candidates)) in architecture.0.iter().zip(&self.layers).enumerate() {
            if operator >= candidates.len() {
                return foreign(format!("layer {layer} has {} candidates", candidates.len()));
            }
        }
        match self.constraints.iter().find(|(_, allows)| !allows(architecture)) {
            Some((name, _)) => foreign(format!("the constraint `{name}`")),
            None => Ok(()),
        }
    }

    /// Whether there are constraints.
    pub fn has_constraints(&self) -> bool {
        !self.constraints.is_empty()
    }

    /// Whether the constraints allow an architecture of the space.
    pub fn allows(&self, architecture: &Architecture) -> bool {
        self.constraints.iter().all(|(_, allows)| allows(architecture))
    }

    /// The number of an architecture, the last layer counting fastest.
    ///
    /// # Errors
    /// As [`check`](Self::check), and a space of more than 2¹²⁸ architectures.
    pub fn index(&self, architecture: &Architecture) -> Result<u128> {
        self.check(architecture)?;
        let next = |index: u128, (&operator, layer): (&usize, &Vec<String>)| {
            index.checked_mul(layer.len() as u128)?.checked_add(operator as u128)
        };
        let index = architecture.0.iter().zip(&self.layers).try_fold(0u128, next);
        index.ok_or_else(|| Error::invalid("SearchSpace::index", "more than 2^128 architectures have no numbers"))
    }

    /// The architecture with a number.
    ///
    /// # Errors
    /// A number that is not below the count, or an architecture that the constraints refuse.
    pub fn decode(&self, index: u128) -> Result<Architecture> {
        let mut left = index;
        let mut operators = vec![0; self.layers.len()];
        for (operator, layer) in operators.iter_mut().zip(&self.layers).rev() {
            (*operator, left) = ((left % layer.len() as u128) as usize, left / layer.len() as u128);
        }
        if left > 0 {
            let reason = format!("{index} of {} architectures", self.count().unwrap_or(u128::MAX));
            return Err(Error::invalid("SearchSpace::decode", reason));
        }
        let architecture = Architecture(operators);
        self.check(&architecture)?;
        Ok(architecture)
    }

    /// An architecture with the names of its operators instead of their numbers.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn names(&self, architecture: &Architecture) -> Result<Vec<&str>> {
        self.check(architecture)?;
        Ok((0..self.layers.len()).map(|layer| self.name(architecture, layer)).collect())
    }

    /// All architectures that the constraints allow, in the order of their numbers.
    pub fn all(&self) -> impl Iterator<Item = Architecture> {
        let first = Architecture(vec![0; self.layers.len()]);
        let next = |architecture: &Architecture| {
            let mut operators = architecture.0.clone();
            for (operator, layer) in operators.iter_mut().zip(&self.layers).rev() {
                *operator += 1;
                if *operator < layer.len() {
                    return Some(Architecture(operators));
                }
                *operator = 0;
            }
            None
        };
        std::iter::successors(Some(first), next).filter(|architecture| self.allows(architecture))
    }

    /// Allowed architectures that differ in one layer, by layer, then operator.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn neighbours(&self, architecture: &Architecture) -> Result<Vec<Architecture>> {
        self.check(architecture)?;
        let mut all = Vec::new();
        for (layer, candidates) in self.layers.iter().enumerate() {
            for operator in (0..candidates.len()).filter(|&operator| operator != architecture.0[layer]) {
                let mut other = architecture.clone();
                other.0[layer] = operator;
                if self.allows(&other) {
                    all.push(other);
                }
            }
        }
        Ok(all)
    }

    /// An architecture drawn uniformly from those that the constraints allow.
    ///
    /// # Errors
    /// When a hundred thousand draws miss the constraints.
    pub fn sample(&self, rng: &mut Rng) -> Result<Architecture> {
        for _ in 0..DRAWS {
            let operators = self.layers.iter().map(|layer| rng.below(layer.len())).collect();
            let drawn = Architecture(operators);
            if self.allows(&drawn) {
                return Ok(drawn);
            }
        }
        Err(Error::invalid("SearchSpace::sample", format!("{DRAWS} draws in a row miss the constraints")))
    }

    /// Different architectures, drawn uniformly without replacement.
    ///
    /// # Errors
    /// When there are fewer, as far as draws can tell.
    pub fn sample_distinct(&self, count: usize, rng: &mut Rng) -> Result<Vec<Architecture>> {
        let mut all: Vec<Architecture> = Vec::with_capacity(count.min(1 << 16));
        let mut seen = std::collections::HashSet::new();
        let mut missed = 0;
        while all.len() < count {
            let drawn = self.sample(rng)?;
            if seen.insert(drawn.clone()) {
                (missed, _) = (0, all.push(drawn));
                continue;
            }
            missed += 1;
            if missed > DRAWS {
                let reason = format!("{} different architectures were found, {count} were asked for", all.len());
                return Err(Error::invalid("SearchSpace::sample_distinct", reason));
            }
        }
        Ok(all)
    }

    /// The space with these operators alone.
    pub(crate) fn only(&self, architecture: &Architecture) -> Result<Self> {
        self.check(architecture)?;
        Self::new((0..self.layers.len()).map(|layer| vec![self.name(architecture, layer).to_owned()]).collect())
    }
}
