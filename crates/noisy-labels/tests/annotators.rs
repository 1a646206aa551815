//! Consensus of annotators: properties that hold for every input, cases that other libraries have got wrong, and wrong arguments.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use noisy_labels::annotators::{
    Annotation, Annotations, Consensus, DawidSkeneConfig, GladConfig, KosConfig, MaceConfig, Progress, Stopping,
    agreement, crowdlab, dawid_skene, glad, kos, mace, majority_vote, one_coin,
};
use noisy_labels::{Error, Probabilities};
use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn annotations(num_classes: usize, given: &[(u32, u32, u32)]) -> Annotations {
    let count = |of: fn(&(u32, u32, u32)) -> u32| given.iter().map(of).max().map_or(0, |largest| largest as usize + 1);
    let all = given.iter().map(|&(item, annotator, label)| Annotation { item, annotator, label });
    Annotations::new(count(|g| g.0), count(|g| g.1), num_classes, all).unwrap()
}

/// Any model, with how its fit went.
fn fits(annotations: &Annotations) -> Vec<(&'static str, Consensus, Option<Progress>)> {
    let ds = dawid_skene(annotations, &DawidSkeneConfig::default()).unwrap();
    let coin = one_coin(annotations, &DawidSkeneConfig::default()).unwrap();
    let glad = glad(annotations, &GladConfig::default()).unwrap();
    let mace = mace(annotations, &MaceConfig::default()).unwrap();
    let mut all = vec![
        ("majority", majority_vote(annotations), None),
        ("dawid_skene", ds.consensus, Some(ds.progress)),
        ("one_coin", coin.consensus, Some(coin.progress)),
        ("glad", glad.consensus, Some(glad.progress)),
        ("mace", mace.consensus, Some(mace.progress)),
    ];
    if annotations.num_classes() == 2 {
        all.push(("kos", kos(annotations, &KosConfig::default()).unwrap().consensus, None));
    }
    all
}

/// Items with a class each, annotators of whom some are bad, some answers.
fn simulated(
    seed: u64,
    items: u32,
    annotators: u32,
    classes: u32,
    per_item: usize,
) -> (Vec<(u32, u32, u32)>, Vec<u32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let truth: Vec<u32> = (0..items).map(|_| rng.random_range(0..classes)).collect();
    let mut given = Vec::new();
    for (item, &class) in (0..).zip(&truth) {
        let mut everybody: Vec<u32> = (0..annotators).collect();
        everybody.shuffle(&mut rng);
        for &annotator in everybody.iter().take(per_item) {
            let is_bad = annotator % 4 == 0;
            let is_right = rng.random_bool(if is_bad { 0.3 } else { 0.85 });
            given.push((item, annotator, if is_right { class } else { rng.random_range(0..classes) }));
        }
    }
    (given, truth)
}

fn accuracy(consensus: &Consensus, truth: &[u32]) -> f64 {
    let right = consensus.labels().iter().zip(truth).filter(|(label, class)| **label == Some(**class)).count();
    right as f64 / truth.len() as f64
}

#[test]
fn models_find_the_classes_and_the_bad_annotators() {
    let (given, truth) = simulated(1, 600, 20, 4, 5);
    let all = annotations(4, &given);
    let votes = accuracy(&majority_vote(&all), &truth);
    for (name, consensus, _) in fits(&all) {
        let found = accuracy(&consensus, &truth);
        assert!(found >= votes - 0.005 && found > 0.9, "{name}: {found}, votes {votes}");
    }
    let fit = dawid_skene(&all, &DawidSkeneConfig::default()).unwrap();
    let coin = one_coin(&all, &DawidSkeneConfig::default()).unwrap();
    let knowing = mace(&all, &MaceConfig::default()).unwrap().competences;
    let able = glad(&all, &GladConfig::default()).unwrap().abilities;
    for annotator in 0..20 {
        let is_bad = annotator % 4 == 0;
        assert_eq!(fit.reliability(annotator) < 0.65, is_bad, "{annotator}");
        assert_eq!(coin.reliability(annotator) < 0.65, is_bad, "{annotator}");
        assert_eq!(knowing[annotator] < 0.5, is_bad, "{annotator}");
        assert_eq!(able[annotator] < 0.6, is_bad, "{annotator}");
        for row in fit.confusion(annotator).chunks(4) {
            assert!((row.iter().sum::<f64>() - 1.).abs() < 1e-12);
        }
    }
}

