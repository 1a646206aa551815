//! Linear classifiers and neighbours against scikit-learn 1.9 and plain loops.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use classifiers::knn::{Knn, Metric};
use classifiers::logistic::{AdamLogisticRegression, Initial, LogisticRegression};
use classifiers::splits::transductive_split;
use classifiers::{Classifier, Error, Fitted, LinearSvm, Matrix, Rows, Standardizer, accuracies};

const WIDTH: usize = 4;
const ROWS: usize = 60;

/// `X[i, j] = (j + 1) u + ½ [i mod 3 = j]` with u of a linear congruential generator that starts at 5.
fn points() -> Matrix {
    let mut state = 5u64;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let value = |at: usize| {
        let (i, j) = (at / WIDTH, at % WIDTH);
        unit() * (j + 1) as f64 + if i % 3 == j { 0.5 } else { 0. }
    };
    Matrix::new(WIDTH, (0..ROWS * WIDTH).map(value).collect()).unwrap()
}

fn labels(classes: usize) -> Vec<u32> {
    (0..ROWS).map(|at| (at % 3 % classes) as u32).collect()
}

fn assert_close(found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        // the wanted values have seven digits, and both sides stop at a tolerance
        assert!((found - wanted).abs() < 2e-6, "{found} {wanted}");
    }
}

#[test]
fn logistic_regression_has_the_weights_of_scikit_learn() {
    let regression = LogisticRegression { c: 0.7, max_iterations: 1000, tolerance: 1e-10 };
    let two = regression.fit(points().rows(), &labels(2)).unwrap();
    assert!(two.is_converged() && two.violation() <= 1e-10 && two.iterations() < 1000);
    assert_close(two.weights(), &[-1.181_157_9, 0.746_937_1, -0.411_778_8, -0.147_953, 0.141_854_1]);
    let three = regression.fit(points().rows(), &labels(3)).unwrap();
    let wanted = [
        [1.785_575_6, 0.031_228_4, -0.433_035_7, 0.157_856_7, -0.843_053_4],
        [-0.866_886_4, 0.500_777_7, -0.284_108_9, -0.119_190_4, 0.805_075_1],
        [-0.918_689_2, -0.532_006_1, 0.717_144_6, -0.038_666_3, 0.037_978_3],
    ];
    assert_close(three.weights(), wanted.as_flattened());
}

#[test]
fn linear_machines_have_the_weights_of_liblinear() {
    let svm = LinearSvm { c: 0.7, max_iterations: 10_000, tolerance: 1e-10 };
    let two = svm.fit(points().rows(), &labels(2)).unwrap();
    assert_close(two.weights(), &[-0.781_657, 0.333_719_4, -0.179_326_7, -0.062_155_3, 0.230_563_7]);
    let three = svm.fit(points().rows(), &labels(3)).unwrap();
    let wanted = [
        [1.632_949_2, 0.043_813_3, -0.324_582_4, 0.089_456_5, -1.147_537_3],
        [-0.781_657, 0.333_719_4, -0.179_326_7, -0.062_155_3, 0.230_563_7],
        [-0.978_768_2, -0.449_482_3, 0.484_925_4, -0.024_253_5, -0.008_191_8],
    ];
    assert_close(three.weights(), wanted.as_flattened());
}

#[test]
fn an_iteration_limit_is_told() {
    let one = LogisticRegression { max_iterations: 1, ..LogisticRegression::default() };
    let found = one.fit(points().rows(), &labels(3)).unwrap();
    assert!(!found.is_converged() && found.iterations() == 1 && found.violation() > 1e-4);
}

