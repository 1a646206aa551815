//! The data-controlled dynamics between class vertices.

use super::head::{Head, distances, prelu, prelu_backward};
use crate::ode::{At, Dynamics, Pullback};
use crate::{Error, Result, check_dtype};
use candle_core::{DType, Tensor};
use candle_nn::{Init, VarBuilder};
use core_tensor::init::fan_in_uniform;
use core_tensor::kernel::{Matrix, Real, for_slices, gemm, gemm_strided, multiversion, transpose};
use core_tensor::ops;
use core_tensor::random::Rng;
use serde::{Deserialize, Serialize};

/// Settings of [`ClassDynamics`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassDynamicsConfig {
    /// Classes n: the state's dimension.
    pub classes: usize,
    /// Width m of the hidden layer; the parameter map returns `m · m` numbers for each example. 128 in the paper's code.
    pub width: usize,
    /// The vertices' coordinate V: vertex j is V at j and −V elsewhere. 15.
    pub vertex: f64,
    /// Whether the dynamics move towards a mixture of vertices; false: along a learned direction, the mode of all the paper's experiments.
    pub is_simplex: bool,
    /// Probability of dropout before both activations in training, 0; 0.5 in the paper's code.
    pub dropout: f64,
}

impl ClassDynamicsConfig {
    /// The paper's settings but for dropout.
    pub fn new(classes: usize, width: usize) -> Self {
        Self { classes, width, vertex: 15., is_simplex: false, dropout: 0. }
    }
}

/// The dynamics `dh/dt = f(h, B(x))` whose state has a coordinate for each class and is the logits (spec. A, from the paper's code):
///
/// ```text
/// a₁ = PReLU(W₁ h + b₁),  a₂ = PReLU(B a₁),  r = W₂ a₂ + b₂,
/// u = r / |r|,  q = softmax_j((C_j − h) · u),  f = κ · gain · (1/n) Σ_j |h − C_j| q_j · u          (normalised)
/// q = softmax(r),                              f = κ · gain · (1/n) Σ_j q_j (C_j − h)               (simplex)
/// ```
///
/// with `κ = ln(V √n)`. The parameters are `hidden_to_mlp.{weight [m, n], bias [m]}`, `mlp_to_hidden.{weight [n, m], bias [n]}` and `activation.weight [1]`, one slope for both activations, first 0.25.
#[derive(Debug, Clone)]
pub struct ClassDynamics {
    config: ClassDynamicsConfig,
    gain: f64,
    parameters: [Tensor; 5],
}

impl ClassDynamics {
    /// Dynamics with gain 1.
    ///
    /// # Errors
    ///
    /// Fewer than two classes, a width of 0, a vertex or dropout out of range, errors of the store.
    pub fn new(config: ClassDynamicsConfig, vb: VarBuilder<'_>) -> Result<Self> {
        const OPERATION: &str = "ClassDynamics";
        let ClassDynamicsConfig { classes: n, width: m, vertex, dropout, .. } = config;
        if !(2..=1 << 16).contains(&n) {
            return Err(Error::count(OPERATION, "classes", n, "2 to 65536"));
        }
        if !(1..=1 << 12).contains(&m) {
            return Err(Error::count(OPERATION, "width", m, "1 to 4096"));
        }
        if !(vertex.is_finite() && vertex * (n as f64).sqrt() > 1.) {
            return Err(Error::config(OPERATION, "vertex", vertex, "a number V with V √n > 1, so that κ is positive"));
        }
        if !(0. ..1.).contains(&dropout) {
            return Err(Error::config(OPERATION, "dropout", dropout, "in [0, 1)"));
        }
        let (first, last) = (vb.pp("hidden_to_mlp"), vb.pp("mlp_to_hidden"));
        let parameters = [
            first.get_with_hints((m, n), "weight", fan_in_uniform(n))?,
            first.get_with_hints(m, "bias", fan_in_uniform(n))?,
            last.get_with_hints((n, m), "weight", fan_in_uniform(m))?,
            last.get_with_hints(n, "bias", fan_in_uniform(m))?,
            vb.pp("activation").get_with_hints(1, "weight", Init::Const(0.25))?,
        ];
        Ok(Self { config, gain: 1., parameters })
    }

    /// The settings.
    pub fn config(&self) -> &ClassDynamicsConfig {
        &self.config
    }

    /// `κ = ln(V √n)`, which scales the dynamics and is the rate that the paper asks for.
    pub fn rate(&self) -> f64 {
        (self.config.vertex * (self.config.classes as f64).sqrt()).ln()
    }

    /// The gain.
    pub fn gain(&self) -> f64 {
        self.gain
    }

