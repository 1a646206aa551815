//! Certifies your own ensemble from its votes: `cargo run --release -p adversarial --example certify_votes -- votes.csv --labels labels.csv --out certified`.
//!
//! The votes are a table with a row for each sub-classifier and a column for each test sample (`--samples-in-rows` if it is the other way round), as CSV or as a NumPy array (`.npy`, or `votes` in an `.npz`), of
//!
//! - class numbers from 0; or
//! - class names, which are numbered in the order of `--class-names`, else of the alphabet (ties go to the class that comes first); or
//! - probabilities: those of all classes side by side, sample after sample, so that a row has samples × classes columns; in an array also [sub-classifiers, samples, classes] of any scores. The most
//!   probable class is the vote, the first on ties.
//!
//! A header row is found out and left out, and so is the index column that pandas writes; `--header yes` or `no` where that goes wrong. What was found out, or may have been missed, is said.
//!
//! How an attacker reaches sub-classifiers is said by one of
//!
//! - `--blocks blocks.csv`: for each sub-classifier the number of its hash function, if a training sample lies in at most one sub-trainset of each (hash bagging, deep partition aggregation);
//! - `--memberships members.csv`: for each sub-trainset a row with the numbers of its training samples (any bagging);
//! - neither: all sub-trainsets are disjoint.
//!
//! Prints a table, and writes it with a figure as one page (`index.html`), as CSV, SVG and JSON: `certificates.json` has the best attacks found, the sub-classifiers that they control, and with `--memberships` the training
//! samples that they change; `samples.csv` says up to which budget each prediction is certain by itself.

#[path = "certify_votes/tables.rs"]
mod tables;

use adversarial::bagging::solve::{Automatic, BranchAndBound, Enumeration, Limits, Solver};
use adversarial::bagging::{
    Certificate, CertifyConfig, Scope, Structure, Votes, certify_curve_watched, poisoned_samples,
    tolerable_budget_within,
};
use clap::{Parser, ValueEnum};
use experiment::{Axis, Plot, Result, Series, Table};
use reproduction::front::{self, Output, Progress, Results};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tables::{Classes, Header, Reading};

/// Examples for `--help`.
const HELP: &str = "\
The votes are a table, here of 3 sub-classifiers (rows) for 4 test samples (columns), and the labels have a class for each sample:

    votes.csv     labels.csv
    0,1,1,0       0
    0,1,0,0       1
    0,1,1,1       1
                  0

Classes may be names or numbers, votes also probabilities; CSV, .npy and .npz will do. For each budget r, the number of sub-trainsets \
that an attacker reaches, an integer programme gives how many predictions no attack can change, one at a time and all together. \
Written are index.html with all of it, certificates (.csv, .json, .svg) and samples.csv.

    certify_votes votes.csv --labels labels.csv --budgets 1-3 --out certified";

