//! What needs no training: the shift of the memory, and the decoder that was trained by the authors' modules.

use crate::decoder::{SCALES, accuracy};
use crate::train::{Network, one_feature};
use candle_core::{DType, Device};
use core_tensor::params::ParamStore;
use experiment::{Axis, Context, Outcome, Plot, Result, Series, Trial};
use serde::{Deserialize, Serialize};
use timeseries::sithcon::{LogTimeConfig, LogTimeMemory, SithCon, SithConConfig, morse, sithcon};

/// Parameters of a decoder that the authors' modules trained with seed 0; the tests read the same file.
const TRAINED: &[u8] = include_bytes!("../../tests/golden/sithcon/morse_trained.safetensors");
/// Its accuracy as measured with the authors' modules at the first of [`SCALES`]; at all others it is 1.
const FIRST: f64 = 0.767;
/// The number of filters, the scales, and the accuracies measured there with the authors' modules.
const EXTENSION: [(usize, &[usize], &[f64]); 3] = [
    (313, &[5, 8, 10, 15, 20, 30], &[1., 1., 0.953, 0.698, 0.488, 0.256]),
    (400, &[5, 10, 40, 80, 120], &[1., 1., 1., 1., 0.860]),
    (487, &[5, 10, 40, 80, 120], &[1., 1., 1., 1., 1.]),
];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Part {
    Shift,
    Curve,
    Extension(usize),
}

pub(crate) struct Runs {
    results: Outcome<Vec<f64>>,
}

fn trained(device: &Device) -> timeseries::Result<SithCon> {
    let store = ParamStore::new(0, DType::F32, device);
    let model = sithcon(1, 43, &SithConConfig::morse_decoder(), store.var_builder())?;
    for (name, value) in candle_core::safetensors::load_buffer(TRAINED, device)? {
        if let Some(name) = name.strip_prefix("param.") {
            store.set(name, &value)?;
        }
    }
    Ok(model)
}

/// The largest difference of a memory from the shifted memory of the same signal at half the speed, over the largest activity.
fn shift_error(samples: usize, num_taus: usize, buffer: f64) -> timeseries::Result<f64> {
    // twenty filters for a factor of two
    let tau_max = 2f64.powf((num_taus - 1) as f64 / 20.);
    let config = LogTimeConfig { tau_min: 1., tau_max, num_taus, buffer, ..LogTimeConfig::default() };
    let memory = LogTimeMemory::new(config)?;
    let at_end = |scale: usize| -> timeseries::Result<Vec<f64>> {
        let x = one_feature(&morse::alphabet(scale)?[..1], &Device::Cpu)?;
        let values = x.values().to_dtype(DType::F64)?;
        let x = timeseries::sithcon::Sequences::new(values, &[x.longest()])?;
        Ok(memory.forward_last(&x)?.flatten_all()?.to_vec1()?)
    };
    let (fast, slow) = (at_end(samples)?, at_end(2 * samples)?);
    let largest = slow.iter().fold(0f64, |a, &b| a.max(b));
    Ok(fast.iter().zip(&slow[20..]).map(|(a, b)| (a - b).abs()).fold(0., f64::max) / largest)
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let device = context.device().to_owned();
    let mut trials =
        vec![Trial::new("shift", (Part::Shift, device.clone())), Trial::new("curve", (Part::Curve, device.clone()))];
    trials.extend((0..3).map(|bank| Trial::new(format!("extension-{bank}"), (Part::Extension(bank), device.clone()))));
    let results = context.trials("reference", trials, |(part, device), trial| {
        let device = core_tensor::device::parse(device)?;
        let at = |network: Network, scales: &[usize]| -> std::result::Result<Vec<f64>, experiment::BoxError> {
            let mut all = Vec::new();
            for &scale in scales {
                trial.check_cancelled()?;
                all.push(accuracy(&network, scale, &device)?);
            }
            Ok(all)
        };
        match part {
            Part::Shift => Ok(vec![shift_error(5, 121, 300.)?, shift_error(40, 161, 1500.)?]),
            Part::Curve => at(Network::SithCon(trained(&device)?), &SCALES),
            Part::Extension(bank) => {
                let (num_taus, scales, _) = EXTENSION[*bank];
                at(Network::SithCon(trained(&device)?.with_num_taus(num_taus)?), scales)
            }
        }
    })?;
    Ok(Runs { results })
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    if !runs.results.is_complete() {
        return Ok(());
    }
    let results = runs.results.all()?;
    let [shift, curve, extensions @ ..] = results.as_slice() else { return Ok(()) };
    context.claim("shift-coarse", crate::morse(&shift[..1], shift[0], None))?;
    context.claim("shift-fine", crate::morse(&shift[..1], shift[1], None))?;
    let symbols = |a: f64, b: f64| ((a - b).abs() * 43.).round();
    let expected = |at: usize| if at == 0 { FIRST } else { 1. };
    let worst = curve.iter().enumerate().map(|(at, &a)| symbols(a, expected(at))).fold(0., f64::max);
    context.claim("trained-curve", crate::morse(&[worst], worst, None))?;
    let mut worst = 0f64;
    let mut series = Vec::new();
    for ((num_taus, scales, expected), found) in EXTENSION.iter().zip(extensions) {
        worst = found.iter().zip(*expected).map(|(&a, &b)| symbols(a, b)).fold(worst, f64::max);
        let x = scales.iter().map(|&scale| scale as f64).collect();
        series.push(Series::new(format!("{num_taus} filters"), x, found.clone()));
    }
    context.claim("trained-extension", crate::morse(&[worst], worst, None))?;
    let title =
        "Accuracy of one set of weights with banks of several lengths (weights trained by the authors' modules at 10)";
    context.plot("extension", Plot::lines(title, Axis::log("samples a bit"), Axis::linear("accuracy"), series))
}
