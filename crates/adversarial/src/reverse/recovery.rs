//! When the block-sparse problem is certain to find the right blocks.

use super::baselines::{basis, singular_values};
use super::dictionary::{Block, BlockDictionary};
use crate::{Error, Result};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use serde::Serialize;

/// What can be said of a class and a kind of attack before any signal is seen.
///
/// With B₁ = D_s\[class\], B₂ = D_a\[class\]\[attack\] and U an orthonormal basis of the span of both: if τ < ρ, then for every signal in that span every minimiser of Σ‖c_s\[i\]‖ + Σ‖c_a\[i\]\[j\]‖ subject to x = D_s c_s + D_a c_a is
/// supported on these two blocks. The condition is sufficient, not necessary. Whether a signal is in the span is what [`BlockDictionary::distances`] says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairRecovery {
    /// The class.
    pub class: usize,
    /// The kind of attack.
    pub attack: usize,
    /// The dimension of the span. What rounding leaves of a column is no dimension, see [`BlockDictionary`].
    pub rank: usize,
    /// ρ, the least value of max(‖B₁ᵀu‖, ‖B₂ᵀu‖) over unit vectors u of the span. ρ² is the maximum over t in \[0, 1\] of the least eigenvalue of t·UᵀB₁B₁ᵀU + (1−t)·UᵀB₂B₂ᵀU (exact from rank 3 on, by Brickman's theorem; below
    /// it is a lower bound).
    pub rho: f64,
    /// The smallest singular value above 0 of \[B₁ B₂\].
    pub sigma_min: f64,
    /// σ_min/√2, which ρ is never below.
    pub lower_bound: f64,
    /// The largest singular value of BᵀU for each other block B.
    pub sigma_max: Vec<(Reference, f64)>,
    /// τ, the largest of them.
    pub tau: f64,
    /// The cosine of the smallest angle between the spans of B₁ and B₂. Below 1, they meet in 0 alone.
    pub cos_smallest_angle: f64,
}

/// A block in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// The class.
    pub class: usize,
    /// The kind of attack; none for signals.
    pub attack: Option<usize>,
}

impl PairRecovery {
    /// τ < ρ.
    pub fn is_guaranteed(&self) -> bool {
        self.tau < self.rho
    }
}

/// The conditions for every pair of a class and a kind of attack that the dictionary has, in rayon's pool.
///
/// # Errors
/// No such pair.
pub fn recovery_report(dictionary: &BlockDictionary) -> Result<Vec<PairRecovery>> {
    let mut pairs = Vec::new();
    for class in 0..dictionary.num_classes() {
        for attack in 0..dictionary.attacks().len() {
            let signal = dictionary.find(Block::Signal(class));
            if let (Some(signal), Some(perturbation)) = (signal, dictionary.find(Block::Attack { class, attack })) {
                pairs.push((class, attack, signal, perturbation));
            }
        }
    }
    crate::error::check_positive("recovery_report", &[("pairs of signals and attacks", pairs.len())])?;
    Ok(pairs
        .par_iter()
        .map(|&(class, attack, signal, perturbation)| pair(dictionary, class, attack, [signal, perturbation]))
        .collect())
}

