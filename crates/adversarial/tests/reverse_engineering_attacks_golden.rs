//! Reverse engineering of l_p attacks against reference values: independent programs that follow the specification.
//!
//! The values stand in `tests/golden/reverse-engineering-attacks`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/reverse-engineering-attacks`, where a missing file skips its test. Sizes and settings are those of the files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use adversarial::reverse::{
    Block, BlockDictionary, GroupElasticNet, Homotopy, ReverseEngineer, Solver, recovery_report,
};
use reproduction::Golden;
use safetensors::SafeTensors;
use serde_json::Value;

fn golden() -> Golden {
    let golden = Golden::of("reverse-engineering-attacks", env!("CARGO_MANIFEST_DIR"));
    golden.assert_not_empty();
    golden
}

/// Shape and values of a tensor of f64.
fn tensor(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f64>) {
    let view = file.tensor(name).unwrap();
    let values = view.data().chunks(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect();
    (view.shape().to_vec(), values)
}

/// `[d, n]` row by row to columns one after the other.
fn columns((shape, values): (Vec<usize>, Vec<f64>)) -> Vec<f64> {
    let (d, n) = (shape[0], shape[1]);
    (0..n).flat_map(|column| (0..d).map(move |row| row * n + column)).map(|at| values[at]).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn index(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn indices(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(index).collect()
}

fn assert_near(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.), "{what}[{at}]: {a} instead of {b}");
    }
}

#[test]
fn group_elastic_net() {
    let golden = golden();
    let (Some(json), Some(bytes)) =
        (golden.read("block_elastic_net.json"), golden.read("block_elastic_net.safetensors"))
    else {
        return;
    };
    let cases: Value = serde_json::from_slice(&json).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for case in cases.as_array().unwrap() {
        let name = format!("case{}", index(&case["case"]));
        let sizes = indices(&case["groups"]);
        let d = columns(tensor(&file, &format!("{name}.d")));
        let (_, x) = tensor(&file, &format!("{name}.x"));
        let (_, c) = tensor(&file, &format!("{name}.c"));
        let net = GroupElasticNet::new(&sizes, numbers(&case["l1"]), numbers(&case["l2"])).unwrap();
        for solver in [Solver::BlockDescent, Solver::Fista] {
            let mut net = net.clone().solver(solver);
            net.tolerance = 1e-13;
            net.max_iterations = 200_000;
            let found = net.solve(&d, &x, None).unwrap();
            let expected = number(&case["objective"]);
            assert!((found.objective - expected).abs() < 1e-9 * expected, "{name} {solver:?} {}", found.objective);
            assert_near(&name, &found.coefficients, &c, 1e-6);
            let mut first = 0;
            for (group, &size) in sizes.iter().enumerate() {
                let is_zero = found.coefficients[first..first + size].iter().all(|&c| c == 0.);
                assert_eq!(is_zero, indices(&case["zero_blocks"]).contains(&group), "{name} {group}");
                first += size;
            }
        }
    }
}

