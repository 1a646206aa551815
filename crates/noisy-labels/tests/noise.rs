//! Drawn noise: rates as they are named, and wrong arguments.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use core_tensor::random::Rng;
use noisy_labels::annotators::{DawidSkeneConfig, dawid_skene};
use noisy_labels::neighbours::Points;
use noisy_labels::noise::{
    Behaviour, InstanceNoiseConfig, anchor_transition, annotate, asymmetric, counted_transition, dual_transition,
    instance_dependent, instance_probabilities, noise_rate, pairs, similarity_related, symmetric_change,
    symmetric_replacement, truncated_rates,
};
use noisy_labels::{Error, Probabilities};

const CLASSES: usize = 5;

fn clean(count: u32) -> Vec<u32> {
    (0..count).map(|at| at % CLASSES as u32).collect()
}

/// Whether a share of `n` draws is within four standard deviations of its expectation.
fn is_near(share: f64, expected: f64, n: f64) -> bool {
    (share - expected).abs() < 4. * (expected * (1. - expected) / n).sqrt() + 1e-12
}

#[test]
fn both_symmetric_conventions_are_what_they_say() {
    let labels = clean(40_000);
    let rng = Rng::new(1);
    for rate in [0., 0.2, 0.5, 1.] {
        let changed = symmetric_change(&labels, CLASSES, rate, &mut rng.fork("change")).unwrap();
        assert!(is_near(noise_rate(&labels, &changed).unwrap().rate, rate, 40_000.), "{rate}");
        let replaced = symmetric_replacement(&labels, CLASSES, rate, &mut rng.fork("replace")).unwrap();
        let expected = rate * (CLASSES - 1) as f64 / CLASSES as f64;
        assert!(is_near(noise_rate(&labels, &replaced).unwrap().rate, expected, 40_000.), "{rate}");
        let transition = counted_transition(&labels, &changed, CLASSES).unwrap();
        for (at, &p) in transition.iter().enumerate() {
            let expected = if at / CLASSES == at % CLASSES { 1. - rate } else { rate / (CLASSES - 1) as f64 };
            assert!(is_near(p, expected, 8000.), "{rate}: {p}");
        }
    }
}

#[test]
fn tables_change_their_classes_only() {
    let labels = clean(20_000);
    let noisy = asymmetric(&labels, &[0, 3, 2, 1, 4], 0.4, &mut Rng::new(2)).unwrap();
    let transition = counted_transition(&labels, &noisy, CLASSES).unwrap();
    for (class, row) in transition.chunks(CLASSES).enumerate() {
        let target = [0, 3, 2, 1, 4][class];
        if target == class {
            assert_eq!(row[class], 1.);
        } else {
            assert!(is_near(row[target], 0.4, 4000.) && is_near(row[class], 0.6, 4000.), "{row:?}");
        }
    }
    let noisy = pairs(&labels, CLASSES, 1., &mut Rng::new(3)).unwrap();
    assert!(labels.iter().zip(&noisy).all(|(a, b)| (a + 1) % CLASSES as u32 == *b));
}

#[test]
fn noise_of_instances_has_its_rate_and_depends_on_them() {
    let labels = clean(10_000);
    let x: Vec<f32> = (0..30_000).map(|at| ((at * 37) % 101) as f32 / 50. - 1.).collect();
    let points = Points::new(&x, 3).unwrap();
    let config = InstanceNoiseConfig::default();
    let noisy = instance_dependent(points, &labels, CLASSES, &config, &mut Rng::new(4)).unwrap();
    assert!(is_near(noise_rate(&labels, &noisy).unwrap().rate, 0.4, 10_000.));
    assert_eq!(noisy, instance_dependent(points, &labels, CLASSES, &config, &mut Rng::new(4)).unwrap());
    assert_ne!(noisy, instance_dependent(points, &labels, CLASSES, &config, &mut Rng::new(5)).unwrap());
    let rates = truncated_rates(5000, &InstanceNoiseConfig { rate: 0.02, deviation: 0.3 }, &mut Rng::new(6)).unwrap();
    assert!(rates.iter().all(|rate| (0. ..=1.).contains(rate)));
    let noisy = similarity_related(&[0, 1, 2, 3], &[0.9, 0.2, 0.2, 0.5], &[4, 4, 4, 4], 0.5).unwrap();
    assert_eq!(noisy, [0, 4, 4, 3]);
}

