//! Methods without reference values from authors, against a program of our own in NumPy with scikit-learn, crowd-kit and cleanlab: `xtask/peers/noisy-labels-reference.py`, whose output is `tests/golden/methods/methods.json`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{Device, Tensor, Var};
use core_tensor::backward;
use noisy_labels::annotators::{Annotations, DawidSkeneConfig, Stopping, dawid_skene, one_coin};
use noisy_labels::issues::{self, Prune, Score};
use noisy_labels::neighbours::{Metric, Points, nearest};
use noisy_labels::objectives as o;
use noisy_labels::{Probabilities, noise};
use serde_json::Value;

fn golden() -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/methods/methods.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// All numbers of nested lists.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

fn integers(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|x| x as u32).collect()
}

fn width(value: &Value) -> usize {
    value[0].as_array().unwrap().len()
}

fn near(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.), "{what}[{at}]: {a} instead of {b}");
    }
}

fn matrix(value: &Value) -> Tensor {
    Tensor::from_vec(numbers(value), ((), width(value)), &Device::Cpu).unwrap()
}

/// Compares a loss and its gradient for the logits.
fn loss(what: &str, case: &Value, logits: &Value, f: impl FnOnce(&Tensor) -> noisy_labels::Result<Tensor>) {
    let logits = Var::from_tensor(&matrix(logits)).unwrap();
    let found = f(&logits).unwrap();
    near(what, &[found.to_scalar::<f64>().unwrap()], &numbers(&case["loss"]), 1e-11);
    let gradient = backward(&found).unwrap().remove(&logits).unwrap();
    near(what, &gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap(), &numbers(&case["gradient"]), 1e-11);
}

#[test]
fn generalised_cross_entropy_and_corrections() {
    let golden = golden();
    let gce = &golden["gce"];
    for case in gce["cases"].as_array().unwrap() {
        let (q, labels) = (case["q"].as_f64().unwrap(), integers(&gce["labels"]));
        loss("gce", case, &gce["logits"], |x| o::generalised_cross_entropy(x, &labels, q));
    }
    let case = &golden["backward"];
    let (labels, transition) = (integers(&case["labels"]), numbers(&case["T"]));
    loss("backward", case, &case["logits"], |x| o::backward_correction(x, &labels, &transition));
    let case = &golden["forward"];
    let (labels, transition) = (integers(&case["labels"]), numbers(&case["T"]));
    loss("forward", case, &case["logits"], |x| o::forward_correction(x, &labels, &transition));
}

#[test]
fn early_learning_follows_the_indices_of_examples() {
    let golden = golden();
    let elr = &golden["elr"];
    let config =
        o::EarlyLearningConfig { weight: elr["weight"].as_f64().unwrap(), momentum: elr["momentum"].as_f64().unwrap() };
    let classes = width(&elr["steps"][0]["logits"]);
    let count = elr["examples"].as_u64().unwrap() as usize;
    let mut memory = o::EarlyLearning::new(count, classes, config).unwrap();
    for step in elr["steps"].as_array().unwrap() {
        let (labels, indices) = (integers(&step["labels"]), integers(&step["indices"]));
        loss("elr", step, &step["logits"], |x| memory.loss(x, &labels, &indices));
    }
    let kept: Vec<f64> = (0..count).flat_map(|example| memory.target(example).to_vec()).collect();
    near("memory", &kept, &numbers(&elr["final_memory"]), 1e-12);
}

#[test]
fn estimated_transitions_and_replaced_labels() {
    let golden = golden();
    let anchor = &golden["anchor"];
    let values = numbers(&anchor["probabilities"]);
    let p = Probabilities::new(&values, width(&anchor["probabilities"])).unwrap();
    for case in anchor["cases"].as_array().unwrap() {
        let found = noise::anchor_transition(p, case["quantile"].as_f64().unwrap()).unwrap();
        near("anchors", &found, &numbers(&case["T"]), 1e-14);
    }
    let dual = &golden["dual_t"];
    let values = numbers(&dual["probabilities"]);
    let p = Probabilities::new(&values, width(&dual["probabilities"])).unwrap();
    let found = noise::dual_transition(p, &integers(&dual["given"]), dual["quantile"].as_f64().unwrap()).unwrap();
    near("DualT", &found, &numbers(&dual["T"]), 1e-13);
    let lrt = &golden["lrt"];
    let labels = integers(&lrt["labels"]);
    let found = o::likelihood_ratio_labels(&matrix(&lrt["logits"]), &labels, lrt["ratio"].as_f64().unwrap()).unwrap();
    assert_eq!(found, integers(&lrt["new_labels"]));
}

