//! One step of training.

use super::gradient_hook::{ClipNorm, GradientHook, Gradients, MaskHook, Observer};
use crate::checkpoint::{Checkpoint, Section};
use crate::optim::Optimizer;
use crate::params::{Masks, ParamStore};
use crate::schedule::{PlateauConfig, ReduceOnPlateau, Schedule};
use crate::{Error, Result};
use candle_core::Tensor;
use candle_core::backprop::GradStore;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::collections::BTreeMap;

/// An optimiser with what belongs around it: backward with [`backward`](crate::backward), hooks on the gradients, and a schedule of the learning rate.
///
/// The base learning rate is that of the optimiser when the trainer is made. Step `s`, from 0, takes `base · schedule(s) · plateau`, or `base · schedule(e) · plateau` with the number `e` of
/// ended epochs after [`Trainer::schedule_by_epoch`].
///
/// ```
/// # use candle_core::{DType, Device, Module, Tensor};
/// # use core_tensor::{nn, params::ParamStore};
/// use core_tensor::optim::{Sgd, SgdConfig};
/// use core_tensor::schedule::Schedule;
/// use core_tensor::train::Trainer;
/// let store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// let layer = nn::linear(3, 2, store.var_builder())?;
/// let sgd = Sgd::new(&store, SgdConfig { learning_rate: 0.1, ..Default::default() })?;
/// let mut trainer = Trainer::new(sgd).schedule(Schedule::Step { every: 10, gamma: 0.5 }).clip_norm(1.)?;
/// let x = Tensor::ones((4, 3), DType::F32, &Device::Cpu)?;
/// let step = trainer.step(&layer.forward(&x)?.sqr()?.mean_all()?)?;
/// assert_eq!((step.number, step.learning_rate), (0, 0.1));
/// assert!(step.gradient_norm.is_some());
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub struct Trainer {
    optimizer: Box<dyn Optimizer>,
    hooks: Vec<Box<dyn GradientHook>>,
    schedule: Schedule,
    is_by_epoch: bool,
    base: f64,
    progress: Progress,
    /// Gradients of [`Trainer::accumulate`].
    accumulated: Option<GradStore>,
}

/// What a checkpoint holds besides parameters and optimiser.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Progress {
    steps: u64,
    epochs: u64,
    plateau: Option<ReduceOnPlateau>,
}

/// What [`Trainer::step`] has done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The number of the step, from 0.
    pub number: u64,
    /// The learning rate that it took.
    pub learning_rate: f64,
    /// The norm of all gradients before they were clipped, with [`Trainer::clip_norm`].
    pub gradient_norm: Option<f64>,
}

impl Trainer {
    /// No hooks, and the optimiser's learning rate throughout.
    pub fn new(optimizer: impl Optimizer + 'static) -> Self {
        let base = optimizer.learning_rate();
        Self {
            optimizer: Box::new(optimizer),
            hooks: Vec::new(),
            schedule: Schedule::Constant,
            is_by_epoch: false,
            base,
            progress: Progress { steps: 0, epochs: 0, plateau: None },
            accumulated: None,
        }
    }

    /// With a schedule over steps.
    pub fn schedule(self, schedule: Schedule) -> Self {
        Self { schedule, is_by_epoch: false, ..self }
    }

    /// With a schedule over epochs, see [`Trainer::end_epoch`].
    pub fn schedule_by_epoch(self, schedule: Schedule) -> Self {
        Self { schedule, is_by_epoch: true, ..self }
    }

    /// With a factor of the learning rate that falls when the metric of [`Trainer::observe`] stops improving.
    ///
    /// # Errors
    /// Those of [`ReduceOnPlateau::new`].
    pub fn plateau(mut self, config: PlateauConfig) -> Result<Self> {
        self.progress.plateau = Some(ReduceOnPlateau::new(config)?);
        Ok(self)
    }

    /// With one more hook; hooks run in the order in which they were added.
    pub fn hook(mut self, hook: impl GradientHook) -> Self {
        self.hooks.push(Box::new(hook));
        self
    }

