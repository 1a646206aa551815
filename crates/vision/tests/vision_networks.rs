//! Modes, observers, initial values, gradients and wrong input of every network.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use core_tensor::Mode;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use vision::small::{
    ConvPoolCnnConfig, MnistCnnConfig, NineLayerCnnConfig, PlainCnnConfig, conv_pool_cnn, mnist_cnn, nine_layer_cnn,
    plain_cnn,
};
use vision::{
    Error, ImageNetwork, ImageShape, MobileNetConfig, NetworkInNetworkConfig, ResNetConfig, VggConfig, VggHead,
    WideResNetConfig, mobilenet, network_in_network, resnet, vgg, wide_resnet,
};

const IMAGE: ImageShape = ImageShape { channels: 2, height: 28, width: 30 };

fn store() -> ParamStore {
    ParamStore::new(3, DType::F32, &Device::Cpu)
}

/// One network of each kind, narrow where it can be.
fn networks() -> Vec<(&'static str, ParamStore, Box<dyn ImageNetwork>)> {
    let input_channels = 2;
    let narrow = ResNetConfig { input_channels, stem_width: 4, widths: vec![4, 6, 8, 10], ..ResNetConfig::resnet18(3) };
    let stages = vec![vec![4], vec![5, 6]];
    let small_vgg = VggConfig { input_channels, num_classes: 3, stages, head: VggHead::ImageNet { width: 7 } };
    let mut all: Vec<(&'static str, ParamStore, Box<dyn ImageNetwork>)> = Vec::new();
    let mut add = |name, build: &dyn Fn(&ParamStore) -> Box<dyn ImageNetwork>| {
        let store = store();
        let network = build(&store);
        all.push((name, store, network));
    };
    add("resnet", &|store| Box::new(resnet(&narrow, store.var_builder()).unwrap()));
    add("bottleneck", &|store| {
        let config =
            ResNetConfig { depths: vec![1; 4], block: vision::ResidualBlock::Bottleneck, ..narrow.clone() }.cifar();
        Box::new(resnet(&config, store.var_builder()).unwrap())
    });
    add("wide_resnet", &|store| {
        let config = WideResNetConfig { input_channels, ..WideResNetConfig::new(10, 1, 3) };
        Box::new(wide_resnet(&config, store.var_builder()).unwrap())
    });
    add("vgg", &|store| Box::new(vgg(&small_vgg, store.var_builder()).unwrap()));
    add("mobilenet", &|store| {
        let config = MobileNetConfig { input_channels, ..MobileNetConfig::mobilenet(0.1, 3).unwrap().cifar() };
        Box::new(mobilenet(&config, store.var_builder()).unwrap())
    });
    add("network_in_network", &|store| {
        let config = NetworkInNetworkConfig { input_channels, num_classes: 3, divisor: 24 };
        Box::new(network_in_network(&config, store.var_builder()).unwrap())
    });
    add("nine_layer_cnn", &|store| {
        let config = NineLayerCnnConfig { input_channels, ..NineLayerCnnConfig::new(3) };
        Box::new(nine_layer_cnn(&config, store.var_builder()).unwrap())
    });
    add("mnist_cnn", &|store| {
        let config = MnistCnnConfig { image: IMAGE, num_classes: 3, ..Default::default() };
        Box::new(mnist_cnn(&config, store.var_builder()).unwrap())
    });
    add("conv_pool_cnn", &|store| {
        Box::new(conv_pool_cnn(&ConvPoolCnnConfig::carlini([4, 5], IMAGE, 3), store.var_builder()).unwrap())
    });
    add("plain_cnn", &|store| {
        let config = PlainCnnConfig { input_channels, num_classes: 3, layers: vec![(4, 1), (5, 2)] };
        Box::new(plain_cnn(&config, store.var_builder()).unwrap())
    });
    all
}

fn images(n: usize) -> Tensor {
    Rng::new(7).normal(0., 1., (n, 2, 28, 30), DType::F32, &Device::Cpu).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// The running statistics of all batch norms.
fn statistics(store: &ParamStore) -> Vec<Vec<u32>> {
    let buffers = store.vars().into_iter().filter(|(name, _)| name.contains("running_"));
    buffers.map(|(_, var)| bits(&var.as_detached_tensor())).collect()
}

#[test]
fn gradients_reach_every_parameter() {
    for (name, store, network) in networks() {
        let logits = network.forward(&images(3), &mut Mode::train(&mut Rng::new(1))).unwrap();
        assert_eq!(logits.dims(), [3, 3], "{name}");
        let labels = Tensor::new(&[0u32, 1, 2], &Device::Cpu).unwrap();
        let loss = core_tensor::ops::cross_entropy(&logits, &labels).unwrap();
        let gradients = core_tensor::backward(&loss).unwrap();
        for (parameter, var) in store.trainable() {
            let gradient = gradients.get(&var).unwrap_or_else(|| panic!("{name}: {parameter} has no gradient"));
            assert!(bits(gradient).iter().any(|bits| bits << 1 != 0), "{name}: the gradient of {parameter} is 0");
        }
    }
}

#[test]
fn each_part_of_the_mode_does_its_own() {
    for (name, store, network) in networks() {
        let x = images(3);
        let before = statistics(&store);
        let run = |mode: &mut Mode<'_>| bits(&network.forward(&x, mode).unwrap());
        assert_eq!(run(&mut Mode::evaluate()), run(&mut Mode::evaluate()), "{name}");
        let batch = run(&mut Mode::recalibrate().without_updates());
        let noisy = run(&mut Mode::train(&mut Rng::new(1)).without_updates());
        assert_eq!(noisy, run(&mut Mode::train(&mut Rng::new(1)).without_updates()), "{name}: one seed");
        assert_eq!(statistics(&store), before, "{name}: no updates were asked for");
        let has_dropout = ["vgg", "nine_layer_cnn", "mnist_cnn"].contains(&name);
        assert_eq!(noisy != batch, has_dropout, "{name}");
        assert_eq!(run(&mut Mode::recalibrate()), batch, "{name}");
        assert_eq!(statistics(&store) != before, !before.is_empty(), "{name}: statistics move");
    }
}

#[test]
fn the_head_maps_features_to_logits() {
    for (name, _, network) in networks() {
        let x = images(2);
        let features = network.features(&x, &mut Mode::evaluate()).unwrap();
        let logits = candle_nn::Module::forward(network.head(), &features).unwrap();
        assert_eq!(bits(&logits), bits(&network.forward(&x, &mut Mode::evaluate()).unwrap()), "{name}");
        assert_eq!(features.dims(), [2, network.head().weight().dims()[1]], "{name}");
    }
}

#[test]
fn an_observer_sees_every_convolution_by_its_parameters_name() {
    for (name, store, network) in networks() {
        let mut seen = Vec::new();
        let mut observe = |name: &str, y: &Tensor| seen.push((name.to_owned(), y.dims()[1]));
        network.features_observed(&images(2), &mut Mode::evaluate(), &mut observe).unwrap();
        let mut convolutions = 0;
        for (parameter, var) in store.vars().into_iter().filter(|(_, var)| var.rank() == 4) {
            let layer = parameter.strip_suffix(".weight").unwrap();
            let times = seen.iter().filter(|(seen, channels)| seen == layer && *channels == var.dims()[0]).count();
            assert_eq!(times, 1, "{name}: {layer}");
            convolutions += 1;
        }
        let stages: Vec<&str> = seen
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !name.contains("conv") && name.len() == 6)
            .collect();
        match name {
            "resnet" | "bottleneck" => assert_eq!(stages, ["layer1", "layer2", "layer3", "layer4"]),
            "wide_resnet" => assert_eq!(stages, ["block1", "block2", "block3"]),
            _ => assert_eq!(seen.len(), convolutions, "{name}"),
        }
    }
}

#[test]
fn initial_values_are_torchvisions() {
    let store = store();
    resnet(&ResNetConfig::resnet20(10), store.var_builder()).unwrap();
    let value = |name: &str| -> Vec<f32> {
        let (_, var) = store.vars().into_iter().find(|(other, _)| other == name).unwrap();
        var.as_detached_tensor().flatten_all().unwrap().to_vec1().unwrap()
    };
    // kaiming_normal_(mode="fan_out"): variance 2 / (64 · 9); the standard error of the variance of 18,432 numbers is 1 %
    let weights = value("layer3.0.conv1.weight");
    let variance = weights.iter().map(|w| f64::from(w * w)).sum::<f64>() / weights.len() as f64;
    assert!((variance * 64. * 9. / 2. - 1.).abs() < 0.05, "{variance}");
    assert!(value("bn1.weight").iter().all(|&w| w == 1.) && value("bn1.bias").iter().all(|&b| b == 0.));
    let bound = 1. / 64f32.sqrt();
    let largest = value("fc.weight").iter().fold(0f32, |m, w| m.max(w.abs()));
    assert!(largest <= bound && largest > 0.95 * bound, "{largest}");

    let store = self::store();
    let config = VggConfig { head: VggHead::ImageNet { width: 64 }, ..VggConfig::vgg11(10) };
    vgg(&config, store.var_builder()).unwrap();
    let weights = store.vars().into_iter().find(|(name, _)| name == "classifier.0.weight").unwrap().1;
    let squares = weights.as_detached_tensor().sqr().unwrap().mean_all().unwrap().to_scalar::<f32>().unwrap();
    assert!((squares.sqrt() - 0.01).abs() < 1e-4, "{squares}");
}

#[test]
fn wrong_images_are_errors() {
    for (name, store, network) in networks() {
        let before = statistics(&store);
        let wrong =
            [vec![], vec![2, 28, 30], vec![1, 3, 28, 30], vec![1, 0, 28, 30], vec![1, 2, 0, 0], vec![1, 2, 28, 30, 1]];
        for shape in wrong {
            let x = Tensor::zeros(shape.as_slice(), DType::F32, &Device::Cpu).unwrap();
            for mut mode in [Mode::evaluate(), Mode::recalibrate()] {
                assert!(network.forward(&x, &mut mode).is_err(), "{name}: {shape:?}");
            }
        }
        let integers = Tensor::zeros((1, 2, 28, 30), DType::U32, &Device::Cpu).unwrap();
        assert!(network.forward(&integers, &mut Mode::evaluate()).is_err(), "{name}");
        assert_eq!(statistics(&store), before, "{name}");
    }
}

#[test]
fn images_that_are_too_small_are_errors() {
    for (name, _, network) in networks() {
        let x = Tensor::zeros((1, 2, 3, 3), DType::F32, &Device::Cpu).unwrap();
        let has_lower_limit = ["vgg", "nine_layer_cnn", "mnist_cnn", "conv_pool_cnn"].contains(&name);
        assert_eq!(network.forward(&x, &mut Mode::evaluate()).is_err(), has_lower_limit, "{name}");
        // one position in the last stage and one image: there is no variance to normalise by
        if ["resnet", "bottleneck", "wide_resnet", "mobilenet", "network_in_network"].contains(&name) {
            assert!(network.forward(&x, &mut Mode::recalibrate()).is_err(), "{name}");
        }
    }
    let image = ImageShape { channels: 1, height: 15, width: 28 };
    let small = conv_pool_cnn(&ConvPoolCnnConfig::carlini([4, 5], image, 3), store().var_builder());
    assert!(matches!(small, Err(Error::InvalidConfig { what: "image", .. })), "{small:?}");
}

#[test]
fn settings_of_zero_are_errors() {
    let vb = || store().var_builder();
    let resnets = [
        ResNetConfig { input_channels: 0, ..ResNetConfig::resnet20(3) },
        ResNetConfig::resnet20(0),
        ResNetConfig { stem_width: 0, ..ResNetConfig::resnet20(3) },
        ResNetConfig { widths: vec![16, 0, 64], ..ResNetConfig::resnet20(3) },
        ResNetConfig { widths: vec![16], ..ResNetConfig::resnet20(3) },
        ResNetConfig { depths: vec![1, 1, 0], ..ResNetConfig::resnet20(3) },
        ResNetConfig { depths: vec![], widths: vec![], ..ResNetConfig::resnet20(3) },
    ];
    for config in resnets {
        assert!(matches!(resnet(&config, vb()), Err(Error::InvalidConfig { .. })), "{config:?}");
    }
    for (depth, width_factor, num_classes) in
        [(16, 0, 3), (16, 1, 0), (4, 1, 3), (0, 1, 3), (17, 1, 3), (usize::MAX, 1, 3)]
    {
        let config = WideResNetConfig::new(depth, width_factor, num_classes);
        assert!(matches!(wide_resnet(&config, vb()), Err(Error::InvalidConfig { .. })), "{config:?}");
    }
    let vggs = [
        VggConfig::vgg11(0),
        VggConfig { input_channels: 0, ..VggConfig::vgg11(3) },
        VggConfig { stages: vec![], ..VggConfig::vgg11(3) },
        VggConfig { stages: vec![vec![4], vec![]], ..VggConfig::vgg11(3) },
        VggConfig { stages: vec![vec![0]], ..VggConfig::vgg11(3) },
        VggConfig { stages: vec![vec![4]], head: VggHead::ImageNet { width: 0 }, ..VggConfig::vgg11(3) },
    ];
    for config in vggs {
        assert!(matches!(vgg(&config, vb()), Err(Error::InvalidConfig { .. })), "{config:?}");
    }
    for multiplier in [0., -1., f64::NAN, f64::INFINITY] {
        assert!(matches!(MobileNetConfig::mobilenet(multiplier, 3), Err(Error::InvalidConfig { .. })));
    }
    let narrow = MobileNetConfig::mobilenet(0.1, 3).unwrap();
    let mobiles = [
        MobileNetConfig { num_classes: 0, ..narrow.clone() },
        MobileNetConfig { stem_stride: 0, ..narrow.clone() },
        MobileNetConfig { widths: vec![8; 12], ..narrow.clone() },
        MobileNetConfig { widths: vec![0; 13], ..narrow },
    ];
    for config in mobiles {
        assert!(matches!(mobilenet(&config, vb()), Err(Error::InvalidConfig { .. })), "{config:?}");
    }
    for (input_channels, num_classes, divisor) in [(0, 3, 24), (1, 0, 24), (1, 3, 0)] {
        let config = NetworkInNetworkConfig { input_channels, num_classes, divisor };
        assert!(matches!(network_in_network(&config, vb()), Err(Error::InvalidConfig { .. })), "{config:?}");
    }
    let zero = ImageShape { width: 0, ..IMAGE };
    assert!(nine_layer_cnn(&NineLayerCnnConfig::new(0), vb()).is_err());
    assert!(mnist_cnn(&MnistCnnConfig { image: zero, ..Default::default() }, vb()).is_err());
    assert!(mnist_cnn(&MnistCnnConfig { num_classes: 0, ..Default::default() }, vb()).is_err());
    let carlini = ConvPoolCnnConfig::carlini([4, 5], IMAGE, 3);
    let conv_pools = [
        ConvPoolCnnConfig { image: zero, ..carlini.clone() },
        ConvPoolCnnConfig { num_classes: 0, ..carlini.clone() },
        ConvPoolCnnConfig { kernel: 0, ..carlini.clone() },
        ConvPoolCnnConfig { kernel: 2, has_padding: true, ..carlini.clone() },
        ConvPoolCnnConfig { kernel: usize::MAX, ..carlini.clone() },
        ConvPoolCnnConfig { blocks: vec![], ..carlini.clone() },
        ConvPoolCnnConfig { blocks: vec![vec![]], ..carlini.clone() },
        ConvPoolCnnConfig { hidden: vec![0], ..carlini },
    ];
    for config in conv_pools {
        assert!(matches!(conv_pool_cnn(&config, vb()), Err(Error::InvalidConfig { .. })), "{config:?}");
    }
    for layers in [vec![], vec![(0, 1)], vec![(4, 0)]] {
        let config = PlainCnnConfig { input_channels: 1, num_classes: 3, layers };
        assert!(matches!(plain_cnn(&config, vb()), Err(Error::InvalidConfig { .. })), "{config:?}");
    }
    let error = resnet(&ResNetConfig::resnet20(0), vb()).unwrap_err();
    assert_eq!(error.to_string(), "resnet: num_classes is 0, expected at least 1");
}

#[test]
fn a_dropout_outside_its_range_is_an_error() {
    let config = NineLayerCnnConfig { dropout: 1.5, input_channels: 2, num_classes: 3 };
    let network = nine_layer_cnn(&config, store().var_builder()).unwrap();
    assert!(network.forward(&images(1), &mut Mode::evaluate()).is_err());
}

/// No operation of Candle's own is in a training step, so that it is walked as a whole.
#[test]
fn a_training_step_is_on_our_tape() {
    for (name, _store, network) in networks() {
        let mut rng = Rng::new(5);
        let x = rng.normal(0., 1., (3, 2, IMAGE.height, IMAGE.width), DType::F32, &Device::Cpu).unwrap();
        let logits = network.forward(&x, &mut Mode::train(&mut rng)).unwrap();
        let labels = Tensor::new(&[0u32, 1, 2], &Device::Cpu).unwrap();
        let loss = core_tensor::ops::cross_entropy(&logits, &labels).unwrap();
        assert_eq!(core_tensor::tape::foreign(&loss), [], "{name}");
    }
}