#[test]
fn spammers_do_not_outvote() {
    // Of five annotators two always say 1, and the others are each wrong now and then: the votes lose items of class 0.
    let mut given = Vec::new();
    let truth: Vec<u32> = (0..200).map(|item| item % 2).collect();
    for (item, &class) in (0u32..).zip(&truth) {
        for annotator in 0..5 {
            let is_wrong = (item * 7 + annotator * 31) % 9 == 0;
            let label = if annotator < 2 {
                1
            } else if is_wrong {
                1 - class
            } else {
                class
            };
            given.push((item, annotator, label));
        }
    }
    let all = annotations(2, &given);
    assert!(accuracy(&majority_vote(&all), &truth) < 0.9);
    assert!(accuracy(&dawid_skene(&all, &DawidSkeneConfig::default()).unwrap().consensus, &truth) > 0.97);
}

#[test]
fn who_never_saw_a_class_cannot_veto_it() {
    // Annotator 9 sees items of class 0 only, except for one of class 2, which eight others know.
    let mut given: Vec<(u32, u32, u32)> = (0..30).flat_map(|item| (0..9).map(move |a| (item, a, item % 3))).collect();
    given.extend((0..10).map(|at| (3 * at, 9, 0)));
    given.push((2, 9, 0));
    let fit = dawid_skene(&annotations(3, &given), &DawidSkeneConfig::default()).unwrap();
    assert_eq!(fit.consensus.labels()[2], Some(2));
}

#[test]
fn many_annotations_of_one_item_do_not_underflow() {
    let mut given: Vec<(u32, u32, u32)> =
        (0..10_000).map(|annotator| (0, annotator, u32::from(annotator % 3 == 0))).collect();
    given.extend((0..10_000).map(|annotator| (1, annotator, 1)));
    let all = annotations(2, &given);
    for (name, consensus, _) in fits(&all) {
        assert!(consensus.posteriors().iter().all(|p| p.is_finite()), "{name}");
        assert_eq!(consensus.labels()[0], Some(0), "{name}");
    }
    let patient = kos(&all, &KosConfig { iterations: 1000, seed: 3 }).unwrap();
    assert!(patient.margins.iter().chain(&patient.weights).all(|value| value.is_finite()));
}

#[test]
fn a_tie_is_the_smallest_class_and_visible() {
    let all = annotations(3, &[(0, 0, 2), (0, 1, 1), (1, 0, 0), (1, 1, 0)]);
    let votes = majority_vote(&all);
    assert_eq!(votes.labels(), [Some(1), Some(0)]);
    assert_eq!(votes.of_item(0), [0., 0.5, 0.5]);
}

#[test]
fn the_silent_are_kept_out() {
    let given = [(0, 0, 1), (0, 2, 1), (3, 2, 0), (3, 0, 0)].map(|(item, annotator, label)| Annotation {
        item,
        annotator,
        label,
    });
    let all = Annotations::new(5, 4, 2, given).unwrap();
    assert_eq!((all.silent_items(), all.silent_annotators()), (vec![1, 2, 4], vec![1, 3]));
    let few = annotations(2, &[(0, 0, 1), (0, 1, 1), (1, 1, 0), (1, 0, 0)]);
    for ((name, with, _), (_, without, _)) in fits(&all).into_iter().zip(fits(&few)) {
        assert_eq!(with.labels(), [Some(1), None, None, Some(0), None], "{name}");
        assert!((with.of_item(0)[1] - without.of_item(0)[1]).abs() < 1e-12, "{name}");
        assert_eq!(with.of_item(1), [0.; 2], "{name}");
    }
    let repeated = annotations(2, &[(0, 0, 1), (0, 0, 1), (0, 1, 1)]);
    assert_eq!((repeated.len(), repeated.num_repeated()), (2, 1));
}

