//! A network, its training and its rewinding.

use candle_core::{DType, Device, Tensor};
use core_tensor::Mode;
use core_tensor::ops;
use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::{Rest, minibatches};
use experiment::{Result, TrialContext};
use pruning::{CompileOptions, MaskedOptimizer, Masks, Model, Round, Scope, Slimming, compile};
use std::time::Instant;

pub(crate) const BATCH: usize = 128;
const REWIND: usize = 20;

/// Standardised images `[n, channels, height, width]` and their classes.
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

    pub(crate) fn image(&self) -> [usize; 3] {
        let shape = self.x.dims();
        [shape[1], shape[2], shape[3]]
    }
}

pub(crate) struct Network {
    pub(crate) model: Model,
    pub(crate) store: ParamStore,
}

impl Network {
    pub(crate) fn new(graph: &pruning::Network, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        let store = ParamStore::new(seed, dtype, device);
        Ok(Self { model: graph.build(store.var_builder())?, store })
    }

    /// The masks that keep everything of what may be pruned: all convolutions but the first.
    pub(crate) fn full(&self) -> Result<Masks> {
        let prunable = Scope::convolutions().select(&self.store)?;
        Ok(Masks::full(prunable.iter().map(|(name, var)| (name.as_str(), var.dims()))))
    }

    pub(crate) fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        Ok(self.model.forward(x, mode)?)
    }

    pub(crate) fn accuracy(&self, images: &Images) -> Result<f64> {
        let rows: Vec<u32> = (0..images.labels.len() as u32).collect();
        let mut right = 0;
        for rows in rows.chunks(500) {
            let (x, labels) = images.batch(rows)?;
            let predicted = self.forward(&x, &mut Mode::evaluate())?.argmax(1)?.to_vec1::<u32>()?;
            right += predicted.iter().zip(labels.to_vec1::<u32>()?).filter(|(a, b)| **a == *b).count();
        }
        Ok(100.0 * right as f64 / images.labels.len() as f64)
    }

    /// Milliseconds of a batch in the compiled network with these masks, on the CPU: the shortest of some runs.
    pub(crate) fn milliseconds(&self, images: &Images, masks: &Masks) -> Result<f64> {
        let compiled = compile(self.model.network(), &self.store, masks, &CompileOptions::default())?;
        let rows: Vec<u32> = (0..images.labels.len().min(BATCH) as u32).collect();
        let x = images.batch(&rows)?.0.to_device(&Device::Cpu)?;
        let mut best = f64::INFINITY;
        for _ in 0..8 {
            let start = Instant::now();
            std::hint::black_box(compiled.forward(&x)?);
            best = best.min(1e3 * start.elapsed().as_secs_f64());
        }
        Ok(best)
    }

    /// Trains with masks, a tenth of the rate from half of the epochs on and a hundredth from three quarters on. A round of a search is told of the rewinding step.
    pub(crate) fn train(
        &self,
        images: &Images,
        masks: &Masks,
        settings: &Settings,
        mut round: Option<&mut Round<'_>>,
        trial: &TrialContext,
    ) -> Result<()> {
        let &Settings { epochs, seed, slimming } = settings;
        let config = SgdConfig { learning_rate: 0.1, momentum: 0.9, weight_decay: 1e-4, ..SgdConfig::default() };
        let mut optimizer = MaskedOptimizer::new(Sgd::new(self.store.trainable(), config)?, masks.clone())?;
        let mut rng = Rng::new(seed);
        let mut step = 0;
        for epoch in 0..epochs {
            trial.check_cancelled()?;
            let drops = usize::from(2 * epoch >= epochs) + usize::from(4 * epoch >= 3 * epochs);
            optimizer.set_learning_rate(0.1 * 0.1f64.powi(drops as i32));
            for rows in minibatches(images.labels.len(), BATCH, Rest::Keep, &mut rng)?.iter() {
                if step == REWIND
                    && let Some(round) = &mut round
                {
                    round.mark()?;
                }
                let (x, labels) = images.batch(rows)?;
                let logits = self.forward(&x, &mut Mode::recalibrate())?;
                let mut loss = ops::cross_entropy(&logits, &labels)?;
                if slimming > 0.0 {
                    let penalty = Slimming::default().penalty(self.model.network(), &self.store)?;
                    loss = ops::add(&loss, &ops::affine(&penalty, slimming, 0.0)?)?;
                }
                optimizer.backward_step(&loss)?;
                step += 1;
            }
        }
        Ok(())
    }
}

/// How long, from which seed, and with which weight of the scales' absolute values.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) epochs: usize,
    pub(crate) seed: u64,
    pub(crate) slimming: f64,
}
