//! A field that is a multilayer perceptron, with kernels of its own.

use super::field::{At, Pullback};
use super::tensors::Dynamics;
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use core_tensor::init::fan_in_uniform;
use core_tensor::kernel::{Matrix, Real, for_slices, gemm, gemm_strided, multiversion, product};
use serde::{Deserialize, Serialize};

/// The function between two layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Activation {
    /// `tanh(x)`.
    Tanh,
    /// `log(1 + eˣ)`.
    Softplus,
    /// `x σ(x)`.
    Silu,
    /// `max(x, 0)`, which is not smooth: adaptive steps become short where a unit switches.
    Relu,
}

/// `f(t, y) = W_L act(… act(W₁ y + b₁) …) + b_L`, rows of a batch `[…, width]` one by one; with time, `t` is an input more, the last.
///
/// Forward and backward are products of whole batches on slices, without a tape; the parameters are named `0.weight`, `0.bias`, `1.weight`, ….
#[derive(Debug, Clone)]
pub struct MlpField {
    widths: Vec<usize>,
    activation: Activation,
    has_time: bool,
    parameters: Vec<Tensor>,
}

impl MlpField {
    /// A field of `widths`: the first and the last are the state's. First values are uniform in ±1/√(inputs), as PyTorch's.
    ///
    /// # Errors
    ///
    /// Fewer than two widths, widths of 0, ends that differ, and errors of the store.
    pub fn new(widths: &[usize], activation: Activation, vb: VarBuilder<'_>) -> Result<Self> {
        Self::build(widths, activation, false, vb)
    }

    /// The same with time as an input.
    ///
    /// # Errors
    ///
    /// As [`MlpField::new`].
    pub fn with_time(widths: &[usize], activation: Activation, vb: VarBuilder<'_>) -> Result<Self> {
        Self::build(widths, activation, true, vb)
    }

    fn build(widths: &[usize], activation: Activation, has_time: bool, vb: VarBuilder<'_>) -> Result<Self> {
        const OPERATION: &str = "MlpField";
        if widths.len() < 2 || widths.first() != widths.last() {
            let (first, last) = (widths.first().copied().unwrap_or(0), widths.last().copied().unwrap_or(0));
            return Err(Error::count(
                OPERATION,
                "the last of at least two widths",
                last,
                format!("{first}, the first"),
            ));
        }
        if let Some(&width) = widths.iter().find(|width| **width == 0 || **width > 1 << 20) {
            return Err(Error::count(OPERATION, "a width", width, "1 to 2^20"));
        }
        let mut parameters = Vec::new();
        for (layer, pair) in widths.windows(2).enumerate() {
            let inputs = pair[0] + usize::from(has_time && layer == 0);
            let vb = vb.pp(layer.to_string());
            parameters.push(vb.get_with_hints((pair[1], inputs), "weight", fan_in_uniform(inputs))?);
            parameters.push(vb.get_with_hints(pair[1], "bias", fan_in_uniform(inputs))?);
        }
        Ok(Self { widths: widths.to_vec(), activation, has_time, parameters })
    }

    /// A field with given weights `[outputs, inputs]` and biases `[outputs]`, layer by layer; the first has an input more than the state if `has_time`.
    ///
    /// # Errors
    ///
    /// When shapes do not follow each other, or the last layer's outputs are not the state's.
    pub fn from_tensors(layers: Vec<(Tensor, Tensor)>, activation: Activation, has_time: bool) -> Result<Self> {
        const OPERATION: &str = "MlpField";
        let mut widths: Vec<usize> = Vec::new();
        let mut parameters = Vec::new();
        for (layer, (weight, bias)) in layers.into_iter().enumerate() {
            let (outputs, inputs) =
                weight.dims2().map_err(|_| Error::shape(OPERATION, "a weight", &weight, "[outputs, inputs]"))?;
            let own = inputs.saturating_sub(usize::from(has_time && layer == 0));
            if widths.last().is_some_and(|&before| before != own) || own == 0 {
                let expected = format!("[outputs, {}]", widths.last().copied().unwrap_or(1));
                return Err(Error::shape(OPERATION, "a weight", &weight, expected));
            }
            if bias.dims() != [outputs] {
                return Err(Error::shape(OPERATION, "a bias", &bias, format!("[{outputs}]")));
            }
            if layer == 0 {
                widths.push(own);
            }
            widths.push(outputs);
            parameters.extend([weight, bias]);
        }
        if widths.len() < 2 || widths.first() != widths.last() {
            let last = widths.last().copied().unwrap_or(0);
            return Err(Error::count(OPERATION, "the last layer's outputs", last, "the state's width"));
        }
        Ok(Self { widths, activation, has_time, parameters })
    }

