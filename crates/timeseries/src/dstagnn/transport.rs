//! Exact optimal transport between two discrete distributions: the transportation problem by successive shortest paths.

use crate::{Error, Result};

/// The least cost of moving one distribution onto another, with its certificate.
#[derive(Debug, Clone, PartialEq)]
pub struct Transport {
    /// `Σ γ(a,b) c(a,b)`.
    pub cost: f64,
    /// The plan γ, `[n][m]`: how much is moved from a to b.
    pub plan: Vec<f64>,
    /// Dual prices of the sources: `u(a) + v(b) ≤ c(a,b)`, with equality where γ is positive, and `Σ u p + Σ v q` is the cost.
    pub source_prices: Vec<f64>,
    /// Dual prices of the targets.
    pub target_prices: Vec<f64>,
}

const OP: &str = "optimal transport";

/// Solves `min Σ γ(a,b) c(a,b)` for `γ ≥ 0` with row sums `p` and column sums `q`; `cost` is `[n][m]`.
///
/// The result is exact up to rounding. Weights of zero are allowed. The cost is that of about n + m shortest paths of at most O(n m) each.
///
/// # Errors
/// No weight, weights that are negative or not finite, sums that differ by more than a relative 1e-9, a cost of another size or not finite.
///
/// ```
/// let solved = timeseries::dstagnn::transport(&[0.5, 0.5], &[0.25, 0.75], &[0., 1., 1., 0.])?;
/// assert!((solved.cost - 0.25).abs() < 1e-15);
/// # Ok::<(), timeseries::Error>(())
/// ```
pub fn transport(p: &[f64], q: &[f64], cost: &[f64]) -> Result<Transport> {
    if p.is_empty() || q.is_empty() {
        return Err(Error::count(OP, "the number of weights", 0, "at least 1"));
    }
    if let Some(&weight) = p.iter().chain(q).find(|&&weight| !(weight >= 0. && weight.is_finite())) {
        return Err(Error::value(OP, "a weight", weight, "finite and at least 0"));
    }
    if cost.len() != p.len() * q.len() {
        let (got, expected) = (cost.len(), p.len() * q.len());
        return Err(Error::Length { operation: OP, what: "the cost", got, expected });
    }
    if let Some(&value) = cost.iter().find(|value| !value.is_finite()) {
        return Err(Error::value(OP, "a cost", value, "finite"));
    }
    let (from, to): (f64, f64) = (p.iter().sum(), q.iter().sum());
    if (from - to).abs() > 1e-9 * from.max(to) {
        return Err(Error::value(OP, "the sum of the target's weights", to, format!("that of the source's, {from}")));
    }
    let mut solver = Solver::default();
    let value = solver.solve(p, q, cost);
    let m = q.len();
    let mut plan = vec![0.; cost.len()];
    for (b, column) in solver.flow.chunks_exact(p.len()).enumerate() {
        column.iter().enumerate().for_each(|(a, &flow)| plan[a * m + b] = flow);
    }
    Ok(Transport { cost: value, plan, source_prices: solver.u, target_prices: solver.v })
}

/// The memory of a solver, to be used again for other problems.
#[derive(Debug, Default)]
pub(crate) struct Solver {
    u: Vec<f64>,
    v: Vec<f64>,
    /// `[m][n]`: by target.
    flow: Vec<f64>,
    /// Sources with flow into each target, as bits.
    sources: Vec<u64>,
    supply: Vec<f64>,
    demand: Vec<f64>,
    /// Shortest distance to each target that is not settled yet; infinite for settled ones.
    open: Vec<f64>,
    distance: Vec<f64>,
    /// The source from which each target is reached.
    reached_from: Vec<u32>,
    /// The target from which each source is reached, and its distance; infinite for sources that are not.
    source_distance: Vec<f64>,
    source_from: Vec<u32>,
    settled: Vec<u32>,
    visited: Vec<u32>,
}

impl Solver {
    /// The least cost; prices and flow stay in the solver. Inputs are sound.
    pub(crate) fn solve(&mut self, p: &[f64], q: &[f64], cost: &[f64]) -> f64 {
        pulp::Arch::new().dispatch(Run { solver: self, p, q, cost })
    }

    #[inline(always)]
    fn run(&mut self, p: &[f64], q: &[f64], cost: &[f64]) -> f64 {
        let (n, m) = (p.len(), q.len());
        let words = n.div_ceil(64);
        let total: f64 = p.iter().sum();
        // what rounding leaves over is not moved
        let least = 1e-15 * total;
        self.reset(p, q, words);
        self.start(cost, n, m, words);
        for s in 0..n {
            while self.supply[s] > least {
                let Some((target, length)) = self.search(s, cost, n, m, words, least) else { break };
                self.reprice(length);
                self.augment(s, target, n, words);
            }
        }
        let mut value = 0.;
        for (b, column) in self.flow.chunks_exact(n).enumerate() {
            for (a, &flow) in column.iter().enumerate() {
                value += flow * cost[a * m + b];
            }
        }
        value
    }

