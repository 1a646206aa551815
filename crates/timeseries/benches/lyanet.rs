//! What must be fast: solves of small and large systems with their gradients, steps of LyaNet and ContinuousNet, Nero. `cargo xtask bench lyanet [--peers]`.

use candle_core::{DType, Device, Module, Tensor, Var};
use core_tensor::nn::{self, BatchNormConfig};
use core_tensor::ops::Conv2dConfig;
use core_tensor::optim::{Adam, AdamConfig, Nero, NeroConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Mode, backward, ops};
use reproduction::bench;
use std::hint::black_box;
use std::time::Instant;
use timeseries::lyanet::{
    ClassDynamics, ClassDynamicsConfig, ContinuousNet, ContinuousNetConfig, LyaNet, LyapunovLoss, Region,
};
use timeseries::ode::{Activation, Adjoint, At, Dynamics, Gradient, MlpField, Solve, Tableau, solve, solve_tensors};
use vision::ImageNetwork;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result {
    core_tensor::memory::configure();
    core_tensor::threads::configure(bench::threads()?)?;
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wants = |name: &str| filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    core_tensor::threads::install(|| -> Result {
        if wants("small") {
            small()?;
        }
        for (widths, batch) in [([2, 16, 2], 16), ([64, 128, 64], 128), ([64, 128, 64], 2048)] {
            if wants("mlp") {
                mlp(widths, batch)?;
            }
        }
        if wants("spiral") {
            lyanet_step("LyaNet step, spiral", [3, 16, 64, 64], |store, outputs| {
                let vb = store.var_builder();
                let layers = [
                    nn::linear(2, 64, vb.pp("0"))?,
                    nn::linear(64, 64, vb.pp("1"))?,
                    nn::linear(64, outputs, vb.pp("2"))?,
                ];
                let map: Map = Box::new(move |x, _| {
                    let x = ops::relu(&layers[0].forward(x)?)?;
                    Ok(layers[2].forward(&ops::relu(&layers[1].forward(&x)?)?)?)
                });
                Ok((map, vec![64, 2]))
            })?;
        }
        if wants("convolutions") {
            lyanet_step("LyaNet step, convolutions", [10, 32, 64, 64], |store, outputs| {
                let vb = store.var_builder();
                let config = Conv2dConfig { stride: (2, 2), padding: (1, 1), ..Conv2dConfig::default() };
                let mut layers = Vec::new();
                for (at, pair) in [1, 16, 32, 64].windows(2).enumerate() {
                    let vb = vb.pp(at.to_string());
                    let conv = nn::conv2d_no_bias(pair[0], pair[1], 3, config, vb.pp("conv"))?;
                    layers.push((conv, nn::batch_norm2d(pair[1], BatchNormConfig::default(), vb.pp("norm"))?));
                }
                let last = nn::linear(1024, outputs, vb.pp("last"))?;
                let map: Map = Box::new(move |x, mode| {
                    let mut x = x.clone();
                    for (conv, norm) in &layers {
                        x = norm.forward_relu(&conv.forward(&x)?, mode)?;
                    }
                    Ok(last.forward(&x.flatten_from(1)?)?)
                });
                Ok((map, vec![64, 1, 28, 28]))
            })?;
        }
        if wants("resnet") {
            lyanet_step("LyaNet step, ResNet-18, 512 states", [10, 128, 64, 512], |store, outputs| {
                let net = vision::resnet(&vision::ResNetConfig::resnet18(outputs), store.var_builder())?;
                let map: Map = Box::new(move |x, mode| Ok(net.forward(x, mode).map_err(candle_core::Error::wrap)?));
                Ok((map, vec![64, 3, 32, 32]))
            })?;
        }
        if wants("continuous") {
            continuous()?;
        }
        if wants("nero") {
            nero()?;
        }
        Ok(())
    })
}

fn measure(name: &str, operation: impl FnMut() -> Result) -> Result {
    bench::measure(name, 0.3, operation)
}

struct Prey;

impl ode_solvers::System<f64, ode_solvers::Vector2<f64>> for Prey {
    fn system(&self, _: f64, y: &ode_solvers::Vector2<f64>, dy: &mut ode_solvers::Vector2<f64>) {
        dy[0] = y[0] * (1.1 - 0.4 * y[1]);
        dy[1] = y[1] * (0.1 * y[0] - 0.4);
    }
}

