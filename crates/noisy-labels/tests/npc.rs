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
    NpcConfig, References, calibrate, corrected, dirichlet_kl, fit, gamma_sample, neighbour_votes, prediction_vae,
    prior_of_classes, prior_of_votes, references,
};
use noisy_labels::{Error, Probabilities};

fn uniform(seed: u64, low: f64, high: f64, shape: (usize, usize)) -> Tensor {
    Rng::new(seed).uniform(low, high, shape, DType::F64, &Device::Cpu).unwrap()
}

fn values(x: &Tensor) -> Vec<f64> {
    x.flatten_all().unwrap().to_vec1().unwrap()
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
    let losses = fit(&vae, &store, None, &inputs, &said, &prior, &config, &Cancellation::never()).unwrap();
    assert!(losses.iter().all(|loss| loss.is_finite()) && losses[14] < losses[0], "{losses:?}");
    let p = Tensor::from_vec(p.clone(), (count, CLASSES), &Device::Cpu).unwrap();
    let calibrated = calibrate(&vae, None, &inputs, &p).unwrap();
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
    assert_eq!(fit(&other, &again, None, &inputs, &said, &prior, &config, &Cancellation::never()).unwrap(), losses);
    let (cancellation, flag) = Cancellation::by_flag();
    flag.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(fit(&other, &again, None, &inputs, &said, &prior, &config, &cancellation).is_err());
    assert!(matches!(
        fit(&other, &again, None, &inputs, &said, &prior[1..], &config, &Cancellation::never()),
        Err(Error::Length { .. })
    ));
    assert!(fit(&other, &again, None, &inputs, &[9; 800], &prior, &config, &Cancellation::never()).is_err());
    assert!(fit(&other, &again, None, &inputs, &said[1..], &prior, &config, &Cancellation::never()).is_err());
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
