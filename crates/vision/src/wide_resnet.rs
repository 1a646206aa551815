//! Wide residual networks.

use crate::error::check_positive;
use crate::layers::{Convolution, Observer, Window, convolution};
use crate::{Error, ImageNetwork, Result};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use core_tensor::nn::{BatchNorm, Linear, batch_norm2d, linear_with};
use core_tensor::{Mode, init, ops};

/// Two networks that are both called WRN-n-k. They have the same parameters and compute different functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WideResNetForm {
    /// The authors' and most PyTorch code: 3×3 convolutions at stride 2 pad both sides by 1, and where a shortcut is a convolution it sees its
    /// input after the block's first batch norm and relu.
    PyTorch,
    /// `uncertainty_baselines` and other TensorFlow code: "same" padding at stride 2 on even sizes pads the bottom and the right only, and a shortcut sees
    /// the block's raw input.
    TensorFlow,
}

/// The numbers of a [`WideResNet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WideResNetConfig {
    /// Channels of an image, 3.
    pub input_channels: usize,
    /// The number of logits.
    pub num_classes: usize,
    /// n, the number of convolutions: 6 times the blocks of a group and 4 more.
    pub depth: usize,
    /// k, which widens the groups of 16, 32 and 64 channels.
    pub width_factor: usize,
    /// Which of two functions, [`WideResNetForm::PyTorch`].
    pub form: WideResNetForm,
}

impl WideResNetConfig {
    /// WRN-`depth`-`width_factor` on images of 3 channels.
    pub fn new(depth: usize, width_factor: usize, num_classes: usize) -> Self {
        Self { input_channels: 3, num_classes, depth, width_factor, form: WideResNetForm::PyTorch }
    }
}

/// A wide residual network WRN-n-k (Zagoruyko and Komodakis, "Wide Residual Networks", 2016) without dropout, for images of CIFAR's size. Batch norm and
/// relu come before each convolution.
///
/// Parameters have the names of the common PyTorch code (`xternalz/WideResNet-pytorch`, also RobustBench): `conv1`, `block1.layer.0.bn1`,
/// `block1.layer.0.conv1`, …, `block2.layer.0.convShortcut`, `bn1`, `fc`.
#[derive(Debug, Clone)]
pub struct WideResNet {
    stem: Convolution,
    groups: Vec<Group>,
    norm: BatchNorm,
    head: Linear,
}

#[derive(Debug, Clone)]
struct Group {
    name: String,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone)]
struct Block {
    norms: [BatchNorm; 2],
    convolutions: [Convolution; 2],
    shortcut: Option<Convolution>,
    stride: usize,
    form: WideResNetForm,
}

/// A wide residual network.
///
/// Convolutions are normal with std `√(2 / fan_out)`, batch norms 1 and 0, the linear layer's weight uniform in `±1/√inputs` and its bias 0, as in the code
/// whose names it has.
///
/// # Errors
/// [`Error::InvalidConfig`] for a depth that is not 6 m + 4 with m ≥ 1, or another number that is 0; parameters that exist with other shapes.
pub fn wide_resnet(config: &WideResNetConfig, vb: VarBuilder<'_>) -> Result<WideResNet> {
    const OPERATION: &str = "wide_resnet";
    let WideResNetConfig { input_channels, num_classes, depth, width_factor, form } = *config;
    check_positive(
        OPERATION,
        &[("input_channels", input_channels), ("num_classes", num_classes), ("width_factor", width_factor)],
    )?;
    let Some(num_blocks) = depth.checked_sub(4).filter(|rest| *rest > 0 && rest % 6 == 0).map(|rest| rest / 6) else {
        let reason = format!("is {depth}, expected 6 m + 4 with m of at least 1: 10, 16, 22, 28, …");
        return Err(Error::config(OPERATION, "depth", reason));
    };
    let mut inputs = 16;
    let stem = convolution(input_channels, inputs, Window::new(3, 1), vb.pp("conv1"))?;
    let mut groups = Vec::new();
    for (group, (width, stride)) in [(16, 1), (32, 2), (64, 2)].into_iter().enumerate() {
        let outputs = width * width_factor;
        let vb = vb.pp(format!("block{}", group + 1));
        let mut blocks = Vec::new();
        for at in 0..num_blocks {
            let stride = if at == 0 { stride } else { 1 };
            blocks.push(block(form, inputs, outputs, stride, &vb.pp("layer").pp(at))?);
            inputs = outputs;
        }
        groups.push(Group { name: vb.prefix(), blocks });
    }
    let norm = batch_norm2d(inputs, Default::default(), vb.pp("bn1"))?;
    let head = linear_with(inputs, num_classes, init::fan_in_uniform(inputs), Some(Init::Const(0.)), vb.pp("fc"))?;
    Ok(WideResNet { stem, groups, norm, head })
}

fn block(form: WideResNetForm, inputs: usize, outputs: usize, stride: usize, vb: &VarBuilder<'_>) -> Result<Block> {
    let pads_itself = form == WideResNetForm::PyTorch || stride == 1;
    let first = Window { kernel: 3, stride, pads: pads_itself, groups: 1 };
    Ok(Block {
        norms: [
            batch_norm2d(inputs, Default::default(), vb.pp("bn1"))?,
            batch_norm2d(outputs, Default::default(), vb.pp("bn2"))?,
        ],
        convolutions: [
            convolution(inputs, outputs, first, vb.pp("conv1"))?,
            convolution(outputs, outputs, Window::new(3, 1), vb.pp("conv2"))?,
        ],
        shortcut: if inputs == outputs && stride == 1 {
            None
        } else {
            Some(convolution(inputs, outputs, Window::new(1, stride), vb.pp("convShortcut"))?)
        },
        stride,
        form,
    })
}

impl Block {
    fn forward(&self, x: &Tensor, mode: &Mode<'_>, observe: &mut Observer<'_>) -> Result<Tensor> {
        let activated = self.norms[0].forward_relu(x, mode)?;
        let y = match self.form {
            WideResNetForm::TensorFlow if self.stride == 2 => {
                self.convolutions[0].forward(&pad_same(&activated)?, observe)?
            }
            _ => self.convolutions[0].forward(&activated, observe)?,
        };
        let y = self.convolutions[1].forward(&self.norms[1].forward_relu(&y, mode)?, observe)?;
        let shortcut = match (&self.shortcut, self.form) {
            (None, _) => x.clone(),
            (Some(shortcut), WideResNetForm::PyTorch) => shortcut.forward(&activated, observe)?,
            (Some(shortcut), WideResNetForm::TensorFlow) => shortcut.forward(x, observe)?,
        };
        Ok(ops::add(&y, &shortcut)?)
    }
}

/// TensorFlow's "same" padding of a 3×3 convolution at stride 2: an even size gets one zero behind it, an odd one gets one on each side.
fn pad_same(x: &Tensor) -> Result<Tensor> {
    let mut x = x.clone();
    for axis in [2, 3] {
        let size = x.dim(axis)?;
        x = x.pad_with_zeros(axis, size % 2, 1)?;
    }
    Ok(x)
}

impl ImageNetwork for WideResNet {
    fn features_observed(
        &self,
        images: &Tensor,
        mode: &mut Mode<'_>,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        let mut x = self.stem.forward(images, observe)?;
        for group in &self.groups {
            for block in &group.blocks {
                x = block.forward(&x, mode, observe)?;
            }
            observe(&group.name, &x);
        }
        Ok(ops::global_avg_pool(&self.norm.forward_relu(&x, mode)?)?)
    }

    fn head(&self) -> &Linear {
        &self.head
    }
}
