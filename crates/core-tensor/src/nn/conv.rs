//! Convolution layers.

use crate::ops::{self, Conv1dConfig, Conv2dConfig, ConvTranspose2dConfig};
use crate::{Error, Result, init};
use candle_core::Tensor;
use candle_nn::{Module, VarBuilder};

macro_rules! layer {
    ($(#[$meta:meta])* $Name:ident, $Config:ident, $op:path) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $Name {
            weight: Tensor,
            bias: Option<Tensor>,
            config: $Config,
        }

        impl $Name {
            /// A layer with the given `weight` and `bias`.
            pub fn new(weight: Tensor, bias: Option<Tensor>, config: $Config) -> Self {
                Self { weight, bias, config }
            }

            /// The kernels.
            pub fn weight(&self) -> &Tensor {
                &self.weight
            }

            /// What is added to each channel.
            pub fn bias(&self) -> Option<&Tensor> {
                self.bias.as_ref()
            }

            /// The numbers of the layer.
            pub fn config(&self) -> &$Config {
                &self.config
            }
        }

        impl Module for $Name {
            fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
                Ok($op(x, &self.weight, self.bias.as_ref(), &self.config)?)
            }
        }
    };
}

layer! {
    /// [`ops::conv1d`] as a layer, `torch.nn.Conv1d`.
    Conv1d, Conv1dConfig, ops::conv1d
}
layer! {
    /// [`ops::conv2d`] as a layer, `torch.nn.Conv2d`.
    Conv2d, Conv2dConfig, ops::conv2d
}
layer! {
    /// [`ops::conv_transpose2d`] as a layer, `torch.nn.ConvTranspose2d`.
    ConvTranspose2d, ConvTranspose2dConfig, ops::conv_transpose2d
}

/// Height and width of a kernel, from `(height, width)` or from one number for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelSize {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl From<usize> for KernelSize {
    fn from(size: usize) -> Self {
        Self { height: size, width: size }
    }
}

impl From<(usize, usize)> for KernelSize {
    fn from((height, width): (usize, usize)) -> Self {
        Self { height, width }
    }
}

fn depth(op: &'static str, channels: usize, groups: usize) -> Result<usize> {
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Err(Error::Value {
            operation: op,
            what: "groups",
            got: groups as f64,
            expected: "a divisor of the channels",
        });
    }
    Ok(channels / groups)
}

/// A layer with the parameters `weight` `[out, in / groups, kernel]` and `bias` `[out]`, both uniform in `±1/√fan` with `fan = in / groups · kernel`.
///
/// # Errors
///
/// When `groups` does not divide `inputs`, or the parameters exist with other shapes.
pub fn conv1d(
    inputs: usize,
    outputs: usize,
    kernel: usize,
    config: Conv1dConfig,
    vb: VarBuilder<'_>,
) -> Result<Conv1d> {
    let mut layer = conv1d_no_bias(inputs, outputs, kernel, config, vb.clone())?;
    let fan = layer.weight.elem_count() / outputs.max(1);
    layer.bias = Some(vb.get_with_hints(outputs, "bias", init::fan_in_uniform(fan))?);
    Ok(layer)
}

/// [`conv1d`] without `bias`.
///
/// # Errors
///
/// As for [`conv1d`].
pub fn conv1d_no_bias(
    inputs: usize,
    outputs: usize,
    kernel: usize,
    config: Conv1dConfig,
    vb: VarBuilder<'_>,
) -> Result<Conv1d> {
    let depth = depth("conv1d", inputs, config.groups)?;
    let weight = vb.get_with_hints((outputs, depth, kernel), "weight", init::fan_in_uniform(depth * kernel))?;
    Ok(Conv1d { weight, bias: None, config })
}

/// A layer with the parameters `weight` `[out, in / groups, height, width]` and `bias` `[out]`, both uniform in `±1/√fan` with `fan = in / groups · height · width`. `kernel` is
/// a number for square kernels, or `(height, width)`.
///
/// # Errors
///
/// When `groups` does not divide `inputs`, or the parameters exist with other shapes.
pub fn conv2d(
    inputs: usize,
    outputs: usize,
    kernel: impl Into<KernelSize>,
    config: Conv2dConfig,
    vb: VarBuilder<'_>,
) -> Result<Conv2d> {
    let mut layer = conv2d_no_bias(inputs, outputs, kernel, config, vb.clone())?;
    let fan = layer.weight.elem_count() / outputs.max(1);
    layer.bias = Some(vb.get_with_hints(outputs, "bias", init::fan_in_uniform(fan))?);
    Ok(layer)
}

/// [`conv2d`] without `bias`, for layers that a batch norm follows.
///
/// # Errors
///
/// As for [`conv2d`].
pub fn conv2d_no_bias(
    inputs: usize,
    outputs: usize,
    kernel: impl Into<KernelSize>,
    config: Conv2dConfig,
    vb: VarBuilder<'_>,
) -> Result<Conv2d> {
    let depth = depth("conv2d", inputs, config.groups)?;
    let KernelSize { height, width } = kernel.into();
    let hint = init::fan_in_uniform(depth * height * width);
    let weight = vb.get_with_hints((outputs, depth, height, width), "weight", hint)?;
    Ok(Conv2d { weight, bias: None, config })
}

/// A layer with the parameters `weight` `[in, out / groups, height, width]` and `bias` `[out]`, both uniform in `±1/√fan` with `fan = out / groups · height · width` as in PyTorch.
/// `kernel` is a number for square kernels, or `(height, width)`.
///
/// # Errors
///
/// When `groups` does not divide `outputs`, or the parameters exist with other shapes.
pub fn conv_transpose2d(
    inputs: usize,
    outputs: usize,
    kernel: impl Into<KernelSize>,
    config: ConvTranspose2dConfig,
    vb: VarBuilder<'_>,
) -> Result<ConvTranspose2d> {
    let depth = depth("conv_transpose2d", outputs, config.groups)?;
    let KernelSize { height, width } = kernel.into();
    let hint = init::fan_in_uniform(depth * height * width);
    let weight = vb.get_with_hints((inputs, depth, height, width), "weight", hint)?;
    let bias = Some(vb.get_with_hints(outputs, "bias", hint)?);
    Ok(ConvTranspose2d { weight, bias, config })
}
