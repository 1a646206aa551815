//! Lines, points and bars.

use std::collections::HashSet;

use super::body::{Body, LegendSign, TEXT_SIZE, WIDTH};
use super::canvas::{Anchor, Canvas, Point, Sign, Tone, fitted, text_width};
use super::frame::{FOOT, Frame};
use super::ticks::Span;
use super::{Axis, Bars, Series};

const HEIGHT: f64 = 320.0;

/// A line with more points than this has no signs on it; they would hide it.
const MOST_SIGNS: usize = 40;

pub(super) fn lines<'a>(x: &'a Axis, y: &'a Axis, series: &'a [Series]) -> Body<'a> {
    let legend = series.iter().map(|series| (series.name.clone(), LegendSign::Line)).collect();
    let draw = move |canvas: &mut Canvas<'_>, top: f64| {
        let frame = frame(canvas, top, x, y, series);
        for (index, series) in series.iter().enumerate() {
            draw_band(canvas, &frame, series, Tone::Series(index));
        }
        for (index, series) in series.iter().enumerate() {
            draw_line(canvas, &frame, series, index);
        }
    };
    Body { height: HEIGHT, legend, draw: Box::new(draw) }
}

pub(super) fn scatter<'a>(x: &'a Axis, y: &'a Axis, series: &'a [Series]) -> Body<'a> {
    let legend = series.iter().map(|series| (series.name.clone(), LegendSign::Point)).collect();
    let draw = move |canvas: &mut Canvas<'_>, top: f64| {
        let frame = frame(canvas, top, x, y, series);
        for (index, series) in series.iter().enumerate() {
            draw_points(canvas, &frame, series, index);
        }
    };
    Body { height: HEIGHT, legend, draw: Box::new(draw) }
}

fn frame(canvas: &mut Canvas<'_>, top: f64, x: &Axis, y: &Axis, series: &[Series]) -> Frame {
    let bounds = series.iter().filter_map(|series| series.interval.as_ref());
    let bounds = bounds.flat_map(|(lower, upper)| lower.iter().chain(upper).copied());
    let heights = series.iter().flat_map(|series| series.y.iter().copied()).chain(bounds);
    let across = series.iter().flat_map(|series| series.x.iter().copied());
    let frame = Frame::new(top, HEIGHT, Span::of(x, across), Span::of(y, heights));
    frame.draw(canvas, x, y);
    let is_shown = |series: &Series| series.x.iter().zip(&series.y).any(|(x, y)| frame.place(*x, *y).is_some());
    if !series.iter().any(is_shown) {
        frame.say_empty(canvas);
    }
    frame
}

fn draw_band(canvas: &mut Canvas<'_>, frame: &Frame, series: &Series, tone: Tone) {
    let Some((lower, upper)) = &series.interval else { return };
    let corners = |index: usize| {
        let across = frame.horizontal(series.x[index])?;
        frame.vertical(series.y[index])?;
        // A bound that a logarithmic axis cannot show lies below it.
        let low = frame.vertical(lower[index]).unwrap_or(frame.bottom).min(frame.bottom);
        Some(((across, low), (across, frame.vertical(upper[index])?)))
    };
    let indices: Vec<usize> = (0..series.x.len()).collect();
    for run in indices.split(|index| corners(*index).is_none()).filter(|run| run.len() > 1) {
        let (low, high): (Vec<Point>, Vec<Point>) = run.iter().filter_map(|index| corners(*index)).unzip();
        let around: Vec<Point> = thinned(&low).into_iter().chain(thinned(&high).into_iter().rev()).collect();
        canvas.area(&around, tone, 0.18);
    }
}

fn draw_line(canvas: &mut Canvas<'_>, frame: &Frame, series: &Series, index: usize) {
    let tone = Tone::Series(index);
    let places: Vec<Option<Point>> = series.x.iter().zip(&series.y).map(|(x, y)| frame.place(*x, *y)).collect();
    for run in places.split(Option::is_none) {
        let points: Vec<Point> = run.iter().flatten().copied().collect();
        if points.len() > 1 {
            canvas.path(&thinned(&points), tone, 2.0);
        }
        // A point without neighbours has no line; its sign shows it.
        if points.len() == 1 || places.len() <= MOST_SIGNS {
            points.iter().for_each(|point| canvas.sign(*point, Sign::of_series(index), tone));
        }
    }
}

