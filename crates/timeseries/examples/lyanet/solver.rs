//! What the solver must do, whatever is trained with it.

use candle_core::{DType, Device};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{backward, ops};
use experiment::{Axis, Context, Measured, Outcome, Plot, Result, Series, Trial};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use timeseries::ode::{
    Activation, Adaptive, Adjoint, Control, Gradient, Landing, MlpField, Solve, StepInfo, Tableau, solve, solve_tensors,
};

/// Solutions of torchdiffeq 0.2.5; the tests read the same file.
const STORED: &str = include_str!("../../tests/golden/lyanet/ode_solvers.json");

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Part {
    Stored,
    Orders,
    Adjoint,
    Work,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Found {
    /// Repeated cases, and all.
    Stored(usize, usize),
    /// Name, nominal and observed order.
    Orders(Vec<(String, usize, f64)>),
    Adjoint(f64),
    /// For each method its name, and evaluations and errors.
    Work(Vec<Curve>),
}

type Field = fn(f64, &[f64], &mut [f64]);

fn field(problem: &str) -> Option<Field> {
    Some(match problem {
        "exp_decay" | "reverse_time" => |_, y, dy| dy.iter_mut().zip(y).for_each(|(dy, y)| *dy = -2. * y),
        "spiral" => |_, y, dy| {
            dy[0] = -0.1 * y[0] + 2. * y[1];
            dy[1] = -2. * y[0] - 0.1 * y[1];
        },
        "van_der_pol" => |_, y, dy| {
            dy[0] = y[1];
            dy[1] = 2. * (1. - y[0] * y[0]) * y[1] - y[0];
        },
        "time_dependent" => |t, y, dy| {
            dy.iter_mut().zip(y).for_each(|(dy, y)| *dy = (3. * t).cos() * y - y * y);
        },
        _ => return None,
    })
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().map(|list| list.iter().filter_map(Value::as_f64).collect()).unwrap_or_default()
}

fn repeats(case: &Value) -> Result<bool> {
    let text = |name: &str| case[name].as_str().unwrap_or_default();
    let Some(field) = field(text("problem")) else { return Ok(false) };
    let method = match text("method") {
        "euler" => Tableau::euler(),
        "midpoint" => Tableau::midpoint(),
        "rk4" => Tableau::rk4_38(),
        _ => Tableau::dopri5(),
    };
    let times = numbers(&case["t"]);
    let (Some(&start), Some(&end)) = (times.first(), times.last()) else { return Ok(false) };
    let control = match (case["rtol"].as_f64(), case["atol"].as_f64(), case["step_size"].as_f64()) {
        (Some(rtol), Some(atol), _) => Control::Adaptive(Adaptive::new(rtol, atol)),
        (_, _, Some(step)) => Control::Fixed(step),
        _ => return Ok(false),
    };
    let steps = Arc::new(Mutex::new(Vec::<StepInfo>::new()));
    let seen = steps.clone();
    let options = Solve { control, landing: Landing::Interpolate, ..Solve::default() }
        .method(method)
        .at(times)
        .observe(move |step| {
            if let Ok(mut seen) = seen.lock() {
                seen.push(*step);
            }
        });
    let found = solve(&field, &numbers(&case["y0"]), (start, end), &options)?;
    let expected: Vec<f64> =
        case["y"].as_array().map(|rows| rows.iter().flat_map(numbers).collect()).unwrap_or_default();
    let tolerance = if case["rtol"].as_f64().is_some_and(|rtol| rtol < 1e-7) { 1e-9 } else { 1e-10 };
    let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
    let is_close = found.values.len() == expected.len()
        && found.values.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= tolerance * largest);
    let counts = Some(found.statistics.evaluations as u64) == case["nfe"].as_u64();
    let steps = steps.lock().map_err(|_| "the steps")?;
    let is_adaptive = case["rtol"].as_f64().is_some();
    let same = ["accepted_steps", "rejected_steps"].iter().zip([true, false]).all(|(name, is_accepted)| {
        let ours: Vec<&StepInfo> = steps.iter().filter(|step| step.is_accepted == is_accepted).collect();
        let theirs = case[*name].as_array().map(Vec::as_slice).unwrap_or_default();
        !is_adaptive
            || (ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| {
                    let theirs = numbers(theirs);
                    (ours.step.abs() - theirs[1]).abs() <= 1e-6 * theirs[1]
                }))
    });
    Ok(is_close && counts && same)
}

fn pendulum(t: f64, y: &[f64], dy: &mut [f64]) {
    dy[0] = y[1];
    dy[1] = -y[0].sin() + 0.3 * t.cos();
}

fn oscillator(_: f64, y: &[f64], dy: &mut [f64]) {
    dy[0] = y[1];
    dy[1] = (1. - y[0] * y[0]) * y[1] - y[0];
}

fn error(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0., f64::max)
}

fn orders() -> Result<Vec<(String, usize, f64)>> {
    let mut found = Vec::new();
    for method in Tableau::all() {
        // steps in the asymptotic range, above rounding
        let (field, y0, end, steps): (Field, _, _, _) = match method.order() {
            8 => (oscillator, [1., 0.5], 3., 20.),
            _ => (pendulum, [1.2, 0.1], 4., 160.),
        };
        let exact = solve(&field, &y0, (0., end), &Solve::default().method(Tableau::dopri8()).tolerance(1e-14))?;
        let at = |steps: f64| -> Result<f64> {
            let options = Solve::default().method(method.clone()).fixed(end / steps);
            Ok(error(solve(&field, &y0, (0., end), &options)?.last(), exact.last()))
        };
        found.push((method.name().to_owned(), method.order(), (at(steps)? / at(2. * steps)?).log2()));
    }
    Ok(found)
}

