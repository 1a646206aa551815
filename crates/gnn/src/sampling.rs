//! Neighbourhoods drawn from a large graph, for training on some nodes at a time (Hamilton et al., NeurIPS 2017).

use crate::adjacency::{Adjacency, SymmetricNormalisation};
use crate::level::host_tensor;
use crate::{Error, Graph, Result};
use candle_core::{DType, Device};
use core_tensor::random::Rng;
use core_tensor::sparse::SparsePattern;

/// Some nodes of a graph, and messages drawn for them.
#[derive(Debug, Clone)]
pub struct NeighborSample {
    /// The node of the graph that each node of the sample is; the seeds come first, in their order. Gather the features with it.
    pub nodes: Vec<u32>,
    /// How many of them are seeds: these rows of the last layer's output count.
    pub num_seeds: usize,
    /// The messages that were drawn, weighted so that sums over them are those over all neighbours on average; see [`sample_neighbors`].
    pub adjacency: Adjacency,
}

/// Draws, for each seed, up to `fanouts[0]` of its neighbours without replacement, for each new one of these up to `fanouts[1]`, and so on: a sample
/// for as many convolutions as there are fanouts. `usize::MAX` takes all neighbours. A self-loop is a neighbour like others.
///
/// With all neighbours drawn, the seeds' rows after that many convolutions are those on the whole graph, for every convolution of this crate but
/// Chebyshev filters, whose degrees would be counted in the sample. With fewer, `k` of a node's `d`, one convolution is right on average over draws,
/// given its input:
///
/// | convolution | how |
/// |---|---|
/// | `GraphConv`, `GinConv::with_edge_weights` | a message's weight is multiplied by `d/k` |
/// | `GcnConv` | likewise, and degrees in the normalisation are those of the whole graph |
/// | `SageConv` | the mean over the drawn; needs no weights |
///
/// Not so `GinConv` without weights, whose sum is too small by `k/d`, and `GatConv`, whose softmax is over the drawn. Several convolutions with
/// nonlinearities between them are right on average in none of them, as in every library that samples so.
///
/// The cost is the sum of the degrees of the nodes that are not in the last ring.
///
/// # Errors
/// No seed, a seed that does not exist or is listed twice, or a fanout of 0.
///
/// ```
/// use candle_core::{DType, Device};
/// use core_tensor::random::Rng;
/// use gnn::{Graph, sampling::sample_neighbors};
/// let star = Graph::from_edges(101, &(1..=100).map(|leaf| (0, leaf)).collect::<Vec<_>>())?;
/// let sample = sample_neighbors(&star, &[0], &[10], &mut Rng::new(0), DType::F32, &Device::Cpu)?;
/// assert_eq!((sample.nodes.len(), sample.nodes[0]), (11, 0));
/// assert_eq!(sample.adjacency.weights().map(|weights| weights.to_vec1::<f32>()).transpose()?, Some(vec![10.0; 10]));
/// # Ok::<(), gnn::Error>(())
/// ```
pub fn sample_neighbors(
    graph: &Graph,
    seeds: &[u32],
    fanouts: &[usize],
    rng: &mut Rng,
    dtype: DType,
    device: &Device,
) -> Result<NeighborSample> {
    const OPERATION: &str = "sample_neighbors";
    if seeds.is_empty() {
        return Err(Error::EmptyGraph { operation: OPERATION });
    }
    if fanouts.contains(&0) {
        return Err(Error::InvalidConfig { what: "fanout", got: "0".into(), expected: "at least 1" });
    }
    let mut place = vec![u32::MAX; graph.num_nodes()];
    let mut nodes: Vec<u32> = Vec::with_capacity(seeds.len());
    for (position, &seed) in seeds.iter().enumerate() {
        match place.get_mut(seed as usize) {
            Some(slot) if *slot == u32::MAX => *slot = position as u32,
            Some(_) => return Err(Error::invalid_data(OPERATION, format!("seed {seed} is listed twice"))),
            None => {
                let (index, bound) = (u64::from(seed), graph.num_nodes());
                return Err(Error::OutOfRange { operation: OPERATION, what: "seeds", position, index, bound });
            }
        }
        nodes.push(seed);
    }
    let mut drawn = Drawn::default();
    let mut ring = 0..nodes.len();
    for &fanout in fanouts {
        let end = nodes.len();
        for target in ring {
            let all: Vec<(u32, f64)> = graph.weighted_neighbors(nodes[target] as usize).collect();
            let factor = all.len() as f64 / all.len().min(fanout).max(1) as f64;
            let mut take = |(neighbor, weight): (u32, f64)| {
                let slot = &mut place[neighbor as usize];
                if *slot == u32::MAX {
                    *slot = nodes.len() as u32;
                    nodes.push(neighbor);
                }
                drawn.targets.push(target as u32);
                drawn.sources.push(*slot);
                drawn.weights.push(weight * factor);
            };
            if fanout >= all.len() {
                all.into_iter().for_each(&mut take);
            } else {
                let chosen = rng.sample_without_replacement(all.len(), fanout);
                chosen.into_iter().for_each(|entry| take(all[entry as usize]));
            }
            drawn.is_thinned |= factor != 1.0;
        }
        ring = end..nodes.len();
    }
    let adjacency = drawn.adjacency(graph, &nodes, dtype, device)?;
    Ok(NeighborSample { nodes, num_seeds: seeds.len(), adjacency })
}

#[derive(Default)]
struct Drawn {
    targets: Vec<u32>,
    sources: Vec<u32>,
    weights: Vec<f64>,
    is_thinned: bool,
}

impl Drawn {
    fn adjacency(mut self, graph: &Graph, nodes: &[u32], dtype: DType, device: &Device) -> Result<Adjacency> {
        let n = nodes.len();
        let pattern = SparsePattern::from_edges(n, n, &self.targets, &self.sources)?;
        let weights = match self.is_thinned || graph.is_weighted() {
            true => Some(host_tensor(&self.weights, dtype, device)?),
            false => None,
        };
        let mut loops = Vec::new();
        let mut scale = Vec::with_capacity(n);
        for (place, &node) in nodes.iter().enumerate() {
            let mut degree = graph.weighted_neighbors(node as usize).fold(0.0, |sum, entry| sum + entry.1);
            if graph.neighbors(node as usize).binary_search(&node).is_err() {
                loops.push(place as u32);
                degree += 1.0;
            }
            scale.push(1.0 / degree.sqrt());
        }
        let entries = self.targets.iter().zip(&self.sources).zip(&self.weights);
        let mut values: Vec<f64> = entries
            .map(|((&target, &source), weight)| weight * scale[target as usize] * scale[source as usize])
            .collect();
        values.extend(loops.iter().map(|&node| scale[node as usize].powi(2)));
        self.targets.extend_from_slice(&loops);
        self.sources.extend_from_slice(&loops);
        let looped = SparsePattern::from_edges(n, n, &self.targets, &self.sources)?;
        let normalised = SymmetricNormalisation { pattern: looped, values: host_tensor(&values, dtype, device)? };
        Ok(Adjacency::from_normalised(pattern, weights, normalised, dtype, device))
    }
}
