//! `robust_fits.json`: random tables with outliers and the best of many searches by SciPy, made by `xtask/peers/robust-fits.py`.

use crate::files;
use moe_scaling::law::{FitConfig, Form, Law, Loss, Point, fit};
use serde_json::Value;

/// SciPy's polished optimum and ours agree in the cost to this fraction.
const TOLERANCE: f64 = 1e-6;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn huber(error: f64, delta: Option<f64>) -> f64 {
    match delta {
        Some(delta) if error.abs() > delta => delta * (error.abs() - delta / 2.),
        _ => error * error / 2.,
    }
}

#[test]
fn the_best_of_scipys_starts_on_tables_with_outliers() {
    let Some(bytes) = files::read("robust_fits.json") else { return };
    let file: Value = serde_json::from_slice(&bytes).expect("valid JSON");
    let (mut worst, mut better, mut degenerate) = (0f64, 0, 0);
    for (index, table) in file["tables"].as_array().expect("tables").iter().enumerate() {
        let (size, experts, loss) = (numbers(&table["size"]), numbers(&table["experts"]), numbers(&table["loss"]));
        assert!(size.len() == loss.len() && experts.len() == loss.len());
        let points: Vec<Point> =
            size.iter().zip(&experts).zip(&loss).map(|((&n, &e), &loss)| Point::new(n, e, loss)).collect();
        let delta = table["huber_delta"].as_f64();
        let loss = delta.map_or(Loss::Squared, |delta| Loss::Huber { delta });
        let found = fit(&points, Form::Saturating, &FitConfig { loss, ..FitConfig::default() }).expect("a fit");
        let theirs = table["best_cost"].as_f64().expect("a cost");
        let excess = found.cost / theirs - 1.;
        assert!(excess <= TOLERANCE, "table {index}: {} against {theirs}, {excess:e} above: {found:?}", found.cost);
        assert!(found.is_converged || found.is_degenerate, "table {index}: {found:?}");
        // the cost is what it says, and their law has theirs
        let cost = |law: &Law| -> f64 {
            let errors = points.iter().map(|p| law.predict(p.size, p.experts).ln() - p.loss.ln());
            errors.map(|error| huber(error, delta)).sum()
        };
        assert!((cost(&found.law) / found.cost - 1.).abs() < TOLERANCE, "table {index}");
        let best = numbers(&table["best"]);
        let law = Law::saturating(best[0], best[1], best[2], best[3], best[4].exp2(), best[5].exp2());
        assert!((cost(&law) / theirs - 1.).abs() < TOLERANCE, "table {index}");
        // a lower cost is possible only in the limits that their bounds leave out
        if excess < -TOLERANCE {
            better += 1;
            let is_unbounded = found.law.saturation.is_some_and(|shape| shape.log2_max.is_infinite());
            assert!(found.is_degenerate || is_unbounded, "table {index}: {excess:e} below {theirs}: {found:?}");
        }
        degenerate += usize::from(found.is_degenerate);
        worst = worst.max(excess);
    }
    println!("largest excess {worst:e}; {better} tables better than SciPy, {degenerate} degenerate");
}
