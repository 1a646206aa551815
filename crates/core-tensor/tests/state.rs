//! Randomness, parameters and checkpoints: what must be the same after a restart.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor};
use candle_nn::{Init, Module};
use core_tensor::checkpoint::{self, Checkpoint};
use core_tensor::init;
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Error, nn, ops};
use rand::RngCore;
use std::collections::BTreeMap;
use std::path::Path;

fn store(seed: u64) -> ParamStore {
    ParamStore::new(seed, DType::F32, &Device::Cpu)
}

fn flat(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn forks_depend_on_seed_and_name_only() {
    let mut rng = Rng::new(1);
    let before = rng.fork("a");
    rng.next_u64();
    assert_eq!(before, rng.fork("a"));
    assert_ne!(before, rng.fork("b"));
    assert_ne!(before, Rng::new(2).fork("a"));
    assert_ne!(rng.fork("a").fork("b"), rng.fork("ab"));
}

#[test]
fn a_generator_continues_exactly_after_serialisation() {
    let mut rng = Rng::new(3).fork("x");
    // An odd number of words, so that the position within a block matters.
    for _ in 0..37 {
        rng.next_u32();
    }
    let text = serde_json::to_string(&rng).unwrap();
    let mut restored: Rng = serde_json::from_str(&text).unwrap();
    assert_eq!(restored, rng);
    assert!((0..100).all(|_| rng.next_u64() == restored.next_u64()));
}

#[test]
fn the_stream_of_a_seed_never_changes() {
    // Published results depend on these numbers: a change of them is a change of every result.
    let mut rng = Rng::new(42);
    assert_eq!([rng.next_u64(), rng.next_u64()], [12_578_764_544_318_200_737, 17_529_487_244_874_322_312]);
    assert_eq!(
        (Rng::new(42).fork("weights").next_u64(), Rng::new(42).permutation(6)),
        (15_752_114_522_085_639_187, vec![2, 0, 3, 1, 5, 4])
    );
}

#[test]
fn permutations_and_samples_are_what_they_say() {
    let mut rng = Rng::new(0);
    let mut p = rng.permutation(1000);
    p.sort_unstable();
    assert!(p.iter().enumerate().all(|(i, &v)| i == v as usize));
    let mut s = rng.sample_without_replacement(1000, 300);
    s.sort_unstable();
    s.dedup();
    assert!(s.len() == 300 && s.iter().all(|&v| v < 1000));
    assert_eq!(rng.sample_without_replacement(3, 10).len(), 3);
    assert!(rng.permutation(0).is_empty());
    assert_eq!(rng.below(0), 0);
    // Each of 6 orders of 3 is drawn 10 000 times of 60 000, with a standard deviation of 91; 5 of them are allowed.
    let mut counts = BTreeMap::new();
    for _ in 0..60_000 {
        *counts.entry(rng.permutation(3)).or_insert(0_i32) += 1;
    }
    assert!(counts.len() == 6 && counts.values().all(|c| (c - 10_000).abs() < 460), "{counts:?}");
}

#[test]
fn initial_values_do_not_depend_on_the_order_of_creation() {
    let (a, b) = (store(7), store(7));
    nn::linear(4, 3, a.var_builder().pp("first")).unwrap();
    candle_nn::linear(3, 2, a.var_builder().pp("second")).unwrap();
    candle_nn::linear(3, 2, b.var_builder().pp("second")).unwrap();
    nn::linear(4, 3, b.var_builder().pp("first")).unwrap();
    for ((name_a, a), (name_b, b)) in a.vars().iter().zip(&b.vars()) {
        assert_eq!((name_a, flat(a)), (name_b, flat(b)));
    }
    let other = store(8);
    nn::linear(4, 3, other.var_builder().pp("first")).unwrap();
    assert_ne!(flat(&other.vars()[1].1), flat(&a.vars()[1].1));
}

#[test]
fn a_parameter_is_created_once_and_checked_after() {
    let s = store(0);
    let vb = s.var_builder();
    let w = vb.get_with_hints((2, 3), "w", init::glorot_uniform(3, 2)).unwrap();
    assert_eq!(flat(&w), flat(&vb.get_with_hints((2, 3), "w", Init::Const(9.)).unwrap()));
    let message = vb.get((3, 2), "w").unwrap_err().to_string();
    assert!(message.contains("`w`") && message.contains("[2, 3]") && message.contains("[3, 2]"), "{message}");
    assert!(vb.get_unchecked("absent").is_err());
    assert!(vb.contains_tensor("w") && !vb.contains_tensor("absent"));
    // Another dtype is a conversion on the tape.
    let wide = vb.get_with_hints_dtype((2, 3), "w", Init::Const(0.), DType::F64).unwrap();
    let grads = wide.sum_all().unwrap().backward().unwrap();
    assert_eq!(flat(grads.get(&w).unwrap()), [1.; 6]);
    let orthogonal = s.get_with("o", (2, 2), init::Init::Orthogonal { gain: 1. }).unwrap();
    assert_eq!(orthogonal.dims(), [2, 2]);
    assert!(s.get_with("v", 2, init::Init::Orthogonal { gain: 1. }).is_err());
    assert_eq!(s.vars().len(), 2, "a parameter that could not be made is not there");
}

#[test]
fn snapshots_are_copies_and_restore_what_was() {
    let s = store(0);
    let layer = nn::linear(2, 2, s.var_builder()).unwrap();
    let before = s.snapshot().unwrap();
    s.set("weight", &Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap()).unwrap();
    assert_eq!(flat(layer.weight()), [0.; 4], "layers see what is set");
    assert_ne!(flat(&before["weight"]), [0.; 4]);
    s.restore(&before).unwrap();
    assert_eq!(flat(layer.weight()), flat(&before["weight"]));
    // A parameter set from itself must not deadlock.
    s.set("weight", layer.weight()).unwrap();
    s.set("weight", &layer.weight().t().unwrap()).unwrap();
}

#[test]
fn files_are_checked_against_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let s = store(0);
    nn::linear(3, 2, s.var_builder().pp("a")).unwrap();
    s.save(&path).unwrap();
    let same = store(1);
    nn::linear(3, 2, same.var_builder().pp("a")).unwrap();
    same.load(&path).unwrap();
    assert_eq!(flat(&same.vars()[1].1), flat(&s.vars()[1].1));

    let other = ParamStore::new(0, DType::F64, &Device::Cpu);
    nn::linear(4, 2, other.var_builder().pp("a")).unwrap();
    nn::linear(3, 2, other.var_builder().pp("b")).unwrap();
    let before = other.snapshot().unwrap();
    let Err(Error::Mismatch { problems, .. }) = other.load(&path) else { panic!("a mismatch is expected") };
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(problems.iter().any(|p| p.contains("`a.weight` has shape [2, 3], expected [2, 4]")), "{problems:?}");
    assert!(problems.iter().any(|p| p.contains("`a.bias` has dtype F32, expected F64")), "{problems:?}");
    assert!(problems.iter().any(|p| p.contains("`b.weight` is missing")), "{problems:?}");
    let list = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    assert!(other.snapshot().unwrap().iter().all(|(name, now)| list(now) == list(&before[name])));

    std::fs::write(&path, b"not tensors").unwrap();
    assert!(s.load(&path).is_err());
    assert!(s.load(folder.path().join("absent")).is_err());
    assert!(s.set("absent", &Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap()).is_err());
}

