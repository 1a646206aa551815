//! Ensembles of small convolutional networks on images.

use crate::curves::{Point, curve};
use adversarial::bagging::learners::NetworkInNetworkLearner;
use adversarial::bagging::solve::Limits;
use adversarial::bagging::{
    BaseLearner, CertifyConfig, Examples, HashPartitioner, Record, Structure, Votes, tolerable_budget, train_votes,
    vanilla_sub_trainsets,
};
use datasets::images::{ImageSplit, LabelledImages, load_cifar_10, load_mnist};
use experiment::{Axis, Context, Measured, Plot, Result, Scale, Series, Table, Trial, TrialContext};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What decides the outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Setting {
    data: String,
    is_hash: bool,
    num_sub_classifiers: usize,
    training: usize,
    divisor: usize,
    epochs: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Outcome {
    accuracy: f64,
    points: Vec<Point>,
    tolerable: Option<usize>,
}

/// Votes and labels of a trained ensemble, and what reaches its sub-classifiers.
struct Trained {
    votes: Votes,
    labels: Vec<u16>,
    structure: Structure,
}

/// Time for each certificate.
const SECONDS: u64 = 10;

/// Budgets from 5 % to 50 % of G in ten steps.
fn budgets(num_sub_classifiers: usize) -> Vec<usize> {
    let mut budgets: Vec<usize> = (1..=10).map(|step| (step * num_sub_classifiers).div_ceil(20)).collect();
    budgets.dedup();
    budgets
}

/// Fashion-MNIST where its images are at hand, MNIST otherwise, at half size; at the paper's scale the paper's sets.
fn load(context: &Context) -> Result<Vec<(String, ImageSplit)>> {
    let store = reproduction::store(context)?;
    if context.scale() == Scale::Paper {
        return Ok(vec![
            ("fashion-mnist".into(), load_mnist(&store, "fashion-mnist")?),
            ("cifar-10".into(), load_cifar_10(&store)?),
        ]);
    }
    let names = ["train-images-idx3-ubyte.gz", "train-images-idx3-ubyte"];
    let has_images = names.iter().any(|name| store.locate("fashion-mnist", name).is_some());
    let set = if has_images { "fashion-mnist" } else { "mnist" };
    let split = load_mnist(&store, set)?;
    let split = ImageSplit { train: halved(&split.train), test: halved(&split.test) };
    Ok(vec![(format!("{set} (14 x 14)"), split)])
}

/// Images of half the height and width: means of 2 × 2 pixels, so that a hundred networks train in minutes.
fn halved(images: &LabelledImages) -> LabelledImages {
    let (height, width) = (images.height / 2, images.width / 2);
    let mut pixels = Vec::with_capacity(images.pixels.len() / 4);
    for plane in images.pixels.chunks_exact(images.height * images.width) {
        for y in 0..height {
            for x in 0..width {
                let at = |dy: usize, dx: usize| u16::from(plane[(2 * y + dy) * images.width + 2 * x + dx]);
                pixels.push(((at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1) + 2) / 4) as u8);
            }
        }
    }
    LabelledImages { channels: images.channels, height, width, pixels, labels: images.labels.clone() }
}

