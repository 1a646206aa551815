//! Stochastic gradient descent.

use super::group::{Grouped, Settings, check_value};
use super::slot::{Rule, Slot, export, for_found, import};
use super::{Optimizer, OptimizerState, ParamGroup};
use crate::Result;
use crate::kernel::{Real, multiversion};
use crate::params::Parameters;
use candle_core::Tensor;
use candle_core::backprop::GradStore;

/// The hyperparameters of [`Sgd`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdConfig {
    /// Step size, 0.01.
    pub learning_rate: f64,
    /// Share of the previous steps' direction, 0.
    pub momentum: f64,
    /// The share of the gradient that does not enter the momentum, 0.
    pub dampening: f64,
    /// Factor of the parameter that is added to the gradient, 0.
    pub weight_decay: f64,
    /// Whether to look ahead along the momentum (Nesterov), false. Needs momentum and no dampening.
    pub is_nesterov: bool,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self { learning_rate: 1e-2, momentum: 0., dampening: 0., weight_decay: 0., is_nesterov: false }
    }
}

/// Stochastic gradient descent as `torch.optim.SGD`.
///
/// With gradient `g` and weight decay `λ`: `g ← g + λp`; with momentum `μ` and dampening `τ`, `b ← μb + (1−τ)g` (in the first
/// step `b ← g`), then `g ← b`, or `g ← g + μb` for Nesterov; `p ← p − ηg`.
pub struct Sgd {
    parameters: Parameters,
    slots: Vec<Kind>,
    settings: Grouped<SgdConfig>,
}

impl std::fmt::Debug for Sgd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (config, parameters) = (&self.settings.config, self.slots.len());
        f.debug_struct("Sgd").field("config", config).field("parameters", &parameters).finish_non_exhaustive()
    }
}

/// Without momentum nothing is kept.
enum Kind {
    Bare(Slot<0>),
    Momentum(Slot<1>),
}

impl Settings for SgdConfig {
    fn check(&self, operation: &'static str) -> Result<()> {
        let numbers =
            [("learning_rate", self.learning_rate), ("momentum", self.momentum), ("weight_decay", self.weight_decay)];
        for (what, value) in numbers {
            check_value(operation, what, value, "finite and not negative", value.is_finite() && value >= 0.)?;
        }
        check_value(operation, "dampening", self.dampening, "finite", self.dampening.is_finite())?;
        if self.is_nesterov {
            check_value(operation, "momentum", self.momentum, "positive for Nesterov", self.momentum > 0.)?;
            check_value(operation, "dampening", self.dampening, "0 for Nesterov", self.dampening == 0.)?;
        }
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.learning_rate = learning_rate;
    }
}

impl Sgd {
    /// SGD for some parameters, usually all of a [`ParamStore`](crate::params::ParamStore), by its name or by
    /// [`trainable`](crate::params::ParamStore::trainable).
    ///
    /// # Errors
    ///
    /// When a hyperparameter is out of its range, there are no parameters, two have one name, or one is not a float.
    pub fn new(parameters: impl Into<Parameters>, config: SgdConfig) -> Result<Self> {
        Self::with_groups(parameters, config, &[])
    }

    /// SGD with other settings for some groups of parameters.
    ///
    /// # Errors
    ///
    /// As for [`Sgd::new`], and when the pattern of a group matches no parameter.
    pub fn with_groups(
        parameters: impl Into<Parameters>,
        config: SgdConfig,
        groups: &[ParamGroup<SgdConfig>],
    ) -> Result<Self> {
        let parameters = parameters.into();
        let settings = Grouped::new("Sgd", &parameters, config, groups)?;
        let slot = |(at, entry)| match settings.of(at).momentum {
            0. => Kind::Bare(Slot::new(entry)),
            _ => Kind::Momentum(Slot::new(entry)),
        };
        let slots = parameters.iter().enumerate().map(slot).collect();
        Ok(Self { parameters, slots, settings })
    }

    /// The hyperparameters, with the current learning rate.
    pub fn config(&self) -> &SgdConfig {
        &self.settings.config
    }
}

impl Optimizer for Sgd {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn step(&mut self, grads: &GradStore) -> Result<()> {
        let settings = &self.settings;
        for_found(&mut self.slots, &self.parameters.found(grads), &self.parameters, |at, slot| {
            let config = *settings.of(at);
            match slot {
                Kind::Bare(slot) => slot.step(grads, |_| SgdRule { config, is_first: false }),
                Kind::Momentum(slot) => slot.step(grads, |step| SgdRule { config, is_first: step == 1 }),
            }
        })
    }

