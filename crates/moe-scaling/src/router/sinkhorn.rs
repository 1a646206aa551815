//! Entropic optimal transport between tokens and experts.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The settings of [`sinkhorn`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SinkhornConfig {
    /// The iteration stops when the mass of every row is within this fraction of `1/T`; 0.01.
    pub tolerance: f64,
    /// The largest number of iterations; 100.
    pub max_iterations: usize,
    /// The factor `τ` of the entropy; 1, as in the paper. A balanced plan does not imply that the largest entries of its rows are balanced, least of all
    /// for small logits. A smaller `τ` brings both together but takes more iterations.
    pub temperature: f64,
}

impl Default for SinkhornConfig {
    fn default() -> Self {
        Self { tolerance: 1e-2, max_iterations: 100, temperature: 1. }
    }
}

/// A balanced plan `Π = exp((H + f_e + g_t) / τ)`.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkhornPlan {
    /// The potential `f` of each expert. A constant may be moved between `f` and `g`.
    pub experts: Vec<f64>,
    /// The potential `g` of each token.
    pub tokens: Vec<f64>,
    /// `max_t |T Σ_e Π_te − 1|` after each iteration. The masses of the experts are exact.
    pub errors: Vec<f64>,
}

/// The largest range of a row's logits for which exponentials, and products of a few of them, neither overflow nor underflow in f64.
const MAX_RANGE: f64 = 200.;

