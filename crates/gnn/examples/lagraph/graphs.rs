//! TU data sets: what training adds to an untrained encoder of graphs.

use candle_core::{DType, Device};
use core_tensor::random::Rng;
use datasets::tu;
use experiment::{Axis, Plot, Series};
use experiment::{Context, Measured, Outcome, Result, Table, Trial, TrialContext, statistics};
use gnn::Graph;
use gnn::lagraph::{LaGraphConfig, OfficialTraining, degree_features, dig_self_loops};
use gnn::probe::{self, EpochScore, Selection};
use gnn::self_supervised::{FitOptions, Objective, SelfSupervised, Shuffle, Unlabelled};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Setting {
    set: &'static str,
    objective: &'static str,
    batch_size: usize,
    repetition: u64,
}

/// Accuracies in %.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    raw: f64,
    scores: Vec<EpochScore>,
}

pub(crate) struct Runs {
    settings: Vec<Setting>,
    results: Outcome<Found>,
}

const SETS: [(&str, &str, u64); 6] = [
    ("tu-mutag", "MUTAG", 5),
    ("tu-proteins", "PROTEINS", 5),
    ("tu-imdb-binary", "IMDB-BINARY", 5),
    ("tu-nci1", "NCI1", 1),
    ("tu-ptc_mr", "PTC_MR", 3),
    ("tu-imdb-multi", "IMDB-MULTI", 2),
];

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let mut settings = Vec::new();
    for (set, _, seeds) in SETS {
        let setting = |repetition| Setting { set, objective: "LaGraph", batch_size: 128, repetition };
        settings.extend((0..seeds).map(setting));
    }
    for repetition in 0..3 {
        settings.push(Setting { set: "tu-proteins", objective: "LaGraph", batch_size: 8, repetition });
        for objective in ["GraphCL", "InfoGraph"] {
            settings.push(Setting { set: "tu-mutag", objective, batch_size: 128, repetition });
        }
    }
    let store = reproduction::store(context)?;
    let mut sets = BTreeMap::new();
    for (set, _, _) in SETS {
        sets.insert(set, tu::load(&store, set)?.0);
    }
    let device = reproduction::device(context)?;
    let id = |s: &Setting| format!("{}-{}-b{}-r{}", s.set, s.objective, s.batch_size, s.repetition);
    let trials = settings.iter().map(|setting| Trial::new(id(setting), setting.clone())).collect();
    let results =
        context.trials("graphs", trials, |setting, trial| train(setting, &sets[setting.set], trial, &device))?;
    Ok(Runs { settings, results })
}

