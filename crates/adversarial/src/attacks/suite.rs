//! Several attacks, one after the other, and the report on what survives them all.

use super::attack::{Attack, GradientAttack, Square};
use super::classifier::Classifier;
use super::loss::{Loss, predicted};
use super::samples::Samples;
use super::search::{check_logits, clean_logits, logits_of};
use super::threat::{Norm, ThreatModel};
use crate::error::check_positive;
use crate::{Error, Result};
use candle_core::Tensor;
use serde::Serialize;
use std::time::Instant;

/// Attacks, each on the survivors of those before it.
pub struct Suite {
    attacks: Vec<(Box<dyn Attack>, bool)>,
    batch_size: usize,
    /// For which norm the attacks were chosen, where they were chosen for one.
    norm: Option<Norm>,
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Suite {
    /// No attacks yet.
    pub fn new() -> Self {
        Self { attacks: Vec::new(), batch_size: 128, norm: None }
    }

    /// APGD on cross-entropy (100 steps), targeted APGD on the DLR loss (100 steps for each of 9 target classes; 5 for l_1) and, for l_inf, Square (5,000 queries): three of the four attacks of Croce and Hein (2020). The
    /// fourth, FAB, is not here, so the result must not be called AutoAttack's. With three classes or fewer take [`Self::small`].
    pub fn standard(norm: Norm) -> Self {
        Self::of_size(norm, 100, 5000, Loss::TargetedDlr)
    }

    /// [`Self::standard`] with the margin instead of the targeted DLR loss, which needs four classes.
    pub fn small(norm: Norm) -> Self {
        Self::of_size(norm, 100, 5000, Loss::Margin)
    }

    /// [`Self::standard`] with other numbers and another second loss.
    pub fn of_size(norm: Norm, iterations: usize, queries: usize, second: Loss) -> Self {
        let gradient = |loss| GradientAttack {
            forgives_gradients: true,
            num_targets: if norm == Norm::L1 { 5 } else { 9 },
            ..GradientAttack::apgd(iterations, loss)
        };
        let suite = Self { norm: Some(norm), ..Self::new() };
        let suite = suite.attack(gradient(Loss::CrossEntropy)).attack(gradient(second));
        if norm == Norm::Linf { suite.black_box(Square::new(queries)) } else { suite }
    }

    /// Adds an attack that uses gradients.
    pub fn attack(mut self, attack: impl Attack + 'static) -> Self {
        self.attacks.push((Box::new(attack), false));
        self
    }

    /// Adds an attack that uses none: if it breaks more than 0.2 points on top of the others, gradients are not to be trusted.
    pub fn black_box(mut self, attack: impl Attack + 'static) -> Self {
        self.attacks.push((Box::new(attack), true));
        self
    }

    /// The attacks' names, in their order.
    pub fn names(&self) -> Vec<String> {
        self.attacks.iter().map(|(attack, _)| attack.name()).collect()
    }

    /// Runs the attacks and looks for signs that their result means little.
    ///
    /// # Errors
    /// No attacks, attacks that were chosen for another norm ([`Self::standard`] and the like), and those of [`Attack::run_on`].
    pub fn run(
        &self,
        classifier: &dyn Classifier,
        x: &Tensor,
        labels: &[u32],
        threat: &ThreatModel,
        seed: u64,
    ) -> Result<RobustnessReport> {
        self.run_watched(classifier, x, labels, threat, seed, &mut |_, _| {})
    }

    /// [`Self::run`], for showing progress: `watch` is told the number of each attack before it begins, and how many samples it is run on; last, with the number of attacks, of the check at a budget that allows every image, if any sample has survived.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_watched(
        &self,
        classifier: &dyn Classifier,
        x: &Tensor,
        labels: &[u32],
        threat: &ThreatModel,
        seed: u64,
        watch: &mut dyn FnMut(usize, usize),
    ) -> Result<RobustnessReport> {
        check_positive("Suite::run", &[("attacks", self.attacks.len())])?;
        threat.check()?;
        if let Some(norm) = self.norm.filter(|norm| *norm != threat.norm) {
            let reason = format!("is {:?}, but the attacks of this suite were chosen for {norm:?}", threat.norm);
            return Err(Error::config("Suite::run", "the norm of the threat model", reason));
        }
        let samples = Samples::new(x, labels)?;
        samples.check_bounds(threat)?;
        let before = classifier.fingerprint()?;
        let clean = clean_logits(classifier, &samples, self.batch_size)?;
        let after = classifier.fingerprint()?;
        let again = clean_logits(classifier, &samples, self.batch_size)?;
        let is_right: Vec<bool> = clean.iter().zip(labels).map(|(z, &y)| predicted(z) == y as usize).collect();

        let mut flags = Vec::new();
        if threat.epsilon > 0. && threat.epsilon >= threat.largest(samples.size()) {
            flags.push(Flag::BudgetAllowsEveryImage);
        }
        if before != after {
            flags.push(Flag::ForwardPassChangesModel);
        }
        if clean != again {
            flags.push(Flag::AnswersDiffer);
        }
        if clean.iter().all(|z| z.iter().all(|&z| (0. ..=1.).contains(&z)) && (z.iter().sum::<f64>() - 1.).abs() < 1e-3)
        {
            flags.push(Flag::LooksLikeProbabilities);
        }

        let mut broken_by: Vec<Option<usize>> = vec![None; samples.len()];
        let mut found: Vec<Vec<f64>> = (0..samples.len()).map(|sample| samples.row(sample).to_vec()).collect();
        let mut stages = Vec::new();
        let (mut zero, mut bad) = (0, 0);
        for (number, (attack, is_black_box)) in self.attacks.iter().enumerate() {
            let alive: Vec<usize> =
                (0..samples.len()).filter(|&sample| is_right[sample] && broken_by[sample].is_none()).collect();
            watch(number, alive.len());
            let (start, mut broken, mut queries) = (Instant::now(), 0, 0);
            if !alive.is_empty() {
                let outcome = attack.run_on(classifier, &samples.select(&alive), threat, seed)?;
                let adversarial = Samples::new(&outcome.adversarial, &samples.select(&alive).labels)?;
                queries = outcome.queries.iter().sum();
                zero += outcome.zero_gradients.iter().filter(|&&count| count > 0).count();
                bad += outcome.bad_gradients.iter().filter(|&&count| count > 0).count();
                for (at, &sample) in alive.iter().enumerate() {
                    found[sample].copy_from_slice(adversarial.row(at));
                    if outcome.is_successful[at] {
                        broken_by[sample] = Some(number);
                        broken += 1;
                    }
                }
            }
            if *is_black_box && number > 0 && broken as f64 > 0.002 * samples.len() as f64 {
                flags.push(Flag::BlackBoxIsStronger { samples: broken });
            }
            stages.push(Stage {
                attack: attack.name(),
                attacked: alive.len(),
                broken,
                queries,
                seconds: start.elapsed().as_secs_f64(),
            });
        }
        if zero > 0 {
            flags.push(Flag::ZeroGradients { samples: zero });
        }
        if bad > 0 {
            flags.push(Flag::BadGradients { samples: bad });
        }
        let survivors = (0..samples.len()).filter(|&sample| is_right[sample] && broken_by[sample].is_none()).count();
        if survivors > 0 {
            watch(self.attacks.len(), samples.len());
            let left = self.at_a_large_budget(classifier, &samples, threat, seed)?;
            if left > 0.05 {
                flags.push(Flag::SurvivesLargeBudget { accuracy: left });
            }
        }
        let num_right = is_right.iter().filter(|is| **is).count();
        Ok(RobustnessReport {
            threat: *threat,
            num_samples: samples.len(),
            clean_accuracy: Share::new(num_right, samples.len()),
            robust_accuracy: Share::new(survivors, samples.len()),
            stages,
            is_right,
            broken_by,
            flags,
            adversarial: samples.tensor(found.iter().map(Vec::as_slice))?,
        })
    }

