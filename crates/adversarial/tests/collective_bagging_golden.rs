//! Certificates against reference values: of an independent integer programme checked by brute force, and exhaustive enumeration on the votes of real ensembles.
//!
//! The values stand in `tests/golden/collective-bagging`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/collective-bagging`, where a missing file skips its test.

#![allow(clippy::unwrap_used)]

use adversarial::Error;
use adversarial::bagging::solve::{BranchAndBound, Enumeration, Limits, Solver};
use adversarial::bagging::{
    Certificate, CertifyConfig, Problem, Scope, Structure, Votes, certify, certify_curve, samplewise, tolerable_budget,
};
use reproduction::Golden;
use safetensors::SafeTensors;
use serde_json::Value;

fn golden() -> Golden {
    Golden::of("collective-bagging", env!("CARGO_MANIFEST_DIR"))
}

/// The bytes of one file; none, said aloud, where it is not there.
fn read(name: &str) -> Option<Vec<u8>> {
    golden().read(name)
}

#[test]
fn at_least_one_reference_file_is_there() {
    golden().assert_not_empty();
}

fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|number| whole(number) as usize).collect()
}

fn classes(value: &Value) -> Vec<u16> {
    numbers(value).into_iter().map(|class| class as u16).collect()
}

fn lists(value: &Value) -> Vec<Vec<usize>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

/// Every solver that is compiled in.
fn solvers() -> Vec<Box<dyn Solver>> {
    vec![
        Box::new(Enumeration::default()),
        Box::new(BranchAndBound),
        #[cfg(feature = "microlp")]
        Box::new(adversarial::bagging::solve::MicroLp),
        #[cfg(feature = "highs")]
        Box::new(adversarial::bagging::solve::Highs),
    ]
}

/// Each instance with its votes and labels.
fn instances() -> Vec<(Value, Votes, Vec<u16>)> {
    let Some(bytes) = read("bilp_small.json") else { return Vec::new() };
    let all: Value = serde_json::from_slice(&bytes).unwrap();
    let instance = |instance: &Value| {
        let rows: Vec<Vec<u16>> = instance["preds"].as_array().unwrap().iter().map(classes).collect();
        let votes = Votes::from_rows(whole(&instance["C"]) as usize, &rows).unwrap();
        assert_eq!(votes.num_sub_classifiers(), whole(&instance["G"]) as usize);
        assert_eq!(votes.num_samples(), whole(&instance["N"]) as usize);
        (instance.clone(), votes, classes(&instance["labels"]))
    };
    all["instances"].as_array().unwrap().iter().map(instance).collect()
}

/// Whether the solver takes problems of this size; enumeration does not take all.
fn takes(solver: &dyn Solver, problem: &Problem) -> bool {
    let hurried = Limits { time: Some(std::time::Duration::ZERO), ..Limits::default() };
    match solver.solve(problem, &hurried) {
        Err(Error::TooLarge { .. }) => {
            println!("skipped: {} of {} sub-classifiers", solver.name(), problem.num_sub_classifiers());
            false
        }
        _ => true,
    }
}

fn same(certificate: &Certificate, wanted: &Value, what: &str) {
    assert!(certificate.is_optimal(), "{what}: {certificate:?}");
    assert_eq!(certificate.max_changed_upper, whole(wanted), "{what}: {certificate:?}");
}

