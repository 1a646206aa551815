//! `cargo xtask bench`: benchmarks alone, or paired with the same operations in Python.

mod against;
mod baseline;
mod machine;
mod pairing;
mod python;
mod target;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use report::text::quoted;

use crate::error::{Error, Result};
use crate::papers::PAPERS;
use crate::workspace::{self, Metadata};
use crate::{exit, nearest, process, text_table};
use against::Other;
use baseline::Baseline;
use machine::Processor;
use pairing::{Comparison, Sample};
use target::{Target, peers};

/// Run benchmarks; with --peers, beside PyTorch, NumPy and SciPy doing the same
///
/// Without --peers this is `cargo bench` for the benchmark of one paper, of one crate, or of all.
#[derive(Debug, Args)]
#[command(after_long_help = PROTOCOL)]
pub(crate) struct Bench {
    /// A paper or a crate [default: every benchmark of the workspace]
    name: Option<String>,
    /// Measure against xtask/peers/BENCHMARK.py
    #[arg(long)]
    peers: bool,
    /// Measure against another commit of this repository: a hash, a branch, a tag
    #[arg(long, value_name = "COMMIT", conflicts_with_all = ["peers", "record"])]
    against: Option<String>,
    /// With the peers: fail when a ratio is more than 30 % worse than in xtask/peers/baseline.json for this class of
    /// processor. With a commit: fail when ours takes more than 1.15 times as long
    #[arg(long, conflicts_with = "record")]
    check: bool,
    /// With the peers: write the ratios to xtask/peers/baseline.json
    #[arg(long)]
    record: bool,
    /// How often both programs are run, in turns
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Threads that both sides may use; more than the machine has idle cores measures the scheduler
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    threads: u32,
    /// Python environment for the peers, made when absent [default: in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    venv: Option<PathBuf>,
}

const PROTOCOL: &str = "\
How a pair is measured:
  crates/<crate>/benches/<name>.rs and xtask/peers/<name with hyphens>.py do the same operations on the same shapes under
  the same names. Each is run --rounds times, in turns (the order swaps every round, so that neither always runs on the
  warmer machine). In the environment both find
    BENCH_JSON=1      print one JSON object a line on standard output for each operation, and nothing else that starts
                      with a brace: {\"name\": \"spmm/100k x 64\", \"threads\": 1, \"seconds\": 0.0123}
    BENCH_THREADS=N   the threads to use; RAYON_, CANDLE_, OMP_, MKL_ and OPENBLAS_NUM_THREADS say the same
  `seconds` is the minimum over at least five repetitions that together take at least 60 ms, after two that do not count:
  on a shared machine the minimum is what the code costs and the rest is what the neighbours cost.
  Printed are, for each name that both have: the medians over the rounds, and the median of the ratio peer / ours of the
  same round (above 1: ours is faster), with its range. The load average is printed before and after.

How to add one: write the benchmark and the peer with the same names, run `cargo xtask bench <crate> --peers` and, on an
idle machine, `cargo xtask bench --record`. xtask/README.md has a template of each.

A ratio holds for one kind of processor. baseline.json keeps them by vendor, family and vector extensions; --check compares
within the class of this machine only, and says when nothing is recorded for it. --against builds another commit beside, in
the target folder, and pairs ours with ours: that works on any machine.

The peers' Python environment takes its packages from xtask/peers/requirements.txt through pip, so pip's own settings
(PIP_INDEX_URL, PIP_FIND_LINKS, ...) choose where from: PyTorch's CPU index gives the smaller CPU-only build.";

/// Runs the benchmarks; returns the exit code.
///
/// # Errors
/// For an unknown name, a program that fails or prints something that is not the protocol, or an unreadable baseline.
pub(crate) fn run(arguments: &Bench) -> Result<u8> {
    let metadata = workspace::metadata()?;
    let targets = select(&metadata, arguments.name.as_deref())?;
    if let Some(commit) = &arguments.against {
        return against(arguments, &Other::check_out(&metadata, commit)?, &targets);
    }
    if arguments.peers || arguments.check || arguments.record { paired(arguments, &targets) } else { alone(&targets) }
}

fn select(metadata: &Metadata, name: Option<&str>) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for package in &metadata.packages {
        for bench in package.benches() {
            let is_of_paper = PAPERS.iter().any(|paper| Some(paper.slug) == name && paper.target() == bench);
            if name.is_none_or(|name| name == package.name) || is_of_paper {
                let directory = package.directory().to_owned();
                targets.push(Target { package: package.name.clone(), directory, name: bench.to_owned() });
            }
        }
    }
    if let (Some(name), true) = (name, targets.is_empty()) {
        let with_benches = metadata.packages.iter().filter(|package| !package.benches().is_empty());
        let mut known: Vec<&str> = with_benches.clone().map(|package| package.name.as_str()).collect();
        let benches: Vec<&str> = with_benches.flat_map(|package| package.benches()).collect();
        known.extend(PAPERS.iter().filter(|paper| benches.contains(&paper.target().as_str())).map(|paper| paper.slug));
        return Err(Error::UnknownBench { name: name.to_owned(), nearest: nearest::suggestion(name, known) });
    }
    Ok(targets)
}

