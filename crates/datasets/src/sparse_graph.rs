//! The `.npz` graphs of the GNN benchmark of Shchur et al. (2018): Cora, Citeseer, Amazon Computers and Photo, Coauthor CS
//! and Physics.

use crate::archive;
use crate::array::shown;
use crate::error::{Error, Result};
use crate::npz::Archive;
use crate::planetoid::SparseFeatures;
use crate::store::Store;

const FORMAT: &str = "SparseGraph";

/// A graph whose nodes have features and classes, without a split.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributedGraph {
    /// Number of nodes.
    pub num_nodes: usize,
    /// Undirected edges `(u, v)`, `u < v`, each once, ascending. The stored graph is directed: both directions are joined,
    /// self-loops and weights dropped.
    pub edges: Vec<(u32, u32)>,
    /// Directed edges as stored, self-loops included.
    pub num_stored_edges: usize,
    /// Class of each node.
    pub labels: Vec<u32>,
    /// Number of classes.
    pub num_classes: usize,
    /// Features `[num_nodes, columns]`.
    pub features: SparseFeatures,
}

/// The graphs of the set `gnn-benchmark-npz`; all others are in `gnn-benchmark-npz-large`.
const SMALL: [&str; 2] = ["cora", "citeseer"];

/// Loads a graph by its file name without the ending: `cora`, `citeseer` (from the set `gnn-benchmark-npz`),
/// `amazon_electronics_computers`, `amazon_electronics_photo`, `ms_academic_cs`, `ms_academic_phy` (from
/// `gnn-benchmark-npz-large`).
///
/// # Errors
/// What [`Store::file`] and [`parse`] report.
pub fn load(store: &Store, name: &str) -> Result<AttributedGraph> {
    let set = if SMALL.contains(&name) { "gnn-benchmark-npz" } else { "gnn-benchmark-npz-large" };
    parse(&archive::read(&store.file(set, &format!("{name}.npz"))?)?)
}

/// Reads the bytes of such a file: CSR matrices `adj_*` `[n, n]` and `attr_*` `[n, columns]`, and `labels` `[n]`.
///
/// # Errors
/// [`Error::InvalidData`]: not `.npz`, an array absent or of another type or length, an index out of range, a negative label, a
/// feature that is not finite. Errors of the archive as [`Archive::parse`].
pub fn parse(bytes: &[u8]) -> Result<AttributedGraph> {
    let archive = Archive::parse(bytes)?;
    // As for Planetoid: a damaged label must not ask for billions of classes.
    let labels: Vec<u32> =
        integers(&archive, "labels", "0 to 65535", |label| u16::try_from(label).ok().map(u32::from))?;
    let num_nodes = labels.len();
    let adjacency = matrix(&archive, "adj", num_nodes)?;
    if adjacency.num_columns != num_nodes {
        return Err(Error::invalid_data(
            FORMAT,
            "adj_shape",
            format!("{} columns for {num_nodes} nodes", adjacency.num_columns),
        ));
    }
    let features = matrix(&archive, "attr", num_nodes)?;
    let mut edges = Vec::new();
    for node in 0..num_nodes {
        let neighbours = adjacency.row(node).filter(|&(neighbour, weight)| neighbour as usize != node && weight != 0.0);
        edges.extend(neighbours.map(|(neighbour, _)| (neighbour.min(node as u32), neighbour.max(node as u32))));
    }
    edges.sort_unstable();
    edges.dedup();
    Ok(AttributedGraph {
        num_nodes,
        edges,
        num_stored_edges: adjacency.indices.len(),
        num_classes: labels.iter().max().map_or(0, |&label| label as usize + 1),
        labels,
        features,
    })
}

/// The CSR matrix of the four arrays with this prefix.
fn matrix(archive: &Archive, prefix: &str, num_rows: usize) -> Result<SparseFeatures> {
    let array = |part: &str| format!("{prefix}_{part}");
    let natural = |part: &str| integers(archive, &array(part), "0 or more", |value| usize::try_from(value).ok());
    let shape = natural("shape")?;
    let &[rows, num_columns] = shape.as_slice() else {
        return Err(Error::invalid_data(FORMAT, array("shape"), format!("{} axes, expected 2", shape.len())));
    };
    let indptr = natural("indptr")?;
    if rows != num_rows || Some(indptr.len()) != num_rows.checked_add(1) {
        let reason = format!("{rows} rows and {} row starts for {num_rows} nodes", indptr.len());
        return Err(Error::invalid_data(FORMAT, array("shape"), reason));
    }
    let indices = integers(archive, &array("indices"), "0 to 4294967295", |column| u32::try_from(column).ok())?;
    let values = archive.array(&array("data"))?.values.to_f32();
    SparseFeatures { num_columns, indptr, indices, values }.check(FORMAT)
}

/// A list of integers, each converted; `None` of the conversion is an error that says what is expected.
fn integers<T>(archive: &Archive, name: &str, expected: &str, convert: impl Fn(i128) -> Option<T>) -> Result<Vec<T>> {
    let array = archive.array(name)?;
    let converted = array.values.convert_integers(|position, value| {
        let at = || format!("{name}, entry {position}");
        convert(value).ok_or_else(|| Error::invalid_data(FORMAT, at(), format!("{value}, expected {expected}")))
    });
    match (array.shape.len(), converted) {
        (1, Some(values)) => values,
        _ => {
            let reason =
                format!("{} of shape {}, expected a list of integers", array.values.type_name(), shown(&array.shape));
            Err(Error::invalid_data(FORMAT, name, reason))
        }
    }
}
