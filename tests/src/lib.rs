//! What the tests under `tests/` share: this checkout, and the programs that they run.
//!
//! Everything here serves tests and fails them by a panic that says what is wrong.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

/// The folder of the workspace's `Cargo.toml`.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// `cargo` in the workspace's root, without the network.
///
/// Without the variables that `cargo test` sets about this package: some build scripts watch them, and what was built by
/// hand would be built again.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).env("CARGO_NET_OFFLINE", "true");
    for (name, _) in std::env::vars_os() {
        let about_this_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_NAME"];
        if name.to_str().is_some_and(|name| about_this_package.iter().any(|start| name.starts_with(start))) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
}

/// What a command that must succeed prints on standard output.
///
/// # Panics
/// When it fails; the message has its standard error.
pub fn stdout(command: &mut Command) -> String {
    let output = run(command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A command that runs xtask, which is built first.
pub fn xtask() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| build(&["--package", "xtask", "--bin", "xtask"]));
    let mut command = Command::new(program);
    command.current_dir(root()).env_remove("DATA_DIR");
    command
}

/// Builds a family's example in the profile of `cargo xtask test` and returns the program.
///
/// # Panics
/// When it does not build.
pub fn example(package: &str, name: &str) -> PathBuf {
    build(&["--profile", "checked", "--package", package, "--example", name])
}

/// Builds examples of any members in the profile of `cargo xtask test`, with the features that a build of the whole workspace has, and returns the programs by their names.
///
/// # Panics
/// When one does not build.
pub fn examples<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, PathBuf> {
    let chosen = names.into_iter().flat_map(|name| ["--example", name]);
    let build = ["build", "--profile", "checked", "--workspace", "--message-format", "json-render-diagnostics"];
    let text = stdout(cargo().args(build).args(chosen));
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages
        .filter_map(|message| {
            let (name, program) = (message["target"]["name"].as_str()?, message["executable"].as_str()?);
            Some((name.to_owned(), PathBuf::from(program)))
        })
        .collect()
}

/// [`cargo`] with the network: what only a feature needs has not been downloaded by whoever started these tests.
pub fn cargo_for_features() -> Command {
    let mut command = cargo();
    command.env_remove("CARGO_NET_OFFLINE");
    command
}

/// Why a feature cannot be built on this machine, if what cargo says is about the machine and not about our code.
pub fn reason_to_skip(said: &str) -> Option<&'static str> {
    let reasons = [
        ("libclang", "libclang is not installed (apt-get install libclang-dev)"),
        ("failed to download", "what the feature depends on cannot be downloaded (cargo fetch --locked)"),
        ("failed to get", "what the feature depends on cannot be downloaded (cargo fetch --locked)"),
    ];
    reasons.into_iter().find(|(sign, _)| said.contains(sign)).map(|(_, reason)| reason)
}

/// [`example`] with features, or why it does not build.
///
/// # Errors
/// The end of what cargo says.
pub fn example_with(package: &str, name: &str, features: &str) -> Result<PathBuf, String> {
    let arguments = ["--profile", "checked", "--package", package, "--example", name, "--features", features];
    let output = run(cargo_for_features().arg("build").args(arguments));
    if output.status.success() {
        return Ok(build(&arguments));
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let start = text.char_indices().rev().nth(1500).map_or(0, |(at, _)| at);
    Err(text[start..].to_owned())
}

/// Runs `cargo build` with these arguments, which choose one program, and returns it.
fn build(arguments: &[&str]) -> PathBuf {
    let text = stdout(cargo().arg("build").args(arguments).args(["--message-format", "json-render-diagnostics"]));
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    programs.next_back().unwrap_or_else(|| panic!("cargo build {arguments:?} made no program"))
}

/// The libraries that families may depend on. They know no family.
pub const SHARED_LIBRARIES: [&str; 3] = ["classifiers", "core-tensor", "vision"];

/// A member of the workspace.
#[derive(Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The folder of its `Cargo.toml`.
    pub directory: PathBuf,
    /// The names of the packages among its `[dependencies]`.
    pub dependencies: Vec<String>,
}

impl Package {
    /// Whether it is a family of papers: a library that people add to their own projects, and that shares [`SHARED_LIBRARIES`] with the other families.
    pub fn is_family(&self) -> bool {
        let is_library = self.directory.parent() == Some(&root().join("crates"));
        let is_harness = ["datasets", "experiment", "report", "reproduction"].contains(&self.name.as_str());
        is_library && !is_harness && !SHARED_LIBRARIES.contains(&self.name.as_str())
    }
}

/// The members of the workspace.
///
/// # Panics
/// When cargo's answer is not understood.
pub fn packages() -> Vec<Package> {
    let text = stdout(cargo().args(["metadata", "--format-version", "1", "--no-deps"]));
    let metadata: Value = serde_json::from_str(&text).expect("cargo metadata prints JSON");
    let word = |value: &Value| value.as_str().expect("cargo metadata names packages by strings").to_owned();
    let list = |value: &Value| value.as_array().expect("cargo metadata lists packages").clone();
    list(&metadata["packages"])
        .iter()
        .map(|package| Package {
            name: word(&package["name"]),
            directory: Path::new(&word(&package["manifest_path"]))
                .parent()
                .expect("a manifest is in a folder")
                .to_owned(),
            dependencies: list(&package["dependencies"])
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| word(&dependency["name"]))
                .collect(),
        })
        .collect()
}
