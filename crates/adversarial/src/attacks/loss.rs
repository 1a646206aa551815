//! What attacks maximise.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A function of a sample's logits z that an attack makes large; y is the label, t a target class, π₁, π₂, … are the classes by falling logit.
///
/// | loss | formula | classes | source |
/// |---|---|---|---|
/// | `CrossEntropy` | log Σ exp z − z_y | 2 | |
/// | `Margin` | max_{i≠y} z_i − z_y | 2 | Carlini and Wagner (2017) |
/// | `Dlr` | −(z_y − max_{i≠y} z_i) / (z_π₁ − z_π₃) | 3 | Croce and Hein (2020) |
/// | `TargetedDlr` | −(z_y − z_t) / (z_π₁ − (z_π₃ + z_π₄)/2) | 4 | Croce and Hein (2020) |
/// | `TargetedCrossEntropy` | z_t − log Σ exp z | 2 | |
///
/// Denominators carry + 1e-12. Without a target of yours ([`Goal::Untargeted`](super::Goal)) the targeted losses take the highest other logits of the clean sample in turn; with targets, `CrossEntropy`, `Margin`
/// (z_t − max_{i≠t} z_i) and `Dlr` take their targeted form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Loss {
    /// Cross-entropy of the label.
    CrossEntropy,
    /// The highest other logit minus that of the label.
    Margin,
    /// The difference of logits ratio, which does not change when logits are scaled.
    Dlr,
    /// The difference of logits ratio towards one class.
    TargetedDlr,
    /// Minus the cross-entropy of the target.
    TargetedCrossEntropy,
}

const TINY: f64 = 1e-12;

impl Loss {
    pub(crate) fn is_targeted(self) -> bool {
        matches!(self, Self::TargetedDlr | Self::TargetedCrossEntropy)
    }

    /// `CE`, `margin`, `DLR`, …
    pub fn name(self) -> &'static str {
        match self {
            Self::CrossEntropy => "CE",
            Self::Margin => "margin",
            Self::Dlr => "DLR",
            Self::TargetedDlr => "targeted DLR",
            Self::TargetedCrossEntropy => "targeted CE",
        }
    }

    /// The form with a target.
    fn towards_target(self) -> Self {
        match self {
            Self::CrossEntropy => Self::TargetedCrossEntropy,
            Self::Dlr => Self::TargetedDlr,
            other => other,
        }
    }

    pub(crate) fn check_classes(self, has_targets: bool, classes: usize) -> Result<()> {
        let needed = match if has_targets { self.towards_target() } else { self } {
            Self::TargetedDlr => 4,
            Self::Dlr => 3,
            _ => 2,
        };
        if classes < needed {
            let reason =
                format!("{} needs {needed} classes, the model has {classes}; take `Loss::Margin`", self.name());
            return Err(Error::config("Loss", "loss", reason));
        }
        Ok(())
    }

    /// The loss of one sample; its gradient is written to `gradient`, which is as long as `logits`.
    ///
    /// # Errors
    /// Fewer classes than the table asks for; a label or target that is no class; a targeted loss without a target.
    ///
    /// ```
    /// use adversarial::attacks::Loss;
    /// let mut gradient = [0.; 4];
    /// let loss = Loss::Dlr.of(&[3., 1., 0.5, -1.], 0, None, &mut gradient)?;
    /// assert!((loss + 0.8).abs() < 1e-9);
    /// let loss = Loss::TargetedDlr.of(&[3., 1., 0.5, -1.], 0, Some(2), &mut gradient)?;
    /// assert!((loss + 10. / 13.).abs() < 1e-9);
    /// # Ok::<(), adversarial::Error>(())
    /// ```
    pub fn of(self, logits: &[f64], label: u32, target: Option<u32>, gradient: &mut [f64]) -> Result<f64> {
        self.check_classes(target.is_some(), logits.len())?;
        let classes = logits.len();
        if gradient.len() != classes {
            return Err(Error::length("Loss::of", "elements of the gradient", gradient.len(), classes));
        }
        if let Some(wrong) = [Some(label), target].into_iter().flatten().find(|&class| class as usize >= classes) {
            return Err(Error::out_of_range("Loss::of", "a label or target", u64::from(wrong), classes));
        }
        if self.is_targeted() && target.is_none() {
            return Err(Error::config("Loss::of", "target", "is missing for a targeted loss"));
        }
        Ok(self.value(logits, label as usize, target.map(|target| target as usize), gradient))
    }

    /// [`Self::of`] for arguments that fit.
    pub(crate) fn value(self, z: &[f64], y: usize, target: Option<usize>, gradient: &mut [f64]) -> f64 {
        gradient.fill(0.);
        match (self, target) {
            (Self::CrossEntropy, None) => {
                let log_sum = softmax(z, gradient);
                gradient[y] -= 1.;
                log_sum - z[y]
            }
            (Self::CrossEntropy | Self::TargetedCrossEntropy, target) => {
                let target = target.unwrap_or(y);
                let log_sum = softmax(z, gradient);
                gradient.iter_mut().for_each(|g| *g = -*g);
                gradient[target] += 1.;
                z[target] - log_sum
            }
            (Self::Margin, target) => {
                let of = target.unwrap_or(y);
                let other = highest_but(z, of);
                let sign = if target.is_some() { -1. } else { 1. };
                gradient[other] += sign;
                gradient[of] -= sign;
                sign * (z[other] - z[of])
            }
            (Self::Dlr, None) => {
                let order = by_falling(z, 3);
                let other = highest_but(z, y);
                let scale = z[order[0]] - z[order[2]] + TINY;
                let loss = -(z[y] - z[other]) / scale;
                gradient[y] -= 1. / scale;
                gradient[other] += 1. / scale;
                gradient[order[0]] -= loss / scale;
                gradient[order[2]] += loss / scale;
                loss
            }
            (Self::Dlr | Self::TargetedDlr, target) => {
                let target = target.unwrap_or(y);
                let order = by_falling(z, 4);
                let scale = z[order[0]] - 0.5 * (z[order[2]] + z[order[3]]) + TINY;
                let loss = -(z[y] - z[target]) / scale;
                gradient[y] -= 1. / scale;
                gradient[target] += 1. / scale;
                gradient[order[0]] -= loss / scale;
                gradient[order[2]] += 0.5 * loss / scale;
                gradient[order[3]] += 0.5 * loss / scale;
                loss
            }
        }
    }
}

