//! What comes from outside: files that were changed, pipes, odd shapes, numbers that are none. An error, or a result that is right; never a panic, a hang or more memory than the input justifies.

use candle_core::{DType, Device, Tensor};
use core_tensor::Mode;
use core_tensor::ops::{Conv2dConfig, Pool2dConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use pruning::{
    CompileOptions, Compiled, Mask, Masks, Network, NetworkBuilder, Refill, Regroup, Result, Schedule, Scope, Scores,
    Selection, Slimming, TicketOptions, Tickets, compile, iterative_round, one_shot, select,
};
use serde_json::Value;

const CPU: Device = Device::Cpu;

fn config(padding: (usize, usize), stride: (usize, usize), dilation: (usize, usize), groups: usize) -> Conv2dConfig {
    Conv2dConfig { padding, stride, dilation, groups }
}

fn counted() -> CompileOptions {
    CompileOptions { repeats: 0, plan: None }
}

/// A network with random parameters, and masks of whole rows and of single weights.
fn with_masks(network: &Network, seed: u64) -> Result<(ParamStore, Masks)> {
    let store = ParamStore::new(seed, DType::F32, &CPU);
    network.build(store.var_builder())?;
    let mut rng = Rng::new(seed);
    let mut masks = Masks::default();
    for (name, shape) in network.parameters() {
        let values = rng.uniform(-0.5, 0.8, shape.as_slice(), DType::F32, &CPU)?;
        let values = if name.ends_with("running_var") { values.affine(0.5, 1.0)? } else { values };
        store.set(&name, &values)?;
        if shape.len() == 4 {
            let columns: usize = shape[1..].iter().product();
            let is_row_kept: Vec<bool> = (0..shape[0]).map(|_| rng.below(4) > 0).collect();
            let kept = (0..shape[0] * columns).map(|at| u8::from(is_row_kept[at / columns] && at % columns % 3 != 1));
            masks.insert(name, Mask::new(&shape, kept.collect())?);
        }
    }
    Ok((store, masks))
}

/// Compiles, and compares with the masked network.
fn assert_equal(network: &Network, seed: u64, options: &CompileOptions) -> Result<Compiled> {
    let (store, masks) = with_masks(network, seed)?;
    let compiled = compile(network, &store, &masks, options)?;
    let model = network.build(store.var_builder())?;
    masks.apply(&store)?;
    let [channels, height, width] = network.image();
    for n in [0, 1, 5, 6, 17] {
        let x = Rng::new(1).normal(0.0, 1.0, (n, channels, height, width), DType::F32, &CPU)?;
        let found = compiled.forward(&x)?;
        if n == 0 {
            assert_eq!(found.elem_count(), 0);
            assert_eq!(found.dims()[0], 0);
            continue;
        }
        let expected = model.forward(&x, &mut Mode::evaluate())?;
        assert_eq!(found.dims(), expected.dims());
        let difference = (found - &expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
        let scale = expected.abs()?.max_all()?.to_scalar::<f32>()?.max(1.0);
        assert!(difference <= 1e-4 * scale, "{difference} of {scale} for {n} images of {:?}", network.image());
    }
    Ok(compiled)
}

/// One convolution with batch norm and ReLU between two others, and a linear layer.
fn around(image: [usize; 3], outputs: usize, kernel: (usize, usize), config: Conv2dConfig) -> Result<Network> {
    let mut net = NetworkBuilder::new(image[0], image[1], image[2]);
    let x = net.conv2d("first", net.input(), 6, (1, 1), Conv2dConfig::default())?;
    let x = net.relu(x)?;
    let x = net.conv2d_no_bias("odd", x, outputs, kernel, config)?;
    let x = net.batch_norm("norm", x)?;
    let x = net.relu(x)?;
    let x = net.conv2d("last", x, 5, (1, 1), Conv2dConfig::default())?;
    let x = net.flatten(x)?;
    let x = net.linear("head", x, 3)?;
    net.finish(x)
}

#[test]
fn odd_shapes_are_compiled_exactly() -> Result<()> {
    for (seed, (image, kernel, config)) in (0..).zip([
        ([1, 1, 1], (1, 1), config((0, 0), (1, 1), (1, 1), 1)),
        ([1, 1, 1], (3, 3), config((1, 1), (1, 1), (1, 1), 1)),
        // kernels larger than the image
        ([2, 3, 2], (7, 7), config((3, 3), (1, 1), (1, 1), 1)),
        ([1, 1, 1], (5, 3), config((2, 1), (1, 1), (1, 1), 1)),
        // strides larger than the kernel
        ([3, 7, 8], (1, 1), config((0, 0), (3, 3), (1, 1), 1)),
        ([1, 9, 5], (2, 2), config((0, 0), (5, 4), (1, 1), 2)),
        ([1, 4, 4], (3, 3), config((1, 1), (9, 9), (1, 1), 1)),
        // dilation
        ([2, 9, 8], (3, 3), config((2, 2), (1, 1), (2, 2), 1)),
        ([2, 9, 8], (3, 2), config((3, 0), (2, 1), (3, 5), 3)),
        // another size along each axis
        ([1, 1, 12], (1, 3), config((0, 2), (1, 2), (1, 1), 1)),
        ([2, 12, 1], (4, 1), config((5, 0), (3, 1), (2, 1), 1)),
        // a channel each
        ([1, 6, 6], (3, 3), config((1, 1), (2, 2), (2, 1), 6)),
        // more padding than kernel
        ([1, 3, 3], (2, 2), config((4, 3), (2, 2), (1, 1), 1)),
    ]) {
        let network = around(image, 6, kernel, config)?;
        assert_equal(&network, seed, &counted())?;
        assert_equal(&network, seed, &CompileOptions::default())?;
    }
    for image in [[1, 1, 1], [1, 2, 33], [5, 3, 1]] {
        assert_equal(&Network::small_cnn(image, 1)?, 3, &counted())?;
    }
    Ok(())
}

#[test]
fn an_image_that_is_no_number_spoils_no_other() -> Result<()> {
    let network = around([1, 5, 5], 6, (3, 3), config((1, 1), (1, 1), (1, 1), 1))?;
    let (store, masks) = with_masks(&network, 2)?;
    let compiled = compile(&network, &store, &masks, &counted())?;
    for n in [3, 17] {
        let x = Rng::new(1).normal(0.0, 1.0, (n, 1, 5, 5), DType::F32, &CPU)?;
        let spoilt =
            Tensor::cat(&[x.narrow(0, 0, 1)?, Tensor::full(f32::NAN, (1, 1, 5, 5), &CPU)?, x.narrow(0, 2, n - 2)?], 0)?;
        let (expected, found) = (compiled.forward(&x)?.to_vec2::<f32>()?, compiled.forward(&spoilt)?.to_vec2::<f32>()?);
        for (at, (expected, found)) in expected.iter().zip(&found).enumerate() {
            assert_eq!(at != 1, expected == found, "image {at} of {n}: {found:?}");
        }
    }
    Ok(())
}

#[test]
fn weights_that_are_no_numbers_are_named() -> Result<()> {
    let network = around([1, 4, 4], 6, (3, 3), config((1, 1), (1, 1), (1, 1), 1))?;
    for name in ["odd.weight", "first.bias", "norm.running_var", "norm.running_mean", "norm.weight", "head.weight"] {
        for value in [f64::NAN, f64::INFINITY] {
            let (store, masks) = with_masks(&network, 4)?;
            let shape = network.parameters()[name].clone();
            store.set(name, &Tensor::full(value as f32, shape, &CPU)?)?;
            let said = compile(&network, &store, &Masks::default(), &counted()).expect_err("an error").to_string();
            assert!(said.contains(name), "{said}");
            // what the masks delete does not count
            let all = Masks::full(masks.iter().map(|(name, mask)| (name, mask.shape())));
            if name == "odd.weight" {
                let none = all.minus(&all)?;
                let one = std::iter::once((name.to_owned(), none.get(name).expect("a mask").clone())).collect();
                assert!(compile(&network, &store, &one, &counted()).is_ok());
                let prunable = Scope::convolutions().select(&store)?;
                let said = pruning::scores::magnitude(&prunable).expect_err("an error").to_string();
                assert!(said.contains(name), "{said}");
            }
        }
    }
    let (store, _) = with_masks(&network, 4)?;
    store.set("norm.running_var", &Tensor::full(-1f32, 6, &CPU)?)?;
    let said = compile(&network, &store, &Masks::default(), &counted()).expect_err("an error").to_string();
    assert!(said.contains("norm.running_var"), "{said}");
    Ok(())
}

#[test]
fn rates_of_0_and_1() -> Result<()> {
    let scores: Scores = [("a".to_owned(), vec![3.0, 1.0, 2.0, 4.0])].into_iter().collect();
    let full = Masks::full([("a", &[2usize, 2][..])]);
    assert_eq!(iterative_round(&scores, &full, 0.0, false)?, full);
    assert_eq!(one_shot(&scores, &full, 0.0)?, full);
    for rate in [1.0, -0.1, f64::NAN] {
        assert!(iterative_round(&scores, &full, rate, false).is_err() && one_shot(&scores, &full, rate).is_err());
    }
    for selection in [Selection::Global, Selection::Layer, Selection::Row, Selection::Blocks { rows: 3, columns: 5 }] {
        assert_eq!(select(&scores, &full, 1.0, selection, true)?, full);
        assert_eq!(select(&scores, &full, 0.0, selection, false)?.count(), 0);
        assert!(select(&scores, &full, f64::NAN, selection, true).is_err());
    }
    assert_eq!(Refill::default().at_density(&[2, 2], &scores["a"], 0.0)?.count(), 2);
    assert_eq!(Refill::default().at_density(&[2, 2], &scores["a"], 1.0)?.count(), 4);
    for density in [0.0, 1.0, f64::NAN] {
        assert!(Regroup::default().at_density(&[2, 2], &scores["a"], density).is_err());
    }
    let said = Regroup::default().at_density(&[2, 2], &[1.0, f64::NAN, 0.0, 0.0], 0.5).expect_err("an error");
    assert!(said.to_string().contains("score 1"), "{said}");
    assert!(Schedule::Geometric { rate: 1.0 }.density(1).is_err());
    let network = Network::small_cnn([1, 4, 4], 2)?;
    let (store, _) = with_masks(&network, 1)?;
    for rate in [0.0, 1.0] {
        let options = TicketOptions { rate, ..TicketOptions::default() };
        assert!(Tickets::new(store.clone(), &Scope::convolutions(), options).is_err());
    }
    assert_eq!(Slimming::default().masks(&network, &store, 0.0)?.density(), 1.0);
    assert!(Slimming::default().masks(&network, &store, 1.0).is_err());
    let other = Network::small_cnn_of([1, 4, 4], 2, [4, 4, 4, 4])?;
    let (narrow, _) = with_masks(&other, 1)?;
    assert!(Slimming::default().masks(&network, &narrow, 0.5).is_err());
    Ok(())
}

#[test]
fn layers_without_entries_have_masks() -> Result<()> {
    for shape in [&[4usize, 0][..], &[0, 4], &[0]] {
        let mask = Mask::full(shape);
        assert_eq!((mask.row_counts().len(), mask.density()), (shape[0], 1.0));
        assert_eq!(Regroup::default().apply(&mask)?.mask, mask);
        assert_eq!(Refill::default().apply(&mask, &[])?, mask);
        assert_eq!(Refill::default().at_density(shape, &[], 0.5)?.shape(), shape);
        let scores: Scores = [("a".to_owned(), Vec::new())].into_iter().collect();
        let masks = Masks::full([("a", shape)]);
        for selection in [Selection::Row, Selection::Layer, Selection::NOfM { n: 1, m: 2 }] {
            assert_eq!(select(&scores, &masks, 0.5, selection, true)?, masks);
        }
        assert_eq!(Masks::parse(&safetensors::serialize([("a", view(shape, &[])?)], None).expect("bytes"))?, masks);
    }
    Ok(())
}

fn view<'a>(shape: &[usize], bytes: &'a [u8]) -> Result<safetensors::tensor::TensorView<'a>> {
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::U8, shape.to_vec(), bytes);
    Ok(view.expect("a view"))
}

