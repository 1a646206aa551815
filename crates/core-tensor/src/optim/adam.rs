//! Adam and AdamW.

use super::group::{Grouped, Settings, check_value};
use super::slot::{Rule, Slot, export, for_found, import};
use super::{Optimizer, OptimizerState, ParamGroup};
use crate::Result;
use crate::kernel::{Real, multiversion};
use crate::params::Parameters;
use candle_core::Tensor;
#[cfg(feature = "cuda")]
use candle_core::Var;
use candle_core::backprop::GradStore;

/// The hyperparameters of [`Adam`] and [`AdamW`]; the defaults are those of `torch.optim.Adam`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamConfig {
    /// Step size, 0.001.
    pub learning_rate: f64,
    /// Decay of the mean of gradients, 0.9.
    pub beta1: f64,
    /// Decay of the mean of squared gradients, 0.999.
    pub beta2: f64,
    /// Added to the root of the second moment, 1e-8.
    pub eps: f64,
    /// [`Adam`]: factor of the parameter that is added to the gradient (an L2 penalty). [`AdamW`]: factor, times the learning
    /// rate, by which the parameter shrinks. Default 0; the default of `torch.optim.AdamW` is 0.01.
    pub weight_decay: f64,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0. }
    }
}

impl Settings for AdamConfig {
    fn check(&self, operation: &'static str) -> Result<()> {
        let not_negative = |v: f64| v.is_finite() && v >= 0.;
        for (what, value) in
            [("learning_rate", self.learning_rate), ("eps", self.eps), ("weight_decay", self.weight_decay)]
        {
            check_value(operation, what, value, "finite and not negative", not_negative(value))?;
        }
        for (what, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            check_value(operation, what, value, "in [0, 1)", (0. ..1.).contains(&value))?;
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

/// Adam (Kingma and Ba 2015) as `torch.optim.Adam`: weight decay is added to the gradient.
///
/// With gradient `g`, `m ← m + (1−β₁)(g−m)`, `v ← β₂v + (1−β₂)g²`, `p ← p − η/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε)`.
pub struct Adam {
    core: Core,
}

impl std::fmt::Debug for Adam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parameters = self.core.slots.len();
        f.debug_struct("Adam").field("config", self.config()).field("parameters", &parameters).finish_non_exhaustive()
    }
}

/// AdamW (Loshchilov and Hutter 2019) as `torch.optim.AdamW`: `p ← (1 − η·weight_decay) p` before the step of [`Adam`].
pub struct AdamW {
    core: Core,
}

impl std::fmt::Debug for AdamW {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parameters = self.core.slots.len();
        f.debug_struct("AdamW").field("config", self.config()).field("parameters", &parameters).finish_non_exhaustive()
    }
}

impl Adam {
    /// Adam for some parameters, usually all of a [`ParamStore`](crate::params::ParamStore), by its name or by
    /// [`trainable`](crate::params::ParamStore::trainable).
    ///
    /// # Errors
    ///
    /// When a hyperparameter is out of its range, there are no parameters, two have one name, or one is not a float.
    pub fn new(parameters: impl Into<Parameters>, config: AdamConfig) -> Result<Self> {
        Self::with_groups(parameters, config, &[])
    }

    /// Adam with other settings for some groups of parameters.
    ///
    /// # Errors
    ///
    /// As for [`Adam::new`], and when the pattern of a group matches no parameter.
    pub fn with_groups(
        parameters: impl Into<Parameters>,
        config: AdamConfig,
        groups: &[ParamGroup<AdamConfig>],
    ) -> Result<Self> {
        Ok(Self { core: Core::new("Adam", parameters.into(), config, groups, false)? })
    }

    /// The hyperparameters, with the current learning rate.
    pub fn config(&self) -> &AdamConfig {
        &self.core.settings.config
    }
}

impl AdamW {
    /// AdamW for some parameters, usually all of a [`ParamStore`](crate::params::ParamStore), by its name or by
    /// [`trainable`](crate::params::ParamStore::trainable).
    ///
    /// # Errors
    ///
    /// As for [`Adam::new`].
    pub fn new(parameters: impl Into<Parameters>, config: AdamConfig) -> Result<Self> {
        Self::with_groups(parameters, config, &[])
    }

    /// AdamW with other settings for some groups of parameters.
    ///
    /// # Errors
    ///
    /// As for [`AdamW::new`], and when the pattern of a group matches no parameter.
    pub fn with_groups(
        parameters: impl Into<Parameters>,
        config: AdamConfig,
        groups: &[ParamGroup<AdamConfig>],
    ) -> Result<Self> {
        Ok(Self { core: Core::new("AdamW", parameters.into(), config, groups, true)? })
    }

    /// The hyperparameters, with the current learning rate.
    pub fn config(&self) -> &AdamConfig {
        &self.core.settings.config
    }
}

/// Both optimisers; they differ in one flag.
struct Core {
    parameters: Parameters,
    slots: Vec<Slot<2>>,
    settings: Grouped<AdamConfig>,
    is_decoupled: bool,
}

impl Core {
    fn new(
        operation: &'static str,
        parameters: Parameters,
        config: AdamConfig,
        groups: &[ParamGroup<AdamConfig>],
        is_decoupled: bool,
    ) -> Result<Self> {
        let settings = Grouped::new(operation, &parameters, config, groups)?;
        let slots = parameters.iter().map(Slot::new).collect();
        Ok(Self { parameters, slots, settings, is_decoupled })
    }

