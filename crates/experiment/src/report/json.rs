//! `report.json`. Tools read it: fields may be added, none may change its meaning while `schema` is 1.

use std::path::Path;

use serde::Serialize;

use super::{ClaimRow, Report};
use crate::error::Error;

#[derive(Serialize)]
struct ReportFile<'a> {
    schema: u32,
    paper: &'a str,
    scale: &'a str,
    seconds: f64,
    complete: bool,
    seed: u64,
    device: &'a str,
    commit: Option<String>,
    claims: &'a [ClaimRow],
}

impl Report<'_> {
    pub(crate) fn json(&self) -> Result<String, Error> {
        let file = ReportFile {
            schema: 1,
            paper: self.paper.slug,
            scale: self.context.scale().name(),
            // Milliseconds are enough, and keep the number short.
            seconds: (self.elapsed.as_secs_f64() * 1e3).round() / 1e3,
            complete: self.is_complete,
            seed: self.context.seed(),
            device: self.context.device(),
            commit: self.commit_words(),
            claims: &self.claims,
        };
        let text = serde_json::to_string_pretty(&file)
            .map_err(|error| Error::Stored { what: "report.json".into(), problem: error.to_string() })?;
        Ok(text + "\n")
    }
}

/// Whether a report of a complete run lies there.
pub(crate) fn is_complete_report(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let report: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    report.and_then(|report| report.get("complete")?.as_bool()).unwrap_or(false)
}
