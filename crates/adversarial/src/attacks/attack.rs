//! Attacks and what they share.

use super::apgd::ApgdConfig;
use super::classifier::Classifier;
use super::goal::Goal;
use super::loss::{Loss, by_falling};
use super::outcome::Outcome;
use super::pgd::{Pgd, PgdConfig};
use super::samples::Samples;
use super::search::{Plan, Search, Settings, run};
use super::square::SquareSearch;
use super::starts::{in_ball, on_sphere, stream};
use super::threat::ThreatModel;
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// Something that looks for perturbations which a classifier falls for.
///
/// Random numbers are keyed by the seed, a sample's number and the restart, so that a sample's start does not depend on the others, on their order or on the size of a batch.
pub trait Attack {
    /// What it is called in reports: `APGD-CE`.
    fn name(&self) -> String;

    /// Attacks the samples.
    ///
    /// # Errors
    /// Inputs outside of the bounds (the range seen is named) or of another precision than the model takes; a budget, bounds or settings that make no sense; labels that are no class; logits or gradients that are not numbers (the sample
    /// is named), logits of another shape or for another number of classes than before; errors of the model.
    fn run_on(
        &self,
        classifier: &dyn Classifier,
        samples: &Samples,
        threat: &ThreatModel,
        seed: u64,
    ) -> Result<Outcome>;

    /// Attacks inputs `[n, …]` of f32 or f64 with n labels.
    ///
    /// # Errors
    /// As [`Self::run_on`] and [`Samples::new`].
    fn run(
        &self,
        classifier: &dyn Classifier,
        x: &Tensor,
        labels: &[u32],
        threat: &ThreatModel,
        seed: u64,
    ) -> Result<Outcome> {
        self.run_on(classifier, &Samples::new(x, labels)?, threat, seed)
    }
}

/// How a gradient attack moves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Rule {
    /// One step of size ε (Goodfellow et al., 2015); from a random start it stays within the ball.
    Fgsm,
    /// Projected gradient ascent with a constant step.
    Pgd(PgdConfig),
    /// Auto-PGD.
    Apgd(ApgdConfig),
}

/// Where a gradient attack starts.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// At the clean sample.
    Clean,
    /// At a random point, another one for each restart. PGD: uniform in the l_inf ball, else uniform in the ball by direction and distance; APGD: on the sphere.
    Random,
    /// At these perturbations, `[n, …]` as the inputs; they are brought into budget and bounds. Restarts after the first one are random.
    Given(Vec<f64>),
}

impl Start {
    /// The perturbations of a tensor as a start.
    ///
    /// # Errors
    /// A tensor that cannot be read.
    pub fn given(delta: &Tensor) -> Result<Self> {
        Ok(Self::Given(delta.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?))
    }
}

/// An attack by gradients: a loss, a goal, a rule for steps, a start and restarts, each chosen by itself.
///
/// ```
/// use adversarial::attacks::{Attack, GradientAttack, ThreatModel};
/// use candle_core::{Device, Tensor};
/// // logits (x₀, 1 − x₀): of class 0 from x₀ = 0.5 on
/// let model = |x: &Tensor| Tensor::cat(&[x.narrow(1, 0, 1)?, (1. - x.narrow(1, 0, 1)?)?], 1);
/// let x = Tensor::new(&[[0.6f32, 0.2], [0.9, 0.2]], &Device::Cpu)?;
/// let found = GradientAttack::pgd(0.05, 10).run(&model, &x, &[0, 0], &ThreatModel::linf(0.2), 0)?;
/// assert_eq!(found.is_successful, [true, false]);
/// assert_eq!(found.robust_accuracy(), 0.5);
/// # Ok::<(), adversarial::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GradientAttack {
    /// How it moves.
    pub rule: Rule,
    /// What it maximises.
    pub loss: Loss,
    /// When it has won.
    pub goal: Goal,
    /// Where it starts.
    pub start: Start,
    /// How often it starts, at least once; with a targeted loss and no targets of yours, for each class.
    pub restarts: usize,
    /// The largest number of target classes that a targeted loss tries, the highest other logits of the clean sample first.
    pub num_targets: usize,
    /// Rows in one forward pass.
    pub batch_size: usize,
    /// Whether samples that are won from the start are left alone, with 0 queries. Without it they are attacked too: for perturbations of every sample, such as a dictionary needs.
    pub skips_won: bool,
    /// Whether a sample is left alone once it is won. Without it every search goes to its end, and `last` is its last point.
    pub stops_early: bool,
    /// Whether gradients that are not finite count as 0 (and are counted in the outcome) instead of being an error.
    pub forgives_gradients: bool,
}

