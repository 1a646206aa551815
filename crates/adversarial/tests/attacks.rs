//! Attacks: properties, named cases from public reports, hostile input.

#![cfg(feature = "networks")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use adversarial::attacks::{
    Attack, Bpda, Classifier, Expectation, Flag, Goal, GradientAttack, Loss, Network, Norm, Normalized, Samples, Share,
    Square, Start, Suite, ThreatModel, Transfer, to_u8,
};
use candle_core::{D, DType, Device, Module, Tensor};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Mode, nn, ops};
use std::cell::{Cell, RefCell};

type Model = Box<dyn Fn(&Tensor) -> core_tensor::Result<Tensor>>;

/// A small network on images [1, 6, 5].
fn network(classes: usize, seed: u64) -> (ParamStore, Model) {
    let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
    let first = nn::linear(30, 24, store.var_builder().pp("first")).unwrap();
    let second = nn::linear(24, classes, store.var_builder().pp("second")).unwrap();
    let model = move |x: &Tensor| {
        let hidden = ops::tanh(&(first.forward(&x.flatten_from(1)?)? * 3.)?)?;
        Ok((second.forward(&hidden)? * 4.)?)
    };
    (store, Box::new(model))
}

fn images(count: usize, seed: u64) -> Tensor {
    Rng::new(seed).uniform(0.1, 0.9, (count, 1, 6, 5), DType::F32, &Device::Cpu).unwrap()
}

fn predictions(model: &dyn Classifier, x: &Tensor) -> Vec<u32> {
    model.logits(x).unwrap().argmax(D::Minus1).unwrap().to_vec1().unwrap()
}

fn rows(x: &Tensor) -> Vec<Vec<f64>> {
    x.flatten_from(1).unwrap().to_dtype(DType::F64).unwrap().to_vec2().unwrap()
}

fn attacks(norm: Norm) -> Vec<Box<dyn Attack>> {
    let step = match norm {
        Norm::L1 => 0.5,
        Norm::L2 => 0.1,
        Norm::Linf => 0.02,
    };
    let mut all: Vec<Box<dyn Attack>> = vec![
        Box::new(GradientAttack::fgsm()),
        Box::new(GradientAttack::fgsm().start(Start::Random)),
        Box::new(GradientAttack::pgd(step, 8).restarts(2)),
        Box::new(GradientAttack::pgd(step, 8).loss(Loss::Margin).to_the_end()),
        Box::new(GradientAttack::apgd(20, Loss::CrossEntropy)),
        Box::new(GradientAttack::apgd(20, Loss::Dlr)),
        Box::new(GradientAttack::apgd(10, Loss::TargetedDlr)),
    ];
    if norm == Norm::Linf {
        all.push(Box::new(Square::new(60)));
    }
    all
}

#[test]
fn what_is_returned_keeps_budget_and_bounds_and_is_what_was_judged() {
    let (_store, model) = network(5, 1);
    let x = images(12, 2);
    // some elements at the bounds
    let x = x.affine(1.3, -0.15).unwrap().clamp(0f32, 1f32).unwrap();
    let labels = predictions(&model, &x);
    let clean = rows(&x);
    for norm in [Norm::L1, Norm::L2, Norm::Linf] {
        for scale in [0.01, 0.1, 1.] {
            let threat = ThreatModel::new(norm, scale * [4., 1., 0.3][norm as usize]);
            for attack in attacks(norm) {
                let found = attack.run(&model, &x, &labels, &threat, 7).unwrap();
                let name = attack.name();
                for (points, flags) in
                    [(&found.adversarial, &found.is_successful), (&found.last, &found.is_last_successful)]
                {
                    let seen = predictions(&model, points);
                    for (at, point) in rows(points).iter().enumerate() {
                        assert!(threat.allows(&clean[at], point), "{name} {norm:?} {scale} sample {at}");
                        assert_eq!(flags[at], seen[at] != labels[at], "{name} {norm:?} {scale} sample {at}");
                    }
                }
                assert!(found.queries.iter().all(|&queries| queries > 0));
            }
        }
    }
}

