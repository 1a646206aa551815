//! Residual networks.

use crate::error::check_positive;
use crate::layers::{NormalizedConvolution, Observer, Window, convolution};
use crate::{Error, ImageNetwork, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::Mode;
use core_tensor::nn::{Linear, linear};
use core_tensor::ops::{self, Pool2dConfig};

/// The residual block of a [`ResNet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResidualBlock {
    /// Two 3×3 convolutions of the stage's width.
    Basic,
    /// 1×1, 3×3 and 1×1 convolutions; the last has 4 times the stage's width. The 3×3 convolution has the stride, as in torchvision
    /// ("ResNet v1.5").
    Bottleneck,
}

impl ResidualBlock {
    fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// What comes before the first stage of a [`ResNet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stem {
    /// A 7×7 convolution at stride 2, then the maximum of 3×3 windows at stride 2.
    ImageNet,
    /// A 3×3 convolution at stride 1.
    Cifar,
}

/// The numbers of a [`ResNet`]: start from a preset and change what differs.
///
/// ```
/// use vision::ResNetConfig;
/// // ResNet-18 for CIFAR-10, a quarter as wide
/// let narrow = ResNetConfig { stem_width: 16, widths: vec![16, 32, 64, 128], ..ResNetConfig::resnet18(10).cifar() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResNetConfig {
    /// Channels of an image, 3.
    pub input_channels: usize,
    /// The number of logits.
    pub num_classes: usize,
    /// What comes before the first stage.
    pub stem: Stem,
    /// Channels of the stem, 64.
    pub stem_width: usize,
    /// The block of all stages.
    pub block: ResidualBlock,
    /// Blocks of each stage.
    pub depths: Vec<usize>,
    /// The width of each stage, as many as `depths`. The first block of every stage but the first has stride 2.
    pub widths: Vec<usize>,
}

impl ResNetConfig {
    /// ResNet-18 in its ImageNet form: 11,689,512 parameters with 1000 classes.
    pub fn resnet18(num_classes: usize) -> Self {
        Self {
            input_channels: 3,
            num_classes,
            stem: Stem::ImageNet,
            stem_width: 64,
            block: ResidualBlock::Basic,
            depths: vec![2, 2, 2, 2],
            widths: vec![64, 128, 256, 512],
        }
    }

    /// ResNet-50 in its ImageNet form: 25,557,032 parameters with 1000 classes.
    pub fn resnet50(num_classes: usize) -> Self {
        Self { block: ResidualBlock::Bottleneck, depths: vec![3, 4, 6, 3], ..Self::resnet18(num_classes) }
    }

    /// ResNet-20 for images of CIFAR's size (He et al., 2016, section 4.2): three stages of widths 16, 32 and 64. Shortcuts that change the
    /// shape are 1×1 convolutions with batch norm, as in the other networks here; the paper's pad with zeros instead. 272,474 parameters with 10
    /// classes.
    pub fn resnet20(num_classes: usize) -> Self {
        Self { stem_width: 16, depths: vec![3; 3], widths: vec![16, 32, 64], ..Self::resnet18(num_classes).cifar() }
    }

    /// The same network with the stem for small images: [`Stem::Cifar`].
    pub fn cifar(self) -> Self {
        Self { stem: Stem::Cifar, ..self }
    }

    fn check(&self) -> Result<()> {
        const OPERATION: &str = "resnet";
        let Self { input_channels, num_classes, stem_width, .. } = *self;
        check_positive(
            OPERATION,
            &[("input_channels", input_channels), ("num_classes", num_classes), ("stem_width", stem_width)],
        )?;
        check_positive(OPERATION, &[("the number of stages", self.depths.len())])?;
        if self.depths.len() != self.widths.len() {
            let reason = format!("has {} stages, depths has {}", self.widths.len(), self.depths.len());
            return Err(Error::config(OPERATION, "widths", reason));
        }
        self.depths.iter().try_for_each(|&depth| check_positive(OPERATION, &[("a number in depths", depth)]))?;
        self.widths.iter().try_for_each(|&width| check_positive(OPERATION, &[("a number in widths", width)]))
    }
}

/// A residual network (He et al., "Deep Residual Learning for Image Recognition", 2016) with torchvision's parameter names: `conv1`, `bn1`,
/// `layer1.0.conv1`, `layer1.0.bn1`, …, `layer2.0.downsample.0`, `fc`.
#[derive(Debug, Clone)]
pub struct ResNet {
    stem: NormalizedConvolution,
    has_pool: bool,
    stages: Vec<Stage>,
    head: Linear,
}

