//! Fits recover known laws, follow their settings, and refuse wrong input.

use crate::{EXPERTS, SIZES, law_of, noise, table, truth};
use approx::assert_relative_eq;
use moe_scaling::Error;
use moe_scaling::law::{
    Coefficient, FitConfig, Form, Law, Loss, Point, Starts, analyse, bootstrap, compare, fit, leave_one_out,
};
use proptest::prelude::*;

#[test]
fn every_form_is_recovered_from_its_own_losses() {
    for form in Form::ALL {
        let law = law_of(form);
        let fit = fit(&table(&law, |_| 0.), form, &FitConfig::default()).unwrap();
        assert!(fit.rmsle < 1e-9 && fit.at_bound.is_empty(), "{form:?}: {fit:?}");
        for (size, experts) in [(1e8, 4.), (1e10, 64.), (1e6, 1.)] {
            assert_relative_eq!(fit.law.predict(size, experts), law.predict(size, experts), max_relative = 1e-5);
        }
    }
}

#[test]
fn an_irreducible_loss_is_recovered() {
    for form in [Form::Dense, Form::Bilinear, Form::Saturating] {
        let law = Law { irreducible: 1.2, ..law_of(form) };
        let config = FitConfig { fits_irreducible: true, ..FitConfig::default() };
        let found = fit(&table(&law, |_| 0.), form, &config).unwrap();
        assert!(found.rmsle < 1e-6, "{form:?}: {found:?}");
        assert_relative_eq!(found.law.irreducible, 1.2, epsilon = 0.02);
        let config = FitConfig { fixed: vec![(Coefficient::Irreducible, 1.2)], ..FitConfig::default() };
        let found = fit(&table(&law, |_| 0.), form, &config).unwrap();
        assert!(found.rmsle < 1e-7 && found.law.irreducible == 1.2, "{form:?}: {found:?}");
    }
}

#[test]
fn an_outlier_moves_a_huber_fit_less() {
    let mut points = table(&truth(), noise);
    points[7].loss *= 1.5;
    let error = |config: &FitConfig| {
        let law = fit(&points, Form::Saturating, config).unwrap().law;
        SIZES
            .iter()
            .flat_map(|&n| EXPERTS.map(|e| (law.predict(n, e) / truth().predict(n, e)).ln().abs()))
            .fold(0., f64::max)
    };
    let huber = error(&FitConfig { loss: Loss::Huber { delta: 0.005 }, ..FitConfig::default() });
    let squared = error(&FitConfig::default());
    assert!(huber < squared / 3., "{huber} against {squared}");
}

#[test]
fn coefficients_can_be_fixed_and_bounded() {
    let points = table(&truth(), noise);
    let free = fit(&points, Form::Saturating, &FitConfig::default()).unwrap();
    let fixed = [(Coefficient::A, -0.08), (Coefficient::Log2Max, 9.)];
    for &(which, value) in &fixed {
        let config = FitConfig { fixed: vec![(which, value)], ..FitConfig::default() };
        let found = fit(&points, Form::Saturating, &config).unwrap();
        assert_eq!(found.law.coefficient(which), Some(value));
        assert!(found.mse_log10 >= free.mse_log10);
    }
    let both = fit(&points, Form::Saturating, &FitConfig { fixed: fixed.to_vec(), ..FitConfig::default() }).unwrap();
    assert_eq!((both.law.a, both.law.saturation.unwrap().log2_max), (-0.08, 9.));
    let config = FitConfig {
        bounds: vec![
            (Coefficient::C, (0., 0.005)),
            (Coefficient::Log2Start, (0., 20.)),
            (Coefficient::Log2Max, (0., 7.)),
        ],
        ..FitConfig::default()
    };
    let found = fit(&points, Form::Saturating, &config).unwrap();
    assert!(found.law.c <= 0.005 && found.law.saturation.unwrap().log2_max <= 7.);
    assert!(found.at_bound.contains(&Coefficient::C), "{found:?}");
}

