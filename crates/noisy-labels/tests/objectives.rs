//! Losses for noisy labels: gradients, identities, cases that others have got wrong, and wrong arguments.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::gradcheck::gradcheck;
use core_tensor::random::Rng;
use core_tensor::{backward, ops};
use noisy_labels::Error;
use noisy_labels::objectives::{
    EarlyLearning, EarlyLearningConfig, backward_correction, co_teaching, forward_correction,
    generalised_cross_entropy, importance_weights, jocor, joint_optimisation, label_smoothing, likelihood_ratio_labels,
    small_losses, symmetric_cross_entropy, total_variation,
};

const CLASSES: usize = 3;
const T: [f64; 9] = [0.7, 0.2, 0.1, 0.05, 0.9, 0.05, 0.3, 0.1, 0.6];

fn logits(seed: u64, rows: usize) -> Tensor {
    Rng::new(seed).normal(0., 1.5, (rows, CLASSES), DType::F64, &Device::Cpu).unwrap()
}

fn number(x: &Tensor) -> f64 {
    x.to_scalar::<f64>().unwrap()
}

fn core(error: Error) -> core_tensor::Error {
    match error {
        Error::Core(error) => error,
        other => candle_core::Error::Msg(other.to_string()).into(),
    }
}

#[test]
fn gradients_are_right() {
    let labels = [0, 2, 1, 1, 0];
    let x = logits(1, 5);
    let one = std::slice::from_ref(&x);
    let soft = ops::softmax(&logits(2, 5)).unwrap();
    gradcheck(|x| label_smoothing(&x[0], &labels, 0.1).map_err(core), one).unwrap();
    gradcheck(|x| symmetric_cross_entropy(&x[0], &labels, 0.1, 1.).map_err(core), one).unwrap();
    gradcheck(|x| generalised_cross_entropy(&x[0], &labels, 0.7).map_err(core), one).unwrap();
    gradcheck(|x| joint_optimisation(&x[0], &soft, 1., 0.5).map_err(core), one).unwrap();
    gradcheck(|x| total_variation(&x[0], &[[0, 1], [2, 4], [3, 3]]).map_err(core), one).unwrap();
    gradcheck(|x| forward_correction(&x[0], &labels, &T).map_err(core), one).unwrap();
    gradcheck(|x| backward_correction(&x[0], &labels, &T).map_err(core), one).unwrap();
    let two = [x.clone(), logits(3, 5)];
    gradcheck(|x| co_teaching(&x[0], &x[1], &labels, 0.).map(|both| both.first).map_err(core), &two).unwrap();
    gradcheck(|x| jocor(&x[0], &x[1], &labels, 0.2).map(|both| both.0).map_err(core), &two).unwrap();
}

