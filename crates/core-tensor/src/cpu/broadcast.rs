//! Arithmetic of two tensors with broadcasting, and sums over dimensions.

use super::reduce::sum_rows;
use crate::kernel::{
    Gradients, Kernel, Real, collect, for_slices, gather, multiversion, scatter_add, simplified, sum_all,
};
use std::mem::MaybeUninit;

/// An operation of two numbers, and its derivatives.
pub(crate) trait Arithmetic: Copy + Send + Sync + 'static {
    const NAME: &'static str;
    fn value<T: Real>(self, a: T, b: T) -> T;
    /// What the gradient is multiplied with for the first argument.
    fn by_first<T: Real>(self, a: T, b: T) -> T;
    /// What the gradient is multiplied with for the second argument.
    fn by_second<T: Real>(self, a: T, b: T) -> T;
    /// The factors where they are 1 or −1 whatever the arguments are.
    const SIGNS: Option<[f64; 2]> = None;
}

macro_rules! arithmetic {
    ($Name:ident, $text:literal, $signs:expr, |$a:ident, $b:ident| $value:expr, $first:expr, $second:expr) => {
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $Name;

        impl Arithmetic for $Name {
            const NAME: &'static str = $text;
            const SIGNS: Option<[f64; 2]> = $signs;

            #[inline(always)]
            fn value<T: Real>(self, $a: T, $b: T) -> T {
                $value
            }
            #[inline(always)]
            fn by_first<T: Real>(self, $a: T, $b: T) -> T {
                let _ = ($a, $b);
                $first
            }
            #[inline(always)]
            fn by_second<T: Real>(self, $a: T, $b: T) -> T {
                let _ = ($a, $b);
                $second
            }
        }
    };
}

arithmetic!(Add, "add", Some([1., 1.]), |a, b| a + b, T::ONE, T::ONE);
arithmetic!(Sub, "sub", Some([1., -1.]), |a, b| a - b, T::ONE, -T::ONE);
arithmetic!(Mul, "mul", None, |a, b| a * b, b, a);
arithmetic!(Div, "div", None, |a, b| a / b, T::ONE / b, -a / (b * b));

/// A dimension of the result with its strides in both arguments, 0 where one is repeated.
pub(crate) type Pair = (usize, usize, usize);

/// How two contiguous arguments lie in a result of this shape; `None` if they do not fit.
pub(crate) fn pairs(shape: &[usize], a: &[usize], b: &[usize]) -> Option<Vec<Pair>> {
    let strides = |dims: &[usize]| -> Option<Vec<usize>> {
        let missing = shape.len().checked_sub(dims.len())?;
        let (mut stride, mut strides) = (1, vec![0; shape.len()]);
        for (at, &size) in dims.iter().enumerate().rev() {
            match size {
                1 => {}
                size if size == shape[missing + at] => strides[missing + at] = stride,
                _ => return None,
            }
            stride *= size;
        }
        Some(strides)
    };
    let (a, b) = (strides(a)?, strides(b)?);
    let mut pairs: Vec<Pair> = Vec::new();
    for ((&size, a), b) in shape.iter().zip(a).zip(b) {
        if size == 1 {
            continue;
        }
        match pairs.last_mut() {
            Some(last) if last.1 == size * a && last.2 == size * b => *last = (last.0 * size, a, b),
            _ => pairs.push((size, a, b)),
        }
    }
    Some(pairs)
}

fn places(mut row: usize, outer: &[Pair]) -> (usize, usize) {
    let (mut a, mut b) = (0, 0);
    for &(size, by_a, by_b) in outer.iter().rev() {
        a += row % size * by_a;
        b += row % size * by_b;
        row /= size;
    }
    (a, b)
}

multiversion! {
    fn row<T, F: Fn2<T>>(f: F, a: &[T], b: &[T], out: &mut [MaybeUninit<T>]) {
        match (a.len(), b.len()) {
            (1, _) => {
                for (out, &b) in out.iter_mut().zip(b) {
                    out.write(f.of(a[0], b));
                }
            }
            (_, 1) => {
                for (out, &a) in out.iter_mut().zip(a) {
                    out.write(f.of(a, b[0]));
                }
            }
            _ => {
                for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                    out.write(f.of(a, b));
                }
            }
        }
    }
}

/// A function of two elements.
pub(crate) trait Fn2<T>: Copy + Send + Sync {
    fn of(self, a: T, b: T) -> T;
}

#[derive(Clone, Copy)]
struct Value<F>(F);
#[derive(Clone, Copy)]
struct ByFirst<F>(F);
#[derive(Clone, Copy)]
struct BySecond<F>(F);

impl<T: Real, F: Arithmetic> Fn2<T> for Value<F> {
    #[inline(always)]
    fn of(self, a: T, b: T) -> T {
        self.0.value(a, b)
    }
}

impl<T: Real, F: Arithmetic> Fn2<T> for ByFirst<F> {
    #[inline(always)]
    fn of(self, a: T, b: T) -> T {
        self.0.by_first(a, b)
    }
}

impl<T: Real, F: Arithmetic> Fn2<T> for BySecond<F> {
    #[inline(always)]
    fn of(self, a: T, b: T) -> T {
        self.0.by_second(a, b)
    }
}

