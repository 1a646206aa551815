//! Sinkhorn plans and balanced assignments.

use crate::{normal, values};
use moe_scaling::router::{SinkhornConfig, balanced_assignment, sinkhorn};
use proptest::prelude::*;

#[test]
fn a_cold_sinkhorn_balances_the_choice_itself() {
    let logits: Vec<f64> =
        values(&normal(&[512, 8], 3)).iter().enumerate().map(|(i, v)| 0.1 * v + 0.2 * (i % 8) as f64).collect();
    let max_load = |temperature: f64| {
        let config = SinkhornConfig { temperature, max_iterations: 2000, ..SinkhornConfig::default() };
        let plan = sinkhorn(&logits, 8, config).unwrap();
        let mut counts = [0usize; 8];
        for row in logits.chunks_exact(8) {
            let score = |e: usize| row[e] + plan.experts[e];
            counts[(0..8).max_by(|&p, &q| score(p).total_cmp(&score(q))).unwrap()] += 1;
        }
        *counts.iter().max().unwrap()
    };
    assert!(max_load(0.01) <= 80 && max_load(0.01) <= max_load(1.), "{} and {}", max_load(0.01), max_load(1.));
}

/// The largest total score over all balanced assignments.
fn brute_force(scores: &[f64], experts: usize) -> f64 {
    let tokens = scores.len() / experts;
    let limit = tokens.div_ceil(experts);
    let mut best = f64::NEG_INFINITY;
    for code in 0..experts.pow(tokens as u32) {
        let (mut rest, mut loads, mut sum) = (code, vec![0; experts], 0.);
        for token in 0..tokens {
            let expert = rest % experts;
            rest /= experts;
            loads[expert] += 1;
            sum += scores[token * experts + expert];
        }
        if loads.iter().all(|&load| load <= limit) {
            best = best.max(sum);
        }
    }
    best
}

proptest! {
    #[test]
    fn balanced_assignments_are_the_best(experts in 1usize..4, rows in prop::collection::vec(prop::collection::vec(-3.0..3f64, 3), 0..7)) {
        let scores: Vec<f64> = rows.iter().flat_map(|row| row[..experts].to_vec()).collect();
        let found = balanced_assignment(&scores, experts).unwrap();
        let mut loads = vec![0; experts];
        found.iter().for_each(|&expert| loads[expert as usize] += 1);
        prop_assert!(loads.iter().all(|&load| load <= rows.len().div_ceil(experts)));
        let sum: f64 = found.iter().enumerate().map(|(token, &expert)| scores[token * experts + expert as usize]).sum();
        prop_assert!((sum - brute_force(&scores, experts)).abs() < 1e-9);
    }

    #[test]
    fn plans_are_balanced(rows in 1usize..20, experts in 1usize..6, scale in 0.01..50f64, seed in 0u64..1000) {
        let logits: Vec<f64> = values(&normal(&[rows, experts], seed)).iter().map(|v| v * scale).collect();
        let plan = sinkhorn(&logits, experts, SinkhornConfig { max_iterations: 500, ..SinkhornConfig::default() }).unwrap();
        for expert in 0..experts {
            let mass: f64 = (0..rows).map(|t| (logits[t * experts + expert] + plan.experts[expert] + plan.tokens[t]).exp()).sum();
            prop_assert!((mass * experts as f64 - 1.).abs() < 1e-9);
        }
    }
}

#[test]
fn wrong_logits_and_settings_are_errors() {
    assert!(sinkhorn(&[1., 2., 3.], 2, SinkhornConfig::default()).is_err());
    assert!(sinkhorn(&[1., f64::INFINITY], 2, SinkhornConfig::default()).is_err());
    assert!(sinkhorn(&[1., 2.], 2, SinkhornConfig { temperature: 0., ..SinkhornConfig::default() }).is_err());
    assert!(sinkhorn(&[1., 2.], 2, SinkhornConfig { max_iterations: 0, ..SinkhornConfig::default() }).is_err());
    assert!(balanced_assignment(&[1., f64::NAN], 2).is_err() && balanced_assignment(&[1.], 0).is_err());
    assert!(sinkhorn(&[], 3, SinkhornConfig::default()).unwrap().errors.is_empty());
}
