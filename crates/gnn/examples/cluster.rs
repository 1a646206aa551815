//! Communities of your graph, however many there are: `cargo run --release -p gnn --example cluster -- edges.csv --out communities`.
//!
//! `edges.csv` has a header and the two ends of each edge in its first two columns, by any text; `--weight` names a column of numbers above 0. An `.npz` has arrays for the columns, an `.npy` is `[edges, 2]`.
//! Directions are dropped, repeated edges count once (with weights they add).
//!
//! [`gnn::sep::cluster`] minimises the structural entropy: the bits that code the next step of a random walk. Every sparse graph saves some bits that way, so the same is done with shuffled edges, which
//! keep each node's number of neighbours and nothing else; `--shuffles` says how often. With `--nested HEIGHT` a tree of communities of communities is built as well.
//!
//! Writes `index.html` with all of it, `communities.csv` (a row for each node), `sizes.csv` (a row for each community), `sizes.svg`, `between.svg`, `report.json`, and with `--nested` `nested.csv`.

#[path = "own_data/tables.rs"]
mod tables;

use clap::Parser;
use core_tensor::random::Rng;
use experiment::{Axis, Plot, Result, Samples, Table, statistics};
use gnn::Graph;
use gnn::sep::{CodingTree, Components, MergeCriterion, Refinement, TreeConfig, cluster};
use reproduction::front::{self, Output, Progress, Results};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use tables::Named;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Find the communities of a graph, however many there are
///
/// The table has a header and a row for each edge; the first two columns name its ends, by numbers or any text:
///
///   from,to,calls
///   ann,bob,12
///   bob,cy,3
///
/// An .npz has an array for each column, an .npy is [edges, 2].
///
/// Each node gets the community that makes a random walk shortest to describe (structural entropy); the number of communities follows. The same is done with shuffled edges, which shows what a graph without communities would give. A hundred thousand edges take about a minute, some seconds with --shuffles 0.
///
/// Example: cluster edges.csv --weight calls --out communities
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment, mut_arg("out", |out| out.default_value("communities")))]
struct Arguments {
    /// A table whose first two columns are the ends of each edge: .csv with a header, .npy or .npz
    edges: PathBuf,
    /// The column that says how strong each edge is, a number above 0
    #[arg(long)]
    weight: Option<String>,
    /// Build communities of communities too: a tree of this height, 2 or more
    #[arg(long, value_name = "HEIGHT", value_parser = clap::value_parser!(u8).range(2..=20))]
    nested: Option<u8>,
    /// How often the edges are shuffled for comparison; 0 for not at all
    #[arg(long, default_value_t = 9)]
    shuffles: u32,
    /// The seed of the shuffles; the communities do not depend on it
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

/// Communities that figures show.
const SHOWN: usize = 20;

/// Communities that save less, beyond what shuffled edges save, are weak.
const LITTLE: f64 = 0.05;

fn main() -> ExitCode {
    front::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let named = tables::named_graph(&arguments.edges, arguments.weight.as_deref())?;
    let graph = &named.graph;
    let mut results = Results::prepare("Communities of a graph", &arguments.output)?;
    results.say(&format!(
        "{} nodes, {} edges{}, {} connected parts ({})",
        graph.num_nodes(),
        graph.num_edges(),
        arguments.weight.as_ref().map_or(String::new(), |column| format!(" weighted by {column}")),
        graph.components().1,
        arguments.edges.display()
    ));
    if arguments.shuffles > 0 {
        results.say(&format!("clustered once as it is and {} times with shuffled edges", arguments.shuffles));
    }
    let mut progress = Progress::new("clustering", "graphs", 1 + arguments.shuffles as usize);
    let communities = Communities::new(graph, cluster(graph)?);
    let bits = Bits::new(graph, &communities.of_nodes)?;
    progress.step();
    let mut rng = Rng::new(arguments.seed);
    let mut shuffles = Vec::new();
    for _ in 0..arguments.shuffles {
        let other = shuffled(graph, &mut rng)?;
        shuffles.push(Bits::new(&other, &cluster(&other)?)?.share_saved());
        progress.step();
    }
    drop(progress);
    let saved = bits.share_saved();
    results.say(&format!(
        "{} communities; {:.3} bits a step, {:.3} without them: {:.1} % saved, {:.1} % of the {} inside",
        communities.sizes.len(),
        bits.with,
        bits.without,
        100. * saved,
        100. * communities.share_inside(),
        if arguments.weight.is_some() { "weight is" } else { "edges are" }
    ));
    if !shuffles.is_empty() {
        let [least, most] = extremes(&shuffles);
        results.say(&format!("shuffled edges save {:.1} to {:.1} %", 100. * least, 100. * most));
    }
    write(&mut results, &named, &communities)?;
    let nested = match arguments.nested {
        Some(height) => Some(nest(&mut results, &named, usize::from(height))?),
        None => None,
    };
    let report = json!({
        "nodes": graph.num_nodes(), "edges": graph.num_edges(), "weight": arguments.weight, "connected_parts": graph.components().1,
        "communities": communities.sizes.len(), "bits": bits.with, "bits_without_communities": bits.without, "share_saved": saved,
        "share_saved_by_shuffled_edges": shuffles,
        "share_of_weight_inside": communities.share_inside(), "nested": nested,
    });
    results.json("report", "counts and bits", &report)?;
    results.finish(&next(saved, &shuffles, arguments.nested.is_some()))
}

/// Bits of a step of a random walk.
struct Bits {
    with: f64,
    without: f64,
}

impl Bits {
    fn new(graph: &Graph, communities: &[u32]) -> Result<Self> {
        let count = communities.iter().max().map_or(1, |last| *last as usize + 1);
        let tree = CodingTree::from_layers(graph, &[communities.to_vec(), vec![0; count]])?;
        Ok(Self { with: tree.entropy(), without: tree.one_dimensional_entropy() })
    }

