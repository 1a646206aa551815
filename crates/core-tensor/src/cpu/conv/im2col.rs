//! Cross-correlation by matrix products of unfolded tiles.
//!
//! Tiles are as many output positions as keep the unfolded input in the second-level cache. Images smaller than a tile are unfolded together.

use super::geometry::Geometry;
use crate::kernel::{Matrix, Real, gemm_strided, multiversion};
use std::ops::Range;

#[derive(Default)]
pub(super) struct Scratch<T> {
    unfolded: Vec<T>,
    result: Vec<T>,
}

/// As many images as `out` holds.
pub(super) fn forward_images<T: Real>(
    g: &Geometry,
    x: &[T],
    w: &[T],
    out: &mut [T],
    scratch: &mut Scratch<T>,
    is_parallel: bool,
) {
    let images = out.len() / g.out_image();
    let (plane, depth) = (g.out_plane(), g.depth());
    let (group_inputs, group_outputs) = g.group();
    for group in 0..g.groups {
        let w = Matrix::new(&w[group * group_outputs * depth..], group_outputs, depth);
        let (inputs, outputs) = (group * group_inputs, group * group_outputs);
        if images == 1 {
            let x = &x[inputs * g.in_plane()..];
            let out = &mut out[outputs * plane..(outputs + group_outputs) * plane];
            if g.is_pointwise() {
                gemm_strided(w, Matrix::new(x, depth, plane), out, plane, false, is_parallel);
                continue;
            }
            let width = g.output[2];
            let rows_per_tile = (g.tile() / width).max(1);
            let mut row = 0;
            while row < g.output[1] {
                let rows = row..(row + rows_per_tile).min(g.output[1]);
                let columns = rows.len() * width;
                resize(&mut scratch.unfolded, depth * columns);
                unfold(g, x, rows, &mut scratch.unfolded, columns);
                let unfolded = Matrix::new(&scratch.unfolded, depth, columns);
                gemm_strided(w, unfolded, &mut out[row * width..], plane, false, is_parallel);
                row += rows_per_tile;
            }
            continue;
        }
        let columns = images * plane;
        unfold_images(g, x, inputs, images, &mut scratch.unfolded);
        resize(&mut scratch.result, group_outputs * columns);
        let unfolded = Matrix::new(&scratch.unfolded, depth, columns);
        gemm_strided(w, unfolded, &mut scratch.result, columns, false, is_parallel);
        for (image, out) in out.chunks_exact_mut(g.out_image()).enumerate() {
            let out = &mut out[outputs * plane..(outputs + group_outputs) * plane];
            for (out, row) in out.chunks_exact_mut(plane).zip(scratch.result.chunks_exact(columns)) {
                out.copy_from_slice(&row[image * plane..(image + 1) * plane]);
            }
        }
    }
}

/// `[outputs, inputs / groups, taps]` to `[inputs, outputs / groups, taps in reverse]`.
pub(super) fn turned<T: Real>(g: &Geometry, w: &[T]) -> Vec<T> {
    let (inputs, outputs) = g.group();
    let taps = g.taps();
    let mut out = vec![T::ZERO; w.len()];
    for group in 0..g.groups {
        let start = group * inputs * outputs * taps;
        for o in 0..outputs {
            for i in 0..inputs {
                let from = start + (o * inputs + i) * taps;
                let to = start + (i * outputs + o) * taps;
                for (out, &w) in out[to..to + taps].iter_mut().zip(w[from..from + taps].iter().rev()) {
                    *out = w;
                }
            }
        }
    }
    out
}

