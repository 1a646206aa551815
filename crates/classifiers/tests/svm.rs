//! Support vector machines: against a dense quadratic programme, under transformations of the features, and on hostile input.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use classifiers::svm::{FittedSvc, Gamma, GridSearch, Kernel, KernelSvm, Svc, nested_cross_validation};
use classifiers::{Classifier, Error, Fitted, Matrix, Rows, accuracy, stratified_folds};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// Numbers in [0, 1).
fn units(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..count).map(|_| unit()).collect()
}

/// Classes that overlap.
fn points(seed: u64, count: usize, width: usize, classes: usize) -> (Matrix, Vec<u32>) {
    let draws = units(seed, count * width);
    let value = |at: usize| draws[at] + 0.5 * f64::from(u8::from(at / width % classes == at % width));
    let x = Matrix::new(width, (0..count * width).map(value).collect()).unwrap();
    (x, (0..count).map(|at| (at % classes) as u32).collect())
}

/// The kernel matrix of a machine, by plain loops.
fn kernel_matrix(x: &Matrix, kernel: Kernel, gamma: f64) -> Vec<Vec<f64>> {
    let value = |i: usize, j: usize| {
        let pairs = x.row(i).iter().zip(x.row(j));
        match kernel {
            Kernel::Linear => pairs.map(|(a, b)| a * b).sum::<f64>(),
            Kernel::Rbf(_) => (-gamma * pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>()).exp(),
        }
    };
    (0..x.len()).map(|i| (0..x.len()).map(|j| value(i, j)).collect()).collect()
}

fn product(k: &[Vec<f64>], beta: &[f64]) -> Vec<f64> {
    k.iter().map(|row| row.iter().zip(beta).map(|(k, b)| k * b).sum()).collect()
}

/// ½ βᵀ K β - Σ y β, where β = y α.
fn objective(k: &[Vec<f64>], signs: &[f64], beta: &[f64]) -> f64 {
    let quadratic: f64 = product(k, beta).iter().zip(beta).map(|(p, b)| p * b).sum();
    0.5 * quadratic - signs.iter().zip(beta).map(|(s, b)| s * b).sum::<f64>()
}

/// The nearest point with 0 ≤ y β ≤ C and Σ β = 0: a shift by which all are cut, found by bisection.
fn projected(beta: &[f64], signs: &[f64], c: f64) -> Vec<f64> {
    let cut = |shift: f64| -> Vec<f64> {
        let cut = |(b, s): (&f64, &f64)| if *s > 0. { (b - shift).clamp(0., c) } else { (b - shift).clamp(-c, 0.) };
        beta.iter().zip(signs).map(cut).collect()
    };
    let most = beta.iter().fold(0f64, |most, b| most.max(b.abs())) + c;
    let (mut low, mut high) = (-most, most);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if cut(middle).iter().sum::<f64>() > 0. { low = middle } else { high = middle }
    }
    cut(0.5 * (low + high))
}

/// The minimum by accelerated projected gradients with restarts.
fn reference(k: &[Vec<f64>], signs: &[f64], c: f64) -> f64 {
    let largest = k.iter().map(|row| row.iter().map(|k| k.abs()).sum::<f64>()).fold(1e-12, f64::max);
    let mut beta = vec![0.; signs.len()];
    let (mut ahead, mut momentum, mut value) = (beta.clone(), 1f64, 0.);
    for _ in 0..20_000 {
        let gradient = product(k, &ahead);
        let moved: Vec<f64> =
            ahead.iter().zip(gradient.iter().zip(signs)).map(|(b, (g, s))| b - (g - s) / largest).collect();
        let next = projected(&moved, signs, c);
        let next_value = objective(k, signs, &next);
        if next_value > value {
            if momentum == 1. {
                break;
            }
            (ahead, momentum) = (beta.clone(), 1.);
            continue;
        }
        let grown = 0.5 * (1. + (1. + 4. * momentum * momentum).sqrt());
        let factor = (momentum - 1.) / grown;
        ahead = next.iter().zip(&beta).map(|(next, b)| next + factor * (next - b)).collect();
        (beta, momentum, value) = (next, grown, next_value);
    }
    value
}

