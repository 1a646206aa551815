//! The solver: methods, steps, events, jumps, gradients, and what users of other solvers have reported.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::gradcheck::gradcheck;
use core_tensor::params::ParamStore;
use core_tensor::{backward, ops};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use timeseries::Error;
use timeseries::ode::{
    Activation, Adaptive, Adjoint, Control, ErrorNorm, Event, Gradient, Landing, Limits, MlpField, Pid, Reason, Save,
    Solve, Tableau, TensorField, Tolerance, solve, solve_at, solve_each, solve_tensors, solve_tuple,
};

fn decay(_: f64, y: &[f64], dy: &mut [f64]) {
    for (dy, y) in dy.iter_mut().zip(y) {
        *dy = -2. * y;
    }
}

fn wave(t: f64, y: &[f64], dy: &mut [f64]) {
    for (dy, y) in dy.iter_mut().zip(y) {
        *dy = (3. * t).cos() * y - y * y;
    }
}

fn swing(t: f64, y: &[f64], dy: &mut [f64]) {
    for (dy, y) in dy.iter_mut().zip(y) {
        *dy = (3. * t).cos() * y;
    }
}

fn prey(_: f64, y: &[f64], dy: &mut [f64]) {
    dy[0] = y[0] * (1.1 - 0.4 * y[1]);
    dy[1] = y[1] * (0.1 * y[0] - 0.4);
}

fn close(what: &str, a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (at, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance * (1. + b.abs()), "{what}[{at}]: {a} instead of {b}");
    }
}

fn f64s(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The reference of the tests: the exact solution to f64.
type Function = dyn Fn(f64, &[f64], &mut [f64]);

fn exact(field: &Function, y0: &[f64], interval: (f64, f64)) -> Vec<f64> {
    let options = Solve::default().method(Tableau::dopri8()).tolerance(1e-13);
    solve(&field, y0, interval, &options).unwrap().last().to_vec()
}

#[test]
fn the_coefficients_satisfy_their_order_conditions() {
    for method in Tableau::all() {
        for condition in method.order_conditions().iter().chain(&method.embedded_order_conditions()) {
            assert!(condition.residual.abs() < 1e-13, "{}: {condition:?}", method.name());
        }
        // the polynomials too: they are methods of lower order at every fraction of a step
        let stages = method.num_stages();
        for x in [0.3, 0.77] {
            let sum: f64 = method.interpolant().weights(x).iter().sum();
            assert!((sum - x).abs() < 1e-12, "{}: {sum} at {x}", method.name());
            let slopes = method.interpolant().slopes(x);
            let h = 1e-6;
            let (above, below) = (method.interpolant().weights(x + h), method.interpolant().weights(x - h));
            for at in 0..=stages {
                assert!(((above[at] - below[at]) / (2. * h) - slopes[at]).abs() < 1e-6 * (1. + slopes[at].abs()));
            }
        }
        // and a method made of the same numbers is accepted
        let parts = (method.nodes().to_vec(), method.rows().to_vec());
        let errors = method.error_weights().map(<[f64]>::to_vec);
        let orders = (method.order(), method.embedded_order());
        Tableau::new("copy", parts, method.weights().to_vec(), errors, orders, Some(method.interpolant().clone()))
            .unwrap();
    }
    let wrong = Tableau::new("wrong", (vec![0., 0.5], vec![vec![], vec![0.4]]), vec![0., 1.], None, (2, 0), None);
    assert!(matches!(wrong, Err(Error::InvalidConfig { .. })), "{wrong:?}");
    let torchdiffeq = Tableau::tsit5();
    let embedded: Vec<f64> =
        torchdiffeq.weights().iter().zip(torchdiffeq.error_weights().unwrap()).map(|(b, e)| b - e).collect();
    // propagating the embedded weights would lose the fifth order
    let sum: f64 = embedded.iter().zip(torchdiffeq.nodes()).map(|(b, c)| b * c.powi(4)).sum();
    assert!((sum - 0.2).abs() > 1e-5);
}

#[test]
fn observed_orders_are_those_of_the_methods() {
    let pendulum = |t: f64, y: &[f64], dy: &mut [f64]| {
        dy[0] = y[1];
        dy[1] = -y[0].sin() + 0.3 * t.cos();
    };
    let van_der_pol = |_: f64, y: &[f64], dy: &mut [f64]| {
        dy[0] = y[1];
        dy[1] = (1. - y[0] * y[0]) * y[1] - y[0];
    };
    for method in Tableau::all() {
        // steps in the asymptotic range, above rounding
        let (field, y0, end, steps): (&Function, _, _, _) = match method.order() {
            8 => (&van_der_pol, [1., 0.5], 3., 20.),
            _ => (&pendulum, [1.2, 0.1], 4., 160.),
        };
        let reference = Solve::default().method(Tableau::dopri8()).tolerance(1e-14);
        let expected = solve(&field, &y0, (0., end), &reference).unwrap().last().to_vec();
        let error = |step: f64| {
            let y = solve(&field, &y0, (0., end), &Solve::default().method(method.clone()).fixed(step)).unwrap();
            y.last().iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0., f64::max)
        };
        let order = (error(end / steps) / error(end / steps / 2.)).log2();
        assert!((order - method.order() as f64).abs() < 0.2, "{}: order {order}", method.name());
    }
}