/// `f` of both arguments, in the result's order.
fn map<T: Real, F: Fn2<T>>(f: F, a: &[T], b: &[T], pairs: &[Pair]) -> Vec<T> {
    let Some((&(last, by_a, by_b), outer)) = pairs.split_last() else {
        return vec![f.of(a[0], b[0])];
    };
    let rows: usize = outer.iter().map(|pair| pair.0).product();
    let part = |at: usize, stride: usize, len: usize| if stride == 0 { at..at + 1 } else { at..at + len };
    if outer.is_empty() {
        // one row: it is cut anywhere
        // SAFETY: every element of each piece is written.
        return unsafe {
            collect(last, 1, 1, |first, out| {
                let (a_at, b_at) = (first * by_a, first * by_b);
                row(f, &a[part(a_at, by_a, out.len())], &b[part(b_at, by_b, out.len())], out);
            })
        };
    }
    // SAFETY: every row is written whole.
    unsafe {
        collect(rows, last, last, |first, out| {
            for (at, out) in (first..).zip(out.chunks_mut(last)) {
                let (a_at, b_at) = places(at, outer);
                row(f, &a[part(a_at, by_a, last)], &b[part(b_at, by_b, last)], out);
            }
        })
    }
}

pub(crate) fn values<T: Real, F: Arithmetic>(f: F, a: &[T], b: &[T], pairs: &[Pair]) -> Vec<T> {
    map(Value(f), a, b, pairs)
}

/// The gradients of those arguments that `needs` marks; `grad` is used up.
pub(crate) fn gradients<T: Real, F: Arithmetic>(
    f: F,
    (a, b): (&[T], &[T]),
    mut grad: Vec<T>,
    pairs: &[Pair],
    needs: [bool; 2],
) -> [Option<Vec<T>>; 2] {
    let is_first_repeated = pairs.iter().any(|pair| pair.1 == 0);
    let is_second_repeated = pairs.iter().any(|pair| pair.2 == 0);
    let by =
        |at: usize| -> Strides { pairs.iter().map(|pair| (pair.0, if at == 0 { pair.1 } else { pair.2 })).collect() };
    let finish = |product: Vec<T>, at: usize, is_repeated: bool, len: usize| {
        if is_repeated { sum_to(&product, &by(at), len) } else { product }
    };
    let mut found = [None, None];
    if needs[1] {
        let product = match F::SIGNS {
            Some([_, 1.]) if is_second_repeated || !needs[0] => None,
            Some([_, 1.]) => Some(grad.clone()),
            Some(_) => Some(map(Negated, &grad, &grad, &[(grad.len(), 1, 1)])),
            None => Some(multiplied(&grad, map(BySecond(f), a, b, pairs))),
        };
        found[1] = Some(match product {
            Some(product) => finish(product, 1, is_second_repeated, b.len()),
            None if is_second_repeated => sum_to(&grad, &by(1), b.len()),
            None => return [None, Some(grad)],
        });
    }
    if needs[0] {
        if F::SIGNS.is_none() {
            grad = multiplied(&grad, map(ByFirst(f), a, b, pairs));
        }
        found[0] = Some(finish(grad, 0, is_first_repeated, a.len()));
    }
    found
}

#[derive(Clone, Copy)]
struct Negated;

impl<T: Real> Fn2<T> for Negated {
    #[inline(always)]
    fn of(self, a: T, _: T) -> T {
        -a
    }
}

multiversion! {
    fn multiply<T>(grad: &[T], factors: &mut [T]) {
        for (factor, &g) in factors.iter_mut().zip(grad) {
            *factor *= g;
        }
    }
}

fn multiplied<T: Real>(grad: &[T], mut factors: Vec<T>) -> Vec<T> {
    for_slices(&mut factors, 1, 1, &|first, factors| multiply(&grad[first..], factors));
    factors
}

/// Sizes of an argument with the strides in a sum of it, 0 over what is added up.
pub(crate) type Strides = Vec<(usize, usize)>;

/// The sums of `x`, each at the place that the strides say, `len` in all.
pub(crate) fn sum_to<T: Real>(x: &[T], strides: &Strides, len: usize) -> Vec<T> {
    let dims = simplified(strides.iter().copied());
    match dims.as_slice() {
        [(_, 0), (width, 1)] => sum_rows(x, *width),
        [(rows, 1), (width, 0)] => sums_of_rows(x, *rows, *width),
        [(_, 0)] => sums_of_rows(x, 1, x.len()),
        _ => {
            let mut sums = vec![T::ZERO; len];
            if !x.is_empty() {
                scatter_add(x, &dims, &mut sums);
            }
            sums
        }
    }
}

fn sums_of_rows<T: Real>(x: &[T], rows: usize, width: usize) -> Vec<T> {
    let mut sums = vec![T::ZERO; rows];
    if width == 0 {
        return sums;
    }
    for_slices(&mut sums, 1, width, &|first, sums| {
        for (sum, x) in sums.iter_mut().zip(x[first * width..].chunks(width)) {
            // Blocks in their own type, their sums in f64.
            let block = |x: &[T]| {
                let mut total = [T::ZERO];
                sum_all(x, &mut total);
                total[0].to_f64()
            };
            *sum = T::of(x.chunks(4096).map(block).sum::<f64>());
        }
    });
    sums
}

/// Sums over dimensions, times a number.
pub(crate) struct SumOver {
    pub(crate) strides: Strides,
    pub(crate) scale: f64,
}

impl Kernel for SumOver {
    const NAME: &'static str = "sum-over";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let len = self.strides.iter().map(|&(size, stride)| if stride == 0 { 1 } else { size }).product();
        let mut sums = sum_to(x[0], &self.strides, len);
        if self.scale != 1. {
            let scale = T::of(self.scale);
            sums.iter_mut().for_each(|sum| *sum *= scale);
        }
        Ok(sums)
    }

    fn backward<T: Real>(
        &self,
        _x: &[&[T]],
        _y: &[T],
        grad: &[T],
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let scale = T::of(self.scale);
        let scaled: Vec<T> = grad.iter().map(|&g| g * scale).collect();
        Ok([Some(gather(&scaled, &simplified(self.strides.iter().copied()))), None, None])
    }
}
