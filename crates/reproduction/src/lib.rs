#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod bench;
pub mod front;
mod golden;
mod program;

pub use golden::Golden;
pub use program::{assert_keeps_results, example};

use std::process::ExitCode;

use candle_core::Device;
use datasets::{Store, StoreConfig};
use experiment::{Context, Paper, Result};

/// Reproduces `paper` as the command line says; see [`experiment::main`]. Meant to be the whole of an example's `main`.
///
/// Freed memory stays with the process, see [`core_tensor::memory::configure`]. Candle's operations of a trial run on `threads` threads. With one, results depend neither on `--jobs` nor on the number
/// of cores. Where that cannot be set, a warning is printed and the run goes on.
pub fn main(paper: &'static Paper, threads: usize, run: impl FnOnce(&mut Context) -> Result<()>) -> ExitCode {
    core_tensor::memory::configure();
    if let Err(error) = core_tensor::threads::configure(threads) {
        eprintln!("{}: trials may use more than {threads} threads each: {error}", paper.slug);
    }
    experiment::main(paper, run)
}

/// The store of data sets that the command line asks for: `--data-dir` is searched first, and nothing is downloaded with
/// `--offline`.
///
/// # Errors
/// When no folder for downloads is known; see [`Store::new`].
pub fn store(context: &Context) -> Result<Store> {
    let data_dir = context.data_dir().map(Into::into);
    Ok(Store::new(StoreConfig { data_dir, is_offline: context.is_offline(), ..StoreConfig::default() })?)
}

/// The device that `--device` names.
///
/// # Errors
/// When it is unknown, not compiled in, or not on this machine; see [`core_tensor::device::parse`].
pub fn device(context: &Context) -> Result<Device> {
    Ok(core_tensor::device::parse(context.device())?)
}
