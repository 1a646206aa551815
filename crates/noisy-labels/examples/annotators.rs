//! Finds out what your annotators agree on: `cargo run --release -p noisy-labels --example annotators -- annotations.csv --out consensus`.
//!
//! The table has a header and a row for each annotation: the columns `item`, `annotator` and `label` (others with `--item`, `--annotator`, `--label`), each any text. Classes are the labels that occur, in the order of their
//! numbers if all are numbers, else of the alphabet; ties go to the first. With `--probabilities`, a table with the column of the items and a column for each class, a classifier is weighed in (CROWDLAB).
//!
//! Every model that the number of classes permits is fitted. Prints the annotators and writes `consensus.csv` (for each item what each model says, and how certain it is), `annotators.csv` (how reliable each model takes each
//! annotator to be) and `report.json`.

use clap::Parser;
use datasets::table::{TableConfig, parse_text};
use noisy_labels::Probabilities;
use noisy_labels::annotators::{
    Annotations, Consensus, DawidSkeneConfig, GladConfig, KosConfig, MaceConfig, Progress, agreement, crowdlab,
    dawid_skene, glad, kos, mace, majority_vote, one_coin,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Find out what annotators agree on
#[derive(Debug, Parser)]
struct Arguments {
    /// A table with a row for each annotation
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
    /// Folder for the results
    #[arg(long, default_value = "consensus")]
    out: PathBuf,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a model says of items and annotators.
struct Fitted {
    name: &'static str,
    consensus: Consensus,
    /// What it calls the reliability of an annotator, and the numbers.
    reliability: Option<(&'static str, Vec<f64>)>,
    progress: Option<Progress>,
}

fn run(arguments: &Arguments) -> Result<()> {
    let shown = arguments.annotations.display();
    let bytes = std::fs::read(&arguments.annotations).map_err(|error| format!("{shown}: {error}"))?;
    let table = parse_text(&bytes, &TableConfig::default()).map_err(|error| format!("{shown}: {error}"))?;
    let column = |name: &str| -> Result<Vec<String>> {
        let known = table.columns.join(", ");
        let cells = table.column(name).ok_or_else(|| format!("{shown}: no column `{name}`, there are: {known}"))?;
        Ok(cells.map(str::to_owned).collect())
    };
    let (items, annotators, labels) =
        (column(&arguments.item)?, column(&arguments.annotator)?, column(&arguments.label)?);
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
            let (first, row) = (first + 2, row + 2);
            return Err(format!("{shown}, lines {first} and {row}: annotator `{annotator}` gave item `{item}` the labels `{before}` and `{label}`; keep one of them").into());
        }
    }
    if left_out > 0 {
        println!("{left_out} rows without an item, an annotator or a label were left out");
    }
    let classes = classes(&labels);
    let number = |label: &String| classes.iter().position(|class| class == label).unwrap_or(0) as u32;
    let given = items
        .into_iter()
        .zip(annotators)
        .zip(&labels)
        .map(|((item, annotator), label)| (item, annotator, number(label)));
    let named = Annotations::named(classes.len(), given).map_err(|error| format!("{shown}: {error}"))?;
    let all = &named.annotations;
    let mut fitted = fit(all)?;
    if let Some(path) = &arguments.probabilities {
        let rows = probabilities(path, &arguments.item, &named.items, &classes)?;
        let shown = path.display();
        let p = Probabilities::new(&rows, classes.len()).map_err(|error| format!("{shown}: {error}"))?;
        let fit = crowdlab(all, p)?;
        println!("weight of the classifier: {:.3}", fit.classifier_weight);
        let reliability = Some(("weight", fit.annotator_weights));
        fitted.push(Fitted { name: "crowdlab", consensus: fit.consensus, reliability, progress: None });
    }
    std::fs::create_dir_all(&arguments.out).map_err(|error| format!("{}: {error}", arguments.out.display()))?;

    let mut of_items = csv::Writer::from_path(arguments.out.join("consensus.csv"))?;
    let names = fitted.iter().flat_map(|model| [model.name.to_owned(), format!("{}_confidence", model.name)]);
    of_items.write_record(["item".to_owned(), "annotations".to_owned()].into_iter().chain(names))?;
    let found: Vec<_> = fitted.iter().map(|model| (model.consensus.labels(), model.consensus.confidences())).collect();
    for (at, item) in named.items.iter().enumerate() {
        let mut row = vec![item.clone(), all.of_item(at).len().to_string()];
        for (labels, confidences) in &found {
            let label = labels[at].and_then(|label| classes.get(label as usize));
            row.extend([label.cloned().unwrap_or_default(), format!("{:.6}", confidences[at])]);
        }
        of_items.write_record(row)?;
    }
    of_items.flush()?;

    let mut of_annotators = csv::Writer::from_path(arguments.out.join("annotators.csv"))?;
    let rated: Vec<(&str, &str, &[f64])> = fitted
        .iter()
        .filter_map(|model| model.reliability.as_ref().map(|(what, numbers)| (model.name, *what, numbers.as_slice())))
        .collect();
    let head = rated.iter().map(|(name, what, _)| format!("{name}_{what}"));
    of_annotators.write_record(["annotator".to_owned(), "annotations".to_owned()].into_iter().chain(head))?;
    println!(
        "{} items, {} annotators, {} annotations, {} classes",
        all.num_items(),
        all.num_annotators(),
        all.len(),
        classes.len()
    );
    let width = named.annotators.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("annotator".len());
    let heads: Vec<String> = rated.iter().map(|(name, what, _)| format!("{name} {what}")).collect();
    println!("\n{:<width$}  annotations  {}", "annotator", heads.join("  "));
    for (at, annotator) in named.annotators.iter().enumerate() {
        let count = all.of_annotator(at).len();
        let numbers: Vec<String> = rated.iter().map(|(_, _, numbers)| format!("{:.6}", numbers[at])).collect();
        of_annotators.write_record([annotator.clone(), count.to_string()].into_iter().chain(numbers))?;
        let numbers: Vec<String> = rated
            .iter()
            .zip(&heads)
            .map(|((_, _, numbers), head)| format!("{:>1$.3}", numbers[at], head.len()))
            .collect();
        println!("{annotator:<width$}  {count:>11}  {}", numbers.join("  "));
    }
    of_annotators.flush()?;

    let between = agreement(all).ok();
    if let Some(between) = &between {
        println!(
            "\nof two annotations of an item {:.1} % agree; Krippendorff's alpha {:.3}",
            100. * between.observed,
            between.krippendorff
        );
    }
    if all.num_repeated() > 0 {
        println!("{} annotations were given more than once and count once", all.num_repeated());
    }
    let models: Vec<_> = fitted
        .iter()
        .map(|model| {
            json!({
                "name": model.name,
                "log_likelihoods": model.progress.as_ref().map(|progress| &progress.log_likelihoods),
                "has_converged": model.progress.as_ref().map(|progress| progress.has_converged),
            })
        })
        .collect();
    let report = json!({
        "items": all.num_items(),
        "annotators": all.num_annotators(),
        "annotations": all.len(),
        "repeated": all.num_repeated(),
        "left_out": left_out,
        "classes": classes,
        "agreement": between.as_ref().map(|between| json!({
            "observed": between.observed,
            "krippendorff": between.krippendorff.is_finite().then_some(between.krippendorff),
            "items": between.num_items,
        })),
        "models": models,
    });
    std::fs::write(arguments.out.join("report.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    println!("\nwritten: consensus.csv, annotators.csv and report.json in {}", arguments.out.display());
    Ok(())
}

/// The probabilities of the items, in their order, for the classes in their order.
fn probabilities(path: &Path, item: &str, items: &[String], classes: &[String]) -> Result<Vec<f64>> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
    let table = parse_text(&bytes, &TableConfig::default()).map_err(|error| format!("{shown}: {error}"))?;
    let column = |name: &str| -> Result<Vec<String>> {
        let cells = table.column(name).ok_or_else(|| format!("{shown}: no column `{name}`"))?;
        Ok(cells.map(str::to_owned).collect())
    };
    let mut rows = BTreeMap::new();
    for (row, name) in column(item)?.into_iter().enumerate() {
        if rows.insert(name.clone(), row).is_some() {
            return Err(format!("{shown}: item `{name}` stands there twice").into());
        }
    }
    let columns = classes.iter().map(|class| column(class)).collect::<Result<Vec<_>>>()?;
    let mut values = Vec::new();
    for item in items {
        let row = *rows.get(item).ok_or_else(|| format!("{shown}: item `{item}` is missing"))?;
        for (class, cells) in classes.iter().zip(&columns) {
            let cell = cells[row].trim();
            let number: f64 = cell
                .parse()
                .map_err(|_| format!("{shown}: `{cell}` of item `{item}`, class `{class}`, is no number"))?;
            values.push(number);
        }
    }
    Ok(values)
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
    let mut fitted =
        vec![Fitted { name: "majority", consensus: majority_vote(all), reliability: None, progress: None }];
    let config = DawidSkeneConfig::default();
    for (name, fit) in [("dawid_skene", dawid_skene(all, &config)?), ("one_coin", one_coin(all, &config)?)] {
        let numbers = (0..all.num_annotators()).map(|annotator| fit.reliability(annotator)).collect();
        let reliability = Some(("accuracy", numbers));
        fitted.push(Fitted { name, consensus: fit.consensus, reliability, progress: Some(fit.progress) });
    }
    let fit = glad(all, &GladConfig::default())?;
    let reliability = Some(("ability", fit.abilities));
    fitted.push(Fitted { name: "glad", consensus: fit.consensus, reliability, progress: Some(fit.progress) });
    let fit = mace(all, &MaceConfig::default())?;
    let reliability = Some(("competence", fit.competences));
    fitted.push(Fitted { name: "mace", consensus: fit.consensus, reliability, progress: Some(fit.progress) });
    if all.num_classes() == 2 {
        let fit = kos(all, &KosConfig::default())?;
        let reliability = Some(("weight", fit.weights));
        fitted.push(Fitted { name: "kos", consensus: fit.consensus, reliability, progress: None });
    }
    Ok(fitted)
}
