//! The reproduction of DRAGONN: `cargo xtask reproduce dragonn`.
//!
//! Workers are threads of this process, each with one thread for its model. Claims about time are measured while the program runs and differ from run to run.

#[path = "dragonn/accuracy.rs"]
mod accuracy;
#[path = "dragonn/claims.rs"]
mod claims;
#[path = "dragonn/network.rs"]
mod network;
#[path = "dragonn/selection.rs"]
mod selection;
#[path = "dragonn/tasks.rs"]
mod tasks;
#[path = "dragonn/throughput.rs"]
mod throughput;

use experiment::{Context, Measured, Result};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // one worker of the measurement on a real network, started by this program itself
    if let Some(settings) = std::env::var_os(network::WORKER) {
        return network::worker(&settings.to_string_lossy());
    }
    reproduction::main(&claims::PAPER, 1, run)
}

fn run(context: &mut Context) -> Result<()> {
    let trained = accuracy::run(context)?;
    selection::report(context)?;
    throughput::report(context)?;
    network::report(context)?;
    accuracy::report(context, trained)?;
    context.note(
        "The paper's body was not at hand: the two published numbers are those of its abstract; protocols and thresholds are ours. Claims about time were measured on \
         this machine while the program ran, and differ from run to run; all others follow from the seed.",
    );
    Ok(())
}

/// A measured value on generated data.
fn generated(value: f64, trials: usize, data: &str) -> Measured {
    Measured { value, trials, data: data.into(), is_synthetic: true, ..Measured::default() }
}
