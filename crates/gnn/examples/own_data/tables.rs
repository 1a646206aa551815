//! Graphs, features and labels from a user's files.

// Each example uses some of it.
#![allow(dead_code, reason = "each program that includes this uses some of it")]

use candle_core::{DType, Device, Tensor};
use datasets::npz::Archive;
use experiment::{BoxError, Result};
use gnn::{Features, Graph};
use reproduction::front::{self, Columns, Numbers};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::Path;

fn fail(path: &Path, reason: impl Display) -> BoxError {
    format!("{}: {reason}", path.display()).into()
}

/// A table of edges, and the names of the two columns of its ends.
fn edge_table(path: &Path) -> Result<(Columns, [String; 2])> {
    let table = Columns::read(path)?;
    let ends = match table.names().as_slice() {
        [from, to, ..] => [from.clone(), to.clone()],
        names => {
            let count = names.len();
            return Err(table.error(format_args!("a table of edges has two columns, this one has {count}")));
        }
    };
    // The columns of an array are numbered; in a table numbers in the place of names are an edge that would be lost.
    let is_text = !front::read(path)?.starts_with(b"\x93NUMPY");
    if is_text && ends.iter().all(|name| name.parse::<f64>().is_ok()) {
        let [from, to] = ends;
        return Err(table.error(format_args!("the first row is `{from},{to}`, expected a header such as `from,to`")));
    }
    Ok((table, ends))
}

/// The number of a node, from 0.
fn node(table: &Columns, row: usize, value: Option<f64>) -> Result<u32> {
    match value {
        Some(value) if value >= 0.0 && value.fract() == 0.0 && value < f64::from(u32::MAX - 1) => Ok(value as u32),
        Some(value) => Err(table.error(format_args!("row {row}: {value} is no number of a node (0, 1, 2, …)"))),
        None => Err(table.error(format_args!("row {row}: the number of a node is missing"))),
    }
}

/// Pairs of node numbers, from 0: the first two columns of a table.
pub(crate) fn edges(path: &Path) -> Result<Vec<(u32, u32)>> {
    let (table, [from, to]) = edge_table(path)?;
    let ends = table.numbers(&from)?.into_iter().zip(table.numbers(&to)?).enumerate();
    ends.map(|(row, (from, to))| Ok((node(&table, row, from)?, node(&table, row, to)?))).collect()
}

/// The graph of a table of edges; `at_least` nodes, more if an edge names them.
pub(crate) fn graph(path: &Path, at_least: usize) -> Result<Graph> {
    let edges = edges(path)?;
    let named = edges.iter().map(|&(u, v)| u.max(v) as usize + 1).max().unwrap_or(0);
    Ok(Graph::from_edges(named.max(at_least), &edges)?)
}

/// The graph of a table of edges between nodes of which there are features; an edge that names another is an error.
pub(crate) fn graph_between(path: &Path, nodes: usize) -> Result<Graph> {
    let graph = graph(path, nodes)?;
    match graph.num_nodes() - 1 {
        last if last >= nodes => {
            Err(fail(path, format_args!("names node {last}, but there are features of {nodes} nodes")))
        }
        _ => Ok(graph),
    }
}

/// A graph whose nodes have names.
pub(crate) struct Named {
    pub(crate) graph: Graph,
    /// In the order of the nodes: that of their numbers if all are whole numbers, else that in which edges name them.
    pub(crate) names: Vec<String>,
}

