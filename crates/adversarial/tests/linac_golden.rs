//! LINAC's transform against the official code (JAX, f32) and auto-PGD against an independent program.
//!
//! The values stand in `tests/golden/linac`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/linac`, where a missing file skips its test. Cases, sizes and settings are those of the files.

#![cfg(feature = "networks")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use adversarial::attacks::ApgdConfig;
use adversarial::attacks::{GradientAttack, Loss, Norm, Rule, Samples, Start, ThreatModel};
use adversarial::linac::{Activation, CoordinateNetwork, FitPlan, NetworkConfig, Training, encode, grid};
use candle_core::{DType, Device, Tensor};
use reproduction::Golden;
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::HashMap;

fn golden() -> Golden {
    let golden = Golden::of("linac", env!("CARGO_MANIFEST_DIR"));
    golden.assert_not_empty();
    golden
}

struct File {
    config: Value,
    tensors: HashMap<String, Tensor>,
}

fn open(bytes: &[u8]) -> File {
    let (_, metadata) = SafeTensors::read_metadata(bytes).unwrap();
    let config = serde_json::from_str(&metadata.metadata().clone().unwrap()["config"]).unwrap();
    File { config, tensors: candle_core::safetensors::load_buffer(bytes, &Device::Cpu).unwrap() }
}

impl File {
    fn f64s(&self, name: &str) -> Vec<f64> {
        self.tensors[name].to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    fn f32s(&self, name: &str) -> Vec<f32> {
        self.tensors[name].flatten_all().unwrap().to_vec1().unwrap()
    }

    fn u32s(&self, name: &str) -> Vec<u32> {
        self.tensors[name].to_dtype(DType::U32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    fn count(&self, name: &str) -> usize {
        usize::try_from(self.config[name].as_u64().unwrap()).unwrap()
    }

    fn number(&self, name: &str) -> f64 {
        self.config[name].as_f64().unwrap()
    }

    fn layers(&self, prefix: &str, count: usize) -> Vec<(Vec<f32>, Vec<f32>)> {
        let part = |layer: usize, what: &str| self.f32s(&format!("{prefix}.layer{layer}.{what}"));
        (0..count).map(|layer| (part(layer, "weight"), part(layer, "bias"))).collect()
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// Absolute tolerance, and relative to values above 1.
fn assert_near(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.), "{what}[{at}]: {a} instead of {b}");
    }
}

#[test]
fn transforms() {
    let golden = golden();
    for name in golden.names("transform_", ".safetensors") {
        let Some(bytes) = golden.read(&name) else { continue };
        let file = open(&bytes);
        let (height, width) = (file.count("height"), file.count("width"));
        let images = file.f32s("images");
        let batch = file.tensors["images"].dims()[0];
        let channels = images.len() / batch / height / width;
        let hidden = file.count("hidden_layers");
        let config = NetworkConfig {
            frequencies: file.count("frequencies"),
            widths: vec![file.count("units"); hidden],
            channels,
            activation: Activation::Relu,
        };
        let training = Training {
            epochs: file.count("epochs"),
            batch: file.count("batch"),
            learning_rate: file.number("lr"),
            beta1: file.number("beta1"),
            beta2: file.number("beta2"),
            epsilon: file.number("eps"),
            cosine_alpha: file.number("cosine_alpha"),
        };
        let places = grid(height, width);
        assert_near(&name, &places.concat(), &file.f64s("grid"), 2e-6);
        assert_near(&name, &wide(&encode::<f32>(&places, config.frequencies)), &file.f64s("encoding"), 2e-6);

        let start = CoordinateNetwork::from_values(&config, file.layers("init", hidden + 1)).unwrap();
        let (first, epochs) = (file.u32s("grid_permutation"), file.u32s("epoch_permutations"));
        let order: Vec<u32> = epochs.iter().map(|&at| first[at as usize]).collect();
        assert_eq!(order[..training.batch], file.u32s("first_batch_pixels"));
        let plan = FitPlan::from_orders(start.clone(), training, [height, width], order).unwrap();
        let images: Vec<&[f32]> = images.chunks(height * width * channels).collect();

        let (loss, gradients) = plan.gradients_at(&start, images[0], 0).unwrap();
        assert!((loss - file.f64s("first_loss")[0]).abs() < 1e-5 * loss, "{name}");
        for (found, expected) in gradients.iter().zip(file.layers("first_grad", hidden + 1)) {
            for (found, expected) in [(&found.0, &expected.0), (&found.1, &expected.1)] {
                let scale = expected.iter().fold(1e-12, |largest: f32, value| largest.max(value.abs()));
                let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-5 * scale);
                assert!(close, "{name}: gradients of the first batch");
            }
        }

        let norm = |layers: &[(Vec<f32>, Vec<f32>)]| {
            let all = layers.iter().flat_map(|(weight, bias)| weight.iter().chain(bias));
            all.map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
        };
        let (mut losses, mut of_gradients, mut of_values) = (Vec::new(), Vec::new(), Vec::new());
        let (mut codes, mut reconstruction) = (Vec::new(), Vec::new());
        for (at, image) in images.iter().enumerate() {
            let mut before = start.clone();
            let fitted = plan
                .fit_observed(image, |step, loss, network| {
                    losses.push(loss);
                    of_gradients.push(norm(&plan.gradients_at(&before, image, step).unwrap().1));
                    of_values.push(norm(network.layers()));
                    before = network.clone();
                })
                .unwrap();
            if at == 0 {
                for (found, expected) in fitted.layers().iter().zip(file.layers("final0", hidden + 1)) {
                    assert_near(&name, &wide(&found.0), &wide(&expected.0), 2e-5);
                    assert_near(&name, &wide(&found.1), &wide(&expected.1), 2e-5);
                }
            }
            let encoded = encode::<f32>(&places, config.frequencies);
            codes.extend(fitted.output(&encoded, file.count("representation_layer")).unwrap());
            reconstruction.extend(fitted.output(&encoded, hidden).unwrap());
            // alone, as in the batch
            assert_eq!(plan.fit(image).unwrap().0, fitted);
        }
        for (key, found) in [("losses", &losses), ("l2_grad", &of_gradients), ("l2_params", &of_values)] {
            let expected = file.f64s(key);
            assert_eq!(found.len(), expected.len(), "{name} {key}");
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() <= 1e-4 * b.abs(), "{name} {key}: {a} {b}");
            }
        }
        assert_near(&name, &wide(&codes), &file.f64s("representations"), 1e-4);
        assert_near(&name, &wide(&reconstruction), &file.f64s("reconstruction"), 1e-4);
    }
}