impl GradientAttack {
    /// Cross-entropy, untargeted, one random start, 128 rows at once.
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            loss: Loss::CrossEntropy,
            goal: Goal::Untargeted,
            start: Start::Random,
            restarts: 1,
            num_targets: 9,
            batch_size: 128,
            skips_won: true,
            stops_early: true,
            forgives_gradients: false,
        }
    }

    /// One step of size ε from the clean sample.
    pub fn fgsm() -> Self {
        Self::new(Rule::Fgsm).start(Start::Clean)
    }

    /// Projected gradient ascent from a random start.
    pub fn pgd(step: f64, iterations: usize) -> Self {
        Self::new(Rule::Pgd(PgdConfig::new(step, iterations)))
    }

    /// Auto-PGD from a random start.
    pub fn apgd(iterations: usize, loss: Loss) -> Self {
        Self::new(Rule::Apgd(ApgdConfig::new(iterations))).loss(loss)
    }

    /// The same attack with another loss.
    pub fn loss(self, loss: Loss) -> Self {
        Self { loss, ..self }
    }

    /// The same attack with another goal.
    pub fn goal(self, goal: Goal) -> Self {
        Self { goal, ..self }
    }

    /// The same attack from another start.
    pub fn start(self, start: Start) -> Self {
        Self { start, ..self }
    }

    /// The same attack with this number of starts.
    pub fn restarts(self, restarts: usize) -> Self {
        Self { restarts, ..self }
    }

    /// The same attack with this number of rows in a forward pass.
    pub fn batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }

    /// The same attack, every search of which goes to its end.
    pub fn to_the_end(self) -> Self {
        Self { stops_early: false, ..self }
    }

    /// The same attack, on every sample, also those that are won from the start.
    pub fn on_all(self) -> Self {
        Self { skips_won: false, ..self }
    }

    fn check(&self) -> Result<()> {
        const OPERATION: &str = "GradientAttack";
        crate::error::check_positive(OPERATION, &[("restarts", self.restarts)])?;
        let iterations = match self.rule {
            Rule::Fgsm => 1,
            Rule::Pgd(config) => {
                if !(config.step > 0. && config.step.is_finite()) {
                    return Err(Error::value(OPERATION, "the step", config.step, "above 0"));
                }
                if !(0. ..=1.).contains(&config.l1_sparsity) {
                    return Err(Error::value(OPERATION, "l1_sparsity", config.l1_sparsity, "0 to 1"));
                }
                config.iterations
            }
            Rule::Apgd(config) => {
                if !(0. ..=1.).contains(&config.rho) {
                    return Err(Error::value(OPERATION, "rho", config.rho, "0 to 1"));
                }
                config.iterations
            }
        };
        crate::error::check_positive(OPERATION, &[("iterations", iterations)])?;
        if self.loss.is_targeted() && !self.goal.is_targeted() {
            crate::error::check_positive(OPERATION, &[("target classes", self.num_targets)])?;
        }
        Ok(())
    }

    /// Every point of the first search of each sample, for looking at what an attack does: on all samples, to the end.
    ///
    /// # Errors
    /// As [`Attack::run_on`].
    pub fn trajectory(
        &self,
        classifier: &dyn Classifier,
        samples: &Samples,
        threat: &ThreatModel,
        seed: u64,
    ) -> Result<Vec<Trajectory>> {
        let mut all: Vec<Trajectory> = vec![Trajectory::default(); samples.len()];
        let attack = self.clone().to_the_end().on_all();
        attack.search(classifier, samples, threat, seed, &mut |seen| {
            let trajectory = &mut all[seen.sample];
            if seen.number > 0 {
                return;
            }
            trajectory.points.push(seen.point.to_vec());
            trajectory.losses.push(seen.loss);
            trajectory.is_adversarial.push(seen.is_adversarial);
            trajectory.step_sizes.push(seen.step_size);
        })?;
        Ok(all)
    }

    fn search(
        &self,
        classifier: &dyn Classifier,
        samples: &Samples,
        threat: &ThreatModel,
        seed: u64,
        observe: &mut dyn FnMut(&super::search::Seen<'_>),
    ) -> Result<Outcome> {
        self.check()?;
        if let Start::Given(delta) = &self.start {
            if delta.len() != samples.len() * samples.size() {
                let expected = samples.len() * samples.size();
                return Err(Error::length("GradientAttack", "elements of the start", delta.len(), expected));
            }
            if let Some(bad) = delta.iter().find(|delta| !delta.is_finite()) {
                return Err(Error::value("GradientAttack", "an element of the start", *bad, "a finite number"));
            }
        }
        let settings = Settings {
            loss: self.loss,
            goal: &self.goal,
            batch_size: self.batch_size,
            skips_won: self.skips_won,
            stops_early: self.stops_early,
            forgives_gradients: self.forgives_gradients,
        };
        let plan = GradientPlan { attack: self, samples, threat: *threat, seed };
        run(classifier, samples, threat, &settings, &plan, observe)
    }
}

