//! The Lyapunov loss, as one operation.

use super::dynamics::{ClassDynamics, Packed, masks};
use super::head::{Head, distances, prelu, prelu_backward};
use super::potential::{CrossEntropy, Potential};
use super::tape;
use crate::{Error, Result, check_dtype};
use candle_core::{DType, Device, Tensor};
use core_tensor::kernel::{Gradients, Kernel, Matrix, Real, apply, for_slices2, gemm, gemm_strided, transpose};
use core_tensor::{Mode, ops};
use std::fmt;
use std::sync::{Arc, Mutex};

const OPERATION: &str = "LyapunovLoss";

/// Which derivative of the potential the condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// `dV/dt + κ V ≤ 0`: the paper's.
    #[default]
    First,
    /// `d²V/dt² + 20 dV/dt + 100 V ≤ 0`, from the paper's code.
    Second,
}

/// How pairs are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// The mean over all pairs.
    #[default]
    Mean,
    /// The sum.
    Sum,
}

/// The Monte-Carlo Lyapunov loss: the mean over pairs of examples and states of
///
/// ```text
/// max(0, ∇V_y(h) · f(h, B(x)) + κ V_y(h)).
/// ```
///
/// If it is 0 at every state that is reached, `V(h(t)) ≤ e^{−κt} V(h(0))`: no equation is solved in training. `V` itself has no gradient here, so the closed form of `∇V` is all that is needed, and the loss over all pairs is three matrix
/// products.
#[derive(Clone)]
pub struct LyapunovLoss {
    potential: Arc<dyn Potential>,
    rate: Option<f64>,
    order: Order,
    reduction: Reduction,
}

impl fmt::Debug for LyapunovLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(OPERATION)
            .field("rate", &self.rate)
            .field("order", &self.order)
            .field("reduction", &self.reduction)
            .finish_non_exhaustive()
    }
}

impl Default for LyapunovLoss {
    fn default() -> Self {
        Self { potential: Arc::new(CrossEntropy), rate: None, order: Order::default(), reduction: Reduction::default() }
    }
}

/// A value of the loss, and what it is made of.
#[derive(Debug, Clone)]
pub struct Lyapunov {
    /// The loss, a scalar on the tape.
    pub loss: Tensor,
    /// `max(0, …)` for every pair, `[b, s]`, off the tape: see [`violation`](super::violation).
    pub violations: Tensor,
    /// `V`, `[b, s]`, off the tape.
    pub potential: Tensor,
    /// `dV/dt`, `[b, s]`, off the tape.
    pub rate_of_change: Tensor,
}

impl Lyapunov {
    /// The fraction of pairs that violate the condition.
    ///
    /// # Errors
    ///
    /// Those of Candle.
    pub fn violating(&self) -> Result<f64> {
        let count = self.violations.elem_count().max(1) as f64;
        Ok(self.violations.gt(0.)?.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()? / count)
    }
}

impl LyapunovLoss {
    /// With another potential than the cross-entropy.
    pub fn potential(mut self, potential: impl Potential + 'static) -> Self {
        self.potential = Arc::new(potential);
        self
    }

