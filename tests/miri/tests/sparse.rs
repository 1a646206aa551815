//! Sparse and segment kernels of core-tensor.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use core_tensor::sparse::{Index, Segments, SparsePattern, gather};
use miri_tests::{check, tensor};

/// Row 2 is empty, and column 0 too.
fn pattern() -> SparsePattern {
    SparsePattern::from_edges(4, 3, &[0, 0, 1, 3, 3], &[1, 2, 2, 2, 1]).unwrap()
}

#[test]
fn products() {
    let pattern = pattern();
    let entries = pattern.num_entries();
    check("matmul", &[tensor(&[3, 5], 1)], |x| pattern.matmul(&x[0]));
    check("segment_mean", &[tensor(&[3, 5], 1)], |x| pattern.segment_mean(&x[0]));
    check("matmul_weighted", &[tensor(&[entries], 1), tensor(&[3, 5], 2)], |x| pattern.matmul_weighted(&x[0], &x[1]));
    check("sum_entries", &[tensor(&[entries, 2], 1)], |x| pattern.sum_entries(&x[0]));
    check("sampled_dot", &[tensor(&[4, 5], 1), tensor(&[3, 5], 2)], |x| pattern.sampled_dot(&x[0], &x[1]));
}

#[test]
fn rows_and_columns_at_entries() {
    let pattern = pattern();
    check("gather_rows", &[tensor(&[4, 3], 1)], |x| pattern.gather_rows(&x[0]));
    check("gather_cols", &[tensor(&[3, 3], 1)], |x| pattern.gather_cols(&x[0]));
    let rows = Index::new(&[2, 0, 2, 3], 4).unwrap();
    check("gather", &[tensor(&[4, 3], 1)], |x| rows.gather(&x[0]));
    check("gather once", &[tensor(&[4, 3], 1)], |x| gather(&x[0], &[1, 1, 3]));
}

#[test]
fn softmax_and_extrema_of_rows() {
    let pattern = pattern();
    let entries = pattern.num_entries();
    check("segment_softmax", &[tensor(&[entries, 2], 1)], |x| pattern.segment_softmax(&x[0]));
    check("segment_max", &[tensor(&[3, 5], 1)], |x| pattern.segment_max(&x[0]));
    check("segment_min", &[tensor(&[3, 5], 1)], |x| pattern.segment_min(&x[0]));
}

#[test]
fn segments() {
    let segments = Segments::new(&[1, 0, 1, 3, 1], 4).unwrap();
    let x = [tensor(&[5, 3], 1)];
    check("sum", &x, |x| segments.sum(&x[0]));
    check("mean", &x, |x| segments.mean(&x[0]));
    check("max", &x, |x| segments.max(&x[0]));
    check("min", &x, |x| segments.min(&x[0]));
    check("softmax", &x, |x| segments.softmax(&x[0]));
    check("broadcast", &[tensor(&[4, 3], 1)], |x| segments.broadcast(&x[0]));
}

/// More work than one task takes: with two threads in the pool, as CI has it, each writes rows of one matrix.
#[test]
fn threads_write_their_own_rows() {
    let rows: Vec<u32> = (0..20).flat_map(|row| [row; 20]).collect();
    let cols: Vec<u32> = (0..20).flat_map(|_| 0..20).collect();
    let pattern = SparsePattern::from_edges(20, 20, &rows, &cols).unwrap();
    let x = tensor(&[20, 180], 1);
    let y = pattern.matmul(&x).unwrap();
    let sums = x.sum(0).unwrap().to_vec1::<f64>().unwrap();
    for row in y.to_vec2::<f64>().unwrap() {
        assert!(row.iter().zip(&sums).all(|(a, b)| (a - b).abs() < 1e-9));
    }
}
