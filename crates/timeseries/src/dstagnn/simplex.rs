//! The transportation simplex on a tree, for many problems of the size of some weeks of days.
//!
//! A basic solution is a spanning tree of sources and targets. A pivot adds the pair that is priced lowest among some rows, sends what the cycle allows around it, and drops the pair that
//! runs empty. It solves what [`transport`](super::transport()) solves, in less time, and may give up where ties make it cycle.

/// Rows that are priced before the best pair among them is taken.
const ROWS: usize = 4;
/// Prices closer than this count as equal; the result is off by no more, since the weights sum to one.
const TOLERANCE: f64 = 1e-13;
const NONE: usize = usize::MAX;

/// The memory of a solver, to be used again for other problems. Nodes are sources and, behind them, targets.
#[derive(Debug, Default)]
pub(super) struct Simplex {
    /// Prices: source and target of a pair in the tree add up to its cost.
    price: Vec<f64>,
    parent: Vec<usize>,
    /// On the edge to the parent.
    flow: Vec<f64>,
    depth: Vec<u32>,
    neighbours: Vec<Vec<u16>>,
    stack: Vec<(usize, usize)>,
    open: Vec<usize>,
    rest: Vec<f64>,
    reduced: Vec<f64>,
}

impl Simplex {
    /// The least cost; `None` when it gives up. Inputs are sound: weights are positive and sum to the same, `cost` is `[n][m]`, and there are fewer than 65,536 of both.
    pub(super) fn solve(&mut self, p: &[f64], q: &[f64], cost: &[f64]) -> Option<f64> {
        pulp::Arch::new().dispatch(Run { simplex: self, p, q, cost })
    }

    #[inline(always)]
    fn run(&mut self, p: &[f64], q: &[f64], cost: &[f64]) -> Option<f64> {
        let (n, m) = (p.len(), q.len());
        self.start(p, q, cost);
        let mut row = 0;
        for _ in 0..100 * (n + m) {
            let Some((a, b, violation)) = self.entering(cost, n, m, &mut row) else {
                let mut value = 0.;
                for node in 0..n + m {
                    let parent = self.parent[node];
                    if parent != NONE {
                        let (a, b) = if node < n { (node, parent - n) } else { (parent, node - n) };
                        value += self.flow[node] * cost[a * m + b];
                    }
                }
                return Some(value);
            };
            self.pivot(a, n + b, violation, n);
        }
        None
    }

    /// A first tree: each row takes its cheapest columns, in the order of what a column's least cost leaves.
    #[inline(always)]
    fn start(&mut self, p: &[f64], q: &[f64], cost: &[f64]) {
        let (n, m) = (p.len(), q.len());
        let count = n + m;
        for list in &mut self.neighbours {
            list.clear();
        }
        self.neighbours.resize_with(count.max(self.neighbours.len()), Vec::new);
        let fill = |x: &mut Vec<f64>, len: usize| {
            x.clear();
            x.resize(len, 0.);
        };
        fill(&mut self.price, count);
        fill(&mut self.flow, count);
        fill(&mut self.reduced, m);
        self.parent.clear();
        self.parent.resize(count, NONE);
        self.depth.clear();
        self.depth.resize(count, 0);
        self.rest.clear();
        self.rest.extend_from_slice(q);
        self.open.clear();
        self.open.extend(0..m);
        // what each column costs least, so that rows compare columns by what is left
        let mut least = std::mem::take(&mut self.reduced);
        least.copy_from_slice(&cost[..m]);
        for row in cost.chunks_exact(m) {
            least.iter_mut().zip(row).for_each(|(least, &c)| *least = if c < *least { c } else { *least });
        }
        // edges of the tree with their flows, by source; flows are moved to nodes when the tree is rooted
        let mut edges: Vec<(usize, usize, f64)> = Vec::with_capacity(count);
        for (a, &supply) in p.iter().enumerate() {
            let mut supply = supply;
            loop {
                let row = &cost[a * m..(a + 1) * m];
                let mut best = 0;
                for at in 1..self.open.len() {
                    let (b, other) = (self.open[at], self.open[best]);
                    if row[b] - least[b] < row[other] - least[other] {
                        best = at;
                    }
                }
                let b = self.open[best];
                // the last row takes what is left of every column, the last column what is left of every row
                let closes_column = if self.open.len() == 1 { false } else { a + 1 == n || self.rest[b] < supply };
                let amount = if closes_column { self.rest[b] } else { supply };
                edges.push((a, n + b, amount.max(0.)));
                if closes_column {
                    supply -= self.rest[b];
                    self.open.swap_remove(best);
                } else {
                    self.rest[b] -= supply;
                    break;
                }
            }
        }
        self.reduced = least;
        for &(a, b, _) in &edges {
            self.neighbours[a].push(b as u16);
            self.neighbours[b].push(a as u16);
        }
        self.stack.clear();
        self.stack.push((0, NONE));
        while let Some((node, parent)) = self.stack.pop() {
            self.parent[node] = parent;
            if parent != NONE {
                let (a, b) = if node < n { (node, parent - n) } else { (parent, node - n) };
                self.price[node] = cost[a * m + b] - self.price[parent];
                self.depth[node] = self.depth[parent] + 1;
            }
            for &next in &self.neighbours[node] {
                if usize::from(next) != parent {
                    self.stack.push((usize::from(next), node));
                }
            }
        }
        for (a, b, amount) in edges {
            let node = if self.parent[a] == b { a } else { b };
            self.flow[node] = amount;
        }
    }