/// The points of the first search of a sample, the start first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trajectory {
    /// The points.
    pub points: Vec<Vec<f64>>,
    /// The loss at each.
    pub losses: Vec<f64>,
    /// Whether each reaches the goal within the budget.
    pub is_adversarial: Vec<bool>,
    /// The step size behind each, after it was looked at.
    pub step_sizes: Vec<f64>,
}

impl Attack for GradientAttack {
    fn name(&self) -> String {
        let loss = self.loss.name();
        match self.rule {
            Rule::Fgsm => format!("FGSM-{loss}"),
            Rule::Pgd(config) => format!("PGD-{} {loss}", config.iterations),
            Rule::Apgd(_) => format!("APGD-{loss}"),
        }
    }

    fn run_on(
        &self,
        classifier: &dyn Classifier,
        samples: &Samples,
        threat: &ThreatModel,
        seed: u64,
    ) -> Result<Outcome> {
        self.search(classifier, samples, threat, seed, &mut |_| {})
    }
}

struct GradientPlan<'a> {
    attack: &'a GradientAttack,
    samples: &'a Samples,
    threat: ThreatModel,
    seed: u64,
}

impl Plan for GradientPlan<'_> {
    fn search(&self, sample: usize, number: usize, logits: &[f64]) -> Option<(Box<dyn Search>, Option<usize>)> {
        let attack = self.attack;
        let (target, restart) = match attack.goal.target(sample) {
            Some(target) => (Some(target), number),
            None if attack.loss.is_targeted() => {
                let label = self.samples.labels[sample] as usize;
                let mut others = by_falling(logits, logits.len());
                others.retain(|&class| class != label);
                others.truncate(attack.num_targets);
                (Some(others[number % others.len()]), number / others.len())
            }
            None => (None, number),
        };
        if restart >= attack.restarts {
            return None;
        }
        let (clean, threat) = (self.samples.row(sample), self.threat);
        let mut is_given = false;
        let mut rng = stream(self.seed, self.samples.ids[sample], number);
        let delta = match &attack.start {
            Start::Clean if number == 0 => vec![0.; clean.len()],
            Start::Given(delta) if number == 0 => {
                is_given = true;
                delta[sample * clean.len()..(sample + 1) * clean.len()].to_vec()
            }
            // every target class deserves the start that was asked for
            Start::Clean if restart == 0 => vec![0.; clean.len()],
            _ => match attack.rule {
                Rule::Apgd(_) => on_sphere(&threat, clean.len(), &mut rng),
                _ => in_ball(&threat, clean.len(), &mut rng),
            },
        };
        let search: Box<dyn Search> = match attack.rule {
            Rule::Fgsm => Box::new(Pgd::new(PgdConfig::new(threat.epsilon, 1), threat, clean, delta)),
            Rule::Pgd(config) => Box::new(Pgd::new(config, threat, clean, delta)),
            Rule::Apgd(config) => {
                let start = clean.iter().zip(&delta).map(|(x, delta)| x + delta).collect();
                config.search(threat, clean, start, is_given)
            }
        };
        Some((search, target))
    }
}

