//! Arithmetic with broadcasting and sums over dimensions: what models put between other operations, on our tape.

use super::activation::activate;
use crate::cpu::activation::{Absolute, Affine, Logarithm, Square, SquareRoot};
use crate::cpu::broadcast::SumOver;
use crate::cpu::broadcast::{Add, Arithmetic, Div, Mul, Pair, Sub, gradients, pairs, values};
use crate::kernel::{apply, contiguous, dispatch_real, dispatch_tensor, into_storage, is_taped, slice, with_slice};
use crate::tape::{self, Found, Gradient, Rule};
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Shape, Tensor};

/// `a + b`; dimensions are aligned from the last, and those of one element or missing are repeated.
///
/// # Errors
///
/// When the shapes do not fit together or the dtypes differ; so for the others.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// let (a, b) = (Tensor::new(&[[1f32], [2.]], &Device::Cpu)?, Tensor::new(&[10f32, 20.], &Device::Cpu)?);
/// assert_eq!(core_tensor::ops::add(&a, &b)?.to_vec2::<f32>()?, [[11., 21.], [12., 22.]]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary(a, b, Add, Tensor::broadcast_add)
}

/// `a − b`, see [`add`].
///
/// # Errors
///
/// As for [`add`].
pub fn sub(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary(a, b, Sub, Tensor::broadcast_sub)
}

/// `a · b` element by element, see [`add`].
///
/// # Errors
///
/// As for [`add`].
pub fn mul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary(a, b, Mul, Tensor::broadcast_mul)
}

/// `a / b` element by element, see [`add`].
///
/// # Errors
///
/// As for [`add`].
pub fn div(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary(a, b, Div, Tensor::broadcast_div)
}

fn is_ours(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}

fn binary<F: Composed>(
    a: &Tensor,
    b: &Tensor,
    function: F,
    candles: fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
) -> Result<Tensor> {
    if a.dtype() != b.dtype() {
        let expected = "the dtype of the first";
        return Err(Error::DType { operation: F::NAME, what: "the second argument", got: b.dtype(), expected });
    }
    let Ok(shape) = a.shape().broadcast_shape_binary_op(b.shape(), F::NAME) else {
        let expected = format!("a shape that can be repeated with {:?}", a.dims());
        return Err(Error::shape(F::NAME, "the second argument", b.shape(), expected));
    };
    match pairs(shape.dims(), a.dims(), b.dims()) {
        Some(pairs) if a.device().is_cpu() && b.device().is_cpu() && is_ours(a.dtype()) => {
            let op = Binary { function, pairs, shape };
            Ok(tape::apply2(&contiguous(a)?, &contiguous(b)?, op)?)
        }
        _ => Ok(candles(a, b)?),
    }
}

struct Binary<F> {
    function: F,
    pairs: Vec<Pair>,
    shape: Shape,
}

/// The gradients in Candle's operations, of the result's shape, for second derivatives.
trait Composed: Arithmetic {
    fn composed(self, a: &Tensor, b: &Tensor, grad: &Tensor) -> candle_core::Result<(Tensor, Tensor)>;
}

impl Composed for Add {
    fn composed(self, _: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        Ok((grad.clone(), grad.clone()))
    }
}

impl Composed for Sub {
    fn composed(self, _: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        Ok((grad.clone(), grad.neg()?))
    }
}

impl Composed for Mul {
    fn composed(self, a: &Tensor, b: &Tensor, grad: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        Ok((grad.broadcast_mul(b)?, grad.broadcast_mul(a)?))
    }
}

impl Composed for Div {
    fn composed(self, a: &Tensor, b: &Tensor, grad: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        let of_a = grad.broadcast_div(b)?;
        let of_b = of_a.broadcast_mul(a)?.broadcast_div(b)?.neg()?;
        Ok((of_a, of_b))
    }
}

/// The sum over the dimensions that were repeated.
fn summed_like(gradient: &Tensor, of: &Tensor) -> candle_core::Result<Tensor> {
    let missing = gradient.rank() - of.rank();
    let repeated: Vec<usize> =
        (0..gradient.rank()).filter(|&at| at < missing || of.dims()[at - missing] != gradient.dims()[at]).collect();
    gradient.sum_keepdim(repeated)?.reshape(of.shape())
}

impl<F: Composed> Rule for Binary<F> {
    fn gradients(
        &self,
        inputs: &[&Tensor],
        y: &Tensor,
        grad: Gradient,
        needs: [bool; 3],
    ) -> candle_core::Result<Found> {
        let (a, b) = (inputs[0], inputs[1]);
        if y.elem_count() == 0 {
            return Ok([Some(Gradient::Number(0.)), Some(Gradient::Number(0.)), None]);
        }
        let is_whole = |x: &Tensor| x.elem_count() == y.elem_count();
        // A sum hands its gradient on as it is.
        if let (Some([1., 1.]), [true, true, _], true, true) = (F::SIGNS, needs, is_whole(a), is_whole(b)) {
            if let Gradient::Number(number) = grad {
                return Ok([Some(Gradient::Number(number)), Some(Gradient::Number(number)), None]);
            }
            let grad = grad.into_tensor(y)?;
            let of = |x: &Tensor| -> candle_core::Result<_> { Ok(Some(Gradient::Shared(grad.reshape(x.shape())?))) };
            return Ok([of(a)?, of(b)?, None]);
        }
        dispatch_tensor!(y, F::NAME, T => {
            let grad = grad.into_vec::<T>(y)?;
            let [of_a, of_b] = with_slice::<T, _>(a, F::NAME, |a| with_slice::<T, _>(b, F::NAME, |b| {
                Ok(gradients(self.function, (a, b), grad, &self.pairs, [needs[0], needs[1]]))
            }))?;
            let owned = |gradient: Vec<T>| Gradient::Owned(into_storage(gradient));
            Ok([of_a.map(owned), of_b.map(owned), None])
        })
    }
}

