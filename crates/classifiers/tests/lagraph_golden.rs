//! The classifiers and splits that LaGraph is judged by, against reference values: of scikit-learn, PyTorch and NumPy.
//!
//! The values stand in `tests/golden/lagraph`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/lagraph`, where a missing file skips its test. Sizes, counts and settings are those of the files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use classifiers::logistic::{AdamLogisticRegression, Initial};
use classifiers::splits::transductive_split;
use classifiers::svm::{GridSearch, Svc};
use classifiers::{Classifier, Fitted, Rows, labels, stratified_folds};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::PathBuf;

/// The files that are read, and what they do not hold: the shares of the splits.
const SVC: [&str; 2] = ["svc_binary.json", "svc_3class.json"];
const ADAM: &str = "logreg_adam.safetensors";
const SPLITS: &str = "transductive_splits_cora.safetensors";
const TEST_SHARE: f64 = 0.8;
const VALIDATION_SHARE: f64 = 0.1;
/// Folds in which C is chosen.
const INNER_FOLDS: usize = 5;

fn folder() -> PathBuf {
    match std::env::var_os("GOLDEN_DIR") {
        Some(folder) => PathBuf::from(folder).join("lagraph"),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lagraph"),
    }
}

/// The bytes of a file; none, said aloud, where it is not there.
fn read(name: &str) -> Option<Vec<u8>> {
    let path = folder().join(name);
    std::fs::read(&path).inspect_err(|error| println!("skipped: {}: {error}", path.display())).ok()
}

fn json(name: &str) -> Option<Value> {
    Some(serde_json::from_slice(&read(name)?).unwrap())
}

#[test]
fn there_are_reference_values() {
    let is_there = SVC.into_iter().chain([ADAM, SPLITS]).any(|name| folder().join(name).is_file());
    assert!(is_there, "no reference values in {}", folder().display());
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

fn integers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|value| value.as_i64().unwrap()).collect()
}

fn indices(value: &Value) -> Vec<usize> {
    integers(value).into_iter().map(|value| value as usize).collect()
}

/// Rows of features and their labels.
struct Data {
    width: usize,
    x: Vec<f64>,
    y: Vec<u32>,
}

impl Data {
    fn of(file: &Value) -> Self {
        let (x, y) = (numbers(&file["X"]), labels(&integers(&file["y"])).unwrap());
        Self { width: x.len() / y.len(), x, y }
    }

    fn rows(&self) -> Rows<'_> {
        Rows::new(self.width, &self.x).unwrap()
    }
}

#[test]
fn a_full_fit_has_the_support_vectors_and_decisions_of_libsvm() {
    for name in SVC {
        let Some(file) = json(name) else { continue };
        let (data, fit) = (Data::of(&file), &file["full_fit"]);
        let svc = Svc { c: fit["C"].as_f64().unwrap(), tolerance: fit["tol"].as_f64().unwrap(), ..Svc::default() };
        let found = svc.fit(data.rows(), &data.y).unwrap();
        let gamma = fit["gamma_scale"].as_f64().unwrap();
        assert!((found.gamma() - gamma).abs() < 1e-12 * gamma, "{name}: {}", found.gamma());
        assert_eq!(found.n_support(), indices(&fit["n_support"]), "{name}");
        assert_eq!(found.support().len(), found.n_support().iter().sum::<usize>());
        // with two classes scikit-learn says how much it is the second
        let sign = if found.classes().len() == 2 { -1. } else { 1. };
        let wanted = numbers(&fit["decision_function_ovo_or_binary"]);
        let decisions = found.decision_values(data.rows()).unwrap();
        assert_eq!(decisions.len(), wanted.len());
        for (found, wanted) in decisions.iter().zip(&wanted) {
            // the reference has a kernel in single precision
            assert!((sign * found - wanted).abs() < 1e-4, "{name}: {found} {wanted}");
        }
        let wanted = labels(&integers(&fit["predict"])).unwrap();
        assert_eq!(found.predict(data.rows()).unwrap(), wanted, "{name}");
    }
}

