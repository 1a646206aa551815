//! The figure of equal losses.

use experiment::{Axis, Plot, Series};
use moe_scaling::law::{Law, Point};

/// Level curves through the range of the measured losses, and the models themselves.
pub(crate) fn iso_loss(title: &str, law: &Law, points: &[Point]) -> Plot {
    let range = |value: fn(&Point) -> f64| {
        let values = points.iter().map(value);
        (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max))
    };
    let ((low, high), (fewest, most)) = (range(|p| p.loss), range(|p| p.experts));
    let experts: Vec<f64> = (0..=40).map(|i| fewest * (most / fewest).powf(f64::from(i) / 40.)).collect();
    let mut series: Vec<Series> = (1..6)
        .filter_map(|i| {
            let loss = low * (high / low).powf(f64::from(i) / 6.);
            let curve = law.level_curve(loss, &experts);
            let (x, y): (Vec<f64>, _) = experts.iter().zip(curve).filter(|(_, size)| size.is_finite()).unzip();
            (!x.is_empty()).then(|| Series::new(format!("{loss:.3} nats"), x, y))
        })
        .collect();
    let (x, y) = points.iter().map(|point| (point.experts, point.size)).unzip();
    series.push(Series::new("models", x, y));
    Plot::scatter(format!("{title}: sizes and experts of equal loss"), Axis::log("experts"), Axis::log("size"), series)
}
