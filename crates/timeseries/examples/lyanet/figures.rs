//! Figures that both scales draw.

use crate::attacked::Attacked;
use crate::methods::{History, Trajectories};
use experiment::{Axis, Context, Plot, Result, Series, Table};

fn mean_over(curves: &[&Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
    let count = curves.len().max(1) as f64;
    let len = curves.first().map_or(0, |curve| curve.len());
    let mean: Vec<f64> = (0..len).map(|at| curves.iter().map(|curve| curve[at]).sum::<f64>() / count).collect();
    let half = (0..len)
        .map(|at| {
            let values: Vec<f64> = curves.iter().map(|curve| curve[at]).collect();
            experiment::statistics::sample_standard_deviation(&values).unwrap_or(0.)
        })
        .collect();
    (mean, half)
}

/// A model's name with what its seeds found.
pub(crate) type Named<'a, T> = (String, Vec<&'a T>);

/// Accuracy over time of all models.
pub(crate) fn accuracy(context: &mut Context, models: &[Named<'_, Trajectories>]) -> Result<()> {
    let series = models.iter().filter(|(_, found)| !found.is_empty()).map(|(name, found)| {
        let (mean, half) = mean_over(&found.iter().map(|found| &found.right).collect::<Vec<_>>());
        Series::new(name.clone(), found[0].times.clone(), mean).spread(&half)
    });
    let plot = Plot::lines(
        "Right answers along the trajectory, mean and standard deviation over seeds",
        Axis::linear("t"),
        Axis::linear("accuracy"),
        series.collect(),
    );
    context.plot("accuracy-over-time", plot)?;
    Ok(())
}

/// The potential along trajectories under the bound.
pub(crate) fn potential(context: &mut Context, models: &[Named<'_, Trajectories>]) -> Result<()> {
    let mut series = Vec::new();
    for (name, found) in models {
        let Some(first) = found.first() else { continue };
        let part = |which: fn(&(f64, f64, f64)) -> f64| {
            first.potential.iter().map(which).map(|v| v.max(1e-6)).collect::<Vec<f64>>()
        };
        let line = Series::new(name.clone(), first.times.clone(), part(|v| v.0)).interval(part(|v| v.1), part(|v| v.2));
        series.push(line);
    }
    if let Some(first) = models.iter().find_map(|(_, found)| found.first()) {
        let start = first.potential[0].0;
        let bound = first.times.iter().map(|t| start * (-first.rate * t).exp()).collect();
        series.push(Series::new("the bound", first.times.clone(), bound));
    }
    let plot = Plot::lines(
        "The potential along trajectories of the first seed: mean and 95 % of the test data",
        Axis::linear("t"),
        Axis::log("cross-entropy"),
        series,
    );
    context.plot("potential", plot)?;
    Ok(())
}

/// Violations and gain over training.
pub(crate) fn training(context: &mut Context, models: &[Named<'_, History>]) -> Result<()> {
    let lines = |of: fn(&History) -> &Vec<f64>| -> Vec<Series> {
        models
            .iter()
            .filter_map(|(name, found)| {
                let curves: Vec<&Vec<f64>> =
                    found.iter().map(|found| of(found)).filter(|curve| !curve.is_empty()).collect();
                let first = curves.first()?;
                let epochs = (1..=first.len()).map(|epoch| epoch as f64).collect();
                Some(Series::new(name.clone(), epochs, mean_over(&curves).0))
            })
            .collect()
    };
    let plot = Plot::lines(
        "Pairs that violate the condition, by epoch",
        Axis::linear("epoch"),
        Axis::linear("fraction"),
        lines(|history| &history.violating),
    );
    context.plot("violations", plot)?;
    let gains = models.iter().filter(|(_, found)| found.iter().any(|found| !found.violating.is_empty()));
    let series: Vec<Series> = gains
        .filter_map(|(name, found)| {
            let first = found.first()?;
            Some(Series::new(
                name.clone(),
                (1..=first.gains.len()).map(|epoch| epoch as f64).collect(),
                first.gains.clone(),
            ))
        })
        .collect();
    if !series.is_empty() {
        context.plot("gain", Plot::lines("The gain, by epoch", Axis::linear("epoch"), Axis::linear("gain"), series))?;
    }
    Ok(())
}

/// Attack errors over budget, failed attacks marked.
pub(crate) fn attacks(context: &mut Context, name: &str, models: &[Named<'_, Attacked>]) -> Result<()> {
    let mut series = Vec::new();
    let mut table = Table::new([
        "model",
        "attack",
        "budget",
        "wrong",
        "through finer steps",
        "made for the neural ODE",
        "wrong at the check's budget",
        "the attack",
    ]);
    for (model, found) in models {
        let Some(first) = found.first() else { continue };
        let works = found.iter().all(|found| found.works());
        let (wrong, _) = mean_over(&found.iter().map(|found| &found.wrong).collect::<Vec<_>>());
        let of = |curve: fn(&Attacked) -> &Vec<f64>, at: usize| -> String {
            let values: Vec<f64> = found.iter().filter_map(|found| curve(found).get(at).copied()).collect();
            if values.is_empty() {
                "-".to_owned()
            } else {
                format!("{:.3}", values.iter().sum::<f64>() / values.len() as f64)
            }
        };
        let most = found.iter().map(|found| found.wrong_at_most).fold(f64::INFINITY, f64::min);
        for (at, budget) in first.budgets.iter().enumerate() {
            table.rows.push(vec![
                model.clone(),
                first.norm.clone(),
                format!("{budget:.4}"),
                format!("{:.3}", wrong[at]),
                of(|found| &found.finer, at),
                of(|found| &found.transferred, at),
                format!("{most:.3}"),
                if works { "works" } else { "failed" }.to_owned(),
            ]);
        }
        let label = if works { model.clone() } else { format!("{model} (attack failed)") };
        series.push(Series::new(label, first.budgets.clone(), wrong));
    }
    let title = format!(
        "Wrong under PGD-{}",
        models.iter().find_map(|(_, found)| found.first()).map_or("", |found| found.norm.as_str())
    );
    context.plot(name, Plot::lines(title.clone(), Axis::linear("budget"), Axis::linear("wrong"), series))?;
    context.table(&title, table);
    Ok(())
}
