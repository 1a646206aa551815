//! When an attack has won.

use super::loss::predicted;
use super::samples::Samples;
use crate::{Error, Result};

/// When an attack has won.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Goal {
    /// The model predicts another class than the label. What is misclassified from the start is not attacked and counts as won.
    #[default]
    Untargeted,
    /// The model predicts this class, one for each sample, none of which is the sample's label. What is on target from the start counts as won.
    Targeted(Vec<u32>),
}

impl Goal {
    pub(crate) fn is_targeted(&self) -> bool {
        matches!(self, Self::Targeted(_))
    }

    pub(crate) fn target(&self, sample: usize) -> Option<usize> {
        match self {
            Self::Untargeted => None,
            Self::Targeted(targets) => targets.get(sample).map(|&target| target as usize),
        }
    }

    pub(crate) fn is_reached(&self, sample: usize, label: u32, logits: &[f64]) -> bool {
        match self.target(sample) {
            Some(target) => predicted(logits) == target,
            None => predicted(logits) != label as usize,
        }
    }

    pub(crate) fn check(&self, samples: &Samples, classes: usize) -> Result<()> {
        let Self::Targeted(targets) = self else { return Ok(()) };
        if targets.len() != samples.len() {
            return Err(Error::length("Goal::Targeted", "targets", targets.len(), samples.len()));
        }
        for (sample, (&target, &label)) in targets.iter().zip(&samples.labels).enumerate() {
            if target as usize >= classes {
                let what = format!("the target of sample {sample}");
                return Err(Error::out_of_range("Goal::Targeted", what, u64::from(target), classes));
            }
            if target == label {
                let reason = format!(
                    "has the label of sample {sample} as its target, {label}; an attack towards it would help the model"
                );
                return Err(Error::config("Goal::Targeted", "the list of targets", reason));
            }
        }
        Ok(())
    }
}
