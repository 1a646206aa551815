//! The scale-covariant convolution with its maximum over log-time.

use super::filters::{LogTimeConfig, LogTimeFilters};
use super::max_convolution::Size;
use super::memory::{At, LogTimeMemory};
use super::operations;
use super::sequences::Sequences;
use crate::error::{check_dtype, check_sizes};
use crate::weight_norm::WeightNorm;
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::{Module, VarBuilder};
use serde::{Deserialize, Serialize};

/// Sizes and settings of a layer; the defaults are the paper's for the Morse decoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SithConLayerConfig {
    /// The memory.
    pub memory: LogTimeConfig,
    /// Kernels, C; 35.
    pub channels: usize,
    /// Elements of a kernel along log-time, w; 23.
    pub kernel_width: usize,
    /// The step between them, δ; 2.
    pub dilation: usize,
}

impl Default for SithConLayerConfig {
    fn default() -> Self {
        Self { memory: LogTimeConfig::default(), channels: 35, kernel_width: 23, dilation: 2 }
    }
}

/// A memory, a convolution of its image `[features, taus]` along log-time without padding or bias (weight norm), and the maximum over all positions.
///
/// A signal that is played slower shifts the image along log-time, which does not change the maximum: the result is the same, up to the ends of the bank and the sampling of time.
#[derive(Debug, Clone)]
pub struct SithConLayer {
    memory: LogTimeMemory,
    weight: WeightNorm,
    size: Size,
}

/// The maxima of a layer and their positions.
#[derive(Debug, Clone)]
pub struct Pooled {
    /// `[rows, channels]`: the maxima.
    pub values: Tensor,
    /// `[rows, channels]`, u32: the position of each, the first of equal ones. The kernel's element j lies at the filter `position + j · dilation`, so positions give the pattern's
    /// time scale: one of twice the scale has its maximum [`LogTimeFilters::shift_for_scale`]`(2.)` positions later.
    pub positions: Tensor,
}

const OP: &str = "SITHCon layer";

/// A [`SithConLayer`] for signals of `features` features with parameters `weight_v` `[channels, 1, features, kernel_width]` and `weight_g` `[channels, 1, 1, 1]`.
///
/// # Errors
/// Settings out of range, a kernel that is longer than the bank, parameters of other shapes.
pub fn sithcon_layer(features: usize, config: &SithConLayerConfig, vb: VarBuilder<'_>) -> Result<SithConLayer> {
    let sizes = [
        ("features", features),
        ("channels", config.channels),
        ("kernel_width", config.kernel_width),
        ("dilation", config.dilation),
    ];
    check_sizes(OP, sizes)?;
    let memory = LogTimeMemory::new(config.memory)?;
    let (channels, width) = (config.channels, config.kernel_width);
    let weight = WeightNorm::new(&[channels, 1, features, width], &vb)?;
    let size = Size { features, taus: config.memory.num_taus, channels, width, dilation: config.dilation };
    fits(&size)?;
    Ok(SithConLayer { memory, weight, size })
}

impl SithConLayer {
    /// The same layer, sharing its weights, on another bank: usually [`LogTimeFilters::extend_to`] of this one's.
    ///
    /// # Errors
    /// A kernel that is longer than the bank.
    pub fn with_filters(&self, filters: LogTimeFilters) -> Result<Self> {
        let size = Size { taus: filters.taus().len(), ..self.size };
        fits(&size)?;
        Ok(Self { memory: LogTimeMemory::from_filters(filters), weight: self.weight.clone(), size })
    }

    /// The memory.
    pub fn memory(&self) -> &LogTimeMemory {
        &self.memory
    }

    /// P, the number of positions over which the maximum is taken.
    pub fn num_positions(&self) -> usize {
        self.size.positions()
    }

    /// The normalised kernels, `[channels, features, kernel_width]`.
    ///
    /// # Errors
    /// Those of Candle.
    pub fn weight(&self) -> Result<Tensor> {
        Ok(self.weight.weight()?.squeeze(1)?)
    }

    pub(crate) fn size(&self) -> &Size {
        &self.size
    }

    /// The layer at every step.
    ///
    /// # Errors
    /// Another number of features, a dtype other than the parameters'.
    pub fn forward_sequences(&self, x: &Sequences) -> Result<Pooled> {
        self.run(x, At::Every)
    }

    /// The layer at the last step of each sequence.
    ///
    /// # Errors
    /// As for [`Self::forward_sequences`].
    pub fn forward_last(&self, x: &Sequences) -> Result<Pooled> {
        self.run(x, At::Last)
    }

    pub(crate) fn run(&self, x: &Sequences, at: At) -> Result<Pooled> {
        if x.num_features() != self.size.features {
            return Err(Error::shape(OP, "x", x.values(), format!("[rows, {}]", self.size.features)));
        }
        check_dtype(OP, "x", x.values(), self.weight.parameter())?;
        let reading = self.memory.reading(x, at)?;
        let (values, positions) = operations::layer(x.values(), &self.weight()?, reading, self.size)?;
        Ok(Pooled { values, positions })
    }

    /// The layer on a memory that was computed before, `[rows, features, taus]`: in training, that of a first layer never changes.
    ///
    /// # Errors
    /// Another shape or dtype.
    pub fn forward_memory(&self, memory: &Tensor) -> Result<Pooled> {
        let (features, taus) = (self.size.features, self.size.taus);
        if !matches!(memory.dims(), &[_, f, t] if f == features && t == taus) {
            return Err(Error::shape(OP, "the memory", memory, format!("[rows, {features}, {taus}]")));
        }
        check_dtype(OP, "the memory", memory, self.weight.parameter())?;
        let (values, positions) = operations::convolution(memory, &self.weight()?, self.size)?;
        Ok(Pooled { values, positions })
    }
}

impl Module for SithConLayer {
    /// `[batch, features, time]` to `[batch, channels, time]`.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let values = self.forward_sequences(&Sequences::from_batch(x)?)?.values;
        values.reshape((x.dims()[0], x.dims()[2], self.size.channels))?.transpose(1, 2)?.contiguous()
    }
}

fn fits(size: &Size) -> Result<()> {
    let reach = size.dilation.saturating_mul(size.width - 1).saturating_add(1);
    if reach > size.taus {
        let expected = format!("at least the {reach} that the kernel with its dilation spans");
        return Err(Error::config(OP, "num_taus", size.taus as f64, expected));
    }
    Ok(())
}