#[test]
fn votes_of_neighbours_are_those_of_scikit_learn() {
    let golden = golden();
    let knn = &golden["knn"];
    let classes = knn["num_classes"].as_u64().unwrap() as usize;
    let (references, queries) = (numbers(&knn["references"]), numbers(&knn["queries"]));
    let width = width(&knn["references"]);
    let of_classes = integers(&knn["classes"]);
    let k = knn["k"].as_u64().unwrap() as usize;
    // References are examples of their own here.
    let all =
        noisy_labels::npc::References { examples: (0..of_classes.len() as u32).collect(), classes: of_classes.clone() };
    let (references, queries) = (Points::new(&references, width).unwrap(), Points::new(&queries, width).unwrap());
    let found = noisy_labels::npc::neighbour_votes_of(queries, references, &all, classes, k).unwrap();
    near("votes", &found, &numbers(&knn["probabilities"]), 1e-12);
    let graph = nearest(references, queries, k, Metric::Euclidean).unwrap();
    assert!(graph.distances().contains(&0.));
}

#[test]
fn models_of_annotators() {
    let golden = golden();
    let case = &golden["dawid_skene"];
    let triples = case["triples"].as_array().unwrap().iter().map(|triple| {
        let triple = integers(triple);
        (triple[0], triple[1], triple[2])
    });
    let triples: Vec<(u32, u32, u32)> = triples.collect();
    let classes = width(&case["posteriors"]);
    let annotations = Annotations::named(classes, triples).unwrap().annotations;
    let stopping = Stopping { max_iterations: case["iterations"].as_u64().unwrap() as usize, tolerance: 0. };
    let config = DawidSkeneConfig { stopping, ..DawidSkeneConfig::default() };
    let fit = dawid_skene(&annotations, &config).unwrap();
    near("posteriors", fit.consensus.posteriors(), &numbers(&case["posteriors"]), 1e-10);
    near("confusions", &fit.confusions, &numbers(&case["confusions"]), 1e-10);
    near("objective", &fit.progress.log_likelihoods, &numbers(&case["objective"]), 1e-10);
    let labels: Vec<u32> = fit.consensus.labels().into_iter().map(Option::unwrap).collect();
    assert_eq!(labels, integers(&case["crowdkit_labels"]));
    let case = &golden["one_coin"];
    let fit = one_coin(&annotations, &config).unwrap();
    near("posteriors", fit.consensus.posteriors(), &numbers(&case["posteriors"]), 1e-10);
    let found: Vec<f64> = (0..annotations.num_annotators()).map(|annotator| fit.reliability(annotator)).collect();
    near("accuracies", &found, &numbers(&case["accuracies"]), 1e-10);
}

#[test]
fn confident_learning_is_that_of_cleanlab_where_it_keeps_to_the_paper() {
    let golden = golden();
    let case = &golden["cleanlab"];
    let values = numbers(&case["probabilities"]);
    let (p, labels) = (Probabilities::new(&values, width(&case["probabilities"])).unwrap(), integers(&case["labels"]));
    let joint = issues::confident_joint(p, &labels).unwrap();
    let counts: Vec<f64> = joint.counts.iter().map(|&count| count as f64).collect();
    near("confident joint", &counts, &numbers(&case["confident_joint"]), 0.);
    let scores = [
        ("self_confidence", Score::SelfConfidence),
        ("normalized_margin", Score::NormalisedMargin),
        ("confidence_weighted_entropy", Score::ConfidenceWeightedEntropy),
    ];
    for (name, score) in scores {
        // cleanlab adds 1e-6 in the last one.
        near(name, &issues::label_scores(p, &labels, score).unwrap(), &numbers(&case[name]), 2e-5);
    }
    let listed = |prune: Prune| {
        let mut list = issues::label_issues(p, &labels, &joint, prune).unwrap();
        list.sort_unstable();
        list
    };
    for (name, prune) in [
        ("issues_both", Prune::Both),
        ("issues_confident", Prune::Confident),
        ("issues_predicted_neq_given", Prune::PredictedNotGiven),
    ] {
        assert_eq!(listed(prune), integers(&case[name]), "{name}");
    }
    // cleanlab never lists what is predicted as it is labelled; the paper's rules do.
    let mut by_class = listed(Prune::ByClass);
    by_class.retain(|&row| p.most_probable(row as usize) as u32 != labels[row as usize]);
    assert_eq!(by_class, integers(&case["issues_prune_by_class"]));
    // It rounds counts so that rows keep their sums: one example.
    let (ours, theirs) = (listed(Prune::ByNoiseRate), integers(&case["issues_prune_by_noise_rate"]));
    assert!(theirs.iter().all(|row| ours.contains(row)) && ours.len() - theirs.len() <= 1);
}

