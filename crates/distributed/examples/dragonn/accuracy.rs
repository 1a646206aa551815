//! Accuracy with and without compression.

use crate::tasks::{self, Examples, Model, Protocol};
use core_tensor::train::Cancellation;
use distributed::dragonn::DragonnConfig;
use distributed::memory::MemoryConfig;
use distributed::selection::TensorSelection;
use distributed::{Compression, DataParallelConfig};
use experiment::{Axis, Context, Measured, Outcome, Plot, Result, Scale, Series, Table, Trial, statistics};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Task {
    Mixture,
    Mnist,
    Labels,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Setting {
    task: Task,
    method: String,
    ratio: f64,
    has_memory: bool,
    repetition: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Trained {
    accuracy: f64,
    sent: f64,
}

pub(crate) struct Runs {
    settings: Vec<Setting>,
    results: Outcome<Trained>,
}

const SEEDS: u64 = 5;
const LABEL_SEEDS: u64 = 3;
/// The two ratios that are judged, and others for the curve.
const RATIOS: [f64; 5] = [0.1, 0.03, 0.01, 0.003, 0.001];

fn settings(scale: Scale) -> Vec<Setting> {
    let one = |task, method: &str, ratio, has_memory, repetition| Setting {
        task,
        method: method.to_owned(),
        ratio,
        has_memory,
        repetition,
    };
    if scale == Scale::Smoke {
        return vec![one(Task::Mixture, "dense", 1., true, 0), one(Task::Mixture, "dragonn", 0.01, true, 0)];
    }
    let mut all = Vec::new();
    // the longest first, so that jobs end together
    for repetition in 0..LABEL_SEEDS {
        for method in ["dense", "dragonn", "top-k"] {
            all.push(one(Task::Labels, method, if method == "dense" { 1. } else { 0.001 }, true, repetition));
        }
    }
    for repetition in 0..SEEDS {
        all.push(one(Task::Mnist, "dense", 1., true, repetition));
        for ratio in RATIOS {
            all.push(one(Task::Mnist, "dragonn", ratio, true, repetition));
            all.push(one(Task::Mnist, "top-k", ratio, true, repetition));
        }
        all.push(one(Task::Mnist, "random-k", 0.01, true, repetition));
        all.push(one(Task::Mnist, "random-k", 0.01, false, repetition));
        all.push(one(Task::Mnist, "top-k", 0.01, false, repetition));
        all.push(one(Task::Mnist, "dragonn", 0.01, false, repetition));
        all.push(one(Task::Mnist, "dragonn", 0.001, false, repetition));
    }
    all
}

/// What a setting trains, with the seed that all methods of its repetition share.
fn protocol(setting: &Setting, seed: u64) -> Protocol {
    let compression = match setting.method.as_str() {
        "dragonn" => Compression::Dragonn(DragonnConfig::with_ratio(setting.ratio)),
        "top-k" => Compression::TopK(setting.ratio),
        "random-k" => Compression::RandomK(setting.ratio),
        _ => Compression::None,
    };
    let exchange = DataParallelConfig {
        compression,
        memory: if setting.has_memory { MemoryConfig::default() } else { MemoryConfig::None },
        selection: TensorSelection::MinElements(100_000),
        dense_steps: 20,
        seed,
        ..DataParallelConfig::default()
    };
    let base = Protocol {
        model: Model::Perceptron { hidden: 256, classes: 10 },
        batch_per_worker: 32,
        epochs: 3,
        learning_rate: 0.1,
        has_adam: false,
        exchange,
        seed,
    };
    match setting.task {
        Task::Mixture => Protocol { model: Model::Perceptron { hidden: 2048, classes: 10 }, ..base },
        Task::Mnist => base,
        Task::Labels => Protocol {
            model: Model::Labels { labels: 2001 },
            batch_per_worker: 64,
            epochs: 20,
            learning_rate: 1e-3,
            has_adam: true,
            ..base
        },
    }
}

fn mnist(context: &Context) -> Result<(Examples, Examples)> {
    let store = reproduction::store(context)?;
    let split = datasets::images::load_mnist(&store, "mnist")?;
    let part = |images: &datasets::images::LabelledImages, rows: usize| {
        let rows = rows.min(images.len());
        Examples {
            width: images.image_size(),
            inputs: images.pixels[..rows * images.image_size()].iter().map(|&pixel| f32::from(pixel) / 255.).collect(),
            labels: images.labels[..rows].iter().map(|&label| u32::from(label)).collect(),
            labels_per_row: 1,
        }
    };
    Ok((part(&split.train, 20_000), part(&split.test, usize::MAX)))
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let settings = settings(context.scale());
    let is_smoke = context.scale() == Scale::Smoke;
    let mixture = is_smoke.then(|| tasks::mixture(context.seed()));
    let digits = if is_smoke || context.is_synthetic() { None } else { Some(mnist(context)?) };
    let labels = (!is_smoke).then(|| tasks::labels(context.seed()));
    let settings: Vec<Setting> =
        settings.into_iter().filter(|setting| setting.task != Task::Mnist || digits.is_some()).collect();
    let id = |s: &Setting| {
        let memory = if s.has_memory { "" } else { "-forgetful" };
        format!("{:?}-{}{memory}-r{}-s{}", s.task, s.method, s.ratio, s.repetition).to_lowercase()
    };
    let trials = settings.iter().map(|setting| Trial::new(id(setting), setting.clone())).collect();
    let results = context.trials("accuracy", trials, |setting, trial| {
        let data = match setting.task {
            Task::Mixture => &mixture,
            Task::Mnist => &digits,
            Task::Labels => &labels,
        };
        let (training, held_out) = data.as_ref().ok_or_else(|| experiment::BoxError::from("no data"))?;
        let seed = trial.seed_of(&format!("repetition-{}", setting.repetition));
        let cancellation = Cancellation::when(trial.cancellation());
        let outcome = tasks::train(&protocol(setting, seed), training, held_out, &cancellation)?;
        Ok(Trained { accuracy: outcome.accuracy, sent: outcome.sent })
    })?;
    Ok(Runs { settings, results })
}

/// Means of accuracy and of what is sent, and the deviation of the accuracy, for one method.
struct Row {
    accuracy: Vec<f64>,
    sent: f64,
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    if !runs.results.is_complete() {
        return Ok(());
    }
    let settings = runs.settings;
    let results = runs.results.all()?;
    let of = |task: Task, method: &str, ratio: f64, has_memory: bool| {
        let is_it =
            |s: &Setting| s.task == task && s.method == method && s.ratio == ratio && s.has_memory == has_memory;
        let chosen: Vec<&Trained> =
            settings.iter().zip(&results).filter(|(setting, _)| is_it(setting)).map(|(_, trained)| trained).collect();
        let sent: Vec<f64> = chosen.iter().map(|trained| trained.sent).collect();
        Row { accuracy: chosen.iter().map(|trained| trained.accuracy).collect(), sent: statistics::mean(&sent) }
    };
    let mut seen: Vec<(Task, String, f64, bool)> = Vec::new();
    for s in &settings {
        let key = (s.task, s.method.clone(), s.ratio, s.has_memory);
        if !seen.contains(&key) {
            seen.push(key);
        }
    }
    let mut table = Table::new(["task", "method", "r", "error feedback", "seeds", "accuracy %", "deviation", "sent %"]);
    for (task, method, ratio, has_memory) in &seen {
        let row = of(*task, method, *ratio, *has_memory);
        let deviation = statistics::sample_standard_deviation(&row.accuracy);
        table.rows.push(
            [
                format!("{task:?}"),
                method.clone(),
                ratio.to_string(),
                if *has_memory { "yes".into() } else { "no".into() },
                row.accuracy.len().to_string(),
                format!("{:.2}", statistics::mean(&row.accuracy)),
                deviation.map(|d| format!("{d:.2}")).unwrap_or_default(),
                format!("{:.3}", 100. * row.sent),
            ]
            .into(),
        );
    }
    context.table("Accuracy", table);
    // dense minus the other, seed by seed
    let loss = |task: Task, method: &str, ratio: f64, has_memory: bool| -> Vec<f64> {
        let (dense, other) = (of(task, "dense", 1., true), of(task, method, ratio, has_memory));
        dense.accuracy.iter().zip(&other.accuracy).map(|(dense, other)| dense - other).collect()
    };
    let measured =
        |losses: &[f64], data: &str, is_synthetic: bool| Measured { is_synthetic, ..Measured::mean_of(losses, data) };
    if context.scale() == Scale::Smoke {
        let losses = loss(Task::Mixture, "dragonn", 0.01, true);
        return context.claim("accuracy-mixture", measured(&losses, "Gaussian mixture", true));
    }
    let labels = loss(Task::Labels, "dragonn", 0.001, true);
    let dense = statistics::mean(&of(Task::Labels, "dense", 1., true).accuracy);
    let note = Some(format!("the task is hard: dense training reaches {dense:.1} %, chance 0.25 %"));
    context
        .claim("accuracy-labels", Measured { note, ..measured(&labels, "generated labels of linear scores", true) })?;
    if !seen.iter().any(|(task, ..)| *task == Task::Mnist) {
        return Ok(());
    }
    let digits = |method, ratio, has_memory| loss(Task::Mnist, method, ratio, has_memory);
    context.claim("accuracy-mnist-1e-2", measured(&digits("dragonn", 0.01, true), "mnist", false))?;
    context.claim("accuracy-mnist-1e-3", measured(&digits("dragonn", 0.001, true), "mnist", false))?;
    context.claim("random-k-needs-memory", measured(&digits("random-k", 0.01, false), "mnist", false))?;
    context.claim("dragonn-without-memory", measured(&digits("dragonn", 0.01, false), "mnist", false))?;
    let difference = |ratio: f64| -> Vec<f64> {
        let (ours, exact) = (digits("dragonn", ratio, true), digits("top-k", ratio, true));
        ours.iter().zip(&exact).map(|(ours, exact)| ours - exact).collect()
    };
    let differences = [difference(0.01), difference(0.001)];
    let largest = differences.iter().max_by(|a, b| statistics::mean(a).abs().total_cmp(&statistics::mean(b).abs()));
    let largest = largest.cloned().unwrap_or_default();
    let value = statistics::mean(&largest).abs();
    context.claim("accuracy-like-top-k", Measured { value, ..measured(&largest, "mnist", false) })?;

    let curve = |method: &str| {
        let points: Vec<Row> = RATIOS.iter().map(|&ratio| of(Task::Mnist, method, ratio, true)).collect();
        let x = points.iter().map(|row| 100. * row.sent).collect();
        let y = points.iter().map(|row| statistics::mean(&row.accuracy)).collect();
        let half: Vec<f64> =
            points.iter().map(|row| statistics::sample_standard_deviation(&row.accuracy).unwrap_or(0.)).collect();
        Series::new(method, x, y).spread(&half)
    };
    let dense = statistics::mean(&of(Task::Mnist, "dense", 1., true).accuracy);
    let ends = Series::new("dense", vec![0.08, 11.], vec![dense, dense]);
    let title = "Accuracy on MNIST against what is sent, with error feedback";
    let (x, y) = (Axis::log("elements sent, %"), Axis::linear("test accuracy, %"));
    context.plot("accuracy_density", Plot::lines(title, x, y, vec![curve("dragonn"), curve("top-k"), ends]))
}
