//! Images of a page.

use experiment::Tile;

/// Channels, height and width of an image of this shape, if it can be drawn.
pub(crate) fn drawable(shape: &[usize]) -> Option<[usize; 3]> {
    let shape = match *shape {
        [height, width] => [1, height, width],
        [channels, height, width] => [channels, height, width],
        _ => return None,
    };
    let is_drawable = matches!(shape[0], 1 | 3) && shape[1..].iter().all(|side| (2..=1024).contains(side));
    is_drawable.then_some(shape)
}

/// An image with elements between `bounds`.
pub(crate) fn tile(caption: impl Into<String>, shape: [usize; 3], values: &[f64], bounds: (f64, f64)) -> Tile {
    let width = bounds.1 - bounds.0;
    Tile::new(caption, shape, values.iter().map(|value| (value - bounds.0) / width).collect())
}
