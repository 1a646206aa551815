//! How robust is your classifier? `cargo run --release -p adversarial --example robustness -- --images x.npy --labels y.npy --network carlini-cnn:32,64 --weights w.safetensors --norm linf --epsilon 0.3`.
//!
//! Images are a NumPy array `[n, channels, height, width]` (or without the channels) of elements between `--bounds`, labels class numbers from 0 (an array, or a table of one column). One `.npz` may hold both, as `x` and `y`. Networks, with the parameter names of the crate `vision`:
//!
//! | `--network` | is |
//! |---|---|
//! | `carlini-cnn:32,64` | two blocks of two 3×3 convolutions of these widths, linear layers of 200 |
//! | `madry-cnn` | 5×5 convolutions of 32 and 64, a linear layer of 1024 |
//! | `resnet18`, `resnet18-cifar`, `resnet50` | residual networks with torchvision's names |
//!
//! `--mean` and `--std`, one number for each channel, put the normalisation inside. Prints a report whose first line says what speaks against it, and writes it with figures as one page (`index.html`), `report.json`, `attacks.csv`, `survivors.csv`, `adversarial.npy` and `robustness.svg` to
//! `--out`. Any other network: write a closure, as the README shows.

#[path = "own_data/tiles.rs"]
mod tiles;

use adversarial::Error;
use adversarial::attacks::{Classifier, Loss, Norm, Normalized, RobustnessReport, Suite, ThreatModel};
use candle_core::{DType, Device, Tensor};
use clap::{Parser, ValueEnum};
use core_tensor::Mode;
use core_tensor::params::ParamStore;
use experiment::{Axis, Bars, Plot, Result, Table, Tile};
use reproduction::front::{self, Output, Progress, Results};
use std::cell::RefCell;
use std::path::PathBuf;
use std::process::ExitCode;
use vision::small::{ConvPoolCnnConfig, conv_pool_cnn};
use vision::{ImageNetwork, ImageShape, ResNetConfig, resnet};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Examples for `--help`.
const HELP: &str = "\
Images are an array [n, channels, height, width] between 0 and 1 (--bounds), labels the n class numbers from 0. From PyTorch:

    numpy.save('x.npy', x.numpy()); numpy.save('y.npy', y.numpy())
    safetensors.torch.save_file(model.state_dict(), 'w.safetensors')

Each attack runs on what those before it have left: APGD on cross-entropy, APGD on a second loss, and for linf Square, which asks \
without gradients. Robust accuracy is what survives all of them, and the first line of the report says if it is not to be trusted. \
Written are index.html with all of it, report.json, attacks.csv, survivors.csv (which image was broken by what), adversarial.npy \
and figures.

    robustness --images x.npy --labels y.npy --network carlini-cnn:32,64 --weights w.safetensors --norm linf --epsilon 0.3";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum NormName {
    L1,
    L2,
    Linf,
}

