//! `cargo xtask docs`: the documentation of the libraries, and the book of `docs/` where mdBook is installed.

use std::process::Command;

use crate::error::Result;
use crate::type_check::Outcome;
use crate::{process, workspace};

/// Where the book goes, as `docs/book.toml` says it.
const BOOK: &str = "target/book";

/// Builds both; a warning of rustdoc's fails. Without mdBook the book is left out, which is no failure.
///
/// # Errors
/// When cargo or mdBook does not start.
pub(crate) fn run() -> Result<Outcome> {
    let mut rustdoc = workspace::cargo();
    rustdoc.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    if process::run(&mut rustdoc)? != 0 {
        return Ok(Outcome::Failed);
    }
    if process::output(Command::new("mdbook").arg("--version")).is_err() {
        say!(
            "mdBook is absent: the book of docs/ is not built (cargo install --locked mdbook); its pages can be read as they are"
        );
        return Ok(Outcome::Noted("libraries documented, mdBook is absent and the book left out".to_owned()));
    }
    let code = process::run(Command::new("mdbook").arg("build").arg(workspace::root().join("docs")))?;
    if code == 0 {
        say!("the book: {BOOK}/index.html");
    }
    Ok(if code == 0 { Outcome::Passed } else { Outcome::Failed })
}