/// Adds the input gradient of as many images as `out` holds.
pub(super) fn fold_images<T: Real>(
    g: &Geometry,
    w: &[T],
    grad: &[T],
    out: &mut [T],
    scratch: &mut Scratch<T>,
    is_parallel: bool,
) {
    let images = out.len() / g.in_image();
    let (plane, depth) = (g.out_plane(), g.depth());
    let (group_inputs, group_outputs) = g.group();
    for group in 0..g.groups {
        let w = Matrix::new(&w[group * group_outputs * depth..], group_outputs, depth).t();
        let (inputs, outputs) = (group * group_inputs, group * group_outputs);
        if images > 1 {
            let columns = images * plane;
            gather_planes(g, grad, outputs, images, &mut scratch.result);
            resize(&mut scratch.unfolded, depth * columns);
            let grad = Matrix::new(&scratch.result, group_outputs, columns);
            gemm_strided(w, grad, &mut scratch.unfolded, columns, false, is_parallel);
            for (image, out) in out.chunks_exact_mut(g.in_image()).enumerate() {
                let unfolded = &scratch.unfolded[image * plane..];
                fold(g, unfolded, columns, 0..g.output[1], &mut out[inputs * g.in_plane()..]);
            }
            continue;
        }
        let width = g.output[2];
        let rows_per_tile = (g.tile() / width).max(1);
        let mut row = 0;
        while row < g.output[1] {
            let rows = row..(row + rows_per_tile).min(g.output[1]);
            let columns = rows.len() * width;
            resize(&mut scratch.unfolded, depth * columns);
            let grad = Matrix::strided(&grad[outputs * plane + row * width..], group_outputs, columns, plane);
            gemm_strided(w, grad, &mut scratch.unfolded, columns, false, is_parallel);
            fold(g, &scratch.unfolded, columns, rows, &mut out[inputs * g.in_plane()..]);
            row += rows_per_tile;
        }
    }
}

pub(super) fn add_weight_gradient<T: Real>(
    g: &Geometry,
    x: &[T],
    grad: &[T],
    images: usize,
    sum: &mut [T],
    scratch: &mut Scratch<T>,
    is_parallel: bool,
) {
    let (plane, depth) = (g.out_plane(), g.depth());
    let (group_inputs, group_outputs) = g.group();
    for (group, sum) in sum.chunks_exact_mut(group_outputs * depth).enumerate() {
        let (inputs, outputs) = (group * group_inputs, group * group_outputs);
        if images > 1 {
            let columns = images * plane;
            gather_planes(g, grad, outputs, images, &mut scratch.result);
            unfold_images(g, x, inputs, images, &mut scratch.unfolded);
            let grad = Matrix::new(&scratch.result, group_outputs, columns);
            let unfolded = Matrix::new(&scratch.unfolded, depth, columns);
            gemm_strided(grad, unfolded.t(), sum, depth, true, is_parallel);
            continue;
        }
        let x = &x[inputs * g.in_plane()..];
        if g.is_pointwise() {
            let grad = Matrix::new(&grad[outputs * plane..], group_outputs, plane);
            gemm_strided(grad, Matrix::new(x, depth, plane).t(), sum, depth, true, is_parallel);
            continue;
        }
        let width = g.output[2];
        let rows_per_tile = (g.tile() / width).max(1);
        let mut row = 0;
        while row < g.output[1] {
            let rows = row..(row + rows_per_tile).min(g.output[1]);
            let columns = rows.len() * width;
            resize(&mut scratch.unfolded, depth * columns);
            unfold(g, x, rows, &mut scratch.unfolded, columns);
            let grad = Matrix::strided(&grad[outputs * plane + row * width..], group_outputs, columns, plane);
            let unfolded = Matrix::new(&scratch.unfolded, depth, columns);
            gemm_strided(grad, unfolded.t(), sum, depth, true, is_parallel);
            row += rows_per_tile;
        }
    }
}

fn resize<T: Real>(buffer: &mut Vec<T>, len: usize) {
    // What is already there need not be cleared: every element is overwritten.
    buffer.resize(len, T::ZERO);
}

/// Several whole images side by side: `[depth, images · plane]`.
fn unfold_images<T: Real>(g: &Geometry, x: &[T], first_channel: usize, images: usize, out: &mut Vec<T>) {
    let (plane, depth) = (g.out_plane(), g.depth());
    let columns = images * plane;
    resize(out, depth * columns);
    for image in 0..images {
        let x = &x[image * g.in_image() + first_channel * g.in_plane()..];
        unfold(g, x, 0..g.output[1], &mut out[image * plane..], columns);
    }
}

