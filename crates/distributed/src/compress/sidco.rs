//! SIDCo: thresholds from fitted distributions.

use super::special::inverse_upper_gamma;
use super::top_k;
use crate::compressor::Compressor;
use crate::key::Key;
use crate::ratio::{check_ratio, target};
use crate::{Encoded, Error, Result, scan};
use serde::{Deserialize, Serialize};

/// The distribution that is fitted to the magnitudes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Exponential in all stages.
    #[default]
    Exponential,
    /// Generalised Pareto, by its moments, in all stages.
    GeneralizedPareto,
    /// Gamma in the first stage, with an approximate quantile; generalised Pareto in the others.
    GammaThenPareto,
    /// The same, with the exact quantile.
    GammaThenParetoExact,
}

/// The settings of [`SidCo`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SidCoConfig {
    /// Fraction of the elements to send; 0.001.
    pub ratio: f64,
    /// The distribution; exponential.
    pub distribution: Distribution,
    /// Fraction of the elements that the first of several stages keeps; 0.25.
    pub first_ratio: f64,
    /// The number of stages at the start; 1.
    pub stages: usize,
    /// The number of stages adapts after this many calls, never if 0; 5.
    pub adapt_every: usize,
}

impl Default for SidCoConfig {
    fn default() -> Self {
        Self { ratio: 0.001, distribution: Distribution::Exponential, first_ratio: 0.25, stages: 1, adapt_every: 5 }
    }
}

/// The thresholds of the stages, for tests.
#[derive(Debug, Clone, PartialEq)]
pub struct StageThresholds {
    /// One for each stage; the last one decides.
    pub thresholds: Vec<f64>,
    /// How many magnitudes are above the last threshold.
    pub selected: usize,
}

/// The thresholds that [`SidCo`] computes, in f64 from magnitudes (nonnegative, not all zero), for tests. The first stage keeps `first_ratio`, each other one an equal share of the rest; a single
/// stage keeps the ratio itself. Each stage fits its distribution to the magnitudes that the previous one kept, shifted by the smallest of them.
pub fn stage_thresholds(
    magnitudes: &[f64],
    distribution: Distribution,
    first_ratio: f64,
    stages: usize,
    ratio: f64,
) -> StageThresholds {
    let (keep, later) = plan(first_ratio, stages, ratio);
    let n = magnitudes.len() as f64;
    let mean = magnitudes.iter().sum::<f64>() / n;
    let first = first_quantile(distribution, keep, mean, |f| magnitudes.iter().map(|&a| f(a)).sum::<f64>(), n);
    let mut thresholds = vec![first];
    let mut left: Vec<f64> = magnitudes.iter().copied().filter(|&a| a > first).collect();
    later_stages(&mut thresholds, &mut left, distribution, later, ratio / keep);
    StageThresholds { thresholds, selected: left.len() }
}

/// The fraction that the first stage keeps, and the number of other stages.
fn plan(first_ratio: f64, stages: usize, ratio: f64) -> (f64, usize) {
    if stages <= 1 || ratio >= first_ratio { (ratio, 0) } else { (first_ratio, stages - 1) }
}

/// The stages after the first. `left` are the magnitudes above the last threshold, before and after.
fn later_stages(thresholds: &mut Vec<f64>, left: &mut Vec<f64>, distribution: Distribution, stages: usize, keep: f64) {
    let share = keep.powf(1. / stages.max(1) as f64);
    for _ in 0..stages {
        let Some(smallest) = left.iter().copied().reduce(f64::min) else { break };
        let n = left.len() as f64;
        let mean = left.iter().map(|a| a - smallest).sum::<f64>() / n;
        let quantile = match distribution {
            Distribution::Exponential => exponential(mean, share),
            _ => {
                let square = |a: &f64| (a - smallest - mean) * (a - smallest - mean);
                pareto(mean, left.iter().map(square).sum::<f64>() / (n - 1.), share)
            }
        };
        if !quantile.is_finite() {
            break;
        }
        let threshold = quantile + smallest;
        thresholds.push(threshold);
        left.retain(|&a| a > threshold);
    }
}

fn exponential(mean: f64, keep: f64) -> f64 {
    -mean * keep.ln()
}

