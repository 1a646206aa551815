//! Forecasts your own sensors: `cargo run --release -p timeseries --example forecast_csv -- readings.csv --period 288 --out forecast`.
//!
//! The table has a header, a column for each sensor and a row for each step, in order; empty cells and `nan` are missing readings; columns that are not readings are named by `--skip`. A NumPy archive
//! (`.npz`) with an array `data` of [steps, sensors] or [steps, sensors, channels] works as well; its first channel is forecast. The road graph is optional (`--roads`, a table of the columns
//! `from` and `to`, sensor numbers from 0) and replaces the learned graph. The program trains on the first 60 % of the windows, keeps the state that is best on the next 20 %, compares with
//! what costs nothing on the last 20 %, and writes `forecast.csv` (the steps after the table's end), `errors.csv`, `forecast.svg` and `model.safetensors` with `scaler.json`.

use candle_core::DType;
use clap::Parser;
use core_tensor::Mode;
use core_tensor::params::ParamStore;
use core_tensor::train::Cancellation;
use experiment::{Axis, Plot, Series as Line};
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use timeseries::dstagnn::{
    ChebyshevBasis, ChebyshevProduct, DstagnnConfig, FitConfig, GraphConfig, SensorGraph, Series, Similarity,
    SimilarityConfig, TimeOfDay, Windows, aware_graphs, dstagnn, errors_by_horizon, fit, forecast, persistence,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Train DSTAGNN on a table of sensors and forecast what comes after it
#[derive(Debug, Parser)]
struct Arguments {
    /// A CSV file with a header, or an .npz file with the array `data`
    table: PathBuf,
    /// Folder for the results
    #[arg(long, default_value = "forecast")]
    out: PathBuf,
    /// Steps of a day (or of another natural period)
    #[arg(long, default_value_t = 288)]
    period: usize,
    /// Names of columns that are not readings, separated by commas
    #[arg(long, value_delimiter = ',')]
    skip: Vec<String>,
    /// A CSV file with the columns `from` and `to`: forecast on the road graph
    #[arg(long)]
    roads: Option<PathBuf>,
    /// Steps that are seen
    #[arg(long, default_value_t = 12)]
    input_steps: usize,
    /// Steps that are forecast
    #[arg(long, default_value_t = 12)]
    horizon: usize,
    /// Neighbours that each sensor chooses
    #[arg(long, default_value_t = 3)]
    neighbours: usize,
    /// Passes over the training windows
    #[arg(long, default_value_t = 30)]
    epochs: usize,
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

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let outcome = core_tensor::threads::configure(threads).map_err(Into::into);
    match outcome.and_then(|()| core_tensor::threads::install(|| run(&arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bytes(path: &Path) -> Outcome<Vec<u8>> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Prints a line; whoever reads may have stopped reading.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The readings and the sensors' names.
fn read(arguments: &Arguments) -> Outcome<(Series, Vec<String>)> {
    if arguments.table.extension().is_some_and(|extension| extension == "npz") {
        let array = datasets::npz::Archive::read(&arguments.table)?.array("data")?;
        let &[_, nodes, ref channels @ ..] = array.shape.as_slice() else {
            return Err(format!("`data` has shape {:?}, expected [steps, sensors, channels]", array.shape).into());
        };
        let channels: usize = channels.iter().product();
        let first = array.values.to_f64().into_iter().step_by(channels.max(1)).collect();
        return Ok((Series::new(first, nodes, 1)?, (0..nodes).map(|node| node.to_string()).collect()));
    }
    let path = arguments.table.display();
    let text = datasets::table::parse_text(&bytes(&arguments.table)?, &datasets::table::TableConfig::default());
    let text = text.map_err(|error| format!("{path}: {error}"))?;
    if text.columns.iter().all(|name| name.trim().parse::<f64>().is_ok()) {
        say(&format!("warning: {path}: the first row, which is all numbers, is taken for the sensors' names"));
    }
    if let Some(absent) = arguments.skip.iter().find(|&name| !text.columns.contains(name)) {
        return Err(format!("--skip {absent}: {path} has no such column, but {}", text.columns.join(", ")).into());
    }
    let kept: Vec<usize> =
        (0..text.columns.len()).filter(|&column| !arguments.skip.contains(&text.columns[column])).collect();
    let mut values = Vec::with_capacity(text.rows.len() * kept.len());
    for (row, cells) in text.rows.iter().enumerate() {
        for &column in &kept {
            let cell = cells[column].trim();
            let value = if cell.is_empty() { Ok(f64::NAN) } else { cell.parse::<f64>() };
            let name = &text.columns[column];
            values.push(value.map_err(|_| {
                let hint = format!("a number (--skip {name} leaves the column out)");
                format!("{path}: row {}: {name} is {cell:?}, expected {hint}", row + 1)
            })?);
        }
    }
    let names: Vec<String> = kept.iter().map(|&column| text.columns[column].clone()).collect();
    Ok((Series::new(values, names.len(), 1)?, names))
}

fn roads(path: &Path, nodes: usize) -> Outcome<SensorGraph> {
    let table = datasets::table::parse_numeric(&bytes(path)?, &datasets::table::TableConfig::default());
    let place = path.display();
    let table = table.map_err(|error| format!("{place}: {error}; expected numbers of sensors, from 0"))?;
    let column = |name: &str| table.column(name).ok_or_else(|| format!("{place}: there is no column `{name}`"));
    let edges: Vec<(usize, usize)> =
        column("from")?.into_iter().zip(column("to")?).map(|(from, to)| (from as usize, to as usize)).collect();
    Ok(SensorGraph::from_edges(nodes, &edges).map_err(|error| format!("{place}: {error}"))?)
}

/// Says which sensors tell nothing; they are forecast like the others all the same.
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

fn run(arguments: &Arguments) -> Outcome<()> {
    let (series, names) = read(arguments)?;
    let (n, horizon) = (series.num_nodes(), arguments.horizon);
    say(&format!("{} steps of {n} sensors", series.num_steps()));
    warn(&series, &names);
    if !(1..n).contains(&arguments.neighbours) {
        return Err(format!("--neighbours {}: expected 1 to {}, for {n} sensors", arguments.neighbours, n - 1).into());
    }
    let windows = Windows::new(&series, arguments.input_steps, horizon)?;
    let split = windows.split();
    let scaler = windows.scaler(split[0].clone())?;

    // the graph, from the first 60 % of the steps
    let history = series.channel(0, series.num_steps() * 6 / 10)?;
    if history.len() / n < arguments.period {
        let steps = history.len() / n;
        let reason = format!("the graph is made from whole periods of the first 60 % of the steps, which are {steps}");
        return Err(format!("--period {}: {reason}", arguments.period).into());
    }
    let similarity = Similarity::from_series(&history, n, SimilarityConfig { period: arguments.period })?;
    let sparsity = (arguments.neighbours as f64 + 0.5) / n as f64;
    let (aware, relevance) = aware_graphs(&similarity, GraphConfig { sparsity, ..GraphConfig::default() })?;
    let graph = match &arguments.roads {
        Some(path) => roads(path, n)?,
        None => aware,
    };
    let basis = ChebyshevBasis::new(&graph, 3, ChebyshevProduct::Elementwise)?;

    let store = ParamStore::new(arguments.seed, DType::F32, &core_tensor::device::parse(&arguments.device)?);
    let sizes = DstagnnConfig { input_steps: arguments.input_steps, horizon, ..DstagnnConfig::new(n) };
    let small = DstagnnConfig { num_blocks: 2, filters: 16, embedding: 64, head_width: 16, ..sizes };
    let config = if arguments.paper_size { sizes } else { small };
    let model = dstagnn(config, &basis, &relevance.binary(), store.var_builder())?;
    say(&format!("{} parameters", store.num_parameters()));
    let learning_rate = if arguments.paper_size { 1e-4 } else { 1e-3 };
    let settings = FitConfig { epochs: arguments.epochs, learning_rate, seed: arguments.seed, ..FitConfig::default() };
    let fitted = fit(&model, &store, (&windows, &split, &scaler), settings, &Cancellation::never(), |epoch, loss| {
        say(&format!("after {epoch} epochs: validation loss {loss:.4}"));
    })?;
    say(&format!("the best state is that after {} epochs", fitted.best_epoch));
    if fitted.best_epoch == 0 {
        say("warning: training has not improved the network: the forecasts are those of an untrained one");
    }

    std::fs::create_dir_all(&arguments.out)?;
    let target = windows.targets(split[2].clone())?;
    let found = forecast(&model, &store, (&windows, split[2].clone(), &scaler), 32)?;
    let mut forecasts = vec![("DSTAGNN", found.clone()), ("persistence", persistence(&windows, split[2].clone())?)];
    match TimeOfDay::new(&series, arguments.period, split[0].end) {
        Ok(means) => forecasts.push(("time of day", means.forecast(split[2].clone(), horizon))),
        Err(error) => say(&format!("no mean by time of day: {error}")),
    }
    let mut table = String::from("forecast,step,MAE,RMSE,MAPE in %\n");
    for (name, values) in &forecasts {
        let (all, each) = errors_by_horizon(values, &target, horizon)?;
        say(&format!("{name:<12} MAE {:.4}  RMSE {:.4}  MAPE {:.2} %", all.mae, all.rmse, all.mape));
        for (step, errors) in each.iter().enumerate() {
            writeln!(table, "{name},{},{},{},{}", step + 1, errors.mae, errors.rmse, errors.mape)?;
        }
    }
    std::fs::write(arguments.out.join("errors.csv"), table)?;

    // what comes after the end
    let latest = windows.latest(&scaler, store.dtype(), store.device())?;
    let next = model.forward(&latest, &mut Mode::evaluate())?.squeeze(0)?.to_vec2::<f32>()?;
    let mut table = names.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect::<Vec<_>>().join(",");
    table.push('\n');
    for step in 0..horizon {
        table += &next.iter().map(|sensor| sensor[step].to_string()).collect::<Vec<_>>().join(",");
        table.push('\n');
    }
    std::fs::write(arguments.out.join("forecast.csv"), table)?;
    store.save(arguments.out.join("model.safetensors"))?;
    std::fs::write(arguments.out.join("scaler.json"), serde_json::to_string(&scaler)?)?;

    // the first sensor over the last windows: one step ahead and at the end of the horizon
    let count = split[2].len().min(2 * arguments.period);
    let first = split[2].len() - count;
    let curve = |values: &[f64], step: usize| -> Vec<f64> {
        (first..split[2].len()).map(|window| values[window * n * horizon + step]).collect()
    };
    let x = |step: usize| -> Vec<f64> { (0..count).map(|at| (at + step) as f64).collect() };
    let mut lines =
        vec![Line::new("truth", x(0), curve(&target, 0)), Line::new("one step ahead", x(0), curve(&found, 0))];
    if horizon > 1 {
        lines.push(Line::new(format!("{horizon} steps ahead"), x(horizon - 1), curve(&found, horizon - 1)));
    }
    let title = format!("Forecast and truth, sensor {}", names[0]);
    let plot = Plot::lines(title, Axis::linear("step"), Axis::linear("reading"), lines);
    std::fs::write(arguments.out.join("forecast.svg"), plot.svg_file("forecast", "")?)?;
    say(&format!("results are in {}", arguments.out.display()));
    Ok(())
}
