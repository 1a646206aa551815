//! The range of an axis and its marks.

use super::Axis;

/// More marks than this crowd an axis.
const MOST_MARKS: usize = 8;

/// The part of an axis that is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    low: f64,
    high: f64,
    is_logarithmic: bool,
}

impl Span {
    /// The span of the values that the axis can show, with a little room around them.
    pub(super) fn of(axis: &Axis, values: impl IntoIterator<Item = f64>) -> Self {
        let is_logarithmic = axis.is_logarithmic;
        let shown = values.into_iter().filter(|value| value.is_finite() && (!is_logarithmic || *value > 0.0));
        let position = |value: f64| if is_logarithmic { value.log10() } else { value };
        let (low, high) = shown
            .map(position)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return Self { low: 0.0, high: 1.0, is_logarithmic };
        }
        // Halves first: the difference of two large values can overflow. A span below the resolution of floats
        // counts as one value.
        let half = high / 2.0 - low / 2.0;
        let scale = low.abs().max(high.abs());
        let room = match half > scale * 1e-12 {
            true => half * 0.1,
            false if is_logarithmic => 0.5,
            false => (scale * 0.1).max(f64::MIN_POSITIVE * 1e20).max(if scale == 0.0 { 1.0 } else { 0.0 }),
        };
        Self { low: (low - room).max(f64::MIN / 4.0), high: (high + room).min(f64::MAX / 4.0), is_logarithmic }
    }

    /// The span that begins or ends at 0, for bars and counts.
    pub(super) fn from_zero(axis: &Axis, values: impl IntoIterator<Item = f64>) -> Self {
        let mut lowest: f64 = 0.0;
        let mut highest: f64 = 0.0;
        for value in values.into_iter().filter(|value| value.is_finite()) {
            lowest = lowest.min(value);
            highest = highest.max(value);
        }
        if lowest == highest {
            return Self { low: 0.0, high: 1.0, is_logarithmic: false };
        }
        let span = Self::of(axis, [lowest, highest]);
        let low = if lowest < 0.0 { span.low } else { 0.0 };
        let high = if highest > 0.0 { span.high } else { 0.0 };
        Self { low, high, is_logarithmic: false }
    }

    /// The place of a value, 0 at the low end and 1 at the high end; `None` when the axis cannot show it.
    pub(super) fn fraction(&self, value: f64) -> Option<f64> {
        if !value.is_finite() || (self.is_logarithmic && value <= 0.0) {
            return None;
        }
        let position = if self.is_logarithmic { value.log10() } else { value };
        Some((position / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0))
    }

    /// Marks with their labels, in order.
    pub(super) fn marks(&self) -> Vec<(f64, String)> {
        if !self.is_logarithmic {
            return linear_marks(self.low, self.high);
        }
        let marks = decade_marks(self.low, self.high);
        if marks.len() >= 2 {
            return marks;
        }
        // Less than a decade without round numbers inside: marks as on a linear axis, at logarithmic places.
        linear_marks(10f64.powf(self.low), 10f64.powf(self.high))
            .into_iter()
            .filter(|(value, _)| *value > 0.0)
            .collect()
    }
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear_marks(low: f64, high: f64) -> Vec<(f64, String)> {
    let rough = (high / 2.0 - low / 2.0) * 2.0 / (MOST_MARKS - 2) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let multiple = [1.0, 2.0, 5.0, 10.0].into_iter().find(|multiple| multiple * power >= rough).unwrap_or(10.0);
    let step = multiple * power;
    if !step.is_normal() || (low / step).abs() > 1e15 {
        return Vec::new();
    }
    let decimals = usize::try_from(-step.log10().floor() as i64).unwrap_or(0);
    let largest = low.abs().max(high.abs());
    let label = |value: f64| {
        if value == 0.0 {
            "0".to_owned()
        } else if largest >= 1e6 || decimals > 6 {
            let digits = (largest.log10().floor() - step.log10().floor()).max(0.0) as usize;
            trimmed_scientific(value, digits)
        } else {
            format!("{value:.decimals$}")
        }
    };
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last).take(2 * MOST_MARKS).map(|index| index as f64 * step).map(|value| (value, label(value))).collect()
}

/// Powers of ten, with 2 and 5 times them on short axes and only every few of them on long ones.
fn decade_marks(low: f64, high: f64) -> Vec<(f64, String)> {
    let (first, last) = (low.floor() as i32, high.ceil() as i32);
    let decades = (high - low).max(0.0);
    let multiples: &[f64] = if decades < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let stride = ((decades / MOST_MARKS as f64).ceil() as i32).max(1);
    let mut marks = Vec::new();
    for exponent in (first..=last).filter(|exponent| exponent.rem_euclid(stride) == 0) {
        for multiple in multiples {
            let value = multiple * 10f64.powi(exponent);
            if value.is_normal() && (low..=high).contains(&value.log10()) {
                marks.push((value, decade_label(*multiple, exponent)));
            }
        }
    }
    marks
}

fn decade_label(multiple: f64, exponent: i32) -> String {
    match exponent {
        0..=4 => format!("{:.0}", multiple * 10f64.powi(exponent)),
        -3..=-1 => format!("{:.*}", exponent.unsigned_abs() as usize, multiple * 10f64.powi(exponent)),
        _ => format!("{multiple:.0}e{exponent}"),
    }
}

fn trimmed_scientific(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if mantissa.contains('.') => {
            format!("{}e{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(axis: &Axis, values: &[f64]) -> Vec<String> {
        Span::of(axis, values.iter().copied()).marks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn marks_are_round_numbers() {
        let linear = Axis::linear("");
        assert_eq!(labels(&linear, &[0.0, 1.0]), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&linear, &[80.0, 90.0]), ["80", "82", "84", "86", "88", "90"]);
        assert_eq!(labels(&linear, &[0.0, 4e6]), ["0", "1e6", "2e6", "3e6", "4e6"]);
    }

    #[test]
    fn logarithmic_marks_are_powers_of_ten() {
        let log = Axis::log("");
        assert_eq!(labels(&log, &[1e-4, 1e2]), ["1e-4", "0.001", "0.01", "0.1", "1", "10", "100"]);
        assert_eq!(labels(&log, &[1.0, 20.0]), ["1", "2", "5", "10", "20"]);
        assert!(labels(&log, &[3.1, 3.4]).len() >= 2);
    }

    #[test]
    fn values_that_an_axis_cannot_show_have_no_place() {
        let span = Span::of(&Axis::log(""), [f64::NAN, -1.0, 1.0, 10.0]);
        for value in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            assert_eq!(span.fraction(value), None);
        }
        assert!(span.fraction(1.0).unwrap() < span.fraction(10.0).unwrap());
    }

    proptest! {
        #[test]
        fn any_values_lie_inside_their_span(values in prop::collection::vec(any::<f64>(), 0..5), is_logarithmic: bool) {
            let axis = Axis { label: String::new(), is_logarithmic };
            let span = Span::of(&axis, values.iter().copied());
            for fraction in values.iter().filter_map(|value| span.fraction(*value)) {
                // Values near the largest float are cut by the span's own limits.
                prop_assert!((-2.0..=3.0).contains(&fraction), "{fraction}");
            }
            prop_assert!(span.marks().len() <= 3 * MOST_MARKS);
        }
    }
}