/// A file with this header and these bytes behind it.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[test]
fn enormous_sizes_in_headers_are_errors() {
    let data = [1u8; 16];
    let tensor = |dtype: &str, shape: &str, end: u64| {
        format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
    };
    let headers = [
        tensor("U8", "[4294967296,4294967296,4294967296]", 16),
        tensor("U8", "[18446744073709551615]", 16),
        tensor("U8", "[18446744073709551616]", 16),
        tensor("U8", "[0,9223372036854775808,9223372036854775808]", 0),
        tensor("U8", "[0,9223372036854775808,2]", 0),
        tensor("U8", "[16]", u64::MAX),
        tensor("U8", "[-16]", 16),
        tensor("F32", "[4]", 16),
        tensor("U8", "[15]", 15),
        "[".repeat(100_000),
    ];
    for header in &headers {
        let end = if header.contains(",0]}") { 0 } else { 16 };
        let bytes = file(header, &data[..end]);
        assert!(Masks::parse(&bytes).is_err(), "{header}");
        assert!(Compiled::parse(&bytes).is_err(), "{header}");
    }
    for len in [0u64, 1, 1 << 20, 1 << 40, u64::MAX] {
        let bytes = [&len.to_le_bytes()[..], b"{}"].concat();
        let masks = Masks::parse(&bytes);
        assert!(masks.is_err() && Compiled::parse(&bytes).is_err(), "{len}");
    }
    assert!(Mask::new(&[usize::MAX, usize::MAX], Vec::new()).is_err());
    assert!(Mask::new(&[0, usize::MAX, usize::MAX], Vec::new()).is_err());
    let conv = |net: &mut NetworkBuilder, outputs: usize, kernel: (usize, usize), config: Conv2dConfig| {
        let x = net.input();
        net.conv2d("a", x, outputs, kernel, config)
    };
    let most = usize::MAX;
    for (outputs, kernel, config) in [
        (most, (1, 1), Conv2dConfig::default()),
        (4, (most, 1), Conv2dConfig { padding: (most / 2, 0), ..Conv2dConfig::default() }),
        (4, (3, 3), Conv2dConfig { padding: (most, most), ..Conv2dConfig::default() }),
        (4, (3, 3), Conv2dConfig { dilation: (most, most), ..Conv2dConfig::default() }),
        (4, (1, 1), Conv2dConfig { padding: (1 << 20, 1 << 20), ..Conv2dConfig::default() }),
        (1 << 20, (1, 1), Conv2dConfig { stride: (most, most), ..Conv2dConfig::default() }),
    ] {
        let mut net = NetworkBuilder::new(1 << 20, 4, 4);
        assert!(conv(&mut net, outputs, kernel, config).is_err(), "{outputs} {kernel:?} {config:?}");
    }
    let mut net = NetworkBuilder::new(1 << 32, 1, 1);
    let x = net.input();
    let x = net.flatten(x).expect("features");
    assert!(net.linear("a", x, 1 << 32).is_err());
    let mut net = NetworkBuilder::new(1, 4, 4);
    let x = net.input();
    let pool = Pool2dConfig { kernel: (most, most), stride: (1, 1), padding: (most / 2, most / 2) };
    assert!(net.max_pool(x, pool).is_err());
    let net = NetworkBuilder::new(most, most, most);
    let x = net.input();
    assert!(net.finish(x).is_err());
}