impl<F: Composed> CustomOp2 for Binary<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let out = dispatch_real!(a, F::NAME, T => {
            if self.shape.elem_count() == 0 {
                return Ok((into_storage(Vec::<T>::new()), self.shape.clone()));
            }
            let (a, b) = (slice::<T>(a, a_layout, F::NAME)?, slice::<T>(b, b_layout, F::NAME)?);
            Ok(into_storage(values(self.function, a, b, &self.pairs)))
        })?;
        Ok((out, self.shape.clone()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        if is_taped(grad) {
            let (of_a, of_b) = self.function.composed(a, b, grad)?;
            return Ok((Some(summed_like(&of_a, a)?), Some(summed_like(&of_b, b)?)));
        }
        let needs = [a.track_op(), b.track_op(), false];
        let [of_a, of_b, _] = self.gradients(&[a, b], y, Gradient::Shared(grad.clone()), needs)?;
        let tensor = |gradient: Option<Gradient>, of: &Tensor| -> candle_core::Result<Option<Tensor>> {
            let Some(gradient) = gradient else { return Ok(None) };
            Ok(crate::backward::hand_over(of, gradient.into_tensor(of)?))
        };
        Ok((tensor(of_a, a)?, tensor(of_b, b)?))
    }
}

/// `mul · x + add`.
///
/// # Errors
///
/// When `x` is not a float.
pub fn affine(x: &Tensor, mul: f64, add: f64) -> Result<Tensor> {
    match is_ours(x.dtype()) && x.device().is_cpu() {
        true => activate(x, Affine { mul, add }),
        false => Ok(x.affine(mul, add)?),
    }
}

/// `x²`.
///
/// # Errors
///
/// When `x` is not a float.
pub fn sqr(x: &Tensor) -> Result<Tensor> {
    match is_ours(x.dtype()) && x.device().is_cpu() {
        true => activate(x, Square),
        false => Ok(x.sqr()?),
    }
}

/// `√x`, with derivative `1 / (2 √x)`: infinite at 0.
///
/// # Errors
///
/// When `x` is not a float.
pub fn sqrt(x: &Tensor) -> Result<Tensor> {
    match is_ours(x.dtype()) && x.device().is_cpu() {
        true => activate(x, SquareRoot),
        false => Ok(x.sqrt()?),
    }
}

/// The natural logarithm.
///
/// # Errors
///
/// When `x` is not a float.
pub fn ln(x: &Tensor) -> Result<Tensor> {
    match is_ours(x.dtype()) && x.device().is_cpu() {
        true => activate(x, Logarithm),
        false => Ok(x.log()?),
    }
}

/// `|x|`, with derivative 0 at 0.
///
/// # Errors
///
/// When `x` is not a float.
pub fn abs(x: &Tensor) -> Result<Tensor> {
    match is_ours(x.dtype()) && x.device().is_cpu() {
        true => activate(x, Absolute),
        false => Ok(x.abs()?),
    }
}

/// The sum over the given dimensions, which have one element in the result.
///
/// # Errors
///
/// A dimension that `x` does not have, or that is given twice.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
/// assert_eq!(core_tensor::ops::sum_keepdim(&x, &[1])?.to_vec2::<f32>()?, [[3.], [7.]]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn sum_keepdim(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    summed("sum_keepdim", x, dims, 1.)
}

/// The mean over the given dimensions, which have one element in the result.
///
/// # Errors
///
/// A dimension that `x` does not have, that is given twice or has no elements.
pub fn mean_keepdim(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    const OP: &str = "mean_keepdim";
    let count: usize = dims.iter().filter_map(|&dim| x.dims().get(dim)).product();
    if count == 0 {
        return Err(Error::shape(OP, "x", x.shape(), "at least one element in each of the dimensions"));
    }
    summed(OP, x, dims, 1. / count as f64)
}

fn summed(op: &'static str, x: &Tensor, dims: &[usize], scale: f64) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    for (at, &dim) in dims.iter().enumerate() {
        if dim >= x.rank() || dims[..at].contains(&dim) {
            return Err(Error::shape(op, "x", x.shape(), format!("the different dimensions {dims:?}")));
        }
        shape[dim] = 1;
    }
    if !(x.device().is_cpu() && is_ours(x.dtype())) {
        return Ok(x.sum_keepdim(dims)?.affine(scale, 0.)?);
    }
    let (mut stride, mut strides) = (1, vec![(0, 0); x.rank()]);
    for at in (0..x.rank()).rev() {
        let is_summed = dims.contains(&at);
        strides[at] = (x.dims()[at], if is_summed { 0 } else { stride });
        stride *= if is_summed { 1 } else { x.dims()[at] };
    }
    apply(SumOver { strides, scale }, &[x], shape)
}
