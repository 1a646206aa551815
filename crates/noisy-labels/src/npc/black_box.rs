//! All steps for a classifier of which only probabilities and features are known.

use super::calibrator::{Calibrated, Extract, NpcConfig, calibrate, fit};
use super::prior::{neighbour_votes, prior_of_classes, prior_of_votes, references};
use super::vae::{PredictionVae, corrected, prediction_vae};
use crate::neighbours::Points;
use crate::{Error, Probabilities, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::Module as _;
use core_tensor::Mode;
use core_tensor::kernel::Real;
use core_tensor::nn::{self, Linear};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::Cancellation;

/// Where the prior comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Prior<'a> {
    /// The votes of the neighbours: of each batch of `batch_size` examples the most certain one of each predicted class is a reference, and the `k` nearest references vote.
    Neighbours {
        /// 10, or as many as there are references.
        k: usize,
        /// 128.
        batch_size: usize,
        /// `None`: all the strength goes to the class with the most votes, as in the paper's main runs. Otherwise it is shared by this many classes as they were voted for.
        top: Option<usize>,
    },
    /// The same for all classes.
    Uniform,
    /// `[examples, classes]`: what is known of the true labels from elsewhere, as votes or probabilities that get the strength.
    Given(&'a [f64]),
}

/// The settings of [`Calibrator::fit`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibratorConfig<'a> {
    /// The prior; neighbours with the paper's settings.
    pub prior: Prior<'a>,
    /// `ρ`, the strength of the prior; 5.
    pub strength: f64,
    /// Whether features are brought to mean 0 and standard deviation 1 first (by those of the training examples); true. Neighbours are those of the features as they are.
    pub standardises: bool,
    /// Puts a linear layer with as many outputs as classes, trained along, in front of the auto-encoder; false.
    pub has_probe: bool,
    /// The training.
    pub training: NpcConfig,
}

impl Default for CalibratorConfig<'_> {
    fn default() -> Self {
        Self {
            prior: Prior::Neighbours { k: 10, batch_size: 128, top: None },
            strength: 5.,
            standardises: true,
            has_probe: false,
            training: NpcConfig::default(),
        }
    }
}

/// Noisy prediction calibration of a black box: neither its network nor its training are needed.
#[derive(Debug, Clone)]
pub struct Calibrator {
    vae: PredictionVae,
    probe: Option<Linear>,
    mean: Vec<f64>,
    scale: Vec<f64>,
    votes: Option<Vec<f64>>,
    losses: Vec<f64>,
}

impl Calibrator {
    /// Learns from the probabilities that a classifier has for the examples that it was trained on, and from its features of them (what its last layer sees).
    ///
    /// # Errors
    ///
    /// No example, lengths that differ, no neighbour, a prior that is negative or not finite, settings out of range, cancellation.
    ///
    /// ```
    /// use noisy_labels::neighbours::Points;
    /// use noisy_labels::npc::{Calibrator, CalibratorConfig, Prior};
    /// use noisy_labels::{Probabilities, npc::NpcConfig};
    ///
    /// // Two classes on two sides; every fourth prediction is wrong, and less certain.
    /// let n = 400;
    /// let features: Vec<f32> = (0..n).map(|at| if at % 2 == 0 { 1. } else { -1. } + at as f32 * 1e-3).collect();
    /// let p: Vec<f32> = (0..n)
    ///     .flat_map(|at| {
    ///         let right = if at % 8 < 2 { 0.3 } else { 0.8 };
    ///         if at % 2 == 0 { [right, 1. - right] } else { [1. - right, right] }
    ///     })
    ///     .collect();
    /// let (p, features) = (Probabilities::new(&p, 2)?, Points::new(&features, 1)?);
    /// let prior = Prior::Neighbours { k: 3, batch_size: 32, top: None };
    /// let training = NpcConfig { epochs: 40, learning_rate: 0.02, batch_size: 32, ..Default::default() };
    /// let config = CalibratorConfig { prior, training, ..Default::default() };
    /// let calibrator = Calibrator::fit(p, features, &config, &Default::default())?;
    /// let corrected = calibrator.correct(p, features)?.argmax(1)?.to_vec1::<u32>()?;
    /// let right = corrected.iter().zip(0..).filter(|(class, at)| **class == at % 2).count();
    /// assert!(right > 380);
    /// # Ok::<(), noisy_labels::Error>(())
    /// ```
    pub fn fit<P: Copy + Into<f64>, T: Real>(
        probabilities: Probabilities<'_, P>,
        features: Points<'_, T>,
        config: &CalibratorConfig<'_>,
        cancellation: &Cancellation,
    ) -> Result<Self> {
        Self::fit_with(probabilities, features, config, cancellation, |_, _| Ok(()))
    }