#[test]
fn a_weight_is_a_repetition() {
    let points = table(&truth(), noise);
    let mut weighted = points.clone();
    weighted[3].weight = 3.;
    weighted[5].weight = 0.;
    let mut repeated: Vec<Point> =
        points.iter().copied().enumerate().filter(|(i, _)| *i != 5).map(|(_, p)| p).collect();
    repeated.extend([points[3]; 2]);
    for form in Form::ALL {
        let (a, b) = (
            fit(&weighted, form, &FitConfig::default()).unwrap(),
            fit(&repeated, form, &FitConfig::default()).unwrap(),
        );
        assert_relative_eq!(a.mse_log10, b.mse_log10, max_relative = 1e-9);
        assert_relative_eq!(a.law.predict(1e9, 64.), b.law.predict(1e9, 64.), max_relative = 1e-6);
    }
}

#[test]
fn many_starts_find_nothing_better_than_the_grid() {
    for phase in 0..8 {
        let points = table(&truth(), |i| 0.02 * (12.9898 * (i + 31 * phase + 1) as f64).sin());
        let grid = fit(&points, Form::Saturating, &FitConfig::default()).unwrap().mse_log10;
        let starts = (0..400).map(|i| [f64::from(i % 20) * 0.4, f64::from(i / 20) * 0.7]).collect();
        let many = fit(&points, Form::Saturating, &FitConfig { starts: Starts::Given(starts), ..FitConfig::default() });
        assert!(grid <= many.unwrap().mse_log10 * (1. + 1e-9));
    }
}

proptest! {
    #[test]
    fn units_of_size_and_order_do_not_matter(factor in 1e-6..1e3f64, rotation in 0usize..30) {
        let points = table(&truth(), noise);
        let mut other: Vec<Point> = points.iter().map(|p| Point { size: p.size * factor, ..*p }).collect();
        other.rotate_left(rotation);
        for form in [Form::Separable, Form::Saturating] {
            let (a, b) = (fit(&points, form, &FitConfig::default()).unwrap(), fit(&other, form, &FitConfig::default()).unwrap());
            prop_assert!((a.rmsle - b.rmsle).abs() < 1e-9);
            prop_assert!((a.law.predict(1e9, 64.) / b.law.predict(1e9 * factor, 64.) - 1.).abs() < 1e-6);
        }
    }

    #[test]
    fn any_points_give_a_law_or_an_error(
        numbers in prop::collection::vec((-300.0..300f64, 1.0..1e6f64, -300.0..300f64, -300.0..300f64), 0..12),
        delta in -9.0..2f64,
        is_weighted: bool,
    ) {
        let point = |(n, experts, loss, weight): (f64, f64, f64, f64)| {
            let [size, loss, weight] = [n, loss, if is_weighted { weight } else { 0. }].map(|power| 10f64.powf(power));
            Point { size, experts, loss, weight }
        };
        let points: Vec<Point> = numbers.into_iter().map(point).collect();
        for form in Form::ALL {
            for loss in [Loss::Squared, Loss::Huber { delta: 10f64.powf(delta) }] {
                if let Ok(found) = fit(&points, form, &FitConfig { loss, ..FitConfig::default() }) {
                    prop_assert!(found.mse_log10.is_finite() && found.cost.is_finite());
                }
            }
        }
    }
}

