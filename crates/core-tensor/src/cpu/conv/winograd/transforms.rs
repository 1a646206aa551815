//! The transforms of tiles and kernels, over channels that lie side by side.

use crate::kernel::{Real, multiversion};

/// Channels are treated in vectors of this many.
pub(super) const LANES: usize = 16;

type Lanes<T> = [T; LANES];

#[inline(always)]
fn add<T: Real>(a: Lanes<T>, b: Lanes<T>) -> Lanes<T> {
    let mut out = a;
    for (out, b) in out.iter_mut().zip(b) {
        *out += b;
    }
    out
}

#[inline(always)]
fn sub<T: Real>(a: Lanes<T>, b: Lanes<T>) -> Lanes<T> {
    let mut out = a;
    for (out, b) in out.iter_mut().zip(b) {
        *out -= b;
    }
    out
}

#[inline(always)]
fn neg<T: Real>(a: Lanes<T>) -> Lanes<T> {
    a.map(|v| -v)
}

#[inline(always)]
fn load<T: Real>(from: &[T], at: usize) -> Lanes<T> {
    let mut out = [T::ZERO; LANES];
    out.copy_from_slice(&from[at..at + LANES]);
    out
}

#[inline(always)]
fn store<T: Real>(to: &mut [T], at: usize, values: Lanes<T>) {
    to[at..at + LANES].copy_from_slice(&values);
}

/// `Bᵀ` on four values.
#[inline(always)]
fn before<T: Real>([a, b, c, d]: [Lanes<T>; 4]) -> [Lanes<T>; 4] {
    [sub(a, c), add(b, c), sub(c, b), sub(b, d)]
}

/// `Aᵀ` on four values.
#[inline(always)]
fn after<T: Real>([a, b, c, d]: [Lanes<T>; 4]) -> [Lanes<T>; 2] {
    [add(add(a, b), c), sub(sub(b, c), d)]
}

/// `A` on two values.
#[inline(always)]
fn spread<T: Real>([a, b]: [Lanes<T>; 2]) -> [Lanes<T>; 4] {
    [a, add(a, b), sub(a, b), neg(b)]
}

multiversion! {
    pub(super) fn transform_input_tile<T>(turned: &[T], sources: &[usize; 16], channels: usize, tile: usize, tiles: usize, out: &mut [T]) {
        for channel in (0..channels).step_by(LANES) {
            let mut columns = [[[T::ZERO; LANES]; 4]; 4];
            for (j, column) in columns.iter_mut().enumerate() {
                let at = |i: usize| load(turned, sources[4 * i + j] * channels + channel);
                *column = before([at(0), at(1), at(2), at(3)]);
            }
            #[allow(clippy::needless_range_loop)] // the same index in every column
            for i in 0..4 {
                let row = before([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
                for (j, values) in row.into_iter().enumerate() {
                    store(out, ((4 * i + j) * tiles + tile) * channels + channel, values);
                }
            }
        }
    }
}

multiversion! {
    pub(super) fn transform_output_tile<T>(products: &[T], tile: usize, tiles: usize, channels: usize, targets: &[usize; 4], out: &mut [T]) {
        for channel in (0..channels).step_by(LANES) {
            let at = |frequency: usize| load(products, (frequency * tiles + tile) * channels + channel);
            let mut columns = [[[T::ZERO; LANES]; 2]; 4];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = after([at(j), at(4 + j), at(8 + j), at(12 + j)]);
            }
            for i in 0..2 {
                let row = after([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
                for (j, values) in row.into_iter().enumerate() {
                    store(out, targets[2 * i + j] * channels + channel, values);
                }
            }
        }
    }
}

multiversion! {
    pub(super) fn transform_gradient_tile<T>(turned: &[T], sources: &[usize; 4], channels: usize, tile: usize, tiles: usize, out: &mut [T]) {
        for channel in (0..channels).step_by(LANES) {
            let at = |position: usize| load(turned, sources[position] * channels + channel);
            let columns = [spread([at(0), at(2)]), spread([at(1), at(3)])];
            #[allow(clippy::needless_range_loop)] // the same index in every column
            for i in 0..4 {
                let row = spread([columns[0][i], columns[1][i]]);
                for (j, values) in row.into_iter().enumerate() {
                    store(out, ((4 * i + j) * tiles + tile) * channels + channel, values);
                }
            }
        }
    }
}

multiversion! {
    /// `[inputs, 3, 3]` to `[16, inputs]`: `G w Gᵀ`.
    pub(super) fn transform_kernels<T>(w: &[T], inputs: usize, out: &mut [T]) {
        let half = T::of(0.5);
        for (input, w) in w.chunks_exact(9).enumerate() {
            let g = |[a, b, c]: [T; 3]| [a, (a + b + c) * half, (a - b + c) * half, c];
            let columns = [g([w[0], w[3], w[6]]), g([w[1], w[4], w[7]]), g([w[2], w[5], w[8]])];
            let [a, b, c] = columns;
            for (i, ((a, b), c)) in a.into_iter().zip(b).zip(c).enumerate() {
                for (j, value) in g([a, b, c]).into_iter().enumerate() {
                    out[(4 * i + j) * inputs + input] = value;
                }
            }
        }
    }
}

multiversion! {
    /// The adjoint of [`transform_kernels`]: `Gᵀ u G`.
    pub(super) fn transform_kernel_gradient<T>(u: &[T], inputs: usize, out: &mut [T]) {
        let half = T::of(0.5);
        for (input, out) in out.chunks_exact_mut(9).enumerate() {
            let g = |[a, b, c, d]: [T; 4]| [a + (b + c) * half, (b - c) * half, (b + c) * half + d];
            let at = |frequency: usize| u[frequency * inputs + input];
            let mut columns = [[T::ZERO; 3]; 4];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = g([at(j), at(4 + j), at(8 + j), at(12 + j)]);
            }
            for (i, out) in out.chunks_exact_mut(3).enumerate() {
                out.copy_from_slice(&g(columns.map(|column| column[i])));
            }
        }
    }
}
