//! Feed-forward networks of several experts over groups of rows.

use super::activation::{Function, Gelu, Relu, Silu};
use crate::kernel::{
    Extent, Gradients, Kernel, Matrix, Parts, Real, for_slices, for_tasks, gemm_strided, multiversion, transpose_into,
};
use candle_core::CpuStorage;
use std::sync::{Arc, OnceLock};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    /// The start of each group in `rows`, and the end of the last.
    pub(crate) offsets: Vec<u32>,
    /// The input row of each place.
    pub(crate) rows: Vec<u32>,
    pub(crate) num_rows: usize,
    /// The start of each input row's places in `places`, and the end of the last.
    pub(crate) place_offsets: Vec<u32>,
    pub(crate) places: Vec<u32>,
    pub(crate) blocks: Vec<Block>,
}

/// A run of places of one group that is computed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) group: usize,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// The most rows that are computed together: their activations stay in the second-level cache.
const BLOCK: usize = 256;

impl Groups {
    /// `offsets` never decrease and run from 0 to the length of `rows`, which are below `num_rows`.
    pub(crate) fn new(offsets: Vec<u32>, rows: Vec<u32>, num_rows: usize) -> Self {
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
        Self { offsets, rows, num_rows, place_offsets, places, blocks }
    }
}

/// The activation between the two matrices of an expert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpertActivation {
    /// [`crate::ops::relu`].
    Relu,
    /// [`crate::ops::gelu`], the exact one.
    #[default]
    Gelu,
    /// [`crate::ops::silu`].
    Silu,
    /// `silu(a) · b`, where the first matrix gives `a` in its first half of rows and `b` in the second ([`crate::ops::swiglu`]).
    SwiGlu,
}

impl ExpertActivation {
    /// The rows of an expert's first matrix for `hidden` columns of its second.
    pub fn width(self, hidden: usize) -> usize {
        if self == Self::SwiGlu { hidden.saturating_mul(2) } else { hidden }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) input: usize,
    pub(crate) width: usize,
    pub(crate) hidden: usize,
    pub(crate) output: usize,
}

pub(crate) struct GroupedFeedForward {
    pub(crate) groups: Arc<Groups>,
    pub(crate) sizes: Sizes,
    pub(crate) activation: ExpertActivation,
    /// The values before the activation: for each block of `n` places `[width, n]`.
    pub(crate) kept: OnceLock<CpuStorage>,
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
            // All matrices are transposed, so that the weights, the largest of them, are read in memory order.
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
        // Few groups are cut into pieces, so that every thread has a task; their number alone decides how, so that results do not depend on threads.
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
