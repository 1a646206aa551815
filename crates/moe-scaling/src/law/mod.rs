//! The scaling law of routed language models: forms, fits, uncertainty and predictions.
//!
//! Clark et al., "Unified Scaling Laws for Routed Language Models", ICML 2022. The loss of a trained model is predicted from its size (the dense parameter
//! count `N`, or the compute `F`) and its number of experts `E` (or the parameter utilisation `B`). [`fit()`] finds the coefficients, [`analyse()`] their
//! uncertainty too.
//!
//! A [`Point`] is a size, a number of experts and a loss in nats per token. With `x = log10 size` and `z = log10 E` (`log10 Ê` for the saturating form)
//! every form is a case of
//!
//! ```text
//! log10 L = a x + b z + c x z + d + f z² + g x²
//! ```
//!
//! | form | terms | what it is |
//! |---|---|---|
//! | [`Form::Dense`] | a, d | a power law in size |
//! | [`Form::Separable`] | a, b, d | power laws in size and experts |
//! | [`Form::Bilinear`] | a, b, c, d | with an interaction; unbounded in E |
//! | [`Form::QuadraticInExperts`] | a, b, c, d, f | for comparison |
//! | [`Form::Quadratic`] | a, b, c, d, f, g | for comparison; does not extrapolate |
//! | [`Form::Saturating`] | a, b, c, d, E_start, E_max | the paper's law (Eq. 1) |
//!
//! In `(F, B)` one law covers models that differ in the number of experts per token and of routed layers ([`FitConfig::flops_and_utilisation`]).

mod analysis;
mod bootstrap;
mod config;
mod fit;
mod form;
mod formula;
mod huber;
mod levenberg;
mod outliers;
mod points;
mod prediction;
mod projection;
mod residuals;
mod saturation;
mod search;
mod stop;
mod table;

pub use analysis::{Analysis, analyse};
pub use bootstrap::{Bootstrap, Comparison, Interval, LeaveOneOut, bootstrap, compare, leave_one_out};
pub use config::{FitConfig, Loss, Starts};
pub use fit::{Fit, fit};
pub use form::{Coefficient, Form};
pub use formula::Law;
pub use outliers::{Residual, residuals, write_residuals};
pub use points::Point;
pub use prediction::{Prediction, predictions, write_predictions};
pub use saturation::Saturation;
pub use stop::NotConverged;
pub use table::{Columns, Row, Table};
