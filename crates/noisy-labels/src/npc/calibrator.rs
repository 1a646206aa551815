//! Training of the auto-encoder, and corrected predictions.

use super::vae::{PredictionVae, corrected};
use crate::{Error, Result};
use candle_core::Tensor;
use core_tensor::optim::{Adam, AdamConfig};
use core_tensor::params::Parameters;
use core_tensor::random::Rng;
use core_tensor::train::{Cancellation, Rest, Trainer, minibatches};
use core_tensor::{Mode, ops};

/// The settings of [`fit`]; the defaults are the paper's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NpcConfig {
    /// Passes over the examples; 10.
    pub epochs: usize,
    /// Examples of a step; 128.
    pub batch_size: usize,
    /// The step size of Adam; 0.001.
    pub learning_rate: f64,
    /// The weight `β` of the divergence from the prior; 1.
    pub beta: f64,
    /// Divides the loss of a step by the number of its examples instead of summing it, as clipping and SGD need it; the paper sums. False.
    pub is_mean: bool,
    /// The seed of the order of the examples, the samples, and the noise of the network; 0.
    pub seed: u64,
}

impl Default for NpcConfig {
    fn default() -> Self {
        Self { epochs: 10, batch_size: 128, learning_rate: 1e-3, beta: 1., is_mean: false, seed: 0 }
    }
}

