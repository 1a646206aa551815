//! The two passes over all multipliers that one step of the solver takes. Neither depends on how wide a processor's vectors are.

use crate::element::Element;
use crate::pairwise::LANES;
use pulp::{Arch, Simd, WithSimd};

/// Numbers that are converted at a time, into a list on the stack.
const CHUNK: usize = 256;

/// Independent searches side by side, since each step of one waits for the step before. Lists are padded to as many vectors of any processor.
const CHAINS: usize = 4;

/// The largest number of each lane of each chain, and the block that it is in.
struct Best<S: Simd> {
    value: [S::f64s; CHAINS],
    block: [S::f64s; CHAINS],
    now: S::f64s,
}

impl<S: Simd> Best<S> {
    #[inline(always)]
    fn new(simd: S, least: f64) -> Self {
        Self {
            value: [simd.splat_f64s(least); CHAINS],
            block: [simd.splat_f64s(-1.); CHAINS],
            now: simd.splat_f64s(0.),
        }
    }

    #[inline(always)]
    fn look(&mut self, simd: S, chain: usize, value: S::f64s) {
        let is_better = simd.greater_than_f64s(value, self.value[chain]);
        self.value[chain] = simd.select_f64s(is_better, value, self.value[chain]);
        self.block[chain] = simd.select_f64s(is_better, self.now, self.block[chain]);
    }

    #[inline(always)]
    fn next_block(&mut self, simd: S) {
        self.now = simd.add_f64s(self.now, simd.splat_f64s(1.));
    }

    /// The largest of all lanes, the first of equal ones; none if no number was above the least.
    #[inline(always)]
    fn of_all(&self, simd: S) -> Option<(usize, f64)> {
        let [a, b, c, d] = self.value;
        let largest = simd.reduce_max_f64s(simd.max_f64s(simd.max_f64s(a, b), simd.max_f64s(c, d)));
        let (wanted, stride) = (simd.splat_f64s(largest), simd.splat_f64s((CHAINS * S::F64_LANES) as f64));
        let mut first = simd.splat_f64s(f64::INFINITY);
        for chain in 0..CHAINS {
            let place = S::as_simd_f64s(&PLACES[chain * S::F64_LANES..][..S::F64_LANES]).0[0];
            let at = simd.mul_add_f64s(self.block[chain], stride, place);
            // a chain that has found nothing is in block -1
            let is_found = simd.and_m64s(
                simd.equal_f64s(self.value[chain], wanted),
                simd.greater_than_or_equal_f64s(at, simd.splat_f64s(0.)),
            );
            first = simd.min_f64s(first, simd.select_f64s(is_found, at, simd.splat_f64s(f64::INFINITY)));
        }
        let first = simd.reduce_min_f64s(first);
        first.is_finite().then_some((first as usize, largest))
    }
}

/// 0, 1, 2, …
const PLACES: [f64; LANES] = {
    let mut places = [0.; LANES];
    let mut at = 0;
    while at < LANES {
        places[at] = at as f64;
        at += 1;
    }
    places
};

/// `values -= step (K_i - K_j)`, and which value is the largest of those that may rise.
pub(crate) struct Advance<'a, T> {
    pub(crate) values: &'a mut [f64],
    /// 0, or -∞ where the multiplier may not move that way
    pub(crate) rises: &'a [f64],
    pub(crate) row_i: &'a [T],
    pub(crate) row_j: &'a [T],
    pub(crate) step: f64,
}

impl<T: Element> WithSimd for Advance<'_, T> {
    type Output = Option<(usize, f64)>;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let step = simd.splat_f64s(self.step);
        let mut best = Best::new(simd, f64::NEG_INFINITY);
        let mut differences = [0.; CHUNK];
        let lists = self.values.chunks_mut(CHUNK).zip(self.rises.chunks(CHUNK));
        for ((values, rises), (row_i, row_j)) in lists.zip(self.row_i.chunks(CHUNK).zip(self.row_j.chunks(CHUNK))) {
            let differences = &mut differences[..values.len()];
            for (difference, (&k_i, &k_j)) in differences.iter_mut().zip(row_i.iter().zip(row_j)) {
                let (k_i, k_j): (f64, f64) = (k_i.into(), k_j.into());
                *difference = k_i - k_j;
            }
            let (values, rises) = (blocks_mut::<S>(values), blocks::<S>(rises));
            for (values, (rises, differences)) in values.iter_mut().zip(rises.iter().zip(blocks::<S>(differences))) {
                for chain in 0..CHAINS {
                    let value = simd.sub_f64s(values[chain], simd.mul_f64s(step, differences[chain]));
                    values[chain] = value;
                    best.look(simd, chain, simd.add_f64s(value, rises[chain]));
                }
                best.next_block(simd);
            }
        }
        best.of_all(simd)
    }
}