    /// The pair that is priced lowest among the next rows with any, and by how much: `c − u − v`, below 0.
    #[inline(always)]
    fn entering(&mut self, cost: &[f64], n: usize, m: usize, row: &mut usize) -> Option<(usize, usize, f64)> {
        let (sources, targets) = self.price.split_at(n);
        let targets = &targets[..m];
        let mut best = (NONE, -TOLERANCE);
        let mut since = 0;
        for _ in 0..n {
            let costs = &cost[*row * m..(*row + 1) * m];
            let mut lanes = [f64::INFINITY; 8];
            let ((costs, c), (prices, v)) = (costs.as_chunks::<8>(), targets.as_chunks::<8>());
            for (costs, prices) in costs.iter().zip(prices) {
                for ((lane, &c), &v) in lanes.iter_mut().zip(costs).zip(prices) {
                    let reduced = c - v;
                    *lane = if reduced < *lane { reduced } else { *lane };
                }
            }
            for (lane, (&c, &v)) in lanes.iter_mut().zip(c.iter().zip(v)) {
                *lane = if c - v < *lane { c - v } else { *lane };
            }
            let least = lanes.iter().fold(f64::INFINITY, |a, &b| if b < a { b } else { a }) - sources[*row];
            if least < best.1 {
                best = (*row, least);
            }
            *row = if *row + 1 == n { 0 } else { *row + 1 };
            if best.0 != NONE {
                since += 1;
                if since == ROWS {
                    break;
                }
            }
        }
        if best.0 == NONE {
            return None;
        }
        let (a, violation) = best;
        let costs = &cost[a * m..(a + 1) * m];
        let b = costs.iter().zip(targets).position(|(c, v)| c - v - sources[a] <= violation)?;
        Some((a, b, violation))
    }

    /// Brings the edge from `source` to `target` into the tree.
    #[inline(always)]
    fn pivot(&mut self, source: usize, target: usize, violation: f64, n: usize) {
        // the cycle: both ends climb until they meet; on the way edges alternately lose and gain flow
        let (mut x, mut y) = (source, target);
        let (mut amount, mut leaving, mut is_on_source_side) = (f64::INFINITY, NONE, true);
        while x != y {
            if self.depth[x] >= self.depth[y] {
                if x < n && self.flow[x] < amount {
                    (amount, leaving, is_on_source_side) = (self.flow[x], x, true);
                }
                x = self.parent[x];
            } else {
                if y >= n && self.flow[y] < amount {
                    (amount, leaving, is_on_source_side) = (self.flow[y], y, false);
                }
                y = self.parent[y];
            }
        }
        let top = x;
        let mut x = source;
        while x != top {
            self.flow[x] += if x < n { -amount } else { amount };
            x = self.parent[x];
        }
        let mut y = target;
        while y != top {
            self.flow[y] += if y >= n { -amount } else { amount };
            y = self.parent[y];
        }
        // the part below the leaving edge hangs from the entering one now
        let cut = self.parent[leaving];
        let remove = |list: &mut Vec<u16>, node: usize| {
            if let Some(at) = list.iter().position(|&other| usize::from(other) == node) {
                list.swap_remove(at);
            }
        };
        remove(&mut self.neighbours[leaving], cut);
        remove(&mut self.neighbours[cut], leaving);
        self.neighbours[source].push(target as u16);
        self.neighbours[target].push(source as u16);
        let (from, onto) = if is_on_source_side { (source, target) } else { (target, source) };
        let (mut node, mut parent, mut flow) = (from, onto, amount);
        loop {
            let (next, old) = (self.parent[node], self.flow[node]);
            (self.parent[node], self.flow[node]) = (parent, flow);
            if node == leaving {
                break;
            }
            (parent, node, flow) = (node, next, old);
        }
        // its prices move by the violation, sources and targets against each other
        let of_sources = if is_on_source_side { violation } else { -violation };
        self.stack.clear();
        self.stack.push((from, onto));
        while let Some((node, parent)) = self.stack.pop() {
            self.depth[node] = self.depth[parent] + 1;
            self.price[node] += if node < n { of_sources } else { -of_sources };
            for &next in &self.neighbours[node] {
                if usize::from(next) != parent {
                    self.stack.push((usize::from(next), node));
                }
            }
        }
    }
}

struct Run<'a> {
    simplex: &'a mut Simplex,
    p: &'a [f64],
    q: &'a [f64],
    cost: &'a [f64],
}

impl pulp::WithSimd for Run<'_> {
    type Output = Option<f64>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Option<f64> {
        self.simplex.run(self.p, self.q, self.cost)
    }
}

#[cfg(test)]
mod tests {
    use super::super::transport::transport;
    use super::*;
    use core_tensor::random::Rng;

    #[test]
    fn it_finds_what_shortest_paths_find() {
        let mut rng = Rng::new(0);
        let mut simplex = Simplex::default();
        for round in 0..400 {
            let (n, m) = (1 + rng.below(30), 1 + rng.below(30));
            // equal weights and few levels of cost, so that ties abound, in every other round
            let has_ties = round % 2 == 0;
            let mut weights = |count: usize| -> Vec<f64> {
                let raw: Vec<f64> = (0..count).map(|_| if has_ties { 1. } else { 0.1 + rng.unit() }).collect();
                let sum: f64 = raw.iter().sum();
                raw.iter().map(|w| w / sum).collect()
            };
            let (p, q) = (weights(n), weights(m));
            let cost: Vec<f64> = (0..n * m).map(|_| if has_ties { rng.below(4) as f64 } else { rng.unit() }).collect();
            let expected = transport(&p, &q, &cost).unwrap().cost;
            if let Some(found) = simplex.solve(&p, &q, &cost) {
                assert!((found - expected).abs() < 1e-11, "{n} x {m}: {found} instead of {expected}");
            } else {
                assert!(has_ties, "{n} x {m} without ties");
            }
        }
    }
}
