//! Every network against PyTorch: values, gradients, running statistics, names and shapes, and a state dict.

#![allow(clippy::unwrap_used)]

mod golden;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;
use core_tensor::Mode;
use core_tensor::params::ParamStore;
use golden::{assert_close, fill, flat, image, network, numbers, read, summary};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use vision::{ImageNetwork, ImageShape, ResNetConfig, WideResNetConfig, WideResNetForm, resnet, wide_resnet};

fn sizes(value: &serde_json::Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect()
}

/// Both sides compute in f64 and add in different orders; up to 50 layers multiply a rounding error of 1e-16, gradients pass through them twice.
const TOLERANCE: f64 = 1e-9;

#[test]
fn values_gradients_and_running_statistics_are_those_of_pytorch() {
    for case in read("networks.json")["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let shape = sizes(&case["shape"]);
        let size = ImageShape { channels: shape[1], height: shape[2], width: shape[3] };
        let num_classes = case["evaluate"][0].as_array().unwrap().len();
        let store = ParamStore::new(0, DType::F64, &Device::Cpu);
        let network = network(name, num_classes, size, store.var_builder()).unwrap();
        fill(&store);
        let x = image(&shape);

        let logits = network.forward(&x, &mut Mode::evaluate()).unwrap();
        assert_close(&flat(&logits), &numbers(&case["evaluate"]), TOLERANCE, &format!("{name}, evaluation"));
        let features = network.features(&x, &mut Mode::evaluate()).unwrap();
        assert_close(&summary(&features), &numbers(&case["features"]), TOLERANCE, &format!("{name}, features"));

        // statistics of the batch without dropout, whose draws PyTorch does not share
        let logits = network.forward(&x, &mut Mode::recalibrate()).unwrap();
        assert_close(&flat(&logits), &numbers(&case["train"]), TOLERANCE, &format!("{name}, training"));
        let last = (logits.elem_count() - 1) as f64;
        let weights: Vec<f64> = (0..logits.elem_count()).map(|at| 0.5 + at as f64 / last).collect();
        let weights = Tensor::from_vec(weights, logits.shape(), &Device::Cpu).unwrap();
        let gradients = core_tensor::backward(&(logits * weights).unwrap().sum_all().unwrap()).unwrap();
        let trainable = store.trainable();
        assert_eq!(trainable.len(), case["gradients"].as_object().unwrap().len(), "{name}");
        // a bias before a batch norm has a gradient of 0 but for rounding, so that all are compared at the scale of the largest
        let largest = case["gradients"].as_object().unwrap().values().map(|v| numbers(v)[0]).fold(0., f64::max);
        for (parameter, var) in trainable {
            let gradient = gradients.get(&var).unwrap_or_else(|| panic!("{name}: {parameter} has no gradient"));
            let (found, wanted) = (summary(gradient), numbers(&case["gradients"][&parameter]));
            for (found, wanted) in found.iter().zip(&wanted) {
                let what = format!("{name}, gradient of {parameter}: {found}, expected {wanted}");
                assert!((found - wanted).abs() <= TOLERANCE * largest.max(1.), "{what}");
            }
        }
        for (buffer, wanted) in case["running"].as_object().unwrap() {
            let found = running(&store, buffer);
            assert_close(&summary(&found), &numbers(wanted), TOLERANCE, &format!("{name}, {buffer}"));
        }
    }
}

fn running(store: &ParamStore, name: &str) -> Tensor {
    store.vars().into_iter().find(|(other, _)| other == name).unwrap().1.as_detached_tensor()
}

/// Records names and shapes and hands out views of a single zero, so that VGG-19 costs nothing.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<BTreeMap<String, Vec<usize>>>>);

