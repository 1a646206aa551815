//! LyaNet: gradients, properties, and what its users may do wrong.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use core_tensor::gradcheck::gradcheck;
use core_tensor::optim::{Adam, AdamConfig, Nero, NeroConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Mode, backward, ops};
use timeseries::lyanet::{
    ClassDynamics, ClassDynamicsConfig, ContinuousNet, ContinuousNetConfig, CrossEntropy, GainSchedule, LyaNet,
    LyapunovLoss, Order, PathCurriculum, Potential, Reduction, Region, SquaredError, discrete_loss, empirical_rate,
    path_times, satisfies_bound, violation,
};
use timeseries::ode::{Adaptive, Adjoint, Control, Dynamics, Gradient, Solve, Tableau, solve_tensors};

fn store() -> ParamStore {
    ParamStore::new(11, DType::F64, &Device::Cpu)
}

fn random(shape: &[usize], seed: u64) -> Tensor {
    Rng::new(seed).normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap()
}

fn f64s(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn close(what: &str, a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len(), "{what}");
    let largest = b.iter().fold(1e-300f64, |largest, b| largest.max(b.abs()));
    for (at, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance * largest, "{what}[{at}]: {a} instead of {b}");
    }
}

fn dynamics(store: &ParamStore, is_simplex: bool, n: usize, m: usize) -> ClassDynamics {
    ClassDynamics::new(ClassDynamicsConfig { is_simplex, ..ClassDynamicsConfig::new(n, m) }, store.var_builder())
        .unwrap()
}

/// The condition by other means: the tape's `f`, and the potential one pair at a time.
fn by_hand(
    dynamics: &ClassDynamics,
    maps: &Tensor,
    labels: &[u32],
    states: &Tensor,
    potential: &dyn Potential,
) -> Tensor {
    let n = dynamics.config().classes;
    let f = dynamics.pairs(maps, states).unwrap();
    let (b, s) = (labels.len(), states.dim(0).unwrap());
    let host = f64s(states);
    let (mut slopes, mut values) = (Vec::new(), Vec::new());
    for &label in labels {
        for h in host.chunks(n) {
            let mut gradient = vec![0.; n];
            values.push(potential.value(h, label, &mut gradient));
            slopes.extend(gradient);
        }
    }
    let slopes = Tensor::from_vec(slopes, (b, s, n), &Device::Cpu).unwrap();
    let rate = ops::sum_keepdim(&ops::mul(&f, &slopes).unwrap(), &[2]).unwrap().reshape((b, s)).unwrap();
    let values = Tensor::from_vec(values, (b, s), &Device::Cpu).unwrap();
    ops::mean_all(&ops::relu(&ops::add(&rate, &(values * dynamics.rate()).unwrap()).unwrap()).unwrap()).unwrap()
}

#[test]
fn the_fused_loss_equals_the_tapes_and_its_gradients() {
    for (is_simplex, n, m, b, s) in
        [(false, 4, 6, 3, 21), (true, 3, 5, 4, 16), (false, 2, 1, 1, 1), (false, 11, 17, 5, 40)]
    {
        let store = store();
        let dynamics = dynamics(&store, is_simplex, n, m).with_gain(3.).unwrap();
        let maps = candle_core::Var::from_tensor(&random(&[b, m * m], 1)).unwrap();
        let states = Region::UniformRadius { half_range: 15. }.draw(s, n, DType::F64, &mut Rng::new(3)).unwrap();
        let labels: Vec<u32> = (0..b).map(|at| (at % n) as u32).collect();
        let potentials: [Box<dyn Potential>; 2] = [Box::new(CrossEntropy), Box::new(SquaredError { vertex: 15. })];
        for (which, potential) in potentials.iter().enumerate() {
            let loss = match which {
                0 => LyapunovLoss::default(),
                _ => LyapunovLoss::default().potential(SquaredError { vertex: 15. }),
            };
            let ours = loss.forward(&dynamics, maps.as_tensor(), &labels, &states, &mut Mode::evaluate()).unwrap();
            let theirs = by_hand(&dynamics, maps.as_tensor(), &labels, &states, potential.as_ref());
            close("loss", &f64s(&ours.loss), &f64s(&theirs), 1e-12);
            let (ours, theirs) = (backward(&ours.loss).unwrap(), backward(&theirs).unwrap());
            let mut vars = store.vars();
            vars.push(("maps".to_owned(), maps.clone()));
            for (name, var) in vars {
                let (Some(a), Some(b)) = (ours.get(&var), theirs.get(&var)) else { panic!("{name}") };
                close(&name, &f64s(a), &f64s(b), 1e-10);
            }
            // states of each example, here the same for all
            let own = states.unsqueeze(0).unwrap().broadcast_as((b, s, n)).unwrap().contiguous().unwrap();
            let own = loss.forward(&dynamics, maps.as_tensor(), &labels, &own, &mut Mode::evaluate()).unwrap();
            let own = backward(&own.loss).unwrap();
            for (name, var) in store.vars() {
                close(&name, &f64s(own.get(&var).unwrap()), &f64s(ours.get(&var).unwrap()), 1e-10);
            }
            close("maps", &f64s(own.get(&maps).unwrap()), &f64s(ours.get(&maps).unwrap()), 1e-10);
        }
    }
}

