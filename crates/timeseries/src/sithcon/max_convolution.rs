//! The convolution along log-time with its global maximum, as a loop over registers.

use core_tensor::kernel::Real;
use pulp::Simd;
use rayon::prelude::*;

/// Sizes of a convolution along log-time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Features of an image.
    pub(crate) features: usize,
    /// Elements of a feature: the number of `τ*`.
    pub(crate) taus: usize,
    /// Kernels.
    pub(crate) channels: usize,
    /// Elements of a kernel along log-time.
    pub(crate) width: usize,
    /// The step between them.
    pub(crate) dilation: usize,
}

impl Size {
    /// P, the positions of a kernel.
    pub(crate) fn positions(&self) -> usize {
        self.taus - self.dilation * (self.width - 1)
    }

    pub(crate) fn image(&self) -> usize {
        self.features * self.taus
    }

    pub(crate) fn kernel(&self) -> usize {
        self.features * self.width
    }
}

/// Kernels computed side by side: with two registers of positions each their sums fit sixteen registers.
const BLOCK: usize = 6;

/// Kernels in blocks of [`BLOCK`], element by element: `[block][feature][tap][BLOCK]`, zeros behind the last.
pub(crate) fn pack<T: Real>(weights: &[T], size: &Size) -> Vec<T> {
    let mut packed = vec![T::ZERO; size.channels.div_ceil(BLOCK) * size.kernel() * BLOCK];
    for (channel, kernel) in weights.chunks_exact(size.kernel()).enumerate() {
        let block = &mut packed[channel / BLOCK * size.kernel() * BLOCK..];
        for (at, &weight) in kernel.iter().enumerate() {
            block[at * BLOCK + channel % BLOCK] = weight;
        }
    }
    packed
}

/// For every image `[features, taus]` the maximum over positions of each kernel's product, and its first position. An image with a number that is not finite gives NaN.
pub(crate) fn max_convolution<T: Real>(images: &[T], packed: &[T], size: &Size, out: &mut [T], chosen: &mut [u32]) {
    if let (Some(images), Some(packed), Some(out)) = (T::as_f32(images), T::as_f32(packed), T::as_f32_mut(out)) {
        over_threads(images, packed, size, out, chosen);
    } else if let (Some(images), Some(packed), Some(out)) = (T::as_f64(images), T::as_f64(packed), T::as_f64_mut(out)) {
        over_threads(images, packed, size, out, chosen);
    }
}

/// A number with its registers. The products of this convolution are fused multiply-adds, which no compiler makes of a product and a sum.
trait Register: Real {
    /// As many elements as a register of `S` holds.
    type Vector<S: Simd>: Copy;

    /// The elements that fill whole registers, without the rest.
    fn vectors<S: Simd>(x: &[Self]) -> &[Self::Vector<S>];
    fn vectors_mut<S: Simd>(x: &mut [Self]) -> &mut [Self::Vector<S>];
    fn splat<S: Simd>(simd: S, x: Self) -> Self::Vector<S>;
    /// `a · b + c`, where the machine can with one rounding.
    fn multiply_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    fn is_finite(self) -> bool;
}

macro_rules! register {
    ($T:ident, $vector:ident, $as_simd:ident, $as_mut_simd:ident, $splat:ident, $multiply_add:ident) => {
        impl Register for $T {
            type Vector<S: Simd> = S::$vector;

            #[inline(always)]
            fn vectors<S: Simd>(x: &[Self]) -> &[S::$vector] {
                S::$as_simd(x).0
            }
            #[inline(always)]
            fn vectors_mut<S: Simd>(x: &mut [Self]) -> &mut [S::$vector] {
                S::$as_mut_simd(x).0
            }
            #[inline(always)]
            fn splat<S: Simd>(simd: S, x: Self) -> S::$vector {
                simd.$splat(x)
            }
            #[inline(always)]
            fn multiply_add<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                simd.$multiply_add(a, b, c)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $T::is_finite(self)
            }
        }
    };
}
register!(f32, f32s, as_simd_f32s, as_mut_simd_f32s, splat_f32s, mul_add_e_f32s);
register!(f64, f64s, as_simd_f64s, as_mut_simd_f64s, splat_f64s, mul_add_e_f64s);

fn over_threads<T: Register>(images: &[T], packed: &[T], size: &Size, out: &mut [T], chosen: &mut [u32]) {
    let run = |images, out, chosen| pulp::Arch::new().dispatch(Pass { images, packed, size, out, chosen });
    let threads = rayon::current_num_threads();
    let rows = out.len() / size.channels.max(1);
    if threads == 1 || rows < 2 {
        return run(images, out, chosen);
    }
    let part = rows.div_ceil(4 * threads);
    out.par_chunks_mut(part * size.channels)
        .zip(chosen.par_chunks_mut(part * size.channels))
        .zip(images.par_chunks(part * size.image()))
        .for_each(|((out, chosen), images)| run(images, out, chosen));
}

struct Pass<'a, T> {
    images: &'a [T],
    packed: &'a [T],
    size: &'a Size,
    out: &'a mut [T],
    chosen: &'a mut [u32],
}

