//! `cargo xtask reproduce`: builds a paper's example with the right features, gets its data, runs it, and says how its
//! claims came out.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use clap::Args;

use crate::data_sets::Source;
use crate::error::{Error, Result};
use crate::papers::{self, PAPERS, Paper, Scale};
use crate::reproduction::{Claim, Report, Verdict, default_out, folder};
use crate::{data_sets, exit, process, text_table, workspace};

/// Reproduce a paper: build it, get its data, run it, judge its claims
///
/// The report is written to target/reproduce/PAPER/SCALE/report.html (also .md and .json).
/// `smoke` needs no data and takes less than a minute after the first build; `laptop` downloads what it needs and takes
/// up to 30 minutes on two CPU cores; `paper` is the paper's full protocol and wants a GPU.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Reproduce {
    /// The paper's short name, or `all` for every implemented paper
    pub(crate) paper: String,
    #[command(flatten)]
    pub(crate) options: Options,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask reproduce sep
  cargo xtask reproduce sep --scale laptop --jobs 2
  cargo xtask reproduce sep --scale laptop --resume       continue after an interruption
  cargo xtask reproduce sep --scale paper --device cuda:0
  srun cargo xtask reproduce sep --scale paper --shard auto --out /shared/runs

`all` continues after failures and ends with the most serious exit code. Codes: cargo xtask --help";

/// What is handed on to the paper's own program.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How much of the paper's protocol to follow
    #[arg(long, value_enum, default_value_t = Scale::Smoke)]
    pub(crate) scale: Scale,
    /// Where tensors live: cpu, cuda:N or metal:N; also chooses the features that are compiled in
    #[arg(long, default_value = "cpu")]
    pub(crate) device: Device,
    /// The seed from which every random number follows
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder with data sets as SET/FILE; searched before $DATA_DIR and the user's cache
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Trials that run side by side
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
    /// Run only part K of N of the trials, or `auto`: the place that Slurm, Open MPI or PMI gives this process
    #[arg(long, value_name = "K/N|auto")]
    pub(crate) shard: Option<String>,
    /// Keep the trials that an earlier run finished
    #[arg(long)]
    pub(crate) resume: bool,
    /// Download nothing: data that are absent are an error
    #[arg(long)]
    pub(crate) offline: bool,
    /// Use the synthetic stand-in for every data set; the report says so beside every number
    #[arg(long)]
    pub(crate) synthetic: bool,
    /// Folder for the results [default: target/reproduce]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

impl Options {
    /// The `smoke` scale on the CPU with nothing else set: what CI runs.
    pub(crate) fn smoke() -> Self {
        Self {
            scale: Scale::Smoke,
            device: Device::cpu(),
            seed: 0,
            data_dir: None,
            jobs: None,
            shard: None,
            resume: false,
            offline: true,
            synthetic: false,
            out: None,
        }
    }

    /// The arguments of the paper's program. Paths are absolute: the program starts in the workspace's root.
    fn arguments(&self) -> Vec<String> {
        let mut words = vec!["--scale".to_owned(), self.scale.name().to_owned()];
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                words.extend([name.to_owned(), value]);
            }
        };
        let path = |path: &Option<PathBuf>| path.as_deref().map(|path| workspace::absolute(path).display().to_string());
        add("--device", Some(self.device.specification.clone()));
        add("--seed", Some(self.seed.to_string()));
        add("--data-dir", path(&self.data_dir));
        add("--jobs", self.jobs.map(|jobs| jobs.to_string()));
        add("--shard", self.shard.clone());
        add("--out", path(&self.out));
        let flags = [("--resume", self.resume), ("--offline", self.offline), ("--synthetic", self.synthetic)];
        words.extend(flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name.to_owned()));
        words
    }

    fn out(&self) -> PathBuf {
        self.out.as_deref().map_or_else(default_out, workspace::absolute)
    }
}

/// A device specification, and the cargo feature that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    specification: String,
    feature: Option<&'static str>,
}

