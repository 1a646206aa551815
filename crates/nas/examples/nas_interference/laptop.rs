//! Truths, super-nets of twelve seeds, probes, and how well scores rank.

use crate::language::{Batch, Language};
use crate::training::{Method, Trained, alone, guessing, loss_of, losses, train, train_watched};
use core_tensor::random::Rng;
use experiment::{Axis, Context, Measured, Plot, Result, Series, Table, Trial, TrialContext, statistics};
use nas::interference::{AtDistance, ForcedInput, ForcedOutput, Mean};
use nas::ranking::{agreement, ceiling, paired_tau, top_k_regret};
use nas::{Architecture, Direction, Gradual, Losses, Probe, SearchSpace, TruthFile, TruthTable};
use serde::{Deserialize, Serialize};

const ARCHITECTURES: usize = 40;
const TRUTH_SEEDS: u64 = 2;
const TRUTH_STEPS: usize = 1500;
const STEPS: usize = 6000;
const SEEDS: u64 = 12;
const CONTROL_SEEDS: u64 = 4;
/// Super-nets of a method that are probed.
const PROBED: u64 = 3;
const METHODS: [Method; 4] = [Method::Spos, Method::MagicT, Method::MagicA, Method::MagicAt];
const CONTROLS: [(Method, &str); 5] = [
    (Method::SposLonger, "control-equal-cost"),
    (Method::FairNas, "control-fair"),
    (Method::SumNas, "control-sumnas"),
    (Method::UntrainedAnchor, "control-anchor"),
    (Method::ShuffledChain, "control-order"),
];
const DATA: &str = "the language local-and-copy";
/// Steps between looks at the conflict of consecutive steps, and the steps that are looked at.
const WATCHED: (usize, usize) = (500, 16);
const SHARES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
const WEIGHTS: [f64; 4] = [0.0, 0.05, 0.5, 5.0];

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Probes {
    distances: Vec<AtDistance>,
    forced: Vec<Forced>,
    finals: f64,
    inputs: f64,
    outputs: f64,
    finals_at_distance: Vec<(usize, usize, Option<f64>)>,
    pairs: Vec<(usize, f64, f64)>,
    consecutive: Mean,
    loss: f64,
}

/// A forced input as super-nets keep it; with losses it is in [`Along`].
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Forced {
    share: f64,
    with_first: Mean,
    with_unrelated: Mean,
}

/// What is looked at in one super-net of each method, along its training and at the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Along {
    conflicts: Vec<Conflict>,
    heat_map: HeatMap,
    forced_input: Vec<ForcedInput>,
    forced_output: Vec<ForcedOutput>,
    /// Mean loss of random pairs' children.
    pair_loss: f64,
}

/// How alike gradients of consecutive steps are after so many, and the mean loss of their children.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Conflict {
    step: usize,
    cosine: Mean,
    loss: f64,
}

/// Children that share an operator of the middle layer and differ from the first in more and more others, by that number.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct HeatMap {
    names: Vec<String>,
    values: Vec<Vec<Option<f64>>>,
    loss: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    losses: Vec<f64>,
    probes: Option<Probes>,
    replaced: u64,
}

