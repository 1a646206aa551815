//! The parts of training loops: steps, hooks, groups, freezing, masks, best states, cancellation, gradients by inputs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Module, Tensor, Var};
use core_tensor::checkpoint::Checkpoint;
use core_tensor::nn::{self, Linear};
use core_tensor::optim::{Adam, AdamConfig, AdamW, Optimizer, ParamGroup, Sgd, SgdConfig};
use core_tensor::params::{Masks, ParamStore, Parameters};
use core_tensor::random::Rng;
use core_tensor::schedule::{Better, PlateauConfig, Schedule};
use core_tensor::train::{
    BestState, Cancellation, Classifier, GradientHook, Gradients, Observer, Rest, Trainer, input_gradient, minibatches,
    ragged_minibatches,
};
use core_tensor::{Error, Mode, Result, ops};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Two layers, `encoder` and `head`.
struct Net {
    store: ParamStore,
    encoder: Linear,
    head: Linear,
}

impl Net {
    fn new(store: ParamStore) -> Self {
        let vb = store.var_builder();
        let encoder = nn::linear(3, 4, vb.pp("encoder")).unwrap();
        let head = nn::linear(4, 2, vb.pp("head")).unwrap();
        Self { store, encoder, head }
    }

    fn seeded(seed: u64) -> Self {
        Self::new(ParamStore::new(seed, DType::F64, &Device::Cpu))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.head.forward(&ops::tanh(&self.encoder.forward(x)?)?)?)
    }

    fn loss(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.forward(x)?.sqr()?.mean_all()?)
    }

    fn values(&self) -> BTreeMap<String, Vec<f64>> {
        values(&self.store)
    }
}

fn values(store: &ParamStore) -> BTreeMap<String, Vec<f64>> {
    let flat = |(name, var): (String, Var)| (name, var.flatten_all().unwrap().to_vec1().unwrap());
    store.vars().into_iter().map(flat).collect()
}

fn input(seed: u64) -> Tensor {
    Rng::new(seed).normal(0., 1., (5, 3), DType::F64, &Device::Cpu).unwrap()
}

fn sgd(store: &ParamStore, learning_rate: f64) -> Sgd {
    Sgd::new(store, SgdConfig { learning_rate, momentum: 0.9, ..Default::default() }).unwrap()
}

#[test]
fn a_step_is_backward_clip_schedule_and_optimiser() {
    let (a, b) = (Net::seeded(0), Net::seeded(0));
    let mut trainer =
        Trainer::new(sgd(&a.store, 0.1)).schedule(Schedule::Exponential { gamma: 0.5 }).clip_norm(0.01).unwrap();
    let mut by_hand = sgd(&b.store, 0.1);
    for step in 0..4 {
        let x = input(step);
        let done = trainer.step(&a.loss(&x).unwrap()).unwrap();
        let mut grads = b.loss(&x).unwrap().backward().unwrap();
        let norm = core_tensor::optim::clip_grad_norm(&b.store.trainable(), &mut grads, 0.01).unwrap();
        by_hand.set_learning_rate(0.1 * 0.5f64.powi(step as i32));
        by_hand.step(&grads).unwrap();
        assert_eq!(done.number, step);
        assert!((done.gradient_norm.unwrap() - norm).abs() < 1e-12);
        assert!((done.learning_rate - by_hand.learning_rate()).abs() < 1e-15);
    }
    for (name, value) in a.values() {
        let other = &b.values()[&name];
        // the two backward passes add in another order
        assert!(value.iter().zip(other).all(|(p, q)| (p - q).abs() < 1e-13), "{name}");
    }
}

