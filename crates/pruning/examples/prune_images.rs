//! Train a network on your images, prune it, and see what each structure costs and saves: `cargo run --release -p pruning --example prune_images -- train.npz test.npz --arch small-cnn --method imp,regroup,refill --rounds 8 --out tickets`.
//!
//! The archives hold `x`, images `[n, channels, height, width]` or `[n, height, width]`, and `y`, a class from 0 for each. Images are standardised by the training images; nothing is augmented. The network is trained with SGD, then pruned by a
//! fifth of what is left and put back to an early step, round after round (iterative magnitude pruning with rewinding). At every `--every`-th round the other methods make whole channels or dense blocks of the scattered mask, and
//! their tickets are trained from the same step. Every ticket is compiled, compared with its masked network, and timed beside the compiled dense network.
//!
//! Written to `--out`: `front.csv` and `front.svg` (accuracy against time), for each ticket `masks-<method>-<round>.safetensors` and `network-<method>-<round>.safetensors`, which `pruning::Compiled::load` runs; rounds, from which an interrupted
//! search goes on with the same command (with other settings it refuses, or begins anew by `--force`). The accuracy is that on the test images after the last epoch: nothing is selected by it.

#[path = "own_data/images.rs"]
mod images;
#[path = "own_data/networks.rs"]
mod networks;

use candle_core::{DType, Device};
use clap::{Parser, ValueEnum};
use core_tensor::Mode;
use core_tensor::ops;
use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::{Rest, minibatches};
use experiment::{Axis, Plot, Series};
use images::Images;
use networks::Fallible;
use pruning::{
    CompileOptions, Compiled, Mask, MaskedOptimizer, Masks, Model, Network, Parts, Refill, Regroup, Round, Scope,
    TicketOptions, Tickets, compile,
};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TicketMethod {
    /// Scattered weights
    Imp,
    /// Whole channels
    Refill,
    /// More of them
    RefillPlus,
    /// Dense blocks
    Regroup,
}

/// Prune a network that is trained on your images
#[derive(Debug, Parser)]
#[command(after_help = format!("Networks: {}.", networks::NAMES))]
struct Arguments {
    /// Training images, .npz with `x` and `y`
    train: PathBuf,
    /// Test images, likewise
    test: PathBuf,
    /// The network
    #[arg(long, default_value = "small-cnn")]
    arch: String,
    /// What is made of the scattered tickets
    #[arg(long, value_enum, value_delimiter = ',', default_value = "imp,regroup,refill")]
    method: Vec<TicketMethod>,
    /// Rounds of pruning: the share 0.8^rounds of the weights is left
    #[arg(long, default_value_t = 8)]
    rounds: usize,
    /// Structures are made at every so many rounds
    #[arg(long, default_value_t = 2)]
    every: usize,
    /// Epochs of each training
    #[arg(long, default_value_t = 4)]
    epochs: usize,
    /// Images of a step
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// The first learning rate; a tenth of it from half of the epochs on, a hundredth from three quarters on
    #[arg(long, default_value_t = 0.1)]
    learning_rate: f64,
    /// The step to which weights go back
    #[arg(long, default_value_t = 20)]
    rewind: usize,
    /// From which all random numbers follow
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The folder of the results
    #[arg(long, default_value = "tickets")]
    out: PathBuf,
    /// Begin anew where the folder holds rounds of other settings
    #[arg(long)]
    force: bool,
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

/// What stays the same over all trainings.
struct Job<'a> {
    arguments: &'a Arguments,
    train: Images,
    test: Images,
    network: Network,
    model: Model,
    store: ParamStore,
}

/// A row of the front.
struct Row {
    method: String,
    round: usize,
    density: f64,
    accuracy: f64,
    milliseconds: f64,
}

