//! Two axes around a drawing.

use super::Axis;
use super::body::{TEXT_SIZE, WIDTH};
use super::canvas::{Anchor, Canvas, Point, Tone, fitted, text_width};
use super::ticks::Span;

/// Room for the marks and the label below a frame.
pub(super) const FOOT: f64 = 48.0;
const HEAD: f64 = 8.0;

/// The rectangle of a drawing and the values at its sides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) x: Span,
    pub(super) y: Span,
}

impl Frame {
    /// A frame of the given height of drawing below `top`, with room on the left for the marks of y.
    pub(super) fn new(top: f64, height: f64, x: Span, y: Span) -> Self {
        let widest = y.marks().iter().map(|(_, label)| text_width(label, TEXT_SIZE)).fold(20.0, f64::max);
        let left = 12.0 + TEXT_SIZE + 10.0 + widest;
        Self { left, right: WIDTH - 18.0, top: top + HEAD, bottom: top + height - FOOT, x, y }
    }

    /// The place of a point; `None` when the axes cannot show it.
    pub(super) fn place(&self, x: f64, y: f64) -> Option<Point> {
        Some((self.horizontal(x)?, self.vertical(y)?))
    }

    pub(super) fn horizontal(&self, x: f64) -> Option<f64> {
        self.x.fraction(x).map(|fraction| self.left + fraction * (self.right - self.left))
    }

    pub(super) fn vertical(&self, y: f64) -> Option<f64> {
        self.y.fraction(y).map(|fraction| self.bottom - fraction * (self.bottom - self.top))
    }

    pub(super) fn draw(&self, canvas: &mut Canvas<'_>, x: &Axis, y: &Axis) {
        self.draw_x_axis(canvas, x);
        for (value, label) in self.y.marks() {
            let Some(height) = self.vertical(value) else { continue };
            canvas.line((self.left, height), (self.right, height), Tone::Grid, 1.0);
            canvas.text((self.left - 6.0, height), &label, TEXT_SIZE, Tone::Soft, Anchor::End);
        }
        let middle = (self.top + self.bottom) / 2.0;
        let label = fitted(&y.label, TEXT_SIZE, self.bottom - self.top + HEAD);
        canvas.upward_text((14.0, middle), &label, TEXT_SIZE, Tone::Ink);
        canvas.line((self.left, self.bottom), (self.right, self.bottom), Tone::Soft, 1.0);
    }

    pub(super) fn draw_x_axis(&self, canvas: &mut Canvas<'_>, x: &Axis) {
        let marks = self.x.marks();
        let room = (self.right - self.left) / marks.len().max(1) as f64;
        let widest = marks.iter().map(|(_, label)| text_width(label, TEXT_SIZE) + 8.0).fold(0.0, f64::max);
        // Labels that would touch are written at every second or third mark only.
        let stride = (widest / room).ceil().max(1.0) as usize;
        for (index, (value, label)) in marks.iter().enumerate() {
            let Some(across) = self.horizontal(*value) else { continue };
            canvas.line((across, self.top), (across, self.bottom), Tone::Grid, 1.0);
            if index % stride == 0 {
                canvas.text((across, self.bottom + 13.0), label, TEXT_SIZE, Tone::Soft, Anchor::Middle);
            }
        }
        let middle = (self.left + self.right) / 2.0;
        let label = fitted(&x.label, TEXT_SIZE, self.right - self.left);
        canvas.text((middle, self.bottom + 34.0), &label, TEXT_SIZE, Tone::Ink, Anchor::Middle);
    }

    pub(super) fn say_empty(&self, canvas: &mut Canvas<'_>) {
        let middle = ((self.left + self.right) / 2.0, (self.top + self.bottom) / 2.0);
        canvas.text(middle, "no finite numbers to draw", TEXT_SIZE, Tone::Soft, Anchor::Middle);
    }
}
