//! How robust is your classifier? `cargo run --release -p adversarial --example robustness -- --images x.npy --labels y.npy --network carlini-cnn:32,64 --weights w.safetensors --norm linf --epsilon 0.3`.
//!
//! Images are a NumPy array `[n, channels, height, width]` (or without the channels) of elements between `--bounds`, labels class numbers from 0. Networks, with the parameter names of the crate `vision`:
//!
//! | `--network` | is |
//! |---|---|
//! | `carlini-cnn:32,64` | two blocks of two 3×3 convolutions of these widths, linear layers of 200 |
//! | `madry-cnn` | 5×5 convolutions of 32 and 64, a linear layer of 1024 |
//! | `resnet18`, `resnet18-cifar`, `resnet50` | residual networks with torchvision's names |
//!
//! `--mean` and `--std`, one number for each channel, put the normalisation inside. Prints a table whose first line says what speaks against it, and writes `report.json`, `survivors.csv`, `adversarial.npy` and `robustness.svg` to `--out`. Any other network: write a closure, as
//! the README shows.

#[path = "own_data/arrays.rs"]
mod arrays;

use adversarial::attacks::{Loss, Norm, Normalized, RobustnessReport, Suite, ThreatModel};
use arrays::Fallible;
use candle_core::{DType, Device, Tensor};
use clap::{Parser, ValueEnum};
use core_tensor::Mode;
use core_tensor::params::ParamStore;
use experiment::{Axis, Bars, Plot};
use std::path::PathBuf;
use std::process::ExitCode;
use vision::small::{ConvPoolCnnConfig, conv_pool_cnn};
use vision::{ImageNetwork, ImageShape, ResNetConfig, resnet};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum NormName {
    L1,
    L2,
    Linf,
}

/// Measure a classifier's robustness by several attacks
#[derive(Debug, Parser)]
struct Arguments {
    /// Images, .npy
    #[arg(long)]
    images: PathBuf,
    /// Their classes, .npy
    #[arg(long)]
    labels: PathBuf,
    /// The network: carlini-cnn:A,B, madry-cnn, resnet18, resnet18-cifar, resnet50
    #[arg(long)]
    network: String,
    /// Its parameters, .safetensors
    #[arg(long)]
    weights: PathBuf,
    /// The number of its classes [default: one more than the largest label]
    #[arg(long)]
    classes: Option<usize>,
    /// The norm of perturbations
    #[arg(long, value_enum, default_value_t = NormName::Linf)]
    norm: NormName,
    /// Their largest size, in units of the images
    #[arg(long)]
    epsilon: f64,
    /// The least and the largest value of an element
    #[arg(long, num_args = 2, value_names = ["LEAST", "LARGEST"], default_values_t = [0., 1.])]
    bounds: Vec<f64>,
    /// Means of the channels, subtracted first
    #[arg(long, value_delimiter = ',')]
    mean: Vec<f32>,
    /// Deviations of the channels, which are divided by
    #[arg(long, value_delimiter = ',')]
    std: Vec<f32>,
    /// Steps of gradient attacks
    #[arg(long, default_value_t = 100)]
    iterations: usize,
    /// Queries of the attack without gradients
    #[arg(long, default_value_t = 5000)]
    queries: usize,
    /// From which all random numbers follow
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The folder of the results
    #[arg(long, default_value = "robustness")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn network(
    arguments: &Arguments,
    image: ImageShape,
    classes: usize,
    store: &ParamStore,
) -> Fallible<Box<dyn ImageNetwork>> {
    let vb = || store.frozen_var_builder();
    let (name, widths) = arguments.network.split_once(':').unwrap_or((&arguments.network, ""));
    Ok(match name {
        "carlini-cnn" => {
            let widths: Vec<usize> = widths.split(',').map(str::parse).collect::<Result<_, _>>().unwrap_or_default();
            let [first, second] = widths[..] else {
                return Err("--network carlini-cnn needs two widths: carlini-cnn:32,64".into());
            };
            Box::new(conv_pool_cnn(&ConvPoolCnnConfig::carlini([first, second], image, classes), vb())?)
        }
        "madry-cnn" => Box::new(conv_pool_cnn(&ConvPoolCnnConfig::madry(image, classes), vb())?),
        "resnet18" => Box::new(resnet(&ResNetConfig::resnet18(classes), vb())?),
        "resnet18-cifar" => Box::new(resnet(&ResNetConfig::resnet18(classes).cifar(), vb())?),
        "resnet50" => Box::new(resnet(&ResNetConfig::resnet50(classes), vb())?),
        other => {
            return Err(format!(
                "--network {other} is unknown: carlini-cnn:A,B, madry-cnn, resnet18, resnet18-cifar, resnet50"
            )
            .into());
        }
    })
}

