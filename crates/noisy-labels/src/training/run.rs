//! The loop.

use super::checkpoint::{self, State};
use super::hook::Critical;
use super::objective::Objective;
use super::predict::{numbers, predict};
use super::settings::{Build, EpochRecord, Trained, TrainingConfig};
use crate::mixing::mixed;
use crate::objectives::{
    EarlyLearning, backward_correction, co_teaching, forward_correction, generalised_cross_entropy, importance_weights,
    jocor, joint_optimisation, label_smoothing, likelihood_ratio_labels, retroactive_loss, symmetric_cross_entropy,
    total_variation,
};
use crate::{Error, Probabilities, Result, issues, noise};
use candle_core::{DType, Device, Tensor};
use core_tensor::optim::{Adam, AdamConfig, Sgd, SgdConfig};
use core_tensor::params::{ParamStore, Parameters};
use core_tensor::random::Rng;
use core_tensor::schedule::{Better, Schedule};
use core_tensor::train::{BestState, Cancellation, Classifier, Rest, Trainer, minibatches};
use core_tensor::{Mode, ops};

struct Networks {
    first: Pass,
    second: Option<(Box<dyn Classifier>, ParamStore, Option<Trainer>)>,
}

struct Pass {
    network: Box<dyn Classifier>,
    store: ParamStore,
    trainer: Trainer,
}

const OP: &str = "train";

