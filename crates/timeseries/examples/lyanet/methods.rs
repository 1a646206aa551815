//! The models, and how they are trained.

use candle_core::{DType, Device, Module, Tensor};
use core_tensor::nn::{self, BatchNormConfig};
use core_tensor::ops::Conv2dConfig;
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::{Rest, minibatches};
use core_tensor::{Mode, ops};
use experiment::{Result, TrialContext};
use serde::{Deserialize, Serialize};
use timeseries::lyanet::{
    ClassDynamics, ClassDynamicsConfig, ContinuousNet, ContinuousNetConfig, GainSchedule, LyaNet, LyapunovLoss, Region,
};
use timeseries::ode::{Solve, Tableau};
use vision::{ImageNetwork, Normalization, ResNetConfig};

/// A model and its training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Method {
    /// The Lyapunov loss at a fixed gain.
    LyaNet(f64),
    /// The Lyapunov loss with the growing gain of the paper's code, from 5.
    Schedule,
    /// The same from 100, as in the paper.
    PaperSchedule,
    /// The same model trained by the cross-entropy of its solution at a fixed gain.
    NeuralOde(f64),
    /// First values.
    Untrained,
    /// The same network with a linear layer in the place of the dynamics.
    Direct,
    /// ContinuousNet by the cross-entropy.
    ContinuousNet,
    /// ContinuousNet by the discrete Lyapunov loss.
    ContinuousLyaNet,
}

impl Method {
    pub(crate) fn name(self) -> String {
        match self {
            Self::LyaNet(gain) => format!("LyaNet, gain {gain}"),
            Self::Schedule => "LyaNet, growing gain".to_owned(),
            Self::PaperSchedule => "LyaNet, the paper's gain".to_owned(),
            Self::NeuralOde(gain) => format!("neural ODE, gain {gain}"),
            Self::Untrained => "untrained dynamics".to_owned(),
            Self::Direct => "the network alone".to_owned(),
            Self::ContinuousNet => "ContinuousNet".to_owned(),
            Self::ContinuousLyaNet => "ContinuousNet, Lyapunov".to_owned(),
        }
    }

    pub(crate) fn gain(self) -> f64 {
        match self {
            Self::LyaNet(gain) | Self::NeuralOde(gain) => gain,
            Self::Schedule => 5.,
            Self::PaperSchedule => 100.,
            _ => 1.,
        }
    }

    /// Whether there is a trajectory from 0 to 1.
    pub(crate) fn has_dynamics(self) -> bool {
        !matches!(self, Self::Direct | Self::ContinuousNet | Self::ContinuousLyaNet)
    }
}

/// The network of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    /// Points of the plane: 2 → 64 → 64 → m².
    Spiral,
    /// Images of 28 × 28: three convolutions of stride 2 with batch norm, and a linear layer.
    Images,
    /// The paper's: ResNet-18 with a first convolution of 7 × 7.
    Paper { channels: usize, classes: usize },
}

impl Data {
    pub(crate) fn classes(self) -> usize {
        match self {
            Self::Spiral => 3,
            Self::Images => 10,
            Self::Paper { classes, .. } => classes,
        }
    }

    pub(crate) fn width(self) -> usize {
        match self {
            Self::Spiral => 16,
            Self::Images => 32,
            Self::Paper { .. } => 128,
        }
    }

    /// Of the first convolutions of ContinuousNet.
    fn continuous_width(self) -> usize {
        if matches!(self, Self::Paper { .. }) { 16 } else { 8 }
    }

    fn channels(self) -> usize {
        if let Self::Paper { channels, .. } = self { channels } else { 1 }
    }
}

/// How a model is trained.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Training {
    pub(crate) epochs: usize,
    pub(crate) batch: usize,
    /// States of the Lyapunov loss.
    pub(crate) states: usize,
    /// Steps of Runge-Kutta in the training of the neural ODE.
    pub(crate) steps: usize,
    pub(crate) schedule: GainSchedule,
    pub(crate) augmentation: Option<vision::Augmentation>,
    pub(crate) seed: u64,
}

