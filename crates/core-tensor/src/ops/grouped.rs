//! Feed-forward networks of several experts over groups of rows: the work of a mixture of experts.

use super::activation::{Function, Gelu, Relu, Silu};
use crate::kernel::{
    Extent, Gradients, Kernel, Matrix, Parts, Real, apply, for_slices, for_tasks, gemm_strided, multiversion, sum2,
    transpose_into,
};
use crate::{Error, Result};
use candle_core::{CpuStorage, Tensor};
use std::sync::{Arc, OnceLock};

/// Which rows of a matrix each group takes, in the order in which they are computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowGroups {
    shared: Arc<Groups>,
}

#[derive(Debug, PartialEq, Eq)]
struct Groups {
    /// Where each group begins in `rows`, and the end.
    offsets: Vec<u32>,
    /// The row of the input behind each place.
    rows: Vec<u32>,
    num_rows: usize,
    /// Where the places of each input row begin in `places`, and the end.
    place_offsets: Vec<u32>,
    places: Vec<u32>,
    blocks: Vec<Block>,
}

/// A run of places of one group that is computed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    group: usize,
    start: usize,
    len: usize,
}

/// Rows that are computed together at most: their activations stay in the second-level cache.
const BLOCK: usize = 256;

impl RowGroups {
    /// Group `g` takes the rows `rows[offsets[g]..offsets[g + 1]]` of a matrix of `num_rows` rows. A row may be in several groups, or none.
    ///
    /// # Errors
    ///
    /// When `offsets` does not rise from 0 to the length of `rows`, or a row is not below `num_rows`.
    pub fn new(offsets: Vec<u32>, rows: Vec<u32>, num_rows: usize) -> Result<Self> {
        const OP: &str = "row_groups";
        let rises = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        let ends = offsets.first() == Some(&0) && offsets.last().is_some_and(|&end| end as usize == rows.len());
        if !rises || !ends {
            return Err(Error::Value {
                operation: OP,
                what: "the last offset",
                got: offsets.last().map_or(f64::NAN, |&end| f64::from(end)),
                expected: "offsets that rise from 0 to the number of rows taken",
            });
        }
        if let Some(position) = rows.iter().position(|&row| row as usize >= num_rows) {
            let index = u64::from(rows[position]);
            return Err(Error::OutOfRange { operation: OP, what: "rows", position, index, bound: num_rows });
        }
        let mut place_offsets = vec![0u32; num_rows + 1];
        for &row in &rows {
            place_offsets[row as usize + 1] += 1;
        }
        for row in 0..num_rows {
            place_offsets[row + 1] += place_offsets[row];
        }
        let mut next = place_offsets.clone();
        let mut places = vec![0u32; rows.len()];
        for (place, &row) in rows.iter().enumerate() {
            let at = &mut next[row as usize];
            places[*at as usize] = place as u32;
            *at += 1;
        }
        let mut blocks = Vec::new();
        for (group, pair) in offsets.windows(2).enumerate() {
            let (start, len) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
            let size = len.div_ceil(len.div_ceil(BLOCK).max(1)).max(1);
            let cut = (0..len).step_by(size);
            blocks.extend(cut.map(|at| Block { group, start: start + at, len: size.min(len - at) }));
        }
        Ok(Self { shared: Arc::new(Groups { offsets, rows, num_rows, place_offsets, places, blocks }) })
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

/// What stands between the two matrices of an expert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpertActivation {
    /// [`super::relu`].
    Relu,
    /// [`super::gelu`], the exact one.
    #[default]
    Gelu,
    /// [`super::silu`].
    Silu,
    /// `silu(a) · b`, where the first matrix gives `a` in its first half of rows and `b` in the second ([`super::swiglu`]).
    SwiGlu,
}

impl ExpertActivation {
    /// The rows of an expert's first matrix for `hidden` columns of its second.
    pub fn width(self, hidden: usize) -> usize {
        if self == Self::SwiGlu { hidden.saturating_mul(2) } else { hidden }
    }
}

/// Group by group, `y = act(x w1ᵀ) w2ᵀ` with the group's own matrices: `x` is `[rows, d]`, `w1` `[groups, h, d]` (`[groups, 2 h, d]` for SwiGLU),
/// `w2` `[groups, e, h]`; the result `[places, e]` stands in the order of [`RowGroups::rows`].
///
/// No group is padded: each is a few dense products over its own rows, and the cost does not depend on how many groups there are, as long as their
/// weights can be read in the time. Values between the matrices are kept for the gradient.
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

#[derive(Clone, Copy)]
struct Sizes {
    input: usize,
    width: usize,
    hidden: usize,
    output: usize,
}

struct GroupedFeedForward {
    groups: Arc<Groups>,
    sizes: Sizes,
    activation: ExpertActivation,
    /// The values before the activation: for each block of `n` places `[width, n]`.
    kept: OnceLock<CpuStorage>,
}

multiversion! {
    fn values<T, F: Function>(function: F, a: &[T], out: &mut [T]) {
        for (out, &a) in out.iter_mut().zip(a) {
            *out = function.value(a);
        }
    }
}

multiversion! {
    /// The activation's values again, and the gradient of its argument in place of that of its value.
    fn derivatives<T, F: Function>(function: F, a: &[T], values: &mut [T], grad: &mut [T]) {
        for ((&a, value), grad) in a.iter().zip(values).zip(grad) {
            let y = function.value(a);
            *value = y;
            *grad *= function.derivative(a, y);
        }
    }
}

multiversion! {
    fn glu_values<T>(gate: &[T], up: &[T], out: &mut [T]) {
        for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
            *out = Silu.value(gate) * up;
        }
    }
}