/// y α of all rows of a machine of two classes.
fn multipliers(machine: &FittedSvc, count: usize) -> Vec<f64> {
    let mut beta = vec![0.; count];
    machine.support().iter().zip(machine.dual_coefficients()).for_each(|(&row, b)| beta[row] = b);
    beta
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn a_machine_is_the_minimum_of_its_quadratic_programme(
        seed in 0u64..1_000_000,
        count in 6usize..=40,
        width in 1usize..5,
        c in prop::sample::select(vec![0.05, 1., 20.]),
        is_linear in any::<bool>(),
        duplicates in any::<bool>(),
    ) {
        let (x, y) = points(seed, count, width, 2);
        let mut values = x.values().to_vec();
        if duplicates {
            // half of the rows again, some of them with the other label
            let half = count / 2 * width;
            values.copy_within(..half, count * width - half);
        }
        let x = Matrix::new(width, values).unwrap();
        let kernel = if is_linear { Kernel::Linear } else { Kernel::Rbf(Gamma::Scale) };
        let tolerance = 1e-9;
        let machine = Svc { c, kernel, tolerance, ..Svc::default() }.fit(x.rows(), &y).unwrap();
        let k = kernel_matrix(&x, kernel, machine.gamma());
        let signs: Vec<f64> = y.iter().map(|&label| if label == 0 { 1. } else { -1. }).collect();
        let beta = multipliers(&machine, count);
        let alpha: Vec<f64> = beta.iter().zip(&signs).map(|(b, s)| b * s).collect();
        prop_assert!(alpha.iter().all(|a| (0. ..=c).contains(a)));
        prop_assert!(beta.iter().sum::<f64>().abs() < 1e-10 * c * count as f64);
        let (found, wanted) = (objective(&k, &signs, &beta), reference(&k, &signs, c));
        prop_assert!((found - wanted).abs() < 1e-6 * (1. + wanted.abs()), "{} {}", found, wanted);
        prop_assert!(found < wanted + 1e-9 * (1. + wanted.abs()), "{} {}", found, wanted);
        // the optimality conditions, with the kernel of plain loops
        let values: Vec<f64> = product(&k, &beta).iter().zip(&signs).map(|(p, s)| s - p).collect();
        let (mut most, mut least) = (f64::NEG_INFINITY, f64::INFINITY);
        for ((value, sign), alpha) in values.iter().zip(&signs).zip(&alpha) {
            if if *sign > 0. { *alpha < c } else { *alpha > 0. } {
                most = most.max(*value);
            }
            if if *sign > 0. { *alpha > 0. } else { *alpha < c } {
                least = least.min(*value);
            }
        }
        prop_assert!(most - least < tolerance + 1e-9, "{}", most - least);
        let decisions = machine.decision_values(x.rows()).unwrap();
        let bias = decisions[0] - (signs[0] - values[0]);
        for (decision, (value, sign)) in decisions.iter().zip(values.iter().zip(&signs)) {
            prop_assert!((decision - (sign - value) - bias).abs() < 1e-9 * (1. + decision.abs()));
        }
    }
}

/// The machine of scikit-learn 1.9: `SVC(C=3, kernel="linear")` on the points of `linear_models.rs`.
#[test]
fn a_linear_machine_has_the_decisions_of_libsvm() {
    let draws = units(5, 240);
    let value = |at: usize| draws[at] * (at % 4 + 1) as f64 + if at / 4 % 3 == at % 4 { 0.5 } else { 0. };
    let x = Matrix::new(4, (0..240).map(value).collect()).unwrap();
    let y: Vec<u32> = (0..60).map(|at| at % 3).collect();
    let svc = Svc { c: 3., kernel: Kernel::Linear, tolerance: 1e-9, ..Svc::default() };
    let machine = svc.fit(x.rows(), &y).unwrap();
    assert_eq!(machine.n_support(), [13, 14, 15]);
    let wanted =
        [1.965_565, 0.999_999, -1.215_771, -0.514_124, -0.356_312, 0.511_234, -1.489_384, -1.163_76, -0.136_899];
    for (found, wanted) in machine.decision_values(x.rows()).unwrap().iter().zip(wanted) {
        // libsvm's kernel is in single precision
        assert!((found - wanted).abs() < 1e-5, "{found} {wanted}");
    }
    assert_eq!(machine.pairs().collect::<Vec<_>>(), [(0, 1), (0, 2), (1, 2)]);
}

