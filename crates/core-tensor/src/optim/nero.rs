//! Nero: neuronal rotation.

use super::group::{check_parameters, check_value};
use super::{Optimizer, OptimizerState};
use crate::kernel::Real;
use crate::params::Parameters;
use crate::{Error, Result};
use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Storage, Tensor, Var};
use std::cell::RefCell;

/// The hyperparameters of [`Nero`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NeroConfig {
    /// Step size, 0.01.
    pub learning_rate: f64,
    /// Decay of the running mean of squared gradients, 0.9 (0.999 in Nero's paper; this is LyaNet's).
    pub beta: f64,
}

impl Default for NeroConfig {
    fn default() -> Self {
        Self { learning_rate: 1e-2, beta: 0.9 }
    }
}

/// Nero (Liu, Bernstein, Meister, Yue 2021), as LyaNet's code has it. A neuron is an element of a parameter's first axis; `|·|` is the norm of its weights (of a vector's element the magnitude).
///
/// At construction each neuron of a constrained parameter with more than one axis loses its mean and is scaled to norm 1, and `scale` is the mean norm of a parameter's neurons then (0.01 if that is 0). In step k, with gradient g:
/// `a ← β a + (1 − β) |g|²`, `p ← p − η · scale · g / √(a / (1 − βᵏ))`, where what is not finite counts as 0, and constrained neurons lose their mean and are scaled again.
///
/// By default vectors and matrices are unconstrained, everything else constrained. Matrices with an axis of length 1 never are: without its mean such a neuron would be 0. A neuron whose gradient is not finite is left alone in that step
/// (the original then never moves it again).
pub struct Nero {
    parameters: Parameters,
    slots: Vec<Slot>,
    config: NeroConfig,
}

impl std::fmt::Debug for Nero {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nero")
            .field("config", &self.config)
            .field("parameters", &self.slots.len())
            .finish_non_exhaustive()
    }
}

struct Slot {
    name: String,
    var: Var,
    is_constrained: bool,
    scale: f64,
    steps: u64,
    squares: Vec<f64>,
}

fn check(config: &NeroConfig) -> Result<()> {
    let NeroConfig { learning_rate, beta } = *config;
    let is_right = learning_rate.is_finite() && learning_rate >= 0.;
    check_value("Nero", "learning_rate", learning_rate, "finite and not negative", is_right)?;
    check_value("Nero", "beta", beta, "in [0, 1)", (0. ..1.).contains(&beta))
}

/// What is done to a parameter's memory.
enum Change<'a> {
    /// Constrains the neurons if `true`, and measures the scale.
    Begin(bool),
    Step {
        gradient: &'a Tensor,
        rate: f64,
        beta: f64,
        correction: f64,
        is_constrained: bool,
        squares: &'a mut Vec<f64>,
    },
}

struct InPlace<'a> {
    rows: usize,
    change: RefCell<Change<'a>>,
    scale: RefCell<f64>,
}

fn constrain<T: Real>(neuron: &mut [T]) {
    let mean = neuron.iter().map(|x| x.to_f64()).sum::<f64>() / neuron.len() as f64;
    let mut sum = 0.;
    for x in neuron.iter_mut() {
        let value = x.to_f64() - mean;
        sum += value * value;
        *x = T::of(value);
    }
    let norm = sum.sqrt();
    if norm > 0. {
        for x in neuron.iter_mut() {
            *x = T::of(x.to_f64() / norm);
        }
    }
}

crate::kernel::multiversion! {
    fn square_sum<T>(x: &[T], out: &mut [T]) {
        out[0] = crate::kernel::sum1(x, |x| x * x);
    }
}

crate::kernel::multiversion! {
    fn move_by<T>(factor: T, gradient: &[T], parameter: &mut [T]) {
        for (p, &g) in parameter.iter_mut().zip(gradient) {
            *p = (-factor).mul_add(g, *p);
        }
    }
}

crate::kernel::multiversion! {
    /// Subtracts the mean and divides by the norm.
    fn constrain_fast<T>(neuron: &mut [T]) {
        let count = T::of(neuron.len() as f64);
        let mean = crate::kernel::sum1(neuron, |x| x) / count;
        for x in neuron.iter_mut() {
            *x -= mean;
        }
        let norm = Real::sqrt(crate::kernel::sum1(neuron, |x| x * x));
        if norm > T::ZERO {
            let inverse = T::ONE / norm;
            for x in neuron.iter_mut() {
                *x *= inverse;
            }
        }
    }
}

