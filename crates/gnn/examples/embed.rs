//! Embeddings of your nodes or graphs without labels: `cargo run --release -p gnn --example embed -- nodes --edges edges.csv --features features.csv --out out`, or
//! `… -- graphs --graphs mine.txt --out out`, or `… -- graphs --nodes nodes.csv --edges edges.csv --out out`.
//!
//! `edges.csv` has a header and two columns with the numbers of nodes, from 0; `features.csv` a row for each node. Both may be `.npy` or `.npz`, features also SciPy's compressed rows. Features that are
//! not of one scale are named; `--standardize` gives each column mean 0 and deviation 1. With `--labels labels.csv` (columns `node` and `label`; a class needs ten labelled nodes) the embedding is probed
//! beside the features alone and the untrained encoder; labels have no part in the training. `mine.txt` has the text form of graphs that TU data sets are often distributed in: the number of
//! graphs, then for each its number of nodes and its label, and a line for each node: tag, number of neighbours, neighbours. `nodes.csv` has a row for each node of all graphs: `graph`, perhaps `label` (the
//! graph's), and features; `graphs.csv` then says which row of the embeddings is which graph.
//!
//! Writes `index.html` with all of it, `embeddings.npy`, `untrained.npy`, `model.safetensors`, `epochs.csv`, `probe.csv`, `report.json` (objective, collapse of each epoch, probes) and figures; with `--standardize`
//! `scaling.csv`. The number of epochs is fixed beforehand: nothing is selected on labels.

#[path = "own_data/tables.rs"]
mod tables;

use candle_core::{DType, Device, Tensor};
use clap::{Args, Parser, Subcommand, ValueEnum};
use experiment::{Axis, Plot, Result, Series, Table};
use gnn::Graph;
use gnn::lagraph::LaGraphConfig;
use gnn::probe::classifiers::splits::{LabelRate, Split, label_rate_split};
use gnn::probe::{self, NodeProbe};
use gnn::self_supervised::{FitOptions, Objective, SelfSupervised, Unlabelled};
use reproduction::front::{self, Output, Progress, Results, cell};
use serde_json::json;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use tables::NodeFeatures;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Embed nodes or graphs without labels
///
/// Examples:
///   embed nodes --edges edges.csv --features features.csv --labels labels.csv --out embeddings
///   embed graphs --graphs graphs.txt --out embeddings
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The nodes of one graph
    ///
    /// Edges have a header and the numbers of two nodes, from 0; features a row for each node; labels, for the probe alone, the columns node and label:
    ///
    ///   from,to      height,age      node,label
    ///   0,5          0.737,-1.033    0,red
    ///   0,7          0.21,0.5        3,blue
    ///
    /// Edges and features may be .npy, or .npz with the arrays edges and features; features also scipy.sparse.save_npz.
    ///
    /// A graph network learns a vector for each node, which is compared with the features alone and with the untrained network. A thousand nodes take about a minute at the default width.
    ///
    /// Example: embed nodes --edges edges.csv --features features.csv --labels labels.csv --standardize --out embeddings
    #[command(verbatim_doc_comment, mut_arg("out", |out| out.default_value("embeddings")))]
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
        /// Give each column of the features mean 0 and deviation 1
        #[arg(long)]
        standardize: bool,
        #[command(flatten)]
        training: Training,
    },
    /// Many graphs
    ///
    /// The file has the number of graphs; for each the number of its nodes and its label; and for each node a tag, the number of its neighbours, and the neighbours, from 0. Here two graphs, a triangle and an edge:
    ///
    ///   2
    ///   3 0
    ///   0 2 1 2
    ///   0 2 0 2
    ///   0 2 0 1
    ///   2 1
    ///   0 1 1
    ///   0 1 0
    ///
    /// Or two tables: a row for each node, with its graph, the graph's label (if there are any) and features; and edges between these rows, counted from 0:
    ///
    ///   graph,label,mass,charge      from,to
    ///   aspirin,good,12.0,0.1        0,1
    ///   aspirin,good,16.0,-0.3       2,3
    ///   benzene,bad,12.0,0.0
    ///   benzene,bad,12.0,0.0
    ///
    /// Each may be an .npz with an array for each column.
    ///
    /// A graph network learns a vector for each graph, which is compared with sums of the features and with the untrained network. A few hundred small graphs take seconds.
    ///
    /// Examples:
    ///   embed graphs --graphs graphs.txt --out embeddings
    ///   embed graphs --nodes nodes.csv --edges edges.csv --standardize --out embeddings
    #[command(verbatim_doc_comment, mut_arg("out", |out| out.default_value("embeddings")))]
    Graphs {
        /// The graphs in text form
        #[arg(long, required_unless_present = "nodes", conflicts_with_all = ["nodes", "edges", "standardize"])]
        graphs: Option<PathBuf>,
        /// A table with a row for each node: the column graph, perhaps label, and features
        #[arg(long, requires = "edges")]
        nodes: Option<PathBuf>,
        /// A table with two columns: the rows of both ends of each edge in the table of nodes
        #[arg(long, requires = "nodes")]
        edges: Option<PathBuf>,
        /// Give each column of the features mean 0 and deviation 1
        #[arg(long)]
        standardize: bool,
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
    #[command(flatten)]
    output: Output,
}