    /// With another rate κ than that of the dynamics.
    pub fn rate(mut self, rate: f64) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Of this order.
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// With this reduction.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// The loss of matrices `B` `[b, m · m]` with labels, at states `[s, n]` that all examples share, or `[b, s, n]` with states of each example (those of the path-integral form). In training, dropout masks are drawn for each pair.
    ///
    /// # Errors
    ///
    /// Shapes or dtypes that do not fit, labels out of range, a rate that is not positive, dropout or states of each example with order 2, and a potential without a Hessian there.
    pub fn forward(
        &self,
        dynamics: &ClassDynamics,
        maps: &Tensor,
        labels: &[u32],
        states: &Tensor,
        mode: &mut Mode<'_>,
    ) -> Result<Lyapunov> {
        let maps = dynamics.check_maps(OPERATION, maps)?;
        let config = *dynamics.config();
        let (n, m, b) = (config.classes, config.width, maps.dim(0)?);
        check_dtype(OPERATION, "the states", states, &maps)?;
        let is_shared = states.rank() == 2;
        let s = states.dims().iter().rev().nth(1).copied().unwrap_or(0);
        let fits = if is_shared { states.dims() == [s, n] } else { states.dims() == [b, s, n] };
        if !fits || s == 0 {
            return Err(Error::shape(OPERATION, "the states", states, format!("[states, {n}] or [{b}, states, {n}]")));
        }
        if labels.len() != b {
            return Err(Error::Length { operation: OPERATION, what: "the labels", got: labels.len(), expected: b });
        }
        let bound = self.potential.num_labels(n);
        if let Some(&label) = labels.iter().find(|label| **label as usize >= bound) {
            return Err(Error::count(OPERATION, "a label", label as usize, format!("below {bound}")));
        }
        let rate = self.rate.unwrap_or_else(|| dynamics.rate());
        if !(rate > 0. && rate.is_finite()) {
            return Err(Error::config(OPERATION, "rate", rate, "a positive finite number"));
        }
        let has_dropout = mode.has_noise() && config.dropout > 0.;
        if self.order == Order::Second {
            if has_dropout || !is_shared {
                let reason = "has neither dropout nor states of each example".to_owned();
                return Err(Error::InvalidData { operation: OPERATION, what: "order 2", reason });
            }
            return self.second(dynamics, &maps, labels, states);
        }
        let host = states.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let table = Table::new(self.potential.as_ref(), &host, labels, n, s, is_shared);
        let masks = match (&mut mode.noise, has_dropout) {
            (Some(rng), true) => Some(masks(2 * b * m * s, config.dropout, rng)),
            _ => None,
        };
        let found = Arc::new(Mutex::new(Vec::new()));
        let count = (b * s) as f64;
        let kernel = Fused {
            head: dynamics.head::<f64>(),
            sizes: Packed { n, m },
            states: s,
            examples: b,
            host,
            is_shared,
            table,
            rate,
            masks,
            share: if self.reduction == Reduction::Mean { 1. / count } else { 1. },
            found: found.clone(),
            kept: Mutex::new(None),
        };
        let device = maps.device().clone();
        let cpu = |x: &Tensor| x.to_device(&Device::Cpu);
        let potential = kernel.potentials();
        let loss = apply(kernel, &[&cpu(&maps)?, &cpu(&dynamics.packed()?)?], ())?;
        let rates = std::mem::take(&mut *found.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let violations: Vec<f64> = rates.iter().zip(&potential).map(|(dv, v)| (dv + rate * v).max(0.)).collect();
        let tensor = |values: Vec<f64>| -> Result<Tensor> {
            Ok(Tensor::from_vec(values, (b, s), &device)?.to_dtype(maps.dtype())?)
        };
        Ok(Lyapunov {
            loss: loss.to_device(&device)?,
            violations: tensor(violations)?,
            potential: tensor(potential)?,
            rate_of_change: tensor(rates)?,
        })
    }

    fn second(&self, dynamics: &ClassDynamics, maps: &Tensor, labels: &[u32], states: &Tensor) -> Result<Lyapunov> {
        let (n, s, b) = (dynamics.config().classes, states.dim(0)?, maps.dim(0)?);
        let host = states.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let (mut values, mut slopes, mut curves) = (Vec::new(), Vec::new(), Vec::new());
        for &label in labels {
            for h in host.chunks_exact(n) {
                let (mut gradient, mut hessian) = (vec![0.; n], vec![0.; n * n]);
                values.push(self.potential.value(h, label, &mut gradient));
                self.potential.hessian(h, label, &mut hessian)?;
                slopes.extend(gradient);
                curves.extend(hessian);
            }
        }
        let constant = |values: Vec<f64>, shape: &[usize]| -> Result<Tensor> {
            Ok(Tensor::from_vec(values, shape, maps.device())?.to_dtype(maps.dtype())?)
        };
        let value = constant(values, &[b, s])?;
        let slope = constant(slopes, &[b, s, n])?;
        let curve = constant(curves, &[b * s, n, n])?;
        let (f, df) = tape::along(dynamics, maps, states)?;
        let first = ops::sum_keepdim(&ops::mul(&slope, &f)?, &[2])?.reshape((b, s))?;
        let curved = ops::matmul(&f.reshape((b * s, 1, n))?, &curve)?.reshape((b, s, n))?;
        let bent = ops::add(&ops::mul(&curved, &f)?, &ops::mul(&slope, &df)?)?;
        let second = ops::sum_keepdim(&bent, &[2])?.reshape((b, s))?;
        let sum = ops::add(&ops::add(&second, &ops::affine(&first, 20., 0.)?)?, &ops::affine(&value, 100., 0.)?)?;
        let violations = ops::relu(&sum)?;
        let loss = match self.reduction {
            Reduction::Mean => ops::mean_all(&violations)?,
            Reduction::Sum => ops::sum_all(&violations)?,
        };
        Ok(Lyapunov { loss, violations: violations.detach(), potential: value, rate_of_change: first.detach() })
    }
}

/// `V` and `∇V`, by label and state, or by example and state.
struct Table {
    /// `[entries, s]`.
    values: Vec<f64>,
    /// `[entries, n, s]`.
    slopes: Vec<f64>,
    /// The entry of each example.
    of: Vec<usize>,
}

impl Table {
    fn new(potential: &dyn Potential, host: &[f64], labels: &[u32], n: usize, s: usize, is_shared: bool) -> Self {
        let mut distinct: Vec<u32> = Vec::new();
        let mut table = Self { values: Vec::new(), slopes: Vec::new(), of: Vec::new() };
        let mut gradient = vec![0.; n];
        for (example, &label) in labels.iter().enumerate() {
            let known = distinct.iter().position(|known| *known == label).filter(|_| is_shared);
            if let Some(known) = known {
                table.of.push(known);
                continue;
            }
            distinct.push(label);
            table.of.push(distinct.len() - 1);
            let start = table.slopes.len();
            table.slopes.resize(start + n * s, 0.);
            let first = if is_shared { 0 } else { example * s * n };
            for (state, h) in host[first..first + s * n].chunks_exact(n).enumerate() {
                table.values.push(potential.value(h, label, &mut gradient));
                for (k, &gradient) in gradient.iter().enumerate() {
                    table.slopes[start + k * s + state] = gradient;
                }
            }
        }
        table
    }
}

struct Fused {
    head: Head<f64>,
    sizes: Packed,
    states: usize,
    examples: usize,
    host: Vec<f64>,
    is_shared: bool,
    table: Table,
    rate: f64,
    /// Factors of both layers, `[2, b, m, s]`.
    masks: Option<Vec<f32>>,
    share: f64,
    /// `dV/dt` of all pairs.
    found: Arc<Mutex<Vec<f64>>>,
    /// `Kept<T>` of the forward pass.
    kept: Mutex<Option<Box<dyn std::any::Any + Send>>>,
}

/// What the backward pass needs, by example: `z2 [b, m, s]`, `r [b, n, s]`, and whether a pair counts, `[b, s]`.
struct Kept<T> {
    inputs: Inputs<T>,
    z2: Vec<T>,
    r: Vec<T>,
    counts: Vec<bool>,
}

/// What depends on the states alone, one set or one for each example: `h [n, s]`, `d [n, s]`, `z1 [m, s]`, `a1 [m, s]`.
struct Inputs<T> {
    h: Vec<T>,
    d: Vec<T>,
    z1: Vec<T>,
    slopes: Vec<T>,
}

impl Fused {
    fn potentials(&self) -> Vec<f64> {
        let s = self.states;
        self.table.of.iter().flat_map(|&entry| self.table.values[entry * s..(entry + 1) * s].iter().copied()).collect()
    }