multiversion! {
    fn glu_derivatives<T>(gate: &[T], up: &[T], grad: &[T], values: &mut [T], by_gate: &mut [T], by_up: &mut [T]) {
        let sides = gate.iter().zip(up).zip(grad);
        for (((&gate, &up), &grad), ((value, by_gate), by_up)) in sides.zip(values.iter_mut().zip(by_gate).zip(by_up)) {
            let y = Silu.value(gate);
            *value = y * up;
            *by_up = grad * y;
            *by_gate = grad * up * Silu.derivative(gate, y);
        }
    }
}

impl GroupedFeedForward {
    fn activate<T: Real>(&self, a: &[T], out: &mut [T]) {
        match self.activation {
            ExpertActivation::Relu => values(Relu, a, out),
            ExpertActivation::Gelu => values(Gelu, a, out),
            ExpertActivation::Silu => values(Silu, a, out),
            ExpertActivation::SwiGlu => glu_values(&a[..out.len()], &a[out.len()..], out),
        }
    }

    /// From the argument and the gradient of the value: the value, and the gradient of the argument into `out`.
    fn differentiate<T: Real>(&self, a: &[T], grad: &[T], value: &mut [T], out: &mut [T]) {
        match self.activation {
            ExpertActivation::SwiGlu => {
                let (by_gate, by_up) = out.split_at_mut(grad.len());
                return glu_derivatives(&a[..grad.len()], &a[grad.len()..], grad, value, by_gate, by_up);
            }
            _ => out.copy_from_slice(grad),
        }
        match self.activation {
            ExpertActivation::Relu => derivatives(Relu, a, value, out),
            ExpertActivation::Silu => derivatives(Silu, a, value, out),
            _ => derivatives(Gelu, a, value, out),
        }
    }

    fn work(&self) -> usize {
        let Sizes { input, width, hidden, output } = self.sizes;
        let rows = self.groups.rows.len() / self.groups.blocks.len().max(1);
        rows.saturating_mul(input * width + hidden * output)
    }
}

/// The rows of `x` behind some places, side by side.
fn gather<T: Real>(x: &[T], width: usize, rows: &[u32], out: &mut Vec<T>) {
    out.clear();
    out.reserve(rows.len() * width);
    for &row in rows {
        out.extend_from_slice(&x[row as usize * width..(row as usize + 1) * width]);
    }
}

fn transposed<T: Real>(x: &[T], rows: usize, columns: usize, out: &mut [T]) {
    transpose_into(x, Extent { rows, columns, stride: columns, out_stride: rows }, out);
}

