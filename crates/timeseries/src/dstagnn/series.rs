//! Readings of many sensors, and windows over them.

use super::scaler::{Scaler, Scaling};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::ops::Range;

/// Readings `[steps][nodes][channels]`; NaN where one is missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    num_nodes: usize,
    num_channels: usize,
    values: Vec<f64>,
}

const OP: &str = "series";

impl Series {
    /// Readings in the order steps, nodes, channels.
    ///
    /// # Errors
    /// No reading, an incomplete last step, infinite values.
    pub fn new(values: Vec<f64>, num_nodes: usize, num_channels: usize) -> Result<Self> {
        let step = num_nodes.saturating_mul(num_channels);
        if step == 0 || values.is_empty() {
            return Err(Error::count(OP, "the number of readings", 0, "at least 1"));
        }
        if !values.len().is_multiple_of(step) {
            let expected = format!("a multiple of {step}, the sensors times the channels");
            return Err(Error::count(OP, "the number of readings", values.len(), expected));
        }
        if let Some(at) = values.iter().position(|value| value.is_infinite()) {
            let what = format!("the reading of sensor {} at step {}", at % step / num_channels, at / step);
            return Err(Error::value(OP, what, values[at], "finite, or NaN where it is missing"));
        }
        Ok(Self { num_nodes, num_channels, values })
    }

    /// How many steps there are.
    pub fn num_steps(&self) -> usize {
        self.values.len() / (self.num_nodes * self.num_channels)
    }

    /// How many sensors.
    pub fn num_nodes(&self) -> usize {
        self.num_nodes
    }

    /// How many readings a sensor has at each step.
    pub fn num_channels(&self) -> usize {
        self.num_channels
    }

    /// One reading.
    pub fn get(&self, step: usize, node: usize, channel: usize) -> Option<f64> {
        let is_inside = step < self.num_steps() && node < self.num_nodes && channel < self.num_channels;
        is_inside.then(|| self.at(step, node, channel))
    }

    /// The same readings with more channels behind them, which are equal for all sensors at a step: `[steps][covariates]`, such as those of [`calendar`](super::calendar()).
    ///
    /// # Errors
    /// A length that is not a multiple of the steps, no covariate, values that are infinite.
    pub fn with_covariates(&self, covariates: &[f64]) -> Result<Self> {
        let steps = self.num_steps();
        if covariates.is_empty() || !covariates.len().is_multiple_of(steps) {
            let expected = format!("a multiple of the {steps} steps");
            return Err(Error::count(OP, "the number of covariates of all steps", covariates.len(), expected));
        }
        let more = covariates.len() / steps;
        let mut values = Vec::with_capacity(self.values.len() + covariates.len().saturating_mul(self.num_nodes));
        for (readings, covariates) in self.values.chunks_exact(self.num_channels).enumerate().map(|(at, readings)| {
            let step = at / self.num_nodes;
            (readings, &covariates[step * more..(step + 1) * more])
        }) {
            values.extend_from_slice(readings);
            values.extend_from_slice(covariates);
        }
        Self::new(values, self.num_nodes, self.num_channels + more)
    }

    fn at(&self, step: usize, node: usize, channel: usize) -> f64 {
        self.values[(step * self.num_nodes + node) * self.num_channels + channel]
    }

    /// One channel of the first `steps` steps, `[steps][nodes]`, for [`Similarity::from_series`](super::Similarity::from_series).
    ///
    /// # Errors
    /// A channel or a number of steps that the series does not have.
    pub fn channel(&self, channel: usize, steps: usize) -> Result<Vec<f64>> {
        if channel >= self.num_channels {
            let expected = format!("below the {} channels", self.num_channels);
            return Err(Error::count(OP, "the channel", channel, expected));
        }
        if steps > self.num_steps() {
            return Err(Error::count(OP, "the number of steps", steps, format!("at most {}", self.num_steps())));
        }
        Ok(self.values.iter().skip(channel).step_by(self.num_channels).take(steps * self.num_nodes).copied().collect())
    }
}

