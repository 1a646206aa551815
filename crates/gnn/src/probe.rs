//! Honest evaluation of embeddings: a simple classifier on top, beside the same classifier on raw features and on an untrained encoder, and what was selected by what.
//!
//! Embeddings may come from [`SelfSupervised`](crate::self_supervised::SelfSupervised), [`Oepg`](crate::oepg::Oepg) or any program that writes `.npy` ([`read_npy`]). The classifiers, folds and splits
//! are those of the crate [`classifiers`], re-exported here; statistics for scaling come from training rows only, and no classifier sees a test label.
//!
//! ```
//! use gnn::probe::{EpochScore, Selection, select};
//! let scores = [
//!     EpochScore { epoch: 0, loss: f64::NAN, validation: 0.70, test: 0.69 },
//!     EpochScore { epoch: 1, loss: 0.9, validation: 0.74, test: 0.71 },
//!     EpochScore { epoch: 2, loss: 0.5, validation: 0.73, test: 0.74 },
//! ];
//! assert_eq!(select(&scores, Selection::LastEpoch)?.to_string(), "0.7400 (epoch 2, the last)");
//! assert_eq!(select(&scores, Selection::Validation)?.epoch, 1);
//! assert!(select(&scores, Selection::TestOracle)?.to_string().contains("selected on test data"));
//! # Ok::<(), gnn::Error>(())
//! ```

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use classifiers::logistic::{AdamLogisticRegression, Initial, LogisticRegression};
use classifiers::splits::Split;
use classifiers::svm::{GridSearch, NestedCrossValidation};
use classifiers::{Fitted, Matrix, Rows, SplitAccuracy};
use rayon::prelude::*;
use std::path::Path;

pub use classifiers;

/// By what an epoch is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Selection {
    /// The last one: nothing is selected.
    LastEpoch,
    /// The smallest objective of training; no label has a part in it. Epochs without one (the untrained encoder) take no part.
    SelfSupervisedLoss,
    /// The largest accuracy on validation rows.
    Validation,
    /// The largest accuracy on test rows: what the official program of LaGraph reports, and no estimate of anything. Everything that prints it says so.
    TestOracle,
}

impl Selection {
    /// All, the honest ones first.
    pub const ALL: [Self; 4] = [Self::LastEpoch, Self::SelfSupervisedLoss, Self::Validation, Self::TestOracle];

    /// What the selection is by, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::LastEpoch => "the last",
            Self::SelfSupervisedLoss => "least objective of training",
            Self::Validation => "selected on validation data",
            Self::TestOracle => "selected on test data",
        }
    }
}

/// What a probe found after an epoch.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EpochScore {
    /// The epoch; 0 is the untrained encoder.
    pub epoch: usize,
    /// The objective of training; NaN for epoch 0.
    pub loss: f64,
    /// Accuracy on rows that may select: validation rows, or the inner folds of each training fold.
    pub validation: f64,
    /// Accuracy on test rows.
    pub test: f64,
}

/// A test score that carries what it was selected by.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Selected {
    /// Accuracy on test rows.
    pub score: f64,
    /// The epoch.
    pub epoch: usize,
    /// By what it was selected.
    pub selection: Selection,
}

impl std::fmt::Display for Selected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.4} (epoch {}, {})", self.score, self.epoch, self.selection.words())
    }
}

/// Selects an epoch; the first of equally good ones.
///
/// # Errors
/// No epoch, or none with a number to select by.
pub fn select(scores: &[EpochScore], selection: Selection) -> Result<Selected> {
    let by = |score: &EpochScore| match selection {
        Selection::LastEpoch => score.epoch as f64,
        Selection::SelfSupervisedLoss => -score.loss,
        Selection::Validation => score.validation,
        Selection::TestOracle => score.test,
    };
    let mut best: Option<&EpochScore> = None;
    for score in scores.iter().filter(|score| !by(score).is_nan()) {
        if best.is_none_or(|best| by(score) > by(best)) {
            best = Some(score);
        }
    }
    match best {
        Some(best) => Ok(Selected { score: best.test, epoch: best.epoch, selection }),
        None => {
            Err(Error::invalid_data("probe::select", format!("no epoch has a number to select by ({selection:?})")))
        }
    }
}

/// Embeddings `[rows, d]` as the rows of a classifier, checked to be finite.
///
/// # Errors
/// A tensor that is not `[rows, d]`, or NaN or infinity in it, with the place.
pub fn rows(embeddings: &Tensor) -> Result<Matrix> {
    const OPERATION: &str = "probe::rows";
    let &[_, width] = embeddings.dims() else {
        let (got, expected) = (embeddings.dims().to_vec(), "[rows, width]".into());
        return Err(Error::Shape { operation: OPERATION, what: "embeddings", got, expected });
    };
    crate::features::check_finite(OPERATION, "embeddings", embeddings)?;
    let values: Vec<f64> = embeddings.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    Ok(Matrix::new(width, values)?)
}

