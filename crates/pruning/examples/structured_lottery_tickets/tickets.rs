//! Tickets on MNIST at a quarter of its size, and on generated images.

use crate::network::{BATCH, Images, Network, Settings};
use candle_core::{DType, Device, Tensor};
use core_tensor::Mode;
use core_tensor::ops;
use core_tensor::random::Rng;
use datasets::images::{LabelledImages, load_mnist};
use experiment::{Axis, Context, Measured, Outcome, Plot, Result, Series, Table, Trial, TrialContext, statistics};
use pruning::scores::{GraspForm, grasp, magnitude, random, snip, synflow};
use pruning::{
    Block, Mask, Masks, Parts, Refill, Regroup, Scope, Scores, Selection, Slimming, Ticket, TicketOptions, Tickets,
    one_shot, select, union,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const SIDE: usize = 14;
const ROUNDS: usize = 8;
const EPOCHS: usize = 4;
/// As many steps as on MNIST, of which there are three times as many images.
const GENERATED_EPOCHS: usize = 3 * EPOCHS;
const SEEDS: u64 = 5;
const METHODS: [&str; 12] = [
    "Refill",
    "Refill+",
    "Regroup",
    "random blocks",
    "random",
    "permuted",
    "OMP",
    "SNIP",
    "GraSP",
    "SynFlow",
    "slimming",
    "small dense",
];
/// The weight of the scales' absolute values in the training before slimming.
const SLIMMING: f64 = 1e-4;

/// Accuracy in %, and the density of what may be pruned.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) density: f64,
    pub(crate) accuracy: f64,
    /// Milliseconds of a batch in the compiled network.
    #[serde(default)]
    pub(crate) milliseconds: Option<f64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) dense: f64,
    /// Milliseconds of a batch in the compiled dense network.
    #[serde(default)]
    dense_milliseconds: Option<f64>,
    /// The dense network once more, from the rewinding step, with the steps of a ticket.
    longer: f64,
    /// The scattered ticket of each round, from the first.
    pub(crate) imp: Vec<Point>,
    /// Of each method at rounds 2, 4, 6, 8.
    pub(crate) methods: BTreeMap<String, Vec<(usize, Point)>>,
    /// Layers with blocks, of those that may be pruned.
    with_blocks: Vec<(usize, usize)>,
}

pub(crate) fn run(context: &mut Context, is_generated: bool) -> Result<Outcome<Found>> {
    let device = reproduction::device(context)?;
    if is_generated {
        return context.trials("generated", vec![Trial::new("templates", ())], |(), trial| {
            let (train, test) = generated(trial.seed(), &device)?;
            follow(&small_cnn()?, (&train, &test), &protocol(2, GENERATED_EPOCHS), trial, &device)
        });
    }
    let mnist = load_mnist(&reproduction::store(context)?, "mnist")?;
    let (train, test) = (small(&mnist.train, 6000), small(&mnist.test, usize::MAX));
    let (mean, deviation) = {
        let values = &train.0;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        (mean, square.sqrt())
    };
    let images = |(values, labels): (Vec<f64>, Vec<u32>)| -> Result<Images> {
        let values: Vec<f32> = values.into_iter().map(|value| ((value - mean) / deviation) as f32).collect();
        Ok(Images { x: Tensor::from_vec(values, (labels.len(), 1, SIDE, SIDE), &device)?, labels })
    };
    let (train, test) = (images(train)?, images(test)?);
    let trials = (0..SEEDS).map(|seed| Trial::new(format!("seed-{seed}"), seed)).collect();
    context.trials("mnist", trials, |_: &u64, trial| {
        let protocol = Protocol { methods: &METHODS, ..protocol(ROUNDS, EPOCHS) };
        follow(&small_cnn()?, (&train, &test), &protocol, trial, &device)
    })
}

/// Every second pixel of the first images.
fn small(images: &LabelledImages, count: usize) -> (Vec<f64>, Vec<u32>) {
    let count = count.min(images.len());
    let size = images.image_size();
    let mut values = Vec::with_capacity(count * SIDE * SIDE);
    for image in images.pixels.chunks_exact(size).take(count) {
        for row in (0..images.height).step_by(2) {
            values.extend((0..images.width).step_by(2).map(|column| f64::from(image[row * images.width + column])));
        }
    }
    (values, images.labels[..count].iter().map(|&label| label.into()).collect())
}

