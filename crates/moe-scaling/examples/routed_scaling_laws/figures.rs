//! The paper's figures.

use crate::curves::Series;
use experiment::{Axis, Context, Plot, Result};
use moe_scaling::law::{Law, Point};

/// Loss against N for each E with the fitted curves, and the same against E; the effective parameter count; the compensation of N by E.
pub(crate) fn law(context: &mut Context, all: &[Series]) -> Result<()> {
    for series in all {
        let name = series.router.name().to_lowercase().replace('-', "_");
        main(context, &format!("loss_{name}"), series.router.name(), &series.points, series.law())?;
        let law = series.law();
        let order = |points: &mut Vec<(f64, f64)>| points.sort_by(|p, q| p.0.total_cmp(&q.0));
        let mut measured: Vec<(f64, f64)> = series
            .points
            .iter()
            .map(|point| (law.effective_parameter_count(point.size, point.experts), point.loss))
            .collect();
        order(&mut measured);
        let (x, y): (Vec<f64>, Vec<f64>) = measured.iter().copied().unzip();
        let fitted = x.iter().map(|&n| law.predict(n, 1.)).collect();
        context.plot(
            &format!("effective_count_{name}"),
            Plot::scatter(
                format!("{}: all models on one line", series.router.name()),
                Axis::log("effective parameter count"),
                Axis::log("validation loss, nats"),
                vec![
                    experiment::Series::new("measured", x.clone(), y),
                    experiment::Series::new("dense law", x, fitted),
                ],
            ),
        )?;
    }
    let experts: Vec<f64> = (0..=9).map(|power| f64::from(1 << power)).collect();
    for series in all {
        let name = series.router.name().to_lowercase().replace('-', "_");
        let lines = [2.2, 2.4, 2.6, 2.8, 3.0].into_iter().map(|loss| {
            experiment::Series::new(format!("{loss} nats"), experts.clone(), series.law().level_curve(loss, &experts))
        });
        context.plot(
            &format!("iso_loss_{name}"),
            Plot::lines(
                format!("{}: models of equal loss", series.router.name()),
                Axis::log("experts"),
                Axis::log("dense parameters"),
                lines.collect(),
            ),
        )?;
    }
    Ok(())
}

/// Loss against the number of experts at each size, and against size at some numbers of experts: points and curves.
pub(crate) fn main(context: &mut Context, name: &str, title: &str, points: &[Point], law: &Law) -> Result<()> {
    let mut sizes: Vec<f64> = points.iter().map(|point| point.size).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let mut experts: Vec<f64> = points.iter().map(|point| point.experts).collect();
    experts.sort_by(f64::total_cmp);
    experts.dedup();
    let label = |size: f64| if size < 1e6 { format!("{:.0}k", size / 1e3) } else { format!("{:.0}M", size / 1e6) };
    let mut by_experts = Vec::new();
    for &size in &sizes {
        let mut here: Vec<&Point> = points.iter().filter(|point| point.size == size).collect();
        here.sort_by(|p, q| p.experts.total_cmp(&q.experts));
        let x: Vec<f64> = here.iter().map(|point| point.experts).collect();
        let curve = experts.iter().map(|&e| law.predict(size, e)).collect();
        by_experts.push(experiment::Series::new(format!("{} fit", label(size)), experts.clone(), curve));
        by_experts.push(experiment::Series::new(label(size), x, here.iter().map(|point| point.loss).collect()));
    }
    let (x, y) = (Axis::log("experts"), Axis::log("held-out loss, nats"));
    context
        .plot(&format!("{name}_by_experts"), Plot::lines(format!("{title}: loss against experts"), x, y, by_experts))?;
    let mut by_size = Vec::new();
    for &count in &experts {
        let mut here: Vec<&Point> = points.iter().filter(|point| point.experts == count).collect();
        here.sort_by(|p, q| p.size.total_cmp(&q.size));
        if here.len() < 2 {
            continue;
        }
        let curve = sizes.iter().map(|&size| law.predict(size, count)).collect();
        by_size.push(experiment::Series::new(format!("E = {count} fit"), sizes.clone(), curve));
        let x = here.iter().map(|point| point.size).collect();
        by_size.push(experiment::Series::new(format!("E = {count}"), x, here.iter().map(|point| point.loss).collect()));
    }
    let (x, y) = (Axis::log("dense parameters"), Axis::log("held-out loss, nats"));
    context.plot(&format!("{name}_by_size"), Plot::lines(format!("{title}: loss against size"), x, y, by_size))
}
