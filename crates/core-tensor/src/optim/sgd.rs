//! Stochastic gradient descent.

use super::slot::{Rule, Slot, export, import};
use super::{Optimizer, OptimizerState, check_value, check_vars};
use crate::Result;
use crate::kernel::{Real, multiversion};
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

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
    slots: Vec<Slot<1>>,
    /// Without momentum nothing is kept.
    bare_slots: Vec<Slot<0>>,
    config: SgdConfig,
}

impl Sgd {
    /// SGD for `vars`, usually [`ParamStore::trainable`](crate::params::ParamStore::trainable).
    ///
    /// # Errors
    ///
    /// When a hyperparameter is out of its range, a name is there twice, or a parameter is not a float.
    pub fn new(vars: Vec<(String, Var)>, config: SgdConfig) -> Result<Self> {
        const OP: &str = "Sgd";
        let numbers = [
            ("learning_rate", config.learning_rate),
            ("momentum", config.momentum),
            ("weight_decay", config.weight_decay),
        ];
        for (what, value) in numbers {
            check_value(OP, what, value, "finite and not negative", value.is_finite() && value >= 0.)?;
        }
        check_value(OP, "dampening", config.dampening, "finite", config.dampening.is_finite())?;
        if config.is_nesterov {
            check_value(OP, "momentum", config.momentum, "positive for Nesterov", config.momentum > 0.)?;
            check_value(OP, "dampening", config.dampening, "0 for Nesterov", config.dampening == 0.)?;
        }
        check_vars(OP, &vars)?;
        let (slots, bare_slots) =
            if config.momentum == 0. { (Vec::new(), Slot::all(vars)) } else { (Slot::all(vars), Vec::new()) };
        Ok(Self { slots, bare_slots, config })
    }

    /// The hyperparameters, with the current learning rate.
    pub fn config(&self) -> &SgdConfig {
        &self.config
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        let config = self.config;
        self.slots.iter_mut().try_for_each(|slot| slot.step(grads, |step| SgdRule { config, is_first: step == 1 }))?;
        self.bare_slots.iter_mut().try_for_each(|slot| slot.step(grads, |_| SgdRule { config, is_first: false }))
    }

    fn learning_rate(&self) -> f64 {
        self.config.learning_rate
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.learning_rate = learning_rate;
    }

    fn state(&self) -> Result<OptimizerState> {
        let mut state = export::<1, SgdRule>("sgd", self.config.learning_rate, &self.slots)?;
        state.steps.extend(export::<0, SgdRule>("sgd", self.config.learning_rate, &self.bare_slots)?.steps);
        Ok(state)
    }

    fn load_state(&mut self, state: &OptimizerState) -> Result<()> {
        if self.config.momentum == 0. {
            import::<0, SgdRule>("sgd", &mut self.bare_slots, state)?;
        } else {
            import::<1, SgdRule>("sgd", &mut self.slots, state)?;
        }
        self.config.learning_rate = state.learning_rate;
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
            *p -= learning_rate * (g + weight_decay * *p);
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
            let g = g + weight_decay * *p;
            *b = momentum * *b + share * g;
            *p -= learning_rate * (own * g + along * *b);
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
