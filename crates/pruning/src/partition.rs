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
    /// The same for each start of the search, in their order: how far they are apart says whether more would help.
    pub of_starts: Vec<usize>,
}

/// Starts of the search.
const STARTS: u64 = 16;
/// Passes over all vertices at most, in each start.
const PASSES: usize = 30;
/// Vertices of which each may have a number for each other.
const MOST_OF_PULLS: usize = 2048;
/// Words of a bit for each vertex and edge.
const MOST_WORDS: usize = 1 << 22;
/// So many that gains and the signs of what cannot be moved are told apart in 32 bits.
const MOST_EDGES: usize = 1 << 28;
/// What going to its own part costs a vertex, and a vertex that cannot be moved gains.
const NEVER: i32 = 1 << 30;

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
    if edges.len() > MOST_EDGES {
        let what = "edges";
        return Err(Error::value(OPERATION, what, edges.len() as f64, "at most 2^28"));
    }
    let graph = Hypergraph::new(vertices, edges);
    let even = vertices.div_ceil(parts);
    let most = ((even as f64 * (1.0 + imbalance)).floor() as usize).max(even);
    let rng = Rng::new(seed);
    let pulls = (vertices <= MOST_OF_PULLS).then(|| graph.pulls());
    let starts: Vec<(usize, State)> = (0..STARTS)
        .into_par_iter()
        .map(|start| {
            let mut rng = rng.fork(&format!("start {start}"));
            let part_of = match start.is_multiple_of(2) {
                true => grown(&graph, pulls.as_deref(), parts, &mut rng),
                false => scattered(vertices, parts, &mut rng),
            };
            let mut state = State::new(&graph, part_of, parts, most);
            state.improve(&graph);
            (state.cost(), state)
        })
        .collect();
    let of_starts = starts.iter().map(|(cost, _)| *cost).collect();
    let best = starts.into_iter().reduce(|best, next| if next.0 < best.0 { next } else { best });
    let Some((connectivity, best)) = best else { return Err(Error::invalid(OPERATION, "no start")) };
    Ok(Partition { cut: best.cut(), connectivity, of_starts, parts: best.part_of })
}

struct Hypergraph {
    edges: Vec<Vec<u32>>,
    /// The edges of each vertex, ascending.
    of_vertex: Vec<Vec<u32>>,
    /// The same as a bit for each vertex and edge, `[vertices, words]`, where that is little.
    bits: Option<(Vec<u64>, usize)>,
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
        let words = own.len().div_ceil(64);
        let bits = (vertices.saturating_mul(words) <= MOST_WORDS).then(|| {
            let mut bits = vec![0u64; vertices * words];
            for (vertex, edges) in of_vertex.iter().enumerate() {
                edges.iter().for_each(|&edge| bits[vertex * words + edge as usize / 64] |= 1 << (edge % 64));
            }
            (bits, words)
        });
        Self { edges: own, of_vertex, bits }
    }

    fn has(&self, edge: u32, vertex: u32) -> bool {
        match &self.bits {
            Some((bits, words)) => bits[vertex as usize * words + edge as usize / 64] >> (edge % 64) & 1 == 1,
            None => self.of_vertex[vertex as usize].binary_search(&edge).is_ok(),
        }
    }

    /// How much each vertex pulls each other, `[vertices, vertices]`: the sum of 1 / size over the edges that both are in.
    fn pulls(&self) -> Vec<f64> {
        let n = self.of_vertex.len();
        let mut pulls = vec![0.0; n * n];
        // of those behind it
        pulls.par_chunks_mut(n).enumerate().for_each(|(vertex, row)| {
            for &edge in &self.of_vertex[vertex] {
                let members = &self.edges[edge as usize];
                let pull = 1.0 / members.len() as f64;
                for &other in members.iter().rev().take_while(|&&other| other as usize > vertex) {
                    row[other as usize] += pull;
                }
            }
        });
        for vertex in 0..n {
            for other in vertex + 1..n {
                pulls[other * n + vertex] = pulls[vertex * n + other];
            }
        }
        pulls
    }
}

/// A random start: the part of each vertex.
fn scattered(vertices: usize, parts: usize, rng: &mut Rng) -> Vec<u32> {
    let mut part_of = vec![0; vertices];
    rng.permutation(vertices)
        .iter()
        .enumerate()
        .for_each(|(at, &vertex)| part_of[vertex as usize] = (at % parts) as u32);
    part_of
}

/// A start of parts that grow around random vertices by what is pulled most.
fn grown(graph: &Hypergraph, pulls: Option<&[f64]>, parts: usize, rng: &mut Rng) -> Vec<u32> {
    let n = graph.of_vertex.len();
    let mut part_of = vec![0; n];
    let mut free = rng.permutation(n);
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
            let vertex = free.remove(best) as usize;
            part_of[vertex] = part as u32;
            match pulls {
                Some(pulls) => {
                    attraction.iter_mut().zip(&pulls[vertex * n..]).for_each(|(sum, &pull)| *sum += pull);
                }
                None => {
                    for &edge in &graph.of_vertex[vertex] {
                        let members = &graph.edges[edge as usize];
                        let pull = 1.0 / members.len() as f64;
                        members.iter().for_each(|&other| attraction[other as usize] += pull);
                    }
                }
            }
        }
    }
    part_of
}