pub(crate) fn run(context: &mut Context) -> Result<()> {
    let language = Language::new(context.seed_of("language"));
    let test = language.batch(2048, &mut Rng::new(context.seed_of("test")))?;
    let space = crate::training::config(false).space()?;
    let architectures = space.sample_distinct(ARCHITECTURES, &mut Rng::new(context.seed_of("architectures")))?;

    // a table of its own, which resumed and sharded runs and other seeds of training share
    let key = TruthTable::key_of(&[
        "local-and-copy, tiny, post-norm, Adam",
        &TRUTH_STEPS.to_string(),
        &context.seed_of("language").to_string(),
        &context.seed_of("test").to_string(),
    ]);
    let path = context.directory().join(format!("truth-{key}.csv"));
    let mut trials = Vec::new();
    for seed in 0..TRUTH_SEEDS {
        trials.extend(architectures.iter().map(|a| Trial::new(format!("{a}-seed-{seed}"), (a.clone(), seed))));
    }
    let truth = context.trials("truth", trials, |(architecture, seed): &(Architecture, u64), trial| {
        let mut file = TruthFile::open(&path, &key, Direction::LowerIsBetter)?;
        if let Some(known) = file.table().get(architecture, *seed) {
            return Ok(known);
        }
        let value = alone(architecture, &language, &test, (TRUTH_STEPS, 1000 + seed), trial)?;
        file.record(architecture.clone(), *seed, value)?;
        Ok(value)
    })?;
    let mut trials = Vec::new();
    for seed in 0..SEEDS {
        trials.extend(METHODS.map(|method| (method, seed)));
    }
    for seed in 0..CONTROL_SEEDS {
        trials.extend(CONTROLS.map(|(method, _)| (method, seed)));
    }
    let trials =
        trials.into_iter().map(|(method, seed)| Trial::new(format!("{}, seed {seed}", method.name()), (method, seed)));
    let nets = context.trials("nets", trials.collect(), |&(method, seed): &(Method, u64), trial| {
        let trained = train(method, &language, (STEPS, seed), trial)?;
        let is_probed = METHODS.contains(&method) && seed < PROBED;
        let probes = if is_probed { Some(probes(&trained, &language, seed)?) } else { None };
        Ok(Found { losses: losses(&trained.net, &test, &architectures)?, probes, replaced: trained.replaced })
    })?;
    let trials = METHODS.map(|method| Trial::new(method.name(), method)).into_iter().collect();
    let watched = context.trials("along", trials, |&method: &Method, trial| along(method, &language, trial))?;
    let truth: Vec<f64> = truth.all()?.into_iter().collect();
    let of_seed = |seed: usize| Losses::new(truth[seed * ARCHITECTURES..(seed + 1) * ARCHITECTURES].to_vec());
    let mean: Vec<f64> = (0..ARCHITECTURES).map(|at| (truth[at] + truth[ARCHITECTURES + at]) / 2.0).collect();
    let found: Vec<Found> = nets.all()?.into_iter().collect();
    let watched: Vec<Along> = watched.all()?;
    report(context, &found, (&Losses::new(mean)?, ceiling(&of_seed(0)?, &of_seed(1)?)?))?;
    losses_beside(context, &found, &watched)?;
    along_training(context, &watched)?;
    let map = &watched[0].heat_map;
    let values = map.values.iter().map(|row| row.iter().map(|value| value.unwrap_or(f64::NAN)).collect()).collect();
    let title = "Similarity of gradients at the third layer's operator of children of one SPOS super-net";
    let said = format!(
        "Children from top to bottom differ from the first in 0, 1, 2, 3 and 4 other layers. Their mean loss is {:.2}, that of guessing {:.2}",
        map.loss,
        guessing(),
    );
    let plot = Plot::heat_map(title, map.names.clone(), map.names.clone(), values).description(said);
    context.plot("heat-map", plot)
}

fn probes(trained: &Trained, language: &Language, seed: u64) -> Result<Probes> {
    let batch: Batch = language.batch(256, &mut Rng::new(seed).fork("probe"))?;
    let loss = loss_of(&batch);
    let probe = Probe::new(&trained.net, &batch.ids, &loss);
    let association = probe.association(150, seed)?;
    let (consecutive, mean_loss) = probe.consecutive(&trained.last)?;
    let forced = probe.forced_input(&SHARES, 20, seed)?.into_iter();
    Ok(Probes {
        distances: probe.by_distance(30, seed)?,
        forced: forced
            .map(|ForcedInput { share, with_first, with_unrelated, .. }| Forced { share, with_first, with_unrelated })
            .collect(),
        finals: association.finals.unwrap_or(f64::NAN),
        inputs: association.inputs.unwrap_or(f64::NAN),
        outputs: association.outputs.unwrap_or(f64::NAN),
        finals_at_distance: association.finals_at_distance,
        pairs: association.pairs.iter().map(|pair| (pair.0, pair.1, pair.4)).collect(),
        consecutive,
        loss: mean_loss,
    })
}

