//! CIFAR-10 with labels of people, at the laptop's scale.

use crate::cifar;
use crate::learn::{Data, Learned, Method, Plan, Result as Found, learn};
use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use core_tensor::Mode;
use core_tensor::random::Rng;
use datasets::human_labels::{Cifar10N, load_cifar_10n};
use datasets::images::{ImageSplit, LabelledImages};
use experiment::{Axis, Bars, Context, Measured, Outcome, Plot, Result, Series, Table, Trial, statistics};
use noisy_labels::tram::{Backbone, Information, PiColumn};
use serde::{Deserialize, Serialize};
use vision::ImageNetwork;
use vision::small::{PlainCnnConfig, plain_cnn};

const IMAGES: usize = 10_000;
const EPOCHS: usize = 10;
const SEEDS: u64 = 5;
/// Of the methods that are only reported.
const REPORTED_SEEDS: u64 = 2;
/// The seconds that give an adversary away.
const TELL_TALE: f64 = 231.;

/// Who labels beside the people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Adversaries {
    Nobody,
    /// One for each image, who labels at random, in a very long time.
    Slow,
    /// The same in the time of a person.
    Hidden,
}

impl Adversaries {
    fn name(self) -> &'static str {
        match self {
            Self::Nobody => "people",
            Self::Slow => "people and adversaries",
            Self::Hidden => "people and adversaries without their time",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Run {
    adversaries: Adversaries,
    method: Method,
    seed: u64,
}

pub(crate) struct Runs {
    runs: Vec<Run>,
    data: String,
    results: Outcome<Learned>,
}

const COMPARED: [Method; 3] = [Method::NoInformation, Method::Tram, Method::TramZero];
const REPORTED: [Method; 4] = [Method::Marginal, Method::Distillation, Method::TramRandom, Method::HetTram];

fn tensor(images: &LabelledImages, count: usize) -> Result<Tensor> {
    let values: Vec<f32> =
        images.pixels[..count * images.image_size()].iter().map(|&x| f32::from(x) / 127.5 - 1.).collect();
    Ok(Tensor::from_vec(values, (count, images.channels, images.height, images.width), &Device::Cpu)?)
}

/// The first images, each with the label of one of its annotators, drawn, and perhaps that of an adversary.
fn data(images: &Tensors, people: &Cifar10N, adversaries: Adversaries, seed: u64) -> Found<Data> {
    let rng = Rng::new(seed);
    let mut choice = rng.fork("annotators");
    let (mut examples, mut labels, mut ids, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for image in 0..IMAGES {
        let annotation = &people.annotations[choice.below(people.annotations.len())];
        examples.push(image as u32);
        labels.push(annotation.labels[image].into());
        ids.push(u64::from(annotation.work.annotators[image]));
        times.push(annotation.work.seconds[image]);
    }
    if adversaries != Adversaries::Nobody {
        // As many new annotators as give each the load of a person.
        let mut distinct = ids.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let load = IMAGES as f64 / distinct.len() as f64;
        let count = (IMAGES as f64 / load).round().max(1.) as usize;
        let mut rng = rng.fork("adversaries");
        for image in 0..IMAGES {
            examples.push(image as u32);
            labels.push(rng.below(10) as u32);
            ids.push((people.num_annotators() + rng.below(count)) as u64);
            times.push(if adversaries == Adversaries::Slow { TELL_TALE } else { times[rng.below(IMAGES)] });
        }
    }
    let columns = vec![
        PiColumn::Ids(ids.iter().copied().map(Some).collect()),
        PiColumn::Numbers(times.into_iter().map(Some).collect()),
    ];
    let information = Information::new(labels.len(), columns)?;
    let (x, test, truth) = (images.training.clone(), images.test.clone(), images.truth.clone());
    Ok(Data { x, examples, labels, annotators: ids, information, test, truth })
}

struct Tensors {
    training: Tensor,
    test: Tensor,
    truth: Vec<u32>,
}

fn backbone(vb: VarBuilder<'static>) -> core_tensor::Result<Box<dyn Backbone>> {
    let core = |error: vision::Error| core_tensor::Error::from(candle_core::Error::from(error));
    let config = PlainCnnConfig { input_channels: 3, num_classes: 10, layers: vec![(32, 2), (64, 2), (128, 2)] };
    let network = plain_cnn(&config, vb).map_err(core)?;
    Ok(Box::new(move |x: &Tensor, mode: &mut Mode<'_>| network.features(x, mode).map_err(core)))
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let mut runs = Vec::new();
    // what is judged comes first
    for adversaries in [Adversaries::Nobody, Adversaries::Slow, Adversaries::Hidden] {
        for seed in 0..SEEDS {
            runs.extend(COMPARED.map(|method| Run { adversaries, method, seed }));
        }
    }
    for seed in 0..REPORTED_SEEDS {
        runs.extend(REPORTED.map(|method| Run { adversaries: Adversaries::Slow, method, seed }));
    }
    let store = reproduction::store(context)?;
    let (ImageSplit { train, test }, name) = cifar::load(&store)?;
    let people = load_cifar_10n(&store)?;
    people.check_order(&train)?;
    let images = Tensors {
        training: tensor(&train, IMAGES)?,
        test: tensor(&test, test.len())?,
        truth: test.labels.iter().map(|&label| label.into()).collect(),
    };
    let id = |run: &Run| format!("{:?}-{}-{}", run.adversaries, run.method.id(), run.seed).to_lowercase();
    let trials = runs.iter().map(|run| Trial::new(id(run), run.clone())).collect();
    let results = context.trials("people", trials, |run, trial| {
        // the methods of a seed share labels, first values and order
        let seed = trial.seed_of(&format!("people-{}", run.seed));
        let data = data(&images, &people, run.adversaries, seed)?;
        let plan = Plan {
            method: run.method,
            classes: 10,
            features: 128,
            width: 128,
            random: 0,
            epochs: EPOCHS,
            seed,
            watched: if run.seed == 0 { 2000 } else { 0 },
            backbone: &backbone,
        };
        learn(&plan, &data, trial)
    })?;
    Ok(Runs { runs, data: format!("CIFAR-10N, {name}"), results })
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    if !runs.results.is_complete() {
        return Ok(());
    }
    let results = runs.results.all()?;
    let of = |adversaries: Adversaries, method: Method| -> Vec<&Learned> {
        let chosen = runs.runs.iter().zip(&results);
        chosen
            .filter(|(run, _)| run.adversaries == adversaries && run.method == method)
            .map(|(_, learned)| learned)
            .collect()
    };
    let points = |adversaries: Adversaries, method: Method| -> Vec<f64> {
        of(adversaries, method).iter().map(|learned| 100. * learned.score.accuracy).collect()
    };
    let differences = |adversaries: Adversaries, a: Method, b: Method| -> Vec<f64> {
        points(adversaries, a).iter().zip(points(adversaries, b)).map(|(a, b)| a - b).collect()
    };
    let claim = |values: &[f64]| {
        let interval = statistics::confidence_95(values).unwrap_or(f64::NAN);
        let note = format!("mean of {} paired differences, interval of 95 % ± {interval:.2}", values.len());
        Measured { note: Some(note), ..Measured::mean_of(values, runs.data.as_str()) }
    };
    let pairs = [
        ("people-none", Adversaries::Nobody, Method::NoInformation),
        ("people-zero", Adversaries::Nobody, Method::TramZero),
        ("adversaries-none", Adversaries::Slow, Method::NoInformation),
        ("adversaries-zero", Adversaries::Slow, Method::TramZero),
        ("hidden-none", Adversaries::Hidden, Method::NoInformation),
        ("hidden-zero", Adversaries::Hidden, Method::TramZero),
    ];
    for (id, adversaries, against) in pairs {
        context.claim(id, claim(&differences(adversaries, Method::Tram, against)))?;
    }
    let mut table = Table::new(["labels", "method", "seeds", "accuracy in %", "± 95 %", "negative log-likelihood"]);
    let row = |table: &mut Table, labels: &str, method: &str, scores: &[crate::learn::Score]| {
        let accuracies: Vec<f64> = scores.iter().map(|score| 100. * score.accuracy).collect();
        let interval = statistics::confidence_95(&accuracies).map_or("–".to_owned(), |half| format!("{half:.1}"));
        let nll: Vec<f64> = scores.iter().map(|score| score.nll).collect();
        table.rows.push(vec![
            labels.to_owned(),
            method.to_owned(),
            scores.len().to_string(),
            format!("{:.1}", statistics::mean(&accuracies)),
            interval,
            format!("{:.3}", statistics::mean(&nll)),
        ]);
    };
    for adversaries in [Adversaries::Nobody, Adversaries::Slow, Adversaries::Hidden] {
        for method in COMPARED.into_iter().chain(REPORTED) {
            let found = of(adversaries, method);
            let Some(first) = found.first() else { continue };
            let scores: Vec<crate::learn::Score> = found.iter().map(|learned| learned.score).collect();
            row(&mut table, adversaries.name(), method.name(), &scores);
            for (at, (name, _)) in first.others.iter().enumerate() {
                let scores: Vec<crate::learn::Score> = found.iter().map(|learned| learned.others[at].1).collect();
                row(&mut table, adversaries.name(), name, &scores);
            }
        }
    }
    context.table("CIFAR-10N, 10,000 images: clean test data", table);
    let shown = [Adversaries::Nobody, Adversaries::Slow, Adversaries::Hidden];
    let bars = COMPARED.map(|method| {
        let of = |value: &dyn Fn(&[f64]) -> f64| shown.map(|adversaries| value(&points(adversaries, method))).to_vec();
        Bars::new(method.name(), of(&|v| statistics::mean(v)))
            .errors(of(&|v| statistics::confidence_95(v).unwrap_or(0.)))
    });
    let names = shown.map(|adversaries| adversaries.name().to_owned()).to_vec();
    let title = "CIFAR-10N: test accuracy with intervals of 95 %";
    context.plot("people", Plot::bars(title, Axis::linear("test accuracy in %"), names, bars.to_vec()))?;
    let epochs: Vec<f64> = (1..=EPOCHS).map(|epoch| epoch as f64).collect();
    let series: Vec<Series> = COMPARED
        .iter()
        .filter_map(|&method| Some((method, of(Adversaries::Slow, method).into_iter().find(|l| !l.curve.is_empty())?)))
        .map(|(method, learned)| Series::new(method.name(), epochs.clone(), learned.curve.clone()))
        .collect();
    let title = "CIFAR-10N with adversaries: accuracy on 2,000 test images while training, one seed";
    context.plot("people-epochs", Plot::lines(title, Axis::linear("epoch"), Axis::linear("accuracy"), series))
}
