//! Certifies your own ensemble from its votes: `cargo run --release -p adversarial --example certify_votes -- votes.csv --labels labels.csv --out certified`.
//!
//! The votes are a table with a row for each sub-classifier and a column for each test sample (`--samples-in-rows` if it is the other way round), as CSV or as a NumPy array (`.npy`), of
//!
//! - class numbers from 0; or
//! - class names, which are numbered in the order of `--class-names`, else of the alphabet (ties go to the class that comes first); or
//! - probabilities: those of all classes side by side, sample after sample, so that a row has samples × classes columns; in an array also [sub-classifiers, samples, classes] of any scores. The most
//!   probable class is the vote, the first on ties.
//!
//! A header row is found out and left out, and so is the index column that pandas writes; `--header yes` or `no` where that goes wrong.
//!
//! How an attacker reaches sub-classifiers is said by one of
//!
//! - `--blocks blocks.csv`: for each sub-classifier the number of its hash function, if a training sample lies in at most one sub-trainset of each (hash bagging, deep partition aggregation);
//! - `--memberships members.csv`: for each sub-trainset a row with the numbers of its training samples (any bagging);
//! - neither: all sub-trainsets are disjoint.
//!
//! Prints a table and writes `certificates.json` (with the best attacks found: the sub-classifiers that they control, and with `--memberships` the training samples that they change) and
//! `certificates.svg`.

#[path = "certify_votes/tables.rs"]
mod tables;

use adversarial::bagging::solve::{Automatic, BranchAndBound, Enumeration, Limits, Solver};
use adversarial::bagging::{
    Certificate, CertifyConfig, Scope, Structure, Votes, certify_curve, poisoned_samples, tolerable_budget_within,
};
use clap::{Parser, ValueEnum};
use experiment::{Axis, Plot, Series};
use serde_json::json;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tables::{Classes, Header, Reading};

/// Certify an ensemble's predictions against poisoned training data
#[derive(Debug, Parser)]
struct Arguments {
    /// Votes, .csv or .npy: a row for each sub-classifier
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
    /// Folder for the results
    #[arg(long, default_value = "certified")]
    out: PathBuf,
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

fn run(arguments: &Arguments) -> Result<()> {
    let time = Duration::try_from_secs_f64(arguments.seconds)
        .map_err(|error| format!("--seconds {}: {error}; expected 0 or more", arguments.seconds))?;
    let Read { mut rows, labels, names } = read(arguments)?;
    if arguments.samples_in_rows {
        rows = transpose(&arguments.votes, &rows)?;
    }
    let largest = rows.iter().flatten().chain(labels.iter().flatten()).max().copied().unwrap_or_default();
    let named = names.as_ref().map(Vec::len);
    let classes = arguments.classes.or(named).unwrap_or(usize::from(largest) + 1);
    let votes = Votes::from_rows(classes, &rows).map_err(|error| format!("{}: {error}", arguments.votes.display()))?;
    if let Some(labels) = labels.as_ref().filter(|labels| labels.len() != votes.num_samples()) {
        let hint = if labels.len() == votes.num_sub_classifiers() {
            "; does the file of votes have a row for each sample (--samples-in-rows)?"
        } else {
            ""
        };
        return Err(format!("{} labels for {} samples{hint}", labels.len(), votes.num_samples()).into());
    }
    let (structure, members) = structure(arguments, votes.num_sub_classifiers())?;
    let budgets = budgets(arguments.budgets.as_deref(), votes.num_sub_classifiers())?;
    let solver = arguments.solver.solver();
    let limits = Limits { time: Some(time), ..Limits::default() };
    let options = CertifyConfig { solver: solver.as_ref(), limits, ..CertifyConfig::default() };
    println!("{} sub-classifiers, {} samples, {classes} classes", votes.num_sub_classifiers(), votes.num_samples());
    if let Some(labels) = &labels {
        let correct = votes.num_correct(labels)?;
        println!("{correct} predictions are right ({:.2} %)", 100. * correct as f64 / votes.num_samples() as f64);
    }
    let tolerable = tolerable_budget_within(&structure, 10_000_000, &limits);
    if let Some(found) = tolerable {
        println!(
            "a budget of {} controls more than half of the sub-classifiers: nothing is certified there",
            found.upper
        );
    }
    let robust = certify_curve(&votes, &structure, &budgets, &Scope::all(), &options)?;
    let correct = match &labels {
        Some(labels) => Some(certify_curve(&votes, &structure, &budgets, &Scope::correct(labels), &options)?),
        None => None,
    };
    let more = if correct.is_some() { "   right, together   gap" } else { "" };
    println!("\n    r   kept, one at a time   kept, together   gap{more}");
    for (at, certificate) in robust.iter().enumerate() {
        let right = correct
            .as_ref()
            .map_or(String::new(), |correct| format!("{:>18}{:>6}", correct[at].certified(), correct[at].gap()));
        println!(
            "{:>5}{:>22}{:>17}{:>6}{right}",
            certificate.budget,
            certificate.certified_samplewise,
            certificate.certified(),
            certificate.gap()
        );
    }
    std::fs::create_dir_all(&arguments.out)?;
    let result = json!({
        "sub_classifiers": votes.num_sub_classifiers(),
        "samples": votes.num_samples(),
        "classes": classes,
        "class_names": names,
        "tolerable_budget": tolerable.map(|found| found.upper),
        "robustness": entries(&robust, members.as_deref())?,
        "accuracy": correct.as_deref().map(|correct| entries(correct, members.as_deref())).transpose()?,
    });
    std::fs::write(arguments.out.join("certificates.json"), serde_json::to_string_pretty(&result)?)?;
    let figure = figure(&robust, correct.as_deref()).svg_file("certificates", "")?;
    std::fs::write(arguments.out.join("certificates.svg"), figure)?;
    println!("\nwritten to {}", arguments.out.display());
    Ok(())
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
    rows: Vec<Vec<u16>>,
    labels: Option<Vec<u16>>,
    names: Option<Vec<String>>,
}

fn read(arguments: &Arguments) -> Result<Read> {
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
    let votes = Reading { header, has_probabilities, num_classes, known: None };
    let votes = said(&arguments.votes, tables::classes(&arguments.votes, &votes)?);
    let known: Vec<String> = match (&given, &votes) {
        (Some(names), _) => names.clone(),
        (None, Classes::Names(rows)) => sorted(rows.iter().flatten()),
        (None, Classes::Numbers(_)) => Vec::new(),
    };
    let labels = match &arguments.labels {
        None => None,
        Some(path) => {
            let how = Reading { header, known: Some(&known), ..Reading::default() };
            Some((path, said(path, tables::classes(path, &how)?)))
        }
    };
    let has_names = matches!(votes, Classes::Names(_)) || matches!(labels, Some((_, Classes::Names(_))));
    let names = match given {
        Some(names) => Some(names),
        None if has_names => {
            let (Classes::Names(_), None | Some((_, Classes::Names(_)))) = (&votes, &labels) else {
                return Err("votes and labels are numbers in one file and names in the other: --class-names a,b,c says which is which".into());
            };
            let of = |classes: &Classes| match classes {
                Classes::Names(rows) => rows.concat(),
                Classes::Numbers(_) => Vec::new(),
            };
            let all = [of(&votes), labels.as_ref().map(|(_, labels)| of(labels)).unwrap_or_default()].concat();
            let names = sorted(all.iter());
            let shown: Vec<String> = names.iter().take(20).map(|name| tables::shortened(name)).collect();
            let more = if names.len() > 20 { ", …" } else { "" };
            println!("classes in the order of the alphabet: {}{more}", shown.join(", "));
            Some(names)
        }
        None => None,
    };
    let numbers = |path: &Path, classes: Classes| -> Result<Vec<Vec<u16>>> {
        match classes {
            Classes::Numbers(rows) => Ok(rows),
            Classes::Names(rows) => tables::numbered(&rows, names.as_deref().unwrap_or_default())
                .map_err(|error| format!("{}: {error}", path.display()).into()),
        }
    };
    let labels = match labels {
        None => None,
        Some((path, labels)) => Some(list(path, numbers(path, labels)?)?),
    };
    Ok(Read { rows: numbers(&arguments.votes, votes)?, labels, names })
}

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    names.cloned().collect::<std::collections::BTreeSet<String>>().into_iter().collect()
}

