//! Our operations beside the same of Candle operations, in medians: `cargo bench -p core-tensor`.
//!
//! Each pair runs alternately, so that a change of the machine's load meets both. Name a part of an operation to run only
//! those that contain it: `cargo bench -p core-tensor -- spmm`.

mod kernels;
mod models;

use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::{Module, Optimizer as _};
use core_tensor::nn::{self, BatchNormConfig};
use core_tensor::optim::{AdamConfig, AdamW, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::{Rng, dropout};
use core_tensor::sparse::{Index, Segments, SparsePattern, reference};
use core_tensor::{Error, Mode, Result, ops};
use std::time::{Duration, Instant};

#[cfg(not(system_allocator))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long each pair is measured.
const BUDGET: Duration = Duration::from_millis(700);

type Step<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

struct Bench {
    filter: Option<String>,
}

impl Bench {
    /// Whether an operation of this name is to be measured.
    fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()) || filter.contains(name))
    }

    /// An operation that only the peer in Python is compared with.
    fn ours(&self, name: &str, mut step: impl FnMut() -> Result<()>) -> Result<()> {
        if self.filter.as_ref().is_some_and(|filter| !name.contains(filter.as_str())) {
            return Ok(());
        }
        step()?;
        step()?;
        let (mut times, start) = (Vec::new(), Instant::now());
        while start.elapsed() < BUDGET / 2 || times.len() < 5 {
            let start = Instant::now();
            step()?;
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_unstable_by(f64::total_cmp);
        if std::env::var_os("BENCH_JSON").is_some() {
            println!(r#"{{"name":"{name}","threads":{},"seconds":{}}}"#, core_tensor::threads::current(), times[0]);
        } else {
            println!("{name:<44} {:>10.1}", times[times.len() / 2] * 1e6);
        }
        Ok(())
    }

    fn pair<'a>(&self, name: &str, mut ours: Step<'a>, mut theirs: Step<'a>) -> Result<()> {
        if self.filter.as_ref().is_some_and(|filter| !name.contains(filter.as_str())) {
            return Ok(());
        }
        ours()?;
        theirs()?;
        let mut times = [Vec::new(), Vec::new()];
        let start = Instant::now();
        while start.elapsed() < BUDGET || times[1].len() < 5 {
            for (step, times) in [&mut ours, &mut theirs].into_iter().zip(&mut times) {
                let start = Instant::now();
                step()?;
                times.push(start.elapsed());
            }
        }
        if std::env::var_os("BENCH_JSON").is_some() {
            let best = times[0].iter().min().map_or(0.0, Duration::as_secs_f64);
            println!(r#"{{"name":"{name}","threads":{},"seconds":{best}}}"#, core_tensor::threads::current());
            return Ok(());
        }
        let [ours, theirs] = times.map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64() * 1e6
        });
        println!("{name:<44} {ours:>10.1} {theirs:>10.1} {:>7.2}", theirs / ours);
        Ok(())
    }
}

fn main() -> Result<()> {
    core_tensor::memory::configure();
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if std::env::args().any(|argument| argument == "--peak-memory") {
        return peak_memory(filter.as_deref().unwrap_or("ResNet-18"));
    }
    if let Some(count) = std::env::var_os("BENCH_THREADS") {
        let number = count.to_str().and_then(|count| count.parse().ok());
        core_tensor::threads::configure(
            number.ok_or_else(|| Error::Threads(format!("BENCH_THREADS is {count:?}, expected a number")))?,
        )?;
    }
    if core_tensor::threads::current() == 1 {
        return all(filter);
    }
    core_tensor::threads::install(|| all(filter))
}