/// The super-net of a method with the first seed once more, watched as it trains.
fn along(method: Method, language: &Language, trial: &TrialContext) -> Result<Along> {
    let seed = 0;
    let batch: Batch = language.batch(256, &mut Rng::new(seed).fork("probe"))?;
    let loss = loss_of(&batch);
    let mut conflicts = Vec::new();
    let trained = train_watched(method, language, (STEPS, seed), trial, |step, net, paths| {
        if step % WATCHED.0 == 0 {
            let last: Vec<Architecture> = paths[step - WATCHED.1..].iter().flatten().cloned().collect();
            let (cosine, loss) = Probe::new(net, &batch.ids, &loss).consecutive(&last)?;
            conflicts.push(Conflict { step, cosine, loss });
        }
        Ok(())
    })?;
    let probe = Probe::new(&trained.net, &batch.ids, &loss);
    Ok(Along {
        conflicts,
        heat_map: heat_map(&probe, trained.net.space(), seed)?,
        forced_input: probe.forced_input(&SHARES, 20, seed)?,
        forced_output: probe.forced_output(&WEIGHTS, 20, seed)?,
        pair_loss: probe.association(150, seed)?.loss,
    })
}

/// Three chains from one child, each step of which changes one further layer, in the order of their distances to it.
fn heat_map(probe: &Probe<'_>, space: &SearchSpace, seed: u64) -> Result<HeatMap> {
    let shared = space.num_layers() / 2;
    let mut rng = Rng::new(seed).fork("heat map");
    let first = space.sample(&mut rng)?;
    let mut children = vec![first.clone()];
    for _ in 0..3 {
        let mut layers: Vec<usize> = (0..space.num_layers()).filter(|&layer| layer != shared).collect();
        rng.shuffle(&mut layers);
        let mut child = first.clone();
        for layer in layers {
            child = Gradual::changed(&child, layer, rng.below(space.candidates(layer).len() - 1));
            if !children.contains(&child) {
                children.push(child.clone());
            }
        }
    }
    children.sort_by_key(|child| child.distance(&first));
    let (values, loss) = probe.heat_map(shared, &children)?;
    Ok(HeatMap { names: children.iter().map(Architecture::to_string).collect(), values, loss })
}

/// The super-nets of a method, in the order of their trials.
fn of(found: &[Found], method: Method) -> Vec<&Found> {
    let main = METHODS.iter().position(|known| *known == method);
    match main {
        Some(at) => (0..SEEDS as usize).map(|seed| &found[seed * METHODS.len() + at]).collect(),
        None => {
            let at = CONTROLS.iter().position(|(known, _)| *known == method).unwrap_or(0);
            let first = SEEDS as usize * METHODS.len();
            (0..CONTROL_SEEDS as usize).map(|seed| &found[first + seed * CONTROLS.len() + at]).collect()
        }
    }
}

