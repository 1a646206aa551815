//! The report of a run: `report.json` for tools, `report.md` and `report.html` for people.

mod escape;
mod html;
mod markdown;
#[cfg(test)]
mod tests;
mod words;

use std::path::Path;
use std::time::Duration;

use report::{ClaimResult, REPORT_FILE, Report, SCHEMA, Verdict};

pub(crate) use escape::html as escape_html;
pub(crate) use html::{STYLE, html_table, scrolling};

use crate::atomic_file;
use crate::context::Context;
use crate::error::Error;
use crate::paper::{Claim, Paper};
use crate::regular_file;
use crate::run_details::RunDetails;
use crate::terminal::show;
use crate::trial_store::file_name;
use crate::verdict::verdict;

/// How much of a report's data is synthetic; shown at tables and plots, which have no flag of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Synthetic {
    None,
    Some,
    All,
}

/// All that a report shows.
pub(crate) struct FullReport<'a> {
    pub(crate) paper: &'static Paper,
    pub(crate) context: &'a Context,
    pub(crate) details: &'a RunDetails,
    pub(crate) is_complete: bool,
    pub(crate) elapsed: Duration,
    pub(crate) claims: Vec<ClaimResult>,
}

impl<'a> FullReport<'a> {
    pub(crate) fn new(context: &'a Context, details: &'a RunDetails, is_complete: bool, elapsed: Duration) -> Self {
        let claims = context.paper.claims.iter().map(|claim| result(context, claim, is_complete)).collect();
        Self { paper: context.paper, context, details, is_complete, elapsed, claims }
    }

    /// Writes plots and reports. A shard that lacks results leaves the complete report of another as it is.
    pub(crate) fn write(&self) -> Result<(), Error> {
        let directory = self.context.directory();
        let path = directory.join(REPORT_FILE);
        if !self.is_complete && self.context.shard.is_some() && is_complete_report(&path) {
            return Ok(());
        }
        for (name, plot) in &self.context.content.plots {
            let path = |extension: &str| directory.join("plots").join(format!("{}.{extension}", file_name(name)));
            atomic_file::write_in_new_folder(
                &path("svg"),
                plot.svg_file(name, self.synthetic().caption())?.as_bytes(),
            )?;
            atomic_file::write_in_new_folder(&path("csv"), plot.csv().as_bytes())?;
        }
        atomic_file::write(&directory.join("report.md"), self.markdown().as_bytes())?;
        atomic_file::write(&directory.join("report.html"), self.html()?.as_bytes())?;
        // Last: whoever sees report.json finds the rest.
        let stored_error = |error: report::Error| Error::Stored { what: REPORT_FILE.into(), reason: error.to_string() };
        atomic_file::write(&path, self.for_tools().text().map_err(stored_error)?.as_bytes())
    }

    /// The content of `report.json`.
    pub(crate) fn for_tools(&self) -> Report {
        Report {
            schema: SCHEMA,
            paper: self.paper.slug.to_owned(),
            scale: self.context.scale(),
            // Milliseconds are enough, and keep the number short.
            seconds: (self.elapsed.as_secs_f64() * 1e3).round() / 1e3,
            complete: self.is_complete,
            seed: self.context.seed(),
            device: self.context.device().to_owned(),
            commit: self.commit_words(),
            claims: self.claims.clone(),
        }
    }

    /// Whether a tested claim is not reproduced.
    pub(crate) fn is_refuted(&self) -> bool {
        self.count(Verdict::NotReproduced) > 0
    }

    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.claims.iter().filter(|claim| claim.verdict == verdict).count()
    }

    pub(crate) fn synthetic(&self) -> Synthetic {
        let mut measured = self.context.content.measured.values().map(|measured| measured.is_synthetic).peekable();
        if self.context.is_synthetic()
            || (measured.peek().is_some() && measured.clone().all(|is_synthetic| is_synthetic))
        {
            Synthetic::All
        } else if measured.any(|is_synthetic| is_synthetic) {
            Synthetic::Some
        } else {
            Synthetic::None
        }
    }

    /// Prints the claims to standard output.
    pub(crate) fn print(&self) {
        for claim in &self.claims {
            show(&format!("{:<14}  {:<24}  {}", claim.outcome().words(), claim.id, self.measured_words(claim)));
        }
        show(&self.summary());
    }
}

/// Whether a report of a complete run lies there.
fn is_complete_report(path: &Path) -> bool {
    let text = regular_file::read(path).unwrap_or_default();
    Report::parse(&text).is_ok_and(|report| report.complete)
}

fn result(context: &Context, claim: &Claim, is_complete: bool) -> ClaimResult {
    let measured = context.content.measured.get(claim.id);
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    let scales: Vec<_> = claim.scales.iter().map(|scale| scale.name()).collect();
    let is_expected = claim.scales.contains(&context.scale());
    let remark = match measured {
        Some(measured) if !measured.value.is_finite() => Some(format!("the measured value is {}", measured.value)),
        None if is_expected && is_complete => Some("this run gave no value".to_owned()),
        _ if is_expected && !is_complete => Some("the run is not complete".to_owned()),
        _ if !is_expected && scales.is_empty() => Some("tested at no scale".to_owned()),
        _ if !is_expected => Some(format!("tested at scale {}", scales.join(", "))),
        Some(measured) if measured.is_slowed_by_checks() => {
            Some("built with debug assertions, so times are not judged".to_owned())
        }
        _ => None,
    };
    let own = measured.and_then(|measured| measured.note.clone());
    let notes: Vec<String> = remark.into_iter().chain(own).collect();
    ClaimResult {
        id: claim.id.to_owned(),
        statement: claim.statement.to_owned(),
        published: claim.published.map(|published| published.value),
        published_spread: claim.published.and_then(|published| published.spread).and_then(finite),
        published_source: claim.published.map(|published| published.source.to_owned()),
        measured: measured.and_then(|measured| finite(measured.value)),
        spread: measured.and_then(|measured| measured.spread).and_then(finite),
        unit: claim.unit.to_owned(),
        trials: measured.map_or(0, |measured| measured.trials),
        data: measured.map(|measured| measured.data.clone()).unwrap_or_default(),
        is_synthetic: measured.is_some_and(|measured| measured.is_synthetic),
        verdict: verdict(claim, context.scale(), is_complete, measured),
        judged: claim.judge.words(claim.unit),
        note: (!notes.is_empty()).then(|| notes.join("; ")),
    }
}