/// Certify an ensemble's predictions against poisoned training data
#[derive(Debug, Parser)]
#[command(after_help = HELP, mut_arg("out", |out| out.default_value("certified")))]
struct Arguments {
    /// Votes (.csv, .npy, .npz): a row for each sub-classifier
    votes: PathBuf,
    /// The votes have a row for each test sample instead
    #[arg(long)]
    samples_in_rows: bool,
    /// Classes of the test samples, for certified accuracy
    #[arg(long)]
    labels: Option<PathBuf>,
    /// The number of each sub-classifier's hash function
    #[arg(long, conflicts_with = "memberships")]
    blocks: Option<PathBuf>,
    /// Training samples of each sub-trainset, a row each
    #[arg(long)]
    memberships: Option<PathBuf>,
    /// Whether the first row of each table is a header
    #[arg(long, value_enum, default_value_t = Header::Auto)]
    header: Header,
    /// Names of the classes in the order of their numbers, separated by commas
    #[arg(long, value_delimiter = ',')]
    class_names: Vec<String>,
    /// The votes are probabilities, even if all are 0 and 1
    #[arg(long)]
    probabilities: bool,
    /// How many classes there are [default: the largest number in votes and labels, plus 1]
    #[arg(long)]
    classes: Option<usize>,
    /// Budgets: 3, 1-10 or 1,5,20 [default: 1 to half of the sub-classifiers, at most 10]
    #[arg(long)]
    budgets: Option<String>,
    /// Seconds for each certificate; what is not closed then is a bound with a gap
    #[arg(long, default_value_t = 60., allow_hyphen_values = true)]
    seconds: f64,
    /// What solves the problem
    #[arg(long, value_enum, default_value_t = Choice::Automatic)]
    solver: Choice,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Choice {
    Automatic,
    Enumeration,
    BranchAndBound,
    #[cfg(feature = "microlp")]
    Microlp,
    #[cfg(feature = "highs")]
    Highs,
}

impl Choice {
    fn solver(self) -> Box<dyn Solver> {
        match self {
            Self::Automatic => Box::new(Automatic),
            Self::Enumeration => Box::new(Enumeration::default()),
            Self::BranchAndBound => Box::new(BranchAndBound),
            #[cfg(feature = "microlp")]
            Self::Microlp => Box::new(adversarial::bagging::solve::MicroLp),
            #[cfg(feature = "highs")]
            Self::Highs => Box::new(adversarial::bagging::solve::Highs),
        }
    }
}

fn main() -> ExitCode {
    front::main(run)
}

/// An error with the file that it is about.
fn of<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> String {
    move |error| format!("{}: {error}", path.display())
}

fn run(arguments: &Arguments) -> Result<()> {
    let time = Duration::try_from_secs_f64(arguments.seconds)
        .map_err(|error| format!("--seconds {}: {error}; expected 0 or more", arguments.seconds))?;
    let mut remarks = Vec::new();
    let Read { votes, labels, names } = read(arguments, &mut remarks)?;
    let (num_sub_classifiers, num_samples) = (votes.num_sub_classifiers(), votes.num_samples());
    let (structure, members) = structure(arguments, num_sub_classifiers, &mut remarks)?;
    let budgets = budgets(arguments.budgets.as_deref(), num_sub_classifiers, &mut remarks)?;
    let correct = match (&labels, &arguments.labels) {
        (Some(labels), Some(path)) => Some(votes.num_correct(labels).map_err(of(path))?),
        _ => None,
    };

    let mut results = Results::prepare("What an attacker of the training data can change", &arguments.output)?;
    remarks.iter().for_each(|remark| results.say(remark));
    let classes = votes.num_classes();
    results.say(&format!("{num_sub_classifiers} sub-classifiers, {num_samples} samples, {classes} classes"));
    if let Some(correct) = correct {
        results.say(&format!("{correct} predictions are right ({:.2} %)", 100. * correct as f64 / num_samples as f64));
    }
    let solver = arguments.solver.solver();
    let limits = Limits { time: Some(time), ..Limits::default() };
    let tolerable = tolerable_budget_within(&structure, 10_000_000, &limits);
    if let Some(found) = tolerable {
        results.say(&format!(
            "a budget of {} controls more than half of the sub-classifiers: nothing is certified there",
            found.upper
        ));
    }
    let count = budgets.len() * if labels.is_some() { 2 } else { 1 };
    results.say(&format!("{count} certificates follow, each within {} s (--seconds)", arguments.seconds));

    let options = CertifyConfig { solver: solver.as_ref(), limits, ..CertifyConfig::default() };
    let mut progress = Progress::new("certifying", "certificates", count);
    let mut curve = |scope: &Scope<'_>| {
        certify_curve_watched(&votes, &structure, &budgets, scope, &options, &mut |_| progress.step())
    };
    let robust = curve(&Scope::all())?;
    let right = labels.as_ref().map(|labels| curve(&Scope::correct(labels))).transpose()?;
    drop(progress);

    results.show_table("certificates", "Certified predictions for each budget r", &table(&robust, right.as_deref()))?;
    let caption = "A prediction that is kept is one that no attack of this budget changes: each by itself, or all of them against one attack.";
    results.figure("certificates", &figure(&robust, right.as_deref()), caption)?;
    let caption = "Predictions, and the largest of the budgets up to which each is certain by itself (0: none)";
    results.table("samples", caption, &samples(&votes, labels.as_deref(), names.as_deref(), &robust))?;
    let result = json!({
        "sub_classifiers": num_sub_classifiers,
        "samples": num_samples,
        "classes": classes,
        "class_names": names,
        "tolerable_budget": tolerable.map(|found| found.upper),
        "robustness": entries(&robust, members.as_deref())?,
        "accuracy": right.as_deref().map(|right| entries(right, members.as_deref())).transpose()?,
    });
    results.json("certificates", "all of it, with the best attacks found", &result)?;
    let next = next(&robust, right.as_deref(), arguments);
    results.finish(&next)
}