/// Templates of ten classes, shifted by at most a pixel, with noise.
fn generated(seed: u64, device: &Device) -> Result<(Images, Images)> {
    let rng = Rng::new(seed);
    let templates: Vec<f64> =
        rng.fork("templates").normal(0.0, 1.0, 10 * SIDE * SIDE, DType::F64, &Device::Cpu)?.to_vec1()?;
    let draw = |name: &str, count: usize| -> Result<Images> {
        let mut rng = rng.fork(name);
        let mut values: Vec<f32> = rng.normal(0.0, 1.0, count * SIDE * SIDE, DType::F32, &Device::Cpu)?.to_vec1()?;
        let mut labels = Vec::with_capacity(count);
        for image in values.chunks_exact_mut(SIDE * SIDE) {
            let label = rng.below(10);
            let (down, right) = (rng.below(3), rng.below(3));
            for row in 0..SIDE {
                for column in 0..SIDE {
                    // shifts of -1, 0 and 1; what comes in is empty
                    let (from, at) = ((row + down).checked_sub(1), (column + right).checked_sub(1));
                    if let (Some(from), Some(at)) = (from.filter(|&r| r < SIDE), at.filter(|&c| c < SIDE)) {
                        image[row * SIDE + column] += templates[(label * SIDE + from) * SIDE + at] as f32;
                    }
                }
            }
            labels.push(label as u32);
        }
        Ok(Images { x: Tensor::from_vec(values, (count, 1, SIDE, SIDE), device)?, labels })
    };
    Ok((draw("training", 2000)?, draw("test", 1000)?))
}

fn small_cnn() -> Result<pruning::Network> {
    Ok(pruning::Network::small_cnn([1, SIDE, SIDE], 10)?)
}

/// What is run: rounds of pruning, epochs of each training, and the methods at every second round.
#[derive(Clone, Copy)]
pub(crate) struct Protocol<'a> {
    pub(crate) rounds: usize,
    pub(crate) epochs: usize,
    pub(crate) methods: &'a [&'a str],
}

fn protocol(rounds: usize, epochs: usize) -> Protocol<'static> {
    Protocol { rounds, epochs, methods: &[] }
}

/// The trajectory of iterative pruning, and at even rounds all that is made of its masks.
pub(crate) fn follow(
    graph: &pruning::Network,
    (train, test): (&Images, &Images),
    protocol: &Protocol<'_>,
    trial: &TrialContext,
    device: &Device,
) -> Result<Found> {
    let &Protocol { rounds, epochs, methods: chosen } = protocol;
    let seed = trial.seed();
    let network = Network::new(graph, seed, DType::F32, device)?;
    let initial = network.store.snapshot()?;
    let full = network.full()?;
    let settings = |round: usize| Settings { epochs, seed: seed + round as u64, slimming: 0.0 };
    let options = TicketOptions { rounds, ..TicketOptions::default() };
    let mut tickets = Tickets::new(network.store.clone(), &Scope::convolutions(), options)?;
    let mut accuracies = Vec::new();
    let searched = tickets.run(None, |round| {
        let mut train = || -> Result<f64> {
            let masks = round.masks().clone();
            network.train(train, &masks, &settings(round.index()), Some(round), trial)?;
            let accuracy = network.accuracy(test)?;
            if round.index() > 0 {
                let line = format!("density {:.3}, accuracy {accuracy:.2} %", masks.density());
                trial.epoch(round.index(), rounds, &line);
            }
            Ok(accuracy)
        };
        accuracies.push(train().map_err(|error| candle_core::Error::Msg(error.to_string()))?);
        Ok(())
    });
    trial.check_cancelled()?;
    searched?;
    let dense = accuracies[0];
    let imp: Vec<Point> = tickets
        .found()
        .iter()
        .zip(&accuracies[1..])
        .map(|(ticket, &accuracy)| {
            network.store.restore(&ticket.trained)?;
            let milliseconds = Some(network.milliseconds(test, &ticket.masks)?);
            Ok(Point { density: ticket.masks.density(), accuracy, milliseconds })
        })
        .collect::<Result<_>>()?;
    network.store.restore(tickets.dense()?)?;
    let dense_milliseconds = Some(network.milliseconds(test, &full)?);
    let retrain = |masks: &Masks, round: usize, start: &dyn Fn(&Masks) -> Result<()>| -> Result<Point> {
        start(masks)?;
        network.train(train, masks, &settings(round), None, trial)?;
        let weights: Masks = masks
            .iter()
            .filter(|(name, _)| full.get(name).is_some())
            .map(|(name, mask)| (name.to_owned(), mask.clone()))
            .collect();
        let milliseconds = Some(network.milliseconds(test, masks)?);
        Ok(Point { density: weights.density(), accuracy: network.accuracy(test)?, milliseconds })
    };
    let rewound = |masks: &Masks| -> Result<()> { Ok(tickets.rewind(masks)?) };
    let anew = |masks: &Masks| -> Result<()> {
        network.store.restore(&initial)?;
        Ok(masks.apply(&network.store)?)
    };
    let longer = retrain(&full, 1, &rewound)?.accuracy;
    let mut methods: BTreeMap<String, Vec<(usize, Point)>> = BTreeMap::new();
    let mut with_blocks = Vec::new();
    let magnitudes_of = |state: &BTreeMap<String, Tensor>| -> Result<Scores> {
        network.store.restore(state)?;
        Ok(magnitude(&Scope::convolutions().select(&network.store)?)?)
    };
    let of_dense = magnitudes_of(tickets.dense()?)?;
    let slim = if chosen.contains(&"slimming") {
        anew(&full)?;
        network.train(train, &full, &Settings { slimming: SLIMMING, ..settings(0) }, None, trial)?;
        Some(network.store.snapshot()?)
    } else {
        None
    };
    for ticket in tickets.found().iter().filter(|ticket| ticket.round % 2 == 0 && !chosen.is_empty()) {
        let round = ticket.round;
        let sources = Sources {
            network: &network,
            initial: &initial,
            full: &full,
            masks: &ticket.masks,
            weights: &magnitudes_of(&ticket.made_of)?,
            of_dense: &of_dense,
            slim: slim.as_ref(),
            train,
            seed: seed + round as u64,
        };
        for &method in chosen {
            let point = match method {
                "small dense" => narrow(ticket, (train, test), &settings(round), trial, device)?,
                "SNIP" | "GraSP" | "SynFlow" => retrain(&made(method, &sources)?.0, round, &anew)?,
                _ => {
                    let (masks, blocks) = made(method, &sources)?;
                    if method == "Regroup" {
                        with_blocks.push((round, blocks));
                    }
                    retrain(&masks, round, &rewound)?
                }
            };
            methods.entry(method.to_owned()).or_default().push((round, point));
        }
    }
    Ok(Found { dense, dense_milliseconds, longer, imp, methods, with_blocks })
}

