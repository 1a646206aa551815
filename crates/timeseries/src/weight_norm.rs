//! Weight normalisation (Salimans and Kingma 2016): `w_o = g_o v_o / ‖v_o‖`, the norm over all axes but the output channel.

use crate::Result;
use candle_core::{Tensor, Var};
use candle_nn::VarBuilder;
use core_tensor::{init, ops};

/// A weight as direction and length, under the names `weight_v` and `weight_g` of PyTorch.
#[derive(Debug, Clone)]
pub(crate) struct WeightNorm {
    v: Tensor,
    g: Tensor,
}

impl WeightNorm {
    /// New directions are uniform in `±1/√fan_in`, new lengths are theirs, so that at first the weight is `v`.
    pub(crate) fn new(shape: &[usize], vb: &VarBuilder<'_>) -> Result<Self> {
        let fan_in: usize = shape[1..].iter().product();
        let mut lengths = vec![1; shape.len()];
        lengths[0] = shape[0];
        let is_new = !vb.contains_tensor("weight_g");
        let v = vb.get_with_hints(shape, "weight_v", init::fan_in_uniform(fan_in))?;
        let g = vb.get_with_hints(lengths.as_slice(), "weight_g", candle_nn::Init::Const(1.))?;
        if is_new && g.is_variable() {
            Var::from_tensor(&g)?.set(&norms(&v.detach())?.reshape(lengths.as_slice())?)?;
        }
        Ok(Self { v, g })
    }

    /// One of the parameters.
    pub(crate) fn parameter(&self) -> &Tensor {
        &self.v
    }

    /// `w`, in the shape of `v`. A `v_o` of length zero gives zeros times infinity: NaN.
    pub(crate) fn weight(&self) -> Result<Tensor> {
        let factor = ops::div(&self.g, &norms(&self.v)?.reshape(self.g.shape())?)?;
        Ok(ops::mul(&self.v, &factor)?)
    }
}

fn norms(v: &Tensor) -> core_tensor::Result<Tensor> {
    ops::sqrt(&ops::sum_keepdim(&ops::sqr(&v.flatten_from(1)?)?, &[1])?)
}
