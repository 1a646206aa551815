//! Annotators with confusion matrices (Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm", 1979), and with one number each.

use super::em::{self, Model, Progress, Stopping};
use super::{Annotations, Consensus};
use crate::{Error, Result};
use rayon::prelude::*;

/// The settings of [`dawid_skene`] and [`one_coin`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DawidSkeneConfig {
    /// When the fit ends.
    pub stopping: Stopping,
    /// Added to each count of a class's labels by an annotator (a Dirichlet prior with this exponent), and to each class's count of items; 0.01. Above 0, so that an annotator who never saw a class does not veto it.
    pub smoothing: f64,
}

impl Default for DawidSkeneConfig {
    fn default() -> Self {
        Self { stopping: Stopping::default(), smoothing: 0.01 }
    }
}

impl DawidSkeneConfig {
    fn check(&self, operation: &'static str) -> Result<()> {
        self.stopping.check(operation)?;
        let is_positive = self.smoothing.is_finite() && self.smoothing > 0.;
        if is_positive {
            Ok(())
        } else {
            Err(Error::config(operation, "smoothing", self.smoothing, "finite and above 0"))
        }
    }
}

/// What [`dawid_skene`] and [`one_coin`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct DawidSkene {
    /// The probabilities of each item's classes.
    pub consensus: Consensus,
    /// `[annotators, classes, classes]`: the probability that an annotator gives an item of the class in the row the label in the column. Uniform for annotators without annotations.
    pub confusions: Vec<f64>,
    /// The probability of each class.
    pub class_prior: Vec<f64>,
    /// How the fit went.
    pub progress: Progress,
}

impl DawidSkene {
    /// The confusion matrix of an annotator, row by row; empty for a number beyond the annotators.
    pub fn confusion(&self, annotator: usize) -> &[f64] {
        let size = self.class_prior.len() * self.class_prior.len();
        self.confusions.chunks_exact(size).nth(annotator).unwrap_or(&[])
    }

    /// The probability that an annotator's label is right, for an item of a class drawn from the prior.
    pub fn reliability(&self, annotator: usize) -> f64 {
        let classes = self.class_prior.len();
        let right = |(class, prior): (usize, &f64)| {
            prior * self.confusion(annotator).get(class * classes + class).unwrap_or(&0.)
        };
        self.class_prior.iter().enumerate().map(right).sum()
    }
}

/// Fits the classes' prior, a confusion matrix for each annotator and the classes of the items by expectation and maximisation in the logarithmic domain, from the shares of the votes on.
///
/// # Errors
///
/// No annotation, and settings out of range.
///
/// ```
/// use noisy_labels::annotators::{Annotations, dawid_skene};
///
/// // Two of five annotators always say 1; the others are right.
/// let truth = |item: u32| item % 2;
/// let given = (0..40).flat_map(|item| (0..5).map(move |annotator| {
///     (item, annotator, if annotator < 2 || (item + annotator) % 7 == 0 { 1 } else { truth(item) })
/// }));
/// let fit = dawid_skene(&Annotations::named(2, given)?.annotations, &Default::default())?;
/// assert!(fit.consensus.labels().iter().zip(0..).all(|(&label, item)| label == Some(truth(item))));
/// assert!(fit.reliability(4) > 0.9 && fit.reliability(0) < 0.6);
/// # Ok::<(), noisy_labels::Error>(())
/// ```
pub fn dawid_skene(annotations: &Annotations, config: &DawidSkeneConfig) -> Result<DawidSkene> {
    fit("dawid_skene", annotations, config, false)
}

/// As [`dawid_skene`] with one number for each annotator: the probability of the right label, the others being equally probable.
///
/// # Errors
///
/// As for [`dawid_skene`].
pub fn one_coin(annotations: &Annotations, config: &DawidSkeneConfig) -> Result<DawidSkene> {
    fit("one_coin", annotations, config, true)
}

fn fit(
    operation: &'static str,
    annotations: &Annotations,
    config: &DawidSkeneConfig,
    is_one_coin: bool,
) -> Result<DawidSkene> {
    config.check(operation)?;
    em::not_empty(operation, annotations)?;
    let classes = annotations.num_classes();
    let mut model = Confusions {
        classes,
        smoothing: config.smoothing,
        is_one_coin,
        log_prior: vec![0.; classes],
        logs: vec![0.; annotations.num_annotators() * classes * classes],
    };
    let (consensus, progress) = em::fit(&mut model, annotations, &config.stopping);
    // Stored by label and class, handed out by class and label.
    let mut confusions = vec![0.; model.logs.len()];
    for (logs, out) in model.logs.chunks_exact(classes * classes).zip(confusions.chunks_exact_mut(classes * classes)) {
        for class in 0..classes {
            for label in 0..classes {
                out[class * classes + label] = logs[label * classes + class].exp();
            }
        }
    }
    let class_prior = model.log_prior.iter().map(|log| log.exp()).collect();
    Ok(DawidSkene { consensus, confusions, class_prior, progress })
}

