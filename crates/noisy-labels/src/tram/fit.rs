//! Training by every strategy that the paper compares.

use super::information::{Information, PiEncoder};
use super::loss::{LossWeights, weighted_heads};
use super::model::{Backbone, Tram};
use crate::{Error, Result};
use candle_core::Tensor;
use core_tensor::random::Rng;
use core_tensor::train::{Cancellation, Rest, Trainer, minibatches};
use core_tensor::{Mode, ops};

/// Inputs with labels from annotators: any number of annotations for an input, each with information.
#[derive(Debug, Clone, Copy)]
pub struct Annotated<'a> {
    inputs: &'a Tensor,
    examples: &'a [u32],
    labels: &'a [u32],
    information: &'a Information,
}

impl<'a> Annotated<'a> {
    /// Inputs `[inputs, …]`; for each annotation the input that it belongs to, and its label; and the information, a row for each annotation. Inputs without annotation are not trained on.
    ///
    /// # Errors
    ///
    /// No annotation, lengths that differ, inputs that do not exist.
    pub fn new(
        inputs: &'a Tensor,
        examples: &'a [u32],
        labels: &'a [u32],
        information: &'a Information,
    ) -> Result<Self> {
        const OP: &str = "Annotated";
        if labels.is_empty() {
            return Err(Error::Empty { operation: OP, what: "annotations" });
        }
        for (what, got) in [("inputs of annotations", examples.len()), ("rows of information", information.len())] {
            if got != labels.len() {
                return Err(Error::length(OP, what, got, labels.len()));
            }
        }
        let bound = inputs.dims().first().copied().unwrap_or(0);
        if let Some(position) = examples.iter().position(|&example| example as usize >= bound) {
            let (what, index) = ("the input of annotation", examples[position].into());
            return Err(Error::OutOfRange { operation: OP, what, position, index, bound });
        }
        Ok(Self { inputs, examples, labels, information })
    }

    /// How many annotations there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    pub(super) fn examples(&self) -> &'a [u32] {
        self.examples
    }

    pub(super) fn labels(&self) -> &'a [u32] {
        self.labels
    }

    pub(super) fn inputs(&self) -> &'a Tensor {
        self.inputs
    }

    pub(super) fn information(&self) -> &'a Information {
        self.information
    }

    pub(super) fn check(&self, operation: &'static str, classes: usize) -> Result<()> {
        match self.labels.iter().position(|&label| label as usize >= classes) {
            Some(position) => {
                let index = self.labels[position].into();
                Err(Error::OutOfRange { operation, what: "the label", position, index, bound: classes })
            }
            None => Ok(()),
        }
    }
}

/// Logits of the head with information: what distillation wants of its teacher. [`Tram`] is one.
pub trait Teacher {
    /// `[annotations, classes]` in evaluation mode, for inputs `[batch, …]`, the input of each annotation, and information `[annotations, P]`.
    ///
    /// # Errors
    ///
    /// Shapes that do not fit.
    fn informed(&self, x: &Tensor, places: &Tensor, information: &Tensor) -> Result<Tensor>;
}

impl<B: Backbone> Teacher for Tram<B> {
    fn informed(&self, x: &Tensor, places: &Tensor, information: &Tensor) -> Result<Tensor> {
        let features = self.features(x, &mut Mode::evaluate())?.detach();
        let rows = features.index_select(places, 0)?;
        Ok(self.informed_logits(&rows, information, &mut Mode::evaluate())?.detach())
    }
}

/// What is trained, and on what.
#[derive(Clone, Copy)]
pub enum Strategy<'a> {
    /// The head without information and the backbone through it: ordinary training, the control.
    NoInformation,
    /// The paper's method: the backbone through the head with information, the head without behind a stop of the gradient.
    Tram,
    /// The same with zeros in place of the information: what the second head alone gives, the control that TRAM has to beat for a claim about information.
    TramZero,
    /// The head with information and the backbone through it, for [`Tram::predict_marginal`]: full marginalisation and imputation (the authors leave out the residual there), and teachers.
    InformationOnly,
    /// `(1 − λ) CE(y, ψ) + λ CE(softmax(teacher / temperature), ψ)` (Lopez-Paz et al., "Unifying distillation and privileged information", ICLR 2016).
    Distillation {
        /// A network that was trained with information.
        teacher: &'a dyn Teacher,
        /// `λ`, 0.5.
        weight: f64,
        /// The temperature of the teacher, 1.
        temperature: f64,
    },
}

