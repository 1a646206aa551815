//! The reports of finished reproductions: where they are, and the tally of their claims.

use std::path::{Path, PathBuf};

use report::text::quoted;
use report::{REPORT_FILE, Report, Scale, Tally, run_directory};

use crate::error::{Error, Result, file};
use crate::papers::{PAPERS, Paper};
use crate::workspace;

/// A run that was found.
pub(crate) struct Run {
    pub(crate) paper: &'static Paper,
    pub(crate) scale: Scale,
    pub(crate) report: Report,
}

/// Every run whose report lies below `out`.
///
/// # Errors
/// When a report cannot be read, or names another paper or scale than its folder does.
pub(crate) fn find_runs(out: &Path) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for paper in &PAPERS {
        for scale in Scale::ALL {
            let path = run_directory(out, paper.slug, scale).join(REPORT_FILE);
            if path.is_file() {
                let report = read(&path)?;
                if report.paper != paper.slug || report.scale != scale {
                    let reason = format!("it says {} at scale {}", quoted(&report.paper), report.scale.name());
                    return Err(Error::Report { path, reason });
                }
                runs.push(Run { paper, scale, report });
            }
        }
    }
    Ok(runs)
}

/// Reads a `report.json`.
///
/// # Errors
/// When the file cannot be read, or is not a report of this version.
pub(crate) fn read(path: &Path) -> Result<Report> {
    // A pipe in its place would keep us waiting for ever.
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Error::Report { path: path.to_owned(), reason: "it is not a regular file".to_owned() });
    }
    let text = std::fs::read_to_string(path).map_err(file("read", path))?;
    Report::parse(&text).map_err(|error| Error::Report { path: path.to_owned(), reason: error.to_string() })
}

/// Where runs write: `out`, or the workspace's own folder. Absolute, since the programs start in the workspace's root.
pub(crate) fn out_folder(out: Option<&Path>) -> PathBuf {
    out.map_or_else(|| workspace::root().join(report::DEFAULT_OUT), workspace::absolute)
}

/// The committed report of a paper at a scale.
pub(crate) fn recorded_path(paper: &Paper, scale: Scale) -> PathBuf {
    workspace::root().join("reports").join(paper.slug).join(format!("{}.json", scale.name()))
}

/// The tallies of a paper's committed reports, from the quickest scale to the longest.
///
/// # Errors
/// When a committed report cannot be read.
pub(crate) fn recorded_tallies(paper: &Paper) -> Result<Vec<(Scale, Tally)>> {
    let mut tallies = Vec::new();
    for scale in Scale::ALL {
        let path = recorded_path(paper, scale);
        if path.is_file() {
            tallies.push((scale, read(&path)?.tally()));
        }
    }
    Ok(tallies)
}
