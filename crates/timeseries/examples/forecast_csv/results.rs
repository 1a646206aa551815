//! Errors, forecasts and figures.

use super::readings::Clock;
use super::times;
use experiment::{Axis, Plot, Result, Series as Line, Table};
use reproduction::front::{Results, cell, plain, say};
use std::fmt::Write as _;
use std::ops::Range;
use timeseries::dstagnn::{ConformalIntervals, NaiveErrors, Windows, errors_by_horizon, errors_by_sensor};

/// Sensors of which errors are printed; files have all.
const PRINTED: usize = 20;

/// What the program has found out.
pub(crate) struct Findings<'a> {
    pub(crate) names: &'a [String],
    pub(crate) clock: Option<Clock>,
    pub(crate) windows: &'a Windows<'a>,
    pub(crate) test: Range<usize>,
    pub(crate) training_end: usize,
    /// Names and values, `[windows][nodes][horizon]`; the network first.
    pub(crate) forecasts: &'a [(&'static str, Vec<f64>)],
    /// `[nodes][horizon]` after the end.
    pub(crate) next: Vec<f64>,
    pub(crate) intervals: Option<&'a ConformalIntervals>,
}

impl Findings<'_> {
    /// Prints errors and writes all files.
    pub(crate) fn write(&self, results: &mut Results, period: usize) -> Result<()> {
        let target = self.windows.targets(self.test.clone())?;
        let errors = self.errors(&target, results)?;
        let by_sensor = self.errors_by_sensor(&target, results)?;
        results.figure(
            "test",
            &self.figure(&target, period)?,
            "The last windows of the test part, which nothing was fitted to.",
        )?;
        results.table("forecast", "The steps after the end of the table", &self.forecast())?;
        if let Some(intervals) = self.intervals {
            let table = self.intervals(intervals)?;
            let caption = format!("Intervals that hold a reading in {} % of the cases", 100. * intervals.coverage());
            results.table("intervals", &caption, &table)?;
        }
        results.figure("forecast", &self.after()?, "The end of the table and the steps after it.")?;
        results.table("errors", "Errors in the test part, by step", &errors)?;
        results.table("errors_by_sensor", "Errors in the test part, by sensor", &by_sensor)
    }

    fn naive(&self) -> Result<NaiveErrors> {
        Ok(NaiveErrors::new(self.windows.series(), 1, self.training_end)?)
    }

    fn errors(&self, target: &[f64], results: &mut Results) -> Result<Table> {
        let horizon = self.windows.horizon();
        let naive = self.naive()?;
        let mut table = Table::new(["forecast", "step", "MAE", "RMSE", "MAPE in %", "MASE"]);
        let at =
            |values: &[f64], step: usize| -> Vec<f64> { values.iter().skip(step).step_by(horizon).copied().collect() };
        for (name, values) in self.forecasts {
            let (all, each) = errors_by_horizon(values, target, horizon)?;
            let scaled = naive.mean_scaled(values, target, horizon)?;
            results.say(&format!(
                "{name:<12} MAE {:.4}  RMSE {:.4}  MAPE {:.2} %  MASE {scaled:.3}",
                all.mae, all.rmse, all.mape
            ));
            for (step, errors) in each.iter().enumerate() {
                let scaled = naive.mean_scaled(&at(values, step), &at(target, step), 1)?;
                let numbers = [errors.mae, errors.rmse, errors.mape, scaled].map(cell);
                let texts = [(*name).to_owned(), (step + 1).to_string()];
                table.rows.push(texts.into_iter().chain(numbers).collect());
            }
        }
        Ok(table)
    }

    fn errors_by_sensor(&self, target: &[f64], results: &mut Results) -> Result<Table> {
        let (n, horizon) = (self.names.len(), self.windows.horizon());
        let naive = self.naive()?;
        let head = ["forecast", "sensor", "targets", "MAE", "RMSE", "MAPE in %", "MASE", "share in the interval"];
        let mut table = Table::new(head);
        let mut printed = vec![String::new(); n];
        for (at, (name, values)) in self.forecasts.iter().enumerate() {
            let errors = errors_by_sensor(values, target, (n, horizon))?;
            let scaled = naive.scaled(values, target, horizon)?;
            let covered = match self.intervals.filter(|_| at == 0) {
                Some(intervals) => intervals.coverage_by_sensor(values, target)?,
                None => vec![f64::NAN; n],
            };
            for (node, errors) in errors.iter().enumerate() {
                let numbers = [errors.mae, errors.rmse, errors.mape, scaled[node], covered[node]].map(cell);
                let texts = [(*name).to_owned(), self.names[node].clone(), errors.count.to_string()];
                table.rows.push(texts.into_iter().chain(numbers).collect());
                if at == 0 {
                    write!(printed[node], "{:>12.4}{:>9.3}", errors.mae, scaled[node])?;
                } else {
                    write!(printed[node], "{:>13.4}", errors.mae)?;
                }
            }
        }
        let mut head = format!("\n{:<24}{:>12}{:>9}", "sensor", "MAE", "MASE");
        self.forecasts.iter().skip(1).for_each(|(name, _)| head += &format!("{name:>13}"));
        say(&head);
        for (name, numbers) in self.names.iter().zip(&printed).take(PRINTED) {
            let short: String = name.chars().take(23).collect();
            say(&format!("{short:<24}{numbers}"));
        }
        if n > PRINTED {
            say(&format!("… and {} more in errors_by_sensor.csv", n - PRINTED));
        }
        if let (Some(intervals), Some((_, found))) = (self.intervals, self.forecasts.first()) {
            let share = 100. * intervals.coverage_of(found, target)?;
            let asked = 100. * intervals.coverage();
            say("");
            results.say(&format!(
                "prediction intervals: {share:.1} % of the test readings are inside, {asked} % were asked for"
            ));
        }
        Ok(table)
    }

    /// The time of a step after the end, from 0; empty without a clock.
    fn time(&self, step: usize) -> String {
        let steps = (self.windows.series().num_steps() + step) as i64;
        let seconds = self.clock.and_then(|clock| clock.step.checked_mul(steps)?.checked_add(clock.first));
        seconds.map_or(String::new(), times::format)
    }

    fn forecast(&self) -> Table {
        let horizon = self.windows.horizon();
        let column = |name: &str| {
            let mut name = name.to_owned();
            while self.names.contains(&name) {
                name = format!("forecast {name}");
            }
            name
        };
        let mut table = Table::new([column("step"), column("time")].into_iter().chain(self.names.iter().cloned()));
        for step in 0..horizon {
            let values = self.next.iter().skip(step).step_by(horizon).map(|&value| cell(value));
            table.rows.push([(step + 1).to_string(), self.time(step)].into_iter().chain(values).collect());
        }
        table
    }

    fn intervals(&self, intervals: &ConformalIntervals) -> Result<Table> {
        let horizon = self.windows.horizon();
        let (lower, upper) = intervals.around(&self.next)?;
        let mut table = Table::new(["step", "time", "sensor", "forecast", "lower", "upper"]);
        for step in 0..horizon {
            for (node, name) in self.names.iter().enumerate() {
                let at = node * horizon + step;
                let numbers = [self.next[at], lower[at], upper[at]].map(cell);
                let texts = [(step + 1).to_string(), self.time(step), name.clone()];
                table.rows.push(texts.into_iter().chain(numbers).collect());
            }
        }
        Ok(table)
    }

    /// The end of the readings and what follows, with intervals, of the first three sensors.
    fn after(&self) -> Result<Plot> {
        let (series, horizon) = (self.windows.series(), self.windows.horizon());
        let steps = series.num_steps();
        let shown = (3 * horizon).clamp(12, 96).min(steps);
        let around = self.intervals.map(|intervals| intervals.around(&self.next)).transpose()?;
        let mut lines = Vec::new();
        for (node, name) in self.names.iter().take(3).enumerate() {
            let x = (steps - shown..steps).map(|step| (step + 1) as f64).collect();
            let y = (steps - shown..steps).map(|step| series.get(step, node, 0).unwrap_or(f64::NAN)).collect();
            lines.push(Line::new(plain(name), x, y));
            let of = |values: &[f64]| values[node * horizon..(node + 1) * horizon].to_vec();
            let x = (1..=horizon).map(|step| (steps + step) as f64).collect();
            let forecast = Line::new(format!("{}, forecast", plain(name)), x, of(&self.next));
            lines.push(match &around {
                Some((lower, upper)) => forecast.interval(of(lower), of(upper)),
                None => forecast,
            });
        }
        Ok(Plot::lines("Readings and forecast", Axis::linear("step"), Axis::linear("reading"), lines))
    }

    /// The first sensor over the last windows: one step ahead and at the end of the horizon.
    fn figure(&self, target: &[f64], period: usize) -> Result<Plot> {
        let (n, horizon, windows) = (self.names.len(), self.windows.horizon(), self.test.len());
        let count = windows.min(period.saturating_mul(2));
        let first = windows - count;
        let curve = |values: &[f64], step: usize| -> Vec<f64> {
            (first..windows).map(|window| values[window * n * horizon + step]).collect()
        };
        let x = |step: usize| -> Vec<f64> { (0..count).map(|at| (at + step) as f64).collect() };
        let found = self.forecasts.first().map_or(target, |(_, values)| values);
        let mut lines =
            vec![Line::new("truth", x(0), curve(target, 0)), Line::new("one step ahead", x(0), curve(found, 0))];
        if horizon > 1 {
            lines.push(Line::new(format!("{horizon} steps ahead"), x(horizon - 1), curve(found, horizon - 1)));
        }
        let title = format!("Forecast and truth, sensor {}", plain(&self.names[0]));
        Ok(Plot::lines(title, Axis::linear("step"), Axis::linear("reading"), lines))
    }
}
