//! Sequential minimal optimisation of one two-class problem.
//!
//! ```text
//! min_α  ½ αᵀ Q α - Σ α        0 ≤ α ≤ C,  yᵀ α = 0,  Q_ij = y_i y_j K_ij
//! ```
//!
//! The solver keeps `values = y - K (y ∘ α)`. At the minimum no value of a multiplier that may rise (y α grows) is above one of a multiplier that may fall; the largest difference is the violation.
//! Each step moves the pair of the largest value that may rise and the partner with the largest gain.

use super::matrix::KernelRows;
use super::passes::{Advance, Dot, LEAST_CURVATURE, Partner, dispatch, highest};
use crate::pairwise::padded;

/// When to stop.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) c: f64,
    pub(crate) tolerance: f64,
    pub(crate) max_iterations: usize,
}

/// Multipliers, and what the optimality conditions say about them.
#[derive(Clone)]
pub(crate) struct Solution {
    pub(crate) alpha: Vec<f64>,
    /// y - K (y ∘ α)
    pub(crate) values: Vec<f64>,
    pub(crate) iterations: usize,
    pub(crate) violation: f64,
}

impl Solution {
    /// No support vectors.
    pub(crate) fn start(signs: &[f64]) -> Self {
        Self { alpha: vec![0.; signs.len()], values: signs.to_vec(), iterations: 0, violation: f64::INFINITY }
    }

    /// A start for a larger C: multipliers are stretched by the factor, from 1 to the ratio of both C, that lowers the objective most.
    pub(crate) fn stretched(mut self, signs: &[f64], c_before: f64, c: f64) -> Self {
        let linear: f64 = self.alpha.iter().sum();
        let terms = self.alpha.iter().zip(signs).zip(&self.values);
        let quadratic: f64 = terms.map(|((alpha, sign), value)| alpha * sign * (sign - value)).sum();
        let most = (c / c_before).max(1.);
        let factor = if quadratic > 0. { (linear / quadratic).clamp(1., most) } else { most };
        for (alpha, (value, sign)) in self.alpha.iter_mut().zip(self.values.iter_mut().zip(signs)) {
            *alpha = settled(*alpha * factor, c);
            *value = sign - factor * (sign - *value);
        }
        self
    }

    /// The bias: the mean over free multipliers, or the middle of what the others allow.
    pub(crate) fn bias(&self, signs: &[f64], c: f64) -> f64 {
        let (mut sum, mut count, mut low, mut high) = (0., 0usize, f64::NEG_INFINITY, f64::INFINITY);
        for ((&alpha, &sign), &value) in self.alpha.iter().zip(signs).zip(&self.values) {
            if alpha > 0. && alpha < c {
                sum += value;
                count += 1;
            } else if may_rise(alpha, sign, c) {
                low = low.max(value);
            } else {
                high = high.min(value);
            }
        }
        let bias = if count > 0 { sum / count as f64 } else { 0.5 * (low + high) };
        if bias.is_finite() { bias } else { 0. }
    }
}

fn may_rise(alpha: f64, sign: f64, c: f64) -> bool {
    if sign > 0. { alpha < c } else { alpha > 0. }
}

fn may_fall(alpha: f64, sign: f64, c: f64) -> bool {
    if sign > 0. { alpha > 0. } else { alpha < c }
}

/// A multiplier within rounding of a bound is at the bound.
fn settled(alpha: f64, c: f64) -> f64 {
    if alpha < 1e-14 * c {
        0.
    } else if alpha > c * (1. - 1e-14) {
        c
    } else {
        alpha
    }
}

/// The multipliers that may still move, in lists that are padded to whole blocks.
struct Active {
    /// Which they are.
    index: Vec<usize>,
    alpha: Vec<f64>,
    signs: Vec<f64>,
    values: Vec<f64>,
    rises: Vec<f64>,
    falls: Vec<f64>,
    diagonal: Vec<f64>,
}

impl Active {
    fn of(index: Vec<usize>, solution: &Solution, signs: &[f64], diagonal: &[f64], c: f64) -> Self {
        let len = padded(index.len());
        let list = |values: &[f64]| {
            let mut list: Vec<f64> = index.iter().map(|&at| values[at]).collect();
            list.resize(len, 0.);
            list
        };
        let (alpha, values, signs, diagonal) =
            (list(&solution.alpha), list(&solution.values), list(signs), list(diagonal));
        let (rises, falls) = (vec![f64::NEG_INFINITY; len], vec![f64::INFINITY; len]);
        let mut active = Self { index, alpha, signs, values, rises, falls, diagonal };
        (0..active.index.len()).for_each(|at| active.mark(at, c));
        active
    }

    /// Says which way a multiplier may move.
    fn mark(&mut self, at: usize, c: f64) {
        let (alpha, sign) = (self.alpha[at], self.signs[at]);
        self.rises[at] = if may_rise(alpha, sign, c) { 0. } else { f64::NEG_INFINITY };
        self.falls[at] = if may_fall(alpha, sign, c) { 0. } else { f64::INFINITY };
    }

