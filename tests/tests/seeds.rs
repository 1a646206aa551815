//! `--seed` reaches every number: equal seeds give equal bits, and another seed trains something else.
//!
//! Every paper's smoke run, started as the program that `cargo xtask reproduce` starts, with one seed twice and with another one.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use integration_tests::{example, packages};
use serde_json::Value;

/// For each paper the groups of trials that train or draw, all of whose results must follow the seed.
const SEEDED: [(&str, &[&str]); 6] = [
    ("sep", &["graphs", "coordinates"]),
    ("routed-scaling-laws", &["models"]),
    ("dragonn", &["accuracy", "thresholds"]),
    ("collective-bagging", &["synthetic"]),
    ("sithcon", &["decoder"]),
    ("dstagnn", &["forecasts"]),
];

/// Groups whose results are times, which no two runs share.
const TIMED: [(&str, &str); 3] = [("dragonn", "times"), ("dragonn", "throughput"), ("dragonn", "network")];

struct Paper {
    slug: String,
    package: String,
    program: PathBuf,
}

/// The implemented papers: examples with claims.
fn papers() -> Vec<Paper> {
    let mut papers = Vec::new();
    for package in packages() {
        let Ok(entries) = std::fs::read_dir(package.directory.join("examples")) else { continue };
        for entry in entries.flatten().filter(|entry| entry.path().join("claims.rs").is_file()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let program = example(&package.name, &name);
            papers.push(Paper { slug: name.replace('_', "-"), package: package.name.clone(), program });
        }
    }
    papers.sort_by(|a, b| a.slug.cmp(&b.slug));
    papers
}

fn start(program: &Path, seed: u64, out: &Path) -> Child {
    let mut command = Command::new(program);
    command.args(["--scale", "smoke", "--offline", "--seed", &seed.to_string(), "--out"]).arg(out);
    command.env("RAYON_NUM_THREADS", "1").env("CANDLE_NUM_THREADS", "1").env_remove("DATA_DIR");
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts")
}

/// A result without the times in it, which no two runs share.
fn without_times(result: &Value) -> Value {
    match result {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| *name != "seconds");
            Value::Object(kept.map(|(name, value)| (name.clone(), without_times(value))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(without_times).collect()),
        other => other.clone(),
    }
}

/// The results of all trials by group and id.
fn results(out: &Path, slug: &str) -> BTreeMap<(String, String), Value> {
    let folder = out.join(slug).join("smoke").join("trials");
    let mut all = BTreeMap::new();
    for group in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten() {
        for file in std::fs::read_dir(group.path()).expect("a group is a folder").flatten() {
            let text = std::fs::read_to_string(file.path()).expect("a trial can be read");
            let trial: Value = serde_json::from_str(&text).expect("a trial is JSON");
            let key = (group.file_name().to_string_lossy().into_owned(), trial["id"].as_str().unwrap_or("").to_owned());
            all.insert(key, without_times(&trial["result"]));
        }
    }
    all
}

#[test]
fn another_seed_trains_something_else_and_the_same_seed_the_same_bits() {
    let papers = papers();
    assert!(!papers.is_empty(), "no family has an example with claims");
    let mut problems = Vec::new();
    for Paper { slug, package, program } in &papers {
        let Some((_, seeded)) = SEEDED.iter().find(|(paper, _)| paper == slug) else {
            panic!("say in `SEEDED` which groups of `{slug}` (crate {package}) follow the seed");
        };
        let folders = [1, 1, 2].map(|seed| (seed, tempfile::tempdir().expect("a temporary folder can be made")));
        for (mut child, (seed, _)) in folders.iter().map(|(seed, out)| start(program, *seed, out.path())).zip(&folders)
        {
            let code = child.wait().expect("a child can be waited for").code();
            assert!(matches!(code, Some(0 | 3)), "{slug} with seed {seed} ended with {code:?}");
        }
        let [first, again, other] = folders.map(|(_, out)| results(out.path(), slug));
        let is_timed = |group: &str| TIMED.contains(&(slug.as_str(), group));
        for ((group, id), result) in &first {
            let key = (group.clone(), id.clone());
            if !is_timed(group) && again.get(&key) != Some(result) {
                problems.push(format!("{slug} {group}/{id} differs between two runs with one seed"));
            }
            if seeded.contains(&group.as_str()) && other.get(&key) == Some(result) {
                problems.push(format!("{slug} {group}/{id} is the same with another seed"));
            }
        }
        for group in *seeded {
            if !first.keys().any(|(name, _)| name == group) {
                problems.push(format!("{slug} has no trials in group {group}"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
