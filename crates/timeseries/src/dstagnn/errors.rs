//! Errors of forecasts, and the trivial forecasts to compare with.

use super::series::{Series, Windows};
use crate::{Error, Result};
use std::ops::Range;

const OP: &str = "errors of a forecast";

/// The errors of a forecast. Missing targets (NaN) do not count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ForecastErrors {
    /// Mean absolute error, in the units of the targets.
    pub mae: f64,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Mean absolute percentage error over targets that are not 0, in percent; NaN if all are. Targets near 0 make it unstable.
    pub mape: f64,
    /// How many targets there are.
    pub count: usize,
}

fn errors(pairs: impl Iterator<Item = (f64, f64)>) -> ForecastErrors {
    let (mut count, mut absolute, mut squares, mut shares, mut relative) = (0usize, 0., 0., 0usize, 0.);
    for (prediction, target) in pairs.filter(|(_, target)| !target.is_nan()) {
        let error = (prediction - target).abs();
        count += 1;
        absolute += error;
        squares += error * error;
        if target != 0. {
            shares += 1;
            relative += error / target.abs();
        }
    }
    let n = count as f64;
    ForecastErrors { mae: absolute / n, rmse: (squares / n).sqrt(), mape: 100. * relative / shares as f64, count }
}

/// The errors over everything, and at each step of the horizon, which is the last axis of both.
///
/// # Errors
/// Lists of different lengths, a length that is not a multiple of the horizon, no target at all.
pub fn errors_by_horizon(
    prediction: &[f64],
    target: &[f64],
    horizon: usize,
) -> Result<(ForecastErrors, Vec<ForecastErrors>)> {
    if prediction.len() != target.len() {
        let (got, expected) = (prediction.len(), target.len());
        return Err(Error::Length { operation: OP, what: "the prediction", got, expected });
    }
    if horizon == 0 || !target.len().is_multiple_of(horizon) {
        return Err(Error::count(OP, "the horizon", horizon, format!("a divisor of {} targets", target.len())));
    }
    let pairs = || prediction.iter().copied().zip(target.iter().copied());
    let all = errors(pairs());
    if all.count == 0 {
        return Err(Error::count(OP, "the number of targets", 0, "at least 1"));
    }
    Ok((all, (0..horizon).map(|step| errors(pairs().skip(step).step_by(horizon))).collect()))
}

/// The errors of each sensor, of forecasts and targets `[windows][nodes][horizon]`. A sensor without any target has a count of 0 and errors that are NaN.
///
/// # Errors
/// Lists of different lengths, a length that is not whole windows.
pub fn errors_by_sensor(
    prediction: &[f64],
    target: &[f64],
    (num_nodes, horizon): (usize, usize),
) -> Result<Vec<ForecastErrors>> {
    check_windows(prediction, target, num_nodes, horizon)?;
    let of = |node: usize| {
        let windows = prediction.chunks_exact(num_nodes * horizon).zip(target.chunks_exact(num_nodes * horizon));
        errors(windows.flat_map(move |(prediction, target)| {
            let steps = node * horizon..(node + 1) * horizon;
            prediction[steps.clone()].iter().copied().zip(target[steps].iter().copied())
        }))
    };
    Ok((0..num_nodes).map(of).collect())
}

fn check_windows(prediction: &[f64], target: &[f64], num_nodes: usize, horizon: usize) -> Result<()> {
    if prediction.len() != target.len() {
        let (got, expected) = (prediction.len(), target.len());
        return Err(Error::Length { operation: OP, what: "the prediction", got, expected });
    }
    match num_nodes.checked_mul(horizon) {
        Some(window) if window > 0 && target.len().is_multiple_of(window) => Ok(()),
        _ => {
            let expected = format!("a multiple of {num_nodes} sensors times {horizon} steps");
            Err(Error::count(OP, "the number of targets", target.len(), expected))
        }
    }
}

/// The errors of the naive forecast in training, by which errors of sensors in different units are made comparable: the denominators of the mean absolute scaled error (MASE; Hyndman and
/// Koehler, International Journal of Forecasting 22, 2006).
///
/// ```text
/// MASE of a sensor = mean |y − ŷ| / mean_t |x_t − x_(t−m)|      t: steps of training, m: the season
/// ```
///
/// Below 1 is better than repeating the reading of m steps before was in training, one step ahead.
#[derive(Debug, Clone, PartialEq)]
pub struct NaiveErrors {
    /// `[nodes]`; 0 for a sensor that never changes, NaN without two readings m steps apart.
    pub errors: Vec<f64>,
}

