//! Fits a differential equation to your own observations: `cargo run --release -p timeseries --example fit_ode -- observations.csv --time t --out fitted`.
//!
//! **The table** has a header, a column of times (`--time`, numbers, in any order and at any distances) and a column for each observed quantity; with `--group`, a column that names series, which share the
//! equation. Empty cells, `NA` and the like are not observed and count nowhere.
//!
//! **What it does.** The equation is `dy/dt = f(y)` with a network f of two layers; quantities are standardised, time is measured in units in which they change by about 1. The last fifth of each series is held out. f is fitted to
//! pieces of the rest that grow from 4 to 32 observations, through the steps of an adaptive solver, and then forecasts what was held out from the last state before it, beside what costs nothing: repeating the last
//! observation, and the straight line through the last two.
//!
//! **What it writes** to `--out`: `index.html` with all of it; `fitted.csv` (the trajectory at many times, with the part `fitted` or `forecast`), `errors.csv`, `trajectory-….svg` for each series (at most 6), `phase.svg` where there are two quantities or more,
//! `model.safetensors`, and `model.json` with scales and widths.
//!
//! **Limits.** The equation knows no inputs from outside and no time; quantities that are needed and not observed it cannot invent. Stiff systems are not for explicit methods.

#[path = "fit_ode/fitting.rs"]
mod fitting;
#[path = "fit_ode/observations.rs"]
mod observations;

use clap::Parser;
use experiment::{Axis, Plot, Result, Series as Line, Table};
use fitting::{Fitted, Settings};
use observations::{Observations, Series};
use reproduction::front::{self, Columns, Output, Progress, Results, cell, say};
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Fit a neural differential equation to observations at irregular times
///
/// The table has a header, a column of times (numbers), and a column for each quantity:
///
///   t,site,prey,predators
///   0.0,north,10.0,5.0
///   0.3,north,11.2,
///
/// An empty cell was not observed. `--group site` names the column that tells series apart. Arrays of an .npz are columns by their names.
///
/// The last fifth of each series is held out, the equation is fitted to the rest, and its forecast of the held-out part stands beside two naive ones.
///
/// Example: fit_ode observations.csv --time t --group site --out fitted
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment, mut_arg("out", |out| out.default_value("fitted")))]
struct Arguments {
    /// A table: .csv with a header, or .npz
    table: PathBuf,
    /// The column of times
    #[arg(long, default_value = "t")]
    time: String,
    /// The column that names series
    #[arg(long)]
    group: Option<String>,
    #[command(flatten)]
    output: Output,
    /// Width of the two hidden layers
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=1024))]
    width: u64,
    /// Passes over the observations
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    epochs: u64,
    /// Tolerance of the solver, on standardised quantities
    #[arg(long, default_value_t = 1e-4, allow_hyphen_values = true)]
    tolerance: f64,
    /// Seed of first values and order
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> ExitCode {
    front::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    if !(arguments.tolerance > 0. && arguments.tolerance < 1.) {
        return Err("--tolerance: expected a number in (0, 1)".into());
    }
    let data = Observations::of(&Columns::read(&arguments.table)?, &arguments.time, arguments.group.as_deref())?;
    let mut results = Results::prepare("An equation fitted to observations", &arguments.output)?;
    let (count, held): (usize, usize) = data
        .series
        .iter()
        .fold((0, 0), |(count, held), series| (count + series.times.len(), held + series.times.len() - series.split()));
    results.say(&format!(
        "{} series of {} ({}), {count} times, of which the last {held} are held out",
        data.series.len(),
        data.names.join(", "),
        arguments.table.display()
    ));
    let settings = Settings {
        width: arguments.width as usize,
        epochs: arguments.epochs as usize,
        tolerance: arguments.tolerance,
        seed: arguments.seed,
    };
    let every = (settings.epochs / 10).max(1);
    let mut progress = Progress::new("fitting", "epochs", settings.epochs);
    let fitted = fitting::fit(&data.series, data.names.len(), &settings, |epoch, loss| {
        progress.at(epoch, || format!("mean squared error {loss:.5}"));
        if epoch % every == 0 {
            say(&format!("epoch {epoch}: mean squared error {loss:.5} (standardised)"));
        }
    })?;
    drop(progress);
    let errors = errors(&data, &fitted)?;
    let mut table = Table::new(["quantity", "forecast", "root mean squared error"]);
    results.say("held-out root mean squared errors:");
    for (at, name) in data.names.iter().enumerate() {
        let row = |(method, values): &(&str, Vec<f64>)| vec![name.clone(), (*method).to_owned(), cell(values[at])];
        table.rows.extend(errors.iter().map(row));
        let shown: Vec<String> = errors.iter().map(|(method, values)| format!("{method} {:.4}", values[at])).collect();
        say(&format!("  {name}: {}", shown.join(", ")));
    }
    results.table("errors", "Errors of forecasts of the held-out part", &table)?;
    figures(&data, &fitted, &mut results)?;
    results.table("fitted", "The trajectory of the equation", &trajectories(&data, &fitted, arguments)?)?;
    fitted.store.save(results.path("model.safetensors", "weights of the equation"))?;
    let model = serde_json::json!({
        "quantities": data.names, "widths": [data.names.len(), arguments.width, arguments.width, data.names.len()], "activation": "tanh",
        "means": fitted.scale.means, "deviations": fitted.scale.deviations, "time_unit": fitted.scale.unit,
    });
    results.json("model", "scales and widths of the equation", &model)?;
    let worse = data
        .names
        .iter()
        .enumerate()
        .filter(|(at, _)| errors[1..].iter().any(|(_, values)| values[*at] <= errors[0].1[*at]));
    let worse: Vec<&str> = worse.map(|(_, name)| name.as_str()).collect();
    results.finish(&match worse.is_empty() {
        true => "the forecast beats both naive ones; look at trajectory-….svg, and try --width and --seed to see how far it can be trusted".to_owned(),
        false => format!("for {} a naive forecast is as good: more observations, more --epochs, or quantities that the equation needs and the table lacks", worse.join(", ")),
    })
}

