//! Learning rates over time.
//!
//! A [`Schedule`] is a pure function: it gives the factor of the base learning rate for a step (or an epoch; the unit is the
//! caller's), so a resumed run needs nothing but the step. [`ReduceOnPlateau`] watches a metric and keeps a state.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The factor of the base learning rate as a function of the step, counted from 0.
///
/// ```
/// use core_tensor::schedule::Schedule;
/// let schedule = Schedule::Warmup { steps: 10, then: Box::new(Schedule::Cosine { steps: 90, minimum: 0. }) };
/// assert_eq!(schedule.factor(0), 0.1);
/// assert_eq!(schedule.factor(10), 1.);
/// assert!((schedule.factor(55) - 0.5).abs() < 1e-12);
/// assert_eq!(schedule.factor(1000), 0.);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Schedule {
    /// Always 1.
    Constant,
    /// `gamma^⌊step / every⌋`.
    Step {
        /// The number of steps between reductions; 0 is taken as 1.
        every: u64,
        /// The factor of each reduction.
        gamma: f64,
    },
    /// `gamma` to the power of the number of milestones at or before the step.
    MultiStep {
        /// The steps from which the factor is reduced, in any order.
        milestones: Vec<u64>,
        /// The factor of each reduction.
        gamma: f64,
    },
    /// `gamma^step`.
    Exponential {
        /// The factor of each step.
        gamma: f64,
    },
    /// `minimum + (1 − minimum) (1 + cos(π step / steps)) / 2`, and `minimum` from then on (where PyTorch's
    /// `CosineAnnealingLR` would rise again).
    Cosine {
        /// The step at which the minimum is reached.
        steps: u64,
        /// The factor at the end.
        minimum: f64,
    },
    /// A straight line from 1 to `minimum`, which is reached at `steps` and kept.
    Linear {
        /// The step at which the minimum is reached.
        steps: u64,
        /// The factor at the end.
        minimum: f64,
    },
    /// A straight line `step / steps` for the first `steps` steps, the first of which changes nothing, and then another schedule from its beginning (the form of Hugging Face's
    /// schedules, where [`Schedule::Warmup`] has PyTorch's).
    WarmupFromZero {
        /// The number of steps of warming up.
        steps: u64,
        /// What follows.
        then: Box<Schedule>,
    },
    /// A straight line `(step + 1) / steps` for the first `steps` steps, and then another schedule from its beginning,
    /// scaled so that it starts at 1.
    Warmup {
        /// The number of steps of warming up.
        steps: u64,
        /// What follows.
        then: Box<Schedule>,
    },
}

impl Schedule {
    /// The factor of the base learning rate for this step.
    pub fn factor(&self, step: u64) -> f64 {
        let progress = |steps: u64| if step >= steps { 1. } else { step as f64 / steps as f64 };
        match self {
            Self::Constant => 1.,
            Self::Step { every, gamma } => gamma.powf((step / (*every).max(1)) as f64),
            Self::MultiStep { milestones, gamma } => {
                gamma.powf(milestones.iter().filter(|&&milestone| milestone <= step).count() as f64)
            }
            Self::Exponential { gamma } => gamma.powf(step as f64),
            Self::Cosine { steps, minimum } => {
                let done = progress(*steps);
                let share = if done >= 1. { 0. } else { 0.5 * (1. + (std::f64::consts::PI * done).cos()) };
                minimum + (1. - minimum) * share
            }
            Self::Linear { steps, minimum } => 1. + (minimum - 1.) * progress(*steps),
            Self::WarmupFromZero { steps, then } => {
                if step < *steps {
                    step as f64 / *steps as f64
                } else {
                    then.factor(step - steps)
                }
            }
            Self::Warmup { steps, then } => {
                if step < *steps {
                    (step + 1) as f64 / *steps as f64
                } else {
                    then.factor(step - steps)
                }
            }
        }
    }
}

/// Whether a smaller or a larger metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Losses.
    Smaller,
    /// Accuracies.
    Larger,
}

/// The numbers of [`ReduceOnPlateau`]; the defaults are those of `torch.optim.lr_scheduler.ReduceLROnPlateau`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PlateauConfig {
    /// Which direction is progress, smaller.
    pub better: Better,
    /// The factor of each reduction, 0.1.
    pub factor: f64,
    /// The number of observations without progress that are tolerated, 10.
    pub patience: u64,
    /// The share of the best value's magnitude by which a metric must be better to count as progress, 1e-4.
    pub threshold: f64,
    /// The number of observations after a reduction in which nothing is counted, 0.
    pub cooldown: u64,
    /// The smallest factor of the base learning rate, 0.
    pub minimum: f64,
}

impl Default for PlateauConfig {
    fn default() -> Self {
        Self { better: Better::Smaller, factor: 0.1, patience: 10, threshold: 1e-4, cooldown: 0, minimum: 0. }
    }
}

/// Reduces the learning rate when a metric has stopped improving. Its whole state can be serialised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReduceOnPlateau {
    config: PlateauConfig,
    best: Option<f64>,
    num_bad: u64,
    cooldown_left: u64,
    current: f64,
}

impl ReduceOnPlateau {
    /// A watch that has seen nothing; its factor is 1.
    ///
    /// # Errors
    ///
    /// When the factor is not in `[0, 1)`, or the threshold or minimum is negative or not finite.
    pub fn new(config: PlateauConfig) -> Result<Self> {
        const OP: &str = "ReduceOnPlateau";
        let in_range = (0. ..1.).contains(&config.factor);
        if !in_range {
            return Err(Error::Value { operation: OP, what: "factor", got: config.factor, expected: "in [0, 1)" });
        }
        for (what, got) in [("threshold", config.threshold), ("minimum", config.minimum)] {
            if !(got.is_finite() && got >= 0.) {
                return Err(Error::Value { operation: OP, what, got, expected: "finite and not negative" });
            }
        }
        Ok(Self { config, best: None, num_bad: 0, cooldown_left: 0, current: 1. })
    }