/// The dictionary of a case; attack blocks are stored by kind, then by class.
fn dictionary(signals: &[f64], attacks: &[f64], d: usize, k: usize, a: usize) -> BlockDictionary {
    let b = signals.len() / d / k;
    let names: Vec<String> = (0..a).map(|attack| format!("attack {attack}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut dictionary = BlockDictionary::new(d, &names).unwrap();
    for class in 0..k {
        dictionary.add(Block::Signal(class), &signals[class * b * d..(class + 1) * b * d]).unwrap();
    }
    for attack in 0..a {
        for class in 0..k {
            let first = (attack * k + class) * b * d;
            dictionary.add(Block::Attack { class, attack }, &attacks[first..first + b * d]).unwrap();
        }
    }
    dictionary
}

#[test]
fn active_sets() {
    let golden = golden();
    let (Some(json), Some(bytes)) = (golden.read("active_set.json"), golden.read("active_set.safetensors")) else {
        return;
    };
    let cases: Value = serde_json::from_slice(&json).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for case in cases.as_array().unwrap() {
        let name = format!("case{}", index(&case["case"]));
        let (d, k, a) = (index(&case["d"]), index(&case["classes"]), index(&case["attacks"]));
        let signals = columns(tensor(&file, &format!("{name}.ds")));
        let attacks = columns(tensor(&file, &format!("{name}.da")));
        let mut homotopy = Homotopy::official();
        homotopy.max_rounds = index(&case["max_iter"]);
        homotopy.lambda_signal = number(&case["lambda1"]);
        homotopy.lambda_attack = number(&case["lambda2"]);
        homotopy.tolerance = 1e-13;
        let dictionary = dictionary(&signals, &attacks, d, k, a);
        let with_all = ReverseEngineer::new(dictionary.clone()).unwrap().homotopy(homotopy);
        let with_some = ReverseEngineer::with_memory(dictionary, 0).unwrap().homotopy(homotopy);
        let (_, x) = tensor(&file, &format!("{name}.x"));
        let (_, cs) = tensor(&file, &format!("{name}.cs"));
        let (_, ca) = tensor(&file, &format!("{name}.ca"));
        let (_, denoised) = tensor(&file, &format!("{name}.denoised"));
        for engineer in [with_all, with_some] {
            let found = engineer.analyse_all(&x).unwrap();
            let signal_only = engineer.clone().homotopy(homotopy.signal_only()).analyse_all(&x).unwrap();
            for (at, sample) in case["samples"].as_array().unwrap().iter().enumerate() {
                let (name, found) = (format!("{name} sample {at}"), &found[at]);
                assert_eq!(found.class, index(&sample["predicted_class"]), "{name}");
                assert_eq!(found.attack, Some(index(&sample["predicted_attack"])), "{name}");
                assert_eq!(found.rounds.len(), index(&sample["iterations"]), "{name}");
                assert_eq!(signal_only[at].class, index(&sample["signal_only_class"]), "{name}");
                assert_eq!(signal_only[at].attack, None);
                for (round, expected) in found.rounds.iter().zip(sample["trace"].as_array().unwrap()) {
                    let values = [round.gamma_signal, round.gamma_attack, round.objective];
                    let names = ["gamma_s", "gamma_a", "objective"];
                    for (value, key) in values.into_iter().zip(names) {
                        let expected = number(&expected[key]);
                        assert!((value - expected).abs() < 1e-6 * expected, "{name} {key}: {value} {expected}");
                    }
                    assert_eq!(round.classes, indices(&expected["signal"]), "{name}");
                    assert_eq!(round.attacks, indices(&expected["attack"]), "{name}");
                }
                let residuals = |list: &[(usize, f64)]| list.iter().map(|(_, value)| *value).collect::<Vec<_>>();
                assert_near(&name, &residuals(&found.class_residuals), &numbers(&sample["err_class"]), 1e-5);
                assert_near(&name, &residuals(&found.attack_residuals), &numbers(&sample["err_attack"]), 1e-5);
                assert_near(&name, &found.clean, &denoised[at * d..(at + 1) * d], 1e-5);
                let c = engineer.coefficients(&x[at * d..(at + 1) * d]).unwrap();
                let expected: Vec<f64> = [&cs, &ca]
                    .iter()
                    .flat_map(|c| c[at * c.len() / (x.len() / d)..(at + 1) * c.len() / (x.len() / d)].to_vec())
                    .collect();
                assert_near(&name, &c, &expected, 1e-5);
            }
        }
    }
}

#[test]
fn recovery_conditions() {
    let golden = golden();
    let (Some(json), Some(bytes)) =
        (golden.read("recovery_conditions.json"), golden.read("recovery_conditions.safetensors"))
    else {
        return;
    };
    let cases: Value = serde_json::from_slice(&json).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for case in cases.as_array().unwrap() {
        let name = format!("case{}", index(&case["case"]));
        let (d, k, a) = (index(&case["d"]), index(&case["classes"]), index(&case["attacks"]));
        let signals = columns(tensor(&file, &format!("{name}.ds")));
        let attacks = columns(tensor(&file, &format!("{name}.da")));
        let report = recovery_report(&dictionary(&signals, &attacks, d, k, a)).unwrap();
        assert_eq!(report.len(), case["pairs"].as_array().unwrap().len());
        for expected in case["pairs"].as_array().unwrap() {
            let (class, attack) = (index(&expected["i"]), index(&expected["j"]));
            let found = report.iter().find(|pair| (pair.class, pair.attack) == (class, attack)).unwrap();
            let name = format!("{name} pair {class} {attack}");
            assert_eq!(found.rank, index(&expected["rank"]), "{name}");
            assert_near(&name, &[found.rho], &[number(&expected["rho"])], 1e-6);
            assert!(found.rho >= found.lower_bound - 1e-9);
            let of = |key: &str| number(&expected[key]);
            let values = [found.sigma_min, found.lower_bound, found.tau, found.cos_smallest_angle];
            let keys = ["sigma_min", "lower_bound", "worst_sigma_max", "cos_smallest_principal_angle"];
            assert_near(&name, &values, &keys.map(of), 1e-8);
            assert_eq!(found.is_guaranteed(), expected["condition"].as_bool().unwrap(), "{name}");
            for (reference, value) in &found.sigma_max {
                let expected = match reference.attack {
                    None => &expected["signal_sigma_max"][reference.class],
                    Some(attack) => &expected["attack_sigma_max"][reference.class][attack],
                };
                assert_near(&name, &[*value], &[number(expected)], 1e-8);
            }
        }
    }
}

#[cfg(feature = "networks")]
mod attacks {
    use super::{assert_near, golden};
    use adversarial::attacks::{GradientAttack, Norm, PgdConfig, Rule, Samples, Start, ThreatModel};
    use candle_core::{DType, Device, Tensor};
    use safetensors::SafeTensors;
    use serde_json::Value;
    use std::collections::HashMap;

    fn f64s(x: &Tensor) -> Vec<f64> {
        x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn projected_gradient_ascent() {
        let Some(bytes) = golden().read("pgd.safetensors") else { return };
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let config: Value = serde_json::from_str(&metadata.metadata().clone().unwrap()["config"]).unwrap();
        let file: HashMap<String, Tensor> = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
        let network = |x: &Tensor| -> candle_core::Result<Tensor> {
            let hidden = x.matmul(&file["w1"].t()?)?.broadcast_add(&file["b1"])?.tanh()?;
            hidden.matmul(&file["w2"].t()?)?.broadcast_add(&file["b2"])
        };
        let labels: Vec<u32> = file["y"].to_dtype(DType::U32).unwrap().to_vec1().unwrap();
        let samples = Samples::new(&file["x"], &labels).unwrap();
        let clean = f64s(&file["x"]);
        for (name, norm) in [("linf", Norm::Linf), ("l2", Norm::L2), ("l1", Norm::L1)] {
            let settings = &config[name];
            let number = |key: &str| settings[key].as_f64().unwrap();
            let iterations = usize::try_from(settings["iterations"].as_u64().unwrap()).unwrap();
            let mut rule = PgdConfig::new(number("step"), iterations);
            if let Some(sparsity) = settings["l1_sparsity"].as_f64() {
                rule.l1_sparsity = sparsity;
            }
            let threat = ThreatModel::new(norm, number("eps"));
            for start in ["zero", "given"] {
                let key = |what: &str| &file[&format!("{name}.{start}.{what}")];
                let from = if start == "zero" { Start::Clean } else { Start::given(key("start")).unwrap() };
                let attack = GradientAttack::new(Rule::Pgd(rule)).start(from);
                let paths = attack.trajectory(&network, &samples, &threat, 0).unwrap();
                let deltas = |step: usize| -> Vec<f64> {
                    let points = paths.iter().flat_map(|path| path.points[step].iter());
                    points.zip(&clean).map(|(y, x)| y - x).collect()
                };
                assert_near(&format!("{name} {start}"), &deltas(1), &f64s(key("delta_after_1")), 1e-9);
                assert_near(&format!("{name} {start}"), &deltas(iterations), &f64s(key("delta")), 1e-9);
                let losses: Vec<f64> =
                    (0..iterations).map(|step| paths.iter().map(|path| path.losses[step]).sum()).collect();
                assert_near(&format!("{name} {start}"), &losses, &f64s(key("loss_sum")), 1e-9);
            }
        }
    }
}