fn run(arguments: &Arguments) -> Fallible<()> {
    let x = arrays::images(&arguments.images)?;
    let y = arrays::labels(&arguments.labels)?;
    if y.len() != x.dim(0)? {
        return Err(format!("{} has {} labels for {} images", arguments.labels.display(), y.len(), x.dim(0)?).into());
    }
    let classes =
        arguments.classes.unwrap_or_else(|| y.iter().copied().max().map_or(0, |largest| largest as usize + 1));
    let (_, channels, height, width) = x.dims4()?;
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let network = network(arguments, ImageShape { channels, height, width }, classes, &store)?;
    store.load(&arguments.weights)?;
    let forward = move |x: &Tensor| network.forward(x, &mut Mode::evaluate()).map_err(candle_core::Error::from);
    let mean = if arguments.mean.is_empty() { vec![0.; channels] } else { arguments.mean.clone() };
    let std = if arguments.std.is_empty() { vec![1.; channels] } else { arguments.std.clone() };
    let model = Normalized::new(mean, std, forward)?;
    let norm = match arguments.norm {
        NormName::L1 => Norm::L1,
        NormName::L2 => Norm::L2,
        NormName::Linf => Norm::Linf,
    };
    let threat = ThreatModel::new(norm, arguments.epsilon).bounds(arguments.bounds[0], arguments.bounds[1]);
    let second = if classes > 3 { Loss::TargetedDlr } else { Loss::Margin };
    let suite = Suite::of_size(norm, arguments.iterations, arguments.queries, second);
    let report = suite.run(&model, &x, &y, &threat, arguments.seed)?;
    print!("{report}");
    write(arguments, &report)
}

fn write(arguments: &Arguments, report: &RobustnessReport) -> Fallible<()> {
    let out = |name: &str| arguments.out.join(name);
    std::fs::create_dir_all(&arguments.out).map_err(|error| format!("{}: {error}", arguments.out.display()))?;
    std::fs::write(out("report.json"), serde_json::to_string_pretty(report)?)?;
    let mut table = csv::Writer::from_path(out("survivors.csv"))?;
    table.write_record(["sample", "right_without_attack", "broken_by"])?;
    for (sample, (right, by)) in report.is_right.iter().zip(&report.broken_by).enumerate() {
        let by = by.map_or("", |stage| &report.stages[stage].attack);
        table.write_record([sample.to_string(), right.to_string(), by.to_owned()])?;
    }
    table.flush()?;
    report.adversarial.write_npy(out("adversarial.npy"))?;
    let mut left = report.clean_accuracy.count;
    let (mut names, mut values) = (vec!["no attack".to_owned()], vec![report.clean_accuracy.value]);
    for stage in &report.stages {
        left -= stage.broken;
        names.push(format!("after {}", stage.attack));
        values.push(left as f64 / report.num_samples as f64);
    }
    let plot = Plot::bars(
        "Survivors after each attack",
        Axis::linear("share of all images"),
        names,
        vec![Bars::new("right", values)],
    );
    let remark = report.to_string().lines().next().unwrap_or_default().to_owned();
    std::fs::write(out("robustness.svg"), plot.svg_file("robustness", &remark)?)?;
    println!("written to {}", arguments.out.display());
    Ok(())
}
