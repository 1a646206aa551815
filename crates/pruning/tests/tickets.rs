//! Searches for tickets, network slimming and ADMM.

use candle_core::{DType, Device, Tensor};
use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Mode, ops};
use pruning::{
    Admm, CompileOptions, Mask, MaskedOptimizer, Masks, Model, Network, PostProcess, Refill, Result, Rewind, Round,
    Scope, Slimming, TicketOptions, Tickets, compile,
};
use std::collections::BTreeMap;

const CPU: Device = Device::Cpu;

struct Job {
    store: ParamStore,
    model: Model,
    x: Tensor,
    labels: Tensor,
}

impl Job {
    fn new() -> Result<Self> {
        let store = ParamStore::new(0, DType::F32, &CPU);
        let model = Network::small_cnn([1, 8, 8], 2)?.build(store.var_builder())?;
        let x = Rng::new(1).normal(0.0, 1.0, (8, 1, 8, 8), DType::F32, &CPU)?;
        let labels = Tensor::new(&[0u32, 1, 0, 1, 0, 1, 0, 1], &CPU)?;
        Ok(Self { store, model, x, labels })
    }

    fn train(&self, round: &mut Round<'_>) -> Result<()> {
        let config = SgdConfig { learning_rate: 0.05, momentum: 0.9, weight_decay: 1e-3, ..SgdConfig::default() };
        let mut optimizer = MaskedOptimizer::new(Sgd::new(self.store.trainable(), config)?, round.masks().clone())?;
        for step in 0..4 {
            if step == 2 {
                round.mark()?;
            }
            let logits = self.model.forward(&self.x, &mut Mode::recalibrate())?;
            optimizer.backward_step(&ops::cross_entropy(&logits, &self.labels)?)?;
        }
        Ok(())
    }
}

