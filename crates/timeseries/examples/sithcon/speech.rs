//! Spoken digits: trained at their own speed, tested at half and twice the duration.
//!
//! Features: energies at 32 log-spaced frequencies from 100 to 3600 Hz in Hann windows of 25 ms every 10 ms, `ln(1 + energy)`. Speed is changed by linear interpolation of the
//! features over time, which keeps the pitch.

use crate::train::{Network, num_right};
use candle_core::{DType, Device, Tensor};
use core_tensor::ops;
use core_tensor::optim::{Adam, AdamConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::{Rest, Trainer, minibatches};
use experiment::{Axis, Bars, Context, Measured, Outcome, Plot, Result, Scale, Table, Trial, TrialContext, statistics};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use timeseries::sithcon::{Sequences, SithConConfig, SithConLayerConfig, sithcon};
use timeseries::tcn::{TcnConfig, tcn};

const BANDS: usize = 32;
const STRETCHES: [f64; 3] = [0.5, 1., 2.];
const BATCH: usize = 16;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Setting {
    is_tcn: bool,
    seed: u64,
    epochs: usize,
    device: String,
}

pub(crate) struct Runs {
    settings: Vec<Setting>,
    results: Outcome<Vec<f64>>,
}

struct Clip {
    /// `[frames][BANDS]`
    features: Vec<f32>,
    digit: u32,
}

impl Clip {
    fn frames(&self) -> usize {
        self.features.len() / BANDS
    }

    fn stretched(&self, factor: f64) -> Vec<f32> {
        let frames = self.frames();
        let count = ((frames as f64 * factor).round() as usize).max(1);
        let mut out = Vec::with_capacity(count * BANDS);
        for frame in 0..count {
            let at = if count > 1 { frame as f64 * (frames - 1) as f64 / (count - 1) as f64 } else { 0. };
            let (low, part) = (at.floor() as usize, at.fract() as f32);
            let high = (low + 1).min(frames - 1);
            out.extend((0..BANDS).map(|band| {
                (1. - part) * self.features[low * BANDS + band] + part * self.features[high * BANDS + band]
            }));
        }
        out
    }
}

/// The log energies of a recording, `[frames][BANDS]`.
fn features(recording: &datasets::sound::Recording) -> Vec<f32> {
    let rate = f64::from(recording.sample_rate);
    let (window, hop) = ((0.025 * rate) as usize, (0.01 * rate) as usize);
    let kernels: Vec<Vec<(f64, f64)>> = (0..BANDS)
        .map(|band| {
            let frequency = 100. * 36f64.powf(band as f64 / (BANDS - 1) as f64);
            let wave = |i: usize| {
                let hann = 0.5 - 0.5 * (2. * PI * i as f64 / (window - 1) as f64).cos();
                let phase = 2. * PI * frequency * i as f64 / rate;
                (hann * phase.cos(), hann * phase.sin())
            };
            (0..window).map(wave).collect()
        })
        .collect();
    let mut samples: Vec<f64> = recording.samples.iter().map(|&s| f64::from(s) / 32768.).collect();
    samples.resize(samples.len().max(window), 0.);
    let mut out = Vec::new();
    for frame in samples.windows(window).step_by(hop) {
        for kernel in &kernels {
            let sums = frame.iter().zip(kernel).fold((0., 0.), |(a, b), (x, (c, s))| (a + x * c, b + x * s));
            out.push((sums.0 * sums.0 + sums.1 * sums.1).ln_1p() as f32);
        }
    }
    out
}

/// Training and test clips: takes 5 to 49, and 0 to 4.
fn clips(context: &Context) -> Result<(Vec<Clip>, Vec<Clip>)> {
    let store = reproduction::store(context)?;
    let (mut training, mut test) = (Vec::new(), Vec::new());
    for spoken in datasets::sound::load_fsdd(&store)? {
        let clip = Clip { features: features(&spoken.recording), digit: u32::from(spoken.digit) };
        if spoken.take < 5 { test.push(clip) } else { training.push(clip) }
    }
    Ok((training, test))
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let mut settings = Vec::new();
    if context.scale() != Scale::Smoke && !context.is_synthetic() {
        for seed in 0..3 {
            for is_tcn in [false, true] {
                settings.push(Setting { is_tcn, seed, epochs: 10, device: context.device().to_owned() });
            }
        }
    }
    let data = if settings.is_empty() { Default::default() } else { clips(context)? };
    let id = |s: &Setting| format!("{}-{}", if s.is_tcn { "tcn" } else { "sithcon" }, s.seed);
    let trials = settings.iter().map(|s| Trial::new(id(s), s.clone())).collect();
    let results = context.trials("speech", trials, |setting, trial| train(setting, &data, trial))?;
    Ok(Runs { settings, results })
}

fn network(is_tcn: bool, store: &ParamStore) -> timeseries::Result<Network> {
    let vb = store.var_builder();
    if is_tcn {
        return Ok(Network::Tcn(tcn(BANDS, 10, &TcnConfig::default(), vb)?));
    }
    // clips have about 40 frames: a bank up to 400 covers twice that with room to spare
    let mut layer = SithConLayerConfig { channels: 25, kernel_width: 15, ..SithConLayerConfig::default() };
    let memory = &mut layer.memory;
    (memory.tau_min, memory.tau_max, memory.num_taus, memory.buffer) = (0.5, 400., 200, 650.);
    let config = SithConConfig { layers: vec![layer; 2], ..SithConConfig::spoken_digits() };
    Ok(Network::SithCon(sithcon(BANDS, 10, &config, vb)?))
}

fn batch<'a>(
    clips: impl Iterator<Item = &'a Clip>,
    stretch: f64,
    device: &Device,
) -> timeseries::Result<(Sequences, Vec<u32>)> {
    let (mut values, mut lengths, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for clip in clips {
        let features = clip.stretched(stretch);
        lengths.push(features.len() / BANDS);
        values.extend(features);
        labels.push(clip.digit);
    }
    let rows = values.len() / BANDS;
    Ok((Sequences::new(Tensor::from_vec(values, (rows, BANDS), device)?, &lengths)?, labels))
}

fn train(
    setting: &Setting,
    data: &(Vec<Clip>, Vec<Clip>),
    trial: &TrialContext,
) -> std::result::Result<Vec<f64>, experiment::BoxError> {
    let (training, test) = data;
    let device = core_tensor::device::parse(&setting.device)?;
    let seed = trial.seed_of(&crate::stream(setting.seed));
    let store = ParamStore::new(seed, DType::F32, &device);
    let network = network(setting.is_tcn, &store)?;
    let mut trainer = Trainer::new(Adam::new(&store, AdamConfig::default())?);
    let mut order = Rng::new(seed).fork("order");
    let mut noise = Rng::new(seed).fork("noise");
    for epoch in 0..setting.epochs {
        let (mut losses, mut right) = (Vec::new(), 0);
        for part in &minibatches(training.len(), BATCH, Rest::Keep, &mut order)? {
            let (x, labels) = batch(part.iter().map(|&i| &training[i as usize]), 1., &device)?;
            let logits = network.forward_training(&x, &mut noise)?;
            let loss = ops::cross_entropy(&logits, &Tensor::new(labels.as_slice(), &device)?)?;
            losses.push(f64::from(loss.to_scalar::<f32>()?));
            right += num_right(&logits.detach(), &labels)?;
            trainer.step(&loss)?;
            trial.check_cancelled()?;
        }
        let accuracy = right as f64 / training.len() as f64;
        trial.epoch(
            epoch + 1,
            setting.epochs,
            &format!("loss {:.3}, accuracy {accuracy:.3}", statistics::mean(&losses)),
        );
    }
    let mut accuracies = Vec::new();
    for stretch in STRETCHES {
        let mut right = 0;
        for part in test.chunks(BATCH) {
            let (x, labels) = batch(part.iter(), stretch, &device)?;
            right += num_right(&network.forward(&x)?, &labels)?;
            trial.check_cancelled()?;
        }
        accuracies.push(right as f64 / test.len() as f64);
    }
    Ok(accuracies)
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    if runs.settings.is_empty() || !runs.results.is_complete() {
        return Ok(());
    }
    let (settings, results) = (runs.settings, runs.results.all()?);
    let of = |is_tcn: bool, stretch: usize| -> Vec<f64> {
        settings
            .iter()
            .zip(&results)
            .filter(|(s, _)| s.is_tcn == is_tcn)
            .map(|(_, accuracy)| accuracy[stretch])
            .collect()
    };
    let mean = |is_tcn: bool, stretch: usize| statistics::mean(&of(is_tcn, stretch));
    let drop = |is_tcn: bool| mean(is_tcn, 1) - (mean(is_tcn, 0) + mean(is_tcn, 2)) / 2.;
    let measured = |value: f64, spread: Option<f64>, note: Option<String>| Measured {
        value,
        spread,
        trials: settings.len() / 2,
        data: "Free Spoken Digit Dataset".into(),
        note,
        ..Measured::default()
    };
    let note = format!("drops {:.3} and {:.3}", drop(false), drop(true));
    context.claim("speech-drop", measured(drop(false) / drop(true), None, Some(note)))?;
    let own = of(false, 1);
    context.claim(
        "speech-accuracy",
        measured(statistics::mean(&own), statistics::sample_standard_deviation(&own), None),
    )?;
    let mut table = Table::new(["model", "half the duration", "as spoken", "twice the duration"]);
    let mut bars = Vec::new();
    for (name, is_tcn) in [("SITHCon", false), ("TCN", true)] {
        let values: Vec<f64> = (0..3).map(|i| mean(is_tcn, i)).collect();
        let mut row = vec![name.to_owned()];
        row.extend(values.iter().map(|value| format!("{value:.3}")));
        table.rows.push(row);
        let errors = (0..3).map(|i| statistics::sample_standard_deviation(&of(is_tcn, i)).unwrap_or(0.)).collect();
        bars.push(Bars::new(name, values).errors(errors));
    }
    context.table("Accuracy on spoken digits (FSDD), trained as spoken, mean of three seeds", table);
    let categories = ["half the duration", "as spoken", "twice the duration"].map(String::from).to_vec();
    context
        .plot("speech", Plot::bars("Spoken digits (FSDD) at other speeds", Axis::linear("accuracy"), categories, bars))
}