/// Trains what is not in the folder yet.
fn train(
    setting: &Setting,
    split: &ImageSplit,
    folder: &std::path::Path,
    context: &Surroundings<'_>,
) -> Result<Trained> {
    let (train, test) = (&split.train, &split.test);
    let training = setting.training.min(train.len());
    let pixels = |pixels: &[u8]| -> Vec<f32> { pixels.iter().map(|&pixel| f32::from(pixel) / 255.).collect() };
    let labels = |labels: &[u8]| -> Vec<u16> { labels.iter().map(|&label| u16::from(label)).collect() };
    let size = train.image_size();
    let examples =
        Examples::new(size, 10, pixels(&train.pixels[..training * size]), labels(&train.labels[..training]))?;
    let (inputs, labels) = (pixels(&test.pixels), labels(&test.labels));
    let g = setting.num_sub_classifiers;
    let records: Vec<Record<'_>> = (train.pixels.chunks_exact(size).zip(examples.labels()))
        .map(|(content, &label)| Record { content, label })
        .collect();
    let partitioner = HashPartitioner::new(g, g)?;
    let (sub_trainsets, structure) = if setting.is_hash {
        (partitioner.partition(&records), partitioner.structure()?)
    } else {
        let sub_trainsets = vanilla_sub_trainsets(g, training / g, training, false, context.seed)?;
        let structure = sub_trainsets.general_structure()?;
        (sub_trainsets, structure)
    };
    let learner = NetworkInNetworkLearner {
        divisor: setting.divisor,
        epochs: setting.epochs,
        flips: setting.data == "cifar-10",
        crop_padding: if train.height < 28 { 2 } else { 4 },
        device: core_tensor::device::parse(context.device)?,
        ..NetworkInNetworkLearner::new(train.channels, train.height, train.width)
    };
    let votes = train_votes(&sub_trainsets, 10, Some(folder), |g, members| {
        if (context.is_cancelled)() {
            return Err("interrupted".into());
        }
        let votes = learner.fit(&examples, members, g as u64)?.predict(&inputs)?;
        (context.done)(g);
        Ok(votes)
    })?;
    Ok(Trained { votes, labels, structure })
}

fn certify(setting: &Setting, trained: &Trained) -> Result<Outcome> {
    let Trained { votes, labels, structure } = trained;
    let limits = Limits { time: Some(Duration::from_secs(SECONDS)), ..Limits::default() };
    let options = CertifyConfig { limits, ..CertifyConfig::default() };
    let tolerable =
        if setting.is_hash { None } else { tolerable_budget(structure, 20_000_000).map(|found| found.upper) };
    let budgets = match tolerable {
        Some(tolerable) => (1..=tolerable).collect(),
        None => budgets(setting.num_sub_classifiers),
    };
    let points = curve(votes, labels, structure, &budgets, &options)?;
    let accuracy = 100. * votes.num_correct(labels)? as f64 / labels.len() as f64;
    Ok(Outcome { accuracy, points, tolerable })
}

/// What a trial needs of its run.
struct Surroundings<'a> {
    seed: u64,
    device: &'a str,
    is_cancelled: &'a (dyn Fn() -> bool + Sync),
    done: &'a (dyn Fn(usize) + Sync),
}

