//! Corrects labels that are not to be trusted: `cargo run --release -p noisy-labels --example correct_labels -- --labels labels.csv --probabilities probs.npy --features features.npy --out corrected`.
//!
//! Labels are the classes from 0, in a table with a header (the column `label`, another with `--column`) or a NumPy array `[examples]`; with `--classes` they are names, in the order of the columns of the probabilities. Probabilities
//! `[examples, classes]` and features `[examples, width]` are tables of numbers or NumPy arrays, of whatever model predicts these labels; in an `.npz` the arrays `label`, `probabilities` and `features`. A table of probabilities
//! whose header has the names of the labels needs no `--classes`.
//!
//! With features, predictions are calibrated by NPC: probabilities should then be those of the model that was trained on these very labels, and features what its last layer sees. Without, confident learning lists wrong labels, and
//! probabilities should come from models that have not seen the labels (cross-validation).
//!
//! Writes `index.html` with all of it, `corrected.csv` (index, given, corrected, confidence, p_given, rank: 1 is the most suspect), `classes.csv`, `report.json` and figures with their numbers.

use clap::Parser;
use core_tensor::train::Cancellation;
use experiment::{Axis, Plot, Result, Samples, Table};
use noisy_labels::issues::{DataReport, DataReportConfig, data_report, ranking};
use noisy_labels::neighbours::Points;
use noisy_labels::npc::{Calibrator, CalibratorConfig, NpcConfig, Prior};
use noisy_labels::{Probabilities, noise};
use reproduction::front::{self, Columns, Numbers, Output, Progress, Results};
use serde_json::json;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Correct labels by probabilities and features of a model
///
/// Labels are a table with a header, and a row for each example:
///
///   label
///   oak
///   elm
///
/// Probabilities have as many rows, and a column for each class; features as many rows, and any number of columns. Each is a .npy file, a .csv file (where a header of the probabilities may name the classes), or an .npz with the arrays label, probabilities, features.
///
/// With --features predictions are calibrated by NPC, which takes seconds for thousands of examples. Without, confident learning lists the labels that are probably wrong.
///
/// Example: correct_labels --labels labels.csv --classes oak,elm,fir --probabilities probabilities.npy --features features.npy --out corrected
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment, mut_arg("out", |out| out.default_value("corrected")))]
struct Arguments {
    /// The labels: a table with a header, or a NumPy array of integers
    #[arg(long)]
    labels: PathBuf,
    /// The column of the labels in the table
    #[arg(long, default_value = "label")]
    column: String,
    /// Names of the classes, in the order of the columns of the probabilities
    #[arg(long, value_delimiter = ',')]
    classes: Option<Vec<String>>,
    /// Predicted probabilities [examples, classes]: .npy, .npz or .csv
    #[arg(long)]
    probabilities: PathBuf,
    /// Features [examples, width]: .npy, .npz or .csv
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
    #[command(flatten)]
    output: Output,
}

fn main() -> ExitCode {
    front::main(run)
}

/// Examples among which all pairs are compared without being asked.
const ALL_PAIRS: usize = 50_000;

/// Steps that NPC is trained for at least, unless `--epochs` says otherwise.
const LEAST_STEPS: usize = 1_000;

/// An array of two dimensions, with its width.
fn matrix(path: &Path, name: &str) -> Result<(Numbers, usize)> {
    let numbers = front::named_array(path, name)?;
    match numbers.matrix(path)? {
        (_, 0) => Err(format!("{}: there are no columns", path.display()).into()),
        (_, width) => Ok((numbers, width)),
    }
}

fn shown(path: &Path, error: &dyn Display) -> String {
    format!("{}: {error}", path.display())
}