impl InPlace<'_> {
    fn run<T: Real>(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let name = "Nero";
        let mismatch = || candle_core::Error::Msg(format!("{name}: another dtype"));
        let (start, end) = layout.contiguous_offsets().ok_or(candle_core::Error::RequiresContiguous { op: name })?;
        let parameter = &mut T::slice_mut(storage).ok_or_else(mismatch)?[start..end];
        let width = parameter.len() / self.rows.max(1);
        if width == 0 {
            return Ok(());
        }
        match &mut *self.change.borrow_mut() {
            Change::Begin(is_constrained) => {
                let mut total = 0.;
                for neuron in parameter.chunks_exact_mut(width) {
                    if *is_constrained {
                        constrain(neuron);
                    }
                    total += neuron.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>().sqrt();
                }
                let mean = total / self.rows as f64;
                *self.scale.borrow_mut() = if mean == 0. { 0.01 } else { mean };
            }
            Change::Step { gradient, rate, beta, correction, is_constrained, squares } => {
                let (gradient, gradient_layout) = gradient.storage_and_layout();
                let Storage::Cpu(gradient) = &*gradient else { return Err(mismatch()) };
                let gradient = crate::kernel::slice::<T>(gradient, gradient_layout, name)?;
                let neurons =
                    parameter.chunks_exact_mut(width).zip(gradient.chunks_exact(width)).zip(squares.iter_mut());
                for ((neuron, gradient), square) in neurons {
                    let mut out = [T::ZERO];
                    square_sum(gradient, &mut out);
                    let norm = out[0].to_f64();
                    if !norm.is_finite() {
                        continue;
                    }
                    *square = *beta * *square + (1. - *beta) * norm;
                    let factor = *rate / (*square / *correction).sqrt();
                    if factor.is_finite() {
                        move_by(T::of(factor), gradient, neuron);
                    }
                    if *is_constrained {
                        constrain_fast(neuron);
                    }
                }
            }
        }
        Ok(())
    }
}

impl InplaceOp1 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "nero"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        match storage {
            CpuStorage::F32(_) => self.run::<f32>(storage, layout),
            CpuStorage::F64(_) => self.run::<f64>(storage, layout),
            _ => candle_core::bail!("Nero: parameters are f32 or f64"),
        }
    }
}

impl Slot {
    /// Changes the parameter in its memory, or in a copy on the host where it is elsewhere.
    fn change(&self, change: Change<'_>) -> Result<f64> {
        let rows = self.var.dims().first().copied().unwrap_or(1).max(1);
        let operation = InPlace { rows, change: RefCell::new(change), scale: RefCell::new(0.) };
        let is_host = self.var.device().is_cpu() && self.var.is_contiguous();
        if is_host {
            self.var.inplace_op1(&operation)?;
        } else {
            let copy = Var::from_tensor(&self.var.as_detached_tensor().to_device(&Device::Cpu)?.contiguous()?)?;
            copy.inplace_op1(&operation)?;
            self.var.set(&copy.as_detached_tensor().to_device(self.var.device())?)?;
        }
        Ok(operation.scale.into_inner())
    }
}

impl Nero {
    /// Nero for some parameters, usually all of a [`ParamStore`](crate::params::ParamStore), of which those with more than two axes are constrained. Changes constrained ones at once.
    ///
    /// # Errors
    ///
    /// When a hyperparameter is out of its range, there are no parameters, two have one name, or one is not f32 or f64.
    pub fn new(parameters: impl Into<Parameters>, config: NeroConfig) -> Result<Self> {
        Self::with_constraints(parameters, config, |_, var| var.rank() > 2)
    }

