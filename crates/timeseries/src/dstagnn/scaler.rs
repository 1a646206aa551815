//! How readings are normalised.

use serde::{Deserialize, Serialize};

/// What shares a mean and a deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// All sensors of a channel, and the network forecasts in the units of the targets: as in the authors' program, and right where all sensors measure the same in one unit.
    #[default]
    PerChannel,
    /// Each sensor has its own for each channel, and the network forecasts normalised targets, which are brought back to their units afterwards: for sensors in different units. A sensor that
    /// never changes in training is forecast at its constant. One without a reading in training has the mean and deviation of its channel, for want of its own.
    PerSensor,
}

/// Means and deviations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    /// What is subtracted: `[channels]` per channel, `[nodes][channels]` per sensor.
    pub mean: Vec<f64>,
    /// What is divided by, in the same order: the deviation of the population. 0 for a sensor that never changes, of which only the mean is subtracted.
    pub deviation: Vec<f64>,
    /// What has a mean and a deviation of its own. Files without it are per channel.
    #[serde(default)]
    pub scaling: Scaling,
}

impl Scaler {
    /// How many means a series of this size needs.
    pub(super) fn expected_len(&self, nodes: usize, channels: usize) -> usize {
        match self.scaling {
            Scaling::PerChannel => channels,
            Scaling::PerSensor => nodes * channels,
        }
    }

    fn of(&self, node: usize, channel: usize, channels: usize) -> (f64, f64) {
        let at = match self.scaling {
            Scaling::PerChannel => channel,
            Scaling::PerSensor => node * channels + channel,
        };
        (self.mean[at], self.deviation[at])
    }

    /// An input of the network. A missing reading becomes the mean.
    pub(super) fn input(&self, node: usize, (channel, channels): (usize, usize), value: f64) -> f64 {
        let (mean, deviation) = self.of(node, channel, channels);
        if value.is_nan() {
            0.
        } else if deviation == 0. && self.scaling == Scaling::PerSensor {
            value - mean
        } else {
            (value - mean) / deviation
        }
    }

    /// What the network is to forecast: NaN for a missing target, and for one whose forecast is settled since the sensor never changes.
    pub(super) fn target(&self, node: usize, channels: usize, value: f64) -> f64 {
        match self.scaling {
            Scaling::PerChannel => value,
            Scaling::PerSensor => {
                let (mean, deviation) = self.of(node, 0, channels);
                if deviation == 0. { f64::NAN } else { (value - mean) / deviation }
            }
        }
    }

    /// What the network has forecast, in the units of the targets.
    pub(super) fn forecast(&self, node: usize, channels: usize, value: f64) -> f64 {
        match self.scaling {
            Scaling::PerChannel => value,
            Scaling::PerSensor => {
                let (mean, deviation) = self.of(node, 0, channels);
                if deviation == 0. { mean } else { mean + deviation * value }
            }
        }
    }
}