    fn head<T: Real>(&self) -> Head<T> {
        Head {
            classes: self.head.classes,
            speed: T::of(self.head.speed),
            vertex: T::of(self.head.vertex),
            is_simplex: self.head.is_simplex,
        }
    }

    fn inputs<T: Real>(&self, w1: &[T], b1: &[T]) -> Inputs<T> {
        let (Packed { n, m }, s) = (self.sizes, self.states);
        let sets = if self.is_shared { 1 } else { self.examples };
        let host: Vec<T> = self.host.iter().map(|&h| T::of(h)).collect();
        let (mut h, mut d) = (vec![T::ZERO; sets * n * s], vec![T::ZERO; sets * n * s]);
        let mut z1 = vec![T::ZERO; sets * m * s];
        for set in 0..sets {
            let own = set * n * s..(set + 1) * n * s;
            transpose(&host[own.clone()], s, n, &mut h[own.clone()], false);
            if !self.head.is_simplex {
                distances(&h[own.clone()], n, T::of(self.head.vertex), &mut d[own.clone()]);
            }
            let z1 = &mut z1[set * m * s..(set + 1) * m * s];
            gemm(Matrix::new(w1, m, n), Matrix::new(&h[own], n, s), z1, false);
            for (row, &bias) in z1.chunks_exact_mut(s).zip(b1) {
                for z in row {
                    *z += bias;
                }
            }
        }
        let slopes = self.table.slopes.iter().map(|&slope| T::of(slope)).collect();
        Inputs { h, d, z1, slopes }
    }

