//! A differentiable operation of one to three contiguous tensors as two functions of slices.

use super::{Real, contiguous, dispatch_real, dispatch_tensor, into_storage, slice};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor};

/// The gradients of up to three arguments; `None` where none was needed.
pub(crate) type Gradients<T> = [Option<Vec<T>>; 3];

/// What an operation computes on the CPU. Sizes and whatever has no gradient are fields of the implementor.
pub(crate) trait Kernel: Send + Sync + 'static {
    /// The name in error messages.
    const NAME: &'static str;

    /// The elements of the result.
    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>>;

    /// The gradients of those arguments that `needs` marks, given the arguments, the result and its gradient.
    fn backward<T: Real>(&self, x: &[&[T]], y: &[T], grad: &[T], needs: [bool; 3]) -> Result<Gradients<T>>;
}

/// Applies a kernel to tensors on the CPU; the result has the shape `shape`.
pub(crate) fn apply<K: Kernel>(kernel: K, inputs: &[&Tensor], shape: impl Into<Shape>) -> crate::Result<Tensor> {
    let op = Fused { kernel, shape: shape.into() };
    let y = match inputs {
        [a] => contiguous(a)?.apply_op1(op)?,
        [a, b] => contiguous(a)?.apply_op2(&contiguous(b)?, op)?,
        [a, b, c] => contiguous(a)?.apply_op3(&contiguous(b)?, &contiguous(c)?, op)?,
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
        if crate::cpu::is_taped(grad) {
            return Err(candle_core::Error::BackwardNotSupported { op: K::NAME });
        }
        let mut needs = [false; 3];
        for (need, input) in needs.iter_mut().zip(inputs) {
            *need = input.track_op();
        }
        let grad = contiguous(grad)?;
        dispatch_tensor!(grad, K::NAME, T => {
            let guards: Vec<_> = inputs.iter().chain([&y, &&grad]).map(|t| t.storage_and_layout()).collect();
            let slices: Vec<&[T]> = guards
                .iter()
                .map(|(storage, layout)| match &**storage {
                    Storage::Cpu(cpu) => slice::<T>(cpu, layout, K::NAME),
                    _ => candle_core::bail!("{}: expected tensors on the CPU", K::NAME),
                })
                .collect::<Result<_>>()?;
            let (x, rest) = slices.split_at(inputs.len());
            let gradients = self.kernel.backward::<T>(x, rest[0], rest[1], needs)?;
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
