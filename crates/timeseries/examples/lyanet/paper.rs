//! The paper's own protocol: ResNet-18 in front, four data sets, 120 epochs of Nero.
//!
//! As in the paper's code: batches, learning rates, states, steps and gains in training; a tenth of the training images for validation, whose best epoch is tested. Ours: attacks act on pixels, with the
//! normalisation inside of the model, from the clean image and through steps of 0.05 (there: from a random start, through steps of 0.1); steps are the classical method of order 4 (there: the 3/8 rule);
//! CIFAR-10 has crops and flips in the place of AutoAugment; no averaging of weights.

use crate::attacked::{Attacked, Budgets, attack};
use crate::images::{Images, generated, images, right};
use crate::methods::{Data, Method, Model, Training, steps, train_by};
use adversarial::attacks::Norm;
use core_tensor::optim::{Nero, NeroConfig, Optimizer};
use core_tensor::random::Rng;
use core_tensor::schedule::Better;
use core_tensor::train::BestState;
use datasets::images::{ImageSplit, load_cifar_10, load_cifar_100, load_mnist};
use experiment::{Context, Measured, Result, Table, Trial, TrialContext};
use serde::{Deserialize, Serialize};
use timeseries::lyanet::GainSchedule;
use timeseries::ode::{Solve, Tableau};
use vision::{Augmentation, Normalization};

/// Test images that are attacked.
const ATTACKED: usize = 1000;
/// Training and test images of `--synthetic`, and its epochs.
const GENERATED: ([usize; 2], usize) = ([300, 100], 1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Set {
    Mnist,
    FashionMnist,
    Cifar10,
    Cifar100,
    Generated,
}

impl Set {
    const ALL: [Self; 4] = [Self::Mnist, Self::FashionMnist, Self::Cifar10, Self::Cifar100];

    fn title(self) -> &'static str {
        match self {
            Self::Mnist => "MNIST",
            Self::FashionMnist => "Fashion-MNIST",
            Self::Cifar10 => "CIFAR-10",
            Self::Cifar100 => "CIFAR-100",
            Self::Generated => "generated digits",
        }
    }

    fn claim(self) -> &'static str {
        match self {
            Self::Mnist | Self::Generated => "paper-error-mnist",
            Self::FashionMnist => "paper-error-fashion-mnist",
            Self::Cifar10 => "paper-error-cifar-10",
            Self::Cifar100 => "paper-error-cifar-100",
        }
    }

    fn data(self) -> Data {
        match self {
            Self::Cifar10 => Data::Paper { channels: 3, classes: 10 },
            Self::Cifar100 => Data::Paper { channels: 3, classes: 100 },
            _ => Data::Paper { channels: 1, classes: 10 },
        }
    }

    fn normalization(self) -> Normalization {
        match self {
            Self::FashionMnist => Normalization { mean: vec![0.5], std: vec![0.5] },
            Self::Mnist | Self::Generated => Normalization { mean: vec![0.1307], std: vec![0.3081] },
            // of both CIFARs, in the paper's code
            _ => Normalization { mean: vec![0.4914, 0.4822, 0.4465], std: vec![0.2023, 0.1994, 0.2010] },
        }
    }

    fn augmentation(self) -> Option<Augmentation> {
        matches!(self, Self::Cifar10 | Self::Cifar100).then_some(Augmentation { padding: 4, flips: true })
    }

    fn load(self, context: &Context) -> Result<ImageSplit> {
        let store = reproduction::store(context)?;
        Ok(match self {
            Self::Mnist => load_mnist(&store, "mnist")?,
            Self::FashionMnist => load_mnist(&store, "fashion-mnist")?,
            Self::Cifar10 => load_cifar_10(&store)?,
            Self::Cifar100 => load_cifar_100(&store)?,
            Self::Generated => generated(GENERATED.0, context.seed_of("paper digits"))?,
        })
    }
}

const METHODS: [Method; 5] =
    [Method::PaperSchedule, Method::NeuralOde(1.), Method::Direct, Method::ContinuousNet, Method::ContinuousLyaNet];

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    /// Test error of the epoch with the smallest validation error.
    error: f64,
    validation: f64,
    linf: Attacked,
    l2: Attacked,
}