/// Windows over a series, without a copy: each is identified by the step at which its targets begin.
#[derive(Debug, Clone, Copy)]
pub struct Windows<'a> {
    series: &'a Series,
    input_steps: usize,
    horizon: usize,
}

/// Some windows as tensors.
#[derive(Debug, Clone)]
pub struct WindowBatch {
    /// `[batch, nodes, channels, input steps]`, normalised; missing readings are the mean, 0.
    pub x: Tensor,
    /// `[batch, nodes, horizon]` of the first channel, as the network is to forecast it: in its units, or normalised with [`Scaling::PerSensor`]; 0 where missing.
    pub target: Tensor,
    /// 1 where there is a target and 0 where it is missing, or where there is nothing to learn since the sensor never changes ([`Scaling::PerSensor`]); `None` if all are 1.
    pub mask: Option<Tensor>,
}

impl<'a> Windows<'a> {
    /// All windows of `input_steps` steps before and `horizon` steps from their start on.
    ///
    /// # Errors
    /// Sizes of 0, or a series that is too short for ten windows: six to train, two to validate and two to test.
    pub fn new(series: &'a Series, input_steps: usize, horizon: usize) -> Result<Self> {
        if input_steps == 0 || horizon == 0 {
            return Err(Error::count("windows", "the number of steps before or after", 0, "at least 1"));
        }
        let (got, needed) = (series.num_steps(), input_steps.saturating_add(horizon).saturating_add(9));
        if got < needed {
            let reason =
                format!("has {got} steps, at least {needed} are needed: ten windows for training, validation and test");
            return Err(Error::InvalidData { operation: "windows", what: "the series", reason });
        }
        Ok(Self { series, input_steps, horizon })
    }

    /// How many there are: `steps − input_steps − horizon + 1`.
    pub fn len(&self) -> usize {
        self.series.num_steps() + 1 - self.input_steps - self.horizon
    }