    /// The widths.
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// The dtype of the parameters.
    pub fn dtype(&self) -> DType {
        self.parameters[0].dtype()
    }

    /// Layers as `(inputs of the state, outputs, columns of the weight, start of the weight, start of the bias)`.
    fn layers(&self) -> Vec<Layer> {
        let mut start = 0;
        let mut layers = Vec::with_capacity(self.widths.len() - 1);
        for (at, pair) in self.widths.windows(2).enumerate() {
            let columns = pair[0] + usize::from(self.has_time && at == 0);
            layers.push(Layer {
                inputs: pair[0],
                outputs: pair[1],
                columns,
                weight: start,
                bias: start + columns * pair[1],
            });
            start += columns * pair[1] + pair[1];
        }
        layers
    }

    fn rows<T>(&self, y: &[T]) -> Result<usize> {
        let width = self.widths[0];
        match y.len() % width {
            0 => Ok(y.len() / width),
            _ => Err(Error::Length {
                operation: "MlpField",
                what: "the state's last dimension",
                got: y.len(),
                expected: width,
            }),
        }
    }

    /// The outputs of all layers, those before the last after their activation.
    fn outputs<T: Real>(&self, at: &At<'_, T>, all: &mut Vec<Vec<T>>, skips_last: bool) -> Result<()> {
        let rows = self.rows(at.y)?;
        let layers = self.layers();
        let last = layers.len() - 1;
        all.resize_with(layers.len(), Vec::new);
        for (number, layer) in layers.iter().enumerate() {
            if number == last && skips_last {
                break;
            }
            let (done, rest) = all.split_at_mut(number);
            let x: &[T] = if number == 0 { at.y } else { &done[number - 1] };
            let time = (self.has_time && number == 0).then_some(at.t);
            rest[0] = layer.output(x, at.parameters, rows, time, (number < last).then_some(self.activation));
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
struct Layer {
    inputs: usize,
    outputs: usize,
    columns: usize,
    weight: usize,
    bias: usize,
}

/// Products of fewer rows are loops.
const FEW_ROWS: usize = 8;

impl Layer {
    fn weight<'a, T>(&self, parameters: &'a [T]) -> &'a [T] {
        &parameters[self.weight..self.weight + self.columns * self.outputs]
    }

    /// [`Layer::forward`] into new memory, which is written once.
    fn output<T: Real>(
        &self,
        x: &[T],
        parameters: &[T],
        rows: usize,
        time: Option<f64>,
        activation: Option<Activation>,
    ) -> Vec<T> {
        if self.is_small(rows) {
            let mut out = vec![T::ZERO; rows * self.outputs];
            self.forward(x, parameters, rows, time, activation, &mut out);
            return out;
        }
        let right = Matrix::strided(self.weight(parameters), self.outputs, self.inputs, self.columns).t();
        let mut out = product(Matrix::new(x, rows, self.inputs), right);
        self.finish(parameters, time, activation, &mut out);
        out
    }

    fn is_small(&self, rows: usize) -> bool {
        rows < FEW_ROWS || rows * self.inputs * self.outputs < 2048
    }

    /// What every row begins with.
    fn shift<T: Real>(&self, parameters: &[T], time: Option<f64>) -> Vec<T> {
        let weight = self.weight(parameters);
        let bias = &parameters[self.bias..self.bias + self.outputs];
        match time {
            Some(t) => bias
                .iter()
                .enumerate()
                .map(|(o, &b)| T::of(t).mul_add(weight[o * self.columns + self.inputs], b))
                .collect(),
            None => bias.to_vec(),
        }
    }

    /// Adds the bias and applies the activation.
    fn finish<T: Real>(&self, parameters: &[T], time: Option<f64>, activation: Option<Activation>, out: &mut [T]) {
        let shift = self.shift(parameters, time);
        let width = self.outputs;
        for_slices(out, width, 8 * width, &|_, out| activate(out, &shift, width, activation));
    }

    fn forward<T: Real>(
        &self,
        x: &[T],
        parameters: &[T],
        rows: usize,
        time: Option<f64>,
        activation: Option<Activation>,
        out: &mut [T],
    ) {
        let weight = self.weight(parameters);
        if self.is_small(rows) {
            let shift = self.shift(parameters, time);
            for (x, out) in x.chunks_exact(self.inputs).zip(out.chunks_exact_mut(self.outputs)) {
                for (o, (out, &shift)) in out.iter_mut().zip(&shift).enumerate() {
                    let row = &weight[o * self.columns..o * self.columns + self.inputs];
                    *out = row.iter().zip(x).fold(shift, |sum, (&w, &x)| sum + w * x);
                }
            }
            return activate(out, &[], self.outputs, activation);
        }
        let right = Matrix::strided(weight, self.outputs, self.inputs, self.columns).t();
        gemm(Matrix::new(x, rows, self.inputs), right, out, false);
        self.finish(parameters, time, activation, out);
    }

    /// Given the derivative by the layer's result, adds those by weight and bias, and returns `aᵀ W`, and the derivative by time.
    #[allow(clippy::too_many_arguments)]
    fn backward<T: Real>(
        &self,
        x: &[T],
        a: &[T],
        parameters: &[T],
        rows: usize,
        time: Option<f64>,
        gradient: &mut [T],
        out: Option<&mut [T]>,
    ) -> f64 {
        let weight = self.weight(parameters);
        let is_small = self.is_small(rows);
        let mut of_time = 0.;
        if !gradient.is_empty() || time.is_some() {
            let mut sums = vec![T::ZERO; self.outputs];
            for row in a.chunks_exact(self.outputs) {
                for (sum, &a) in sums.iter_mut().zip(row) {
                    *sum += a;
                }
            }
            if let Some(t) = time {
                of_time = sums
                    .iter()
                    .enumerate()
                    .map(|(o, a)| a.to_f64() * weight[o * self.columns + self.inputs].to_f64())
                    .sum();
                if !gradient.is_empty() {
                    for (o, &sum) in sums.iter().enumerate() {
                        gradient[self.weight + o * self.columns + self.inputs] += T::of(t) * sum;
                    }
                }
            }
            if !gradient.is_empty() {
                for (gradient, sum) in gradient[self.bias..self.bias + self.outputs].iter_mut().zip(&sums) {
                    *gradient += *sum;
                }
                let into = &mut gradient[self.weight..self.weight + self.columns * self.outputs];
                if is_small {
                    for (x, a) in x.chunks_exact(self.inputs).zip(a.chunks_exact(self.outputs)) {
                        for (row, &a) in into.chunks_exact_mut(self.columns).zip(a) {
                            for (into, &x) in row.iter_mut().zip(x) {
                                *into += a * x;
                            }
                        }
                    }
                } else {
                    let left = Matrix::new(a, rows, self.outputs).t();
                    gemm_strided(left, Matrix::new(x, rows, self.inputs), into, self.columns, true, true);
                }
            }
        }
        if let Some(out) = out {
            if is_small {
                for (out, a) in out.chunks_exact_mut(self.inputs).zip(a.chunks_exact(self.outputs)) {
                    out.fill(T::ZERO);
                    for (row, &a) in weight.chunks_exact(self.columns).zip(a) {
                        for (out, &w) in out.iter_mut().zip(row) {
                            *out += a * w;
                        }
                    }
                }
            } else {
                let right = Matrix::strided(weight, self.outputs, self.inputs, self.columns);
                gemm(Matrix::new(a, rows, self.outputs), right, out, false);
            }
        }
        of_time
    }
}

fn activate<T: Real>(out: &mut [T], shift: &[T], width: usize, activation: Option<Activation>) {
    match activation {
        None => shifted(out, shift, width),
        Some(Activation::Tanh) => shifted_tanh(out, shift, width),
        Some(Activation::Softplus) => shifted_softplus(out, shift, width),
        Some(Activation::Silu) => shifted_silu(out, shift, width),
        Some(Activation::Relu) => shifted_relu(out, shift, width),
    }
}

macro_rules! activation {
    ($name:ident, $x:ident => $value:expr) => {
        multiversion! {
            fn $name<T>(out: &mut [T], shift: &[T], width: usize) {
                if shift.is_empty() {
                    for out in out {
                        *out = (|$x: T| $value)(*out);
                    }
                } else {
                    for row in out.chunks_exact_mut(width) {
                        for (out, &shift) in row.iter_mut().zip(shift) {
                            *out = (|$x: T| $value)(*out + shift);
                        }
                    }
                }
            }
        }
    };
}
activation!(shifted, x => x);
activation!(shifted_tanh, x => Real::tanh(x));
activation!(shifted_softplus, x => Real::softplus(x));
activation!(shifted_silu, x => x * Real::sigmoid(x));
activation!(shifted_relu, x => if x > T::ZERO { x } else { T::ZERO });

multiversion! {
    /// `a ← a (1 − y²)` for `y = tanh x`.
    fn of_tanh<T>(a: &mut [T], y: &[T]) {
        for (a, &y) in a.iter_mut().zip(y) {
            *a *= T::ONE - y * y;
        }
    }
}

multiversion! {
    /// `a ← a (1 − e^{−y})` for `y = log(1 + eˣ)`.
    fn of_softplus<T>(a: &mut [T], y: &[T]) {
        for (a, &y) in a.iter_mut().zip(y) {
            *a *= -Real::exp_m1(-y);
        }
    }
}

multiversion! {
    fn of_relu<T>(a: &mut [T], y: &[T]) {
        for (a, &y) in a.iter_mut().zip(y) {
            *a = if y > T::ZERO { *a } else { T::ZERO };
        }
    }
}

multiversion! {
    /// `a ← a σ(x) (1 + x (1 − σ(x)))`, from `x` itself.
    fn of_silu<T>(a: &mut [T], x: &[T]) {
        for (a, &x) in a.iter_mut().zip(x) {
            let s = Real::sigmoid(x);
            *a *= s * (T::ONE + x * (T::ONE - s));
        }
    }
}

impl Dynamics for MlpField {
    fn parameters(&self) -> Vec<Tensor> {
        self.parameters.clone()
    }

