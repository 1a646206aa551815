//! The network: a classifier or a regressor.

use super::layer::{SithConLayer, SithConLayerConfig, sithcon_layer};
use super::max_convolution::Size;
use super::memory::At;
use super::sequences::Sequences;
use crate::error::{check_dtype, check_sizes};
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::{Module, VarBuilder};
use core_tensor::nn::{self, BatchNorm, Linear};
use core_tensor::{Mode, ops};
use serde::{Deserialize, Serialize};

/// Sizes and settings of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SithConConfig {
    /// The layers from the input on.
    pub layers: Vec<SithConLayerConfig>,
    /// Whether there is a ReLU between a layer's maximum and its linear map.
    pub has_relu_after_pool: bool,
    /// Whether a ReLU follows each linear map.
    pub has_relu_after_linear: bool,
    /// Whether the maxima are batch-normalised; false, as in the paper's notebooks.
    pub has_batch_norm: bool,
    /// The probability with which a maximum is dropped in training; 0, as in the paper's notebooks.
    pub dropout: f64,
}

impl SithConConfig {
    fn stacked(layer: SithConLayerConfig, count: usize, has_relu_after_pool: bool) -> Self {
        Self {
            layers: vec![layer; count],
            has_relu_after_pool,
            has_relu_after_linear: !has_relu_after_pool,
            has_batch_norm: false,
            dropout: 0.,
        }
    }

    /// The paper's Morse decoder: two layers of 35 channels.
    pub fn morse_decoder() -> Self {
        Self::stacked(SithConLayerConfig::default(), 2, true)
    }

    /// The paper's network for the Morse adding problem: three layers of 25 channels, `τ*` up to 3000.
    pub fn morse_adding() -> Self {
        let mut layer = SithConLayerConfig { channels: 25, ..SithConLayerConfig::default() };
        (layer.memory.tau_max, layer.memory.buffer) = (3000., 6000.);
        Self::stacked(layer, 3, false)
    }

    /// The paper's network for spoken digits: two layers of 35 channels.
    pub fn spoken_digits() -> Self {
        Self::stacked(SithConLayerConfig::default(), 2, false)
    }
}

/// SITHCon: layers of memory, convolution along log-time and maximum, each with a linear map `C → C`, then a linear map to the outputs.
///
/// The outputs of a sequence are those at its last step, which need the last layer at that step only. Parameters: `layers.{l}.weight_v`, `layers.{l}.weight_g`, `linears.{l}.weight`,
/// `linears.{l}.bias`, `out.weight`, `out.bias`, and `norms.{l}` with batch norms.
#[derive(Debug, Clone)]
pub struct SithCon {
    config: SithConConfig,
    layers: Vec<SithConLayer>,
    linears: Vec<Linear>,
    norms: Vec<BatchNorm>,
    out: Linear,
}

const OP: &str = "SITHCon";

/// A [`SithCon`] from `features` features to `outputs` classes or values.
///
/// # Errors
/// No layer, settings out of range, parameters of other shapes.
pub fn sithcon(features: usize, outputs: usize, config: &SithConConfig, vb: VarBuilder<'_>) -> Result<SithCon> {
    check_sizes(OP, [("outputs", outputs), ("features", features), ("the number of layers", config.layers.len())])?;
    if !(0. ..1.).contains(&config.dropout) {
        return Err(Error::config(OP, "dropout", config.dropout, "at least 0 and below 1"));
    }
    let (mut layers, mut linears, mut norms) = (Vec::new(), Vec::new(), Vec::new());
    let mut width = features;
    for (l, layer) in config.layers.iter().enumerate() {
        layers.push(sithcon_layer(width, layer, vb.pp("layers").pp(l))?);
        width = layer.channels;
        if config.has_batch_norm {
            norms.push(nn::batch_norm1d(width, Default::default(), vb.pp("norms").pp(l))?);
        }
        linears.push(nn::linear(width, width, vb.pp("linears").pp(l))?);
    }
    let out = nn::linear(width, outputs, vb.pp("out"))?;
    Ok(SithCon { config: config.clone(), layers, linears, norms, out })
}

impl SithCon {
    /// The configuration, with the banks as they are now.
    pub fn config(&self) -> &SithConConfig {
        &self.config
    }

    /// The layers.
    pub fn layers(&self) -> &[SithConLayer] {
        &self.layers
    }

    pub(crate) fn linears(&self) -> (&[Linear], &Linear) {
        (&self.linears, &self.out)
    }

