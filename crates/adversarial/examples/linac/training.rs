//! Classifiers and bypasses, and their training.

use adversarial::attacks::{Attack, GradientAttack, Samples, ThreatModel};
use adversarial::linac::Bypass;
use candle_core::Module;
use candle_core::{D, DType, Device, Tensor};
use core_tensor::Mode;
use core_tensor::nn::{Conv2d, conv2d};
use core_tensor::ops::{self, Conv2dConfig};
use core_tensor::optim::{Adam, AdamConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::{Rest, Trainer, minibatches};
use experiment::{BoxError, TrialContext};
use vision::ImageNetwork;
use vision::small::{PlainCnn, PlainCnnConfig, plain_cnn};

pub(crate) type Result<T> = std::result::Result<T, BoxError>;

const BATCH: usize = 128;

/// 3×3 convolutions of 48, 64 with stride 2, and 96, with batch norms.
pub(crate) struct Classifier {
    network: PlainCnn,
    /// The same parameters as constants.
    frozen: PlainCnn,
    store: ParamStore,
}

impl Classifier {
    fn new(channels: usize, num_classes: usize, seed: u64) -> Result<Self> {
        let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
        let config = PlainCnnConfig { input_channels: channels, num_classes, layers: vec![(48, 1), (64, 2), (96, 1)] };
        let network = plain_cnn(&config, store.var_builder())?;
        let frozen = plain_cnn(&config, store.frozen_var_builder())?;
        Ok(Self { network, frozen, store })
    }

    /// Logits in evaluation mode; gradients go to the input alone.
    pub(crate) fn logits(&self, x: &Tensor) -> adversarial::Result<Tensor> {
        self.frozen.forward(x, &mut Mode::evaluate()).map_err(|error| candle_core::Error::from(error).into())
    }

    pub(crate) fn accuracy(&self, x: &Tensor, labels: &[u32]) -> Result<f64> {
        let mut right = 0;
        for first in (0..labels.len()).step_by(BATCH) {
            let count = BATCH.min(labels.len() - first);
            let found = self.logits(&x.narrow(0, first, count)?.contiguous()?)?.argmax(D::Minus1)?.to_vec1::<u32>()?;
            right += found.iter().zip(&labels[first..]).filter(|(a, b)| a == b).count();
        }
        Ok(right as f64 / labels.len() as f64)
    }
}

/// A step before the classifier.
pub(crate) type Step<'a> = &'a dyn Fn(&Tensor) -> adversarial::Result<Tensor>;

fn batches(count: usize, order: &mut Rng) -> Result<Vec<Vec<u32>>> {
    Ok(minibatches(count, BATCH, Rest::Keep, order)?.iter().map(<[u32]>::to_vec).collect())
}

fn rows(x: &Tensor, labels: &[u32], batch: &[u32]) -> Result<(Tensor, Tensor)> {
    let ids = Tensor::new(batch, &Device::Cpu)?;
    let targets: Vec<u32> = batch.iter().map(|&at| labels[at as usize]).collect();
    Ok((x.index_select(&ids, 0)?, Tensor::new(targets, &Device::Cpu)?))
}

/// Trains by Adam at 1e-3 without augmentation; `adversarial` replaces each batch by what seven steps of PGD make of it (Madry et al., 2018).
pub(crate) fn train(
    x: &Tensor,
    labels: &[u32],
    num_classes: usize,
    epochs: usize,
    seed: u64,
    adversarial: Option<Step<'_>>,
    trial: &TrialContext,
) -> Result<Classifier> {
    let classifier = Classifier::new(x.dims()[1], num_classes, seed)?;
    let mut trainer = Trainer::new(Adam::new(classifier.store.trainable(), AdamConfig::default())?);
    let (mut order, mut noise) = (Rng::new(seed).fork("batches"), Rng::new(seed).fork("noise"));
    for epoch in 0..epochs {
        let mut last = 0.;
        for (step, batch) in batches(labels.len(), &mut order)?.iter().enumerate() {
            trial.check_cancelled()?;
            let (mut inputs, targets) = rows(x, labels, batch)?;
            if let Some(normalise) = adversarial {
                let model = |x: &Tensor| classifier.logits(&normalise(x)?);
                let attack = GradientAttack::pgd(2. / 255., 7).to_the_end().on_all();
                let samples = Samples::new(&inputs, &targets.to_vec1::<u32>()?)?;
                let seed = seed ^ (epoch * 10_000 + step) as u64;
                inputs = normalise(&attack.run_on(&model, &samples, &ThreatModel::linf(8. / 255.), seed)?.last)?;
            }
            let logits = classifier.network.forward(&inputs, &mut Mode::train(&mut noise))?;
            let loss = ops::cross_entropy(&logits, &targets)?;
            last = f64::from(loss.to_scalar::<f32>()?);
            trainer.step(&loss)?;
        }
        trial.epoch(epoch + 1, epochs, &format!("loss {last:.3}"));
    }
    Ok(classifier)
}

/// What a bypass is trained for.
pub(crate) enum Target<'a> {
    /// The loss of the classifier behind it: neither key nor codes are needed.
    Labels(&'a Classifier, &'a [u32]),
    /// The codes.
    Codes(&'a Tensor),
}

/// Trains a function with parameters in the store from inputs.
pub(crate) fn train_bypass(
    store: &ParamStore,
    forward: &dyn Fn(&Tensor) -> adversarial::Result<Tensor>,
    x: &Tensor,
    target: &Target<'_>,
    epochs: usize,
    seed: u64,
    trial: &TrialContext,
) -> Result<()> {
    let mut trainer = Trainer::new(Adam::new(store.trainable(), AdamConfig::default())?);
    let mut order = Rng::new(seed).fork("bypass");
    for epoch in 0..epochs {
        let mut last = 0.;
        for batch in batches(x.dims()[0], &mut order)? {
            trial.check_cancelled()?;
            let ids = Tensor::new(batch.as_slice(), &Device::Cpu)?;
            let codes = forward(&x.index_select(&ids, 0)?)?;
            let loss = match target {
                Target::Labels(classifier, labels) => {
                    let targets: Vec<u32> = batch.iter().map(|&at| labels[at as usize]).collect();
                    ops::cross_entropy(&classifier.logits(&codes)?, &Tensor::new(targets, &Device::Cpu)?)?
                }
                Target::Codes(all) => ops::mse(&codes, &all.index_select(&ids, 0)?)?,
            };
            last = f64::from(loss.to_scalar::<f32>()?);
            trainer.step(&loss)?;
        }
        trial.epoch(epoch + 1, epochs, &format!("bypass: loss {last:.4}"));
    }
    Ok(())
}

/// A bypass and the store of its parameters.
pub(crate) fn bypass(codes: usize, seed: u64) -> Result<(ParamStore, Bypass)> {
    let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
    let bypass = Bypass::new(3, codes, store.var_builder())?;
    Ok((store, bypass))
}

/// The linear bypass of shuffled blocks: a convolution of 4×4 pixels to 48 numbers, which become 4×4 pixels again.
pub(crate) struct LinearBypass {
    layer: Conv2d,
}

impl LinearBypass {
    pub(crate) fn new(seed: u64) -> Result<(ParamStore, Self)> {
        let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
        let config = Conv2dConfig { stride: (4, 4), ..Conv2dConfig::default() };
        let layer = conv2d(3, 48, 4, config, store.var_builder())?;
        Ok((store, Self { layer }))
    }

    pub(crate) fn forward(&self, x: &Tensor) -> adversarial::Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        let blocks = self.layer.forward(x)?.reshape(vec![batch, channels, 4, 4, height / 4, width / 4])?;
        let pixels = ops::to_contiguous(&blocks.permute(vec![0, 1, 4, 2, 5, 3])?)?;
        Ok(pixels.reshape((batch, channels, height, width))?)
    }
}
