//! What holds for every DSTAGNN: properties, gradients, hostile input.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use core_tensor::gradcheck::{GradcheckConfig, gradcheck_with};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::train::Cancellation;
use core_tensor::{Mode, ops};
use proptest::prelude::*;
use timeseries::dstagnn::{
    AstgcnConfig, AttentionNormalisation, ChebyshevBasis, ChebyshevProduct, DstagnnConfig, FitConfig, GraphConfig,
    Scaler, Scaling, SelfLoop, SensorGraph, Series, Similarity, SimilarityConfig, TimeOfDay, Windows, astgcn,
    aware_graphs, dstagnn, errors_by_horizon, fit, forecast, huber_loss, persistence, transport,
};

fn numbers(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn weights(rng: &mut Rng, count: usize) -> Vec<f64> {
    // some of them zero
    let raw: Vec<f64> = (0..count).map(|_| (rng.unit() - 0.2).max(0.)).collect();
    let sum: f64 = raw.iter().sum();
    if sum > 0. { raw.iter().map(|w| w / sum).collect() } else { vec![1. / count as f64; count] }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn transport_is_feasible_and_its_prices_prove_it_optimal(seed in 0u64..10_000, n in 1usize..20, m in 1usize..90, levels in 1usize..200) {
        let mut rng = Rng::new(seed);
        let (p, q) = (weights(&mut rng, n), weights(&mut rng, m));
        // few levels give many ties
        let cost: Vec<f64> = (0..n * m).map(|_| rng.below(levels) as f64 / levels as f64 - 0.3).collect();
        let solved = transport(&p, &q, &cost).unwrap();
        for (a, &p) in p.iter().enumerate() {
            let sum: f64 = solved.plan[a * m..(a + 1) * m].iter().sum();
            prop_assert!((sum - p).abs() < 1e-13);
        }
        for (b, &q) in q.iter().enumerate() {
            let sum: f64 = solved.plan.iter().skip(b).step_by(m).sum();
            prop_assert!((sum - q).abs() < 1e-13);
        }
        prop_assert!(solved.plan.iter().all(|&x| x >= 0.));
        let (u, v) = (&solved.source_prices, &solved.target_prices);
        for a in 0..n {
            for b in 0..m {
                prop_assert!(u[a] + v[b] <= cost[a * m + b] + 1e-12);
            }
        }
        let of = |x: &[f64], w: &[f64]| x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>();
        prop_assert!((of(u, &p) + of(v, &q) - solved.cost).abs() < 1e-12);
    }

    #[test]
    fn similarity_is_symmetric_and_ignores_scale(seed in 0u64..1000, scale in 0.01f64..50.) {
        let (nodes, period, days) = (5, 6, 3);
        let mut rng = Rng::new(seed);
        let mut series: Vec<f64> = (0..nodes * period * days).map(|_| 100. * rng.unit()).collect();
        // the last sensor is the first one, scaled
        for step in 0..period * days {
            series[step * nodes + 4] = scale * series[step * nodes];
        }
        let similarity = Similarity::from_series(&series, nodes, SimilarityConfig { period }).unwrap();
        for i in 0..nodes {
            for j in 0..nodes {
                prop_assert_eq!(similarity.get(i, j), similarity.get(j, i));
                prop_assert!((-1e-12..=1. + 1e-12).contains(&similarity.get(i, j).unwrap()));
            }
        }
        prop_assert!((similarity.get(0, 4).unwrap() - 1.).abs() < 1e-12);
    }
}

fn config(nodes: usize) -> DstagnnConfig {
    DstagnnConfig {
        input_steps: 8,
        horizon: 3,
        num_blocks: 2,
        filters: 3,
        temporal_heads: 2,
        head_width: 2,
        embedding: 4,
        ..DstagnnConfig::new(nodes)
    }
}

fn ring(nodes: usize) -> SensorGraph {
    SensorGraph::from_edges(nodes, &(0..nodes).map(|i| (i, (i + 1) % nodes)).collect::<Vec<_>>()).unwrap()
}

fn normal(rng: &mut Rng, shape: &[usize]) -> Tensor {
    rng.normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap()
}

#[test]
fn gradients_are_right() {
    // norms over few numbers bend strongly: smaller steps, and differences that see their rounding
    let close = GradcheckConfig { step: 1e-6, absolute_tolerance: 1e-6, relative_tolerance: 1e-5 };
    for (product, attention) in [
        (ChebyshevProduct::Elementwise, AttentionNormalisation::Query),
        (ChebyshevProduct::Matrix, AttentionNormalisation::Key),
    ] {
        let basis = ChebyshevBasis::new(&ring(4), 3, product).unwrap();
        let store = ParamStore::new(0, DType::F64, &Device::Cpu);
        let config = DstagnnConfig { attention, input_channels: 2, ..config(4) };
        let model = dstagnn(config, &basis, &ring(4), store.var_builder()).unwrap();
        let x = normal(&mut Rng::new(1), &[2, 4, 2, 8]);
        gradcheck_with(
            |x| Ok(model.forward(&x[0], &mut Mode::evaluate()).map_err(candle_core::Error::from)?),
            std::slice::from_ref(&x),
            close,
        )
        .unwrap();
        let sizes = AstgcnConfig { input_steps: 8, horizon: 3, input_channels: 2, num_blocks: 2, filters: 3 };
        let baseline = astgcn(sizes, &basis, store.var_builder().pp("astgcn")).unwrap();
        gradcheck_with(|x| Ok(baseline.forward(&x[0])?), &[x], close).unwrap();
    }
}

#[test]
fn permuted_sensors_give_permuted_forecasts() {
    // no other axis has nine elements
    let (n, permutation) = (9usize, [3usize, 0, 4, 1, 2, 8, 5, 6, 7]);
    let graph =
        SensorGraph::from_edges(n, &[(0, 1), (1, 2), (2, 0), (3, 4), (4, 0), (0, 3), (5, 1), (6, 7), (7, 8), (8, 5)])
            .unwrap();
    let moved: Vec<(usize, usize)> = graph.edges().into_iter().map(|(a, b)| (permutation[a], permutation[b])).collect();
    let moved = SensorGraph::from_edges(n, &moved).unwrap();
    let model = |graph: &SensorGraph| {
        let basis = ChebyshevBasis::new(graph, 3, ChebyshevProduct::Elementwise).unwrap();
        let store = ParamStore::new(0, DType::F64, &Device::Cpu);
        (dstagnn(config(n), &basis, graph, store.var_builder()).unwrap(), store)
    };
    let ((plain, from), (other, to)) = (model(&graph), model(&moved));
    // the inverse as an index: row `to` comes from row `index[to]`
    let mut index = [0u32; 9];
    permutation.iter().enumerate().for_each(|(from, &to)| index[to] = from as u32);
    let index = Tensor::new(&index, &Device::Cpu).unwrap();
    for (name, value) in from.snapshot().unwrap() {
        let mut value = value;
        for axis in 0..value.rank() {
            if value.dims()[axis] == n {
                value = value.index_select(&index, axis).unwrap();
            }
        }
        to.set(&name, &value).unwrap();
    }
    let x = normal(&mut Rng::new(1), &[2, n, 1, 8]);
    let expected = plain.forward(&x, &mut Mode::evaluate()).unwrap().index_select(&index, 1).unwrap();
    let found = other.forward(&x.index_select(&index, 1).unwrap(), &mut Mode::evaluate()).unwrap();
    for (a, b) in numbers(&found).iter().zip(numbers(&expected)) {
        assert!((a - b).abs() < 1e-10 * b.abs().max(1.), "{a} instead of {b}");
    }
}

#[test]
fn self_loops_follow_the_policy() {
    let values: Vec<f64> = (0..25).map(|at| if at / 5 == at % 5 { 0. } else { 1. / (1. + (at % 5) as f64) }).collect();
    let similarity = Similarity::new(values).unwrap();
    let graphs = |self_loop| aware_graphs(&similarity, GraphConfig { sparsity: 0.4, self_loop }).unwrap();
    for (policy, others, own) in [(SelfLoop::Exclude, 2, 0), (SelfLoop::CountInTop, 1, 1), (SelfLoop::Add, 2, 1)] {
        let (aware, relevance) = graphs(policy);
        for i in 0..5 {
            let row = &aware.values[i * 5..(i + 1) * 5];
            assert_eq!(row.iter().sum::<f64>() as usize, others + own, "{policy:?}");
            assert_eq!(row[i] as usize, own, "{policy:?}");
            // itself and the two most similar, whatever the policy
            assert_eq!(relevance.values[i * 5..(i + 1) * 5].iter().filter(|&&w| w != 0.).count(), 3);
        }
    }
    // equal similarities: the first nodes are chosen
    let ties = Similarity::new((0..16).map(|at| f64::from(at / 4 != at % 4) * 0.5).collect()).unwrap();
    let (aware, _) = aware_graphs(&ties, GraphConfig { sparsity: 0.5, ..GraphConfig::default() }).unwrap();
    assert_eq!(aware.edges(), [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (3, 0), (3, 1)]);
}

#[test]
fn dead_and_interrupted_sensors_are_compared_by_the_days_they_have() {
    let (nodes, period) = (4, 4);
    let day = [1., 4., 2., 3.];
    let mut series = Vec::new();
    for step in 0..3 * period {
        let value = day[step % period];
        // one whole; one with a missing reading on the second day; one dead; one with only its last day
        series.extend([value, if step == 5 { f64::NAN } else { 2. * value }, 0., if step < 8 { 0. } else { value }]);
    }
    let similarity = Similarity::from_series(&series, nodes, SimilarityConfig { period }).unwrap();
    assert!((similarity.get(0, 1).unwrap() - 1.).abs() < 1e-12);
    assert!((similarity.get(0, 3).unwrap() - 1.).abs() < 1e-12);
    assert_eq!((similarity.get(0, 2), similarity.get(2, 3)), (Some(0.), Some(0.)));
    // readings near the largest number do not overflow
    let large: Vec<f64> = series.iter().map(|x| x * 1e307).collect();
    let large = Similarity::from_series(&large, nodes, SimilarityConfig { period }).unwrap();
    assert!((large.get(0, 1).unwrap() - 1.).abs() < 1e-12);
}

fn waves(steps: usize, nodes: usize) -> Series {
    let value = |step: usize, node: usize| 50. + 20. * (step as f64 * 0.7 + node as f64).sin();
    let values = (0..steps).flat_map(|step| (0..nodes).map(move |node| value(step, node))).collect();
    Series::new(values, nodes, 1).unwrap()
}

#[test]
fn training_forecasts_a_wave_and_keeps_the_best_state() {
    let series = waves(200, 4);
    let windows = Windows::new(&series, 8, 3).unwrap();
    let split = windows.split();
    let scaler = windows.scaler(split[0].clone(), Scaling::PerChannel).unwrap();
    let basis = ChebyshevBasis::new(&ring(4), 3, ChebyshevProduct::Elementwise).unwrap();
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let sizes = DstagnnConfig { filters: 8, embedding: 16, head_width: 4, ..config(4) };
    let model = dstagnn(sizes, &basis, &ring(4), store.var_builder()).unwrap();
    let settings = FitConfig { epochs: 25, learning_rate: 3e-3, ..FitConfig::default() };
    let fitted = fit(&model, &store, (&windows, &split, &scaler), settings, &Cancellation::never(), |_, _| {}).unwrap();
    let least = fitted.validation.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!((fitted.validation.len(), fitted.validation[fitted.best_epoch]), (26, least));
    let target = windows.targets(split[2].clone()).unwrap();
    let found = forecast(&model, &store, (&windows, split[2].clone(), &scaler), 16).unwrap();
    let (ours, each) = errors_by_horizon(&found, &target, 3).unwrap();
    let (last, _) = errors_by_horizon(&persistence(&windows, split[2].clone()).unwrap(), &target, 3).unwrap();
    assert!(ours.mae < 0.5 * last.mae, "{} and {}", ours.mae, last.mae);
    assert_eq!(each.len(), 3);
    // windows of another horizon, and windows that do not fit
    let other = Windows::new(&series, 8, 2).unwrap();
    for error in [
        fit(&model, &store, (&other, &other.split(), &scaler), settings, &Cancellation::never(), |_, _| {})
            .unwrap_err(),
        forecast(&model, &store, (&other, split[2].clone(), &scaler), 16).unwrap_err(),
    ] {
        assert!(error.to_string().contains("horizon"), "{error}");
    }
    let end = series.num_steps();
    assert!(windows.targets(end - 3..end).is_err() && persistence(&windows, 0..3).is_err());
    assert!(series.channel(0, end + 1).is_err());
    // the restored state is the one whose validation loss was least
    let batch = windows.batch(&split[1].clone().collect::<Vec<_>>(), &scaler, DType::F32, &Device::Cpu).unwrap();
    let prediction = model.forward(&batch.x, &mut Mode::evaluate()).unwrap();
    let loss = huber_loss(&prediction, &batch).unwrap().to_scalar::<f32>().unwrap();
    assert!((f64::from(loss) / least - 1.).abs() < 0.2, "{loss} and {least}");
    let latest = windows.latest(&scaler, DType::F32, &Device::Cpu).unwrap();
    assert_eq!(model.forward(&latest, &mut Mode::evaluate()).unwrap().dims(), [1, 4, 3]);
}

#[test]
fn missing_readings_are_masked() {
    let mut values: Vec<f64> = (0..40).map(|i| (i % 7) as f64 + 1.).collect();
    let whole = Series::new(values.clone(), 2, 1).unwrap();
    values[22] = f64::NAN;
    let series = Series::new(values, 2, 1).unwrap();
    let windows = Windows::new(&series, 3, 2).unwrap();
    let scaler = windows.scaler(3..17, Scaling::PerChannel).unwrap();
    assert!(scaler.mean[0].is_finite());
    // step 11 of sensor 0 is missing: an input of the window at 12, a target of those at 10 and 11
    let batch = windows.batch(&[12], &scaler, DType::F64, &Device::Cpu).unwrap();
    assert!(batch.mask.is_none());
    assert_eq!(numbers(&batch.x)[2], 0.);
    let batch = windows.batch(&[10, 11], &scaler, DType::F64, &Device::Cpu).unwrap();
    let mask = numbers(batch.mask.as_ref().unwrap());
    assert_eq!(mask, [1., 0., 1., 1., 0., 1., 1., 1.]);
    let prediction = batch.target.affine(1., 5.).unwrap();
    assert!((huber_loss(&prediction, &batch).unwrap().to_scalar::<f64>().unwrap() - 4.5).abs() < 1e-12);
    let target = windows.targets(10..12).unwrap();
    let (errors, _) = errors_by_horizon(&[0.; 8], &target, 2).unwrap();
    assert_eq!(errors.count, 6);
    // the last known reading, and means without the missing one
    let last = persistence(&windows, 12..13).unwrap();
    assert_eq!(last[0], whole.get(10, 0, 0).unwrap());
    assert!(TimeOfDay::new(&series, 4, 20).unwrap().forecast(8..9, 2).iter().all(|x| x.is_finite()));
    let nothing = windows.batch(&[10], &scaler, DType::F64, &Device::Cpu).unwrap();
    let nothing = timeseries::dstagnn::WindowBatch { mask: Some(nothing.target.zeros_like().unwrap()), ..nothing };
    assert!(huber_loss(&nothing.target, &nothing).is_err());
}

#[test]
fn dropout_acts_in_training_only() {
    let basis = ChebyshevBasis::new(&ring(4), 3, ChebyshevProduct::Elementwise).unwrap();
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let model = dstagnn(DstagnnConfig { dropout: 0.5, ..config(4) }, &basis, &ring(4), store.var_builder()).unwrap();
    let x = normal(&mut Rng::new(1), &[1, 4, 1, 8]);
    let train = |seed| numbers(&model.forward(&x, &mut Mode::train(&mut Rng::new(seed))).unwrap());
    assert_eq!(train(1), train(1));
    assert_ne!(train(1), train(2));
    let evaluate = || numbers(&model.forward(&x, &mut Mode::evaluate()).unwrap());
    assert_eq!(evaluate(), evaluate());
}

#[test]
fn hostile_input_is_an_error() {
    assert!(transport(&[], &[1.], &[]).is_err());
    assert!(transport(&[1.], &[2.], &[0.]).is_err());
    assert!(transport(&[1.], &[1.], &[f64::NAN]).is_err());
    assert!(transport(&[-1.], &[-1.], &[0.]).is_err());
    assert!(transport(&[1.], &[1.], &[0., 1.]).is_err());
    assert_eq!(transport(&[0.], &[0.], &[1.]).unwrap().cost, 0.);

    let period = SimilarityConfig { period: 4 };
    assert!(Similarity::from_series(&[1.; 6], 2, period).is_err(), "less than a day");
    assert!(Similarity::from_series(&[1.; 9], 2, period).is_err(), "half a step");
    assert!(Similarity::from_series(&[1.; 8], 1, period).is_err(), "one sensor");
    assert!(Similarity::from_series(&[f64::INFINITY; 8], 2, period).is_err());
    assert!(Similarity::from_series(&[1.; 8], 2, SimilarityConfig { period: 0 }).is_err());
    assert!(Similarity::new(vec![1.; 3]).is_err());
    let all_missing = Similarity::from_series(&[f64::NAN; 8], 2, period).unwrap();
    assert_eq!(all_missing.values(), [0.; 4]);
    assert!(aware_graphs(&all_missing, GraphConfig::default()).is_err(), "no neighbour at 0.01");
    assert!(aware_graphs(&all_missing, GraphConfig { sparsity: f64::NAN, ..Default::default() }).is_err());
    assert!(SensorGraph::from_edges(2, &[(0, 2)]).is_err());
    assert!(SensorGraph::from_edges(0, &[]).is_err());
    let empty = SensorGraph::from_edges(3, &[]).unwrap();
    assert!(ChebyshevBasis::new(&empty, 3, ChebyshevProduct::Elementwise).is_err());
    assert!(ChebyshevBasis::new(&ring(3), 0, ChebyshevProduct::Elementwise).is_err());
    assert!(ChebyshevBasis::from_terms(vec![]).is_err());

    assert!(Series::new(vec![], 2, 1).is_err());
    assert!(Series::new(vec![1.; 3], 2, 1).is_err());
    assert!(Series::new(vec![f64::INFINITY; 2], 2, 1).is_err());
    let short = waves(20, 2);
    assert!(Windows::new(&short, 12, 12).is_err(), "fewer windows than are needed");
    assert!(Windows::new(&short, 0, 1).is_err());
    let constant = Series::new(vec![3.; 80], 2, 1).unwrap();
    let windows = Windows::new(&constant, 3, 2).unwrap();
    assert!(windows.scaler(3..20, Scaling::PerChannel).is_err(), "never changes");
    assert!(windows.scaler(3..3, Scaling::PerChannel).is_err());
    let scaler = Scaler { mean: vec![0.], deviation: vec![1.], scaling: Scaling::PerChannel };
    assert!(windows.batch(&[2], &scaler, DType::F32, &Device::Cpu).is_err());
    assert!(windows.batch(&[39], &scaler, DType::F32, &Device::Cpu).is_err());
    let other = Scaler { mean: vec![0.; 2], deviation: vec![1.; 2], scaling: Scaling::PerChannel };
    assert!(windows.batch(&[5], &other, DType::F32, &Device::Cpu).is_err());
    assert!(windows.latest(&other, DType::F32, &Device::Cpu).is_err());
    assert!(TimeOfDay::new(&constant, 288, 40).is_err());
    assert!(errors_by_horizon(&[1.], &[1., 2.], 1).is_err());
    assert!(errors_by_horizon(&[1.], &[f64::NAN], 1).is_err());
    assert!(errors_by_horizon(&[1.; 3], &[1.; 3], 2).is_err());

    let basis = ChebyshevBasis::new(&ring(4), 3, ChebyshevProduct::Elementwise).unwrap();
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let model = dstagnn(config(4), &basis, &ring(4), store.var_builder()).unwrap();
    let x = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    for shape in [&[1, 3, 1, 8][..], &[1, 4, 2, 8], &[1, 4, 1, 7], &[0, 4, 1, 8], &[4, 8]] {
        assert!(model.forward(&x(shape), &mut Mode::evaluate()).is_err(), "{shape:?}");
    }
    assert!(model.forward(&x(&[1, 4, 1, 8]).to_dtype(DType::F64).unwrap(), &mut Mode::evaluate()).is_err());
    let change = |f: fn(&mut DstagnnConfig)| {
        let mut config = config(4);
        f(&mut config);
        assert!(dstagnn(config, &basis, &ring(4), store.var_builder().pp("b")).is_err(), "{config:?}");
    };
    change(|c| c.input_steps = 6);
    change(|c| c.num_nodes = 5);
    change(|c| c.horizon = 0);
    change(|c| c.dropout = f64::NAN);
    // NaN in, NaN out, without a panic
    let x = Tensor::full(f32::NAN, (1, 4, 1, 8), &Device::Cpu).unwrap();
    let y = model.forward(&x, &mut Mode::evaluate()).unwrap();
    assert!(numbers(&y).iter().all(|y| y.is_nan()));
    let _ = ops::relu(&y).unwrap();
}

/// No operation of Candle's own is in a training step, so that it is walked as a whole.
#[test]
fn a_training_step_is_on_our_tape() {
    let basis = ChebyshevBasis::new(&ring(4), 3, ChebyshevProduct::Elementwise).unwrap();
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let model = dstagnn(config(4), &basis, &ring(4), store.var_builder()).unwrap();
    let channels = config(4).input_channels;
    let x = normal(&mut Rng::new(1), &[2, 4, channels, 8]);
    let mut rng = Rng::new(2);
    let y = model.forward(&x, &mut Mode::train(&mut rng)).unwrap();
    let loss = core_tensor::ops::mse(&y, &y.zeros_like().unwrap()).unwrap();
    assert_eq!(core_tensor::tape::foreign(&loss), []);
    core_tensor::gradcheck::backward_both(&loss).unwrap();
    let sizes = AstgcnConfig { input_steps: 8, horizon: 3, input_channels: channels, num_blocks: 2, filters: 3 };
    let baseline = astgcn(sizes, &basis, store.var_builder().pp("astgcn")).unwrap();
    let y = baseline.forward(&x).unwrap();
    let loss = core_tensor::ops::mse(&y, &y.zeros_like().unwrap()).unwrap();
    assert_eq!(core_tensor::tape::foreign(&loss), []);
    core_tensor::gradcheck::backward_both(&loss).unwrap();
}
