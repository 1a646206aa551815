//! Claims about coding trees alone; they take milliseconds, so they are not trials.

use datasets::{planetoid, synthetic};
use experiment::{Axis, Context, Measured, Node, Plot, Result, Samples, Scale, Series};
use gnn::Graph;
use gnn::sep::{CodingTree, TreeConfig};
use std::time::Instant;

pub(crate) fn report(context: &mut Context) -> Result<()> {
    separation(context)?;
    heights(context)?;
    draw_karate(context)?;
    if context.scale() != Scale::Smoke {
        scaling(context)?;
    }
    Ok(())
}

fn separation(context: &mut Context) -> Result<()> {
    let (set, _) = synthetic::community_graphs();
    let mut ratios = vec![Vec::new(); 2];
    for graph in &set.graphs {
        let tree = CodingTree::build(&Graph::from_edges(graph.num_nodes, &graph.edges)?, TreeConfig::new(3))?;
        ratios[graph.label as usize].push(tree.entropy() / tree.one_dimensional_entropy());
    }
    let smallest = ratios[0].iter().copied().fold(f64::INFINITY, f64::min);
    let largest = ratios[1].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let samples = vec![
        Samples::new("without communities", ratios[0].clone()),
        Samples::new("with communities", ratios[1].clone()),
    ];
    let plot =
        Plot::histogram("Structural entropy over one-dimensional entropy", Axis::linear("H_T / H^(1)"), 40, samples)
            .description("240 generated graphs of equal degrees; the two classes do not overlap");
    context.plot("entropy-ratio", plot)?;
    context.claim(
        "entropy-separates",
        Measured {
            value: smallest - largest,
            trials: set.graphs.len(),
            data: "240 generated graphs with and without communities".into(),
            is_synthetic: true,
            note: Some(format!("smallest ratio without communities {smallest:.4}, largest with {largest:.4}")),
            ..Measured::default()
        },
    )
}

fn heights(context: &mut Context) -> Result<()> {
    let is_real = context.scale() != Scale::Smoke && !context.is_synthetic();
    let karate = synthetic::karate_club();
    let grid = synthetic::grid(30, 30)?.graph;
    let mut graphs = vec![
        ("karate club", Graph::from_edges(karate.num_nodes, &karate.edges)?, 0),
        ("30x30 grid", Graph::from_edges(grid.num_nodes, &grid.edges)?, 0),
    ];
    if is_real {
        let store = reproduction::store(context)?;
        for (name, set) in [("Cora", "planetoid-cora"), ("Citeseer", "planetoid-citeseer")] {
            let nodes = planetoid::load(&store, set)?;
            graphs.push((name, Graph::from_edges(nodes.num_nodes, &nodes.edges)?, 1));
        }
    }
    let mut series = Vec::new();
    let mut smallest_fall = f64::INFINITY;
    for (name, graph, plus_one) in &graphs {
        let mut entropies = Vec::new();
        for height in 2..=6 {
            let options = match plus_one {
                0 => TreeConfig::new(height),
                _ => TreeConfig::for_node_classification(height - 1),
            };
            entropies.push(CodingTree::build(graph, options)?.entropy());
        }
        for pair in entropies.windows(2) {
            smallest_fall = smallest_fall.min(pair[0] - pair[1]);
        }
        series.push(Series::new(*name, (2..=6).map(f64::from).collect(), entropies));
    }
    let plot = Plot::lines(
        "Entropy against the height of the tree",
        Axis::linear("height k"),
        Axis::linear("H_T, bits"),
        series,
    );
    context.plot("entropy-height", plot)?;
    context.claim(
        "entropy-falls",
        Measured {
            value: smallest_fall,
            trials: graphs.len(),
            data: graphs.iter().map(|graph| graph.0).collect::<Vec<_>>().join(", "),
            is_synthetic: !is_real,
            note: is_real.then(|| "the grid is generated; the other graphs are real".into()),
            ..Measured::default()
        },
    )
}

/// The karate club, coloured by the top level of its tree of height 2.
fn draw_karate(context: &mut Context) -> Result<()> {
    let karate = synthetic::karate_club();
    let graph = Graph::from_edges(karate.num_nodes, &karate.edges)?;
    let labels = CodingTree::build(&graph, TreeConfig::new(2))?.labels(1)?;
    let positions = spring_layout(&graph);
    let nodes = positions
        .iter()
        .zip(&labels)
        .enumerate()
        .map(|(i, (&[x, y], &cluster))| Node { x, y, cluster: cluster as usize, label: (i + 1).to_string() })
        .collect();
    let edges = karate.edges.iter().map(|&(u, v)| (u as usize, v as usize)).collect();
    context.plot("karate", Plot::graph("Clusters of the karate club, height 2", nodes, edges))
}

/// Fruchterman & Reingold's layout from points on a circle; small graphs only.
fn spring_layout(graph: &Graph) -> Vec<[f64; 2]> {
    let n = graph.num_nodes();
    let angle = |i: usize| i as f64 / n as f64 * std::f64::consts::TAU;
    let mut position: Vec<[f64; 2]> = (0..n).map(|i| [angle(i).cos(), angle(i).sin()]).collect();
    let ideal = (4.0 / n as f64).sqrt();
    for step in 0..300 {
        let mut force = vec![[0.0; 2]; n];
        for i in 0..n {
            for j in 0..n {
                let (dx, dy) = (position[i][0] - position[j][0], position[i][1] - position[j][1]);
                let square = (dx * dx + dy * dy).max(1e-6);
                let is_edge = graph.neighbors(i).binary_search(&(j as u32)).is_ok();
                let pull = ideal * ideal / square - if is_edge { square.sqrt() / ideal } else { 0.0 };
                force[i][0] += dx * pull;
                force[i][1] += dy * pull;
            }
        }
        let limit = 0.2 * (1.0 - f64::from(step) / 300.0);
        for (point, [fx, fy]) in position.iter_mut().zip(force) {
            let length = fx.hypot(fy).max(1e-12);
            let scale = length.min(limit) / length;
            *point = [point[0] + fx * scale, point[1] + fy * scale];
        }
    }
    position
}

/// Time of construction against m log m. Times differ from run to run, so they are a plot and no claim.
fn scaling(context: &mut Context) -> Result<()> {
    let mut measured = (Vec::new(), Vec::new());
    for num_edges in [1_000usize, 10_000, 100_000, 1_000_000] {
        let num_nodes = num_edges / 5;
        let mut random = core_tensor::random::Rng::new(num_edges as u64);
        let mut end = || random.below(num_nodes) as u32;
        let edges: Vec<(u32, u32)> = (0..num_edges).map(|_| (end(), end())).filter(|(u, v)| u != v).collect();
        let graph = Graph::from_edges(num_nodes, &edges)?;
        let start = Instant::now();
        CodingTree::build(&graph, TreeConfig::new(3))?;
        measured.0.push(num_edges as f64);
        measured.1.push(start.elapsed().as_secs_f64());
    }
    let (edges, seconds) = measured;
    let law = |m: f64| m * m.log2();
    let unit = seconds[0] / law(edges[0]);
    let reference = edges.iter().map(|&m| unit * law(m)).collect();
    let series = vec![Series::new("measured", edges.clone(), seconds), Series::new("c · m log m", edges, reference)];
    let plot = Plot::lines(
        "Time to build a tree of height 3 (random graphs of mean degree 10)",
        Axis::log("edges m"),
        Axis::log("seconds"),
        series,
    );
    context.plot("tree-time", plot)
}