    /// The same dynamics with another gain, which rescales time.
    ///
    /// # Errors
    ///
    /// When it is not a positive number.
    pub fn with_gain(&self, gain: f64) -> Result<Self> {
        match gain > 0. && gain.is_finite() {
            true => Ok(Self { gain, ..self.clone() }),
            false => Err(Error::value("ClassDynamics", "the gain", gain, "a positive finite number")),
        }
    }

    /// The dtype of the parameters.
    pub fn dtype(&self) -> DType {
        self.parameters[0].dtype()
    }

    /// `[W₁, b₁, W₂, b₂, slope]`.
    pub fn parameters(&self) -> &[Tensor; 5] {
        &self.parameters
    }

    pub(crate) fn head<T: Real>(&self) -> Head<T> {
        Head {
            classes: self.config.classes,
            speed: T::of(self.rate() * self.gain),
            vertex: T::of(self.config.vertex),
            is_simplex: self.config.is_simplex,
        }
    }

    /// `B` as `[b, m · m]`.
    pub(crate) fn check_maps(&self, operation: &'static str, maps: &Tensor) -> Result<Tensor> {
        let square = self.config.width * self.config.width;
        check_dtype(operation, "B", maps, &self.parameters[0])?;
        let rows = maps.dims().first().copied().unwrap_or(0);
        if maps.rank() < 2 || rows == 0 || maps.elem_count() != rows * square {
            return Err(Error::shape(operation, "B", maps, format!("[examples, {square}], the square of the width")));
        }
        Ok(maps.reshape((rows, square))?)
    }

    /// The field of given matrices `B`, `[b, m · m]` or `[b, m, m]`, for a state `[b, n]`; to be solved from zeros.
    ///
    /// # Errors
    ///
    /// When `B` has another shape or dtype.
    pub fn field(&self, maps: &Tensor) -> Result<ClassField> {
        Ok(ClassField { maps: self.check_maps("ClassDynamics::field", maps)?, dynamics: self.clone(), masks: None })
    }

    /// [`ClassDynamics::field`] with dropout: one mask for each example and layer, the same during the whole solve and in its gradient.
    ///
    /// # Errors
    ///
    /// As [`ClassDynamics::field`].
    pub fn field_with_dropout(&self, maps: &Tensor, rng: &mut Rng) -> Result<ClassField> {
        let mut field = self.field(maps)?;
        let count = 2 * field.maps.dim(0)? * self.config.width;
        field.masks = Some(std::sync::Arc::new(masks(count, self.config.dropout, rng)));
        Ok(field)
    }

    pub(crate) fn packed(&self) -> Result<Tensor> {
        let flat = self.parameters.iter().map(|x| Ok(x.flatten_all()?)).collect::<Result<Vec<_>>>()?;
        Ok(ops::cat(&flat, 0)?)
    }
}

/// Factors of dropout: 0, or `1 / (1 − p)`.
pub(crate) fn masks(count: usize, p: f64, rng: &mut Rng) -> Vec<f32> {
    let kept = (1. / (1. - p)) as f32;
    (0..count).map(|_| if p > 0. && rng.unit() < p { 0. } else { kept }).collect()
}

/// Where the parameters lie when they are packed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed {
    pub(crate) n: usize,
    pub(crate) m: usize,
}

impl Packed {
    /// `[W₁, b₁, W₂, b₂, slope]`.
    pub(crate) fn split<'a, T>(&self, packed: &'a [T]) -> [&'a [T]; 5] {
        let (w1, rest) = packed.split_at(self.m * self.n);
        let (b1, rest) = rest.split_at(self.m);
        let (w2, rest) = rest.split_at(self.n * self.m);
        let (b2, slope) = rest.split_at(self.n);
        [w1, b1, w2, b2, slope]
    }

    pub(crate) fn split_mut<'a, T>(&self, packed: &'a mut [T]) -> [&'a mut [T]; 5] {
        let (w1, rest) = packed.split_at_mut(self.m * self.n);
        let (b1, rest) = rest.split_at_mut(self.m);
        let (w2, rest) = rest.split_at_mut(self.n * self.m);
        let (b2, slope) = rest.split_at_mut(self.n);
        [w1, b1, w2, b2, slope]
    }
}

/// [`ClassDynamics`] with the matrices `B` of a batch.
#[derive(Debug, Clone)]
pub struct ClassField {
    dynamics: ClassDynamics,
    maps: Tensor,
    /// Both layers' factors, `[2, b, m]`.
    masks: Option<std::sync::Arc<Vec<f32>>>,
}

