//! What `vision/generate.py` wrote, and the formulas by which it filled parameters and images.

#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use core_tensor::params::ParamStore;
use serde_json::Value;
use vision::small::{
    ConvPoolCnnConfig, MnistCnnConfig, NineLayerCnnConfig, PlainCnnConfig, conv_pool_cnn, mnist_cnn, nine_layer_cnn,
    plain_cnn,
};
use vision::{
    ImageNetwork, ImageShape, MobileNetConfig, NetworkInNetworkConfig, ResNetConfig, Result, VggConfig, VggHead,
    WideResNetConfig, WideResNetForm, mobilenet, network_in_network, resnet, vgg, wide_resnet,
};

pub(crate) fn read(file: &str) -> Value {
    let text = std::fs::read_to_string(path(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn path(file: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/vision").join(file)
}

/// The network that the script calls `name`, with this many classes.
pub(crate) fn network(
    name: &str,
    num_classes: usize,
    image: ImageShape,
    vb: VarBuilder<'_>,
) -> Result<Box<dyn ImageNetwork>> {
    type Network = Box<dyn ImageNetwork>;
    let resnet = |config: ResNetConfig| -> Result<Network> { Ok(Box::new(resnet(&config, vb.clone())?)) };
    let vgg = |config: VggConfig| -> Result<Network> { Ok(Box::new(vgg(&config, vb.clone())?)) };
    let wide = |config: WideResNetConfig| -> Result<Network> { Ok(Box::new(wide_resnet(&config, vb.clone())?)) };
    let mobile = |config: MobileNetConfig| -> Result<Network> { Ok(Box::new(mobilenet(&config, vb.clone())?)) };
    let conv_pool =
        |config: ConvPoolCnnConfig| -> Result<Network> { Ok(Box::new(conv_pool_cnn(&config, vb.clone())?)) };
    // "vgg11" of the forward values has a narrow head, "network-in-network" a divisor: their state dicts are whole
    let is_whole = num_classes >= 10;
    match name {
        "resnet18" => resnet(ResNetConfig::resnet18(num_classes)),
        "resnet18-cifar" => resnet(ResNetConfig::resnet18(num_classes).cifar()),
        "resnet20" => resnet(ResNetConfig::resnet20(num_classes)),
        "resnet50" => resnet(ResNetConfig::resnet50(num_classes)),
        "resnet50-cifar" => resnet(ResNetConfig::resnet50(num_classes).cifar()),
        "vgg11" if !is_whole => {
            vgg(VggConfig { head: VggHead::ImageNet { width: 12 }, ..VggConfig::vgg11(num_classes) })
        }
        "vgg11" => vgg(VggConfig::vgg11(num_classes)),
        "vgg13" => vgg(VggConfig::vgg13(num_classes)),
        "vgg16" => vgg(VggConfig::vgg16(num_classes)),
        "vgg19" => vgg(VggConfig::vgg19(num_classes)),
        "vgg16-cifar" => vgg(VggConfig::vgg16(num_classes).cifar()),
        "wrn-16-2" => wide(WideResNetConfig::new(16, 2, num_classes)),
        "wrn-28-10" => wide(WideResNetConfig::new(28, 10, num_classes)),
        "wrn-10-1-tensorflow" => {
            let form = WideResNetForm::TensorFlow;
            wide(WideResNetConfig { form, ..WideResNetConfig::new(10, 1, num_classes) })
        }
        "mobilenet" => mobile(MobileNetConfig::mobilenet(1., num_classes)?),
        "mobilenet-0.25" => mobile(MobileNetConfig::mobilenet(0.25, num_classes)?),
        "mobilenet-0.3" => mobile(MobileNetConfig::mobilenet(0.3, num_classes)?),
        "mobilenet-0.3-cifar" => mobile(MobileNetConfig::mobilenet(0.3, num_classes)?.cifar()),
        "network-in-network" => {
            let divisor = if is_whole { 1 } else { 7 };
            let config = NetworkInNetworkConfig { divisor, ..NetworkInNetworkConfig::new(num_classes) };
            Ok(Box::new(network_in_network(&config, vb.clone())?))
        }
        "nine-layer" => Ok(Box::new(nine_layer_cnn(&NineLayerCnnConfig::new(num_classes), vb.clone())?)),
        "mnist" => Ok(Box::new(mnist_cnn(&MnistCnnConfig { image, num_classes, ..Default::default() }, vb.clone())?)),
        "carlini" => conv_pool(ConvPoolCnnConfig::carlini([32, 64], image, num_classes)),
        "madry" => conv_pool(ConvPoolCnnConfig::madry(image, num_classes)),
        "plain" => {
            let layers = vec![(16, 1), (64, 2), (64, 2), (64, 1)];
            Ok(Box::new(plain_cnn(&PlainCnnConfig { input_channels: 1, num_classes, layers }, vb.clone())?))
        }
        _ => panic!("unknown network {name}"),
    }
}

pub(crate) fn wave(count: usize, phase: usize) -> Vec<f64> {
    let at = |k: usize| (0.37 * (k % 1009) as f64 + 1.3 * phase as f64 + 0.11 * (k / 1009) as f64).sin();
    (0..count).map(at).collect()
}

/// Overwrites every parameter with a wave that depends on its position in the order of names.
pub(crate) fn fill(store: &ParamStore) {
    for (phase, (name, var)) in store.vars().into_iter().enumerate() {
        let (count, rank) = (var.elem_count(), var.rank());
        let value = |s: f64| match () {
            () if name.ends_with("running_var") => 1. + 0.5 * s * s,
            () if name.ends_with("running_mean") => 0.1 * s,
            () if rank == 1 && name.ends_with("weight") => 1. + 0.2 * s,
            () if rank == 1 => 0.1 * s,
            () => s * (2. / (count as f64 / var.dims()[0] as f64)).sqrt(),
        };
        let values: Vec<f64> = wave(count, phase).into_iter().map(value).collect();
        let values = Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap();
        store.set(&name, &values.to_dtype(var.dtype()).unwrap()).unwrap();
    }
}

pub(crate) fn image(shape: &[usize]) -> Tensor {
    let count = shape.iter().product();
    let envelope = (0..count).map(|k| (0.05 * k as f64).cos());
    let values = wave(count, 7).into_iter().zip(wave(count, 3).into_iter().zip(envelope)).map(|(a, (b, c))| a + b * c);
    Tensor::from_vec(values.collect::<Vec<f64>>(), shape, &Device::Cpu).unwrap()
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

pub(crate) fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(candle_core::DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The norm, and the product with a wave, which sees the order.
pub(crate) fn summary(tensor: &Tensor) -> Vec<f64> {
    let values = flat(tensor);
    let product = values.iter().zip(wave(values.len(), 0)).map(|(value, wave)| value * wave).sum();
    vec![values.iter().map(|value| value * value).sum::<f64>().sqrt(), product]
}

pub(crate) fn assert_close(found: &[f64], wanted: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let scale = wanted.iter().fold(1e-3, |scale: f64, value| scale.max(value.abs()));
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() <= tolerance * scale, "{what}: {found}, expected {wanted}");
    }
}
