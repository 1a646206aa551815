//! TRAM's heads against reference values: the authors' head with full marginalisation, and an independent computation of the heteroscedastic softmax.
//!
//! The values stand in `tests/golden/tram`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/tram`, where a missing file skips its test. Sizes are those of the files. That of the whole network (`wrn_tram`) is compared in
//! the crate `vision` without the tower.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use core_tensor::ops;
use noisy_labels::tram::{HetConfig, HetNoise, PiTowerConfig, het_head, pi_tower};
use reproduction::Golden;
use std::collections::HashMap;

fn tensors(name: &str) -> Option<HashMap<String, Tensor>> {
    let golden = Golden::of("tram", env!("CARGO_MANIFEST_DIR"));
    golden.assert_not_empty();
    Some(candle_core::safetensors::load_buffer(&golden.read(name)?, &Device::Cpu).unwrap())
}

fn f64s(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_near(what: &str, found: &Tensor, expected: &Tensor) {
    let (found, expected) = (f64s(found), f64s(expected));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (a, b)) in found.iter().zip(&expected).enumerate() {
        // Sums of some dozens of products in f64.
        assert!((a - b).abs() <= 1e-12 * b.abs().max(1.), "{what}[{at}]: {a} instead of {b}");
    }
}

/// Layers of TensorFlow, `[in, out]`, under our names.
fn layers(golden: &HashMap<String, Tensor>, names: &[(&str, &str, &str)]) -> VarMap {
    let map = VarMap::new();
    for (name, kernel, bias) in names {
        let weight = golden[*kernel].t().unwrap().contiguous().unwrap();
        let mut data = map.data().lock().unwrap();
        data.insert(format!("{name}.weight"), Var::from_tensor(&weight).unwrap());
        data.insert(format!("{name}.bias"), Var::from_tensor(&golden[*bias]).unwrap());
    }
    map
}

#[test]
fn full_marginalisation() {
    let Some(golden) = tensors("full_marginalisation_head.safetensors") else { return };
    let names = ["pi_fc", "joint_fc", "logits_pi"].map(|name| (name, format!("{name}.kernel"), format!("{name}.bias")));
    let names: Vec<(&str, &str, &str)> = names.iter().map(|(a, b, c)| (*a, b.as_str(), c.as_str())).collect();
    let map = layers(&golden, &names);
    let (examples, features) = golden["phi"].dims2().unwrap();
    let (_, annotations, information) = golden["pi"].dims3().unwrap();
    let (width, classes) = (golden["pi_fc.bias"].dims()[0], golden["logits_pi.bias"].dims()[0]);
    let config = PiTowerConfig { features, information, width, classes, has_residual: false };
    let tower = pi_tower(config, VarBuilder::from_varmap(&map, DType::F64, &Device::Cpu)).unwrap();
    assert_eq!(annotations, 1);
    let rows = |x: &Tensor| x.reshape(((), information)).unwrap();
    let logits = tower.forward(&golden["phi"], &rows(&golden["pi"])).unwrap();
    assert_near("logits_pi", &logits, &golden["logits_pi"]);
    let drawn = rows(&golden["pi_mc"]);
    let p = tower.marginal(&golden["phi"], &drawn, None).unwrap();
    assert_eq!(p.dims(), [examples, classes]);
    assert_near("probs_fm", &p, &golden["probs_fm"]);
    // Twice the first row is as good as a weight of two.
    let count = drawn.dims()[0];
    let doubled = Tensor::cat(&[&drawn, &drawn.narrow(0, 0, 1).unwrap()], 0).unwrap();
    let weights: Vec<f64> = (0..count).map(|at| if at == 0 { 2. } else { 1. }).collect();
    let by_weight = tower.marginal(&golden["phi"], &drawn, Some(&weights)).unwrap();
    assert_near("weights", &by_weight, &tower.marginal(&golden["phi"], &doubled, None).unwrap());
    // Over one row it is the head itself, with and without the residual.
    for has_residual in [false, true] {
        let config = PiTowerConfig { has_residual, ..config };
        let tower = pi_tower(config, VarBuilder::from_varmap(&map, DType::F64, &Device::Cpu)).unwrap();
        let one = drawn.narrow(0, 0, 1).unwrap();
        let all = one.broadcast_as((examples, information)).unwrap().contiguous().unwrap();
        let expected = ops::softmax(&tower.forward(&golden["phi"], &all).unwrap()).unwrap();
        assert_near("one row", &tower.marginal(&golden["phi"], &one, None).unwrap(), &expected);
    }
}

#[test]
fn heteroscedastic_softmax() {
    let Some(golden) = tensors("het_softmax_head.safetensors") else { return };
    let names = ["loc", "factor", "diag"].map(|name| (name, format!("{name}_kernel"), format!("{name}_bias")));
    let names: Vec<(&str, &str, &str)> = names.iter().map(|(a, b, c)| (*a, b.as_str(), c.as_str())).collect();
    let map = layers(&golden, &names);
    let config = HetConfig {
        inputs: golden["h"].dims()[1],
        classes: golden["loc_bias"].dims()[0],
        rank: golden["eps_factor"].dims()[2],
        temperature: f64s(&golden["temperature"])[0],
    };
    let head = het_head(config, VarBuilder::from_varmap(&map, DType::F64, &Device::Cpu)).unwrap();
    let noise = HetNoise { diagonal: golden["eps_diag"].clone(), factors: Some(golden["eps_factor"].clone()) };
    let logits = head.log_probabilities(&golden["h"], &noise).unwrap();
    assert_near("logits", &logits, &golden["logits"]);
    assert_near("probs", &logits.exp().unwrap(), &golden["probs"]);
}
