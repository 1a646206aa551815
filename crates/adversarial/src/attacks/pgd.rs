//! Projected gradient ascent.

use super::search::{Search, Told};
use super::threat::ThreatModel;
use serde::{Deserialize, Serialize};

/// Projected gradient ascent with a constant step (Madry et al., 2018; for l_1 Tramèr and Boneh, 2019).
///
/// With g the gradient of the loss and P the projections, δ becomes P(δ + step · u), where u is
///
/// | norm | u | P |
/// |---|---|---|
/// | l_inf | sign(g) | the ball, then the box |
/// | l_2 | g / max(‖g‖, 1e-6) | the box, then scaled into the ball; the other way round with [`PgdConfig::ball_first`] |
/// | l_1 | signs of the largest (1 − q)·d elements of g (at least one), divided by their number | the ball, then the box |
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PgdConfig {
    /// The length of a step, in the norm of the threat model.
    pub step: f64,
    /// The number of steps.
    pub iterations: usize,
    /// The share q of elements that a step of the l_1 attack leaves alone.
    pub l1_sparsity: f64,
    /// Whether an l_2 step is scaled into the ball before it is cut to the box, false. Common libraries differ in this.
    #[serde(default)]
    pub ball_first: bool,
}

impl PgdConfig {
    /// The default sparsity, 0.95.
    pub fn new(step: f64, iterations: usize) -> Self {
        Self { step, iterations, l1_sparsity: 0.95, ball_first: false }
    }

    /// Scales an l_2 step into the ball before it is cut to the box.
    pub fn ball_first(self) -> Self {
        Self { ball_first: true, ..self }
    }
}

pub(crate) struct Pgd {
    config: PgdConfig,
    threat: ThreatModel,
    clean: Vec<f64>,
    delta: Vec<f64>,
    point: Vec<f64>,
    steps: usize,
    is_done: bool,
}

impl Pgd {
    pub(crate) fn new(config: PgdConfig, threat: ThreatModel, clean: &[f64], mut delta: Vec<f64>) -> Self {
        delta.iter_mut().zip(clean).for_each(|(delta, x)| *delta = threat.clip(x + *delta) - x);
        let point = clean.iter().zip(&delta).map(|(x, delta)| x + delta).collect();
        Self { config, threat, clean: clean.to_vec(), delta, point, steps: 0, is_done: false }
    }
}

impl Search for Pgd {
    fn point(&self) -> Option<&[f64]> {
        (!self.is_done).then_some(&self.point)
    }

    fn needs_gradient(&self) -> bool {
        self.steps < self.config.iterations
    }

    fn radius(&self) -> f64 {
        self.threat.epsilon
    }

    fn told(&mut self, told: &Told<'_>) {
        if self.steps == self.config.iterations {
            self.is_done = true;
            return;
        }
        self.steps += 1;
        self.threat.ascend(
            &self.clean,
            &mut self.delta,
            told.gradient,
            self.config.step,
            (self.config.l1_sparsity, self.config.ball_first),
        );
        for ((point, x), delta) in self.point.iter_mut().zip(&self.clean).zip(&self.delta) {
            *point = x + delta;
        }
    }

    fn step_size(&self) -> f64 {
        self.config.step
    }
}