/// Embeddings from a `.npy` file of `[rows, d]` floats.
///
/// # Errors
/// A file that cannot be read, or holds something else.
pub fn read_npy(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    let failed = |reason: String| Error::File { path: path.display().to_string(), reason };
    let tensor = Tensor::read_npy(path).map_err(|error| failed(error.to_string()))?;
    if tensor.rank() != 2 || !matches!(tensor.dtype(), DType::F32 | DType::F64) {
        let (dims, dtype) = (tensor.dims(), tensor.dtype());
        return Err(failed(format!("an array {dims:?} of {dtype:?}, expected [rows, width] of f32 or f64")));
    }
    Ok(tensor.to_device(&Device::Cpu)?)
}

/// Columns of several embeddings side by side, such as an embedding and the features themselves.
///
/// # Errors
/// Other numbers of rows.
pub fn side_by_side(parts: &[&Tensor]) -> Result<Tensor> {
    Ok(Tensor::cat(parts, 1)?)
}

/// The probe of graphs: a support vector machine with a radial kernel in stratified folds, which chooses C by folds of each training set (10⁻³ to 10³), γ of each training set's own variance.
///
/// `inner_accuracy()` of the result may select an epoch: no test row was used for it.
///
/// # Errors
/// NaN or infinity, other numbers of labels than rows, a class with fewer members than folds (named), machines that do not converge.
pub fn graphs(embeddings: &Tensor, labels: &[u32], folds: usize) -> Result<NestedCrossValidation> {
    let x = rows(embeddings)?;
    Ok(GridSearch::default().nested_cross_validation(x.rows(), labels, folds)?)
}

/// The classifier of a probe of nodes.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum NodeProbe {
    /// A linear layer after a fixed number of full-batch steps of Adam from Xavier's weights: LaGraph's.
    Adam {
        /// Steps.
        steps: usize,
        /// The learning rate.
        learning_rate: f64,
        /// The factor of the weights that is added to their gradients.
        weight_decay: f64,
    },
    /// Logistic regression by L-BFGS with a quadratic penalty, on rows of length 1 if `normalizes`.
    Logistic {
        /// C, the weight of the data.
        c: f64,
        /// Whether rows are brought to length 1 first.
        normalizes: bool,
    },
}

impl NodeProbe {
    /// LaGraph's: 400 steps of Adam at 0.01 with weight decay 10⁻³.
    pub fn lagraph() -> Self {
        Self::Adam { steps: 400, learning_rate: 0.01, weight_decay: 1e-3 }
    }

    /// Logistic regression with C = 10 on rows of length 1.
    pub fn linear() -> Self {
        Self::Logistic { c: 10.0, normalizes: true }
    }

    /// The predicted classes of all rows by a classifier that was trained on some of them. Labels are below `classes`.
    ///
    /// # Errors
    /// NaN or infinity, rows that do not exist, labels of training rows that are no class, or training rows of one class alone.
    pub fn predict(&self, x: Rows<'_>, train: &[usize], labels: &[u32], classes: usize, seed: u32) -> Result<Vec<u32>> {
        let normalized;
        let x = match self {
            Self::Logistic { normalizes: true, .. } => {
                normalized = unit_rows(x)?;
                normalized.rows()
            }
            _ => x,
        };
        let own = x.select(train)?;
        let missing = train.iter().find(|&&row| row >= labels.len());
        if let Some(&row) = missing {
            return Err(Error::invalid_data("NodeProbe::predict", format!("row {row} has no label")));
        }
        if let Some(&row) = train.iter().find(|&&row| labels[row] as usize >= classes) {
            let reason = format!("row {row} has label {}, which is not below {classes}", labels[row]);
            return Err(Error::invalid_data("NodeProbe::predict", reason));
        }
        let of_train: Vec<u32> = train.iter().map(|&row| labels[row]).collect();
        if let Some(first) = of_train.first()
            && of_train.iter().all(|label| label == first)
        {
            let reason =
                format!("all {} training rows are of class {first}, two classes or more are needed", train.len());
            return Err(Error::invalid_data("NodeProbe::predict", reason));
        }
        Ok(match *self {
            Self::Adam { steps, learning_rate, weight_decay } => {
                let model = AdamLogisticRegression { steps, learning_rate, weight_decay };
                model.fit(own.rows(), &of_train, classes, Initial::Xavier { seed })?.predict(x)?
            }
            Self::Logistic { c, .. } => {
                use classifiers::Classifier;
                let model = LogisticRegression { c, max_iterations: 1000, ..LogisticRegression::default() };
                model.fit(own.rows(), &of_train)?.predict(x)?
            }
        })
    }
}

