//! Interference of the trained super-net: figures, tables, and what they say.

use crate::Job;
use crate::data::Data;
use crate::problem::Fallible;
use crate::training::{guessing, loss_of};
use candle_core::Tensor;
use core_tensor::random::Rng;
use experiment::{Axis, Plot, Series, Table};
use nas::interference::{Collapse, Mean};
use nas::{Architecture, Gradual, Probe, SuperNet};
use reproduction::front::{self, Results};

/// Steps whose gradients are compared on the way.
pub(crate) const CONSECUTIVE: usize = 6;
const CHAINS: usize = 12;
const PAIRS: usize = 60;
const TRIALS: usize = 10;
const SHARES: [f64; 3] = [0.0, 0.5, 1.0];
const WEIGHTS: [f64; 3] = [0.0, 0.05, 0.5];
/// Chains of the check for a collapse.
const CHECKED: usize = 4;

/// How alike gradients of consecutive steps are, after so many.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Conflict {
    pub(crate) step: usize,
    pub(crate) cosine: Mean,
    /// Mean loss of the children.
    pub(crate) loss: f64,
}

/// What the report keeps.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Measured {
    conflicts: Vec<Conflict>,
    distances: Vec<nas::interference::AtDistance>,
    /// Spearman's correlation of the similarity of gradients with that of inputs, outputs and final hidden states.
    association: [Option<f64>; 3],
    collapse: Collapse,
}

/// The gradients that all of this takes, about.
pub(crate) fn passes(layers: usize) -> usize {
    10 * CONSECUTIVE + (CHAINS + CHECKED + 1) * layers + 2 * PAIRS + TRIALS * (5 + 2 * (SHARES.len() + WEIGHTS.len()))
}

/// The batch on which gradients are compared: the first training rows, which are in no order.
pub(crate) fn batch(train: &Data, rows: usize) -> Fallible<(Tensor, Tensor)> {
    let rows: Vec<u32> = (0..train.len().min(rows) as u32).collect();
    Ok(train.batch(&rows)?)
}

fn shown(mean: &Mean) -> [String; 4] {
    let number = |value: f64| if value.is_finite() { format!("{value:.3}") } else { "-".to_owned() };
    [number(mean.mean), number(mean.error), mean.count.to_string(), mean.undefined.to_string()]
}

const MEAN: [&str; 4] = ["similarity", "standard error", "pairs", "without one"];

fn columns<'a>(first: &'a str, with: &'a str) -> Vec<String> {
    [first, with]
        .iter()
        .filter(|name| !name.is_empty())
        .chain(&MEAN)
        .chain(&["mean loss"])
        .map(|&name| name.to_owned())
        .collect()
}

fn row(first: &[String], mean: &Mean, loss: f64) -> Vec<String> {
    first.iter().cloned().chain(shown(mean)).chain([format!("{loss:.4}")]).collect()
}