fn report(context: &mut Context, found: &[Found], (truth, ceiling): (&Losses, f64)) -> Result<()> {
    let measured = |values: &[f64], note: String| Measured {
        is_synthetic: true,
        note: Some(note),
        ..Measured::mean_of(values, DATA)
    };
    let scores = |method: Method| -> Result<Vec<Losses>> {
        Ok(of(found, method).iter().map(|found| Losses::new(found.losses.clone())).collect::<nas::Result<_>>()?)
    };
    let taus = |method: Method| -> Result<Vec<f64>> {
        scores(method)?.iter().map(|scores| Ok(agreement(scores, truth)?.kendall)).collect()
    };
    let probed: Vec<(Method, &Probes)> = METHODS
        .iter()
        .flat_map(|&method| {
            of(found, method).into_iter().filter_map(move |found| Some((method, found.probes.as_ref()?)))
        })
        .collect();
    let at = |probes: &Probes, distance: usize| {
        probes.distances.iter().find(|at| at.distance == distance).map_or(f64::NAN, |at| at.cosine.mean)
    };
    let means: Vec<f64> = (1..=4)
        .map(|distance| statistics::mean(&probed.iter().map(|(_, probes)| at(probes, distance)).collect::<Vec<_>>()))
        .collect();
    let is_falling = means.windows(2).all(|pair| pair[0] > pair[1]);
    let falls: Vec<f64> =
        probed.iter().map(|(_, probes)| if is_falling { at(probes, 1) - at(probes, 4) } else { 0.0 }).collect();
    let loss = statistics::mean(&probed.iter().map(|(_, probes)| probes.loss).collect::<Vec<_>>());
    let shown: Vec<String> = means.iter().map(|mean| format!("{mean:.3}")).collect();
    let note = format!(
        "{} super-nets: {} at distances 1 to 4; mean loss of children {loss:.2}",
        probed.len(),
        shown.join(", ")
    );
    context.claim("interference-grows", measured(&falls, note))?;
    let finals: Vec<f64> = probed.iter().map(|(_, probes)| probes.finals).collect();
    let fixed = |distance: usize| -> Vec<f64> {
        let of = |probes: &&Probes| probes.finals_at_distance.iter().find(|at| at.0 == distance).and_then(|at| at.2);
        probed.iter().filter_map(|(_, probes)| of(probes)).collect()
    };
    let mean_of = |values: &dyn Fn(&Probes) -> f64| {
        statistics::mean(&probed.iter().map(|(_, probes)| values(probes)).collect::<Vec<_>>())
    };
    let note = format!(
        "at fixed distance 3 and 4: {:.2} and {:.2}; with the operator's own input {:.2}, output {:.2}",
        statistics::mean(&fixed(3)),
        statistics::mean(&fixed(4)),
        mean_of(&|probes| probes.inputs),
        mean_of(&|probes| probes.outputs),
    );
    context.claim("similar-outputs-interfere-less", measured(&finals, note))?;
    let half = |probes: &Probes| probes.forced.iter().find(|forced| forced.share == 0.5).cloned();
    let gaps: Vec<f64> = probed
        .iter()
        .filter_map(|(_, probes)| half(probes).map(|half| half.with_first.mean - half.with_unrelated.mean))
        .collect();
    context.claim("forced-input-half", measured(&gaps, format!("{} super-nets", gaps.len())))?;

    let spos = scores(Method::Spos)?;
    let of_spos = taus(Method::Spos)?;
    context.claim(
        "supernet-ranks",
        measured(&of_spos, format!("{SEEDS} seeds, {ARCHITECTURES} architectures; ceiling {ceiling:.2}")),
    )?;
    for (method, id) in [
        (Method::MagicT, "magic-t-raises-tau"),
        (Method::MagicA, "magic-a-raises-tau"),
        (Method::MagicAt, "magic-at-raises-tau"),
    ] {
        let pair = paired_tau(&scores(method)?, &spos, truth, 2000, context.seed_of("bootstrap"))?;
        let (mean, low, high) = pair.over_seeds;
        let power = match pair.seeds_for_power {
            Some(seeds) => format!("{seeds} seeds would find a difference of this size with a power of 80 %"),
            None => "no number of seeds finds a difference that is not above 0".to_owned(),
        };
        let note = format!(
            "mean {mean:+.3}; over seeds {low:+.3} to {high:+.3}, over architectures and seeds {:+.3} to {:+.3}; {power}",
            pair.bootstrap.1, pair.bootstrap.2
        );
        let lower = low.min(pair.bootstrap.1);
        context.claim(id, Measured { trials: SEEDS as usize, ..measured(&[lower], note) })?;
    }
    context.claim("truth-ceiling", measured(&[ceiling], format!("{TRUTH_SEEDS} seeds of {TRUTH_STEPS} steps")))?;
    let regrets: Vec<f64> = spos.iter().map(|scores| top_k_regret(scores, truth, 5)).collect::<nas::Result<_>>()?;
    context.claim("search-regret", measured(&regrets, "nats, among the 40 architectures with a truth".into()))?;
    context.claim("random-regret", measured(&[random_regret(truth, 5)], "nats".into()))?;
    for (method, id) in CONTROLS {
        let differences: Vec<f64> = taus(method)?.iter().zip(&of_spos).map(|(own, spos)| own - spos).collect();
        let half = statistics::confidence_95(&differences).unwrap_or(f64::NAN);
        let note = format!("{CONTROL_SEEDS} seeds; 95 % interval +- {half:.3}");
        context.claim(id, measured(&differences, note))?;
    }
    figures(context, found, &probed, (truth, &means))
}

