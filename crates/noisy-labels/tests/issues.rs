//! Confident learning: against its definition, simulated noise, and wrong arguments.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use noisy_labels::issues::{
    Prune, Score, confident_joint, duplicates, label_issues, label_scores, looks_in_sample, neighbour_agreement,
    ranking, typicality,
};
use noisy_labels::neighbours::{Metric, Points, nearest, nearest_others};
use noisy_labels::{Error, Probabilities};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CLASSES: usize = 4;

/// Probabilities that are right about the true class most of the time, given labels of which some are wrong, and the true classes.
fn simulated(seed: u64, examples: usize, noise: f64) -> (Vec<f64>, Vec<u32>, Vec<u32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut probabilities, mut given, mut truth) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..examples {
        let class = rng.random_range(0..CLASSES as u32);
        let mut row: Vec<f64> = (0..CLASSES).map(|_| rng.random_range(0. ..0.25)).collect();
        row[class as usize] += rng.random_range(0.2..1.5);
        let sum: f64 = row.iter().sum();
        probabilities.extend(row.iter().map(|p| p / sum));
        truth.push(class);
        // Wrong labels are the next class.
        given.push(if rng.random_bool(noise) { (class + 1) % CLASSES as u32 } else { class });
    }
    (probabilities, given, truth)
}

#[test]
fn wrong_labels_are_found_and_counted() {
    let (p, given, truth) = simulated(3, 4000, 0.2);
    let p = Probabilities::new(&p, CLASSES).unwrap();
    let joint = confident_joint(p, &given).unwrap();
    assert!((joint.noise_rate() - 0.2).abs() < 0.02, "{}", joint.noise_rate());
    let transition = joint.transition();
    for class in 0..CLASSES {
        assert!((transition[class * CLASSES + class] - 0.8).abs() < 0.04);
        assert!((transition[class * CLASSES + (class + 1) % CLASSES] - 0.2).abs() < 0.04);
    }
    let is_wrong = |at: u32| given[at as usize] != truth[at as usize];
    let wrong = (0..4000).filter(|&at| is_wrong(at)).count();
    for prune in [Prune::ByClass, Prune::ByNoiseRate, Prune::Both, Prune::Confident, Prune::PredictedNotGiven] {
        let found = label_issues(p, &given, &joint, prune).unwrap();
        let right = found.iter().filter(|&&at| is_wrong(at)).count();
        assert!(right as f64 > 0.95 * found.len() as f64, "{prune:?}: {right} of {}", found.len());
        assert!(right as f64 > 0.75 * wrong as f64, "{prune:?}: {right} of {wrong}");
        let mut distinct = found.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), found.len());
    }
    for score in [Score::SelfConfidence, Score::NormalisedMargin, Score::ConfidenceWeightedEntropy] {
        let scores = label_scores(p, &given, score).unwrap();
        assert!(scores.iter().all(|s| (0. ..=1.).contains(s)), "{score:?}");
        let worst = &ranking(&scores)[..wrong];
        assert!(worst.iter().filter(|&&at| is_wrong(at)).count() as f64 > 0.9 * wrong as f64, "{score:?}");
    }
}

#[test]
fn a_class_without_labels_counts_for_nothing() {
    // Class 2 is predicted, but nobody gave it.
    let p = [0.8, 0.1, 0.1, 0.1, 0.2, 0.7, 0.2, 0.7, 0.1, 0.3, 0.6, 0.1];
    let joint = confident_joint(Probabilities::new(&p, 3).unwrap(), &[0, 0, 1, 1]).unwrap();
    assert!(joint.thresholds[2].is_infinite());
    assert!((0..3).all(|given| joint.counts[given * 3 + 2] == 0));
    assert_eq!(joint.given, [2, 2, 0]);
    assert!((joint.joint().iter().sum::<f64>() - 1.).abs() < 1e-12);
    assert_eq!(joint.transition()[6..], [0., 0., 1.]);
    let issues =
        label_issues(Probabilities::new(&p, 3).unwrap(), &[0, 0, 1, 1], &joint, Prune::PredictedNotGiven).unwrap();
    assert_eq!(issues, [1]);
}

#[test]
fn predictions_of_the_labels_themselves_are_noticed() {
    let (p, _, truth) = simulated(8, 500, 0.);
    let p = Probabilities::new(&p, CLASSES).unwrap();
    let predicted: Vec<u32> = (0..p.len()).map(|row| p.most_probable(row) as u32).collect();
    assert!(looks_in_sample(p, &predicted).unwrap());
    let flipped: Vec<u32> =
        predicted.iter().zip(0..).map(|(&l, at)| if at % 20 == 0 { (l + 1) % 4 } else { l }).collect();
    assert!(!looks_in_sample(p, &flipped).unwrap());
    assert_eq!(truth.len(), predicted.len());
}