fn run(arguments: &Arguments) -> Result<()> {
    let (predicted, classes) = matrix(&arguments.probabilities, "probabilities")?;
    let p = Probabilities::new(&predicted.values, classes).map_err(|e| shown(&arguments.probabilities, &e))?;
    let (labels, names) = labels(arguments, &predicted, classes)?;
    if labels.len() != p.len() {
        let reason = format!("{} labels for {} rows of probabilities", labels.len(), p.len());
        return Err(shown(&arguments.labels, &reason).into());
    }
    let features = match &arguments.features {
        Some(path) => Some((path, matrix(path, "features")?)),
        None => None,
    };
    let points = match &features {
        Some((path, (features, width))) => {
            let points = Points::new(&features.values, *width).map_err(|error| shown(path, &error))?;
            if points.len() != labels.len() {
                let reason = format!("{} rows of features for {} labels", points.len(), labels.len());
                return Err(shown(path, &reason).into());
            }
            Some(points)
        }
        None => None,
    };
    let mut results = Results::prepare("Corrected labels", &arguments.output)?;
    let method = if points.is_some() { "npc" } else { "confident learning" };
    results.say(&format!(
        "{} examples, {classes} classes ({}); to be corrected by {method}",
        labels.len(),
        arguments.labels.display()
    ));
    let compared = points.filter(|_| labels.len() <= ALL_PAIRS || arguments.compare_all);
    let config = DataReportConfig { neighbours: arguments.neighbours, ..DataReportConfig::default() };
    let report = data_report(p, &labels, compared, &config)?;
    let corrected = match points {
        Some(points) => calibrated(arguments, &mut results, p, points)?,
        None => predicted.values.clone(),
    };
    let after = Probabilities::new(&corrected, classes)?;
    // Confident learning changes what it lists, NPC says for each example what is most probable.
    let mut is_listed = vec![points.is_some(); labels.len()];
    report.issues.iter().for_each(|&example| is_listed[example as usize] = true);
    let found: Vec<u32> = labels
        .iter()
        .enumerate()
        .map(|(row, &label)| if is_listed[row] { after.most_probable(row) as u32 } else { label })
        .collect();
    let of_given: Vec<f64> = labels.iter().enumerate().map(|(row, &label)| after.row(row)[label as usize]).collect();
    let mut rank = vec![0usize; labels.len()];
    ranking(&of_given).into_iter().enumerate().for_each(|(at, example)| rank[example as usize] = at + 1);

    let changed = labels.iter().zip(&found).filter(|(a, b)| a != b).count();
    results.say(&format!("{changed} labels changed"));
    say(&mut results, &report, compared.is_none() && points.is_some());
    let mut table = Table::new(["index", "given", "corrected", "confidence", "p_given", "rank"]);
    for row in 0..labels.len() {
        table.rows.push(vec![
            row.to_string(),
            names[labels[row] as usize].clone(),
            names[found[row] as usize].clone(),
            format!("{:.6}", after.row(row)[found[row] as usize]),
            format!("{:.6}", of_given[row]),
            rank[row].to_string(),
        ]);
    }
    results.heading("Classes");
    results.table("classes", "Classes, and how many of their labels are probably wrong", &by_class(&report, &names))?;
    figures(&mut results, &report, &of_given, &names)?;
    most_suspect(&mut results, &table);
    results.table("corrected", "Labels as given and corrected; rank 1 is the most suspect", &table)?;
    let text = json!({
        "method": method,
        "changed": changed,
        "issues": report.issues.len(),
        "transition": noise::counted_transition(&found, &labels, classes)?,
        "classes": names,
        "data": report,
    });
    results.json("report", "noise by class, wrong labels, duplicates, outliers", &text)?;
    results.finish(&next(&report, changed, points.is_some()))
}

/// Probabilities that NPC has corrected.
fn calibrated(
    arguments: &Arguments,
    results: &mut Results,
    p: Probabilities<'_, f64>,
    points: Points<'_, f64>,
) -> Result<Vec<f64>> {
    let (examples, classes) = (p.len(), p.num_classes());
    // Small sets have smaller batches, so that there are several references for each neighbour.
    let batch_size = (examples * classes / (4 * arguments.neighbours.max(1))).min(128).max(classes.max(2));
    let prior = Prior::Neighbours { k: arguments.neighbours, batch_size, top: None };
    let training = NpcConfig { seed: arguments.seed, ..NpcConfig::default() };
    // Few examples make few steps a pass, and NPC that is not trained to the end changes labels at random.
    let steps_of_pass = examples.div_ceil(training.batch_size);
    let epochs = arguments.epochs.unwrap_or(LEAST_STEPS.div_ceil(steps_of_pass).max(training.epochs));
    let steps = epochs.saturating_mul(steps_of_pass);
    results.say(&format!("NPC: {epochs} passes of {steps_of_pass} steps"));
    if steps < LEAST_STEPS / 4 {
        results.say(&format!(
            "warning: {steps} steps are few, and the corrections may be worse than the labels; leave --epochs out"
        ));
    }
    let training = NpcConfig { epochs, ..training };
    let config = CalibratorConfig { prior, training, ..CalibratorConfig::default() };
    let mut progress = Progress::new("training", "passes", epochs);
    let calibrator = Calibrator::fit_with(p, points, &config, &Cancellation::never(), |epoch, loss| {
        progress.at(epoch, || format!("loss {loss:.4}"));
        Ok(())
    })?;
    let rows = calibrator.correct(p, points)?.to_dtype(candle_core::DType::F64)?;
    Ok(rows.flatten_all()?.to_vec1::<f64>()?)
}