impl Kernel for GroupedFeedForward {
    const NAME: &'static str = "grouped_feed_forward";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let Sizes { input, width, hidden, output } = self.sizes;
        let groups = &*self.groups;
        let places = groups.rows.len();
        let mut kept = vec![T::ZERO; places * width];
        let mut out = vec![T::ZERO; places * output];
        let (kept_parts, out_parts) = (Parts::new(&mut kept), Parts::new(&mut out));
        for_tasks(groups.blocks.len(), self.work(), &|at| {
            let Block { group, start, len: n } = groups.blocks[at];
            // SAFETY: blocks do not overlap, and each is treated once.
            let (a, y) =
                unsafe { (kept_parts.slice(start * width, n * width), out_parts.slice(start * output, n * output)) };
            // Everything stands on its side, so that the weights, the largest matrices, are read as they lie.
            let mut rows = Vec::new();
            gather(x[0], input, &groups.rows[start..start + n], &mut rows);
            let mut columns = vec![T::ZERO; n * input.max(output)];
            transposed(&rows, n, input, &mut columns[..n * input]);
            let w1 = Matrix::new(&x[1][group * width * input..][..width * input], width, input);
            gemm_strided(w1, Matrix::new(&columns, input, n), a, n, false, false);
            let mut g = vec![T::ZERO; n * hidden];
            self.activate(a, &mut g);
            let w2 = Matrix::new(&x[2][group * output * hidden..][..output * hidden], output, hidden);
            let columns = &mut columns[..n * output];
            gemm_strided(w2, Matrix::new(&g, hidden, n), columns, n, false, false);
            transposed(columns, output, n, y);
        });
        let _ = self.kept.set(T::to_cpu_storage_owned(kept));
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let Some(kept) = self.kept.get() else {
            return Err(candle_core::Error::BackwardNotSupported { op: Self::NAME });
        };
        let kept = kept.as_slice::<T>()?;
        let Sizes { input, width, hidden, output } = self.sizes;
        let groups = &*self.groups;
        let places = groups.rows.len();
        // the gradients before the activation as in `kept`, its values for each block as `[n, hidden]`, and those of the rows taken
        let mut by_a = vec![T::ZERO; places * width];
        let mut values = vec![T::ZERO; if needs[2] { places * hidden } else { 0 }];
        let mut by_rows = vec![T::ZERO; if needs[0] { places * input } else { 0 }];
        let (by_a_parts, value_parts) = (Parts::new(&mut by_a), Parts::new(&mut values));
        let by_row_parts = Parts::new(&mut by_rows);
        for_tasks(groups.blocks.len(), 2 * self.work(), &|at| {
            let Block { group, start, len: n } = groups.blocks[at];
            let mut columns = vec![T::ZERO; n * output];
            transposed(&grad[start * output..(start + n) * output], n, output, &mut columns);
            let w2 = Matrix::new(&x[2][group * output * hidden..][..output * hidden], output, hidden);
            let mut by_g = vec![T::ZERO; n * hidden];
            gemm_strided(w2.t(), Matrix::new(&columns, output, n), &mut by_g, n, false, false);
            let mut g = vec![T::ZERO; n * hidden];
            // SAFETY: blocks do not overlap, and each is treated once.
            let by_a = unsafe { by_a_parts.slice(start * width, n * width) };
            self.differentiate(&kept[start * width..(start + n) * width], &by_g, &mut g, by_a);
            if needs[2] {
                // SAFETY: as above.
                let values = unsafe { value_parts.slice(start * hidden, n * hidden) };
                transposed(&g, hidden, n, values);
            }
            if needs[0] {
                let w1 = Matrix::new(&x[1][group * width * input..][..width * input], width, input);
                // SAFETY: as above.
                let by_rows = unsafe { by_row_parts.slice(start * input, n * input) };
                gemm_strided(Matrix::new(by_a, width, n).t(), w1, by_rows, input, false, false);
            }
        });
        let by_x = needs[0].then(|| {
            let mut by_x = vec![T::ZERO; groups.num_rows * input];
            for_slices(&mut by_x, input, 2 * input, &|first, out| {
                for (row, out) in (first..).zip(out.chunks_exact_mut(input)) {
                    let range = groups.place_offsets[row] as usize..groups.place_offsets[row + 1] as usize;
                    for &place in &groups.places[range] {
                        let from = &by_rows[place as usize * input..][..input];
                        out.iter_mut().zip(from).for_each(|(out, &v)| *out += v);
                    }
                }
            });
            by_x
        });
        let count = groups.offsets.len() - 1;
        let mut by_w1 = vec![T::ZERO; if needs[1] { x[1].len() } else { 0 }];
        let mut by_w2 = vec![T::ZERO; if needs[2] { x[2].len() } else { 0 }];
        // few groups are cut, so that there are tasks for every thread; by their number alone, for results that do not depend on threads
        let pieces = 8usize.div_ceil(count.max(1));
        let (w1_parts, w2_parts) = (Parts::new(&mut by_w1), Parts::new(&mut by_w2));
        let work = (places / (count * pieces).max(1)).saturating_mul(input * width + hidden * output);
        for_tasks(count * pieces, work, &|task| {
            let (group, piece) = (task / pieces, task % pieces);
            let places = groups.offsets[group] as usize..groups.offsets[group + 1] as usize;
            let first = groups.blocks.partition_point(|block| (block.group, block.start) < (group, places.start));
            let blocks = groups.blocks[first..].iter().take_while(|block| block.group == group);
            let cut = |len: usize| len * piece / pieces..len * (piece + 1) / pieces;
            let (w1_rows, w2_rows) = (cut(width), cut(output));
            let mut rows = Vec::new();
            for (at, &Block { start, len: n, .. }) in blocks.enumerate() {
                if needs[1] && !w1_rows.is_empty() {
                    gather(x[0], input, &groups.rows[start..start + n], &mut rows);
                    let left = Matrix::new(&by_a[start * width + w1_rows.start * n..], w1_rows.len(), n);
                    let begin = (group * width + w1_rows.start) * input;
                    // SAFETY: each task has its own rows of its group's matrices.
                    let out = unsafe { w1_parts.slice(begin, w1_rows.len() * input) };
                    gemm_strided(left, Matrix::new(&rows, n, input), out, input, at > 0, false);
                }
                if needs[2] && !w2_rows.is_empty() {
                    let left = Matrix::strided(&grad[start * output + w2_rows.start..], n, w2_rows.len(), output);
                    let begin = (group * output + w2_rows.start) * hidden;
                    // SAFETY: as above.
                    let out = unsafe { w2_parts.slice(begin, w2_rows.len() * hidden) };
                    let right = Matrix::new(&values[start * hidden..(start + n) * hidden], n, hidden);
                    gemm_strided(left.t(), right, out, hidden, at > 0, false);
                }
            }
        });
        Ok([by_x, needs[1].then_some(by_w1), needs[2].then_some(by_w2)])
    }
}