/// Trains a network on inputs `[inputs, …]` and noisy labels. `observe` is called after each epoch, with the network as it is.
///
/// # Errors
///
/// No input, lengths that differ, labels outside the classes, settings out of range, a transition matrix that does not fit or (backward correction) is singular, a loss that is not finite, a checkpoint of another training, cancellation, and the
/// errors of the network and of `observe`.
///
/// ```
/// use candle_core::{Device, Module, Tensor};
/// use core_tensor::{Mode, nn};
/// use noisy_labels::training::{Objective, TrainingConfig, predict, train};
///
/// let x: Vec<f32> = (0..200).map(|at| if at % 2 == 0 { 1. } else { -1. } + at as f32 * 1e-3).collect();
/// let x = Tensor::from_vec(x, (200, 1), &Device::Cpu)?;
/// let labels: Vec<u32> = (0..200).map(|at| if at % 10 == 0 { 1 - at % 2 } else { at % 2 }).collect();
/// let build = |vb: candle_nn::VarBuilder<'static>| -> core_tensor::Result<Box<dyn core_tensor::train::Classifier>> {
///     let layer = nn::linear(1, 2, vb)?;
///     Ok(Box::new(move |x: &Tensor, _: &mut Mode<'_>| Ok(layer.forward(x)?)))
/// };
/// let config = TrainingConfig { epochs: 20, batch_size: 20, learning_rate: 0.05, ..Default::default() };
/// let objective = Objective::GeneralisedCrossEntropy { q: 0.7 };
/// let trained = train(&build, &x, &labels, 2, &objective, &config, &Default::default(), |_, _| Ok(()))?;
/// let found = predict(&*trained.network, &x)?.argmax(1)?.to_vec1::<u32>()?;
/// assert!(found.iter().zip(0..).all(|(class, at)| *class == at % 2));
/// # Ok::<(), noisy_labels::Error>(())
/// ```
#[allow(clippy::too_many_arguments, reason = "what a training is given")]
pub fn train(
    build: Build<'_>,
    inputs: &Tensor,
    labels: &[u32],
    classes: usize,
    objective: &Objective,
    config: &TrainingConfig,
    cancellation: &Cancellation,
    mut observe: impl FnMut(&EpochRecord, &dyn Classifier) -> Result<()>,
) -> Result<Trained> {
    check(inputs, labels, classes, objective, config)?;
    let root = Rng::new(config.seed);
    let (training, validation) = split(labels.len(), config.validation, &root)?;
    let kept = config.checkpoint.as_deref();
    // Not where it is kept, but what was learned: the labels themselves count.
    let sum = labels.iter().fold(0u64, |sum, &label| mixed(sum ^ u64::from(label)));
    let without_place = TrainingConfig { checkpoint: None, ..config.clone() };
    let what = format!("{objective:?} of {} labels ({sum:016x}) of {classes} classes, {without_place:?}", labels.len());
    let resumed = match kept {
        Some(folder) => checkpoint::latest(folder, &what)?,
        None => None,
    };
    let mut state = match &resumed {
        Some((_, state)) => state.clone(),
        None => {
            let mut state = State {
                what,
                epoch: 0,
                labels: labels.to_vec(),
                earlier: None,
                soft: None,
                targets: None,
                noise_rate: None,
                transition: None,
                history: Vec::new(),
                order: root.fork("order"),
                noise: root.fork("noise"),
                pairs: root.fork("pairs"),
            };
            prepare(&mut state, build, inputs, labels, classes, objective, config, cancellation)?;
            state
        }
    };
    let mut memory = match objective {
        Objective::EarlyLearning(settings) => {
            let mut memory = EarlyLearning::new(labels.len(), classes, *settings)?;
            if let Some(targets) = state.targets.take()
                && !memory.set_targets(targets)
            {
                return Err(Error::length(OP, "targets of the checkpoint", 0, labels.len() * classes));
            }
            Some(memory)
        }
        _ => None,
    };
    let second_from = match objective {
        Objective::JointOptimisation { .. } => config.epochs,
        _ => usize::MAX,
    };
    let total = config.epochs + second_epochs(objective);
    let is_second = state.epoch > second_from;
    let rate = state.noise_rate;
    let mut networks = networks(build, inputs, objective, config, &root, rate, is_second)?;
    let mut best = BestState::new(Better::Larger);
    if let (Some((checkpoint, _)), Some(folder)) = (&resumed, kept) {
        networks.first.trainer.resume(&networks.first.store, checkpoint)?;
        if let Some((_, store, trainer)) = &mut networks.second {
            let of_second = core_tensor::checkpoint::Checkpoint::load(folder.join("second"), checkpoint.step)?;
            match trainer {
                Some(trainer) => trainer.resume(store, &of_second)?,
                None => store.restore(&of_second.parameters)?,
            }
        }
        if config.validation.is_some() {
            best.resume(checkpoint)?;
        }
    }
    while state.epoch < total && !has_fallen(&state.history) {
        if state.epoch == second_from {
            networks = self::networks(build, inputs, objective, config, &root, rate, true)?;
        }
        before_epoch(&mut state, &networks, inputs, classes, objective)?;
        let mut sum = 0.;
        let batches = minibatches(training.len(), config.batch_size, Rest::Keep, &mut state.order)?;
        for batch in &batches {
            cancellation.check()?;
            let rows: Vec<u32> = batch.iter().map(|&at| training[at as usize]).collect();
            let is_second = state.epoch >= second_from;
            sum += step(&mut networks, &mut state, memory.as_mut(), inputs, &rows, classes, objective, is_second)?;
        }
        networks.first.trainer.end_epoch();
        state.epoch += 1;
        if let Objective::JointOptimisation { replaces_from, .. } = objective
            && state.epoch > *replaces_from
            && state.epoch <= second_from
        {
            state.soft = Some(numbers(&predict(&*networks.first.network, inputs)?)?);
        }
        let mut record = EpochRecord {
            epoch: state.epoch,
            loss: sum / batches.len() as f64,
            validation: None,
            replaced: training.iter().filter(|&&row| state.labels[row as usize] != labels[row as usize]).count(),
        };
        if !validation.is_empty() {
            let x = inputs.detach().index_select(&Tensor::new(validation.as_slice(), inputs.device())?, 0)?;
            let found = predict(&*networks.first.network, &x)?.argmax(1)?.to_vec1::<u32>()?;
            let right = found.iter().zip(&validation).filter(|(class, row)| **class == labels[**row as usize]).count();
            let share = right as f64 / validation.len() as f64;
            record.validation = Some(share);
            best.observe(share, &networks.first.store)?;
        }
        observe(&record, &*networks.first.network)?;
        state.history.push(record);
        if let Some(folder) = kept {
            state.targets = memory.as_ref().map(|memory| memory.targets().to_vec());
            save(folder, &state, &networks, config.validation.is_some().then_some(&best))?;
        }
    }
    if best.num_observations() > 0 {
        best.restore(&networks.first.store)?;
    }
    if let (Objective::JointOptimisation { .. }, Some(soft)) = (objective, &state.soft) {
        let p = Probabilities::new(soft, classes)?;
        state.labels = (0..labels.len()).map(|row| p.most_probable(row) as u32).collect();
    }
    let Pass { network, store, .. } = networks.first;
    let State { history, labels, noise_rate, transition, .. } = state;
    Ok(Trained { network, store, history, labels, noise_rate, transition })
}