struct State {
    part_of: Vec<u32>,
    sizes: Vec<usize>,
    /// Vertices of each edge in each part, `[parts, edges]`.
    counts: Vec<u32>,
    /// For each vertex the edges of which it is the only vertex in its part, in any order: what leaving gains.
    alone: Vec<Vec<u32>>,
    /// For each part and vertex the edges of the vertex that do not touch the part: what going there costs, `[parts, vertices]`; [`NEVER`] for the part of the vertex.
    absent: Vec<i32>,
    /// Vertices whose `alone` the last move changed, without the one that moved.
    changed: Vec<u32>,
    parts: usize,
    edges: usize,
    most: usize,
}

/// The best moves of a pass: for each part the largest gain of a move there, and the first vertex that has it.
struct Moves {
    /// What a vertex gains by leaving its part; `-NEVER` where it may not.
    leaving: Vec<i32>,
    best: Vec<Option<(i32, u32)>>,
    is_known: Vec<bool>,
    is_locked: Vec<bool>,
}

impl State {
    fn new(graph: &Hypergraph, part_of: Vec<u32>, parts: usize, most: usize) -> Self {
        let (n, edges) = (part_of.len(), graph.edges.len());
        let mut state = Self {
            sizes: vec![0; parts],
            counts: vec![0; edges * parts],
            alone: vec![Vec::new(); n],
            absent: vec![0; n * parts],
            changed: Vec::new(),
            part_of,
            parts,
            edges,
            most,
        };
        state.part_of.iter().for_each(|&part| state.sizes[part as usize] += 1);
        let mut of_edge = vec![0u32; parts];
        for (edge, members) in graph.edges.iter().enumerate() {
            of_edge.fill(0);
            members.iter().for_each(|&vertex| of_edge[state.part_of[vertex as usize] as usize] += 1);
            for (part, &count) in of_edge.iter().enumerate() {
                state.counts[part * edges + edge] = count;
                if count == 0 {
                    members.iter().for_each(|&vertex| state.absent[part * n + vertex as usize] += 1);
                }
            }
            if of_edge.contains(&1) {
                let is_alone = |vertex: &&u32| of_edge[state.part_of[**vertex as usize] as usize] == 1;
                members.iter().filter(is_alone).for_each(|&vertex| state.alone[vertex as usize].push(edge as u32));
            }
        }
        for (vertex, &part) in state.part_of.iter().enumerate() {
            state.absent[part as usize * n + vertex] = NEVER;
        }
        state
    }

    /// Moves a vertex and brings the gains of others up to date.
    fn shift(&mut self, graph: &Hypergraph, vertex: u32, to: u32) {
        let Self { part_of, sizes, counts, alone, absent, changed, edges, .. } = self;
        let (n, from, to) = (part_of.len(), part_of[vertex as usize] as usize, to as usize);
        sizes[from] -= 1;
        sizes[to] += 1;
        part_of[vertex as usize] = to as u32;
        changed.clear();
        let mut own = std::mem::take(&mut alone[vertex as usize]);
        let left_alone = own.len();
        own.clear();
        let (low, high) = counts.split_at_mut(from.max(to) * *edges);
        let (low, high) = (&mut low[from.min(to) * *edges..][..*edges], &mut high[..*edges]);
        let (of_from, of_to) = if from < to { (low, high) } else { (high, low) };
        for &edge in &graph.of_vertex[vertex as usize] {
            let members = &graph.edges[edge as usize];
            let (count_from, count_to) = (&mut of_from[edge as usize], &mut of_to[edge as usize]);
            *count_from -= 1;
            match *count_from {
                0 => members.iter().for_each(|&other| absent[from * n + other as usize] += 1),
                1 => {
                    if let Some(&last) = members.iter().find(|&&other| part_of[other as usize] as usize == from) {
                        alone[last as usize].push(edge);
                        changed.push(last);
                    }
                }
                _ => {}
            }
            match *count_to {
                0 => {
                    members.iter().for_each(|&other| absent[to * n + other as usize] -= 1);
                    own.push(edge);
                }
                1 => {
                    let is_other = |other: &&u32| **other != vertex && part_of[**other as usize] as usize == to;
                    if let Some(&first) = members.iter().find(is_other) {
                        alone[first as usize].retain(|&other| other != edge);
                        changed.push(first);
                    }
                }
                _ => {}
            }
            *count_to += 1;
        }
        alone[vertex as usize] = own;
        absent[from * n + vertex as usize] = left_alone as i32;
        absent[to * n + vertex as usize] = NEVER;
    }

    /// Edges that touch more than one part.
    fn cut(&self) -> usize {
        let touched = |edge: usize| (0..self.parts).filter(|part| self.counts[part * self.edges + edge] > 0).count();
        (0..self.edges).filter(|&edge| touched(edge) > 1).count()
    }

