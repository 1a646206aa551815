//! A toy paper, reproduced with every part of the harness: what the crate's tests start as a process, and a tour.
//!
//! Its "measurements" are arithmetic on the trial's seed. For the tests, the environment can slow it down
//! (`TOY_MILLISECONDS` per epoch), break it (`TOY_FAILS`, `TOY_PANICS` with a trial's id) or set the accuracy of every
//! fold (`TOY_ACCURACY`).

use std::time::Duration;

use experiment::{
    Axis, Bars, Claim, Context, Judge, Measured, Node, Paper, Plot, Published, Result, Samples, Scale, Series, Table,
    Tile, Trial, TrialContext, statistics,
};
use serde::{Deserialize, Serialize};

static PAPER: Paper = Paper {
    slug: "toy",
    title: "Toys & <Games>: \"Learning\" to Count",
    authors: "A. Author, B. Author",
    venue: "ICML 2022, PMLR 162",
    url: "https://example.org/toy",
    claims: &[
        Claim {
            id: "accuracy",
            statement: "The method reaches 50 % accuracy on every fold of the toy data",
            published: Some(Published { value: 50.2, spread: Some(1.5), source: "Table 1, published" }),
            judge: Judge::Within { target: 50.0, tolerance: 15.0 },
            unit: "%",
            scales: &[Scale::Smoke, Scale::Laptop],
        },
        Claim {
            id: "beats-baseline",
            statement: "The method beats the baseline",
            published: Some(Published { value: 20.0, spread: None, source: "Table 1, derived" }),
            judge: Judge::AtLeast(0.0),
            unit: "%",
            scales: &[Scale::Smoke, Scale::Laptop],
        },
        Claim {
            id: "loss",
            statement: "Training at depth 8 diverges, so its loss is reported and not judged",
            published: None,
            judge: Judge::ReportOnly,
            unit: "",
            scales: &[Scale::Smoke],
        },
        Claim {
            id: "speed",
            statement: "An epoch at full size takes at most two minutes on a GPU",
            published: Some(Published { value: 120.0, spread: None, source: "Section 5, quoted" }),
            judge: Judge::AtMost(120.0),
            unit: "s",
            scales: &[Scale::Paper],
        },
    ],
};

#[derive(Debug, Clone, Serialize)]
struct Setting {
    method: &'static str,
    fold: usize,
    epochs: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Fold {
    accuracy: f64,
    losses: Vec<f64>,
}

fn main() -> std::process::ExitCode {
    experiment::main(&PAPER, run)
}

fn run(context: &mut Context) -> Result<()> {
    let folds = match context.scale() {
        Scale::Smoke => 6,
        Scale::Laptop => 10,
        Scale::Paper => 100,
    };
    let grid = |method: &'static str| {
        (0..folds).map(move |fold| Trial::new(format!("{method}/fold {fold}"), Setting { method, fold, epochs: 5 }))
    };
    let outcome = context.trials("folds", grid("method").chain(grid("baseline")).collect(), train)?;
    let depths = [1.0, 2.0, 4.0, 8.0].map(|depth: f64| Trial::new(format!("depth-{depth}"), depth));
    let losses = context.trials("depths", depths.to_vec(), |depth, trial| {
        trial.check_cancelled()?;
        // The deepest setting diverges: NaN must survive storage.
        Ok(if *depth > 7.0 { f64::NAN } else { 10f64.powf(-depth) })
    })?;
    let (outcome, losses) = (outcome.all()?, losses.all()?);
    let (method, baseline) = outcome.split_at(folds);
    claim(context, method, baseline, &losses)?;
    plot(context, method, baseline, &losses)?;
    let columns = ["fold", "method", "baseline"].map(str::to_owned).to_vec();
    let row = |fold: usize| {
        vec![fold.to_string(), format!("{:.2}", method[fold].accuracy), format!("{:.2}", baseline[fold].accuracy)]
    };
    context.table("Accuracy by fold, %", Table { columns, rows: (0..folds).map(row).collect() });
    context.note("Nothing here was learned; numbers are made from seeds.");
    Ok(())
}

