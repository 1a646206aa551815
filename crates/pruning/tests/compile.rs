//! Compiled networks against the masked ones that they are made of.

use candle_core::{DType, Device, Tensor};
use core_tensor::Mode;
use core_tensor::ops::{Conv2dConfig, Pool2dConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use pruning::{CompileOptions, Compiled, Form, Mask, Masks, Network, NetworkBuilder, Plan, Result, compile};

const CPU: Device = Device::Cpu;

fn counted() -> CompileOptions {
    CompileOptions { repeats: 0, plan: None }
}

fn config(padding: usize, stride: usize) -> Conv2dConfig {
    Conv2dConfig { padding: (padding, padding), stride: (stride, stride), ..Conv2dConfig::default() }
}

/// Numbers in the place of the first parameters, so that nothing is 0 or 1 by chance: running means, shifts and biases too.
fn randomize(network: &Network, store: &ParamStore, seed: u64) -> Result<()> {
    let mut rng = Rng::new(seed);
    for (name, shape) in network.parameters() {
        let values = rng.uniform(-0.8, 0.8, shape.as_slice(), store.dtype(), &CPU)?;
        let values = match name.ends_with("running_var") {
            true => values.affine(0.5, 1.0)?,
            false => values,
        };
        store.set(&name, &values)?;
    }
    Ok(())
}

struct Case {
    network: Network,
    store: ParamStore,
}

impl Case {
    fn new(network: Network, dtype: DType, seed: u64) -> Result<Self> {
        let store = ParamStore::new(seed, dtype, &CPU);
        network.build(store.var_builder())?;
        randomize(&network, &store, seed)?;
        Ok(Self { network, store })
    }

    fn images(&self, n: usize) -> Result<Tensor> {
        let [channels, height, width] = self.network.image();
        Ok(Rng::new(7).normal(0.0, 1.0, (n, channels, height, width), self.store.dtype(), &CPU)?)
    }

    /// Compiles, and compares with the masked network for some batches.
    fn assert_equal(&self, masks: &Masks, options: &CompileOptions) -> Result<Compiled> {
        let compiled = compile(&self.network, &self.store, masks, options)?;
        let loaded = Compiled::parse(&compiled.to_bytes()?)?;
        let masked = ParamStore::new(0, self.store.dtype(), &CPU);
        let model = self.network.build(masked.var_builder())?;
        masked.restore(&self.store.snapshot()?)?;
        masks.apply(&masked)?;
        let tolerance = if self.store.dtype() == DType::F64 { 1e-9 } else { 1e-4 };
        for n in [1, 3, 15, 16, 17] {
            let images = self.images(n)?;
            let expected = model.forward(&images, &mut Mode::evaluate())?;
            for compiled in [&compiled, &loaded] {
                let found = compiled.forward(&images)?;
                assert_eq!(found.dims(), expected.dims());
                let difference = (found - &expected)?.abs()?.max_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
                let scale = expected.abs()?.max_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?.max(1.0);
                assert!(
                    difference <= tolerance * scale,
                    "{difference} of {scale} for {n} images, {}",
                    compiled.report()
                );
            }
        }
        Ok(compiled)
    }
}

/// A mask that keeps some outputs whole.
fn rows(shape: &[usize], keep: impl Fn(usize) -> bool) -> Result<Mask> {
    let columns: usize = shape[1..].iter().product();
    Mask::new(shape, (0..shape[0]).flat_map(|row| std::iter::repeat_n(u8::from(keep(row)), columns)).collect())
}

/// Random graphs: convolutions with and without groups, batch norms, sums, joins, pools, at odd sizes.
fn random_network(rng: &mut Rng) -> Result<Network> {
    let mut net = NetworkBuilder::new(1 + rng.below(4), 5 + rng.below(5), 4 + rng.below(6));
    let mut x = net.input();
    for at in 0..3 + rng.below(4) {
        let [channels, height, width] = net.shape(x)?;
        let name = format!("part{at}");
        x = match rng.below(8) {
            0 => {
                let a = net.conv2d(&format!("{name}.a"), x, 5, (3, 3), config(1, 1))?;
                let a = net.batch_norm(&format!("{name}.bn"), a)?;
                let b = net.conv2d_no_bias(&format!("{name}.b"), x, 7, (1, 1), config(0, 1))?;
                net.concat(&[a, x, b])?
            }
            1 | 2 => {
                let y = net.conv2d_no_bias(&format!("{name}.a"), x, channels, (3, 3), config(1, 1))?;
                let y = net.batch_norm(&format!("{name}.bn1"), y)?;
                let y = net.relu(y)?;
                let y = net.conv2d(&format!("{name}.b"), y, channels, (3, 3), config(1, 1))?;
                let y = net.batch_norm(&format!("{name}.bn2"), y)?;
                let y = net.add(y, x)?;
                net.relu(y)?
            }
            3 => {
                let depthwise = Conv2dConfig { groups: channels, ..config(1, 1 + rng.below(2)) };
                let y = net.conv2d_no_bias(&name, x, channels, (3, 3), depthwise)?;
                let y = net.batch_norm(&format!("{name}.bn"), y)?;
                net.relu(y)?
            }
            4 if height >= 3 && width >= 3 => {
                let pool = Pool2dConfig { kernel: (3, 3), stride: (2, 2), padding: (1, 1) };
                if rng.below(2) == 0 { net.max_pool(x, pool)? } else { net.average_pool(x, pool)? }
            }
            5 => {
                let y = net.batch_norm(&name, x)?;
                net.relu(y)?
            }
            6 => {
                let config = Conv2dConfig { groups: 2, ..config(1, 1) };
                let y = net.conv2d(&format!("{name}.in"), x, 6, (1, 1), Conv2dConfig::default())?;
                let y = net.relu(y)?;
                net.conv2d(&name, y, 8, (3, 3), config)?
            }
            _ => {
                let y = net.conv2d(&name, x, 4 + rng.below(14), (3, 3), config(1, 1 + rng.below(2)))?;
                let y = net.batch_norm(&format!("{name}.bn"), y)?;
                net.relu(y)?
            }
        };
    }
    x = if rng.below(2) == 0 { net.flatten(x)? } else { net.global_average_pool(x)? };
    if rng.below(2) == 0 {
        x = net.linear("hidden", x, 9)?;
        x = net.relu(x)?;
    }
    let x = net.linear("fc", x, 3)?;
    net.finish(x)
}

/// Masks of any kind, but for the last layer's: whole rows, whole input channels, blocks, scattered entries, everything.
fn random_masks(network: &Network, rng: &mut Rng) -> Result<Masks> {
    let mut masks = Masks::default();
    for (name, shape) in network.parameters() {
        let kind = rng.below(6);
        if shape.len() < 2 || kind == 0 || name == "fc.weight" {
            continue;
        }
        let columns: usize = shape[1..].iter().product();
        let taps: usize = shape[2..].iter().product();
        let picks: Vec<u8> = (0..shape[0] + columns).map(|_| rng.below(2) as u8).collect();
        let entries = (0..shape[0] * columns).map(|at| {
            let (row, column) = (at / columns, at % columns);
            match kind {
                1 => picks[row],
                2 => picks[shape[0] + column / taps],
                3 => picks[shape[0] + (column + row / 4) % columns],
                4 => 0,
                _ => rng.below(2) as u8,
            }
        });
        let mask = Mask::new(&shape, entries.collect())?;
        masks.insert(name, mask);
    }
    if rng.below(2) == 0 { network.with_norms(&masks) } else { Ok(masks) }
}

#[test]
fn compiled_networks_equal_masked_ones() -> Result<()> {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let network = random_network(&mut rng)?;
        let masks = random_masks(&network, &mut rng)?;
        Case::new(network.clone(), DType::F64, seed)?.assert_equal(&masks, &counted())?;
        if seed % 4 == 0 {
            let options = CompileOptions { repeats: 1, plan: None };
            Case::new(network, DType::F32, seed)?.assert_equal(&masks, &options)?;
        }
    }
    Ok(())
}

