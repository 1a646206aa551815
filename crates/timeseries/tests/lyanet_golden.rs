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
use core_tensor::optim::{Nero, NeroConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::{Mode, backward, ops};
use reproduction::Golden;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use timeseries::lyanet::{
    CertifiedRadius, ClassDynamics, ClassDynamicsConfig, ContinuousNet, ContinuousNetConfig, ExponentialBound,
    GainSchedule, LyaNet, LyapunovLoss, Order, discrete_loss,
};
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
        assert!(
            (a - b).abs() <= tolerance * largest,
            "{what}[{at}]: {a} instead of {b}, {:e}",
            (a - b).abs() / largest
        );
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
                    assert!(
                        close(ours.t, theirs[0], theirs[0].abs().max(theirs[1])),
                        "{what}: {name} {ours:?} {theirs:?}"
                    );
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
        let tolerance = if is_loose {
            1e-3
        } else if is_seminorm {
            1e-6
        } else {
            1e-8
        };
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

/// The dynamics of a file, whose parameters it holds.
fn dynamics(file: &HashMap<String, Tensor>, is_simplex: bool, dtype: DType) -> (ParamStore, ClassDynamics) {
    let vertices = f64s(&file["class_simplex"]);
    let (m, n) = file["param.hidden_to_mlp.weight"].dims2().unwrap();
    let store = ParamStore::new(0, dtype, &Device::Cpu);
    let config = ClassDynamicsConfig { vertex: vertices[0], is_simplex, ..ClassDynamicsConfig::new(n, m) };
    let dynamics = ClassDynamics::new(config, store.var_builder()).unwrap();
    for (name, _) in store.vars() {
        store.set(&name, &file[&format!("param.{name}")].to_dtype(dtype).unwrap()).unwrap();
    }
    (store, dynamics)
}

#[test]
fn the_lyapunov_losses_equal_the_reference() {
    let files = [
        ("lyapunov_mc_order1.safetensors", false, Order::First),
        ("lyapunov_mc_order1_simplex.safetensors", true, Order::First),
        ("lyapunov_mc_order2.safetensors", false, Order::Second),
    ];
    for (name, is_simplex, order) in files {
        let Some(file) = tensors(name) else { continue };
        for dtype in [DType::F64, DType::F32] {
            let (store, dynamics) = dynamics(&file, is_simplex, dtype);
            let get = |name: &str| file[name].to_dtype(dtype).unwrap();
            let number = |name: &str| f64s(&file[name])[0];
            let (tight, loose) = if dtype == DType::F64 { (1e-10, 1e-8) } else { (2e-4, 2e-3) };
            let close = |what: &str, actual: &Tensor, tolerance: f64| {
                assert_close(&format!("{name} {what}"), &f64s(actual), &f64s(&file[what]), tolerance);
            };
            assert_close(name, &[dynamics.rate()], &[number("max_factor")], 1e-12);
            let dynamics = dynamics.with_gain(number("gain_before")).unwrap();
            let x = Var::from_tensor(&get("x")).unwrap();
            let labels: Vec<u32> = file["y"].to_vec1::<i64>().unwrap().into_iter().map(|y| y as u32).collect();
            // the states follow from directions and radii
            let directions = get("z_normal");
            let norms = directions.sqr().unwrap().sum_keepdim(1).unwrap().sqrt().unwrap();
            let states = directions.broadcast_div(&norms).unwrap().broadcast_mul(&get("radius")).unwrap();
            close("h_samples", &states, tight);
            let f = dynamics.pairs(x.as_tensor(), &states).unwrap();
            close("h_dot", &f, tight);
            let loss = LyapunovLoss::default().order(order);
            let found = loss.forward(&dynamics, x.as_tensor(), &labels, &states, &mut Mode::evaluate()).unwrap();
            close("v", &found.potential, tight);
            close("v_dot", &found.rate_of_change, tight);
            if file.contains_key("violations") {
                close("violations", &found.violations, tight);
            }
            close("loss", &found.loss, tight);
            for grads in [backward(&found.loss).unwrap(), found.loss.backward().unwrap()] {
                let tolerance = if order == Order::First { tight } else { loose };
                close("grad.x", grads.get(&x).unwrap(), tolerance);
                for (name, var) in store.vars() {
                    close(&format!("grad.{name}"), grads.get(&var).unwrap(), tolerance);
                }
            }
            let gain = GainSchedule::default().after(number("gain_before"), found.violating().unwrap(), 0);
            assert_close(name, &[gain], &[number("gain_after")], 1e-12);
            if dtype == DType::F32 {
                continue;
            }
            // inference from 0
            let maps = x.as_tensor().clone();
            let model = LyaNet::new(
                move |_: &Tensor, _: &mut Mode<'_>| Ok(maps.clone()),
                dynamics.with_gain(number("inference.gain")).unwrap(),
            );
            let logits = |options: &Solve| model.logits(&x, options, &mut Mode::evaluate()).unwrap();
            let reference = Solve { landing: Landing::Interpolate, ..Solve::default() };
            close("inference.logits_dopri5_1e-3", &logits(&reference.clone().tolerance(1e-3)), 1e-8);
            close("inference.logits_rk4_0.05", &logits(&reference.clone().method(Tableau::rk4_38()).fixed(0.05)), 1e-8);
            // at 1e-8 the sequence of steps is chaotic: 1e-3, and a converged value of our own
            let at =
                |tolerance: f64, method: Tableau| f64s(&logits(&Solve::default().method(method).tolerance(tolerance)));
            let stored = f64s(&file["inference.logits_dopri5_1e-8"]);
            let largest = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0., f64::max);
            assert!(largest(&f64s(&logits(&reference.clone().tolerance(1e-8))), &stored) < 1e-3, "{name}");
            let converged = at(1e-11, Tableau::dopri5());
            assert!(largest(&converged, &stored) < 1e-3, "{name}");
            assert!(largest(&converged, &at(1e-12, Tableau::tsit5())) < 1e-5, "{name}");
        }
    }
}