fn table(robust: &[Certificate], right: Option<&[Certificate]>) -> Table {
    let mut columns = vec!["r", "kept one at a time", "kept together", "gap"];
    if right.is_some() {
        columns.extend(["right together", "gap of right"]);
    }
    let mut table = Table::new(columns);
    for (at, found) in robust.iter().enumerate() {
        let mut row = vec![found.budget as u64, found.certified_samplewise, found.certified(), found.gap()];
        row.extend(right.iter().flat_map(|right| [right[at].certified(), right[at].gap()]));
        table.rows.push(row.iter().map(u64::to_string).collect());
    }
    table
}

fn samples(votes: &Votes, labels: Option<&[u16]>, names: Option<&[String]>, robust: &[Certificate]) -> Table {
    let name = |class: u16| match names.and_then(|names| names.get(usize::from(class))) {
        Some(name) => name.clone(),
        None => class.to_string(),
    };
    let mut columns = vec!["sample", "prediction"];
    columns.extend(labels.map(|_| "label"));
    columns.push("certain up to r");
    let mut table = Table::new(columns);
    for (sample, prediction) in votes.ensemble_predictions().into_iter().enumerate() {
        let is_certain = |found: &&Certificate| found.per_sample.get(sample).copied().unwrap_or(false);
        let up_to = robust.iter().take_while(is_certain).last().map_or(0, |found| found.budget);
        let mut row = vec![sample.to_string(), name(prediction)];
        row.extend(labels.map(|labels| name(labels[sample])));
        row.push(up_to.to_string());
        table.rows.push(row);
    }
    table
}

/// What to do with this result.
fn next(robust: &[Certificate], right: Option<&[Certificate]>, arguments: &Arguments) -> String {
    let all = || robust.iter().chain(right.unwrap_or_default());
    let open = all().filter(|found| !found.is_optimal()).count();
    if open > 0 {
        let more = (arguments.seconds * 10.).max(60.);
        return format!("{open} certificates have a gap: they hold, and --seconds {more} may raise them");
    }
    match right {
        None => "give the classes of the samples by --labels, and you have certified accuracy".to_owned(),
        Some(right) => match right.iter().rev().find(|found| found.certified() > 0) {
            Some(last) if last.budget == right.last().map_or(0, |last| last.budget) => {
                format!("report `right together` for your threat; at r = {} some are certain still: try larger --budgets", last.budget)
            }
            _ => "report `right together` for your threat; more and smaller sub-trainsets raise what is certain, at a price in accuracy".to_owned(),
        },
    }
}

fn figure(robust: &[Certificate], correct: Option<&[Certificate]>) -> Plot {
    let series = |name: &str, curve: &[Certificate], value: fn(&Certificate) -> u64| {
        let x = curve.iter().map(|certificate| certificate.budget as f64).collect();
        Series::new(name, x, curve.iter().map(|certificate| value(certificate) as f64).collect())
    };
    let mut all = vec![
        series("kept, together", robust, Certificate::certified),
        series("kept, one at a time", robust, |certificate| certificate.certified_samplewise),
    ];
    if let Some(correct) = correct {
        all.push(series("right, together", correct, Certificate::certified));
    }
    let (x, y) = (Axis::linear("budget r"), Axis::linear("certified predictions"));
    Plot::lines("Certified predictions", x, y, all)
}

/// Certificates as JSON; where sub-trainsets are given, with the training samples that each attack changes.
fn entries(curve: &[Certificate], members: Option<&[Vec<u32>]>) -> Result<serde_json::Value> {
    let mut entries = Vec::with_capacity(curve.len());
    for certificate in curve {
        let mut entry = serde_json::to_value(certificate)?;
        if let (Some(members), Some(entry)) = (members, entry.as_object_mut()) {
            let samples = poisoned_samples(members, &certificate.attack, certificate.budget)?;
            entry.insert("training_samples".to_owned(), serde_json::to_value(samples)?);
        }
        entries.push(entry);
    }
    Ok(entries.into())
}

/// Votes and labels as numbers, and the classes' names if they have some.
struct Read {
    votes: Votes,
    labels: Option<Vec<u16>>,
    names: Option<Vec<String>>,
}