impl SimpleBackend for Recorder {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: candle_nn::Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        self.0.lock().unwrap().insert(name.to_owned(), shape.dims().to_vec());
        Tensor::zeros((), dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("{name} has no shape")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

#[test]
fn names_shapes_and_numbers_of_parameters_are_those_of_torchvision() {
    let published = BTreeMap::from([
        ("resnet18", 11_689_512),
        ("resnet50", 25_557_032),
        ("vgg11", 132_868_840),
        ("vgg13", 133_053_736),
        ("vgg16", 138_365_992),
        ("vgg19", 143_678_248),
    ]);
    for (name, wanted) in read("state_dicts.json").as_object().unwrap() {
        let state: Vec<&str> = wanted["state"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        let recorder = Recorder::default();
        let vb = VarBuilder::from_backend(Box::new(recorder.clone()), DType::F32, Device::Cpu);
        let size = if ["mnist", "carlini", "madry"].contains(&name.as_str()) { 28 } else { 32 };
        let image = ImageShape { channels: if size == 28 { 1 } else { 3 }, height: size, width: size };
        let num_classes =
            if published.contains_key(name.as_str()) || name.starts_with("mobilenet") { 1000 } else { 10 };
        network(name, num_classes, image, vb).unwrap();
        let found = recorder.0.lock().unwrap();
        let lines: Vec<String> = found
            .iter()
            .map(|(name, shape)| {
                let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
                format!("{name} {}", shape.join("x"))
            })
            .collect();
        assert_eq!(lines, state, "{name}");
        let trained = found.iter().filter(|(name, _)| !name.contains("running_"));
        let count: usize = trained.map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(Some(count as u64), wanted["parameters"].as_u64(), "{name}");
        if let Some(&published) = published.get(name.as_str()) {
            assert_eq!(count, published, "{name}");
        }
    }
}

#[test]
fn convolutions_have_as_many_weights_as_pruning_counts() {
    // Ma et al., 2022 (structured lottery tickets): the authors' networks, stems included
    let cases: [(&str, usize); 4] = [
        ("resnet18-cifar", 11_159_232),
        ("resnet50-cifar", 23_447_232),
        ("vgg16-cifar", 14_710_464),
        ("mobilenet", 3_185_088),
    ];
    for (name, wanted) in cases {
        let recorder = Recorder::default();
        let vb = VarBuilder::from_backend(Box::new(recorder.clone()), DType::F32, Device::Cpu);
        network(name, 10, ImageShape { channels: 3, height: 32, width: 32 }, vb).unwrap();
        let found: usize = recorder
            .0
            .lock()
            .unwrap()
            .values()
            .filter(|shape| shape.len() == 4)
            .map(|s| s.iter().product::<usize>())
            .sum();
        assert_eq!(found, wanted, "{name}");
    }
}

#[test]
fn a_state_dict_of_pytorch_loads_by_name() {
    let wanted = &read("networks.json")["state_dict"];
    let config =
        ResNetConfig { stem_width: 4, depths: vec![1, 1], widths: vec![4, 6], ..ResNetConfig::resnet18(3).cifar() };
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let network = resnet(&config, store.var_builder()).unwrap();
    store.load(golden::path("resnet.safetensors")).unwrap();
    let x = image(&sizes(&wanted["shape"])).to_dtype(DType::F32).unwrap();
    let logits = network.forward(&x, &mut Mode::evaluate()).unwrap();
    // a few hundred roundings of f32 in each output
    assert_close(&flat(&logits), &numbers(&wanted["logits"]), 1e-5, "logits");
}

/// The network of `uncertainty_baselines` with its own weights, from `$GOLDEN_DIR/tram`.
#[test]
fn the_tensorflow_form_of_a_wide_resnet_is_that_of_uncertainty_baselines() {
    let Some(folder) = std::env::var_os("GOLDEN_DIR") else {
        return println!("skipped: GOLDEN_DIR is not set");
    };
    let file = std::path::Path::new(&folder).join("tram").join("wrn_tram.safetensors");
    let values = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let config = WideResNetConfig { form: WideResNetForm::TensorFlow, ..WideResNetConfig::new(10, 1, 4) };
    let network = wide_resnet(&config, store.var_builder()).unwrap();
    let convolutions = [
        ("conv1", 0),
        ("block1.layer.0.conv1", 5),
        ("block1.layer.0.conv2", 10),
        ("block2.layer.0.conv1", 15),
        ("block2.layer.0.convShortcut", 20),
        ("block2.layer.0.conv2", 21),
        ("block3.layer.0.conv1", 26),
        ("block3.layer.0.convShortcut", 31),
        ("block3.layer.0.conv2", 32),
    ];
    let norms = [
        ("block1.layer.0.bn1", 1),
        ("block1.layer.0.bn2", 6),
        ("block2.layer.0.bn1", 11),
        ("block2.layer.0.bn2", 16),
        ("block3.layer.0.bn1", 22),
        ("block3.layer.0.bn2", 27),
        ("bn1", 33),
    ];
    let value = |at: usize| &values[&format!("w{at:03}")];
    for (name, at) in convolutions {
        // TensorFlow: [height, width, in, out]
        let weight = value(at).permute((3, 2, 0, 1)).unwrap().contiguous().unwrap();
        store.set(&format!("{name}.weight"), &weight).unwrap();
    }
    for (name, at) in norms {
        for (offset, part) in ["weight", "bias", "running_mean", "running_var"].into_iter().enumerate() {
            store.set(&format!("{name}.{part}"), value(at + offset)).unwrap();
        }
    }
    store.set("fc.weight", &value(41).t().unwrap().contiguous().unwrap()).unwrap();
    store.set("fc.bias", value(42)).unwrap();
    let x = values["x_nhwc"].permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
    for (mode, wanted) in [(Mode::evaluate(), "eval"), (Mode::recalibrate(), "train")] {
        let mut mode = mode;
        let logits = network.forward(&x, &mut mode).unwrap();
        // the head without privileged information gives the same for every annotator
        let wanted = values[&format!("{wanted}.logits_no_pi")].narrow(1, 0, 1).unwrap();
        assert_close(&flat(&logits), &flat(&wanted), 1e-10, "logits");
    }
}

/// The authors' networks of "From Noisy Prediction to True Label", from `$GOLDEN_DIR/npc`; parameters are filled by their position in the state dict.
#[test]
fn the_networks_for_noisy_labels_are_those_of_the_authors() {
    let Some(folder) = std::env::var_os("GOLDEN_DIR") else {
        return println!("skipped: GOLDEN_DIR is not set");
    };
    let folder = std::path::Path::new(&folder).join("npc");
    let values = candle_core::safetensors::load(folder.join("backbones_sinfill.safetensors"), &Device::Cpu).unwrap();
    let text = std::fs::read_to_string(folder.join("backbones_sinfill.json")).unwrap();
    let parameters: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (golden, name) in [("mnist", "mnist"), ("cifar", "nine-layer")] {
        let x = &values[&format!("{golden}.x")];
        let (_, channels, height, width) = x.dims4().unwrap();
        let store = ParamStore::new(0, DType::F64, &Device::Cpu);
        let network = network(name, 10, ImageShape { channels, height, width }, store.var_builder()).unwrap();
        let parameters = parameters[golden].as_array().unwrap();
        assert_eq!(store.vars().len(), parameters.len());
        for parameter in parameters {
            let (name, shape) = (parameter["name"].as_str().unwrap(), sizes(&parameter["shape"]));
            let (count, rank) = (shape.iter().product::<usize>(), shape.len());
            let value = |s: f64| match name.rsplit('.').next() {
                Some("running_var") => 1. + 0.5 * s * s,
                Some("running_mean") => 0.1 * s,
                Some("weight") if rank == 1 => 1. + 0.2 * s,
                _ if rank == 1 => 0.1 * s,
                _ => s * (2. / (count as f64 / shape[0] as f64)).sqrt(),
            };
            let filled: Vec<f64> =
                golden::wave(count, parameter["ti"].as_u64().unwrap() as usize).into_iter().map(value).collect();
            store.set(name, &Tensor::from_vec(filled, shape, &Device::Cpu).unwrap()).unwrap();
        }
        let features = network.features(x, &mut Mode::evaluate()).unwrap();
        let logits = network.forward(x, &mut Mode::evaluate()).unwrap();
        for (found, wanted) in [(features, "embedding"), (logits, "logits")] {
            assert_close(
                &flat(&found),
                &flat(&values[&format!("{golden}.{wanted}")]),
                1e-8,
                &format!("{golden}, {wanted}"),
            );
        }
    }
}
