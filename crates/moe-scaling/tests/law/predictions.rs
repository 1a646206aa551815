//! What follows from a law.

use crate::{EXPERTS, SIZES, law_of, truth};
use moe_scaling::law::{Form, Saturation};
use proptest::prelude::*;

proptest! {
    #[test]
    fn the_transform_rises_from_its_start_to_its_end(start in 0.0..6f64, gap in 0.1..8f64, e in 1.0..1e6f64, step in 1.0001..10f64) {
        let transform = Saturation { log2_start: start, log2_max: start + gap };
        let (here, there) = (transform.effective_experts(e), transform.effective_experts(e * step));
        prop_assert!(here < there || (there - transform.max()).abs() < 1e-9 * transform.max());
        prop_assert!(here >= transform.start() * (1. - 1e-12) && there <= transform.max() * (1. + 1e-12));
        prop_assert!((transform.effective_experts(1.) / transform.start() - 1.).abs() < 1e-12);
    }

    #[test]
    fn consequences_of_the_law(n in 1e6..1e11f64, e in 1.0..1024f64) {
        for form in Form::ALL {
            let law = law_of(form);
            let equivalent = law.effective_parameter_count(n, e);
            prop_assert!((law.log10_loss(equivalent, 1.) - law.log10_loss(n, e)).abs() < 1e-9 || equivalent.is_nan() && form == Form::Quadratic);
            prop_assert_eq!(law.effective_parameter_count(n, 1.), n);
            if form != Form::Quadratic {
                let loss = law.predict(n, e);
                prop_assert!((law.size_for(loss, e) / n - 1.).abs() < 1e-8);
            }
            if let Some(cutoff) = law.cutoff() {
                prop_assert!(law.expert_slope(cutoff, e).abs() < 1e-9);
            }
        }
    }
}

#[test]
fn the_best_model_under_a_budget() {
    let law = truth();
    let candidates = SIZES.into_iter().flat_map(|n| EXPERTS.map(|e| (n, e, n * (1. + 0.3 * (e - 1.)))));
    let best = law.best_under(1e9, candidates.clone()).unwrap();
    let cheaper =
        candidates.clone().filter(|c| c.2 <= 1e9).map(|(n, e, _)| law.predict(n, e)).fold(f64::INFINITY, f64::min);
    assert_eq!(best.predicted, cheaper);
    assert!(law.best_under(1., candidates).is_none());
}
