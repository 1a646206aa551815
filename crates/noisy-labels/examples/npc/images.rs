//! MNIST with drawn noise and CIFAR-10 with labels of people, at the laptop's scale.

use crate::apply::{Applied, Calibration, Front, Labelled, Ranking, Recipe, Trained, apply, train_classifier};
use crate::network::Kind;
use crate::{cifar, figures};
use candle_core::{Device, Tensor};
use core_tensor::random::Rng;
use datasets::human_labels::load_cifar_10n;
use datasets::images::{ImageSplit, LabelledImages, load_mnist};
use experiment::{
    Axis, Bars, BoxError, Context, Measured, Outcome, Plot, Result, Table, Trial, TrialContext, statistics,
};
use noisy_labels::neighbours::Points;
use noisy_labels::noise::{InstanceNoiseConfig, instance_dependent};
use noisy_labels::objectives::EarlyLearningConfig;
use noisy_labels::training::Objective;
use serde::{Deserialize, Serialize};

const CLASSES: usize = 10;
const SEEDS: u64 = 3;
pub(crate) const MNIST: &str = "MNIST with drawn noise";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Part {
    /// 60,000 images.
    Mnist,
    /// 10,000 images and one method of training, by number.
    Method(usize),
    /// 4,000 images, learned by heart.
    Memorised,
    /// 10,000 images of CIFAR-10 with the worst labels of people, and a seed.
    Human(u64),
}

/// An NPC run of a part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Run {
    front: Front,
    applied: Applied,
}

pub(crate) struct Runs {
    parts: Vec<Part>,
    human: String,
    results: Outcome<Vec<Run>>,
}

/// The methods of training that are compared: all told the rate of nothing.
fn methods(epochs: usize) -> Vec<Objective> {
    vec![
        Objective::CrossEntropy,
        Objective::Forward { transition: None, warm_up: epochs.div_ceil(2) },
        Objective::CoTeaching { noise_rate: None, ramp: epochs.div_ceil(2) },
        Objective::EarlyLearning(EarlyLearningConfig::default()),
    ]
}

const EPOCHS: usize = 10;

/// The first images as numbers from 0 to 1, or as `(x − 0.5) / 0.5`.
pub(crate) fn tensor(images: &LabelledImages, count: usize, is_centred: bool) -> Result<Tensor> {
    let scale = |&x: &u8| if is_centred { f32::from(x) / 127.5 - 1. } else { f32::from(x) / 255. };
    let values: Vec<f32> = images.pixels[..count * images.image_size()].iter().map(scale).collect();
    Ok(Tensor::from_vec(values, (count, images.channels, images.height, images.width), &Device::Cpu)?)
}

pub(crate) fn classes(labels: &[u8]) -> Vec<u32> {
    labels.iter().map(|&label| label.into()).collect()
}

/// The first images with instance-dependent noise.
fn noisy(images: &LabelledImages, count: usize, seed: u64) -> std::result::Result<Labelled, BoxError> {
    let x = tensor(images, count, false)?;
    let truth = classes(&images.labels[..count]);
    let values = x.flatten_all()?.to_vec1::<f32>()?;
    let mut rng = Rng::new(seed).fork("noise");
    let config = InstanceNoiseConfig { rate: 0.4, deviation: 0.1 };
    let given = instance_dependent(Points::new(&values, images.image_size())?, &truth, CLASSES, &config, &mut rng)?;
    Ok(Labelled { x, truth, given })
}

