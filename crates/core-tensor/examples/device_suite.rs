//! Every operation on a device beside the same on the CPU: values, gradients and times, in one program that can be built where there is no
//! such device and carried to a machine that has one.
//!
//! ```bash
//! cargo build --release -p core-tensor --features cuda --example device_suite    # metal on a Mac
//! target/release/examples/device_suite check cuda        # exit code 0 when all agree
//! target/release/examples/device_suite time cuda         # seconds of forward and backward, one JSON object a line
//! target/release/examples/device_suite list
//! ```
//!
//! The name of an operation, or a part of it, as a last argument runs only those.

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::ops::{
    self, AttentionConfig, Conv1dConfig, Conv2dConfig, ConvTranspose2dConfig, Epilogue, Pool2dConfig,
};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::random::Rng;
use core_tensor::sparse::{Index, Segments, SparsePattern};
use core_tensor::{Result, device};
use std::process::ExitCode;
use std::time::Instant;

/// An operation with the shapes of its arguments, small ones to compare and larger ones to time.
struct Operation {
    name: &'static str,
    shapes: &'static [&'static [usize]],
    run: fn(&[Tensor]) -> Result<Tensor>,
}

macro_rules! operations {
    ($($name:literal, [$($shape:expr),*], $run:expr;)*) => {
        &[$(Operation { name: $name, shapes: &[$(&$shape),*], run: $run }),*]
    };
}

const PADDED: Conv2dConfig = Conv2dConfig { stride: (1, 1), padding: (1, 1), dilation: (1, 1), groups: 1 };
const WINDOW: Pool2dConfig = Pool2dConfig { kernel: (3, 3), stride: (2, 2), padding: (1, 1) };

