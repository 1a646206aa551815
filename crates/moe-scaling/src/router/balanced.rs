//! The balanced assignment of maximal total score.

use crate::{Error, Result};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A finite score, ordered.
#[derive(PartialEq)]
struct Gain(f64, usize);

impl Eq for Gain {}

impl PartialOrd for Gain {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Gain {
    fn cmp(&self, other: &Self) -> Ordering {
        // of equal gains the earlier token
        self.0.total_cmp(&other.0).then(other.1.cmp(&self.1))
    }
}

/// The expert of each token such that no expert has more than `⌈T/E⌉` tokens and the sum of the chosen `scores` (`[T, E]`, row by row) is maximal.
///
/// Tokens are added one after another along the best augmenting path: a new token enters an expert, which passes another token on, and so forth up to an
/// expert below its limit. A heap holds the moves from one expert to another, so that a token costs `O(E² + E log T)` besides the search for the path
/// among the `E` experts (Bellman–Ford), independent of `T`.
///
/// # Errors
///
/// When the number of scores is not a multiple of `num_experts`, or one is not finite.
pub fn balanced_assignment(scores: &[f64], num_experts: usize) -> Result<Vec<u32>> {
    if num_experts == 0 || !scores.len().is_multiple_of(num_experts) {
        let expected = format!("a multiple of {num_experts} experts");
        return Err(Error::length("balanced_assignment", "scores", scores.len(), expected));
    }
    if let Some(at) = scores.iter().position(|score| !score.is_finite()) {
        let (what, position) = ("a score of token", (at / num_experts) as u64);
        return Err(Error::NotFinite { operation: "balanced_assignment", what, position, got: scores[at] });
    }
    let tokens = scores.len() / num_experts;
    let limit = tokens.div_ceil(num_experts);
    let score = |token: usize, expert: usize| scores[token * num_experts + expert];
    let mut of = vec![usize::MAX; tokens];
    let mut loads = vec![0usize; num_experts];
    // heaps[a][b]: tokens that were in a, by the gain of moving them to b; tokens that have left a are dropped when they reach the top
    let mut heaps: Vec<Vec<BinaryHeap<Gain>>> =
        (0..num_experts).map(|_| (0..num_experts).map(|_| BinaryHeap::new()).collect()).collect();
    for token in 0..tokens {
        // best[e]: the largest gain of a path that adds a token to e
        let mut best: Vec<f64> = (0..num_experts).map(|expert| score(token, expert)).collect();
        let mut from = vec![usize::MAX; num_experts];
        let mut moves = vec![vec![(f64::NEG_INFINITY, usize::MAX); num_experts]; num_experts];
        for a in (0..num_experts).filter(|&a| loads[a] == limit) {
            for b in (0..num_experts).filter(|&b| b != a) {
                let heap = &mut heaps[a][b];
                while heap.peek().is_some_and(|top| of[top.1] != a) {
                    heap.pop();
                }
                if let Some(top) = heap.peek() {
                    moves[a][b] = (top.0, top.1);
                }
            }
        }
        for _ in 0..num_experts {
            let mut has_changed = false;
            for a in 0..num_experts {
                for b in 0..num_experts {
                    // rounding errors alone must not create a cycle
                    let gain = best[a] + moves[a][b].0;
                    if gain > best[b] + 1e-12 * (1. + best[b].abs()) {
                        (best[b], from[b]) = (gain, a);
                        has_changed = true;
                    }
                }
            }
            if !has_changed {
                break;
            }
        }
        let free = (0..num_experts).filter(|&expert| loads[expert] < limit);
        let Some(end) = free.max_by(|&p, &q| best[p].total_cmp(&best[q]).then(q.cmp(&p))) else { break };
        loads[end] += 1;
        let mut at = end;
        let mut steps = 0;
        let mut enter = |of: &mut Vec<usize>, token: usize, expert: usize| {
            of[token] = expert;
            for other in (0..num_experts).filter(|&other| other != expert) {
                heaps[expert][other].push(Gain(score(token, other) - score(token, expert), token));
            }
        };
        // a path visits each expert once, so the tops read from the heaps remain valid along it
        while from[at] != usize::MAX && steps < num_experts {
            let previous = from[at];
            enter(&mut of, moves[previous][at].1, at);
            at = previous;
            steps += 1;
        }
        enter(&mut of, token, at);
    }
    Ok(of.into_iter().map(|expert| expert as u32).collect())
}
