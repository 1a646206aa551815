//! A model trained by several ranks, which are threads, processes connected by TCP, or processes of `mpirun`, whatever the program finds itself in:
//!
//! ```sh
//! cargo run --release -p distributed --example data_parallel                                      # four threads
//! cargo build --release -p distributed --example data_parallel --features mpi
//! mpirun -n 4 target/release/examples/data_parallel                                               # four processes
//! for rank in 0 1; do RANK=$rank WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 target/release/examples/data_parallel & done; wait
//! ```
//!
//! Each rank prints its loss and a checksum of the parameters, which is the same for all ranks and for all ways to start them. With `--checkpoint FOLDER` the run is saved every ten steps
//! and continues when it is started again. With `--out FOLDER` the first rank writes the loss of each step, as `index.html`, `loss.csv`, `loss.svg` and `run.json`. `--die`, `--stall` and `--uneven` show what becomes of the others when one rank fails.

use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use clap::Parser;
use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
use core_tensor::{nn, ops, params::ParamStore, random::Rng};
use distributed::dragonn::DragonnConfig;
use distributed::selection::TensorSelection;
use distributed::{Communicator, Compression, DataParallel, DataParallelConfig, Error, Launch, launch};
use experiment::{Axis, Plot, Series};
use reproduction::front::{self, Output, Results};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Train a small model on several ranks
///
/// The data are generated, so no file is needed. The ranks are threads of this process, or processes that `mpirun` or RANK, WORLD_SIZE and MASTER_ADDR tell of each other. Each says its loss, a checksum of
/// the parameters, which is the same for all, and the bytes that it sent.
///
/// Example: data_parallel --threads 2 --compression dragonn --ratio 0.01 --out run
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// Ranks, where they are threads of this process
    #[arg(long, default_value_t = 4)]
    threads: usize,
    /// Optimiser steps
    #[arg(long, default_value_t = 60)]
    steps: u64,
    /// Width of the hidden layer, which decides how much there is to send
    #[arg(long, default_value_t = 1024, value_parser = hidden)]
    hidden: usize,
    /// What is sent of a gradient
    #[arg(long, default_value = "dragonn", value_parser = ["none", "dragonn", "top-k"])]
    compression: String,
    /// Fraction of the elements to send
    #[arg(long, default_value_t = 0.01)]
    ratio: f64,
    /// Seconds to wait for other ranks
    #[arg(long, default_value = "60", value_parser = seconds)]
    timeout: Duration,
    /// Train so many times, one after the other, in one process
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Save here every ten steps, and continue from here
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    /// Folder for a page of the run, which the first rank writes
    #[arg(long, value_name = "DIR", conflicts_with = "rounds")]
    out: Option<PathBuf>,
    /// Replace results in a folder that holds files
    #[arg(long)]
    force: bool,
    /// Kill the process of this rank at half of the steps
    #[arg(long)]
    die: Option<usize>,
    /// Let this rank fall silent at half of the steps
    #[arg(long)]
    stall: Option<usize>,
    /// Give this rank a larger model than the others
    #[arg(long)]
    uneven: Option<usize>,
}