/// Whether the validation got worse in the last epoch.
fn has_fallen(history: &[EpochRecord]) -> bool {
    match history {
        [.., before, last] => last.validation < before.validation,
        _ => false,
    }
}

fn save(folder: &std::path::Path, state: &State, networks: &Networks, best: Option<&BestState>) -> Result<()> {
    let first = &networks.first;
    let second = networks.second.as_ref();
    // One optimiser may train both.
    let second = second.map(|(_, store, trainer)| (trainer.as_ref().unwrap_or(&first.trainer), store));
    checkpoint::save(folder, state, (&first.trainer, &first.store), second, best)
}

fn second_epochs(objective: &Objective) -> usize {
    match objective {
        Objective::JointOptimisation { second_epochs, .. } => *second_epochs,
        _ => 0,
    }
}

fn check(
    inputs: &Tensor,
    labels: &[u32],
    classes: usize,
    objective: &Objective,
    config: &TrainingConfig,
) -> Result<()> {
    if labels.is_empty() {
        return Err(Error::Empty { operation: OP, what: "labels" });
    }
    if inputs.dims().first() != Some(&labels.len()) {
        let expected = format!("[{}, …], as many as labels", labels.len());
        return Err(Error::shape(OP, "inputs", inputs, expected));
    }
    if let Some(position) = labels.iter().position(|&label| label as usize >= classes) {
        let index = labels[position].into();
        return Err(Error::OutOfRange { operation: OP, what: "the label", position, index, bound: classes });
    }
    if config.epochs == 0 {
        return Err(Error::config(OP, "epochs", 0, "at least 1"));
    }
    let rate = match objective {
        Objective::CoTeaching { noise_rate, .. }
        | Objective::Jocor { noise_rate, .. }
        | Objective::RobustEarlyLearning { noise_rate } => *noise_rate,
        _ => None,
    };
    if let Some(rate) = rate
        && !(0. ..=1.).contains(&rate)
    {
        return Err(Error::config(OP, "noise_rate", rate, "from 0 to 1"));
    }
    Ok(())
}

/// Inputs to train on, and those of early stopping.
fn split(count: usize, share: Option<f64>, root: &Rng) -> Result<(Vec<u32>, Vec<u32>)> {
    let all: Vec<u32> = (0..count as u32).collect();
    let Some(share) = share else { return Ok((all, Vec::new())) };
    let apart = (share * count as f64).round();
    if !(share > 0. && share < 1. && apart >= 1. && apart < count as f64) {
        return Err(Error::config(OP, "validation", share, "a share that leaves inputs on both sides"));
    }
    let mut order = root.fork("validation").permutation(count);
    let mut training = order.split_off(apart as usize);
    training.sort_unstable();
    order.sort_unstable();
    Ok((training, order))
}

