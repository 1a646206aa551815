//! The report of a run: `report.json` for tools, `report.md` and `report.html` for people.

mod escape;
mod html;
mod json;
mod markdown;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use serde::Serialize;

pub(crate) use escape::html as escape_html;
pub(crate) use words::short_number;

use crate::atomic_file;
use crate::context::Context;
use crate::error::Error;
use crate::paper::{Claim, Paper};
use crate::run_details::RunDetails;
use crate::terminal::show;
use crate::trial_store::file_name;
use crate::verdict::{Verdict, verdict};

/// A claim with what this run says about it: one object of `report.json`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ClaimRow {
    pub(crate) id: &'static str,
    pub(crate) statement: &'static str,
    pub(crate) published: Option<f64>,
    pub(crate) published_spread: Option<f64>,
    pub(crate) published_source: Option<&'static str>,
    pub(crate) measured: Option<f64>,
    pub(crate) spread: Option<f64>,
    pub(crate) unit: &'static str,
    pub(crate) trials: usize,
    pub(crate) data: String,
    pub(crate) is_synthetic: bool,
    pub(crate) verdict: Verdict,
    pub(crate) judged: String,
    pub(crate) note: Option<String>,
    /// Whether the run gave a value, finite or not.
    #[serde(skip)]
    pub(crate) is_measured: bool,
}

/// How much of a report's data is synthetic; shown at tables and plots, which have no flag of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Synthetic {
    None,
    Some,
    All,
}

/// All that a report shows.
pub(crate) struct Report<'a> {
    pub(crate) paper: &'static Paper,
    pub(crate) context: &'a Context,
    pub(crate) details: &'a RunDetails,
    pub(crate) is_complete: bool,
    pub(crate) elapsed: Duration,
    pub(crate) claims: Vec<ClaimRow>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(context: &'a Context, details: &'a RunDetails, is_complete: bool, elapsed: Duration) -> Self {
        let claims = context.paper.claims.iter().map(|claim| row(context, claim, is_complete)).collect();
        Self { paper: context.paper, context, details, is_complete, elapsed, claims }
    }

    /// Writes plots and reports. A shard that lacks results leaves the complete report of another as it is.
    pub(crate) fn write(&self) -> Result<(), Error> {
        let directory = self.context.directory();
        if !self.is_complete && self.context.shard.is_some() && json::is_complete_report(&directory.join("report.json"))
        {
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
        atomic_file::write(&directory.join("report.json"), self.json()?.as_bytes())
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
            show(&format!("{:<14}  {:<24}  {}", claim.verdict.words(), claim.id, claim.measured_words()));
        }
        show(&self.summary());
    }
}

fn row(context: &Context, claim: &Claim, is_complete: bool) -> ClaimRow {
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
        _ => None,
    };
    let own = measured.and_then(|measured| measured.note.clone());
    let notes: Vec<String> = remark.into_iter().chain(own).collect();
    ClaimRow {
        id: claim.id,
        statement: claim.statement,
        published: claim.published.map(|published| published.value),
        published_spread: claim.published.and_then(|published| published.spread).and_then(finite),
        published_source: claim.published.map(|published| published.source),
        measured: measured.and_then(|measured| finite(measured.value)),
        spread: measured.and_then(|measured| measured.spread).and_then(finite),
        unit: claim.unit,
        trials: measured.map_or(0, |measured| measured.trials),
        data: measured.map(|measured| measured.data.clone()).unwrap_or_default(),
        is_synthetic: measured.is_some_and(|measured| measured.is_synthetic),
        verdict: verdict(claim, context.scale(), is_complete, measured),
        judged: claim.judge.words(claim.unit),
        note: (!notes.is_empty()).then(|| notes.join("; ")),
        is_measured: measured.is_some(),
    }
}
