//! Spatial attention where the graph has edges, and the product with it.
//!
//! The convolution multiplies attention by a Chebyshev term, element by element, so attention counts only where the term is not zero: its softmax needs all pairs of sensors, the
//! product with the signals only the edges. On a GPU, where a dense product costs less than looking edges up, the graph is dense.

use super::graph::ChebyshevBasis;

use candle_core::{DType, Device, Result, Tensor};
use core_tensor::kernel::{Gradients, Kernel, Real, apply, multiversion};
use rayon::prelude::*;
use std::sync::Arc;

/// Where the terms of a basis are not zero, by receiver: `G_k[i, j] = T_k[j, i] A_k[j, i]`.
#[derive(Debug)]
pub(super) struct Edges {
    pub(super) num_nodes: usize,
    pub(super) order: usize,
    /// Where the edges of receiver i in term k begin: at `i · order + k`.
    starts: Vec<usize>,
    senders: Vec<u32>,
    weights: Vec<f64>,
    /// The weights as `[order, receiver, sender]` where it is not the CPU that computes.
    dense: Option<Tensor>,
}

impl Edges {
    /// The edges of `basis` for computations in this type and on this device.
    pub(super) fn new(basis: &ChebyshevBasis, dtype: DType, device: &Device) -> Result<Self> {
        let dense = if device.is_cpu() { None } else { Some(Self::dense(basis)?.to_dtype(dtype)?.to_device(device)?) };
        let (n, order) = (basis.num_nodes, basis.terms.len());
        let (mut starts, mut senders, mut weights) = (vec![0], Vec::new(), Vec::new());
        for i in 0..n {
            for term in &basis.terms {
                for j in 0..n {
                    let weight = term[j * n + i];
                    if weight != 0. {
                        senders.push(j as u32);
                        weights.push(weight);
                    }
                }
                starts.push(senders.len());
            }
        }
        Ok(Self { num_nodes: n, order, starts, senders, weights, dense })
    }

    fn dense(basis: &ChebyshevBasis) -> Result<Tensor> {
        let (n, order) = (basis.num_nodes, basis.terms.len());
        Tensor::from_vec(basis.terms.concat(), (order, n, n), &Device::Cpu)?.transpose(1, 2)?.contiguous()
    }

    pub(super) fn len(&self) -> usize {
        self.senders.len()
    }

    fn of(&self, receiver: usize, term: usize) -> std::ops::Range<usize> {
        let at = receiver * self.order + term;
        self.starts[at]..self.starts[at + 1]
    }
}

struct Attention {
    edges: Arc<Edges>,
}

multiversion! {
    /// The parts of the softmax of `scores + prior` over a row: exponentials into `row`, their sum into `sum`.
    fn exponentials<T>(scores: &[T], prior: &[T], row: &mut [T], sum: &mut T) {
        const LANES: usize = 32;
        let larger = |a: T, b: T| if a > b { a } else { b };
        row.iter_mut().zip(scores).zip(prior).for_each(|((z, &s), &p)| *z = s + p);
        let mut lanes = [T::NEG_INFINITY; LANES];
        let (parts, rest) = row.as_chunks::<LANES>();
        for part in parts {
            lanes.iter_mut().zip(part).for_each(|(lane, &z)| *lane = larger(z, *lane));
        }
        let largest = rest.iter().chain(&lanes).fold(T::NEG_INFINITY, |a, &b| larger(b, a));
        row.iter_mut().for_each(|z| *z = Real::exp(*z - largest));
        let mut lanes = [T::ZERO; LANES];
        let (parts, rest) = row.as_chunks::<LANES>();
        for part in parts {
            lanes.iter_mut().zip(part).for_each(|(lane, &z)| *lane += z);
        }
        *sum = rest.iter().chain(&lanes).fold(T::ZERO, |a, &b| a + b);
    }
}

impl Kernel for Attention {
    const NAME: &'static str = "attention at edges";

    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>> {
        let edges = &*self.edges;
        let (n, matrix) = (edges.num_nodes, edges.order * edges.num_nodes * edges.num_nodes);
        let mut out = vec![T::ZERO; x[0].len() / matrix * edges.len()];
        out.par_chunks_mut(edges.len()).zip(x[0].par_chunks(matrix)).for_each(|(out, scores)| {
            let mut row = vec![T::ZERO; n];
            for i in 0..n {
                for k in 0..edges.order {
                    let found = edges.of(i, k);
                    if !found.is_empty() {
                        let at = (k * n + i) * n..(k * n + i + 1) * n;
                        let mut sum = T::ZERO;
                        exponentials(&scores[at.clone()], &x[1][at], &mut row, &mut sum);
                        for e in found {
                            out[e] = T::from_f64(edges.weights[e]) * row[edges.senders[e] as usize] / sum;
                        }
                    }
                }
            }
        });
        Ok(out)
    }