fn values(of: &BTreeMap<String, Tensor>) -> Result<Vec<f32>> {
    let mut all = Vec::new();
    for value in of.values() {
        all.extend(value.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(all)
}

fn options(rounds: usize) -> TicketOptions {
    TicketOptions { rounds, ..TicketOptions::default() }
}

#[test]
fn rounds_are_nested_and_rewound() -> Result<()> {
    let job = Job::new()?;
    let first = values(&job.store.snapshot()?)?;
    for rewind in [Rewind::Initial, Rewind::Marked, Rewind::Continue] {
        let job = Job::new()?;
        let mut tickets =
            Tickets::new(job.store.clone(), &Scope::convolutions(), TicketOptions { rewind, ..options(3) })?;
        let mut starts = Vec::new();
        tickets.run(None, |round| {
            starts.push(job.store.snapshot()?);
            job.train(round)
        })?;
        assert_eq!(values(&starts[0])?, first);
        for (at, ticket) in tickets.found().iter().enumerate() {
            let density = 0.8f64.powi(ticket.round as i32);
            assert!((ticket.masks.density() - density).abs() < 1e-3);
            if let Some(before) = at.checked_sub(1).map(|before| &tickets.found()[before].masks) {
                assert_eq!(ticket.masks.minus(before)?.count(), 0);
            }
            // what the round started from, where its masks keep it
            let start = &starts[ticket.round];
            let marked = &starts[0]["bn1.running_mean"];
            for (name, mask) in ticket.masks.iter() {
                let weights: Vec<f32> = start[name].flatten_all()?.to_vec1()?;
                let made_of: Vec<f32> = ticket.made_of[name].flatten_all()?.to_vec1()?;
                let of_first: Vec<f32> = starts[0][name].flatten_all()?.to_vec1()?;
                let mut changed = 0;
                for (entry, &kept) in mask.kept().iter().enumerate() {
                    match (kept, rewind) {
                        (0, _) => assert_eq!(weights[entry], 0.0),
                        (_, Rewind::Initial) => assert_eq!(weights[entry], of_first[entry]),
                        (_, Rewind::Continue) => assert_eq!(weights[entry], made_of[entry]),
                        (_, Rewind::Marked) => changed += usize::from(weights[entry] != of_first[entry]),
                    }
                }
                assert!(rewind != Rewind::Marked || changed > 0);
            }
            // running statistics go back too
            let is_first = start["bn1.running_mean"].to_vec1::<f32>()? == marked.to_vec1::<f32>()?;
            assert_eq!(is_first, rewind == Rewind::Initial);
        }
    }
    Ok(())
}

#[test]
fn an_interrupted_search_goes_on_with_the_same_bits() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = {
        let job = Job::new()?;
        let mut tickets = Tickets::new(job.store.clone(), &Scope::convolutions(), options(4))?;
        tickets.run(None, |round| job.train(round))?;
        values(&tickets.found()[3].trained)?
    };
    let with_folder = || TicketOptions { folder: Some(folder.path().to_owned()), ..options(4) };
    let job = Job::new()?;
    let mut tickets = Tickets::new(job.store.clone(), &Scope::convolutions(), with_folder())?;
    let stopped = tickets.run(None, |round| match round.index() {
        3 => Err(candle_core::Error::Msg("interrupted".into()).into()),
        _ => job.train(round),
    });
    assert!(stopped.is_err());
    let job = Job::new()?;
    let mut tickets = Tickets::new(job.store.clone(), &Scope::convolutions(), with_folder())?;
    assert_eq!(tickets.found().len(), 2);
    let mut trained = Vec::new();
    tickets.run(None, |round| {
        trained.push(round.index());
        job.train(round)
    })?;
    assert_eq!(trained, [3, 4]);
    assert_eq!(values(&tickets.found()[3].trained)?, whole);
    // from other first values
    let other = ParamStore::new(9, DType::F32, &CPU);
    Network::small_cnn([1, 8, 8], 2)?.build(other.var_builder())?;
    let error = Tickets::new(other, &Scope::convolutions(), with_folder()).expect_err("an error");
    assert!(error.to_string().contains("other first values"), "{error}");
    Ok(())
}

#[test]
fn structures_are_made_of_any_round_or_in_the_loop() -> Result<()> {
    let job = Job::new()?;
    let refill = |_: &str, mask: &Mask, weights: &[f64]| Refill::default().apply(mask, weights);
    let mut tickets = Tickets::new(job.store.clone(), &Scope::convolutions(), options(3))?;
    tickets.run(None, |round| job.train(round))?;
    let channels = tickets.structured(2, &refill)?;
    for (name, mask) in channels.iter() {
        let columns = mask.columns();
        assert!(mask.row_counts().iter().all(|&count| count == 0 || count == columns), "{name}");
    }
    tickets.rewind(&channels)?;
    assert!(tickets.structured(0, &refill).is_err() && tickets.structured(4, &refill).is_err());
    let in_loop = TicketOptions { post_process: PostProcess::InLoop, ..options(3) };
    let job = Job::new()?;
    let mut tickets = Tickets::new(job.store.clone(), &Scope::convolutions(), in_loop)?;
    assert!(tickets.run(None, |round| job.train(round)).is_err());
    tickets.run(Some(&refill), |round| job.train(round))?;
    let last = &tickets.found()[2].masks;
    assert!(last.iter().all(|(_, mask)| mask.row_counts().iter().all(|&count| count == 0 || count == mask.columns())));
    Ok(())
}

#[test]
fn bad_searches_are_errors() -> Result<()> {
    let job = Job::new()?;
    for rate in [0.0, 1.0, f64::NAN] {
        let options = TicketOptions { rate, ..options(1) };
        assert!(Tickets::new(job.store.clone(), &Scope::convolutions(), options).is_err());
    }
    assert!(Tickets::new(job.store.clone(), &Scope::matching("nothing*"), options(1)).is_err());
    let mut tickets = Tickets::new(job.store.clone(), &Scope::convolutions(), options(1))?;
    assert!(tickets.dense().is_err() && tickets.rewind(&Masks::default()).is_err());
    let error = tickets.run(None, |_| Ok(())).expect_err("nothing was marked").to_string();
    assert!(error.contains("mark"), "{error}");
    Ok(())
}

#[test]
fn slimming_deletes_the_channels_with_the_smallest_scales() -> Result<()> {
    let network = Network::resnet(
        &vision::ResNetConfig {
            stem_width: 4,
            widths: vec![4, 8],
            depths: vec![1, 1],
            ..vision::ResNetConfig::resnet18(3).cifar()
        },
        (8, 8),
    )?;
    let store = ParamStore::new(0, DType::F32, &CPU);
    let model = network.build(store.var_builder())?;
    let mut rng = Rng::new(4);
    for (name, shape) in network.parameters() {
        if shape.len() == 1 {
            let values = rng.uniform(0.1, 1.0, shape.as_slice(), DType::F32, &CPU)?;
            store.set(&name, &values)?;
        }
    }
    store.set("layer1.0.bn1.weight", &Tensor::new(&[0.01f32, -0.9, 0.02, 0.9], &CPU)?)?;
    let slimming = Slimming::default();
    let masks = slimming.masks(&network, &store, 0.1)?;
    // 4 + 4 + 4 + 8 + 8 channels without those of the shortcut: two of them go
    let gone: usize = masks
        .iter()
        .filter(|(name, _)| name.ends_with("conv1.weight") || name.ends_with("conv2.weight"))
        .map(|(_, mask)| mask.row_counts().iter().filter(|&&count| count == 0).count())
        .sum();
    assert_eq!(gone, 2);
    assert_eq!(masks.get("layer1.0.bn1.weight").expect("a mask").kept(), [0, 1, 0, 1]);
    assert!(masks.get("layer2.0.downsample.1.weight").is_none());
    let compiled = compile(&network, &store, &masks, &CompileOptions { repeats: 0, plan: None })?;
    let x = Rng::new(1).normal(0.0, 1.0, (7, 3, 8, 8), DType::F32, &CPU)?;
    masks.apply(&store)?;
    let difference = (compiled.forward(&x)? - model.forward(&x, &mut Mode::evaluate())?)?;
    assert!(difference.abs()?.max_all()?.to_scalar::<f32>()? < 1e-5);
    // no layer is emptied
    let most = slimming.masks(&network, &store, 0.99)?;
    assert!(most.iter().filter(|(name, _)| name.contains("conv")).all(|(_, mask)| mask.count() > 0));
    assert!(slimming.masks(&network, &store, 1.0).is_err());
    // the penalty is the sum, and its gradient the sign
    let penalty = slimming.penalty(&network, &store)?;
    let gradients = core_tensor::backward(&penalty)?;
    let vars: BTreeMap<_, _> = store.vars().into_iter().collect();
    let gamma = &vars["layer1.0.bn1.weight"];
    assert_eq!(gradients.get(gamma).expect("a gradient").to_vec1::<f32>()?, [0.0, -1.0, 0.0, 1.0]);
    assert!(gradients.get(&vars["layer2.0.downsample.1.weight"]).is_none());
    Ok(())
}

#[test]
fn admm_draws_weights_to_their_structure() -> Result<()> {
    let store = ParamStore::new(0, DType::F64, &CPU);
    let target = Rng::new(2).normal(0.0, 1.0, (6, 5), DType::F64, &CPU)?;
    core_tensor::nn::linear_no_bias(5, 6, store.var_builder().pp("layer"))?;
    store.set("layer.weight", &target)?;
    let prunable = Scope::matching("*").select(&store)?;
    // the three rows with the largest sums
    let rows = |_: &str, shape: &[usize], magnitudes: &[f64]| Refill::default().at_density(shape, magnitudes, 0.5);
    let mut admm = Admm::new(prunable.clone(), 1.0, &rows)?;
    let config = SgdConfig { learning_rate: 0.1, ..SgdConfig::default() };
    let mut optimizer = Sgd::new(store.trainable(), config)?;
    let mut apart = Vec::new();
    for _ in 0..40 {
        for _ in 0..10 {
            // a loss that wants every weight
            let fit =
                ops::affine(&ops::sum_all(&ops::sqr(&ops::sub(prunable[0].1.as_tensor(), &target)?)?)?, 0.1, 0.0)?;
            optimizer.backward_step(&ops::add(&fit, &admm.penalty()?)?)?;
        }
        apart.push(admm.update(&rows)?);
    }
    assert!(apart[39] < 0.02 && apart[39] < 0.2 * apart[0], "{apart:?}");
    assert_eq!(
        admm.masks().get("layer.weight").expect("a mask").row_counts().iter().filter(|&&count| count > 0).count(),
        3
    );
    assert!(Admm::new(prunable.clone(), 0.0, &rows).is_err());
    assert!(Admm::new(Vec::new(), 1.0, &rows).is_err());
    let wrong = |_: &str, _: &[usize], _: &[f64]| Ok(Mask::full(&[1]));
    assert!(Admm::new(prunable, 1.0, &wrong).is_err());
    Ok(())
}
