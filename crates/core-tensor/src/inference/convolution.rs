//! Convolutions in the layout of [`Planes`].

use super::depthwise::Depthwise;
use super::direct::Direct;
use super::finish::Finish;
use super::window::{Block, Window};
use super::winograd::Winograd;
use super::{Planes, Scratch};
use crate::kernel::Real;
use crate::ops::Conv2dConfig;
use crate::{Error, Result};

#[derive(Debug, Clone)]
enum Form<T> {
    Direct(Direct<T>),
    Winograd(Winograd<T>),
    Depthwise(Depthwise<T>),
}

/// A convolution of sixteen images, ready to run.
#[derive(Debug, Clone)]
pub struct Convolution<T> {
    form: Form<T>,
    input: Planes,
    output: Planes,
    finish: Finish<T>,
}

impl<T: Real> Convolution<T> {
    /// A sum over the columns of blocks, from a weight `[rows][channels][height][width]`; outside of the blocks it counts as zero. A convolution in groups has a block for each group. `config.groups` must be 1.
    ///
    /// # Errors
    /// Planes that do not fit together or are too large, a margin below the padding, blocks that do not fit the weight or share rows, or a [`Finish`] for other sizes.
    pub fn direct(
        planes: [Planes; 2],
        kernel: (usize, usize),
        config: &Conv2dConfig,
        blocks: &[Block],
        weight: &[T],
        finish: Finish<T>,
    ) -> Result<Self> {
        const OP: &str = "inference::Convolution::direct";
        let window = Window::new(OP, planes, kernel, config)?;
        let depth = planes[0].channels * kernel.0 * kernel.1;
        let rows = checked(OP, &window, config, (blocks, depth), (weight, depth), &finish)?;
        Ok(Self {
            form: Form::Direct(Direct::new(&window, blocks, weight, rows)),
            input: planes[0],
            output: planes[1],
            finish,
        })
    }

    /// Winograd's F(2×2, 3×3) for stride 1, with blocks of rows and whole input channels: 16 products where a direct sum has 36, and rounding errors a few times as large.
    ///
    /// # Errors
    /// As [`direct`](Self::direct), and another kernel than 3 × 3, or strides or dilations.
    pub fn winograd(
        planes: [Planes; 2],
        config: &Conv2dConfig,
        blocks: &[Block],
        weight: &[T],
        finish: Finish<T>,
    ) -> Result<Self> {
        const OP: &str = "inference::Convolution::winograd";
        let window = Window::new(OP, planes, (3, 3), config)?;
        if window.stride != [1, 1] || window.dilation != [1, 1] {
            let got = window.stride.into_iter().chain(window.dilation).max().unwrap_or(0) as f64;
            return Err(Error::Value { operation: OP, what: "stride or dilation", got, expected: "1" });
        }
        let channels = planes[0].channels;
        let rows = checked(OP, &window, config, (blocks, channels), (weight, channels * 9), &finish)?;
        Ok(Self {
            form: Form::Winograd(Winograd::new(&window, blocks, weight, rows)),
            input: planes[0],
            output: planes[1],
            finish,
        })
    }

    /// A kernel for one input channel in each row, from the input channels and a weight `[rows][height][width]`.
    ///
    /// # Errors
    /// As [`direct`](Self::direct), and input channels that there are not, or not one for each row.
    pub fn depthwise(
        planes: [Planes; 2],
        kernel: (usize, usize),
        config: &Conv2dConfig,
        (sources, weight): (&[usize], &[T]),
        finish: Finish<T>,
    ) -> Result<Self> {
        const OP: &str = "inference::Convolution::depthwise";
        let window = Window::new(OP, planes, kernel, config)?;
        let rows = checked(OP, &window, config, (&[], 0), (weight, kernel.0 * kernel.1), &finish)?;
        if sources.len() != rows {
            let (got, expected) = (sources.len(), rows);
            return Err(Error::Length { operation: OP, what: "sources", got, expected });
        }
        let bound = planes[0].channels;
        if let Some((position, &source)) = sources.iter().enumerate().find(|(_, source)| **source >= bound) {
            let index = source as u64;
            return Err(Error::OutOfRange { operation: OP, what: "sources", position, index, bound });
        }
        let form = Form::Depthwise(Depthwise::new(&window, (sources, weight)));
        Ok(Self { form, input: planes[0], output: planes[1], finish })
    }

    /// Writes the output's planes; its margins are left as they are. `residual` holds the planes that the [`Finish`] adds.
    ///
    /// # Panics
    /// Where a slice is not as long as its planes.
    pub fn forward(&self, x: &[T], residual: Option<&[T]>, out: &mut [T], scratch: &mut Scratch<T>) {
        assert_eq!(x.len(), self.input.len(), "the input of a convolution");
        assert_eq!(out.len(), self.output.len(), "the output of a convolution");
        if self.output.is_empty() {
            return;
        }
        let (from, to) = ((x, residual), (&self.output, &self.finish));
        match &self.form {
            Form::Direct(direct) => direct.forward(from, to, out, scratch),
            Form::Winograd(winograd) => winograd.forward(from, to, out, scratch),
            Form::Depthwise(depthwise) => depthwise.forward(from, to, out, scratch),
        }
        self.finish.write_others(&self.output, residual, out);
    }
}

/// Rows of a weight, after its blocks and what is added were looked at.
fn checked<T: Real>(
    operation: &'static str,
    window: &Window,
    config: &Conv2dConfig,
    (blocks, columns): (&[Block], usize),
    (weight, of_row): (&[T], usize),
    finish: &Finish<T>,
) -> Result<usize> {
    if config.groups != 1 {
        let got = config.groups as f64;
        return Err(Error::Value { operation, what: "groups", got, expected: "1; groups are blocks" });
    }
    let rows = finish.targets.len();
    finish.check(operation, rows, &window.output)?;
    if weight.len() != rows * of_row {
        let (got, expected) = (weight.len(), rows * of_row);
        return Err(Error::Length { operation, what: "the weight", got, expected });
    }
    let mut is_taken = vec![false; rows];
    for block in blocks {
        for (position, &row) in block.rows.iter().enumerate() {
            match is_taken.get_mut(row) {
                Some(is_taken) if !*is_taken => *is_taken = true,
                Some(_) => {
                    let (got, expected) = (row as f64, "in one block");
                    return Err(Error::Value { operation, what: "a row", got, expected });
                }
                None => {
                    let (index, bound) = (row as u64, rows);
                    return Err(Error::OutOfRange { operation, what: "rows", position, index, bound });
                }
            }
        }
        let found = block.columns.iter().enumerate().find(|(_, column)| **column >= columns);
        if let Some((position, &column)) = found {
            let (index, bound) = (column as u64, columns);
            return Err(Error::OutOfRange { operation, what: "columns", position, index, bound });
        }
    }
    Ok(rows)
}
