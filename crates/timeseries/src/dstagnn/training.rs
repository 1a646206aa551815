//! Training of forecasters as the authors do it: Huber loss on raw targets, Adam, the state of the best validation loss.

use super::astgcn::Astgcn;
use super::model::Dstagnn;
use super::scaler::Scaler;
use super::series::{WindowBatch, Windows};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use core_tensor::optim::{Adam, AdamConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::schedule::Better;
use core_tensor::train::{BestState, Cancellation, Rest, Trainer, minibatches};
use core_tensor::{Mode, ops};
use std::ops::Range;

/// A network that forecasts windows.
pub trait Forecaster {
    /// `[batch, nodes, channels, input steps]`, normalised, to `[batch, nodes, horizon]` in the units of [`WindowBatch::target`].
    ///
    /// # Errors
    /// Another shape or dtype.
    fn forecast(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor>;
}

impl Forecaster for Dstagnn {
    fn forecast(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        self.forward(x, mode)
    }
}

impl Forecaster for Astgcn {
    fn forecast(&self, x: &Tensor, _mode: &mut Mode<'_>) -> Result<Tensor> {
        self.run(x)
    }
}

/// How a forecaster is trained; the defaults are the paper's where it has one for all data sets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitConfig {
    /// Passes over the training windows; 100.
    pub epochs: usize,
    /// Windows of a step; 32.
    pub batch_size: usize,
    /// Adam's; 1e-4.
    pub learning_rate: f64,
    /// Of the order of windows and of dropout; 1.
    pub seed: u64,
    /// Training ends early once this many epochs in a row have not lowered the validation loss; never by default, as in the paper.
    pub patience: Option<usize>,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self { epochs: 100, batch_size: 32, learning_rate: 1e-4, seed: 1, patience: None }
    }
}

/// What training has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The validation loss before each epoch and after the last, the mean of the batches' means; shorter than the epochs where [`FitConfig::patience`] ended training.
    pub validation: Vec<f64>,
    /// After how many epochs it was least: that state is what the parameters are now. 0: before any training.
    pub best_epoch: usize,
}

fn check_prediction(operation: &'static str, prediction: &Tensor, batch: &WindowBatch) -> Result<()> {
    match prediction.dims() == batch.target.dims() {
        true => Ok(()),
        false => {
            let expected = format!("{:?}, the windows' [batch, nodes, horizon]", batch.target.dims());
            Err(Error::shape(operation, "the forecast", prediction, expected))
        }
    }
}

/// The mean Huber loss (δ = 1) over all targets that are not missing.
///
/// # Errors
/// A forecast of another shape than the targets, or no target at all.
pub fn huber_loss(prediction: &Tensor, batch: &WindowBatch) -> Result<Tensor> {
    check_prediction("Huber loss", prediction, batch)?;
    let Some(mask) = &batch.mask else { return Ok(ops::huber(prediction, &batch.target, 1.)?) };
    let there = mask.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?;
    if there == 0. {
        return Err(Error::count("Huber loss", "the number of targets", 0, "at least 1"));
    }
    let loss = ops::huber(&(prediction * mask)?, &(&batch.target * mask)?, 1.)?;
    Ok((loss * (mask.elem_count() as f64 / there))?)
}

