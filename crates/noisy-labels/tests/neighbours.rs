//! The nearest points: against brute force in f64, equal points, and wrong arguments.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use core_tensor::kernel::Real;
use noisy_labels::Error;
use noisy_labels::neighbours::{Metric, Points, nearest, nearest_others};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn brute<T: Real>(
    references: &[T],
    queries: &[T],
    width: usize,
    k: usize,
    metric: Metric,
    without: bool,
) -> (Vec<u32>, Vec<f64>) {
    let unit = |row: &[T]| -> Vec<f64> {
        let length = match metric {
            Metric::Euclidean => 1.,
            Metric::Cosine => row.iter().map(|v| v.to_f64() * v.to_f64()).sum::<f64>().sqrt(),
        };
        row.iter().map(|v| v.to_f64() * (1. / length)).collect()
    };
    let (mut indices, mut distances) = (Vec::new(), Vec::new());
    for (at, query) in queries.chunks(width).enumerate() {
        let query = unit(query);
        let mut all: Vec<(f64, u32)> = (0..)
            .zip(references.chunks(width))
            .filter(|(r, _)| !(without && *r as usize == at))
            .map(|(r, reference)| (query.iter().zip(unit(reference)).map(|(a, b)| (a - b) * (a - b)).sum(), r))
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for &(square, index) in &all[..k] {
            indices.push(index);
            distances.push(if metric == Metric::Cosine { 0.5 * square } else { square.sqrt() });
        }
    }
    (indices, distances)
}

fn check<T: Real>(references: &[T], queries: &[T], width: usize, k: usize) {
    for metric in [Metric::Euclidean, Metric::Cosine] {
        let found =
            nearest(Points::new(references, width).unwrap(), Points::new(queries, width).unwrap(), k, metric).unwrap();
        let (indices, distances) = brute(references, queries, width, k, metric, false);
        assert_eq!(found.indices(), indices, "{metric:?}");
        assert_eq!(found.distances(), distances, "{metric:?}");
        if k < references.len() / width {
            let found = nearest_others(Points::new(references, width).unwrap(), k, metric).unwrap();
            let (indices, _) = brute(references, references, width, k, metric, true);
            assert_eq!(found.indices(), indices, "{metric:?}");
        }
    }
}

proptest! {
    /// Few distinct values and large offsets, so that ties and cancellation are common.
    #[test]
    fn they_are_those_of_brute_force(
        seed in 0u64..10_000, count in 1usize..90, asked in 1usize..80, width in 1usize..9, k in 1usize..12,
        offset in prop_oneof![Just(0.), Just(1000.), Just(-1e6)], levels in 2u32..50,
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut values = |rows: usize| -> Vec<f64> {
            (0..rows * width).map(|_| offset + f64::from(rng.random_range(1..=levels)) * 0.37).collect()
        };
        let (references, queries) = (values(count), values(asked));
        check(&references, &queries, width, k.min(count));
        let single = |values: &[f64]| -> Vec<f32> { values.iter().map(|&v| v as f32).collect() };
        check(&single(&references), &single(&queries), width, k.min(count));
    }
}

#[test]
fn many_blocks_are_one_search() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut values = |rows: usize| -> Vec<f32> { (0..rows * 24).map(|_| rng.random_range(-1f32..1.)).collect() };
    let (references, queries) = (values(2500), values(150));
    check(&references, &queries, 24, 10);
}

#[test]
fn equal_points_are_at_distance_zero() {
    let base = [0.1f32, -7.3, 1e4];
    let near = [0.1f32, -7.3, 1e4 + 0.001];
    // Eleven equal references, and one that is a hair away.
    let mut references: Vec<f32> = near.to_vec();
    (0..11).for_each(|_| references.extend(base));
    let found =
        nearest(Points::new(&references, 3).unwrap(), Points::new(&base, 3).unwrap(), 10, Metric::Euclidean).unwrap();
    assert_eq!(found.indices(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(found.distances(), [0.; 10]);
    let far = [1f64 + 1e-9, 2., 1., 2.];
    let found =
        nearest(Points::new(&far, 2).unwrap(), Points::new(&[1., 2.], 2).unwrap(), 2, Metric::Euclidean).unwrap();
    assert_eq!(found.indices(), [1, 0]);
    assert!(found.distances()[0] == 0. && (found.distances()[1] - 1e-9).abs() < 1e-15);
    let cosine =
        nearest(Points::new(&[3f32, 4., 1., 0.], 2).unwrap(), Points::new(&[3., 4.], 2).unwrap(), 2, Metric::Cosine)
            .unwrap();
    assert_eq!(cosine.indices(), [0, 1]);
    assert!(cosine.distances()[0] == 0. && (cosine.distances()[1] - 0.4).abs() < 1e-15);
}

#[test]
fn wrong_arguments_are_errors() {
    let one = Points::new(&[1f32, 2., 3., 4.], 2).unwrap();
    for k in [0, 3] {
        assert!(matches!(nearest(one, one, k, Metric::Euclidean), Err(Error::InvalidConfig { .. })));
    }
    assert!(nearest_others(one, 2, Metric::Euclidean).is_err());
    let wide = Points::new(&[1f32, 2., 3., 4.], 4).unwrap();
    assert!(matches!(nearest(one, wide, 1, Metric::Euclidean), Err(Error::Length { .. })));
    assert!(matches!(Points::new(&[1f32], 0), Err(Error::Empty { .. })));
    assert!(matches!(Points::new(&[1f32, 2., 3.], 2), Err(Error::Length { .. })));
    for bad in [f32::NAN, f32::INFINITY] {
        assert!(matches!(Points::new(&[1., bad], 2), Err(Error::Value { position: 1, .. })));
    }
    let zero = Points::new(&[0f32, 0., 1., 1.], 2).unwrap();
    assert!(matches!(nearest(zero, one, 1, Metric::Cosine), Err(Error::Value { position: 0, .. })));
    let large = Points::new(&[1e30f32, 2., -1e30, 4.], 2).unwrap();
    assert!(matches!(nearest(large, one, 1, Metric::Euclidean), Err(Error::Value { .. })));
    let empty = Points::<f32>::new(&[], 3).unwrap();
    assert!(
        nearest(empty, empty, 1, Metric::Euclidean).is_err() && nearest_others(empty, 1, Metric::Euclidean).is_err()
    );
}
