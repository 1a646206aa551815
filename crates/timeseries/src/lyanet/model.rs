//! A parameter map and dynamics together.

use super::dynamics::{ClassDynamics, ClassField};
use super::loss::{Lyapunov, LyapunovLoss};
use super::sampler::{Region, path_times};
use crate::ode::{Gradient, Solve, TensorSolution, solve_tensors};
use crate::{Error, Result};
use candle_core::Tensor;
use core_tensor::Mode;
use core_tensor::random::Rng;

/// What gives the matrices `B(x)`, `[b, m · m]`, of inputs: any network, closures `|x, mode| …` among them.
pub trait ParameterMap {
    /// The matrices of a batch.
    ///
    /// # Errors
    ///
    /// Whatever cannot be computed.
    fn maps(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor>;
}

impl<F: Fn(&Tensor, &mut Mode<'_>) -> Result<Tensor>> ParameterMap for F {
    fn maps(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        self(x, mode)
    }
}

/// A classifier whose logits are the state at `t = 1` of an equation that starts at 0.
#[derive(Debug, Clone)]
pub struct LyaNet<P> {
    /// The network behind `B(x)`.
    pub map: P,
    /// The dynamics.
    pub dynamics: ClassDynamics,
}

impl<P: ParameterMap> LyaNet<P> {
    /// Both together.
    pub fn new(map: P, dynamics: ClassDynamics) -> Self {
        Self { map, dynamics }
    }

    /// The Monte-Carlo loss of a batch, at `states` states drawn from a region.
    ///
    /// # Errors
    ///
    /// Those of the map, and of [`LyapunovLoss::forward`].
    pub fn loss(
        &self,
        x: &Tensor,
        labels: &[u32],
        loss: &LyapunovLoss,
        (region, states): (Region, usize),
        rng: &mut Rng,
        mode: &mut Mode<'_>,
    ) -> Result<Lyapunov> {
        let maps = self.map.maps(x, mode)?;
        let states =
            region.draw(states, self.dynamics.config().classes, maps.dtype(), rng)?.to_device(maps.device())?;
        loss.forward(&self.dynamics, &maps, labels, &states, mode)
    }

    /// The path-integral loss: at `count` states on each example's own trajectory up to `end`, which is solved without a gradient.
    ///
    /// # Errors
    ///
    /// Those of the map, of the solve, and of [`LyapunovLoss::forward`].
    #[allow(clippy::too_many_arguments, reason = "each is a part that the caller chooses")]
    pub fn path_loss(
        &self,
        x: &Tensor,
        labels: &[u32],
        loss: &LyapunovLoss,
        (count, end): (usize, f64),
        options: &Solve,
        rng: &mut Rng,
        mode: &mut Mode<'_>,
    ) -> Result<Lyapunov> {
        let maps = self.map.maps(x, mode)?;
        let times = path_times(count, end, rng)?;
        let options = options.clone().at(times).gradient(Gradient::None);
        let states = self
            .trajectory(&self.dynamics.field(&maps.detach())?, end, &options)?
            .states()
            .transpose(0, 1)?
            .contiguous()?;
        loss.forward(&self.dynamics, &maps, labels, &states, mode)
    }

    fn trajectory(&self, field: &ClassField, end: f64, options: &Solve) -> Result<TensorSolution> {
        use crate::ode::Dynamics;
        let maps = field.context().ok_or_else(|| Error::InvalidData {
            operation: "LyaNet",
            what: "B",
            reason: "is missing".to_owned(),
        })?;
        let zeros = Tensor::zeros((maps.dim(0)?, self.dynamics.config().classes), maps.dtype(), maps.device())?;
        solve_tensors(field, &zeros, (0., end), options)
    }

    /// The trajectory of a batch from 0 to `t = 1`: its states are logits `[times, b, n]`.
    ///
    /// # Errors
    ///
    /// Those of the map and of the solve.
    pub fn solve(&self, x: &Tensor, options: &Solve, mode: &mut Mode<'_>) -> Result<TensorSolution> {
        let maps = self.map.maps(x, mode)?;
        let has_dropout = self.dynamics.config().dropout > 0.;
        let field = match &mut mode.noise {
            Some(rng) if has_dropout => self.dynamics.field_with_dropout(&maps, rng)?,
            _ => self.dynamics.field(&maps)?,
        };
        self.trajectory(&field, 1., options)
    }

    /// The logits at `t = 1`, `[b, n]`.
    ///
    /// # Errors
    ///
    /// As [`LyaNet::solve`].
    pub fn logits(&self, x: &Tensor, options: &Solve, mode: &mut Mode<'_>) -> Result<Tensor> {
        self.solve(x, options, mode)?.last()
    }
}
