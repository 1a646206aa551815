//! Where things are in this checkout.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::process;

/// The folder of the workspace's `Cargo.toml`.
///
/// Cargo says at run time which package it runs. That goes before what was known at compile time: checkouts that share a
/// target folder overwrite each other's xtask, and none must work on another's files.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let of_manifest = |manifest: PathBuf| manifest.parent().map(Path::to_owned).filter(|root| is_workspace(root));
        let at_run_time = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).and_then(of_manifest);
        at_run_time.or_else(|| of_manifest(PathBuf::from(env!("CARGO_MANIFEST_DIR")))).unwrap_or_default()
    });
    &ROOT
}

fn is_workspace(folder: &Path) -> bool {
    folder.join("Cargo.toml").is_file() && folder.join("xtask").join("Cargo.toml").is_file()
}

/// A path as a person in the workspace's root would write it.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// A path given on the command line, made independent of the current folder: processes are started in the root.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The command `cargo`, in the workspace's root, of the toolchain that runs this xtask.
///
/// Without the variables that `cargo run` sets about xtask itself: build scripts of dependencies watch some of them (ring's
/// does), and would rebuild half of the tree whenever the same build is once started by hand and once from here.
pub(crate) fn cargo() -> Command {
    in_root(Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())))
}

/// [`cargo`] of the nightly toolchain, which Miri and rustdoc's JSON need.
pub(crate) fn nightly_cargo() -> Command {
    let mut command = in_root(Command::new("rustup"));
    command.args(["run", "nightly", "cargo"]);
    command
}

fn in_root(mut command: Command) -> Command {
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let is_about_xtask = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_CRATE_NAME"
        });
        if is_about_xtask {
            command.env_remove(name);
        }
    }
    command
}

/// A member of the workspace, as `cargo metadata` describes it.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) targets: Vec<Target>,
    pub(crate) features: std::collections::BTreeMap<String, Vec<String>>,
}

/// Something cargo builds: a library, example, test or benchmark.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

impl Package {
    /// The package's folder.
    pub(crate) fn directory(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    /// The names of its benchmarks, sorted.
    pub(crate) fn benches(&self) -> Vec<&str> {
        let is_bench = |target: &&Target| target.kind.iter().any(|kind| kind == "bench");
        let mut names: Vec<&str> = self.targets.iter().filter(is_bench).map(|target| target.name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

/// What `cargo metadata` says of the workspace, without its dependencies.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) target_directory: PathBuf,
}

/// Asks cargo for the members and the target folder.
///
/// # Errors
/// When cargo does not start, fails, or answers with something else than the metadata format 1.
pub(crate) fn metadata() -> Result<Metadata> {
    let mut command = cargo();
    command.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let output = process::output(&mut command)?;
    serde_json::from_str(&output).map_err(|source| Error::Answer { program: "cargo metadata".to_owned(), source })
}