#[test]
fn wrong_points_and_settings_are_errors() {
    let good = table(&truth(), noise);
    let run = |points: &[Point], form: Form| fit(points, form, &FitConfig::default());
    for bad in [
        Point::new(f64::NAN, 1., 3.),
        Point::new(0., 1., 3.),
        Point::new(-1., 1., 3.),
        Point::new(1e6, 0.99, 3.),
        Point::new(1e6, f64::INFINITY, 3.),
        Point::new(1e6, 1., 0.),
        Point::new(1e6, 1., f64::NAN),
        Point { weight: -1., ..Point::new(1e6, 1., 3.) },
        Point { weight: f64::NAN, ..Point::new(1e6, 1., 3.) },
    ] {
        let mut points = good.clone();
        points[4] = bad;
        let error = run(&points, Form::Saturating).unwrap_err();
        assert!(error.to_string().contains("point 4"), "{error}");
        assert!(bootstrap(&points, Form::Saturating, &FitConfig::default(), 5, 0).is_err());
        assert!(leave_one_out(&points, Form::Saturating, &FitConfig::default()).is_err());
    }
    assert!(matches!(run(&[], Form::Dense), Err(Error::TooFewPoints { .. })));
    assert!(matches!(run(&good[..5], Form::Saturating), Err(Error::TooFewPoints { got: 5, expected: 6 })));
    // one size, or one number of experts, leaves coefficients undetermined
    let one_size: Vec<Point> = good.iter().copied().filter(|p| p.size == SIZES[0]).collect();
    let dense: Vec<Point> = good.iter().copied().filter(|p| p.experts == 1.).collect();
    for form in [Form::Separable, Form::Bilinear, Form::Saturating] {
        for points in [[one_size.clone(), one_size.clone()].concat(), [dense.clone(), dense.clone()].concat()] {
            assert!(matches!(run(&points, form), Err(Error::Undetermined { .. })), "{form:?}");
        }
    }
    let with = |change: &dyn Fn(&mut FitConfig)| {
        let mut config = FitConfig::default();
        change(&mut config);
        fit(&good, Form::Saturating, &config).is_err()
    };
    assert!(with(&|o| o.loss = Loss::Huber { delta: 0. }));
    assert!(with(&|o| o.loss = Loss::Huber { delta: f64::NAN }));
    assert!(with(&|o| o.loss = Loss::Huber { delta: f64::INFINITY }));
    assert!(with(&|o| o.loss = Loss::Huber { delta: 1e-300 }));
    assert!(with(&|o| o.fixed = vec![(Coefficient::G, 1.)]));
    assert!(with(&|o| o.fixed = vec![(Coefficient::A, f64::NAN)]));
    assert!(with(&|o| o.bounds = vec![(Coefficient::A, (1., 0.))]));
    assert!(with(&|o| o.starts = Starts::Given(vec![])));
    assert!(with(&|o| o.starts = Starts::Given(vec![[f64::NAN, 1.]])));
    assert!(with(&|o| o.starts = Starts::Grid { start: 0, max: 1, keep: 1 }));
    assert!(with(&|o| o.starts = Starts::Grid { start: usize::MAX, max: usize::MAX, keep: usize::MAX }));
    assert!(with(&|o| {
        o.bounds = vec![(Coefficient::Irreducible, (-2., -1.))];
        o.fits_irreducible = true;
    }));
    // bounds that leave no sensible law are no panic
    for (which, range) in [
        (Coefficient::Irreducible, (5., 10.)),
        (Coefficient::Irreducible, (f64::NEG_INFINITY, 0.)),
        (Coefficient::Log2Start, (100., 200.)),
        (Coefficient::Log2Start, (f64::NEG_INFINITY, f64::INFINITY)),
        (Coefficient::Log2Max, (-300., -200.)),
        (Coefficient::Log2Max, (f64::NEG_INFINITY, f64::INFINITY)),
    ] {
        for loss in [Loss::Squared, Loss::Huber { delta: 1e-3 }] {
            let bounds = [FitConfig::default().bounds, vec![(which, range)]].concat();
            let config = FitConfig { loss, bounds, fits_irreducible: true, ..FitConfig::default() };
            let found = fit(&good, Form::Saturating, &config);
            assert!(found.is_err() || found.unwrap().cost.is_finite(), "{which:?} {range:?}");
        }
    }
    for resamples in [0, usize::MAX] {
        assert!(bootstrap(&good, Form::Saturating, &FitConfig::default(), resamples, 0).is_err());
        let at = [(1e9, 4.)];
        assert!(compare([&good, &good], Form::Saturating, &FitConfig::default(), &at, resamples, 0.9, 0).is_err());
        assert!(analyse(&good, Form::Saturating, &FitConfig::default(), resamples, 0.9, 0).is_err());
    }
    for at in [(f64::NAN, 4.), (0., 4.), (1e9, 0.5), (1e9, f64::INFINITY)] {
        assert!(compare([&good, &good], Form::Dense, &FitConfig::default(), &[at], 5, 0.9, 0).is_err(), "{at:?}");
    }
}
