//! Partitions, learners and training, end to end.

#![allow(clippy::unwrap_used)]

use adversarial::Error;
use adversarial::bagging::learners::{Gamma, GaussianNaiveBayes, KernelSvm, LogisticRegression};
use adversarial::bagging::{
    BaseLearner, CertifyConfig, Examples, HashPartitioner, Record, Scope, SubTrainsets, certify, train, train_votes,
    vanilla_sub_trainsets,
};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};

const WIDTH: usize = 4;
const TRAINING: usize = 240;
const TEST: usize = 120;

/// What `learners/make.py` makes: features and labels.
fn points(classes: usize) -> (Vec<f32>, Vec<u16>) {
    let mut state = 5u64;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for at in 0..TRAINING + TEST {
        let label = at % classes;
        rows.extend((0..WIDTH).map(|j| (((label * (j + 1)) % 3) as f64 + 2.5 * unit()) as f32));
        labels.push(label as u16);
    }
    (rows, labels)
}

fn examples(classes: usize) -> (Examples, Vec<f32>, Vec<u16>) {
    let (rows, labels) = points(classes);
    let (train, test) = rows.split_at(TRAINING * WIDTH);
    let examples = Examples::new(WIDTH, classes, train.to_vec(), labels[..TRAINING].to_vec()).unwrap();
    (examples, test.to_vec(), labels[TRAINING..].to_vec())
}

