//! The libraries as others get them: packed, unpacked elsewhere, and used by projects outside of the workspace.
//!
//! Each project has one library of ours, and what its README's first `toml` block names besides, as its only dependencies. It runs the README's first example and, for libraries with models, a program of
//! `tests/outside` that trains, saves and reloads one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result, file};
use crate::type_check::Outcome;
use crate::{process, workspace};

/// What is packed. A project is built for each that has a `toml` block in its README.
const LIBRARIES: [&str; 12] = [
    "core-tensor",
    "classifiers",
    "datasets",
    "vision",
    "adversarial",
    "distributed",
    "gnn",
    "moe-scaling",
    "nas",
    "noisy-labels",
    "pruning",
    "timeseries",
];

/// The registries' limit for a package, in bytes.
const LARGEST: u64 = 10 << 20;

/// A project that uses no library for models. It gives the crates below Candle the features that they have in our workspace (see `reproduction`'s Cargo.toml), so that Candle is not built anew.
const SHARED: &str = r#"[package]
name = "outside-shared"
version = "0.0.0"
edition = "2024"

[build-dependencies]
syn = { version = "2", features = ["full", "visit-mut"] }
# the newest, which some macros use already
syn-3 = { package = "syn", version = "3", features = ["full"] }

[dependencies]
approx = "0.5"
getrandom = { version = "0.4", features = ["std", "sys_rng"] }
libc = { version = "0.2", features = ["extra_traits"] }
libmimalloc-sys = { version = "0.1", default-features = false, features = ["extended"] }
matrixmultiply = { version = "0.3", features = ["cgemm"] }
nalgebra = "0.34"
once_cell = "1"
simba = "0.9"
"#;

/// Packs, unpacks, builds and runs.
///
/// # Errors
/// When a file cannot be read or written, or cargo or tar does not start.
pub(crate) fn run() -> Result<Outcome> {
    let metadata = workspace::metadata()?;
    let version = metadata.packages.iter().find(|package| package.name == LIBRARIES[0]).map(|package| &package.version);
    let version = version.map_or("", String::as_str);
    let mut pack = workspace::cargo();
    // files that are not committed are packed too: the check is for work in progress
    pack.args(["package", "--no-verify", "--allow-dirty", "--offline", "--quiet", "--exclude-lockfile"]);
    for name in LIBRARIES {
        pack.args(["--package", name]);
    }
    if process::run(&mut pack)? != 0 {
        return Ok(Outcome::Failed);
    }
    let packed = metadata.target_directory.join("package");
    let place = metadata.target_directory.join("outside");
    if place.exists() {
        std::fs::remove_dir_all(&place).map_err(file("remove", &place))?;
    }
    let packages = place.join("packages");
    std::fs::create_dir_all(&packages).map_err(file("create", &packages))?;
    let mut complaints = Vec::new();
    for name in LIBRARIES {
        complaints.extend(unpack(name, version, &packed, &packages)?);
    }
    for complaint in &complaints {
        complain!("error: {complaint}");
    }
    if !complaints.is_empty() {
        return Ok(Outcome::Failed);
    }
    let programs = projects(&place, version)?;
    let mut build = workspace::cargo();
    build.args(["build", "--profile", "checked", "--offline", "--workspace", "--manifest-path"]);
    build.arg(place.join("Cargo.toml")).arg("--target-dir").arg(&metadata.target_directory);
    if process::run(&mut build)? != 0 {
        return Ok(Outcome::Failed);
    }
    for program in programs {
        let mut command = Command::new(metadata.target_directory.join("checked").join(&program));
        if process::run(command.current_dir(&place))? != 0 {
            complain!("error: {program} failed outside of the workspace");
            return Ok(Outcome::Failed);
        }
    }
    Ok(Outcome::Passed)
}

/// Unpacks a package; returns what is wrong with its list of files.
fn unpack(name: &str, version: &str, packed: &Path, packages: &Path) -> Result<Vec<String>> {
    let archive = packed.join(format!("{name}-{version}.crate"));
    let listed = process::output(Command::new("tar").arg("-tzf").arg(&archive))?;
    let start = format!("{name}-{version}/");
    let files: Vec<&str> = listed.lines().filter_map(|line| line.strip_prefix(&start)).collect();
    let mut wrong: Vec<String> =
        unexpected(&files).into_iter().map(|file| format!("{name}: {file} is packed")).collect();
    for needed in ["Cargo.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "src/lib.rs"] {
        if !files.contains(&needed) {
            wrong.push(format!("{name}: the package lacks {needed}"));
        }
    }
    let size = std::fs::metadata(&archive).map_err(file("read", &archive))?.len();
    if size > LARGEST {
        wrong.push(format!("{name}: the package has {size} bytes, at most {LARGEST} are accepted"));
    }
    process::output(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(packages))?;
    Ok(wrong)
}

/// Files that are neither sources nor what every package has.
fn unexpected<'a>(files: &[&'a str]) -> Vec<&'a str> {
    let known = [
        "Cargo.toml",
        "Cargo.toml.orig",
        "Cargo.lock",
        ".cargo_vcs_info.json",
        "README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ];
    let is_expected = |file: &str| known.contains(&file) || file.starts_with("src/") || file.ends_with('/');
    files.iter().copied().filter(|file| !is_expected(file)).collect()
}

