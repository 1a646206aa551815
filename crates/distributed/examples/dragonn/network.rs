//! Training by four processes over a network whose links are slow: network namespaces of this program's own, joined by virtual Ethernet that the kernel's traffic control shapes.
//!
//! Needs Linux, root, and `ip` and `tc` (Debian: `iproute2`); without them the claim stays untested and the report says why.

use crate::generated;
use crate::tasks::{Model, Net};
use candle_core::{Device, Tensor};
use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
use core_tensor::random::Rng;
use distributed::communicator::tcp::{TcpConfig, Token, connect};
use distributed::dragonn::DragonnConfig;
use distributed::selection::TensorSelection;
use distributed::{Compression, DataParallel, DataParallelConfig};
use experiment::{Context, Measured, Result, Scale, Trial};
use serde::{Deserialize, Serialize};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Set for a process that is one worker: `rank method steps`.
pub(crate) const WORKER: &str = "DRAGONN_NETWORK_WORKER";
const RANKS: usize = 4;
const MEGABITS: u32 = 100;
const HIDDEN: usize = 2324;
const PORT: u16 = 29_517;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Measurement {
    /// Steps per second of dense and of compressed exchange, and bytes that a rank sends in a step; or why there are none.
    dense: f64,
    compressed: f64,
    dense_bytes: f64,
    compressed_bytes: f64,
    problem: Option<String>,
}

pub(crate) fn report(context: &mut Context) -> Result<()> {
    if context.scale() == Scale::Smoke {
        return Ok(());
    }
    let outcome = context.trials("network", vec![Trial::new("shaped", MEGABITS)], |_, trial| {
        Ok(measure(trial.seed()).unwrap_or_else(|problem| Measurement {
            dense: 0.,
            compressed: 0.,
            dense_bytes: 0.,
            compressed_bytes: 0.,
            problem: Some(problem),
        }))
    })?;
    let Some(found) = outcome.all()?.into_iter().next() else { return Ok(()) };
    if let Some(problem) = found.problem {
        context.note(format!("No measurement on a real network: {problem}"));
        return Ok(());
    }
    let note = format!(
        "a perceptron 784-{HIDDEN}-10, {} parameters, batch 32 per process: {:.2} steps/s dense ({:.0} bytes sent by a process in a step), {:.2} with DRAGONN at r = 0.001 ({:.0} bytes)",
        784 * HIDDEN + HIDDEN + 10 * HIDDEN + 10,
        found.dense,
        found.dense_bytes,
        found.compressed,
        found.compressed_bytes
    );
    let measured = generated(found.compressed / found.dense, 1, "random inputs");
    context.claim("network-throughput", Measured { note: Some(note), ..measured })
}

fn run(program: &str, arguments: &[&str]) -> std::result::Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{program} {}: {}", arguments.join(" "), said.trim()))
        }
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// Namespaces that are removed at the end.
struct Network {
    prefix: String,
}

impl Network {
    fn name(&self, rank: usize) -> String {
        format!("{}-{rank}", self.prefix)
    }

    fn build() -> std::result::Result<Self, String> {
        let network = Self { prefix: format!("gc{}", std::process::id()) };
        let switch = network.name(RANKS);
        run("ip", &["netns", "add", &switch])?;
        run("ip", &["-n", &switch, "link", "add", "bridge", "type", "bridge"])?;
        run("ip", &["-n", &switch, "link", "set", "bridge", "up"])?;
        let rate = format!("{MEGABITS}mbit");
        for rank in 0..RANKS {
            let (inside, port) = (network.name(rank), format!("port{rank}"));
            run("ip", &["netns", "add", &inside])?;
            run("ip", &["-n", &inside, "link", "set", "lo", "up"])?;
            run(
                "ip",
                &["-n", &inside, "link", "add", "wire", "type", "veth", "peer", "name", &port, "netns", &switch],
            )?;
            run("ip", &["-n", &inside, "addr", "add", &format!("10.77.0.{}/24", rank + 1), "dev", "wire"])?;
            run("ip", &["-n", &inside, "link", "set", "wire", "up"])?;
            run("ip", &["-n", &switch, "link", "set", &port, "master", "bridge", "up"])?;
            for (namespace, device) in [(&inside, "wire"), (&switch, port.as_str())] {
                let shape =
                    ["qdisc", "add", "dev", device, "root", "tbf", "rate", &rate, "burst", "64kb", "latency", "100ms"];
                run("tc", &[&["-n", namespace], &shape[..]].concat())?;
            }
        }
        Ok(network)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for rank in 0..=RANKS {
            let _ = run("ip", &["netns", "del", &self.name(rank)]);
        }
    }
}

