//! Partitions of hypergraphs: vertices into parts of about equal size, so that edges touch few parts.

use crate::{Error, Result};
use core_tensor::random::Rng;
use rayon::prelude::*;

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The part of each vertex, from 0.
    pub parts: Vec<u32>,
    /// Edges that touch more than one part.
    pub cut: usize,
    /// Σ (λ − 1) over edges, λ the number of parts that an edge touches.
    pub connectivity: usize,
}

/// Starts of the search.
const STARTS: u64 = 16;
/// Passes over all vertices at most, in each start.
const PASSES: usize = 30;

/// Partitions vertices `0..vertices` into `parts`, each of at most `⌈vertices / parts⌉ · (1 + imbalance)` (rounded down, at least the former) and at least one, so that Σ (λ − 1) over `edges` (lists of
/// vertices) is small. Several seeded starts side by side, each improved by moves and swaps of the largest gain with rollback (Fiduccia and Mattheyses 1982); the best stays, the first of equal ones. The
/// result does not depend on the number of threads.
///
/// # Errors
/// No part, more parts than vertices, an imbalance that is negative or not finite, or a vertex that does not exist.
///
/// ```
/// use pruning::partition::hypergraph;
/// // two groups of three vertices
/// let found = hypergraph(6, &[vec![0, 2, 4], vec![0, 4], vec![1, 3, 5], vec![3, 5], vec![4, 5]], 2, 0.1, 0)?;
/// assert_eq!((found.cut, found.connectivity), (1, 1));
/// assert!(found.parts[0] == found.parts[2] && found.parts[1] == found.parts[3] && found.parts[0] != found.parts[1]);
/// # Ok::<(), pruning::Error>(())
/// ```
pub fn hypergraph(vertices: usize, edges: &[Vec<u32>], parts: usize, imbalance: f64, seed: u64) -> Result<Partition> {
    const OPERATION: &str = "partition::hypergraph";
    if parts == 0 || parts > vertices {
        return Err(Error::value(
            OPERATION,
            format!("parts of {vertices} vertices"),
            parts as f64,
            "at least 1, at most as many as vertices",
        ));
    }
    if !(imbalance.is_finite() && imbalance >= 0.0) {
        return Err(Error::value(OPERATION, "imbalance", imbalance, "a finite number of 0 or more"));
    }
    for (at, edge) in edges.iter().enumerate() {
        if let Some(&vertex) = edge.iter().find(|&&vertex| vertex as usize >= vertices) {
            let what = format!("a vertex of edge {at}");
            return Err(Error::OutOfRange { operation: OPERATION, what, index: u64::from(vertex), bound: vertices });
        }
    }
    let graph = Hypergraph::new(vertices, edges);
    let even = vertices.div_ceil(parts);
    let most = ((even as f64 * (1.0 + imbalance)).floor() as usize).max(even);
    let rng = Rng::new(seed);
    let starts: Vec<State> = (0..STARTS)
        .into_par_iter()
        .map(|start| {
            let mut state = State::new(&graph, parts, most, &mut rng.fork(&format!("start {start}")), start);
            state.improve(&graph);
            state
        })
        .collect();
    let best = starts.into_iter().reduce(|best, next| if next.cost(&graph) < best.cost(&graph) { next } else { best });
    let Some(best) = best else { return Err(Error::invalid(OPERATION, "no start")) };
    let touched = |edge: usize| best.touched(edge);
    let cut = (0..graph.edges.len()).filter(|&edge| touched(edge) > 1).count();
    Ok(Partition { cut, connectivity: best.cost(&graph), parts: best.part_of })
}

struct Hypergraph {
    edges: Vec<Vec<u32>>,
    of_vertex: Vec<Vec<u32>>,
}

impl Hypergraph {
    fn new(vertices: usize, edges: &[Vec<u32>]) -> Self {
        let mut own = Vec::with_capacity(edges.len());
        let mut of_vertex = vec![Vec::new(); vertices];
        for edge in edges {
            let mut edge = edge.clone();
            edge.sort_unstable();
            edge.dedup();
            // an edge of one vertex is never cut
            if edge.len() > 1 {
                edge.iter().for_each(|&vertex| of_vertex[vertex as usize].push(own.len() as u32));
                own.push(edge);
            }
        }
        Self { edges: own, of_vertex }
    }
}