/// A narrower network with as many multiplications in what may be pruned, trained from its first values.
fn narrow(
    ticket: &Ticket,
    (train, test): (&Images, &Images),
    settings: &Settings,
    trial: &TrialContext,
    device: &Device,
) -> Result<Point> {
    let density = ticket.masks.density();
    // 16 w + w w + w w weights in the place of 16 64 + 2 64 64
    let goal = density * (16.0 + 2.0 * 64.0) * 64.0;
    let width = ((-16.0 + (256.0 + 8.0 * goal).sqrt()) / 4.0).round().max(1.0) as usize;
    let graph = pruning::Network::small_cnn_of(train.image(), 10, [16, width, width, width])?;
    let network = Network::new(&graph, settings.seed, DType::F32, device)?;
    network.train(train, &Masks::default(), settings, None, trial)?;
    let left = (16 * width + 2 * width * width) as f64 / ((16.0 + 2.0 * 64.0) * 64.0);
    let milliseconds = Some(network.milliseconds(test, &Masks::default())?);
    Ok(Point { density: left, accuracy: network.accuracy(test)?, milliseconds })
}

/// What methods make masks of.
struct Sources<'a> {
    network: &'a Network,
    initial: &'a BTreeMap<String, Tensor>,
    full: &'a Masks,
    /// The scattered masks of the round, and the weights that they were made from.
    masks: &'a Masks,
    weights: &'a Scores,
    of_dense: &'a Scores,
    /// The dense network after a training with slimming's penalty.
    slim: Option<&'a BTreeMap<String, Tensor>>,
    train: &'a Images,
    seed: u64,
}

