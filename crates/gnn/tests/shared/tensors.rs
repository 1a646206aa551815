//! Reading tensors, filling parameters and comparing.

// Each test uses some of it.
#![allow(dead_code, reason = "each program that includes this uses some of it")]

use candle_core::{DType, Device, Tensor};
use core_tensor::params::ParamStore;
use std::collections::HashMap;

/// The official modules ran in f64 with other orders of summation; values and gradients are of order 1.
pub(crate) const TOLERANCE_F64: f64 = 1e-10;
/// f32 carries 24 bits, and sums here run over up to some thousand rows.
pub(crate) const TOLERANCE_F32: f64 = 1e-4;

pub(crate) struct Golden {
    tensors: HashMap<String, Tensor>,
    metadata: HashMap<String, String>,
}

impl Golden {
    /// What the bytes of a safetensors file hold.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).expect("valid safetensors");
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
        let metadata = header.get("__metadata__").cloned().unwrap_or_else(|| serde_json::json!({}));
        Self { tensors, metadata: serde_json::from_value(metadata).expect("metadata of strings") }
    }

    pub(crate) fn metadata(&self, name: &str) -> &str {
        self.metadata.get(name).unwrap_or_else(|| panic!("no metadata {name}"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    pub(crate) fn float(&self, name: &str, dtype: DType) -> Tensor {
        self.get(name).to_dtype(dtype).expect("a float tensor")
    }

    pub(crate) fn indices(&self, name: &str) -> Vec<u32> {
        let flat = self.get(name).flatten_all().and_then(|flat| flat.to_vec1::<i64>()).expect("i64 indices");
        flat.into_iter().map(|index| u32::try_from(index).expect("an index")).collect()
    }

    /// Rows 0 and 1 of an `edge_index`.
    pub(crate) fn edges(&self, name: &str) -> (Vec<u32>, Vec<u32>) {
        let all = self.indices(name);
        let (sources, targets) = all.split_at(all.len() / 2);
        (sources.to_vec(), targets.to_vec())
    }

    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> =
            self.tensors.keys().filter_map(|name| name.strip_prefix(prefix).map(str::to_string)).collect();
        names.sort();
        names
    }

    /// How many tensors are called `<prefix><number><suffix>`, numbered from 0.
    pub(crate) fn count(&self, prefix: &str, suffix: &str) -> usize {
        (0..).take_while(|number| self.tensors.contains_key(&format!("{prefix}{number}{suffix}"))).count()
    }

    /// The length of `<prefix><largest number>.bias`: the width of a last layer.
    pub(crate) fn last_width(&self, prefix: &str) -> usize {
        let number = |name: &str| name.strip_suffix(".bias")?.parse::<usize>().ok();
        let last = self.names(prefix).iter().filter_map(|name| number(name)).max().expect("a layer with a bias");
        self.get(&format!("{prefix}{last}.bias")).elem_count()
    }

    /// Sets every parameter `<prefix><name>`; each must exist, but for those `unused`.
    pub(crate) fn fill(&self, store: &ParamStore, prefix: &str, unused: &[&str]) {
        for name in self.names(prefix).into_iter().filter(|name| !unused.contains(&name.as_str())) {
            let values = self.float(&format!("{prefix}{name}"), store.dtype());
            store.set(&name, &values).unwrap_or_else(|error| panic!("{prefix}{name}: {error}"));
        }
    }

    /// Compares every gradient `<prefix><name>`.
    pub(crate) fn check_gradients(&self, loss: &Tensor, store: &ParamStore, prefix: &str, tolerance: f64) {
        let gradients = core_tensor::gradcheck::backward_both(loss).expect("gradients");
        let vars: HashMap<String, candle_core::Var> = store.vars().into_iter().collect();
        let names = self.names(prefix);
        assert!(!names.is_empty(), "no gradients {prefix}");
        for name in names.into_iter().filter(|name| vars.contains_key(name)) {
            let gradient = gradients.get(&vars[&name]).unwrap_or_else(|| panic!("{name} has no gradient"));
            assert_close(&format!("{prefix}{name}"), gradient, self.get(&format!("{prefix}{name}")), tolerance);
        }
    }
}

/// Differences up to `tolerance` times the largest magnitude (at least 1) are allowed.
pub(crate) fn assert_close(name: &str, actual: &Tensor, expected: &Tensor, tolerance: f64) {
    let flat = |tensor: &Tensor| -> Vec<f64> {
        tensor.to_dtype(DType::F64).and_then(|t| t.flatten_all()).and_then(|t| t.to_vec1()).expect("numbers")
    };
    assert_eq!(actual.elem_count(), expected.elem_count(), "{name}: {:?} against {:?}", actual, expected);
    let (actual, expected) = (flat(actual), flat(expected));
    let scale = expected.iter().fold(1.0f64, |scale, value| scale.max(value.abs()));
    for (i, (a, e)) in actual.iter().zip(&expected).enumerate() {
        assert!((a - e).abs() <= tolerance * scale, "{name}[{i}] = {a}, expected {e} (scale {scale})");
    }
}