    fn store(&self, solution: &mut Solution) {
        for (at, &index) in self.index.iter().enumerate() {
            solution.alpha[index] = self.alpha[at];
            solution.values[index] = self.values[at];
        }
    }

    /// The positions of those that may matter: not at a bound that the values say they will not leave.
    fn undecided(&self, largest: f64, smallest: f64) -> Vec<usize> {
        let stays = |at: usize| {
            let value = self.values[at];
            (self.rises[at] != 0. && value > largest) || (self.falls[at] != 0. && value < smallest)
        };
        (0..self.index.len()).filter(|&at| !stays(at)).collect()
    }
}

/// Steps after which multipliers that stay at their bounds are looked for.
const PERIOD: usize = 1000;

/// Continues from `solution` until the violation is below the tolerance or there were `max_iterations` more steps.
pub(crate) fn solve<K: KernelRows>(kernel: &mut K, signs: &[f64], limits: &Limits, mut solution: Solution) -> Solution {
    let (n, c) = (signs.len(), limits.c);
    let all = |solution: &Solution, kernel: &K| Active::of((0..n).collect(), solution, signs, kernel.diagonal(), c);
    let mut active = all(&solution, kernel);
    let mut highest_now = highest(&active.values, &active.rises);
    let (mut steps, mut until_check, mut can_restrict) = (0, PERIOD.min(n), true);
    loop {
        let (partner, smallest) = match highest_now {
            None => (None, f64::INFINITY),
            Some((i, largest)) => {
                kernel.prepare(i, 0);
                dispatch(Partner {
                    values: &active.values,
                    falls: &active.falls,
                    diagonal: &active.diagonal,
                    row_i: kernel.row(i),
                    diagonal_i: active.diagonal[i],
                    largest,
                })
            }
        };
        solution.violation = highest_now.map_or(0., |(_, largest)| (largest - smallest).max(0.));
        let pair = highest_now.zip(partner).filter(|_| solution.violation >= limits.tolerance);
        let is_out_of_steps = steps >= limits.max_iterations;
        let Some(((i, largest), j)) = pair.filter(|_| !is_out_of_steps) else {
            active.store(&mut solution);
            if active.index.len() == n {
                break;
            }
            kernel.restore();
            complete(kernel, signs, &active.index, &mut solution);
            active = all(&solution, kernel);
            highest_now = highest(&active.values, &active.rises);
            until_check = PERIOD.min(n);
            // the violation of all is measured once more
            continue;
        };
        if until_check == 0 && can_restrict {
            until_check = PERIOD.min(n);
            let kept = active.undecided(largest, smallest);
            if kept.len() * 5 < active.index.len() * 4 {
                active.store(&mut solution);
                can_restrict = kernel.restrict(&kept);
                if can_restrict {
                    let index = kept.iter().map(|&at| active.index[at]).collect();
                    active = Active::of(index, &solution, signs, kernel.diagonal(), c);
                    highest_now = highest(&active.values, &active.rises);
                    continue;
                }
            }
        }
        until_check = until_check.saturating_sub(1);
        let k: f64 = kernel.row(i)[j].into();
        let curvature = (active.diagonal[i] + active.diagonal[j] - 2. * k).max(LEAST_CURVATURE);
        // α_i moves by sign_i · step, α_j by -sign_j · step, both within 0..=C
        let most_i = if active.signs[i] > 0. { c - active.alpha[i] } else { active.alpha[i] };
        let most_j = if active.signs[j] > 0. { active.alpha[j] } else { c - active.alpha[j] };
        let step = ((largest - active.values[j]) / curvature).min(most_i).min(most_j);
        active.alpha[i] = settled(active.alpha[i] + active.signs[i] * step, c);
        active.alpha[j] = settled(active.alpha[j] - active.signs[j] * step, c);
        active.mark(i, c);
        active.mark(j, c);
        kernel.prepare(j, 1);
        highest_now = dispatch(Advance {
            values: &mut active.values,
            rises: &active.rises,
            row_i: kernel.row(i),
            row_j: kernel.row(j),
            step,
        });
        steps += 1;
    }
    solution.iterations += steps;
    solution
}

/// The values of those that were left out, from the multipliers of all.
fn complete<K: KernelRows>(kernel: &K, signs: &[f64], active: &[usize], solution: &mut Solution) {
    let mut is_active = vec![false; signs.len()];
    active.iter().for_each(|&at| is_active[at] = true);
    let coefficients: Vec<f64> = solution.alpha.iter().zip(signs).map(|(alpha, sign)| alpha * sign).collect();
    for at in (0..signs.len()).filter(|&at| !is_active[at]) {
        solution.values[at] = signs[at] - dispatch(Dot(&kernel.row(at)[..signs.len()], &coefficients));
    }
}
