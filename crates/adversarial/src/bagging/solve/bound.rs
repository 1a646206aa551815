//! A bound of what the attacks below a node change: a maximum of lines, tightened by Frank-Wolfe steps.
//!
//! For an open column `i` the line `l_i(S) = Σ_{g in S} a_i[g] - offset_i` is at least 1 where `S` changes the column and at least 0 where it does not, so that for any `θ` in [0, 1]
//!
//! ```text
//! Σ_i n_i [S changes i]  ≤  Σ_i n_i (1 - θ_i) + Σ_i n_i θ_i l_i(S)
//! ```
//!
//! and the right side, linear in `S`, is largest for the choices with the largest sums of `Σ_i n_i θ_i a_i[g]`. Good `θ` come from the relaxation: 1 where the line is below 1 at its maximum.

use super::super::bits;
use super::super::limits::Watch;
use super::super::problem::Problem;
use super::attack::Choices;
use super::node::{Lines, Node};

/// Units of all rows as bytes, and what a bound needs room for.
pub(super) struct Units {
    /// `[rows, stride]`: 0, 1 or 2
    units: Vec<u8>,
    stride: usize,
}

/// More bytes of units than this are not kept; then nodes are bounded by their reach alone.
const LARGEST: usize = 1 << 29;

impl Units {
    /// None are kept once the time is over.
    pub(super) fn new(problem: &Problem, watch: &Watch<'_>) -> Self {
        let stride = problem.num_sub_classifiers().next_multiple_of(8);
        let mut units = Vec::new();
        if problem.gaps.len().saturating_mul(stride) <= LARGEST {
            units = vec![0; problem.gaps.len() * stride];
            for (row, units) in units.chunks_exact_mut(stride).enumerate() {
                if row % 4096 == 4095 && watch.is_over() {
                    return Self { units: Vec::new(), stride };
                }
                for (sub_classifier, unit) in units[..problem.num_sub_classifiers()].iter_mut().enumerate() {
                    *unit = problem.unit(row, sub_classifier) as u8;
                }
            }
        }
        Self { units, stride }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }
}

/// What a bound found.
pub(super) struct Bound {
    /// No attack below the node changes more.
    pub(super) value: u64,
    /// Choices by the sums of the best line, best first.
    pub(super) ranking: Vec<u32>,
}

/// One evaluation: `θ` from the shares, then the largest attack of the combined line.
struct Step<'a> {
    problem: &'a Problem,
    units: &'a Units,
    node: &'a Node,
    lines: &'a Lines,
    share: &'a [f64],
    /// `[stride]`, sums of `n θ a`
    sums: &'a mut [f64],
    line: &'a mut [f64],
}

/// Half the width of the transition of `θ` from 1 to 0 around lines of 1.
const WIDTH: f64 = 0.15;

impl pulp::WithSimd for Step<'_> {
    /// The constant part of the combined line.
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> f64 {
        let Step { problem, units, node, lines, share, sums, line } = self;
        sums.fill(0.);
        let mut constant = 0.;
        for (at, &column) in node.open.iter().enumerate() {
            let weight = problem.columns[column as usize].weight as f64;
            let rows = lines.starts[at] as usize..lines.starts[at + 1] as usize;
            let first = &units.units[lines.rows[rows.start] as usize * units.stride..][..units.stride];
            let slope = lines.slopes[rows.start];
            for (line, &unit) in line.iter_mut().zip(first) {
                *line = slope * f64::from(unit);
            }
            for other in rows.start + 1..rows.end {
                let slope = lines.slopes[other];
                let units = &units.units[lines.rows[other] as usize * units.stride..][..units.stride];
                for (line, &unit) in line.iter_mut().zip(units) {
                    *line = line.max(slope * f64::from(unit));
                }
            }
            let mut lanes = [0f64; 8];
            for (line, share) in line.as_chunks::<8>().0.iter().zip(share.as_chunks::<8>().0) {
                for lane in 0..8 {
                    lanes[lane] += line[lane] * share[lane];
                }
            }
            let value = lanes.iter().sum::<f64>() - lines.offsets[at];
            let theta = ((1. + WIDTH - value) / (2. * WIDTH)).clamp(0., 1.);
            let factor = theta * weight;
            constant += weight - factor - factor * lines.offsets[at];
            if theta > 0. {
                for (sum, line) in sums.iter_mut().zip(&*line) {
                    *sum += factor * line;
                }
            }
        }
        constant
    }
}