#[test]
fn what_no_loss_reached_keeps_values_moments_and_step_counts() {
    for is_adam in [false, true] {
        let net = Net::seeded(0);
        let optimizer: Box<dyn Fn() -> Box<dyn Optimizer>> = Box::new(|| match is_adam {
            true => Box::new(AdamW::new(&net.store, AdamConfig { weight_decay: 0.1, ..Default::default() }).unwrap()),
            false => Box::new(
                Sgd::new(&net.store, SgdConfig { momentum: 0.9, weight_decay: 0.1, ..Default::default() }).unwrap(),
            ),
        });
        let mut optimizer = optimizer();
        optimizer.backward_step(&net.loss(&input(0)).unwrap()).unwrap();
        let (before, state) = (net.values(), optimizer.state().unwrap());
        // the head alone takes part
        let hidden = Tensor::ones((2, 4), DType::F64, &Device::Cpu).unwrap();
        optimizer.backward_step(&net.head.forward(&hidden).unwrap().sum_all().unwrap()).unwrap();
        let (after, later) = (net.values(), optimizer.state().unwrap());
        for name in ["encoder.weight", "encoder.bias"] {
            assert_eq!(before[name], after[name]);
            assert_eq!((state.steps[name], later.steps[name]), (1, 1));
        }
        for (name, tensor) in state.tensors.iter().filter(|(name, _)| name.contains("encoder")) {
            let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            assert_eq!(flat(tensor), flat(&later.tensors[name]), "{name}");
        }
        assert_ne!(before["head.weight"], after["head.weight"]);
        assert_eq!(later.steps["head.weight"], 2);
    }
}

#[test]
fn accumulated_gradients_are_those_of_the_sum() {
    let (a, b) = (Net::seeded(0), Net::seeded(0));
    let (mut one, mut other) = (Trainer::new(sgd(&a.store, 0.1)), Trainer::new(sgd(&b.store, 0.1)));
    one.accumulate(&a.loss(&input(1)).unwrap()).unwrap();
    one.accumulate(&a.loss(&input(2)).unwrap()).unwrap();
    one.step(&a.loss(&input(3)).unwrap()).unwrap();
    let sum = (1..4).map(|seed| b.loss(&input(seed)).unwrap()).reduce(|p, q| (p + q).unwrap()).unwrap();
    other.step(&sum).unwrap();
    for (name, value) in a.values() {
        assert!(value.iter().zip(&b.values()[&name]).all(|(p, q)| (p - q).abs() < 1e-13), "{name}");
    }
    // nothing is left for the next step
    one.step(&a.loss(&input(4)).unwrap()).unwrap();
    other.step(&b.loss(&input(4)).unwrap()).unwrap();
    for (name, value) in a.values() {
        assert!(value.iter().zip(&b.values()[&name]).all(|(p, q)| (p - q).abs() < 1e-13), "{name}");
    }
}

/// Notes what it is asked.
struct Noting {
    notes: Rc<RefCell<Vec<String>>>,
    fails: bool,
}

impl GradientHook for Noting {
    fn observer(&mut self) -> Result<Option<Observer>> {
        let notes = self.notes.clone();
        Ok(Some(Box::new(move |_, _| notes.borrow_mut().push("observed".to_string()))))
    }

    fn apply(&mut self, gradients: &mut Gradients<'_>) -> Result<()> {
        let names: Vec<&str> = gradients.iter().map(|(name, _, _)| name).collect();
        self.notes.borrow_mut().push(names.join(" "));
        match self.fails {
            true => Err(Error::Hook("lost a rank".into())),
            false => Ok(()),
        }
    }

    fn abandon(&mut self, error: &Error) {
        self.notes.borrow_mut().push(format!("abandoned: {error}"));
    }

    fn after_step(&mut self, parameters: &Parameters, changed: &[usize]) -> Result<()> {
        let names: Vec<&str> = changed.iter().map(|&at| parameters[at].0.as_str()).collect();
        self.notes.borrow_mut().push(format!("changed {}", names.join(" ")));
        Ok(())
    }
}

#[test]
fn hooks_see_gradients_as_they_are_found_and_after_the_step() {
    let net = Net::seeded(0);
    let notes = Rc::new(RefCell::new(Vec::new()));
    let mut trainer = Trainer::new(sgd(&net.store, 0.1)).hook(Noting { notes: notes.clone(), fails: false });
    trainer.step(&net.loss(&input(0)).unwrap()).unwrap();
    assert!(trainer.find_hook::<Noting>().is_some_and(|hook| !hook.fails));
    let notes = notes.borrow();
    assert_eq!(notes.iter().filter(|note| *note == "observed").count(), 4);
    let all = "encoder.bias encoder.weight head.bias head.weight";
    assert_eq!(notes[4..], [all.to_string(), format!("changed {all}")]);
}

