//! The sparse kernels against their compositions, against finite differences, and against themselves on other threads.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::gradcheck::gradcheck;
use core_tensor::random::Rng;
use core_tensor::sparse::{Index, Segments, SparsePattern, gather, reference};
use core_tensor::{Error, Result};
use proptest::prelude::*;

fn normal(seed: u64, shape: impl Into<candle_core::Shape>) -> Tensor {
    Rng::new(seed).normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap()
}

fn values(x: &Tensor) -> Vec<f64> {
    x.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

fn assert_close(a: &Tensor, b: &Tensor, tolerance: f64) {
    assert_eq!(a.dims(), b.dims());
    for (a, b) in values(a).into_iter().zip(values(b)) {
        assert!((a - b).abs() <= tolerance * (1. + a.abs().max(b.abs())), "{a} {b}");
    }
}

/// Duplicates, an empty row (2), an empty column (3), not square.
fn example() -> SparsePattern {
    SparsePattern::from_edges(4, 5, &[0, 3, 0, 1, 0, 3, 3], &[1, 0, 1, 2, 4, 0, 2]).unwrap()
}

#[test]
fn a_pattern_knows_its_entries_in_both_directions() {
    let p = example();
    assert_eq!((p.num_rows(), p.num_cols(), p.num_entries()), (4, 5, 7));
    assert_eq!(p.row_degrees(), [3, 1, 0, 3]);
    assert_eq!(p.col_degrees(), [2, 2, 2, 0, 1]);
    assert_eq!(p.row_entries(0), Some(&[0, 2, 4][..]));
    assert_eq!(p.row_cols(3), Some(&[0, 0, 2][..]));
    assert_eq!(p.row_entries(4), None);
    let t = p.transpose();
    assert_eq!((t.num_rows(), t.num_cols()), (5, 4));
    assert_eq!(t.row_entries(0), Some(&[1, 5][..]));
    assert_eq!(t.transpose().rows(), p.rows());
}

#[test]
fn indices_and_lengths_are_checked() {
    assert!(matches!(
        SparsePattern::from_edges(2, 2, &[0, 2], &[0, 0]),
        Err(Error::OutOfRange { what: "rows", position: 1, index: 2, bound: 2, .. })
    ));
    assert!(matches!(SparsePattern::from_edges(2, 2, &[0], &[u32::MAX]), Err(Error::OutOfRange { what: "cols", .. })));
    assert!(matches!(SparsePattern::from_edges(2, 2, &[0], &[]), Err(Error::Length { .. })));
    assert!(matches!(SparsePattern::from_edges(usize::MAX, 2, &[], &[]), Err(Error::TooLarge { .. })));
    assert!(Segments::new(&[0, 3], 3).is_err());
    assert!(Index::new(&[5], 5).is_err());
    assert!(gather(&Tensor::new(1f32, &Device::Cpu).unwrap(), &[0]).is_err());
}

#[test]
fn wrong_shapes_and_dtypes_are_errors() {
    let p = example();
    let x = normal(0, (5, 3));
    assert!(p.matmul(&normal(0, (4, 3))).is_err());
    assert!(p.matmul(&normal(0, ())).is_err());
    assert!(p.matmul(&x.to_dtype(DType::U32).unwrap()).is_err());
    assert!(p.matmul_weighted(&normal(0, 6), &x).is_err());
    assert!(p.matmul_weighted(&normal(0, (7, 2)), &x).is_err());
    assert!(p.matmul_weighted(&normal(0, 7).to_dtype(DType::F32).unwrap(), &x).is_err());
    assert!(p.sampled_dot(&normal(0, (4, 2)), &x).is_err());
    assert!(p.sampled_dot(&normal(0, 4), &normal(0, 5)).is_err());
    assert!(p.segment_softmax(&normal(0, (7, 1, 1))).is_err());
    assert!(p.segment_max(&normal(0, (4, 3))).is_err());
    assert!(p.sum_entries(&normal(0, 8)).is_err());
    assert!(p.gather_rows(&x).is_err());
}

#[test]
fn empty_patterns_and_empty_features_give_zeros() {
    let p = SparsePattern::from_edges(3, 0, &[], &[]).unwrap();
    assert_eq!(values(&p.matmul(&normal(0, (0, 2))).unwrap()), [0.; 6]);
    assert_eq!(values(&p.segment_max(&normal(0, (0, 2))).unwrap()), [0.; 6]);
    assert_eq!(values(&p.matmul_weighted(&normal(0, 0), &normal(0, (0, 2))).unwrap()), [0.; 6]);
    assert_eq!(p.segment_softmax(&normal(0, 0)).unwrap().dims(), [0]);
    assert_eq!(p.sampled_dot(&normal(0, (3, 2)), &normal(0, (0, 2))).unwrap().dims(), [0]);
    assert_eq!(p.transpose().matmul(&normal(0, (3, 2))).unwrap().dims(), [0, 2]);
    assert_eq!(example().matmul(&normal(0, (5, 0))).unwrap().dims(), [4, 0]);
    assert_eq!(example().segment_max(&normal(0, (5, 0))).unwrap().dims(), [4, 0]);
    assert_eq!(example().matmul_weighted(&normal(0, (7, 0)), &normal(0, (5, 0, 3))).unwrap().dims(), [4, 0, 3]);
    assert_eq!(gather(&normal(0, (3, 2)), &[]).unwrap().dims(), [0, 2]);
    let nothing = SparsePattern::from_edges(0, 0, &[], &[]).unwrap();
    assert_eq!(nothing.segment_mean(&normal(0, (0, 4))).unwrap().dims(), [0, 4]);
    assert_eq!(Segments::new(&[], 0).unwrap().sum(&normal(0, (0, 4))).unwrap().dims(), [0, 4]);
}

#[test]
fn gradients_of_the_products_are_right() -> Result<()> {
    let p = example();
    // Widths on both sides of the register blocks of 64 and 16.
    for width in [1, 3, 16, 19] {
        gradcheck(|x| p.matmul(&x[0]), &[normal(1, (5, width))])?;
        gradcheck(|x| p.segment_mean(&x[0]), &[normal(1, (5, width))])?;
        gradcheck(|x| p.matmul_weighted(&x[0], &x[1]), &[normal(2, 7), normal(3, (5, width))])?;
        gradcheck(|x| p.sampled_dot(&x[0], &x[1]), &[normal(2, (4, width)), normal(3, (5, width))])?;
        gradcheck(|x| p.segment_max(&x[0]), &[normal(4, (5, width))])?;
        gradcheck(|x| p.segment_min(&x[0]), &[normal(4, (5, width))])?;
    }
    gradcheck(|x| p.matmul(&x[0]), &[normal(1, 5)])?;
    gradcheck(|x| p.matmul(&x[0]), &[normal(1, (5, 2, 3))])?;
    gradcheck(|x| p.matmul_weighted(&x[0], &x[1]), &[normal(2, (7, 2)), normal(3, (5, 2, 3))])?;
    gradcheck(|x| p.matmul_weighted(&x[0], &x[1]), &[normal(2, (7, 2)), normal(3, (5, 2))])?;
    gradcheck(|x| p.sampled_dot(&x[0], &x[1]), &[normal(2, (4, 2, 3)), normal(3, (5, 2, 3))])?;
    gradcheck(|x| p.segment_softmax(&x[0]), &[normal(5, 7)])?;
    gradcheck(|x| p.segment_softmax(&x[0]), &[normal(5, (7, 3))])?;
    gradcheck(|x| p.sum_entries(&x[0]), &[normal(6, (7, 2))])?;
    gradcheck(|x| p.gather_rows(&x[0]), &[normal(6, (4, 2))])?;
    gradcheck(|x| p.gather_cols(&x[0]), &[normal(6, (5, 2))])?;
    gradcheck(|x| gather(&x[0], &[2, 0, 2, 2]), &[normal(6, (3, 2))])
}

#[test]
fn gradients_survive_views() -> Result<()> {
    let p = example();
    gradcheck(|x| p.matmul(&x[0].t()?), &[normal(1, (3, 5))])?;
    gradcheck(|x| p.matmul(&x[0].narrow(0, 1, 5)?.narrow(1, 1, 2)?), &[normal(1, (7, 4))])?;
    gradcheck(|x| p.matmul(&x[0].broadcast_as((5, 3))?), &[normal(1, (1, 3))])?;
    gradcheck(|x| Ok(p.matmul_weighted(&x[0].narrow(0, 2, 7)?, &x[1].t()?)?.t()?), &[normal(2, 9), normal(3, (2, 5))])?;
    gradcheck(|x| Ok(p.segment_max(&x[0].t()?)?.t()?), &[normal(1, (3, 5))])?;
    gradcheck(|x| Ok(p.segment_softmax(&x[0].t()?)?.t()?), &[normal(1, (3, 7))])?;
    gradcheck(|x| Ok(gather(&x[0].t()?, &[1, 1, 0])?.t()?), &[normal(1, (2, 3))])
}

#[test]
fn gradients_of_segments_are_right() -> Result<()> {
    let s = Segments::new(&[2, 0, 2, 2, 0], 4)?;
    assert_eq!(s.counts(), [2, 0, 3, 0]);
    for reduce in [Segments::sum, Segments::mean, Segments::max, Segments::min] {
        gradcheck(|x| reduce(&s, &x[0]), &[normal(7, (5, 3))])?;
    }
    gradcheck(|x| s.softmax(&x[0]), &[normal(7, 5)])?;
    gradcheck(|x| s.broadcast(&x[0]), &[normal(7, (4, 2))])
}

#[test]
fn the_gradient_of_a_tied_maximum_goes_to_the_lowest_entry() {
    let p = SparsePattern::from_edges(1, 3, &[0, 0, 0], &[2, 1, 0]).unwrap();
    let x = Var::new(&[[1f32], [1.], [1.]], &Device::Cpu).unwrap();
    let grads = p.segment_max(&x).unwrap().backward().unwrap();
    assert_eq!(values(grads.get(&x).unwrap()), [0., 0., 1.]);
}

#[test]
fn a_nan_among_the_neighbours_is_the_extremum() {
    for nan_at in 0..3 {
        let mut x = [1f32, 2., 3.];
        x[nan_at] = f32::NAN;
        let x = Tensor::new(&x, &Device::Cpu).unwrap();
        let s = Segments::new(&[0, 0, 0], 1).unwrap();
        assert!(values(&s.max(&x).unwrap())[0].is_nan());
        assert!(values(&s.min(&x).unwrap())[0].is_nan());
    }
}

#[test]
fn softmax_is_stable_for_large_scores() {
    let s = Segments::new(&[0, 0, 1], 2).unwrap();
    let p = s.softmax(&Tensor::new(&[1e4f32, 1e4, -1e4], &Device::Cpu).unwrap()).unwrap();
    assert_eq!(values(&p), [0.5, 0.5, 1.]);
}

#[test]
fn the_value_gradient_is_skipped_for_constant_values() {
    let p = example();
    let x = Var::from_tensor(&normal(0, (5, 3))).unwrap();
    let weights = normal(1, 7);
    let grads = p.matmul_weighted(&weights, &x).unwrap().sum_all().unwrap().backward().unwrap();
    assert!(grads.get(&x).is_some());
    assert!(grads.get(&weights).is_none());
}

/// Large enough that every kernel is cut into several tasks.
fn large() -> (SparsePattern, Tensor, Tensor) {
    let mut rng = Rng::new(11);
    let (rows, cols, entries) = (700, 900, 20_000);
    // A hub, so that tasks are uneven.
    let row_ids: Vec<u32> = (0..entries).map(|e| if e % 5 == 0 { 3 } else { rng.below(rows) as u32 }).collect();
    let col_ids: Vec<u32> = (0..entries).map(|_| rng.below(cols) as u32).collect();
    let p = SparsePattern::from_edges(rows, cols, &row_ids, &col_ids).unwrap();
    let x = rng.normal(0., 1., (cols, 70), DType::F32, &Device::Cpu).unwrap();
    let w = rng.normal(0., 1., entries, DType::F32, &Device::Cpu).unwrap();
    (p, x, w)
}

/// Outputs and gradients of every operation, as bits.
fn all_bits() -> Vec<u32> {
    let (p, x, w) = large();
    let (x, w) = (Var::from_tensor(&x).unwrap(), Var::from_tensor(&w).unwrap());
    let attention = p.segment_softmax(&w).unwrap();
    let outputs = [
        p.matmul(&x).unwrap(),
        p.segment_mean(&x).unwrap(),
        p.matmul_weighted(&attention, &x).unwrap(),
        p.segment_max(&x).unwrap(),
        p.segment_min(&x).unwrap(),
    ];
    let y = outputs.iter().skip(1).fold(outputs[0].clone(), |sum, y| (sum + y).unwrap());
    let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    let mut tensors = outputs.to_vec();
    tensors.extend([attention, grads.get(&x).unwrap().clone(), grads.get(&w).unwrap().clone()]);
    tensors.iter().flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap()).map(f32::to_bits).collect()
}

