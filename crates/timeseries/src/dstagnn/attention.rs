//! Temporal attention on signals of many sensors, as differentiable operations.
//!
//! Queries, keys and values are `[batch, heads · width, time, maps]`: attention runs over time, separately in each of the maps, which lie side by side in memory and fill registers.

use candle_core::{Result, Tensor};
use core_tensor::kernel::{Gradients, Kernel, Real, apply, multiversion};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The axis over which temporal attention weights sum to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AttentionNormalisation {
    /// The queries: the weights of each key sum to one. What the authors' program does.
    #[default]
    Query,
    /// The keys: the weights of each query sum to one. What the paper's formula says.
    Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AttentionSize {
    pub(super) heads: usize,
    pub(super) width: usize,
    pub(super) time: usize,
    pub(super) maps: usize,
}

impl AttentionSize {
    fn row(&self) -> usize {
        self.time * self.maps
    }
    /// Elements of the queries, keys or values of one item.
    fn item(&self) -> usize {
        self.heads * self.width * self.row()
    }
    /// Elements of the scores of one head.
    fn scores(&self) -> usize {
        self.time * self.time * self.maps
    }
}

#[inline(always)]
fn add_product<T: Real>(out: &mut [T], a: &[T], b: &[T]) {
    out.iter_mut().zip(a).zip(b).for_each(|((out, &a), &b)| *out += a * b);
}

#[derive(Clone, Copy)]
enum Kind {
    /// `out[t, s] += a[e, t] b[e, s]`
    Outer,
    /// `out[e, t] += a[t, s] b[e, s]`
    OverSecond,
    /// `out[e, s] += a[t, s] b[e, t]`
    OverFirst,
}

multiversion! {
    /// One pass over the features of a head, for all pairs of times: adds to `out`.
    fn pairs<T>(kind: Kind, size: AttentionSize, out: &mut [T], a: &[T], b: &[T]) {
        let (maps, time, row) = (size.maps, size.time, size.row());
        let at = |t: usize| t * maps..(t + 1) * maps;
        let pair = |t: usize, s: usize| at(t * time + s);
        for e in 0..size.width {
            let feature = e * row..(e + 1) * row;
            for t in 0..time {
                for s in 0..time {
                    match kind {
                        Kind::Outer => {
                            add_product(&mut out[pair(t, s)], &a[feature.clone()][at(t)], &b[feature.clone()][at(s)]);
                        }
                        Kind::OverSecond => {
                            add_product(&mut out[feature.clone()][at(t)], &a[pair(t, s)], &b[feature.clone()][at(s)]);
                        }
                        Kind::OverFirst => {
                            add_product(&mut out[feature.clone()][at(s)], &a[pair(t, s)], &b[feature.clone()][at(t)]);
                        }
                    }
                }
            }
        }
    }
}

struct Scores {
    size: AttentionSize,
    /// The maps of the scores that are carried over: all, one for all, or none.
    carried: usize,
}

impl Kernel for Scores {
    const NAME: &'static str = "temporal scores";

    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>> {
        let size = self.size;
        let (head, scale) = (size.width * size.row(), T::from_f64((size.width as f64).powf(-0.5)));
        let batch = x[0].len() / (2 * size.item());
        let mut out = vec![T::ZERO; batch * size.heads * size.scores()];
        out.par_chunks_mut(size.scores()).enumerate().for_each(|(at, out)| {
            let (item, h) = (at / size.heads, at % size.heads);
            let (q, k) = x[0][item * 2 * size.item()..(item + 1) * 2 * size.item()].split_at(size.item());
            pairs(Kind::Outer, size, out, &q[h * head..(h + 1) * head], &k[h * head..(h + 1) * head]);
            out.iter_mut().for_each(|s| *s *= scale);
            if self.carried > 0 {
                let count = size.time * size.time * self.carried;
                let carried = &x[1][at * count..(at + 1) * count];
                for (out, carried) in out.chunks_exact_mut(size.maps).zip(carried.chunks_exact(self.carried)) {
                    if self.carried == size.maps {
                        out.iter_mut().zip(carried).for_each(|(s, &c)| *s += c);
                    } else {
                        out.iter_mut().for_each(|s| *s += carried[0]);
                    }
                }
            }
        });
        Ok(out)
    }

    fn backward<T: Real>(&self, x: &[&[T]], _y: &[T], grad: &[T], needs: [bool; 3]) -> Result<Gradients<T>> {
        let size = self.size;
        let (head, scale) = (size.width * size.row(), T::from_f64((size.width as f64).powf(-0.5)));
        let of_qk = needs[0].then(|| {
            let mut out = vec![T::ZERO; x[0].len()];
            out.par_chunks_mut(2 * size.item()).enumerate().for_each(|(item, out)| {
                let (q, k) = x[0][item * 2 * size.item()..(item + 1) * 2 * size.item()].split_at(size.item());
                let (of_q, of_k) = out.split_at_mut(size.item());
                let grads = grad[item * size.heads * size.scores()..].chunks_exact(size.scores());
                for (h, grad) in (0..size.heads).zip(grads) {
                    let part = h * head..(h + 1) * head;
                    let grad: Vec<T> = grad.iter().map(|&g| g * scale).collect();
                    pairs(Kind::OverSecond, size, &mut of_q[part.clone()], &grad, &k[part.clone()]);
                    pairs(Kind::OverFirst, size, &mut of_k[part.clone()], &grad, &q[part]);
                }
            });
            out
        });
        let of_carried = (needs[1] && self.carried > 0).then(|| {
            if self.carried == size.maps {
                return grad.to_vec();
            }
            grad.chunks_exact(size.maps).map(|grad| grad.iter().fold(T::ZERO, |sum, &g| sum + g)).collect()
        });
        Ok([of_qk, of_carried, None])
    }
}

struct Context {
    size: AttentionSize,
    normalisation: AttentionNormalisation,
}

multiversion! {
    /// Softmax of `values` in place over queries or keys. With `grad`, `values` are the weights that softmax gave, and `grad`, their gradient, becomes that of the scores.
    fn normalise<T>(size: AttentionSize, is_over_queries: bool, values: &mut [T], grad: Option<&mut [T]>) {
        let (maps, time) = (size.maps, size.time);
        let at = |kept: usize, other: usize| {
            let (t, s) = if is_over_queries { (other, kept) } else { (kept, other) };
            (t * time + s) * maps..(t * time + s + 1) * maps
        };
        let mut row = vec![T::ZERO; maps];
        match grad {
            None => {
                for kept in 0..time {
                    row.fill(T::NEG_INFINITY);
                    for other in 0..time {
                        let x = &values[at(kept, other)];
                        row.iter_mut().zip(x).for_each(|(m, &x)| *m = if x > *m { x } else { *m });
                    }
                    for other in 0..time {
                        let x = &mut values[at(kept, other)];
                        x.iter_mut().zip(&row).for_each(|(x, &m)| *x = Real::exp(*x - m));
                    }
                    row.fill(T::ZERO);
                    for other in 0..time {
                        row.iter_mut().zip(&values[at(kept, other)]).for_each(|(sum, &x)| *sum += x);
                    }
                    for other in 0..time {
                        values[at(kept, other)].iter_mut().zip(&row).for_each(|(x, &sum)| *x = (*x / sum).or_zero());
                    }
                }
            }
            Some(grad) => {
                for kept in 0..time {
                    row.fill(T::ZERO);
                    for other in 0..time {
                        add_product(&mut row, &values[at(kept, other)], &grad[at(kept, other)]);
                    }
                    for other in 0..time {
                        let weights = &values[at(kept, other)];
                        let grads = grad[at(kept, other)].iter_mut();
                        grads.zip(weights).zip(&row).for_each(|((g, &a), &dot)| *g = (a * (*g - dot)).or_zero());
                    }
                }
            }
        }
    }
}

impl Context {
    fn normalise<T: Real>(&self, values: &mut [T], grad: Option<&mut [T]>) {
        normalise(self.size, self.normalisation == AttentionNormalisation::Query, values, grad);
    }
}

impl Kernel for Context {
    const NAME: &'static str = "temporal context";

    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>> {
        let size = self.size;
        let head = size.width * size.row();
        let mut out = vec![T::ZERO; x[1].len()];
        out.par_chunks_mut(head).zip(x[0].par_chunks(size.scores())).zip(x[1].par_chunks(head)).for_each(
            |((out, scores), v)| {
                let mut weights = scores.to_vec();
                self.normalise(&mut weights, None);
                pairs(Kind::OverSecond, size, out, &weights, v);
            },
        );
        Ok(out)
    }

    fn backward<T: Real>(&self, x: &[&[T]], _y: &[T], grad: &[T], _needs: [bool; 3]) -> Result<Gradients<T>> {
        let size = self.size;
        let head = size.width * size.row();
        let (mut of_scores, mut of_v) = (vec![T::ZERO; x[0].len()], vec![T::ZERO; x[1].len()]);
        of_scores
            .par_chunks_mut(size.scores())
            .zip(of_v.par_chunks_mut(head))
            .zip(x[0].par_chunks(size.scores()).zip(x[1].par_chunks(head)))
            .zip(grad.par_chunks(head))
            .for_each(|(((of_scores, of_v), (scores, v)), grad)| {
                let mut weights = scores.to_vec();
                self.normalise(&mut weights, None);
                pairs(Kind::OverFirst, size, of_v, &weights, grad);
                pairs(Kind::Outer, size, of_scores, grad, v);
                self.normalise(&mut weights, Some(of_scores));
            });
        Ok([Some(of_scores), Some(of_v), None])
    }
}

/// `Q Kᵀ / √width + carried`, `[batch, heads, query, key, maps]`, of queries and keys `[batch, 2 · heads · width, time, maps]` and scores that are carried over, which may have one map.
pub(super) fn scores(qk: &Tensor, carried: Option<&Tensor>, size: AttentionSize) -> Result<Tensor> {
    let batch = qk.dims()[0];
    let shape = (batch, size.heads, size.time, size.time, size.maps);
    if !qk.device().is_cpu() {
        return scores_composed(qk, carried, size);
    }
    Ok(match carried {
        Some(carried) => apply(Scores { size, carried: carried.dims()[4] }, &[qk, carried], shape)?,
        None => apply(Scores { size, carried: 0 }, &[qk], shape)?,
    })
}

/// The values `[batch, heads · width, time, maps]`, weighted by the softmax of `scores`.
pub(super) fn context(
    scores: &Tensor,
    v: &Tensor,
    size: AttentionSize,
    normalisation: AttentionNormalisation,
) -> Result<Tensor> {
    if !v.device().is_cpu() {
        return context_composed(scores, v, size, normalisation);
    }
    Ok(apply(Context { size, normalisation }, &[scores, v], v.shape())?)
}

/// `[batch, heads · width, time, maps]` as `[batch · maps · heads, time, width]`.
fn by_map(x: &Tensor, size: AttentionSize) -> Result<Tensor> {
    let x = x.reshape((x.dims()[0], size.heads, size.width, size.time, size.maps))?.permute((0, 4, 1, 3, 2))?;
    x.contiguous()?.reshape(((), size.time, size.width))
}

fn scores_composed(qk: &Tensor, carried: Option<&Tensor>, size: AttentionSize) -> Result<Tensor> {
    let half = size.heads * size.width;
    let q = by_map(&qk.narrow(1, 0, half)?, size)?;
    let k = by_map(&qk.narrow(1, half, half)?, size)?;
    let product = (q.matmul(&k.transpose(1, 2)?.contiguous()?)? * (size.width as f64).powf(-0.5))?;
    let shape = (qk.dims()[0], size.maps, size.heads, size.time, size.time);
    let product = product.reshape(shape)?.permute((0, 2, 3, 4, 1))?.contiguous()?;
    match carried {
        Some(carried) => product.broadcast_add(carried),
        None => Ok(product),
    }
}

fn context_composed(scores: &Tensor, v: &Tensor, size: AttentionSize, over: AttentionNormalisation) -> Result<Tensor> {
    let axis = if over == AttentionNormalisation::Query { 2 } else { 3 };
    let weights = core_tensor::ops::softmax_dim(scores, axis)?.permute((0, 4, 1, 2, 3))?.contiguous()?;
    let mixed = weights.reshape(((), size.time, size.time))?.matmul(&by_map(v, size)?)?;
    let mixed = mixed.reshape((v.dims()[0], size.maps, size.heads, size.time, size.width))?;
    mixed.permute((0, 2, 4, 3, 1))?.contiguous()?.reshape(v.shape())
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_equal;
    use super::*;
    use core_tensor::random::Rng;

    #[test]
    fn kernels_equal_their_compositions() {
        let mut rng = Rng::new(1);
        for (maps, carried_maps) in [(1, 0), (5, 1), (5, 5)] {
            let size = AttentionSize { heads: 2, width: 3, time: 4, maps };
            let mut normal = |shape: &[usize]| {
                rng.normal(0., 1., shape, candle_core::DType::F64, &candle_core::Device::Cpu).unwrap()
            };
            let (qk, v) = (normal(&[2, 12, 4, maps]), normal(&[2, 6, 4, maps]));
            let mut inputs = vec![qk];
            if carried_maps > 0 {
                inputs.push(normal(&[2, 2, 4, 4, carried_maps]));
            }
            let carried = |x: &[candle_core::Var]| x.get(1).map(|x| x.as_tensor().clone());
            assert_equal(
                &inputs,
                |x| scores(&x[0], carried(x).as_ref(), size),
                |x| scores_composed(&x[0], carried(x).as_ref(), size),
            );
            let s = normal(&[2, 2, 4, 4, maps]);
            for over in [AttentionNormalisation::Query, AttentionNormalisation::Key] {
                assert_equal(
                    &[s.clone(), v.clone()],
                    |x| context(&x[0], &x[1], size, over),
                    |x| context_composed(&x[0], &x[1], size, over),
                );
            }
        }
    }
}