struct State {
    part_of: Vec<u32>,
    sizes: Vec<usize>,
    /// Vertices of each edge in each part, `[edges, parts]`.
    counts: Vec<u32>,
    /// For each vertex the edges of which it is the only vertex in its part: what leaving gains.
    alone: Vec<i64>,
    /// For each vertex and part the edges of the vertex that do not touch the part: what going there costs, `[vertices, parts]`.
    absent: Vec<i64>,
    parts: usize,
    most: usize,
}

impl State {
    /// A start: even starts grow parts around random vertices, odd ones are random.
    fn new(graph: &Hypergraph, parts: usize, most: usize, rng: &mut Rng, start: u64) -> Self {
        let n = graph.of_vertex.len();
        let order = rng.permutation(n);
        let mut part_of = vec![0u32; n];
        if start.is_multiple_of(2) {
            let mut free = order.clone();
            for part in 0..parts {
                // what is left is shared evenly among the parts that are left
                let size = free.len().div_ceil(parts - part);
                let mut attraction = vec![0.0f64; n];
                for _ in 0..size {
                    let mut best = 0;
                    for (at, &vertex) in free.iter().enumerate() {
                        if attraction[vertex as usize] > attraction[free[best] as usize] {
                            best = at;
                        }
                    }
                    // the order of the others stays
                    let vertex = free.remove(best);
                    part_of[vertex as usize] = part as u32;
                    for &edge in &graph.of_vertex[vertex as usize] {
                        let members = &graph.edges[edge as usize];
                        let pull = 1.0 / members.len() as f64;
                        members.iter().for_each(|&other| attraction[other as usize] += pull);
                    }
                }
            }
        } else {
            order.iter().enumerate().for_each(|(at, &vertex)| part_of[vertex as usize] = (at % parts) as u32);
        }
        let mut state = Self {
            sizes: vec![0; parts],
            counts: vec![0; graph.edges.len() * parts],
            alone: vec![0; n],
            absent: vec![0; n * parts],
            part_of,
            parts,
            most,
        };
        state.part_of.iter().for_each(|&part| state.sizes[part as usize] += 1);
        for (edge, members) in graph.edges.iter().enumerate() {
            for &vertex in members {
                state.counts[edge * parts + state.part_of[vertex as usize] as usize] += 1;
            }
            for &vertex in members {
                let own = state.part_of[vertex as usize] as usize;
                state.alone[vertex as usize] += i64::from(state.counts[edge * parts + own] == 1);
                for part in 0..parts {
                    state.absent[vertex as usize * parts + part] += i64::from(state.counts[edge * parts + part] == 0);
                }
            }
        }
        state
    }

    /// Moves a vertex and brings the gains of others up to date.
    fn shift(&mut self, graph: &Hypergraph, vertex: u32, to: u32) {
        let from = self.part_of[vertex as usize] as usize;
        let to = to as usize;
        self.sizes[from] -= 1;
        self.sizes[to] += 1;
        self.part_of[vertex as usize] = to as u32;
        let mut alone = 0;
        for &edge in &graph.of_vertex[vertex as usize] {
            let members = &graph.edges[edge as usize];
            let counts = &mut self.counts[edge as usize * self.parts..(edge as usize + 1) * self.parts];
            counts[from] -= 1;
            match counts[from] {
                0 => members.iter().for_each(|&other| self.absent[other as usize * self.parts + from] += 1),
                1 => {
                    if let Some(&last) = members.iter().find(|&&other| self.part_of[other as usize] as usize == from) {
                        self.alone[last as usize] += 1;
                    }
                }
                _ => {}
            }
            match counts[to] {
                0 => {
                    members.iter().for_each(|&other| self.absent[other as usize * self.parts + to] -= 1);
                    alone += 1;
                }
                1 => {
                    let is_other = |other: &&u32| **other != vertex && self.part_of[**other as usize] as usize == to;
                    if let Some(&first) = members.iter().find(is_other) {
                        self.alone[first as usize] -= 1;
                    }
                }
                _ => {}
            }
            counts[to] += 1;
        }
        self.alone[vertex as usize] = alone;
    }

