//! The synthetic regression that later work describes: targets are replaced by noise that the information explains.

use candle_core::{DType, Device, Module, Tensor};
use core_tensor::nn::linear;
use core_tensor::ops;
use core_tensor::optim::{Adam, AdamConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::{Rest, Trainer, minibatches};
use experiment::{
    Axis, BoxError, Context, Measured, Outcome, Plot, Result, Series, Table, Trial, TrialContext, statistics,
};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

const EXAMPLES: usize = 2500;
const HIDDEN: usize = 64;
const SEEDS: u64 = 3;
const MARKS: [usize; 3] = [10, 50, 200];
const GRID: usize = 200;
const DATA: &str = "generated regression";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Method {
    NoInformation,
    Tram,
    TramZero,
}

const METHODS: [(Method, &str); 3] =
    [(Method::NoInformation, "no information"), (Method::Tram, "TRAM"), (Method::TramZero, "TRAM, zeros")];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Run {
    method: Method,
    seed: u64,
}

/// The squared error at each mark, and the last curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Found {
    errors: Vec<f64>,
    curve: Vec<f64>,
}

pub(crate) struct Runs {
    runs: Vec<Run>,
    results: Outcome<Found>,
}

fn grid() -> Vec<f64> {
    (0..GRID).map(|at| (at as f64 + 0.5) / GRID as f64).collect()
}

/// `E[y | x]`.
fn target(x: f64) -> f64 {
    0.7 * (2. * PI * x).sin()
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let runs: Vec<Run> =
        METHODS.iter().flat_map(|(method, _)| (0..SEEDS).map(|seed| Run { method: *method, seed })).collect();
    let trials = runs.iter().map(|run| Trial::new(format!("{:?}-{}", run.method, run.seed), run.clone())).collect();
    let results = context.trials("regression", trials, train)?;
    Ok(Runs { runs, results })
}

fn train(run: &Run, trial: &TrialContext) -> std::result::Result<Found, BoxError> {
    let seed = trial.seed_of(&format!("repetition-{}", run.seed));
    let device = &Device::Cpu;
    let mut rng = Rng::new(seed).fork("data");
    let noise = rng.normal(0., 0.1, EXAMPLES, DType::F64, device)?.to_vec1::<f64>()?;
    let (mut xs, mut information, mut ys) = (Vec::new(), Vec::new(), Vec::new());
    for e in noise {
        let (x, is_replaced, v) = (rng.unit(), rng.unit() < 0.3, 2. * rng.unit() - 1.);
        xs.push(x as f32);
        ys.push((if is_replaced { v } else { (2. * PI * x).sin() } + e) as f32);
        let row = if run.method == Method::TramZero { [0.; 2] } else { [f32::from(u8::from(is_replaced)), v as f32] };
        information.extend(row);
    }
    let xs = Tensor::from_vec(xs, (EXAMPLES, 1), device)?;
    let information = Tensor::from_vec(information, (EXAMPLES, 2), device)?;
    let ys = Tensor::from_vec(ys, (EXAMPLES, 1), device)?;
    let store = ParamStore::new(seed, DType::F32, device);
    let vb = store.var_builder();
    let (first, second) = (linear(1, HIDDEN, vb.pp("1"))?, linear(HIDDEN, HIDDEN, vb.pp("2"))?);
    let plain = linear(HIDDEN, 1, vb.pp("no_pi"))?;
    let (joint, informed) = (linear(HIDDEN + 2, HIDDEN, vb.pp("pi.1"))?, linear(HIDDEN, 1, vb.pp("pi.2"))?);
    let features =
        |x: &Tensor| -> core_tensor::Result<Tensor> { ops::tanh(&second.forward(&ops::tanh(&first.forward(x)?)?)?) };
    let mut trainer = Trainer::new(Adam::new(&store, AdamConfig { learning_rate: 1e-3, ..Default::default() })?);
    let mut order = Rng::new(seed).fork("order");
    let at = Tensor::from_vec(grid().iter().map(|&x| x as f32).collect::<Vec<_>>(), (GRID, 1), device)?;
    let mut found = Found { errors: Vec::new(), curve: Vec::new() };
    let last = MARKS[MARKS.len() - 1];
    for epoch in 1..=last {
        trial.check_cancelled()?;
        for batch in &minibatches(EXAMPLES, 128, Rest::Keep, &mut order)? {
            let rows = Tensor::new(batch, device)?;
            let take = |x: &Tensor| x.index_select(&rows, 0);
            let (x, a, y) = (take(&xs)?, take(&information)?, take(&ys)?);
            let phi = features(&x)?;
            let loss = match run.method {
                Method::NoInformation => ops::mse(&plain.forward(&phi)?, &y)?,
                Method::Tram | Method::TramZero => {
                    let hidden = ops::tanh(&joint.forward(&ops::cat(&[&phi, &a], 1)?)?)?;
                    let with = ops::mse(&informed.forward(&hidden)?, &y)?;
                    ops::add(&with, &ops::mse(&plain.forward(&phi.detach())?, &y)?)?
                }
            };
            trainer.step(&loss)?;
        }
        if MARKS.contains(&epoch) {
            let values = plain.forward(&features(&at)?)?.detach().flatten_all()?.to_vec1::<f32>()?;
            found.curve = values.into_iter().map(f64::from).collect();
            let errors: Vec<f64> = found.curve.iter().zip(grid()).map(|(y, x)| (y - target(x)).powi(2)).collect();
            found.errors.push(statistics::mean(&errors));
            trial.epoch(epoch, last, "regression");
        }
    }
    Ok(found)
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    if !runs.results.is_complete() {
        return Ok(());
    }
    let results = runs.results.all()?;
    let of = |method: Method| -> Vec<&Found> {
        runs.runs.iter().zip(&results).filter(|(run, _)| run.method == method).map(|(_, found)| found).collect()
    };
    let errors = |method: Method, mark: usize| of(method).iter().map(|found| found.errors[mark]).collect::<Vec<f64>>();
    let last = MARKS.len() - 1;
    let measured = |values: &[f64]| Measured { is_synthetic: true, ..Measured::mean_of(values, DATA) };
    context.claim("regression", measured(&errors(Method::Tram, last)))?;
    let pairs = errors(Method::Tram, last).into_iter().zip(errors(Method::NoInformation, last));
    context.claim("regression-none", measured(&pairs.map(|(a, b)| a - b).collect::<Vec<_>>()))?;
    let mut table = Table::new(["epochs", "no information", "TRAM", "TRAM, zeros"]);
    for (at, mark) in MARKS.iter().enumerate() {
        let cells = METHODS.map(|(method, _)| format!("{:.4}", statistics::mean(&errors(method, at))));
        table.rows.push([mark.to_string()].into_iter().chain(cells).collect());
    }
    context.table("Generated regression: mean squared error against E[y | x], mean of seeds", table);
    let x = grid();
    let mut series = vec![Series::new("E[y | x]", x.clone(), x.iter().map(|&x| target(x)).collect())];
    for (method, name) in METHODS {
        let mean = |at: usize| statistics::mean(&of(method).iter().map(|found| found.curve[at]).collect::<Vec<_>>());
        series.push(Series::new(name, x.clone(), (0..GRID).map(mean).collect()));
    }
    let title = "Generated regression after 200 epochs, mean of seeds";
    context.plot("regression", Plot::lines(title, Axis::linear("x"), Axis::linear("y"), series))
}
