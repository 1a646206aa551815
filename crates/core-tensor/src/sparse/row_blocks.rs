//! Matrices that are zero but for dense blocks.

use crate::cpu::row_blocks::{Block, Blocks, RowBlocksProduct};
use crate::kernel::apply;
use crate::ops::{Conv2dConfig, conv2d_blocks};
use crate::sparse::Index;
use crate::{Error, Result};
use candle_core::Tensor;
use std::sync::Arc;

/// The places of a matrix `[rows, columns]` that is zero but for dense blocks, each of some rows and some columns in any order. Every row is in one block at most. The values are a tensor
/// `[num_values]`: block by block, in each row by row. Clones share everything.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// use core_tensor::sparse::RowBlocks;
/// // [[1, 0, 2], [0, 0, 0], [3, 0, 4]]
/// let blocks = RowBlocks::new(3, 3, &[(vec![0, 2], vec![0, 2])])?;
/// let values = Tensor::new(&[1f32, 2., 3., 4.], &Device::Cpu)?;
/// let x = Tensor::new(&[[1f32, 5., 10.]], &Device::Cpu)?;
/// assert_eq!(blocks.linear(&x, &values)?.to_vec2::<f32>()?, [[21., 0., 43.]]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RowBlocks {
    blocks: Arc<Blocks>,
}

impl RowBlocks {
    /// Blocks from their rows and columns.
    ///
    /// # Errors
    /// A row or column that the matrix does not have, a row in two blocks or twice in one, a column twice in a block, or more values than 32-bit indices can name.
    pub fn new(rows: usize, columns: usize, blocks: &[(Vec<u32>, Vec<u32>)]) -> Result<Self> {
        const OP: &str = "RowBlocks::new";
        let mut is_taken = vec![false; rows];
        let mut own = Vec::with_capacity(blocks.len());
        let mut start = 0usize;
        for (of_rows, of_columns) in blocks {
            let mut is_used = vec![false; columns];
            let lists = [("rows", of_rows, &mut is_taken, rows), ("columns", of_columns, &mut is_used, columns)];
            for (what, indices, seen, bound) in lists {
                for (position, &index) in indices.iter().enumerate() {
                    match seen.get_mut(index as usize) {
                        Some(seen) if !*seen => *seen = true,
                        Some(_) => {
                            let (got, expected) = (f64::from(index), "listed once");
                            return Err(Error::Value { operation: OP, what, got, expected });
                        }
                        None => {
                            let index = u64::from(index);
                            return Err(Error::OutOfRange { operation: OP, what, position, index, bound });
                        }
                    }
                }
            }
            own.push(Block { rows: of_rows.clone(), columns: of_columns.clone(), start });
            start = start.saturating_add(of_rows.len().saturating_mul(of_columns.len()));
        }
        let limit = u32::MAX as usize - 1;
        for (what, got) in
            [("rows", rows), ("columns", columns), ("values", start), ("entries", rows.saturating_mul(columns))]
        {
            if got > limit {
                return Err(Error::TooLarge { operation: OP, what, got, limit });
            }
        }
        Ok(Self { blocks: Arc::new(Blocks { rows, columns, blocks: own, num_values: start }) })
    }

    /// Rows of the matrix.
    pub fn num_rows(&self) -> usize {
        self.blocks.rows
    }

    /// Columns of the matrix.
    pub fn num_columns(&self) -> usize {
        self.blocks.columns
    }

    /// Values of all blocks.
    pub fn num_values(&self) -> usize {
        self.blocks.num_values
    }

    /// Rows and columns of each block.
    pub fn iter(&self) -> impl Iterator<Item = (&[u32], &[u32])> {
        self.blocks.blocks.iter().map(|block| (block.rows.as_slice(), block.columns.as_slice()))
    }

    /// The place of each value in the whole matrix, row by row.
    fn places(&self) -> Vec<u32> {
        let columns = self.blocks.columns as u32;
        let of_block = |block: &Block| {
            let places =
                block.rows.iter().flat_map(|&row| block.columns.iter().map(move |&column| row * columns + column));
            places.collect::<Vec<u32>>()
        };
        self.blocks.blocks.iter().flat_map(of_block).collect()
    }

