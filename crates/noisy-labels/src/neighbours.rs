//! The exact nearest of many points.
//!
//! Squared distances come from a product of matrices, block by block, with a bound of their rounding error; whatever may be among the nearest by that bound is measured again by differences in f64. So the result is that of f64,
//! whatever the blocks and threads are, and equal points have the distance 0.

use crate::{Error, Result};
use core_tensor::kernel::{Matrix, Real, gemm_strided};
use rayon::prelude::*;
use std::cmp::Ordering;

/// How far apart two points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metric {
    /// `√Σ (a − b)²`.
    #[default]
    Euclidean,
    /// `1 − ⟨a, b⟩ / (|a| |b|)`, computed as half the squared distance of the points scaled to length 1.
    Cosine,
}

/// Points as rows of f32 or f64.
#[derive(Debug, Clone, Copy)]
pub struct Points<'a, T> {
    values: &'a [T],
    width: usize,
}

impl<'a, T: Real> Points<'a, T> {
    /// Rows of `width` numbers.
    ///
    /// # Errors
    ///
    /// A width of 0, a number of values that is not a multiple of it, values that are not finite.
    pub fn new(values: &'a [T], width: usize) -> Result<Self> {
        const OP: &str = "Points";
        if width == 0 {
            return Err(Error::Empty { operation: OP, what: "features" });
        }
        if !values.len().is_multiple_of(width) {
            return Err(Error::length(OP, "values", values.len(), format!("a multiple of {width} features")));
        }
        match values.iter().position(|value| !value.to_f64().is_finite()) {
            Some(position) => {
                let (what, got) = ("the feature", values[position].to_f64());
                Err(Error::Value { operation: OP, what, position, got, expected: "finite" })
            }
            None => Ok(Self { values, width }),
        }
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many features a point has.
    pub fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn row(&self, row: usize) -> &'a [T] {
        &self.values[row * self.width..(row + 1) * self.width]
    }
}

/// The nearest references of each query, by distance and then by number.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    k: usize,
    indices: Vec<u32>,
    distances: Vec<f64>,
}

impl Neighbours {
    /// How many neighbours each query has.
    pub fn k(&self) -> usize {
        self.k
    }

