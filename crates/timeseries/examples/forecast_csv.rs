//! Forecasts your own sensors: `cargo run --release -p timeseries --example forecast_csv -- readings.csv --out forecast`.
//!
//! **The table** has a header, a column for each sensor and a row for each step, in order.
//!
//! - Columns are separated by `,`, `;`, a tab or `|`, which is found out or said by `--separator`; names and cells with a separator in them stand in quotes. Lines that begin with `#` are left out
//!   (`--comment`).
//! - Missing readings are empty cells, `NA`, `N/A`, `null`, `none`, `nan`, `-`, `--` and `?` in any case, and what `--missing` names (`--missing -999`). In a table of one column an empty line is a
//!   missing reading, elsewhere it is an error.
//! - A column of time stamps (`2024-03-01 12:30`, ISO 8601; found out, or named by `--time`) gives the steps of a day, times of the forecasts and the calendar. Times must rise by whole
//!   steps; where steps are missing, rows of missing readings are put in and said. Without one, `--period` says how many steps a day has.
//! - Other columns that are not readings are left out by `--skip`, once for each or with commas. An index that counts rows and has no name, as pandas writes it, is left out by itself.
//!
//! A NumPy archive (`.npz`) with an array `data` of [steps, sensors] or [steps, sensors, channels] works as well; its first channel is forecast. The road graph is optional (`--roads`, a table with
//! the columns `from` and `to`, sensor numbers from 0) and replaces the learned graph.
//!
//! **What it does.** Sensors may have different units: each is normalised by itself (`--scaling per-channel` for one mean and deviation, as in the paper). The network sees the calendar, sine
//! and cosine of the time of day and of the week, as far as training holds two of these cycles (`--calendar`). It is trained on the first 60 % of the windows until ten epochs in a row do not improve the
//! next 10 % (`--epochs`, `--patience`), and the best state stays. The 10 % after them serve only for prediction intervals (`--coverage 0.9`, split conformal); the last 20 % for errors, next to
//! those of what costs nothing. A table that is too short for intervals is split 60 : 20 : 20.
//!
//! **What it writes** to `--out`: `index.html` with all of it; `forecast.csv`, the steps after the table's end (columns `step`, `time`, then sensors); `intervals.csv`, a row for each of them with the ends of its
//! interval; `errors.csv` by step and `errors_by_sensor.csv`, with the scaled error MASE, which does not depend on units (mean absolute error over that of repeating the last reading, one step ahead,
//! in training); `forecast.svg`, and `model.safetensors` with `scaler.json`.

#[path = "forecast_csv/cells.rs"]
mod cells;
#[path = "forecast_csv/readings.rs"]
mod readings;
#[path = "forecast_csv/results.rs"]
mod results;
#[path = "forecast_csv/times.rs"]
mod times;