/// Bounds the node; stops early once the bound is at most `enough`.
pub(super) fn bound(
    problem: &Problem,
    choices: &Choices,
    units: &Units,
    (node, lines): (&mut Node, &Lines),
    steps: usize,
    enough: u64,
    watch: &Watch<'_>,
) -> Bound {
    let reachable: u64 = node.open.iter().map(|&column| problem.columns[column as usize].weight).sum();
    let mut best = Bound { value: node.changed + reachable, ranking: node.candidates.clone() };
    if best.value <= enough || units.is_empty() || node.open.is_empty() {
        return best;
    }
    let slack = (1e-12 * best.value as f64).max(1e-6);
    let stride = units.stride;
    let is_warm = start(problem, choices, node, stride);
    let (mut sums, mut line) = (vec![0.; stride], vec![0.; stride]);
    let mut scored: Vec<(f64, u32)> = Vec::with_capacity(node.candidates.len());
    let mut is_first = true;
    for step in 0..steps {
        let share = &node.share;
        let pass = Step { problem, units, node: &*node, lines, share, sums: &mut sums, line: &mut line };
        let constant = pulp::Arch::new().dispatch(pass);
        scored.clear();
        for &candidate in &node.candidates {
            if node.left[choices.groups[candidate as usize]] > 0 {
                let set = choices.set(candidate as usize);
                let score: f64 = new_elements(set, &node.controlled).map(|g| sums[g]).sum();
                scored.push((score, candidate));
            }
        }
        scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut left = node.left.clone();
        let mut value = node.changed as f64 + constant;
        let mut taken = vec![0.; stride];
        for &(score, candidate) in &scored {
            let left = &mut left[choices.groups[candidate as usize]];
            if *left > 0 {
                *left -= 1;
                value += score;
                new_elements(choices.set(candidate as usize), &node.controlled).for_each(|g| taken[g] = 1.);
            }
        }
        // rounding must not make a bound too small: relative to the weight of all, and far below one unit while that is below 10^9
        let value = (value + slack).max(0.).floor() as u64;
        if value < best.value || is_first {
            best.value = best.value.min(value);
            best.ranking = scored.iter().map(|&(_, candidate)| candidate).collect();
            is_first = false;
        }
        if best.value <= enough || (node.open.len() > 4096 && watch.is_over()) {
            break;
        }
        let pace = 2. / (step as f64 + if is_warm { 8. } else { 2. });
        for (share, taken) in node.share.iter_mut().zip(&taken) {
            *share += pace * (taken - *share);
        }
    }
    best
}

fn new_elements<'a>(set: &'a [u64], known: &'a [u64]) -> impl Iterator<Item = usize> + 'a {
    set.iter().zip(known).enumerate().flat_map(|(at, (set, known))| {
        let mut word = set & !known;
        std::iter::from_fn(move || {
            let offset = (word != 0).then(|| word.trailing_zeros() as usize)?;
            word &= word - 1;
            Some(at * 64 + offset)
        })
    })
}

/// Shares to start from: those of the node above without what is decided, filled up to the budget. Whether there were any.
fn start(problem: &Problem, choices: &Choices, node: &mut Node, stride: usize) -> bool {
    let is_warm = !node.share.is_empty();
    node.share.resize(stride, 0.);
    let reach = node.reach(problem, choices);
    let mut undecided = vec![false; stride];
    for reach in &reach {
        let elements: Vec<usize> = bits::elements(&reach.undecided).collect();
        let sum: f64 = elements.iter().map(|&g| node.share[g]).sum();
        let missing = f64::from(reach.most) - sum;
        let room: f64 = elements.iter().map(|&g| 1. - node.share[g]).sum();
        for &g in &elements {
            undecided[g] = true;
            if missing > 0. && room > 0. {
                node.share[g] += (1. - node.share[g]) * (missing / room).min(1.);
            } else if missing < 0. && sum > 0. {
                node.share[g] *= f64::from(reach.most) / sum;
            }
        }
    }
    for (share, undecided) in node.share.iter_mut().zip(undecided) {
        if !undecided {
            *share = 0.;
        }
    }
    is_warm
}