/// The planes of a group's output channels, images side by side: `[group outputs, images · plane]`.
fn gather_planes<T: Real>(g: &Geometry, grad: &[T], first_channel: usize, images: usize, out: &mut Vec<T>) {
    let plane = g.out_plane();
    out.clear();
    for channel in first_channel..first_channel + g.group().1 {
        for image in 0..images {
            let start = image * g.out_image() + channel * plane;
            out.extend_from_slice(&grad[start..start + plane]);
        }
    }
}

/// `out[i] = x[i · stride]`.
#[inline(always)]
fn spread_copy<T: Real>(x: &[T], stride: usize, out: &mut [T]) {
    match (stride, out.split_last_mut()) {
        (1, _) => out.copy_from_slice(&x[..out.len()]),
        // Pairs, which become vectors.
        (2, Some((last, others))) => {
            let (pairs, _) = x[..2 * others.len()].as_chunks::<2>();
            for (out, &[x, _]) in others.iter_mut().zip(pairs) {
                *out = x;
            }
            *last = x[2 * others.len()];
        }
        _ => out.iter_mut().zip(x.iter().step_by(stride)).for_each(|(out, &x)| *out = x),
    }
}

/// `out[i · stride] += x[i]`.
#[inline(always)]
fn spread_add<T: Real>(x: &[T], stride: usize, out: &mut [T]) {
    match (stride, x.split_last()) {
        (1, _) => out.iter_mut().zip(x).for_each(|(out, &x)| *out += x),
        (2, Some((&last, others))) => {
            let (pairs, rest) = out.split_at_mut(2 * others.len());
            let (pairs, _) = pairs.as_chunks_mut::<2>();
            for (pair, &x) in pairs.iter_mut().zip(others) {
                *pair = [pair[0] + x, pair[1]];
            }
            rest[0] += last;
        }
        _ => out.iter_mut().step_by(stride).zip(x).for_each(|(out, &x)| *out += x),
    }
}

multiversion! {
    /// Writes the unfolded input of some output rows: row `(channel, ki, kj)` of `out` starts at that number times `stride`.
    fn unfold<T>(g: &Geometry, x: &[T], rows: Range<usize>, out: &mut [T], stride: usize) {
        let [_, height, width] = g.input;
        let columns = g.output[2];
        let mut at = 0;
        for channel in 0..g.group().0 {
            let x = &x[channel * height * width..(channel + 1) * height * width];
            for ki in 0..g.kernel[0] {
                let valid_rows = g.valid(0, ki);
                for kj in 0..g.kernel[1] {
                    let valid = g.valid(1, kj);
                    let out = &mut out[at * stride..at * stride + rows.len() * columns];
                    at += 1;
                    for (row, out) in rows.clone().zip(out.chunks_exact_mut(columns)) {
                        if !valid_rows.contains(&row) || valid.is_empty() {
                            out.fill(T::ZERO);
                            continue;
                        }
                        let start = g.at(0, ki, row) * width + g.at(1, kj, valid.start);
                        out[..valid.start].fill(T::ZERO);
                        out[valid.end..].fill(T::ZERO);
                        spread_copy(&x[start..], g.stride[1], &mut out[valid.clone()]);
                    }
                }
            }
        }
    }
}

multiversion! {
    /// The adjoint of [`unfold`]: adds to `out`.
    fn fold<T>(g: &Geometry, unfolded: &[T], stride: usize, rows: Range<usize>, out: &mut [T]) {
        let [_, height, width] = g.input;
        let columns = g.output[2];
        let mut at = 0;
        for channel in 0..g.group().0 {
            let out = &mut out[channel * height * width..(channel + 1) * height * width];
            for ki in 0..g.kernel[0] {
                let valid_rows = g.valid(0, ki);
                for kj in 0..g.kernel[1] {
                    let valid = g.valid(1, kj);
                    let unfolded = &unfolded[at * stride..at * stride + rows.len() * columns];
                    at += 1;
                    if valid.is_empty() {
                        continue;
                    }
                    for (row, unfolded) in rows.clone().zip(unfolded.chunks_exact(columns)) {
                        if !valid_rows.contains(&row) {
                            continue;
                        }
                        let start = g.at(0, ki, row) * width + g.at(1, kj, valid.start);
                        spread_add(&unfolded[valid.clone()], g.stride[1], &mut out[start..]);
                    }
                }
            }
        }
    }
}
