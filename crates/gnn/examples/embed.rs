//! Embeddings of your nodes or graphs without labels: `cargo run --release -p gnn --example embed -- nodes --edges edges.csv --features features.csv --out out`, or
//! `… -- graphs --graphs mine.txt --out out`.
//!
//! `edges.csv` has a header and two columns with the numbers of nodes, from 0; `features.csv` a header and a row for each node, or `features.npz` SciPy's compressed rows. With `--labels labels.csv`
//! (columns `node` and `label`; a class needs ten labelled nodes) the embedding is probed beside the features alone and the untrained encoder; labels have no part in the training. `mine.txt` has the text form of graphs that TU data sets are often distributed in: the number of
//! graphs, then for each its number of nodes and its label, and a line for each node: tag, number of neighbours, neighbours.
//!
//! Writes `embeddings.npy`, `untrained.npy`, `model.safetensors`, `report.json` (objective, collapse of each epoch, probes) and `map.svg`. The number of epochs is fixed beforehand: nothing is selected on labels.

#[path = "own_data/tables.rs"]
mod tables;

use candle_core::{DType, Device, Tensor};
use clap::{Args, Parser, Subcommand, ValueEnum};
use experiment::{Axis, Plot, Series};
use gnn::Graph;
use gnn::lagraph::LaGraphConfig;
use gnn::probe::classifiers::splits::{LabelRate, Split, label_rate_split};
use gnn::probe::{self, NodeProbe};
use gnn::self_supervised::{FitOptions, Objective, SelfSupervised, Unlabelled};
use serde_json::json;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tables::Fallible;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Embed nodes or graphs without labels
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The nodes of one graph
    Nodes {
        /// A table with two columns: the ends of each edge
        #[arg(long)]
        edges: PathBuf,
        /// A table with a row of numbers for each node, or scipy.sparse.save_npz
        #[arg(long)]
        features: PathBuf,
        /// A table with the columns node and label, for the probe
        #[arg(long)]
        labels: Option<PathBuf>,
        #[command(flatten)]
        training: Training,
    },
    /// Many graphs
    Graphs {
        /// The graphs in text form
        #[arg(long)]
        graphs: PathBuf,
        #[command(flatten)]
        training: Training,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    Lagraph,
    Grace,
    Bgrl,
    Dgi,
    Gae,
    Vgae,
    GraphCl,
    InfoGraph,
}

#[derive(Debug, Args)]
struct Training {
    /// What is minimised: lagraph for both, graph-cl and info-graph for graphs, the others for nodes
    #[arg(long, value_enum, default_value = "lagraph")]
    objective: Which,
    /// Passes over the graphs, or steps on the one graph [default: 30 for nodes, 20 for graphs]
    #[arg(long)]
    epochs: Option<usize>,
    /// Adam's learning rate
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// Width of a layer [default: 512 for nodes, 32 for graphs]
    #[arg(long)]
    hidden: Option<usize>,
    /// The seed of parameters, views and order
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for the results
    #[arg(long, default_value = "embeddings")]
    out: PathBuf,
}

