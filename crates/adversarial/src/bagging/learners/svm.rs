//! Support vector machines with a radial kernel as base learners.

use super::super::training::{BaseLearner, BoxError, Examples, SubClassifier, check_width};
use super::classes::{classes, constant, predictions};
use classifiers::svm::{FittedKernelSvm, KernelSvm};

struct Fitted {
    width: usize,
    machine: FittedKernelSvm,
}

impl BaseLearner for KernelSvm {
    fn fit(&self, examples: &Examples, members: &[u32], _: u64) -> Result<Box<dyn SubClassifier>, BoxError> {
        self.check()?;
        if let Some(constant) = constant(examples, &classes(examples, members)) {
            return Ok(constant);
        }
        let rows: Vec<&[f32]> = members.iter().map(|&member| examples.row(member as usize)).collect();
        let labels: Vec<u32> = members.iter().map(|&member| examples.labels()[member as usize].into()).collect();
        let machine = self.fit_rows(examples.width(), &rows, &labels)?;
        Ok(Box::new(Fitted { width: examples.width(), machine }))
    }
}

impl SubClassifier for Fitted {
    fn predict(&self, features: &[f32]) -> Result<Vec<u16>, BoxError> {
        check_width(features, self.width)?;
        Ok(predictions(self.machine.predict(features)?))
    }
}