#[test]
fn a_hook_that_fails_stops_the_step_and_tells_those_behind_it() {
    let net = Net::seeded(0);
    let (first, second) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
    let mut trainer = Trainer::new(sgd(&net.store, 0.1))
        .hook(Noting { notes: first, fails: true })
        .hook(Noting { notes: second.clone(), fails: false });
    let before = net.values();
    let error = trainer.step(&net.loss(&input(0)).unwrap()).unwrap_err();
    assert!(matches!(&error, Error::Hook(_)) && error.to_string() == "lost a rank", "{error}");
    assert_eq!(net.values(), before);
    assert_eq!(second.borrow().last().unwrap(), "abandoned: lost a rank");
    assert_eq!(trainer.num_steps(), 0);
}

#[test]
fn groups_have_their_own_settings_and_share_one_state() {
    let (a, b) = (Net::seeded(0), Net::seeded(0));
    let config = AdamConfig { weight_decay: 0.5, ..Default::default() };
    let groups = [
        ParamGroup::vectors(AdamConfig { weight_decay: 0., ..config }),
        ParamGroup::matching("encoder.*", AdamConfig { learning_rate: 1e-4, ..config }),
    ];
    let mut grouped = AdamW::with_groups(&a.store, config, &groups).unwrap();
    // the same as three optimisers
    let part = |names: &[&str]| {
        let all = b.store.trainable().into_iter();
        all.filter(|(name, _)| names.contains(&name.as_str())).collect::<Vec<_>>()
    };
    let vectors = AdamConfig { weight_decay: 0., ..config };
    let mut parts = [
        AdamW::new(part(&["encoder.bias", "head.bias"]), vectors).unwrap(),
        AdamW::new(part(&["encoder.weight"]), AdamConfig { learning_rate: 1e-4, ..config }).unwrap(),
        AdamW::new(part(&["head.weight"]), config).unwrap(),
    ];
    for step in 0..3 {
        let factor = 1. - 0.25 * step as f64;
        grouped.set_learning_rate(1e-3 * factor);
        grouped.backward_step(&a.loss(&input(step)).unwrap()).unwrap();
        let grads = core_tensor::backward(&b.loss(&input(step)).unwrap()).unwrap();
        for (optimizer, rate) in parts.iter_mut().zip([1e-3, 1e-4, 1e-3]) {
            optimizer.set_learning_rate(rate * factor);
            optimizer.step(&grads).unwrap();
        }
    }
    for (name, value) in a.values() {
        assert!(value.iter().zip(&b.values()[&name]).all(|(p, q)| (p - q).abs() < 1e-15), "{name}");
    }
    let state = grouped.state().unwrap();
    assert_eq!(state.steps.len(), 4);
    let mut other = AdamW::with_groups(&a.store, config, &groups).unwrap();
    other.load_state(&state).unwrap();
    assert_eq!(other.learning_rate(), grouped.learning_rate());
}

#[test]
fn sgd_groups_with_and_without_momentum_restore_from_one_state() {
    let net = Net::seeded(0);
    let momentum = SgdConfig { momentum: 0.9, ..Default::default() };
    let groups = [ParamGroup::matching("*.weight", momentum)];
    let mut first = Sgd::with_groups(&net.store, SgdConfig::default(), &groups).unwrap();
    first.backward_step(&net.loss(&input(0)).unwrap()).unwrap();
    let state = first.state().unwrap();
    assert_eq!(
        state.tensors.keys().collect::<Vec<_>>(),
        ["momentum_buffer.encoder.weight", "momentum_buffer.head.weight"]
    );
    let mut second = Sgd::with_groups(&net.store, SgdConfig::default(), &groups).unwrap();
    second.load_state(&state).unwrap();
    assert_eq!(second.state().unwrap().steps, state.steps);
}