    fn share_saved(&self) -> f64 {
        if self.without > 0. { 1. - self.with / self.without } else { 0. }
    }
}

fn extremes(values: &[f64]) -> [f64; 2] {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    [least, values.iter().copied().fold(f64::NEG_INFINITY, f64::max)]
}

/// Edges that change ends in pairs, ten times each on average: every node keeps its number of neighbours, every edge its weight.
fn shuffled(graph: &Graph, rng: &mut Rng) -> Result<Graph> {
    let mut edges: Vec<(u32, u32, f64)> = graph.edges().collect();
    let ordered = |u: u32, v: u32| (u.min(v), u.max(v));
    let mut present: BTreeSet<(u32, u32)> = edges.iter().map(|&(u, v, _)| ordered(u, v)).collect();
    for _ in 0..5 * edges.len() {
        let (first, second) = (rng.below(edges.len()), rng.below(edges.len()));
        let ((a, b, _), (c, d, _)) = (edges[first], edges[second]);
        let (c, d) = if rng.below(2) == 0 { (c, d) } else { (d, c) };
        let (one, other) = (ordered(a, d), ordered(c, b));
        let is_loop = a == d || c == b || a == b || c == d;
        if is_loop || one == other || present.contains(&one) || present.contains(&other) {
            continue;
        }
        present.remove(&ordered(a, b));
        present.remove(&ordered(c, d));
        present.extend([one, other]);
        (edges[first].0, edges[first].1) = one;
        (edges[second].0, edges[second].1) = other;
    }
    let nodes = graph.num_nodes();
    Ok(match graph.is_weighted() {
        true => Graph::from_weighted_edges(nodes, &edges)?,
        false => Graph::from_edges(nodes, &edges.iter().map(|&(u, v, _)| (u, v)).collect::<Vec<_>>())?,
    })
}

/// What is known of communities.
struct Communities {
    of_nodes: Vec<u32>,
    sizes: Vec<usize>,
    /// `between[a][b]`: the weight of the edges between communities, those inside on the diagonal.
    between: Vec<BTreeMap<u32, f64>>,
}

impl Communities {
    fn new(graph: &Graph, of_nodes: Vec<u32>) -> Self {
        let count = of_nodes.iter().max().map_or(0, |last| *last as usize + 1);
        let mut sizes = vec![0; count];
        of_nodes.iter().for_each(|community| sizes[*community as usize] += 1);
        let mut between = vec![BTreeMap::new(); count];
        for (u, v, weight) in graph.edges() {
            let (a, b) = (of_nodes[u as usize], of_nodes[v as usize]);
            *between[a as usize].entry(b).or_insert(0.) += weight;
            if a != b {
                *between[b as usize].entry(a).or_insert(0.) += weight;
            }
        }
        Self { of_nodes, sizes, between }
    }

    fn inside(&self, community: usize) -> f64 {
        self.between[community].get(&(community as u32)).copied().unwrap_or(0.)
    }

    fn leaving(&self, community: usize) -> f64 {
        self.between[community]
            .iter()
            .filter(|(other, _)| **other as usize != community)
            .map(|(_, weight)| weight)
            .sum()
    }

    fn share_inside(&self) -> f64 {
        let sum = |of: &dyn Fn(usize) -> f64| (0..self.sizes.len()).map(of).sum::<f64>();
        let (inside, leaving) = (sum(&|at| self.inside(at)), sum(&|at| self.leaving(at)) / 2.);
        if inside + leaving > 0. { inside / (inside + leaving) } else { 0. }
    }