#[test]
fn the_discrete_loss_of_continuous_net_equals_the_reference() {
    let Some(file) = tensors("continuous_net_lyapunov_order0.safetensors") else { return };
    let get = |name: &str| &file[name];
    let width = get("param.net.0.weight").dim(0).unwrap();
    let sets = get("param.dyns.0.net.L1.weight").dim(0).unwrap();
    let config = ContinuousNetConfig {
        width,
        time_sets: sets,
        steps: get("param.dyns.0.ts").dim(0).unwrap() - 1,
        ..ContinuousNetConfig::new(get("x").dim(1).unwrap(), get("logits_train").dim(1).unwrap())
    };
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let net = ContinuousNet::new(config, store.var_builder()).unwrap();
    for (name, _) in store.vars() {
        store.set(&name, get(&format!("param.{name}"))).unwrap();
    }
    let labels = get("y").to_dtype(DType::U32).unwrap();
    // noise there is none; statistics of the batch
    let mut rng = core_tensor::random::Rng::new(0);
    let (logits, trajectory) = net.trajectory(get("x"), &mut Mode::train(&mut rng)).unwrap();
    let close =
        |what: &str, actual: &Tensor, expected: &Tensor| assert_close(what, &f64s(actual), &f64s(expected), 1e-9);
    close("logits", &logits, get("logits_train"));
    close("trajectory", &trajectory, get("traj_logits_train"));
    let interval = 1. / config.steps as f64;
    assert_close("alpha", &[1. - (-10. / 3. * interval).exp()], &f64s(get("disc_alpha")), 1e-9);
    let loss = net.lyapunov_loss(get("x"), &labels, &mut Mode::train(&mut rng)).unwrap();
    close("loss", &loss, get("loss"));
    close("loss of the trajectory", &discrete_loss(&trajectory, &labels, 10. / 3., interval).unwrap(), get("loss"));
    let grads = backward(&loss).unwrap();
    let mut count = 0;
    for (name, var) in store.vars() {
        if let Some(expected) = file.get(&format!("grad.{name}")) {
            close(&name, grads.get(&var).unwrap(), expected);
            count += 1;
        }
    }
    assert_eq!(count, file.keys().filter(|name| name.starts_with("grad.")).count());
}

