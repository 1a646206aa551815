//! The solver and LyaNet against reference values: torchdiffeq 0.2.5 and the authors' code, run in f64.
//!
//! The values stand in `tests/golden/lyanet`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/lyanet`, where a missing file skips its test.
//! Sizes are those of the files. What the files do not hold:
//!
//! | file | setting | value here |
//! |---|---|---|
//! | `ode_solvers.json` | the right-hand side | read from its text, whose constants may differ; an unknown text is skipped aloud |
//! | `ode_gradients.safetensors` | tolerances and steps by tag | 1e-8; `loose` 1e-3; `seminorm` 1e-6; steps 0.1 (rk4), 0.05 (midpoint, euler) |

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::{backward, ops};
use reproduction::Golden;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use timeseries::ode::{
    Activation, Adaptive, Adjoint, Control, Gradient, Landing, MlpField, Solve, StepInfo, Tableau, solve, solve_tensors,
};

fn golden() -> Golden {
    Golden::of("lyanet", env!("CARGO_MANIFEST_DIR"))
}

fn tensors(name: &str) -> Option<HashMap<String, Tensor>> {
    Some(candle_core::safetensors::load_buffer(&golden().read(name)?, &Device::Cpu).unwrap())
}

fn json(name: &str) -> Option<Value> {
    Some(serde_json::from_slice(&golden().read(name)?).unwrap())
}

fn f64s(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Differences relative to the largest expected value.
fn assert_close(what: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-300f64, |a, b| a.max(b.abs()));
    for (at, (a, b)) in actual.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * largest, "{what}[{at}]: {a} instead of {b}, {:e}", (a - b).abs() / largest);
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// The numbers in a text, in their order.
fn numbers_in(text: &str) -> Vec<f64> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.' || c == '-' || c == 'e';
    text.split(|c| !is_part(c)).filter_map(|part| part.parse().ok()).collect()
}

type Field = Box<dyn Fn(f64, &[f64], &mut [f64])>;

/// The field that a text describes.
fn field(problem: &str, rhs: &str) -> Option<Field> {
    match problem {
        "exp_decay" | "reverse_time" => {
            let rate = *numbers_in(rhs.split('=').nth(1)?).first()?;
            Some(Box::new(move |_, y, dy| dy.iter_mut().zip(y).for_each(|(dy, y)| *dy = rate * y)))
        }
        "spiral" => {
            let a = numbers_in(rhs.split("A=").nth(1)?);
            Some(Box::new(move |_, y, dy| {
                for (dy, row) in dy.iter_mut().zip(a.chunks(y.len())) {
                    *dy = row.iter().zip(y).map(|(a, y)| a * y).sum();
                }
            }))
        }
        "van_der_pol" => {
            let mu = *numbers_in(rhs.split(';').nth(1)?.split('=').nth(1)?).first()?;
            Some(Box::new(move |_, y, dy| {
                dy[0] = y[1];
                dy[1] = mu * (1. - y[0] * y[0]) * y[1] - y[0];
            }))
        }
        "time_dependent" => {
            let rate = *numbers_in(rhs.split("cos(").nth(1)?).first()?;
            Some(Box::new(move |t, y, dy| {
                dy.iter_mut().zip(y).for_each(|(dy, y)| *dy = (rate * t).cos() * y - y * y);
            }))
        }
        _ => None,
    }
}

fn method(name: &str) -> Tableau {
    match name {
        "euler" => Tableau::euler(),
        "midpoint" => Tableau::midpoint(),
        // torchdiffeq's rk4 is the 3/8 rule
        "rk4" => Tableau::rk4_38(),
        "dopri5" => Tableau::dopri5(),
        other => panic!("no method {other}"),
    }
}

#[test]
fn at_least_one_reference_file_is_there() {
    golden().assert_not_empty();
}

