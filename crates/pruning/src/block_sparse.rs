//! Layers whose weights are dense blocks.

use crate::regroup::Block;
use crate::{Error, Mask, Result};
use candle_core::Tensor;
use candle_nn::{Module, VarBuilder};
use core_tensor::init;
use core_tensor::ops::{self, Conv2dConfig};
use core_tensor::sparse::RowBlocks;

/// `y = x Wᵀ + b` where W is zero but for dense blocks of rows and columns, such as [`Regroup`](crate::Regroup) makes: it does the work of the blocks alone, without gathered copies. Gradients go to `x`, the
/// values and the bias; what is not in a block does not exist.
#[derive(Debug, Clone)]
pub struct BlockSparseLinear {
    blocks: RowBlocks,
    values: Tensor,
    bias: Option<Tensor>,
}

fn pattern(operation: &'static str, rows: usize, columns: usize, blocks: &[Block]) -> Result<RowBlocks> {
    let narrow = |indices: &[usize]| -> Result<Vec<u32>> {
        let of = |&index: &usize| {
            u32::try_from(index).map_err(|_| Error::invalid(operation, format!("{index} is no row or column")))
        };
        indices.iter().map(of).collect()
    };
    let blocks = blocks.iter().map(|block| Ok((narrow(&block.rows)?, narrow(&block.columns)?)));
    Ok(RowBlocks::new(rows, columns, &blocks.collect::<Result<Vec<_>>>()?)?)
}

/// A layer with the parameters `values` `[entries of all blocks]` and `bias`, both uniform in `±1/√in` of the whole layer.
///
/// # Errors
/// Blocks that do not fit the layer or share rows, no inputs, or parameters that exist with other shapes.
pub fn block_sparse_linear(
    inputs: usize,
    outputs: usize,
    blocks: &[Block],
    vb: VarBuilder<'_>,
) -> Result<BlockSparseLinear> {
    if inputs == 0 {
        return Err(Error::invalid("block_sparse_linear", "no inputs"));
    }
    let blocks = pattern("block_sparse_linear", outputs, inputs, blocks)?;
    let values = vb.get_with_hints(blocks.num_values(), "values", init::fan_in_uniform(inputs))?;
    let bias = vb.get_with_hints(outputs, "bias", init::fan_in_uniform(inputs))?;
    Ok(BlockSparseLinear { blocks, values, bias: Some(bias) })
}

impl BlockSparseLinear {
    /// A layer from a dense one: `weight` `[out, in]` outside of the blocks is left out.
    ///
    /// # Errors
    /// Blocks that do not fit the weight or share rows, or a bias of another length.
    pub fn from_dense(weight: &Tensor, bias: Option<&Tensor>, blocks: &[Block]) -> Result<Self> {
        const OPERATION: &str = "BlockSparseLinear::from_dense";
        let &[outputs, inputs] = weight.dims() else {
            let (got, expected) = (weight.dims().to_vec(), vec![0, 0]);
            return Err(Error::Shape { operation: OPERATION, what: "the weight [out, in]".into(), got, expected });
        };
        if let Some(bias) = bias
            && bias.dims() != [outputs]
        {
            let (got, expected) = (bias.dims().to_vec(), vec![outputs]);
            return Err(Error::Shape { operation: OPERATION, what: "the bias".into(), got, expected });
        }
        let blocks = pattern(OPERATION, outputs, inputs, blocks)?;
        Ok(Self { values: blocks.values_of(weight)?, bias: bias.cloned(), blocks })
    }

    /// The values of the blocks, block by block, in each row by row.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// The whole weight, `[out, in]`.
    ///
    /// # Errors
    /// Those of the tensor layer.
    pub fn to_dense(&self) -> Result<Tensor> {
        Ok(self.blocks.to_dense(&self.values)?)
    }

    /// Multiplications of a sample over those of the dense layer.
    pub fn density(&self) -> f64 {
        let entries = self.blocks.num_rows() * self.blocks.num_columns();
        if entries == 0 { 1.0 } else { self.blocks.num_values() as f64 / entries as f64 }
    }

    /// The mask that a dense layer would need to compute the same.
    ///
    /// # Errors
    /// Those of the tensor layer.
    pub fn mask(&self) -> Result<Mask> {
        let ones = self.values.detach().ones_like()?;
        Mask::from_tensor(&self.blocks.to_dense(&ones)?)
    }
}

impl Module for BlockSparseLinear {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let y = self.blocks.linear(x, &self.values)?;
        match &self.bias {
            Some(bias) => Ok(ops::bias_add(&y, bias)?),
            None => Ok(y),
        }
    }
}

