//! Reference tensors.

use crate::files;
use candle_core::{Device, Tensor};
use std::collections::HashMap;

/// The tensors of one file.
#[derive(Clone)]
pub(crate) struct Tensors(HashMap<String, Tensor>);

impl Tensors {
    pub(crate) fn read(name: &str) -> Option<Self> {
        let bytes = files::read(name)?;
        Some(Self(candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).expect("valid safetensors")))
    }

    pub(crate) fn get(&self, name: &str) -> &Tensor {
        self.0.get(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All elements as f64.
    pub(crate) fn numbers(&self, name: &str) -> Vec<f64> {
        let flat = self.get(name).flatten_all().unwrap();
        flat.to_dtype(candle_core::DType::F64).unwrap().to_vec1().unwrap()
    }

    /// All elements as integers.
    pub(crate) fn integers(&self, name: &str) -> Vec<i64> {
        let flat = self.get(name).flatten_all().unwrap();
        flat.to_dtype(candle_core::DType::I64).unwrap().to_vec1().unwrap()
    }

    pub(crate) fn u32s(&self, name: &str) -> Vec<u32> {
        self.integers(name).into_iter().map(|v| u32::try_from(v).unwrap()).collect()
    }

    pub(crate) fn scalar(&self, name: &str) -> f64 {
        self.numbers(name)[0]
    }
}

/// The largest difference of two tensors of one shape.
pub(crate) fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let f64 =
        |t: &Tensor| t.flatten_all().unwrap().to_dtype(candle_core::DType::F64).unwrap().to_vec1::<f64>().unwrap();
    f64(a).iter().zip(f64(b)).map(|(a, b)| (a - b).abs()).fold(0., f64::max)
}
