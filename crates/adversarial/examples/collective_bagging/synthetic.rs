//! Generated votes: families of samples on which half of the sub-classifiers are weak.

use crate::curves::{Point, curve};
use adversarial::bagging::solve::{BranchAndBound, Enumeration};
use adversarial::bagging::{CertifyConfig, Scope, Structure, Votes, certify};
use core_tensor::random::Rng;
use experiment::{Axis, Context, Measured, Plot, Result, Series, Table, Trial};
use serde::{Deserialize, Serialize};

/// Votes and labels: labels are uniform; each sample belongs to one of `families`, each family has a random half of the sub-classifiers, which err on the sample with a probability
/// drawn for it from U(0.2, 0.9), the others with 0.08. A wrong vote is uniform over the other classes.
///
/// One draw for each sample, not for each sub-classifier and sample: an independent program that draws so has accuracy 0.91 and certifies 1703 samples singly at r = 1.
pub(crate) fn votes(
    num_sub_classifiers: usize,
    num_samples: usize,
    classes: usize,
    families: usize,
    seed: u64,
) -> Result<(Votes, Vec<u16>)> {
    let mut rng = Rng::new(seed).fork("votes");
    let half = |rng: &mut Rng| {
        let mut is_weak = vec![false; num_sub_classifiers];
        let chosen = rng.sample_without_replacement(num_sub_classifiers, num_sub_classifiers / 2);
        chosen.into_iter().for_each(|g| is_weak[g as usize] = true);
        is_weak
    };
    let weak: Vec<Vec<bool>> = (0..families).map(|_| half(&mut rng)).collect();
    let mut votes = vec![0; num_sub_classifiers * num_samples];
    let mut labels = Vec::with_capacity(num_samples);
    for sample in 0..num_samples {
        let (label, family, error) = (rng.below(classes), rng.below(families), 0.2 + 0.7 * rng.unit());
        labels.push(label as u16);
        for g in 0..num_sub_classifiers {
            let is_wrong = rng.unit() < if weak[family][g] { error } else { 0.08 };
            let vote = if is_wrong { (label + 1 + rng.below(classes - 1)) % classes } else { label };
            votes[g * num_samples + sample] = vote as u16;
        }
    }
    Ok((Votes::new(classes, num_sub_classifiers, votes)?, labels))
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Outcome {
    accuracy: f64,
    points: Vec<Point>,
    disagreements: u64,
    wrong_decompositions: u64,
}

const BUDGETS: [usize; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
/// Branch and bound takes seconds above.
const AGREEING: usize = 5;

fn trial(seed: u64) -> Result<Outcome> {
    let (votes, labels) = votes(20, 2000, 2, 40, seed)?;
    let structure = Structure::hash_buckets(20, 20)?;
    let options = CertifyConfig { solver: &Enumeration::default(), ..CertifyConfig::default() };
    let points = curve(&votes, &labels, &structure, &BUDGETS, &options)?;
    let (mut disagreements, mut wrong_decompositions) = (0, 0);
    for point in &points {
        for (scope, certified) in [(Scope::all(), point.robust), (Scope::correct(&labels), point.correct)] {
            let groups = CertifyConfig { group_size: Some(100), ..options };
            let found = certify(&votes, &structure, point.budget, &scope, &groups)?;
            wrong_decompositions += u64::from(found.certified() > certified);
            if point.budget > AGREEING {
                continue;
            }
            let branching = CertifyConfig { solver: &BranchAndBound, ..CertifyConfig::default() };
            let found = certify(&votes, &structure, point.budget, &scope, &branching)?;
            disagreements += u64::from(found.certified() != certified || !found.is_optimal() || point.gap > 0);
        }
    }
    let accuracy = votes.num_correct(&labels)? as f64 / 20.;
    Ok(Outcome { accuracy, points, disagreements, wrong_decompositions })
}

pub(crate) fn run(context: &mut Context) -> Result<()> {
    let trials = (0..2u64).map(|seed| Trial::new(format!("seed-{seed}"), seed)).collect();
    let results = context.trials("synthetic", trials, |_, context| trial(context.seed()))?;
    if !results.is_complete() {
        return Ok(());
    }
    let results = results.all()?;
    let data = "generated votes of families";
    let generated = |value: f64| Measured {
        value,
        trials: results.len(),
        data: data.into(),
        is_synthetic: true,
        ..Measured::default()
    };
    let excess = |range: std::ops::Range<usize>| {
        let robust = |point: &Point| point.robust as f64 - point.samplewise_robust as f64;
        let of = |outcome: &Outcome| outcome.points[range.clone()].iter().map(robust).fold(f64::INFINITY, f64::min);
        results.iter().map(of).fold(f64::INFINITY, f64::min)
    };
    context.claim("synthetic-excess-r1", generated(excess(0..1)))?;
    context.claim("synthetic-excess", generated(excess(1..8)))?;
    let sum = |count: fn(&Outcome) -> u64| results.iter().map(count).sum::<u64>() as f64;
    context.claim("synthetic-solvers-agree", generated(sum(|outcome| outcome.disagreements)))?;
    context.claim("synthetic-decomposition-holds", generated(sum(|outcome| outcome.wrong_decompositions)))?;
    let mut table =
        Table::new(["seed", "accuracy %", "r", "sample-wise CR", "collective CR", "sample-wise CA", "collective CA"]);
    for (seed, outcome) in results.iter().enumerate() {
        for point in &outcome.points {
            table.rows.push(
                [
                    seed.to_string(),
                    format!("{:.1}", outcome.accuracy),
                    point.budget.to_string(),
                    point.samplewise_robust.to_string(),
                    point.robust.to_string(),
                    point.samplewise_correct.to_string(),
                    point.correct.to_string(),
                ]
                .into(),
            );
        }
    }
    context.table("Generated votes, of 2000 predictions (CR: certified to keep, CA: certified to be right)", table);
    let first = &results[0].points;
    let x: Vec<f64> = first.iter().map(|point| point.budget as f64).collect();
    let series = |name: &str, value: fn(&Point) -> u64| {
        Series::new(name, x.clone(), first.iter().map(|point| value(point) as f64).collect())
    };
    let series = vec![series("collective", |p| p.robust), series("sample-wise", |p| p.samplewise_robust)];
    let (x, y) = (Axis::linear("budget r"), Axis::linear("predictions certified to keep"));
    context.plot("synthetic", Plot::lines("Certificates of generated votes", x, y, series))
}
