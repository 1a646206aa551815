//! Forecasts: the network with the learned and the road graph, ASTGCN, and what costs nothing.

use crate::data::{self, Data};
use candle_core::DType;
use core_tensor::params::ParamStore;
use core_tensor::train::Cancellation;
use experiment::{
    Axis, BoxError, Context, Measured, Node, Outcome, Plot, Result, Scale, Series as Line, Table, Trial, TrialContext,
    statistics,
};
use serde::{Deserialize, Serialize};
use timeseries::dstagnn::{
    Astgcn, AstgcnConfig, ChebyshevBasis, ChebyshevProduct, Dstagnn, DstagnnConfig, FitConfig, ForecastErrors,
    Forecaster, GraphConfig, Scaling, SensorGraph, Similarity, SimilarityConfig, TimeOfDay, Windows, astgcn,
    aware_graphs, dstagnn, errors_by_horizon, fit, forecast, persistence,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Model {
    /// On the learned graph.
    Aware,
    /// The same network on the road graph, DSTAGNN-G.
    Road,
    Astgcn,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Setting {
    /// `corridors`, `los-loop`, or a PEMS set.
    set: String,
    model: Model,
    seed: u64,
    epochs: usize,
    device: String,
}

/// Mean absolute error, root mean squared error, percentage.
type Numbers = [f64; 3];

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Trained {
    all: Numbers,
    by_horizon: Vec<Numbers>,
    persistence: Numbers,
    time_of_day: Numbers,
    best_epoch: usize,
    validation: Vec<f64>,
    /// The share of chosen neighbours in the same corridor, for generated data.
    in_corridor: Option<f64>,
    /// The learned graph.
    edges: Vec<(usize, usize)>,
    /// The next step at sensor 0 over the test windows: truth and forecast.
    truth: Vec<f64>,
    forecast: Vec<f64>,
}

pub(crate) struct Runs {
    settings: Vec<Setting>,
    results: Outcome<Trained>,
}

const HORIZON: usize = 12;

/// The name of the random stream that the models of a repetition share.
fn stream(seed: u64) -> String {
    format!("repetition-{seed}")
}

fn load(context: &Context, set: &str, seed: u64) -> Result<Data> {
    match set {
        "corridors" => Ok(data::corridors(context.seed_of(&stream(seed)))?),
        "los-loop" => data::los_loop(context),
        "PEMS04" => data::pems(context, "PEMS04"),
        _ => data::pems(context, "PEMS08"),
    }
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let device = context.device().to_owned();
    let mut settings = Vec::new();
    let mut add = |set: &str, model, seeds: u64, epochs| {
        settings.extend((0..seeds).map(|seed| Setting {
            set: set.into(),
            model,
            seed,
            epochs,
            device: device.clone(),
        }));
    };
    match context.scale() {
        Scale::Smoke => {
            add("corridors", Model::Aware, 3, 12);
            add("corridors", Model::Road, 3, 12);
        }
        Scale::Laptop => {
            // the longest first, so that jobs end together
            add("los-loop", Model::Astgcn, 1, 40);
            add("los-loop", Model::Aware, 3, 40);
            add("los-loop", Model::Road, 1, 40);
            add("corridors", Model::Aware, 3, 40);
            add("corridors", Model::Road, 3, 40);
        }
        Scale::Paper => {
            for (set, epochs) in [("PEMS08", 100), ("PEMS04", 110)] {
                for model in [Model::Aware, Model::Road, Model::Astgcn] {
                    add(set, model, 1, epochs);
                }
            }
        }
    }
    let id = |s: &Setting| format!("{}-{:?}-{}", s.set, s.model, s.seed).to_lowercase();
    let trials = settings.iter().map(|s| Trial::new(id(s), s.clone())).collect();
    // every trial reads its own data: three sets at most, and corridors differ by seed
    let sets: Vec<Data> = settings.iter().map(|s| load(context, &s.set, s.seed)).collect::<Result<_>>()?;
    let of = |setting: &Setting| settings.iter().position(|other| other == setting).and_then(|at| sets.get(at));
    let results = context.trials("forecasts", trials, |setting, trial| {
        let data = of(setting).ok_or_else(|| BoxError::from("no data"))?;
        train(setting, data, trial)
    })?;
    Ok(Runs { settings, results })
}

fn numbers(errors: &ForecastErrors) -> Numbers {
    [errors.mae, errors.rmse, errors.mape]
}

fn train(setting: &Setting, data: &Data, trial: &TrialContext) -> std::result::Result<Trained, BoxError> {
    let device = core_tensor::device::parse(&setting.device)?;
    let n = data.series.num_nodes();
    let is_paper = setting.set.starts_with("PEMS");
    let windows = Windows::new(&data.series, 12, HORIZON)?;
    let split = windows.split();
    let scaler = windows.scaler(split[0].clone(), Scaling::PerChannel)?;
    // the first 60 % of the steps, whole days
    let history = data.series.channel(0, data.series.num_steps() * 6 / 10)?;
    let similarity = Similarity::from_series(&history, n, SimilarityConfig { period: data.period })?;
    let sparsity = match setting.set.as_str() {
        // two neighbours of each of 24 sensors: one before and one after it on its corridor
        "corridors" => 2. / 24.,
        "los-loop" => 0.05,
        _ => 0.01,
    };
    let (aware, relevance) = aware_graphs(&similarity, GraphConfig { sparsity, ..GraphConfig::default() })?;
    let basis = |graph: &SensorGraph| ChebyshevBasis::new(graph, 3, ChebyshevProduct::Elementwise);
    let seed = trial.seed_of(&stream(setting.seed));
    let store = ParamStore::new(seed, DType::F32, &device);
    let config = if is_paper {
        DstagnnConfig::new(n)
    } else {
        DstagnnConfig { num_blocks: 2, filters: 16, embedding: 64, head_width: 16, ..DstagnnConfig::new(n) }
    };
    let batch_size = if setting.set == "PEMS08" { 64 } else { 32 };
    let learning_rate = match (setting.model, is_paper) {
        (Model::Astgcn, _) | (_, false) => 1e-3,
        (_, true) => 1e-4,
    };
    let settings = FitConfig { epochs: setting.epochs, batch_size, learning_rate, seed, patience: None };
    let run = |model: &dyn Fn(&ParamStore) -> timeseries::Result<Network>| -> std::result::Result<Trained, BoxError> {
        let model = model(&store)?;
        let cancellation = Cancellation::when(trial.cancellation());
        let fitted = fit(&model, &store, (&windows, &split, &scaler), settings, &cancellation, |epoch, loss| {
            trial.epoch(epoch, setting.epochs, &format!("validation loss {loss:.3}"));
        })?;
        let target = windows.targets(split[2].clone())?;
        let prediction = forecast(&model, &store, (&windows, split[2].clone(), &scaler), batch_size)?;
        let (all, each) = errors_by_horizon(&prediction, &target, HORIZON)?;
        let (last, _) = errors_by_horizon(&persistence(&windows, split[2].clone())?, &target, HORIZON)?;
        let means = TimeOfDay::new(&data.series, data.period, split[0].end)?;
        let (by_time, _) = errors_by_horizon(&means.forecast(split[2].clone(), HORIZON), &target, HORIZON)?;
        let first = |values: &[f64]| values.chunks_exact(n * HORIZON).map(|window| window[0]).collect();
        let edges = aware.edges();
        let in_corridor = data.is_synthetic.then(|| {
            let same = edges.iter().filter(|(a, b)| data::corridor(*a) == data::corridor(*b)).count();
            same as f64 / edges.len() as f64
        });
        Ok(Trained {
            all: numbers(&all),
            by_horizon: each.iter().map(numbers).collect(),
            persistence: numbers(&last),
            time_of_day: numbers(&by_time),
            best_epoch: fitted.best_epoch,
            validation: fitted.validation,
            in_corridor,
            edges,
            truth: first(&target),
            forecast: first(&prediction),
        })
    };
    let relevance = relevance.binary();
    match setting.model {
        Model::Aware => {
            let basis = basis(&aware)?;
            run(&|store| Ok(Network::Dstagnn(dstagnn(config, &basis, &relevance, store.var_builder())?)))
        }
        Model::Road => {
            let basis = basis(&data.roads)?;
            run(&|store| Ok(Network::Dstagnn(dstagnn(config, &basis, &relevance, store.var_builder())?)))
        }
        Model::Astgcn => {
            let basis = basis(&data.roads)?;
            run(&|store| Ok(Network::Astgcn(astgcn(AstgcnConfig::default(), &basis, store.var_builder())?)))
        }
    }
}

enum Network {
    Dstagnn(Dstagnn),
    Astgcn(Astgcn),
}

impl Forecaster for Network {
    fn forecast(
        &self,
        x: &candle_core::Tensor,
        mode: &mut core_tensor::Mode<'_>,
    ) -> timeseries::Result<candle_core::Tensor> {
        match self {
            Self::Dstagnn(network) => network.forecast(x, mode),
            Self::Astgcn(network) => network.forecast(x, mode),
        }
    }
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    if !runs.results.is_complete() {
        return Ok(());
    }
    let (settings, results) = (runs.settings, runs.results.all()?);
    let of = |set: &str, model: Model| -> Vec<&Trained> {
        settings
            .iter()
            .zip(&results)
            .filter(|(s, _)| s.set == set && s.model == model)
            .map(|(_, trained)| trained)
            .collect()
    };
    let mae = |trained: &[&Trained]| -> Vec<f64> { trained.iter().map(|trained| trained.all[0]).collect() };
    let mut table = Table::new(["data", "model", "seed", "MAE", "RMSE", "MAPE %", "best epoch"]);
    for (setting, trained) in settings.iter().zip(&results) {
        let mut row = vec![setting.set.clone(), format!("{:?}", setting.model), setting.seed.to_string()];
        row.extend(trained.all.map(|x| format!("{x:.3}")));
        row.push(trained.best_epoch.to_string());
        table.rows.push(row);
    }
    let mut sets: Vec<&str> = settings.iter().map(|s| s.set.as_str()).collect();
    sets.dedup();
    for set in &sets {
        let aware = of(set, Model::Aware);
        for (name, pick) in [("persistence", 0), ("mean by time of day", 1)] {
            let numbers = if pick == 0 { aware[0].persistence } else { aware[0].time_of_day };
            let mut row = vec![(*set).to_owned(), name.to_owned(), "0".to_owned()];
            row.extend(numbers.map(|x| format!("{x:.3}")));
            row.push(String::new());
            table.rows.push(row);
        }
        figures(context, set, aware[0])?;
    }
    context.table("Errors over all sensors and 12 steps of the test windows", table);

    let measured =
        |values: &[f64], data: &str, is_synthetic: bool| Measured { is_synthetic, ..Measured::mean_of(values, data) };
    let (aware, road) = (of("corridors", Model::Aware), of("corridors", Model::Road));
    if !aware.is_empty() {
        let data = "ring_corridors, generated";
        let shares: Vec<f64> = aware.iter().filter_map(|trained| trained.in_corridor).collect();
        context.claim("corridors-found", measured(&shares, data, true))?;
        let ratios: Vec<f64> = aware.iter().map(|trained| trained.all[0] / trained.persistence[0]).collect();
        context.claim("corridors-persistence", measured(&ratios, data, true))?;
        let differences: Vec<f64> = road.iter().zip(&aware).map(|(road, aware)| road.all[0] - aware.all[0]).collect();
        context.claim("corridors-aware", measured(&differences, data, true))?;
    }
    match context.scale() {
        Scale::Smoke => Ok(()),
        Scale::Laptop => {
            let aware = of("los-loop", Model::Aware);
            let data = "los-loop (speeds), first 60 sensors";
            context.claim("los-persistence", measured(&[aware[0].persistence[0]], data, false))?;
            let over = |other: fn(&Trained) -> f64| -> Vec<f64> {
                aware.iter().map(|trained| trained.all[0] / other(trained)).collect()
            };
            context.claim("los-over-persistence", measured(&over(|t| t.persistence[0]), data, false))?;
            context.claim("los-over-time-of-day", measured(&over(|t| t.time_of_day[0]), data, false))?;
            context.claim("los-reference", measured(&mae(&aware), data, false))?;
            context.claim("los-road-graph", measured(&mae(&of("los-loop", Model::Road)), data, false))?;
            context.claim("los-astgcn", measured(&mae(&of("los-loop", Model::Astgcn)), data, false))
        }
        Scale::Paper => {
            for (id, set) in [("pems08", "PEMS08"), ("pems04", "PEMS04")] {
                context.claim(id, measured(&mae(&of(set, Model::Aware)), set, false))?;
            }
            let least = |other: Model| {
                let difference = |set: &str| {
                    statistics::mean(&mae(&of(set, other))) - statistics::mean(&mae(&of(set, Model::Aware)))
                };
                difference("PEMS08").min(difference("PEMS04"))
            };
            context.claim("pems-road-graph", measured(&[least(Model::Road)], "PEMS08, PEMS04", false))?;
            context.claim("pems-astgcn", measured(&[least(Model::Astgcn)], "PEMS08, PEMS04", false))
        }
    }
}

fn figures(context: &mut Context, set: &str, trained: &Trained) -> Result<()> {
    let file = set.to_lowercase();
    let steps: Vec<f64> = (1..=HORIZON).map(|step| step as f64).collect();
    let errors = Line::new("DSTAGNN", steps, trained.by_horizon.iter().map(|numbers| numbers[0]).collect());
    let title = format!("Mean absolute error by step of the forecast, {set}");
    context.plot(
        &format!("horizon-{file}"),
        Plot::lines(title, Axis::linear("steps ahead"), Axis::linear("MAE"), vec![errors]),
    )?;
    let count = trained.truth.len().min(288);
    let x: Vec<f64> = (0..count).map(|step| step as f64).collect();
    let lines = vec![
        Line::new("truth", x.clone(), trained.truth[..count].to_vec()),
        Line::new("one step ahead", x, trained.forecast[..count].to_vec()),
    ];
    let title = format!("Forecast and truth at the first sensor, {set}, test windows");
    context
        .plot(&format!("forecast-{file}"), Plot::lines(title, Axis::linear("step"), Axis::linear("reading"), lines))?;
    let epochs: Vec<f64> = (0..trained.validation.len()).map(|epoch| epoch as f64).collect();
    let lines = vec![Line::new("validation loss", epochs, trained.validation.clone())];
    let title = format!("Validation loss before each epoch, {set}");
    context.plot(
        &format!("validation-{file}"),
        Plot::lines(title, Axis::linear("epoch"), Axis::linear("Huber loss"), lines),
    )?;
    // the learned graph beside the road graph, on one circle
    let data = load(context, set, 0)?;
    let n = data.series.num_nodes();
    let nodes = |count: usize| -> Vec<Node> {
        let place = |i: usize| std::f64::consts::TAU * i as f64 / count as f64;
        let cluster = |i: usize| if data.is_synthetic { data::corridor(i) } else { 0 };
        (0..count)
            .map(|i| Node { x: place(i).cos(), y: place(i).sin(), cluster: cluster(i), label: String::new() })
            .collect()
    };
    let name = data.name;
    let learned = Plot::graph(format!("Learned graph, {name}"), nodes(n), trained.edges.clone());
    context.plot(&format!("graph-learned-{file}"), learned)?;
    let roads = data.roads.edges().into_iter().filter(|(a, b)| a != b).collect();
    context.plot(&format!("graph-roads-{file}"), Plot::graph(format!("Road graph, {name}"), nodes(n), roads))
}