    #[inline(always)]
    fn reset(&mut self, p: &[f64], q: &[f64], words: usize) {
        let (n, m) = (p.len(), q.len());
        let fill = |x: &mut Vec<f64>, len: usize, value: f64| {
            x.clear();
            x.resize(len, value);
        };
        fill(&mut self.u, n, 0.);
        fill(&mut self.v, m, 0.);
        fill(&mut self.flow, n * m, 0.);
        fill(&mut self.open, m, 0.);
        fill(&mut self.distance, m, 0.);
        fill(&mut self.source_distance, n, 0.);
        self.sources.clear();
        self.sources.resize(m * words, 0);
        self.reached_from.clear();
        self.reached_from.resize(m, 0);
        self.source_from.clear();
        self.source_from.resize(n, 0);
        self.supply.clear();
        self.supply.extend_from_slice(p);
        self.demand.clear();
        self.demand.extend_from_slice(q);
    }

    /// Prices from the least costs of columns and rows, and flow where they are tight.
    #[inline(always)]
    fn start(&mut self, cost: &[f64], n: usize, m: usize, words: usize) {
        self.v.copy_from_slice(&cost[..m]);
        for row in cost.chunks_exact(m) {
            self.v.iter_mut().zip(row).for_each(|(v, &c)| *v = if c < *v { c } else { *v });
        }
        for (a, row) in cost.chunks_exact(m).enumerate() {
            let least = row.iter().zip(&self.v).map(|(c, v)| c - v).fold(f64::INFINITY, f64::min);
            self.u[a] = least;
            for (b, &c) in row.iter().enumerate() {
                if c - self.v[b] <= least && self.supply[a] > 0. && self.demand[b] > 0. {
                    let amount = self.supply[a].min(self.demand[b]);
                    self.add(a, b, amount, n, words);
                    self.supply[a] -= amount;
                    self.demand[b] -= amount;
                }
            }
        }
    }

    #[inline(always)]
    fn add(&mut self, a: usize, b: usize, amount: f64, n: usize, words: usize) {
        let flow = &mut self.flow[b * n + a];
        *flow += amount;
        let (word, bit) = (&mut self.sources[b * words + a / 64], 1 << (a % 64));
        *word = if *flow > 0. { *word | bit } else { *word & !bit };
    }

    /// A shortest path in the residual network from source `s` to a target with demand: the target and the length.
    #[inline(always)]
    fn search(&mut self, s: usize, cost: &[f64], n: usize, m: usize, words: usize, least: f64) -> Option<(usize, f64)> {
        self.open.fill(f64::INFINITY);
        self.distance.fill(f64::INFINITY);
        self.source_distance.fill(f64::INFINITY);
        self.settled.clear();
        self.visited.clear();
        self.visit(s, 0., cost, m);
        loop {
            let (mut best, mut target) = (f64::INFINITY, m);
            for (b, &open) in self.open.iter().enumerate() {
                if open < best {
                    (best, target) = (open, b);
                }
            }
            if target == m {
                return None;
            }
            self.distance[target] = best;
            if self.demand[target] > least {
                return Some((target, best));
            }
            self.open[target] = f64::INFINITY;
            self.settled.push(target as u32);
            for word in 0..words {
                let mut bits = self.sources[target * words + word];
                while bits != 0 {
                    let a = word * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    if a < n && self.source_distance[a] == f64::INFINITY {
                        self.source_from[a] = target as u32;
                        self.visit(a, best, cost, m);
                    }
                }
            }
        }
    }

    /// Shortens the distances of open targets over source `a`, which is `length` away.
    #[inline(always)]
    fn visit(&mut self, a: usize, length: f64, cost: &[f64], m: usize) {
        self.source_distance[a] = length;
        self.visited.push(a as u32);
        let base = length - self.u[a];
        let row = &cost[a * m..(a + 1) * m];
        let targets = self.open.iter_mut().zip(&mut self.reached_from).zip(&self.distance);
        for (((open, from), settled), (c, v)) in targets.zip(row.iter().zip(&self.v)) {
            let through = base + c - v;
            // settled targets have a finite distance
            let is_shorter = through < *open && *settled == f64::INFINITY;
            *open = if is_shorter { through } else { *open };
            *from = if is_shorter { a as u32 } else { *from };
        }
    }

    #[inline(always)]
    fn reprice(&mut self, length: f64) {
        for &a in &self.visited {
            self.u[a as usize] += length - self.source_distance[a as usize];
        }
        for &b in &self.settled {
            self.v[b as usize] -= length - self.distance[b as usize];
        }
    }

    #[inline(always)]
    fn augment(&mut self, s: usize, target: usize, n: usize, words: usize) {
        let mut amount = self.supply[s].min(self.demand[target]);
        let mut b = target;
        loop {
            let a = self.reached_from[b] as usize;
            if a == s {
                break;
            }
            b = self.source_from[a] as usize;
            amount = amount.min(self.flow[b * n + a]);
        }
        let mut b = target;
        loop {
            let a = self.reached_from[b] as usize;
            self.add(a, b, amount, n, words);
            if a == s {
                break;
            }
            b = self.source_from[a] as usize;
            self.add(a, b, -amount, n, words);
        }
        self.supply[s] -= amount;
        self.demand[target] -= amount;
    }
}

struct Run<'a> {
    solver: &'a mut Solver,
    p: &'a [f64],
    q: &'a [f64],
    cost: &'a [f64],
}

impl pulp::WithSimd for Run<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> f64 {
        self.solver.run(self.p, self.q, self.cost)
    }
}