#[test]
fn nero_equals_the_reference() {
    let Some(file) = tensors("nero_optimizer.safetensors") else { return };
    let names: Vec<&str> = file.keys().filter_map(|key| key.strip_suffix(".init")).collect();
    let vars: Vec<(String, Var)> = names
        .iter()
        .map(|name| (name.to_string(), Var::from_tensor(&file[&format!("{name}.init")]).unwrap()))
        .collect();
    let mut nero = Nero::new(vars.clone(), NeroConfig { learning_rate: 0.01, beta: 0.9 }).unwrap();
    let compare = |step: &str| {
        for (name, var) in &vars {
            if let Some(expected) = file.get(&format!("{name}.{step}")) {
                assert_close(&format!("{name} {step}"), &f64s(var), &f64s(expected), 1e-12);
            }
        }
    };
    compare("after_construct");
    for step in 0.. {
        let gradients: Vec<Option<&Tensor>> =
            names.iter().map(|name| file.get(&format!("{name}.grad{step}"))).collect();
        if gradients.iter().all(Option::is_none) {
            assert!(step > 0);
            break;
        }
        // a loss whose gradients these are
        let mut loss = Tensor::zeros((), DType::F64, &Device::Cpu).unwrap();
        for ((_, var), gradient) in vars.iter().zip(gradients) {
            loss = (loss + var.mul(gradient.unwrap()).unwrap().sum_all().unwrap()).unwrap();
        }
        nero.backward_step(&loss).unwrap();
        compare(&format!("step{step}"));
    }
}

#[test]
fn attacks_equal_the_reference() {
    use adversarial::attacks::{Attack, GradientAttack, PgdConfig, Rule, Start, ThreatModel};
    let Some(file) = tensors("pgd_linear_model.safetensors") else { return };
    let (weight, bias) = (file["W"].clone(), file["b"].clone());
    let model = move |x: &Tensor| -> core_tensor::Result<Tensor> { ops::linear(x, &weight, Some(&bias)) };
    let labels: Vec<u32> = file["y"].to_vec1::<i64>().unwrap().into_iter().map(|y| y as u32).collect();
    let mut names: Vec<&String> =
        file.keys().filter(|name| name.starts_with("fgsm") || name.starts_with("pgd")).collect();
    names.sort_unstable();
    for name in names {
        let pgd = |step: f64| {
            let rule = Rule::Pgd(PgdConfig::new(step, 10).ball_first());
            GradientAttack::new(rule).start(Start::Clean).on_all().to_the_end()
        };
        let (attack, threat) = match name.as_str() {
            "fgsm_8_255" => (GradientAttack::fgsm().on_all().to_the_end(), ThreatModel::linf(8. / 255.)),
            "pgd_linf_10" => (pgd(2. / 255.), ThreatModel::linf(8. / 255.)),
            "pgd_l2_10" => (pgd(2. / 255.), ThreatModel::l2(127. / 255.)),
            "pgd_l2_10_eps0.4_alpha0.2" => (pgd(0.2), ThreatModel::l2(0.4)),
            other => {
                eprintln!("skipped: {other}");
                continue;
            }
        };
        let found = attack.run(&model, &file["x"], &labels, &threat, 0).unwrap();
        // the reference adds 1e-10 to a gradient's norm, and ours rounds towards the clean sample so that no budget is exceeded
        assert_close(name, &f64s(&found.last), &f64s(&file[name]), 1e-9);
    }
}

#[test]
fn bounds_equal_the_reference() {
    let Some(cases) = json("robust_bound.json") else { return };
    for case in cases.as_array().unwrap() {
        let number = |name: &str| case[name].as_f64().unwrap();
        let bound = ExponentialBound::new(number("kappa"), number("v0"), number("lip_v"), number("lip_f_x")).unwrap();
        for point in case["bound"].as_array().unwrap() {
            let (t, value) = (point["t"].as_f64().unwrap(), point["value"].as_f64().unwrap());
            assert_close("bound", &[bound.at(t, number("eps"))], &[value], 1e-12);
        }
        let radius = CertifiedRadius::from_proven(&bound).get();
        assert!((radius - number("certified_radius_at_t1")).abs() < 1e-12);
    }
}
