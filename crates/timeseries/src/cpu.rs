//! Custom operations of Candle as functions of slices.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Storage, Tensor, WithDType};
use pulp::Simd;

/// The element types of our kernels: f32 and f64.
pub(crate) trait Real: WithDType + Default {
    const ZERO: Self;
    const NEG_INFINITY: Self;
    /// As many elements as a register of `S` holds.
    type Vector<S: Simd>: Copy;

    /// The elements that fill whole registers; what is left over is not there.
    fn vectors<S: Simd>(x: &[Self]) -> &[Self::Vector<S>];
    fn vectors_mut<S: Simd>(x: &mut [Self]) -> &mut [Self::Vector<S>];
    fn splat<S: Simd>(simd: S, x: Self) -> Self::Vector<S>;
    /// `a · b + c`, where the machine can with one rounding.
    fn multiply_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    fn is_nan(self) -> bool;
    fn is_infinite(self) -> bool;
}

macro_rules! real {
    ($T:ident, $vector:ident, $as_simd:ident, $as_mut_simd:ident, $splat:ident, $multiply_add:ident) => {
        impl Real for $T {
            const ZERO: Self = 0.;
            const NEG_INFINITY: Self = $T::NEG_INFINITY;
            type Vector<S: Simd> = S::$vector;

            #[inline(always)]
            fn vectors<S: Simd>(x: &[Self]) -> &[S::$vector] {
                S::$as_simd(x).0
            }
            #[inline(always)]
            fn vectors_mut<S: Simd>(x: &mut [Self]) -> &mut [S::$vector] {
                S::$as_mut_simd(x).0
            }
            #[inline(always)]
            fn splat<S: Simd>(simd: S, x: Self) -> S::$vector {
                simd.$splat(x)
            }
            #[inline(always)]
            fn multiply_add<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                simd.$multiply_add(a, b, c)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $T::is_nan(self)
            }
            #[inline(always)]
            fn is_infinite(self) -> bool {
                $T::is_infinite(self)
            }
        }
    };
}
real!(f32, f32s, as_simd_f32s, as_mut_simd_f32s, splat_f32s, mul_add_e_f32s);
real!(f64, f64s, as_simd_f64s, as_mut_simd_f64s, splat_f64s, mul_add_e_f64s);

/// What an operation of one or two tensors computes on the CPU. Whatever has no gradient is a field of the implementor.
pub(crate) trait Kernel: Send + Sync + 'static {
    const NAME: &'static str;

    /// The elements of the result.
    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>>;

    /// The gradients of those arguments that `needs` marks.
    fn backward<T: Real>(&self, x: &[&[T]], grad: &[T], needs: [bool; 2]) -> Result<[Option<Vec<T>>; 2]>;
}

/// Applies a kernel to tensors on the CPU; the result has the shape `shape`.
pub(crate) fn apply<K: Kernel>(kernel: K, inputs: &[&Tensor], shape: impl Into<Shape>) -> Result<Tensor> {
    let op = Operation { kernel, shape: shape.into() };
    match inputs {
        [a] => a.contiguous()?.apply_op1(op),
        [a, b] => a.contiguous()?.apply_op2(&b.contiguous()?, op),
        _ => candle_core::bail!("{}: {} arguments", K::NAME, inputs.len()),
    }
}

struct Operation<K> {
    kernel: K,
    shape: Shape,
}

fn slice<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout, name: &str) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&T::cpu_storage_as_slice(storage)?[start..end]),
        None => candle_core::bail!("{name}: a tensor is not contiguous"),
    }
}

impl<K: Kernel> Operation<K> {
    fn run(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let out = match inputs {
            [(CpuStorage::F32(_), _), ..] => self.typed::<f32>(inputs)?,
            [(CpuStorage::F64(_), _), ..] => self.typed::<f64>(inputs)?,
            _ => candle_core::bail!("{}: expected tensors of f32 or f64", K::NAME),
        };
        Ok((out, self.shape.clone()))
    }

    fn typed<T: Real>(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<CpuStorage> {
        let slices: Vec<&[T]> = inputs.iter().map(|(s, l)| slice::<T>(s, l, K::NAME)).collect::<Result<_>>()?;
        let out = self.kernel.forward(&slices)?;
        if out.len() != self.shape.elem_count() {
            candle_core::bail!("{}: {} elements for the shape {:?}", K::NAME, out.len(), self.shape);
        }
        Ok(T::to_cpu_storage_owned(out))
    }

    fn gradients(&self, inputs: &[&Tensor], grad: &Tensor) -> Result<[Option<Tensor>; 2]> {
        if grad.track_op() {
            return Err(candle_core::Error::BackwardNotSupported { op: K::NAME });
        }
        let grad = grad.contiguous()?;
        match grad.dtype() {
            candle_core::DType::F32 => self.typed_gradients::<f32>(inputs, &grad),
            _ => self.typed_gradients::<f64>(inputs, &grad),
        }
    }

    fn typed_gradients<T: Real>(&self, inputs: &[&Tensor], grad: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let mut needs = [false; 2];
        for (need, input) in needs.iter_mut().zip(inputs) {
            *need = input.track_op();
        }
        let guards: Vec<_> = inputs.iter().chain([&grad]).map(|t| t.storage_and_layout()).collect();
        let slices: Vec<&[T]> = guards
            .iter()
            .map(|(storage, layout)| match &**storage {
                Storage::Cpu(cpu) => slice::<T>(cpu, layout, K::NAME),
                _ => candle_core::bail!("{}: expected tensors on the CPU", K::NAME),
            })
            .collect::<Result<_>>()?;
        let (x, grad) = slices.split_at(inputs.len());
        let gradients = self.kernel.backward::<T>(x, grad[0], needs)?;
        let mut out = [None, None];
        for ((out, gradient), input) in out.iter_mut().zip(gradients).zip(inputs) {
            *out = gradient.map(|values| Tensor::from_vec(values, input.shape(), input.device())).transpose()?;
        }
        Ok(out)
    }
}

impl<K: Kernel> CustomOp1 for Operation<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run(&[(s, l)])
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [a, _] = self.gradients(&[x], grad)?;
        Ok(a)
    }
}

impl<K: Kernel> CustomOp2 for Operation<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run(&[(s1, l1), (s2, l2)])
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [a, b] = self.gradients(&[a, b], grad)?;
        Ok((a, b))
    }
}
