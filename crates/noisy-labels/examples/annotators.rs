//! Finds out what your annotators agree on: `cargo run --release -p noisy-labels --example annotators -- annotations.csv --out consensus`.
//!
//! The table has a header and a row for each annotation: the columns `item`, `annotator` and `label` (others with `--item`, `--annotator`, `--label`), each any text; an `.npz` has arrays of these names. Classes are the labels
//! that occur, in the order of their numbers if all are numbers, else of the alphabet; ties go to the first. With `--probabilities`, a table with the column of the items and a column for each class, a classifier is weighed in
//! (CROWDLAB).
//!
//! Every model that the number of classes permits is fitted. Shows the annotators and writes `index.html` with all of it, `consensus.csv` (for each item what each model says, and how certain it is), `annotators.csv` (how
//! reliable each model takes each annotator to be), `reliability.svg` and `report.json`.

use clap::Parser;
use experiment::{Axis, Bars, Plot, Result, Table};
use noisy_labels::Probabilities;
use noisy_labels::annotators::{
    Agreement, Annotations, Consensus, DawidSkeneConfig, GladConfig, KosConfig, MaceConfig, Progress, agreement,
    crowdlab, dawid_skene, glad, kos, mace, majority_vote, one_coin,
};
use reproduction::front::{self, Columns, Output, Results};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Find out what annotators agree on
///
/// The table has a header and a row for each annotation:
///
///   item,annotator,label
///   p00.png,ann,dog
///   p00.png,bob,cat
///
/// An .npz has an array for each of these columns. Rows with an empty cell are left out.
///
/// Majority vote, Dawid-Skene, one-coin, GLAD and MACE are fitted, for two classes KOS too: each says what every item is, and how far each annotator can be trusted.
///
/// Example: annotators annotations.csv --item picture --out consensus
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment, mut_arg("out", |out| out.default_value("consensus")))]
struct Arguments {
    /// A table with a row for each annotation: .csv with a header, or .npz
    annotations: PathBuf,
    /// The column of the items
    #[arg(long, default_value = "item")]
    item: String,
    /// The column of the annotators
    #[arg(long, default_value = "annotator")]
    annotator: String,
    /// The column of the labels
    #[arg(long, default_value = "label")]
    label: String,
    /// A table of a classifier's probabilities: the column of the items, and one for each class
    #[arg(long)]
    probabilities: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// Annotators that are shown, in the figure and on standard output.
const SHOWN: usize = 25;

/// An annotator with fewer annotations is hardly known.
const FEW: f64 = 10.;

fn main() -> ExitCode {
    front::main(run)
}

/// What a model says of items and annotators.
struct Fitted {
    name: &'static str,
    consensus: Consensus,
    /// What it calls the reliability of an annotator, and the numbers.
    reliability: Option<(&'static str, Vec<f64>)>,
    progress: Option<Progress>,
}

/// The annotations of a table, with names.
struct Given {
    items: Vec<String>,
    annotators: Vec<String>,
    classes: Vec<String>,
    all: Annotations,
    left_out: usize,
}

fn read(arguments: &Arguments) -> Result<Given> {
    let table = Columns::read(&arguments.annotations)?;
    let (items, annotators, labels) =
        (table.texts(&arguments.item)?, table.texts(&arguments.annotator)?, table.texts(&arguments.label)?);
    // A cell without text is no answer, no annotator and no item.
    let is_whole = |row: &usize| [&items, &annotators, &labels].iter().all(|cells| !cells[*row].trim().is_empty());
    let whole: Vec<usize> = (0..labels.len()).filter(is_whole).collect();
    let left_out = labels.len() - whole.len();
    let kept = |cells: Vec<String>| whole.iter().map(|&row| cells[row].clone()).collect::<Vec<_>>();
    let (items, annotators, labels) = (kept(items), kept(annotators), kept(labels));
    let mut said = BTreeMap::new();
    for (at, &row) in whole.iter().enumerate() {
        let (item, annotator, label) = (&items[at], &annotators[at], &labels[at]);
        if let Some((before, first)) = said.insert((item, annotator), (label, row))
            && before != label
        {
            return Err(table.error(format_args!(
                "rows {first} and {row}: annotator `{annotator}` gave item `{item}` the labels `{before}` and `{label}`; keep one of them"
            )));
        }
    }
    let classes = classes(&labels);
    let number = |label: &String| classes.iter().position(|class| class == label).unwrap_or(0) as u32;
    let given = items
        .into_iter()
        .zip(annotators)
        .zip(&labels)
        .map(|((item, annotator), label)| (item, annotator, number(label)));
    let named = Annotations::named(classes.len(), given).map_err(|error| table.error(error))?;
    Ok(Given { items: named.items, annotators: named.annotators, all: named.annotations, classes, left_out })
}

fn run(arguments: &Arguments) -> Result<()> {
    let given = read(arguments)?;
    let weighed = match &arguments.probabilities {
        Some(path) => Some((path, probabilities(path, &arguments.item, &given.items, &given.classes)?)),
        None => None,
    };
    let mut results = Results::prepare("What annotators agree on", &arguments.output)?;
    let all = &given.all;
    results.say(&format!(
        "{} items, {} annotators, {} annotations, {} classes ({})",
        all.num_items(),
        all.num_annotators(),
        all.len(),
        given.classes.len(),
        arguments.annotations.display()
    ));
    if given.left_out > 0 {
        results.say(&format!("{} rows without an item, an annotator or a label were left out", given.left_out));
    }
    if all.num_repeated() > 0 {
        results.say(&format!("{} annotations were given more than once and count once", all.num_repeated()));
    }
    let mut fitted = fit(all)?;
    if let Some((path, rows)) = &weighed {
        let p =
            Probabilities::new(rows, given.classes.len()).map_err(|error| format!("{}: {error}", path.display()))?;
        let fit = crowdlab(all, p)?;
        results.say(&format!("weight of the classifier: {:.3}", fit.classifier_weight));
        let reliability = Some(("weight", fit.annotator_weights));
        fitted.push(Fitted { name: "crowdlab", consensus: fit.consensus, reliability, progress: None });
    }
    of_annotators(&mut results, &given, &fitted)?;
    let between = agreement(all).ok();
    if let Some(between) = &between {
        results.say(&format!(
            "of two annotations of an item {:.1} % agree; Krippendorff's alpha {:.3}",
            100. * between.observed,
            between.krippendorff
        ));
    }
    let differing = of_items(&mut results, &given, &fitted)?;
    report(&mut results, &given, &fitted, between.as_ref())?;
    results.finish(&next(&given, &fitted, differing))
}

/// The items; how many of them Dawid–Skene and the majority disagree about.
fn of_items(results: &mut Results, given: &Given, fitted: &[Fitted]) -> Result<usize> {
    let names = fitted.iter().flat_map(|model| [model.name.to_owned(), format!("{}_confidence", model.name)]);
    let mut table = Table::new(["item".to_owned(), "annotations".to_owned()].into_iter().chain(names));
    let found: Vec<_> = fitted.iter().map(|model| (model.consensus.labels(), model.consensus.confidences())).collect();
    let labels_of = |name: &str| fitted.iter().position(|model| model.name == name).map(|at| &found[at].0);
    let (votes, skilled) = (labels_of("majority"), labels_of("dawid_skene"));
    let mut differing = 0;
    for (at, item) in given.items.iter().enumerate() {
        let mut row = vec![item.clone(), given.all.of_item(at).len().to_string()];
        for (labels, confidences) in &found {
            let label = labels[at].and_then(|label| given.classes.get(label as usize));
            row.extend([label.cloned().unwrap_or_default(), format!("{:.6}", confidences[at])]);
        }
        differing += usize::from(votes.map(|labels| labels[at]) != skilled.map(|labels| labels[at]));
        table.rows.push(row);
    }
    results.heading("Items");
    results.table("consensus", "What each model says of each item, and how certain it is", &table)?;
    Ok(differing)
}

/// The annotators, as a table and a figure.
fn of_annotators(results: &mut Results, given: &Given, fitted: &[Fitted]) -> Result<()> {
    let rated: Vec<(&str, &str, &[f64])> = fitted
        .iter()
        .filter_map(|model| model.reliability.as_ref().map(|(what, numbers)| (model.name, *what, numbers.as_slice())))
        .collect();
    let head = rated.iter().map(|(name, what, _)| format!("{name}_{what}"));
    let mut table = Table::new(["annotator".to_owned(), "annotations".to_owned()].into_iter().chain(head));
    for (at, annotator) in given.annotators.iter().enumerate() {
        let numbers = rated.iter().map(|(_, _, numbers)| format!("{:.4}", numbers[at]));
        let count = given.all.of_annotator(at).len().to_string();
        table.rows.push([annotator.clone(), count].into_iter().chain(numbers).collect());
    }
    results.heading("Annotators");
    let caption = "How reliable each model takes each annotator to be";
    match given.annotators.len() <= SHOWN {
        true => results.show_table("annotators", caption, &table)?,
        false => results.table("annotators", caption, &table)?,
    }
    let accuracies: Vec<(&str, &[f64])> =
        rated.iter().filter(|(_, what, _)| *what == "accuracy").map(|(name, _, numbers)| (*name, *numbers)).collect();
    let Some((_, first)) = accuracies.first() else { return Ok(()) };
    let mut order: Vec<usize> = (0..given.annotators.len()).collect();
    order.sort_by(|&a, &b| first[a].total_cmp(&first[b]));
    order.truncate(SHOWN);
    let names = order.iter().map(|&at| given.annotators[at].clone()).collect();
    let bars = accuracies
        .iter()
        .map(|(name, numbers)| Bars::new(*name, order.iter().map(|&at| numbers[at]).collect()))
        .collect();
    let plot = Plot::bars("How often annotators are taken to be right", Axis::linear("accuracy"), names, bars);
    let caption = match given.annotators.len() > SHOWN {
        true => format!("The {SHOWN} least reliable of {} annotators.", given.annotators.len()),
        false => "The least reliable first.".to_owned(),
    };
    let guessing = format!(" Guessing would be right in one of {} cases.", given.classes.len());
    results.figure("reliability", &plot, &(caption + &guessing))
}

fn report(results: &mut Results, given: &Given, fitted: &[Fitted], between: Option<&Agreement>) -> Result<()> {
    let models: Vec<_> = fitted
        .iter()
        .map(|model| {
            json!({
                "name": model.name,
                "log_likelihoods": model.progress.as_ref().map(|progress| &progress.log_likelihoods),
                "has_converged": model.progress.as_ref().map(|progress| progress.has_converged),
                "reliability": model.reliability.as_ref().map(|(what, numbers)| json!({ "is": what, "of_annotators": numbers })),
            })
        })
        .collect();
    let report = json!({
        "items": given.all.num_items(),
        "annotators": given.all.num_annotators(),
        "annotations": given.all.len(),
        "repeated": given.all.num_repeated(),
        "left_out": given.left_out,
        "classes": given.classes,
        "agreement": between.map(|between| json!({
            "observed": between.observed,
            "krippendorff": between.krippendorff.is_finite().then_some(between.krippendorff),
            "items": between.num_items,
        })),
        "models": models,
    });
    results.json("report", "counts, agreement, and what each model was fitted to", &report)
}

/// What to do with it.
fn next(given: &Given, fitted: &[Fitted], differing: usize) -> String {
    if (given.all.len() as f64) < FEW * given.annotators.len() as f64 {
        let mean = given.all.len() as f64 / given.annotators.len().max(1) as f64;
        return format!(
            "{mean:.1} annotations for each annotator are too few to tell good ones from bad: take the column majority of consensus.csv, or collect more"
        );
    }
    let accuracies =
        fitted.iter().find(|model| model.name == "dawid_skene").and_then(|model| model.reliability.as_ref());
    let guessing = 1. / given.classes.len() as f64;
    let mut suspects: Vec<&str> = Vec::new();
    if let Some((_, numbers)) = accuracies {
        suspects.extend(
            given.annotators.iter().zip(numbers).filter(|(_, p)| **p <= guessing).map(|(name, _)| name.as_str()),
        );
    }
    let items = match differing {
        0 => "majority and dawid_skene agree on every item, so take either column of consensus.csv".to_owned(),
        count => format!("look at the {count} items of consensus.csv where majority and dawid_skene differ"),
    };
    match suspects.len() {
        0 => items,
        1..=5 => format!("{items}; ask what is meant by {}, right no more often than by guessing", suspects.join(", ")),
        more => format!("{items}; {more} annotators of annotators.csv are right no more often than by guessing"),
    }
}

/// The probabilities of the items, in their order, for the classes in their order.
fn probabilities(path: &Path, item: &str, items: &[String], classes: &[String]) -> Result<Vec<f64>> {
    let table = Columns::read(path)?;
    let mut rows = BTreeMap::new();
    for (row, name) in table.texts(item)?.into_iter().enumerate() {
        if let Some(first) = rows.insert(name.clone(), row) {
            return Err(table.error(format_args!("rows {first} and {row}: item `{name}` stands there twice")));
        }
    }
    // What is missing altogether is said before what is wrong in a cell.
    for class in classes {
        table.texts(class)?;
    }
    let row =
        |item: &String| rows.get(item).copied().ok_or_else(|| table.error(format_args!("item `{item}` is missing")));
    let of_items = items.iter().map(row).collect::<Result<Vec<usize>>>()?;
    let of_rows = table.rows_of_numbers(classes)?;
    Ok(of_items.into_iter().flat_map(|row| of_rows[row].iter().copied()).collect())
}

/// The labels that occur, by number if all are numbers, else by the alphabet.
fn classes(labels: &[String]) -> Vec<String> {
    let mut classes = labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    if let Some(mut numbers) = classes.iter().map(|class| class.parse::<i64>().ok()).collect::<Option<Vec<i64>>>() {
        let is_exact = numbers.iter().zip(&classes).all(|(number, class)| number.to_string() == *class);
        if is_exact {
            numbers.sort_unstable();
            return numbers.iter().map(ToString::to_string).collect();
        }
    }
    classes
}

fn fit(all: &Annotations) -> Result<Vec<Fitted>> {
    let has_two_classes = all.num_classes() == 2;
    let mut progress = front::Progress::new("fitting", "models", if has_two_classes { 6 } else { 5 });
    let mut fitted = Vec::new();
    let mut add = |name: &'static str, consensus, reliability, convergence| {
        fitted.push(Fitted { name, consensus, reliability, progress: convergence });
        progress.step();
    };
    add("majority", majority_vote(all), None, None);
    let config = DawidSkeneConfig::default();
    for (name, fit) in [("dawid_skene", dawid_skene(all, &config)?), ("one_coin", one_coin(all, &config)?)] {
        let numbers = (0..all.num_annotators()).map(|annotator| fit.reliability(annotator)).collect();
        add(name, fit.consensus, Some(("accuracy", numbers)), Some(fit.progress));
    }
    let fit = glad(all, &GladConfig::default())?;
    add("glad", fit.consensus, Some(("ability", fit.abilities)), Some(fit.progress));
    let fit = mace(all, &MaceConfig::default())?;
    add("mace", fit.consensus, Some(("competence", fit.competences)), Some(fit.progress));
    if has_two_classes {
        let fit = kos(all, &KosConfig::default())?;
        add("kos", fit.consensus, Some(("weight", fit.weights)), None);
    }
    Ok(fitted)
}