use candle_core::DType;
use clap::{Parser, ValueEnum};
use core_tensor::params::ParamStore;
use core_tensor::train::Cancellation;
use experiment::Result;
use readings::{Clock, Reading};
use reproduction::front::{self, Output, Progress, Results, say};
use results::Findings;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use timeseries::dstagnn::{
    ChebyshevBasis, ChebyshevProduct, ConformalIntervals, DAY, Dstagnn, DstagnnConfig, FitConfig, GraphConfig, Scaling,
    SensorGraph, Series, Similarity, SimilarityConfig, TimeOfDay, WEEK, Windows, aware_graphs, calendar, dstagnn,
    errors_by_horizon, fit, forecast, forecast_latest, persistence,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Train DSTAGNN on a table of sensors and forecast what comes after it
///
/// The table has a header, a column for each sensor and a row for each step:
///
///   time,north,south
///   2024-03-01 00:00,7.29,6.83
///   2024-03-01 01:00,6.48,
///
/// Separators, time stamps and missing readings are found out. An .npz has an array `data` of [steps, sensors] or [steps, sensors, channels], an .npy is one.
///
/// The network learns which sensors are alike and forecasts all of them; its errors in the last fifth stand beside those of naive forecasts.
///
/// Example: forecast_csv readings.csv --horizon 12 --out forecast
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment, mut_arg("out", |out| out.default_value("forecast")))]
struct Arguments {
    /// A table: .csv with a header, .npz with the array `data`, or .npy
    table: PathBuf,
    #[command(flatten)]
    output: Output,
    /// Steps of a day, or of another natural period [default: those of a day by the time column, else 288]
    #[arg(long)]
    period: Option<usize>,
    /// Names of columns that are not readings, separated by commas; may be repeated
    #[arg(long)]
    skip: Vec<String>,
    /// The column of time stamps [default: the first one that is one]
    #[arg(long)]
    time: Option<String>,
    /// What separates columns: auto, comma, semicolon, tab, or a character
    #[arg(long, default_value = "auto", allow_hyphen_values = true)]
    separator: String,
    /// More texts that stand for a missing reading, separated by commas; may be repeated
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    missing: Vec<String>,
    /// Numbers have a decimal comma
    #[arg(long)]
    decimal_comma: bool,
    /// What begins a line that is no part of the table; '' for nothing
    #[arg(long, default_value = "#")]
    comment: String,
    /// A CSV file with the columns `from` and `to`: forecast on the road graph
    #[arg(long)]
    roads: Option<PathBuf>,
    /// Steps that are seen
    #[arg(long, default_value_t = 12)]
    input_steps: usize,
    /// Steps that are forecast
    #[arg(long, default_value_t = 12)]
    horizon: usize,
    /// Neighbours that each sensor chooses [default: 3, or all where there are fewer]
    #[arg(long)]
    neighbours: Option<usize>,
    /// What has a mean and a deviation of its own
    #[arg(long, value_enum, default_value_t = ScalingChoice::PerSensor)]
    scaling: ScalingChoice,
    /// Which cycles of time the network is told
    #[arg(long, value_enum, default_value_t = CalendarChoice::Auto)]
    calendar: CalendarChoice,
    /// Passes over the training windows, at most
    #[arg(long, default_value_t = 30)]
    epochs: usize,
    /// Training ends after this many epochs in a row without a better validation loss
    #[arg(long, default_value_t = 10)]
    patience: usize,
    /// The share of future readings that prediction intervals are to hold
    #[arg(long, default_value_t = 0.9, allow_hyphen_values = true)]
    coverage: f64,
    /// The paper's sizes instead of small ones
    #[arg(long)]
    paper_size: bool,
    /// Device, such as cpu or cuda
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Seed of parameters, order and dropout
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScalingChoice {
    /// Each sensor: for different units
    PerSensor,
    /// All sensors together, as in the paper
    PerChannel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CalendarChoice {
    /// Day and week, each if training holds it twice
    Auto,
    /// None
    None,
    /// The time of day
    Day,
    /// The time of day and of the week
    Week,
}

fn main() -> ExitCode {
    front::main(|arguments: &Arguments| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        core_tensor::threads::configure(threads)?;
        core_tensor::threads::install(|| run(arguments))
    })
}

/// The readings, the sensors' names, and when they were.
fn read(arguments: &Arguments) -> Result<(Series, Vec<String>, Option<Clock>)> {
    let path = arguments.table.display();
    let found = front::read(&arguments.table)?;
    if found.starts_with(b"PK") || found.starts_with(b"\x93NUMPY") {
        let array = front::named_array(&arguments.table, "data")?;
        let &[_, nodes, ref channels @ ..] = array.shape.as_slice() else {
            return Err(
                format!("{path}: `data` has shape {:?}, expected [steps, sensors, channels]", array.shape).into()
            );
        };
        let channels: usize = channels.iter().product();
        let first = array.values.into_iter().step_by(channels.max(1)).collect();
        let series = Series::new(first, nodes, 1).map_err(|error| format!("{path}: {error}"))?;
        return Ok((series, (0..nodes).map(|node| node.to_string()).collect(), None));
    }
    let table = readings::readings(&found, &reading(arguments)?);
    let table = table.map_err(|error| format!("{path}: {error}"))?;
    for remark in &table.remarks {
        match remark.strip_prefix("warning: ") {
            Some(warning) => say(&format!("warning: {path}: {warning}")),
            None => say(&format!("{path}: {remark}")),
        }
    }
    let series = Series::new(table.values, table.names.len(), 1).map_err(|error| format!("{path}: {error}"))?;
    Ok((series, table.names, table.clock))
}

fn reading(arguments: &Arguments) -> Result<Reading> {
    Ok(Reading {
        separator: cells::separator(&arguments.separator).map_err(|error| format!("--separator {error}"))?,
        comment: arguments.comment.clone(),
        missing: arguments.missing.clone(),
        has_decimal_comma: arguments.decimal_comma,
        skip: arguments.skip.clone(),
        time: arguments.time.clone(),
    })
}

/// Says which sensors tell nothing.
fn warn(series: &Series, names: &[String]) {
    for (node, name) in names.iter().enumerate() {
        let readings = || (0..series.num_steps()).filter_map(|step| series.get(step, node, 0)).filter(|x| !x.is_nan());
        match readings().next() {
            None => say(&format!("warning: {name} has no reading: its forecasts mean nothing")),
            Some(first) if readings().all(|x| x == first) => say(&format!("warning: {name} is always {first}")),
            _ => {}
        }
    }
}

/// Steps of a day by the clock, or of a week where steps are days.
fn period(arguments: &Arguments, clock: Option<Clock>) -> usize {
    let by_clock = clock.and_then(|clock| match clock.step {
        step if step < DAY && DAY % step == 0 => usize::try_from(DAY / step).ok(),
        DAY => Some(7),
        _ => None,
    });
    arguments.period.or(by_clock).unwrap_or(288)
}

/// The readings with the calendar behind them, for training on the first `training` steps.
fn with_calendar(
    series: Series,
    clock: Option<Clock>,
    period: usize,
    (choice, training): (CalendarChoice, usize),
) -> Result<Series> {
    let steps = series.num_steps();
    let (first, step, day, week) = match clock {
        Some(clock) => (clock.first, clock.step, DAY, WEEK),
        None => (0, 1, i64::try_from(period)?, i64::try_from(period.saturating_mul(7)).unwrap_or(i64::MAX)),
    };
    let is_told = |cycle: i64, is_week: bool| {
        let steps_of_cycle = cycle / step;
        let is_asked = match choice {
            CalendarChoice::None => false,
            CalendarChoice::Day => !is_week,
            CalendarChoice::Week => true,
            CalendarChoice::Auto => usize::try_from(steps_of_cycle.saturating_mul(2)).is_ok_and(|two| two <= training),
        };
        is_asked && steps_of_cycle >= 2
    };
    let cycles = [("day", day, false), ("week", week, true)];
    let told: Vec<_> = cycles.into_iter().filter(|&(_, cycle, is_week)| is_told(cycle, is_week)).collect();
    if told.is_empty() {
        return Ok(series);
    }
    say(&format!("the network is told the time of {}", told.iter().map(|t| t.0).collect::<Vec<_>>().join(" and ")));
    let times: Vec<i64> = (0..steps as i64).map(|at| first.saturating_add(at.saturating_mul(step))).collect();
    let periods: Vec<i64> = told.iter().map(|&(_, cycle, _)| cycle).collect();
    Ok(series.with_covariates(&calendar(&times, &periods)?)?)
}

/// Training, validation, calibration (empty where the table is too short for it) and test.
fn split(windows: &Windows<'_>, coverage: f64) -> Result<[Range<usize>; 4]> {
    let needed = ConformalIntervals::least_windows(coverage).map_err(|error| format!("--coverage: {error}"))?;
    match windows.split_with_calibration() {
        Ok(split) if split[2].len() >= needed => Ok(split),
        _ => {
            let [training, validation, test] = windows.split();
            say(&format!("no prediction intervals: {coverage} needs {needed} windows between validation and test"));
            let none = validation.end..validation.end;
            Ok([training, validation, none, test])
        }
    }
}

fn model(arguments: &Arguments, series: &Series, period: usize, store: &ParamStore) -> Result<Dstagnn> {
    let n = series.num_nodes();
    let neighbours = arguments.neighbours.unwrap_or(3.min(n - 1));
    if !(1..n).contains(&neighbours) {
        return Err(format!("--neighbours {neighbours}: expected 1 to {}, for {n} sensors", n - 1).into());
    }
    // the graph, from the first 60 % of the steps
    let history = series.channel(0, series.num_steps() * 6 / 10)?;
    if history.len() / n < period {
        let steps = history.len() / n;
        let reason = format!("the graph is made from whole periods of the first 60 % of the steps, which are {steps}");
        return Err(format!("--period {period}: {reason}").into());
    }
    let similarity = Similarity::from_series(&history, n, SimilarityConfig { period })?;
    let sparsity = (neighbours as f64 + 0.5) / n as f64;
    let (aware, relevance) = aware_graphs(&similarity, GraphConfig { sparsity, ..GraphConfig::default() })?;
    let graph = match &arguments.roads {
        Some(path) => {
            let place = path.display();
            let edges = readings::edges(&front::read(path)?, &reading(arguments)?, n);
            SensorGraph::from_edges(n, &edges.map_err(|error| format!("{place}: {error}"))?)?
        }
        None => aware,
    };
    let basis = ChebyshevBasis::new(&graph, 3, ChebyshevProduct::Elementwise)?;
    let sizes = DstagnnConfig {
        input_steps: arguments.input_steps,
        horizon: arguments.horizon,
        input_channels: series.num_channels(),
        ..DstagnnConfig::new(n)
    };
    let small = DstagnnConfig { num_blocks: 2, filters: 16, embedding: 64, head_width: 16, ..sizes };
    let config = if arguments.paper_size { sizes } else { small };
    Ok(dstagnn(config, &basis, &relevance.binary(), store.var_builder())?)
}

fn run(arguments: &Arguments) -> Result<()> {
    let (series, names, clock) = read(arguments)?;
    let mut results = Results::prepare("Forecasts of sensors", &arguments.output)?;
    let (n, horizon) = (series.num_nodes(), arguments.horizon);
    results.say(&format!("{} steps of {n} sensors ({})", series.num_steps(), arguments.table.display()));
    if n < 2 {
        return Err("DSTAGNN compares sensors: the table needs at least two".into());
    }
    warn(&series, &names);
    let period = period(arguments, clock);
    // the readings alone decide which windows there are
    let training = Windows::new(&series, arguments.input_steps, horizon)?.split()[0].end;
    let series = with_calendar(series, clock, period, (arguments.calendar, training))?;
    let windows = Windows::new(&series, arguments.input_steps, horizon)?;
    let [training, validation, calibration, test] = split(&windows, arguments.coverage)?;
    let scaling = match arguments.scaling {
        ScalingChoice::PerSensor => Scaling::PerSensor,
        ScalingChoice::PerChannel => Scaling::PerChannel,
    };
    let scaler = windows.scaler(training.clone(), scaling)?;

    let store = ParamStore::new(arguments.seed, DType::F32, &core_tensor::device::parse(&arguments.device)?);
    let model = model(arguments, &series, period, &store)?;
    say(&format!("{} parameters", store.num_parameters()));
    let settings = FitConfig {
        epochs: arguments.epochs,
        learning_rate: if arguments.paper_size { 1e-4 } else { 1e-3 },
        seed: arguments.seed,
        patience: Some(arguments.patience),
        ..FitConfig::default()
    };
    let parts = [training.clone(), validation, test.clone()];
    let mut progress = Progress::new("training", "epochs", arguments.epochs);
    let fitted = fit(&model, &store, (&windows, &parts, &scaler), settings, &Cancellation::never(), |epoch, loss| {
        progress.at(epoch, || format!("validation loss {loss:.4}"));
        say(&format!("after {epoch} epochs: validation loss {loss:.4}"));
    })?;
    drop(progress);
    if fitted.validation.len() <= arguments.epochs {
        say(&format!("{} epochs in a row did not improve the validation loss: training ends", arguments.patience));
    }
    say(&format!("the best state is that after {} epochs", fitted.best_epoch));
    if fitted.best_epoch == 0 {
        say("warning: training has not improved the network: the forecasts are those of an untrained one");
    }

    let predict = |starts: &Range<usize>| forecast(&model, &store, (&windows, starts.clone(), &scaler), 32);
    let intervals = match calibration.is_empty() {
        true => None,
        false => {
            let (found, target) = (predict(&calibration)?, windows.targets(calibration.clone())?);
            Some(ConformalIntervals::calibrate(&found, &target, (n, horizon), arguments.coverage)?)
        }
    };
    let mut forecasts = vec![("DSTAGNN", predict(&test)?), ("persistence", persistence(&windows, test.clone())?)];
    match TimeOfDay::new(&series, period, training.end) {
        Ok(means) => forecasts.push(("time of day", means.forecast(test.clone(), horizon))),
        Err(error) => say(&format!("no mean by time of day: {error}")),
    }
    let findings = Findings {
        names: &names,
        clock,
        windows: &windows,
        test: test.clone(),
        training_end: training.end,
        forecasts: &forecasts,
        next: forecast_latest(&model, &store, (&windows, &scaler))?,
        intervals: intervals.as_ref(),
    };
    findings.write(&mut results, period)?;
    store.save(results.path("model.safetensors", "weights of the network"))?;
    results.json("scaler", "means and deviations", &scaler)?;
    let target = windows.targets(test)?;
    let errors = forecasts.iter().map(|(name, values)| Ok((*name, errors_by_horizon(values, &target, horizon)?.0.mae)));
    let errors = errors.collect::<Result<Vec<_>>>()?;
    let better = errors[1..].iter().filter(|(_, mae)| *mae <= errors[0].1).map(|(name, _)| *name).collect::<Vec<_>>();
    results.finish(&match better.is_empty() {
        true => "the network beats the naive forecasts; see errors_by_sensor.csv for the sensors where it does not, and use intervals.csv with every forecast".to_owned(),
        false => format!("{} cost nothing and forecast as well (MAE): use that, or give more history, a longer --input-steps or --paper-size", better.join(" and ")),
    })
}