impl std::fmt::Debug for Strategy<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoInformation => f.write_str("NoInformation"),
            Self::Tram => f.write_str("Tram"),
            Self::TramZero => f.write_str("TramZero"),
            Self::InformationOnly => f.write_str("InformationOnly"),
            Self::Distillation { weight, temperature, .. } => {
                f.debug_struct("Distillation").field("weight", weight).field("temperature", temperature).finish()
            }
        }
    }
}

/// The settings of [`fit`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TramTraining {
    /// Passes over the inputs; 10.
    pub epochs: usize,
    /// Inputs of a step, each with its annotations; 64.
    pub batch_size: usize,
    /// The most annotations of an input in a step, drawn anew each time; `None` for all.
    pub annotations_per_step: Option<usize>,
    /// `w`, the weight of the loss without information; 1.
    pub weight: f64,
    /// The share of the target that is spread evenly over the classes, in both losses; 0.
    pub label_smoothing: f64,
    /// The seed of the order, of dropout and of other noise; 0.
    pub seed: u64,
}

impl Default for TramTraining {
    fn default() -> Self {
        Self { epochs: 10, batch_size: 64, annotations_per_step: None, weight: 1., label_smoothing: 0., seed: 0 }
    }
}

/// The mean losses of an epoch over its annotations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TramEpoch {
    /// The number of the epoch, from 1.
    pub epoch: usize,
    /// Of the head with information; `None` where it is not trained.
    pub with_information: Option<f64>,
    /// Of the head without; `None` where it is not trained.
    pub without_information: Option<f64>,
}

