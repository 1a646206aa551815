//! Certifies your own ensemble from its votes: `cargo run --release -p adversarial --example certify_votes -- votes.csv --labels labels.csv --out certified`.
//!
//! The votes are class numbers from 0, one row for each sub-classifier and one column for each test sample, as CSV without a header or as a NumPy array `[sub-classifiers, samples]` (`.npy`) of any integer type.
//! How an attacker reaches sub-classifiers is said by one of
//!
//! - `--blocks blocks.csv`: for each sub-classifier the number of its hash function, if a training sample lies in at most one sub-trainset of each (hash bagging, deep partition aggregation);
//! - `--memberships members.csv`: for each sub-trainset a row with the numbers of its training samples (any bagging);
//! - neither: all sub-trainsets are disjoint.
//!
//! Prints a table and writes `certificates.json` (with the best attacks found) and `certificates.svg`.

use adversarial::bagging::solve::{Automatic, BranchAndBound, Enumeration, Limits, Solver};
use adversarial::bagging::{Certificate, CertifyConfig, Scope, Structure, Votes, certify_curve, tolerable_budget};
use clap::{Parser, ValueEnum};
use datasets::npy;
use experiment::{Axis, Plot, Series};
use serde_json::json;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

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
    /// How many classes there are [default: the largest number in votes and labels, plus 1]
    #[arg(long)]
    classes: Option<usize>,
    /// Budgets: 3, 1-10 or 1,5,20 [default: 1 to half of the sub-classifiers, at most 10]
    #[arg(long)]
    budgets: Option<String>,
    /// Seconds for each certificate; what is not closed then is a bound with a gap
    #[arg(long, default_value_t = 60.)]
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
    let mut rows = matrix(&arguments.votes)?;
    if arguments.samples_in_rows {
        rows = transpose(&arguments.votes, &rows)?;
    }
    let labels = arguments.labels.as_deref().map(list).transpose()?;
    let largest = rows.iter().flatten().chain(labels.iter().flatten()).max().copied().unwrap_or_default();
    let classes = arguments.classes.unwrap_or(usize::from(largest) + 1);
    let votes = Votes::from_rows(classes, &rows).map_err(|error| format!("{}: {error}", arguments.votes.display()))?;
    if let Some(labels) = labels.as_ref().filter(|labels| labels.len() != votes.num_samples()) {
        let hint = if labels.len() == votes.num_sub_classifiers() {
            "; does the file of votes have a row for each sample (--samples-in-rows)?"
        } else {
            ""
        };
        return Err(format!("{} labels for {} samples{hint}", labels.len(), votes.num_samples()).into());
    }
    let structure = structure(arguments, votes.num_sub_classifiers())?;
    let budgets = budgets(arguments.budgets.as_deref(), votes.num_sub_classifiers())?;
    if !(arguments.seconds.is_finite() && arguments.seconds >= 0.) {
        return Err(format!("--seconds {}: expected 0 or more", arguments.seconds).into());
    }
    let time = Some(Duration::from_secs_f64(arguments.seconds));
    let solver = arguments.solver.solver();
    let limits = Limits { time, ..Limits::default() };
    let options = CertifyConfig { solver: solver.as_ref(), limits, ..CertifyConfig::default() };
    println!("{} sub-classifiers, {} samples, {classes} classes", votes.num_sub_classifiers(), votes.num_samples());
    if let Some(labels) = &labels {
        let correct = votes.num_correct(labels)?;
        println!("{correct} predictions are right ({:.2} %)", 100. * correct as f64 / votes.num_samples() as f64);
    }
    let tolerable = tolerable_budget(&structure, 10_000_000);
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
        "tolerable_budget": tolerable.map(|found| found.upper),
        "robustness": robust,
        "accuracy": correct,
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

/// Class or block numbers in rows, which may be of unequal lengths.
fn matrix(path: &Path) -> Result<Vec<Vec<u16>>> {
    let number = |value: i64, place: String| {
        u16::try_from(value).map_err(|_| format!("{}: {place} is {value}, expected 0 to 65535", path.display()))
    };
    if path.extension().is_some_and(|extension| extension == "npy") {
        let array = npy::read(path)?;
        let values = array.values.to_i64();
        let values =
            values.ok_or_else(|| format!("{}: {}, expected integers", path.display(), array.values.type_name()))?;
        let width = match array.shape.as_slice() {
            [_] => 1,
            [_, width] => *width,
            shape => return Err(format!("{}: shape {shape:?}, expected one or two axes", path.display()).into()),
        };
        let row = |(at, row): (usize, &[i64])| {
            row.iter().enumerate().map(|(column, &value)| Ok(number(value, format!("[{at}, {column}]"))?)).collect()
        };
        return match width {
            0 => Err(format!("{}: empty rows", path.display()).into()),
            width => values.chunks_exact(width).enumerate().map(row).collect(),
        };
    }
    cells(path)?
        .into_iter()
        .map(|(line, cells)| {
            let cell = |(column, cell): (usize, String)| -> Result<u16> {
                let place = format!("line {line}, column {}", column + 1);
                let value: i64 = cell
                    .parse()
                    .map_err(|_| format!("{}: {place} is {cell:?}, expected a whole number", path.display()))?;
                Ok(number(value, place)?)
            };
            cells.into_iter().enumerate().map(cell).collect()
        })
        .collect()
}

/// The cells of a CSV file without a header, with the number of each line.
fn cells(path: &Path) -> Result<Vec<(u64, Vec<String>)>> {
    let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_path(path);
    let mut reader = reader.map_err(|error| format!("{}: {error}", path.display()))?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| format!("{}: {error}", path.display()))?;
        let line = record.position().map_or(0, csv::Position::line);
        rows.push((line, record.iter().map(str::to_owned).collect()));
    }
    if rows.is_empty() {
        return Err(format!("{} is empty", path.display()).into());
    }
    Ok(rows)
}

/// Numbers in one row or one column.
fn list(path: &Path) -> Result<Vec<u16>> {
    let rows = matrix(path)?;
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

fn structure(arguments: &Arguments, num_sub_classifiers: usize) -> Result<Structure> {
    if let Some(path) = &arguments.memberships {
        let members = |(line, cells): (u64, Vec<String>)| -> Result<Vec<u32>> {
            let number = |cell: String| {
                cell.parse().map_err(|_| {
                    format!("{}: line {line}: {cell:?}, expected a number of a training sample", path.display()).into()
                })
            };
            cells.into_iter().filter(|cell| !cell.is_empty()).map(number).collect()
        };
        let sub_trainsets: Vec<Vec<u32>> = cells(path)?.into_iter().map(members).collect::<Result<_>>()?;
        return Ok(Structure::general(&sub_trainsets)?);
    }
    let Some(path) = &arguments.blocks else {
        return Ok(Structure::hash_buckets(num_sub_classifiers, num_sub_classifiers)?);
    };
    let blocks = list(path)?;
    if blocks.len() != num_sub_classifiers {
        let counts = format!("{} numbers for {num_sub_classifiers} sub-classifiers", blocks.len());
        return Err(format!("{}: {counts}", path.display()).into());
    }
    let mut names = blocks.clone();
    names.sort_unstable();
    names.dedup();
    let of = |name: &u16| (0..blocks.len()).filter(|&g| blocks[g] == *name).collect();
    let blocks: Vec<Vec<usize>> = names.iter().map(of).collect();
    Structure::hash(num_sub_classifiers, &blocks).map_err(|error| format!("{}: {error}", path.display()).into())
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