fn main() -> ExitCode {
    front::main(run)
}

/// The class of each row, if it is known, and the names of the classes.
type Classes = (Vec<Option<u32>>, Vec<String>);

fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.what {
        What::Nodes { edges, features: path, labels, standardize, training } => {
            let mut features = NodeFeatures::read(path)?;
            let columns = features.columns();
            let remark = if *standardize { None } else { tables::remark(&columns) };
            if *standardize {
                if columns.is_empty() {
                    let path = path.display();
                    return Err(
                        format!("{path}: --standardize is for tables of features; these are compressed rows").into()
                    );
                }
                features.standardize(&columns);
            }
            let features = features.into_features(path)?;
            let graph = tables::graph_between(edges, features.num_nodes())?;
            let labels = labels.as_ref().map(|path| tables::labels(path, graph.num_nodes())).transpose()?;
            if let Some(labels) = &labels {
                can_be_probed(labels)?;
            }
            let data = Unlabelled::nodes(&graph, features)?;
            let mut results = Results::prepare("Embeddings of nodes", &training.output)?;
            results.say(&format!(
                "{} nodes, {} edges, {} features ({})",
                graph.num_nodes(),
                graph.num_edges(),
                data.width(),
                edges.display()
            ));
            if let Some(remark) = &remark {
                unscaled(&mut results, remark);
            }
            if *standardize {
                scaling(&mut results, &columns)?;
            }
            let trained = train(&mut results, &data, LaGraphConfig::nodes(data.width()), training, 30)?;
            let probes = labels.as_ref().map(|labels| probe_nodes(&trained, &data, labels)).transpose()?;
            let classes = labels.map(|labels| (labels.of_nodes, labels.names));
            write(results, &trained, probes, classes, remark.is_some())
        }
        What::Graphs { graphs: Some(path), training, .. } => {
            let bytes = front::read(path)?;
            let shown = path.display();
            let text =
                std::str::from_utf8(&bytes).map_err(|_| format!("{shown}: it is no text; see --help for the form"))?;
            let set = datasets::tu::parse_graphs(text).map_err(|error| format!("{shown}: {error}"))?;
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
            let mut results = Results::prepare("Embeddings of graphs", &training.output)?;
            results.say(&format!(
                "{} graphs, {width} kinds of nodes, {} classes ({shown})",
                all.len(),
                set.num_classes
            ));
            let labels = set.graphs.iter().map(|graph| graph.label).collect();
            let names = set.class_values.iter().map(i64::to_string).collect();
            embed_graphs(results, &data, Some((labels, names)), training, false)
        }
        What::Graphs { nodes: Some(path), edges: Some(edges), standardize, training, .. } => {
            let mut set = tables::many_graphs(path, edges)?;
            let columns = set.features.columns();
            let remark = if *standardize { None } else { tables::remark(&columns) };
            if *standardize {
                set.features.standardize(&columns);
            }
            let x = set.features.into_features(path)?.to_dense()?;
            let of_graph = |rows: &Vec<u32>| x.index_select(&Tensor::new(rows.as_slice(), &Device::Cpu)?, 0);
            let features = set.rows.iter().map(of_graph).collect::<candle_core::Result<Vec<_>>>()?;
            let data = Unlabelled::graphs(&set.graphs, features)?;
            let mut results = Results::prepare("Embeddings of graphs", &training.output)?;
            results.say(&format!(
                "{} graphs of {} nodes, {} features, {} classes ({})",
                set.graphs.len(),
                x.dims()[0],
                data.width(),
                set.labels.as_ref().map_or(0, |(_, names)| names.len()),
                path.display()
            ));
            if let Some(remark) = &remark {
                unscaled(&mut results, remark);
            }
            if *standardize {
                scaling(&mut results, &columns)?;
            }
            let mut table = Table::new(["row", "graph", "nodes", "edges"]);
            for (at, (name, graph)) in set.names.iter().zip(&set.graphs).enumerate() {
                let counts = [graph.num_nodes(), graph.num_edges()].map(|count| count.to_string());
                table.rows.push([at.to_string(), name.clone()].into_iter().chain(counts).collect());
            }
            results.table("graphs", "The graph of each row of the embeddings", &table)?;
            embed_graphs(results, &data, set.labels, training, remark.is_some())
        }
        What::Graphs { .. } => Err("give --graphs, or --nodes and --edges".into()),
    }
}

