//! Classifies a table by LyaNet: `cargo run --release -p timeseries --example lyanet_table -- table.csv --label class --out lyanet`.
//!
//! **The table** has a header, numeric columns and one column of classes. **What it does.** A fifth of the rows (`--test`, at random by `--seed`) is held out; features are standardised by the rest. LyaNet is trained by its Lyapunov
//! loss, without solving an equation; beside it stands the same model trained as a neural ODE by differentiating the solver, at the same gain. **What it writes** to `--out`: `index.html` with all of it, `accuracy.csv` and `accuracy.svg` (right over
//! the time of the dynamics, both models), `predictions.csv` (held-out rows: class, prediction, margin, time from which the prediction stays), `summary.json`, `model.safetensors`.

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::{Rest, minibatches};
use core_tensor::{Mode, nn, ops};
use experiment::{Axis, Plot, Result, Series, Table};
use reproduction::front::{self, Columns, Output, Progress, Results};
use std::path::PathBuf;
use std::process::ExitCode;
use timeseries::lyanet::{
    ClassDynamics, ClassDynamicsConfig, EstimatedRadius, ExponentialBound, LyaNet, LyapunovLoss, ParameterMap, Region,
    satisfies_bound,
};
use timeseries::ode::{Gradient, Solve, Tableau};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Train LyaNet on a numeric table and see how early, and how surely, it answers
///
/// The table has a header, numeric columns and one column of classes, by name or number:
///
///   petal,sepal,species
///   1.4,5.1,setosa
///   4.7,7.0,versicolor
///
/// Arrays of an .npz are columns by their names. A fifth of the rows is held out. Beside LyaNet stands the same model, trained as a neural ODE.
///
/// Example: lyanet_table iris.csv --label species --out lyanet
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment, mut_arg("out", |out| out.default_value("lyanet")))]
struct Arguments {
    /// A table: .csv with a header, or .npz; all columns but the label are numbers
    table: PathBuf,
    /// The column of classes
    #[arg(long, default_value = "class")]
    label: String,
    #[command(flatten)]
    output: Output,
    /// Share of rows that is held out
    #[arg(long, default_value_t = 0.2, allow_hyphen_values = true)]
    test: f64,
    /// Gain of the dynamics, which rescales time
    #[arg(long, default_value_t = 1., allow_hyphen_values = true)]
    gain: f64,
    /// Passes over the table
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    epochs: u64,
    /// Seed of the split, first values and order
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Leave the neural ODE out
    #[arg(long)]
    alone: bool,
}

struct Rows {
    x: Tensor,
    labels: Vec<u32>,
    /// Numbers of the lines in the file.
    lines: Vec<usize>,
}

