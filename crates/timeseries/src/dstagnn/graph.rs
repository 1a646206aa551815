//! Graphs from similarities and roads, and their Chebyshev bases.

use super::eigenvalues::largest_real_part;
use super::similarity::Similarity;
use crate::{Error, Result};
use core_tensor::rounding::floor_to_count;

/// Whether a node is its own neighbour in the aware graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SelfLoop {
    /// No: the `top` most similar others, as the released generator does.
    #[default]
    Exclude,
    /// Yes, as one of the `top`: the published graph of PEMS04.
    CountInTop,
    /// Yes, in addition to the `top`.
    Add,
}

/// How graphs are made from similarities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GraphConfig {
    /// P_sp: each node chooses `⌊nodes · sparsity⌋` neighbours, where 0.29 of 100 is 29 whatever the product rounds to; 0.01.
    pub sparsity: f64,
    /// The diagonal of the aware graph.
    pub self_loop: SelfLoop,
}

impl Default for GraphConfig {
    fn default() -> Self {
        Self { sparsity: 0.01, self_loop: SelfLoop::Exclude }
    }
}

/// A directed graph of sensors as a matrix `[nodes][nodes]`; entry (i, j) is the weight of the edge from i to j, 0 where there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct SensorGraph {
    /// N, the number of nodes.
    pub num_nodes: usize,
    /// The weights, row by row.
    pub values: Vec<f64>,
}

const OP: &str = "graphs from similarities";
/// Nodes of a graph, which is a matrix.
const LARGEST: usize = 1 << 16;
/// The highest order of a basis.
const HIGHEST: usize = 64;

impl SensorGraph {
    /// A graph with the weights `[nodes][nodes]`, row by row.
    ///
    /// # Errors
    /// A length that is not a square, or values that are not finite.
    pub fn new(values: Vec<f64>) -> Result<Self> {
        let num_nodes = Similarity::new(values.clone())?.num_nodes();
        Ok(Self { num_nodes, values })
    }

    /// Edges of weight 1 from the first to the second node of each pair.
    ///
    /// # Errors
    /// A node that is not below `num_nodes`, no node, or more than 65,536: the matrix would not fit any memory.
    pub fn from_edges(num_nodes: usize, edges: &[(usize, usize)]) -> Result<Self> {
        if !(1..=LARGEST).contains(&num_nodes) {
            let expected = format!("1 to {LARGEST}");
            return Err(Error::count("sensor graph", "the number of nodes", num_nodes, expected));
        }
        let mut values = vec![0.; num_nodes * num_nodes];
        for &(from, to) in edges {
            if from.max(to) >= num_nodes {
                let expected = format!("below {num_nodes}");
                return Err(Error::count("sensor graph", "a node of an edge", from.max(to), expected));
            }
            values[from * num_nodes + to] = 1.;
        }
        Ok(Self { num_nodes, values })
    }

    /// The same graph with weight 1 wherever a weight is positive.
    #[must_use]
    pub fn binary(&self) -> Self {
        let values = self.values.iter().map(|&value| f64::from(value > 0.)).collect();
        Self { num_nodes: self.num_nodes, values }
    }

    /// The pairs with a weight other than zero, row by row.
    pub fn edges(&self) -> Vec<(usize, usize)> {
        let entries = self.values.iter().enumerate().filter(|(_, value)| **value != 0.);
        entries.map(|(at, _)| (at / self.num_nodes, at % self.num_nodes)).collect()
    }

    /// The undirected graph: the larger weight of both directions.
    #[must_use]
    pub fn symmetric(&self) -> Self {
        let n = self.num_nodes;
        let values = (0..n * n).map(|at| self.values[at].max(self.values[at % n * n + at / n])).collect();
        Self { num_nodes: n, values }
    }
}

/// The aware graph (STAG, ones) and the relevance graph (STRG, weights) of similarities.
///
/// Each row chooses its `top` most similar others; of equally similar ones the first. STRG has `R(i,j) = S(i,j) / mean_i' S(i',j)` there and on the diagonal, where S has ones on the
/// diagonal. The authors' training uses [`SensorGraph::binary`] of both.
///
/// # Errors
/// A sparsity that leaves no neighbour (fewer than 100 nodes at 0.01), or more than there are others.
pub fn aware_graphs(similarity: &Similarity, config: GraphConfig) -> Result<(SensorGraph, SensorGraph)> {
    let n = similarity.num_nodes();
    let top = floor_to_count(config.sparsity * n as f64);
    if !(1..n).contains(&top) {
        let expected = format!("so that {n} nodes choose between 1 and {} neighbours, not {top}", n.saturating_sub(1));
        return Err(Error::config(OP, "sparsity", config.sparsity, expected));
    }
    let others = if config.self_loop == SelfLoop::CountInTop { top - 1 } else { top };
    let s =
        |i: usize, j: usize| if i == j { similarity.values()[i * n + j] + 1. } else { similarity.values()[i * n + j] };
    let means: Vec<f64> = (0..n).map(|j| (0..n).map(|i| s(i, j)).sum::<f64>() / n as f64).collect();
    let (mut aware, mut relevance) = (vec![0.; n * n], vec![0.; n * n]);
    for i in 0..n {
        // a node is the farthest from itself
        let distance = |j: usize| if i == j { 2. - s(i, i) } else { 1. - s(i, j) };
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)).then(a.cmp(&b)));
        for &j in &order[..top] {
            relevance[i * n + j] = s(i, j) / means[j];
        }
        for &j in &order[..others] {
            aware[i * n + j] = 1.;
        }
        relevance[i * n + i] = s(i, i) / means[i];
        if config.self_loop != SelfLoop::Exclude {
            aware[i * n + i] = 1.;
        }
    }
    Ok((SensorGraph { num_nodes: n, values: aware }, SensorGraph { num_nodes: n, values: relevance }))
}