#[test]
fn noise_in_closed_form() {
    use core_tensor::random::Rng;
    let golden = golden();
    let draws = &golden["noise_draws"];
    let count = 40_000usize;
    let truth: Vec<u32> = (0..count as u32).map(|at| at % 10).collect();
    let share = |given: &[u32]| given.iter().zip(&truth).filter(|(a, b)| a != b).count() as f64 / count as f64;
    let within = |found: f64, expected: f64| {
        // four standard deviations
        let deviation = (expected * (1. - expected) / count as f64).sqrt();
        assert!((found - expected).abs() < 4. * deviation, "{found} instead of {expected}");
    };
    let of = |name: &str| (draws[name]["rate"].as_f64().unwrap(), draws[name]["wrong"].as_f64().unwrap());
    let (rate, wrong) = of("symmetric_change");
    within(share(&noise::symmetric_change(&truth, 10, rate, &mut Rng::new(1)).unwrap()), wrong);
    let (rate, wrong) = of("symmetric_replacement");
    within(share(&noise::symmetric_replacement(&truth, 10, rate, &mut Rng::new(2)).unwrap()), wrong);
    let (rate, wrong) = of("asymmetric");
    let table = integers(&draws["asymmetric"]["table"]);
    within(share(&noise::asymmetric(&truth, &table, rate, &mut Rng::new(3)).unwrap()), wrong);
    let case = &draws["srdin"];
    let found = noise::similarity_related(
        &integers(&case["labels"]),
        &numbers(&case["p_true"]),
        &integers(&case["candidates"]),
        case["rate"].as_f64().unwrap(),
    );
    assert_eq!(found.unwrap(), integers(&case["noisy_labels"]));
}

#[test]
fn a_generative_classifier_is_a_discriminant_and_its_robust_form_leaves_outliers_out() {
    use noisy_labels::training::{GenerativeClassifier, GenerativeConfig};
    let golden = golden();
    let case = &golden["rog"];
    let (x, queries) = (numbers(&case["features"]), numbers(&case["queries"]));
    let (size, labels) = (width(&case["features"]), integers(&case["labels"]));
    let plain = GenerativeConfig { support: 1., ridge: 0., ..Default::default() };
    let points = Points::new(&x, size).unwrap();
    let model = GenerativeClassifier::fit(points, &labels, 3, &plain).unwrap();
    near("means", model.means(), &numbers(&case["class_means"]), 1e-12);
    near("covariance", model.covariance(), &numbers(&case["covariance"]), 1e-12);
    let found = model.predict(Points::new(&queries, size).unwrap()).unwrap();
    let logs: Vec<f64> = found.iter().map(|p| p.ln()).collect();
    near("log posteriors", &logs, &numbers(&case["log_posteriors"]), 1e-9);

    let case = &golden["mcd"];
    let x = numbers(&case["features"]);
    let size = width(&case["features"]);
    let config = GenerativeConfig {
        support: case["support_fraction"].as_f64().unwrap(),
        starts: 500,
        ridge: 0.,
        ..Default::default()
    };
    let points = Points::new(&x, size).unwrap();
    let one = vec![0; x.len() / size];
    let model = GenerativeClassifier::fit(points, &one, 1, &config).unwrap();
    near("location", model.means(), &numbers(&case["best_location"]), 1e-9);
    near("covariance", model.covariance(), &numbers(&case["best_covariance"]), 1e-9);

    // Wrong arguments.
    for change in [
        GenerativeConfig { support: 0., ..config },
        GenerativeConfig { support: f64::NAN, ..config },
        GenerativeConfig { starts: 0, ..config },
        GenerativeConfig { ridge: -1., ..config },
    ] {
        assert!(GenerativeClassifier::fit(points, &one, 1, &change).is_err(), "{change:?}");
    }
    assert!(GenerativeClassifier::fit(points, &one[1..], 1, &config).is_err());
    assert!(GenerativeClassifier::fit(points, &one, 0, &config).is_err());
    let equal = vec![1f64; 30];
    let equal = Points::new(&equal, 3).unwrap();
    assert!(GenerativeClassifier::fit(equal, &[0; 10], 1, &config).is_err());
    assert!(model.predict(Points::new(&x[..size - 1], size - 1).unwrap()).is_err());
    // A class without examples is never predicted.
    let model = GenerativeClassifier::fit(points, &one, 2, &plain).unwrap();
    assert!(model.predict(points).unwrap().chunks(2).all(|row| row == [1., 0.]));
}
