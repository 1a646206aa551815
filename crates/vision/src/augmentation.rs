//! Random crops and mirror images.

use crate::{Error, ImageShape, Result};
use candle_core::Tensor;
use core_tensor::random::Rng;

/// Augmentation of training images: a random crop of the image's own size out of the image in a frame of zeros, and a mirror image for one image in two.
///
/// ```
/// use core_tensor::random::Rng;
/// use vision::{Augmentation, ImageShape};
/// let shape = ImageShape { channels: 1, height: 2, width: 3 };
/// let augmentation = Augmentation { padding: 1, flips: true };
/// let images: Vec<u8> = (1..=12).collect();
/// let augmented = augmentation.apply_to(&images, shape, &mut Rng::new(0))?;
/// assert_eq!(augmented.len(), 12);
/// assert_eq!(augmented, augmentation.apply_to(&images, shape, &mut Rng::new(0))?);
/// # Ok::<(), vision::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Augmentation {
    /// Zeros on each side of an image before the crop; 4 for CIFAR, 0 for no crop.
    pub padding: usize,
    /// Whether one image in two is mirrored.
    pub flips: bool,
}

/// What [`Augmentation`] does to one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Crop {
    /// How many rows the window is moved down; up if negative.
    pub down: isize,
    /// How many columns the window is moved to the right; to the left if negative.
    pub right: isize,
    /// Whether what is in the window is mirrored, left to right.
    pub is_mirrored: bool,
}

impl Augmentation {
    /// Draws what happens to one image.
    pub fn draw(&self, rng: &mut Rng) -> Crop {
        let reach = self.padding.min(usize::MAX / 4);
        let mut shift = || rng.below(2 * reach + 1) as isize - reach as isize;
        let (down, right) = (shift(), shift());
        Crop { down, right, is_mirrored: self.flips && rng.below(2) == 1 }
    }

    /// Augments images `[n, channels, height, width]` of bytes or numbers.
    ///
    /// # Errors
    /// When the length of `images` is not a multiple of an image's, or `shape` has a 0.
    pub fn apply_to<T: Copy + Default>(&self, images: &[T], shape: ImageShape, rng: &mut Rng) -> Result<Vec<T>> {
        const OPERATION: &str = "Augmentation::apply_to";
        shape.check(OPERATION)?;
        if !images.len().is_multiple_of(shape.size()) {
            let expected = format!("a multiple of {}", shape.size());
            return Err(Error::Length { operation: OPERATION, what: "images", got: images.len(), expected });
        }
        let mut augmented = Vec::with_capacity(images.len());
        for image in images.chunks_exact(shape.size()) {
            self.draw(rng).append(image, shape, &mut augmented)?;
        }
        Ok(augmented)
    }

    /// [`Self::apply_to`] for a tensor `[n, channels, height, width]` of any type, on its device. The gradient passes.
    ///
    /// # Errors
    /// When `images` has another rank, or its padded planes have more positions than 32 bits can count.
    pub fn apply(&self, images: &Tensor, rng: &mut Rng) -> Result<Tensor> {
        const OPERATION: &str = "Augmentation::apply";
        let &[n, channels, height, width] = images.dims() else {
            let (got, expected) = (images.dims().to_vec(), "[n, channels, height, width]".to_owned());
            return Err(Error::Shape { operation: OPERATION, what: "images", got, expected });
        };
        let shape = ImageShape { channels, height, width };
        shape.check(OPERATION)?;
        // a zero behind each plane is what lies outside of the image
        let plane = height * width;
        let Ok(outside) = u32::try_from(plane) else {
            let reason = format!("has planes of {plane} pixels, more than 32 bits can count");
            return Err(Error::config(OPERATION, "images", reason));
        };
        let numbers: Vec<u32> = (0..outside).map(|at| at + 1).collect();
        let single = ImageShape { channels: 1, ..shape };
        let mut positions = Vec::with_capacity(n * channels * plane);
        let mut of_image = Vec::with_capacity(plane);
        for _ in 0..n {
            of_image.clear();
            self.draw(rng).append(&numbers, single, &mut of_image)?;
            (0..channels).for_each(|_| positions.extend_from_slice(&of_image));
        }
        let positions = Tensor::from_vec(positions, (n, channels, plane), images.device())?;
        let padded = images.flatten_from(2)?.pad_with_zeros(2, 1, 0)?;
        Ok(padded.gather(&positions, 2)?.reshape(images.shape())?)
    }
}

impl Crop {
    /// Appends what the window shows of `image`, `[channels, height, width]`; zeros where it reaches beyond the image.
    ///
    /// # Errors
    /// When `image` does not have the length of `shape`, or `shape` has a 0.
    pub fn append<T: Copy + Default>(&self, image: &[T], shape: ImageShape, into: &mut Vec<T>) -> Result<()> {
        const OPERATION: &str = "Crop::append";
        shape.check(OPERATION)?;
        if image.len() != shape.size() {
            let expected = shape.size().to_string();
            return Err(Error::Length { operation: OPERATION, what: "image", got: image.len(), expected });
        }
        let ImageShape { height, width, .. } = shape;
        for plane in image.chunks_exact(height * width) {
            for y in 0..height {
                let row = y.checked_add_signed(self.down).and_then(|y| plane.chunks_exact(width).nth(y));
                into.extend((0..width).map(|x| {
                    let x = if self.is_mirrored { width - 1 - x } else { x };
                    let pixel = row.and_then(|row| row.get(x.checked_add_signed(self.right)?));
                    pixel.copied().unwrap_or_default()
                }));
            }
        }
        Ok(())
    }
}
