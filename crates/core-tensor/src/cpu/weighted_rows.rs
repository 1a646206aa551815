//! Weighted sums of rows by place.

use crate::kernel::{self, Gradients, Kernel, Parts, Real, for_slices, for_tasks, multiversion};

pub(crate) struct WeightedRows {
    pub(crate) places: Vec<Option<u32>>,
    pub(crate) rows: usize,
    pub(crate) k: usize,
    pub(crate) width: usize,
}

multiversion! {
    fn add_scaled<T>(factor: T, from: &[T], out: &mut [T]) {
        for (out, &v) in out.iter_mut().zip(from) {
            *out = factor.mul_add(v, *out);
        }
    }
}

multiversion! {
    fn dot<T>(a: &[T], b: &[T], out: &mut T) {
        *out = kernel::dot(a, b);
    }
}

impl Kernel for WeightedRows {
    const NAME: &'static str = "weighted_rows";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let width = self.width;
        let mut out = vec![T::ZERO; self.rows * width];
        if width > 0 {
            for_slices(&mut out, width, 2 * self.k * width, &|first, out| {
                for (row, out) in (first..).zip(out.chunks_exact_mut(width)) {
                    for at in row * self.k..(row + 1) * self.k {
                        let Some(place) = self.places[at] else { continue };
                        let factor = x.get(1).map_or(T::ONE, |weights| weights[at]);
                        add_scaled(factor, &x[0][place as usize * width..][..width], out);
                    }
                }
            });
        }
        Ok(out)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let width = self.width;
        let mut by_y = vec![T::ZERO; x[0].len()];
        let mut by_weights = vec![T::ZERO; x.get(1).map_or(0, |weights| weights.len())];
        let (y_parts, weight_parts) = (Parts::new(&mut by_y), Parts::new(&mut by_weights));
        for_tasks(self.rows, 3 * self.k * width, &|row| {
            let grad = &grad[row * width..(row + 1) * width];
            for at in row * self.k..(row + 1) * self.k {
                let Some(place) = self.places[at] else { continue };
                let begin = place as usize * width;
                let factor = x.get(1).map_or(T::ONE, |weights| weights[at]);
                if needs[0] {
                    // SAFETY: no place is used twice.
                    add_scaled(factor, grad, unsafe { y_parts.slice(begin, width) });
                }
                if needs[1] {
                    // SAFETY: each weight belongs to one row.
                    dot(grad, &x[0][begin..begin + width], &mut unsafe { weight_parts.slice(at, 1) }[0]);
                }
            }
        });
        Ok([Some(by_y), needs[1].then_some(by_weights), None])
    }
}
