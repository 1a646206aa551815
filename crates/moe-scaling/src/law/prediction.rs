//! Predictions for single models.

use super::formula::Law;
use super::points::Point;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::Write;

/// The prediction of a law for one model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The size of the model.
    pub size: f64,
    /// The number of experts of the model.
    pub experts: f64,
    /// The measured loss, if known, in nats per token.
    pub loss: Option<f64>,
    /// The predicted loss, in nats per token.
    pub predicted: f64,
    /// The size of the dense model with this loss ([`Law::effective_parameter_count`]).
    pub effective_parameter_count: f64,
}

fn prediction(law: &Law, size: f64, experts: f64) -> Prediction {
    let effective_parameter_count = law.effective_parameter_count(size, experts);
    Prediction { size, experts, loss: None, predicted: law.predict(size, experts), effective_parameter_count }
}

/// The predictions of a law for measured points.
pub fn predictions(law: &Law, points: &[Point]) -> Vec<Prediction> {
    let predict = |point: &Point| Prediction { loss: Some(point.loss), ..prediction(law, point.size, point.experts) };
    points.iter().map(predict).collect()
}

/// Writes `size,experts,loss,predicted,effective_parameter_count` as CSV.
///
/// # Errors
///
/// When the writer fails.
pub fn write_predictions(predictions: &[Prediction], writer: impl Write) -> Result<()> {
    let mut writer = csv::Writer::from_writer(writer);
    for prediction in predictions {
        writer.serialize(prediction)?;
    }
    writer.flush().map_err(|error| Error::Csv(error.into()))
}

impl Law {
    /// The candidate with the lowest predicted loss among those `(size, experts, cost)` whose cost is at most `budget`; the first one of equals, `None`
    /// if there is none. The cost can be anything: all parameters ([`Architecture::total_parameters`](crate::architecture::Architecture::total_parameters)), money, time.
    pub fn best_under(&self, budget: f64, candidates: impl IntoIterator<Item = (f64, f64, f64)>) -> Option<Prediction> {
        candidates
            .into_iter()
            .filter(|&(_, _, cost)| cost <= budget)
            .map(|(size, experts, _)| prediction(self, size, experts))
            .filter(|prediction| prediction.predicted.is_finite())
            .min_by(|p, q| p.predicted.total_cmp(&q.predicted))
    }
}
