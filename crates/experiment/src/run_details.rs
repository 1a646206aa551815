//! Where a run comes from: arguments, code, machine, time. Written to `run.json` when the run starts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use report::Arguments;
use serde::Serialize;

use crate::{command_line, regular_file};

/// The content of `run.json`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunDetails {
    pub(crate) schema: u32,
    pub(crate) paper: String,
    /// The arguments as they were typed, without the program.
    pub(crate) command_line: Vec<String>,
    pub(crate) arguments: Arguments,
    /// As text: a path that is not Unicode is changed where it is not.
    pub(crate) data_dir: Option<String>,
    pub(crate) commit: Option<String>,
    /// Whether tracked files differed from the commit; `None` when git could not tell.
    pub(crate) is_dirty: Option<bool>,
    pub(crate) rustc: Option<String>,
    pub(crate) is_release_build: bool,
    /// Coordinated universal time, as in RFC 3339.
    pub(crate) started: String,
    pub(crate) machine: Machine,
    /// `name version` of the packages in the workspace's Cargo.lock.
    pub(crate) packages: Vec<String>,
}

/// The computer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: Option<usize>,
    pub(crate) processor: Option<String>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) operating_system: String,
    pub(crate) architecture: &'static str,
}

impl RunDetails {
    pub(crate) fn collect(paper: &str, command_line: Vec<String>, arguments: &Arguments) -> Self {
        let source = source_folder();
        Self {
            schema: 1,
            paper: paper.to_owned(),
            command_line,
            arguments: arguments.clone(),
            data_dir: command_line::data_dir(arguments).map(|path| path.display().to_string()),
            commit: commit(&source),
            is_dirty: is_dirty(&source),
            rustc: answer(Command::new("rustc").arg("--version")),
            is_release_build: !cfg!(debug_assertions),
            started: report::rfc_3339(SystemTime::now()),
            machine: Machine::this(),
            packages: packages(&source),
        }
    }

    /// The commit, marked when the code differed from it or git could not tell.
    pub(crate) fn commit_words(&self) -> Option<String> {
        let mark = if self.is_dirty == Some(false) { "" } else { "-dirty" };
        self.commit.as_ref().map(|commit| format!("{commit}{mark}"))
    }
}

impl Machine {
    fn this() -> Self {
        Self {
            cores: std::thread::available_parallelism().ok().map(usize::from),
            processor: field_of_file("/proc/cpuinfo", "model name", ':')
                .or_else(|| answer(Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"]))),
            memory_bytes: memory_bytes(),
            operating_system: field_of_file("/etc/os-release", "PRETTY_NAME", '=')
                .map(|name| name.trim_matches('"').to_owned())
                .unwrap_or_else(|| std::env::consts::OS.to_owned()),
            architecture: std::env::consts::ARCH,
        }
    }
}

/// Cargo names the package's folder to what it runs; elsewhere the working folder has to do.
fn source_folder() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

fn commit(source: &Path) -> Option<String> {
    answer(Command::new("git").args(["rev-parse", "HEAD"]).current_dir(source)).or_else(|| commit_without_git(source))
}

/// Follows `.git/HEAD` by hand, for machines without git.
fn commit_without_git(source: &Path) -> Option<String> {
    let source = source.canonicalize().ok()?;
    let git = source.ancestors().map(|folder| folder.join(".git")).find(|git| git.is_dir())?;
    let head = regular_file::read(&git.join("HEAD")).ok()?;
    let Some(name) = head.trim().strip_prefix("ref: ") else { return Some(head.trim().to_owned()) };
    if let Ok(commit) = regular_file::read(&git.join(name)) {
        return Some(commit.trim().to_owned());
    }
    let packed = regular_file::read(&git.join("packed-refs")).ok()?;
    packed.lines().find_map(|line| Some(line.strip_suffix(name)?.trim().to_owned()))
}

fn is_dirty(source: &Path) -> Option<bool> {
    let mut git = Command::new("git");
    let output = git.args(["status", "--porcelain", "--untracked-files=no"]).current_dir(source).output().ok()?;
    output.status.success().then_some(!output.stdout.is_empty())
}

fn packages(source: &Path) -> Vec<String> {
    let Ok(source) = source.canonicalize() else { return Vec::new() };
    let lock = source.ancestors().find_map(|folder| regular_file::read(&folder.join("Cargo.lock")).ok());
    let lock = lock.unwrap_or_default();
    let value =
        |line: &str, key: &str| line.strip_prefix(key).map(|rest| rest.trim_matches(&[' ', '=', '"'][..]).to_owned());
    let mut name = None;
    let mut packages = Vec::new();
    for line in lock.lines() {
        if let Some(found) = value(line, "name ") {
            name = Some(found);
        } else if let (Some(version), Some(name)) = (value(line, "version "), name.take()) {
            packages.push(format!("{name} {version}"));
        }
    }
    packages
}

fn memory_bytes() -> Option<u64> {
    if let Some(text) = field_of_file("/proc/meminfo", "MemTotal", ':') {
        return text.trim_end_matches("kB").trim().parse::<u64>().ok().map(|kibibytes| kibibytes.saturating_mul(1024));
    }
    answer(Command::new("sysctl").args(["-n", "hw.memsize"]))?.parse().ok()
}

fn field_of_file(path: &str, key: &str, separator: char) -> Option<String> {
    let text = regular_file::read(Path::new(path)).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(separator));
    fields.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
}

/// What a program prints, when it exists and succeeds.
fn answer(command: &mut Command) -> Option<String> {
    let output = command.stderr(std::process::Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_commit_is_found_without_git() {
        let folder = tempfile::tempdir().unwrap();
        let git = folder.path().join(".git");
        fs::create_dir_all(git.join("refs/heads")).unwrap();
        fs::create_dir_all(folder.path().join("crates/deep")).unwrap();
        fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(git.join("packed-refs"), "# pack-refs\n1234abcd refs/heads/main\n").unwrap();
        let deep = folder.path().join("crates/deep");
        assert_eq!(commit_without_git(&deep).unwrap(), "1234abcd");
        fs::write(git.join("refs/heads/main"), "5678ef\n").unwrap();
        assert_eq!(commit_without_git(&deep).unwrap(), "5678ef");
    }

    #[test]
    fn packages_are_read_from_the_lock_file() {
        let folder = tempfile::tempdir().unwrap();
        let lock = "version = 4\n\n[[package]]\nname = \"adler2\"\nversion = \"2.0.1\"\n";
        fs::write(folder.path().join("Cargo.lock"), lock).unwrap();
        assert_eq!(packages(folder.path()), ["adler2 2.0.1"]);
    }
}
