//! What the block-sparse method has to be compared with.

use super::dictionary::{Block, BlockDictionary};
use super::elastic_net::{GroupElasticNet, Quadratic, Spectrum};
use super::engineer::ReverseEngineer;
use super::vector::{dot, norm};
use crate::{Error, Result};
use nalgebra::{DMatrix, DVector};

/// Classifies by the nearest subspace: the class whose signal columns leave the smallest residual. Microseconds for a signal; no report on the block-sparse classifier should be without it.
#[derive(Debug, Clone)]
pub struct NearestSubspace {
    dimension: usize,
    /// Class and an orthonormal basis of its columns.
    bases: Vec<(usize, DMatrix<f64>)>,
}

/// What is left of a column of length 1 below this is no direction, however exact its numbers are.
const RANK_TOLERANCE: f64 = 1e-10;

/// An orthonormal basis of the span of columns of length 1 (or 0): Gram-Schmidt, twice, the column with most left of it first. What is left of a column is no direction where rounding explains it: below the larger of 1e-10 and
/// 2 n · `rounding` for n columns, since the rounding of up to n of them adds up in it.
pub(crate) fn basis(mut columns: DMatrix<f64>, rounding: &[f64]) -> DMatrix<f64> {
    let mut kept: Vec<DVector<f64>> = Vec::new();
    let share = 2. * columns.ncols() as f64;
    let least = |at: usize| f64::max(RANK_TOLERANCE, share * rounding.get(at).copied().unwrap_or(0.));
    for _ in 0..columns.ncols().min(columns.nrows()) {
        let norms: Vec<f64> = columns.column_iter().map(|column| column.norm()).collect();
        let left = (0..norms.len()).filter(|&at| norms[at] > least(at));
        let Some(at) = left.reduce(|best, at| if norms[at] > norms[best] { at } else { best }) else { break };
        let mut next = columns.column(at) / norms[at];
        for known in &kept {
            next -= known * known.dot(&next);
        }
        next.normalize_mut();
        for mut column in columns.column_iter_mut() {
            for _ in 0..2 {
                let along = next.dot(&column);
                column.axpy(-along, &next, 1.);
            }
        }
        kept.push(next);
    }
    match kept.is_empty() {
        true => DMatrix::zeros(columns.nrows(), 0),
        false => DMatrix::from_columns(&kept),
    }
}

/// The singular values of a matrix with few rows, by the eigenvalues of its product with its transpose, the largest first.
pub(crate) fn singular_values(matrix: &DMatrix<f64>) -> Vec<f64> {
    if matrix.is_empty() {
        return Vec::new();
    }
    let mut values: Vec<f64> =
        (matrix * matrix.transpose()).symmetric_eigenvalues().iter().map(|value| value.max(0.).sqrt()).collect();
    values.sort_unstable_by(|a, b| b.total_cmp(a));
    values
}

impl NearestSubspace {
    /// The spans of the dictionary's signal blocks.
    ///
    /// # Errors
    /// No signal blocks.
    pub fn new(dictionary: &BlockDictionary) -> Result<Self> {
        let mut bases = Vec::new();
        for number in 0..dictionary.num_blocks() {
            if let Block::Signal(class) = dictionary.block(number) {
                bases.push((class, basis(dictionary.matrix(number).clone_owned(), dictionary.rounding(number))));
            }
        }
        crate::error::check_positive("NearestSubspace::new", &[("signal blocks", bases.len())])?;
        bases.sort_by_key(|(class, _)| *class);
        Ok(Self { dimension: dictionary.dimension(), bases })
    }

    /// The class and what its span leaves of the signal.
    ///
    /// # Errors
    /// Another length, or values whose squares have no finite sum.
    pub fn classify(&self, x: &[f64]) -> Result<(usize, Vec<f64>)> {
        if x.len() != self.dimension {
            return Err(Error::length("NearestSubspace::classify", "elements of a signal", x.len(), self.dimension));
        }
        let square = dot(x, x);
        if !square.is_finite() {
            return Err(Error::value(
                "NearestSubspace::classify",
                "the square of the signal",
                square,
                "a finite number",
            ));
        }
        let x = DVector::from_column_slice(x);
        let mut best: Option<(f64, usize, DVector<f64>)> = None;
        for (class, basis) in &self.bases {
            let residual = &x - basis * (basis.tr_mul(&x));
            let size = residual.norm();
            if best.as_ref().is_none_or(|(smallest, ..)| size < *smallest) {
                best = Some((size, *class, residual));
            }
        }
        let (_, class, residual) = best.unwrap_or((0., 0, x));
        Ok((class, residual.as_slice().to_vec()))
    }