const OPERATIONS: &[Operation] = operations! {
    "linear", [[300, 70], [50, 70], [50]], |t| ops::linear(&t[0], &t[1], Some(&t[2]));
    "matmul", [[6, 40, 30], [6, 30, 20]], |t| ops::matmul(&t[0], &t[1]);
    "matmul transposed", [[6, 40, 30], [6, 20, 30]], |t| ops::matmul(&t[0], &t[1].transpose(1, 2)?);
    "bias_add", [[100, 33], [33]], |t| ops::bias_add(&t[0], &t[1]);
    "bias_relu", [[100, 33], [33]], |t| ops::bias_relu(&t[0], &t[1]);
    "bias_gelu", [[100, 33], [33]], |t| ops::bias_gelu(&t[0], &t[1]);
    "relu", [[100, 33]], |t| ops::relu(&t[0]);
    "leaky_relu", [[100, 33]], |t| ops::leaky_relu(&t[0], 0.1);
    "elu", [[100, 33]], |t| ops::elu(&t[0], 1.);
    "sigmoid", [[100, 33]], |t| ops::sigmoid(&t[0]);
    "tanh", [[100, 33]], |t| ops::tanh(&t[0]);
    "gelu", [[100, 33]], |t| ops::gelu(&t[0]);
    "gelu_tanh", [[100, 33]], |t| ops::gelu_tanh(&t[0]);
    "silu", [[100, 33]], |t| ops::silu(&t[0]);
    "sin", [[100, 33]], |t| ops::sin(&t[0]);
    "lgamma", [[100, 33]], |t| ops::lgamma(&ops::affine(&ops::sqr(&t[0])?, 1., 0.1)?);
    "digamma", [[100, 33]], |t| ops::digamma(&ops::affine(&ops::sqr(&t[0])?, 1., 0.1)?);
    "softplus", [[100, 33]], |t| ops::softplus(&t[0]);
    "exp", [[100, 33]], |t| ops::exp(&t[0]);
    "add_relu", [[100, 33], [100, 33]], |t| ops::add_relu(&t[0], &t[1]);
    "swiglu", [[100, 33], [100, 33]], |t| ops::swiglu(&t[0], &t[1]);
    "softmax", [[100, 33]], |t| ops::softmax(&t[0]);
    "log_softmax", [[100, 33]], |t| ops::log_softmax(&t[0]);
    "softmax_dim", [[4, 33, 5]], |t| ops::softmax_dim(&t[0], 1);
    "sum_dim0", [[100, 33]], |t| ops::sum_dim0(&t[0]);
    "sum_all", [[100, 33]], |t| ops::sum_all(&t[0]);
    "layer_norm", [[100, 33], [33], [33]], |t| ops::layer_norm(&t[0], &t[1], &t[2], 1e-5);
    "rms_norm", [[100, 33], [33]], |t| ops::rms_norm(&t[0], &t[1], 1e-5);
    "group_norm", [[4, 6, 5, 7], [6], [6]], |t| ops::group_norm(&t[0], 3, &t[1], &t[2], 1e-5);
    "batch_norm_train", [[8, 6, 5, 7], [6], [6]], |t| Ok(ops::batch_norm_train(&t[0], &t[1], &t[2], 1e-5)?.0);
    "batch_norm_train rows", [[80, 6], [6], [6]], |t| Ok(ops::batch_norm_train(&t[0], &t[1], &t[2], 1e-5)?.0);
    "batch_norm_relu_residual", [[8, 6, 5, 7], [6], [6], [8, 6, 5, 7]], |t| {
        let epilogue = Epilogue { residual: Some(&t[3]), has_relu: true };
        Ok(ops::batch_norm_train_with(&t[0], &t[1], &t[2], 1e-5, &epilogue)?.0)
    };
    "conv2d", [[4, 16, 9, 9], [32, 16, 3, 3], [32]], |t| ops::conv2d(&t[0], &t[1], Some(&t[2]), &PADDED);
    "conv2d stride 2", [[4, 3, 9, 9], [8, 3, 3, 3], [8]], |t| {
        ops::conv2d(&t[0], &t[1], Some(&t[2]), &Conv2dConfig { stride: (2, 2), ..PADDED })
    };
    "conv2d depthwise", [[4, 8, 9, 9], [8, 1, 3, 3]], |t| {
        ops::conv2d(&t[0], &t[1], None, &Conv2dConfig { groups: 8, ..PADDED })
    };
    "conv1d causal", [[4, 5, 40], [6, 5, 3]], |t| {
        ops::conv1d(&t[0], &t[1], None, &Conv1dConfig { is_causal: true, dilation: 2, ..Default::default() })
    };
    "conv_transpose2d", [[3, 4, 5, 5], [4, 3, 4, 4], [3]], |t| {
        let config = ConvTranspose2dConfig { stride: (2, 2), padding: (1, 1), ..Default::default() };
        ops::conv_transpose2d(&t[0], &t[1], Some(&t[2]), &config)
    };
    "max_pool2d", [[3, 4, 9, 9]], |t| ops::max_pool2d(&t[0], WINDOW);
    "avg_pool2d", [[3, 4, 9, 9]], |t| ops::avg_pool2d(&t[0], WINDOW);
    "adaptive_avg_pool2d", [[3, 4, 9, 9]], |t| ops::adaptive_avg_pool2d(&t[0], (2, 4));
    "attention", [[6, 30, 8], [6, 40, 8], [6, 40, 5]], |t| {
        ops::attention(&t[0], &t[1], &t[2], &AttentionConfig::default())
    };
    "attention causal", [[6, 30, 8], [6, 30, 8], [6, 30, 5]], |t| {
        ops::attention(&t[0], &t[1], &t[2], &AttentionConfig { is_causal: true, ..Default::default() })
    };
    "lstm", [[7, 4, 24], [24, 6], [4, 6], [4, 6]], |t| Ok(ops::lstm(&t[0], &t[1], &t[2], &t[3])?.0);
    "gru", [[7, 4, 18], [18, 6], [18], [4, 6]], |t| ops::gru(&t[0], &t[1], &t[2], &t[3]);
    "mse", [[20, 7], [20, 7]], |t| ops::mse(&t[0], &t[1]);
    "huber", [[20, 7], [20, 7]], |t| ops::huber(&t[0], &t[1], 0.7);
    "bce_with_logits", [[20, 7], [20, 7]], |t| ops::bce_with_logits(&t[0], &ops::sigmoid(&t[1])?);
    "soft_cross_entropy", [[20, 7], [20, 7]], |t| ops::soft_cross_entropy(&t[0], &ops::softmax(&t[1])?);
    "cross_entropy", [[20, 7]], |t| ops::cross_entropy(&t[0], &ids(20, 7, t[0].device())?);
    "embedding", [[50, 9]], |t| ops::embedding(&t[0], &ids(80, 50, t[0].device())?);
    "scatter_add", [[80, 9]], |t| ops::scatter_add(&t[0], &ids(80, 30, t[0].device())?, 30);
    "gather", [[50, 9]], |t| Index::new(&numbers(80, 50), 50)?.gather(&t[0]);
    "spmm", [[50, 9]], |t| pattern()?.matmul(&t[0]);
    "spmm weighted", [[200], [50, 9]], |t| pattern()?.matmul_weighted(&t[0], &t[1]);
    "segment_mean", [[50, 9]], |t| pattern()?.segment_mean(&t[0]);
    "segment_max", [[50, 9]], |t| pattern()?.segment_max(&t[0]);
    "segment_softmax", [[200, 3]], |t| pattern()?.segment_softmax(&t[0]);
    "sampled_dot", [[40, 9], [50, 9]], |t| pattern()?.sampled_dot(&t[0], &t[1]);
    "adam", [[300, 7], [300, 7]], |t| adam(&t[0], &t[1]);
    "readout", [[60, 9]], |t| {
        let ids: Vec<u32> = (0..60).map(|i| i / 7).collect();
        Segments::new(&ids, 9)?.sum(&t[0])
    };
};

