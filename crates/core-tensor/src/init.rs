//! Initial values of parameters.
//!
//! The functions return distributions that Candle's [`candle_nn::Init`] can express, for `VarBuilder::get_with_hints`; a
//! [`ParamStore`](crate::params::ParamStore) samples them reproducibly. [`Init`] has the others.

use crate::random::Rng;
use crate::{Error, Result};
use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::init::{FanInOut, NonLinearity, NormalOrUniform};

/// The distribution of a parameter's initial values.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Init {
    /// A distribution of Candle: constant, uniform, normal, Kaiming.
    Hint(candle_nn::Init),
    /// Uniform in `±gain · √(6 / (fan_in + fan_out))`, with the fans of the shape (Glorot and Bengio 2010).
    GlorotUniform {
        /// Factor for the non-linearity that follows; 1 for none.
        gain: f64,
    },
    /// Normal with standard deviation `gain · √(2 / (fan_in + fan_out))`, with the fans of the shape (Glorot and Bengio 2010).
    GlorotNormal {
        /// Factor for the non-linearity that follows; 1 for none.
        gain: f64,
    },
    /// A random matrix with orthonormal rows or columns, whichever are fewer. All dimensions after the first count as columns (Saxe et al. 2014).
    Orthogonal {
        /// Factor of the orthonormal matrix.
        gain: f64,
    },
}

impl From<candle_nn::Init> for Init {
    fn from(hint: candle_nn::Init) -> Self {
        Self::Hint(hint)
    }
}

impl Init {
    /// A tensor with values sampled from `rng`.
    ///
    /// # Errors
    ///
    /// When `dtype` is not a floating-point type, or the shape has fewer than two dimensions for `Orthogonal`.
    pub fn tensor(&self, shape: impl Into<Shape>, dtype: DType, device: &Device, rng: &mut Rng) -> Result<Tensor> {
        let shape = shape.into();
        match *self {
            Self::Hint(hint) => hinted(hint, shape, dtype, device, rng),
            Self::GlorotUniform { gain } => {
                let (fan_in, fan_out) = fans(&shape);
                let bound = gain * (6. / ((fan_in + fan_out) as f64).max(1.)).sqrt();
                rng.uniform(-bound, bound, shape, dtype, device)
            }
            Self::GlorotNormal { gain } => {
                let (fan_in, fan_out) = fans(&shape);
                rng.normal(0., gain * (2. / ((fan_in + fan_out) as f64).max(1.)).sqrt(), shape, dtype, device)
            }
            Self::Orthogonal { gain } => orthogonal(gain, shape, dtype, device, rng),
        }
    }
}

/// Uniform in `±√(6 / (fan_in + fan_out))` (Glorot and Bengio 2010).
pub fn glorot_uniform(fan_in: usize, fan_out: usize) -> candle_nn::Init {
    let bound = (6. / ((fan_in + fan_out) as f64).max(1.)).sqrt();
    candle_nn::Init::Uniform { lo: -bound, up: bound }
}

/// Normal with standard deviation `√(2 / (fan_in + fan_out))` (Glorot and Bengio 2010).
pub fn glorot_normal(fan_in: usize, fan_out: usize) -> candle_nn::Init {
    candle_nn::Init::Randn { mean: 0., stdev: (2. / ((fan_in + fan_out) as f64).max(1.)).sqrt() }
}

/// Uniform in `±√(6 / fan_in)`, for ReLU, with the fan of the shape `[out, in, …]` (He et al. 2015).
pub fn kaiming_uniform() -> candle_nn::Init {
    candle_nn::init::DEFAULT_KAIMING_UNIFORM
}

/// Normal with standard deviation `√(2 / fan_in)`, for ReLU, with the fan of the shape `[out, in, …]` (He et al. 2015).
pub fn kaiming_normal() -> candle_nn::Init {
    candle_nn::init::DEFAULT_KAIMING_NORMAL
}

/// Normal with standard deviation `√(2 / fan_out)`, for ReLU: preserves the variance of gradients (He et al. 2015).
pub fn kaiming_normal_fan_out() -> candle_nn::Init {
    candle_nn::Init::Kaiming { dist: NormalOrUniform::Normal, fan: FanInOut::FanOut, non_linearity: NonLinearity::ReLU }
}

/// Uniform in `±1 / √fan_in`: PyTorch's default for weights and biases of linear and convolution layers.
pub fn fan_in_uniform(fan_in: usize) -> candle_nn::Init {
    let bound = 1. / (fan_in as f64).max(1.).sqrt();
    candle_nn::Init::Uniform { lo: -bound, up: bound }
}

