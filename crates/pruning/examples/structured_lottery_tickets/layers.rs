//! The convolutions of ResNet-18 for images of 32 x 32, dense and in blocks.

use candle_core::{DType, Device};
use candle_nn::Module;
use core_tensor::ops::{self, Conv2dConfig};
use core_tensor::random::Rng;
use experiment::{Context, Measured, Outcome, Result, Table, Trial, TrialContext};
use pruning::{BlockSparseConv2d, Masks, Parts, Regroup, Scores, Selection, select};
use serde::{Deserialize, Serialize};
use std::time::Instant;

const BATCH: usize = 64;
const TURNS: usize = 5;

struct Shape {
    channels: (usize, usize),
    kernel: usize,
    stride: usize,
    /// Of the input.
    side: usize,
    count: usize,
}

const fn shape(channels: (usize, usize), kernel: usize, stride: usize, side: usize, count: usize) -> Shape {
    Shape { channels, kernel, stride, side, count }
}

/// The first is never pruned.
const SHAPES: [Shape; 11] = [
    shape((3, 64), 3, 1, 32, 1),
    shape((64, 64), 3, 1, 32, 4),
    shape((64, 128), 3, 2, 32, 1),
    shape((128, 128), 3, 1, 16, 3),
    shape((64, 128), 1, 2, 32, 1),
    shape((128, 256), 3, 2, 16, 1),
    shape((256, 256), 3, 1, 8, 3),
    shape((128, 256), 1, 2, 16, 1),
    shape((256, 512), 3, 2, 8, 1),
    shape((512, 512), 3, 1, 4, 3),
    shape((256, 512), 1, 2, 8, 1),
];