/// A graph with everything that a description can have.
fn everything() -> Result<Network> {
    let mut net = NetworkBuilder::new(2, 6, 5);
    let padded = config((1, 1), (1, 1), (1, 1), 1);
    let x = net.conv2d("stem", net.input(), 8, (3, 3), padded)?;
    let x = net.batch_norm("stem_bn", x)?;
    let x = net.relu(x)?;
    let y = net.conv2d_no_bias("body", x, 8, (3, 3), padded)?;
    let y = net.batch_norm("body_bn", y)?;
    let x = net.add(x, y)?;
    let y = net.max_pool(x, Pool2dConfig { kernel: (3, 3), stride: (1, 1), padding: (1, 1) })?;
    let z = net.add(x, y)?;
    let x = net.relu(z)?;
    let y = net.conv2d_no_bias("depthwise", x, 8, (3, 3), Conv2dConfig { groups: 8, ..padded })?;
    let x = net.concat(&[x, y])?;
    let x = net.batch_norm("joined", x)?;
    let x = net.average_pool(x, Pool2dConfig { kernel: (2, 2), stride: (2, 2), padding: (0, 0) })?;
    let y = net.flatten(x)?;
    let y = net.linear("left", y, 4)?;
    let z = net.global_average_pool(x)?;
    let z = net.linear("right", z, 3)?;
    let x = net.concat(&[y, z])?;
    net.finish(x)
}

