//! Tickets of a quarter-width ResNet-18 on a part of CIFAR-10: curves, without thresholds.

use crate::network::Images;
use crate::tickets::{Found, Point, Protocol, follow};
use candle_core::Tensor;
use datasets::images::load_cifar_10_sample;
use experiment::{Axis, Context, Measured, Outcome, Plot, Result, Series, Table, Trial, statistics};
use vision::ResNetConfig;

const TRAINING: usize = 3200;
const ROUNDS: usize = 4;
const EPOCHS: usize = 6;
const SEEDS: u64 = 2;
const METHODS: [&str; 3] = ["Refill", "Refill+", "Regroup"];

/// Means and deviations of CIFAR-10's channels, as in the paper's program.
const MEAN: [f32; 3] = [0.4914, 0.4822, 0.4465];
const DEVIATION: [f32; 3] = [0.2470, 0.2435, 0.2616];

pub(crate) fn run(context: &mut Context) -> Result<Outcome<Found>> {
    let device = reproduction::device(context)?;
    let found = load_cifar_10_sample(&reproduction::store(context)?)?;
    let plane = found.height * found.width;
    let values: Vec<f32> = found
        .pixels
        .iter()
        .enumerate()
        .map(|(at, &pixel)| (f32::from(pixel) / 255.0 - MEAN[at / plane % 3]) / DEVIATION[at / plane % 3])
        .collect();
    let labels: Vec<u32> = found.labels.iter().map(|&label| label.into()).collect();
    let images = |range: std::ops::Range<usize>| -> Result<Images> {
        let image = 3 * plane;
        let values = values[range.start * image..range.end * image].to_vec();
        let x = Tensor::from_vec(values, (range.len(), 3, found.height, found.width), &device)?;
        Ok(Images { x, labels: labels[range].to_vec() })
    };
    let (train, test) = (images(0..TRAINING)?, images(TRAINING..labels.len())?);
    let trials = (0..SEEDS).map(|seed| Trial::new(format!("seed-{seed}"), seed)).collect();
    context.trials("cifar-10", trials, |_: &u64, trial| {
        let config =
            ResNetConfig { stem_width: 16, widths: vec![16, 32, 64, 128], ..ResNetConfig::resnet18(10).cifar() };
        let graph = pruning::Network::resnet(&config, (found.height, found.width))?;
        let protocol = Protocol { rounds: ROUNDS, epochs: EPOCHS, methods: &METHODS };
        follow(&graph, (&train, &test), &protocol, trial, &device)
    })
}

pub(crate) fn report(context: &mut Context, results: Outcome<Found>) -> Result<()> {
    const DATA: &str = "CIFAR-10, the first 4,000 images";
    let found = results.all()?;
    let mut table = Table::new(["method", "round", "density", "test accuracy %, each seed"]);
    let mut series = Vec::new();
    let dense: Vec<f64> = found.iter().map(|found| found.dense).collect();
    let shown = |values: &[f64]| values.iter().map(|value| format!("{value:.1}")).collect::<Vec<_>>().join(", ");
    table.rows.push(vec!["dense".into(), "0".into(), "1.000".into(), shown(&dense)]);
    for method in std::iter::once("IMP").chain(METHODS) {
        let rounds: Vec<usize> = if method == "IMP" { (1..=ROUNDS).collect() } else { vec![2, 4] };
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for round in rounds {
            let points: Vec<Point> = found
                .iter()
                .filter_map(|found| match method {
                    "IMP" => found.imp.get(round - 1).copied(),
                    other => found.methods.get(other)?.iter().find(|(at, _)| *at == round).map(|(_, point)| *point),
                })
                .collect();
            let accuracies: Vec<f64> = points.iter().map(|point| point.accuracy).collect();
            let densities: Vec<f64> = points.iter().map(|point| point.density).collect();
            let density = statistics::mean(&densities);
            table.rows.push(vec![method.into(), round.to_string(), format!("{density:.3}"), shown(&accuracies)]);
            x.push(density);
            y.push(statistics::mean(&accuracies));
            if round == ROUNDS {
                let differences: Vec<f64> = accuracies.iter().zip(&dense).map(|(own, dense)| own - dense).collect();
                let note = Some(format!("density {density:.3}; {SEEDS} seeds, {EPOCHS} epochs: far from converged"));
                let id = format!("cifar-{}-4", method.to_lowercase().replace('+', "-plus"));
                context.claim(&id, Measured { note, ..Measured::mean_of(&differences, DATA) })?;
            }
        }
        series.push(Series::new(method, x, y));
    }
    series.push(Series::new("dense", vec![1.0], vec![statistics::mean(&dense)]));
    context.table("Quarter-width ResNet-18 on CIFAR-10: 3,200 images for training, 800 for tests, six epochs", table);
    let (x, y) = (Axis::linear("density that was reached"), Axis::linear("test accuracy, %"));
    let plot = Plot::lines("CIFAR-10: accuracy against density", x, y, series);
    context.plot("cifar-10", plot.description("Means of two seeds after six epochs; nothing is judged here."))?;
    Ok(())
}