impl Device {
    fn cpu() -> Self {
        Self { specification: "cpu".to_owned(), feature: None }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(specification: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("`{specification}` is no device; expected cpu, cuda:N or metal:N, such as cuda:0");
        if specification == "cpu" {
            return Ok(Self::cpu());
        }
        let feature = match specification.split_once(':') {
            Some(("cuda", index)) if index.parse::<u16>().is_ok() => Some("cuda"),
            Some(("metal", index)) if index.parse::<u16>().is_ok() => Some("metal"),
            _ => return Err(wrong()),
        };
        Ok(Self { specification: specification.to_owned(), feature })
    }
}

/// Runs one paper or all of them and returns the exit code.
///
/// # Errors
/// For an unknown or unimplemented paper, data that cannot be had, or a program that does not start. With `all`, errors
/// of one paper are printed and the next one runs.
pub(crate) fn run(arguments: &Reproduce) -> Result<u8> {
    if arguments.paper == "all" {
        return all(&arguments.options);
    }
    let paper = papers::find(&arguments.paper)?;
    if !paper.is_implemented() {
        return Err(Error::NotImplemented { slug: paper.slug, example: workspace::shown(&paper.example()) });
    }
    one(paper, &arguments.options)
}

/// Runs every implemented paper, one after the other.
///
/// # Errors
/// None of its own; those of a paper are printed and counted.
pub(crate) fn all(options: &Options) -> Result<u8> {
    let mut codes = Vec::new();
    let mut rows = Vec::new();
    for paper in PAPERS.iter().filter(|paper| paper.is_implemented()) {
        say!("\n== {} ({})", paper.slug, paper.title);
        let code = one(paper, options).unwrap_or_else(|error| {
            complain!("error: {}: {error}", paper.slug);
            error.exit_code()
        });
        let claims = Report::read(&folder(&options.out(), paper, options.scale).join("report.json"))
            .ok()
            .filter(|_| matches!(code, exit::OK | exit::NOT_REPRODUCED))
            .map_or_else(|| "-".to_owned(), |report| report.tally().text());
        rows.push(vec![paper.slug.to_owned(), code.to_string(), claims]);
        codes.push(code);
        if process::is_interrupted() {
            codes.push(exit::INTERRUPTED);
            break;
        }
    }
    if rows.is_empty() {
        say!("No paper is implemented yet.");
        return Ok(exit::NOT_IMPLEMENTED);
    }
    say!("\n{}", text_table::render(&["paper", "exit code", "claims reproduced"], &rows));
    let missing = PAPERS.len() - PAPERS.iter().filter(|paper| paper.is_implemented()).count();
    if missing > 0 {
        say!("{missing} papers are not implemented yet (cargo xtask list).");
    }
    Ok(exit::worst(codes))
}

fn one(paper: &Paper, options: &Options) -> Result<u8> {
    if !options.offline && !options.synthetic {
        let source = Source { data_dir: options.data_dir.clone(), is_offline: false };
        data_sets::obtain(paper.data(options.scale), &source).inspect_err(|_| {
            complain!("note: --offline tries with what is on this machine, --synthetic with generated data");
        })?;
    }
    let code = process::run(&mut program(paper, options))?;
    let code = match u8::try_from(code) {
        // Whatever the programs end with after Ctrl-C, such as a build that is cut short.
        _ if process::is_interrupted() => exit::INTERRUPTED,
        Ok(code @ (exit::OK | exit::USAGE | exit::NOT_REPRODUCED | exit::OTHER_SHARDS_MISSING | exit::INTERRUPTED)) => {
            code
        }
        _ => exit::ERROR,
    };
    let directory = folder(&options.out(), paper, options.scale);
    match code {
        exit::OK | exit::NOT_REPRODUCED => show_claims(&directory)?,
        exit::INTERRUPTED => {
            say!("Interrupted. Finished trials are kept; the same command with --resume continues.")
        }
        exit::OTHER_SHARDS_MISSING => say!("This shard is done. The one that finishes last writes the report."),
        _ => say!("{} did not finish; what it wrote is in {}", paper.slug, workspace::shown(&directory)),
    }
    Ok(code)
}

fn program(paper: &Paper, options: &Options) -> Command {
    let mut command = workspace::cargo();
    command.args(["run", "--release", "--package", paper.package, "--example", &paper.target()]);
    if let Some(feature) = options.device.feature {
        command.args(["--features", feature]);
    }
    command.arg("--").args(options.arguments());
    command
}

/// Prints the claims of a run that is finished.
fn show_claims(directory: &Path) -> Result<()> {
    let report = Report::read(&directory.join("report.json"))?;
    let row = |claim: &Claim| {
        let cells = [claim.published_text(), claim.measured_text(), claim.data_text()];
        [claim.verdict.name(), &claim.id].map(str::to_owned).into_iter().chain(cells).collect()
    };
    let tested = report.claims.iter().filter(|claim| claim.verdict != Verdict::NotTested);
    let rows: Vec<Vec<String>> = tested.map(row).collect();
    say!("\n{}", text_table::render(&["verdict", "claim", "published", "measured", "data"], &rows));
    let untested = report.claims.len() - rows.len();
    say!("Claims reproduced: {}; {untested} not tested at this scale; {:.1} s", report.tally().text(), report.seconds);
    say!("Report: {}", workspace::shown(&directory.join("report.html")));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        let device = "cuda:1".parse().unwrap();
        Options {
            scale: Scale::Laptop,
            device,
            seed: 3,
            jobs: Some(2),
            resume: true,
            offline: false,
            ..Options::smoke()
        }
    }

    #[test]
    fn what_was_given_is_handed_on_and_nothing_else() {
        let words = options().arguments().join(" ");
        assert_eq!(words, "--scale laptop --device cuda:1 --seed 3 --jobs 2 --resume");
    }

    #[test]
    fn the_device_chooses_the_feature() {
        let paper = papers::find("structured-lottery-tickets").unwrap();
        let shown = process::shown(&program(paper, &options()));
        assert!(shown.contains("--package pruning --example structured_lottery_tickets --features cuda --"), "{shown}");
    }

    #[test]
    fn a_device_without_its_number_is_refused() {
        assert!("cuda".parse::<Device>().is_err());
        assert!("tpu:0".parse::<Device>().is_err());
    }
}