/// Writes the softmax and returns the logarithm of the sum of exponentials.
fn softmax(z: &[f64], out: &mut [f64]) -> f64 {
    let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.;
    for (out, &z) in out.iter_mut().zip(z) {
        *out = (z - largest).exp();
        sum += *out;
    }
    out.iter_mut().for_each(|out| *out /= sum);
    largest + sum.ln()
}

/// The first class with the highest logit.
pub(crate) fn predicted(z: &[f64]) -> usize {
    let mut best = 0;
    for (class, &value) in z.iter().enumerate() {
        if value > z[best] {
            best = class;
        }
    }
    best
}

fn highest_but(z: &[f64], left_out: usize) -> usize {
    let mut best = usize::from(left_out == 0);
    for (class, &value) in z.iter().enumerate() {
        if class != left_out && value > z[best] {
            best = class;
        }
    }
    best
}

/// The first `count` classes by falling logit, the smaller class first where they tie.
pub(crate) fn by_falling(z: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..z.len()).collect();
    order.sort_by(|&a, &b| z[b].total_cmp(&z[a]).then(a.cmp(&b)));
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stated_values_and_gradients() {
        let z = [3., 1., 0.5, -1.];
        type Case<'a> = (Loss, &'a [f64], usize, Option<usize>, f64);
        let cases: [Case<'_>; 4] = [
            (Loss::Dlr, &z, 0, None, -0.8),
            (Loss::Dlr, &z, 1, None, 0.8),
            (Loss::TargetedDlr, &z, 0, Some(2), -10. / 13.),
            (Loss::Dlr, &[2., 1., 0.], 0, None, -0.5),
        ];
        for (loss, z, y, target, expected) in cases {
            let value = loss.value(z, y, target, &mut vec![0.; z.len()]);
            assert!((value - expected).abs() < 1e-10, "{loss:?} {value}");
        }
        let z = [0.3, -1.2, 2.1, 0.9, -0.4];
        let losses = [Loss::CrossEntropy, Loss::Margin, Loss::Dlr, Loss::TargetedDlr, Loss::TargetedCrossEntropy];
        for loss in losses {
            for target in [None, Some(3)] {
                if loss.is_targeted() && target.is_none() {
                    continue;
                }
                let mut gradient = [0.; 5];
                loss.value(&z, 0, target, &mut gradient);
                for at in 0..5 {
                    let shifted = |by: f64| {
                        let mut z = z;
                        z[at] += by;
                        loss.value(&z, 0, target, &mut [0.; 5])
                    };
                    let expected = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
                    assert!((gradient[at] - expected).abs() < 1e-8, "{loss:?} {target:?} {at}");
                }
            }
        }
    }

    #[test]
    fn too_few_classes_name_them() {
        let message = Loss::Dlr.of(&[1., 2.], 0, None, &mut [0.; 2]).unwrap_err().to_string();
        assert!(message.contains("3 classes") && message.contains("Margin"), "{message}");
        let message = Loss::TargetedDlr.of(&[1., 2., 3.], 0, Some(1), &mut [0.; 3]).unwrap_err().to_string();
        assert!(message.contains("4 classes"), "{message}");
    }
}