    fn kind(&self) -> &'static str {
        if self.is_decoupled { "adamw" } else { "adam" }
    }

    fn step(&mut self, grads: &GradStore) -> Result<()> {
        let (settings, is_decoupled) = (&self.settings, self.is_decoupled);
        for_found(&mut self.slots, &self.parameters.found(grads), &self.parameters, |at, slot| {
            slot.step(grads, |step| AdamRule::new(settings.of(at), is_decoupled, step))
        })
    }

    fn state(&self) -> Result<OptimizerState> {
        let mut state = OptimizerState::new(self.kind(), self.settings.config.learning_rate);
        self.slots.iter().try_for_each(|slot| export::<2, AdamRule>(slot, &mut state))?;
        Ok(state)
    }

    fn load_state(&mut self, state: &OptimizerState) -> Result<()> {
        state.check(self.kind(), &self.parameters)?;
        import::<2, AdamRule>(self.slots.iter_mut(), state)?;
        self.settings.set_learning_rate(state.learning_rate);
        Ok(())
    }
}

macro_rules! optimizer {
    ($name:ident) => {
        impl Optimizer for $name {
            fn parameters(&self) -> &Parameters {
                &self.core.parameters
            }

            fn step(&mut self, grads: &GradStore) -> Result<()> {
                self.core.step(grads)
            }

            fn learning_rate(&self) -> f64 {
                self.core.settings.config.learning_rate
            }

            fn set_learning_rate(&mut self, learning_rate: f64) {
                self.core.settings.set_learning_rate(learning_rate);
            }

            fn state(&self) -> Result<OptimizerState> {
                self.core.state()
            }

            fn load_state(&mut self, state: &OptimizerState) -> Result<()> {
                self.core.load_state(state)
            }
        }
    };
}
optimizer!(Adam);
optimizer!(AdamW);

/// The numbers of one step.
struct AdamRule {
    beta1: f64,
    beta2: f64,
    eps: f64,
    /// Added to the gradient, in parameters.
    l2: f64,
    /// The parameter is multiplied by this first.
    shrink: f64,
    /// Learning rate over `1 − β₁ᵗ`.
    step_size: f64,
    /// `√(1 − β₂ᵗ)`.
    root_correction: f64,
}

impl AdamRule {
    fn new(config: &AdamConfig, is_decoupled: bool, step: u64) -> Self {
        let AdamConfig { learning_rate, beta1, beta2, eps, weight_decay } = *config;
        let step = step as f64;
        Self {
            beta1,
            beta2,
            eps,
            l2: if is_decoupled { 0. } else { weight_decay },
            shrink: if is_decoupled { 1. - learning_rate * weight_decay } else { 1. },
            step_size: learning_rate / (1. - beta1.powf(step)),
            root_correction: (1. - beta2.powf(step)).sqrt(),
        }
    }
}

multiversion! {
    fn adam_piece<T>(rule: &AdamRule, parameter: &mut [T], gradient: &[T], mean: &mut [T], square: &mut [T]) {
        let (one_minus_beta1, beta2, one_minus_beta2) = (T::of(1. - rule.beta1), T::of(rule.beta2), T::of(1. - rule.beta2));
        let (l2, shrink, eps) = (T::of(rule.l2), T::of(rule.shrink), T::of(rule.eps));
        let (step_size, root_correction) = (T::of(rule.step_size), T::of(rule.root_correction));
        for (((p, &g), m), v) in parameter.iter_mut().zip(gradient).zip(mean).zip(square) {
            let shrunk = *p * shrink;
            // What decays is cut off before it is subnormal; such gradients count as 0.
            let g = l2.mul_add(*p, g.or_zero());
            *m = (g - *m).mul_add(one_minus_beta1, *m).or_zero();
            *v = (g * one_minus_beta2).mul_add(g, *v * beta2).or_zero();
            *p = (-step_size).mul_add(*m / (Real::sqrt(*v) / root_correction + eps), shrunk);
        }
    }
}

impl Rule<2> for AdamRule {
    const KEPT: [&'static str; 2] = ["exp_avg", "exp_avg_sq"];

    fn on_host<T: Real>(&self, parameter: &mut [T], gradient: &[T], [mean, square]: [&mut [T]; 2]) {
        adam_piece(self, parameter, gradient, mean, square);
    }

    fn on_device(&self, p: &Tensor, g: &Tensor, [m, v]: [Tensor; 2]) -> Result<(Tensor, [Tensor; 2])> {
        let g = if self.l2 == 0. { g.clone() } else { (g + (p * self.l2)?)? };
        let m = (&m + ((&g - &m)? * (1. - self.beta1))?)?;
        let v = ((v * self.beta2)? + (g.sqr()? * (1. - self.beta2))?)?;
        let denominator = ((v.sqrt()? / self.root_correction)? + self.eps)?;
        let p = ((p * self.shrink)? - ((&m / denominator)? * self.step_size)?)?;
        Ok((p, [m, v]))
    }

    #[cfg(feature = "cuda")]
    fn in_place(&self, p: &Var, g: &Tensor, kept: &[Tensor; 2]) -> Result<bool> {
        let Self { beta1, beta2, eps, l2, shrink, step_size, root_correction } = *self;
        let numbers = [1. - beta1, beta2, 1. - beta2, eps, l2, shrink, step_size, root_correction];
        Ok(super::cuda::step(numbers, p, g, kept)?)
    }
}