#[test]
fn gradients_are_right() {
    let (n, m) = (3, 4);
    let shapes: [&[usize]; 5] = [&[m, n], &[m], &[n, m], &[n], &[1]];
    let mut inputs = vec![random(&[2, m * m], 7)];
    inputs.extend(shapes.iter().enumerate().map(|(at, shape)| (random(shape, 20 + at as u64) * 0.5).unwrap()));
    inputs[5] = Tensor::new(&[0.25f64], &Device::Cpu).unwrap();
    let build = |x: &[Tensor], is_simplex: bool| {
        let names = [
            "hidden_to_mlp.weight",
            "hidden_to_mlp.bias",
            "mlp_to_hidden.weight",
            "mlp_to_hidden.bias",
            "activation.weight",
        ];
        let tensors = names.iter().zip(&x[1..]).map(|(name, x)| (name.to_string(), x.clone())).collect();
        let vb = candle_nn::VarBuilder::from_tensors(tensors, DType::F64, &Device::Cpu);
        ClassDynamics::new(ClassDynamicsConfig { is_simplex, vertex: 2., ..ClassDynamicsConfig::new(n, m) }, vb)
            .unwrap()
    };
    let states = (random(&[6, n], 9) * 1.5).unwrap();
    let own = (random(&[2, 4, n], 10) * 1.5).unwrap();
    for is_simplex in [false, true] {
        for (loss, states) in [
            (LyapunovLoss::default(), &states),
            (LyapunovLoss::default().reduction(Reduction::Sum).rate(0.7), &states),
            (LyapunovLoss::default().order(Order::Second), &states),
            (LyapunovLoss::default().order(Order::Second).potential(SquaredError { vertex: 2. }), &states),
            (LyapunovLoss::default(), &own),
        ] {
            let f = |x: &[Tensor]| -> core_tensor::Result<Tensor> {
                Ok(loss.forward(&build(x, is_simplex), &x[0], &[2, 0], states, &mut Mode::evaluate()).unwrap().loss)
            };
            gradcheck(f, &inputs).unwrap_or_else(|error| panic!("{loss:?} simplex {is_simplex}: {error}"));
        }
        // the solve, in all modes
        let modes = [
            Solve::default().method(Tableau::rk4()).fixed(0.1),
            Solve::default().tolerance(1e-10),
            Solve::default().tolerance(1e-11).gradient(Gradient::Adjoint(Adjoint::default())),
            Solve { control: Control::Adaptive(Adaptive::new(1e-10, 1e-10).per_sample()), ..Solve::default() },
        ];
        for options in modes {
            // with a slope of 1 the activation has no kink, which steps would see; the derivative by the slope still has one
            let slope = Tensor::new(&[1f64], &Device::Cpu).unwrap();
            let f = |x: &[Tensor]| -> core_tensor::Result<Tensor> {
                let all: Vec<Tensor> = x.iter().chain([&slope]).cloned().collect();
                let field = build(&all, is_simplex).field(&x[0]).unwrap();
                let start = Tensor::new(&[[0.3f64, -0.2, 0.1], [0.5, 0.4, -0.6]], &Device::Cpu)?;
                Ok(solve_tensors(&field, &start, (0., 0.2), &options).unwrap().last().unwrap())
            };
            gradcheck(f, &inputs[..5]).unwrap_or_else(|error| panic!("{options:?} simplex {is_simplex}: {error}"));
        }
        let f = |x: &[Tensor]| -> core_tensor::Result<Tensor> {
            let field = build(x, is_simplex).field(&x[0]).unwrap();
            let start = Tensor::new(&[[0.3f64, -0.2, 0.1], [0.5, 0.4, -0.6]], &Device::Cpu)?;
            let options = Solve::default().method(Tableau::rk4()).fixed(0.05);
            Ok(solve_tensors(&field, &start, (0., 0.2), &options).unwrap().last().unwrap())
        };
        gradcheck(f, &inputs).unwrap_or_else(|error| panic!("slope, simplex {is_simplex}: {error}"));
    }
}

