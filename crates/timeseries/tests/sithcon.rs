//! What holds for every SITHCon: properties, gradients, hostile input.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use core_tensor::Mode;
use core_tensor::gradcheck::gradcheck;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use proptest::prelude::*;
use timeseries::recurrent::{LstmConfig, lstm_reader};
use timeseries::sithcon::{
    FilterForm, LogTimeConfig, LogTimeMemory, Sequences, SithCon, SithConConfig, SithConLayerConfig, StreamingMemory,
    morse, sithcon,
};
use timeseries::tcn::{TcnConfig, tcn};

fn normal(rng: &mut Rng, shape: &[usize], dtype: DType) -> Tensor {
    rng.normal(0., 1., shape, dtype, &Device::Cpu).unwrap()
}

fn numbers(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(a: &Tensor, b: &Tensor, tolerance: f64) {
    assert_eq!(a.dims(), b.dims());
    let largest = numbers(b).iter().fold(1e-300f64, |a, b| a.max(b.abs()));
    for (a, b) in numbers(a).iter().zip(numbers(b)) {
        assert!((a - b).abs() <= tolerance * largest, "{a} instead of {b}");
    }
}

fn small() -> SithConConfig {
    let memory = LogTimeConfig {
        tau_min: 0.3,
        tau_max: 25.,
        num_taus: 24,
        sharpness: 6,
        buffer: 40.,
        ..LogTimeConfig::default()
    };
    let layer = SithConLayerConfig { memory, channels: 4, kernel_width: 3, dilation: 2 };
    SithConConfig { layers: vec![layer; 2], ..SithConConfig::morse_decoder() }
}

/// The outputs at the last step of `x` `[batch, features, time]`.
fn last_step(model: &SithCon, x: &Tensor) -> timeseries::Result<Tensor> {
    model.forward(&Sequences::from_batch(x)?, &mut Mode::evaluate())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_stream_equals_the_whole_sequence(
        seed in 0u64..1000, sharpness in 1u32..40, num_taus in 2usize..12, time in 1usize..60,
        tau_min in 0.05f64..3., spread in 1.5f64..100., dt in 0.2f64..2., is_post in any::<bool>(),
    ) {
        let form = if is_post { FilterForm::Post } else { FilterForm::Inverse };
        let tau_max = tau_min * spread;
        let config = LogTimeConfig { tau_min, tau_max, num_taus, sharpness, buffer: 60. * dt, dt, amplitude_exponent: 0.3, form };
        let memory = LogTimeMemory::new(config).unwrap();
        let x = normal(&mut Rng::new(seed), &[1, 2, time], DType::F64);
        let whole = memory.forward(&x).unwrap();
        let mut stream = StreamingMemory::new(memory.filters(), 2).unwrap();
        for t in 0..time {
            let state = stream.push(&numbers(&x.narrow(2, t, 1).unwrap())).unwrap().to_vec();
            let state = Tensor::from_vec(state, (2, num_taus), &Device::Cpu).unwrap();
            let expected = whole.get(0).unwrap().narrow(2, t, 1).unwrap().squeeze(2).unwrap().t().unwrap();
            // sums of up to 60 terms whose logarithms are of the order of a hundred
            for (a, b) in numbers(&state).iter().zip(numbers(&expected.contiguous().unwrap())) {
                prop_assert!((a - b).abs() <= 1e-9 * (b.abs() + 1e-3), "{} instead of {}", a, b);
            }
        }
    }

    #[test]
    fn packed_sequences_equal_each_alone(seed in 0u64..1000, lengths in prop::collection::vec(1usize..30, 1..5)) {
        let mut rng = Rng::new(seed);
        let store = ParamStore::new(seed, DType::F64, &Device::Cpu);
        let model = sithcon(2, 3, &small(), store.var_builder().pp("s")).unwrap();
        let convolutional = tcn(2, 3, &TcnConfig { channels: vec![3, 4], kernel: 3 }, store.var_builder().pp("t")).unwrap();
        let recurrent = lstm_reader(2, 3, LstmConfig { hidden: 5, ..LstmConfig::default() }, store.var_builder().pp("l")).unwrap();
        let longest = *lengths.iter().max().unwrap();
        let padded = normal(&mut rng, &[lengths.len(), 2, longest], DType::F64);
        let left = Sequences::from_left_padded(&padded, &lengths).unwrap();
        let right = Sequences::from_right_padded(&padded, &lengths).unwrap();
        for (which, packed) in [&left, &right].into_iter().enumerate() {
            let together = model.forward(packed, &mut Mode::evaluate()).unwrap();
            let (of_tcn, of_lstm) = (convolutional.forward_sequences(packed).unwrap(), recurrent.forward_sequences(packed).unwrap());
            for (b, &length) in lengths.iter().enumerate() {
                let start = if which == 0 { longest - length } else { 0 };
                let alone = padded.narrow(0, b, 1).unwrap().narrow(2, start, length).unwrap();
                assert_close(&together.narrow(0, b, 1).unwrap(), &last_step(&model, &alone).unwrap(), 1e-12);
                assert_close(&of_tcn.narrow(0, b, 1).unwrap(), &convolutional.forward(&alone).unwrap(), 1e-12);
                assert_close(&of_lstm.narrow(0, b, 1).unwrap(), &recurrent.forward(&alone).unwrap(), 1e-12);
            }
        }
    }
}

#[test]
fn gradients_are_right() {
    let mut rng = Rng::new(3);
    let config = small().layers[0].memory;
    let memory = LogTimeMemory::new(config).unwrap();
    let x = normal(&mut rng, &[2, 2, 9], DType::F64);
    gradcheck(|inputs| Ok(memory.forward(&inputs[0])?), std::slice::from_ref(&x)).unwrap();
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let model = sithcon(2, 3, &small(), store.var_builder()).unwrap();
    gradcheck(|inputs| Ok(last_step(&model, &inputs[0]).map_err(candle_core::Error::from)?), &[x]).unwrap();
}

#[test]
fn every_step_and_the_last_step_agree() {
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let model = sithcon(2, 3, &small(), store.var_builder()).unwrap();
    let x = Sequences::new(normal(&mut Rng::new(1), &[50, 2], DType::F64), &[20, 1, 29]).unwrap();
    let last = Tensor::from_vec(x.last_rows(), 3, &Device::Cpu).unwrap();
    let every = model.forward_steps(&x, &mut Mode::evaluate()).unwrap().index_select(&last, 0).unwrap();
    assert_close(&model.forward(&x, &mut Mode::evaluate()).unwrap(), &every, 1e-13);
}

#[test]
fn a_slower_signal_shifts_the_memory() {
    // the bounds follow from the set-up: c with (1+c)^20 = 2, symbol A
    for (bits, num_taus, buffer, bound) in [(5, 121, 300., 0.045), (40, 161, 1500., 0.007)] {
        let tau_max = 2f64.powf((num_taus - 1) as f64 / 20.);
        let config = LogTimeConfig { tau_min: 1., tau_max, num_taus, buffer, ..LogTimeConfig::default() };
        let memory = LogTimeMemory::new(config).unwrap();
        let at_end = |scale: usize| {
            let signal: Vec<f64> = morse::alphabet(scale).unwrap()[0].iter().map(|&x| f64::from(x)).collect();
            let count = signal.len();
            let x = Sequences::new(Tensor::from_vec(signal, (count, 1), &Device::Cpu).unwrap(), &[count]).unwrap();
            numbers(&memory.forward_last(&x).unwrap())
        };
        let (fast, slow) = (at_end(bits), at_end(2 * bits));
        assert_eq!(memory.filters().shift_for_scale(2.).round(), 20.);
        let largest = slow.iter().fold(0f64, |a, &b| a.max(b));
        let error = fast.iter().zip(&slow[20..]).map(|(a, b)| (a - b).abs()).fold(0., f64::max) / largest;
        assert!(error <= bound, "{error}");
    }
}

#[test]
fn a_longer_bank_only_adds_positions() {
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let model = sithcon(1, 3, &small(), store.var_builder()).unwrap();
    let longer = model.with_num_taus(40).unwrap();
    let layers = (&model.layers()[0], &longer.layers()[0]);
    assert_eq!(layers.1.num_positions(), layers.0.num_positions() + 16);
    let x = Sequences::new(normal(&mut Rng::new(1), &[20, 1], DType::F64), &[20]).unwrap();
    let (short, long) = (layers.0.forward_sequences(&x).unwrap(), layers.1.forward_sequences(&x).unwrap());
    for (a, b) in numbers(&short.values).iter().zip(numbers(&long.values)) {
        assert!(b >= a - 1e-12, "a maximum over more positions is not smaller");
    }
    let back = longer.with_num_taus(24).unwrap();
    assert_close(
        &back.forward(&x, &mut Mode::evaluate()).unwrap(),
        &model.forward(&x, &mut Mode::evaluate()).unwrap(),
        1e-12,
    );
}

#[test]
fn not_a_number_reaches_later_steps_of_its_sequence_only() {
    let memory =
        LogTimeMemory::new(LogTimeConfig { buffer: 5., tau_max: 3., num_taus: 4, ..LogTimeConfig::default() }).unwrap();
    let mut values = vec![1f64; 20];
    values[3] = f64::NAN;
    let x = Sequences::new(Tensor::from_vec(values, (20, 1), &Device::Cpu).unwrap(), &[10, 10]).unwrap();
    let y = memory.forward_sequences(&x).unwrap();
    let is_nan: Vec<bool> = numbers(&y).chunks(4).map(|row| row.iter().all(|x| x.is_nan())).collect();
    let expected: Vec<bool> = (0..20).map(|row| (3..8).contains(&row)).collect();
    assert_eq!(is_nan, expected);
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let model = sithcon(1, 2, &small(), store.var_builder()).unwrap();
    let y = numbers(&model.forward(&x, &mut Mode::evaluate()).unwrap());
    assert_eq!(y.iter().map(|x| x.is_nan()).collect::<Vec<_>>(), [true, true, false, false]);
}

#[test]
fn new_lengths_of_weight_norm_are_those_of_the_directions() {
    let store = ParamStore::new(5, DType::F64, &Device::Cpu);
    let model = sithcon(2, 3, &small(), store.var_builder()).unwrap();
    let v = store.vars().into_iter().find(|(name, _)| name == "layers.1.weight_v").unwrap().1;
    assert_close(&model.layers()[1].weight().unwrap(), &v.squeeze(1).unwrap(), 1e-13);
    // building the model again on the same store must not reset trained lengths
    store.set("layers.1.weight_g", &Tensor::full(2f64, (4, 1, 1, 1), &Device::Cpu).unwrap()).unwrap();
    let again = sithcon(2, 3, &small(), store.var_builder()).unwrap();
    let norms = again.layers()[1].weight().unwrap().flatten_from(1).unwrap().sqr().unwrap().sum(1).unwrap();
    assert_close(&norms, &Tensor::full(4f64, 4, &Device::Cpu).unwrap(), 1e-13);
}

#[test]
fn parameter_counts_are_those_of_the_paper() {
    let count = |features: usize, outputs: usize, config: &SithConConfig| {
        let store = ParamStore::new(0, DType::F32, &Device::Cpu);
        sithcon(features, outputs, config, store.var_builder()).unwrap();
        store.num_parameters()
    };
    assert_eq!(count(1, 43, &SithConConfig::morse_decoder()), 33_118);
    assert_eq!(count(2, 1, &SithConConfig::morse_adding()), 31_951);
    assert_eq!(count(50, 10, &SithConConfig::spoken_digits()), 71_375);
    let count = |features: usize, outputs: usize, channels: Vec<usize>, kernel: usize| {
        let store = ParamStore::new(0, DType::F32, &Device::Cpu);
        tcn(features, outputs, &TcnConfig { channels, kernel }, store.var_builder()).unwrap();
        store.num_parameters()
    };
    assert_eq!(count(1, 43, vec![25, 25], 45), 86_868);
    assert_eq!(count(2, 1, vec![25; 8], 45), 425_026);
    assert_eq!(count(50, 10, vec![25, 25], 45), 142_360);
    assert_eq!(count(50, 10, vec![25; 8], 14), 151_085);
}

#[test]
fn hostile_input_is_an_error() {
    let x = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    assert!(Sequences::new(x(&[4, 2]), &[]).is_err());
    assert!(Sequences::new(x(&[4, 2]), &[4, 0]).is_err());
    assert!(Sequences::new(x(&[4, 2]), &[5]).is_err());
    assert!(Sequences::new(x(&[4]), &[4]).is_err());
    assert!(Sequences::from_batch(&x(&[2, 1, 0])).is_err());
    assert!(Sequences::from_left_padded(&x(&[2, 1, 5]), &[5]).is_err());
    assert!(Sequences::from_left_padded(&x(&[2, 1, 5]), &[5, 6]).is_err());
    assert!(Sequences::from_left_padded(&x(&[2, 1, 5]), &[0, 0]).is_err());

    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let model = sithcon(2, 3, &small(), store.var_builder().pp("a")).unwrap();
    assert!(last_step(&model, &x(&[1, 3, 9])).is_err());
    assert!(last_step(&model, &x(&[1, 2])).is_err());
    assert!(last_step(&model, &Tensor::zeros((1, 2, 9), DType::U32, &Device::Cpu).unwrap()).is_err());
    assert!(last_step(&model, &Tensor::zeros((1, 2, 9), DType::F64, &Device::Cpu).unwrap()).is_err());
    assert!(model.layers()[0].forward_memory(&x(&[4, 2, 25])).is_err());
    assert!(model.with_num_taus(4).is_err());
    // one step, far shorter than the filters
    assert_eq!(last_step(&model, &x(&[1, 2, 1])).unwrap().dims(), [1, 3]);

    let change = |f: fn(&mut SithConConfig)| {
        let mut config = small();
        f(&mut config);
        assert!(sithcon(2, 3, &config, store.var_builder().pp("b")).is_err(), "{config:?}");
    };
    change(|c| c.layers.clear());
    change(|c| c.dropout = 1.);
    change(|c| c.layers[0].channels = 0);
    change(|c| c.layers[0].kernel_width = 0);
    change(|c| c.layers[0].kernel_width = 13);
    change(|c| c.layers[0].dilation = usize::MAX);
    assert!(sithcon(0, 3, &small(), store.var_builder().pp("c")).is_err());
    assert!(sithcon(2, 0, &small(), store.var_builder().pp("c")).is_err());
    assert!(tcn(2, 3, &TcnConfig { channels: vec![], kernel: 3 }, store.var_builder().pp("d")).is_err());
    assert!(tcn(2, 3, &TcnConfig { channels: vec![3], kernel: 0 }, store.var_builder().pp("d")).is_err());
    assert!(lstm_reader(2, 3, LstmConfig { hidden: 0, ..LstmConfig::default() }, store.var_builder().pp("e")).is_err());
    let mut stream = StreamingMemory::new(model.layers()[0].memory().filters(), 2).unwrap();
    assert!(stream.push(&[1.]).is_err());
    assert!(StreamingMemory::new(model.layers()[0].memory().filters(), 0).is_err());
    assert!(morse::bits("").is_err());
    assert!(morse::bits(".x").is_err());
    assert!(morse::AddingItem::random(3, &mut Rng::new(0)).is_err());
    assert!(morse::AddingItem { digits: vec![10, 1], marked: [0, 1] }.channels(1).is_err());
    assert!(morse::AddingItem { digits: vec![1, 1], marked: [0, 2] }.channels(1).is_err());
}

#[test]
fn options_beyond_the_paper_train_and_evaluate() {
    let config = SithConConfig { has_batch_norm: true, dropout: 0.3, ..small() };
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let model = sithcon(2, 3, &config, store.var_builder()).unwrap();
    let x = Sequences::from_batch(&normal(&mut Rng::new(1), &[4, 2, 12], DType::F32)).unwrap();
    let mut rng = Rng::new(2);
    let trained = model.forward(&x, &mut Mode::train(&mut rng)).unwrap();
    let evaluated = model.forward(&x, &mut Mode::evaluate()).unwrap();
    assert_ne!(numbers(&trained), numbers(&evaluated));
    assert!(model.stream().is_err());
}

/// No operation of Candle's own is in a training step, so that it is walked as a whole.
#[test]
fn a_training_step_is_on_our_tape() {
    for has_batch_norm in [false, true] {
        let config = SithConConfig { has_batch_norm, dropout: 0.3, ..small() };
        let store = ParamStore::new(0, DType::F64, &Device::Cpu);
        let model = sithcon(2, 3, &config, store.var_builder()).unwrap();
        let x = Sequences::from_batch(&normal(&mut Rng::new(1), &[4, 2, 12], DType::F64)).unwrap();
        let mut rng = Rng::new(2);
        let y = model.forward(&x, &mut Mode::train(&mut rng)).unwrap();
        let labels = Tensor::new(&[0u32, 1, 2, 0], &Device::Cpu).unwrap();
        let loss = core_tensor::ops::cross_entropy(&y, &labels).unwrap();
        assert_eq!(core_tensor::tape::foreign(&loss), []);
        core_tensor::gradcheck::backward_both(&loss).unwrap();
    }
}