struct Confusions {
    classes: usize,
    smoothing: f64,
    is_one_coin: bool,
    log_prior: Vec<f64>,
    /// `[annotators, labels, classes]`: logarithms of the probability of a label given the class, so that what a label says of all classes lies side by side.
    logs: Vec<f64>,
}

impl Model for Confusions {
    fn log_prior(&self) -> &[f64] {
        &self.log_prior
    }

    #[inline]
    fn add_evidence(&self, _item: usize, annotator: usize, label: usize, scores: &mut [f64]) {
        let start = (annotator * self.classes + label) * self.classes;
        for (score, log) in scores.iter_mut().zip(&self.logs[start..start + self.classes]) {
            *score += log;
        }
    }

    fn log_penalty(&self) -> f64 {
        let of_prior: f64 = self.log_prior.iter().sum();
        let of_confusions: f64 = match (self.is_one_coin, self.classes) {
            (true, 1) => 0.,
            // One right and one wrong answer, the wrong one among all others.
            (true, classes) => {
                let square = classes * classes;
                let of = |logs: &[f64]| logs[0] + logs[1] + ((classes - 1) as f64).ln();
                self.logs.chunks_exact(square).map(of).sum()
            }
            (false, _) => self.logs.iter().sum(),
        };
        self.smoothing * (of_prior + of_confusions)
    }

    fn maximise(&mut self, annotations: &Annotations, posteriors: &[f64]) {
        let (classes, smoothing, is_one_coin) = (self.classes, self.smoothing, self.is_one_coin);
        let mut counts = vec![smoothing; classes];
        for row in posteriors.chunks_exact(classes) {
            counts.iter_mut().zip(row).for_each(|(count, p)| *count += p);
        }
        let total: f64 = counts.iter().sum();
        self.log_prior = counts.iter().map(|count| (count / total).ln()).collect();
        let square = classes * classes;
        if is_one_coin {
            let mut sums = vec![[0f64; 2]; annotations.num_annotators()];
            for annotation in annotations.all() {
                let [right, all] = &mut sums[annotation.annotator as usize];
                *right += posteriors[annotation.item as usize * classes + annotation.label as usize];
                *all += 1.;
            }
            for (logs, [right, all]) in self.logs.chunks_exact_mut(square).zip(sums) {
                let share = match classes {
                    1 => 1.,
                    _ => (right + smoothing) / (all + 2. * smoothing),
                };
                let others = (1. - share) / (classes.max(2) - 1) as f64;
                for (at, log) in logs.iter_mut().enumerate() {
                    *log = if at / classes == at % classes { share.ln() } else { others.ln() };
                }
            }
            return;
        }
        // In the order of the items, whose posteriors are read once; the counts of all annotators stay in the cache where they can. Parts by the shape alone, so that the bits do not depend on threads.
        let parts = (annotations.len() * classes / self.logs.len().max(1)).clamp(1, 16);
        let size = annotations.len().div_ceil(parts).max(1);
        let tables: Vec<Vec<f64>> = annotations
            .all()
            .par_chunks(size)
            .map(|part| {
                let mut counts = vec![0f64; self.logs.len()];
                for annotation in part {
                    let row = &posteriors[annotation.item as usize * classes..][..classes];
                    let start = (annotation.annotator as usize * classes + annotation.label as usize) * classes;
                    counts[start..start + classes].iter_mut().zip(row).for_each(|(count, p)| *count += p);
                }
                counts
            })
            .collect();
        self.logs.par_chunks_mut(square).enumerate().for_each(|(annotator, counts)| {
            counts.fill(smoothing);
            for table in &tables {
                counts.iter_mut().zip(&table[annotator * square..]).for_each(|(count, part)| *count += part);
            }
            for class in 0..classes {
                let total: f64 = (0..classes).map(|label| counts[label * classes + class]).sum();
                for label in 0..classes {
                    let count = &mut counts[label * classes + class];
                    *count = (*count / total).ln();
                }
            }
        });
    }
}
