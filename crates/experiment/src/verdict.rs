//! From a measured value to a verdict.

use report::{Scale, Verdict};

use crate::paper::{Claim, Judge};
use crate::statistics;

/// A value measured by this run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measured {
    /// The value, in the claim's unit.
    pub value: f64,
    /// Its spread over trials in the claim's unit, usually the sample standard deviation.
    pub spread: Option<f64>,
    /// How many trials it comes from.
    pub trials: usize,
    /// The data it was measured on.
    pub data: String,
    /// Whether the data is synthetic; the report says so beside the value.
    pub is_synthetic: bool,
    /// Whether the value is a time, or made of times. Such a value is not judged in a build with debug assertions, whose checks cost time.
    pub is_timed: bool,
    /// Anything a reader must know beside the value.
    pub note: Option<String>,
}

impl Measured {
    /// The mean of one value of each trial, with their sample standard deviation.
    pub fn mean_of(values: &[f64], data: impl Into<String>) -> Self {
        Self {
            value: statistics::mean(values),
            spread: statistics::sample_standard_deviation(values),
            trials: values.len(),
            data: data.into(),
            ..Self::default()
        }
    }

    /// The same value, said to be made of times (see [`is_timed`](Self::is_timed)).
    #[must_use]
    pub fn timed(self) -> Self {
        Self { is_timed: true, ..self }
    }

    /// Whether it is a time that this build, one with debug assertions, cannot measure.
    pub(crate) fn is_slowed_by_checks(&self) -> bool {
        self.is_timed && cfg!(debug_assertions)
    }
}

impl Judge {
    /// Whether the judge accepts `value`; `None` when it does not judge at all.
    ///
    /// `Within` forgives a rounding error of a few units in the last place, so that 0.4 is within 0.1 of 0.3.
    pub fn accepts(&self, value: f64) -> Option<bool> {
        let is_accepted = match *self {
            Self::Within { target, tolerance } => {
                let rounding = 4.0 * f64::EPSILON * target.abs().max(value.abs());
                (value - target).abs() <= tolerance + rounding
            }
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
            Self::ReportOnly => return None,
        };
        Some(value.is_finite() && is_accepted)
    }

    /// The judge's rule in words, with the unit.
    pub(crate) fn words(&self, unit: &str) -> String {
        let with_unit = |value: f64| if unit.is_empty() { value.to_string() } else { format!("{value} {unit}") };
        match *self {
            Self::Within { target, tolerance } => format!("within {} of {}", with_unit(tolerance), with_unit(target)),
            Self::AtLeast(bound) => format!("at least {}", with_unit(bound)),
            Self::AtMost(bound) => format!("at most {}", with_unit(bound)),
            Self::ReportOnly => "reported, not judged".into(),
        }
    }
}

/// The verdict on `claim` at `scale`. An incomplete run tests nothing.
pub(crate) fn verdict(claim: &Claim, scale: Scale, is_complete: bool, measured: Option<&Measured>) -> Verdict {
    let Some(measured) = measured else { return Verdict::NotTested };
    if !is_complete || !claim.scales.contains(&scale) || measured.is_slowed_by_checks() {
        return Verdict::NotTested;
    }
    match claim.judge.accepts(measured.value) {
        Some(true) => Verdict::Reproduced,
        Some(false) => Verdict::NotReproduced,
        None => Verdict::NotTested,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict_of(judge: Judge, value: f64) -> Verdict {
        let claim = Claim { id: "a", statement: "", published: None, judge, unit: "", scales: &[Scale::Smoke] };
        verdict(&claim, Scale::Smoke, true, Some(&Measured { value, ..Measured::default() }))
    }

    #[test]
    fn within_accepts_its_borders_in_spite_of_rounding() {
        let judge = Judge::Within { target: 0.3, tolerance: 0.1 };
        // 0.4 - 0.3 is 0.10000000000000003 in floating point.
        for value in [0.2, 0.3, 0.4] {
            assert_eq!(verdict_of(judge, value), Verdict::Reproduced, "{value}");
        }
        for value in [0.19999, 0.40001] {
            assert_eq!(verdict_of(judge, value), Verdict::NotReproduced, "{value}");
        }
    }

    #[test]
    fn at_least_and_at_most_accept_their_bound() {
        assert_eq!(verdict_of(Judge::AtLeast(2.0), 2.0), Verdict::Reproduced);
        assert_eq!(verdict_of(Judge::AtLeast(2.0), 1.999), Verdict::NotReproduced);
        assert_eq!(verdict_of(Judge::AtMost(2.0), 2.0), Verdict::Reproduced);
        assert_eq!(verdict_of(Judge::AtMost(2.0), 2.001), Verdict::NotReproduced);
    }

    #[test]
    fn report_only_is_never_reproduced() {
        assert_eq!(verdict_of(Judge::ReportOnly, 1.0), Verdict::NotTested);
        assert_eq!(verdict_of(Judge::ReportOnly, f64::NAN), Verdict::NotTested);
    }

    #[test]
    fn a_value_that_is_not_finite_is_not_reproduced() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for judge in [Judge::Within { target: 0.0, tolerance: 1.0 }, Judge::AtLeast(0.0), Judge::AtMost(0.0)] {
                assert_eq!(verdict_of(judge, value), Verdict::NotReproduced, "{judge:?} {value}");
            }
        }
    }

    #[test]
    fn times_are_judged_only_in_a_build_without_debug_assertions() {
        let claim = Claim::new("a", "", Judge::AtLeast(2.0), "", &[Scale::Smoke]);
        let of = |measured: Measured| verdict(&claim, Scale::Smoke, true, Some(&measured));
        let measured = Measured { value: 1.0, ..Measured::default() };
        assert_eq!(of(measured.clone()), Verdict::NotReproduced);
        let expected = if cfg!(debug_assertions) { Verdict::NotTested } else { Verdict::NotReproduced };
        assert_eq!(of(measured.timed()), expected);
    }

    #[test]
    fn another_scale_an_incomplete_run_and_no_value_are_not_tested() {
        let claim = Claim {
            id: "a",
            statement: "",
            published: None,
            judge: Judge::AtLeast(0.0),
            unit: "",
            scales: &[Scale::Laptop],
        };
        let measured = Measured { value: 1.0, ..Measured::default() };
        assert_eq!(verdict(&claim, Scale::Laptop, true, Some(&measured)), Verdict::Reproduced);
        assert_eq!(verdict(&claim, Scale::Smoke, true, Some(&measured)), Verdict::NotTested);
        assert_eq!(verdict(&claim, Scale::Laptop, false, Some(&measured)), Verdict::NotTested);
        assert_eq!(verdict(&claim, Scale::Laptop, true, None), Verdict::NotTested);
    }
}
