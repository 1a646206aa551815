//! Grids of images.

use super::Tile;
use super::body::{Body, TEXT_SIZE, WIDTH};
use super::canvas::{Anchor, Canvas, Tone, wrapped};

const MARGIN: f64 = 12.0;
const GAP: f64 = 8.0;
/// A lone image is not drawn larger than this.
const LARGEST_SIDE: f64 = 180.0;
/// Without this, white images have no edge on a white ground.
const BORDER: f64 = 0.75;
const CAPTION_SIZE: f64 = TEXT_SIZE - 1.5;
const CAPTION_LINE: f64 = 15.0;
/// The height of a drawing that only says that it is empty.
const EMPTY: f64 = 40.0;

pub(super) fn images(rows: &[Vec<Tile>]) -> Body<'_> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let side = ((WIDTH - 2.0 * MARGIN + GAP) / columns.max(1) as f64 - GAP).min(LARGEST_SIDE);
    let rows: Vec<Row<'_>> = rows.iter().map(|tiles| Row::of(tiles, side)).collect();
    let height = if columns == 0 { EMPTY } else { rows.iter().map(Row::height).sum::<f64>() + GAP };
    let draw = move |canvas: &mut Canvas<'_>, top: f64| {
        if columns == 0 {
            let middle = (WIDTH / 2.0, top + EMPTY / 2.0);
            canvas.text(middle, "no images to draw", TEXT_SIZE, Tone::Soft, Anchor::Middle);
        }
        let mut top = top;
        for row in &rows {
            row.draw(canvas, side, top);
            top += row.height();
        }
    };
    Body { height, legend: Vec::new(), draw: Box::new(draw) }
}

/// Images side by side, with their captions below.
struct Row<'a> {
    images: Vec<Image<'a>>,
    /// Of the highest image.
    image_height: f64,
    /// Of the longest caption.
    caption_lines: usize,
}

struct Image<'a> {
    tile: &'a Tile,
    width: f64,
    height: f64,
    caption: Vec<String>,
}

impl<'a> Row<'a> {
    fn of(tiles: &'a [Tile], side: f64) -> Self {
        let images: Vec<Image<'_>> = tiles.iter().map(|tile| Image::of(tile, side)).collect();
        let image_height = images.iter().map(|image| image.height).fold(0.0, f64::max);
        let caption_lines = images.iter().map(|image| image.caption.len()).max().unwrap_or(0);
        Self { images, image_height, caption_lines }
    }

    fn height(&self) -> f64 {
        GAP + self.image_height + self.caption_lines as f64 * CAPTION_LINE
    }

    fn draw(&self, canvas: &mut Canvas<'_>, side: f64, top: f64) {
        for (column, image) in self.images.iter().enumerate() {
            let middle = MARGIN + column as f64 * (side + GAP) + side / 2.0;
            let corner = (middle - image.width / 2.0, top + self.image_height - image.height);
            let opposite = (corner.0 + image.width, corner.1 + image.height);
            let (outer, far) = ((corner.0 - BORDER, corner.1 - BORDER), (opposite.0 + BORDER, opposite.1 + BORDER));
            canvas.rectangle(outer, far, Tone::Grid, 1.0);
            canvas.image(corner, opposite, &image.tile.bitmap());
            for (line, text) in image.caption.iter().enumerate() {
                let height = top + self.image_height + (line as f64 + 0.6) * CAPTION_LINE;
                canvas.text((middle, height), text, CAPTION_SIZE, Tone::Ink, Anchor::Middle);
            }
        }
    }
}

impl<'a> Image<'a> {
    /// Scales the image to a square of the given side. Both directions have one factor, but no side becomes invisible.
    fn of(tile: &'a Tile, side: f64) -> Self {
        let [_, height, width] = tile.shape;
        let factor = side / height.max(width).max(1) as f64;
        let scaled = |pixels: usize| (pixels as f64 * factor).max(1.0);
        let mut caption = wrapped(&tile.caption, CAPTION_SIZE, side);
        caption.retain(|line| !line.is_empty());
        Self { tile, width: scaled(width), height: scaled(height), caption }
    }
}