/// The graph of a table whose first two columns name the ends of edges, by any text, and the column `weight` how strong each is.
pub(crate) fn named_graph(path: &Path, weight: Option<&str>) -> Result<Named> {
    let (table, [from, to]) = edge_table(path)?;
    let (from, to) = (table.texts(&from)?, table.texts(&to)?);
    let cells: Vec<&str> = from.iter().zip(&to).flat_map(|(from, to)| [from.trim(), to.trim()]).collect();
    if let Some(at) = cells.iter().position(|cell| cell.is_empty()) {
        return Err(table.error(format_args!("row {}: an end of the edge is missing", at / 2)));
    }
    let mut names: Vec<&str> = cells.clone();
    if cells.iter().all(|cell| cell.parse::<i64>().is_ok()) {
        names.sort_by_key(|name| name.parse::<i64>().unwrap_or(0));
    }
    let mut known = BTreeMap::new();
    let mut in_order = Vec::new();
    for name in names {
        known.entry(name).or_insert_with(|| {
            in_order.push(name.to_owned());
            in_order.len() as u32 - 1
        });
    }
    let ends = cells.chunks_exact(2).map(|pair| (known[pair[0]], known[pair[1]]));
    let graph = match weight {
        None => Graph::from_edges(in_order.len(), &ends.collect::<Vec<_>>())?,
        Some(column) => {
            let mut edges = Vec::with_capacity(cells.len() / 2);
            for (row, ((u, v), weight)) in ends.zip(table.numbers(column)?).enumerate() {
                let Some(weight) = weight.filter(|weight| *weight > 0.0) else {
                    return Err(table.error(format_args!("column `{column}`, row {row}: expected a number above 0")));
                };
                edges.push((u, v, weight));
            }
            Graph::from_weighted_edges(in_order.len(), &edges).map_err(|error| table.error(error))?
        }
    };
    Ok(Named { graph, names: in_order })
}

/// Features of nodes: a row for each, a table of numbers or an array; or SciPy's compressed rows (`scipy.sparse.save_npz`).
pub(crate) enum NodeFeatures {
    /// Rows and columns of numbers.
    Dense(Numbers, [usize; 2]),
    /// Mostly zeros.
    Sparse(Features),
}

impl NodeFeatures {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = front::read(path)?;
        if bytes.starts_with(b"PK") {
            let archive = Archive::parse(&bytes).map_err(|error| fail(path, error))?;
            if archive.names().any(|name| name == "indptr") {
                return Ok(Self::Sparse(compressed(path, &archive)?));
            }
        }
        let numbers = front::named_array(path, "features")?;
        let (rows, columns) = numbers.matrix(path)?;
        if let Some(at) = numbers.values.iter().position(|value| !value.is_finite()) {
            let (row, column) = (at / columns, at % columns);
            return Err(fail(path, format_args!("row {row}, column {column}: {} is not finite", numbers.values[at])));
        }
        Ok(Self::Dense(numbers, [rows, columns]))
    }

    /// The features as f32.
    pub(crate) fn into_features(self, path: &Path) -> Result<Features> {
        match self {
            Self::Sparse(features) => Ok(features),
            Self::Dense(numbers, [rows, columns]) => {
                let values: Vec<f32> = numbers.values.iter().map(|&value| value as f32).collect();
                let x = Tensor::from_vec(values, (rows, columns), &Device::Cpu)?;
                Features::dense(x).map_err(|error| fail(path, error))
            }
        }
    }

    /// What each column holds; nothing for sparse features.
    pub(crate) fn columns(&self) -> Vec<Column> {
        let Self::Dense(numbers, [rows, columns]) = self else { return Vec::new() };
        let of = |at: usize| {
            let values: Vec<f64> = numbers.values.iter().skip(at).step_by((*columns).max(1)).copied().collect();
            let name = numbers.columns.as_ref().and_then(|names| names.get(at)).cloned();
            // scaled by the largest, so that no square overflows
            let unit = values.iter().fold(0f64, |largest, value| largest.max(value.abs()));
            let scaled = |value: &f64| if unit > 0. { value / unit } else { 0. };
            let mean = values.iter().map(scaled).sum::<f64>() / (*rows).max(1) as f64;
            let variance =
                values.iter().map(|value| (scaled(value) - mean).powi(2)).sum::<f64>() / (*rows).max(1) as f64;
            Column {
                name: name.unwrap_or_else(|| at.to_string()),
                least: values.iter().copied().fold(f64::INFINITY, f64::min),
                most: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                mean: mean * unit,
                deviation: variance.sqrt() * unit,
            }
        };
        (0..*columns).map(of).collect()
    }

    /// Gives each column mean 0 and deviation 1; equal values become 0. Sparse features stay as they are.
    pub(crate) fn standardize(&mut self, of: &[Column]) {
        let Self::Dense(numbers, [_, columns]) = self else { return };
        for row in numbers.values.chunks_exact_mut((*columns).max(1)) {
            for (value, column) in row.iter_mut().zip(of) {
                *value = if column.is_constant() { 0. } else { (*value - column.mean) / column.deviation };
            }
        }
    }
}

/// A column of features.
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
}

impl Column {
    fn is_constant(&self) -> bool {
        self.deviation <= 1e-7 * self.mean.abs()
    }