pub(crate) fn report(
    job: &Job,
    net: &SuperNet,
    conflicts: &[Conflict],
    rows: usize,
    results: &mut Results,
) -> Fallible<Measured> {
    let (x, labels) = batch(&job.parts.train, rows)?;
    let loss = loss_of(&labels);
    let probe = Probe::new(net, &x, &loss);
    let seed = job.recipe.seed;
    let guess = guessing(&job.parts.train, &job.parts.train);
    results.heading("Interference");
    results.note(&format!(
        "Similarity is the cosine of the gradients that two children send to weights that they share, on the same {} training rows: 1 where they agree, 0 where they are unrelated, below 0 where they undo each other. Beside each stands the mean loss of the children: similar gradients of \
         children that have learnt nothing mean nothing (saying class frequencies has a loss of {guess:.4}). Pairs without a similarity share an operator without parameters, or one whose gradient is zero.",
        x.dims()[0],
    ));
    let collapse = probe.collapse(guess, CHECKED, seed)?;
    results.note(&match collapse.is_collapsed {
        _ if collapse.cosine.is_nan() => {
            "Whether the children have collapsed is not known: no pair that was looked at has a similarity.".to_owned()
        }
        true => format!(
            "Warning: the children have collapsed to one output: a loss of {:.4} at a similarity of {:.3}. No score means anything.",
            collapse.loss, collapse.cosine
        ),
        false => format!("The children have not collapsed: a loss of {:.4} at a similarity of {:.3}.", collapse.loss, collapse.cosine),
    });
    if collapse.is_collapsed {
        front::say("warning: the children of the super-net have collapsed to one output; no score means anything");
    }

    let distances = probe.by_distance(CHAINS, seed)?;
    let mut table = Table::new(columns("distance", ""));
    for at in &distances {
        table.rows.push(row(&[at.distance.to_string()], &at.cosine, at.loss));
    }
    let x_of: Vec<f64> = distances.iter().map(|at| at.distance as f64).collect();
    let errors: Vec<f64> = distances.iter().map(|at| zero(at.cosine.error)).collect();
    let similarity = Series::new("similarity", x_of.clone(), distances.iter().map(|at| at.cosine.mean).collect());
    let losses = Series::new("mean loss of the children", x_of, distances.iter().map(|at| at.loss).collect());
    let (x_axis, y_axis) = (Axis::linear("layers in which children differ"), Axis::linear("similarity; loss"));
    let plot =
        Plot::lines("By the number of layers that differ", x_axis, y_axis, vec![similarity.spread(&errors), losses]);
    results.table("distance", "Similarity by the number of layers in which children differ", &table)?;
    results.figure("distance", &plot, "The similarity of gradients, and the loss of the children.")?;
    if let (Some(first), Some(last)) = (distances.first(), distances.last()) {
        results.say(&format!(
            "similarity of gradients {:.2} +- {:.2} at distance {}, {:.2} +- {:.2} at {}; mean loss {:.3}",
            first.cosine.mean,
            first.cosine.error,
            first.distance,
            last.cosine.mean,
            last.cosine.error,
            last.distance,
            last.loss
        ));
    }

    results.note("Where similarity falls with the number of layers that differ, the more two children differ, the more they disturb each other at what they share.");
    let mut table = Table::new(columns("step", ""));
    for at in conflicts {
        table.rows.push(row(&[at.step.to_string()], &at.cosine, at.loss));
    }
    let steps: Vec<f64> = conflicts.iter().map(|at| at.step as f64).collect();
    let series = vec![
        Series::new(
            "similarity of consecutive steps",
            steps.clone(),
            conflicts.iter().map(|at| at.cosine.mean).collect(),
        )
        .spread(&conflicts.iter().map(|at| zero(at.cosine.error)).collect::<Vec<_>>()),
        Series::new("mean loss of their children", steps, conflicts.iter().map(|at| at.loss).collect()),
    ];
    let (x_axis, y_axis) = (Axis::linear("step"), Axis::linear("similarity; loss"));
    if !conflicts.is_empty() {
        results.note("Consecutive steps whose gradients are less alike undo more of each other; the gradual sampler changes one operator a step.");
        results.table("conflict", "Similarity of consecutive steps", &table)?;
        results.figure(
            "conflict",
            &Plot::lines("Along the training", x_axis, y_axis, series),
            "The same for consecutive steps of the training.",
        )?;
    }

    heat_map(job, net, &probe, results)?;
    let association = probe.association(PAIRS, seed)?;
    let series = (1..=job.space.num_layers()).filter_map(|distance| {
        let own = association.pairs.iter().filter(|pair| pair.0 == distance);
        let (x, y): (Vec<f64>, Vec<f64>) = own.map(|pair| (pair.4, pair.1)).unzip();
        (!x.is_empty()).then(|| Series::new(format!("distance {distance}"), x, y))
    });
    let series: Vec<Series> = series.collect();
    let correlation = |value: Option<f64>| value.map_or("unknown".to_owned(), |value| format!("{value:.2}"));
    results.note(&format!(
        "Over {} random pairs the similarity of gradients has a rank correlation of {} with that of the inputs of the shared operator, {} with that of its outputs, {} with that of the final hidden states; mean loss {:.4}.",
        association.pairs.len(),
        correlation(association.inputs),
        correlation(association.outputs),
        correlation(association.finals),
        association.loss,
    ));
    if !series.is_empty() {
        let (x_axis, y_axis) =
            (Axis::linear("similarity of final hidden states"), Axis::linear("similarity of gradients"));
        results.figure(
            "finals",
            &Plot::scatter("Pairs of children", x_axis, y_axis, series),
            "A point for each random pair.",
        )?;
    }
    forced(job, &probe, results)?;
    Ok(Measured {
        conflicts: conflicts.to_vec(),
        distances,
        association: [association.inputs, association.outputs, association.finals],
        collapse,
    })
}

