//! `tiny-image`: MNIST at 14 × 14, four layers of convolutions with batch norms. Nothing is judged by it: no independent program measured it.

use crate::network::Classifier;
use crate::training::{Method, paths, rate};
use candle_core::{DType, Device, Tensor};
use core_tensor::Mode;
use core_tensor::ops;
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::{Rest, minibatches};
use datasets::images::{LabelledImages, load_mnist};
use datasets::synthetic::{DigitConfig, digits};
use experiment::{Axis, Context, Measured, Plot, Result, Series, Table, Trial, TrialContext, statistics};
use nas::interference::AtDistance;
use nas::ranking::{agreement, ceiling, paired_tau};
use nas::{
    AlignmentConfig, Anchor, AnchorPolicy, AnchorScore, Architecture, Losses, Output, Probe, SearchSpace, StepOptions,
    SuperNet, score_all, train_step,
};
use serde::{Deserialize, Serialize};

const SIDE: usize = 14;
const OPERATORS: [&str; 4] = ["conv3", "sep3", "sep5", "identity"];
const LAYERS: usize = 4;
const CHANNELS: usize = 16;
const CLASSES: usize = 10;
const ARCHITECTURES: usize = 32;
const TRUTH_SEEDS: u64 = 2;
const SEEDS: u64 = 4;
const BATCH: usize = 64;
/// Images of a batch in evaluation, of whose own statistics the batch norms of shared weights make use.
const SCORED: usize = 1000;
/// What half of an hour on two cores leaves for images; chosen by time, before any result was seen.
const TRUTH_EPOCHS: usize = 4;
const EPOCHS: usize = 12;
const METHODS: [Method; 4] = [Method::Spos, Method::MagicT, Method::MagicA, Method::MagicAt];

/// Standardised images with their classes.
struct Images {
    x: Tensor,
    labels: Vec<u32>,
}

impl Images {
    fn batch(&self, rows: &[u32]) -> Result<(Tensor, Tensor)> {
        let labels: Vec<u32> = rows.iter().map(|&row| self.labels[row as usize]).collect();
        Ok((self.x.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?, Tensor::new(labels, &Device::Cpu)?))
    }

    fn batches(&self) -> Result<Vec<(Tensor, Tensor)>> {
        let rows: Vec<u32> = (0..self.labels.len() as u32).collect();
        rows.chunks(SCORED).map(|rows| self.batch(rows)).collect()
    }
}

/// Every second pixel of some images.
fn small(images: &LabelledImages, rows: std::ops::Range<usize>) -> (Vec<f32>, Vec<u32>) {
    let mut values = Vec::with_capacity(rows.len() * SIDE * SIDE);
    for image in images.pixels.chunks_exact(images.image_size()).skip(rows.start).take(rows.len()) {
        for row in (0..images.height).step_by(2) {
            values.extend((0..images.width).step_by(2).map(|column| f32::from(image[row * images.width + column])));
        }
    }
    (values, images.labels[rows].iter().map(|&label| label.into()).collect())
}

struct Parts {
    train: Images,
    /// What children are scored on.
    scored: Images,
    /// What the anchor is chosen by: 256 images that nothing else uses.
    anchor: (Tensor, Tensor),
    test: Images,
    name: &'static str,
}

fn parts(context: &Context) -> Result<Parts> {
    let (train, test, name) = match context.is_synthetic() {
        true => {
            let drawn = |count: usize, seed: &str| digits(count, &DigitConfig::default(), context.seed_of(seed));
            (drawn(11_256, "digits")?, drawn(10_000, "test digits")?, "drawn digits 14 x 14")
        }
        false => {
            let mnist = load_mnist(&reproduction::store(context)?, "mnist")?;
            (mnist.train, mnist.test, "MNIST 14 x 14")
        }
    };
    let first = small(&train, 0..6000);
    let n = first.0.len() as f32;
    let mean = first.0.iter().sum::<f32>() / n;
    let deviation = (first.0.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / n).sqrt();
    let images = |(values, labels): (Vec<f32>, Vec<u32>)| -> Result<Images> {
        let values: Vec<f32> = values.into_iter().map(|value| (value - mean) / deviation).collect();
        Ok(Images { x: Tensor::from_vec(values, (labels.len(), 1, SIDE, SIDE), &Device::Cpu)?, labels })
    };
    let anchor = images(small(&train, 11_000..11_256))?;
    Ok(Parts {
        train: images(first)?,
        scored: images(small(&train, 6000..11_000))?,
        anchor: anchor.batch(&(0..256).collect::<Vec<_>>())?,
        test: images(small(&test, 0..test.len()))?,
        name,
    })
}

fn space() -> Result<SearchSpace> {
    Ok(SearchSpace::uniform(LAYERS, &OPERATORS)?)
}

