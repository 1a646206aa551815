//! Ordinary differential equations: explicit Runge-Kutta methods with gradients.
//!
//! A solve is made of parts that multiply: a field ([`VectorField`] on slices, closures among them; [`Dynamics`] on tensors), a method ([`Tableau`]), the choice of steps ([`Control`]), what is kept ([`Save`]), [`Event`]s, times of
//! discontinuity, and the [`Gradient`]; all but the field stand in [`Solve`].
//!
//! ```
//! use timeseries::ode::{Solve, solve};
//!
//! // prey and predators
//! let field = |_: f64, y: &[f64], dy: &mut [f64]| {
//!     dy[0] = y[0] * (1.1 - 0.4 * y[1]);
//!     dy[1] = y[1] * (0.1 * y[0] - 0.4);
//! };
//! let solution = solve(&field, &[10., 5.], (0., 20.), &Solve::default().tolerance(1e-8).dense())?;
//! let (y, dy) = (solution.at(7.5)?, solution.derivative(7.5)?);
//! assert!((dy[0] - y[0] * (1.1 - 0.4 * y[1])).abs() < 1e-4);
//! # Ok::<(), timeseries::Error>(())
//! ```
//!
//! # Which gradient
//!
//! | mode | is | memory | cost beside the forward solve | choose it |
//! |---|---|---|---|---|
//! | [`Gradient::Steps`], the default | the exact gradient of what was computed | states and slopes of all steps, bounded by `memory` | one pullback for each evaluation; beyond `memory` each evaluation once more | always, unless memory is short |
//! | [`Gradient::Adjoint`] | that of the exact solution, to the tolerance | constant | a solve of twice the size with pullbacks | very long trajectories, or where reversing them is stable |
//!
//! The adjoint solves the state backwards, which is unstable for dissipative systems: tighten the tolerances, or use the steps.
//!
//! # Limits
//!
//! Explicit methods only: stiff problems end with an error that names the time, not with an endless loop. No stochastic, delay or controlled equations. The solver's loop runs on the CPU; a field on another device is
//! asked for each evaluation.

mod adjoint;
mod combine;
mod control;
mod event;
mod failure;
mod field;
mod integrate;
mod mlp_field;
mod options;
mod solution;
mod solve;
mod step;
mod tableau;
mod tensor_field;
mod tensors;
mod through;
mod trace;

pub use control::{Adaptive, Control, ErrorNorm, Pid, RatioNorm, Tolerance};
pub use event::{Direction, Event, Occurrence};
pub use failure::{Failure, Reason};
pub use field::{At, Pullback, VectorField};
pub use integrate::Statistics;
pub use mlp_field::{Activation, MlpField};
pub use options::{Adjoint, Gradient, Landing, Limits, Save, Solve, StepInfo};
pub use solution::Solution;
pub use solve::{solve, solve_each};
pub use tableau::{Interpolant, OrderCondition, Tableau};
pub use tensor_field::TensorField;
pub use tensors::{Dynamics, TensorSolution, solve_at, solve_tensors, solve_tuple};
