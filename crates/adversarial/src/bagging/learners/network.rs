//! A small convolutional network: Network in Network.

use super::super::training::{BaseLearner, BoxError, Classifier, Examples, check_width};
use candle_core::{DType, Device, Tensor};
use candle_nn::{Module, VarBuilder};
use core_tensor::Mode;
use core_tensor::nn::{BatchNorm, Conv2d, Linear, batch_norm2d, conv2d_no_bias, linear};
use core_tensor::ops::{self, Conv2dConfig, Pool2dConfig};
use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;

/// Network in Network on images `[channels, height, width]` with values of any range, and how it is trained.
///
/// Three blocks of three convolutions without bias, each followed by batch norm and relu: 5×5 and 1×1 twice, maximum of 3×3 windows at stride 2; the same with a mean; 3×3 and 1×1 twice, mean over the plane;
/// a linear layer. Images are normalised by the sub-trainset's own mean and deviation of each channel. Training is deterministic: same samples and seed, same bits, on any number of threads.
#[derive(Debug, Clone)]
pub struct NetworkInNetwork {
    /// Channels of an image.
    pub channels: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Divides the paper's widths 192, 160, 96, 192, …. Default: 1.
    pub divisor: usize,
    /// Passes over the sub-trainset. Default: 200.
    pub epochs: usize,
    /// Samples of a step. Default: 128.
    pub batch: usize,
    /// Learning rate of the first epochs; a fifth of it from 3/10, 6/10 and 8/10 of the epochs on. Default: 0.1.
    pub learning_rate: f64,
    /// Default: 5·10⁻⁴.
    pub weight_decay: f64,
    /// Zeros around an image before a random crop of its size. Default: 4; 0 for none.
    pub crop_padding: usize,
    /// Whether half of the images are mirrored. Default: false.
    pub flips: bool,
    /// Where it trains. Default: the CPU. On other devices sums may depend on the order of threads, and the certificate asks for equal bits.
    pub device: Device,
}

impl NetworkInNetwork {
    /// The paper's settings for images of this size.
    pub fn new(channels: usize, height: usize, width: usize) -> Self {
        Self {
            channels,
            height,
            width,
            divisor: 1,
            epochs: 200,
            batch: 128,
            learning_rate: 0.1,
            weight_decay: 5e-4,
            crop_padding: 4,
            flips: false,
            device: Device::Cpu,
        }
    }

    fn image_size(&self) -> usize {
        self.channels * self.height * self.width
    }

    fn check(&self, width: usize) -> crate::Result<()> {
        let positive =
            [("divisor", self.divisor), ("epochs", self.epochs), ("batch", self.batch), ("image", self.image_size())];
        for (what, value) in positive {
            if value == 0 {
                return Err(crate::Error::setting(what, "0, expected at least 1"));
            }
        }
        if self.image_size() != width {
            return Err(crate::Error::length("features of an image", width, self.image_size()));
        }
        Ok(())
    }
}

struct Network {
    convolutions: Vec<(Conv2d, BatchNorm)>,
    head: Linear,
}

/// The widths of the paper and the kernels, block by block.
const LAYERS: [[(usize, usize); 3]; 3] =
    [[(192, 5), (160, 1), (96, 1)], [(192, 5), (192, 1), (192, 1)], [(192, 3), (192, 1), (192, 1)]];
const HALVING: Pool2dConfig = Pool2dConfig { kernel: (3, 3), stride: (2, 2), padding: (1, 1) };

impl Network {
    fn new(config: &NetworkInNetwork, num_classes: usize, vb: &VarBuilder<'_>) -> core_tensor::Result<Self> {
        let mut inputs = config.channels;
        let mut convolutions = Vec::new();
        for (block, layers) in LAYERS.iter().enumerate() {
            for (layer, &(outputs, kernel)) in layers.iter().enumerate() {
                let outputs = outputs.div_ceil(config.divisor);
                let vb = vb.pp(format!("{block}.{layer}"));
                let padding = Conv2dConfig { padding: (kernel / 2, kernel / 2), ..Default::default() };
                let convolution = conv2d_no_bias(inputs, outputs, kernel, padding, vb.pp("conv"))?;
                convolutions.push((convolution, batch_norm2d(outputs, Default::default(), vb.pp("norm"))?));
                inputs = outputs;
            }
        }
        Ok(Self { convolutions, head: linear(inputs, num_classes, vb.pp("head"))? })
    }

    fn forward(&self, x: &Tensor, mode: &Mode<'_>) -> core_tensor::Result<Tensor> {
        let mut x = x.clone();
        for (at, (convolution, norm)) in self.convolutions.iter().enumerate() {
            x = norm.forward_relu(&convolution.forward(&x)?, mode)?;
            match at {
                2 => x = ops::max_pool2d(&x, HALVING)?,
                5 => x = ops::avg_pool2d(&x, HALVING)?,
                _ => {}
            }
        }
        Ok(self.head.forward(&ops::global_avg_pool(&x)?)?)
    }
}

/// A trained network and the statistics that normalise its inputs.
struct Fitted {
    network: Network,
    config: NetworkInNetwork,
    means: Vec<f32>,
    deviations: Vec<f32>,
}