/// `out[t] = Σ_j weights[t, j] · y[places[t, j]]`: `y` is `[n, d]`, `weights` `[rows, k]` (all ones if `None`), `places` has `rows · k` entries, of which
/// `None` adds nothing; the result is `[rows, d]`. No place may be used twice.
///
/// # Errors
///
/// When the shapes do not fit, a place is not below `n` or used twice, or dtypes differ.
pub fn weighted_rows(y: &Tensor, weights: Option<&Tensor>, places: &[Option<u32>], k: usize) -> Result<Tensor> {
    const OP: &str = "weighted_rows";
    let &[n, width] = y.dims() else { return Err(Error::shape(OP, "y", y.shape(), "[n, d]")) };
    if k == 0 || !places.len().is_multiple_of(k) {
        let got = places.len() as f64;
        return Err(Error::Value {
            operation: OP,
            what: "the number of places",
            got,
            expected: "a multiple of k, which is at least 1",
        });
    }
    let rows = places.len() / k;
    let mut is_used = vec![false; n];
    for (position, &place) in places.iter().enumerate() {
        let Some(place) = place else { continue };
        match is_used.get_mut(place as usize) {
            Some(is_used) if !*is_used => *is_used = true,
            Some(_) => {
                return Err(Error::Value {
                    operation: OP,
                    what: "a place",
                    got: f64::from(place),
                    expected: "each at most once",
                });
            }
            None => {
                let index = u64::from(place);
                return Err(Error::OutOfRange { operation: OP, what: "places", position, index, bound: n });
            }
        }
    }
    if let Some(weights) = weights {
        if weights.dims() != [rows, k] {
            return Err(Error::shape(OP, "weights", weights.shape(), format!("[{rows}, {k}]")));
        }
        if weights.dtype() != y.dtype() {
            return Err(Error::DType {
                operation: OP,
                what: "weights",
                got: weights.dtype(),
                expected: "the dtype of y",
            });
        }
    }
    if y.device().is_cpu() {
        let op = WeightedRows { places: places.to_vec(), rows, k, width };
        return match weights {
            Some(weights) => apply(op, &[y, weights], (rows, width)),
            None => apply(op, &[y], (rows, width)),
        };
    }
    let device = y.device();
    let used: Vec<usize> = (0..places.len()).filter(|&at| places[at].is_some()).collect();
    let zeros = Tensor::zeros((rows, width), y.dtype(), device)?;
    if used.is_empty() {
        return Ok(zeros);
    }
    let from: Vec<u32> = used.iter().filter_map(|&at| places[at]).collect();
    let to: Vec<u32> = used.iter().map(|&at| (at / k) as u32).collect();
    let mut taken = y.index_select(&Tensor::new(from, device)?, 0)?;
    if let Some(weights) = weights {
        let at: Vec<u32> = used.iter().map(|&at| at as u32).collect();
        let weights = weights.flatten_all()?.index_select(&Tensor::new(at, device)?, 0)?;
        taken = taken.broadcast_mul(&weights.unsqueeze(1)?)?;
    }
    Ok(zeros.index_add(&Tensor::new(to, device)?, &taken, 0)?)
}