    fn extent(&self) -> f64 {
        self.least.abs().max(self.most.abs())
    }
}

/// Values above this are not standardised ones.
const FAR: f64 = 10.;

/// Standardised columns have one deviation, whatever they hold; those of zeros and ones are never this far apart.
const APART: f64 = 100.;

/// A sentence about columns that were not standardised, with the name and the range of the widest; nothing where all are of a scale.
pub(crate) fn remark(columns: &[Column]) -> Option<String> {
    let widest = columns.iter().max_by(|a, b| a.extent().total_cmp(&b.extent()))?;
    let deviations = || columns.iter().filter(|column| !column.is_constant()).map(|column| column.deviation);
    let (least, most) = (deviations().fold(f64::INFINITY, f64::min), deviations().fold(0., f64::max));
    let is_far = columns.iter().filter(|column| column.extent() > FAR).count();
    if is_far == 0 && most <= APART * least {
        return None;
    }
    let others = match is_far {
        0 | 1 => String::new(),
        count => format!(" ({count} of {} columns go beyond ±{FAR})", columns.len()),
    };
    Some(format!(
        "the features are not standardised: column `{}` goes from {} to {}{others}",
        widest.name, widest.least, widest.most
    ))
}

fn compressed(path: &Path, archive: &Archive) -> Result<Features> {
    let array = |name: &str| archive.array(name).map_err(|error| fail(path, error));
    let integers = |name: &str| -> Result<Vec<usize>> {
        let values =
            array(name)?.values.to_i64().ok_or_else(|| fail(path, format_args!("`{name}` holds no integers")))?;
        let counts = values.into_iter().map(usize::try_from).collect::<std::result::Result<Vec<_>, _>>();
        counts.map_err(|_| fail(path, format_args!("`{name}` holds a negative number")))
    };
    let (offsets, columns, shape) = (integers("indptr")?, integers("indices")?, integers("shape")?);
    let &[rows, width] = shape.as_slice() else {
        return Err(fail(path, "`shape` is not two numbers"));
    };
    if rows.checked_add(1) != Some(offsets.len()) {
        let count = offsets.len();
        return Err(fail(path, format_args!("{count} offsets for {rows} rows; only the form `csr` is read")));
    }
    let columns: Vec<u32> = columns.into_iter().map(|column| u32::try_from(column).unwrap_or(u32::MAX)).collect();
    let values = array("data")?.values.to_f32();
    let read = Features::from_csr(width, &offsets, &columns, &values, DType::F32, &Device::Cpu);
    read.map_err(|error| fail(path, error))
}

/// Classes of nodes by number, and their names.
pub(crate) struct Labels {
    /// The class of each node; none for nodes without a label.
    pub(crate) of_nodes: Vec<Option<u32>>,
    /// What the classes are called, in the order of their numbers.
    pub(crate) names: Vec<String>,
}

/// Labels from a table with the columns `node` and `label` (any text); nodes that are not listed, or listed with an empty label, have none.
pub(crate) fn labels(path: &Path, nodes: usize) -> Result<Labels> {
    let table = Columns::read(path)?;
    let trimmed = |name: &str| {
        Ok::<_, BoxError>(table.texts(name)?.iter().map(|cell| cell.trim().to_owned()).collect::<Vec<_>>())
    };
    let (of_rows, labels) = (trimmed("node")?, trimmed("label")?);
    let names: BTreeSet<&String> = labels.iter().filter(|label| !label.is_empty()).collect();
    let mut names: Vec<String> = names.into_iter().cloned().collect();
    if names.iter().all(|name| name.parse::<f64>().is_ok()) {
        names.sort_by(|a, b| a.parse::<f64>().unwrap_or(0.0).total_cmp(&b.parse::<f64>().unwrap_or(0.0)));
    }
    let numbers: BTreeMap<&String, u32> = names.iter().zip(0..).collect();
    let mut of_nodes = vec![None; nodes];
    for (row, (node, label)) in of_rows.iter().zip(&labels).enumerate() {
        let at: Option<usize> = node.parse().ok().filter(|&node: &usize| node < nodes);
        let Some(at) = at else {
            return Err(table.error(format_args!("row {row}: `{node}` is no node; there are {nodes}, from 0")));
        };
        if label.is_empty() {
            continue;
        }
        if of_nodes[at].is_some_and(|known| known != numbers[label]) {
            return Err(table.error(format_args!("row {row}: node {at} has two labels")));
        }
        of_nodes[at] = Some(numbers[label]);
    }
    Ok(Labels { of_nodes, names })
}