#[test]
fn small_instances_of_hash_bagging_are_equal() {
    for (instance, votes, labels) in instances() {
        let blocks = lists(&instance["blocks"]);
        let structure = Structure::hash(votes.num_sub_classifiers(), &blocks).unwrap();
        assert_eq!(votes.ensemble_predictions(), classes(&instance["ensemble_prediction"]));
        let radii = samplewise::radii(&votes, blocks.len()).unwrap();
        assert_eq!(radii, numbers(&instance["samplewise_radius"]));
        let (all, correct) = (Scope::all(), Scope::correct(&labels));
        for wanted in instance["hash"].as_array().unwrap() {
            let budget = whole(&wanted["r"]) as usize;
            let problem = Problem::new(&votes, &structure, budget, &Scope::all()).unwrap();
            for solver in solvers().into_iter().filter(|solver| takes(solver.as_ref(), &problem)) {
                let options = CertifyConfig { solver: solver.as_ref(), ..CertifyConfig::default() };
                let what = format!("{} r {budget}", solver.name());
                let certificate = certify(&votes, &structure, budget, &all, &options).unwrap();
                same(&certificate, &wanted["max_changed"], &what);
                assert_eq!(certificate.certified(), whole(&wanted["certified_robust"]));
                let certificate = certify(&votes, &structure, budget, &correct, &options).unwrap();
                same(&certificate, &wanted["max_changed_correct"], &what);
                assert_eq!(certificate.certified(), whole(&wanted["certified_correct"]));
                // the reference decomposes all samples, in their order: those that cannot be attacked belong to groups as well
                let size = whole(&wanted["decomposition_size"]) as usize;
                let mut sum = 0;
                for first in (0..votes.num_samples()).step_by(size) {
                    let weights: Vec<u32> =
                        (0..votes.num_samples()).map(|at| u32::from((first..first + size).contains(&at))).collect();
                    let scope = Scope { weights: Some(&weights), ..Scope::all() };
                    let problem = Problem::new(&votes, &structure, budget, &scope).unwrap();
                    sum += solver.solve(&problem, &Limits::default()).unwrap().upper;
                }
                assert_eq!(sum, whole(&wanted["decomposed_max_changed"]), "{what}");
                let groups = CertifyConfig { group_size: Some(size), ..options };
                let grouped = certify(&votes, &structure, budget, &all, &groups).unwrap();
                assert!(grouped.max_changed_upper >= whole(&wanted["max_changed"]), "{what}: {grouped:?}");
                assert!(grouped.max_changed_upper <= sum, "{what}: {grouped:?}");
            }
            let attackable = samplewise::attackable(&votes, &structure, budget, &all).unwrap();
            let attackable: Vec<usize> = (0..votes.num_samples()).filter(|&at| attackable[at]).collect();
            assert_eq!(attackable, numbers(&wanted["samplewise_exact_attackable"]));
            let robust = |at: &usize| radii[*at] >= budget;
            let count = (0..votes.num_samples()).filter(robust).count();
            assert_eq!(count as u64, whole(&wanted["samplewise_radius_robust"]));
            let predictions = votes.ensemble_predictions();
            let correct = (0..votes.num_samples()).filter(robust).filter(|&at| predictions[at] == labels[at]).count();
            assert_eq!(correct as u64, whole(&wanted["samplewise_radius_correct"]));
        }
    }
}

#[test]
fn small_instances_of_vanilla_bagging_are_equal() {
    for (instance, votes, labels) in instances() {
        let vanilla = &instance["vanilla"];
        let sub_trainsets: Vec<Vec<u32>> = lists(&vanilla["sub_trainsets"])
            .into_iter()
            .map(|members| members.into_iter().map(|member| member as u32).collect())
            .collect();
        assert!(sub_trainsets.iter().flatten().all(|&member| u64::from(member) < whole(&vanilla["n_train"])));
        let structure = Structure::general(&sub_trainsets).unwrap();
        let tolerable = tolerable_budget(&structure, u64::MAX).unwrap();
        assert_eq!(tolerable.lower, tolerable.upper);
        assert_eq!(tolerable.upper as u64, whole(&vanilla["tolerable_upper_bound"]));
        assert_eq!(tolerable.greedy as u64, whole(&vanilla["tolerable_greedy"]));
        for wanted in vanilla["results"].as_array().unwrap() {
            let budget = whole(&wanted["r"]) as usize;
            let problem = Problem::new(&votes, &structure, budget, &Scope::all()).unwrap();
            for solver in solvers().into_iter().filter(|solver| takes(solver.as_ref(), &problem)) {
                let options = CertifyConfig { solver: solver.as_ref(), ..CertifyConfig::default() };
                let what = format!("{} r {budget}", solver.name());
                let certificate = certify(&votes, &structure, budget, &Scope::all(), &options).unwrap();
                same(&certificate, &wanted["max_changed"], &what);
                let certificate = certify(&votes, &structure, budget, &Scope::correct(&labels), &options).unwrap();
                same(&certificate, &wanted["max_changed_correct"], &what);
            }
        }
    }
}