#[test]
fn graphs_of_known_networks_compute_what_those_do() -> Result<()> {
    use vision::ImageNetwork;
    let images = |side: usize| Rng::new(1).normal(0.0, 1.0, (2, 3, side, side), DType::F32, &CPU);
    let check = |network: Network,
                 expected: &dyn Fn(&ParamStore, &Tensor) -> vision::Result<Tensor>,
                 side: usize|
     -> Result<()> {
        let store = ParamStore::new(3, DType::F32, &CPU);
        let x = images(side)?;
        let expected = expected(&store, &x).expect("the network of the crate vision");
        let model = network.build(store.var_builder())?;
        let found = model.forward(&x, &mut Mode::evaluate())?;
        let difference = (found - &expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert!(difference < 1e-4, "{difference}");
        // every parameter of the store is one of the graph
        assert_eq!(store.snapshot()?.keys().collect::<Vec<_>>(), network.parameters().keys().collect::<Vec<_>>());
        Ok(())
    };
    let narrow = |config: vision::ResNetConfig, widths: &[usize]| vision::ResNetConfig {
        stem_width: 8,
        widths: widths.to_vec(),
        ..config
    };
    for config in [
        narrow(vision::ResNetConfig::resnet18(5).cifar(), &[8, 12, 16, 20]),
        narrow(vision::ResNetConfig::resnet50(5), &[4, 6, 8, 8]),
        narrow(vision::ResNetConfig::resnet20(5), &[8, 12, 16]),
    ] {
        let network = Network::resnet(&config, (32, 32))?;
        check(
            network,
            &|store, x| vision::resnet(&config, store.var_builder())?.forward(x, &mut Mode::evaluate()),
            32,
        )?;
    }
    let config =
        vision::VggConfig { stages: vec![vec![4], vec![6, 6], vec![8]], ..vision::VggConfig::vgg16(5).cifar() };
    let network = Network::vgg(&config, (16, 16))?;
    check(network, &|store, x| vision::vgg(&config, store.var_builder())?.forward(x, &mut Mode::evaluate()), 16)?;
    let head = vision::VggHead::ImageNet { width: 12 };
    let config = vision::VggConfig { stages: vec![vec![4], vec![6]], head, ..vision::VggConfig::vgg16(5) };
    let network = Network::vgg(&config, (28, 28))?;
    check(network, &|store, x| vision::vgg(&config, store.var_builder())?.forward(x, &mut Mode::evaluate()), 28)?;
    let config = vision::MobileNetConfig::mobilenet(0.25, 5).expect("a configuration").cifar();
    let network = Network::mobilenet(&config, (32, 32))?;
    check(network, &|store, x| vision::mobilenet(&config, store.var_builder())?.forward(x, &mut Mode::evaluate()), 32)?;
    let presets = [
        (Network::resnet(&vision::ResNetConfig::resnet18(10).cifar(), (32, 32))?, 11_159_232),
        (Network::vgg(&vision::VggConfig::vgg16(10).cifar(), (32, 32))?, 14_710_464),
    ];
    for (network, weights) in presets {
        let convolutions = network.parameters().into_values().filter(|shape| shape.len() == 4);
        assert_eq!(convolutions.map(|shape| shape.iter().product::<usize>()).sum::<usize>(), weights);
    }
    Ok(())
}

#[test]
fn a_graph_trains_like_its_layers() -> Result<()> {
    use core_tensor::ops;
    use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
    let network = Network::small_cnn([1, 8, 8], 3)?;
    let store = ParamStore::new(0, DType::F32, &CPU);
    let model = network.build(store.var_builder())?;
    let mut rng = Rng::new(1);
    let x = rng.normal(0.0, 1.0, (24, 1, 8, 8), DType::F32, &CPU)?;
    let labels = Tensor::from_vec((0..24u32).map(|at| at % 3).collect(), 24, &CPU)?;
    let config = SgdConfig { learning_rate: 0.1, momentum: 0.9, ..SgdConfig::default() };
    let mut optimizer = Sgd::new(store.trainable(), config)?;
    let mut losses = Vec::new();
    for _ in 0..30 {
        let loss = ops::cross_entropy(&model.forward(&x, &mut Mode::train(&mut rng))?, &labels)?;
        losses.push(loss.to_scalar::<f32>()?);
        optimizer.backward_step(&loss)?;
    }
    assert!(losses[29] < 0.2 * losses[0], "{losses:?}");
    // the running statistics moved: evaluation agrees with the compiled network
    let expected = model.forward(&x, &mut Mode::evaluate())?;
    let found = compile(&network, &store, &Masks::default(), &counted())?.forward(&x)?;
    assert!((found - expected)?.abs()?.max_all()?.to_scalar::<f32>()? < 1e-3);
    Ok(())
}

/// A deleted channel with β = 3 before ReLU and zero padding carries a constant, which is another at the borders (fault 2 of public reports).
#[test]
fn constants_of_deleted_channels_flow_on() -> Result<()> {
    let mut net = NetworkBuilder::new(2, 5, 4);
    let x = net.conv2d_no_bias("a", net.input(), 6, (3, 3), config(1, 1))?;
    let x = net.batch_norm("bn", x)?;
    let x = net.relu(x)?;
    let x = net.conv2d("b", x, 4, (3, 3), config(1, 2))?;
    let network = net.finish(x)?;
    let case = Case::new(network, DType::F64, 1)?;
    case.store.set("bn.bias", &Tensor::new(&[3.0, -1.0, 3.0, 0.5, 3.0, 3.0], &CPU)?)?;
    let mask = rows(&[6, 2, 3, 3], |row| row != 0 && row != 4)?;
    let masks: Masks = [("a.weight".to_owned(), mask)].into_iter().collect();
    let compiled = case.assert_equal(&masks, &counted())?;
    assert_eq!(compiled.report().layers[0].outputs, (6, 4));
    assert_eq!(compiled.report().layers[1].inputs, (6, 4));
    Ok(())
}

/// A channel of a plane owns as many columns behind it as it has positions (fault 3).
#[test]
fn flattened_channels_own_all_their_columns() -> Result<()> {
    let mut net = NetworkBuilder::new(2, 5, 5);
    let x = net.conv2d("a", net.input(), 5, (3, 3), config(0, 1))?;
    let x = net.flatten(x)?;
    let x = net.linear("fc", x, 3)?;
    let case = Case::new(net.finish(x)?, DType::F64, 2)?;
    let masks: Masks =
        [("a.weight".to_owned(), rows(&[5, 2, 3, 3], |row| row != 1 && row != 2)?)].into_iter().collect();
    let compiled = case.assert_equal(&masks, &counted())?;
    assert_eq!(compiled.report().layers[1].inputs, (45, 27));
    Ok(())
}

/// Branches of a sum that lost different channels, and a join whose first part lost some (fault 4).
#[test]
fn sums_and_joins_of_pruned_branches() -> Result<()> {
    let mut net = NetworkBuilder::new(3, 6, 6);
    let a = net.conv2d_no_bias("a", net.input(), 5, (3, 3), config(1, 1))?;
    let b = net.conv2d_no_bias("b", net.input(), 5, (1, 1), config(0, 1))?;
    let sum = net.add(a, b)?;
    let sum = net.relu(sum)?;
    let c = net.conv2d_no_bias("c", net.input(), 7, (3, 3), config(1, 1))?;
    let x = net.concat(&[sum, c])?;
    let x = net.conv2d_no_bias("d", x, 4, (3, 3), config(1, 1))?;
    let case = Case::new(net.finish(x)?, DType::F64, 3)?;
    let masks: Masks = [
        ("a.weight".to_owned(), rows(&[5, 3, 3, 3], |row| row > 1)?),
        ("b.weight".to_owned(), rows(&[5, 3, 1, 1], |row| row % 2 == 1)?),
        ("c.weight".to_owned(), rows(&[7, 3, 3, 3], |row| row < 3)?),
    ]
    .into_iter()
    .collect();
    let compiled = case.assert_equal(&masks, &counted())?;
    let last = compiled.report().layers.last().expect("layers");
    // channel 0 is gone in both branches
    assert_eq!((last.name.as_str(), last.inputs), ("d", (12, 4 + 3)));
    Ok(())
}

/// Groups of which different numbers of channels are left, one of them none (fault 5).
#[test]
fn groups_of_different_sizes() -> Result<()> {
    let mut net = NetworkBuilder::new(4, 5, 5);
    let x = net.conv2d_no_bias("a", net.input(), 12, (3, 3), config(1, 1))?;
    let x = net.relu(x)?;
    let x = net.conv2d("b", x, 12, (3, 3), Conv2dConfig { groups: 4, ..config(1, 1) })?;
    let x = net.relu(x)?;
    let x = net.conv2d("c", x, 3, (1, 1), config(0, 1))?;
    let case = Case::new(net.finish(x)?, DType::F64, 4)?;
    let left = [3, 1, 2, 0];
    let masks: Masks = [
        ("a.weight".to_owned(), rows(&[12, 4, 3, 3], |row| row % 3 < left[row / 3])?),
        ("b.weight".to_owned(), rows(&[12, 3, 3, 3], |row| row % 3 != 1)?),
    ]
    .into_iter()
    .collect();
    case.assert_equal(&masks, &counted())?;
    Ok(())
}

/// A layer pruned to nothing, with and without its norm: the network is still that of the masks (fault 6).
#[test]
fn an_emptied_layer_is_a_constant() -> Result<()> {
    let case = Case::new(Network::small_cnn([1, 8, 8], 3)?, DType::F64, 5)?;
    let empty: Masks = [("conv3.weight".to_owned(), Mask::empty(&[64, 64, 3, 3]))].into_iter().collect();
    case.assert_equal(&empty, &counted())?;
    let compiled = case.assert_equal(&case.network.with_norms(&empty)?, &counted())?;
    assert_eq!(compiled.report().multiplications().1, 0);
    Ok(())
}

/// Outputs cannot go (fault 7); masks and parameters must fit.
#[test]
fn what_cannot_be_compiled_is_an_error() -> Result<()> {
    let case = Case::new(Network::small_cnn([1, 8, 8], 3)?, DType::F32, 6)?;
    let message =
        |masks: &Masks| compile(&case.network, &case.store, masks, &counted()).expect_err("an error").to_string();
    let one = |name: &str, mask: Mask| [(name.to_owned(), mask)].into_iter().collect::<Masks>();
    assert!(message(&one("fc.weight", rows(&[3, 64], |row| row != 1)?)).contains("output 1"));
    assert!(message(&one("conv2.wieght", Mask::full(&[64, 16, 3, 3]))).contains("`conv2.weight`"));
    assert!(message(&one("conv2.weight", Mask::full(&[64, 15, 3, 3]))).contains("[64, 16, 3, 3]"));
    let other = ParamStore::new(0, DType::F32, &CPU);
    let error = compile(&case.network, &other, &Masks::default(), &counted()).expect_err("an error");
    assert!(error.to_string().contains("no parameter `bn1.bias`"), "{error}");
    case.store.set("conv1.weight", &Tensor::full(f32::NAN, (16, 1, 3, 3), &CPU)?)?;
    assert!(message(&Masks::default()).contains("`conv1.weight`[0] is NaN"));
    randomize(&case.network, &case.store, 1)?;
    case.store.set("bn2.running_var", &Tensor::full(-1f32, 64, &CPU)?)?;
    assert!(message(&Masks::default()).contains("bn2.running_var"));
    randomize(&case.network, &case.store, 1)?;
    let compiled = compile(&case.network, &case.store, &Masks::default(), &counted())?;
    for (images, part) in [
        (Tensor::zeros((2, 1, 8, 7), DType::F32, &CPU)?, "[2, 1, 8, 7]"),
        (Tensor::zeros((2, 1, 8, 8), DType::F64, &CPU)?, "F64"),
        (Tensor::zeros(3, DType::F32, &CPU)?, "[3]"),
    ] {
        let error = compiled.forward(&images).expect_err("an error").to_string();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(compiled.forward(&Tensor::zeros((0, 1, 8, 8), DType::F32, &CPU)?)?.dims(), [0, 3]);
    Ok(())
}

/// Masks alone gain nothing, and the report says so (fault 9).
#[test]
fn masks_alone_change_neither_size_nor_work() -> Result<()> {
    let network = Network::small_cnn([1, 8, 8], 3)?;
    let masks: Masks = [("conv3.weight".to_owned(), rows(&[64, 64, 3, 3], |row| row < 16)?)].into_iter().collect();
    let report = network.report(&masks)?;
    assert_eq!(report.bytes.0, report.bytes.1);
    assert_eq!(report.multiplications().0, report.multiplications().1);
    assert_eq!(report.layers[2].density, 0.25);
    Ok(())
}

/// The file has the kept weights and little else, and needs no network (fault 10).
#[test]
fn files_are_small_and_stand_alone() -> Result<()> {
    let case = Case::new(Network::small_cnn([1, 14, 14], 10)?, DType::F32, 8)?;
    let block = |row: usize, column: usize| u8::from(column % 4 == row / 32);
    let mask = |shape: &[usize]| {
        let columns: usize = shape[1..].iter().product();
        Mask::new(shape, (0..shape[0] * columns).map(|at| block(at / columns, at % columns)).collect())
    };
    let masks: Masks =
        [("conv3.weight".to_owned(), mask(&[64, 64, 3, 3])?), ("conv4.weight".to_owned(), mask(&[64, 64, 3, 3])?)]
            .into_iter()
            .collect();
    let compiled = case.assert_equal(&masks, &counted())?;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("small.safetensors");
    compiled.save(&path)?;
    let loaded = Compiled::load(&path)?;
    let x = case.images(20)?;
    let (a, b) = (compiled.forward(&x)?, loaded.forward(&x)?);
    assert_eq!(a.to_vec2::<f32>()?, b.to_vec2::<f32>()?);
    assert_eq!((loaded.plan(), loaded.report()), (compiled.plan(), compiled.report()));
    let kept = masks.count() + 16 * 9 + 64 * 16 * 9 + 640;
    let len = std::fs::metadata(&path).expect("a file").len() as usize;
    // lists of columns, biases, and the description, which a network of any size has
    assert!(len < 4 * kept * 105 / 100 + 8192, "{len} bytes for {kept} weights");
    assert_eq!(compiled.report().layers[2].form, Form::Blocks);
    Ok(())
}

#[test]
fn damaged_files_and_foreign_plans_are_errors() -> Result<()> {
    let case = Case::new(Network::small_cnn([1, 8, 8], 3)?, DType::F32, 9)?;
    let compiled = compile(&case.network, &case.store, &Masks::default(), &counted())?;
    let bytes = compiled.to_bytes()?;
    for len in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        assert!(Compiled::parse(&bytes[..len]).is_err(), "{len}");
    }
    // one number of the description at a time
    let text = String::from_utf8_lossy(&bytes[8..3000]).into_owned();
    let mut rng = Rng::new(1);
    let digits: Vec<usize> = text.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(at, _)| at + 8).collect();
    for _ in 0..400 {
        let mut changed = bytes.clone();
        changed[digits[rng.below(digits.len())]] = b'0' + rng.below(10) as u8;
        if let Ok(compiled) = Compiled::parse(&changed) {
            // what is accepted runs
            let [channels, height, width] = compiled.image();
            let _ = compiled.forward(&Tensor::zeros((7, channels, height, width), DType::F32, &CPU)?);
        }
    }
    assert!(Compiled::load("/nowhere/file").is_err());
    let mut plan = compiled.plan().clone();
    let with = |plan: Plan| {
        compile(&case.network, &case.store, &Masks::default(), &CompileOptions { plan: Some(plan), ..counted() })
    };
    assert!(with(plan.clone()).is_ok());
    plan.layers[1].many = Form::Depthwise;
    assert!(with(plan.clone()).expect_err("an error").to_string().contains("conv2"));
    plan.layers.pop();
    assert!(with(plan).is_err());
    let elsewhere = Plan { machine: "pdp11".into(), ..compiled.plan().clone() };
    assert!(with(elsewhere).expect_err("an error").to_string().contains("pdp11"));
    Ok(())
}

