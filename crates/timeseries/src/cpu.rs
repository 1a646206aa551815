//! Custom operations of Candle as functions of slices.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor, WithDType};
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
    fn sqrt(self) -> Self;
    /// `eˣ`; f32 to two units in the last place, by a polynomial that compilers turn into vectors. Below −87 it is about 1e-38 rather than less.
    fn exp(self) -> Self;
    /// The hyperbolic tangent, f32 like [`Self::exp`].
    fn tanh(self) -> Self;
}

macro_rules! real {
    ($T:ident, $vector:ident, $as_simd:ident, $as_mut_simd:ident, $splat:ident, $multiply_add:ident, $exp:path, $tanh:path) => {
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
            #[inline(always)]
            fn sqrt(self) -> Self {
                $T::sqrt(self)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                $tanh(self)
            }
        }
    };
}
real!(f32, f32s, as_simd_f32s, as_mut_simd_f32s, splat_f32s, mul_add_e_f32s, exp_f32, tanh_f32);
real!(f64, f64s, as_simd_f64s, as_mut_simd_f64s, splat_f64s, mul_add_e_f64s, f64::exp, f64::tanh);

/// `x = n ln 2 + r`, a polynomial of degree 6 for `e^r`, and n into the exponent's bits.
#[inline(always)]
#[allow(clippy::excessive_precision)]
fn exp_f32(x: f32) -> f32 {
    // 1.5 · 2^23: adding it rounds to whole numbers, which then stand in the low bits
    const ROUND: f32 = 12_582_912.;
    // comparisons that a NaN passes through
    let x = if x < -87. { -87. } else { x };
    let x = if x > 88.7 { 88.7 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first of which has few bits
    let r = (x - n * 0.693_359_375) + n * 2.121_944_4e-4;
    let p = 1.987_569_15e-4 * r + 1.398_199_95e-3;
    let p = p * r + 8.333_451_9e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_55e-1;
    let p = p * r + 5.000_000_1e-1;
    let p = p * r * r + r + 1.;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    let power = f32::from_bits(exponent << 23);
    if x.is_nan() { x } else { p * power }
}

/// Its Taylor series near 0, where the quotient of exponentials cancels.
#[inline(always)]
fn tanh_f32(x: f32) -> f32 {
    let square = x * x;
    let series = square * (21_844. / 6_081_075.) - 1382. / 155_925.;
    let series = series * square + 62. / 2835.;
    let series = series * square - 17. / 315.;
    let series = series * square + 2. / 15.;
    let series = x + x * square * (series * square - 1. / 3.);
    let size = 1. - 2. / (exp_f32(2. * x.abs()) + 1.);
    let far = if x < 0. { -size } else { size };
    if x.abs() < 0.35 { series } else { far }
}

/// The gradients of up to three arguments; `None` where none was needed.
pub(crate) type Gradients<T> = [Option<Vec<T>>; 3];

/// What an operation of one to three tensors computes on the CPU. Whatever has no gradient is a field of the implementor.
pub(crate) trait Kernel: Send + Sync + 'static {
    const NAME: &'static str;

    /// The elements of the result.
    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>>;

    /// The gradients of those arguments that `needs` marks.
    fn backward<T: Real>(&self, x: &[&[T]], grad: &[T], needs: [bool; 3]) -> Result<Gradients<T>>;
}

/// Applies a kernel to tensors on the CPU; the result has the shape `shape`.
pub(crate) fn apply<K: Kernel>(kernel: K, inputs: &[&Tensor], shape: impl Into<Shape>) -> Result<Tensor> {
    let op = Operation { kernel, shape: shape.into() };
    match inputs {
        [a] => a.contiguous()?.apply_op1(op),
        [a, b] => a.contiguous()?.apply_op2(&b.contiguous()?, op),
        [a, b, c] => a.contiguous()?.apply_op3(&b.contiguous()?, &c.contiguous()?, op),
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

    fn gradients(&self, inputs: &[&Tensor], grad: &Tensor) -> Result<[Option<Tensor>; 3]> {
        if grad.track_op() {
            return Err(candle_core::Error::BackwardNotSupported { op: K::NAME });
        }
        let grad = grad.contiguous()?;
        match grad.dtype() {
            candle_core::DType::F32 => self.typed_gradients::<f32>(inputs, &grad),
            _ => self.typed_gradients::<f64>(inputs, &grad),
        }
    }

    fn typed_gradients<T: Real>(&self, inputs: &[&Tensor], grad: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let mut needs = [false; 3];
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
        let mut out = [None, None, None];
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
        let [a, _, _] = self.gradients(&[x], grad)?;
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
        let [a, b, _] = self.gradients(&[a, b], grad)?;
        Ok((a, b))
    }
}

impl<K: Kernel> CustomOp3 for Operation<K> {
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
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = self.gradients(&[a, b, c], grad)?;
        Ok((a, b, c))
    }
}

#[cfg(test)]
mod tests {
    use super::Real;

    #[test]
    fn exponential_and_tangent_are_exact_to_a_few_units() {
        for i in -40_000..40_000 {
            let x = i as f32 * 2e-3;
            let (exact, found) = (f64::from(x).exp(), f64::from(Real::exp(x)));
            assert!((found / exact - 1.).abs() < 3e-7, "exp({x}): {found}, not {exact}");
            let x = i as f32 * 3e-4;
            let (exact, found) = (f64::from(x).tanh(), f64::from(Real::tanh(x)));
            assert!((found - exact).abs() <= 4e-7 * exact.abs(), "tanh({x}): {found}, not {exact}");
        }
        assert!(Real::exp(f32::NAN).is_nan() && Real::tanh(f32::NAN).is_nan());
        assert_eq!((Real::tanh(1e30f32), Real::tanh(-1e30f32), Real::tanh(0f32)), (1., -1., 0.));
        assert!(Real::exp(-1e30f32) < 1e-37);
    }
}