/// The graphs as the official program prepares them, in an order that the seed decides, as there.
fn prepare(
    set: &tu::GraphSet,
    official: &OfficialTraining,
    rng: &mut Rng,
    device: &Device,
) -> Result<(Unlabelled, Vec<u32>)> {
    let order = rng.permutation(set.graphs.len());
    let (mut graphs, mut features, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for &at in &order {
        let graph = &set.graphs[at as usize];
        let both: Vec<(u32, u32)> = graph.edges.iter().flat_map(|&(u, v)| [(u, v), (v, u)]).collect();
        let messages = dig_self_loops(&both);
        features.push(match official.degree_limit {
            Some(limit) => degree_features(graph.num_nodes, &messages, limit, DType::F32, device)?,
            None => one_hot(&graph.node_tags, set.tag_values.len(), device)?,
        });
        graphs.push(Graph::from_edges(graph.num_nodes, &messages)?);
        labels.push(graph.label);
    }
    Ok((Unlabelled::graphs(&graphs, features)?, labels))
}

fn one_hot(tags: &[u32], width: usize, device: &Device) -> Result<candle_core::Tensor> {
    let mut values = vec![0f32; tags.len() * width];
    for (row, &tag) in values.chunks_exact_mut(width).zip(tags) {
        row[tag as usize] = 1.0;
    }
    Ok(candle_core::Tensor::from_vec(values, (tags.len(), width), device)?)
}

fn train(setting: &Setting, set: &tu::GraphSet, trial: &TrialContext, device: &Device) -> Result<Found> {
    let official = OfficialTraining::of(setting.set)?;
    // one order and one untrained encoder for all objectives of a repetition
    let seed = trial.seed_of(&format!("{}-{}", setting.set, setting.repetition));
    let (data, labels) = prepare(set, &official, &mut Rng::new(seed).fork("order"), device)?;
    let config = LaGraphConfig::official(setting.set, data.width())?;
    let mut model = SelfSupervised::new(config.encoder_config(), seed, DType::F32, device)?;
    let measure = |epoch: usize, loss: f64, embeddings: &candle_core::Tensor| -> gnn::Result<EpochScore> {
        let found = probe::graphs(embeddings, &labels, 10)?;
        let (validation, test) = (100.0 * found.inner_accuracy(), 100.0 * found.accuracy());
        Ok(EpochScore { epoch, loss, validation, test })
    };
    let raw = measure(0, f64::NAN, &data.raw()?)?.test;
    let mut scores = vec![measure(0, f64::NAN, &model.embed(&data)?)?];
    let (objective, epochs, learning_rate) = match setting.objective {
        "LaGraph" => (Objective::LaGraph(config), official.epochs, official.learning_rate),
        "GraphCL" => (Objective::graph_cl(), 20, 1e-3),
        _ => (Objective::InfoGraph, 20, 1e-3),
    };
    let options = FitOptions {
        epochs,
        learning_rate,
        weight_decay: official.weight_decay,
        batch_size: setting.batch_size,
        shuffle: Shuffle::Once,
        seed,
        measures_collapse: false,
    };
    let is_probed = |epoch: usize| match setting.set {
        "tu-nci1" => epoch.is_multiple_of(10),
        _ if setting.objective != "LaGraph" => epoch == epochs,
        _ => true,
    };
    model.fit(&data, &objective, &options, |report, model| {
        trial.epoch(report.epoch, epochs, &format!("loss {:.4}", report.loss));
        if is_probed(report.epoch) {
            scores.push(measure(report.epoch, report.loss, &model.embed(&data)?)?);
        }
        Ok(if trial.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    trial.check_cancelled()?;
    Ok(Found { raw, scores })
}

/// The means of repetitions, epoch by epoch.
fn averaged(found: &[&Found]) -> Vec<EpochScore> {
    let count = found.len() as f64;
    (0..found[0].scores.len())
        .map(|at| {
            let mean = |of: fn(&EpochScore) -> f64| found.iter().map(|f| of(&f.scores[at])).sum::<f64>() / count;
            EpochScore {
                epoch: found[0].scores[at].epoch,
                loss: mean(|score| score.loss),
                validation: mean(|score| score.validation),
                test: mean(|score| score.test),
            }
        })
        .collect()
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    let all = runs.results.all()?;
    let of = |set: &str, objective: &str, batch_size: usize| -> Vec<&Found> {
        let settings = runs.settings.iter().zip(&all);
        settings
            .filter(|(s, _)| s.set == set && s.objective == objective && s.batch_size == batch_size)
            .map(|(_, found)| found)
            .collect()
    };
    let at_epoch = |found: &[&Found], epoch: usize| -> Vec<f64> {
        found.iter().filter_map(|f| f.scores.iter().find(|s| s.epoch == epoch)).map(|s| s.test).collect()
    };
    let last =
        |found: &[&Found]| -> Vec<f64> { found.iter().filter_map(|f| f.scores.last()).map(|s| s.test).collect() };
    let mut table = Table::new(["data", "what", "epoch", "test %", "spread over seeds"]);
    let (mut gains, mut series) = (Vec::new(), Vec::new());
    for (set, name, _) in SETS {
        let found = of(set, "LaGraph", 128);
        let raw: Vec<f64> = found.iter().map(|found| found.raw).collect();
        let untrained = at_epoch(&found, 0);
        let mut row = |what: &str, epoch: String, values: &[f64]| {
            let spread = statistics::sample_standard_deviation(values).map_or("-".to_owned(), |s| format!("{s:.2}"));
            let mean = format!("{:.2}", statistics::mean(values));
            table.rows.push(vec![name.to_owned(), what.to_owned(), epoch, mean, spread]);
        };
        row("raw sums", "-".to_owned(), &raw);
        row("untrained", "0".to_owned(), &untrained);
        let averaged = averaged(&found);
        let mut selected = BTreeMap::new();
        for selection in Selection::ALL {
            let epoch = probe::select(&averaged, selection)?.epoch;
            let values = at_epoch(&found, epoch);
            row(selection.words(), epoch.to_string(), &values);
            selected.insert(selection.words(), values);
        }
        let short = name.to_lowercase();
        let claims: Vec<(String, &Vec<f64>)> = match set {
            "tu-mutag" | "tu-proteins" | "tu-imdb-binary" => {
                gains.push(statistics::mean(&last(&found)) - statistics::mean(&untrained));
                vec![
                    (format!("{short}-raw"), &raw),
                    (format!("{short}-untrained"), &untrained),
                    (format!("{short}-last"), &selected[Selection::LastEpoch.words()]),
                    (format!("{short}-validation"), &selected[Selection::Validation.words()]),
                    (format!("{short}-test"), &selected[Selection::TestOracle.words()]),
                ]
            }
            "tu-nci1" => vec![("nci1-last".to_owned(), &selected[Selection::LastEpoch.words()])],
            "tu-ptc_mr" => vec![("ptc-last".to_owned(), &selected[Selection::LastEpoch.words()])],
            _ => vec![("imdb-multi-last".to_owned(), &selected[Selection::LastEpoch.words()])],
        };
        for (id, values) in claims {
            let note = id.ends_with("-test").then(|| "selected on test data, as the published number".to_owned());
            context.claim(&id, Measured { note, ..Measured::mean_of(values, name) })?;
        }
        let epochs = averaged.iter().map(|score| score.epoch as f64).collect();
        series.push(Series::new(name, epochs, averaged.iter().map(|score| score.test).collect()));
    }
    context.claim("graph-gain", Measured::mean_of(&gains, "MUTAG, PROTEINS, IMDB-BINARY"))?;
    let differences = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
    let batches = differences(&last(&of("tu-proteins", "LaGraph", 128)), &last(&of("tu-proteins", "LaGraph", 8)));
    context.claim("batch-8", Measured::mean_of(&batches, "PROTEINS"))?;
    for (id, objective) in [("graph-cl", "GraphCL"), ("info-graph", "InfoGraph")] {
        let found = differences(&last(&of("tu-mutag", "LaGraph", 128)), &last(&of("tu-mutag", objective, 128)));
        context.claim(id, Measured::mean_of(&found, "MUTAG"))?;
    }
    context.table("Graphs: support vector machines in ten folds", table);
    let (x, y) = (Axis::linear("epoch (0: untrained)"), Axis::linear("test accuracy, %"));
    let plot = Plot::lines("Graph level: accuracy against epoch", x, y, series);
    context.plot(
        "graphs",
        plot.description("Means over seeds. An untrained encoder and sums of features are the controls."),
    )?;
    Ok(())
}