/// What the forward pass of a field leaves for its derivative.
struct Layers<T> {
    z1: Vec<T>,
    a1: Vec<T>,
    z2: Vec<T>,
    a2: Vec<T>,
    /// `[n, rows]`, as the next three.
    r: Vec<T>,
    h: Vec<T>,
    d: Vec<T>,
}

multiversion! {
    /// `out[o] = Σ_i b[o, i] x[i]`.
    fn times<T>(b: &[T], x: &[T], out: &mut [T]) {
        for (row, out) in b.chunks_exact(x.len()).zip(out.iter_mut()) {
            let mut lanes = [T::ZERO; 16];
            let (mut left, mut right) = (row.chunks_exact(16), x.chunks_exact(16));
            for (b, x) in (&mut left).zip(&mut right) {
                for i in 0..16 {
                    lanes[i] = b[i].mul_add(x[i], lanes[i]);
                }
            }
            let mut sum = T::ZERO;
            for (&b, &x) in left.remainder().iter().zip(right.remainder()) {
                sum = b.mul_add(x, sum);
            }
            for lane in lanes {
                sum += lane;
            }
            *out = sum;
        }
    }
}

multiversion! {
    /// `out = Σ_o a[o] b[o, ·]`, and if there is a gradient of `b`, `gradient[o, ·] += a[o] x`.
    fn times_back<T>(b: &[T], a: &[T], x: &[T], out: &mut [T], gradient: &mut [T]) {
        let width = x.len();
        out.fill(T::ZERO);
        for (row, &a) in b.chunks_exact(width).zip(a) {
            for (out, &b) in out.iter_mut().zip(row) {
                *out = a.mul_add(b, *out);
            }
        }
        for (row, &a) in gradient.chunks_exact_mut(width).zip(a) {
            for (gradient, &x) in row.iter_mut().zip(x) {
                *gradient = a.mul_add(x, *gradient);
            }
        }
    }
}

fn masked<T: Real>(x: &mut [T], mask: Option<&[f32]>) {
    if let Some(mask) = mask {
        for (x, &mask) in x.iter_mut().zip(mask) {
            *x *= T::of(f64::from(mask));
        }
    }
}

fn add_bias<T: Real>(x: &mut [T], bias: &[T]) {
    for row in x.chunks_exact_mut(bias.len()) {
        for (x, &bias) in row.iter_mut().zip(bias) {
            *x += bias;
        }
    }
}

impl ClassField {
    fn packed(&self) -> Packed {
        Packed { n: self.dynamics.config.classes, m: self.dynamics.config.width }
    }

    fn check<T>(&self, at: &At<'_, T>) -> Result<usize> {
        let Packed { n, m } = self.packed();
        let rows = at.y.len() / n;
        if !at.y.len().is_multiple_of(n) || rows * m * m != at.context.len() {
            let got = at.shapes.first().cloned().unwrap_or_default();
            let expected = format!("[{}, {n}]", at.context.len() / (m * m));
            return Err(Error::Shape { operation: "ClassField", what: "the state", got, expected });
        }
        Ok(rows)
    }

    fn mask(&self, layer: usize, rows: usize) -> Option<&[f32]> {
        let masks = self.masks.as_deref()?;
        let len = rows * self.dynamics.config.width;
        // a sample solved by itself has the first sample's mask: see the documentation of `per_sample`
        masks.get(layer * masks.len() / 2..layer * masks.len() / 2 + len)
    }

    fn layers<T: Real>(&self, at: &At<'_, T>) -> Result<Layers<T>> {
        let packed = self.packed();
        let Packed { n, m } = packed;
        let rows = self.check(at)?;
        let [w1, b1, w2, b2, slope] = packed.split(at.parameters);
        let mut z1 = vec![T::ZERO; rows * m];
        gemm(Matrix::new(at.y, rows, n), Matrix::new(w1, m, n).t(), &mut z1, false);
        add_bias(&mut z1, b1);
        let mut a1 = vec![T::ZERO; rows * m];
        prelu(&z1, slope[0], &mut a1);
        masked(&mut a1, self.mask(0, rows));
        let mut z2 = vec![T::ZERO; rows * m];
        for_slices(&mut z2, m, m * m, &|first, z2| {
            for (row, z2) in z2.chunks_exact_mut(m).enumerate() {
                let row = first + row;
                times(&at.context[row * m * m..(row + 1) * m * m], &a1[row * m..(row + 1) * m], z2);
            }
        });
        let mut a2 = vec![T::ZERO; rows * m];
        prelu(&z2, slope[0], &mut a2);
        masked(&mut a2, self.mask(1, rows));
        let mut by_row = vec![T::ZERO; rows * n];
        gemm(Matrix::new(&a2, rows, m), Matrix::new(w2, n, m).t(), &mut by_row, false);
        add_bias(&mut by_row, b2);
        let (mut r, mut h, mut d) = (vec![T::ZERO; rows * n], vec![T::ZERO; rows * n], vec![T::ZERO; rows * n]);
        transpose(&by_row, rows, n, &mut r, false);
        transpose(at.y, rows, n, &mut h, false);
        if !self.dynamics.config.is_simplex {
            distances(&h, n, T::of(self.dynamics.config.vertex), &mut d);
        }
        Ok(Layers { z1, a1, z2, a2, r, h, d })
    }

