//! Arithmetic with broadcasting, sums over dimensions, joined and selected parts: against Candle, finite differences, and wrong arguments.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{D, DType, Device, Tensor};
use core_tensor::gradcheck::gradcheck;
use core_tensor::random::Rng;
use core_tensor::{Error, ops};
use std::slice::from_ref;

fn random(seed: u64, shape: &[usize]) -> Tensor {
    let mut rng = Rng::new(seed);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| 0.5 + rng.below(1000) as f64 / 1000.).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn values(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

type Binary = fn(&Tensor, &Tensor) -> core_tensor::Result<Tensor>;
type Candles = fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>;

#[test]
fn arithmetic_repeats_dimensions_as_candle_does() {
    let shapes: [(&[usize], &[usize]); 12] = [
        (&[3, 4], &[3, 4]),
        (&[3, 4], &[4]),
        (&[3, 4], &[3, 1]),
        (&[3, 1], &[1, 4]),
        (&[2, 3, 4], &[3, 1]),
        (&[2, 3, 4], &[2, 1, 4]),
        (&[4], &[2, 3, 4]),
        (&[2, 1, 2, 1, 2], &[1, 3, 1, 2, 1]),
        (&[], &[2, 3]),
        (&[], &[]),
        (&[1, 1], &[3]),
        (&[0, 3], &[3]),
    ];
    let operations: [(Binary, Candles); 4] = [
        (ops::add, Tensor::broadcast_add),
        (ops::sub, Tensor::broadcast_sub),
        (ops::mul, Tensor::broadcast_mul),
        (ops::div, Tensor::broadcast_div),
    ];
    for (a_shape, b_shape) in shapes {
        let (a, b) = (random(1, a_shape), random(2, b_shape));
        for (ours, candles) in operations {
            let (found, expected) = (ours(&a, &b).unwrap(), candles(&a, &b).unwrap());
            assert_eq!(found.shape(), expected.shape(), "{a_shape:?} {b_shape:?}");
            assert_eq!(values(&found), values(&expected), "{a_shape:?} {b_shape:?}");
            gradcheck(|x| ours(&x[0], &x[1]), &[a.clone(), b.clone()]).unwrap();
            // one argument alone is on the tape, on either side, and both are the same
            gradcheck(|x| ours(&x[0], &b), from_ref(&a)).unwrap();
            gradcheck(|x| ours(&a, &x[0]), from_ref(&b)).unwrap();
            gradcheck(|x| ours(&x[0], &x[0]), from_ref(&a)).unwrap();
        }
    }
    // large ones in f32, cut over threads
    for (a, b) in [([700, 300], [700, 300]), ([700, 300], [1, 300]), ([700, 300], [700, 1]), ([1, 300], [700, 1])] {
        let (a, b) = (random(3, &a).to_dtype(DType::F32).unwrap(), random(4, &b).to_dtype(DType::F32).unwrap());
        for (ours, candles) in operations {
            assert_eq!(values(&ours(&a, &b).unwrap()), values(&candles(&a, &b).unwrap()));
        }
    }
}

#[test]
fn sums_and_means_over_dimensions() {
    let x = random(5, &[3, 4, 2, 5]);
    let choices: [&[usize]; 8] = [&[0], &[3], &[1, 2], &[0, 3], &[2, 0], &[0, 1, 2, 3], &[], &[1]];
    for dims in choices {
        let found = ops::sum_keepdim(&x, dims).unwrap();
        let expected = x.sum_keepdim(dims).unwrap();
        assert_eq!(found.shape(), expected.shape());
        assert!(values(&found).iter().zip(values(&expected)).all(|(a, b)| (a - b).abs() < 1e-12), "{dims:?}");
        gradcheck(|x| ops::sum_keepdim(&x[0], dims), from_ref(&x)).unwrap();
        gradcheck(|x| ops::mean_keepdim(&x[0], dims), from_ref(&x)).unwrap();
    }
    // long rows in f32 lose nothing that matters
    let ones = Tensor::ones((2, 3_000_000), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(values(&ops::sum_keepdim(&ones, &[1]).unwrap()), [3e6, 3e6]);
    assert!(matches!(ops::sum_keepdim(&x, &[4]), Err(Error::Shape { .. })));
    assert!(matches!(ops::sum_keepdim(&x, &[1, 1]), Err(Error::Shape { .. })));
    let empty = Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(values(&ops::sum_keepdim(&empty, &[0]).unwrap()), [0.; 3]);
    assert!(ops::mean_keepdim(&empty, &[0]).is_err());
}

#[test]
fn functions_of_one_element() {
    let x = random(6, &[3, 5]);
    type Unary = fn(&Tensor) -> core_tensor::Result<Tensor>;
    type CandlesUnary = fn(&Tensor) -> candle_core::Result<Tensor>;
    let functions: [(Unary, CandlesUnary); 7] = [
        (|x| ops::affine(x, -1.5, 0.25), |x| x.affine(-1.5, 0.25)),
        (ops::sqr, Tensor::sqr),
        (ops::sqrt, Tensor::sqrt),
        (ops::ln, Tensor::log),
        (|x| ops::abs(&ops::affine(x, 1., -2.)?), |x| x.affine(1., -2.)?.abs()),
        (ops::sin, Tensor::sin),
        (ops::cos, Tensor::cos),
    ];
    for (ours, candles) in functions {
        assert!(
            values(&ours(&x).unwrap()).iter().zip(values(&candles(&x).unwrap())).all(|(a, b)| (a - b).abs() < 1e-15)
        );
        gradcheck(|x| ours(&x[0]), from_ref(&x)).unwrap();
    }
    let zero = candle_core::Var::zeros(2, DType::F64, &Device::Cpu).unwrap();
    let grads = core_tensor::backward(&ops::sum_all(&ops::abs(&zero).unwrap()).unwrap()).unwrap();
    assert_eq!(values(grads.get(&zero).unwrap()), [0.; 2]);
}

/// Beyond the limits of the vector forms too: large angles, and arguments that are not positive.
#[test]
fn special_functions_have_their_derivatives_everywhere() {
    let x = Tensor::new(&[0.02, 0.7, 1., 2.5, 7.99, 8., 30., -0.4, -2.6], &Device::Cpu).unwrap();
    for f in [ops::lgamma, ops::digamma, ops::trigamma] {
        gradcheck(|x| f(&x[0]), from_ref(&x)).unwrap();
        let single = f(&x.to_dtype(DType::F32).unwrap()).unwrap();
        for (found, expected) in values(&single).iter().zip(values(&f(&x).unwrap())) {
            assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.), "{found}, expected {expected}");
        }
    }
    let poles = Tensor::new(&[0., -3.], &Device::Cpu).unwrap();
    assert_eq!(values(&ops::lgamma(&poles).unwrap()), [f64::INFINITY; 2]);
    for angle in [1e16f32, -3.3e20, 1e38] {
        let x = candle_core::Var::new(&[angle, 0.5], &Device::Cpu).unwrap();
        let y = ops::sin(&x).unwrap();
        let grads = core_tensor::backward(&ops::sum_all(&y).unwrap()).unwrap();
        assert!((values(&y)[0] - f64::from(angle).sin()).abs() < 1e-6);
        assert!((values(grads.get(&x).unwrap())[0] - f64::from(angle).cos()).abs() < 1e-6);
    }
}

