//! Splits, minibatches of graphs and samples of neighbours.

use candle_core::{DType, Device, Tensor};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::sparse::gather;
use gnn::conv::{Convolution, ConvolutionKind, GatConfig, gat_conv, graph_conv};
use gnn::loader::{GraphSet, Split};
use gnn::sampling::sample_neighbors;
use gnn::{Adjacency, Error, Graph};
use proptest::prelude::*;

const CPU: Device = Device::Cpu;

fn count(items: &[u32], labels: &[u32], class: u32) -> f64 {
    items.iter().filter(|&&item| labels[item as usize] == class).count() as f64
}

proptest! {
    #[test]
    fn splits_partition_the_items_with_each_class_in_proportion(
        labels in prop::collection::vec(0u32..5, 0..200), shares in (0.0f64..0.5, 0.0f64..0.5), seed in 0u64..100
    ) {
        let (validation, test) = shares;
        let split = Split::stratified(&labels, validation, test, &mut Rng::new(seed)).unwrap();
        prop_assert_eq!(&split, &Split::stratified(&labels, validation, test, &mut Rng::new(seed)).unwrap());
        let n = labels.len() as f64;
        prop_assert_eq!(split.test.len() as f64, (test * n).round());
        let mut all = [split.train.clone(), split.validation.clone(), split.test.clone()].concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..labels.len() as u32).collect::<Vec<_>>());
        for class in 0..5 {
            let members = labels.iter().filter(|&&label| label == class).count() as f64;
            let share = (test * n).round() / n.max(1.0);
            prop_assert!((count(&split.test, &labels, class) - members * share).abs() < 1.0);
            prop_assert!((count(&split.validation, &labels, class) - members * (validation * n).round() / n.max(1.0)).abs() < 2.0);
        }
    }

    #[test]
    fn folds_test_each_item_once(labels in prop::collection::vec(0u32..4, 6..100), folds in 3usize..6, seed in 0u64..100) {
        let splits = Split::stratified_folds(&labels, folds, &mut Rng::new(seed)).unwrap();
        let mut tested: Vec<u32> = splits.iter().flat_map(|split| split.test.clone()).collect();
        tested.sort_unstable();
        prop_assert_eq!(tested, (0..labels.len() as u32).collect::<Vec<_>>());
        for class in 0..4 {
            let counts: Vec<f64> = splits.iter().map(|split| count(&split.test, &labels, class)).collect();
            let spread = counts.iter().copied().fold(0.0, f64::max) - counts.iter().copied().fold(f64::MAX, f64::min);
            prop_assert!(spread <= 1.0, "{:?}", counts);
        }
        for split in &splits {
            prop_assert_eq!(split.train.len() + split.validation.len() + split.test.len(), labels.len());
        }
    }
}

#[test]
fn splits_of_impossible_shares_are_errors() {
    for (validation, test) in [(-0.1, 0.1), (0.6, 0.5), (f64::NAN, 0.1), (0.1, f64::INFINITY)] {
        let result = Split::stratified(&[0, 1], validation, test, &mut Rng::new(0));
        assert!(matches!(result, Err(Error::InvalidConfig { .. })), "{validation}, {test}");
    }
    assert!(Split::stratified(&[0, 1], 0.3, 0.7, &mut Rng::new(0)).unwrap().train.is_empty());
    assert!(Split::stratified_folds(&[0; 10], 2, &mut Rng::new(0)).is_err());
    assert!(Split::stratified_folds(&[0; 2], 3, &mut Rng::new(0)).is_err());
}

