#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod classifier;
mod element;
mod error;
mod folds;
pub mod knn;
mod lbfgs;
mod linear;
mod linear_svm;
pub mod logistic;
mod pairwise;
mod products;
mod random;
mod rows;
pub mod splits;
mod standardizer;
pub mod svm;

pub use classifier::{Classifier, Fitted, SplitAccuracy, accuracies};
pub use error::{Error, Result};
pub use folds::{Fold, StratifiedFolds, stratified_folds};
pub use linear::FittedLinear;
pub use linear_svm::LinearSvm;
pub use rows::{Matrix, Rows, Values, accuracy, labels};
pub use standardizer::Standardizer;
