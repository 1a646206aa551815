//! TRAM against reference values: the authors' network and head with full marginalisation, and an independent computation of the heteroscedastic softmax.
//!
//! The values stand in `tests/golden/tram`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/tram`, where a missing file skips its test. Sizes are those of the files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use core_tensor::params::ParamStore;
use core_tensor::{Mode, backward, ops};
use noisy_labels::tram::{HetConfig, HetNoise, PiTowerConfig, TramConfig, het_head, pi_tower, tram, two_head_loss};
use reproduction::Golden;
use std::collections::HashMap;
use vision::{ImageNetwork, WideResNetConfig, WideResNetForm, wide_resnet};

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

/// The names of a Wide ResNet's parameters in the order in which its program makes them, from their shapes: of a block the first batch norm and convolution, the second batch norm, the shortcut if there is one, the second convolution.
fn names_of(weights: &[serde_json::Value], blocks: usize) -> Vec<(String, String)> {
    let key = |at: usize| weights[at]["key"].as_str().unwrap().to_owned();
    let of_block = |number: usize| format!("backbone.block{}.layer.{}", number / blocks + 1, number % blocks);
    let (mut names, mut norms, mut convolutions, mut layers) = (Vec::new(), 0, 0, 0);
    let mut at = 0;
    while at < weights.len() {
        let shape: Vec<u64> = weights[at]["shape"].as_array().unwrap().iter().map(|x| x.as_u64().unwrap()).collect();
        match *shape.as_slice() {
            [3, 3, _, _] => {
                let name = match convolutions {
                    0 => "backbone.conv1".to_owned(),
                    number => format!("{}.conv{}", of_block((number - 1) / 2), (number - 1) % 2 + 1),
                };
                names.push((format!("{name}.weight"), key(at)));
                convolutions += 1;
                at += 1;
            }
            [1, 1, _, _] => {
                names.push((format!("{}.convShortcut.weight", of_block((convolutions - 2) / 2)), key(at)));
                at += 1;
            }
            [_] => {
                let name = match norms / 2 == 3 * blocks {
                    true => "backbone.bn1".to_owned(),
                    false => format!("{}.bn{}", of_block(norms / 2), norms % 2 + 1),
                };
                for (offset, part) in ["weight", "bias", "running_mean", "running_var"].into_iter().enumerate() {
                    names.push((format!("{name}.{part}"), key(at + offset)));
                }
                norms += 1;
                at += 4;
            }
            _ => {
                let name = ["pi.pi_fc", "pi.joint_fc", "no_pi", "pi.logits_pi"][layers];
                names.push((format!("{name}.weight"), key(at)));
                names.push((format!("{name}.bias"), key(at + 1)));
                layers += 1;
                at += 2;
            }
        }
    }
    names
}

