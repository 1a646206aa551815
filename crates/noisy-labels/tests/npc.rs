//! The parts of NPC: gradients, properties, and wrong arguments.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor};
use core_tensor::gradcheck::gradcheck;
use core_tensor::ops;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::Cancellation;
use noisy_labels::neighbours::Points;
use noisy_labels::npc::{
    Extract, NpcConfig, PredictionVae, References, calibrate, corrected, dirichlet_kl, fit, gamma_sample,
    neighbour_votes, prediction_vae, prior_of_classes, prior_of_votes, references,
};
use noisy_labels::{Error, Probabilities};

fn uniform(seed: u64, low: f64, high: f64, shape: (usize, usize)) -> Tensor {
    Rng::new(seed).uniform(low, high, shape, DType::F64, &Device::Cpu).unwrap()
}

fn values(x: &Tensor) -> Vec<f64> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// Trains on frozen features; the losses of the epochs.
fn train(
    vae: &PredictionVae,
    store: &ParamStore,
    inputs: &Tensor,
    predicted: &[u32],
    prior: &[f64],
    config: &NpcConfig,
    cancellation: &Cancellation,
) -> Result<Vec<f64>, Error> {
    let mut losses = Vec::new();
    fit(vae, store, Extract::Frozen, inputs, predicted, prior, config, cancellation, |_, loss| {
        losses.push(loss);
        Ok(())
    })?;
    Ok(losses)
}

fn core(error: Error) -> core_tensor::Error {
    match error {
        Error::Core(error) => error,
        other => candle_core::Error::Msg(other.to_string()).into(),
    }
}

#[test]
fn gradients_are_right() {
    let (alpha, prior) = (uniform(1, 1.1, 9., (4, 3)), uniform(2, 1.2, 7., (4, 3)));
    let u = uniform(3, 0.05, 1., (4, 3));
    gradcheck(|a| gamma_sample(&a[0], &u).map_err(core), std::slice::from_ref(&alpha)).unwrap();
    gradcheck(|a| dirichlet_kl(&a[0], &prior).map_err(core), std::slice::from_ref(&alpha)).unwrap();
    let store = ParamStore::new(5, DType::F64, &Device::Cpu);
    let vae = prediction_vae(3, 6, store.var_builder()).unwrap();
    let predicted = Tensor::new(&[[1f64, 0., 0.], [0., 0., 1.], [0., 1., 0.], [0., 0., 1.]], &Device::Cpu).unwrap();
    let features = uniform(4, -2., 2., (4, 6));
    let loss = |x: &[Tensor]| Ok(vae.loss([&x[0], &x[0]], &predicted, &prior, &u, 0.7).map_err(core)?.loss);
    gradcheck(loss, std::slice::from_ref(&features)).unwrap();
}

#[test]
fn the_divergence_is_that_of_monte_carlo() {
    use rand_distr::{Distribution, Gamma};
    let (a, b) = ([2.5, 1.3, 4.], [1.2, 3., 4.]);
    let tensor = |values: [f64; 3]| Tensor::new(&[values], &Device::Cpu).unwrap();
    let exact = values(&dirichlet_kl(&tensor(a), &tensor(b)).unwrap())[0];
    let mut rng = Rng::new(6);
    let mut samples = Vec::new();
    for _ in 0..200_000 {
        let mut sum = 0.;
        for (&a, &b) in a.iter().zip(&b) {
            let x: f64 = Gamma::new(a, 1.).unwrap().sample(&mut rng);
            sum += (a - b) * x.ln();
        }
        samples.push(sum);
    }
    let constant: f64 = b.iter().map(|&b| ln_gamma(b)).sum::<f64>() - a.iter().map(|&a| ln_gamma(a)).sum::<f64>();
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let deviation = (samples.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / n).sqrt();
    assert!((mean + constant - exact).abs() < 4. * deviation / n.sqrt(), "{} and {exact}", mean + constant);
    for seed in 0..20 {
        let found = dirichlet_kl(&uniform(seed, 0.1, 9., (50, 4)), &uniform(seed + 99, 0.1, 9., (50, 4))).unwrap();
        assert!(values(&found).iter().all(|kl| *kl >= -1e-12));
    }
    assert!(values(&dirichlet_kl(&tensor(a), &tensor(a)).unwrap())[0].abs() < 1e-14);
}

fn ln_gamma(x: f64) -> f64 {
    ops::lgamma(&Tensor::new(&[x], &Device::Cpu).unwrap()).unwrap().to_vec1::<f64>().unwrap()[0]
}

