//! Attackers by what they know.

use crate::training::Result;
use adversarial::attacks::{Attack, Classifier, GradientAttack, Outcome, Samples, ThreatModel};
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

pub(crate) fn threat() -> ThreatModel {
    ThreatModel::linf(8. / 255.)
}

/// PGD with steps of 2/255, to the end.
pub(crate) fn pgd(iterations: usize) -> GradientAttack {
    GradientAttack::pgd(2. / 255., iterations).to_the_end()
}

/// Accuracy by any iterate and by the last.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Left {
    pub(crate) any: f64,
    pub(crate) last: f64,
}

impl Left {
    pub(crate) fn of(found: &Outcome) -> Self {
        Self { any: found.robust_accuracy(), last: found.accuracy_at_last() }
    }
}

/// The share of inputs that a model is right on.
pub(crate) fn accuracy(model: &dyn Classifier, x: &Tensor, labels: &[u32]) -> Result<f64> {
    let found = model.logits(x)?.argmax(D::Minus1)?.to_vec1::<u32>()?;
    Ok(found.iter().zip(labels).filter(|(a, b)| a == b).count() as f64 / labels.len() as f64)
}

/// What an attack on `other`, whatever it gets wrong itself, leaves of `model`: its last points, each judged once.
pub(crate) fn crafted(
    other: &dyn Classifier,
    model: &dyn Classifier,
    x: &Tensor,
    labels: &[u32],
    seed: u64,
) -> Result<(Outcome, f64)> {
    let found = pgd(20).on_all().run_on(other, &Samples::new(x, labels)?, &threat(), seed)?;
    let left = accuracy(model, &found.last, labels)?;
    Ok((found, left))
}