#[test]
fn an_optimiser_of_nothing_and_patterns_of_nothing_are_errors() {
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let message = Adam::new(&store, AdamConfig::default()).err().unwrap().to_string();
    assert!(message.contains("build the model before its optimiser"), "{message}");
    let net = Net::seeded(0);
    let group = ParamGroup::matching("encodre.*", AdamConfig::default());
    let message = Adam::with_groups(&net.store, AdamConfig::default(), &[group]).err().unwrap().to_string();
    assert!(message.contains("encodre.*") && message.contains("encoder.bias"), "{message}");
    for result in [net.store.freeze("x*").err(), net.store.select("x*").err(), net.store.declare_buffers("x*").err()] {
        assert!(matches!(result, Some(Error::InvalidConfig { .. })));
    }
    let zero = AdamConfig { learning_rate: 0., ..Default::default() };
    let groups = [ParamGroup::matching("*", AdamConfig::default())];
    assert!(Adam::with_groups(&net.store, zero, &groups).is_err());
}

#[test]
fn the_variables_of_a_var_map_are_parameters() {
    let map = candle_nn::VarMap::new();
    let vb = candle_nn::VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let layer = candle_nn::linear(3, 2, vb).unwrap();
    let mut sgd = Sgd::new(map.all_vars(), SgdConfig::default()).unwrap();
    let x = Tensor::ones((4, 3), DType::F32, &Device::Cpu).unwrap();
    let before = layer.weight().copy().unwrap().to_vec2::<f32>().unwrap();
    sgd.backward_step(&layer.forward(&x).unwrap().sqr().unwrap().sum_all().unwrap()).unwrap();
    assert_ne!(layer.weight().to_vec2::<f32>().unwrap(), before);
}

#[test]
fn frozen_parameters_stay_also_under_an_optimiser_that_exists() {
    let net = Net::seeded(0);
    let mut trainer = Trainer::new(sgd(&net.store, 0.1));
    trainer.step(&net.loss(&input(0)).unwrap()).unwrap();
    assert_eq!(net.store.freeze("encoder.*").unwrap(), 2);
    assert_eq!(net.store.trainable().len(), 2);
    let before = net.values();
    trainer.step(&net.loss(&input(1)).unwrap()).unwrap();
    let after = net.values();
    assert!(before.iter().all(|(name, value)| (after[name] == *value) == name.starts_with("encoder")));
    net.store.unfreeze("encoder.weight").unwrap();
    trainer.step(&net.loss(&input(2)).unwrap()).unwrap();
    assert_ne!(net.values()["encoder.weight"], after["encoder.weight"]);
    assert_eq!(net.values()["encoder.bias"], after["encoder.bias"]);
}

#[test]
fn a_frozen_view_follows_the_values_and_gives_no_gradients() {
    let net = Net::seeded(0);
    let vb = net.store.frozen_var_builder();
    let view = Net {
        store: net.store.clone(),
        encoder: nn::linear(3, 4, vb.pp("encoder")).unwrap(),
        head: nn::linear(4, 2, vb.pp("head")).unwrap(),
    };
    Trainer::new(sgd(&net.store, 0.1)).step(&net.loss(&input(0)).unwrap()).unwrap();
    let x = Var::from_tensor(&input(1)).unwrap();
    let out = view.forward(x.as_tensor()).unwrap();
    assert_eq!(out.to_vec2::<f64>().unwrap(), net.forward(&input(1)).unwrap().to_vec2::<f64>().unwrap());
    let grads = out.sum_all().unwrap().backward().unwrap();
    assert!(grads.get(&x).is_some());
    assert!(net.store.vars().iter().all(|(_, var)| grads.get(var).is_none()));
}

#[test]
fn a_deep_copy_goes_its_own_way() {
    let net = Net::seeded(0);
    net.store.freeze("head.bias").unwrap();
    let copy = Net::new(net.store.deep_copy().unwrap());
    assert_eq!(copy.values(), net.values());
    assert_eq!(copy.store.trainable().len(), 3);
    Trainer::new(sgd(&net.store, 0.1)).step(&net.loss(&input(0)).unwrap()).unwrap();
    assert_ne!(copy.values(), net.values());
    // what it creates from now on starts as it would have in the original
    let more = |store: &ParamStore| {
        nn::linear(2, 2, store.var_builder().pp("more")).unwrap().weight().to_vec2::<f64>().unwrap()
    };
    assert_eq!(more(&copy.store), more(&net.store));
}

