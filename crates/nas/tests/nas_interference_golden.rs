//! Super-nets, gradients, cosines, alignment, forced inputs, chains and correlations against an independent program in f64.
//!
//! The values are in `tests/golden/nas-interference`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/nas-interference`. Every `*.json` with a `*.safetensors` of its name is a case; sizes, operators and names come from it.

use candle_core::{DType, Device, Tensor};
use core_tensor::Mode;
use core_tensor::params::ParamStore;
use nas::nas_interference::{MaskedLanguageConfig, masked_loss};
use nas::operator::{NormPlace, SequenceConfig};
use nas::{
    Accuracies, AlignmentConfig, Architecture, Gradual, Output, Probe, Reduction, Scores, SuperNet, alignment, ranking,
};
use reproduction::Golden;
use serde::Deserialize;
use std::collections::BTreeMap;

const CPU: Device = Device::Cpu;

fn golden() -> Golden {
    Golden::of("nas-interference", env!("CARGO_MANIFEST_DIR"))
}

#[derive(Deserialize)]
struct Configuration {
    vocabulary: usize,
    sequence_length: usize,
    model_size: usize,
    feed_forward_size: usize,
    layers: usize,
    heads: usize,
    shared_layer: usize,
    shared_operator: String,
    layer_norm_epsilon: f64,
    operators: Vec<String>,
    shared_gradient_order: Vec<String>,
}

struct Case {
    name: String,
    config: Configuration,
    json: serde_json::Value,
    tensors: BTreeMap<String, Tensor>,
}

/// All cases of the folder.
fn cases() -> Vec<Case> {
    golden().assert_not_empty();
    let names = golden().names("", ".json");
    let mut all = Vec::new();
    for name in names.iter().filter_map(|name| name.strip_suffix(".json")) {
        let Some(json) = golden().read(&format!("{name}.json")) else { continue };
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        let Ok(config) = serde_json::from_value(json["config"].clone()) else { continue };
        let Some(bytes) = golden().read(&format!("{name}.safetensors")) else { continue };
        let tensors = candle_core::safetensors::load_buffer(&bytes, &CPU).expect("tensors").into_iter().collect();
        all.push(Case { name: name.to_owned(), config, json, tensors });
    }
    assert!(!all.is_empty(), "no case");
    all
}

fn numbers(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).and_then(|x| x.flatten_all()).and_then(|x| x.to_vec1()).expect("numbers")
}

fn close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0f64, |size, value| size.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance * size, "{what}[{at}]: {found}, expected {expected}");
    }
}

impl Case {
    fn net(&self, dtype: DType) -> SuperNet {
        let c = &self.config;
        let sizes = SequenceConfig {
            width: c.model_size,
            heads: c.heads,
            feed_forward: c.feed_forward_size,
            norm: NormPlace::Post,
            epsilon: c.layer_norm_epsilon,
        };
        let config = MaskedLanguageConfig {
            vocabulary: c.vocabulary,
            length: c.sequence_length,
            layers: c.layers,
            operators: c.operators.clone(),
            sizes,
        };
        let store = ParamStore::new(0, dtype, &CPU);
        let net = config.blueprint().and_then(|blueprint| blueprint.build(&store, &self.ids())).expect("a super-net");
        let mut count = 0;
        for (name, value) in &self.tensors {
            if let Some(name) = name.strip_prefix("param.") {
                store.set(name, &value.to_dtype(dtype).expect("numbers")).expect("a parameter");
                count += 1;
            }
        }
        assert_eq!(count, store.snapshot().expect("values").len(), "every parameter is set");
        net
    }

    fn ids(&self) -> Tensor {
        self.tensors["input_ids"].to_dtype(DType::U32).expect("token numbers")
    }

    fn architectures(&self) -> Vec<Architecture> {
        let rows: Vec<Vec<i64>> = self.tensors["archs"].to_vec2().expect("architectures");
        rows.into_iter().map(|row| Architecture(row.into_iter().map(|operator| operator as usize).collect())).collect()
    }

    fn loss(&self) -> impl Fn(&Output) -> nas::Result<Tensor> + '_ {
        |output: &Output| masked_loss(&output.prediction, &self.tensors["targets"], &self.tensors["mask"])
    }

    fn tolerances() -> [(DType, f64, f64); 2] {
        [(DType::F64, 1e-10, 1e-9), (DType::F32, 1e-4, 1e-4)]
    }
}

