//! What an attack has found.

use super::samples::Samples;
use crate::Result;
use candle_core::Tensor;

/// What an attack has found, a row or an element for each sample.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The first point that reached the goal; where none did, the one of highest loss. Within budget and bounds exactly. What was won before the attack began is unchanged.
    pub adversarial: Tensor,
    /// The last point that was looked at.
    pub last: Tensor,
    /// Whether `adversarial` reaches the goal: some iterate did, or the clean sample does.
    pub is_successful: Vec<bool>,
    /// Whether `last` does.
    pub is_last_successful: Vec<bool>,
    /// Whether the clean sample was misclassified.
    pub was_misclassified: Vec<bool>,
    /// The highest loss; negative infinity where nothing was tried.
    pub best_loss: Vec<f64>,
    /// How many points the model was asked for, without the clean one.
    pub queries: Vec<usize>,
    /// How many gradients it was asked for.
    pub steps: Vec<usize>,
    /// How many gradients were 0 everywhere.
    pub zero_gradients: Vec<usize>,
    /// How many gradients had elements that are not finite.
    pub bad_gradients: Vec<usize>,
}

impl Outcome {
    pub(crate) fn new(samples: &Samples, rows: Vec<Row>, was_misclassified: Vec<bool>) -> Result<Self> {
        Ok(Self {
            adversarial: samples.tensor(rows.iter().map(|row| row.adversarial.as_slice()))?,
            last: samples.tensor(rows.iter().map(|row| row.last.as_slice()))?,
            is_successful: rows.iter().map(|row| row.is_adversarial).collect(),
            is_last_successful: rows.iter().map(|row| row.is_last_adversarial).collect(),
            was_misclassified,
            best_loss: rows.iter().map(|row| row.best_loss).collect(),
            queries: rows.iter().map(|row| row.queries).collect(),
            steps: rows.iter().map(|row| row.steps).collect(),
            zero_gradients: rows.iter().map(|row| row.num_zero_gradients).collect(),
            bad_gradients: rows.iter().map(|row| row.num_bad_gradients).collect(),
        })
    }

    /// How many samples did not reach the goal.
    pub fn num_survivors(&self) -> usize {
        self.is_successful.iter().filter(|is| !**is).count()
    }

    /// The share of all samples that did not reach the goal: the accuracy under this attack, clean errors counted as lost.
    pub fn robust_accuracy(&self) -> f64 {
        self.num_survivors() as f64 / self.is_successful.len() as f64
    }

    /// The same by the last points alone, which is more favourable for the model.
    pub fn accuracy_at_last(&self) -> f64 {
        self.is_last_successful.iter().filter(|is| !**is).count() as f64 / self.is_last_successful.len() as f64
    }
}

/// The state of one sample.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) adversarial: Vec<f64>,
    pub(crate) last: Vec<f64>,
    pub(crate) is_adversarial: bool,
    pub(crate) is_last_adversarial: bool,
    pub(crate) best_loss: f64,
    pub(crate) queries: usize,
    pub(crate) steps: usize,
    pub(crate) num_zero_gradients: usize,
    pub(crate) num_bad_gradients: usize,
}

impl Row {
    pub(crate) fn new(clean: &[f64], is_adversarial: bool) -> Self {
        Self {
            adversarial: clean.to_vec(),
            last: clean.to_vec(),
            is_adversarial,
            is_last_adversarial: is_adversarial,
            best_loss: f64::NEG_INFINITY,
            queries: 0,
            steps: 0,
            num_zero_gradients: 0,
            num_bad_gradients: 0,
        }
    }

    /// A point that the model was asked for.
    pub(crate) fn take(&mut self, point: &[f64], loss: f64, is_adversarial: bool, is_inside: bool) {
        self.queries += 1;
        if !is_inside {
            return;
        }
        if !self.is_adversarial && (is_adversarial || loss > self.best_loss) {
            self.adversarial.copy_from_slice(point);
        }
        self.best_loss = self.best_loss.max(loss);
        self.is_adversarial |= is_adversarial;
        self.is_last_adversarial = is_adversarial;
        self.last.copy_from_slice(point);
    }
}
