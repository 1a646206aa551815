//! The choice of C by cross-validation, and an honest accuracy around it.

use super::geometry::Geometry;
use super::kernel::{Gamma, Kernel};
use super::matrix::DenseMatrix;
use super::pairs::{ByClass, pairs, train_pairs, vote};
use super::svc::{FittedSvc, Svc};
use crate::element::Element;
use crate::error::check_counts;
use crate::folds::{Fold, StratifiedFolds};
use crate::pairwise::padded;
use crate::rows::{accuracy, two_or_more};
use crate::{Error, Result, Rows};
use rayon::prelude::*;

/// Chooses C of an [`Svc`] by the mean accuracy over stratified folds; of equal means the first in the grid wins. The definition of scikit-learn's `GridSearchCV(SVC(), …, cv=folds)`.
///
/// Rows are compared once for all folds, the kernel is computed once for each training set (whose γ is its own), and C rises, each from the solution before. Folds run side by side in rayon's pool; results do not depend on its size.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GridSearch {
    /// The values of C to choose from. Default: 10⁻³, 10⁻², …, 10³.
    pub c_grid: Vec<f64>,
    /// Folds within a training set. Default: 5.
    pub folds: usize,
    /// Whether a class may have fewer members than folds, inner or outer; see [`StratifiedFolds::allow_rare`]. Default: no.
    pub allow_rare: bool,
    /// Kernel, tolerance and limit of the machines; its C is not used. Default: that of [`Svc`].
    pub svc: Svc,
}

impl Default for GridSearch {
    fn default() -> Self {
        let c_grid = vec![1e-3, 1e-2, 0.1, 1., 10., 100., 1e3];
        Self { c_grid, folds: 5, allow_rare: false, svc: Svc::default() }
    }
}

/// A chosen C.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Choice {
    /// The chosen C.
    pub c: f64,
    /// The mean accuracy over the inner folds for each C of the grid.
    pub mean_accuracies: Vec<f64>,
}

impl Choice {
    fn new(c_grid: &[f64], of_folds: &[Vec<f64>]) -> Self {
        let mean = |at: usize| of_folds.iter().map(|accuracies| accuracies[at]).sum::<f64>() / of_folds.len() as f64;
        let mean_accuracies: Vec<f64> = (0..c_grid.len()).map(mean).collect();
        Self { c: c_grid[crate::linear::largest(&mean_accuracies)], mean_accuracies }
    }

    /// The mean accuracy with the chosen C: known without the test rows, so that one may select by it.
    pub fn accuracy(&self) -> f64 {
        self.mean_accuracies.iter().copied().fold(0., f64::max)
    }
}

/// What an outer fold gave.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct OuterFold {
    /// The rows that were tested, ascending.
    pub test: Vec<usize>,
    /// The predicted class of each.
    pub predictions: Vec<u32>,
    /// The share that is right.
    pub accuracy: f64,
    /// The choice of C within the training rows.
    pub choice: Choice,
}

/// A cross-validation in which each training set chooses its own C.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct NestedCrossValidation {
    /// The outer folds.
    pub folds: Vec<OuterFold>,
}

impl NestedCrossValidation {
    fn mean(&self, of: impl Fn(&OuterFold) -> f64) -> f64 {
        self.folds.iter().map(of).sum::<f64>() / self.folds.len() as f64
    }

    /// The mean of the folds' accuracies.
    pub fn accuracy(&self) -> f64 {
        self.mean(|fold| fold.accuracy)
    }

    /// The mean of the inner accuracies of the chosen C, for which no test row was used.
    pub fn inner_accuracy(&self) -> f64 {
        self.mean(|fold| fold.choice.accuracy())
    }
}

/// Labelled rows that are compared already.
struct Data<'a, T> {
    geometry: &'a Geometry<T>,
    labels: &'a [u32],
    /// Positions of the labels among all classes.
    targets: &'a [usize],
    num_classes: usize,
}

/// Kernels whose memory one training set leaves to the next.
#[derive(Default)]
struct Spare<T> {
    of_train: DenseMatrix<T>,
    of_test: Vec<T>,
}

impl GridSearch {
    /// Chooses C by cross-validation and trains on all rows with it.
    ///
    /// # Errors
    /// Those of [`Svc`] and [`StratifiedFolds::assign`]; [`Error::Empty`] without values of C; [`Error::Fold`] names the fold and C where one fails.
    pub fn fit(&self, x: Rows<'_>, labels: &[u32]) -> Result<(Choice, FittedSvc)> {
        const OPERATION: &str = "GridSearch";
        self.in_precision(
            OPERATION,
            x,
            labels,
            |classes, data| data.fit(self, OPERATION, classes),
            |classes, data| data.fit(self, OPERATION, classes),
        )
    }