/// Systems of two numbers.
fn small() -> Result {
    let decay = |_: f64, y: &[f64], dy: &mut [f64]| dy.iter_mut().zip(y).for_each(|(dy, y)| *dy = -2. * y);
    let options = Solve::default().tolerance(1e-9);
    measure("small: y' = -2 y to 10, 1e-9", || {
        black_box(solve(&decay, &[1., 0.5], (0., 10.), &options)?);
        Ok(())
    })?;
    let prey = |_: f64, y: &[f64], dy: &mut [f64]| {
        dy[0] = y[0] * (1.1 - 0.4 * y[1]);
        dy[1] = y[1] * (0.1 * y[0] - 0.4);
    };
    let options = Solve::default().tolerance(1e-6);
    for peer in ["torchdiffeq", "diffrax"] {
        measure(&format!("small: Lotka-Volterra to 20, 1e-6, beside {peer}"), || {
            black_box(solve(&prey, &[10., 5.], (0., 20.), &options)?);
            Ok(())
        })?;
    }
    // ode_solvers at the tolerance where it has our error
    let exact = solve(&prey, &[10., 5.], (0., 20.), &Solve::default().method(Tableau::dopri8()).tolerance(1e-13))?
        .last()
        .to_vec();
    let error = |y: [f64; 2]| (y[0] - exact[0]).abs().max((y[1] - exact[1]).abs());
    let ours = solve(&prey, &[10., 5.], (0., 20.), &options)?;
    let own = error([ours.last()[0], ours.last()[1]]);
    let theirs = |tolerance: f64| -> Result<(f64, f64)> {
        let y0 = ode_solvers::Vector2::new(10., 5.);
        let mut least = f64::INFINITY;
        let mut last = [0.; 2];
        for _ in 0..300 {
            let start = Instant::now();
            let mut solver = ode_solvers::Dopri5::from_param(
                Prey,
                0.,
                20.,
                20.,
                y0,
                tolerance,
                tolerance,
                0.9,
                0.04,
                0.2,
                10.,
                20.,
                0.,
                100_000,
                1000,
                ode_solvers::dop_shared::OutputType::Sparse,
            );
            solver.integrate().map_err(|error| format!("{error:?}"))?;
            least = least.min(start.elapsed().as_secs_f64());
            if let Some(y) = solver.y_out().last() {
                last = [y[0], y[1]];
            }
        }
        Ok((error(last), least))
    };
    let mut time = f64::INFINITY;
    for _ in 0..300 {
        let start = Instant::now();
        black_box(solve(&prey, &[10., 5.], (0., 20.), &options)?);
        time = time.min(start.elapsed().as_secs_f64());
    }
    for exponent in [-5., -5.5, -6., -6.5, -7., -7.5] {
        let (their_error, their_time) = theirs(10f64.powf(exponent))?;
        if their_error <= own {
            let ratio = their_time / time;
            eprintln!(
                "ode_solvers 0.6 at 1e{exponent}: error {their_error:.1e} in {:.1} µs; ours at 1e-6: {own:.1e} in {:.1} µs; {ratio:.2} times as fast",
                their_time * 1e6,
                time * 1e6
            );
            break;
        }
    }
    Ok(())
}

/// A multilayer perceptron in f32, dopri5 at 1e-5, t from 0 to 1.
fn mlp(widths: [usize; 3], batch: usize) -> Result {
    let store = ParamStore::new(1, DType::F32, &Device::Cpu);
    let field = MlpField::new(&widths, Activation::Tanh, store.var_builder())?;
    let y0 = Var::from_tensor(&Rng::new(2).normal(0., 1., (batch, widths[0]), DType::F32, &Device::Cpu)?)?;
    let name = format!("mlp {}-{}-{}, batch {batch}", widths[0], widths[1], widths[2]);
    let options = Solve::default().tolerance(1e-5);
    let forward = options.clone().gradient(Gradient::None);
    let evaluations = solve_tensors(&field, y0.as_tensor(), (0., 1.), &forward)?.statistics.evaluations;
    let mut fastest = f64::INFINITY;
    measure(&format!("{name}, forward"), || {
        let start = Instant::now();
        black_box(solve_tensors(&field, y0.as_tensor(), (0., 1.), &forward)?);
        fastest = fastest.min(start.elapsed().as_secs_f64());
        Ok(())
    })?;
    for (mode, gradient) in [("through steps", Gradient::Auto), ("adjoint", Gradient::Adjoint(Adjoint::default()))] {
        let options = options.clone().gradient(gradient);
        measure(&format!("{name}, {mode}"), || {
            let end = solve_tensors(&field, y0.as_tensor(), (0., 1.), &options)?.last()?;
            black_box(backward(&ops::sum_all(&end)?)?);
            Ok(())
        })?;
    }
    // what the solver adds to the field
    let y = y0.flatten_all()?.to_vec1::<f32>()?;
    let mut packed = Vec::new();
    for parameter in field.parameters() {
        packed.extend(parameter.flatten_all()?.to_vec1::<f32>()?);
    }
    let mut dy = vec![0f32; y.len()];
    let shapes = [vec![batch, widths[0]]];
    let mut one = f64::INFINITY;
    for _ in 0..50 {
        let start = Instant::now();
        field.eval(
            At { t: 0., y: &y, parameters: &packed, context: &[], shapes: &shapes, context_shape: &[] },
            black_box(&mut dy),
        )?;
        one = one.min(start.elapsed().as_secs_f64());
    }
    let flops = 2. * (batch * (widths[0] * widths[1] + widths[1] * widths[2])) as f64;
    eprintln!(
        "{name}: {evaluations} evaluations of {:.1} µs ({:.0} GFLOP/s); the solve takes {:.2} times as long",
        one * 1e6,
        flops / one / 1e9,
        fastest / (evaluations as f64 * one)
    );
    Ok(())
}

