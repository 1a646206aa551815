//! Convolutions (cross-correlations, as everywhere in deep learning) and their transposes.

use crate::cpu::conv::{BlockConv, Conv, ConvTranspose, Geometry};
use crate::cpu::row_blocks::Blocks;
use crate::kernel::apply;
use crate::{Error, Result};
use candle_core::{Shape, Tensor};
use std::sync::Arc;

/// The settings of a [`conv2d`]; pairs are (height, width). The defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dConfig {
    /// The step between output positions, (1, 1).
    pub stride: (usize, usize),
    /// Zeros on each side, (0, 0).
    pub padding: (usize, usize),
    /// The step between the elements of a kernel, (1, 1).
    pub dilation: (usize, usize),
    /// Groups of channels that are convolved separately, 1. As many as input channels: depthwise.
    pub groups: usize,
}

impl Default for Conv2dConfig {
    fn default() -> Self {
        Self { stride: (1, 1), padding: (0, 0), dilation: (1, 1), groups: 1 }
    }
}

/// The settings of a [`conv1d`]; the defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv1dConfig {
    /// The step between output positions, 1.
    pub stride: usize,
    /// Zeros on each side, 0.
    pub padding: usize,
    /// The step between the elements of a kernel, 1.
    pub dilation: usize,
    /// Groups of channels that are convolved separately, 1.
    pub groups: usize,
    /// Pads `(kernel − 1) · dilation` zeros on the left and none on the right, so that an output sees no later input; false.
    /// `padding` must be 0 then.
    pub is_causal: bool,
}

impl Default for Conv1dConfig {
    fn default() -> Self {
        Self { stride: 1, padding: 0, dilation: 1, groups: 1, is_causal: false }
    }
}

/// The settings of a [`conv_transpose2d`]; pairs are (height, width). The defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvTranspose2dConfig {
    /// The stride of the convolution that this transposes, (1, 1).
    pub stride: (usize, usize),
    /// The padding of the convolution that this transposes, (0, 0).
    pub padding: (usize, usize),
    /// Rows and columns added at the end of the output, less than stride or dilation, (0, 0).
    pub output_padding: (usize, usize),
    /// The step between the elements of a kernel, (1, 1).
    pub dilation: (usize, usize),
    /// Groups of channels that are convolved separately, 1.
    pub groups: usize,
}

impl Default for ConvTranspose2dConfig {
    fn default() -> Self {
        Self { stride: (1, 1), padding: (0, 0), output_padding: (0, 0), dilation: (1, 1), groups: 1 }
    }
}

/// `y[n, o] = bias[o] + Σ_c weight[o, c] ⋆ x[n, c]`: `x` is `[n, in, height, width]`, `weight`
/// `[out, in / groups, kernel height, kernel width]`, `bias` `[out]`, the result `[n, out, …]` with
/// `(size + 2 · padding − dilation · (kernel − 1) − 1) / stride + 1` elements along each axis, rounded down.
///
/// On the CPU, 3×3 kernels at stride 1 between multiples of 16 channels use Winograd's minimal filtering F(2×2, 3×3): 16 products instead of
/// 36, rounding errors within a small factor of those of the plain sum. A NaN or an infinity of `x` then reaches every output of the 2×2
/// tiles whose inputs hold it, and an infinity gives NaN.
///
/// # Errors
///
/// When the shapes do not fit, the dtypes differ, a number of `config` is zero that must not be, or the kernel is larger than the
/// padded input. On other devices than the CPU also when the two strides or dilations differ.
///
/// ```
/// # use candle_core::{Device, DType, Tensor};
/// use core_tensor::ops::{Conv2dConfig, conv2d};
/// let x = Tensor::ones((1, 2, 5, 5), DType::F32, &Device::Cpu)?;
/// let weight = Tensor::ones((3, 2, 3, 3), DType::F32, &Device::Cpu)?;
/// let config = Conv2dConfig { padding: (1, 1), stride: (2, 2), ..Default::default() };
/// let y = conv2d(&x, &weight, None, &config)?;
/// assert_eq!(y.dims(), [1, 3, 3, 3]);
/// assert_eq!(y.get(0)?.get(0)?.to_vec2::<f32>()?, [[8., 12., 8.], [12., 18., 12.], [8., 12., 8.]]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, config: &Conv2dConfig) -> Result<Tensor> {
    let Conv2dConfig { stride, padding, dilation, groups } = *config;
    let (stride, dilation) = ([stride.0, stride.1], [dilation.0, dilation.1]);
    let padding = [[padding.0; 2], [padding.1; 2]];
    correlate("conv2d", x, weight, bias, Numbers { stride, padding, dilation, groups })
}