fn pareto(mean: f64, variance: f64, keep: f64) -> f64 {
    let squared = mean * mean / variance;
    let (scale, shape) = (mean * (squared + 1.) / 2., (squared - 1.) / 2.);
    if shape.abs() < 1e-12 { -scale * keep.ln() } else { -scale * (shape * keep.ln()).exp_m1() / shape }
}

/// The threshold of the first stage. `sum` is the sum of a function over all `n` magnitudes and costs a pass.
fn first_quantile(
    distribution: Distribution,
    keep: f64,
    mean: f64,
    sum: impl Fn(&(dyn Fn(f64) -> f64 + Sync)) -> f64,
    n: f64,
) -> f64 {
    match distribution {
        Distribution::Exponential => exponential(mean, keep),
        Distribution::GeneralizedPareto => pareto(mean, sum(&|a| (a - mean) * (a - mean)) / (n - 1.), keep),
        Distribution::GammaThenPareto | Distribution::GammaThenParetoExact => {
            let s = mean.ln() - sum(&|a| (a + 2.2e-16).ln()) / n;
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
/// adapts to how many elements were selected. Where the quantile lies above all magnitudes, or there is none (a single element, or all magnitudes equal), the `⌊n r⌋` largest are sent; for the
/// adaptation they do not count.
#[derive(Debug, Clone)]
pub struct SidCo {
    config: SidCoConfig,
    stages: usize,
    calls: usize,
    /// Sum of (selected / wanted) since the last adaptation.
    relative: f64,
}

impl SidCo {
    /// The compressor with these settings.
    ///
    /// # Errors
    ///
    /// When a setting is outside its range.
    pub fn new(config: SidCoConfig) -> Result<Self> {
        check_ratio("ratio", config.ratio)?;
        check_ratio("first_ratio", config.first_ratio)?;
        if config.stages == 0 {
            return Err(Error::config("stages", "0 is not at least 1"));
        }
        Ok(Self { config, stages: config.stages, calls: 0, relative: 0. })
    }

    /// The current number of stages.
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
        let SidCoConfig { distribution, first_ratio, ratio, .. } = self.config;
        // quantiles scale with the magnitudes; only the offset inside the logarithm needs them divided by the norm
        let norm = match distribution {
            Distribution::Exponential | Distribution::GeneralizedPareto => 1.,
            _ => scan::sum(values, |value| value * value).sqrt(),
        };
        let (keep, later) = plan(first_ratio, self.stages, ratio);
        let n = values.len() as f64;
        let mean = scan::sum(values, |value| value) / norm / n;
        let sum = |f: &(dyn Fn(f64) -> f64 + Sync)| scan::sum(values, |value| f(value / norm));
        let first = first_quantile(distribution, keep, mean, sum, n);
        let magnitude = |at: u32| f64::from(values[at as usize].abs()) / norm;
        // the pass compares in f32, so its threshold is slightly lower; the exact comparison follows
        let is_sound = first.is_finite() && first >= 0.;
        let mut indices = Vec::new();
        if is_sound {
            let reach = (first * norm * (1. - 1e-6)) as f32;
            indices = scan::at_least("sidco", values, reach)?;
            indices.retain(|&at| magnitude(at) > first);
        }
        if later > 0 && !indices.is_empty() {
            let mut thresholds = vec![first];
            let mut left: Vec<f64> = indices.iter().map(|&at| magnitude(at)).collect();
            later_stages(&mut thresholds, &mut left, distribution, later, ratio / keep);
            let last = thresholds.last().copied().unwrap_or(first);
            indices.retain(|&at| magnitude(at) > last);
        }
        self.adapt(indices.len(), values.len());
        if indices.is_empty() {
            indices = top_k::largest(values, target(values.len(), ratio))?;
        }
        Ok(Encoded::gather(values, indices))
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
            [stages, calls, relative] if stages >= 1. && calls >= 0. && relative >= 0. => {
                (self.stages, self.calls, self.relative) = (stages as usize, calls as usize, relative);
                Ok(())
            }
            _ => Err(Error::state(format!(
                "{} numbers for sidco, expected 3 of which the first is at least 1",
                state.len()
            ))),
        }
    }
}