/// The expected regret of the best of k random architectures.
fn random_regret(truth: &Losses, k: usize) -> f64 {
    use nas::Scores;
    let mut values = truth.values().to_vec();
    values.sort_by(f64::total_cmp);
    let n = values.len();
    // P(the best of k is number i) = C(n - i - 1, k - 1) / C(n, k)
    let mut left = 1.0;
    let mut expected = 0.0;
    for (at, value) in values.iter().enumerate() {
        let chance = if n - at >= k { left * k as f64 / (n - at) as f64 } else { 0.0 };
        expected += chance * (value - values[0]);
        left -= chance;
    }
    expected
}

fn figures(
    context: &mut Context,
    found: &[Found],
    probed: &[(Method, &Probes)],
    (truth, means): (&Losses, &[f64]),
) -> Result<()> {
    use nas::Scores;
    let mut table = Table::new(["method", "tau, each seed", "mean", "anchors replaced"]);
    for method in METHODS.into_iter().chain(CONTROLS.map(|(method, _)| method)) {
        let all = of(found, method);
        let taus: Vec<f64> = all
            .iter()
            .map(|found| Ok(agreement(&Losses::new(found.losses.clone())?, truth)?.kendall))
            .collect::<Result<_>>()?;
        let shown: Vec<String> = taus.iter().map(|tau| format!("{tau:.3}")).collect();
        let replaced: u64 = all.iter().map(|found| found.replaced).sum();
        let mean = format!("{:.3}", statistics::mean(&taus));
        table.rows.push(vec![method.name().to_owned(), shown.join(", "), mean, replaced.to_string()]);
    }
    context.table("Kendall's tau of super-net scores with training alone, 40 architectures", table);
    let mut series = Vec::new();
    for method in METHODS {
        let own: Vec<&Probes> =
            probed.iter().filter(|(known, _)| *known == method).map(|(_, probes)| *probes).collect();
        let y = (1..=4)
            .map(|distance| {
                let values: Vec<f64> = own
                    .iter()
                    .filter_map(|probes| probes.distances.iter().find(|at| at.distance == distance))
                    .map(|at| at.cosine.mean)
                    .collect();
                statistics::mean(&values)
            })
            .collect();
        series.push(Series::new(method.name(), vec![1.0, 2.0, 3.0, 4.0], y));
    }
    series.push(Series::new("all", vec![1.0, 2.0, 3.0, 4.0], means.to_vec()));
    let (x, y) = (Axis::linear("layers in which children differ"), Axis::linear("similarity of gradients"));
    context.plot("distance", Plot::lines("Interference grows with distance", x, y, series))?;
    let mut series = Vec::new();
    for distance in 1..=5 {
        let pairs: Vec<(usize, f64, f64)> =
            probed[0].1.pairs.iter().copied().filter(|pair| pair.0 == distance).collect();
        if !pairs.is_empty() {
            let (x, y) = pairs.iter().map(|pair| (pair.2, pair.1)).unzip();
            series.push(Series::new(format!("distance {distance}"), x, y));
        }
    }
    let (x, y) = (Axis::linear("similarity of final hidden states"), Axis::linear("similarity of gradients"));
    context.plot("finals", Plot::scatter("Pairs of children of one SPOS super-net", x, y, series))?;
    let mut series = Vec::new();
    for (name, pick) in [("with the other child's input", true), ("with an unrelated child's", false)] {
        let y = (0..SHARES.len())
            .map(|at| {
                let of = |probes: &Probes| {
                    let forced = &probes.forced[at];
                    if pick { forced.with_first.mean } else { forced.with_unrelated.mean }
                };
                statistics::mean(&probed.iter().map(|(_, probes)| of(probes)).collect::<Vec<_>>())
            })
            .collect();
        series.push(Series::new(name, SHARES.to_vec(), y));
    }
    let (x, y) = (Axis::linear("share that is mixed in"), Axis::linear("similarity of gradients"));
    context.plot("forced-input", Plot::lines("Forced inputs", x, y, series))?;
    methods(context, found, truth)?;
    let scores = &of(found, Method::Spos)[0].losses;
    let series = vec![Series::new("architectures", truth.values().to_vec(), scores.clone())];
    let (x, y) = (Axis::linear("loss when trained alone"), Axis::linear("loss with shared weights"));
    context.plot("ranking", Plot::scatter("Score against truth, SPOS, seed 0", x, y, series))?;
    Ok(())
}

