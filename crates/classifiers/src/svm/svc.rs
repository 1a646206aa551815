//! Support vector machines for classification.

use super::geometry::{Frame, Geometry, Radial};
use super::kernel::{Gamma, Kernel};
use super::matrix::DenseMatrix;
use super::pairs::{ByClass, pairs, train_pairs, vote};
use super::passes::dispatch;
use super::solver::Limits;
use crate::element::Element;
use crate::error::{check_above_zero, check_not_negative};
use crate::pairwise::padded;
use crate::pairwise::{Comparison, Packed, ROWS};
use crate::products::dot;
use crate::rows::two_or_more;
use crate::{Classifier, Error, Fitted, Result, Rows};
use rayon::prelude::*;

/// A soft-margin support vector machine, one for each pair of classes, which then vote; libsvm's C-SVC.
///
/// ```text
/// min_α  ½ αᵀ Q α - Σ α        0 ≤ α ≤ C,  yᵀ α = 0,  Q_ij = y_i y_j k(x_i, x_j)
/// ```
///
/// by sequential minimal optimisation with second-order choice of pairs (Fan, Chen, Lin, 2005) and shrinking. The kernel matrix is computed once, in double precision for up to [`Svc::DOUBLE`] rows and in single precision, as libsvm's
/// cache is, above. Features are centred first, which changes neither kernel's machine, so that large offsets cost no digits.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Svc {
    /// C. Default: 1.
    pub c: f64,
    /// The kernel. Default: radial, [`Gamma::Scale`].
    pub kernel: Kernel,
    /// The largest violation of the optimality conditions that is left. Default: 10⁻³.
    pub tolerance: f64,
    /// Pairs of multipliers that are changed at most, for each pair of classes. Default: 10⁷.
    pub max_iterations: usize,
}

impl Default for Svc {
    fn default() -> Self {
        Self { c: 1., kernel: Kernel::Rbf(Gamma::Scale), tolerance: 1e-3, max_iterations: 10_000_000 }
    }
}

impl Svc {
    /// Up to so many rows the kernel matrix is in double precision.
    pub const DOUBLE: usize = 512;

    /// So many rows are taken at most, since the kernel matrix is kept: 4 GiB in single precision. More go into [`super::KernelSvm`], which keeps what fits, or into [`crate::LinearSvm`].
    pub const MOST_ROWS: usize = 32_768;

    pub(crate) fn check(&self, operation: &'static str, rows: usize) -> Result<()> {
        check_above_zero(operation, &[("c", self.c), ("tolerance", self.tolerance)])?;
        if let Kernel::Rbf(Gamma::Value(gamma)) = self.kernel {
            check_not_negative(operation, &[("gamma", gamma)])?;
        }
        if rows > Self::MOST_ROWS {
            return Err(Error::out_of_range(operation, "the number of rows", rows as u64, Self::MOST_ROWS + 1));
        }
        Ok(())
    }

    /// The settings in the units of the geometry, in which the linear kernel is smaller by a square.
    pub(crate) fn limits<T: Element>(&self, operation: &'static str, geometry: &Geometry<T>) -> Result<Limits> {
        let c = self.c * geometry.unit(self.kernel);
        check_above_zero(operation, &[("c times the square of the largest feature", c)])?;
        Ok(Limits { c, tolerance: self.tolerance, max_iterations: self.max_iterations })
    }

    fn fit_in<T: Element>(
        &self,
        operation: &'static str,
        x: Rows<'_>,
        classes: Vec<u32>,
        targets: &[usize],
    ) -> Result<FittedSvc> {
        let geometry = Geometry::<T>::new(&x.to_matrix(), self.kernel);
        let all: Vec<usize> = (0..x.len()).collect();
        self.fit_part(operation, &geometry, &all, classes, targets)
    }

    /// Trains on some rows of what is compared already; `targets` are positions among `classes`, all of which are there.
    pub(crate) fn fit_part<T: Element>(
        &self,
        operation: &'static str,
        geometry: &Geometry<T>,
        train: &[usize],
        classes: Vec<u32>,
        targets: &[usize],
    ) -> Result<FittedSvc> {
        let set = ByClass::new(train, targets, classes.len());
        let gamma = geometry.gamma(self.kernel, train);
        let mut kernel = DenseMatrix::default();
        kernel.fill(set.rows.len(), |values| geometry.kernel(&set.rows, &set.rows, gamma, values));
        let limits = self.limits(operation, geometry)?;
        let mut machines = Vec::new();
        train_pairs(operation, &mut kernel, &set.ranges, &[limits.c], limits, |_, _, machine| machines.push(machine))?;
        let mut is_support = vec![false; set.rows.len()];
        for machine in &machines {
            let positions = machine.first.clone().chain(machine.second.clone());
            let support = positions.zip(&machine.coefficients).filter(|(_, coefficient)| **coefficient != 0.);
            support.for_each(|(at, _)| is_support[at] = true);
        }
        let support: Vec<usize> = (0..set.rows.len()).filter(|&at| is_support[at]).collect();
        let num_support =
            set.ranges.iter().map(|range| is_support[range.clone()].iter().filter(|is| **is).count()).collect();
        let mut coefficients = Vec::with_capacity(machines.len() * support.len());
        for machine in &machines {
            let mut all = vec![0.; set.rows.len()];
            let (first, second) = machine.coefficients.split_at(machine.first.len());
            all[machine.first.clone()].copy_from_slice(first);
            all[machine.second.clone()].copy_from_slice(second);
            coefficients.extend(support.iter().map(|&at| all[at]));
        }
        let rows: Vec<usize> = support.iter().map(|&at| set.rows[at]).collect();
        let vectors: Vec<&[f64]> = rows.iter().map(|&row| geometry.row(row)).collect();
        Ok(FittedSvc {
            width: geometry.frame.centre.len(),
            classes,
            comparison: self.kernel.comparison(),
            gamma,
            unit: geometry.unit(self.kernel),
            vectors: Packed::new(geometry.frame.centre.len(), vectors.into_iter()),
            frame: geometry.frame.clone(),
            support: rows,
            num_support,
            coefficients,
            biases: machines.iter().map(|machine| machine.bias).collect(),
            iterations: machines.iter().map(|machine| machine.iterations).sum(),
        })
    }
}

