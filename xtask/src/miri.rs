//! Miri: the package `miri-tests`, interpreted, so that undefined behaviour is found where it happens.

use crate::error::Result;
use crate::type_check::Outcome;
use crate::{exit, process, workspace};

/// - Candle reads the number of cores from the system.
/// - Rayon's pool lives to the end of the process, which counts as a leak.
/// - crossbeam, below rayon, turns integers into pointers, and keeps the rules of Tree Borrows but not those of Stacked Borrows.
/// - By default four of five weak exchanges fail at random, and the locks around Candle's tensors then spin for most of the time.
const FLAGS: &str = "-Zmiri-disable-isolation -Zmiri-ignore-leaks -Zmiri-permissive-provenance -Zmiri-tree-borrows \
                     -Zmiri-compare-exchange-weak-failure-rate=0";

/// Runs the tests of `miri-tests` with two threads in rayon's pool, so that races are seen too.
///
/// # Errors
/// When rustup does not start.
pub(crate) fn run() -> Result<Outcome> {
    if process::output(workspace::nightly_cargo().args(["miri", "--version"])).is_err() {
        let remedy = "rustup toolchain install nightly --profile minimal -c miri -c rust-src";
        return Ok(Outcome::Skipped(format!("Miri is absent: {remedy}")));
    }
    let mut command = workspace::nightly_cargo();
    command.args(["miri", "test", "--package", "miri-tests", "--tests", "--no-fail-fast"]);
    // Nothing here is faster for being optimised, and procedural macros compile slower.
    command.args(["--config", r#"profile.dev.package."*".opt-level=0"#, "--config", "profile.test.opt-level=0"]);
    command.env("MIRIFLAGS", FLAGS);
    command.env("RAYON_NUM_THREADS", "2").env("CANDLE_NUM_THREADS", "1").env("CANDLE_BARRIER_POOL_SPIN_LIMIT", "0");
    Ok(Outcome::of(if process::run(&mut command)? == 0 { exit::OK } else { exit::ERROR }))
}