    fn eval<T: Real>(&self, at: At<'_, T>, dy: &mut [T]) -> Result<()> {
        let mut all = Vec::new();

        let layers = self.layers();
        let rows = self.rows(at.y)?;
        self.outputs(&at, &mut all, true)?;
        let last = layers.len() - 1;
        let x: &[T] = if last == 0 { at.y } else { &all[last - 1] };
        let time = (self.has_time && last == 0).then_some(at.t);
        layers[last].forward(x, at.parameters, rows, time, None, dy);
        Ok(())
    }

    fn vjp<T: Real>(&self, at: At<'_, T>, a: &[T], into: Pullback<'_, T>) -> Result<f64> {
        let layers = self.layers();
        let rows = self.rows(at.y)?;
        let last = layers.len() - 1;
        let mut all = Vec::new();
        let mut before = Vec::new();
        self.outputs(&at, &mut all, true)?;
        if let Some(dy) = into.dy {
            let x: &[T] = if last == 0 { at.y } else { &all[last - 1] };
            let time = (self.has_time && last == 0).then_some(at.t);
            layers[last].forward(x, at.parameters, rows, time, None, dy);
        }
        let mut own: Option<Vec<T>> = None;
        let mut of_time = 0.;
        for (number, layer) in layers.iter().enumerate().rev() {
            let x: &[T] = if number == 0 { at.y } else { &all[number - 1] };
            let time = (self.has_time && number == 0).then_some(at.t);
            let a: &[T] = own.as_deref().unwrap_or(a);
            if number == 0 {
                of_time = layer.backward(x, a, at.parameters, rows, time, into.parameters, Some(&mut *into.y));
                break;
            }
            let mut next = vec![T::ZERO; rows * layer.inputs];
            layer.backward(x, a, at.parameters, rows, time, into.parameters, Some(&mut next));
            match self.activation {
                Activation::Tanh => of_tanh(&mut next, x),
                Activation::Softplus => of_softplus(&mut next, x),
                Activation::Relu => of_relu(&mut next, x),
                Activation::Silu => {
                    // from what went into it, which is computed again
                    let inner = &layers[number - 1];
                    before.resize(rows * inner.outputs, T::ZERO);
                    let input: &[T] = if number == 1 { at.y } else { &all[number - 2] };
                    let time = (self.has_time && number == 1).then_some(at.t);
                    inner.forward(input, at.parameters, rows, time, None, &mut before);
                    of_silu(&mut next, &before);
                }
            }
            own = Some(next);
        }
        Ok(of_time)
    }
}