impl Training {
    /// Ours: batches of 64 examples and 64 states, for a few epochs.
    pub(crate) fn small(epochs: usize, seed: u64) -> Self {
        // the paper's gain may fall in 60 of 120 epochs
        let schedule = GainSchedule { falling_epochs: 2, ..GainSchedule::default() };
        Self { epochs, batch: BATCH, states: STATES, steps: 20, schedule, augmentation: None, seed }
    }
}

pub(crate) const BATCH: usize = 64;
pub(crate) const STATES: usize = 64;

type Map = Box<dyn Fn(&Tensor, &mut Mode<'_>) -> timeseries::Result<Tensor>>;

/// A model with its parameters.
pub(crate) struct Model {
    pub(crate) store: ParamStore,
    pub(crate) kind: Kind,
    /// Of the inputs, which are standardised inside of the model.
    standard: Option<Normalization>,
}

pub(crate) enum Kind {
    Dynamics(LyaNet<Map>),
    Plain(Map),
    Continuous(Box<ContinuousNet>),
}

fn spiral_map(outputs: usize, store: &ParamStore) -> Result<Map> {
    let vb = store.var_builder().pp("map");
    let layers =
        [nn::linear(2, 64, vb.pp("0"))?, nn::linear(64, 64, vb.pp("1"))?, nn::linear(64, outputs, vb.pp("2"))?];
    Ok(Box::new(move |x, _| {
        let x = ops::relu(&layers[0].forward(x)?)?;
        let x = ops::relu(&layers[1].forward(&x)?)?;
        Ok(layers[2].forward(&x)?)
    }))
}

fn image_map(outputs: usize, store: &ParamStore) -> Result<Map> {
    let vb = store.var_builder().pp("map");
    let config = Conv2dConfig { stride: (2, 2), padding: (1, 1), ..Conv2dConfig::default() };
    let mut layers = Vec::new();
    for (at, pair) in [1, 16, 32, 64].windows(2).enumerate() {
        let vb = vb.pp(at.to_string());
        let conv = nn::conv2d_no_bias(pair[0], pair[1], 3, config, vb.pp("conv"))?;
        layers.push((conv, nn::batch_norm2d(pair[1], BatchNormConfig::default(), vb.pp("norm"))?));
    }
    let last = nn::linear(64 * 16, outputs, vb.pp("last"))?;
    Ok(Box::new(move |x, mode| {
        let mut x = x.clone();
        for (conv, norm) in &layers {
            x = norm.forward_relu(&conv.forward(&x)?, mode)?;
        }
        Ok(last.forward(&x.flatten_from(1)?)?)
    }))
}

fn paper_map(outputs: usize, channels: usize, store: &ParamStore) -> Result<Map> {
    let config = ResNetConfig { input_channels: channels, ..ResNetConfig::resnet18(outputs) };
    let network = vision::resnet(&config, store.var_builder().pp("map"))?;
    Ok(Box::new(move |x, mode| network.forward(x, mode).map_err(|error| candle_core::Error::from(error).into())))
}

impl Model {
    pub(crate) fn new(method: Method, data: Data, standard: Option<Normalization>, seed: u64) -> Result<Self> {
        let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
        let (classes, width) = (data.classes(), data.width());
        let map = |outputs: usize| match data {
            Data::Spiral => spiral_map(outputs, &store),
            Data::Images => image_map(outputs, &store),
            Data::Paper { channels, .. } => paper_map(outputs, channels, &store),
        };
        let kind = match method {
            Method::Direct => Kind::Plain(map(classes)?),
            Method::ContinuousNet | Method::ContinuousLyaNet => {
                let width = data.continuous_width();
                let config = ContinuousNetConfig { width, ..ContinuousNetConfig::new(data.channels(), classes) };
                Kind::Continuous(Box::new(ContinuousNet::new(config, store.var_builder())?))
            }
            _ => {
                let config = ClassDynamicsConfig::new(classes, width);
                let dynamics = ClassDynamics::new(config, store.var_builder().pp("dynamics"))?;
                Kind::Dynamics(LyaNet::new(map(width * width)?, dynamics.with_gain(method.gain())?))
            }
        };
        Ok(Self { store, kind, standard })
    }

    pub(crate) fn standardised(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match &self.standard {
            Some(standard) => standard.apply(x)?,
            None => x.clone(),
        })
    }

    /// Logits at the end, for inputs that are not standardised.
    pub(crate) fn logits(&self, x: &Tensor, options: &Solve, mode: &mut Mode<'_>) -> Result<Tensor> {
        let x = self.standardised(x)?;
        Ok(match &self.kind {
            Kind::Dynamics(net) => net.logits(&x, options, mode)?,
            Kind::Plain(map) => map(&x, mode)?,
            Kind::Continuous(net) => net.forward(&x, mode)?,
        })
    }
}