#[test]
fn the_whole_network() {
    let Some(golden) = tensors("wrn_tram.safetensors") else { return };
    let Some(text) = Golden::of("tram", env!("CARGO_MANIFEST_DIR")).read("wrn_tram_weights.json") else { return };
    let described: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let size = |name: &str| described[name].as_u64().unwrap() as usize;
    let (depth, classes) = (size("depth"), size("num_classes"));
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let form = WideResNetForm::TensorFlow;
    let config = WideResNetConfig { form, ..WideResNetConfig::new(depth, size("width_multiplier"), classes) };
    let network = wide_resnet(&config, store.var_builder().pp("backbone")).unwrap();
    let features = 64 * size("width_multiplier");
    let core = |error: vision::Error| core_tensor::Error::from(candle_core::Error::from(error));
    let backbone = |x: &Tensor, mode: &mut Mode<'_>| network.features(x, mode).map_err(core);
    let config = TramConfig { width: size("pi_tower_width"), ..TramConfig::new(features, size("pi_length"), classes) };
    let model = tram(backbone, config, store.var_builder()).unwrap();
    let names = names_of(described["weights"].as_array().unwrap(), (depth - 4) / 6);
    // TensorFlow has inputs before outputs.
    let turned = |x: &Tensor| match x.rank() {
        4 => x.permute((3, 2, 0, 1)).unwrap().contiguous().unwrap(),
        2 => x.t().unwrap().contiguous().unwrap(),
        _ => x.clone(),
    };
    for (ours, theirs) in &names {
        store.set(ours, &turned(&golden[theirs])).unwrap();
    }

    let x = golden["x_nhwc"].permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
    let (examples, annotations, _) = golden["pi"].dims3().unwrap();
    let information = golden["pi"].reshape((examples * annotations, ())).unwrap();
    let places: Vec<u32> = (0..examples as u32).flat_map(|example| std::iter::repeat_n(example, annotations)).collect();
    let at = |x: &Tensor| ops::index_select(x, &Tensor::new(places.as_slice(), &Device::Cpu).unwrap(), 0).unwrap();
    let near = |what: &str, found: &Tensor, expected: &Tensor| {
        let (found, expected) = (f64s(found), f64s(expected));
        assert_eq!(found.len(), expected.len(), "{what}");
        for (at, (a, b)) in found.iter().zip(&expected).enumerate() {
            assert!((a - b).abs() <= 1e-10 * b.abs().max(1.), "{what}[{at}]: {a} instead of {b}");
        }
    };
    // Images once, features repeated; padding passes through the network, and only its loss is left out.
    for (name, mut mode) in [("eval", Mode::evaluate()), ("train", Mode::recalibrate())] {
        let features = model.features(&x, &mut mode).unwrap();
        let with = model.informed_logits(&at(&features), &information, &mut mode).unwrap();
        let without = model.plain_logits(&features.detach(), &mut mode).unwrap();
        near("logits_pi", &with, &golden[&format!("{name}.logits_pi")]);
        near("logits_no_pi", &at(&without), &golden[&format!("{name}.logits_no_pi")]);
        if name == "eval" {
            continue;
        }
        let is_real: Vec<f64> = f64s(&golden["annotator_mask"]);
        let kept: Vec<u32> = (0..places.len() as u32).filter(|&row| is_real[row as usize] > 0.).collect();
        let labels = golden["annotator_labels"].flatten_all().unwrap().to_vec1::<i64>().unwrap();
        let of_kept =
            |values: &dyn Fn(usize) -> u32| kept.iter().map(|&row| values(row as usize)).collect::<Vec<u32>>();
        let rows = Tensor::new(kept.as_slice(), &Device::Cpu).unwrap();
        let with = ops::index_select(&with, &rows, 0).unwrap();
        let loss =
            two_head_loss(&with, &without, &of_kept(&|row| places[row]), &of_kept(&|row| labels[row] as u32), 1.);
        let loss = loss.unwrap();
        near("nll_pi", &loss.with_information, &golden["train.nll_pi"]);
        near("nll_no_pi", &loss.without_information, &golden["train.nll_no_pi"]);
        // λ Σ w² over convolutions, batch norms and the two last layers.
        // The backbone's own last layer is not used.
        let is_penalised =
            |name: &str| !["pi.pi_fc", "pi.joint_fc", "backbone.fc"].iter().any(|spared| name.starts_with(spared));
        let penalty = described["l2"].as_f64().unwrap();
        let mut sum = Tensor::zeros((), DType::F64, &Device::Cpu).unwrap();
        for (name, var) in store.trainable().iter().filter(|(name, _)| is_penalised(name)) {
            assert!(!name.contains("running"), "{name}");
            sum = ops::add(&sum, &ops::sum_all(&ops::sqr(var.as_tensor()).unwrap()).unwrap()).unwrap();
        }
        let l2 = ops::affine(&sum, penalty, 0.).unwrap();
        near("l2", &l2, &golden["train.l2"]);
        let total = ops::add(&loss.loss, &l2).unwrap();
        near("loss", &total, &golden["train.loss"]);
        let grads = backward(&total).unwrap();
        let vars: HashMap<String, Var> = store.vars().into_iter().collect();
        let expected = names.iter().filter_map(|(ours, theirs)| Some((ours, golden.get(&format!("grad.{theirs}"))?)));
        let mut count = 0;
        for (name, expected) in expected {
            near(name, grads.get(&vars[name]).unwrap(), &turned(expected));
            count += 1;
        }
        assert_eq!(count, golden.keys().filter(|key| key.starts_with("grad.")).count());
    }
}