/// Estimates what the method has to know.
#[allow(clippy::too_many_arguments, reason = "those of a training")]
fn prepare(
    state: &mut State,
    build: Build<'_>,
    inputs: &Tensor,
    labels: &[u32],
    classes: usize,
    objective: &Objective,
    config: &TrainingConfig,
    cancellation: &Cancellation,
) -> Result<()> {
    let simple = TrainingConfig { validation: None, checkpoint: None, ..config.clone() };
    match objective {
        Objective::CoTeaching { noise_rate, .. }
        | Objective::Jocor { noise_rate, .. }
        | Objective::RobustEarlyLearning { noise_rate } => {
            state.noise_rate = Some(match noise_rate {
                Some(rate) => *rate,
                None => {
                    let simple = TrainingConfig { epochs: config.epochs.div_ceil(2), ..simple };
                    let plain = Objective::CrossEntropy;
                    let p = cross_validated(build, inputs, labels, classes, &plain, 2, &simple, cancellation)?;
                    issues::confident_joint(Probabilities::new(&p, classes)?, labels)?.noise_rate()
                }
            });
        }
        Objective::Forward { transition, warm_up }
        | Objective::Backward { transition, warm_up }
        | Objective::Reweighting { transition, warm_up } => {
            state.transition = Some(match transition {
                Some(transition) => transition.clone(),
                None => {
                    let simple = TrainingConfig { epochs: *warm_up, ..simple };
                    let plain = Objective::CrossEntropy;
                    let first = train(build, inputs, labels, classes, &plain, &simple, cancellation, |_, _| Ok(()))?;
                    let p = numbers(&predict(&*first.network, inputs)?)?;
                    let p = Probabilities::new(&p, classes)?;
                    match objective {
                        Objective::Reweighting { .. } => noise::dual_transition(p, labels, ANCHOR)?,
                        _ => noise::anchor_transition(p, ANCHOR)?,
                    }
                }
            });
        }
        Objective::JointOptimisation { .. } => {
            let mut soft = vec![0.; labels.len() * classes];
            for (row, &label) in soft.chunks_exact_mut(classes).zip(labels) {
                row[label as usize] = 1.;
            }
            state.soft = Some(soft);
        }
        _ => {}
    }
    Ok(())
}

/// The quantile of certainty at which an example stands for its class.
const ANCHOR: f64 = 0.97;

fn networks(
    build: Build<'_>,
    inputs: &Tensor,
    objective: &Objective,
    config: &TrainingConfig,
    root: &Rng,
    noise_rate: Option<f64>,
    is_second_phase: bool,
) -> Result<Networks> {
    let device: &Device = inputs.device();
    let built = |name: &str| -> Result<(Box<dyn Classifier>, ParamStore)> {
        let store = ParamStore::new(root.fork(name).below(u32::MAX as usize) as u64, config.dtype, device);
        Ok((build(store.var_builder())?, store))
    };
    let adam = |parameters: Parameters| -> Result<Trainer> {
        let settings = AdamConfig { learning_rate: config.learning_rate, ..Default::default() };
        Ok(Trainer::new(Adam::new(parameters, settings)?))
    };
    let (network, store) = built(if is_second_phase { "fresh" } else { "first" })?;
    let (trainer, second) = match objective {
        Objective::RobustEarlyLearning { .. } => {
            let settings = SgdConfig {
                learning_rate: config.learning_rate,
                momentum: 0.9,
                weight_decay: 0.01,
                ..Default::default()
            };
            let epochs = config.epochs as u64;
            let milestones = vec![epochs.div_ceil(2), (3 * epochs).div_ceil(4)];
            let trainer = Trainer::new(Sgd::new(&store, settings)?)
                .hook(Critical { share: 1. - noise_rate.unwrap_or(0.) })
                .schedule_by_epoch(Schedule::MultiStep { milestones, gamma: 0.1 });
            (trainer, None)
        }
        Objective::CoTeaching { .. } => {
            let (other, of_other) = built("second")?;
            let trainer = adam((&of_other).into())?;
            (adam((&store).into())?, Some((other, of_other, Some(trainer))))
        }
        Objective::Jocor { .. } => {
            let (other, of_other) = built("second")?;
            let named = |prefix: &str, store: &ParamStore| -> Vec<(String, candle_core::Var)> {
                let parameters = store.trainable();
                parameters.iter().map(|(name, var)| (format!("{prefix}.{name}"), var.clone())).collect()
            };
            let mut both = named("first", &store);
            both.extend(named("second", &of_other));
            (adam(Parameters::from(both))?, Some((other, of_other, None)))
        }
        _ => (adam((&store).into())?, None),
    };
    Ok(Networks { first: Pass { network, store, trainer }, second })
}

