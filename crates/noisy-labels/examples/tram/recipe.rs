//! Generated annotators: four Gaussian classes in 20 dimensions, 50 annotators, some of whom do not look.

use crate::learn::{Data, Learned, Method, Plan, Result as Found, learn};
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::VarBuilder;
use core_tensor::nn::linear;
use core_tensor::random::Rng;
use core_tensor::{Mode, ops};
use experiment::{Axis, Bars, Context, Measured, Outcome, Plot, Result, Series, Table, Trial, statistics};
use noisy_labels::noise::{Behaviour, annotate};
use noisy_labels::tram::{Backbone, Information, PiColumn};
use serde::{Deserialize, Serialize};

const CLASSES: usize = 4;
const FEATURES: usize = 20;
const HIDDEN: usize = 128;
const ANNOTATORS: usize = 50;
const SEEDS: u64 = 3;
const DATA: &str = "generated annotators";

/// What is varied: who is bad and how, how much there is to learn from, and for how long.
struct Setting {
    name: &'static str,
    bad: &'static str,
    share: f64,
    examples: usize,
    epochs: usize,
    random: usize,
}

const SETTINGS: [Setting; 5] = [
    Setting { name: "ann", bad: "ann", share: 0.4, examples: 2000, epochs: 40, random: 0 },
    Setting { name: "ann, 4000", bad: "ann", share: 0.4, examples: 4000, epochs: 20, random: 0 },
    Setting { name: "ann, 60 % bad", bad: "ann", share: 0.6, examples: 2000, epochs: 40, random: 8 },
    Setting { name: "const", bad: "const", share: 0.4, examples: 2000, epochs: 40, random: 0 },
    Setting { name: "random", bad: "random", share: 0.4, examples: 2000, epochs: 60, random: 16 },
];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Run {
    setting: usize,
    method: Method,
    seed: u64,
}

/// With the true shares of right labels of the annotators.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    learned: Learned,
    noise: f64,
    reliabilities: Vec<f64>,
}

pub(crate) struct Runs {
    runs: Vec<Run>,
    results: Outcome<Kept>,
}

/// The data of a setting, and the share of wrong labels.
fn data(setting: &Setting, seed: u64) -> Found<(Data, f64, Vec<f64>)> {
    let rng = Rng::new(seed);
    let means = rng.fork("means").normal(0., 0.9, (CLASSES, FEATURES), DType::F64, &Device::Cpu)?.to_vec2::<f64>()?;
    let drawn = |name: &str, count: usize| -> Found<(Tensor, Vec<u32>)> {
        let mut rng = rng.fork(name);
        let truth: Vec<u32> = (0..count).map(|_| rng.below(CLASSES) as u32).collect();
        let noise = rng.normal(0., 1., (count, FEATURES), DType::F64, &Device::Cpu)?.to_vec2::<f64>()?;
        let values = noise.iter().zip(&truth).flat_map(|(row, &class)| {
            row.iter().zip(&means[class as usize]).map(|(x, mean)| (x + mean) as f32).collect::<Vec<_>>()
        });
        Ok((Tensor::from_vec(values.collect::<Vec<f32>>(), (count, FEATURES), &Device::Cpu)?, truth))
    };
    let (x, truth) = drawn("training", setting.examples)?;
    let (test, test_truth) = drawn("test", 4000)?;
    let bad = (setting.share * ANNOTATORS as f64).round() as usize;
    let behaviours: Vec<Behaviour> = (0..ANNOTATORS)
        .map(|annotator| match setting.bad {
            _ if annotator >= bad => Behaviour::Accurate(0.95),
            "ann" => Behaviour::Constant((annotator % CLASSES) as u32),
            "const" => Behaviour::Constant(0),
            _ => Behaviour::Spammer,
        })
        .collect();
    let annotations = annotate(&truth, CLASSES, &behaviours, 1, &mut rng.fork("annotators"))?;
    let annotations = annotations.all();
    let examples: Vec<u32> = annotations.iter().map(|a| a.item).collect();
    let labels: Vec<u32> = annotations.iter().map(|a| a.label).collect();
    let annotators: Vec<u64> = annotations.iter().map(|a| a.annotator.into()).collect();
    let (mut right, mut counts) = (vec![0f64; ANNOTATORS], vec![0f64; ANNOTATORS]);
    for a in annotations {
        counts[a.annotator as usize] += 1.;
        right[a.annotator as usize] += f64::from(u8::from(a.label == truth[a.item as usize]));
    }
    let noise = 1. - right.iter().sum::<f64>() / annotations.len() as f64;
    let reliabilities = right.iter().zip(&counts).map(|(right, count)| right / count.max(1.)).collect();
    let ids = PiColumn::Ids(annotators.iter().copied().map(Some).collect());
    let information = Information::new(labels.len(), vec![ids])?;
    let data = Data { x, examples, labels, annotators, information, test, truth: test_truth };
    Ok((data, noise, reliabilities))
}