fn train(setting: &Setting, trial: &TrialContext) -> Result<Fold> {
    let milliseconds = std::env::var("TOY_MILLISECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut checkpoint = trial.checkpoint_path();
    checkpoint.set_extension("json");
    // A checkpoint that was cut off by a kill does not parse, and the trial starts from nothing.
    let stored = std::fs::read(&checkpoint).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut losses: Vec<f64> = stored.unwrap_or_default();
    for epoch in losses.len()..setting.epochs {
        trial.check_cancelled()?;
        std::thread::sleep(Duration::from_millis(milliseconds));
        losses.push((1.0 + (trial.seed() % 7) as f64) / (1 + epoch) as f64);
        std::fs::write(&checkpoint, serde_json::to_string(&losses)?)?;
        trial.epoch(epoch + 1, setting.epochs, &format!("loss {:.3}", losses[epoch]));
    }
    if std::env::var("TOY_FAILS").is_ok_and(|id| id == trial.id()) {
        return Err("told to fail".into());
    }
    assert!(!std::env::var("TOY_PANICS").is_ok_and(|id| id == trial.id()), "told to panic");
    if let Some(accuracy) = std::env::var("TOY_ACCURACY").ok().and_then(|text| text.parse().ok()) {
        return Ok(Fold { accuracy, losses });
    }
    let base = if setting.method == "method" { 45.0 } else { 25.0 };
    Ok(Fold { accuracy: base + (trial.seed() % 1000) as f64 / 100.0, losses })
}

fn claim(context: &mut Context, method: &[Fold], baseline: &[Fold], losses: &[f64]) -> Result<()> {
    let accuracies: Vec<f64> = method.iter().map(|fold| fold.accuracy).collect();
    let differences: Vec<f64> = method.iter().zip(baseline).map(|(a, b)| a.accuracy - b.accuracy).collect();
    let measured = |values: &[f64]| Measured {
        value: statistics::mean(values),
        spread: statistics::sample_standard_deviation(values),
        trials: values.len(),
        data: "seeds".into(),
        is_synthetic: true,
        ..Measured::default()
    };
    context.claim("accuracy", measured(&accuracies))?;
    context.claim("beats-baseline", measured(&differences))?;
    context.claim("loss", measured(losses))
}

fn plot(context: &mut Context, method: &[Fold], baseline: &[Fold], losses: &[f64]) -> Result<()> {
    let epochs: Vec<f64> = (1..=5).map(f64::from).collect();
    let mean_and_deviation = |folds: &[Fold]| -> (Vec<f64>, Vec<f64>) {
        let at = |epoch: usize| folds.iter().map(|fold| fold.losses[epoch]).collect::<Vec<_>>();
        let deviation = |epoch| statistics::sample_standard_deviation(&at(epoch)).unwrap_or(0.0);
        ((0..5).map(|epoch| statistics::mean(&at(epoch))).collect(), (0..5).map(deviation).collect())
    };
    let curve = |name: &str, folds: &[Fold]| {
        let (mean, deviation) = mean_and_deviation(folds);
        Series::new(name, epochs.clone(), mean).spread(&deviation)
    };
    let (x, y) = (Axis::linear("epoch"), Axis::linear("training loss"));
    let curves = vec![curve("method", method), curve("baseline", baseline)];
    context.plot("loss", Plot::lines("Training loss, mean ± standard deviation over folds", x, y, curves))?;

    let depths = vec![1.0, 2.0, 4.0, 8.0];
    let series = vec![Series::new("final loss", depths, losses.to_vec())];
    context.plot("depth", Plot::scatter("Loss by depth", Axis::log("depth"), Axis::log("loss"), series))?;

    let categories = vec!["toy data".to_owned(), "a data set with a long name".to_owned()];
    let bars = vec![
        Bars::new("method", vec![50.0, 62.5]).errors(vec![2.0, 4.0]),
        Bars::new("baseline <b>", vec![30.0, f64::NAN]).errors(vec![1.0, 0.0]),
    ];
    context.plot("bars", Plot::bars("Accuracy", Axis::linear("accuracy, %"), categories, bars))?;

    let names = |prefix: &str| (0..6).map(|index| format!("{prefix}{index}")).collect::<Vec<_>>();
    let cells = (0..6).map(|row| (0..6).map(|column| f64::from(row * column) / 25.0).collect()).collect();
    context.plot("heat", Plot::heat_map("Confusion", names("class "), names("class "), cells))?;

    let node = |index: usize| {
        let angle = index as f64 / 12.0 * std::f64::consts::TAU;
        Node { x: angle.cos(), y: angle.sin(), cluster: index / 4, label: index.to_string() }
    };
    let edges = (0..12).map(|index| (index, (index + 1) % 12)).chain([(0, 6), (3, 9)]).collect();
    context.plot("graph", Plot::graph("Clusters of a ring", (0..12).map(node).collect(), edges))?;

    let samples = |name: &str, folds: &[Fold]| Samples::new(name, folds.iter().map(|fold| fold.accuracy).collect());
    let samples = vec![samples("method", method), samples("baseline", baseline)];
    context.plot("histogram", Plot::histogram("Folds by accuracy", Axis::linear("accuracy, %"), 12, samples))?;

    let shape = [3, 16, 16];
    let image: Vec<f64> = (0..3 * 16 * 16).map(|place| ((place % 17) * (1 + place / 256)) as f64 / 48.0).collect();
    let change: Vec<f64> = (0..image.len()).map(|place| if place % 3 == 0 { -0.03 } else { 0.03 }).collect();
    let changed = image.iter().zip(&change).map(|(value, change)| value + change).collect();
    let tiles = vec![
        Tile::new("stripes", shape, image),
        Tile::signed("change", shape, change),
        Tile::new("stripes, changed", shape, changed),
    ];
    context.plot("images", Plot::images("An image and its change", vec![tiles]))
}