/// Node numbers of the first column of a table.
pub(crate) fn nodes(path: &Path, count: usize) -> Result<Vec<u32>> {
    let table = Columns::read(path)?;
    let names = table.names();
    let first = names.first().ok_or_else(|| table.error("there is no column"))?;
    let mut nodes = Vec::with_capacity(table.num_rows());
    for (row, value) in table.numbers(first)?.into_iter().enumerate() {
        match node(&table, row, value)? {
            node if (node as usize) < count => nodes.push(node),
            node => return Err(table.error(format_args!("row {row}: {node} is no node; there are {count}, from 0"))),
        }
    }
    Ok(nodes)
}

/// Graphs of one table of nodes, in the order in which it names them.
pub(crate) struct ManyGraphs {
    pub(crate) graphs: Vec<Graph>,
    pub(crate) names: Vec<String>,
    /// Features of all nodes, in the order of the table.
    pub(crate) features: NodeFeatures,
    /// The rows of each graph in the table.
    pub(crate) rows: Vec<Vec<u32>>,
    /// The class of each graph, and the names of the classes.
    pub(crate) labels: Option<(Vec<u32>, Vec<String>)>,
}

/// Graphs from a table with a row for each node (the column `graph`, perhaps `label`, which is the graph's, and features), and a table of edges between its rows, counted from 0.
pub(crate) fn many_graphs(nodes: &Path, edges_path: &Path) -> Result<ManyGraphs> {
    let table = Columns::read(nodes)?;
    let cells: Vec<String> = table.texts("graph")?.iter().map(|cell| cell.trim().to_owned()).collect();
    let of_node = front::numbered(&cells);
    let count = of_node.iter().max().map_or(0, |last| last + 1);
    let (mut rows, mut names) = (vec![Vec::new(); count], vec![String::new(); count]);
    let mut place = Vec::with_capacity(cells.len());
    for (row, (&graph, name)) in of_node.iter().zip(&cells).enumerate() {
        place.push(rows[graph].len() as u32);
        rows[graph].push(row as u32);
        names[graph].clone_from(name);
    }
    let has_labels = table.names().iter().any(|name| name == "label");
    let columns: Vec<String> =
        table.names().into_iter().filter(|name| !["graph", "label"].contains(&name.as_str())).collect();
    if columns.is_empty() {
        return Err(table.error("no column is left for features"));
    }
    let values: Vec<f64> = table.rows_of_numbers(&columns)?.into_iter().flatten().collect();
    let shape = [cells.len(), columns.len()];
    let features = NodeFeatures::Dense(Numbers { shape: shape.to_vec(), values, columns: Some(columns) }, shape);
    let mut ends = vec![Vec::new(); count];
    for (row, (u, v)) in edges(edges_path)?.into_iter().enumerate() {
        match (of_node.get(u as usize), of_node.get(v as usize)) {
            (Some(graph), Some(other)) if graph == other => ends[*graph].push((place[u as usize], place[v as usize])),
            (Some(_), Some(_)) => {
                return Err(fail(edges_path, format_args!("row {row}: the nodes {u} and {v} are of different graphs")));
            }
            _ => {
                let nodes = cells.len();
                return Err(fail(
                    edges_path,
                    format_args!("row {row}: {u} or {v} is no node; there are {nodes}, from 0"),
                ));
            }
        }
    }
    let graphs = rows.iter().zip(&ends).map(|(rows, ends)| Graph::from_edges(rows.len(), ends));
    let labels = match has_labels {
        true => {
            let (of_nodes, classes) = table.classes("label")?;
            let of_graphs = rows.iter().map(|rows| of_nodes[rows[0] as usize]).collect::<Vec<_>>();
            if let Some(row) = (0..cells.len()).find(|&row| of_nodes[row] != of_graphs[of_node[row]]) {
                return Err(table.error(format_args!("row {row}: graph `{}` has two labels", cells[row])));
            }
            Some((of_graphs, classes))
        }
        false => None,
    };
    Ok(ManyGraphs { graphs: graphs.collect::<gnn::Result<_>>()?, names, features, rows, labels })
}
