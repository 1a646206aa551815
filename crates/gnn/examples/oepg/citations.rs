//! Citation networks: the reconstruction, its ablations and its controls, with balanced and imbalanced labels.

use candle_core::{DType, Device};
use core_tensor::metrics::{accuracy, macro_f1};
use core_tensor::random::Rng;
use datasets::planetoid;
use experiment::{
    Axis, Bars, Context, Measured, Outcome, Plot, Result, Series, Table, Trial, TrialContext, statistics,
};
use gnn::imbalance::{PageRankConfig, totoro};
use gnn::oepg::{DescriptorOrders, EgoDescriptor, Oepg, OepgConfig, OmniNorm};
use gnn::probe::{self, NodeProbe};
use gnn::{Features, Graph};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

const SEEDS: u64 = 3;
const SPLITS: u64 = 5;
const TOPOLOGIES: u64 = 20;
const CONTROL: &str = "contrast alone";
const DEFAULT: &str = "default";

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Setting {
    set: &'static str,
    variant: &'static str,
    repetition: u64,
}

/// In %.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    accuracy: f64,
    imbalanced: f64,
    /// Mean Totoro value and macro-F1 of each of the balanced splits.
    topologies: Vec<[f64; 2]>,
}

pub(crate) struct Runs {
    settings: Vec<Setting>,
    results: Outcome<Found>,
}

struct Prepared {
    graph: Graph,
    features: Features,
    labels: Vec<u32>,
    classes: usize,
    labelled: Vec<usize>,
}

const VARIANTS: [&str; 12] = [
    CONTROL,
    "lambda 0.3, no losses",
    DEFAULT,
    "no ego loss",
    "clusters as supervision only",
    "lambda 1",
    "lambda 1, not normalised",
    "uniform weights",
    "weights per level",
    "first order",
    "second order",
    "no momentum",
];

fn config(variant: &str, width: usize) -> OepgConfig {
    let base = OepgConfig::new(width);
    let of_order = |orders| OepgConfig { descriptor: EgoDescriptor { orders, ..base.descriptor }, ..base.clone() };
    match variant {
        CONTROL => OepgConfig { lambda: 0.0, beta: 0.0, gamma: 0.0, ..base },
        "lambda 0.3, no losses" => OepgConfig { beta: 0.0, gamma: 0.0, ..base },
        "no ego loss" => OepgConfig { gamma: 0.0, ..base },
        "clusters as supervision only" => OepgConfig { lambda: 0.0, beta: 0.1, gamma: 0.0, ..base },
        "lambda 1" => OepgConfig { lambda: 1.0, beta: 0.0, gamma: 0.0, ..base },
        "lambda 1, not normalised" => OepgConfig { lambda: 1.0, ego_norm: false, beta: 0.0, gamma: 0.0, ..base },
        "uniform weights" => OepgConfig { norm: OmniNorm::Uniform, ..base },
        "weights per level" => OepgConfig { norm: OmniNorm::PerLevel, ..base },
        "first order" => of_order(DescriptorOrders::First),
        "second order" => of_order(DescriptorOrders::Second),
        "no momentum" => OepgConfig { cluster_momentum: None, encoder_momentum: 0.0, ..base },
        _ => base,
    }
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let mut settings = Vec::new();
    for variant in VARIANTS {
        settings.extend((0..SEEDS).map(|repetition| Setting { set: "planetoid-cora", variant, repetition }));
    }
    for variant in [CONTROL, DEFAULT] {
        settings.push(Setting { set: "planetoid-citeseer", variant, repetition: 0 });
    }
    let (device, store) = (reproduction::device(context)?, reproduction::store(context)?);
    let mut prepared = BTreeMap::new();
    for set in ["planetoid-cora", "planetoid-citeseer"] {
        prepared.insert(set, prepare(&planetoid::load(&store, set)?, &device)?);
    }
    let id = |s: &Setting| format!("{}-{}-r{}", s.set, s.variant.replace([' ', ','], "-"), s.repetition);
    let trials = settings.iter().map(|setting| Trial::new(id(setting), setting.clone())).collect();
    let results =
        context.trials("citations", trials, |setting, trial| train(setting, &prepared[setting.set], trial, &device))?;
    Ok(Runs { settings, results })
}

