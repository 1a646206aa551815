//! Random tensors.

use super::Rng;
use crate::{Error, Result};
use candle_core::{DType, Device, Shape, Tensor};
use rand_distr::{Distribution, StandardNormal};

impl Rng {
    /// Independent uniform numbers in `[lo, hi)`.
    ///
    /// They are sampled in f64 and rounded to `dtype`, so that f32 and f64 tensors of one seed agree.
    ///
    /// # Errors
    ///
    /// When `lo > hi`, a bound is not finite, or `dtype` is not a floating-point type.
    pub fn uniform(
        &mut self,
        lo: f64,
        hi: f64,
        shape: impl Into<Shape>,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        if !(lo <= hi && lo.is_finite() && hi.is_finite()) {
            let (what, expected) = ("the width hi − lo", "finite and not negative");
            return Err(Error::Value { operation: "Rng::uniform", what, got: hi - lo, expected });
        }
        let largest_f32 = largest_below(hi as f32, hi);
        let shape = shape.into();
        self.fill(
            shape,
            dtype,
            device,
            |rng| lo + (hi - lo) * rng.unit(),
            |v| (v as f32).min(largest_f32).max(lo as f32),
        )
    }

    /// Independent normal numbers with mean `mean` and standard deviation `std`, sampled in f64 and rounded to `dtype`.
    ///
    /// # Errors
    ///
    /// When `std` is negative, `mean` or `std` is not finite, or `dtype` is not a floating-point type.
    pub fn normal(
        &mut self,
        mean: f64,
        std: f64,
        shape: impl Into<Shape>,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        for (what, got, is_valid) in [("mean", mean, mean.is_finite()), ("std", std, std.is_finite() && std >= 0.)] {
            if !is_valid {
                return Err(Error::Value { operation: "Rng::normal", what, got, expected: "finite, std not negative" });
            }
        }
        let draw = |rng: &mut Rng| {
            let z: f64 = StandardNormal.sample(rng);
            mean + std * z
        };
        self.fill(shape.into(), dtype, device, draw, |v| v as f32)
    }

    /// Independent numbers that are 1 with probability `p`, else 0.
    ///
    /// # Errors
    ///
    /// When `p` is not in `[0, 1]`.
    pub fn bernoulli(&mut self, p: f64, shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
        if !(0. ..=1.).contains(&p) {
            return Err(Error::Value { operation: "Rng::bernoulli", what: "p", got: p, expected: "in [0, 1]" });
        }
        let shape = shape.into();
        let values: Vec<u8> = (0..shape.elem_count()).map(|_| u8::from(self.unit() < p)).collect();
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
    }

    fn fill(
        &mut self,
        shape: Shape,
        dtype: DType,
        device: &Device,
        mut draw: impl FnMut(&mut Self) -> f64,
        narrow: impl Fn(f64) -> f32,
    ) -> Result<Tensor> {
        let count = shape.elem_count();
        match dtype {
            DType::F64 => {
                let values: Vec<f64> = (0..count).map(|_| draw(self)).collect();
                Ok(Tensor::from_vec(values, shape, device)?)
            }
            DType::F32 | DType::F16 | DType::BF16 => {
                let values: Vec<f32> = (0..count).map(|_| narrow(draw(self))).collect();
                Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
            }
            got => Err(Error::DType {
                operation: "Rng",
                what: "the random tensor",
                got,
                expected: "f64, f32, f16 or bf16",
            }),
        }
    }
}

/// The largest f32 below `hi`, since rounding to f32 may reach this excluded bound.
fn largest_below(rounded: f32, hi: f64) -> f32 {
    if f64::from(rounded) >= hi { rounded.next_down() } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_numbers_stay_below_the_upper_bound_in_f32() {
        assert!(largest_below(1., 1.) < 1.);
        let hi = 1. + 1e-12;
        let x = Rng::new(0).uniform(1., hi, 1000, DType::F32, &Device::Cpu).unwrap();
        assert!(x.to_vec1::<f32>().unwrap().iter().all(|&v| v >= 1. && f64::from(v) < hi));
    }

    #[test]
    fn f32_and_f64_draw_the_same_numbers() {
        let wide = Rng::new(1).normal(1., 2., (3, 5), DType::F64, &Device::Cpu).unwrap();
        let narrow = Rng::new(1).normal(1., 2., (3, 5), DType::F32, &Device::Cpu).unwrap();
        let wide = wide.to_dtype(DType::F32).unwrap();
        assert_eq!(wide.to_vec2::<f32>().unwrap(), narrow.to_vec2::<f32>().unwrap());
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        // The standard error of the mean of 100 000 numbers is 0.0032 standard deviations; 5 of them are allowed.
        let n = 100_000;
        let moments = |x: Tensor| {
            let v = x.to_vec1::<f64>().unwrap();
            let mean = v.iter().sum::<f64>() / n as f64;
            (mean, v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64)
        };
        let (mean, variance) = moments(Rng::new(2).normal(3., 2., n, DType::F64, &Device::Cpu).unwrap());
        assert!((mean - 3.).abs() < 0.032 && (variance - 4.).abs() < 0.1, "{mean} {variance}");
        let (mean, variance) = moments(Rng::new(2).uniform(-1., 1., n, DType::F64, &Device::Cpu).unwrap());
        assert!((mean).abs() < 0.01 && (variance - 1. / 3.).abs() < 0.01, "{mean} {variance}");
        let (mean, _) = moments(Rng::new(2).bernoulli(0.3, n, DType::F64, &Device::Cpu).unwrap());
        assert!((mean - 0.3).abs() < 0.008, "{mean}");
    }

    #[test]
    fn wrong_parameters_are_errors() {
        let mut rng = Rng::new(0);
        assert!(rng.uniform(1., 0., 3, DType::F32, &Device::Cpu).is_err());
        assert!(rng.uniform(0., f64::NAN, 3, DType::F32, &Device::Cpu).is_err());
        assert!(rng.normal(0., -1., 3, DType::F32, &Device::Cpu).is_err());
        assert!(rng.normal(0., 1., 3, DType::U32, &Device::Cpu).is_err());
        assert!(rng.bernoulli(1.5, 3, DType::F32, &Device::Cpu).is_err());
    }
}
