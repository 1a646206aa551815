//! Coordinate networks and keyed codes: gradients, determinism, caches, hostile input.

#![cfg(feature = "networks")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use adversarial::attacks::{Attack, Classifier, GradientAttack, ThreatModel};
use adversarial::linac::{
    Activation, Bypass, Cache, CoordinateNetwork, FitOptions, FitPlan, Key, Linac, NetworkConfig, PixelShuffle,
    ThroughFit, Training, fit_images,
};
use candle_core::{DType, Device, Tensor};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;

fn options() -> FitOptions {
    FitOptions {
        network: NetworkConfig { frequencies: 3, widths: vec![12, 10, 9], channels: 3, activation: Activation::Relu },
        training: Training { epochs: 3, batch: 6, learning_rate: 5e-3, ..Training::default() },
        layer: 1,
    }
}

fn images(count: usize, size: [usize; 2], seed: u64) -> Tensor {
    Rng::new(seed).uniform(-1., 1., (count, 3, size[0], size[1]), DType::F32, &Device::Cpu).unwrap()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn codes_have_the_same_bits_for_any_batch_and_number_of_threads() {
    let x = images(8, [6, 5], 1);
    let linac = Linac::new(options(), Key::of_seed(1)).unwrap();
    let whole = linac.apply(&x).unwrap();
    assert_eq!(whole.dims(), [8, 10, 6, 5]);
    for size in [1, 3] {
        for first in (0..8 - size).step_by(size) {
            let part = linac.apply(&x.narrow(0, first, size).unwrap()).unwrap();
            assert_eq!(values(&part), values(&whole.narrow(0, first, size).unwrap()));
        }
    }
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(values(&pool.install(|| linac.apply(&x)).unwrap()), values(&whole));
    }
    let fitted = fit_images(&x, &options(), &Key::of_seed(1)).unwrap();
    assert_eq!(values(&fitted.codes), values(&whole));
    assert_eq!(fitted.reconstruction.dims(), x.dims());
    assert_eq!(fitted.losses.len(), 8);
    assert!(fitted.losses.iter().all(|losses| losses.len() == 15 && losses.iter().all(|loss| *loss > 0.)));
    let other = Linac::new(options(), Key::of_seed(2)).unwrap().apply(&x).unwrap();
    assert_ne!(values(&other), values(&whole));
}

#[test]
fn the_last_layer_is_the_reconstruction() {
    let x = images(2, [4, 6], 3);
    let options = FitOptions { layer: 3, ..options() };
    let fitted = fit_images(&x, &options, &Key::of_seed(1)).unwrap();
    assert_eq!(values(&fitted.codes), values(&fitted.reconstruction));
    // grey images
    let grey = NetworkConfig { channels: 1, ..options.network.clone() };
    let options = FitOptions { network: grey, ..options };
    let fitted = fit_images(&x.narrow(1, 0, 1).unwrap(), &options, &Key::of_seed(1)).unwrap();
    assert_eq!(fitted.codes.dims(), [2, 1, 4, 6]);
}

/// A plan in f64 with a small network.
fn plan(activation: Activation) -> FitPlan<f64> {
    let config = NetworkConfig { frequencies: 2, widths: vec![7, 6, 5], channels: 2, activation };
    let start = CoordinateNetwork::from_key(&config, &Key::of_seed(4)).unwrap();
    let training = Training { epochs: 3, batch: 4, learning_rate: 0.02, epsilon: 1e-4, ..Training::default() };
    FitPlan::from_key(start, training, [3, 4], &Key::of_seed(4)).unwrap()
}

#[test]
fn gradients_of_a_step_agree_with_differences() {
    for activation in [Activation::Relu, Activation::Tanh] {
        let plan = plan(activation);
        let image: Vec<f64> = (0..24).map(|at| (f64::from(at) * 0.7).sin()).collect();
        let network = plan.fit(&image).unwrap().0;
        let (_, gradients) = plan.gradients_at(&network, &image, 2).unwrap();
        for layer in 0..gradients.len() {
            for at in 0..gradients[layer].0.len() {
                let shifted = |by: f64| {
                    let mut layers = network.layers().to_vec();
                    layers[layer].0[at] += by;
                    let network = CoordinateNetwork::from_values(network.config(), layers).unwrap();
                    plan.gradients_at(&network, &image, 2).unwrap().0
                };
                let expected = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
                assert!((gradients[layer].0[at] - expected).abs() < 1e-7, "{activation:?} {layer} {at}");
            }
        }
    }
}