#[test]
fn buffers_are_declared_not_guessed() {
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let vb = store.var_builder();
    nn::batch_norm2d(4, Default::default(), vb.pp("norm")).unwrap();
    // a parameter of this name is a parameter
    vb.get((2, 2), "running_mean").unwrap();
    let names = |list: Parameters| list.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(store.trainable()), ["norm.bias", "norm.weight", "running_mean"]);
    candle_nn::batch_norm(4, 1e-5, vb.pp("theirs")).unwrap();
    assert_eq!(store.declare_buffers("theirs.running_*").unwrap(), 2);
    assert_eq!(names(store.select("theirs.*").unwrap()), ["theirs.bias", "theirs.weight"]);
}

#[test]
fn a_part_of_a_file_loads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.safetensors");
    let (trained, fresh) = (Net::seeded(0), Net::seeded(1));
    trained.store.save(&path).unwrap();
    let before = fresh.values();
    assert_eq!(fresh.store.load_part(&path, "encoder.*").unwrap(), 2);
    let after = fresh.values();
    assert_eq!(after["encoder.weight"], trained.values()["encoder.weight"]);
    assert_eq!(after["head.weight"], before["head.weight"]);
    assert!(fresh.store.load_part(&path, "decoder.*").is_err());
    let wider = ParamStore::new(0, DType::F64, &Device::Cpu);
    nn::linear(3, 7, wider.var_builder().pp("encoder")).unwrap();
    nn::linear(3, 7, wider.var_builder().pp("other")).unwrap();
    let message = wider.load_part(&path, "*").unwrap_err().to_string();
    assert!(
        message.contains("`encoder.weight` has shape") && message.contains("`other.weight` is missing"),
        "{message}"
    );
}

