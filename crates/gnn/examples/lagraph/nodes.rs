//! Citation networks: LaGraph with and without its terms, and what else trains encoders of nodes.

use candle_core::{DType, Device, Tensor};
use datasets::planetoid;
use experiment::{Axis, Bars, Plot, Series};
use experiment::{Context, Measured, Outcome, Result, Table, Trial, TrialContext};
use gnn::lagraph::{LaGraphConfig, OfficialTraining};
use gnn::probe::classifiers::splits::{LabelRate, Split, label_rate_split, transductive_split};
use gnn::probe::{self, EpochScore, NodeProbe, Selection};
use gnn::self_supervised::{Collapse, FitOptions, Objective, SelfSupervised, Unlabelled};
use gnn::{Features, Graph};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

const SPLITS: u32 = 20;
const RATES: [f64; 5] = [0.01, 0.02, 0.05, 0.1, 0.2];

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Setting {
    set: &'static str,
    variant: &'static str,
}

/// What a training gave. Accuracies in %.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    raw: f64,
    scores: Vec<EpochScore>,
    collapse: Vec<(usize, f64, f64)>,
    /// Accuracy against the share of labelled nodes, untrained and trained.
    rates: Vec<[f64; 2]>,
    /// Two principal components, untrained and trained, and the class of each node.
    maps: [Vec<[f32; 2]>; 2],
    classes: Vec<u32>,
}

pub(crate) struct Runs {
    settings: Vec<Setting>,
    results: Outcome<Found>,
}

struct Prepared {
    data: Unlabelled,
    labels: Vec<u32>,
    classes: usize,
    splits: Vec<Split>,
    labelled: Vec<usize>,
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let variants = ["lagraph", "alpha-0", "no-reconstruction", "GRACE", "BGRL", "DGI"];
    let mut settings: Vec<Setting> =
        variants.iter().map(|&variant| Setting { set: "planetoid-cora", variant }).collect();
    settings.push(Setting { set: "planetoid-citeseer", variant: "lagraph" });
    let device = reproduction::device(context)?;
    let store = reproduction::store(context)?;
    let mut prepared = BTreeMap::new();
    for set in ["planetoid-cora", "planetoid-citeseer"] {
        prepared.insert(set, prepare(&planetoid::load(&store, set)?, &device)?);
    }
    let trials = settings.iter().map(|s| Trial::new(format!("{}-{}", s.set, s.variant), s.clone())).collect();
    let results =
        context.trials("nodes", trials, |setting, trial| train(setting, &prepared[setting.set], trial, &device))?;
    Ok(Runs { settings, results })
}

fn prepare(set: &planetoid::NodeSet, device: &Device) -> Result<Prepared> {
    let graph = Graph::from_edges(set.num_nodes, &set.edges)?;
    let sparse = set.features.as_ref().ok_or("the data set has no features")?;
    let features =
        Features::from_csr(sparse.num_columns, &sparse.indptr, &sparse.indices, &sparse.values, DType::F32, device)?;
    let data = Unlabelled::nodes(&graph, features)?;
    // drawn over all nodes; those without a label then leave every set
    let is_labelled = |row: &usize| set.labels[*row].is_some();
    let labelled: Vec<usize> = (0..set.num_nodes).filter(is_labelled).collect();
    let splits = (0..SPLITS)
        .map(|seed| {
            let mut split = transductive_split(seed, set.num_nodes, 0.8, 0.1)?;
            for rows in [&mut split.train, &mut split.validation, &mut split.test] {
                rows.retain(is_labelled);
            }
            Ok(split)
        })
        .collect::<Result<Vec<_>>>()?;
    let labels = set.labels.iter().map(|label| label.unwrap_or(0)).collect();
    Ok(Prepared { data, labels, classes: set.num_classes, splits, labelled })
}

