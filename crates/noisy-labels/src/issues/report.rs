//! All that can be said of a labelled set, in one value.

use super::{Prune, Score, confident_joint, duplicates, label_issues, label_scores, neighbour_agreement, typicality};
use crate::neighbours::{Metric, Points, nearest_others};
use crate::{Error, Probabilities, Result};
use core_tensor::kernel::Real;
use serde::Serialize;

/// The settings of [`data_report`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DataReportConfig {
    /// How wrong labels are picked; [`Prune::ByNoiseRate`].
    pub prune: Prune,
    /// Neighbours of an example, 10 (or as many as there are).
    pub neighbours: usize,
    /// How far apart features are; [`Metric::Euclidean`].
    pub metric: Metric,
    /// What [`duplicates`] takes for near, in median distances to the nearest neighbour; 0.1.
    pub near: f64,
    /// An example whose neighbours are on average more than this many times as far as those of the median example is an outlier; 3.
    pub far: f64,
    /// The neighbours contradict a label that at most this share of them has; 0.1.
    pub contradicted: f64,
}

impl Default for DataReportConfig {
    fn default() -> Self {
        Self {
            prune: Prune::ByNoiseRate,
            neighbours: 10,
            metric: Metric::Euclidean,
            near: 0.1,
            far: 3.,
            contradicted: 0.1,
        }
    }
}

/// What [`data_report`] finds. Examples are named by their numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataReport {
    /// How many examples.
    pub examples: usize,
    /// How many classes.
    pub classes: usize,
    /// Labels that are probably wrong, from the most to the least suspect: as many as the list is long.
    pub issues: Vec<u32>,
    /// The probability of each given label.
    pub self_confidence: Vec<f64>,
    /// The share of wrong labels that the confident joint estimates.
    pub noise_rate: f64,
    /// `[given, true]`: the estimated joint distribution.
    pub joint: Vec<f64>,
    /// A row for each class.
    pub by_class: Vec<ClassRow>,
    /// The share of examples whose label is their most probable class.
    pub agreement: f64,
    /// Whether that is so for at least 99 %: then the probabilities probably come from a model that was trained on these labels, and few wrong ones are found.
    pub looks_in_sample: bool,
    /// What features say, if there are any.
    pub features: Option<FeatureReport>,
}

/// A class of a [`DataReport`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassRow {
    /// Its number.
    pub class: usize,
    /// Examples with its label.
    pub given: usize,
    /// Those of them that are probably wrong.
    pub issues: usize,
    /// The mean probability of the label among them; 0 if nothing has it.
    pub self_confidence: f64,
}

/// The part of a [`DataReport`] that comes from features.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureReport {
    /// Examples whose label hardly any neighbour has, the fewest first.
    pub contradicted: Vec<u32>,
    /// Sets of examples that are equal.
    pub duplicates: Vec<Vec<u32>>,
    /// Sets of examples that are equal or nearly so.
    pub near_duplicates: Vec<Vec<u32>>,
    /// How many sets of equal or nearly equal examples have different labels.
    pub conflicting: usize,
    /// Examples that lie far from all others, the farthest first.
    pub outliers: Vec<u32>,
}

/// Wrong labels, classes, duplicates and outliers. Probabilities should be out of sample.
///
/// # Errors
///
/// No example, lengths that differ, labels outside the classes, with features fewer than two examples, settings that are not finite or negative, no neighbours.
///
/// ```
/// use noisy_labels::{Probabilities, issues::data_report};
///
/// let p = [0.9, 0.1, 0.2, 0.8, 0.85, 0.15, 0.1, 0.9];
/// let report = data_report::<f64, f32>(Probabilities::new(&p, 2)?, &[0, 1, 1, 1], None, &Default::default())?;
/// assert_eq!((report.agreement, report.by_class[1].given), (0.75, 3));
/// # Ok::<(), noisy_labels::Error>(())
/// ```
pub fn data_report<P: Copy + Into<f64>, T: Real>(
    probabilities: Probabilities<'_, P>,
    labels: &[u32],
    features: Option<Points<'_, T>>,
    config: &DataReportConfig,
) -> Result<DataReport> {
    const OP: &str = "data_report";
    for (what, value) in [("near", config.near), ("far", config.far), ("contradicted", config.contradicted)] {
        let is_valid = value.is_finite() && value >= 0.;
        if !is_valid {
            return Err(Error::config(OP, what, value, "finite and not negative"));
        }
    }
    let joint = confident_joint(probabilities, labels)?;
    let issues = label_issues(probabilities, labels, &joint, config.prune)?;
    let self_confidence = label_scores(probabilities, labels, Score::SelfConfidence)?;
    let classes = probabilities.num_classes();
    let mut by_class: Vec<ClassRow> =
        (0..classes).map(|class| ClassRow { class, given: 0, issues: 0, self_confidence: 0. }).collect();
    for (&label, confidence) in labels.iter().zip(&self_confidence) {
        let row = &mut by_class[label as usize];
        row.given += 1;
        row.self_confidence += confidence;
    }
    by_class.iter_mut().for_each(|row| row.self_confidence /= row.given.max(1) as f64);
    issues.iter().for_each(|&example| by_class[labels[example as usize] as usize].issues += 1);
    let agreed = labels.iter().enumerate().filter(|(row, label)| probabilities.most_probable(*row) == **label as usize);
    let agreement = agreed.count() as f64 / labels.len() as f64;
    let features = match features {
        Some(features) => Some(of_features(labels, features, config)?),
        None => None,
    };
    Ok(DataReport {
        examples: labels.len(),
        classes,
        issues,
        self_confidence,
        noise_rate: joint.noise_rate(),
        joint: joint.joint(),
        by_class,
        agreement,
        looks_in_sample: super::looks_in_sample(probabilities, labels)?,
        features,
    })
}

fn of_features<T: Real>(labels: &[u32], features: Points<'_, T>, config: &DataReportConfig) -> Result<FeatureReport> {
    const OP: &str = "data_report";
    if features.len() != labels.len() {
        return Err(Error::length(OP, "rows of features", features.len(), labels.len()));
    }
    if config.neighbours == 0 {
        return Err(Error::config(OP, "neighbours", 0, "at least 1"));
    }
    if labels.len() < 2 {
        return Err(Error::length(OP, "examples with features", labels.len(), "at least 2"));
    }
    let graph = nearest_others(features, config.neighbours.min(labels.len() - 1), config.metric)?;
    let agreement = neighbour_agreement(&graph, labels)?;
    let usual = typicality(&graph)?;
    let chosen = |scores: &[f64], limit: f64| -> Vec<u32> {
        super::ranking(scores).into_iter().take_while(|&example| scores[example as usize] <= limit).collect()
    };
    let near_duplicates = duplicates(&graph, config.near)?;
    let differ = |set: &&Vec<u32>| set.iter().any(|&example| labels[example as usize] != labels[set[0] as usize]);
    Ok(FeatureReport {
        contradicted: chosen(&agreement, config.contradicted),
        duplicates: duplicates(&graph, 0.)?,
        conflicting: near_duplicates.iter().filter(differ).count(),
        near_duplicates,
        // typicality is 1 / (1 + distance / median distance)
        outliers: chosen(&usual, 1. / (1. + config.far)),
    })
}
