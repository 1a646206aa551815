//! The trainer: every objective learns through noise, runs are repeatable, interrupted ones end as others do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Module, Tensor};
use candle_nn::VarBuilder;
use core_tensor::nn::linear;
use core_tensor::random::Rng;
use core_tensor::train::{Cancellation, Classifier};
use core_tensor::{Mode, ops};
use noisy_labels::Error;
use noisy_labels::noise::pairs;
use noisy_labels::training::{EpochRecord, Objective, Trained, TrainingConfig, cross_validated, predict, train};

const CLASSES: usize = 3;

fn build(vb: VarBuilder<'static>) -> core_tensor::Result<Box<dyn Classifier>> {
    let (first, second) = (linear(2, 16, vb.pp("first"))?, linear(16, CLASSES, vb.pp("second"))?);
    Ok(Box::new(move |x: &Tensor, mode: &mut Mode<'_>| {
        let hidden = mode.dropout(&ops::relu(&first.forward(x)?)?, 0.2)?;
        Ok(second.forward(&hidden)?)
    }))
}

/// Three groups of points in the plane, a third of whose labels is the next class.
fn data(count: usize) -> (Tensor, Vec<u32>, Vec<u32>) {
    let mut rng = Rng::new(1);
    let truth: Vec<u32> = (0..count as u32).map(|at| at % CLASSES as u32).collect();
    let centres = [[0f64, 2.], [2., -1.], [-2., -1.]];
    let noise = rng.normal(0., 0.6, (count, 2), DType::F64, &Device::Cpu).unwrap().to_vec2::<f64>().unwrap();
    let x = noise.iter().zip(&truth).flat_map(|(e, &class)| {
        let centre = centres[class as usize];
        [(centre[0] + e[0]) as f32, (centre[1] + e[1]) as f32]
    });
    let x = Tensor::from_vec(x.collect::<Vec<f32>>(), (count, 2), &Device::Cpu).unwrap();
    let given = pairs(&truth, CLASSES, 0.33, &mut rng).unwrap();
    (x, truth, given)
}

fn config(epochs: usize) -> TrainingConfig {
    TrainingConfig { epochs, batch_size: 32, learning_rate: 0.01, ..TrainingConfig::default() }
}

fn run(x: &Tensor, labels: &[u32], objective: &Objective, config: &TrainingConfig) -> Result<Trained, Error> {
    train(&build, x, labels, CLASSES, objective, config, &Cancellation::never(), |_, _| Ok(()))
}

fn accuracy(trained: &Trained, x: &Tensor, truth: &[u32]) -> f64 {
    let found = predict(&*trained.network, x).unwrap().argmax(1).unwrap().to_vec1::<u32>().unwrap();
    found.iter().zip(truth).filter(|(a, b)| a == b).count() as f64 / truth.len() as f64
}

#[test]
fn every_objective_learns_through_noise() {
    // One more than a number of batches: a last batch of one.
    let (x, truth, given) = data(32 * 12 + 1);
    for objective in Objective::all(12) {
        let config = match objective {
            // Momentum instead of Adam needs a larger step.
            Objective::RobustEarlyLearning { .. } => TrainingConfig { learning_rate: 0.1, ..config(12) },
            _ => config(12),
        };
        let trained = run(&x, &given, &objective, &config).unwrap();
        let found = accuracy(&trained, &x, &truth);
        // The noise is a third, to the next class alone: what learned the labels would have 0.67.
        assert!(found > 0.85, "{}: {found}", objective.name());
        assert!(trained.history.iter().all(|epoch| epoch.loss.is_finite()), "{}", objective.name());
        let expected = if objective.name() == "joint" { 12 + 7 } else { 12 };
        assert_eq!(trained.history.len(), expected, "{}", objective.name());
        if let Some(rate) = trained.noise_rate {
            assert!((0.2..0.5).contains(&rate), "{}: {rate}", objective.name());
        }
        if let Some(transition) = &trained.transition {
            for row in transition.chunks(CLASSES) {
                assert!((row.iter().sum::<f64>() - 1.).abs() < 1e-6);
            }
        }
        match objective {
            Objective::LikelihoodRatio { .. } | Objective::JointOptimisation { .. } => {}
            _ => assert_eq!(trained.labels, given),
        }
    }
}

