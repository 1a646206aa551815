//! A benchmark of the workspace, its program and its peer.

use std::path::PathBuf;
use std::process::Command;

use crate::error::{Error, Result};
use crate::{process, workspace};

/// One benchmark target.
pub(super) struct Target {
    pub(super) package: String,
    pub(super) directory: PathBuf,
    pub(super) name: String,
}

/// The folder of the programs in Python.
pub(super) fn peers() -> PathBuf {
    workspace::root().join("xtask").join("peers")
}

impl Target {
    pub(super) fn peer(&self) -> PathBuf {
        peers().join(format!("{}.py", self.name.replace('_', "-")))
    }

    pub(super) fn cargo_bench(&self) -> Command {
        let mut command = workspace::cargo();
        command.args(["bench", "--package", &self.package, "--bench", &self.name]);
        command
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> Error {
        Error::Bench { bench: self.name.clone(), reason: reason.into() }
    }

    /// Builds the benchmark and returns its program, so that the rounds do not start cargo each time.
    ///
    /// # Errors
    /// When it does not build.
    pub(super) fn executable(&self) -> Result<PathBuf> {
        self.built(self.cargo_bench())
    }

    /// The program that a form of [`Target::cargo_bench`] builds.
    ///
    /// # Errors
    /// When it does not build.
    pub(super) fn built(&self, mut command: Command) -> Result<PathBuf> {
        let mut path = None;
        command.args(["--no-run", "--message-format", "json-render-diagnostics"]);
        let code = process::run_reading(&mut command, |line| {
            let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else { return };
            if message["target"]["name"] == self.name.as_str()
                && let Some(executable) = message["executable"].as_str()
            {
                path = Some(PathBuf::from(executable));
            }
        })?;
        match path {
            Some(path) if code == 0 => Ok(path),
            _ => Err(self.error("it does not build")),
        }
    }
}
