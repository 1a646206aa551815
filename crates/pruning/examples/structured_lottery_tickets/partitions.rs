//! Planted hypergraphs.

use core_tensor::random::Rng;
use experiment::{Axis, Context, Measured, Outcome, Plot, Result, Series, Trial, TrialContext, statistics};
use pruning::partition::hypergraph;
use pruning::{Mask, Parts, Regroup};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const ROWS: usize = 128;
const COLUMNS: usize = 288;
const GROUPS: usize = 4;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    planted: usize,
    found: usize,
    /// Of each start of the search.
    #[serde(default)]
    of_starts: Vec<usize>,
}

pub(crate) fn run(context: &mut Context) -> Result<Outcome<Found>> {
    let trials = (0..5).map(|seed| Trial::new(format!("seed-{seed}"), seed)).collect();
    context.trials("partitions", trials, |_: &u64, trial| partition(trial))
}

/// The group of each row, and the rows of each column.
fn planted(seed: u64, (rows, columns): (usize, usize)) -> (Vec<usize>, Vec<Vec<u32>>) {
    let mut rng = Rng::new(seed);
    let mut group_of = vec![0; rows];
    rng.permutation(rows).iter().enumerate().for_each(|(at, &row)| group_of[row as usize] = at % GROUPS);
    let own: Vec<BTreeSet<u32>> =
        (0..GROUPS).map(|_| rng.sample_without_replacement(columns, columns * 3 / 10).into_iter().collect()).collect();
    let mut edges = vec![Vec::new(); columns];
    for (row, &group) in group_of.iter().enumerate() {
        for (column, edge) in edges.iter_mut().enumerate() {
            let chance = if own[group].contains(&(column as u32)) { 0.45 } else { 0.03 };
            if rng.unit() < chance {
                edge.push(row as u32);
            }
        }
    }
    (group_of, edges)
}

fn partition(trial: &TrialContext) -> Result<Found> {
    let (group_of, edges) = planted(trial.seed(), (ROWS, COLUMNS));
    let touched = |edge: &Vec<u32>| edge.iter().map(|&row| group_of[row as usize]).collect::<BTreeSet<_>>().len();
    let planted = edges.iter().map(|edge| touched(edge).saturating_sub(1)).sum();
    let found = hypergraph(ROWS, &edges, GROUPS, 0.1, trial.seed())?;
    Ok(Found { planted, found: found.connectivity, of_starts: found.of_starts })
}

pub(crate) fn report(context: &mut Context, results: Outcome<Found>) -> Result<()> {
    let all = results.all()?;
    let ratios: Vec<f64> = all.iter().map(|found| found.found as f64 / found.planted as f64).collect();
    let worst = ratios.iter().copied().fold(0.0, f64::max);
    let measured = Measured::mean_of(&ratios, "planted masks, 128 x 288 in 4 groups");
    context.claim("partition-recovers", Measured { value: worst, is_synthetic: true, ..measured })?;
    restarts(context, &all)?;
    figure(context)
}

/// The best of the first starts of the search, over the planted groups.
fn restarts(context: &mut Context, all: &[Found]) -> Result<()> {
    let best_of = |found: &Found| -> Vec<f64> {
        let mut best = usize::MAX;
        let so_far = found.of_starts.iter().map(|&cost| {
            best = best.min(cost);
            best as f64 / found.planted as f64
        });
        so_far.collect()
    };
    let curves: Vec<Vec<f64>> = all.iter().map(best_of).collect();
    let starts = curves.iter().map(Vec::len).min().unwrap_or(0);
    let at = |start: usize| curves.iter().map(|curve| curve[start]).collect::<Vec<_>>();
    let x: Vec<f64> = (1..=starts).map(|start| start as f64).collect();
    let series = |name: &str, of: &dyn Fn(&[f64]) -> f64| {
        Series::new(name, x.clone(), (0..starts).map(|start| of(&at(start))).collect())
    };
    let series = vec![
        series("mean of the seeds", &statistics::mean),
        series("worst of the seeds", &|ratios| ratios.iter().copied().fold(0.0, f64::max)),
    ];
    let (x, y) =
        (Axis::linear("starts of the search"), Axis::linear("sum of (parts touched - 1) over the planted one"));
    let plot = Plot::lines("Partitions against restarts", x, y, series);
    let said = "The best of the first starts; the search takes the best of all of them. Below 1 it is better than what was planted.";
    context.plot("restarts", plot.description(said))?;
    Ok(())
}

/// A small planted mask before and after its rows are grouped, and the blocks that are kept.
fn figure(context: &mut Context) -> Result<()> {
    const SIZE: (usize, usize) = (80, 60);
    let (_, edges) = planted(context.seed_of("figure"), SIZE);
    let mut kept = vec![0u8; SIZE.0 * SIZE.1];
    for (column, edge) in edges.iter().enumerate() {
        edge.iter().for_each(|&row| kept[row as usize * SIZE.1 + column] = 1);
    }
    let mask = Mask::new(&[SIZE.0, SIZE.1], kept)?;
    let regroup = Regroup { parts: Parts::Fixed(GROUPS), ..Regroup::default() };
    let found = regroup.apply(&mask)?;
    let order: Vec<usize> = found.clusters.iter().flatten().copied().collect();
    let values = |mask: &Mask, order: &[usize]| -> Vec<Vec<f64>> {
        let row = |&row: &usize| mask.kept()[row * SIZE.1..][..SIZE.1].iter().map(|&kept| f64::from(kept)).collect();
        order.iter().map(row).collect()
    };
    let as_given: Vec<usize> = (0..SIZE.0).collect();
    for (name, title, mask, order) in [
        ("mask-scattered", "A planted mask, rows as they are", &mask, &as_given),
        ("mask-grouped", "The same mask, rows by cluster", &mask, &order),
        ("mask-blocks", "What Regroup keeps of it", &found.mask, &order),
    ] {
        let columns = (0..SIZE.1).map(|column| column.to_string()).collect();
        let rows = order.iter().map(usize::to_string).collect();
        context.plot(name, Plot::heat_map(title, columns, rows, values(mask, order)))?;
    }
    Ok(())
}
