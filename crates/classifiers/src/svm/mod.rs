//! Support vector machines: one at a time, with C chosen by cross-validation, or for many rows.

mod cached;
mod geometry;
mod grid;
mod kernel;
mod kernel_svm;
mod matrix;
mod pairs;
mod passes;
mod solver;
mod svc;

pub use grid::{Choice, GridSearch, NestedCrossValidation, OuterFold, nested_cross_validation};
pub use kernel::{Gamma, Kernel};
pub use kernel_svm::{FittedKernelSvm, KernelSvm};
pub use svc::{FittedSvc, Svc};