/// Trains on the windows `split[0]`, with the validation loss on `split[1]` computed before each epoch, as in the authors' program, and once after the last, and leaves the best state in the
/// parameters. The third part of the split, the test, is not looked at. `observe(epochs so far, validation loss)` is called each time.
///
/// # Errors
/// Settings of 0, batches without any target, a network of another horizon than the windows, a loss that is not finite; [`core_tensor::Error::Cancelled`] when `cancellation` asks for it.
pub fn fit(
    model: &impl Forecaster,
    store: &ParamStore,
    (windows, split, scaler): (&Windows<'_>, &[Range<usize>; 3], &Scaler),
    config: FitConfig,
    cancellation: &Cancellation,
    mut observe: impl FnMut(usize, f64),
) -> Result<Fitted> {
    if config.epochs == 0 || config.batch_size == 0 {
        return Err(Error::config("fit", "epochs or batch_size", 0., "at least 1"));
    }
    if config.patience == Some(0) {
        return Err(Error::config("fit", "patience", 0., "at least 1, or none"));
    }
    if !(config.learning_rate.is_finite() && config.learning_rate > 0.) {
        return Err(Error::config("fit", "learning_rate", config.learning_rate, "positive and finite"));
    }
    let adam = AdamConfig { learning_rate: config.learning_rate, ..AdamConfig::default() };
    let mut trainer = Trainer::new(Adam::new(store, adam)?);
    let base = Rng::new(config.seed);
    let (mut order, mut dropout) = (base.fork("order"), base.fork("dropout"));
    let mut best = BestState::new(Better::Smaller);
    if let Some(patience) = config.patience {
        best = best.patience(patience as u64 - 1);
    }
    let mut validation = Vec::new();
    for epoch in 0..=config.epochs {
        let mut losses = Vec::new();
        let starts: Vec<usize> = split[1].clone().collect();
        for part in starts.chunks(config.batch_size) {
            cancellation.check()?;
            let batch = windows.batch(part, scaler, store.dtype(), store.device())?;
            let loss = huber_loss(&model.forecast(&batch.x, &mut Mode::evaluate())?.detach(), &batch)?;
            losses.push(loss.to_dtype(DType::F64)?.to_scalar::<f64>()?);
        }
        let loss = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        if !loss.is_finite() {
            return Err(Error::value("fit", format!("the validation loss after {epoch} epochs"), loss, "finite"));
        }
        validation.push(loss);
        best.observe(loss, store)?;
        observe(epoch, loss);
        if epoch == config.epochs || best.is_exhausted() {
            break;
        }
        for part in &minibatches(split[0].len(), config.batch_size, Rest::Keep, &mut order)? {
            cancellation.check()?;
            let starts: Vec<usize> = part.iter().map(|&at| split[0].start + at as usize).collect();
            let batch = windows.batch(&starts, scaler, store.dtype(), store.device())?;
            let prediction = model.forecast(&batch.x, &mut Mode::train(&mut dropout))?;
            trainer.step(&huber_loss(&prediction, &batch)?)?;
        }
    }
    best.restore(store)?;
    Ok(Fitted { validation, best_epoch: best.best_at().unwrap_or(0) as usize })
}

/// The forecasts of windows, `[starts][nodes][horizon]`, in the units of the targets.
///
/// # Errors
/// Windows that do not fit, a network of another horizon.
pub fn forecast(
    model: &impl Forecaster,
    store: &ParamStore,
    (windows, starts, scaler): (&Windows<'_>, Range<usize>, &Scaler),
    batch_size: usize,
) -> Result<Vec<f64>> {
    let starts: Vec<usize> = starts.collect();
    let mut out = Vec::new();
    for part in starts.chunks(batch_size.max(1)) {
        let batch = windows.batch(part, scaler, store.dtype(), store.device())?;
        let y = model.forecast(&batch.x, &mut Mode::evaluate())?.detach();
        check_prediction("forecast", &y, &batch)?;
        out.extend(y.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?);
    }
    windows.to_units(out, scaler)
}

/// The forecast of the steps after the end of the series, `[nodes][horizon]`, in the units of the targets.
///
/// # Errors
/// A network of another size than the windows.
pub fn forecast_latest(
    model: &impl Forecaster,
    store: &ParamStore,
    (windows, scaler): (&Windows<'_>, &Scaler),
) -> Result<Vec<f64>> {
    let y = model.forecast(&windows.latest(scaler, store.dtype(), store.device())?, &mut Mode::evaluate())?.detach();
    let (nodes, horizon) = (windows.series().num_nodes(), windows.horizon());
    if y.dims() != [1, nodes, horizon] {
        return Err(Error::shape("forecast", "the forecast", &y, format!("[1, {nodes}, {horizon}]")));
    }
    windows.to_units(y.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?, scaler)
}