/// Writes a workspace with a project for each library; returns the names of the programs.
fn projects(place: &Path, version: &str) -> Result<Vec<String>> {
    let write = |path: PathBuf, text: &str| -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(file("create", folder))?;
        }
        std::fs::write(&path, text).map_err(file("write", &path))
    };
    let read = |path: &Path| std::fs::read_to_string(path).map_err(file("read", path));
    let (mut programs, mut members) = (Vec::new(), Vec::new());
    for name in LIBRARIES {
        let readme_path = place.join("packages").join(format!("{name}-{version}")).join("README.md");
        let readme = read(&readme_path)?;
        let Some(dependencies) = block(&readme, "toml") else { continue };
        let example = block(&readme, "rust")
            .ok_or_else(|| Error::Readme { path: readme_path.clone(), reason: "no example".to_owned() })?;
        let mut manifest = format!("[package]\nname = \"outside-{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n");
        manifest += &with_versions(&dependencies, version);
        let folder = place.join(format!("outside-{name}"));
        write(folder.join("Cargo.toml"), &manifest)?;
        let program = format!("readme-{name}");
        write(folder.join("src/bin").join(format!("{program}.rs")), &as_program(&example))?;
        programs.push(program);
        let keeps = workspace::root().join("tests/outside").join(format!("{}.rs", name.replace('-', "_")));
        if keeps.is_file() {
            let program = format!("keeps-{name}");
            write(folder.join("src/bin").join(format!("{program}.rs")), &read(&keeps)?)?;
            programs.push(program);
        }
        members.push(format!("outside-{name}"));
    }
    write(place.join("outside-shared/Cargo.toml"), &format!("{SHARED}datasets = \"{version}\"\n"))?;
    write(place.join("outside-shared/src/lib.rs"), "//! Nothing.\n")?;
    write(place.join("outside-shared/build.rs"), "fn main() {}\n")?;
    members.push("outside-shared".to_owned());
    let mut root = format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n\n[patch.crates-io]\n");
    for name in LIBRARIES {
        let _ = writeln!(root, "{name} = {{ path = \"packages/{name}-{version}\" }}");
    }
    root += "\n[profile.checked]\ninherits = \"release\"\ndebug-assertions = true\noverflow-checks = true\n\n\
             [profile.checked.package.\"*\"]\ndebug-assertions = false\noverflow-checks = false\n";
    // seconds of building instead of minutes: these run for a moment
    for name in LIBRARIES {
        let _ = writeln!(root, "[profile.checked.package.{name}]\nopt-level = 1");
    }
    write(place.join("Cargo.toml"), &root)?;
    let lock = workspace::root().join("Cargo.lock");
    std::fs::copy(&lock, place.join("Cargo.lock")).map_err(file("copy", &lock))?;
    Ok(programs)
}

/// The first fenced block of a language, without what rustdoc hides.
fn block(text: &str, language: &str) -> Option<String> {
    let mut lines = text
        .lines()
        .skip_while(|line| line.strip_prefix("```").is_none_or(|rest| rest.split(',').next() != Some(language)));
    lines.next()?;
    let shown = |line: &str| match line.trim_start().strip_prefix("# ") {
        Some(hidden) if language == "rust" => hidden.to_owned(),
        _ => line.to_owned(),
    };
    Some(lines.take_while(|line| !line.starts_with("```")).map(|line| shown(line) + "\n").collect())
}

/// Dependencies by path as dependencies by version.
fn with_versions(dependencies: &str, version: &str) -> String {
    let line = |line: &str| match line.split_once("{ path = \"crates/") {
        Some((name, rest)) => {
            let rest = rest.split_once('"').map_or("", |(_, rest)| rest);
            format!("{name}{{ version = \"{version}\"{rest}\n")
        }
        None => format!("{line}\n"),
    };
    dependencies.lines().map(line).collect()
}

/// An example as a program: rustdoc puts one without `main` into one.
fn as_program(example: &str) -> String {
    if example.contains("fn main()") {
        return example.to_owned();
    }
    let is_result = example.trim_end().lines().next_back().is_some_and(|line| line.starts_with("Ok::<"));
    match is_result {
        true => format!(
            "fn main() -> Result<(), Box<dyn std::error::Error>> {{\nlet found = {{\n{example}\n}};\nfound.map_err(Into::into)\n}}\n"
        ),
        false => format!("fn main() {{\n{example}\n}}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_readme_shows_becomes_a_project() {
        let readme = "# x\n\n```toml\n[dependencies]\ngnn = { path = \"crates/gnn\" }   # features\ncandle-core = \"0.11\"\n```\n\n```rust\n# let a = 1;\nassert!(a > 0);\n```\n";
        let dependencies = with_versions(&block(readme, "toml").unwrap(), "0.2.0");
        assert_eq!(
            dependencies,
            "[dependencies]\ngnn = { version = \"0.2.0\" }   # features\ncandle-core = \"0.11\"\n"
        );
        assert_eq!(as_program(&block(readme, "rust").unwrap()), "fn main() {\nlet a = 1;\nassert!(a > 0);\n\n}\n");
        assert!(block(readme, "python").is_none());
    }

    #[test]
    fn only_sources_are_packed() {
        let files = ["Cargo.toml", "src/", "src/lib.rs", "tests/a.rs", "target/x"];
        assert_eq!(unexpected(&files), ["tests/a.rs", "target/x"]);
    }

    #[test]
    fn every_family_is_packed() {
        for paper in &crate::papers::PAPERS {
            assert!(LIBRARIES.contains(&paper.package), "{}", paper.package);
        }
    }
}
