//! Fitting a neural ODE to pieces of series.

use crate::observations::Series;
use candle_core::{DType, Device, Tensor};
use core_tensor::ops;
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::schedule::Schedule;
use experiment::Result;
use std::collections::BTreeMap;
use timeseries::ode::{Activation, Gradient, MlpField, Solve, solve_tensors};

/// Standardised quantities and times in units in which they change by about 1.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Scale {
    pub(crate) means: Vec<f64>,
    pub(crate) deviations: Vec<f64>,
    /// The time that is one unit.
    pub(crate) unit: f64,
}

impl Scale {
    /// From training observations.
    pub(crate) fn of(series: &[Series], quantities: usize) -> Self {
        let mut means = Vec::with_capacity(quantities);
        let mut deviations = Vec::with_capacity(quantities);
        for k in 0..quantities {
            let values: Vec<f64> = series
                .iter()
                .flat_map(|series| series.values[..series.split()].iter().map(move |row| row[k]))
                .filter(|value| value.is_finite())
                .collect();
            let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len().max(1) as f64;
            means.push(mean);
            deviations.push(if variance > 0. { variance.sqrt() } else { 1. });
        }
        let (mut change, mut time) = (0., 0.);
        for series in series {
            for at in 1..series.split() {
                for (k, deviation) in deviations.iter().enumerate() {
                    let (a, b) = (series.values[at - 1][k], series.values[at][k]);
                    if a.is_finite() && b.is_finite() {
                        change += (b - a).abs() / deviation;
                        time += series.times[at] - series.times[at - 1];
                    }
                }
            }
        }
        Self { means, deviations, unit: if change > 0. && time > 0. { time / change } else { 1. } }
    }

    pub(crate) fn forwards(&self, state: &[f64]) -> Vec<f64> {
        state.iter().enumerate().map(|(k, x)| (x - self.means[k]) / self.deviations[k]).collect()
    }

    pub(crate) fn backwards(&self, state: &[f64]) -> Vec<f64> {
        state.iter().enumerate().map(|(k, x)| x * self.deviations[k] + self.means[k]).collect()
    }
}

/// A part of a series: a state, and what was observed after it.
struct Piece {
    start: Vec<f64>,
    /// Times after the start, in units.
    times: Vec<f64>,
    /// `[times][quantities]`, standardised.
    targets: Vec<Vec<f64>>,
}

/// Settings of the fit.
pub(crate) struct Settings {
    pub(crate) width: usize,
    pub(crate) epochs: usize,
    pub(crate) tolerance: f64,
    pub(crate) seed: u64,
}

/// A fitted equation.
pub(crate) struct Fitted {
    pub(crate) store: ParamStore,
    pub(crate) field: MlpField,
    pub(crate) scale: Scale,
    tolerance: f64,
}

fn pieces(series: &[Series], scale: &Scale, length: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for series in series {
        let end = series.split();
        let mut start = 0;
        while start + 1 < end {
            let last = (start + length).min(end - 1);
            let times = (start + 1..=last).map(|at| (series.times[at] - series.times[start]) / scale.unit).collect();
            let targets = (start + 1..=last).map(|at| scale.forwards(&series.values[at])).collect();
            pieces.push(Piece { start: scale.forwards(&series.filled(start, end)), times, targets });
            // pieces overlap by half, so that no observation is only ever a start
            start += (length / 2).max(1);
        }
    }
    pieces
}