    fn result<T: Real>(&self, layers: &Layers<T>, dy: &mut [T]) {
        let mut f = vec![T::ZERO; dy.len()];
        self.dynamics.head::<T>().forward(&layers.r, &layers.h, &layers.d, &mut f);
        let n = self.dynamics.config.classes;
        transpose(&f, n, dy.len() / n, dy, false);
    }
}

impl Dynamics for ClassField {
    fn parameters(&self) -> Vec<Tensor> {
        self.dynamics.parameters.to_vec()
    }

    fn context(&self) -> Option<Tensor> {
        Some(self.maps.clone())
    }

    fn eval<T: Real>(&self, at: At<'_, T>, dy: &mut [T]) -> Result<()> {
        let layers = self.layers(&at)?;
        self.result(&layers, dy);
        Ok(())
    }

    fn vjp<T: Real>(&self, at: At<'_, T>, a: &[T], into: Pullback<'_, T>) -> Result<f64> {
        let packed = self.packed();
        let Packed { n, m } = packed;
        let layers = self.layers(&at)?;
        let rows = at.y.len() / n;
        if let Some(dy) = into.dy {
            self.result(&layers, dy);
        }
        let [w1, _, w2, _, slope] = packed.split(at.parameters);
        let head = self.dynamics.head::<T>();
        let (mut a_lanes, mut dr_lanes, mut dh) =
            (vec![T::ZERO; rows * n], vec![T::ZERO; rows * n], vec![T::ZERO; rows * n]);
        transpose(a, rows, n, &mut a_lanes, false);
        head.backward(&layers.r, &layers.d, &a_lanes, &mut dr_lanes);
        head.by_state(&layers.r, &layers.h, &layers.d, &a_lanes, &mut dh);
        let mut dr = vec![T::ZERO; rows * n];
        transpose(&dr_lanes, n, rows, &mut dr, false);
        let mut unused = Vec::new();
        let gradients = match into.parameters.is_empty() {
            true => {
                unused.resize(at.parameters.len(), T::ZERO);
                unused.as_mut_slice()
            }
            false => into.parameters,
        };
        let [of_w1, of_b1, of_w2, of_b2, of_slope] = packed.split_mut(gradients);
        let column_sums = |x: &[T], out: &mut [T]| {
            for row in x.chunks_exact(out.len()) {
                for (out, &x) in out.iter_mut().zip(row) {
                    *out += x;
                }
            }
        };
        column_sums(&dr, of_b2);
        gemm_strided(Matrix::new(&dr, rows, n).t(), Matrix::new(&layers.a2, rows, m), of_w2, m, true, true);
        let mut dz2 = vec![T::ZERO; rows * m];
        gemm(Matrix::new(&dr, rows, n), Matrix::new(w2, n, m), &mut dz2, false);
        masked(&mut dz2, self.mask(1, rows));
        prelu_backward(&layers.z2, slope[0], &mut dz2, of_slope);
        let mut dz1 = vec![T::ZERO; rows * m];
        let has_context = !into.context.is_empty();
        let mut none: Vec<T> = Vec::new();
        for row in 0..rows {
            let (own, square) = (row * m..(row + 1) * m, row * m * m..(row + 1) * m * m);
            let gradient = if has_context { &mut into.context[square.clone()] } else { none.as_mut_slice() };
            times_back(&at.context[square], &dz2[own.clone()], &layers.a1[own.clone()], &mut dz1[own], gradient);
        }
        masked(&mut dz1, self.mask(0, rows));
        prelu_backward(&layers.z1, slope[0], &mut dz1, of_slope);
        column_sums(&dz1, of_b1);
        gemm_strided(Matrix::new(&dz1, rows, m).t(), Matrix::new(at.y, rows, n), of_w1, n, true, true);
        transpose(&dh, n, rows, into.y, false);
        gemm(Matrix::new(&dz1, rows, m), Matrix::new(w1, m, n), into.y, true);
        Ok(0.)
    }
}
