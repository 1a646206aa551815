//! Train a network on your images, prune it, and see what each structure costs and saves: `cargo run --release -p pruning --example prune_images -- train.npz test.npz --arch small-cnn --method imp,regroup,refill --rounds 8 --out tickets`.
//!
//! The archives hold `x`, images `[n, channels, height, width]` or `[n, height, width]`, and `y`, a class from 0 for each. Images are standardised by the training images; nothing is augmented. The network is trained with SGD, then pruned by a
//! fifth of what is left and put back to an early step, round after round (iterative magnitude pruning with rewinding). At every `--every`-th round the other methods make whole channels or dense blocks of the scattered mask, and
//! their tickets are trained from the same step. Every ticket is compiled, compared with its masked network, and timed beside the compiled dense network.
//!
//! Written to `--out`: `index.html` with all of it; `front.csv`, `front.json` and `front.svg` (accuracy against time), for each ticket `masks-<method>-<round>.safetensors` and `network-<method>-<round>.safetensors`, which `pruning::Compiled::load` runs; rounds and `settings.txt`, from which an interrupted
//! search goes on with the same command, and with more rounds or other methods; a folder with another search is refused without `--force`. The accuracy is that on the test images after the last epoch: nothing is selected by it.

#[path = "own_data/folder.rs"]
mod folder;
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
use experiment::{Axis, Plot, Result, Series, Table};
use images::Images;
use pruning::{
    CompileOptions, Compiled, Mask, MaskedOptimizer, Masks, Model, Network, Parts, Refill, Regroup, Round, Scope,
    TicketOptions, Tickets, compile,
};
use reproduction::front::{self, Output, Progress, Results};
use std::cell::{Cell, RefCell};
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
///
/// Each archive holds two arrays, as `np.savez("train.npz", x=images, y=labels)` writes them:
///
///   x   [images, channels, height, width] or [images, height, width]
///   y   [images], classes from 0
///
/// A network is trained, pruned by a fifth of what is left, put back to an early step and trained again, round after round; some tickets are made of whole channels or dense blocks as well. Each is compiled, timed beside the compiled dense network, and measured on the test images.
///
/// Written: accuracy against time as CSV, JSON and SVG, masks and compiled networks, and one page, index.html. The same command goes on with a search that was interrupted.
///
/// Example: prune_images train.npz test.npz --arch small-cnn --method imp,regroup,refill --rounds 8 --out tickets
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment, mut_arg("out", |out| out.default_value("tickets")))]
#[command(mut_arg("force", |force| force.help("Remove another search from the folder")))]
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
    /// Images of a step, and of a batch that is timed
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
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    /// What the rounds depend on, one a line.
    fn settings(&self, train: &Images) -> Result<Vec<String>> {
        Ok(vec![
            format!("--arch {}", self.arch),
            format!("--epochs {}", self.epochs),
            format!("--batch {}", self.batch),
            format!("--learning-rate {}", self.learning_rate),
            format!("--rewind {}", self.rewind),
            format!("--seed {}", self.seed),
            format!("training images: {} of {:?}, {:016x}", train.len(), train.image(), train.fingerprint()?),
        ])
    }
}

fn main() -> ExitCode {
    front::main(run)
}

/// What stays the same over all trainings.
struct Job<'a> {
    arguments: &'a Arguments,
    train: Images,
    test: Images,
    network: Network,
    model: Model,
    store: ParamStore,
    /// Steps of a training
    steps: usize,
    progress: RefCell<Option<Progress>>,
    done: Cell<usize>,
}

/// A row of the front.
struct Row {
    method: String,
    round: usize,
    density: f64,
    accuracy: f64,
    milliseconds: f64,
    /// The dense network's time, taken by turns with this one's, by this one's.
    gain: f64,
}

