//! What is known of the papers.

use std::path::{Path, PathBuf};

use report::{Outcome, Report, Scale, run_directory};

use crate::error::Result;
use crate::papers::{PAPERS, Paper};
use crate::reproduction::{Run, read, recorded_path};

/// What is known of a paper at a scale.
pub(super) struct Entry {
    pub(super) scale: Scale,
    pub(super) report: Report,
    /// The folder of the run; none for a committed report.
    pub(super) folder: Option<PathBuf>,
}

/// A paper with what is known of it, the longest scale first.
pub(super) struct Row {
    pub(super) paper: &'static Paper,
    pub(super) entries: Vec<Entry>,
}

/// Of each paper and scale the run below `out`, else the committed report.
///
/// # Errors
/// When a report cannot be read.
pub(super) fn rows(runs: &[Run], out: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::with_capacity(PAPERS.len());
    for paper in &PAPERS {
        let mut entries = Vec::new();
        for scale in [Scale::Paper, Scale::Laptop, Scale::Smoke] {
            let run = runs.iter().find(|run| run.paper.slug == paper.slug && run.scale == scale);
            let recorded = recorded_path(paper, scale);
            if let Some(run) = run {
                let folder = Some(run_directory(out, paper.slug, scale));
                entries.push(Entry { scale, report: run.report.clone(), folder });
            } else if recorded.is_file() {
                entries.push(Entry { scale, report: read(&recorded)?, folder: None });
            }
        }
        rows.push(Row { paper, entries });
    }
    Ok(rows)
}

/// How many papers have how much.
pub(super) fn summary(rows: &[Row]) -> String {
    let count = |outcome: Outcome| -> usize {
        rows.iter().filter_map(|row| row.entries.first()).map(|entry| entry.report.count(outcome)).sum()
    };
    let with = rows.iter().filter(|row| !row.entries.is_empty()).count();
    let counts: Vec<String> =
        Outcome::ALL.iter().map(|&outcome| format!("{} {}", count(outcome), outcome.words())).collect();
    format!("{with} of {} papers have results. Claims at the longest scale of each: {}.", rows.len(), counts.join(", "))
}

/// `12 reproduced, 1 not reproduced, 4 reported`.
pub(super) fn counts(report: &Report) -> String {
    let counts = Outcome::ALL.map(|outcome| (report.count(outcome), outcome.words()));
    let words: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}")).collect();
    words.join(", ")
}
