//! SIDCo: thresholds from fitted distributions.

use super::special::inverse_upper_gamma;
use super::{Compressor, Key, check_ratio};
use crate::{Encoded, Error, Result, scan};
use serde::{Deserialize, Serialize};

/// What is fitted to the magnitudes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Exponential, in all stages.
    #[default]
    Exponential,
    /// Generalised Pareto by its moments, in all stages.
    GeneralizedPareto,
    /// Gamma in the first stage by an approximate quantile, generalised Pareto in the others.
    GammaThenPareto,
    /// The same with the exact quantile.
    GammaThenParetoExact,
}

/// The options of [`SidCo`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SidCoConfig {
    /// Fraction of the elements to send; 0.001.
    pub ratio: f64,
    /// What is fitted; exponential.
    pub distribution: Distribution,
    /// Fraction that the first of several stages keeps; 0.25.
    pub first_ratio: f64,
    /// Stages at the beginning; 1.
    pub stages: usize,
    /// The number of stages is reconsidered after so many calls, 0 for never; 5.
    pub adapt_every: usize,
}

impl Default for SidCoConfig {
    fn default() -> Self {
        Self { ratio: 0.001, distribution: Distribution::Exponential, first_ratio: 0.25, stages: 1, adapt_every: 5 }
    }
}

/// The thresholds of the stages, on magnitudes divided by the gradient's norm.
#[derive(Debug, Clone, PartialEq)]
pub struct StageThresholds {
    /// One for each stage; the last one selects.
    pub thresholds: Vec<f64>,
    /// The magnitudes above the last threshold: how many.
    pub selected: usize,
}

/// Thresholds of magnitudes `a` (nonnegative, not all zero) for a ratio in some stages: the first keeps `first_ratio`, each other one an equal share of the rest; with one stage the first
/// keeps the ratio itself. Each stage fits its distribution to what the one before left, shifted by the smallest of it.
pub fn stage_thresholds(
    magnitudes: &[f64],
    distribution: Distribution,
    first_ratio: f64,
    stages: usize,
    ratio: f64,
) -> StageThresholds {
    let (first, later) = if stages <= 1 || ratio >= first_ratio { (ratio, 0) } else { (first_ratio, stages - 1) };
    let share = (ratio / first).powf(1. / later.max(1) as f64);
    let mut threshold = first_quantile(magnitudes, distribution, first);
    let mut thresholds = vec![threshold];
    let mut left: Vec<f64> = magnitudes.iter().copied().filter(|&a| a > threshold).collect();
    for _ in 0..later {
        let Some(smallest) = left.iter().copied().reduce(f64::min) else { break };
        let shifted: Vec<f64> = left.iter().map(|a| a - smallest).collect();
        let (mean, variance) = moments(&shifted);
        let quantile = match distribution {
            Distribution::Exponential => exponential(mean, share),
            _ => pareto(mean, variance, share),
        };
        if !quantile.is_finite() {
            break;
        }
        threshold = quantile + smallest;
        thresholds.push(threshold);
        left.retain(|&a| a > threshold);
    }
    StageThresholds { thresholds, selected: left.len() }
}

/// Mean and unbiased variance.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (n - 1.);
    (mean, variance)
}

fn exponential(mean: f64, keep: f64) -> f64 {
    -mean * keep.ln()
}

fn pareto(mean: f64, variance: f64, keep: f64) -> f64 {
    let squared = mean * mean / variance;
    let (scale, shape) = (mean * (squared + 1.) / 2., (squared - 1.) / 2.);
    if shape.abs() < 1e-12 { -scale * keep.ln() } else { -scale * (shape * keep.ln()).exp_m1() / shape }
}

