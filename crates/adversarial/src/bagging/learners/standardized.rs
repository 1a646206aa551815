//! Standardisation by a sub-trainset's own statistics.

use super::super::training::{BaseLearner, BoxError, Examples, SubClassifier, check_width};

/// Subtracts the mean and divides by the population deviation of the sub-trainset before another learner sees the features.
///
/// A certificate needs statistics of the sub-trainset alone: with those of the whole training set one poisoned sample would touch every sub-classifier.
pub struct Standardized<L> {
    /// The columns to standardise; others are left as they are. Default of [`Standardized::all`]: all.
    pub columns: Option<Vec<usize>>,
    /// What learns from the result.
    pub learner: L,
}

impl<L: std::fmt::Debug> std::fmt::Debug for Standardized<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standardized")
            .field("columns", &self.columns)
            .field("learner", &self.learner)
            .finish_non_exhaustive()
    }
}

impl<L> Standardized<L> {
    /// Standardises every feature.
    pub fn all(learner: L) -> Self {
        Self { columns: None, learner }
    }
}

struct Fitted {
    width: usize,
    means: Vec<f64>,
    deviations: Vec<f64>,
    classifier: Box<dyn SubClassifier>,
}

fn apply(features: &[f32], means: &[f64], deviations: &[f64]) -> Vec<f32> {
    let row = |row: &[f32]| -> Vec<f32> {
        row.iter()
            .zip(means.iter().zip(deviations))
            .map(|(&feature, (mean, deviation))| ((f64::from(feature) - mean) / deviation) as f32)
            .collect()
    };
    features.chunks_exact(means.len()).flat_map(row).collect()
}

impl<L: BaseLearner> BaseLearner for Standardized<L> {
    fn fit(&self, examples: &Examples, members: &[u32], seed: u64) -> Result<Box<dyn SubClassifier>, BoxError> {
        let width = examples.width();
        if let Some(&wrong) = self.columns.iter().flatten().find(|&&column| column >= width) {
            return Err(Box::new(crate::Error::out_of_range(
                "Standardized",
                "a column to standardise",
                wrong as u64,
                width,
            )));
        }
        let (mut means, mut deviations) = (vec![0.; width], vec![1.; width]);
        let columns = self.columns.clone().unwrap_or_else(|| (0..width).collect());
        let count = members.len().max(1) as f64;
        for column in columns {
            let values = || members.iter().map(|&member| f64::from(examples.row(member as usize)[column]));
            means[column] = values().sum::<f64>() / count;
            let variance = values().map(|value| (value - means[column]).powi(2)).sum::<f64>() / count;
            if variance > 0. {
                deviations[column] = variance.sqrt();
            }
        }
        let own: Vec<f32> = members.iter().flat_map(|&member| examples.row(member as usize)).copied().collect();
        let labels = members.iter().map(|&member| examples.labels()[member as usize]).collect();
        let own = Examples::new(width, examples.num_classes(), apply(&own, &means, &deviations), labels)?;
        let all: Vec<u32> = (0..own.len() as u32).collect();
        let classifier = self.learner.fit(&own, &all, seed)?;
        Ok(Box::new(Fitted { width, means, deviations, classifier }))
    }
}

impl SubClassifier for Fitted {
    fn predict(&self, features: &[f32]) -> Result<Vec<u16>, BoxError> {
        check_width(features, self.width)?;
        self.classifier.predict(&apply(features, &self.means, &self.deviations))
    }
}
