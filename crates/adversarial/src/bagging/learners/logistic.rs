//! Logistic regression as base learner.

use super::super::training::{BaseLearner, BoxError, Examples, SubClassifier, check_width};
use super::classes::{classes, constant, predictions};
use classifiers::logistic::LogisticRegression;
use classifiers::{Classifier, Fitted as _, FittedLinear, Rows};

struct Fitted {
    width: usize,
    model: FittedLinear,
}

impl BaseLearner for LogisticRegression {
    fn fit(&self, examples: &Examples, members: &[u32], _: u64) -> Result<Box<dyn SubClassifier>, BoxError> {
        self.check()?;
        if let Some(constant) = constant(examples, &classes(examples, members)) {
            return Ok(constant);
        }
        let own: Vec<f32> = members.iter().flat_map(|&member| examples.row(member as usize)).copied().collect();
        let labels: Vec<u32> = members.iter().map(|&member| examples.labels()[member as usize].into()).collect();
        let model = Classifier::fit(self, Rows::new(examples.width(), &own)?, &labels)?;
        Ok(Box::new(Fitted { width: examples.width(), model }))
    }
}

impl SubClassifier for Fitted {
    fn predict(&self, features: &[f32]) -> Result<Vec<u16>, BoxError> {
        check_width(features, self.width)?;
        if features.is_empty() {
            return Ok(Vec::new());
        }
        Ok(predictions(self.model.predict(Rows::new(self.width, features)?)?))
    }
}
