//! Numbers and sentences that the report's forms share.

use super::{ClaimRow, Report, Synthetic};
use crate::paper::Scale;
use crate::verdict::Verdict;

/// A number for people: 4 significant digits; the exact number is in `report.json`.
pub(crate) fn number(value: f64) -> String {
    significant(value, 4)
}

/// A number for a small place: 3 significant digits, without zeros at the end.
pub(crate) fn short_number(value: f64) -> String {
    let text = significant(value, 3);
    if text.contains('e') || !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    // Printing in scientific form first rounds, so that 9.9999 counts as 10.
    let scientific = format!("{value:.*e}", digits - 1);
    let exponent: i32 = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    if !(-4..7).contains(&exponent) {
        return scientific;
    }
    let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
    format!("{value:.decimals$}")
}

/// The claims' unit after a number: `%` follows at once in tables of percentages, words after a space.
fn with_unit(text: String, unit: &str) -> String {
    if unit.is_empty() { text } else { format!("{text} {unit}") }
}

impl ClaimRow {
    /// `85.6 ± 1.1 %`, or a dash. The numbers stand as the paper gives them.
    pub(crate) fn published_words(&self) -> String {
        let Some(value) = self.published else { return "–".into() };
        let spread = self.published_spread.map(|spread| format!(" ± {spread}")).unwrap_or_default();
        with_unit(format!("{value}{spread}"), self.unit)
    }

    /// The measured value with its spread and unit, or a dash, without the mark for synthetic data.
    pub(crate) fn measured_number(&self) -> String {
        let Some(value) = self.measured else {
            return if self.is_measured { "not finite".into() } else { "–".into() };
        };
        let spread = self.spread.map(|spread| format!(" ± {}", significant(spread, 2))).unwrap_or_default();
        with_unit(format!("{}{spread}", number(value)), self.unit)
    }

    /// The measured value with the mark for synthetic data.
    pub(crate) fn measured_words(&self) -> String {
        let mark = if self.is_synthetic { " (synthetic data)" } else { "" };
        format!("{}{mark}", self.measured_number())
    }

    /// `10 trials on MUTAG`.
    pub(crate) fn origin_words(&self) -> String {
        let trials = match self.trials {
            0 => return self.data.clone(),
            1 => "1 trial".to_owned(),
            count => format!("{count} trials"),
        };
        if self.data.is_empty() { trials } else { format!("{trials} on {}", self.data) }
    }
}

impl Synthetic {
    /// A remark for captions.
    pub(crate) fn caption(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Some => "partly synthetic data",
            Self::All => "synthetic data",
        }
    }
}

impl Report<'_> {
    /// `2 of 3 tested claims reproduced; 1 not tested`.
    pub(crate) fn summary(&self) -> String {
        let reproduced = self.count(Verdict::Reproduced);
        let not_tested = self.count(Verdict::NotTested);
        let tested = self.claims.len() - not_tested;
        let claims = |count: usize| if count == 1 { "claim" } else { "claims" };
        let tested_words = match tested {
            0 => "No claim tested".to_owned(),
            _ => format!("{reproduced} of {tested} tested {} reproduced", claims(tested)),
        };
        let not_tested_words = if not_tested > 0 { format!("; {not_tested} not tested") } else { String::new() };
        let incomplete = if self.is_complete { "" } else { " (the run is not complete)" };
        format!("{tested_words}{not_tested_words}{incomplete}")
    }

    /// The commit, marked as dirty when not all results come from exactly its files.
    pub(crate) fn commit_words(&self) -> Option<String> {
        let words = self.details.commit_words()?;
        let is_mixed = self.context.trials_of_other_commits() > 0 && !words.ends_with("-dirty");
        Some(if is_mixed { words + "-dirty" } else { words })
    }

    /// The command that makes this report again.
    pub(crate) fn command(&self) -> String {
        let arguments = &self.context.arguments;
        let mut command = format!("cargo xtask reproduce {}", self.paper.slug);
        if arguments.scale != Scale::Smoke {
            command.push_str(&format!(" --scale {}", arguments.scale.name()));
        }
        command.push_str(&format!(" --seed {} --device {}", arguments.seed, shell_word(&arguments.device)));
        if arguments.synthetic {
            command.push_str(" --synthetic");
        }
        command
    }

    /// Details of the run as pairs of name and value.
    pub(crate) fn run_facts(&self) -> Vec<(&'static str, String)> {
        let details = self.details;
        let machine = &details.machine;
        let unknown = || "unknown".to_owned();
        let memory =
            machine.memory_bytes.map(|bytes| format!(", {:.1} GiB memory", bytes as f64 / (1u64 << 30) as f64));
        let cores = machine.cores.map(|cores| format!("{cores} cores, ")).unwrap_or_default();
        let build = if details.is_release_build { "release build" } else { "debug build" };
        let package = |name: &str| {
            let prefix = format!("{name} ");
            details.packages.iter().find(|package| package.starts_with(&prefix)).cloned()
        };
        let packages: Vec<String> = ["candle-core", "candle-nn"].iter().filter_map(|name| package(name)).collect();
        let mut facts = vec![
            ("Commit", self.commit_words().unwrap_or_else(unknown)),
            ("Started", details.started.clone()),
            (
                "Seconds",
                format!(
                    "{:.1} for this run, {:.1} in all trials",
                    self.elapsed.as_secs_f64(),
                    self.context.trial_time().as_secs_f64()
                ),
            ),
            ("Seed", self.context.seed().to_string()),
            ("Device", self.context.device().to_owned()),
            (
                "Machine",
                format!("{cores}{}{}", machine.processor.clone().unwrap_or_else(unknown), memory.unwrap_or_default()),
            ),
            ("System", format!("{}, {}", machine.operating_system, machine.architecture)),
            ("Compiler", format!("{}, {build}", details.rustc.clone().unwrap_or_else(unknown))),
        ];
        let of_others = self.context.trials_of_other_commits();
        if of_others > 0 {
            let all = self.context.content.trials.len();
            facts.insert(1, ("Resumed", format!("{of_others} of {all} trials were made by other commits")));
        }
        if !packages.is_empty() {
            facts.push(("Libraries", packages.join(", ")));
        }
        facts
    }

    /// `group: done of all trials, seconds` for each group in order.
    pub(crate) fn group_facts(&self) -> Vec<(String, usize, usize, f64)> {
        let mut groups: Vec<(String, usize, usize, f64)> = Vec::new();
        for trial in &self.context.content.trials {
            if groups.last().is_none_or(|group| group.0 != trial.group) {
                groups.push((trial.group.clone(), 0, 0, 0.0));
            }
            if let Some(group) = groups.last_mut() {
                group.1 += usize::from(trial.seconds.is_some());
                group.2 += 1;
                group.3 += trial.seconds.unwrap_or(0.0);
            }
        }
        groups
    }
}

fn shell_word(word: &str) -> String {
    let is_plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_:./,=".contains(c));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_four_significant_digits() {
        for (value, expected) in [
            (85.6123, "85.61"),
            (0.0, "0"),
            (9.99999, "10.00"),
            (0.012345, "0.01235"),
            (1234567.0, "1234567"),
            (12345678.0, "1.235e7"),
            (-0.000012345, "-1.234e-5"),
            (f64::NAN, "NaN"),
        ] {
            // 0.000012345 lies just below the decimal number, so it rounds down.
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn words_of_a_command_are_quoted_when_they_have_to_be() {
        assert_eq!(shell_word("cuda:0"), "cuda:0");
        assert_eq!(shell_word("a'; rm"), "'a'\\''; rm'");
    }
}
