//! What is trained, and how.

use candle_core::{D, DType, Device, Tensor};
use candle_nn::Module;
use core_tensor::optim::{Adam, AdamConfig, Sgd, SgdConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::{Cancellation, Rest, Trainer, minibatches};
use core_tensor::{nn, ops};
use distributed::{Communicator, DataParallel, DataParallelConfig, Launch, launch};
use std::sync::Arc;

pub(crate) const WORKERS: usize = 4;

/// Inputs `[rows, width]` and what is wanted of each row.
#[derive(Debug, Clone)]
pub(crate) struct Examples {
    pub(crate) width: usize,
    pub(crate) inputs: Vec<f32>,
    /// One class for each row, or five labels.
    pub(crate) labels: Vec<u32>,
    pub(crate) labels_per_row: usize,
}

impl Examples {
    pub(crate) fn rows(&self) -> usize {
        self.labels.len() / self.labels_per_row
    }

    fn take(&self, rows: &[u32]) -> candle_core::Result<(Tensor, Vec<u32>)> {
        let mut inputs = Vec::with_capacity(rows.len() * self.width);
        let mut labels = Vec::with_capacity(rows.len() * self.labels_per_row);
        for &row in rows {
            let row = row as usize;
            inputs.extend_from_slice(&self.inputs[row * self.width..][..self.width]);
            labels.extend_from_slice(&self.labels[row * self.labels_per_row..][..self.labels_per_row]);
        }
        Ok((Tensor::from_vec(inputs, (rows.len(), self.width), &Device::Cpu)?, labels))
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Model {
    /// Two layers and cross-entropy.
    Perceptron { hidden: usize, classes: usize },
    /// One layer without bias; each row has several labels of equal weight.
    Labels { labels: usize },
}

#[derive(Debug, Clone)]
pub(crate) struct Protocol {
    pub(crate) model: Model,
    pub(crate) batch_per_worker: usize,
    pub(crate) epochs: usize,
    pub(crate) learning_rate: f64,
    pub(crate) has_adam: bool,
    pub(crate) exchange: DataParallelConfig,
    pub(crate) seed: u64,
}

/// What a run ends with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// Percent of the held-out rows whose class, or first label, is right.
    pub(crate) accuracy: f64,
    /// Fraction of the compressed elements that were sent, over all compressed steps.
    pub(crate) sent: f64,
}

pub(crate) struct Net {
    pub(crate) store: ParamStore,
    layers: Vec<nn::Linear>,
    model: Model,
}

impl Net {
    pub(crate) fn new(model: Model, width: usize, seed: u64) -> distributed::Result<Self> {
        let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
        let vb = store.var_builder();
        let layers = match model {
            Model::Perceptron { hidden, classes } => {
                vec![nn::linear(width, hidden, vb.pp("hidden"))?, nn::linear(hidden, classes, vb.pp("head"))?]
            }
            Model::Labels { labels } => vec![nn::linear_no_bias(width, labels, vb.pp("head"))?],
        };
        Ok(Self { store, layers, model })
    }

    fn logits(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let (last, hidden) = match self.layers.split_last() {
            Some(split) => split,
            None => return Ok(x.clone()),
        };
        let mut x = x.clone();
        for layer in hidden {
            x = ops::relu(&layer.forward(&x)?)?;
        }
        last.forward(&x)
    }

    pub(crate) fn loss(&self, x: &Tensor, labels: Vec<u32>) -> distributed::Result<Tensor> {
        let (logits, rows) = (self.logits(x)?, x.dims()[0]);
        match self.model {
            Model::Perceptron { .. } => {
                Ok(ops::cross_entropy(&logits, &Tensor::from_vec(labels, rows, &Device::Cpu)?)?)
            }
            Model::Labels { .. } => {
                // the divergence of the softmax from equal weights on the labels, without its constant
                let each = labels.len() / rows.max(1);
                let labels = Tensor::from_vec(labels, (rows, each), &Device::Cpu)?;
                let chosen = ops::log_softmax(&logits)?.gather(&labels, 1)?;
                Ok((chosen.sum_all()? * (-1. / (rows * each) as f64))?)
            }
        }
    }
}

/// Trains by [`WORKERS`] threads and evaluates on the held-out rows.
pub(crate) fn train(
    protocol: &Protocol,
    training: &Examples,
    held_out: &Examples,
    cancellation: &Cancellation,
) -> distributed::Result<Outcome> {
    let work = |ranks: Arc<dyn Communicator>| run(protocol, training, held_out, ranks, cancellation);
    let results: Vec<Option<Outcome>> = launch(Launch::threads(WORKERS), work)?;
    let first = results.into_iter().flatten().next();
    first.ok_or_else(|| distributed::Error::Thread { reason: "rank 0 has no result".to_owned() })
}

fn run(
    protocol: &Protocol,
    training: &Examples,
    held_out: &Examples,
    ranks: Arc<dyn Communicator>,
    cancellation: &Cancellation,
) -> distributed::Result<Option<Outcome>> {
    let net = Net::new(protocol.model, training.width, protocol.seed)?;
    let learning_rate = protocol.learning_rate;
    let trainer = if protocol.has_adam {
        Trainer::new(Adam::new(&net.store, AdamConfig { learning_rate, ..AdamConfig::default() })?)
    } else {
        Trainer::new(Sgd::new(&net.store, SgdConfig { learning_rate, ..SgdConfig::default() })?)
    };
    let mut trainer = trainer.hook(DataParallel::new(&net.store, ranks.clone(), protocol.exchange.clone())?);
    let mut order = Rng::new(protocol.seed).fork("order");
    let (mut sent, mut elements) = (0usize, 0usize);
    for _ in 0..protocol.epochs {
        for batch in &minibatches(training.rows(), protocol.batch_per_worker * WORKERS, Rest::Drop, &mut order)? {
            cancellation.check()?;
            let own = &batch[ranks.rank() * protocol.batch_per_worker..][..protocol.batch_per_worker];
            let (x, labels) = training.take(own)?;
            trainer.step(&net.loss(&x, labels)?)?;
            let Some(exchange) = trainer.find_hook::<DataParallel>() else { continue };
            if exchange.step() > protocol.exchange.dense_steps {
                for (_, statistics) in exchange.statistics().iter().filter(|(name, _)| !name.starts_with("bucket")) {
                    sent += statistics.sent;
                    elements += statistics.elements;
                }
            }
        }
    }
    if ranks.rank() != 0 {
        return Ok(None);
    }
    let rows: Vec<u32> = (0..held_out.rows() as u32).collect();
    let mut right = 0;
    for part in rows.chunks(1000) {
        let (x, labels) = held_out.take(part)?;
        let best = net.logits(&x)?.argmax(D::Minus1)?.to_vec1::<u32>()?;
        right +=
            best.iter().zip(labels.chunks(held_out.labels_per_row)).filter(|(b, wanted)| wanted.contains(b)).count();
    }
    let accuracy = 100. * right as f64 / rows.len() as f64;
    Ok(Some(Outcome { accuracy, sent: if elements == 0 { 1. } else { sent as f64 / elements as f64 } }))
}

/// Ten Gaussians in 100 dimensions, means of deviation 0.35, unit noise: 8,000 and 2,000 rows.
pub(crate) fn mixture(seed: u64) -> (Examples, Examples) {
    const WIDTH: usize = 100;
    let mut rng = Rng::new(seed).fork("mixture");
    let mut normal = || rand_distr::Distribution::<f64>::sample(&rand_distr::StandardNormal, &mut rng) as f32;
    let means: Vec<f32> = (0..10 * WIDTH).map(|_| 0.35 * normal()).collect();
    let mut part = |rows: usize| {
        let labels: Vec<u32> = (0..rows).map(|row| (row % 10) as u32).collect();
        let inputs = labels.iter().flat_map(|&label| {
            let mean = &means[label as usize * WIDTH..][..WIDTH];
            mean.iter().map(|mean| mean + normal()).collect::<Vec<_>>()
        });
        Examples { width: WIDTH, inputs: inputs.collect(), labels, labels_per_row: 1 }
    };
    (part(8000), part(2000))
}

/// 6,000 rows of 1,024 normal features; the five largest of 2,000 sparse linear scores with noise are the labels of a row. The last 1,000 rows are held out.
pub(crate) fn labels(seed: u64) -> (Examples, Examples) {
    const WIDTH: usize = 1024;
    const LABELS: usize = 2000;
    const NONZERO: usize = 32;
    const ROWS: usize = 6000;
    const HELD_OUT: usize = 1000;
    const EACH: usize = 5;
    let base = Rng::new(seed).fork("labels");
    let (mut rng, mut noise) = (base.fork("features"), base.fork("noise"));
    let mut weights = base.fork("weights");
    let draw = |rng: &mut Rng| rand_distr::Distribution::<f64>::sample(&rand_distr::StandardNormal, rng) as f32;
    let columns: Vec<Vec<(u32, f32)>> = (0..LABELS)
        .map(|_| {
            let rows = weights.sample_without_replacement(WIDTH, NONZERO);
            rows.into_iter().map(|row| (row, draw(&mut weights))).collect()
        })
        .collect();
    let (mut inputs, mut labels) = (Vec::with_capacity(ROWS * WIDTH), Vec::with_capacity(ROWS * EACH));
    for _ in 0..ROWS {
        let x: Vec<f32> = (0..WIDTH).map(|_| draw(&mut rng)).collect();
        let mut scores: Vec<(f32, u32)> = columns
            .iter()
            .zip(0..)
            .map(|(column, label)| {
                let score: f32 = column.iter().map(|&(row, weight)| weight * x[row as usize]).sum();
                (score + 0.1 * draw(&mut noise), label)
            })
            .collect();
        scores.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        labels.extend(scores.iter().take(EACH).map(|&(_, label)| label));
        inputs.extend(x);
    }
    let rest = inputs.split_off((ROWS - HELD_OUT) * WIDTH);
    let rest_labels = labels.split_off((ROWS - HELD_OUT) * EACH);
    let part = |inputs, labels| Examples { width: WIDTH, inputs, labels, labels_per_row: EACH };
    (part(inputs, labels), part(rest, rest_labels))
}
