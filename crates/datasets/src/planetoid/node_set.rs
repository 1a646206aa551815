//! A graph for node classification with its split, and its features in compressed rows.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The format's name in errors.
pub(super) const FORMAT: &str = "Planetoid";

/// A graph for node classification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeSet {
    /// Number of nodes.
    pub num_nodes: usize,
    /// Undirected edges `(u, v)`, `u < v`, each once, ascending.
    pub edges: Vec<(u32, u32)>,
    /// Class of each node; `None` for the few that have none.
    pub labels: Vec<Option<u32>>,
    /// Number of classes.
    pub num_classes: usize,
    /// Training nodes (20 per class), ascending.
    pub train: Vec<u32>,
    /// Validation nodes (500), ascending.
    pub validation: Vec<u32>,
    /// Test nodes (1000), ascending.
    pub test: Vec<u32>,
    /// Features as stored, not normalised; `None` where the source has none.
    pub features: Option<SparseFeatures>,
}

/// A matrix `[num_rows, num_columns]` in compressed sparse row form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SparseFeatures {
    /// Number of columns.
    pub num_columns: usize,
    /// Row `r` has the entries `indptr[r]..indptr[r + 1]`. Length: number of rows plus one.
    pub indptr: Vec<usize>,
    /// Columns of the entries, ascending within a row.
    pub indices: Vec<u32>,
    /// Values of the entries.
    pub values: Vec<f32>,
}

impl SparseFeatures {
    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.indptr.len().saturating_sub(1)
    }

    /// Columns and values of one row; empty for a row that does not exist.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (u32, f32)> + '_ {
        let range = match (self.indptr.get(row), self.indptr.get(row + 1)) {
            (Some(&start), Some(&end)) => start..end,
            _ => 0..0,
        };
        let (indices, values) = (self.indices.get(range.clone()), self.values.get(range));
        indices.into_iter().flatten().copied().zip(values.into_iter().flatten().copied())
    }

    /// The matrix with all its zeros, row by row: `num_rows · num_columns` values.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when they would take more than 4 GiB, or more memory than there is: the number of columns is what a
    /// file claims. [`SparseFeatures::to_dense_within`] takes another limit.
    pub fn to_dense(&self) -> Result<Vec<f32>> {
        self.to_dense_within(4 << 30)
    }

    /// As [`SparseFeatures::to_dense`], with a limit in bytes of your own.
    ///
    /// # Errors
    /// As [`SparseFeatures::to_dense`].
    pub fn to_dense_within(&self, max_bytes: u64) -> Result<Vec<f32>> {
        let too_large = || {
            let needed = format!("{} × {} numbers of 4 bytes", self.num_rows(), self.num_columns);
            Error::TooLarge { what: "a dense matrix", needed, limit: max_bytes }
        };
        let count = self.num_rows().checked_mul(self.num_columns).ok_or_else(too_large)?;
        if (count as u64).checked_mul(4).is_none_or(|bytes| bytes > max_bytes) {
            return Err(too_large());
        }
        let mut dense = Vec::new();
        dense.try_reserve_exact(count).map_err(|_| too_large())?;
        dense.resize(count, 0.0);
        for (row, chunk) in dense.chunks_exact_mut(self.num_columns.max(1)).enumerate() {
            for (column, value) in self.row(row) {
                if let Some(entry) = chunk.get_mut(column as usize) {
                    *entry = value;
                }
            }
        }
        Ok(dense)
    }

    /// Checks the form, sorts the columns of each row, and refuses values that are not finite.
    pub(crate) fn check(mut self, format: &'static str) -> Result<Self> {
        let invalid = |at: String, reason: String| Err(Error::invalid_data(format, at, reason));
        if self.indices.len() != self.values.len() {
            return invalid("features".into(), format!("{} columns, {} values", self.indices.len(), self.values.len()));
        }
        let is_ascending = self.indptr.windows(2).all(|pair| pair[0] <= pair[1]);
        if self.indptr.first() != Some(&0) || self.indptr.last() != Some(&self.indices.len()) || !is_ascending {
            return invalid("features".into(), format!("row starts do not ascend from 0 to {}", self.indices.len()));
        }
        for row in 0..self.num_rows() {
            let range = self.indptr[row]..self.indptr[row + 1];
            let (indices, values) = (&mut self.indices[range.clone()], &mut self.values[range]);
            if !indices.is_sorted() {
                let mut entries: Vec<(u32, f32)> = indices.iter().copied().zip(values.iter().copied()).collect();
                entries.sort_by_key(|(column, _)| *column);
                for (position, (column, value)) in entries.into_iter().enumerate() {
                    (indices[position], values[position]) = (column, value);
                }
            }
            if let Some(&column) = indices.last().filter(|&&column| column as usize >= self.num_columns) {
                return invalid(format!("features, row {row}"), format!("column {column} of {}", self.num_columns));
            }
            if let Some(pair) = indices.windows(2).find(|pair| pair[0] == pair[1]) {
                return invalid(format!("features, row {row}"), format!("duplicate column {}", pair[0]));
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return invalid(format!("features, row {row}"), format!("{value} is not finite"));
            }
        }
        Ok(self)
    }
}
