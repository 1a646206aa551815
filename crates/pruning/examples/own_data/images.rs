//! Images and classes from a NumPy archive.

use candle_core::{Device, Tensor};
use experiment::Result;
use reproduction::front;
use std::path::Path;

/// Images `[n, channels, height, width]` and a class for each.
pub(crate) struct Images {
    pub(crate) x: Tensor,
    pub(crate) labels: Vec<u32>,
}

impl Images {
    /// The arrays `x`, `[n, channels, height, width]` or `[n, height, width]`, and `y`, classes from 0, of an archive.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let (x, labels) = (front::images(path, "x")?, front::classes(path, "y")?);
        let (images, classes) = (x.dims()[0], labels.len());
        if images != classes {
            let shown = path.display();
            return Err(
                format!("{shown}: `y` has shape [{classes}], expected [{images}]: a class for each image").into()
            );
        }
        Ok(Self { x, labels })
    }

    /// A number that other images or labels hardly have (FNV-1a).
    pub(crate) fn fingerprint(&self) -> Result<u64> {
        let values: Vec<f32> = self.x.flatten_all()?.to_vec1()?;
        let words = self.x.dims().iter().map(|&extent| extent as u32).chain(values.iter().map(|value| value.to_bits()));
        let fold = |hash: u64, word: u32| (hash ^ u64::from(word)).wrapping_mul(0x0100_0000_01b3);
        Ok(words.chain(self.labels.iter().copied()).fold(0xcbf2_9ce4_8422_2325, fold))
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
    pub(crate) fn standardized(&self, [mean, deviation]: &[Tensor; 2]) -> Result<Self> {
        let x = self.x.broadcast_sub(mean)?.broadcast_div(deviation)?;
        Ok(Self { x, labels: self.labels.clone() })
    }

    /// Mean and deviation of each channel, `[1, channels, 1, 1]`; a channel that is the same everywhere has deviation 1.
    pub(crate) fn statistics(&self) -> Result<[Tensor; 2]> {
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