fn zero(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// Children that share an operator of the middle layer and differ from the first in more and more others.
fn heat_map(job: &Job, net: &SuperNet, probe: &Probe<'_>, results: &mut Results) -> Fallible<()> {
    let space = &job.space;
    let shared = space.num_layers() / 2;
    let mut rng = Rng::new(job.recipe.seed).fork("heat map");
    let mut first = space.sample(&mut rng)?;
    let has_parameters = |at: usize| !net.operator_parameters(shared, at).is_empty();
    if let Some(operator) = (0..space.candidates(shared).len()).find(|&at| has_parameters(at)) {
        first.0[shared] = operator;
    }
    let mut children: Vec<Architecture> = vec![first];
    let mut layers: Vec<usize> = (0..space.num_layers()).filter(|&layer| layer != shared).collect();
    rng.shuffle(&mut layers);
    for layer in layers {
        let draw = rng.below(space.candidates(layer).len() - 1);
        children.push(Gradual::changed(&children[children.len() - 1], layer, draw));
    }
    let (map, loss) = probe.heat_map(shared, &children)?;
    let values = map.iter().map(|row| row.iter().map(|value| value.unwrap_or(f64::NAN)).collect()).collect();
    let names: Vec<String> = children.iter().map(Architecture::to_string).collect();
    let title = format!("Children that share {} in layer {}", space.name(&children[0], shared), shared + 1);
    let plot = Plot::heat_map(title, names.clone(), names, values);
    let caption = format!("each differs from that above in one more layer; mean loss {loss:.3}");
    Ok(results.figure("heat-map", &plot, &caption)?)
}

/// Forced inputs and outputs, where there are unrelated children.
fn forced(job: &Job, probe: &Probe<'_>, results: &mut Results) -> Fallible<()> {
    let seed = job.recipe.seed;
    if job.space.candidates(0).len() < 3 {
        results.note("Forced inputs and outputs need three operators: a child's, another child's, and that of one that is related to neither.");
        return Ok(());
    }
    results.note("Forced: of two children that share all that follows (or precedes), one gets a share of the other's input, or has its later states drawn to the other's; beside, the same with a child that is related to neither. Only where the first lies above the second do like inputs or outputs make like gradients.");
    let inputs = probe.forced_input(&SHARES, TRIALS, seed)?;
    let rows = inputs.iter().map(|at| (at.share, at.with_first, at.with_unrelated, at.loss)).collect::<Vec<_>>();
    forced_figure(
        results,
        ("forced-input", "share"),
        "Forced inputs: one child's input is mixed with another's",
        &rows,
    )?;
    let outputs = probe.forced_output(&WEIGHTS, TRIALS, seed)?;
    let rows = outputs.iter().map(|at| (at.weight, at.with_first, at.with_unrelated, at.loss)).collect::<Vec<_>>();
    forced_figure(
        results,
        ("forced-output", "weight"),
        "Forced outputs: one child's later states are drawn to another's",
        &rows,
    )
}

fn forced_figure(
    results: &mut Results,
    (name, x): (&str, &str),
    title: &str,
    rows: &[(f64, Mean, Mean, f64)],
) -> Fallible<()> {
    let mut table = Table::new(columns(x, "of"));
    let at: Vec<f64> = rows.iter().map(|row| row.0).collect();
    let mut series = Vec::new();
    for (of, pick) in [("the child compared with", true), ("an unrelated child", false)] {
        let means: Vec<Mean> = rows.iter().map(|row| if pick { row.1 } else { row.2 }).collect();
        let errors: Vec<f64> = means.iter().map(|mean| zero(mean.error)).collect();
        series.push(Series::new(of, at.clone(), means.iter().map(|mean| mean.mean).collect()).spread(&errors));
        for (mean, (x, _, _, loss)) in means.iter().zip(rows) {
            table.rows.push(row(&[x.to_string(), of.to_owned()], mean, *loss));
        }
    }
    let plot = Plot::lines(title, Axis::linear(x), Axis::linear("similarity of gradients"), series);
    results.table(name, title, &table)?;
    Ok(results.figure(name, &plot, &format!("mean loss {:.3}", rows[0].3))?)
}
