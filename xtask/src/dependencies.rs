//! Checks of what the workspace depends on, by tools that are not part of Rust: a step skips itself without its own.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::type_check::Outcome;
use crate::{process, workspace};

/// Licences, bans and sources, as `deny.toml` allows them.
///
/// # Errors
/// When cargo does not start.
pub(crate) fn licences() -> Result<Outcome> {
    if !is_installed("deny") {
        return Ok(Outcome::Skipped("cargo-deny is absent: cargo install --locked cargo-deny".to_owned()));
    }
    let code = process::run(workspace::cargo().args(["deny", "check", "licenses", "bans", "sources"]))?;
    Ok(if code == 0 { Outcome::Passed } else { Outcome::Failed })
}

/// Published vulnerabilities. Never fails: they come from the network, and a new one would fail an unchanged commit.
///
/// # Errors
/// When cargo does not start.
pub(crate) fn advisories() -> Result<Outcome> {
    if !is_installed("deny") {
        return Ok(Outcome::Skipped("cargo-deny is absent: cargo install --locked cargo-deny".to_owned()));
    }
    let mut found = BTreeSet::new();
    let mut command = workspace::cargo();
    let code =
        process::run_reading_errors(command.args(["deny", "--color", "never", "check", "advisories"]), |line| {
            found.extend(advisory_names(line));
            complain!("{line}");
        })?;
    Ok(judged(code, &found))
}

fn judged(code: i32, found: &BTreeSet<String>) -> Outcome {
    let names: Vec<&str> = found.iter().map(String::as_str).collect();
    match (code, names.len()) {
        (0, 0) => Outcome::Passed,
        (_, 0) => Outcome::Noted("advisories could not be fetched or read: see above; this fails nothing".to_owned()),
        (_, 1) => Outcome::Noted(format!("1 advisory: {}; this fails nothing", names.join(", "))),
        (_, count) => Outcome::Noted(format!("{count} advisories: {}; this fails nothing", names.join(", "))),
    }
}

/// The names of the advisories in a line, such as RUSTSEC-2024-0001.
fn advisory_names(line: &str) -> impl Iterator<Item = String> {
    line.match_indices("RUSTSEC-").filter_map(|(at, start)| {
        let rest = &line[at + start.len()..];
        let length = rest.find(|character: char| !character.is_ascii_digit() && character != '-').unwrap_or(rest.len());
        let number = rest[..length].trim_end_matches('-');
        (number.len() == 9).then(|| format!("{start}{number}"))
    })
}

/// Dependencies that nobody uses: by cargo-shear, which also sees those of the workspace, else by cargo-machete.
///
/// # Errors
/// When cargo does not start.
pub(crate) fn unused() -> Result<Outcome> {
    let Some(tool) = ["shear", "machete"].into_iter().find(|tool| is_installed(tool)) else {
        let remedy = "cargo install --locked cargo-shear (or cargo-machete)";
        return Ok(Outcome::Skipped(format!("cargo-shear and cargo-machete are absent: {remedy}")));
    };
    let code = process::run(workspace::cargo().arg(tool))?;
    Ok(if code == 0 { Outcome::Passed } else { Outcome::Failed })
}

/// Whether cargo has this command.
fn is_installed(command: &str) -> bool {
    process::output(workspace::cargo().args([command, "--version"])).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_says_which_advisories_there_are_and_never_fails() {
        let lines =
            ["error[vulnerability]: a", "   ├ ID: RUSTSEC-2024-0421", "= https://x/RUSTSEC-2021-0145.html, RUSTSEC-x"];
        let found: BTreeSet<String> = lines.iter().flat_map(|line| advisory_names(line)).collect();
        let said = judged(1, &found).word();
        assert!(said.starts_with("noted: 2 advisories: RUSTSEC-2021-0145, RUSTSEC-2024-0421"), "{said}");
        assert_eq!(judged(0, &BTreeSet::new()), Outcome::Passed);
        for code in [1, 2, 101, 143] {
            assert!(matches!(judged(code, &BTreeSet::new()), Outcome::Noted(_)));
        }
    }
}
