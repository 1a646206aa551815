//! The networks of the crate `vision` as graphs, with the same names of parameters.

use super::{Network, NetworkBuilder, Value};
use crate::{Error, Result};
use core_tensor::ops::{Conv2dConfig, Pool2dConfig};
use vision::{MobileNetConfig, ResNetConfig, ResidualBlock, Stem, VggConfig, VggHead};

/// Square kernels that keep the plane's size at stride 1.
fn window(kernel: usize, stride: usize) -> ((usize, usize), Conv2dConfig) {
    let padding = (kernel / 2, kernel / 2);
    ((kernel, kernel), Conv2dConfig { padding, stride: (stride, stride), ..Conv2dConfig::default() })
}

impl NetworkBuilder {
    /// Convolution without bias and batch norm.
    fn normalized(
        &mut self,
        names: [&str; 2],
        x: Value,
        outputs: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<Value> {
        let (kernel, config) = window(kernel, stride);
        let x = self.conv2d_no_bias(names[0], x, outputs, kernel, config)?;
        self.batch_norm(names[1], x)
    }
}

impl Network {
    /// A residual network for images of `height` × `width`, with torchvision's names: what [`vision::resnet`] computes.
    ///
    /// # Errors
    /// Images that are too small, or numbers that are 0.
    pub fn resnet(config: &ResNetConfig, (height, width): (usize, usize)) -> Result<Self> {
        let mut net = NetworkBuilder::new(config.input_channels, height, width);
        let mut inputs = config.stem_width;
        let (kernel, stride) = match config.stem {
            Stem::ImageNet => (7, 2),
            Stem::Cifar => (3, 1),
        };
        let x = net.normalized(["conv1", "bn1"], net.input(), inputs, kernel, stride)?;
        let mut x = net.relu(x)?;
        if config.stem == Stem::ImageNet {
            x = net.max_pool(x, Pool2dConfig { kernel: (3, 3), stride: (2, 2), padding: (1, 1) })?;
        }
        if config.depths.len() != config.widths.len() {
            return Err(Error::length("Network::resnet", "widths", config.widths.len(), config.depths.len()));
        }
        for (stage, (&depth, &width)) in config.depths.iter().zip(&config.widths).enumerate() {
            for block in 0..depth {
                let name = format!("layer{}.{block}", stage + 1);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let (outputs, layers) = match config.block {
                    ResidualBlock::Basic => (width, vec![(width, 3, stride), (width, 3, 1)]),
                    ResidualBlock::Bottleneck => {
                        (4 * width, vec![(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)])
                    }
                };
                let (mut y, last) = (x, layers.len());
                for (at, (outputs, kernel, stride)) in (1..).zip(layers) {
                    let names = [format!("{name}.conv{at}"), format!("{name}.bn{at}")];
                    y = net.normalized([&names[0], &names[1]], y, outputs, kernel, stride)?;
                    if at < last {
                        y = net.relu(y)?;
                    }
                }
                if stride != 1 || inputs != outputs {
                    let names = [format!("{name}.downsample.0"), format!("{name}.downsample.1")];
                    x = net.normalized([&names[0], &names[1]], x, outputs, 1, stride)?;
                }
                x = net.add(y, x)?;
                x = net.relu(x)?;
                inputs = outputs;
            }
        }
        let x = net.global_average_pool(x)?;
        let x = net.linear("fc", x, config.num_classes)?;
        net.finish(x)
    }