fn unit_rows(x: Rows<'_>) -> Result<Matrix> {
    let all = x.to_matrix();
    let width = x.width();
    let mut values = all.values().to_vec();
    for row in values.chunks_exact_mut(width.max(1)) {
        let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        if norm > 0.0 {
            row.iter_mut().for_each(|value| *value /= norm);
        }
    }
    Ok(Matrix::new(width, values)?)
}

/// The probe of nodes: a linear classifier for each split, side by side in rayon's pool. Rows that a split does not name take no part, so that unlabelled nodes (any label) do no harm.
///
/// # Errors
/// No split, a split without test rows, or one that names a row that does not exist or whose label is not below `classes`; else as [`NodeProbe::predict`].
pub fn nodes(
    embeddings: &Tensor,
    labels: &[u32],
    classes: usize,
    splits: &[Split],
    probe: NodeProbe,
) -> Result<Vec<SplitAccuracy>> {
    let x = rows(embeddings)?;
    if labels.len() != x.rows().len() {
        let (got, expected) = (labels.len(), x.rows().len());
        return Err(Error::Length { operation: "probe::nodes", what: "labels", got, expected });
    }
    if splits.is_empty() {
        return Err(Error::invalid_data("probe::nodes", "no splits, at least one is needed"));
    }
    for (at, split) in splits.iter().enumerate() {
        let problem = |what: String| Err(Error::invalid_data("probe::nodes", format!("split {at} {what}")));
        if split.test.is_empty() {
            return problem("has no test rows".to_owned());
        }
        for &row in split.train.iter().chain(&split.validation).chain(&split.test) {
            match labels.get(row) {
                None => return problem(format!("names row {row} of {}", labels.len())),
                Some(&label) if label as usize >= classes => {
                    return problem(format!("names row {row}, whose label is {label}, not below {classes}"));
                }
                Some(_) => {}
            }
        }
    }
    let one = |(at, split): (usize, &Split)| -> Result<SplitAccuracy> {
        let predicted = probe.predict(x.rows(), &split.train, labels, classes, at as u32)?;
        let measure = |rows: &[usize]| {
            let hits = rows.iter().filter(|&&row| predicted[row] == labels[row]).count();
            if rows.is_empty() { f64::NAN } else { hits as f64 / rows.len() as f64 }
        };
        Ok(SplitAccuracy { validation: measure(&split.validation), test: measure(&split.test) })
    };
    splits.par_iter().enumerate().map(one).collect()
}

/// The mean of accuracies over splits: on validation rows and on test rows. NaN for no accuracies.
pub fn mean(accuracies: &[SplitAccuracy]) -> SplitAccuracy {
    let count = accuracies.len() as f64;
    let sum = |of: fn(&SplitAccuracy) -> f64| accuracies.iter().map(of).sum::<f64>() / count;
    SplitAccuracy { validation: sum(|a| a.validation), test: sum(|a| a.test) }
}

/// Principal components of embeddings `[rows, d]`: the centred rows in the directions of the largest variances, `[rows, components]`, by the eigenvectors of the exact covariance. The sign of a
/// direction is such that its largest entry in magnitude is positive.
///
/// # Errors
/// More components than columns, or NaN or infinity.
pub fn pca(embeddings: &Tensor, components: usize) -> Result<Tensor> {
    const OPERATION: &str = "probe::pca";
    let x = rows(embeddings)?;
    let (n, d) = (x.rows().len(), x.width());
    if components > d {
        let (got, expected) = (vec![n, d], format!("at least {components} columns"));
        return Err(Error::Shape { operation: OPERATION, what: "embeddings", got, expected });
    }
    let mut centred = x.values().to_vec();
    let mut means = vec![0.0; d];
    for row in centred.chunks_exact(d) {
        means.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / n as f64);
    }
    for row in centred.chunks_exact_mut(d) {
        row.iter_mut().zip(&means).for_each(|(value, mean)| *value -= mean);
    }
    use core_tensor::kernel::{Matrix as View, product};
    let all = View::new(&centred, n, d);
    let covariance = product(all.t(), all);
    let eigen = nalgebra::DMatrix::from_row_slice(d, d, &covariance).symmetric_eigen();
    let mut order: Vec<usize> = (0..d).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]).then(a.cmp(&b)));
    let mut directions = Vec::with_capacity(d * components);
    for &at in &order[..components] {
        let vector = eigen.eigenvectors.column(at);
        let largest = vector.iter().copied().fold(0.0, |most: f64, v| if v.abs() > most.abs() { v } else { most });
        directions.extend(vector.iter().map(|value| if largest < 0.0 { -value } else { *value }));
    }
    let projected = product(all, View::new(&directions, components, d).t());
    Ok(Tensor::from_vec(projected, (n, components), &Device::Cpu)?)
}
