//! Type checks of the GPU features on a machine that has neither the toolkit nor the GPU.
//!
//! The build scripts of the CUDA bindings run `nvcc`, and those of C dependencies a C compiler for the target. Checking
//! types needs nothing of what these produce, so stand-ins that only create the files take their places. What they build
//! must never be mistaken for the real thing: each check has a target folder of its own.

use std::path::Path;
use std::process::Command;

use crate::error::{Result, file};
use crate::{exit, process, workspace};

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// Found something that does not fail the run
    Noted(String),
    /// Could not be done here, with the reason
    Skipped(String),
}

impl Outcome {
    /// The outcome of a command that ended with this exit code.
    pub(crate) fn of(code: u8) -> Self {
        if code == exit::OK { Self::Passed } else { Self::Failed }
    }

    /// The exit code: only a failure is one.
    pub(crate) fn code(&self) -> u8 {
        if *self == Self::Failed { exit::ERROR } else { exit::OK }
    }

    pub(crate) fn word(&self) -> String {
        match self {
            Self::Passed => "passed".to_owned(),
            Self::Failed => "FAILED".to_owned(),
            Self::Noted(what) => format!("noted: {what}"),
            Self::Skipped(reason) => format!("skipped: {reason}"),
        }
    }
}

const METAL_TARGET: &str = "aarch64-apple-darwin";

/// Answers `--version` as CUDA 13.0 does; otherwise creates, empty, the files that the caller asks for.
const STAND_IN_NVCC: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then
  echo "nvcc: NVIDIA (R) Cuda compiler driver (stand-in for type checks)"
  echo "Cuda compilation tools, release 13.0, V13.0.0"
  exit 0
fi
folder=.
sources=
while [ $# -gt 0 ]; do
  case "$1" in
    -o) : > "$2"; shift ;;
    --output-directory) folder=$2; shift ;;
    *.cu) sources="$sources $1" ;;
  esac
  shift
done
for source in $sources; do
  : > "$folder/$(basename "$source" .cu).ptx"
done
"#;

/// Creates, empty, the output file: after `-o` for compilers, the first archive named for `ar`.
const STAND_IN_CC: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
  case "$1" in
    -o) : > "$2"; shift ;;
    *.a) : > "$1" ;;
  esac
  shift
done
"#;

/// Checks every package's `cuda` and `nccl` features with a stand-in for nvcc.
///
/// # Errors
/// When the stand-in cannot be written or cargo does not start.
pub(crate) fn cuda() -> Result<Outcome> {
    if !cfg!(unix) {
        return Ok(Outcome::Skipped("the stand-in for nvcc is a shell script".to_owned()));
    }
    let programs = Programs::new(&[("nvcc", STAND_IN_NVCC)])?;
    let mut command = check(&["cuda", "nccl"])?;
    command.env("PATH", programs.path()).env("CUDARC_CUDA_VERSION", "13000").env("CUDA_COMPUTE_CAP", "90");
    // A toolkit that is installed must not be found beside the stand-in.
    for variable in ["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR", "NVCC"] {
        command.env_remove(variable);
    }
    outcome(&mut command)
}

/// Checks every package's `metal` feature for macOS on ARM, with stand-ins for the C compiler.
///
/// # Errors
/// When the stand-ins cannot be written or cargo does not start.
pub(crate) fn metal() -> Result<Outcome> {
    if !cfg!(unix) {
        return Ok(Outcome::Skipped("the stand-in for the C compiler is a shell script".to_owned()));
    }
    if !has_target(METAL_TARGET) {
        return Ok(Outcome::Skipped(format!("the target is absent: rustup target add {METAL_TARGET}")));
    }
    let programs = Programs::new(&[("stand-in-cc", STAND_IN_CC)])?;
    let mut command = check(&["metal"])?;
    command.args(["--target", METAL_TARGET]);
    for variable in ["CC", "CXX", "AR", "RANLIB"] {
        command.env(format!("{variable}_{}", METAL_TARGET.replace('-', "_")), programs.folder().join("stand-in-cc"));
    }
    outcome(&mut command)
}

/// Whether the standard library for a target is installed.
pub(crate) fn has_target(target: &str) -> bool {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let folder = process::output(rustc.args(["--print", "target-libdir", "--target", target]));
    folder.is_ok_and(|folder| Path::new(folder.trim()).is_dir())
}

/// `cargo check` of all packages that have one of these features, with those on.
fn check(features: &[&str]) -> Result<Command> {
    let metadata = workspace::metadata()?;
    let mut command = workspace::cargo();
    command.args(["check", "--all-targets"]);
    let mut enabled = Vec::new();
    for package in &metadata.packages {
        let found: Vec<_> = features.iter().filter(|feature| package.features.contains_key(**feature)).collect();
        if !found.is_empty() {
            command.args(["--package", &package.name]);
            enabled.extend(found.into_iter().map(|feature| format!("{}/{feature}", package.name)));
        }
    }
    command.args(["--features", &enabled.join(",")]);
    command.arg("--target-dir").arg(metadata.target_directory.join(format!("type-check-{}", features[0])));
    Ok(command)
}

fn outcome(command: &mut Command) -> Result<Outcome> {
    Ok(if process::run(command)? == 0 { Outcome::Passed } else { Outcome::Failed })
}

/// Executable scripts in a folder that is removed at the end.
struct Programs {
    folder: tempfile::TempDir,
}

impl Programs {
    fn new(scripts: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(file("create", std::env::temp_dir()))?;
        for (name, script) in scripts {
            let path = folder.path().join(name);
            std::fs::write(&path, script).map_err(file("write", &path))?;
            make_executable(&path)?;
        }
        Ok(Self { folder })
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The search path with this folder first.
    fn path(&self) -> std::ffi::OsString {
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.folder().to_owned()).chain(std::env::split_paths(&rest));
        // Fails only for a folder with a colon in its name; the temporary folder has none.
        std::env::join_paths(folders).unwrap_or(rest)
    }
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(file("make executable", path))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_for_nvcc_creates_what_is_asked_for() {
        let programs = Programs::new(&[("nvcc", STAND_IN_NVCC)]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let nvcc = programs.folder().join("nvcc");
        assert!(process::output(Command::new(&nvcc).arg("--version")).unwrap().contains("release 13.0"));
        process::output(
            Command::new(&nvcc)
                .arg("-c")
                .arg("-o")
                .arg(folder.path().join("a.o"))
                .arg("x.cu")
                .arg("--output-directory")
                .arg(folder.path()),
        )
        .unwrap();
        assert!(folder.path().join("a.o").is_file() && folder.path().join("x.ptx").is_file());
    }
}
