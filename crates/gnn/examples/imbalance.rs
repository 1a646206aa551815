//! How much your labelled nodes are in conflict, and weights against it: `cargo run --release -p gnn --example imbalance -- --edges edges.csv --labels labels.csv --train train.csv --out imbalance`.
//!
//! `edges.csv` has a header and two columns with the numbers of nodes, from 0; `labels.csv` the columns `node` and `label` (any text); `train.csv` a header and the numbers of the labelled nodes that
//! are trained on (without it, all that have a label). Each may be an `.npz` with arrays for the columns; edges and nodes may be `.npy`.
//!
//! Writes `index.html` with all of it, `imbalance.csv` (a row for each of these nodes: node, label, Totoro value, 0 where no other class's label reaches it, ReNode weight), `classes.csv`, `totoro.svg` and `report.json`.

#[path = "own_data/tables.rs"]
mod tables;

use clap::Parser;
use experiment::{Axis, Plot, Result, Samples, Table, statistics};
use gnn::imbalance::{PageRankConfig, ReNodeConfig, renode_weights, totoro};
use reproduction::front::{self, Output, Results};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Weigh labelled nodes by the conflict of their labels
///
/// Edges have a header and the numbers of two nodes, labels a header and a row for each labelled node:
///
///   from,to        node,label
///   0,5            0,red
///   0,7            3,blue
///
/// An .npz has an array for each column; edges may be an .npy [edges, 2].
///
/// From each labelled node labels walk over the edges (personalised PageRank). Where those of several classes meet, a label says little: such nodes get a high value (Totoro) and a small weight (ReNode). Thousands of nodes take seconds.
///
/// Example: imbalance --edges edges.csv --labels labels.csv --out imbalance
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment, mut_arg("out", |out| out.default_value("imbalance")))]
struct Arguments {
    /// A table with two columns: the ends of each edge
    #[arg(long)]
    edges: PathBuf,
    /// A table with the columns node and label
    #[arg(long)]
    labels: PathBuf,
    /// A table whose first column names the nodes that are trained on
    #[arg(long)]
    train: Option<PathBuf>,
    /// Number of nodes, if some have no edge
    #[arg(long, default_value_t = 0)]
    nodes: usize,
    /// The chance to return to the start in a step of the walk
    #[arg(long, default_value_t = 0.15)]
    restart: f64,
    #[command(flatten)]
    output: Output,
}

fn main() -> ExitCode {
    front::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let graph = tables::graph(&arguments.edges, arguments.nodes)?;
    let nodes = graph.num_nodes();
    let labels = tables::labels(&arguments.labels, nodes)?;
    let train = match &arguments.train {
        Some(path) => tables::nodes(path, nodes)?,
        None => (0..nodes as u32).filter(|&node| labels.of_nodes[node as usize].is_some()).collect(),
    };
    let of_train = train
        .iter()
        .map(|&node| {
            labels.of_nodes[node as usize].ok_or_else(|| format!("node {node} is trained on and has no label").into())
        })
        .collect::<Result<Vec<u32>>>()?;
    // classes without a labelled node here have no number among those that are compared
    let mut present = of_train.clone();
    present.sort_unstable();
    present.dedup();
    let numbered: Vec<u32> =
        of_train.iter().map(|class| present.binary_search(class).unwrap_or_default() as u32).collect();
    let mut results = Results::prepare("Conflict of labelled nodes", &arguments.output)?;
    results.say(&format!(
        "{} labelled nodes of {} classes in a graph of {nodes} nodes and {} edges ({})",
        train.len(),
        present.len(),
        graph.num_edges(),
        arguments.edges.display()
    ));
    let config = PageRankConfig { restart: arguments.restart, ..PageRankConfig::default() };
    let found = totoro(&graph, &train, &numbered, config)?;
    let weights = renode_weights(&found.conflict, ReNodeConfig::default())?;
    results.say(&format!("mean conflict {:.6}", found.mean));

    let mut by_class = Table::new(["label", "nodes", "mean_totoro", "mean_weight"]);
    for (class, number) in present.iter().zip(0..) {
        let of = |values: &[f64]| -> Vec<f64> {
            values.iter().zip(&numbered).filter(|(_, of)| **of == number).map(|(value, _)| *value).collect()
        };
        let (conflict, weight) = (of(&found.conflict), of(&weights));
        by_class.rows.push(vec![
            labels.names[*class as usize].clone(),
            conflict.len().to_string(),
            format!("{:.6}", statistics::mean(&conflict)),
            format!("{:.4}", statistics::mean(&weight)),
        ]);
    }
    results.heading("Classes");
    results.show_table("classes", "Labelled nodes of each class, their conflict and their weight", &by_class)?;
    let samples = vec![Samples::new("labelled nodes", found.conflict.clone())];
    let plot = Plot::histogram("Conflict of labelled nodes", Axis::linear("Totoro value"), 20, samples);
    results.figure("totoro", &plot, "0: no label of another class reaches the node.")?;
    let mut table = Table::new(["node", "label", "totoro", "weight"]);
    for (((node, class), conflict), weight) in train.iter().zip(&of_train).zip(&found.conflict).zip(&weights) {
        let label = labels.names[*class as usize].clone();
        table.rows.push(vec![node.to_string(), label, format!("{conflict:.9}"), format!("{weight:.6}")]);
    }
    results.heading("Nodes");
    results.table("imbalance", "Totoro value and ReNode weight of each labelled node", &table)?;
    let report = json!({
        "nodes": nodes, "edges": graph.num_edges(), "labelled": train.len(), "restart": arguments.restart,
        "mean_conflict": found.mean, "classes": present.iter().map(|class| &labels.names[*class as usize]).collect::<Vec<_>>(),
    });
    results.json("report", "counts and the mean conflict", &report)?;
    results.finish(match found.conflict.iter().all(|conflict| *conflict == 0.) {
        true => "no label reaches a node of another class, so the weights change nothing: train without them",
        false => "multiply the loss of each labelled node by its weight in imbalance.csv, and compare with training without on nodes that are held out",
    })
}
