//! Auto-PGD: projected gradient ascent whose step shrinks where it stops paying.

use super::search::{Search, Told};
use super::threat::{Norm, ThreatModel, sign, sparse_step};
use serde::{Deserialize, Serialize};

/// Auto-PGD (Croce and Hein, 2020; its form for l_1: 2021).
///
/// For l_inf and l_2 a step is P(x + a(P(x + ηu) − x) + (1 − a)(x − x₋₁)) with η = 2ε at first, a = 0.75 (1 at the first step). After ⌊0.22 n⌋ steps, then at distances that fall by ⌊0.03 n⌋ to ⌊0.06 n⌋, the step is
/// halved, and the search goes on from its best point, if at most a share ρ of the steps in between raised the loss, or if neither the step was halved nor the best loss improved since the last check.
///
/// For l_1 a step of length ε goes to the signs of the k largest elements of the gradient, without momentum, and is projected on ball ∩ box; every ⌊0.04 n⌋ steps k becomes the number of changed elements of the best point
/// divided by 1.5, and the step returns to ε, from the best point, where that number fell below 0.95 of its last value, else it is divided by 1.5 down to ε/10. The radius is 3ε, 2ε and ε for 30, 30 and 40 % of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ApgdConfig {
    /// The number of steps n.
    pub iterations: usize,
    /// The share ρ of steps that must raise the loss.
    pub rho: f64,
}

impl ApgdConfig {
    /// ρ = 0.75.
    pub fn new(iterations: usize) -> Self {
        Self { iterations, rho: 0.75 }
    }

    fn share(&self, share: f64) -> usize {
        ((share * self.iterations as f64) as usize).max(1)
    }
}

/// The best point so far.
struct Best {
    loss: f64,
    point: Vec<f64>,
    gradient: Vec<f64>,
}

impl Best {
    fn none() -> Self {
        Self { loss: f64::NEG_INFINITY, point: Vec::new(), gradient: Vec::new() }
    }

    fn take(&mut self, loss: f64, point: &[f64], gradient: &[f64]) {
        if loss > self.loss {
            self.loss = loss;
            self.point = point.to_vec();
            self.gradient = gradient.to_vec();
        }
    }
}

/// The attack for l_inf and l_2.
pub(crate) struct Apgd {
    config: ApgdConfig,
    threat: ThreatModel,
    clean: Vec<f64>,
    point: Vec<f64>,
    previous: Vec<f64>,
    best: Best,
    step: f64,
    steps: usize,
    is_done: bool,
    last_loss: f64,
    /// Steps since the last check, and how many of them raised the loss.
    since_check: usize,
    raised: usize,
    period: usize,
    was_halved: bool,
    best_at_check: f64,
}

impl Apgd {
    pub(crate) fn new(config: ApgdConfig, threat: ThreatModel, clean: &[f64], mut start: Vec<f64>) -> Self {
        threat.project(clean, threat.epsilon, &mut start);
        Self {
            config,
            threat,
            clean: clean.to_vec(),
            previous: start.clone(),
            point: start,
            best: Best::none(),
            step: 2. * threat.epsilon,
            steps: 0,
            is_done: false,
            // the reference compares the first loss with 0
            last_loss: 0.,
            since_check: 0,
            raised: 0,
            period: config.share(0.22),
            was_halved: true,
            best_at_check: f64::NEG_INFINITY,
        }
    }

    /// Shrinks the step if it is time to; whether the search goes on from the best point.
    fn check(&mut self) -> bool {
        if self.since_check < self.period {
            return false;
        }
        let oscillates = self.raised as f64 <= self.period as f64 * self.config.rho;
        let is_stuck = !self.was_halved && self.best_at_check >= self.best.loss;
        let is_halved = oscillates || is_stuck;
        if is_halved {
            self.step /= 2.;
        }
        self.was_halved = is_halved;
        self.best_at_check = self.best.loss;
        self.since_check = 0;
        self.raised = 0;
        self.period = self.period.saturating_sub(self.config.share(0.03)).max(self.config.share(0.06));
        is_halved
    }
}

impl Search for Apgd {
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
        self.best.take(told.loss, &self.point, told.gradient);
        let mut gradient = told.gradient;
        let mut at = self.point.clone();
        if self.steps == 0 {
            self.best_at_check = self.best.loss;
        } else {
            self.raised += usize::from(told.loss > self.last_loss);
            self.since_check += 1;
            self.last_loss = told.loss;
            if self.check() {
                at.copy_from_slice(&self.best.point);
                gradient = &self.best.gradient;
            }
        }
        if self.steps == self.config.iterations {
            self.is_done = true;
            return;
        }
        self.steps += 1;
        let weight = if self.steps > 1 { 0.75 } else { 1. };
        let scale = match self.threat.norm {
            Norm::L2 => self.step / (Norm::L2.of(gradient) + 1e-12),
            _ => self.step,
        };
        let mut ahead: Vec<f64> = match self.threat.norm {
            Norm::L2 => at.iter().zip(gradient).map(|(x, g)| x + scale * g).collect(),
            _ => at.iter().zip(gradient).map(|(x, g)| x + scale * sign(*g)).collect(),
        };
        self.threat.project(&self.clean, self.threat.epsilon, &mut ahead);
        for ((ahead, x), previous) in ahead.iter_mut().zip(&at).zip(&self.previous) {
            *ahead = x + weight * (*ahead - x) + (1. - weight) * (x - previous);
        }
        self.threat.project(&self.clean, self.threat.epsilon, &mut ahead);
        self.previous.copy_from_slice(&at);
        self.point = ahead;
    }

    fn step_size(&self) -> f64 {
        self.step
    }
}