#[test]
fn dropout_is_one_mask_for_a_solve_and_one_for_each_pair_of_the_loss() {
    let store = store();
    let config = ClassDynamicsConfig { dropout: 0.5, ..ClassDynamicsConfig::new(3, 8) };
    let dynamics = ClassDynamics::new(config, store.var_builder()).unwrap();
    let maps = candle_core::Var::from_tensor(&random(&[2, 64], 3)).unwrap();
    let field = dynamics.field_with_dropout(maps.as_tensor(), &mut Rng::new(5)).unwrap();
    let zeros = Tensor::zeros((2, 3), DType::F64, &Device::Cpu).unwrap();
    let options = Solve::default().method(Tableau::rk4()).fixed(0.01);
    let end = || solve_tensors(&field, &zeros, (0., 0.3), &options).unwrap().last().unwrap();
    assert_eq!(f64s(&end()), f64s(&end()));
    let without =
        solve_tensors(&dynamics.field(maps.as_tensor()).unwrap(), &zeros, (0., 0.3), &options).unwrap().last().unwrap();
    assert_ne!(f64s(&end()), f64s(&without));
    // the gradient is that of the same masks
    let gradient = f64s(backward(&ops::sum_all(&end()).unwrap()).unwrap().get(&maps).unwrap());
    let direction = random(&[2, 64], 8);
    let moved = |h: f64| {
        let maps = (maps.as_tensor() + (&direction * h).unwrap()).unwrap();
        let field = dynamics.field_with_dropout(&maps, &mut Rng::new(5)).unwrap();
        f64s(&solve_tensors(&field, &zeros, (0., 0.3), &options).unwrap().last().unwrap()).iter().sum::<f64>()
    };
    let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
    let expected: f64 = gradient.iter().zip(f64s(&direction)).map(|(g, d)| g * d).sum();
    assert!((slope - expected).abs() < 1e-4 * (1. + expected.abs()), "{slope} {expected}");
    // the loss: another value with other noise, the same without
    let states = Region::UniformBall { half_range: 15. }.draw(9, 3, DType::F64, &mut Rng::new(1)).unwrap();
    let loss = |seed: Option<u64>| {
        let mut rng = Rng::new(seed.unwrap_or(0));
        let mut mode = if seed.is_some() { Mode::train(&mut rng) } else { Mode::evaluate() };
        f64s(&LyapunovLoss::default().forward(&dynamics, maps.as_tensor(), &[0, 2], &states, &mut mode).unwrap().loss)
            [0]
    };
    assert_eq!(loss(Some(1)), loss(Some(1)));
    assert!(loss(Some(1)) != loss(Some(2)) && loss(None) != loss(Some(1)));
}

