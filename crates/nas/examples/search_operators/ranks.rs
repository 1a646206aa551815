//! How well scores with shared weights rank children as training alone does.

use crate::Job;
use crate::problem::{Fallible, Problem};
use crate::training::shared_loss;
use core_tensor::metrics::{bootstrap_interval, kendall_tau};
use core_tensor::random::Rng;
use experiment::{Axis, Plot, Series, Table};
use nas::ranking::{Agreement, agreement, ceiling, precision_at_k, top_k_regret};
use nas::{Accuracies, Architecture, Direction, Losses, Scores, SuperNet, TruthTable};
use reproduction::front::{self, Results};
use std::path::Path;

/// What is known about a ranking.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Ranking {
    pub(crate) source: String,
    pub(crate) children: usize,
    pub(crate) kendall: f64,
    /// The standard error of τ without any agreement, `√(2 (2n + 5) / (9 n (n − 1)))`.
    pub(crate) error: f64,
    /// The 95 % interval over children, by bootstrap.
    pub(crate) interval: Option<[f64; 2]>,
    pub(crate) spearman: f64,
    pub(crate) pearson: f64,
    /// τ of two seeds of the truth with each other.
    pub(crate) ceiling: Option<f64>,
    /// k, and by how much the best of the first k misses the best of all.
    pub(crate) regret: (usize, f64),
    /// The share of the first k that are among the k best.
    pub(crate) precision: f64,
}

/// A table, all of whose children are of the space.
pub(crate) fn read_truth(path: &Path, direction: Direction, space: &nas::SearchSpace) -> Fallible<TruthTable> {
    let table = TruthTable::read(path, direction)?;
    for (child, _) in table.iter() {
        space.check(child).map_err(|error| Problem::file(path, error))?;
    }
    if table.len() < 2 {
        return Err(Problem::file(path, format!("{} children, expected two or more", table.len())));
    }
    let values: Vec<Option<f64>> = table.iter().map(|(child, _)| table.mean(child)).collect();
    if values.iter().all(|value| *value == values[0]) {
        return Err(Problem::file(path, "all children have the same value, which ranks nothing"));
    }
    Ok(table)
}

/// τ and its company for truths of one direction.
fn measured<S: Scores>(scores: &Losses, truth: &S, k: usize) -> nas::Result<(Agreement, f64, f64)> {
    Ok((agreement(scores, truth)?, top_k_regret(scores, truth, k)?, precision_at_k(scores, truth, k)?))
}

pub(crate) fn report(
    job: &Job,
    net: &SuperNet,
    (name, source): (&str, &str),
    table: &TruthTable,
    results: &mut Results,
) -> Fallible<Ranking> {
    let children: Vec<Architecture> = table.iter().map(|(child, _)| child.clone()).collect();
    let batches = job.parts.validation.in_order(512)?;
    let scores: Vec<f64> =
        children.iter().map(|child| shared_loss(net, &batches, child)).collect::<nas::Result<_>>()?;
    let truth: Vec<f64> = children.iter().filter_map(|child| table.mean(child)).collect();
    let n = children.len();
    let k = n.min(5);
    let losses = Losses::new(scores.clone())?;
    let ((agreed, regret, precision), signs) = match table.direction {
        Direction::LowerIsBetter => (measured(&losses, &Losses::new(truth.clone())?, k)?, 1.0),
        Direction::HigherIsBetter => (measured(&losses, &Accuracies::new(truth.clone())?, k)?, -1.0),
    };
    let places: Vec<f64> = (0..n).map(|at| at as f64).collect();
    let of_sample = |sample: &[f64]| {
        let pick = |values: &[f64]| sample.iter().map(|&at| values[at as usize]).collect::<Vec<f64>>();
        kendall_tau(&pick(&scores), &pick(&truth)).map_or(f64::NAN, |tau| tau * signs)
    };
    // a sample of one child many times has no ranking: with few children there is no interval
    let interval = bootstrap_interval(&places, of_sample, 2000, 0.95, &mut Rng::new(job.recipe.seed).fork("bootstrap"));
    let seeds: Vec<[f64; 2]> = table
        .iter()
        .filter_map(|(_, values)| {
            let mut values = values.values().copied();
            Some([values.next()?, values.next()?])
        })
        .collect();
    let of_seed = |at: usize| Losses::new(seeds.iter().map(|pair| pair[at]).collect());
    let ranking = Ranking {
        source: source.to_owned(),
        children: n,
        kendall: agreed.kendall,
        error: (2.0 * (2.0 * n as f64 + 5.0) / (9.0 * n as f64 * (n as f64 - 1.0))).sqrt(),
        interval: interval.ok().map(|found| [found.lower, found.upper]),
        spearman: agreed.spearman,
        pearson: agreed.pearson,
        ceiling: if seeds.len() > 2 { ceiling(&of_seed(0)?, &of_seed(1)?).ok() } else { None },
        regret: (k, regret),
        precision,
    };
    results.heading(&format!("Ranking against {source}"));
    let interval = match ranking.interval {
        Some([lower, upper]) => format!("{lower:.2} to {upper:.2} over children"),
        None => "unknown with so few children".to_owned(),
    };
    let ceiling = match ranking.ceiling {
        Some(tau) => format!("two seeds of the truth agree by {tau:.2}, so much can be expected at best"),
        None => "without two seeds of each child it is not known what could be reached at best".to_owned(),
    };
    let said = format!(
        "Kendall's tau of {n} children is {:.2} (95 % interval {interval}; a ranking by chance has a standard error of {:.2}); {ceiling}. Spearman {:.2}, Pearson {:.2}. The best of the first {k} misses the best of all by {regret:.4}; {:.0} % of the first {k} are among the {k} best.",
        ranking.kendall,
        ranking.error,
        ranking.spearman,
        ranking.pearson,
        100.0 * precision,
    );
    front::say(&format!("ranking against {source}: {said}"));
    results.note(&said);
    let series = vec![Series::new("children", truth.clone(), scores.clone())];
    let value = if signs > 0.0 { "trained alone, less is better" } else { "trained alone, more is better" };
    let plot = Plot::scatter(
        "Score against truth",
        Axis::linear(value),
        Axis::linear("validation loss with shared weights"),
        series,
    );
    let mut rows = Table::new(["architecture", "operators", "validation_loss", "truth"]);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    for at in order {
        let operators = job.space.names(&children[at])?.join(" ");
        rows.rows.push(vec![
            children[at].to_string(),
            operators,
            format!("{:.6}", scores[at]),
            format!("{:.6}", truth[at]),
        ]);
    }
    results.table(name, "Scores and truths, the best score first", &rows)?;
    results.figure(name, &plot, "A point for each child that was trained alone.")?;
    Ok(ranking)
}