/// The header of a file, its description, and the tensors.
fn parts(bytes: &[u8]) -> (Value, Value, Vec<u8>) {
    let len = u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + len]).expect("a header");
    let text = header["__metadata__"]["network"].as_str().expect("a description").to_owned();
    (header, serde_json::from_str(&text).expect("JSON"), bytes[8 + len..].to_vec())
}

fn whole(mut header: Value, description: &Value, data: &[u8]) -> Vec<u8> {
    header["__metadata__"]["network"] = Value::String(description.to_string());
    file(&header.to_string(), data)
}

/// The places of everything in a description.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), all));
        }
        Value::Object(items) => items.iter().for_each(|(key, item)| places(item, &format!("{at}/{key}"), all)),
        _ => {}
    }
}

/// What may stand in the place of a value.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Number(number) => {
            let mut all: Vec<Value> =
                [0u64, 1, 2, 7, 1 << 13, 1 << 31, u32::MAX.into(), 1 << 32, 1 << 62, 1 << 63, u64::MAX]
                    .map(Value::from)
                    .into();
            if let Some(number) = number.as_u64() {
                all.extend([Value::from(number.wrapping_add(1)), Value::from(number.wrapping_sub(1))]);
            }
            all.extend([Value::from(-1), Value::from(1e300), Value::Null]);
            all
        }
        Value::Bool(value) => vec![Value::from(!value), Value::Null],
        Value::String(_) => vec![Value::from(""), Value::from("Input"), Value::Null],
        Value::Array(items) => {
            let mut all = vec![Value::Array(Vec::new()), Value::Null];
            if !items.is_empty() {
                all.push(Value::Array(items[1..].to_vec()));
                all.push(Value::Array(items.iter().chain(items.last()).cloned().collect()));
                all.push(Value::Array(items.iter().rev().cloned().collect()));
            }
            all
        }
        Value::Object(_) => vec![Value::Null, Value::Object(serde_json::Map::new())],
        Value::Null => vec![Value::from(0), Value::Array(Vec::new())],
    }
}

