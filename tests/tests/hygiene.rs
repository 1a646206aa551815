//! Who depends on whom: a library crate pulls in no harness, and the harness no library.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use integration_tests::{Package, SHARED_LIBRARIES, cargo, packages, root, stdout};

/// What a library's user must not pay for: command lines, progress bars, plots, downloads, MPI and the harness itself.
const HARNESS: [&str; 16] = [
    "clap",
    "criterion",
    "ctrlc",
    "datasets",
    "experiment",
    "indicatif",
    "mimalloc",
    "mpi",
    "plotters",
    "proptest",
    "report",
    "reproduction",
    "reqwest",
    "tracing-subscriber",
    "ureq",
    "xtask",
];

/// Every package that comes along with `package` in a default build without tests.
fn tree(package: &str) -> BTreeSet<String> {
    let text = stdout(cargo().args(["tree", "--package", package, "--edges", "normal,build", "--prefix", "none"]));
    text.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn families() -> Vec<Package> {
    packages().into_iter().filter(Package::is_family).collect()
}

#[test]
fn the_families_are_found() {
    let names: Vec<String> = families().into_iter().map(|package| package.name).collect();
    assert!(names.contains(&"gnn".to_owned()) && names.len() >= 8, "{names:?}");
}

#[test]
fn no_library_pulls_in_the_harness() {
    let libraries = families().into_iter().map(|package| package.name).chain(SHARED_LIBRARIES.map(str::to_owned));
    for library in libraries {
        let tree = tree(&library);
        let found: Vec<_> = HARNESS.iter().filter(|name| tree.contains(**name)).collect();
        assert!(found.is_empty(), "{library} pulls in {found:?}");
    }
}

#[test]
fn no_family_has_the_harness_among_its_dependencies() {
    // The tree above is that of the default features; this holds for every feature.
    for family in families() {
        let found: Vec<_> = family.dependencies.iter().filter(|name| HARNESS.contains(&name.as_str())).collect();
        let allowed = ["mpi"]; // optional, behind a feature
        let found: Vec<_> = found.into_iter().filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(found.is_empty(), "{} depends on {found:?}", family.name);
    }
}

/// For every feature. An example may use another family as a dev-dependency: whoever depends on a family does not get those.
#[test]
fn no_family_depends_on_another() {
    let names: BTreeSet<String> = families().into_iter().map(|package| package.name).collect();
    for family in families() {
        let found: Vec<_> = family.dependencies.iter().filter(|name| names.contains(*name)).collect();
        assert!(found.is_empty(), "{} depends on {found:?}", family.name);
    }
}

#[test]
fn shared_libraries_know_no_family() {
    let names: BTreeSet<String> = families().into_iter().map(|package| package.name).collect();
    let shared = packages().into_iter().filter(|package| SHARED_LIBRARIES.contains(&package.name.as_str()));
    for library in shared {
        let found: Vec<_> = library.dependencies.iter().filter(|name| names.contains(*name)).collect();
        assert!(found.is_empty(), "{} depends on {found:?}", library.name);
    }
}

#[test]
fn xtask_and_the_data_sets_know_neither_a_family_nor_candle() {
    let names: Vec<String> = families().into_iter().map(|package| package.name).collect();
    for package in ["xtask", "datasets"] {
        let tree = tree(package);
        assert!(!tree.contains("candle-core"), "{package} pulls in candle");
        let found: Vec<_> = names.iter().filter(|name| tree.contains(*name)).collect();
        assert!(found.is_empty(), "{package} pulls in {found:?}");
    }
}

#[test]
fn the_harness_knows_neither_papers_nor_candle() {
    let tree = tree("experiment");
    for name in ["candle-core", "core-tensor", "datasets"] {
        assert!(!tree.contains(name), "experiment pulls in {name}");
    }
}

#[test]
fn the_bridge_of_the_examples_knows_no_family() {
    let tree = tree("reproduction");
    let found: Vec<_> = families().into_iter().map(|family| family.name).filter(|name| tree.contains(name)).collect();
    assert!(found.is_empty(), "reproduction pulls in {found:?}");
}

/// Candle and the crates below it, with the features that they are built with for the tests and examples of `package`.
///
/// A crate that procedural macros and build scripts use too may have several.
fn candle(package: &str, features: &str) -> BTreeMap<String, BTreeSet<String>> {
    let tree = |package: &str, edges: &str| -> BTreeMap<String, BTreeSet<String>> {
        let format = ["--edges", edges, "--prefix", "none", "--format", "{p}|{f}"];
        let features = if package == "candle-core" { "" } else { features };
        let text = stdout(cargo().args(["tree", "--package", package, "--features", features]).args(format));
        let lines = text.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('|'));
        let mut found = BTreeMap::<String, BTreeSet<String>>::new();
        for (name, features) in lines {
            found.entry(name.to_owned()).or_default().insert(features.to_owned());
        }
        found
    };
    let below = tree("candle-core", "normal,build");
    tree(package, "normal,build,dev").into_iter().filter(|(name, _)| below.contains_key(name)).collect()
}