fn alone(targets: &[Target]) -> Result<u8> {
    say!("{}", load_average());
    let mut code = exit::OK;
    for target in targets {
        if process::run(&mut target.cargo_bench())? != 0 {
            code = exit::ERROR;
        }
        if process::is_interrupted() {
            return Err(Error::Interrupted);
        }
    }
    say!("{}", load_average());
    Ok(code)
}

/// How much longer than the other commit ours may take: pairs of one run differ by less on a machine that is quiet.
const SLOWER: f64 = 1.15;

fn against(arguments: &Bench, other: &Other, targets: &[Target]) -> Result<u8> {
    let mut slower = Vec::new();
    for target in targets {
        let (ours, theirs) = (target.executable()?, other.executable(target)?);
        let title = format!("{} against {}", target.name, other.commit);
        say!("\n== {title} ({} rounds, {} threads)\n{}", arguments.rounds, arguments.threads, load_average());
        let peer = || {
            let mut command = Command::new(&theirs);
            command.arg("--bench").current_dir(other.directory(target));
            command
        };
        let comparisons = measure(arguments, target, &ours, &peer)?;
        say!("{}", load_average());
        let heading = ["operation", "threads", "ours", &other.commit, "that / ours", "range"];
        say!("{}", text_table::render(&heading, &comparisons.iter().map(Comparison::row).collect::<Vec<_>>()));
        slower.extend(comparisons.iter().filter(|comparison| comparison.ratio * SLOWER < 1.0).map(|comparison| {
            format!("{}: {} takes {:.2} times as long as before", target.name, comparison.name, 1.0 / comparison.ratio)
        }));
    }
    for line in &slower {
        complain!("{}: {line}", if arguments.check { "error" } else { "note" });
    }
    Ok(if slower.is_empty() || !arguments.check { exit::OK } else { exit::ERROR })
}

