//! What must be fast: certificates from votes, and training the ensemble. `cargo xtask bench collective-bagging [--peers]`.
//!
//! `SCALING=1 cargo bench -p adversarial --bench collective_bagging` prints instead how certificates grow with samples, sub-classifiers and budget, and what is left where 10 seconds are not enough.

use adversarial::bagging::solve::{Automatic, BranchAndBound, Limits, Solver};
use adversarial::bagging::{Certificate, CertifyConfig, Problem, Scope, Structure, Votes, certify};
use reproduction::bench;
use safetensors::SafeTensors;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn measure(name: &str, operation: impl FnMut() -> Result) -> Result {
    bench::measure(name, 0.1, operation)
}

fn main() -> Result {
    rayon::ThreadPoolBuilder::new().num_threads(bench::threads()?).build_global()?;
    match std::env::var_os("SCALING") {
        Some(_) => scaling(),
        None => paired(),
    }
}

/// The stored votes of a real ensemble: 20 sub-classifiers in one block, 10,000 samples.
fn stored(name: &str) -> Result<Votes> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/collective-bagging");
    let bytes = std::fs::read(folder.join(format!("{name}_votes_g20.safetensors")))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let votes = file.tensor("preds")?.data().iter().map(|&vote| u16::from(vote)).collect();
    Ok(Votes::new(2, 20, votes)?)
}

/// A generator that the peer can repeat.
struct Draws(u64);

impl Draws {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.unit() * bound as f64) as usize
    }
}

/// Each sample belongs to one of `families`; half of the sub-classifiers, another half for each family, err there more often.
fn generated(num_sub_classifiers: usize, num_samples: usize, classes: usize, families: usize) -> Result<Votes> {
    let mut draws = Draws(11);
    let weak: Vec<Vec<bool>> = (0..families)
        .map(|_| {
            let mut weak: Vec<bool> = (0..num_sub_classifiers).map(|g| g < num_sub_classifiers / 2).collect();
            (1..num_sub_classifiers).rev().for_each(|at| weak.swap(at, draws.below(at + 1)));
            weak
        })
        .collect();
    let mut votes = vec![0; num_sub_classifiers * num_samples];
    for sample in 0..num_samples {
        let label = draws.below(classes);
        let family = draws.below(families);
        for g in 0..num_sub_classifiers {
            let error = if weak[family][g] { 0.2 + 0.7 * draws.unit() } else { 0.08 };
            let is_wrong = draws.unit() < error;
            let other = draws.below(classes - 1);
            let wrong = if other >= label { other + 1 } else { other };
            votes[g * num_samples + sample] = if is_wrong { wrong } else { label } as u16;
        }
    }
    Ok(Votes::new(classes, num_sub_classifiers, votes)?)
}

/// Optima are those that the peer finds; it asserts the same numbers.
fn paired() -> Result {
    let cases: [(&str, &[(usize, u64)]); 2] =
        [("bank", &[(1, 257), (2, 435), (3, 653), (6, 4972)]), ("electricity", &[(1, 72), (2, 147), (3, 249)])];
    for (name, budgets) in cases {
        let votes = stored(name)?;
        let structure = Structure::hash_buckets(20, 20)?;
        for &(budget, optimum) in budgets {
            let problem = Problem::new(&votes, &structure, budget, &Scope::all())?;
            measure(&format!("{name} r={budget}, optimum"), || solve(&problem, optimum))?;
        }
        measure(&format!("{name} r=6, certificate from votes"), || {
            certify(&votes, &structure, 6, &Scope::all(), &CertifyConfig::default())?;
            Ok(())
        })?;
    }
    let votes = generated(20, 500, 4, 10)?;
    for (name, buckets, budget, optimum) in [("one block", 20, 3, 16), ("two blocks", 10, 2, 49)] {
        let problem = Problem::new(&votes, &Structure::hash_buckets(20, buckets)?, budget, &Scope::all())?;
        measure(&format!("generated, 4 classes, {name}, r={budget}, optimum"), || solve(&problem, optimum))?;
    }
    Ok(())
}

fn solve(problem: &Problem, optimum: u64) -> Result {
    let found = Automatic.solve(problem, &Limits::default())?;
    assert_eq!((found.lower, found.upper), (optimum, optimum));
    Ok(())
}

fn row(name: &str, found: &Certificate) {
    println!(
        "{name:<44} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8.2} s",
        found.columns,
        found.considered - found.certified_samplewise,
        found.max_changed_upper,
        found.best_attack_lower,
        found.nodes,
        found.seconds
    );
}

fn scaling() -> Result {
    let time = Some(Duration::from_secs(10));
    println!(
        "{:<44} {:>8} {:>8} {:>8} {:>8} {:>9} {:>10}",
        "", "columns", "singly", "bound", "attack", "nodes", "time"
    );
    let options = CertifyConfig { limits: Limits { time, ..Limits::default() }, ..CertifyConfig::default() };
    let branching = CertifyConfig { solver: &BranchAndBound as &dyn Solver, ..options };
    for samples in [1_000, 10_000, 100_000, 1_000_000] {
        let votes = generated(20, samples, 2, 40)?;
        let structure = Structure::hash_buckets(20, 20)?;
        for budget in [3, 8] {
            let found = certify(&votes, &structure, budget, &Scope::all(), &options)?;
            row(&format!("G=20 C=2 N={samples} r={budget}"), &found);
            let found = certify(&votes, &structure, budget, &Scope::all(), &branching)?;
            row("  branch and bound", &found);
        }
    }
    for sub_classifiers in [20, 50, 100, 200, 500] {
        for classes in [2, 10] {
            let votes = generated(sub_classifiers, 10_000, classes, 40)?;
            let structure = Structure::hash_buckets(sub_classifiers, sub_classifiers)?;
            for share in [5, 15, 30] {
                let budget = (sub_classifiers * share).div_ceil(100);
                let found = certify(&votes, &structure, budget, &Scope::all(), &options)?;
                row(&format!("G={sub_classifiers} C={classes} N=10000 r={budget}"), &found);
                if !found.is_optimal() {
                    let groups = CertifyConfig { group_size: Some(50 + 5 * budget), ..branching };
                    let found = certify(&votes, &structure, budget, &Scope::all(), &groups)?;
                    row(&format!("  in groups of {}", 50 + 5 * budget), &found);
                }
            }
        }
    }
    Ok(())
}
