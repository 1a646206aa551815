//! The law: what holds for every table, what it recovers, and what it refuses.

#![allow(clippy::unwrap_used)]

use approx::assert_relative_eq;
use moe_scaling::Error;
use moe_scaling::architecture::{Architecture, RouterKind};
use moe_scaling::law::{
    Analysis, Coefficient, Columns, FitOptions, Form, Law, Loss, Point, Saturation, Starts, Table, analyse, bootstrap,
    compare, fit, leave_one_out, predictions, write_predictions,
};
use proptest::prelude::*;

const SIZES: [f64; 5] = [1.5e7, 5.5e7, 1.3e8, 3.7e8, 1.3e9];
const EXPERTS: [f64; 6] = [1., 2., 8., 32., 128., 512.];

fn truth() -> Law {
    Law::saturating(-0.083, -0.118, 0.0099, 1.11, 2., 300.)
}

fn table(law: &Law, error: impl Fn(usize) -> f64) -> Vec<Point> {
    let cells = SIZES.into_iter().flat_map(|n| EXPERTS.map(|e| (n, e)));
    cells.enumerate().map(|(i, (n, e))| Point::new(n, e, law.predict(n, e) * error(i).exp())).collect()
}

/// Deterministic and about as large as the noise between seeds.
fn noise(i: usize) -> f64 {
    0.003 * (12.9898 * (i + 1) as f64).sin()
}

fn law_of(form: Form) -> Law {
    let zero = Law::zero(form);
    let has = |which, value| if form.terms().contains(&which) { value } else { 0. };
    Law {
        a: -0.08,
        b: has(Coefficient::B, -0.09),
        c: has(Coefficient::C, 0.008),
        d: 1.1,
        f: has(Coefficient::F, 0.002),
        g: has(Coefficient::G, 0.003),
        saturation: zero.saturation.map(|_| Saturation { log2_start: 1.2, log2_max: 8. }),
        ..zero
    }
}

#[test]
fn every_form_is_recovered_from_its_own_losses() {
    for form in Form::ALL {
        let law = law_of(form);
        let fit = fit(&table(&law, |_| 0.), form, &FitOptions::default()).unwrap();
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
        let options = FitOptions { fits_irreducible: true, ..FitOptions::default() };
        let found = fit(&table(&law, |_| 0.), form, &options).unwrap();
        assert!(found.rmsle < 1e-6, "{form:?}: {found:?}");
        assert_relative_eq!(found.law.irreducible, 1.2, epsilon = 0.02);
        let options = FitOptions { fixed: vec![(Coefficient::Irreducible, 1.2)], ..FitOptions::default() };
        let found = fit(&table(&law, |_| 0.), form, &options).unwrap();
        assert!(found.rmsle < 1e-7 && found.law.irreducible == 1.2, "{form:?}: {found:?}");
    }
}

#[test]
fn an_outlier_moves_a_huber_fit_less() {
    let mut points = table(&truth(), noise);
    points[7].loss *= 1.5;
    let error = |options: &FitOptions| {
        let law = fit(&points, Form::Saturating, options).unwrap().law;
        SIZES
            .iter()
            .flat_map(|&n| EXPERTS.map(|e| (law.predict(n, e) / truth().predict(n, e)).ln().abs()))
            .fold(0., f64::max)
    };
    let huber = error(&FitOptions { loss: Loss::Huber { delta: 0.005 }, ..FitOptions::default() });
    let squared = error(&FitOptions::default());
    assert!(huber < squared / 3., "{huber} against {squared}");
}

