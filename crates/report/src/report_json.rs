//! `report.json`. Tools read it: fields may be added, none may change its meaning while [`SCHEMA`] stays.

use serde::{Deserialize, Serialize};

use crate::numbers::{number, significant};
use crate::text::quoted;
use crate::{Error, Scale};

/// The version of `report.json` that is written and read here.
pub const SCHEMA: u64 = 1;

/// A `report.json`: what a run says about the claims of a paper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u64,
    /// The paper's short name.
    pub paper: String,
    /// How much of the paper's protocol was carried out.
    pub scale: Scale,
    /// How long the run took, in seconds.
    pub seconds: f64,
    /// Whether every trial is in.
    #[serde(default = "yes")]
    pub complete: bool,
    /// The seed of the run.
    #[serde(default)]
    pub seed: u64,
    /// `cpu`, `cuda:N` or `metal:N`.
    #[serde(default)]
    pub device: String,
    /// The commit that was measured, with `-dirty` behind it when files differed from it.
    #[serde(default)]
    pub commit: Option<String>,
    /// Every claim of the paper, in the paper's order.
    pub claims: Vec<ClaimResult>,
}

fn yes() -> bool {
    true
}

/// One claim of the paper with what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClaimResult {
    /// The claim's stable name.
    pub id: String,
    /// The claim in one sentence.
    pub statement: String,
    /// The published value.
    pub published: Option<f64>,
    /// The spread of the published value.
    #[serde(default)]
    pub published_spread: Option<f64>,
    /// Where the published value stands, and whether it was read there or is quoted, recalled or derived.
    #[serde(default)]
    pub published_source: Option<String>,
    /// The measured value; `None` when nothing was measured or the value is not finite.
    pub measured: Option<f64>,
    /// The spread of the measured value over its trials.
    pub spread: Option<f64>,
    /// The unit of all these values; may be empty.
    #[serde(default)]
    pub unit: String,
    /// How many trials the value rests on.
    #[serde(default)]
    pub trials: usize,
    /// The data it was measured on.
    #[serde(default)]
    pub data: String,
    /// Whether these data were generated.
    #[serde(default)]
    pub is_synthetic: bool,
    /// The judgement.
    pub verdict: Verdict,
    /// The rule by which the verdict was reached.
    #[serde(default)]
    pub judged: String,
    /// What a reader must know beside the value.
    #[serde(default)]
    pub note: Option<String>,
}

/// What a run says about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Tested, and the judge accepts the measured value.
    Reproduced,
    /// Tested, and the judge does not accept the measured value.
    NotReproduced,
    /// Not tested: at this scale, by this judge, or because the run is not complete.
    NotTested,
}

/// What people are shown of a claim: its verdict, with `not-tested` told apart by whether there is a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Tested, and the judge accepts the measured value.
    Reproduced,
    /// Tested, and the judge does not accept the measured value.
    NotReproduced,
    /// Measured, and not judged.
    Reported,
    /// Not measured.
    NotTested,
}

impl Outcome {
    /// All outcomes, in the order in which tallies name them.
    pub const ALL: [Self; 4] = [Self::Reproduced, Self::NotReproduced, Self::Reported, Self::NotTested];

    /// The outcome in words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::NotReproduced => "not reproduced",
            Self::Reported => "reported",
            Self::NotTested => "not tested",
        }
    }

    /// The outcome as a name for classes and ids: its words with hyphens.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotReproduced => "not-reproduced",
            Self::NotTested => "not-tested",
            Self::Reproduced | Self::Reported => self.words(),
        }
    }
}

/// How many claims of one report are reproduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Claims that are reproduced.
    pub reproduced: usize,
    /// Claims that are reproduced or not; those that this scale does not test are not counted.
    pub tested: usize,
    /// Those of the tested claims whose data were synthetic.
    pub synthetic: usize,
}

impl Tally {
    /// `6/6, synthetic data`.
    pub fn words(self) -> String {
        let data = match self.synthetic {
            0 => "",
            some if some < self.tested => ", partly synthetic data",
            _ => ", synthetic data",
        };
        format!("{}/{}{data}", self.reproduced, self.tested)
    }
}