    /// [`Nero::new`] with a choice of the constrained parameters.
    ///
    /// # Errors
    ///
    /// As [`Nero::new`].
    pub fn with_constraints(
        parameters: impl Into<Parameters>,
        config: NeroConfig,
        is_constrained: impl Fn(&str, &Var) -> bool,
    ) -> Result<Self> {
        let parameters = parameters.into();
        check(&config)?;
        check_parameters("Nero", &parameters)?;
        let mut slots = Vec::with_capacity(parameters.iter().count());
        for (name, var) in parameters.iter() {
            if !matches!(var.dtype(), DType::F32 | DType::F64) {
                return Err(Error::Parameter {
                    name: name.clone(),
                    reason: format!("is {:?}, Nero takes f32 and f64", var.dtype()),
                });
            }
            let is_thin = var.rank() == 2 && var.dims().contains(&1);
            let is_constrained = var.rank() > 1 && !is_thin && is_constrained(name, var);
            let rows = var.dims().first().copied().unwrap_or(1).max(1);
            let mut slot = Slot {
                name: name.clone(),
                var: var.clone(),
                is_constrained,
                scale: 0.,
                steps: 0,
                squares: vec![0.; rows],
            };
            slot.scale = slot.change(Change::Begin(is_constrained))?;
            slots.push(slot);
        }
        Ok(Self { parameters, slots, config })
    }

    /// The hyperparameters, with the current learning rate.
    pub fn config(&self) -> &NeroConfig {
        &self.config
    }
}

impl Optimizer for Nero {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn step(&mut self, grads: &GradStore) -> Result<()> {
        let NeroConfig { learning_rate, beta } = self.config;
        for at in self.parameters.found(grads) {
            let Some(slot) = self.slots.get_mut(at) else { continue };
            let Some(gradient) = grads.get(&slot.var) else { continue };
            if gradient.shape() != slot.var.shape() || gradient.dtype() != slot.var.dtype() {
                let (got, expected) = ((gradient.dims(), gradient.dtype()), (slot.var.dims(), slot.var.dtype()));
                let reason = format!("its gradient has shape and dtype {got:?}, expected {expected:?}");
                return Err(Error::Parameter { name: slot.name.clone(), reason });
            }
            // a gradient that is itself a variable could share the storage that is about to be locked
            let gradient = if gradient.is_variable() { gradient.copy()? } else { gradient.clone() };
            let gradient = gradient.detach().to_device(&Device::Cpu)?.contiguous()?;
            let mut squares = std::mem::take(&mut slot.squares);
            let correction = 1. - beta.powf(slot.steps as f64 + 1.);
            let rate = learning_rate * slot.scale;
            let is_constrained = slot.is_constrained;
            let change =
                Change::Step { gradient: &gradient, rate, beta, correction, is_constrained, squares: &mut squares };
            let done = slot.change(change);
            slot.squares = squares;
            done?;
            slot.steps += 1;
        }
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.config.learning_rate
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.learning_rate = learning_rate;
    }

    fn state(&self) -> Result<OptimizerState> {
        let mut state = OptimizerState::new("nero", self.config.learning_rate);
        for slot in &self.slots {
            let name = &slot.name;
            if slot.steps > 0 {
                state.steps.insert(name.clone(), slot.steps);
            }
            let squares = Tensor::from_vec(slot.squares.clone(), slot.squares.len(), &Device::Cpu)?;
            state.tensors.insert(format!("exp_avg_sq.{name}"), squares);
            state.tensors.insert(format!("scale.{name}"), Tensor::new(slot.scale, &Device::Cpu)?);
        }
        Ok(state)
    }

    fn load_state(&mut self, state: &OptimizerState) -> Result<()> {
        state.check("nero", &self.parameters)?;
        let mut loaded = Vec::with_capacity(self.slots.len());
        let mut problems = Vec::new();
        for slot in &self.slots {
            let read = |kind: &str| -> Option<Vec<f64>> {
                let tensor = state.tensors.get(&format!("{kind}.{}", slot.name))?;
                tensor.to_device(&Device::Cpu).ok()?.to_dtype(DType::F64).ok()?.flatten_all().ok()?.to_vec1().ok()
            };
            match (read("exp_avg_sq"), read("scale").as_deref()) {
                (Some(squares), Some([scale])) if squares.len() == slot.squares.len() => loaded.push((squares, *scale)),
                _ => problems.push(format!("`{}` has no squares and scale that fit", slot.name)),
            }
        }
        if !problems.is_empty() {
            return Err(Error::Mismatch { source_name: "optimiser state".to_string(), problems });
        }
        for (slot, (squares, scale)) in self.slots.iter_mut().zip(loaded) {
            slot.steps = state.steps.get(&slot.name).copied().unwrap_or(0);
            (slot.squares, slot.scale) = (squares, scale);
        }
        self.config.learning_rate = state.learning_rate;
        Ok(())
    }
}