pub(crate) fn clean(images: &LabelledImages, is_centred: bool) -> Result<Labelled> {
    let truth = classes(&images.labels);
    Ok(Labelled { x: tensor(images, images.len(), is_centred)?, given: truth.clone(), truth })
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let mut parts = vec![Part::Mnist];
    parts.extend((0..methods(EPOCHS).len()).map(Part::Method));
    parts.push(Part::Memorised);
    parts.extend((0..SEEDS).map(Part::Human));
    let store = reproduction::store(context)?;
    let mnist = load_mnist(&store, "mnist")?;
    let (cifar, name) = cifar::load(&store)?;
    let people = load_cifar_10n(&store)?;
    people.check_order(&cifar.train)?;
    let id = |part: &Part| match part {
        Part::Mnist => "mnist".to_owned(),
        Part::Method(at) => format!("mnist-{}", methods(EPOCHS)[*at].name()),
        Part::Memorised => "memorised".to_owned(),
        Part::Human(seed) => format!("human-{seed}"),
    };
    let trials = parts.iter().map(|part| Trial::new(id(part), part.clone())).collect();
    let results = context.trials("images", trials, |part, trial| match part {
        Part::Mnist => whole(&mnist, trial),
        Part::Method(at) => method(&mnist, *at, trial),
        Part::Memorised => memorised(&mnist, trial),
        Part::Human(seed) => human(&cifar, &people.worse, *seed, trial),
    })?;
    Ok(Runs { parts, human: format!("CIFAR-10N, {name}"), results })
}

type Found = std::result::Result<Vec<Run>, BoxError>;

fn cross_entropy(
    kind: Kind,
    data: &Labelled,
    epochs: usize,
    seed: u64,
    trial: &TrialContext,
) -> std::result::Result<Trained, BoxError> {
    let objective = Objective::CrossEntropy;
    let recipe = Recipe { kind, classes: CLASSES, objective: &objective, epochs, validation: None, seed };
    train_classifier(&recipe, data, trial)
}

fn whole(mnist: &ImageSplit, trial: &TrialContext) -> Found {
    let training = noisy(&mnist.train, mnist.train.len(), trial.seed_of("mnist"))?;
    let test = clean(&mnist.test, false)?;
    let classifier = cross_entropy(Kind::Mnist, &training, EPOCHS, trial.seed_of("mnist"), trial)?;
    let mut runs = Vec::new();
    for seed in 0..SEEDS {
        for front in [Front::Copy, Front::Frozen] {
            // one seed goes on, for the curve
            let epochs = match (front, seed) {
                (Front::Copy, 0) => 5,
                (Front::Copy, _) => 2,
                (Front::Frozen, _) => 10,
            };
            let calibration = Calibration { front, epochs, seed: trial.seed_of(&format!("npc-{seed}")) };
            let applied = apply(Kind::Mnist, &classifier, &training, &test, &calibration, trial)?;
            runs.push(Run { front, applied });
        }
    }
    Ok(runs)
}

fn method(mnist: &ImageSplit, at: usize, trial: &TrialContext) -> Found {
    let seed = trial.seed_of("mnist-methods");
    let training = noisy(&mnist.train, 10_000, seed)?;
    let test = clean(&mnist.test, false)?;
    let objective = &methods(EPOCHS)[at];
    let recipe = Recipe { kind: Kind::Mnist, classes: CLASSES, objective, epochs: EPOCHS, validation: None, seed };
    let classifier = train_classifier(&recipe, &training, trial)?;
    let calibration = Calibration { front: Front::Copy, epochs: 2, seed };
    let applied = apply(Kind::Mnist, &classifier, &training, &test, &calibration, trial)?;
    Ok(vec![Run { front: Front::Copy, applied }])
}

fn memorised(mnist: &ImageSplit, trial: &TrialContext) -> Found {
    let seed = trial.seed_of("memorised");
    let training = noisy(&mnist.train, 4_000, seed)?;
    let test = clean(&mnist.test, false)?;
    let classifier = cross_entropy(Kind::Mnist, &training, 25, seed, trial)?;
    let calibration = Calibration { front: Front::Copy, epochs: 10, seed };
    let applied = apply(Kind::Mnist, &classifier, &training, &test, &calibration, trial)?;
    Ok(vec![Run { front: Front::Copy, applied }])
}

