//! Planted hypergraphs.

use core_tensor::random::Rng;
use experiment::{Context, Measured, Outcome, Result, Trial, TrialContext};
use pruning::partition::hypergraph;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const ROWS: usize = 128;
const COLUMNS: usize = 288;
const GROUPS: usize = 4;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    planted: usize,
    found: usize,
}

pub(crate) fn run(context: &mut Context) -> Result<Outcome<Found>> {
    let trials = (0..5).map(|seed| Trial::new(format!("seed-{seed}"), seed)).collect();
    context.trials("partitions", trials, |_: &u64, trial| partition(trial))
}

fn partition(trial: &TrialContext) -> Result<Found> {
    let mut rng = Rng::new(trial.seed());
    let mut group_of = vec![0; ROWS];
    rng.permutation(ROWS).iter().enumerate().for_each(|(at, &row)| group_of[row as usize] = at % GROUPS);
    let own: Vec<BTreeSet<u32>> =
        (0..GROUPS).map(|_| rng.sample_without_replacement(COLUMNS, COLUMNS * 3 / 10).into_iter().collect()).collect();
    let mut edges = vec![Vec::new(); COLUMNS];
    for (row, &group) in group_of.iter().enumerate() {
        for (column, edge) in edges.iter_mut().enumerate() {
            let chance = if own[group].contains(&(column as u32)) { 0.45 } else { 0.03 };
            if rng.unit() < chance {
                edge.push(row as u32);
            }
        }
    }
    let touched = |edge: &Vec<u32>| edge.iter().map(|&row| group_of[row as usize]).collect::<BTreeSet<_>>().len();
    let planted = edges.iter().map(|edge| touched(edge).saturating_sub(1)).sum();
    let found = hypergraph(ROWS, &edges, GROUPS, 0.1, trial.seed())?.connectivity;
    Ok(Found { planted, found })
}

pub(crate) fn report(context: &mut Context, results: Outcome<Found>) -> Result<()> {
    let ratios: Vec<f64> = results.all()?.iter().map(|found| found.found as f64 / found.planted as f64).collect();
    let worst = ratios.iter().copied().fold(0.0, f64::max);
    let measured = Measured::mean_of(&ratios, "planted masks, 128 x 288 in 4 groups");
    context.claim("partition-recovers", Measured { value: worst, is_synthetic: true, ..measured })?;
    Ok(())
}
