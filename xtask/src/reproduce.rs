//! `cargo xtask reproduce`: builds a paper's example with the right features, gets its data, runs it, and says how its
//! claims came out.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use clap::Args;
use report::text::quoted;
use report::{Arguments, ClaimResult, LIFELINE, REPORT_FILE, Report, Verdict, run_directory};

use crate::data_sets::Source;
use crate::error::{Error, Result};
use crate::papers::{self, PAPERS, Paper};
use crate::reproduction::{find_runs, out_folder, read, recorded_path};
use crate::type_check::Outcome;
use crate::{data_sets, exit, index_page, process, text_table, workspace};

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
    /// Build what would run, say how long that took, and stop
    #[arg(long)]
    pub(crate) only_build: bool,
    #[command(flatten)]
    pub(crate) arguments: Arguments,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask reproduce sep
  cargo xtask reproduce sep --scale laptop --jobs 2
  cargo xtask reproduce sep --scale laptop --resume       continue after an interruption
  cargo xtask reproduce sep --scale paper --device cuda:0
  cargo xtask reproduce all                               every paper, one page at the end
  srun cargo xtask reproduce sep --scale paper --shard auto --out /shared/runs

`all` continues after failures and ends with the most serious exit code. Codes: cargo xtask --help";

/// The `smoke` scale on the CPU without downloads, with nothing else set: what CI runs.
pub(crate) fn smoke() -> Arguments {
    Arguments { offline: true, ..Arguments::default() }
}

/// The cargo feature that a device needs, if any.
///
/// # Errors
/// [`Error::Usage`] for a device that does not exist.
fn feature(device: &str) -> Result<Option<&'static str>> {
    let is_number = |index: &str| index.parse::<u16>().is_ok();
    match device.split_once(':') {
        None if device == "cpu" => Ok(None),
        Some(("cuda", index)) if is_number(index) => Ok(Some("cuda")),
        Some(("metal", index)) if is_number(index) => Ok(Some("metal")),
        _ => Err(Error::Usage(format!(
            "--device: unknown device `{}`, expected cpu, cuda:N or metal:N, such as cuda:0",
            quoted(device)
        ))),
    }
}

/// Runs one paper or all of them and returns the exit code.
///
/// # Errors
/// For an unknown or unimplemented paper, data that cannot be had, or a program that does not start. With `all`, errors
/// of one paper are printed and the next one runs.
pub(crate) fn run(Reproduce { paper, only_build, arguments }: &Reproduce) -> Result<u8> {
    feature(&arguments.device)?;
    if paper == "all" {
        return if *only_build { build(implemented(), arguments) } else { all(arguments) };
    }
    let paper = papers::find(paper)?;
    if !paper.is_implemented() {
        return Err(Error::NotImplemented { slug: paper.slug, example: workspace::shown(&paper.example()) });
    }
    if *only_build { build(std::iter::once(paper), arguments) } else { one(paper, arguments) }
}

fn implemented() -> impl Iterator<Item = &'static Paper> {
    PAPERS.iter().filter(|paper| paper.is_implemented())
}

/// Builds the programs of some papers and says how long each took.
fn build(papers: impl Iterator<Item = &'static Paper>, arguments: &Arguments) -> Result<u8> {
    let mut rows = Vec::new();
    let mut codes = Vec::new();
    for paper in papers {
        let start = Instant::now();
        let code = process::run(&mut cargo(paper, "build", arguments)?)?;
        rows.push(vec![paper.slug.to_owned(), format!("{:.1} s", start.elapsed().as_secs_f64())]);
        codes.push(if code == 0 { exit::OK } else { exit::ERROR });
    }
    say!("\n{}", text_table::render(&["program", "built in"], &rows));
    Ok(exit::worst(codes))
}

/// Runs every implemented paper, one after the other, and returns the most serious exit code.
///
/// # Errors
/// None of its own; those of a paper are printed and counted.
pub(crate) fn all(arguments: &Arguments) -> Result<u8> {
    let seconds: f64 = implemented()
        .filter_map(|paper| read(&recorded_path(paper, arguments.scale)).ok())
        .map(|report| report.seconds)
        .sum();
    if seconds > 0. {
        let (minutes, scale) = (seconds / 60., arguments.scale.name());
        say!(
            "The committed reports at {scale} scale took {minutes:.0} minutes together on the machines that wrote them; the build comes on top."
        );
    }
    let mut codes: Vec<u8> = each(arguments).into_iter().map(|(_, code)| code).collect();
    if codes.is_empty() {
        say!("No paper is implemented yet.");
        return Ok(exit::NOT_IMPLEMENTED);
    }
    if process::is_interrupted() {
        codes.push(exit::INTERRUPTED);
    }
    let out = out_folder(arguments.out.as_deref());
    index_page::write(&find_runs(&out)?, &out)?;
    say!("All papers on one page: {}", workspace::shown(&out.join("index.html")));
    Ok(exit::worst(codes))
}