struct WeightedRows {
    places: Vec<Option<u32>>,
    rows: usize,
    k: usize,
    width: usize,
}

multiversion! {
    fn add_scaled<T>(factor: T, from: &[T], out: &mut [T]) {
        for (out, &v) in out.iter_mut().zip(from) {
            *out += factor * v;
        }
    }
}

multiversion! {
    fn dot<T>(a: &[T], b: &[T], out: &mut T) {
        *out = sum2(a, b, |a, b| a * b);
    }
}

impl Kernel for WeightedRows {
    const NAME: &'static str = "weighted_rows";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let width = self.width;
        let mut out = vec![T::ZERO; self.rows * width];
        if width > 0 {
            for_slices(&mut out, width, 2 * self.k * width, &|first, out| {
                for (row, out) in (first..).zip(out.chunks_exact_mut(width)) {
                    for at in row * self.k..(row + 1) * self.k {
                        let Some(place) = self.places[at] else { continue };
                        let factor = x.get(1).map_or(T::ONE, |weights| weights[at]);
                        add_scaled(factor, &x[0][place as usize * width..][..width], out);
                    }
                }
            });
        }
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let width = self.width;
        let mut by_y = vec![T::ZERO; x[0].len()];
        let mut by_weights = vec![T::ZERO; x.get(1).map_or(0, |weights| weights.len())];
        let (y_parts, weight_parts) = (Parts::new(&mut by_y), Parts::new(&mut by_weights));
        for_tasks(self.rows, 3 * self.k * width, &|row| {
            let grad = &grad[row * width..(row + 1) * width];
            for at in row * self.k..(row + 1) * self.k {
                let Some(place) = self.places[at] else { continue };
                let begin = place as usize * width;
                let factor = x.get(1).map_or(T::ONE, |weights| weights[at]);
                if needs[0] {
                    // SAFETY: no place is used twice.
                    add_scaled(factor, grad, unsafe { y_parts.slice(begin, width) });
                }
                if needs[1] {
                    // SAFETY: each weight belongs to one row.
                    dot(grad, &x[0][begin..begin + width], &mut unsafe { weight_parts.slice(at, 1) }[0]);
                }
            }
        });
        Ok([Some(by_y), needs[1].then_some(by_weights), None])
    }
}
