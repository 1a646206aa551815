//! Parameter and flop counts against those of the paper.

use moe_scaling::architecture::{Architecture, RouterKind};

#[test]
fn sizes_are_the_papers() {
    let labels = [
        (512, 6, 8, 32, 16_527_360),
        (512, 8, 8, 64, 27_279_360),
        (640, 10, 12, 64, 57_369_600),
        (896, 12, 16, 64, 132_163_584),
        (1536, 12, 12, 128, 368_123_904),
        (2048, 24, 16, 128, 1_308_819_456),
    ];
    for (d_model, blocks, heads, head_size, expected) in labels {
        let model = Architecture { d_model, blocks, heads, head_size, routing_frequency: 0.5 };
        assert_eq!(model.dense_parameters().unwrap(), expected);
        assert_eq!(model.routed_blocks().unwrap(), (1..blocks).step_by(2).collect::<Vec<_>>());
        assert_eq!(model.total_parameters(1, RouterKind::Free).unwrap(), expected);
        assert!(model.total_parameters(0, RouterKind::Free).is_err());
        assert!(model.routing_flops(4, 5, RouterKind::Linear).is_err());
    }
    let model = Architecture { d_model: 512, blocks: 8, heads: 8, head_size: 64, routing_frequency: 1.5 };
    assert!(model.dense_parameters().is_err());
    assert!(Architecture { d_model: 0, routing_frequency: 0.5, ..model }.dense_parameters().is_err());
    assert!(Architecture { d_model: usize::MAX, routing_frequency: 0.5, ..model }.dense_parameters().is_err());
    let limit = 1 << 24;
    let largest = Architecture { d_model: limit, blocks: limit, heads: limit, head_size: limit, routing_frequency: 1. };
    assert!(largest.dense_parameters().is_err());
    for router in [RouterKind::Linear, RouterKind::Reinforce, RouterKind::Free] {
        let model = Architecture { heads: 1, head_size: 1, ..largest };
        assert!(model.total_parameters(usize::MAX, router).is_err());
        assert!(model.routing_flops(usize::MAX, usize::MAX, router).is_err());
    }
}

/// All 223 released runs, if the data set is on this machine.
#[test]
fn parameter_and_flop_counts_are_the_released_ones() {
    use datasets::routing_curves::{Router, load};
    let options = datasets::StoreConfig { is_offline: true, ..datasets::StoreConfig::default() };
    let Ok(curves) = datasets::Store::new(options).and_then(|store| load(&store)) else {
        println!("skipped: routing-curves is not on this machine");
        return;
    };
    let runs = curves.last();
    assert_eq!(runs.len(), 223);
    for run in &runs {
        let model = Architecture {
            d_model: run.d_model as usize,
            blocks: run.num_blocks as usize,
            heads: run.num_heads as usize,
            head_size: run.kqv_size as usize,
            routing_frequency: run.routing_frequency,
        };
        assert_eq!(model.dense_parameters().unwrap() as f64, run.dense_parameters, "run {}", run.hyper_id);
        let (experts, kind) = match run.router {
            Router::Dense if run.flop_increase == 1. => (1, RouterKind::Free),
            Router::Dense => (run.flop_increase as usize, RouterKind::Linear),
            Router::RlR => (run.num_experts as usize, RouterKind::Reinforce),
            _ => (run.num_experts as usize, RouterKind::Linear),
        };
        assert_eq!(model.total_parameters(experts, kind).unwrap() as f64, run.total_parameters, "run {}", run.hyper_id);
        let dense = runs.iter().find(|other| {
            other.router == Router::Dense && other.flop_increase == 1. && other.size_label == run.size_label
        });
        let added = 524_288. * model.routing_flops(experts, run.k as usize, kind).unwrap() as f64;
        if run.router != Router::Dense {
            assert_eq!(run.flops_per_step - dense.unwrap().flops_per_step, added, "run {}", run.hyper_id);
        }
    }
}
