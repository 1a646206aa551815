//! What the neighbours of an example say about it: labels that they contradict, duplicates, outliers.

use crate::neighbours::Neighbours;
use crate::{Error, Result};

/// The share of each example's neighbours that have its label, from 0 to 1: low where the label is suspect, as [`ranking`](super::ranking) takes it. `graph` is
/// [`nearest_others`](crate::neighbours::nearest_others) of the same examples.
///
/// # Errors
///
/// No label, a graph of another number of examples, neighbours that are none of them.
pub fn neighbour_agreement(graph: &Neighbours, labels: &[u32]) -> Result<Vec<f64>> {
    const OP: &str = "neighbour_agreement";
    check(OP, graph)?;
    if graph.len() != labels.len() {
        return Err(Error::length(OP, "labels", labels.len(), graph.len()));
    }
    let share = |(example, label)| {
        let equal = graph.of(example).filter(|(other, _)| labels[*other as usize] == label).count();
        equal as f64 / graph.k() as f64
    };
    Ok(labels.iter().copied().enumerate().map(share).collect())
}

/// How usual each example is, above 0 and at most 1: `1 / (1 + d/m)` with `d` the mean distance to its neighbours and `m` the median of those of all examples that are above 0. It is 1/2 where `d = m` and low for
/// outliers, as [`ranking`](super::ranking) takes it.
///
/// # Errors
///
/// No example, neighbours that are none of them.
pub fn typicality(graph: &Neighbours) -> Result<Vec<f64>> {
    check("typicality", graph)?;
    let means: Vec<f64> =
        (0..graph.len()).map(|example| graph.of(example).map(|(_, d)| d).sum::<f64>() / graph.k() as f64).collect();
    let median = median_above_0(&means);
    Ok(means.into_iter().map(|mean| if mean == 0. { 1. } else { 1. / (1. + mean / median) }).collect())
}

/// Sets of examples that are linked by distances of at most `factor` times the median distance to the nearest neighbour (of those above 0): with 0 the exact duplicates, with 0.1 to 0.2 near ones too. Each set has at
/// least two examples, in ascending order; the sets are ordered by their first.
///
/// # Errors
///
/// No example, neighbours that are none of them, a factor that is negative or not finite.
///
/// ```
/// use noisy_labels::issues::duplicates;
/// use noisy_labels::neighbours::{Metric, Points, nearest_others};
///
/// let features = [0f32, 5., 0., 9., 5.01, 13.];
/// let graph = nearest_others(Points::new(&features, 1)?, 2, Metric::Euclidean)?;
/// assert_eq!(duplicates(&graph, 0.)?, [vec![0, 2]]);
/// assert_eq!(duplicates(&graph, 0.2)?, [vec![0, 2], vec![1, 4]]);
/// # Ok::<(), noisy_labels::Error>(())
/// ```
pub fn duplicates(graph: &Neighbours, factor: f64) -> Result<Vec<Vec<u32>>> {
    const OP: &str = "duplicates";
    check(OP, graph)?;
    if !(factor >= 0. && factor.is_finite()) {
        return Err(Error::config(OP, "factor", factor, "at least 0 and finite"));
    }
    let nearest: Vec<f64> = (0..graph.len()).filter_map(|example| graph.of(example).next()).map(|(_, d)| d).collect();
    let limit = if factor == 0. { 0. } else { factor * median_above_0(&nearest) };
    // The root of each example's set is the smallest example in it.
    let mut parents: Vec<u32> = (0..graph.len() as u32).collect();
    for example in 0..graph.len() {
        for (other, _) in graph.of(example).take_while(|(_, distance)| *distance <= limit) {
            let (a, b) = (root(&mut parents, example as u32), root(&mut parents, other));
            parents[a.max(b) as usize] = a.min(b);
        }
    }
    let mut sets: Vec<Vec<u32>> = vec![Vec::new(); graph.len()];
    for example in 0..graph.len() as u32 {
        sets[root(&mut parents, example) as usize].push(example);
    }
    sets.retain(|set| set.len() > 1);
    Ok(sets)
}

/// The first of the set, with the way to it halved.
fn root(parents: &mut [u32], mut at: u32) -> u32 {
    while parents[at as usize] != at {
        parents[at as usize] = parents[parents[at as usize] as usize];
        at = parents[at as usize];
    }
    at
}

/// The upper median of the values above 0; 0 if there are none.
fn median_above_0(values: &[f64]) -> f64 {
    let mut above: Vec<f64> = values.iter().copied().filter(|value| *value > 0.).collect();
    let middle = above.len() / 2;
    if above.is_empty() { 0. } else { *above.select_nth_unstable_by(middle, f64::total_cmp).1 }
}

fn check(operation: &'static str, graph: &Neighbours) -> Result<()> {
    if graph.is_empty() {
        return Err(Error::Empty { operation, what: "examples" });
    }
    let bound = graph.len();
    match graph.indices().iter().position(|&index| index as usize >= bound) {
        Some(position) => {
            let index = graph.indices()[position].into();
            Err(Error::OutOfRange { operation, what: "neighbour", position, index, bound })
        }
        None => Ok(()),
    }
}