#[test]
fn a_classifier_weighs_in() {
    let (given, truth) = simulated(5, 300, 10, 3, 3);
    let all = annotations(3, &given);
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut predicted = |accuracy: f64| -> Vec<f32> {
        let row = |class: &u32| {
            let said = if rng.random_bool(accuracy) { *class } else { rng.random_range(0..3) };
            (0..3).map(move |at| if at == said { 0.8 } else { 0.1 })
        };
        truth.iter().flat_map(row).collect()
    };
    let (good, useless) = (predicted(0.97), predicted(0.));
    let with_good = crowdlab(&all, Probabilities::new(&good, 3).unwrap()).unwrap();
    let with_useless = crowdlab(&all, Probabilities::new(&useless, 3).unwrap()).unwrap();
    assert!(with_good.classifier_weight > 10. * with_useless.classifier_weight);
    let votes = accuracy(&majority_vote(&all), &truth);
    assert!(accuracy(&with_good.consensus, &truth) > votes.max(0.95));
    assert!(accuracy(&with_useless.consensus, &truth) > votes - 0.02);
    for row in with_good.consensus.posteriors().chunks(3) {
        assert!((row.iter().sum::<f64>() - 1.).abs() < 1e-6);
    }
}

#[test]
fn agreement_is_krippendorffs() {
    // The reliability data of Krippendorff's worked example for nominal labels (2011): α = 0.743.
    const MISSING: u32 = 9;
    let rows: [[u32; 12]; 4] = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, MISSING, MISSING, MISSING],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, MISSING, 3],
        [MISSING, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, MISSING],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, MISSING],
    ];
    let given: Vec<(u32, u32, u32)> = (0..)
        .zip(&rows)
        .flat_map(|(annotator, row)| (0..).zip(row).map(move |(item, &label)| (item, annotator, label)))
        .filter(|given| given.2 != MISSING)
        .collect();
    let found = agreement(&annotations(6, &given)).unwrap();
    assert!((found.krippendorff - 0.743).abs() < 5e-4, "{found:?}");
    assert_eq!(found.num_items, 11);
}

#[test]
fn a_tie_between_annotators_stays_one() {
    // Two classes, each said twice, by annotators who can be exchanged: which number a class has must not decide.
    let given = [(3, 2, 0), (2, 1, 0), (0, 2, 1), (1, 0, 1)];
    let turned = given.map(|(item, annotator, label)| (item, 2 - annotator, 1 - label));
    for ((name, a, _), (_, b, _)) in fits(&annotations(2, &given)).into_iter().zip(fits(&annotations(2, &turned))) {
        if name == "kos" {
            continue;
        }
        for item in 0..4 {
            let (p, q) = (a.of_item(item), b.of_item(item));
            assert!((p[0] - q[1]).abs() < 1e-9, "{name}: item {item}: {p:?} and {q:?}");
        }
    }
}

fn any_annotations() -> impl Strategy<Value = (usize, Vec<(u32, u32, u32)>)> {
    (2usize..5).prop_flat_map(|classes| {
        let one = (0u32..12, 0u32..6, 0u32..classes as u32);
        (Just(classes), proptest::collection::vec(one, 1..60))
    })
}

/// The first label of each pair of item and annotator.
fn consistent(given: &[(u32, u32, u32)]) -> Vec<(u32, u32, u32)> {
    let mut seen = std::collections::HashSet::new();
    given.iter().copied().filter(|given| seen.insert((given.0, given.1))).collect()
}