impl<T: Register> pulp::WithSimd for Pass<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { images, packed, size, out, chosen } = self;
        let tile = 2 * size_of::<T::Vector<S>>() / size_of::<T>();
        let positions = size.positions();
        let padded = positions.div_ceil(tile) * tile;
        // each feature is followed by zeros that the last tile may read
        let stride = size.taus + tile;
        let mut image = vec![T::ZERO; size.features * stride];
        let mut scores = vec![T::ZERO; BLOCK * padded];
        let rows = images.chunks_exact(size.image());
        for ((values, out), chosen) in
            rows.zip(out.chunks_exact_mut(size.channels)).zip(chosen.chunks_exact_mut(size.channels))
        {
            let mut is_finite = true;
            for (to, from) in image.chunks_exact_mut(stride).zip(values.chunks_exact(size.taus)) {
                to[..size.taus].copy_from_slice(from);
                is_finite &= from.iter().fold(true, |all, &x| all & Register::is_finite(x));
            }
            if !is_finite {
                out.fill(T::from_f64(f64::NAN));
                chosen.fill(0);
                continue;
            }
            for (block, weights) in packed.chunks_exact(size.kernel() * BLOCK).enumerate() {
                for start in (0..padded).step_by(tile) {
                    let mut sums = [[T::splat(simd, T::ZERO); 2]; BLOCK];
                    for (row, weights) in image.chunks_exact(stride).zip(weights.chunks_exact(size.width * BLOCK)) {
                        for (tap, weights) in weights.as_chunks::<BLOCK>().0.iter().enumerate() {
                            let x = T::vectors::<S>(&row[start + tap * size.dilation..][..tile]);
                            let (x0, x1) = (x[0], x[1]);
                            for (sum, &weight) in sums.iter_mut().zip(weights) {
                                let weight = T::splat(simd, weight);
                                sum[0] = T::multiply_add(simd, weight, x0, sum[0]);
                                sum[1] = T::multiply_add(simd, weight, x1, sum[1]);
                            }
                        }
                    }
                    for (sum, scores) in sums.iter().zip(scores.chunks_exact_mut(padded)) {
                        T::vectors_mut::<S>(&mut scores[start..start + tile]).copy_from_slice(sum);
                    }
                }
                let first = block * BLOCK;
                for (at, scores) in (first..size.channels).zip(scores.chunks_exact(padded)) {
                    (out[at], chosen[at]) = first_maximum(&scores[..positions]);
                }
            }
        }
    }
}

/// The maximum and its first position; NaN at 0 if no element is a number above minus infinity.
#[inline(always)]
fn first_maximum<T: Real>(values: &[T]) -> (T, u32) {
    const LANES: usize = 32;
    let larger = |a: T, b: T| if a > b { a } else { b };
    let mut lanes = [T::NEG_INFINITY; LANES];
    let (parts, rest) = values.as_chunks::<LANES>();
    for part in parts {
        for (lane, &value) in lanes.iter_mut().zip(part) {
            *lane = larger(value, *lane);
        }
    }
    let best = rest.iter().fold(lanes.into_iter().fold(T::NEG_INFINITY, larger), |best, &value| larger(value, best));
    if best == T::NEG_INFINITY {
        return (T::from_f64(f64::NAN), 0);
    }
    for (at, part) in parts.iter().enumerate() {
        if part.iter().fold(false, |any, &value| any | (value == best)) {
            let offset = part.iter().position(|&value| value == best).unwrap_or(0);
            return (best, (at * LANES + offset) as u32);
        }
    }
    let offset = rest.iter().position(|&value| value == best).unwrap_or(0);
    (best, (parts.len() * LANES + offset) as u32)
}

/// Adds the gradients of a part of the images: only windows with a maximum contribute.
pub(crate) fn add_gradients<T: Real>(
    (images, weights): (&[T], &[T]),
    size: &Size,
    chosen: &[u32],
    grad: &[T],
    (of_images, of_weights): (Option<&mut [T]>, Option<&mut [T]>),
) {
    let channels = size.channels;
    if let Some(of_weights) = of_weights {
        for ((image, grad), chosen) in
            images.chunks_exact(size.image()).zip(grad.chunks_exact(channels)).zip(chosen.chunks_exact(channels))
        {
            for ((kernel, &g), &at) in of_weights.chunks_exact_mut(size.kernel()).zip(grad).zip(chosen) {
                for (kernel, row) in kernel.chunks_exact_mut(size.width).zip(image.chunks_exact(size.taus)) {
                    for (weight, &x) in kernel.iter_mut().zip(row[at as usize..].iter().step_by(size.dilation)) {
                        *weight += g * x;
                    }
                }
            }
        }
    }
    if let Some(of_images) = of_images {
        let rows = of_images.chunks_exact_mut(size.image());
        for ((image, grad), chosen) in rows.zip(grad.chunks_exact(channels)).zip(chosen.chunks_exact(channels)) {
            for ((kernel, &g), &at) in weights.chunks_exact(size.kernel()).zip(grad).zip(chosen) {
                for (kernel, row) in kernel.chunks_exact(size.width).zip(image.chunks_exact_mut(size.taus)) {
                    for (&weight, x) in kernel.iter().zip(row[at as usize..].iter_mut().step_by(size.dilation)) {
                        *x += g * weight;
                    }
                }
            }
        }
    }
}