/// Measure a classifier's robustness by several attacks
#[derive(Debug, Parser)]
#[command(after_help = HELP, mut_arg("out", |out| out.default_value("robustness")))]
struct Arguments {
    /// Images, .npy or .npz (`x`)
    #[arg(long)]
    images: PathBuf,
    /// Their classes, .npy, .npz (`y`) or .csv
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
    #[arg(long, default_value_t = ITERATIONS)]
    iterations: usize,
    /// Queries of the attack without gradients
    #[arg(long, default_value_t = QUERIES)]
    queries: usize,
    /// From which all random numbers follow
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

/// Steps and queries for a number to report.
const ITERATIONS: usize = 100;
const QUERIES: usize = 5000;

fn main() -> ExitCode {
    front::main(run)
}

fn network(
    arguments: &Arguments,
    image: ImageShape,
    classes: usize,
    store: &ParamStore,
) -> Result<Box<dyn ImageNetwork>> {
    let vb = || store.frozen_var_builder();
    let (name, widths) = arguments.network.split_once(':').unwrap_or((&arguments.network, ""));
    Ok(match name {
        "carlini-cnn" => {
            let widths: Vec<usize> =
                widths.split(',').map(str::parse).collect::<std::result::Result<_, _>>().unwrap_or_default();
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

fn run(arguments: &Arguments) -> Result<()> {
    let x = front::images(&arguments.images, "x")?;
    let y = front::classes(&arguments.labels, "y")?;
    let (count, channels, height, width) = x.dims4()?;
    if y.len() != count {
        return Err(format!("{} has {} labels for {count} images", arguments.labels.display(), y.len()).into());
    }
    let classes =
        arguments.classes.unwrap_or_else(|| y.iter().copied().max().map_or(0, |largest| largest as usize + 1));
    for (option, given) in [("--mean", &arguments.mean), ("--std", &arguments.std)] {
        if !given.is_empty() && given.len() != channels {
            return Err(format!("{option} has {} numbers for {channels} channels", given.len()).into());
        }
    }
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

    let mut results = Results::prepare("What survives attacks on a classifier", &arguments.output)?;
    let attacks = suite.names().join(", ");
    results.say(&format!("{count} images of {channels} × {height} × {width}, {classes} classes; attacks: {attacks}"));
    // the most points that each attack asks for, of one image; last the check at a large budget
    let points = arguments.iterations + 1;
    let searches = if classes > 3 { (classes - 1).min(9) } else { 1 };
    let most = vec![points, points * searches, arguments.queries, 51];
    let most = if norm == Norm::Linf { most } else { vec![most[0], most[1], most[3]] };
    let model = Watched::new(model, count, most);
    let found = suite.run_watched(&model, &x, &y, &threat, arguments.seed, &mut |attack, alive| {
        model.begins(attack, alive);
    });
    drop(model);
    let report = found.map_err(|error| of_file(arguments, &error))?;
    write(arguments, results, &x, &report)
}

/// The error, with the file that it is about.
fn of_file(arguments: &Arguments, error: &Error) -> String {
    match error {
        Error::InvalidConfig { what: "the inputs", .. } => format!("{}: {error}", arguments.images.display()),
        Error::OutOfRange { .. } => format!("{}: {error}", arguments.labels.display()),
        _ => error.to_string(),
    }
}

/// A model whose points are counted for the progress that is shown.
struct Watched<M> {
    model: M,
    /// The most points that each attack asks for, of one image.
    most: Vec<usize>,
    count: RefCell<Count>,
}

struct Count {
    progress: Progress,
    total: usize,
    /// The most that is left when the present attack begins.
    left: usize,
    asked: usize,
}

impl<M> Watched<M> {
    fn new(model: M, images: usize, most: Vec<usize>) -> Self {
        let total = (images * most.iter().sum::<usize>()).max(1);
        let count = Count { progress: Progress::new("attacking", "points", total), total, left: total, asked: 0 };
        Self { model, most, count: RefCell::new(count) }
    }

    /// An attack begins on that many images; those that are broken need no further points.
    fn begins(&self, attack: usize, images: usize) {
        let mut count = self.count.borrow_mut();
        count.left = images * self.most.iter().skip(attack).sum::<usize>();
        count.asked = 0;
    }

    fn asked(&self, x: &Tensor) {
        let mut count = self.count.borrow_mut();
        count.asked += x.dims().first().copied().unwrap_or(0);
        let left = count.left.saturating_sub(count.asked).max(1);
        let done = count.total.saturating_sub(left);
        count.progress.at(done, String::new);
    }
}

impl<M: Classifier> Classifier for Watched<M> {
    fn logits(&self, x: &Tensor) -> adversarial::Result<Tensor> {
        self.asked(x);
        self.model.logits(x)
    }

    fn input_gradient(
        &self,
        x: &Tensor,
        of_logits: &mut dyn FnMut(&Tensor) -> adversarial::Result<Tensor>,
    ) -> adversarial::Result<Tensor> {
        self.asked(x);
        self.model.input_gradient(x, of_logits)
    }

    fn fingerprint(&self) -> adversarial::Result<Option<u64>> {
        self.model.fingerprint()
    }
}

fn write(arguments: &Arguments, mut results: Results, x: &Tensor, report: &RobustnessReport) -> Result<()> {
    report.to_string().lines().for_each(|line| results.say(line));
    let mut attacks = Table::new(["attack", "attacked", "broken", "queries", "seconds"]);
    for stage in &report.stages {
        let counts = [stage.attacked, stage.broken, stage.queries].map(|count| count.to_string());
        attacks
            .rows
            .push([std::slice::from_ref(&stage.attack), &counts[..], &[format!("{:.1}", stage.seconds)]].concat());
    }
    results.table("attacks", "Each attack, on the survivors of those before it", &attacks)?;
    let plot = survivors(report);
    let remark = report.to_string().lines().next().unwrap_or_default().to_owned();
    results.figure(
        "robustness",
        &plot.description(remark),
        "Images that are right after each attack, of all images.",
    )?;
    if let Some(plot) = images(arguments, x, report)? {
        results.figure(
            "images",
            &plot,
            "The first images that were broken: as they were, attacked, and the difference.",
        )?;
    }
    let mut table = Table::new(["sample", "right_without_attack", "broken_by"]);
    for (sample, (right, by)) in report.is_right.iter().zip(&report.broken_by).enumerate() {
        let by = by.map_or("", |stage| &report.stages[stage].attack);
        table.rows.push(vec![sample.to_string(), right.to_string(), by.to_owned()]);
    }
    results.table("survivors", "Each image, and what broke it", &table)?;
    results.json("report", "the whole report", report)?;
    report
        .adversarial
        .write_npy(results.path("adversarial.npy", "the worst image found for each, in the order given"))?;
    results.finish(&next(arguments, report))
}

fn survivors(report: &RobustnessReport) -> Plot {
    let mut left = report.clean_accuracy.count;
    let (mut names, mut values) = (vec!["no attack".to_owned()], vec![report.clean_accuracy.value]);
    for stage in &report.stages {
        left -= stage.broken;
        names.push(format!("after {}", stage.attack));
        values.push(left as f64 / report.num_samples as f64);
    }
    let value = Axis::linear("share of all images");
    Plot::bars("Survivors after each attack", value, names, vec![Bars::new("right", values)])
}

/// A few broken images.
fn images(arguments: &Arguments, x: &Tensor, report: &RobustnessReport) -> Result<Option<Plot>> {
    let Some(shape) = tiles::drawable(&x.dims()[1..]) else { return Ok(None) };
    let values = |all: &Tensor, at: usize| -> Result<Vec<f64>> {
        Ok(all.get(at)?.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
    };
    let bounds = (arguments.bounds[0], arguments.bounds[1]);
    let mut rows = Vec::new();
    for (at, by) in report.broken_by.iter().enumerate().filter(|(_, by)| by.is_some()).take(4) {
        let (clean, attacked) = (values(x, at)?, values(&report.adversarial, at)?);
        let by = by.map_or("", |stage| &report.stages[stage].attack);
        let change = attacked.iter().zip(&clean).map(|(y, x)| y - x).collect();
        rows.push(vec![
            tiles::tile(format!("image {at}"), shape, &clean, bounds),
            tiles::tile(by, shape, &attacked, bounds),
            Tile::signed("change", shape, change),
        ]);
    }
    Ok((!rows.is_empty()).then(|| Plot::images("Broken images", rows)))
}

/// What to do with this report.
fn next(arguments: &Arguments, report: &RobustnessReport) -> String {
    let epsilon = arguments.epsilon;
    if !report.flags.is_empty() {
        "mend what the first line of the report names before you believe its numbers".to_owned()
    } else if report.clean_accuracy.count == 0 {
        "no image is right without an attack: check --labels, --mean, --std and the order of the channels".to_owned()
    } else if report.robust_accuracy.count == 0 {
        format!("nothing survives: find where the accuracy falls, for instance at --epsilon {}", epsilon / 4.)
    } else if arguments.iterations < ITERATIONS || arguments.queries < QUERIES {
        format!("for a number to report leave out --iterations and --queries ({ITERATIONS} and {QUERIES})")
    } else {
        format!("see whether it holds at twice the budget (--epsilon {}) and under another --norm", 2. * epsilon)
    }
}