#[test]
fn no_budget_changes_nothing() {
    let (_store, model) = network(5, 1);
    let x = images(4, 2);
    let labels = predictions(&model, &x);
    for attack in attacks(Norm::Linf) {
        let found = attack.run(&model, &x, &labels, &ThreatModel::linf(0.), 0).unwrap();
        assert_eq!(rows(&found.adversarial), rows(&x));
        assert_eq!(found.queries, [0; 4]);
        assert_eq!(found.robust_accuracy(), 1.);
    }
}

#[test]
fn results_do_not_depend_on_batch_order_or_subset() {
    let (_store, model) = network(5, 3);
    let x = images(9, 4);
    let labels = predictions(&model, &x);
    let threat = ThreatModel::linf(0.08);
    let order = [4_u32, 0, 8, 2];
    let chosen = x.index_select(&Tensor::new(&order, &Device::Cpu).unwrap(), 0).unwrap();
    let of_chosen: Vec<u32> = order.iter().map(|&at| labels[at as usize]).collect();
    let ids = order.iter().map(|&at| u64::from(at)).collect();
    let part = Samples::numbered(&chosen, &of_chosen, ids).unwrap();
    for batch_size in [1, 3, 128] {
        let attack = GradientAttack::pgd(0.02, 10).restarts(3).batch_size(batch_size);
        let square = Square { batch_size, ..Square::new(40) };
        let all: [&dyn Attack; 2] = [&attack, &square];
        for attack in all {
            let whole = attack.run(&model, &x, &labels, &threat, 5).unwrap();
            let found = attack.run_on(&model, &part, &threat, 5).unwrap();
            for (at, &from) in order.iter().enumerate() {
                assert_eq!(found.is_successful[at], whole.is_successful[from as usize]);
                assert_eq!(found.queries[at], whole.queries[from as usize]);
                assert_eq!(rows(&found.adversarial)[at], rows(&whole.adversarial)[from as usize]);
            }
        }
    }
}

/// On a linear model the loss's maximum over the box-free l_inf ball is at the corner that the signs of the gradient point to.
#[test]
fn on_a_linear_model_the_maximum_is_reached() {
    let w = Rng::new(1).uniform(-1., 1., (2, 10), DType::F64, &Device::Cpu).unwrap();
    let model = |x: &Tensor| x.matmul(&w.t()?);
    let x = Rng::new(2).uniform(0.4, 0.6, (3, 10), DType::F64, &Device::Cpu).unwrap();
    let labels = [0, 1, 0];
    let w_rows = rows(&w);
    let epsilon = 0.05;
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        let threat = ThreatModel::new(norm, epsilon).bounds(-10., 10.);
        let mut attack = GradientAttack::pgd(epsilon / 4., 60).loss(Loss::Margin).start(Start::Clean).to_the_end();
        if let adversarial::attacks::Rule::Pgd(config) = &mut attack.rule {
            config.l1_sparsity = 1.;
        }
        let found = attack.run(&model, &x, &labels, &threat, 0).unwrap();
        for (sample, point) in rows(&found.last).iter().enumerate() {
            if found.was_misclassified[sample] {
                continue;
            }
            let (y, other) = (labels[sample] as usize, 1 - labels[sample] as usize);
            let direction: Vec<f64> = w_rows[other].iter().zip(&w_rows[y]).map(|(a, b)| a - b).collect();
            let dual = match norm {
                Norm::Linf => Norm::L1,
                Norm::L2 => Norm::L2,
                Norm::L1 => Norm::Linf,
            };
            let margin = |x: &[f64]| x.iter().zip(&direction).map(|(x, d)| x * d).sum::<f64>();
            let expected = margin(&rows(&x)[sample]) + epsilon * dual.of(&direction);
            assert!((margin(point) - expected).abs() < 1e-9, "{norm:?}: {} {expected}", margin(point));
        }
    }
}

#[test]
fn auto_pgd_never_ends_below_its_start() {
    let (_store, model) = network(5, 6);
    let x = images(8, 7);
    let labels = predictions(&model, &x);
    let samples = Samples::new(&x, &labels).unwrap();
    for norm in [Norm::L1, Norm::L2, Norm::Linf] {
        let threat = ThreatModel::new(norm, 0.3);
        for path in GradientAttack::apgd(30, Loss::CrossEntropy).trajectory(&model, &samples, &threat, 1).unwrap() {
            let best = path.losses.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            assert!(best >= path.losses[0]);
        }
    }
}