/// Labels that change between epochs.
fn before_epoch(
    state: &mut State,
    networks: &Networks,
    inputs: &Tensor,
    classes: usize,
    objective: &Objective,
) -> Result<()> {
    let Objective::LikelihoodRatio { ratio, replaces_from, retains_from } = objective else { return Ok(()) };
    if state.epoch == 0 || state.epoch < *replaces_from.min(retains_from) {
        return Ok(());
    }
    let p = predict(&*networks.first.network, inputs)?;
    if state.epoch >= *retains_from {
        state.earlier = Some(p.argmax(1)?.to_vec1::<u32>()?);
    }
    if state.epoch >= *replaces_from {
        let p = Probabilities::new(&numbers(&p)?, classes)?.rows().flatten().map(|p| p.max(1e-300).ln()).collect();
        let logits = Tensor::from_vec::<_, f64>(p, (state.labels.len(), classes), &Device::Cpu)?;
        state.labels = likelihood_ratio_labels(&logits, &state.labels, *ratio)?;
    }
    Ok(())
}

fn value(loss: &Tensor, position: usize) -> Result<f64> {
    let got = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    match got.is_finite() {
        true => Ok(got),
        false => Err(Error::Value { operation: OP, what: "the loss of step", position, got, expected: "finite" }),
    }
}

/// One step; its loss.
#[allow(clippy::too_many_arguments, reason = "all that a step needs")]
fn step(
    networks: &mut Networks,
    state: &mut State,
    memory: Option<&mut EarlyLearning>,
    inputs: &Tensor,
    rows: &[u32],
    classes: usize,
    objective: &Objective,
    is_second_phase: bool,
) -> Result<f64> {
    let device = inputs.device();
    let x = inputs.detach().index_select(&Tensor::new(rows, device)?, 0)?;
    let labels: Vec<u32> = rows.iter().map(|&row| state.labels[row as usize]).collect();
    let logits = networks.first.network.logits(&x, &mut Mode::train(&mut state.noise))?;
    if logits.dims() != [rows.len(), classes] {
        return Err(Error::shape(OP, "the network's logits", &logits, format!("[{}, {classes}]", rows.len())));
    }
    let transition = state.transition.as_deref().unwrap_or(&[]);
    let exact = || -> Result<Tensor> { Ok(ops::cross_entropy(&logits, &Tensor::new(labels.as_slice(), device)?)?) };
    let position = networks.first.trainer.num_steps() as usize;
    let loss = match objective {
        Objective::CrossEntropy | Objective::RobustEarlyLearning { .. } => exact()?,
        Objective::LabelSmoothing { epsilon } => label_smoothing(&logits, &labels, *epsilon)?,
        Objective::SymmetricCrossEntropy { alpha, beta } => symmetric_cross_entropy(&logits, &labels, *alpha, *beta)?,
        Objective::GeneralisedCrossEntropy { q } => generalised_cross_entropy(&logits, &labels, *q)?,
        Objective::EarlyLearning(_) => match memory {
            Some(memory) => memory.loss(&logits, &labels, rows)?,
            None => exact()?,
        },
        Objective::Forward { .. } => forward_correction(&logits, &labels, transition)?,
        Objective::Backward { .. } => backward_correction(&logits, &labels, transition)?,
        Objective::Reweighting { .. } => {
            let weights = importance_weights(&logits, &labels, transition)?;
            let each = ops::cross_entropy_each(&logits, &Tensor::new(labels.as_slice(), device)?)?;
            ops::mean_all(&ops::mul(&each, &weights)?)?
        }
        Objective::TotalVariation { weight } => {
            let count = rows.len();
            let pairs: Vec<[u32; 2]> = (0..count).map(|_| [(); 2].map(|()| state.pairs.below(count) as u32)).collect();
            let apart = total_variation(&logits, &pairs)?;
            ops::add(&exact()?, &ops::affine(&apart, -weight, 0.)?)?
        }
        Objective::LikelihoodRatio { .. } => match &state.earlier {
            Some(earlier) => {
                let earlier: Vec<u32> = rows.iter().map(|&row| earlier[row as usize]).collect();
                ops::add(&exact()?, &retroactive_loss(&logits, &earlier, 0.99)?)?
            }
            None => exact()?,
        },
        Objective::JointOptimisation { prior, entropy, .. } => {
            let soft = state.soft.as_deref().unwrap_or(&[]);
            let soft: Vec<f64> =
                rows.iter().flat_map(|&row| soft[row as usize * classes..][..classes].iter().copied()).collect();
            let soft = Tensor::from_vec(soft, (rows.len(), classes), device)?.to_dtype(logits.dtype())?;
            let (prior, entropy) = if is_second_phase { (0., 0.) } else { (*prior, *entropy) };
            joint_optimisation(&logits, &soft, prior, entropy)?
        }
        Objective::CoTeaching { ramp, .. } | Objective::Jocor { ramp, .. } => {
            let rate = state.noise_rate.unwrap_or(0.);
            let forgotten = (rate * state.epoch as f64 / (*ramp).max(1) as f64).min(rate);
            let Some((network, _, trainer)) = &mut networks.second else { return Ok(0.) };
            let other = network.logits(&x, &mut Mode::train(&mut state.noise))?;
            match trainer {
                Some(trainer) => {
                    let losses = co_teaching(&logits, &other, &labels, forgotten)?;
                    value(&losses.second, position)?;
                    trainer.step(&losses.second)?;
                    losses.first
                }
                None => jocor(&logits, &other, &labels, forgotten)?.0,
            }
        }
    };
    let value = value(&loss, position)?;
    networks.first.trainer.step(&loss)?;
    Ok(value)
}

