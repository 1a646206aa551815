//! The reproduction of structurally sparse lottery tickets: `cargo xtask reproduce structured-lottery-tickets`.
//!
//! Every trial runs on one thread, so that results depend neither on `--jobs` nor on the number of cores.

#[path = "structured_lottery_tickets/claims.rs"]
mod claims;
#[path = "structured_lottery_tickets/compiled.rs"]
mod compiled;
#[path = "structured_lottery_tickets/curves.rs"]
mod curves;
#[path = "structured_lottery_tickets/layers.rs"]
mod layers;
#[path = "structured_lottery_tickets/network.rs"]
mod network;
#[path = "structured_lottery_tickets/partitions.rs"]
mod partitions;
#[path = "structured_lottery_tickets/speed.rs"]
mod speed;
#[path = "structured_lottery_tickets/tickets.rs"]
mod tickets;

use experiment::{Context, Result, Scale};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    reproduction::main(&claims::PAPER, 1, run)
}

fn run(context: &mut Context) -> Result<()> {
    // all trials first, so that a shard does its part of every group before any summary misses the others' parts
    let partitions = partitions::run(context)?;
    let speed = speed::run(context)?;
    let compiled = compiled::run(context)?;
    let layers = if context.scale() == Scale::Smoke { None } else { Some(layers::run(context)?) };
    let generated = tickets::run(context, true)?;
    let is_real = context.scale() != Scale::Smoke && !context.is_synthetic();
    let digits = if is_real { Some(tickets::run(context, false)?) } else { None };
    let curves = if is_real { Some(curves::run(context)?) } else { None };
    partitions::report(context, partitions)?;
    speed::report(context, speed)?;
    compiled::report(context, compiled)?;
    if let Some(layers) = layers {
        layers::report(context, layers)?;
    }
    tickets::report_generated(context, generated)?;
    if let Some(digits) = digits {
        tickets::report(context, digits)?;
    }
    if let Some(curves) = curves {
        curves::report(context, curves)?;
    }
    if context.scale() == Scale::Paper {
        context.note("The paper's networks and data are not written: this is the protocol of the laptop scale.");
    }
    context.note(
        "The paper's tables were not at hand; its abstract claims savings of time at certain sparsities on GPUs, which nothing here tests. Thresholds are from measurements of an independent program. Methods change the density \
         of a ticket: each accuracy stands beside the density that was reached. Accuracy is that after the last epoch; nothing is selected.",
    );
    Ok(())
}