fn draw_points(canvas: &mut Canvas<'_>, frame: &Frame, series: &Series, index: usize) {
    let tone = Tone::Series(index);
    let mut taken = HashSet::new();
    for (position, (x, y)) in series.x.iter().zip(&series.y).enumerate() {
        let Some((across, height)) = frame.place(*x, *y) else { continue };
        // Points on one pixel look like one; drawing it once keeps the file small.
        if !taken.insert((across.round() as i64, height.round() as i64)) {
            continue;
        }
        if let Some((lower, upper)) = &series.interval {
            let low = frame.vertical(lower[position]).unwrap_or(frame.bottom).min(frame.bottom);
            if let Some(high) = frame.vertical(upper[position]) {
                canvas.line((across, low), (across, high), tone, 1.25);
                for end in [low, high] {
                    canvas.line((across - 3.0, end), (across + 3.0, end), tone, 1.25);
                }
            }
        }
        canvas.sign((across, height), Sign::of_series(index), tone);
    }
}

/// The same line with at most four points per pixel across: first, lowest, highest, last.
fn thinned(points: &[Point]) -> Vec<Point> {
    let columns = points.chunk_by(|first, second| first.0.floor() == second.0.floor());
    let ends = |column: &[Point]| -> Vec<Point> {
        if column.len() <= 4 {
            return column.to_vec();
        }
        let by_height = |first: &&Point, second: &&Point| first.1.total_cmp(&second.1);
        let (low, high) = (column.iter().min_by(by_height), column.iter().max_by(by_height));
        [column.first(), low, high, column.last()].into_iter().flatten().copied().collect()
    };
    columns.flat_map(ends).collect()
}

pub(super) fn bars<'a>(value: &'a Axis, categories: &'a [String], series: &'a [Bars]) -> Body<'a> {
    const BAR: f64 = 15.0;
    const GAP: f64 = 14.0;
    const ERROR_WIDTH: f64 = 1.5;
    let group = (series.len() as f64 * BAR).max(BAR);
    let height = 8.0 + (categories.len() as f64 * (group + GAP)).max(40.0) + FOOT;
    let legend = series.iter().map(|bars| (bars.name.clone(), LegendSign::Box)).collect();
    let draw = move |canvas: &mut Canvas<'_>, top: f64| {
        let ends = series.iter().flat_map(|bars| {
            let error = move |index: usize| bars.errors.as_ref().map_or(0.0, |errors| errors[index]);
            (0..categories.len()).flat_map(move |index| {
                let value = bars.values[index];
                [value, value - error(index), value + error(index)]
            })
        });
        let span = Span::from_zero(value, ends);
        let widest = categories.iter().map(|name| text_width(name, TEXT_SIZE)).fold(30.0, f64::max);
        let left = 12.0 + widest.min(WIDTH * 0.4) + 8.0;
        let frame = Frame { left, ..Frame::new(top, height, span, span) };
        frame.draw_x_axis(canvas, value);
        let zero = frame.horizontal(0.0).unwrap_or(frame.left);
        for (index, category) in categories.iter().enumerate() {
            let group_top = frame.top + GAP / 2.0 + index as f64 * (group + GAP);
            let name = fitted(category, TEXT_SIZE, WIDTH * 0.4);
            canvas.text((left - 8.0, group_top + group / 2.0), &name, TEXT_SIZE, Tone::Ink, Anchor::End);
            for (place, bars) in series.iter().enumerate() {
                let bar_top = group_top + place as f64 * BAR;
                let middle = bar_top + BAR / 2.0;
                let Some(end) = frame.horizontal(bars.values[index]) else {
                    canvas.text((zero + 6.0, middle), "no finite value", TEXT_SIZE - 2.0, Tone::Soft, Anchor::Start);
                    continue;
                };
                canvas.rectangle((zero, bar_top + 1.0), (end, bar_top + BAR - 1.0), Tone::Series(place), 1.0);
                let error = bars.errors.as_ref().map_or(0.0, |errors| errors[index]);
                let bounds = [bars.values[index] - error, bars.values[index] + error].map(|at| frame.horizontal(at));
                if let ([Some(low), Some(high)], true) = (bounds, error > 0.0) {
                    canvas.line((low, middle), (high, middle), Tone::Ink, ERROR_WIDTH);
                    for at in [low, high] {
                        canvas.line((at, middle - 3.5), (at, middle + 3.5), Tone::Ink, ERROR_WIDTH);
                    }
                }
            }
        }
        canvas.line((zero, frame.top), (zero, frame.bottom), Tone::Soft, 1.0);
    };
    Body { height, legend, draw: Box::new(draw) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_ends_and_extremes_of_every_column() {
        let points: Vec<Point> = (0..10_000).map(|index| (f64::from(index) / 1000.0, f64::from(index % 77))).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= 40);
        for column in 0..10 {
            let of_column = |points: &[Point]| -> Vec<f64> {
                points.iter().filter(|point| point.0.floor() == f64::from(column)).map(|point| point.1).collect()
            };
            let (all, kept) = (of_column(&points), of_column(&thin));
            let highest = |heights: &[f64]| heights.iter().copied().fold(0.0, f64::max);
            assert_eq!(highest(&all), highest(&kept));
            assert_eq!((all.first(), all.last()), (kept.first(), kept.last()));
        }
    }
}