/// Training of a variant: its objective, epochs, the epochs that are probed.
fn recipe(setting: &Setting, width: usize) -> Result<(LaGraphConfig, Objective, FitOptions, Vec<usize>)> {
    let official = OfficialTraining::of(setting.set)?;
    let config = LaGraphConfig::official(setting.set, width)?;
    let mut options = FitOptions {
        epochs: official.epochs,
        learning_rate: official.learning_rate,
        measures_collapse: false,
        ..FitOptions::default()
    };
    let mut probed = vec![0, 1, 2, 5, 10, 20, 30];
    if setting.set == "planetoid-citeseer" {
        options.epochs = 20;
        probed = vec![0, 5, 10, 20];
    }
    let objective = match setting.variant {
        "lagraph" => Objective::LaGraph(config.clone()),
        "alpha-0" => Objective::LaGraph(LaGraphConfig { alpha: 0.0, ..config.clone() }),
        "no-reconstruction" => Objective::LaGraph(LaGraphConfig { reconstruction_weight: 0.0, ..config.clone() }),
        "GRACE" => Objective::grace(),
        "BGRL" => Objective::bgrl(),
        _ => Objective::Dgi,
    };
    if setting.variant != "lagraph" {
        probed = vec![0, 30];
    }
    Ok((config, objective, options, probed))
}

