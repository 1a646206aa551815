//! The reproduction of the unified scaling laws for routed language models: `cargo xtask reproduce routed-scaling-laws`.
//!
//! Every trial runs on one thread, so that results depend neither on `--jobs` nor on the number of cores.

#[path = "routed_scaling_laws/claims.rs"]
mod claims;
#[path = "routed_scaling_laws/curves.rs"]
mod curves;
#[path = "routed_scaling_laws/figures.rs"]
mod figures;
#[path = "routed_scaling_laws/language_models.rs"]
mod language_models;
#[path = "routed_scaling_laws/recovery.rs"]
mod recovery;

use experiment::{Context, Result, Scale};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    reproduction::main(&claims::PAPER, 1, run)
}

fn run(context: &mut Context) -> Result<()> {
    let models = language_models::run(context)?;
    recovery::report(context)?;
    if context.scale() != Scale::Smoke && !context.is_synthetic() {
        curves::report(context)?;
    }
    language_models::report(context, models)?;
    context.note(
        "The paper's text was not at hand: coefficients called published are recalled, and corroborated by the refit of the released losses. The \
         authors released no model code; the small models are our own, trained on synthetic text, and say nothing about the paper's sizes.",
    );
    Ok(())
}