/// Sparsity in %, and the threshold of the block rule: a full mask keeps t / (1 + t) of its columns, so that a low sparsity needs a high one.
const SPARSITIES: [(u32, f64); 3] = [(36, 4.0), (58, 1.5), (74, 1.5)];

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Layer {
    density: f64,
    /// Of one layer of this shape.
    seconds: Seconds,
    difference: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Seconds {
    dense: f64,
    blocks: f64,
    /// To find the blocks.
    regroup: f64,
}

/// One trial, since times that are taken side by side disturb one another.
pub(crate) fn run(context: &mut Context) -> Result<Outcome<Vec<Vec<Layer>>>> {
    context.trials("layers", vec![Trial::new("resnet-18", ())], |(), trial| {
        let mut all = Vec::new();
        for (at, (sparsity, threshold)) in SPARSITIES.into_iter().enumerate() {
            let density = 1.0 - f64::from(sparsity) / 100.0;
            let mut layers = Vec::new();
            for (at, shape) in SHAPES.iter().enumerate() {
                trial.check_cancelled()?;
                layers.push(measure(shape, at, density, threshold, trial)?);
            }
            all.push(layers);
            trial.epoch(at + 1, SPARSITIES.len(), &format!("sparsity {sparsity} %"));
        }
        Ok(all)
    })
}

fn measure(shape: &Shape, at: usize, density: f64, threshold: f64, trial: &TrialContext) -> Result<Layer> {
    let &Shape { channels: (inputs, outputs), kernel, stride, side, .. } = shape;
    let mut rng = Rng::new(trial.seed()).fork(&format!("layer-{at}"));
    let weight = rng.normal(0.0, 1.0, (outputs, inputs, kernel, kernel), DType::F32, &Device::Cpu)?;
    let x = rng.normal(0.0, 1.0, (BATCH, inputs, side, side), DType::F32, &Device::Cpu)?;
    let padding = kernel / 2;
    let config = Conv2dConfig { padding: (padding, padding), stride: (stride, stride), ..Conv2dConfig::default() };
    let start = Instant::now();
    let blocks = if at == 0 {
        None
    } else {
        let values: Vec<f64> = weight.abs()?.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
        let scores: Scores = [("w".to_owned(), values)].into_iter().collect();
        let full = Masks::full([("w", weight.dims())]);
        let regroup = Regroup {
            parts: Parts::PerRows(32),
            density_threshold: threshold,
            seed: trial.seed(),
            ..Regroup::default()
        };
        // a scattered mask of density p leaves blocks of density t p / (1 + t p), about
        let mut scattered = density / (threshold * (1.0 - density));
        let mut found = None;
        for _ in 0..3 {
            let masks = select(&scores, &full, scattered.min(1.0), Selection::Layer, true)?;
            let mask = masks.get("w").ok_or("the mask of the layer")?;
            let regrouped = regroup.apply(mask)?;
            let reached = regrouped.mask.density();
            let is_near = (reached / density - 1.0).abs() < 0.02;
            found = Some(regrouped);
            if is_near {
                break;
            }
            scattered *= density * (1.0 - reached) / (reached * (1.0 - density));
        }
        found.filter(pruning::Regrouped::has_blocks)
    };
    let mut seconds = Seconds { dense: f64::INFINITY, blocks: f64::INFINITY, regroup: start.elapsed().as_secs_f64() };
    let sparse = match &blocks {
        Some(found) => Some(BlockSparseConv2d::from_dense(&weight, None, &found.blocks, config)?),
        None => None,
    };
    for _ in 0..TURNS {
        let start = Instant::now();
        std::hint::black_box(ops::conv2d(&x, &weight, None, &config)?);
        seconds.dense = seconds.dense.min(start.elapsed().as_secs_f64());
        if let Some(sparse) = &sparse {
            let start = Instant::now();
            std::hint::black_box(sparse.forward(&x)?);
            seconds.blocks = seconds.blocks.min(start.elapsed().as_secs_f64());
        }
    }
    let Some(sparse) = sparse else {
        seconds.blocks = seconds.dense;
        return Ok(Layer { density: 1.0, seconds, difference: 0.0 });
    };
    let expected = ops::conv2d(&x, &sparse.to_dense()?, None, &config)?;
    let difference = (sparse.forward(&x)? - &expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
    let size = expected.abs()?.max_all()?.to_scalar::<f32>()?;
    Ok(Layer { density: sparse.density(), seconds, difference: f64::from(difference / size) })
}

pub(crate) fn report(context: &mut Context, results: Outcome<Vec<Vec<Layer>>>) -> Result<()> {
    let mut table = Table::new([
        "layer",
        "sparsity",
        "density reached",
        "dense, ms",
        "blocks, ms",
        "dense / blocks",
        "finding blocks, s",
    ]);
    for (layers, (sparsity, threshold)) in results.all()?[0].iter().zip(SPARSITIES) {
        let (mut dense, mut chosen, mut left, mut all, mut in_blocks, mut prunable) = (0.0, 0.0, 0.0, 0.0, 0, 0);
        for (at, (layer, shape)) in layers.iter().zip(&SHAPES).enumerate() {
            let &Shape { channels: (inputs, outputs), kernel, stride, side, count } = shape;
            let (times, seconds) = (count as f64, &layer.seconds);
            dense += times * seconds.dense;
            chosen += times * seconds.dense.min(seconds.blocks);
            if at > 0 {
                let weights = times * (inputs * outputs * kernel * kernel) as f64;
                left += weights * layer.density;
                all += weights;
                prunable += count;
                in_blocks += if seconds.blocks < seconds.dense { count } else { 0 };
            }
            table.rows.push(vec![
                format!("{count} x {inputs} to {outputs}, {kernel} x {kernel} / {stride}, {side} x {side}"),
                format!("{sparsity} %"),
                format!("{:.3}", layer.density),
                format!("{:.2}", 1e3 * seconds.dense),
                format!("{:.2}", 1e3 * seconds.blocks),
                format!("{:.2}", seconds.dense / seconds.blocks),
                format!("{:.2}", seconds.regroup),
            ]);
        }
        let note = format!(
            "density {:.3} was reached with the threshold {threshold}; blocks are faster in {in_blocks} of {prunable} layers, the others stay dense; largest difference {:.1e}",
            left / all,
            layers.iter().map(|layer| layer.difference).fold(0.0, f64::max)
        );
        let measured =
            Measured::mean_of(&[100.0 * (1.0 - chosen / dense)], "random weights and images, 64 at a time, one thread");
        context.claim(
            &format!("convolutions-{sparsity}"),
            Measured { is_synthetic: true, is_timed: true, note: Some(note), ..measured },
        )?;
    }
    context.table(
        "Convolutions of ResNet-18 for 32 x 32, 64 images, one thread: the shortest of five runs by turns",
        table,
    );
    Ok(())
}