fn train(setting: &Setting, prepared: &Prepared, trial: &TrialContext, device: &Device) -> Result<Found> {
    let data = &prepared.data;
    let (config, objective, options, probed) = recipe(setting, data.width())?;
    let seed = trial.seed_of("lagraph");
    let options = FitOptions { seed, ..options };
    let mut model = SelfSupervised::new(config.encoder_config(), seed, DType::F32, device)?;
    let raw = data.raw()?;
    let measure = |epoch: usize, loss: f64, model: &SelfSupervised| -> gnn::Result<EpochScore> {
        let x = probe::side_by_side(&[&model.embed(data)?, &raw])?;
        let found = probe::nodes(&x, &prepared.labels, prepared.classes, &prepared.splits, NodeProbe::lagraph())?;
        let mean = probe::mean(&found);
        Ok(EpochScore { epoch, loss, validation: 100.0 * mean.validation, test: 100.0 * mean.test })
    };
    let is_main = setting.variant == "lagraph";
    let of_raw = if is_main {
        let found = probe::nodes(&raw, &prepared.labels, prepared.classes, &prepared.splits, NodeProbe::lagraph())?;
        100.0 * probe::mean(&found).test
    } else {
        f64::NAN
    };
    let untrained = model.embed(data)?;
    let mut scores = vec![measure(0, f64::NAN, &model)?];
    let collapse_of = |embeddings: &Tensor| -> gnn::Result<(f64, f64)> {
        let collapse = Collapse::of(embeddings)?;
        Ok((collapse.effective_rank, collapse.mean_std()))
    };
    let first = collapse_of(&untrained)?;
    let mut collapse = vec![(0, first.0, first.1)];
    model.fit(data, &objective, &options, |report, model| {
        trial.epoch(report.epoch, options.epochs, &format!("loss {:.4}", report.loss));
        if probed.contains(&report.epoch) {
            scores.push(measure(report.epoch, report.loss, model)?);
            let found = collapse_of(&model.embed(data)?)?;
            collapse.push((report.epoch, found.0, found.1));
        }
        Ok(if trial.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    trial.check_cancelled()?;
    let trained = model.embed(data)?;
    let (mut rates, mut maps, mut classes) = (Vec::new(), [Vec::new(), Vec::new()], Vec::new());
    if is_main {
        rates =
            RATES.iter().map(|&rate| of_rate(prepared, [&untrained, &trained], &raw, rate)).collect::<Result<_>>()?;
    }
    if is_main && setting.set == "planetoid-cora" {
        for (map, embeddings) in maps.iter_mut().zip([&untrained, &trained]) {
            *map = probe::pca(embeddings, 2)?
                .to_dtype(DType::F32)?
                .to_vec2::<f32>()?
                .into_iter()
                .map(|row| [row[0], row[1]])
                .collect();
        }
        classes = prepared.labels.clone();
    }
    Ok(Found { raw: of_raw, scores, collapse, rates, maps, classes })
}

/// Accuracy with a share of the labels, untrained and trained, means of five draws.
fn of_rate(prepared: &Prepared, embeddings: [&Tensor; 2], raw: &Tensor, rate: f64) -> Result<[f64; 2]> {
    let of_labelled: Vec<u32> = prepared.labelled.iter().map(|&row| prepared.labels[row]).collect();
    let splits = (0..5)
        .map(|seed| {
            let drawn = label_rate_split(seed, &of_labelled, rate, LabelRate::OfEachClass)?;
            let rows = |at: &[usize]| at.iter().map(|&at| prepared.labelled[at]).collect();
            Ok(Split { train: rows(&drawn.labelled), validation: Vec::new(), test: rows(&drawn.unlabelled) })
        })
        .collect::<Result<Vec<_>>>()?;
    let mut found = [0.0; 2];
    for (found, embeddings) in found.iter_mut().zip(embeddings) {
        let x = probe::side_by_side(&[embeddings, raw])?;
        let accuracies = probe::nodes(&x, &prepared.labels, prepared.classes, &splits, NodeProbe::lagraph())?;
        *found = 100.0 * probe::mean(&accuracies).test;
    }
    Ok(found)
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    let found = runs.results.all()?;
    let of = |set: &str, variant: &str| -> Result<&Found> {
        let at = runs.settings.iter().position(|s| s.set == set && s.variant == variant);
        Ok(&found[at.ok_or("a setting")?])
    };
    let score = |found: &Found, epoch: usize| -> f64 {
        found.scores.iter().find(|score| score.epoch == epoch).map_or(f64::NAN, |score| score.test)
    };
    let (cora, citeseer) = (of("planetoid-cora", "lagraph")?, of("planetoid-citeseer", "lagraph")?);
    let measured = |value: f64, data: &str| Measured { trials: SPLITS as usize, ..Measured::mean_of(&[value], data) };
    context.claim("cora-raw", measured(cora.raw, "Cora"))?;
    context.claim("cora-untrained", measured(score(cora, 0), "Cora"))?;
    context.claim("cora", measured(score(cora, 30), "Cora"))?;
    context.claim("cora-gain", measured(score(cora, 30) - score(cora, 0), "Cora"))?;
    context.claim("citeseer", measured(score(citeseer, 20), "CiteSeer"))?;
    context.claim("citeseer-gain", measured(score(citeseer, 20) - score(citeseer, 0), "CiteSeer"))?;
    let collapsed = of("planetoid-cora", "no-reconstruction")?;
    let (first, last) = (collapsed.collapse[0].1, collapsed.collapse[collapsed.collapse.len() - 1].1);
    let note = Some(format!("effective rank {first:.1}, then {last:.1}"));
    context.claim("collapse", Measured { note, ..measured(100.0 * (1.0 - last / first), "Cora") })?;
    for (id, variant) in [("alpha-0", "alpha-0"), ("grace", "GRACE"), ("bgrl", "BGRL"), ("dgi", "DGI")] {
        let other = of("planetoid-cora", variant)?;
        context.claim(id, measured(score(cora, 30) - score(other, 30), "Cora"))?;
    }

    let mut table =
        Table::new(["data", "objective", "epoch", "test %", "validation %", "effective rank", "mean deviation"]);
    for (setting, found) in runs.settings.iter().zip(&found) {
        let set = setting.set.trim_start_matches("planetoid-");
        if found.raw.is_finite() {
            let cells = [set, "features alone", "-", &format!("{:.2}", found.raw), "-", "-", "-"];
            table.rows.push(cells.iter().map(|&cell| cell.to_owned()).collect());
        }
        for (score, collapse) in found.scores.iter().zip(&found.collapse) {
            table.rows.push(vec![
                set.to_owned(),
                setting.variant.to_owned(),
                score.epoch.to_string(),
                format!("{:.2}", score.test),
                format!("{:.2}", score.validation),
                format!("{:.1}", collapse.1),
                format!("{:.3}", collapse.2),
            ]);
        }
    }
    context.table("Nodes: probe on embedding and features, means of 20 splits", table);
    let mut table = Table::new(["data", "selection", "epoch", "test %"]);
    for (name, found) in [("Cora", cora), ("CiteSeer", citeseer)] {
        for selection in Selection::ALL {
            let selected = probe::select(&found.scores, selection)?;
            table.rows.push(vec![
                name.to_owned(),
                selection.words().to_owned(),
                selected.epoch.to_string(),
                format!("{:.2}", selected.score),
            ]);
        }
    }
    context.table("Nodes: what an epoch was selected by", table);
    figures(context, cora, citeseer, &runs.settings, &found)
}

fn figures(context: &mut Context, cora: &Found, citeseer: &Found, settings: &[Setting], all: &[Found]) -> Result<()> {
    let curve = |name: &str, found: &Found| {
        let epochs = found.scores.iter().map(|score| score.epoch as f64).collect();
        Series::new(name, epochs, found.scores.iter().map(|score| score.test).collect())
    };
    let mut series = vec![curve("Cora", cora), curve("CiteSeer", citeseer)];
    for (name, found) in [("Cora", cora), ("CiteSeer", citeseer)] {
        for selection in [Selection::LastEpoch, Selection::Validation, Selection::TestOracle] {
            let selected = probe::select(&found.scores, selection)?;
            let name = format!("{name}: {}", selection.words());
            series.push(Series::new(name, vec![selected.epoch as f64], vec![selected.score]));
        }
    }
    let axes = |x: &str| (Axis::linear(x), Axis::linear("test accuracy, %"));
    let (x, y) = axes("epoch (0: untrained)");
    let plot = Plot::lines("Accuracy against epoch, with what selects an epoch", x, y, series);
    context.plot("epochs", plot.description("Node level: training adds to the untrained encoder."))?;
    let mut series = Vec::new();
    for (name, found) in [("Cora", cora), ("CiteSeer", citeseer)] {
        for (at, kind) in ["untrained", "trained"].into_iter().enumerate() {
            let y = found.rates.iter().map(|pair| pair[at]).collect();
            let x = RATES.iter().map(|rate| 100.0 * rate).collect();
            series.push(Series::new(format!("{name}, {kind}"), x, y));
        }
    }
    let (x, y) = (Axis::log("labelled nodes of each class, %"), Axis::linear("test accuracy, %"));
    let plot = Plot::lines("Accuracy against the share of labels", x, y, series);
    context.plot("label-rates", plot.description("The fewer labels, the more training adds."))?;
    let names: Vec<String> =
        settings.iter().filter(|s| s.set == "planetoid-cora").map(|s| s.variant.to_owned()).collect();
    let last = |found: &Found| found.scores[found.scores.len() - 1].test;
    let values = settings.iter().zip(all).filter(|(s, _)| s.set == "planetoid-cora").map(|(_, found)| last(found));
    let bars = vec![Bars::new("epoch 30", values.collect())];
    let plot = Plot::bars("Cora: objectives and ablations", Axis::linear("test accuracy, %"), names, bars);
    context.plot("ablations", plot.description("All with one encoder, one seed and one probe."))?;
    for (at, (name, title)) in
        [("map-untrained", "Cora: untrained encoder"), ("map-trained", "Cora: epoch 30")].into_iter().enumerate()
    {
        let mut classes = cora.classes.clone();
        classes.sort_unstable();
        classes.dedup();
        let of_class = |class: u32| {
            let points = cora.maps[at].iter().zip(&cora.classes).filter(move |(_, of)| **of == class);
            let (x, y): (Vec<f64>, Vec<f64>) = points.map(|(p, _)| (f64::from(p[0]), f64::from(p[1]))).unzip();
            Series::new(format!("class {class}"), x, y)
        };
        let series = classes.iter().map(|&class| of_class(class)).collect();
        let (x, y) = (Axis::linear("first component"), Axis::linear("second component"));
        let plot = Plot::scatter(title, x, y, series);
        context.plot(name, plot.description("Two principal components of the embeddings of all nodes."))?;
    }
    Ok(())
}
