//! Images and classes from a NumPy archive.

use crate::networks::Fallible;
use candle_core::{Device, Tensor};
use std::path::Path;

/// Images `[n, channels, height, width]` and a class for each.
pub(crate) struct Images {
    pub(crate) x: Tensor,
    pub(crate) labels: Vec<u32>,
}

impl Images {
    /// The arrays `x`, `[n, channels, height, width]` or `[n, height, width]`, and `y`, classes from 0, of an archive.
    pub(crate) fn read(path: &Path) -> Fallible<Self> {
        let fail = |reason: String| -> Box<dyn std::error::Error> { format!("{}: {reason}", path.display()).into() };
        let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
        let archive = datasets::npz::Archive::parse(&bytes).map_err(|error| fail(error.to_string()))?;
        let array = |name: &str| archive.array(name).map_err(|error| fail(error.to_string()));
        let (x, y) = (array("x")?, array("y")?);
        let shape = match x.shape[..] {
            [n, channels, height, width] => [n, channels, height, width],
            [n, height, width] => [n, 1, height, width],
            _ => {
                let expected = "[images, channels, height, width] or [images, height, width]";
                return Err(fail(format!("`x` has shape {:?}, expected {expected}", x.shape)));
            }
        };
        if y.shape != [shape[0]] {
            return Err(fail(format!("`y` has shape {:?}, expected [{}]: a class for each image", y.shape, shape[0])));
        }
        if shape[0] == 0 {
            return Err(fail("no images".into()));
        }
        let values = x.values.to_f32();
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let image = at / (shape[1] * shape[2] * shape[3]).max(1);
            return Err(fail(format!("image {image} has {}, expected finite numbers", values[at])));
        }
        let class = |(at, &value): (usize, &f64)| {
            let is_class = (0.0..=65_535.0).contains(&value) && value.fract() == 0.0;
            if is_class {
                Ok(value as u32)
            } else {
                Err(fail(format!("label {at} is {value}, expected a class from 0")))
            }
        };
        let labels = y.values.to_f64().iter().enumerate().map(class).collect::<Fallible<Vec<u32>>>()?;
        Ok(Self { x: Tensor::from_vec(values, shape.as_slice(), &Device::Cpu)?, labels })
    }

    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Channels, height and width.
    pub(crate) fn image(&self) -> [usize; 3] {
        let shape = self.x.dims();
        [shape[1], shape[2], shape[3]]
    }

    /// `(x − mean) / deviation` of each channel.
    pub(crate) fn standardized(&self, [mean, deviation]: &[Tensor; 2]) -> Fallible<Self> {
        let x = self.x.broadcast_sub(mean)?.broadcast_div(deviation)?;
        Ok(Self { x, labels: self.labels.clone() })
    }

    /// Mean and deviation of each channel, `[1, channels, 1, 1]`; a channel that is the same everywhere has deviation 1.
    pub(crate) fn statistics(&self) -> Fallible<[Tensor; 2]> {
        let mean = self.x.mean_keepdim((0, 2, 3))?;
        let deviation = self.x.broadcast_sub(&mean)?.sqr()?.mean_keepdim((0, 2, 3))?.sqrt()?;
        let deviation: Vec<f32> = deviation.flatten_all()?.to_vec1()?;
        let deviation: Vec<f32> = deviation.into_iter().map(|value| if value > 0.0 { value } else { 1.0 }).collect();
        Ok([mean.clone(), Tensor::from_vec(deviation, mean.shape(), &Device::Cpu)?])
    }

    pub(crate) fn batch(&self, rows: &[u32]) -> candle_core::Result<(Tensor, Tensor)> {
        let index = Tensor::new(rows, &Device::Cpu)?;
        let labels: Vec<u32> = rows.iter().map(|&row| self.labels[row as usize]).collect();
        Ok((self.x.index_select(&index, 0)?, Tensor::new(labels, &Device::Cpu)?))
    }
}
