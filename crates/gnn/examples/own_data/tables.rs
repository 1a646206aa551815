//! Graphs, features and labels from a user's files.

// Each example uses some of it.
#![allow(dead_code, reason = "each program that includes this uses some of it")]

use candle_core::{DType, Device, Tensor};
use datasets::table::{NumericTable, TableConfig, parse_numeric, parse_text};
use gnn::{Features, Graph};
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn bytes(path: &Path) -> Fallible<Vec<u8>> {
    Ok(std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?)
}

fn numbers(path: &Path) -> Fallible<NumericTable> {
    let bytes = bytes(path)?;
    Ok(parse_numeric(&bytes, &TableConfig::default()).map_err(|error| format!("{}: {error}", path.display()))?)
}

/// Pairs of node numbers, from 0: the first two columns of a table with a header.
pub(crate) fn edges(path: &Path) -> Fallible<Vec<(u32, u32)>> {
    let table = numbers(path)?;
    let shown = path.display();
    if table.columns.len() < 2 {
        return Err(format!("{shown}: a table of edges has two columns, this one has {}", table.columns.len()).into());
    }
    let mut edges = Vec::with_capacity(table.num_rows);
    for row in 0..table.num_rows {
        let cells = table.row(row).unwrap_or_default();
        let node = |at: usize| -> Fallible<u32> {
            let value = cells[at];
            if value >= 0.0 && value.fract() == 0.0 && value < f64::from(u32::MAX - 1) {
                return Ok(value as u32);
            }
            Err(format!("{shown}, line {}: {value} is no number of a node (0, 1, 2, …)", row + 2).into())
        };
        edges.push((node(0)?, node(1)?));
    }
    Ok(edges)
}

/// The graph of a table of edges; `at_least` nodes, more if an edge names them.
pub(crate) fn graph(path: &Path, at_least: usize) -> Fallible<Graph> {
    let edges = edges(path)?;
    let named = edges.iter().map(|&(u, v)| u.max(v) as usize + 1).max().unwrap_or(0);
    if at_least > 0 && named > at_least {
        let shown = path.display();
        return Err(format!("{shown}: names node {}, but there are features of {at_least} nodes", named - 1).into());
    }
    Ok(Graph::from_edges(named.max(at_least), &edges)?)
}

/// Features of nodes: a table of numbers with a header, a row for each node; or SciPy's compressed rows (`scipy.sparse.save_npz`).
pub(crate) fn features(path: &Path) -> Fallible<Features> {
    let shown = path.display();
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz")) {
        let archive = datasets::npz::Archive::read(path).map_err(|error| format!("{shown}: {error}"))?;
        let array = |name: &str| archive.array(name).map_err(|error| format!("{shown}: {error}"));
        let integers = |name: &str| -> Fallible<Vec<usize>> {
            let values = array(name)?.values.to_i64().ok_or_else(|| format!("{shown}: `{name}` holds no integers"))?;
            let counts = values.into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>();
            Ok(counts.map_err(|_| format!("{shown}: `{name}` holds a negative number"))?)
        };
        let (offsets, columns, shape) = (integers("indptr")?, integers("indices")?, integers("shape")?);
        let &[rows, width] = shape.as_slice() else {
            return Err(format!("{shown}: `shape` is not two numbers").into());
        };
        if offsets.len() != rows + 1 {
            return Err(
                format!("{shown}: {} offsets for {rows} rows; only the form `csr` is read", offsets.len()).into()
            );
        }
        let columns: Vec<u32> = columns.into_iter().map(|column| u32::try_from(column).unwrap_or(u32::MAX)).collect();
        let values = array("data")?.values.to_f32();
        let read = Features::from_csr(width, &offsets, &columns, &values, DType::F32, &Device::Cpu);
        return Ok(read.map_err(|error| format!("{shown}: {error}"))?);
    }
    let table = numbers(path)?;
    let values: Vec<f32> = table.values.iter().map(|&value| value as f32).collect();
    let x = Tensor::from_vec(values, (table.num_rows, table.columns.len()), &Device::Cpu)?;
    Ok(Features::dense(x).map_err(|error| format!("{shown}: {error}"))?)
}

/// Classes of nodes by number, and their names.
pub(crate) struct Labels {
    /// The class of each node; none for nodes without a label.
    pub(crate) of_nodes: Vec<Option<u32>>,
    /// What the classes are called, in the order of their numbers.
    pub(crate) names: Vec<String>,
}

/// Labels from a table with the columns `node` and `label` (any text); nodes that are not listed, or listed with an empty label, have none.
pub(crate) fn labels(path: &Path, nodes: usize) -> Fallible<Labels> {
    let shown = path.display();
    let table = parse_text(&bytes(path)?, &TableConfig::default()).map_err(|error| format!("{shown}: {error}"))?;
    let column = |name: &str| -> Fallible<Vec<String>> {
        let known = table.columns.join(", ");
        let cells = table.column(name).ok_or_else(|| format!("{shown}: no column `{name}`, there are: {known}"))?;
        Ok(cells.map(|cell| cell.trim().to_owned()).collect())
    };
    let (of_rows, labels) = (column("node")?, column("label")?);
    let names: std::collections::BTreeSet<&String> = labels.iter().filter(|label| !label.is_empty()).collect();
    let mut names: Vec<String> = names.into_iter().cloned().collect();
    if names.iter().all(|name| name.parse::<f64>().is_ok()) {
        names.sort_by(|a, b| a.parse::<f64>().unwrap_or(0.0).total_cmp(&b.parse::<f64>().unwrap_or(0.0)));
    }
    let numbers: BTreeMap<&String, u32> = names.iter().zip(0..).collect();
    let mut of_nodes = vec![None; nodes];
    for (row, (node, label)) in of_rows.iter().zip(&labels).enumerate() {
        let at: Option<usize> = node.parse().ok().filter(|&node: &usize| node < nodes);
        let Some(at) = at else {
            return Err(format!("{shown}, line {}: `{node}` is no node; there are 0 to {}", row + 2, nodes - 1).into());
        };
        if label.is_empty() {
            continue;
        }
        if of_nodes[at].is_some_and(|known| known != numbers[label]) {
            return Err(format!("{shown}, line {}: node {at} has two labels", row + 2).into());
        }
        of_nodes[at] = Some(numbers[label]);
    }
    Ok(Labels { of_nodes, names })
}

/// Node numbers of the first column of a table with a header.
pub(crate) fn nodes(path: &Path, count: usize) -> Fallible<Vec<u32>> {
    let table = numbers(path)?;
    let shown = path.display();
    let rows = (0..table.num_rows).map(|row| table.row(row).and_then(|cells| cells.first()).copied());
    rows.enumerate()
        .map(|(row, value)| match value {
            Some(value) if value >= 0.0 && value.fract() == 0.0 && value < count as f64 => Ok(value as u32),
            other => Err(format!("{shown}, line {}: {other:?} is no node; there are {count}", row + 2).into()),
        })
        .collect()
}