#[test]
fn transitions_are_estimated() {
    // A model that predicts the noisy labels perfectly: p(given | x) is the row of the true class, a little less for all but the anchors.
    let truth = clean(5000);
    let row = |class: u32, certainty: f64| -> Vec<f64> {
        let clean = |at: usize| if at == class as usize { 0.7 } else { 0.3 / (CLASSES - 1) as f64 };
        (0..CLASSES).map(|at| certainty * clean(at) + (1. - certainty) / CLASSES as f64).collect()
    };
    let p: Vec<f64> =
        truth.iter().enumerate().flat_map(|(at, &class)| row(class, if at < 500 { 1. } else { 0.8 })).collect();
    let p = Probabilities::new(&p, CLASSES).unwrap();
    let given = symmetric_change(&truth, CLASSES, 0.3, &mut Rng::new(7)).unwrap();
    for transition in [anchor_transition(p, 1.).unwrap(), dual_transition(p, &given, 1.).unwrap()] {
        for (row, sum) in transition.chunks(CLASSES).map(|row| (row, row.iter().sum::<f64>())) {
            assert!((sum - 1.).abs() < 1e-9, "{row:?}");
        }
    }
    let anchors = anchor_transition(p, 1.).unwrap();
    assert!((0..CLASSES).all(|class| (anchors[class * CLASSES + class] - 0.7).abs() < 1e-12));
    let interval = noise_rate(&[0, 1, 2, 3], &[0, 1, 2, 0]).unwrap();
    assert!((interval.rate - 0.25).abs() < 1e-15);
    // Wilson's interval for 1 of 4, from its formula with other software.
    assert!((interval.lower - 0.045_587).abs() < 1e-5 && (interval.upper - 0.699_358).abs() < 1e-5, "{interval:?}");
}

#[test]
fn annotators_behave() {
    let truth = clean(3000);
    let confusion: Vec<f64> = (0..CLASSES)
        .flat_map(|class| (0..CLASSES).map(move |label| if label == (class + 1) % CLASSES { 0.9 } else { 0.025 }))
        .collect();
    let people = [
        Behaviour::Accurate(0.9),
        Behaviour::Accurate(0.9),
        Behaviour::Accurate(0.9),
        Behaviour::Spammer,
        Behaviour::Constant(2),
        Behaviour::Confusion(confusion.clone()),
    ];
    let all = annotate(&truth, CLASSES, &people, 4, &mut Rng::new(8)).unwrap();
    assert_eq!(all.len(), 12_000);
    assert!((0..3000).all(|item| all.of_item(item).len() == 4));
    assert!(all.of_annotator(4).all(|annotation| annotation.label == 2));
    let fit = dawid_skene(&all, &DawidSkeneConfig::default()).unwrap();
    assert!((0..3).all(|annotator| (fit.reliability(annotator) - 0.9).abs() < 0.03));
    assert!((fit.reliability(3) - 0.2).abs() < 0.05);
    for (found, expected) in fit.confusion(5).iter().zip(&confusion) {
        assert!((found - expected).abs() < 0.06);
    }
}

#[test]
fn wrong_arguments_are_errors() {
    let rng = &mut Rng::new(0);
    for rate in [-0.1, 1.1, f64::NAN] {
        assert!(matches!(symmetric_change(&[0], 2, rate, rng), Err(Error::InvalidConfig { .. })));
        assert!(symmetric_replacement(&[0], 2, rate, rng).is_err() && pairs(&[0], 2, rate, rng).is_err());
        assert!(similarity_related(&[0], &[0.5], &[1], rate).is_err());
        assert!(truncated_rates(1, &InstanceNoiseConfig { rate, ..Default::default() }, rng).is_err());
    }
    assert!(matches!(symmetric_change(&[2], 2, 0.1, rng), Err(Error::OutOfRange { .. })));
    for deviation in [-0.1, f64::NAN, f64::INFINITY, 1e300] {
        assert!(truncated_rates(1, &InstanceNoiseConfig { deviation, ..Default::default() }, rng).is_err());
    }
    assert!(symmetric_change(&[0], 1, 0.1, rng).is_err() && symmetric_change(&[], 0, 0.1, rng).is_err());
    assert!(asymmetric(&[0], &[1], 0.1, rng).is_err());
    assert!(similarity_related(&[0, 1], &[0.5], &[1, 1], 0.1).is_err());
    assert!(similarity_related(&[0], &[f64::NAN], &[1], 0.1).is_err());
    let x = Points::new(&[1f64, 2.], 2).unwrap();
    assert!(matches!(instance_probabilities(x, &[0], 2, &[0.; 7], &[0.1]), Err(Error::Length { .. })));
    assert!(instance_probabilities(x, &[0], 2, &[0.; 8], &[1.5]).is_err());
    assert!(noise_rate(&[], &[]).is_err() && noise_rate(&[0], &[]).is_err());
    let none = Probabilities::<f64>::new(&[], 2).unwrap();
    assert!(anchor_transition(none, 0.97).is_err());
    let one = [0.5, 0.5];
    assert!(anchor_transition(Probabilities::new(&one, 2).unwrap(), 0.).is_err());
    assert!(annotate(&[0], 2, &[Behaviour::Spammer], 2, rng).is_err());
    assert!(annotate(&[0], 2, &[Behaviour::Accurate(2.)], 1, rng).is_err());
    assert!(annotate(&[0], 2, &[Behaviour::Confusion(vec![0.5; 4])], 1, rng).is_ok());
    assert!(annotate(&[0], 2, &[Behaviour::Confusion(vec![0.4; 4])], 1, rng).is_err());
    assert!(annotate(&[0], 2, &[Behaviour::Constant(2)], 1, rng).is_err());
}
