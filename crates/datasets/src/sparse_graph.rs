//! The `.npz` graphs of the GNN benchmark of Shchur et al. (2018): Cora, Citeseer, Amazon Computers and Photo, Coauthor CS
//! and Physics.

use crate::archive;
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
    let labels = integers(&archive, "labels")?;
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
    let label = |(node, &label): (usize, &i64)| match label {
        // As for Planetoid: a damaged label must not ask for billions of classes.
        0..=0xffff => Ok(label as u32),
        _ => Err(Error::invalid_data(FORMAT, format!("labels, node {node}"), format!("{label}, expected 0 to 65535"))),
    };
    let labels: Vec<u32> = labels.iter().enumerate().map(label).collect::<Result<_>>()?;
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
    let natural = |name: String| -> Result<Vec<usize>> {
        let convert = |value: i64| {
            usize::try_from(value)
                .map_err(|_| Error::invalid_data(FORMAT, name.as_str(), format!("{value} is negative")))
        };
        integers(archive, &name)?.into_iter().map(convert).collect()
    };
    let shape = natural(array("shape"))?;
    let &[rows, num_columns] = shape.as_slice() else {
        return Err(Error::invalid_data(FORMAT, array("shape"), format!("{} axes, expected 2", shape.len())));
    };
    let indptr = natural(array("indptr"))?;
    if rows != num_rows || Some(indptr.len()) != num_rows.checked_add(1) {
        let reason = format!("{rows} rows and {} row starts for {num_rows} nodes", indptr.len());
        return Err(Error::invalid_data(FORMAT, array("shape"), reason));
    }
    let narrow = |column: usize| {
        u32::try_from(column).map_err(|_| Error::invalid_data(FORMAT, array("indices"), format!("column {column}")))
    };
    let indices = natural(array("indices"))?.into_iter().map(narrow).collect::<Result<_>>()?;
    let values = archive.array(&array("data"))?.values.to_f32();
    SparseFeatures { num_columns, indptr, indices, values }.check(FORMAT)
}

fn integers(archive: &Archive, name: &str) -> Result<Vec<i64>> {
    let array = archive.array(name)?;
    match (array.shape.len(), array.values.to_i64()) {
        (1, Some(values)) => Ok(values),
        _ => {
            let reason =
                format!("{} of shape {:?}, expected a list of integers", array.values.type_name(), array.shape);
            Err(Error::invalid_data(FORMAT, name, reason))
        }
    }
}