/// The state before what is held out, its time, and the held-out times.
fn origin(series: &Series) -> (Vec<f64>, f64, &[f64]) {
    let split = series.split();
    (series.filled(split - 1, split), series.times[split - 1], &series.times[split..])
}

/// Root mean squared errors of the equation and of two naive forecasts, by quantity.
fn errors(data: &Observations, fitted: &Fitted) -> Result<Vec<(&'static str, Vec<f64>)>> {
    let quantities = data.names.len();
    let mut sums = vec![vec![(0., 0.); quantities]; 3];
    for series in &data.series {
        let split = series.split();
        let (state, start, times) = origin(series);
        let forecast = fitted.forecast(&state, start, times)?;
        let before = series.filled(split - 2, split);
        let step = start - series.times[split - 2];
        for (at, t) in times.iter().enumerate() {
            for k in 0..quantities {
                let observed = series.values[split + at][k];
                if observed.is_finite() {
                    let line = state[k] + (state[k] - before[k]) / step * (t - start);
                    for (sum, value) in sums.iter_mut().zip([forecast[at][k], state[k], line]) {
                        sum[k].0 += (value - observed).powi(2);
                        sum[k].1 += 1.;
                    }
                }
            }
        }
    }
    let root = |sums: &Vec<(f64, f64)>| sums.iter().map(|(sum, count): &(f64, f64)| (sum / count).sqrt()).collect();
    Ok(["equation", "last observation", "straight line"].into_iter().zip(sums.iter().map(root)).collect())
}

/// Times, and a state at each.
type Path = (Vec<f64>, Vec<Vec<f64>>);

/// Times and states of a series on a fine grid: what was fitted, from the first observation on, and what is forecast.
fn fine(series: &Series, fitted: &Fitted) -> Result<[Path; 2]> {
    let split = series.split();
    let grid =
        |from: f64, to: f64| -> Vec<f64> { (0..=200).map(|at| from + (to - from) * f64::from(at) / 200.).collect() };
    let first = grid(series.times[0], series.times[split - 1]);
    let second = grid(series.times[split - 1], series.times[series.times.len() - 1]);
    let (state, start, _) = origin(series);
    let fit = fitted.forecast(&series.filled(0, split), series.times[0], &first)?;
    let forecast = fitted.forecast(&state, start, &second)?;
    Ok([(first, fit), (second, forecast)])
}

fn trajectories(data: &Observations, fitted: &Fitted, arguments: &Arguments) -> Result<Table> {
    let head = ["series".to_owned(), "part".to_owned(), arguments.time.clone()];
    let mut table = Table::new(head.into_iter().chain(data.names.iter().cloned()));
    for series in &data.series {
        for (part, (times, states)) in ["fitted", "forecast"].iter().zip(fine(series, fitted)?) {
            for (t, state) in times.iter().zip(states) {
                let first = [series.name.clone(), (*part).to_owned(), t.to_string()];
                table.rows.push(first.into_iter().chain(state.into_iter().map(cell)).collect());
            }
        }
    }
    Ok(table)
}

fn figures(data: &Observations, fitted: &Fitted, results: &mut Results) -> Result<()> {
    let mut phase = Vec::new();
    for (number, series) in data.series.iter().take(6).enumerate() {
        let [(first, fit), (second, forecast)] = fine(series, fitted)?;
        let mut lines = Vec::new();
        for (k, name) in data.names.iter().enumerate() {
            let of = |states: &[Vec<f64>]| states.iter().map(|state| state[k]).collect::<Vec<f64>>();
            lines.push(Line::new(format!("{name}, fitted"), first.clone(), of(&fit)));
            lines.push(Line::new(format!("{name}, forecast"), second.clone(), of(&forecast)));
            let seen: Vec<usize> = (0..series.times.len()).filter(|&at| series.values[at][k].is_finite()).collect();
            let times = seen.iter().map(|&at| series.times[at]).collect();
            lines.push(Line::new(
                format!("{name}, observed"),
                times,
                seen.iter().map(|&at| series.values[at][k]).collect(),
            ));
        }
        let title = if series.name.is_empty() {
            "Observations and the equation".to_owned()
        } else {
            format!("Series {}", series.name)
        };
        let plot = Plot::lines(title, Axis::linear("time"), Axis::linear("quantity"), lines);
        let caption = "What was observed, what was fitted to it, and the forecast of the held-out part.";
        results.figure(&format!("trajectory-{}", number + 1), &plot, caption)?;
        if data.names.len() > 1 {
            let of = |k: usize| fit.iter().chain(&forecast).map(|state| state[k]).collect::<Vec<f64>>();
            let label = if series.name.is_empty() { "trajectory".to_owned() } else { series.name.clone() };
            phase.push(Line::new(label, of(0), of(1)));
        }
    }
    if !phase.is_empty() {
        let plot = Plot::lines(
            "Phase portrait",
            Axis::linear(data.names[0].clone()),
            Axis::linear(data.names[1].clone()),
            phase,
        );
        results.figure("phase", &plot, "The first two quantities against each other.")?;
    }
    Ok(())
}