    /// The largest first.
    fn by_size(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.sizes.len()).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(self.sizes[at]));
        order
    }
}

fn write(results: &mut Results, named: &Named, communities: &Communities) -> Result<()> {
    let order = communities.by_size();
    let mut table = Table::new(["community", "nodes", "inside", "leaving", "first_nodes"]);
    for &at in &order {
        let members = named.names.iter().zip(&communities.of_nodes).filter(|(_, of)| **of as usize == at);
        let first = members.take(3).map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ");
        let weights = [communities.inside(at), communities.leaving(at)].map(|weight| weight.to_string());
        let counts = [at.to_string(), communities.sizes[at].to_string()];
        table.rows.push(counts.into_iter().chain(weights).chain([first]).collect());
    }
    results.heading("Communities");
    let caption = "Communities, the largest first: nodes, weight of the edges inside and of those that leave";
    match order.len() <= SHOWN {
        true => results.show_table("sizes", caption, &table)?,
        false => results.table("sizes", caption, &table)?,
    }
    let sizes = communities.sizes.iter().map(|&size| size as f64).collect();
    let plot =
        Plot::histogram("Sizes of communities", Axis::linear("nodes"), 10, vec![Samples::new("communities", sizes)]);
    results.figure("histogram", &plot, "How many communities have how many nodes.")?;
    let shown = &order[..order.len().min(SHOWN)];
    let label = |at: &usize| at.to_string();
    let row =
        |&a: &usize| shown.iter().map(|&b| communities.between[a].get(&(b as u32)).copied().unwrap_or(0.)).collect();
    let plot = Plot::heat_map(
        "Weight of the edges between communities",
        shown.iter().map(label).collect(),
        shown.iter().map(label).collect(),
        shown.iter().map(row).collect(),
    );
    let caption = match order.len() > SHOWN {
        true => format!("The {SHOWN} largest of {} communities; the diagonal is inside.", order.len()),
        false => "The diagonal is inside.".to_owned(),
    };
    results.figure("between", &plot, &caption)?;
    let mut table = Table::new(["node", "community", "degree"]);
    for (at, (name, community)) in named.names.iter().zip(&communities.of_nodes).enumerate() {
        table.rows.push(vec![name.clone(), community.to_string(), named.graph.degree(at).to_string()]);
    }
    results.heading("Nodes");
    results.table("communities", "The community of each node", &table)
}

/// A tree of communities of communities; its layers' sizes and its bits.
fn nest(results: &mut Results, named: &Named, height: usize) -> Result<serde_json::Value> {
    let config = TreeConfig::new(height)
        .with_criterion(MergeCriterion::InsertParent)
        .with_components(Components::Join)
        .with_refinement(Refinement::default());
    let tree = CodingTree::build(&named.graph, config)?;
    let layers = (1..tree.height()).map(|layer| tree.labels(layer)).collect::<gnn::Result<Vec<_>>>()?;
    let names = (1..=layers.len()).map(|layer| format!("layer_{layer}"));
    let mut table = Table::new(std::iter::once("node".to_owned()).chain(names));
    for (at, name) in named.names.iter().enumerate() {
        let row = std::iter::once(name.clone()).chain(layers.iter().map(|labels| labels[at].to_string()));
        table.rows.push(row.collect());
    }
    results.heading("Nested communities");
    results.say(&format!(
        "nested: {:?} communities from the finest layer up, {:.3} bits a step",
        &tree.layer_sizes()[1..tree.height()],
        tree.entropy()
    ));
    results.table("nested", "The community of each node in each layer, from the finest up", &table)?;
    Ok(json!({ "layers": tree.layer_sizes(), "bits": tree.entropy() }))
}

/// What to do with it.
fn next(saved: f64, shuffles: &[f64], is_nested: bool) -> String {
    let join = match is_nested {
        true => {
            "join communities.csv with your nodes by the column node; nested.csv has the parts of communities and their unions"
        }
        false => {
            "join communities.csv with your nodes by the column node; --nested 4 shows the parts of communities and their unions"
        }
    };
    let [_, most] = extremes(shuffles);
    if !shuffles.is_empty() && saved <= most {
        return "shuffled edges save as much: these communities are what any graph with such degrees has, and say nothing about this one".to_owned();
    }
    match !shuffles.is_empty() && saved - statistics::mean(shuffles) < LITTLE {
        true => format!(
            "the communities are weak, hardly more than shuffled edges give, so do not rest on single nodes; {join}"
        ),
        false => join.to_owned(),
    }
}
