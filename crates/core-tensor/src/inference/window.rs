//! The sizes of a convolution, and where its weight is not zero.

use super::Planes;
use crate::ops::Conv2dConfig;
use crate::{Error, Result};

/// Rows and columns of a weight where it is not zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Rows of the weight, output channels.
    pub rows: Vec<usize>,
    /// Columns: `(channel · height + y) · width + x` for a direct convolution, input channels for Winograd's.
    pub columns: Vec<usize>,
}

impl Block {
    /// All of a matrix.
    pub fn whole(rows: usize, columns: usize) -> Self {
        Self { rows: (0..rows).collect(), columns: (0..columns).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() || self.columns.is_empty()
    }
}

/// The sizes of a cross-correlation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) input: Planes,
    pub(super) output: Planes,
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    pub(super) padding: [usize; 2],
}

impl Window {
    pub(super) fn new(
        operation: &'static str,
        [input, output]: [Planes; 2],
        kernel: (usize, usize),
        config: &Conv2dConfig,
    ) -> Result<Self> {
        let pair = |(a, b): (usize, usize)| [a, b];
        let [kernel, stride, dilation, padding] = [kernel, config.stride, config.dilation, config.padding].map(pair);
        for axis in 0..2 {
            for (what, got) in [("kernel", kernel[axis]), ("stride", stride[axis]), ("dilation", dilation[axis])] {
                if got == 0 {
                    return Err(Error::Value { operation, what, got: 0.0, expected: "at least 1" });
                }
            }
            if padding[axis] > input.margin {
                let (got, what) = (input.margin as f64, "the margin of the input");
                return Err(Error::Value { operation, what, got, expected: "at least the padding" });
            }
            let size = [input.height, input.width][axis];
            let reach = dilation[axis] * (kernel[axis] - 1) + 1;
            let expected = (size + 2 * padding[axis] + 1).saturating_sub(reach).div_ceil(stride[axis]);
            let got = [output.height, output.width][axis];
            if got != expected {
                let what = "the output's planes";
                let got = vec![output.height, output.width];
                return Err(Error::Shape { operation, what, got, expected: format!("{expected} along axis {axis}") });
            }
        }
        if [input.len(), output.len()].iter().any(|&len| len > u32::MAX as usize) {
            let (got, limit) = (input.len().max(output.len()), u32::MAX as usize);
            return Err(Error::TooLarge { operation, what: "numbers of the planes", got, limit });
        }
        Ok(Self { input, output, kernel, stride, dilation, padding })
    }
}