    /// VGG with batch norm for images of `height` × `width`, with torchvision's names: what [`vision::vgg`] computes.
    ///
    /// # Errors
    /// Images that are too small, for ImageNet's head also such that its mean over 7 × 7 windows has windows of different sizes; or numbers that are 0.
    pub fn vgg(config: &VggConfig, (height, width): (usize, usize)) -> Result<Self> {
        let mut net = NetworkBuilder::new(config.input_channels, height, width);
        let (mut x, mut at) = (net.input(), 0);
        for (stage, widths) in config.stages.iter().enumerate() {
            if stage > 0 {
                x = net.max_pool(x, Pool2dConfig::square(2))?;
            }
            for &outputs in widths {
                let (kernel, window) = window(3, 1);
                x = net.conv2d(&format!("features.{at}"), x, outputs, kernel, window)?;
                x = net.batch_norm(&format!("features.{}", at + 1), x)?;
                x = net.relu(x)?;
                at += 3;
            }
            at += 1;
        }
        let x = match config.head {
            VggHead::Cifar => {
                let x = net.global_average_pool(x)?;
                net.linear("classifier", x, config.num_classes)?
            }
            VggHead::ImageNet { width } => {
                let mut x = net.max_pool(x, Pool2dConfig::square(2))?;
                let [_, rows, columns] = net.shape(x)?;
                if rows % 7 != 0 || columns % 7 != 0 {
                    let reason = format!("planes of {rows} x {columns} before the head, expected multiples of 7");
                    return Err(Error::invalid("Network::vgg", reason));
                }
                if (rows, columns) != (7, 7) {
                    let kernel = (rows / 7, columns / 7);
                    x = net.average_pool(x, Pool2dConfig { kernel, stride: kernel, padding: (0, 0) })?;
                }
                x = net.flatten(x)?;
                for name in ["classifier.0", "classifier.3"] {
                    x = net.linear(name, x, width)?;
                    x = net.relu(x)?;
                    x = net.dropout(x, 0.5)?;
                }
                net.linear("classifier.6", x, config.num_classes)?
            }
        };
        net.finish(x)
    }

    /// MobileNet, version 1, for images of `height` × `width`: what [`vision::mobilenet`] computes, with its names.
    ///
    /// # Errors
    /// Images that are too small, more than 13 widths, or numbers that are 0.
    pub fn mobilenet(config: &MobileNetConfig, (height, width): (usize, usize)) -> Result<Self> {
        const STRIDES: [usize; 13] = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1];
        if config.widths.len() != STRIDES.len() {
            return Err(Error::length("Network::mobilenet", "widths", config.widths.len(), STRIDES.len()));
        }
        let mut net = NetworkBuilder::new(config.input_channels, height, width);
        let x = net.normalized(["conv1", "bn1"], net.input(), config.stem_width, 3, config.stem_stride)?;
        let mut x = net.relu(x)?;
        let mut inputs = config.stem_width;
        for (at, (&outputs, stride)) in config.widths.iter().zip(STRIDES).enumerate() {
            let name = format!("layers.{at}");
            let (kernel, depthwise) = window(3, stride);
            let depthwise = Conv2dConfig { groups: inputs, ..depthwise };
            x = net.conv2d_no_bias(&format!("{name}.conv1"), x, inputs, kernel, depthwise)?;
            x = net.batch_norm(&format!("{name}.bn1"), x)?;
            x = net.relu(x)?;
            x = net.normalized([&format!("{name}.conv2"), &format!("{name}.bn2")], x, outputs, 1, 1)?;
            x = net.relu(x)?;
            inputs = outputs;
        }
        let x = net.global_average_pool(x)?;
        let x = net.linear("linear", x, config.num_classes)?;
        net.finish(x)
    }

    /// The small network of the paper's reproduction on MNIST: [`small_cnn_of`](Self::small_cnn_of) with 16, 64, 64 and 64 channels.
    ///
    /// # Errors
    /// Numbers that are 0.
    pub fn small_cnn(image: [usize; 3], num_classes: usize) -> Result<Self> {
        Self::small_cnn_of(image, num_classes, [16, 64, 64, 64])
    }

    /// Four 3 × 3 convolutions `conv1` to `conv4`, the second and third with stride 2, each with batch norm (`bn1` …) and ReLU, the mean over the positions, `fc`.
    ///
    /// # Errors
    /// Numbers that are 0.
    pub fn small_cnn_of(image: [usize; 3], num_classes: usize, widths: [usize; 4]) -> Result<Self> {
        let mut net = NetworkBuilder::new(image[0], image[1], image[2]);
        let mut x = net.input();
        for (at, (outputs, stride)) in (1..).zip(widths.into_iter().zip([1, 2, 2, 1])) {
            x = net.normalized([&format!("conv{at}"), &format!("bn{at}")], x, outputs, 3, stride)?;
            x = net.relu(x)?;
        }
        let x = net.global_average_pool(x)?;
        let x = net.linear("fc", x, num_classes)?;
        net.finish(x)
    }
}
