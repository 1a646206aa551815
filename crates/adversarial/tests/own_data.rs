//! The programs for own data: `robustness`, `reverse_engineer`, `encode_images`.

#![cfg(feature = "networks")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{D, DType, Device, Tensor};
use core_tensor::Mode;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use std::path::Path;
use std::process::{Command, Output};
use vision::small::{ConvPoolCnnConfig, conv_pool_cnn};
use vision::{ImageNetwork, ImageShape};

fn run(program: &str, folder: &Path, arguments: &[&str]) -> Option<Output> {
    let program = reproduction::example(program)?;
    Some(Command::new(program).current_dir(folder).args(arguments).output().unwrap())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn fails_naming(output: &Output, what: &str) {
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.starts_with("error: ") && said.contains(what) && !said.contains("panicked"), "{said}");
}

#[test]
fn robustness() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let image = ImageShape { channels: 1, height: 28, width: 28 };
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let network = conv_pool_cnn(&ConvPoolCnnConfig::carlini([4, 6], image, 10), store.var_builder()).unwrap();
    let x = Rng::new(1).uniform(0., 1., (6, 1, 28, 28), DType::F32, &Device::Cpu).unwrap();
    let y = network.forward(&x, &mut Mode::evaluate()).unwrap().argmax(D::Minus1).unwrap();
    store.save(at.join("w.safetensors")).unwrap();
    x.write_npy(at.join("x.npy")).unwrap();
    y.to_dtype(DType::I64).unwrap().write_npy(at.join("y.npy")).unwrap();
    let base = ["--images", "x.npy", "--labels", "y.npy", "--network", "carlini-cnn:4,6", "--weights", "w.safetensors"];
    let with = |more: &[&'static str]| {
        [&base[..], &["--classes", "10", "--iterations", "5", "--queries", "20"], more].concat()
    };
    let Some(output) = run("robustness", at, &with(&["--epsilon", "0.3"])) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("robust accuracy"));
    fails_naming(&run("robustness", at, &with(&["--epsilon", "0.3"])).unwrap(), "--force");
    for name in ["index.html", "attacks.csv", "report.json", "survivors.csv", "adversarial.npy", "robustness.svg"] {
        assert!(at.join("robustness").join(name).is_file(), "{name}");
    }
    fails_naming(&run("robustness", at, &with(&["--epsilon", "-1", "--out", "other"])).unwrap(), "epsilon");
    let missing = [&["--images", "no.npy"], &base[2..], &["--epsilon", "0.1"]].concat();
    let said = text(&run("robustness", at, &missing).unwrap().stderr);
    assert_eq!(said.matches("no.npy").count(), 1, "{said}");
    fails_naming(
        &run("robustness", at, &with(&["--epsilon", "0.1", "--out", "third", "--bounds", "0", "0.5"])).unwrap(),
        "range from",
    );
    fails_naming(
        &run("robustness", at, &[&base[..2], &["--labels", "x.npy"], &base[4..], &["--epsilon", "0.1"]].concat())
            .unwrap(),
        "x.npy",
    );
    fails_naming(
        &run("robustness", at, &[&base[..4], &["--network", "what"], &base[6..], &["--epsilon", "0.1"]].concat())
            .unwrap(),
        "what",
    );
}

#[test]
fn reverse_engineer() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut rng = Rng::new(2);
    let mut draw = |shape: (usize, usize)| rng.normal(0., 1., shape, DType::F32, &Device::Cpu).unwrap();
    // two classes and two kinds of attack, each in a plane
    let signals =
        Tensor::cat(&[draw((8, 2)).matmul(&draw((2, 30))).unwrap(), draw((8, 2)).matmul(&draw((2, 30))).unwrap()], 0)
            .unwrap();
    let labels: Vec<i64> = (0..16).map(|row| row / 8).collect();
    let attacks: Vec<Tensor> = (0..2).map(|_| draw((16, 2)).matmul(&draw((2, 30))).unwrap()).collect();
    let input = (signals.narrow(0, 0, 4).unwrap() + (attacks[1].narrow(0, 0, 4).unwrap() * 0.3).unwrap()).unwrap();
    signals.write_npy(at.join("train.npy")).unwrap();
    Tensor::new(labels, &Device::Cpu).unwrap().write_npy(at.join("y.npy")).unwrap();
    attacks[0].write_npy(at.join("a.npy")).unwrap();
    attacks[1].write_npy(at.join("b.npy")).unwrap();
    input.write_npy(at.join("attacked.npy")).unwrap();
    let base = ["--signals", "train.npy", "--labels", "y.npy", "--perturbations", "first=a.npy,second=b.npy"];
    let Some(output) = run("reverse_engineer", at, &[&base[..], &["--input", "attacked.npy"]].concat()) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = std::fs::read_to_string(at.join("reverse_engineered/analysis.csv")).unwrap();
    assert_eq!(table.lines().filter(|line| line.contains(",0,second,")).count(), 4, "{table}");
    let recovery = std::fs::read_to_string(at.join("reverse_engineered/recovery.csv")).unwrap();
    assert_eq!(recovery.lines().count(), 5);
    // planes: what rounding adds is no dimension
    assert!(recovery.lines().skip(1).all(|line| line.split(',').nth(2) == Some("4")), "{recovery}");
    fails_naming(&run("reverse_engineer", at, &[&base[..], &["--input", "y.npy"]].concat()).unwrap(), "y.npy");
    fails_naming(
        &run("reverse_engineer", at, &[&base[..4], &["--perturbations", "a.npy", "--input", "attacked.npy"]].concat())
            .unwrap(),
        "NAME=FILE",
    );
    fails_naming(
        &run(
            "reverse_engineer",
            at,
            &[&base[..], &["--input", "attacked.npy", "--out", "other", "--rounds", "0"]].concat(),
        )
        .unwrap(),
        "rounds",
    );
}

#[test]
fn encode_images() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let x = Rng::new(1).normal(0., 1., (2, 3, 8, 8), DType::F32, &Device::Cpu).unwrap();
    x.write_npy(at.join("x.npy")).unwrap();
    let arguments = ["x.npy", "--key-file", "k", "--units", "8", "--epochs", "2"];
    let Some(output) = run("encode_images", at, &arguments) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    let key = std::fs::read_to_string(at.join("k")).unwrap();
    assert!(!text(&output.stdout).contains(key.trim()));
    let first = std::fs::read(at.join("encoded/codes.npy")).unwrap();
    assert!(
        run("encode_images", at, &[&arguments[..], &["--cache", "c", "--force"]].concat()).unwrap().status.success()
    );
    assert_eq!(std::fs::read_dir(at.join("c")).unwrap().count(), 2);
    assert_eq!(std::fs::read(at.join("encoded/codes.npy")).unwrap().len(), first.len());
    fails_naming(&run("encode_images", at, &[&arguments[..], &["--batch", "7", "--force"]].concat()).unwrap(), "batch");
    std::fs::write(at.join("k"), "secret-but-short").unwrap();
    let output = run("encode_images", at, &[&arguments[..], &["--force"]].concat()).unwrap();
    fails_naming(&output, "64");
    assert!(!text(&output.stderr).contains("secret-but-short"));
}