/// Trains on pieces that grow longer; `told` hears of each epoch's loss.
pub(crate) fn fit(
    series: &[Series],
    quantities: usize,
    settings: &Settings,
    mut told: impl FnMut(usize, f64),
) -> Result<Fitted> {
    let scale = Scale::of(series, quantities);
    let store = ParamStore::new(settings.seed, DType::F64, &Device::Cpu);
    let widths = [quantities, settings.width, settings.width, quantities];
    let field = MlpField::new(&widths, Activation::Tanh, store.var_builder())?;
    let mut adam = Adam::new(&store, AdamConfig { learning_rate: 1e-2, ..AdamConfig::default() })?;
    let schedule = Schedule::Cosine { steps: settings.epochs as u64, minimum: 1e-2 };
    let mut rng = Rng::new(settings.seed).fork("order");
    let longest = series.iter().map(Series::split).max().unwrap_or(2);
    let lengths: Vec<usize> = [4, 8, 16, 32].iter().map(|length| (*length).min(longest)).collect();
    for epoch in 0..settings.epochs {
        adam.set_learning_rate(1e-2 * schedule.factor(epoch as u64));
        let length = lengths[(epoch * lengths.len() / settings.epochs).min(lengths.len() - 1)];
        // pieces whose times are the same are solved together
        let mut groups: BTreeMap<Vec<u64>, Vec<Piece>> = BTreeMap::new();
        for piece in pieces(series, &scale, length) {
            let key = piece.times.iter().map(|t| (t * 1e9).round() as u64).collect();
            groups.entry(key).or_default().push(piece);
        }
        let mut batches: Vec<&[Piece]> = groups.values().flat_map(|group| group.chunks(32)).collect();
        rng.shuffle(&mut batches);
        let (mut total, mut count) = (0., 0.);
        // some batches of one piece make a step together
        for together in batches.chunks(if groups.len() > 8 { 8 } else { 1 }) {
            let mut loss: Option<Tensor> = None;
            let observed: usize = together
                .iter()
                .flat_map(|batch| batch.iter())
                .flat_map(|piece| piece.targets.iter().flatten())
                .filter(|x| x.is_finite())
                .count();
            if observed == 0 {
                continue;
            }
            for batch in together {
                let part = batch_loss(&field, batch, quantities, settings.tolerance)?;
                loss = Some(match loss {
                    Some(loss) => ops::add(&loss, &part)?,
                    None => part,
                });
            }
            let Some(loss) = loss else { continue };
            let loss = ops::affine(&loss, 1. / observed as f64, 0.)?;
            let value = loss.to_scalar::<f64>()?;
            total += value * observed as f64;
            count += observed as f64;
            if value.is_finite() {
                let mut grads = core_tensor::backward(&loss)?;
                core_tensor::optim::clip_grad_norm(adam.parameters(), &mut grads, 1.)?;
                adam.step(&grads)?;
            }
        }
        told(epoch + 1, total / f64::max(count, 1.));
    }
    Ok(Fitted { store, field, scale, tolerance: settings.tolerance })
}

/// The sum of squared errors at what was observed.
fn batch_loss(field: &MlpField, batch: &[Piece], quantities: usize, tolerance: f64) -> Result<Tensor> {
    let b = batch.len();
    let start: Vec<f64> = batch.iter().flat_map(|piece| piece.start.clone()).collect();
    let y0 = Tensor::from_vec(start, (b, quantities), &Device::Cpu)?;
    let times = &batch[0].times;
    let end = times[times.len() - 1];
    let (mut targets, mut weights) = (Vec::new(), Vec::new());
    for at in 0..times.len() {
        for piece in batch {
            for &target in &piece.targets[at] {
                targets.push(if target.is_finite() { target } else { 0. });
                weights.push(f64::from(target.is_finite()));
            }
        }
    }
    let shape = (times.len(), b, quantities);
    let (targets, weights) =
        (Tensor::from_vec(targets, shape, &Device::Cpu)?, Tensor::from_vec(weights, shape, &Device::Cpu)?);
    let options = Solve::default().tolerance(tolerance).at(times.clone());
    let solution = solve_tensors(field, &y0, (0., end), &options)?;
    let error = ops::mul(&ops::sub(solution.states(), &targets)?, &weights)?;
    Ok(ops::sum_all(&ops::sqr(&error)?)?)
}

impl Fitted {
    /// States at times after a state, in the table's units.
    pub(crate) fn forecast(&self, state: &[f64], start: f64, times: &[f64]) -> Result<Vec<Vec<f64>>> {
        let scaled: Vec<f64> = times.iter().map(|t| (t - start) / self.scale.unit).collect();
        let end = scaled.last().copied().unwrap_or(0.);
        let y0 = Tensor::from_vec(self.scale.forwards(state), (1, state.len()), &Device::Cpu)?;
        let options = Solve::default().tolerance(self.tolerance).at(scaled).gradient(Gradient::None);
        let states = solve_tensors(&self.field, &y0, (0., end), &options)?.states().flatten_all()?.to_vec1::<f64>()?;
        Ok(states.chunks(state.len()).map(|state| self.scale.backwards(state)).collect())
    }
}
