//! The active-set method: blocks join one by one, and penalties follow the residual down.

use super::dictionary::{Block, BlockDictionary, Products};
use super::elastic_net::{GroupElasticNet, Quadratic, Solver, Spectrum};
use super::vector::norm;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The settings of the active-set method.
///
/// A round computes the residual r and s_i = ‖D_s\[i\]ᵀr‖, a_ij = ‖D_a\[i\]\[j\]ᵀr‖ of all blocks, sets the penalties γ_s and γ_a to the mean of the two largest s and a, adds the class of the largest s and the kind of attack of the largest a to the
/// active sets S and A, and minimises
///
/// F(c) = ‖x − D c‖² + γ_s Σ_i (λ_s‖c_i‖ + (1−λ_s)/2 ‖c_i‖²) + γ_a Σ_ij (λ_a‖c_ij‖ + (1−λ_a)/2 ‖c_ij‖²)
///
/// over the blocks of the classes in S and of the pairs in S × A.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Homotopy {
    /// The number of rounds. It decides how far the penalties fall: with 4 the result is still heavily shrunk, and the right class may not have joined.
    pub max_rounds: usize,
    /// Whether a round in which nothing joins is the last.
    pub early_stop: bool,
    /// λ_s.
    pub lambda_signal: f64,
    /// λ_a.
    pub lambda_attack: f64,
    /// The relative duality gap of each minimisation.
    pub tolerance: f64,
    /// Which algorithm minimises.
    pub solver: Solver,
    /// Whether attack blocks take part.
    pub has_attacks: bool,
}

impl Default for Homotopy {
    /// 12 rounds, no early stop, λ = 0.99.
    fn default() -> Self {
        Self {
            max_rounds: 12,
            early_stop: false,
            lambda_signal: 0.99,
            lambda_attack: 0.99,
            tolerance: 1e-10,
            solver: Solver::BlockDescent,
            has_attacks: true,
        }
    }
}

impl Homotopy {
    /// The authors' rule: at most 4 rounds, and an end when nothing joins.
    pub fn official() -> Self {
        Self { max_rounds: 4, early_stop: true, ..Self::default() }
    }

    /// Without attack blocks: the class alone is sought, and perturbations are noise.
    pub fn signal_only(self) -> Self {
        Self { has_attacks: false, ..self }
    }

    pub(crate) fn check(&self) -> Result<()> {
        const OPERATION: &str = "Homotopy";
        crate::error::check_positive(OPERATION, &[("rounds", self.max_rounds)])?;
        for (what, value) in [("lambda_signal", self.lambda_signal), ("lambda_attack", self.lambda_attack)] {
            if !(value > 0. && value <= 1.) {
                return Err(Error::value(OPERATION, what, value, "above 0, at most 1"));
            }
        }
        if !(self.tolerance > 0. && self.tolerance < 1.) {
            return Err(Error::value(OPERATION, "tolerance", self.tolerance, "between 0 and 1"));
        }
        Ok(())
    }
}

/// What a round did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Round {
    /// The penalty of signal blocks.
    pub gamma_signal: f64,
    /// The penalty of attack blocks; 0 without any.
    pub gamma_attack: f64,
    /// The active classes, in the order in which they joined.
    pub classes: Vec<usize>,
    /// The active kinds of attack, likewise.
    pub attacks: Vec<usize>,
    /// The minimum of F.
    pub objective: f64,
    /// How much lower it may be at most.
    pub gap: f64,
}

/// The state after the last round.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    pub(crate) rounds: Vec<Round>,
    /// Active blocks, and where each one's coefficients begin.
    pub(crate) blocks: Vec<usize>,
    pub(crate) coefficients: Vec<f64>,
    /// `‖2 Dᵀr‖` of each block at the end, and its weight.
    pub(crate) slack: Vec<(f64, f64)>,
}