/// What is accepted runs, is shown, and is written again.
fn accepted_runs(bytes: &[u8]) -> bool {
    let Ok(network) = Compiled::parse(bytes) else { return false };
    let [channels, height, width] = network.image();
    assert!(!network.report().to_string().is_empty());
    if channels * height * width <= 1 << 12 {
        for n in [0, 1, 7] {
            let images = Tensor::ones((n, channels, height, width), network.dtype(), &CPU).expect("images");
            network.forward(&images).expect("outputs");
        }
    }
    Compiled::parse(&network.to_bytes().expect("bytes")).expect("what was accepted");
    true
}

#[test]
fn any_change_of_a_description_is_an_error_or_runs() -> Result<()> {
    let (store, masks) = with_masks(&everything()?, 5)?;
    let compiled = compile(&everything()?, &store, &masks, &CompileOptions::default())?;
    let (header, description, data) = parts(&compiled.to_bytes()?);
    let mut all = Vec::new();
    places(&description, "", &mut all);
    let (mut tried, mut accepted) = (0, 0);
    for at in &all {
        let value = description.pointer(at).expect("a value");
        for other in others(value) {
            let mut changed = description.clone();
            *changed.pointer_mut(at).expect("a value") = other;
            tried += 1;
            accepted += usize::from(accepted_runs(&whole(header.clone(), &changed, &data)));
        }
    }
    assert!(
        accepted_runs(&whole(header, &description, &data)) && tried > 3000 && accepted > 100,
        "{accepted} of {tried}"
    );
    Ok(())
}