fn changed(x: &Matrix, change: impl Fn(f64) -> f64) -> Matrix {
    Matrix::new(x.width(), x.values().iter().map(|&value| change(value)).collect()).unwrap()
}

#[test]
fn scale_and_offset_of_the_features_change_no_prediction() {
    // in double and in single precision
    for count in [90, 600] {
        let (x, y) = points(3, count, 5, 3);
        let (other, _) = points(4, 200, 5, 3);
        let svc = Svc { c: 10., ..Svc::default() };
        let fitted = svc.fit(x.rows(), &y).unwrap();
        let wanted = fitted.predict(other.rows()).unwrap();
        let nested = nested_cross_validation(x.rows(), &y, 3).unwrap();
        for (name, change) in [
            ("ten times", &(|value| 10. * value) as &dyn Fn(f64) -> f64),
            ("tiny", &|value| 1e-150 * value),
            ("huge", &|value| 1e200 * value),
            ("shifted", &|value| value + 1024.),
            ("turned", &|value| 5. - value),
        ] {
            let moved = svc.fit(changed(&x, change).rows(), &y).unwrap();
            assert_eq!(moved.predict(changed(&other, change).rows()).unwrap(), wanted, "{count} {name}");
            let found = nested_cross_validation(changed(&x, change).rows(), &y, 3).unwrap();
            assert_eq!(found, nested, "{count} {name}");
        }
    }
}