#[test]
fn an_epoch_visits_every_graph_once_with_its_features_and_label() {
    let graphs: Vec<Graph> = (1..8u32)
        .map(|n| Graph::from_edges(n as usize, &(1..n).map(|v| (0, v)).collect::<Vec<_>>()).unwrap())
        .collect();
    let features: Vec<Tensor> = (1..8usize).map(|n| Tensor::full(n as f32, (n, 2), &CPU).unwrap()).collect();
    let set = GraphSet::from_graphs(&graphs, features.clone(), (1..8).collect()).unwrap();
    let items = [6, 0, 2, 3, 5];
    let mut seen = Vec::new();
    for batch in set.minibatches(&items, 2, &mut Rng::new(1)).unwrap() {
        let batch = batch.unwrap();
        let labels = batch.labels.to_vec1::<u32>().unwrap();
        assert_eq!(labels, batch.items.iter().map(|item| item + 1).collect::<Vec<_>>());
        assert_eq!(batch.batch.graphs().counts(), labels);
        let sums = batch.batch.graphs().mean(&batch.x).unwrap().to_vec2::<f32>().unwrap();
        // the mean of seven sevens in f32 is not quite seven
        let sums: Vec<Vec<f32>> = sums.iter().map(|row| row.iter().map(|mean| mean.round()).collect()).collect();
        assert_eq!(sums, labels.iter().map(|&label| vec![label as f32; 2]).collect::<Vec<_>>());
        seen.extend(batch.items);
    }
    assert_eq!(seen.len(), 5);
    seen.sort_unstable();
    assert_eq!(seen, [0, 2, 3, 5, 6]);
    assert!(set.minibatches(&items, 0, &mut Rng::new(1)).is_err());
    assert!(matches!(set.batch(&[7]), Err(Error::OutOfRange { .. })) && set.batch(&[]).is_err());
    assert!(GraphSet::from_graphs(&graphs, features.clone(), vec![0; 6]).is_err());
    assert!(GraphSet::from_graphs(&graphs, features[..6].to_vec(), vec![0; 7]).is_err());
    assert!(GraphSet::from_graphs(&[], vec![], vec![]).is_err());
    let mut mixed = features;
    mixed[3] = mixed[3].to_dtype(DType::F64).unwrap();
    assert!(matches!(GraphSet::from_graphs(&graphs, mixed, vec![0; 7]), Err(Error::DType { .. })));
}

/// A random weighted graph with a loop.
fn graph() -> Graph {
    let mut rng = Rng::new(5);
    let mut edges: Vec<(u32, u32, f64)> =
        (0..60).map(|_| (rng.below(30) as u32, rng.below(30) as u32, 0.5 + rng.unit())).collect();
    edges.push((4, 4, 2.0));
    Graph::from_weighted_edges(30, &edges).expect("valid edges")
}

fn layers(store: &ParamStore) -> Vec<(&'static str, [Box<dyn Convolution>; 2])> {
    let two = |name: &'static str, build: &dyn Fn(usize, &str) -> Box<dyn Convolution>| {
        (name, [build(3, &format!("{name}.0")), build(4, &format!("{name}.1"))])
    };
    let kind = |kind: ConvolutionKind| {
        move |inputs: usize, name: &str| kind.build(inputs, 4, store.var_builder().pp(name)).expect("a layer")
    };
    vec![
        two("gcn", &kind(ConvolutionKind::Gcn)),
        two("sage", &kind(ConvolutionKind::Sage)),
        two("gin", &kind(ConvolutionKind::Gin)),
        two("weighted gin", &kind(ConvolutionKind::GinWeighted)),
        two("graph_conv", &|inputs, name| {
            Box::new(graph_conv(inputs, 4, store.var_builder().pp(name)).expect("a layer"))
        }),
        two("gat", &|inputs, name| {
            Box::new(gat_conv(GatConfig::new(inputs, 4), store.var_builder().pp(name)).expect("a layer"))
        }),
    ]
}

fn rows(x: &Tensor) -> Vec<Vec<f64>> {
    x.to_vec2().expect("rows")
}

