//! The reproduction of TRAM: `cargo xtask reproduce tram`.

#[path = "human_labels/cifar.rs"]
mod cifar;
#[path = "tram/claims.rs"]
mod claims;
#[path = "human_labels/facts.rs"]
mod facts;
#[path = "tram/learn.rs"]
mod learn;
#[path = "tram/paper_scale.rs"]
mod paper_scale;
#[path = "tram/people.rs"]
mod people;
#[path = "tram/recipe.rs"]
mod recipe;
#[path = "tram/reference.rs"]
mod reference;
#[path = "tram/regression.rs"]
mod regression;

use experiment::{Context, Result, Scale};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // trials run side by side, each on one thread
    reproduction::main(&claims::PAPER, 1, run)
}

fn run(context: &mut Context) -> Result<()> {
    let has_images = context.scale() != Scale::Smoke && !context.is_synthetic();
    // all trials first, so that a shard does its part of each group
    let reference = reference::run(context)?;
    let recipe = recipe::run(context)?;
    let regression = regression::run(context)?;
    let people = if has_images && context.scale() == Scale::Laptop { Some(people::run(context)?) } else { None };
    let wide = if has_images && context.scale() == Scale::Paper { Some(paper_scale::run(context)?) } else { None };
    if has_images {
        facts::run(context, false)?;
    }
    reference::report(context, reference)?;
    recipe::report(context, recipe)?;
    regression::report(context, regression)?;
    if let Some(people) = people {
        people::report(context, people)?;
    }
    if let Some(wide) = wide {
        paper_scale::report(context, wide)?;
    }
    context.note(
        "The paper's tables were not at hand and no number of theirs is quoted: thresholds are from an independent program and from trials in PyTorch, and were fixed before this program was run. \
         TRAM with zeros in place of the information is the control that shows what the second head alone gives.",
    );
    Ok(())
}