fn first_quantile(magnitudes: &[f64], distribution: Distribution, keep: f64) -> f64 {
    let (mean, variance) = moments(magnitudes);
    match distribution {
        Distribution::Exponential => exponential(mean, keep),
        Distribution::GeneralizedPareto => pareto(mean, variance, keep),
        Distribution::GammaThenPareto | Distribution::GammaThenParetoExact => {
            let logarithms = magnitudes.iter().map(|a| (a + 2.2e-16).ln()).sum::<f64>() / magnitudes.len() as f64;
            let s = mean.ln() - logarithms;
            let shape = (3. - s + ((s - 3.) * (s - 3.) + 24. * s).sqrt()) / (12. * s);
            let scale = mean / shape;
            if distribution == Distribution::GammaThenPareto {
                -scale * (keep.ln() + libm::lgamma(shape))
            } else {
                scale * inverse_upper_gamma(shape, keep)
            }
        }
    }
}

/// SIDCo (Abdelmoniem et al., MLSys 2021): a sparsity-inducing distribution is fitted to the magnitudes and its quantile is the threshold; several stages fit the tail better, and their number
/// adapts to how many elements were selected.
#[derive(Debug, Clone)]
pub struct SidCo {
    config: SidCoConfig,
    stages: usize,
    calls: usize,
    /// Sum of (selected / wanted) since the last adaptation.
    relative: f64,
}

impl SidCo {
    /// # Errors
    ///
    /// When an option is outside its range.
    pub fn new(config: SidCoConfig) -> Result<Self> {
        check_ratio("ratio", config.ratio)?;
        check_ratio("first_ratio", config.first_ratio)?;
        if config.stages == 0 {
            return Err(Error::options("stages", "there must be at least one"));
        }
        Ok(Self { config, stages: config.stages, calls: 0, relative: 0. })
    }

    /// The present number of stages.
    pub fn stages(&self) -> usize {
        self.stages
    }

    fn adapt(&mut self, selected: usize, len: usize) {
        let every = self.config.adapt_every;
        if every == 0 {
            return;
        }
        self.relative += selected as f64 / (len as f64 * self.config.ratio);
        self.calls += 1;
        if self.calls < every {
            return;
        }
        let mean = self.relative / self.calls as f64;
        let most = (self.config.ratio.ln() / 0.5f64.ln()).ceil().max(1.) as usize;
        if mean > 1.2 {
            self.stages = self.stages.saturating_sub(1);
        } else if mean < 0.8 {
            self.stages += 1;
        }
        self.stages = self.stages.clamp(1, most);
        (self.calls, self.relative) = (0, 0.);
    }
}

impl Compressor for SidCo {
    fn name(&self) -> &'static str {
        "sidco"
    }

    fn compress(&mut self, values: &[f32], _: &Key) -> Result<Encoded> {
        let largest = scan::max_magnitude("sidco", values)?;
        if largest == 0. {
            return Ok(Encoded::Sparse { len: values.len(), indices: Vec::new(), values: Vec::new() });
        }
        let norm = scan::sum(values, |value| value * value).sqrt();
        let magnitudes: Vec<f64> = values.iter().map(|&value| f64::from(value.abs()) / norm).collect();
        let SidCoConfig { distribution, first_ratio, ratio, .. } = self.config;
        let found = stage_thresholds(&magnitudes, distribution, first_ratio, self.stages, ratio);
        let threshold = found.thresholds.last().copied().unwrap_or(0.);
        let above = (0..values.len() as u32).filter(|&at| magnitudes[at as usize] > threshold);
        let encoded = super::sparse(values, above.collect());
        self.adapt(encoded.num_sent(), values.len());
        Ok(encoded)
    }

    fn set_ratio(&mut self, ratio: f64) -> Result<()> {
        check_ratio("ratio", ratio)?;
        self.config.ratio = ratio;
        Ok(())
    }

    fn state(&self) -> Vec<f64> {
        vec![self.stages as f64, self.calls as f64, self.relative]
    }

    fn load_state(&mut self, state: &[f64]) -> Result<()> {
        match *state {
            [stages, calls, relative] if stages >= 1. => {
                (self.stages, self.calls, self.relative) = (stages as usize, calls as usize, relative);
                Ok(())
            }
            _ => Err(Error::State(format!("sidco has three numbers, not {}", state.len()))),
        }
    }
}
