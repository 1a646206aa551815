//! The bounded transform of the number of experts.

use serde::{Deserialize, Deserializer, Serialize};

/// JSON has no infinity; serde writes `null` for it.
pub(super) fn null_is_infinite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
}

/// `1/Ê = 1/(E − 1 + (1/E_start − 1/E_max)⁻¹) + 1/E_max` (the paper's Eq. 1): `Ê` rises with `E` from `E_start` for a dense model to `E_max` for
/// infinitely many experts.
///
/// Both are stored as exponents of 2, in which they are fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Saturation {
    /// `log2 E_start`.
    pub log2_start: f64,
    /// `log2 E_max`; infinity (in JSON `null`) for the unbounded transform `E − 1 + E_start`.
    #[serde(deserialize_with = "null_is_infinite")]
    pub log2_max: f64,
}

impl Saturation {
    /// `E_start = Ê(1)`.
    pub fn start(&self) -> f64 {
        self.log2_start.exp2()
    }

    /// `E_max = Ê(∞)`.
    pub fn max(&self) -> f64 {
        self.log2_max.exp2()
    }

    /// `Ê` for `experts ≥ 1`; NaN if `E_start ≥ E_max`.
    pub fn effective_experts(&self, experts: f64) -> f64 {
        let (start, max) = (self.start(), self.max());
        if start >= max {
            return f64::NAN;
        }
        let reach = 1. / (1. / start - 1. / max);
        1. / (1. / (experts - 1. + reach) + 1. / max)
    }

    /// `log10 Ê` and its derivatives with respect to `log2 E_start` and `log2 E_max`.
    pub(super) fn log10_with_gradient(&self, experts: f64) -> (f64, [f64; 2]) {
        let (start, max) = (self.start(), self.max());
        if start >= max {
            return (f64::NAN, [f64::NAN; 2]);
        }
        let (per_start, per_max) = (1. / start, 1. / max);
        let reach = 1. / (per_start - per_max);
        let shifted = experts - 1. + reach;
        let effective = 1. / (1. / shifted + per_max);
        // a derivative with respect to log2 q has the factor ln 2 · q
        let share = (reach / shifted).powi(2);
        let by_start = effective * share * per_start;
        let by_max = effective * (1. - share) * per_max;
        let base = std::f64::consts::LOG10_2;
        (effective.log10(), [by_start * base, by_max * base])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn ends_and_derivatives() {
        let transform = Saturation { log2_start: 1.05, log2_max: 7.9 };
        assert_relative_eq!(transform.effective_experts(1.), transform.start(), max_relative = 1e-13);
        assert_relative_eq!(transform.effective_experts(1e15), transform.max(), max_relative = 1e-9);
        let unbounded = Saturation { log2_max: f64::INFINITY, ..transform };
        assert_relative_eq!(unbounded.effective_experts(9.), 8. + transform.start(), max_relative = 1e-13);
        for experts in [1., 2., 17., 512.] {
            let (value, gradient) = transform.log10_with_gradient(experts);
            assert_relative_eq!(value, transform.effective_experts(experts).log10(), max_relative = 1e-13);
            let step = 1e-5;
            let by_start = [step, -step]
                .map(|h| Saturation { log2_start: 1.05 + h, ..transform }.effective_experts(experts).log10());
            let by_max =
                [step, -step].map(|h| Saturation { log2_max: 7.9 + h, ..transform }.effective_experts(experts).log10());
            assert_relative_eq!(gradient[0], (by_start[0] - by_start[1]) / (2. * step), epsilon = 1e-9);
            assert_relative_eq!(gradient[1], (by_max[0] - by_max[1]) / (2. * step), epsilon = 1e-9);
        }
    }
}
