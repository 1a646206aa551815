//! `--seed` reaches every number: equal seeds give equal bits, and another seed trains something else.
//!
//! Every paper's smoke run, started as the program that `cargo xtask reproduce` starts, with one seed twice and with another one. Where `SMOKE_RUNS` names a folder of runs, as in `cargo xtask ci`, the first of them is taken from
//! there: these ran on all cores, so that results are shown not to depend on threads either.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use integration_tests::{examples, packages};
use serde_json::Value;

/// For each paper the groups of trials that train or draw, all of whose results must follow the seed.
const SEEDED: [(&str, &[&str]); 15] = [
    ("sep", &["graphs", "coordinates"]),
    ("routed-scaling-laws", &["models"]),
    ("dragonn", &["accuracy", "thresholds"]),
    ("collective-bagging", &["synthetic"]),
    ("sithcon", &["decoder"]),
    ("dstagnn", &["forecasts"]),
    ("lagraph", &["bound", "denoising", "shapes"]),
    ("linac", &["defence"]),
    ("lyanet", &["spiral"]),
    ("nas-interference", &["nets"]),
    ("npc", &["recipe", "methods"]),
    ("oepg", &["blocks"]),
    ("reverse-engineering-attacks", &["exact", "synthetic"]),
    ("structured-lottery-tickets", &["generated", "partitions"]),
    ("tram", &["recipe", "regression"]),
];

/// Groups whose results are times, or follow from times, which no two runs share.
const TIMED: [(&str, &str); 5] = [
    ("dragonn", "times"),
    ("dragonn", "throughput"),
    ("dragonn", "network"),
    ("lyanet", "epochs"),
    ("structured-lottery-tickets", "compiled"),
];

/// Papers whose trials are long and alike: of the second run with one seed, and of that with another seed, a part of the trials is enough.
const SHARDED: [(&str, &str); 1] = [("dstagnn", "1/3")];

/// The seed of runs that name none.
const USUAL: u64 = 0;

struct Paper {
    slug: String,
    package: String,
    program: PathBuf,
}

/// The implemented papers: examples with claims.
fn papers() -> Vec<Paper> {
    let mut found = Vec::new();
    for package in packages() {
        let Ok(entries) = std::fs::read_dir(package.directory.join("examples")) else { continue };
        for entry in entries.flatten().filter(|entry| entry.path().join("claims.rs").is_file()) {
            found.push((entry.file_name().to_string_lossy().into_owned(), package.name.clone()));
        }
    }
    found.sort();
    let programs = examples(found.iter().map(|(name, _)| name.as_str()));
    let paper = |(name, package): (String, String)| Paper {
        slug: name.replace('_', "-"),
        package,
        program: programs.get(&name).unwrap_or_else(|| panic!("no program {name}")).clone(),
    };
    found.into_iter().map(paper).collect()
}

fn start(program: &Path, seed: u64, shard: Option<&str>, out: &Path) -> Child {
    let mut command = Command::new(program);
    command.args(["--scale", "smoke", "--offline", "--seed", &seed.to_string(), "--out"]).arg(out);
    if let Some(shard) = shard {
        command.args(["--shard", shard]);
    }
    command.env("RAYON_NUM_THREADS", "1").env("CANDLE_NUM_THREADS", "1").env_remove("DATA_DIR");
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts")
}

/// A result without the times in it, which no two runs share.
fn without_times(result: &Value) -> Value {
    match result {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| !name.ends_with("seconds"));
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

/// Runs every paper with each seed, as many at a time as there are cores, since each runs on one thread; the results in the order of `runs`.
fn run_all(runs: &[(&Paper, u64, Option<&str>)]) -> Vec<BTreeMap<(String, String), Value>> {
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((paper, seed, shard)) = runs.get(at) else { break };
            let out = tempfile::tempdir().expect("a temporary folder can be made");
            let code =
                start(&paper.program, *seed, *shard, out.path()).wait().expect("a child can be waited for").code();
            // 4: a shard is done
            let is_done = matches!((code, shard), (Some(0 | 3), _) | (Some(4), Some(_)));
            assert!(is_done, "{} with seed {seed} ended with {code:?}", paper.slug);
            done.push((at, results(out.path(), &paper.slug)));
        }
        done
    };
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no run failed")).collect()
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, results)| results).collect()
}

#[test]
fn another_seed_trains_something_else_and_the_same_seed_the_same_bits() {
    let papers = papers();
    assert!(!papers.is_empty(), "no family has an example with claims");
    let shard_of = |paper: &Paper| SHARDED.iter().find(|(slug, _)| *slug == paper.slug).map(|(_, shard)| *shard);
    let known = std::env::var_os("SMOKE_RUNS").map(PathBuf::from);
    let is_known = |paper: &&Paper| {
        known.as_ref().is_some_and(|folder| folder.join(&paper.slug).join("smoke").join("report.json").is_file())
    };
    let firsts = papers.iter().filter(|paper| !is_known(paper)).map(|paper| (paper, USUAL, None));
    let of = |paper| [(paper, USUAL, shard_of(paper)), (paper, USUAL + 1, shard_of(paper))];
    let runs: Vec<(&Paper, u64, Option<&str>)> = firsts.chain(papers.iter().flat_map(of)).collect();
    let mut found = run_all(&runs).into_iter();
    let mut firsts: Vec<_> = papers
        .iter()
        .map(|paper| match (&known, is_known(&paper)) {
            (Some(folder), true) => results(folder, &paper.slug),
            _ => found.next().expect("each run has results"),
        })
        .rev()
        .collect();
    let mut problems = Vec::new();
    for paper @ Paper { slug, package, .. } in &papers {
        let Some((_, seeded)) = SEEDED.iter().find(|(paper, _)| paper == slug) else {
            panic!("say in `SEEDED` which groups of `{slug}` (crate {package}) follow the seed");
        };
        let first = firsts.pop().expect("each paper has a first run");
        let [again, other] = std::array::from_fn(|_| found.next().expect("each run has results"));
        let is_timed = |group: &str| TIMED.contains(&(slug.as_str(), group));
        let is_sharded = shard_of(paper).is_some();
        for ((group, id), result) in &first {
            let key = (group.clone(), id.clone());
            if is_sharded && !again.contains_key(&key) && !other.contains_key(&key) {
                continue;
            }
            if !is_timed(group) && again.get(&key) != Some(result) {
                problems.push(format!("{slug} {group}/{id} differs between two runs with one seed"));
            }
            if seeded.contains(&group.as_str()) && other.get(&key) == Some(result) {
                problems.push(format!("{slug} {group}/{id} is the same with another seed"));
            }
        }
        for group in *seeded {
            if ![&first, &again, &other].iter().all(|run| run.keys().any(|(name, _)| name == group)) {
                problems.push(format!("{slug} has no trials in group {group}"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