#[test]
fn corrected_probabilities_are_distributions() {
    let store = ParamStore::new(7, DType::F64, &Device::Cpu);
    let vae = prediction_vae(4, 5, store.var_builder()).unwrap();
    let features = uniform(8, -30., 30., (20, 5));
    let transition = vae.transition(&features).unwrap();
    for row in values(&transition).chunks(4) {
        assert!((row.iter().sum::<f64>() - 1.).abs() < 1e-12 && row.iter().all(|p| *p > 0.), "{row:?}");
    }
    let p = core_tensor::ops::softmax(&uniform(9, -5., 5., (20, 4))).unwrap();
    for row in values(&corrected(&p, &transition).unwrap()).chunks(4) {
        assert!((row.iter().sum::<f64>() - 1.).abs() < 1e-12);
    }
    // A draw of 0 has a finite sample and gradient.
    let zero = Tensor::zeros((1, 4), DType::F64, &Device::Cpu).unwrap();
    let alpha = candle_core::Var::from_tensor(&uniform(10, 1.1, 5., (1, 4))).unwrap();
    let sample = gamma_sample(&alpha, &zero).unwrap();
    let grads = core_tensor::backward(&ops::sum_all(&sample).unwrap()).unwrap();
    assert!(values(&sample).iter().chain(&values(grads.get(&alpha).unwrap())).all(|v| v.is_finite()));
}

/// `H_kj = p(y = j) / p(ŷ = k) · Σ_i p(ŷ = k | ỹ = i) T_ji` for independent draws (Proposition 3.1, with the index order that Bayes' rule demands): from tables, and from the joint distribution itself.
#[test]
fn h_and_t_fulfil_bayes_rule() {
    let random = |seed, rows| {
        let x = uniform(seed, 0.05, 1., (rows, 3));
        let sums = x.sum_keepdim(1).unwrap();
        values(&x.broadcast_div(&sums).unwrap())
    };
    let (truth, t, predicted) = (random(11, 1), random(12, 3), random(13, 3));
    let mut joint = [0.; 9];
    for j in 0..3 {
        for i in 0..3 {
            for k in 0..3 {
                joint[k * 3 + j] += truth[j] * t[j * 3 + i] * predicted[i * 3 + k];
            }
        }
    }
    for k in 0..3 {
        let of_k: f64 = joint[k * 3..(k + 1) * 3].iter().sum();
        for j in 0..3 {
            let sum: f64 = (0..3).map(|i| predicted[i * 3 + k] * t[j * 3 + i]).sum();
            assert!((truth[j] / of_k * sum - joint[k * 3 + j] / of_k).abs() < 1e-14);
        }
    }
}