#[test]
fn training_reaches_all_classes_early_and_the_path_form_runs() {
    let store = ParamStore::new(5, DType::F32, &Device::Cpu);
    let layer = core_tensor::nn::linear(2, 16 * 16, store.var_builder().pp("map")).unwrap();
    let map = move |x: &Tensor, _: &mut Mode<'_>| Ok(candle_nn::Module::forward(&layer, x)?);
    let config = ClassDynamicsConfig::new(3, 16);
    let model = LyaNet::new(
        map,
        ClassDynamics::new(config, store.var_builder().pp("dynamics")).unwrap().with_gain(5.).unwrap(),
    );
    let mut rng = Rng::new(4);
    let angles: Vec<f64> = (0..60).map(|at| f64::from(at % 3) * 2.1 + 0.3 * (rng.unit() - 0.5)).collect();
    let points: Vec<f32> = angles.iter().flat_map(|angle| [angle.cos() as f32, angle.sin() as f32]).collect();
    let labels: Vec<u32> = (0..60).map(|at| at % 3).collect();
    let x = Tensor::from_vec(points, (60, 2), &Device::Cpu).unwrap();
    let mut adam = Adam::new(&store, AdamConfig { learning_rate: 3e-3, ..AdamConfig::default() }).unwrap();
    let loss = LyapunovLoss::default();
    let (mut first, mut last) = (f64::NAN, f64::NAN);
    for step in 0..300 {
        let region = (Region::UniformRadius { half_range: 15. }, 32);
        let found = model.loss(&x, &labels, &loss, region, &mut rng, &mut Mode::evaluate()).unwrap();
        adam.backward_step(&found.loss).unwrap();
        last = f64s(&found.loss)[0];
        if step == 0 {
            first = last;
        }
    }
    assert!(last < 0.5 * first, "{first} {last}");
    let times = [0.05, 0.5, 1.];
    let options = Solve::default().method(Tableau::rk4()).fixed(0.05).at(times);
    let solution = model.solve(&x, &options, &mut Mode::evaluate()).unwrap();
    for (at, t) in times.iter().enumerate() {
        let logits = solution.states().get(at).unwrap();
        let right =
            logits.argmax(1).unwrap().to_vec1::<u32>().unwrap().iter().zip(&labels).filter(|(a, b)| a == b).count();
        assert!(right >= 57, "{right} of 60 at {t}");
    }
    // states on the trajectories
    let solver = Solve::default().tolerance(1e-3);
    let found = model.path_loss(&x, &labels, &loss, (6, 0.5), &solver, &mut rng, &mut Mode::evaluate()).unwrap();
    assert_eq!(found.violations.dims(), [60, 6]);
    adam.backward_step(&found.loss).unwrap();
}

#[test]
fn batches_of_one_and_permuted_batches_are_alike() {
    let store = store();
    let dynamics = dynamics(&store, false, 3, 5);
    let maps = random(&[4, 25], 2);
    let states = Region::UniformRadius { half_range: 15. }.draw(7, 3, DType::F64, &mut Rng::new(1)).unwrap();
    let loss = LyapunovLoss::default();
    let whole = loss.forward(&dynamics, &maps, &[0, 1, 2, 1], &states, &mut Mode::evaluate()).unwrap();
    for example in 0..4 {
        let one = maps.narrow(0, example, 1).unwrap();
        let alone = loss.forward(&dynamics, &one, &[[0, 1, 2, 1][example]], &states, &mut Mode::evaluate()).unwrap();
        close("violations", &f64s(&alone.violations), &f64s(&whole.violations.get(example).unwrap()), 1e-10);
    }
    // the field is that of the pairs
    let f = dynamics.pairs(&maps, &states.narrow(0, 0, 1).unwrap()).unwrap();
    let field = dynamics.field(&maps).unwrap();
    let y: Vec<f64> = (0..4).flat_map(|_| f64s(&states.get(0).unwrap())).collect();
    let context = f64s(&maps);
    let packed: Vec<f64> = field.parameters().iter().flat_map(f64s).collect();
    let mut dy = vec![0.; 12];
    let shapes = [vec![4, 3]];
    let at = timeseries::ode::At {
        t: 0.,
        y: &y,
        parameters: &packed,
        context: &context,
        shapes: &shapes,
        context_shape: &[4, 25],
    };
    field.eval(at, &mut dy).unwrap();
    close("f", &dy, &f64s(&f), 1e-12);
}