#[test]
fn descriptions_that_do_not_fit_are_errors() {
    let mut net = NetworkBuilder::new(3, 4, 4);
    let x = net.input();
    let bad = |result: Result<pruning::network::Value>, part: &str| {
        let error = result.expect_err("an error").to_string();
        assert!(error.contains(part), "{error}");
    };
    bad(net.conv2d("a", x, 4, (5, 5), Conv2dConfig::default()), "`a`");
    bad(net.conv2d("a", x, 4, (0, 1), Conv2dConfig::default()), "`a`");
    bad(net.conv2d("a", x, 4, (1, 1), Conv2dConfig { stride: (0, 1), ..Conv2dConfig::default() }), "stride");
    bad(net.conv2d("a", x, 4, (1, 1), Conv2dConfig { groups: 2, ..Conv2dConfig::default() }), "groups");
    bad(net.conv2d("a", x, 0, (1, 1), Conv2dConfig::default()), "nothing");
    bad(net.linear("a", x, 4), "features");
    bad(net.dropout(x, 1.0), "[0, 1)");
    bad(net.max_pool(x, Pool2dConfig::square(5)), "4 x 4");
    bad(net.concat(&[]), "no values");
    let y = net.conv2d("a", x, 4, (1, 1), Conv2dConfig::default()).expect("a convolution");
    bad(net.conv2d("a", y, 4, (1, 1), Conv2dConfig::default()), "`a`");
    bad(net.add(x, y), "[4, 4, 4]");
    assert!(net.clone().finish(x).expect_err("an error").to_string().contains("nothing uses"));
    let big = NetworkBuilder::new(3, 0, 4);
    let x = big.input();
    assert!(big.finish(x).is_err());
}

#[test]
fn channels_that_are_no_multiple_of_sixteen_are_padded_exactly() -> Result<()> {
    let mut net = NetworkBuilder::new(3, 9, 8);
    let x = net.conv2d("first", net.input(), 21, (3, 3), config(1, 1))?;
    let x = net.relu(x)?;
    let x = net.conv2d("second", x, 32, (3, 3), config(1, 1))?;
    let x = net.relu(x)?;
    let x = net.conv2d("third", x, 10, (3, 3), config(1, 1))?;
    let case = Case::new(net.finish(x)?, DType::F32, 11)?;
    let weight = case.network.parameters()["second.weight"].clone();
    let masks: Masks = std::iter::once(("second.weight".to_owned(), rows(&weight, |row| row % 3 != 0)?)).collect();
    let mut plan = compile(&case.network, &case.store, &masks, &counted())?.plan().clone();
    plan.layers.iter_mut().for_each(|layer| layer.few = Form::DensePadded);
    let compiled = case.assert_equal(&masks, &CompileOptions { plan: Some(plan), ..counted() })?;
    assert!(compiled.plan().layers.iter().all(|layer| layer.few == Form::DensePadded));
    Ok(())
}