impl Path {
    /// The coefficients of an active block.
    pub(crate) fn of<'a>(&'a self, dictionary: &BlockDictionary, number: usize) -> Option<&'a [f64]> {
        let mut first = 0;
        for &block in &self.blocks {
            let len = dictionary.range(block).len();
            if block == number {
                return Some(&self.coefficients[first..first + len]);
            }
            first += len;
        }
        None
    }
}

/// The mean of the two largest, or of the only one.
fn mean_of_two_largest(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    sorted.truncate(2);
    if sorted.is_empty() { 0. } else { sorted.iter().sum::<f64>() / sorted.len() as f64 }
}

/// The first position of the largest value.
fn largest(values: &[f64]) -> Option<usize> {
    (0..values.len()).reduce(|best, at| if values[at] > values[best] { at } else { best })
}

/// Follows the path of one signal; `of_signal` is `Dᵀx`. `observe` sees the state after each round.
pub(crate) fn follow(
    dictionary: &BlockDictionary,
    products: &Products,
    settings: &Homotopy,
    x: &[f64],
    of_signal: &[f64],
    observe: &mut dyn FnMut(&Path),
) -> Result<Path> {
    // by class, then by kind of attack: the order of the blocks in the dictionary has no say where norms tie
    let mut signals: Vec<usize> = Vec::new();
    let mut attacks: Vec<usize> = Vec::new();
    for number in 0..dictionary.num_blocks() {
        match dictionary.block(number) {
            Block::Signal(_) => signals.push(number),
            Block::Attack { .. } if settings.has_attacks => attacks.push(number),
            Block::Attack { .. } => {}
        }
    }
    let key = |number: &usize| match dictionary.block(*number) {
        Block::Signal(class) => (0, class),
        Block::Attack { class, attack } => (attack, class),
    };
    signals.sort_by_key(key);
    attacks.sort_by_key(key);

    let mut path = Path { rounds: Vec::new(), blocks: Vec::new(), coefficients: Vec::new(), slack: Vec::new() };
    let (mut classes, mut kinds): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut gram: Vec<f64> = Vec::new();
    let square: f64 = super::vector::dot(x, x);
    let mut first_gamma = 0.;
    let mut correlations = of_signal.to_vec();
    path.slack = slack(dictionary, &correlations, (0., 0.));
    for round in 0..settings.max_rounds {
        let norms = |blocks: &[usize]| -> Vec<f64> {
            blocks.iter().map(|&number| norm(&correlations[dictionary.range(number)])).collect()
        };
        let (of_signals, of_attacks) = (norms(&signals), norms(&attacks));
        let (gamma_signal, gamma_attack) = (mean_of_two_largest(&of_signals), mean_of_two_largest(&of_attacks));
        if round == 0 {
            first_gamma = gamma_signal + gamma_attack;
        }
        // nothing is left to explain
        if gamma_signal + gamma_attack <= 1e-13 * first_gamma || gamma_signal == 0. {
            break;
        }
        let Some(class) = largest(&of_signals).map(|at| dictionary.block(signals[at])) else { break };
        let (Block::Signal(class) | Block::Attack { class, .. }) = class;
        let kind = largest(&of_attacks).map(|at| match dictionary.block(attacks[at]) {
            Block::Attack { attack, .. } => attack,
            Block::Signal(_) => 0,
        });
        let mut has_joined = false;
        if !classes.contains(&class) {
            classes.push(class);
            has_joined = true;
        }
        if let Some(kind) = kind.filter(|kind| !kinds.contains(kind)) {
            kinds.push(kind);
            has_joined = true;
        }
        // blocks that are new stand behind those that are there
        let mut blocks = path.blocks.clone();
        for &class in &classes {
            blocks.extend(dictionary.find(Block::Signal(class)).filter(|number| !path.blocks.contains(number)));
        }
        for &class in &classes {
            for &attack in &kinds {
                let number = dictionary.find(Block::Attack { class, attack });
                blocks.extend(number.filter(|number| !path.blocks.contains(number)));
            }
        }
        if blocks.len() != path.blocks.len() {
            check_memory(dictionary, &blocks)?;
            gram = products.of(dictionary, &blocks, (&path.blocks, &gram));
        }
        let sizes: Vec<usize> = blocks.iter().map(|&number| dictionary.range(number).len()).collect();
        let weights = |number: usize| match dictionary.block(number) {
            Block::Signal(_) => (gamma_signal, settings.lambda_signal),
            Block::Attack { .. } => (gamma_attack, settings.lambda_attack),
        };
        let l1 = blocks.iter().map(|&number| weights(number)).map(|(gamma, lambda)| gamma * lambda).collect();
        let l2 = blocks.iter().map(|&number| weights(number)).map(|(gamma, lambda)| gamma * (1. - lambda)).collect();
        let net = GroupElasticNet::new(&sizes, l1, l2)?.tolerance(settings.tolerance).solver(settings.solver);
        let spectra: Vec<&Spectrum> = blocks.iter().map(|&number| &products.spectra[number]).collect();
        let places = blocks.iter().flat_map(|&number| dictionary.range(number));
        let chosen: Vec<f64> = places.map(|at| of_signal[at]).collect();
        let mut start = path.coefficients.clone();
        start.resize(chosen.len(), 0.);
        let quadratic = Quadratic { gram: &gram, correlations: &chosen, square, spectra: &spectra };
        let solution = net.minimise(&quadratic, Some(&start))?;
        path.blocks = blocks;
        path.coefficients = solution.coefficients;
        path.rounds.push(Round {
            gamma_signal,
            gamma_attack,
            classes: classes.clone(),
            attacks: kinds.clone(),
            objective: solution.objective,
            gap: solution.gap,
        });
        correlations = correlations_of(dictionary, products, x, of_signal, &path);
        let weights = (gamma_signal * settings.lambda_signal, gamma_attack * settings.lambda_attack);
        path.slack = slack(dictionary, &correlations, weights);
        observe(&path);
        if settings.early_stop && !has_joined {
            break;
        }
    }
    Ok(path)
}