/// A small model that learns, with everything that a checkpoint must hold.
struct Run {
    store: ParamStore,
    layer: nn::Linear,
    optimizer: Adam,
    rng: Rng,
}

impl Run {
    fn new() -> Self {
        let store = store(5);
        let layer = nn::linear(6, 1, store.var_builder()).unwrap();
        let optimizer = Adam::new(store.trainable(), AdamConfig::default()).unwrap();
        Self { store, layer, optimizer, rng: Rng::new(9) }
    }

    fn step(&mut self) -> f32 {
        let x = self.rng.normal(0., 1., (8, 6), DType::F32, &Device::Cpu).unwrap();
        let y = x.narrow(1, 0, 1).unwrap().contiguous().unwrap();
        let loss = ops::mse(&self.layer.forward(&x).unwrap(), &y).unwrap();
        self.optimizer.backward_step(&loss).unwrap();
        loss.to_scalar().unwrap()
    }

    fn save(&self, folder: &Path, step: u64) {
        let mut checkpoint = Checkpoint::new(step);
        checkpoint.parameters = self.store.snapshot().unwrap();
        checkpoint.optimizer = Some(self.optimizer.state().unwrap());
        checkpoint.rngs.insert("data".to_string(), self.rng.clone());
        checkpoint.extra = serde_json::json!({ "best": 0.1 });
        checkpoint.save(folder).unwrap();
    }

