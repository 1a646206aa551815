//! Network in network on images.

use super::super::training::{BaseLearner, BoxError, Examples, SubClassifier, check_width};
use candle_core::{DType, Device, Tensor};
use core_tensor::optim::{Sgd, SgdConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::schedule::Schedule;
use core_tensor::train::{Rest, Trainer, minibatches};
use core_tensor::{Mode, ops};
use vision::{
    Augmentation, ImageNetwork, ImageShape, NetworkInNetwork, NetworkInNetworkConfig, Normalization, network_in_network,
};

/// Trains [`vision::NetworkInNetwork`] on images `[channels, height, width]` with values of any range.
///
/// Images are normalised by the sub-trainset's own mean and deviation of each channel. Training is deterministic: the same samples and seed give the same bits, on any number of threads.
#[derive(Debug, Clone)]
pub struct NetworkInNetworkLearner {
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

impl NetworkInNetworkLearner {
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

    fn image(&self) -> ImageShape {
        ImageShape { channels: self.channels, height: self.height, width: self.width }
    }

    fn check(&self, width: usize) -> crate::Result<()> {
        const OPERATION: &str = "NetworkInNetworkLearner";
        let size = self.image().size();
        let positive = [("divisor", self.divisor), ("epochs", self.epochs), ("batch", self.batch), ("image", size)];
        for (what, value) in positive {
            if value == 0 {
                return Err(crate::Error::config(OPERATION, what, "is 0, expected at least 1"));
            }
        }
        if size != width {
            return Err(crate::Error::length(OPERATION, "features of an image", width, size));
        }
        Ok(())
    }
}

/// A trained network and the statistics that normalise its inputs.
struct Fitted {
    network: NetworkInNetwork,
    normalization: Normalization,
    image: ImageShape,
    device: Device,
}

impl Fitted {
    /// Normalised images `[n, channels, height, width]`.
    fn tensor(&self, mut pixels: Vec<f32>) -> vision::Result<Tensor> {
        let ImageShape { channels, height, width } = self.image;
        self.normalization.apply_to(&mut pixels, height * width)?;
        let count = pixels.len() / self.image.size();
        Ok(Tensor::from_vec(pixels, (count, channels, height, width), &self.device)?)
    }
}

impl BaseLearner for NetworkInNetworkLearner {
    fn fit(&self, examples: &Examples, members: &[u32], seed: u64) -> Result<Box<dyn SubClassifier>, BoxError> {
        self.check(examples.width())?;
        let store = ParamStore::new(seed, DType::F32, &self.device);
        let (input_channels, num_classes, divisor) = (self.channels, examples.num_classes(), self.divisor);
        let config = NetworkInNetworkConfig { input_channels, num_classes, divisor };
        let network = network_in_network(&config, store.var_builder())?;
        let image = self.image();
        let normalization = Normalization::measure(members.iter().map(|&at| examples.row(at as usize)), image)?;
        let fitted = Fitted { network, normalization, image, device: self.device.clone() };
        let sgd = SgdConfig {
            learning_rate: self.learning_rate,
            momentum: 0.9,
            weight_decay: self.weight_decay,
            is_nesterov: true,
            ..SgdConfig::default()
        };
        // a fifth after more than 3, 6 and 8 tenths of the epochs
        let milestones = [3, 6, 8].map(|tenths| (tenths * self.epochs / 10 + 1) as u64).to_vec();
        let mut trainer =
            Trainer::new(Sgd::new(&store, sgd)?).schedule_by_epoch(Schedule::MultiStep { milestones, gamma: 0.2 });
        let rng = Rng::new(seed);
        let (mut order, mut crops) = (rng.fork("order"), rng.fork("crops"));
        let augmentation = Augmentation { padding: self.crop_padding, flips: self.flips };
        for _ in 0..self.epochs {
            for batch in &minibatches(members.len(), self.batch, Rest::Keep, &mut order)? {
                // a batch of one has no variance to normalise by
                if batch.len() == 1 && members.len() > 1 {
                    continue;
                }
                let mut pixels = Vec::with_capacity(batch.len() * image.size());
                let mut labels = Vec::with_capacity(batch.len());
                for &at in batch {
                    let member = members[at as usize] as usize;
                    augmentation.draw(&mut crops).append(examples.row(member), image, &mut pixels)?;
                    labels.push(u32::from(examples.labels()[member]));
                }
                let x = fitted.tensor(pixels)?;
                let labels = Tensor::new(labels, &self.device)?;
                let logits = fitted.network.forward(&x, &mut Mode::recalibrate())?;
                let loss = ops::cross_entropy(&logits, &labels)?;
                trainer.step(&loss)?;
            }
            trainer.end_epoch();
        }
        Ok(Box::new(fitted))
    }
}

impl SubClassifier for Fitted {
    fn predict(&self, features: &[f32]) -> Result<Vec<u16>, BoxError> {
        let size = self.image.size();
        check_width(features, size)?;
        let mut classes = Vec::with_capacity(features.len() / size);
        for images in features.chunks(256 * size) {
            let x = self.tensor(images.to_vec())?;
            let logits = self.network.forward(&x, &mut Mode::evaluate())?.to_vec2::<f32>()?;
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