/// A convolution whose weight, as a matrix `[out, in · height · width]`, is zero but for dense blocks: it does the work of the blocks alone and unfolds nothing. Gradients go to the input, the values and the
/// bias; a backward pass costs what a dense one costs.
#[derive(Debug, Clone)]
pub struct BlockSparseConv2d {
    blocks: RowBlocks,
    kernel: (usize, usize),
    config: Conv2dConfig,
    values: Tensor,
    bias: Option<Tensor>,
}

/// A convolution with the parameters `values` `[entries of all blocks]` and `bias`, both uniform in `±1/√(in · height · width)`.
///
/// # Errors
/// Blocks that do not fit the layer or share rows, no input channels, an empty kernel, more than one group, or parameters that exist with other shapes.
pub fn block_sparse_conv2d(
    inputs: usize,
    outputs: usize,
    kernel: (usize, usize),
    blocks: &[Block],
    config: Conv2dConfig,
    vb: VarBuilder<'_>,
) -> Result<BlockSparseConv2d> {
    const OPERATION: &str = "block_sparse_conv2d";
    one_group(OPERATION, &config)?;
    if inputs == 0 || kernel.0 == 0 || kernel.1 == 0 {
        let what = format!("{inputs} input channels and a kernel of {} x {}, but none may be 0", kernel.0, kernel.1);
        return Err(Error::invalid(OPERATION, what));
    }
    let fan_in = inputs.saturating_mul(kernel.0).saturating_mul(kernel.1);
    let blocks = pattern(OPERATION, outputs, fan_in, blocks)?;
    let values = vb.get_with_hints(blocks.num_values(), "values", init::fan_in_uniform(fan_in))?;
    let bias = vb.get_with_hints(outputs, "bias", init::fan_in_uniform(fan_in))?;
    Ok(BlockSparseConv2d { blocks, kernel, config, values, bias: Some(bias) })
}

fn one_group(operation: &'static str, config: &Conv2dConfig) -> Result<()> {
    match config.groups {
        1 => Ok(()),
        groups => Err(Error::invalid(operation, format!("{groups} groups, but blocks are those of one group"))),
    }
}

impl BlockSparseConv2d {
    /// A layer from a dense one: `weight` `[out, in, height, width]` outside of the blocks is left out. A column of a block is `(in · height + y) · width + x`.
    ///
    /// # Errors
    /// Blocks that do not fit the weight or share rows, more than one group, or a bias of another length.
    pub fn from_dense(weight: &Tensor, bias: Option<&Tensor>, blocks: &[Block], config: Conv2dConfig) -> Result<Self> {
        const OPERATION: &str = "BlockSparseConv2d::from_dense";
        one_group(OPERATION, &config)?;
        let &[outputs, inputs, height, width] = weight.dims() else {
            let (got, expected) = (weight.dims().to_vec(), vec![0, 0, 0, 0]);
            let what = "the weight [out, in, height, width]".into();
            return Err(Error::Shape { operation: OPERATION, what, got, expected });
        };
        if let Some(bias) = bias
            && bias.dims() != [outputs]
        {
            let (got, expected) = (bias.dims().to_vec(), vec![outputs]);
            return Err(Error::Shape { operation: OPERATION, what: "the bias".into(), got, expected });
        }
        let blocks = pattern(OPERATION, outputs, inputs * height * width, blocks)?;
        let values = blocks.values_of(&weight.flatten_from(1)?)?;
        Ok(Self { blocks, kernel: (height, width), config, values, bias: bias.cloned() })
    }

    /// The values of the blocks, block by block, in each row by row.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// The whole weight, `[out, in, height, width]`.
    ///
    /// # Errors
    /// Those of the tensor layer.
    pub fn to_dense(&self) -> Result<Tensor> {
        let (height, width) = self.kernel;
        let inputs = self.blocks.num_columns() / (height * width).max(1);
        Ok(self.blocks.to_dense(&self.values)?.reshape((self.blocks.num_rows(), inputs, height, width))?)
    }

    /// Multiplications over those of the dense layer.
    pub fn density(&self) -> f64 {
        let entries = self.blocks.num_rows() * self.blocks.num_columns();
        if entries == 0 { 1.0 } else { self.blocks.num_values() as f64 / entries as f64 }
    }
}

impl Module for BlockSparseConv2d {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(self.blocks.conv2d(x, &self.values, self.bias.as_ref(), self.kernel, &self.config)?)
    }
}