    fn learning_rate(&self) -> f64 {
        self.settings.config.learning_rate
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.settings.set_learning_rate(learning_rate);
    }

    fn state(&self) -> Result<OptimizerState> {
        let mut state = OptimizerState::new("sgd", self.settings.config.learning_rate);
        for slot in &self.slots {
            match slot {
                Kind::Bare(slot) => export::<0, SgdRule>(slot, &mut state)?,
                Kind::Momentum(slot) => export::<1, SgdRule>(slot, &mut state)?,
            }
        }
        Ok(state)
    }

    fn load_state(&mut self, state: &OptimizerState) -> Result<()> {
        state.check("sgd", &self.parameters)?;
        let momenta = self.slots.iter_mut().filter_map(|slot| match slot {
            Kind::Momentum(slot) => Some(slot),
            Kind::Bare(_) => None,
        });
        // only this can fail: nothing is kept for the others
        import::<1, SgdRule>(momenta, state)?;
        let bare = self.slots.iter_mut().filter_map(|slot| match slot {
            Kind::Bare(slot) => Some(slot),
            Kind::Momentum(_) => None,
        });
        import::<0, SgdRule>(bare, state)?;
        self.settings.set_learning_rate(state.learning_rate);
        Ok(())
    }
}

struct SgdRule {
    config: SgdConfig,
    is_first: bool,
}

impl SgdRule {
    /// The share of the gradient that enters the momentum.
    fn share(&self) -> f64 {
        if self.is_first { 1. } else { 1. - self.config.dampening }
    }
}

multiversion! {
    fn plain_piece<T>(learning_rate: f64, weight_decay: f64, parameter: &mut [T], gradient: &[T]) {
        let (learning_rate, weight_decay) = (T::of(learning_rate), T::of(weight_decay));
        for (p, &g) in parameter.iter_mut().zip(gradient) {
            *p = (-learning_rate).mul_add(weight_decay.mul_add(*p, g.or_zero()), *p);
        }
    }
}

multiversion! {
    fn momentum_piece<T>(rule: &SgdRule, parameter: &mut [T], gradient: &[T], buffer: &mut [T]) {
        let (learning_rate, weight_decay) = (T::of(rule.config.learning_rate), T::of(rule.config.weight_decay));
        let (momentum, share) = (T::of(rule.config.momentum), T::of(rule.share()));
        // The direction is `own · g + along · b`, so that one loop serves both forms.
        let (own, along) = if rule.config.is_nesterov { (T::ONE, momentum) } else { (T::ZERO, T::ONE) };
        for ((p, &g), b) in parameter.iter_mut().zip(gradient).zip(buffer) {
            // What decays is cut off before it is subnormal; such gradients count as 0.
            let g = weight_decay.mul_add(*p, g.or_zero());
            *b = momentum.mul_add(*b, share * g).or_zero();
            *p = (-learning_rate).mul_add(along.mul_add(*b, own * g), *p);
        }
    }
}

impl Rule<0> for SgdRule {
    const KEPT: [&'static str; 0] = [];

    fn on_host<T: Real>(&self, parameter: &mut [T], gradient: &[T], _: [&mut [T]; 0]) {
        plain_piece(self.config.learning_rate, self.config.weight_decay, parameter, gradient);
    }

    fn on_device(&self, p: &Tensor, g: &Tensor, _: [Tensor; 0]) -> Result<(Tensor, [Tensor; 0])> {
        let g = (g + (p * self.config.weight_decay)?)?;
        Ok(((p - (g * self.config.learning_rate)?)?, []))
    }
}

impl Rule<1> for SgdRule {
    const KEPT: [&'static str; 1] = ["momentum_buffer"];

    fn on_host<T: Real>(&self, parameter: &mut [T], gradient: &[T], [buffer]: [&mut [T]; 1]) {
        momentum_piece(self, parameter, gradient, buffer);
    }

    fn on_device(&self, p: &Tensor, g: &Tensor, [b]: [Tensor; 1]) -> Result<(Tensor, [Tensor; 1])> {
        let g = (g + (p * self.config.weight_decay)?)?;
        let b = ((b * self.config.momentum)? + (&g * self.share())?)?;
        let direction = if self.config.is_nesterov { (g + (&b * self.config.momentum)?)? } else { b.clone() };
        Ok(((p - (direction * self.config.learning_rate)?)?, [b]))
    }
}