/// Two hidden layers.
pub(crate) fn backbone(vb: VarBuilder<'static>) -> core_tensor::Result<Box<dyn Backbone>> {
    let (first, second) = (linear(FEATURES, HIDDEN, vb.pp("1"))?, linear(HIDDEN, HIDDEN, vb.pp("2"))?);
    Ok(Box::new(move |x: &Tensor, _: &mut Mode<'_>| ops::relu(&second.forward(&ops::relu(&first.forward(x)?)?)?)))
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let mut runs = Vec::new();
    for setting in 0..SETTINGS.len() {
        for method in [Method::NoInformation, Method::Tram, Method::TramZero, Method::Marginal] {
            let seeds = if method == Method::Marginal && setting > 0 { 0 } else { SEEDS };
            runs.extend((0..seeds).map(|seed| Run { setting, method, seed }));
        }
    }
    let id = |run: &Run| format!("{}-{}-{}", run.setting, run.method.id(), run.seed);
    let trials = runs.iter().map(|run| Trial::new(id(run), run.clone())).collect();
    let results = context.trials("recipe", trials, |run, trial| {
        let setting = &SETTINGS[run.setting];
        // the methods of a seed share data, first values and order
        let seed = trial.seed_of(&format!("{}-{}", run.setting, run.seed));
        let (data, noise, reliabilities) = data(setting, seed)?;
        let plan = Plan {
            method: run.method,
            classes: CLASSES,
            features: HIDDEN,
            width: 32,
            random: setting.random,
            epochs: setting.epochs,
            seed,
            watched: 4000,
            backbone: &backbone,
        };
        Ok(Kept { learned: learn(&plan, &data, trial)?, noise, reliabilities })
    })?;
    Ok(Runs { runs, results })
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    if !runs.results.is_complete() {
        return Ok(());
    }
    let results = runs.results.all()?;
    let of = |setting: usize, method: Method| -> Vec<&Kept> {
        let chosen = runs.runs.iter().zip(&results);
        chosen.filter(|(run, _)| run.setting == setting && run.method == method).map(|(_, kept)| kept).collect()
    };
    let values = |setting: usize, method: Method, value: &dyn Fn(&Kept) -> f64| -> Vec<f64> {
        of(setting, method).into_iter().map(value).collect()
    };
    let accuracy = |kept: &Kept| kept.learned.score.accuracy;
    let nll = |kept: &Kept| kept.learned.score.nll;
    let mean = |setting: usize, method: Method, value: &dyn Fn(&Kept) -> f64| {
        statistics::mean(&values(setting, method, value))
    };
    let differences = |setting: usize, a: Method, b: Method| -> Vec<f64> {
        let pairs = values(setting, a, &accuracy).into_iter().zip(values(setting, b, &accuracy));
        pairs.map(|(a, b)| a - b).collect()
    };
    let measured = |values: &[f64]| Measured { is_synthetic: true, ..Measured::mean_of(values, DATA) };
    context.claim("ann-none", measured(&differences(0, Method::Tram, Method::NoInformation)))?;
    context.claim("ann-zero", measured(&differences(0, Method::Tram, Method::TramZero)))?;
    context.claim("ann-spam", measured(&differences(2, Method::Tram, Method::NoInformation)))?;
    let gains: Vec<f64> = (0..SETTINGS.len())
        .map(|setting| mean(setting, Method::NoInformation, &nll) - mean(setting, Method::Tram, &nll))
        .collect();
    let smallest = gains.iter().copied().fold(f64::INFINITY, f64::min);
    context.claim("nll", Measured { value: smallest, ..measured(&gains) })?;
    let exact = |kept: &Kept| {
        let found = kept.learned.others.iter().find(|(name, _)| name == "exact");
        found.map_or(f64::NAN, |(_, score)| 100. * (score.accuracy - kept.learned.score.accuracy).abs())
    };
    let apart = values(0, Method::Marginal, &exact);
    let largest = apart.iter().copied().fold(0., f64::max);
    context.claim("marginal", Measured { value: largest, ..measured(&apart) })?;
    context.claim("random-zero", measured(&differences(4, Method::Tram, Method::TramZero)))?;

    let mut table = Table::new(["setting", "wrong labels", "no information", "TRAM", "TRAM, zeros"]);
    for (at, setting) in SETTINGS.iter().enumerate() {
        let cell = |method: Method| format!("{:.3} / {:.3}", mean(at, method, &accuracy), mean(at, method, &nll));
        table.rows.push(vec![
            setting.name.to_owned(),
            format!("{:.3}", mean(at, Method::NoInformation, &|kept| kept.noise)),
            cell(Method::NoInformation),
            cell(Method::Tram),
            cell(Method::TramZero),
        ]);
    }
    context.table("Generated annotators: test accuracy / negative log-likelihood, mean of seeds", table);
    let bars = |method: Method| {
        let of = |value: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
            (0..SETTINGS.len()).map(|at| value(&values(at, method, &accuracy))).collect()
        };
        Bars::new(method.name(), of(&|v| statistics::mean(v)))
            .errors(of(&|v| statistics::confidence_95(v).unwrap_or(0.)))
    };
    let series = [Method::NoInformation, Method::Tram, Method::TramZero].map(bars).to_vec();
    let names = SETTINGS.iter().map(|setting| setting.name.to_owned()).collect();
    let title = "Generated annotators: test accuracy with intervals of 95 %";
    context.plot("settings", Plot::bars(title, Axis::linear("test accuracy"), names, series))?;
    let epochs: Vec<f64> = (1..=SETTINGS[0].epochs).map(|epoch| epoch as f64).collect();
    let series = [Method::NoInformation, Method::Tram, Method::TramZero].map(|method| {
        let at = |epoch: usize| mean(0, method, &|kept| kept.learned.curve[epoch]);
        Series::new(method.name(), epochs.clone(), (0..epochs.len()).map(at).collect())
    });
    let title = "Setting ann: test accuracy while training (memorisation)";
    let plot = Plot::lines(title, Axis::linear("epoch"), Axis::linear("test accuracy"), series.to_vec());
    context.plot("epochs", plot)?;
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for kept in of(0, Method::Tram) {
        for &(annotator, found) in &kept.learned.reliabilities {
            x.push(kept.reliabilities[annotator as usize]);
            y.push(found);
        }
    }
    let title = "Setting ann: annotators' reliability, as TRAM takes it and as it is";
    let series = vec![Series::new("annotators", x, y)];
    let axes = (Axis::linear("share of right labels"), Axis::linear("mean probability of the given label"));
    context.plot("annotators", Plot::scatter(title, axes.0, axes.1, series))
}