/// The network `F` in front of the auto-encoder: features `[batch, width]` of inputs. It is called twice in a step, for the encoder and for the decoder, with dropout of its own each time, as in the authors' program.
pub type Extract<'a> = &'a dyn Fn(&Tensor, &mut Mode<'_>) -> core_tensor::Result<Tensor>;

/// Trains the auto-encoder, and the network in front of it if there is one, on inputs `[examples, …]`, the classes that the classifier predicts for them, and the prior's parameters `[examples, classes]`, as of
/// [`prior_of_classes`](super::prior_of_classes). Without a network the inputs are the features themselves: a classifier that is a black box is corrected that way. Returns the mean loss of an example in each epoch.
///
/// # Errors
///
/// Lengths that do not fit, classes that do not exist, settings out of range, a loss that is not finite, cancellation, and the errors of the network.
#[allow(clippy::too_many_arguments, reason = "what the method is given")]
pub fn fit(
    vae: &PredictionVae,
    parameters: impl Into<Parameters>,
    extract: Option<Extract<'_>>,
    inputs: &Tensor,
    predicted: &[u32],
    prior: &[f64],
    config: &NpcConfig,
    cancellation: &Cancellation,
) -> Result<Vec<f64>> {
    const OP: &str = "fit";
    let (examples, classes) = (predicted.len(), vae.num_classes());
    if examples == 0 {
        return Err(Error::Empty { operation: OP, what: "examples" });
    }
    if inputs.dims().first() != Some(&examples) {
        return Err(Error::shape(OP, "inputs", inputs, format!("[{examples}, …] as many as predicted classes")));
    }
    if prior.len() != examples * classes {
        return Err(Error::length(OP, "parameters of the prior", prior.len(), examples * classes));
    }
    if let Some(position) = prior.iter().position(|alpha| !(alpha.is_finite() && *alpha > 0.)) {
        let (what, got, expected) = ("the parameter of the prior", prior[position], "finite and above 0");
        return Err(Error::Value { operation: OP, what, position, got, expected });
    }
    if let Some(position) = predicted.iter().position(|&class| class as usize >= classes) {
        let index = predicted[position].into();
        return Err(Error::OutOfRange { operation: OP, what: "the predicted class", position, index, bound: classes });
    }
    if config.epochs == 0 {
        return Err(Error::config(OP, "epochs", 0, "at least 1"));
    }
    let adam = AdamConfig { learning_rate: config.learning_rate, ..Default::default() };
    let mut trainer = Trainer::new(Adam::new(parameters, adam)?);
    let rng = Rng::new(config.seed);
    let (mut order, mut samples, mut noise) = (rng.fork("order"), rng.fork("samples"), rng.fork("noise"));
    let (device, dtype) = (inputs.device(), inputs.dtype());
    let mut losses = Vec::with_capacity(config.epochs);
    for _ in 0..config.epochs {
        let mut sum = 0.;
        for batch in &minibatches(examples, config.batch_size, Rest::Keep, &mut order)? {
            cancellation.check()?;
            let rows = Tensor::new(batch, device)?;
            let x = inputs.detach().index_select(&rows, 0)?;
            let mut of_prior = Vec::with_capacity(batch.len() * classes);
            let mut one_hot = vec![0f64; batch.len() * classes];
            for (at, &example) in batch.iter().enumerate() {
                of_prior.extend_from_slice(&prior[example as usize * classes..][..classes]);
                one_hot[at * classes + predicted[example as usize] as usize] = 1.;
            }
            let shape = (batch.len(), classes);
            let matrix = |values: Vec<f64>| Tensor::from_vec(values, shape, device)?.to_dtype(dtype);
            let (of_prior, one_hot) = (matrix(of_prior)?, matrix(one_hot)?);
            let uniform = samples.uniform(0., 1., shape, dtype, device)?;
            let mut features = || match extract {
                Some(extract) => extract(&x, &mut Mode::train(&mut noise)),
                None => Ok(x.clone()),
            };
            let parts = vae.loss([&features()?, &features()?], &one_hot, &of_prior, &uniform, config.beta)?;
            let value = parts.loss.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
            if !value.is_finite() {
                let (what, position) = ("the loss of step", trainer.num_steps() as usize);
                return Err(Error::Value { operation: OP, what, position, got: value, expected: "finite" });
            }
            sum += value;
            let loss = match config.is_mean {
                true => ops::affine(&parts.loss, 1. / batch.len() as f64, 0.)?,
                false => parts.loss,
            };
            trainer.step(&loss)?;
        }
        trainer.end_epoch();
        losses.push(sum / examples as f64);
    }
    Ok(losses)
}

/// What [`calibrate`] gives.
#[derive(Debug, Clone)]
pub struct Calibrated {
    /// `[examples, classes]`: the corrected probabilities.
    pub probabilities: Tensor,
    /// `H`, `[examples, predicted, true]`.
    pub transition: Tensor,
}

/// Examples that are corrected at a time.
const EXAMPLES: usize = 4096;

/// Corrects the classifier's probabilities `[examples, classes]` of the inputs `[examples, …]`. They are those of the original classifier, not of the network in front of the auto-encoder.
///
/// # Errors
///
/// Shapes that do not fit, and the errors of the network.
pub fn calibrate(
    vae: &PredictionVae,
    extract: Option<Extract<'_>>,
    inputs: &Tensor,
    probabilities: &Tensor,
) -> Result<Calibrated> {
    let (examples, classes) = probabilities.dims2()?;
    if inputs.dims().first() != Some(&examples) {
        return Err(Error::shape("calibrate", "inputs", inputs, format!("[{examples}, …] as many as probabilities")));
    }
    let (mut all, mut transitions) = (Vec::new(), Vec::new());
    for start in (0..examples).step_by(EXAMPLES) {
        let count = EXAMPLES.min(examples - start);
        let x = inputs.detach().narrow(0, start, count)?;
        let features = match extract {
            Some(extract) => extract(&x, &mut Mode::evaluate())?,
            None => x,
        };
        let transition = vae.transition(&features)?.detach();
        all.push(corrected(&probabilities.detach().narrow(0, start, count)?, &transition)?);
        transitions.push(transition);
    }
    if all.is_empty() {
        let transition = Tensor::zeros((0, classes, classes), probabilities.dtype(), probabilities.device())?;
        return Ok(Calibrated { probabilities: probabilities.clone(), transition });
    }
    Ok(Calibrated { probabilities: Tensor::cat(&all, 0)?, transition: Tensor::cat(&transitions, 0)? })
}