    /// The first hook of this type, for its statistics or its state.
    pub fn find_hook<H: GradientHook>(&mut self) -> Option<&mut H> {
        self.hooks.iter_mut().find_map(|hook| (hook.as_mut() as &mut dyn Any).downcast_mut())
    }

    /// With [`clip_grad_norm`](crate::optim::clip_grad_norm) as the next hook.
    ///
    /// # Errors
    /// A `max_norm` that is negative or NaN.
    pub fn clip_norm(self, max_norm: f64) -> Result<Self> {
        if max_norm.is_nan() || max_norm < 0. {
            let (operation, expected) = ("Trainer::clip_norm", "not negative");
            return Err(Error::Value { operation, what: "max_norm", got: max_norm, expected });
        }
        Ok(self.hook(ClipNorm(max_norm)))
    }

    /// With masks on gradients, as the next hook, and on values after each step.
    ///
    /// # Errors
    /// A mask without its parameter in the optimiser, or of another shape.
    pub fn masks(self, masks: Masks) -> Result<Self> {
        masks.positions("Trainer::masks", self.optimizer.parameters())?;
        Ok(self.hook(MaskHook(masks)))
    }

    /// Backpropagates from `loss`, runs the hooks, sets the learning rate and takes a step of the optimiser. Parameters that the loss does not reach stay as they are.
    ///
    /// # Errors
    /// A loss of more than one element, an operation on its tape that has no gradient, the errors of hooks and of the optimiser.
    pub fn step(&mut self, loss: &Tensor) -> Result<Step> {
        check_loss("Trainer::step", loss)?;
        let mut grads = match self.accumulated.take() {
            // an observer must not take these for whole gradients
            Some(sum) => sum_of(sum, crate::backward(loss)?, self.optimizer.as_ref())?,
            None => self.observed_backward(loss)?,
        };
        let parameters = self.optimizer.parameters().clone();
        let mut gradients = Gradients::new(&parameters, &mut grads);
        for at in 0..self.hooks.len() {
            if let Err(error) = self.hooks[at].apply(&mut gradients) {
                self.hooks[at + 1..].iter_mut().for_each(|hook| hook.abandon(&error));
                return Err(error);
            }
        }
        let gradient_norm = gradients.norm;
        let learning_rate = self.learning_rate();
        self.optimizer.set_learning_rate(learning_rate);
        self.optimizer.step(&grads)?;
        if !self.hooks.is_empty() {
            let changed = parameters.found(&grads);
            self.hooks.iter_mut().try_for_each(|hook| hook.after_step(&parameters, &changed))?;
        }
        let number = self.progress.steps;
        self.progress.steps += 1;
        Ok(Step { number, learning_rate, gradient_norm })
    }

    fn observed_backward(&mut self, loss: &Tensor) -> Result<GradStore> {
        let mut observers: Vec<Observer> = Vec::new();
        for at in 0..self.hooks.len() {
            match self.hooks[at].observer() {
                Ok(observer) => observers.extend(observer),
                Err(error) => {
                    self.hooks[..at].iter_mut().for_each(|hook| hook.abandon(&error));
                    return Err(error);
                }
            }
        }
        let grads = match observers.len() {
            0 => crate::backward(loss),
            _ => crate::backward_observed(loss, move |variable, gradient| {
                observers.iter_mut().for_each(|observer| observer(variable, gradient));
            }),
        };
        if let Err(error) = &grads {
            self.hooks.iter_mut().for_each(|hook| hook.abandon(error));
        }
        grads
    }

    /// Adds the gradients of `loss` to those of the next [`Trainer::step`]: for batches that do not fit at once. Divide the losses by the number of parts yourself.
    ///
    /// # Errors
    /// A loss of more than one element, or an operation on its tape that has no gradient.
    pub fn accumulate(&mut self, loss: &Tensor) -> Result<()> {
        check_loss("Trainer::accumulate", loss)?;
        let grads = crate::backward(loss)?;
        self.accumulated = Some(match self.accumulated.take() {
            Some(sum) => sum_of(sum, grads, self.optimizer.as_ref())?,
            None => grads,
        });
        Ok(())
    }

