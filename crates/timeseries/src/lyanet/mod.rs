//! LyaNet: neural ODEs trained by a Lyapunov condition instead of by differentiating a solver.
//!
//! I. D. Jimenez Rodriguez, A. D. Ames, Y. Yue: *LyaNet: A Lyapunov Framework for Training Neural ODEs*, ICML 2022, arXiv 2202.02526.
//!
//! **Problem.** A neural ODE `dh/dt = f(t, h, x)` classifies by `h(1)`. Training differentiates the solution, which is slow, and nothing makes the trajectory approach the answer early.
//!
//! **Idea.** The supervised loss is a potential `V_y(h)`; the dynamics shall satisfy `dV/dt ≤ −κ V` at every state. The violation, averaged over drawn states, is the loss. If it is 0 along a trajectory,
//! `V(h(t)) ≤ e^{−κt} V(h(0))`.
//!
//! | paper (and its code) | here |
//! |---|---|
//! | data-controlled dynamics, `B(x)` | [`ClassDynamics`], [`ParameterMap`], [`LyaNet`] |
//! | potential `V_y` | [`Potential`]: [`CrossEntropy`], [`SquaredError`], one's own |
//! | Monte-Carlo Lyapunov loss, orders 1 and 2 | [`LyapunovLoss`], states from a [`Region`] |
//! | path-integral form with its curriculum | [`LyaNet::path_loss`], [`PathCurriculum`] |
//! | growing gain (code) | [`GainSchedule`] |
//! | ContinuousNet and the discrete loss (order 0) | [`ContinuousNet`], [`discrete_loss`] |
//! | Nero (code) | `core_tensor::optim::Nero` |
//! | exponential bound, robustness | [`satisfies_bound`], [`ExponentialBound`], [`CertifiedRadius`], [`EstimatedRadius`] |
//!
//! The baseline is the same model with [`LyaNet::logits`] and the cross-entropy: [`crate::ode`] differentiates the solve.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use core_tensor::optim::{Adam, AdamConfig, Optimizer};
//! use core_tensor::params::ParamStore;
//! use core_tensor::random::Rng;
//! use core_tensor::{Mode, nn};
//! use timeseries::lyanet::{ClassDynamics, ClassDynamicsConfig, LyaNet, LyapunovLoss, Region};
//! use timeseries::ode::Solve;
//!
//! let store = ParamStore::new(1, DType::F32, &Device::Cpu);
//! let layer = nn::linear(2, 8 * 8, store.var_builder().pp("map"))?;
//! let map = move |x: &Tensor, _: &mut Mode<'_>| Ok(candle_nn::Module::forward(&layer, x)?);
//! let model = LyaNet::new(map, ClassDynamics::new(ClassDynamicsConfig::new(3, 8), store.var_builder().pp("dynamics"))?);
//! let x = Tensor::new(&[[1f32, 0.], [0., 1.], [-1., -1.]], &Device::Cpu)?;
//! let labels = [0, 1, 2];
//! let (mut adam, mut rng) = (Adam::new(&store, AdamConfig { learning_rate: 0.01, ..AdamConfig::default() })?, Rng::new(2));
//! for _ in 0..200 {
//!     let region = Region::UniformRadius { half_range: 15. };
//!     let found = model.loss(&x, &labels, &LyapunovLoss::default(), (region, 16), &mut rng, &mut Mode::evaluate())?;
//!     adam.backward_step(&found.loss)?;
//! }
//! let logits = model.logits(&x, &Solve::default().tolerance(1e-3), &mut Mode::evaluate())?;
//! assert_eq!(logits.argmax(1)?.to_vec1::<u32>()?, labels);
//! # Ok::<(), timeseries::Error>(())
//! ```

mod continuous_net;
mod diagnostics;
mod dynamics;
mod head;
mod loss;
mod model;
mod potential;
mod sampler;
mod schedule;
mod tape;

pub use continuous_net::{ContinuousNet, ContinuousNetConfig, discrete_loss};
pub use diagnostics::{
    CertifiedRadius, EstimatedRadius, ExponentialBound, Violation, empirical_rate, satisfies_bound, violation,
};
pub use dynamics::{ClassDynamics, ClassDynamicsConfig, ClassField};
pub use loss::{Lyapunov, LyapunovLoss, Order, Reduction};
pub use model::{LyaNet, ParameterMap};
pub use potential::{CrossEntropy, Potential, SquaredError};
pub use sampler::{Region, path_times};
pub use schedule::{GainSchedule, PathCurriculum};