proptest! {
    /// The definition, in the plainest loops.
    #[test]
    fn the_joint_is_its_definition(seed in 0u64..1000, examples in 1usize..60, noise in 0f64..0.9) {
        let (p, given, _) = simulated(seed, examples, noise);
        let joint = confident_joint(Probabilities::new(&p, CLASSES).unwrap(), &given).unwrap();
        let mut expected = vec![0u64; CLASSES * CLASSES];
        for at in 0..examples {
            let row = &p[at * CLASSES..(at + 1) * CLASSES];
            let mut candidates: Vec<usize> = (0..CLASSES).filter(|&class| {
                let of: Vec<f64> = (0..examples).filter(|&e| given[e] as usize == class).map(|e| p[e * CLASSES + class]).collect();
                !of.is_empty() && row[class] >= of.iter().sum::<f64>() / of.len() as f64 - 1e-12
            }).collect();
            candidates.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            if let Some(&class) = candidates.first() {
                expected[given[at] as usize * CLASSES + class] += 1;
            }
        }
        prop_assert_eq!(&joint.counts, &expected);
        let shares = joint.joint();
        prop_assert!((shares.iter().sum::<f64>() - 1.).abs() < 1e-9);
        for (row, &count) in shares.chunks(CLASSES).zip(&joint.given) {
            prop_assert!((row.iter().sum::<f64>() - count as f64 / examples as f64).abs() < 1e-9);
        }
        for row in joint.transition().chunks(CLASSES) {
            prop_assert!((row.iter().sum::<f64>() - 1.).abs() < 1e-9);
        }
        prop_assert!((-1e-12..=1.).contains(&joint.noise_rate()));
        // f32 gives the same list as f64 where nothing is near a threshold.
        let p = Probabilities::new(&p, CLASSES).unwrap();
        let both = label_issues(p, &given, &joint, Prune::Both).unwrap();
        let by_class = label_issues(p, &given, &joint, Prune::ByClass).unwrap();
        prop_assert!(both.iter().all(|at| by_class.contains(at)));
    }
}

#[test]
fn wrong_arguments_are_errors() {
    let p = [0.5, 0.5, 0.9, 0.1];
    let p = Probabilities::new(&p, 2).unwrap();
    assert!(matches!(confident_joint(p, &[0]), Err(Error::Length { .. })));
    assert!(matches!(confident_joint(p, &[0, 2]), Err(Error::OutOfRange { position: 1, index: 2, bound: 2, .. })));
    assert!(matches!(confident_joint(Probabilities::<f64>::new(&[], 2).unwrap(), &[]), Err(Error::Empty { .. })));
    assert!(looks_in_sample(p, &[7, 0]).is_err() && label_scores(p, &[], Score::SelfConfidence).is_err());
    let other = confident_joint(Probabilities::new(&[1.0f32, 0., 0.], 3).unwrap(), &[0]).unwrap();
    assert!(matches!(label_issues(p, &[0, 1], &other, Prune::Both), Err(Error::Length { .. })));
}

#[test]
fn neighbours_show_wrong_labels_copies_and_outliers() {
    // Two clusters of 50 points, one wrong label, one point far from all.
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut features: Vec<f64> =
        (0..200).map(|at| if at % 4 < 2 { 0. } else { 20. } + rng.random_range(-1. ..1.)).collect();
    let mut labels: Vec<u32> = (0..100).map(|at| at % 2).collect();
    labels[31] = 0;
    features[2 * 77] = 400.;
    // 30 copies of one point, more than a point has neighbours.
    for at in (40..100).step_by(2) {
        features.copy_within(80..82, 2 * at);
    }
    let graph = nearest_others(Points::new(&features, 2).unwrap(), 5, Metric::Euclidean).unwrap();
    let agreement = neighbour_agreement(&graph, &labels).unwrap();
    assert_eq!(ranking(&agreement)[0], 31);
    assert_eq!(agreement[31], 0.);
    let usual = typicality(&graph).unwrap();
    assert_eq!(ranking(&usual)[0], 77);
    assert!(usual.iter().all(|value| *value > 0. && *value <= 1.));
    let copies: Vec<u32> = (40..100).step_by(2).collect();
    assert_eq!(duplicates(&graph, 0.).unwrap(), [copies.as_slice()]);
    let near = duplicates(&graph, 1e-9).unwrap();
    assert_eq!(near, [copies]);
    let all = duplicates(&graph, 1e6).unwrap();
    assert_eq!(all.iter().map(Vec::len).sum::<usize>(), 100);
}

#[test]
fn only_copies_have_no_scale_and_need_none() {
    let graph = nearest_others(Points::new(&[1f32; 8], 2).unwrap(), 2, Metric::Euclidean).unwrap();
    assert_eq!(duplicates(&graph, 0.5).unwrap(), [[0, 1, 2, 3]]);
    assert_eq!(typicality(&graph).unwrap(), [1.; 4]);
}