impl Report {
    /// Reads the text of a `report.json`. Fields that this version does not know are passed over.
    ///
    /// # Errors
    /// [`Error::InvalidReport`] when the text is not JSON, has another schema, or lacks a field.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = |reason: String| Error::InvalidReport { reason };
        // What serde_json says may quote a text of any length.
        let unreadable = |error: serde_json::Error| invalid(quoted(&error.to_string()));
        let value: serde_json::Value = serde_json::from_str(text).map_err(unreadable)?;
        match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(SCHEMA) => {}
            Some(other) => {
                return Err(invalid(format!("its schema is {other}, expected {SCHEMA}; run the paper again")));
            }
            None => return Err(invalid(format!("it has no integer `schema`, expected {SCHEMA}"))),
        }
        serde_json::from_value(value).map_err(unreadable)
    }

    /// The text of the `report.json`.
    ///
    /// # Errors
    /// [`Error::InvalidReport`] when the report cannot be written as JSON.
    pub fn text(&self) -> Result<String, Error> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|error| Error::InvalidReport { reason: error.to_string() })
    }

    /// How many of the claims are reproduced.
    pub fn tally(&self) -> Tally {
        let tested = || self.claims.iter().filter(|claim| claim.verdict != Verdict::NotTested);
        Tally {
            reproduced: tested().filter(|claim| claim.verdict == Verdict::Reproduced).count(),
            tested: tested().count(),
            synthetic: tested().filter(|claim| claim.is_synthetic).count(),
        }
    }

    /// How many of the claims have this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.claims.iter().filter(|claim| claim.outcome() == outcome).count()
    }

    /// Whether it was measured on exactly the files of a commit.
    pub fn is_clean(&self) -> bool {
        self.commit.as_deref().is_some_and(|commit| !commit.is_empty() && !commit.contains("dirty"))
    }
}

impl ClaimResult {
    /// The verdict as people are shown it: a value that was measured and not judged is [`Outcome::Reported`].
    pub fn outcome(&self) -> Outcome {
        match (self.verdict, self.measured) {
            (Verdict::Reproduced, _) => Outcome::Reproduced,
            (Verdict::NotReproduced, _) => Outcome::NotReproduced,
            (Verdict::NotTested, Some(_)) => Outcome::Reported,
            (Verdict::NotTested, None) => Outcome::NotTested,
        }
    }

    /// `85.6 ± 1.1 %`, or a dash. The numbers stand as the paper gives them.
    pub fn published_words(&self) -> String {
        let Some(value) = self.published else { return "–".into() };
        let spread = self.published_spread.map(|spread| format!(" ± {spread}")).unwrap_or_default();
        self.with_unit(format!("{value}{spread}"))
    }

    /// `85.61 ± 1.1 %`, or a dash: the measured value with its spread and unit. The data are not named.
    pub fn measured_words(&self) -> String {
        let Some(value) = self.measured else { return "–".into() };
        let spread = self.spread.map(|spread| format!(" ± {}", significant(spread, 2))).unwrap_or_default();
        self.with_unit(format!("{}{spread}", number(value)))
    }

    /// The data, called synthetic where they are.
    pub fn data_words(&self) -> String {
        if self.is_synthetic && !self.data.contains("synthetic") {
            format!("{} (synthetic)", self.data).trim_start().to_owned()
        } else {
            self.data.clone()
        }
    }

    fn with_unit(&self, text: String) -> String {
        if self.unit.is_empty() { text } else { format!("{text} {}", self.unit) }
    }
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
        assert_eq!(report(&claims.join(",")).tally().words(), "1/2");
    }

    #[test]
    fn synthetic_data_is_named_beside_the_tally() {
        assert_eq!(report(&claim("reproduced", true)).tally().words(), "1/1, synthetic data");
        let mixed = [claim("reproduced", true), claim("reproduced", false)];
        assert_eq!(report(&mixed.join(",")).tally().words(), "2/2, partly synthetic data");
    }

    #[test]
    fn a_value_without_a_judgement_is_reported() {
        let mut report = report(&[claim("not-tested", false), claim("reproduced", true)].join(","));
        assert_eq!(report.claims[0].outcome(), Outcome::Reported);
        assert_eq!((report.count(Outcome::Reported), report.count(Outcome::Reproduced)), (1, 1));
        report.claims[0].measured = None;
        assert_eq!(report.claims[0].outcome().words(), "not tested");
        let text = report.text().unwrap();
        assert!(text.contains("\"verdict\": \"not-tested\""), "{text}");
        assert!(Outcome::ALL.iter().all(|outcome| outcome.name().replace('-', " ") == outcome.words()));
    }

    #[test]
    fn a_report_of_another_schema_is_refused() {
        let error = Report::parse(r#"{"schema":2,"claims":[]}"#).unwrap_err().to_string();
        assert!(error.contains("schema is 2"), "{error}");
    }

    #[test]
    fn a_report_without_a_commit_is_not_clean() {
        assert!(!report("").is_clean());
    }

    #[test]
    fn values_are_printed_with_spread_and_unit() {
        let mut claim = report(&claim("reproduced", true)).claims.remove(0);
        assert_eq!((claim.published_words(), claim.measured_words()), ("–".to_owned(), "1.000".to_owned()));
        claim.published = Some(85.6);
        claim.published_spread = Some(1.1);
        claim.spread = Some(0.123);
        claim.unit = "%".to_owned();
        assert_eq!(claim.published_words(), "85.6 ± 1.1 %");
        assert_eq!(claim.measured_words(), "1.000 ± 0.12 %");
        assert_eq!(claim.data_words(), "d (synthetic)");
    }
}