#[test]
fn steps_of_adam_are_those_of_plain_loops() {
    let (x, y) = (points(), labels(3));
    let settings = AdamLogisticRegression { steps: 30, learning_rate: 0.05, weight_decay: 0.01 };
    let weights: Vec<f64> = (0..3 * WIDTH).map(|at| 0.1 * (at % 5) as f64 - 0.2).collect();
    let found = settings.fit(x.rows(), &y, 3, Initial::Given { weights: &weights, bias: &[0.1, 0., -0.1] }).unwrap();
    let mut w: Vec<Vec<f64>> = weights.chunks(WIDTH).map(<[f64]>::to_vec).collect();
    w.iter_mut().zip([0.1, 0., -0.1]).for_each(|(w, bias)| w.push(bias));
    let (mut m, mut v) = (vec![vec![0.; WIDTH + 1]; 3], vec![vec![0.; WIDTH + 1]; 3]);
    for step in 1..=30 {
        let mut gradient = vec![vec![0.; WIDTH + 1]; 3];
        for (i, &label) in y.iter().enumerate() {
            let row: Vec<f64> = x.row(i).iter().copied().chain([1.]).collect();
            let logits: Vec<f64> = w.iter().map(|w| w.iter().zip(&row).map(|(w, x)| w * x).sum()).collect();
            let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
            for (class, gradient) in gradient.iter_mut().enumerate() {
                let error = logits[class].exp() / sum - f64::from(u8::from(class as u32 == label));
                gradient.iter_mut().zip(&row).for_each(|(g, x)| *g += error * x / ROWS as f64);
            }
        }
        for class in 0..3 {
            for at in 0..=WIDTH {
                let g = gradient[class][at] + 0.01 * w[class][at];
                m[class][at] = 0.9 * m[class][at] + 0.1 * g;
                v[class][at] = 0.999 * v[class][at] + 0.001 * g * g;
                let (m, v) = (m[class][at] / (1. - 0.9f64.powi(step)), v[class][at] / (1. - 0.999f64.powi(step)));
                w[class][at] -= 0.05 * m / (v.sqrt() + 1e-8);
            }
        }
    }
    for (found, wanted) in found.weights().iter().zip(w.iter().flatten()) {
        // rounding of sums in another order, over 30 steps
        assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
    }
}

#[test]
fn drawn_weights_follow_their_seed() {
    let (x, y) = (points(), labels(3));
    let start = AdamLogisticRegression { steps: 0, ..AdamLogisticRegression::default() };
    let weights = |seed| start.fit(x.rows(), &y, 3, Initial::Xavier { seed }).unwrap().weights().to_vec();
    assert_eq!(weights(1), weights(1));
    assert_ne!(weights(1), weights(2));
    let bound = (6f64 / 7.).sqrt();
    for row in weights(1).chunks(WIDTH + 1) {
        assert!(row[..WIDTH].iter().all(|weight| weight.abs() < bound && *weight != 0.) && row[WIDTH] == 0.);
    }
    // one class is always right, and an absent class has weights too
    let one = AdamLogisticRegression::default().fit(x.rows(), &[0; ROWS], 1, Initial::Xavier { seed: 0 }).unwrap();
    assert_eq!(one.predict(x.rows()).unwrap(), [0; ROWS]);
    let more = AdamLogisticRegression::default().fit(x.rows(), &y, 5, Initial::Xavier { seed: 0 }).unwrap();
    assert_eq!(more.outputs(x.rows()).unwrap().len(), 5 * ROWS);
}

#[test]
fn neighbours_are_those_of_plain_loops() {
    let (x, y) = (points(), labels(3));
    for metric in [Metric::Euclidean, Metric::Cosine] {
        for k in [1, 4, 7, 1000] {
            let found = Knn { k, metric }.fit(x.rows(), &y).unwrap().predict(x.rows()).unwrap();
            for (i, &found) in found.iter().enumerate() {
                let norm = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
                let distance = |j: usize| match metric {
                    Metric::Euclidean => x.row(i).iter().zip(x.row(j)).map(|(a, b)| (a - b).powi(2)).sum::<f64>(),
                    Metric::Cosine => {
                        let product: f64 = x.row(i).iter().zip(x.row(j)).map(|(a, b)| a * b).sum();
                        1. - product / norm(x.row(i)) / norm(x.row(j))
                    }
                };
                let mut order: Vec<usize> = (0..ROWS).collect();
                order.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)));
                let mut votes = [0; 3];
                order.iter().take(k).for_each(|&j| votes[y[j] as usize] += 1);
                let wanted = (0..3).rev().max_by_key(|&class| votes[class]).unwrap();
                assert_eq!(found, wanted as u32, "{metric:?} {k} {i}");
            }
        }
    }
}

#[test]
fn of_equal_neighbours_the_earlier_is_nearer() {
    let x = Matrix::new(1, vec![1., 1., 1., -1., -1.]).unwrap();
    let one = Knn { k: 1, ..Knn::default() }.fit(x.rows(), &[3, 1, 1, 0, 0]).unwrap();
    assert_eq!(one.predict(Rows::new(1, &[0., 2.][..]).unwrap()).unwrap(), [3, 3]);
    let tied = Knn { k: 4, metric: Metric::Euclidean }.fit(x.rows(), &[3, 3, 1, 1, 0]).unwrap();
    assert_eq!(tied.predict(Rows::new(1, &[1f32][..]).unwrap()).unwrap(), [1]);
    // a row of zeros has no direction
    let zero = Knn { k: 1, metric: Metric::Cosine }.fit(Rows::new(1, &[0., -1.][..]).unwrap(), &[5, 6]).unwrap();
    assert_eq!(zero.predict(Rows::new(1, &[7., -3., 0.][..]).unwrap()).unwrap(), [5, 6, 5]);
}