#[test]
fn children_have_the_reference_losses_states_and_gradients() {
    for case in cases() {
        for (dtype, tolerance, of_cosines) in Case::tolerances() {
            let net = case.net(dtype);
            let (x, loss) = (case.ids(), case.loss());
            let architectures = case.architectures();
            let (losses, hidden) = (numbers(&case.tensors["losses"]), &case.tensors["hidden"]);
            let probe = Probe::new(&net, &x, &loss);
            let layer = case.config.shared_layer;
            let mut children = Vec::new();
            for (at, architecture) in architectures.iter().enumerate() {
                let what = format!("{} {architecture}", case.name);
                assert_eq!(net.space().name(architecture, layer), case.config.shared_operator);
                let child = probe.child(architecture).expect("a child");
                close(&what, &[child.loss], &losses[at..=at], tolerance);
                for (layer, found) in child.hidden[1..].iter().enumerate() {
                    let expected = numbers(&hidden.get(at).and_then(|h| h.get(layer)).expect("a state"));
                    close(&what, &numbers(found), &expected, tolerance);
                }
                let expected = numbers(&case.tensors["shared_gradients"].get(at).expect("a gradient"));
                close(&what, &child.gradients[layer], &expected, tolerance);
                children.push(child);
            }
            let parameters = net.operator_parameters(layer, architectures[0].0[layer]);
            let order: Vec<&String> = parameters.iter().map(|(name, _)| name).collect();
            assert_eq!(order, case.config.shared_gradient_order.iter().collect::<Vec<_>>());
            let found: Vec<f64> = children
                .iter()
                .flat_map(|a| {
                    children.iter().map(|b| probe.gradient_cosine(layer, a, b).expect("both").expect("not 0"))
                })
                .collect();
            close(&case.name, &found, &numbers(&case.tensors["gradient_cosine"]), of_cosines);
            let (map, _) = probe.heat_map(layer, &architectures).expect("a map");
            close(&case.name, &map.into_iter().flatten().flatten().collect::<Vec<_>>(), &found, 1e-12);
            let output = net.forward(&x, &architectures[0], &mut Mode::evaluate()).expect("logits");
            close(&case.name, &numbers(&output.prediction), &numbers(&case.tensors["logits.0"]), tolerance);
            // the last child from the shared layer on with the first one's input
            let last = &architectures[architectures.len() - 1];
            let forced = probe.forced(last, layer, &children[0].hidden[layer]).expect("a child");
            close(&case.name, &forced.gradients[layer], &numbers(&case.tensors["forced_input.gradient"]), tolerance);
            let found = probe.gradient_cosine(layer, &children[0], &forced).expect("both").expect("not 0");
            close(&case.name, &[found], &numbers(&case.tensors["forced_input.cosine_with_0"]), of_cosines);
        }
    }
}

#[test]
fn alignment_and_its_gradients_are_the_reference_ones() {
    for case in cases() {
        let weights: Vec<String> = case
            .tensors
            .keys()
            .filter_map(|name| name.strip_prefix("align.")?.strip_suffix(".per_layer").map(str::to_owned))
            .collect();
        assert!(!weights.is_empty(), "{}", case.name);
        for (dtype, tolerance, _) in Case::tolerances() {
            let net = case.net(dtype);
            let (x, loss) = (case.ids(), case.loss());
            let architectures = case.architectures();
            let child = &architectures[architectures.len() - 1];
            for weight in &weights {
                let config = AlignmentConfig {
                    weight: weight.parse().expect("a weight"),
                    reduction: Reduction::Sum,
                    is_normalized: false,
                };
                let anchor = net.forward(&x, &architectures[0], &mut Mode::evaluate()).expect("an anchor");
                let output = net.forward(&x, child, &mut Mode::evaluate()).expect("a child");
                let aligned = alignment(&output.hidden, &anchor.hidden, &config).expect("distances");
                let found: Vec<f64> = aligned.per_layer.iter().flat_map(numbers).collect();
                let tensor = |name: &str| &case.tensors[&format!("align.{weight}.{name}")];
                close(&case.name, &found, &numbers(tensor("per_layer")), tolerance);
                let total = core_tensor::ops::add(&loss(&output).expect("a loss"), &aligned.penalty).expect("a sum");
                close(&case.name, &numbers(&total), &numbers(tensor("total")), tolerance);
                let gradients = core_tensor::backward(&total).expect("gradients");
                let prefix = format!("align.{weight}.grad.");
                let mut seen = 0;
                for (name, var) in net.store().trainable().iter() {
                    let expected = case.tensors.get(&format!("{prefix}{name}"));
                    match (expected, gradients.get(var)) {
                        (Some(expected), Some(found)) => {
                            close(&format!("{} {name}", case.name), &numbers(found), &numbers(expected), tolerance);
                            seen += 1;
                        }
                        // nothing reaches the anchor or what is off the path
                        (None, Some(_)) if case.tensors.keys().any(|name| name.starts_with(&prefix)) => {
                            panic!("{name} has a gradient")
                        }
                        (Some(_), None) => panic!("{name} has no gradient"),
                        _ => {}
                    }
                }
                let stored = case.tensors.keys().filter(|name| name.starts_with(&prefix)).count();
                assert_eq!(seen, stored, "{}", case.name);
            }
        }
    }
}

#[test]
fn the_gradual_chain_is_the_reference_one() {
    for case in cases() {
        let list =
            |name: &str| -> Vec<usize> { serde_json::from_value(case.json["magic_t"][name].clone()).expect("numbers") };
        let expected: Vec<Vec<usize>> =
            serde_json::from_value(case.json["magic_t"]["architectures"].clone()).expect("architectures");
        let mut current = Architecture(list("initial"));
        let mut found = vec![current.0.clone()];
        for (layer, draw) in list("layer_draws").into_iter().zip(list("operator_draws")) {
            current = Gradual::changed(&current, layer, draw);
            found.push(current.0.clone());
        }
        assert_eq!(found, expected, "{}", case.name);
    }
}

#[test]
fn correlations_are_the_reference_ones() {
    #[derive(Deserialize)]
    struct Correlation {
        x: Vec<f64>,
        y: Vec<f64>,
        kendall_tau_b: f64,
        spearman: f64,
        pearson: f64,
    }
    for case in cases() {
        let all: Vec<Correlation> =
            serde_json::from_value(case.json["rank_correlation"].clone()).expect("correlations");
        for expected in all {
            let scores = |values: &[f64]| Accuracies::new(values.to_vec()).expect("numbers");
            let (x, y) = (scores(&expected.x), scores(&expected.y));
            let found = ranking::agreement(&x, &y).expect("a correlation");
            let found = [found.kendall, found.spearman, found.pearson];
            close(&case.name, &found, &[expected.kendall_tau_b, expected.spearman, expected.pearson], 1e-12);
            assert_eq!(x.values().len(), y.values().len());
        }
    }
}
