//! What the kinds of plots hand to the sheet: the drawing below title and legend.

use super::canvas::Canvas;

/// Display pixels. Narrow enough that a phone shrinks the text little.
pub(super) const WIDTH: f64 = 560.0;
pub(super) const TEXT_SIZE: f64 = 14.0;

/// What a legend shows beside a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LegendSign {
    Line,
    Point,
    Box,
}

/// Draws below the given height.
type DrawBelow<'a> = dyn FnOnce(&mut Canvas<'_>, f64) + 'a;

/// The drawing below title and legend: how high it is, and how to draw it below a given height.
pub(super) struct Body<'a> {
    pub(super) height: f64,
    pub(super) legend: Vec<(String, LegendSign)>,
    pub(super) draw: Box<DrawBelow<'a>>,
}