    /// Accuracy over `outer` stratified folds, in each of which C is chosen within the training rows.
    ///
    /// # Errors
    /// As [`GridSearch::fit`].
    pub fn nested_cross_validation(&self, x: Rows<'_>, labels: &[u32], outer: usize) -> Result<NestedCrossValidation> {
        const OPERATION: &str = "nested_cross_validation";
        self.in_precision(
            OPERATION,
            x,
            labels,
            |_, data| data.nested(self, OPERATION, outer),
            |_, data| data.nested(self, OPERATION, outer),
        )
    }

    fn in_precision<O>(
        &self,
        operation: &'static str,
        x: Rows<'_>,
        labels: &[u32],
        double: impl FnOnce(Vec<u32>, Data<'_, f64>) -> Result<O>,
        single: impl FnOnce(Vec<u32>, Data<'_, f32>) -> Result<O>,
    ) -> Result<O> {
        check_counts(operation, &[("values of C", self.c_grid.len())])?;
        for &c in &self.c_grid {
            Svc { c, ..self.svc }.check(operation, x.len())?;
        }
        x.check_labels(operation, labels)?;
        let (classes, targets) = two_or_more(operation, labels)?;
        let (num_classes, kernel, matrix) = (classes.len(), self.svc.kernel, x.to_matrix());
        if x.len() <= Svc::DOUBLE {
            let geometry = &Geometry::new(&matrix, kernel);
            double(classes, Data { geometry, labels, targets: &targets, num_classes })
        } else {
            let geometry = &Geometry::new(&matrix, kernel);
            single(classes, Data { geometry, labels, targets: &targets, num_classes })
        }
    }

    fn inner(&self) -> StratifiedFolds {
        StratifiedFolds { folds: self.folds, allow_rare: self.allow_rare }
    }
}

impl<T: Element> Data<'_, T> {
    fn fit(&self, search: &GridSearch, operation: &'static str, classes: Vec<u32>) -> Result<(Choice, FittedSvc)> {
        let folds = search.inner().split(self.labels)?;
        let accuracies = |spare: &mut Spare<T>, (at, fold): (usize, &Fold)| {
            let found = self.accuracies(&search.svc, operation, &fold.train, &fold.test, &search.c_grid, spare);
            found.map_err(Error::fold(format!("inner fold {at}")))
        };
        let accuracies: Vec<Vec<f64>> =
            folds.par_iter().enumerate().map_init(Spare::default, accuracies).collect::<Result<_>>()?;
        let choice = Choice::new(&search.c_grid, &accuracies);
        let all: Vec<usize> = (0..self.labels.len()).collect();
        let svc = Svc { c: choice.c, ..search.svc };
        let machine = svc.fit_part(operation, self.geometry, &all, classes, self.targets)?;
        Ok((choice, machine))
    }

    fn nested(&self, search: &GridSearch, operation: &'static str, outer: usize) -> Result<NestedCrossValidation> {
        let folds = StratifiedFolds { folds: outer, allow_rare: search.allow_rare }.split(self.labels)?;
        let mut tasks = Vec::new();
        for (at, fold) in folds.iter().enumerate() {
            let labels: Vec<u32> = fold.train.iter().map(|&row| self.labels[row]).collect();
            let inner = search.inner().split(&labels).map_err(Error::fold(format!("outer fold {at}")))?;
            let whole = |rows: Vec<usize>| rows.into_iter().map(|row| fold.train[row]).collect();
            tasks.extend(inner.into_iter().enumerate().map(|(number, inner)| {
                (format!("outer fold {at}, inner fold {number}"), whole(inner.train), whole(inner.test))
            }));
        }
        let accuracies = |spare: &mut Spare<T>, (place, train, test): (String, Vec<usize>, Vec<usize>)| {
            self.accuracies(&search.svc, operation, &train, &test, &search.c_grid, spare).map_err(Error::fold(place))
        };
        let accuracies: Vec<Vec<f64>> =
            tasks.into_par_iter().map_init(Spare::default, accuracies).collect::<Result<_>>()?;
        let choices: Vec<Choice> =
            accuracies.chunks_exact(search.folds).map(|accuracies| Choice::new(&search.c_grid, accuracies)).collect();
        let test = |spare: &mut Spare<T>, (at, (fold, choice)): (usize, (Fold, Choice))| {
            let predictions = self.predictions(&search.svc, operation, &fold.train, &fold.test, &[choice.c], spare);
            let predictions = predictions.map_err(Error::fold(format!("outer fold {at}")))?.remove(0);
            let labels: Vec<u32> = fold.test.iter().map(|&row| self.labels[row]).collect();
            Ok(OuterFold { accuracy: accuracy(&predictions, &labels), test: fold.test, predictions, choice })
        };
        let folds: Vec<(Fold, Choice)> = folds.into_iter().zip(choices).collect();
        Ok(NestedCrossValidation {
            folds: folds.into_par_iter().enumerate().map_init(Spare::default, test).collect::<Result<_>>()?,
        })
    }

    /// The accuracy on `test` after training on `train`, for each C.
    fn accuracies(
        &self,
        svc: &Svc,
        operation: &'static str,
        train: &[usize],
        test: &[usize],
        grid: &[f64],
        spare: &mut Spare<T>,
    ) -> Result<Vec<f64>> {
        let labels: Vec<u32> = test.iter().map(|&row| self.labels[row]).collect();
        let predictions = self.predictions(svc, operation, train, test, grid, spare)?;
        Ok(predictions.iter().map(|predictions| accuracy(predictions, &labels)).collect())
    }

    /// The predicted classes of `test` after training on `train`, for each C.
    fn predictions(
        &self,
        svc: &Svc,
        operation: &'static str,
        train: &[usize],
        test: &[usize],
        grid: &[f64],
        spare: &mut Spare<T>,
    ) -> Result<Vec<Vec<u32>>> {
        let labels: Vec<u32> = train.iter().map(|&row| self.labels[row]).collect();
        let (classes, _) = two_or_more(operation, &labels)?;
        let mut set = ByClass::new(train, self.targets, self.num_classes);
        // a rare class may be absent
        set.ranges.retain(|range| !range.is_empty());
        let mut order: Vec<usize> = (0..grid.len()).collect();
        order.sort_by(|&a, &b| grid[a].total_cmp(&grid[b]));
        let limits = order.iter().map(|&at| Svc { c: grid[at], ..*svc }.limits(operation, self.geometry));
        let limits = limits.collect::<Result<Vec<_>>>()?;
        let ascending: Vec<f64> = limits.iter().map(|limits| limits.c).collect();
        let gamma = self.geometry.gamma(svc.kernel, train);
        let Spare { of_train, of_test } = spare;
        of_train.fill(set.rows.len(), |values| self.geometry.kernel(&set.rows, &set.rows, gamma, values));
        self.geometry.kernel(test, &set.rows, gamma, of_test);
        let (stride, num_pairs) = (padded(set.rows.len()), pairs(classes.len()).count());
        // `[C, test, pairs]`
        let mut decisions = vec![0.; grid.len() * test.len() * num_pairs];
        let mut trained = 0;
        let found = train_pairs(operation, of_train, &set.ranges, &ascending, limits[0], |at, pair, machine| {
            trained += 1;
            let decisions = &mut decisions[order[at] * test.len() * num_pairs..][..test.len() * num_pairs];
            for (decisions, kernel) in decisions.chunks_exact_mut(num_pairs).zip(of_test.chunks_exact(stride)) {
                decisions[pair] = machine.decide(kernel);
            }
        });
        found.map_err(Error::fold(format!("the machine with C = {}", grid[order[trained % grid.len()]])))?;
        let class = |decisions: &[f64]| classes[vote(decisions, classes.len())];
        let of_c = decisions.chunks_exact(test.len() * num_pairs);
        Ok(of_c.map(|decisions| decisions.chunks_exact(num_pairs).map(class).collect()).collect())
    }
}

/// [`GridSearch::nested_cross_validation`] with the radial kernel, [`Gamma::Scale`], 5 inner folds and the default grid: the customary evaluation of embeddings of graphs with 10 outer folds.
///
/// # Errors
/// Those of [`GridSearch::nested_cross_validation`].
pub fn nested_cross_validation(x: Rows<'_>, labels: &[u32], outer: usize) -> Result<NestedCrossValidation> {
    let svc = Svc { kernel: Kernel::Rbf(Gamma::Scale), ..Svc::default() };
    GridSearch { svc, ..GridSearch::default() }.nested_cross_validation(x, labels, outer)
}