    fn touched(&self, edge: usize) -> usize {
        self.counts[edge * self.parts..(edge + 1) * self.parts].iter().filter(|&&count| count > 0).count()
    }

    fn cost(&self, graph: &Hypergraph) -> usize {
        (0..graph.edges.len()).map(|edge| self.touched(edge) - 1).sum()
    }

    /// What Σ (λ − 1) falls by when a vertex goes to another part.
    fn gain(&self, vertex: u32, part: u32) -> i64 {
        self.alone[vertex as usize] - self.absent[vertex as usize * self.parts + part as usize]
    }

    /// The best move of all vertices that may move into a part that has room: gain, vertex, part; the first of equal ones.
    fn best_move(&self, is_locked: &[bool]) -> Option<(i64, u32, u32)> {
        let mut best: Option<(i64, u32, u32)> = None;
        for vertex in (0..self.part_of.len() as u32).filter(|&vertex| !is_locked[vertex as usize]) {
            let from = self.part_of[vertex as usize];
            if self.sizes[from as usize] == 1 {
                continue;
            }
            for part in (0..self.parts as u32).filter(|&part| part != from && self.sizes[part as usize] < self.most) {
                let gain = self.gain(vertex, part);
                if best.is_none_or(|(known, _, _)| gain > known) {
                    best = Some((gain, vertex, part));
                }
            }
        }
        best
    }

    /// Passes: every vertex moves once, the best move first even where it costs; the best state of the pass stays. Then swaps, where no part has room.
    fn improve(&mut self, graph: &Hypergraph) {
        for _ in 0..PASSES {
            let moved = self.pass(graph);
            let swapped = self.swaps(graph);
            if !moved && !swapped {
                break;
            }
        }
    }

    fn pass(&mut self, graph: &Hypergraph) -> bool {
        let n = self.part_of.len();
        let mut is_locked = vec![false; n];
        let mut moves: Vec<(u32, u32)> = Vec::new();
        let (mut total, mut best, mut best_len) = (0i64, 0i64, 0);
        // a pass that leads nowhere is given up
        while moves.len() < best_len + n / 4 + 8 {
            let Some((gain, vertex, part)) = self.best_move(&is_locked) else { break };
            moves.push((vertex, self.part_of[vertex as usize]));
            self.shift(graph, vertex, part);
            is_locked[vertex as usize] = true;
            total += gain;
            if total > best {
                (best, best_len) = (total, moves.len());
            }
        }
        for &(vertex, from) in moves[best_len..].iter().rev() {
            self.shift(graph, vertex, from);
        }
        best > 0
    }

    /// What two moves are said to gain by the edges that hold both vertices, which gain nothing by an exchange. Counting ends at `most`.
    fn gains_of_common(&self, graph: &Hypergraph, (first, second): (u32, u32), most: i64) -> i64 {
        let is_alone = |edge: u32, vertex: u32| {
            i64::from(self.counts[edge as usize * self.parts + self.part_of[vertex as usize] as usize] == 1)
        };
        let mut of_second = graph.of_vertex[second as usize].iter().peekable();
        let mut gains = 0;
        for &edge in &graph.of_vertex[first as usize] {
            if gains >= most {
                break;
            }
            while of_second.next_if(|&&other| other < edge).is_some() {}
            if of_second.peek() == Some(&&edge) {
                gains += is_alone(edge, first) + is_alone(edge, second);
            }
        }
        gains
    }

    /// Exchanges vertices of two parts while that gains.
    fn swaps(&mut self, graph: &Hypergraph) -> bool {
        let n = self.part_of.len() as u32;
        let mut has_changed = false;
        for first in 0..n {
            for second in first + 1..n {
                let (a, b) = (self.part_of[first as usize], self.part_of[second as usize]);
                if a == b {
                    continue;
                }
                let both = self.gain(first, b) + self.gain(second, a);
                if both > self.gains_of_common(graph, (first, second), both) {
                    self.shift(graph, first, b);
                    self.shift(graph, second, a);
                    has_changed = true;
                }
            }
        }
        has_changed
    }
}
