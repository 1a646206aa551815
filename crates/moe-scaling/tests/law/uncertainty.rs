//! Bootstrap, leave-one-out errors and the comparison of routers.

use crate::{law_of, noise, table, truth};
use approx::assert_relative_eq;
use moe_scaling::law::{Bootstrap, FitConfig, Form, Interval, Law, Point, bootstrap, compare, fit, leave_one_out};

#[test]
fn uncertainty_does_not_depend_on_threads_and_shrinks_with_the_noise() {
    let points = table(&truth(), noise);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| bootstrap(&points, Form::Saturating, &FitConfig::default(), 60, 5).unwrap())
    };
    let (one, three) = (run(1), run(3));
    assert_eq!(one, three);
    let width = |laws: &Bootstrap| {
        let interval = laws.interval(0.95, |law| Some(law.predict(1e10, 64.))).unwrap();
        interval.upper - interval.lower
    };
    let quiet = table(&truth(), |i| noise(i) / 10.);
    assert!(width(&bootstrap(&quiet, Form::Saturating, &FitConfig::default(), 60, 5).unwrap()) < width(&one) / 5.);
    assert!(one.interval(1., |law| Some(law.a)).is_err() && one.interval(0.9, |_| None).is_err());
    let huge = one.interval(0.9, |_| Some(f64::INFINITY)).unwrap();
    assert!(huge.lower == f64::INFINITY && huge.contains(f64::INFINITY));
    // one end finite and one infinite, either way: infinite between them, never NaN
    let laws = Bootstrap {
        laws: vec![Law::zero(Form::Dense), law_of(Form::Dense)],
        failed: 0,
        not_converged: 0,
        degenerate: 0,
    };
    let first = |law: &Law, a: f64, b: f64| Some(if law.a == 0. { a } else { b });
    let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
    for (a, b, expected) in [(1., high, [high, high]), (low, 1., [low, low]), (low, high, [low, high])] {
        let found = laws.interval(0.9, |law| first(law, a, b)).unwrap();
        assert_eq!([found.lower, found.upper], expected, "{a} to {b}");
        let json = serde_json::to_string(&Interval { lower: 1., upper: high }).unwrap();
        assert_eq!(serde_json::from_str::<Interval>(&json).unwrap(), Interval { lower: 1., upper: high });
    }
}

#[test]
fn leaving_one_out_is_fitting_the_others() {
    let points = table(&truth(), noise);
    let errors = leave_one_out(&points, Form::Saturating, &FitConfig::default()).unwrap();
    for at in [0, 7, 29] {
        let others: Vec<Point> = points.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, p)| *p).collect();
        let law = fit(&others, Form::Saturating, &FitConfig::default()).unwrap().law;
        let error = law.predict(points[at].size, points[at].experts).ln() - points[at].loss.ln();
        assert_relative_eq!(errors.errors[at], error, epsilon = 1e-6);
    }
}

#[test]
fn a_better_router_is_found_better() {
    let other = Law { d: 1.105, ..truth() };
    let (first, second) = (table(&other, |i| noise(i + 50)), table(&truth(), noise));
    let at = [(1e8, 32.), (1e9, 128.)];
    let found = compare([&first, &second], Form::Saturating, &FitConfig::default(), &at, 200, 0.95, 1).unwrap();
    for result in &found {
        assert!(result.log_ratio < 0. && result.interval.upper < 0. && result.first_wins > 0.97, "{result:?}");
    }
    let same = compare([&second, &second], Form::Saturating, &FitConfig::default(), &at, 50, 0.95, 1).unwrap();
    assert!(same.iter().all(|result| result.log_ratio == 0. && result.interval.contains(0.)));
}