    /// The same network, sharing its weights, with the `τ*` of every layer continued in the same ratio up to at least `tau_max`: it then recognises what it knows over a
    /// range of speeds that is wider by the same factor. Nothing is trained.
    ///
    /// # Errors
    /// A `tau_max` so small that a kernel does not fit.
    pub fn extend_to(&self, tau_max: f64) -> Result<Self> {
        self.with_banks(|layer| layer.memory().filters().extend_to(tau_max))
    }

    /// [`Self::extend_to`] by the number of filters.
    ///
    /// # Errors
    /// As for [`Self::extend_to`].
    pub fn with_num_taus(&self, num_taus: usize) -> Result<Self> {
        self.with_banks(|layer| layer.memory().filters().resized(num_taus))
    }

    fn with_banks(&self, bank: impl Fn(&SithConLayer) -> Result<super::LogTimeFilters>) -> Result<Self> {
        let mut other = self.clone();
        for (layer, config) in other.layers.iter_mut().zip(&mut other.config.layers) {
            *layer = layer.with_filters(bank(layer)?)?;
            config.memory = *layer.memory().filters().config();
        }
        Ok(other)
    }

    /// The outputs at the last step of each sequence, `[sequences, outputs]`.
    ///
    /// # Errors
    /// Another number of features or dtype.
    pub fn forward(&self, x: &Sequences, mode: &mut Mode<'_>) -> Result<Tensor> {
        self.run(x, None, At::Last, mode)
    }

    /// The outputs at every step, `[rows, outputs]`.
    ///
    /// # Errors
    /// As for [`Self::forward`].
    pub fn forward_steps(&self, x: &Sequences, mode: &mut Mode<'_>) -> Result<Tensor> {
        self.run(x, None, At::Every, mode)
    }

    /// [`Self::forward`] with the memory of the first layer, `memory`, which [`Self::first_memory`] computed for `x`.
    ///
    /// # Errors
    /// As for [`Self::forward`], and a memory of another shape or dtype.
    pub fn forward_memory(&self, x: &Sequences, memory: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        self.run(x, Some(memory), At::Last, mode)
    }

    /// The memory of the first layer, `[rows, features, taus]`: it has no parameters, so training computes it once and uses it in every epoch. It has `rows · features · taus` elements.
    ///
    /// # Errors
    /// Another number of features or dtype.
    pub fn first_memory(&self, x: &Sequences) -> Result<Tensor> {
        let features = self.layers[0].size().features;
        if x.num_features() != features {
            return Err(Error::shape(OP, "x", x.values(), format!("[rows, {features}]")));
        }
        check_dtype(OP, "x", x.values(), self.out.weight())?;
        self.layers[0].memory().forward_sequences(x)
    }

    fn run(&self, x: &Sequences, memory: Option<&Tensor>, at: At, mode: &mut Mode<'_>) -> Result<Tensor> {
        let &Size { features, taus, .. } = self.layers[0].size();
        if x.num_features() != features {
            return Err(Error::shape(OP, "x", x.values(), format!("[rows, {features}]")));
        }
        check_dtype(OP, "x", x.values(), self.out.weight())?;
        if let Some(memory) = memory {
            let rows = x.offsets()[x.len()];
            if memory.dims() != [rows, features, taus] {
                return Err(Error::shape(OP, "the memory", memory, format!("[{rows} rows, {features}, {taus}]")));
            }
            check_dtype(OP, "the memory", memory, self.out.weight())?;
        }
        let mut x = x.clone();
        let last = self.layers.len() - 1;
        for (l, (layer, linear)) in self.layers.iter().zip(&self.linears).enumerate() {
            let at = if l == last { at } else { At::Every };
            let mut z = match memory.filter(|_| l == 0) {
                Some(memory) if at == At::Last => {
                    let rows = Tensor::from_vec(x.last_rows(), x.len(), memory.device())?;
                    layer.forward_memory(&memory.index_select(&rows, 0)?)?.values
                }
                Some(memory) => layer.forward_memory(memory)?.values,
                None => layer.run(&x, at)?.values,
            };
            if self.config.has_relu_after_pool {
                z = ops::relu(&z)?;
            }
            if let Some(norm) = self.norms.get(l) {
                z = norm.forward(&z, mode)?;
            }
            let mut u = linear.forward(&mode.dropout(&z, self.config.dropout)?)?;
            if self.config.has_relu_after_linear {
                u = ops::relu(&u)?;
            }
            if l == last {
                return Ok(self.out.forward(&u)?);
            }
            x = x.with_values(u);
        }
        Err(Error::count(OP, "the number of layers", 0, "at least 1"))
    }
}
