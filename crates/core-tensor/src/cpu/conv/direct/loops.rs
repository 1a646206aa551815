//! Sums over taps in registers.

#[cfg(target_arch = "x86_64")]
use crate::kernel::{Avx2, Avx512, Instructions, instructions};
use crate::kernel::{LANES, Lanes, Real, multiversion};

/// Output channels that are computed together.
pub(super) const CHANNELS: usize = 4;

/// A cross-correlation at stride 1 of some padded planes.
pub(super) struct Sums {
    /// Planes that are read, and elements of each.
    pub(super) inputs: usize,
    pub(super) plane: usize,
    /// How far apart rows of a plane are.
    pub(super) stride: usize,
    /// For each tap how far it reads from the place of the output.
    pub(super) offsets: Vec<usize>,
    /// Rows and columns of a result, and the place of the first.
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) first: usize,
}

/// Sums over inputs and taps for `O` output channels and `V` vectors of places. `w` is `[inputs, taps, O]`.
#[inline(always)]
fn sums_of<T: Real, L: Lanes<T>, const O: usize, const V: usize>(
    job: &Sums,
    x: &[T],
    w: &[T],
    places: [usize; V],
) -> [[L; V]; O] {
    let mut sums = [[L::splat(T::ZERO); V]; O];
    for (x, w) in x.chunks_exact(job.plane).zip(w.chunks_exact(job.offsets.len() * O)) {
        for (&offset, w) in job.offsets.iter().zip(w.chunks_exact(O)) {
            let mut lanes = [L::splat(T::ZERO); V];
            for (lanes, place) in lanes.iter_mut().zip(places) {
                *lanes = L::load(&x[place + offset..]);
            }
            for (sums, &w) in sums.iter_mut().zip(w) {
                let w = L::splat(w);
                for (sum, x) in sums.iter_mut().zip(lanes) {
                    *sum = x.mul_add(w, *sum);
                }
            }
        }
    }
    sums
}

impl Sums {
    fn vectors(&self) -> usize {
        self.rows * self.columns.div_ceil(LANES)
    }

    /// The row and the first column of a vector.
    #[inline(always)]
    fn at(&self, vector: usize) -> (usize, usize) {
        let in_row = self.columns.div_ceil(LANES);
        (vector / in_row, vector % in_row * LANES)
    }

    #[inline(always)]
    fn place(&self, vector: usize) -> usize {
        let (row, column) = self.at(vector.min(self.vectors() - 1));
        self.first + row * self.stride + column
    }
}

#[inline(always)]
fn store<T: Real, L: Lanes<T>, const O: usize, const V: usize>(
    job: &Sums,
    vector: usize,
    sums: [[L; V]; O],
    out: &mut [T],
) {
    let size = job.rows * job.columns;
    for (out, sums) in out.chunks_exact_mut(size).zip(sums) {
        for (vector, sums) in (vector..job.vectors()).zip(sums) {
            let (row, column) = job.at(vector);
            let out = &mut out[row * job.columns + column..(row + 1) * job.columns];
            if let Some(out) = out.first_chunk_mut::<LANES>() {
                sums.store(out);
            } else {
                let mut lanes = [T::ZERO; LANES];
                sums.store(&mut lanes);
                out.copy_from_slice(&lanes[..out.len()]);
            }
        }
    }
}

/// All results of some output channels, `O` at a time.
#[inline(always)]
fn channels<T: Real, L: Lanes<T>, const O: usize, const V: usize>(job: &Sums, x: &[T], w: &[T], out: &mut [T]) {
    let (size, block) = (job.rows * job.columns, job.inputs * job.offsets.len() * O);
    for (w, out) in w.chunks_exact(block).zip(out.chunks_mut(O * size)) {
        for vector in (0..job.vectors()).step_by(V) {
            let mut places = [0; V];
            for (at, place) in places.iter_mut().enumerate() {
                *place = job.place(vector + at);
            }
            let sums = sums_of::<T, L, O, V>(job, x, w, places);
            store(job, vector, sums, out);
        }
    }
}

#[inline(always)]
fn correlate_with<T: Real, L: Lanes<T>>(job: &Sums, x: &[T], w: &[T], outputs: usize, out: &mut [T]) {
    match (outputs, L::IS_WIDE) {
        (1, true) => channels::<T, L, 1, 8>(job, x, w, out),
        (1, false) => channels::<T, L, 1, 4>(job, x, w, out),
        (_, true) => channels::<T, L, CHANNELS, 4>(job, x, w, out),
        (_, false) => channels::<T, L, CHANNELS, 1>(job, x, w, out),
    }
}

/// Defines a function that calls `$with` with the lanes of the instruction set that was found.
macro_rules! with_lanes {
    ($(#[$meta:meta])* $vis:vis fn $name:ident = $with:ident($job:ident: $Job:ty, $($in:ident),*; $($size:ident),*; $out:ident)) => {
        $(#[$meta])*
        $vis fn $name<T: Real>($job: $Job, $($in: &[T],)* $($size: usize,)* $out: &mut [T]) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,fma")]
                fn avx512($job: $Job, $($in: &[f32],)* $($size: usize,)* $out: &mut [f32]) {
                    $with::<f32, Avx512>($job, $($in,)* $($size,)* $out);
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($job: $Job, $($in: &[f32],)* $($size: usize,)* $out: &mut [f32]) {
                    $with::<f32, Avx2>($job, $($in,)* $($size,)* $out);
                }
                let found = instructions();
                if found != Instructions::Baseline
                    && let ($(Some($in),)* Some($out)) = ($(T::as_f32($in),)* T::as_f32_mut($out))
                {
                    // SAFETY: the instruction sets were found on this machine.
                    return unsafe {
                        match found {
                            Instructions::Avx512 => avx512($job, $($in,)* $($size,)* $out),
                            _ => avx2($job, $($in,)* $($size,)* $out),
                        }
                    };
                }
            }
            multiversion! {
                fn portable<T>($job: $Job, $($in: &[T],)* $($size: usize,)* $out: &mut [T]) {
                    $with::<T, [T; LANES]>($job, $($in,)* $($size,)* $out);
                }
            }
            portable($job, $($in,)* $($size,)* $out);
        }
    };
}
pub(super) use with_lanes;

with_lanes! {
    /// Writes the results `[outputs, rows, columns]`. `w` is as [`packed`] gives it.
    pub(super) fn correlate = correlate_with(job: &Sums, x, w; outputs; out)
}

/// Channels that [`correlate`] takes together.
pub(super) fn together(outputs: usize) -> usize {
    if outputs == 1 { 1 } else { CHANNELS }
}

/// Weights `[outputs, inputs, taps]`, given by `weight`, as `[blocks, inputs, taps, channels of a block]`, zero for channels that do not exist.
pub(super) fn packed<T: Real>(
    outputs: usize,
    inputs: usize,
    taps: usize,
    weight: impl Fn(usize, usize, usize) -> T,
) -> Vec<T> {
    let width = together(outputs);
    let mut out = Vec::with_capacity(outputs.next_multiple_of(width) * inputs * taps);
    for block in (0..outputs).step_by(width) {
        for input in 0..inputs {
            for tap in 0..taps {
                let of = |output: usize| if output < outputs { weight(output, input, tap) } else { T::ZERO };
                out.extend((block..block + width).map(of));
            }
        }
    }
    out
}
