//! Layer norm over the sensors, which are not the last axis, without parameters.

use candle_core::{Result, Tensor};
use core_tensor::kernel::{Gradients, Kernel, Real, apply, multiversion};
use rayon::prelude::*;

struct NodeNorm {
    nodes: usize,
    columns: usize,
    eps: f64,
}

multiversion! {
    /// The norm of one item `x` `[nodes, columns]`, or from the gradient of the result that of `x`; `inverse` is one over the number of nodes.
    fn norm_item<T>(columns: usize, inverse: T, eps: T, x: &[T], grad: Option<&[T]>, out: &mut [T]) {
        let (mut mean, mut scale) = (vec![T::ZERO; columns], vec![T::ZERO; columns]);
        for row in x.chunks_exact(columns) {
            mean.iter_mut().zip(row).for_each(|(mean, &x)| *mean += x * inverse);
        }
        for row in x.chunks_exact(columns) {
            scale.iter_mut().zip(row).zip(&mean).for_each(|((sum, &x), &mean)| *sum += (x - mean) * (x - mean));
        }
        scale.iter_mut().for_each(|s| *s = T::ONE / Real::sqrt(*s * inverse + eps));
        let Some(grad) = grad else {
            for (out, row) in out.chunks_exact_mut(columns).zip(x.chunks_exact(columns)) {
                let numbers = row.iter().zip(&mean).zip(&scale);
                out.iter_mut().zip(numbers).for_each(|(out, ((&x, &mean), &scale))| *out = (x - mean) * scale);
            }
            return;
        };
        let (mut sums, mut products) = (vec![T::ZERO; columns], vec![T::ZERO; columns]);
        for (row, grad) in x.chunks_exact(columns).zip(grad.chunks_exact(columns)) {
            let numbers = row.iter().zip(grad).zip(mean.iter().zip(&scale));
            for ((sum, product), ((&x, &g), (&mean, &scale))) in sums.iter_mut().zip(&mut products).zip(numbers) {
                *sum += g * inverse;
                *product += g * (x - mean) * scale * inverse;
            }
        }
        for ((out, row), grad) in
            out.chunks_exact_mut(columns).zip(x.chunks_exact(columns)).zip(grad.chunks_exact(columns))
        {
            let numbers = row.iter().zip(grad).zip(mean.iter().zip(&scale)).zip(sums.iter().zip(&products));
            for (out, (((&x, &g), (&mean, &scale)), (&sum, &product))) in out.iter_mut().zip(numbers) {
                *out = scale * (g - sum - (x - mean) * scale * product);
            }
        }
    }
}

impl NodeNorm {
    fn run<T: Real>(&self, x: &[T], grad: Option<&[T]>) -> Vec<T> {
        let mut out = vec![T::ZERO; x.len()];
        let (item, columns) = (self.nodes * self.columns, self.columns);
        let (inverse, eps) = (T::from_f64(1. / self.nodes as f64), T::from_f64(self.eps));
        out.par_chunks_mut(item).enumerate().for_each(|(at, out)| {
            let part = |x| -> &[T] {
                let x: &[T] = x;
                &x[at * item..(at + 1) * item]
            };
            norm_item(columns, inverse, eps, part(x), grad.map(part), out);
        });
        out
    }
}

impl Kernel for NodeNorm {
    const NAME: &'static str = "norm over nodes";

    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>> {
        Ok(self.run(x[0], None))
    }

    fn backward<T: Real>(&self, x: &[&[T]], _y: &[T], grad: &[T], _needs: [bool; 3]) -> Result<Gradients<T>> {
        Ok([Some(self.run(x[0], Some(grad))), None, None])
    }
}

/// `(x − mean) / √(variance + eps)` over the nodes of `x` `[batch, nodes, columns]`.
pub(super) fn node_norm(x: &Tensor, eps: f64) -> Result<Tensor> {
    let (_, nodes, columns) = x.dims3()?;
    if !x.device().is_cpu() {
        return node_norm_composed(x, eps);
    }
    Ok(apply(NodeNorm { nodes, columns, eps }, &[x], x.shape())?)
}

fn node_norm_composed(x: &Tensor, eps: f64) -> Result<Tensor> {
    let centered = x.broadcast_sub(&x.mean_keepdim(1)?)?;
    let variance = centered.sqr()?.mean_keepdim(1)?;
    centered.broadcast_div(&(variance + eps)?.sqrt()?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_equal;
    use super::*;
    use core_tensor::random::Rng;

    #[test]
    fn the_kernel_equals_its_composition() {
        let x = Rng::new(1).normal(1., 2., (3, 7, 5), candle_core::DType::F64, &candle_core::Device::Cpu).unwrap();
        assert_equal(&[x], |x| node_norm(&x[0], 1e-5), |x| node_norm_composed(&x[0], 1e-5));
    }
}
