//! Folds and splits: scikit-learn's and NumPy's, and what holds of all.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use classifiers::splits::{LabelRate, label_rate_split, legacy_choice, transductive_split};
use classifiers::{Error, StratifiedFolds, labels, stratified_folds};
use proptest::prelude::*;

#[test]
fn legacy_choices_are_those_of_numpy() {
    // numpy.random.RandomState(seed).choice(n, k, replace=False)
    assert_eq!(legacy_choice(0, 10, 4).unwrap(), [2, 8, 4, 9]);
    assert_eq!(legacy_choice(3, 1000, 5).unwrap(), [642, 762, 909, 199, 586]);
    assert_eq!(legacy_choice(7, 65_537, 3).unwrap(), [47_804, 15_466, 49_000]);
    assert_eq!(legacy_choice(1, 0, 0).unwrap(), []);
    assert!(matches!(legacy_choice(1, 3, 4), Err(Error::OutOfRange { index: 4, bound: 4, .. })));
}

/// StratifiedKFold(k) of scikit-learn 1.9.
#[test]
fn folds_are_those_of_scikit_learn() {
    let y = [5, 2, 2, 9, 5, 5, 2, 9, 9, 2, 5, 2, 2, 9, 5, 5, 9, 2, 2, 5, 9, 9, 2];
    let wanted = [
        (2, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        (3, [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 1, 2, 2, 2, 2, 2, 2]),
        (4, [0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 2, 2, 1, 2, 2, 2, 3, 3, 3, 2, 3, 3]),
        (5, [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 1, 2, 3, 2, 2, 3, 2, 3, 4, 4, 3, 4, 4]),
    ];
    for (folds, wanted) in wanted {
        assert_eq!(StratifiedFolds::new(folds).assign(&y).unwrap(), wanted);
    }
    let rare = StratifiedFolds { folds: 4, allow_rare: true };
    assert_eq!(rare.assign(&[1, 0, 0, 0, 1, 0, 0, 3, 0, 0]).unwrap(), [0, 0, 0, 1, 1, 2, 2, 1, 3, 3]);
}

#[test]
fn a_rare_class_is_named() {
    let y = [0, 0, 0, 0, 7, 7, 0];
    let error = stratified_folds(&y, 3).unwrap_err();
    assert_eq!(error, Error::RareClass { operation: "StratifiedFolds", class: 7, count: 2, folds: 3 });
    assert!(error.to_string().contains("class 7 has 2 of 3 members"), "{error}");
    assert!(StratifiedFolds { folds: 3, allow_rare: true }.split(&y).is_ok());
    // no class has enough: nothing can be stratified
    assert!(matches!(StratifiedFolds { folds: 6, allow_rare: true }.split(&y), Err(Error::RareClass { .. })));
    assert!(matches!(stratified_folds(&y, 1), Err(Error::Value { .. })));
    assert!(matches!(stratified_folds(&[], 2), Err(Error::Empty { .. })));
}

#[test]
fn a_tenth_trains() {
    for seed in 0..20 {
        let split = transductive_split(seed, 1000, 0.8, 0.1).unwrap();
        assert_eq!((split.train.len(), split.validation.len(), split.test.len()), (100, 100, 800));
        let mut all = [split.train.clone(), split.validation, split.test].concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        assert!(split.train.is_sorted());
    }
    assert!(matches!(transductive_split(0, 10, 0.5, 0.5), Err(Error::Value { .. })));
    assert!(matches!(transductive_split(0, 10, f64::NAN, 0.5), Err(Error::Value { .. })));
    assert!(matches!(transductive_split(0, 0, 0.5, 0.1), Err(Error::Empty { .. })));
}

#[test]
fn label_rates_are_kept_in_each_class_or_in_all() {
    let y: Vec<u32> = (0..1000).map(|at| u32::from(at % 10 == 0)).collect();
    let each = label_rate_split(1, &y, 0.05, LabelRate::OfEachClass).unwrap();
    assert_eq!(each.labelled.iter().filter(|&&row| y[row] == 1).count(), 5);
    assert_eq!((each.labelled.len(), each.unlabelled.len()), (50, 950));
    let all = label_rate_split(1, &y, 0.05, LabelRate::OfAll).unwrap();
    assert_eq!(all.labelled.len(), 50);
    assert_ne!(each.labelled, label_rate_split(2, &y, 0.05, LabelRate::OfEachClass).unwrap().labelled);
    // one of each class at least, all at most
    assert_eq!(label_rate_split(0, &y, 0., LabelRate::OfEachClass).unwrap().labelled.len(), 2);
    assert_eq!(label_rate_split(0, &y, 1., LabelRate::OfAll).unwrap().unlabelled, []);
    assert!(
        label_rate_split(0, &y, 1.5, LabelRate::OfAll).is_err()
            && label_rate_split(0, &[], 0.5, LabelRate::OfAll).is_err()
    );
}

#[test]
fn signed_labels_are_checked() {
    assert_eq!(labels(&[0, 3, 1]).unwrap(), [0, 3, 1]);
    let error = labels(&[0, 2, -1]).unwrap_err();
    assert_eq!(error.to_string(), "labels: label 2 is -1, expected a class: a whole number of 0 or more");
    assert!(labels(&[1 << 40]).is_err());
}

proptest! {
    #[test]
    fn folds_share_each_class_and_all_rows(y in prop::collection::vec(0u32..4, 12..80), folds in 2usize..5) {
        let rule = StratifiedFolds { folds, allow_rare: true };
        let Ok(split) = rule.split(&y) else { return Ok(()) };
        let mut tested = vec![0; y.len()];
        for fold in &split {
            prop_assert_eq!(fold.train.len() + fold.test.len(), y.len());
            prop_assert!(fold.test.len().abs_diff(y.len() / folds) <= 1);
            fold.test.iter().for_each(|&row| tested[row] += 1);
            for class in 0..4 {
                let all = y.iter().filter(|&&label| label == class).count();
                let here = fold.test.iter().filter(|&&row| y[row] == class).count();
                prop_assert!(here.abs_diff(all / folds) <= 1);
            }
        }
        prop_assert!(tested.iter().all(|&count| count == 1));
    }
}
