//! Histograms.

use super::body::{Body, LegendSign};
use super::canvas::{Canvas, Tone};
use super::frame::Frame;
use super::ticks::Span;
use super::{Axis, Samples};

const HEIGHT: f64 = 300.0;

pub(super) fn histogram<'a>(value: &'a Axis, bins: usize, samples: &'a [Samples]) -> Body<'a> {
    let legend = samples.iter().map(|samples| (samples.name.clone(), LegendSign::Box)).collect();
    let draw = move |canvas: &mut Canvas<'_>, top: f64| {
        let all =
            || samples.iter().flat_map(|samples| samples.values.iter().copied()).filter(|value| value.is_finite());
        let (low, high) = range(all());
        let counts: Vec<Vec<usize>> = samples.iter().map(|samples| counts(&samples.values, low, high, bins)).collect();
        let count_axis = Axis::linear("count");
        let most = counts.iter().flatten().copied().max().unwrap_or(0);
        let (x, y) = (Span::of(value, [low, high]), Span::from_zero(&count_axis, [most as f64]));
        let frame = Frame::new(top, HEIGHT, x, y);
        frame.draw(canvas, value, &count_axis);
        if all().next().is_none() {
            frame.say_empty(canvas);
            return;
        }
        // Overlapping samples show through each other.
        let opacity = if samples.len() > 1 { 0.55 } else { 1.0 };
        let edge = |bin: usize| low + (high - low) * bin as f64 / bins as f64;
        for (index, counts) in counts.iter().enumerate() {
            for (bin, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let corners = (frame.place(edge(bin), 0.0), frame.place(edge(bin + 1), *count as f64));
                if let (Some(bottom_left), Some(top_right)) = corners {
                    let bottom_left = (bottom_left.0 + 0.5, bottom_left.1);
                    canvas.rectangle(bottom_left, (top_right.0 - 0.5, top_right.1), Tone::Series(index), opacity);
                }
            }
        }
    };
    Body { height: HEIGHT, legend, draw: Box::new(draw) }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    match low.partial_cmp(&high) {
        Some(std::cmp::Ordering::Less) => (low, high),
        // One value only: a bin of its own around it.
        Some(std::cmp::Ordering::Equal) => (low - 0.5 * low.abs().max(1.0), high + 0.5 * high.abs().max(1.0)),
        _ => (0.0, 1.0),
    }
}

/// Counts per bin; the last bin includes its upper end.
fn counts(values: &[f64], low: f64, high: f64, bins: usize) -> Vec<usize> {
    let mut counts = vec![0; bins];
    for value in values.iter().filter(|value| value.is_finite()) {
        let fraction = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
        counts[((fraction * bins as f64) as usize).min(bins - 1)] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_is_counted_once() {
        let values = [0.0, 0.1, 0.5, 0.99, 1.0, f64::NAN, f64::INFINITY];
        assert_eq!(counts(&values, 0.0, 1.0, 2), [2, 3]);
        let (low, high) = range([3.0].into_iter());
        assert_eq!(counts(&[3.0], low, high, 3), [0, 1, 0]);
    }
}