#[test]
fn solutions_and_their_steps_equal_the_reference() {
    let Some(cases) = json("ode_solvers.json") else { return };
    let mut count = 0;
    for case in cases.as_array().unwrap() {
        let text = |name: &str| case[name].as_str().unwrap();
        let Some(field) = field(text("problem"), text("rhs")) else {
            eprintln!("skipped: {} ({})", text("problem"), text("rhs"));
            continue;
        };
        count += 1;
        let (y0, times) = (numbers(&case["y0"]), numbers(&case["t"]));
        let steps = Arc::new(Mutex::new(Vec::<StepInfo>::new()));
        let seen = steps.clone();
        let rtol = case["rtol"].as_f64();
        let control = match rtol {
            Some(rtol) => Control::Adaptive(Adaptive::new(rtol, case["atol"].as_f64().unwrap())),
            None => Control::Fixed(case["step_size"].as_f64().unwrap()),
        };
        let options = Solve { control, landing: Landing::Interpolate, ..Solve::default() }
            .method(method(text("method")))
            .at(times.clone())
            .observe(move |step| seen.lock().unwrap().push(*step));
        let solution = solve(&field, &y0, (times[0], times[times.len() - 1]), &options).unwrap();
        let what = format!("{} {} {:?}", text("problem"), text("method"), rtol);
        let expected: Vec<f64> = case["y"].as_array().unwrap().iter().flat_map(numbers).collect();
        // at 1e-9 the order of summation alone moves steps
        let tolerance = if rtol.is_some_and(|rtol| rtol < 1e-7) { 1e-9 } else { 1e-10 };
        assert_close(&what, &solution.values, &expected, tolerance);
        assert_eq!(solution.statistics.evaluations as u64, case["nfe"].as_u64().unwrap(), "{what}: evaluations");
        if rtol.is_some() {
            let steps = steps.lock().unwrap();
            for (name, is_accepted) in [("accepted_steps", true), ("rejected_steps", false)] {
                let ours: Vec<&StepInfo> = steps.iter().filter(|step| step.is_accepted == is_accepted).collect();
                let theirs = case[name].as_array().unwrap();
                assert_eq!(ours.len(), theirs.len(), "{what}: {name}");
                for (ours, theirs) in ours.iter().zip(theirs) {
                    let theirs = numbers(theirs);
                    let close = |a: f64, b: f64, scale: f64| (a - b).abs() <= 1e-6 * scale;
                    assert!(close(ours.t, theirs[0], theirs[0].abs().max(theirs[1])), "{what}: {name} {ours:?} {theirs:?}");
                    assert!(close(ours.step.abs(), theirs[1], theirs[1]), "{what}: {name} {ours:?} {theirs:?}");
                }
            }
        }
        // and near what a method of that order can reach
        let reference: Vec<f64> = case["reference_y"].as_array().unwrap().iter().flat_map(numbers).collect();
        let error = |y: &[f64]| y.iter().zip(&reference).map(|(a, b)| (a - b).abs()).fold(0., f64::max);
        assert!(error(&solution.values) <= 1.01 * error(&expected) + 1e-9, "{what}");
    }
    assert!(count > 0, "no known problem in the file");
}

#[test]
fn gradients_equal_the_reference() {
    let Some(file) = tensors("ode_gradients.safetensors") else { return };
    let get = |name: &str| file[name].clone();
    let times = get("t").to_vec1::<f64>().unwrap();
    let mut tags: Vec<&str> = file.keys().filter_map(|key| key.strip_suffix(".grad_y0")).collect();
    tags.sort_unstable();
    assert!(!tags.is_empty());
    for tag in tags {
        let names = ["w1", "b1", "wt", "w2", "b2"];
        let vars: HashMap<&str, Var> =
            names.iter().map(|name| (*name, Var::from_tensor(&get(&format!("param.{name}"))).unwrap())).collect();
        let y0 = Var::from_tensor(&get("y0")).unwrap();
        let first = ops::cat(&[vars["w1"].as_tensor().clone(), vars["wt"].unsqueeze(1).unwrap()], 1).unwrap();
        let layers = vec![
            (first, vars["b1"].as_tensor().clone()),
            (vars["w2"].as_tensor().clone(), vars["b2"].as_tensor().clone()),
        ];
        let field = MlpField::from_tensors(layers, Activation::Tanh, true).unwrap();
        let name = tag.split('_').next().unwrap();
        let is_adjoint = tag.ends_with("_adj");
        let (is_loose, is_seminorm) = (tag.contains("loose"), tag.contains("seminorm"));
        let tolerance = if is_loose { 1e-3 } else if is_seminorm { 1e-6 } else { 1e-8 };
        let control = match name {
            "dopri5" => {
                let mut control = Adaptive::new(tolerance, tolerance);
                control.first_step = file.get(&format!("{tag}.first_step")).map(|step| f64s(step)[0]);
                Control::Adaptive(control)
            }
            "rk4" => Control::Fixed(0.1),
            _ => Control::Fixed(0.05),
        };
        let gradient = match is_adjoint {
            true => Gradient::Adjoint(Adjoint { control: None, is_seminorm }),
            false => Gradient::Auto,
        };
        let options = Solve { control, landing: Landing::Interpolate, gradient, ..Solve::default() }
            .method(method(name))
            .at(times.clone());
        let solution = solve_tensors(&field, y0.as_tensor(), (times[0], times[times.len() - 1]), &options).unwrap();
        let close = |what: &str, actual: &Tensor, expected: &Tensor, tolerance: f64| {
            assert_close(&format!("{tag} {what}"), &f64s(actual), &f64s(expected), tolerance);
        };
        close("y", solution.states(), &get(&format!("{tag}.y")), 1e-9);
        let loss = ops::sum_all(&ops::mul(solution.states(), &get("c")).unwrap()).unwrap();
        assert_close(tag, &[loss.to_scalar::<f64>().unwrap()], &f64s(&get(&format!("{tag}.loss"))), 1e-9);
        let tolerance = match (is_adjoint, is_seminorm) {
            (false, _) => 1e-9,
            (true, false) => 5e-6,
            (true, true) => 2e-4,
        };
        for grads in [backward(&loss).unwrap(), loss.backward().unwrap()] {
            close("grad_y0", grads.get(&y0).unwrap(), &get(&format!("{tag}.grad_y0")), tolerance);
            for name in names {
                let expected = get(&format!("{tag}.grad.{name}"));
                close(name, grads.get(&vars[name]).unwrap(), &expected, tolerance);
            }
        }
    }
}