/// Prints what was found out about a table.
fn said(path: &Path, (classes, remarks): (Classes, Vec<String>)) -> Classes {
    remarks.iter().for_each(|remark| println!("{}: {remark}", path.display()));
    classes
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
fn structure(arguments: &Arguments, num_sub_classifiers: usize) -> Result<(Structure, Option<Vec<Vec<u32>>>)> {
    if let Some(path) = &arguments.memberships {
        let how = Reading { header: arguments.header, ..Reading::default() };
        let (rows, _) = tables::without_header(tables::cells(path)?, &how);
        let members = |(line, cells): (u64, Vec<String>)| -> Result<Vec<u32>> {
            let number = |cell: String| {
                cell.parse().map_err(|_| {
                    format!("{}: line {line}: {cell:?}, expected a number of a training sample", path.display()).into()
                })
            };
            cells.into_iter().filter(|cell| !cell.is_empty()).map(number).collect()
        };
        let sub_trainsets: Vec<Vec<u32>> = rows.into_iter().map(members).collect::<Result<_>>()?;
        let structure = Structure::general(&sub_trainsets)?;
        return Ok((structure, Some(sub_trainsets)));
    }
    let Some(path) = &arguments.blocks else {
        return Ok((Structure::hash_buckets(num_sub_classifiers, num_sub_classifiers)?, None));
    };
    let how = Reading { header: arguments.header, ..Reading::default() };
    let Classes::Numbers(blocks) = said(path, tables::classes(path, &how)?) else {
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
    let of = |name: &u16| (0..blocks.len()).filter(|&g| blocks[g] == *name).collect();
    let blocks: Vec<Vec<usize>> = names.iter().map(of).collect();
    let structure = Structure::hash(num_sub_classifiers, &blocks);
    Ok((structure.map_err(|error| format!("{}: {error}", path.display()))?, None))
}

fn budgets(text: Option<&str>, num_sub_classifiers: usize) -> Result<Vec<usize>> {
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
        println!("budgets above the {num_sub_classifiers} sub-classifiers are left out");
    }
    Ok(budgets)
}