    /// [`Calibrator::fit`], with a function that is called after each pass of the training with its number, from 1, and the mean loss of an example in it.
    ///
    /// # Errors
    ///
    /// As [`Calibrator::fit`], and those of `observe`.
    pub fn fit_with<P: Copy + Into<f64>, T: Real>(
        probabilities: Probabilities<'_, P>,
        features: Points<'_, T>,
        config: &CalibratorConfig<'_>,
        cancellation: &Cancellation,
        mut observe: impl FnMut(usize, f64) -> Result<()>,
    ) -> Result<Self> {
        const OP: &str = "Calibrator::fit";
        let (examples, classes, width) = (probabilities.len(), probabilities.num_classes(), features.width());
        if examples == 0 {
            return Err(Error::Empty { operation: OP, what: "examples" });
        }
        if features.len() != examples {
            return Err(Error::length(OP, "rows of features", features.len(), examples));
        }
        let mut votes = None;
        let prior = match config.prior {
            Prior::Neighbours { k, batch_size, top } => {
                let order = Rng::new(config.training.seed).fork("references").permutation(examples);
                let references = references(probabilities, &order, batch_size)?;
                let found = neighbour_votes(features, &references, classes, k.min(references.examples.len()))?;
                let prior = match top {
                    None => prior_of_classes(&found, classes, config.strength)?,
                    Some(top) => prior_of_votes(&found, classes, config.strength, top)?,
                };
                votes = Some(found);
                prior
            }
            Prior::Uniform => vec![1. + 1. / classes as f64; examples * classes],
            Prior::Given(given) => {
                if given.len() != examples * classes {
                    return Err(Error::length(OP, "numbers of the prior", given.len(), examples * classes));
                }
                if let Some(position) = given.iter().position(|x| !(x.is_finite() && *x >= 0.)) {
                    let (what, got, expected) = ("the number of the prior", given[position], "finite and not negative");
                    return Err(Error::Value { operation: OP, what, position, got, expected });
                }
                prior_of_votes(given, classes, config.strength, classes)?
            }
        };
        let (mean, scale) = match config.standardises {
            true => moments(features),
            false => (vec![0.; width], vec![1.; width]),
        };
        let store = ParamStore::new(config.training.seed, DType::F32, &Device::Cpu);
        let probe = match config.has_probe {
            true => Some(nn::linear(width, classes, store.var_builder().pp("probe"))?),
            false => None,
        };
        let inputs = if config.has_probe { classes } else { width };
        let vae = prediction_vae(classes, inputs, store.var_builder())?;
        let mut calibrator = Self { vae, probe, mean, scale, votes, losses: Vec::new() };
        let x = calibrator.tensor(features)?;
        let predicted: Vec<u32> = (0..examples).map(|row| probabilities.most_probable(row) as u32).collect();
        let mut losses = Vec::new();
        let observe = |epoch, loss| {
            losses.push(loss);
            observe(epoch, loss)
        };
        calibrator.with_extract(|extract| {
            fit(&calibrator.vae, &store, extract, &x, &predicted, &prior, &config.training, cancellation, observe)
        })?;
        calibrator.losses = losses;
        Ok(calibrator)
    }

    /// Corrected probabilities and `H` of examples, the same ones or others: the classifier's probabilities of them and its features.
    ///
    /// # Errors
    ///
    /// Lengths, classes or a number of features that do not fit.
    pub fn calibrate<P: Copy + Into<f64>, T: Real>(
        &self,
        probabilities: Probabilities<'_, P>,
        features: Points<'_, T>,
    ) -> Result<Calibrated> {
        let (p, x) = self.inputs("Calibrator::calibrate", probabilities, features)?;
        self.with_extract(|extract| calibrate(&self.vae, extract, &x, &p))
    }