    /// The set of states of an example.
    fn set(&self, example: usize) -> usize {
        if self.is_shared { 0 } else { example }
    }

    /// Whether all examples share the first layer's outputs.
    fn is_joint(&self) -> bool {
        self.is_shared && self.masks.is_none()
    }

    fn mask(&self, layer: usize, example: usize) -> Option<&[f32]> {
        let len = self.sizes.m * self.states;
        let masks = self.masks.as_deref()?;
        let start = (layer * self.examples + example) * len;
        Some(&masks[start..start + len])
    }

    /// The first layer's outputs of an example.
    fn first<T: Real>(&self, inputs: &Inputs<T>, slope: T, example: usize, a1: &mut [T]) {
        let len = self.sizes.m * self.states;
        let set = self.set(example);
        prelu(&inputs.z1[set * len..(set + 1) * len], slope, a1);
        times(a1, self.mask(0, example));
    }
}

fn times<T: Real>(x: &mut [T], mask: Option<&[f32]>) {
    if let Some(mask) = mask {
        for (x, &mask) in x.iter_mut().zip(mask) {
            *x *= T::of(f64::from(mask));
        }
    }
}

impl Kernel for Fused {
    const NAME: &'static str = "lyapunov loss";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let (Packed { n, m }, s, b) = (self.sizes, self.states, self.examples);
        let maps = x[0];
        let [w1, b1, w2, b2, slope] = self.sizes.split(x[1]);
        let slope = slope[0];
        let inputs = self.inputs(w1, b1);
        let mut z2 = vec![T::ZERO; b * m * s];
        if self.is_joint() {
            let mut a1 = vec![T::ZERO; m * s];
            self.first(&inputs, slope, 0, &mut a1);
            gemm(Matrix::new(maps, b * m, m), Matrix::new(&a1, m, s), &mut z2, false);
        } else {
            core_tensor::kernel::for_slices(&mut z2, m * s, m * m * s, &|first, z2| {
                let mut a1 = vec![T::ZERO; m * s];
                for (at, z2) in z2.chunks_exact_mut(m * s).enumerate() {
                    let example = first + at;
                    self.first(&inputs, slope, example, &mut a1);
                    let map = Matrix::new(&maps[example * m * m..(example + 1) * m * m], m, m);
                    gemm_strided(map, Matrix::new(&a1, m, s), z2, s, false, false);
                }
            });
        }
        let (mut r, mut rates) = (vec![T::ZERO; b * n * s], vec![T::ZERO; b * s]);
        let head = self.head::<T>();
        for_slices2((&mut r, n * s), (&mut rates, s), n * s * (m + 16), &|first, r, rates| {
            let (mut a2, mut f) = (vec![T::ZERO; m * s], vec![T::ZERO; n * s]);
            for (at, (r, rates)) in r.chunks_exact_mut(n * s).zip(rates.chunks_exact_mut(s)).enumerate() {
                let example = first + at;
                prelu(&z2[example * m * s..(example + 1) * m * s], slope, &mut a2);
                times(&mut a2, self.mask(1, example));
                gemm_strided(Matrix::new(w2, n, m), Matrix::new(&a2, m, s), r, s, false, false);
                for (row, &bias) in r.chunks_exact_mut(s).zip(b2) {
                    for r in row {
                        *r += bias;
                    }
                }
                let set = self.set(example);
                let own = set * n * s..(set + 1) * n * s;
                head.forward(r, &inputs.h[own.clone()], &inputs.d[own], &mut f);
                let entry = self.table.of[example];
                let slopes = &inputs.slopes[entry * n * s..(entry + 1) * n * s];
                rates.fill(T::ZERO);
                for (f, slope) in f.chunks_exact(s).zip(slopes.chunks_exact(s)) {
                    for ((rate, &f), &slope) in rates.iter_mut().zip(f).zip(slope) {
                        *rate += f * slope;
                    }
                }
            }
        });
        let rates: Vec<f64> = rates.iter().map(|rate| rate.to_f64()).collect();
        let mut sum = 0.;
        let mut counts = Vec::with_capacity(b * s);
        for (rate, value) in rates.iter().zip(self.potentials()) {
            let violation = rate + self.rate * value;
            // what is not a number must show
            counts.push(violation > 0.);
            sum += if violation < 0. { 0. } else { violation };
        }
        *self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = rates;
        *self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some(Box::new(Kept { inputs, z2, r, counts }));
        Ok(vec![T::of(sum * self.share)])
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let (Packed { n, m }, s, b) = (self.sizes, self.states, self.examples);
        let kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(Kept { inputs, z2, r, counts }) = kept.as_ref().and_then(|kept| kept.downcast_ref::<Kept<T>>()) else {
            candle_core::bail!("{}: nothing was kept", Self::NAME);
        };
        let maps = x[0];
        let [_, _, w2, _, slope] = self.sizes.split(x[1]);
        let slope = slope[0];
        let grad = grad[0] * T::of(self.share);
        let head = self.head::<T>();
        // by example: dz2, and the derivatives by W₂, b₂ and the slope
        let partial = n * m + n + 1;
        let (mut dz2, mut partials) = (vec![T::ZERO; b * m * s], vec![T::ZERO; b * partial]);
        for_slices2((&mut dz2, m * s), (&mut partials, partial), n * m * s * 3, &|first, dz2, partials| {
            let (mut a2, mut a, mut dr) = (vec![T::ZERO; m * s], vec![T::ZERO; n * s], vec![T::ZERO; n * s]);
            for (at, (dz2, partials)) in dz2.chunks_exact_mut(m * s).zip(partials.chunks_exact_mut(partial)).enumerate()
            {
                let example = first + at;
                let counts = &counts[example * s..(example + 1) * s];
                let entry = self.table.of[example];
                let slopes = &inputs.slopes[entry * n * s..(entry + 1) * n * s];
                for (a, slopes) in a.chunks_exact_mut(s).zip(slopes.chunks_exact(s)) {
                    for ((a, &slope), &counts) in a.iter_mut().zip(slopes).zip(counts) {
                        *a = if counts { grad * slope } else { T::ZERO };
                    }
                }
                let set = self.set(example);
                head.backward(
                    &r[example * n * s..(example + 1) * n * s],
                    &inputs.d[set * n * s..(set + 1) * n * s],
                    &a,
                    &mut dr,
                );
                let z2 = &z2[example * m * s..(example + 1) * m * s];
                prelu(z2, slope, &mut a2);
                times(&mut a2, self.mask(1, example));
                let (of_w2, rest) = partials.split_at_mut(n * m);
                let (of_b2, of_slope) = rest.split_at_mut(n);
                gemm_strided(Matrix::new(&dr, n, s), Matrix::new(&a2, m, s).t(), of_w2, m, false, false);
                for (of_b2, dr) in of_b2.iter_mut().zip(dr.chunks_exact(s)) {
                    *of_b2 = dr.iter().fold(T::ZERO, |sum, &dr| sum + dr);
                }
                gemm_strided(Matrix::new(w2, n, m).t(), Matrix::new(&dr, n, s), dz2, s, false, false);
                times(dz2, self.mask(1, example));
                prelu_backward(z2, slope, dz2, of_slope);
            }
        });
        let mut of_packed = vec![T::ZERO; x[1].len()];
        let [of_w1, of_b1, of_w2, of_b2, of_slope] = self.sizes.split_mut(&mut of_packed);
        for partials in partials.chunks_exact(partial) {
            for (out, &partial) in of_w2.iter_mut().chain(of_b2.iter_mut()).chain(of_slope.iter_mut()).zip(partials) {
                *out += partial;
            }
        }
        let mut of_maps = if needs[0] { vec![T::ZERO; maps.len()] } else { Vec::new() };
        let by_first_layer = |dz1: &[T], h: &[T], of_w1: &mut [T], of_b1: &mut [T]| {
            gemm(Matrix::new(dz1, m, s), Matrix::new(h, n, s).t(), of_w1, true);
            for (of_b1, dz1) in of_b1.iter_mut().zip(dz1.chunks_exact(s)) {
                *of_b1 += dz1.iter().fold(T::ZERO, |sum, &dz1| sum + dz1);
            }
        };
        let mut a1 = vec![T::ZERO; m * s];
        let mut dz1 = vec![T::ZERO; m * s];
        if self.is_joint() {
            self.first(inputs, slope, 0, &mut a1);
            if needs[0] {
                gemm(Matrix::new(&dz2, b * m, s), Matrix::new(&a1, m, s).t(), &mut of_maps, false);
            }
            gemm(Matrix::new(maps, b * m, m).t(), Matrix::new(&dz2, b * m, s), &mut dz1, false);
            prelu_backward(&inputs.z1, slope, &mut dz1, of_slope);
            by_first_layer(&dz1, &inputs.h, of_w1, of_b1);
        } else {
            for example in 0..b {
                let own = example * m * s..(example + 1) * m * s;
                let square = example * m * m..(example + 1) * m * m;
                if needs[0] {
                    self.first(inputs, slope, example, &mut a1);
                    gemm(
                        Matrix::new(&dz2[own.clone()], m, s),
                        Matrix::new(&a1, m, s).t(),
                        &mut of_maps[square.clone()],
                        false,
                    );
                }
                gemm(Matrix::new(&maps[square], m, m).t(), Matrix::new(&dz2[own], m, s), &mut dz1, false);
                times(&mut dz1, self.mask(0, example));
                let set = self.set(example);
                prelu_backward(&inputs.z1[set * m * s..(set + 1) * m * s], slope, &mut dz1, of_slope);
                by_first_layer(&dz1, &inputs.h[set * n * s..(set + 1) * n * s], of_w1, of_b1);
            }
        }
        Ok([needs[0].then_some(of_maps), needs[1].then_some(of_packed), None])
    }
}