fn read(arguments: &Arguments, remarks: &mut Vec<String>) -> Result<Read> {
    let given = Some(arguments.class_names.clone()).filter(|names| !names.is_empty());
    if let Some(names) = &given {
        let mut sorted = names.clone();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("--class-names: {:?} comes twice", tables::shortened(&pair[0])).into());
        }
        if arguments.classes.is_some_and(|classes| classes != names.len()) {
            return Err(format!("--class-names: {} names, but --classes says otherwise", names.len()).into());
        }
    }
    let (header, has_probabilities) = (arguments.header, arguments.probabilities);
    let num_classes = arguments.classes.or(given.as_ref().map(Vec::len));
    let how = Reading { header, has_probabilities, num_classes, name: "votes", ..Reading::default() };
    let votes = classes(&arguments.votes, &how, remarks)?;
    let known: Vec<String> = match (&given, &votes) {
        (Some(names), _) => names.clone(),
        (None, Classes::Names(rows)) => sorted(rows.iter().flatten()),
        (None, Classes::Numbers(_)) => Vec::new(),
    };
    let (rows, width) = votes.size();
    let num_samples = if arguments.samples_in_rows { rows } else { width };
    let labels = match &arguments.labels {
        None => None,
        Some(path) => {
            let num_rows = Some(num_samples);
            let how = Reading { header, known: Some(&known), num_rows, name: "labels", ..Reading::default() };
            Some((path, classes(path, &how, remarks)?))
        }
    };
    let has_names = matches!(votes, Classes::Names(_)) || matches!(labels, Some((_, Classes::Names(_))));
    let names = match given {
        Some(names) => Some(names),
        None if has_names => {
            if let Some((path, labels)) = &labels
                && matches!(votes, Classes::Names(_)) != matches!(labels, Classes::Names(_))
            {
                let (votes, labels) = (arguments.votes.display(), path.display());
                let files = format!("{votes} and {labels} have numbers in one file and names in the other");
                return Err(format!("{files}: --class-names a,b,c says which is which").into());
            }
            let of = |classes: &Classes| match classes {
                Classes::Names(rows) => rows.concat(),
                Classes::Numbers(_) => Vec::new(),
            };
            let all = [of(&votes), labels.as_ref().map(|(_, labels)| of(labels)).unwrap_or_default()].concat();
            let names = sorted(all.iter());
            let shown: Vec<String> = names.iter().take(20).map(|name| tables::shortened(name)).collect();
            let more = if names.len() > 20 { ", …" } else { "" };
            remarks.push(format!("classes in the order of the alphabet: {}{more}", shown.join(", ")));
            Some(names)
        }
        None => None,
    };
    let numbers = |path: &Path, classes: Classes| -> Result<Vec<Vec<u16>>> {
        match classes {
            Classes::Numbers(rows) => Ok(rows),
            Classes::Names(rows) => {
                Ok(tables::numbered(&rows, names.as_deref().unwrap_or_default()).map_err(of(path))?)
            }
        }
    };
    let labels = match labels {
        None => None,
        Some((path, labels)) => Some((path, list(path, numbers(path, labels)?)?)),
    };
    let mut rows = numbers(&arguments.votes, votes)?;
    if arguments.samples_in_rows {
        rows = transpose(&arguments.votes, &rows)?;
    }
    let in_labels = labels.iter().flat_map(|(_, labels)| labels);
    let largest = rows.iter().flatten().chain(in_labels).max().copied().unwrap_or_default();
    let count = arguments.classes.or(names.as_ref().map(Vec::len)).unwrap_or(usize::from(largest) + 1);
    let votes = Votes::from_rows(count, &rows).map_err(of(&arguments.votes))?;
    if let Some((path, labels)) = labels.as_ref().filter(|(_, labels)| labels.len() != votes.num_samples()) {
        let hint = match labels.len() {
            count if count == votes.num_sub_classifiers() => {
                "; does the file of votes have a row for each sample (--samples-in-rows)?"
            }
            count if count == votes.num_samples() + 1 => "; is the first row a header (--header yes)?",
            _ => "",
        };
        let counts = format!("{} labels for {} samples", labels.len(), votes.num_samples());
        return Err(format!("{}: {counts}{hint}", path.display()).into());
    }
    Ok(Read { votes, labels: labels.map(|(_, labels)| labels), names })
}