/// `[inputs, classes]`: out-of-sample probabilities, as confident learning needs them: the inputs are dealt out to `folds` parts at random, and each part is predicted by a network that was trained on the others.
///
/// # Errors
///
/// Fewer than two folds or more than inputs, and those of [`train`].
#[allow(clippy::too_many_arguments, reason = "those of a training")]
pub fn cross_validated(
    build: Build<'_>,
    inputs: &Tensor,
    labels: &[u32],
    classes: usize,
    objective: &Objective,
    folds: usize,
    config: &TrainingConfig,
    cancellation: &Cancellation,
) -> Result<Vec<f64>> {
    let operation = "cross_validated";
    if folds < 2 || folds > labels.len() {
        return Err(Error::config(operation, "folds", folds, "at least 2, at most the number of inputs"));
    }
    let rng = Rng::new(config.seed).fork("folds");
    let order = rng.clone().permutation(labels.len());
    let mut probabilities = vec![0.; labels.len() * classes];
    for fold in 0..folds {
        let part = |is_test: bool| -> Vec<u32> {
            let chosen = order.iter().enumerate().filter(|(at, _)| (at % folds == fold) == is_test);
            chosen.map(|(_, &input)| input).collect()
        };
        let (training, test) = (part(false), part(true));
        let rows = |rows: &[u32]| -> Result<Tensor> {
            Ok(inputs.detach().index_select(&Tensor::new(rows, inputs.device())?, 0)?)
        };
        let of_training: Vec<u32> =
            training.iter().map(|&row| labels.get(row as usize).copied().unwrap_or(u32::MAX)).collect();
        let mut config = TrainingConfig { checkpoint: None, ..config.clone() };
        config.seed = config.seed.wrapping_add(1 + fold as u64);
        let trained =
            train(build, &rows(&training)?, &of_training, classes, objective, &config, cancellation, |_, _| Ok(()))?;
        let found = numbers(&predict(&*trained.network, &rows(&test)?)?)?;
        for (&input, row) in test.iter().zip(found.chunks_exact(classes)) {
            probabilities[input as usize * classes..][..classes].copy_from_slice(row);
        }
    }
    Ok(probabilities)
}
