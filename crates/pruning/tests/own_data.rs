//! The program for own images, run as a user runs it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor};
use core_tensor::random::Rng;
use std::path::Path;
use std::process::{Command, Output};

fn archive(path: &Path, seed: u64) {
    let x = Rng::new(seed).normal(0., 1., (40, 1, 8, 8), DType::F32, &Device::Cpu).unwrap();
    let y = Tensor::new((0..40).map(|at| at % 2).collect::<Vec<i64>>(), &Device::Cpu).unwrap();
    Tensor::write_npz(&[("x", &x), ("y", &y)], path).unwrap();
}

#[test]
fn rounds_of_other_settings_are_not_taken_for_those_of_this_run() {
    let Some(program) = reproduction::example("prune_images") else { return };
    let folder = tempfile::tempdir().unwrap();
    archive(&folder.path().join("a.npz"), 1);
    archive(&folder.path().join("b.npz"), 2);
    let run = |train: &str, more: &[&str]| -> Output {
        let fixed =
            [train, "b.npz", "--method", "imp", "--rounds", "1", "--batch", "10", "--rewind", "1", "--out", "t"];
        Command::new(&program).current_dir(folder.path()).args(fixed).args(more).output().unwrap()
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).matches("\nround ").count();
    let first = run("a.npz", &["--epochs", "1"]);
    assert!(first.status.success() && said(&first) == 2, "{first:?}");
    let again = run("a.npz", &["--epochs", "1"]);
    assert!(again.status.success() && said(&again) == 0, "{again:?}");
    for (train, epochs) in [("a.npz", "2"), ("b.npz", "1")] {
        let refused = run(train, &["--epochs", epochs]);
        let reason = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && reason.starts_with("error: t holds rounds"), "{reason}");
    }
    let anew = run("b.npz", &["--epochs", "2", "--force"]);
    assert!(anew.status.success() && said(&anew) == 2, "{anew:?}");
    let missing = run("no.npz", &["--epochs", "1"]);
    assert_eq!(String::from_utf8_lossy(&missing.stderr).matches("no.npz").count(), 1, "{missing:?}");
}