#[test]
fn a_sample_of_all_neighbours_gives_the_seeds_what_the_whole_graph_gives() {
    let graph = graph();
    let whole = Adjacency::from_graph(&graph, DType::F64, &CPU).unwrap();
    let x = Rng::new(2).normal(0.0, 1.0, (30, 3), DType::F64, &CPU).unwrap();
    let seeds = [7, 4, 21];
    let sample = sample_neighbors(&graph, &seeds, &[usize::MAX; 2], &mut Rng::new(0), DType::F64, &CPU).unwrap();
    assert_eq!((sample.num_seeds, &sample.nodes[..3]), (3, &seeds[..]));
    let store = ParamStore::new(3, DType::F64, &CPU);
    for (name, [first, second]) in layers(&store) {
        let run = |x: &Tensor, adjacency: &Adjacency| {
            second.forward(&first.forward_relu(x, adjacency).unwrap(), adjacency).unwrap()
        };
        let expected = gather(&run(&x, &whole), &seeds).unwrap();
        let actual = run(&gather(&x, &sample.nodes).unwrap(), &sample.adjacency).narrow(0, 0, 3).unwrap();
        for (a, b) in rows(&actual).iter().flatten().zip(rows(&expected).iter().flatten()) {
            assert!((a - b).abs() <= 1e-12, "{name}: {a} against {b}");
        }
    }
}

#[test]
fn one_convolution_of_a_thinned_sample_is_right_on_average() {
    const DRAWS: usize = 4000;
    let graph = graph();
    let whole = Adjacency::from_graph(&graph, DType::F64, &CPU).unwrap();
    let x = Rng::new(2).normal(0.0, 1.0, (30, 3), DType::F64, &CPU).unwrap();
    let seeds: Vec<u32> = (0..30).collect();
    let store = ParamStore::new(3, DType::F64, &CPU);
    let mut rng = Rng::new(9);
    let samples: Vec<_> =
        (0..DRAWS).map(|_| sample_neighbors(&graph, &seeds, &[2], &mut rng, DType::F64, &CPU).unwrap()).collect();
    assert!(samples[0].adjacency.num_entries() < whole.num_entries());
    let unbiased = ["gcn", "sage", "graph_conv"];
    for (name, [layer, _]) in layers(&store).into_iter().filter(|(name, _)| unbiased.contains(name)) {
        let expected = rows(&layer.forward(&x, &whole).unwrap());
        let mut sum = vec![vec![(0.0, 0.0); 4]; 30];
        for sample in &samples {
            let out = rows(&layer.forward(&gather(&x, &sample.nodes).unwrap(), &sample.adjacency).unwrap());
            for (slot, value) in sum.iter_mut().flatten().zip(out.iter().flatten()) {
                *slot = (slot.0 + value, slot.1 + value * value);
            }
        }
        for (&(first, second), expected) in sum.iter().flatten().zip(expected.iter().flatten()) {
            let mean = first / DRAWS as f64;
            let error = ((second / DRAWS as f64 - mean * mean).max(0.0) / DRAWS as f64).sqrt();
            // five standard errors: 360 comparisons with a chance of 6e-7 each
            assert!((mean - expected).abs() <= 5.0 * error + 1e-12, "{name}: {mean} ± {error} against {expected}");
        }
    }
}

#[test]
fn samples_are_seeded_and_refuse_what_does_not_exist() {
    let graph = graph();
    let draw = |seeds: &[u32], fanouts: &[usize], seed| {
        sample_neighbors(&graph, seeds, fanouts, &mut Rng::new(seed), DType::F32, &CPU)
    };
    let key = |seed| {
        let sample = draw(&[1, 2], &[2, 2], seed).unwrap();
        (sample.nodes, sample.adjacency.sources().to_vec())
    };
    assert_eq!(key(1), key(1));
    assert!((2..9).any(|seed| key(seed) != key(1)));
    assert!(draw(&[], &[2], 0).is_err() && draw(&[1, 1], &[2], 0).is_err() && draw(&[1], &[0], 0).is_err());
    assert!(matches!(draw(&[30], &[2], 0), Err(Error::OutOfRange { .. })));
    assert_eq!(draw(&[3], &[], 0).unwrap().nodes, [3]);
}