fn run(arguments: &Arguments) -> Result<()> {
    if arguments.every == 0 || arguments.epochs == 0 || arguments.batch == 0 {
        return Err("--every, --epochs and --batch must be at least 1".into());
    }
    if !(arguments.learning_rate > 0.0 && arguments.learning_rate.is_finite()) {
        return Err(format!("--learning-rate {} is no number above 0", arguments.learning_rate).into());
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
    let settings = arguments.settings(&train)?;
    let statistics = train.statistics()?;
    let (train, test) = (train.standardized(&statistics)?, test.standardized(&statistics)?);
    let network = networks::by_name(&arguments.arch, train.image(), classes)?;
    let store = ParamStore::new(arguments.seed, DType::F32, &Device::Cpu);
    let model = network.build(store.var_builder())?;
    folder::prepare(&arguments.output.out, &settings, arguments.output.force)?;
    // the folder is that of this search
    let output = Output { force: true, ..arguments.output.clone() };
    let mut results = Results::prepare("Tickets of a network", &output)?;
    let made = arguments.rounds / arguments.every * structures(arguments).count();
    results.say(&format!(
        "{} images for training, {} for tests, {classes} classes; {:.1} million multiplications an image, {} trainings of {steps} steps",
        train.len(),
        test.len(),
        network.multiplications() as f64 / 1e6,
        1 + arguments.rounds + made,
    ));
    let (progress, done) = (RefCell::new(None), Cell::new(0));
    let job = Job { arguments, train, test, network, model, store, steps, progress, done };
    let scope = Scope { exclude: vec!["conv1.weight".into()], ..Scope::convolutions() };
    let options = TicketOptions {
        rounds: arguments.rounds,
        folder: Some(arguments.output.out.join("rounds")),
        ..TicketOptions::default()
    };
    let mut tickets = Tickets::new(job.store.clone(), &scope, options)?;
    tickets.run(None, |round| job.training(round))?;
    job.begin("training tickets", made);

    job.store.restore(tickets.dense()?)?;
    let dense = compile(&job.network, &job.store, &Masks::default(), &CompileOptions::default())?;
    let mut rows = vec![job.row("dense", 0, &Masks::default(), [&dense, &dense])?];
    for ticket in tickets.found() {
        if arguments.method.contains(&TicketMethod::Imp) {
            job.store.restore(&ticket.trained)?;
            rows.push(job.finish("imp", ticket.round, &ticket.masks, &dense, &mut results)?);
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
            rows.push(job.finish(&name, ticket.round, &masks, &dense, &mut results)?);
        }
    }
    drop(job);
    write(&rows, results)
}

/// The methods that need trainings of their own.
fn structures(arguments: &Arguments) -> impl Iterator<Item = &TicketMethod> {
    arguments.method.iter().filter(|method| **method != TicketMethod::Imp)
}

impl Job<'_> {
    /// Progress over so many trainings.
    fn begin(&self, what: &str, trainings: usize) {
        self.done.set(0);
        // the former ends before the next begins
        drop(self.progress.take());
        self.progress.replace(Some(Progress::new(what, "steps", trainings * self.steps)));
    }

    fn training(&self, round: &mut Round<'_>) -> pruning::Result<()> {
        let masks = round.masks().clone();
        if self.progress.borrow().is_none() {
            // earlier rounds may lie in the folder
            self.begin("training rounds", (1 + self.arguments.rounds).saturating_sub(round.index()));
        }
        let seed = round.index() as u64;
        front::say(&format!("round {seed}, density {:.3}", masks.density()));
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
                self.done.set(self.done.get() + 1);
                if let Some(progress) = &mut *self.progress.borrow_mut() {
                    progress.at(self.done.get(), String::new);
                }
            }
        }
        Ok(())
    }

    /// Compiles a ticket that has been trained, and writes it.
    fn finish(
        &self,
        method: &str,
        round: usize,
        masks: &Masks,
        dense: &Compiled,
        results: &mut Results,
    ) -> Result<Row> {
        let compiled = compile(&self.network, &self.store, masks, &CompileOptions::default())?;
        let (x, _) = self.test.batch(&(0..self.test.len().min(32) as u32).collect::<Vec<_>>())?;
        let expected = self.model.forward(&x, &mut Mode::evaluate())?;
        let difference = (compiled.forward(&x)? - &expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
        let size = expected.abs()?.max_all()?.to_scalar::<f32>()?;
        if difference > 1e-3 * size.max(1.0) {
            return Err(format!("{method}, round {round}: the compiled network differs by {difference}").into());
        }
        let name = |kind: &str| format!("{kind}-{method}-{round}.safetensors");
        masks.save(results.path(&name("masks"), "masks by the name of the parameter"))?;
        compiled.save(results.path(&name("network"), "a compiled network, for pruning::Compiled::load"))?;
        let row = self.row(method, round, masks, [&compiled, dense])?;
        results.say(&format!(
            "{method}, round {round}: density {:.3}, accuracy {:.2} %, {:.2} times as fast as dense",
            row.density, row.accuracy, row.gain
        ));
        Ok(row)
    }

    fn row(&self, method: &str, round: usize, masks: &Masks, [compiled, dense]: [&Compiled; 2]) -> Result<Row> {
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
        let [own, of_dense] = self.times([compiled, dense])?;
        Ok(Row {
            method: method.to_owned(),
            round,
            density: weights.density(),
            accuracy: 100.0 * right as f64 / self.test.len() as f64,
            milliseconds: 1e3 * own,
            gain: of_dense / own,
        })
    }

    /// The shortest of some runs of a batch, by turns.
    fn times(&self, networks: [&Compiled; 2]) -> Result<[f64; 2]> {
        let count = self.test.len().min(self.arguments.batch) as u32;
        let (x, _) = self.test.batch(&(0..count).collect::<Vec<_>>())?;
        let mut best = [f64::INFINITY; 2];
        for _ in 0..8 {
            for (network, best) in networks.iter().zip(&mut best) {
                let start = Instant::now();
                std::hint::black_box(network.forward(&x)?);
                *best = best.min(start.elapsed().as_secs_f64());
            }
        }
        Ok(best)
    }
}

