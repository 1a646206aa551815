//! Inverted dropout.

use super::Rng;
use crate::kernel::{Real, collect, contiguous, dispatch_real, into_storage, slice};
use crate::tape::{self, Plain1};
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor};
use rand::RngCore;
use std::sync::Arc;

/// Sets each element to 0 with probability `p` and divides the others by `1 − p`.
///
/// The mask is sampled on the host, so every device drops the same elements. With `p = 0` the result is `x`, and `rng` does not advance.
///
/// # Errors
///
/// When `p` is not in `[0, 1)`.
///
/// ```
/// # use candle_core::{DType, Device, Tensor};
/// use core_tensor::random::{Rng, dropout};
/// let x = Tensor::ones(1000, DType::F32, &Device::Cpu)?;
/// let y = dropout(&x, 0.25, &mut Rng::new(0))?.to_vec1::<f32>()?;
/// assert!(y.iter().all(|&v| v == 0. || (v - 4. / 3.).abs() < 1e-6));
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn dropout(x: &Tensor, p: f64, rng: &mut Rng) -> Result<Tensor> {
    check_probability(p)?;
    if p == 0. {
        return Ok(x.clone());
    }
    let scale = 1. / (1. - p);
    let kept = draw(x.elem_count(), p, rng);
    if x.device().is_cpu() {
        return Ok(tape::apply1(&contiguous(x)?, Plain1(Dropout { kept: Arc::new(kept), scale }))?);
    }
    let mask = Tensor::from_vec(kept, x.shape(), &Device::Cpu)?.to_dtype(x.dtype())?;
    Ok((x * (mask * scale)?.to_device(x.device())?)?)
}

/// The probability must be in `[0, 1)`.
pub(crate) fn check_probability(p: f64) -> Result<()> {
    if (0. ..1.).contains(&p) {
        return Ok(());
    }
    Err(Error::Value { operation: "dropout", what: "p", got: p, expected: "in [0, 1)" })
}

/// One byte for each element: 1 to keep it, 0 to drop it. Probabilities are exact to 2⁻³².
fn draw(count: usize, p: f64, rng: &mut Rng) -> Vec<u8> {
    let threshold = (p * 2f64.powi(32)) as u32;
    (0..count).map(|_| u8::from(rng.next_u32() >= threshold)).collect()
}

struct Dropout {
    kept: Arc<Vec<u8>>,
    scale: f64,
}

impl Dropout {
    fn apply<T: Real>(&self, x: &[T]) -> Vec<T> {
        let scale = [T::ZERO, T::of(self.scale)];
        let kept = &self.kept;
        // SAFETY: every element of each piece is written.
        unsafe {
            collect(x.len(), 1, 1, |first, out| {
                for ((out, &x), &k) in out.iter_mut().zip(&x[first..]).zip(&kept[first..]) {
                    out.write(x * scale[usize::from(k)]);
                }
            })
        }
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let out = dispatch_real!(storage, self.name(), T => {
            Ok(into_storage(self.apply(slice::<T>(storage, layout, self.name())?)))
        })?;
        Ok((out, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        // the operation is linear and its own gradient, which gives second derivatives too
        let op = Dropout { kept: self.kept.clone(), scale: self.scale };
        Ok(Some(contiguous(grad)?.apply_op1(op)?))
    }
}
