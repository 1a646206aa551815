//! Annotators who either know or spam (Hovy, Berg-Kirkpatrick, Vaswani and Hovy, "Learning Whom to Trust with MACE", NAACL 2013).

use super::em::{self, Model, Progress, Stopping};
use super::{Annotations, Consensus};
use crate::{Error, Result};
use rayon::prelude::*;

/// The settings of [`mace`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaceConfig {
    /// When the fit ends.
    pub stopping: Stopping,
    /// Added to the counts of known and of spammed labels, and, divided by the number of classes, to those of each spammed class; 0.1. Above 0.
    pub smoothing: f64,
}

impl Default for MaceConfig {
    fn default() -> Self {
        Self { stopping: Stopping::default(), smoothing: 0.1 }
    }
}

/// What [`mace`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Mace {
    /// The probabilities of each item's classes.
    pub consensus: Consensus,
    /// For each annotator the probability of knowing the class; a half for those without annotations.
    pub competences: Vec<f64>,
    /// `[annotators, classes]`: what an annotator says otherwise.
    pub spamming: Vec<f64>,
    /// How the fit went.
    pub progress: Progress,
}

/// Fits by expectation and maximisation, from the shares of the votes on: an annotator says the class of the item with the probability `θ`, else a label from a distribution of one's own, whatever the item is. Classes are
/// equally probable beforehand. The authors' program starts at random several times and keeps the best; this one starts once, from the votes.
///
/// # Errors
///
/// No annotation, and settings out of range.
pub fn mace(annotations: &Annotations, config: &MaceConfig) -> Result<Mace> {
    const OP: &str = "mace";
    config.stopping.check(OP)?;
    let is_positive = config.smoothing.is_finite() && config.smoothing > 0.;
    if !is_positive {
        return Err(Error::config(OP, "smoothing", config.smoothing, "finite and above 0"));
    }
    em::not_empty(OP, annotations)?;
    let (classes, annotators) = (annotations.num_classes(), annotations.num_annotators());
    let parameters = vec![Annotator { knows: 0.5, spamming: vec![1. / classes as f64; classes] }; annotators];
    let log_prior = vec![-(classes as f64).ln(); classes];
    let mut model = Competences { log_prior, smoothing: config.smoothing, parameters };
    let (consensus, progress) = em::fit(&mut model, annotations, &config.stopping);
    let competences = model.parameters.iter().map(|annotator| annotator.knows).collect();
    let spamming = model.parameters.into_iter().flat_map(|annotator| annotator.spamming).collect();
    Ok(Mace { consensus, competences, spamming, progress })
}

#[derive(Clone)]
struct Annotator {
    knows: f64,
    spamming: Vec<f64>,
}

struct Competences {
    log_prior: Vec<f64>,
    smoothing: f64,
    parameters: Vec<Annotator>,
}

impl Model for Competences {
    fn log_prior(&self) -> &[f64] {
        &self.log_prior
    }

    #[inline]
    fn add_evidence(&self, _item: usize, annotator: usize, label: usize, scores: &mut [f64]) {
        let Annotator { knows, spamming } = &self.parameters[annotator];
        let spammed = (1. - knows) * spamming[label];
        // All classes but the label's have the same.
        let (own, others) = ((knows + spammed).ln(), spammed.ln());
        scores.iter_mut().for_each(|score| *score += others);
        scores[label] += own - others;
    }

    fn log_penalty(&self) -> f64 {
        let classes = self.log_prior.len() as f64;
        let of = |annotator: &Annotator| {
            let spamming: f64 = annotator.spamming.iter().map(|p| p.ln()).sum();
            annotator.knows.ln() + (1. - annotator.knows).ln() + spamming / classes
        };
        self.smoothing * self.parameters.iter().map(of).sum::<f64>()
    }

    fn maximise(&mut self, annotations: &Annotations, posteriors: &[f64]) {
        let (classes, smoothing) = (self.log_prior.len(), self.smoothing);
        self.parameters.par_iter_mut().enumerate().for_each(|(number, annotator)| {
            let (mut known, mut spammed) = (smoothing, smoothing);
            let mut counts = vec![smoothing / classes as f64; classes];
            for annotation in annotations.of_annotator(number) {
                let label = annotation.label as usize;
                let guess = (1. - annotator.knows) * annotator.spamming[label];
                let is_known = posteriors[annotation.item as usize * classes + label] * annotator.knows
                    / (annotator.knows + guess);
                known += is_known;
                spammed += 1. - is_known;
                counts[label] += 1. - is_known;
            }
            annotator.knows = known / (known + spammed);
            let total: f64 = counts.iter().sum();
            annotator.spamming = counts.iter().map(|count| count / total).collect();
        });
    }
}
