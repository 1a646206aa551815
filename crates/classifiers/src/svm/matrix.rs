//! Rows of a kernel matrix, for the solver.

use crate::element::Element;
use crate::pairwise::padded;

/// A symmetric matrix whose rows are padded to whole blocks of lanes.
pub(crate) trait KernelRows {
    /// What the rows are made of.
    type Value: Element;

    /// The diagonal, `[len]`.
    fn diagonal(&self) -> &[f64];

    /// Makes a row ready; `slot` 0 or 1 says in which of two places it may lie until the slot is used again.
    fn prepare(&mut self, row: usize, slot: usize);

    /// A row that is ready.
    fn row(&self, row: usize) -> &[Self::Value];

    /// Leaves only these rows and columns, if it can.
    fn restrict(&mut self, _kept: &[usize]) -> bool {
        false
    }

    /// All rows and columns again.
    fn restore(&mut self) {}
}

/// A matrix in memory; its lists can be filled anew.
#[derive(Default)]
pub(crate) struct DenseMatrix<T> {
    len: usize,
    /// `[len, padded(len)]`
    values: Vec<T>,
    diagonal: Vec<f64>,
    /// The rows and columns that are left, if not all.
    kept: Option<Vec<usize>>,
    /// The matrix of these.
    restricted: Vec<T>,
    /// Room for the next such matrix.
    spare: Vec<T>,
}

impl<T: Element> DenseMatrix<T> {
    /// Takes the values `[len, padded(len)]` that `fill` writes.
    pub(crate) fn fill(&mut self, len: usize, fill: impl FnOnce(&mut Vec<T>)) {
        fill(&mut self.values);
        let stride = padded(len);
        self.diagonal.clear();
        self.diagonal.extend((0..len).map(|at| -> f64 { self.values[at * stride + at].into() }));
        (self.len, self.kept) = (len, None);
    }

    /// The matrix of some rows and columns.
    pub(crate) fn part(&self, rows: &[usize]) -> Self {
        let mut part = Self::default();
        part.fill(rows.len(), |values| gather(&self.values, padded(self.len), rows, values));
        part
    }
}

fn gather<T: Element>(values: &[T], stride: usize, rows: &[usize], part: &mut Vec<T>) {
    let width = padded(rows.len());
    part.resize(rows.len() * width, T::default());
    for (to, &from) in part.chunks_exact_mut(width).zip(rows) {
        let from = &values[from * stride..(from + 1) * stride];
        to.iter_mut().zip(rows).for_each(|(to, &column)| *to = from[column]);
        to[rows.len()..].fill(T::default());
    }
}

impl<T: Element> KernelRows for DenseMatrix<T> {
    type Value = T;

    fn diagonal(&self) -> &[f64] {
        &self.diagonal
    }

    fn prepare(&mut self, _: usize, _: usize) {}

    #[inline]
    fn row(&self, row: usize) -> &[T] {
        let (len, values) = match &self.kept {
            Some(kept) => (kept.len(), &self.restricted),
            None => (self.len, &self.values),
        };
        let stride = padded(len);
        &values[row * stride..(row + 1) * stride]
    }

    fn restrict(&mut self, kept: &[usize]) -> bool {
        self.kept = Some(match self.kept.take() {
            Some(before) => {
                gather(&self.restricted, padded(before.len()), kept, &mut self.spare);
                std::mem::swap(&mut self.restricted, &mut self.spare);
                kept.iter().map(|&at| before[at]).collect()
            }
            None => {
                gather(&self.values, padded(self.len), kept, &mut self.restricted);
                kept.to_vec()
            }
        });
        true
    }

    fn restore(&mut self) {
        self.kept = None;
    }
}
