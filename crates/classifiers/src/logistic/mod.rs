//! Logistic regression, converged or by a fixed number of steps.

mod adam;
mod loss;
mod regression;

pub use adam::{AdamLogisticRegression, Initial};
pub use regression::LogisticRegression;