fn numbers(count: usize, bound: usize) -> Vec<u32> {
    (0..count).map(|i| ((i * 7919 + i * i * 13) % bound) as u32).collect()
}

fn ids(count: usize, bound: usize, device: &Device) -> Result<Tensor> {
    Ok(Tensor::new(numbers(count, bound), device)?)
}

fn pattern() -> Result<SparsePattern> {
    SparsePattern::from_edges(40, 50, &numbers(200, 40), &numbers(200, 50))
}

/// Some steps from `start` towards `target`.
fn adam(start: &Tensor, target: &Tensor) -> Result<Tensor> {
    let var = Var::from_tensor(&start.detach())?;
    let config = AdamConfig { learning_rate: 0.1, weight_decay: 0.01, ..AdamConfig::default() };
    let mut optimizer = Adam::new(vec![("x".to_string(), var.clone())], config)?;
    for _ in 0..5 {
        optimizer.backward_step(&(var.as_tensor() - target.detach())?.sqr()?.sum_all()?)?;
    }
    Ok(var.as_detached_tensor())
}

/// The result and the gradients of all arguments, on the CPU.
fn evaluate(operation: &Operation, device: &Device) -> Result<Vec<Tensor>> {
    let mut rng = Rng::new(1);
    let leaves: Vec<Var> = operation
        .shapes
        .iter()
        .map(|shape| Ok(Var::from_tensor(&rng.normal(0., 1., *shape, DType::F32, &Device::Cpu)?.to_device(device)?)?))
        .collect::<Result<_>>()?;
    let inputs: Vec<Tensor> = leaves.iter().map(|leaf| leaf.as_tensor().clone()).collect();
    let y = (operation.run)(&inputs)?;
    let seed = rng.uniform(0.5, 1.5, y.shape(), DType::F32, &Device::Cpu)?.to_device(device)?;
    let grads = (&y * seed)?.sum_all()?.backward()?;
    let mut out = vec![y.detach().to_device(&Device::Cpu)?];
    for leaf in &leaves {
        out.push(match grads.get(leaf) {
            Some(grad) => grad.to_device(&Device::Cpu)?,
            None => leaf.zeros_like()?.to_device(&Device::Cpu)?,
        });
    }
    Ok(out)
}

/// The largest difference relative to the size of the values.
fn difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    let list = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
    let (a, b) = (list(a)?, list(b)?);
    if a.len() != b.len() {
        return Ok(f64::INFINITY);
    }
    let scale = a.iter().fold(1f32, |scale, v| scale.max(v.abs()));
    // A NaN on one side only must not pass.
    let differences =
        a.iter().zip(&b).map(|(a, b)| if a.is_nan() && b.is_nan() { 0. } else { f64::from((a - b).abs() / scale) });
    Ok(differences.fold(0., |m, d| if d > m || d.is_nan() { d } else { m }))
}

/// Sums in another order, and TF32 off: what f32 leaves.
const TOLERANCE: f64 = 2e-4;

fn run() -> Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = arguments.first().map_or("check", String::as_str);
    let device = device::parse(arguments.get(1).map_or("cpu", String::as_str))?;
    let filter = arguments.get(2).map_or("", String::as_str);
    let mut is_right = true;
    for operation in OPERATIONS.iter().filter(|operation| operation.name.contains(filter)) {
        match command {
            "list" => println!("{}", operation.name),
            "time" => {
                evaluate(operation, &device)?;
                let mut best = f64::INFINITY;
                for _ in 0..5 {
                    let start = Instant::now();
                    evaluate(operation, &device)?;
                    best = best.min(start.elapsed().as_secs_f64());
                }
                println!(r#"{{"name":"{}","seconds":{best}}}"#, operation.name);
            }
            "check" => {
                let worst = match (evaluate(operation, &Device::Cpu), evaluate(operation, &device)) {
                    (Ok(expected), Ok(got)) => expected
                        .iter()
                        .zip(&got)
                        .map(|(a, b)| difference(a, b))
                        .try_fold(0f64, |m, d| d.map(|d| m.max(d)))?,
                    (Err(error), _) | (_, Err(error)) => {
                        println!("FAILED {:<28} {error}", operation.name);
                        is_right = false;
                        continue;
                    }
                };
                let agrees = worst <= TOLERANCE;
                is_right &= agrees;
                println!("{} {:<28} {worst:.1e}", if agrees { "ok    " } else { "FAILED" }, operation.name);
            }
            other => {
                eprintln!("`{other}` is none of check, time, list");
                return Ok(false);
            }
        }
    }
    Ok(is_right)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