/// Every similarity with its standard error and the loss of the children that it is of, and the losses drawn as the similarities are.
fn losses_beside(context: &mut Context, found: &[Found], watched: &[Along]) -> Result<()> {
    let mut table =
        Table::new(["similarity of", "at", "super-nets", "mean", "standard error", "mean loss of the children"]);
    let mut row = |what: &str, at: String, cosines: Vec<Mean>, losses: Vec<f64>| {
        // each net has an error of its own: that of their mean
        let error = cosines.iter().map(|cosine| cosine.error.powi(2)).sum::<f64>().sqrt() / cosines.len() as f64;
        let mean = statistics::mean(&cosines.iter().map(|cosine| cosine.mean).collect::<Vec<_>>());
        let [mean, error, loss] = [mean, error, statistics::mean(&losses)].map(|value| format!("{value:.3}"));
        table.rows.push(vec![what.to_owned(), at, cosines.len().to_string(), mean, error, loss]);
    };
    let mut series = Vec::new();
    for method in METHODS {
        let own: Vec<&Probes> = of(found, method).into_iter().filter_map(|found| found.probes.as_ref()).collect();
        let at = |distance: usize| -> (Vec<Mean>, Vec<f64>) {
            let of = |probes: &&Probes| probes.distances.iter().find(|at| at.distance == distance).copied();
            own.iter().filter_map(of).map(|at| (at.cosine, at.loss)).unzip()
        };
        for distance in 1..=4 {
            let (cosines, losses) = at(distance);
            row(method.name(), format!("distance {distance}"), cosines, losses);
        }
        let cosines = own.iter().map(|probes| probes.consecutive).collect();
        row(method.name(), "consecutive steps".into(), cosines, own.iter().map(|probes| probes.loss).collect());
        let y = (1..=4).map(|distance| statistics::mean(&at(distance).1)).collect();
        series.push(Series::new(method.name(), vec![1.0, 2.0, 3.0, 4.0], y));
    }
    series.push(Series::new("guessing", vec![1.0, 4.0], vec![guessing(); 2]));
    for (at, share) in SHARES.iter().enumerate() {
        let of = |pick: fn(&ForcedInput) -> Mean| watched.iter().map(|along| pick(&along.forced_input[at])).collect();
        let losses = || watched.iter().map(|along| along.forced_input[at].loss).collect();
        row("forced input, the other child's", format!("share {share}"), of(|forced| forced.with_first), losses());
        row(
            "forced input, an unrelated child's",
            format!("share {share}"),
            of(|forced| forced.with_unrelated),
            losses(),
        );
    }
    for (at, weight) in WEIGHTS.iter().enumerate() {
        let of = |pick: fn(&ForcedOutput) -> Mean| watched.iter().map(|along| pick(&along.forced_output[at])).collect();
        let losses = || watched.iter().map(|along| along.forced_output[at].loss).collect();
        row("forced output, the other child's", format!("weight {weight}"), of(|forced| forced.with_first), losses());
        row(
            "forced output, an unrelated child's",
            format!("weight {weight}"),
            of(|forced| forced.with_unrelated),
            losses(),
        );
    }
    context.table("Similarities of gradients, with the loss of the children that they are of", table);
    context.note(format!(
        "The children of random pairs have a mean loss of {:.2} in the SPOS super-net of the first seed; guessing has {:.2}.",
        watched[0].pair_loss,
        guessing(),
    ));
    let (x, y) = (Axis::linear("layers in which children differ"), Axis::linear("mean loss of the children"));
    context.plot("distance-loss", Plot::lines("What the children have learnt, by distance", x, y, series))
}

