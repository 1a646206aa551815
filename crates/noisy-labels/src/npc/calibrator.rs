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

/// A network, or a part of one, as a function of its input.
pub type Network<'a> = &'a dyn Fn(&Tensor, &mut Mode<'_>) -> core_tensor::Result<Tensor>;

/// What is in front of the auto-encoder: `F`, features `[batch, width]` of inputs. The authors take a copy of the classifier with a fresh last layer, trained along, and its logits.
#[derive(Clone, Copy)]
pub enum Extract<'a> {
    /// Nothing: the inputs are the features, as of a classifier that is a black box.
    Frozen,
    /// A network that is called twice in a step, for the encoder and for the decoder, with dropout of its own each time, as in the authors' program. A linear layer on frozen features is one too.
    Network(Network<'a>),
    /// A network whose part before its first dropout is called once in a step, since both passes agree there, and whose rest twice. The result is the same, but that running statistics of batch norms in the first part move once in a step instead of
    /// twice; a momentum of `1 − (1 − m)²` makes up for that.
    Split {
        /// Everything before the first dropout.
        trunk: Network<'a>,
        /// From the first dropout on.
        rest: Network<'a>,
    },
}

impl std::fmt::Debug for Extract<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Frozen => "Frozen",
            Self::Network(_) => "Network",
            Self::Split { .. } => "Split",
        })
    }
}

impl Extract<'_> {
    /// Features for the encoder and for the decoder.
    fn twice(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<[Tensor; 2]> {
        Ok(match self {
            Self::Frozen => [x.clone(), x.clone()],
            Self::Network(network) => [network(x, &mut mode.reborrow())?, network(x, &mut mode.reborrow())?],
            Self::Split { trunk, rest } => {
                let x = trunk(x, &mut mode.reborrow())?;
                [rest(&x, &mut mode.reborrow())?, rest(&x, &mut mode.reborrow())?]
            }
        })
    }

    fn once(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        Ok(match self {
            Self::Frozen => x.clone(),
            Self::Network(network) => network(x, mode)?,
            Self::Split { trunk, rest } => {
                let x = trunk(x, &mut mode.reborrow())?;
                rest(&x, mode)?
            }
        })
    }
}

/// Trains the auto-encoder, and what is in front of it, on inputs `[examples, …]`, the classes that the classifier predicts for them, and the prior's parameters `[examples, classes]`, as of
/// [`prior_of_classes`](super::prior_of_classes). `observe` gets the number of each epoch, from 1, and the mean loss of an example in it. [`Calibrator`](super::Calibrator) does all steps for features that are given.
///
/// # Errors
///
/// Lengths that do not fit, classes that do not exist, settings out of range, a loss that is not finite, cancellation, and the errors of the network and of `observe`.
#[allow(clippy::too_many_arguments, reason = "what the method is given")]
pub fn fit(
    vae: &PredictionVae,
    parameters: impl Into<Parameters>,
    extract: Extract<'_>,
    inputs: &Tensor,
    predicted: &[u32],
    prior: &[f64],
    config: &NpcConfig,
    cancellation: &Cancellation,
    mut observe: impl FnMut(usize, f64) -> Result<()>,
) -> Result<()> {
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
    for epoch in 1..=config.epochs {
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
            let [features, again] = extract.twice(&x, &mut Mode::train(&mut noise))?;
            let parts = vae.loss([&features, &again], &one_hot, &of_prior, &uniform, config.beta)?;
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
        observe(epoch, sum / examples as f64)?;
    }
    Ok(())
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
const EXAMPLES: usize = 512;

/// Corrects the classifier's probabilities `[examples, classes]` of the inputs `[examples, …]`. They are those of the original classifier, not of the network in front of the auto-encoder.
///
/// # Errors
///
/// Shapes that do not fit, and the errors of the network.
pub fn calibrate(
    vae: &PredictionVae,
    extract: Extract<'_>,
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
        let features = extract.once(&x, &mut Mode::evaluate())?;
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
