//! Base learners: what trains a sub-classifier.

mod classes;
mod logistic;
mod naive_bayes;
#[cfg(feature = "networks")]
mod network;
mod standardized;
mod svm;

pub use classifiers::logistic::LogisticRegression;
pub use classifiers::svm::{Gamma, KernelSvm};
pub use naive_bayes::GaussianNaiveBayes;
#[cfg(feature = "networks")]
pub use network::NetworkInNetworkLearner;
pub use standardized::Standardized;