/// How alike gradients of consecutive steps are along the training, with the losses of their children.
fn along_training(context: &mut Context, watched: &[Along]) -> Result<()> {
    let (mut cosines, mut losses) = (Vec::new(), Vec::new());
    for (method, along) in METHODS.iter().zip(watched) {
        let x = || along.conflicts.iter().map(|at| at.step as f64).collect::<Vec<f64>>();
        let of = |pick: fn(&Conflict) -> f64| along.conflicts.iter().map(pick).collect::<Vec<f64>>();
        let errors = of(|at| if at.cosine.error.is_finite() { at.cosine.error } else { 0.0 });
        cosines.push(Series::new(method.name(), x(), of(|at| at.cosine.mean)).spread(&errors));
        losses.push(Series::new(method.name(), x(), of(|at| at.loss)));
    }
    let (x, y) = (Axis::linear("step"), Axis::linear("similarity of gradients of consecutive steps"));
    context.plot("conflict", Plot::lines("Conflict along the training, one super-net each", x, y, cosines))?;
    let (x, y) = (Axis::linear("step"), Axis::linear("mean loss of the children"));
    context.plot("conflict-loss", Plot::lines("What the children have learnt, along the training", x, y, losses))
}

/// Kendall's tau by method with all seeds, and what is missed by taking the best of the first k.
fn methods(context: &mut Context, found: &[Found], truth: &Losses) -> Result<()> {
    use nas::Scores;
    let (mut series, mut curves) = (Vec::new(), Vec::new());
    let ks: Vec<usize> = (1..=truth.values().len()).collect();
    let x = || ks.iter().map(|&k| k as f64).collect::<Vec<f64>>();
    for (at, method) in METHODS.into_iter().enumerate() {
        let scores: Vec<Losses> =
            of(found, method).iter().map(|found| Losses::new(found.losses.clone())).collect::<nas::Result<_>>()?;
        let taus: Vec<f64> =
            scores.iter().map(|scores| Ok(agreement(scores, truth)?.kendall)).collect::<Result<_>>()?;
        series.push(Series::new(method.name(), vec![at as f64 + 1.0; taus.len()], taus));
        let regret = |&k: &usize| -> Result<f64> {
            let each: Vec<f64> =
                scores.iter().map(|scores| top_k_regret(scores, truth, k)).collect::<nas::Result<_>>()?;
            Ok(statistics::mean(&each))
        };
        curves.push(Series::new(method.name(), x(), ks.iter().map(regret).collect::<Result<_>>()?));
    }
    let (x_axis, y_axis) = (Axis::linear("method"), Axis::linear("Kendall's tau"));
    context.plot("taus", Plot::scatter("Tau by method, a point for each seed", x_axis, y_axis, series))?;
    curves.push(Series::new("random", x(), ks.iter().map(|&k| random_regret(truth, k)).collect()));
    let (x_axis, y_axis) = (
        Axis::linear("architectures that are trained alone, the best scores first"),
        Axis::linear("loss above that of the best"),
    );
    context.plot("search", Plot::lines("Search among the architectures with a truth", x_axis, y_axis, curves))
}
