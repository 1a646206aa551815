//! Training of super-nets and of single children, and their scores.

use crate::data::Data;
use crate::problem::Fallible;
use candle_core::{DType, Device, Tensor};
use core_tensor::Mode;
use core_tensor::ops;
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::schedule::Schedule;
use core_tensor::train::{Rest, minibatches};
use nas::{Architecture, Blueprint, Fair, Gradual, Output, SearchSpace, StepOptions, SuperNet, Uniform, train_step};

/// Which architectures the super-net trains, step after step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sampler {
    /// One at random (SPOS)
    Uniform,
    /// As many as candidates, which together use each operator once (FairNAS)
    Fair,
    /// One that differs from that before in one layer (MAGIC-T)
    Gradual,
}

type Paths = Box<dyn Iterator<Item = nas::Result<Vec<Architecture>>>>;

impl Sampler {
    pub(crate) fn paths(self, space: &SearchSpace, seed: u64) -> nas::Result<Paths> {
        let one = |found: nas::Result<Architecture>| found.map(|architecture| vec![architecture]);
        Ok(match self {
            Self::Uniform => Box::new(Uniform::new(space, seed).map(one)),
            Self::Fair => Box::new(Fair::new(space, seed)?.map(Ok)),
            Self::Gradual => Box::new(Gradual::new(space, seed)?.map(one)),
        })
    }
}

/// How everything is trained: Adam with a warm-up of a twentieth of the steps, then a straight line to a tenth of the rate, gradients clipped to a norm of 5.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(crate) struct Recipe {
    pub(crate) batch: usize,
    pub(crate) learning_rate: f64,
    pub(crate) seed: u64,
}

/// The mean cross-entropy of a batch.
pub(crate) fn loss_of(labels: &Tensor) -> impl Fn(&Output) -> nas::Result<Tensor> + '_ {
    |output| Ok(ops::cross_entropy(&output.prediction, labels)?)
}

impl Recipe {
    /// Takes so many updates, or fewer where there are fewer paths; tells `after` the number and the loss of each.
    pub(crate) fn train(
        self,
        net: &SuperNet,
        data: &Data,
        paths: impl Iterator<Item = nas::Result<Vec<Architecture>>>,
        steps: usize,
        mut after: impl FnMut(usize, &[Architecture], f64) -> Fallible<()>,
    ) -> Fallible<()> {
        let config = AdamConfig { learning_rate: self.learning_rate, ..AdamConfig::default() };
        let mut optimizer = Adam::new(net.store().trainable(), config)?;
        let warm_up = (steps as u64 / 20).max(1);
        let falling = Schedule::Linear { steps: (steps as u64).saturating_sub(warm_up).max(1), minimum: 0.1 };
        let schedule = Schedule::Warmup { steps: warm_up, then: Box::new(falling) };
        let size = self.batch.min(data.len());
        let mut rng = Rng::new(self.seed).fork("batches");
        let mut paths = paths.take(steps).enumerate();
        loop {
            for rows in minibatches(data.len(), size, Rest::Drop, &mut rng)?.iter() {
                let Some((step, path)) = paths.next() else { return Ok(()) };
                let path = path?;
                let (x, labels) = data.batch(rows)?;
                optimizer.set_learning_rate(self.learning_rate * schedule.factor(step as u64));
                let options = StepOptions { step: step as u64, clip: Some(5.0), alignment: None };
                let done = train_step(net, &mut optimizer, &x, &path, &loss_of(&labels), &options)?;
                after(step, &path, done.loss)?;
            }
        }
    }

    /// An architecture trained alone, from values of its own.
    pub(crate) fn alone(
        self,
        blueprint: &dyn Fn(SearchSpace) -> Blueprint,
        (space, architecture): (&SearchSpace, &Architecture),
        data: &Data,
        steps: usize,
    ) -> Fallible<SuperNet> {
        let names = space.names(architecture)?.into_iter().map(|name| vec![name.to_owned()]).collect();
        let own = SearchSpace::new(names)?;
        let store = ParamStore::new(self.seed, DType::F32, &Device::Cpu);
        let net = blueprint(own.clone()).build(&store, &data.batch(&[0, 1])?.0)?;
        self.train(&net, data, Sampler::Uniform.paths(&own, 0)?, steps, |_, _, _| Ok(()))?;
        Ok(net)
    }
}

/// A network of one child, with its only architecture.
pub(crate) fn only(net: &SuperNet) -> Architecture {
    Architecture(vec![0; net.space().num_layers()])
}

/// How good a single network is on data.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(crate) struct Quality {
    pub(crate) loss: f64,
    /// In percent.
    pub(crate) accuracy: f64,
    /// The standard error of the accuracy over rows, in percent.
    pub(crate) error: f64,
}

/// A single network in evaluation, with the running statistics of its batch norms.
pub(crate) fn quality(net: &SuperNet, data: &Data) -> Fallible<Quality> {
    let (mut loss, mut right) = (0.0, 0.0);
    for (x, labels) in data.in_order(512)? {
        let logits = net.forward(&x, &only(net), &mut Mode::evaluate())?.prediction.detach();
        let count = labels.dims1()? as f64;
        loss += count * f64::from(ops::cross_entropy(&logits, &labels)?.to_scalar::<f32>()?);
        right += f64::from(logits.argmax(1)?.eq(&labels)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?);
    }
    let n = data.len() as f64;
    let p = right / n;
    Ok(Quality { loss: loss / n, accuracy: 100.0 * p, error: 100.0 * (p * (1.0 - p) / n).sqrt() })
}

/// The mean loss of an architecture of a super-net with the weights that it shares, batch norms seeing the batch.
pub(crate) fn shared_loss(
    net: &SuperNet,
    batches: &[(Tensor, Tensor)],
    architecture: &Architecture,
) -> nas::Result<f64> {
    let (mut loss, mut rows) = (0.0, 0.0);
    for (x, labels) in batches {
        let score = |logits: &Tensor| Ok(f64::from(ops::cross_entropy(logits, labels)?.to_scalar::<f32>()?));
        let count = labels.dims1()? as f64;
        loss += count * nas::score_all(net, x, std::slice::from_ref(architecture), score)?[0];
        rows += count;
    }
    Ok(loss / rows)
}

/// The loss of always saying how frequent classes are in training (each counted once more, so that none is impossible).
pub(crate) fn guessing(train: &Data, other: &Data) -> f64 {
    let classes = train.classes().max(other.classes());
    let mut counts = vec![1.0f64; classes];
    train.labels.iter().for_each(|&label| counts[label as usize] += 1.0);
    let sum: f64 = counts.iter().sum();
    other.labels.iter().map(|&label| -(counts[label as usize] / sum).ln()).sum::<f64>() / other.len() as f64
}
