//! From an attacked signal back to its class, the kind of attack and the clean signal.

use super::dictionary::{Block, BlockDictionary, Products};
use super::homotopy::{Homotopy, Path, Round, follow};
use super::vector::{dot, norm};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Which part of the attack a class is judged with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AttackPart {
    /// The blocks of all active classes, as the authors do.
    #[default]
    Whole,
    /// The blocks of the class that is judged.
    Own,
}

/// Explains attacked signals with a dictionary.
#[derive(Debug, Clone)]
pub struct ReverseEngineer {
    dictionary: BlockDictionary,
    products: Products,
    /// The active-set method.
    pub homotopy: Homotopy,
    /// Which part of the attack a class is judged with.
    pub attack_part: AttackPart,
    /// The norm of the attack part below which a signal counts as not attacked; without it every signal has an attack. [`Self::calibrate`] sets it.
    pub least_attack: Option<f64>,
}

/// What is known of a signal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Analysis {
    /// Its class: the one with the smallest residual.
    pub class: usize,
    /// The kind of attack, by the smallest residual; none where the attack part is small, or no attack block is active.
    pub attack: Option<usize>,
    /// The clean signal, `D_s[class] c`.
    pub clean: Vec<f64>,
    /// The perturbation, `D_a[class][attack] c`; zeros where no kind is found.
    pub perturbation: Vec<f64>,
    /// Each active class with ‖x − D_s\[i\]c − D_a c_a‖, in the order in which they joined.
    pub class_residuals: Vec<(usize, f64)>,
    /// Each active kind of attack with ‖x − D_s c_s − D_a\[class\]\[j\]c‖, likewise.
    pub attack_residuals: Vec<(usize, f64)>,
    /// ‖D_a c_a‖, the norm of the whole attack part.
    pub attack_norm: f64,
    /// What each round did.
    pub rounds: Vec<Round>,
    /// Whether the last minimum over the active blocks is one over all blocks, at the last weights: ‖2 D_gᵀr‖ is below its weight for each inactive one. It says that the problem is solved, not that the answer is right; what can be promised of an answer is
    /// [`PairRecovery::is_guaranteed`](super::PairRecovery::is_guaranteed).
    pub is_minimum: bool,
    /// The second smallest residual of a class minus the smallest, relative to ‖x‖; 1 where one class alone was active.
    pub margin: f64,
}

/// 1 GiB.
const MOST_PRODUCTS: usize = 1 << 30;

impl ReverseEngineer {
    /// Prepares a dictionary: the products of its columns are computed once, if they take less than 1 GiB, and otherwise for the active blocks alone.
    ///
    /// # Errors
    /// No signal blocks.
    pub fn new(dictionary: BlockDictionary) -> Result<Self> {
        Self::with_memory(dictionary, MOST_PRODUCTS)
    }

