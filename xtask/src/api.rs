//! `cargo xtask api`: the public items of every library, one a line, beside what is committed, so that a change of them is seen in review.

mod items;
mod types;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::error::{Error, Result, file};
use crate::type_check::Outcome;
use crate::workspace::Package;
use crate::{exit, process, workspace};

/// Compare the public items of every library with the committed `crates/<crate>/api.txt`
///
/// Needs a nightly toolchain (rustup toolchain install nightly --profile minimal): rustdoc describes items as JSON there alone.
#[derive(Debug, Args)]
pub(crate) struct Api {
    /// Write the files anew
    #[arg(long)]
    record: bool,
}

/// What a library has and what its file says.
struct Listing {
    path: PathBuf,
    lines: BTreeSet<String>,
}

/// Compares or records; returns 0, or 1 when a file does not agree.
///
/// # Errors
/// When rustdoc fails, or a file cannot be read or written.
pub(crate) fn run(arguments: &Api) -> Result<u8> {
    let listings = listings()?;
    if arguments.record {
        for Listing { path, lines } in &listings {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            std::fs::write(path, text).map_err(file("write", path))?;
            say!("{}: {} lines", workspace::shown(path), lines.len());
        }
        return Ok(exit::OK);
    }
    let mut code = exit::OK;
    for Listing { path, lines } in &listings {
        let committed = committed(path)?;
        let (gone, new): (Vec<_>, Vec<_>) =
            (committed.difference(lines).collect(), lines.difference(&committed).collect());
        if gone.is_empty() && new.is_empty() {
            continue;
        }
        code = exit::ERROR;
        say!("{} does not agree with the code (`cargo xtask api --record` writes it anew):", workspace::shown(path));
        gone.iter().for_each(|line| say!("  - {line}"));
        new.iter().for_each(|line| say!("  + {line}"));
    }
    Ok(code)
}

/// [`run`] without recording, where there is a nightly toolchain.
///
/// # Errors
/// As for [`run`].
pub(crate) fn check() -> Result<Outcome> {
    if process::output(workspace::nightly_cargo().arg("--version")).is_err() {
        let remedy = "rustup toolchain install nightly --profile minimal";
        return Ok(Outcome::Skipped(format!("a nightly toolchain is absent: {remedy}")));
    }
    Ok(Outcome::of(run(&Api { record: false })?))
}

fn committed(path: &Path) -> Result<BTreeSet<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(file("read", path)(error)),
    }
}

/// The public items of every library under `crates/`, with its default features.
fn listings() -> Result<Vec<Listing>> {
    let metadata = workspace::metadata()?;
    let folder = metadata.target_directory.join("api");
    let libraries: Vec<&Package> = metadata
        .packages
        .iter()
        .filter(|package| package.directory().parent() == Some(&workspace::root().join("crates")))
        .collect();
    let mut command = workspace::nightly_cargo();
    command.args(["doc", "--lib", "--no-deps", "--config", r#"profile.dev.package."*".opt-level=0"#, "--target-dir"]);
    command.arg(&folder).env("RUSTDOCFLAGS", "-Z unstable-options --output-format json");
    for library in &libraries {
        command.args(["--package", &library.name]);
    }
    if process::run(&mut command)? != 0 {
        return Err(Error::Failed("rustdoc of the nightly toolchain failed".to_owned()));
    }
    let listing = |library: &&Package| {
        let path = folder.join("doc").join(library.name.replace('-', "_")).with_extension("json");
        let text = std::fs::read_to_string(&path).map_err(file("read", &path))?;
        let json: Value =
            serde_json::from_str(&text).map_err(|source| Error::Answer { program: "rustdoc".to_owned(), source })?;
        Ok(Listing { path: library.directory().join("api.txt"), lines: items::listed(&json) })
    };
    libraries.iter().map(listing).collect()
}