fn run(arguments: &Arguments) -> Fallible<()> {
    core_tensor::memory::configure();
    if arguments.every == 0 || arguments.epochs == 0 || arguments.batch == 0 {
        return Err("--every, --epochs and --batch must be at least 1".into());
    }
    let (train, test) = (Images::read(&arguments.train)?, Images::read(&arguments.test)?);
    if train.image() != test.image() {
        let (a, b) = (train.image(), test.image());
        return Err(format!(
            "{} has images of {b:?}, {} of {a:?}",
            arguments.test.display(),
            arguments.train.display()
        )
        .into());
    }
    let classes = train.labels.iter().copied().max().map_or(0, |largest| largest as usize + 1);
    if let Some(at) = test.labels.iter().position(|&label| label as usize >= classes) {
        let label = test.labels[at];
        return Err(format!("{}: label {at} is {label}, which no training image has", arguments.test.display()).into());
    }
    let steps = train.len().div_ceil(arguments.batch) * arguments.epochs;
    if arguments.rewind >= steps {
        return Err(format!("--rewind {} is not below the {steps} steps of a training", arguments.rewind).into());
    }
    begin(arguments, &train)?;
    let statistics = train.statistics()?;
    let (train, test) = (train.standardized(&statistics)?, test.standardized(&statistics)?);
    let network = networks::by_name(&arguments.arch, train.image(), classes)?;
    let store = ParamStore::new(arguments.seed, DType::F32, &Device::Cpu);
    let model = network.build(store.var_builder())?;
    println!(
        "{} images for training, {} for tests, {classes} classes; {:.1} million multiplications an image, {} trainings of {steps} steps",
        train.len(),
        test.len(),
        network.multiplications() as f64 / 1e6,
        1 + arguments.rounds + arguments.rounds / arguments.every * structures(arguments).count(),
    );
    let job = Job { arguments, train, test, network, model, store };
    let scope = Scope { exclude: vec!["conv1.weight".into()], ..Scope::convolutions() };
    let options = TicketOptions {
        rounds: arguments.rounds,
        folder: Some(arguments.out.join("rounds")),
        ..TicketOptions::default()
    };
    let mut tickets = Tickets::new(job.store.clone(), &scope, options)?;
    tickets.run(None, |round| job.training(round))?;

    job.store.restore(tickets.dense()?)?;
    let dense = compile(&job.network, &job.store, &Masks::default(), &CompileOptions::default())?;
    let mut rows = vec![job.row("dense", 0, &Masks::default(), &dense)?];
    for ticket in tickets.found() {
        if arguments.method.contains(&TicketMethod::Imp) {
            job.store.restore(&ticket.trained)?;
            rows.push(job.finish("imp", ticket.round, &ticket.masks, &dense)?);
        }
        if ticket.round % arguments.every != 0 {
            continue;
        }
        for &method in structures(arguments) {
            let regroup = Regroup { parts: Parts::PerRows(32), imbalance: 0.0, ..Regroup::default() };
            let make = |_: &str, mask: &Mask, weights: &[f64]| match method {
                TicketMethod::Regroup => Ok(regroup.apply(mask)?.mask),
                TicketMethod::RefillPlus => Refill { extra: 0.15, ..Refill::default() }.apply(mask, weights),
                _ => Refill::default().apply(mask, weights),
            };
            let masks = job.network.with_norms(&tickets.structured(ticket.round, &make)?)?;
            tickets.rewind(&masks)?;
            job.steps(&masks, ticket.round as u64, &mut |_| Ok(()))?;
            let name = method.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
            rows.push(job.finish(&name, ticket.round, &masks, &dense)?);
        }
    }
    write(arguments, &rows)
}

/// Makes the folder of the results; refuses one with rounds that were trained with other settings, which would be taken for those of this run.
fn begin(arguments: &Arguments, train: &Images) -> Fallible<()> {
    let (rounds, path) = (arguments.out.join("rounds"), arguments.out.join("settings.json"));
    let sum = f64::from(train.x.sum_all()?.to_scalar::<f32>()?);
    let settings = serde_json::to_string_pretty(&serde_json::json!({
        "images": { "shape": train.x.dims(), "sum": format!("{sum:e}") },
        "arch": arguments.arch,
        "epochs": arguments.epochs,
        "batch": arguments.batch,
        "learning_rate": arguments.learning_rate,
        "rewind": arguments.rewind,
        "seed": arguments.seed,
    }))?;
    let fail = |error: std::io::Error| format!("{}: {error}", arguments.out.display());
    let is_other = rounds.exists() && std::fs::read_to_string(&path).ok().as_deref() != Some(settings.as_str());
    if is_other && !arguments.force {
        let reason = "holds rounds of other images or settings (settings.json): name another folder, or add --force to begin anew";
        return Err(format!("{} {reason}", arguments.out.display()).into());
    }
    if is_other {
        std::fs::remove_dir_all(&rounds).map_err(fail)?;
    }
    std::fs::create_dir_all(&arguments.out).map_err(fail)?;
    Ok(std::fs::write(&path, settings).map_err(fail)?)
}

/// The methods that need trainings of their own.
fn structures(arguments: &Arguments) -> impl Iterator<Item = &TicketMethod> {
    arguments.method.iter().filter(|method| **method != TicketMethod::Imp)
}

