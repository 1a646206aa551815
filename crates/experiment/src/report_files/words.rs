//! Sentences that the report's forms share.

use report::{ClaimResult, Outcome, Scale, Verdict};

use super::{FullReport, Synthetic};

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

impl FullReport<'_> {
    /// The measured value with its spread and unit, without the mark for synthetic data.
    pub(crate) fn measured_number(&self, claim: &ClaimResult) -> String {
        let is_measured = self.context.content.measured.contains_key(&claim.id);
        if is_measured && claim.measured.is_none() { "not finite".into() } else { claim.measured_words() }
    }

    /// The measured value with the mark for synthetic data.
    pub(crate) fn measured_words(&self, claim: &ClaimResult) -> String {
        let mark = if claim.is_synthetic { " (synthetic data)" } else { "" };
        format!("{}{mark}", self.measured_number(claim))
    }

    /// `2 of 3 tested claims reproduced; 1 reported, 1 not tested`.
    pub(crate) fn summary(&self) -> String {
        let (reproduced, refuted) = (self.count(Verdict::Reproduced), self.count(Verdict::NotReproduced));
        let tested = reproduced + refuted;
        let claims = |count: usize| if count == 1 { "claim" } else { "claims" };
        let tested_words = match tested {
            0 => "No claim tested".to_owned(),
            _ => format!("{reproduced} of {tested} tested {} reproduced", claims(tested)),
        };
        let rest: Vec<String> = [Outcome::Reported, Outcome::NotTested]
            .map(|outcome| (self.claims.iter().filter(|claim| claim.outcome() == outcome).count(), outcome.words()))
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, words)| format!("{count} {words}"))
            .collect();
        let separator = if rest.is_empty() { "" } else { "; " };
        let incomplete = if self.is_complete { "" } else { " (the run is not complete)" };
        format!("{tested_words}{separator}{}{incomplete}", rest.join(", "))
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

/// `10 trials on MUTAG`.
pub(crate) fn origin_words(claim: &ClaimResult) -> String {
    let trials = match claim.trials {
        0 => return claim.data.clone(),
        1 => "1 trial".to_owned(),
        count => format!("{count} trials"),
    };
    if claim.data.is_empty() { trials } else { format!("{trials} on {}", claim.data) }
}

fn shell_word(word: &str) -> String {
    let is_plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_:./,=".contains(c));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_command_are_quoted_when_they_have_to_be() {
        assert_eq!(shell_word("cuda:0"), "cuda:0");
        assert_eq!(shell_word("a'; rm"), "'a'\\''; rm'");
    }
}