/// Features that tell the classes, predictions of which many are wrong, corrected from files alone: no network.
#[test]
fn a_black_box_is_corrected() {
    const CLASSES: usize = 4;
    let mut rng = Rng::new(20);
    let count = 800;
    let truth: Vec<u32> = (0..count).map(|_| rng.below(CLASSES) as u32).collect();
    // Wrong predictions are the next class, and as certain as right ones, except for those that serve as references.
    let said: Vec<u32> =
        truth.iter().map(|&class| if rng.unit() < 0.4 { (class + 1) % CLASSES as u32 } else { class }).collect();
    let features: Vec<f32> = truth
        .iter()
        .flat_map(|&class| (0..CLASSES as u32).map(move |at| if at == class { 2f32 } else { 0. }))
        .map(|mean| mean + 0.6 * (rng.unit() as f32 - 0.5))
        .collect();
    let p: Vec<f32> = said
        .iter()
        .zip(&truth)
        .flat_map(|(&said, &class)| {
            let certainty = if said == class { 0.85 } else { 0.7 };
            (0..CLASSES as u32).map(move |at| if at == said { certainty } else { (1. - certainty) / 3. })
        })
        .collect();
    let probabilities = Probabilities::new(&p, CLASSES).unwrap();
    let chosen = references(probabilities, &rng.permutation(count), 64).unwrap();
    let points = Points::new(&features, CLASSES).unwrap();
    let votes = neighbour_votes(points, &chosen, CLASSES, 10).unwrap();
    let prior = prior_of_classes(&votes, CLASSES, 5.).unwrap();
    let store = ParamStore::new(1, DType::F32, &Device::Cpu);
    let vae = prediction_vae(CLASSES, CLASSES, store.var_builder()).unwrap();
    let inputs = Tensor::from_vec(features.clone(), (count, CLASSES), &Device::Cpu).unwrap();
    let config = NpcConfig { epochs: 15, learning_rate: 1e-2, ..Default::default() };
    let losses = train(&vae, &store, &inputs, &said, &prior, &config, &Cancellation::never()).unwrap();
    assert!(losses.iter().all(|loss| loss.is_finite()) && losses[14] < losses[0], "{losses:?}");
    let p = Tensor::from_vec(p.clone(), (count, CLASSES), &Device::Cpu).unwrap();
    let calibrated = calibrate(&vae, Extract::Frozen, &inputs, &p).unwrap();
    assert_eq!(calibrated.transition.dims(), [count, CLASSES, CLASSES]);
    let accuracy = |p: &Tensor| {
        let found = p.argmax(1).unwrap().to_vec1::<u32>().unwrap();
        found.iter().zip(&truth).filter(|(a, b)| a == b).count() as f64 / count as f64
    };
    assert!(
        accuracy(&p) < 0.65 && accuracy(&calibrated.probabilities) > 0.95,
        "{}",
        accuracy(&calibrated.probabilities)
    );
    // Equal seeds, equal bits.
    let again = ParamStore::new(1, DType::F32, &Device::Cpu);
    let other = prediction_vae(CLASSES, CLASSES, again.var_builder()).unwrap();
    assert_eq!(train(&other, &again, &inputs, &said, &prior, &config, &Cancellation::never()).unwrap(), losses);
    let (cancellation, flag) = Cancellation::by_flag();
    flag.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(train(&other, &again, &inputs, &said, &prior, &config, &cancellation).is_err());
    assert!(matches!(
        train(&other, &again, &inputs, &said, &prior[1..], &config, &Cancellation::never()),
        Err(Error::Length { .. })
    ));
    assert!(train(&other, &again, &inputs, &[9; 800], &prior, &config, &Cancellation::never()).is_err());
    assert!(train(&other, &again, &inputs, &said[1..], &prior, &config, &Cancellation::never()).is_err());
}

#[test]
fn only_equal_references_vote() {
    // The first example is a reference and equal to the second; the third lies a hair away.
    let x = [1f64, 1., 1., 1., 1. + 1e-9, 1., 5., 5.];
    let found = References { examples: vec![0, 1, 2, 3], classes: vec![0, 1, 2, 2] };
    let votes = neighbour_votes(Points::new(&x, 2).unwrap(), &found, 3, 3).unwrap();
    assert_eq!(votes[..6], [0.5, 0.5, 0., 0.5, 0.5, 0.]);
    assert_eq!(votes[6..9], [0., 0., 1.]);
    // Ties of votes go to the smallest class.
    assert_eq!(prior_of_classes(&votes[..3], 3, 6.).unwrap(), [1. + 1. / 3. + 6., 1. + 1. / 3., 1. + 1. / 3.]);
    assert_eq!(prior_of_votes(&votes[..3], 3, 6., 1).unwrap()[1], 1. + 1. / 3.);
}

#[test]
fn wrong_arguments_are_errors() {
    let p = [0.5, 0.5, 0.2, 0.8];
    let p = Probabilities::new(&p, 2).unwrap();
    assert!(matches!(references(p, &[0, 2], 2), Err(Error::OutOfRange { position: 1, .. })));
    assert!(references(p, &[0, 1], 0).is_err());
    let x = Points::new(&[1f32, 2.], 1).unwrap();
    let wrong = |examples: Vec<u32>, classes: Vec<u32>| neighbour_votes(x, &References { examples, classes }, 2, 1);
    assert!(matches!(wrong(vec![0], vec![]), Err(Error::Length { .. })));
    assert!(matches!(wrong(vec![2], vec![0]), Err(Error::OutOfRange { .. })));
    assert!(matches!(wrong(vec![0], vec![2]), Err(Error::OutOfRange { .. })));
    assert!(wrong(vec![], vec![]).is_err());
    assert!(prior_of_votes(&[0.5], 2, 1., 1).is_err() && prior_of_classes(&[1.], 1, -1.).is_err());
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let vae = prediction_vae(3, 6, store.var_builder()).unwrap();
    let narrow = uniform(1, 0., 1., (4, 5));
    assert!(matches!(vae.transition(&narrow), Err(Error::Shape { .. })));
    let (features, three) = (uniform(1, 0., 1., (4, 6)), uniform(1, 0., 1., (4, 3)));
    assert!(matches!(vae.encode(&features, &narrow), Err(Error::Shape { .. })));
    assert!(vae.loss([&features, &features], &three, &three, &three, -1.).is_err());
    assert!(vae.loss([&features, &features], &three, &three, &uniform(1, 0., 1., (3, 3)), 1.).is_err());
    assert!(matches!(corrected(&three, &three), Err(Error::Shape { .. })));
    assert!(prediction_vae(0, 6, store.var_builder().pp("none")).is_err());
}