#[test]
fn schedules_samplers_and_diagnostics() {
    let schedule = GainSchedule::default();
    assert_eq!(schedule.after(100., 0.5, 10), 100. * (1. - 1e-4));
    assert_eq!(schedule.after(1., 0.5, 10), 1.);
    assert_eq!(schedule.after(50., 0.8, 10), 50.);
    assert_eq!(schedule.after(50., 0.2, 61), 50. * (1. + 1e-4));
    assert_eq!(schedule.after(50., 0.05, 61), 50.);
    assert_eq!(schedule.after(100., 0.2, 61), 100.);
    let mut curriculum = PathCurriculum { end: 0.1, step: 0.5, last: 1., enough: 3, patience: 2, done: 0 };
    for violating in [2, 9, 3, 0, 0, 0, 1, 1] {
        curriculum.observe(violating);
    }
    assert_eq!(curriculum.end, 1.);
    for region in [Region::UniformRadius { half_range: 2. }, Region::UniformBall { half_range: 2. }] {
        let states = f64s(&region.draw(4000, 4, DType::F64, &mut Rng::new(1)).unwrap());
        let radii: Vec<f64> = states.chunks(4).map(|h| h.iter().map(|x| x * x).sum::<f64>().sqrt()).collect();
        assert!(radii.iter().all(|radius| *radius <= 4.));
        let mean = radii.iter().sum::<f64>() / 4000.;
        let expected = if matches!(region, Region::UniformRadius { .. }) { 2. } else { 3.2 };
        assert!((mean - expected).abs() < 0.1, "{region:?} {mean}");
    }
    let times = path_times(9, 0.7, &mut Rng::new(2)).unwrap();
    assert!(times.len() == 9 && times[8] == 0.7 && times[0] > 0. && times.windows(2).all(|pair| pair[0] < pair[1]));
    let t: Vec<f64> = (0..21).map(|at| f64::from(at) * 0.05).collect();
    let v: Vec<f64> = t.iter().map(|t| 3. * (-2.5 * t).exp()).collect();
    assert!((empirical_rate(&t, &v).unwrap() - 2.5).abs() < 1e-12);
    assert!(satisfies_bound(&t, &v, 2.5, 1e-9) && !satisfies_bound(&t, &v, 2.6, 1e-9));
    assert_eq!(empirical_rate(&t, &[0.; 21]), None);
    let found = violation(&[0., 2., 0., 4.]);
    assert_eq!((found.fraction, found.mean, found.worst), (0.5, 1.5, 4.));
}

#[test]
fn continuous_net_trains_in_both_ways_and_evaluates() {
    let store = ParamStore::new(3, DType::F32, &Device::Cpu);
    let net =
        ContinuousNet::new(ContinuousNetConfig { width: 4, ..ContinuousNetConfig::new(1, 3) }, store.var_builder())
            .unwrap();
    let x = Rng::new(1).normal(0., 1., (6, 1, 8, 8), DType::F32, &Device::Cpu).unwrap();
    let labels = Tensor::new(&[0u32, 1, 2, 0, 1, 2], &Device::Cpu).unwrap();
    let mut nero = Nero::new(&store, NeroConfig::default()).unwrap();
    let mut rng = Rng::new(2);
    let before = f64s(&ops::cross_entropy(&net.forward(&x, &mut Mode::evaluate()).unwrap(), &labels).unwrap())[0];
    for step in 0..40 {
        let mut mode = Mode::train(&mut rng);
        let loss = match step % 2 {
            0 => ops::cross_entropy(&net.forward(&x, &mut mode).unwrap(), &labels).unwrap(),
            _ => net.lyapunov_loss(&x, &labels, &mut mode).unwrap(),
        };
        nero.backward_step(&loss).unwrap();
    }
    let logits = net.forward(&x, &mut Mode::evaluate()).unwrap();
    let after = f64s(&ops::cross_entropy(&logits, &labels).unwrap())[0];
    assert!(after < before, "{before} {after}");
    // in evaluation the trajectory ends with the logits
    let (end, trajectory) = net.trajectory(&x, &mut Mode::evaluate()).unwrap();
    assert_eq!(f64s(&end), f64s(&trajectory.get(9).unwrap()));
    // with statistics of the batch they do not depend on how often it is asked
    let a = f64s(&net.forward(&x, &mut Mode::train(&mut rng)).unwrap());
    let b = f64s(&net.forward(&x, &mut Mode::train(&mut rng)).unwrap());
    assert_eq!(a, b);
}

#[test]
fn nero_leaves_alone_what_is_not_finite_and_thin() {
    let var = |values: Vec<f64>, shape: &[usize]| {
        candle_core::Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    };
    let thin = var(vec![3., 4.], &[2, 1]);
    let conv = var((0..8).map(f64::from).collect(), &[2, 2, 2]);
    let vars = vec![("thin".to_owned(), thin.clone()), ("conv".to_owned(), conv.clone())];
    let mut nero = Nero::with_constraints(vars, NeroConfig::default(), |_, _| true).unwrap();
    assert_eq!(f64s(&thin), [3., 4.]);
    for neuron in f64s(&conv).chunks(4) {
        assert!(
            neuron.iter().sum::<f64>().abs() < 1e-12 && (neuron.iter().map(|x| x * x).sum::<f64>() - 1.).abs() < 1e-12
        );
    }
    let before = f64s(&conv);
    let weights = Tensor::from_vec(vec![f64::NAN, 1., 1., 1., 1., 2., 3., 4.], (2, 2, 2), &Device::Cpu).unwrap();
    let loss =
        (conv.mul(&weights).unwrap().sum_all().unwrap() + thin.affine(0., 0.).unwrap().sum_all().unwrap()).unwrap();
    nero.step(&loss.backward().unwrap()).unwrap();
    let after = f64s(&conv);
    assert_eq!(after[..4], before[..4]);
    assert_ne!(after[4..], before[4..]);
    assert_eq!(f64s(&thin), [3., 4.], "a gradient of 0 moves nothing");
    let state = nero.state().unwrap();
    nero.load_state(&state).unwrap();
    assert!(Nero::new(vec![("a".to_owned(), thin)], NeroConfig { beta: 1., ..NeroConfig::default() }).is_err());
}

