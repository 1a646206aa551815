//! What the networks are built of: convolutions with torchvision's initialisation, and observers that see their outputs.

use crate::Result;
use candle_core::Tensor;
use candle_nn::{Init, Module, VarBuilder};
use core_tensor::nn::{BatchNorm, Conv2d, batch_norm2d};
use core_tensor::ops::{Conv2dConfig, Epilogue};
use core_tensor::{Mode, init};

/// Is shown outputs by name while a network runs.
pub(crate) type Observer<'a> = dyn FnMut(&str, &Tensor) + 'a;

/// The geometry of a convolution with square kernels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// Whether zeros around the image keep its size at stride 1.
    pub(crate) pads: bool,
    pub(crate) groups: usize,
}

impl Window {
    /// With padding and one group.
    pub(crate) fn new(kernel: usize, stride: usize) -> Self {
        Self { kernel, stride, pads: true, groups: 1 }
    }

    pub(crate) fn config(self) -> Conv2dConfig {
        let Self { kernel, stride, pads, groups } = self;
        let padding = if pads { kernel / 2 } else { 0 };
        Conv2dConfig { stride: (stride, stride), padding: (padding, padding), groups, ..Conv2dConfig::default() }
    }
}

/// A convolution that knows its full name.
#[derive(Debug, Clone)]
pub(crate) struct Convolution {
    name: String,
    layer: Conv2d,
}

impl Convolution {
    pub(crate) fn new(layer: Conv2d, vb: &VarBuilder<'_>) -> Self {
        Self { name: vb.prefix(), layer }
    }

    pub(crate) fn forward(&self, x: &Tensor, observe: &mut Observer<'_>) -> Result<Tensor> {
        let y = self.layer.forward(x)?;
        observe(&self.name, &y);
        Ok(y)
    }
}

/// A convolution without bias, its weight normal with std `√(2 / (out · kernel²))`: `kaiming_normal_(mode="fan_out", nonlinearity="relu")` of
/// torchvision's networks.
pub(crate) fn convolution(inputs: usize, outputs: usize, window: Window, vb: VarBuilder<'_>) -> Result<Convolution> {
    let shape = (outputs, inputs / window.groups, window.kernel, window.kernel);
    let weight = vb.get_with_hints(shape, "weight", init::kaiming_normal_fan_out())?;
    Ok(Convolution::new(Conv2d::new(weight, None, window.config()), &vb))
}

/// [`convolution`] with a bias that is 0 at first.
pub(crate) fn convolution_with_bias(
    inputs: usize,
    outputs: usize,
    window: Window,
    vb: VarBuilder<'_>,
) -> Result<Convolution> {
    let Convolution { name, layer } = convolution(inputs, outputs, window, vb.clone())?;
    let bias = vb.get_with_hints(outputs, "bias", Init::Const(0.))?;
    Ok(Convolution { name, layer: Conv2d::new(layer.weight().clone(), Some(bias), *layer.config()) })
}

/// A convolution and the batch norm behind it.
#[derive(Debug, Clone)]
pub(crate) struct NormalizedConvolution {
    convolution: Convolution,
    norm: BatchNorm,
}

impl NormalizedConvolution {
    /// A batch norm of `outputs` channels behind `convolution`, from `vb`.
    pub(crate) fn new(convolution: Convolution, outputs: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self { convolution, norm: batch_norm2d(outputs, Default::default(), vb)? })
    }

    /// Convolution and batch norm.
    pub(crate) fn forward(&self, x: &Tensor, mode: &Mode<'_>, observe: &mut Observer<'_>) -> Result<Tensor> {
        Ok(self.norm.forward(&self.convolution.forward(x, observe)?, mode)?)
    }

    /// Convolution, batch norm, relu.
    pub(crate) fn forward_relu(&self, x: &Tensor, mode: &Mode<'_>, observe: &mut Observer<'_>) -> Result<Tensor> {
        Ok(self.norm.forward_relu(&self.convolution.forward(x, observe)?, mode)?)
    }

    /// Convolution, batch norm, addition of `residual`, relu.
    pub(crate) fn forward_residual(
        &self,
        x: &Tensor,
        residual: &Tensor,
        mode: &Mode<'_>,
        observe: &mut Observer<'_>,
    ) -> Result<Tensor> {
        let epilogue = Epilogue { residual: Some(residual), has_relu: true };
        Ok(self.norm.forward_fused(&self.convolution.forward(x, observe)?, &epilogue, mode)?)
    }
}