/// Two classes on two sides with other features that say nothing; a third of the predictions of one class is wrong, and less certain.
fn black_box(n: usize) -> (Vec<f32>, Vec<f32>, Vec<u32>) {
    let mut rng = Rng::new(8);
    let (mut features, mut p, mut truth) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..n {
        let class = (at % 2) as u32;
        let side = if class == 0 { 1f32 } else { -1. };
        // The scales differ by a factor of a million.
        features.extend([side + 0.2 * (rng.unit() as f32 - 0.5), 1e6 * rng.unit() as f32, 5.]);
        let right = if class == 0 && at % 6 == 0 { 0.3 } else { 0.8f32 };
        p.extend(if class == 0 { [right, 1. - right] } else { [1. - right, right] });
        truth.push(class);
    }
    (features, p, truth)
}

#[test]
fn a_black_box_is_corrected_by_every_prior() {
    use noisy_labels::npc::{Calibrator, CalibratorConfig, Prior};
    let (features, p, truth) = black_box(600);
    let (x, p) = (Points::new(&features, 3).unwrap(), Probabilities::new(&p, 2).unwrap());
    let training = NpcConfig { epochs: 60, learning_rate: 0.02, batch_size: 32, ..Default::default() };
    let known: Vec<f64> = truth.iter().flat_map(|&class| if class == 0 { [1., 0.] } else { [0., 1.] }).collect();
    let accuracy = |rows: &Tensor| {
        let found = rows.argmax(1).unwrap().to_vec1::<u32>().unwrap();
        found.iter().zip(&truth).filter(|(a, b)| a == b).count() as f64 / 600.
    };
    let before = (0..600).filter(|&row| p.most_probable(row) as u32 == truth[row]).count() as f64 / 600.;
    for (has_probe, prior) in [(false, Prior::Given(&known)), (true, Prior::Given(&known))] {
        let config = CalibratorConfig { prior, has_probe, training, ..Default::default() };
        let calibrator = Calibrator::fit(p, x, &config, &Cancellation::never()).unwrap();
        let found = calibrator.calibrate(p, x).unwrap();
        assert!(accuracy(&found.probabilities) > before + 0.1, "{has_probe}: {}", accuracy(&found.probabilities));
        // Rows of H and of the probabilities sum to 1, and both ways give the same.
        let sums = found.transition.sum(2).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(sums.iter().all(|sum| (sum - 1.).abs() < 1e-5));
        let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(flat(&calibrator.correct(p, x).unwrap()), flat(&found.probabilities));
        assert!(calibrator.votes().is_none());
        assert_eq!(calibrator.losses().len(), 60);
        assert!(calibrator.losses()[59] < calibrator.losses()[0]);
    }
    // A prior that knows nothing promises nothing.
    let config = CalibratorConfig { prior: Prior::Uniform, training, ..Default::default() };
    let calibrator = Calibrator::fit(p, x, &config, &Cancellation::never()).unwrap();
    assert_eq!(calibrator.correct(p, x).unwrap().dims(), [600, 2]);
    let neighbours = Prior::Neighbours { k: 3, batch_size: 32, top: Some(2) };
    let config = CalibratorConfig { prior: neighbours, training, ..Default::default() };
    let calibrator = Calibrator::fit(p, x, &config, &Cancellation::never()).unwrap();
    assert_eq!(calibrator.votes().unwrap().len(), 1200);
    // The same each time.
    let again = Calibrator::fit(p, x, &config, &Cancellation::never()).unwrap();
    assert_eq!(again.losses(), calibrator.losses());
}

