//! The law and the parameter counts: what holds for every input, and what is refused. These tests need no Candle.

#![allow(clippy::unwrap_used)]

#[path = "law/architecture.rs"]
mod architecture;
#[path = "law/fitting.rs"]
mod fitting;
#[path = "law/nested.rs"]
mod nested;
#[path = "law/predictions.rs"]
mod predictions;
#[path = "law/robust.rs"]
mod robust;
#[path = "law/tables.rs"]
mod tables;
#[path = "law/uncertainty.rs"]
mod uncertainty;

use moe_scaling::law::{Coefficient, Form, Law, Point, Saturation};

const SIZES: [f64; 5] = [1.5e7, 5.5e7, 1.3e8, 3.7e8, 1.3e9];
const EXPERTS: [f64; 6] = [1., 2., 8., 32., 128., 512.];

fn truth() -> Law {
    Law::saturating(-0.083, -0.118, 0.0099, 1.11, 2., 300.)
}

fn table(law: &Law, error: impl Fn(usize) -> f64) -> Vec<Point> {
    let cells = SIZES.into_iter().flat_map(|n| EXPERTS.map(|e| (n, e)));
    cells.enumerate().map(|(i, (n, e))| Point::new(n, e, law.predict(n, e) * error(i).exp())).collect()
}

/// A deterministic error, about as large as the differences between seeds.
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
