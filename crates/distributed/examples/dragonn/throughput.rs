//! Training throughput on a network that is simulated by the α–β model, from times that are measured.

use crate::generated;
use crate::tasks::{self, Model, Net};
use candle_core::{Device, Tensor};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use distributed::compress::DgcConfig;
use distributed::dragonn::DragonnConfig;
use distributed::encoded::decode_sparse;
use distributed::selection::CostModel;
use distributed::{Compression, Key};
use experiment::{Axis, Context, Plot, Result, Scale, Series, Table, Trial, statistics};
use serde::{Deserialize, Serialize};
use std::time::Instant;

const RATIO: f64 = 1e-3;
const BATCH: usize = 64;
const LATENCY: f64 = 50e-6;
/// Bytes per second: from 100 Mbit/s to the 100 Gbit/s of a cluster.
const BANDWIDTHS: [f64; 8] = [1.25e7, 1.25e8, 3.1e8, 6.2e8, 1.25e9, 3e9, 6e9, 12.5e9];

/// Seconds of one step of the label task.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Step {
    compute: f64,
    elements: usize,
    /// Encode seconds, entries sent, decode seconds of four gradients.
    methods: Vec<(String, f64, f64, f64)>,
}

pub(crate) fn report(context: &mut Context) -> Result<()> {
    if context.scale() == Scale::Smoke {
        return Ok(());
    }
    let seed = context.seed();
    let outcome = context.trials("throughput", vec![Trial::new("step", seed)], |&seed, _| Ok(measure(seed)?))?;
    let Some(step) = outcome.all()?.into_iter().next() else { return Ok(()) };
    let workers = tasks::WORKERS;
    let images = (workers * BATCH) as f64;
    let model = |bandwidth| CostModel {
        latency: LATENCY,
        bandwidth,
        encode_per_element: 0.,
        decode_per_entry: 0.,
        write_per_element: 0.,
    };
    let dense: Vec<f64> = BANDWIDTHS
        .iter()
        .map(|&bandwidth| images / (step.compute + model(bandwidth).dense_seconds(step.elements, workers)))
        .collect();
    let x: Vec<f64> = BANDWIDTHS.iter().map(|bandwidth| bandwidth * 8e-9).collect();
    let mut series = vec![Series::new("dense", x.clone(), dense.clone())];
    let mut rates = Vec::new();
    for (name, encode, sent, decode) in &step.methods {
        let rate: Vec<f64> = BANDWIDTHS
            .iter()
            .map(|&bandwidth| {
                let exchange = model(bandwidth).allgather_seconds(8. * sent, workers);
                images / (step.compute + encode + exchange + decode)
            })
            .collect();
        series.push(Series::new(name.clone(), x.clone(), rate.clone()));
        rates.push(rate);
    }
    let data = "simulated network, generated labels";
    let is_fast = |at: &usize| BANDWIDTHS[*at] >= 1.25e9;
    let gain = (0..dense.len()).filter(is_fast).map(|at| rates[0][at] / dense[at]).fold(0., f64::max);
    context.claim("throughput-gain", generated(gain, 1, data).timed())?;
    let worst = rates[0].iter().zip(&rates[1]).map(|(ours, dgc)| ours / dgc).fold(f64::INFINITY, f64::min);
    context.claim("throughput-beats-dgc", generated(worst, 1, data).timed())?;
    let mut table = Table::new(["Gbit/s", "dense", "DRAGONN", "DGC", "top-k", "DRAGONN / dense"]);
    for (at, gigabits) in x.iter().enumerate() {
        let mut row = vec![format!("{gigabits:.2}"), format!("{:.0}", dense[at])];
        row.extend(rates.iter().map(|rate| format!("{:.0}", rate[at])));
        row.push(format!("{:.2}", rates[0][at] / dense[at]));
        table.rows.push(row);
    }
    context.table("Rows per second of four workers (simulated network)", table);
    let title = "Throughput over bandwidth (simulated network, measured compute and compression)";
    let (x, y) = (Axis::log("Gbit/s of a link"), Axis::log("rows per second"));
    context.plot("throughput", Plot::lines(title, x, y, series))
}

fn measure(seed: u64) -> distributed::Result<Step> {
    let (training, _) = tasks::labels(seed);
    let net = Net::new(Model::Labels { labels: 2001 }, training.width, seed)?;
    let mut optimizer = Adam::new(net.store.trainable(), AdamConfig { learning_rate: 1e-3, ..AdamConfig::default() })?;
    let x = Tensor::from_slice(&training.inputs[..BATCH * training.width], (BATCH, training.width), &Device::Cpu)?;
    let labels = training.labels[..BATCH * training.labels_per_row].to_vec();
    let mut seconds = Vec::new();
    let mut gradient = Vec::new();
    for _ in 0..12 {
        let start = Instant::now();
        let grads = core_tensor::backward(&net.loss(&x, labels.clone())?)?;
        optimizer.step(&grads)?;
        seconds.push(start.elapsed().as_secs_f64());
        if let Some((_, var)) = net.store.trainable().first() {
            gradient = match grads.get(var) {
                Some(found) => found.flatten_all()?.to_vec1::<f32>()?,
                None => Vec::new(),
            };
        }
    }
    let mut methods = Vec::new();
    for (name, compression) in [
        ("DRAGONN", Compression::Dragonn(DragonnConfig::with_ratio(RATIO))),
        ("DGC", Compression::Dgc(DgcConfig::with_ratio(RATIO))),
        ("top-k", Compression::TopK(RATIO)),
    ] {
        let mut compressor = compression.build()?;
        let (mut encode, mut decode, mut sent) = (Vec::new(), Vec::new(), Vec::new());
        let mut out = vec![0f32; gradient.len()];
        for step in 0..12 {
            let start = Instant::now();
            let encoded = compressor.compress(&gradient, &Key { seed, step, ..Key::default() })?;
            encode.push(start.elapsed().as_secs_f64());
            sent.push(encoded.num_sent() as f64);
            let all = vec![encoded; tasks::WORKERS];
            let start = Instant::now();
            decode_sparse(&all, 0.25, &mut out)?;
            decode.push(start.elapsed().as_secs_f64());
        }
        let median = |values: &[f64]| statistics::median(values);
        methods.push((name.to_owned(), median(&encode), statistics::mean(&sent), median(&decode)));
    }
    Ok(Step { compute: statistics::median(&seconds), elements: gradient.len(), methods })
}
