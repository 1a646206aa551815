//! A law that is known, and losses made from it.

use experiment::{Context, Measured, Result};
use moe_scaling::law::{FitConfig, Form, Law, Point, fit};
use rand::SeedableRng;
use rand_distr::{Distribution, Normal};

const SIZES: [f64; 6] = [16_527_360., 27_279_360., 57_369_600., 132_163_584., 368_123_904., 1_308_819_456.];
const TABLES: u64 = 10;

pub(crate) fn report(context: &mut Context) -> Result<()> {
    let truth = Law::saturating(-0.083, -0.118, 0.0099, 1.1136, 2., 300.);
    let mut worst = 0f64;
    for table in 0..TABLES {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(context.seed());
        rng.set_stream(table);
        let noise = Normal::new(0., 0.003).map_err(|error| experiment::BoxError::from(error.to_string()))?;
        let mut points = Vec::new();
        for size in SIZES {
            for power in 0..10 {
                let experts = f64::from(1 << power);
                points.push(Point::new(size, experts, truth.predict(size, experts) * f64::exp(noise.sample(&mut rng))));
            }
        }
        let law = fit(&points, Form::Saturating, &FitConfig::default())?.law;
        let square = |point: &Point| {
            (law.predict(point.size, point.experts) / truth.predict(point.size, point.experts)).ln().powi(2)
        };
        let error = (points.iter().map(square).sum::<f64>() / points.len() as f64).sqrt();
        worst = worst.max(error);
    }
    context.claim(
        "law-recovery",
        Measured {
            value: worst,
            trials: TABLES as usize,
            data: "generated from a known law".into(),
            is_synthetic: true,
            ..Measured::default()
        },
    )
}