/// Runs every implemented paper and compares with the committed reports: a claim that is recorded as not reproduced is a result and fails nothing, any other that is not reproduced does.
///
/// # Errors
/// None of its own; those of a paper are printed and fail.
pub(crate) fn compared_with_recorded(arguments: &Arguments) -> Result<Outcome> {
    let (mut known, mut is_failed) = (Vec::new(), false);
    let codes = each(arguments);
    if codes.is_empty() {
        return Ok(Outcome::Skipped("no paper is implemented yet".to_owned()));
    }
    for (paper, code) in codes {
        match code {
            exit::OK => {}
            exit::NOT_REPRODUCED => {
                let found = read(&directory(paper, arguments).join(REPORT_FILE))?;
                let recorded = read(&recorded_path(paper, arguments.scale)).ok();
                let (expected, new) = not_reproduced(&found, recorded.as_ref());
                for id in &new {
                    complain!(
                        "error: {}: {id} is not reproduced, and the committed report does not say so",
                        paper.slug
                    );
                }
                is_failed |= !new.is_empty();
                known.extend(expected.into_iter().map(|id| format!("{}: {id}", paper.slug)));
            }
            _ => is_failed = true,
        }
    }
    Ok(match (is_failed, known.is_empty()) {
        (true, _) => Outcome::Failed,
        (false, true) => Outcome::Passed,
        (false, false) => Outcome::Noted(format!("not reproduced, as recorded: {}", known.join(", "))),
    })
}

/// The claims that are not reproduced: those of which the committed report says so too, and the others.
fn not_reproduced(found: &Report, recorded: Option<&Report>) -> (Vec<String>, Vec<String>) {
    let fails = |claim: &&ClaimResult| claim.verdict == Verdict::NotReproduced;
    let is_recorded = |id: &String| {
        recorded.is_some_and(|recorded| recorded.claims.iter().filter(fails).any(|claim| claim.id == *id))
    };
    found.claims.iter().filter(fails).map(|claim| claim.id.clone()).partition(is_recorded)
}

/// Runs every implemented paper; with each its exit code. Ends early when interrupted.
fn each(arguments: &Arguments) -> Vec<(&'static Paper, u8)> {
    let mut codes = Vec::new();
    let mut rows = Vec::new();
    let (count, start) = (implemented().count(), Instant::now());
    for (number, paper) in implemented().enumerate() {
        let (minutes, seconds) = (start.elapsed().as_secs() / 60, start.elapsed().as_secs() % 60);
        say!("\n== {} ({}): paper {} of {count}, {minutes}:{seconds:02} so far", paper.slug, paper.title, number + 1);
        let code = one(paper, arguments).unwrap_or_else(|error| {
            complain!("error: {}: {error}", paper.slug);
            error.exit_code()
        });
        let claims = read(&directory(paper, arguments).join(REPORT_FILE))
            .ok()
            .filter(|_| matches!(code, exit::OK | exit::NOT_REPRODUCED))
            .map_or_else(|| "-".to_owned(), |report| report.tally().words());
        rows.push(vec![paper.slug.to_owned(), code.to_string(), claims]);
        codes.push((paper, code));
        if process::is_interrupted() {
            break;
        }
    }
    if !rows.is_empty() {
        say!("\n{}", text_table::render(&["paper", "exit code", "claims reproduced"], &rows));
        let missing = PAPERS.len() - PAPERS.iter().filter(|paper| paper.is_implemented()).count();
        if missing > 0 {
            say!("{missing} papers are not implemented yet (cargo xtask list).");
        }
    }
    codes
}