fn all(filter: Option<String>) -> Result<()> {
    let bench = Bench { filter };
    println!("{} threads, medians in µs", core_tensor::threads::current());
    println!("{:<44} {:>10} {:>10} {:>7}", "operation", "ours", "candle", "ratio");
    message_passing(&bench, "2.5k nodes 25k edges", 2_500, 25_000)?;
    message_passing(&bench, "10k nodes 100k edges", 10_000, 100_000)?;
    dense(&bench)?;
    kernels::products(&bench)?;
    kernels::convolutions(&bench)?;
    kernels::norms(&bench)?;
    kernels::activations(&bench)?;
    kernels::pooling(&bench)?;
    kernels::indexing(&bench)?;
    kernels::sequences(&bench)?;
    kernels::optimizers(&bench)?;
    kernels::subnormal(&bench)?;
    kernels::tiny(&bench)?;
    models::all(&bench)?;
    training(&bench)
}

/// The most memory that three training steps added to the process, as one line of JSON.
fn peak_memory(of: &str) -> Result<()> {
    let resident = |field: &str| -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(field));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    let before = resident("VmRSS");
    if of == "transformer" {
        let model = models::Transformer::new()?;
        let mut step = model.training()?;
        (0..3).try_for_each(|_| step())?;
    } else {
        let model = models::ResNet18::new()?;
        let mut step = model.training()?;
        (0..3).try_for_each(|_| step())?;
    }
    let peak = resident("VmHWM");
    println!(
        r#"{{"name":"{of} peak resident bytes","bytes":{},"before":{before},"peak":{peak}}}"#,
        peak.saturating_sub(before)
    );
    Ok(())
}

fn normal(rng: &mut Rng, shape: impl Into<candle_core::Shape>) -> Result<Tensor> {
    rng.normal(0., 1., shape, DType::F32, &Device::Cpu)
}

/// Class numbers below `bound`.
fn classes(rng: &mut Rng, count: usize, bound: usize) -> Result<Tensor> {
    let values: Vec<u32> = (0..count).map(|_| rng.below(bound) as u32).collect();
    Ok(Tensor::new(values, &Device::Cpu)?)
}

fn forward(y: Tensor) -> Result<()> {
    std::hint::black_box(y);
    Ok(())
}

fn back(y: Tensor) -> Result<()> {
    std::hint::black_box(core_tensor::backward(&ops::sum_all(&y)?)?);
    Ok(())
}

/// Candle's own pass, for the operations of Candle.
fn candle_back(y: Tensor) -> Result<()> {
    std::hint::black_box(y.sum_all()?.backward()?);
    Ok(())
}