fn human(cifar: &ImageSplit, worse: &[u8], seed: u64, trial: &TrialContext) -> Found {
    let count = 10_000;
    let training = Labelled {
        x: tensor(&cifar.train, count, true)?,
        truth: classes(&cifar.train.labels[..count]),
        given: classes(&worse[..count]),
    };
    let test = clean(&cifar.test, true)?;
    let seed = trial.seed_of(&format!("human-{seed}"));
    let classifier = cross_entropy(Kind::Three, &training, EPOCHS, seed, trial)?;
    let mut runs = Vec::new();
    for (front, epochs) in [(Front::Copy, 2), (Front::Frozen, 10)] {
        let calibration = Calibration { front, epochs, seed };
        let applied = apply(Kind::Three, &classifier, &training, &test, &calibration, trial)?;
        runs.push(Run { front, applied });
    }
    Ok(runs)
}

fn last(applied: &Applied) -> f64 {
    applied.npc.last().copied().unwrap_or(f64::NAN)
}

/// What is gained, less what is asked for, in points.
fn margin(classifier: f64, npc: f64) -> f64 {
    100. * (npc - classifier) - if classifier < 0.8 { 10. } else { 0. }
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    if !runs.results.is_complete() {
        return Ok(());
    }
    let results = runs.results.all()?;
    let found = |is_wanted: &dyn Fn(&Part) -> bool| -> Vec<&Run> {
        runs.parts.iter().zip(&results).filter(|(part, _)| is_wanted(part)).flat_map(|(_, runs)| runs).collect()
    };
    let of = |runs: &[&Run], front: Front| -> Vec<Applied> {
        runs.iter().filter(|run| run.front == front).map(|run| run.applied.clone()).collect()
    };
    let values = |all: &[Applied], value: &dyn Fn(&Applied) -> f64| all.iter().map(value).collect::<Vec<f64>>();
    let whole = found(&|part| *part == Part::Mnist);
    let (copies, frozen) = (of(&whole, Front::Copy), of(&whole, Front::Frozen));
    let after_two = |applied: &Applied| applied.npc.get(1).copied().unwrap_or(f64::NAN);
    let note = |all: &[Applied], npc: &dyn Fn(&Applied) -> f64| {
        let mean = |value: &dyn Fn(&Applied) -> f64| 100. * statistics::mean(&values(all, value));
        Some(format!(
            "classifier {:.1} %, neighbours {:.1} %, NPC {:.1} %",
            mean(&|a| a.classifier),
            mean(&|a| a.neighbours),
            mean(npc)
        ))
    };
    let claim = |values: &[f64], data: &str, note| Measured { note, ..Measured::mean_of(values, data) };
    let copy = values(&copies, &|a| margin(a.classifier, after_two(a)));
    context.claim("mnist-copy", claim(&copy, MNIST, note(&copies, &after_two)))?;
    let still = values(&frozen, &|a| margin(a.classifier, last(a)));
    context.claim("mnist-frozen", claim(&still, MNIST, note(&frozen, &last)))?;
    let neighbours = values(&copies, &|a| 100. * (after_two(a) - a.neighbours));
    context.claim("mnist-neighbours", claim(&neighbours, MNIST, None))?;
    context.claim("mnist-cost", claim(&values(&copies, &|a| a.seconds[0] / a.seconds[1]), MNIST, None).timed())?;
    let classifier = values(&copies[..1], &|a| 100. * a.classifier);
    context.claim("mnist-ce", claim(&classifier, MNIST, None))?;
    context.claim("mnist-npc", claim(&values(&copies, &|a| 100. * after_two(a)), MNIST, None))?;

    let of_methods: Vec<Applied> =
        found(&|part| matches!(part, Part::Method(_))).iter().map(|r| r.applied.clone()).collect();
    let gains = values(&of_methods, &|a| 100. * (last(a) - a.classifier));
    context.claim("mnist-methods", claim(&gains, MNIST, None))?;
    let small = of(&found(&|part| *part == Part::Memorised), Front::Copy);
    let gain = values(&small, &|a| 100. * (last(a) - a.classifier));
    context.claim("memorised", claim(&gain, MNIST, note(&small, &last)))?;
    let people = found(&|part| matches!(part, Part::Human(_)));
    let of_people = of(&people, Front::Copy);
    let gain = values(&of_people, &|a| 100. * (last(a) - a.classifier));
    context.claim("human", claim(&gain, &runs.human, note(&of_people, &last)))?;
    let precision = |applied: &Applied| {
        applied
            .rankings
            .iter()
            .find(|ranking| ranking.name == "NPC")
            .map_or(f64::NAN, |ranking| ranking.average_precision)
    };
    context.claim("human-issues", claim(&values(&of_people, &precision), &runs.human, None))?;

    let mut table = Table::new(["data", "in front", "wrong labels", "classifier", "neighbours", "NPC by epoch"]);
    let rows = |table: &mut Table, name: &str, front: &str, all: &[Applied]| {
        for applied in all {
            let number = |x: f64| format!("{x:.3}");
            let curve: Vec<String> = applied.npc.iter().map(|&x| number(x)).collect();
            let cells =
                [number(applied.noise), number(applied.classifier), number(applied.neighbours), curve.join(" ")];
            table.rows.push([name.to_owned(), front.to_owned()].into_iter().chain(cells).collect());
        }
    };
    rows(&mut table, "MNIST, 60,000", "copy", &copies);
    rows(&mut table, "MNIST, 60,000", "frozen", &frozen);
    for (method, applied) in methods(EPOCHS).iter().zip(&of_methods) {
        rows(&mut table, &format!("MNIST, 10,000, {}", method.name()), "copy", std::slice::from_ref(applied));
    }
    rows(&mut table, "MNIST, 4,000, memorised", "copy", &small);
    rows(&mut table, "CIFAR-10N, worst labels", "copy", &of_people);
    rows(&mut table, "CIFAR-10N, worst labels", "frozen", &of(&people, Front::Frozen));
    context.table("Real images: accuracies on test data", table);
    let mut table = Table::new(["data", "NPC", "neighbours' votes", "self-confidence (in sample)"]);
    for (name, all) in [("MNIST, 40 % instance-dependent noise", &copies), (runs.human.as_str(), &of_people)] {
        let mean = |at: usize| {
            let of: Vec<f64> = all.iter().filter_map(|a| a.rankings.get(at)).map(|r| r.average_precision).collect();
            format!("{:.3}", statistics::mean(&of))
        };
        table.rows.push(vec![name.to_owned(), mean(0), mean(1), mean(2)]);
    }
    context.table("Real images: average precision of finding wrong labels, mean of seeds", table);

    let shown: Vec<&Applied> = copies.iter().take(1).collect();
    figures::epochs(context, "mnist-epochs", "MNIST, 40 % instance-dependent noise, copy of the network", &shown)?;
    figures::transition(context, "mnist-transition", "MNIST, 40 % instance-dependent noise", &shown, CLASSES)?;
    figures::reliability(
        context,
        "mnist-reliability",
        "MNIST, 40 % instance-dependent noise",
        &copies.iter().collect::<Vec<_>>(),
    )?;
    let rankings: Vec<Vec<&Ranking>> = of_people.iter().map(|a| a.rankings.iter().collect()).collect();
    figures::precision(context, "human-precision", "CIFAR-10N, worst labels", &rankings)?;
    let bars = |name: &str, value: &dyn Fn(&Applied) -> f64| Bars::new(name, values(&of_methods, value));
    let series = vec![bars("alone", &|a| a.classifier), bars("with NPC", &last)];
    let categories = methods(EPOCHS).iter().map(|method| method.name().to_owned()).collect();
    let title = "10,000 images of MNIST, 40 % instance-dependent noise";
    context.plot("mnist-methods", Plot::bars(title, Axis::linear("test accuracy"), categories, series))
}