#[test]
fn nested_cross_validation_chooses_and_predicts_what_scikit_learn_does() {
    for name in SVC {
        let Some(file) = json(name) else { continue };
        let (data, folds) = (Data::of(&file), file["folds"].as_array().unwrap());
        let search = GridSearch { c_grid: numbers(&file["grid"]), folds: INNER_FOLDS, ..GridSearch::default() };
        let found = search.nested_cross_validation(data.rows(), &data.y, folds.len()).unwrap();
        let split = stratified_folds(&data.y, folds.len()).unwrap();
        for (at, ((found, wanted), split)) in found.folds.iter().zip(folds).zip(&split).enumerate() {
            assert_eq!(found.test, indices(&wanted["test"]), "{name}, fold {at}");
            assert_eq!(found.test, split.test);
            assert_eq!(found.choice.c, wanted["best_C"].as_f64().unwrap(), "{name}, fold {at}");
            let means = numbers(&wanted["mean_inner_accuracy"]);
            let smallest = data.y.len() * (folds.len() - 1) / folds.len() / INNER_FOLDS;
            for (found, wanted) in found.choice.mean_accuracies.iter().zip(&means) {
                // one sample of one inner fold may lie within the tolerance of the boundary
                let one = 1. / (smallest * INNER_FOLDS) as f64;
                assert!((found - wanted).abs() < 1.01 * one, "{name}, fold {at}: {found} {wanted}");
            }
            let wanted = labels(&integers(&wanted["test_pred"])).unwrap();
            let different = found.predictions.iter().zip(&wanted).filter(|(found, wanted)| found != wanted).count();
            assert!(different <= 1, "{name}, fold {at}: {different} predictions differ");
        }
        let wanted = file["mean_accuracy"].as_f64().unwrap();
        assert!((found.accuracy() - wanted).abs() < 1. / split[0].test.len() as f64, "{name}");
    }
}

fn tensor(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let view = file.tensor(name).unwrap();
    assert_eq!(view.dtype(), Dtype::F64, "{name}");
    view.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}

#[test]
fn steps_of_adam_are_those_of_pytorch() {
    let Some(bytes) = read(ADAM) else { return };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let shape = file.tensor("in.x").unwrap().shape().to_vec();
    let view = file.tensor("in.y").unwrap();
    assert_eq!(view.dtype(), Dtype::I64);
    let y: Vec<i64> = view.data().as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
    let [x, weights, bias] = ["in.x", "init.weight", "init.bias"].map(|name| tensor(&file, name));
    let settings = tensor(&file, "cfg.steps_lr_wd");
    let regression =
        AdamLogisticRegression { steps: settings[0] as usize, learning_rate: settings[1], weight_decay: settings[2] };
    let rows = Rows::new(shape[1], &x).unwrap();
    let initial = Initial::Given { weights: &weights, bias: &bias };
    let found = regression.fit(rows, &labels(&y).unwrap(), bias.len(), initial).unwrap();
    let (wanted, wanted_bias) = (tensor(&file, "out.weight"), tensor(&file, "out.bias"));
    for (at, row) in found.weights().chunks_exact(shape[1] + 1).enumerate() {
        for (found, wanted) in row.iter().zip(wanted[at * shape[1]..].iter().take(shape[1]).chain([&wanted_bias[at]])) {
            assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
        }
    }
    for (found, wanted) in found.outputs(rows).unwrap().iter().zip(tensor(&file, "out.logits")) {
        assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
    }
}

#[test]
fn transductive_splits_are_those_of_numpy() {
    let Some(bytes) = read(SPLITS) else { return };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let parts = ["train", "val", "test"].map(|name| {
        let view = file.tensor(name).unwrap();
        assert_eq!(view.dtype(), Dtype::I32, "{name}");
        let values: Vec<usize> =
            view.data().as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes) as usize).collect();
        values.chunks_exact(view.shape()[1]).map(<[usize]>::to_vec).collect::<Vec<_>>()
    });
    let n = parts.iter().map(|part| part[0].len()).sum();
    for (seed, wanted) in parts[0].iter().enumerate() {
        let found = transductive_split(seed as u32, n, TEST_SHARE, VALIDATION_SHARE).unwrap();
        assert_eq!(&found.train, wanted, "split {seed}");
        assert_eq!(found.validation, parts[1][seed], "split {seed}");
        assert_eq!(found.test, parts[2][seed], "split {seed}");
    }
}