fn message_passing(bench: &Bench, size: &str, nodes: usize, edges: usize) -> Result<()> {
    const FEATURES: usize = 64;
    let mut rng = Rng::new(0);
    let mut ends = || -> Vec<u32> { (0..edges).map(|_| rng.below(nodes) as u32).collect() };
    let (rows, cols) = (ends(), ends());
    let p = SparsePattern::from_edges(nodes, nodes, &rows, &cols)?;
    let x = normal(&mut rng, (nodes, FEATURES))?;
    let (x_var, w_var) = (Var::from_tensor(&x)?, Var::from_tensor(&normal(&mut rng, edges)?)?);
    let scores = Var::from_tensor(&normal(&mut rng, (edges, 4))?)?;
    bench.pair(
        &format!("spmm forward, {size}"),
        Box::new(|| forward(p.matmul(&x)?)),
        Box::new(|| forward(reference::matmul(&p, &x)?)),
    )?;
    bench.pair(
        &format!("spmm forward+backward, {size}"),
        Box::new(|| back(p.matmul(&x_var)?)),
        Box::new(|| candle_back(reference::matmul(&p, &x_var)?)),
    )?;
    bench.pair(
        &format!("weighted spmm forward+backward, {size}"),
        Box::new(|| back(p.matmul_weighted(&w_var, &x_var)?)),
        Box::new(|| candle_back(reference::matmul_weighted(&p, &w_var, &x_var)?)),
    )?;
    bench.pair(
        &format!("segment softmax 4 heads f+b, {size}"),
        Box::new(|| back(p.segment_softmax(&scores)?)),
        Box::new(|| candle_back(reference::segment_softmax(&p, &scores)?)),
    )?;
    bench.pair(
        &format!("segment max f+b, {size}"),
        Box::new(|| back(p.segment_max(&x_var)?)),
        Box::new(|| candle_back(reference::segment_max(&p, &x_var)?)),
    )?;
    let index = Index::new(&cols, nodes)?;
    let cols_tensor = Tensor::from_slice(&cols, edges, &Device::Cpu)?;
    bench.pair(
        &format!("gather rows f+b, {size}"),
        Box::new(|| back(index.gather(&x_var)?)),
        Box::new(|| candle_back(x_var.index_select(&cols_tensor, 0)?)),
    )?;
    let mut ids: Vec<u32> = (0..nodes).map(|i| (i * 100 / nodes) as u32).collect();
    ids.sort_unstable();
    let graphs = Segments::new(&ids, 100)?;
    let ids = Tensor::from_slice(&ids, nodes, &Device::Cpu)?;
    bench.pair(
        &format!("readout by sum f+b, {size}"),
        Box::new(|| back(graphs.sum(&x_var)?)),
        Box::new(|| {
            let zeros = Tensor::zeros((100, FEATURES), DType::F32, &Device::Cpu)?;
            candle_back(zeros.index_add(&ids, &x_var, 0)?)
        }),
    )?;
    bench.pair(
        &format!("pattern / bare upload of indices, {size}"),
        Box::new(|| SparsePattern::from_edges(nodes, nodes, &rows, &cols).map(drop)),
        Box::new(|| {
            let cols = Tensor::from_slice(&cols, edges, &Device::Cpu)?;
            forward(cols)
        }),
    )
}

fn dense(bench: &Bench) -> Result<()> {
    let mut rng = Rng::new(1);
    let x = Var::from_tensor(&normal(&mut rng, (4096, 256))?)?;
    let (w, b) = (Var::from_tensor(&normal(&mut rng, (128, 256))?)?, Var::from_tensor(&normal(&mut rng, 128)?)?);
    let wide = Var::from_tensor(&normal(&mut rng, 256)?)?;
    let theirs = candle_nn::Linear::new(w.as_tensor().clone(), Some(b.as_tensor().clone()));
    bench.pair(
        "linear 4096×256×128 f+b",
        Box::new(|| back(ops::linear(&x, &w, Some(&b))?)),
        Box::new(|| candle_back(theirs.forward(&x)?)),
    )?;
    bench.pair(
        "bias+relu 4096×256 f+b",
        Box::new(|| back(ops::bias_relu(&x, &wide)?)),
        Box::new(|| candle_back(x.broadcast_add(&wide)?.relu()?)),
    )?;
    bench.pair("relu 1M f+b", Box::new(|| back(ops::relu(&x)?)), Box::new(|| candle_back(x.relu()?)))?;
    bench.pair("tanh 1M f+b", Box::new(|| back(ops::tanh(&x)?)), Box::new(|| candle_back(x.tanh()?)))?;
    bench.pair(
        "sum over rows 4096×256 f+b",
        Box::new(|| back(ops::sum_dim0(&x)?)),
        Box::new(|| candle_back(x.sum(0)?)),
    )?;
    bench.pair(
        "softmax 4096×256 f+b",
        Box::new(|| back(ops::softmax(&x)?)),
        Box::new(|| candle_back(candle_nn::ops::softmax(&x, D::Minus1)?)),
    )?;
    let targets: Vec<u32> = (0..4096).map(|_| rng.below(100) as u32).collect();
    let targets = Tensor::new(targets, &Device::Cpu)?;
    let logits = Var::from_tensor(&normal(&mut rng, (4096, 100))?)?;
    bench.pair(
        "cross entropy 4096×100 f+b",
        Box::new(|| back(ops::cross_entropy(&logits, &targets)?)),
        Box::new(|| candle_back(candle_nn::loss::cross_entropy(&logits, &targets)?)),
    )?;
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let norm = nn::batch_norm1d(256, BatchNormConfig::default(), store.var_builder())?;
    let other = ParamStore::new(0, DType::F32, &Device::Cpu);
    let theirs = candle_nn::batch_norm(256, 1e-5, other.var_builder())?;
    bench.pair(
        "batch norm 4096×256 f+b",
        Box::new(|| back(norm.forward(&x, &Mode::recalibrate())?)),
        Box::new(|| candle_back(theirs.forward_train(&x)?)),
    )?;
    bench.pair(
        "dropout 1M f+b",
        Box::new(|| back(dropout(&x, 0.5, &mut rng)?)),
        Box::new(|| candle_back(candle_nn::ops::dropout(&x, 0.5)?)),
    )
}