    /// The learning rate of the next step.
    pub fn learning_rate(&self) -> f64 {
        let time = if self.is_by_epoch { self.progress.epochs } else { self.progress.steps };
        let plateau = self.progress.plateau.as_ref().map_or(1., ReduceOnPlateau::factor);
        self.base * self.schedule.factor(time) * plateau
    }

    /// The number of steps taken.
    pub fn num_steps(&self) -> u64 {
        self.progress.steps
    }

    /// The number of epochs ended.
    pub fn num_epochs(&self) -> u64 {
        self.progress.epochs
    }

    /// Counts an epoch.
    pub fn end_epoch(&mut self) {
        self.progress.epochs += 1;
    }

    /// Tells the [plateau](Trainer::plateau) a metric; without one nothing happens.
    pub fn observe(&mut self, metric: f64) {
        if let Some(plateau) = &mut self.progress.plateau {
            plateau.observe(metric);
        }
    }

    /// The optimiser.
    pub fn optimizer(&self) -> &dyn Optimizer {
        self.optimizer.as_ref()
    }

    /// Parameters, optimiser, schedule and plateau. Add random streams, what is your own, and what hooks keep, then [save](Checkpoint::save) it.
    ///
    /// # Errors
    /// When memory runs out on a device.
    pub fn checkpoint(&self, store: &ParamStore) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint::new(self.progress.steps);
        checkpoint.parameters = store.snapshot()?;
        checkpoint.optimizer = Some(self.optimizer.state()?);
        checkpoint.sections.insert(SECTION.to_string(), Section::new(BTreeMap::new(), &self.progress)?);
        Ok(checkpoint)
    }

    /// Continues from a [checkpoint](Trainer::checkpoint) with the same bits. Configure the trainer as it was first; random streams are in [`Checkpoint::rng`].
    ///
    /// # Errors
    /// A checkpoint of other parameters, another optimiser, or none of a trainer.
    pub fn resume(&mut self, store: &ParamStore, checkpoint: &Checkpoint) -> Result<()> {
        let progress: Progress = checkpoint.section(SECTION)?.values(SECTION)?;
        if progress.plateau.is_some() != self.progress.plateau.is_some() {
            let reason = "the checkpoint has one and this trainer has none, or the other way round".to_string();
            return Err(Error::InvalidConfig { what: "plateau", reason });
        }
        let Some(state) = &checkpoint.optimizer else {
            return Err(Error::InvalidConfig { what: "checkpoint", reason: "has no optimiser".to_string() });
        };
        store.restore(&checkpoint.parameters)?;
        self.optimizer.load_state(state)?;
        self.progress = progress;
        self.accumulated = None;
        Ok(())
    }
}

const SECTION: &str = "trainer";

impl std::fmt::Debug for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer")
            .field("parameters", &self.optimizer.parameters().len())
            .field("hooks", &self.hooks.len())
            .field("schedule", &self.schedule)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

fn check_loss(operation: &'static str, loss: &Tensor) -> Result<()> {
    match loss.elem_count() {
        1 => Ok(()),
        _ => Err(Error::shape(operation, "the loss", loss.shape(), "one element")),
    }
}

/// The sums of the gradients that an optimiser looks at.
fn sum_of(mut sum: GradStore, grads: GradStore, optimizer: &dyn Optimizer) -> Result<GradStore> {
    let parameters = optimizer.parameters();
    for at in parameters.found(&grads) {
        let var = &parameters[at].1;
        if let Some(gradient) = grads.get(var) {
            let gradient = match sum.remove(var) {
                Some(known) => (known + gradient)?,
                None => gradient.clone(),
            };
            sum.insert(var, gradient);
        }
    }
    Ok(sum)
}
