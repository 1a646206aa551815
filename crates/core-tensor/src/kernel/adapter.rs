//! The adapter: a differentiable operation of one to three tensors as two functions of slices.

use super::{Real, contiguous, dispatch_real, dispatch_tensor, into_storage, is_taped, slice, with_slice};
use crate::tape::{self, Found, Gradient, Rule};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor};

/// The gradients of up to three arguments; `None` where none was asked for, or where the gradient is zero.
pub type Gradients<T> = [Option<Vec<T>>; 3];

/// What an operation computes on the CPU, for f32 and f64: the result from the arguments, and the gradients of the arguments from that of the result. Sizes and whatever has
/// no gradient are fields of the implementor, also what the forward pass keeps for the backward pass (in a [`OnceLock`](std::sync::OnceLock)).
///
/// [`apply`] checks that the arguments have one dtype and are on the CPU, makes them contiguous, and turns results into tensors. A kernel checks shapes before it is applied: it is given slices.
pub trait Kernel: Send + Sync + 'static {
    /// The name of the operation in error messages.
    const NAME: &'static str;

    /// Whether all arguments have one gradient, that of the result times the same numbers, as those of a sum have. Then [`Kernel::backward`] is asked for the first alone.
    const IS_SHARED: bool = false;

    /// The elements of the result, in row-major order.
    ///
    /// # Errors
    ///
    /// Whatever cannot be computed.
    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>>;

    /// The gradients of those arguments that `needs` marks, given the arguments `x`, the result `y` and its gradient `grad`. What is not marked may be `None` and is ignored.
    ///
    /// # Errors
    ///
    /// Whatever cannot be computed.
    fn backward<T: Real>(&self, x: &[&[T]], y: &[T], grad: &[T], needs: [bool; 3]) -> Result<Gradients<T>>;

    /// As [`Kernel::backward`], with a buffer that may be used for one of the gradients. [`crate::backward`] calls it.
    ///
    /// # Errors
    ///
    /// Whatever cannot be computed.
    fn backward_in_place<T: Real>(&self, x: &[&[T]], y: &[T], grad: Vec<T>, needs: [bool; 3]) -> Result<Gradients<T>> {
        self.backward(x, y, &grad, needs)
    }

    /// The gradient of the only argument if it is the same number everywhere, given that of a scalar result.
    fn constant_gradient(&self, grad: f64) -> Option<f64> {
        let _ = grad;
        None
    }
}

/// Applies a kernel to one to three tensors on the CPU; the result has the shape `shape` and is on the tape.
///
/// During [`crate::backward`] the gradient of a variable is handed over to it, so that [`crate::backward_observed`] reports it the moment it is found. A kernel has no second derivative: a
/// backward pass whose incoming gradient is itself on the tape is an error, never a gradient that was silently cut off the tape.
///
/// # Errors
///
/// No argument or more than three, tensors that are not on the CPU, dtypes other than f32 and f64 or different ones, a result that does not have as many elements as `shape`, and the errors of
/// the kernel. Backward also a gradient that does not have as many elements as its argument.
pub fn apply<K: Kernel>(kernel: K, inputs: &[&Tensor], shape: impl Into<Shape>) -> crate::Result<Tensor> {
    let op = Fused { kernel, shape: shape.into() };
    let y = match inputs {
        [a] => tape::apply1(&contiguous(a)?, op)?,
        [a, b] => tape::apply2(&contiguous(a)?, &contiguous(b)?, op)?,
        [a, b, c] => tape::apply3(&contiguous(a)?, &contiguous(b)?, &contiguous(c)?, op)?,
        _ => {
            let message =
                format!("{}: {} arguments, Candle's custom operations take one to three", K::NAME, inputs.len());
            return Err(candle_core::Error::Msg(message).into());
        }
    };
    Ok(y)
}

struct Fused<K> {
    kernel: K,
    shape: Shape,
}

impl<K: Kernel> Fused<K> {
    fn run(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let Some((first, _)) = inputs.first() else { candle_core::bail!("{}: no argument", K::NAME) };
        let out = dispatch_real!(*first, K::NAME, T => {
            let slices: Vec<&[T]> = inputs.iter().map(|(s, l)| slice::<T>(s, l, K::NAME)).collect::<Result<_>>()?;
            let out = self.kernel.forward(&slices)?;
            if out.len() != self.shape.elem_count() {
                candle_core::bail!("{}: {} elements for the shape {:?}", K::NAME, out.len(), self.shape);
            }
            Ok(into_storage(out))
        })?;
        Ok((out, self.shape.clone()))
    }