/// Runge-Kutta steps of a number on `[0, 1]`.
pub(crate) fn steps(count: usize) -> Solve {
    Solve::default().method(Tableau::rk4()).fixed(1. / count as f64)
}

/// What a training did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct History {
    /// The fraction of violating pairs in each epoch; empty without the Lyapunov loss.
    pub(crate) violating: Vec<f64>,
    /// The gain at the end of each epoch.
    pub(crate) gains: Vec<f64>,
    /// The mean loss of each epoch.
    pub(crate) losses: Vec<f64>,
}

/// One epoch; returns the mean loss and the mean fraction of violations.
pub(crate) fn epoch(
    model: &mut Model,
    (method, number): (Method, usize),
    (x, labels): (&Tensor, &[u32]),
    (training, optimizer): (&Training, &mut dyn Optimizer),
    rng: &mut Rng,
) -> Result<(f64, f64)> {
    let loss = LyapunovLoss::default();
    let region = Region::UniformRadius { half_range: 15. };
    let (mut total, mut violating, mut count) = (0., 0., 0.);
    for batch in &minibatches(labels.len(), training.batch, Rest::Keep, &mut rng.fork(&format!("order {number}")))? {
        let ids = Tensor::new(batch, &Device::Cpu)?;
        let own: Vec<u32> = batch.iter().map(|&at| labels[at as usize]).collect();
        let mut inputs = ops::index_select(x, &ids, 0)?;
        if let Some(augmentation) = training.augmentation {
            inputs = augmentation.apply(&inputs, rng)?;
        }
        let inputs = model.standardised(&inputs)?;
        let mut noise = rng.fork("noise");
        let mut mode = Mode::train(&mut noise);
        let targets = Tensor::new(own.as_slice(), &Device::Cpu)?;
        let value = match (&mut model.kind, method) {
            (Kind::Dynamics(net), Method::LyaNet(_) | Method::Schedule | Method::PaperSchedule) => {
                let found = net.loss(&inputs, &own, &loss, (region, training.states), rng, &mut mode)?;
                let fraction = found.violating()?;
                violating += fraction;
                if matches!(method, Method::Schedule | Method::PaperSchedule) {
                    let schedule = &training.schedule;
                    net.dynamics = net.dynamics.with_gain(schedule.after(net.dynamics.gain(), fraction, number))?;
                }
                found.loss
            }
            (Kind::Dynamics(net), _) => {
                ops::cross_entropy(&net.logits(&inputs, &steps(training.steps), &mut mode)?, &targets)?
            }
            (Kind::Plain(map), _) => ops::cross_entropy(&map(&inputs, &mut mode)?, &targets)?,
            (Kind::Continuous(net), Method::ContinuousLyaNet) => net.lyapunov_loss(&inputs, &targets, &mut mode)?,
            (Kind::Continuous(net), _) => ops::cross_entropy(&net.forward(&inputs, &mut mode)?, &targets)?,
        };
        optimizer.backward_step(&value)?;
        total += f64::from(value.to_scalar::<f32>()?);
        count += 1.;
    }
    Ok((total / count, violating / count))
}

/// Trains a model by Adam. `after` sees the model after each epoch.
pub(crate) fn train(
    model: &mut Model,
    method: Method,
    data: (&Tensor, &[u32]),
    training: &Training,
    trial: &TrialContext,
) -> Result<History> {
    let mut adam = Adam::new(&model.store, AdamConfig { learning_rate: 1e-3, ..AdamConfig::default() })?;
    train_by(model, method, data, (training, &mut adam), trial, &mut |_, _, _| Ok(()))
}

/// What is done after each epoch, with its number from 1.
type After<'a> = &'a mut dyn FnMut(usize, &Model, &mut dyn Optimizer) -> Result<()>;

