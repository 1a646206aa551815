//! The class dynamics and their derivative along themselves, by operations on the tape: for the loss of order 2, and to check the fused operations.

use super::dynamics::ClassDynamics;
use crate::{Error, Result};
use candle_core::Tensor;
use core_tensor::ops;

/// The intermediate values that a tangent needs.
struct Values {
    maps: Tensor,
    /// 1 or the slope, by the sign of the layers' inputs.
    first_slopes: Tensor,
    second_slopes: Tensor,
    r: Tensor,
    f: Tensor,
}

impl ClassDynamics {
    /// `f` for all pairs of matrices `B` `[b, m · m]` and states `[s, n]`, by operations on the tape: `[b, s, n]`. For checks and for what the fused operations do not cover.
    ///
    /// # Errors
    ///
    /// When shapes or dtypes do not fit.
    pub fn pairs(&self, maps: &Tensor, states: &Tensor) -> Result<Tensor> {
        let maps = self.check_maps("ClassDynamics::pairs", maps)?;
        Ok(values(self, &maps, states)?.f)
    }
}

fn slopes(z: &Tensor, slope: &Tensor) -> Result<Tensor> {
    let is_positive = z.detach().gt(0.)?.to_dtype(z.dtype())?;
    let not = ops::affine(&is_positive, -1., 1.)?;
    Ok(ops::add(&is_positive, &ops::mul(&not, &slope.reshape(vec![1; z.rank()])?)?)?)
}

fn distances(dynamics: &ClassDynamics, states: &Tensor) -> Result<Tensor> {
    let n = dynamics.config().classes;
    let vertices = vertices(dynamics, states)?;
    let difference = states.detach().unsqueeze(1)?.broadcast_sub(&vertices.unsqueeze(0)?)?;
    Ok(difference.sqr()?.sum(2)?.sqrt()?.reshape((1, states.dim(0)?, n))?)
}

/// `C`, `[n, n]`.
fn vertices(dynamics: &ClassDynamics, like: &Tensor) -> Result<Tensor> {
    let (n, vertex) = (dynamics.config().classes, dynamics.config().vertex);
    let values: Vec<f64> = (0..n * n).map(|at| if at % (n + 1) == 0 { vertex } else { -vertex }).collect();
    Ok(Tensor::from_vec(values, (n, n), like.device())?.to_dtype(like.dtype())?)
}

fn softmax(x: &Tensor) -> Result<Tensor> {
    Ok(ops::softmax(x)?)
}

fn values(dynamics: &ClassDynamics, maps: &Tensor, states: &Tensor) -> Result<Values> {
    let config = dynamics.config();
    let (n, m) = (config.classes, config.width);
    let (b, s) = (maps.dim(0)?, states.dims().first().copied().unwrap_or(0));
    if states.dims() != [s, n] || s == 0 {
        return Err(Error::shape("ClassDynamics::pairs", "the states", states, format!("[states, {n}]")));
    }
    let [w1, b1, w2, b2, slope] = dynamics.parameters();
    let maps = maps.reshape((b, m, m))?.transpose(1, 2)?;
    let z1 = ops::linear(states, w1, Some(b1))?;
    let first_slopes = slopes(&z1, slope)?;
    let a1 = ops::mul(&z1, &first_slopes)?;
    let a1 = ops::to_contiguous(&a1.unsqueeze(0)?.broadcast_as((b, s, m))?)?;
    let z2 = ops::matmul(&a1, &maps)?;
    let second_slopes = slopes(&z2, slope)?;
    let a2 = ops::mul(&z2, &second_slopes)?;
    let r = ops::linear(&a2, w2, Some(b2))?;
    let speed = dynamics.rate() * dynamics.gain() / n as f64;
    let f = if config.is_simplex {
        // Σ_j q_j (C_j − h) = V (2 q − 1) − h
        let q = ops::affine(&softmax(&r)?, 2. * config.vertex, -config.vertex)?;
        ops::affine(&ops::sub(&q, &states.unsqueeze(0)?)?, speed, 0.)?
    } else {
        let (u, _) = unit(&r)?;
        let q = softmax(&ops::affine(&u, 2. * config.vertex, 0.)?)?;
        let w = ops::sum_keepdim(&ops::mul(&q, &distances(dynamics, states)?)?, &[2])?;
        ops::affine(&ops::mul(&u, &w)?, speed, 0.)?
    };
    Ok(Values { maps, first_slopes, second_slopes, r, f })
}

/// `r / |r|` and `|r|`.
fn unit(r: &Tensor) -> Result<(Tensor, Tensor)> {
    let norm = ops::sqrt(&ops::sum_keepdim(&ops::sqr(r)?, &[2])?)?;
    Ok((ops::div(r, &norm)?, norm))
}

/// `f` of all pairs, and its derivative along itself, `(∂f/∂h) f`: both `[b, s, n]`, on the tape.
pub(super) fn along(dynamics: &ClassDynamics, maps: &Tensor, states: &Tensor) -> Result<(Tensor, Tensor)> {
    let config = dynamics.config();
    let Values { maps, first_slopes, second_slopes, r, f } = values(dynamics, maps, states)?;
    let [w1, _, w2, _, _] = dynamics.parameters();
    let dz1 = ops::linear(&f, w1, None)?;
    let da1 = ops::mul(&dz1, &first_slopes.unsqueeze(0)?)?;
    let dz2 = ops::matmul(&da1, &maps)?;
    let dr = ops::linear(&ops::mul(&dz2, &second_slopes)?, w2, None)?;
    let speed = dynamics.rate() * dynamics.gain() / config.classes as f64;
    let turn = |q: &Tensor, ds: &Tensor| -> Result<Tensor> {
        let mean = ops::sum_keepdim(&ops::mul(q, ds)?, &[2])?;
        Ok(ops::mul(q, &ops::sub(ds, &mean)?)?)
    };
    if config.is_simplex {
        let dq = turn(&softmax(&r)?, &dr)?;
        let df = ops::affine(&ops::sub(&ops::affine(&dq, 2. * config.vertex, 0.)?, &f)?, speed, 0.)?;
        return Ok((f, df));
    }
    let (u, norm) = unit(&r)?;
    let inward = ops::sum_keepdim(&ops::mul(&u, &dr)?, &[2])?;
    let du = ops::div(&ops::sub(&dr, &ops::mul(&u, &inward)?)?, &norm)?;
    let twice = 2. * config.vertex;
    let q = softmax(&ops::affine(&u, twice, 0.)?)?;
    let dq = turn(&q, &ops::affine(&du, twice, 0.)?)?;
    let d = distances(dynamics, states)?;
    // (h − C_j) · f = h · f − V (2 f_j − Σ f)
    let states = states.detach().unsqueeze(0)?;
    let total = ops::sum_keepdim(&f, &[2])?;
    let of_vertex = ops::affine(&ops::sub(&ops::affine(&f, 2., 0.)?, &total)?, config.vertex, 0.)?;
    let of_state = ops::sum_keepdim(&ops::mul(&f, &states)?, &[2])?;
    let dd = ops::div(&ops::sub(&of_state, &of_vertex)?, &d)?;
    let w = ops::sum_keepdim(&ops::mul(&q, &d)?, &[2])?;
    let dw = ops::sum_keepdim(&ops::add(&ops::mul(&dq, &d)?, &ops::mul(&q, &dd)?)?, &[2])?;
    let df = ops::affine(&ops::add(&ops::mul(&u, &dw)?, &ops::mul(&du, &w)?)?, speed, 0.)?;
    Ok((f, df))
}
