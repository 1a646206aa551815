//! The reproduction of interference between weight-sharing children and its mitigation: `cargo xtask reproduce nas-interference`.
//!
//! Every trial runs on one thread, so that results depend neither on `--jobs` nor on the number of cores.

#[path = "nas_interference/claims.rs"]
mod claims;
#[path = "nas_interference/images.rs"]
mod images;
#[path = "nas_interference/language.rs"]
mod language;
#[path = "nas_interference/laptop.rs"]
mod laptop;
#[allow(dead_code, reason = "the paper's images need one of its kinds")]
#[path = "search_operators/network.rs"]
mod network;
#[path = "nas_interference/smoke.rs"]
mod smoke;
#[path = "nas_interference/training.rs"]
mod training;

use experiment::{Context, Result, Scale};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    reproduction::main(&claims::PAPER, 1, run)
}

fn run(context: &mut Context) -> Result<()> {
    match context.scale() {
        Scale::Smoke => smoke::run(context)?,
        _ => {
            laptop::run(context)?;
            images::run(context)?;
        }
    }
    if context.scale() == Scale::Paper {
        context.note("The paper's spaces and data are not written: this is the protocol of the laptop scale.");
    }
    context.note(
        "The paper's text and code were not at hand: its abstract is what is known, and no value of its tables. The language is synthetic; thresholds were fixed from an independent program's runs. Similar gradients of children that \
         have learnt nothing mean nothing: their mean loss stands beside every similarity.",
    );
    Ok(())
}