#[test]
fn the_gradient_through_the_fit_agrees_with_differences() {
    for activation in [Activation::Relu, Activation::Tanh] {
        for layer in [1, 3] {
            let plan = plan(activation);
            let image: Vec<f64> = (0..24).map(|at| (f64::from(at) * 0.7).sin()).collect();
            let value = |image: &[f64]| -> f64 {
                let network = plan.fit(image).unwrap().0;
                let encoded = adversarial::linac::encode::<f64>(&adversarial::linac::grid(3, 4), 2);
                let codes = network.output(&encoded, layer).unwrap();
                codes.iter().enumerate().map(|(at, code)| code * (at as f64 * 0.3).cos()).sum()
            };
            let weights = |codes: &[f64]| Ok((0..codes.len()).map(|at| (at as f64 * 0.3).cos()).collect());
            let (_, gradient) = plan.gradient_through_fit(&image, layer, weights, None).unwrap();
            for at in 0..image.len() {
                let shifted = |by: f64| {
                    let mut image = image.clone();
                    image[at] += by;
                    value(&image)
                };
                let expected = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
                let tolerance = 1e-5 * expected.abs().max(1.);
                assert!(
                    (gradient[at] - expected).abs() < tolerance,
                    "{activation:?} {layer} {at}: {} {expected}",
                    gradient[at]
                );
            }
            // the last steps alone are another gradient, all of them the same
            let (_, some) = plan.gradient_through_fit(&image, layer, weights, Some(2)).unwrap();
            let (_, all) = plan.gradient_through_fit(&image, layer, weights, Some(9)).unwrap();
            assert_ne!(some, gradient);
            assert_eq!(all, gradient);
        }
    }
}

#[test]
fn caches_give_back_what_was_stored_and_notice_damage() {
    let folder = tempfile::tempdir().unwrap();
    let x = images(3, [6, 5], 1);
    let plain = Linac::new(options(), Key::of_seed(1)).unwrap().apply(&x).unwrap();
    let cached = || {
        let cache = Cache::new(folder.path().join("codes"), 1 << 20).unwrap();
        Linac::new(options(), Key::of_seed(1)).unwrap().cache(cache)
    };
    let first = cached().apply(&x).unwrap();
    let files = || -> Vec<_> {
        std::fs::read_dir(folder.path().join("codes")).unwrap().flatten().map(|file| file.path()).collect()
    };
    assert_eq!(files().len(), 3);
    assert_eq!(values(&first), values(&cached().apply(&x).unwrap()));
    for (a, b) in values(&first).iter().zip(values(&plain)) {
        assert!((a - b).abs() <= 1e-3 * b.abs().max(1e-3));
    }
    let bytes = std::fs::read(&files()[0]).unwrap();
    let mut changed = bytes.clone();
    changed[20] ^= 1;
    for wrong in [&changed[..], &bytes[..bytes.len() - 1], &bytes[..5], &[]] {
        std::fs::write(&files()[0], wrong).unwrap();
        let error = cached().apply(&x).unwrap_err().to_string();
        assert!(error.contains(".codes"), "{error}");
    }
    // no room: nothing is stored, and nothing fails
    let small = Cache::new(folder.path().join("small"), 10).unwrap();
    Linac::new(options(), Key::of_seed(1)).unwrap().cache(small.clone()).apply(&x).unwrap();
    assert_eq!(small.size().unwrap(), 0);
}