#[derive(Debug, Clone)]
struct Stage {
    name: String,
    blocks: Vec<Residual>,
}

#[derive(Debug, Clone)]
struct Residual {
    convolutions: Vec<NormalizedConvolution>,
    shortcut: Option<NormalizedConvolution>,
}

/// A residual network.
///
/// Initialisation as in torchvision's `resnet.py`: convolutions normal with std `√(2 / fan_out)`, batch norms 1 and 0, the linear layer uniform in
/// `±1/√inputs`.
///
/// # Errors
/// [`Error::InvalidConfig`] for a number of `config` that is 0, no stages, or lists of different lengths; parameters that exist with other shapes.
pub fn resnet(config: &ResNetConfig, vb: VarBuilder<'_>) -> Result<ResNet> {
    config.check()?;
    let window = match config.stem {
        Stem::ImageNet => Window::new(7, 2),
        Stem::Cifar => Window::new(3, 1),
    };
    let mut inputs = config.stem_width;
    let stem = convolution(config.input_channels, inputs, window, vb.pp("conv1"))?;
    let stem = NormalizedConvolution::new(stem, inputs, vb.pp("bn1"))?;
    let mut stages = Vec::new();
    for (stage, (&depth, &width)) in config.depths.iter().zip(&config.widths).enumerate() {
        let vb = vb.pp(format!("layer{}", stage + 1));
        let mut blocks = Vec::new();
        for block in 0..depth {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            blocks.push(residual(config.block, inputs, width, stride, &vb.pp(block))?);
            inputs = width * config.block.expansion();
        }
        stages.push(Stage { name: vb.prefix(), blocks });
    }
    let head = linear(inputs, config.num_classes, vb.pp("fc"))?;
    Ok(ResNet { stem, has_pool: config.stem == Stem::ImageNet, stages, head })
}

fn residual(block: ResidualBlock, inputs: usize, width: usize, stride: usize, vb: &VarBuilder<'_>) -> Result<Residual> {
    let outputs = width * block.expansion();
    let layers = match block {
        ResidualBlock::Basic => vec![(width, 3, stride), (width, 3, 1)],
        ResidualBlock::Bottleneck => vec![(width, 1, 1), (width, 3, stride), (outputs, 1, 1)],
    };
    let mut convolutions = Vec::new();
    let mut channels = inputs;
    for (at, (outputs, kernel, stride)) in layers.into_iter().enumerate() {
        let layer = convolution(channels, outputs, Window::new(kernel, stride), vb.pp(format!("conv{}", at + 1)))?;
        convolutions.push(NormalizedConvolution::new(layer, outputs, vb.pp(format!("bn{}", at + 1)))?);
        channels = outputs;
    }
    let shortcut = if stride != 1 || inputs != outputs {
        let vb = vb.pp("downsample");
        let layer = convolution(inputs, outputs, Window::new(1, stride), vb.pp(0))?;
        Some(NormalizedConvolution::new(layer, outputs, vb.pp(1))?)
    } else {
        None
    };
    Ok(Residual { convolutions, shortcut })
}

impl Residual {
    fn forward(&self, x: &Tensor, mode: &Mode<'_>, observe: &mut Observer<'_>) -> Result<Tensor> {
        let Some((last, first)) = self.convolutions.split_last() else {
            return Ok(x.clone());
        };
        let mut y = x.clone();
        for layer in first {
            y = layer.forward_relu(&y, mode, observe)?;
        }
        match &self.shortcut {
            Some(shortcut) => {
                let residual = shortcut.forward(x, mode, observe)?;
                last.forward_residual(&y, &residual, mode, observe)
            }
            None => last.forward_residual(&y, x, mode, observe),
        }
    }
}

impl ImageNetwork for ResNet {
    fn features_observed(
        &self,
        images: &Tensor,
        mode: &mut Mode<'_>,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        let mut x = self.stem.forward_relu(images, mode, observe)?;
        if self.has_pool {
            x = ops::max_pool2d(&x, Pool2dConfig { kernel: (3, 3), stride: (2, 2), padding: (1, 1) })?;
        }
        for stage in &self.stages {
            for block in &stage.blocks {
                x = block.forward(&x, mode, observe)?;
            }
            observe(&stage.name, &x);
        }
        Ok(ops::global_avg_pool(&x)?)
    }

    fn head(&self) -> &Linear {
        &self.head
    }
}