fn learners() -> [(&'static str, Box<dyn BaseLearner>); 3] {
    [
        ("naive_bayes", Box::new(GaussianNaiveBayes::default())),
        ("svm", Box::new(KernelSvm::default())),
        ("logistic", Box::new(LogisticRegression { max_iterations: 1000, tolerance: 1e-8, ..Default::default() })),
    ]
}

#[test]
fn learners_predict_what_scikit_learn_predicts() {
    let wanted: Value = serde_json::from_str(include_str!("learners/scikit-learn.json")).unwrap();
    for classes in [2, 3] {
        let (examples, test, _) = examples(classes);
        let members: Vec<u32> = (0..TRAINING as u32).collect();
        for (name, learner) in learners() {
            let found = learner.fit(&examples, &members, 0).unwrap().predict(&test).unwrap();
            let wanted: Vec<u64> =
                wanted[format!("{name} {classes}")].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
            let different = found.iter().zip(&wanted).filter(|(found, wanted)| u64::from(**found) != **wanted).count();
            // the support vector machine stops at its tolerance, from which a point on the boundary may fall to either side
            assert!(different <= usize::from(name == "svm"), "{name} {classes}: {different} differ");
        }
    }
}

fn partition(examples: &Examples, num_sub_classifiers: usize, buckets: usize) -> (SubTrainsets, HashPartitioner) {
    let partitioner = HashPartitioner::new(num_sub_classifiers, buckets).unwrap();
    let contents: Vec<Vec<u8>> = (0..examples.len())
        .map(|at| examples.row(at).iter().flat_map(|feature| feature.to_le_bytes()).collect())
        .collect();
    let records: Vec<Record<'_>> =
        contents.iter().zip(examples.labels()).map(|(content, &label)| Record { content, label }).collect();
    (partitioner.partition(&records), partitioner)
}

#[test]
fn a_poisoned_training_set_changes_no_more_than_is_certified() {
    let (clean, test, labels) = examples(2);
    let (sub_trainsets, partitioner) = partition(&clean, 12, 6);
    let votes = train(&GaussianNaiveBayes::default(), &clean, &sub_trainsets, 0).unwrap().votes(&test).unwrap();
    let structure = partitioner.structure().unwrap();
    assert!(votes.num_correct(&labels).unwrap() > 100);
    for budget in [1, 2] {
        let certificate = certify(&votes, &structure, budget, &Scope::all(), &CertifyConfig::default()).unwrap();
        assert!(certificate.is_optimal() && certificate.certified() > 0);
        // attacks by insertion, by deletion, by other labels, and by other features, which cost two
        for attack in 0..40 {
            let (mut features, mut classes) = (clean.features().to_vec(), clean.labels().to_vec());
            let changes = if attack % 4 == 3 { budget / 2 } else { budget };
            for step in 0..changes {
                let at = (attack * 17 + step * 101) % classes.len();
                match attack % 4 {
                    3 => {
                        features[at * WIDTH..(at + 1) * WIDTH].iter_mut().for_each(|feature| *feature = 90. - *feature)
                    }
                    0 => {
                        features.extend([1e3 * (step as f32 + 1.), -50., attack as f32, 7.]);
                        classes.push((step % 2) as u16);
                    }
                    1 => {
                        features.drain(at * WIDTH..(at + 1) * WIDTH);
                        classes.remove(at);
                    }
                    // the hash does not see labels, so that a flip touches one sub-trainset of each block
                    _ => classes[at] = 1 - classes[at],
                }
            }
            let poisoned = Examples::new(WIDTH, 2, features, classes).unwrap();
            let (sub_trainsets, _) = partition(&poisoned, 12, 6);
            let after = train(&GaussianNaiveBayes::default(), &poisoned, &sub_trainsets, 0).unwrap();
            let after = after.votes(&test).unwrap();
            let touched = (0..12).filter(|&g| after.of(g) != votes.of(g)).count();
            assert!(touched <= 2 * budget, "attack {attack} touched {touched} sub-classifiers");
            let (before, after) = (votes.ensemble_predictions(), after.ensemble_predictions());
            let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            assert!(changed as u64 <= certificate.max_changed_upper, "attack {attack}: {changed}");
        }
    }
}

#[test]
fn training_depends_on_the_set_and_not_on_the_order() {
    let (clean, test, _) = examples(3);
    let order: Vec<usize> = (0..clean.len()).rev().collect();
    let features = order.iter().flat_map(|&at| clean.row(at).to_vec()).collect();
    let labels = order.iter().map(|&at| clean.labels()[at]).collect();
    let turned = Examples::new(WIDTH, 3, features, labels).unwrap();
    for (name, learner) in learners() {
        let votes = |examples: &Examples| {
            train(learner.as_ref(), examples, &partition(examples, 7, 5).0, 3).unwrap().votes(&test).unwrap()
        };
        assert_eq!(votes(&clean), votes(&turned), "{name}");
    }
}

#[test]
fn empty_and_one_class_sub_trainsets_still_vote() {
    let (clean, test, _) = examples(2);
    let ones: Vec<u32> = (0..TRAINING as u32).filter(|&at| clean.labels()[at as usize] == 1).collect();
    let sub_trainsets = SubTrainsets { members: vec![vec![], ones, vec![0, 1, 2, 3]] };
    for (name, learner) in learners() {
        let votes = train(learner.as_ref(), &clean, &sub_trainsets, 0).unwrap().votes(&test).unwrap();
        assert!(votes.of(0).iter().all(|&vote| vote == 0) && votes.of(1).iter().all(|&vote| vote == 1), "{name}");
        assert_eq!(votes.of(2).len(), TEST);
    }
}

#[test]
fn equal_features_are_no_trouble() {
    let examples = Examples::new(2, 2, vec![1.; 12], vec![0, 1, 0, 1, 0, 0]).unwrap();
    for (name, learner) in learners() {
        let found = learner.fit(&examples, &[0, 1, 2, 3, 4, 5], 0).unwrap().predict(&[1., 1., 5., 5.]).unwrap();
        assert_eq!(found[0], 0, "{name}: the majority");
    }
}

#[test]
fn wrong_input_is_an_error() {
    assert!(matches!(Examples::new(2, 2, vec![], vec![]), Err(Error::Empty { .. })));
    assert!(matches!(Examples::new(0, 2, vec![], vec![0]), Err(Error::Empty { .. })));
    assert!(matches!(Examples::new(2, 2, vec![1.; 3], vec![0, 1]), Err(Error::Length { .. })));
    assert!(matches!(Examples::new(1, 2, vec![1.; 2], vec![0, 2]), Err(Error::OutOfRange { .. })));
    let error = Examples::new(2, 2, vec![1., 2., f32::NAN, 3.], vec![0, 1]).unwrap_err();
    assert_eq!(error.to_string(), "Examples::new: feature 0 of sample 1 is NaN, expected a finite number");
    let (clean, test, _) = examples(2);
    let whole = SubTrainsets { members: vec![(0..100).collect()] };
    let ensemble = train(&GaussianNaiveBayes::default(), &clean, &whole, 0).unwrap();
    assert!(matches!(ensemble.votes(&[0., f32::NAN, 0., 0.]), Err(Error::Value { .. })));
    let wrong = SubTrainsets { members: vec![vec![TRAINING as u32]] };
    assert!(matches!(train(&KernelSvm::default(), &clean, &wrong, 0), Err(Error::OutOfRange { .. })));
    let one = vanilla_sub_trainsets(1, 20, TRAINING, true, 0).unwrap();
    let bad: [Box<dyn BaseLearner>; 3] = [
        Box::new(KernelSvm { c: -1., ..Default::default() }),
        Box::new(KernelSvm { gamma: Gamma::Value(f64::NAN), ..Default::default() }),
        Box::new(LogisticRegression { c: 0., ..Default::default() }),
    ];
    for learner in bad {
        assert!(matches!(train(learner.as_ref(), &clean, &one, 0), Err(Error::Learner { .. })));
    }
    let ensemble = train(&GaussianNaiveBayes::default(), &clean, &one, 0).unwrap();
    assert!(matches!(ensemble.votes(&test[1..]), Err(Error::Learner { .. })));
    assert!(matches!(ensemble.votes(&[]), Err(Error::Empty { .. })));
}

#[test]
fn votes_of_own_models_are_kept_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let sub_trainsets = vanilla_sub_trainsets(5, 10, 100, false, 1).unwrap();
    let calls = AtomicUsize::new(0);
    let run = |fails: Option<usize>, sub_trainsets: &SubTrainsets| {
        train_votes(sub_trainsets, 3, Some(folder.path()), |g, members| {
            calls.fetch_add(1, Ordering::Relaxed);
            if fails == Some(g) {
                return Err("cut short".into());
            }
            Ok(members.iter().map(|member| (member % 3) as u16).collect())
        })
    };
    let error = run(Some(4), &sub_trainsets).unwrap_err();
    assert_eq!(error.to_string(), "sub-classifier 4: cut short");
    calls.store(0, Ordering::Relaxed);
    let votes = run(None, &sub_trainsets).unwrap();
    assert!(calls.swap(0, Ordering::Relaxed) <= 5);
    assert_eq!(run(None, &sub_trainsets).unwrap(), votes);
    assert_eq!(calls.load(Ordering::Relaxed), 0, "all votes were kept");
    // a damaged file and a changed sub-trainset are computed again
    let file = folder.path().join("votes-2.bin");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[9] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let mut changed = sub_trainsets.clone();
    changed.members[0][0] = 99;
    assert_eq!(run(None, &changed).unwrap().of(2), votes.of(2));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[cfg(feature = "networks")]
mod networks {
    use super::*;
    use adversarial::bagging::learners::NetworkInNetworkLearner;

    /// Vertical and horizontal bars on noise.
    fn bars(count: usize) -> Examples {
        let mut state = 3u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as usize) % bound
        };
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for at in 0..count {
            let (label, line) = (at % 2, 2 + below(6));
            for y in 0..10 {
                for x in 0..10 {
                    let is_on = if label == 0 { x == line } else { y == line };
                    pixels.push((below(60) + if is_on { 180 } else { 0 }) as f32);
                }
            }
            labels.push(label as u16);
        }
        Examples::new(100, 2, pixels, labels).unwrap()
    }

    fn small() -> NetworkInNetworkLearner {
        NetworkInNetworkLearner {
            divisor: 24,
            epochs: 12,
            batch: 16,
            crop_padding: 1,
            ..NetworkInNetworkLearner::new(1, 10, 10)
        }
    }

    #[test]
    fn a_small_network_learns_and_repeats_itself() {
        let examples = bars(160);
        let members: Vec<u32> = (0..120).collect();
        let predict = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                small().fit(&examples, &members, 5).unwrap().predict(&examples.features()[12_000..]).unwrap()
            })
        };
        let found = predict(1);
        let right = found.iter().zip(&examples.labels()[120..]).filter(|(found, label)| found == label).count();
        assert!(right >= 36, "{right} of 40");
        assert_eq!(found, predict(2));
    }

    /// Where the feature `cuda` or `metal` is on and such a device is there.
    #[cfg(any(feature = "cuda", feature = "metal"))]
    #[test]
    fn a_small_network_learns_on_a_gpu() {
        let name = if cfg!(feature = "cuda") { "cuda:0" } else { "metal:0" };
        let device = match core_tensor::device::parse(name) {
            Ok(device) => device,
            Err(error) => return println!("skipped: {error}"),
        };
        let examples = bars(160);
        let members: Vec<u32> = (0..120).collect();
        let learner = NetworkInNetworkLearner { device, ..small() };
        let found = learner.fit(&examples, &members, 5).unwrap().predict(&examples.features()[12_000..]).unwrap();
        let right = found.iter().zip(&examples.labels()[120..]).filter(|(found, label)| found == label).count();
        assert!(right >= 36, "{right} of 40");
    }

    #[test]
    fn images_of_another_size_are_an_error() {
        let examples = bars(4);
        let wrong = NetworkInNetworkLearner { height: 9, ..small() };
        assert!(wrong.fit(&examples, &[0, 1], 0).is_err());
        assert!(NetworkInNetworkLearner { divisor: 0, ..small() }.fit(&examples, &[0, 1], 0).is_err());
        let one = small().fit(&examples, &[0], 0).unwrap();
        assert!(one.predict(&examples.features()[..99]).is_err());
    }
}

#[test]
fn settings_that_are_no_numbers_are_errors() {
    let examples = Examples::new(1, 2, vec![0., 1., 2., 3.], vec![0, 0, 1, 1]).unwrap();
    for value in [f64::NAN, -1., f64::INFINITY] {
        let bayes = GaussianNaiveBayes { var_smoothing: value };
        assert!(bayes.fit(&examples, &[0, 1, 2, 3], 0).is_err(), "{value}");
    }
    for tolerance in [f64::NAN, -1.] {
        let logistic = LogisticRegression { tolerance, ..LogisticRegression::default() };
        assert!(logistic.fit(&examples, &[0, 1, 2, 3], 0).is_err(), "{tolerance}");
    }
}