    /// How many queries there are.
    pub fn len(&self) -> usize {
        self.indices.len() / self.k
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// `[queries, k]`: the numbers of the references.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// `[queries, k]`: the distances, ascending; exactly 0 for equal points.
    pub fn distances(&self) -> &[f64] {
        &self.distances
    }

    /// The neighbours of a query with their distances.
    pub fn of(&self, query: usize) -> impl ExactSizeIterator<Item = (u32, f64)> {
        let indices = self.indices.chunks_exact(self.k).nth(query).unwrap_or(&[]);
        let distances = self.distances.chunks_exact(self.k).nth(query).unwrap_or(&[]);
        indices.iter().copied().zip(distances.iter().copied())
    }
}

/// The `k` nearest references of each query, over threads.
///
/// # Errors
///
/// `k` of 0 or more than there are references, other widths, squared lengths that overflow the type, and for [`Metric::Cosine`] points of length 0.
///
/// ```
/// use noisy_labels::neighbours::{Metric, Points, nearest};
///
/// let references = [0f32, 0., 3., 4., 1., 0.];
/// let found = nearest(Points::new(&references, 2)?, Points::new(&[0.9, 0.], 2)?, 2, Metric::Euclidean)?;
/// assert_eq!(found.indices(), [2, 0]);
/// # Ok::<(), noisy_labels::Error>(())
/// ```
pub fn nearest<T: Real>(
    references: Points<'_, T>,
    queries: Points<'_, T>,
    k: usize,
    metric: Metric,
) -> Result<Neighbours> {
    search("nearest", references, queries, k, metric, false)
}

/// The `k` nearest other points of each point: the graph of neighbours. A point is no neighbour of itself; another one that is equal to it is, at distance 0.
///
/// # Errors
///
/// As for [`nearest`]; `k` must be less than the number of points.
pub fn nearest_others<T: Real>(points: Points<'_, T>, k: usize, metric: Metric) -> Result<Neighbours> {
    search("nearest_others", points, points, k, metric, true)
}

/// Queries and references of a block: their products stay in the second-level cache.
const QUERIES: usize = 128;
const REFERENCES: usize = 1024;
/// Products that are looked at together.
const LANES: usize = 32;

fn search<T: Real>(
    operation: &'static str,
    references: Points<'_, T>,
    queries: Points<'_, T>,
    k: usize,
    metric: Metric,
    without_self: bool,
) -> Result<Neighbours> {
    let available = references.len() - usize::from(without_self && !references.is_empty());
    if k == 0 || k > available {
        return Err(Error::config(operation, "k", k, "at least 1 and at most the number of references"));
    }
    if queries.width != references.width {
        return Err(Error::length(operation, "features of a query", queries.width, references.width));
    }
    if references.len() > u32::MAX as usize {
        return Err(Error::length(operation, "references", references.len(), "fewer than 2^32"));
    }
    let width = references.width;
    let centre = match metric {
        Metric::Euclidean => mean(references),
        Metric::Cosine => vec![0.; width],
    };
    let near = |points: Points<'_, T>, what| Prepared::new(operation, what, points, metric, &centre);
    let prepared = near(references, "the squared length of reference")?;
    let asked = if without_self { None } else { Some(near(queries, "the squared length of query")?) };
    let asked = asked.as_ref().unwrap_or(&prepared);
    let exact = |query: usize, reference: usize| {
        let (a, b) = (queries.row(query), references.row(reference));
        let (a_scale, b_scale) = (asked.scales[query], prepared.scales[reference]);
        let square = |(&a, &b): (&T, &T)| {
            let difference = a.to_f64() * a_scale - b.to_f64() * b_scale;
            difference * difference
        };
        a.iter().zip(b).map(square).sum::<f64>()
    };
    let mut indices = vec![0u32; queries.len() * k];
    let mut distances = vec![0f64; queries.len() * k];
    indices.par_chunks_mut(QUERIES * k).zip(distances.par_chunks_mut(QUERIES * k)).enumerate().for_each(
        |(block, (indices, distances))| {
            let first = block * QUERIES;
            let count = indices.len() / k;
            let mut lists: Vec<List> = (0..count).map(|_| List::new(k)).collect();
            let mut products = vec![T::ZERO; count * REFERENCES];
            for start in (0..references.len()).step_by(REFERENCES) {
                let size = REFERENCES.min(references.len() - start);
                let left = Matrix::new(&asked.values[first * width..], count, width);
                let right = Matrix::new(&prepared.values[start * width..], size, width).t();
                gemm_strided(left, right, &mut products, size, false, false);
                for (at, list) in lists.iter_mut().enumerate() {
                    let row = &products[at * size..(at + 1) * size];
                    let own = without_self.then_some(first + at);
                    list.add(asked.squares[first + at], row, &prepared, start, own);
                }
            }
            let sides = lists.into_iter().zip(indices.chunks_exact_mut(k).zip(distances.chunks_exact_mut(k)));
            for (at, (list, (indices, distances))) in sides.enumerate() {
                let mut measured: Vec<(f64, u32)> =
                    list.candidates().map(|reference| (exact(first + at, reference as usize), reference)).collect();
                measured.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                for ((square, reference), (index, distance)) in
                    measured.into_iter().zip(indices.iter_mut().zip(distances))
                {
                    *index = reference;
                    *distance = match metric {
                        Metric::Euclidean => square.sqrt(),
                        Metric::Cosine => 0.5 * square,
                    };
                }
            }
        },
    );
    Ok(Neighbours { k, indices, distances })
}

fn mean<T: Real>(points: Points<'_, T>) -> Vec<f64> {
    let mut sums = vec![0f64; points.width];
    for row in points.values.chunks_exact(points.width) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value.to_f64());
    }
    sums.iter_mut().for_each(|sum| *sum /= points.len().max(1) as f64);
    sums
}

/// Points as the product of matrices takes them: less the centre, since distances are small beside lengths that are large, or scaled to length 1.
struct Prepared<T> {
    values: Vec<T>,
    /// The squared lengths of these.
    squares: Vec<f64>,
    /// Half of these, less the rounding error.
    halves: Vec<T>,
    /// The largest of them.
    largest: f64,
    /// What the original points are multiplied with.
    scales: Vec<f64>,
    /// The rounding error of `|a|² + |b|² − 2 ⟨a, b⟩` is at most this times `|a|² + |b|²`.
    bound: f64,
    /// The rounding error of a difference and a threshold in the type, over `|a|² + |b|²`.
    slack: f64,
}