impl BlockDictionary {
    /// How far each of the signals `[n, dimension]` is from the span of all columns of these blocks: 0 up to rounding for a signal that they explain.
    ///
    /// # Errors
    /// No blocks, or one that is not there; signals of another length or with values that are not finite.
    pub fn distances(&self, blocks: &[Block], signals: &[f64]) -> Result<Vec<f64>> {
        const OPERATION: &str = "BlockDictionary::distances";
        let d = self.dimension();
        crate::error::check_positive(OPERATION, &[("blocks", blocks.len()), ("signals", signals.len())])?;
        if !signals.len().is_multiple_of(d) {
            return Err(Error::length(OPERATION, "elements of signals", signals.len(), signals.len().div_ceil(d) * d));
        }
        if let Some(at) = signals.iter().position(|value| !value.is_finite()) {
            let what = format!("element {} of signal {}", at % d, at / d);
            return Err(Error::value(OPERATION, what, signals[at], "a finite number"));
        }
        let mut columns = DMatrix::zeros(d, 0);
        let mut rounding = Vec::new();
        for block in blocks {
            let missing = || Error::config(OPERATION, "a block", format!("{block:?} is not there"));
            let number = self.find(*block).ok_or_else(missing)?;
            let (matrix, known) = (self.matrix(number), columns.ncols());
            columns = columns.resize_horizontally(known + matrix.ncols(), 0.);
            columns.columns_mut(known, matrix.ncols()).copy_from(&matrix);
            rounding.extend_from_slice(self.rounding(number));
        }
        let u = basis(columns, &rounding);
        let distance = |x: &[f64]| {
            let x = DVector::from_column_slice(x);
            (&x - &u * u.tr_mul(&x)).norm()
        };
        Ok(signals.chunks(d).map(distance).collect())
    }
}

fn pair(dictionary: &BlockDictionary, class: usize, attack: usize, blocks: [usize; 2]) -> PairRecovery {
    let [b1, b2] = blocks.map(|number| dictionary.matrix(number).clone_owned());
    let mut both = b1.clone().resize_horizontally(b1.ncols() + b2.ncols(), 0.);
    both.columns_mut(b1.ncols(), b2.ncols()).copy_from(&b2);
    let [first, second] = blocks.map(|number| dictionary.rounding(number));
    let u = basis(both.clone(), &[first, second].concat());
    let sigma_min = singular_values(&u.tr_mul(&both)).last().copied().unwrap_or(0.);
    let square = |b: &DMatrix<f64>| {
        let product = u.tr_mul(b);
        &product * product.transpose()
    };
    let rho = largest_least_eigenvalue(&square(&b1), &square(&b2)).max(0.).sqrt();
    let mut sigma_max = Vec::new();
    for number in (0..dictionary.num_blocks()).filter(|number| !blocks.contains(number)) {
        let product = u.tr_mul(&dictionary.matrix(number));
        let value = singular_values(&product).first().copied().unwrap_or(0.);
        let reference = match dictionary.block(number) {
            Block::Signal(class) => Reference { class, attack: None },
            Block::Attack { class, attack } => Reference { class, attack: Some(attack) },
        };
        sigma_max.push((reference, value));
    }
    let between = basis(b1, first).tr_mul(&basis(b2, second));
    PairRecovery {
        class,
        attack,
        rank: u.ncols(),
        rho,
        sigma_min,
        lower_bound: sigma_min / f64::sqrt(2.),
        tau: sigma_max.iter().map(|(_, value)| *value).fold(0., f64::max),
        sigma_max,
        cos_smallest_angle: singular_values(&between).first().copied().unwrap_or(0.),
    }
}

/// The maximum over t in [0, 1] of the least eigenvalue of t A + (1 − t) C, which is concave in t: golden sections.
fn largest_least_eigenvalue(a: &DMatrix<f64>, c: &DMatrix<f64>) -> f64 {
    if a.is_empty() {
        return 0.;
    }
    let value = |t: f64| (a * t + c * (1. - t)).symmetric_eigenvalues().min();
    let ratio = 0.5 * (f64::sqrt(5.) - 1.);
    let (mut low, mut high) = (0., 1.);
    let (mut left, mut right) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut of_left, mut of_right) = (value(left), value(right));
    for _ in 0..60 {
        if of_left < of_right {
            (low, left, of_left) = (left, right, of_right);
            right = low + ratio * (high - low);
            of_right = value(right);
        } else {
            (high, right, of_right) = (right, left, of_left);
            left = high - ratio * (high - low);
            of_left = value(left);
        }
    }
    [value(0.), value(1.), of_left, of_right].into_iter().fold(f64::NEG_INFINITY, f64::max)
}