/// Says that features are not of one scale.
fn unscaled(results: &mut Results, remark: &str) {
    results
        .say(&format!("note: {remark}; large ones drown the others: --standardize gives each mean 0 and deviation 1"));
}

/// Trains on graphs, probes where there are classes, and writes.
fn embed_graphs(
    mut results: Results,
    data: &Unlabelled,
    labels: Option<(Vec<u32>, Vec<String>)>,
    training: &Training,
    is_unscaled: bool,
) -> Result<()> {
    let trained = train(&mut results, data, LaGraphConfig::graphs(data.width()), training, 20)?;
    let probes = match &labels {
        Some((labels, names)) if names.len() > 1 => Some(probe_graphs(&trained, data, labels)?),
        _ => None,
    };
    let classes = labels.map(|(labels, names)| (labels.into_iter().map(Some).collect(), names));
    write(results, &trained, probes, classes, is_unscaled)
}

/// How the features were scaled, for nodes that come later.
fn scaling(results: &mut Results, columns: &[tables::Column]) -> Result<()> {
    let mut table = Table::new(["column", "mean", "deviation", "least", "most"]);
    let row = |of: &tables::Column| {
        [of.mean, of.deviation, of.least, of.most].map(cell).into_iter().fold(
            vec![of.name.clone()],
            |mut row, number| {
                row.push(number);
                row
            },
        )
    };
    table.rows = columns.iter().map(row).collect();
    results.say(&format!("{} columns of features are standardised (scaling.csv)", columns.len()));
    results.table("scaling", "Columns of the features before they were standardised", &table)
}

struct Trained {
    model: SelfSupervised,
    untrained: Tensor,
    embeddings: Tensor,
    summary: gnn::self_supervised::FitSummary,
    objective: &'static str,
}