fn write(rows: &[Row], mut results: Results) -> Result<()> {
    let mut table = Table::new(["method", "round", "density", "accuracy_percent", "milliseconds_a_batch"]);
    table.rows.extend(rows.iter().map(|row| {
        vec![
            row.method.clone(),
            row.round.to_string(),
            format!("{:.4}", row.density),
            format!("{:.3}", row.accuracy),
            format!("{:.4}", row.milliseconds),
        ]
    }));
    let caption = "Accuracy on the test images after the last epoch, and time";
    results.table("front", caption, &table)?;
    let mut methods: Vec<&str> = rows.iter().map(|row| row.method.as_str()).collect();
    methods.sort_unstable();
    methods.dedup();
    let series = methods.into_iter().map(|method| {
        let own = || rows.iter().filter(|row| row.method == method);
        Series::new(method, own().map(|row| row.milliseconds).collect(), own().map(|row| row.accuracy).collect())
    });
    let (x, y) = (Axis::linear("ms for a batch"), Axis::linear("accuracy on the test images, %"));
    let plot = Plot::scatter("Accuracy against time", x, y, series.collect());
    results.figure(
        "front",
        &plot,
        "Accuracy after the last epoch. Everything below and to the right of another point is out.",
    )?;
    let all: Vec<_> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "method": row.method, "round": row.round, "density": row.density, "accuracy_percent": row.accuracy,
                "milliseconds_a_batch": row.milliseconds, "times_as_fast_as_dense": row.gain,
            })
        })
        .collect();
    results.json("front", "the same numbers", &all)?;
    results.finish(&next(rows))
}

/// What to do with the fastest ticket that is at most a point worse than the dense network.
fn next(rows: &[Row]) -> String {
    let Some((dense, tickets)) = rows.split_first() else { return String::new() };
    let faster = tickets
        .iter()
        .filter(|row| row.accuracy >= dense.accuracy - 1.0 && row.gain > 1.05)
        .max_by(|a, b| a.gain.total_cmp(&b.gain));
    match faster {
        Some(Row { method, round, .. }) => format!(
            "network-{method}-{round}.safetensors is the fastest that loses at most a point: measure it on images by which nothing was chosen"
        ),
        None => "no ticket is faster and loses at most a point: try more --epochs, --method refill or regroup, other --rounds, or a narrower network".to_owned(),
    }
}
