//! The reproduction after OEPG, a reconstruction: `cargo xtask reproduce oepg`.
//!
//! Every trial runs on one thread, so that results depend neither on `--jobs` nor on the number of cores.

#[path = "oepg/blocks.rs"]
mod blocks;
#[path = "oepg/citations.rs"]
mod citations;
#[path = "oepg/claims.rs"]
mod claims;
#[path = "oepg/invariants.rs"]
mod invariants;

use experiment::{Context, Result, Scale};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    reproduction::main(&claims::PAPER, 1, run)
}

fn run(context: &mut Context) -> Result<()> {
    // all trials first, so that a shard does its part of every group before any summary misses the others' parts
    let invariants = invariants::run(context)?;
    let blocks = blocks::run(context)?;
    let is_real = context.scale() != Scale::Smoke && !context.is_synthetic();
    let citations = if is_real { Some(citations::run(context)?) } else { None };
    invariants::report(context, invariants)?;
    blocks::report(context, blocks)?;
    if let Some(citations) = citations {
        citations::report(context, citations)?;
    }
    context.note(
        "This is a labelled reconstruction. The paper has no official code and its text was not at hand: formulas and settings are choices that agree with its abstract, not the authors'. Its numbers are not gates here, and \
         none of ours stands for one of theirs. Published is the claim of gains of 2 to 6 points; the reconstruction does not show them.",
    );
    Ok(())
}