fn measure(seed: u64) -> std::result::Result<Measurement, String> {
    if !cfg!(target_os = "linux") {
        return Err("network namespaces are Linux's".to_owned());
    }
    let network = Network::build()?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut rates = Vec::new();
    for (method, steps) in [("dense", 8), ("dragonn", 60)] {
        let mut children = Vec::new();
        for rank in 0..RANKS {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &network.name(rank)]).arg(&program);
            command.env(WORKER, format!("{rank} {method} {steps} {seed}")).stdin(Stdio::null()).stdout(Stdio::piped());
            children.push(command.spawn().map_err(|error| format!("ip: {error}"))?);
        }
        let mut first = None;
        for (rank, child) in children.into_iter().enumerate() {
            let output = child.wait_with_output().map_err(|error| error.to_string())?;
            if !output.status.success() {
                return Err(format!("worker {rank} ended with {}", output.status));
            }
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            first = first.or(Some(numbers));
        }
        match first.as_deref() {
            Some(&[rate, bytes]) => rates.push((rate, bytes)),
            other => return Err(format!("worker 0 printed {other:?}")),
        }
    }
    let ((dense, dense_bytes), (compressed, compressed_bytes)) = (rates[0], rates[1]);
    Ok(Measurement { dense, compressed, dense_bytes, compressed_bytes, problem: None })
}

/// One process of the measurement; prints steps per second and bytes sent in a step.
pub(crate) fn worker(settings: &str) -> ExitCode {
    if let Err(error) = core_tensor::threads::configure(1) {
        eprintln!("this worker runs on several threads: {error}");
    }
    match train(settings) {
        Ok((rate, bytes)) => {
            println!("{rate} {bytes}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wrong(reason: String) -> distributed::Error {
    distributed::Error::InvalidConfig { what: WORKER, reason }
}

fn train(settings: &str) -> distributed::Result<(f64, f64)> {
    let words: Vec<&str> = settings.split(' ').collect();
    let &[rank, method, steps, seed] = words.as_slice() else {
        return Err(wrong(format!("{settings:?} is not `rank method steps seed`")));
    };
    let number = |text: &str| text.parse().map_err(|_| wrong(format!("{text:?} is not a number")));
    let (rank, steps): (usize, usize) = (number(rank)?, number(steps)?);
    let seed: u64 = seed.parse().map_err(|_| wrong(format!("{seed:?} is not a seed")))?;
    // the namespaces are this program's own, but their addresses are not loopback ones
    let token = Some(Token::new("dragonn")?);
    let config = TcpConfig {
        timeout: Duration::from_secs(60),
        token,
        ..TcpConfig::new(rank, RANKS, format!("10.77.0.1:{PORT}"))
    };
    let ranks: Arc<dyn distributed::Communicator> = Arc::new(connect(&config)?);
    let net = Net::new(Model::Perceptron { hidden: HIDDEN, classes: 10 }, 784, seed)?;
    let mut optimizer = Sgd::new(net.store.trainable(), SgdConfig { learning_rate: 0.1, ..SgdConfig::default() })?;
    let compression = match method {
        "dragonn" => Compression::Dragonn(DragonnConfig::with_ratio(0.001)),
        _ => Compression::None,
    };
    let exchange = DataParallelConfig {
        compression,
        selection: TensorSelection::MinElements(100_000),
        dense_steps: 0,
        ..DataParallelConfig::default()
    };
    let mut trainer = DataParallel::new(net.store.trainable(), ranks.clone(), exchange)?;
    let mut rng = Rng::new(seed).fork(&format!("rank {rank}"));
    let (mut start, mut sent) = (Instant::now(), 0);
    for step in 0..=steps {
        if step == 1 {
            // the first step is not measured
            ranks.barrier()?;
            (start, sent) = (Instant::now(), ranks.bytes_sent());
        }
        let x: Tensor = rng.normal(0., 1., (32, 784), candle_core::DType::F32, &Device::Cpu)?;
        let labels = (0..32).map(|_| rng.below(10) as u32).collect();
        optimizer.step(&trainer.backward(&net.loss(&x, labels)?)?)?;
    }
    ranks.barrier()?;
    let steps = steps as f64;
    Ok((steps / start.elapsed().as_secs_f64(), (ranks.bytes_sent() - sent) as f64 / steps))
}
