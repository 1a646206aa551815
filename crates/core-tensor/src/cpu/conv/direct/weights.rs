//! The gradient of the weights.

use super::loops::{CHANNELS, together, with_lanes};
use super::split::{Split, pad};
use crate::cpu::conv::geometry::Geometry;
#[cfg(target_arch = "x86_64")]
use crate::kernel::{Avx2, Avx512, Instructions, instructions};
use crate::kernel::{LANES, Lanes, Real, multiversion};

/// Sixteen interleaved sums for each weight, to which images are added.
#[derive(Default)]
pub(in crate::cpu::conv) struct WeightSums<T> {
    padded: Vec<T>,
    grad: Vec<T>,
    sums: Vec<T>,
}

impl<T: Real> WeightSums<T> {
    /// Adds the products of one image.
    pub(in crate::cpu::conv) fn add(&mut self, g: &Geometry, x: &[T], grad: &[T]) {
        let (inputs, outputs) = g.group();
        let split = Split::new(g);
        let columns = g.output[2].next_multiple_of(LANES);
        self.sums.resize(g.weights() * LANES, T::ZERO);
        let (rows, depth) = (g.output[1], g.depth());
        let parts = x.chunks_exact(inputs * g.in_plane()).zip(grad.chunks_exact(outputs * g.out_plane()));
        for ((x, grad), sums) in parts.zip(self.sums.chunks_exact_mut(outputs * depth * LANES)) {
            split.fill(g, x, &mut self.padded);
            self.grad.resize(outputs * rows * columns, T::ZERO);
            for (grad, padded) in grad.chunks_exact(g.out_plane()).zip(self.grad.chunks_exact_mut(rows * columns)) {
                pad(grad, g.output[2], [0, 0], columns, padded);
            }
            for (input, x) in self.padded.chunks_exact(split.plane).enumerate() {
                let job = Taps { split: &split, outputs, columns, rows, input, depth };
                add_taps(&job, x, &self.grad, sums);
            }
        }
    }

    /// Adds the sums to `out`, and starts anew.
    pub(in crate::cpu::conv) fn flush(&mut self, out: &mut [T]) {
        for (out, sums) in out.iter_mut().zip(self.sums.chunks_exact(LANES)) {
            *out += sums.iter().fold(T::ZERO, |total, &sum| total + sum);
        }
        self.sums.clear();
    }
}

struct Taps<'a> {
    split: &'a Split,
    outputs: usize,
    /// Columns of the gradient with its padding.
    columns: usize,
    rows: usize,
    /// The number of the input channel within its group.
    input: usize,
    depth: usize,
}

#[inline(always)]
fn add_block<T: Real, L: Lanes<T>, const O: usize, const N: usize>(
    job: &Taps<'_>,
    x: &[T],
    grad: &[T],
    output: usize,
    tap: usize,
    sums: &mut [T],
) {
    let taps = job.split.offsets.len();
    // What does not exist is computed again and thrown away.
    let outputs: [usize; O] = std::array::from_fn(|at| (output + at).min(job.outputs - 1));
    let offsets: [usize; N] = std::array::from_fn(|at| job.split.offsets[(tap + at).min(taps - 1)]);
    let mut total = [[L::splat(T::ZERO); N]; O];
    let size = job.rows * job.columns;
    for row in 0..job.rows {
        for column in (0..job.columns).step_by(LANES) {
            let (at, from) = (row * job.columns + column, row * job.split.stride + column);
            let mut lanes = [L::splat(T::ZERO); N];
            for (lanes, offset) in lanes.iter_mut().zip(offsets) {
                *lanes = L::load(&x[from + offset..]);
            }
            for (total, output) in total.iter_mut().zip(outputs) {
                let grads = L::load(&grad[output * size + at..]);
                for (total, x) in total.iter_mut().zip(lanes) {
                    *total = x.mul_add(grads, *total);
                }
            }
        }
    }
    for (o, total) in total.into_iter().enumerate().take(job.outputs - output) {
        for (n, total) in total.into_iter().enumerate().take(taps - tap) {
            let place = ((output + o) * job.depth + job.input * taps + tap + n) * LANES;
            if let Some(sum) = sums[place..].first_chunk_mut::<LANES>() {
                total.mul_add(L::splat(T::ONE), L::load(sum)).store(sum);
            }
        }
    }
}

#[inline(always)]
fn add_taps_with<T: Real, L: Lanes<T>>(job: &Taps<'_>, x: &[T], grad: &[T], sums: &mut [T]) {
    for output in (0..job.outputs).step_by(together(job.outputs)) {
        match (job.outputs, L::IS_WIDE) {
            (1, true) => all_taps::<T, L, 1, 9>(job, x, grad, output, sums),
            (1, false) => all_taps::<T, L, 1, 3>(job, x, grad, output, sums),
            (_, true) => all_taps::<T, L, CHANNELS, 3>(job, x, grad, output, sums),
            (_, false) => all_taps::<T, L, CHANNELS, 1>(job, x, grad, output, sums),
        }
    }
}

#[inline(always)]
fn all_taps<T: Real, L: Lanes<T>, const O: usize, const N: usize>(
    job: &Taps<'_>,
    x: &[T],
    grad: &[T],
    output: usize,
    sums: &mut [T],
) {
    for tap in (0..job.split.offsets.len()).step_by(N) {
        add_block::<T, L, O, N>(job, x, grad, output, tap, sums);
    }
}

with_lanes! {
    /// Adds the products of a padded input plane with all gradients of its group.
    fn add_taps = add_taps_with(job: &Taps<'_>, x, grad; ; sums)
}
