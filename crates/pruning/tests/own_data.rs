//! The programs for own data: `speed_up`, `prune_images`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use pruning::{Compiled, Masks, Network};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use vision::ResNetConfig;

const CPU: Device = Device::Cpu;

fn run(program: &str, folder: &Path, arguments: &[&str]) -> Option<Output> {
    let program = reproduction::example(program)?;
    let mut command = Command::new(program);
    let command = command.current_dir(folder).args(arguments).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // one that waits for a pipe waits for ever; what is printed fits the pipes' memory
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(300) {
            child.kill().unwrap();
            panic!("{arguments:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Some(child.wait_with_output().unwrap())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn fails_naming(output: &Output, what: &str) {
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.starts_with("error: ") && said.contains(what) && !said.contains("panicked"), "{what}: {said}");
}

/// A folder and, where there are such things, a pipe.
fn write_no_files(at: &Path) -> Vec<&'static str> {
    std::fs::create_dir(at.join("folder")).unwrap();
    if !cfg!(unix) {
        return vec!["folder"];
    }
    assert!(Command::new("mkfifo").arg(at.join("pipe")).status().unwrap().success());
    vec!["folder", "pipe"]
}

fn has_files(folder: &Path, names: &[&str]) {
    for name in names {
        assert!(folder.join(name).is_file(), "{name}");
    }
}

