//! How much your labelled nodes are in conflict, and weights against it: `cargo run --release -p gnn --example imbalance -- --edges edges.csv --labels labels.csv --train train.csv --out imbalance.csv`.
//!
//! `edges.csv` has a header and two columns with the numbers of nodes, from 0; `labels.csv` the columns `node` and `label` (any text); `train.csv` a header and the numbers of the labelled nodes that
//! are trained on (without it, all that have a label). Writes a row for each: node, label, Totoro value (0: no other class's label reaches it), ReNode weight.

#[path = "own_data/tables.rs"]
mod tables;

use clap::Parser;
use gnn::imbalance::{PageRankConfig, ReNodeConfig, renode_weights, totoro};
use std::path::PathBuf;
use std::process::ExitCode;
use tables::Fallible;

/// Weigh labelled nodes by the conflict of their labels
#[derive(Debug, Parser)]
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
    /// Where the table goes
    #[arg(long, default_value = "imbalance.csv")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Fallible<()> {
    let graph = tables::graph(&arguments.edges, 0)?;
    let nodes = graph.num_nodes().max(arguments.nodes);
    let graph = if nodes > graph.num_nodes() {
        gnn::Graph::from_edges(nodes, &tables::edges(&arguments.edges)?)?
    } else {
        graph
    };
    let labels = tables::labels(&arguments.labels, nodes)?;
    let train = match &arguments.train {
        Some(path) => tables::nodes(path, nodes)?,
        None => (0..nodes as u32).filter(|&node| labels.of_nodes[node as usize].is_some()).collect(),
    };
    let of_train = train
        .iter()
        .map(|&node| {
            labels.of_nodes[node as usize].ok_or_else(|| format!("node {node} is trained on and has no label"))
        })
        .collect::<Result<Vec<u32>, String>>()?;
    // classes without a labelled node here have no number among those that are compared
    let mut present = of_train.clone();
    present.sort_unstable();
    present.dedup();
    let numbered: Vec<u32> =
        of_train.iter().map(|class| present.binary_search(class).unwrap_or_default() as u32).collect();
    let config = PageRankConfig { restart: arguments.restart, ..PageRankConfig::default() };
    let found = totoro(&graph, &train, &numbered, config)?;
    let weights = renode_weights(&found.conflict, ReNodeConfig::default())?;
    let shown = arguments.out.display();
    let mut table = csv::Writer::from_path(&arguments.out).map_err(|error| format!("{shown}: {error}"))?;
    table.write_record(["node", "label", "totoro", "weight"])?;
    for (((node, class), conflict), weight) in train.iter().zip(&of_train).zip(&found.conflict).zip(&weights) {
        let label = &labels.names[*class as usize];
        table.write_record([node.to_string(), label.clone(), format!("{conflict:.9}"), format!("{weight:.6}")])?;
    }
    table.flush()?;
    println!("{} labelled nodes of {} classes; mean conflict {:.6}", train.len(), present.len(), found.mean);
    println!("written to {shown}");
    Ok(())
}
