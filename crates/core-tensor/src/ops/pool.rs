//! Pooling over windows of planes.

use crate::cpu::pool::{AvgPool, MaxPool, RowMean, Windows};
use crate::kernel::apply;
use crate::{Error, Result};
use candle_core::Tensor;
use std::ops::Range;
use std::sync::OnceLock;

/// The windows of [`max_pool2d`] and [`avg_pool2d`]; pairs are (height, width).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool2dConfig {
    /// The size of a window.
    pub kernel: (usize, usize),
    /// The step between windows.
    pub stride: (usize, usize),
    /// What each side is extended by, at most half of the kernel. A maximum ignores it; a mean counts it as zeros.
    pub padding: (usize, usize),
}

impl Pool2dConfig {
    /// Square windows that touch: the stride is the size, nothing is padded.
    pub fn square(size: usize) -> Self {
        Self { kernel: (size, size), stride: (size, size), padding: (0, 0) }
    }
}

/// The maximum of each window: `x` is `[n, channels, height, width]`, the result has
/// `(size + 2 · padding − kernel) / stride + 1` elements along each axis, rounded down. The gradient goes to the first of equal maxima.
/// A NaN in a window is its maximum, as in PyTorch.
///
/// # Errors
///
/// When `x` has another rank or dtype, a window is larger than the padded plane, or a number is out of its range.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// use core_tensor::ops::{Pool2dConfig, max_pool2d};
/// let x = Tensor::arange(0f32, 16., &Device::Cpu)?.reshape((1, 1, 4, 4))?;
/// let y = max_pool2d(&x, Pool2dConfig::square(2))?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [5., 7., 13., 15.]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn max_pool2d(x: &Tensor, config: Pool2dConfig) -> Result<Tensor> {
    let (windows, shape) = windows("max_pool2d", x, config)?;
    if x.device().is_cpu() {
        return apply(MaxPool { windows, chosen: OnceLock::new() }, &[x], shape.as_slice());
    }
    composed(x, &windows, shape, true)
}

/// The mean of each window, see [`max_pool2d`]; zeros of the padding count, as is PyTorch's default.
///
/// # Errors
///
/// As for [`max_pool2d`].
pub fn avg_pool2d(x: &Tensor, config: Pool2dConfig) -> Result<Tensor> {
    let (windows, shape) = windows("avg_pool2d", x, config)?;
    if x.device().is_cpu() {
        return apply(AvgPool { windows }, &[x], shape.as_slice());
    }
    composed(x, &windows, shape, false)
}

/// The mean over all positions: `[n, channels, …]` to `[n, channels]`.
///
/// # Errors
///
/// When `x` has fewer than two dimensions or no positions.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    let &[n, channels, ref positions @ ..] = x.dims() else {
        return Err(Error::shape("global_avg_pool", "x", x.shape(), "[n, channels, …]"));
    };
    let plane: usize = positions.iter().product();
    if plane == 0 {
        return Err(Error::shape("global_avg_pool", "x", x.shape(), "at least one position"));
    }
    if x.device().is_cpu() {
        return apply(RowMean { width: plane }, &[x], (n, channels));
    }
    Ok(x.reshape((n, channels, plane))?.mean(2)?)
}

/// The mean of windows that cover the plane with `size` (height, width) outputs, as `torch.nn.AdaptiveAvgPool2d`: output `i` of `s`
/// covers the inputs from `⌊i · size / s⌋` to `⌈(i + 1) · size / s⌉`.
///
/// # Errors
///
/// When `x` has another rank, or `size` is zero.
pub fn adaptive_avg_pool2d(x: &Tensor, size: (usize, usize)) -> Result<Tensor> {
    const OP: &str = "adaptive_avg_pool2d";
    let &[n, channels, height, width] = x.dims() else {
        return Err(Error::shape(OP, "x", x.shape(), "[n, channels, height, width]"));
    };
    if size.0 == 0 || size.1 == 0 || height == 0 || width == 0 {
        return Err(Error::shape(OP, "x", x.shape(), "at least one position, and at least one output along each axis"));
    }
    if size == (1, 1) {
        return Ok(global_avg_pool(x)?.reshape((n, channels, 1, 1))?);
    }
    let along = |inputs: usize, outputs: usize| -> Vec<Range<usize>> {
        (0..outputs).map(|i| i * inputs / outputs..((i + 1) * inputs).div_ceil(outputs)).collect()
    };
    let windows =
        Windows { input: [height, width], rows: along(height, size.0), columns: along(width, size.1), area: None };
    let shape = [n, channels, size.0, size.1];
    if x.device().is_cpu() {
        return apply(AvgPool { windows }, &[x], shape.as_slice());
    }
    composed(x, &windows, shape, false)
}

fn windows(op: &'static str, x: &Tensor, config: Pool2dConfig) -> Result<(Windows, [usize; 4])> {
    let &[n, channels, height, width] = x.dims() else {
        return Err(Error::shape(op, "x", x.shape(), "[n, channels, height, width]"));
    };
    let along = |size: usize, kernel: usize, stride: usize, padding: usize| -> Result<Vec<Range<usize>>> {
        for (what, got) in [("kernel", kernel), ("stride", stride)] {
            if got == 0 {
                return Err(Error::Value { operation: op, what, got: 0., expected: "at least 1" });
            }
        }
        if padding > kernel / 2 {
            return Err(Error::Value {
                operation: op,
                what: "padding",
                got: padding as f64,
                expected: "at most half of the kernel",
            });
        }
        let Some(rest) = (size + 2 * padding).checked_sub(kernel).filter(|_| size > 0) else {
            return Err(Error::shape(
                op,
                "x",
                x.shape(),
                format!("a padded plane of at least {kernel} along each axis"),
            ));
        };
        let window = |i: usize| (i * stride).saturating_sub(padding)..(i * stride + kernel - padding).min(size);
        Ok((0..=rest / stride).map(window).collect())
    };
    let rows = along(height, config.kernel.0, config.stride.0, config.padding.0)?;
    let columns = along(width, config.kernel.1, config.stride.1, config.padding.1)?;
    let shape = [n, channels, rows.len(), columns.len()];
    Ok((Windows { input: [height, width], rows, columns, area: Some(config.kernel.0 * config.kernel.1) }, shape))
}

/// Window by window, for other devices.
fn composed(x: &Tensor, windows: &Windows, shape: [usize; 4], is_maximum: bool) -> Result<Tensor> {
    let mut parts = Vec::with_capacity(windows.out_plane());
    for rows in &windows.rows {
        for columns in &windows.columns {
            let window = x.narrow(2, rows.start, rows.len())?.narrow(3, columns.start, columns.len())?;
            let window = window.contiguous()?.flatten_from(2)?;
            parts.push(if is_maximum { window.max(2)? } else { (window.sum(2)? / windows.area(rows, columns))? });
        }
    }
    Ok(Tensor::stack(&parts, 2)?.reshape(shape.as_slice())?)
}