impl NaiveErrors {
    /// Over the first `steps` steps of the first channel, at a season of `season` steps: 1 for the last reading, the steps of a day for that of the day before. Pairs with a missing reading do
    /// not count.
    ///
    /// # Errors
    /// A season of 0.
    pub fn new(series: &Series, season: usize, steps: usize) -> Result<Self> {
        if season == 0 {
            return Err(Error::count("naive errors", "the season", 0, "at least 1"));
        }
        let steps = steps.min(series.num_steps());
        let of = |node: usize| {
            let (mut sum, mut count) = (0., 0usize);
            for step in season..steps {
                let pair = series.get(step, node, 0).zip(series.get(step - season, node, 0));
                if let Some((now, before)) = pair.filter(|(now, before)| !now.is_nan() && !before.is_nan()) {
                    sum += (now - before).abs();
                    count += 1;
                }
            }
            sum / count as f64
        };
        Ok(Self { errors: (0..series.num_nodes()).map(of).collect() })
    }

    /// The MASE of each sensor, of forecasts and targets `[windows][nodes][horizon]`; NaN where it is not defined: for a sensor that never changed in training, or without targets.
    ///
    /// # Errors
    /// As for [`errors_by_sensor`].
    pub fn scaled(&self, prediction: &[f64], target: &[f64], horizon: usize) -> Result<Vec<f64>> {
        let errors = errors_by_sensor(prediction, target, (self.errors.len(), horizon))?;
        let scaled = errors.iter().zip(&self.errors).map(|(errors, &naive)| errors.mae / naive);
        Ok(scaled.map(|x| if x.is_finite() { x } else { f64::NAN }).collect())
    }

    /// The mean of [`Self::scaled`] over the sensors for which it is defined; NaN if it is for none.
    ///
    /// # Errors
    /// As for [`errors_by_sensor`].
    pub fn mean_scaled(&self, prediction: &[f64], target: &[f64], horizon: usize) -> Result<f64> {
        let scaled = self.scaled(prediction, target, horizon)?;
        let there: Vec<f64> = scaled.into_iter().filter(|x| !x.is_nan()).collect();
        Ok(there.iter().sum::<f64>() / there.len() as f64)
    }
}

/// The last reading, repeated: `[starts][nodes][horizon]`. Where it is missing, the last one before that; 0 if there is none.
///
/// # Errors
/// A window that does not fit.
pub fn persistence(windows: &Windows<'_>, starts: Range<usize>) -> Result<Vec<f64>> {
    starts.clone().try_for_each(|start| windows.check(start))?;
    let series = windows.series();
    let mut out = Vec::new();
    // kept from window to window, so that long gaps are not searched again
    let mut known: Vec<Option<f64>> = vec![None; series.num_nodes()];
    let mut next = 0;
    for start in starts {
        for step in next..start {
            for (node, known) in known.iter_mut().enumerate() {
                *known = series.get(step, node, 0).filter(|value| !value.is_nan()).or(*known);
            }
        }
        next = start;
        for known in &known {
            out.extend(std::iter::repeat_n(known.unwrap_or(0.), windows.horizon()));
        }
    }
    Ok(out)
}

/// The mean of each sensor at each time of day.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeOfDay {
    period: usize,
    num_nodes: usize,
    /// `[period][nodes]`
    means: Vec<f64>,
}

impl TimeOfDay {
    /// The means over the first `steps` steps; where a sensor has no reading at a time of day, its mean over all times.
    ///
    /// # Errors
    /// A period of 0, or fewer steps than it.
    pub fn new(series: &Series, period: usize, steps: usize) -> Result<Self> {
        let steps = steps.min(series.num_steps());
        if period == 0 {
            return Err(Error::count("time of day", "the period", 0, "at least 1"));
        }
        if steps < period {
            let reason = format!("has {steps} steps, at least {period} are needed: a whole day");
            return Err(Error::InvalidData { operation: "time of day", what: "the series", reason });
        }
        let n = series.num_nodes();
        let (mut sums, mut counts) = (vec![0.; period * n], vec![0f64; period * n]);
        for step in 0..steps {
            for node in 0..n {
                if let Some(value) = series.get(step, node, 0).filter(|value| !value.is_nan()) {
                    sums[step % period * n + node] += value;
                    counts[step % period * n + node] += 1.;
                }
            }
        }
        let overall = |node: usize| {
            let of = |x: &[f64]| x.iter().skip(node).step_by(n).sum::<f64>();
            of(&sums) / of(&counts).max(1.)
        };
        let mean = |at: usize| if counts[at] > 0. { sums[at] / counts[at] } else { overall(at % n) };
        Ok(Self { period, num_nodes: n, means: (0..period * n).map(mean).collect() })
    }

    /// The forecasts of windows, `[starts][nodes][horizon]`.
    pub fn forecast(&self, starts: Range<usize>, horizon: usize) -> Vec<f64> {
        let mut out = Vec::new();
        for start in starts {
            for node in 0..self.num_nodes {
                out.extend(
                    (start..start.saturating_add(horizon))
                        .map(|step| self.means[step % self.period * self.num_nodes + node]),
                );
            }
        }
        out
    }
}