    fn backward<T: Real>(&self, x: &[&[T]], _y: &[T], grad: &[T], needs: [bool; 3]) -> Result<Gradients<T>> {
        let edges = &*self.edges;
        let (n, matrix) = (edges.num_nodes, edges.order * edges.num_nodes * edges.num_nodes);
        let mut of_scores = vec![T::ZERO; x[0].len()];
        of_scores.par_chunks_mut(matrix).zip(x[0].par_chunks(matrix)).zip(grad.par_chunks(edges.len())).for_each(
            |((out, scores), grad)| {
                for i in 0..n {
                    for k in 0..edges.order {
                        let found = edges.of(i, k);
                        if found.is_empty() {
                            continue;
                        }
                        let at = (k * n + i) * n..(k * n + i + 1) * n;
                        let row = &mut out[at.clone()];
                        let mut sum = T::ZERO;
                        exponentials(&scores[at.clone()], &x[1][at], row, &mut sum);
                        let inverse = T::ONE / sum;
                        // the gradients of the attention weights, times those weights
                        let mut weighted = Vec::with_capacity(found.len());
                        let mut sum = T::ZERO;
                        for e in found.clone() {
                            let sender = edges.senders[e] as usize;
                            let product = row[sender] * inverse * T::from_f64(edges.weights[e]) * grad[e];
                            weighted.push((sender, product));
                            sum += product;
                        }
                        let factor = T::ZERO - sum * inverse;
                        row.iter_mut().for_each(|a| *a *= factor);
                        for (sender, product) in weighted {
                            row[sender] += product;
                        }
                    }
                }
            },
        );
        let of_prior = needs[1].then(|| {
            let mut sum = vec![T::ZERO; matrix];
            sum.par_chunks_mut(4096).enumerate().for_each(|(part, sum)| {
                for item in of_scores.chunks_exact(matrix) {
                    sum.iter_mut().zip(&item[part * 4096..]).for_each(|(sum, &g)| *sum += g);
                }
            });
            sum
        });
        Ok([Some(of_scores), of_prior, None])
    }
}

struct Product {
    edges: Arc<Edges>,
    time: usize,
    channels: usize,
}

impl Product {
    fn row(&self) -> usize {
        self.time * self.channels
    }
}

impl Kernel for Product {
    const NAME: &'static str = "product with attention at edges";

    fn forward<T: Real>(&self, x: &[&[T]]) -> Result<Vec<T>> {
        let edges = &*self.edges;
        let (row, channels) = (self.row(), self.channels);
        let (item, wide) = (edges.num_nodes * row, edges.order * row);
        let mut out = vec![T::ZERO; x[1].len() * edges.order];
        out.par_chunks_mut(item * edges.order).zip(x[0].par_chunks(edges.len())).zip(x[1].par_chunks(item)).for_each(
            |((out, values), x)| {
                for (i, out) in out.chunks_exact_mut(wide).enumerate() {
                    for k in 0..edges.order {
                        for e in edges.of(i, k) {
                            let sender = edges.senders[e] as usize;
                            let times = out.chunks_exact_mut(channels * edges.order);
                            let rows = x[sender * row..(sender + 1) * row].chunks_exact(channels);
                            for (out, x) in times.zip(rows) {
                                let out = &mut out[k * channels..(k + 1) * channels];
                                out.iter_mut().zip(x).for_each(|(out, &x)| *out += values[e] * x);
                            }
                        }
                    }
                }
            },
        );
        Ok(out)
    }