fn adjoint(seed: u64) -> Result<f64> {
    let store = ParamStore::new(seed, DType::F64, &Device::Cpu);
    let field = MlpField::with_time(&[3, 16, 3], Activation::Tanh, store.var_builder())?;
    let y0 = candle_core::Var::from_tensor(&Rng::new(seed).normal(0., 1., (8, 3), DType::F64, &Device::Cpu)?)?;
    let gradients = |gradient: Gradient| -> Result<Vec<f64>> {
        let options = Solve { gradient, ..Solve::default() }.tolerance(1e-8);
        let end = solve_tensors(&field, y0.as_tensor(), (0., 1.), &options)?.last()?;
        let grads = backward(&ops::sum_all(&ops::sqr(&end)?)?)?;
        let mut all = Vec::new();
        for tensor in store.vars().iter().map(|(_, var)| var.as_tensor()).chain([y0.as_tensor()]) {
            let gradient = grads.get(tensor).ok_or("a gradient is missing")?;
            all.extend(gradient.flatten_all()?.to_vec1::<f64>()?);
        }
        Ok(all)
    };
    let (a, b) = (gradients(Gradient::Auto)?, gradients(Gradient::Adjoint(Adjoint::default()))?);
    Ok(error(&a, &b) / b.iter().fold(0f64, |a, b| a.max(b.abs())))
}

/// A method, its evaluations and its errors.
type Curve = (String, Vec<f64>, Vec<f64>);

fn work() -> Result<Vec<Curve>> {
    let (y0, end) = ([1., 0.5], 10.);
    let exact = solve(&oscillator, &y0, (0., end), &Solve::default().method(Tableau::dopri8()).tolerance(1e-14))?;
    let mut all = Vec::new();
    for method in Tableau::all() {
        let (mut evaluations, mut errors) = (Vec::new(), Vec::new());
        for level in 0..7 {
            let options = Solve::default().method(method.clone());
            let options = match method.error_weights() {
                Some(_) => options.tolerance(10f64.powi(-3 - level)),
                None => options.fixed(0.1 / 2f64.powi(level)),
            };
            // low orders do not reach the tight ones within the limit of steps
            let Ok(found) = solve(&oscillator, &y0, (0., end), &options) else { break };
            evaluations.push(found.statistics.evaluations as f64);
            errors.push(error(found.last(), exact.last()).max(1e-16));
        }
        all.push((method.name().to_owned(), evaluations, errors));
    }
    Ok(all)
}

pub(crate) fn run(context: &mut Context) -> Result<Outcome<Found>> {
    let parts = [("stored", Part::Stored), ("orders", Part::Orders), ("adjoint", Part::Adjoint), ("work", Part::Work)];
    let trials = parts.map(|(name, part)| Trial::new(name, part)).to_vec();
    context.trials("solver", trials, |part, trial| {
        Ok(match part {
            Part::Stored => {
                let cases: Vec<Value> = serde_json::from_str(STORED)?;
                let repeated = cases.iter().map(repeats).collect::<Result<Vec<bool>>>()?;
                Found::Stored(repeated.iter().filter(|is| **is).count(), cases.len())
            }
            Part::Orders => Found::Orders(orders()?),
            Part::Adjoint => Found::Adjoint(adjoint(trial.seed())?),
            Part::Work => Found::Work(work()?),
        })
    })
}

pub(crate) fn report(context: &mut Context, found: &[Found]) -> Result<()> {
    let measured = |value: f64, data: &str, note: String| Measured {
        is_synthetic: true,
        note: Some(note),
        ..Measured::mean_of(&[value], data)
    };
    for found in found {
        match found {
            Found::Stored(repeated, all) => {
                let note = format!("{repeated} of {all} cases");
                context.claim(
                    "solver-equals-reference",
                    measured(*repeated as f64 / *all as f64, "five problems", note),
                )?;
            }
            Found::Orders(orders) => {
                let worst =
                    orders.iter().map(|(_, order, observed)| (observed - *order as f64).abs()).fold(0., f64::max);
                let note: Vec<String> =
                    orders.iter().map(|(name, _, observed)| format!("{name} {observed:.2}")).collect();
                context.claim(
                    "observed-orders",
                    measured(worst, "a driven pendulum, van der Pol's oscillator", note.join(", ")),
                )?;
            }
            Found::Adjoint(difference) => {
                context.claim(
                    "adjoint-agrees",
                    measured(*difference, "a random network", "f64, 8 states of 3".to_owned()),
                )?;
            }
            Found::Work(work) => {
                let series = work
                    .iter()
                    .map(|(name, evaluations, errors)| Series::new(name.clone(), evaluations.clone(), errors.clone()));
                let plot = Plot::lines(
                    "Error against evaluations: van der Pol's oscillator to t = 10, tolerances 1e-3 to 1e-9 or halved steps",
                    Axis::log("evaluations of the field"),
                    Axis::log("largest error at the end"),
                    series.collect(),
                );
                context.plot("work-precision", plot)?;
            }
        }
    }
    Ok(())
}

/// Seconds of the fastest of some calls.
pub(crate) fn fastest(count: usize, mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..count {
        let start = Instant::now();
        run()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(least)
}
