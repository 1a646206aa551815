#![allow(clippy::unwrap_used)]
use moe_scaling::law::*;
use serde_json::Value;
fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}
#[test]
fn squared_is_as_before() {
    let text =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/routed-scaling-laws/fits.json")).unwrap();
    let file: Value = serde_json::from_slice(&text).unwrap();
    let mut out = String::new();
    for (name, router) in file["routers"].as_object().unwrap() {
        let (n, e, y) = (numbers(&router["N"]), numbers(&router["E"]), numbers(&router["log10_loss"]));
        let points: Vec<Point> = (0..n.len()).map(|i| Point::new(n[i], e[i], 10f64.powf(y[i]))).collect();
        for form in Form::ALL {
            let f = fit(&points, form, &FitConfig::default()).unwrap();
            out += &format!("{name} {form:?} {:e} {:?}\n", f.mse_log10, f.law);
            out += &format!("loo {:e}\n", leave_one_out(&points, form, &FitConfig::default()).unwrap().rmsle);
        }
        for (k, law) in
            bootstrap(&points, Form::Saturating, &FitConfig::default(), 1000, 0).unwrap().laws.iter().enumerate()
        {
            out += &format!("boot {name} {k} {:?}\n", law);
        }
        let a = analyse(&points, Form::Saturating, &FitConfig::default(), 1000, 0.95, 0).unwrap();
        out += &format!("{name} {:?} {:?}\n", a.intervals, a.cutoff);
    }
    std::fs::write(std::env::var("SCRATCH_OUT").unwrap(), out).unwrap();
}
use rand::{Rng, SeedableRng};
fn random_table(seed: u64) -> (Vec<Point>, f64) {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let law = Law::saturating(
        rng.random_range(-0.1..-0.06),
        rng.random_range(-0.15..-0.06),
        rng.random_range(0.004..0.014),
        rng.random_range(1.0..1.2),
        2f64.powf(rng.random_range(0.1..2.5)),
        2f64.powf(rng.random_range(5.0..9.0)),
    );
    let sizes = [1.5e7, 5.5e7, 1.3e8, 3.7e8, 1.3e9];
    let experts: &[f64] = if seed % 2 == 0 { &[1., 4., 16., 64., 256.] } else { &[1., 2., 8., 32., 128., 512.] };
    let sigma = [0.0005, 0.002, 0.005, 0.01][(seed / 2 % 4) as usize];
    let mut points = Vec::new();
    for n in sizes {
        for &e in experts {
            let g: f64 = (0..12).map(|_| rng.random_range(-0.5..0.5f64)).sum();
            points.push(Point::new(n, e, law.predict(n, e) * (sigma * g).exp()));
        }
    }
    for _ in 0..seed % 4 {
        let at = rng.random_range(0..points.len());
        points[at].loss *= [0.7, 1.2, 1.5, 2.][rng.random_range(0..4usize)];
    }
    (points, [1e-4, 1e-3, 3e-3, 1e-2, 3e-2][(seed / 8 % 5) as usize])
}
#[test]
fn grid_is_enough() {
    let mut times = Vec::new();
    let (mut missed, mut notconv, mut degen) = (0, 0, 0);
    let count: u64 = std::env::var("COUNT").unwrap().parse().unwrap();
    for seed in 0..count {
        let (points, delta) = random_table(seed);
        for loss in [Loss::Huber { delta }, Loss::Squared] {
            let base = FitConfig { loss, ..FitConfig::default() };
            let t = std::time::Instant::now();
            let found = fit(&points, Form::Saturating, &base).unwrap();
            times.push((t.elapsed().as_secs_f64(), loss == Loss::Squared));
            let fine = FitConfig { starts: Starts::Grid { start: 40, max: 60, keep: 40 }, ..base };
            let best = fit(&points, Form::Saturating, &fine).unwrap();
            if found.cost > best.cost * (1. + 1e-6) {
                missed += 1;
                println!(
                    "{seed} {loss:?} missed: {:e} {:e} rel {:e} {:?} | {:?} deg {} {}",
                    found.cost,
                    best.cost,
                    found.cost / best.cost - 1.,
                    found.law.saturation,
                    best.law.saturation,
                    found.is_degenerate,
                    best.is_degenerate
                );
            }
            if !found.is_converged {
                notconv += 1;
                println!(
                    "{seed} {loss:?} {:?} {:?} {:e} deg {}",
                    found.not_converged, found.law, found.cost, found.is_degenerate
                );
            }
            if found.is_degenerate {
                degen += 1;
            }
        }
    }
    for squared in [false, true] {
        let t: Vec<f64> = times.iter().filter(|t| t.1 == squared).map(|t| t.0).collect();
        println!(
            "squared {squared}: mean {:.2} ms, max {:.2} ms",
            1e3 * t.iter().sum::<f64>() / t.len() as f64,
            1e3 * t.iter().copied().fold(0., f64::max)
        );
    }
    println!("missed {missed}, not converged {notconv}, degenerate {degen} of {}", 2 * count);
}