pub(crate) fn run(context: &mut Context) -> Result<()> {
    let is_laptop = context.scale() == Scale::Laptop;
    let data = load(context)?;
    let setting = |data: &str, is_hash| Setting {
        data: data.to_owned(),
        is_hash,
        num_sub_classifiers: 50,
        training: if is_laptop { 20_000 } else { usize::MAX },
        divisor: if is_laptop { 6 } else { 1 },
        epochs: if is_laptop { 20 } else { 200 },
    };
    let settings: Vec<Setting> =
        data.iter().flat_map(|(name, _)| [setting(name, true), setting(name, false)]).collect();
    let id = |setting: &Setting| {
        let set = setting.data.split(' ').next().unwrap_or_default();
        format!("{set}-{}", if setting.is_hash { "hash" } else { "vanilla" })
    };
    let trials = settings.iter().map(|setting| Trial::new(id(setting), setting.clone())).collect();
    let folder = context.directory().join("votes");
    let device = context.device().to_owned();
    let votes = |setting: &Setting, seed: u64, trial_context: &TrialContext| -> Result<Trained> {
        let split = data.iter().find(|(name, _)| *name == setting.data).map(|(_, split)| split);
        let split = split.ok_or_else(|| experiment::BoxError::from("no data"))?;
        let done = std::sync::atomic::AtomicUsize::new(0);
        let surroundings = Surroundings {
            seed,
            device: &device,
            is_cancelled: &|| trial_context.is_cancelled(),
            done: &|_| {
                let done = 1 + done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                trial_context.epoch(done, setting.num_sub_classifiers, "sub-classifiers");
            },
        };
        let folder = folder.join(format!("{}-{}-{}-{seed}", id(setting), setting.training.min(60_000), setting.epochs));
        let trained = train(setting, split, &folder, &surroundings);
        trial_context.check_cancelled()?;
        trained
    };
    let seed = context.seed();
    let trained = context.trials("images", trials, |setting, trial_context| {
        let trained = votes(setting, seed, trial_context)?;
        Ok(100. * trained.votes.num_correct(&trained.labels)? as f64 / trained.labels.len() as f64)
    })?;
    if !trained.is_complete() {
        return Ok(());
    }
    // afterwards: time limits mean something only while nothing is trained beside them
    let trials = settings.iter().map(|setting| Trial::new(id(setting), setting.clone())).collect();
    let results = context.trials("image-certificates", trials, |setting, trial_context| {
        certify(setting, &votes(setting, seed, trial_context)?)
    })?;
    if !results.is_complete() {
        return Ok(());
    }
    let results = results.all()?;
    let names: Vec<&str> = data.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(" and ");
    let hash: Vec<&Outcome> = results.iter().step_by(2).collect();
    let excess = || hash.iter().flat_map(|outcome| outcome.points.iter().map(Point::excess));
    let value = |value: f64, note: Option<String>| Measured {
        value,
        trials: hash.len(),
        data: names.clone(),
        note,
        ..Measured::default()
    };
    let gaps = hash.iter().flat_map(|outcome| &outcome.points).filter(|point| point.gap > 0).count();
    let note = Some(format!("{gaps} of the certificates are bounds that {SECONDS} s did not close"));
    context.claim("images-excess", value(excess().fold(f64::INFINITY, f64::min), note.clone()))?;
    context.claim("images-excess-somewhere", value(excess().fold(f64::NEG_INFINITY, f64::max), note))?;
    let cost = results.chunks_exact(2).map(|pair| (pair[0].accuracy - pair[1].accuracy).abs()).fold(0., f64::max);
    let accuracies: Vec<String> = results
        .chunks_exact(2)
        .map(|pair| format!("hash {:.1} %, vanilla {:.1} %", pair[0].accuracy, pair[1].accuracy))
        .collect();
    context.claim("hash-is-free-images", value(cost, Some(accuracies.join("; "))))?;
    for (setting, outcome) in settings.iter().zip(&results) {
        let mut table =
            Table::new(["r", "sample-wise CR / CA", "collective CR / CA", "gap to the best attack", "time"]);
        for point in &outcome.points {
            table.rows.push(
                [
                    point.budget.to_string(),
                    format!("{} / {}", point.samplewise_robust, point.samplewise_correct),
                    format!("{} / {}", point.robust, point.correct),
                    point.gap.to_string(),
                    format!("{:.1} s", point.seconds),
                ]
                .into(),
            );
        }
        let kind = match outcome.tolerable {
            None => "hash bagging".to_owned(),
            Some(tolerable) => format!("vanilla bagging, which {tolerable} samples control"),
        };
        context.table(&format!("{}, {kind}: accuracy {:.2} %", setting.data, outcome.accuracy), table);
    }
    let mut series = Vec::new();
    for (setting, outcome) in settings.iter().zip(&results) {
        let kind = if setting.is_hash { "hash" } else { "vanilla" };
        let x: Vec<f64> = outcome.points.iter().map(|point| point.budget as f64).collect();
        let y = |value: fn(&Point) -> u64| outcome.points.iter().map(|point| value(point) as f64).collect();
        series.push(Series::new(format!("{} {kind}, collective", setting.data), x.clone(), y(|p| p.robust)));
        if setting.is_hash {
            series.push(Series::new(format!("{} {kind}, sample-wise", setting.data), x, y(|p| p.samplewise_robust)));
        }
    }
    let (x, y) = (Axis::linear("budget r"), Axis::linear("predictions certified to keep, of 10,000"));
    context.plot("images", Plot::lines("Certificates on images, G = 50", x, y, series))
}