    /// The values of the blocks from a whole matrix `[rows, columns]`; entries outside of blocks are left out.
    ///
    /// # Errors
    /// A matrix of another shape.
    pub fn values_of(&self, matrix: &Tensor) -> Result<Tensor> {
        if matrix.dims() != [self.num_rows(), self.num_columns()] {
            let expected = format!("[{}, {}]", self.num_rows(), self.num_columns());
            return Err(Error::shape("RowBlocks::values_of", "matrix", matrix.shape(), expected));
        }
        let flat = matrix.contiguous()?.reshape((matrix.elem_count(), 1))?;
        Ok(Index::new(&self.places(), matrix.elem_count())?.gather(&flat)?.flatten_all()?)
    }

    /// The whole matrix, `[rows, columns]`.
    ///
    /// # Errors
    /// Another number of values.
    pub fn to_dense(&self, values: &Tensor) -> Result<Tensor> {
        self.check_values("RowBlocks::to_dense", values)?;
        let places = Tensor::from_vec(self.places(), self.num_values(), values.device())?;
        let entries = self.num_rows() * self.num_columns();
        Ok(crate::ops::scatter_add(values, &places, entries)?.reshape((self.num_rows(), self.num_columns()))?)
    }

    /// `y = x Wᵀ` for `x` of shape `[…, columns]`, the result `[…, rows]`; rows in no block give zeros. Gradients go to `x` and the values. On the CPU one pass of the blocks in registers, without gathered
    /// copies, elsewhere a product with the whole matrix.
    ///
    /// # Errors
    /// An `x` of another width or dtype than the values, or another number of values.
    pub fn linear(&self, x: &Tensor, values: &Tensor) -> Result<Tensor> {
        const OP: &str = "RowBlocks::linear";
        self.check_values(OP, values)?;
        let width = x.dims().last().copied();
        if width != Some(self.num_columns()) {
            return Err(Error::shape(OP, "x", x.shape(), format!("[…, {}]", self.num_columns())));
        }
        if x.dtype() != values.dtype() {
            return Err(Error::DType { operation: OP, what: "x", got: x.dtype(), expected: "the dtype of the values" });
        }
        if !x.device().is_cpu() || self.num_columns() == 0 {
            return crate::ops::linear(x, &self.to_dense(values)?, None);
        }
        let mut shape = x.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = self.num_rows();
        }
        apply(RowBlocksProduct { blocks: self.blocks.clone() }, &[x, values], shape)
    }

    /// [`conv2d`](crate::ops::conv2d) with the weight `[rows, in, kernel height, kernel width]` whose matrix `[rows, in · kernel height · kernel width]` this is, for `x` of shape `[n, in, height, width]`; rows in
    /// no block give `bias` alone. Gradients go to `x`, the values and `bias`; they cost what those of the dense convolution cost.
    ///
    /// On the CPU nothing is unfolded: sixteen images, or for fewer than six sixteen neighbours of a plane, are the lanes of a register, and a column of the matrix is an offset into them. Elsewhere this is a
    /// convolution with the whole weight.
    ///
    /// # Errors
    /// Those of [`conv2d`](crate::ops::conv2d), more than one group, a kernel whose size does not divide the number of columns, or another number of values.
    pub fn conv2d(
        &self,
        x: &Tensor,
        values: &Tensor,
        bias: Option<&Tensor>,
        kernel: (usize, usize),
        config: &Conv2dConfig,
    ) -> Result<Tensor> {
        const OP: &str = "RowBlocks::conv2d";
        self.check_values(OP, values)?;
        let blocks = (&self.blocks, [kernel.0, kernel.1]);
        if let Some(y) = conv2d_blocks(OP, x, values, bias, blocks, config)? {
            return Ok(y);
        }
        let inputs = self.num_columns() / (kernel.0 * kernel.1);
        let weight = self.to_dense(values)?.reshape((self.num_rows(), inputs, kernel.0, kernel.1))?;
        crate::ops::conv2d(x, &weight, bias, config)
    }

    fn check_values(&self, operation: &'static str, values: &Tensor) -> Result<()> {
        if values.dims() == [self.num_values()] {
            return Ok(());
        }
        Err(Error::shape(operation, "values", values.shape(), format!("[{}]", self.num_values())))
    }
}
