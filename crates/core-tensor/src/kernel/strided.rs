//! Copies and sums of elements in another order: what transposed, permuted, narrowed and broadcast tensors need.

use super::{Extent, Real, for_slices, transpose_into, written};

/// Sizes with the strides of a tensor beside them: one pair for each dimension that matters.
pub(crate) type Dims = Vec<(usize, usize)>;

/// Without dimensions of one element, and with neighbours joined that lie in memory like one.
pub(crate) fn simplified(dims: impl IntoIterator<Item = (usize, usize)>) -> Dims {
    let mut simple: Dims = Vec::new();
    for (size, stride) in dims {
        if size == 1 {
            continue;
        }
        match simple.last_mut() {
            Some(last) if last.1 == size * stride => *last = (last.0 * size, stride),
            _ => simple.push((size, stride)),
        }
    }
    simple
}

/// Where the element at `at`, counted in row-major order over `dims`, lies.
fn place(mut at: usize, dims: &[(usize, usize)]) -> usize {
    let mut place = 0;
    for &(size, stride) in dims.iter().rev() {
        place += at % size * stride;
        at /= size;
    }
    place
}

/// The elements of `x` at the places that `dims` say, in row-major order, over threads.
///
/// # Panics
/// When a place lies outside `x`.
pub(crate) fn gather<T: Real>(x: &[T], dims: &Dims) -> Vec<T> {
    let len: usize = dims.iter().map(|&(size, _)| size).product();
    if len == 0 {
        return Vec::new();
    }
    // SAFETY: every element is written, and none is read.
    unsafe { written(len, |out| gather_into(x, dims, out)) }
}

fn gather_into<T: Real>(x: &[T], dims: &Dims, out: &mut [T]) {
    let Some((&(last, stride), outer)) = dims.split_last() else {
        out[0] = x[0];
        return;
    };
    if stride == 1 {
        for_slices(out, last, last, &|first, out| {
            for (row, out) in (first..).zip(out.chunks_mut(last)) {
                let start = place(row, outer);
                out.copy_from_slice(&x[start..start + last]);
            }
        });
        return;
    }
    if let Some(at) = outer.iter().position(|&(_, stride)| stride == 1) {
        // Planes of the last dimension and the one whose elements are neighbours: transposed matrices, between which others may lie.
        let (columns, between) = (outer[at].0, &outer[at + 1..]);
        let count: usize = between.iter().map(|&(size, _)| size).product();
        let plane = columns * count * last;
        for_slices(out, plane, plane, &|first, out| {
            for (at_outer, out) in (first..).zip(out.chunks_mut(plane)) {
                let start = place(at_outer, &outer[..at]);
                for at_between in 0..count {
                    let x = &x[start + place(at_between, between)..];
                    let extent = Extent { rows: last, columns, stride, out_stride: count * last };
                    transpose_into(x, extent, &mut out[at_between * last..]);
                }
            }
        });
        return;
    }
    for_slices(out, last, last, &|first, out| {
        for (row, out) in (first..).zip(out.chunks_mut(last)) {
            let start = place(row, outer);
            for (at, out) in out.iter_mut().enumerate() {
                *out = x[start + at * stride];
            }
        }
    });
}

/// Adds `x`, in row-major order over `dims`, to the places of `sum` that they say. Places may coincide.
///
/// # Panics
/// When a place lies outside `sum`, or `x` has another number of elements.
pub(crate) fn scatter_add<T: Real>(x: &[T], dims: &Dims, sum: &mut [T]) {
    assert_eq!(x.len(), dims.iter().map(|&(size, _)| size).product::<usize>(), "elements and places");
    let Some((&(last, stride), outer)) = dims.split_last() else {
        sum[0] += x[0];
        return;
    };
    if last == 0 {
        return;
    }
    // The outermost dimension cuts the sum into pieces if nothing else reaches over its stride.
    let piece = dims[0].1;
    let within: usize = dims[1..].iter().map(|&(size, stride)| size.saturating_sub(1) * stride).sum();
    if dims.len() > 1 && piece > within {
        let inner = &dims[1..];
        let rows: usize = inner.iter().map(|&(size, _)| size).product();
        for_slices(sum, piece, rows, &|first, sum| {
            for (at, sum) in (first..).zip(sum.chunks_mut(piece)).take_while(|(at, _)| *at < dims[0].0) {
                scatter_rows(&x[at * rows..][..rows], &inner[..inner.len() - 1], (last, stride), sum);
            }
        });
    } else {
        scatter_rows(x, outer, (last, stride), sum);
    }
}

fn scatter_rows<T: Real>(x: &[T], outer: &[(usize, usize)], (last, stride): (usize, usize), sum: &mut [T]) {
    for (row, x) in x.chunks(last).enumerate() {
        let sum = &mut sum[place(row, outer)..];
        match stride {
            0 => sum[0] += x.iter().fold(T::ZERO, |total, &x| total + x),
            1 => sum.iter_mut().zip(x).for_each(|(sum, &x)| *sum += x),
            _ => sum.iter_mut().step_by(stride).zip(x).for_each(|(sum, &x)| *sum += x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(dims: &[(usize, usize)]) -> Vec<usize> {
        let len = dims.iter().map(|&(size, _)| size).product();
        (0..len).map(|at| place(at, dims)).collect()
    }

    #[test]
    fn elements_come_from_and_go_to_their_places() {
        let cases: [&[(usize, usize)]; 10] = [
            &[(3, 4), (4, 1)],
            &[(4, 1), (3, 4)],
            &[(2, 60), (5, 1), (3, 20), (4, 5)],
            &[(2, 60), (3, 20), (5, 1), (4, 5)],
            &[(5, 2), (3, 10)],
            &[(7, 0), (3, 1)],
            &[(3, 1), (7, 0)],
            &[(4, 2), (3, 1)],
            &[(130, 1), (70, 130)],
            &[],
        ];
        for dims in cases {
            let simple = simplified(dims.iter().copied());
            let expected = places(dims);
            assert_eq!(places(&simple), expected, "{dims:?}");
            let x: Vec<f64> = (0..10_000).map(f64::from).collect();
            assert_eq!(gather(&x, &simple), expected.iter().map(|&at| at as f64).collect::<Vec<_>>(), "{dims:?}");
            let values: Vec<f64> = (0..expected.len()).map(|at| at as f64 + 1.).collect();
            let mut sum = vec![0.5; expected.iter().max().unwrap() + 1];
            let mut right = sum.clone();
            expected.iter().zip(&values).for_each(|(&at, value)| right[at] += value);
            scatter_add(&values, &simple, &mut sum);
            assert_eq!(sum, right, "{dims:?}");
        }
        assert_eq!(simplified([(1, 9), (2, 12), (3, 4), (1, 0), (4, 1)]), [(24, 1)]);
    }
}
