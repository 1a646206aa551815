//! The reproduction of LaGraph: `cargo xtask reproduce lagraph`.
//!
//! Every trial runs on one thread, so that results depend neither on `--jobs` nor on the number of cores.

#[path = "lagraph/bound.rs"]
mod bound;
#[path = "lagraph/claims.rs"]
mod claims;
#[path = "lagraph/denoising.rs"]
mod denoising;
#[path = "lagraph/graphs.rs"]
mod graphs;
#[path = "lagraph/nodes.rs"]
mod nodes;
#[path = "lagraph/shapes.rs"]
mod shapes;

use experiment::{Context, Result, Scale};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    reproduction::main(&claims::PAPER, 1, run)
}

fn run(context: &mut Context) -> Result<()> {
    // all trials first, so that a shard does its part of every group before any summary misses the others' parts
    let bound = bound::run(context)?;
    let denoising = denoising::run(context)?;
    let shapes = shapes::run(context)?;
    let is_real = context.scale() != Scale::Smoke && !context.is_synthetic();
    let nodes = if is_real { Some(nodes::run(context)?) } else { None };
    let graphs = if is_real { Some(graphs::run(context)?) } else { None };
    bound::report(context, bound)?;
    denoising::report(context, denoising)?;
    shapes::report(context, shapes)?;
    if let Some(nodes) = nodes {
        nodes::report(context, nodes)?;
    }
    if let Some(graphs) = graphs {
        graphs::report(context, graphs)?;
    }
    context.note(
        "Published numbers are those of the paper's tables (images in the official repository) and of its logs. They are the largest over epochs of the accuracy on test folds: beside each stand ours of the last epoch, of the \
         epoch that rows apart from the test selected, and of the best epoch on test data, called so.",
    );
    Ok(())
}