/// What products of active columns may take: 16 GiB.
const MOST_BYTES: u64 = 1 << 34;

fn check_memory(dictionary: &BlockDictionary, blocks: &[usize]) -> Result<()> {
    let columns: u64 = blocks.iter().map(|&number| dictionary.range(number).len() as u64).sum();
    let bytes = columns.saturating_mul(columns).saturating_mul(8);
    if bytes > MOST_BYTES {
        let reason = format!(
            "has {columns} active columns, whose products take {bytes} bytes, more than {MOST_BYTES}; make blocks smaller or rounds fewer"
        );
        return Err(Error::config("ReverseEngineer", "the dictionary", reason));
    }
    Ok(())
}

/// `‖2 Dᵀr‖` of each block and its weight.
fn slack(dictionary: &BlockDictionary, correlations: &[f64], weights: (f64, f64)) -> Vec<(f64, f64)> {
    let of = |number: usize| {
        let weight = match dictionary.block(number) {
            Block::Signal(_) => weights.0,
            Block::Attack { .. } => weights.1,
        };
        (2. * norm(&correlations[dictionary.range(number)]), weight)
    };
    (0..dictionary.num_blocks()).map(of).collect()
}

fn correlations_of(
    dictionary: &BlockDictionary,
    products: &Products,
    x: &[f64],
    of_signal: &[f64],
    path: &Path,
) -> Vec<f64> {
    let mut residual = x.to_vec();
    let mut first = 0;
    for &number in &path.blocks {
        let len = dictionary.range(number).len();
        let negative: Vec<f64> = path.coefficients[first..first + len].iter().map(|c| -c).collect();
        if negative.iter().any(|&c| c != 0.) {
            dictionary.add_product(number, &negative, &mut residual);
        }
        first += len;
    }
    products.correlations(dictionary, of_signal, &residual, &path.blocks, &path.coefficients)
}
