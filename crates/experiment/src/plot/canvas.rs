//! Shapes and text in display pixels, drawn by plotters.

use plotters::prelude::{Color, DrawingBackend, IntoFont, IntoTextStyle, RGBColor, SVGBackend, ShapeStyle};
use plotters::style::FontTransform;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::png::Bitmap;

/// The SVG backend rounds to whole units, so the canvas counts quarters of a display pixel.
const UNITS: f64 = 4.0;

/// The backend divides font sizes by this, to match the height of its bitmap fonts.
const FONT_FACTOR: f64 = 1.24;

/// Width of an average letter of a sans-serif font over its size; there is no font to ask.
const LETTER_WIDTH: f64 = 0.56;

/// A dark ground swaps the colours by their value: every colour below has its partner here.
pub(crate) const PLOT_STYLE: &str = include_str!("plot.css");

/// What a colour is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Tone {
    Ground,
    Ink,
    Soft,
    Grid,
    Synthetic,
    /// The colour of a series or a cluster; they repeat after [`SERIES`].
    Series(usize),
    /// A colour that stays as it is on a dark ground.
    Exact(u8, u8, u8),
}

const SERIES: [(u8, u8, u8); 8] = [
    (0x09, 0x69, 0xda),
    (0xbc, 0x4c, 0x00),
    (0x1a, 0x7f, 0x37),
    (0x82, 0x50, 0xdf),
    (0xbf, 0x39, 0x89),
    (0x8a, 0x63, 0x00),
    (0x0e, 0x74, 0x90),
    (0x6e, 0x77, 0x81),
];

impl Tone {
    fn color(self) -> RGBColor {
        let (red, green, blue) = match self {
            Self::Ground => (0xff, 0xff, 0xff),
            Self::Ink => (0x1f, 0x23, 0x28),
            Self::Soft => (0x57, 0x60, 0x6a),
            Self::Grid => (0xd8, 0xde, 0xe4),
            Self::Synthetic => (0x7d, 0x4e, 0x01),
            Self::Series(index) => SERIES[index % SERIES.len()],
            Self::Exact(red, green, blue) => (red, green, blue),
        };
        RGBColor(red, green, blue)
    }
}

/// Where a text stands, relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// The sign at a data point. Series differ by sign as well as by colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Disc,
    Square,
    Triangle,
    Diamond,
}

impl Sign {
    pub(super) fn of_series(index: usize) -> Self {
        [Self::Disc, Self::Square, Self::Triangle, Self::Diamond][index % 4]
    }
}

pub(super) type Point = (f64, f64);

/// A drawing under way. The first error of the backend is kept until the end.
pub(super) struct Canvas<'a> {
    backend: SVGBackend<'a>,
    /// Elements that the backend does not know, for the end of the SVG.
    images: String,
    problem: Option<String>,
}

/// Draws on a canvas of the given size in display pixels; returns the SVG, whose size is left to be set.
pub(super) fn paint(width: f64, height: f64, draw: impl FnOnce(&mut Canvas<'_>)) -> Result<String, String> {
    let mut svg = String::new();
    let size = ((width * UNITS) as u32, (height * UNITS) as u32);
    let mut canvas = Canvas { backend: SVGBackend::with_string(&mut svg, size), images: String::new(), problem: None };
    draw(&mut canvas);
    let presented = canvas.backend.present().map_err(|error| error.to_string());
    let problem = canvas.problem.take().or_else(|| presented.err());
    let images = std::mem::take(&mut canvas.images);
    drop(canvas);
    let end = svg.rfind("</svg>").unwrap_or(svg.len());
    svg.insert_str(end, &images);
    problem.map_or(Ok(svg), Err)
}

/// The width of a text in display pixels, roughly.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * LETTER_WIDTH
}

/// The text, cut with an ellipsis to fit a width.
pub(super) fn fitted(text: &str, size: f64, width: f64) -> String {
    let letters = (width / (size * LETTER_WIDTH)).max(1.0) as usize;
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    text.chars().take(letters.saturating_sub(1)).chain(['…']).collect()
}

/// The text, broken between words into lines that fit a width; a word that does not fit is cut. At least one line.
pub(super) fn wrapped(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or("", String::as_str);
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if !line.is_empty() && text_width(&longer, size) > width {
            lines.push(word.to_owned());
        } else if let Some(line) = lines.last_mut() {
            *line = longer;
        }
    }
    lines.iter().map(|line| fitted(line, size, width)).collect()
}

fn unit((x, y): Point) -> (i32, i32) {
    ((x * UNITS).round() as i32, (y * UNITS).round() as i32)
}