/// The masks that a method makes at a round, and how many layers have blocks.
fn made(method: &str, sources: &Sources<'_>) -> Result<(Masks, usize)> {
    let &Sources { network, initial, full, masks, weights, of_dense, slim, train, seed } = sources;
    let prunable = Scope::convolutions().select(&network.store)?;
    let each = |make: &dyn Fn(&str, &Mask) -> pruning::Result<Mask>| -> Result<Masks> {
        Ok(masks.iter().map(|(name, mask)| Ok((name.to_owned(), make(name, mask)?))).collect::<pruning::Result<_>>()?)
    };
    let density = masks.density();
    let global = |scores: &Scores| -> Result<Masks> { Ok(select(scores, full, density, Selection::Global, true)?) };
    let regroup = Regroup { parts: Parts::PerRows(32), seed, ..Regroup::default() };
    let before_training = |scores: &dyn Fn() -> Result<Scores>| -> Result<Scores> {
        network.store.restore(initial)?;
        scores()
    };
    // one batch of each class in turn is enough for the scores before training
    let batch = || train.batch(&(0..(8 * BATCH) as u32).map(|row| row % train.labels.len() as u32).collect::<Vec<_>>());
    let loss = |divisor: f64| -> pruning::Result<Tensor> {
        let run = || -> Result<Tensor> {
            let (x, labels) = batch()?;
            let mut mode = Mode::recalibrate().without_updates();
            let logits = ops::affine(&network.forward(&x, &mut mode)?, 1.0 / divisor, 0.0)?;
            Ok(ops::cross_entropy(&logits, &labels)?)
        };
        run().map_err(|error| candle_core::Error::Msg(error.to_string()).into())
    };
    Ok(match method {
        "Refill" | "Refill+" => {
            let refill = Refill { extra: if method == "Refill" { 0.0 } else { 0.15 }, ..Refill::default() };
            (each(&|name, mask| refill.apply(mask, &weights[name]))?, 0)
        }
        "Regroup" => {
            let mut count = 0;
            for (_, mask) in masks.iter() {
                count += usize::from(regroup.apply(mask)?.has_blocks());
            }
            (each(&|_, mask| Ok(regroup.apply(mask)?.mask))?, count)
        }
        "random blocks" => {
            let make = |name: &str, mask: &Mask| {
                let found = regroup.apply(mask)?;
                if !found.has_blocks() {
                    return Ok(found.mask);
                }
                let mut rng = Rng::new(seed).fork(name);
                let mut rows: Vec<usize> = rng.permutation(mask.rows()).into_iter().map(|row| row as usize).collect();
                let blocks: Vec<Block> = found
                    .blocks
                    .iter()
                    .map(|block| Block {
                        rows: rows.split_off(rows.len() - block.rows.len()),
                        columns: rng
                            .sample_without_replacement(mask.columns(), block.columns.len())
                            .into_iter()
                            .map(|column| column as usize)
                            .collect(),
                    })
                    .collect();
                union(mask, &blocks)
            };
            (each(&make)?, 0)
        }
        "random" => (global(&random(&prunable, seed))?, 0),
        "permuted" => {
            let make = |name: &str, mask: &Mask| {
                let order = Rng::new(seed).fork(name).permutation(mask.len());
                Mask::new(mask.shape(), order.into_iter().map(|at| mask.kept()[at as usize]).collect())
            };
            (each(&make)?, 0)
        }
        "OMP" => (one_shot(of_dense, full, 1.0 - density)?, 0),
        "SNIP" => (global(&before_training(&|| Ok(snip(&prunable, || loss(1.0))?))?)?, 0),
        "GraSP" => (global(&before_training(&|| Ok(grasp(&prunable, || loss(200.0), GraspForm::Signed)?))?)?, 0),
        "slimming" => {
            network.store.restore(slim.ok_or("a training with the penalty")?)?;
            (slimmed(network, full, density)?, 0)
        }
        _ => (synaptic_flow(network, initial, full, density)?, 0),
    })
}