/// Runs the program with a standard output that nobody reads.
fn run_unheard(program: &str, folder: &Path, arguments: &[&str]) {
    let mut command = Command::new(reproduction::example(program).unwrap());
    let command = command.current_dir(folder).args(arguments).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn images(n: usize, [channels, height, width]: [usize; 3], seed: u64) -> Tensor {
    Rng::new(seed).normal(0., 1., (n, channels, height, width), DType::F32, &CPU).unwrap()
}

/// The number behind some words.
fn number(said: &str, words: &str) -> f64 {
    let rest = &said[said.find(words).unwrap_or_else(|| panic!("no `{words}` in {said}")) + words.len()..];
    rest.split([' ', ',', '\n']).find(|word| !word.is_empty()).unwrap().parse().unwrap()
}

#[test]
fn speed_up() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let network = Network::resnet(&ResNetConfig::resnet20(10), (16, 16)).unwrap();
    let store = ParamStore::new(3, DType::F32, &CPU);
    network.build(store.var_builder()).unwrap();
    store.save(at.join("w.safetensors")).unwrap();
    let base = ["--weights", "w.safetensors", "--arch", "resnet20", "--image", "3,16,16", "--batch", "8"];
    let with = |more: &[&'static str]| [&base[..], more].concat();

    for (method, sparsity) in [("regroup", "0.74"), ("refill", "0.5"), ("magnitude", "0.5")] {
        let arguments = [&base[..], &["--method", method, "--sparsity", sparsity, "--out", method]].concat();
        let Some(output) = run("speed_up", at, &arguments) else { return };
        let said = succeeds(&output);
        assert!(
            said.contains("layer3.2.conv2") && said.contains("8 images: ") && said.contains("1 images: "),
            "{said}"
        );
        assert!(number(&said, "largest difference to the masked network:") < 1e-4, "{said}");
        // it runs without the network
        let fast = Compiled::load(at.join(method).join("network.safetensors")).unwrap();
        assert_eq!(fast.forward(&images(7, [3, 16, 16], 1)).unwrap().dims(), [7, 10]);
        let (before, after) = fast.report().multiplications();
        assert_eq!(after < before, method != "magnitude", "{method}: {after} of {before}");
        let layer = fast.report().layers.iter().find(|layer| layer.name == "layer3.2.conv2").unwrap();
        assert!((layer.density - (1. - sparsity.parse::<f64>().unwrap())).abs() < 0.05, "{}", layer.density);
    }

    // what is there stays, and no time is lost before that is said
    let refill = at.join("refill/network.safetensors");
    let before = std::fs::read(&refill).unwrap();
    has_files(&at.join("refill"), &["index.html", "layers.csv", "layers.svg", "times.csv", "report.json"]);
    let page = std::fs::read_to_string(at.join("refill/index.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("layer3.2.conv2"));
    fails_naming(&run("speed_up", at, &with(&["--out", "refill"])).unwrap(), "--force");
    assert_eq!(std::fs::read(&refill).unwrap(), before);
    succeeds(&run("speed_up", at, &with(&["--out", "refill", "--force", "--sparsity", "0"])).unwrap());
    assert_ne!(std::fs::read(&refill).unwrap(), before);
    run_unheard("speed_up", at, &with(&["--out", "unheard"]));
    assert!(at.join("unheard/index.html").is_file());
    let out = "w.safetensors/fast";
    fails_naming(&run("speed_up", at, &with(&["--out", out])).unwrap(), out);
    for name in write_no_files(at) {
        if name != "folder" {
            fails_naming(&run("speed_up", at, &with(&["--out", name, "--force"])).unwrap(), name);
        }
        fails_naming(&run("speed_up", at, &[&["--weights", name], &base[2..]].concat()).unwrap(), name);
    }
    fails_naming(&run("speed_up", at, &[&["--weights", "absent"], &base[2..]].concat()).unwrap(), "absent");
    std::fs::write(at.join("text"), "no weights").unwrap();
    fails_naming(&run("speed_up", at, &[&["--weights", "text"], &base[2..]].concat()).unwrap(), "text");
    fails_naming(&run("speed_up", at, &with(&["--sparsity", "1"])).unwrap(), "--sparsity 1");
    fails_naming(&run("speed_up", at, &with(&["--classes", "7"])).unwrap(), "fc.weight");
    fails_naming(&run("speed_up", at, &with(&["--threads", "0"])).unwrap(), "--threads");
    fails_naming(&run("speed_up", at, &[&base[..3], &["what"], &base[4..]].concat()).unwrap(), "resnet18");
    fails_naming(&run("speed_up", at, &[&base[..5], &["3,16"], &base[6..]].concat()).unwrap(), "--image");
    fails_naming(&run("speed_up", at, &[&base[..5], &["3,0,16"], &base[6..]].concat()).unwrap(), "0");
    let weight = Tensor::full(f32::NAN, (64, 64, 3, 3), &CPU).unwrap();
    store.set("layer3.2.conv1.weight", &weight).unwrap();
    store.save(at.join("w.safetensors")).unwrap();
    fails_naming(&run("speed_up", at, &base).unwrap(), "layer3.2.conv1.weight");
}

/// Images of three classes: a template of each, with noise.
fn classes(n: usize, seed: u64) -> (Tensor, Vec<i64>) {
    let labels: Vec<i64> = (0..n as i64).map(|at| at % 3).collect();
    let rows = Tensor::from_vec(labels.iter().map(|&label| label as u32).collect(), n, &CPU).unwrap();
    let templates = images(3, [2, 9, 8], 100).index_select(&rows, 0).unwrap();
    // neither mean 0 nor deviation 1
    let x = (images(n, [2, 9, 8], seed) + templates).unwrap().affine(20., 100.).unwrap();
    (x, labels)
}

fn write_npz(path: &Path, x: &Tensor, y: &[i64]) {
    let y = Tensor::new(y, &CPU).unwrap();
    Tensor::write_npz(&[("x", x), ("y", &y)], path).unwrap();
}

#[test]
fn prune_images() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let ((x, y), (test_x, test_y)) = (classes(240, 1), classes(120, 2));
    write_npz(&at.join("train.npz"), &x, &y);
    write_npz(&at.join("test.npz"), &test_x, &test_y);
    let settings = ["--rounds", "2", "--epochs", "4", "--batch", "24", "--rewind", "5", "--learning-rate", "0.05"];
    let base = [&["train.npz", "test.npz"][..], &settings].concat();
    let with = |more: &[&'static str]| [&base[..], more].concat();

    let all = with(&["--method", "imp,regroup,refill,refill-plus", "--out", "tickets"]);
    let Some(output) = run("prune_images", at, &all) else { return };
    succeeds(&output);
    let out = at.join("tickets");
    let front = std::fs::read_to_string(out.join("front.csv")).unwrap();
    let rows: Vec<Vec<&str>> = front.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let names: Vec<[&str; 2]> = rows.iter().map(|row| [row[0], row[1]]).collect();
    let expected =
        [["dense", "0"], ["imp", "1"], ["imp", "2"], ["regroup", "2"], ["refill", "2"], ["refill-plus", "2"]];
    assert_eq!(names, expected);
    assert!(std::fs::read_to_string(out.join("front.svg")).unwrap().contains("</svg>"));
    has_files(&out, &["front.json", "index.html"]);

    // compact networks run alone, on images that are standardised like those for training
    let mean = x.mean_keepdim((0, 2, 3)).unwrap();
    let deviation = x.broadcast_sub(&mean).unwrap().sqr().unwrap().mean_keepdim((0, 2, 3)).unwrap().sqrt().unwrap();
    let standardized = test_x.broadcast_sub(&mean).unwrap().broadcast_div(&deviation).unwrap();
    for row in &rows[1..] {
        let (name, density, accuracy) = (format!("{}-{}.safetensors", row[0], row[1]), row[2], row[3]);
        let compact = Compiled::load(out.join(format!("network-{name}"))).unwrap();
        let found = compact.forward(&standardized).unwrap().argmax(1).unwrap().to_vec1::<u32>().unwrap();
        let right = found.iter().zip(&test_y).filter(|(found, label)| i64::from(**found) == **label).count();
        let own = 100. * right as f64 / test_y.len() as f64;
        assert!((own - accuracy.parse::<f64>().unwrap()).abs() < 0.01, "{name}: {own}, written {accuracy}");
        assert!(own > 60., "{name}: {own} % of three classes");
        let masks = Masks::load(out.join(format!("masks-{name}"))).unwrap();
        let weights: Masks = masks
            .iter()
            .filter(|(_, mask)| mask.shape().len() > 1)
            .map(|(name, mask)| (name.to_owned(), mask.clone()))
            .collect();
        assert!((weights.density() - density.parse::<f64>().unwrap()).abs() < 1e-4, "{name}");
    }

    // the same command goes on in its folder, to the same results; another one does not
    let accuracies = |text: &str| text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect();
    let before: Vec<String> = accuracies(&front);
    let said = succeeds(&run("prune_images", at, &all).unwrap());
    assert!(!said.contains("round 0, density"), "{said}");
    let again: Vec<String> = accuracies(&std::fs::read_to_string(out.join("front.csv")).unwrap());
    assert_eq!(again, before);
    let other = [&all[..], &["--seed", "1"]].concat();
    fails_naming(&run("prune_images", at, &other).unwrap(), "`--seed 1`");
    let other = [&["test.npz"], &all[1..]].concat();
    fails_naming(&run("prune_images", at, &other).unwrap(), "training images: 120 of [2, 9, 8]");
    let none =
        [&["train.npz", "test.npz", "--rounds", "0"], &settings[2..], &["--seed", "1", "--out", "tickets"]].concat();
    fails_naming(&run("prune_images", at, &none).unwrap(), "--force");
    let none = [&none[..], &["--force"]].concat();
    run_unheard("prune_images", at, &none);
    assert!(!out.join("network-imp-1.safetensors").exists() && out.join("front.csv").exists());
}

#[test]
fn prune_images_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (x, y) = classes(30, 1);
    write_npz(&at.join("good.npz"), &x, &y);
    let settings = ["--rounds", "0", "--epochs", "1", "--batch", "10", "--rewind", "1"];
    let refused = |train: &str, test: &str, more: &[&str], what: &str| {
        let arguments = [&[train, test][..], &settings, more].concat();
        let Some(output) = run("prune_images", at, &arguments) else { return };
        fails_naming(&output, what);
        assert!(!at.join("tickets").exists(), "{what}");
    };
    let bad = |x: &Tensor, y: &[i64], what: &str| {
        write_npz(&at.join("bad.npz"), x, y);
        refused("bad.npz", "good.npz", &[], "bad.npz");
        refused("bad.npz", "good.npz", &[], what);
    };
    bad(&x, &y[1..], "expected [30]");
    bad(&x.flatten_from(1).unwrap(), &y, "has shape [30, 144]");
    bad(&x.narrow(0, 0, 0).unwrap(), &[], "no images");
    bad(&x, &y.iter().map(|label| label - 1).collect::<Vec<_>>(), "label 0 is -1");
    let infinite = (&x / 0.).unwrap();
    bad(&infinite, &y, "image 0");
    Tensor::write_npz(&[("images", &x)], at.join("bad.npz")).unwrap();
    refused("bad.npz", "good.npz", &[], "`x`");
    std::fs::write(at.join("bad.npz"), "no archive").unwrap();
    refused("bad.npz", "good.npz", &[], "bad.npz");
    let bytes = std::fs::read(at.join("good.npz")).unwrap();
    std::fs::write(at.join("bad.npz"), &bytes[..bytes.len() / 2]).unwrap();
    refused("bad.npz", "good.npz", &[], "bad.npz");
    for name in [write_no_files(at), vec!["absent.npz"]].concat() {
        refused(name, "good.npz", &[], name);
        refused("good.npz", name, &[], name);
    }
    write_npz(&at.join("other.npz"), &x.narrow(2, 0, 8).unwrap(), &y);
    refused("good.npz", "other.npz", &[], "[2, 8, 8]");
    write_npz(&at.join("other.npz"), &x, &y.iter().map(|label| label + 1).collect::<Vec<_>>());
    refused("good.npz", "other.npz", &[], "label 2 is 3");
    refused("good.npz", "good.npz", &["--arch", "what"], "small-cnn");
    refused("good.npz", "good.npz", &["--learning-rate", "nan"], "--learning-rate");
    refused("good.npz", "good.npz", &["--every", "0"], "--every");
    refused("good.npz", "good.npz", &["--out", "good.npz"], "good.npz");
    let rewind = [&settings[..7], &["3"]].concat();
    let Some(output) = run("prune_images", at, &[&["good.npz", "good.npz"][..], &rewind].concat()) else { return };
    fails_naming(&output, "--rewind 3");
    std::fs::create_dir(at.join("mine")).unwrap();
    std::fs::write(at.join("mine/notes.txt"), "mine").unwrap();
    refused("good.npz", "good.npz", &["--out", "mine"], "--force");
    let arguments = [&["good.npz", "good.npz"][..], &settings, &["--out", "mine", "--force"]].concat();
    succeeds(&run("prune_images", at, &arguments).unwrap());
    assert_eq!(std::fs::read_to_string(at.join("mine/notes.txt")).unwrap(), "mine");
    assert!(at.join("mine/front.csv").is_file());
}