impl Canvas<'_> {
    fn keep<E: std::fmt::Display>(&mut self, outcome: Result<(), E>) {
        if let Err(error) = outcome {
            self.problem.get_or_insert_with(|| error.to_string());
        }
    }

    pub(super) fn line(&mut self, from: Point, to: Point, tone: Tone, width: f64) {
        let outcome = self.backend.draw_line(unit(from), unit(to), &stroke(tone, width));
        self.keep(outcome);
    }

    pub(super) fn path(&mut self, points: &[Point], tone: Tone, width: f64) {
        let outcome = self.backend.draw_path(points.iter().copied().map(unit), &stroke(tone, width));
        self.keep(outcome);
    }

    pub(super) fn area(&mut self, points: &[Point], tone: Tone, opacity: f64) {
        let style = tone.color().mix(opacity).filled();
        let outcome = self.backend.fill_polygon(points.iter().copied().map(unit), &style);
        self.keep(outcome);
    }

    pub(super) fn rectangle(&mut self, corner: Point, opposite: Point, tone: Tone, opacity: f64) {
        let low = (corner.0.min(opposite.0), corner.1.min(opposite.1));
        let high = (corner.0.max(opposite.0), corner.1.max(opposite.1));
        let outcome = self.backend.draw_rect(unit(low), unit(high), &tone.color().mix(opacity).filled(), true);
        self.keep(outcome);
    }

    pub(super) fn disc(&mut self, center: Point, radius: f64, tone: Tone) {
        let radius = (radius * UNITS).round() as u32;
        let outcome = self.backend.draw_circle(unit(center), radius, &tone.color().filled(), true);
        self.keep(outcome);
    }

    pub(super) fn sign(&mut self, (x, y): Point, sign: Sign, tone: Tone) {
        let around = |offsets: &[Point]| offsets.iter().map(|(dx, dy)| (x + dx, y + dy)).collect::<Vec<_>>();
        match sign {
            Sign::Disc => self.disc((x, y), 3.0, tone),
            Sign::Square => self.rectangle((x - 2.75, y - 2.75), (x + 2.75, y + 2.75), tone, 1.0),
            Sign::Triangle => self.area(&around(&[(0.0, -3.75), (3.5, 2.75), (-3.5, 2.75)]), tone, 1.0),
            Sign::Diamond => self.area(&around(&[(0.0, -4.0), (4.0, 0.0), (0.0, 4.0), (-4.0, 0.0)]), tone, 1.0),
        }
    }

    /// A bitmap that fills a rectangle, each pixel with hard edges. Images lie above all other shapes.
    pub(super) fn image(&mut self, corner: Point, opposite: Point, bitmap: &Bitmap) {
        let ((left, top), (right, bottom)) = (unit(corner), unit(opposite));
        let (width, height) = (right - left, bottom - top);
        let outcome = bitmap.address().map(|address| {
            self.images += &format!(
                "<image x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" \
                 style=\"image-rendering: pixelated\" href=\"{address}\"/>\n"
            );
        });
        self.keep(outcome);
    }

    /// Text whose middle height is at the point.
    pub(super) fn text(&mut self, at: Point, text: &str, size: f64, tone: Tone, anchor: Anchor) {
        self.any_text(at, text, size, tone, anchor, FontTransform::None);
    }

    /// Text that runs upwards, centred at the point.
    pub(super) fn upward_text(&mut self, at: Point, text: &str, size: f64, tone: Tone) {
        self.any_text(at, text, size, tone, Anchor::Middle, FontTransform::Rotate270);
    }

    fn any_text(&mut self, at: Point, text: &str, size: f64, tone: Tone, anchor: Anchor, transform: FontTransform) {
        let horizontal = match anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let color = tone.color();
        let font = ("sans-serif", size * UNITS * FONT_FACTOR).into_font().transform(transform);
        let style = font.into_text_style(&(1, 1)).color(&color).pos(Pos::new(horizontal, VPos::Center));
        // The backend escapes markup and passes control characters on, which XML forbids.
        let text: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let outcome = self.backend.draw_text(&text, &style, unit(at));
        self.keep(outcome);
    }
}

fn stroke(tone: Tone, width: f64) -> ShapeStyle {
    tone.color().stroke_width((width * UNITS).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_has_a_partner_on_a_dark_ground() {
        let series = (0..SERIES.len()).map(Tone::Series);
        let tones = [Tone::Ground, Tone::Ink, Tone::Soft, Tone::Grid, Tone::Synthetic];
        for tone in tones.into_iter().chain(series) {
            let RGBColor(red, green, blue) = tone.color();
            for attribute in ["fill", "stroke"] {
                let selector = format!("[{attribute}=\"#{red:02X}{green:02X}{blue:02X}\"]");
                assert!(PLOT_STYLE.contains(&selector), "{selector}");
            }
        }
    }

    #[test]
    fn long_texts_are_cut_to_fit() {
        assert_eq!(fitted("short", 10.0, 100.0), "short");
        assert_eq!(fitted("a long label", 10.0, 28.0), "a l…");
    }

    #[test]
    fn texts_are_broken_between_words() {
        assert_eq!(wrapped("a long label", 10.0, 40.0), ["a long", "label"]);
        assert_eq!(wrapped("unbreakable", 10.0, 28.0), ["unb…"]);
        assert_eq!(wrapped(" ", 10.0, 28.0), [""]);
    }
}