/// The files `<name>_votes_<size>.safetensors`.
fn vote_files(name: &str) -> Vec<String> {
    let prefix = format!("{name}_votes_");
    let names = golden().names(&prefix, ".safetensors");
    if names.is_empty() {
        println!("skipped: there is no {prefix}*.safetensors");
    }
    names
}

/// Votes, labels and certificates of a real ensemble.
fn ensemble(votes: &str) -> Option<(Votes, Vec<u16>, Value)> {
    let certificates = votes.replace("_votes_", "_certificates_").replace(".safetensors", ".json");
    let (votes, certificates) = (read(votes)?, read(&certificates)?);
    let certificates: Value = serde_json::from_slice(&certificates).unwrap();
    let file = SafeTensors::deserialize(&votes).unwrap();
    let bytes = |tensor: &str| file.tensor(tensor).unwrap().data().iter().map(|&vote| u16::from(vote)).collect();
    let num_sub_classifiers = file.tensor("preds").unwrap().shape()[0];
    let votes = Votes::new(whole(&certificates["classes"]) as usize, num_sub_classifiers, bytes("preds")).unwrap();
    Some((votes, bytes("labels"), certificates))
}

fn check_ensemble(name: &str) {
    let Some((votes, labels, certificates)) = ensemble(name) else { return };
    let structure =
        Structure::hash_buckets(votes.num_sub_classifiers(), whole(&certificates["G_hat"]) as usize).unwrap();
    assert_eq!(votes.num_samples(), whole(&certificates["n_test"]) as usize);
    assert_eq!(votes.num_correct(&labels).unwrap() as u64, whole(&certificates["ensemble_correct"]));
    let everything = Problem::new(&votes, &structure, votes.num_sub_classifiers(), &Scope::all()).unwrap();
    assert_eq!(everything.num_columns() as u64, whole(&certificates["distinct_patterns"]));
    let results = certificates["results"].as_array().unwrap();
    let budgets: Vec<usize> = results.iter().map(|wanted| whole(&wanted["r"]) as usize).collect();
    let radii = samplewise::radii(&votes, structure.num_blocks().unwrap()).unwrap();
    let predictions = votes.ensemble_predictions();
    let own: [&dyn Solver; 2] = [&Enumeration::default(), &BranchAndBound];
    let largest = budgets.iter().copied().max().unwrap_or_default();
    let problem = Problem::new(&votes, &structure, largest, &Scope::all()).unwrap();
    for solver in own.into_iter().filter(|solver| takes(*solver, &problem)) {
        let options = CertifyConfig { solver, ..CertifyConfig::default() };
        let robust = certify_curve(&votes, &structure, &budgets, &Scope::all(), &options).unwrap();
        let correct = certify_curve(&votes, &structure, &budgets, &Scope::correct(&labels), &options).unwrap();
        for ((wanted, robust), correct) in results.iter().zip(&robust).zip(&correct) {
            println!("{name} {} r {}: {} s, {} nodes", solver.name(), robust.budget, robust.seconds, robust.nodes);
            same(robust, &wanted["max_changed"], name);
            same(correct, &wanted["max_changed_correct"], name);
            assert_eq!(robust.certified(), whole(&wanted["collective_robust"]));
            assert_eq!(correct.certified(), whole(&wanted["collective_correct"]));
            let certified = |at: &usize| radii[*at] >= robust.budget;
            let all = (0..votes.num_samples()).filter(certified).count();
            assert_eq!(all as u64, whole(&wanted["samplewise_robust"]));
            let right = (0..votes.num_samples()).filter(certified).filter(|&at| predictions[at] == labels[at]).count();
            assert_eq!(right as u64, whole(&wanted["samplewise_robust_correct"]));
            // the sharper test; with one block and two classes it is the same
            let of_radii = whole(&wanted["samplewise_robust"]);
            let is_same = structure.num_blocks() == Some(1) && votes.num_classes() == 2;
            assert!(robust.certified_samplewise >= of_radii, "{name}: {robust:?}");
            assert!(!is_same || robust.certified_samplewise == of_radii, "{name}: {robust:?}");
        }
    }
}

#[test]
fn certificates_of_the_bank_ensemble_are_equal() {
    vote_files("bank").iter().for_each(|file| check_ensemble(file));
}

#[test]
fn certificates_of_the_electricity_ensemble_are_equal() {
    vote_files("electricity").iter().for_each(|file| check_ensemble(file));
}