    /// Accuracy at a budget with which every image may become every other one.
    fn at_a_large_budget(
        &self,
        classifier: &dyn Classifier,
        samples: &Samples,
        threat: &ThreatModel,
        seed: u64,
    ) -> Result<f64> {
        let epsilon = threat.largest(samples.size());
        let attack = GradientAttack { forgives_gradients: true, ..GradientAttack::apgd(50, Loss::CrossEntropy) };
        Ok(attack.run_on(classifier, samples, &threat.epsilon(epsilon.max(threat.epsilon)), seed)?.robust_accuracy())
    }
}

impl Default for Suite {
    fn default() -> Self {
        Self::new()
    }
}

/// A share of samples with its 95 % interval (Wilson).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// How many.
    pub count: usize,
    /// Of how many.
    pub of: usize,
    /// The share.
    pub value: f64,
    /// The interval that would hold the share of all possible samples in 95 of 100 cases.
    pub interval: (f64, f64),
}

impl Share {
    /// `count` of `of`; without samples the share is 0 and the interval everything.
    pub fn new(count: usize, of: usize) -> Self {
        const Z: f64 = 1.959_963_984_540_054;
        if of == 0 {
            return Self { count, of, value: 0., interval: (0., 1.) };
        }
        let (n, value) = (of as f64, count as f64 / of as f64);
        let centre = (value + Z * Z / (2. * n)) / (1. + Z * Z / n);
        let half = Z / (1. + Z * Z / n) * (value * (1. - value) / n + Z * Z / (4. * n * n)).sqrt();
        Self { count, of, value, interval: ((centre - half).max(0.), (centre + half).min(1.)) }
    }
}