#[test]
fn graphs_of_other_points_are_errors() {
    let points = [0f64, 1., 2., 3.];
    let graph = nearest_others(Points::new(&points, 1).unwrap(), 1, Metric::Euclidean).unwrap();
    assert!(matches!(neighbour_agreement(&graph, &[0, 1]), Err(Error::Length { .. })));
    for factor in [-1., f64::NAN, f64::INFINITY] {
        assert!(matches!(duplicates(&graph, factor), Err(Error::InvalidConfig { .. })));
    }
    // Neighbours among more references than there are queries.
    let other =
        nearest(Points::new(&points, 1).unwrap(), Points::new(&[3f64], 1).unwrap(), 1, Metric::Euclidean).unwrap();
    assert!(matches!(neighbour_agreement(&other, &[0]), Err(Error::OutOfRange { .. })));
    assert!(matches!(typicality(&other), Err(Error::OutOfRange { .. })));
    assert!(matches!(duplicates(&other, 0.), Err(Error::OutOfRange { .. })));
}

#[test]
fn a_report_says_it_all_and_counts_what_it_lists() {
    use noisy_labels::issues::{DataReportConfig, average_precision, data_report};
    use noisy_labels::neighbours::Points;
    // Two groups on a line; example 3 is labelled wrongly, 8 is a copy of 0 with another label, 9 lies far away.
    let features = [0f32, 0.1, 0.2, 0.3, 10., 10.1, 10.2, 10.3, 0., 90.];
    let labels = [0u32, 0, 0, 1, 1, 1, 1, 1, 1, 1];
    let p: Vec<f64> = features.iter().flat_map(|&x| if x < 5. { [0.9, 0.1] } else { [0.2, 0.8] }).collect();
    let p = Probabilities::new(&p, 2).unwrap();
    let config = DataReportConfig { neighbours: 3, ..Default::default() };
    let x = Points::new(&features, 1).unwrap();
    let report = data_report(p, &labels, Some(x), &config).unwrap();
    assert_eq!((report.examples, report.classes), (10, 2));
    let listed: usize = report.by_class.iter().map(|row| row.issues).sum();
    assert_eq!(listed, report.issues.len());
    let mut issues = report.issues.clone();
    issues.sort_unstable();
    assert_eq!(issues, [3, 8]);
    assert!((report.agreement - 0.8).abs() < 1e-12 && !report.looks_in_sample);
    let of_features = report.features.unwrap();
    assert_eq!(of_features.duplicates, [vec![0, 8]]);
    assert_eq!((of_features.conflicting, of_features.outliers.as_slice()), (1, [9].as_slice()));
    assert!(of_features.contradicted.contains(&3));
    // In-sample probabilities are named.
    let sure: Vec<f64> = labels.iter().flat_map(|&label| if label == 0 { [1., 0.] } else { [0., 1.] }).collect();
    let report = data_report::<_, f32>(Probabilities::new(&sure, 2).unwrap(), &labels, None, &config).unwrap();
    assert!(report.looks_in_sample && report.features.is_none() && report.issues.is_empty());
    // Wrong arguments.
    assert!(data_report::<_, f32>(p, &labels[1..], None, &config).is_err());
    assert!(data_report(p, &labels, Some(Points::new(&features[1..], 1).unwrap()), &config).is_err());
    for change in [
        DataReportConfig { near: -1., ..config },
        DataReportConfig { far: f64::NAN, ..config },
        DataReportConfig { contradicted: f64::INFINITY, ..config },
        DataReportConfig { neighbours: 0, ..config },
    ] {
        assert!(data_report(p, &labels, Some(x), &change).is_err(), "{change:?}");
    }
    let one = Probabilities::new(&[1., 0.], 2).unwrap();
    assert!(data_report(one, &[0], Some(Points::new(&features[..1], 1).unwrap()), &config).is_err());
    // Average precision: by hand 1/1, 2/3 for places 1 and 3.
    let found = average_precision(&[0.1, 0.2, 0.3, 0.4], &[true, false, true, false]).unwrap();
    assert!((found - (1. + 2. / 3.) / 2.).abs() < 1e-12);
    assert!(average_precision(&[0.1], &[false]).is_err());
    assert!(average_precision(&[f64::NAN], &[true]).is_err());
    assert!(average_precision(&[0.1], &[true, false]).is_err());
}

#[test]
fn a_class_that_nobody_was_given_takes_no_example() {
    use noisy_labels::issues::{Prune, confident_joint, label_issues};
    // Three columns, labels of two classes.
    let p = [0.5, 0.1, 0.4, 0.1, 0.5, 0.4, 0.6, 0.1, 0.3, 0.1, 0.2, 0.7];
    let (p, labels) = (Probabilities::new(&p, 3).unwrap(), [0u32, 1, 0, 1]);
    let joint = confident_joint(p, &labels).unwrap();
    assert!((0..3).all(|given| joint.counts[given * 3 + 2] == 0) && joint.thresholds[2].is_infinite());
    for prune in [Prune::ByClass, Prune::ByNoiseRate, Prune::Both, Prune::Confident, Prune::PredictedNotGiven] {
        let listed = label_issues(p, &labels, &joint, prune).unwrap();
        assert!(listed.iter().all(|&example| (example as usize) < 4), "{prune:?}");
    }
}