/// A training step of a multi-layer perceptron: 64-64-64-10, batch 128, AdamW.
fn training(bench: &Bench) -> Result<()> {
    let mut rng = Rng::new(2);
    let x = normal(&mut rng, (128, 64))?;
    let targets: Vec<u32> = (0..128).map(|_| rng.below(10) as u32).collect();
    let targets = Tensor::new(targets, &Device::Cpu)?;

    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let vb = store.var_builder();
    let ours = [nn::linear(64, 64, vb.pp(0))?, nn::linear(64, 64, vb.pp(1))?, nn::linear(64, 10, vb.pp(2))?];
    let mut optimizer = AdamW::new(store.trainable(), AdamConfig::default())?;
    let other = ParamStore::new(0, DType::F32, &Device::Cpu);
    let vb = other.var_builder();
    let theirs = [
        candle_nn::linear(64, 64, vb.pp(0))?,
        candle_nn::linear(64, 64, vb.pp(1))?,
        candle_nn::linear(64, 10, vb.pp(2))?,
    ];
    let vars = other.trainable().into_iter().map(|(_, var)| var).collect();
    let mut their_optimizer = candle_nn::AdamW::new_lr(vars, 1e-3)?;
    bench.pair(
        "MLP 64-64-64-10 batch 128, training step",
        Box::new(|| {
            let h = ops::relu(&ours[0].forward(&x)?)?;
            let h = ops::relu(&ours[1].forward(&h)?)?;
            optimizer.backward_step(&ops::cross_entropy(&ours[2].forward(&h)?, &targets)?)
        }),
        Box::new(|| {
            let h = theirs[0].forward(&x)?.relu()?;
            let h = theirs[1].forward(&h)?.relu()?;
            let loss = candle_nn::loss::cross_entropy(&theirs[2].forward(&h)?, &targets)?;
            their_optimizer.backward_step(&loss)?;
            Ok(())
        }),
    )?;

    let many = ParamStore::new(0, DType::F32, &Device::Cpu);
    for layer in 0..16 {
        many.get_with(&format!("{layer}"), (256, 256), core_tensor::init::kaiming_normal())?;
    }
    let grads = many.vars().iter().try_fold(None, |sum: Option<Tensor>, (_, var)| {
        let square = var.sqr()?.sum_all()?;
        candle_core::Result::Ok(Some(match sum {
            None => square,
            Some(sum) => (sum + square)?,
        }))
    })?;
    let Some(loss) = grads else { return Ok(()) };
    let grads = loss.backward()?;
    let mut ours = AdamW::new(many.trainable(), AdamConfig::default())?;
    let vars = many.trainable().into_iter().map(|(_, var)| var).collect();
    let mut theirs = candle_nn::AdamW::new_lr(vars, 1e-3)?;
    bench.pair(
        "AdamW step, 1M parameters in 16 tensors",
        Box::new(|| ours.step(&grads)),
        Box::new(|| Ok(theirs.step(&grads)?)),
    )
}