/// One attack of a suite.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stage {
    /// Its name.
    pub attack: String,
    /// How many samples it was run on: the survivors before it.
    pub attacked: usize,
    /// How many of them it broke.
    pub broken: usize,
    /// How many points it asked for.
    pub queries: usize,
    /// How long it took.
    pub seconds: f64,
}

/// A sign that a measured robustness means little. None of them changes a number.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Flag {
    /// Two forward passes over the same inputs gave different logits: judge by [`Expectation`](super::Expectation).
    AnswersDiffer,
    /// Every row is between 0 and 1 and adds up to 1: probabilities instead of logits, whose gradients vanish.
    LooksLikeProbabilities,
    /// Gradients that are 0 everywhere: a part of the model hides them.
    ZeroGradients {
        /// For how many samples and attacks.
        samples: usize,
    },
    /// Gradients with elements that are not finite, which were taken for 0.
    BadGradients {
        /// For how many samples and attacks.
        samples: usize,
    },
    /// An attack without gradients broke more than 0.2 points that those with gradients had left.
    BlackBoxIsStronger {
        /// How many.
        samples: usize,
    },
    /// With a budget that allows every image the accuracy does not fall to 0: the attacks do not work on this model.
    SurvivesLargeBudget {
        /// What is left.
        accuracy: f64,
    },
    /// A forward pass changed parameters or buffers: the model is in training mode.
    ForwardPassChangesModel,
    /// The budget lets every image become every other one, so that nothing could be robust: are the images in the units of ε?
    BudgetAllowsEveryImage,
}

impl std::fmt::Display for Flag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AnswersDiffer => write!(f, "the model answers differently each time; judge it by `Expectation`"),
            Self::LooksLikeProbabilities => write!(f, "the outputs look like probabilities, expected logits"),
            Self::ZeroGradients { samples } => write!(f, "gradients are 0 for {samples} samples"),
            Self::BadGradients { samples } => write!(f, "gradients are not finite for {samples} samples"),
            Self::BlackBoxIsStronger { samples } => {
                write!(f, "an attack without gradients broke {samples} samples that gradients did not")
            }
            Self::SurvivesLargeBudget { accuracy } => {
                write!(f, "{:.1} % survive a budget that allows every image", 100. * accuracy)
            }
            Self::BudgetAllowsEveryImage => write!(f, "the budget lets every image become every other one"),
            Self::ForwardPassChangesModel => write!(f, "a forward pass changes parameters or buffers"),
        }
    }
}

/// What a suite has found. Printed, its first line shows the flags.
#[derive(Debug, Clone, Serialize)]
pub struct RobustnessReport {
    /// What the attacker may change.
    pub threat: ThreatModel,
    /// How many samples there were.
    pub num_samples: usize,
    /// Right without an attack, of all samples.
    pub clean_accuracy: Share,
    /// Right under each of the attacks, of all samples: the worst case for each sample, clean errors counted as lost. Nothing else is called robust accuracy.
    pub robust_accuracy: Share,
    /// The attacks.
    pub stages: Vec<Stage>,
    /// Whether each sample is right without an attack.
    pub is_right: Vec<bool>,
    /// The number of the attack that broke each sample.
    pub broken_by: Vec<Option<usize>>,
    /// What speaks against the result.
    pub flags: Vec<Flag>,
    /// The worst image found for each sample, `[n, …]`: of those that survive, the last attack's of highest loss.
    #[serde(skip)]
    pub adversarial: Tensor,
}