    /// The kind of attack by the residual rule: the largest ‖D_a\[class\]\[j\]ᵀ r‖, r the residual of the nearest subspace; none without attack blocks of the class.
    ///
    /// # Errors
    /// As [`Self::classify`].
    pub fn attack(&self, dictionary: &BlockDictionary, x: &[f64]) -> Result<Option<usize>> {
        let (class, residual) = self.classify(x)?;
        let residual = DVector::from_column_slice(&residual);
        let mut best: Option<(f64, usize)> = None;
        for attack in 0..dictionary.attacks().len() {
            let Some(number) = dictionary.find(Block::Attack { class, attack }) else { continue };
            let size = dictionary.matrix(number).tr_mul(&residual).norm();
            if best.is_none_or(|(largest, _)| size > largest) {
                best = Some((size, attack));
            }
        }
        Ok(best.map(|(_, attack)| attack))
    }
}

/// The block-sparse classifier without attack blocks (Elhamifar and Vidal, 2012): the class with the smallest ‖x − D_s\[i\]c\[i\]‖ where c minimises Σ‖c\[i\]‖ subject to ‖x − D_s c‖ ≤ `distance`. The authors take 5.
///
/// The multiplier of the constraint is found on the path of ‖x − D c‖² + γ Σ‖c\[i\]‖, along which the distance grows with γ: by bisection on log γ, to 10⁻⁶ of the distance. A signal that is nearer to 0 than `distance` has c = 0 as its
/// minimum, and no class: the result is `None`.
///
/// # Errors
/// A distance that is not above 0 or cannot be reached, those of [`ReverseEngineer::analyse`], a minimum that was not reached.
pub fn block_sparse_class(engineer: &ReverseEngineer, x: &[f64], distance: f64) -> Result<Option<(usize, Vec<f64>)>> {
    const OPERATION: &str = "block_sparse_class";
    if !(distance > 0. && distance.is_finite()) {
        return Err(Error::value(OPERATION, "distance", distance, "above 0"));
    }
    engineer.check(x)?;
    let (dictionary, products) = engineer.parts();
    if x.len() != dictionary.dimension() {
        return Err(Error::length(OPERATION, "elements of a signal", x.len(), dictionary.dimension()));
    }
    if norm(x) <= distance {
        return Ok(None);
    }
    let signals: Vec<usize> =
        (0..dictionary.num_blocks()).filter(|&number| matches!(dictionary.block(number), Block::Signal(_))).collect();
    let sizes: Vec<usize> = signals.iter().map(|&number| dictionary.range(number).len()).collect();
    let gram = products.of(dictionary, &signals, (&[], &[]));
    let correlations: Vec<f64> = signals
        .iter()
        .flat_map(|&number| dictionary.matrix(number).tr_mul(&DVector::from_column_slice(x)).as_slice().to_vec())
        .collect();
    let spectra: Vec<&Spectrum> = signals.iter().map(|&number| &products.spectra[number]).collect();
    let quadratic = Quadratic { gram: &gram, correlations: &correlations, square: dot(x, x), spectra: &spectra };
    let residual = |c: &[f64], only: Option<usize>| {
        let mut out = x.to_vec();
        let mut first = 0;
        for (at, &number) in signals.iter().enumerate() {
            if only.is_none_or(|only| only == at) {
                let negative: Vec<f64> = c[first..first + sizes[at]].iter().map(|c| -c).collect();
                dictionary.add_product(number, &negative, &mut out);
            }
            first += sizes[at];
        }
        norm(&out)
    };
    let mut first = 0;
    let mut largest = 0.;
    for &size in &sizes {
        largest = f64::max(largest, 2. * norm(&correlations[first..first + size]));
        first += size;
    }
    let mut c = vec![0.; correlations.len()];
    let solve = |gamma: f64, start: &[f64]| -> Result<Vec<f64>> {
        let net = GroupElasticNet::new(&sizes, vec![gamma; sizes.len()], vec![0.; sizes.len()])?;
        Ok(net.tolerance(1e-12).minimise(&quadratic, Some(start))?.coefficients)
    };
    // downwards until the constraint holds, then between the last two
    let (mut high, mut low) = (largest, largest);
    loop {
        low /= 2.;
        c = solve(low, &c)?;
        if residual(&c, None) <= distance {
            break;
        }
        high = low;
        if low < 1e-9 * largest {
            let reason =
                format!("is {distance}, but no combination of the columns is nearer than {}", residual(&c, None));
            return Err(Error::config(OPERATION, "distance", reason));
        }
    }
    for _ in 0..60 {
        let middle = (low * high).sqrt();
        c = solve(middle, &c)?;
        let reached = residual(&c, None);
        if (reached - distance).abs() <= 1e-6 * distance {
            break;
        }
        if reached > distance { high = middle } else { low = middle }
    }
    let of_class = |at: usize| residual(&c, Some(at));
    let best =
        (0..signals.len()).map(|at| (at, of_class(at))).reduce(|best, next| if next.1 < best.1 { next } else { best });
    Ok(best.map(|(at, _)| {
        let (Block::Signal(class) | Block::Attack { class, .. }) = dictionary.block(signals[at]);
        (class, c)
    }))
}