/// Classes from a file; what was found out about it goes to the remarks.
fn classes(path: &Path, how: &Reading<'_>, remarks: &mut Vec<String>) -> Result<Classes> {
    let (found, about) = tables::classes(path, how)?;
    remarks.extend(about.into_iter().map(of(path)));
    Ok(found)
}

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    names.cloned().collect::<std::collections::BTreeSet<String>>().into_iter().collect()
}

/// Numbers in one row or one column.
fn list(path: &Path, rows: Vec<Vec<u16>>) -> Result<Vec<u16>> {
    match rows.len() == 1 || rows.iter().all(|row| row.len() == 1) {
        true => Ok(rows.concat()),
        false => Err(format!("{}: a table, expected one row or one column", path.display()).into()),
    }
}

fn transpose(path: &Path, rows: &[Vec<u16>]) -> Result<Vec<Vec<u16>>> {
    let width = rows.first().map_or(0, Vec::len);
    if let Some(at) = rows.iter().position(|row| row.len() != width) {
        return Err(format!("{}: row {} has {} votes, expected {width}", path.display(), at + 1, rows[at].len()).into());
    }
    Ok((0..width).map(|column| rows.iter().map(|row| row[column]).collect()).collect())
}

/// The structure, and the sub-trainsets if they are given.
fn structure(
    arguments: &Arguments,
    num_sub_classifiers: usize,
    remarks: &mut Vec<String>,
) -> Result<(Structure, Option<Vec<Vec<u32>>>)> {
    let how = Reading { header: arguments.header, num_rows: Some(num_sub_classifiers), ..Reading::default() };
    if let Some(path) = &arguments.memberships {
        let how = Reading { has_any_width: true, name: "memberships", ..how };
        let (sub_trainsets, about) = tables::members(path, &how)?;
        remarks.extend(about.into_iter().map(of(path)));
        if sub_trainsets.len() != num_sub_classifiers {
            let counts = format!("{} sub-trainsets for {num_sub_classifiers} sub-classifiers", sub_trainsets.len());
            return Err(format!("{}: {counts}", path.display()).into());
        }
        let structure = Structure::general(&sub_trainsets).map_err(of(path))?;
        return Ok((structure, Some(sub_trainsets)));
    }
    let Some(path) = &arguments.blocks else {
        return Ok((Structure::hash_buckets(num_sub_classifiers, num_sub_classifiers)?, None));
    };
    let Classes::Numbers(blocks) = classes(path, &Reading { name: "blocks", ..how }, remarks)? else {
        return Err(format!("{}: names, expected numbers of hash functions", path.display()).into());
    };
    let blocks = list(path, blocks)?;
    if blocks.len() != num_sub_classifiers {
        let counts = format!("{} numbers for {num_sub_classifiers} sub-classifiers", blocks.len());
        return Err(format!("{}: {counts}", path.display()).into());
    }
    let mut names = blocks.clone();
    names.sort_unstable();
    names.dedup();
    let members = |name: &u16| (0..blocks.len()).filter(|&g| blocks[g] == *name).collect();
    let blocks: Vec<Vec<usize>> = names.iter().map(members).collect();
    Ok((Structure::hash(num_sub_classifiers, &blocks).map_err(of(path))?, None))
}

fn budgets(text: Option<&str>, num_sub_classifiers: usize, remarks: &mut Vec<String>) -> Result<Vec<usize>> {
    let Some(text) = text else { return Ok((1..=num_sub_classifiers.div_ceil(2).min(10)).collect()) };
    let wrong = || format!("--budgets {text}: expected a number, a range such as 1-10, or a list such as 1,5,20");
    let one = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong());
    let mut budgets = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => budgets.extend(one(first)?..=one(last)?.min(num_sub_classifiers + 1)),
            None => budgets.push(one(part)?),
        }
    }
    budgets.sort_unstable();
    budgets.dedup();
    if budgets.is_empty() {
        return Err(wrong().into());
    }
    let asked = budgets.len();
    budgets.retain(|&budget| budget <= num_sub_classifiers);
    if budgets.is_empty() {
        return Err(format!("--budgets {text}: above the {num_sub_classifiers} sub-classifiers").into());
    }
    if budgets.len() < asked {
        remarks.push(format!("budgets above the {num_sub_classifiers} sub-classifiers are left out"));
    }
    Ok(budgets)
}