#[test]
fn a_network_in_parts_is_the_network() {
    use candle_nn::Module;
    use core_tensor::{Mode, nn};
    let (features, _, truth) = black_box(96);
    let x = Tensor::from_vec(features, (96, 3), &Device::Cpu).unwrap().narrow(1, 0, 1).unwrap().contiguous().unwrap();
    let prior: Vec<f64> = truth.iter().flat_map(|&class| if class == 0 { [6.5, 1.5] } else { [1.5, 6.5] }).collect();
    let config = NpcConfig { epochs: 3, batch_size: 32, ..Default::default() };
    let run = |is_split: bool, dropout: f64| {
        let store = ParamStore::new(2, DType::F32, &Device::Cpu);
        let vb = store.var_builder();
        let (first, second) = (nn::linear(1, 4, vb.pp("1")).unwrap(), nn::linear(4, 2, vb.pp("2")).unwrap());
        let calls = std::cell::Cell::new(0);
        let trunk = |x: &Tensor, _: &mut Mode<'_>| {
            calls.set(calls.get() + 1);
            ops::tanh(&first.forward(x)?)
        };
        let rest = |x: &Tensor, mode: &mut Mode<'_>| Ok(second.forward(&mode.dropout(x, dropout)?)?);
        let whole = |x: &Tensor, mode: &mut Mode<'_>| rest(&trunk(x, mode)?, mode);
        let vae = prediction_vae(2, 2, store.var_builder()).unwrap();
        let extract = match is_split {
            true => Extract::Split { trunk: &trunk, rest: &rest },
            false => Extract::Network(&whole),
        };
        let mut losses = Vec::new();
        let observe = |_, loss| {
            losses.push(loss);
            Ok(())
        };
        fit(&vae, &store, extract, &x, &truth, &prior, &config, &Cancellation::never(), observe).unwrap();
        (losses, calls.get())
    };
    for dropout in [0., 0.4] {
        let ((whole, twice), (split, once)) = (run(false, dropout), run(true, dropout));
        assert_eq!((twice, once), (18, 9));
        for (a, b) in whole.iter().zip(&split) {
            // Gradients of the trunk are added in another order.
            assert!((a - b).abs() < 1e-4 * a.abs(), "{dropout}: {whole:?} {split:?}");
        }
    }
}

#[test]
fn wrong_black_boxes_are_errors() {
    use noisy_labels::npc::{Calibrator, CalibratorConfig, Prior, neighbour_votes_of};
    let (features, p, _) = black_box(64);
    let (x, p) = (Points::new(&features, 3).unwrap(), Probabilities::new(&p, 2).unwrap());
    let never = Cancellation::never();
    let fitted = |config: &CalibratorConfig<'_>| Calibrator::fit(p, x, config, &never);
    let training = NpcConfig { epochs: 1, ..Default::default() };
    let sound = CalibratorConfig { prior: Prior::Uniform, training, ..Default::default() };
    let calibrator = fitted(&sound).unwrap();
    let neighbours = |k, batch_size, top| Prior::Neighbours { k, batch_size, top };
    for prior in [
        neighbours(0, 16, None),
        neighbours(3, 0, None),
        Prior::Given(&[1.; 3]),
        Prior::Given(&[-1.; 128]),
        Prior::Given(&[f64::NAN; 128]),
    ] {
        assert!(fitted(&CalibratorConfig { prior, ..sound }).is_err(), "{prior:?}");
    }
    // Few examples have few references: all of them vote.
    let prior = neighbours(10_000, 64, None);
    assert!(fitted(&CalibratorConfig { prior, ..sound }).is_ok());
    for strength in [-1., f64::NAN, f64::INFINITY] {
        let prior = Prior::Given(&[1.; 128]);
        assert!(fitted(&CalibratorConfig { prior, strength, ..sound }).is_err(), "{strength}");
    }
    for training in [
        NpcConfig { epochs: 0, ..training },
        NpcConfig { batch_size: 0, ..training },
        NpcConfig { beta: -1., ..training },
        NpcConfig { learning_rate: f64::NAN, ..training },
    ] {
        assert!(fitted(&CalibratorConfig { training, ..sound }).is_err(), "{training:?}");
    }
    let short = Points::new(&features[3..], 3).unwrap();
    assert!(Calibrator::fit(p, short, &sound, &never).is_err());
    assert!(calibrator.correct(p, short).is_err());
    let narrow = Points::new(&features[..64], 1).unwrap();
    assert!(calibrator.calibrate(p, narrow).is_err());
    let three = vec![1. / 3.; 192];
    assert!(calibrator.correct(Probabilities::new(&three, 3).unwrap(), x).is_err());
    let references = References { examples: vec![0, 64], classes: vec![0, 1] };
    assert!(neighbour_votes_of(x, x, &references, 2, 1).is_err());
}
