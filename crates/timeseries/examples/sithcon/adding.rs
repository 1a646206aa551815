//! The Morse adding problem: reduced at `laptop`, in full at `paper`.

use crate::train::Network;
use candle_core::{DType, Device, Tensor};
use core_tensor::ops;
use core_tensor::optim::{Adam, AdamConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::schedule::Schedule;
use core_tensor::train::Trainer;
use experiment::{Axis, Context, Outcome, Plot, Result, Scale, Series, Table, Trial, TrialContext, statistics};
use serde::{Deserialize, Serialize};
use timeseries::sithcon::morse::AddingItem;
use timeseries::sithcon::{Sequences, SithConConfig, sithcon};
use timeseries::tcn::{TcnConfig, tcn};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Setting {
    is_tcn: bool,
    is_full: bool,
    seed: u64,
    steps: usize,
    device: String,
}

pub(crate) struct Runs {
    settings: Vec<Setting>,
    results: Outcome<Vec<f64>>,
}

const SEEDS: u64 = 3;
const BATCH: usize = 32;
/// The reduced problem's training is shorter than the authors' at a higher rate that falls to 0, both chosen once with seed 0 on items of their own.
const REDUCED_STEPS: usize = 5_000;
const REDUCED_LEARNING_RATE: f64 = 3e-3;

fn scales(is_full: bool) -> Vec<usize> {
    if is_full { (1..=19).collect() } else { vec![1, 2, 3, 4, 5, 6, 7, 8, 10, 12] }
}

/// The items of a test: the fixed set of the full problem, or 300 drawn from a seed of their own.
fn test_items(context: &Context) -> Result<Vec<AddingItem>> {
    if context.scale() == Scale::Laptop {
        let mut rng = Rng::new(context.seed_of("adding test items"));
        let items = (0..300).map(|_| AddingItem::random(4, &mut rng)).collect::<timeseries::Result<_>>();
        return items.map_err(experiment::BoxError::from);
    }
    let store = reproduction::store(context)?;
    let items = datasets::morse::load(&store)?;
    Ok(items.iter().map(|item| AddingItem { digits: item.digits.to_vec(), marked: item.marked }).collect())
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let mut settings = Vec::new();
    if context.scale() != Scale::Smoke {
        let is_full = context.scale() == Scale::Paper;
        for seed in 0..if is_full { 1 } else { SEEDS } {
            for is_tcn in [false, true] {
                // the paper does not say how many steps were taken
                let steps = if is_full { 50_000 } else { REDUCED_STEPS };
                settings.push(Setting { is_tcn, is_full, seed, steps, device: context.device().to_owned() });
            }
        }
    }
    let items = if settings.is_empty() { Vec::new() } else { test_items(context)? };
    let id = |s: &Setting| format!("{}-{}", if s.is_tcn { "tcn" } else { "sithcon" }, s.seed);
    let trials = settings.iter().map(|s| Trial::new(id(s), s.clone())).collect();
    let results = context.trials("adding", trials, |setting, trial| train(setting, &items, trial))?;
    Ok(Runs { settings, results })
}

fn network(setting: &Setting, store: &ParamStore) -> timeseries::Result<Network> {
    let vb = store.var_builder();
    if setting.is_tcn {
        let channels = vec![25; if setting.is_full { 8 } else { 3 }];
        return Ok(Network::Tcn(tcn(2, 1, &TcnConfig { channels, kernel: 45 }, vb)?));
    }
    let mut config = SithConConfig::morse_adding();
    if !setting.is_full {
        // The full problem's bank: one that ends where the signals do shows the network its end, and the error grows with the scale while that of training falls.
        config.layers.truncate(2);
        config.layers.iter_mut().for_each(|layer| layer.channels = 15);
    }
    Ok(Network::SithCon(sithcon(2, 1, &config, vb)?))
}

/// Items as sequences `[rows, 2]` with their targets `[items, 1]`.
fn batch(items: &[AddingItem], scale: usize, device: &Device) -> timeseries::Result<(Sequences, Tensor)> {
    let (mut values, mut lengths) = (Vec::new(), Vec::new());
    for item in items {
        let [signal, marks] = item.channels(scale)?;
        lengths.push(signal.len());
        values.extend(signal.into_iter().zip(marks).flat_map(|(a, b)| [a, b]));
    }
    let rows = values.len() / 2;
    let x = Sequences::new(Tensor::from_vec(values, (rows, 2), device)?, &lengths)?;
    let targets: Vec<f32> = items.iter().map(|item| item.target() as f32).collect();
    Ok((x, Tensor::from_vec(targets, (items.len(), 1), device)?))
}

fn train(
    setting: &Setting,
    items: &[AddingItem],
    trial: &TrialContext,
) -> std::result::Result<Vec<f64>, experiment::BoxError> {
    let device = core_tensor::device::parse(&setting.device)?;
    let seed = trial.seed_of(&crate::stream(setting.seed));
    let store = ParamStore::new(seed, DType::F32, &device);
    let network = network(setting, &store)?;
    let adam = |learning_rate| Adam::new(&store, AdamConfig { learning_rate, ..AdamConfig::default() });
    let mut trainer = match setting.is_full {
        true => Trainer::new(adam(AdamConfig::default().learning_rate)?),
        false => Trainer::new(adam(REDUCED_LEARNING_RATE)?)
            .schedule(Schedule::Cosine { steps: setting.steps as u64, minimum: 0. }),
    };
    let mut rng = Rng::new(seed).fork("items");
    let mut noise = Rng::new(seed).fork("noise");
    let (digits, scale) = if setting.is_full { (10, 5) } else { (4, 4) };
    let mut recent = Vec::new();
    for step in 0..setting.steps {
        let drawn: Vec<AddingItem> =
            (0..BATCH).map(|_| AddingItem::random(digits, &mut rng)).collect::<timeseries::Result<_>>()?;
        let (x, target) = batch(&drawn, scale, &device)?;
        let loss = ops::mse(&network.forward_training(&x, &mut noise)?, &target)?;
        trainer.step(&loss)?;
        recent.push(f64::from(loss.to_scalar::<f32>()?));
        if (step + 1) % 50 == 0 {
            trial.epoch(step + 1, setting.steps, &format!("squared error {:.4}", statistics::mean(&recent)));
            recent.clear();
        }
        trial.check_cancelled()?;
    }
    let mut errors = Vec::new();
    for scale in scales(setting.is_full) {
        let mut sum = 0.;
        for part in items.chunks(BATCH) {
            trial.check_cancelled()?;
            let (x, target) = batch(part, scale, &device)?;
            let difference = (network.forward(&x)?.detach() - target)?;
            sum += f64::from(difference.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        errors.push(sum / items.len() as f64);
    }
    Ok(errors)
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    if runs.settings.is_empty() || !runs.results.is_complete() {
        return Ok(());
    }
    let is_full = context.scale() == Scale::Paper;
    let targets: Vec<f64> = test_items(context)?.iter().map(AddingItem::target).collect();
    let mean = statistics::mean(&targets);
    let variance = targets.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / targets.len() as f64;
    let (settings, results) = (runs.settings, runs.results.all()?);
    let scales = scales(is_full);
    let curve = |is_tcn: bool| -> Vec<f64> {
        let of: Vec<&Vec<f64>> =
            settings.iter().zip(&results).filter(|(s, _)| s.is_tcn == is_tcn).map(|(_, r)| r).collect();
        (0..scales.len()).map(|i| statistics::mean(&of.iter().map(|errors| errors[i]).collect::<Vec<_>>())).collect()
    };
    let (sithcon, tcn) = (curve(false), curve(true));
    let chosen = |errors: &[f64], is_chosen: &dyn Fn(usize) -> bool| -> Vec<f64> {
        scales.iter().zip(errors).filter(|(scale, _)| is_chosen(**scale)).map(|(_, &error)| error).collect()
    };
    let most = |values: Vec<f64>| values.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let least = |values: Vec<f64>| values.into_iter().fold(f64::INFINITY, f64::min);
    let seeds = vec![0.; settings.len() / 2];
    if is_full {
        let value = most(chosen(&sithcon, &|scale| scale >= 3));
        context.claim("adding-full", crate::morse(&seeds, value, None))?;
        context.claim("adding-full-tcn", crate::morse(&seeds, least(chosen(&tcn, &|scale| scale != 5)), None))?;
    } else {
        let value = most(chosen(&sithcon, &|scale| [3, 4, 6, 8].contains(&scale))) / variance;
        context.claim("adding-range", crate::morse(&seeds, value, None))?;
        let value = least(chosen(&tcn, &|scale| scale >= 7)) / variance;
        context.claim("adding-tcn", crate::morse(&seeds, value, None))?;
    }
    let mut table = Table::new(["scale", "SITHCon", "TCN", "predicting the mean"]);
    for (i, scale) in scales.iter().enumerate() {
        let number = |x: f64| format!("{x:.5}");
        table.rows.push(vec![scale.to_string(), number(sithcon[i]), number(tcn[i]), number(variance)]);
    }
    context.table("Mean squared error of the adding problem by time scale, mean of seeds", table);
    let x: Vec<f64> = scales.iter().map(|&scale| scale as f64).collect();
    let series = vec![
        Series::new("SITHCon", x.clone(), sithcon),
        Series::new("TCN", x.clone(), tcn),
        Series::new("predicting the mean", x, vec![variance; scales.len()]),
    ];
    let title = "Mean squared error against time scale, Morse adding problem";
    context.plot("adding", Plot::lines(title, Axis::linear("samples a bit"), Axis::log("mean squared error"), series))
}
