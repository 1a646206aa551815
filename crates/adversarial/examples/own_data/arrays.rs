//! NumPy arrays from files.

use candle_core::{Device, Tensor};
use std::path::Path;

pub(crate) type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// An array of any shape as numbers.
pub(crate) fn numbers(path: &Path) -> Fallible<(Vec<usize>, Vec<f64>)> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let array = datasets::npy::parse(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((array.shape, array.values.to_f64()))
}

/// Images `[n, channels, height, width]` or `[n, height, width]` (one channel) as f32.
#[allow(dead_code, reason = "not every program reads images")]
pub(crate) fn images(path: &Path) -> Fallible<Tensor> {
    let (shape, values) = numbers(path)?;
    let shape = match shape[..] {
        [n, channels, height, width] => vec![n, channels, height, width],
        [n, height, width] => vec![n, 1, height, width],
        _ => {
            let reason =
                format!("has shape {shape:?}, expected [images, channels, height, width] or [images, height, width]");
            return Err(format!("{}: {reason}", path.display()).into());
        }
    };
    let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// Class numbers from 0, one for each sample.
#[allow(dead_code, reason = "not every program reads labels")]
pub(crate) fn labels(path: &Path) -> Fallible<Vec<u32>> {
    let (shape, values) = numbers(path)?;
    if shape.len() != 1 {
        return Err(format!("{}: has shape {shape:?}, expected one dimension", path.display()).into());
    }
    let class = |(at, &value): (usize, &f64)| {
        let is_class = value >= 0. && value <= f64::from(u32::MAX) && value.fract() == 0.;
        if is_class {
            Ok(value as u32)
        } else {
            Err(format!("{}: label {at} is {value}, expected a class from 0", path.display()))
        }
    };
    Ok(values.iter().enumerate().map(class).collect::<Result<_, _>>()?)
}