proptest! {
    #[test]
    fn posteriors_are_distributions_and_the_likelihood_never_falls((classes, given) in any_annotations()) {
        let all = annotations(classes, &consistent(&given));
        for (name, consensus, progress) in fits(&all) {
            for (item, row) in consensus.posteriors().chunks(classes).enumerate() {
                let expected = if all.of_item(item).is_empty() { 0. } else { 1. };
                prop_assert!((row.iter().sum::<f64>() - expected).abs() < 1e-9, "{name}: {row:?}");
                prop_assert!(row.iter().all(|p| (0. ..=1. + 1e-12).contains(p)), "{name}: {row:?}");
            }
            if let Some(progress) = progress {
                for pair in progress.log_likelihoods.windows(2) {
                    prop_assert!(pair[1] >= pair[0] - 1e-9 * pair[0].abs().max(1.), "{name}: {pair:?}");
                }
            }
        }
    }

    #[test]
    fn order_and_numbers_do_not_matter((classes, given) in any_annotations(), seed in 0u64..1000) {
        let given = consistent(&given);
        let all = annotations(classes, &given);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut shuffled = given.clone();
        shuffled.shuffle(&mut rng);
        prop_assert_eq!(&annotations(classes, &shuffled), &all);
        // Other numbers for items, annotators and classes permute the results.
        let permutation = |count: usize, rng: &mut ChaCha8Rng| -> Vec<u32> {
            let mut numbers: Vec<u32> = (0..count as u32).collect();
            numbers.shuffle(rng);
            numbers
        };
        let items = permutation(all.num_items(), &mut rng);
        let annotators = permutation(all.num_annotators(), &mut rng);
        let labels = permutation(classes, &mut rng);
        let renamed: Vec<Annotation> = given
            .iter()
            .map(|g| Annotation { item: items[g.0 as usize], annotator: annotators[g.1 as usize], label: labels[g.2 as usize] })
            .collect();
        let renamed = Annotations::new(all.num_items(), all.num_annotators(), classes, renamed).unwrap();
        // KOS draws its first messages in the order of the annotations.
        for ((name, a, _), (_, b, _)) in fits(&all).into_iter().zip(fits(&renamed)).filter(|(a, _)| a.0 != "kos") {
            for (item, &other_item) in items.iter().enumerate() {
                for (class, &other_class) in labels.iter().enumerate() {
                    let (p, q) = (a.of_item(item)[class], b.of_item(other_item as usize)[other_class as usize]);
                    prop_assert!((p - q).abs() < 1e-6, "{name}: item {item}, class {class}: {p} and {q}");
                }
            }
        }
    }
}

#[test]
fn wrong_arguments_are_errors() {
    let one = |item, annotator, label| Annotation { item, annotator, label };
    assert!(matches!(Annotations::new(1, 1, 0, []), Err(Error::Empty { what: "classes", .. })));
    assert!(matches!(Annotations::new(1, 1, 2, [one(0, 0, 2)]), Err(Error::OutOfRange { bound: 2, index: 2, .. })));
    assert!(matches!(Annotations::new(1, 1, 2, [one(1, 0, 0)]), Err(Error::OutOfRange { .. })));
    assert!(matches!(Annotations::new(1, 1, 2, [one(0, 7, 0)]), Err(Error::OutOfRange { .. })));
    let contradiction = Annotations::new(2, 2, 2, [one(1, 1, 0), one(0, 0, 0), one(1, 1, 1)]).unwrap_err();
    assert!(contradiction.to_string().contains("annotator 1 gave item 1 the labels 0 and 1"), "{contradiction}");
    assert!(matches!(Annotations::named(2, Vec::<(u8, u8, u32)>::new()), Err(Error::Empty { .. })));
    let none = Annotations::new(3, 3, 2, []).unwrap();
    assert!(matches!(dawid_skene(&none, &DawidSkeneConfig::default()), Err(Error::Empty { .. })));
    assert!(matches!(agreement(&none), Err(Error::Empty { .. })));
    let some = annotations(3, &[(0, 0, 2), (0, 1, 1)]);
    assert!(matches!(kos(&some, &KosConfig::default()), Err(Error::InvalidConfig { .. })));
    for smoothing in [0., -1., f64::NAN, f64::INFINITY] {
        assert!(dawid_skene(&some, &DawidSkeneConfig { smoothing, ..Default::default() }).is_err());
        assert!(mace(&some, &MaceConfig { smoothing, ..Default::default() }).is_err());
        assert!(glad(&some, &GladConfig { prior_deviation: smoothing, ..Default::default() }).is_err());
    }
    let stopping = Stopping { max_iterations: 0, ..Default::default() };
    assert!(one_coin(&some, &DawidSkeneConfig { stopping, ..Default::default() }).is_err());
    let stopping = Stopping { tolerance: f64::NAN, ..Default::default() };
    assert!(one_coin(&some, &DawidSkeneConfig { stopping, ..Default::default() }).is_err());
    for values in [[0.5, 0.4, 0.4], [f64::NAN, 0.5, 0.5], [-0.1, 0.6, 0.5], [f64::INFINITY, 0., 0.]] {
        assert!(matches!(Probabilities::new(&values, 3), Err(Error::Value { .. })), "{values:?}");
    }
    assert!(matches!(Probabilities::new(&[0.5f32], 2), Err(Error::Length { .. })));
    let two = [0.2, 0.3, 0.5, 0.2, 0.3, 0.5];
    assert!(matches!(crowdlab(&some, Probabilities::new(&two, 3).unwrap()), Err(Error::Length { .. })));
}