    fn cost(&self) -> usize {
        self.counts.iter().filter(|&&count| count > 0).count() - self.edges
    }

    fn leaving(&self, vertex: u32) -> i32 {
        self.alone[vertex as usize].len() as i32
    }

    /// What Σ (λ − 1) falls by when a vertex goes to another part.
    fn gain(&self, vertex: u32, part: u32) -> i32 {
        self.leaving(vertex) - self.absent[part as usize * self.part_of.len() + vertex as usize]
    }

    /// What may be moved at the beginning of a pass.
    fn moves(&self) -> Moves {
        let n = self.part_of.len();
        let mut moves = Moves {
            leaving: Vec::new(),
            best: vec![None; self.parts],
            is_known: Vec::new(),
            is_locked: vec![false; n],
        };
        self.look_again(&mut moves);
        moves
    }

    /// Finds all again.
    fn look_again(&self, moves: &mut Moves) {
        let leaving = |vertex: usize| {
            let may_move = !moves.is_locked[vertex] && self.sizes[self.part_of[vertex] as usize] > 1;
            if may_move { self.leaving(vertex as u32) } else { -NEVER }
        };
        moves.leaving = (0..self.part_of.len()).map(leaving).collect();
        moves.is_known = vec![false; self.parts];
    }

    /// The best move of all vertices that may move into a part that has room: gain, vertex, part; the first of equal ones.
    fn best_move(&self, moves: &mut Moves) -> Option<(i32, u32, u32)> {
        let n = self.part_of.len();
        let mut best: Option<(i32, u32, u32)> = None;
        for part in (0..self.parts).filter(|&part| self.sizes[part] < self.most) {
            if !moves.is_known[part] {
                let absent = &self.absent[part * n..][..n];
                let gains = || moves.leaving.iter().zip(absent).map(|(leaving, absent)| leaving - absent);
                let largest = gains().fold(-NEVER, i32::max);
                let first = if largest > -NEVER / 2 { gains().position(|gain| gain == largest) } else { None };
                moves.best[part] = first.map(|vertex| (largest, vertex as u32));
                moves.is_known[part] = true;
            }
            if let Some((gain, vertex)) = moves.best[part]
                && best.is_none_or(|(most, first, _)| gain > most || (gain == most && vertex < first))
            {
                best = Some((gain, vertex, part as u32));
            }
        }
        best
    }

    /// Brings the best moves up to date behind a move of this vertex, which does not move again.
    fn follow(&self, moves: &mut Moves, vertex: u32, from: u32) {
        let (n, to) = (self.part_of.len(), self.part_of[vertex as usize]);
        moves.is_locked[vertex as usize] = true;
        if self.sizes[from as usize] == 1 || self.sizes[to as usize] == 2 {
            // a vertex that is the last of its part stays
            self.look_again(moves);
            return;
        }
        moves.leaving[vertex as usize] = -NEVER;
        for part in [from, to] {
            moves.is_known[part as usize] = false;
        }
        for (is_known, best) in moves.is_known.iter_mut().zip(&moves.best) {
            *is_known &= best.is_none_or(|(_, first)| first != vertex);
        }
        for &other in self.changed.iter().filter(|&&other| !moves.is_locked[other as usize]) {
            let leaving = self.leaving(other);
            moves.leaving[other as usize] = leaving;
            for part in 0..self.parts {
                let gain = leaving - self.absent[part * n + other as usize];
                match moves.best[part] {
                    Some((_, first)) if first == other => moves.is_known[part] = false,
                    Some((most, first)) if gain > most || (gain == most && other < first) => {
                        moves.best[part] = Some((gain, other));
                    }
                    None => moves.is_known[part] = false,
                    Some(_) => {}
                }
            }
        }
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
        let mut moves = self.moves();
        let mut done: Vec<(u32, u32)> = Vec::new();
        let (mut total, mut best, mut best_len) = (0i64, 0i64, 0);
        // a pass that leads nowhere is given up
        while done.len() < best_len + n / 4 + 8 {
            let Some((gain, vertex, part)) = self.best_move(&mut moves) else { break };
            let from = self.part_of[vertex as usize];
            done.push((vertex, from));
            self.shift(graph, vertex, part);
            self.follow(&mut moves, vertex, from);
            total += i64::from(gain);
            if total > best {
                (best, best_len) = (total, done.len());
            }
        }
        for &(vertex, from) in done[best_len..].iter().rev() {
            self.shift(graph, vertex, from);
        }
        best > 0
    }

    /// What two moves are said to gain by the edges that hold both vertices, which gain nothing by an exchange.
    fn gains_of_common(&self, graph: &Hypergraph, first: u32, second: u32) -> usize {
        let of = |one: u32, other: u32| self.alone[one as usize].iter().filter(|&&edge| graph.has(edge, other)).count();
        of(first, second) + of(second, first)
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
                if both > 0 && both as usize > self.gains_of_common(graph, first, second) {
                    self.shift(graph, first, b);
                    self.shift(graph, second, a);
                    has_changed = true;
                }
            }
        }
        has_changed
    }
}