#[test]
fn adaptive_solutions_are_within_their_tolerance_and_inside_of_the_interval() {
    for method in Tableau::all().into_iter().filter(|method| method.error_weights().is_some()) {
        for interval in [(0., 3.), (3., 0.5)] {
            let expected = exact(&swing, &[0.4, 1.1], interval);
            let (low, high) = (interval.0.min(interval.1), interval.0.max(interval.1));
            let field = |t: f64, y: &[f64], dy: &mut [f64]| {
                assert!(t >= low && t <= high, "evaluated at {t}");
                swing(t, y, dy);
            };
            for tolerance in [1e-3, 1e-6] {
                if method.order() == 2 && tolerance < 1e-4 {
                    continue;
                }
                let options = Solve::default().method(method.clone()).tolerance(tolerance);
                let solution = solve(&field, &[0.4, 1.1], interval, &options).unwrap();
                close(method.name(), solution.last(), &expected, 60. * tolerance);
                let statistics = solution.statistics;
                let fresh = method.num_stages() - 1;
                let tried = statistics.accepted + statistics.rejected;
                assert!(
                    statistics.evaluations >= tried * fresh && statistics.evaluations <= 2 + tried * (fresh + 1),
                    "{statistics:?}"
                );
            }
        }
    }
}

#[test]
fn landing_and_interpolation_agree_and_dense_output_is_continuous() {
    let times: Vec<f64> = (0..=20).map(|at| at as f64 * 0.25).collect();
    for method in [Tableau::bosh3(), Tableau::dopri5(), Tableau::tsit5(), Tableau::dopri8()] {
        let land = Solve::default().method(method.clone()).tolerance(1e-7).at(times.clone());
        let interpolate = Solve { landing: Landing::Interpolate, ..land.clone() };
        let a = solve(&prey, &[10., 5.], (0., 5.), &land).unwrap();
        let b = solve(&prey, &[10., 5.], (0., 5.), &interpolate).unwrap();
        assert_eq!(a.times, times);
        close(method.name(), &b.values, &a.values, 2e-5);
        assert!(a.statistics.accepted >= b.statistics.accepted);
        let dense = solve(&prey, &[10., 5.], (0., 5.), &Solve { save: Save::Dense, ..land.clone() }).unwrap();
        for (at, &t) in dense.times.iter().enumerate() {
            // equal to what was saved, and continuous
            assert_eq!(dense.at(t).unwrap(), dense.state(at).unwrap(), "{} at {t}", method.name());
            if at > 0 {
                close("before", &dense.at(t - 1e-9).unwrap(), dense.state(at).unwrap(), 1e-7);
            }
        }
        for t in [0.013, 1.7, 4.99] {
            let (y, mut f) = (dense.at(t).unwrap(), [0.; 2]);
            prey(t, &y, &mut f);
            close("slope", &dense.derivative(t).unwrap(), &f, 1e-3);
            close("inside", &y, &exact(&prey, &[10., 5.], (0., t)), 2e-5);
        }
        assert!(dense.at(5.1).is_err() && dense.at(f64::NAN).is_err());
        assert!(a.at(1.).is_err());
    }
}

#[test]
fn the_effort_follows_the_tolerance() {
    // evaluations ~ tolerance^(-1/5)
    let evaluations = |tolerance: f64| {
        let options = Solve::default().tolerance(tolerance);
        solve(&prey, &[10., 5.], (0., 30.), &options).unwrap().statistics.evaluations as f64
    };
    for (loose, tight) in [(1e-4, 1e-6), (1e-6, 1e-8), (1e-7, 1e-9)] {
        let rate = (evaluations(tight) / evaluations(loose)).log10() / 2.;
        assert!((rate - 0.2).abs() < 0.05, "{rate}");
    }
}

#[test]
fn controllers_and_tolerances_can_be_chosen() {
    let expected = exact(&prey, &[10., 5.], (0., 10.));
    for pid in [Pid::default(), Pid::pi(), Pid { proportional: 0.3, integral: 0.3, derivative: 0.1 }] {
        let mut control = Adaptive::new(1e-7, Tolerance::PerComponent(vec![1e-7, 1e-8])).pid(pid);
        control.min_factor_accepted = 0.2;
        let options = Solve { control: Control::Adaptive(control), ..Solve::default() };
        close("pid", solve(&prey, &[10., 5.], (0., 10.), &options).unwrap().last(), &expected, 1e-4);
    }
    let mut control = Adaptive::new(1e-6, 1e-6);
    control.norm = ErrorNorm::Given(Arc::new(|ratios: &[f64]| ratios.iter().fold(0., |a, b| b.abs().max(a))));
    let options = Solve { control: Control::Adaptive(control), ..Solve::default() };
    close("largest", solve(&prey, &[10., 5.], (0., 10.), &options).unwrap().last(), &expected, 1e-4);
}