#[test]
fn gradients_agree_with_differences() {
    let store = ParamStore::new(3, DType::F64, &Device::Cpu);
    let layer = nn::linear(12, 5, store.var_builder()).unwrap();
    let smooth = move |x: &Tensor| -> core_tensor::Result<Tensor> { ops::tanh(&layer.forward(&x.flatten_from(1)?)?) };
    let model = Normalized::new([0.4f32, 0.5], [0.3f32, 0.2], smooth).unwrap();
    let x = Rng::new(4).uniform(0., 1., (3, 2, 2, 3), DType::F64, &Device::Cpu).unwrap();
    for loss in [Loss::CrossEntropy, Loss::Margin, Loss::Dlr, Loss::TargetedDlr, Loss::TargetedCrossEntropy] {
        let target = loss_target(loss);
        let value = |x: &Tensor| -> f64 {
            let logits = rows(&model.logits(x).unwrap());
            logits.iter().map(|z| loss.of(z, 0, target, &mut [0.; 5]).unwrap()).sum()
        };
        let mut of_logits = |logits: &Tensor| {
            let mut all = Vec::new();
            for z in rows(logits) {
                let mut gradient = [0.; 5];
                loss.of(&z, 0, target, &mut gradient)?;
                all.extend(gradient);
            }
            Ok(Tensor::from_vec(all, (3, 5), &Device::Cpu)?)
        };
        let gradient =
            model.input_gradient(&x, &mut of_logits).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let base = x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for at in 0..base.len() {
            let shifted = |by: f64| {
                let mut values = base.clone();
                values[at] += by;
                value(&Tensor::from_vec(values, (3, 2, 2, 3), &Device::Cpu).unwrap())
            };
            let expected = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
            assert!((gradient[at] - expected).abs() < 1e-6 * expected.abs().max(1.), "{loss:?} {at}");
        }
    }
}

fn loss_target(loss: Loss) -> Option<u32> {
    matches!(loss, Loss::TargetedDlr | Loss::TargetedCrossEntropy).then_some(2)
}

#[test]
fn bpda_of_the_identity_is_the_plain_attack() {
    let (_store, model) = network(5, 8);
    let (_store, same) = network(5, 8);
    let x = images(6, 9);
    let labels = predictions(&model, &x);
    let bpda = Bpda::new(|x: &Tensor| Ok(x.clone()), |x: &Tensor| Ok(same(x)?), |x: &Tensor| Ok(x.clone()));
    let attack = GradientAttack::pgd(0.01, 10).to_the_end();
    let threat = ThreatModel::linf(0.1);
    let (plain, through) =
        (attack.run(&model, &x, &labels, &threat, 3).unwrap(), attack.run(&bpda, &x, &labels, &threat, 3).unwrap());
    assert_eq!(rows(&plain.last), rows(&through.last));
    assert_eq!(plain.is_successful, through.is_successful);
}

/// (a) an attack puts a model into training mode, or finds it there.
#[test]
fn running_statistics_mode_and_parameters_stay() {
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let first = nn::conv2d(1, 4, 3, Default::default(), store.var_builder().pp("conv")).unwrap();
    let norm = nn::batch_norm2d(4, Default::default(), store.var_builder().pp("norm")).unwrap();
    let last = nn::linear(48, 3, store.var_builder().pp("last")).unwrap();
    let rng = RefCell::new(Rng::new(1));
    let forward = |x: &Tensor, mode: &mut Mode<'_>| -> core_tensor::Result<Tensor> {
        let x = norm.forward(&first.forward(x)?, mode)?;
        last.forward(&mode.dropout(&x.flatten_from(1)?, 0.5)?).map_err(Into::into)
    };
    let x = images(7, 2);
    let labels = [0, 1, 2, 0, 1, 2, 0];
    let before = store.snapshot().unwrap();
    let model = Network::new(&store, |x: &Tensor| forward(x, &mut Mode::evaluate()));
    let report =
        Suite::of_size(Norm::Linf, 5, 10, Loss::Margin).run(&model, &x, &labels, &ThreatModel::linf(0.1), 0).unwrap();
    assert!(!report.flags.contains(&Flag::ForwardPassChangesModel), "{report}");
    for (name, value) in store.snapshot().unwrap() {
        assert_eq!(
            rows(&value.reshape((1, value.elem_count())).unwrap()),
            rows(&before[&name].reshape((1, value.elem_count())).unwrap()),
            "{name}"
        );
    }
    let training = Network::new(&store, |x: &Tensor| forward(x, &mut Mode::train(&mut rng.borrow_mut())));
    let report = Suite::of_size(Norm::Linf, 5, 10, Loss::Margin)
        .run(&training, &x, &labels, &ThreatModel::linf(0.1), 0)
        .unwrap();
    assert!(report.flags.contains(&Flag::ForwardPassChangesModel));
    // (i) and it answers differently each time
    assert!(report.flags.contains(&Flag::AnswersDiffer));
    assert!(report.to_string().lines().next().unwrap().starts_with("NOT TO BE TRUSTED"));
}