type Map = Box<dyn Fn(&Tensor, &mut Mode<'_>) -> timeseries::Result<Tensor>>;

/// A step of training by the Lyapunov loss with Adam: classes, width, batch, states.
fn lyanet_step(
    name: &str,
    [classes, width, batch, states]: [usize; 4],
    map: impl FnOnce(&ParamStore, usize) -> Result<(Map, Vec<usize>)>,
) -> Result {
    let store = ParamStore::new(1, DType::F32, &Device::Cpu);
    let (map, shape) = map(&store, width * width)?;
    let dynamics = ClassDynamics::new(ClassDynamicsConfig::new(classes, width), store.var_builder().pp("dynamics"))?;
    let net = LyaNet::new(map, dynamics.with_gain(5.)?);
    let mut rng = Rng::new(3);
    let x = rng.normal(0., 1., shape, DType::F32, &Device::Cpu)?;
    let labels: Vec<u32> = (0..batch).map(|at| (at % classes) as u32).collect();
    let mut adam = Adam::new(&store, AdamConfig::default())?;
    let region = (Region::UniformRadius { half_range: 15. }, states);
    measure(name, || {
        let mut noise = Rng::new(4);
        let found = net.loss(&x, &labels, &LyapunovLoss::default(), region, &mut rng, &mut Mode::train(&mut noise))?;
        adam.backward_step(&found.loss)?;
        Ok(())
    })?;
    if let Some(peak) = peak_memory() {
        eprintln!("{name}: peak memory of the process {peak} MB");
    }
    Ok(())
}

fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

fn continuous() -> Result {
    let store = ParamStore::new(1, DType::F32, &Device::Cpu);
    let net = ContinuousNet::new(ContinuousNetConfig::new(3, 10), store.var_builder())?;
    let x = Rng::new(2).normal(0., 1., (128, 3, 32, 32), DType::F32, &Device::Cpu)?;
    let labels = Tensor::from_vec((0..128).map(|at| at % 10).collect::<Vec<u32>>(), 128, &Device::Cpu)?;
    let mut adam = Adam::new(&store, AdamConfig::default())?;
    let mut rng = Rng::new(3);
    bench::measure("continuous: step by the cross-entropy", 1., || {
        let logits = net.forward(&x, &mut Mode::train(&mut rng))?;
        adam.backward_step(&ops::cross_entropy(&logits, &labels)?)?;
        Ok(())
    })?;
    Ok(())
}

fn nero() -> Result {
    let shapes: [&[usize]; 6] =
        [&[64, 3, 7, 7], &[128, 64, 3, 3], &[256, 128, 3, 3], &[512, 256, 3, 3], &[512, 512, 3, 3], &[1000, 512]];
    let mut rng = Rng::new(1);
    let mut vars = Vec::new();
    let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu)?;
    for (at, shape) in shapes.iter().enumerate() {
        let var = Var::from_tensor(&rng.normal(0., 1., *shape, DType::F32, &Device::Cpu)?)?;
        loss = (loss + var.sqr()?.sum_all()?)?;
        vars.push((format!("{at}"), var));
    }
    let grads = loss.backward()?;
    let mut nero = Nero::new(vars, NeroConfig::default())?;
    measure("nero: a step of 4.4 million parameters", || {
        nero.step(&grads)?;
        Ok(())
    })
}
