//! The conversion to safetensors.

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::node_set::{FORMAT, NodeSet, SparseFeatures};
use crate::error::{Error, Result};

/// Reads the converted form: `edges` i64 `[m, 2]`, `labels` i64 `[n]` (-1: none), `train_idx`, `val_idx`, `test_idx` i64,
/// and, where there are features, `feat_indptr`, `feat_indices` i64 and `feat_values` f32. The number of columns is one
/// more than the largest column that occurs.
///
/// # Errors
/// [`Error::InvalidData`]: not safetensors, a tensor absent or of another type or shape, an index out of range, a value that is
/// not finite.
pub fn parse_converted(bytes: &[u8]) -> Result<NodeSet> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| Error::refused("safetensors", "header", &error))?;
    let labels: Vec<i64> = integers(&tensors, "labels")?;
    let num_nodes = labels.len();
    let flat_edges = node_indices(&tensors, "edges", num_nodes)?;
    if !flat_edges.len().is_multiple_of(2) {
        return Err(Error::invalid_data(FORMAT, "edges", "an odd number of ends"));
    }
    let mut edges: Vec<(u32, u32)> =
        flat_edges.chunks_exact(2).map(|ends| (ends[0].min(ends[1]), ends[0].max(ends[1]))).collect();
    edges.retain(|(u, v)| u != v);
    edges.sort_unstable();
    edges.dedup();
    let label = |(node, &label): (usize, &i64)| match label {
        -1 => Ok(None),
        // Classes are few: a bound keeps a damaged file from asking for a model of billions of classes.
        0..=0xffff => Ok(Some(label as u32)),
        _ => Err(Error::invalid_data(FORMAT, format!("labels, node {node}"), format!("{label}, expected -1 to 65535"))),
    };
    let labels = labels.iter().enumerate().map(label).collect::<Result<Vec<_>>>()?;
    let num_classes = labels.iter().flatten().max().map_or(0, |&label| label as usize + 1);
    let features = match tensors.tensor("feat_indptr") {
        Ok(_) => Some(features(&tensors, num_nodes)?),
        Err(_) => None,
    };
    Ok(NodeSet {
        num_nodes,
        edges,
        labels,
        num_classes,
        train: node_indices(&tensors, "train_idx", num_nodes)?,
        validation: node_indices(&tensors, "val_idx", num_nodes)?,
        test: node_indices(&tensors, "test_idx", num_nodes)?,
        features,
    })
}

fn features(tensors: &SafeTensors<'_>, num_nodes: usize) -> Result<SparseFeatures> {
    let nonnegative = |name: &'static str| -> Result<Vec<u32>> {
        let narrow = |value: i64| {
            u32::try_from(value)
                .map_err(|_| Error::invalid_data(FORMAT, name, format!("{value}, expected 0 to 4294967295")))
        };
        integers(tensors, name)?.into_iter().map(narrow).collect()
    };
    let indptr: Vec<usize> = nonnegative("feat_indptr")?.into_iter().map(|start| start as usize).collect();
    let indices = nonnegative("feat_indices")?;
    if indptr.len() != num_nodes + 1 {
        let reason = format!("{} row starts, expected {}", indptr.len(), num_nodes + 1);
        return Err(Error::invalid_data(FORMAT, "feat_indptr", reason));
    }
    let view = tensor(tensors, "feat_values", Dtype::F32)?;
    let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let num_columns = indices.iter().max().map_or(0, |&column| column as usize + 1);
    SparseFeatures { num_columns, indptr, indices, values }.check(FORMAT)
}

fn tensor<'data>(tensors: &SafeTensors<'data>, name: &'static str, dtype: Dtype) -> Result<TensorView<'data>> {
    let view = tensors.tensor(name).map_err(|error| Error::refused(FORMAT, name, &error))?;
    if view.dtype() != dtype {
        return Err(Error::invalid_data(FORMAT, name, format!("element type {:?}, expected {dtype:?}", view.dtype())));
    }
    Ok(view)
}

fn integers(tensors: &SafeTensors<'_>, name: &'static str) -> Result<Vec<i64>> {
    let view = tensor(tensors, name, Dtype::I64)?;
    Ok(view.data().as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
}

fn node_indices(tensors: &SafeTensors<'_>, name: &'static str, num_nodes: usize) -> Result<Vec<u32>> {
    let check = |(position, value): (usize, i64)| match u32::try_from(value) {
        Ok(node) if (node as usize) < num_nodes => Ok(node),
        _ => Err(Error::invalid_data(
            FORMAT,
            format!("{name}, entry {position}"),
            format!("node {value} of {num_nodes}"),
        )),
    };
    integers(tensors, name)?.into_iter().enumerate().map(check).collect()
}
