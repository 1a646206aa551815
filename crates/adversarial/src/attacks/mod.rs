//! How robust is a classifier, honestly? Attacks with exact budgets, and a report that says when it is not to be trusted.
//!
//! Parts multiply: a [`Classifier`] (any closure from inputs to logits) × a [`ThreatModel`] × a [`Loss`] × a [`Goal`] × a rule for steps ([`Rule`], or [`Square`] without gradients) × restarts × a model
//! that stands in for another one ([`Bpda`], [`Expectation`], [`Transfer`]).
//!
//! ```
//! use adversarial::attacks::{Suite, Norm, ThreatModel, Normalized};
//! use candle_core::{DType, Device, Tensor};
//! use core_tensor::{nn, params::ParamStore};
//! use candle_nn::Module;
//!
//! let store = ParamStore::new(0, DType::F32, &Device::Cpu);
//! let layer = nn::linear(12, 4, store.frozen_var_builder())?;
//! let model = Normalized::new([0.5], [0.25], move |x: &Tensor| layer.forward(&x.flatten_from(1)?))?;
//! let x = (Tensor::arange(0f32, 36., &Device::Cpu)?.reshape((3, 1, 3, 4))? / 36.)?;
//! let report = Suite::of_size(Norm::Linf, 10, 50, adversarial::attacks::Loss::Margin)
//!     .run(&model, &x, &[0, 1, 2], &ThreatModel::linf(8. / 255.), 0)?;
//! println!("{report}");
//! # Ok::<(), adversarial::Error>(())
//! ```
//!
//! Three facts hold for everything here. **Budgets are exact**: returned inputs, evaluated in f64, are in the ball and the bounds without a tolerance, and success is judged on what is returned. **The same bits**: random numbers depend
//! on the seed, the sample's number and the restart alone, and forward passes have at least eight rows, from where on the rounding of matrix products does not depend on their number (for layers of at least a thousand weights). **Nothing but the gradient of the input** is computed: parameters are constants, and the tape is dropped at each step.
//!
//! An iterative attack has won if *any* of its iterates has; [`Outcome::adversarial`] is the first such one, [`Outcome::is_last_successful`] tells of the last.

mod apgd;
mod attack;
mod classifier;
mod exact;
mod goal;
mod loss;
mod outcome;
mod pgd;
mod projection;
mod samples;
mod search;
mod square;
mod starts;
mod substitutes;
mod suite;
mod threat;

pub use apgd::ApgdConfig;
pub use attack::{Attack, GradientAttack, Rule, Square, Start, Trajectory};
pub(crate) use classifier::through_tape;
pub use classifier::{Classifier, Network, Normalized};
pub use goal::Goal;
pub use loss::Loss;
pub use outcome::Outcome;
pub use pgd::PgdConfig;
pub use samples::Samples;
pub use substitutes::{Bpda, Expectation, Transfer};
pub use suite::{EightBit, Flag, RobustnessReport, Share, Stage, Suite, to_u8};
pub use threat::{Norm, ThreatModel};