#[test]
fn models_around_the_transform() {
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let x = images(2, [8, 8], 1).affine(0.5, 0.5).unwrap();
    let bypass = Bypass::new(3, 10, store.var_builder()).unwrap();
    assert_eq!(bypass.forward(&x).unwrap().dims(), [2, 10, 8, 8]);
    let shuffle = PixelShuffle::new(4, 3, &Key::of_seed(1)).unwrap();
    let shuffled = shuffle.apply(&x).unwrap();
    assert_eq!(shuffled.dims(), x.dims());
    // the same numbers in each block
    for (row, column) in [(0, 0), (0, 4), (4, 0), (4, 4)] {
        let block = |x: &Tensor| {
            let mut list = values(&x.narrow(0, 1, 1).unwrap().narrow(2, row, 4).unwrap().narrow(3, column, 4).unwrap());
            list.sort_by(f32::total_cmp);
            list
        };
        assert_eq!(block(&x), block(&shuffled));
    }
    assert_ne!(values(&x), values(&shuffled));
    assert!(shuffle.apply(&images(1, [6, 8], 1)).is_err());

    let linac =
        Linac::new(FitOptions { training: Training { batch: 8, ..options().training }, ..options() }, Key::of_seed(1))
            .unwrap();
    let head = |codes: &Tensor| Ok(codes.mean(3)?.mean(2)?.narrow(1, 0, 4)?.affine(10., 0.)?);
    let model = ThroughFit::new(&linac, head, [&[0.5; 3], &[0.25; 3]], None).unwrap();
    let labels: Vec<u32> = model.logits(&x).unwrap().argmax(1).unwrap().to_vec1().unwrap();
    let attack = GradientAttack::pgd(0.02, 4).to_the_end();
    let found = attack.run(&model, &x, &labels, &ThreatModel::linf(0.05), 0).unwrap();
    assert_eq!(found.steps, [4, 4]);
    assert!(ThroughFit::new(&linac, head, [&[0.5; 2], &[0.25; 3]], None).is_err());
}

#[test]
fn hostile_input_is_an_error() {
    let key = Key::of_seed(0);
    let x = images(2, [6, 5], 1);
    let fails = |x: &Tensor, options: &FitOptions| fit_images(x, options, &key).is_err();
    assert!(fails(&x.narrow(1, 0, 2).unwrap(), &options()));
    assert!(fails(&x.to_dtype(DType::F64).unwrap(), &options()));
    assert!(fails(&x.flatten_from(1).unwrap(), &options()));
    assert!(fails(&x.narrow(0, 0, 0).unwrap(), &options()));
    assert!(fails(&(&x / 0.).unwrap(), &options()));
    let trained = |change: fn(&mut Training)| {
        let mut options = options();
        change(&mut options.training);
        options
    };
    for wrong in [
        trained(|t| t.batch = 7),
        trained(|t| t.batch = 0),
        trained(|t| t.epochs = 0),
        trained(|t| t.epochs = usize::MAX),
        trained(|t| t.learning_rate = f64::NAN),
        trained(|t| t.learning_rate = 0.),
        trained(|t| t.beta1 = 1.),
        trained(|t| t.epsilon = -1.),
        trained(|t| t.cosine_alpha = 2.),
        FitOptions { layer: 4, ..options() },
        FitOptions { network: NetworkConfig { widths: vec![], ..options().network }, ..options() },
        FitOptions { network: NetworkConfig { widths: vec![3, 0], ..options().network }, ..options() },
        FitOptions { network: NetworkConfig { frequencies: 0, ..options().network }, ..options() },
        FitOptions { network: NetworkConfig { frequencies: 99, ..options().network }, ..options() },
    ] {
        assert!(fails(&x, &wrong), "{wrong:?}");
    }
    assert!(Key::from_hex("abc").is_err());
    assert!(Bypass::new(0, 1, ParamStore::new(0, DType::F32, &Device::Cpu).var_builder()).is_err());
    assert!(PixelShuffle::new(0, 3, &key).is_err());
    let start = CoordinateNetwork::<f32>::from_key(&options().network, &key).unwrap();
    assert!(start.output(&[0.; 13], 0).is_err());
    assert!(start.output(&[0.; 12], 9).is_err());
    assert!(FitPlan::from_orders(start, options().training, [6, 5], vec![0; 3]).is_err());
}
