//! What the tests under `tests/` share. They put every kernel with `unsafe` code, every parser and the wire format to work on inputs so small that
//! Miri, which runs some thousand times slower than the machine, is through in minutes: `cargo xtask ci miri`. Miri sees reads of memory that was
//! never written, aliased mutable slices, races and accesses out of bounds; whether the numbers are right is mostly the business of each crate's tests.
//!
//! Miri knows no AVX, so kernels run in their portable form: what stays unseen are the vector loads and stores of `cpu/transpose.rs`.

#![forbid(unsafe_code)]

use candle_core::{DType, Device, Tensor, Var};

/// Numbers between −1 and 1 without ties, the same in every run.
pub fn numbers(count: usize, seed: usize) -> Vec<f64> {
    (0..count).map(|at| ((at * 7919 + seed * 104_729 + 13) as f64 * 0.618_033_988_749_895).fract() * 2. - 1.).collect()
}

/// A tensor of [`numbers`].
///
/// # Panics
///
/// Never for shapes that fit in memory.
pub fn tensor(shape: &[usize], seed: usize) -> Tensor {
    let values = numbers(shape.iter().product(), seed);
    Tensor::from_vec(values, shape, &Device::Cpu).expect("as many numbers as the shape holds")
}

fn flat(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).and_then(|x| x.flatten_all()).and_then(|x| x.to_vec1()).expect("numbers")
}

/// Runs `f` on these inputs forwards and backwards: the result, then the gradient of each input, which must have its shape.
///
/// # Panics
///
/// When `f` fails.
pub fn results(
    name: &str,
    inputs: &[Tensor],
    dtype: DType,
    f: impl Fn(&[Tensor]) -> core_tensor::Result<Tensor>,
) -> Vec<Vec<f64>> {
    let vars: Vec<Var> = inputs
        .iter()
        .map(|x| x.to_dtype(dtype).and_then(|x| Var::from_tensor(&x)).expect("a variable of an input"))
        .collect();
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let y = f(&tensors).unwrap_or_else(|error| panic!("{name} in {dtype:?}: {error}"));
    // uneven weights: a gradient that ignores its input would be seen
    let weights = tensor(y.dims(), 99).to_dtype(dtype).expect("weights");
    let loss = (&y * weights).and_then(|product| product.sum_all()).expect("a weighted sum");
    let gradients = core_tensor::backward(&loss).unwrap_or_else(|error| panic!("{name} in {dtype:?}: {error}"));
    let mut results = vec![flat(&y)];
    for var in &vars {
        let gradient = gradients.get(var).unwrap_or_else(|| panic!("{name}: an input without gradient"));
        assert_eq!(gradient.dims(), var.dims(), "{name}: shape of a gradient");
        results.push(flat(gradient));
    }
    results
}

/// [`results`] in f64 and in f32, whose loops are compiled separately, which must agree.
///
/// # Panics
///
/// When `f` fails, something is not finite, or the two dtypes disagree by more than the rounding of short f32 sums.
pub fn check(name: &str, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> core_tensor::Result<Tensor>) {
    let (wide, narrow) = (results(name, inputs, DType::F64, &f), results(name, inputs, DType::F32, &f));
    for (which, (wide, narrow)) in wide.into_iter().zip(narrow).enumerate() {
        assert_eq!(wide.len(), narrow.len(), "{name}: result {which}");
        for (at, (a, b)) in wide.iter().zip(&narrow).enumerate() {
            assert!((a - b).abs() <= 1e-4 * a.abs().max(1.), "{name}: result {which}[{at}]: {a} in f64, {b} in f32");
        }
    }
}
