//! What surrounds the networks that forecast: normalisation, covariates, early stopping, intervals, errors by sensor, and the models' doors.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use core_tensor::Mode;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::Cancellation;
use timeseries::dstagnn::{
    AstgcnConfig, ChebyshevBasis, ChebyshevProduct, ConformalIntervals, DAY, DstagnnConfig, FitConfig, Forecaster,
    GraphConfig, NaiveErrors, Scaler, Scaling, SensorGraph, Series, Similarity, TimeOfDay, WEEK, Windows, astgcn,
    aware_graphs, calendar, dstagnn, errors_by_sensor, fit, forecast, forecast_latest, huber_loss, persistence,
};
use timeseries::recurrent::{LstmConfig, lstm_reader};
use timeseries::sithcon::{LogTimeConfig, LogTimeFilters, Sequences, SithConConfig, morse, sithcon, sithcon_layer};
use timeseries::tcn::{TcnConfig, tcn};

fn numbers(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn series(steps: usize, sensors: &[&dyn Fn(usize) -> f64]) -> Series {
    let values = (0..steps).flat_map(|step| sensors.iter().map(move |sensor| sensor(step))).collect();
    Series::new(values, sensors.len(), 1).unwrap()
}

fn ring(nodes: usize) -> SensorGraph {
    SensorGraph::from_edges(nodes, &(0..nodes).map(|i| (i, (i + 1) % nodes)).collect::<Vec<_>>()).unwrap()
}

fn small(nodes: usize) -> DstagnnConfig {
    let (temporal_heads, head_width, num_blocks) = (2, 4, 2);
    DstagnnConfig {
        input_steps: 8,
        horizon: 3,
        num_blocks,
        filters: 8,
        temporal_heads,
        head_width,
        embedding: 16,
        ..DstagnnConfig::new(nodes)
    }
}

fn basis(nodes: usize) -> ChebyshevBasis {
    ChebyshevBasis::new(&ring(nodes), 3, ChebyshevProduct::Elementwise).unwrap()
}

/// Sensors near 50, 0.5 and 1500, a constant one at 7, and one without a reading.
fn units(steps: usize) -> Series {
    let wave = |step: usize, shift: f64| (step as f64 * std::f64::consts::TAU / 12. + shift).sin();
    series(
        steps,
        &[
            &|step| 50. + 10. * wave(step, 0.),
            &|step| 0.5 + 0.1 * wave(step, 1.),
            &|step| 1500. + 300. * wave(step, 2.),
            &|_| 7.,
            &|_| f64::NAN,
        ],
    )
}

#[test]
fn sensors_in_different_units_are_all_forecast() {
    let series = units(300);
    let windows = Windows::new(&series, 8, 3).unwrap();
    let split = windows.split();
    let scaler = windows.scaler(split[0].clone(), Scaling::PerSensor).unwrap();
    // the waves' means and deviations, to the extent that the windows hold whole periods
    for (at, (mean, deviation)) in [(50., 10.), (0.5, 0.1), (1500., 300.)].into_iter().enumerate() {
        assert!((scaler.mean[at] - mean).abs() < 0.05 * deviation, "{at}: {}", scaler.mean[at]);
        assert!((scaler.deviation[at] * 2f64.sqrt() / deviation - 1.).abs() < 0.02, "{at}: {}", scaler.deviation[at]);
    }
    assert_eq!((scaler.mean[3], scaler.deviation[3]), (7., 0.));
    // without a reading: the channel's
    let pooled = windows.scaler(split[0].clone(), Scaling::PerChannel).unwrap();
    assert_eq!((scaler.mean[4], scaler.deviation[4]), (pooled.mean[0], pooled.deviation[0]));

    let batch = windows.batch(&[20], &scaler, DType::F64, &Device::Cpu).unwrap();
    let (x, target, mask) = (numbers(&batch.x), numbers(&batch.target), numbers(batch.mask.as_ref().unwrap()));
    assert!((x[7] - (series.get(19, 0, 0).unwrap() - scaler.mean[0]) / scaler.deviation[0]).abs() < 1e-12);
    assert!((target[3] - (series.get(20, 1, 0).unwrap() - scaler.mean[1]) / scaler.deviation[1]).abs() < 1e-12);
    // nothing is to be learned of the constant and the silent sensor
    assert_eq!(mask, [1., 1., 1., 1., 1., 1., 1., 1., 1., 0., 0., 0., 0., 0., 0.]);
    assert!(x[24..].iter().all(|&x| x == 0.));

    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let model = dstagnn(small(5), &basis(5), &ring(5), store.var_builder()).unwrap();
    let settings = FitConfig { epochs: 25, learning_rate: 3e-3, ..FitConfig::default() };
    fit(&model, &store, (&windows, &split, &scaler), settings, &Cancellation::never(), |_, _| {}).unwrap();
    let target = windows.targets(split[2].clone()).unwrap();
    let found = forecast(&model, &store, (&windows, split[2].clone(), &scaler), 16).unwrap();
    let ours = errors_by_sensor(&found, &target, (5, 3)).unwrap();
    let last = errors_by_sensor(&persistence(&windows, split[2].clone()).unwrap(), &target, (5, 3)).unwrap();
    for node in 0..3 {
        assert!(ours[node].mae < 0.4 * last[node].mae, "{node}: {} and {}", ours[node].mae, last[node].mae);
    }
    // exactly, whatever the network says
    assert_eq!((ours[3].mae, ours[4].count), (0., 0));
    let next = forecast_latest(&model, &store, (&windows, &scaler)).unwrap();
    assert_eq!(next[9..12], [7.; 3]);
    assert!(next.iter().all(|x| x.is_finite()));
    // per channel the network's numbers are in the targets' units
    let raw = vec![1.5; 15];
    assert_eq!(windows.to_units(raw.clone(), &pooled).unwrap(), raw);
    assert!(windows.to_units(vec![1.; 14], &pooled).is_err());
}

#[test]
fn scalers_say_what_they_cannot_do() {
    // 0.1 has no exact mean of many: rounding must not pass for a deviation
    let constant = series(80, &[&|_| 0.1, &|_| 0.1]);
    let windows = Windows::new(&constant, 3, 2).unwrap();
    for scaling in [Scaling::PerChannel, Scaling::PerSensor] {
        let error = windows.scaler(3..60, scaling).unwrap_err().to_string();
        assert!(error.contains("is 0, expected positive"), "{error}");
        assert!(windows.scaler(3..3, scaling).is_err());
    }
    let large = series(80, &[&|step| if step % 2 == 0 { 1e308 } else { -1e308 }, &|step| step as f64]);
    let windows = Windows::new(&large, 3, 2).unwrap();
    assert!(windows.scaler(3..60, Scaling::PerSensor).unwrap_err().to_string().contains("too large"));
    // a scaler of another series
    let scaler = Scaler { mean: vec![0.], deviation: vec![1.], scaling: Scaling::PerSensor };
    assert!(windows.batch(&[5], &scaler, DType::F32, &Device::Cpu).is_err());
    assert!(windows.latest(&scaler, DType::F32, &Device::Cpu).is_err());
    // one that was stored before there was a choice
    let stored: Scaler = serde_json::from_str(r#"{"mean":[1.0],"deviation":[2.0]}"#).unwrap();
    assert_eq!(stored.scaling, Scaling::PerChannel);
}

#[test]
fn covariates_follow_the_readings_of_all_sensors() {
    let times: Vec<i64> = (0..40).map(|at| at * 3 * 3600).collect();
    let covariates = calendar(&times, &[DAY, WEEK]).unwrap();
    let plain = units(40);
    let told = plain.with_covariates(&covariates).unwrap();
    assert_eq!((told.num_channels(), told.num_nodes(), told.num_steps()), (5, 5, 40));
    for (step, node) in [(0, 0), (13, 2), (39, 3)] {
        assert_eq!(told.get(step, node, 0), plain.get(step, node, 0));
        for covariate in 0..4 {
            assert_eq!(told.get(step, node, 1 + covariate), Some(covariates[step * 4 + covariate]));
        }
    }
    // 9 hours: sin and cos of 3/8 of a turn; a time before 1970 has the same day
    let half = 0.5f64.sqrt();
    for time in [9 * 3600, 9 * 3600 - 100 * DAY] {
        let found = calendar(&[time], &[DAY]).unwrap();
        assert!((found[0] - half).abs() < 1e-12 && (found[1] + half).abs() < 1e-12, "{found:?}");
    }
    assert!(calendar(&[0], &[1]).is_err() && calendar(&[i64::MIN, i64::MAX], &[i64::MAX]).is_ok());
    assert!(plain.with_covariates(&[1.; 39]).is_err() && plain.with_covariates(&[]).is_err());
    assert!(plain.with_covariates(&[f64::INFINITY; 40]).is_err());
}

#[test]
fn training_ends_after_the_patience() {
    let series = units(200);
    let windows = Windows::new(&series, 8, 3).unwrap();
    let split = windows.split();
    let scaler = windows.scaler(split[0].clone(), Scaling::PerSensor).unwrap();
    let run = |patience, learning_rate| {
        let store = ParamStore::new(0, DType::F32, &Device::Cpu);
        let model = dstagnn(small(5), &basis(5), &ring(5), store.var_builder()).unwrap();
        let settings = FitConfig { epochs: 12, learning_rate, patience, ..FitConfig::default() };
        fit(&model, &store, (&windows, &split, &scaler), settings, &Cancellation::never(), |_, _| {})
    };
    // far too large a step: only the first epochs can be the best
    let stopped = run(Some(2), 0.5).unwrap();
    assert_eq!(stopped.validation.len(), stopped.best_epoch + 3);
    assert!(stopped.validation.len() < 13, "{:?}", stopped.validation);
    let whole = run(None, 0.5).unwrap();
    assert_eq!((whole.validation.len(), &whole.validation[..stopped.validation.len()]), (13, &stopped.validation[..]));
    assert!(run(Some(0), 1e-3).unwrap_err().to_string().contains("patience"));
    for rate in [0., -1., f64::NAN, f64::INFINITY] {
        assert!(run(None, rate).unwrap_err().to_string().contains("learning_rate"), "{rate}");
    }
    assert_eq!(run(Some(usize::MAX), 1e-3).unwrap().validation.len(), 13);
}

#[test]
fn half_widths_are_order_statistics() {
    // errors 1 to n of one sensor and step
    let calibrate = |n: usize, coverage: f64| {
        let target: Vec<f64> = (1..=n).map(|error| error as f64 * if error % 2 == 0 { 1. } else { -1. }).collect();
        ConformalIntervals::calibrate(&vec![0.; n], &target, (1, 1), coverage).unwrap().half_widths()[0]
    };
    assert_eq!(calibrate(9, 0.9), 9.);
    assert_eq!(calibrate(99, 0.9), 90.);
    assert_eq!(calibrate(8, 0.9), f64::INFINITY);
    // 25 · 0.28 is 7.000000000000001: not the eighth
    assert_eq!(calibrate(24, 0.28), 7.);
    assert_eq!(calibrate(1, 1e-300), 1.);
    for (coverage, least) in [(0.9, 9), (0.95, 19), (0.99, 99), (0.5, 1), (0.1, 1), (0.999, 999)] {
        assert_eq!(ConformalIntervals::least_windows(coverage).unwrap(), least, "{coverage}");
    }
    // two sensors, two steps, one target missing
    let (prediction, target) = ([0.; 8], [1., -2., 3., 4., 5., 6., f64::NAN, 8.]);
    let found = ConformalIntervals::calibrate(&prediction, &target, (2, 2), 0.5).unwrap();
    assert_eq!(found.half_widths(), [5., 6., 3., 8.]);
    let (lower, upper) = found.around(&[10., 10., 10., 10.]).unwrap();
    assert_eq!((lower, upper), (vec![5., 4., 7., 2.], vec![15., 16., 13., 18.]));
    assert_eq!(found.coverage_by_sensor(&[0.; 4], &[5., 7., 3.5, f64::NAN]).unwrap(), [0.5, 0.]);
    assert!((found.coverage_of(&[0.; 4], &[5., 7., 3.5, f64::NAN]).unwrap() - 1. / 3.).abs() < 1e-15);
    // a forecast that is no number counts as wrong
    let broken = ConformalIntervals::calibrate(&[f64::NAN], &[1.], (1, 1), 0.5).unwrap();
    assert_eq!(broken.half_widths(), [f64::INFINITY]);
    for coverage in [0., 1., -0.5, 1.5, f64::NAN, f64::INFINITY, 1e300] {
        assert!(ConformalIntervals::calibrate(&[0.], &[0.], (1, 1), coverage).is_err(), "{coverage}");
        assert!(ConformalIntervals::least_windows(coverage).is_err(), "{coverage}");
    }
    assert!(ConformalIntervals::least_windows(1. - f64::EPSILON).is_err());
    assert!(ConformalIntervals::calibrate(&[0.], &[0.; 2], (1, 1), 0.5).is_err());
    assert!(ConformalIntervals::calibrate(&[0.; 3], &[0.; 3], (2, 1), 0.5).is_err());
    assert!(ConformalIntervals::calibrate(&[], &[], (1, 1), 0.5).is_err());
    assert!(ConformalIntervals::calibrate(&[0.], &[0.], (usize::MAX, 2), 0.5).is_err());
    assert!(found.around(&[0.; 3]).is_err() && found.around(&[]).is_err());
}

#[test]
fn intervals_cover_what_they_promise() {
    // skewed errors that grow with the step and differ by sensor, around a biased forecast: split conformal holds all the same, with k/(n + 1) for continuous errors
    let (mut rng, n, coverage) = (Rng::new(7), 50, 0.9);
    let mut draw = |windows: usize| -> (Vec<f64>, Vec<f64>) {
        let prediction: Vec<f64> = (0..windows * 4).map(|_| 100. * rng.unit()).collect();
        let error = |at: usize, u: f64| (1. + (at % 4) as f64) * (-(1. - u).ln() - 0.3);
        let target = prediction.iter().enumerate().map(|(at, y)| y + error(at, rng.unit())).collect();
        (prediction, target)
    };
    let (mut sum, rounds) = (0., 400);
    for _ in 0..rounds {
        let (prediction, target) = draw(n);
        let intervals = ConformalIntervals::calibrate(&prediction, &target, (2, 2), coverage).unwrap();
        let (prediction, target) = draw(50);
        sum += intervals.coverage_of(&prediction, &target).unwrap();
    }
    let (found, expected) = (sum / f64::from(rounds), 46. / 51.);
    // a coverage has a deviation of about 0.042 for each half-width; 1600 half-widths
    assert!((found - expected).abs() < 5. * 0.042 / 40., "{found} instead of {expected}");
}

#[test]
fn calibration_shares_no_target_with_other_parts() {
    for (steps, horizon) in [(300, 3), (300, 1), (600, 12)] {
        let series = units(steps);
        let windows = Windows::new(&series, 8, horizon).unwrap();
        let [training, validation, calibration, test] = windows.split_with_calibration().unwrap();
        let old = windows.split();
        assert_eq!((training.clone(), test.clone(), validation.start), (old[0].clone(), old[2].clone(), old[1].start));
        let targets = |starts: &std::ops::Range<usize>| starts.start..starts.end - 1 + horizon;
        assert!(targets(&validation).end <= targets(&calibration).start, "{validation:?} {calibration:?}");
        assert!(targets(&calibration).end <= targets(&test).start, "{calibration:?} {test:?}");
        assert!(targets(&calibration).start - targets(&validation).end < horizon);
    }
    let short = units(40);
    assert!(Windows::new(&short, 8, 12).unwrap().split_with_calibration().is_err());
}

#[test]
fn errors_by_sensor_and_scaled_errors_are_by_hand() {
    // two windows of two sensors at a horizon of two
    let prediction = [1., 2., 10., 10., 3., 4., 10., 10.];
    let target = [2., 2., 13., f64::NAN, 0., 4., 9., 10.];
    let found = errors_by_sensor(&prediction, &target, (2, 2)).unwrap();
    assert_eq!((found[0].mae, found[0].rmse, found[0].count), (1., 2.5f64.sqrt(), 4));
    assert_eq!((found[1].mae, found[1].count), (4. / 3., 3));
    // naive errors in training: |3 − 1|, |0 − 3| and one pair with a missing reading; a constant
    let series = Series::new(vec![1., 5., 3., 5., 0., 5., f64::NAN, 5., 100., 5.], 2, 1).unwrap();
    let naive = NaiveErrors::new(&series, 1, 4).unwrap();
    assert_eq!(naive.errors, [2.5, 0.]);
    let scaled = naive.scaled(&prediction, &target, 2).unwrap();
    assert_eq!(scaled[0], 0.4);
    assert!(scaled[1].is_nan());
    assert_eq!(naive.mean_scaled(&prediction, &target, 2).unwrap(), 0.4);
    assert_eq!(NaiveErrors::new(&series, 2, 3).unwrap().errors[0], 1.);
    assert!(NaiveErrors::new(&series, usize::MAX, 4).unwrap().errors[0].is_nan());
    assert!(NaiveErrors::new(&series, 0, 4).is_err());
    assert!(errors_by_sensor(&prediction, &target, (3, 2)).is_err());
    assert!(errors_by_sensor(&prediction, &target[1..], (2, 2)).is_err());
    assert!(errors_by_sensor(&prediction, &target, (usize::MAX, 2)).is_err());
}

#[test]
fn persistence_knows_the_last_reading_before_each_window() {
    let mut rng = Rng::new(3);
    let values: Vec<f64> = (0..120).map(|at| if rng.unit() < 0.6 { f64::NAN } else { at as f64 }).collect();
    let series = Series::new(values, 3, 1).unwrap();
    let windows = Windows::new(&series, 4, 2).unwrap();
    let found = persistence(&windows, 4..39).unwrap();
    for (window, start) in (4..39).enumerate() {
        for node in 0..3 {
            let last = (0..start).rev().filter_map(|step| series.get(step, node, 0)).find(|x| !x.is_nan());
            assert_eq!(found[(window * 3 + node) * 2..][..2], [last.unwrap_or(0.); 2], "{start} {node}");
        }
    }
}

#[test]
fn a_share_of_the_sensors_is_what_it_is_written_as() {
    // 0.29 · 100 is 28.999999999999996
    let values: Vec<f64> =
        (0..10_000).map(|at| if at / 100 == at % 100 { 0. } else { 1. / (1 + at % 97) as f64 }).collect();
    let similarity = Similarity::new(values).unwrap();
    let (aware, _) = aware_graphs(&similarity, GraphConfig { sparsity: 0.29, ..GraphConfig::default() }).unwrap();
    assert_eq!(aware.edges().len(), 2900);
}

#[test]
fn models_refuse_other_types_and_sizes_in_their_own_name() {
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    let refuses = |name: &str, found: timeseries::Result<Tensor>| {
        let error = found.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name}: ")), "{name}: {error}");
    };
    let network = dstagnn(small(4), &basis(4), &ring(4), store.var_builder().pp("a")).unwrap();
    let sizes = AstgcnConfig { input_steps: 8, horizon: 3, filters: 4, ..AstgcnConfig::default() };
    let baseline = astgcn(sizes, &basis(4), store.var_builder().pp("b")).unwrap();
    let models: [(&str, &dyn Forecaster); 2] = [("DSTAGNN", &network), ("ASTGCN", &baseline)];
    for (name, model) in models {
        refuses(name, model.forecast(&zeros(&[2, 4, 1, 8], DType::F64), &mut Mode::evaluate()));
        for shape in [&[2, 5, 1, 8][..], &[2, 4, 2, 8], &[2, 4, 1, 9], &[0, 4, 1, 8], &[4, 8]] {
            refuses(name, model.forecast(&zeros(shape, DType::F32), &mut Mode::evaluate()));
        }
    }
    let batch = |features, dtype| Sequences::from_batch(&zeros(&[2, features, 9], dtype)).unwrap();
    let (other, wide) = (batch(2, DType::F64), batch(3, DType::F32));
    let mut config = SithConConfig::morse_decoder();
    for layer in &mut config.layers {
        (layer.channels, layer.memory.num_taus, layer.memory.tau_max) = (3, 60, 100.);
    }
    let decoder = sithcon(2, 4, &config, store.var_builder().pp("c")).unwrap();
    let good = batch(2, DType::F32);
    let memory = decoder.first_memory(&good).unwrap();
    let doubled = memory.to_dtype(DType::F64).unwrap();
    for (name, found) in [
        ("SITHCon", decoder.forward(&other, &mut Mode::evaluate())),
        ("SITHCon", decoder.forward(&wide, &mut Mode::evaluate())),
        ("SITHCon", decoder.first_memory(&other)),
        ("SITHCon", decoder.first_memory(&wide)),
        ("SITHCon", decoder.forward_memory(&good, &doubled, &mut Mode::evaluate())),
        ("SITHCon", decoder.forward_memory(&good, &memory.narrow(2, 0, 5).unwrap(), &mut Mode::evaluate())),
    ] {
        refuses(name, found);
    }
    let layer = sithcon_layer(2, &config.layers[0], store.var_builder().pp("d")).unwrap();
    refuses("SITHCon layer", layer.forward_sequences(&other).map(|pooled| pooled.values));
    refuses("SITHCon layer", layer.forward_last(&wide).map(|pooled| pooled.values));
    refuses("SITHCon layer", layer.forward_memory(&doubled).map(|pooled| pooled.values));
    let convolutional = tcn(2, 1, &TcnConfig::default(), store.var_builder().pp("e")).unwrap();
    refuses("TCN", convolutional.forward_sequences(&other));
    refuses("TCN", convolutional.forward_sequences(&wide));
    refuses("TCN", convolutional.forward_features(&zeros(&[2, 2, 9], DType::F64)));
    let reader = lstm_reader(2, 1, LstmConfig::default(), store.var_builder().pp("f")).unwrap();
    refuses("LSTM", reader.forward_sequences(&other));
    refuses("LSTM", reader.forward_sequences(&wide));
    let error = decoder.stream().unwrap().push(&[0.; 3]).unwrap_err().to_string();
    assert!(error.starts_with("streaming SITHCon: "), "{error}");
}

#[test]
fn extreme_numbers_are_errors() {
    let series = units(60);
    for (input_steps, horizon) in [(usize::MAX, 3), (8, usize::MAX), (8, usize::MAX - 5), (usize::MAX, usize::MAX)] {
        assert!(Windows::new(&series, input_steps, horizon).is_err(), "{input_steps} {horizon}");
    }
    assert_eq!(series.get(usize::MAX, 0, 0).or(series.get(0, usize::MAX, 0)).or(series.get(0, 0, usize::MAX)), None);
    assert_eq!(series.get(60, 0, 0).or(series.get(usize::MAX / 5 + 1, 0, 0)), None);
    for (nodes, channels) in [(usize::MAX, 2), (usize::MAX, usize::MAX), (1 << 32, 1 << 32)] {
        assert!(Series::new(vec![1.; 4], nodes, channels).is_err());
    }
    assert!(TimeOfDay::new(&series, usize::MAX, 60).is_err());
    assert!(SensorGraph::from_edges(usize::MAX, &[]).is_err() && SensorGraph::from_edges(1 << 20, &[]).is_err());
    assert!(ChebyshevBasis::new(&ring(3), usize::MAX, ChebyshevProduct::Matrix).is_err());
    let broken = SensorGraph { num_nodes: 5, values: vec![1.] };
    assert!(ChebyshevBasis::new(&broken, 2, ChebyshevProduct::Matrix).is_err());
    assert!(
        aware_graphs(&Similarity::new(vec![0.; 9]).unwrap(), GraphConfig { sparsity: 1e300, ..Default::default() })
            .is_err()
    );
    assert!(morse::alphabet(0).is_err() && morse::alphabet(usize::MAX).is_err());
    assert!(morse::AddingItem::random(usize::MAX - 1, &mut Rng::new(0)).is_err());
    assert!(morse::AddingItem { digits: vec![1, 2], marked: [0, 1] }.channels(usize::MAX).is_err());
    assert!(LogTimeFilters::new(LogTimeConfig { num_taus: usize::MAX, ..Default::default() }).is_err());
    let filters = LogTimeFilters::new(LogTimeConfig::default()).unwrap();
    assert!(filters.resized(usize::MAX).is_err() && filters.extend_to(1e300).is_err());
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let changes: [fn(&mut DstagnnConfig); 6] = [
        |c| c.horizon = usize::MAX,
        |c| c.input_steps = usize::MAX,
        |c| c.num_blocks = usize::MAX,
        |c| c.filters = usize::MAX,
        |c| c.head_width = usize::MAX,
        |c| c.temporal_heads = 1 << 20,
    ];
    for change in changes {
        let mut config = small(4);
        change(&mut config);
        let error = dstagnn(config, &basis(4), &ring(4), store.var_builder()).unwrap_err().to_string();
        assert!(error.starts_with("DSTAGNN: "), "{error}");
    }
    let sizes = AstgcnConfig { filters: usize::MAX, ..AstgcnConfig::default() };
    assert!(astgcn(sizes, &basis(4), store.var_builder()).is_err());
    assert!(tcn(1, 1, &TcnConfig { channels: vec![3], kernel: usize::MAX }, store.var_builder()).is_err());
    let sizes = LstmConfig { num_layers: usize::MAX, ..LstmConfig::default() };
    assert!(lstm_reader(1, 1, sizes, store.var_builder()).is_err());
    let mut config = SithConConfig::morse_decoder();
    config.layers[0].kernel_width = usize::MAX;
    assert!(sithcon(1, 4, &config, store.var_builder()).is_err());
    assert!(sithcon(usize::MAX, 4, &SithConConfig::morse_decoder(), store.var_builder()).is_err());
    let windows = Windows::new(&series, 8, 3).unwrap();
    let batch = windows.batch(&[20], &windows.scaler(8..40, Scaling::PerChannel).unwrap(), DType::F32, &Device::Cpu);
    assert!(huber_loss(&Tensor::zeros((1, 5, 4), DType::F32, &Device::Cpu).unwrap(), &batch.unwrap()).is_err());
}