fn main() -> ExitCode {
    core_tensor::memory::configure();
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Fallible<()> {
    match &arguments.what {
        What::Nodes { edges, features, labels, training } => {
            let features = tables::features(features)?;
            let graph = tables::graph(edges, features.num_nodes())?;
            let labels = labels.as_ref().map(|path| tables::labels(path, graph.num_nodes())).transpose()?;
            let data = Unlabelled::nodes(&graph, features)?;
            let config = LaGraphConfig::nodes(data.width());
            let trained = train(&data, config, training, 30)?;
            let probes = labels.as_ref().map(|labels| probe_nodes(&trained, &data, labels)).transpose()?;
            let classes = labels.map(|labels| (labels.of_nodes, labels.names));
            write(&training.out, &trained, probes, classes)
        }
        What::Graphs { graphs, training } => {
            let shown = graphs.display();
            let text = std::fs::read_to_string(graphs).map_err(|error| format!("{shown}: {error}"))?;
            let set = datasets::tu::parse_graphs(&text).map_err(|error| format!("{shown}: {error}"))?;
            let width = set.tag_values.len();
            let (mut all, mut features) = (Vec::new(), Vec::new());
            for graph in &set.graphs {
                all.push(Graph::from_edges(graph.num_nodes, &graph.edges)?);
                let mut rows = vec![0f32; graph.num_nodes * width];
                rows.chunks_exact_mut(width.max(1))
                    .zip(&graph.node_tags)
                    .for_each(|(row, &tag)| row[tag as usize] = 1.0);
                features.push(Tensor::from_vec(rows, (graph.num_nodes, width), &Device::Cpu)?);
            }
            let data = Unlabelled::graphs(&all, features)?;
            let trained = train(&data, LaGraphConfig::graphs(width), training, 20)?;
            let labels: Vec<u32> = set.graphs.iter().map(|graph| graph.label).collect();
            let probes = if set.num_classes > 1 { Some(probe_graphs(&trained, &data, &labels)?) } else { None };
            let names = set.class_values.iter().map(i64::to_string).collect();
            write(&training.out, &trained, probes, Some((labels.into_iter().map(Some).collect(), names)))
        }
    }
}

struct Trained {
    model: SelfSupervised,
    untrained: Tensor,
    embeddings: Tensor,
    summary: gnn::self_supervised::FitSummary,
    objective: &'static str,
}

fn train(data: &Unlabelled, config: LaGraphConfig, training: &Training, epochs: usize) -> Fallible<Trained> {
    let config = LaGraphConfig { hidden: training.hidden.unwrap_or(config.hidden), ..config };
    let objective = match training.objective {
        Which::Lagraph => Objective::LaGraph(config.clone()),
        Which::Grace => Objective::grace(),
        Which::Bgrl => Objective::bgrl(),
        Which::Dgi => Objective::Dgi,
        Which::Gae => Objective::Gae,
        Which::Vgae => Objective::Vgae,
        Which::GraphCl => Objective::graph_cl(),
        Which::InfoGraph => Objective::InfoGraph,
    };
    let mut model = SelfSupervised::new(config.encoder_config(), training.seed, DType::F32, &Device::Cpu)?;
    let untrained = model.embed(data)?;
    let epochs = training.epochs.unwrap_or(epochs);
    let options =
        FitOptions { epochs, learning_rate: training.learning_rate, seed: training.seed, ..FitOptions::default() };
    let summary = model.fit(data, &objective, &options, |report, _| {
        let collapse = report.collapse.as_ref().map_or(f64::NAN, |collapse| collapse.effective_rank);
        println!(
            "epoch {} of {epochs}: {} {:.4}, effective rank {collapse:.1}, {:.2} s",
            report.epoch,
            objective.name(),
            report.loss,
            report.seconds
        );
        Ok(ControlFlow::Continue(()))
    })?;
    for warning in &summary.warnings {
        println!("warning: {warning}");
    }
    let embeddings = model.embed(data)?;
    Ok(Trained { model, untrained, embeddings, summary, objective: objective.name() })
}

/// What the probe says: rows of name, mean and spread.
type Probes = Vec<(&'static str, f64, f64)>;

fn spread(values: &[f64]) -> (f64, f64) {
    let mean = experiment::statistics::mean(values);
    (mean, experiment::statistics::sample_standard_deviation(values).unwrap_or(0.0))
}

fn probe_nodes(trained: &Trained, data: &Unlabelled, labels: &tables::Labels) -> Fallible<Probes> {
    let rows: Vec<usize> = (0..labels.of_nodes.len()).filter(|&node| labels.of_nodes[node].is_some()).collect();
    let of_rows: Vec<u32> = rows.iter().filter_map(|&row| labels.of_nodes[row]).collect();
    let classes = labels.names.len();
    for (class, name) in labels.names.iter().enumerate() {
        let count = of_rows.iter().filter(|&&label| label as usize == class).count();
        if count < 10 {
            return Err(
                format!("class `{name}` has {count} labelled nodes; the probe needs at least 10 of each").into()
            );
        }
    }
    let splits = (0..10)
        .map(|seed| {
            let drawn = label_rate_split(seed, &of_rows, 0.2, LabelRate::OfEachClass)?;
            let chosen = |at: &[usize]| at.iter().map(|&at| rows[at]).collect();
            Ok(Split { train: chosen(&drawn.labelled), validation: Vec::new(), test: chosen(&drawn.unlabelled) })
        })
        .collect::<Result<Vec<_>, gnn::probe::classifiers::Error>>()?;
    let known: Vec<u32> = labels.of_nodes.iter().map(|label| label.unwrap_or(0)).collect();
    let mut found = Vec::new();
    let raw = data.raw()?;
    for (name, x) in
        [("features alone", &raw), ("untrained encoder", &trained.untrained), ("trained", &trained.embeddings)]
    {
        let accuracies = probe::nodes(x, &known, classes, &splits, NodeProbe::linear())?;
        let (mean, spread) = spread(&accuracies.iter().map(|found| found.test).collect::<Vec<_>>());
        found.push((name, mean, spread));
    }
    Ok(found)
}

fn probe_graphs(trained: &Trained, data: &Unlabelled, labels: &[u32]) -> Fallible<Probes> {
    let mut found = Vec::new();
    let raw = data.raw()?;
    // folds are taken in order, so the order must say nothing
    let order = core_tensor::random::Rng::new(0).permutation(labels.len());
    let labels: Vec<u32> = order.iter().map(|&at| labels[at as usize]).collect();
    let order = Tensor::new(order, &Device::Cpu)?;
    for (name, x) in
        [("sums of features", &raw), ("untrained encoder", &trained.untrained), ("trained", &trained.embeddings)]
    {
        let folds = probe::graphs(&x.index_select(&order, 0)?, &labels, 10)?;
        let (mean, spread) = spread(&folds.folds.iter().map(|fold| fold.accuracy).collect::<Vec<_>>());
        found.push((name, mean, spread));
    }
    Ok(found)
}

fn write(
    out: &Path,
    trained: &Trained,
    probes: Option<Probes>,
    classes: Option<(Vec<Option<u32>>, Vec<String>)>,
) -> Fallible<()> {
    std::fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    trained.embeddings.write_npy(out.join("embeddings.npy"))?;
    trained.untrained.write_npy(out.join("untrained.npy"))?;
    trained.model.save(out.join("model.safetensors"))?;
    if let Some(probes) = &probes {
        println!("\n{:<20} accuracy  spread", "probe on");
        for (name, mean, spread) in probes {
            println!("{name:<20} {mean:>8.4}  {spread:.4}");
        }
    }
    let epochs: Vec<_> = trained
        .summary
        .epochs
        .iter()
        .map(|epoch| {
            json!({
                "epoch": epoch.epoch,
                "objective": epoch.loss,
                "effective_rank": epoch.collapse.as_ref().map(|collapse| collapse.effective_rank),
                "mean_deviation": epoch.collapse.as_ref().map(|collapse| collapse.mean_std()),
                "seconds": epoch.seconds,
            })
        })
        .collect();
    let report = json!({
        "objective": trained.objective,
        "selection": "last epoch",
        "epochs": epochs,
        "warnings": trained.summary.warnings,
        "probe": probes.map(|probes| probes.iter().map(|(name, mean, spread)| json!({"on": name, "accuracy": mean, "spread": spread})).collect::<Vec<_>>()),
    });
    std::fs::write(out.join("report.json"), serde_json::to_string_pretty(&report)?)?;

    let map = probe::pca(&trained.embeddings, 2.min(trained.embeddings.dims()[1]))?.to_vec2::<f64>()?;
    let point = |row: &Vec<f64>| (row[0], row.get(1).copied().unwrap_or(0.0));
    let named = |name: String, of: &dyn Fn(usize) -> bool| {
        let (x, y) = (0..map.len()).filter(|&row| of(row)).map(|row| point(&map[row])).unzip();
        Series::new(name, x, y)
    };
    let series = match &classes {
        Some((of_rows, names)) if names.len() <= 20 => {
            let is_of = |row: usize, class: Option<u32>| of_rows[row] == class;
            let mut series: Vec<Series> = names
                .iter()
                .zip(0..)
                .map(|(name, class)| named(name.clone(), &|row| is_of(row, Some(class))))
                .collect();
            if of_rows.contains(&None) {
                series.push(named("no label".to_owned(), &|row| is_of(row, None)));
            }
            series
        }
        _ => vec![named("all".to_owned(), &|_| true)],
    };
    let (x, y) = (Axis::linear("first component"), Axis::linear("second component"));
    let plot = Plot::scatter(format!("Embeddings, {}", trained.objective), x, y, series);
    std::fs::write(out.join("map.svg"), plot.svg_file("map", "two principal components of your embeddings")?)?;
    println!(
        "\nwritten to {}: embeddings.npy {:?}, untrained.npy, model.safetensors, report.json, map.svg",
        out.display(),
        trained.embeddings.dims()
    );
    Ok(())
}
