//! Rows of the radial kernel in single precision, computed when they are first asked for and kept while they fit.

use super::matrix::KernelRows;
use super::passes::dispatch;
use crate::element::exp_negative;
use crate::pairwise::padded;

/// e^(-γ d) in place of squared distances d; 3·10⁻⁷, in vectors.
struct Exponentials<'a>(&'a mut [f32], f32);

impl pulp::WithSimd for Exponentials<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self(values, gamma) = self;
        for value in values {
            *value = exp_negative(-gamma * *value);
        }
    }
}

/// Squared distances of a point to the columns of `columns`, `[width, count]`.
struct Distances<'a>(&'a [f32], &'a [f32], &'a mut [f32]);

impl pulp::WithSimd for Distances<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self(point, columns, distances) = self;
        distances.fill(0.);
        for (&coordinate, column) in point.iter().zip(columns.chunks_exact(distances.len())) {
            for (distance, &other) in distances.iter_mut().zip(column) {
                let difference = coordinate - other;
                *distance += difference * difference;
            }
        }
    }
}

/// The radial kernel between a point and the columns of `columns`, `[width, count]`.
pub(crate) fn radial(point: &[f32], columns: &[f32], gamma: f64, values: &mut [f32]) {
    dispatch(Distances(point, columns, values));
    dispatch(Exponentials(values, gamma as f32));
}

/// Points side by side, `[width, padded(points)]` or, without padding, `[width, points]`.
pub(crate) fn columns(points: &[&[f32]], width: usize, count: usize) -> Vec<f32> {
    let missing = count - points.len();
    let column = |at: usize| points.iter().map(move |point| point[at]).chain(std::iter::repeat_n(0., missing));
    (0..width).flat_map(column).collect()
}

/// Bytes of kept rows.
const CACHE: usize = 256 << 20;

pub(crate) struct CachedRows<'a> {
    rows: Vec<Option<Box<[f32]>>>,
    points: &'a [&'a [f32]],
    columns: Vec<f32>,
    diagonal: Vec<f64>,
    gamma: f64,
    /// How many more rows are kept.
    room: usize,
    /// Rows for which there was no room.
    spare: [(usize, Box<[f32]>); 2],
}

impl<'a> CachedRows<'a> {
    pub(crate) fn new(points: &'a [&'a [f32]], width: usize, gamma: f64) -> Self {
        let stride = padded(points.len());
        Self {
            rows: vec![None; points.len()],
            points,
            columns: columns(points, width, stride),
            diagonal: vec![1.; points.len()],
            gamma,
            room: CACHE / (4 * stride.max(1)),
            spare: [(usize::MAX, Box::default()), (usize::MAX, Box::default())],
        }
    }
}

impl KernelRows for CachedRows<'_> {
    type Value = f32;

    fn diagonal(&self) -> &[f64] {
        &self.diagonal
    }

    fn prepare(&mut self, row: usize, slot: usize) {
        if self.rows[row].is_some() || self.spare.iter().any(|(of, _)| *of == row) {
            return;
        }
        let mut values = vec![0.; padded(self.points.len())].into_boxed_slice();
        radial(self.points[row], &self.columns, self.gamma, &mut values);
        if self.room == 0 {
            self.spare[slot] = (row, values);
        } else {
            self.room -= 1;
            self.rows[row] = Some(values);
        }
    }

    fn row(&self, row: usize) -> &[f32] {
        match &self.rows[row] {
            Some(values) => values,
            None => &self.spare[usize::from(self.spare[1].0 == row)].1,
        }
    }
}
