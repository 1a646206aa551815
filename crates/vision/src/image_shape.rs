//! The size of an image.

use crate::error::check_positive;
use crate::{Error, Result};
use candle_core::Tensor;

/// The size of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageShape {
    /// Channels, such as 3 for colours.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageShape {
    /// The number of values of an image, `channels · height · width`; `usize::MAX` if that is larger.
    pub fn size(self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }

    pub(crate) fn check(self, operation: &'static str) -> Result<()> {
        check_positive(operation, &[("channels", self.channels), ("height", self.height), ("width", self.width)])
    }

    /// Checks that `images` is `[n, channels, height, width]`.
    pub(crate) fn check_batch(self, operation: &'static str, images: &Tensor) -> Result<()> {
        let Self { channels, height, width } = self;
        if images.rank() == 4 && images.dims()[1..] == [channels, height, width] {
            return Ok(());
        }
        let (got, expected) = (images.dims().to_vec(), format!("[n, {channels}, {height}, {width}]"));
        Err(Error::Shape { operation, what: "images", got, expected })
    }
}