#[test]
fn coefficients_can_be_fixed_and_bounded() {
    let points = table(&truth(), noise);
    let free = fit(&points, Form::Saturating, &FitOptions::default()).unwrap();
    let fixed = [(Coefficient::A, -0.08), (Coefficient::Log2Max, 9.)];
    for &(which, value) in &fixed {
        let options = FitOptions { fixed: vec![(which, value)], ..FitOptions::default() };
        let found = fit(&points, Form::Saturating, &options).unwrap();
        assert_eq!(found.law.coefficient(which), Some(value));
        assert!(found.mse_log10 >= free.mse_log10);
    }
    let both = fit(&points, Form::Saturating, &FitOptions { fixed: fixed.to_vec(), ..FitOptions::default() }).unwrap();
    assert_eq!((both.law.a, both.law.saturation.unwrap().log2_max), (-0.08, 9.));
    let options = FitOptions {
        bounds: vec![
            (Coefficient::C, (0., 0.005)),
            (Coefficient::Log2Start, (0., 20.)),
            (Coefficient::Log2Max, (0., 7.)),
        ],
        ..FitOptions::default()
    };
    let found = fit(&points, Form::Saturating, &options).unwrap();
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
            fit(&weighted, form, &FitOptions::default()).unwrap(),
            fit(&repeated, form, &FitOptions::default()).unwrap(),
        );
        assert_relative_eq!(a.mse_log10, b.mse_log10, max_relative = 1e-9);
        assert_relative_eq!(a.law.predict(1e9, 64.), b.law.predict(1e9, 64.), max_relative = 1e-6);
    }
}

#[test]
fn many_starts_find_nothing_better_than_the_grid() {
    for phase in 0..8 {
        let points = table(&truth(), |i| 0.02 * (12.9898 * (i + 31 * phase + 1) as f64).sin());
        let grid = fit(&points, Form::Saturating, &FitOptions::default()).unwrap().mse_log10;
        let starts = (0..400).map(|i| [f64::from(i % 20) * 0.4, f64::from(i / 20) * 0.7]).collect();
        let many =
            fit(&points, Form::Saturating, &FitOptions { starts: Starts::Given(starts), ..FitOptions::default() });
        assert!(grid <= many.unwrap().mse_log10 * (1. + 1e-9));
    }
}

#[test]
fn uncertainty_does_not_depend_on_threads_and_shrinks_with_the_noise() {
    let points = table(&truth(), noise);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| bootstrap(&points, Form::Saturating, &FitOptions::default(), 60, 5).unwrap())
    };
    let (one, three) = (run(1), run(3));
    assert_eq!(one, three);
    let width = |laws: &moe_scaling::law::Bootstrap| {
        let interval = laws.interval(0.95, |law| Some(law.predict(1e10, 64.))).unwrap();
        interval.high - interval.low
    };
    let quiet = table(&truth(), |i| noise(i) / 10.);
    assert!(width(&bootstrap(&quiet, Form::Saturating, &FitOptions::default(), 60, 5).unwrap()) < width(&one) / 5.);
    assert!(one.interval(1., |law| Some(law.a)).is_err() && one.interval(0.9, |_| None).is_err());
    let huge = one.interval(0.9, |_| Some(f64::INFINITY)).unwrap();
    assert!(huge.low == f64::INFINITY && huge.contains(f64::INFINITY));
}

#[test]
fn leaving_one_out_is_fitting_the_others() {
    let points = table(&truth(), noise);
    let errors = leave_one_out(&points, Form::Saturating, &FitOptions::default()).unwrap();
    for at in [0, 7, 29] {
        let others: Vec<Point> = points.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, p)| *p).collect();
        let law = fit(&others, Form::Saturating, &FitOptions::default()).unwrap().law;
        let error = law.predict(points[at].size, points[at].experts).ln() - points[at].loss.ln();
        assert_relative_eq!(errors.errors[at], error, epsilon = 1e-6);
    }
}

#[test]
fn a_better_router_is_found_better() {
    let other = Law { d: 1.105, ..truth() };
    let (first, second) = (table(&other, |i| noise(i + 50)), table(&truth(), noise));
    let at = [(1e8, 32.), (1e9, 128.)];
    let found = compare([&first, &second], Form::Saturating, &FitOptions::default(), &at, 200, 0.95, 1).unwrap();
    for result in &found {
        assert!(result.log_ratio < 0. && result.interval.high < 0. && result.first_wins > 0.97, "{result:?}");
    }
    let same = compare([&second, &second], Form::Saturating, &FitOptions::default(), &at, 50, 0.95, 1).unwrap();
    assert!(same.iter().all(|result| result.log_ratio == 0. && result.interval.contains(0.)));
}