    /// The factor of the base learning rate.
    pub fn factor(&self) -> f64 {
        self.current
    }

    /// Takes note of the metric and returns the factor from now on. A NaN is no progress.
    pub fn observe(&mut self, metric: f64) -> f64 {
        let config = self.config;
        let is_better = match (self.best, config.better) {
            (None, _) => !metric.is_nan(),
            // PyTorch multiplies by 1 ∓ threshold, which for a negative best is worse than the best itself.
            (Some(best), Better::Smaller) if best >= 0. => metric < best * (1. - config.threshold),
            (Some(best), Better::Smaller) => metric < best * (1. + config.threshold),
            (Some(best), Better::Larger) if best >= 0. => metric > best * (1. + config.threshold),
            (Some(best), Better::Larger) => metric > best * (1. - config.threshold),
        };
        if is_better {
            self.best = Some(metric);
            self.num_bad = 0;
        } else {
            self.num_bad += 1;
        }
        if self.cooldown_left > 0 {
            self.cooldown_left -= 1;
            self.num_bad = 0;
        }
        if self.num_bad > config.patience {
            self.current = (self.current * config.factor).max(config.minimum);
            self.cooldown_left = config.cooldown;
            self.num_bad = 0;
        }
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_and_multi_step_count_reductions() {
        let step = Schedule::Step { every: 30, gamma: 0.1 };
        assert_eq!([0, 29, 30, 60].map(|s| step.factor(s)), [1., 1., 0.1, 0.1f64.powf(2.)]);
        let multi = Schedule::MultiStep { milestones: vec![80, 30], gamma: 0.5 };
        assert_eq!([29, 30, 79, 80, 500].map(|s| multi.factor(s)), [1., 0.5, 0.5, 0.25, 0.25]);
    }

    #[test]
    fn decays_reach_their_minimum_and_stay() {
        for schedule in [Schedule::Cosine { steps: 10, minimum: 0.2 }, Schedule::Linear { steps: 10, minimum: 0.2 }] {
            assert_eq!(schedule.factor(0), 1.);
            assert!((schedule.factor(5) - 0.6).abs() < 1e-12);
            assert!((schedule.factor(10) - 0.2).abs() < 1e-12 && (schedule.factor(99) - 0.2).abs() < 1e-12);
            assert!((0..20).all(|s| schedule.factor(s + 1) <= schedule.factor(s)));
        }
        assert_eq!(Schedule::Cosine { steps: 0, minimum: 0.5 }.factor(0), 0.5);
    }

    #[test]
    fn warm_up_rises_to_one() {
        let schedule = Schedule::Warmup { steps: 4, then: Box::new(Schedule::Exponential { gamma: 0.5 }) };
        assert_eq!([0, 1, 2, 3, 4, 5].map(|s| schedule.factor(s)), [0.25, 0.5, 0.75, 1., 1., 0.5]);
    }

    #[test]
    fn a_plateau_reduces_after_patience_and_cools_down() {
        let config = PlateauConfig { patience: 1, cooldown: 2, factor: 0.5, minimum: 0.2, ..Default::default() };
        let mut watch = ReduceOnPlateau::new(config).unwrap();
        // Best 1; two bad observations reduce; two are ignored; two more reduce again; the minimum is kept.
        let factors: Vec<f64> = [1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1.].map(|m| watch.observe(m)).to_vec();
        assert_eq!(factors, [1., 1., 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.2, 0.2]);
    }

    #[test]
    fn a_constant_negative_metric_is_a_plateau() {
        for better in [Better::Smaller, Better::Larger] {
            let mut watch = ReduceOnPlateau::new(PlateauConfig { better, patience: 2, ..Default::default() }).unwrap();
            let factors = [-1.; 5].map(|m| watch.observe(m));
            assert_eq!(factors, [1., 1., 1., 0.1, 0.1], "{better:?}");
        }
        // −1.1 is better than −1 by a tenth, and −0.9 for accuracies
        let mut watch = ReduceOnPlateau::new(PlateauConfig { patience: 0, ..Default::default() }).unwrap();
        assert_eq!([-1., -1.1, -1.1].map(|m| watch.observe(m)), [1., 1., 0.1]);
    }

    #[test]
    fn the_state_survives_serialisation() {
        let mut watch = ReduceOnPlateau::new(PlateauConfig { patience: 2, ..Default::default() }).unwrap();
        watch.observe(3.);
        watch.observe(f64::NAN);
        let text = serde_json::to_string(&watch).unwrap();
        assert_eq!(serde_json::from_str::<ReduceOnPlateau>(&text).unwrap(), watch);
        let schedule = Schedule::Warmup { steps: 4, then: Box::new(Schedule::Constant) };
        assert_eq!(serde_json::from_str::<Schedule>(&serde_json::to_string(&schedule).unwrap()).unwrap(), schedule);
    }

    #[test]
    fn wrong_numbers_are_errors() {
        assert!(ReduceOnPlateau::new(PlateauConfig { factor: 1., ..Default::default() }).is_err());
        assert!(ReduceOnPlateau::new(PlateauConfig { threshold: f64::NAN, ..Default::default() }).is_err());
    }
}