#[test]
fn parts_are_joined_and_selected() {
    for count in [1, 2, 3, 4, 10] {
        for dim in 0..3 {
            let parts: Vec<Tensor> = (0..count)
                .map(|at| {
                    let mut shape = [2, 3, 2];
                    shape[dim] = 1 + at as usize % 3;
                    random(at, &shape)
                })
                .collect();
            let of = |x: &[Tensor]| ops::cat(x, dim);
            assert_eq!(values(&of(&parts).unwrap()), values(&Tensor::cat(&parts, dim).unwrap()));
            gradcheck(of, &parts).unwrap();
        }
        let parts: Vec<Tensor> = (0..count).map(|at| random(at, &[2, 3])).collect();
        for dim in 0..3 {
            let of = |x: &[Tensor]| ops::stack(x, dim);
            let (found, expected) = (of(&parts).unwrap(), Tensor::stack(&parts, dim).unwrap());
            assert_eq!((found.dims(), values(&found)), (expected.dims(), values(&expected)));
            gradcheck(of, &parts).unwrap();
        }
    }
    let x = random(7, &[3, 4, 2]);
    for dim in 0..3 {
        let ids = Tensor::new(&[1u32, 0, 1, 1], &Device::Cpu).unwrap();
        let found = ops::index_select(&x, &ids, dim).unwrap();
        assert_eq!(values(&found), values(&x.index_select(&ids, dim).unwrap()));
        gradcheck(|x| ops::index_select(&x[0], &ids, dim), from_ref(&x)).unwrap();
    }
    for order in [[0, 2, 1], [2, 1, 0], [1, 2, 0], [2, 0, 1], [1, 0, 2]] {
        let turned = x.permute(order).unwrap();
        assert_eq!(values(&ops::to_contiguous(&turned).unwrap()), values(&turned.contiguous().unwrap()));
        gradcheck(|x| ops::to_contiguous(&x[0].permute(order)?), from_ref(&x)).unwrap();
    }
    gradcheck(|x| ops::to_contiguous(&x[0].narrow(1, 1, 2)?.transpose(0, 2)?), from_ref(&x)).unwrap();
    gradcheck(|x| ops::to_contiguous(&x[0].narrow(D::Minus1, 1, 1)?.broadcast_as((3, 4, 3))?), &[x]).unwrap();
}