/// Channels by the scales of their norms, as many as bring what may be pruned to the density or just above.
fn slimmed(network: &Network, full: &Masks, density: f64) -> Result<Masks> {
    // the first norm too: what reads the stem's channels loses them
    let (mut low, mut high) = (0.0, 1.0);
    let at = |rate: f64| -> Result<(Masks, f64)> {
        let masks = Slimming::default().masks(network.model.network(), &network.store, rate)?;
        let of = |(name, mask): (&str, &Mask)| full.get(name).map(|_| (mask.count(), mask.len()));
        let (kept, all) = masks.iter().filter_map(of).fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        Ok((masks, kept as f64 / all as f64))
    };
    for _ in 0..12 {
        let middle = 0.5 * (low + high);
        if at(middle)?.1 >= density {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(at(low)?.0)
}

/// SynFlow in 20 rounds, in f64, with norms of mean 0 and variance 1.
fn synaptic_flow(network: &Network, initial: &BTreeMap<String, Tensor>, full: &Masks, density: f64) -> Result<Masks> {
    const ROUNDS: usize = 20;
    let wide = Network::new(network.model.network(), 0, DType::F64, network.store.device())?;
    for (name, value) in initial {
        wide.store.set(name, &value.to_dtype(DType::F64)?)?;
    }
    for (name, var) in wide.store.vars() {
        if name.ends_with("running_mean") {
            var.set(&var.zeros_like()?)?;
        } else if name.ends_with("running_var") {
            var.set(&var.ones_like()?)?;
        }
    }
    let all: Vec<_> = wide.store.vars().into_iter().filter(|(name, _)| !name.contains("running")).collect();
    let prunable = Scope::convolutions().select(&wide.store)?;
    let ones = Tensor::ones((1, 1, SIDE, SIDE), DType::F64, wide.store.device())?;
    let mut masks = full.clone();
    for round in 1..=ROUNDS {
        masks.apply(&wide.store)?;
        let output = || -> pruning::Result<Tensor> {
            let logits = wide.forward(&ones, &mut Mode::evaluate());
            Ok(ops::sum_all(&logits.map_err(|error| candle_core::Error::Msg(error.to_string()))?)?)
        };
        let scores = synflow(&all, &prunable, output)?;
        masks = select(&scores, full, density.powf(round as f64 / ROUNDS as f64), Selection::Global, true)?;
    }
    Ok(masks)
}

pub(crate) fn report_generated(context: &mut Context, results: Outcome<Found>) -> Result<()> {
    let found = &results.all()?[0];
    let last = found.imp[found.imp.len() - 1];
    let note =
        Some(format!("dense {:.1} %, ticket {:.1} % at density {:.2}", found.dense, last.accuracy, last.density));
    let measured = Measured::mean_of(&[last.accuracy - found.dense], "shifted templates with noise");
    context.claim("imp-keeps-accuracy", Measured { is_synthetic: true, note, ..measured })?;
    Ok(())
}

pub(crate) fn report(context: &mut Context, results: Outcome<Found>) -> Result<()> {
    let found = results.all()?;
    let of = |method: &str, round: usize| -> Vec<Point> {
        let pick = |found: &Found| match method {
            "IMP" => found.imp[round - 1],
            "dense" => Point { density: 1.0, accuracy: found.dense, milliseconds: found.dense_milliseconds },
            "dense, longer" => Point { density: 1.0, accuracy: found.longer, milliseconds: None },
            other => found.methods[other]
                .iter()
                .find(|(at, _)| *at == round)
                .map_or(Point { density: f64::NAN, accuracy: f64::NAN, milliseconds: None }, |(_, point)| *point),
        };
        found.iter().map(pick).collect()
    };
    let accuracies = |points: &[Point]| points.iter().map(|point| point.accuracy).collect::<Vec<_>>();
    let density = |points: &[Point]| points.iter().map(|point| point.density).sum::<f64>() / points.len() as f64;
    let mut judge = |id: &str, a: (&str, usize), b: (&str, usize)| -> Result<()> {
        let (first, second) = (of(a.0, a.1), of(b.0, b.1));
        let differences: Vec<f64> = accuracies(&first).iter().zip(accuracies(&second)).map(|(a, b)| a - b).collect();
        let half = statistics::confidence_95(&differences).unwrap_or(f64::NAN);
        let mean = statistics::mean(&differences);
        let word = if mean - half <= 0.0 && mean + half >= 0.0 { ", which includes 0" } else { "" };
        let note = format!(
            "densities {:.3} and {:.3}; paired 95 % interval {:.2} to {:.2}{word}",
            density(&first),
            density(&second),
            mean - half,
            mean + half
        );
        context.claim(id, Measured { note: Some(note), ..Measured::mean_of(&differences, "MNIST 14 x 14") })?;
        Ok(())
    };
    for round in [2, 4, 6, 8] {
        judge(&format!("imp-{round}"), ("IMP", round), ("dense", 0))?;
    }
    judge("dense-longer", ("dense, longer", 0), ("dense", 0))?;
    judge("regroup-dense-6", ("Regroup", 6), ("dense", 0))?;
    for round in [6, 8] {
        judge(&format!("regroup-refill-{round}"), ("Regroup", round), ("Refill", round))?;
        judge(&format!("refill-plus-{round}"), ("Refill+", round), ("Refill", round))?;
    }
    judge("imp-random-6", ("IMP", 6), ("random", 6))?;
    judge("equal-density", ("Regroup", 6), ("Refill+", 8))?;
    for round in [4, 6, 8] {
        judge(&format!("random-blocks-{round}"), ("Regroup", round), ("random blocks", round))?;
    }
    for (id, method) in [
        ("permuted-6", "permuted"),
        ("one-shot-6", "OMP"),
        ("snip-6", "SNIP"),
        ("grasp-6", "GraSP"),
        ("synflow-6", "SynFlow"),
        ("slimming-6", "slimming"),
    ] {
        judge(id, ("IMP", 6), (method, 6))?;
    }
    judge("small-dense-refill-6", ("Refill", 6), ("small dense", 6))?;
    judge("small-dense-regroup-6", ("Regroup", 6), ("small dense", 6))?;
    let mut table = Table::new(["method", "round", "density", "test accuracy %", "spread over seeds"]);
    let mut series = Vec::new();
    let mut row = |method: &str, round: usize, points: &[Point]| {
        let values = accuracies(points);
        let spread = statistics::sample_standard_deviation(&values).unwrap_or(f64::NAN);
        let mean = format!("{:.2}", statistics::mean(&values));
        table.rows.push(vec![
            method.to_owned(),
            round.to_string(),
            format!("{:.3}", density(points)),
            mean,
            format!("{spread:.2}"),
        ]);
    };
    row("dense", 0, &of("dense", 0));
    row("dense, longer", 0, &of("dense, longer", 0));
    for method in std::iter::once("IMP").chain(METHODS) {
        let rounds: Vec<usize> = if method == "IMP" { (1..=ROUNDS).collect() } else { vec![2, 4, 6, 8] };
        let points: Vec<Vec<Point>> = rounds.iter().map(|&round| of(method, round)).collect();
        rounds.iter().zip(&points).for_each(|(&round, points)| row(method, round, points));
        let x = points.iter().map(|points| density(points)).collect();
        let y = points.iter().map(|points| statistics::mean(&accuracies(points))).collect();
        let halves: Vec<f64> =
            points.iter().map(|points| statistics::confidence_95(&accuracies(points)).unwrap_or(0.0)).collect();
        series.push(Series::new(method, x, y).spread(&halves));
    }
    context.table("MNIST 14 x 14: five seeds, accuracy after the last epoch", table);
    let mut table = Table::new(["round", "layers with blocks, of 3, each seed"]);
    for at in 0..found[0].with_blocks.len() {
        let counts: Vec<String> = found.iter().map(|found| found.with_blocks[at].1.to_string()).collect();
        table.rows.push(vec![found[0].with_blocks[at].0.to_string(), counts.join(", ")]);
    }
    context.table("Regroup: layers that really have blocks", table);
    let (x, y) = (Axis::linear("density that was reached"), Axis::linear("test accuracy, %"));
    let plot = Plot::lines("MNIST 14 x 14: accuracy against density", x, y, series);
    context.plot(
        "tickets",
        plot.description("Means of five seeds with 95 % intervals; compare methods at one density."),
    )?;
    let mut fronts = vec![front("dense", vec![of("dense", 0)])];
    for method in ["IMP", "Refill", "Refill+", "Regroup", "small dense"] {
        fronts.push(front(method, [2, 4, 6, 8].map(|round| of(method, round)).to_vec()));
    }
    let fronts: Vec<Series> = fronts.into_iter().flatten().collect();
    if !fronts.is_empty() {
        let (x, y) = (Axis::linear("ms for 128 images, compiled"), Axis::linear("test accuracy, %"));
        let plot = Plot::lines("MNIST 14 x 14: accuracy against time", x, y, fronts);
        let said = "Means of five seeds at rounds 2, 4, 6 and 8, on one thread; trials side by side disturb times. Small dense networks have as many multiplications as the scattered ticket of the round.";
        context.plot("front", plot.description(said))?;
    }
    Ok(())
}

/// Accuracy against time, in the order of time; none where a run from before times were taken is reported.
fn front(name: &str, rounds: Vec<Vec<Point>>) -> Option<Series> {
    let mean = |points: &Vec<Point>| -> Option<(f64, f64)> {
        let times: Vec<f64> = points.iter().map(|point| point.milliseconds).collect::<Option<_>>()?;
        let accuracies: Vec<f64> = points.iter().map(|point| point.accuracy).collect();
        Some((statistics::mean(&times), statistics::mean(&accuracies)))
    };
    let mut points: Vec<(f64, f64)> = rounds.iter().map(mean).collect::<Option<_>>()?;
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (x, y) = points.into_iter().unzip();
    Some(Series::new(name, x, y))
}