#[test]
fn statistics_come_from_the_training_rows() {
    let train = Matrix::new(3, vec![0., 7., 0.1, 2., 7., 0.1, 4., 7., 0.1]).unwrap();
    let standardizer = Standardizer::fit(train.rows());
    assert_eq!(standardizer.means[..2], [2., 7.]);
    let deviation = (8f64 / 3.).sqrt();
    assert!((standardizer.deviations[0] - deviation).abs() < 1e-15);
    assert_eq!(standardizer.deviations[1..], [1., 1.]);
    let applied = standardizer.apply(Rows::new(3, &[1000., 8., 0.1][..]).unwrap()).unwrap();
    assert_eq!(applied.values()[..2], [998. / standardizer.deviations[0], 1.]);
    assert!(matches!(standardizer.apply(Rows::new(2, &[1., 2.][..]).unwrap()), Err(Error::Length { .. })));
}

#[test]
fn splits_are_measured_side_by_side() {
    let (x, y) = (points(), labels(3));
    let splits: Vec<_> = (0..6).map(|seed| transductive_split(seed, ROWS, 0.5, 0.).unwrap()).collect();
    let measure = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| accuracies(&LogisticRegression::default(), x.rows(), &y, &splits).unwrap())
    };
    let found = measure(1);
    assert!(found.iter().all(|split| split.validation.is_nan() && split.test > 1. / 3.));
    let same = measure(3);
    assert!(found.iter().zip(&same).all(|(a, b)| a.test == b.test));
    let mut wrong = splits;
    wrong[4].test[0] = ROWS;
    let error = accuracies(&Knn::default(), x.rows(), &y, &wrong).unwrap_err();
    assert_eq!(error.to_string(), "in split 4: Rows::select: row number 0 is 60, which is not below 60");
}

#[test]
fn hostile_input_is_an_error_or_told() {
    let (x, y) = (points(), labels(3));
    let adam = AdamLogisticRegression::default();
    let xavier = Initial::Xavier { seed: 0 };
    assert!(matches!(adam.fit(x.rows(), &y, 2, xavier), Err(Error::OutOfRange { index: 2, bound: 2, .. })));
    assert!(matches!(adam.fit(x.rows(), &y, 0, xavier), Err(Error::Empty { .. })));
    assert!(matches!(adam.fit(x.rows(), &y, usize::MAX, xavier), Err(Error::OutOfRange { .. })));
    assert!(matches!(adam.fit(x.rows(), &y[1..], 3, xavier), Err(Error::Length { .. })));
    let short = Initial::Given { weights: &[0.; 11], bias: &[0.; 3] };
    assert!(matches!(adam.fit(x.rows(), &y, 3, short), Err(Error::Length { got: 11, expected: 12, .. })));
    let wrong = Initial::Given { weights: &[0.; 12], bias: &[0., f64::NAN, 0.] };
    assert!(matches!(adam.fit(x.rows(), &y, 3, wrong), Err(Error::Value { .. })));
    for value in [f64::NAN, -1.] {
        let adam = AdamLogisticRegression { weight_decay: value, ..adam };
        assert!(matches!(adam.fit(x.rows(), &y, 3, xavier), Err(Error::Value { .. })));
        let logistic = LogisticRegression { c: value, ..LogisticRegression::default() };
        assert!(matches!(logistic.fit(x.rows(), &y), Err(Error::Value { .. })));
        assert!(matches!(LinearSvm { c: value, ..LinearSvm::default() }.fit(x.rows(), &y), Err(Error::Value { .. })));
    }
    assert!(matches!(LogisticRegression::default().fit(x.rows(), &[4; ROWS]), Err(Error::OneClass { class: 4, .. })));
    assert!(matches!(Knn { k: 0, ..Knn::default() }.fit(x.rows(), &y), Err(Error::Value { .. })));
    // numbers whose products are beyond all numbers: no result is called converged
    let huge = Matrix::new(1, vec![1e300, -1e300, 1e300, 1e299]).unwrap();
    let found = LogisticRegression::default().fit(huge.rows(), &[0, 1, 1, 0]).unwrap();
    assert!(!found.is_converged() && found.weights().iter().all(|weight| weight.is_finite()));
    let found = LinearSvm::default().fit(huge.rows(), &[0, 1, 1, 0]).unwrap();
    assert!(!found.is_converged() && found.weights().iter().all(|weight| weight.is_finite()));
    let standardizer = Standardizer { means: vec![-1e308], deviations: vec![0.9] };
    assert!(standardizer.apply(huge.rows()).is_ok());
    assert!(matches!(standardizer.apply(Rows::new(1, &[1e308][..]).unwrap()), Err(Error::Value { .. })));
}