/// Maximises `⟨Π, H⟩ − τ ⟨Π, log Π⟩` over plans whose rows (tokens) have mass `1/T` and columns (experts) `1/E`, for `logits` `[T, E]` row by row.
///
/// With `τ = 1`, starting from `f = 0`, it repeats `g_t ← −log T − logsumexp_e(H + f)` and `f_e ← −log E − logsumexp_t(H + g)`. Where the range of the
/// logits permits, the iteration works on `exp(H)`, with two matrix-vector products each; otherwise on logarithms, for logits of any size.
///
/// # Errors
///
/// When the number of logits is not a multiple of `num_experts`, one is not finite, or a setting is out of range.
pub fn sinkhorn(logits: &[f64], num_experts: usize, config: SinkhornConfig) -> Result<SinkhornPlan> {
    if num_experts == 0 || !logits.len().is_multiple_of(num_experts) {
        let expected = format!("a multiple of {num_experts} experts");
        return Err(Error::length("sinkhorn", "logits", logits.len(), expected));
    }
    if let Some(at) = logits.iter().position(|logit| !logit.is_finite()) {
        let (what, position) = ("a logit of token", (at / num_experts) as u64);
        return Err(Error::NotFinite { operation: "sinkhorn", what, position, got: logits[at] });
    }
    let is_positive = config.temperature.is_finite() && config.temperature > 0.;
    if config.tolerance.is_nan() || config.max_iterations == 0 || !is_positive {
        let reason = "it needs a tolerance that is a number, at least one iteration and a finite temperature above 0";
        return Err(Error::config("SinkhornConfig", reason));
    }
    if config.temperature != 1. {
        let cooled: Vec<f64> = logits.iter().map(|logit| logit / config.temperature).collect();
        let mut plan = sinkhorn(&cooled, num_experts, SinkhornConfig { temperature: 1., ..config })?;
        plan.experts.iter_mut().chain(&mut plan.tokens).for_each(|potential| *potential *= config.temperature);
        return Ok(plan);
    }
    let tokens = logits.len() / num_experts;
    if tokens == 0 {
        return Ok(SinkhornPlan { experts: vec![0.; num_experts], tokens: Vec::new(), errors: Vec::new() });
    }
    let rows = || logits.chunks_exact(num_experts);
    let largest: Vec<f64> = rows().map(|row| row.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect();
    let range = rows()
        .zip(&largest)
        .map(|(row, largest)| largest - row.iter().copied().fold(f64::INFINITY, f64::min))
        .fold(0., f64::max);
    if range <= MAX_RANGE {
        Ok(scaled(logits, &largest, num_experts, config))
    } else {
        Ok(logarithmic(logits, num_experts, config))
    }
}

fn scaled(logits: &[f64], largest: &[f64], num_experts: usize, config: SinkhornConfig) -> SinkhornPlan {
    let tokens = largest.len();
    let (token_mass, expert_mass) = (1. / tokens as f64, 1. / num_experts as f64);
    let mut kernel = Vec::with_capacity(logits.len());
    for (row, largest) in logits.chunks_exact(num_experts).zip(largest) {
        kernel.extend(row.iter().map(|logit| (logit - largest).exp()));
    }
    let mut v = vec![1.; num_experts];
    let mut u = vec![0.; tokens];
    let mut row_sums: Vec<f64> = kernel.chunks_exact(num_experts).map(|row| dot(row, &v)).collect();
    let mut errors = Vec::new();
    let mut sums = vec![0.; num_experts];
    for _ in 0..config.max_iterations {
        sums.fill(0.);
        for ((row, u), row_sum) in kernel.chunks_exact(num_experts).zip(&mut u).zip(&row_sums) {
            *u = token_mass / row_sum;
            sums.iter_mut().zip(row).for_each(|(sum, k)| *sum += *u * k);
        }
        v.iter_mut().zip(&sums).for_each(|(v, sum)| *v = expert_mass / sum);
        let mut error = 0f64;
        for ((row, u), row_sum) in kernel.chunks_exact(num_experts).zip(&u).zip(&mut row_sums) {
            *row_sum = dot(row, &v);
            error = error.max((tokens as f64 * u * *row_sum - 1.).abs());
        }
        errors.push(error);
        if error < config.tolerance {
            break;
        }
    }
    SinkhornPlan {
        experts: v.iter().map(|v| v.ln()).collect(),
        tokens: u.iter().zip(largest).map(|(u, largest)| u.ln() - largest).collect(),
        errors,
    }
}

fn logarithmic(logits: &[f64], num_experts: usize, config: SinkhornConfig) -> SinkhornPlan {
    let tokens = logits.len() / num_experts;
    let (log_tokens, log_experts) = ((tokens as f64).ln(), (num_experts as f64).ln());
    let (mut f, mut g) = (vec![0.; num_experts], vec![0.; tokens]);
    let mut errors = Vec::new();
    let mut row_terms = vec![0.; num_experts];
    for _ in 0..config.max_iterations {
        for (row, g) in logits.chunks_exact(num_experts).zip(&mut g) {
            row_terms.iter_mut().zip(row).zip(&f).for_each(|((term, h), f)| *term = h + f);
            *g = -log_tokens - log_sum_exp(&row_terms);
        }
        let mut tops = vec![f64::NEG_INFINITY; num_experts];
        for (row, g) in logits.chunks_exact(num_experts).zip(&g) {
            tops.iter_mut().zip(row).for_each(|(top, h)| *top = top.max(h + g));
        }
        let mut sums = vec![0.; num_experts];
        for (row, g) in logits.chunks_exact(num_experts).zip(&g) {
            sums.iter_mut().zip(row).zip(&tops).for_each(|((sum, h), top)| *sum += (h + g - top).exp());
        }
        f.iter_mut().zip(&sums).zip(&tops).for_each(|((f, sum), top)| *f = -log_experts - top - sum.ln());
        let mut error = 0f64;
        for (row, g) in logits.chunks_exact(num_experts).zip(&g) {
            let mass: f64 = row.iter().zip(&f).map(|(h, f)| (h + f + g).exp()).sum();
            error = error.max((tokens as f64 * mass - 1.).abs());
        }
        errors.push(error);
        if error < config.tolerance {
            break;
        }
    }
    SinkhornPlan { experts: f, tokens: g, errors }
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + values.iter().map(|value| (value - top).exp()).sum::<f64>().ln()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.; 8];
    let (mut aa, mut bb) = (a.chunks_exact(8), b.chunks_exact(8));
    for (a, b) in (&mut aa).zip(&mut bb) {
        for k in 0..8 {
            sums[k] += a[k] * b[k];
        }
    }
    let rest: f64 = aa.remainder().iter().zip(bb.remainder()).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn both_iterations_agree() {
        let logits: Vec<f64> = (0..60).map(|i| 3. * f64::from(i * 7919 % 61) / 61. - 1.).collect();
        let config = SinkhornConfig { tolerance: 1e-9, max_iterations: 500, temperature: 1. };
        let fast = sinkhorn(&logits, 5, config).unwrap();
        let slow = logarithmic(&logits, 5, config);
        assert_eq!(fast.errors.len(), slow.errors.len());
        for (a, b) in fast.experts.iter().chain(&fast.tokens).zip(slow.experts.iter().chain(&slow.tokens)) {
            assert_relative_eq!(a, b, epsilon = 1e-10);
        }
    }

    #[test]
    fn huge_logits_stay_finite_and_balanced() {
        let logits: Vec<f64> = (0..40).map(|i| f64::from(i * 7919 % 41) * 100. - 2000.).collect();
        let plan =
            sinkhorn(&logits, 4, SinkhornConfig { tolerance: 1e-3, max_iterations: 20, temperature: 1. }).unwrap();
        assert!(plan.experts.iter().chain(&plan.tokens).all(|potential| potential.is_finite()));
        for expert in 0..4 {
            let mass: f64 =
                (0..10).map(|t| (logits[t * 4 + expert] + plan.experts[expert] + plan.tokens[t]).exp()).sum();
            assert_relative_eq!(mass, 0.25, epsilon = 1e-9);
        }
    }
}
