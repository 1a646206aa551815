//! `cargo xtask report`: one page of all runs; the committed reports; the README's table.

use std::path::{Path, PathBuf};

use clap::Args;

use report::{REPORT_FILE, Report, run_directory};

use crate::error::{Result, file};
use crate::reproduction::{Run, find_runs, out_folder, recorded_path};
use crate::{exit, index_page, paper_pages, readme_table, workspace};

/// Collect the reports of all runs into one page, and keep the README's table true
///
/// Without options: writes index.html and index.md beside the runs.
#[derive(Debug, Args)]
pub(crate) struct ReportCommand {
    /// Copy the report.json of complete runs, measured on a clean commit, to reports/PAPER/SCALE.json, and write the
    /// table of papers in README.md and docs/papers anew; all are to be committed
    #[arg(long, conflicts_with = "check")]
    record: bool,
    /// With --record: also accept runs whose files differed from their commit, or that name no commit
    #[arg(long, requires = "record")]
    allow_dirty: bool,
    /// Change nothing; exit code 1 when README.md or docs/papers differ from what the committed reports say
    #[arg(long)]
    check: bool,
    /// Folder with the results [default: target/reproduce]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Collects, records or checks; returns the exit code.
///
/// # Errors
/// When a file cannot be read or written, or the README has no place for the table.
pub(crate) fn run(arguments: &ReportCommand) -> Result<u8> {
    if arguments.check {
        return check();
    }
    let out = out_folder(arguments.out.as_deref());
    let runs = find_runs(&out)?;
    index_page::write(&runs, &out)?;
    say!("Collected {} runs: {}", runs.len(), workspace::shown(&out.join("index.html")));
    if !arguments.record {
        return Ok(exit::OK);
    }
    let (recorded, refused) = record(&runs, &out, arguments.allow_dirty)?;
    // A command that was refused altogether leaves everything as it was.
    if (recorded > 0 || refused == 0) && readme_table::refresh()? {
        say!("README.md: the table of papers is refreshed");
    }
    if (recorded > 0 || refused == 0) && paper_pages::refresh()? {
        say!("docs/papers: pages are refreshed");
    }
    Ok(if refused == 0 { exit::OK } else { exit::ERROR })
}

/// Compares the README's table with the committed reports; returns the exit code.
///
/// # Errors
/// When a report or the README cannot be read, or the README has no place for the table.
pub(crate) fn check() -> Result<u8> {
    if readme_table::is_stale()? {
        complain!(
            "error: the table of papers in README.md is stale; run `cargo xtask report --record` and commit README.md"
        );
        return Ok(exit::ERROR);
    }
    let stale = paper_pages::stale_names()?;
    if !stale.is_empty() {
        let names = stale.join(", ");
        complain!("error: pages of docs/papers are stale: {names}; run `cargo xtask report --record` and commit them");
        return Ok(exit::ERROR);
    }
    say!("README.md and docs/papers agree with the committed reports");
    Ok(exit::OK)
}

/// Copies what may be committed; returns how many runs that were and how many were refused.
fn record(runs: &[Run], out: &Path, allow_dirty: bool) -> Result<(usize, usize)> {
    let (mut recorded, mut refused) = (0, 0);
    for Run { paper, scale, report } in runs {
        let name = format!("{} at {} scale", paper.slug, scale.name());
        if let Some(reason) = refusal(report, allow_dirty) {
            complain!("not recorded: {name}: {reason}");
            refused += 1;
            continue;
        }
        let from = run_directory(out, paper.slug, *scale).join(REPORT_FILE);
        let to = recorded_path(paper, *scale);
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(file("create", parent))?;
        }
        std::fs::copy(&from, &to).map_err(file("write", &to))?;
        say!("recorded: {name}: {} ({})", report.tally().words(), workspace::shown(&to));
        recorded += 1;
    }
    Ok((recorded, refused))
}

/// Why a report may not be committed.
fn refusal(report: &Report, allow_dirty: bool) -> Option<&'static str> {
    if !report.complete {
        return Some("trials are missing; finish it with --resume");
    }
    if !allow_dirty && !report.is_clean() {
        return Some("it was not measured on a clean commit; commit and run it again, or use --allow-dirty");
    }
    None
}
