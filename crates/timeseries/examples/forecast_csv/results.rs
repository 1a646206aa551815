//! Errors, forecasts and figures.

use super::readings::Clock;
use super::times;
use experiment::{Axis, Plot, Series as Line};
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use timeseries::dstagnn::{ConformalIntervals, NaiveErrors, Windows, errors_by_horizon, errors_by_sensor};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Prints a line; whoever reads may have stopped reading.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", plain(text));
}

/// Without characters that steer a terminal or turn the direction of text: names come from outside.
pub(crate) fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// Sensors of which errors are printed; files have all.
const PRINTED: usize = 20;

/// What the program has found out.
pub(crate) struct Results<'a> {
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

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A number, or an empty cell where there is none.
fn cell(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { String::new() }
}

impl Results<'_> {
    /// Prints errors and writes all files.
    pub(crate) fn write(&self, out: &Path, period: usize) -> Outcome<()> {
        let save = |name: &str, text: String| {
            let path = out.join(name);
            std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        let target = self.windows.targets(self.test.clone())?;
        save("errors.csv", self.errors(&target)?)?;
        save("errors_by_sensor.csv", self.errors_by_sensor(&target)?)?;
        save("forecast.csv", self.forecast()?)?;
        if let Some(intervals) = self.intervals {
            save("intervals.csv", self.intervals(intervals)?)?;
        }
        save("forecast.svg", self.figure(&target, period)?)?;
        Ok(())
    }

    fn naive(&self) -> Outcome<NaiveErrors> {
        Ok(NaiveErrors::new(self.windows.series(), 1, self.training_end)?)
    }

    fn errors(&self, target: &[f64]) -> Outcome<String> {
        let horizon = self.windows.horizon();
        let naive = self.naive()?;
        let mut table = String::from("forecast,step,MAE,RMSE,MAPE in %,MASE\n");
        let at =
            |values: &[f64], step: usize| -> Vec<f64> { values.iter().skip(step).step_by(horizon).copied().collect() };
        for (name, values) in self.forecasts {
            let (all, each) = errors_by_horizon(values, target, horizon)?;
            let scaled = naive.mean_scaled(values, target, horizon)?;
            say(&format!(
                "{name:<12} MAE {:.4}  RMSE {:.4}  MAPE {:.2} %  MASE {scaled:.3}",
                all.mae, all.rmse, all.mape
            ));
            for (step, errors) in each.iter().enumerate() {
                let scaled = naive.mean_scaled(&at(values, step), &at(target, step), 1)?;
                let numbers = [errors.mae, errors.rmse, errors.mape, scaled].map(cell).join(",");
                writeln!(table, "{name},{},{numbers}", step + 1)?;
            }
        }
        Ok(table)
    }

    fn errors_by_sensor(&self, target: &[f64]) -> Outcome<String> {
        let (n, horizon) = (self.names.len(), self.windows.horizon());
        let naive = self.naive()?;
        let mut table = String::from("forecast,sensor,targets,MAE,RMSE,MAPE in %,MASE,share in the interval\n");
        let mut printed = vec![String::new(); n];
        for (at, (name, values)) in self.forecasts.iter().enumerate() {
            let errors = errors_by_sensor(values, target, (n, horizon))?;
            let scaled = naive.scaled(values, target, horizon)?;
            let covered = match self.intervals.filter(|_| at == 0) {
                Some(intervals) => intervals.coverage_by_sensor(values, target)?,
                None => vec![f64::NAN; n],
            };
            for (node, errors) in errors.iter().enumerate() {
                let numbers = [errors.mae, errors.rmse, errors.mape, scaled[node], covered[node]].map(cell).join(",");
                writeln!(table, "{name},{},{},{numbers}", quoted(&self.names[node]), errors.count)?;
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
            say(&format!(
                "\nprediction intervals: {share:.1} % of the test readings are inside, {asked} % were asked for"
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

    fn forecast(&self) -> Outcome<String> {
        let horizon = self.windows.horizon();
        let column = |name: &str| {
            let mut name = name.to_owned();
            while self.names.contains(&name) {
                name = format!("forecast {name}");
            }
            name
        };
        let names: Vec<String> = self.names.iter().map(|name| quoted(name)).collect();
        let mut table = format!("{},{},{}\n", column("step"), column("time"), names.join(","));
        for step in 0..horizon {
            let values: Vec<String> = self.next.iter().skip(step).step_by(horizon).map(|&value| cell(value)).collect();
            writeln!(table, "{},{},{}", step + 1, self.time(step), values.join(","))?;
        }
        Ok(table)
    }

    fn intervals(&self, intervals: &ConformalIntervals) -> Outcome<String> {
        let horizon = self.windows.horizon();
        let (lower, upper) = intervals.around(&self.next)?;
        let mut table = String::from("step,time,sensor,forecast,lower,upper\n");
        for step in 0..horizon {
            let time = self.time(step);
            for (node, name) in self.names.iter().enumerate() {
                let at = node * horizon + step;
                let numbers = [self.next[at], lower[at], upper[at]].map(cell).join(",");
                writeln!(table, "{},{time},{},{numbers}", step + 1, quoted(name))?;
            }
        }
        Ok(table)
    }

    /// The first sensor over the last windows: one step ahead and at the end of the horizon.
    fn figure(&self, target: &[f64], period: usize) -> Outcome<String> {
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
        let plot = Plot::lines(title, Axis::linear("step"), Axis::linear("reading"), lines);
        Ok(plot.svg_file("forecast", "")?)
    }
}