    /// Always false: there are at least ten.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The series.
    pub fn series(&self) -> &'a Series {
        self.series
    }

    /// H, the steps that are forecast.
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// T, the steps that are seen.
    pub fn input_steps(&self) -> usize {
        self.input_steps
    }

    /// The first 60 % of the windows for training, the next 20 % for validation, the rest for the test: the steps at which their targets begin. Neighbouring parts overlap by a
    /// window's length, as in the authors' program.
    pub fn split(&self) -> [Range<usize>; 3] {
        let first = self.input_steps;
        let (a, b) = (first + self.len() * 6 / 10, first + self.len() * 8 / 10);
        [first..a, a..b, b..first + self.len()]
    }

    /// As [`Self::split`], with the second half of the validation windows kept for [`ConformalIntervals`](super::ConformalIntervals): 60 % training, 10 % validation, up to 10 % calibration, 20 %
    /// test. Calibration leaves out the windows that share targets with validation or test, `horizon − 1` at either end.
    ///
    /// # Errors
    /// A series that leaves no window for validation or calibration.
    pub fn split_with_calibration(&self) -> Result<[Range<usize>; 4]> {
        let [training, rest, test] = self.split();
        let middle = rest.start + rest.len() / 2;
        let calibration = middle + (self.horizon - 1)..test.start.saturating_sub(self.horizon - 1);
        if calibration.is_empty() || middle == rest.start {
            let reason = format!(
                "has {} windows, too few for a calibration part of its own at a horizon of {}",
                self.len(),
                self.horizon
            );
            return Err(Error::InvalidData { operation: "windows", what: "the series", reason });
        }
        Ok([training, rest.start..middle, calibration, test])
    }

    /// Mean and deviation over the inputs of some windows (those of training), a step counted as often as it is in one; missing readings do not count.
    ///
    /// # Errors
    /// No window, a channel without readings, or one that never changes (per channel: any; per sensor: the first one at all sensors); readings so large that their squares overflow.
    pub fn scaler(&self, starts: Range<usize>, scaling: Scaling) -> Result<Scaler> {
        let (channels, nodes) = (self.series.num_channels, self.series.num_nodes);
        let mut pooled = Vec::with_capacity(channels);
        for channel in 0..channels {
            let Some(moments) = self.moments(&starts, channel, 0..nodes) else {
                return Err(Error::count("scaler", &format!("readings of channel {channel}"), 0, "at least 1"));
            };
            if !(moments.mean.is_finite() && moments.deviation.is_finite()) {
                let expected = "finite: the readings are too large";
                let what = format!("the deviation of channel {channel}");
                return Err(Error::value("scaler", what, moments.deviation, expected));
            }
            if moments.deviation <= 0. && scaling == Scaling::PerChannel {
                let expected = "positive: a channel that never changes has no information";
                let what = format!("the deviation of channel {channel}");
                return Err(Error::value("scaler", what, moments.deviation, expected));
            }
            pooled.push(moments);
        }
        let moments: Vec<Moments> = match scaling {
            Scaling::PerChannel => pooled,
            Scaling::PerSensor => {
                let each = (0..nodes).flat_map(|node| (0..channels).map(move |channel| (node, channel)));
                each.map(|(node, channel)| self.moments(&starts, channel, node..node + 1).unwrap_or(pooled[channel]))
                    .collect()
            }
        };
        if scaling == Scaling::PerSensor && moments.iter().step_by(channels).all(|moments| moments.deviation <= 0.) {
            let expected = "positive: no sensor changes, so that there is nothing to learn";
            return Err(Error::value("scaler", "the deviation of every sensor", 0., expected));
        }
        let (mean, deviation) = moments.iter().map(|moments| (moments.mean, moments.deviation)).unzip();
        Ok(Scaler { mean, deviation, scaling })
    }

    /// Of the readings of some sensors in the inputs of windows; `None` without any reading.
    fn moments(&self, starts: &Range<usize>, channel: usize, nodes: Range<usize>) -> Option<Moments> {
        let (mut count, mut sum, mut squares) = (0f64, 0., 0.);
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        let each = |f: &mut dyn FnMut(f64, f64)| {
            let first = starts.start.saturating_sub(self.input_steps);
            for step in first..starts.end.saturating_sub(1).min(self.series.num_steps()) {
                // windows with this step: targets begin after it, at most `input_steps` later
                let low = starts.start.max(step + 1);
                let high = starts.end.min(step + self.input_steps + 1);
                let weight = high.saturating_sub(low) as f64;
                for node in nodes.clone() {
                    let value = self.series.at(step, node, channel);
                    if !value.is_nan() {
                        f(value, weight);
                    }
                }
            }
        };
        each(&mut |value, weight| {
            count += weight;
            sum += weight * value;
            (least, most) = (least.min(value), most.max(value));
        });
        if count == 0. {
            return None;
        }
        if least == most {
            // exactly, where sums would round
            return Some(Moments { mean: least, deviation: 0. });
        }
        let mean = sum / count;
        each(&mut |value, weight| squares += weight * (value - mean) * (value - mean));
        Some(Moments { mean, deviation: (squares / count).sqrt() })
    }

    /// The windows whose targets begin at `starts`.
    ///
    /// # Errors
    /// No window, one that does not fit, a scaler of other channels.
    pub fn batch(&self, starts: &[usize], scaler: &Scaler, dtype: DType, device: &Device) -> Result<WindowBatch> {
        let (nodes, channels) = (self.series.num_nodes, self.series.num_channels);
        self.check_scaler(scaler)?;
        starts.iter().try_for_each(|&start| self.check(start))?;
        let mut x = Vec::with_capacity(starts.len() * nodes * channels * self.input_steps);
        let mut target = Vec::with_capacity(starts.len() * nodes * self.horizon);
        for &start in starts {
            for node in 0..nodes {
                for channel in 0..channels {
                    x.extend(self.inputs(start, node, channel, scaler));
                }
                let steps = start..start + self.horizon;
                target.extend(steps.map(|step| scaler.target(node, channels, self.series.at(step, node, 0))));
            }
        }
        let tensor = |values: Vec<f64>, shape: &[usize]| {
            Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
        };
        let shape = [starts.len(), nodes, self.horizon];
        let mask = if target.iter().any(|y| y.is_nan()) {
            let mask = target.iter().map(|y| f64::from(!y.is_nan())).collect();
            target.iter_mut().for_each(|y| *y = if y.is_nan() { 0. } else { *y });
            Some(tensor(mask, &shape)?)
        } else {
            None
        };
        Ok(WindowBatch {
            x: tensor(x, &[starts.len(), nodes, channels, self.input_steps])?,
            target: tensor(target, &shape)?,
            mask,
        })
    }

    /// The input for a forecast beyond the end of the series, `[1, nodes, channels, input steps]`.
    ///
    /// # Errors
    /// A scaler of other channels.
    pub fn latest(&self, scaler: &Scaler, dtype: DType, device: &Device) -> Result<Tensor> {
        let (nodes, channels, end) = (self.series.num_nodes, self.series.num_channels, self.series.num_steps());
        self.check_scaler(scaler)?;
        let mut x = Vec::new();
        for node in 0..nodes {
            for channel in 0..channels {
                x.extend(self.inputs(end, node, channel, scaler));
            }
        }
        let x = Tensor::from_vec(x, (1, nodes, channels, self.input_steps), &Device::Cpu)?;
        Ok(x.to_dtype(dtype)?.to_device(device)?)
    }

    /// The normalised readings before a step.
    fn inputs(&self, end: usize, node: usize, channel: usize, scaler: &Scaler) -> impl Iterator<Item = f64> {
        let channels = self.series.num_channels;
        let steps = end - self.input_steps..end;
        steps.map(move |step| scaler.input(node, (channel, channels), self.series.at(step, node, channel)))
    }

    /// What a network has forecast for windows of this series, `[…][nodes][horizon]`, in the units of the targets.
    ///
    /// # Errors
    /// A length that is not whole windows, a scaler of another series.
    pub fn to_units(&self, mut forecasts: Vec<f64>, scaler: &Scaler) -> Result<Vec<f64>> {
        self.check_scaler(scaler)?;
        let window = self.series.num_nodes * self.horizon;
        if !forecasts.len().is_multiple_of(window) {
            let (got, expected) = (forecasts.len(), forecasts.len().div_ceil(window) * window);
            return Err(Error::Length { operation: "windows", what: "the forecasts", got, expected });
        }
        let channels = self.series.num_channels;
        for (at, value) in forecasts.iter_mut().enumerate() {
            *value = scaler.forecast(at % window / self.horizon, channels, *value);
        }
        Ok(forecasts)
    }

    fn check_scaler(&self, scaler: &Scaler) -> Result<()> {
        let expected = scaler.expected_len(self.series.num_nodes, self.series.num_channels);
        match [scaler.mean.len(), scaler.deviation.len()].into_iter().find(|&len| len != expected) {
            Some(got) => Err(Error::Length { operation: "windows", what: "the scaler", got, expected }),
            None => Ok(()),
        }
    }

    pub(super) fn check(&self, start: usize) -> Result<()> {
        let last = self.series.num_steps() - self.horizon;
        if (self.input_steps..=last).contains(&start) {
            return Ok(());
        }
        Err(Error::count("windows", "a start", start, format!("{} to {last}", self.input_steps)))
    }

    /// The targets of windows, `[starts][nodes][horizon]`, NaN where missing.
    ///
    /// # Errors
    /// A window that does not fit.
    pub fn targets(&self, starts: Range<usize>) -> Result<Vec<f64>> {
        starts.clone().try_for_each(|start| self.check(start))?;
        let mut out = Vec::new();
        for start in starts {
            for node in 0..self.series.num_nodes {
                out.extend((start..start + self.horizon).filter_map(|step| self.series.get(step, node, 0)));
            }
        }
        Ok(out)
    }
}

/// Mean and deviation of some readings.
#[derive(Debug, Clone, Copy)]
struct Moments {
    mean: f64,
    deviation: f64,
}