/// Random search without gradients (Andriushchenko et al., 2020), for l_inf: squares of ±2ε at random places, kept where the margin falls. The start is vertical stripes of ±ε in each channel; a square covers a share
/// of the image that is halved after 10, 50, 200, 500, 1000, 2000 and 4000 queries.
///
/// Inputs are images `[channels, rows, columns]` of any size; `[rows, columns]` and vectors count as images with fewer axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Square {
    /// The number of queries, the first point included.
    pub queries: usize,
    /// The share of the image that the first squares cover.
    pub share: f64,
    /// When it has won.
    pub goal: Goal,
    /// How often it starts.
    pub restarts: usize,
    /// Rows in one forward pass.
    pub batch_size: usize,
}

impl Square {
    /// 0.8 of the image at first, untargeted, one start, 128 rows at once.
    pub fn new(queries: usize) -> Self {
        Self { queries, share: 0.8, goal: Goal::Untargeted, restarts: 1, batch_size: 128 }
    }
}

impl Attack for Square {
    fn name(&self) -> String {
        "Square".to_owned()
    }

    fn run_on(
        &self,
        classifier: &dyn Classifier,
        samples: &Samples,
        threat: &ThreatModel,
        seed: u64,
    ) -> Result<Outcome> {
        const OPERATION: &str = "Square";
        crate::error::check_positive(OPERATION, &[("queries", self.queries), ("restarts", self.restarts)])?;
        if !(self.share > 0. && self.share <= 1.) {
            return Err(Error::value(OPERATION, "share", self.share, "above 0, at most 1"));
        }
        if threat.norm != super::threat::Norm::Linf {
            let reason = format!("is {}, expected l_inf: the forms for l_1 and l_2 are not here", threat.norm.name());
            return Err(Error::config(OPERATION, "the norm", reason));
        }
        let shape = match *samples.shape {
            [channels, rows, columns] => [channels, rows, columns],
            [rows, columns] => [1, rows, columns],
            [columns] => [1, 1, columns],
            _ => {
                let reason = format!("have shape {:?}, expected at most three axes", samples.shape);
                return Err(Error::config(OPERATION, "the inputs", reason));
            }
        };
        let settings = Settings {
            loss: Loss::Margin,
            goal: &self.goal,
            batch_size: self.batch_size,
            skips_won: true,
            stops_early: true,
            forgives_gradients: true,
        };
        let plan = SquarePlan { attack: self, samples, shape, threat: *threat, seed };
        run(classifier, samples, threat, &settings, &plan, &mut |_| {})
    }
}

struct SquarePlan<'a> {
    attack: &'a Square,
    samples: &'a Samples,
    shape: [usize; 3],
    threat: ThreatModel,
    seed: u64,
}

impl Plan for SquarePlan<'_> {
    fn search(&self, sample: usize, number: usize, _logits: &[f64]) -> Option<(Box<dyn Search>, Option<usize>)> {
        if number >= self.attack.restarts {
            return None;
        }
        let rng = stream(self.seed, self.samples.ids[sample], number).fork("square");
        let clean = self.samples.row(sample);
        let search = SquareSearch::new(self.threat, clean, self.shape, self.attack.share, self.attack.queries, rng);
        Some((Box::new(search), self.attack.goal.target(sample)))
    }
}
