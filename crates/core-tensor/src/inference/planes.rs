//! How sixteen images lie in memory.

use super::IMAGES;
use crate::kernel::{Extent, Real, transpose_into};

/// The activations of sixteen images: `[channels][height + 2 · margin][width + 2 · margin][16]`, where the margins hold zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planes {
    /// Channels.
    pub channels: usize,
    /// Rows of a plane, without its margins.
    pub height: usize,
    /// Columns of a plane, without its margins.
    pub width: usize,
    /// Rows and columns of zeros on each side: at least the padding of what reads these planes.
    pub margin: usize,
}

impl Planes {
    /// Numbers of a line with its margins.
    pub(super) fn line(&self) -> usize {
        (self.width + 2 * self.margin) * IMAGES
    }

    /// Numbers of a plane with its margins.
    pub fn plane(&self) -> usize {
        (self.height + 2 * self.margin) * self.line()
    }

    /// Numbers of all planes.
    pub fn len(&self) -> usize {
        self.channels * self.plane()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the sixteen numbers at a row and column of a plane begin.
    #[inline(always)]
    pub fn at(&self, y: usize, x: usize) -> usize {
        (y + self.margin) * self.line() + (x + self.margin) * IMAGES
    }

    /// Numbers of an image.
    fn image(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Brings at most sixteen images, `[n][channels][height][width]`, to this layout. Margins and places of further images are left as they are.
    ///
    /// # Panics
    /// Where `out` is shorter than [`len`](Self::len), or there are more images.
    pub fn pack<T: Real>(&self, images: &[T], out: &mut [T]) {
        let count = images.len() / self.image().max(1);
        assert!(count <= IMAGES, "{count} images, but {IMAGES} lie side by side");
        let stride = self.image();
        for channel in 0..self.channels {
            for y in 0..self.height {
                let extent = Extent { rows: count, columns: self.width, stride, out_stride: IMAGES };
                let from = &images[(channel * self.height + y) * self.width..];
                transpose_into(from, extent, &mut out[channel * self.plane() + self.at(y, 0)..]);
            }
        }
    }

    /// Writes the first images, as many as `images` has room for.
    ///
    /// # Panics
    /// Where `x` is shorter than [`len`](Self::len), or there is room for more than sixteen.
    pub fn unpack<T: Real>(&self, x: &[T], images: &mut [T]) {
        let count = images.len() / self.image().max(1);
        assert!(count <= IMAGES, "{count} images, but {IMAGES} lie side by side");
        let out_stride = self.image();
        for channel in 0..self.channels {
            for y in 0..self.height {
                let extent = Extent { rows: self.width, columns: count, stride: IMAGES, out_stride };
                let from = &x[channel * self.plane() + self.at(y, 0)..];
                transpose_into(from, extent, &mut images[(channel * self.height + y) * self.width..]);
            }
        }
    }
}