fn paired(arguments: &Bench, targets: &[Target]) -> Result<u8> {
    let (with_peer, without): (Vec<&Target>, Vec<&Target>) = targets.iter().partition(|target| target.peer().is_file());
    for target in without {
        say!("no peer for `{}`: {} does not exist", target.name, workspace::shown(&target.peer()));
    }
    if with_peer.is_empty() {
        return Err(Error::Failed("none of these benchmarks has a peer".to_owned()));
    }
    let python = python::environment(arguments.venv.as_deref(), &peers().join("requirements.txt"))?;
    let baseline_path = peers().join("baseline.json");
    let mut baseline = Baseline::read(&baseline_path)?;
    let processor = Processor::of_this_machine();
    say!("{}: {}", processor.class, processor.model);
    // The day alone, of `2026-11-29T12:00:00Z`.
    let date: String = report::rfc_3339(std::time::SystemTime::now()).chars().take(10).collect();
    let mut worsened = Vec::new();
    for target in with_peer {
        let ours = target.executable()?;
        say!("\n== {} ({} rounds, {} threads)\n{}", target.name, arguments.rounds, arguments.threads, load_average());
        let peer = || {
            let mut command = Command::new(&python);
            command.arg(target.peer()).env("PYTHONDONTWRITEBYTECODE", "1");
            command
        };
        let comparisons = measure(arguments, target, &ours, &peer)?;
        say!("{}", load_average());
        say!("{}", text_table::render(&pairing::HEADING, &comparisons.iter().map(Comparison::row).collect::<Vec<_>>()));
        // Ratios for several threads stand beside those for one.
        let key = match arguments.threads {
            1 => target.name.clone(),
            threads => format!("{}, {threads} threads", target.name),
        };
        if arguments.check {
            if !baseline.has(&processor, &key) {
                say!("{key}: nothing is recorded for {}, so nothing was compared", processor.class);
            }
            worsened.extend(baseline.worsened(&processor, &key, &comparisons));
        }
        if arguments.record {
            baseline.set(&processor, &date, &key, &comparisons);
        }
    }
    if arguments.record {
        baseline.write(&baseline_path)?;
        say!("recorded in {}", workspace::shown(&baseline_path));
    }
    for line in &worsened {
        complain!("error: {line}");
    }
    Ok(if worsened.is_empty() { exit::OK } else { exit::ERROR })
}

fn measure(
    arguments: &Bench,
    target: &Target,
    ours: &std::path::Path,
    peer: &dyn Fn() -> Command,
) -> Result<Vec<Comparison>> {
    let mut rounds = Vec::new();
    for round in 0..arguments.rounds {
        let sample_ours = || {
            let mut command = Command::new(ours);
            command.arg("--bench").current_dir(&target.directory);
            sample(target, arguments.threads, &mut command)
        };
        let sample_peer = || sample(target, arguments.threads, &mut peer());
        rounds.push(if round % 2 == 0 {
            let ours = sample_ours()?;
            (ours, sample_peer()?)
        } else {
            let peer = sample_peer()?;
            (sample_ours()?, peer)
        });
    }
    for line in pairing::unmatched(&rounds) {
        say!("{line}");
    }
    let comparisons = pairing::compare(&rounds);
    if comparisons.is_empty() {
        return Err(target.error("the two programs have no name in common"));
    }
    Ok(comparisons)
}

/// Runs one of the two programs once.
fn sample(target: &Target, threads: u32, command: &mut Command) -> Result<BTreeMap<String, Sample>> {
    command.env("BENCH_JSON", "1").env("BENCH_THREADS", threads.to_string());
    for library in ["RAYON", "CANDLE", "OMP", "MKL", "OPENBLAS"] {
        command.env(format!("{library}_NUM_THREADS"), threads.to_string());
    }
    let mut samples = BTreeMap::new();
    let mut problem = None;
    let code = process::run_reading(command, |line| {
        let Some(parsed) = pairing::parse(line) else { return };
        match parsed {
            Ok((name, sample)) if !samples.contains_key(&name) => _ = samples.insert(name, sample),
            Ok((name, _)) => problem = Some(format!("it printed `{}` twice", quoted(&name))),
            Err(error) => problem = Some(format!("`{}`: {}", quoted(line), quoted(&error.to_string()))),
        }
    })?;
    if process::is_interrupted() {
        return Err(Error::Interrupted);
    }
    if code != 0 {
        problem = Some(format!("ended with exit code {code}"));
    }
    match problem {
        Some(problem) => Err(target.error(format!("{}: {problem}", process::shown(command)))),
        None => Ok(samples),
    }
}

/// The machine's load, without which a timing says little.
fn load_average() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match std::fs::read_to_string("/proc/loadavg") {
        Ok(text) => {
            let load: Vec<&str> = text.split(' ').take(3).collect();
            format!("load average {} (1, 5, 15 min) on {cores} cores", load.join(" "))
        }
        Err(_) => format!("load average unknown, {cores} cores"),
    }
}