#[test]
fn one_of_two_by_a_mask() {
    let (a, b) = (random(0, &[4, 5]), random(1, &[4, 5]));
    let mask = a.gt(&b).unwrap();
    assert_eq!(values(&ops::where_cond(&mask, &a, &b).unwrap()), values(&mask.where_cond(&a, &b).unwrap()));
    gradcheck(|x| ops::where_cond(&mask, &x[0], &x[1]), &[a.clone(), b.clone()]).unwrap();
    gradcheck(|x| ops::where_cond(&mask, &a, &x[0]), &[b]).unwrap();
    // what is not chosen has no part in the gradient, though it be infinite
    let zero = candle_core::Var::zeros(3, DType::F64, &Device::Cpu).unwrap();
    let safe = ops::where_cond(&zero.gt(0.).unwrap(), &ops::affine(&zero, 1., 0.).unwrap(), &zero.ones_like().unwrap());
    let loss = ops::sum_all(&ops::sqrt(&safe.unwrap()).unwrap()).unwrap();
    assert_eq!(values(core_tensor::backward(&loss).unwrap().get(&zero).unwrap()), [0.; 3]);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let (x, y) = (random(0, &[2, 3]), random(0, &[3, 3]));
    let mask = x.gt(0.7).unwrap();
    assert!(matches!(ops::where_cond(&mask, &x, &y), Err(Error::Shape { .. })));
    assert!(matches!(ops::where_cond(&mask, &y, &y), Err(Error::Shape { .. })));
    assert!(matches!(ops::where_cond(&x, &x, &x), Err(Error::DType { .. })));
    assert!(matches!(ops::where_cond(&mask, &x, &x.to_dtype(DType::F32).unwrap()), Err(Error::DType { .. })));
    let single = x.to_dtype(DType::F32).unwrap();
    for operation in [ops::add, ops::sub, ops::mul, ops::div] {
        assert!(matches!(operation(&x, &y), Err(Error::Shape { .. })));
        assert!(matches!(operation(&x, &single), Err(Error::DType { .. })));
    }
    assert!(ops::cat::<Tensor>(&[], 0).is_err() && ops::stack::<Tensor>(&[], 0).is_err());
    assert!(matches!(ops::cat(&[&x, &y], 1), Err(Error::Shape { .. })));
    assert!(matches!(ops::cat(&[&x, &x], 2), Err(Error::Shape { .. })));
    assert!(matches!(ops::cat(&[&x, &single], 0), Err(Error::DType { .. })));
    assert!(matches!(ops::stack(&[&x], 3), Err(Error::Shape { .. })));
    let ids = Tensor::new(&[2u32], &Device::Cpu).unwrap();
    assert!(matches!(ops::index_select(&x, &ids, 0), Err(Error::Value { .. })));
    assert!(matches!(ops::index_select(&x, &ids, 2), Err(Error::Shape { .. })));
    assert!(matches!(ops::index_select(&x, &ids.to_dtype(DType::I64).unwrap(), 1), Err(Error::DType { .. })));
    assert!(matches!(ops::index_select(&x, &ids.unsqueeze(0).unwrap(), 1), Err(Error::Shape { .. })));
    // whole numbers are Candle's
    let counts = Tensor::new(&[1u32, 2], &Device::Cpu).unwrap();
    assert_eq!(ops::add(&counts, &counts).unwrap().to_vec1::<u32>().unwrap(), [2, 4]);
}