#[test]
fn labels_are_replaced_by_what_the_network_finds_likely() {
    let (x, truth, given) = data(600);
    let wrong = |labels: &[u32]| labels.iter().zip(&truth).filter(|(a, b)| a != b).count();
    let objective = Objective::LikelihoodRatio { ratio: 1.5, replaces_from: 4, retains_from: 3 };
    let trained = run(&x, &given, &objective, &config(10)).unwrap();
    assert!(wrong(&trained.labels) * 2 < wrong(&given), "{} of {}", wrong(&trained.labels), wrong(&given));
    assert_eq!(trained.history[3].replaced, 0);
    assert!(trained.history[9].replaced > 0);
    let objective = Objective::JointOptimisation { prior: 1., entropy: 0.5, replaces_from: 3, second_epochs: 4 };
    let trained = run(&x, &given, &objective, &config(10)).unwrap();
    assert!(wrong(&trained.labels) * 2 < wrong(&given));
}

#[test]
fn a_training_is_the_same_each_time_and_where_it_was_interrupted() {
    let (x, _, given) = data(200);
    let objectives = [
        (Objective::CrossEntropy, None),
        (Objective::CrossEntropy, Some(0.2)),
        (Objective::EarlyLearning(Default::default()), None),
        (Objective::CoTeaching { noise_rate: Some(0.3), ramp: 3 }, None),
        (Objective::Jocor { noise_rate: Some(0.3), ramp: 3 }, None),
        (Objective::RobustEarlyLearning { noise_rate: Some(0.3) }, None),
        (Objective::LikelihoodRatio { ratio: 1.5, replaces_from: 3, retains_from: 2 }, None),
        (Objective::TotalVariation { weight: 0.1 }, None),
        (Objective::JointOptimisation { prior: 1., entropy: 0.5, replaces_from: 2, second_epochs: 3 }, None),
    ];
    for (objective, validation) in objectives {
        let whole = TrainingConfig { validation, ..config(5) };
        let first = run(&x, &given, &objective, &whole).unwrap();
        let second = run(&x, &given, &objective, &whole).unwrap();
        assert_eq!(first.history, second.history, "{}", objective.name());
        let folder = tempfile::tempdir().unwrap();
        for stopped_behind in [1usize, 4, 6] {
            let kept =
                TrainingConfig { checkpoint: Some(folder.path().join(stopped_behind.to_string())), ..whole.clone() };
            // Whoever watches ends it in the epoch after one that was written down.
            let watch = |epoch: &EpochRecord, _: &dyn Classifier| match epoch.epoch > stopped_behind {
                true => Err(Error::Empty { operation: "a test", what: "patience" }),
                false => Ok(()),
            };
            let never = Cancellation::never();
            let _ = train(&build, &x, &given, CLASSES, &objective, &kept, &never, watch);
            let resumed = run(&x, &given, &objective, &kept).unwrap();
            assert_eq!(resumed.history, first.history, "{} behind {stopped_behind}", objective.name());
            let values = |trained: &Trained| {
                predict(&*trained.network, &x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
            };
            assert_eq!(values(&resumed), values(&first), "{}", objective.name());
            // A checkpoint of something else is not taken for one's own.
            let other = TrainingConfig { seed: 9, ..kept };
            assert!(matches!(run(&x, &given, &objective, &other), Err(Error::InvalidData { .. })));
            let mut labels = given.clone();
            labels.swap(0, 1);
            let kept = TrainingConfig { seed: 0, ..other };
            assert!(matches!(run(&x, &labels, &objective, &kept), Err(Error::InvalidData { .. })));
        }
    }
}

#[test]
fn early_stopping_takes_the_parameters_before_the_fall() {
    let (x, _, given) = data(300);
    let stopped = TrainingConfig { validation: Some(0.3), learning_rate: 0.03, ..config(60) };
    let trained = run(&x, &given, &Objective::CrossEntropy, &stopped).unwrap();
    assert!(trained.history.len() < 60);
    let shares: Vec<f64> = trained.history.iter().map(|epoch| epoch.validation.unwrap()).collect();
    let (last, before) = (shares[shares.len() - 1], &shares[..shares.len() - 1]);
    assert!(before.windows(2).all(|pair| pair[1] >= pair[0]) && last < before[before.len() - 1]);
    // The parameters are those of the first epoch that was as good as the last before the fall.
    let best = before.iter().position(|share| *share == before[before.len() - 1]).unwrap();
    let mut values = Vec::new();
    let never = Cancellation::never();
    train(&build, &x, &given, CLASSES, &Objective::CrossEntropy, &stopped, &never, |_, network| {
        values.push(predict(network, &x)?.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    })
    .unwrap();
    let found = predict(&*trained.network, &x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(found, values[best]);
}

#[test]
fn cross_validation_has_not_seen_the_labels() {
    // Labels that are pure noise: what is predicted out of sample cannot know them.
    let x = Rng::new(3).normal(0., 1., (300, 2), DType::F32, &Device::Cpu).unwrap();
    let labels: Vec<u32> = (0..300u32).map(|at| (at * 7919 / 13) % 3).collect();
    let config = TrainingConfig { learning_rate: 0.05, ..config(40) };
    let objective = Objective::CrossEntropy;
    let p = cross_validated(&build, &x, &labels, CLASSES, &objective, 4, &config, &Cancellation::never()).unwrap();
    let right = p.chunks(CLASSES).zip(&labels).filter(|(row, label)| {
        row.iter().enumerate().all(|(class, p)| class == **label as usize || *p <= row[**label as usize])
    });
    let share = right.count() as f64 / 300.;
    assert!((share - 1. / 3.).abs() < 0.12, "{share}");
    assert!(p.chunks(CLASSES).all(|row| (row.iter().sum::<f64>() - 1.).abs() < 1e-5));
    for folds in [0, 1, 301] {
        let never = Cancellation::never();
        assert!(cross_validated(&build, &x, &labels, CLASSES, &objective, folds, &config, &never).is_err());
    }
}

#[test]
fn wrong_arguments_are_errors() {
    let (x, _, given) = data(60);
    let plain = Objective::CrossEntropy;
    let few = config(2);
    assert!(matches!(run(&x, &given[1..], &plain, &few), Err(Error::Shape { .. })));
    assert!(matches!(run(&x, &[3; 60], &plain, &few), Err(Error::OutOfRange { .. })));
    let nothing = Tensor::zeros((0, 2), DType::F32, &Device::Cpu).unwrap();
    assert!(matches!(run(&nothing, &[], &plain, &few), Err(Error::Empty { .. })));
    assert!(run(&x, &given, &plain, &config(0)).is_err());
    assert!(run(&x, &given, &plain, &TrainingConfig { batch_size: 0, ..config(2) }).is_err());
    for validation in [0., 1., -0.1, f64::NAN, 1e-9] {
        let config = TrainingConfig { validation: Some(validation), ..config(2) };
        assert!(run(&x, &given, &plain, &config).is_err(), "{validation}");
    }
    for rate in [-0.1, 1.1, f64::NAN] {
        for objective in [
            Objective::CoTeaching { noise_rate: Some(rate), ramp: 1 },
            Objective::Jocor { noise_rate: Some(rate), ramp: 1 },
            Objective::RobustEarlyLearning { noise_rate: Some(rate) },
        ] {
            assert!(run(&x, &given, &objective, &few).is_err(), "{rate}");
        }
    }
    let singular = vec![1. / 3.; 9];
    let backward = Objective::Backward { transition: Some(singular), warm_up: 1 };
    assert!(matches!(run(&x, &given, &backward, &few), Err(Error::InvalidData { .. })));
    let short = Objective::Forward { transition: Some(vec![1.; 4]), warm_up: 1 };
    assert!(run(&x, &given, &short, &few).is_err());
    // A network of another number of classes, and inputs that make no number.
    let other = |vb: VarBuilder<'static>| -> core_tensor::Result<Box<dyn Classifier>> {
        let layer = linear(2, 5, vb)?;
        Ok(Box::new(move |x: &Tensor, _: &mut Mode<'_>| Ok(layer.forward(x)?)))
    };
    let never = Cancellation::never();
    let found = train(&other, &x, &given, CLASSES, &plain, &few, &never, |_, _| Ok(()));
    assert!(matches!(found, Err(Error::Shape { .. })));
    let bad = (x.zeros_like().unwrap() + f64::NAN).unwrap();
    assert!(matches!(run(&bad, &given, &plain, &few), Err(Error::Value { .. })));
    let (cancelled, flag) = Cancellation::by_flag();
    flag.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(train(&build, &x, &given, CLASSES, &plain, &few, &cancelled, |_, _| Ok(())).is_err());
}