/// [`conv2d`] along one axis: `x` is `[n, in, length]`, `weight` `[out, in / groups, kernel]`.
///
/// Candle's `conv1d` has a wrong gradient of the weight; this one is checked.
///
/// # Errors
///
/// As for [`conv2d`], and when `is_causal` is combined with `padding`.
pub fn conv1d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, config: &Conv1dConfig) -> Result<Tensor> {
    const OP: &str = "conv1d";
    let Conv1dConfig { stride, padding, dilation, groups, is_causal } = *config;
    let (&[n, inputs, length], &[outputs, depth, kernel]) = (x.dims(), weight.dims()) else {
        return Err(one_dimensional(OP, x, weight));
    };
    let padding = match (is_causal, padding) {
        (false, _) => [padding; 2],
        (true, 0) => [kernel.saturating_sub(1).saturating_mul(dilation), 0],
        (true, _) => return Err(value(OP, "padding", padding, "0 for a causal convolution")),
    };
    let numbers = Numbers { stride: [1, stride], padding: [[0, 0], padding], dilation: [1, dilation], groups };
    let x = x.reshape((n, inputs, 1, length))?;
    let y = correlate(OP, &x, &weight.reshape((outputs, depth, 1, kernel))?, bias, numbers)?;
    Ok(y.squeeze(2)?)
}

/// The transpose of [`conv2d`] in its input, plus `bias`: `x` is `[n, in, height, width]`, `weight`
/// `[in, out / groups, kernel height, kernel width]`, the result `[n, out, …]` with
/// `(size − 1) · stride − 2 · padding + dilation · (kernel − 1) + output_padding + 1` elements along each axis.
///
/// # Errors
///
/// As for [`conv2d`], and when the output would be empty or `output_padding` is not less than stride or dilation.
pub fn conv_transpose2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    config: &ConvTranspose2dConfig,
) -> Result<Tensor> {
    spread("conv_transpose2d", x, weight, bias, config)
}

/// [`conv_transpose2d`] along one axis: `x` is `[n, in, length]`, `weight` `[in, out / groups, kernel]`. Of the pairs of `config`
/// the second numbers count.
///
/// # Errors
///
/// As for [`conv_transpose2d`].
pub fn conv_transpose1d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    config: &ConvTranspose2dConfig,
) -> Result<Tensor> {
    const OP: &str = "conv_transpose1d";
    let (&[n, inputs, length], &[outer, depth, kernel]) = (x.dims(), weight.dims()) else {
        return Err(one_dimensional(OP, x, weight));
    };
    let config = ConvTranspose2dConfig {
        stride: (1, config.stride.1),
        padding: (0, config.padding.1),
        output_padding: (0, config.output_padding.1),
        dilation: (1, config.dilation.1),
        groups: config.groups,
    };
    let x = x.reshape((n, inputs, 1, length))?;
    Ok(spread(OP, &x, &weight.reshape((outer, depth, 1, kernel))?, bias, &config)?.squeeze(2)?)
}

fn one_dimensional(op: &'static str, x: &Tensor, weight: &Tensor) -> Error {
    if x.rank() == 3 {
        Error::shape(op, "weight", weight.shape(), "three dimensions, the last the kernel")
    } else {
        Error::shape(op, "x", x.shape(), "[n, in, length]")
    }
}

fn value(op: &'static str, what: &'static str, got: usize, expected: &'static str) -> Error {
    Error::Value { operation: op, what, got: got as f64, expected }
}

/// The settings of both directions; padding is (before, after) for each axis.
#[derive(Clone, Copy)]
struct Numbers {
    stride: [usize; 2],
    padding: [[usize; 2]; 2],
    dilation: [usize; 2],
    groups: usize,
}

/// The largest stride, dilation and padding.
const LARGEST: usize = (1 << 31) - 1;

impl Numbers {
    fn check(&self, op: &'static str) -> Result<()> {
        // Larger numbers could overflow the sizes computed from them.
        let all =
            self.stride.into_iter().chain(self.dilation).chain(self.padding.into_iter().flatten()).chain([self.groups]);
        if let Some(large) = all.into_iter().find(|&number| number > LARGEST) {
            return Err(value(op, "stride, dilation, padding or groups", large, "less than 2^31"));
        }
        let positive = [("stride", self.stride), ("dilation", self.dilation), ("groups", [self.groups; 2])];
        for (what, numbers) in positive {
            if numbers.contains(&0) {
                return Err(value(op, what, 0, "at least 1"));
            }
        }
        Ok(())
    }
}

