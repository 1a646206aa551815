//! Learns from labels of several annotators, with what is known of each annotation: `cargo run --release -p noisy-labels --example train_tram -- table.csv --label label --annotator annotator --pi seconds --out model`.
//!
//! The table has a header and a row for each annotation. `--label` is what the annotator said (any text), `--annotator` who said it (any text), each `--pi` a column of numbers that are known in training only; empty cells are
//! missing. All other columns are features, numbers without gaps, unless `--features` names them. `--item` names what was labelled; without it rows with equal features are one item.
//!
//! A fifth of the items is held out. Three networks of two hidden layers are trained on the rest: without information, TRAM, and TRAM with zeros in place of the information, which shows what information gives. They are compared on the
//! held-out rows: by the labels given there, which may be wrong, or by the true labels where `--truth` names their column.
//!
//! Writes `index.html` with all of it, `model.safetensors` (TRAM's network without anything that sees information), `model.json` (columns, classes, scales, sizes), `comparison.csv`, `annotators.csv`, `annotations.csv` (the
//! probability that each training label is wrong), `report.json` and figures.

use candle_core::{DType, Device, Module, Tensor};
use candle_nn::VarBuilder;
use clap::Parser;
use core_tensor::nn::linear;
use core_tensor::optim::{Adam, AdamConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::{Cancellation, Trainer};
use core_tensor::{Mode, metrics, ops};
use experiment::{Axis, Bars, Plot, Result, Samples, Table};
use noisy_labels::tram::{
    Annotated, Backbone, Information, PiColumn, PiEncoder, PiEncoderConfig, Strategy, Tram, TramConfig, TramTraining,
    annotation_report, export, fit, tram,
};
use reproduction::front::{self, Columns, Output, Progress, Results, numbered};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Learn from the labels of several annotators
///
/// The table has a header and a row for each annotation:
///
///   x,y,annotator,seconds,label
///   0.3,1.2,ann,5.1,yes
///   0.3,1.2,bob,,no
///
/// An .npz has an array for each of these columns. Features are numbers without gaps; what is known of an annotation (--pi) may have some.
///
/// A fifth of the items is held out. Three networks learn from the rest: without information, with it (TRAM), and with zeros in its place. Thousands of annotations take seconds.
///
/// Example: train_tram table.csv --label label --annotator annotator --pi seconds --out model
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment, mut_arg("out", |out| out.default_value("model")))]
struct Arguments {
    /// A table with a row for each annotation: .csv with a header, or .npz
    table: PathBuf,
    /// The column of the labels
    #[arg(long, default_value = "label")]
    label: String,
    /// The column of the annotators
    #[arg(long, default_value = "annotator")]
    annotator: String,
    /// Columns of numbers that are known in training only
    #[arg(long, value_delimiter = ',')]
    pi: Vec<String>,
    /// The columns of the features [default: all others]
    #[arg(long, value_delimiter = ',')]
    features: Vec<String>,
    /// The column of what was labelled
    #[arg(long)]
    item: Option<String>,
    /// The column of the true labels, for the comparison alone
    #[arg(long)]
    truth: Option<String>,
    /// Passes over the items
    #[arg(long, default_value_t = 40)]
    epochs: usize,
    /// Units of each hidden layer
    #[arg(long, default_value_t = 128)]
    hidden: usize,
    /// Random numbers that go with the information
    #[arg(long, default_value_t = 0)]
    random: usize,
    /// The seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

fn main() -> ExitCode {
    front::main(run)
}

/// Two hidden layers.
fn backbone(width: usize, hidden: usize, vb: &VarBuilder<'_>) -> core_tensor::Result<impl Backbone + use<>> {
    let (first, second) = (linear(width, hidden, vb.pp("1"))?, linear(hidden, hidden, vb.pp("2"))?);
    Ok(move |x: &Tensor, _: &mut Mode<'_>| ops::relu(&second.forward(&ops::relu(&first.forward(x)?)?)?))
}

/// Items of training and those held out, as tensors, with their rows of the table.
struct Split {
    training: Tensor,
    held_out: Tensor,
    /// For each training row its item in `training`, and its row of the table.
    examples: Vec<u32>,
    rows: Vec<usize>,
    /// The same of the rows held out.
    held_out_examples: Vec<u32>,
    held_out_rows: Vec<usize>,
    mean: Vec<f64>,
    scale: Vec<f64>,
}

/// Deals out items, so that no item is on both sides, and scales features by those of training.
fn split(features: &[Vec<f64>], items: &[usize], seed: u64) -> Result<Split> {
    let width = features[0].len();
    let count = items.iter().max().map_or(0, |last| last + 1);
    let apart = count.div_ceil(5);
    if count < 2 || apart == count {
        return Err(format!("there are {count} items, expected at least 2").into());
    }
    let mut is_held_out = vec![false; count];
    let order = Rng::new(seed).fork("held out").permutation(count);
    order[..apart].iter().for_each(|&item| is_held_out[item as usize] = true);
    let mut first_row = vec![usize::MAX; count];
    for (row, &item) in items.iter().enumerate() {
        if first_row[item] == usize::MAX {
            first_row[item] = row;
        } else if features[first_row[item]] != features[row] {
            return Err(format!("rows {} and {row} are of one item and have other features", first_row[item]).into());
        }
    }
    let of_training: Vec<&Vec<f64>> =
        (0..count).filter(|&item| !is_held_out[item]).map(|item| &features[first_row[item]]).collect();
    let n = of_training.len() as f64;
    let mean: Vec<f64> = (0..width).map(|at| of_training.iter().map(|x| x[at]).sum::<f64>() / n).collect();
    let scale: Vec<f64> = (0..width)
        .map(|at| {
            let deviation = (of_training.iter().map(|x| (x[at] - mean[at]).powi(2)).sum::<f64>() / n).sqrt();
            if deviation > 1e-7 * mean[at].abs() { 1. / deviation } else { 0. }
        })
        .collect();
    let mut place = vec![0u32; count];
    let mut values = [Vec::<f32>::new(), Vec::new()];
    for item in 0..count {
        let side = &mut values[usize::from(is_held_out[item])];
        place[item] = (side.len() / width) as u32;
        let scaled = features[first_row[item]].iter().zip(mean.iter().zip(&scale));
        side.extend(scaled.map(|(x, (mean, scale))| ((x - mean) * scale) as f32));
    }
    let [training, held_out] = values.map(|values| Tensor::from_vec(values, ((), width), &Device::Cpu));
    let rows = |wanted: bool| -> (Vec<u32>, Vec<usize>) {
        let chosen = items.iter().enumerate().filter(|(_, item)| is_held_out[**item] == wanted);
        chosen.map(|(row, &item)| (place[item], row)).unzip()
    };
    let ((examples, kept), (held_out_examples, held_out_rows)) = (rows(false), rows(true));
    Ok(Split {
        training: training?,
        held_out: held_out?,
        examples,
        rows: kept,
        held_out_examples,
        held_out_rows,
        mean,
        scale,
    })
}

fn run(arguments: &Arguments) -> Result<()> {
    let table = Columns::read(&arguments.table)?;
    let (labels, classes) = table.classes(&arguments.label)?;
    if classes.len() < 2 {
        let (column, count) = (&arguments.label, classes.len());
        return Err(table.error(format_args!("column `{column}`: {count} class, expected at least 2")));
    }
    let annotators = table.texts(&arguments.annotator)?;
    let mut named = vec![arguments.label.as_str(), arguments.annotator.as_str()];
    named.extend(arguments.pi.iter().map(String::as_str));
    named.extend(arguments.item.as_deref());
    named.extend(arguments.truth.as_deref());
    let names: Vec<String> = match arguments.features.as_slice() {
        [] => table.names().into_iter().filter(|name| !named.contains(&name.as_str())).collect(),
        chosen => chosen.to_vec(),
    };
    if let Some(both) = names.iter().find(|name| named.contains(&name.as_str())) {
        return Err(table.error(format_args!("column `{both}` is a feature and something else")));
    }
    if names.is_empty() {
        return Err(table.error("no column is left for features"));
    }
    let features = table.rows_of_numbers(&names)?;
    let items = match &arguments.item {
        Some(item) => numbered(table.texts(item)?),
        None => numbered(features.iter().map(|row| row.iter().map(|x| (x + 0.).to_bits()).collect::<Vec<_>>())),
    };
    let parts = split(&features, &items, arguments.seed).map_err(|error| table.error(error))?;
    let ids = numbered(annotators.iter().map(|name| Some(name.trim()).filter(|name| !name.is_empty())));
    let known = |row: usize| (!annotators[row].trim().is_empty()).then_some(ids[row] as u64);
    let mut columns = vec![PiColumn::Ids(parts.rows.iter().map(|&row| known(row)).collect())];
    let mut marks_missing = false;
    for name in &arguments.pi {
        let numbers = table.numbers(name)?;
        marks_missing |= numbers.iter().any(Option::is_none);
        columns.push(PiColumn::Numbers(parts.rows.iter().map(|&row| numbers[row]).collect()));
    }
    let information = Information::new(parts.rows.len(), columns)?;
    let config = PiEncoderConfig { marks_missing, random: arguments.random, seed: arguments.seed, hash_buckets: None };
    let encoder = PiEncoder::fit(&information, &config)?;
    let given: Vec<u32> = parts.rows.iter().map(|&row| labels[row]).collect();
    let data = Annotated::new(&parts.training, &parts.examples, &given, &information)?;
    let judged: Vec<u32> = match &arguments.truth {
        Some(truth) => {
            let place = |cell: &String| classes.iter().position(|class| class == cell.trim());
            let all: Option<Vec<u32>> =
                table.texts(truth)?.iter().map(|cell| place(cell).map(|place| place as u32)).collect();
            let all = all.ok_or_else(|| table.error(format_args!("column `{truth}` has classes that are no label")))?;
            parts.held_out_rows.iter().map(|&row| all[row]).collect()
        }
        None => parts.held_out_rows.iter().map(|&row| labels[row]).collect(),
    };

    let what = if arguments.truth.is_some() { "true" } else { "given" };
    let mut results = Results::prepare("Learned from annotators", &arguments.output)?;
    results.say(&format!(
        "{} annotations of {} items by {} annotators; {} rows held out ({})",
        labels.len(),
        items.iter().max().map_or(0, |last| last + 1),
        ids.iter().max().map_or(0, |last| last + 1),
        judged.len(),
        arguments.table.display()
    ));
    results.say(&format!("three networks learn for {} epochs each", arguments.epochs));
    let width = names.len();
    let mut progress = Progress::new("training", "epochs", 3usize.saturating_mul(arguments.epochs));
    let mut train = |strategy: Strategy<'_>| -> Result<(Tram<_>, ParamStore)> {
        let store = ParamStore::new(arguments.seed, DType::F32, &Device::Cpu);
        let vb = store.var_builder();
        let settings = TramConfig { width: 32, ..TramConfig::new(arguments.hidden, encoder.width(), classes.len()) };
        let model = tram(backbone(width, arguments.hidden, &vb.pp("backbone"))?, settings, vb)?;
        let mut trainer = Trainer::new(Adam::new(&store, AdamConfig::default())?);
        let training = TramTraining { epochs: arguments.epochs, seed: arguments.seed, ..TramTraining::default() };
        fit(&model, &mut trainer, data, &encoder, strategy, &training, &Cancellation::never(), |_| {
            progress.step();
            Ok(())
        })?;
        Ok((model, store))
    };
    let mut compared = Vec::new();
    let mut kept = None;
    for (name, strategy) in
        [("no information", Strategy::NoInformation), ("TRAM, zeros", Strategy::TramZero), ("TRAM", Strategy::Tram)]
    {
        let (model, store) = train(strategy)?;
        let rows = Tensor::new(parts.held_out_examples.as_slice(), &Device::Cpu)?;
        let p = model.predict(&parts.held_out)?.index_select(&rows, 0)?.to_vec2::<f32>()?;
        compared.push(Compared::new(name, &p, &judged)?);
        kept = Some((model, store));
    }
    drop(progress);
    let Some((model, store)) = kept else { return Ok(()) };
    comparison(&mut results, what, &compared)?;
    export(&store, results.path("model.safetensors", "weights of TRAM's network, without what sees information"))?;
    let described = json!({
        "features": names, "mean": parts.mean, "scale": parts.scale, "classes": classes, "hidden": arguments.hidden,
        "layers": "x = (features - mean) * scale; relu(backbone.1), relu(backbone.2), no_pi, softmax",
    });
    results.json("model", "how to apply the weights", &described)?;
    let of_rows: Vec<u64> = parts.rows.iter().map(|&row| ids[row] as u64).collect();
    let report = annotation_report(&model, data, &encoder, &of_rows)?;
    let mut first = BTreeMap::new();
    for (row, &id) in ids.iter().enumerate() {
        first.entry(id as u64).or_insert(row);
    }
    let name = |annotator: u64| first.get(&annotator).map_or("", |&row| annotators[row].trim());
    let mut rows = report.annotators.clone();
    rows.sort_by(|a, b| b.noise.total_cmp(&a.noise));
    let mut table = Table::new(["annotator", "annotations", "disagreement", "noise", "explained"]);
    for row in &rows {
        let numbers = [row.disagreement, row.noise, row.explained].map(|x| format!("{x:.6}"));
        table
            .rows
            .push([name(row.annotator).to_owned(), row.annotations.to_string()].into_iter().chain(numbers).collect());
    }
    results.heading("Annotators");
    results.table("annotators", "Annotators, the one with most wrong labels first", &table)?;
    let samples = vec![Samples::new("annotations", report.noise.clone())];
    let plot = Plot::histogram("How probably training labels are wrong", Axis::linear("probability"), 20, samples);
    results.heading("Annotations");
    results.figure("noise", &plot, "The probability that each label of the training rows is wrong.")?;
    let mut table = Table::new(["row", "label", "noise"]);
    for (&row, noise) in parts.rows.iter().zip(&report.noise) {
        table.rows.push(vec![row.to_string(), classes[labels[row] as usize].clone(), format!("{noise:.6}")]);
    }
    results.table("annotations", "How probably each training label is wrong; row 0 follows the header", &table)?;
    let methods: BTreeMap<_, _> = compared
        .iter()
        .map(|of| (of.name, json!({ "accuracy": of.accuracy, "negative_log_likelihood": of.loss })))
        .collect();
    let text = json!({
        "annotations": labels.len(), "training": parts.rows.len(), "held_out": judged.len(),
        "judged_by": format!("{what} labels"), "information": encoder.width(), "epochs": arguments.epochs, "methods": methods,
    });
    results.json("report", "counts and the comparison", &text)?;
    if arguments.truth.is_none() {
        results.say("note: the labels of the rows that were held out may be wrong too; differences are worth more than the numbers");
    }
    let worst = rows.iter().find(|row| row.annotations > 0).map(|row| (name(row.annotator), row.noise));
    results.finish(&next(&compared, worst))
}

/// How well a network finds the labels of the rows that are held out.
struct Compared {
    name: &'static str,
    accuracy: f64,
    loss: f64,
}

impl Compared {
    fn new(name: &'static str, probabilities: &[Vec<f32>], judged: &[u32]) -> Result<Self> {
        let (mut found, mut loss) = (Vec::with_capacity(judged.len()), 0f64);
        for (row, &class) in probabilities.iter().zip(judged) {
            found.push((0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0) as u32);
            loss -= f64::from(row[class as usize].max(1e-30)).ln();
        }
        Ok(Self { name, accuracy: metrics::accuracy(&found, judged)?, loss: loss / judged.len() as f64 })
    }
}

fn comparison(results: &mut Results, what: &str, compared: &[Compared]) -> Result<()> {
    let mut table =
        Table::new(["method".to_owned(), format!("{what}_labels_found"), "negative_log_likelihood".to_owned()]);
    let row = |of: &Compared| vec![of.name.to_owned(), format!("{:.4}", of.accuracy), format!("{:.4}", of.loss)];
    table.rows = compared.iter().map(row).collect();
    results.heading("Comparison");
    results.show_table("comparison", "The share of held-out labels that is found, and their mean loss", &table)?;
    let names = compared.iter().map(|of| of.name.to_owned()).collect();
    let bars = Bars::new("share found", compared.iter().map(|of| of.accuracy).collect());
    let plot = Plot::bars(format!("Held-out {what} labels found"), Axis::linear("share"), names, vec![bars]);
    results.figure("accuracy", &plot, "TRAM with zeros shows what the second head gives without any information.")
}

/// What to do with it.
fn next(compared: &[Compared], worst: Option<(&str, f64)>) -> String {
    let loss = |name: &str| compared.iter().find(|of| of.name == name).map_or(f64::INFINITY, |of| of.loss);
    let look = match worst {
        Some((name, noise)) => {
            let name = if name.is_empty() { "annotations without a name" } else { name };
            format!(
                "look at what {name} said (noise {noise:.2}), and at the rows of annotations.csv with the most noise"
            )
        }
        None => "look at the rows of annotations.csv with the most noise".to_owned(),
    };
    match loss("TRAM") < loss("no information").min(loss("TRAM, zeros")) {
        true => format!("the information helps here; try other --seed values to see by how much, and {look}"),
        false => format!(
            "the information does not help here: a network without it has no more loss on the held-out rows; try other --seed values, and {look}"
        ),
    }
}
