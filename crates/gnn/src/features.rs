//! Node features, dense or sparse.

use crate::door::{check_features, check_kind};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use core_tensor::ops;
use core_tensor::sparse::SparsePattern;
use std::sync::Arc;

/// A feature matrix `[n, f]`. Bag-of-words features are mostly zero: keeping them sparse turns the first layer's product into a sum of
/// weight rows (Cora: 49,216 of 3.9 million entries).
#[derive(Debug, Clone)]
pub enum Features {
    /// All entries.
    Dense(Tensor),
    /// The entries that are not zero.
    Sparse {
        /// Rows are nodes, columns features.
        pattern: SparsePattern,
        /// The value of each entry.
        values: Tensor,
    },
    /// Sparse features in which some rows are dense instead: what is left of a view after masking. [`Features::replace_rows`] makes it.
    Replaced {
        /// The features whose other rows count.
        base: Arc<Features>,
        /// The rows that are replaced.
        rows: Arc<[u32]>,
        /// What stands in them, `[rows.len(), f]`.
        values: Tensor,
    },
}

impl Features {
    /// Sparse features from CSR arrays: row `i` has the columns `indices[offsets[i]..offsets[i + 1]]` with the matching `values`.
    ///
    /// # Errors
    /// Offsets that do not rise from 0 to the number of entries, a column out of range, or a value that is not finite.
    pub fn from_csr(
        num_columns: usize,
        offsets: &[usize],
        indices: &[u32],
        values: &[f32],
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        const OPERATION: &str = "Features::from_csr";
        let rises = offsets.first() == Some(&0) && offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        if !rises || offsets.last() != Some(&indices.len()) || values.len() != indices.len() {
            let reason = format!(
                "offsets must rise from 0 to the number of entries; there are {} offsets, {} columns, {} values",
                offsets.len(),
                indices.len(),
                values.len()
            );
            return Err(Error::invalid_data(OPERATION, reason));
        }
        if let Some(position) = values.iter().position(|value| !value.is_finite()) {
            let got = f64::from(values[position]);
            return Err(Error::NotFinite { operation: OPERATION, what: "values", position, got });
        }
        let rows: Vec<u32> = offsets
            .windows(2)
            .enumerate()
            .flat_map(|(row, pair)| std::iter::repeat_n(row as u32, pair[1] - pair[0]))
            .collect();
        let pattern = SparsePattern::from_edges(offsets.len() - 1, num_columns, &rows, indices)?;
        let values = Tensor::from_slice(values, values.len(), device)?.to_dtype(dtype)?;
        Ok(Self::Sparse { pattern, values })
    }

    /// Dense features that are checked to be finite.
    ///
    /// # Errors
    /// A tensor that is not `[n, f]`, or one with NaN or infinity in it.
    pub fn dense(x: Tensor) -> Result<Self> {
        const OPERATION: &str = "Features::dense";
        if x.rank() != 2 {
            let expected = "[nodes, features]".into();
            return Err(Error::Shape { operation: OPERATION, what: "x", got: x.dims().to_vec(), expected });
        }
        check_finite(OPERATION, "x", &x)?;
        Ok(Self::Dense(x))
    }

    /// Number of rows.
    pub fn num_nodes(&self) -> usize {
        match self {
            Self::Dense(x) => x.dims()[0],
            Self::Sparse { pattern, .. } => pattern.num_rows(),
            Self::Replaced { base, .. } => base.num_nodes(),
        }
    }

    /// Number of columns.
    pub fn num_columns(&self) -> usize {
        match self {
            Self::Dense(x) => x.dims()[1],
            Self::Sparse { pattern, .. } => pattern.num_cols(),
            Self::Replaced { values, .. } => values.dims()[1],
        }
    }

    /// The element type of the values.
    pub fn dtype(&self) -> DType {
        self.values().dtype()
    }

    /// Where the values are.
    pub fn device(&self) -> &Device {
        self.values().device()
    }

    fn values(&self) -> &Tensor {
        match self {
            Self::Dense(x) => x,
            Self::Sparse { values, .. } | Self::Replaced { values, .. } => values,
        }
    }

