//! What all parts draw.

use crate::apply::{Applied, Ranking};
use experiment::{Axis, Context, Plot, Result, Series, statistics};

fn mean_of(all: &[&Applied], value: impl Fn(&Applied) -> f64) -> f64 {
    statistics::mean(&all.iter().map(|applied| value(applied)).collect::<Vec<_>>())
}

/// Accuracy over NPC's epochs, beside the classifier and the neighbours.
pub(crate) fn epochs(context: &mut Context, name: &str, what: &str, all: &[&Applied]) -> Result<()> {
    let count = all.iter().map(|applied| applied.npc.len()).min().unwrap_or(0);
    let x: Vec<f64> = (1..=count).map(|epoch| epoch as f64).collect();
    let mean = (0..count).map(|at| mean_of(all, |applied| applied.npc[at])).collect();
    let spread: Vec<f64> = (0..count)
        .map(|at| {
            let values: Vec<f64> = all.iter().map(|applied| applied.npc[at]).collect();
            statistics::sample_standard_deviation(&values).unwrap_or(0.)
        })
        .collect();
    let level = |name: &str, value: f64| Series::new(name, x.clone(), vec![value; count]);
    let series = vec![
        Series::new("NPC", x.clone(), mean).spread(&spread),
        level("classifier", mean_of(all, |applied| applied.classifier)),
        level("neighbours' votes", mean_of(all, |applied| applied.neighbours)),
    ];
    let title = format!("{what}: test accuracy");
    context.plot(name, Plot::lines(title, Axis::linear("epochs of NPC"), Axis::linear("accuracy"), series))
}

/// The mean of `H` beside the true probabilities.
pub(crate) fn transition(
    context: &mut Context,
    name: &str,
    what: &str,
    all: &[&Applied],
    classes: usize,
) -> Result<()> {
    let labels = |prefix: &str| (0..classes).map(|class| format!("{prefix}{class}")).collect::<Vec<_>>();
    let map = |value: &dyn Fn(&Applied) -> &[f64]| -> Vec<Vec<f64>> {
        let entry = |at: usize| mean_of(all, |applied| value(applied)[at]);
        (0..classes).map(|row| (0..classes).map(|column| entry(row * classes + column)).collect()).collect()
    };
    let parts: [(&str, &str, Vec<Vec<f64>>); 2] = [
        ("", "mean of H", map(&|applied| &applied.transition)),
        ("-true", "true p(y | ŷ)", map(&|applied| &applied.true_transition)),
    ];
    for (suffix, title, values) in parts {
        let plot = Plot::heat_map(format!("{title}, {what} (test)"), labels("y "), labels("ŷ "), values);
        context.plot(&format!("{name}{suffix}"), plot)?;
    }
    Ok(())
}

/// Accuracy by confidence, before and after.
pub(crate) fn reliability(context: &mut Context, name: &str, what: &str, all: &[&Applied]) -> Result<()> {
    // bins of all seeds, by their order
    let of = |at: usize| -> (Vec<f64>, Vec<f64>) {
        let mut bins: Vec<[f64; 3]> = all.iter().flat_map(|applied| applied.reliability[at].iter().copied()).collect();
        bins.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let mut merged: Vec<[f64; 3]> = Vec::new();
        for bin in bins {
            let place = (bin[0] * 10.).floor();
            match merged.last_mut().filter(|last| (last[0] * 10.).floor() == place) {
                Some(last) => {
                    let total = last[2] + bin[2];
                    *last = [
                        (last[0] * last[2] + bin[0] * bin[2]) / total,
                        (last[1] * last[2] + bin[1] * bin[2]) / total,
                        total,
                    ];
                }
                None => merged.push(bin),
            }
        }
        merged.into_iter().map(|bin| (bin[0], bin[1])).unzip()
    };
    let ((x, y), (after_x, after_y)) = (of(0), of(1));
    let series = vec![
        Series::new("classifier", x, y),
        Series::new("with NPC", after_x, after_y),
        Series::new("calibrated", vec![0., 1.], vec![0., 1.]),
    ];
    let title = format!("{what}: reliability on test data");
    context.plot(name, Plot::lines(title, Axis::linear("confidence"), Axis::linear("accuracy"), series))
}

/// Precision at each recall of wrong labels, mean of the seeds.
pub(crate) fn precision(context: &mut Context, name: &str, what: &str, all: &[Vec<&Ranking>]) -> Result<()> {
    let Some(first) = all.first() else { return Ok(()) };
    let recall: Vec<f64> = (0..=20).map(|at| f64::from(at) / 20.).collect();
    let series = first.iter().enumerate().map(|(at, ranking)| {
        let mean = |point: usize| statistics::mean(&all.iter().map(|run| run[at].precision[point]).collect::<Vec<_>>());
        Series::new(ranking.name.clone(), recall.clone(), (0..=20).map(mean).collect())
    });
    let title = format!("{what}: finding wrong labels");
    let plot =
        Plot::lines(title, Axis::linear("share of wrong labels found"), Axis::linear("precision"), series.collect());
    context.plot(name, plot)
}
