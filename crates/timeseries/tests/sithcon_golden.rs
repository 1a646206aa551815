//! SITHCon against reference values: the authors' filter bank and core layer, run in f64.
//!
//! The values stand in `tests/golden/sithcon`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/sithcon`, where a missing file skips its test.
//! Sizes are those of the files. What the files do not hold:
//!
//! | file | setting | value here |
//! |---|---|---|
//! | `morse_trained.safetensors` | memories, dilations, activations | those of `SithConConfig::morse_decoder`, as the paper trained it |
//! | `morse_adding_examples.json` | the items' digits | read back from their signals; compared with the data set where `DATA_DIR` holds it |

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use core_tensor::params::ParamStore;
use core_tensor::{Mode, backward, ops};
use reproduction::Golden;
use serde_json::Value;
use std::collections::HashMap;
use timeseries::sithcon::{
    FilterForm, LogTimeConfig, LogTimeMemory, Sequences, SithConConfig, SithConLayerConfig, morse, sithcon,
};
use timeseries::tcn::{TcnConfig, tcn};

fn golden() -> Golden {
    Golden::of("sithcon", env!("CARGO_MANIFEST_DIR"))
}

/// The bytes of one file; none, said aloud, where it is not there.
fn read(name: &str) -> Option<Vec<u8>> {
    golden().read(name)
}

fn tensors(name: &str) -> Option<HashMap<String, Tensor>> {
    Some(candle_core::safetensors::load_buffer(&read(name)?, &Device::Cpu).unwrap())
}

fn json(name: &str) -> Option<Value> {
    Some(serde_json::from_slice(&read(name)?).unwrap())
}

