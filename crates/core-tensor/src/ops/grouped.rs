//! Feed-forward networks of several experts over groups of rows: the work of a mixture of experts.

use crate::cpu::grouped::{ExpertActivation, GroupedFeedForward, Groups, Sizes};
use crate::kernel::apply;
use crate::{Error, Result};
use candle_core::Tensor;
use std::sync::{Arc, OnceLock};

/// The rows of a matrix that each group takes, in the order in which they are computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowGroups {
    shared: Arc<Groups>,
}

impl RowGroups {
    /// Group `g` takes the rows `rows[offsets[g]..offsets[g + 1]]` of a matrix of `num_rows` rows. A row may be in several groups, or none.
    ///
    /// # Errors
    ///
    /// When `offsets` decreases somewhere or does not run from 0 to the length of `rows`, or a row is not below `num_rows`.
    pub fn new(offsets: Vec<u32>, rows: Vec<u32>, num_rows: usize) -> Result<Self> {
        const OP: &str = "row_groups";
        let rises = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        let ends = offsets.first() == Some(&0) && offsets.last().is_some_and(|&end| end as usize == rows.len());
        if !rises || !ends {
            return Err(Error::Value {
                operation: OP,
                what: "the last offset",
                got: offsets.last().map_or(f64::NAN, |&end| f64::from(end)),
                expected: "offsets that never decrease, from 0 to the number of rows taken",
            });
        }
        if let Some(position) = rows.iter().position(|&row| row as usize >= num_rows) {
            let index = u64::from(rows[position]);
            return Err(Error::OutOfRange { operation: OP, what: "rows", position, index, bound: num_rows });
        }
        Ok(Self { shared: Arc::new(Groups::new(offsets, rows, num_rows)) })
    }

    /// How many groups there are, empty ones included.
    pub fn num_groups(&self) -> usize {
        self.shared.offsets.len() - 1
    }

    /// How many rows all groups take together.
    pub fn num_places(&self) -> usize {
        self.shared.rows.len()
    }

    /// How many rows the matrix has.
    pub fn num_rows(&self) -> usize {
        self.shared.num_rows
    }

    /// Where each group begins, and the end.
    pub fn offsets(&self) -> &[u32] {
        &self.shared.offsets
    }

    /// The rows taken, group by group.
    pub fn rows(&self) -> &[u32] {
        &self.shared.rows
    }
}

/// Group by group, `y = act(x w1ᵀ) w2ᵀ` with the group's own matrices: `x` is `[rows, d]`, `w1` `[groups, h, d]` (`[groups, 2 h, d]` for SwiGLU),
/// `w2` `[groups, e, h]`; the rows of the result `[places, e]` are in the order of [`RowGroups::rows`].
///
/// No group is padded: each is a few dense products over its own rows, and the cost does not depend on the number of groups until reading their weights
/// dominates. Values between the matrices are kept for the gradient.
///
/// # Errors
///
/// When the shapes do not fit each other or the groups, or dtypes differ.
pub fn grouped_feed_forward(
    x: &Tensor,
    w1: &Tensor,
    w2: &Tensor,
    groups: &RowGroups,
    activation: ExpertActivation,
) -> Result<Tensor> {
    const OP: &str = "grouped_feed_forward";
    let &[rows, input] = x.dims() else { return Err(Error::shape(OP, "x", x.shape(), "[rows, d]")) };
    let &[count, output, hidden] = w2.dims() else {
        return Err(Error::shape(OP, "w2", w2.shape(), "[groups, output, hidden]"));
    };
    let width = activation.width(hidden);
    if count != groups.num_groups() {
        return Err(Error::shape(OP, "w2", w2.shape(), format!("[groups = {}, …]", groups.num_groups())));
    }
    if w1.dims() != [count, width, input] {
        return Err(Error::shape(OP, "w1", w1.shape(), format!("[{count}, {width}, {input}]")));
    }
    if rows != groups.num_rows() {
        return Err(Error::shape(OP, "x", x.shape(), format!("[{}, d] as in the groups", groups.num_rows())));
    }
    for (what, tensor) in [("w1", w1), ("w2", w2)] {
        if tensor.dtype() != x.dtype() {
            return Err(Error::DType { operation: OP, what, got: tensor.dtype(), expected: "the dtype of x" });
        }
    }
    let sizes = Sizes { input, width, hidden, output };
    if x.device().is_cpu() && input > 0 && hidden > 0 && output > 0 {
        let op = GroupedFeedForward { groups: Arc::clone(&groups.shared), sizes, activation, kept: OnceLock::new() };
        return apply(op, &[x, w1, w2], (groups.num_places(), output));
    }
    let device = x.device();
    let mut parts = Vec::new();
    for (group, pair) in groups.offsets().windows(2).enumerate() {
        let taken = &groups.rows()[pair[0] as usize..pair[1] as usize];
        if taken.is_empty() {
            continue;
        }
        let x = x.index_select(&Tensor::new(taken, device)?, 0)?;
        let a = super::linear(&x, &w1.get(group)?, None)?;
        let a = match activation {
            ExpertActivation::Relu => super::relu(&a)?,
            ExpertActivation::Gelu => super::gelu(&a)?,
            ExpertActivation::Silu => super::silu(&a)?,
            ExpertActivation::SwiGlu => super::swiglu(&a.narrow(1, 0, hidden)?, &a.narrow(1, hidden, hidden)?)?,
        };
        parts.push(super::linear(&a, &w2.get(group)?, None)?);
    }
    if parts.is_empty() { Ok(Tensor::zeros((0, output), x.dtype(), device)?) } else { Ok(Tensor::cat(&parts, 0)?) }
}