#[test]
fn case_1_a_trial_step_that_leaves_the_domain_is_shortened() {
    let field = |_: f64, y: &[f64], dy: &mut [f64]| dy[0] = if y[0] > 8. { f64::NAN } else { 0.5 * y[0] };
    let end = 2. * 7.9f64.ln();
    for method in [Tableau::dopri5(), Tableau::tsit5(), Tableau::bosh3(), Tableau::dopri8(), Tableau::heun()] {
        let solution =
            solve(&field, &[1.], (0., end), &Solve::default().method(method.clone()).tolerance(1e-5)).unwrap();
        assert!((solution.last()[0] - 7.9).abs() < 1e-2, "{} {:?}", method.name(), solution.last());
    }
    let count = AtomicUsize::new(0);
    let broken = |_: f64, _: &[f64], dy: &mut [f64]| {
        count.fetch_add(1, Ordering::Relaxed);
        dy[0] = f64::NAN;
    };
    for options in [Solve::default(), Solve::default().fixed(0.1)] {
        count.store(0, Ordering::Relaxed);
        let Err(Error::Ode(failure)) = solve(&broken, &[1.], (0.5, 2.), &options) else { panic!() };
        assert_eq!((failure.reason, failure.t, failure.component), (Reason::NotFinite, 0.5, Some(0)));
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
    let Err(Error::Ode(failure)) = solve(&decay, &[1., f64::NAN], (0., 1.), &Solve::default()) else { panic!() };
    assert_eq!((failure.reason, failure.component), (Reason::NotFinite, Some(1)));
    // a sample of a batch is named
    let y0 = Tensor::new(&[[1f64, 1.], [1., f64::INFINITY]], &Device::Cpu).unwrap();
    let field = TensorField::new(|_, y| Ok(y.neg()?));
    let Err(Error::Ode(failure)) = solve_tensors(&field, &y0, (0., 1.), &Solve::default()) else { panic!() };
    assert_eq!((failure.sample, failure.component), (Some(1), Some(1)));
}

#[test]
fn case_2_empty_intervals_and_last_grid_points() {
    for options in
        [Solve::default(), Solve::default().fixed(0.1), Solve { landing: Landing::Interpolate, ..Solve::default() }]
    {
        let solution = solve(&wave, &[2., 3.], (1., 1.), &options.clone().at([1., 1., 1.])).unwrap();
        assert_eq!(solution.values, [2., 3., 2., 3., 2., 3.]);
        assert_eq!(solve(&wave, &[2., 3.], (1., 1.), &options).unwrap().last(), [2., 3.]);
    }
    let grid = |end: f64, step: f64| {
        let options = Solve { save: Save::EveryStep, ..Solve::default().method(Tableau::euler()).fixed(step) };
        solve(&decay, &[1.], (0., end), &options).unwrap().times
    };
    assert_eq!(grid(5.9, 1e-4).len(), 59_001);
    assert_eq!(*grid(5.9, 1e-4).last().unwrap(), 5.9);
    assert_eq!(grid(1., f64::from(0.1f32)).len(), 11);
    let few = grid(0.599, 0.1);
    assert_eq!(few.len(), 7, "{few:?}");
    assert_eq!(few[6], 0.599);
    assert_eq!(grid(1.1, 0.1).len(), 12);
    assert_eq!(grid(0.3, 0.1).len(), 4);
    // f32 states, times in f64
    let field = |_: f64, y: &[f32], dy: &mut [f32]| dy[0] = -y[0];
    let options = Solve { save: Save::EveryStep, ..Solve::default().method(Tableau::rk4()).fixed(0.1) };
    let solution = solve(&field, &[1f32], (0., 1.), &options).unwrap();
    assert_eq!(solution.times.len(), 11);
    assert!((solution.last()[0] - (-1f32).exp()).abs() < 1e-6);
}

#[test]
fn case_3_a_short_pulse_is_found_by_a_largest_step_or_a_jump() {
    let pulse = |t: f64, _: &[f64], dy: &mut [f64]| dy[0] = f64::from((5. ..5.1).contains(&t));
    let missed = solve(&pulse, &[0.], (0., 10.), &Solve::default()).unwrap();
    let mut by_step =
        Solve { control: Control::Adaptive(Adaptive::new(1e-6, 1e-6).max_step(0.05)), ..Solve::default() };
    let found = solve(&pulse, &[0.], (0., 10.), &by_step).unwrap();
    assert!((found.last()[0] - 0.1).abs() < 1e-4, "{:?}", found.last());
    by_step.control = Control::default();
    by_step.jumps = vec![5.1, 5.];
    let exact = solve(&pulse, &[0.], (0., 10.), &by_step).unwrap();
    assert!((exact.last()[0] - 0.1).abs() < 1e-12, "{:?}, without {:?}", exact.last(), missed.last());
}

#[test]
fn case_4_events() {
    // a ball falls: time and state of the impact, and their derivative by g
    let g = 9.81;
    let fall = move |_: f64, y: &[f64], dy: &mut [f64]| {
        dy[0] = y[1];
        dy[1] = -g;
    };
    let options = Solve::default().event(Event::new(|_, y| y[0]).falling().terminal());
    let solution = solve(&fall, &[10., 0.], (0., 50.), &options).unwrap();
    let impact = (2. * 10. / g).sqrt();
    assert_eq!(solution.ended_by, Some(0));
    close("impact", &[solution.events[0].t], &[impact], 1e-10);
    close("speed", solution.last(), &[0., -g * impact], 1e-9);
    // two crossings inside of one long step are seen: y' = cos t at a loose tolerance
    let swing = |t: f64, _: &[f64], dy: &mut [f64]| dy[0] = t.cos();
    let options = Solve::default().tolerance(1e-2).event(Event::new(|_, y| y[0] - 0.5).looks(32));
    let solution = solve(&swing, &[0.], (0., 6.), &options).unwrap();
    let times: Vec<f64> = solution.events.iter().map(|event| event.t).collect();
    close("crossings", &times, &[0.5f64.asin(), std::f64::consts::PI - 0.5f64.asin()], 2e-2);
    // a rejected step fires nothing: every event is once
    let options = Solve::default().tolerance(1e-9).event(Event::new(|_, y| y[1]).rising());
    let van_der_pol = |_: f64, y: &[f64], dy: &mut [f64]| {
        dy[0] = y[1];
        dy[1] = 2. * (1. - y[0] * y[0]) * y[1] - y[0];
    };
    let solution = solve(&van_der_pol, &[2., 0.], (0., 30.), &options).unwrap();
    assert!(solution.statistics.rejected > 0);
    let gaps: Vec<f64> = solution.events.windows(2).map(|pair| pair[1].t - pair[0].t).collect();
    assert!(!gaps.is_empty() && gaps.iter().all(|gap| (gap - 7.6299).abs() < 0.02), "{gaps:?}");
    // a ball that bounces: the state changes and the solve goes on
    for control in [Control::tolerance(1e-9), Control::Fixed(0.01)] {
        let bounce = Event::new(|_, y| y[0]).falling().then(|_, y| vec![0., -0.5 * y[1]]);
        let options = Solve { control, ..Solve::default() }.event(bounce);
        let solution = solve(&fall, &[10., 0.], (0., 3.), &options).unwrap();
        let second = impact + 2. * (0.5 * g * impact) / g;
        let times: Vec<f64> = solution.events.iter().map(|event| event.t).collect();
        close("bounces", &times, &[impact, second][..times.len()], 1e-8);
        assert!(!times.is_empty());
    }
}

#[test]
fn case_4_gradients_of_an_event() {
    // y'' = -c: impact at sqrt(2 h / c); dt/dh and dt/dc in closed form
    for gradient in [Gradient::Auto, Gradient::Adjoint(Adjoint::default())] {
        let height = Var::new(&[10f64, 0.], &Device::Cpu).unwrap();
        let c = Var::new(&[9.81f64], &Device::Cpu).unwrap();
        let captured = c.as_tensor().clone();
        let field = TensorField::new(move |_, y| {
            let speed = y.narrow(0, 1, 1)?;
            Ok(ops::cat(&[speed, ops::affine(&captured, -1., 0.)?], 0)?)
        })
        .variables([c.clone()]);
        let options =
            Solve { gradient, ..Solve::default() }.tolerance(1e-10).event(Event::new(|_, y| y[0]).falling().terminal());
        let solution = solve_tensors(&field, height.as_tensor(), (0., 50.), &options).unwrap();
        let time = solution.event_time.clone().unwrap();
        let impact = (2. * 10. / 9.81f64).sqrt();
        close("time", &[time.to_scalar::<f64>().unwrap()], &[impact], 1e-9);
        let grads = backward(&ops::sum_all(&time).unwrap()).unwrap();
        close("by height", &f64s(grads.get(&height).unwrap())[..1], &[1. / (9.81 * impact)], 1e-7);
        close("by g", &f64s(grads.get(&c).unwrap()), &[-impact / (2. * 9.81)], 1e-7);
        // the speed of the impact: v = -sqrt(2 g h)
        let speed = solution.last().unwrap().narrow(0, 1, 1).unwrap();
        let grads = backward(&ops::sum_all(&speed).unwrap()).unwrap();
        close("speed by g", &f64s(grads.get(&c).unwrap()), &[-(2. * 10.0f64 / 9.81).sqrt() / 2.], 1e-7);
        close("speed by h", &f64s(grads.get(&height).unwrap())[..1], &[-(2. * 9.81f64 / 10.).sqrt() / 2.], 1e-7);
    }
}

#[test]
fn case_5_parameters_that_are_not_used_and_variables_that_are_not_named() {
    let (used, unused, captured) = (
        Var::new(&[0.3f64, 0.4], &Device::Cpu).unwrap(),
        Var::zeros((2, 3), DType::F64, &Device::Cpu).unwrap(),
        Var::new(&[1f64, 1.], &Device::Cpu).unwrap(),
    );
    let y0 = Tensor::new(&[[1f64, 2.]], &Device::Cpu).unwrap();
    let weight = used.as_tensor().clone();
    let field = TensorField::new(move |_, y| Ok(y.broadcast_mul(&weight)?)).variables([used.clone(), unused.clone()]);
    for gradient in [Gradient::Auto, Gradient::Adjoint(Adjoint::default())] {
        let options = Solve { gradient, ..Solve::default() };
        let end = solve_tensors(&field, &y0, (0., 1.), &options).unwrap().last().unwrap();
        let grads = backward(&ops::sum_all(&end).unwrap()).unwrap();
        assert_eq!(f64s(grads.get(&unused).unwrap()), [0.; 6]);
        close("used", &f64s(grads.get(&used).unwrap()), &[0.3f64.exp(), 2. * 0.4f64.exp()], 1e-5);
    }
    let (a, b) = (used.as_tensor().clone(), captured.as_tensor().clone());
    let field = TensorField::new(move |_, y| Ok(y.broadcast_mul(&a)?.broadcast_add(&b)?)).variables([used]);
    let error = solve_tensors(&field, &y0, (0., 1.), &Solve::default()).unwrap_err().to_string();
    assert!(error.contains("name it"), "{error}");
    // without a gradient it may be captured
    solve_tensors(&field, &y0, (0., 1.), &Solve::default().gradient(Gradient::None)).unwrap();
}

#[test]
fn case_7_a_sample_with_its_own_steps_does_not_depend_on_the_batch() {
    let store = ParamStore::new(3, DType::F64, &Device::Cpu);
    let field = MlpField::new(&[2, 8, 2], Activation::Tanh, store.var_builder()).unwrap();
    let options =
        Solve { control: Control::Adaptive(Adaptive::new(1e-7, 1e-7).per_sample()), ..Solve::default() }.at([0.3, 2.]);
    let rows = [[1f64, 0.2], [30., 7.], [0.1, 0.], [5., 5.]];
    let all = solve_tensors(&field, &Tensor::new(&rows, &Device::Cpu).unwrap(), (0., 2.), &options).unwrap();
    for (at, row) in rows.iter().enumerate() {
        let alone = solve_tensors(&field, &Tensor::new(&[*row], &Device::Cpu).unwrap(), (0., 2.), &options).unwrap();
        assert_eq!(f64s(&alone.states().narrow(1, 0, 1).unwrap()), f64s(&all.states().narrow(1, at, 1).unwrap()));
    }
    let flat: Vec<f64> = rows.iter().flatten().copied().collect();
    let each = solve_each(&prey, &flat, 2, (0., 1.), &Solve::default()).unwrap();
    for (row, solution) in rows.iter().zip(&each) {
        assert_eq!(solve(&prey, row, (0., 1.), &Solve::default()).unwrap().last(), solution.last());
    }
    // a permuted batch gives the permuted result, under shared steps too
    let shared = Solve::default();
    let permuted = [rows[2], rows[0], rows[3], rows[1]];
    let a = f64s(
        &solve_tensors(&field, &Tensor::new(&rows, &Device::Cpu).unwrap(), (0., 2.), &shared).unwrap().last().unwrap(),
    );
    let b = f64s(
        &solve_tensors(&field, &Tensor::new(&permuted, &Device::Cpu).unwrap(), (0., 2.), &shared)
            .unwrap()
            .last()
            .unwrap(),
    );
    for (from, to) in [2usize, 0, 3, 1].into_iter().enumerate() {
        close("permuted", &b[from * 2..from * 2 + 2], &a[to * 2..to * 2 + 2], 1e-9);
    }
}

#[test]
fn case_7_many_steps_neither_grow_memory_nor_overflow_the_stack() {
    let field = |_: f64, y: &[f64], dy: &mut [f64]| dy[0] = -y[0];
    let options =
        Solve { limits: Limits { max_steps: 200_000 }, ..Solve::default() }.method(Tableau::euler()).fixed(1e-5);
    assert!((solve(&field, &[1.], (0., 1.), &options).unwrap().last()[0] - (-1f64).exp()).abs() < 1e-4);
    // 100,000 accepted steps with a gradient, in little memory
    let store = ParamStore::new(3, DType::F64, &Device::Cpu);
    let field = MlpField::new(&[1, 2, 1], Activation::Tanh, store.var_builder()).unwrap();
    let y0 = Var::new(&[[0.5f64]], &Device::Cpu).unwrap();
    let gradient_with = |memory: usize| {
        let options = Solve { gradient: Gradient::Steps { memory }, ..options.clone() };
        let end = solve_tensors(&field, y0.as_tensor(), (0., 1.), &options).unwrap().last().unwrap();
        f64s(backward(&ops::sum_all(&end).unwrap()).unwrap().get(&y0).unwrap())
    };
    assert_eq!(gradient_with(1 << 30), gradient_with(10_000));
}

#[test]
fn case_8_a_jump_at_a_known_time() {
    // y' = y before t = 1, -2 y after: y(2) = y0 e^{1-2}, dy/dy0 the same
    for gradient in [Gradient::Auto, Gradient::Adjoint(Adjoint::default())] {
        let field = TensorField::new(|t, y| Ok(ops::affine(y, if t < 1. { 1. } else { -2. }, 0.)?));
        let y0 = Var::new(&[3f64], &Device::Cpu).unwrap();
        let options = Solve { jumps: vec![1.], gradient, ..Solve::default() }.tolerance(1e-9);
        let end = solve_tensors(&field, y0.as_tensor(), (0., 2.), &options).unwrap();
        close("value", &f64s(&end.last().unwrap()), &[3. * (-1f64).exp()], 1e-8);
        let grads = backward(&ops::sum_all(&end.last().unwrap()).unwrap()).unwrap();
        close("gradient", &f64s(grads.get(&y0).unwrap()), &[(-1f64).exp()], 1e-7);
        // backward in time
        let back = solve_tensors(&field, y0.as_tensor(), (2., 0.), &options).unwrap();
        close("backwards", &f64s(&back.last().unwrap()), &[3. * 1f64.exp()], 1e-7);
        let grads = backward(&ops::sum_all(&back.last().unwrap()).unwrap()).unwrap();
        close("its gradient", &f64s(grads.get(&y0).unwrap()), &[1f64.exp()], 1e-7);
    }
    let field = |t: f64, y: &[f64], dy: &mut [f64]| dy[0] = if t < 1. { y[0] } else { -2. * y[0] };
    let dense =
        solve(&field, &[1.], (0., 2.), &Solve { jumps: vec![1.], save: Save::Dense, ..Solve::default() }).unwrap();
    assert!(dense.derivative(1. - 1e-9).unwrap()[0] > 0. && dense.derivative(1.).unwrap()[0] < 0.);
}

#[test]
fn case_9_stiff_and_singular_problems_end() {
    let stiff = |_: f64, y: &[f64], dy: &mut [f64]| {
        dy[0] = y[1];
        dy[1] = 1000. * (1. - y[0] * y[0]) * y[1] - y[0];
    };
    let options = Solve { limits: Limits { max_steps: 2000 }, ..Solve::default() };
    let stopped = solve(&stiff, &[2., 0.], (0., 2000.), &options);
    let Err(Error::Ode(failure)) = stopped else { panic!("{stopped:?}") };
    assert!(failure.reason == Reason::TooManySteps(2000) && failure.t > 0., "{failure}");
    let blow_up = |_: f64, y: &[f64], dy: &mut [f64]| dy[0] = y[0] * y[0];
    let options = Solve { save: Save::At(vec![0., 0.5, 1.]), ..Solve::default() };
    let stopped = solve(&blow_up, &[1.], (0., 1.), &options);
    let Err(Error::Ode(failure)) = stopped else { panic!("{stopped:?}") };
    assert!((failure.t - 1.).abs() < 1e-3, "{failure}");
    close("what was saved", &failure.values, &[1., 2.], 1e-4);
    assert!(solve(&blow_up, &[1.], (0., 1.5), &Solve::default().fixed(0.01)).is_err());
}

#[test]
fn bad_input_is_an_error() {
    let bad: Vec<(&str, Solve)> = vec![
        ("rtol", Solve::default().tolerance(-1.)),
        ("rtol", Solve::default().tolerance(f64::NAN)),
        ("not both 0", Solve::default().tolerance(0.)),
        ("step", Solve::default().fixed(0.)),
        ("step", Solve::default().fixed(-0.1)),
        ("saved time 1", Solve::default().at([0.5, 0.2])),
        ("saved time 0", Solve::default().at([2.])),
        ("saved time 0", Solve::default().at([f64::NAN])),
        ("saved times", Solve::default().at([])),
        ("max_steps", Solve { limits: Limits { max_steps: 0 }, ..Solve::default() }),
        ("estimate", Solve::default().method(Tableau::rk4())),
        ("jump", Solve { jumps: vec![f64::INFINITY], ..Solve::default() }),
        ("looks", Solve::default().event(Event::new(|_, y| y[0]).looks(0))),
        (
            "atol",
            Solve {
                control: Control::Adaptive(Adaptive::new(1e-3, Tolerance::PerComponent(vec![1.; 3]))),
                ..Solve::default()
            },
        ),
        (
            "solve_each",
            Solve { control: Control::Adaptive(Adaptive::new(1e-3, 1e-3).per_sample()), ..Solve::default() },
        ),
        ("new state", Solve::default().event(Event::new(|t, _| t - 0.5).then(|_, _| vec![1.; 5]))),
        ("not a number", Solve::default().event(Event::new(|_, _| f64::NAN))),
    ];
    for (named, options) in bad {
        let error = solve(&decay, &[1., 2.], (0., 1.), &options).unwrap_err().to_string();
        assert!(error.contains(named), "{named}: {error}");
    }
    assert!(solve(&decay, &[], (0., 1.), &Solve::default()).is_err());
    assert!(solve(&decay, &[1.], (0., f64::NAN), &Solve::default()).is_err());
    let store = ParamStore::new(3, DType::F32, &Device::Cpu);
    let field = MlpField::new(&[2, 4, 2], Activation::Tanh, store.var_builder()).unwrap();
    let shapes = [(0, 2), (3, 3)];
    for shape in shapes {
        let y0 = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        assert!(solve_tensors(&field, &y0, (0., 1.), &Solve::default()).is_err(), "{shape:?}");
    }
    let y0 = Tensor::zeros((1, 2), DType::F64, &Device::Cpu).unwrap();
    assert!(solve_tensors(&field, &y0, (0., 1.), &Solve::default()).is_err());
    let wrong = TensorField::new(|_, y| Ok(y.unsqueeze(0)?));
    assert!(solve_tensors(&wrong, &y0, (0., 1.), &Solve::default()).is_err());
    assert!(MlpField::new(&[2, 4, 3], Activation::Tanh, store.var_builder().pp("a")).is_err());
    let y0 = Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap();
    let event = Solve::default().event(Event::new(|_, y| y[0]));
    let error = solve_tensors(&field, &y0, (0., 1.), &event).unwrap_err().to_string();
    assert!(error.contains("per_sample"), "{error}");
}

#[test]
fn gradients_are_right() {
    let shape = [(2, 3), (1, 3)];
    let tensor = |shape: (usize, usize), scale: f64| {
        let values: Vec<f64> = (0..shape.0 * shape.1).map(|at| scale * (1.3 * at as f64 + 0.4).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    };
    let weights = |has_time: bool| {
        [tensor((4, 3 + usize::from(has_time)), 0.7), tensor((1, 4), 0.3), tensor((3, 4), 0.8), tensor((1, 3), 0.2)]
    };
    let modes = [
        Solve::default().tolerance(1e-10),
        Solve { gradient: Gradient::Steps { memory: 800 }, ..Solve::default() }.tolerance(1e-10),
        Solve { gradient: Gradient::Adjoint(Adjoint::default()), ..Solve::default() }.tolerance(1e-12),
        Solve::default().method(Tableau::rk4()).fixed(0.02),
        Solve::default().method(Tableau::tsit5()).tolerance(1e-10),
        Solve { control: Control::Adaptive(Adaptive::new(1e-11, 1e-11).per_sample()), ..Solve::default() },
        Solve { landing: Landing::Interpolate, ..Solve::default() }.tolerance(1e-11),
    ];
    for (mode, options) in modes.iter().enumerate() {
        for activation in [Activation::Tanh, Activation::Softplus, Activation::Silu] {
            let has_time = activation != Activation::Silu;
            let options = options.clone().at([0.1, 0.37, 0.8]);
            let mut inputs = vec![tensor(shape[mode % 2], 1.)];
            inputs.extend(weights(has_time));
            let f = |x: &[Tensor]| -> core_tensor::Result<Tensor> {
                let layers = vec![(x[1].clone(), x[2].flatten_all()?), (x[3].clone(), x[4].flatten_all()?)];
                let field = MlpField::from_tensors(layers, activation, has_time).unwrap();
                Ok(solve_tensors(&field, &x[0], (0., 0.8), &options).unwrap().states().clone())
            };
            gradcheck(f, &inputs).unwrap_or_else(|error| panic!("mode {mode} {activation:?}: {error}"));
        }
    }
}

#[test]
fn gradients_to_context_tuples_and_times_are_right() {
    let of = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
    for gradient in [Gradient::Auto, Gradient::Adjoint(Adjoint::default())] {
        let options = Solve { gradient: gradient.clone(), ..Solve::default() }.tolerance(1e-11);
        // a context
        let f = |x: &[Tensor]| -> core_tensor::Result<Tensor> {
            let field = TensorField::with_context(&x[1], |_, y, c| Ok(ops::tanh(&ops::mul(y, c)?)?));
            Ok(solve_tensors(&field, &x[0], (0., 1.), &options).unwrap().last().unwrap())
        };
        gradcheck(f, &[of(&[0.5, -0.2, 1.]), of(&[0.3, 1.1, -0.7])]).unwrap();
        // with own steps the context is cut into samples
        let control = Control::Adaptive(Adaptive::new(1e-11, 1e-11).per_sample());
        let own = Solve { control, ..options.clone() };
        let f = |x: &[Tensor]| -> core_tensor::Result<Tensor> {
            let (y, c) = (x[0].reshape((3, 1))?, x[1].reshape((3, 1))?);
            let field = TensorField::with_context(&c, |_, y, c| Ok(ops::tanh(&ops::mul(y, c)?)?));
            Ok(solve_tensors(&field, &y, (0., 1.), &own).unwrap().last().unwrap())
        };
        gradcheck(f, &[of(&[0.5, -0.2, 1.]), of(&[0.3, 1.1, -0.7])]).unwrap();
        // a tuple
        let f = |x: &[Tensor]| -> core_tensor::Result<Tensor> {
            let field = TensorField::of_tuples(|_, y, _| Ok(vec![ops::affine(&y[1], -1., 0.)?, ops::tanh(&y[0])?]));
            let solution = solve_tuple(&field, x, (0., 1.), &options.clone().at([0.4, 1.])).unwrap();
            ops::mul(&solution.values[0], &solution.values[1])
        };
        gradcheck(f, &[of(&[0.5, -0.2]), of(&[0.1, 0.8])]).unwrap();
        // times
        let f = |x: &[Tensor]| -> core_tensor::Result<Tensor> {
            let field =
                MlpField::from_tensors(vec![(of(&[0.4, 0.9]).reshape((1, 2))?, of(&[0.1]))], Activation::Tanh, true)
                    .unwrap();
            Ok(solve_at(&field, &x[0].reshape((1, 1))?, 0., &x[1], &options).unwrap().states().clone())
        };
        gradcheck(f, &[of(&[0.7]), of(&[0.2, 0.9])]).unwrap();
    }
}

#[test]
fn known_problems_are_solved() {
    // a Kepler orbit of eccentricity 0.6: energy and the period
    let kepler = |_: f64, y: &[f64], dy: &mut [f64]| {
        let r3 = (y[0] * y[0] + y[1] * y[1]).powf(1.5);
        (dy[0], dy[1], dy[2], dy[3]) = (y[2], y[3], -y[0] / r3, -y[1] / r3);
    };
    let y0 = [0.4, 0., 0., 2.];
    let energy = |y: &[f64]| 0.5 * (y[2] * y[2] + y[3] * y[3]) - 1. / (y[0] * y[0] + y[1] * y[1]).sqrt();
    let period = 2. * std::f64::consts::PI;
    for (method, drift) in
        [(Tableau::dopri5(), 1e-7), (Tableau::tsit5(), 1e-7), (Tableau::dopri8(), 1e-7), (Tableau::bosh3(), 2e-6)]
    {
        let solution =
            solve(&kepler, &y0, (0., 3. * period), &Solve::default().method(method.clone()).tolerance(1e-9)).unwrap();
        assert!(
            (energy(solution.last()) - energy(&y0)).abs() < drift,
            "{}: {:e}",
            method.name(),
            energy(solution.last()) - energy(&y0)
        );
        close(method.name(), solution.last(), &y0, 1e-3);
    }
    close(
        "decay",
        solve(&decay, &[1., 0.5], (0., 10.), &Solve::default().tolerance(1e-9)).unwrap().last(),
        &[(-20f64).exp(), 0.5 * (-20f64).exp()],
        1e-8,
    );
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let store = ParamStore::new(3, DType::F32, &Device::Cpu);
    let field = MlpField::new(&[32, 64, 32], Activation::Tanh, store.var_builder()).unwrap();
    let y0 =
        Tensor::from_vec((0..600 * 32).map(|at| (0.37 * at as f32).sin()).collect::<Vec<_>>(), (600, 32), &Device::Cpu)
            .unwrap();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let end = solve_tensors(&field, &y0, (0., 1.), &Solve::default().tolerance(1e-5)).unwrap().last().unwrap();
            let grads = backward(&ops::sum_all(&end).unwrap()).unwrap();
            let mut all = f64s(&end);
            for (_, var) in store.vars() {
                all.extend(f64s(grads.get(&var).unwrap()));
            }
            all
        })
    };
    assert_eq!(run(1), run(2));
}