#[test]
fn far_columns_end_in_time() {
    let start = Instant::now();
    let x = Matrix::new(2, vec![1., 99_999., 2., 99_999.]).unwrap();
    for kernel in [Kernel::Linear, Kernel::Rbf(Gamma::Scale), Kernel::Rbf(Gamma::Value(1.))] {
        for c in [1e-3, 1., 1e6] {
            let machine = Svc { c, kernel, ..Svc::default() }.fit(x.rows(), &[0, 1]).unwrap();
            if c >= 1. && kernel != Kernel::Rbf(Gamma::Scale) {
                assert_eq!(machine.predict(x.rows()).unwrap(), [0, 1]);
            }
        }
    }
    let rows: [&[f32]; 2] = [&[1., 99_999.], &[2., 99_999.]];
    assert!(matches!(KernelSvm::default().fit_rows(2, &rows, &[0, 1]), Ok(_) | Err(Error::NotConverged { .. })));
    // noise that nothing separates, far from the origin and on one line
    let draws = units(9, 600);
    for width in [1, 3] {
        let values = draws.iter().map(|draw| 99_999. + 1e-3 * draw).collect();
        let x = Matrix::new(width, values).unwrap();
        let y: Vec<u32> = (0..x.len()).map(|at| (at / 2 % 2) as u32).collect();
        for kernel in [Kernel::Linear, Kernel::Rbf(Gamma::Scale)] {
            let svc = Svc { c: 1e3, kernel, max_iterations: 100_000, ..Svc::default() };
            assert!(matches!(svc.fit(x.rows(), &y), Ok(_) | Err(Error::NotConverged { .. })));
        }
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn an_iteration_limit_is_a_typed_error() {
    let (x, y) = points(1, 40, 3, 2);
    let svc = Svc { max_iterations: 3, ..Svc::default() };
    let Err(Error::NotConverged { operation: "Svc", iterations: 3, violation, tolerance }) = svc.fit(x.rows(), &y)
    else {
        panic!("three steps are enough");
    };
    assert!(violation > tolerance && tolerance == 1e-3);
    let search = GridSearch { svc, ..GridSearch::default() };
    let error = search.nested_cross_validation(x.rows(), &y, 4).unwrap_err();
    assert!(
        error.to_string().starts_with(
            "in outer fold 0, inner fold 0: in the machine with C = 0.001: nested_cross_validation: after 3 iter"
        ),
        "{error}"
    );
    let values: Vec<f32> = x.values().iter().map(|&value| value as f32).collect();
    let rows: Vec<&[f32]> = values.chunks(3).collect();
    let limited = KernelSvm { max_iterations: 3, ..KernelSvm::default() };
    assert!(matches!(limited.fit_rows(3, &rows, &y), Err(Error::NotConverged { iterations: 3, .. })));
}

#[test]
fn the_grid_finds_what_single_fits_find() {
    for (count, classes) in [(90, 2), (120, 3), (600, 2)] {
        let (x, y) = points(8, count, 4, classes);
        // both stop close to the minimum, so that no sample lies between them
        let search = GridSearch { c_grid: vec![10., 0.1, 1.], folds: 3, ..GridSearch::default() };
        let search = GridSearch { svc: Svc { tolerance: 1e-5, ..search.svc }, ..search };
        let (choice, machine) = search.fit(x.rows(), &y).unwrap();
        let of = |rows: &[usize]| rows.iter().map(|&row| y[row]).collect::<Vec<u32>>();
        let mut means = Vec::new();
        for &c in &search.c_grid {
            let svc = Svc { c, ..search.svc };
            let folds = stratified_folds(&y, 3).unwrap();
            let accuracies = folds.iter().map(|fold| {
                let train = x.rows().select(&fold.train).unwrap();
                let fitted = svc.fit(train.rows(), &of(&fold.train)).unwrap();
                accuracy(&fitted.predict(x.rows().select(&fold.test).unwrap().rows()).unwrap(), &of(&fold.test))
            });
            means.push(accuracies.sum::<f64>() / 3.);
        }
        for (found, wanted) in choice.mean_accuracies.iter().zip(&means) {
            // above 512 rows the grid's kernel is in single precision, a training set's own in double
            let allowed = if count > 512 { 1.01 / count as f64 } else { 1e-12 };
            assert!((found - wanted).abs() <= allowed, "{count}: {found} {wanted}");
        }
        let own = Svc { c: choice.c, ..search.svc }.fit(x.rows(), &y).unwrap();
        assert_eq!(machine.predict(x.rows()).unwrap(), own.predict(x.rows()).unwrap());
        assert_eq!(machine.support(), own.support());
    }
}

#[test]
fn of_equal_accuracies_the_first_c_is_chosen() {
    // far apart, so that every C is right
    let x = Matrix::new(1, (0..40).map(|at| f64::from(at % 2 * 100 + at)).collect()).unwrap();
    let y: Vec<u32> = (0..40).map(|at| at % 2).collect();
    for c_grid in [vec![10., 1., 100.], vec![100., 1., 1., 10.]] {
        let search = GridSearch { c_grid, ..GridSearch::default() };
        let (choice, machine) = search.fit(x.rows(), &y).unwrap();
        assert_eq!((choice.c, choice.accuracy()), (search.c_grid[0], 1.));
        assert_eq!(machine.predict(x.rows()).unwrap(), y);
    }
}

#[test]
fn threads_change_nothing() {
    let (x, y) = points(2, 530, 4, 3);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| (nested_cross_validation(x.rows(), &y, 4).unwrap(), Svc::default().fit(x.rows(), &y).unwrap()))
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn rare_classes_are_named_or_allowed() {
    let (x, mut y) = points(6, 60, 3, 2);
    y[17] = 9;
    let search = GridSearch { folds: 3, ..GridSearch::default() };
    let error = search.nested_cross_validation(x.rows(), &y, 5).unwrap_err();
    assert_eq!(error, Error::RareClass { operation: "StratifiedFolds", class: 9, count: 1, folds: 5 });
    let found = GridSearch { allow_rare: true, ..search.clone() }.nested_cross_validation(x.rows(), &y, 5).unwrap();
    // nothing that was trained without it can say it
    let fold = found.folds.iter().find(|fold| fold.test.contains(&17)).unwrap();
    assert!(!fold.predictions.contains(&9));
    // enough for the outer folds, too few for the inner ones: the place is named
    let y: Vec<u32> = (0..60).map(|at| u32::from(at < 5)).collect();
    let error = search.nested_cross_validation(x.rows(), &y, 5).map(|_| ());
    assert_eq!(error, Ok(()));
    let search = GridSearch { folds: 5, ..search };
    let error = search.nested_cross_validation(x.rows(), &y, 5).unwrap_err();
    assert!(error.to_string().starts_with("in outer fold 0: StratifiedFolds: class 1 has 4 of 5 members"), "{error}");
    // a training set of one class
    let mut y = vec![4; 60];
    y[1] = 5;
    let search = GridSearch { allow_rare: true, ..search };
    let error = search.nested_cross_validation(x.rows(), &y, 5).unwrap_err();
    assert!(error.to_string().contains("rows are of class 4, expected two classes or more"), "{error}");
}

#[test]
fn hostile_input_is_an_error() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = Rows::new(3, &[0., 1., 2., 3., value, 5.][..]).unwrap_err();
        assert!(matches!(error, Error::Value { .. }));
        assert!(error.to_string().starts_with("Rows::new: feature 1 of row 1 is "), "{error}");
        assert!(Rows::new(1, &[value as f32][..]).is_err() && Matrix::new(1, vec![value]).is_err());
        let svc = Svc { kernel: Kernel::Rbf(Gamma::Value(value)), ..Svc::default() };
        let x = Rows::new(1, &[0., 1.][..]).unwrap();
        assert!(matches!(svc.fit(x, &[0, 1]), Err(Error::Value { .. })));
        assert!(matches!(Svc { c: value, ..Svc::default() }.fit(x, &[0, 1]), Err(Error::Value { .. })));
        assert!(matches!(Svc { tolerance: value, ..Svc::default() }.fit(x, &[0, 1]), Err(Error::Value { .. })));
        let search = GridSearch { c_grid: vec![1., value], ..GridSearch::default() };
        assert!(matches!(search.fit(x, &[0, 1]), Err(Error::Value { .. })));
        let rows: [&[f32]; 2] = [&[0.], &[value as f32]];
        assert!(matches!(KernelSvm::default().fit_rows(1, &rows, &[0, 1]), Err(Error::Value { .. })));
    }
    assert!(matches!(KernelSvm::default().fit_rows(1, &[], &[]), Err(Error::Empty { .. })));
    assert!(matches!(Rows::new(0, &[1.][..]), Err(Error::Empty { .. })));
    assert!(matches!(Rows::new(1, &[0f32; 0][..]), Err(Error::Empty { .. })));
    assert!(matches!(Rows::new(2, &[1., 2., 3.][..]), Err(Error::Length { .. })));
    let x = Rows::new(1, &[0., 1.][..]).unwrap();
    assert!(matches!(Svc::default().fit(x, &[0]), Err(Error::Length { .. })));
    assert!(matches!(Svc::default().fit(x, &[3, 3]), Err(Error::OneClass { class: 3, count: 2, .. })));
    let none = GridSearch { c_grid: vec![], ..GridSearch::default() };
    assert!(matches!(none.fit(x, &[0, 1]), Err(Error::Empty { .. })));
    let fitted = Svc::default().fit(x, &[0, 1]).unwrap();
    assert!(matches!(fitted.predict(Rows::new(2, &[1., 2.][..]).unwrap()), Err(Error::Length { .. })));
    let huge = Matrix::new(1, vec![-1e300, 1e300]).unwrap();
    let linear = Svc { kernel: Kernel::Linear, ..Svc::default() };
    assert!(matches!(linear.fit(huge.rows(), &[0, 1]), Ok(_) | Err(Error::Value { .. })));
}

#[test]
fn equal_rows_are_no_trouble() {
    let x = Matrix::new(2, vec![1.5; 40]).unwrap();
    let y: Vec<u32> = (0..20).map(|at| u32::from(at % 3 == 0)).collect();
    for kernel in [Kernel::Linear, Kernel::Rbf(Gamma::Scale)] {
        let machine = Svc { kernel, ..Svc::default() }.fit(x.rows(), &y).unwrap();
        assert_eq!(machine.predict(x.rows()).unwrap(), [0; 20], "the majority");
    }
    // many rows of few values
    let x = Matrix::new(1, (0..700).map(|at| f64::from(at % 3)).collect()).unwrap();
    let y: Vec<u32> = (0..700).map(|at| u32::from(at % 3 == 1 || at % 50 == 0)).collect();
    let machine = Svc { c: 100., ..Svc::default() }.fit(x.rows(), &y).unwrap();
    let right = accuracy(&machine.predict(x.rows()).unwrap(), &y);
    assert!(right > 0.98, "{right}");
}