    fn gradients(&self, inputs: &[&Tensor], y: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 3]> {
        if is_taped(grad) {
            return Err(candle_core::Error::BackwardNotSupported { op: K::NAME });
        }
        let mut needs = [false; 3];
        for (need, input) in needs.iter_mut().zip(inputs) {
            *need = input.track_op();
        }
        let grad = contiguous(grad)?;
        dispatch_tensor!(grad, K::NAME, T => {
            let guards: Vec<_> = inputs.iter().chain([&y, &&grad]).map(|t| t.storage_and_layout()).collect();
            let slices: Vec<&[T]> =
                guards.iter().map(|(storage, layout)| cpu_slice(storage, layout, K::NAME)).collect::<Result<_>>()?;
            let (x, rest) = slices.split_at(inputs.len());
            let asked = if K::IS_SHARED { [needs.contains(&true), false, false] } else { needs };
            let mut gradients = self.kernel.backward::<T>(x, rest[0], rest[1], asked)?;
            if K::IS_SHARED {
                let gradient = gradients[0].take();
                gradients = std::array::from_fn(|at| if needs[at] { gradient.clone() } else { None });
            }
            let mut out = [None, None, None];
            for (at, (out, gradient)) in out.iter_mut().zip(gradients).enumerate() {
                if let (true, Some(gradient)) = (needs[at], gradient) {
                    let gradient = Tensor::from_vec(gradient, inputs[at].shape(), inputs[at].device())?;
                    *out = crate::backward::hand_over(inputs[at], gradient);
                }
            }
            Ok(out)
        })
    }
}

impl<K: Kernel> Rule for Fused<K> {
    fn gradients(&self, inputs: &[&Tensor], y: &Tensor, grad: Gradient, needs: [bool; 3]) -> Result<Found> {
        if y.rank() == 0
            && let Gradient::Number(number) = grad
            && let Some(number) = self.kernel.constant_gradient(number)
        {
            return Ok([Some(Gradient::Number(number)), None, None]);
        }
        dispatch_tensor!(y, K::NAME, T => {
            let guards: Vec<_> = inputs.iter().chain([&y]).map(|t| t.storage_and_layout()).collect();
            let slices: Vec<&[T]> = guards.iter().map(|(storage, layout)| cpu_slice(storage, layout, K::NAME)).collect::<Result<_>>()?;
            let (x, values) = slices.split_at(inputs.len());
            let asked = if K::IS_SHARED { [needs.contains(&true), false, false] } else { needs };
            let mut gradients = match grad {
                // What others hold too is read where it is.
                Gradient::Shared(grad) => with_slice::<T, _>(&grad.contiguous()?, K::NAME, |grad| {
                    self.kernel.backward::<T>(x, values[0], grad, asked)
                })?,
                grad => self.kernel.backward_in_place::<T>(x, values[0], grad.into_vec::<T>(y)?, asked)?,
            };
            let mut found = [None, None, None];
            if K::IS_SHARED && let Some(gradient) = gradients[0].take() {
                let gradient = Gradient::Owned(into_storage(gradient)).into_tensor(y)?;
                for ((found, &need), input) in found.iter_mut().zip(&needs).zip(inputs) {
                    if need {
                        *found = Some(Gradient::Shared(gradient.reshape(input.shape())?));
                    }
                }
                return Ok(found);
            }
            for (at, (found, x)) in found.iter_mut().zip(x).enumerate() {
                if let (true, Some(gradient)) = (needs[at], gradients[at].take()) {
                    if gradient.len() != x.len() {
                        let (got, expected) = (gradient.len(), x.len());
                        candle_core::bail!("{}: a gradient of {got} elements, expected {expected}", K::NAME);
                    }
                    *found = Some(Gradient::Owned(into_storage(gradient)));
                }
            }
            Ok(found)
        })
    }
}

fn cpu_slice<'a, T: Real>(storage: &'a Storage, layout: &Layout, name: &'static str) -> Result<&'a [T]> {
    match storage {
        Storage::Cpu(cpu) => slice::<T>(cpu, layout, name),
        _ => candle_core::bail!("{name}: expected tensors on the CPU"),
    }
}

impl<K: Kernel> CustomOp1 for Fused<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run(&[(s, l)])
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [a, _, _] = self.gradients(&[x], y, grad)?;
        Ok(a)
    }
}

impl<K: Kernel> CustomOp2 for Fused<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run(&[(s1, l1), (s2, l2)])
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [a, b, _] = self.gradients(&[a, b], y, grad)?;
        Ok((a, b))
    }
}

impl<K: Kernel> CustomOp3 for Fused<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run(&[(s1, l1), (s2, l2), (s3, l3)])
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = self.gradients(&[a, b, c], y, grad)?;
        Ok((a, b, c))
    }
}
