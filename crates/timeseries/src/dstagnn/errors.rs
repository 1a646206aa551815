//! Errors of forecasts, and the trivial forecasts to compare with.

use super::series::{Series, Windows};
use crate::{Error, Result};
use std::ops::Range;

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
    const OP: &str = "errors of a forecast";
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

/// The last reading, repeated: `[starts][nodes][horizon]`. Where it is missing, the last one before that; 0 if there is none.
///
/// # Errors
/// A window that does not fit.
pub fn persistence(windows: &Windows<'_>, starts: Range<usize>) -> Result<Vec<f64>> {
    starts.clone().try_for_each(|start| windows.check(start))?;
    let series = windows.series();
    let mut out = Vec::new();
    for start in starts {
        for node in 0..series.num_nodes() {
            let known = (0..start).rev().filter_map(|step| series.get(step, node, 0)).find(|value| !value.is_nan());
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
                out.extend((start..start + horizon).map(|step| self.means[step % self.period * self.num_nodes + node]));
            }
        }
        out
    }
}