/// (d) the difference of logits ratio needs three classes, its targeted form four.
#[test]
fn too_few_classes_are_named() {
    for (classes, loss) in [(2, Loss::Dlr), (3, Loss::TargetedDlr)] {
        let (_store, model) = network(classes, 1);
        let x = images(2, 1);
        let labels = predictions(&model, &x);
        let error = GradientAttack::apgd(5, loss).run(&model, &x, &labels, &ThreatModel::linf(0.1), 0).unwrap_err();
        assert!(error.to_string().contains(&format!("the model has {classes}")), "{error}");
        assert!(error.to_string().contains("Margin"), "{error}");
        GradientAttack::apgd(5, Loss::Margin).run(&model, &x, &labels, &ThreatModel::linf(0.1), 0).unwrap();
    }
    // 9 targets with 8 classes: 7 searches of 4 + 1 points
    let (_store, model) = network(8, 1);
    let x = images(3, 1);
    let labels = predictions(&model, &x);
    let attack = GradientAttack::apgd(4, Loss::TargetedDlr).to_the_end();
    let found = attack.run(&model, &x, &labels, &ThreatModel::linf(1e-4), 0).unwrap();
    assert_eq!(found.queries, [7 * 5; 3]);
}

/// (e) true labels as targets; (f) what is won from the start is left alone.
#[test]
fn goals() {
    let (_store, model) = network(5, 1);
    let x = images(4, 3);
    let labels = predictions(&model, &x);
    let attack = |targets: Vec<u32>| GradientAttack::pgd(0.02, 5).goal(Goal::Targeted(targets));
    let threat = ThreatModel::linf(0.1);
    let error = attack(labels.clone()).run(&model, &x, &labels, &threat, 0).unwrap_err().to_string();
    assert!(error.contains("sample 0") && error.contains("target"), "{error}");
    assert!(attack(vec![9; 4]).run(&model, &x, &labels, &threat, 0).is_err());
    assert!(attack(vec![0]).run(&model, &x, &labels, &threat, 0).is_err());
    // on target already
    let wrong: Vec<u32> = labels.iter().map(|label| (label + 1) % 5).collect();
    let found = attack(labels.clone()).run(&model, &x, &wrong, &threat, 0).unwrap();
    assert_eq!((found.is_successful, found.queries), (vec![true; 4], vec![0; 4]));
    // misclassified already
    let found = GradientAttack::pgd(0.02, 5).run(&model, &x, &wrong, &threat, 0).unwrap();
    assert_eq!(found.robust_accuracy(), 0.);
    assert_eq!((found.queries, found.was_misclassified), (vec![0; 4], vec![true; 4]));
    assert_eq!(rows(&found.adversarial), rows(&x));
    // a targeted attack that wins is on target
    let found = attack(wrong.clone()).run(&model, &x, &labels, &ThreatModel::linf(0.6), 0).unwrap();
    let seen = predictions(&model, &found.adversarial);
    for at in 0..4 {
        assert_eq!(found.is_successful[at], seen[at] == wrong[at]);
    }
}

