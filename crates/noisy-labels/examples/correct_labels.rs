//! Corrects labels that are not to be trusted: `cargo run --release -p noisy-labels --example correct_labels -- --labels labels.csv --probabilities probs.npy --features features.npy --out corrected`.
//!
//! Labels are the classes from 0, in a table with a header (the column `label`, another with `--column`) or a NumPy array `[examples]`; with `--classes` they are names, in the order of the columns of the probabilities. Probabilities
//! `[examples, classes]` and features `[examples, width]` are NumPy arrays of f32 or f64, of whatever model predicts these labels.
//!
//! With features, predictions are calibrated by NPC: probabilities should then be those of the model that was trained on these very labels, and features what its last layer sees. Without, confident learning lists wrong labels, and
//! probabilities should come from models that have not seen the labels (cross-validation).
//!
//! Writes `corrected.csv` (index, given, corrected, confidence, p_given, rank: 1 is the most suspect), `report.json` and figures.

#[path = "own_data/arrays.rs"]
mod arrays;

use arrays::{Fallible, Matrix};
use clap::Parser;
use core_tensor::train::Cancellation;
use datasets::table::{TableConfig, parse_text};
use experiment::{Axis, Plot, Samples};
use noisy_labels::issues::{DataReport, DataReportConfig, data_report, ranking};
use noisy_labels::neighbours::Points;
use noisy_labels::npc::{Calibrator, CalibratorConfig, NpcConfig, Prior};
use noisy_labels::{Probabilities, noise};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Correct labels by probabilities and features of a model
#[derive(Debug, Parser)]
struct Arguments {
    /// The labels: a table, or a NumPy array of integers
    #[arg(long)]
    labels: PathBuf,
    /// The column of the labels in the table
    #[arg(long, default_value = "label")]
    column: String,
    /// Names of the classes, in the order of the columns of the probabilities
    #[arg(long, value_delimiter = ',')]
    classes: Option<Vec<String>>,
    /// Predicted probabilities, a NumPy array [examples, classes]
    #[arg(long)]
    probabilities: PathBuf,
    /// Features, a NumPy array [examples, width]
    #[arg(long)]
    features: Option<PathBuf>,
    /// Passes over the examples for NPC [default: 10, or as many as make 1,000 steps of 128 examples]
    #[arg(long)]
    epochs: Option<usize>,
    /// Neighbours that vote
    #[arg(long, default_value_t = 10)]
    neighbours: usize,
    /// The seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Look for duplicates and outliers also among more than 50,000 examples (time grows with their square)
    #[arg(long)]
    compare_all: bool,
    /// Folder for the results
    #[arg(long, default_value = "corrected")]
    out: PathBuf,
}