pub(crate) fn run(context: &mut Context) -> Result<()> {
    let is_synthetic = context.is_synthetic();
    let sets = if is_synthetic { vec![Set::Generated] } else { Set::ALL.to_vec() };
    let mut table = Table::new(["data", "model", "test error", "PGD-Linf 8/255", "PGD-L2 127/255", "attacks work"]);
    for set in sets {
        let data = set.load(context)?;
        let trials = METHODS.iter().map(|method| Trial::new(method.name(), *method)).collect();
        let seed = context.seed_of(&format!("paper {}", set.title()));
        let epochs = if is_synthetic { GENERATED.1 } else { 120 };
        let group = format!("paper, {}", set.title());
        let found =
            context.trials(&group, trials, |&method: &Method, trial| one(method, set, (&data, epochs), seed, trial))?;
        let found: Vec<Found> = found.all()?;
        let others: Vec<String> = METHODS
            .iter()
            .zip(&found)
            .skip(1)
            .map(|(method, found)| format!("{} {:.4}", method.name(), found.error))
            .collect();
        let note = Some(others.join(", "));
        context
            .claim(set.claim(), Measured { is_synthetic, note, ..Measured::mean_of(&[found[0].error], set.title()) })?;
        for (method, found) in METHODS.iter().zip(&found) {
            let works = found.linf.works() && found.l2.works();
            table.rows.push(vec![
                set.title().to_owned(),
                method.name(),
                format!("{:.4}", found.error),
                format!("{:.4}", found.linf.wrong[0]),
                format!("{:.4}", found.l2.wrong[0]),
                if works { "yes" } else { "no: says nothing about robustness" }.to_owned(),
            ]);
        }
    }
    context.table("The paper's protocol, one seed; no published value was at hand", table);
    Ok(())
}

fn one(
    method: Method,
    set: Set,
    (data, epochs): (&ImageSplit, usize),
    seed: u64,
    trial: &TrialContext,
) -> Result<Found> {
    let order = Rng::new(seed).fork("split").permutation(data.train.len());
    let order: Vec<usize> = order.into_iter().map(|at| at as usize).collect();
    let (validation, training) = order.split_at(data.train.len() / 10);
    let of_training = |chosen: &[usize]| images(&data.train, chosen);
    let (validation, training) = (of_training(validation)?, of_training(training)?);
    let test: Images = images(&data.test, &(0..data.test.len()).collect::<Vec<_>>())?;

    let is_lyapunov = matches!(method, Method::PaperSchedule | Method::ContinuousLyaNet);
    let settings = Training {
        epochs,
        batch: if is_lyapunov { 64 } else { 128 },
        states: 512,
        steps: 10,
        schedule: GainSchedule::default(),
        augmentation: set.augmentation(),
        seed,
    };
    let decays: &[usize] =
        if matches!(method, Method::PaperSchedule | Method::NeuralOde(_)) { &[60] } else { &[30, 60, 90] };
    let evaluation = match method {
        Method::PaperSchedule => Solve::default().method(Tableau::dopri5()).tolerance(1e-3),
        _ => steps(20),
    };
    let mut model = Model::new(method, set.data(), Some(set.normalization()), seed)?;
    let mut nero = Nero::new(&model.store, NeroConfig::default())?;
    let mut best = BestState::new(Better::Smaller);
    let mut after = |epoch: usize, model: &Model, optimizer: &mut dyn Optimizer| -> Result<()> {
        if decays.contains(&epoch) {
            optimizer.set_learning_rate(0.1 * optimizer.learning_rate());
        }
        best.observe(1. - right(model, &validation, &evaluation)?.0, &model.store)?;
        Ok(())
    };
    train_by(&mut model, method, (&training.x, &training.labels), (&settings, &mut nero), trial, &mut after)?;
    best.restore(&model.store)?;

    let count = ATTACKED.min(test.labels.len());
    let few = (&test.x.narrow(0, 0, count)?, &test.labels[..count]);
    let under = |norm: Norm, budget: f64, check: f64, step: f64| {
        let budgets = Budgets { norm, budgets: &[budget], check, bounds: (0., 1.), step, iterations: 10 };
        attack(&model, None, few, &budgets, false)
    };
    Ok(Found {
        error: 1. - right(&model, &test, &evaluation)?.0,
        validation: best.metric().unwrap_or(f64::NAN),
        linf: under(Norm::Linf, 8. / 255., 1., 0.25)?,
        l2: under(Norm::L2, 127. / 255., 28., 2. / 127.)?,
    })
}