#[test]
fn any_change_of_a_list_of_blocks_is_an_error_or_runs() -> Result<()> {
    let (store, masks) = with_masks(&everything()?, 5)?;
    for masks in [masks, Masks::default()] {
        let compiled = compile(&everything()?, &store, &masks, &counted())?;
        let bytes = compiled.to_bytes()?;
        let (header, _, data) = parts(&bytes);
        let start = bytes.len() - data.len();
        for (name, tensor) in header.as_object().expect("an object") {
            if !name.ends_with(".blocks") {
                continue;
            }
            let offset = |at: usize| tensor["data_offsets"][at].as_u64().expect("an offset") as usize + start;
            for at in (offset(0)..offset(1)).step_by(4).take(48) {
                for value in [0u32, 1, 5, 1 << 16, 1 << 31, u32::MAX] {
                    let mut changed = bytes.clone();
                    changed[at..at + 4].copy_from_slice(&value.to_le_bytes());
                    accepted_runs(&changed);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_small_file_cannot_ask_for_all_memory() -> Result<()> {
    let mut net = NetworkBuilder::new(1, 1, 1);
    let x = net.conv2d("wide", net.input(), 1, (1, 1), config((1, 1), (1, 1), (1, 1), 1))?;
    let x = net.relu(x)?;
    let network = net.finish(x)?;
    let store = ParamStore::new(0, DType::F32, &CPU);
    network.build(store.var_builder())?;
    let compiled = compile(&network, &store, &Masks::default(), &counted())?;
    let (header, description, data) = parts(&compiled.to_bytes()?);
    for (padding, is_refused) in [(1u64, false), (40, false), (8000, true), (16_000, true), (1 << 31, true)] {
        let mut changed = description.clone();
        changed["program"]["layers"][0]["padding"] = Value::from(vec![padding, padding]);
        let plane = 1 + 2 * padding;
        changed["program"]["values"][1] = Value::from(vec![1, plane, plane]);
        let bytes = whole(header.clone(), &changed, &data);
        assert_eq!(Compiled::parse(&bytes).is_err(), is_refused, "{padding}");
        assert_eq!(accepted_runs(&bytes), !is_refused);
    }
    // nor can a network
    let mut net = NetworkBuilder::new(1, 8192, 8192);
    let x = net.conv2d("wide", net.input(), 3, (1, 1), Conv2dConfig::default())?;
    let network = net.finish(x)?;
    let store = ParamStore::new(0, DType::F32, &CPU);
    network.build(store.var_builder())?;
    let said = compile(&network, &store, &Masks::default(), &counted()).expect_err("an error").to_string();
    assert!(said.contains("sixteen images"), "{said}");
    Ok(())
}

#[test]
fn a_plan_of_another_machine_is_kept_in_a_file_and_refused_for_a_network() -> Result<()> {
    let network = everything()?;
    let (store, masks) = with_masks(&network, 6)?;
    let compiled = compile(&network, &store, &masks, &counted())?;
    let (header, mut description, data) = parts(&compiled.to_bytes()?);
    description["plan"]["machine"] = Value::from("pdp11");
    let other = Compiled::parse(&whole(header, &description, &data))?;
    assert_eq!(other.plan().machine, "pdp11");
    let x = Rng::new(2).normal(0.0, 1.0, (17, 2, 6, 5), DType::F32, &CPU)?;
    let apart = (other.forward(&x)? - compiled.forward(&x)?)?.abs()?.max_all()?.to_scalar::<f32>()?;
    assert_eq!(apart, 0.0);
    let options = |plan: &pruning::Plan| CompileOptions { plan: Some(plan.clone()), ..counted() };
    let said = compile(&network, &store, &masks, &options(other.plan())).expect_err("an error").to_string();
    assert!(said.contains("pdp11"), "{said}");
    for change in [
        (|plan| plan.layers.swap(0, 1)) as fn(&mut pruning::Plan),
        |plan| plan.layers.clear(),
        |plan| plan.layers.extend(plan.layers.clone()),
        |plan| plan.layers[0].name = "other".into(),
        |plan| plan.layers[0].few = pruning::Form::DenseWinograd,
        |plan| plan.layers[2].many = pruning::Form::Dense,
    ] {
        let mut plan = compiled.plan().clone();
        change(&mut plan);
        assert!(compile(&network, &store, &masks, &options(&plan)).is_err(), "{plan:?}");
    }
    // a layer is meant by its weight, a file by what wrote it
    let bare = std::iter::once(("body".to_owned(), Mask::full(&[8, 8, 3, 3]))).collect();
    let said = compile(&network, &store, &bare, &counted()).expect_err("an error").to_string();
    assert!(said.contains("is `body.weight` meant"), "{said}");
    let said = Compiled::parse(&safetensors::serialize([("a", view(&[1], &[1])?)], None).expect("bytes"));
    assert!(said.expect_err("an error").to_string().contains("Compiled::save"));
    for text in ["{}", "[]", r#"{"machine":"x","layers":[{"name":"a","many":"fast","few":"dense"}]}"#] {
        assert!(serde_json::from_str::<pruning::Plan>(text).is_err(), "{text}");
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_waited_for() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let compiled = {
        let network = Network::small_cnn([1, 4, 4], 2)?;
        let (store, masks) = with_masks(&network, 1)?;
        compile(&network, &store, &masks, &counted())?
    };
    for path in [pipe.as_path(), folder.path(), std::path::Path::new("/dev/zero"), &folder.path().join("absent")] {
        let shown = path.display().to_string();
        for said in [
            Masks::load(path).expect_err("an error").to_string(),
            Compiled::load(path).expect_err("an error").to_string(),
        ] {
            assert!(said.contains(&shown), "{said}");
        }
        if !path.ends_with("absent") {
            assert!(Masks::default().save(path).is_err() && compiled.save(path).is_err(), "{shown}");
        }
    }
    // a search that finds a pipe in the place of a round starts anew, and says so where it cannot write
    let network = Network::small_cnn([1, 4, 4], 2)?;
    let (store, _) = with_masks(&network, 1)?;
    std::fs::rename(&pipe, folder.path().join("round-0.safetensors")).expect("renamed");
    let options = TicketOptions { folder: Some(folder.path().into()), rounds: 1, ..TicketOptions::default() };
    let mut tickets = Tickets::new(store, &Scope::convolutions(), options)?;
    tickets.run(None, |round| round.mark())?;
    assert_eq!(tickets.found().len(), 1);
    Ok(())
}