/// [`Error::OutOfRange`] for more than [`Svc::MOST_ROWS`] rows; [`Error::NotConverged`] where `max_iterations` are not enough.
impl Classifier for Svc {
    type Fitted = FittedSvc;

    fn fit(&self, x: Rows<'_>, labels: &[u32]) -> Result<FittedSvc> {
        const OPERATION: &str = "Svc";
        self.check(OPERATION, x.len())?;
        x.check_labels(OPERATION, labels)?;
        let (classes, targets) = two_or_more(OPERATION, labels)?;
        if x.len() <= Self::DOUBLE {
            self.fit_in::<f64>(OPERATION, x, classes, &targets)
        } else {
            self.fit_in::<f32>(OPERATION, x, classes, &targets)
        }
    }
}

/// A trained support vector machine.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FittedSvc {
    width: usize,
    classes: Vec<u32>,
    comparison: Comparison,
    /// In units of the frame.
    gamma: f64,
    unit: f64,
    frame: Frame,
    vectors: Packed,
    support: Vec<usize>,
    num_support: Vec<usize>,
    /// `[pairs, support vectors]`
    coefficients: Vec<f64>,
    biases: Vec<f64>,
    iterations: usize,
}

impl FittedSvc {
    /// The classes that it can say, ascending.
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// γ of the radial kernel; 0 of the linear one.
    pub fn gamma(&self) -> f64 {
        self.gamma * self.frame.scale * self.frame.scale
    }

    /// Which training rows are support vectors, class by class.
    pub fn support(&self) -> &[usize] {
        &self.support
    }

    /// Support vectors of each class, `[classes]`.
    pub fn n_support(&self) -> &[usize] {
        &self.num_support
    }

    /// Pairs of multipliers that were changed, over all pairs of classes.
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// y α of the support vectors, `[pairs, support vectors]`.
    pub fn dual_coefficients(&self) -> Vec<f64> {
        self.coefficients.iter().map(|coefficient| coefficient / self.unit).collect()
    }

    /// The decisions of all pairs of classes, `[rows, classes (classes - 1) / 2]`, in libsvm's order (0 and 1, 0 and 2, …, 1 and 2, …): above 0 is a vote for the first class of the pair. (scikit-learn turns the sign where there
    /// are two classes.)
    ///
    /// # Errors
    /// [`Error::Length`] for rows of another width.
    pub fn decision_values(&self, x: Rows<'_>) -> Result<Vec<f64>> {
        x.check_width("FittedSvc", self.width)?;
        let rows = self.frame.apply(&x.to_matrix());
        let (count, stride) = (self.vectors.len(), padded(self.vectors.len()));
        let num_pairs = self.biases.len();
        let mut decisions = vec![0.; x.len() * num_pairs];
        let decide = |(decisions, rows): (&mut [f64], &[f64])| {
            let mut kernel = vec![0.; rows.len() / self.width * stride];
            self.vectors.compare(self.comparison, rows, &mut kernel);
            if self.comparison == Comparison::SquaredDistance {
                dispatch(Radial(&mut kernel, self.gamma));
            }
            for (at, decisions) in decisions.chunks_exact_mut(num_pairs).enumerate() {
                let kernel = &kernel[at * stride..][..count];
                for (pair, decision) in decisions.iter_mut().enumerate() {
                    *decision = dot(kernel, &self.coefficients[pair * count..][..count]) + self.biases[pair];
                }
            }
        };
        decisions
            .par_chunks_mut(ROWS * num_pairs)
            .zip(rows.par_chunks(ROWS * self.width))
            .with_min_len(16)
            .for_each(decide);
        Ok(decisions)
    }

    /// The pairs of classes, in the order of the decision values.
    pub fn pairs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        pairs(self.classes.len()).map(|(first, second)| (self.classes[first], self.classes[second]))
    }
}

/// The class that most pairs vote for, the smaller class on ties.
impl Fitted for FittedSvc {
    fn predict(&self, x: Rows<'_>) -> Result<Vec<u32>> {
        let decisions = self.decision_values(x)?;
        let class = |decisions: &[f64]| self.classes[vote(decisions, self.classes.len())];
        Ok(decisions.chunks_exact(self.biases.len()).map(class).collect())
    }
}