#[test]
fn masked_entries_stay_zero_under_momentum_and_weight_decay() {
    let net = Net::seeded(0);
    let mut rng = Rng::new(3);
    let masks = Masks::new(&net.store.select("*.weight").unwrap(), |_, values| {
        Ok(rng.uniform(0., 1., values.shape(), DType::F64, &Device::Cpu)?.gt(0.5)?)
    })
    .unwrap();
    assert!(masks.num_kept().unwrap() > 0 && masks.sparsity().unwrap() > 0.);
    // a step before, so that the moments of what will be pruned are not zero
    let mut adam =
        AdamW::new(&net.store, AdamConfig { weight_decay: 0.1, learning_rate: 0.1, ..Default::default() }).unwrap();
    adam.backward_step(&net.loss(&input(0)).unwrap()).unwrap();
    masks.apply(&net.store).unwrap();
    let mut trainer = Trainer::new(adam).masks(masks.clone()).unwrap();
    for step in 1..4 {
        trainer.step(&net.loss(&input(step)).unwrap()).unwrap();
    }
    for (name, mask) in masks.iter() {
        let mask = mask.flatten_all().unwrap().to_vec1::<u8>().unwrap();
        let values = &net.values()[name];
        assert!(mask.iter().zip(values).all(|(&kept, &value)| (kept == 0) == (value == 0.)), "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    masks.save(folder.path().join("masks.safetensors")).unwrap();
    let again = Masks::load(folder.path().join("masks.safetensors")).unwrap();
    assert_eq!((again.len(), again.num_kept().unwrap()), (masks.len(), masks.num_kept().unwrap()));
    let mut wrong = Masks::default();
    wrong.insert("head.weight", &Tensor::ones((4, 2), DType::U8, &Device::Cpu).unwrap()).unwrap();
    assert!(matches!(wrong.apply(&net.store), Err(Error::Shape { .. })));
    wrong = Masks::default();
    wrong.insert("tail.weight", &Tensor::ones(1, DType::U8, &Device::Cpu).unwrap()).unwrap();
    assert!(matches!(wrong.apply(&net.store), Err(Error::Parameter { .. })));
}

#[test]
fn a_run_that_is_resumed_goes_on_with_the_same_bits() {
    let trainer = |net: &Net| {
        let plateau = PlateauConfig { patience: 0, factor: 0.5, ..Default::default() };
        let schedule = Schedule::Cosine { steps: 8, minimum: 0.1 };
        Trainer::new(sgd(&net.store, 0.1)).schedule(schedule).plateau(plateau).unwrap().clip_norm(1.).unwrap()
    };
    let epoch = |net: &Net, trainer: &mut Trainer, best: &mut BestState, order: &mut Rng| {
        for batch in &minibatches(4, 2, Rest::Keep, order).unwrap() {
            trainer.step(&net.loss(&input(u64::from(batch[0]))).unwrap()).unwrap();
        }
        trainer.end_epoch();
        let loss = net.loss(&input(99)).unwrap().to_scalar::<f64>().unwrap();
        trainer.observe(1.);
        best.observe(loss, &net.store).unwrap();
    };
    let whole = Net::seeded(0);
    let (mut all, mut best, mut order) = (trainer(&whole), BestState::new(Better::Smaller), Rng::new(5));
    let folder = tempfile::tempdir().unwrap();
    for done in 0..4 {
        if done == 2 {
            let mut checkpoint = all.checkpoint(&whole.store).unwrap();
            checkpoint.rngs.insert("order".to_string(), order.clone());
            best.save(&mut checkpoint).unwrap();
            checkpoint.save(folder.path()).unwrap();
        }
        epoch(&whole, &mut all, &mut best, &mut order);
    }
    let resumed = Net::seeded(7);
    let (mut rest, mut best_of_rest) = (trainer(&resumed), BestState::new(Better::Smaller));
    let checkpoint = Checkpoint::load_latest(folder.path()).unwrap().unwrap();
    rest.resume(&resumed.store, &checkpoint).unwrap();
    best_of_rest.resume(&checkpoint).unwrap();
    let mut order = checkpoint.rng("order").unwrap();
    for _ in 2..4 {
        epoch(&resumed, &mut rest, &mut best_of_rest, &mut order);
    }
    assert_eq!(resumed.values(), whole.values());
    assert_eq!((best.metric(), best.best_at()), (best_of_rest.metric(), best_of_rest.best_at()));
    assert_eq!(rest.learning_rate(), all.learning_rate());
    best.restore(&whole.store).unwrap();
    best_of_rest.restore(&resumed.store).unwrap();
    assert_eq!(resumed.values(), whole.values());
    // what does not belong together says so
    assert!(BestState::new(Better::Larger).resume(&checkpoint).is_err());
    assert!(Trainer::new(sgd(&resumed.store, 0.1)).resume(&resumed.store, &checkpoint).is_err());
    assert!(rest.resume(&resumed.store, &Checkpoint::new(0)).is_err());
    assert!(checkpoint.rng("orders").is_err());
}

#[test]
fn patience_counts_observations_after_the_best() {
    let net = Net::seeded(0);
    let run = |patience: u64, metrics: &[f64]| {
        let mut best = BestState::new(Better::Smaller).patience(patience);
        metrics
            .iter()
            .take_while(|&&metric| {
                let go_on = !best.is_exhausted();
                if go_on {
                    best.observe(metric, &net.store).unwrap();
                }
                go_on
            })
            .count()
    };
    assert_eq!(run(1, &[3., 2., 2., 2., 1.]), 4);
    assert_eq!(run(0, &[3., 3., 1.]), 2);
    assert_eq!(run(2, &[f64::NAN; 6]), 3);
    let mut none = BestState::new(Better::Larger);
    assert!(!none.observe(f64::NAN, &net.store).unwrap());
    none.restore(&net.store).unwrap();
    assert_eq!(none.metric(), None);
}

#[test]
fn cancellation_ends_a_loop_with_its_own_error() {
    let (cancellation, flag) = Cancellation::by_flag();
    let run = || -> Result<()> {
        for step in 0.. {
            cancellation.check()?;
            if step == 3 {
                flag.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        Ok(())
    };
    let error = run().unwrap_err();
    assert!(matches!(error, Error::Cancelled));
    // through Candle, which adds where it was
    let through = candle_core::Error::from(error);
    assert!(through.to_string().starts_with("cancelled"));
    assert!(Cancellation::never().check().is_ok());
}

#[test]
fn the_gradient_by_inputs_is_right_and_computes_no_other() {
    let net = Net::seeded(0);
    let x = input(3);
    let (value, gradient) = input_gradient(&x, |x| net.loss(x)).unwrap();
    let var = Var::from_tensor(&x).unwrap();
    let loss = net.loss(var.as_tensor()).unwrap();
    let expected = loss.backward().unwrap();
    assert_eq!(value.to_scalar::<f64>().unwrap(), loss.to_scalar::<f64>().unwrap());
    let (a, b) = (gradient.to_vec2::<f64>().unwrap(), expected.get(&var).unwrap().to_vec2::<f64>().unwrap());
    assert!(a.iter().flatten().zip(b.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-14));
    // while it runs variables are constants, and afterwards they are not
    let mut tape = None;
    input_gradient(&x, |x| {
        let y = net.forward(x)?;
        tape = Some(y.clone());
        Ok(y.sum_all()?)
    })
    .unwrap();
    let grads = tape.unwrap().sum_all().unwrap().backward().unwrap();
    assert!(net.store.vars().iter().all(|(_, var)| grads.get(var).is_none()));
    assert!(net.loss(&x).unwrap().backward().unwrap().get(net.head.weight()).is_some());
    // an error in between leaves nothing behind
    assert!(input_gradient(&x, |_| Err(Error::Cancelled)).is_err());
    assert!(net.loss(&x).unwrap().backward().unwrap().get(net.head.weight()).is_some());
    // what does not depend on the input has a gradient of zeros
    let constant = |_: &Tensor| Ok(Tensor::new(1f64, &Device::Cpu)?);
    assert_eq!(input_gradient(&x, constant).unwrap().1.to_vec2::<f64>().unwrap(), vec![vec![0.; 3]; 5]);
    assert!(matches!(input_gradient(&x, |x| Ok(x.clone())), Err(Error::Shape { .. })));
}

#[test]
fn closures_are_classifiers() {
    let net = Net::seeded(0);
    fn shape(model: &impl Classifier, x: &Tensor) -> Vec<usize> {
        model.logits(x, &mut Mode::evaluate()).unwrap().dims().to_vec()
    }
    assert_eq!(shape(&|x: &Tensor, _: &mut Mode<'_>| net.forward(x), &input(0)), [5, 2]);
}

#[test]
fn hostile_settings_are_errors() {
    let net = Net::seeded(0);
    assert!(Trainer::new(sgd(&net.store, 0.1)).clip_norm(f64::NAN).is_err());
    assert!(Trainer::new(sgd(&net.store, 0.1)).step(&net.forward(&input(0)).unwrap()).is_err());
    assert!(minibatches(3, 0, Rest::Keep, &mut Rng::new(0)).is_err());
    assert!(ragged_minibatches(&[1], 0, &mut Rng::new(0)).is_err());
    assert!(minibatches(0, 3, Rest::Keep, &mut Rng::new(0)).unwrap().is_empty());
    let nan = (net.loss(&input(0)).unwrap() * f64::NAN).unwrap();
    let before = net.values();
    assert!(Trainer::new(sgd(&net.store, 0.1)).clip_norm(1.).unwrap().step(&nan).is_err());
    assert_eq!(net.values(), before);
}

proptest! {
    #[test]
    fn minibatches_are_the_permutation_in_pieces(len in 0usize..200, size in 1usize..50, seed in any::<u64>()) {
        let permutation = Rng::new(seed).permutation(len);
        let keep = minibatches(len, size, Rest::Keep, &mut Rng::new(seed)).unwrap();
        let pieces: Vec<&[u32]> = keep.iter().collect();
        prop_assert_eq!(&pieces, &permutation.chunks(size).collect::<Vec<_>>());
        let drop = minibatches(len, size, Rest::Drop, &mut Rng::new(seed)).unwrap();
        prop_assert_eq!(drop.iter().collect::<Vec<_>>(), permutation.chunks_exact(size).collect::<Vec<_>>());
    }

    #[test]
    fn ragged_batches_hold_every_item_once_and_keep_the_budget(
        lengths in prop::collection::vec(0usize..30, 0..60), budget in 1usize..40, seed in any::<u64>()
    ) {
        let batches = ragged_minibatches(&lengths, budget, &mut Rng::new(seed)).unwrap();
        let mut seen: Vec<u32> = batches.iter().flatten().copied().collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..lengths.len() as u32).collect::<Vec<_>>());
        for batch in &batches {
            let sum: usize = batch.iter().map(|&item| lengths[item as usize]).sum();
            prop_assert!(!batch.is_empty() && (sum <= budget || batch.len() == 1));
        }
    }
}
