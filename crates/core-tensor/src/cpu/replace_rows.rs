//! Some rows in the place of others.

use crate::kernel::{Gradients, Kernel, Real};
use candle_core::Result;

/// `x` with row `rows[i]` replaced by row `i` of the second argument; no row is named twice.
pub(crate) struct ReplaceRows {
    pub(crate) rows: Vec<u32>,
    pub(crate) width: usize,
}

impl ReplaceRows {
    fn row(&self, row: u32) -> std::ops::Range<usize> {
        row as usize * self.width..(row as usize + 1) * self.width
    }

    fn without<T: Real>(&self, mut grad: Vec<T>) -> Vec<T> {
        for &row in &self.rows {
            grad[self.row(row)].fill(T::ZERO);
        }
        grad
    }

    fn picked<T: Real>(&self, grad: &[T]) -> Vec<T> {
        let mut picked = Vec::with_capacity(self.rows.len() * self.width);
        for &row in &self.rows {
            picked.extend_from_slice(&grad[self.row(row)]);
        }
        picked
    }
}

impl Kernel for ReplaceRows {
    const NAME: &'static str = "replace_rows";

    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>> {
        let mut y = x[0].to_vec();
        for (i, &row) in self.rows.iter().enumerate() {
            y[self.row(row)].copy_from_slice(&x[1][i * self.width..(i + 1) * self.width]);
        }
        Ok(y)
    }

    fn backward<T: Real>(&self, _: &[&[T]], _: &[T], grad: &[T], needs: [bool; 3]) -> Result<Gradients<T>> {
        let of_rows = needs[1].then(|| self.picked(grad));
        Ok([needs[0].then(|| self.without(grad.to_vec())), of_rows, None])
    }

    fn backward_in_place<T: Real>(&self, _: &[&[T]], _: &[T], grad: Vec<T>, needs: [bool; 3]) -> Result<Gradients<T>> {
        let of_rows = needs[1].then(|| self.picked(&grad));
        Ok([needs[0].then(|| self.without(grad)), of_rows, None])
    }
}
