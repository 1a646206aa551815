//! Initial values of parameters.
//!
//! Where Candle's [`candle_nn::Init`] can express a distribution, a function here returns one: give it to
//! `VarBuilder::get_with_hints`, and a [`ParamStore`](crate::params::ParamStore) draws it reproducibly. [`Init`] has the rest.

use crate::random::Rng;
use crate::{Error, Result};
use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::init::{FanInOut, NonLinearity, NormalOrUniform};

/// How a parameter gets its first values.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Init {
    /// Whatever Candle's own type can say: constants, uniform, normal, Kaiming.
    Hint(candle_nn::Init),
    /// Glorot and Bengio (2010), uniform: `±gain · sqrt(6 / (fan_in + fan_out))`, the fans taken from the shape.
    GlorotUniform {
        /// Factor for the non-linearity that follows; 1 for none.
        gain: f64,
    },
    /// Glorot and Bengio (2010), normal: `std = gain · sqrt(2 / (fan_in + fan_out))`, the fans taken from the shape.
    GlorotNormal {
        /// Factor for the non-linearity that follows; 1 for none.
        gain: f64,
    },
    /// A random matrix with orthonormal rows or columns (Saxe et al. 2014), whichever are fewer; later dimensions count as
    /// columns.
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
    /// A tensor with these values, drawn from `rng`.
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

/// Glorot uniform for a weight with the given fans, `±sqrt(6 / (fan_in + fan_out))`.
pub fn glorot_uniform(fan_in: usize, fan_out: usize) -> candle_nn::Init {
    let bound = (6. / ((fan_in + fan_out) as f64).max(1.)).sqrt();
    candle_nn::Init::Uniform { lo: -bound, up: bound }
}

/// Glorot normal for a weight with the given fans, `std = sqrt(2 / (fan_in + fan_out))`.
pub fn glorot_normal(fan_in: usize, fan_out: usize) -> candle_nn::Init {
    candle_nn::Init::Randn { mean: 0., stdev: (2. / ((fan_in + fan_out) as f64).max(1.)).sqrt() }
}

/// He et al. (2015) for ReLU, uniform: `±sqrt(6 / fan_in)`, the fan taken from the shape `[out, in, …]`.
pub fn kaiming_uniform() -> candle_nn::Init {
    candle_nn::init::DEFAULT_KAIMING_UNIFORM
}

/// He et al. (2015) for ReLU, normal: `std = sqrt(2 / fan_in)`, the fan taken from the shape `[out, in, …]`.
pub fn kaiming_normal() -> candle_nn::Init {
    candle_nn::init::DEFAULT_KAIMING_NORMAL
}

/// He et al. (2015) for ReLU by the fan that the backward pass sees: `std = sqrt(2 / fan_out)`.
pub fn kaiming_normal_fan_out() -> candle_nn::Init {
    candle_nn::Init::Kaiming { dist: NormalOrUniform::Normal, fan: FanInOut::FanOut, non_linearity: NonLinearity::ReLU }
}

/// PyTorch's default for weights and biases of linear and convolution layers: `±1 / sqrt(fan_in)`.
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

/// Gram–Schmidt, applied twice, on normal vectors. The signs need no correction: the vectors' directions are uniform.
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
        // Once leaves rounding errors in the directions already taken; twice removes them.
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
