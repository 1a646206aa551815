//! Which states the Lyapunov loss looks at.

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use core_tensor::random::Rng;

/// How states are drawn in a region that covers what trajectories reach: `[states, n]`, the same for all examples of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Region {
    /// Uniform directions and uniform radii up to `√n · half_range`: dense at the origin, as in the paper's code, whose half range is 15.
    UniformRadius {
        /// Half of a coordinate's range, D.
        half_range: f64,
    },
    /// Uniform in the ball of radius `√n · half_range`. In more than a few dimensions nearly all states are then at its surface.
    UniformBall {
        /// Half of a coordinate's range, D.
        half_range: f64,
    },
}

impl Region {
    /// Draws `count` states of `n` coordinates.
    ///
    /// # Errors
    ///
    /// When a number is 0 or the range is not positive.
    pub fn draw(&self, count: usize, n: usize, dtype: DType, rng: &mut Rng) -> Result<Tensor> {
        let (Self::UniformRadius { half_range } | Self::UniformBall { half_range }) = *self;
        if !(half_range > 0. && half_range.is_finite()) {
            return Err(Error::config("lyanet::Region", "half_range", half_range, "a positive finite number"));
        }
        if count == 0 || n == 0 {
            return Err(Error::count("lyanet::Region", "the number of states", count.min(n), "at least 1"));
        }
        let radius = half_range * (n as f64).sqrt();
        let directions = rng.normal(0., 1., (count, n), DType::F64, &Device::Cpu)?.flatten_all()?.to_vec1::<f64>()?;
        let mut states = Vec::with_capacity(count * n);
        for direction in directions.chunks(n) {
            let norm = direction.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
            let share = match self {
                Self::UniformRadius { .. } => rng.unit(),
                Self::UniformBall { .. } => rng.unit().powf(1. / n as f64),
            };
            states.extend(direction.iter().map(|x| x / norm * share * radius));
        }
        Ok(Tensor::from_vec(states, (count, n), &Device::Cpu)?.to_dtype(dtype)?)
    }
}

/// Times for the path-integral form: the smallest positive number, `count − 2` sorted draws below `end`, and `end`; strictly increasing.
///
/// # Errors
///
/// When there are fewer than two, or `end` is not positive.
pub fn path_times(count: usize, end: f64, rng: &mut Rng) -> Result<Vec<f64>> {
    if count < 2 {
        return Err(Error::count("lyanet::path_times", "the number of times", count, "at least 2"));
    }
    if !(end > 0. && end.is_finite()) {
        return Err(Error::value("lyanet::path_times", "the end", end, "a positive finite time"));
    }
    let first = end * 1e-12;
    loop {
        let mut times = vec![first];
        times.extend((0..count - 2).map(|_| rng.unit() * end));
        times.push(end);
        times.sort_by(f64::total_cmp);
        if times.windows(2).all(|pair| pair[0] < pair[1]) {
            return Ok(times);
        }
    }
}
