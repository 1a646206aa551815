//! Long short-term memory that reads a sequence, a baseline of SITHCon.

use crate::error::{check_dtype, check_sizes};
use crate::sithcon::Sequences;
use crate::{Error, Result};
use candle_core::Tensor;
use candle_nn::{Module, VarBuilder};
use core_tensor::nn::{self, Linear, Lstm};
use core_tensor::ops;
use serde::{Deserialize, Serialize};

/// Settings of an [`LstmReader`]; the defaults are those of the SITHCon supplement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LstmConfig {
    /// The hidden size; 128.
    pub hidden: usize,
    /// Layers on top of each other; 1.
    pub num_layers: usize,
    /// Whether tanh is applied to the outputs; true.
    pub has_tanh: bool,
}

impl Default for LstmConfig {
    fn default() -> Self {
        Self { hidden: 128, num_layers: 1, has_tanh: true }
    }
}

/// An LSTM with a linear map and tanh on its last state. Parameters: `lstm.weight_ih_l0`, … as in PyTorch, `linear`.
#[derive(Debug, Clone)]
pub struct LstmReader {
    lstm: Lstm,
    linear: Linear,
    has_tanh: bool,
    features: usize,
}

const OP: &str = "LSTM";

/// An [`LstmReader`] from `features` features to `outputs` values.
///
/// # Errors
/// Sizes of zero or above 65,536, parameters of other shapes.
pub fn lstm_reader(features: usize, outputs: usize, config: LstmConfig, vb: VarBuilder<'_>) -> Result<LstmReader> {
    let sizes = [("features", features), ("outputs", outputs), ("hidden", config.hidden)];
    check_sizes(OP, sizes.into_iter().chain([("num_layers", config.num_layers)]))?;
    let recurrent = nn::RecurrentConfig { num_layers: config.num_layers, ..Default::default() };
    let lstm = nn::lstm(features, config.hidden, recurrent, vb.pp("lstm"))?;
    let linear = nn::linear(config.hidden, outputs, vb.pp("linear"))?;
    Ok(LstmReader { lstm, linear, has_tanh: config.has_tanh, features })
}

impl LstmReader {
    /// The outputs at the last step of each sequence, `[sequences, outputs]`.
    ///
    /// # Errors
    /// Another number of features or dtype.
    pub fn forward_sequences(&self, x: &Sequences) -> Result<Tensor> {
        if x.num_features() != self.features {
            return Err(Error::shape(OP, "x", x.values(), format!("[rows, {}]", self.features)));
        }
        check_dtype(OP, "x", x.values(), self.linear.weight())?;
        // [batch, features, time] to [time, batch, features]; zeros follow the ends, where they change nothing that is read
        let (y, _) = self.lstm.forward(&x.to_right_padded()?.permute((2, 0, 1))?.contiguous()?, None)?;
        let ends = (0..x.len()).map(|sequence| ((x.rows(sequence).len() - 1) * x.len() + sequence) as u32);
        let ends = Tensor::from_vec(ends.collect::<Vec<u32>>(), x.len(), y.device())?;
        let y = self.linear.forward(&y.flatten(0, 1)?.index_select(&ends, 0)?)?;
        Ok(if self.has_tanh { ops::tanh(&y)? } else { y })
    }
}

impl Module for LstmReader {
    /// `[batch, features, time]` to the outputs at the last step, `[batch, outputs]`.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(self.forward_sequences(&Sequences::from_batch(x)?)?)
    }
}
