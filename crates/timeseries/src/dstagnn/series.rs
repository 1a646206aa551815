//! Readings of many sensors, windows over them, and their normalisation.

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
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
        let step = num_nodes * num_channels;
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
        let is_inside = node < self.num_nodes && channel < self.num_channels;
        let at = (step * self.num_nodes + node) * self.num_channels + channel;
        if is_inside { self.values.get(at).copied() } else { None }
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
    /// `[batch, nodes, horizon]` of the first channel, not normalised; 0 where missing.
    pub target: Tensor,
    /// 1 where there is a target and 0 where it is missing; `None` if no target is missing.
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
        let (got, needed) = (series.num_steps(), input_steps + horizon + 9);
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

    /// Mean and deviation over the inputs of some windows, a step counted as often as it is in one; missing readings do not count.
    ///
    /// # Errors
    /// No window, a channel without readings, or one that never changes.
    pub fn scaler(&self, starts: Range<usize>) -> Result<Scaler> {
        let channels = self.series.num_channels;
        let (mut mean, mut deviation) = (Vec::new(), Vec::new());
        for channel in 0..channels {
            let (mut count, mut sum, mut squares) = (0f64, 0., 0.);
            let each = |f: &mut dyn FnMut(f64, f64)| {
                let first = starts.start.saturating_sub(self.input_steps);
                for step in first..starts.end.saturating_sub(1).min(self.series.num_steps()) {
                    // windows with this step: targets begin after it, at most `input_steps` later
                    let low = starts.start.max(step + 1);
                    let high = starts.end.min(step + self.input_steps + 1);
                    let weight = high.saturating_sub(low) as f64;
                    for node in 0..self.series.num_nodes {
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
            });
            if count == 0. {
                return Err(Error::count("scaler", &format!("readings of channel {channel}"), 0, "at least 1"));
            }
            let average = sum / count;
            each(&mut |value, weight| squares += weight * (value - average) * (value - average));
            let spread = (squares / count).sqrt();
            if spread.is_nan() || spread <= 0. {
                let expected = "positive: a channel that never changes has no information";
                return Err(Error::value("scaler", format!("the deviation of channel {channel}"), spread, expected));
            }
            mean.push(average);
            deviation.push(spread);
        }
        Ok(Scaler { mean, deviation })
    }

    /// The windows whose targets begin at `starts`.
    ///
    /// # Errors
    /// No window, one that does not fit, a scaler of other channels.
    pub fn batch(&self, starts: &[usize], scaler: &Scaler, dtype: DType, device: &Device) -> Result<WindowBatch> {
        let (nodes, channels) = (self.series.num_nodes, self.series.num_channels);
        if scaler.mean.len() != channels || scaler.deviation.len() != channels {
            let (got, expected) = (scaler.mean.len(), channels);
            return Err(Error::Length { operation: "windows", what: "the scaler", got, expected });
        }
        starts.iter().try_for_each(|&start| self.check(start))?;
        let mut x = Vec::with_capacity(starts.len() * nodes * channels * self.input_steps);
        let mut target = Vec::with_capacity(starts.len() * nodes * self.horizon);
        for &start in starts {
            for node in 0..nodes {
                for channel in 0..channels {
                    x.extend(
                        (start - self.input_steps..start)
                            .map(|step| scaler.apply(channel, self.series.at(step, node, channel))),
                    );
                }
                target.extend((start..start + self.horizon).map(|step| self.series.at(step, node, 0)));
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
        if scaler.mean.len() != channels || scaler.deviation.len() != channels {
            let (got, expected) = (scaler.mean.len(), channels);
            return Err(Error::Length { operation: "windows", what: "the scaler", got, expected });
        }
        let mut x = Vec::new();
        for node in 0..nodes {
            for channel in 0..channels {
                let steps = end - self.input_steps..end;
                x.extend(steps.map(|step| scaler.apply(channel, self.series.at(step, node, channel))));
            }
        }
        let x = Tensor::from_vec(x, (1, nodes, channels, self.input_steps), &Device::Cpu)?;
        Ok(x.to_dtype(dtype)?.to_device(device)?)
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

/// Mean and deviation of each channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    /// What is subtracted.
    pub mean: Vec<f64>,
    /// What is divided by: the deviation of the population.
    pub deviation: Vec<f64>,
}

impl Scaler {
    /// A missing reading becomes the mean.
    fn apply(&self, channel: usize, value: f64) -> f64 {
        if value.is_nan() { 0. } else { (value - self.mean[channel]) / self.deviation[channel] }
    }
}
