//! Of which class is an attacked signal, by which kind of attack, and what was it before? `cargo run --release -p adversarial --example reverse_engineer -- --signals train.npy --labels y.npy --perturbations l1=a.npy,linf=b.npy --input attacked.npy`.
//!
//! Signals, perturbations of the same signals (in the same order, from any framework) and the input are NumPy arrays `[n, …]`, whatever stands behind the first axis is flattened. Writes `analysis.csv` (a row for each input signal), `denoised.npy` and `recovery.csv` (for which pairs of
//! class and attack the result is certain) to `--out`.

#[path = "own_data/arrays.rs"]
mod arrays;

use adversarial::reverse::{BlockDictionary, Homotopy, NearestSubspace, ReverseEngineer, recovery_report};
use arrays::Fallible;
use candle_core::{Device, Tensor};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Explain attacked signals
#[derive(Debug, Parser)]
struct Arguments {
    /// Clean signals, .npy
    #[arg(long)]
    signals: PathBuf,
    /// Their classes, .npy
    #[arg(long)]
    labels: PathBuf,
    /// What each kind of attack adds to the signals: NAME=FILE.npy, separated by commas
    #[arg(long, value_delimiter = ',', required = true)]
    perturbations: Vec<String>,
    /// Signals to explain, .npy
    #[arg(long)]
    input: PathBuf,
    /// Clean signals that are not among the others: what they look like counts as not attacked
    #[arg(long)]
    clean: Option<PathBuf>,
    /// How many signals of a class make its block
    #[arg(long, default_value_t = 50)]
    per_class: usize,
    /// Rounds of the active-set method
    #[arg(long, default_value_t = 12)]
    rounds: usize,
    /// The folder of the results
    #[arg(long, default_value = "reverse_engineered")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An array as rows of `dimension` numbers.
fn rows(path: &std::path::Path, dimension: Option<usize>) -> Fallible<(usize, Vec<f64>)> {
    let (shape, values) = arrays::numbers(path)?;
    let count = shape.first().copied().unwrap_or(0);
    if count == 0 || values.is_empty() {
        return Err(format!("{}: there are no signals", path.display()).into());
    }
    let found = values.len() / count;
    if dimension.is_some_and(|dimension| dimension != found) {
        let expected = dimension.unwrap_or(0);
        return Err(
            format!("{}: signals have {found} numbers, those of --signals have {expected}", path.display()).into()
        );
    }
    Ok((found, values))
}

fn run(arguments: &Arguments) -> Fallible<()> {
    let (d, signals) = rows(&arguments.signals, None)?;
    let labels = arrays::labels(&arguments.labels)?;
    let mut named = Vec::new();
    for pair in &arguments.perturbations {
        let (name, path) = pair.split_once('=').ok_or_else(|| format!("--perturbations {pair}: expected NAME=FILE"))?;
        named.push((name, rows(path.as_ref(), Some(d))?.1));
    }
    let lists: Vec<(&str, &[f64])> = named.iter().map(|(name, list)| (*name, list.as_slice())).collect();
    let dictionary = BlockDictionary::from_samples(d, &signals, &labels, &lists, arguments.per_class)?;
    let (_, input) = rows(&arguments.input, Some(d))?;
    let recovery = recovery_report(&dictionary)?;
    let control = NearestSubspace::new(&dictionary)?;
    let homotopy = Homotopy { max_rounds: arguments.rounds, ..Homotopy::default() };
    let mut engineer = ReverseEngineer::new(dictionary)?.homotopy(homotopy);
    if let Some(clean) = &arguments.clean {
        engineer.calibrate(&rows(clean, Some(d))?.1, 0.95)?;
    }
    let found = engineer.analyse_all(&input)?;

    let out = |name: &str| arguments.out.join(name);
    std::fs::create_dir_all(&arguments.out).map_err(|error| format!("{}: {error}", arguments.out.display()))?;
    let names = engineer.dictionary().attacks();
    let mut table = csv::Writer::from_path(out("analysis.csv"))?;
    table.write_record([
        "signal",
        "class",
        "attack",
        "margin",
        "attack_norm",
        "certified",
        "rounds",
        "nearest_subspace",
    ])?;
    for (at, one) in found.iter().enumerate() {
        table.write_record([
            at.to_string(),
            one.class.to_string(),
            one.attack.map_or("none", |attack| &names[attack]).to_owned(),
            format!("{:.4}", one.margin),
            format!("{:.4}", one.attack_norm),
            one.is_certified.to_string(),
            one.rounds.len().to_string(),
            control.classify(&input[at * d..(at + 1) * d])?.0.to_string(),
        ])?;
    }
    table.flush()?;
    let clean: Vec<f32> = found.iter().flat_map(|one| one.clean.iter().map(|&value| value as f32)).collect();
    Tensor::from_vec(clean, (found.len(), d), &Device::Cpu)?.write_npy(out("denoised.npy"))?;
    let mut table = csv::Writer::from_path(out("recovery.csv"))?;
    table.write_record(["class", "attack", "rank", "rho", "tau", "is_guaranteed", "cos_smallest_angle"])?;
    let mut guaranteed = 0;
    for pair in &recovery {
        guaranteed += usize::from(pair.is_guaranteed());
        table.write_record([
            pair.class.to_string(),
            names[pair.attack].clone(),
            pair.rank.to_string(),
            format!("{:.6}", pair.rho),
            format!("{:.6}", pair.tau),
            pair.is_guaranteed().to_string(),
            format!("{:.6}", pair.cos_smallest_angle),
        ])?;
    }
    table.flush()?;
    println!(
        "{} signals explained; recovery is certain for {guaranteed} of {} pairs of class and attack",
        found.len(),
        recovery.len()
    );
    println!("written to {}", arguments.out.display());
    Ok(())
}
