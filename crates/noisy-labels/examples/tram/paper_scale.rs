//! Wide ResNet 28-10 on the original CIFAR-10 images with the labels of people. (CIFAR-10H needs its raw table, which names annotators and is not at hand.)

use candle_core::{DType, Tensor};
use core_tensor::Mode;
use core_tensor::optim::{Sgd, SgdConfig};
use core_tensor::params::ParamStore;
use core_tensor::schedule::Schedule;
use core_tensor::train::{Cancellation, Trainer};
use datasets::human_labels::{Cifar10N, load_cifar_10n};
use datasets::images::{ImageSplit, LabelledImages, load_cifar_10};
use experiment::{BoxError, Context, Measured, Outcome, Result, Table, Trial, TrialContext};
use noisy_labels::tram::{
    Annotated, Information, PiColumn, PiEncoder, PiEncoderConfig, Strategy, TramConfig, TramTraining, fit, tram,
};
use serde::{Deserialize, Serialize};
use vision::{Augmentation, ImageNetwork, Normalization, WideResNetConfig, WideResNetForm, wide_resnet};

const EPOCHS: usize = 90;
const BATCH: usize = 512;
const L2: f64 = 2e-4;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Run {
    is_tram: bool,
    device: String,
}

pub(crate) struct Runs {
    results: Outcome<f64>,
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let store = reproduction::store(context)?;
    let (images, people) = (load_cifar_10(&store)?, load_cifar_10n(&store)?);
    people.check_order(&images.train)?;
    let device = context.device().to_owned();
    let trials = [false, true]
        .map(|is_tram| Trial::new(if is_tram { "tram" } else { "none" }, Run { is_tram, device: device.clone() }));
    let results = context.trials("wide", trials.to_vec(), |run, trial| train(run, &images, &people, trial))?;
    Ok(Runs { results })
}

fn tensor(images: &LabelledImages, device: &candle_core::Device) -> std::result::Result<Tensor, BoxError> {
    let values: Vec<f32> = images.pixels.iter().map(|&x| f32::from(x) / 255.).collect();
    let x = Tensor::from_vec(values, (images.len(), images.channels, images.height, images.width), device)?;
    Ok(Normalization::cifar10().apply(&x)?)
}

fn train(
    run: &Run,
    images: &ImageSplit,
    people: &Cifar10N,
    trial: &TrialContext,
) -> std::result::Result<f64, BoxError> {
    let device = core_tensor::device::parse(&run.device)?;
    let seed = trial.seed_of("wide");
    let (x, test) = (tensor(&images.train, &device)?, tensor(&images.test, &device)?);
    let (mut examples, mut labels, mut ids, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for annotation in &people.annotations {
        for image in 0..annotation.labels.len() {
            examples.push(image as u32);
            labels.push(u32::from(annotation.labels[image]));
            ids.push(Some(u64::from(annotation.work.annotators[image])));
            times.push(Some(annotation.work.seconds[image]));
        }
    }
    let information = Information::new(labels.len(), vec![PiColumn::Ids(ids), PiColumn::Numbers(times)])?;
    let encoder = PiEncoder::fit(&information, &PiEncoderConfig::default())?;
    let store = ParamStore::new(seed, DType::F32, &device);
    let core = |error: vision::Error| core_tensor::Error::from(candle_core::Error::from(error));
    let config = WideResNetConfig { form: WideResNetForm::TensorFlow, ..WideResNetConfig::new(28, 10, 10) };
    let network = wide_resnet(&config, store.var_builder().pp("backbone"))?;
    let augmentation = Augmentation { padding: 4, flips: true };
    let backbone = move |x: &Tensor, mode: &mut Mode<'_>| {
        let x = match mode.noise.as_deref_mut() {
            Some(rng) => augmentation.apply(x, rng).map_err(core)?,
            None => x.clone(),
        };
        network.features(&x, mode).map_err(core)
    };
    let model = tram(backbone, TramConfig::new(640, encoder.width(), 10), store.var_builder())?;
    // The penalty is λ Σ w², twice the usual one. It spares the tower, which the optimiser's decay does not: a deviation.
    let settings = SgdConfig {
        learning_rate: 0.1 * BATCH as f64 / 128.,
        momentum: 0.9,
        is_nesterov: true,
        weight_decay: 2. * L2,
        ..SgdConfig::default()
    };
    let steps = images.train.len().div_ceil(BATCH) as u64;
    let milestones = [60, 120, 160].map(|of_200| (of_200 * EPOCHS as u64 / 200 - 1) * steps).to_vec();
    let schedule = Schedule::Warmup { steps, then: Box::new(Schedule::MultiStep { milestones, gamma: 0.2 }) };
    let mut trainer = Trainer::new(Sgd::new(&store, settings)?).schedule(schedule);
    let strategy = if run.is_tram { Strategy::Tram } else { Strategy::NoInformation };
    let training = TramTraining { epochs: EPOCHS, batch_size: BATCH, seed, ..TramTraining::default() };
    let cancellation = Cancellation::when(trial.cancellation());
    let data = Annotated::new(&x, &examples, &labels, &information)?;
    fit(&model, &mut trainer, data, &encoder, strategy, &training, &cancellation, |epoch| {
        trial.epoch(epoch.epoch, EPOCHS, "Wide ResNet 28-10");
        Ok(())
    })?;
    let found = model.predict(&test)?.argmax(1)?.to_vec1::<u32>()?;
    let right = found.iter().zip(&images.test.labels).filter(|(a, b)| **a == u32::from(**b)).count();
    Ok(100. * right as f64 / found.len() as f64)
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    if !runs.results.is_complete() {
        return Ok(());
    }
    let results = runs.results.all()?;
    let [none, tram] = results[..] else { return Ok(()) };
    context.claim("wide", Measured::mean_of(&[tram - none], "CIFAR-10N"))?;
    let mut table = Table::new(["method", "accuracy in %"]);
    table.rows.push(vec!["no information".into(), format!("{none:.2}")]);
    table.rows.push(vec!["TRAM".into(), format!("{tram:.2}")]);
    context
        .table("Wide ResNet 28-10 on CIFAR-10N, one run each (a later work has 84.9 for a method of its own)", table);
    Ok(())
}