fn build(seed: u64) -> Result<SuperNet> {
    let classifier = Classifier::Images { channels: 1, width: CHANNELS, stride: 1, classes: CLASSES };
    let example = Tensor::zeros((2, 1, SIDE, SIDE), DType::F32, &Device::Cpu)?;
    Ok(classifier.blueprint(space()?).build(&ParamStore::new(seed, DType::F32, &Device::Cpu), &example)?)
}

fn loss_of(labels: &Tensor) -> impl Fn(&Output) -> nas::Result<Tensor> + '_ {
    |output| Ok(ops::cross_entropy(&output.prediction, labels)?)
}

/// As the language's super-nets: Adam, 50 steps of warm-up, a line to a tenth of the rate, gradients clipped to 1.
fn train(
    net: &SuperNet,
    paths: &[Vec<Architecture>],
    mut anchor: Option<Anchor>,
    parts: &Parts,
    seed: u64,
    trial: &TrialContext,
) -> Result<()> {
    let mut optimizer = Adam::new(net.store().trainable(), AdamConfig::default())?;
    let mut rng = Rng::new(seed).fork("batches");
    let mut steps = paths.iter().enumerate();
    loop {
        trial.check_cancelled()?;
        for rows in minibatches(parts.train.labels.len(), BATCH, Rest::Drop, &mut rng)?.iter() {
            let Some((step, path)) = steps.next() else { return Ok(()) };
            let (x, labels) = parts.train.batch(rows)?;
            optimizer.set_learning_rate(rate(step, paths.len()));
            if let Some(anchor) = &mut anchor {
                anchor.observe(step as u64, &path[0], |child| {
                    let (x, labels) = &parts.anchor;
                    let score = |logits: &Tensor| {
                        let right = logits.argmax(1)?.eq(labels)?.to_dtype(DType::F64)?.mean_all()?;
                        let loss = f64::from(ops::cross_entropy(logits, labels)?.to_scalar::<f32>()?);
                        Ok(AnchorScore { accuracy: right.to_scalar()?, loss })
                    };
                    Ok(score_all(net, x, std::slice::from_ref(child), score)?[0])
                })?;
            }
            let current = anchor.as_ref().and_then(Anchor::current);
            let alignment = current.map(|current| (current, AlignmentConfig::measured()));
            let options = StepOptions { step: step as u64, clip: Some(1.0), alignment };
            train_step(net, &mut optimizer, &x, path, &loss_of(&labels), &options)?;
        }
    }
}

/// The mean loss of one architecture, and its accuracy, in evaluation: the running statistics are its own.
fn alone(net: &SuperNet, architecture: &Architecture, images: &Images) -> Result<(f64, f64)> {
    let (mut losses, mut rights) = (Vec::new(), Vec::new());
    for (x, labels) in images.batches()? {
        let logits = net.forward(&x, architecture, &mut Mode::evaluate())?.prediction.detach();
        losses.push(f64::from(ops::cross_entropy(&logits, &labels)?.to_scalar::<f32>()?));
        let right = logits.argmax(1)?.eq(&labels)?.to_dtype(DType::F64)?.mean_all()?;
        rights.push(right.to_scalar::<f64>()?);
    }
    Ok((statistics::mean(&losses), statistics::mean(&rights)))
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    losses: Vec<f64>,
    distances: Vec<AtDistance>,
}

pub(crate) fn run(context: &mut Context) -> Result<()> {
    let parts = parts(context)?;
    let space = space()?;
    let architectures = space.sample_distinct(ARCHITECTURES, &mut Rng::new(context.seed_of("image architectures")))?;
    let of_epoch = parts.train.labels.len() / BATCH;
    let mut trials = Vec::new();
    for seed in 0..TRUTH_SEEDS {
        trials.extend(architectures.iter().map(|a| Trial::new(format!("{a}-seed-{seed}"), (a.clone(), seed))));
    }
    let truth = context.trials("image-truth", trials, |(architecture, seed): &(Architecture, u64), trial| {
        let net = build(1000 + seed)?;
        let paths = vec![vec![architecture.clone()]; TRUTH_EPOCHS * of_epoch];
        train(&net, &paths, None, &parts, 1000 + seed, trial)?;
        alone(&net, architecture, &parts.test)
    })?;
    let mut trials = Vec::new();
    for seed in 0..SEEDS {
        let of = |method: Method| Trial::new(format!("{}, seed {seed}", method.name()), (method, seed));
        trials.extend(METHODS.map(of));
    }
    let nets = context.trials("image-nets", trials, |&(method, seed): &(Method, u64), trial| {
        let net = build(seed)?;
        let steps = EPOCHS * of_epoch;
        let anchor = match method {
            Method::MagicA | Method::MagicAt => {
                Some(Anchor::new(AnchorPolicy::Replaced { warm_up: steps as u64 / 10, candidates: 8, every: 50 })?)
            }
            _ => None,
        };
        train(&net, &paths(method, &net, steps, seed)?, anchor, &parts, seed, trial)?;
        let mut sums = vec![0.0; architectures.len()];
        let batches = parts.scored.batches()?;
        for (x, labels) in &batches {
            let score = |logits: &Tensor| Ok(f64::from(ops::cross_entropy(logits, labels)?.to_scalar::<f32>()?));
            let own = score_all(&net, x, &architectures, score)?;
            sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own / batches.len() as f64);
        }
        let (x, labels) = parts.train.batch(&(0..256).collect::<Vec<_>>())?;
        let distances = Probe::new(&net, &x, &loss_of(&labels)).by_distance(30, seed)?;
        Ok(Found { losses: sums, distances })
    })?;
    let truth: Vec<(f64, f64)> = truth.all()?;
    let found: Vec<Found> = nets.all()?;
    report(context, &parts, &truth, &found)
}