impl std::fmt::Display for RobustnessReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.flags.is_empty() {
            writeln!(f, "no sign of a failed attack")?;
        } else {
            let flags: Vec<String> = self.flags.iter().map(ToString::to_string).collect();
            writeln!(f, "NOT TO BE TRUSTED: {}", flags.join("; "))?;
        }
        let line = |f: &mut std::fmt::Formatter<'_>, what: &str, share: &Share| {
            let (low, high) = share.interval;
            let percent = |share: f64| 100. * share;
            writeln!(
                f,
                "{what}: {:.1} % ({:.1} to {:.1}) of {}",
                percent(share.value),
                percent(low),
                percent(high),
                share.of
            )
        };
        writeln!(f, "{} at most {}", self.threat.norm.name(), self.threat.epsilon)?;
        line(f, "clean accuracy", &self.clean_accuracy)?;
        for stage in &self.stages {
            let Stage { attack, attacked, broken, queries, seconds } = stage;
            writeln!(f, "{attack}: {broken} of {attacked} broken, {queries} queries, {seconds:.1} s")?;
        }
        line(f, "robust accuracy", &self.robust_accuracy)
    }
}

/// Adversarial images with 8 bits for an element.
#[derive(Debug, Clone)]
pub struct EightBit {
    /// `[n, …]` of u8: multiples of 1/255 of the bounds' width.
    pub pixels: Tensor,
    /// Whether the stored image is misclassified.
    pub is_misclassified: Vec<bool>,
}

/// Rounds perturbed images to 8 bits, towards the clean ones so that the budget is kept, and judges them anew: what is saved to a file may fool the model no more. Elements of the clean images should be multiples of 1/255 of
/// the bounds' width; one that is not is rounded to the nearest multiple if the perturbed one has nowhere to go.
///
/// # Errors
/// Images of different sizes; logits that are not numbers; errors of the model.
pub fn to_u8(
    classifier: &dyn Classifier,
    clean: &Tensor,
    adversarial: &Tensor,
    labels: &[u32],
    threat: &ThreatModel,
) -> Result<EightBit> {
    threat.check()?;
    let (clean, adversarial) = (Samples::new(clean, labels)?, Samples::new(adversarial, labels)?);
    if clean.shape != adversarial.shape {
        let reason = format!("have shape {:?}, those of the clean ones is {:?}", adversarial.shape, clean.shape);
        return Err(Error::config("to_u8", "the adversarial images", reason));
    }
    clean.check_bounds(threat)?;
    adversarial.check_bounds(threat)?;
    let (least, width) = (threat.bounds.0, threat.bounds.1 - threat.bounds.0);
    let mut bytes = Vec::with_capacity(clean.len() * clean.size());
    let mut rows = Vec::with_capacity(clean.len());
    for sample in 0..clean.len() {
        let mut row = Vec::with_capacity(clean.size());
        for (&x, &y) in clean.row(sample).iter().zip(adversarial.row(sample)) {
            let (from, to) = ((x - least) / width * 255., (y - least) / width * 255.);
            // a tiny slack, so that 3.0000001 counts as 3
            let level =
                if to >= from { (to + 1e-4).floor().max(from.round()) } else { (to - 1e-4).ceil().min(from.round()) };
            bytes.push(level.clamp(0., 255.) as u8);
            row.push(least + level.clamp(0., 255.) / 255. * width);
        }
        rows.push(row);
    }
    let mut is_misclassified = Vec::with_capacity(rows.len());
    let stored = clean.with_rows(rows.iter().map(Vec::as_slice));
    for first in (0..stored.len()).step_by(128) {
        let range = first..stored.len().min(first + 128);
        let rows = range.clone().map(|sample| stored.row(sample));
        for (sample, logits) in range.zip(logits_of(classifier, &stored, rows)?) {
            check_logits(&logits, logits.len(), sample)?;
            is_misclassified.push(predicted(&logits) != labels[sample] as usize);
        }
    }
    let mut shape = vec![rows.len()];
    shape.extend(&clean.shape);
    Ok(EightBit { pixels: Tensor::from_vec(bytes, shape, &candle_core::Device::Cpu)?, is_misclassified })
}
