//! Rings and grids with the coordinates of their nodes.

use std::f64::consts::TAU;

use super::Graph;
use crate::error::{Error, Result};

/// A graph in the plane.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedGraph {
    /// The graph.
    pub graph: Graph,
    /// `[x, y]` of each node.
    pub coordinates: Vec<[f64; 2]>,
}

/// A cycle of `num_nodes` nodes, node `i` at `(cos, sin)(2π i / num_nodes)`.
///
/// # Errors
/// [`Error::InvalidConfig`] for fewer than 3 nodes or more than `u32::MAX`.
pub fn ring(num_nodes: usize) -> Result<PlacedGraph> {
    let count = node_count("num_nodes", num_nodes, 3)?;
    let mut edges: Vec<(u32, u32)> = (0..count).map(|u| (u.min((u + 1) % count), u.max((u + 1) % count))).collect();
    edges.sort_unstable();
    let angle = |node: u32| TAU * f64::from(node) / f64::from(count);
    let coordinates = (0..count).map(|node| [angle(node).cos(), angle(node).sin()]).collect();
    Ok(PlacedGraph { graph: Graph { num_nodes, edges }, coordinates })
}

/// A grid with an edge between horizontal and vertical neighbours. Node `i` is at column `i mod columns` and row
/// `⌊i / columns⌋`, with `x = column / columns` and `y = (rows - 1) / rows - row / rows`: the first row is the topmost.
///
/// # Errors
/// [`Error::InvalidConfig`] when a side is 0 or there are more than `u32::MAX` nodes.
pub fn grid(rows: usize, columns: usize) -> Result<PlacedGraph> {
    let num_nodes = rows.saturating_mul(columns);
    let count = node_count("rows", num_nodes, 1)?;
    let (wide, high) = (columns as u32, rows as u32);
    let mut edges = Vec::with_capacity(2 * num_nodes);
    for node in 0..count {
        if node % wide + 1 < wide {
            edges.push((node, node + 1));
        }
        if node / wide + 1 < high {
            edges.push((node, node + wide));
        }
    }
    let (width, height) = (f64::from(wide), f64::from(high));
    let place = |node: u32| {
        let (column, row) = (f64::from(node % wide), f64::from(node / wide));
        [column / width, (height - 1.0) / height - row / height]
    };
    Ok(PlacedGraph { graph: Graph { num_nodes, edges }, coordinates: (0..count).map(place).collect() })
}

fn node_count(argument: &'static str, num_nodes: usize, least: usize) -> Result<u32> {
    match u32::try_from(num_nodes) {
        Ok(count) if num_nodes >= least => Ok(count),
        _ => Err(Error::invalid_config(argument, format!("{num_nodes} nodes, expected {least} to {}", u32::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_has_as_many_edges_as_nodes_and_lies_on_the_unit_circle() {
        let ring = ring(200).unwrap();
        assert_eq!((ring.graph.num_nodes, ring.graph.edges.len()), (200, 200));
        assert!(ring.graph.edges.is_sorted() && ring.graph.edges.iter().all(|(u, v)| u < v));
        // Two rounding errors of sin and cos.
        assert!(ring.coordinates.iter().all(|[x, y]| (x * x + y * y - 1.0).abs() < 1e-15));
    }

    #[test]
    fn a_grid_starts_at_the_top_left_and_descends() {
        let grid = grid(30, 30).unwrap();
        assert_eq!((grid.graph.num_nodes, grid.graph.edges.len()), (900, 2 * 30 * 29));
        assert_eq!(grid.coordinates[0], [0.0, 29.0 / 30.0]);
        // (29/30 - 29/30) and 29/30 are computed from the same quotients, so equality is exact.
        assert_eq!(grid.coordinates[899], [29.0 / 30.0, 0.0]);
        assert!(grid.graph.edges.is_sorted());
    }

    #[test]
    fn sizes_that_make_no_graph_are_refused() {
        assert!(ring(2).is_err());
        assert!(grid(0, 5).is_err());
        assert!(grid(usize::MAX, 2).is_err());
    }
}
