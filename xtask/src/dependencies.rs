//! Checks of what the workspace depends on, by tools that are not part of Rust: a step skips itself without its own.

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
    let code = process::run(workspace::cargo().args(["deny", "check", "advisories"]))?;
    let problem = "advisories, or no way to fetch them: see above; this does not fail the run";
    Ok(if code == 0 { Outcome::Passed } else { Outcome::Noted(problem.to_owned()) })
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
