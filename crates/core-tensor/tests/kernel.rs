//! A kernel written outside of this crate, without unsafe code.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::gradcheck::gradcheck;
use core_tensor::kernel::{Gradients, Kernel, Real, apply, for_slices, multiversion};
use core_tensor::random::Rng;
use std::cell::RefCell;
use std::rc::Rc;

/// `y = a · tanh(b)`.
struct ScaledTanh;

multiversion! {
    fn values<T>(a: &[T], b: &[T], y: &mut [T]) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = a * Real::tanh(b);
        }
    }
}

impl Kernel for ScaledTanh {
    const NAME: &'static str = "scaled tanh";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let mut y = vec![T::ZERO; x[0].len()];
        for_slices(&mut y, 1, 16, &|first, y| values(&x[0][first..], &x[1][first..], y));
        Ok(y)
    }

    fn backward<T: Real>(
        &self,
        x: &[&[T]],
        _y: &[T],
        grad: &[T],
        needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        let of_a = needs[0].then(|| grad.iter().zip(x[1]).map(|(&g, &b)| g * Real::tanh(b)).collect());
        let slope = |b: T| T::ONE - Real::tanh(b) * Real::tanh(b);
        let arguments = || grad.iter().zip(x[0]).zip(x[1]);
        let of_b = needs[1].then(|| arguments().map(|((&g, &a), &b)| g * a * slope(b)).collect());
        Ok([of_a, of_b, None])
    }
}

fn normal(seed: u64, shape: &[usize], dtype: DType) -> Tensor {
    Rng::new(seed).normal(0., 1., shape, dtype, &Device::Cpu).unwrap()
}

fn scaled_tanh(x: &[Tensor]) -> core_tensor::Result<Tensor> {
    apply(ScaledTanh, &[&x[0], &x[1]], x[0].shape())
}

#[test]
fn values_and_gradients_are_right() {
    let (a, b) = (normal(0, &[50, 700], DType::F32), normal(1, &[50, 700], DType::F32));
    let found = scaled_tanh(&[a.clone(), b.clone()]).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let expected = (a * b.tanh().unwrap()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs()));
    // an argument that is not contiguous
    let turned = normal(3, &[4, 3], DType::F64).t().unwrap();
    gradcheck(scaled_tanh, &[turned, normal(2, &[3, 4], DType::F64)]).unwrap();
}

#[test]
fn variables_are_reported_with_their_gradients() {
    let a = Var::from_tensor(&normal(0, &[5], DType::F64)).unwrap();
    let b = Var::from_tensor(&normal(1, &[5], DType::F64)).unwrap();
    // `b` reaches the kernel through an operation of Candle, so it is reported at the end
    let y = scaled_tanh(&[a.as_tensor().clone(), (b.as_tensor() * 2.).unwrap()]).unwrap();
    let sum = core_tensor::ops::sum_all(&y).unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let reports = seen.clone();
    let gradients = core_tensor::backward_observed(&sum, move |variable, gradient| {
        reports.borrow_mut().push((variable.id(), gradient.id()));
    })
    .unwrap();
    let reported = |variable: &Var| (variable.id(), gradients.get(variable).unwrap().id());
    assert_eq!(*seen.borrow(), [reported(&a), reported(&b)]);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let (a, b) = (normal(0, &[5], DType::F32), normal(1, &[5], DType::F32));
    let failure = |inputs: &[&Tensor], shape: usize| apply(ScaledTanh, inputs, shape).unwrap_err().to_string();
    assert!(failure(&[&a, &b], 6).contains("scaled tanh: 5 elements"));
    assert!(failure(&[], 5).contains("0 arguments"));
    assert!(failure(&[&a, &b, &a, &b], 5).contains("4 arguments"));
    assert!(!failure(&[&a, &b.to_dtype(DType::F64).unwrap()], 5).is_empty());
    let indices = Tensor::zeros(5, DType::U32, &Device::Cpu).unwrap();
    assert!(failure(&[&indices, &b], 5).contains("scaled tanh"));
}