/// Mean and unbiased deviation of each channel.
fn statistics(config: &NetworkInNetwork, examples: &Examples, members: &[u32]) -> (Vec<f32>, Vec<f32>) {
    let plane = config.height * config.width;
    let count = (plane * members.len()) as f64;
    let channel = |channel: usize| {
        let values = || {
            let pixels = |&member: &u32| &examples.row(member as usize)[channel * plane..(channel + 1) * plane];
            members.iter().flat_map(pixels).map(|&pixel| f64::from(pixel))
        };
        let mean = values().sum::<f64>() / count;
        let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.).max(1.);
        (mean as f32, if variance > 0. { variance.sqrt() as f32 } else { 1. })
    };
    (0..config.channels).map(channel).unzip()
}

impl Fitted {
    /// Appends a normalised image, shifted by up to the padding and mirrored.
    fn append(&self, image: &[f32], (down, right): (isize, isize), is_mirrored: bool, into: &mut Vec<f32>) {
        let NetworkInNetwork { channels, height, width, .. } = self.config;
        for channel in 0..channels {
            let (mean, deviation) = (self.means[channel], self.deviations[channel]);
            let plane = &image[channel * height * width..][..height * width];
            for y in 0..height {
                for x in 0..width {
                    let x = if is_mirrored { width - 1 - x } else { x };
                    let from = (y.checked_add_signed(down), x.checked_add_signed(right));
                    let pixel = match from {
                        (Some(y), Some(x)) if y < height && x < width => plane[y * width + x],
                        _ => 0.,
                    };
                    into.push((pixel - mean) / deviation);
                }
            }
        }
    }

    fn tensor(&self, pixels: Vec<f32>, count: usize) -> core_tensor::Result<Tensor> {
        let NetworkInNetwork { channels, height, width, .. } = self.config;
        Ok(Tensor::from_vec(pixels, (count, channels, height, width), &self.config.device)?)
    }
}

impl BaseLearner for NetworkInNetwork {
    fn fit(&self, examples: &Examples, members: &[u32], seed: u64) -> Result<Box<dyn Classifier>, BoxError> {
        self.check(examples.width())?;
        let store = ParamStore::new(seed, DType::F32, &self.device);
        let network = Network::new(self, examples.num_classes(), &store.var_builder())?;
        let (means, deviations) = statistics(self, examples, members);
        let fitted = Fitted { network, config: self.clone(), means, deviations };
        let mut optimizer = Sgd::new(
            store.trainable(),
            SgdConfig {
                learning_rate: self.learning_rate,
                momentum: 0.9,
                weight_decay: self.weight_decay,
                is_nesterov: true,
                ..SgdConfig::default()
            },
        )?;
        let rng = Rng::new(seed);
        let (mut order, mut crops) = (rng.fork("order"), rng.fork("crops"));
        let shift = |rng: &mut Rng| rng.below(2 * self.crop_padding + 1) as isize - self.crop_padding as isize;
        for epoch in 0..self.epochs {
            let passed = [3, 6, 8].iter().filter(|&&tenths| 10 * epoch > tenths * self.epochs).count();
            optimizer.set_learning_rate(self.learning_rate * 0.2f64.powi(passed as i32));
            let permutation = order.permutation(members.len());
            for batch in permutation.chunks(self.batch) {
                // a batch of one has no variance to normalise by
                if batch.len() == 1 && members.len() > 1 {
                    continue;
                }
                let mut pixels = Vec::with_capacity(batch.len() * self.image_size());
                let mut labels = Vec::with_capacity(batch.len());
                for &at in batch {
                    let member = members[at as usize] as usize;
                    let offset = (shift(&mut crops), shift(&mut crops));
                    let is_mirrored = self.flips && crops.below(2) == 1;
                    fitted.append(examples.row(member), offset, is_mirrored, &mut pixels);
                    labels.push(u32::from(examples.labels()[member]));
                }
                let x = fitted.tensor(pixels, batch.len())?;
                let labels = Tensor::new(labels, &self.device)?;
                let loss = ops::cross_entropy(&fitted.network.forward(&x, &Mode::recalibrate())?, &labels)?;
                optimizer.backward_step(&loss)?;
            }
        }
        Ok(Box::new(fitted))
    }
}

impl Classifier for Fitted {
    fn predict(&self, features: &[f32]) -> Result<Vec<u16>, BoxError> {
        let size = self.config.image_size();
        check_width(features, size)?;
        let mut classes = Vec::with_capacity(features.len() / size);
        for images in features.chunks(256 * size) {
            let count = images.len() / size;
            let mut pixels = Vec::with_capacity(images.len());
            images.chunks_exact(size).for_each(|image| self.append(image, (0, 0), false, &mut pixels));
            let logits = self.network.forward(&self.tensor(pixels, count)?, &Mode::evaluate())?.to_vec2::<f32>()?;
            classes.extend(logits.iter().map(|row| {
                let mut best = 0;
                for (class, logit) in row.iter().enumerate() {
                    if *logit > row[best] {
                        best = class;
                    }
                }
                best as u16
            }));
        }
        Ok(classes)
    }
}