/// Trains a network. The trainer brings optimiser, schedule and clipping (Nesterov's momentum 0.9, 0.1 × batch / 128 and weight decay in the paper's Wide ResNet); parameters that a strategy does not reach stay as they are. Inputs of a batch are run
/// once, and their features repeated for their annotations; losses are means over annotations. `observe` is called after each epoch.
///
/// # Errors
///
/// Labels outside the classes, information that does not fit the encoder or the encoder that does not fit the network, settings out of range, a loss that is not finite, cancellation, and the errors of the backbone and of `observe`.
#[allow(clippy::too_many_arguments, reason = "what the method is given")]
pub fn fit<B: Backbone>(
    tram: &Tram<B>,
    trainer: &mut Trainer,
    data: Annotated<'_>,
    encoder: &PiEncoder,
    strategy: Strategy<'_>,
    config: &TramTraining,
    cancellation: &Cancellation,
    mut observe: impl FnMut(&TramEpoch) -> Result<()>,
) -> Result<()> {
    const OP: &str = "tram::fit";
    data.check(OP, tram.config().classes)?;
    if config.epochs == 0 {
        return Err(Error::config(OP, "epochs", 0, "at least 1"));
    }
    if config.annotations_per_step == Some(0) {
        return Err(Error::config(OP, "annotations_per_step", 0, "at least 1"));
    }
    if encoder.width() != tram.config().information {
        return Err(Error::length(OP, "places of the encoder", encoder.width(), tram.config().information));
    }
    let weights = LossWeights::new(OP, config.weight, config.label_smoothing)?;
    if let Strategy::Distillation { weight, temperature, .. } = strategy {
        if !(0. ..=1.).contains(&weight) {
            return Err(Error::config(OP, "the weight of distillation", weight, "from 0 to 1"));
        }
        let is_temperature = temperature.is_finite() && temperature > 0.;
        if !is_temperature {
            return Err(Error::config(OP, "temperature", temperature, "finite and above 0"));
        }
    }
    let groups = Groups::new(data.examples);
    let rng = Rng::new(config.seed);
    let (mut order, mut noise, mut choice) = (rng.fork("order"), rng.fork("noise"), rng.fork("annotations"));
    let (device, dtype) = (data.inputs.device(), data.inputs.dtype());
    for epoch in 1..=config.epochs {
        let mut sums = [0f64; 2];
        let mut annotations = 0;
        for batch in &minibatches(groups.len(), config.batch_size, Rest::Keep, &mut order)? {
            cancellation.check()?;
            let (mut inputs, mut places, mut rows) = (Vec::new(), Vec::new(), Vec::new());
            for (place, &group) in (0u32..).zip(batch) {
                let (input, mut all) = groups.of(group as usize);
                inputs.push(input);
                if let Some(most) = config.annotations_per_step
                    && all.len() > most
                {
                    let drawn = choice.sample_without_replacement(all.len(), most);
                    all = drawn.iter().map(|&at| all[at as usize]).collect();
                }
                places.extend(std::iter::repeat_n(place, all.len()));
                rows.extend(all);
            }
            let labels: Vec<u32> = rows.iter().map(|&row| data.labels[row as usize]).collect();
            annotations += rows.len();
            let x = data.inputs.detach().index_select(&Tensor::new(inputs, device)?, 0)?;
            let is_single = places.len() == batch.len();
            let places = Tensor::new(places, device)?;
            let labels = Tensor::new(labels, device)?;
            let repeated = |x: &Tensor| -> Result<Tensor> {
                Ok(if is_single { x.clone() } else { ops::index_select(x, &places, 0)? })
            };
            let mut mode = Mode::train(&mut noise);
            let features = tram.features(&x, &mut mode)?;
            let information = || encoder.encode(data.information, &rows, dtype, device);
            let zeros = || Ok::<_, Error>(Tensor::zeros((rows.len(), encoder.width()), dtype, device)?);
            let informed = |information: Tensor, mode: &mut Mode<'_>| {
                tram.informed_logits(&repeated(&features)?, &information, mode)
            };
            let [with, without] = match strategy {
                Strategy::NoInformation => [None, Some(tram.plain_logits(&features, &mut mode)?)],
                Strategy::InformationOnly => [Some(informed(information()?, &mut mode)?), None],
                Strategy::Tram | Strategy::TramZero => {
                    let is_zero = matches!(strategy, Strategy::TramZero);
                    let with = informed(if is_zero { zeros()? } else { information()? }, &mut mode)?;
                    [Some(with), Some(tram.plain_logits(&features.detach(), &mut mode)?)]
                }
                Strategy::Distillation { .. } => [None, Some(tram.plain_logits(&features, &mut mode)?)],
            };
            let without = without.map(|logits| repeated(&logits)).transpose()?;
            let mut loss = weighted_heads(with.as_ref(), without.as_ref(), &labels, &weights)?;
            if let (Strategy::Distillation { teacher, weight, temperature }, Some(logits)) = (strategy, &without) {
                let of_teacher = teacher.informed(&x, &places, &information()?)?;
                let target = ops::softmax(&ops::affine(&of_teacher, 1. / temperature, 0.)?)?.detach();
                let soft = ops::soft_cross_entropy(logits, &target)?;
                loss.total = ops::add(&ops::affine(&loss.total, 1. - weight, 0.)?, &ops::affine(&soft, weight, 0.)?)?;
            }
            let value = number(&loss.total)?;
            if !value.is_finite() {
                let (what, position) = ("the loss of step", trainer.num_steps() as usize);
                return Err(Error::Value { operation: OP, what, position, got: value, expected: "finite" });
            }
            for (sum, part) in sums.iter_mut().zip([&loss.with, &loss.without]) {
                if let Some(part) = part {
                    *sum += number(part)? * rows.len() as f64;
                }
            }
            trainer.step(&loss.total)?;
        }
        trainer.end_epoch();
        let [with, without] = sums.map(|sum| sum / annotations.max(1) as f64);
        let is_plain = matches!(strategy, Strategy::NoInformation | Strategy::Distillation { .. });
        observe(&TramEpoch {
            epoch,
            with_information: (!is_plain).then_some(with),
            without_information: (!matches!(strategy, Strategy::InformationOnly)).then_some(without),
        })?;
    }
    Ok(())
}

fn number(x: &Tensor) -> Result<f64> {
    Ok(x.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?)
}

/// The annotations of each input that has any.
struct Groups {
    inputs: Vec<u32>,
    starts: Vec<usize>,
    annotations: Vec<u32>,
}

impl Groups {
    fn new(examples: &[u32]) -> Self {
        let mut annotations: Vec<u32> = (0..examples.len() as u32).collect();
        annotations.sort_by_key(|&annotation| examples[annotation as usize]);
        let (mut inputs, mut starts) = (Vec::new(), Vec::new());
        for (at, &annotation) in annotations.iter().enumerate() {
            let input = examples[annotation as usize];
            if inputs.last() != Some(&input) {
                inputs.push(input);
                starts.push(at);
            }
        }
        starts.push(annotations.len());
        Self { inputs, starts, annotations }
    }

    fn len(&self) -> usize {
        self.inputs.len()
    }

    fn of(&self, group: usize) -> (u32, Vec<u32>) {
        (self.inputs[group], self.annotations[self.starts[group]..self.starts[group + 1]].to_vec())
    }
}
