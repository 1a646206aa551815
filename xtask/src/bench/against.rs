//! Another commit of this repository, built beside, as the peer: the guard against regressions that works on any machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::target::Target;
use crate::error::{Error, Result};
use crate::process;
use crate::workspace::{self, Metadata};

/// A checkout of another commit below the target folder, which keeps what is built there for the next time.
pub(super) struct Other {
    folder: PathBuf,
    /// The commit, in twelve digits.
    pub(super) commit: String,
}

impl Other {
    /// Checks out what `name` says: a hash, a branch, a tag, `HEAD~3`.
    ///
    /// # Errors
    /// When git does not know it, or cannot check it out.
    pub(super) fn check_out(metadata: &Metadata, name: &str) -> Result<Self> {
        let mut parse = git(workspace::root());
        parse.args(["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")]);
        let commit = process::output(&mut parse)
            .map_err(|_| Error::Failed(format!("git knows no commit `{}`", report::text::quoted(name))))?;
        let commit: String = commit.trim().chars().take(12).collect();
        let folder = metadata.target_directory.join("against").join(&commit);
        if !folder.join("Cargo.toml").is_file() {
            // A folder that was deleted is still known to git.
            process::output(git(workspace::root()).args(["worktree", "prune"]))?;
            process::output(git(workspace::root()).args(["worktree", "add", "--detach"]).arg(&folder).arg(&commit))?;
        }
        Ok(Self { folder, commit })
    }

    /// The benchmark's program of that commit.
    ///
    /// # Errors
    /// When it has no such benchmark, or does not build.
    pub(super) fn executable(&self, target: &Target) -> Result<PathBuf> {
        let mut command = target.cargo_bench();
        // A target folder of its own: files of one name in two checkouts would overwrite each other.
        command.current_dir(&self.folder).env("CARGO_TARGET_DIR", self.folder.join("target"));
        target.built(command)
    }

    /// Where its benchmark is run.
    pub(super) fn directory(&self, target: &Target) -> PathBuf {
        let of_package = target.directory.strip_prefix(workspace::root()).unwrap_or(Path::new(""));
        self.folder.join(of_package)
    }
}

fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(folder);
    command
}
