//! The small convolutional network, its training and its rewinding.

use candle_core::{DType, Device, Tensor};
use candle_nn::{Module, VarBuilder};
use core_tensor::Mode;
use core_tensor::nn::{BatchNorm, BatchNormConfig, Conv2d, Linear, batch_norm2d, conv2d_no_bias, linear};
use core_tensor::ops::{self, Conv2dConfig};
use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::{Rest, minibatches};
use experiment::{Result, TrialContext};
use pruning::{MaskedOptimizer, Masks, Scope};
use std::collections::BTreeMap;

pub(crate) const BATCH: usize = 128;
const REWIND: usize = 20;

/// Channels into and out of each convolution, and its stride.
const LAYERS: [(usize, usize, usize); 4] = [(1, 16, 1), (16, 64, 2), (64, 64, 2), (64, 64, 1)];

/// Standardised images `[n, 1, 14, 14]` and their classes.
pub(crate) struct Images {
    pub(crate) x: Tensor,
    pub(crate) labels: Vec<u32>,
}

impl Images {
    pub(crate) fn batch(&self, rows: &[u32]) -> Result<(Tensor, Tensor)> {
        let index = Tensor::new(rows, self.x.device())?;
        let labels: Vec<u32> = rows.iter().map(|&row| self.labels[row as usize]).collect();
        Ok((self.x.index_select(&index, 0)?, Tensor::new(labels, self.x.device())?))
    }
}

pub(crate) struct Network {
    convolutions: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    head: Linear,
    pub(crate) store: ParamStore,
}

impl Network {
    pub(crate) fn new(seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        let store = ParamStore::new(seed, dtype, device);
        let vb = store.var_builder();
        let (mut convolutions, mut norms) = (Vec::new(), Vec::new());
        for (at, (inputs, outputs, stride)) in LAYERS.into_iter().enumerate() {
            let config = Conv2dConfig { padding: (1, 1), stride: (stride, stride), ..Conv2dConfig::default() };
            convolutions.push(conv2d_no_bias(inputs, outputs, 3, config, named(&vb, "conv", at))?);
            norms.push(batch_norm2d(outputs, BatchNormConfig::default(), named(&vb, "bn", at))?);
        }
        let head = linear(64, 10, vb.pp("fc"))?;
        // Kaiming's normal numbers by the outputs, as in the paper
        for (name, var) in store.vars().into_iter().filter(|(name, _)| name.starts_with("conv")) {
            let fan = var.dims()[0] * 9;
            let std = (2.0 / fan as f64).sqrt();
            let values = Rng::new(seed).fork(&name).normal(0.0, std, var.dims(), dtype, device)?;
            store.set(&name, &values)?;
        }
        Ok(Self { convolutions, norms, head, store })
    }

    /// The masks that keep everything of what may be pruned: all convolutions but the first.
    pub(crate) fn full(&self) -> Result<Masks> {
        let prunable = Scope::convolutions().select(&self.store)?;
        Ok(Masks::full(prunable.iter().map(|(name, var)| (name.as_str(), var.dims()))))
    }

    pub(crate) fn forward(&self, x: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        let mut x = x.clone();
        for (convolution, norm) in self.convolutions.iter().zip(&self.norms) {
            x = norm.forward_relu(&convolution.forward(&x)?, mode)?;
        }
        Ok(self.head.forward(&ops::global_avg_pool(&x)?.flatten_from(1)?)?)
    }

    pub(crate) fn accuracy(&self, images: &Images) -> Result<f64> {
        let rows: Vec<u32> = (0..images.labels.len() as u32).collect();
        let mut right = 0;
        for rows in rows.chunks(500) {
            let (x, labels) = images.batch(rows)?;
            let predicted = self.forward(&x, &Mode::evaluate())?.argmax(1)?.to_vec1::<u32>()?;
            right += predicted.iter().zip(labels.to_vec1::<u32>()?).filter(|(a, b)| **a == *b).count();
        }
        Ok(100.0 * right as f64 / images.labels.len() as f64)
    }

    /// Trains with masks, a tenth of the rate from half of the epochs on and a hundredth from three quarters on, and returns the state at the
    /// rewinding step.
    pub(crate) fn train(
        &self,
        images: &Images,
        masks: &Masks,
        epochs: usize,
        seed: u64,
        trial: &TrialContext,
    ) -> Result<BTreeMap<String, Tensor>> {
        let config = SgdConfig { learning_rate: 0.1, momentum: 0.9, weight_decay: 1e-4, ..SgdConfig::default() };
        let mut optimizer = MaskedOptimizer::new(Sgd::new(self.store.trainable(), config)?, masks.clone())?;
        let mut rng = Rng::new(seed);
        let (mut step, mut state) = (0, BTreeMap::new());
        for epoch in 0..epochs {
            trial.check_cancelled()?;
            let drops = usize::from(2 * epoch >= epochs) + usize::from(4 * epoch >= 3 * epochs);
            optimizer.set_learning_rate(0.1 * 0.1f64.powi(drops as i32));
            for rows in minibatches(images.labels.len(), BATCH, Rest::Keep, &mut rng)?.iter() {
                if step == REWIND {
                    state = self.store.snapshot()?;
                }
                let (x, labels) = images.batch(rows)?;
                let logits = self.forward(&x, &Mode::recalibrate())?;
                optimizer.backward_step(&ops::cross_entropy(&logits, &labels)?)?;
                step += 1;
            }
        }
        if state.is_empty() {
            return Err(format!("the training has {step} steps, fewer than the {REWIND} of rewinding").into());
        }
        Ok(state)
    }
}

/// `conv1`, `bn1`, …
fn named(vb: &VarBuilder<'static>, name: &str, at: usize) -> VarBuilder<'static> {
    vb.pp(format!("{name}{}", at + 1))
}