/// A number of seconds that a duration can hold.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// A width whose layers have fewer than 2³² elements.
fn hidden(text: &str) -> Result<usize, String> {
    let hidden: usize = text.parse().map_err(|error| format!("{error}"))?;
    if (1..=1 << 24).contains(&hidden) { Ok(hidden) } else { Err("expected 1 to 16777216".to_owned()) }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let how = Launch { threads: arguments.threads, timeout: arguments.timeout };
    let rounds = || (0..arguments.rounds).try_for_each(|_| launch(how, |ranks| train(&arguments, ranks)).map(drop));
    match rounds() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // in one piece: other ranks write to the same terminal
            let text = format!("error: {}\n", front::plain(&error.to_string()));
            let _ = std::io::stderr().write_all(text.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn state(error: impl std::fmt::Display) -> Error {
    Error::State { reason: error.to_string() }
}

fn train(arguments: &Arguments, ranks: Arc<dyn Communicator>) -> distributed::Result<()> {
    const INPUTS: usize = 64;
    let rank = ranks.rank();
    let output = arguments.out.clone().filter(|_| rank == 0).map(|out| Output { out, force: arguments.force });
    let title = "A model trained by several ranks";
    let results = output.map(|output| Results::prepare(title, &output)).transpose().map_err(state)?;
    let hidden = arguments.hidden + usize::from(arguments.uneven == Some(rank));
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let first = nn::linear(INPUTS, hidden, store.var_builder().pp("first"))?;
    let second = nn::linear(hidden, 4, store.var_builder().pp("second"))?;
    let mut optimizer = Sgd::new(store.trainable(), SgdConfig { learning_rate: 0.1, ..SgdConfig::default() })?;
    let config = DataParallelConfig {
        compression: match arguments.compression.as_str() {
            "dragonn" => Compression::Dragonn(DragonnConfig::with_ratio(arguments.ratio)),
            "top-k" => Compression::TopK(arguments.ratio),
            _ => Compression::None,
        },
        selection: TensorSelection::MinElements(10_000),
        dense_steps: 5,
        ..DataParallelConfig::default()
    };
    let mut trainer = DataParallel::new(store.trainable(), ranks.clone(), config)?;
    let mut start = 0;
    if let Some(folder) = &arguments.checkpoint
        && let Some(step) = trainer.load(folder)?
    {
        store.load(folder.join(format!("model-{step}.safetensors")))?;
        start = step;
        front::say(&format!("rank {rank} continues at step {step}"));
    }
    let (begin, mut losses) = (Instant::now(), Vec::new());
    for step in start..arguments.steps {
        if let Some(folder) = &arguments.checkpoint
            && step % 10 == 0
            && step > start
        {
            // SGD without momentum has no state; another optimiser's belongs in here too
            if rank == 0 {
                std::fs::create_dir_all(folder).map_err(state)?;
                store.save(folder.join(format!("model-{step}.safetensors")))?;
            }
            trainer.save(folder)?;
        }
        if step == arguments.steps / 2 && arguments.die == Some(rank) {
            std::process::Command::new("kill").args(["-9", &std::process::id().to_string()]).status().ok();
        }
        if step == arguments.steps / 2 && arguments.stall == Some(rank) {
            std::thread::sleep(arguments.timeout.saturating_mul(3));
        }
        let mut rng = Rng::new(1).fork(&format!("rank {rank}, step {step}"));
        let labels: Vec<u32> = (0..32).map(|_| rng.below(4) as u32).collect();
        let shift = Tensor::from_vec(labels.iter().map(|&l| l as f32 * 0.5).collect(), (32, 1), &Device::Cpu)?;
        let x = rng.normal(0., 1., (32, INPUTS), DType::F32, &Device::Cpu)?.broadcast_add(&shift)?;
        let logits = second.forward(&ops::relu(&first.forward(&x)?)?)?;
        let loss = ops::cross_entropy(&logits, &Tensor::new(labels, &Device::Cpu)?)?;
        optimizer.step(&trainer.backward(&loss)?)?;
        losses.push(trainer.sum(f64::from(loss.to_scalar::<f32>()?))? / ranks.world_size() as f64);
    }
    let mut checksum = 0u64;
    for (_, var) in store.trainable() {
        for value in var.flatten_all()?.to_vec1::<f32>()? {
            checksum = checksum.rotate_left(5).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(value.to_bits());
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let loss = losses.last().copied().unwrap_or(f64::NAN);
    let run = Run { ranks: ranks.world_size(), loss, checksum, bytes: ranks.bytes_sent(), seconds };
    let Run { ranks, bytes, .. } = run;
    front::say(&format!(
        "rank {rank} of {ranks}: loss {loss:.4}, parameters {checksum:016x}, {bytes} bytes sent, {seconds:.3} s"
    ));
    results.map_or(Ok(()), |results| write(arguments, results, start, losses, &run)).map_err(state)
}

/// What the first rank knows in the end.
struct Run {
    ranks: usize,
    loss: f64,
    checksum: u64,
    bytes: u64,
    seconds: f64,
}

fn write(
    arguments: &Arguments,
    mut results: Results,
    start: u64,
    losses: Vec<f64>,
    run: &Run,
) -> experiment::Result<()> {
    let Run { ranks, loss, checksum, bytes, seconds } = run;
    let compression = &arguments.compression;
    results.note(&format!(
        "{ranks} ranks, compression {compression}: loss {loss:.4}, {bytes} bytes sent by the first rank, {seconds:.3} s"
    ));
    let steps = (0..losses.len()).map(|at| (start + at as u64) as f64).collect();
    let lines = vec![Series::new(compression.clone(), steps, losses)];
    let plot = Plot::lines("Loss", Axis::linear("step"), Axis::linear("mean loss of the ranks"), lines);
    results.figure("loss", &plot, "The mean over the ranks of the loss of each step.")?;
    let all = serde_json::json!({
        "ranks": ranks, "compression": compression, "ratio": arguments.ratio, "steps": arguments.steps, "loss": loss,
        "parameters": format!("{checksum:016x}"), "bytes_sent": bytes, "seconds": seconds,
    });
    results.json("run", "the last loss, the checksum of the parameters, bytes and seconds", &all)?;
    results.finish(match compression.as_str() {
        "none" => "compare with --compression dragonn or top-k: bytes, and the loss at the same step",
        _ => "compare the loss at the same step with --compression none",
    })
}