#[inline(always)]
fn blocks<S: Simd>(values: &[f64]) -> &[[S::f64s; CHAINS]] {
    S::as_simd_f64s(values).0.as_chunks().0
}

#[inline(always)]
fn blocks_mut<S: Simd>(values: &mut [f64]) -> &mut [[S::f64s; CHAINS]] {
    S::as_mut_simd_f64s(values).0.as_chunks_mut().0
}

/// The largest of the values that may rise.
pub(crate) fn highest(values: &[f64], rises: &[f64]) -> Option<(usize, f64)> {
    let mut found: Option<(usize, f64)> = None;
    for (at, (value, rises)) in values.iter().zip(rises).enumerate() {
        let value = value + rises;
        if value > found.map_or(f64::NEG_INFINITY, |(_, largest)| largest) {
            found = Some((at, value));
        }
    }
    found
}

/// Which partner gains most beside `i`, by second-order information (Fan, Chen, Lin, 2005), and the smallest value that may fall.
pub(crate) struct Partner<'a, T> {
    pub(crate) values: &'a [f64],
    /// 0, or ∞ where the multiplier may not move that way
    pub(crate) falls: &'a [f64],
    pub(crate) diagonal: &'a [f64],
    pub(crate) row_i: &'a [T],
    pub(crate) diagonal_i: f64,
    pub(crate) largest: f64,
}

/// The least curvature along a pair; equal rows have none.
pub(crate) const LEAST_CURVATURE: f64 = 1e-12;

impl<T: Element> WithSimd for Partner<'_, T> {
    type Output = (Option<usize>, f64);
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let (zero, minus_two) = (simd.splat_f64s(0.), simd.splat_f64s(-2.));
        let (largest, least) = (simd.splat_f64s(self.largest), simd.splat_f64s(LEAST_CURVATURE));
        let own = simd.splat_f64s(self.diagonal_i);
        let mut best = Best::new(simd, 0.);
        let mut smallest = [simd.splat_f64s(f64::INFINITY); CHAINS];
        let mut kernel = [0.; CHUNK];
        let lists = self.values.chunks(CHUNK).zip(self.falls.chunks(CHUNK));
        let rows = self.row_i.chunks(CHUNK).zip(self.diagonal.chunks(CHUNK));
        for ((values, falls), (row_i, diagonal)) in lists.zip(rows) {
            let kernel = &mut kernel[..values.len()];
            kernel.iter_mut().zip(row_i).for_each(|(to, &from)| *to = from.into());
            let lists = blocks::<S>(falls).iter().zip(blocks::<S>(values));
            let rows = blocks::<S>(kernel).iter().zip(blocks::<S>(diagonal));
            for ((falls, values), (kernel, diagonal)) in lists.zip(rows) {
                for chain in 0..CHAINS {
                    let value = simd.add_f64s(values[chain], falls[chain]);
                    smallest[chain] = simd.min_f64s(smallest[chain], value);
                    // where a multiplier may not fall this is -∞
                    let difference = simd.max_f64s(simd.sub_f64s(largest, value), zero);
                    let curvature = simd.mul_add_f64s(minus_two, kernel[chain], simd.add_f64s(own, diagonal[chain]));
                    let curvature = simd.max_f64s(curvature, least);
                    let gain = simd.div_f64s(simd.mul_f64s(difference, difference), curvature);
                    best.look(simd, chain, gain);
                }
                best.next_block(simd);
            }
        }
        let [a, b, c, d] = smallest;
        let smallest = simd.min_f64s(simd.min_f64s(a, b), simd.min_f64s(c, d));
        (best.of_all(simd).map(|(at, _)| at), simd.reduce_min_f64s(smallest))
    }
}

/// Σ a b of two precisions
pub(crate) struct Dot<'a, T>(pub(crate) &'a [T], pub(crate) &'a [f64]);

impl<T: Element> WithSimd for Dot<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let mut sum = simd.splat_f64s(0.);
        let mut rest = 0.;
        let mut kernel = [0.; CHUNK];
        for (from, coefficients) in self.0.chunks(kernel.len()).zip(self.1.chunks(kernel.len())) {
            let kernel = &mut kernel[..coefficients.len()];
            kernel.iter_mut().zip(from).for_each(|(to, &from)| *to = from.into());
            let ((kernel, of_rest), (coefficients, others)) = (S::as_simd_f64s(kernel), S::as_simd_f64s(coefficients));
            for (kernel, coefficient) in kernel.iter().zip(coefficients) {
                sum = simd.mul_add_f64s(*kernel, *coefficient, sum);
            }
            rest += of_rest.iter().zip(others).map(|(a, b)| a * b).sum::<f64>();
        }
        simd.reduce_sum_f64s(sum) + rest
    }
}

/// Runs a pass with the widest vectors that the processor has.
#[inline]
pub(crate) fn dispatch<O: WithSimd>(pass: O) -> O::Output {
    Arch::new().dispatch(pass)
}