    /// `[examples, classes]`: the corrected probabilities alone, without keeping `H`, which is as large as the number of classes times as much.
    ///
    /// # Errors
    ///
    /// As for [`Calibrator::calibrate`].
    pub fn correct<P: Copy + Into<f64>, T: Real>(
        &self,
        probabilities: Probabilities<'_, P>,
        features: Points<'_, T>,
    ) -> Result<Tensor> {
        let (p, x) = self.inputs("Calibrator::correct", probabilities, features)?;
        let rows = p.dims()[0];
        let mut parts = Vec::new();
        for start in (0..rows).step_by(512) {
            let count = 512.min(rows - start);
            let part = x.narrow(0, start, count)?;
            let features = match &self.probe {
                Some(probe) => probe.forward(&part)?,
                None => part,
            };
            parts.push(corrected(&p.narrow(0, start, count)?, &self.vae.transition(&features)?)?.detach());
        }
        Ok(if parts.is_empty() { p } else { Tensor::cat(&parts, 0)? })
    }

    /// `[examples, classes]`: the votes of the neighbours about the training examples; `None` with another prior.
    pub fn votes(&self) -> Option<&[f64]> {
        self.votes.as_deref()
    }

    /// The mean loss of an example in each epoch.
    pub fn losses(&self) -> &[f64] {
        &self.losses
    }

    fn inputs<P: Copy + Into<f64>, T: Real>(
        &self,
        operation: &'static str,
        probabilities: Probabilities<'_, P>,
        features: Points<'_, T>,
    ) -> Result<(Tensor, Tensor)> {
        let (rows, classes) = (probabilities.len(), probabilities.num_classes());
        if classes != self.vae.num_classes() {
            return Err(Error::length(operation, "classes", classes, self.vae.num_classes()));
        }
        if features.len() != rows {
            return Err(Error::length(operation, "rows of features", features.len(), rows));
        }
        if features.width() != self.mean.len() {
            return Err(Error::length(operation, "features", features.width(), self.mean.len()));
        }
        let p: Vec<f32> = probabilities.rows().flatten().map(|&p| p.into() as f32).collect();
        Ok((Tensor::from_vec(p, (rows, classes), &Device::Cpu)?, self.tensor(features)?))
    }

    fn tensor<T: Real>(&self, features: Points<'_, T>) -> Result<Tensor> {
        let width = features.width();
        let mut values = Vec::with_capacity(features.len() * width);
        for row in 0..features.len() {
            let scaled = features.row(row).iter().zip(self.mean.iter().zip(&self.scale));
            values.extend(scaled.map(|(x, (mean, scale))| ((x.to_f64() - mean) * scale) as f32));
        }
        Ok(Tensor::from_vec(values, (features.len(), width), &Device::Cpu)?)
    }

    fn with_extract<R>(&self, f: impl FnOnce(Extract<'_>) -> Result<R>) -> Result<R> {
        match &self.probe {
            None => f(Extract::Frozen),
            Some(probe) => f(Extract::Network(&|x: &Tensor, _: &mut Mode<'_>| Ok(probe.forward(x)?))),
        }
    }
}

/// The mean of each feature, and 1 over its standard deviation, 0 for a feature that is the same everywhere.
fn moments<T: Real>(features: Points<'_, T>) -> (Vec<f64>, Vec<f64>) {
    let (rows, width) = (features.len(), features.width());
    let mut mean = vec![0f64; width];
    for row in 0..rows {
        mean.iter_mut().zip(features.row(row)).for_each(|(mean, x)| *mean += x.to_f64() / rows as f64);
    }
    let mut variance = vec![0f64; width];
    for row in 0..rows {
        for ((variance, mean), x) in variance.iter_mut().zip(&mean).zip(features.row(row)) {
            *variance += (x.to_f64() - mean).powi(2) / rows as f64;
        }
    }
    let scale = variance.iter().zip(&mean).map(|(variance, mean)| {
        let deviation = variance.sqrt();
        // Below this it is rounding.
        if deviation > 1e-7 * mean.abs() { 1. / deviation } else { 0. }
    });
    let scale = scale.collect();
    (mean, scale)
}