/// Trains a model by any optimiser.
pub(crate) fn train_by(
    model: &mut Model,
    method: Method,
    data: (&Tensor, &[u32]),
    (training, optimizer): (&Training, &mut dyn Optimizer),
    trial: &TrialContext,
    after: After<'_>,
) -> Result<History> {
    let mut history = History { violating: Vec::new(), gains: Vec::new(), losses: Vec::new() };
    if method == Method::Untrained {
        return Ok(history);
    }
    let mut rng = Rng::new(training.seed).fork("training");
    for number in 0..training.epochs {
        trial.check_cancelled()?;
        let (loss, violating) = epoch(model, (method, number), data, (training, &mut *optimizer), &mut rng)?;
        trial.epoch(number + 1, training.epochs, &format!("loss {loss:.3}"));
        history.losses.push(loss);
        if matches!(method, Method::LyaNet(_) | Method::Schedule | Method::PaperSchedule) {
            history.violating.push(violating);
        }
        if let Kind::Dynamics(net) = &model.kind {
            history.gains.push(net.dynamics.gain());
        }
        after(number + 1, model, &mut *optimizer)?;
    }
    Ok(history)
}

/// What trajectories of test data do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Trajectories {
    pub(crate) times: Vec<f64>,
    /// Right at each time, a fraction.
    pub(crate) right: Vec<f64>,
    /// Mean, 2.5 % and 97.5 % quantile of the potential at each time.
    pub(crate) potential: Vec<(f64, f64, f64)>,
    /// The fraction that stays under the exponential bound.
    pub(crate) bound: f64,
    /// Evaluations of the field, mean over batches.
    pub(crate) evaluations: f64,
    /// The rate κ of the bound.
    pub(crate) rate: f64,
}

/// Accuracy and potential over time, of a model with dynamics.
pub(crate) fn trajectories(
    net: &Model,
    (x, labels): (&Tensor, &[u32]),
    options: &Solve,
    times: &[f64],
) -> Result<Trajectories> {
    let Kind::Dynamics(model) = &net.kind else { return Err("no dynamics".into()) };
    let options = options.clone().at(times).gradient(timeseries::ode::Gradient::None);
    let (mut right, mut bound, mut evaluations, mut batches) = (vec![0.; times.len()], 0., 0., 0.);
    let mut all = vec![Vec::new(); times.len()];
    let rate = model.dynamics.rate();
    for start in (0..labels.len()).step_by(500) {
        let count = 500.min(labels.len() - start);
        let own = &labels[start..start + count];
        let inputs = net.standardised(&x.narrow(0, start, count)?)?;
        let solution = model.solve(&inputs, &options, &mut Mode::evaluate())?;
        evaluations += solution.statistics.evaluations as f64;
        batches += 1.;
        let targets = Tensor::new(own, &Device::Cpu)?;
        let mut potentials = Vec::with_capacity(times.len());
        for at in 0..times.len() {
            let logits = solution.states().get(at)?;
            let found = logits.argmax(1)?.to_vec1::<u32>()?;
            right[at] += found.iter().zip(own).filter(|(a, b)| a == b).count() as f64;
            let values: Vec<f64> = ops::cross_entropy_each(&logits, &targets)?.to_dtype(DType::F64)?.to_vec1()?;
            all[at].extend_from_slice(&values);
            potentials.push(values);
        }
        for example in 0..count {
            let trajectory: Vec<f64> = potentials.iter().map(|values| values[example]).collect();
            bound += f64::from(timeseries::lyanet::satisfies_bound(times, &trajectory, rate, 1e-6));
        }
    }
    let potential = all
        .iter_mut()
        .map(|values| {
            values.sort_by(f64::total_cmp);
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            (mean, core_tensor::metrics::quantile(values, 0.025), core_tensor::metrics::quantile(values, 0.975))
        })
        .collect();
    let total = labels.len() as f64;
    right.iter_mut().for_each(|right| *right /= total);
    Ok(Trajectories {
        times: times.to_vec(),
        right,
        potential,
        bound: bound / total,
        evaluations: evaluations / batches,
        rate,
    })
}

/// 0, 0.05, …, 1.
pub(crate) fn grid() -> Vec<f64> {
    (0..=20).map(|at| f64::from(at) * 0.05).collect()
}
