//! Graph classification over ten folds.

use crate::coordinates::pool_name;
use candle_core::{DType, Device, Tensor};
use core_tensor::ops;
use core_tensor::optim::{Adam, AdamConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::schedule::{Better, Schedule};
use core_tensor::train::{BestState, Trainer};
use datasets::{synthetic, tu};
use experiment::{Axis, Bars, Context, Measured, Outcome, Plot, Result, Scale, Table, Trial, TrialContext};
use gnn::classifier::{GraphClassifier, GraphClassifierConfig, graph_classifier};
use gnn::encoder::GraphEncoderConfig;
use gnn::pool::PoolKind;
use gnn::sep::{CodingTree, TreeConfig};
use gnn::{Graph, Hierarchy, Mode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Levels of the tree that SEP-G pools along.
const NUM_LEVELS: usize = 2;
const LEARNING_RATE: f64 = 5e-4;
const WEIGHT_DECAY: f64 = 1e-4;
const MAX_NORM: f64 = 1.0;
const PATIENCE: usize = 50;
const MAX_EPOCHS: usize = 500;

#[derive(Debug, Clone, Serialize)]
struct Setting {
    set: String,
    fold: usize,
    repetition: u64,
    pool: PoolKind,
    hidden: usize,
    batch_size: usize,
    dropout: f64,
    has_schedule: bool,
    has_input_readout: bool,
    max_epochs: usize,
    /// Random batches per epoch; `None` is one pass over the training graphs.
    batches_per_epoch: Option<usize>,
}

impl Setting {
    /// The official defaults.
    fn new(set: &str, pool: PoolKind) -> Self {
        Self {
            set: set.into(),
            fold: 0,
            repetition: 0,
            pool,
            hidden: 64,
            batch_size: 32,
            dropout: 0.5,
            has_schedule: false,
            has_input_readout: false,
            max_epochs: MAX_EPOCHS,
            batches_per_epoch: Some(50),
        }
    }

    fn id(&self) -> String {
        format!("{}-{}-r{}-f{}", self.set, pool_name(self.pool), self.repetition, self.fold)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct FoldResult {
    test_accuracy: f64,
    validation_loss: f64,
    validation_accuracy: f64,
    best_epoch: usize,
    epochs: usize,
}

pub(crate) struct Runs {
    settings: Vec<Setting>,
    results: Outcome<FoldResult>,
    is_synthetic: bool,
}

/// A data set ready for batches.
struct Prepared {
    hierarchies: Vec<Hierarchy>,
    features: Vec<Vec<f32>>,
    labels: Vec<u32>,
    width: usize,
    num_classes: usize,
    folds: tu::Folds,
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let is_synthetic = context.scale() == Scale::Smoke || context.is_synthetic();
    let mut settings = Vec::new();
    let mut add = |setting: Setting, repetitions: u64, folds: usize| {
        for repetition in 0..repetitions {
            settings.extend((0..folds).map(|fold| Setting { fold, repetition, ..setting.clone() }));
        }
    };
    let is_paper = context.scale() == Scale::Paper;
    let repetitions = |laptop: u64| if is_paper { 10 } else { laptop };
    if is_synthetic {
        let communities = Setting {
            dropout: 0.0,
            max_epochs: 60,
            batches_per_epoch: None,
            ..Setting::new("communities", PoolKind::Precomputed)
        };
        add(communities, 1, 10);
    } else {
        add(Setting::new("tu-mutag", PoolKind::Precomputed), repetitions(3), 10);
        add(Setting::new("tu-mutag", PoolKind::TopK { ratio: 0.5 }), repetitions(3), 10);
        add(Setting::new("tu-ptc_mr", PoolKind::Precomputed), repetitions(1), 10);
        add(Setting::new("tu-proteins", PoolKind::Precomputed), repetitions(1), 10);
        let imdb = Setting {
            batch_size: 128,
            dropout: 0.0,
            has_schedule: true,
            has_input_readout: true,
            ..Setting::new("tu-imdb-binary", PoolKind::Precomputed)
        };
        add(imdb, repetitions(1), 10);
        if is_paper {
            add(Setting { batches_per_epoch: None, ..Setting::new("tu-nci1", PoolKind::Precomputed) }, 10, 10);
        }
    }
    let mut prepared = BTreeMap::new();
    for setting in &settings {
        if !prepared.contains_key(&setting.set) {
            prepared.insert(setting.set.clone(), prepare(context, &setting.set)?);
        }
    }
    let device = reproduction::device(context)?;
    let trials = settings.iter().map(|setting| Trial::new(setting.id(), setting.clone())).collect();
    let results =
        context.trials("graphs", trials, |setting, trial| train(setting, &prepared[&setting.set], trial, &device))?;
    Ok(Runs { settings, results, is_synthetic })
}

fn prepare(context: &Context, set: &str) -> Result<Prepared> {
    let (graph_set, folds) = match set {
        "communities" => synthetic::community_graphs(),
        _ => tu::load(&reproduction::store(context)?, set)?,
    };
    let graphs = graph_set
        .graphs
        .iter()
        .map(|graph| Graph::from_edges(graph.num_nodes, &graph.edges))
        .collect::<gnn::Result<Vec<_>>>()?;
    let trees = CodingTree::build_many(&graphs, TreeConfig::new(NUM_LEVELS + 1))?;
    let hierarchies = graphs
        .iter()
        .zip(&trees)
        .map(|(graph, tree)| tree.hierarchy(graph, NUM_LEVELS))
        .collect::<gnn::Result<Vec<_>>>()?;

    // one-hot tag and one-hot degree, over the values of the whole set
    let tags = vocabulary(graph_set.graphs.iter().flat_map(|graph| graph.node_tags.iter().copied()));
    let degrees: Vec<Vec<u32>> = graph_set.graphs.iter().map(tu::LabelledGraph::degrees).collect();
    let degree_values = vocabulary(degrees.iter().flatten().copied());
    let width = tags.len() + degree_values.len();
    let features = graph_set
        .graphs
        .iter()
        .zip(&degrees)
        .map(|(graph, degrees)| {
            let mut rows = vec![0f32; graph.num_nodes * width];
            for (node, (tag, degree)) in graph.node_tags.iter().zip(degrees).enumerate() {
                rows[node * width + tags[tag]] = 1.0;
                rows[node * width + tags.len() + degree_values[degree]] = 1.0;
            }
            rows
        })
        .collect();
    let labels = graph_set.graphs.iter().map(|graph| graph.label).collect();
    Ok(Prepared { hierarchies, features, labels, width, num_classes: graph_set.num_classes, folds })
}

fn vocabulary(values: impl Iterator<Item = u32>) -> BTreeMap<u32, usize> {
    let sorted: std::collections::BTreeSet<u32> = values.collect();
    sorted.into_iter().enumerate().map(|(position, value)| (value, position)).collect()
}

/// A batch of graphs as tensors.
struct Loaded {
    batch: gnn::Batch,
    x: Tensor,
    y: Tensor,
}

impl Prepared {
    fn load(&self, graphs: &[usize], device: &Device) -> Result<Loaded> {
        let parts: Vec<&Hierarchy> = graphs.iter().map(|&graph| &self.hierarchies[graph]).collect();
        let batch = Hierarchy::batch(&parts, DType::F32, device)?;
        let mut rows = Vec::with_capacity(batch.num_nodes() * self.width);
        graphs.iter().for_each(|&graph| rows.extend_from_slice(&self.features[graph]));
        let x = Tensor::from_vec(rows, (batch.num_nodes(), self.width), device)?;
        let labels: Vec<u32> = graphs.iter().map(|&graph| self.labels[graph]).collect();
        Ok(Loaded { batch, x, y: Tensor::new(labels, device)? })
    }

    fn load_all(&self, graphs: &[usize], batch_size: usize, device: &Device) -> Result<Vec<Loaded>> {
        graphs.chunks(batch_size).map(|chunk| self.load(chunk, device)).collect()
    }
}

/// Mean loss and accuracy in percent.
fn evaluate(model: &GraphClassifier, batches: &[Loaded]) -> Result<(f64, f64)> {
    let (mut loss, mut hits, mut count) = (0.0, 0, 0);
    for Loaded { batch, x, y } in batches {
        let logits = model.forward(x, batch, &mut Mode::evaluate())?.logits.detach();
        let size = y.elem_count();
        loss += f64::from(ops::cross_entropy(&logits, y)?.to_scalar::<f32>()?) * size as f64;
        let predicted = logits.argmax(1)?.to_vec1::<u32>()?;
        hits += predicted.iter().zip(y.to_vec1::<u32>()?).filter(|(p, y)| **p == *y).count();
        count += size;
    }
    Ok((loss / count as f64, 100.0 * hits as f64 / count as f64))
}

/// The learning rate rises in a line, then falls in half a cosine.
fn schedule(batches_per_epoch: usize) -> Schedule {
    let warm_up = (PATIENCE * batches_per_epoch) as u64;
    let steps = (MAX_EPOCHS * batches_per_epoch) as u64 - warm_up;
    Schedule::WarmupFromZero { steps: warm_up, then: Box::new(Schedule::Cosine { steps, minimum: 0. }) }
}

fn train(setting: &Setting, data: &Prepared, trial: &TrialContext, device: &Device) -> Result<FoldResult> {
    let split = data.folds.split(setting.fold)?;
    let validation = data.load_all(&split.validation, setting.batch_size, device)?;
    // the pools that are compared share the streams of a fold
    let seed = trial.seed_of(&format!("{}-repetition-{}-fold-{}", setting.set, setting.repetition, setting.fold));
    let store = ParamStore::new(seed, DType::F32, device);
    let encoder = GraphEncoderConfig {
        hidden: setting.hidden,
        has_input_readout: setting.has_input_readout,
        ..GraphEncoderConfig::new(data.width, vec![setting.pool; NUM_LEVELS])
    };
    let config = GraphClassifierConfig { encoder, classes: data.num_classes, dropout: setting.dropout };
    let model = graph_classifier(config, store.var_builder())?;
    let adam = AdamConfig { learning_rate: LEARNING_RATE, weight_decay: WEIGHT_DECAY, ..AdamConfig::default() };
    let rng = Rng::new(seed);
    let mut order_rng = rng.fork("batches");
    let mut dropout_rng = rng.fork("dropout");
    let mut order = split.train.clone();
    order_rng.shuffle(&mut order);

    let num_train = order.len();
    let size = setting.batch_size.min(num_train);
    let per_epoch = setting.batches_per_epoch.unwrap_or(num_train.div_ceil(size));
    let schedule = if setting.has_schedule { schedule(per_epoch) } else { Schedule::Constant };
    let mut trainer = Trainer::new(Adam::new(&store, adam)?).schedule(schedule).clip_norm(MAX_NORM)?;
    let mut best = BestState::new(Better::Smaller).patience(PATIENCE as u64);
    let mut validation_accuracy = 0.0;
    let mut epoch = 0;
    while epoch < setting.max_epochs && !best.is_exhausted() {
        trial.check_cancelled()?;
        for batch in 0..per_epoch {
            let chosen: Vec<usize> = match setting.batches_per_epoch {
                Some(_) => {
                    let picks = order_rng.sample_without_replacement(num_train, size);
                    picks.into_iter().map(|pick| order[pick as usize]).collect()
                }
                None => order[batch * size..num_train.min((batch + 1) * size)].to_vec(),
            };
            let Loaded { batch, x, y } = data.load(&chosen, device)?;
            let out = model.forward(&x, &batch, &mut Mode::train(&mut dropout_rng))?;
            let mut loss = ops::cross_entropy(&out.logits, &y)?;
            if let Some(auxiliary) = out.auxiliary_loss {
                loss = (loss + auxiliary)?;
            }
            trainer.step(&loss)?;
        }
        epoch += 1;
        let (loss, accuracy) = evaluate(&model, &validation)?;
        if best.observe(loss, &store)? {
            validation_accuracy = accuracy;
        }
        trial.epoch(epoch, setting.max_epochs, &format!("validation loss {:.4}", best.metric().unwrap_or(f64::NAN)));
    }
    best.restore(&store)?;
    let validation_loss = best.metric().unwrap_or(f64::INFINITY);
    let best_epoch = best.best_at().map_or(0, |at| at as usize + 1);
    let test = data.load_all(&split.test, setting.batch_size, device)?;
    let (_, test_accuracy) = evaluate(&model, &test)?;
    Ok(FoldResult { test_accuracy, validation_loss, validation_accuracy, best_epoch, epochs: epoch })
}

/// Means over folds, one per repetition, and the spread over folds.
struct Summary {
    means: Vec<f64>,
    fold_deviation: f64,
}

fn summarise(settings: &[Setting], results: &[FoldResult], set: &str, pool: &str) -> Option<Summary> {
    let mut by_repetition: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (setting, result) in settings.iter().zip(results) {
        if setting.set == set && pool_name(setting.pool) == pool {
            by_repetition.entry(setting.repetition).or_default().push(result.test_accuracy);
        }
    }
    if by_repetition.is_empty() {
        return None;
    }
    let means: Vec<f64> = by_repetition.values().map(|values| experiment::statistics::mean(values)).collect();
    let deviations: Vec<f64> =
        by_repetition.values().filter_map(|values| experiment::statistics::sample_standard_deviation(values)).collect();
    Some(Summary { means, fold_deviation: experiment::statistics::mean(&deviations) })
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    let results = runs.results.all()?;
    let summary = |set: &str, pool: &str| summarise(&runs.settings, &results, set, pool);
    let measured = |summary: &Summary, data: &str, folds: usize| {
        let repetitions = summary.means.len();
        let (spread, what) = match repetitions {
            1 => (Some(summary.fold_deviation), "folds"),
            _ => (experiment::statistics::sample_standard_deviation(&summary.means), "repetitions of the ten folds"),
        };
        Measured {
            value: experiment::statistics::mean(&summary.means),
            spread,
            trials: repetitions * folds,
            data: data.into(),
            is_synthetic: runs.is_synthetic,
            note: Some(format!(
                "spread over {what}; standard deviation over folds {:.1}; weights of the lowest validation loss, the official rule, which never \
                 sees the test fold",
                summary.fold_deviation
            )),
            ..Measured::default()
        }
    };
    if context.scale() == Scale::Smoke
        && let Some(summary) = summary("communities", "SEP")
    {
        let folds = runs.settings.len();
        context
            .claim("sep-g-communities", measured(&summary, "generated graphs with and without communities", folds))?;
    }
    let claims = [
        ("sep-g-mutag", "tu-mutag", "MUTAG"),
        ("sep-g-ptc", "tu-ptc_mr", "PTC_MR"),
        ("sep-g-proteins", "tu-proteins", "PROTEINS"),
        ("sep-g-imdb-binary", "tu-imdb-binary", "IMDB-BINARY"),
        ("sep-g-nci1", "tu-nci1", "NCI1"),
    ];
    let mut names = Vec::new();
    let mut values = Vec::new();
    let mut spreads = Vec::new();
    for (claim, set, name) in claims {
        if let Some(summary) = summary(set, "SEP") {
            let measured = measured(&summary, name, 10);
            names.push(name.to_string());
            values.push(measured.value);
            spreads.push(summary.fold_deviation);
            context.claim(claim, measured)?;
        }
    }
    if let (Some(sep), Some(top_k)) = (summary("tu-mutag", "SEP"), summary("tu-mutag", "TopK")) {
        let differences: Vec<f64> = sep.means.iter().zip(&top_k.means).map(|(a, b)| a - b).collect();
        context.claim(
            "sep-g-beats-topk-mutag",
            Measured {
                trials: 20 * differences.len(),
                note: Some(format!(
                    "TopK (ratio 0.5) reaches {:.2}; spread over repetitions",
                    experiment::statistics::mean(&top_k.means)
                )),
                ..Measured::mean_of(&differences, "MUTAG")
            },
        )?;
    }
    if !names.is_empty() {
        let bars = vec![Bars::new("SEP-G, measured", values).errors(spreads)];
        let plot =
            Plot::bars("Test accuracy (error bars: standard deviation over folds)", Axis::linear("%"), names, bars);
        context.plot("graph-classification", plot)?;
    }
    fold_table(context, &runs.settings, &results);
    Ok(())
}

fn fold_table(context: &mut Context, settings: &[Setting], results: &[FoldResult]) {
    let columns = ["set", "pool", "repetition", "fold", "test, %", "validation, %", "best epoch", "epochs"];
    let rows = settings
        .iter()
        .zip(results)
        .map(|(setting, result)| {
            vec![
                setting.set.clone(),
                pool_name(setting.pool).into(),
                setting.repetition.to_string(),
                setting.fold.to_string(),
                format!("{:.2}", result.test_accuracy),
                format!("{:.2}", result.validation_accuracy),
                result.best_epoch.to_string(),
                result.epochs.to_string(),
            ]
        })
        .collect();
    context.table("Graph classification, fold by fold", Table { rows, ..Table::new(columns) });
}
