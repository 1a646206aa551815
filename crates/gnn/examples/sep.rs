//! The reproduction of SEP: `cargo xtask reproduce sep`.
//!
//! Every trial runs on one thread, so that results depend neither on `--jobs` nor on the number of cores.

#[path = "sep/claims.rs"]
mod claims;
#[path = "sep/coordinates.rs"]
mod coordinates;
#[path = "sep/graphs.rs"]
mod graphs;
#[path = "sep/nodes.rs"]
mod nodes;
#[path = "sep/trees.rs"]
mod trees;

use experiment::{Context, Result, Scale};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    reproduction::main(&claims::PAPER, 1, run)
}

fn run(context: &mut Context) -> Result<()> {
    // all trials first: with --shard, a shard does its part of every group before any summary misses the others' parts
    let coordinates = coordinates::run(context)?;
    let graphs = graphs::run(context)?;
    let nodes = if context.scale() == Scale::Smoke { None } else { Some(nodes::run(context)?) };

    trees::report(context)?;
    coordinates::report(context, coordinates)?;
    graphs::report(context, graphs)?;
    if let Some(nodes) = nodes {
        nodes::report(context, nodes)?;
    }
    context.note(
        "Published numbers are quoted from a later paper's table (arXiv:2410.06746, Table 1); the SEP paper's own text was not at hand. Its +- is far \
         below the spread over folds, so it is read as the spread over repetitions of the ten folds.",
    );
    Ok(())
}