proptest! {
    #[test]
    fn the_transform_rises_from_its_start_to_its_end(start in 0.0..6f64, gap in 0.1..8f64, e in 1.0..1e6f64, step in 1.0001..10f64) {
        let transform = Saturation { log2_start: start, log2_max: start + gap };
        let (here, there) = (transform.effective_experts(e), transform.effective_experts(e * step));
        prop_assert!(here < there || (there - transform.max()).abs() < 1e-9 * transform.max());
        prop_assert!(here >= transform.start() * (1. - 1e-12) && there <= transform.max() * (1. + 1e-12));
        prop_assert!((transform.effective_experts(1.) / transform.start() - 1.).abs() < 1e-12);
    }

    #[test]
    fn consequences_of_the_law(n in 1e6..1e11f64, e in 1.0..1024f64) {
        for form in Form::ALL {
            let law = law_of(form);
            let equivalent = law.effective_parameter_count(n, e);
            prop_assert!((law.log10_loss(equivalent, 1.) - law.log10_loss(n, e)).abs() < 1e-9 || equivalent.is_nan() && form == Form::Quadratic);
            prop_assert_eq!(law.effective_parameter_count(n, 1.), n);
            if form != Form::Quadratic {
                let loss = law.predict(n, e);
                prop_assert!((law.size_for(loss, e) / n - 1.).abs() < 1e-8);
            }
            if let Some(cutoff) = law.cutoff() {
                prop_assert!(law.expert_slope(cutoff, e).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn units_of_size_and_order_do_not_matter(factor in 1e-6..1e3f64, rotation in 0usize..30) {
        let points = table(&truth(), noise);
        let mut other: Vec<Point> = points.iter().map(|p| Point { size: p.size * factor, ..*p }).collect();
        other.rotate_left(rotation);
        for form in [Form::Separable, Form::Saturating] {
            let (a, b) = (fit(&points, form, &FitOptions::default()).unwrap(), fit(&other, form, &FitOptions::default()).unwrap());
            prop_assert!((a.rmsle - b.rmsle).abs() < 1e-9);
            prop_assert!((a.law.predict(1e9, 64.) / b.law.predict(1e9 * factor, 64.) - 1.).abs() < 1e-6);
        }
    }

    #[test]
    fn any_text_is_a_table_or_an_error(text in "[NELx0-9.,;\n\" eE-]{0,120}") {
        let _ = Table::read_csv(text.as_bytes(), &Columns::default());
        let with_header = format!("N,E,loss\n{text}");
        let _ = Table::read_csv(with_header.as_bytes(), &Columns::default());
    }

    #[test]
    fn any_points_give_a_law_or_an_error(numbers in prop::collection::vec((1e-300..1e300f64, 1.0..1e6f64, 1e-300..1e300f64), 0..12)) {
        let points: Vec<Point> = numbers.into_iter().map(|(n, e, l)| Point::new(n, e, l)).collect();
        for form in Form::ALL {
            if let Ok(found) = fit(&points, form, &FitOptions::default()) {
                prop_assert!(found.mse_log10.is_finite());
            }
        }
    }
}

#[test]
fn tables_are_read_and_written() {
    let text = "router, N, E, loss\nS-Base, 1.5e7, 4, 3.1\nHash,15000000,8,3.2\nS-Base,3e7,4,2.9\nDense,3e7,1,3.3\n";
    let table = Table::read_csv(text.as_bytes(), &Columns::default()).unwrap();
    assert_eq!(table.series(), ["S-Base", "Hash", "Dense"]);
    assert_eq!(table.points("S-Base"), [Point::new(1.5e7, 4., 3.1), Point::new(3e7, 4., 2.9)]);
    assert_eq!(table.points_with_dense("Hash", "Dense").len(), 2);
    let mut written = Vec::new();
    table.write_csv(&mut written).unwrap();
    assert_eq!(Table::read_csv(&written[..], &Columns::default()).unwrap(), table);
    let json = serde_json::to_string(&table).unwrap();
    assert_eq!(serde_json::from_str::<Table>(&json).unwrap(), table);
    let columns = Columns { size: Some("E".into()), experts: Some("N".into()), ..Columns::default() };
    assert_eq!(Table::read_csv(text.as_bytes(), &columns).unwrap().rows[0].point.size, 4.);

    let points = self::table(&truth(), noise);
    let analysis = analyse(&points, Form::Saturating, &FitOptions::default(), 40, 0.95, 0).unwrap();
    let json = serde_json::to_string(&analysis).unwrap();
    assert_eq!(serde_json::from_str::<Analysis>(&json).unwrap(), analysis);
    assert_eq!(analysis.intervals.len(), 6);
    let mut written = Vec::new();
    write_predictions(&predictions(&analysis.fit.law, &points), &mut written).unwrap();
    let written = String::from_utf8(written).unwrap();
    assert!(written.starts_with("size,experts,loss,predicted,effective_parameter_count\n"), "{written}");
    assert_eq!(written.lines().count(), points.len() + 1);
}

#[test]
fn wrong_tables_are_errors_that_say_where() {
    for (text, expected) in [
        ("", "no column named size"),
        ("N,loss\n1,2\n", "no column named experts"),
        ("N,E,loss\n1e6,0.5,3\n", "line 2: experts is 0.5"),
        ("N,E,loss\n-1e6,1,3\n", "line 2: size is -1000000"),
        ("N,E,loss\n1e6,1,3\n0,1,3\n", "line 3: size is 0"),
        ("N,E,loss\n1e6,1,nan\n", "line 2: loss is NaN"),
        ("N,E,loss\n1e6,1,inf\n", "line 2: loss is inf"),
        ("N,E,loss\n1e6,1,\n", "line 2: loss is \"\""),
        ("N,E,loss\n1e6,1,3,4\n", "cannot be read"),
        ("N,E,loss,weight\n1e6,1,3,-1\n", "weight is -1"),
    ] {
        let error = Table::read_csv(text.as_bytes(), &Columns::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    let columns = Columns { weight: Some("w".into()), ..Columns::default() };
    let error = Table::read_csv(&b"N,E,loss\n1e6,1,3\n"[..], &columns).unwrap_err();
    assert!(matches!(error, Error::MissingColumn { .. }), "{error}");
}

#[test]
fn wrong_points_and_options_are_errors() {
    let good = table(&truth(), noise);
    let run = |points: &[Point], form: Form| fit(points, form, &FitOptions::default());
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
        assert!(bootstrap(&points, Form::Saturating, &FitOptions::default(), 5, 0).is_err());
        assert!(leave_one_out(&points, Form::Saturating, &FitOptions::default()).is_err());
    }
    assert!(matches!(run(&[], Form::Dense), Err(Error::TooFewPoints { .. })));
    assert!(matches!(run(&good[..5], Form::Saturating), Err(Error::TooFewPoints { points: 5, needed: 6 })));
    // one size, or one number of experts, leaves coefficients open
    let one_size: Vec<Point> = good.iter().copied().filter(|p| p.size == SIZES[0]).collect();
    let dense: Vec<Point> = good.iter().copied().filter(|p| p.experts == 1.).collect();
    for form in [Form::Separable, Form::Bilinear, Form::Saturating] {
        for points in [[one_size.clone(), one_size.clone()].concat(), [dense.clone(), dense.clone()].concat()] {
            assert!(matches!(run(&points, form), Err(Error::Undetermined { .. })), "{form:?}");
        }
    }
    let with = |change: &dyn Fn(&mut FitOptions)| {
        let mut options = FitOptions::default();
        change(&mut options);
        fit(&good, Form::Saturating, &options).is_err()
    };
    assert!(with(&|o| o.loss = Loss::Huber { delta: 0. }));
    assert!(with(&|o| o.loss = Loss::Huber { delta: f64::NAN }));
    assert!(with(&|o| o.fixed = vec![(Coefficient::G, 1.)]));
    assert!(with(&|o| o.fixed = vec![(Coefficient::A, f64::NAN)]));
    assert!(with(&|o| o.bounds = vec![(Coefficient::A, (1., 0.))]));
    assert!(with(&|o| o.starts = Starts::Given(vec![])));
    assert!(with(&|o| o.starts = Starts::Given(vec![[f64::NAN, 1.]])));
    assert!(with(&|o| o.starts = Starts::Grid { start: 0, max: 1, keep: 1 }));
    assert!(bootstrap(&good, Form::Saturating, &FitOptions::default(), 0, 0).is_err());
}

#[test]
fn the_best_model_under_a_budget() {
    let law = truth();
    let candidates = SIZES.into_iter().flat_map(|n| EXPERTS.map(|e| (n, e, n * (1. + 0.3 * (e - 1.)))));
    let best = law.best_under(1e9, candidates.clone()).unwrap();
    let cheaper =
        candidates.clone().filter(|c| c.2 <= 1e9).map(|(n, e, _)| law.predict(n, e)).fold(f64::INFINITY, f64::min);
    assert_eq!(best.predicted, cheaper);
    assert!(law.best_under(1., candidates).is_none());
}

#[test]
fn sizes_are_the_papers() {
    let labels = [
        (512, 6, 8, 32, 16_527_360),
        (512, 8, 8, 64, 27_279_360),
        (640, 10, 12, 64, 57_369_600),
        (896, 12, 16, 64, 132_163_584),
        (1536, 12, 12, 128, 368_123_904),
        (2048, 24, 16, 128, 1_308_819_456),
    ];
    for (d_model, blocks, heads, head_size, expected) in labels {
        let model = Architecture { d_model, blocks, heads, head_size, routing_frequency: 0.5 };
        assert_eq!(model.dense_parameters().unwrap(), expected);
        assert_eq!(model.routed_blocks().unwrap(), (1..blocks).step_by(2).collect::<Vec<_>>());
        assert_eq!(model.total_parameters(1, RouterKind::Free).unwrap(), expected);
        assert!(model.total_parameters(0, RouterKind::Free).is_err());
        assert!(model.routing_flops(4, 5, RouterKind::Linear).is_err());
    }
    let model = Architecture { d_model: 512, blocks: 8, heads: 8, head_size: 64, routing_frequency: 1.5 };
    assert!(model.dense_parameters().is_err());
    assert!(Architecture { d_model: 0, routing_frequency: 0.5, ..model }.dense_parameters().is_err());
    assert!(Architecture { d_model: usize::MAX, routing_frequency: 0.5, ..model }.dense_parameters().is_err());
}

/// All 223 released runs, where they are.
#[test]
fn parameter_and_flop_counts_are_the_released_ones() {
    use datasets::routing_curves::{Router, load};
    let options = datasets::StoreConfig { is_offline: true, ..datasets::StoreConfig::default() };
    let Ok(curves) = datasets::Store::new(options).and_then(|store| load(&store)) else {
        println!("skipped: routing-curves is not on this machine");
        return;
    };
    let runs = curves.last();
    assert_eq!(runs.len(), 223);
    for run in &runs {
        let model = Architecture {
            d_model: run.d_model as usize,
            blocks: run.num_blocks as usize,
            heads: run.num_heads as usize,
            head_size: run.kqv_size as usize,
            routing_frequency: run.routing_frequency,
        };
        assert_eq!(model.dense_parameters().unwrap() as f64, run.dense_parameters, "run {}", run.hyper_id);
        let (experts, kind) = match run.router {
            Router::Dense if run.flop_increase == 1. => (1, RouterKind::Free),
            Router::Dense => (run.flop_increase as usize, RouterKind::Linear),
            Router::RlR => (run.num_experts as usize, RouterKind::Reinforce),
            _ => (run.num_experts as usize, RouterKind::Linear),
        };
        assert_eq!(model.total_parameters(experts, kind).unwrap() as f64, run.total_parameters, "run {}", run.hyper_id);
        let dense = runs.iter().find(|other| {
            other.router == Router::Dense && other.flop_increase == 1. && other.size_label == run.size_label
        });
        let added = 524_288. * model.routing_flops(experts, run.k as usize, kind).unwrap() as f64;
        if run.router != Router::Dense {
            assert_eq!(run.flops_per_step - dense.unwrap().flops_per_step, added, "run {}", run.hyper_id);
        }
    }
}