fn main() -> ExitCode {
    core_tensor::memory::configure();
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Examples among which all pairs are compared without being asked.
const ALL_PAIRS: usize = 50_000;

/// Steps that NPC is trained for at least, unless `--epochs` says otherwise.
const LEAST_STEPS: usize = 1_000;

fn run(arguments: &Arguments) -> Fallible<()> {
    let predicted = arrays::matrix(&arguments.probabilities)?;
    let classes = predicted.width;
    let shown = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let labels = labels(arguments, classes)?;
    if labels.len() != predicted.rows() {
        let reason = format!("{} labels for {} rows of probabilities", labels.len(), predicted.rows());
        return Err(shown(&arguments.labels, &reason).into());
    }
    let p = Probabilities::new(&predicted.values, classes).map_err(|e| shown(&arguments.probabilities, &e))?;
    let features = match &arguments.features {
        Some(path) => {
            let features = arrays::matrix(path)?;
            if features.rows() != labels.len() {
                let reason = format!("{} rows of features for {} labels", features.rows(), labels.len());
                return Err(shown(path, &reason).into());
            }
            Some(features)
        }
        None => None,
    };
    let points = match (&features, &arguments.features) {
        (Some(features), Some(path)) => {
            Some(Points::new(&features.values, features.width).map_err(|error| shown(path, &error))?)
        }
        _ => None,
    };
    let compared = points.filter(|_| labels.len() <= ALL_PAIRS || arguments.compare_all);
    let config = DataReportConfig { neighbours: arguments.neighbours, ..DataReportConfig::default() };
    let report = data_report(p, &labels, compared, &config)?;
    let (corrected, method) = match points {
        Some(points) => {
            // Small sets have smaller batches, so that there are several references for each neighbour.
            let batch_size = (labels.len() * classes / (4 * arguments.neighbours.max(1))).min(128).max(classes.max(2));
            let prior = Prior::Neighbours { k: arguments.neighbours, batch_size, top: None };
            let training = NpcConfig { seed: arguments.seed, ..NpcConfig::default() };
            // Few examples make few steps a pass, and NPC that is not trained to the end changes labels at random.
            let steps_of_pass = labels.len().div_ceil(training.batch_size);
            let epochs = arguments.epochs.unwrap_or(LEAST_STEPS.div_ceil(steps_of_pass).max(training.epochs));
            let steps = epochs * steps_of_pass;
            println!("NPC: {epochs} passes of {steps_of_pass} steps");
            if steps < LEAST_STEPS / 4 {
                println!(
                    "warning: {steps} steps are few, and the corrections may be worse than the labels; leave --epochs out"
                );
            }
            let training = NpcConfig { epochs, ..training };
            let config = CalibratorConfig { prior, training, ..CalibratorConfig::default() };
            let calibrator = Calibrator::fit(p, points, &config, &Cancellation::never())?;
            let rows = calibrator.correct(p, points)?.to_dtype(candle_core::DType::F64)?;
            (Matrix { values: rows.flatten_all()?.to_vec1::<f64>()?, width: classes }, "npc")
        }
        None => (predicted.clone(), "confident learning"),
    };
    let after = Probabilities::new(&corrected.values, classes)?;
    // Confident learning changes what it lists, NPC says for each example what is most probable.
    let mut is_listed = vec![method == "npc"; labels.len()];
    report.issues.iter().for_each(|&example| is_listed[example as usize] = true);
    let found: Vec<u32> = labels
        .iter()
        .enumerate()
        .map(|(row, &label)| if is_listed[row] { after.most_probable(row) as u32 } else { label })
        .collect();
    let of_given: Vec<f64> = labels.iter().enumerate().map(|(row, &label)| after.row(row)[label as usize]).collect();
    let mut rank = vec![0usize; labels.len()];
    ranking(&of_given).into_iter().enumerate().for_each(|(at, example)| rank[example as usize] = at + 1);

    std::fs::create_dir_all(&arguments.out).map_err(|error| shown(&arguments.out, &error))?;
    let name = |class: u32| match &arguments.classes {
        Some(names) => names[class as usize].clone(),
        None => class.to_string(),
    };
    let mut table = csv::Writer::from_path(arguments.out.join("corrected.csv"))?;
    table.write_record(["index", "given", "corrected", "confidence", "p_given", "rank"])?;
    for row in 0..labels.len() {
        table.write_record([
            row.to_string(),
            name(labels[row]),
            name(found[row]),
            format!("{:.6}", after.row(row)[found[row] as usize]),
            format!("{:.6}", of_given[row]),
            rank[row].to_string(),
        ])?;
    }
    table.flush()?;
    let changed = labels.iter().zip(&found).filter(|(a, b)| a != b).count();
    let transition = noise::counted_transition(&found, &labels, classes)?;
    figures(arguments, &report, &of_given, &name)?;
    let text = json!({
        "method": method,
        "changed": changed,
        "issues": report.issues.len(),
        "transition": transition,
        "classes": (0..classes as u32).map(name).collect::<Vec<_>>(),
        "data": report,
    });
    std::fs::write(arguments.out.join("report.json"), serde_json::to_string_pretty(&text)? + "\n")?;
    say(&report, method, changed, arguments, compared.is_none() && points.is_some());
    Ok(())
}

fn say(report: &DataReport, method: &str, changed: usize, arguments: &Arguments, left_out: bool) {
    println!(
        "{} examples, {} classes; corrected by {method}: {changed} labels changed",
        report.examples, report.classes
    );
    println!(
        "confident learning: {} labels are probably wrong, about {:.1} % in all",
        report.issues.len(),
        100. * report.noise_rate
    );
    if report.looks_in_sample {
        println!(
            "note: {:.1} % of the labels are the most probable class: the model has probably been trained on these labels, and confident learning finds few wrong ones; predict by cross-validation",
            100. * report.agreement
        );
    }
    if let Some(features) = &report.features {
        println!(
            "features: {} labels are contradicted by their neighbours, {} sets of equal examples, {} of nearly equal ones ({} with different labels), {} outliers",
            features.contradicted.len(),
            features.duplicates.len(),
            features.near_duplicates.len(),
            features.conflicting,
            features.outliers.len()
        );
    }
    if left_out {
        println!("duplicates and outliers were not looked for among so many examples; --compare-all does");
    }
    println!("written: corrected.csv, report.json and figures in {}", arguments.out.display());
}

/// The labels as classes.
fn labels(arguments: &Arguments, classes: usize) -> Fallible<Vec<u32>> {
    let path = &arguments.labels;
    let shown = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
    if let Some(names) = &arguments.classes
        && names.len() != classes
    {
        return Err(format!("--classes: {} names for {classes} columns of probabilities", names.len()).into());
    }
    let numbered = |text: &str, row: usize| -> Fallible<u32> {
        let number = match &arguments.classes {
            Some(names) => names.iter().position(|name| name == text.trim()),
            None => text.trim().parse().ok(),
        };
        match number.filter(|number| *number < classes) {
            Some(number) => Ok(number as u32),
            None => Err(shown(&format!(
                "label {row} is `{text}`, expected one of {classes} classes from 0, or of --classes"
            ))
            .into()),
        }
    };
    let bytes = std::fs::read(path).map_err(|error| shown(&error))?;
    if path.extension().is_some_and(|extension| extension == "npy") {
        let array = datasets::npy::parse(&bytes).map_err(|error| shown(&error))?;
        return array.values.to_f64().iter().enumerate().map(|(row, x)| numbered(&x.to_string(), row)).collect();
    }
    let table = parse_text(&bytes, &TableConfig::default()).map_err(|error| shown(&error))?;
    let known = table.columns.join(", ");
    let cells = table
        .column(&arguments.column)
        .ok_or_else(|| shown(&format!("no column `{}`, there are: {known}", arguments.column)))?;
    cells.enumerate().map(|(row, cell)| numbered(cell, row)).collect()
}

fn figures(arguments: &Arguments, report: &DataReport, of_given: &[f64], name: &dyn Fn(u32) -> String) -> Fallible<()> {
    let classes: Vec<String> = (0..report.classes as u32).map(name).collect();
    let values = report.joint.chunks_exact(report.classes).map(<[f64]>::to_vec).collect();
    let titled = |prefix: &str| classes.iter().map(|class| format!("{prefix}{class}")).collect::<Vec<_>>();
    let joint = Plot::heat_map(
        "Estimated joint distribution of given and true labels",
        titled("true "),
        titled("given "),
        values,
    );
    let samples = vec![Samples::new("examples", of_given.to_vec())];
    let confidence = Plot::histogram("Probability of the given label", Axis::linear("probability"), 20, samples);
    for (file, plot) in [("joint", joint), ("p_given", confidence)] {
        let text = plot.svg_file(file, "made from the files that were given")?;
        std::fs::write(arguments.out.join(format!("{file}.svg")), text)?;
    }
    Ok(())
}