impl<T: Real> Prepared<T> {
    fn new(
        operation: &'static str,
        what: &'static str,
        points: Points<'_, T>,
        metric: Metric,
        centre: &[f64],
    ) -> Result<Self> {
        let mut values = Vec::with_capacity(points.values.len());
        let (mut squares, mut scales) = (Vec::with_capacity(points.len()), Vec::with_capacity(points.len()));
        for (position, row) in points.values.chunks_exact(points.width).enumerate() {
            let scale = match metric {
                Metric::Euclidean => 1.,
                Metric::Cosine => {
                    let square: f64 = row.iter().map(|value| value.to_f64() * value.to_f64()).sum();
                    if square == 0. {
                        let expected = "above 0 for the cosine";
                        return Err(Error::Value { operation, what, position, got: square, expected });
                    }
                    1. / square.sqrt()
                }
            };
            let start = values.len();
            values.extend(row.iter().zip(centre).map(|(value, centre)| T::of(value.to_f64() * scale - centre)));
            let square: f64 = values[start..].iter().map(|value: &T| value.to_f64() * value.to_f64()).sum();
            // Sums of two of them, and products, must not overflow.
            if !T::of(4. * square).to_f64().is_finite() {
                return Err(Error::Value { operation, what, position, got: square, expected: "finite, four times" });
            }
            squares.push(square);
            scales.push(scale);
        }
        // The unit roundoff: a sum of `width` products is rounded as often, and the values and the result a few times.
        let unit = if T::of(1. + 1e-10) == T::ONE { f64::from(f32::EPSILON) } else { f64::EPSILON } / 2.;
        let bound = (points.width as f64 + 16.) * unit * 1.01;
        let halves = squares.iter().map(|square| T::of(0.5 * (1. - bound) * square)).collect();
        let largest = squares.iter().copied().fold(0., f64::max);
        Ok(Self { values, squares, halves, largest, scales, bound, slack: 8. * unit })
    }
}

/// What may be among the `k` nearest, as far as approximate distances tell.
struct List {
    k: usize,
    /// The `k` smallest upper bounds so far, the largest first.
    upper: std::collections::BinaryHeap<Ordered>,
    /// Lower bounds of those that may be.
    kept: Vec<(f64, u32)>,
}

#[derive(PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl List {
    fn new(k: usize) -> Self {
        Self { k, upper: std::collections::BinaryHeap::with_capacity(k + 1), kept: Vec::new() }
    }

    /// The `k`-th smallest upper bound: what is certainly farther is out.
    fn limit(&self) -> f64 {
        if self.upper.len() < self.k {
            f64::INFINITY
        } else {
            self.upper.peek().map_or(f64::INFINITY, |largest| largest.0)
        }
    }

    fn add<T: Real>(
        &mut self,
        own: f64,
        products: &[T],
        references: &Prepared<T>,
        first: usize,
        without: Option<usize>,
    ) {
        let Prepared { bound, slack, largest, .. } = *references;
        let size = products.len();
        let (squares, halves) = (&references.squares[first..first + size], &references.halves[first..first + size]);
        let mut limit = self.limit();
        let parts = products.chunks(LANES).zip(squares.chunks(LANES).zip(halves.chunks(LANES)));
        for (part, (products, (squares, halves))) in parts.enumerate() {
            // `lower ≤ limit` is `product − (1 − bound) square / 2 ≥ ((1 − bound) own − limit) / 2`, here in the type of the products with room for its rounding: most parts hold nothing.
            let threshold = T::of(0.5 * ((1. - bound) * own - limit) - slack * (own + largest));
            let may_hold =
                products.iter().zip(halves).fold(false, |any, (product, half)| any | (*product - *half >= threshold));
            if !may_hold {
                continue;
            }
            for (at, (product, square)) in products.iter().zip(squares).enumerate() {
                let at = first + part * LANES + at;
                let size = own + square;
                let lower = (1. - bound) * size - 2. * product.to_f64();
                if lower > limit || without == Some(at) {
                    continue;
                }
                self.kept.push((lower, at as u32));
                self.upper.push(Ordered((1. + bound) * size - 2. * product.to_f64()));
                if self.upper.len() > self.k {
                    self.upper.pop();
                }
                limit = self.limit();
            }
        }
        if self.kept.len() > 4 * self.k + 64 {
            self.kept.retain(|(lower, _)| *lower <= limit);
        }
    }

    fn candidates(self) -> impl Iterator<Item = u32> {
        let limit = self.limit();
        self.kept.into_iter().filter(move |(lower, _)| *lower <= limit).map(|(_, reference)| reference)
    }
}
