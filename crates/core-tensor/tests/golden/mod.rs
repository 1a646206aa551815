//! Reading the reference values; `generate.py` writes them.

use candle_core::{Device, Tensor};
use serde_json::Value;

/// One of the files beside this one.
pub(crate) fn read(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Nested lists of numbers as an f64 tensor.
pub(crate) fn tensor(value: &Value) -> Tensor {
    let (mut shape, mut numbers) = (Vec::new(), Vec::new());
    let mut level = value;
    while let Some(list) = level.as_array() {
        shape.push(list.len());
        match list.first() {
            Some(first) => level = first,
            None => break,
        }
    }
    flatten(value, &mut numbers);
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

fn flatten(value: &Value, numbers: &mut Vec<f64>) {
    match value.as_array() {
        Some(list) => list.iter().for_each(|v| flatten(v, numbers)),
        // JSON has no infinity; it is a string.
        None => numbers.push(value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap()),
    }
}

/// Both must agree to 1e-12: the references are f64, and only the order of a few operations differs.
pub(crate) fn assert_equal(what: &str, got: &Tensor, expected: &Value) {
    let expected = tensor(expected);
    assert_eq!(got.dims(), expected.dims(), "{what}");
    let list = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    for (got, expected) in list(got).into_iter().zip(list(&expected)) {
        assert!((got - expected).abs() <= 1e-12 * (1. + expected.abs()), "{what}: {got} {expected}");
    }
}
