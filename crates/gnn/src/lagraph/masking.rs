//! The second view: some features replaced by noise.

use crate::{Error, Features, Result};
use candle_core::{DType, Tensor};
use core_tensor::ops;
use core_tensor::random::Rng;
use core_tensor::rounding::floor_to_count;

/// What is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum MaskMode {
    /// All features of ⌊ratio · n⌋ nodes of each graph, drawn without replacement, by independent normal numbers. The official `whole`.
    Rows,
    /// Each entry by itself, with probability `ratio`, by a normal number. The official `partial`.
    Entries,
    /// The features of ⌊ratio · n⌋ nodes of each graph by one-hot vectors with a uniform place. The official `onehot`.
    OneHot,
}

/// How the second view is drawn.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Masking {
    /// What is replaced.
    pub mode: MaskMode,
    /// The share that is replaced, in [0, 1].
    pub ratio: f64,
    /// The deviation of the noise; its mean is 0.
    pub std: f64,
}

/// A view of features with noise in some places.
#[derive(Debug, Clone)]
pub struct MaskedView {
    /// The features.
    pub features: Features,
    /// The nodes of which at least one feature was replaced, ascending.
    pub nodes: Vec<u32>,
}

impl Masking {
    pub(crate) fn check(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.ratio) {
            let (got, expected) = (self.ratio.to_string(), "a share in [0, 1]");
            return Err(Error::InvalidConfig { what: "masking ratio", got, expected });
        }
        if !(self.std.is_finite() && self.std >= 0.0) {
            let (got, expected) = (self.std.to_string(), "a finite number of 0 or more");
            return Err(Error::InvalidConfig { what: "masking std", got, expected });
        }
        Ok(())
    }

    /// Draws a view. `sizes` are the numbers of nodes of the graphs, one after the other. A graph of fewer than 1 / ratio nodes has none replaced, as in the official program.
    ///
    /// # Errors
    /// Settings out of range, or sizes that do not add up to the number of nodes.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use core_tensor::random::Rng;
    /// use gnn::Features;
    /// use gnn::lagraph::{MaskMode, Masking};
    /// let x = Features::dense(Tensor::ones((50, 3), DType::F32, &Device::Cpu)?)?;
    /// let masking = Masking { mode: MaskMode::Rows, ratio: 0.1, std: 0.5 };
    /// let view = masking.draw(&x, &[30, 20], &mut Rng::new(0))?;
    /// assert_eq!(view.nodes.len(), 3 + 2);
    /// # Ok::<(), gnn::Error>(())
    /// ```
    pub fn draw(&self, features: &Features, sizes: &[usize], rng: &mut Rng) -> Result<MaskedView> {
        self.check()?;
        let (n, width) = (features.num_nodes(), features.num_columns());
        let total: usize = sizes.iter().sum();
        if total != n {
            let (operation, what) = ("Masking::draw", "features");
            return Err(Error::Length { operation, what, got: n, expected: total });
        }
        let (dtype, device) = (features.dtype(), features.device());
        if self.mode == MaskMode::Entries {
            return self.entries(features, rng);
        }
        let mut nodes = Vec::new();
        let mut start = 0;
        for &size in sizes {
            let count = floor_to_count(self.ratio * size as f64);
            let mut chosen = rng.sample_without_replacement(size, count);
            chosen.sort_unstable();
            nodes.extend(chosen.into_iter().map(|node| node + start as u32));
            start += size;
        }
        let values = match self.mode {
            MaskMode::OneHot => {
                let mut values = vec![0f32; nodes.len() * width];
                for row in values.chunks_exact_mut(width.max(1)) {
                    row[rng.below(width)] = 1.0;
                }
                Tensor::from_vec(values, (nodes.len(), width), device)?.to_dtype(dtype)?
            }
            _ => rng.normal(0.0, self.std, (nodes.len(), width), dtype, device)?,
        };
        Ok(MaskedView { features: features.replace_rows(&nodes, &values)?, nodes })
    }

    fn entries(&self, features: &Features, rng: &mut Rng) -> Result<MaskedView> {
        let (n, width) = (features.num_nodes(), features.num_columns());
        let (dtype, device) = (features.dtype(), features.device());
        let is_replaced = rng.bernoulli(self.ratio, (n, width), DType::U8, device)?;
        let noise = rng.normal(0.0, self.std, (n, width), dtype, device)?;
        let flags: Vec<u8> = is_replaced.flatten_all()?.to_vec1()?;
        let rows = flags.chunks_exact(width.max(1)).enumerate();
        let nodes = rows.filter(|(_, row)| row.contains(&1)).map(|(node, _)| node as u32).collect();
        let values = ops::where_cond(&is_replaced, &noise, &features.to_dense()?)?;
        Ok(MaskedView { features: Features::Dense(values), nodes })
    }
}