/// (g) probabilities instead of logits; (h) a layer without gradients.
#[test]
fn masked_gradients_are_flagged() {
    let (_store, model) = network(5, 1);
    let x = images(20, 3);
    let labels = predictions(&model, &x);
    let threat = ThreatModel::linf(0.15);
    let suite = || Suite::of_size(Norm::Linf, 10, 100, Loss::Margin);
    let soft = |x: &Tensor| ops::softmax(&model(x)?);
    let report = suite().run(&soft, &x, &labels, &threat, 0).unwrap();
    assert!(report.flags.contains(&Flag::LooksLikeProbabilities), "{report}");
    let stepped = |x: &Tensor| model(&(x * 16.)?.round()?.affine(1. / 16., 0.)?.detach());
    let report = suite().run(&stepped, &x, &labels, &threat, 0).unwrap();
    assert!(
        report.flags.iter().any(|flag| matches!(flag, Flag::ZeroGradients { samples } if *samples > 0)),
        "{report}"
    );
    assert!(report.stages[2].queries > 0 && report.stages[2].broken > 0, "Square still runs: {report}");
    assert!(report.flags.iter().any(|flag| matches!(flag, Flag::BlackBoxIsStronger { .. })), "{report}");
    // a step of the l_2 attack along a gradient of zeros
    let found = GradientAttack::pgd(0.1, 5).run(&stepped, &x, &labels, &ThreatModel::l2(0.5), 0).unwrap();
    assert!(rows(&found.adversarial).iter().flatten().all(|value| value.is_finite()));
    // an honest model has none of these
    let report = suite().run(&model, &x, &labels, &threat, 0).unwrap();
    assert!(report.flags.is_empty(), "{report}");
    let worst = (0..20).filter(|&at| report.is_right[at] && report.broken_by[at].is_none()).count();
    assert_eq!(report.robust_accuracy, Share::new(worst, 20));
}

/// (i) a model that answers at random is judged by its mean.
#[test]
fn a_budget_beyond_the_bounds_is_flagged() {
    let (_store, model) = network(4, 1);
    let x = images(4, 2);
    let labels = predictions(&model, &x);
    for (epsilon, is_flagged) in [(0.3, false), (1., true), (8., true)] {
        let suite = Suite::of_size(Norm::Linf, 3, 10, Loss::Margin);
        let report = suite.run(&model, &x, &labels, &ThreatModel::linf(epsilon), 0).unwrap();
        assert_eq!(report.flags.contains(&Flag::BudgetAllowsEveryImage), is_flagged, "{epsilon}");
    }
}

#[test]
fn random_models_are_judged_by_their_mean() {
    let (_store, model) = network(5, 1);
    let rng = RefCell::new(Rng::new(0));
    let noisy = |x: &Tensor| -> core_tensor::Result<Tensor> {
        let noise = rng.borrow_mut().normal(0., 0.3, (x.dim(0)?, 5), DType::F32, &Device::Cpu)?;
        Ok((model(x)? + noise)?)
    };
    let x = images(6, 3);
    let labels = predictions(&model, &x);
    let mean = Expectation::new(&noisy, 64).unwrap();
    let difference = (mean.logits(&x).unwrap() - model(&x).unwrap()).unwrap().abs().unwrap().max_all().unwrap();
    assert!(difference.to_scalar::<f32>().unwrap() < 0.3);
    GradientAttack::pgd(0.02, 5).run(&mean, &x, &labels, &ThreatModel::linf(0.1), 0).unwrap();
    assert!(Expectation::new(&noisy, 0).is_err());
}

/// (j) images in other units; (k) odd sizes; (o) eight bits.
#[test]
fn units_and_sizes() {
    let (_store, model) = network(5, 1);
    let x = images(2, 3);
    let labels = predictions(&model, &x);
    let attack = GradientAttack::pgd(0.02, 5);
    let bytes = (&x * 255.).unwrap();
    let error = attack.run(&model, &bytes, &labels, &ThreatModel::linf(0.1), 0).unwrap_err().to_string();
    assert!(error.contains("range from") && error.contains("Normalized"), "{error}");
    let centred = x.affine(2., -1.).unwrap();
    assert!(attack.run(&model, &centred, &labels, &ThreatModel::linf(0.1), 0).is_err());
    attack.run(&model, &centred, &labels, &ThreatModel::linf(0.1).bounds(-1., 1.), 0).unwrap();

    let odd = Rng::new(1).uniform(0., 1., (2, 1, 40, 35), DType::F32, &Device::Cpu).unwrap();
    let mean = |x: &Tensor| -> candle_core::Result<Tensor> {
        let top = x.narrow(2, 0, 20)?.flatten_from(1)?.mean(1)?;
        let bottom = x.narrow(2, 20, 20)?.flatten_from(1)?.mean(1)?;
        Tensor::stack(&[top, bottom], 1)
    };
    let labels = predictions(&mean, &odd);
    let found = Square::new(200).run(&mean, &odd, &labels, &ThreatModel::linf(0.05), 0).unwrap();
    assert_eq!(found.num_survivors(), 0);

    let threat = ThreatModel::linf(8. / 255.);
    let pixels = (Rng::new(5).uniform(0., 255., (4, 1, 6, 5), DType::F32, &Device::Cpu).unwrap().round().unwrap()
        / 255.)
        .unwrap();
    let labels = predictions(&model, &pixels);
    let found = attack.run(&model, &pixels, &labels, &threat, 0).unwrap();
    let stored = to_u8(&model, &pixels, &found.adversarial, &labels, &threat).unwrap();
    let back = (stored.pixels.to_dtype(DType::F32).unwrap() / 255.).unwrap();
    for (x, y) in rows(&pixels).iter().flatten().zip(rows(&back).iter().flatten()) {
        assert!((x - y).abs() <= 8. / 255. + 1e-6);
    }
    let seen = predictions(&model, &back);
    assert_eq!(stored.is_misclassified, seen.iter().zip(&labels).map(|(a, b)| a != b).collect::<Vec<_>>());
}