/// `(fan_in, fan_out)` of a weight `[out, in, …]`, as in PyTorch; a vector counts as `[1, n]`.
fn fans(shape: &Shape) -> (usize, usize) {
    match shape.dims() {
        [] => (1, 1),
        [n] => (*n, 1),
        [out, inputs, field @ ..] => {
            let field: usize = field.iter().product();
            (inputs * field, out * field)
        }
    }
}

fn hinted(hint: candle_nn::Init, shape: Shape, dtype: DType, device: &Device, rng: &mut Rng) -> Result<Tensor> {
    match hint {
        candle_nn::Init::Const(value) => {
            Ok(Tensor::full(value, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
        }
        candle_nn::Init::Randn { mean, stdev } => rng.normal(mean, stdev, shape, dtype, device),
        candle_nn::Init::Uniform { lo, up } => rng.uniform(lo, up, shape, dtype, device),
        candle_nn::Init::Kaiming { dist, fan, non_linearity } => {
            let std = non_linearity.gain() / (fan.for_shape(&shape) as f64).max(1.).sqrt();
            match dist {
                NormalOrUniform::Normal => rng.normal(0., std, shape, dtype, device),
                NormalOrUniform::Uniform => {
                    let bound = 3f64.sqrt() * std;
                    rng.uniform(-bound, bound, shape, dtype, device)
                }
            }
        }
    }
}

/// Gram–Schmidt on normal vectors. Signs need no correction, because the directions of the vectors are uniform.
fn orthogonal(gain: f64, shape: Shape, dtype: DType, device: &Device, rng: &mut Rng) -> Result<Tensor> {
    let [rows, rest @ ..] = shape.dims() else {
        return Err(Error::shape("Init::Orthogonal", "the parameter", &shape, "[rows, cols, …]"));
    };
    if rest.is_empty() {
        return Err(Error::shape("Init::Orthogonal", "the parameter", &shape, "[rows, cols, …]"));
    }
    let (rows, cols) = (*rows, rest.iter().product::<usize>());
    let (count, length) = (rows.min(cols), rows.max(cols));
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(count);
    while basis.len() < count {
        let mut vector = rng.normal(0., 1., length, DType::F64, &Device::Cpu)?.to_vec1::<f64>()?;
        // one pass leaves rounding errors along the earlier vectors, two do not
        for _ in 0..2 {
            for other in &basis {
                let overlap: f64 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
                vector.iter_mut().zip(other).for_each(|(a, b)| *a -= overlap * b);
            }
        }
        let norm = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm > 1e-8 {
            vector.iter_mut().for_each(|v| *v *= 1. / norm);
            basis.push(vector);
        }
    }
    let values: Vec<f64> = (0..rows * cols)
        .map(|at| {
            let (row, col) = (at / cols, at % cols);
            gain * if rows <= cols { basis[row][col] } else { basis[col][row] }
        })
        .collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orthogonal_rows_or_columns_are_orthonormal() {
        for shape in [vec![3, 5], vec![5, 3], vec![4, 2, 3], vec![1, 1]] {
            let rows = shape[0];
            let cols: usize = shape[1..].iter().product();
            let w = Init::Orthogonal { gain: 1. };
            let w = w.tensor(shape, DType::F64, &Device::Cpu, &mut Rng::new(3)).unwrap().reshape((rows, cols)).unwrap();
            let w = if rows <= cols { w } else { w.t().unwrap().contiguous().unwrap() };
            let product = w.matmul(&w.t().unwrap()).unwrap().to_vec2::<f64>().unwrap();
            for (i, row) in product.iter().enumerate() {
                for (j, &v) in row.iter().enumerate() {
                    // A few roundings of f64.
                    assert!((v - f64::from(u8::from(i == j))).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn a_vector_cannot_be_orthogonal() {
        let init = Init::Orthogonal { gain: 1. };
        assert!(init.tensor(3, DType::F32, &Device::Cpu, &mut Rng::new(0)).is_err());
    }

    #[test]
    fn glorot_takes_its_fans_from_the_shape() {
        let bound = (6f64 / (4. * 9. + 2. * 9.)).sqrt();
        let w = Init::GlorotUniform { gain: 1. };
        let w = w.tensor((2, 4, 3, 3), DType::F64, &Device::Cpu, &mut Rng::new(0)).unwrap();
        let largest = w.flatten_all().unwrap().to_vec1::<f64>().unwrap().iter().fold(0f64, |m, v| m.max(v.abs()));
        assert!(largest <= bound && largest > 0.8 * bound);
    }
}