/// How a Chebyshev term is made of the two before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChebyshevProduct {
    /// `T_k = 2 L ∘ T_(k−1) − T_(k−2)` with the elementwise product, as the authors' program has it: no nodes two steps away take part.
    #[default]
    Elementwise,
    /// The Chebyshev polynomials of the matrix.
    Matrix,
}

/// T_0 … T_(K−1) of a graph, each `[nodes][nodes]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ChebyshevBasis {
    /// N, the number of nodes.
    pub num_nodes: usize,
    /// The largest real part of an eigenvalue of the Laplacian.
    pub lambda_max: f64,
    /// The K terms.
    pub terms: Vec<Vec<f64>>,
}

impl ChebyshevBasis {
    /// The first `order` terms for `L = 2 (D − W) / λ_max − I`, where D holds the row sums of W.
    ///
    /// # Errors
    /// An order of 0 or above 64; a graph without an edge between two nodes, for which λ_max is 0; weights that are not `[nodes][nodes]`; eigenvalues that do not converge.
    pub fn new(graph: &SensorGraph, order: usize, product: ChebyshevProduct) -> Result<Self> {
        let n = graph.num_nodes;
        if !(1..=HIGHEST).contains(&order) {
            return Err(Error::count("Chebyshev basis", "the order", order, format!("1 to {HIGHEST}")));
        }
        if n.checked_mul(n) != Some(graph.values.len()) {
            let (got, expected) = (graph.values.len(), n.saturating_mul(n));
            return Err(Error::Length { operation: "Chebyshev basis", what: "the weights", got, expected });
        }
        let mut laplacian: Vec<f64> = graph.values.iter().map(|w| -w).collect();
        for i in 0..n {
            laplacian[i * n + i] += graph.values[i * n..(i + 1) * n].iter().sum::<f64>();
        }
        let lambda_max = largest_real_part(&laplacian, n)?;
        if lambda_max.is_nan() || lambda_max <= 1e-12 {
            let expected = "positive: the graph needs an edge between two nodes";
            return Err(Error::value(
                "Chebyshev basis",
                "the largest eigenvalue of the Laplacian",
                lambda_max,
                expected,
            ));
        }
        let scaled: Vec<f64> =
            laplacian.iter().enumerate().map(|(at, l)| 2. * l / lambda_max - f64::from(at / n == at % n)).collect();
        let identity: Vec<f64> = (0..n * n).map(|at| f64::from(at / n == at % n)).collect();
        let mut terms = vec![identity, scaled.clone()];
        for k in 2..order {
            let next = match product {
                ChebyshevProduct::Elementwise => scaled.iter().zip(&terms[k - 1]).map(|(l, t)| l * t).collect(),
                ChebyshevProduct::Matrix => matrix_product(&scaled, &terms[k - 1], n),
            };
            terms.push(next.iter().zip(&terms[k - 2]).map(|(product, before)| 2. * product - before).collect());
        }
        terms.truncate(order);
        Ok(Self { num_nodes: n, lambda_max, terms })
    }

    /// Given terms, each `[nodes][nodes]`.
    ///
    /// # Errors
    /// No term, or terms that are not square or of different sizes.
    #[doc(hidden)]
    pub fn from_terms(terms: Vec<Vec<f64>>) -> Result<Self> {
        let Some(first) = terms.first() else {
            return Err(Error::count("Chebyshev basis", "the order", 0, "at least 1"));
        };
        let num_nodes = Similarity::new(first.clone())?.num_nodes();
        for term in &terms {
            if term.len() != first.len() {
                let (got, expected) = (term.len(), first.len());
                return Err(Error::Length { operation: "Chebyshev basis", what: "a term", got, expected });
            }
        }
        Ok(Self { num_nodes, lambda_max: f64::NAN, terms })
    }
}

fn matrix_product(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let mut out = vec![0.; n * n];
    for (row, out) in a.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        for (&x, b) in row.iter().zip(b.chunks_exact(n)) {
            if x != 0. {
                out.iter_mut().zip(b).for_each(|(out, b)| *out += x * b);
            }
        }
    }
    out
}
