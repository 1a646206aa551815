//! No form is fitted worse than a simpler one, and limits of the saturating form are returned or reported.

use crate::{SIZES, noise, table, truth};
use approx::assert_relative_eq;
use moe_scaling::law::{Analysis, Coefficient, FitConfig, Form, Loss, NotConverged, Point, analyse, fit};
use proptest::prelude::*;

const NESTED: [(Form, Form); 6] = [
    (Form::Dense, Form::Separable),
    (Form::Separable, Form::Bilinear),
    (Form::Bilinear, Form::QuadraticInExperts),
    (Form::QuadraticInExperts, Form::Quadratic),
    (Form::Bilinear, Form::Saturating),
    (Form::Separable, Form::Saturating),
];

fn check(points: &[Point], config: &FitConfig) {
    for (simple, general) in NESTED {
        let (below, above) = (fit(points, simple, config).unwrap().cost, fit(points, general, config).unwrap().cost);
        assert!(
            above <= below * (1. + 1e-7) + 1e-18,
            "{general:?} {above} above {simple:?} {below}: {config:?} {points:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_form_is_not_above_a_simpler_one(errors in prop::collection::vec(-0.05..0.05f64, 30), outlier in 0usize..30, delta in 1e-4..0.02f64) {
        let mut points = table(&truth(), |i| errors[i]);
        points[outlier].loss *= 1.5;
        check(&points, &FitConfig::default());
        check(&points, &FitConfig { loss: Loss::Huber { delta }, ..FitConfig::default() });
    }
}

#[test]
fn nor_with_an_irreducible_loss_or_bounds() {
    for phase in 0..3 {
        let points = table(&truth(), |i| 3. * noise(i + 41 * phase));
        let all = [Loss::Squared, Loss::Huber { delta: 2e-3 }];
        for loss in all {
            let config = FitConfig { loss, fits_irreducible: true, ..FitConfig::default() };
            check(&points, &config);
            for form in Form::ALL {
                let without = fit(&points, form, &FitConfig { loss, ..FitConfig::default() }).unwrap().cost;
                let with = fit(&points, form, &config).unwrap().cost;
                assert!(with <= without * (1. + 1e-7), "{form:?} {loss:?}: {with} above {without}");
            }
            let mut bounds = FitConfig::default().bounds;
            bounds.push((Coefficient::A, (-0.07, 0.)));
            check(&points, &FitConfig { loss, bounds, ..FitConfig::default() });
        }
    }
}

/// Losses of the bilinear form that are convex in log E: no `E_max` within the bounds is as good as none.
#[test]
fn the_bilinear_form_is_a_limit() {
    let bilinear =
        moe_scaling::law::Law { b: -0.1, c: 0.008, a: -0.08, d: 1.1, ..moe_scaling::law::Law::zero(Form::Bilinear) };
    let points = table(&bilinear, |i| 0.001 * (12.9898 * (i + 1) as f64).sin() + if i % 6 == 1 { -0.004 } else { 0. });
    let config = FitConfig::default();
    let found = fit(&points, Form::Saturating, &config).unwrap();
    let limit = fit(&points, Form::Bilinear, &config).unwrap();
    assert!(found.cost <= limit.cost * (1. + 1e-12), "{found:?} against {limit:?}");
    // an exact table is recovered exactly, with the limit reported and stored
    let exact = fit(&table(&bilinear, |_| 0.), Form::Saturating, &config).unwrap();
    assert!(exact.rmsle < 1e-12, "{exact:?}");
    assert_eq!(exact.law.saturation.unwrap().log2_max, f64::INFINITY);
    assert!(exact.at_bound.contains(&Coefficient::Log2Max) && exact.is_converged && !exact.is_degenerate);
    assert_relative_eq!(exact.law.predict(1e10, 1024.), bilinear.predict(1e10, 1024.), max_relative = 1e-9);
    let analysis = analyse(&table(&bilinear, |_| 0.), Form::Saturating, &config, 20, 0.9, 0).unwrap();
    let json = serde_json::to_string(&analysis).unwrap();
    assert_eq!(serde_json::from_str::<Analysis>(&json).unwrap(), analysis);
    // bounds that exclude the limit are kept
    let bounds = vec![(Coefficient::Log2Start, (0., 20.)), (Coefficient::Log2Max, (0., 12.))];
    let bounded = fit(&table(&bilinear, |_| 0.), Form::Saturating, &FitConfig { bounds, ..config }).unwrap();
    assert!(bounded.law.saturation.unwrap().log2_max <= 12.);
}

/// Losses linear in E itself: the best "saturating" law has `E_start = E_max` and infinite coefficients. It is said to be degenerate.
#[test]
fn a_collapse_is_reported() {
    for loss in [Loss::Squared, Loss::Huber { delta: 1e-3 }] {
        let experts = [1., 4., 16., 64., 256.];
        let cells = SIZES.into_iter().flat_map(|n| experts.map(|e| (n, e)));
        let points: Vec<Point> = cells
            .enumerate()
            .map(|(i, (n, e))| Point::new(n, e, 10f64.powf(1.1 - 0.08 * n.log10() - 2e-4 * e + noise(i) / 3.)))
            .collect();
        let config = FitConfig { loss, ..FitConfig::default() };
        let found = fit(&points, Form::Saturating, &config).unwrap();
        assert!(found.is_degenerate, "{found:?}");
        let limit = fit(&points, Form::Bilinear, &config).unwrap();
        assert!(found.cost < limit.cost / 2., "{} against {}", found.cost, limit.cost);
        // finite numbers in any case: it predicts what was measured
        for point in &points {
            assert_relative_eq!(found.law.predict(point.size, point.experts), point.loss, max_relative = 0.01);
        }
        let analysis = analyse(&points, Form::Saturating, &config, 20, 0.9, 0).unwrap();
        assert!(analysis.degenerate > 10, "{analysis:?}");
    }
    let reasons = [NotConverged::Collapsed, NotConverged::Stalled, NotConverged::IterationLimit];
    assert!(reasons.iter().all(|reason| !reason.to_string().is_empty()));
    assert!(!fit(&table(&truth(), noise), Form::Saturating, &FitConfig::default()).unwrap().is_degenerate);
}
