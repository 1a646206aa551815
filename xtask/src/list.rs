//! `cargo xtask list`: the papers, and how far each is.

use report::{Scale, Tally};

use crate::error::Result;
use crate::papers::PAPERS;
use crate::reproduction::recorded_tallies;
use crate::text_table;

/// Prints one row for each paper.
///
/// # Errors
/// When a committed report cannot be read.
pub(crate) fn run() -> Result<()> {
    let mut rows = Vec::new();
    for paper in &PAPERS {
        let status = if paper.is_implemented() { "implemented" } else { "not yet" };
        let claims = tallies_words(&recorded_tallies(paper)?);
        let cells = [paper.slug, paper.package, status, &claims, paper.title];
        rows.push(cells.map(str::to_owned).to_vec());
    }
    say!("{}", text_table::render(&["paper", "crate", "status", "claims reproduced", "title"], &rows));
    say!("\nReproduce one: cargo xtask reproduce <paper> [--scale smoke|laptop|paper]");
    Ok(())
}

/// `smoke 6/6, synthetic data; laptop 7/9`, or `none yet` without any report.
fn tallies_words(tallies: &[(Scale, Tally)]) -> String {
    if tallies.is_empty() {
        return "none yet".to_owned();
    }
    tallies.iter().map(|(scale, tally)| format!("{} {}", scale.name(), tally.words())).collect::<Vec<_>>().join("; ")
}