fn prepare(set: &planetoid::NodeSet, device: &Device) -> Result<Prepared> {
    let sparse = set.features.as_ref().ok_or("the data set has no features")?;
    Ok(Prepared {
        graph: Graph::from_edges(set.num_nodes, &set.edges)?,
        features: Features::from_csr(
            sparse.num_columns,
            &sparse.indptr,
            &sparse.indices,
            &sparse.values,
            DType::F32,
            device,
        )?,
        labels: set.labels.iter().map(|label| label.unwrap_or(0)).collect(),
        classes: set.num_classes,
        labelled: (0..set.num_nodes).filter(|&node| set.labels[node].is_some()).collect(),
    })
}

/// Labelled nodes of each class, drawn, and all others.
fn split(prepared: &Prepared, counts: &[usize], rng: &mut Rng) -> (Vec<usize>, Vec<usize>) {
    let order = rng.permutation(prepared.labelled.len());
    let mut left = counts.to_vec();
    order.into_iter().map(|at| prepared.labelled[at as usize]).partition(|&node| {
        let left = &mut left[prepared.labels[node] as usize];
        let is_taken = *left > 0;
        *left -= usize::from(is_taken);
        is_taken
    })
}

fn train(setting: &Setting, prepared: &Prepared, trial: &TrialContext, device: &Device) -> Result<Found> {
    let config = config(setting.variant, prepared.features.num_columns());
    let epochs = config.epochs;
    // one start and the same splits for all variants of a repetition
    let seed = trial.seed_of(&format!("{}-{}", setting.set, setting.repetition));
    let mut model = Oepg::new(config, seed, DType::F32, device)?;
    model.fit(&prepared.graph, &prepared.features, seed, |report, _| {
        trial.epoch(report.epoch, epochs, &format!("contrast {:.3}", report.local));
        Ok(if trial.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    trial.check_cancelled()?;
    let x = probe::rows(&model.embed(&prepared.graph, &prepared.features)?)?;
    let rng = Rng::new(seed);
    let score = |train: &[usize], test: &[usize], is_f1: bool| -> Result<f64> {
        let predicted = NodeProbe::linear().predict(x.rows(), train, &prepared.labels, prepared.classes, 0)?;
        let predictions: Vec<u32> = test.iter().map(|&node| predicted[node]).collect();
        let truth: Vec<u32> = test.iter().map(|&node| prepared.labels[node]).collect();
        let score =
            if is_f1 { macro_f1(&predictions, &truth, prepared.classes)? } else { accuracy(&predictions, &truth)? };
        Ok(100.0 * score)
    };
    let (mut accuracies, mut imbalanced, mut topologies) = (Vec::new(), Vec::new(), Vec::new());
    let n = prepared.labelled.len();
    for at in 0..SPLITS {
        let order = rng.fork(&format!("split {at}")).permutation(n);
        let nodes: Vec<usize> = order.into_iter().map(|at| prepared.labelled[at as usize]).collect();
        accuracies.push(score(&nodes[..n / 10], &nodes[n - 8 * n / 10..], false)?);
        let counts: Vec<usize> = (0..prepared.classes).map(|class| if class < 3 { 30 } else { 3 }).collect();
        let (train, test) = split(prepared, &counts, &mut rng.fork(&format!("imbalanced {at}")));
        imbalanced.push(score(&train, &test, true)?);
    }
    if [CONTROL, DEFAULT].contains(&setting.variant) && setting.repetition == 0 {
        for at in 0..TOPOLOGIES {
            let counts = vec![20; prepared.classes];
            let (train, test) = split(prepared, &counts, &mut rng.fork(&format!("topology {at}")));
            let labelled: Vec<u32> = train.iter().map(|&node| node as u32).collect();
            let classes: Vec<u32> = train.iter().map(|&node| prepared.labels[node]).collect();
            let conflict = totoro(&prepared.graph, &labelled, &classes, PageRankConfig::default())?.mean;
            topologies.push([conflict, score(&train, &test, true)?]);
        }
    }
    Ok(Found { accuracy: statistics::mean(&accuracies), imbalanced: statistics::mean(&imbalanced), topologies })
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    let all = runs.results.all()?;
    let of = |set: &str, variant: &str| -> Vec<&Found> {
        let chosen = runs.settings.iter().zip(&all).filter(|(s, _)| s.set == set && s.variant == variant);
        chosen.map(|(_, found)| found).collect()
    };
    let accuracies = |found: &[&Found]| -> Vec<f64> { found.iter().map(|found| found.accuracy).collect() };
    let scores = |found: &[&Found]| -> Vec<f64> { found.iter().map(|found| found.imbalanced).collect() };
    let minus = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
    let cora = |variant: &str| of("planetoid-cora", variant);
    let (default, control) = (cora(DEFAULT), cora(CONTROL));
    let measured = |values: &[f64]| Measured::mean_of(values, "Cora");
    let gains = minus(&accuracies(&default), &accuracies(&control));
    context.claim("cora", measured(&accuracies(&default)))?;
    context.claim("cora-control", measured(&gains))?;
    context.claim("gain", measured(&gains))?;
    context.claim("imbalance-control", measured(&minus(&scores(&default), &scores(&control))))?;
    let broken = cora("lambda 1, not normalised");
    context.claim("normalisation", measured(&minus(&accuracies(&control), &accuracies(&broken))))?;
    let citeseer = |variant: &str| of("planetoid-citeseer", variant);
    let gains = minus(&accuracies(&citeseer(DEFAULT)), &accuracies(&citeseer(CONTROL)));
    context.claim("citeseer", Measured::mean_of(&gains, "CiteSeer"))?;
    let loss = |found: &Found| {
        let mut splits = found.topologies.clone();
        splits.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let third = splits.len() / 3;
        let mean = |splits: &[[f64; 2]]| splits.iter().map(|split| split[1]).sum::<f64>() / splits.len() as f64;
        mean(&splits[..third]) - mean(&splits[splits.len() - third..])
    };
    let (of_control, of_default) = (loss(control[0]), loss(default[0]));
    let note = Some(format!("contrast alone loses {of_control:.2} points, the default {of_default:.2}"));
    context.claim("topology-slope", Measured { note, ..measured(&[of_control - of_default]) })?;

    let mut table = Table::new(["data", "variant", "accuracy %", "spread", "macro-F1, imbalanced, %", "spread"]);
    for (set, name) in [("planetoid-cora", "Cora"), ("planetoid-citeseer", "CiteSeer")] {
        for variant in VARIANTS {
            let found = of(set, variant);
            if found.is_empty() {
                continue;
            }
            let cells = [accuracies(&found), scores(&found)].into_iter().flat_map(|values| {
                let spread = statistics::sample_standard_deviation(&values);
                let spread = spread.map_or("-".to_owned(), |spread| format!("{spread:.2}"));
                [format!("{:.2}", statistics::mean(&values)), spread]
            });
            table.rows.push([name.to_owned(), variant.to_owned()].into_iter().chain(cells).collect());
        }
    }
    context.table("Reconstruction: ablations and controls, means over seeds", table);
    let names: Vec<String> = VARIANTS.iter().map(|&variant| variant.to_owned()).collect();
    for (id, title, of_found) in [
        ("ablation-accuracy", "Cora, 10 % of labels: accuracy", accuracies as fn(&[&Found]) -> Vec<f64>),
        ("ablation-imbalance", "Cora, imbalanced labels: macro-F1", scores as fn(&[&Found]) -> Vec<f64>),
    ] {
        let values: Vec<Vec<f64>> = VARIANTS.iter().map(|variant| of_found(&cora(variant))).collect();
        let means = values.iter().map(|values| statistics::mean(values)).collect();
        let errors = values.iter().map(|values| statistics::confidence_95(values).unwrap_or(0.0)).collect();
        let bars = vec![Bars::new("mean of 3 seeds", means).errors(errors)];
        let plot = Plot::bars(title, Axis::linear("%"), names.clone(), bars);
        context.plot(
            id,
            plot.description("Intervals: 95 % of the mean over seeds. A reconstruction, not the paper's program."),
        )?;
    }
    let series = [(CONTROL, control[0]), (DEFAULT, default[0])].map(|(name, found)| {
        let (x, y) = found.topologies.iter().map(|split| (split[0], split[1])).unzip();
        Series::new(name, x, y)
    });
    let plot = Plot::scatter(
        "Cora: macro-F1 against conflict of labels",
        Axis::linear("mean Totoro value of the split"),
        Axis::linear("macro-F1, %"),
        series.to_vec(),
    );
    context.plot(
        "topology",
        plot.description("Twenty splits of 20 labels a class; those at the borders of classes conflict."),
    )?;
    Ok(())
}