/// Cargo builds Candle anew where one crate below it has other features: see `reproduction`'s Cargo.toml.
#[test]
fn all_families_share_one_build_of_candle() {
    let families = families().into_iter().filter(|family| family.directory.join("examples").is_dir());
    let trees: Vec<_> = families.map(|family| (candle(&family.name, ""), family.name)).collect();
    for pair in trees.windows(2) {
        let ((one, first), (other, second)) = (&pair[0], &pair[1]);
        assert!(one.keys().any(|name| name.starts_with("candle-core ")), "{first} has no Candle: {one:?}");
        let differences: Vec<_> = one.iter().filter(|(name, features)| other.get(*name) != Some(features)).collect();
        assert!(differences.is_empty(), "{first} and {second} differ below Candle: {differences:?}");
    }
    // the tests of these build with them; bindings bring more, and must not change what is there
    for (package, feature) in [("distributed", "mpi"), ("adversarial", "highs")] {
        let (without, with) = (candle(package, ""), candle(package, feature));
        let differences: Vec<_> =
            without.iter().filter(|(name, features)| !with[*name].is_superset(features)).collect();
        assert!(differences.is_empty(), "{package} with {feature} builds Candle anew: {differences:?}");
    }
}

#[test]
fn what_xtask_shares_with_the_harness_is_light() {
    // xtask is built before anything else is: no plots, no archives, no tensors, no other crate of ours.
    let tree = tree("report");
    for name in ["candle-core", "core-tensor", "datasets", "experiment", "plotters", "indicatif", "ureq"] {
        assert!(!tree.contains(name), "report pulls in {name}");
    }
    assert!(!self::tree("xtask").contains("experiment"), "xtask pulls in the harness");
}

#[test]
fn a_crate_says_that_it_is_empty_exactly_while_it_is() {
    for family in families() {
        let readme = std::fs::read_to_string(family.directory.join("README.md")).unwrap_or_default();
        let says_empty = readme.contains("**Not yet.**");
        assert_eq!(says_empty, is_empty(&family.directory), "README.md of {}", family.name);
    }
}

/// Whether a crate holds nothing but the line that shows its README, and settings.
fn is_empty(directory: &Path) -> bool {
    let files = std::fs::read_dir(directory.join("src")).expect("a crate has src").count();
    files == 1 && library(directory).lines().all(|line| line.is_empty() || line.starts_with("#!["))
}

fn library(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("src").join("lib.rs")).expect("a library has src/lib.rs")
}

/// Libraries that may hold `unsafe`: core-tensor, for its kernels.
const UNSAFE: [&str; 1] = ["core-tensor"];

/// Whether the compiler refuses unsafe code in what this file is the root of.
fn forbids_unsafe_code(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).expect("a source file can be read");
    text.lines().any(|line| line == "#![forbid(unsafe_code)]")
}

#[test]
fn the_compiler_forbids_unsafe_code_outside_of_core_tensor() {
    let packages: Vec<Package> =
        packages().into_iter().filter(|package| !UNSAFE.contains(&package.name.as_str())).collect();
    for name in ["xtask", "integration-tests", "miri-tests", "gnn", "experiment"] {
        assert!(packages.iter().any(|package| package.name == name), "{name} is not looked at");
    }
    for package in packages {
        let roots = ["lib.rs", "main.rs"].map(|name| package.directory.join("src").join(name));
        let roots: Vec<_> = roots.into_iter().filter(|path| path.is_file()).collect();
        assert!(!roots.is_empty(), "{} has no root", package.name);
        for path in roots {
            assert!(forbids_unsafe_code(&path), "{} lacks #![forbid(unsafe_code)]", path.display());
        }
    }
}

/// Each test program is a crate of its own, which its package's library does not bind.
#[test]
fn the_compiler_forbids_unsafe_code_in_the_tests_across_crates() {
    for folder in ["tests/tests", "tests/miri/tests"] {
        let entries = std::fs::read_dir(root().join(folder)).expect("a folder of tests");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
            assert!(forbids_unsafe_code(&path), "{} lacks #![forbid(unsafe_code)]", path.display());
        }
    }
}

/// Our own sources elsewhere, such as benchmarks and examples, are crates of their own too: none has an unsafe block.
#[test]
fn no_source_outside_of_core_tensor_has_unsafe_code() {
    for package in packages().into_iter().filter(|package| !UNSAFE.contains(&package.name.as_str())) {
        for folder in ["src", "examples", "tests", "benches"] {
            for path in sources(&package.directory.join(folder)) {
                let text = std::fs::read_to_string(&path).expect("a source file can be read");
                let code = text.lines().map(|line| line.split("//").next().unwrap_or(line));
                let found =
                    code.filter(|code| ["unsafe {", "unsafe impl", "unsafe fn"].iter().any(|word| code.contains(word)));
                assert_eq!(found.filter(|code| !code.contains('"')).count(), 0, "{} has unsafe code", path.display());
            }
        }
    }
}

/// The source files in a folder and below; none where there is no folder.
fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let deep = paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    deep.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}