type Map = Box<dyn Fn(&Tensor, &mut Mode<'_>) -> timeseries::Result<Tensor>>;

const WIDTH: usize = 16;

fn main() -> ExitCode {
    front::main(run)
}

fn table(arguments: &Arguments) -> Result<(Vec<String>, [Rows; 2], usize)> {
    let table = Columns::read(&arguments.table)?;
    let (of_rows, classes) = table.classes(&arguments.label)?;
    let features: Vec<String> = table.names().into_iter().filter(|name| *name != arguments.label).collect();
    if features.is_empty() {
        return Err(table.error("there is no column beside the label"));
    }
    if !(2..=1000).contains(&classes.len()) {
        let found = classes.len();
        let reason =
            format!("the column `{}` has {found} different values, expected 2 to 1000 classes", arguments.label);
        return Err(table.error(reason));
    }
    let values = table.rows_of_numbers(&features)?.concat();
    let count = table.num_rows();
    let held = ((count as f64 * arguments.test).round() as usize).clamp(1, count);
    if count - held < 10 {
        let reason = format!("{count} rows leave {} for training, at least 10 are needed", count - held);
        return Err(table.error(reason));
    }
    let order = Rng::new(arguments.seed).fork("split").permutation(count);
    let (test, training) = order.split_at(held);
    let width = features.len();
    let (mut means, mut deviations) = (vec![0.; width], vec![0.; width]);
    for k in 0..width {
        let column: Vec<f64> = training.iter().map(|&row| values[row as usize * width + k]).collect();
        means[k] = column.iter().sum::<f64>() / column.len() as f64;
        let variance = column.iter().map(|x| (x - means[k]).powi(2)).sum::<f64>() / column.len() as f64;
        deviations[k] = if variance > 0. { variance.sqrt() } else { 1. };
    }
    let rows = |chosen: &[u32]| -> Result<Rows> {
        let mut x = Vec::with_capacity(chosen.len() * width);
        let mut labels = Vec::with_capacity(chosen.len());
        for &row in chosen {
            let row = row as usize;
            x.extend((0..width).map(|k| ((values[row * width + k] - means[k]) / deviations[k]) as f32));
            labels.push(of_rows[row]);
        }
        let lines = chosen.iter().map(|row| *row as usize + 2).collect();
        Ok(Rows { x: Tensor::from_vec(x, (chosen.len(), width), &Device::Cpu)?, labels, lines })
    };
    let parts = [rows(training)?, rows(test)?];
    Ok((classes, parts, width))
}

fn model(arguments: &Arguments, width: usize, classes: usize) -> Result<(ParamStore, LyaNet<Map>)> {
    let store = ParamStore::new(arguments.seed, DType::F32, &Device::Cpu);
    let vb = store.var_builder();
    let layers = [
        nn::linear(width, 64, vb.pp("map.0"))?,
        nn::linear(64, 64, vb.pp("map.1"))?,
        nn::linear(64, WIDTH * WIDTH, vb.pp("map.2"))?,
    ];
    let map: Map = Box::new(move |x, _| {
        use candle_core::Module;
        let x = ops::relu(&layers[0].forward(x)?)?;
        let x = ops::relu(&layers[1].forward(&x)?)?;
        Ok(layers[2].forward(&x)?)
    });
    let dynamics =
        ClassDynamics::new(ClassDynamicsConfig::new(classes, WIDTH), vb.pp("dynamics"))?.with_gain(arguments.gain)?;
    Ok((store, LyaNet::new(map, dynamics)))
}

/// Trains; returns the fraction of violations in the last epoch.
fn train(net: &LyaNet<Map>, store: &ParamStore, rows: &Rows, is_lyapunov: bool, arguments: &Arguments) -> Result<f64> {
    let mut adam = Adam::new(store, AdamConfig::default())?;
    let mut rng = Rng::new(arguments.seed).fork("training");
    let mut violating = f64::NAN;
    let what = if is_lyapunov { "training LyaNet" } else { "training the neural ODE" };
    let mut progress = Progress::new(what, "epochs", arguments.epochs as usize);
    for epoch in 0..arguments.epochs {
        let (mut sum, mut count) = (0., 0.);
        for batch in &minibatches(rows.labels.len(), 64, Rest::Keep, &mut rng.fork(&format!("order {epoch}")))? {
            let x = ops::index_select(&rows.x, &Tensor::new(batch, &Device::Cpu)?, 0)?;
            let labels: Vec<u32> = batch.iter().map(|&at| rows.labels[at as usize]).collect();
            let loss = if is_lyapunov {
                let region = (Region::UniformRadius { half_range: 15. }, 64);
                let found = net.loss(&x, &labels, &LyapunovLoss::default(), region, &mut rng, &mut Mode::evaluate())?;
                sum += found.violating()?;
                count += 1.;
                found.loss
            } else {
                let logits =
                    net.logits(&x, &Solve::default().method(Tableau::rk4()).fixed(0.05), &mut Mode::evaluate())?;
                ops::cross_entropy(&logits, &Tensor::new(labels.as_slice(), &Device::Cpu)?)?
            };
            adam.backward_step(&loss)?;
        }
        violating = sum / count;
        progress.step();
    }
    Ok(violating)
}

struct Seen {
    times: Vec<f64>,
    /// Right at each time.
    right: Vec<f64>,
    bound: f64,
    /// Prediction, margin, and the time from which it stays, of each row.
    rows: Vec<(u32, f64, f64)>,
}

fn look(net: &LyaNet<Map>, rows: &Rows) -> Result<Seen> {
    let times: Vec<f64> = (0..=20).map(|at| f64::from(at) * 0.05).collect();
    let options = Solve::default().tolerance(1e-4).at(times.clone()).gradient(Gradient::None);
    let states = net.solve(&rows.x, &options, &mut Mode::evaluate())?;
    let logits: Vec<Vec<Vec<f32>>> = states.states().to_vec3()?;
    let count = rows.labels.len();
    let best = |logits: &[f32]| -> u32 {
        (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0) as u32
    };
    let answers: Vec<Vec<u32>> = logits.iter().map(|at| at.iter().map(|row| best(row)).collect()).collect();
    let right = answers
        .iter()
        .map(|at| at.iter().zip(&rows.labels).filter(|(a, b)| a == b).count() as f64 / count as f64)
        .collect();
    let mut seen = Seen { times: times.clone(), right, bound: 0., rows: Vec::with_capacity(count) };
    for row in 0..count {
        let last = answers[20][row];
        let stays = (0..=20).rev().take_while(|&at| answers[at][row] == last).last().unwrap_or(20);
        let mut sorted = logits[20][row].clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        seen.rows.push((last, f64::from(sorted[0] - sorted[1]), times[stays]));
        let potential: Vec<f64> = logits
            .iter()
            .map(|at| {
                let row_logits: Vec<f64> = at[row].iter().map(|x| f64::from(*x)).collect();
                let top = row_logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                row_logits.iter().map(|x| (x - top).exp()).sum::<f64>().ln() + top
                    - row_logits[rows.labels[row] as usize]
            })
            .collect();
        seen.bound += f64::from(satisfies_bound(&times, &potential, net.dynamics.rate(), 1e-6)) / count as f64;
    }
    Ok(seen)
}

/// The mean radius from the largest observed change of the dynamics by the standardised features.
fn radius(net: &LyaNet<Map>, rows: &Rows, seed: u64) -> Result<f64> {
    let count = rows.labels.len().min(100);
    let x = rows.x.narrow(0, 0, count)?;
    let noise = Rng::new(seed).fork("radius").normal(0., 0.01, x.dims(), DType::F32, &Device::Cpu)?;
    let norms = noise.sqr()?.sum(1)?.sqrt()?.to_vec1::<f32>()?;
    let (clean, moved) =
        (net.map.maps(&x, &mut Mode::evaluate())?, net.map.maps(&(&x + &noise)?, &mut Mode::evaluate())?);
    let options = Solve::default().tolerance(1e-3).at([0.1, 0.5, 1.]).gradient(Gradient::None);
    let states = net.solve(&x, &options, &mut Mode::evaluate())?;
    let mut total = 0.;
    for (row, norm) in norms.iter().enumerate() {
        let mut largest = 1e-9f64;
        for at in 0..3 {
            let h = states.states().get(at)?.narrow(0, row, 1)?;
            let f = |maps: &Tensor| -> Result<Vec<f32>> {
                Ok(net.dynamics.pairs(&maps.narrow(0, row, 1)?, &h)?.flatten_all()?.to_vec1()?)
            };
            let change: f64 = f(&clean)?.iter().zip(f(&moved)?).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            largest = largest.max(change.sqrt() / f64::from(*norm));
        }
        let start = (net.dynamics.config().classes as f64).ln();
        let bound = ExponentialBound::new(net.dynamics.rate(), start, std::f64::consts::SQRT_2, largest)?;
        total += EstimatedRadius::from_observed(&bound).get();
    }
    Ok(total / count as f64)
}

fn run(arguments: &Arguments) -> Result<()> {
    if !(arguments.test > 0. && arguments.test < 1.) {
        return Err("--test: expected a share in (0, 1)".into());
    }
    let (classes, [training, test], width) = table(arguments)?;
    let mut results = Results::prepare("LyaNet on a table", &arguments.output)?;
    results.say(&format!(
        "{} rows of {width} features for training, {} held out, {} classes",
        training.labels.len(),
        test.labels.len(),
        classes.len()
    ));
    let (store, net) = model(arguments, width, classes.len())?;
    let violating = train(&net, &store, &training, true, arguments)?;
    let seen = look(&net, &test)?;
    let radius = radius(&net, &test, arguments.seed)?;
    let other = match arguments.alone {
        true => None,
        false => {
            let (store, net) = model(arguments, width, classes.len())?;
            train(&net, &store, &training, false, arguments)?;
            Some(look(&net, &test)?)
        }
    };
    let at = |seen: &Seen, t: f64| {
        seen.times.iter().position(|time| (time - t).abs() < 1e-9).map_or(f64::NAN, |at| seen.right[at])
    };
    let line = |name: &str, seen: &Seen| {
        let shown: Vec<String> =
            [0.05, 0.1, 0.25, 0.5, 1.].iter().map(|&t| format!("{:.3} at t = {t}", at(seen, t))).collect();
        format!("{name}: right {}; {:.1} % under the exponential bound", shown.join(", "), 100. * seen.bound)
    };
    results.say(&line("LyaNet", &seen));
    if let Some(other) = &other {
        results.say(&line("neural ODE", other));
    }
    results.say(&format!(
        "LyaNet: {:.1} % of the pairs of examples and states violate the condition; estimated L2 radius of standardised features {radius:.4} (an estimate, no certificate)",
        100. * violating
    ));
    let mut accuracy = Table::new(["t", "LyaNet", "neural ODE"]);
    for (number, t) in seen.times.iter().enumerate() {
        let second = other.as_ref().map_or_else(String::new, |other| other.right[number].to_string());
        accuracy.rows.push(vec![t.to_string(), seen.right[number].to_string(), second]);
    }
    results.table("accuracy", "Held-out rows right, over the time of the dynamics", &accuracy)?;
    let mut series = vec![Series::new("LyaNet", seen.times.clone(), seen.right.clone())];
    if let Some(other) = &other {
        series.push(Series::new("neural ODE", other.times.clone(), other.right.clone()));
    }
    let title = "Held-out rows right, over the time of the dynamics";
    let plot = Plot::lines(title, Axis::linear("t"), Axis::linear("accuracy"), series);
    results.figure(
        "accuracy",
        &plot,
        "The earlier a curve is at its height, the sooner the dynamics may be stopped.",
    )?;
    let mut predictions = Table::new(["line", "class", "prediction", "margin", "stays from"]);
    for (row, (prediction, margin, stays)) in seen.rows.iter().enumerate() {
        let (class, prediction) = (&classes[test.labels[row] as usize], &classes[*prediction as usize]);
        let numbers = [margin.to_string(), stays.to_string()];
        let texts = [test.lines[row].to_string(), class.clone(), prediction.clone()];
        predictions.rows.push(texts.into_iter().chain(numbers).collect());
    }
    results.table("predictions", "Held-out rows", &predictions)?;
    let summary = serde_json::json!({
        "classes": classes, "features": width, "training": training.labels.len(), "held_out": test.labels.len(), "gain": arguments.gain,
        "right": at(&seen, 1.), "right_at_0.1": at(&seen, 0.1), "under_bound": seen.bound, "violating": violating, "estimated_radius": radius,
        "neural_ode_right": other.as_ref().map(|other| at(other, 1.)), "neural_ode_right_at_0.1": other.as_ref().map(|other| at(other, 0.1)),
    });
    results.json("summary", "all numbers", &summary)?;
    store.save(results.path("model.safetensors", "weights of LyaNet"))?;
    let wrong = seen.rows.iter().zip(&test.labels).filter(|((prediction, ..), label)| prediction != *label).count();
    results.finish(&match wrong {
        0 => "no held-out row is wrong; the smallest margins in predictions.csv are the rows nearest to it".to_owned(),
        _ => format!("look at the {wrong} wrong rows of predictions.csv and those with the smallest margins, and compare gains on rows that you do not test on"),
    })
}
