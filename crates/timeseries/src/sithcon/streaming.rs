//! The memory and the network one sample at a time.

use super::filters::LogTimeFilters;
use super::max_convolution::{Size, max_convolution, pack};
use super::model::SithCon;
use crate::error::check_sizes;
use crate::{Error, Result};
use candle_core::{DType, Tensor};

/// A memory that is updated sample by sample, for signals of any length, with a state of k+2 numbers for each filter and feature and as many multiplications in each step.
///
/// The sampled filter `l^m a^l` (m = k+1 or k, `a = exp(−k dt/τ*)`) is a sum over q of binomial terms `C(l,q) a^(l−q) (1−a)^q`, weighted by Stirling numbers, and each term is q+1 equal
/// exponential averages in series: `y_q ← a y_q + (1−a) y_(q−1)`. All weights are positive, so nothing cancels, and for signals up to the length of the buffer the result is that of
/// [`LogTimeMemory`](super::LogTimeMemory) up to rounding. Later on it keeps the tails that the buffer cuts off (0.2 % of the slowest filter with the paper's buffer).
#[derive(Debug, Clone)]
pub struct StreamingMemory {
    taus: usize,
    features: usize,
    order: usize,
    decay: Vec<f64>,
    gain: Vec<f64>,
    /// `[order][taus]`
    weights: Vec<f64>,
    /// `[features][order + 1][taus]`
    state: Vec<f64>,
    /// `[features][taus]`
    output: Vec<f64>,
}

impl StreamingMemory {
    /// A memory of `features` signals before their first samples.
    ///
    /// # Errors
    /// No features, or more than 65,536.
    pub fn new(filters: &LogTimeFilters, features: usize) -> Result<Self> {
        check_sizes("streaming memory", [("features", features)])?;
        let (taus, order) = (filters.taus().len(), filters.exponent() as usize);
        let config = filters.config();
        let (k, dt) = (f64::from(config.sharpness), config.dt);
        let log_stirling = log_stirling(order);
        let (mut decay, mut gain, mut weights) = (Vec::new(), Vec::new(), vec![0.; order * taus]);
        for (i, &tau) in filters.taus().iter().enumerate() {
            let log_decay = -k * dt / tau;
            decay.push(log_decay.exp());
            gain.push(-log_decay.exp_m1());
            let common = filters.scale().ln() + filters.log_amplitude(tau) + order as f64 * (dt / tau).ln();
            let mut log_factorial = 0.;
            for q in 1..=order {
                log_factorial += (q as f64).ln();
                let odds = log_decay - gain[i].ln();
                weights[(q - 1) * taus + i] = (common + log_stirling[q] + log_factorial + q as f64 * odds).exp();
            }
        }
        let (state, output) = (vec![0.; features * (order + 1) * taus], vec![0.; features * taus]);
        Ok(Self { taus, features, order, decay, gain, weights, state, output })
    }

    /// Adds the newest sample of each feature and returns the memory, `[features][taus]`.
    ///
    /// # Errors
    /// Another number of features. A sample that is not finite makes its feature NaN until [`Self::reset`].
    pub fn push(&mut self, sample: &[f64]) -> Result<&[f64]> {
        if sample.len() != self.features {
            let (got, expected) = (sample.len(), self.features);
            return Err(Error::Length { operation: "streaming memory", what: "the sample", got, expected });
        }
        let states = self.state.chunks_exact_mut((self.order + 1) * self.taus);
        for ((state, output), &x) in states.zip(self.output.chunks_exact_mut(self.taus)).zip(sample) {
            state[..self.taus].iter_mut().for_each(|y| *y += x);
            output.fill(0.);
            for q in (1..=self.order).rev() {
                let (below, here) = state[(q - 1) * self.taus..(q + 1) * self.taus].split_at_mut(self.taus);
                let weights = &self.weights[(q - 1) * self.taus..q * self.taus];
                let numbers = self.decay.iter().zip(&self.gain).zip(weights);
                for (((y, below), out), ((a, b), weight)) in here.iter_mut().zip(below).zip(&mut *output).zip(numbers) {
                    *y = a * *y + b * *below;
                    *out += weight * *y;
                }
            }
            state[..self.taus].iter_mut().zip(&self.decay).for_each(|(y, a)| *y *= a);
        }
        Ok(&self.output)
    }

    /// Back to the state before the first sample.
    pub fn reset(&mut self) {
        self.state.fill(0.);
        self.output.fill(0.);
    }
}