    fn backward<T: Real>(&self, x: &[&[T]], _y: &[T], grad: &[T], needs: [bool; 3]) -> Result<Gradients<T>> {
        let edges = &*self.edges;
        let (row, channels) = (self.row(), self.channels);
        let (item, wide) = (edges.num_nodes * row, edges.order * row);
        let mut of_values = vec![T::ZERO; x[0].len()];
        let mut of_x = vec![T::ZERO; if needs[1] { x[1].len() } else { 0 }];
        let one = |of_values: &mut [T], of_x: &mut [T], values: &[T], x: &[T], grad: &[T]| {
            for (i, grad) in grad.chunks_exact(wide).enumerate() {
                for k in 0..edges.order {
                    for e in edges.of(i, k) {
                        let sender = edges.senders[e] as usize;
                        let part = sender * row..(sender + 1) * row;
                        let grads =
                            || grad.chunks_exact(channels * edges.order).map(|g| &g[k * channels..(k + 1) * channels]);
                        let mut sum = T::ZERO;
                        for (x, g) in x[part.clone()].chunks_exact(channels).zip(grads()) {
                            let mut lanes = [T::ZERO; 8];
                            let ((xs, x), (gs, g)) = (x.as_chunks::<8>(), g.as_chunks::<8>());
                            for (x, g) in xs.iter().zip(gs) {
                                lanes.iter_mut().zip(x).zip(g).for_each(|((lane, &x), &g)| *lane += x * g);
                            }
                            sum += lanes.iter().fold(T::ZERO, |a, &b| a + b);
                            x.iter().zip(g).for_each(|(&x, &g)| sum += x * g);
                        }
                        of_values[e] = sum;
                        if needs[1] {
                            for (out, g) in of_x[part].chunks_exact_mut(channels).zip(grads()) {
                                out.iter_mut().zip(g).for_each(|(out, &g)| *out += values[e] * g);
                            }
                        }
                    }
                }
            }
        };
        let rest = x[0].par_chunks(edges.len()).zip(x[1].par_chunks(item)).zip(grad.par_chunks(item * edges.order));
        let of_values_parts = of_values.par_chunks_mut(edges.len());
        if needs[1] {
            of_values_parts
                .zip(of_x.par_chunks_mut(item))
                .zip(rest)
                .for_each(|((of_values, of_x), ((values, x), grad))| one(of_values, of_x, values, x, grad));
        } else {
            of_values_parts
                .zip(rest)
                .for_each(|(of_values, ((values, x), grad))| one(of_values, &mut [], values, x, grad));
        }
        Ok([Some(of_values), needs[1].then_some(of_x), None])
    }
}

/// Attention times Chebyshev weight: the softmax over senders of `scores` `[batch, order, receiver, sender]` plus `prior` `[order, receiver, sender]`, at every edge,
/// `[batch, edges]`, or dense in the shape of `scores`.
pub(super) fn attention(scores: &Tensor, prior: &Tensor, edges: &Arc<Edges>) -> Result<Tensor> {
    if let Some(weights) = &edges.dense {
        return attention_composed(scores, prior, weights);
    }
    Ok(apply(Attention { edges: edges.clone() }, &[scores, prior], (scores.dims()[0], edges.len()))?)
}

/// `Σ_j G_k[i, j] x[j]` for every term, `[batch, nodes, time, order, channels]`, of `x` `[batch, nodes, time, channels]` and what [`attention`] gives.
pub(super) fn product(values: &Tensor, x: &Tensor, edges: &Arc<Edges>) -> Result<Tensor> {
    let (batch, nodes, time, channels) = x.dims4()?;
    if edges.dense.is_some() {
        return product_composed(values, x);
    }
    let shape = (batch, nodes, time, edges.order, channels);
    Ok(apply(Product { edges: edges.clone(), time, channels }, &[values, x], shape)?)
}

fn attention_composed(scores: &Tensor, prior: &Tensor, weights: &Tensor) -> Result<Tensor> {
    core_tensor::ops::softmax(&scores.broadcast_add(prior)?)?.broadcast_mul(weights)
}

fn product_composed(values: &Tensor, x: &Tensor) -> Result<Tensor> {
    let (batch, nodes, time, channels) = x.dims4()?;
    let order = values.dims()[1];
    let values = values.reshape((batch, order * nodes, nodes))?;
    let sums = values.matmul(&x.reshape((batch, nodes, time * channels))?)?;
    sums.reshape((batch, order, nodes, time, channels))?.permute((0, 2, 3, 1, 4))?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_equal;
    use super::*;
    use core_tensor::random::Rng;

    #[test]
    fn kernels_equal_their_compositions() {
        let mut rng = Rng::new(1);
        let mut normal = |shape: &[usize]| rng.normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap();
        let n = 6;
        let terms =
            (0..3).map(|k| (0..n * n).map(|at| if at % (k + 2) == 0 { 0.3 * at as f64 - 4. } else { 0. }).collect());
        let basis = ChebyshevBasis::from_terms(terms.collect()).unwrap();
        let edges = Arc::new(Edges::new(&basis, DType::F64, &Device::Cpu).unwrap());
        let weights = Edges::dense(&basis).unwrap();
        let (scores, prior, x) = (normal(&[2, 3, n, n]), normal(&[3, n, n]), normal(&[2, n, 4, 9]));
        assert_equal(
            &[scores, prior, x],
            |x| product(&attention(&x[0], &x[1], &edges)?, &x[2], &edges),
            |x| product_composed(&attention_composed(&x[0], &x[1], &weights)?, &x[2]),
        );
    }
}
