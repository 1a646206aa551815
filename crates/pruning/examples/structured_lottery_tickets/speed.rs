//! Blocks, scattered zeros and dense products of one shape.

use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use core_tensor::ops::{self, Conv2dConfig};
use core_tensor::random::Rng;
use core_tensor::sparse::SparsePattern;
use experiment::{Context, Measured, Outcome, Result, Trial, TrialContext};
use pruning::{Block, BlockSparseConv2d, BlockSparseLinear};
use serde::{Deserialize, Serialize};
use std::time::Instant;

const ROWS: usize = 256;
const COLUMNS: usize = 2304;
const SAMPLES: usize = 1024;
const BLOCKS: usize = 8;
const KEPT: usize = 1280;

/// The shortest of several runs of each form.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Times {
    dense: f64,
    blocks: f64,
    scattered: f64,
    /// As a convolution.
    winograd: f64,
    convolution: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    seconds: Times,
    difference: f64,
}

pub(crate) fn run(context: &mut Context) -> Result<Outcome<Found>> {
    context.trials("speed", vec![Trial::new("products", ())], |(), trial| measure(trial))
}

fn measure(trial: &TrialContext) -> Result<Found> {
    let mut rng = Rng::new(trial.seed());
    let mut normal = |rows: usize, columns: usize| rng.normal(0.0, 1.0, (rows, columns), DType::F32, &Device::Cpu);
    let (weight, x) = (normal(ROWS, COLUMNS)?, normal(SAMPLES, COLUMNS)?);
    let mut draw = Rng::new(trial.seed()).fork("blocks");
    let rows = draw.permutation(ROWS);
    let blocks: Vec<Block> = rows
        .chunks(ROWS / BLOCKS)
        .map(|rows| Block {
            rows: rows.iter().map(|&row| row as usize).collect(),
            columns: draw.sample_without_replacement(COLUMNS, KEPT).into_iter().map(|c| c as usize).collect(),
        })
        .collect();
    let layer = BlockSparseLinear::from_dense(&weight, None, &blocks)?;
    // as many zeros, scattered
    let mut places = Vec::new();
    for row in 0..ROWS as u32 {
        let mut columns = draw.sample_without_replacement(COLUMNS, KEPT);
        columns.sort_unstable();
        places.extend(columns.into_iter().map(|column| (row, column)));
    }
    let (of_rows, of_columns): (Vec<u32>, Vec<u32>) = places.iter().copied().unzip();
    let pattern = SparsePattern::from_edges(ROWS, COLUMNS, &of_rows, &of_columns)?;
    let values = Tensor::ones(places.len(), DType::F32, &Device::Cpu)?;
    let columns = x.t()?.contiguous()?;
    let kernel = weight.reshape((ROWS, COLUMNS / 9, 3, 3))?;
    let config = Conv2dConfig { padding: (1, 1), ..Conv2dConfig::default() };
    let convolution = BlockSparseConv2d::from_dense(&kernel, None, &blocks, config)?;
    let images = rng.normal(0.0, 1.0, (SAMPLES / 64, COLUMNS / 9, 8, 8), DType::F32, &Device::Cpu)?;
    let never = f64::INFINITY;
    let mut times = Times { dense: never, blocks: never, scattered: never, winograd: never, convolution: never };
    // by turns, so that what disturbs one disturbs all
    for _ in 0..7 {
        trial.check_cancelled()?;
        let timed = |shortest: &mut f64, product: &dyn Fn() -> core_tensor::Result<Tensor>| -> Result<()> {
            let start = Instant::now();
            std::hint::black_box(product()?);
            *shortest = shortest.min(start.elapsed().as_secs_f64());
            Ok(())
        };
        timed(&mut times.dense, &|| ops::linear(&x, &weight, None))?;
        timed(&mut times.blocks, &|| Ok(layer.forward(&x)?))?;
        timed(&mut times.winograd, &|| ops::conv2d(&images, &kernel, None, &config))?;
        timed(&mut times.convolution, &|| Ok(convolution.forward(&images)?))?;
        timed(&mut times.scattered, &|| pattern.matmul_weighted(&values, &columns))?;
    }
    let apart = |found: Tensor, expected: Tensor| -> Result<f64> {
        let difference = (found - &expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
        Ok(f64::from(difference / expected.abs()?.max_all()?.to_scalar::<f32>()?))
    };
    let of_product = apart(layer.forward(&x)?, ops::linear(&x, &layer.to_dense()?, None)?)?;
    let dense = ops::conv2d(&images, &convolution.to_dense()?, None, &config)?;
    Ok(Found { seconds: times, difference: of_product.max(apart(convolution.forward(&images)?, dense)?) })
}

pub(crate) fn report(context: &mut Context, results: Outcome<Found>) -> Result<()> {
    let found = &results.all()?[0];
    let Times { dense, blocks, scattered, winograd, convolution } = found.seconds;
    let note = format!(
        "{:.2} ms dense, {:.2} in blocks, {:.2} scattered; as a convolution {:.2} dense, {:.2} in blocks",
        1e3 * dense,
        1e3 * blocks,
        1e3 * scattered,
        1e3 * winograd,
        1e3 * convolution
    );
    let measured = |value: f64| Measured {
        is_synthetic: true,
        note: Some(note.clone()),
        ..Measured::mean_of(&[value], "random weights and inputs, one thread")
    };
    context.claim("blocks-beat-gemm", measured(dense / blocks).timed())?;
    context.claim("blocks-against-winograd", measured(winograd / convolution).timed())?;
    context.claim("csr-loses", measured(dense / scattered).timed())?;
    context.claim("blocks-equal-masked", Measured { note: None, ..measured(found.difference) })?;
    Ok(())
}