#[test]
fn early_learning_is_its_formula_with_constant_targets() {
    let labels = [0, 2, 1, 1, 0];
    let examples = [4, 2, 0, 1, 3];
    let mut memory = EarlyLearning::new(5, CLASSES, EarlyLearningConfig::default()).unwrap();
    memory.loss(&logits(11, 5), &labels, &examples).unwrap();
    let before: Vec<f64> = examples.iter().flat_map(|&at| memory.target(at as usize).to_vec()).collect();
    let x = Var::from_tensor(&logits(12, 5)).unwrap();
    let loss = memory.loss(&x, &labels, &examples).unwrap();
    let targets: Vec<f64> = examples.iter().flat_map(|&at| memory.target(at as usize).to_vec()).collect();
    let p = ops::softmax(&x).unwrap();
    let probabilities = p.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    // No probability is small enough to be raised.
    assert!(probabilities.iter().all(|p| *p > 1e-4));
    for ((t, before), p) in targets.iter().zip(&before).zip(&probabilities) {
        assert!((t - (0.7 * before + 0.3 * p)).abs() < 1e-14);
    }
    let targets = Tensor::from_vec(targets, (5, CLASSES), &Device::Cpu).unwrap();
    let overlap = ops::sum_keepdim(&ops::mul(&p, &targets).unwrap(), &[1]).unwrap();
    let logs = ops::ln(&ops::affine(&overlap, -1., 1.).unwrap()).unwrap();
    let exact = ops::cross_entropy(&x, &Tensor::new(&labels, &Device::Cpu).unwrap()).unwrap();
    let expected = ops::add(&exact, &ops::affine(&ops::mean_all(&logs).unwrap(), 3., 0.).unwrap()).unwrap();
    assert!((number(&loss) - number(&expected)).abs() < 1e-12);
    let gradient =
        |loss: &Tensor| backward(loss).unwrap().get(&x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    for (found, expected) in gradient(&loss).iter().zip(gradient(&expected)) {
        assert!((found - expected).abs() < 1e-12, "{found} and {expected}");
    }
}

#[test]
fn generalised_cross_entropy_is_its_formula() {
    let (x, labels) = (logits(13, 4), [0u32, 2, 1, 0]);
    let p = ops::softmax(&x).unwrap().to_vec2::<f64>().unwrap();
    for q in [0.3, 0.7, 1.] {
        let each = p.iter().zip(labels).map(|(row, label)| (1. - row[label as usize].powf(q)) / q);
        let expected = each.sum::<f64>() / 4.;
        assert!((number(&generalised_cross_entropy(&x, &labels, q).unwrap()) - expected).abs() < 1e-12);
    }
}

#[test]
fn corrections_are_what_they_promise() {
    let (x, labels) = (logits(4, 6), [0u32, 1, 2, 2, 1, 0]);
    let identity: Vec<f64> = (0..9).map(|at| f64::from(u8::from(at % 4 == 0))).collect();
    let targets = Tensor::new(&labels, &Device::Cpu).unwrap();
    let exact = number(&ops::cross_entropy(&x, &targets).unwrap());
    assert!((number(&forward_correction(&x, &labels, &identity).unwrap()) - exact).abs() < 1e-12);
    assert!((number(&backward_correction(&x, &labels, &identity).unwrap()) - exact).abs() < 1e-12);
    let weights = importance_weights(&x, &labels, &identity).unwrap().to_vec1::<f64>().unwrap();
    assert!(weights.iter().all(|w| (w - 1.).abs() < 1e-12));
    // The expectation of the backward loss over labels drawn by T is the loss of the true class.
    for class in 0..CLASSES {
        let row = logits(5 + class as u64, 1);
        let expected: f64 = (0..CLASSES)
            .map(|given| T[class * CLASSES + given] * number(&backward_correction(&row, &[given as u32], &T).unwrap()))
            .sum();
        let clean = number(&ops::cross_entropy(&row, &Tensor::new(&[class as u32], &Device::Cpu).unwrap()).unwrap());
        assert!((expected - clean).abs() < 1e-10, "{expected} and {clean}");
    }
    let singular = [0.5, 0.5, 0., 0.5, 0.5, 0., 0., 0., 1.];
    assert!(matches!(backward_correction(&x, &labels, &singular), Err(Error::InvalidData { .. })));
    assert!(forward_correction(&x, &labels, &singular).is_ok());
}

#[test]
fn a_batch_of_one_keeps_its_example() {
    assert_eq!(small_losses(&[3.], 0.9).unwrap(), [0]);
    assert_eq!(small_losses(&[3., 1., 2., 1.], 0.5).unwrap(), [1, 3]);
    assert_eq!(small_losses(&[3., 1.], 1.).unwrap(), [1]);
    let both = co_teaching(&logits(6, 1), &logits(7, 1), &[2], 0.8).unwrap();
    assert!(number(&both.first).is_finite() && number(&both.second) > 0.);
}

#[test]
fn the_memory_follows_examples_not_places() {
    let config = EarlyLearningConfig::default();
    let (x, labels) = (logits(8, 4), [0u32, 1, 2, 0]);
    let mut straight = EarlyLearning::new(10, CLASSES, config).unwrap();
    straight.loss(&x, &labels, &[3, 7, 1, 9]).unwrap();
    let mut shuffled = EarlyLearning::new(10, CLASSES, config).unwrap();
    let turned = ops::index_select(&x, &Tensor::new(&[2u32, 0, 3, 1], &Device::Cpu).unwrap(), 0).unwrap();
    shuffled.loss(&turned, &[2, 0, 0, 1], &[1, 3, 9, 7]).unwrap();
    for example in 0..10 {
        let near = straight.target(example).iter().zip(shuffled.target(example)).all(|(a, b)| (a - b).abs() < 1e-15);
        assert!(near, "{example}");
    }
    assert_eq!(straight.target(0), [0.; CLASSES]);
    assert!((straight.target(7).iter().sum::<f64>() - 0.3).abs() < 1e-12);
    assert!(straight.target(10).is_empty() && straight.target(usize::MAX).is_empty());
}

#[test]
fn certain_predictions_have_finite_gradients() {
    let x = Var::new(&[[1000f32, 0., 0.], [0., -1000., 0.]], &Device::Cpu).unwrap();
    let labels = [1, 1];
    let hard = Tensor::new(&[[0f32, 1., 0.], [0., 1., 0.]], &Device::Cpu).unwrap();
    let losses = [
        label_smoothing(&x, &labels, 0.1).unwrap(),
        symmetric_cross_entropy(&x, &labels, 0.1, 1.).unwrap(),
        generalised_cross_entropy(&x, &labels, 0.7).unwrap(),
        forward_correction(&x, &labels, &T).unwrap(),
        joint_optimisation(&x, &hard, 1., 0.5).unwrap(),
        EarlyLearning::new(2, CLASSES, EarlyLearningConfig::default()).unwrap().loss(&x, &labels, &[0, 1]).unwrap(),
    ];
    for loss in losses {
        let grads = backward(&loss).unwrap();
        let values = grads.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(loss.to_scalar::<f32>().unwrap().is_finite() && values.iter().all(|v| v.is_finite()), "{values:?}");
    }
    let replaced = likelihood_ratio_labels(&x, &[2, 0], 99.).unwrap();
    assert_eq!(replaced, [0, 0]);
}

#[test]
fn wrong_arguments_are_errors() {
    let x = logits(9, 2);
    assert!(matches!(label_smoothing(&x, &[0], 0.1), Err(Error::Length { .. })));
    assert!(matches!(label_smoothing(&x, &[0, 3], 0.1), Err(Error::OutOfRange { .. })));
    assert!(label_smoothing(&x, &[0, 1], 1.5).is_err() && label_smoothing(&x, &[0, 1], f64::NAN).is_err());
    assert!(matches!(label_smoothing(&x.flatten_all().unwrap(), &[0, 1], 0.1), Err(Error::Shape { .. })));
    let none = Tensor::zeros((0, 3), DType::F64, &Device::Cpu).unwrap();
    assert!(matches!(label_smoothing(&none, &[], 0.1), Err(Error::Empty { .. })));
    assert!(symmetric_cross_entropy(&x, &[0, 1], -1., 1.).is_err());
    for q in [0., -0.5, 1.5, f64::NAN] {
        assert!(generalised_cross_entropy(&x, &[0, 1], q).is_err());
    }
    assert!(matches!(joint_optimisation(&x, &logits(1, 3), 1., 0.5), Err(Error::Shape { .. })));
    assert!(matches!(total_variation(&x, &[]), Err(Error::Empty { .. })));
    assert!(matches!(total_variation(&x, &[[0, 2]]), Err(Error::OutOfRange { .. })));
    for t in [&T[..6], &[0.5; 9], &[1.2, -0.2, 0., 0., 1., 0., 0., 0., 1.]] {
        assert!(forward_correction(&x, &[0, 1], t).is_err() && importance_weights(&x, &[0, 1], t).is_err());
    }
    assert!(small_losses(&[], 0.1).is_err() && small_losses(&[f64::NAN], 0.1).is_err());
    assert!(small_losses(&[1.], -0.1).is_err() && small_losses(&[1.], 1.1).is_err());
    assert!(jocor(&x, &logits(1, 3), &[0, 1], 0.1).is_err());
    assert!(likelihood_ratio_labels(&x, &[0, 1], 0.5).is_err());
    let config = EarlyLearningConfig::default();
    assert!(EarlyLearning::new(1, 0, config).is_err());
    assert!(EarlyLearning::new(1, 2, EarlyLearningConfig { momentum: 1.1, ..config }).is_err());
    let mut memory = EarlyLearning::new(2, CLASSES, config).unwrap();
    assert!(matches!(memory.loss(&x, &[0, 1], &[0, 2]), Err(Error::OutOfRange { .. })));
    assert!(matches!(memory.loss(&x, &[0, 1], &[0]), Err(Error::Length { .. })));
}