#[test]
fn bad_input_is_an_error() {
    let store = store();
    let dynamics = dynamics(&store, false, 3, 4);
    let (maps, states) = (random(&[2, 16], 1), random(&[5, 3], 2));
    let loss = LyapunovLoss::default();
    let mut mode = Mode::evaluate();
    assert!(loss.forward(&dynamics, &maps, &[0, 3], &states, &mut mode).is_err());
    assert!(loss.forward(&dynamics, &maps, &[0], &states, &mut mode).is_err());
    assert!(loss.forward(&dynamics, &random(&[2, 15], 1), &[0, 1], &states, &mut mode).is_err());
    assert!(loss.forward(&dynamics, &maps, &[0, 1], &random(&[5, 4], 1), &mut mode).is_err());
    assert!(loss.forward(&dynamics, &maps, &[0, 1], &random(&[0, 3], 1), &mut mode).is_err());
    assert!(loss.forward(&dynamics, &maps.to_dtype(DType::F32).unwrap(), &[0, 1], &states, &mut mode).is_err());
    assert!(loss.clone().rate(0.).forward(&dynamics, &maps, &[0, 1], &states, &mut mode).is_err());
    assert!(loss.rate(f64::NAN).forward(&dynamics, &maps, &[0, 1], &states, &mut mode).is_err());
    for gain in [0., -1., f64::NAN, f64::INFINITY] {
        assert!(dynamics.with_gain(gain).is_err());
    }
    for config in [
        ClassDynamicsConfig { classes: 1, ..ClassDynamicsConfig::new(3, 4) },
        ClassDynamicsConfig { width: 0, ..ClassDynamicsConfig::new(3, 4) },
        ClassDynamicsConfig { vertex: 0., ..ClassDynamicsConfig::new(3, 4) },
        ClassDynamicsConfig { dropout: 1., ..ClassDynamicsConfig::new(3, 4) },
    ] {
        assert!(ClassDynamics::new(config, store.var_builder().pp("other")).is_err());
    }
    assert!(dynamics.field(&random(&[0, 16], 1)).is_err());
    let field = dynamics.field(&maps).unwrap();
    let three = Tensor::zeros((3, 3), DType::F64, &Device::Cpu).unwrap();
    assert!(solve_tensors(&field, &three, (0., 1.), &Solve::default()).is_err());
    assert!(Region::UniformRadius { half_range: 0. }.draw(3, 2, DType::F32, &mut Rng::new(1)).is_err());
    assert!(path_times(1, 1., &mut Rng::new(1)).is_err() && path_times(3, 0., &mut Rng::new(1)).is_err());
    let labels = Tensor::new(&[0u32, 1], &Device::Cpu).unwrap();
    assert!(discrete_loss(&random(&[1, 2, 3], 1), &labels, 1., 1.).is_err());
    assert!(discrete_loss(&random(&[4, 2, 3], 1), &labels, -1., 1.).is_err());
    assert!(
        ContinuousNet::new(
            ContinuousNetConfig { width: 0, ..ContinuousNetConfig::new(1, 2) },
            store.var_builder().pp("net")
        )
        .is_err()
    );
    // a very large gain on an untrained network: an error that names the time, not an endless loop
    let fast = dynamics.with_gain(1e9).unwrap().field(&maps).unwrap();
    let zeros = Tensor::zeros((2, 3), DType::F64, &Device::Cpu).unwrap();
    let options = Solve { limits: timeseries::ode::Limits { max_steps: 200 }, ..Solve::default() };
    assert!(solve_tensors(&fast, &zeros, (0., 1.), &options).is_err());
}