fn f64s(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference must stay below `relative` of the value, or of the largest value where sums of f32 cancel, and `absolute`.
fn assert_close(what: &str, actual: &Tensor, expected: &Tensor, relative: f64, absolute: f64) {
    assert_eq!(actual.dims(), expected.dims(), "{what}");
    let (actual, expected) = (f64s(actual), f64s(expected));
    let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
    for (at, (a, b)) in actual.iter().zip(&expected).enumerate() {
        let scale = if relative < 1e-6 { b.abs() } else { largest };
        assert!((a - b).abs() <= relative * scale + absolute, "{what}[{at}]: {a} instead of {b}");
    }
}

fn close(what: &str, dtype: DType, actual: &Tensor, expected: &Tensor) {
    // sums of some thousand terms in another order
    let (relative, absolute) = match (dtype, what.starts_with("grad.")) {
        (DType::F64, _) => (1e-9, 1e-11),
        (_, false) => (1e-4, 1e-7),
        (_, true) => (1e-3, 1e-7),
    };
    assert_close(what, actual, expected, relative, absolute);
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap()
}

fn whole(value: &Value, name: &str) -> usize {
    value[name].as_u64().unwrap() as usize
}

fn memory_config(value: &Value) -> LogTimeConfig {
    LogTimeConfig {
        tau_min: number(value, "tau_min"),
        tau_max: number(value, "tau_max"),
        num_taus: whole(value, "ntau"),
        sharpness: whole(value, "k") as u32,
        buffer: number(value, "buff_max"),
        dt: number(value, "dt"),
        amplitude_exponent: number(value, "g"),
        form: FilterForm::Inverse,
    }
}

#[test]
fn at_least_one_reference_file_is_there() {
    golden().assert_not_empty();
}

#[test]
fn the_memory_equals_the_reference() {
    let (Some(file), Some(cases)) = (tensors("isith.safetensors"), json("isith.json")) else { return };
    for (case, parameters) in cases.as_object().unwrap() {
        let get = |name: &str| &file[&format!("{case}.{name}")];
        let memory = LogTimeMemory::new(memory_config(parameters)).unwrap();
        let filters = memory.filters();
        let count = filters.taus().len();
        let taus = Tensor::new(filters.taus(), &Device::Cpu).unwrap();
        close("tau_star", DType::F64, &taus, get("tau_star"));
        close("c", DType::F64, &Tensor::new(&[filters.ratio()], &Device::Cpu).unwrap(), get("c"));
        let dt = filters.config().dt;
        if let Some(expected) = file.get(&format!("{case}.filters")) {
            assert_eq!(expected.dims(), [count, filters.num_lags()]);
            let rows =
                filters.taus().iter().flat_map(|&tau| (1..=filters.num_lags()).map(move |lag| (tau, lag as f64 * dt)));
            let actual: Vec<f64> = rows.map(|(tau, t)| filters.response(tau, t)).collect();
            close("filters", DType::F64, &Tensor::from_vec(actual, expected.shape(), &Device::Cpu).unwrap(), expected);
        } else {
            let rows = get("filters_rows").to_vec1::<i64>().unwrap();
            let times = get("filters_times").to_vec1::<i64>().unwrap();
            let mut actual = Vec::new();
            for &row in &rows {
                actual.extend(times.iter().map(|&t| filters.response(filters.taus()[row as usize], t as f64 * dt)));
            }
            let expected = get("filters_sample");
            close("filters", DType::F64, &Tensor::from_vec(actual, expected.shape(), &Device::Cpu).unwrap(), expected);
            let sums: Vec<f64> = filters
                .taus()
                .iter()
                .map(|&tau| {
                    (1..=filters.num_lags()).map(|lag| filters.response(tau, lag as f64 * dt)).sum::<f64>()
                        * filters.scale()
                })
                .collect();
            close("sums", DType::F64, &Tensor::from_vec(sums, count, &Device::Cpu).unwrap(), get("filter_sum_scaled"));
        }
        let expected = get("output");
        // "[batch,tau,feature,time] (every 13th tau: 0,13,26,...)"
        let layout = parameters["output_layout"].as_str().unwrap();
        let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
        let every = layout.split_once("every ").map_or(1, |(_, rest)| digits(rest).parse().unwrap());
        assert_eq!(expected.dims()[1], count.div_ceil(every), "{case}: {layout}");
        let rows: Vec<u32> = (0..expected.dims()[1]).map(|i| (i * every) as u32).collect();
        let rows = Tensor::new(rows, &Device::Cpu).unwrap();
        for dtype in [DType::F64, DType::F32] {
            let x = get("input").squeeze(1).unwrap().to_dtype(dtype).unwrap();
            let y = memory.forward(&x).unwrap().index_select(&rows, 1).unwrap();
            close(&format!("{case}.output"), dtype, &y, expected);
        }
    }
}

fn config(meta: &Value) -> (usize, usize, SithConConfig) {
    let layers = meta["layers"].as_array().unwrap();
    let layer = |layer: &Value| SithConLayerConfig {
        memory: memory_config(layer),
        channels: whole(layer, "channels"),
        kernel_width: whole(layer, "kernel_width"),
        dilation: whole(layer, "dilation"),
    };
    let config = SithConConfig {
        layers: layers.iter().map(layer).collect(),
        has_relu_after_pool: meta["relu_after_pool"].as_bool().unwrap(),
        has_relu_after_linear: meta["relu_after_linear"].as_bool().unwrap(),
        has_batch_norm: false,
        dropout: 0.,
    };
    (whole(&layers[0], "in_features"), whole(meta, "classes_or_outputs"), config)
}

fn load(store: &ParamStore, file: &HashMap<String, Tensor>) {
    let parameters: Vec<_> = file.iter().filter_map(|(name, x)| Some((name.strip_prefix("param.")?, x))).collect();
    assert_eq!(parameters.len(), store.vars().len());
    for (name, value) in parameters {
        store.set(name, &value.to_dtype(store.dtype()).unwrap()).unwrap();
    }
}

fn compare_gradients(dtype: DType, store: &ParamStore, loss: &Tensor, file: &HashMap<String, Tensor>) {
    let grads = backward(loss).unwrap();
    for (name, var) in store.trainable() {
        let name = format!("grad.{name}");
        close(&name, dtype, grads.get(&var).unwrap(), &file[&name]);
    }
}

#[test]
fn classifier_and_regressor_equal_the_reference() {
    for name in ["classifier_morse_style", "regressor_adding_style"] {
        let (Some(file), Some(meta)) = (tensors(&format!("{name}.safetensors")), json(&format!("{name}.json"))) else {
            continue;
        };
        let (features, outputs, config) = config(&meta);
        for dtype in [DType::F64, DType::F32] {
            let store = ParamStore::new(0, dtype, &Device::Cpu);
            let model = sithcon(features, outputs, &config, store.var_builder()).unwrap();
            load(&store, &file);
            let input = file["input"].squeeze(1).unwrap().to_dtype(dtype).unwrap();
            let (batch, time) = (input.dims()[0], input.dims()[2]);

            // layer by layer at every step
            let mut x = input.clone();
            for (l, layer) in model.layers().iter().enumerate() {
                let mut pooled = layer.forward(&x).unwrap().transpose(1, 2).unwrap().contiguous().unwrap();
                if config.has_relu_after_pool {
                    pooled = ops::relu(&pooled).unwrap();
                }
                close(&format!("act.layer{l}.pooled"), dtype, &pooled, &file[&format!("act.layer{l}.pooled")]);
                let get =
                    |what: &str| store.vars().into_iter().find(|(n, _)| *n == format!("linears.{l}.{what}")).unwrap().1;
                let mut out = ops::linear(&pooled, &get("weight"), Some(&get("bias"))).unwrap();
                if config.has_relu_after_linear {
                    out = ops::relu(&out).unwrap();
                }
                close(&format!("act.layer{l}.out"), dtype, &out, &file[&format!("act.layer{l}.out")]);
                x = out.transpose(1, 2).unwrap().contiguous().unwrap();
            }

            let sequences = Sequences::from_batch(&input).unwrap();
            let every = model
                .forward_steps(&sequences, &mut Mode::evaluate())
                .unwrap()
                .reshape((batch, time, outputs))
                .unwrap();
            close("logits_all_times", dtype, &every, &file["logits_all_times"]);
            let last = model.forward(&sequences, &mut Mode::evaluate()).unwrap();
            let memory = model.first_memory(&sequences).unwrap();
            let remembered = model.forward_memory(&sequences, &memory, &mut Mode::evaluate()).unwrap();
            close("logits from a stored memory", dtype, &remembered, &last);
            let target = &file["target"];
            let loss = if target.dtype() == DType::I64 {
                ops::cross_entropy(&last, &target.to_dtype(DType::U32).unwrap()).unwrap()
            } else {
                ops::mse(&last, &target.to_dtype(dtype).unwrap()).unwrap()
            };
            close("loss", dtype, &loss.reshape(1).unwrap(), &file["loss"]);
            compare_gradients(dtype, &store, &loss, &file);

            // the stream, in f64
            let mut stream = model.stream().unwrap();
            for b in 0..batch {
                stream.reset();
                for t in 0..time {
                    let sample = input.get(b).unwrap().narrow(1, t, 1).unwrap();
                    let y = stream.push(&f64s(&sample)).unwrap();
                    let y = Tensor::new(y, &Device::Cpu).unwrap();
                    close("the stream's logits", dtype, &y, &file["logits_all_times"].get(b).unwrap().get(t).unwrap());
                }
            }
        }
    }
}

#[test]
fn the_temporal_convolutional_network_equals_the_reference() {
    let (Some(file), Some(meta)) = (tensors("tcn_small.safetensors"), json("tcn_small.json")) else { return };
    let channels = meta["channels"].as_array().unwrap().iter().map(|c| c.as_u64().unwrap() as usize).collect();
    let config = TcnConfig { channels, kernel: whole(&meta, "kernel") };
    for dtype in [DType::F64, DType::F32] {
        let store = ParamStore::new(0, dtype, &Device::Cpu);
        let model = tcn(whole(&meta, "in"), whole(&meta, "out"), &config, store.var_builder()).unwrap();
        load(&store, &file);
        let logits = model.forward(&file["input"].to_dtype(dtype).unwrap()).unwrap();
        close("logits", dtype, &logits, &file["logits"]);
        let loss = ops::cross_entropy(&logits, &file["target"].to_dtype(DType::U32).unwrap()).unwrap();
        close("loss", dtype, &loss.reshape(1).unwrap(), &file["loss"]);
        compare_gradients(dtype, &store, &loss, &file);
    }
}

#[test]
fn the_trained_decoder_gives_the_reference_logits() {
    let Some(file) = tensors("morse_trained.safetensors") else { return };
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let mut config = SithConConfig::morse_decoder();
    for (l, layer) in config.layers.iter_mut().enumerate() {
        let dims = file[&format!("param.layers.{l}.weight_v")].dims();
        (layer.channels, layer.kernel_width) = (dims[0], dims[3]);
    }
    let features = file["param.layers.0.weight_v"].dims()[2];
    let classes = file["param.out.bias"].elem_count();
    let model = sithcon(features, classes, &config, store.var_builder()).unwrap();
    load(&store, &file);
    let mut tested = 0;
    for (name, expected) in &file {
        let Some(scale) = name.strip_prefix("logits.scale") else { continue };
        let signals = morse::alphabet(scale.parse().unwrap()).unwrap();
        let lengths: Vec<usize> = signals.iter().map(Vec::len).collect();
        let rows = signals.concat();
        let count = rows.len();
        let x = Tensor::from_vec(rows, (count, features), &Device::Cpu).unwrap();
        let x = Sequences::new(x, &lengths).unwrap();
        let logits = model.forward(&x, &mut Mode::evaluate()).unwrap();
        // the reference ran in f32, over sums of up to some thousand samples
        assert_close(name, &logits, expected, 0., 5e-3);
        let best = |x: &Tensor| x.argmax(1).unwrap().to_vec1::<u32>().unwrap();
        assert_eq!(best(&logits), best(expected), "{name}");
        tested += 1;
    }
    assert!(tested > 0);
}

#[test]
fn the_alphabet_is_exact() {
    let Some(file) = json("morse_alphabet.json") else { return };
    let symbols = file["symbols"].as_array().unwrap();
    assert_eq!(symbols.len(), morse::ALPHABET.len());
    for (symbol, (name, code)) in symbols.iter().zip(morse::ALPHABET) {
        assert_eq!((symbol["symbol"].as_str(), symbol["code"].as_str()), (Some(name), Some(code)));
        let bits: String = morse::bits(code).unwrap().iter().map(u8::to_string).collect();
        assert_eq!(symbol["bits"].as_str().unwrap(), bits);
    }
}

/// The fixed test set, where it is.
fn test_items() -> Option<Vec<datasets::morse::MorseItem>> {
    let options = datasets::StoreConfig { is_offline: true, ..Default::default() };
    match datasets::Store::new(options).and_then(|store| datasets::morse::load(&store)) {
        Ok(items) => Some(items),
        Err(error) => {
            println!("skipped: the data set's own digits: {error}");
            None
        }
    }
}

/// The item behind a signal and its marks, digit by digit: no digit's code is the beginning of another's.
fn decoded(signal: &str, marker: &str, scale: usize) -> morse::AddingItem {
    let code = |digit: u8| {
        let [signal, _] = morse::AddingItem { digits: vec![digit], marked: [0, 0] }.channels(scale).unwrap();
        signal.iter().map(|&x| if x == 0. { '0' } else { '1' }).collect::<String>()
    };
    let codes: Vec<(u8, String)> = (0..10).map(|digit| (digit, code(digit))).collect();
    let (mut digits, mut marked, mut at) = (Vec::new(), Vec::new(), 0);
    while at < signal.len() {
        let (digit, code) = codes.iter().find(|(_, code)| signal[at..].starts_with(code)).expect("a digit");
        if marker[at..at + code.len()].contains('1') {
            marked.push(digits.len());
        }
        digits.push(*digit);
        at += code.len();
    }
    morse::AddingItem { digits, marked: marked.try_into().expect("two marked digits") }
}

#[test]
fn the_adding_items_are_exact() {
    let Some(examples) = json("morse_adding_examples.json") else { return };
    let set = test_items();
    for example in examples.as_array().unwrap() {
        let (index, scale) = (whole(example, "item"), whole(example, "scale"));
        let item = decoded(example["signal"].as_str().unwrap(), example["marker"].as_str().unwrap(), scale);
        if let Some(set) = &set {
            assert_eq!((item.digits.as_slice(), item.marked), (&set[index].digits[..], set[index].marked));
        }
        let text = |x: &[f32]| x.iter().map(|&x| if x == 0. { '0' } else { '1' }).collect::<String>();
        let [signal, marks] = item.channels(scale).unwrap();
        assert_eq!(text(&signal), example["signal"].as_str().unwrap());
        assert_eq!(text(&marks), example["marker"].as_str().unwrap());
        assert!((item.target() - number(example, "target")).abs() < 1e-12);
    }
}