/// (m) weight gradients pile up.
#[test]
fn the_gradient_is_of_the_input_alone() {
    let (store, model) = network(5, 1);
    let x = images(3, 3);
    let labels = predictions(&model, &x);
    let before = store.snapshot().unwrap();
    GradientAttack::pgd(0.01, 200).to_the_end().run(&model, &x, &labels, &ThreatModel::linf(0.05), 0).unwrap();
    for (name, value) in store.snapshot().unwrap() {
        assert_eq!(
            value.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            before[&name].flatten_all().unwrap().to_vec1::<f32>().unwrap()
        );
    }
}

#[test]
fn transferred_attacks_ask_once() {
    let (_store, model) = network(5, 1);
    let (_store, other) = network(5, 1);
    let x = images(5, 3);
    let labels = predictions(&model, &x);
    let threat = ThreatModel::linf(0.2);
    let attack = GradientAttack::pgd(0.02, 10).to_the_end();
    let direct = attack.run(&model, &x, &labels, &threat, 0).unwrap();
    let found = Transfer::new(&other, attack).run(&model, &x, &labels, &threat, 0).unwrap();
    assert_eq!(found.queries, [1; 5]);
    assert_eq!(found.is_successful, direct.is_last_successful);
}

#[test]
fn hostile_input_is_an_error() {
    let (_store, model) = network(5, 1);
    let x = images(3, 3);
    let labels = predictions(&model, &x);
    let attack = GradientAttack::pgd(0.02, 3);
    let threat = ThreatModel::linf(0.1);
    for epsilon in [-1., f64::NAN, f64::INFINITY] {
        assert!(attack.run(&model, &x, &labels, &ThreatModel::linf(epsilon), 0).is_err());
        assert!(Square::new(5).run(&model, &x, &labels, &ThreatModel::linf(epsilon), 0).is_err());
        assert!(Suite::standard(Norm::Linf).run(&model, &x, &labels, &ThreatModel::linf(epsilon), 0).is_err());
    }
    assert!(attack.run(&model, &x, &labels, &threat.bounds(1., 0.), 0).is_err());
    assert!(attack.run(&model, &x.narrow(0, 0, 0).unwrap(), &[], &threat, 0).is_err());
    assert!(attack.run(&model, &x, &labels[..2], &threat, 0).is_err());
    assert!(attack.run(&model, &x, &[0, 1, 5], &threat, 0).unwrap_err().to_string().contains("sample 2"));
    let holes = (&x / 0.).unwrap();
    assert!(attack.run(&model, &holes, &labels, &threat, 0).unwrap_err().to_string().contains("sample 0"));
    for wrong in [
        GradientAttack::pgd(0.02, 0),
        GradientAttack::pgd(0., 3),
        GradientAttack::pgd(f64::NAN, 3),
        attack.clone().restarts(0),
        attack.clone().batch_size(0),
        attack.clone().start(Start::Given(vec![0.; 7])),
        attack.clone().start(Start::Given(vec![f64::NAN; 90])),
        GradientAttack::apgd(0, Loss::Dlr),
    ] {
        assert!(wrong.run(&model, &x, &labels, &threat, 0).is_err(), "{wrong:?}");
    }
    assert!(Square::new(0).run(&model, &x, &labels, &threat, 0).is_err());
    assert!(Square::new(5).run(&model, &x, &labels, &ThreatModel::l2(0.1), 0).is_err());
    assert!(Suite::new().run(&model, &x, &labels, &threat, 0).is_err());
    // attacks that were chosen for another norm
    let error = Suite::of_size(Norm::L2, 5, 10, Loss::Margin).run(&model, &x, &labels, &threat, 0).unwrap_err();
    assert!(error.to_string().contains("L2"), "{error}");
    // logits that are not numbers, of one sample, from the second answer on
    let calls = Cell::new(0);
    let broken = |x: &Tensor| -> core_tensor::Result<Tensor> {
        calls.set(calls.get() + 1);
        let z = model(x)?;
        if calls.get() == 1 {
            return Ok(z);
        }
        let mask: Vec<f32> = (0..x.dim(0)?).map(|at| if at == 1 { f32::NAN } else { 1. }).collect();
        Ok(z.broadcast_mul(&Tensor::new(mask, &Device::Cpu)?.unsqueeze(1)?)?)
    };
    let error = attack.run(&broken, &x, &labels, &threat, 0).unwrap_err().to_string();
    assert!(error.contains("sample 1"), "{error}");
    let flat = |x: &Tensor| x.flatten_from(1)?.sum_keepdim(1);
    assert!(attack.run(&flat, &x, &labels, &threat, 0).is_err());
    let infinite = |x: &Tensor| -> candle_core::Result<Tensor> {
        let z = x.flatten_from(1)?.narrow(1, 0, 2)?;
        // the root's slope at 0 is infinite
        (&z - &z)?.sqrt()? + z
    };
    let error = attack.run(&infinite, &x, &predictions(&infinite, &x), &threat, 0).unwrap_err().to_string();
    assert!(error.contains("gradient of sample"), "{error}");
    assert!(Normalized::new([0.5f32], [0.0f32], infinite).is_err());
    assert!(Normalized::new([0.5f32, 0.5], [1.0f32], infinite).is_err());
}