#[test]
fn auto_pgd() {
    let Some(bytes) = golden().read("apgd.safetensors") else { return };
    let file = open(&bytes);
    let part = |name: &str| &file.tensors[name];
    let network = |x: &Tensor| -> candle_core::Result<Tensor> {
        let hidden = x.matmul(&part("w1").t()?)?.broadcast_add(part("b1"))?.tanh()?;
        hidden.matmul(&part("w2").t()?)?.broadcast_add(part("b2"))
    };
    let labels = file.u32s("y");
    let samples = Samples::new(part("x"), &labels).unwrap();
    let clean = file.f64s("x");
    let size = clean.len() / labels.len();
    for (name, norm) in [("linf", Norm::Linf), ("l2", Norm::L2)] {
        let settings = &file.config[name];
        let threat = ThreatModel::new(norm, settings["eps"].as_f64().unwrap());
        let iterations = usize::try_from(settings["n_iter"].as_u64().unwrap()).unwrap();
        let rule = ApgdConfig { iterations, rho: file.number("rho") };
        let start = file.f64s(&format!("{name}.start"));
        let delta = start.iter().zip(&clean).map(|(y, x)| y - x).collect();
        let attack = GradientAttack::new(Rule::Apgd(rule)).loss(Loss::CrossEntropy).start(Start::Given(delta));
        let paths = attack.trajectory(&network, &samples, &threat, 0).unwrap();
        let key = |what: &str| file.f64s(&format!("{name}.{what}"));
        let (losses, steps) = (key("loss_steps"), key("step_sizes"));
        let (best_losses, best, adversarial) = (key("best_loss"), key("best"), key("adversarial"));
        for (sample, path) in paths.iter().enumerate() {
            let what = format!("{name} sample {sample}");
            let column = |values: &[f64]| -> Vec<f64> {
                (0..iterations).map(|step| values[step * labels.len() + sample]).collect()
            };
            assert_near(&what, &path.losses[1..], &column(&losses), 1e-8);
            assert_near(&what, &path.step_sizes[1..], &column(&steps), 1e-8);
            let mut top = 0;
            for at in 0..path.losses.len() {
                if path.losses[at] > path.losses[top] {
                    top = at;
                }
            }
            let row = |values: &[f64]| values[sample * size..(sample + 1) * size].to_vec();
            assert_near(&what, &[path.losses[top]], &[best_losses[sample]], 1e-8);
            assert_near(&what, &path.points[top], &row(&best), 1e-8);
            // the last misclassified point, the start if there is none
            let last = (0..path.points.len()).rev().find(|&at| path.is_adversarial[at]);
            let is_correct = file.u32s(&format!("{name}.still_correct"))[sample] == 1;
            assert_eq!(last.is_none(), is_correct, "{what}");
            assert_near(&what, &path.points[last.unwrap_or(0)], &row(&adversarial), 1e-8);
        }
    }
}