    /// [`Self::new`] with another limit in bytes for the products.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_memory(dictionary: BlockDictionary, limit: usize) -> Result<Self> {
        let signals = dictionary.blocks().filter(|(block, _)| matches!(block, Block::Signal(_))).count();
        crate::error::check_positive("ReverseEngineer::new", &[("signal blocks", signals)])?;
        let products = Products::new(&dictionary, limit);
        Ok(Self {
            dictionary,
            products,
            homotopy: Homotopy::default(),
            attack_part: AttackPart::Whole,
            least_attack: None,
        })
    }

    /// The dictionary.
    pub fn dictionary(&self) -> &BlockDictionary {
        &self.dictionary
    }

    /// The same with other settings of the active-set method.
    pub fn homotopy(self, homotopy: Homotopy) -> Self {
        Self { homotopy, ..self }
    }

    /// The same with classes judged by another part of the attack.
    pub fn attack_part(self, attack_part: AttackPart) -> Self {
        Self { attack_part, ..self }
    }

    /// Sets [`Self::least_attack`] such that a share of clean signals, which the dictionary was not made from, count as not attacked; `signals` is `[n, dimension]`.
    ///
    /// # Errors
    /// A share outside of 0 to 1; those of [`Self::analyse_all`].
    pub fn calibrate(&mut self, signals: &[f64], share: f64) -> Result<f64> {
        if !(0. ..=1.).contains(&share) {
            return Err(Error::value("ReverseEngineer::calibrate", "share", share, "0 to 1"));
        }
        let mut norms: Vec<f64> = self.analyse_all(signals)?.iter().map(|found| found.attack_norm).collect();
        norms.sort_unstable_by(f64::total_cmp);
        let at = ((share * norms.len() as f64).ceil() as usize).clamp(1, norms.len());
        let least = norms[at - 1].next_up();
        self.least_attack = Some(least);
        Ok(least)
    }

    /// Explains one signal.
    ///
    /// # Errors
    /// Another length, values that are not finite or whose squares have no finite sum, a signal of zeros, a minimum that was not reached, active columns whose products take more than 16 GiB (the number of bytes is named).
    pub fn analyse(&self, x: &[f64]) -> Result<Analysis> {
        let d = self.dictionary.dimension();
        if x.len() != d {
            return Err(Error::length("ReverseEngineer::analyse", "elements of a signal", x.len(), d));
        }
        let mut all = self.analyse_all(x)?;
        Ok(all.remove(0))
    }

    /// Explains signals `[n, dimension]`, in rayon's pool; results do not depend on the number of threads.
    ///
    /// # Errors
    /// As [`Self::analyse`].
    pub fn analyse_all(&self, signals: &[f64]) -> Result<Vec<Analysis>> {
        let paths = self.paths(signals)?;
        let rows = signals.chunks(self.dictionary.dimension());
        Ok(paths.iter().zip(rows).map(|(path, x)| self.decide(path, x)).collect())
    }

    pub(crate) fn check(&self, signals: &[f64]) -> Result<()> {
        const OPERATION: &str = "ReverseEngineer";
        let d = self.dictionary.dimension();
        crate::error::check_positive(OPERATION, &[("signals", signals.len())])?;
        if !signals.len().is_multiple_of(d) {
            return Err(Error::length(OPERATION, "elements of signals", signals.len(), signals.len().div_ceil(d) * d));
        }
        for (sample, row) in signals.chunks(d).enumerate() {
            if let Some(at) = row.iter().position(|value| !value.is_finite()) {
                let what = format!("element {at} of signal {sample}");
                return Err(Error::value(OPERATION, what, row[at], "a finite number"));
            }
            let square = dot(row, row);
            if !square.is_finite() {
                return Err(Error::value(
                    OPERATION,
                    format!("the square of signal {sample}"),
                    square,
                    "a finite number",
                ));
            }
            if row.iter().all(|&value| value == 0.) {
                return Err(Error::value(OPERATION, format!("the norm of signal {sample}"), 0., "above 0"));
            }
        }
        Ok(())
    }

    /// Explains one signal after each of the rounds, to see what their number does.
    ///
    /// # Errors
    /// As [`Self::analyse`].
    pub fn analyse_rounds(&self, x: &[f64]) -> Result<Vec<Analysis>> {
        self.homotopy.check()?;
        self.check(x)?;
        if x.len() != self.dictionary.dimension() {
            return Err(Error::length("ReverseEngineer", "elements of a signal", x.len(), self.dictionary.dimension()));
        }
        let of_signal = self.dictionary.correlate(x);
        let mut all = Vec::new();
        let mut observe = |path: &Path| all.push(self.decide(path, x));
        follow(&self.dictionary, &self.products, &self.homotopy, x, &of_signal, &mut observe)?;
        Ok(all)
    }

    fn paths(&self, signals: &[f64]) -> Result<Vec<Path>> {
        self.homotopy.check()?;
        self.check(signals)?;
        let d = self.dictionary.dimension();
        // a few signals together read the dictionary once
        let run = |chunk: &[f64]| -> Result<Vec<Path>> {
            let products = self.dictionary.correlate(chunk);
            let rows = products.chunks(self.dictionary.num_atoms()).zip(chunk.chunks(d));
            rows.map(|(of_signal, x)| {
                follow(&self.dictionary, &self.products, &self.homotopy, x, of_signal, &mut |_| {})
            })
            .collect()
        };
        let found: Vec<Vec<Path>> = signals.par_chunks(d * 4).map(run).collect::<Result<_>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    fn decide(&self, path: &Path, x: &[f64]) -> Analysis {
        let dictionary = &self.dictionary;
        let d = dictionary.dimension();
        let part = |block: Block| -> Option<Vec<f64>> {
            let number = dictionary.find(block)?;
            let mut out = vec![0.; d];
            dictionary.add_product(number, path.of(dictionary, number)?, &mut out);
            Some(out)
        };
        let (classes, kinds) =
            path.rounds.last().map_or_else(Default::default, |round| (round.classes.clone(), round.attacks.clone()));
        let sum = |parts: &mut dyn Iterator<Item = Vec<f64>>| {
            let mut out = vec![0.; d];
            parts.for_each(|part| out.iter_mut().zip(part).for_each(|(out, part)| *out += part));
            out
        };
        let attack_of =
            |class: usize| sum(&mut kinds.iter().filter_map(|&attack| part(Block::Attack { class, attack })));
        let whole_attack = sum(&mut classes.iter().map(|&class| attack_of(class)));
        let whole_signal = sum(&mut classes.iter().filter_map(|&class| part(Block::Signal(class))));
        let residual = |a: &[f64], b: &[f64]| {
            let left: Vec<f64> = x.iter().zip(a).zip(b).map(|((x, a), b)| x - a - b).collect();
            norm(&left)
        };
        let zeros = vec![0.; d];
        let class_residuals: Vec<(usize, f64)> = classes
            .iter()
            .map(|&class| {
                let signal = part(Block::Signal(class)).unwrap_or_else(|| zeros.clone());
                let value = match self.attack_part {
                    AttackPart::Whole => residual(&signal, &whole_attack),
                    AttackPart::Own => residual(&signal, &attack_of(class)),
                };
                (class, value)
            })
            .collect();
        let smallest =
            |list: &[(usize, f64)]| list.iter().copied().reduce(|best, next| if next.1 < best.1 { next } else { best });
        let best = smallest(&class_residuals);
        let class = best.map_or(0, |best| best.0);
        let attack_residuals: Vec<(usize, f64)> = kinds
            .iter()
            .map(|&attack| {
                let own = part(Block::Attack { class, attack }).unwrap_or_else(|| zeros.clone());
                (attack, residual(&whole_signal, &own))
            })
            .collect();
        let attack_norm = norm(&whole_attack);
        let is_attacked = self.least_attack.is_none_or(|least| attack_norm >= least);
        let attack = smallest(&attack_residuals).map(|best| best.0).filter(|_| is_attacked);
        let others = class_residuals.iter().filter(|(other, _)| *other != class).map(|other| other.1);
        let second = others.fold(f64::INFINITY, f64::min);
        let margin = if second.is_finite() { (second - best.map_or(0., |best| best.1)) / norm(x) } else { 1. };
        let is_inactive = |number: &usize| !path.blocks.contains(number);
        let is_fine = |number: usize| {
            let (slack, weight) = path.slack[number];
            slack < weight || (!self.homotopy.has_attacks && matches!(dictionary.block(number), Block::Attack { .. }))
        };
        Analysis {
            class,
            attack,
            clean: part(Block::Signal(class)).unwrap_or_else(|| zeros.clone()),
            perturbation: attack.and_then(|attack| part(Block::Attack { class, attack })).unwrap_or(zeros),
            class_residuals,
            attack_residuals,
            attack_norm,
            is_minimum: !path.rounds.is_empty() && (0..dictionary.num_blocks()).filter(is_inactive).all(is_fine),
            rounds: path.rounds.clone(),
            margin,
        }
    }

    /// The coefficients of all columns of the dictionary for one signal.
    ///
    /// # Errors
    /// As [`Self::analyse`].
    pub fn coefficients(&self, x: &[f64]) -> Result<Vec<f64>> {
        let path = self.paths(x)?.remove(0);
        let mut out = vec![0.; self.dictionary.num_atoms()];
        for &number in &path.blocks {
            if let Some(values) = path.of(&self.dictionary, number) {
                out[self.dictionary.range(number)].copy_from_slice(values);
            }
        }
        Ok(out)
    }

    pub(crate) fn parts(&self) -> (&BlockDictionary, &Products) {
        (&self.dictionary, &self.products)
    }
}