#[test]
fn one_two_and_three_threads_give_the_same_bits() {
    let with_threads = |n: usize| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(all_bits);
    let one = with_threads(1);
    assert!(one == with_threads(2));
    assert!(one == with_threads(3));
}

/// Random patterns with random data, small and odd.
fn cases() -> impl Strategy<Value = (SparsePattern, u64, usize, usize)> {
    (0..7_usize, 0..7_usize, 1..4_usize, 0..40_usize, any::<u64>()).prop_flat_map(|(rows, cols, heads, width, seed)| {
        let count = if rows == 0 || cols == 0 { 0 } else { 25 };
        prop::collection::vec((0..rows.max(1) as u32, 0..cols.max(1) as u32), 0..=count).prop_map(move |edges| {
            let (r, c): (Vec<u32>, Vec<u32>) = edges.into_iter().unzip();
            (SparsePattern::from_edges(rows, cols, &r, &c).unwrap(), seed, heads, width)
        })
    })
}

/// Value and gradients of `f`, and of its reference.
fn compare(fast: impl Fn(&[Tensor]) -> Result<Tensor>, slow: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) {
    let run = |f: &dyn Fn(&[Tensor]) -> Result<Tensor>| {
        let vars: Vec<Var> = inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let y = f(&tensors).unwrap();
        let seed = Rng::new(99).normal(0., 1., y.shape(), DType::F64, &Device::Cpu).unwrap();
        let grads = (&y * seed).unwrap().sum_all().unwrap().backward().unwrap();
        let grads = vars.iter().map(|v| grads.get(v).cloned().unwrap_or(v.zeros_like().unwrap())).collect::<Vec<_>>();
        (y.detach(), grads)
    };
    let ((a, grads_a), (b, grads_b)) = (run(&fast), run(&slow));
    // Sums of at most 25 terms of order 1 in another order, in f64.
    assert_close(&a, &b, 1e-12);
    for (a, b) in grads_a.iter().zip(&grads_b) {
        assert_close(a, b, 1e-12);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn kernels_equal_their_compositions((p, seed, heads, width) in cases()) {
        let x = normal(seed, (p.num_cols(), width));
        compare(|x| p.matmul(&x[0]), |x| reference::matmul(&p, &x[0]), std::slice::from_ref(&x));
        compare(|x| p.segment_mean(&x[0]), |x| reference::segment_mean(&p, &x[0]), std::slice::from_ref(&x));
        compare(|x| p.segment_max(&x[0]), |x| reference::segment_max(&p, &x[0]), std::slice::from_ref(&x));
        compare(|x| p.segment_min(&x[0]), |x| reference::segment_min(&p, &x[0]), std::slice::from_ref(&x));
        let (v, x) = (normal(seed ^ 1, (p.num_entries(), heads)), normal(seed ^ 2, (p.num_cols(), heads, width)));
        compare(
            |x| p.matmul_weighted(&x[0], &x[1]),
            |x| reference::matmul_weighted(&p, &x[0], &x[1]),
            &[v.clone(), x.clone()],
        );
        compare(|x| p.segment_softmax(&x[0]), |x| reference::segment_softmax(&p, &x[0]), &[v]);
        let left = normal(seed ^ 3, (p.num_rows(), heads, width));
        compare(
            |x| p.sampled_dot(&x[0], &x[1]),
            |x| reference::sampled_dot(&p, &x[0], &x[1], Some(heads)),
            &[left, x],
        );
    }

    #[test]
    fn ties_are_resolved_as_in_the_composition((p, seed, _, _) in cases()) {
        let x = (normal(seed, (p.num_cols(), 3)) * 1.5).unwrap().round().unwrap();
        compare(|x| p.segment_max(&x[0]), |x| reference::segment_max(&p, &x[0]), std::slice::from_ref(&x));
        compare(|x| p.segment_min(&x[0]), |x| reference::segment_min(&p, &x[0]), std::slice::from_ref(&x));
    }

    #[test]
    fn the_transpose_is_the_adjoint((p, seed, _, width) in cases()) {
        let (x, y) = (normal(seed, (p.num_cols(), width)), normal(seed ^ 5, (p.num_rows(), width)));
        let left = values(&(p.matmul(&x).unwrap() * &y).unwrap()).iter().sum::<f64>();
        let right = values(&(p.transpose().matmul(&y).unwrap() * &x).unwrap()).iter().sum::<f64>();
        prop_assert!((left - right).abs() < 1e-10 * (1. + left.abs()));
    }

    #[test]
    fn softmax_sums_to_one_in_every_filled_row((p, seed, heads, _) in cases()) {
        let scores = (normal(seed, (p.num_entries(), heads)) * 30.).unwrap();
        let sums = p.sum_entries(&p.segment_softmax(&scores).unwrap()).unwrap();
        for (at, sum) in values(&sums).into_iter().enumerate() {
            let expected = f64::from(u8::from(p.row_degrees()[at / heads] > 0));
            prop_assert!((sum - expected).abs() < 1e-12);
        }
    }
}

#[test]
fn row_blocks_are_a_masked_matrix() {
    use core_tensor::sparse::RowBlocks;
    // blocks of sizes that no tile divides, a row in no block, and more samples than a panel has
    let blocks = RowBlocks::new(
        23,
        19,
        &[
            ((0..10).map(|row| row * 2).collect(), (0..13).rev().collect()),
            (vec![1, 5, 3], vec![18, 2]),
            (vec![21], (0..19).collect()),
            (vec![22], vec![]),
        ],
    )
    .unwrap();
    assert_eq!(blocks.num_values(), 130 + 6 + 19);
    let mut rng = Rng::new(1);
    let mut normal = |shape: &[usize]| rng.normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap();
    let whole = normal(&[23, 19]);
    let values = blocks.values_of(&whole).unwrap();
    let dense = blocks.to_dense(&values).unwrap();
    for shape in [vec![1, 19], vec![49, 19], vec![2, 3, 19], vec![0, 19]] {
        let x = normal(&shape);
        let expected = core_tensor::ops::linear(&x, &dense, None).unwrap();
        let found = blocks.linear(&x, &values).unwrap();
        assert_eq!(found.dims(), expected.dims());
        if found.elem_count() > 0 {
            let difference = (&found - &expected).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            assert!(difference.to_scalar::<f64>().unwrap() < 1e-12);
            let narrow = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
            let found = blocks.linear(&narrow(&x), &narrow(&values)).unwrap().to_dtype(DType::F64).unwrap();
            let difference = (&found - &expected).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            assert!(difference.to_scalar::<f64>().unwrap() < 1e-4);
        }
    }
    gradcheck(|t| blocks.linear(&t[0], &t[1]), &[normal(&[3, 19]), values.clone()]).unwrap();
    gradcheck(|t| blocks.linear(&normal_like(&t[0]), &blocks.values_of(&t[0])?), &[whole]).unwrap();
    for wrong in [
        RowBlocks::new(2, 2, &[(vec![2], vec![0])]),
        RowBlocks::new(2, 2, &[(vec![0], vec![2])]),
        RowBlocks::new(2, 2, &[(vec![0, 0], vec![0])]),
        RowBlocks::new(2, 2, &[(vec![0], vec![0]), (vec![0], vec![1])]),
        RowBlocks::new(2, 2, &[(vec![0], vec![1, 1])]),
    ] {
        assert!(wrong.is_err());
    }
    assert!(blocks.linear(&normal(&[2, 18]), &values).is_err());
    assert!(blocks.linear(&normal(&[2, 19]), &normal(&[3])).is_err());
    assert!(blocks.values_of(&normal(&[19, 23])).is_err());
}

#[test]
fn convolutions_of_row_blocks_are_masked_ones() {
    use core_tensor::ops::{Conv2dConfig, conv2d};
    use core_tensor::sparse::RowBlocks;
    let mut rng = Rng::new(2);
    let mut draw = |shape: &[usize]| rng.normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap();
    let far = |a: &Tensor, b: &Tensor| -> f64 {
        assert_eq!(a.dims(), b.dims());
        if a.elem_count() == 0 {
            return 0.;
        }
        (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
    };
    // channels, kernel, stride, padding, dilation, plane
    for (inputs, kernel, stride, padding, dilation, plane) in [
        (3, (3, 3), (1, 1), (1, 1), (1, 1), (5, 7)),
        (2, (3, 3), (2, 2), (1, 1), (1, 1), (9, 9)),
        (2, (3, 3), (2, 1), (0, 1), (1, 1), (8, 5)),
        (4, (1, 1), (1, 1), (0, 0), (1, 1), (3, 3)),
        (4, (1, 1), (2, 2), (0, 0), (1, 1), (5, 5)),
        (2, (2, 3), (1, 1), (2, 0), (2, 1), (6, 6)),
        (130, (3, 3), (1, 1), (1, 1), (1, 1), (2, 2)),
    ] {
        let columns: usize = inputs * kernel.0 * kernel.1;
        let wide = columns as u32;
        let blocks = RowBlocks::new(
            21,
            columns,
            &[
                ((0..10).map(|row| row * 2).collect(), (0..wide - 1).rev().collect()),
                (vec![5, 3], vec![wide - 1, 0]),
                (vec![1], vec![]),
            ],
        )
        .unwrap();
        let (whole, bias) = (draw(&[21, columns]), draw(&[21]));
        let values = blocks.values_of(&whole).unwrap();
        let config = Conv2dConfig { stride, padding, dilation, groups: 1 };
        let dense = blocks.to_dense(&values).unwrap().reshape((21, inputs, kernel.0, kernel.1)).unwrap();
        for images in [0, 1, 2, 15, 16, 17] {
            let x = draw(&[images, inputs, plane.0, plane.1]);
            let expected = conv2d(&x, &dense, Some(&bias), &config).unwrap();
            let found = blocks.conv2d(&x, &values, Some(&bias), kernel, &config).unwrap();
            assert!(far(&found, &expected) < 1e-11, "{config:?}, {images} images");
            let narrow = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
            let found = blocks.conv2d(&narrow(&x), &narrow(&values), None, kernel, &config).unwrap();
            let expected = conv2d(&x, &dense, None, &config).unwrap();
            assert!(far(&found.to_dtype(DType::F64).unwrap(), &expected) < 1e-4, "{config:?}, {images} images");
        }
        if inputs < 10 {
            let inputs = [draw(&[2, inputs, plane.0, plane.1]), values.clone(), bias];
            gradcheck(|t| blocks.conv2d(&t[0], &t[1], Some(&t[2]), kernel, &config), &inputs).unwrap();
        }
        let config = Conv2dConfig { groups: 2, ..config };
        assert!(blocks.conv2d(&draw(&[1, inputs, 9, 9]), &values, None, kernel, &config).is_err());
        let config = Conv2dConfig { groups: 1, ..config };
        assert!(blocks.conv2d(&draw(&[1, inputs, 9, 9]), &values, None, (0, 3), &config).is_err());
        assert!(blocks.conv2d(&draw(&[1, inputs + 1, 9, 9]), &values, None, kernel, &config).is_err());
        assert!(blocks.conv2d(&draw(&[1, inputs, 9]), &values, None, kernel, &config).is_err());
    }
}

/// Some fixed input.
fn normal_like(_: &Tensor) -> Tensor {
    Rng::new(9).normal(0., 1., (4, 19), DType::F64, &Device::Cpu).unwrap()
}