/// The attack for l_1.
pub(crate) struct SparseApgd {
    threat: ThreatModel,
    clean: Vec<f64>,
    point: Vec<f64>,
    best: Best,
    /// Radii that are to come, in multiples of ε, with their numbers of steps.
    stages: Vec<(f64, usize)>,
    radius: f64,
    steps_left: usize,
    step: f64,
    kept: usize,
    since_check: usize,
    changed_at_check: f64,
    period: usize,
    is_done: bool,
}

impl SparseApgd {
    /// `is_given` says that the start is not a random one, so that its own sparsity counts.
    pub(crate) fn new(config: ApgdConfig, threat: ThreatModel, clean: &[f64], start: Vec<f64>, is_given: bool) -> Self {
        let first = (0.3 * config.iterations as f64) as usize;
        let stages = vec![(1., config.iterations - 2 * first), (2., first), (3., first)];
        let mut search = Self {
            threat,
            clean: clean.to_vec(),
            point: start,
            best: Best::none(),
            stages,
            radius: 0.,
            steps_left: 0,
            step: threat.epsilon,
            kept: 1,
            since_check: 0,
            changed_at_check: 0.,
            period: 1,
            is_done: false,
        };
        search.next_stage(is_given);
        search
    }

    fn num_changed(&self, point: &[f64]) -> f64 {
        point.iter().zip(&self.clean).filter(|(y, x)| y != x).count() as f64
    }

    /// Begins the next stage at the present point; at the last one's end there is none.
    fn next_stage(&mut self, is_given: bool) {
        let Some((multiple, steps)) = self.stages.pop() else {
            self.is_done = true;
            return;
        };
        self.radius = multiple * self.threat.epsilon;
        self.steps_left = steps;
        self.threat.project(&self.clean, self.radius, &mut self.point);
        self.best = Best::none();
        self.step = self.radius;
        self.since_check = 0;
        self.period = ((0.04 * steps as f64) as usize).max(1);
        let dimension = self.clean.len() as f64;
        let (changed, kept) = match is_given {
            true => (self.num_changed(&self.point), self.num_changed(&self.point) / 1.5),
            false => (dimension, 0.2 * dimension),
        };
        self.changed_at_check = changed;
        self.kept = (kept as usize).max(1);
    }
}

impl Search for SparseApgd {
    fn point(&self) -> Option<&[f64]> {
        (!self.is_done).then_some(&self.point)
    }

    fn needs_gradient(&self) -> bool {
        self.steps_left > 0
    }

    fn radius(&self) -> f64 {
        self.radius
    }

    fn told(&mut self, told: &Told<'_>) {
        self.best.take(told.loss, &self.point, told.gradient);
        if self.steps_left == 0 {
            self.point.copy_from_slice(&self.best.point);
            self.next_stage(true);
            return;
        }
        let mut gradient = told.gradient;
        if self.since_check == self.period {
            self.since_check = 0;
            let changed = self.num_changed(&self.best.point);
            if changed < 0.95 * self.changed_at_check {
                self.step = self.radius;
                self.point.copy_from_slice(&self.best.point);
                gradient = &self.best.gradient;
            } else {
                self.step = (self.step / 1.5).max(self.radius / 10.);
            }
            self.kept = ((changed / 1.5) as usize).max(1);
            self.changed_at_check = changed;
        }
        self.since_check += 1;
        self.steps_left -= 1;
        sparse_step(&mut self.point, gradient, self.step, self.kept);
        self.threat.project(&self.clean, self.radius, &mut self.point);
    }

    fn step_size(&self) -> f64 {
        self.step
    }
}

impl ApgdConfig {
    /// The search of the attack, from `start`.
    pub(crate) fn search(self, threat: ThreatModel, clean: &[f64], start: Vec<f64>, is_given: bool) -> Box<dyn Search> {
        match threat.norm {
            Norm::L1 => Box::new(SparseApgd::new(self, threat, clean, start, is_given)),
            Norm::L2 | Norm::Linf => Box::new(Apgd::new(self, threat, clean, start)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_of_l1_have_all_steps_and_end_at_the_budget() {
        for iterations in [1, 3, 10, 100] {
            let config = ApgdConfig::new(iterations);
            let clean = vec![0.5; 6];
            let mut search = SparseApgd::new(config, ThreatModel::l1(0.4), &clean, vec![0.6; 6], false);
            let (mut gradients, mut last) = (0, 0.);
            while let Some(point) = search.point() {
                let size: f64 = point.iter().map(|y| (y - 0.5f64).abs()).sum();
                assert!(size <= search.radius() + 1e-12);
                last = search.radius();
                gradients += usize::from(search.needs_gradient());
                let gradient = [1., -2., 0.5, 0., 3., -1.];
                search.told(&Told { loss: f64::from(gradients as u32), is_adversarial: false, gradient: &gradient });
            }
            assert_eq!(gradients, iterations);
            assert_eq!(last, 0.4);
        }
    }
}