    fn load(folder: &Path) -> (Self, u64) {
        let mut run = Self::new();
        let checkpoint = Checkpoint::load_latest(folder).unwrap().unwrap();
        run.store.restore(&checkpoint.parameters).unwrap();
        run.optimizer.load_state(&checkpoint.optimizer.unwrap()).unwrap();
        run.rng = checkpoint.rngs["data"].clone();
        assert_eq!(checkpoint.extra["best"], 0.1);
        (run, checkpoint.step)
    }
}

#[test]
fn a_resumed_run_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::new();
    for _ in 0..5 {
        run.step();
    }
    run.save(folder.path(), 5);
    let rest: Vec<u32> = (0..5).map(|_| run.step().to_bits()).collect();
    let (mut resumed, step) = Run::load(folder.path());
    assert_eq!(step, 5);
    assert_eq!(rest, (0..5).map(|_| resumed.step().to_bits()).collect::<Vec<_>>());
}

#[test]
fn two_checkpoints_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Checkpoint::load_latest(folder.path()).unwrap().is_none());
    assert!(Checkpoint::load_latest(folder.path().join("absent")).unwrap().is_none());
    for step in [1, 2, 10] {
        Run::new().save(folder.path(), step);
    }
    let mut names: Vec<String> =
        std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["step-10.json", "step-10.safetensors", "step-2.json", "step-2.safetensors"]);
}

#[test]
fn a_damaged_checkpoint_is_found_and_the_previous_one_used() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("tensors cut short", |f| {
            let bytes = std::fs::read(f.join("step-2.safetensors")).unwrap();
            std::fs::write(f.join("step-2.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("one bit of the tensors", |f| {
            let mut bytes = std::fs::read(f.join("step-2.safetensors")).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(f.join("step-2.safetensors"), bytes).unwrap();
        }),
        ("tensors of another step", |f| {
            std::fs::copy(f.join("step-1.safetensors"), f.join("step-2.safetensors")).map(drop).unwrap();
        }),
        ("tensors absent", |f| std::fs::remove_file(f.join("step-2.safetensors")).unwrap()),
        ("header cut short", |f| {
            let text = std::fs::read(f.join("step-2.json")).unwrap();
            std::fs::write(f.join("step-2.json"), &text[..text.len() / 2]).unwrap();
        }),
        ("a number of the header", |f| {
            let text = std::fs::read_to_string(f.join("step-2.json")).unwrap();
            std::fs::write(f.join("step-2.json"), text.replace("0.1", "0.2")).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Run::new();
        run.save(folder.path(), 1);
        run.step();
        run.save(folder.path(), 2);
        damage(folder.path());
        assert_eq!(Checkpoint::load_latest(folder.path()).unwrap().unwrap().step, 1, "{what}");
        std::fs::remove_file(folder.path().join("step-1.safetensors")).unwrap();
        assert!(matches!(Checkpoint::load_latest(folder.path()), Err(Error::Checkpoint { .. })), "{what}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_checkpoint_is_an_error() {
    for file in ["step-2.json", "step-2.safetensors"] {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Run::new();
        run.save(folder.path(), 1);
        run.step();
        run.save(folder.path(), 2);
        let path = folder.path().join(file);
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(Checkpoint::load_latest(folder.path()).unwrap().unwrap().step, 1, "{file}");
        assert!(matches!(checkpoint::read_tensors(&path), Err(Error::Io { .. })), "{file}");
    }
}

#[test]
fn errors_of_ours_pass_through_candles() {
    let ours = Error::Threads("x".to_string());
    let theirs: candle_core::Error = ours.into();
    assert!(theirs.to_string().contains("threads: x"));
    let back: Error = candle_core::Error::Msg("y".to_string()).into();
    assert!(matches!(back, Error::Candle(_)));
}
