//! Searches over a space with scores that cost something.

use crate::space::{Architecture, SearchSpace};
use crate::{Error, Result};
use core_tensor::random::Rng;
use std::collections::HashMap;
use std::sync::Arc;

type Cost = Arc<dyn Fn(&Architecture) -> Result<f64> + Send + Sync>;

/// A cost that may not exceed a number: parameters, multiplications, seconds.
#[derive(Clone)]
pub struct Limit {
    name: String,
    most: f64,
    cost: Cost,
}

impl std::fmt::Debug for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} <= {}", self.name, self.most)
    }
}

impl Limit {
    /// A limit by its name, such as `parameters`.
    pub fn new(
        name: impl Into<String>,
        most: f64,
        cost: impl Fn(&Architecture) -> Result<f64> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), most, cost: Arc::new(cost) }
    }
}

/// The settings of [`evolutionary`]; those of SPOS.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvolutionConfig {
    /// Architectures of a generation, 50.
    pub population: usize,
    /// Generations, 20.
    pub generations: usize,
    /// The best of all so far from which the next come, 10.
    pub parents: usize,
    /// Of the next generation those with each layer from one of two parents, 25.
    pub crossovers: usize,
    /// Those of a parent with layers drawn anew, 25. What is missing to the population is random.
    pub mutations: usize,
    /// The probability that a layer is drawn anew, 0.1.
    pub mutation_probability: f64,
}

impl Default for EvolutionConfig {
    fn default() -> Self {
        Self { population: 50, generations: 20, parents: 10, crossovers: 25, mutations: 25, mutation_probability: 0.1 }
    }
}

/// What a search has scored, in order; more is better. Stored, and given back, it resumes the search: nothing in it is scored again.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct History {
    /// Architectures with their scores, no architecture twice.
    pub scored: Vec<(Architecture, f64)>,
}

impl History {
    /// The best; of equal ones the first.
    pub fn best(&self) -> Option<&(Architecture, f64)> {
        let mut best: Option<&(Architecture, f64)> = None;
        for entry in &self.scored {
            if best.is_none_or(|best| entry.1 > best.1) {
                best = Some(entry);
            }
        }
        best
    }

    /// The best score after each evaluation.
    pub fn curve(&self) -> Vec<f64> {
        let mut best = f64::NEG_INFINITY;
        let next = |entry: &(Architecture, f64)| {
            best = best.max(entry.1);
            best
        };
        self.scored.iter().map(next).collect()
    }

    /// Those that no other beats in both score and cost, by rising cost.
    ///
    /// # Errors
    /// Those of `cost`.
    pub fn front(&self, cost: impl Fn(&Architecture) -> Result<f64>) -> Result<Vec<(Architecture, f64, f64)>> {
        let mut all = Vec::with_capacity(self.scored.len());
        for (architecture, score) in &self.scored {
            all.push((architecture.clone(), *score, cost(architecture)?));
        }
        all.sort_by(|a, b| a.2.total_cmp(&b.2).then(b.1.total_cmp(&a.1)));
        let mut best = f64::NEG_INFINITY;
        all.retain(|(_, score, _)| {
            let is_better = *score > best;
            best = best.max(*score);
            is_better
        });
        Ok(all)
    }
}

/// Draws in a row that may miss the limits, or find nothing new, before a search gives up.
const DRAWS: usize = 20_000;
/// Spaces up to this size are looked through one by one where draws miss.
const ENUMERATED: u128 = 1 << 16;

struct Search<'a> {
    space: &'a SearchSpace,
    limits: &'a [Limit],
    known: HashMap<Architecture, f64>,
    history: History,
    /// The nearest miss: how far above the limit in relation, which limit, the cost, the architecture.
    nearest: Option<(f64, usize, f64, Architecture)>,
}

impl<'a> Search<'a> {
    fn new(space: &'a SearchSpace, limits: &'a [Limit], history: History) -> Result<Self> {
        for limit in limits {
            if limit.most.is_nan() {
                return Err(Error::value("search", format!("the limit of {}", limit.name), limit.most, "a number"));
            }
        }
        let mut known = HashMap::new();
        for (architecture, score) in &history.scored {
            space.check(architecture)?;
            known.insert(architecture.clone(), *score);
        }
        Ok(Self { space, limits, known, history, nearest: None })
    }

    /// Whether an architecture meets all limits; remembers the nearest that does not.
    fn is_within(&mut self, architecture: &Architecture) -> Result<bool> {
        let mut worst: Option<(f64, usize, f64)> = None;
        for (at, limit) in self.limits.iter().enumerate() {
            let cost = (limit.cost)(architecture)?;
            if cost <= limit.most {
                continue;
            }
            let above = (cost - limit.most) / limit.most.abs().max(f64::MIN_POSITIVE);
            if worst.is_none_or(|(worst, ..)| above > worst) {
                worst = Some((above, at, cost));
            }
        }
        let Some((above, at, cost)) = worst else { return Ok(true) };
        if self.nearest.as_ref().is_none_or(|(nearest, ..)| above < *nearest) {
            self.nearest = Some((above, at, cost, architecture.clone()));
        }
        Ok(false)
    }