impl Job<'_> {
    fn training(&self, round: &mut Round<'_>) -> pruning::Result<()> {
        let masks = round.masks().clone();
        let seed = round.index() as u64;
        println!("round {seed}, density {:.3}", masks.density());
        self.steps(&masks, seed, &mut |step| if step == self.arguments.rewind { round.mark() } else { Ok(()) })
    }

    /// Trains the store with masks; calls `before` with the number of each step.
    fn steps(
        &self,
        masks: &Masks,
        seed: u64,
        before: &mut dyn FnMut(usize) -> pruning::Result<()>,
    ) -> pruning::Result<()> {
        let Arguments { epochs, batch, learning_rate, .. } = *self.arguments;
        let config = SgdConfig { learning_rate, momentum: 0.9, weight_decay: 1e-4, ..SgdConfig::default() };
        let mut optimizer = MaskedOptimizer::new(Sgd::new(self.store.trainable(), config)?, masks.clone())?;
        let mut rng = Rng::new(self.arguments.seed + seed).fork("training");
        let mut step = 0;
        for epoch in 0..epochs {
            let drops = usize::from(2 * epoch >= epochs) + usize::from(4 * epoch >= 3 * epochs);
            optimizer.set_learning_rate(learning_rate * 0.1f64.powi(drops as i32));
            for rows in minibatches(self.train.len(), batch, Rest::Keep, &mut rng)?.iter() {
                before(step)?;
                let (x, labels) = self.train.batch(rows)?;
                let logits = self.model.forward(&x, &mut Mode::train(&mut rng))?;
                optimizer.backward_step(&ops::cross_entropy(&logits, &labels)?)?;
                step += 1;
            }
        }
        Ok(())
    }

    /// Compiles a ticket that has been trained, and writes it.
    fn finish(&self, method: &str, round: usize, masks: &Masks, dense: &Compiled) -> Fallible<Row> {
        let compiled = compile(&self.network, &self.store, masks, &CompileOptions::default())?;
        let (x, _) = self.test.batch(&(0..self.test.len().min(32) as u32).collect::<Vec<_>>())?;
        let expected = self.model.forward(&x, &mut Mode::evaluate())?;
        let difference = (compiled.forward(&x)? - &expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
        let size = expected.abs()?.max_all()?.to_scalar::<f32>()?;
        if difference > 1e-3 * size.max(1.0) {
            return Err(format!("{method}, round {round}: the compiled network differs by {difference}").into());
        }
        let out = |name: &str| self.arguments.out.join(format!("{name}-{method}-{round}.safetensors"));
        masks.save(out("masks"))?;
        compiled.save(out("network"))?;
        let row = self.row(method, round, masks, &compiled)?;
        let own_and_dense = [&compiled, dense].map(|network| self.time(network));
        let [own, dense] = own_and_dense;
        println!(
            "{method}, round {round}: density {:.3}, accuracy {:.2} %, {:.2} times as fast as dense",
            row.density,
            row.accuracy,
            dense? / own?
        );
        Ok(row)
    }

    fn row(&self, method: &str, round: usize, masks: &Masks, compiled: &Compiled) -> Fallible<Row> {
        let rows: Vec<u32> = (0..self.test.len() as u32).collect();
        let mut right = 0;
        for rows in rows.chunks(512) {
            let (x, labels) = self.test.batch(rows)?;
            let found = compiled.forward(&x)?.argmax(1)?.to_vec1::<u32>()?;
            right += found.iter().zip(labels.to_vec1::<u32>()?).filter(|(a, b)| **a == *b).count();
        }
        let weights: Masks = masks
            .iter()
            .filter(|(_, mask)| mask.shape().len() > 1)
            .map(|(name, mask)| (name.to_owned(), mask.clone()))
            .collect();
        Ok(Row {
            method: method.to_owned(),
            round,
            density: weights.density(),
            accuracy: 100.0 * right as f64 / self.test.len() as f64,
            milliseconds: 1e3 * self.time(compiled)?,
        })
    }

    /// The shortest of some runs of a batch.
    fn time(&self, compiled: &Compiled) -> Fallible<f64> {
        let count = self.test.len().min(self.arguments.batch) as u32;
        let (x, _) = self.test.batch(&(0..count).collect::<Vec<_>>())?;
        let mut best = f64::INFINITY;
        for _ in 0..8 {
            let start = Instant::now();
            std::hint::black_box(compiled.forward(&x)?);
            best = best.min(start.elapsed().as_secs_f64());
        }
        Ok(best)
    }
}

fn write(arguments: &Arguments, rows: &[Row]) -> Fallible<()> {
    let mut table = csv::Writer::from_path(arguments.out.join("front.csv"))?;
    table.write_record(["method", "round", "density", "accuracy_percent", "milliseconds_a_batch"])?;
    for row in rows {
        table.write_record([
            row.method.clone(),
            row.round.to_string(),
            format!("{:.4}", row.density),
            format!("{:.3}", row.accuracy),
            format!("{:.4}", row.milliseconds),
        ])?;
    }
    table.flush()?;
    let mut methods: Vec<&str> = rows.iter().map(|row| row.method.as_str()).collect();
    methods.dedup();
    methods.sort_unstable();
    methods.dedup();
    let series = methods.into_iter().map(|method| {
        let own = || rows.iter().filter(|row| row.method == method);
        Series::new(method, own().map(|row| row.milliseconds).collect(), own().map(|row| row.accuracy).collect())
    });
    let (x, y) = (Axis::linear("ms for a batch"), Axis::linear("accuracy on the test images, %"));
    let plot = Plot::scatter("Accuracy against time", x, y, series.collect());
    std::fs::write(arguments.out.join("front.svg"), plot.svg_file("front", "accuracy after the last epoch")?)?;
    println!("written to {}: front.csv, front.svg, masks and compiled networks", arguments.out.display());
    Ok(())
}