fn check_arguments(op: &'static str, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, outputs: usize) -> Result<()> {
    for (what, tensor) in [("weight", Some(weight)), ("bias", bias)] {
        let Some(tensor) = tensor else { continue };
        if tensor.dtype() != x.dtype() {
            return Err(Error::DType { operation: op, what, got: tensor.dtype(), expected: "the dtype of x" });
        }
    }
    match bias {
        Some(bias) if bias.dims() != [outputs] => {
            Err(Error::shape(op, "bias", bias.shape(), format!("[out = {outputs}]")))
        }
        _ => Ok(()),
    }
}

/// The sizes of a correlation of `x` with weights of the shape `weight`.
fn sizes(op: &'static str, x: &Tensor, weight: &[usize], numbers: &Numbers) -> Result<Geometry> {
    numbers.check(op)?;
    let &Numbers { stride, padding, dilation, groups } = numbers;
    let &[images, inputs, height, width] = x.dims() else {
        return Err(Error::shape(op, "x", x.shape(), "[n, in, height, width]"));
    };
    let &[outputs, depth, kernel_height, kernel_width] = weight else {
        let expected = "[out, in / groups, kernel height, kernel width]";
        return Err(Error::shape(op, "weight", &Shape::from(weight), expected));
    };
    let fits = depth.checked_mul(groups) == Some(inputs) && outputs % groups == 0 && kernel_height * kernel_width > 0;
    if !fits {
        let expected =
            format!("[out, in / groups, …] for {inputs} channels in {groups} groups, out a multiple of groups");
        return Err(Error::shape(op, "weight", &Shape::from(weight), expected));
    }
    let kernel = [kernel_height, kernel_width];
    let mut output = [outputs, 0, 0];
    for (axis, size) in [height, width].into_iter().enumerate() {
        let padded = size + padding[axis][0] + padding[axis][1];
        let reach = dilation[axis] * (kernel[axis] - 1) + 1;
        if padded < reach {
            let expected = format!("at least {reach} elements with padding along each axis, the reach of the kernel");
            return Err(Error::shape(op, "x", x.shape(), expected));
        }
        output[axis + 1] = (padded - reach) / stride[axis] + 1;
    }
    let padding = [padding[0][0], padding[1][0]];
    Ok(Geometry { images, input: [inputs, height, width], output, kernel, stride, padding, dilation, groups })
}

/// [`conv2d`] with weights that are zero but for blocks, on a CPU; nothing where an offset would not fit 32 bits, or elsewhere.
pub(crate) fn conv2d_blocks(
    op: &'static str,
    x: &Tensor,
    values: &Tensor,
    bias: Option<&Tensor>,
    (blocks, kernel): (&Arc<Blocks>, [usize; 2]),
    config: &Conv2dConfig,
) -> Result<Option<Tensor>> {
    let Conv2dConfig { stride, padding, dilation, groups } = *config;
    if groups != 1 {
        return Err(value(op, "groups", groups, "1"));
    }
    let (stride, dilation) = ([stride.0, stride.1], [dilation.0, dilation.1]);
    let numbers = Numbers { stride, padding: [[padding.0; 2], [padding.1; 2]], dilation, groups };
    let taps = kernel[0].saturating_mul(kernel[1]);
    if taps == 0 || !blocks.columns.is_multiple_of(taps) {
        return Err(value(op, "kernel", taps, "a product that divides the number of columns"));
    }
    let geometry = sizes(op, x, &[blocks.rows, blocks.columns / taps, kernel[0], kernel[1]], &numbers)?;
    check_arguments(op, x, values, bias, blocks.rows)?;
    let reach = |axis: usize| {
        let last = (geometry.output[axis + 1] - 1).saturating_mul(stride[axis]);
        last.saturating_add(dilation[axis] * (kernel[axis] - 1) + 1)
    };
    // sixteen images of a padded plane of each channel
    let len = reach(0).saturating_mul(reach(1)).saturating_mul(16 * geometry.input[0].max(1));
    if !x.device().is_cpu() || len > u32::MAX as usize / 2 {
        return Ok(None);
    }
    let shape = (geometry.images, blocks.rows, geometry.output[1], geometry.output[2]);
    let kernel = BlockConv { blocks: blocks.clone(), geometry };
    Ok(Some(match bias {
        None => apply(kernel, &[x, values], shape)?,
        Some(bias) => apply(kernel, &[x, values, bias], shape)?,
    }))
}