fn one(paper: &Paper, arguments: &Arguments) -> Result<u8> {
    if !arguments.offline && !arguments.synthetic {
        let source = Source { data_dir: arguments.data_dir.clone(), is_offline: false };
        data_sets::obtain(paper.data(arguments.scale), &source).inspect_err(|_| {
            complain!("note: --offline uses what is on this machine, --synthetic generated data");
        })?;
    }
    let code = process::run_with_lifeline(&mut program(paper, arguments)?)?;
    let code = match u8::try_from(code) {
        // Whatever the programs end with after Ctrl-C, such as a build that is cut short.
        _ if process::is_interrupted() => exit::INTERRUPTED,
        Ok(code @ (exit::OK | exit::USAGE | exit::NOT_REPRODUCED | exit::OTHER_SHARDS_MISSING | exit::INTERRUPTED)) => {
            code
        }
        _ => exit::ERROR,
    };
    let directory = directory(paper, arguments);
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

/// The folder of the run.
fn directory(paper: &Paper, arguments: &Arguments) -> PathBuf {
    run_directory(&out_folder(arguments.out.as_deref()), paper.slug, arguments.scale)
}

/// `cargo build` or `cargo run` of the paper's program.
fn cargo(paper: &Paper, what: &str, arguments: &Arguments) -> Result<Command> {
    let mut command = workspace::cargo();
    let profile = std::env::var("XTASK_PROFILE").unwrap_or_else(|_| "release".to_owned());
    command.args([what, "--profile", &profile, "--package", paper.package, "--example", &paper.target()]);
    if let Some(feature) = feature(&arguments.device)? {
        command.args(["--features", feature]);
    }
    Ok(command)
}

/// The command that builds and starts the paper's program. Its paths are absolute: it starts in the workspace's root.
fn program(paper: &Paper, arguments: &Arguments) -> Result<Command> {
    let mut command = cargo(paper, "run", arguments)?;
    let absolute = |path: &Option<PathBuf>| path.as_deref().map(workspace::absolute);
    let handed_on =
        Arguments { data_dir: absolute(&arguments.data_dir), out: absolute(&arguments.out), ..arguments.clone() };
    command.arg("--").args(handed_on.words()).arg(LIFELINE);
    Ok(command)
}

/// What is done with arguments before anything is started, for a test with extreme ones.
#[cfg(test)]
pub(crate) fn check_extremes(arguments: &Arguments) {
    let paper = papers::find("sep").expect("a paper");
    match program(paper, arguments) {
        Ok(command) => assert!(process::shown(&command).contains("--example sep")),
        Err(error) => assert!(error.to_string().contains("--device"), "{error}"),
    }
    if let Some(Ok(shard)) = arguments.shard.map(|shard| shard.resolve()) {
        assert!([0, usize::MAX].iter().filter(|&&index| shard.owns("group", index)).count() <= 2);
    }
    assert!(serde_json::to_string(arguments).is_ok());
}

/// Prints the claims of a run that is finished.
fn show_claims(directory: &Path) -> Result<()> {
    let report = read(&directory.join(REPORT_FILE))?;
    let row = |claim: &ClaimResult| {
        let cells = [claim.published_words(), claim.measured_words(), claim.data_words()];
        [claim.outcome().words(), &claim.id].map(str::to_owned).into_iter().chain(cells).collect()
    };
    let tested = report.claims.iter().filter(|claim| claim.verdict != Verdict::NotTested);
    let rows: Vec<Vec<String>> = tested.map(row).collect();
    say!("\n{}", text_table::render(&["verdict", "claim", "published", "measured", "data"], &rows));
    let untested = report.claims.len() - rows.len();
    say!("Claims reproduced: {}; {untested} not tested at this scale; {:.1} s", report.tally().words(), report.seconds);
    say!("Report: {}", workspace::shown(&directory.join("report.html")));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_recorded_may_fail() {
        let report = |verdicts: &[(&str, Verdict)]| {
            let path = recorded_path(papers::find("sep").unwrap(), report::Scale::Smoke);
            let mut report = read(&path).unwrap();
            let claim = report.claims[0].clone();
            let named = |&(id, verdict): &(&str, Verdict)| ClaimResult { id: id.to_owned(), verdict, ..claim.clone() };
            report.claims = verdicts.iter().map(named).collect();
            report
        };
        let found = report(&[("a", Verdict::NotReproduced), ("b", Verdict::NotReproduced), ("c", Verdict::Reproduced)]);
        let recorded =
            report(&[("a", Verdict::NotReproduced), ("b", Verdict::Reproduced), ("c", Verdict::NotReproduced)]);
        assert_eq!(not_reproduced(&found, Some(&recorded)), (vec!["a".to_owned()], vec!["b".to_owned()]));
        assert_eq!(not_reproduced(&found, None), (vec![], vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn the_device_chooses_the_feature() {
        let paper = papers::find("structured-lottery-tickets").unwrap();
        let arguments = Arguments { device: "cuda:1".to_owned(), ..Arguments::default() };
        let shown = process::shown(&program(paper, &arguments).unwrap());
        assert!(shown.contains("--package pruning --example structured_lottery_tickets --features cuda --"), "{shown}");
        assert!(shown.contains("--device=cuda:1") && shown.ends_with(" --lifeline"), "{shown}");
    }

    #[test]
    fn paths_are_handed_on_as_absolute_ones() {
        let paper = papers::find("sep").unwrap();
        let arguments = Arguments { out: Some("runs".into()), ..Arguments::default() };
        let shown = process::shown(&program(paper, &arguments).unwrap());
        assert!(shown.contains(&format!("--out={}", workspace::absolute(Path::new("runs")).display())), "{shown}");
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_unicode_is_handed_on_as_it_is() {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let out = std::ffi::OsString::from_vec(b"/runs-\xff\xfe".to_vec());
        let arguments = Arguments { out: Some(out.into()), ..Arguments::default() };
        let command = program(papers::find("sep").unwrap(), &arguments).unwrap();
        assert!(command.get_args().any(|word| word.as_bytes() == b"--out=/runs-\xff\xfe"), "{command:?}");
    }

    #[test]
    fn a_device_without_its_number_is_refused() {
        assert!(feature("cuda").is_err());
        assert!(feature("tpu:0").is_err());
    }
}
