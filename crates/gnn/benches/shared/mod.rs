//! What the benches of self-supervised training share: measuring, floors, and files for the peers.

use candle_core::{DType, Device, Tensor};
use core_tensor::checkpoint::write_tensors;
use core_tensor::ops;
use core_tensor::random::Rng;
use reproduction::bench;
use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
pub(crate) type Tensors = BTreeMap<String, Tensor>;
/// How often which `[m, k] · [k, n]`.
pub(crate) type Products = [(usize, [usize; 3])];

/// What is run, and how.
pub(crate) struct Bench {
    filter: Option<String>,
    pub(crate) shows_peak: bool,
}

impl Bench {
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()))
    }

    /// Prints the shortest time, or with `--peak-memory` the peak, and the floor of the products.
    pub(crate) fn measure(
        &self,
        name: &str,
        suffixes: &[&str],
        repetitions: usize,
        products: &Products,
        mut operation: impl FnMut() -> Result,
    ) -> Result {
        if self.shows_peak {
            (0..3).try_for_each(|_| operation())?;
            print_peak(name);
            return Ok(());
        }
        print(name, suffixes, shortest(repetitions, &mut operation)?, products)
    }
}

pub(crate) fn print_peak(name: &str) {
    let [peak, after] = ["VmHWM", "VmRSS"].map(resident);
    println!(r#"{{"name":"{name}, peak resident bytes","peak":{peak},"after":{after}}}"#);
}

/// Prints a time under the name with each of the suffixes that tell the peer's variants apart, and the floor.
pub(crate) fn print(name: &str, suffixes: &[&str], seconds: f64, products: &Products) -> Result {
    for suffix in suffixes {
        bench::print(&format!("{name}{suffix}"), core_tensor::threads::current(), seconds);
    }
    if std::env::var_os("BENCH_JSON").is_some() || products.is_empty() { Ok(()) } else { floor(products) }
}

/// The shortest of this many calls or more, which take at least 60 ms together, after one that does not count.
fn shortest(repetitions: usize, operation: &mut dyn FnMut() -> Result) -> Result<f64> {
    operation()?;
    let (mut best, mut total, mut count) = (f64::INFINITY, 0.0, 0);
    while count < repetitions || total < 0.06 {
        let start = Instant::now();
        operation()?;
        let seconds = start.elapsed().as_secs_f64();
        (best, total, count) = (best.min(seconds), total + seconds, count + 1);
    }
    Ok(best)
}

/// Bytes of a line of Linux's account of this process; 0 elsewhere.
fn resident(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Prints how long the products take alone, at the rate of the same shapes with at most 4,096 in each direction.
fn floor(products: &Products) -> Result {
    let (mut operations, mut seconds) = (0.0, 0.0);
    let mut rng = Rng::new(0);
    for &(count, shape) in products {
        let [m, k, n] = shape.map(|side| side.min(4096));
        let [a, b] = [(m, k), (k, n)].map(|shape| rng.normal(0.0, 1.0, shape, DType::F32, &Device::Cpu));
        let (a, b) = (a?, b?);
        let best = shortest(3, &mut || Ok(ops::matmul(&a, &b).map(|product| drop(black_box(product)))?))?;
        let of_one = |shape: [usize; 3]| 2.0 * shape.iter().map(|&side| side as f64).product::<f64>();
        operations += count as f64 * of_one(shape);
        seconds += count as f64 * best * of_one(shape) / of_one([m, k, n]);
    }
    println!(
        "  floor: {:.2} GFLOP of dense products, {:.3} ms at {:.0} GFLOP/s",
        operations * 1e-9,
        seconds * 1e3,
        operations * 1e-9 / seconds
    );
    Ok(())
}

/// Reads the arguments and runs `all`.
pub(crate) fn start(all: impl Fn(&Bench) -> Result + Send + Sync) -> Result {
    core_tensor::memory::configure();
    core_tensor::threads::configure(bench::threads()?)?;
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let shows_peak = std::env::args().any(|argument| argument == "--peak-memory");
    if shows_peak && filter.is_none() {
        return Err("--peak-memory needs the name of one measurement, or a part of it".into());
    }
    let bench = Bench { filter, shows_peak };
    core_tensor::threads::install(|| all(&bench))
}

pub(crate) fn integers(values: impl IntoIterator<Item = u32>) -> Result<Tensor> {
    let values: Vec<i64> = values.into_iter().map(i64::from).collect();
    let count = values.len();
    Ok(Tensor::from_vec(values, count, &Device::Cpu)?)
}

pub(crate) fn number(value: f64) -> Result<Tensor> {
    Ok(Tensor::from_vec(vec![value], 1, &Device::Cpu)?)
}

pub(crate) fn export(paper: &str, name: &str, tensors: &Tensors) -> Result {
    let folder = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target").into(), std::path::PathBuf::from)
        .join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(write_tensors(folder.join(format!("{paper}-{name}.safetensors")), tensors)?)
}
