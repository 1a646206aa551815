//! What a finished reproduction says: `report.json`, and the tally of its claims.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result, file};
use crate::papers::{Paper, Scale};
use crate::workspace;

/// The version of `report.json` that this xtask reads.
const SCHEMA: u64 = 1;

/// A `report.json`; fields that are not needed here are left out.
#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) paper: String,
    pub(crate) scale: String,
    pub(crate) seconds: f64,
    /// The commit that was measured, with `-dirty` behind it when files differed from it
    #[serde(default)]
    pub(crate) commit: Option<String>,
    /// Whether every trial is in; absent means yes
    #[serde(default = "yes")]
    pub(crate) complete: bool,
    pub(crate) claims: Vec<Claim>,
}

fn yes() -> bool {
    true
}

/// One claim of the paper with what was measured.
#[derive(Debug, Deserialize)]
pub(crate) struct Claim {
    pub(crate) id: String,
    pub(crate) statement: String,
    pub(crate) published: Option<f64>,
    pub(crate) measured: Option<f64>,
    pub(crate) spread: Option<f64>,
    #[serde(default)]
    pub(crate) unit: String,
    #[serde(default)]
    pub(crate) data: String,
    #[serde(default)]
    pub(crate) is_synthetic: bool,
    pub(crate) verdict: Verdict,
}

/// The judgement of one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Reproduced,
    NotReproduced,
    NotTested,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::NotReproduced => "not reproduced",
            Self::NotTested => "not tested",
        }
    }
}

impl Claim {
    /// `12.5 ± 0.3 %`, or a dash when nothing was measured.
    pub(crate) fn measured_text(&self) -> String {
        let Some(measured) = self.measured else { return "-".to_owned() };
        let spread = self.spread.map(|spread| format!(" ± {}", number(spread))).unwrap_or_default();
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        format!("{}{spread}{unit}", number(measured))
    }

    /// The published value, or a dash when the paper names none.
    pub(crate) fn published_text(&self) -> String {
        self.published.map_or_else(|| "-".to_owned(), number)
    }

    /// The data set, called synthetic where it is.
    pub(crate) fn data_text(&self) -> String {
        if self.is_synthetic && !self.data.contains("synthetic") {
            format!("{} (synthetic)", self.data).trim_start().to_owned()
        } else {
            self.data.clone()
        }
    }
}

/// Four significant digits, without the zeros that carry nothing.
fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor();
    if !(-4.0..9.0).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    // The range above makes the difference a small integer; large values need no decimals at all.
    let decimals = (3.0 - magnitude).max(0.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// How many claims of one report stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) reproduced: usize,
    /// Reproduced or not; claims that this scale does not test are not counted
    pub(crate) tested: usize,
    /// Those of the tested ones whose data were synthetic
    pub(crate) synthetic: usize,
}

impl Tally {
    /// `6/6, synthetic data`.
    pub(crate) fn text(&self) -> String {
        let data = match self.synthetic {
            0 => "",
            some if some < self.tested => ", partly synthetic data",
            _ => ", synthetic data",
        };
        format!("{}/{}{data}", self.reproduced, self.tested)
    }
}

impl Report {
    /// Reads and checks a `report.json`.
    ///
    /// # Errors
    /// When the file cannot be read, or is not a report of [`SCHEMA`].
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(file("read", path))?;
        Self::parse(&text).map_err(|problem| Error::Report { path: path.to_owned(), problem })
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(SCHEMA) => {}
            Some(other) => return Err(format!("its schema is {other}, expected {SCHEMA}; run the paper again")),
            None => return Err(format!("it has no integer `schema`, expected {SCHEMA}")),
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    pub(crate) fn tally(&self) -> Tally {
        let tested = || self.claims.iter().filter(|claim| claim.verdict != Verdict::NotTested);
        Tally {
            reproduced: tested().filter(|claim| claim.verdict == Verdict::Reproduced).count(),
            tested: tested().count(),
            synthetic: tested().filter(|claim| claim.is_synthetic).count(),
        }
    }

    /// Whether it was measured on exactly the files of a commit.
    pub(crate) fn is_clean(&self) -> bool {
        self.commit.as_deref().is_some_and(|commit| !commit.is_empty() && !commit.contains("dirty"))
    }
}

/// Where runs write unless `--out` says otherwise.
pub(crate) fn default_out() -> PathBuf {
    workspace::root().join("target").join("reproduce")
}

/// The folder of one paper's run at one scale.
pub(crate) fn folder(out: &Path, paper: &Paper, scale: Scale) -> PathBuf {
    out.join(paper.slug).join(scale.name())
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
            tallies.push((scale, Report::read(&path)?.tally()));
        }
    }
    Ok(tallies)
}

/// `smoke 6/6, synthetic data; laptop 7/9`, or `none` without any report.
pub(crate) fn tallies_text(tallies: &[(Scale, Tally)]) -> String {
    if tallies.is_empty() {
        return "none yet".to_owned();
    }
    tallies.iter().map(|(scale, tally)| format!("{} {}", scale.name(), tally.text())).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(claims: &str) -> Report {
        Report::parse(&format!(
            r#"{{"schema":1,"paper":"sep","scale":"smoke","seconds":1.5,"later_field":0,"claims":[{claims}]}}"#
        ))
        .unwrap()
    }

    fn claim(verdict: &str, is_synthetic: bool) -> String {
        format!(
            r#"{{"id":"a","statement":"s","published":null,"measured":1.0,"spread":null,"trials":1,"data":"d",
                "is_synthetic":{is_synthetic},"verdict":"{verdict}"}}"#
        )
    }

    #[test]
    fn claims_that_were_not_tested_do_not_count() {
        let claims = [claim("reproduced", false), claim("not-reproduced", false), claim("not-tested", false)];
        assert_eq!(report(&claims.join(",")).tally().text(), "1/2");
    }

    #[test]
    fn synthetic_data_is_named_beside_the_tally() {
        assert_eq!(report(&claim("reproduced", true)).tally().text(), "1/1, synthetic data");
        let mixed = [claim("reproduced", true), claim("reproduced", false)];
        assert_eq!(report(&mixed.join(",")).tally().text(), "2/2, partly synthetic data");
    }

    #[test]
    fn a_report_of_another_schema_is_refused() {
        let problem = Report::parse(r#"{"schema":2,"claims":[]}"#).unwrap_err();
        assert!(problem.contains("schema is 2"), "{problem}");
    }

    #[test]
    fn a_report_without_a_commit_is_not_clean() {
        assert!(!report("").is_clean());
    }

    #[test]
    fn numbers_keep_four_significant_digits() {
        assert_eq!(number(81.70000001), "81.7");
        assert_eq!(number(0.012345), "0.01235");
        assert_eq!(number(123_456.0), "123456");
        assert_eq!(number(-0.5), "-0.5");
        assert_eq!(number(1.0e-7), "1.000e-7");
    }
}
