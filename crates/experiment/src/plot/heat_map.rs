//! Heat maps.

use super::body::{Body, TEXT_SIZE, WIDTH};
use super::canvas::{Anchor, Canvas, Tone, fitted, text_width};

/// Maps with more columns than this show colours only; numbers would not fit.
const MOST_NUMBERS: usize = 10;
const LEGEND: f64 = 34.0;
const COLUMN_NAMES: f64 = 20.0;

pub(super) fn heat_map<'a>(columns: &'a [String], rows: &'a [String], values: &'a [Vec<f64>]) -> Body<'a> {
    let widest = rows.iter().map(|name| text_width(name, TEXT_SIZE)).fold(0.0, f64::max).min(WIDTH * 0.3);
    let left = 20.0 + widest;
    let cell_width = (WIDTH - 18.0 - left) / columns.len().max(1) as f64;
    let cell_height = (300.0 / rows.len().max(1) as f64).clamp(2.0, cell_width.clamp(18.0, 40.0));
    let height = COLUMN_NAMES + cell_height * rows.len() as f64 + LEGEND + 14.0;
    let draw = move |canvas: &mut Canvas<'_>, top: f64| {
        let finite = || values.iter().flatten().copied().filter(|value| value.is_finite());
        let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        draw_column_names(canvas, columns, left, cell_width, top + COLUMN_NAMES / 2.0);
        let first_row = top + COLUMN_NAMES;
        // Names of rows lower than a line of text are left out where they would touch.
        let stride = (TEXT_SIZE / cell_height).ceil().max(1.0) as usize;
        for (row, (name, values)) in rows.iter().zip(values).enumerate() {
            let row_top = first_row + row as f64 * cell_height;
            let middle = row_top + cell_height / 2.0;
            if row % stride == 0 {
                let name = fitted(name, TEXT_SIZE, WIDTH * 0.3);
                canvas.text((left - 6.0, middle), &name, TEXT_SIZE, Tone::Ink, Anchor::End);
            }
            for (column, value) in values.iter().enumerate() {
                let cell_left = left + column as f64 * cell_width;
                let (corner, opposite) = ((cell_left, row_top), (cell_left + cell_width, row_top + cell_height));
                let share = share(*value, low, high);
                canvas.rectangle(corner, opposite, share.map_or(Tone::Grid, color), 1.0);
                if columns.len() <= MOST_NUMBERS && cell_height >= 16.0 {
                    let text = report::short_number(*value);
                    let tone = share.map_or(Tone::Soft, text_color);
                    canvas.text((cell_left + cell_width / 2.0, middle), &text, TEXT_SIZE - 1.5, tone, Anchor::Middle);
                }
            }
        }
        draw_legend(canvas, left, first_row + cell_height * rows.len() as f64 + 14.0, low, high);
    };
    Body { height, legend: Vec::new(), draw: Box::new(draw) }
}

fn draw_column_names(canvas: &mut Canvas<'_>, columns: &[String], left: f64, cell_width: f64, height: f64) {
    let widest = columns.iter().map(|name| text_width(name, TEXT_SIZE) + 6.0).fold(0.0, f64::max).min(80.0);
    let stride = (widest / cell_width).ceil().max(1.0) as usize;
    for (column, name) in columns.iter().enumerate().step_by(stride) {
        let middle = left + (column as f64 + 0.5) * cell_width;
        let name = fitted(name, TEXT_SIZE, cell_width * stride as f64);
        canvas.text((middle, height), &name, TEXT_SIZE, Tone::Ink, Anchor::Middle);
    }
}

fn draw_legend(canvas: &mut Canvas<'_>, left: f64, top: f64, low: f64, high: f64) {
    if low > high {
        canvas.text((left, top + 6.0), "no finite numbers to draw", TEXT_SIZE, Tone::Soft, Anchor::Start);
        return;
    }
    let (low, high) = (report::short_number(low), report::short_number(high));
    canvas.text((left, top + 6.0), &low, TEXT_SIZE, Tone::Soft, Anchor::Start);
    let bar = left + text_width(&low, TEXT_SIZE) + 8.0;
    const STEPS: usize = 24;
    const STEP: f64 = 5.0;
    for step in 0..STEPS {
        let from = bar + step as f64 * STEP;
        canvas.rectangle((from, top), (from + STEP, top + 12.0), color(step as f64 / (STEPS - 1) as f64), 1.0);
    }
    canvas.text((bar + STEPS as f64 * STEP + 8.0, top + 6.0), &high, TEXT_SIZE, Tone::Soft, Anchor::Start);
}

/// The place of a value between the extremes; equal values are all in the middle.
fn share(value: f64, low: f64, high: f64) -> Option<f64> {
    let share = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
    value.is_finite().then_some(if share.is_finite() { share } else { 0.5 })
}

/// From pale yellow over green to dark blue: lightness falls evenly, so it reads without colour vision too.
fn color(share: f64) -> Tone {
    const STOPS: [[f64; 3]; 5] =
        [[250.0, 243.0, 200.0], [161.0, 214.0, 180.0], [65.0, 171.0, 188.0], [33.0, 102.0, 172.0], [16.0, 37.0, 95.0]];
    let position = share.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let below = (position as usize).min(STOPS.len() - 2);
    let part = position - below as f64;
    let channel =
        |channel: usize| (STOPS[below][channel] * (1.0 - part) + STOPS[below + 1][channel] * part).round() as u8;
    Tone::Exact(channel(0), channel(1), channel(2))
}

/// Black or white, whichever is easier to read on the cell; one step off, so that a dark ground does not swap them.
fn text_color(share: f64) -> Tone {
    if share < 0.55 { Tone::Exact(1, 1, 1) } else { Tone::Exact(254, 254, 254) }
}