fn say(results: &mut Results, report: &DataReport, left_out: bool) {
    results.say(&format!(
        "confident learning: {} labels are probably wrong, about {:.1} % in all",
        report.issues.len(),
        100. * report.noise_rate
    ));
    if report.looks_in_sample {
        results.say(&format!(
            "note: {:.1} % of the labels are the most probable class: the model has probably been trained on these labels, and confident learning finds few wrong ones; predict by cross-validation",
            100. * report.agreement
        ));
    }
    if let Some(features) = &report.features {
        results.say(&format!(
            "features: {} labels are contradicted by their neighbours, {} sets of equal examples, {} of nearly equal ones ({} with different labels), {} outliers",
            features.contradicted.len(),
            features.duplicates.len(),
            features.near_duplicates.len(),
            features.conflicting,
            features.outliers.len()
        ));
    }
    if left_out {
        results.say("duplicates and outliers were not looked for among so many examples; --compare-all does");
    }
}

/// The labels as classes, and the names of the classes.
fn labels(arguments: &Arguments, predicted: &Numbers, classes: usize) -> Result<(Vec<u32>, Vec<String>)> {
    if let Some(names) = &arguments.classes
        && names.len() != classes
    {
        return Err(format!("--classes: {} names for {classes} columns of probabilities", names.len()).into());
    }
    let table = Columns::read(&arguments.labels)?;
    // An array without names has the column 0 alone.
    let cells = match table.names().as_slice() {
        [only] if only == "0" => table.texts(only)?,
        _ => table.texts(&arguments.column)?,
    };
    let cells: Vec<&str> = cells.iter().map(|cell| cell.trim()).collect();
    let header =
        predicted.columns.as_ref().filter(|names| cells.iter().all(|cell| names.iter().any(|name| name == cell)));
    let names = arguments.classes.as_ref().or(header);
    let place = |text: &str| match names {
        Some(names) => names.iter().position(|name| name == text),
        None => text.parse().ok().filter(|number| *number < classes),
    };
    let numbered = |(row, cell): (usize, &&str)| match place(cell) {
        Some(class) => Ok(class as u32),
        None => Err(table
            .error(format_args!("label {row} is `{cell}`, expected one of {classes} classes from 0, or of --classes"))),
    };
    let labels = cells.iter().enumerate().map(numbered).collect::<Result<Vec<u32>>>()?;
    Ok((labels, names.cloned().unwrap_or_else(|| (0..classes).map(|class| class.to_string()).collect())))
}

fn by_class(report: &DataReport, names: &[String]) -> Table {
    let mut table = Table::new(["class", "labels", "probably_wrong", "mean_probability"]);
    let row = |(class, name): (&noisy_labels::issues::ClassRow, &String)| {
        vec![name.clone(), class.given.to_string(), class.issues.to_string(), format!("{:.4}", class.self_confidence)]
    };
    table.rows = report.by_class.iter().zip(names).map(row).collect();
    table
}

/// Puts the first of the ranking on the page.
fn most_suspect(results: &mut Results, corrected: &Table) {
    const FIRST: usize = 5;
    let mut rows: Vec<&Vec<String>> = corrected.rows.iter().collect();
    rows.sort_by_key(|row| row[5].parse::<usize>().unwrap_or(usize::MAX));
    results.heading("Examples");
    let first = rows.iter().take(FIRST).map(|row| format!("{} ({} → {})", row[0], row[1], row[2]));
    results.note(&format!("The most suspect examples: {}.", first.collect::<Vec<_>>().join(", ")));
}

fn figures(results: &mut Results, report: &DataReport, of_given: &[f64], classes: &[String]) -> Result<()> {
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
    results.figure("joint", &joint, "What is off the diagonal is probably wrong.")?;
    results.figure("p_given", &confidence, "The probability that is left for each label as it was given.")
}

/// What to do with it.
fn next(report: &DataReport, changed: usize, has_features: bool) -> String {
    if report.looks_in_sample && !has_features {
        return "predict each example by a model that has not seen its label (cross-validation), and run this again; or give --features of the model that has".to_owned();
    }
    if changed == 0 {
        return "no label was changed; look at the first by rank in corrected.csv all the same".to_owned();
    }
    if 2 * changed > report.examples {
        return format!(
            "{changed} of {} labels changed, more than a model is to be trusted with: check that the columns of the probabilities are in the order of the classes, then look at the first by rank",
            report.examples
        );
    }
    "look at the first by rank in corrected.csv by eye, then train on a copy with the column corrected, and compare on examples that you are sure of".to_owned()
}