/// The logarithms of the Stirling numbers of the second kind `S(m, q)`, q = 0..=m.
fn log_stirling(m: usize) -> Vec<f64> {
    let mut row = vec![f64::NEG_INFINITY; m + 1];
    row[0] = 0.;
    for _ in 0..m {
        for q in (1..=m).rev() {
            let (kept, new) = (row[q] + (q as f64).ln(), row[q - 1]);
            let largest = kept.max(new);
            if largest > f64::NEG_INFINITY {
                row[q] = largest + ((kept - largest).exp() + (new - largest).exp()).ln();
            }
        }
        row[0] = f64::NEG_INFINITY;
    }
    row
}

/// An affine map in f64.
#[derive(Debug, Clone)]
struct Affine {
    weight: Vec<Vec<f64>>,
    bias: Vec<f64>,
}

impl Affine {
    fn new(linear: &core_tensor::nn::Linear) -> Result<Self> {
        let weight = linear.weight().detach().to_dtype(DType::F64)?.to_vec2()?;
        let bias = match linear.bias() {
            Some(bias) => bias.detach().to_dtype(DType::F64)?.to_vec1()?,
            None => vec![0.; weight.len()],
        };
        Ok(Self { weight, bias })
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let rows = self.weight.iter().zip(&self.bias);
        rows.map(|(row, bias)| bias + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>()).collect()
    }
}

#[derive(Debug, Clone)]
struct StreamingLayer {
    memory: StreamingMemory,
    packed: Vec<f64>,
    size: Size,
    linear: Affine,
}

/// A trained network that is updated sample by sample and gives its outputs at each step, in f64, with the weights that it had when the stream was made.
#[derive(Debug, Clone)]
pub struct StreamingSithCon {
    layers: Vec<StreamingLayer>,
    out: Affine,
    has_relu_after_pool: bool,
    has_relu_after_linear: bool,
}

impl SithCon {
    /// The network as a stream before its first sample.
    ///
    /// # Errors
    /// A network with batch norms.
    pub fn stream(&self) -> Result<StreamingSithCon> {
        if self.config().has_batch_norm {
            let expected = "false: a stream has no batch norms".to_owned();
            return Err(Error::config("streaming SITHCon", "has_batch_norm", 1., expected));
        }
        let (linears, out) = self.linears();
        let mut layers = Vec::new();
        for (layer, linear) in self.layers().iter().zip(linears) {
            let size = *layer.size();
            let weight: Tensor = layer.weight()?.detach().to_dtype(DType::F64)?;
            let packed = pack(&weight.flatten_all()?.to_vec1::<f64>()?, &size);
            let memory = StreamingMemory::new(layer.memory().filters(), size.features)?;
            layers.push(StreamingLayer { memory, packed, size, linear: Affine::new(linear)? });
        }
        let config = self.config();
        let (has_relu_after_pool, has_relu_after_linear) = (config.has_relu_after_pool, config.has_relu_after_linear);
        Ok(StreamingSithCon { layers, out: Affine::new(out)?, has_relu_after_pool, has_relu_after_linear })
    }
}

impl StreamingSithCon {
    /// Adds the newest sample of each feature and returns the outputs.
    ///
    /// # Errors
    /// Another number of features.
    pub fn push(&mut self, sample: &[f64]) -> Result<Vec<f64>> {
        let expected = self.layers.first().map_or(0, |layer| layer.size.features);
        if sample.len() != expected {
            let got = sample.len();
            return Err(Error::Length { operation: "streaming SITHCon", what: "the sample", got, expected });
        }
        let mut x = sample.to_vec();
        let rectify = |x: &mut Vec<f64>| x.iter_mut().for_each(|x| *x = if *x < 0. { 0. } else { *x });
        for layer in &mut self.layers {
            let image = layer.memory.push(&x)?;
            let (mut pooled, mut chosen) = (vec![0.; layer.size.channels], vec![0; layer.size.channels]);
            max_convolution(image, &layer.packed, &layer.size, &mut pooled, &mut chosen);
            if self.has_relu_after_pool {
                rectify(&mut pooled);
            }
            x = layer.linear.apply(&pooled);
            if self.has_relu_after_linear {
                rectify(&mut x);
            }
        }
        Ok(self.out.apply(&x))
    }

    /// Back to the state before the first sample; the weights stay.
    pub fn reset(&mut self) {
        self.layers.iter_mut().for_each(|layer| layer.memory.reset());
    }
}