fn correlate(op: &'static str, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, numbers: Numbers) -> Result<Tensor> {
    let geometry = sizes(op, x, weight.dims(), &numbers)?;
    let Geometry { images, output, kernel, .. } = geometry;
    let (outputs, Numbers { stride, padding, dilation, groups }) = (output[0], numbers);
    check_arguments(op, x, weight, bias, outputs)?;
    let shape = (images, outputs, output[1], output[2]);
    if x.device().is_cpu() {
        return match bias {
            None => apply(Conv { geometry }, &[x, weight], shape),
            Some(bias) => apply(Conv { geometry }, &[x, weight, bias], shape),
        };
    }
    let (stride, dilation) = (same(op, "stride", stride, kernel)?, same(op, "dilation", dilation, kernel)?);
    let mut x = x.clone();
    for (axis, [before, after]) in padding.into_iter().enumerate() {
        x = x.pad_with_zeros(axis + 2, before, after)?;
    }
    let y = x.contiguous()?.conv2d(&weight.contiguous()?, 0, stride, dilation, groups)?;
    with_bias(y, bias)
}

/// One number for both axes, which is all that Candle's convolutions take. Along an axis where the kernel has one element and the input too,
/// the number does not matter.
fn same(op: &'static str, what: &'static str, pair: [usize; 2], kernel: [usize; 2]) -> Result<usize> {
    if pair[0] == pair[1] || kernel[0] == 1 {
        return Ok(pair[1]);
    }
    Err(value(op, what, pair[1], "the same along both axes on this device"))
}

fn with_bias(y: Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    match bias {
        Some(bias) => Ok(y.broadcast_add(&bias.reshape((1, bias.elem_count(), 1, 1))?)?),
        None => Ok(y),
    }
}

fn spread(
    op: &'static str,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    config: &ConvTranspose2dConfig,
) -> Result<Tensor> {
    let ConvTranspose2dConfig { stride, padding, output_padding, dilation, groups } = *config;
    let (stride, dilation) = ([stride.0, stride.1], [dilation.0, dilation.1]);
    let (padding, output_padding) = ([padding.0, padding.1], [output_padding.0, output_padding.1]);
    Numbers { stride, padding: [padding, output_padding], dilation, groups }.check(op)?;
    let &[images, inputs, height, width] = x.dims() else {
        return Err(Error::shape(op, "x", x.shape(), "[n, in, height, width]"));
    };
    let &[outer, depth, kernel_height, kernel_width] = weight.dims() else {
        return Err(Error::shape(op, "weight", weight.shape(), "[in, out / groups, kernel height, kernel width]"));
    };
    let fits = outer == inputs && inputs % groups == 0 && kernel_height * kernel_width > 0;
    if !fits {
        let expected = format!("[in = {inputs}, out / groups, …], in a multiple of groups = {groups}");
        return Err(Error::shape(op, "weight", weight.shape(), expected));
    }
    let outputs = depth * groups;
    check_arguments(op, x, weight, bias, outputs)?;
    let kernel = [kernel_height, kernel_width];
    let mut output = [outputs, 0, 0];
    for (axis, size) in [height, width].into_iter().enumerate() {
        if output_padding[axis] >= stride[axis].max(dilation[axis]) {
            return Err(value(op, "output_padding", output_padding[axis], "less than stride or dilation"));
        }
        let whole =
            size.saturating_sub(1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + output_padding[axis] + 1;
        if size == 0 || whole <= 2 * padding[axis] {
            return Err(Error::shape(op, "x", x.shape(), "large enough for an output after the padding is cut off"));
        }
        output[axis + 1] = whole - 2 * padding[axis];
    }
    let shape = (images, outputs, output[1], output[2]);
    if x.device().is_cpu() {
        // The convolution that leads from our output to our input.
        let input = [inputs, height, width];
        let geometry = Geometry { images, input: output, output: input, kernel, stride, padding, dilation, groups };
        return match bias {
            None => apply(ConvTranspose { geometry }, &[x, weight], shape),
            Some(bias) => apply(ConvTranspose { geometry }, &[x, weight, bias], shape),
        };
    }
    let (stride, dilation) = (same(op, "stride", stride, kernel)?, same(op, "dilation", dilation, kernel)?);
    let mut parts = Vec::with_capacity(groups);
    for (x, weight) in x.chunk(groups, 1)?.iter().zip(weight.chunk(groups, 0)?) {
        let full = x.contiguous()?.conv_transpose2d(&weight.contiguous()?, 0, 0, stride, dilation)?;
        let mut part = full;
        for axis in 0..2 {
            // Cut, or append zeros, to the size that follows from padding and output padding.
            let (have, want) = (part.dims()[axis + 2], output[axis + 1]);
            let missing = (want + padding[axis]).saturating_sub(have);
            part = part.pad_with_zeros(axis + 2, 0, missing)?.narrow(axis + 2, padding[axis], want)?;
        }
        parts.push(part);
    }
    with_bias(Tensor::cat(&parts, 1)?, bias)
}