fn report(context: &mut Context, parts: &Parts, truth: &[(f64, f64)], found: &[Found]) -> Result<()> {
    let of_seed = |seed: usize| -> Result<Losses> {
        let own = &truth[seed * ARCHITECTURES..(seed + 1) * ARCHITECTURES];
        Ok(Losses::new(own.iter().map(|found| found.0).collect())?)
    };
    let mean: Vec<f64> =
        (0..ARCHITECTURES).map(|at| (truth[at].0 + truth[ARCHITECTURES + at].0) / TRUTH_SEEDS as f64).collect();
    let accuracies: Vec<f64> = truth.iter().map(|found| 100.0 * found.1).collect();
    let ends = |values: &[f64]| {
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
    };
    let (least, largest) = ends(&accuracies);
    let ceiling = ceiling(&of_seed(0)?, &of_seed(1)?)?;
    let mean = Losses::new(mean)?;
    let of = |method: usize| found.iter().skip(method).step_by(METHODS.len());
    let scores = |method: usize| -> Result<Vec<Losses>> {
        Ok(of(method).map(|found| Losses::new(found.losses.clone())).collect::<nas::Result<_>>()?)
    };
    let taus = |method: usize| -> Result<Vec<f64>> {
        scores(method)?.iter().map(|scores| Ok(agreement(scores, &mean)?.kendall)).collect()
    };
    let spos = taus(0)?;
    let similarity = |distance: usize, of_loss: bool| {
        let at = |found: &Found| found.distances.iter().find(|at| at.distance == distance).copied();
        let own = of(0).filter_map(at).map(|at| if of_loss { at.loss } else { at.cosine.mean });
        statistics::mean(&own.collect::<Vec<_>>())
    };
    let note = format!(
        "SPOS, {SEEDS} seeds, {ARCHITECTURES} architectures (alone {least:.1} to {largest:.1} % right); ceiling {ceiling:.2}; similarity of gradients {:.3}, {:.3}, {:.3} at distances 1 to 3, mean loss of the children {:.2}",
        similarity(1, false),
        similarity(2, false),
        similarity(3, false),
        similarity(1, true),
    );
    let is_synthetic = context.is_synthetic();
    context.claim("images", Measured { is_synthetic, note: Some(note), ..Measured::mean_of(&spos, parts.name) })?;
    let mut table = Table::new(["method", "tau, each seed", "mean", "less SPOS", "95 % over seeds", "seeds for power"]);
    for (at, method) in METHODS.iter().enumerate() {
        let own = taus(at)?;
        let shown: Vec<String> = own.iter().map(|tau| format!("{tau:.3}")).collect();
        let mut row = vec![method.name().to_owned(), shown.join(", "), format!("{:.3}", statistics::mean(&own))];
        row.extend(match at {
            0 => [String::new(), String::new(), String::new()],
            _ => {
                let pair = paired_tau(&scores(at)?, &scores(0)?, &mean, 2000, context.seed_of("image bootstrap"))?;
                let (difference, low, high) = pair.over_seeds;
                let power = pair.seeds_for_power.map_or("none".to_owned(), |seeds| seeds.to_string());
                [format!("{difference:+.3}"), format!("{low:+.3} to {high:+.3}"), power]
            }
        });
        table.rows.push(row);
    }
    context.table(&format!("Kendall's tau on {}", parts.name), table);
    let series = METHODS.iter().enumerate().map(|(at, method)| {
        let y = (1..LAYERS).map(|distance| {
            let at_distance = |found: &Found| found.distances.iter().find(|at| at.distance == distance).copied();
            statistics::mean(&of(at).filter_map(at_distance).map(|at| at.cosine.mean).collect::<Vec<_>>())
        });
        Series::new(method.name(), (1..LAYERS).map(|distance| distance as f64).collect(), y.collect())
    });
    let series = series.collect();
    let (x, y) = (Axis::linear("layers in which children differ"), Axis::linear("similarity of gradients"));
    context.plot("images-distance", Plot::lines(format!("Interference on {}", parts.name), x, y, series))
}