    /// The same features with row `rows[i]` replaced by row `i` of `values` `[rows.len(), f]`. Sparse ones stay sparse in their other rows.
    ///
    /// # Errors
    /// A row that does not exist or is named twice, or values of another width, dtype or device.
    pub fn replace_rows(&self, rows: &[u32], values: &Tensor) -> Result<Self> {
        const OPERATION: &str = "Features::replace_rows";
        if let Self::Dense(x) = self {
            return Ok(Self::Dense(ops::replace_rows(x, rows, values)?));
        }
        check_features(OPERATION, values, (rows.len(), self.num_columns()), self.dtype(), self.device())?;
        let mut is_named = vec![false; self.num_nodes()];
        for (position, &row) in rows.iter().enumerate() {
            match is_named.get_mut(row as usize) {
                Some(named) if !*named => *named = true,
                Some(_) => return Err(Error::invalid_data(OPERATION, format!("row {row} is named twice"))),
                None => {
                    let (index, bound) = (u64::from(row), self.num_nodes());
                    return Err(Error::OutOfRange { operation: OPERATION, what: "rows", position, index, bound });
                }
            }
        }
        Ok(Self::Replaced { base: Arc::new(self.clone()), rows: rows.into(), values: values.clone() })
    }

    /// All entries as one tensor `[n, f]`; entries that are listed twice add up.
    ///
    /// # Errors
    /// More entries than 32-bit indices can name, and those of the tensor layer.
    pub fn to_dense(&self) -> Result<Tensor> {
        match self {
            Self::Dense(x) => Ok(x.clone()),
            Self::Sparse { pattern, values } => {
                let (rows, columns) = (pattern.num_rows(), pattern.num_cols());
                let (got, limit) = (rows.saturating_mul(columns), u32::MAX as usize);
                if got > limit {
                    let (operation, what) = ("Features::to_dense", "number of entries");
                    return Err(Error::TooLarge { operation, what, got, limit });
                }
                let places = std::iter::zip(pattern.rows(), pattern.cols());
                let places: Vec<u32> = places.map(|(&row, &column)| row * columns as u32 + column).collect();
                let places = Tensor::from_vec(places, pattern.num_entries(), values.device())?;
                Ok(ops::scatter_add(values, &places, got)?.reshape((rows, columns))?)
            }
            Self::Replaced { base, rows, values } => Ok(ops::replace_rows(&base.to_dense()?, rows, values)?),
        }
    }

    /// Refuses features that are not `[rows, width]` of the dtype and on the device of `weight`.
    pub(crate) fn check(&self, operation: &'static str, (rows, width): (usize, usize), weight: &Tensor) -> Result<()> {
        match self {
            Self::Dense(x) => check_features(operation, x, (rows, width), weight.dtype(), weight.device()),
            Self::Sparse { pattern, values } => {
                if (pattern.num_rows(), pattern.num_cols()) != (rows, width) {
                    let got = vec![pattern.num_rows(), pattern.num_cols()];
                    let expected = format!("[{rows} nodes, {width} features]");
                    return Err(Error::Shape { operation, what: "features", got, expected });
                }
                check_kind(operation, "the values of the features", values, weight.dtype(), weight.device())
            }
            Self::Replaced { base, values, .. } => {
                base.check(operation, (rows, width), weight)?;
                check_kind(operation, "the values of the features", values, weight.dtype(), weight.device())
            }
        }
    }

    /// `X Wᵀ` for a weight `[out, f]`.
    ///
    /// # Errors
    /// A weight of another width.
    pub(crate) fn project(&self, weight: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(x) => Ok(core_tensor::ops::linear(x, weight, None)?),
            Self::Sparse { pattern, values } => {
                Ok(pattern.matmul_weighted(values, &ops::to_contiguous(&weight.t()?)?)?)
            }
            Self::Replaced { base, rows, values } => {
                let replaced = ops::linear(values, weight, None)?;
                Ok(ops::replace_rows(&base.project(weight)?, rows, &replaced)?)
            }
        }
    }
}

/// Refuses NaN and infinity.
pub(crate) fn check_finite(operation: &'static str, what: &'static str, x: &Tensor) -> Result<()> {
    let values: Vec<f64> = x.detach().flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
    match values.iter().position(|value| !value.is_finite()) {
        Some(position) => Err(Error::NotFinite { operation, what, position, got: values[position] }),
        None => Ok(()),
    }
}
