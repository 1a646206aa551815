//! The Python environment of the peers, kept outside the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result, file};
use crate::{process, workspace};

/// Returns the environment's Python after making the environment and installing `requirements`, where either is missing
/// or the requirements have changed.
///
/// # Errors
/// When the folder lies inside the repository, Python 3 is absent, or pip fails.
pub(super) fn environment(folder: Option<&Path>, requirements: &Path) -> Result<PathBuf> {
    let folder = match folder {
        Some(folder) => workspace::absolute(folder),
        None => default_folder()?,
    };
    if folder.starts_with(workspace::root()) {
        return Err(Error::Usage("--venv must name a folder outside the repository".to_owned()));
    }
    let programs = folder.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let python = programs.join(if cfg!(windows) { "python.exe" } else { "python" });
    if !python.is_file() {
        say!("making a Python environment in {}", folder.display());
        let mut command = Command::new(if cfg!(windows) { "python" } else { "python3" });
        finish(
            command.args(["-m", "venv"]).arg(&folder),
            "install Python 3 with its venv module (Debian: python3-venv)",
        )?;
    }
    let wanted = std::fs::read_to_string(requirements).map_err(file("read", requirements))?;
    // Written last: an interrupted installation is repeated.
    let installed = folder.join("installed-requirements.txt");
    if std::fs::read_to_string(&installed).ok().as_deref() != Some(wanted.as_str()) {
        let mut command = Command::new(&python);
        command.args(["-m", "pip", "install", "--requirement"]).arg(requirements);
        finish(&mut command, "pip needs a package index or wheels (PIP_INDEX_URL, PIP_FIND_LINKS)")?;
        std::fs::write(&installed, wanted).map_err(file("write", &installed))?;
    }
    Ok(python)
}

fn default_folder() -> Result<PathBuf> {
    directories::BaseDirs::new()
        .map(|directories| directories.cache_dir().join("xtask-bench-peers"))
        .ok_or_else(|| Error::Usage("no cache folder is known for this user; name one with --venv".to_owned()))
}

fn finish(command: &mut Command, advice: &str) -> Result<()> {
    match process::run(command)? {
        0 => Ok(()),
        code => {
            Err(Error::Program { program: process::shown(command), detail: format!(" (exit code {code}); {advice}") })
        }
    }
}