/// The dtype of the images and what a model gives back: typed errors that say what to do.
#[test]
fn inputs_and_logits_of_the_wrong_kind_are_named() {
    let (_store, model) = network(5, 1);
    let x = images(3, 3);
    let labels = predictions(&model, &x);
    let (attack, threat) = (GradientAttack::pgd(0.02, 3), ThreatModel::linf(0.1));
    let double = x.to_dtype(DType::F64).unwrap();
    let all: [&dyn Attack; 2] = [&attack, &Square::new(5)];
    for attack in all {
        let error = attack.run(&model, &double, &labels, &threat, 0).unwrap_err();
        assert!(matches!(error, adversarial::Error::InvalidConfig { .. }), "{error}");
        assert!(error.to_string().contains("are f64, but the model takes f32: convert them"), "{error}");
    }
    let suite = Suite::of_size(Norm::Linf, 3, 10, Loss::Margin);
    let error = suite.run(&model, &double, &labels, &threat, 0).unwrap_err().to_string();
    assert!(error.contains("to_dtype(DType::F32)"), "{error}");
    assert!(to_u8(&model, &double, &double, &labels, &threat).unwrap_err().to_string().contains("f64"));
    let whole = |x: &Tensor| x.flatten_from(1)?.narrow(1, 0, 5)?.to_dtype(DType::U32);
    let error = attack.run(&whole, &x, &labels, &threat, 0).unwrap_err().to_string();
    assert!(error.contains("U32"), "{error}");
    // another number of classes from the second answer on
    let calls = Cell::new(0);
    let shrinking = |x: &Tensor| -> core_tensor::Result<Tensor> {
        calls.set(calls.get() + 1);
        let z = model(x)?;
        Ok(if calls.get() == 1 { z } else { z.narrow(1, 0, 3)? })
    };
    let error = attack.run(&shrinking, &x, &labels, &threat, 0).unwrap_err().to_string();
    assert!(error.contains("logits of sample 0"), "{error}");
    let holes = |x: &Tensor| -> core_tensor::Result<Tensor> { Ok((model(x)? * f64::NAN)?) };
    assert!(to_u8(&holes, &x, &x, &labels, &threat).unwrap_err().to_string().contains("sample 0"));
}