    /// A random architecture that is new and within the limits; none where there is none left, as far as can be told.
    fn random(&mut self, rng: &mut Rng, taken: &[Architecture]) -> Result<Option<Architecture>> {
        let is_new = |own: &Self, drawn: &Architecture| !own.known.contains_key(drawn) && !taken.contains(drawn);
        for _ in 0..DRAWS {
            let drawn = self.space.sample(rng)?;
            if is_new(self, &drawn) && self.is_within(&drawn)? {
                return Ok(Some(drawn));
            }
        }
        if self.space.count().is_some_and(|count| count <= ENUMERATED) {
            for candidate in self.space.all().collect::<Vec<_>>() {
                if is_new(self, &candidate) && self.is_within(&candidate)? {
                    return Ok(Some(candidate));
                }
            }
        }
        Ok(None)
    }

    fn score(&mut self, architecture: Architecture, score: &mut dyn FnMut(&Architecture) -> Result<f64>) -> Result<()> {
        let value = score(&architecture)?;
        if value.is_nan() {
            return Err(Error::value("search", format!("the score of {architecture}"), value, "a number"));
        }
        self.known.insert(architecture.clone(), value);
        self.history.scored.push((architecture, value));
        Ok(())
    }

    fn infeasible(&self) -> Error {
        match &self.nearest {
            Some((_, at, cost, architecture)) => Error::Infeasible {
                limit: self.limits[*at].name.clone(),
                most: self.limits[*at].most,
                least: *cost,
                architecture: architecture.to_string(),
            },
            None => Error::invalid("search", "no architecture was found"),
        }
    }

    fn end(self) -> Result<History> {
        if self.history.scored.is_empty() { Err(self.infeasible()) } else { Ok(self.history) }
    }
}

/// Random search: so many different architectures within the limits, fewer where there are fewer. Goes on from a history.
///
/// # Errors
/// [`Error::Infeasible`] with the tightest limit and the cheapest architecture where none meets the limits; errors of scores and costs.
pub fn random(
    space: &SearchSpace,
    limits: &[Limit],
    count: usize,
    seed: u64,
    history: History,
    mut score: impl FnMut(&Architecture) -> Result<f64>,
) -> Result<History> {
    let mut search = Search::new(space, limits, history)?;
    let mut rng = Rng::new(seed).fork("random search");
    while search.history.scored.len() < count {
        let Some(next) = search.random(&mut rng, &[])? else { break };
        search.score(next, &mut score)?;
    }
    search.end()
}

/// Evolutionary search within limits; no architecture is scored twice, and the search ends where nothing new is found, however small the space. Goes on from a history, whose best are parents of the first generation.
///
/// # Errors
/// As [`random`], and settings that contradict each other.
pub fn evolutionary(
    space: &SearchSpace,
    limits: &[Limit],
    config: &EvolutionConfig,
    seed: u64,
    history: History,
    mut score: impl FnMut(&Architecture) -> Result<f64>,
) -> Result<History> {
    const OPERATION: &str = "evolutionary";
    if config.population == 0 || config.parents == 0 {
        return Err(Error::invalid(OPERATION, "a population or parents of 0"));
    }
    if !(0.0..=1.0).contains(&config.mutation_probability) {
        let got = config.mutation_probability;
        return Err(Error::value(OPERATION, "mutation_probability", got, "in [0, 1]"));
    }
    let mut search = Search::new(space, limits, history)?;
    let mut rng = Rng::new(seed).fork("evolution");
    for _ in 0..config.generations {
        let mut parents: Vec<(Architecture, f64)> = search.history.scored.clone();
        parents.sort_by(|a, b| b.1.total_cmp(&a.1));
        parents.truncate(config.parents);
        let mut next: Vec<Architecture> = Vec::new();
        if !parents.is_empty() {
            let goals = [(config.crossovers, true), (config.mutations, false)];
            for (count, is_crossover) in goals {
                let goal = (next.len() + count).min(config.population);
                // as SPOS: ten tries for each that is wanted
                for _ in 0..10 * count {
                    if next.len() >= goal {
                        break;
                    }
                    let mut child = parents[rng.below(parents.len())].0.clone();
                    let other = &parents[rng.below(parents.len())].0;
                    for layer in 0..child.0.len() {
                        if is_crossover {
                            if rng.unit() < 0.5 {
                                child.0[layer] = other.0[layer];
                            }
                        } else if rng.unit() < config.mutation_probability {
                            child.0[layer] = rng.below(space.candidates(layer).len());
                        }
                    }
                    let is_new = !search.known.contains_key(&child) && !next.contains(&child);
                    if is_new && space.allows(&child) && search.is_within(&child)? {
                        next.push(child);
                    }
                }
            }
        }
        while next.len() < config.population {
            let Some(drawn) = search.random(&mut rng, &next)? else { break };
            next.push(drawn);
        }
        if next.is_empty() {
            break;
        }
        for architecture in next {
            search.score(architecture, &mut score)?;
        }
    }
    search.end()
}
