//! The sizes of a cross-correlation, and what follows from them.

use std::ops::Range;

/// The sizes of a cross-correlation. Padding is what precedes the first element; what follows the last is implied by the
/// output's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) images: usize,
    /// Input channels, height, width.
    pub(crate) input: [usize; 3],
    /// Output channels, height, width.
    pub(crate) output: [usize; 3],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) groups: usize,
}

impl Geometry {
    pub(super) fn in_plane(&self) -> usize {
        self.input[1] * self.input[2]
    }

    pub(super) fn out_plane(&self) -> usize {
        self.output[1] * self.output[2]
    }

    pub(super) fn in_image(&self) -> usize {
        self.input[0] * self.in_plane()
    }

    pub(super) fn out_image(&self) -> usize {
        self.output[0] * self.out_plane()
    }

    /// Elements of a kernel of one input channel.
    pub(super) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Input and output channels of a group.
    pub(super) fn group(&self) -> (usize, usize) {
        (self.input[0] / self.groups, self.output[0] / self.groups)
    }

    /// Rows of the unfolded input of a group.
    pub(super) fn depth(&self) -> usize {
        self.input[0] / self.groups * self.taps()
    }

    pub(super) fn weights(&self) -> usize {
        self.output[0] * self.depth()
    }

    pub(super) fn is_depthwise(&self) -> bool {
        self.input[0] == self.groups
    }

    /// Whether the input is its own unfolding.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0] && self.input[1..] == self.output[1..]
    }

    /// Steps for an image.
    pub(super) fn work(&self) -> usize {
        self.out_image() * self.depth()
    }

    /// How many output positions are unfolded at a time.
    pub(super) fn tile(&self) -> usize {
        let (depth, outputs) = (self.depth().max(1), self.group().1);
        // Each tile reads the weights again, so with large weights tiles should be large.
        let wanted = if outputs * depth > 128 * 1024 { 512 } else { 64 };
        (TILE_ELEMENTS / depth).clamp(wanted, 4096)
    }

    /// How many images are unfolded together because each is smaller than a tile.
    pub(super) fn images_per_tile(&self) -> usize {
        (self.tile() / self.out_plane().max(1)).clamp(1, self.images.max(1))
    }

    /// The input range of an output range along axis `axis` (0 height, 1 width) for the tap `tap`: the outputs whose input
    /// lies inside.
    pub(super) fn valid(&self, axis: usize, tap: usize) -> Range<usize> {
        let (size, outputs) = (self.input[axis + 1], self.output[axis + 1]);
        let (stride, offset) = (self.stride[axis], tap * self.dilation[axis]);
        let padding = self.padding[axis];
        let first = padding.saturating_sub(offset).div_ceil(stride);
        // The largest output with output · stride + offset − padding < size.
        let end = if size + padding > offset { (size + padding - offset).div_ceil(stride) } else { 0 };
        let end = end.min(outputs);
        first.min(end)..end
    }

    /// The input coordinate of an output coordinate that is valid for this tap.
    pub(super) fn at(&self, axis: usize, tap: usize, output: usize) -> usize {
        output * self.stride[axis] + tap * self.dilation[axis] - self.padding[axis]
    }

    /// The cross-correlation that gives the gradient of the input from that of the output, when the stride is 1: kernels are
    /// rotated by 180° and input and output channels are swapped.
    pub(super) fn transposed(&self) -> Option<Self> {
        if self.stride != [1, 1] {
            return None;
        }
        let mut padding = [0; 2];
        for (axis, padding) in padding.iter_mut().enumerate() {
            *padding = (self.dilation[axis] * (self.kernel[axis] - 1)).checked_sub(self.padding[axis])?;
        }
        Some(Self { input: self.output, output: self.input, padding, ..*self })
    }
}

/// Elements of an unfolded tile.
const TILE_ELEMENTS: usize = 96 * 1024;