fn train(
    results: &mut Results,
    data: &Unlabelled,
    config: LaGraphConfig,
    training: &Training,
    epochs: usize,
) -> Result<Trained> {
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
    results.say(&format!("{} for {epochs} epochs, layers of {}", objective.name(), config.hidden));
    let mut progress = Progress::new("training", "epochs", epochs);
    let summary = model.fit(data, &objective, &options, |report, _| {
        progress.at(report.epoch, || format!("{} {:.4}", objective.name(), report.loss));
        Ok(ControlFlow::Continue(()))
    })?;
    drop(progress);
    for warning in &summary.warnings {
        results.say(&format!("warning: {warning}"));
    }
    if let [first, .., last] = summary.epochs.as_slice() {
        let rank = |report: &gnn::self_supervised::EpochReport| {
            report.collapse.as_ref().map_or(f64::NAN, |collapse| collapse.effective_rank)
        };
        results.say(&format!(
            "{} from {:.4} to {:.4}, effective rank from {:.1} to {:.1}",
            objective.name(),
            first.loss,
            last.loss,
            rank(first),
            rank(last)
        ));
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

/// Whether each class has enough labelled nodes for splits.
fn can_be_probed(labels: &tables::Labels) -> Result<()> {
    for (name, class) in labels.names.iter().zip(0..) {
        let count = labels.of_nodes.iter().filter(|label| **label == Some(class)).count();
        if count < 10 {
            return Err(
                format!("class `{name}` has {count} labelled nodes; the probe needs at least 10 of each").into()
            );
        }
    }
    Ok(())
}

fn probe_nodes(trained: &Trained, data: &Unlabelled, labels: &tables::Labels) -> Result<Probes> {
    let rows: Vec<usize> = (0..labels.of_nodes.len()).filter(|&node| labels.of_nodes[node].is_some()).collect();
    let of_rows: Vec<u32> = rows.iter().filter_map(|&row| labels.of_nodes[row]).collect();
    let classes = labels.names.len();
    let splits = (0..10)
        .map(|seed| {
            let drawn = label_rate_split(seed, &of_rows, 0.2, LabelRate::OfEachClass)?;
            let chosen = |at: &[usize]| at.iter().map(|&at| rows[at]).collect();
            Ok(Split { train: chosen(&drawn.labelled), validation: Vec::new(), test: chosen(&drawn.unlabelled) })
        })
        .collect::<std::result::Result<Vec<_>, gnn::probe::classifiers::Error>>()?;
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

fn probe_graphs(trained: &Trained, data: &Unlabelled, labels: &[u32]) -> Result<Probes> {
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
    mut results: Results,
    trained: &Trained,
    probes: Option<Probes>,
    classes: Option<Classes>,
    is_unscaled: bool,
) -> Result<()> {
    let shape = trained.embeddings.dims();
    let path = results.path("embeddings.npy", &format!("embeddings {shape:?}, rows in the order of the input"));
    trained.embeddings.write_npy(path)?;
    let path = results.path("untrained.npy", "embeddings before the training");
    trained.untrained.write_npy(path)?;
    trained.model.save(results.path("model.safetensors", "weights of the encoder"))?;
    if let Some(probes) = &probes {
        let mut table = Table::new(["probe_on", "accuracy", "spread"]);
        let row = |(name, mean, spread): &(&str, f64, f64)| {
            vec![(*name).to_owned(), format!("{mean:.4}"), format!("{spread:.4}")]
        };
        table.rows = probes.iter().map(row).collect();
        results.heading("Probe");
        results.show_table("probe", "Accuracy of a classifier of few labels, and its spread over splits", &table)?;
    }
    epochs(&mut results, trained)?;
    map(&mut results, trained, classes)?;
    let of_epochs: Vec<_> = trained
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
        "epochs": of_epochs,
        "warnings": trained.summary.warnings,
        "probe": probes.as_ref().map(|probes| probes.iter().map(|(name, mean, spread)| json!({"on": name, "accuracy": mean, "spread": spread})).collect::<Vec<_>>()),
    });
    results.json("report", "objective and collapse of each epoch, probes", &report)?;
    results.finish(&next(probes.as_ref(), is_unscaled))
}

/// A cell with four decimals, or nothing where there is no number.
fn rounded(value: f64) -> String {
    cell((value * 1e4).round() / 1e4)
}

/// The course of the training, as a table and a figure.
fn epochs(results: &mut Results, trained: &Trained) -> Result<()> {
    let mut table = Table::new(["epoch", "objective", "effective_rank", "seconds"]);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for epoch in &trained.summary.epochs {
        let rank = epoch.collapse.as_ref().map_or(f64::NAN, |collapse| collapse.effective_rank);
        table.rows.push(vec![
            epoch.epoch.to_string(),
            rounded(epoch.loss),
            rounded(rank),
            format!("{:.3}", epoch.seconds),
        ]);
        x.push(epoch.epoch as f64);
        y.push(epoch.loss);
    }
    results.heading("Training");
    results.table("epochs", "Objective and effective rank of each epoch", &table)?;
    let series = vec![Series::new(trained.objective, x, y)];
    let plot = Plot::lines("Objective", Axis::linear("epoch"), Axis::linear(trained.objective), series);
    results.figure("objective", &plot, "What was minimised; a small value does not say that the embeddings are good.")
}

/// Two principal components.
fn map(results: &mut Results, trained: &Trained, classes: Option<Classes>) -> Result<()> {
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
    results.heading("Map");
    results.figure("map", &plot, "Two principal components of the embeddings.")
}

/// What to do with it.
fn next(probes: Option<&Probes>, is_unscaled: bool) -> String {
    if is_unscaled {
        return "run it again with --standardize into another --out, and compare".to_owned();
    }
    let Some(probes) = probes else {
        return "without --labels nothing says whether the training helped: label ten nodes of each class, or compare embeddings.npy and untrained.npy in your own task".to_owned();
    };
    let (Some((_, last, spread)), Some(best)) =
        (probes.last(), probes.iter().rev().skip(1).max_by(|a, b| a.1.total_cmp(&b.1)))
    else {
        return "use embeddings.npy".to_owned();
    };
    match *last > best.1 + spread.max(best.2) {
        true => {
            "the training helped by more than the spread: use embeddings.npy as the input of a classifier or a search"
                .to_owned()
        }
        false => format!(
            "the training added nothing beyond the spread to `{}`: use that, or try another --objective, more --epochs or other features",
            best.0
        ),
    }
}
