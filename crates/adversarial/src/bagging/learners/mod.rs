//! Base learners: what trains a sub-classifier.

mod classes;
mod logistic;
mod naive_bayes;
#[cfg(feature = "networks")]
mod network;
mod standardized;
mod svm;

pub use logistic::LogisticRegression;
pub use naive_bayes::GaussianNaiveBayes;
#[cfg(feature = "networks")]
pub use network::NetworkInNetworkLearner;
pub use standardized::Standardized;
pub use svm::{Gamma, KernelSvm};
